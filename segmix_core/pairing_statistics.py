"""Whom a pairing pairs: hubs, capped pairs, and the bias to frequent categories. No network, no pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segmix_core.cooccurrence import clusters, cooccurrence_matrix
from segmix_core.experiments.factors import Cap, Pairing
from segmix_core.mixing import MEMORY, choose_partners, cluster_pairs
from segmix_core.rng import stream

PAIRINGS: tuple[Pairing, ...] = (
    "random",
    "clusters",
    "cooccurrence",
    "average",
    "proportional",
    "assignment",
    "memory",
)


@dataclass(frozen=True, kw_only=True)
class PairingStatistics:
    """Means over batches; shares are 0..1."""

    distinct: float  # phantoms in a batch
    busiest: float  # samples that the most used phantom of a batch serves
    categories: float  # in a phantom, background not counted
    capped: float  # share of pairs beyond the cap: more than 3 categories, each image's own added (R4)
    capped_union: float  # the same for the union of their categories
    never_meet: float  # share of pairs no two of whose categories ever meet (and none is shared); an image
    # without a category meets nobody
    ever: float  # share of all images that are phantom at least once in an epoch
    most: float  # times that the most used image is phantom in an epoch
    share_N: np.ndarray  # of phantoms that hold each category, float64 (N,)

    @property
    def bias(self) -> float:
        """How far the categories of phantoms are from equal shares: total variation, 0..1.

        0 where every category is seen equally often among phantoms, near 1 where one takes all; NaN where no
        phantom holds any.
        """
        held = self.share_N[1:].sum()
        if held == 0:
            return float("nan")
        seen = self.share_N[1:] / held
        return float(np.abs(seen - 1 / len(seen)).sum() / 2)


def measure_pairing(
    pairing: Pairing,
    presence: np.ndarray,
    batch_size: int,
    *,
    rng: np.random.Generator,
    batches: int | None = None,
) -> PairingStatistics:
    """Pair whole images as training pairs their crops, batch after batch, in epochs.

    Args:
        presence: bool (n, N), column 0 background; C_ss is computed from it.
        batches: to average over; an epoch by default. `ever` and `most` are about as many as there are.

    Raises:
        ValueError: an unknown pairing, or fewer images than a batch needs.
    """
    if pairing not in PAIRINGS:
        raise ValueError(f"pairing '{pairing}' is not one of {', '.join(PAIRINGS)}")
    matrix_NN = cooccurrence_matrix(presence)
    groups = clusters(presence)
    each = len(presence) // batch_size
    if each == 0:
        raise ValueError(f"{len(presence)} images do not fill a batch of {batch_size}")
    recent: list[np.ndarray] = []
    found = []
    served_n = np.zeros(len(presence), dtype=np.int64)
    for number in range(batches or each):
        if number % each == 0:
            order = rng.permutation(len(presence))
        dominant = order[number % each * batch_size :][:batch_size]
        if pairing == "clusters":
            dominant, phantom = cluster_pairs(groups, batch_size, rng=rng)
        else:
            pool = np.concatenate([dominant, *recent])
            partner_B, _ = choose_partners(
                pairing, presence[dominant], matrix_NN, rng=rng, pool_PN=presence[pool]
            )
            phantom = pool[partner_B.numpy()]
        if pairing == "memory":
            recent = [dominant, *recent][:MEMORY]
        found.append(_of_batch(presence, matrix_NN, dominant, phantom))
        np.add.at(served_n, phantom, 1)
    means = {name: np.mean(np.stack([one[name] for one in found]), axis=0) for name in found[0]}
    share_N = means.pop("share_N")
    means |= {"ever": (served_n > 0).mean(), "most": served_n.max()}
    return PairingStatistics(share_N=share_N, **{name: float(value) for name, value in means.items()})


def _of_batch(
    presence: np.ndarray, matrix_NN: np.ndarray, dominant: np.ndarray, phantom: np.ndarray
) -> dict[str, np.ndarray]:
    first, second = presence[dominant][:, 1:], presence[phantom][:, 1:]
    _, served = np.unique(phantom, return_counts=True)
    meets = ((first @ matrix_NN[1:, 1:]) * second).sum(1) > 0
    both_B = first.any(1) & second.any(1)  # Algorithm 2 keeps no total of others
    total_B = (first.sum(1) + second.sum(1)) * both_B
    found = {
        "distinct": len(served),
        "busiest": served.max(),
        "categories": second.sum(1).mean(),
        "capped": (total_B > Cap.gamma).mean(),
        "capped_union": ((first | second).sum(1) * both_B > Cap.gamma).mean(),
        "never_meet": (~meets & ~(first & second).any(1)).mean(),
        "share_N": presence[phantom].mean(0),
    }
    return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}


def published_epoch(pairing: Pairing, presence: np.ndarray) -> int:
    """Images in one epoch of the published method.

    Categorical clusters are blended once and stored: each image, for each of its categories, with a partner
    from the cluster of each of the 19 others of VOC (section 3.1.1). Every other pairing passes through the
    images themselves. Trained here, both see as many images (R14).

    Args:
        presence: bool (n, N), column 0 background, which has no cluster.
    """
    if pairing != "clusters":
        return len(presence)
    things = presence[:, 1:]
    return int(things.sum()) * int(things.shape[1] - 1)


def over_seeds(
    pairing: Pairing,
    presence: np.ndarray,
    batch_size: int,
    *,
    seeds: Sequence[int],
    batches: int | None = None,
) -> list[PairingStatistics]:
    """The statistics of a pairing, drawn anew for each seed."""
    return [
        measure_pairing(
            pairing,
            presence,
            batch_size,
            batches=batches,
            rng=stream(seed, "pairing statistics", pairing, batch_size),
        )
        for seed in seeds
    ]
