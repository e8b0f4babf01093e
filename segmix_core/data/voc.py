"""PASCAL VOC's published layout: JPEGImages, SegmentationClass, ImageSets/Segmentation."""

import difflib
from pathlib import Path

import numpy as np

from segmix_core.data.dataset import SegmentationDataset
from segmix_core.errors import InputError

VOC_CATEGORIES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)

SPELLINGS = {"train_aug": ("train_aug", "trainaug"), "trainaug": ("trainaug", "train_aug")}
"""The list with SBD's images, by either name."""

_LONGEST_NAME, _LONGEST_LINE = 200, 1_000
"""Bytes of a name and of a line in a list: a disk stores no name beyond 255, no path beyond 4,095."""

_LISTS = ("Segmentation", "SegmentationAug")
"""The folders of ImageSets in which lists lie."""

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")  # what a list may name an image with; an id may hold other dots


def voc_palette() -> np.ndarray:
    """VOC's colour map, uint8 (256, 3): the bits of a label dealt to red, green and blue, high bits first."""
    label = np.arange(256)
    colour = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colour[:, channel] |= (((label >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colour


def open_voc(
    root: Path, split: str, *, name: str = "voc2012", need_images: bool = True
) -> SegmentationDataset:
    """Open a list of a VOC-layout folder: VOCdevkit, VOCdevkit/VOC2012 or VOC2012 itself.

    `train_aug` is also found as `trainaug`, and takes its label maps from `SegmentationClassAug/` where
    there is one. A line of a list is an id, or an image path and a label path.

    Args:
        need_images: False opens label maps alone, for statistics.

    Raises:
        InputError: a folder, list or file is missing, a list is empty or names an image twice.
    """
    dataset, errors = find_voc(root, split, name=name, need_images=need_images)
    if errors:
        raise errors[0]
    return dataset


def find_voc(
    root: Path, split: str, *, name: str = "voc2012", need_images: bool = True
) -> tuple[SegmentationDataset, list[InputError]]:
    """What is whole of a list as a data set, and a word for every line that is not. See `open_voc`.

    Raises:
        InputError: a folder or the list is missing, or the list is empty.
    """
    root = year_folder(Path(root))
    lines = read_split(root, split)
    augmented = root / "SegmentationClassAug"
    labels = augmented if augmented.is_dir() and split in SPELLINGS else root / "SegmentationClass"
    if not labels.is_dir() and augmented.is_dir():
        labels = augmented
    has_images = (root / "JPEGImages").is_dir()
    if need_images and not has_images:
        raise InputError(root, "has no folder JPEGImages", "give the folder that holds the images")
    errors: list[InputError] = []
    found: dict[str, tuple[Path, Path]] = {}
    for line in lines:
        parts = line.split()
        if any(".." in Path(part).parts for part in parts):
            errors.append(InputError(root, f"list {split} leads out of it: {line}", "restore the list"))
            continue
        identifier = id_of(line)
        image = root / "JPEGImages" / f"{identifier}.jpg"
        given = root / parts[1].lstrip("/") if len(parts) > 1 else None
        label = given or labels / f"{identifier}.png"
        needed = (label, image) if need_images else (label,)
        missing = [path for path in needed if not path.is_file()]
        errors += [_not_there(path, split) for path in missing]
        if identifier in found:
            errors.append(_twice(root, split, identifier))
        elif not missing:
            found[identifier] = image, label
    dataset = SegmentationDataset(
        name=name,
        root=root,
        split=split,
        categories=VOC_CATEGORIES,
        ids=tuple(found),
        image_paths=tuple(image for image, _ in found.values()) if has_images else (),
        label_paths=tuple(label for _, label in found.values()),
    )
    return dataset, errors


def open_images(root: Path, split: str) -> list[tuple[str, Path]]:
    """Ids and image paths of a list, for prediction: a list such as `test` has no label maps.

    Raises:
        InputError: a folder, list or image is missing, a list is empty or names an image twice.
    """
    root = year_folder(Path(root))
    images = [(identifier, root / "JPEGImages" / f"{identifier}.jpg") for identifier in read_ids(root, split)]
    for _, path in images:
        if not path.is_file():
            raise _not_there(path, split)
    return images


def read_ids(root: Path, split: str) -> tuple[str, ...]:
    """The ids on a list, in its order.

    Raises:
        InputError: a folder or list is missing, the list is empty or names an image twice.
    """
    root = year_folder(Path(root))
    ids = [id_of(line) for line in read_split(root, split)]
    _refuse_doubles(root, split, ids)
    return tuple(ids)


def read_list(path: Path) -> list[str]:
    """The lines of a list that hold anything.

    Raises:
        InputError: no such list, one that is not UTF-8, or empty, or a line too long to name a file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(path, "no such list", "restore it as published") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "the list is not text", "write it in UTF-8, one id a line") from error
    for number, line in enumerate(text.splitlines(), start=1):
        names = line.replace("/", " ").split()
        if len(line.encode()) > _LONGEST_LINE or any(len(name.encode()) > _LONGEST_NAME for name in names):
            raise InputError(
                f"{path}, line {number}",
                f"names no file that a disk can store ({len(line)} characters)",
                "write one id a line",
            )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(path, "the list is empty", "name at least one image")
    return lines


def id_of(line: str) -> str:
    """The id that a line of a list names, alone or as the path of an image."""
    name = Path(line.split()[0]).name
    suffix = Path(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in _IMAGE_SUFFIXES else name


def lists_of(root: Path) -> tuple[str, ...]:
    """The names of the lists under ImageSets/Segmentation and ImageSets/SegmentationAug."""
    folder = year_folder(Path(root)) / "ImageSets"
    return tuple(sorted({path.stem for name in _LISTS for path in (folder / name).glob("*.txt")}))


def year_folder(root: Path) -> Path:
    """The folder with ImageSets: `root` itself, or VOC2012 or VOCdevkit/VOC2012 in it."""
    if not root.is_dir():
        raise InputError(root, "no such folder", "give --root the folder that holds ImageSets")
    for candidate in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (candidate / "ImageSets").is_dir():
            return candidate
    raise InputError(root, "has no folder ImageSets", "give the folder in VOC layout")


def read_split(root: Path, split: str) -> list[str]:
    """The lines of a list under `root`, a `year_folder`, by either spelling of its name.

    Raises:
        InputError: no such list, or see `read_list`.
    """
    if Path(split).name != split:
        raise InputError(f"list {split}", "is a path", f"name a list of {root / 'ImageSets'}")
    folders = [root / "ImageSets" / name for name in _LISTS]
    for folder in folders:
        for spelling in SPELLINGS.get(split, (split,)):
            path = folder / f"{spelling}.txt"
            if path.is_file():
                return read_list(path)
    known = sorted(path.stem for folder in folders for path in folder.glob("*.txt"))
    close = difflib.get_close_matches(split, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    raise InputError(
        folders[0] / f"{split}.txt", "no such list", f"{hint}lists here: {', '.join(known) or 'none'}"
    )


def _refuse_doubles(root: Path, split: str, ids: list[str]) -> None:
    seen: set[str] = set()
    for identifier in ids:
        if identifier in seen:
            raise _twice(root, split, identifier)
        seen.add(identifier)


def _twice(root: Path, split: str, identifier: str) -> InputError:
    return InputError(f"{root}, list {split}", f"names image {identifier} twice", "remove one of the lines")


def _not_there(path: Path, split: str) -> InputError:
    return InputError(path, f"is on list {split} and does not exist", "restore it or take it off the list")
