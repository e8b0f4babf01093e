"""GD-UAP (Mopuri et al. 2018): a universal perturbation that fills the layers of an encoder with noise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from segmix_core.attacks.fooling import FOOLING_RATE, Watched
from segmix_core.attacks.perturbation import Perturbation
from segmix_core.attacks.state import read_state, save_state
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.transforms import augment, draw_augmentation
from segmix_core.errors import InputError
from segmix_core.models import SourceSeparation
from segmix_core.records import IGNORE_INDEX
from segmix_core.rng import stream

Knowledge = Literal["none", "range", "data", "part"]
KNOWLEDGE: tuple[Knowledge, ...] = get_args(Knowledge)
"""What the attacker knows of the training images: nothing, their mean and spread, all, or a part of them.

The part are those with the least background: the authors' tables call it "data with less background".
"""

PART = 2840 / 10_000
"""The share of the images in "part": that of the original lists, of 2,840 and 10,000 lines."""

SAVED_EVERY = 30.0  # seconds

SATURATED = 0.5  # beyond this share of pixels at the limit ...
STILL = 1e-5  # ... that a step changes by less than this, the perturbation is halved


@dataclass(frozen=True, kw_only=True)
class GDUAP:
    """How a perturbation is crafted. Lengths are pixels, sizes and steps are on the 0..255 scale."""

    knowledge: Knowledge = "none"
    size: int = 513
    epsilon: float = 10.0
    step: float = 0.1  # Adam's
    iterations: int = 40_000
    check_every: int = 400  # half of it after a halving
    patience: int = 10  # checks without a new best
    watched: int = 200  # held-out images on which the fooling rate is measured
    seed: int = 0

    @property
    def name(self) -> str:
        """What rows call it."""
        return f"gd-uap-{self.knowledge}"


def craft_gd_uap(
    model: SourceSeparation,
    how: GDUAP,
    images: SegmentationDataset,
    *,
    output: str = "dominant",
    device: str = "cpu",
    made_on: dict[str, Any] | None = None,
    state: Path | None = None,
    report: Callable[[int, int, dict[str, float]], None] | None = None,
) -> Perturbation:
    """Craft a perturbation that maximises the sum of the log-norms of the encoder's ReLU activations.

    It starts uniform within the limit; Adam steps, each followed by clipping. Every few hundred iterations
    the share of pixels that it changes is measured on held-out images, whose clean predictions are made
    once, and of a saturated one before it was halved, too; the best is kept, and crafting ends when
    `patience` checks in a row brought no better one.

    Args:
        images: of the training list: `watched` of them judge, the others are what "data" and "part" see.
        output: whose predictions are to change.
        made_on: what the perturbation says of the network: JSON. It should tell one network from another,
            by the digest of its weights, for a state to be gone on from with the same one only.
        state: a file from which crafting goes on, written at every check and twice a minute, removed at the
            end.
        report: told iteration, iterations, and the best fooling rate so far in percent.

    Returns:
        The best perturbation, (3, size, size).

    Raises:
        ValueError: unknown knowledge.
        InputError: too few images to hold some out; or `state` belongs to another crafting.
    """
    if how.knowledge not in KNOWLEDGE:
        raise ValueError(f"knowledge '{how.knowledge}' is not one of {', '.join(KNOWLEDGE)}")
    if len(images) < 2:
        raise InputError(images.root, f"split {images.split} has {len(images)} images", "take a longer list")
    model.eval()
    order = stream(how.seed, "gd-uap", "held out").permutation(len(images))
    held_out = min(how.watched, len(images) // 2)
    watched = Watched.of(model, output, images, order[:held_out], size=how.size, device=device)
    background = _Background(how, images, order[held_out:], model.encoder.mean)
    making = _Making(how, device, state, {"output": output, "data": images.digest(), "made_on": made_on})
    while making.iteration < how.iterations and making.unsuccessful < how.patience:
        image_CHW = background.draw(making.iteration)
        shown_CHW = image_CHW.add(making.v, alpha=1 / 255).clamp(0, 1)
        loss = -log_norms(model.encoder, shown_CHW[None])
        (making.v.grad,) = torch.autograd.grad(loss, making.v)  # and none of the network's own
        making.step()
        if making.due():
            making.check(watched.fooling_rate)
        making.save_now_and_then()
        if report is not None:
            report(making.iteration, how.iterations, {FOOLING_RATE: 100 * max(0.0, making.best_rate)})
    if making.iteration > making.checked:  # what the last iterations found counts as well
        making.check(watched.fooling_rate)
    if state is not None:
        state.unlink(missing_ok=True)
    origin = (made_on or {}) | {
        "attack": "gd-uap",
        **asdict(how),
        "iterations": making.iteration,
        "fooling_rate": round(100 * making.best_rate, 2),
        "held_out": held_out,
        "data": images.digest(),
    }
    return Perturbation(how.name, making.best.cpu(), origin)


def log_norms(encoder: nn.Module, image_BCHW: Tensor) -> Tensor:
    """The sum over every ReLU of an encoder of log ||a||_2, with a all that it returns: a scalar.

    A ReLU that returns zeros everywhere makes it minus infinity and adds nothing to its gradient.
    """
    found: list[Tensor] = []
    hooks = [
        module.register_forward_hook(
            lambda _module, _given, returned: found.append(returned.float().norm().log())
        )
        for module in encoder.modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        encoder(image_BCHW)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(found).sum()


class _Background:
    """The image that a perturbation is added to: what an attacker of this knowledge would put there."""

    def __init__(self, how: GDUAP, images: SegmentationDataset, known: np.ndarray, mean_C11: Tensor) -> None:
        self.how, self.images, self.known, self.mean_C11 = how, images, known, mean_C11
        self.device = mean_C11.device
        if how.knowledge == "part":
            self.known = _with_least_background(images, known)
        if how.knowledge == "range":
            mean_C, spread_C = _mean_and_spread(images, known)
            self.mean_C11 = torch.tensor(mean_C / 255, dtype=torch.float32, device=self.device)[:, None, None]
            self.spread_C11 = torch.tensor(spread_C / 255, dtype=torch.float32, device=self.device)[
                :, None, None
            ]

    def draw(self, iteration: int) -> Tensor:
        """float32 (3, size, size) in 0..1 for one iteration.

        Without knowledge it is the colour that the network subtracts: what enters the first layer is the
        perturbation alone.
        """
        how = self.how
        if how.knowledge == "none":
            return self.mean_C11.expand(3, how.size, how.size)
        rng = stream(how.seed, "gd-uap", "draw", iteration)
        if how.knowledge == "range":
            noise_CHW = torch.from_numpy(rng.standard_normal((3, how.size, how.size), dtype=np.float32))
            return noise_CHW.to(self.device).mul_(self.spread_C11).add_(self.mean_C11).clamp_(0, 1)
        image, label = self.images.pair(int(rng.choice(self.known)))
        crop, _ = augment(image, label, draw_augmentation(label.shape, how.size, rng=rng), how.size)
        return torch.from_numpy(crop).to(self.device).permute(2, 0, 1).float().div_(255)


def _with_least_background(images: SegmentationDataset, indices: np.ndarray) -> np.ndarray:
    """The `PART` of some images, one at least, whose labelled pixels are background least often."""
    indices = np.sort(indices)
    share = []
    for index in indices:
        label = images.label(int(index))
        share.append(np.mean(label[label != IGNORE_INDEX] == 0) if (label != IGNORE_INDEX).any() else 1.0)
    kept = np.argsort(share, kind="stable")[: max(1, int(PART * len(indices)))]
    chosen: np.ndarray = indices[kept]
    return chosen


def _mean_and_spread(images: SegmentationDataset, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of all pixels of some images, by channel, on the 0..255 scale."""
    count, sum_C, squares_C = 0, np.zeros(3), np.zeros(3)
    for index in indices:
        pixel_PC = images.image(int(index)).reshape(-1, 3).astype(np.float64)
        count += len(pixel_PC)
        sum_C += pixel_PC.sum(0)
        squares_C += np.square(pixel_PC).sum(0)
    mean_C = sum_C / count
    return mean_C, np.sqrt(squares_C / count - mean_C**2)


