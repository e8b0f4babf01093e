"""Attacks on any checkpoint and any data set: the document of `segmix attack`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmix_core.attacks.adaptive import LOSSES, Adversary, Aim, Loss, available_aims
from segmix_core.data import open_dataset
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.errors import InputError
from segmix_core.evaluation import evaluate
from segmix_core.experiments import Method, nearest
from segmix_core.files import file_digest
from segmix_core.models import SourceSeparation, load_model, read_checkpoint
from segmix_core.request import check_categories, check_device
from segmix_core.rng import stream
from segmix_core.robustness.adaptive import attack_dataset, attack_folder
from segmix_core.robustness.universal import CRAFTED, Shown, attack_digest, crafted, crafting, ways

ADAPTIVE: dict[str, tuple[tuple[Loss, ...], bool]] = {
    "sea": (LOSSES, True),
    "apgd": (LOSSES[:1], False),
    "noise": ((), False),
}
"""Attacks on single images by name: the losses tried, and whether the radius shrinks."""

ATTACKS = (*ADAPTIVE, *CRAFTED)

Reporter = Callable[[str], Callable[..., None]]


@dataclass(frozen=True, kw_only=True)
class Attacking:
    """What `segmix attack` was asked for."""

    checkpoint: Path
    attack: str
    epsilons: tuple[float, ...]  # 0..255
    aim: Aim
    dataset: str
    root: Path
    split: str
    craft_split: str  # list that universal perturbations are crafted on
    out: Path  # keeps what is done, and the perturbations
    images: int | None = None
    steps: int = 300
    crop: int | None = None
    mean_over: tuple[str, ...] | None = None
    device: str = "cpu"
    seed: int = 0


def attack_checkpoint(asked: Attacking, *, reporter: Reporter) -> dict[str, Any]:
    """Attack the network of a checkpoint at each size; what was done before is taken from `asked.out`.

    Returns:
        `results`: for each size, and for a universal perturbation each of its controls, mIoU and aAcc of the
        output that is attacked ("dominant" or "final"; else the one that the method reports, R12); `valid`
        is false where an attack left more right than a smaller one, or no less than noise of its size.

    Raises:
        InputError: an unknown attack; a head without what is aimed at; a bad checkpoint or data set.
    """
    check_device(asked.device)
    if asked.attack not in ATTACKS:
        raise nearest("attack", asked.attack, ATTACKS)
    content = read_checkpoint(asked.checkpoint)
    model = load_model(asked.checkpoint).to(asked.device)
    opened = open_dataset(asked.dataset, asked.root, asked.split)
    check_categories(asked.mean_over, opened.categories)
    if opened.num_logits == 1 or model.architecture["num_categories"] != opened.num_logits:
        raise InputError(
            asked.checkpoint,
            f"knows {model.architecture['num_categories']} categories, not {opened.num_logits}",
            "name a checkpoint trained on the same categories",
        )
    if asked.aim not in available_aims(model):
        raise InputError(
            asked.checkpoint,
            f"a head '{model.architecture['head']}' has no '{asked.aim}' to attack",
            f"choose {' or '.join(available_aims(model))}",
        )
    measured = asked.aim
    if asked.aim in ("joint", "phantom"):
        measured = Method.stored(content["identity"]["method"]).output()
    chosen = opened
    if asked.images is not None and asked.images < len(opened):
        drawn = stream(asked.seed, "attack", "images").permutation(len(opened))[: asked.images]
        chosen = opened.only(sorted(int(index) for index in drawn))
    crop = asked.crop or content["identity"]["scale"]["eval_crop"]
    work = _universal if asked.attack in CRAFTED else _adaptive
    found = work(asked, model, chosen, measured, crop, reporter)
    return {"images": len(chosen), "crop": crop, "measured": measured, "results": found}


def _adaptive(
    asked: Attacking,
    model: SourceSeparation,
    dataset: SegmentationDataset,
    measured: str,
    crop: int,
    reporter: Reporter,
) -> list[dict[str, Any]]:
    losses, shrink = ADAPTIVE[asked.attack]
    lines: list[dict[str, Any]] = []
    least = None
    network = file_digest(asked.checkpoint)[:16]
    for epsilon in sorted(asked.epsilons):
        adversaries: list[Adversary | None] = [None]  # noise of the same size, to hold it against
        if losses:
            adversary = Adversary(
                aim=asked.aim, epsilon=epsilon, steps=asked.steps, losses=losses, shrink=shrink
            )
            adversaries.append(adversary)
        rights = []
        for one in adversaries:
            folder = attack_folder(
                asked.out, one, epsilon=epsilon, network=network, images=dataset.digest(),
                measured=measured, crop=crop, seed=asked.seed, code=attack_digest(),
            )  # fmt: skip
            report = reporter(f"{asked.attack if one else 'noise'}, epsilon {epsilon:g}")
            attacked = attack_dataset(
                model,
                dataset,
                one,
                epsilon=epsilon,
                measured=measured,
                crop=crop,
                device=asked.device,
                mean_over=asked.mean_over,
                seed=asked.seed,
                folder=folder,
                progress=lambda done, number, report=report: report(done, number),  # type: ignore[misc]
            )
            rights.append(float(attacked.right_n.mean()))
        metrics = attacked.scores[measured].as_json()
        weaker = not losses or epsilon == 0 or rights[1] < rights[0] or rights[1] == 0
        valid = weaker and (least is None or rights[-1] <= least + 0.005)
        least = rights[-1] if least is None else min(least, rights[-1])
        lines.append(
            _line(asked, epsilon, len(dataset), metrics, valid)
            | {"noise_aAcc": round(100 * rights[0], 4), "mean_image_accuracy": round(100 * rights[-1], 4)}
        )
    return lines


def _universal(
    asked: Attacking,
    model: SourceSeparation,
    dataset: SegmentationDataset,
    measured: str,
    crop: int,
    reporter: Reporter,
) -> list[dict[str, Any]]:
    training = open_dataset(asked.dataset, asked.root, asked.craft_split)
    lines: list[dict[str, Any]] = []
    for epsilon in sorted(asked.epsilons):
        if epsilon <= 0:
            raise InputError("--epsilon", f"{epsilon:g} leaves nothing to craft", "give sizes above 0")
        how = crafting(asked.attack, size=crop, epsilon=epsilon, seed=asked.seed)
        perturbation = crafted(
            asked.checkpoint,
            how,
            training,
            asked.out,
            output=measured,
            device=asked.device,
            report=reporter(f"crafting {asked.attack}, epsilon {epsilon:g}"),
        )
        shown = [*ways(perturbation, access="white-box", published=False)]
        scores = [_seen(asked, model, dataset, way, crop)[measured].as_json() for way in shown]
        beats = all(scores[0]["aAcc"] < control["aAcc"] for control in scores[1:])
        for way, metrics in zip(shown, scores, strict=True):
            lines.append(
                _line(asked, epsilon, len(dataset), metrics, beats)
                | {"control": way.control, "steps": None, "making": perturbation.origin}
            )
    return lines


def _seen(
    asked: Attacking, model: SourceSeparation, dataset: SegmentationDataset, way: Shown, crop: int
) -> Any:
    return evaluate(
        model,
        dataset,
        crop=crop,
        device=asked.device,
        mean_over=asked.mean_over,
        perturb=way.perturb(),
    )


def _line(
    asked: Attacking, epsilon: float, images: int, metrics: dict[str, Any], valid: bool
) -> dict[str, Any]:
    return {
        "attack": asked.attack,
        "epsilon": epsilon,
        "output": asked.aim,
        "images": images,
        "steps": asked.steps,
        "mIoU": metrics["mIoU"],
        "aAcc": metrics["aAcc"],
        "valid": valid,
    }
