"""In what numbers a network computes; losses, and what is measured, are in float32 always."""

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


def autocast(device: str | torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Within it, the convolutions of a network on `device` are computed in bfloat16 for "bf16"."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")
