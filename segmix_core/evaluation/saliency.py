"""Salient objects: max F-beta in both conventions, and mean absolute error, by pysodmetrics (Table 7)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from py_sod_metrics import MAE, FmeasureHandler, FmeasureV2, PrecisionHandler, RecallHandler

from segmix_core.data.dataset import SegmentationDataset
from segmix_core.models import SourceSeparation

BETA_SQUARED = 0.3
"""Weight of recall in F-beta, as the field sets it."""


SALIENCY_METRICS = ("maxF", "maxF_of_means", "MAE", "MAE_unscaled")
"""What is measured of salient objects: see `SaliencyScores.as_json`."""


class SaliencyScores:
    """Gathers predictions and masks, one image at a time."""

    def __init__(self) -> None:
        curves = {"with_adaptive": False, "with_dynamic": True}
        self._curves = FmeasureV2(
            {
                "fm": FmeasureHandler(**curves, beta=BETA_SQUARED),
                "precision": PrecisionHandler(**curves),
                "recall": RecallHandler(**curves),
            }
        )
        self._error, self._unscaled = MAE(), MAE()

    def update(self, saliency: np.ndarray, mask: np.ndarray) -> None:
        """Count an image.

        Args:
            saliency: float (H, W), 0..1; rounded to 256 shades, and stretched to the whole range before it is
                scored, as is usual, except for `MAE_unscaled`.
            mask: uint8 (H, W), 1 where an object is salient, 0 elsewhere.
        """
        shades, truth = np.round(255 * saliency).astype(np.uint8), (255 * mask).astype(np.uint8)
        self._curves.step(shades, truth)
        self._error.step(shades, truth)
        self._unscaled.step(shades / 255, mask > 0, normalize=False)

    def as_json(self) -> dict[str, float]:
        """`maxF`, `maxF_of_means`, `MAE` and `MAE_unscaled`, all 0..1.

        `maxF` is the highest point of the mean of all images' F-beta curves over 256 thresholds;
        `maxF_of_means` takes mean precision and mean recall at each threshold first, and F-beta of those.
        `MAE` is of each map stretched to 0..1 by its least and greatest value, as pysodmetrics has it;
        `MAE_unscaled` of the map as the network gives it.
        """
        curves = self._curves.get_results()
        precision, recall = (np.asarray(curves[name]["dynamic"]) for name in ("precision", "recall"))
        weighted = BETA_SQUARED * precision + recall
        of_means = (1 + BETA_SQUARED) * precision * recall / np.where(weighted > 0, weighted, 1)
        values = (
            np.max(curves["fm"]["dynamic"]),
            of_means.max(),
            self._error.get_results()["mae"],
            self._unscaled.get_results()["mae"],
        )
        return {name: round(float(value), 4) for name, value in zip(SALIENCY_METRICS, values, strict=True)}


def evaluate_saliency(
    model: SourceSeparation,
    dataset: SegmentationDataset,
    *,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, SaliencyScores]:
    """Score every output of a one-logit network on each image at its own size.

    Returns:
        `{"dominant": SaliencyScores}` and, with the SSH, `"final"`.
    """
    was_training = model.training
    model.eval()
    scores: dict[str, SaliencyScores] = {}
    with torch.inference_mode():
        for index in range(len(dataset)):
            image, mask = dataset.pair(index)
            image_BCHW = torch.tensor(image, device=device).permute(2, 0, 1)[None].float().div_(255)
            for name, logits in model(image_BCHW).outputs().items():
                saliency = logits.sigmoid()[0, 0].cpu().numpy()
                scores.setdefault(name, SaliencyScores()).update(saliency, mask)
            if progress is not None:
                progress(index + 1, len(dataset))
    model.train(was_training)
    return scores
