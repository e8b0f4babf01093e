"""The source separation network (section 3.2): encoder, two branches (SSM), and the head that joins them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from segmix_core.experiments.factors import Head
from segmix_core.models.encoder import Encoder, load_encoder
from segmix_core.models.precision import autocast
from segmix_core.records import Separation


class _PooledNorm(nn.BatchNorm2d):
    """Batch norm that falls back to its running statistics where a batch of one gives no statistics."""

    def forward(self, pooled_BC11: Tensor) -> Tensor:
        if self.training and pooled_BC11.numel() == self.num_features:
            return F.batch_norm(
                pooled_BC11, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(pooled_BC11)


def _aspp(in_channels: int, channels: int, rates: tuple[int, int, int]) -> nn.Module:
    """Atrous spatial pyramid pooling of DeepLabv3, as torchvision builds it."""
    aspp = ASPP(in_channels, list(rates), channels)
    pooling = aspp.convs[-1]
    pooling[2] = _PooledNorm(channels)
    return aspp  # type: ignore[no-any-return]  # torchvision has no types


def _classifier(channels: int, num_categories: int) -> nn.Sequential:
    """What follows the ASPP in DeepLabv3: 3x3 convolution, then a score for each category."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, num_categories, 1),
    )


def upsample(score_BNHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores at another size by bilinear interpolation: float32, contiguous.

    What `F.interpolate` does is linear along each axis, so it is written as two matrix products: faster with
    its gradient, which on a GPU is also summed in a fixed order.
    """
    down, across = (
        F.interpolate(torch.eye(few, device=score_BNHW.device)[None], many, mode="linear")[0]
        for few, many in zip(score_BNHW.shape[-2:], size, strict=True)
    )
    with autocast(score_BNHW.device, "fp32"):
        return down.T @ (score_BNHW.float().contiguous() @ across)


class SourceSeparation(nn.Module):
    """Segments an image that may be two: f_enc, F_t and F_p (Eq. 2), F_ss (Eq. 3).

    `forward(image_BCHW)` takes float RGB in 0..1 and returns a `Separation` of logits at the size of the
    input, upsampled bilinearly (section 4.1).

    Args:
        num_categories: N, background counted.
        backbone: one of `segmix_core.models.BACKBONES`.
        head: "full" (two branches and SSH), "full_relu" (the same, a ReLU on the SSH's logits too: R11),
            "no_ssh" (two branches), "plain" (DeepLabv3: `dominant` alone).
        output_stride: 8 or 16 (R8).
        shared_aspp: one ASPP for both branches instead of one each (R10).
        pretrained: weights of the encoder, "imagenet" or a file; None starts from random weights.
        aspp_channels, aspp_rates: width and dilations of the ASPP; rates default to DeepLabv3's.

    Raises:
        InputError: unknown backbone, or weights that do not fit it.
        ValueError: unknown head or output stride.
    """

    def __init__(
        self,
        num_categories: int,
        *,
        backbone: str = "resnet50",
        head: Head = "full",
        output_stride: int = 16,
        shared_aspp: bool = False,
        pretrained: str | Path | None = None,
        aspp_channels: int = 256,
        aspp_rates: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        if head not in get_args(Head):
            raise ValueError(f"head '{head}' is not one of {', '.join(map(repr, get_args(Head)))}")
        if output_stride not in (8, 16):
            raise ValueError(f"output stride {output_stride} is not 8 or 16")
        rates = aspp_rates or ((6, 12, 18) if output_stride == 16 else (12, 24, 36))
        self.architecture = {
            "num_categories": num_categories,
            "backbone": backbone,
            "head": head,
            "output_stride": output_stride,
            "shared_aspp": shared_aspp,
            "aspp_channels": aspp_channels,
            "aspp_rates": list(rates),
        }
        self.encoder = Encoder(backbone, output_stride=output_stride)
        if pretrained is not None:
            load_encoder(self.encoder, backbone, pretrained)

        branches = 1 if head == "plain" else 2
        pyramids = 1 if shared_aspp else branches
        self.pyramids = nn.ModuleList(
            _aspp(self.encoder.channels, aspp_channels, rates) for _ in range(pyramids)
        )
        self.classifiers = nn.ModuleList(_classifier(aspp_channels, num_categories) for _ in range(branches))
        self.joiner = None
        if head in ("full", "full_relu"):  # SSH: 2N -> 2N -> N
            self.joiner = nn.Sequential(
                nn.Conv2d(2 * num_categories, 2 * num_categories, 1),
                nn.ReLU(),
                nn.Conv2d(2 * num_categories, num_categories, 1),
            )
            if head == "full_relu":
                self.joiner.append(nn.ReLU())

    def forward(self, image_BCHW: Tensor) -> Separation:
        """Eqs. 2 and 3. Logits (B, N, H, W), float32."""
        height, width = image_BCHW.shape[-2:]
        features = self.encoder(image_BCHW)
        pyramids = [pyramid(features) for pyramid in self.pyramids]
        scores = [
            classifier(pyramids[min(branch, len(pyramids) - 1)])
            for branch, classifier in enumerate(self.classifiers)
        ]
        if self.joiner is not None:
            scores.append(self.joiner(torch.cat(scores, dim=1)))
        return Separation(*(upsample(score, (height, width)) for score in scores))
