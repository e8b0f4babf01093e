"""Commands on data sets: their statistics, how they are made, fetched and checked, and their subsets."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmix_core.cli.arguments import (
    OUT_OF_CONTEXT,
    Answer,
    Parser,
    as_text,
    command,
    data_options,
    evaluation_list,
    lists_of,
    mask_option,
    perturbation_scale_option,
    root_of,
    seed_option,
    side,
    up_to,
)
from segmix_core.cli.progress import ProgressLine
from segmix_core.errors import InputError

if TYPE_CHECKING:
    from segmix_core.data.dataset import Checked, Listed


def add_to(commands: Any) -> None:
    """The commands of this module, with their options."""
    stats = command(
        commands, "stats", _stats, "co-occurrence (Algorithm 1) and label statistics of a data set"
    )
    data_options(stats, "voc2012", OUT_OF_CONTEXT)
    stats.add_argument("--split", help="train_aug of voc2012, train of most others, by default")
    stats.add_argument(
        "--write", action="store_true", help="update the committed table of VOC label statistics"
    )

    data = commands.add_parser("data", help="make, fetch or check a data set").add_subparsers(
        dest="action", required=True, metavar="ACTION", parser_class=Parser
    )
    make = command(data, "make", _data_make, "generate the silhouettes in the VOC layout")
    make.add_argument("name", choices=["silhouettes"], help="the generated pictures")
    make.add_argument(
        "--kind",
        choices=["scenes", "saliency", "outofcontext"],
        default="scenes",
        help="scenes in VOC's layout; salient objects in DUT-S's and ECSSD's; scenes in unheard-of company",
    )
    make.add_argument("--out", type=Path, required=True, help="folder of the data set")
    make.add_argument("--images", type=up_to(10**6), help="training images (1000; outofcontext has none)")
    make.add_argument("--val", type=up_to(10**6), default=400, help="validation images (400)")
    make.add_argument("--size", type=side, default=128, help="side in pixels (128)")
    seed_option(make)
    fetch = command(data, "fetch", _data_fetch, "download a published data set: checked, resumed, unpacked")
    fetch.add_argument("name", help="voc2012, sbd, coco2017, duts, ecssd, ... (an unknown name lists them)")
    fetch.add_argument("--root", type=Path, required=True, help="folder to unpack to")
    fetch.add_argument("--mirror", metavar="URL", help="in place of the address before the file name")
    augment = command(data, "augment", _data_augment, "add SBD's masks to a VOC folder: list train_aug")
    augment.add_argument("--root", type=Path, required=True, help="folder of VOC 2012")
    augment.add_argument("--sbd", type=Path, required=True, help="folder of SBD (benchmark_RELEASE)")
    halve = command(data, "halve", _data_halve, "two lists of one of COCO: every second image to measure on")
    halve.add_argument("--root", type=Path, required=True, help="folder of the sample, in COCO's layout")
    halve.add_argument("--split", default="train2017", help="its list (train2017)")
    halve.add_argument("--out", type=Path, required=True, help="folder of the two lists, which is made")
    check = command(data, "check", _data_check, "open and validate every file of a data set")
    data_options(check, "voc2012", OUT_OF_CONTEXT, "sbd", "outofcontext", "unrel", "uap")
    mask_option(check)
    perturbation_scale_option(check)

    subsets = command(
        commands, "subsets", _subsets, "the image lists of Tables 4 and 5 and Fig. 5, and their printed sizes"
    )
    data_options(subsets, "voc2012", OUT_OF_CONTEXT)
    evaluation_list(subsets)
    subsets.add_argument("--train-split", help="list whose co-occurrence counts for Fig. 5")
    subsets.add_argument("--out", type=Path, help="also write each list to this folder, which is made")


def _stats(options: argparse.Namespace) -> Answer:
    from segmix_core.data import open_dataset
    from segmix_core.label_statistics import statistics, write_label_statistics

    root = root_of(options)
    if options.write:
        if options.dataset != "voc2012" or options.split is not None:
            raise InputError(
                "stats", "--write counts all lists of voc2012", "leave --dataset and --split out"
            )
        path = write_label_statistics(root, progress=ProgressLine("label maps", "images"))
        print(f"wrote {path}", file=sys.stderr)
    split = options.split or lists_of(options)[0]
    progress = ProgressLine("label maps", "images")
    dataset = open_dataset(options.dataset, root, split, need_images=False, progress=progress)
    document = statistics(dataset, progress=progress)
    names, counts = document["categories"], document["images_per_category"]
    lines = [
        f"{document['images']} images of {options.dataset}, split {split}",
        "",
        "images per category",
    ]
    lines += [f"  {name:<14}{count:>7}" for name, count in zip(names[1:], counts[1:], strict=True)]
    lines += ["", "pairs that occur together most often"]
    lines += [f"  {f'{first} + {second}':<28}{count:>6}" for first, second, count in document["pairs"][:12]]
    lines += ["", "images by number of categories"]
    lines += [f"  {number:>2}{count:>7}" for number, count in document["unique_categories"].items()]
    return document, "\n".join(lines)


def _data_make(options: argparse.Namespace) -> Answer:
    from segmix_core.data import silhouettes

    given = {"size": options.size, "seed": options.seed, "progress": ProgressLine("silhouettes", "images")}
    if options.kind == "outofcontext":
        if options.images is not None:
            raise InputError(
                "data make", "--images, where nothing is trained on", "say by --val how many on each list"
            )
        made = silhouettes.make_out_of_context(options.out, images=options.val, **given)
    else:
        make = {"scenes": silhouettes.make, "saliency": silhouettes.make_saliency}[options.kind]
        made = make(options.out, images=options.images or 1000, val=options.val, **given)
    document = {"images": made.images, "digest": made.digest}
    return document, f"{made.images} images in {options.out}, digest {made.digest}"


def _data_fetch(options: argparse.Namespace) -> Answer:
    from segmix_core.data.download import fetch

    got = fetch(options.name, options.root, mirror=options.mirror, progress=ProgressLine("fetch", "bytes"))
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

    made = make_train_aug(options.sbd, options.root, progress=ProgressLine("augment", "masks"))
    return as_text(dataclasses.asdict(made))


def _data_halve(options: argparse.Namespace) -> Answer:
    from segmix_core.data.coco import halve

    training, evaluation = halve(options.root, options.split, options.out)
    return as_text({"trainval35k": training, "minival": evaluation})


def _data_check(options: argparse.Namespace) -> Answer:
    report = _checked(options)
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


def _checked(options: argparse.Namespace) -> Checked:
    from segmix_core.data.check import CHECKED, check
    from segmix_core.experiments import nearest

    dataset, threshold, scale = options.dataset, options.mask_threshold, options.perturbation_scale
    progress = ProgressLine("check", "files")
    if dataset == "uap":
        from segmix_core.robustness.check import check_perturbations

        if threshold is not None:
            raise InputError("dataset uap", "has no masks for --mask-threshold", "leave the option out")
        return check_perturbations(root_of(options), scale=scale, progress=progress)
    if dataset not in CHECKED:
        raise nearest("dataset", dataset, (*CHECKED, "uap"))
    if scale is not None:
        raise InputError(
            f"dataset {dataset}", "has no perturbations for --perturbation-scale", "leave the option out"
        )
    return check(dataset, root_of(options), mask_threshold=threshold, progress=progress)


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


def _subsets(options: argparse.Namespace) -> Answer:
    from segmix_core.cooccurrence import cooccurrence_matrix, dataset_presence
    from segmix_core.data import open_dataset
    from segmix_core.experiments import PRINTED_IMAGES
    from segmix_core.files import new_folder, write_text
    from segmix_core.subsets import build_subsets, describe_subsets, missing

    root = root_of(options)
    split = options.split or lists_of(options)[1]
    progress = ProgressLine("label maps", "images")
    # A folder that cannot be made is refused before label maps are read.
    with nullcontext() if options.out is None else new_folder(options.out) as lists:
        training, dataset = (
            open_dataset(options.dataset, root, chosen, need_images=False, progress=progress)
            for chosen in (options.train_split or lists_of(options)[0], split)
        )
        cooccurrence_NN = cooccurrence_matrix(dataset_presence(training, progress=progress))
        found = build_subsets(dataset, dataset_presence(dataset, progress=progress), cooccurrence_NN)
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
    for name, why in absent.items():
        printed = PRINTED_IMAGES.get(name, "") if counted else ""
        lines.append(f"{name:<26}{'–':>7}{printed:>{width}}  cannot be told: {why}")
    return {"subsets": rows, "missing": absent}, "\n".join(lines)
