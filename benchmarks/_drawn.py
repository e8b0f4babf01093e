"""Label maps and pictures that the benchmarks draw for themselves."""

from pathlib import Path

import numpy as np
from PIL import Image

from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.voc import VOC_CATEGORIES, voc_palette

CATEGORIES = len(VOC_CATEGORIES)


def draw_label(height: int, width: int, *, rng: np.random.Generator) -> np.ndarray:
    """A label map like VOC's, uint8 (H, W): one to three ellipses with ragged outlines and a void border."""
    label = np.zeros((height, width), dtype=np.uint8)
    y, x = np.ogrid[:height, :width]
    for _ in range(rng.integers(1, 4)):
        middle_y, middle_x = rng.uniform(0.2, 0.8) * height, rng.uniform(0.2, 0.8) * width
        radius_y, radius_x = rng.uniform(0.1, 0.35) * height, rng.uniform(0.1, 0.35) * width
        waves = 0.1 * np.sin(y / 7 + rng.uniform(0, 6)) + 0.1 * np.sin(x / 5 + rng.uniform(0, 6))
        distance = np.hypot((y - middle_y) / radius_y, (x - middle_x) / radius_x) + waves
        label[distance < 1.06] = 255
        label[distance < 1] = rng.integers(1, CATEGORIES)
    return label


def draw_labels(count: int, height: int, width: int, *, rng: np.random.Generator) -> np.ndarray:
    """uint8 (count, H, W)."""
    return np.stack([draw_label(height, width, rng=rng) for _ in range(count)])


def draw_folder(
    folder: Path, count: int, height: int, width: int, *, rng: np.random.Generator, images: bool = False
) -> SegmentationDataset:
    """A data set of `count` palette PNGs, with JPEGs of about a photograph's detail if `images`."""
    image_paths, label_paths = [], []
    for number, label in enumerate(draw_labels(count, height, width, rng=rng)):
        label_paths.append(folder / f"{number:05d}.png")
        drawn = Image.fromarray(label)
        drawn.putpalette(voc_palette().tobytes())
        drawn.save(label_paths[-1])
        if images:
            coarse = Image.fromarray(rng.integers(0, 256, size=(24, 32, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
            grainy = np.clip(smooth + rng.integers(-12, 13, size=smooth.shape), 0, 255).astype(np.uint8)
            image_paths.append(folder / f"{number:05d}.jpg")
            Image.fromarray(grainy).save(image_paths[-1], quality=90)
    return SegmentationDataset(
        name="drawn",
        root=folder,
        split="train",
        categories=VOC_CATEGORIES,
        ids=tuple(path.stem for path in label_paths),
        image_paths=tuple(image_paths),
        label_paths=tuple(label_paths),
    )
