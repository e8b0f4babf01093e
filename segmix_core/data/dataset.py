"""Images and label maps on disk, by id; every file that is read is checked."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image, ImageOps

from segmix_core.errors import InputError, LabelError
from segmix_core.records import IGNORE_INDEX

MAX_PIXELS = 89_478_485
"""Of an image, mask or label map: Pillow's bound, past which it warns of a decompression bomb."""

# `open_picture` refuses it in one line. Not there, as changing filters for each image repeats other warnings.
warnings.simplefilter("error", Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used, and why."""

    path: str
    problem: str


@dataclass(frozen=True)
class Listed:
    """A list of a data set, and how long it is."""

    name: str
    images: int | None  # None where the list is not there
    published: int | None = None  # how many it has as published, where that is known


@dataclass(frozen=True)
class Checked:
    """What was looked at in a data set, and what was found."""

    files: int
    bytes: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()  # what is worth saying and no fault
    lists: tuple[Listed, ...] = ()


def check_files(
    paths: Sequence[Path],
    read: Callable[[Path], object],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Checked:
    """Read every file; each that cannot be read is a `Problem`, in their order."""
    problems: dict[Problem, None] = {}
    for done, path in enumerate(paths, start=1):
        try:
            read(path)
        except InputError as error:
            problems.setdefault(Problem(error.where, error.what))
        if progress is not None:
            progress(done, len(paths))
    return Checked(len(paths), sum(path.stat().st_size for path in paths if path.is_file()), tuple(problems))


@dataclass(frozen=True, kw_only=True)
class SegmentationDataset:
    """A list of images with their label maps."""

    name: str  # "voc2012", "silhouettes"
    root: Path
    split: str
    categories: tuple[str, ...]  # [0] is "background"
    ids: tuple[str, ...]
    image_paths: tuple[Path, ...]  # empty where the root holds label maps alone
    label_paths: tuple[Path, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    @property
    def num_logits(self) -> int:
        """Channels of a network for this data: one for each category."""
        return len(self.categories)

    def image(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3), RGB. See `read_image`."""
        return read_image(self.image_paths[index])

    def label(self, index: int) -> np.ndarray:
        """uint8 (H, W), 0..N-1 or 255. See `read_label`."""
        return read_label(self.label_paths[index], len(self.categories))

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """An image and its label map.

        Raises:
            InputError: a file cannot be read, or the two differ in size.
        """
        image, label = self.image(index), self.label(index)
        if image.shape[:2] != label.shape:
            raise InputError(
                self.label_paths[index],
                f"label map of {label.shape[1]}x{label.shape[0]} pixels for an image of "
                f"{image.shape[1]}x{image.shape[0]} ({self.image_paths[index].name})",
                "give each image a label map of its own size",
            )
        return image, label

    def only(self, indices: Sequence[int]) -> Self:
        """The data set of some of its images, in that order."""
        return replace(
            self,
            ids=tuple(self.ids[index] for index in indices),
            image_paths=tuple(self.image_paths[index] for index in indices) if self.image_paths else (),
            label_paths=tuple(self.label_paths[index] for index in indices),
        )

    def digest(self) -> str:
        """Sixteen hexadecimal digits of SHA-256 over the ids and the bytes of all label maps and images."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for index, name in enumerate(self.ids):
            digest.update(name.encode())
            digest.update(self.label_paths[index].read_bytes())
            if self.image_paths:
                digest.update(self.image_paths[index].read_bytes())
        return digest.hexdigest()[:16]


@contextmanager
def open_picture(path: Path, what: str = "image") -> Iterator[Image.Image]:
    """Open an image file; what is wrong with it, while it is decoded too, is said in one line.

    Args:
        what: the file is, in words.

    Raises:
        InputError: no such file, one of more than `MAX_PIXELS`, or one that cannot be decoded.
    """
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield opened
    except FileNotFoundError as error:
        raise InputError(path, f"no such {what}", "restore the file, or leave it out") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(
            path, f"the {what} has more than {MAX_PIXELS} pixels", "restore the file or scale it down"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(path, f"the {what} is cut short or damaged", "restore the file") from error


def read_image(path: Path) -> np.ndarray:
    """uint8 (H, W, 3), RGB; grey, CMYK, palette and EXIF-rotated files are brought to that.

    Raises:
        InputError: see `open_picture`; or more than 8 bits a channel, which Pillow would cut off at 255.
    """
    with open_picture(path) as opened:
        mode = opened.mode
        deep = mode[0] in "IF"  # I;16 and its kin, I and F
        image = None if deep else np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    if image is None:
        raise InputError(path, f"an image of mode {mode}", "write it with 8 bits a channel")
    return image


def read_label(path: Path, num_categories: int) -> np.ndarray:
    """uint8 (H, W) of a palette or 8-bit grey PNG, 0..N-1 or 255.

    Raises:
        InputError: see `open_picture`.
        LabelError: a colour or 16-bit image, or a label in N..254.
    """
    with open_picture(path, "label map") as opened:
        mode = opened.mode
        label = np.asarray(opened) if mode in ("P", "L") else None
    if label is None:
        raise LabelError(
            path,
            f"a label map of mode {mode}",
            "write it as an 8-bit palette or grey PNG of category numbers",
        )
    highest = int((label + np.uint8(1)).max(initial=0)) - 1  # 255 wraps to 0: one pass, no copy without void
    if highest >= num_categories:
        raise LabelError(
            path,
            f"label {highest} is outside 0..{num_categories - 1}",
            f"only {IGNORE_INDEX} may mark ignored pixels",
        )
    return label


def read_instances(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 (H, W) of an instance map: 0, the number of an object, or 255.

    Args:
        shape: of the label map of the same image.

    Raises:
        InputError: see `read_label`; or the two differ in size.
    """
    instances = read_label(path, IGNORE_INDEX)
    if instances.shape != shape:
        raise InputError(
            path,
            f"instance map of {instances.shape[1]}x{instances.shape[0]} pixels for a label map of "
            f"{shape[1]}x{shape[0]}",
            "restore both as published",
        )
    return instances
