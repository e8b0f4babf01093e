"""Runs the benchmarks of `benchmarks/`: variants of one piece of work, timed in turn in one process."""

from __future__ import annotations

import importlib
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from segmix_core.errors import InputError
from segmix_core.experiments import nearest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
_PACKAGE = "segmix_benchmarks"


@dataclass(frozen=True)
class BenchRow:
    """One variant of one benchmark."""

    name: str  # the benchmark
    variant: str
    median: float  # in `unit`
    ratio: float  # to the benchmark's reference variant, whose own ratio is 1
    unit: str


def run_benchmarks(name: str | None, *, device: str) -> list[BenchRow]:
    """Run the benchmark of that name, or all of them.

    Raises:
        InputError: no folder `benchmarks`, no such benchmark or device, or a peer is not installed.
    """
    names = known_benchmarks()
    if name is not None and name not in names:
        raise nearest("benchmark", name, names)
    if device != "cpu":
        from segmix_core.request import check_device

        check_device(device)
    rows: list[BenchRow] = []
    for chosen in names if name is None else [name]:
        try:
            rows += load_benchmark(chosen).run(device=device)
        except ModuleNotFoundError as error:
            raise InputError(
                f"benchmark {chosen}", f"needs {error.name}", "install segmix with its extra 'test'"
            ) from error
    return rows


def known_benchmarks() -> list[str]:
    """The names of the modules in `benchmarks/`.

    Raises:
        InputError: the folder is not there.
    """
    if not (FOLDER / "__init__.py").is_file():
        raise InputError(FOLDER, "no such folder of benchmarks", "run from a checkout of the repository")
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def load_benchmark(name: str) -> ModuleType:
    """The module of a benchmark; its `run(*, device, ...)` returns the rows."""
    if _PACKAGE not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            _PACKAGE, FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
        )
        assert spec is not None
        sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"{_PACKAGE}.{name}")


def interleaved(
    name: str,
    variants: Mapping[str, Callable[[], object]],
    *,
    reference: str,
    rounds: int,
    device: str = "cpu",
    once: Collection[str] = (),
) -> list[BenchRow]:
    """Time the variants in turn, A B C A B C ..., after one untimed call of each.

    A ratio is the median over the rounds of (this variant's time / the reference's time in the same round),
    so that a machine that is busy for a while slows both sides of it.

    Args:
        reference: the variant that has ratio 1.
        once: variants so slow that one call, in the first round, has to do; beside the reference's median.

    Returns:
        a row for each variant, in milliseconds.
    """
    wait = _waiting(device)
    for variant, call in variants.items():
        if variant not in once:
            call()
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    for number in range(rounds):
        for variant, call in variants.items():
            if number and variant in once:
                continue
            wait()
            began = time.perf_counter()
            call()
            wait()
            seconds[variant].append(time.perf_counter() - began)
    rows = []
    usual = statistics.median(seconds[reference])
    for variant, taken in seconds.items():
        beside = [usual] if variant in once else seconds[reference]
        ratio = statistics.median(own / other for own, other in zip(taken, beside, strict=True))
        rows.append(BenchRow(name, variant, 1000 * statistics.median(taken), ratio, "ms"))
    return rows


def _waiting(device: str) -> Callable[[], None]:
    """A call that returns once the device has done all its work."""
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return lambda: torch.cuda.synchronize(device)
