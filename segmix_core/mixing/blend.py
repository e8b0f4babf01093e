"""How two images become one: delta and its cap, Eq. 1, and CutMix. Drawing and applying are apart."""

import math

import numpy as np
import torch
from torch import Tensor

from segmix_core.experiments.factors import Cap, Delta
from segmix_core.records import Batch, MixedBatch


def sample_delta(alpha: float, size: int, *, rng: np.random.Generator, fold: bool = True) -> Tensor:
    """Draw delta from Beta(alpha, alpha), folded to max(d, 1 - d) (Algorithm 2, lines 1 to 5; R3).

    Returns float32 (size,), in 0.5..1 when folded; all 1 where alpha <= 0.
    """
    if alpha <= 0:
        return torch.ones(size)
    drawn = rng.beta(alpha, alpha, size=size)
    return torch.from_numpy(np.maximum(drawn, 1 - drawn) if fold else drawn).float()


def cap_delta(
    delta_B: Tensor, total_B: Tensor, *, gamma: int = 3, capped: float = 0.9, literal: bool = False
) -> Tensor:
    """Set delta to `capped` where the pair holds more than `gamma` categories (Algorithm 2, lines 29 to 31).

    Args:
        delta_B: weights of the dominant images, 0..1.
        total_B: numbers of categories in the pairs, from `cooccurrence_partners`.
        gamma: number of categories up to which delta is left as it is.
        capped: delta beyond it, 0..1.
        literal: as printed: once set, the value stays for every later sample of the batch (R1).

    Returns:
        (B,), of the type of `delta_B`, a new tensor.
    """
    beyond_B = total_B > gamma
    if literal:
        beyond_B = beyond_B.cumsum(0) > 0
    return torch.where(beyond_B, torch.full_like(delta_B, capped), delta_B)


def draw_delta(delta: Delta, cap: Cap | None, total_B: Tensor, *, rng: np.random.Generator) -> Tensor:
    """Delta for a batch as a method declares it: draw, then cap. float32 (B,), on the device of `total_B`.

    Args:
        total_B: categories in each pair, from `cooccurrence_partners`.
    """
    size = len(total_B)
    if delta.distribution == "uniform":
        drawn_B = torch.from_numpy(rng.uniform(delta.low, delta.high, size=size)).float()
    elif delta.literal:
        drawn_B = sample_delta(delta.alpha, 1, rng=rng, fold=delta.fold).expand(size)
    else:
        drawn_B = sample_delta(delta.alpha, size, rng=rng, fold=delta.fold)
    drawn_B = drawn_B.to(total_B.device, non_blocking=True)
    if cap is None:
        return drawn_B
    capped = cap.capped if cap.beyond == "weaken" else 1.0
    return cap_delta(drawn_B, total_B, gamma=cap.gamma, capped=capped, literal=delta.literal)


def blend(batch: Batch, partner_B: Tensor, delta_B: Tensor, *, out: MixedBatch | None = None) -> MixedBatch:
    """I_ss = delta * I_a + (1 - delta) * I_b (Eq. 1). All drawing happened before.

    The dominant images are the first len(partner_B) of the batch. Partners index the whole batch, which may
    carry more images than that: categorical clustering brings its phantoms along as a second half.

    Args:
        batch: at least as many images as partners.
        partner_B: integers (B,), the phantom of each dominant image as its place in the batch.
        delta_B: (B,), weight of the dominant image, 0..1.
        out: an earlier blend of this size, whose image and phantom tensors are overwritten. Large tensors
            on the CPU take longer to get from the system than to fill.

    Returns:
        The blends, 0..1, and both label maps as they are; delta in the type of the images.
    """
    dominant_BCHW = batch.image_BCHW[: len(partner_B)]
    delta_B = delta_B.to(dominant_BCHW)
    image_BCHW = torch.empty_like(dominant_BCHW) if out is None else out.image_BCHW
    if image_BCHW.is_cpu:
        # One pass over memory: no gathered copy of the partners.
        for sample, partner in enumerate(partner_B.tolist()):
            torch.lerp(
                batch.image_BCHW[partner], dominant_BCHW[sample], delta_B[sample], out=image_BCHW[sample]
            )
    else:
        torch.index_select(batch.image_BCHW, 0, partner_B, out=image_BCHW)
        image_BCHW.lerp_(dominant_BCHW, delta_B[:, None, None, None])
    phantom_BHW = None if out is None else out.phantom_BHW
    return MixedBatch(
        image_BCHW=image_BCHW,
        dominant_BHW=batch.label_BHW[: len(partner_B)],
        phantom_BHW=torch.index_select(batch.label_BHW, 0, partner_B, out=phantom_BHW),
        delta_B=delta_B,
        partner_B=partner_B,
    )


def unmixed(batch: Batch) -> MixedBatch:
    """The batch as it is, each image its own partner at delta 1."""
    size = len(batch.image_BCHW)
    return MixedBatch(
        image_BCHW=batch.image_BCHW,
        dominant_BHW=batch.label_BHW,
        phantom_BHW=batch.label_BHW,
        delta_B=torch.ones(size, device=batch.image_BCHW.device),
        partner_B=torch.arange(size, device=batch.image_BCHW.device),
    )


def draw_boxes(
    delta_B: Tensor, height: int, width: int, *, rng: np.random.Generator
) -> list[tuple[int, int, int, int]]:
    """CutMix's boxes: one for each sample, of relative area 1 - delta, clipped to the image.

    Returns (top, bottom, left, right) in pixels, bottom and right excluded.
    """
    boxes = []
    for delta in delta_B.tolist():
        side = math.sqrt(max(0.0, 1 - delta))
        box_height, box_width = round(side * height), round(side * width)
        middle_y, middle_x = int(rng.integers(0, height)), int(rng.integers(0, width))
        top, left = middle_y - box_height // 2, middle_x - box_width // 2
        boxes.append((max(0, top), min(height, top + box_height), max(0, left), min(width, left + box_width)))
    return boxes


def paste(batch: Batch, partner_B: Tensor, boxes: list[tuple[int, int, int, int]]) -> MixedBatch:
    """CutMix: the partner's box replaces the image's own pixels, and its labels with them (R15).

    The pasted label map is the `dominant` one and carries the whole weight (delta 1).

    Args:
        batch, partner_B: see `blend`.
        boxes: (top, bottom, left, right) of each image in pixels, as of `draw_boxes`; empty ones are allowed.

    Returns:
        New images and dominant label maps; `phantom_BHW` is the partner's whole label map, delta 1.
    """
    image_BCHW = batch.image_BCHW[: len(partner_B)].clone()
    label_BHW = batch.label_BHW[: len(partner_B)].clone()
    for sample, (top, bottom, left, right) in enumerate(boxes):
        window = (slice(top, bottom), slice(left, right))
        partner = partner_B[sample]
        image_BCHW[(sample, slice(None), *window)] = batch.image_BCHW[(partner, slice(None), *window)]
        label_BHW[(sample, *window)] = batch.label_BHW[(partner, *window)]
    return MixedBatch(
        image_BCHW=image_BCHW,
        dominant_BHW=label_BHW,
        phantom_BHW=batch.label_BHW.index_select(0, partner_B),
        delta_B=torch.ones(len(partner_B), device=image_BCHW.device),
        partner_B=partner_B,
    )
