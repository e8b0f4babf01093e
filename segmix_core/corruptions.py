"""Common corruptions (Hendrycks and Dietterich 2019): noise, blur, weather and digital, at five severities.

The corruptions themselves are those of the package imagecorruptions-imaug, under the names of ImageNet-C.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from segmix_core.errors import InputError
from segmix_core.experiments import nearest
from segmix_core.rng import stream

Family = Literal["noise", "blur", "weather", "digital"]

CORRUPTIONS: dict[str, Family] = {
    "gaussian_noise": "noise",
    "shot_noise": "noise",
    "impulse_noise": "noise",
    "defocus_blur": "blur",
    "glass_blur": "blur",
    "motion_blur": "blur",
    "zoom_blur": "blur",
    "snow": "weather",
    "frost": "weather",
    "fog": "weather",
    "brightness": "weather",
    "contrast": "digital",
    "elastic_transform": "digital",
    "pixelate": "digital",
    "jpeg_compression": "digital",
}
"""The fifteen that the benchmark averages over, with their families. `brightness` stands for daylight."""

HELD_OUT: dict[str, Family] = {
    "speckle_noise": "noise",
    "gaussian_blur": "blur",
    "spatter": "weather",
    "saturate": "digital",
}
"""Four more, which the benchmark keeps for choosing between methods: no mean is over these."""

SEVERITIES = (1, 2, 3, 4, 5)

SMALLEST = 32
"""Pixels: the side below which an image is refused."""

_SEEDED = ("impulse_noise", "glass_blur")
"""Those that draw from a generator of their own, which takes its seed as an argument."""


@dataclass(frozen=True)
class Corruption:
    """A corruption at a severity, 1 to 5.

    Raises:
        InputError: another name or severity.
    """

    name: str
    severity: int

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        if self.name not in CORRUPTIONS | HELD_OUT:
            raise nearest("corruption", self.name, CORRUPTIONS | HELD_OUT)
        if self.severity not in SEVERITIES:
            raise InputError(self.name, f"no severity {self.severity}", "choose one of 1, 2, 3, 4, 5")

    @property
    def family(self) -> Family:
        """Noise, blur, weather or digital."""
        return (CORRUPTIONS | HELD_OUT)[self.name]

    def perturb(self, *, seed: int) -> Callable[[Tensor], Tensor]:
        """What `evaluate(..., perturb=)` takes, for one pass over a data set in its order.

        It counts the images that it is shown: number i is drawn from a stream of its own, whatever the size
        of the batches. The five severities of an image share their draws, so that they differ in severity
        alone. A second pass takes a second call of this method.

        Returns:
            A function of image_BCHW, floats 0..1 in steps of 1/255, to the same corrupted.
        """
        seen = 0

        def corrupted(image_BCHW: Tensor) -> Tensor:
            nonlocal seen
            image_BHWC = image_BCHW.permute(0, 2, 3, 1).mul(255).round().to(torch.uint8).cpu().numpy()
            found = []
            for image_HWC in image_BHWC:
                rng = stream(seed, "corruption", self.name, seen)
                found.append(corrupt(image_HWC, self.name, self.severity, rng=rng))
                seen += 1
            found_BHWC = torch.from_numpy(np.stack(found)).to(image_BCHW.device)
            return found_BHWC.permute(0, 3, 1, 2).to(image_BCHW.dtype).div_(255)

        return corrupted


def corrupt(image_HWC: np.ndarray, name: str, severity: int, *, rng: np.random.Generator) -> np.ndarray:
    """An image with a corruption: uint8 (H, W, 3), RGB, a new array.

    Args:
        image_HWC: uint8 (H, W, 3), RGB, at least 32 pixels a side.
        severity: 1 to 5. More is not always farther from the image: the benchmark's steps of frost, snow,
            glass blur and saturation trade one parameter for another.
        rng: everything random is drawn from it. Numpy's global state is borrowed, and put back.

    Raises:
        InputError: an unknown name or severity, or an image of another kind or size.
    """
    Corruption(name, severity)
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or image_HWC.shape[2] != 3:
        shape = " x ".join(map(str, image_HWC.shape))
        raise InputError(name, f"an image of {image_HWC.dtype}, {shape}", "give uint8, H x W x 3")
    if min(image_HWC.shape[:2]) < SMALLEST:
        height, width = image_HWC.shape[:2]
        raise InputError(name, f"an image of {height} x {width}", f"give at least {SMALLEST} pixels a side")
    import imagecorruptions  # takes seconds: it brings a compiler for one of them

    seed = int(rng.integers(2**32))
    given = {"seed": seed} if name in _SEEDED else {}
    before = np.random.get_state()  # noqa: NPY002 - the library draws from there
    np.random.seed(seed)  # noqa: NPY002
    try:
        found = imagecorruptions.corrupt(image_HWC, severity, name, **given)
    finally:
        np.random.set_state(before)  # noqa: NPY002
    return np.asarray(found, dtype=np.uint8)
