"""The command line, `segmix`. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from segmix_core import __version__
from segmix_core.errors import InputError, WorkError

if TYPE_CHECKING:
    from segmix_core.data.dataset import Listed
    from segmix_core.request import Request

Answer = tuple[Any, str]
"""What a command returns: the JSON document of `--json`, and the text shown without it."""

DATASETS = ("silhouettes", "silhouettes-saliency", "voc2012", "coco", "duts", "ecssd")
SPLITS = {"voc2012": ("train_aug", "val"), "coco": ("trainval35k", "minival"), "duts": ("train", "test"),
          "silhouettes-saliency": ("train", "test")}  # fmt: skip
"""Training and evaluation lists where they are not train and val."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status 0 done, 1 the work failed, 2 bad input or usage, 130 interrupted."""
    options = _parser().parse_args(argv)
    if options.debug:
        return _answer(options)
    try:
        return _answer(options)
    except InputError as error:
        return _fail(f"{error}", 2)
    except WorkError as error:
        return _fail(f"{error}", 1)
    except OSError as error:
        return _fail(
            f"{error.filename or options.command}: {error.strerror or error}; free space or check the path", 1
        )
    except KeyboardInterrupt:
        return _fail(f"{options.command}: interrupted; {_how_to_go_on(options)}", 130)


def _how_to_go_on(options: argparse.Namespace) -> str:
    if options.command == "train" and (options.out / "checkpoint.pt").exists():
        return "the checkpoint is whole, add --resume to go on"
    goes_on = options.command in ("run", "attack")
    return "give the same command to go on" if goes_on else "give the same command again"


def _fail(message: str, status: int) -> int:
    print(f"segmix: error: {' '.join(message.split())}", file=sys.stderr)
    return status


@functools.cache  # said once, however many seeds and experiments a command has
def _note(message: str) -> None:
    print(f"segmix: note: {message}", file=sys.stderr)


def _answer(options: argparse.Namespace) -> int:
    run: Callable[[argparse.Namespace], Answer] = options.run
    document, text = run(options)
    try:
        print(json.dumps(document) if options.json else text, flush=True)
    except BrokenPipeError:  # whoever read the answer has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(getattr(options, "status", 0))


