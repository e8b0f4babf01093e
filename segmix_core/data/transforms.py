"""Augmentation and cropping of an image with its label map. Drawing and applying are apart."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from segmix_core.records import IGNORE_INDEX

PADDING = (124, 116, 104)
"""Colour beyond the image, RGB: ImageNet's mean, which the network's normalisation turns to about zero."""


@dataclass(frozen=True)
class Augmentation:
    """What was drawn for one sample. Offsets are pixels of the scaled image; below 0, a margin."""

    scale: float
    top: int
    left: int
    flip: bool


def draw_augmentation(
    shape: tuple[int, ...],
    size: int,
    *,
    rng: np.random.Generator,
    scale_range: tuple[float, float] = (0.5, 1.5),
) -> Augmentation:
    """Draw scale, crop and mirror for an image of `shape` (H, W) and a crop of `size` pixels."""
    scale = float(rng.uniform(*scale_range))
    offsets = []
    for side in shape[:2]:
        room = max(1, round(side * scale)) - size
        offsets.append(int(rng.integers(min(room, 0), max(room, 0) + 1)))
    return Augmentation(scale, offsets[0], offsets[1], bool(rng.random() < 0.5))


def augment(
    image: np.ndarray, label: np.ndarray, drawn: Augmentation, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Apply a drawn augmentation: uint8 (size, size, 3) and uint8 (size, size), 255 beyond the image."""
    return augment_one(image, drawn, size), augment_one(label, drawn, size)


def augment_one(pixels: np.ndarray, drawn: Augmentation, size: int) -> np.ndarray:
    """Scale, crop and mirror an image (H, W, 3), bilinear, or a label map (H, W), nearest, as it was drawn.

    Only the source pixels that end up in the crop are resized.
    """
    height, width = pixels.shape[:2]
    scaled_height, scaled_width = max(1, round(height * drawn.scale)), max(1, round(width * drawn.scale))
    top, left = max(0, drawn.top), max(0, drawn.left)
    bottom, right = min(scaled_height, drawn.top + size), min(scaled_width, drawn.left + size)
    y, x = height / scaled_height, width / scaled_width
    box = (left * x, top * y, right * x, bottom * y)
    target = (right - left, bottom - top)
    is_image = pixels.ndim == 3
    resampling = Image.Resampling.BILINEAR if is_image else Image.Resampling.NEAREST
    source = Image.fromarray(pixels)
    crop = Image.new(source.mode, (size, size), PADDING if is_image else IGNORE_INDEX)
    crop.paste(source.resize(target, resampling, box=box), (left - drawn.left, top - drawn.top))
    if drawn.flip:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.array(crop)


def center_crop(image: np.ndarray, label: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The centre `size` x `size` pixels, padded (label 255) where the image is smaller."""
    height, width = label.shape
    drawn = Augmentation(1.0, (height - size) // 2, (width - size) // 2, False)
    return augment(image, label, drawn, size)


def inside_crop(shape: tuple[int, int], size: int) -> np.ndarray:
    """Which pixels of `center_crop` are no padding, of an image of (height, width): bool (size, size)."""
    inside = np.zeros((size, size), dtype=bool)
    top, left = (max(0, -((side - size) // 2)) for side in shape)
    inside[top : top + shape[0], left : left + shape[1]] = True
    return inside
