"""The adaptive part of the study: which attacks of which size, and what must hold of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from segmix_core import results
from segmix_core.attacks.adaptive import LOSSES, Adversary, Aim, available_aims, losses_of
from segmix_core.attacks.sanity import (
    Check,
    all_hold,
    never_helps,
    noise_is_weaker,
    nothing_at_zero,
    transfer_is_not_stronger,
    unbounded_reaches_zero,
)
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.experiments.robustness import SURROGATE, TOLERANCE, Study
from segmix_core.files import file_digest
from segmix_core.models import SourceSeparation
from segmix_core.request import precision_of
from segmix_core.robustness.adaptive import (
    AttackedSet,
    attack_dataset,
    attack_folder,
    gradients_of,
    worst_of,
)
from segmix_core.robustness.condition import attack_digest, condition_of
from segmix_core.robustness.target import Target

UNBOUNDED = 255.0
"""Epsilon at which nothing is left of an image."""


@dataclass(frozen=True)
class _Case:
    """One attack of the adaptive part."""

    adversary: Adversary | None  # None: random signs of the size below
    epsilon: float
    stage: int = 2
    on: Target | None = None  # the network it is made on, if another

    @property
    def aim(self) -> str | None:
        return None if self.adversary is None else self.adversary.aim


def adaptive_rows(target: Target) -> Iterator[dict[str, Any]]:
    """SEA with every aim at one size, then with the worst aim at all; its controls and sanity checks.

    What each attack finds is kept batch by batch; the rows, which tell of all of them, at the end.
    """
    dataset = target.shown_in("adaptive")
    path = target.folder / f"adaptive-{adaptive_digest(target, dataset)}.jsonl"
    if not path.exists():
        part = path.with_suffix(".part")  # of a process that was killed as it wrote, if it is there
        part.unlink(missing_ok=True)
        results.append(part, list(_attacks(target, dataset)))
        part.rename(path)
    yield from results.read(path)


def adaptive_digest(target: Target, dataset: SegmentationDataset) -> str:
    """Of all that decides the rows of the adaptive part: any two with the same are of one study."""
    decides = [
        asdict(target.study),
        dataset.digest(),
        attack_digest("adaptive"),
        TOLERANCE,
    ]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:12]


def _attacks(target: Target, dataset: SegmentationDataset) -> Iterator[dict[str, Any]]:
    study = target.study
    found: list[tuple[_Case, AttackedSet]] = []

    def shown(case: _Case) -> AttackedSet:
        attacked = _attacked(target, dataset, case)
        found.append((case, attacked))
        return attacked

    def against(aim: Aim, epsilon: float, steps: int, **how: Any) -> Adversary:
        return Adversary(aim=aim, epsilon=epsilon, steps=steps, **how)

    # One step, so that the check that size 0 changes nothing is about an attack; both in the same batches.
    as_it_is = _attacked(target, dataset, _Case(None, 0.0))
    clean = shown(_Case(against("dominant", 0.0, 1, losses=LOSSES[:1], shrink=False), 0.0))
    by_aim = {
        aim: shown(_Case(against(aim, study.at, study.steps), study.at))
        for aim in available_aims(target.model)
    }
    worst_aim = _worst_aim(by_aim)
    noise = {epsilon: shown(_Case(None, epsilon)) for epsilon in study.epsilons}
    by_epsilon = {0.0: clean, study.at: by_aim[worst_aim]}
    for epsilon in study.epsilons:
        if epsilon != study.at:
            by_epsilon[epsilon] = shown(_Case(against(worst_aim, epsilon, study.steps), epsilon))
    surrogate = target.another("baseline", SURROGATE)
    transferred = shown(_Case(against("dominant", study.at, study.steps), study.at, on=surrogate))
    longer = shown(_Case(against(worst_aim, study.at, study.longer), study.at))
    unbounded = shown(_Case(_unbounded(target.output, study), UNBOUNDED))
    at_stage1 = {
        aim: shown(_Case(against(aim, study.at, study.steps), study.at, stage=1))
        for aim in available_aims(target.stage1)
    }

    checks = [
        nothing_at_zero(_mean(as_it_is), _mean(clean)),
        all_hold(
            {
                which: never_helps("epsilon", {epsilon: _mean(one) for epsilon, one in sorted(curve.items())})
                for which, curve in (
                    ("the worst aim", by_epsilon),
                    ("as reported", by_epsilon | {study.at: worst_of(list(by_aim.values()))}),
                )
            }
        ),
        never_helps("steps", {study.steps: _mean(by_aim[worst_aim]), study.longer: _mean(longer)}),
        all_hold(
            {
                f"at {size:g}": noise_is_weaker(_mean(by_epsilon[size]), _mean(noise[size]), by=margin)
                for size, margin in _margins(study.epsilons)
            }
        ),
        unbounded_reaches_zero(_mean(unbounded)),
        transfer_is_not_stronger(_mean(by_aim[worst_aim]), _mean(transferred)),
        _gradients(target, target.model, dataset),
    ]
    checks_by_stage = {1: _stage1_checks(target, dataset, at_stage1), 2: checks}
    for case, attacked in found:
        condition = _adaptive_condition(target, case, checks_by_stage[case.stage])
        yield from target.rows(attacked.scores, condition, dataset, stage=case.stage, per_image=True)
    for stage, of, aim in ((1, at_stage1, _worst_aim(at_stage1)), (2, by_aim, worst_aim)):
        case = _Case(against(aim, study.at, study.steps), study.at, stage)
        condition = _adaptive_condition(target, case, checks_by_stage[stage]) | {"aim": "worst"}
        scores = worst_of(list(of.values())).scores
        yield from target.rows(scores, condition, dataset, stage=stage, per_image=True)


def _worst_aim(by_aim: Mapping[Aim, AttackedSet]) -> Aim:
    """The aim that leaves the fewest pixels right, in the mean over images."""
    return min(by_aim, key=lambda aim: float(by_aim[aim].right_n.mean()))


def _margins(epsilons: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Each size, and by how much the attack must be ahead of noise there."""
    for epsilon in epsilons:
        yield epsilon, TOLERANCE if epsilon == max(epsilons) else 0.0


