"""Who is blended with whom: random partners, categorical clusters, and Algorithm 2."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from segmix_core.records import IGNORE_INDEX


def presence_of(label_BHW: Tensor, num_categories: int) -> Tensor:
    """Which categories each label map of a batch holds: int (B, H, W) -> bool (B, N), without a host sync.

    255 is ignored. Labels must be 0..N-1 or 255; the data rooms have checked that.
    """
    flat_BP = label_BHW.flatten(1).long()
    seen = torch.zeros(len(flat_BP), IGNORE_INDEX + 1, dtype=torch.bool, device=label_BHW.device)
    seen.scatter_(1, flat_BP, torch.ones_like(flat_BP, dtype=torch.bool))
    return seen[:, :num_categories]


def random_partners(size: int, *, rng: np.random.Generator) -> Tensor:
    """A random partner for each of `size` samples, never the sample itself unless it is alone.

    Returns int64 (B,). Mixup and CutMix as published permute the batch; drawing among the others keeps
    every pair a pair (R2, R15).
    """
    if size == 1:
        return torch.zeros(1, dtype=torch.int64)
    offset_B = rng.integers(1, size, size=size)
    return torch.from_numpy((np.arange(size) + offset_B) % size)


def cooccurrence_partners(
    presence_BN: Tensor | np.ndarray,
    cooccurrence_NN: Tensor | np.ndarray,
    *,
    rng: np.random.Generator,
    count: Literal["sum", "union"] = "sum",
) -> tuple[Tensor, Tensor]:
    """Algorithm 2, lines 7 to 28: for each sample the partner whose categories occur with its own most often.

    The score of samples k and m is the double sum of C_ss over their categories, S = P C P^T. Category 0
    counts nowhere. Never the sample itself; ties are broken at random; where no partner has a positive
    score, a random other sample (R2). A batch of one gets itself, to be left unmixed.

    Args:
        presence_BN: bool, which categories each sample's label map holds.
        cooccurrence_NN: the matrix of Algorithm 1 (`segmix_core.cooccurrence.cooccurrence_matrix`).
        rng: breaks ties.
        count: categories of the pair: each image's own, added (line 23), or their union (R4).

    Returns:
        partner_B, int64, and total_B, int64: the number of categories in the chosen pair, 0 where one of
        the two has none (line 14).
    """
    presence_BN = torch.as_tensor(presence_BN).bool()
    device = presence_BN.device
    held_BN = presence_BN.to(torch.float64)
    held_BN[:, 0] = 0
    matrix_NN = torch.as_tensor(cooccurrence_NN).to(device, torch.float64)
    size = len(held_BN)

    score_BB = held_BN @ matrix_NN @ held_BN.T
    number_B = held_BN.sum(1)
    total_BB = number_B[:, None] + number_B[None, :]
    if count == "union":
        total_BB = total_BB - held_BN @ held_BN.T
    total_BB = total_BB * (number_B[:, None] * number_B[None, :] > 0)

    itself_BB = torch.eye(size, dtype=torch.bool, device=device)
    score_BB = score_BB.masked_fill(itself_BB, -1)
    # Without a positive score the best score is 0, which every other sample shares: a random one.
    candidate_BB = score_BB == score_BB.max(1, keepdim=True).values
    lot_BB = torch.from_numpy(rng.random((size, size))).to(device, non_blocking=True)
    partner_B = lot_BB.masked_fill(~candidate_BB, -1).argmax(1)
    total_B = total_BB.gather(1, partner_B[:, None])[:, 0].long()
    return partner_B, total_B


def cluster_pairs(
    clusters: Sequence[np.ndarray], size: int, *, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Categorical clustering (section 3.1.1), drawn lazily: `size` pairs of data set indices (R14).

    The paper writes, for every image of every category's cluster, one blend with a random image of each
    other cluster. A uniform draw from that data set is: a membership (image, category), then another
    category, then an image of its cluster.

    Args:
        clusters: N integer arrays, the images that hold each category; number 0 (background) is not used.

    Returns:
        dominant_B and phantom_B, int64 indices into the data set.

    Raises:
        ValueError: fewer than two categories have an image.
    """
    filled = [category for category in range(1, len(clusters)) if len(clusters[category])]
    if len(filled) < 2:
        raise ValueError("categorical clustering needs images of at least two categories")
    sizes = np.array([len(clusters[category]) for category in filled])
    ends = np.cumsum(sizes)
    member_B = rng.integers(0, ends[-1], size=size)
    cluster_B = np.searchsorted(ends, member_B, side="right")
    memberships = np.concatenate([clusters[category] for category in filled])
    other_B = rng.integers(0, len(filled) - 1, size=size)
    other_B += other_B >= cluster_B
    within_B = (rng.random(size) * sizes[other_B]).astype(np.int64)
    phantom_B = memberships[ends[other_B] - sizes[other_B] + within_B]
    return memberships[member_B].astype(np.int64), phantom_B.astype(np.int64)
