"""The study of robustness, run in pieces: each network under each condition, the most telling first."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from segmix_core import results
from segmix_core.attacks import Perturbation
from segmix_core.attacks.adaptive import LOSSES, Adversary, Aim, available_aims, losses_of
from segmix_core.attacks.sanity import (
    Check,
    all_hold,
    finite_and_unmasked,
    never_helps,
    noise_is_weaker,
    nothing_at_zero,
    transfer_is_not_stronger,
    unbounded_reaches_zero,
)
from segmix_core.attacks.uap import UAP
from segmix_core.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.errors import InputError
from segmix_core.evaluation import Scores, evaluate
from segmix_core.experiments import METHODS, Method, nearest
from segmix_core.experiments.robustness import (
    CRAFTED_ON_EACH,
    KINDS,
    STUDIED,
    STUDIES,
    SURROGATE,
    TOLERANCE,
    UNIVERSALS,
    Part,
    Study,
)
from segmix_core.files import alone, file_digest
from segmix_core.measure import shared_fields
from segmix_core.metrics import ImageConfusions, save_confusions, sparse
from segmix_core.models import SourceSeparation, load_model, read_checkpoint
from segmix_core.request import Request, data_of, precision_of
from segmix_core.rng import stream
from segmix_core.robustness.adaptive import AttackedSet, attack_dataset, attack_folder, batch_of, worst_of
from segmix_core.robustness.code import attack_digest
from segmix_core.robustness.universal import (
    Shown,
    crafted,
    crafting,
    fittings,
    published,
    ways,
)
from segmix_core.run import (
    OutOfTimeError,
    Ran,
    Report,
    append_missing,
    asked_of,
    cached_run,
    held_rows,
)

UNBOUNDED = 255.0
"""Epsilon at which nothing is left of an image."""

Reporter = Callable[[str, str], Report]
"""Given what is done and what is counted ("steps", "images"): what is told how far it is."""


@dataclass
class Clock:
    """Time that is left: work that takes long stops where it says how far it is, and can go on from there."""

    budget: float | None  # seconds
    began: float = field(default_factory=lambda: time.monotonic())

    @property
    def left(self) -> float | None:
        """Seconds that are left; None without a budget."""
        return None if self.budget is None else self.budget - (time.monotonic() - self.began)

    def look(self) -> None:
        """Raise OutOfTimeError if no time is left."""
        if self.left is not None and self.left <= 0:
            raise OutOfTimeError

    def watched(self, report: Report) -> Report:
        """A report that raises OutOfTimeError when it is not likely to be called again in time.

        That is judged by the longest time between two calls. After the last of them there is no more to do.
        """
        last, longest = time.monotonic(), 0.0

        def told(done: int, whole: int, terms: dict[str, float]) -> None:
            nonlocal last, longest
            report(done, whole, terms)
            now = time.monotonic()
            last, longest = now, max(longest, now - last)
            if done < whole and self.left is not None and self.left < longest:
                raise OutOfTimeError

        return told


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
                    clock.look()
                    results.check_appendable(path)
                    target = Target(request, request_for, clock, reporter)
                    if _is_held(target, part, held_rows(results_file), perturbations):
                        ran.held.append(label)
                        continue
                    with alone(target.folder):
                        rows = [*target.clean, *_PARTS[part](target, perturbations)]
                except OutOfTimeError:
                    ran.left.append(label)
                    continue
                append_missing(path, rows)
                ran.done.append(label)
    if "universal" in parts and perturbations is None:
        ran.left.append("published perturbations (need --perturbations)")
    return ran


def _is_held(target: Target, part: Part, rows: list[dict[str, Any]], perturbations: Path | None) -> bool:
    """Whether rows of one training run hold a part whole, the last of them of this code of attacks.

    Rows of before it was noted name no code, and count whatever code they are of.
    """
    request = target.request
    own = asked_of(request) | {"method_digest": request.experiment.digest()}
    found = [
        row
        for row in rows
        if (row["condition"] or {}).get("kind") == KINDS[part]
        and all(row[name] == value for name, value in own.items())
    ]
    if not found:  # nor need the data be read
        return False
    shown = target.shown_in(part)
    data = target.training.digest(), shown.digest()
    code = _adaptive_digest(target, shown) if part == "adaptive" else attack_digest(KINDS[part])[:12]
    said_by_run = defaultdict(list)  # the last first
    for row in reversed(found):
        if (row["dataset_digest"], row["eval_digest"]) == data:
            said = row["condition"]["making"] | row["condition"] | {"stage": row["stage"]}
            said_by_run[results.run_of(row)].append(said)

    def holds(said: list[dict[str, Any]], wanted: dict[str, Any]) -> bool:
        last = next((one for one in said if wanted.items() <= one.items()), None)
        return last is not None and last["making"].get("code", code) == code

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
                for stage, everyway in ((2, one.file is not None), (1, False)):
                    for how, control in fittings(published=everyway):
                        yield {"name": one.name, "how": how, "control": control, "stage": stage}


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
            if universal.file is not None:
                published(perturbations, universal)


class Target:
    """A network under study: its run, and everything that its rows say whatever it is shown."""

    def __init__(
        self, request: Request, request_for: Callable[..., Request], clock: Clock, reporter: Reporter
    ) -> None:
        self.request, self.clock, self.reporter = request, clock, reporter
        self._request_for = request_for
        self.name = request.experiment.name
        self.training, evaluations = data_of(request)
        if not evaluations or evaluations[0].num_logits == 1:
            raise InputError(
                request.dataset,
                "has no list of segmented images to attack",
                "choose VOC, COCO or silhouettes",
            )
        self.evaluation = evaluations[0]
        self.study: Study = STUDIES[request.scale.name]
        self.output = request.experiment.method.output()
        self._shared: dict[str, dict[str, Any]] = {}

    @cached_property
    def _run(self) -> tuple[Path, list[dict[str, Any]]]:
        report = self.reporter(f"{self.name} seed {self.request.seed}", "steps")
        return cached_run(self.request, report=report, seconds=self.clock.left)

    @property
    def checkpoint(self) -> Path:
        """The network after its last stage, which is trained on first use."""
        return self._run[0]

    @property
    def clean(self) -> list[dict[str, Any]]:
        """The rows of images as they are."""
        return self._run[1]

    @property
    def folder(self) -> Path:
        """Where what was done of its study is kept."""
        return self.checkpoint.parent / "robustness"

    def shown(self, what: str, unit: str = "images") -> Report:
        """What is told how far some work at this network is.

        Raises:
            OutOfTimeError: there is no time to begin.
        """
        self.clock.look()
        return self.reporter(f"{self.name} seed {self.request.seed}, {what}", unit)

    def report(self, what: str, unit: str = "images") -> Report:
        """The same, for work that ends when the time is up."""
        return self.clock.watched(self.shown(what, unit))

    def another(self, name: str, seed: int | None = None) -> Target:
        """Another network of the same scale and data."""
        request = self._request_for(name, seed=self.request.seed if seed is None else seed)
        return Target(request, self._request_for, self.clock, self.reporter)

    @cached_property
    def model(self) -> SourceSeparation:
        """The network after its last stage, on its device."""
        return self._loaded(self.checkpoint)

    @cached_property
    def stage1(self) -> SourceSeparation:
        """The network after stage 1."""
        return self._loaded(self.checkpoint.with_name("stage1.pt"))

    def _loaded(self, checkpoint: Path) -> SourceSeparation:
        model = load_model(checkpoint)
        model.to(self.request.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    @cached_property
    def kept(self) -> list[dict[str, Any]]:
        """The rows that are kept beside the network: of conditions that it was shown already."""
        path = self._rows_file
        return results.read(path) if path.exists() else []

    @property
    def _rows_file(self) -> Path:
        return self.folder / "rows.jsonl"

    def keep(self, rows: list[dict[str, Any]]) -> None:
        """Keep rows beside the network."""
        results.append(self._rows_file, rows)
        self.kept.extend(rows)

    def chosen(self, number: int | None) -> SegmentationDataset:
        """So many evaluation images, the same for every network; all of them for None."""
        if number is None or number >= len(self.evaluation):
            return self.evaluation
        drawn = stream(0, "robustness", "images").permutation(len(self.evaluation))[:number]
        return self.evaluation.only(sorted(int(index) for index in drawn))

    def shown_in(self, part: Part) -> SegmentationDataset:
        """The evaluation images of a part."""
        number = {"adaptive": self.study.images, "corruptions": self.study.corrupted}.get(part)
        return self.chosen(number)

    def seen(
        self,
        model: SourceSeparation,
        dataset: SegmentationDataset,
        perturb: Callable[[torch.Tensor], torch.Tensor] | None,
        what: str,
    ) -> dict[str, Scores]:
        """Scores of images that are shown somehow."""
        report = self.report(what)
        return evaluate(
            model,
            dataset,
            crop=self.request.eval_crop,
            device=self.request.device,
            mean_over=self.request.mean_over,
            perturb=perturb,
            progress=lambda done, number: report(done, number, {}),
        )

    def rows(
        self,
        scores: dict[str, Scores],
        condition: dict[str, Any],
        dataset: SegmentationDataset,
        *,
        stage: int = 2,
        per_image: bool = False,
    ) -> list[dict[str, Any]]:
        """A row for each output.

        Args:
            per_image: keep the matrices of single images beside them.
        """
        method: Method = self.request.experiment.method
        digest = dataset.digest()
        if digest not in self._shared:  # reading a checkpoint and asking git take longer than a small attack
            self._shared[digest] = shared_fields(self.request, self.training, dataset, self.checkpoint)
        fields = self._shared[digest]
        kept = self._confusions(scores, dataset, stage) if per_image else None
        reported = method.output() if stage == 2 else method.stage1().output()
        return [
            fields
            | {
                "stage": stage,
                "output": output,
                "reported": stage == 2 and output == reported,
                "condition": condition,
                "metrics": score.as_json(),
                "per_image": kept,
                "steps": self._steps[stage],
            }
            for output, score in scores.items()
        ]

    @cached_property
    def _steps(self) -> dict[int, int]:
        """Of training, until the end of each stage."""
        paths = {1: self.checkpoint.with_name("stage1.pt"), 2: self.checkpoint}
        return {stage: read_checkpoint(path)["progress"]["step"] for stage, path in paths.items()}

    def _confusions(self, scores: dict[str, Scores], dataset: SegmentationDataset, stage: int) -> str:
        confusions = ImageConfusions(
            ids=dataset.ids,
            categories=dataset.categories,
            matrices={
                f"stage{stage} {output}": sparse(score.per_image_nNN) for output, score in scores.items()
            },
        )
        written = self.folder / results.PER_IMAGE / "attacked.npz"
        save_confusions(written, confusions)
        name = f"{self.name.replace('/', '-')}-{self.request.seed}-{file_digest(written)[:12]}.npz"
        return str(written.rename(written.with_name(name)))


def _universal(target: Target, perturbations: Path | None) -> Iterator[dict[str, Any]]:
    """Table 6: published perturbations, and those crafted on a baseline that is not among the compared."""
    surrogate = None
    for universal in UNIVERSALS:
        if universal.file is not None:
            if perturbations is None:
                continue
            perturbation = published(perturbations, universal)
        else:
            surrogate = surrogate or target.another("baseline", SURROGATE)
            perturbation = _crafted_on(surrogate, universal.name)
        for way in ways(perturbation, access="transfer", published=universal.file is not None):
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


def _crafted_on(source: Target, attack: str) -> Perturbation:
    how = crafting(attack, size=source.request.eval_crop, study=source.study)
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
        condition = _condition("corruption", name, severity=severity, how="imagecorruptions-imaug")

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


def _condition(kind: str, name: str, **given: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("control", "epsilon", "severity", "aim", "access"))
    making = {"code": attack_digest(kind)[:12]} | given.pop("making", {})
    return {"kind": kind, "name": name, **empty, "how": "", "valid": True} | given | {"making": making}


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


def _adaptive(target: Target, perturbations: Path | None) -> Iterator[dict[str, Any]]:
    """SEA with every aim at one size, then with the worst aim at all; its controls and sanity checks.

    What each attack finds is kept batch by batch; the rows, which tell of all of them, at the end.
    """
    dataset = target.shown_in("adaptive")
    path = target.folder / f"adaptive-{_adaptive_digest(target, dataset)}.jsonl"
    found = results.read(path) if path.exists() else []
    if not found or found[-1]["condition"]["aim"] != "worst":  # a process was killed as it wrote them
        path.unlink(missing_ok=True)
        found = list(_attacks(target, dataset))
        results.append(path, found)
    yield from found


def _adaptive_digest(target: Target, dataset: SegmentationDataset) -> str:
    """Of all that decides the rows of the adaptive part: any two with the same are of one study."""
    decides = [
        asdict(target.study),
        dataset.digest(),
        attack_digest("adaptive"),
        file_digest(Path(__file__)),
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
    worst_aim: Aim = min(by_aim, key=lambda aim: float(by_aim[aim].right_n.mean()))
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
        never_helps("epsilon", {epsilon: _mean(one) for epsilon, one in sorted(by_epsilon.items())}),
        never_helps("steps", {study.steps: _mean(by_aim[worst_aim]), study.longer: _mean(longer)}),
        all_hold(
            {
                f"at {size:g}": noise_is_weaker(_mean(by_epsilon[size]), _mean(noise[size]))
                for size in study.epsilons
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
    worst = worst_of(list(by_aim.values()))
    at_worst = _adaptive_condition(target, _Case(against(worst_aim, study.at, study.steps), study.at), checks)
    yield from target.rows(worst.scores, at_worst | {"aim": "worst"}, dataset, per_image=True)


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
    worst_aim: Aim = min(by_aim, key=lambda aim: float(by_aim[aim].right_n.mean()))
    noise = _attacked(target, dataset, _Case(None, study.at, stage=1))
    unbounded = _attacked(target, dataset, _Case(_unbounded(output, study), UNBOUNDED, stage=1))
    return [
        noise_is_weaker(_mean(by_aim[worst_aim]), _mean(noise)),
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
        "code": _adaptive_digest(target, target.shown_in("adaptive")),
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
    return _condition(
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
    """Of each aim, by the loss that does not jump where a pixel turns wrong."""
    image_BCHW, label_BHW, _ = batch_of(
        dataset, range(min(4, len(dataset))), target.request.eval_crop, target.request.device
    )
    generator = torch.Generator(device=target.request.device).manual_seed(0)
    return all_hold(
        {
            f"of {aim}": finite_and_unmasked(model, image_BCHW, label_BHW, aim=aim, generator=generator)
            for aim in available_aims(model)
        }
    )


_PARTS: dict[Part, Callable[[Target, Path | None], Iterator[dict[str, Any]]]] = {
    "universal": _universal,
    "adaptive": _adaptive,
    "corruptions": _corruptions,
    "matrix": _matrix,
}