def _unbounded(output: str, study: Study) -> Adversary:
    """Against the output that is measured: what is right there is all that it has to change."""
    aim: Aim = "final" if output == "final" else "dominant"
    return Adversary(aim=aim, epsilon=UNBOUNDED, steps=study.steps, losses=LOSSES[:1], shrink=False)


def _stage1_checks(
    target: Target, dataset: SegmentationDataset, by_aim: dict[Aim, AttackedSet]
) -> list[Check]:
    """What must hold of the attacks on the network before stage 2."""
    study = target.study
    output = target.request.experiment.method.stage1().output()
    noise = _attacked(target, dataset, _Case(None, study.at, stage=1))
    unbounded = _attacked(target, dataset, _Case(_unbounded(output, study), UNBOUNDED, stage=1))
    return [
        noise_is_weaker(_mean(by_aim[_worst_aim(by_aim)]), _mean(noise), by=TOLERANCE),
        unbounded_reaches_zero(_mean(unbounded)),
        _gradients(target, target.stage1, dataset),
    ]


def _attacked(target: Target, dataset: SegmentationDataset, case: _Case) -> AttackedSet:
    on = case.on or target
    model = target.model if case.stage == 2 else target.stage1
    source = None if case.on is None else file_digest(on.checkpoint)[:16]
    folder = attack_folder(
        target.folder / "attacks",
        case.adversary,
        epsilon=case.epsilon,
        stage=case.stage,
        on=source,
        images=dataset.digest(),
        precision=precision_of(target.request),
        code=attack_digest("adaptive"),
    )
    aim = "noise" if case.adversary is None else f"attack on {case.adversary.aim}"
    shown = target.shown(f"{aim}, epsilon {case.epsilon:g}")
    report = target.clock.watched(shown)
    return attack_dataset(
        on.model if case.on is not None else model,
        dataset,
        case.adversary,
        epsilon=case.epsilon,
        measured=_measured(target, case),
        crop=target.request.eval_crop,
        judges=model,
        device=target.request.device,
        precision=precision_of(target.request),
        mean_over=target.request.mean_over,
        folder=folder,
        progress=lambda done, number: report(done, number, {}),
        working=shown,
    )


def _measured(target: Target, case: _Case) -> str:
    return target.output if case.stage == 2 else target.request.experiment.method.stage1().output()


def _adaptive_condition(target: Target, case: _Case, checks: Sequence[Check]) -> dict[str, Any]:
    failed = [check.name for check in checks if not check.holds]
    making: dict[str, Any] = {
        "checks": {check.name: check.detail for check in checks},
        "failed": failed,
        "code": adaptive_digest(target, target.shown_in("adaptive")),
    }
    if case.adversary is not None:
        making |= asdict(case.adversary) | {"losses": list(losses_of(case.adversary))}
        making["precision"] = precision_of(target.request)  # of the search
    if case.on is not None:
        making["made on"] = {"experiment": case.on.name, "seed": case.on.request.seed}
    making["measured"] = _measured(target, case)  # the output whose worst iterate counts
    access = None  # of images as they are and of noise, which look at no network
    if case.adversary is not None and case.epsilon > 0:
        access = "white-box" if case.on is None else "transfer"
    how = "as it is" if case.epsilon == 0 else "random signs"
    if case.adversary is not None and case.epsilon > 0:
        one = case.adversary
        losses = len(losses_of(one))
        how = f"{'SEA' if one.shrink else 'APGD'}, {one.steps} steps, {losses} loss{'es' * (losses > 1)}"
        how += ", searched in bf16" * (precision_of(target.request) == "bf16")
    return condition_of(
        "adaptive",
        "sea",
        control="signs of the same size" if case.adversary is None else None,
        epsilon=case.epsilon,
        aim=case.aim if case.epsilon > 0 else None,
        access=access,
        how=how,
        valid=not failed,
        making=making,
    )


def _mean(attacked: AttackedSet) -> float:
    """Right pixels, per cent, mean over images."""
    return 100 * float(attacked.right_n.mean())


def _gradients(target: Target, model: SourceSeparation, dataset: SegmentationDataset) -> Check:
    """Of each aim."""
    request = target.request
    return gradients_of(model, dataset, available_aims(model), crop=request.eval_crop, device=request.device)
