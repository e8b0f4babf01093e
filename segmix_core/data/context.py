"""Out-of-Context (Choi et al. 2012) and UnRel (Peyre et al. 2017): photographs to look at (Fig. 4).

Neither has label maps, so nothing is scored on them. Their boxes, polygons and triplets (.mat files) are not
read: no figure or table needs them. Where the archive of Out-of-Context keeps its images is not documented,
so the folder that holds them is found, or asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segmix_core.data.dataset import Checked, check_files, open_picture, read_image
from segmix_core.errors import InputError
from segmix_core.experiments import nearest

ContextName = Literal["outofcontext", "unrel"]

CONTEXT: tuple[ContextName, ...] = ("outofcontext", "unrel")
_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Images without labels, sorted by file name."""

    name: str
    root: Path
    ids: tuple[str, ...]  # file names without their suffix
    image_paths: tuple[Path, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    def image(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3), RGB. See `read_image`."""
        return read_image(self.image_paths[index])


def open_context(name: ContextName, root: Path) -> ImageFolder:
    """Open the images of a data set, in the order of their names; of each file the head is read.

    Args:
        root: the folder that holds the images, in itself, in `images`, or in one single folder below it.

    Raises:
        InputError: no images there or in several folders, two that differ in their suffix alone, or a file
            that `dataset.open_picture` refuses.
    """
    if name not in CONTEXT:
        raise nearest("dataset", name, CONTEXT)
    folder = _image_folder(Path(root))
    paths = _images_in(folder)
    by_id: dict[str, Path] = {}
    for path in paths:
        if path.stem in by_id:
            raise InputError(
                path, f"has the name of {by_id[path.stem].name} but for the suffix", "rename one"
            )
        by_id[path.stem] = path
        with open_picture(path):
            pass
    return ImageFolder(name=name, root=Path(root), ids=tuple(by_id), image_paths=tuple(by_id.values()))


def check_context(root: Path, *, progress: Callable[[int, int], None] | None = None) -> Checked:
    """Decode every image to its end.

    Raises:
        InputError: no images there, or in several folders. Everything else is a `Problem`.
    """
    return check_files(_images_in(_image_folder(Path(root))), read_image, progress=progress)


def _image_folder(root: Path) -> Path:
    if not root.is_dir():
        raise InputError(root, "no such folder", "give the folder that holds the images")
    for folder in (root, root / "images"):
        if _images_in(folder):
            return folder
    below = sorted({path.parent for path in root.rglob("*") if _is_image(path)})
    if not below:
        raise InputError(root, "holds no image", "give the folder that holds the images")
    if len(below) > 1:
        names = ", ".join(str(folder.relative_to(root)) for folder in below[:4])
        raise InputError(root, f"holds images in {len(below)} folders, such as {names}", "give one of them")
    return below[0]


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_image(path)) if folder.is_dir() else []


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
