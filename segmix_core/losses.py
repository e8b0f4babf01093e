"""The objectives: Eq. 4 (stage 1), Eq. 5 (stage 2), and the mixed-label loss of Mixup and CutMix.

Each returns its named terms, already weighted, and their sum as `total`.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from segmix_core.records import IGNORE_INDEX, MixedBatch, Separation


def cross_entropy_B(logits_BNHW: Tensor, label_BHW: Tensor) -> Tensor:
    """Cross-entropy averaged over a sample's valid pixels (R9): float32 (B,).

    Binary for a network of one logit, whose labels are 1 (salient) and 0 (R18).
    A sample without a valid pixel contributes 0, never NaN.
    """
    valid_BHW = label_BHW != IGNORE_INDEX
    logits_BNHW = logits_BNHW.float()
    if logits_BNHW.shape[1] == 1:
        salient_BHW = (label_BHW * valid_BHW).float()
        pixel_BHW = F.binary_cross_entropy_with_logits(
            logits_BNHW[:, 0],
            salient_BHW,
            reduction="none",
        )
        pixel_BHW = pixel_BHW * valid_BHW
    else:
        pixel_BHW = F.cross_entropy(
            logits_BNHW,
            label_BHW,
            ignore_index=IGNORE_INDEX,
            reduction="none",
        )
    return pixel_BHW.sum((1, 2)) / valid_BHW.sum((1, 2)).clamp(min=1)


def _summed(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    return terms | {"total": torch.stack(list(terms.values())).sum()}


def segmentation_loss(separation: Separation, label_BHW: Tensor) -> dict[str, Tensor]:
    """Plain segmentation: cross-entropy of the dominant output, averaged over the batch."""
    return _summed({"dominant": cross_entropy_B(separation.dominant, label_BHW).mean()})


def mixed_label_loss(separation: Separation, mixed: MixedBatch) -> dict[str, Tensor]:
    """Mixup's objective: one output, answering to both label maps with weights delta and 1 - delta (R15)."""
    delta_B = mixed.delta_B
    return _summed(
        {
            "dominant": (delta_B * cross_entropy_B(separation.dominant, mixed.dominant_BHW)).mean(),
            "phantom": ((1 - delta_B) * cross_entropy_B(separation.dominant, mixed.phantom_BHW)).mean(),
        }
    )


def stage1_loss(separation: Separation, mixed: MixedBatch) -> dict[str, Tensor]:
    """Eq. 4: l_ss + delta * l_t + (1 - delta) * l_p, with one delta a sample (R9).

    Terms `final` (only with the SSH), `dominant`, `phantom`, as weighted, and `total`.

    Raises:
        ValueError: the network has no phantom branch.
    """
    if separation.phantom is None:
        raise ValueError("Eq. 4 needs a phantom branch; the plain head has none")
    delta_B = mixed.delta_B
    terms = {}
    if separation.final is not None:
        terms["final"] = cross_entropy_B(separation.final, mixed.dominant_BHW).mean()
    terms["dominant"] = (delta_B * cross_entropy_B(separation.dominant, mixed.dominant_BHW)).mean()
    terms["phantom"] = ((1 - delta_B) * cross_entropy_B(separation.phantom, mixed.phantom_BHW)).mean()
    return _summed(terms)


def phantom_activation(phantom_BNHW: Tensor, form: Literal["log1p", "log_eps"] = "log1p") -> Tensor:
    """l_PPA of Eq. 5 for each sample: float32 (B,).

    log(1 + sum ReLU(S_p)) is 0 when the phantom is silent; `log_eps` is log(1e-6 + sum), nearer to what is
    printed (R13).
    """
    sum_B = F.relu(phantom_BNHW.float()).sum((1, 2, 3))
    return torch.log1p(sum_B) if form == "log1p" else torch.log(1e-6 + sum_B)


def stage2_loss(
    separation: Separation, label_BHW: Tensor, *, ppa: Literal["log1p", "log_eps", "off"] = "log1p"
) -> dict[str, Tensor]:
    """Eq. 5: l_t + l_PPA on plain images, which silences the phantom branch.

    Terms `dominant`, `ppa` (not with `off`) and `total`.

    Raises:
        ValueError: the network has no phantom branch.
    """
    if separation.phantom is None:
        raise ValueError("Eq. 5 needs a phantom branch; the plain head has none")
    terms = {"dominant": cross_entropy_B(separation.dominant, label_BHW).mean()}
    if ppa != "off":
        terms["ppa"] = phantom_activation(separation.phantom, ppa).mean()
    return _summed(terms)
