"""Open and validate every file of a data set: the work of `segmix data check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from segmix_core.data import check_disjoint, open_dataset
from segmix_core.data.annotations import read_annotation
from segmix_core.data.coco import check_coco
from segmix_core.data.dataset import Checked, Problem, SegmentationDataset, read_label
from segmix_core.data.saliency import check_saliency
from segmix_core.data.voc import lists_of
from segmix_core.errors import InputError
from segmix_core.records import IGNORE_INDEX


def check(
    dataset: str,
    root: Path,
    *,
    mask_threshold: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Checked:
    """Read every list, image and label map of a data set; train and val lists must be disjoint.

    In VOC's layout, the annotation and the instance map of each image too, where there are such folders.

    Args:
        mask_threshold: of DUT-S and ECSSD alone; see `saliency.read_mask`.

    Raises:
        InputError: no such data set or folder, or no list in it. Everything else is a `Problem`.
    """
    if dataset in ("duts", "ecssd"):
        return check_saliency(dataset, root, threshold=mask_threshold, progress=progress)  # type: ignore[arg-type]
    if dataset == "coco":
        return check_coco(root, progress=progress)
    problems: dict[Problem, None] = {}  # in the order found, each once

    def note(error: InputError) -> None:
        problems.setdefault(Problem(error.where, error.what))

    names = lists_of(root)
    if not names:
        raise InputError(root, "has no lists in ImageSets/Segmentation", "give the folder in VOC layout")
    opened: dict[str, SegmentationDataset] = {}
    for split in names:
        try:
            opened[split] = open_dataset(dataset, root, split, need_images=False)
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
    for done, (listed, index) in enumerate(entries.values(), start=1):
        try:
            if listed.image_paths:
                seen.add(listed.image_paths[index])
                listed.pair(index)
            else:
                listed.label(index)
        except InputError as error:
            note(error)
        for path, read in _beside(listed, listed.ids[index]):
            seen.add(path)
            try:
                read()
            except InputError as error:
                note(error)
        if progress is not None:
            progress(done, len(entries))
    size = sum(path.stat().st_size for path in seen if path.is_file())
    return Checked(len(seen), size, tuple(problems))


def _beside(listed: SegmentationDataset, identifier: str) -> Iterator[tuple[Path, Callable[[], object]]]:
    """What Table 4 is counted from, where the data set has it, and how it is read."""
    annotations, instances = (listed.root / name for name in ("Annotations", "SegmentationObject"))
    if annotations.is_dir():
        path = annotations / f"{identifier}.xml"
        yield path, partial(read_annotation, path, listed.categories)
    path = instances / f"{identifier}.png"
    if path.is_file():  # train_aug lists images that VOC has no instances of
        yield path, partial(read_label, path, IGNORE_INDEX)
