"""A logit of every category at full size, with the gradient of its cross-entropy: scale mini's batch.

Reference: `F.interpolate` on what a channels-last network gives. To reach: faster, on any device.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from segmix_core.bench import BenchRow, interleaved
from segmix_core.experiments import find_scale
from segmix_core.models.separation import upsample
from segmix_core.rng import stream

from ._drawn import CATEGORIES, draw_labels


def run(*, device: str, scale: str = "mini", batch: int = 16, rounds: int = 9) -> list[BenchRow]:
    """Rows for the library's upsampling of scores in two memory layouts, and this project's."""
    chosen = find_scale(scale)
    side, few = chosen.crop, chosen.crop // chosen.output_stride
    label_BHW = torch.from_numpy(draw_labels(batch, side, side, rng=stream(0, "bench", "upsample"))).long()
    label_BHW = label_BHW.to(device)
    drawn = torch.randn(batch, CATEGORIES, few, few, generator=torch.Generator().manual_seed(0)).to(device)
    score_BNHW = drawn.contiguous(memory_format=torch.channels_last)

    def library(score: Tensor) -> Tensor:
        return F.interpolate(score, (side, side), mode="bilinear", align_corners=False)

    variants = {
        "F.interpolate, channels last": library,
        "F.interpolate, contiguous": lambda score: library(score.contiguous()),
        "segmix": lambda score: upsample(score, (side, side)),
    }
    torch.testing.assert_close(upsample(score_BNHW, (side, side)), library(score_BNHW), rtol=0, atol=1e-5)

    def learned(name: str) -> None:
        score = score_BNHW.detach().requires_grad_()
        F.cross_entropy(variants[name](score), label_BHW, ignore_index=255).backward()

    work = {name: (lambda name=name: learned(name)) for name in variants}
    return interleaved("upsample", work, reference=next(iter(variants)), rounds=rounds, device=device)
