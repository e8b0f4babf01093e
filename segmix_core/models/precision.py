"""In what numbers a network computes; losses, and what is measured, are in float32 always."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

Precision = Literal["fp32", "bf16"]


def autocast(device: str | torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Within it, the convolutions of a network on `device` are computed in bfloat16 for "bf16".

    With "fp32" they are not, whatever stands around it.
    """
    if precision == "fp32" and not torch.amp.is_autocast_available(torch.device(device).type):
        return nullcontext()  # such as meta, on which operations are counted
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")


def native(device: str | torch.device, precision: Precision) -> bool:
    """Whether a device has instructions for `precision`; imitated bfloat16 is far slower than float32.

    A device that cannot be asked (an older torch, other accelerators) is taken to have them.
    """
    kind = torch.device(device).type
    if precision == "fp32" or kind not in ("cpu", "cuda"):
        return True
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    known = ("amx_bf16", "avx512_bf16", "avx_ne_convert", "bf16")
    return not capabilities or any(capabilities.get(name) for name in known)
