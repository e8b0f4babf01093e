"""DUT-S and ECSSD in their published layouts: images beside masks of 0 and 255.

Neither has categories. For pairing by co-occurrence, label maps that a segmenter predicted for the training
images stand in for them (Section 4.5); they are never a target of training.

Some of DUT-S's published masks have been reported to hold shades between black and white. They are refused
unless a threshold is given: which shades count as salient is a decision, and it is recorded in the digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np

from segmix_core.data.dataset import Checked, Listed, Problem, SegmentationDataset, open_picture, read_label
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.errors import InputError, LabelError
from segmix_core.experiments import nearest

SALIENCY_CATEGORIES = ("background", "salient")
PSEUDO_CATEGORIES = "pseudo_categories"
"""The folder with the label maps that stand in for categories."""

_PARTS = {"train": "DUTS-TR", "test": "DUTS-TE"}


@dataclass(frozen=True, kw_only=True)
class SaliencyDataset(SegmentationDataset):
    """Images with masks of what is salient and, where there are any, pseudo-categories for pairing."""

    category_paths: tuple[Path, ...] = ()  # in the order of `ids`, or empty
    num_pairing_categories: int = len(VOC_CATEGORIES)  # N of `category`, background included
    threshold: int | None = None  # see `read_mask`

    @property
    def num_logits(self) -> int:
        """One: salient or not (R18)."""
        return 1

    def label(self, index: int) -> np.ndarray:
        """uint8 (H, W), 1 where salient. See `read_mask`."""
        return read_mask(self.label_paths[index], threshold=self.threshold)

    def only(self, indices: Sequence[int]) -> Self:
        """The data set of some of its images, in that order, with their pseudo-categories."""
        paths = tuple(self.category_paths[index] for index in indices) if self.category_paths else ()
        return replace(super().only(indices), category_paths=paths)

    def category(self, index: int) -> np.ndarray:
        """uint8 (H, W), pseudo-categories 0..20 or 255, for pairing alone. See `read_label`.

        Raises:
            InputError: there are none, or their map differs from the mask in size.
        """
        if not self.category_paths:
            raise InputError(
                self.root,
                f"list {self.split} has no pseudo-categories",
                f"predict them into a folder {PSEUDO_CATEGORIES}",
            )
        category = read_label(self.category_paths[index], self.num_pairing_categories)
        width, height = _size(self.label_paths[index])
        if category.shape != (height, width):
            raise InputError(
                self.category_paths[index],
                f"pseudo-categories of {category.shape[1]}x{category.shape[0]} pixels for a mask of "
                f"{width}x{height} ({self.label_paths[index].name})",
                "predict them anew at the size of the image",
            )
        return category

    @cached_property
    def _digest(self) -> str:
        """Over the threshold and the pseudo-categories too: they decide what is salient and what is mixed."""
        digest = hashlib.sha256(f"{super()._digest} {self.threshold}".encode())
        for path in self.category_paths:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


def open_duts(
    root: Path,
    split: str,
    *,
    pseudo: Path | None = None,
    threshold: int | None = None,
    name: str = "duts",
) -> SaliencyDataset:
    """Open DUT-S: list `train` is DUTS-TR (10,553 images as published), `test` is DUTS-TE (5,019).

    Args:
        root: the folder that holds DUTS-TR and DUTS-TE, or one of the two.
        pseudo: where pseudo-categories lie, `<id>.png` each. By default, for the training images, the
            folder `pseudo_categories` in `root`, or in DUTS-TR, where there is one.
        threshold: see `read_mask`.

    Raises:
        InputError: a folder is missing, an image has no mask, a mask no image or, where there are
            pseudo-categories, an image none.
    """
    dataset, errors = _find_duts(Path(root), split, pseudo=pseudo, threshold=threshold, name=name)
    if errors:
        raise errors[0]
    return dataset


def open_ecssd(root: Path, *, threshold: int | None = None, name: str = "ecssd") -> SaliencyDataset:
    """Open ECSSD (1,000 images as published), all of it list `test`.

    Args:
        root: the folder that holds images and ground_truth_mask, or one with a folder ECSSD that does.
        threshold: see `read_mask`.

    Raises:
        InputError: a folder is missing, an image has no mask, or a mask no image.
    """
    dataset, errors = _find_ecssd(Path(root), threshold=threshold, name=name)
    if errors:
        raise errors[0]
    return dataset


def check_saliency(
    dataset: Literal["duts", "ecssd", "silhouettes-saliency"],
    root: Path,
    *,
    threshold: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Checked:
    """Read every image, mask and pseudo-category of DUT-S (the parts that are there), ECSSD, or both.

    Raises:
        InputError: no such folder, or none of the parts in it. Everything else is a `Problem`.
    """
    root = Path(root)
    found = []
    if dataset != "ecssd":
        here = [split for split in _PARTS if _part_folder(root, _PARTS[split]) is not None]
        found += [_find_duts(root, split, threshold=threshold) for split in here or ["train"]]
    if dataset != "duts":
        found.append(_find_ecssd(root, threshold=threshold))
    problems: dict[Problem, None] = {}  # in the order found, each once
    for error in (error for _, errors in found for error in errors):
        problems.setdefault(Problem(error.where, error.what))
    entries = [(opened, index) for opened, _ in found for index in range(len(opened))]
    seen: set[Path] = set()
    for done, (opened, index) in enumerate(entries, start=1):
        seen |= {opened.image_paths[index], opened.label_paths[index]}
        reads: list[Callable[[int], object]] = [opened.pair]
        if opened.category_paths:
            seen.add(opened.category_paths[index])
            reads.append(opened.category)
        for read in reads:
            try:
                read(index)
            except InputError as error:
                problems.setdefault(Problem(error.where, error.what))
        if progress is not None:
            progress(done, len(entries))
    size = sum(path.stat().st_size for path in seen if path.is_file())
    lists = tuple(Listed(opened.split, len(opened)) for opened, _ in found)
    return Checked(len(seen), size, tuple(problems), lists=lists)


def read_mask(path: Path, *, threshold: int | None = None) -> np.ndarray:
    """uint8 (H, W), 1 where an 8-bit grey, palette or 1-bit image is white, 0 where it is black.

    Args:
        threshold: 1..255; shades from it on are salient, lower ones are not. None refuses every shade
            between black and white.

    Raises:
        InputError: see `dataset.open_picture`.
        LabelError: a colour or 16-bit image or, without a threshold, a shade between black and white.
    """
    with open_picture(path, "mask") as opened:
        mode = opened.mode
        shades = np.asarray(opened.convert("L")) if mode in ("1", "L", "P") else None
    if shades is None:
        raise LabelError(path, f"a mask of mode {mode}", "write it as an 8-bit grey PNG of 0 and 255")
    if threshold is not None:
        return (shades >= threshold).astype(np.uint8)
    between = shades[(shades != 0) & (shades != 255)]
    if between.size:
        raise LabelError(
            path,
            f"value {between[0]} in a mask of 0 and 255",
            "write 255 where salient and 0 elsewhere, or say from which shade on, with --mask-threshold",
        )
    return shades & np.uint8(1)


def _find_duts(
    root: Path,
    split: str,
    *,
    pseudo: Path | None = None,
    threshold: int | None = None,
    name: str = "duts",
) -> tuple[SaliencyDataset, list[InputError]]:
    if split not in _PARTS:
        raise nearest("list", split, _PARTS)
    part = _PARTS[split]
    folder = _part_folder(root, part)
    if folder is None:
        raise InputError(root, f"has no folder {part}/{part}-Image", "give the folder that holds DUTS-TR")
    if pseudo is None and split == "train":
        places = (root / PSEUDO_CATEGORIES, folder / PSEUDO_CATEGORIES)
        pseudo = next((place for place in places if place.is_dir()), None)
    return _pair_up(
        folder / f"{part}-Image",
        folder / f"{part}-Mask",
        pseudo,
        name=name,
        root=root,
        split=split,
        threshold=threshold,
    )


def _find_ecssd(
    root: Path, *, threshold: int | None = None, name: str = "ecssd"
) -> tuple[SaliencyDataset, list[InputError]]:
    for folder in (root, root / "ECSSD"):
        if (folder / "images").is_dir():
            return _pair_up(
                folder / "images",
                folder / "ground_truth_mask",
                None,
                name=name,
                root=root,
                split="test",
                threshold=threshold,
            )
    raise InputError(
        root,
        "has no folder images of ECSSD",
        "give the folder that holds images and ground_truth_mask; to train and run, by --eval-root",
    )


def _part_folder(root: Path, part: str) -> Path | None:
    return next(
        (folder for folder in (root, root / part) if (folder / f"{part}-Image").is_dir()),
        None,
    )


def _pair_up(
    images: Path,
    masks: Path,
    pseudo: Path | None,
    *,
    name: str,
    root: Path,
    split: str,
    threshold: int | None,
) -> tuple[SaliencyDataset, list[InputError]]:
    """What is whole as a data set, sorted by id, and a word for every file that has no other half."""
    if not masks.is_dir():
        raise InputError(masks, "no such folder", "restore the masks as published")
    if pseudo is not None and not pseudo.is_dir():
        raise InputError(pseudo, "no such folder", "predict the pseudo-categories, or leave them out")
    shown, masked = _stems(images, ".jpg"), _stems(masks, ".png")
    errors = [
        InputError(images / f"{one}.jpg", f"has no mask {masks.name}/{one}.png", "restore the mask")
        for one in sorted(shown - masked)
    ]
    errors += [
        InputError(masks / f"{one}.png", f"has no image {images.name}/{one}.jpg", "restore the image")
        for one in sorted(masked - shown)
    ]
    ids = sorted(shown & masked)
    if not ids and not errors:
        raise InputError(images, "holds no .jpg image", "give the folder as published")
    category_paths = () if pseudo is None else tuple(pseudo / f"{one}.png" for one in ids)
    missing = [path for path in category_paths if not path.is_file()]
    errors += [
        InputError(path, "no such pseudo-categories", "predict them for every image") for path in missing
    ]
    dataset = SaliencyDataset(
        name=name,
        root=root,
        split=split,
        categories=SALIENCY_CATEGORIES,
        ids=tuple(ids),
        image_paths=tuple(images / f"{one}.jpg" for one in ids),
        label_paths=tuple(masks / f"{one}.png" for one in ids),
        category_paths=() if missing else category_paths,
        threshold=threshold,
    )
    return dataset, errors


def _stems(folder: Path, suffix: str) -> set[str]:
    """Of the files with a suffix; those that begin with a dot are notes of an operating system."""
    return {path.stem for path in folder.glob(f"*{suffix}") if not path.name.startswith(".")}


def _size(path: Path) -> tuple[int, int]:
    """Width and height, from the head of the file alone."""
    with open_picture(path, "mask") as opened:
        return opened.size
