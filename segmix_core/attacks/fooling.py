"""How often a perturbation changes what a segmenter says: the measure by which universal ones are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segmix_core.attacks.perturbation import apply_perturbation
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.transforms import center_crop, inside_crop
from segmix_core.models import SourceSeparation

FOOLING_RATE = "fooling rate (%)"
"""What crafting calls it when it tells how far it is."""

_BATCH = 16


def segmented(model: SourceSeparation, image_BCHW: Tensor, output: str) -> Tensor:
    """The category of each pixel at one output of a network: uint8 (B, H, W).

    Raises:
        KeyError: the head has no such output.
    """
    labels: Tensor = model(image_BCHW).outputs()[output].argmax(1).to(torch.uint8)
    return labels


@dataclass(frozen=True)
class Watched:
    """Images on which a perturbation is judged while it is made, with the clean predictions, made once."""

    model: SourceSeparation
    output: str
    image_BHWC: Tensor  # uint8, on the device
    clean_BHW: Tensor  # uint8, on the device
    inside_BHW: Tensor  # bool, on the device: what is picture and not padding

    @staticmethod
    def of(
        model: SourceSeparation,
        output: str,
        dataset: SegmentationDataset,
        indices: np.ndarray,
        *,
        size: int,
        device: str,
    ) -> Watched:
        """The centre `size` x `size` pixels of some images of a data set."""
        pairs = [dataset.pair(int(index)) for index in indices]
        crops = [center_crop(*pair, size)[0] for pair in pairs]
        insides = [inside_crop(label.shape, size) for _, label in pairs]
        image_BHWC, inside_BHW = (torch.from_numpy(np.stack(one)).to(device) for one in (crops, insides))
        with torch.inference_mode():
            clean = [segmented(model, images, output) for images in _batches(image_BHWC)]
        return Watched(model, output, image_BHWC, torch.cat(clean), inside_BHW)

    @torch.inference_mode()
    def changed_by(self, v_CHW: Tensor) -> Tensor:
        """The share of its pixels, 0..1, that a perturbation (0..255) changes in each image: float64 (B,)."""
        found = []
        for image_BCHW, inside_BHW in zip(
            _batches(self.image_BHWC), torch.split(self.inside_BHW, _BATCH), strict=True
        ):
            shown_BCHW = apply_perturbation(image_BCHW, v_CHW)
            shown_BCHW = torch.where(inside_BHW[:, None], shown_BCHW, image_BCHW)
            found.append(segmented(self.model, shown_BCHW, self.output))
        changed_BHW = (torch.cat(found) != self.clean_BHW) & self.inside_BHW
        return changed_BHW.double().sum((1, 2)) / self.inside_BHW.sum((1, 2))

    def fooling_rate(self, v_CHW: Tensor) -> float:
        """The share of pixels that a perturbation changes, 0..1, mean over images."""
        return float(self.changed_by(v_CHW).mean())


def _batches(image_BHWC: Tensor) -> Iterator[Tensor]:
    for images in torch.split(image_BHWC, _BATCH):
        yield images.permute(0, 3, 1, 2).float().div_(255)
