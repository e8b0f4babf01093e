"""What networks are shown besides images as they are, and how much of it at each scale. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from segmix_core.experiments.factors import Experiment
from segmix_core.experiments.methods import DEFENCES, METHODS
from segmix_core.experiments.names import nearest

Part = Literal["universal", "adaptive", "corruptions", "matrix"]
PARTS: dict[Part, str] = {
    "universal": "universal perturbations, published and crafted on a surrogate, beside noise of their size",
    "adaptive": "attacks made on each image with the network at hand (APGD, SEA)",
    "corruptions": "common corruptions at five severities",
    "matrix": "universal perturbations crafted on each method, applied to each",
}
"""The parts of the study of robustness, the most telling first."""

KINDS: dict[Part, str] = {
    "universal": "universal",
    "adaptive": "adaptive",
    "corruptions": "corruption",
    "matrix": "universal",
}
"""What the conditions of a part's rows are called."""

BLENDED_AT = (1.0, 0.9, 0.75, 0.6)
"""Deltas at which separation is measured: without a phantom, and down to where the dominant still leads."""

SURROGATE = 1000
"""Seed of the baseline on which Table 6's perturbations are crafted, so that none is attacked by its own."""


@dataclass(frozen=True, kw_only=True)
class Universal:
    """A universal perturbation that every network is shown."""

    name: str  # what rows call it
    file: str | None = None  # as published; None: crafted on the surrogate
    or_file: str | None = None  # shown instead of crafting, where whoever has the published ones names one so
    epsilon: float = 10.0  # L_inf, 0..255, as published or as it is crafted


UNIVERSALS: tuple[Universal, ...] = (
    Universal(name="uap-resnet152", file="ResNet-152.mat"),
    Universal(name="uap-googlenet", file="GoogLeNet.mat"),
    Universal(name="gd-uap-none", or_file="gd-uap-none.npy"),
    Universal(name="gd-uap-range", or_file="gd-uap-range.npy"),
    Universal(name="gd-uap-data", or_file="gd-uap-data.npy"),
    Universal(name="gd-uap-part", or_file="gd-uap-part.npy"),
    Universal(name="uap"),
)
"""The files are those of Moosavi-Dezfooli et al. (2017).

The authors of GD-UAP link perturbations for four segmenters (`val-iisc/GD-UAP`, segmentation/readme.md); of
which Table 6 is, the paper does not say. So no name of theirs stands here, but one to give to a file.
"""

TOLERANCE = 0.5
"""Points that decide nothing between attacks, which are heuristics.

So far they may fall short of what a sanity check wants of them, and what leads noise by no more is noise.
"""

CRAFTED_ON_EACH = ("uap", "gd-uap-none")
"""Of the matrix of who attacks whom."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """How much of the study is run at a scale: everything in here costs time. Sizes are of 0..255."""

    images: int | None  # that adaptive attacks see; None: the whole list
    steps: int  # of each of SEA's losses
    longer: int  # steps of the spot check of convergence
    at: float  # epsilon at which every aim, noise, transfer and the spot check are tried
    epsilons: tuple[float, ...]  # at which the worst aim is tried
    corrupted: int | None  # images that are corrupted; None: the whole list
    uap_images: int
    uap_passes: int
    gd_uap_iterations: int
    gd_uap_check_every: int
    gd_uap_watched: int


_SMALL = (0.25, 0.5, 1.0, 2.0, 4.0)

STUDIES: dict[str, Study] = {
    "smoke": Study(
        images=4, steps=3, longer=6, at=1.0, epsilons=(1.0, 4.0), corrupted=4,
        uap_images=4, uap_passes=1, gd_uap_iterations=20, gd_uap_check_every=10, gd_uap_watched=4,
    ),
    "demo": Study(
        images=24, steps=20, longer=60, at=1.0, epsilons=_SMALL, corrupted=96,
        uap_images=32, uap_passes=2, gd_uap_iterations=800, gd_uap_check_every=100, gd_uap_watched=48,
    ),
    "mini": Study(
        images=50, steps=100, longer=300, at=1.0, epsilons=_SMALL, corrupted=200,
        uap_images=48, uap_passes=3, gd_uap_iterations=4000, gd_uap_check_every=400, gd_uap_watched=96,
    ),
    "paper": Study(
        images=None, steps=300, longer=600, at=4.0, epsilons=(*_SMALL, 8.0, 12.0), corrupted=None,
        uap_images=10_000, uap_passes=10, gd_uap_iterations=40_000, gd_uap_check_every=400,
        gd_uap_watched=200,
    ),
}  # fmt: skip
"""By scale. Networks that were trained for minutes are floored by 8 of 255, and need smaller sizes."""

STUDIED: dict[str, Experiment] = METHODS | DEFENCES
"""The methods of Table 1, and two defences that give the size of any effect a scale."""


_GROUPS: dict[str, tuple[Part, ...]] = {part: (part,) for part in PARTS} | {
    "table6": ("universal",),
    "figure6": ("universal",),
    "robustness": tuple(PARTS),
}


def is_study(name: str) -> bool:
    """Whether "robustness", "table6", ... asks for parts of the study."""
    return name in _GROUPS


def find_parts(name: str) -> tuple[Part, ...]:
    """The parts that a name asks for: all of "robustness", `universal` of "table6", or its own.

    Raises:
        InputError: no such part.
    """
    if name not in _GROUPS:
        raise nearest("part of the study of robustness", name, _GROUPS)
    return _GROUPS[name]
