"""Who is blended with whom: random partners, categorical clusters, and Algorithm 2."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from segmix_core.experiments.factors import Pairing
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


def pair_scores(
    presence_BN: Tensor | np.ndarray,
    cooccurrence_NN: Tensor | np.ndarray,
    *,
    pool_PN: Tensor | np.ndarray | None = None,
    count: Literal["sum", "union"] = "sum",
) -> tuple[Tensor, Tensor]:
    """Algorithm 2, lines 7 to 23: how often the categories of each pair of samples occur together.

    The score of samples k and m is the double sum of C_ss over their categories, S = P C P^T. Category 0
    counts nowhere.

    Args:
        presence_BN: bool, which categories each sample's label map holds.
        cooccurrence_NN: the matrix of Algorithm 1 (`segmix_core.cooccurrence.cooccurrence_matrix`).
        pool_PN: the samples to choose partners from; the batch itself by default.
        count: categories of the pair: each image's own, added (line 23), or their union (R4).

    Returns:
        score_BP, float64, and total_BP, float64: the number of categories in the pair, 0 where one of the
        two has none (line 14).
    """
    held_BN = _things(presence_BN)
    held_PN = held_BN if pool_PN is None else _things(pool_PN)
    matrix_NN = torch.as_tensor(cooccurrence_NN).to(held_BN.device, torch.float64)
    score_BP = held_BN @ matrix_NN @ held_PN.T
    number_B, number_P = held_BN.sum(1), held_PN.sum(1)
    total_BP = number_B[:, None] + number_P[None, :]
    if count == "union":
        total_BP = total_BP - held_BN @ held_PN.T
    return score_BP, total_BP * (number_B[:, None] * number_P[None, :] > 0)


def _things(presence: Tensor | np.ndarray) -> Tensor:
    held = torch.as_tensor(presence).bool().to(torch.float64)
    held[:, 0] = 0
    return held


def cooccurrence_partners(
    presence_BN: Tensor | np.ndarray,
    cooccurrence_NN: Tensor | np.ndarray,
    *,
    rng: np.random.Generator,
    count: Literal["sum", "union"] = "sum",
    average: bool = False,
) -> tuple[Tensor, Tensor]:
    """Algorithm 2, lines 7 to 28: for each sample the partner whose categories occur with its own most often.

    Never the sample itself; ties are broken at random; where no partner has a positive score, a random
    other sample (R2). A batch of one gets itself, to be left unmixed.

    Args:
        presence_BN, cooccurrence_NN, count: see `pair_scores`.
        rng: breaks ties.
        average: divide each score by the number of category pairs in it, so that a sample is not chosen
            for having many categories (its own number is the same for all of them). Not in the paper.

    Returns:
        partner_B, int64, and total_B, int64: the number of categories in the chosen pair.
    """
    score_BB, total_BB = pair_scores(presence_BN, cooccurrence_NN, count=count)
    if average:
        number_B = _things(presence_BN).sum(1).clamp(min=1)
        score_BB = score_BB / (number_B[:, None] * number_B[None, :])
    size, device = len(score_BB), score_BB.device
    itself_BB = torch.eye(size, dtype=torch.bool, device=device)
    score_BB = score_BB.masked_fill(itself_BB, -1)
    # Without a positive score the best score is 0, which every other sample shares: a random one.
    candidate_BB = score_BB == score_BB.max(1, keepdim=True).values
    lot_BB = torch.from_numpy(rng.random((size, size))).to(device, non_blocking=True)
    partner_B = lot_BB.masked_fill(~candidate_BB, -1).argmax(1)
    return partner_B, _chosen(total_BB, partner_B)


def proportional_partners(
    presence_BN: Tensor | np.ndarray,
    cooccurrence_NN: Tensor | np.ndarray,
    *,
    rng: np.random.Generator,
    count: Literal["sum", "union"] = "sum",
) -> tuple[Tensor, Tensor]:
    """A partner drawn with a chance in proportion to the score of Algorithm 2; not in the paper.

    Never the sample itself; a random other one where no score is positive. Returns as
    `cooccurrence_partners`.
    """
    score_BB, total_BB = pair_scores(presence_BN, cooccurrence_NN, count=count)
    size, device = len(score_BB), score_BB.device
    itself_BB = torch.eye(size, dtype=torch.bool, device=device)
    score_BB = score_BB.masked_fill(itself_BB, 0)
    nothing_B1 = score_BB.sum(1, keepdim=True) == 0
    chance_BB = torch.where(nothing_B1 & ~itself_BB, torch.ones_like(score_BB), score_BB)
    # The largest of u^(1 / chance) falls on each sample in proportion to its chance; in logarithms.
    lot_BB = torch.from_numpy(rng.random((size, size))).to(device, non_blocking=True)
    key_BB = torch.where(chance_BB > 0, torch.log(lot_BB.clamp(min=1e-300)) / chance_BB, -torch.inf)
    partner_B = key_BB.argmax(1)
    return partner_B, _chosen(total_BB, partner_B)


def assigned_partners(
    presence_BN: Tensor | np.ndarray,
    cooccurrence_NN: Tensor | np.ndarray,
    *,
    rng: np.random.Generator,
    count: Literal["sum", "union"] = "sum",
    pool_PN: Tensor | np.ndarray | None = None,
) -> tuple[Tensor, Tensor]:
    """One partner for each and each for one: the assignment of the highest total score; not in the paper.

    Solved on the CPU by `scipy.optimize.linear_sum_assignment`. Never the sample itself (a pool may hold
    another crop of its image); equal totals are chosen among at random.

    Args:
        pool_PN: samples to choose partners from, of which the first B are the batch itself; the batch
            alone by default.

    Returns:
        partner_B, int64 indices into the pool, all different, and total_B as `cooccurrence_partners`.
    """
    score_BP, total_BP = pair_scores(presence_BN, cooccurrence_NN, pool_PN=pool_PN, count=count)
    score = score_BP.cpu().numpy()
    size = len(score)
    # Scores are whole numbers: the sum of all these lots stays below the smallest difference of totals.
    score = score + rng.random(score.shape) * (0.5 / size)
    if score.shape[1] > 1:
        score[np.arange(size), np.arange(size)] = -(size + 1) * (1 + score.max())
    _, partner = linear_sum_assignment(score, maximize=True)
    partner_B = torch.from_numpy(partner.astype(np.int64)).to(score_BP.device)
    return partner_B, _chosen(total_BP, partner_B)


def choose_partners(
    pairing: Pairing,
    presence_BN: Tensor | np.ndarray,
    cooccurrence_NN: Tensor | np.ndarray,
    *,
    rng: np.random.Generator,
    count: Literal["sum", "union"] = "sum",
    pool_PN: Tensor | np.ndarray | None = None,
) -> tuple[Tensor, Tensor]:
    """Partners within a batch by the name of a pairing, and the number of categories in each pair.

    Args:
        pairing: any but `none`, and `clusters`, which pairs images of the whole data set (`cluster_pairs`).
        presence_BN, cooccurrence_NN, count: see `pair_scores`.
        rng: draws partners, or breaks ties.
        pool_PN: for `memory`, the batch and what it remembers; see `assigned_partners`.

    Returns:
        partner_B, int64 indices into the batch (into the pool for `memory`), and total_B, int64.

    Raises:
        ValueError: `none`, `clusters` or an unknown pairing.
    """
    match pairing:
        case "random":
            _, total_BB = pair_scores(presence_BN, cooccurrence_NN, count=count)
            partner_B = random_partners(len(total_BB), rng=rng).to(total_BB.device, non_blocking=True)
            return partner_B, _chosen(total_BB, partner_B)
        case "cooccurrence" | "average":
            average = pairing == "average"
            return cooccurrence_partners(presence_BN, cooccurrence_NN, rng=rng, count=count, average=average)
        case "proportional":
            return proportional_partners(presence_BN, cooccurrence_NN, rng=rng, count=count)
        case "assignment" | "memory":
            return assigned_partners(presence_BN, cooccurrence_NN, rng=rng, count=count, pool_PN=pool_PN)
    raise ValueError(f"pairing '{pairing}' chooses no partners within a batch")


def _chosen(total_BP: Tensor, partner_B: Tensor) -> Tensor:
    return total_BP.gather(1, partner_B[:, None])[:, 0].long()


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
