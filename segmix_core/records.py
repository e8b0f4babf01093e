"""The tensors that travel between the rooms.

Legend of shapes, used as suffixes everywhere: B sample of a batch, C colour channel (RGB), N category
(background 0 included), H row, W column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

IGNORE_INDEX = 255
"""The label of pixels that count nowhere: VOC's void border, and padding."""


@dataclass(frozen=True)
class Batch:
    """Plain images with their labels."""

    image_BCHW: Tensor  # float32, RGB, 0..1
    label_BHW: Tensor  # int64, 0..N-1 or 255
    presence_BN: Tensor | None = None  # bool, which categories each label map holds

    def to(self, device: str) -> Batch:
        """The same batch on another device."""
        presence_BN = None if self.presence_BN is None else self.presence_BN.to(device, non_blocking=True)
        return Batch(
            self.image_BCHW.to(device, non_blocking=True),
            self.label_BHW.to(device, non_blocking=True),
            presence_BN,
        )


@dataclass(frozen=True)
class MixedBatch:
    """A blended batch (Eq. 1): one image, two label maps, and how they were put together."""

    image_BCHW: Tensor  # float32, RGB, 0..1
    dominant_BHW: Tensor  # int64, label map of I_a
    phantom_BHW: Tensor  # int64, label map of I_b
    delta_B: Tensor  # float32, weight of the dominant image
    partner_B: Tensor  # int64, index of the phantom within the batch


@dataclass(frozen=True)
class Separation:
    """What the network says of an image (Eqs. 2 and 3): logits (B, N, H, W) at the size of the input.

    None where the head has no such output: the plain head has only `dominant`, SSM without SSH no `final`.
    """

    dominant: Tensor  # S_t
    phantom: Tensor | None = None  # S_p
    final: Tensor | None = None  # S_ss

    def outputs(self) -> dict[str, Tensor]:
        """The outputs that segment the dominant image, by name."""
        return {"dominant": self.dominant} | ({} if self.final is None else {"final": self.final})
