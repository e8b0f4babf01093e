"""From a batch of images to a batch of blends (section 3.1)."""

import numpy as np
import torch
from torch import Tensor

from segmix_core.experiments.factors import Method
from segmix_core.mixing.blend import blend, cap_delta, draw_boxes, draw_delta, paste, sample_delta, unmixed
from segmix_core.mixing.partners import cluster_pairs, cooccurrence_partners, presence_of, random_partners
from segmix_core.records import Batch, MixedBatch

__all__ = [
    "blend",
    "cap_delta",
    "cluster_pairs",
    "cooccurrence_partners",
    "draw_boxes",
    "draw_delta",
    "mix",
    "paste",
    "presence_of",
    "random_partners",
    "sample_delta",
    "unmixed",
]


def mix(
    method: Method,
    batch: Batch,
    cooccurrence_NN: Tensor,
    *,
    rng: np.random.Generator,
    out: MixedBatch | None = None,
) -> MixedBatch:
    """Mix a batch as `method` declares it: partners, then delta, then the blend.

    With `clusters` the batch brings the phantoms as its second half (`cluster_pairs` chose them). A batch of
    one is left unmixed (R2). `out` is passed on to `blend`.
    """
    size = len(batch.image_BCHW)
    if method.delta is None:
        return unmixed(batch)
    device = batch.image_BCHW.device
    if method.pairing == "clusters":
        partner_B = torch.arange(size // 2, size, device=device)
        total_B = torch.zeros(size // 2, dtype=torch.int64, device=device)
    elif size == 1:
        return unmixed(batch)
    elif method.pairing == "cooccurrence":
        presence_BN = batch.presence_BN
        if presence_BN is None:
            presence_BN = presence_of(batch.label_BHW, len(cooccurrence_NN))
        count = "sum" if method.cap is None else method.cap.count
        partner_B, total_B = cooccurrence_partners(presence_BN, cooccurrence_NN, rng=rng, count=count)
    else:
        partner_B = random_partners(size, rng=rng).to(device, non_blocking=True)
        total_B = torch.zeros(size, dtype=torch.int64, device=device)
    if method.blend == "cutmix":
        height, width = batch.label_BHW.shape[-2:]
        delta_B = draw_delta(method.delta, method.cap, total_B.cpu(), rng=rng)
        return paste(batch, partner_B, draw_boxes(delta_B, height, width, rng=rng))
    return blend(batch, partner_B, draw_delta(method.delta, method.cap, total_B, rng=rng), out=out)
