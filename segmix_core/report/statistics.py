"""Intervals, paired differences, and what they allow to say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import stdtrit

from segmix_core.metrics import miou

PAIRS_NEEDED = 3
"""Seeds below which nothing is called higher or lower."""

IMAGES_NEEDED = 20
"""Images below which nothing is called better: few of them are a draw of the lot."""

UNDEFINED = 0.001
"""Share of draws without a value beyond which a bootstrap tells nothing."""


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


def verdict(
    difference: tuple[float, float | None, int] | None, images: tuple[float, float] | None = None
) -> str:
    """What a paired difference allows to say: "higher", "lower" or "undecided".

    Args:
        images: its interval over images and seeds, which then has to lie on the same side of zero.
    """
    mean, half, pairs = difference or (0.0, None, 0)
    if half is None or pairs < PAIRS_NEEDED or abs(mean) <= half:
        return "undecided"
    if images is not None and not (images[0] > 0 if mean > 0 else images[1] < 0):
        return "undecided"
    return "higher" if mean > 0 else "lower"


@dataclass(frozen=True, kw_only=True)
class Term:
    """One mIoU of a weighted sum, of one network for each seed."""

    weight: float
    matrices: Sequence[csr_array]  # for each seed those of single images, int (n, N * N)
    counted_n: np.ndarray | None = None  # bool: the images of a subset; None is all
    categories: Sequence[int] | None = None  # the mean is restricted to these; one alone makes it an IoU


def paired_bootstrap(
    terms: Sequence[Term], *, rng: np.random.Generator, draws: int = 2000
) -> tuple[float, float, float]:
    """95 % interval of a weighted sum of mIoU, resampling seeds and images together, in points (0..100).

    Each draw takes S seeds and n images with replacement, the same for every term, sums the confusion
    matrices of those images for each of those seeds, and averages the sum of mIoU over the seeds. A term on a
    subset counts those of the drawn images that are in it. With one seed it tells how much the choice of
    images alone moves the sum.

    Returns:
        The sum on the images and seeds as they are, and the 2.5 and 97.5 per cent quantiles of the draws for
        which it is defined; -inf and inf where more than `UNDEFINED` are not, as of a subset so small that a
        draw holds none of its images.

    Raises:
        ValueError: the terms do not have the same seeds and images.
    """
    shapes = {(len(term.matrices), of.shape[0]) for term in terms for of in term.matrices}
    if len(shapes) != 1:
        raise ValueError(f"{sorted(shapes)} seeds and images: the terms of a sum need the same")
    ((seeds, images),) = shapes

    def total(weight_Dn: np.ndarray, share_DS: np.ndarray) -> np.ndarray:
        sum_D = np.zeros(len(weight_Dn))
        for term in terms:
            counted_Dn = weight_Dn if term.counted_n is None else weight_Dn * term.counted_n
            for seed, matrices in enumerate(term.matrices):
                number = math.isqrt(matrices.shape[1])
                summed_DNN = (counted_Dn @ matrices).reshape(-1, number, number)
                of_D = miou(summed_DNN, term.categories)
                sum_D += term.weight * share_DS[:, seed] * of_D
        return 100 * sum_D

    observed = total(np.ones((1, images)), np.full((1, seeds), 1 / seeds))
    weight_Dn = rng.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)
    share_DS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    drawn_D = total(weight_Dn, share_DS)
    if np.isnan(drawn_D).mean() > UNDEFINED:
        return float(observed[0]), -math.inf, math.inf
    low, high = np.nanquantile(drawn_D, (0.025, 0.975))
    return float(observed[0]), float(low), float(high)
