"""From a JPEG and a PNG on disk to an augmented 513x513 crop, against merely decoding the two. On the CPU.

Reference: decoding. To reach: at most 1.8, which is 0.55 of the rate of decoding. torchvision's transforms
v2 do the same draws in the usual order: resize the whole image, crop, mirror.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from segmix_core.bench import BenchRow, interleaved
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.transforms import PADDING, augment, draw_augmentation
from segmix_core.records import IGNORE_INDEX
from segmix_core.rng import stream

from ._drawn import draw_folder


def decode(dataset: SegmentationDataset) -> None:
    """The floor: read images and label maps into arrays."""
    for image, label in zip(dataset.image_paths, dataset.label_paths, strict=True):
        with Image.open(image) as opened:
            np.asarray(opened.convert("RGB"))
        with Image.open(label) as opened:
            np.asarray(opened)


def segmix(dataset: SegmentationDataset, size: int) -> None:
    """As training loads its samples."""
    for index in range(len(dataset)):
        image, label = dataset.pair(index)
        rng = stream(0, "bench", "augment", index)
        augment(image, label, draw_augmentation(label.shape, size, rng=rng), size)


def torchvision(dataset: SegmentationDataset, transform: v2.Transform) -> None:
    """torchvision's transforms v2 on tensors of uint8."""
    for image, label in zip(dataset.image_paths, dataset.label_paths, strict=True):
        with Image.open(image) as opened:
            image_CHW = tv_tensors.Image(torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1))
        with Image.open(label) as opened:
            label_HW = tv_tensors.Mask(torch.from_numpy(np.array(opened)))
        transform(image_CHW, label_HW)


def run(
    *, device: str, images: int = 40, height: int = 375, width: int = 500, size: int = 513, rounds: int = 9
) -> list[BenchRow]:
    """Rows for `images` pairs."""
    fill = {tv_tensors.Image: PADDING, tv_tensors.Mask: IGNORE_INDEX}
    transform = v2.Compose(
        [
            v2.ScaleJitter((height, width), scale_range=(0.5, 1.5)),
            v2.RandomCrop(size, pad_if_needed=True, fill=fill),
            v2.RandomHorizontalFlip(),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        rng = stream(0, "bench", "input")
        dataset = draw_folder(Path(folder), images, height, width, rng=rng, images=True)
        return interleaved(
            "input",
            {
                f"decode {images} pairs": lambda: decode(dataset),
                "segmix": lambda: segmix(dataset, size),
                "torchvision v2": lambda: torchvision(dataset, transform),
            },
            reference=f"decode {images} pairs",
            rounds=rounds,
        )
