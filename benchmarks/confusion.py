"""The confusion matrix of 200 label maps of 500x375 pixels in 21 categories, one update a map.

Reference: this project's, on the same maps. To reach: torchmetrics' default at 20 or more, torchvision's
reference at 10 or more. First with uint8 maps, as they lie on disk, then with int64 maps, as argmax gives
them. 255 is ignored.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from segmix_core.bench import BenchRow, interleaved
from segmix_core.errors import WorkError
from segmix_core.evaluation import ConfusionMatrix
from segmix_core.records import IGNORE_INDEX
from segmix_core.rng import stream

from ._drawn import CATEGORIES, draw_labels


def segmix(predictions: Tensor, labels: Tensor) -> np.ndarray:
    """This project's way."""
    confusion = ConfusionMatrix(CATEGORIES)
    for prediction, label in zip(predictions, labels, strict=True):
        confusion.update(prediction, label)
    return confusion.matrix


def masked_bincount(predictions: Tensor, labels: Tensor) -> np.ndarray:
    """The idea of torchvision's segmentation reference: select valid pixels, widen to int64, bincount."""
    matrix = torch.zeros(CATEGORIES, CATEGORIES, dtype=torch.int64, device=labels.device)
    for prediction, label in zip(predictions.flatten(1), labels.flatten(1), strict=True):
        valid = (label >= 0) & (label < CATEGORIES)
        code = CATEGORIES * label[valid].to(torch.int64) + prediction[valid]
        matrix += torch.bincount(code, minlength=CATEGORIES**2).view(CATEGORIES, CATEGORIES)
    return matrix.cpu().numpy()


def torchmetrics_matrix(predictions: Tensor, labels: Tensor) -> np.ndarray:
    """torchmetrics as its documentation has it; its Jaccard index keeps the same matrix."""
    metric = MulticlassConfusionMatrix(CATEGORIES, ignore_index=IGNORE_INDEX).to(labels.device)
    for prediction, label in zip(predictions, labels, strict=True):
        metric.update(prediction, label)
    return metric.compute().cpu().numpy()


def run(
    *, device: str, images: int = 200, height: int = 375, width: int = 500, rounds: int = 5
) -> list[BenchRow]:
    """Rows for `images` maps. A prediction is as smooth as a network's: its label map, moved."""
    rng = stream(0, "bench", "confusion")
    label = draw_labels(images, height, width, rng=rng)
    moved = np.roll(label, (height // 100, width // 100), axis=(1, 2))
    moved[::3] = (moved[::3] + 1) % CATEGORIES  # every third is named wrongly
    labels = torch.from_numpy(label).to(device)
    predictions = torch.from_numpy(np.where(moved == IGNORE_INDEX, 0, moved).astype(np.uint8)).to(device)
    expected = segmix(predictions, labels)
    for peer in (masked_bincount, torchmetrics_matrix):
        if not np.array_equal(peer(predictions, labels), expected):
            raise WorkError(f"benchmark confusion: {peer.__name__} counts something else")
    rows = []
    for kind in (torch.uint8, torch.int64):
        maps = (predictions.to(kind), labels.to(kind))
        suffix = "" if kind == torch.uint8 else ", int64 maps"
        variants = {
            "segmix": segmix,
            "torchvision's reference": masked_bincount,
            "torchmetrics": torchmetrics_matrix,
        }
        rows += interleaved(
            "confusion",
            {f"{variant}{suffix}": partial(way, *maps) for variant, way in variants.items()},
            reference=f"segmix{suffix}",
            rounds=rounds,
            device=device,
        )
    return rows
