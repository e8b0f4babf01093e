"""Open and validate every file of a data set: the work of `segmix data check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from segmix_core.data import SALIENCY, VOC_LAYOUT, check_disjoint
from segmix_core.data.annotations import read_annotation
from segmix_core.data.coco import check_coco
from segmix_core.data.context import CONTEXT, check_context
from segmix_core.data.dataset import (
    Checked,
    Listed,
    Problem,
    SegmentationDataset,
    check_files,
    read_image,
    read_instances,
    read_label,
)
from segmix_core.data.label_table import IMAGES
from segmix_core.data.saliency import check_saliency
from segmix_core.data.sbd import check_sbd
from segmix_core.data.voc import SPELLINGS, find_voc, id_of, lists_of, read_ids, read_split, year_folder
from segmix_core.errors import InputError
from segmix_core.experiments import nearest
from segmix_core.records import IGNORE_INDEX

CHECKED = (*VOC_LAYOUT, "coco", "sbd", *SALIENCY, *CONTEXT)
"""What `check` reads; VOC's test images are `voc2012`."""

PUBLISHED = {
    "voc2012": IMAGES
    | {"trainaug": IMAGES["train_aug"], "trainval": IMAGES["train"] + IMAGES["val"], "test": 1_456},
    "sbd": {"train": 8_498, "val": 2_857},
    "coco": {
        "train2014": 82_783,
        "val2014": 40_504,
        "valminusminival2014": 35_504,
        "minival2014": 5_000,
        "train2017": 118_287,
        "val2017": 5_000,
    },
    "duts": {"train": 10_553, "test": 5_019},
    "ecssd": {"test": 1_000},
}
"""How many images each list has as published."""

_STANDARD = {
    "voc2012": ("train", "val", "train_aug"),
    "silhouettes": ("train", "val"),
    "duts": ("train", "test"),
}
"""The lists that the paper's tables are trained and measured on, where one may be without the others."""


def check(
    dataset: str,
    root: Path,
    *,
    mask_threshold: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Checked:
    """Read every file of a data set that `segmix data fetch` brings, or that is in the layout of one.

    In VOC's layout that is every list, image and label map, and the annotation and the instance map of each
    image where there are such folders; train and val lists must be disjoint. The list `test` has no label
    maps: PASCAL keeps them. How long each list is stands beside its published length; another length, or a
    list that is not there, is no problem: parts of a data set have their use. Perturbations have a check of
    their own (`segmix_core.robustness.check`).

    Args:
        mask_threshold: of DUT-S and ECSSD alone; see `saliency.read_mask`.

    Raises:
        InputError: no such data set or folder, or no list in it. Everything else is a `Problem`.
    """
    if mask_threshold is not None and dataset not in SALIENCY:
        raise InputError(f"dataset {dataset}", "has no masks for --mask-threshold", "leave the option out")
    if dataset in SALIENCY:
        found = check_saliency(dataset, root, threshold=mask_threshold, progress=progress)  # type: ignore[arg-type]
    elif dataset == "coco":
        found = check_coco(root, progress=progress)
    elif dataset == "sbd":
        found = check_sbd(root, progress=progress)
    elif dataset in CONTEXT:
        found = check_context(root, progress=progress)
    elif dataset in VOC_LAYOUT:
        found = _check_voc(dataset, root, progress=progress)
    else:
        raise nearest("dataset", dataset, CHECKED)
    return replace(found, lists=_beside_published(dataset, found.lists))


def _beside_published(dataset: str, lists: Sequence[Listed]) -> tuple[Listed, ...]:
    """Lists with their published lengths, and the standard ones that are not there."""
    published = PUBLISHED.get(dataset, {})
    here = {spelling for one in lists for spelling in SPELLINGS.get(one.name, (one.name,))}
    absent = (Listed(name, None) for name in _STANDARD.get(dataset, ()) if name not in here)
    return tuple(replace(one, published=published.get(one.name)) for one in (*lists, *absent))


def _check_voc(dataset: str, root: Path, *, progress: Callable[[int, int], None] | None) -> Checked:
    problems: dict[Problem, None] = {}  # in the order found, each once

    def note(error: InputError) -> None:
        problems.setdefault(Problem(error.where, error.what))

    names = lists_of(root)
    if not names:
        raise InputError(root, "has no lists in ImageSets/Segmentation", "give the folder in VOC layout")
    has_images = (year_folder(root) / "JPEGImages").is_dir()
    opened: dict[str, SegmentationDataset] = {}
    pictures: list[Path] = []
    for split in names:
        try:
            if split == "test" and (unlabelled := _without_labels(root, split)):
                pictures += unlabelled
                continue
            opened[split], broken = find_voc(root, split, name=dataset, need_images=has_images)
            for one in broken:
                note(one)
        except InputError as error:
            note(error)
    for split in opened:
        if split in ("train", "train_aug", "trainaug") and "val" in opened:
            try:
                check_disjoint(opened[split], opened["val"])
            except InputError as error:
                note(error)
    entries = {
        listed.label_paths[index]: (listed, index)
        for listed in opened.values()
        for index in range(len(listed))
    }
    seen: set[Path] = set(entries)
    # SBD adds images that VOC has no instances of.
    with_instances = {one for split, listed in opened.items() if split not in SPELLINGS for one in listed.ids}
    for done, (listed, index) in enumerate(entries.values(), start=1):
        if listed.image_paths:
            seen.add(listed.image_paths[index])
        try:
            label = listed.pair(index)[1] if listed.image_paths else listed.label(index)
        except InputError as error:
            note(error)
            label = None
        name = listed.ids[index]
        for path, read in _beside(listed, name, label, needs_instances=name in with_instances):
            seen.add(path)
            try:
                read()
            except InputError as error:
                note(error)
        if progress is not None:
            progress(done, len(entries) + len(pictures))
    alone = check_files(
        [path for path in pictures if path not in seen],
        read_image,
        progress=progress and (lambda done, total: progress(len(entries) + done, len(entries) + total)),
    )
    size = sum(path.stat().st_size for path in seen if path.is_file())
    return Checked(
        len(seen) + alone.files,
        size + alone.bytes,
        (*problems, *alone.problems),
        lists=tuple(Listed(split, _length(root, split)) for split in names),
    )


def _length(root: Path, split: str) -> int:
    """How many images a list names; none where it cannot be read, which is a problem of its own."""
    try:
        return len({id_of(line) for line in read_split(year_folder(root), split)})
    except InputError:
        return 0


def _without_labels(root: Path, split: str) -> list[Path]:
    """The images of a list none of which has a label map; none if one has."""
    folder = year_folder(root)
    ids = read_ids(root, split)
    if any((folder / "SegmentationClass" / f"{one}.png").is_file() for one in ids):
        return []
    return [folder / "JPEGImages" / f"{one}.jpg" for one in ids]


def _beside(
    listed: SegmentationDataset, identifier: str, label: np.ndarray | None, *, needs_instances: bool
) -> Iterator[tuple[Path, Callable[[], object]]]:
    """What Table 4 is counted from, where the data set has it, and how it is read.

    Args:
        label: the label map of the image, where it can be read.
    """
    annotations, instances = (listed.root / name for name in ("Annotations", "SegmentationObject"))
    if annotations.is_dir():
        path = annotations / f"{identifier}.xml"
        yield path, partial(read_annotation, path, listed.categories)
    path = instances / f"{identifier}.png"
    if path.is_file() or (needs_instances and instances.is_dir()):
        read = partial(read_label, path, IGNORE_INDEX)
        yield path, read if label is None else partial(read_instances, path, label.shape)
