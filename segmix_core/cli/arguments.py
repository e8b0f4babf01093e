"""What commands share: how an option is read, and what options together ask for."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from segmix_core.cli.progress import note
from segmix_core.errors import InputError

if TYPE_CHECKING:
    from segmix_core.request import Request

Answer = tuple[Any, str]
"""What a command returns: the JSON document of `--json`, and the text shown without it."""

DATASETS = ("silhouettes", "silhouettes-saliency", "voc2012", "coco", "duts", "ecssd")
"""What networks learn from."""

OUT_OF_CONTEXT = "silhouettes-outofcontext"
"""Generated scenes that they are measured on."""

SPLITS = {
    "voc2012": ("train_aug", "val"),
    "coco": ("trainval35k", "minival"),
    "duts": ("train", "test"),
    "ecssd": ("test", "test"),
    "silhouettes-saliency": ("train", "test"),
    OUT_OF_CONTEXT: ("ordinary", "outofcontext"),
}
"""Training and evaluation lists where they are not train and val."""


MAX_SIDE = 4096
"""Pixels of a generated picture or of a crop."""


class Parser(argparse.ArgumentParser):
    """argparse, with errors in this project's one-line form."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"segmix: error: {self.prog}: {message}; see '{self.prog} --help'\n")


def command(
    group: Any, name: str, run: Callable[[argparse.Namespace], Answer], text: str
) -> argparse.ArgumentParser:
    """Add a command to a group of them: `run` answers it."""
    added: argparse.ArgumentParser = group.add_parser(name, help=text, description=text)
    added.add_argument("--json", action="store_true", help="one JSON document on standard output")
    added.add_argument("--debug", action="store_true", help="show the traceback of an error")
    added.set_defaults(run=run)
    return added


def data_options(parser: argparse.ArgumentParser, default: str, *more: str) -> None:
    """Which data set, and where it lies; `more` are names beyond those that networks learn from."""
    names = ", ".join((*DATASETS, *more))
    parser.add_argument("--dataset", default=default, help=f"{names} (default {default})")
    parser.add_argument(
        "--root", type=Path, help="folder of the data set; silhouettes are generated without it"
    )


def evaluation_list(parser: argparse.ArgumentParser) -> None:
    """The list that is measured."""
    parser.add_argument("--split", help="val of most, minival of coco, test of salient objects, by default")


def device_option(parser: argparse.ArgumentParser) -> None:
    """Where it is computed."""
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")


def backbone_option(parser: argparse.ArgumentParser) -> None:
    """Which encoder is trained."""
    parser.add_argument("--backbone", help="encoder, such as resnet50; the scale's by default")


def seed_option(parser: argparse.ArgumentParser) -> None:
    """Of everything that is drawn."""
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (0)")


def checkpoint_argument(parser: argparse.ArgumentParser) -> None:
    """A trained network."""
    parser.add_argument("checkpoint", type=Path, help="a checkpoint.pt that segmix train wrote")


def mask_option(parser: argparse.ArgumentParser) -> None:
    """How masks that are not binary are read."""
    parser.add_argument(
        "--mask-threshold",
        type=_shade,
        metavar="SHADE",
        help="take this shade (1..255) and above as salient in masks that are not all 0 and 255",
    )


def perturbation_scale_option(parser: argparse.ArgumentParser) -> None:
    """In what units a perturbation file is."""
    parser.add_argument(
        "--perturbation-scale", choices=["pixel", "unit"], help="of the file: 0..255, or 0..1"
    )


def results_option(parser: argparse.ArgumentParser) -> None:
    """The rows that a report is about."""
    parser.add_argument(
        "--results", type=Path, help="a results file, or a folder of them; the repository's by default"
    )


def training_options(parser: argparse.ArgumentParser) -> None:
    """What every command that trains takes."""
    parser.add_argument("--scale", default="demo", help="smoke, demo, mini or paper (demo)")
    data_options(parser, "silhouettes")
    parser.add_argument("--split", help="training list, as the paper by default: train_aug for voc2012")
    parser.add_argument("--eval-split", help='evaluation list (val for most); "none" measures nothing')
    parser.add_argument("--eval-root", type=Path, help="folder of ECSSD, if not beside DUT-S")
    parser.add_argument("--pseudo", type=Path, help="folder of pseudo-categories of DUT-S, to pair by")
    mask_option(parser)
    device_option(parser)
    backbone_option(parser)
    parser.add_argument(
        "--pretrained", help="encoder weights: imagenet, none, or a file; the scale's by default"
    )
    parser.add_argument("--categories", type=names, help="restrict the mean to these, comma-separated")
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="bf16 on a GPU that has it by default")
    parser.add_argument("--workers", type=_count, default=0, help="processes that load images (0)")


