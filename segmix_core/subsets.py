"""Lists of images by what they show (Tables 4 and 5, Fig. 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segmix_core.data.dataset import SegmentationDataset
from segmix_core.experiments.paper import COMPANIONS, THRESHOLDS


@dataclass(frozen=True)
class Subset:
    """A named part of an evaluation list."""

    name: str
    ids: tuple[str, ...]
    what: str  # in words


def build_subsets(
    dataset: SegmentationDataset, presence: np.ndarray, cooccurrence: np.ndarray
) -> dict[str, Subset]:
    """The subsets that the label maps of a data set can tell, by name.

    Args:
        presence: bool (n, N) of `dataset`.
        cooccurrence: C_ss of the training set, int (N, N).
    """
    held = presence[:, 1:]
    number = held.sum(1)
    found = {f"unique/{count}": (number == count, f"{count} categories") for count in (2, 3, 4)}
    names = dataset.categories[1:]
    for thing in COMPANIONS:
        for kind, company in (("with-person", {"person", thing}), ("alone", {thing})):
            exactly = np.array([name in company for name in names])
            found[f"{kind}/{thing}"] = (held[:, exactly].all(1) & (number == len(company)), kind)
    pairs = cooccurrence[1:, 1:]
    for threshold in THRESHOLDS:
        often = (pairs >= threshold) & ~np.eye(len(pairs), dtype=bool)
        met = ((held @ often) & held).any(1)
        found[f"rare/{threshold}"] = ((number >= 2) & ~met, f"no pair occurs {threshold} times")
    ids = np.array(dataset.ids)
    return {name: Subset(name, tuple(ids[chosen].tolist()), what) for name, (chosen, what) in found.items()}
