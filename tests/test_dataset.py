"""Every reader of images refuses one that would fill the memory, before a pixel of it is decoded."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import write_huge
from PIL import Image
from scipy.io import savemat

from segmix_core.data.check import check
from segmix_core.data.context import open_context
from segmix_core.data.dataset import MAX_PIXELS, read_image, read_instances, read_label
from segmix_core.data.saliency import open_duts, read_mask
from segmix_core.data.sbd import make_train_aug
from segmix_core.data.voc import open_images, open_voc
from segmix_core.errors import InputError
from segmix_core.evaluation.submission import write_submission
from segmix_core.subsets import build_subsets

FILES = (
    "voc/JPEGImages/a.jpg", "voc/SegmentationClass/a.png", "voc/SegmentationObject/a.png",
    "voc/JPEGImages/b.jpg", "voc/SegmentationClass/b.png", "voc/SegmentationObject/b.png",
    "voc/JPEGImages/c.jpg", "sbd/img/c.jpg", "photos/a.jpg",
    "duts/DUTS-TR/DUTS-TR-Image/a.jpg", "duts/DUTS-TR/DUTS-TR-Mask/a.png", "duts/pseudo_categories/a.png",
)  # fmt: skip
LISTS = {"voc/ImageSets/Segmentation/train": "a", "voc/ImageSets/Segmentation/val": "b",
         "sbd/train": "c", "sbd/val": "c"}  # fmt: skip


def lay_out(folder: Path) -> Path:
    """An image or two of VOC, SBD and DUT-S, and a photograph; nothing is wrong with them."""
    for name in (*FILES, *LISTS, "sbd/cls/c"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        Image.new("RGB" if name.endswith("jpg") else "L", (8, 8)).save(folder / name)
    for name, held in LISTS.items():
        (folder / f"{name}.txt").write_text(f"{held}\n")
    savemat(folder / "sbd/cls/c.mat", {"GTcls": {"Segmentation": np.zeros((8, 8), dtype=np.uint8)}})
    return folder


def checked(name: str, root: Path) -> None:
    for one in check(name, root).problems:
        raise InputError(one.path, one.problem, "of several, the first")


def told_apart(root: Path) -> None:
    nothing = np.zeros((1, 21), dtype=bool)
    build_subsets(open_voc(root, "val"), nothing, np.zeros((21, 21), dtype=np.int64))


def submitted(folder: Path) -> None:
    images = dict(open_images(folder / "voc", "val"))
    write_submission(
        lambda image: np.zeros(image.shape[:2], dtype=np.uint8),
        list(images),
        list(images.values()),
        folder / "out.tgz",
    )


READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("photos/a.jpg", lambda folder: read_image(folder / "photos/a.jpg")),
    ("photos/a.jpg", lambda folder: open_context("unrel", folder / "photos")),
    ("photos/a.jpg", lambda folder: checked("outofcontext", folder / "photos")),
    ("voc/SegmentationClass/a.png", lambda folder: read_label(folder / "voc/SegmentationClass/a.png", 21)),
    ("voc/SegmentationObject/a.png",
     lambda folder: read_instances(folder / "voc/SegmentationObject/a.png", (8, 8))),
    ("voc/JPEGImages/a.jpg", lambda folder: checked("voc2012", folder / "voc")),
    ("voc/SegmentationClass/b.png", lambda folder: checked("voc2012", folder / "voc")),
    ("voc/SegmentationObject/b.png", lambda folder: checked("voc2012", folder / "voc")),
    ("voc/SegmentationObject/b.png", lambda folder: told_apart(folder / "voc")),
    ("voc/JPEGImages/b.jpg", submitted),
    ("voc/JPEGImages/c.jpg", lambda folder: make_train_aug(folder / "sbd", folder / "voc")),
    ("voc/SegmentationClass/a.png", lambda folder: make_train_aug(folder / "sbd", folder / "voc")),
    ("sbd/img/c.jpg", lambda folder: checked("sbd", folder / "sbd")),
    ("duts/DUTS-TR/DUTS-TR-Mask/a.png",
     lambda folder: read_mask(folder / "duts/DUTS-TR/DUTS-TR-Mask/a.png", threshold=128)),
    ("duts/DUTS-TR/DUTS-TR-Image/a.jpg", lambda folder: checked("duts", folder / "duts")),
    ("duts/DUTS-TR/DUTS-TR-Mask/a.png", lambda folder: open_duts(folder / "duts", "train").category(0)),
    ("duts/pseudo_categories/a.png", lambda folder: open_duts(folder / "duts", "train").category(0)),
]  # fmt: skip


@pytest.mark.parametrize("side", [10_000, 30_000])  # Pillow warns of the one and refuses the other
@pytest.mark.parametrize(("file", "read"), READERS, ids=range(len(READERS)))
def test_a_file_of_too_many_pixels_is_one_line(
    tmp_path: Path, file: str, read: Callable[[Path], object], side: int
) -> None:
    lay_out(tmp_path / "whole")
    read(tmp_path / "whole")
    lay_out(tmp_path / "huge")
    write_huge(tmp_path / "huge" / file, side)
    with pytest.raises(InputError) as caught:
        read(tmp_path / "huge")
    assert caught.value.where == str(tmp_path / "huge" / file)
    assert f"has more than {MAX_PIXELS} pixels" in caught.value.what
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "huge" / "out.tgz").exists()
    assert not list((tmp_path / "huge" / "voc").glob("*Aug*"))


@pytest.mark.parametrize("side", [10_000, 30_000])
def test_a_process_says_nothing_else_about_it(tmp_path: Path, side: int) -> None:
    """Pillow's warning is two lines of its own on standard error, which a test's filters would hide."""
    lay_out(tmp_path)
    write_huge(tmp_path / "voc/JPEGImages/c.jpg", side)
    command = ("data", "augment", "--sbd", tmp_path / "sbd", "--root", tmp_path / "voc")
    ended = subprocess.run(
        [sys.executable, "-m", "segmix_core", *map(str, command)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    said = [line for line in ended.stderr.splitlines() if not line.startswith("augment: ")]  # progress
    assert [line.partition(": the image has more than ")[0] for line in said] == [
        f"segmix: error: {tmp_path / 'voc/JPEGImages/c.jpg'}"
    ]


def test_the_bound_is_the_largest_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (8, 5)).save(path)
    monkeypatch.setattr("segmix_core.data.dataset.MAX_PIXELS", 40)
    assert read_image(path).shape == (5, 8, 3)
    monkeypatch.setattr("segmix_core.data.dataset.MAX_PIXELS", 39)
    with pytest.raises(InputError, match="the image has more than 39 pixels; restore the file or scale it"):
        read_image(path)