class _Parser(argparse.ArgumentParser):
    """argparse, with errors in this project's one-line form."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"segmix: error: {self.prog}: {message}; see '{self.prog} --help'\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="segmix", description="Co-occurrence driven mixup and source separation (SegMix, IJCV 2023)."
    )
    parser.add_argument("--version", action="version", version=f"segmix {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="one JSON document on standard output")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(
        group: Any, name: str, run: Callable[[argparse.Namespace], Answer], text: str
    ) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = group.add_parser(name, parents=[common], help=text, description=text)
        added.set_defaults(run=run)
        return added

    stats = command(
        commands, "stats", _stats, "co-occurrence (Algorithm 1) and label statistics of a data set"
    )
    _data_options(stats, "voc2012")
    stats.add_argument("--split", help="train_aug of voc2012, train of most others, by default")
    stats.add_argument(
        "--write", action="store_true", help="update the committed table of VOC label statistics"
    )

    data = commands.add_parser("data", help="make or check a data set").add_subparsers(
        dest="action", required=True, metavar="ACTION", parser_class=_Parser
    )
    make = command(data, "make", _data_make, "generate the silhouettes in the VOC layout")
    make.add_argument("name", choices=["silhouettes"])
    make.add_argument(
        "--kind",
        choices=["scenes", "saliency", "outofcontext"],
        default="scenes",
        help="scenes in VOC's layout; salient objects in DUT-S's and ECSSD's; scenes in unheard-of company",
    )
    make.add_argument("--out", type=Path, required=True)
    make.add_argument("--images", type=_positive, default=1000, help="training images (1000)")
    make.add_argument("--val", type=_positive, default=400, help="validation images (400)")
    make.add_argument("--size", type=_side, default=128, help="side in pixels (128)")
    make.add_argument("--seed", type=int, default=0)
    fetch = command(data, "fetch", _data_fetch, "download a published data set: checked, resumed, unpacked")
    fetch.add_argument("name", help="voc2012, sbd, coco2017, duts, ecssd, ... (an unknown name lists them)")
    fetch.add_argument("--root", type=Path, required=True)
    fetch.add_argument("--mirror", metavar="URL", help="in place of the address before the file name")
    augment = command(data, "augment", _data_augment, "add SBD's masks to a VOC folder: list train_aug")
    augment.add_argument("--root", type=Path, required=True, help="folder of VOC 2012")
    augment.add_argument("--sbd", type=Path, required=True, help="folder of SBD (benchmark_RELEASE)")
    check = command(data, "check", _data_check, "open and validate every file of a data set")
    _data_options(check, "voc2012", "sbd, outofcontext, unrel, uap")
    _mask_option(check)
    _perturbation_scale_option(check)

    subsets = command(
        commands, "subsets", _subsets, "the image lists of Tables 4 and 5 and Fig. 5, and their printed sizes"
    )
    _data_options(subsets, "voc2012")
    _evaluation_list(subsets)
    subsets.add_argument("--train-split", help="list whose co-occurrence counts for Fig. 5")
    subsets.add_argument("--out", type=Path, help="also write each list to this folder, which is made")

    experiments = command(
        commands,
        "experiments",
        _experiments,
        "the paper's tables and figures as declared, and what was measured",
    )
    experiments.add_argument("--table", type=int)
    _results_option(experiments)

    pretrain = command(commands, "pretrain", _pretrain, "an encoder trained to name what an image shows")
    pretrain.add_argument("--scale", default="demo")
    _data_options(pretrain, "silhouettes")
    pretrain.add_argument("--split", help="training list, as of train by default")
    pretrain.add_argument("--out", type=Path, required=True, help="a .safetensors file")
    pretrain.add_argument("--images", type=_positive, default=12000, help="objects to generate (silhouettes)")
    pretrain.add_argument("--epochs", type=_positive, default=12)
    pretrain.add_argument("--backbone")
    pretrain.add_argument("--seed", type=int, default=0)
    pretrain.add_argument("--device", default="cpu")

    train = command(commands, "train", _train, "train one experiment: stage 1, stage 2, evaluation, rows")
    train.add_argument("experiment")
    _training_options(train)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--out", type=Path, required=True, help="folder of the checkpoints and rows")
    train.add_argument("--start", type=Path, help="fine-tune the network of this checkpoint (stage 2 alone)")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    train.add_argument("--results", type=Path, help="also append the rows to this .jsonl file")

    evaluate = command(commands, "evaluate", _evaluate, "measure every output of a checkpoint")
    evaluate.add_argument("checkpoint", type=Path)
    _data_options(evaluate, "silhouettes")
    _mask_option(evaluate)
    _evaluation_list(evaluate)
    evaluate.add_argument("--protocol", choices=["crop", "full"], default="crop")
    evaluate.add_argument("--crop", type=_positive, help="side in pixels; the scale's own by default")
    evaluate.add_argument("--categories", type=_names, help="restrict the mean to these, comma-separated")
    evaluate.add_argument("--device", default="cpu")
    evaluate.add_argument("--perturbation", type=Path, help="add this universal perturbation to every image")
    _perturbation_scale_option(evaluate)
    evaluate.add_argument("--epsilon", type=_size, help="rescale the perturbation to this L_inf (0..255)")
    evaluate.add_argument(
        "--fit",
        choices=["resize", "tile", "center_pad"],
        help="how the perturbation meets the size of an image (resize)",
    )

    attack = command(commands, "attack", _attack, "craft universal perturbations, or attack image by image")
    attack.add_argument("checkpoint", type=Path)
    attack.add_argument(
        "--attack", default="sea", help="sea, apgd, noise; uap, gd-uap-none, -range, -data, -part (sea)"
    )
    attack.add_argument("--epsilon", type=_sizes, help="sizes of 0..255, comma-separated (1; crafted: 10)")
    attack.add_argument(
        "--output",
        choices=["dominant", "final", "joint", "phantom"],
        default="dominant",
        help="what it aims at",
    )
    _data_options(attack, "silhouettes")
    _evaluation_list(attack)
    attack.add_argument("--craft-split", help="list that universal perturbations are crafted on")
    attack.add_argument("--images", type=_positive, help="attack so many, chosen by the seed; all by default")
    attack.add_argument(
        "--steps",
        type=_positive,
        help="of each loss (sea, apgd: 300); passes over the images (uap: 10); iterations (gd-uap: 40000, "
        "which takes hours without a GPU)",
    )
    attack.add_argument("--crop", type=_positive, help="side in pixels; the scale's own by default")
    attack.add_argument("--categories", type=_names, help="restrict the mean to these, comma-separated")
    attack.add_argument("--seed", type=int, default=0)
    attack.add_argument("--device", default="cpu")
    attack.add_argument(
        "--out", type=Path, required=True, help="folder of what is done, to go on from, and of perturbations"
    )

    predict = command(commands, "predict", _predict, "label maps and overlays for photographs")
    predict.add_argument("checkpoint", type=Path)
    predict.add_argument("images", type=Path, nargs="+")
    predict.add_argument("--out", type=Path, required=True)
    predict.add_argument("--device", default="cpu")

    submit = command(commands, "submit", _submit, "the archive that PASCAL's evaluation server takes")
    submit.add_argument("checkpoint", type=Path)
    submit.add_argument("--root", type=Path, required=True, help="folder of VOC 2012")
    submit.add_argument("--split", default="test")
    submit.add_argument("--out", type=Path, required=True, help="a .tgz file")
    submit.add_argument("--device", default="cpu")

    run = command(commands, "run", _run, "run the missing rows of tables, most telling first")
    run.add_argument(
        "tables",
        nargs="+",
        metavar="TABLE",
        help="table1, figure5, tables, ...; robustness, or its parts universal (with table6), adaptive, "
        "corruptions, matrix",
    )
    _training_options(run)
    run.add_argument("--seeds", type=_integers, default=(0,), help="comma-separated (0)")
    run.add_argument("--budget", type=_seconds, help="stop before this much time has passed, such as 25m")
    run.add_argument("--methods", type=_names, help="of the study of robustness; all by default")
    run.add_argument(
        "--perturbations", type=Path, help="folder of the published ResNet-152.mat, GoogLeNet.mat"
    )
    run.add_argument("--out", type=Path, help="results file; data/results/<dataset>-<scale>.jsonl by default")

    report = command(commands, "report", _report, "printed beside measured")
    report.add_argument("table", help="table1, figure5, tables, ...")
    report.add_argument("--scale")
    report.add_argument(
        "--dataset", choices=(*DATASETS, "silhouettes-outofcontext"), help="trained or measured on it"
    )
    report.add_argument("--format", choices=["json", "markdown"], default="markdown")
    _results_option(report)

    claims = command(
        commands, "claims", _claims, "the paper's fifteen claims, and the verdicts that the rows allow"
    )
    _results_option(claims)

    figure = command(commands, "figure", _figure, "draw a figure of the paper from runs in the cache")
    figure.add_argument("number", type=int, help="1 to 7")
    _training_options(figure)
    figure.add_argument(
        "--seeds",
        type=_integers,
        default=(0,),
        help="comma-separated; figures but the fifth take the first (0)",
    )
    figure.add_argument("--out", type=Path, required=True, help="a .png, .svg or .pdf file")
    figure.add_argument("--perturbations", type=Path, help="Fig. 6: folder of the published perturbations")
    figure.add_argument("--pictures", type=Path, help="Fig. 4: a folder of images without labels")

    bench = command(commands, "bench", _bench, "speed and memory against named peers, as ratios of one run")
    bench.add_argument("name", nargs="?")
    bench.add_argument("--device", default="cpu")
    return parser


def _data_options(parser: argparse.ArgumentParser, default: str, *more: str) -> None:
    names = ", ".join((*DATASETS, *more))
    parser.add_argument("--dataset", default=default, help=f"{names} (default {default})")
    parser.add_argument(
        "--root", type=Path, help="folder of the data set; silhouettes are generated without it"
    )


def _results_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", type=Path, help="a results file, or a folder of them; the repository's by default"
    )


def _evaluation_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", help="val of most, minival of coco, test of salient objects, by default")


def _lists(options: argparse.Namespace) -> tuple[str, str]:
    """The training and the evaluation list of the data set that an option names."""
    return SPLITS.get(options.dataset, ("train", "val"))


def _mask_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mask-threshold",
        type=_shade,
        metavar="SHADE",
        help="take this shade (1..255) and above as salient in masks that are not all 0 and 255",
    )


def _perturbation_scale_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--perturbation-scale", choices=["pixel", "unit"], help="of the file: 0..255, or 0..1"
    )


def _training_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scale", default="demo", help="smoke, demo, mini or paper (demo)")
    _data_options(parser, "silhouettes")
    parser.add_argument("--split", help="training list, as the paper by default: train_aug for voc2012")
    parser.add_argument("--eval-split", help='evaluation list (val for most); "none" measures nothing')
    parser.add_argument("--eval-root", type=Path, help="folder of ECSSD, if not beside DUT-S")
    parser.add_argument("--pseudo", type=Path, help="folder of pseudo-categories of DUT-S, to pair by")
    _mask_option(parser)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbone")
    parser.add_argument(
        "--pretrained", help="encoder weights: imagenet, none, or a file; the scale's by default"
    )
    parser.add_argument("--categories", type=_names, help="restrict the mean to these, comma-separated")
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="bf16 on a GPU that has it by default")
    parser.add_argument("--workers", type=_count, default=0, help="processes that load images (0)")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def _shade(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 255:
        raise argparse.ArgumentTypeError(f"{value} is not in 1..255")
    return value


def _size(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number") from None
    if not 0 <= value <= 255:
        raise argparse.ArgumentTypeError(f"{text} is not in 0..255")
    return value


def _sizes(text: str) -> tuple[float, ...]:
    return tuple(_size(part) for part in _names(text))


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"'{text}' names nothing in a place between commas")
    return names


def _integers(text: str) -> tuple[int, ...]:
    """Each once, in the order given."""
    try:
        return tuple(dict.fromkeys(int(part) for part in _names(text)))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of whole numbers, such as 0,1,2") from None


def _seconds(text: str) -> float:
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        value = float(text) if unit is None else float(text[:-1]) * unit
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no time, such as 90s, 25m or 3h")
    return value


def _side(text: str) -> int:
    value = _positive(text)
    if value < 32:
        raise argparse.ArgumentTypeError(f"on {value} pixels not every object shows: give 32 or more")
    return value


class Progress:
    """A bar with rate, loss and time left on a terminal; a plain line every half minute elsewhere.

    What it is told beside the number is the terms of a loss, of which it shows the total, or one number with
    its name, such as the fooling rate of a perturbation.
    """

    def __init__(self, what: str, unit: str) -> None:
        self.what, self.unit = what, unit
        self.bar: Any = None
        self.began = self.said = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, total: int, terms: dict[str, float] | None = None) -> None:
        """Say that `done` of `total` is done, and what is told with it."""
        terms = {"loss": terms["total"]} if terms and "total" in terms else terms
        told = {name: f"{value:.3f}" for name, value in (terms or {}).items()}
        if sys.stderr.isatty():
            from tqdm import tqdm

            if self.bar is None:
                self.bar = tqdm(total=total, desc=self.what, unit=f" {self.unit}", initial=0, leave=False)
            if told:
                self.bar.set_postfix(told, refresh=False)
            self.bar.total = total
            self.bar.update(done - self.bar.n)
            if done >= total:
                self.bar.close()
                self.bar = None  # what comes next begins anew
            return
        now = time.monotonic()
        if self.first is None or done < self.first:
            self.first, self.began = done, now
        if now - self.said < 30 and done < total:
            return
        self.said = now
        rate = (done - self.first) / (now - self.began) if now > self.began else 0.0
        values = "".join(f", {name} {value}" for name, value in told.items())
        left = f", {rate:.2f}/s, {(total - done) / rate / 60:.1f} min left" if rate else ""
        print(
            f"{self.what}: {done}/{total} {self.unit}{values}{left}",
            file=sys.stderr,
            flush=True,
        )


def _stats(options: argparse.Namespace) -> Answer:
    from segmix_core.data import open_dataset
    from segmix_core.label_statistics import statistics, write_label_statistics

    root = _root(options)
    if options.write:
        if options.dataset != "voc2012" or options.split is not None:
            raise InputError(
                "stats", "--write counts all lists of voc2012", "leave --dataset and --split out"
            )
        path = write_label_statistics(root, progress=Progress("label maps", "images"))
        print(f"wrote {path}", file=sys.stderr)
    split = options.split or _lists(options)[0]
    dataset = open_dataset(
        options.dataset, root, split, need_images=False, progress=Progress("label maps", "images")
    )
    document = statistics(dataset)
    names, counts = document["categories"], document["images_per_category"]
    lines = [
        f"{document['images']} images of {options.dataset}, split {split}",
        "",
        "images per category",
    ]
    lines += [f"  {name:<14}{count:>7}" for name, count in zip(names[1:], counts[1:], strict=True)]
    lines += ["", "pairs that occur together most often"]
    lines += [f"  {first} + {second:<14}{count:>6}" for first, second, count in document["pairs"][:12]]
    lines += ["", "images by number of categories"]
    lines += [f"  {number:>2}{count:>7}" for number, count in document["unique_categories"].items()]
    return document, "\n".join(lines)


def _root(options: argparse.Namespace) -> Path:
    if options.root is not None:
        return Path(options.root)
    if options.dataset not in ("silhouettes", "silhouettes-saliency"):
        raise InputError(f"dataset {options.dataset}", "no --root given", "say where the data set lies")
    from segmix_core.data import generated_root, saliency_root
    from segmix_core.experiments import find_scale

    scale = "demo"
    if options.command in (
        "evaluate",
        "attack",
    ):  # on the pictures of the scale that the checkpoint was trained at
        from segmix_core.models import read_checkpoint

        scale = read_checkpoint(options.checkpoint)["identity"]["scale"]["name"]
    root_of = generated_root if options.dataset == "silhouettes" else saliency_root
    return root_of(find_scale(scale))


def _data_make(options: argparse.Namespace) -> Answer:
    from segmix_core.data import silhouettes

    given = {"size": options.size, "seed": options.seed, "progress": Progress("silhouettes", "images")}
    if options.kind == "outofcontext":
        made = silhouettes.make_out_of_context(options.out, images=options.val, **given)
    else:
        make = {"scenes": silhouettes.make, "saliency": silhouettes.make_saliency}[options.kind]
        made = make(options.out, images=options.images, val=options.val, **given)
    document = {"images": made.images, "digest": made.digest}
    return document, f"{made.images} images in {options.out}, digest {made.digest}"


def _data_fetch(options: argparse.Namespace) -> Answer:
    from segmix_core.data.download import fetch

    got = fetch(options.name, options.root, mirror=options.mirror, progress=Progress("fetch", "bytes"))
    lines = [f"{one.name}: SHA-256 {one.sha256}, recorded at first fetch" for one in got.recorded]
    news = f"fetched {', '.join(got.new)}" if got.new else "all there already: nothing to do"
    lines.append(f"{got.files} files, {got.bytes} bytes in {options.root}, {news}")
    document = {
        "files": got.files,
        "bytes": got.bytes,
        "problems": [],
        "recorded": [dataclasses.asdict(one) for one in got.recorded],
        "fetched": list(got.new),
    }
    return document, "\n".join(lines)


def _data_augment(options: argparse.Namespace) -> Answer:
    from segmix_core.data.sbd import make_train_aug

    made = make_train_aug(options.sbd, options.root, progress=Progress("augment", "masks"))
    return _as_text(dataclasses.asdict(made))


def _subsets(options: argparse.Namespace) -> Answer:
    from segmix_core.cooccurrence import cooccurrence_matrix, dataset_presence
    from segmix_core.data import open_dataset
    from segmix_core.data.silhouettes.folder import new_folder
    from segmix_core.experiments import PRINTED_IMAGES
    from segmix_core.files import write_text
    from segmix_core.subsets import build_subsets, describe_subsets, missing

    root = _root(options)
    split = options.split or _lists(options)[1]
    # A folder that cannot be made is refused before label maps are read.
    with nullcontext() if options.out is None else new_folder(options.out) as lists:
        training, dataset = (
            open_dataset(
                options.dataset, root, chosen, need_images=False, progress=Progress("label maps", "images")
            )
            for chosen in (options.train_split or _lists(options)[0], split)
        )
        cooccurrence_NN = cooccurrence_matrix(dataset_presence(training))
        found = build_subsets(dataset, dataset_presence(dataset), cooccurrence_NN)
        if lists is not None:
            for subset in found.values():
                (lists / subset.name).parent.mkdir(exist_ok=True)
                write_text(lists / f"{subset.name}.txt", "".join(f"{one}\n" for one in subset.ids))
    counted = (options.dataset, split) == ("voc2012", "val")  # in the paper, which prints no other's sizes
    rows = [
        {"subset": name, "what": what, "images": images, "printed": printed}
        for name, what, images, printed in describe_subsets(found, PRINTED_IMAGES if counted else {})
    ]
    absent = missing(dataset)
    width = 9 if counted else 0
    lines = [f"{'subset':<26}{'images':>7}{'printed' * counted:>{width}}  what"]
    for row in rows:
        printed = "" if row["printed"] is None else row["printed"]
        lines.append(f"{row['subset']:<26}{row['images']:>7}{printed:>{width}}  {row['what']}")
    lines += [f"{name:<26} cannot be told: {why}" for name, why in absent.items()]
    return {"subsets": rows, "missing": absent}, "\n".join(lines)


def _submit(options: argparse.Namespace) -> Answer:
    from segmix_core.measure import submit

    path = submit(
        options.checkpoint,
        options.root,
        options.split,
        options.out,
        device=options.device,
        progress=Progress("submit", "images"),
    )
    return {"archive": str(path)}, str(path)


def _data_check(options: argparse.Namespace) -> Answer:
    from segmix_core.data.check import check

    report = check(
        options.dataset,
        _root(options),
        mask_threshold=options.mask_threshold,
        perturbation_scale=options.perturbation_scale,
        progress=Progress("check", "files"),
    )
    problems = [{"path": str(item.path), "problem": item.problem} for item in report.problems]
    options.status = 2 if problems else 0
    lines = [f"{item['path']}: {item['problem']}" for item in problems]
    lines += [*report.notes, *map(_list_line, report.lists)]
    lines.append(f"{report.files} files, {report.bytes} bytes, {len(problems)} problems")
    document = {
        "files": report.files,
        "bytes": report.bytes,
        "problems": problems,
        "notes": list(report.notes),
        "lists": [
            {"list": one.name, "images": one.images, "published": one.published} for one in report.lists
        ],
    }
    return document, "\n".join(lines)


def _list_line(listed: Listed) -> str:
    """The length of a list beside the published one."""
    images, published = listed.images, listed.published
    if images is None:
        said = "not there" if published is None else f"not there ({published:,} published images)"
    elif published is None:
        said = f"{images:,} images"
    elif images == published:
        said = f"{images:,} images, as published"
    elif images < published:
        said = f"{images:,} of {published:,} published images"
    else:
        said = f"{images:,} images, more than the {published:,} published"
    return f"list {listed.name}: {said}"


def _experiments(options: argparse.Namespace) -> Answer:
    from segmix_core.experiments import FIGURES
    from segmix_core.report import collapsed, experiments_table, report_rows

    where = _results_of(options)
    rows = experiments_table(options.table, where)
    figures: list[dict[str, Any]] = [
        {
            "figure": number,
            "shows": it.shows,
            "rows": report_rows(f"figure{number}", where=where) if it.rows else [],
        }
        for number, it in FIGURES.items()
        if options.table is None
    ]
    lines = []
    for row in collapsed(rows + [row for it in figures for row in it["rows"]]):
        printed = "-" if row["printed"] is None else row["printed"]
        found = [_briefly(entry) for entries in row["measured"].values() for entry in entries.values()]
        place = f"figure {row['figure']}" if "figure" in row else f"table {row['table']}"
        cells = f"{place:<9}{row['column']:<32}{row['row']:<58}{printed:<12}{row['experiment']:<38}"
        lines.append(f"{cells}{', '.join(found)}".rstrip())
    lines += [f"figure {it['figure']} shows {it['shows']}: segmix figure {it['figure']}" for it in figures]
    return {"rows": rows, "figures": figures}, "\n".join(lines)


def _briefly(entry: dict[str, Any]) -> str:
    """What was measured, where, and the number of seeds."""
    digits = 2 if "IoU" in entry["metric"] else 4
    return f"{entry['dataset']} {entry['scale']} {entry['value']:.{digits}f} ({len(entry['seeds'])})"


def _pretrain(options: argparse.Namespace) -> Answer:
    from segmix_core.experiments import find_scale
    from segmix_core.run import pretrain_encoder

    return _as_text(
        pretrain_encoder(
            find_scale(options.scale),
            dataset=options.dataset,
            root=options.root,
            split=options.split or _lists(options)[0],
            out=options.out,
            images=options.images,
            epochs=options.epochs,
            backbone=options.backbone,
            seed=options.seed,
            device=options.device,
            report=Progress("pretrain", "steps"),
        )
    )


def _as_text(document: dict[str, Any]) -> Answer:
    return document, "\n".join(f"{name}: {value}" for name, value in document.items())


def _request(options: argparse.Namespace, experiment: str, seed: int) -> Request:
    from segmix_core import data
    from segmix_core.experiments import find_experiment, find_scale, nearest
    from segmix_core.models import native
    from segmix_core.models.encoder import BACKBONES
    from segmix_core.request import Request, check_device

    scale = find_scale(options.scale)
    for what, name, known in (
        ("dataset", options.dataset, data.DATASETS),
        ("backbone", options.backbone or scale.backbone, BACKBONES),
    ):
        if name not in known:
            raise nearest(what, name, known)
    check_device(options.device)
    if options.precision and not native(options.device, options.precision):
        _note(
            f"{options.device} has no instructions for {options.precision} and imitates them,"
            " many times slower than --precision fp32"
        )
    training_list, evaluation_list = _lists(options)
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
        start=getattr(options, "start", None),
        mean_over=options.categories,
        workers=options.workers,
        chosen_encoder=options.backbone is not None,
    )


def _train(options: argparse.Namespace) -> Answer:
    from segmix_core import results
    from segmix_core.run import train_and_measure

    request = _request(options, options.experiment, options.seed)
    checkpoint, rows = train_and_measure(
        request,
        options.out,
        resume=options.resume,
        report=Progress(f"{options.experiment} seed {options.seed}", "steps"),
        progress=Progress("data", "images"),
        results_file=options.results,
    )
    lines = [
        f"{row['eval_split']:<14}stage {row['stage']} {row['output']:<9} {_scores(row['metrics'])}"
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


def _scores(metrics: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value}" for name, value in metrics.items() if not isinstance(value, dict))


def _evaluate(options: argparse.Namespace) -> Answer:
    from segmix_core.measure import evaluate_checkpoint

    perturb, shown = _perturbation(options)
    document = evaluate_checkpoint(
        options.checkpoint,
        dataset=options.dataset,
        root=_root(options),
        split=options.split or _lists(options)[1],
        protocol=options.protocol,
        crop=options.crop,
        mean_over=options.categories,
        device=options.device,
        mask_threshold=options.mask_threshold,
        perturb=perturb,
        progress=Progress("evaluate", "images"),
    )
    document |= {"perturbation": shown}
    lines = [f"{document['images']} images, protocol {document['protocol']}"]
    if shown is not None:
        lines.append(
            f"under {shown['name']}, L_inf {shown['epsilon']:g}, fitted by {shown['fit']}, {shown['access']}"
        )
    for name, scores in document["outputs"].items():
        lines.append(f"{name}: {_scores(scores)}")
        lines += [f"  {category:<14}{iou}" for category, iou in scores.get("iou_per_category", {}).items()]
    return document, "\n".join(lines)


def _perturbation(options: argparse.Namespace) -> tuple[Any, dict[str, Any] | None]:
    """What is done to every image, and what the document says of it."""
    if options.perturbation is None:
        if options.epsilon is not None or options.perturbation_scale is not None or options.fit is not None:
            raise InputError(
                "evaluate",
                "--epsilon, --fit or --perturbation-scale without a perturbation",
                "name one with --perturbation",
            )
        return None, None
    from functools import partial

    from segmix_core.attacks import apply_perturbation, read_perturbation
    from segmix_core.files import file_digest

    found = read_perturbation(options.perturbation, scale=options.perturbation_scale)
    network = file_digest(options.checkpoint)[:16] if options.checkpoint.is_file() else None
    if options.epsilon is not None:
        found = found.scaled_to(options.epsilon)
    shown = {
        "name": found.name,
        "epsilon": round(found.epsilon, 4),
        "fit": options.fit or "resize",
        "access": "white-box" if found.origin.get("network") == network else "transfer",
        "origin": found.origin,
    }
    return partial(apply_perturbation, v=found.v_CHW, mode=options.fit or "resize"), shown


def _attack(options: argparse.Namespace) -> Answer:
    from segmix_core.robustness.checkpoint import ADAPTIVE, Attacking, attack_checkpoint
    from segmix_core.robustness.universal import CRAFTED

    crafted_on = _lists(options)[0] if options.attack in CRAFTED else None
    epsilons = options.epsilon or ((1.0,) if options.attack in ADAPTIVE else (10.0,))
    document = attack_checkpoint(
        Attacking(
            checkpoint=options.checkpoint,
            attack=options.attack,
            epsilons=epsilons,
            aim=options.output,
            dataset=options.dataset,
            root=_root(options),
            split=options.split or _lists(options)[1],
            craft_split=options.craft_split or crafted_on,
            out=options.out,
            images=options.images,
            steps=options.steps,
            crop=options.crop,
            mean_over=options.categories,
            device=options.device,
            seed=options.seed,
        ),
        reporter=Progress,
    )
    lines = [
        f"{document['images']} images, centre {document['crop']} pixels, output {document['measured']}",
        f"{'attack':<26}{'epsilon':>8}{'mIoU':>9}{'aAcc':>9}",
    ]
    for line in document["results"]:
        name = line.get("control") or line["attack"]
        mark = "" if line["valid"] else f"  INVALID, does not hold: {'; '.join(line['failed'])}"
        lines.append(f"{name:<26}{line['epsilon']:>8g}{line['mIoU']!s:>9}{line['aAcc']!s:>9}{mark}")
    return document, "\n".join(lines)


def _predict(options: argparse.Namespace) -> Answer:
    from segmix_core.measure import predict

    files = [
        str(path) for path in predict(options.checkpoint, options.images, options.out, device=options.device)
    ]
    return {"files": files}, "\n".join(files)


def _run(options: argparse.Namespace) -> Answer:
    from segmix_core.experiments import nearest, row_groups
    from segmix_core.experiments.robustness import PARTS, STUDIED, find_parts, is_study
    from segmix_core.robustness.study import check_study, run_study
    from segmix_core.run import Ran, run_tables

    began = time.monotonic()
    groups = row_groups()
    tables = [name for name in options.tables if groups.get(name) or not is_study(name)]
    parts = [part for name in options.tables if is_study(name) for part in find_parts(name)]
    known = (*groups, "robustness", *PARTS)
    for name in options.tables:
        if name not in known:
            raise nearest("table, figure or part", name, sorted(known))

    def request_for(experiment: str, seed: int) -> Request:
        return _request(options, experiment, seed)

    if options.eval_split == "none":
        raise InputError(
            "--eval-split none",
            "leaves a table nothing to measure",
            "leave it out, or use 'segmix train'",
        )
    studied = {
        "experiments": options.methods or tuple(STUDIED),
        "seeds": options.seeds,
        "perturbations": options.perturbations,
    }
    if parts:
        check_study(parts, **studied)
    elif options.methods or options.perturbations:
        raise InputError(
            "run", "--methods or --perturbations without robustness", "name a part, such as table6"
        )
    ran = Ran()
    if tables:
        ran = run_tables(
            tables,
            request_for,
            budget=options.budget,
            progress=Progress("data", "images"),
            reporter=lambda what: Progress(what, "steps"),
            seeds=options.seeds,
            results_file=options.out,
        )
    if {"tables", "figures"} & set(options.tables) and "universal" not in parts:
        ran.left.append("rows under perturbations (run table6)")
    if parts:
        spent = time.monotonic() - began
        more = run_study(
            list(dict.fromkeys(parts)),
            request_for,
            budget=None if options.budget is None else max(0.0, options.budget - spent),
            results_file=options.out,
            reporter=Progress,
            **studied,
        )
        ran.done += more.done
        ran.held += more.held
        ran.left += more.left
    document = dataclasses.asdict(ran)
    shown = {what: names for what, names in document.items() if names or what in ("done", "left")}
    lines = [f"{what}: {', '.join(names) or 'none'}" for what, names in shown.items()]
    if ran.held:
        lines.append("What is held has its rows already; another --out measures it anew.")
    return document, "\n".join(lines)


def _results_of(options: argparse.Namespace) -> Path:
    """Where the rows are that a report is about."""
    from segmix_core import results

    where: Path | None = options.results
    if where is not None and not where.exists():
        raise InputError(where, "no such results file or folder", "name what 'segmix run --out' has written")
    return where or results.RESULTS


def _report(options: argparse.Namespace) -> Answer:
    from segmix_core import results
    from segmix_core.experiments import find_scale
    from segmix_core.report import as_markdown, report_rows
    from segmix_core.report.robustness import losses, losses_as_markdown

    scale = None if options.scale is None else find_scale(options.scale).name
    where = _results_of(options)
    document = {"rows": report_rows(options.table, scale=scale, dataset=options.dataset, where=where)}
    text = as_markdown(document["rows"])
    if any(row.get("table") == 6 for row in document["rows"]):
        document["losses"] = losses(results.read_all(where), scale=scale, dataset=options.dataset)
        text += f"\n\n{losses_as_markdown(document['losses'])}"
    return document, json.dumps(document) if options.format == "json" else text


def _claims(options: argparse.Namespace) -> Answer:
    from segmix_core import results
    from segmix_core.run import judge_claims

    judged = judge_claims(results.read_all(_results_of(options)))
    document = [
        {
            "claim": one.claim.number,
            "text": one.claim.text,
            "read_off": one.claim.read_off,
            "where": one.claim.where,
            "setting": one.setting,
            "verdict": one.verdict,
            "contrasts": [
                {
                    "what": finding.contrast.what,
                    "said": finding.contrast.said,
                    "printed": finding.printed,
                    "mean": finding.mean,
                    "half_width_95": finding.half_width_95,
                    "images_95": finding.images,
                    "fewest_images": finding.fewest,
                    "seeds": finding.seeds,
                    "holds": finding.holds,
                }
                for finding in one.findings
            ],
        }
        for one in judged
    ]
    lines = [
        f"{one.claim.number:>2}  {one.verdict:<14} {one.setting or '-':<26} {one.claim.text}"
        for one in judged
    ]
    return {"claims": document}, "\n".join(lines)


def _figure(options: argparse.Namespace) -> Answer:
    import matplotlib as mpl

    from segmix_core.experiments import FIGURES
    from segmix_core.paper_figures import draw_to

    mpl.use("agg")
    drawn = draw_to(
        options.out,
        options.number,
        lambda name, seed: _request(options, name, seed),
        options.seeds,
        pictures=options.pictures,
        perturbations=options.perturbations,
        reporter=lambda what: Progress(what, "steps"),
    )
    shows = FIGURES[options.number].shows
    document = {"figure": str(options.out), "shows": shows, "images": drawn.rule}
    return document, f"{options.out}: {shows}; {drawn.rule}"


def _bench(options: argparse.Namespace) -> Answer:
    from segmix_core.bench import run_benchmarks

    rows = [dataclasses.asdict(row) for row in run_benchmarks(options.name, device=options.device)]
    lines = [
        f"{row['name']:<24}{row['variant']:<34}{row['median']:>12.4g} {row['unit']:<8}{row['ratio']:>8.2f}x"
        for row in rows
    ]
    return rows, "\n".join(lines)
