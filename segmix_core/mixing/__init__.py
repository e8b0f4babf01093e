"""From a batch of images to a batch of blends (section 3.1)."""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from segmix_core.experiments.factors import Method
from segmix_core.mixing.blend import blend, cap_delta, draw_boxes, draw_delta, paste, sample_delta, unmixed
from segmix_core.mixing.partners import (
    assigned_partners,
    choose_partners,
    cluster_pairs,
    cooccurrence_partners,
    pair_scores,
    presence_of,
    proportional_partners,
    random_partners,
)
from segmix_core.records import Batch, MixedBatch

__all__ = [
    "MEMORY",
    "assigned_partners",
    "blend",
    "cap_delta",
    "choose_partners",
    "cluster_pairs",
    "cooccurrence_partners",
    "draw_boxes",
    "draw_delta",
    "mix",
    "pair_scores",
    "paste",
    "presence_of",
    "proportional_partners",
    "random_partners",
    "sample_delta",
    "unmixed",
]


MEMORY = 4
"""Batches before this one whose crops the pairing `memory` also chooses among."""


def mix(
    method: Method,
    batch: Batch,
    cooccurrence_NN: Tensor,
    *,
    rng: np.random.Generator,
    recent: Sequence[Batch] = (),
    out: MixedBatch | None = None,
) -> MixedBatch:
    """Mix a batch as `method` declares it: partners, then delta, then the blend.

    With `clusters` the batch brings the phantoms as its second half (`cluster_pairs` chose them). A batch of
    one is left unmixed (R2), unless there is a memory.

    Args:
        recent: the batches before this one, for the pairing `memory` alone.
        out: passed on to `blend`.
    """
    if method.delta is None:
        return unmixed(batch)
    size, device = len(batch.image_BCHW), batch.image_BCHW.device
    total_B = torch.zeros(size, dtype=torch.int64, device=device)
    if method.pairing == "clusters":
        partner_B, total_B = torch.arange(size // 2, size, device=device), total_B[: size // 2]
    elif size == 1 and not recent:
        return unmixed(batch)
    elif method.pairing == "random" and method.cap is None:
        partner_B = random_partners(size, rng=rng).to(device, non_blocking=True)
    else:
        batch, partner_B, total_B = _scored_partners(method, batch, cooccurrence_NN, recent, rng)
    if method.blend == "cutmix":
        height, width = batch.label_BHW.shape[-2:]
        delta_B = draw_delta(method.delta, method.cap, total_B.cpu(), rng=rng)
        return paste(batch, partner_B, draw_boxes(delta_B, height, width, rng=rng))
    return blend(batch, partner_B, draw_delta(method.delta, method.cap, total_B, rng=rng), out=out)


def _scored_partners(
    method: Method,
    batch: Batch,
    cooccurrence_NN: Tensor,
    recent: Sequence[Batch],
    rng: np.random.Generator,
) -> tuple[Batch, Tensor, Tensor]:
    """Partners that are chosen by score, or capped by it, and the batch that they index."""
    presence_BN = _presence(batch, len(cooccurrence_NN))
    count = "sum" if method.cap is None else method.cap.count
    choose = functools.partial(
        choose_partners, method.pairing, presence_BN, cooccurrence_NN, rng=rng, count=count
    )
    if method.pairing != "memory":
        return batch, *choose()
    pool_PN = torch.cat([presence_BN, *(_presence(one, len(cooccurrence_NN)) for one in recent)])
    partner_B, total_B = choose(pool_PN=pool_PN)
    # The phantoms go behind the batch, as with clusters.
    pool = [batch, *recent]
    size = len(presence_BN)
    where = [divmod(partner, size) for partner in partner_B.tolist()]
    behind = Batch(
        torch.cat([batch.image_BCHW, *(pool[one].image_BCHW[index, None] for one, index in where)]),
        torch.cat([batch.label_BHW, *(pool[one].label_BHW[index, None] for one, index in where)]),
    )
    return behind, torch.arange(size, 2 * size, device=partner_B.device), total_B


def _presence(batch: Batch, num_categories: int) -> Tensor:
    given = batch.presence_BN
    return presence_of(batch.label_BHW, num_categories) if given is None else given
