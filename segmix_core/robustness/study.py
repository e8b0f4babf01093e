"""The study of robustness, run in pieces: each network under each condition, the most telling first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from segmix_core import results
from segmix_core.attacks import Perturbation
from segmix_core.attacks.uap import UAP
from segmix_core.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.errors import InputError
from segmix_core.experiments import METHODS, nearest
from segmix_core.experiments.robustness import (
    CRAFTED_ON_EACH,
    KINDS,
    STUDIED,
    SURROGATE,
    UNIVERSALS,
    Part,
)
from segmix_core.files import alone
from segmix_core.request import Request
from segmix_core.robustness.at_hand import at_hand, is_published, published
from segmix_core.robustness.condition import attack_digest, condition_of, is_of_this_code
from segmix_core.robustness.protocol import adaptive_digest, adaptive_rows
from segmix_core.robustness.target import Clock, Reporter, Target
from segmix_core.robustness.universal import (
    Crafting,
    Shown,
    crafted,
    crafting,
    fittings,
    ways,
)
from segmix_core.run import OutOfTimeError, Ran, asked_of, held_rows


def run_study(
    parts: Sequence[Part],
    request_for: Callable[..., Request],
    *,
    experiments: Sequence[str] = tuple(STUDIED),
    seeds: Sequence[int] = (0,),
    perturbations: Path | None = None,
    budget: float | None = None,
    results_file: Path | None = None,
    reporter: Reporter = lambda what, unit: lambda done, whole, terms: None,
) -> Ran:
    """Run what is missing of parts of the study; networks come from the cache, trained if they are not there.

    Rows land in `results_file`, beside those of the same network on images as they are. A part of one network
    is in it whole or not at all; what was done of it stays in the cache. What that file, or without one any
    of the repository's, holds whole is not measured again, unless by other code of attacks.

    Args:
        request_for: called with an experiment's name and `seed`.
        experiments: names among `STUDIED`.
        perturbations: folder of the published perturbations; without it their rows are left.
        budget: seconds; work that outlasts them is stopped, and goes on another time.

    Returns:
        What is done, held already, and left, as "part experiment seed".

    Raises:
        InputError: an unknown experiment; the seed of the surrogate; data that cannot be attacked; a
            perturbation that is missing or broken.
    """
    check_study(parts, experiments=experiments, seeds=seeds, perturbations=perturbations)
    clock = Clock(budget)
    ran = Ran()
    for part in parts:
        for seed in seeds:
            for name in experiments:
                label = f"{part} {name} {seed}"
                request = request_for(name, seed=seed)
                path = results_file or results.RESULTS / f"{request.dataset}-{request.scale.name}.jsonl"
                try:
                    present = held_rows(results_file)
                    if not _rows_of(request, part, present):  # nor is data made for it on first use
                        clock.look()
                    results.check_appendable(path)
                    target = Target(request, request_for, clock, reporter)
                    if _is_held(target, part, present, perturbations):
                        ran.held.append(label)
                        continue
                    clock.look()
                    with alone(target.folder):
                        rows = [*target.clean, *_PARTS[part](target, perturbations)]
                except OutOfTimeError:
                    ran.left.append(label)
                    continue
                results.append_missing(path, rows)
                ran.done.append(label)
    if "universal" in parts and perturbations is None:
        ran.left.append("published perturbations (need --perturbations)")
    return ran


def _rows_of(request: Request, part: Part, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a part that a request's network may have; which images they are of is not asked."""
    own = asked_of(request) | {"method_digest": request.experiment.digest()}
    return [
        row
        for row in rows
        if (row["condition"] or {}).get("kind") == KINDS[part]
        and all(row[name] == value for name, value in own.items())
    ]


def _is_held(target: Target, part: Part, rows: list[dict[str, Any]], perturbations: Path | None) -> bool:
    """Whether rows of one training run hold a part whole, the last of them of this code of attacks.

    Rows of before it was noted name no code, and count whatever code they are of.
    """
    found = _rows_of(target.request, part, rows)
    if not found:  # nor need the data be read
        return False
    shown = target.shown_in(part)
    data = target.training.digest(), shown.digest()
    code = adaptive_digest(target, shown) if part == "adaptive" else attack_digest(KINDS[part])[:12]
    said_by_run = defaultdict(list)  # the last first
    for row in reversed(found):
        if (row["dataset_digest"], row["eval_digest"]) == data:
            said = row["condition"]["making"] | row["condition"] | {"stage": row["stage"]}
            said_by_run[results.run_of(row)].append(said)

    def holds(said: list[dict[str, Any]], wanted: dict[str, Any]) -> bool:
        last = next((one for one in said if wanted.items() <= one.items()), None)
        return last is not None and is_of_this_code(last["making"].get("code"), KINDS[part], code)

    whole = list(_whole(target, part, perturbations))
    return any(all(holds(said, wanted) for wanted in whole) for said in said_by_run.values())


