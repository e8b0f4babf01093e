"""Attacks on any checkpoint and any data set: the document of `segmix attack`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmix_core.attacks.adaptive import LOSSES, Adversary, Aim, Loss, available_aims
from segmix_core.attacks.perturbation import NOTHING
from segmix_core.attacks.sanity import (
    Check,
    never_helps,
    noise_is_weaker,
    nothing_at_zero,
)
from segmix_core.attacks.uap import UAP
from segmix_core.data import SALIENCY, open_dataset
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.errors import InputError
from segmix_core.evaluation import evaluate
from segmix_core.experiments import nearest
from segmix_core.experiments.robustness import TOLERANCE
from segmix_core.files import alone, file_digest, sweep
from segmix_core.measure import reported_output, stored_crop
from segmix_core.models import SourceSeparation, load_model, read_checkpoint
from segmix_core.request import check_categories, check_device, device_name
from segmix_core.rng import stream
from segmix_core.robustness.adaptive import attack_dataset, attack_folder, gradients_of
from segmix_core.robustness.condition import attack_digest
from segmix_core.robustness.universal import CRAFTED, Shown, crafted, crafting, ways
from segmix_core.run import source_digest

ADAPTIVE: dict[str, tuple[tuple[Loss, ...], bool]] = {
    "sea": (LOSSES, True),
    "apgd": (LOSSES[:1], False),
    "noise": ((), False),
}
"""Attacks on single images by name: the losses tried, and whether the radius shrinks."""

ATTACKS = (*ADAPTIVE, *CRAFTED)

Reporter = Callable[[str, str], Callable[..., None]]
"""Given what is done and what is counted: what is told how far it is."""


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
    craft_split: str | None  # list that universal perturbations are crafted on; None for the other attacks
    out: Path  # keeps what is done, and the perturbations
    images: int | None = None
    steps: int | None = None  # of each loss (300), of UAP's passes (10), of GD-UAP's iterations (40,000)
    crop: int | None = None
    mean_over: tuple[str, ...] | None = None
    device: str = "cpu"
    seed: int = 0


def attack_checkpoint(asked: Attacking, *, reporter: Reporter) -> dict[str, Any]:
    """Attack the network of a checkpoint at each size; what was done before is taken from `asked.out`.

    Returns:
        `results`: for each size, and for a universal perturbation each of its controls, mIoU and aAcc of
        `output`, and the sanity checks. `output` is what is attacked ("dominant" or "final"); of another
        `aim` it is the one that the method reports (R12). A line is not `valid` where an attack left more
        right than a smaller one, was not ahead of noise of its size (at the largest size, and of universal
        perturbations: by more than `TOLERANCE`), changed something at size 0, or had gradients that are
        masked.

    Raises:
        InputError: an unknown attack; a head without what is aimed at; a bad checkpoint or data set; a folder
            that cannot be written to.
    """
    check_device(asked.device)
    if asked.attack not in ATTACKS:
        raise nearest("attack", asked.attack, ATTACKS)
    _refuse_idle(asked)
    if asked.dataset in SALIENCY:
        raise InputError(asked.dataset, "salient objects are not attacked", "choose VOC, COCO or silhouettes")
    model = load_model(asked.checkpoint).to(asked.device)
    opened = open_dataset(asked.dataset, asked.root, asked.split)
    if model.architecture["num_categories"] != opened.num_logits:
        raise InputError(
            asked.checkpoint,
            f"knows {model.architecture['num_categories']} categories, not {opened.num_logits}",
            "name a checkpoint trained on the same categories",
        )
    check_categories(asked.mean_over, opened.categories)
    if asked.aim not in available_aims(model):
        raise InputError(
            asked.checkpoint,
            f"a head '{model.architecture['head']}' has no '{asked.aim}' to attack",
            f"choose {' or '.join(available_aims(model))}",
        )
    crafted_on = asked.craft_split and open_dataset(asked.dataset, asked.root, asked.craft_split)
    measured = asked.aim
    if asked.aim in ("joint", "phantom"):
        measured = reported_output(read_checkpoint(asked.checkpoint))
    chosen = opened
    if asked.images is not None and asked.images < len(opened):
        drawn = stream(asked.seed, "attack", "images").permutation(len(opened))[: asked.images]
        chosen = opened.only(sorted(int(index) for index in drawn))
    crop = asked.crop or stored_crop(asked.checkpoint, asked.root)

    def seen(way: Shown | None, what: str) -> dict[str, Any]:
        scores = evaluate(
            model,
            chosen,
            crop=crop,
            device=asked.device,
            mean_over=asked.mean_over,
            perturb=None if way is None else way.perturb(),
            progress=reporter(what, "images"),
        )
        return scores[measured].as_json()

    with alone(asked.out):  # a folder that cannot be written to is found before the work
        sweep(asked.out)
        clean = seen(None, "as they are")
    if clean["aAcc"] is None:
        raise InputError(asked.root, "no image has a labelled pixel", "choose a list with labels")
    as_they_are = {"clean_mIoU": clean["mIoU"], "clean_aAcc": clean["aAcc"]}
    if crafted_on:
        found = _universal(asked, seen, crafted_on, len(chosen), measured, crop, reporter)
    else:
        found = _adaptive(asked, model, chosen, measured, crop, reporter)
    lines = [line | as_they_are for line in found]
    return {"images": len(chosen), "crop": crop, "measured": measured, "results": lines}


def _looks_on(asked: Attacking) -> bool:
    """Whether the attack aims at no branch of the network, and is about the predictions of one output."""
    return asked.attack in CRAFTED or asked.attack == "noise"


def _refuse_idle(asked: Attacking) -> None:
    """Raise InputError for what the attack would leave aside."""
    if _looks_on(asked) and asked.aim in ("joint", "phantom"):
        raise InputError(
            f"--output {asked.aim}", f"{asked.attack} is about one output", "choose dominant or final"
        )
    if asked.attack == "noise" and asked.steps is not None:
        raise InputError("--steps", "noise takes no steps", "leave it out")
    if asked.attack in CRAFTED and min(asked.epsilons) < NOTHING:
        raise InputError(
            "--epsilon",
            f"{min(asked.epsilons):g} leaves nothing to craft",
            f"give sizes of {NOTHING:g} or more",
        )
    if asked.attack not in CRAFTED and asked.craft_split is not None:
        raise InputError("--craft-split", f"{asked.attack} is not crafted on a list", "leave it out")


def _adaptive(
    asked: Attacking,
    model: SourceSeparation,
    dataset: SegmentationDataset,
    measured: str,
    crop: int,
    reporter: Reporter,
) -> list[dict[str, Any]]:
    losses, shrink = ADAPTIVE[asked.attack]
    network = file_digest(asked.checkpoint)[:16]
    steps = 300 if asked.steps is None else asked.steps

    def left_by(adversary: Adversary | None, epsilon: float) -> tuple[dict[str, Any], float]:
        """Metrics, and the right pixels in per cent, mean over images."""
        folder = attack_folder(
            asked.out, adversary, epsilon=epsilon, network=network, images=dataset.digest(),
            measured=measured, crop=crop, seed=asked.seed, device=device_name(asked.device),
            code=(attack_digest("adaptive"), source_digest()),
        )  # fmt: skip
        told = reporter(f"{asked.attack if adversary else 'noise'}, epsilon {epsilon:g}", "images")
        attacked = attack_dataset(
            model,
            dataset,
            adversary,
            epsilon=epsilon,
            measured=measured,
            crop=crop,
            device=asked.device,
            mean_over=asked.mean_over,
            seed=asked.seed,
            folder=folder,
            progress=told,
            working=told,
        )
        return attacked.scores[measured].as_json(), 100 * float(attacked.right_n.mean())

    largest = max(asked.epsilons)
    unmasked: Check | None = None  # the same at every size
    lines: list[dict[str, Any]] = []
    by_size: dict[float, float] = {}
    for epsilon in sorted(set(asked.epsilons)):
        noise, with_noise = left_by(None, epsilon)
        if not losses:
            lines.append(_line(asked, measured, epsilon, len(dataset), noise, [], steps=None))
            continue
        # At size 0 one step tells whether the attack stays where it must.
        tried = (steps, losses, shrink) if epsilon else (1, losses[:1], False)
        adversary = Adversary(
            aim=asked.aim, epsilon=epsilon, steps=tried[0], losses=tried[1], shrink=tried[2]
        )
        metrics, right = left_by(adversary, epsilon)
        by_size[epsilon] = right
        if epsilon:
            unmasked = unmasked or gradients_of(model, dataset, (asked.aim,), crop=crop, device=asked.device)
            margin = TOLERANCE if epsilon == largest else 0.0
            checks = [noise_is_weaker(right, with_noise, by=margin), unmasked]
        else:
            checks = [nothing_at_zero(with_noise, right)]
        if len(by_size) > 1:
            least = min(list(by_size)[:-1], key=by_size.__getitem__)
            checks.append(never_helps("epsilon", {least: by_size[least], epsilon: right}))
        lines.append(
            _line(asked, measured, epsilon, len(dataset), metrics, checks, steps=adversary.steps)
            | {"noise_mIoU": noise["mIoU"], "noise_aAcc": noise["aAcc"]}
            | {"mean_image_accuracy": round(right, 4)}
        )
    return lines


def _universal(
    asked: Attacking,
    seen: Callable[[Shown, str], dict[str, Any]],
    training: SegmentationDataset,
    images: int,
    measured: str,
    crop: int,
    reporter: Reporter,
) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for epsilon in sorted(set(asked.epsilons)):
        how = crafting(asked.attack, size=crop, epsilon=epsilon, steps=asked.steps, seed=asked.seed)
        perturbation = crafted(
            asked.checkpoint,
            how,
            training,
            asked.out,
            output=measured,
            device=asked.device,
            report=reporter(
                f"crafting {asked.attack}, epsilon {epsilon:g}", "images" if isinstance(how, UAP) else "steps"
            ),
        )
        shown = [*ways(perturbation, access="white-box", published=False)]
        scores = [seen(way, f"{way.control or asked.attack}, epsilon {epsilon:g}") for way in shown]
        metric = "aAcc" if any(score["mIoU"] is None for score in scores) else "mIoU"
        attacked, *controls = (score[metric] for score in scores)
        check = noise_is_weaker(attacked, min(controls), by=TOLERANCE)
        taken = perturbation.origin["passes" if isinstance(how, UAP) else "iterations"]
        for way, metrics in zip(shown, scores, strict=True):
            line = _line(
                asked, measured, epsilon, images, metrics, [] if way.control else [check], steps=taken
            )
            if way.control:  # noise looks at no network
                line["access"] = None
            lines.append(line | {"control": way.control, "making": perturbation.origin})
    return lines


def _line(
    asked: Attacking,
    output: str,
    epsilon: float,
    images: int,
    metrics: dict[str, Any],
    checks: list[Check],
    *,
    steps: int | None,
) -> dict[str, Any]:
    failed = [check.name for check in checks if not check.holds]
    return {
        "attack": asked.attack,
        "epsilon": epsilon,
        "aim": None if _looks_on(asked) else asked.aim,
        "output": output,
        "access": None if asked.attack == "noise" or not epsilon else "white-box",  # made on this network
        "images": images,
        "steps": steps,
        "mIoU": metrics["mIoU"],
        "aAcc": metrics["aAcc"],
        "valid": not failed,
        "checks": {check.name: check.detail for check in checks},
        "failed": failed,
    }
