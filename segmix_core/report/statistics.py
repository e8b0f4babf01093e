"""Intervals, paired differences, and what they allow to say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from segmix_core.metrics import miou

PAIRS_NEEDED = 3
"""Seeds below which nothing is called higher or lower."""


def interval(values: list[float]) -> tuple[float, float | None]:
    """Mean and half-width of its 95 % interval over seeds (Student's t); None for a single seed."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    quantile = float(stdtrit(len(values) - 1, 0.975))
    return mean, quantile * statistics.stdev(values) / math.sqrt(len(values))


def paired_difference(
    first: dict[int, float], second: dict[int, float]
) -> tuple[float, float | None, int] | None:
    """Mean of first - second over the seeds both have, its 95 % half-width, and the number of seeds."""
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    mean, half = interval([first[seed] - second[seed] for seed in shared])
    return mean, half, len(shared)


def verdict(difference: tuple[float, float | None, int] | None) -> str:
    """What a paired difference allows to say: "higher", "lower" or "undecided"."""
    mean, half, pairs = difference or (0.0, None, 0)
    if half is None or pairs < PAIRS_NEEDED or abs(mean) <= half:
        return "undecided"
    return "higher" if mean > 0 else "lower"


def paired_bootstrap(
    first_SnNN: Sequence[np.ndarray],
    second_SnNN: Sequence[np.ndarray],
    *,
    rng: np.random.Generator,
    categories: Sequence[int] | None = None,
    draws: int = 2000,
) -> tuple[float, float, float]:
    """95 % interval of mIoU(first) - mIoU(second), resampling seeds and images together, in points (0..100).

    Each draw takes S seeds and n images with replacement, the same for both methods, sums the confusion
    matrices of those images for each of those seeds, and averages the difference of mIoU over the seeds.
    With one seed it tells how much the choice of images alone moves the difference.

    Args:
        first_SnNN, second_SnNN: for each seed the matrices of the same n images, int (n, N, N).

    Returns:
        The difference on the images and seeds as they are, and the 2.5 and 97.5 per cent quantiles.

    Raises:
        ValueError: the two do not have the same seeds, images and categories.
    """
    first, second = np.stack(first_SnNN).astype(np.float64), np.stack(second_SnNN).astype(np.float64)
    if first.shape != second.shape:
        raise ValueError(f"shapes {first.shape} and {second.shape}: pairs need the same seeds and images")
    seeds, images, number = first.shape[:3]

    def difference(weight_Dn: np.ndarray, share_DS: np.ndarray) -> np.ndarray:
        mean_D = np.zeros(len(weight_Dn))
        for seed in range(seeds):
            of_D = [
                miou((weight_Dn @ one[seed].reshape(images, -1)).reshape(-1, number, number), categories)
                for one in (first, second)
            ]
            mean_D += share_DS[:, seed] * (of_D[0] - of_D[1])
        return 100 * mean_D

    observed = difference(np.ones((1, images)), np.full((1, seeds), 1 / seeds))
    weight_Dn = rng.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)
    share_DS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    low, high = np.nanquantile(difference(weight_Dn, share_DS), (0.025, 0.975))
    return float(observed[0]), float(low), float(high)