def _whole(target: Target, part: Part, perturbations: Path | None) -> Iterator[dict[str, Any]]:
    """What rows of a part say if it is whole, by which one tells that none is missing."""
    study = target.study
    if part == "adaptive":
        at = {"stage": 2, "control": None, "epsilon": study.at}
        yield from (at | {"epsilon": epsilon, "steps": study.steps} for epsilon in study.epsilons)
        yield at | {"steps": study.longer}
        yield at | {"steps": study.steps, "aim": "worst"}
    elif part == "corruptions":
        yield from ({"name": name, "severity": severity} for name, severity, _ in _corrupted())
    elif part == "matrix":
        for name in METHODS:
            for attack in CRAFTED_ON_EACH:
                for how, control in fittings(published=False):
                    yield {"name": f"{attack} on {name}", "how": how, "control": control}
    else:
        for one in UNIVERSALS:
            if one.file is None or perturbations is not None:
                found = (
                    at_hand(one, target.request, target.training, perturbations) if one.file is None else None
                )
                pixels = {} if found is None else {"sha256": found.origin["sha256"]}
                for stage, everyway in ((2, one.file is not None or is_published(found)), (1, False)):
                    for how, control in fittings(published=everyway):
                        yield pixels | {"name": one.name, "how": how, "control": control, "stage": stage}


def check_study(
    parts: Sequence[Part], *, experiments: Sequence[str], seeds: Sequence[int], perturbations: Path | None
) -> None:
    """Find what `run_study` would refuse, before any work.

    Raises:
        InputError: an unknown experiment; the seed of the surrogate; a perturbation that is missing or
            broken.
    """
    for name in experiments:
        if name not in STUDIED:
            raise nearest("method of the study", name, STUDIED)
    if SURROGATE in seeds:
        raise InputError(
            f"seed {SURROGATE}", "is that of the network on which attacks are crafted", "choose other seeds"
        )
    if "universal" in parts and perturbations is not None:
        for universal in UNIVERSALS:
            published(perturbations, universal)


def _universal(target: Target, perturbations: Path | None) -> Iterator[dict[str, Any]]:
    """Table 6: published perturbations, and those crafted on a baseline that is not among the compared."""
    surrogate = None
    for universal in UNIVERSALS:
        if universal.file is not None and perturbations is None:
            continue
        perturbation = at_hand(universal, target.request, target.training, perturbations)
        if perturbation is None:
            surrogate = surrogate or target.another("baseline", SURROGATE)
            perturbation = _crafted_on(surrogate, universal.name)
        for way in ways(perturbation, access="transfer", published=is_published(perturbation)):
            yield from _under(target, way)
        for way in ways(perturbation, access="transfer", published=False):
            yield from _under(target, way, stage=1)


def _matrix(target: Target, perturbations: Path | None) -> Iterator[dict[str, Any]]:
    """Who attacks whom: perturbations crafted on each method with the same seed, its own among them."""
    for name in METHODS:
        source = target if name == target.name else target.another(name)
        access = "white-box" if name == target.name else "transfer"
        for attack in CRAFTED_ON_EACH:
            perturbation = replace(_crafted_on(source, attack), name=f"{attack} on {name}")
            for way in ways(perturbation, access=access, published=False):
                yield from _under(target, way)


def _crafting_of(source: Target, attack: str) -> Crafting:
    return crafting(attack, size=source.request.eval_crop, study=source.study)


def _crafted_on(source: Target, attack: str) -> Perturbation:
    how = _crafting_of(source, attack)
    return crafted(
        source.checkpoint,
        how,
        source.training,
        source.folder / "perturbations",
        output=source.output,
        device=source.request.device,
        report=source.report(f"crafting {attack}", "images" if isinstance(how, UAP) else "steps"),
    )


def _under(target: Target, way: Shown, *, stage: int = 2) -> Iterator[dict[str, Any]]:
    """The rows of a network that is shown the images in a way; from the cache if they are there."""
    condition = way.condition()

    def work() -> list[dict[str, Any]]:
        model = target.model if stage == 2 else target.stage1
        what = f"{condition['name']} {condition['control'] or way.fit}"
        scores = target.seen(model, target.evaluation, way.perturb(), what)
        return target.rows(scores, condition, target.evaluation, stage=stage)

    yield from _kept(target, target.evaluation, condition, stage, work)


def _kept(
    target: Target,
    dataset: SegmentationDataset,
    condition: dict[str, Any],
    stage: int,
    work: Callable[[], list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """The rows of a condition: those that are kept beside the network, or measured now and kept there."""
    wanted = (condition, stage, dataset.digest())
    same = [row for row in target.kept if (row["condition"], row["stage"], row["eval_digest"]) == wanted]
    if not same:
        same = work()
        target.keep(same)
    return same


def _corruptions(target: Target, perturbations: Path | None) -> Iterator[dict[str, Any]]:
    """Every corruption of the benchmark at every severity, and the same images as they are (severity 0)."""
    dataset = target.shown_in("corruptions")
    for name, severity, corruption in _corrupted():
        library = "imagecorruptions-imaug"
        making = {"library": f"{library} {version(library)}"}
        condition = condition_of("corruption", name, severity=severity, how=library, making=making)

        def work(
            corruption: Corruption | None = corruption, condition: dict[str, Any] = condition
        ) -> list[dict[str, Any]]:
            perturb = None if corruption is None else corruption.perturb(seed=0)
            what = f"{condition['name']} {condition['severity']}"
            return target.rows(target.seen(target.model, dataset, perturb, what), condition, dataset)

        yield from _kept(target, dataset, condition, 2, work)


def _corrupted() -> Iterator[tuple[str, int, Corruption | None]]:
    yield "none", 0, None
    yield from (
        (name, severity, Corruption(name, severity)) for name in CORRUPTIONS for severity in SEVERITIES
    )


_PARTS: dict[Part, Callable[[Target, Path | None], Iterator[dict[str, Any]]]] = {
    "universal": _universal,
    "adaptive": lambda target, perturbations: adaptive_rows(target),
    "corruptions": _corruptions,
    "matrix": _matrix,
}
