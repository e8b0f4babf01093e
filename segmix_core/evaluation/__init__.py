"""Measuring: confusion matrix, mIoU, aAcc, and the protocols."""

from segmix_core.evaluation.confusion import ConfusionMatrix
from segmix_core.evaluation.protocols import (
    Protocol,
    Scores,
    blends_of,
    evaluate,
    evaluate_blends,
)

__all__ = [
    "ConfusionMatrix",
    "Protocol",
    "Scores",
    "blends_of",
    "evaluate",
    "evaluate_blends",
]
