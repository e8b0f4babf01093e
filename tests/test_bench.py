"""Each benchmark runs, at a tiny size, and returns rows that can be read. Nothing is timed here."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import NUMBER, has_kind, segmix

from segmix_core import bench
from segmix_core.errors import InputError

TINY = {
    "attack": {"scale": "smoke", "batch": 2, "rounds": 1},
    "clusters": {"images": 60, "batch": 4, "rounds": 1},
    "confusion": {"images": 2, "height": 40, "width": 50, "rounds": 1},
    "input": {"images": 2, "height": 40, "width": 50, "size": 48, "rounds": 1},
    "mixing": {"batch": 4, "size": 32, "rounds": 1},
    "silhouettes": {"images": 2, "size": 48, "rounds": 1},
    "statistics": {"masks": 8, "rounds": 1},
    "step": {"scale": "smoke", "batch": 2, "rounds": 1},
    "upsample": {"scale": "smoke", "batch": 2, "rounds": 1},
}


def test_every_benchmark_is_tried_here() -> None:
    assert bench.known_benchmarks() == sorted(TINY)


@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_returns_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGMIX_DATA", raising=False)
    rows = bench.load_benchmark(name).run(device="cpu", **TINY[name])
    assert len({row.variant for row in rows}) == len(rows) > 1
    assert any(row.ratio == 1 for row in rows)
    for row in rows:
        assert row.name == name
        assert row.unit
        assert math.isfinite(row.median)
        assert row.median > 0
        assert math.isfinite(row.ratio)
        assert row.ratio > 0


def test_the_command_gives_rows() -> None:
    rows = segmix("bench", "clusters", "--json").document()
    has_kind(rows, [{"name": str, "variant": str, "median": NUMBER, "ratio": NUMBER, "unit": str}])
    assert {row["name"] for row in rows} == {"clusters"}
    assert (rows[0]["ratio"], rows[0]["unit"]) == (1, "ms")
    assert len({row["variant"] for row in rows}) == len(rows) > 1


def test_a_ratio_pairs_the_times_of_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    took = iter([1, 9, 2, 3, 6, 9, 27])  # untimed: a, b; the rounds a b c, then a b without c
    order = []

    def variant(name: str) -> None:
        order.append(name)
        clock[0] += next(took)

    monkeypatch.setattr(bench.time, "perf_counter", lambda: clock[0])
    variants = {name: lambda name=name: variant(name) for name in "abc"}
    rows = bench.interleaved("x", variants, reference="a", rounds=2, once=["c"])
    assert order == list("ababcab")
    a, b, c = rows
    assert (a.median, a.ratio, a.unit) == (5500, 1, "ms")  # 2 and 9 seconds
    assert (b.median, b.ratio) == (15000, (3 / 2 + 27 / 9) / 2)
    assert (c.median, c.ratio) == (6000, 6 / 5.5)


def test_counting_label_maps_imports_no_torch() -> None:
    check = (
        "import sys; from segmix_core.bench import load_benchmark;"
        "load_benchmark('statistics').run(device='cpu', masks=4, rounds=1); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_unknown_names_and_a_missing_folder_are_bad_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="did you mean 'mixing'"):
        bench.run_benchmarks("mixin", device="cpu")
    with pytest.raises(InputError, match="device"):
        bench.run_benchmarks("clusters", device="abacus")
    monkeypatch.setattr(bench, "FOLDER", tmp_path / "benchmarks")
    with pytest.raises(InputError, match="checkout"):
        bench.run_benchmarks(None, device="cpu")