def positive(text: str) -> int:
    """A whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def up_to(most: int) -> Callable[[str], int]:
    """A whole number from 1 to `most`: what more would ask for does not fit into a memory."""

    def whole(text: str) -> int:
        if (value := positive(text)) > most:
            raise argparse.ArgumentTypeError(f"{value} is more than {most}")
        return value

    return whole


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def side(text: str) -> int:
    """Side of generated pictures, in pixels."""
    value = up_to(MAX_SIDE)(text)
    if value < 32:
        raise argparse.ArgumentTypeError(f"on {value} pixels not every object shows: give 32 or more")
    return value


def _shade(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 255:
        raise argparse.ArgumentTypeError(f"{value} is not in 1..255")
    return value


def size(text: str) -> float:
    """Of a perturbation, on the 0..255 scale."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number") from None
    if not 0 <= value <= 255:
        raise argparse.ArgumentTypeError(f"{text} is not in 0..255")
    return value


def sizes(text: str) -> tuple[float, ...]:
    """Such sizes, comma-separated."""
    return tuple(size(part) for part in names(text))


def names(text: str) -> tuple[str, ...]:
    """Names, comma-separated, each once and in the order given."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise argparse.ArgumentTypeError(f"'{text}' names nothing in a place between commas")
    return tuple(dict.fromkeys(parts))


def integers(text: str) -> tuple[int, ...]:
    """Whole numbers, comma-separated, each once and in the order given."""
    try:
        return tuple(dict.fromkeys(map(int, names(text))))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of whole numbers, such as 0,1,2") from None


def seconds(text: str) -> float:
    """A time such as 90s, 25m or 3h."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        value = float(text) if unit is None else float(text[:-1]) * unit
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no time, such as 90s, 25m or 3h")
    return value


def lists_of(options: argparse.Namespace) -> tuple[str, str]:
    """The training and the evaluation list of the data set that an option names."""
    return SPLITS.get(options.dataset, ("train", "val"))


def root_of(options: argparse.Namespace) -> Path:
    """The folder of a data set: as given, or of generated pictures of the scale."""
    if options.root is not None:
        return Path(options.root)
    from segmix_core.data import check_dataset, generated_root, out_of_context_root, saliency_root
    from segmix_core.experiments import find_scale

    generated = {
        "silhouettes": generated_root,
        "silhouettes-saliency": saliency_root,
        OUT_OF_CONTEXT: out_of_context_root,
    }
    if options.dataset not in generated:
        if options.command != "data":  # which checks those without labels, too
            check_dataset(options.dataset)
        raise InputError(f"dataset {options.dataset}", "no --root given", "say where the data set lies")
    scale = "demo"
    if options.command in ("evaluate", "attack"):
        from segmix_core.models import read_checkpoint

        # On the pictures of the scale that the checkpoint was trained at.
        scale = read_checkpoint(options.checkpoint)["identity"]["scale"]["name"]
    return generated[options.dataset](find_scale(scale))


def request_of(options: argparse.Namespace, experiment: str, seed: int) -> Request:
    """The training run that `training_options` ask for."""
    from segmix_core.data import SALIENCY, check_dataset
    from segmix_core.experiments import find_experiment, find_scale, nearest
    from segmix_core.models import native
    from segmix_core.models.encoder import BACKBONES
    from segmix_core.request import Request, check_device

    scale = find_scale(options.scale)
    check_dataset(options.dataset)
    if (options.backbone or scale.backbone) not in BACKBONES:
        raise nearest("backbone", options.backbone or scale.backbone, BACKBONES)
    check_device(options.device)
    start = getattr(options, "start", None)
    if start is not None and options.pretrained not in (None, "none"):
        raise InputError("--start", "has an encoder of its own", "leave --pretrained out")
    if options.dataset in SALIENCY and options.categories:
        raise InputError(options.dataset, "salient objects are of no category", "leave --categories out")
    if options.precision and not native(options.device, options.precision):
        note(
            f"{options.device} has no instructions for {options.precision} and imitates them,"
            " many times slower than --precision fp32"
        )
    training_list, evaluation_list = lists_of(options)
    if options.backbone:  # part of the scale, so that its digest tells the rows apart
        scale = dataclasses.replace(scale, backbone=options.backbone)
    return Request(
        experiment=find_experiment(experiment),
        scale=scale,
        dataset=options.dataset,
        root=options.root,
        split=options.split or training_list,
        eval_split=None if options.eval_split == "none" else options.eval_split or evaluation_list,
        eval_root=options.eval_root,
        pseudo=options.pseudo,
        mask_threshold=options.mask_threshold,
        seed=seed,
        device=options.device,
        precision=options.precision,
        pretrained=options.pretrained,
        start=start,
        mean_over=options.categories,
        workers=options.workers,
        chosen_encoder=options.backbone is not None,
    )


def as_text(document: dict[str, Any]) -> Answer:
    """A document as its own answer, a line for each entry."""
    return document, "\n".join(f"{name}: {value}" for name, value in document.items())
