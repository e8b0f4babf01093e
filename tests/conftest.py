"""What tests share: the real data where it is at hand, and a tiny VOC folder drawn on the spot."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmix_core.data.voc import voc_palette

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with voc2012_masks and voc2012_small; SEGMIX_DATA names it, else ../shared/data."""
    folder = Path(os.environ.get("SEGMIX_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "voc2012_masks").is_dir():
        pytest.skip(f"no real data in {folder}: set SEGMIX_DATA to the folder that holds voc2012_masks")
    return folder


def write_voc(folder: Path, labels: dict[str, list[np.ndarray]], *, seed: int = 0) -> Path:
    """A VOC-layout folder of the given label maps by split; images are noise tinted by category."""
    rng = np.random.default_rng(seed)
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for split, maps in labels.items():
        ids = []
        for number, label in enumerate(maps):
            identifier = f"{split}_{number:04d}"
            ids.append(identifier)
            tint = voc_palette()[np.where(label == 255, 0, label)].astype(np.int16)
            image = np.clip(tint + rng.integers(40, 90, size=tint.shape), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(folder / "JPEGImages" / f"{identifier}.jpg", quality=95)
            drawn = Image.fromarray(label.astype(np.uint8))
            drawn.putpalette(voc_palette().tobytes())
            drawn.save(folder / "SegmentationClass" / f"{identifier}.png")
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("".join(f"{i}\n" for i in ids))
    return folder


def write_huge(path: Path, side: int = 30_000) -> Path:
    """A PNG of a hundred bytes that says it has `side` x `side` pixels; decoded, it would take a gigabyte."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(held)) + name + held + struct.pack(">I", zlib.crc32(name + held))
            for name, held in chunks
        )
    )
    return path


def boxes_map(rng: np.random.Generator, *, size: int = 64) -> np.ndarray:
    """A label map with one to three rectangles of random categories, and a void border round one."""
    label = np.zeros((size, size), dtype=np.uint8)
    for _ in range(rng.integers(1, 4)):
        top, left = rng.integers(0, size // 2, size=2)
        height, width = rng.integers(size // 4, size // 2, size=2)
        label[top : top + height, left : left + width] = rng.integers(1, 21)
    label[:2] = 255
    return label


def write_tiny_voc(folder: Path) -> Path:
    """VOC layout with lists train (24 images of 64 px) and val (10), disjoint."""
    rng = np.random.default_rng(7)
    maps = [boxes_map(rng) for _ in range(34)]
    return write_voc(folder / "VOC2012", {"train": maps[:24], "val": maps[24:]})


@pytest.fixture
def tiny_voc(tmp_path: Path) -> Path:
    """A tiny VOC folder that a test may change."""
    return write_tiny_voc(tmp_path)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny VOC folder that the tests of a module share and leave as it is."""
    return write_tiny_voc(tmp_path_factory.mktemp("data"))
