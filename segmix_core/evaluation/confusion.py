"""The integer confusion matrix, and the metrics that are read off it."""

import numpy as np
import torch
from torch import Tensor

from segmix_core import metrics
from segmix_core.errors import LabelError
from segmix_core.records import IGNORE_INDEX


class ConfusionMatrix:
    """Counts pixels by label (rows) and prediction (columns), exactly, over a whole data set.

    The counts so far are `matrix`, int64 (N, N).

    Args:
        num_categories: N, background counted.
        ignore_index: the label, 0..255, of pixels that count nowhere.

    Raises:
        ValueError: `num_categories` is not in 1..255, or `ignore_index` not in 0..255.
    """

    def __init__(self, num_categories: int, *, ignore_index: int = IGNORE_INDEX) -> None:
        if not 1 <= num_categories <= 255 or not 0 <= ignore_index <= 255:
            raise ValueError("num_categories must be in 1..255 and ignore_index in 0..255")
        self.num_categories = num_categories
        self.ignore_index = ignore_index
        self.matrix = np.zeros((num_categories, num_categories), dtype=np.int64)

    def update(self, prediction: Tensor | np.ndarray, label: Tensor | np.ndarray) -> None:
        """Count a batch: integer maps of any leading shape, the same for both.

        Raises:
            ValueError: the shapes differ, a map is not of integers, or a prediction is outside 0..N-1.
            LabelError: a label is neither in 0..N-1 nor the ignored one.
        """
        predicted, labelled = torch.as_tensor(prediction), torch.as_tensor(label)
        if predicted.shape != labelled.shape:
            raise ValueError(
                f"prediction {tuple(predicted.shape)} and label {tuple(labelled.shape)} differ in shape"
            )
        for name, map_ in (("prediction", predicted), ("label", labelled)):
            if map_.is_floating_point() or map_.is_complex() or map_.dtype == torch.bool:
                raise ValueError(f"the {name} is of {map_.dtype}, and not of category numbers")
        if predicted.numel() == 0:
            return
        number = self.num_categories
        low, high = map(int, torch.aminmax(predicted))
        if low < 0 or high >= number:
            raise ValueError(f"a prediction is outside 0..{number - 1}")
        low, high = (0, 255) if labelled.dtype == torch.uint8 else map(int, torch.aminmax(labelled))
        if low < 0 or high > 255:
            raise self._label_error(high if high > 255 else low)
        # One code a pixel, label * N + prediction, in the narrowest type that holds 256 * N codes: all 256
        # label values get a row, so ignored and invalid labels need no pass of their own.
        narrow = torch.int16 if 256 * number <= 2**15 else torch.int32
        code = labelled.to(narrow, copy=True).mul_(number).add_(predicted.to(narrow))
        if code.is_cpu:
            # Maps are made of runs, and adding one run is far cheaper than adding 1 to one cell many times.
            codes = code.flatten().numpy()
            ends = np.append(np.flatnonzero(codes[1:] != codes[:-1]), codes.size - 1)
            counts = np.bincount(codes[ends], weights=np.diff(ends, prepend=-1), minlength=256 * number)
        else:
            counts = torch.bincount(code.flatten(), minlength=256 * number).cpu().numpy()
        rows = counts.astype(np.int64).reshape(256, number)
        rows[self.ignore_index] = 0
        beyond = np.flatnonzero(rows[number:].any(1))
        if len(beyond):
            raise self._label_error(number + int(beyond[0]))
        self.matrix += rows[:number]

    def _label_error(self, label: int) -> LabelError:
        return LabelError(
            "label map",
            f"label {label} is outside 0..{self.num_categories - 1}",
            f"only {self.ignore_index} may mark ignored pixels",
        )

    def iou(self) -> np.ndarray:
        """Intersection over union of each category: float64 (N,), 0..1.

        NaN where a category has no pixel in label or prediction: it counts in no mean.
        """
        return metrics.iou(self.matrix)

    def miou(self, categories: list[int] | None = None) -> float:
        """Mean IoU, 0..1, over `categories` or all, without those that have no pixel; NaN if none has one."""
        return float(metrics.miou(self.matrix, categories))

    def aacc(self) -> float:
        """Share of pixels that are right, 0..1 (aAcc); NaN without a pixel."""
        return float(metrics.aacc(self.matrix))
