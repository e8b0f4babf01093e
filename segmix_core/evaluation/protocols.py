"""How a network is read over a data set: each output, under protocol `crop` or `full` (R16)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.transforms import center_crop, inside_crop
from segmix_core.evaluation.confusion import ConfusionMatrix
from segmix_core.losses import cross_entropy_B
from segmix_core.mixing import blend
from segmix_core.models import SourceSeparation
from segmix_core.records import Batch, MixedBatch

Protocol = Literal["crop", "full"]


@dataclass(frozen=True)
class Scores:
    """The metrics of one output."""

    per_image_nNN: np.ndarray  # int64 confusion matrices, in the order of the data set
    categories: tuple[str, ...]
    mean_over: tuple[str, ...] | None = None  # the mean is restricted to these; None: every category
    told_n: np.ndarray | None = None  # of blends: nats, see `evaluate_blends`; NaN where nobody can say

    @cached_property
    def confusion(self) -> ConfusionMatrix:
        """The confusion matrix of the whole data set."""
        total = ConfusionMatrix(len(self.categories))
        total.matrix = self.per_image_nNN.sum(0)
        return total

    def as_json(self) -> dict[str, Any]:
        """`mIoU`, `aAcc` and `iou_per_category`, in percent; null where a category has no pixel.

        Of blends also `told`, the mean over images in nats, and `told_95`, half of its 95 % interval.
        """
        chosen = None if self.mean_over is None else [self.categories.index(name) for name in self.mean_over]
        iou = dict(zip(self.categories, map(_percent, self.confusion.iou()), strict=True))
        told_n = np.zeros(0) if self.told_n is None else self.told_n[~np.isnan(self.told_n)]
        told = {}
        if len(told_n) > 1:
            half = 1.96 * told_n.std(ddof=1) / math.sqrt(len(told_n))
            told = {"told": round(float(told_n.mean()), 4), "told_95": round(float(half), 4)}
        return {
            "mIoU": _percent(self.confusion.miou(chosen)),
            "aAcc": _percent(self.confusion.aacc()),
            "iou_per_category": iou,
        } | told


def _percent(value: float) -> float | None:
    return None if math.isnan(value) else round(100 * float(value), 4)


def evaluate(
    model: SourceSeparation,
    dataset: SegmentationDataset,
    *,
    protocol: Protocol = "crop",
    crop: int = 513,
    batch_size: int = 16,
    device: str = "cpu",
    mean_over: tuple[str, ...] | None = None,
    perturb: Callable[[Tensor], Tensor] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Scores]:
    """Score every output of `model` that segments the dominant image, over the whole data set.

    Protocol `crop` cuts (or pads, with 255) each image to the centre `crop` x `crop` pixels, as section 4.1
    does with 513; `full` takes each image as it is, one at a time.

    Args:
        mean_over: restrict mIoU to these categories.
        perturb: image_BCHW in 0..1 -> image_BCHW in 0..1, applied before the network: an attack is only
            another way of looking at an image. It is shown padding too, which stays as it was.

    Returns:
        `{"dominant": Scores}` and, with the SSH, `"final"`.
    """
    was_training = model.training
    model.eval()
    confusions: dict[str, list[np.ndarray]] = {}
    done = 0
    with torch.inference_mode():
        for image_BHWC, label_BHW, inside_BHW in _batches(dataset, protocol, crop, batch_size):
            image_BCHW = image_BHWC.to(device).permute(0, 3, 1, 2).float().div_(255)
            if perturb is not None:
                image_BCHW = torch.where(inside_BHW.to(device)[:, None], perturb(image_BCHW), image_BCHW)
            for name, logits in model(image_BCHW).outputs().items():
                predicted_BHW = logits.argmax(1).to(torch.uint8).cpu()
                for prediction, label in zip(predicted_BHW, label_BHW, strict=True):
                    confusion = ConfusionMatrix(len(dataset.categories))
                    confusion.update(prediction, label)
                    confusions.setdefault(name, []).append(confusion.matrix)
            done += len(label_BHW)
            if progress is not None:
                progress(done, len(dataset))
    model.train(was_training)
    return {
        name: Scores(np.stack(matrices), dataset.categories, mean_over)
        for name, matrices in confusions.items()
    }


def blends_of(
    dataset: SegmentationDataset, delta: float, *, crop: int, batch_size: int = 16, device: str = "cpu"
) -> Iterator[MixedBatch]:
    """Every image of a data set blended with the next, the last with the first, at one delta (Eq. 1).

    Both are cut as protocol `crop` does. The blends are the same for every network.
    """
    count = len(dataset)
    for start in range(0, count, batch_size):
        places = range(start, min(start + batch_size, count) + 1)
        cut = [center_crop(*dataset.pair(place % count), crop) for place in places]
        image_BHWC, label_BHW = (
            torch.from_numpy(np.stack(part)).to(device) for part in zip(*cut, strict=True)
        )
        batch = Batch(image_BHWC.permute(0, 3, 1, 2).float().div_(255), label_BHW.long())
        partner_B = torch.arange(1, len(places), device=device)
        yield blend(batch, partner_B, torch.full((len(partner_B),), delta, device=device))


@torch.inference_mode()
def evaluate_blends(
    model: SourceSeparation,
    blends: Iterable[MixedBatch],
    categories: tuple[str, ...],
    *,
    mean_over: tuple[str, ...] | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Scores]:
    """Score the separation of blends: S_t and S_ss against the dominant maps, S_p against the phantom's.

    Where delta is 1 there is no phantom in the image: what S_p scores there is owed to no separation. And
    mIoU counts only what is named: a branch that calls everything background may still hold its object for
    likelier than another. So beside it stands what an output *tells* of its image: by how much its
    cross-entropy is lower against its own label map than against that of the next blend of the batch, nats
    for each labelled pixel. That is 0 in the mean for an output that tells nothing.

    Args:
        mean_over: see `evaluate`.
        progress: told how many blends were looked at.

    Returns:
        Scores of "dominant", "phantom" and "final", as far as the head has them.
    """
    was_training = model.training
    model.eval()
    confusions: dict[str, list[np.ndarray]] = {}
    told: dict[str, list[np.ndarray]] = {}
    done = 0
    for mixed in blends:
        separation = model(mixed.image_BCHW)
        outputs = {name: (logits, mixed.dominant_BHW) for name, logits in separation.outputs().items()}
        if separation.phantom is not None:
            outputs["phantom"] = (separation.phantom, mixed.phantom_BHW)
        for name, (logits, label_BHW) in outputs.items():
            for prediction, label in zip(logits.argmax(1), label_BHW, strict=True):
                confusion = ConfusionMatrix(len(categories))
                confusion.update(prediction, label)
                confusions.setdefault(name, []).append(confusion.matrix)
            told.setdefault(name, []).append(_told(logits, label_BHW))
        done += len(mixed.image_BCHW)
        if progress is not None:
            progress(done)
    model.train(was_training)
    return {
        name: Scores(np.stack(matrices), categories, mean_over, np.concatenate(told[name]))
        for name, matrices in confusions.items()
    }


def _told(logits_BNHW: Tensor, label_BHW: Tensor) -> np.ndarray:
    """Cross-entropy against the next one's label map minus that against its own, nats: (B,).

    NaN in a batch of less than three: of two blends of a list, the next one's phantom is one's own dominant.
    """
    if len(label_BHW) < 3:
        return np.full(len(label_BHW), np.nan)
    others_B, own_B = (cross_entropy_B(logits_BNHW, label) for label in (label_BHW.roll(-1, 0), label_BHW))
    return (others_B - own_B).cpu().numpy().astype(np.float64)


def _batches(
    dataset: SegmentationDataset, protocol: Protocol, crop: int, batch_size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """uint8 images (B, H, W, 3), label maps, and what is no padding, both (B, H, W), in order."""
    size = batch_size if protocol == "crop" else 1
    for start in range(0, len(dataset), size):
        pairs = [dataset.pair(index) for index in range(start, min(start + size, len(dataset)))]
        insides = [np.ones(label.shape, dtype=bool) for _, label in pairs]
        if protocol == "crop":
            insides = [inside_crop(label.shape, crop) for _, label in pairs]
            pairs = [center_crop(image, label, crop) for image, label in pairs]
        images, labels = zip(*pairs, strict=True)
        image_BHWC, label_BHW, inside_BHW = map(np.stack, (images, labels, insides))
        yield torch.from_numpy(image_BHWC), torch.from_numpy(label_BHW), torch.from_numpy(inside_BHW)
