"""What a method is made of, and how large a run is. Declarations only: nothing here trains or imports torch.

A variation is one `dataclasses.replace(...)`, never a new class.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Pairing = Literal[
    "none",
    "random",
    "clusters",  # section 3.1.1
    "cooccurrence",  # Algorithm 2; the following keep its score and avoid its hubs
    "average",
    "proportional",
    "assignment",
    "memory",
]
Blend = Literal["none", "linear", "cutmix"]
Head = Literal["plain", "no_ssh", "full", "full_relu"]
Finetune = Literal[
    "none",
    "plain",
    "mixed",
    "denoise",  # section 3.3
    "adversarial",  # plain images, attacked by PGD: a baseline of defence
]

_LATER: dict[str, Any] = {"noise": 0.0}
"""Factors that came after the first rows, with their defaults: at these, digests are what they were."""


@dataclass(frozen=True, kw_only=True)
class Delta:
    """Where delta, the weight of the dominant image in Eq. 1, is drawn from."""

    distribution: Literal["beta", "uniform"]
    alpha: float = 0.4  # Beta(alpha, alpha); 0 or less means delta = 1 (Algorithm 2, line 5)
    low: float = 0.7  # uniform over [low, high] (section 3.1.1)
    high: float = 1.0
    fold: bool = True  # max(d, 1 - d), so that the dominant image has the larger weight (R3)
    literal: bool = False  # Algorithm 2 as printed: one draw a batch, and 0.9 stays once it was set (R1)

    def __post_init__(self) -> None:
        """Refuse combinations that mean nothing."""
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(f"delta between {self.low} and {self.high} is no range within 0..1")
        if self.literal and self.distribution == "uniform":
            raise ValueError("Algorithm 2 as printed draws delta from a beta distribution")


@dataclass(frozen=True, kw_only=True)
class Cap:
    """What happens to pairs that hold more than gamma categories (Algorithm 2, lines 29 to 31)."""

    gamma: int = 3
    beyond: Literal["weaken", "refuse"] = "weaken"  # delta = 0.9, or no blending at all (Table 11)
    count: Literal["sum", "union"] = "sum"  # the printed algorithm, or the text's "unique categories" (R4)
    capped: float = 0.9


@dataclass(frozen=True, kw_only=True)
class Method:
    """One training method as a set of factors: which images, blended how, seen by which network."""

    pairing: Pairing = "none"
    blend: Blend = "none"
    delta: Delta | None = None
    cap: Cap | None = None
    head: Head = "plain"
    shared_aspp: bool = False
    finetune: Finetune = "plain"
    ppa: Literal["log1p", "log_eps", "off"] = "log1p"  # Eq. 5 and its other reading (R13)
    noise: float = 0.0  # standard deviation of Gaussian noise on what both stages see, on the 0..255 scale

    def __post_init__(self) -> None:
        """Refuse combinations that mean nothing."""
        if (self.pairing == "none") != (self.blend == "none") or (self.blend == "none") != (
            self.delta is None
        ):
            raise ValueError("pairing, blend and delta come together: a blend needs partners and a weight")
        if self.cap is not None and self.pairing in ("none", "clusters"):
            raise ValueError(f"a cap needs partners within a batch, which pairing '{self.pairing}' has not")
        if self.head == "plain" and self.finetune == "denoise":
            raise ValueError("the plain head has no phantom branch to silence")
        if self.head != "plain" and self.finetune == "adversarial":
            raise ValueError("adversarial fine-tuning attacks the one output of the plain head")
        if not 0 <= self.noise <= 255:
            raise ValueError(f"noise of {self.noise} is outside 0..255")
        if self.head != "plain" and self.blend != "linear":
            raise ValueError("source separation needs the two images of Eq. 1")

    def output(self) -> Literal["dominant", "final"]:
        """Which output is reported: S_ss after stage 1, S_t once stage 2 has silenced the phantom (R12)."""
        joined = self.head in ("full", "full_relu")
        return "final" if joined and self.finetune in ("none", "mixed") else "dominant"

    def stage1(self) -> Method:
        """What stage 1 depends on: methods that agree in it share their training to its end."""
        return replace(self, finetune="none", ppa="log1p")

    def stage_of(self, trained: Method) -> int | None:
        """After which stage of a run of `trained` this method's network stands; None if after neither."""
        if self.finetune == "none":
            return 1 if trained.stage1() == self.stage1() else None
        return 2 if trained == self else None

    def factors(self) -> dict[str, Any]:
        """The factors as JSON: what `stored` reads. Those that came later are left out at their default."""
        held = asdict(self)
        return {name: held[name] for name in held if name not in _LATER or held[name] != _LATER[name]}

    @staticmethod
    def stored(factors: dict[str, Any]) -> Method:
        """A method from its factors as JSON or a checkpoint holds them; later factors have their defaults.

        Raises:
            TypeError: a factor that does not exist.
        """
        delta, cap = factors["delta"], factors["cap"]
        return Method(**(factors | {"delta": delta and Delta(**delta), "cap": cap and Cap(**cap)}))


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large a run is. Steps are given, or follow from `epochs` and the size of the data set."""

    name: str
    backbone: str
    weights: str | None  # "silhouettes" (the committed encoder), "imagenet" (torchvision's), None (random)
    output_stride: Literal[8, 16]
    aspp_channels: int
    aspp_rates: tuple[int, int, int]
    crop: int  # pixels, side of the training crop
    eval_crop: int  # pixels, side of the centre crop of protocol `crop` (R16)
    scale_range: tuple[float, float] = (0.5, 1.5)
    batch_size: int = 16  # also the group in which Algorithm 2 looks for partners (R7)
    epochs: int | None = None
    stage1_steps: int | None = None
    stage2_steps: int | None = None
    stage1_lr: float = 2.5e-4
    stage2_lr: float = 2.5e-5
    head_lr_factor: float = 10.0  # R17
    momentum: float = 0.9
    weight_decay: float = 5e-4
    poly_power: float = 0.9
    silhouettes: tuple[int, int, int] = (0, 0, 0)  # images to generate for train and val, and their size

    def steps(self, images: int) -> tuple[int, int]:
        """Steps of stage 1 and of stage 2 on a data set of `images` images."""
        if self.epochs is None:
            assert self.stage1_steps is not None
            assert self.stage2_steps is not None
            return self.stage1_steps, self.stage2_steps
        steps = self.epochs * max(1, images // self.batch_size)
        return steps, steps

    def digest(self) -> str:
        """Twelve hexadecimal digits that change with any number of this scale."""
        return _digest(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A method under its declared name. Scale, data set and seed are chosen when it runs."""

    name: str
    method: Method
    summary: str = field(default="", compare=False)

    def digest(self) -> str:
        """Twelve hexadecimal digits of the factors: two names of one method share their training run."""
        return _digest(self.method.factors())


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