class _Making:
    """Where crafting stands; all of it is in the state file."""

    _NUMBERS = ("iteration", "unsuccessful", "best_rate", "checked", "next_check")
    _TENSORS = ("best", "saturation", "saturated", "halved")

    def __init__(self, how: GDUAP, device: str, state: Path | None, of: dict[str, Any]) -> None:
        self.how, self.state = how, state
        self.identity = {"attack": "gd-uap", **asdict(how), **of}
        start = stream(how.seed, "gd-uap", "start").uniform(-1, 1, (3, how.size, how.size))
        self.v = torch.tensor(how.epsilon * start, dtype=torch.float32, device=device).requires_grad_()
        self.optimizer = torch.optim.Adam([self.v], lr=how.step)
        self.iteration, self.unsuccessful, self.best_rate = 0, 0, -1.0
        self.best = self.v.detach().clone()
        self.saturation = torch.zeros((), dtype=torch.float64, device=device)
        self._wait()
        if state is not None and state.exists():
            self._restore(state, device)
        self.saved = time.monotonic()

    def _wait(self) -> None:
        self.checked, self.next_check = self.iteration, self.iteration + self.how.check_every
        self.halved = torch.zeros((), dtype=torch.int64, device=self.v.device)
        self.saturated = self.v.detach().clone()

    def step(self) -> None:
        """One step of Adam, clipping, and the halving of a perturbation that can go no further.

        All of it stays on the device: to ask for a number at each step would make a GPU wait.
        """
        self.optimizer.step()
        self.iteration += 1
        limit = self.how.epsilon
        with torch.no_grad():
            self.v.clamp_(-limit, limit)
            saturation = (self.v.abs() >= limit).sum().double() / self.v.numel()
            stuck = (saturation > SATURATED) & ((saturation - self.saturation).abs() < STILL)
            self.saturated = torch.where(stuck, self.v, self.saturated)  # the last before a halving
            self.v.mul_(torch.where(stuck, 0.5, 1.0))
            # The first iteration since the last check at which it was halved; 0, none.
            self.halved = torch.where(stuck & (self.halved == 0), self.iteration, self.halved)
        self.saturation = saturation

    def due(self) -> bool:
        """Whether to measure: `check_every` after the last time, or half of it after a halving since then.

        It is enough to look every half of it: a halving found now calls for no check before now.
        """
        half = max(1, self.how.check_every // 2)
        if (self.iteration - self.checked) % half == 0 or self.iteration >= self.next_check:
            halved = int(self.halved)
            self.next_check = halved + half if halved else self.next_check
        return self.iteration >= self.next_check

    def check(self, rate_of: Callable[[Tensor], float]) -> None:
        """Keep the perturbation if it changes more than any before, and write the state.

        One that was halved since the last check is asked for as it was before, too.
        """
        self.unsuccessful += 1
        for one in ([self.saturated] if int(self.halved) else []) + [self.v.detach()]:
            rate = rate_of(one)
            if rate > self.best_rate:
                self.best_rate, self.unsuccessful = rate, 0
                self.best = one.clone()
        self._wait()
        if self.state is not None:
            self._save(self.state)

    def save_now_and_then(self) -> None:
        """Write the state if the last time is long ago, so that little is lost where crafting is stopped."""
        if self.state is not None and time.monotonic() - self.saved >= SAVED_EVERY:
            self._save(self.state)

    def _save(self, path: Path) -> None:
        self.saved = time.monotonic()
        adam = self.optimizer.state[self.v]
        tensors = {"v": self.v} | {name: getattr(self, name) for name in self._TENSORS}
        tensors |= {name: adam[name] for name in ("exp_avg", "exp_avg_sq")}
        numbers = {name: getattr(self, name) for name in self._NUMBERS}
        save_state(path, self.identity, tensors, numbers)

    def _restore(self, path: Path, device: str) -> None:
        tensors, numbers = read_state(path, self.identity, device=device)
        with torch.no_grad():
            self.v.copy_(tensors["v"])
        for name in self._TENSORS:
            setattr(self, name, tensors[name])
        self.optimizer.state[self.v] = {
            "step": torch.tensor(float(numbers["iteration"])),
            "exp_avg": tensors["exp_avg"],
            "exp_avg_sq": tensors["exp_avg_sq"],
        }
        for name in self._NUMBERS:
            setattr(self, name, numbers[name])
