"""SBD (Hariharan et al., 2011) as published, and the list `train_aug` made from it and VOC 2012.

The folder `benchmark_RELEASE/dataset` holds `cls/ID.mat`, `img/ID.jpg`, `train.txt` and `val.txt`. SBD splits
its images in its own way: some that it trains on are on VOC's val list.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import warnings
import zlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from scipy.io import loadmat

from segmix_core.data.dataset import MAX_PIXELS, Checked, Listed, check_files, read_image, read_label
from segmix_core.data.voc import VOC_CATEGORIES, id_of, read_ids, read_list, voc_palette, year_folder
from segmix_core.errors import InputError
from segmix_core.files import alone, replacing, write_text

VOC_TRAIN, SBD_IMAGES, TRAIN_AUG = 1_464, 11_355, 10_582
"""Images on the published lists: VOC's train, SBD's train and val together, and what train_aug then has."""

_RESTORE = "restore the file from SBD's archive"
_PALETTE = voc_palette().tobytes()
_PACKED = 15
"""The data type of an element of a MATLAB 5 file that is packed by zlib (MATLAB's file format, table 1-1)."""
_PIECE = 1 << 20


@dataclass(frozen=True)
class Made:
    """What `make_train_aug` wrote."""

    images: int  # on the list, each with a label map
    from_voc: int  # of them, with VOC's own label map
    from_sbd: int
    standard: bool  # made from whole lists, so that `images` was held to 10,582


def make_train_aug(
    sbd_root: Path, voc_root: Path, *, progress: Callable[[int, int], None] | None = None
) -> Made:
    """Write SegmentationClassAug/ and ImageSets/Segmentation/train_aug.txt into a VOC folder.

    Images of VOC's train list keep VOC's own label maps, with their void border, whatever SBD has for them;
    all others take SBD's, which have no void. So do the label maps in common use (10,582 images).
    Folder and list appear when the folder is whole; a process that was stopped is gone on from.

    Args:
        sbd_root: `benchmark_RELEASE/dataset`, or a folder above it.
        voc_root: see `open_voc`. Label maps are held to the size of its images, or, where it has no
            JPEGImages, of SBD's.

    Raises:
        InputError: a list, image or label map is missing, damaged or does not fit; there is such a folder
            or another such list already. Nothing is left behind then.
        WorkError: the disk is full or fails.
    """
    sbd, voc = _dataset_folder(Path(sbd_root)), year_folder(Path(voc_root))
    own = frozenset(read_ids(voc, "train"))
    extra = frozenset(id_of(line) for name in ("train", "val") for line in read_list(sbd / f"{name}.txt"))
    ids = train_aug_ids(own, extra, read_ids(voc, "val"))
    sources = {
        identifier: voc / "SegmentationClass" / f"{identifier}.png"
        if identifier in own
        else sbd / "cls" / f"{identifier}.mat"
        for identifier in ids
    }
    images = voc / "JPEGImages" if (voc / "JPEGImages").is_dir() else sbd / "img"
    out, listed = voc / "SegmentationClassAug", voc / "ImageSets" / "Segmentation" / "train_aug.txt"
    part = voc / f".SegmentationClassAug-{_state(sources.values())}.part"
    if not os.access(voc, os.W_OK):
        raise InputError(voc, "cannot write here", "give a VOC folder that can be written to")
    with alone(voc):
        _refuse_others(out, listed, ids)
        for stale in set(voc.glob(".SegmentationClassAug-*.part")) - {part}:
            shutil.rmtree(stale)  # begun from other files
        part.mkdir(exist_ok=True)
        for cut in part.glob(".*.part"):  # by a kill, in the middle of a label map
            cut.unlink()
        try:
            for done, (identifier, source) in enumerate(sources.items(), start=1):
                written = part / f"{identifier}.png"
                if not written.exists():
                    _write(source, images / f"{identifier}.jpg", written)
                if progress is not None:
                    progress(done, len(sources))
        except Exception:  # but not Ctrl-C: what is there then is gone on from
            shutil.rmtree(part)
            raise
        write_text(listed, "".join(f"{identifier}\n" for identifier in ids))
        part.rename(out)
    from_voc = len(own.intersection(ids))
    return Made(len(ids), from_voc, len(ids) - from_voc, _whole(own, extra))


def check_sbd(root: Path, *, progress: Callable[[int, int], None] | None = None) -> Checked:
    """Read every image and label map on SBD's two lists, and hold their sizes against each other.

    Raises:
        InputError: no folder `cls`, or a list is missing or empty. Everything else is a `Problem`.
    """
    folder = _dataset_folder(Path(root))
    lists = {name: [id_of(line) for line in read_list(folder / f"{name}.txt")] for name in ("train", "val")}

    def read(path: Path) -> None:
        if path.suffix == ".jpg":
            read_image(path)
        else:
            _refuse_other_size(path, read_sbd_label(path), folder / "img" / f"{path.stem}.jpg")

    paths = [
        folder / name
        for ids in lists.values()
        for one in ids
        for name in (f"img/{one}.jpg", f"cls/{one}.mat")
    ]
    found = check_files(list(dict.fromkeys(paths)), read, progress=progress)
    return replace(found, lists=tuple(Listed(name, len(set(ids))) for name, ids in lists.items()))


def train_aug_ids(voc_train: Collection[str], sbd: Collection[str], voc_val: Collection[str]) -> list[str]:
    """(SBD's train and val + VOC's train) minus VOC's val, sorted.

    Raises:
        InputError: VOC's train list and SBD's two are of their published lengths, and 10,582 images are not
            what comes out: one of the lists is not the published one.
    """
    ids = sorted((set(voc_train) | set(sbd)) - set(voc_val))
    if _whole(voc_train, sbd) and len(ids) != TRAIN_AUG:
        raise InputError(
            "train_aug",
            f"VOC's and SBD's lists give {len(ids)} images, not {TRAIN_AUG}",
            "restore the lists train and val of both as published",
        )
    return ids


def read_sbd_label(path: Path) -> np.ndarray:
    """uint8 (H, W), 0..20, of `cls/ID.mat`: the struct GTcls with the field Segmentation.

    Raises:
        InputError: no such file, one that cannot be read or unpacks to more than `MAX_PIXELS` bytes, or a
            label beyond 20 (SBD has no void).
    """
    try:
        with path.open("rb") as opened, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the errors below say it
            bomb = _unpacks_to_more(opened, MAX_PIXELS)
            content = {} if bomb else loadmat(opened, variable_names=["GTcls"])
    except FileNotFoundError as error:
        raise InputError(path, "no such label map", _RESTORE) from error
    except Exception as error:  # scipy raises a dozen kinds for a file that is cut or damaged
        raise InputError(path, "the label map is cut short or damaged", _RESTORE) from error
    if bomb:
        raise InputError(path, f"the label map unpacks to more than {MAX_PIXELS} bytes", _RESTORE)
    try:
        label = content["GTcls"]["Segmentation"].item()
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(path, "holds no struct GTcls with a field Segmentation", _RESTORE) from error
    if not isinstance(label, np.ndarray) or label.dtype != np.uint8 or label.ndim != 2:
        raise InputError(path, "GTcls.Segmentation is no uint8 matrix", _RESTORE)
    if label.max(initial=0) >= len(VOC_CATEGORIES):
        raise InputError(path, f"label {label.max()} is outside 0..{len(VOC_CATEGORIES) - 1}", _RESTORE)
    return label


def _unpacks_to_more(opened: BinaryIO, limit: int) -> bool:
    """Whether the packed elements of a MATLAB 5 file hold more bytes than that; leaves it at its start."""
    header = opened.read(128)
    order = {b"IM": "<", b"MI": ">"}.get(header[126:], "<")
    left = limit
    while left >= 0 and len(tag := opened.read(8)) == 8:
        kind, length = struct.unpack(f"{order}II", tag)
        if kind != _PACKED:
            opened.seek(length, os.SEEK_CUR)
            continue
        unpacker, packed = zlib.decompressobj(), opened.read(length)
        while packed and left >= 0 and (piece := unpacker.decompress(packed, _PIECE)):
            left -= len(piece)
            packed = unpacker.unconsumed_tail
    opened.seek(0)
    return left < 0


def _dataset_folder(root: Path) -> Path:
    if not root.is_dir():
        raise InputError(root, "no such folder", "give the folder that holds SBD's benchmark_RELEASE")
    for candidate in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset"):
        if (candidate / "cls").is_dir():
            return candidate
    raise InputError(root, "has no folder cls", "give the folder that holds SBD's benchmark_RELEASE")


def _whole(voc_train: Collection[str], sbd: Collection[str]) -> bool:
    return (len(voc_train), len(sbd)) == (VOC_TRAIN, SBD_IMAGES)


def _state(sources: Iterable[Path]) -> str:
    """Eight digits that change when a source is another one, so that work is only gone on from its own."""
    digest = hashlib.sha256()
    for path in sources:
        try:
            found = path.stat()
        except OSError as error:
            raise InputError(path, "no such label map", "restore the file") from error
        digest.update(f"{path.resolve()} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:8]


def _refuse_others(out: Path, listed: Path, ids: list[str]) -> None:
    if out.exists():
        raise InputError(out, "is there already", "remove it to make it anew")
    if listed.exists() and sorted(map(id_of, read_list(listed))) != ids:
        raise InputError(
            listed, f"is there already and names other than these {len(ids)} images", "remove it"
        )


def _write(source: Path, image: Path, written: Path) -> None:
    """Write the label map of `source` as a palette PNG, held to the size of its image."""
    own = source.suffix == ".png"
    label = read_label(source, len(VOC_CATEGORIES)) if own else read_sbd_label(source)
    _refuse_other_size(source, label, image)
    drawn = Image.fromarray(label)
    drawn.putpalette(_PALETTE)
    with replacing(written) as temporary:
        drawn.save(temporary, format="PNG")


def _refuse_other_size(source: Path, label: np.ndarray, image: Path) -> None:
    height, width = read_image(image).shape[:2]
    if label.shape != (height, width):
        raise InputError(
            source,
            f"label map of {label.shape[1]}x{label.shape[0]} pixels for an image of {width}x{height} "
            f"({image.name})",
            "restore the two as published",
        )
