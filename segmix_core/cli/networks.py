"""Commands on single networks: training, measuring, attacking and showing them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmix_core.cli.arguments import (
    MAX_SIDE,
    OUT_OF_CONTEXT,
    Answer,
    as_text,
    backbone_option,
    checkpoint_argument,
    command,
    data_options,
    device_option,
    evaluation_list,
    lists_of,
    mask_option,
    names,
    perturbation_scale_option,
    positive,
    request_of,
    root_of,
    seed_option,
    size,
    sizes,
    training_options,
    up_to,
)
from segmix_core.cli.progress import ProgressLine, note
from segmix_core.errors import InputError

if TYPE_CHECKING:
    from segmix_core.attacks.perturbation import Fit
    from segmix_core.robustness.universal import Shown


def add_to(commands: Any) -> None:
    """The commands of this module, with their options."""
    pretrain = command(commands, "pretrain", _pretrain, "an encoder trained to name what an image shows")
    pretrain.add_argument("--scale", default="demo", help="smoke, demo, mini or paper (demo)")
    data_options(pretrain, "silhouettes")
    pretrain.add_argument("--split", help="training list, as of train by default")
    pretrain.add_argument("--out", type=Path, required=True, help="a .safetensors file")
    pretrain.add_argument(
        "--images", type=up_to(10**5), help="objects to generate, where no folder is given (12000)"
    )
    pretrain.add_argument("--epochs", type=positive, default=12, help="passes over the images (12)")
    backbone_option(pretrain)
    seed_option(pretrain)
    device_option(pretrain)

    train = command(commands, "train", _train, "train one experiment: stage 1, stage 2, evaluation, rows")
    train.add_argument("experiment", help="baseline, sourcesep-cm, ...; segmix experiments names all")
    training_options(train)
    seed_option(train)
    train.add_argument("--out", type=Path, required=True, help="folder of the checkpoints and rows")
    train.add_argument("--start", type=Path, help="fine-tune the network of this checkpoint (stage 2 alone)")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    train.add_argument("--results", type=Path, help="also append the rows to this .jsonl file")

    evaluate = command(commands, "evaluate", _evaluate, "measure every output of a checkpoint")
    checkpoint_argument(evaluate)
    data_options(evaluate, "silhouettes", OUT_OF_CONTEXT)
    mask_option(evaluate)
    evaluation_list(evaluate)
    evaluate.add_argument(
        "--protocol",
        choices=["crop", "full"],
        help="the middle of an image, or all of it (crop; salient objects: full)",
    )
    evaluate.add_argument("--crop", type=up_to(MAX_SIDE), help="side in pixels; the scale's own by default")
    evaluate.add_argument("--categories", type=names, help="restrict the mean to these, comma-separated")
    device_option(evaluate)
    evaluate.add_argument(
        "--perturbation",
        type=Path,
        help="add this universal perturbation to every image, and then noise in its place",
    )
    perturbation_scale_option(evaluate)
    evaluate.add_argument("--epsilon", type=size, help="rescale the perturbation to this L_inf (0..255)")
    evaluate.add_argument(
        "--fit",
        choices=["resize", "tile", "center_pad"],
        help="how the perturbation meets the size of an image (resize)",
    )

    attack = command(commands, "attack", _attack, "craft universal perturbations, or attack image by image")
    attack.epilog = (
        "Each attack stands beside noise of its size and the sanity checks that one network allows; more "
        "steps, an unbounded attack and transfer are checked by `segmix run adaptive`."
    )
    checkpoint_argument(attack)
    attack.add_argument(
        "--attack", default="sea", help="sea, apgd, noise; uap, gd-uap-none, -range, -data, -part (sea)"
    )
    attack.add_argument("--epsilon", type=sizes, help="sizes of 0..255, comma-separated (1; crafted: 10)")
    attack.add_argument(
        "--output",
        choices=["dominant", "final", "joint", "phantom"],
        default="dominant",
        help="what it aims at (dominant)",
    )
    data_options(attack, "silhouettes", OUT_OF_CONTEXT)
    evaluation_list(attack)
    attack.add_argument("--craft-split", help="list that universal perturbations are crafted on")
    attack.add_argument("--images", type=positive, help="attack so many, chosen by the seed; all by default")
    attack.add_argument(
        "--steps",
        type=positive,
        help="of each loss (sea, apgd: 300); passes over the images (uap: 10); iterations (gd-uap: 40000, "
        "which takes hours without a GPU)",
    )
    attack.add_argument("--crop", type=up_to(MAX_SIDE), help="side in pixels; the scale's own by default")
    attack.add_argument("--categories", type=names, help="restrict the mean to these, comma-separated")
    seed_option(attack)
    device_option(attack)
    attack.add_argument(
        "--out",
        type=Path,
        help="folder of what is done, to go on from, and of perturbations (attacks, beside the checkpoint)",
    )

    predict = command(commands, "predict", _predict, "label maps and overlays for photographs")
    checkpoint_argument(predict)
    predict.add_argument("images", type=Path, nargs="+", help="photographs")
    predict.add_argument("--out", type=Path, required=True, help="folder of the label maps and overlays")
    device_option(predict)

    submit = command(commands, "submit", _submit, "the archive that PASCAL's evaluation server takes")
    checkpoint_argument(submit)
    submit.add_argument("--root", type=Path, required=True, help="folder of VOC 2012")
    submit.add_argument("--split", default="test", help="list of images to label (test)")
    submit.add_argument("--out", type=Path, required=True, help="a .tgz file")
    device_option(submit)


def _pretrain(options: argparse.Namespace) -> Answer:
    from segmix_core.experiments import find_scale
    from segmix_core.pretraining import pretrain_encoder

    generated = options.dataset == "silhouettes" and options.root is None
    if not generated and options.images is not None:
        raise InputError("pretrain", "--images, where a list of images is given", "leave one out")
    if generated and options.split is not None:
        raise InputError("pretrain", "--split, where objects are generated", "leave it out, or give --root")
    return as_text(
        pretrain_encoder(
            find_scale(options.scale),
            dataset=options.dataset,
            root=options.root,
            split=options.split or lists_of(options)[0],
            out=options.out,
            images=options.images or 12000,
            epochs=options.epochs,
            backbone=options.backbone,
            seed=options.seed,
            device=options.device,
            report=ProgressLine("pretrain", "steps"),
        )
    )


def _train(options: argparse.Namespace) -> Answer:
    from segmix_core import results
    from segmix_core.files import alone
    from segmix_core.run import train_and_measure

    request = request_of(options, options.experiment, options.seed)
    if options.resume and not (options.out / "checkpoint.pt").exists():
        note(f"{options.out} holds no checkpoint: training begins")
    with alone(options.out, waiting=lambda: note(f"{options.out} is in use: waiting for the other process")):
        checkpoint, rows = train_and_measure(
            request,
            options.out,
            resume=options.resume,
            report=ProgressLine(f"{options.experiment} seed {options.seed}", "steps"),
            progress=ProgressLine("data", "images"),
            results_file=options.results,
        )
    lines = [
        f"{_shown(row):<18}stage {row['stage']} {row['output']:<9} {_scores(row['metrics'])}"
        f"{'  <- reported' * row['reported']}"
        for row in rows
    ]
    if options.results is not None and rows:
        kept = [results.run_of(row) for row in results.read(options.results)].count(results.run_of(rows[0]))
        if kept < len(rows):
            lines.append(
                f"{options.results} holds {len(rows) - kept} of these measurements of another run already"
            )
    return {"checkpoint": str(checkpoint), "rows": rows}, "\n".join([f"checkpoint: {checkpoint}", *lines])


def _shown(row: dict[str, Any]) -> str:
    """What a network was shown: a list of images, or blends of them at a delta."""
    return str(row["eval_split"]) + (", " + row["condition"]["name"] if row["condition"] else "")


def _evaluate(options: argparse.Namespace) -> Answer:
    from segmix_core.data import SALIENCY
    from segmix_core.measure import evaluate_checkpoint

    if options.dataset in SALIENCY and (options.protocol == "crop" or options.crop or options.categories):
        raise InputError(
            options.dataset,
            "salient objects are measured whole, and are of no category",
            "leave --protocol crop, --crop and --categories out",
        )
    if options.protocol == "full" and options.crop is not None:
        raise InputError("evaluate", "--crop, where protocol full takes each image whole", "leave one out")
    shown, controls = _perturbed(options)
    document = evaluate_checkpoint(
        options.checkpoint,
        dataset=options.dataset,
        root=root_of(options),
        split=options.split or lists_of(options)[1],
        protocol=options.protocol or "crop",
        crop=options.crop,
        mean_over=options.categories,
        device=options.device,
        mask_threshold=options.mask_threshold,
        perturb=None if shown is None else shown.perturb(),
        controls={str(way.control): way.perturb() for way in controls},
        progress=ProgressLine("evaluate", "images"),
    )
    noise = document.pop("controls", {})
    told = None if shown is None else _told_of(shown)
    document |= {"perturbation": told if told is None else told | {"controls": noise}}
    lines = [f"{document['images']} images, protocol {document['protocol']}"]
    if told is not None:
        lines.append(
            f"under {told['name']}, L_inf {told['epsilon']:g}, fitted by {told['fit']}, {told['access']}"
        )
    for name, scores in document["outputs"].items():
        lines.append(f"{name}: {_scores(scores)}")
        lines += [f"  {control} in its place: {_scores(of[name])}" for control, of in noise.items()]
        of_each = scores.get("iou_per_category", {})
        lines += [f"  {category:<14}{'-' if iou is None else iou}" for category, iou in of_each.items()]
    return document, "\n".join(lines)


def _scores(metrics: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value}" for name, value in metrics.items() if not isinstance(value, dict))


def _perturbed(options: argparse.Namespace) -> tuple[Shown | None, list[Shown]]:
    """How the images are shown, and noise in the place of the perturbation; neither without one."""
    if options.perturbation is None:
        if options.epsilon is not None or options.perturbation_scale is not None or options.fit is not None:
            raise InputError(
                "evaluate",
                "--epsilon, --fit or --perturbation-scale without a perturbation",
                "name one with --perturbation",
            )
        return None, []
    from segmix_core.attacks import CONTROLS, read_perturbation
    from segmix_core.files import file_digest
    from segmix_core.robustness.universal import Shown

    found = read_perturbation(options.perturbation, scale=options.perturbation_scale)
    network = file_digest(options.checkpoint)[:16] if options.checkpoint.is_file() else None
    access = "white-box" if found.origin.get("network") == network else "transfer"
    if options.epsilon is not None:
        found = found.scaled_to(options.epsilon)
    controls = CONTROLS if found.epsilon else ()
    fit: Fit = options.fit or "resize"
    shown = Shown(found, fit=fit, access=access)
    return shown, [replace(shown, control=control) for control in controls]


def _told_of(shown: Shown) -> dict[str, Any]:
    return {
        "name": shown.perturbation.name,
        "epsilon": round(shown.perturbation.epsilon, 4),
        "fit": shown.fit,
        "access": shown.access,
        "origin": shown.perturbation.origin,
    }


def _attack(options: argparse.Namespace) -> Answer:
    from segmix_core.robustness.checkpoint import ADAPTIVE, Attacking, attack_checkpoint
    from segmix_core.robustness.universal import CRAFTED

    crafted_on = lists_of(options)[0] if options.attack in CRAFTED else None
    epsilons = options.epsilon or ((1.0,) if options.attack in ADAPTIVE else (10.0,))
    document = attack_checkpoint(
        Attacking(
            checkpoint=options.checkpoint,
            attack=options.attack,
            epsilons=epsilons,
            aim=options.output,
            dataset=options.dataset,
            root=root_of(options),
            split=options.split or lists_of(options)[1],
            craft_split=options.craft_split or crafted_on,
            out=options.out or options.checkpoint.with_name("attacks"),
            images=options.images,
            steps=options.steps,
            crop=options.crop,
            mean_over=options.categories,
            device=options.device,
            seed=options.seed,
        ),
        reporter=ProgressLine,
    )
    first: dict[str, Any] = document["results"][0]
    plain = {"mIoU": first["clean_mIoU"], "aAcc": first["clean_aAcc"]}
    shown: list[dict[str, Any]] = [{"attack": "as they are", "epsilon": 0, "valid": True} | plain]
    for line in document["results"]:
        shown.append(line)
        if line["epsilon"] and "noise_mIoU" in line:
            noise = {"mIoU": line["noise_mIoU"], "aAcc": line["noise_aAcc"]}
            shown.append({"attack": "noise", "epsilon": line["epsilon"], "valid": True} | noise)
    lines = [
        f"{document['images']} images, centre {document['crop']} pixels, output {document['measured']}",
        f"{'attack':<26}{'epsilon':>8}{'mIoU':>9}{'aAcc':>9}",
    ]
    for line in shown:
        name = line.get("control") or line["attack"]
        mark = "" if line["valid"] else f"  INVALID, does not hold: {'; '.join(line['failed'])}"
        lines.append(f"{name:<26}{line['epsilon']:>8g}{line['mIoU']!s:>9}{line['aAcc']!s:>9}{mark}")
    return document, "\n".join(lines)


def _predict(options: argparse.Namespace) -> Answer:
    from segmix_core.measure import predict

    written = predict(
        options.checkpoint,
        options.images,
        options.out,
        device=options.device,
        progress=ProgressLine("predict", "images"),
    )
    files = [str(path) for path in written]
    return {"files": files}, "\n".join(files)


def _submit(options: argparse.Namespace) -> Answer:
    from segmix_core.measure import submit

    path = submit(
        options.checkpoint,
        options.root,
        options.split,
        options.out,
        device=options.device,
        progress=ProgressLine("submit", "images"),
    )
    return {"archive": str(path)}, str(path)
