"""GD-UAP (Mopuri et al. 2018): a universal perturbation that fills the layers of an encoder with noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from segmix_core.attacks.fooling import Watched
from segmix_core.attacks.perturbation import Perturbation
from segmix_core.attacks.state import read_state, save_state
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.transforms import PADDING, augment, draw_augmentation
from segmix_core.errors import InputError
from segmix_core.models import SourceSeparation
from segmix_core.rng import stream

Knowledge = Literal["none", "range", "data", "part"]
KNOWLEDGE: tuple[Knowledge, ...] = get_args(Knowledge)
"""What the attacker knows of the training images: nothing, their mean and spread, all, or a part of them."""

PART = 2840 / 10_000
"""The share of the images in "part": that of the original lists."""

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
    once; the best is kept, and crafting ends when `patience` checks brought none.

    Args:
        images: of the training list: `watched` of them judge, the others are what "data" and "part" see.
        output: whose predictions are to change.
        made_on: what the perturbation says of the network: JSON.
        state: a file from which crafting goes on, written at every check and removed at the end.
        report: told iteration, iterations, and the fooling rate in percent as "total".

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
    background = _Background(how, images, order[held_out:], device)
    making = _Making(how, device, state, made_on or {})
    with _activations(model.encoder) as activations:
        while making.iteration < how.iterations and making.unsuccessful < how.patience:
            image_CHW = background.draw(making.iteration)
            activations.clear()
            model.encoder(image_CHW.add(making.v, alpha=1 / 255).clamp(0, 1)[None])
            loss = -torch.stack([one.float().norm().log() for one in activations]).sum()
            making.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            making.step()
            if making.iteration >= making.next_check:
                activations.clear()
                making.check(watched.fooling_rate(making.v.detach()))
                activations.clear()
                if report is not None:
                    report(making.iteration, how.iterations, {"total": 100 * making.best_rate})
    if making.best_rate < 0:  # fewer iterations than one check takes
        making.check(watched.fooling_rate(making.v.detach()))
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


@contextmanager
def _activations(encoder: nn.Module) -> Iterator[list[Tensor]]:
    """What every ReLU of an encoder returns, in order, for as long as the block lasts."""
    found: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _given, returned: found.append(returned))
        for module in encoder.modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


class _Background:
    """The image that a perturbation is added to: what an attacker of this knowledge would put there."""

    def __init__(self, how: GDUAP, images: SegmentationDataset, known: np.ndarray, device: str) -> None:
        self.how, self.images, self.device = how, images, device
        self.known = known
        if how.knowledge == "part":
            # The same part for every seed, as a list in a file would be.
            rank = stream(0, "gd-uap", "part").permutation(len(images))
            kept = [index for index in known if rank[index] < PART * len(images)]
            self.known = np.array(kept or known[:1])
        self.mean_C11 = torch.tensor(PADDING, device=device)[:, None, None] / 255
        self.spread_C11 = self.mean_C11
        if how.knowledge == "range":
            pixels = np.concatenate(
                [images.image(int(index)).reshape(-1, 3) for index in known[: how.watched]]
            )
            self.mean_C11 = torch.from_numpy(pixels.mean(0, dtype=np.float64) / 255).float().to(device)
            self.mean_C11 = self.mean_C11[:, None, None]
            self.spread_C11 = torch.from_numpy(pixels.std(0, dtype=np.float64) / 255).float().to(device)
            self.spread_C11 = self.spread_C11[:, None, None]

    def draw(self, iteration: int) -> Tensor:
        """float32 (3, size, size) in 0..1 for one iteration.

        Without knowledge: ImageNet's mean colour, so that what enters the first layer is the perturbation.
        """
        how = self.how
        if how.knowledge == "none":
            return self.mean_C11.expand(3, how.size, how.size)
        rng = stream(how.seed, "gd-uap", "draw", iteration)
        if how.knowledge == "range":
            noise_CHW = rng.standard_normal((3, how.size, how.size), dtype=np.float32)
            return (
                torch.from_numpy(noise_CHW)
                .to(self.device)
                .mul_(self.spread_C11)
                .add_(self.mean_C11)
                .clamp_(0, 1)
            )
        image, label = self.images.pair(int(rng.choice(self.known)))
        crop, _ = augment(image, label, draw_augmentation(label.shape, how.size, rng=rng), how.size)
        return torch.from_numpy(crop).to(self.device).permute(2, 0, 1).float().div_(255)


class _Making:
    """Where crafting stands; all of it is in the state file."""

    _NUMBERS = ("iteration", "next_check", "unsuccessful", "saturation", "best_rate")

    def __init__(self, how: GDUAP, device: str, state: Path | None, made_on: dict[str, Any]) -> None:
        self.how, self.state = how, state
        self.identity = {**asdict(how), "made_on": made_on}
        start = stream(how.seed, "gd-uap", "start").uniform(-1, 1, (3, how.size, how.size))
        self.v = torch.tensor(how.epsilon * start, dtype=torch.float32, device=device).requires_grad_()
        self.optimizer = torch.optim.Adam([self.v], lr=how.step)
        self.iteration, self.next_check, self.unsuccessful = 0, how.check_every, 0
        self.saturation, self.best_rate = 0.0, -1.0
        self.best = self.v.detach().clone()
        if state is not None and state.exists():
            self._restore(state, device)

    def step(self) -> None:
        """One step of Adam, clipping, and the halving of a perturbation that can go no further."""
        self.optimizer.step()
        limit = self.how.epsilon
        with torch.no_grad():
            self.v.clamp_(-limit, limit)
            saturation = float((self.v.abs() == limit).double().mean())
            if saturation > SATURATED and abs(saturation - self.saturation) < STILL:
                self.v.mul_(0.5)
                self.next_check = min(self.next_check, self.iteration + 1 + self.how.check_every // 2)
        self.saturation = saturation
        self.iteration += 1

    def check(self, rate: float) -> None:
        """Keep the perturbation if it changes more than any before, and write the state."""
        self.next_check = self.iteration + self.how.check_every
        if rate > self.best_rate:
            self.best_rate, self.unsuccessful = rate, 0
            self.best = self.v.detach().clone()
        else:
            self.unsuccessful += 1
        if self.state is not None:
            self._save(self.state)

    def _save(self, path: Path) -> None:
        adam = self.optimizer.state[self.v]
        tensors = {"v": self.v, "best": self.best}
        tensors |= {name: adam[name] for name in ("exp_avg", "exp_avg_sq")}
        numbers = {name: getattr(self, name) for name in self._NUMBERS}
        save_state(path, self.identity, tensors, numbers)

    def _restore(self, path: Path, device: str) -> None:
        tensors, numbers = read_state(path, self.identity, device=device)
        with torch.no_grad():
            self.v.copy_(tensors["v"])
        self.best = tensors["best"]
        self.optimizer.state[self.v] = {
            "step": torch.tensor(float(numbers["iteration"])),
            "exp_avg": tensors["exp_avg"],
            "exp_avg_sq": tensors["exp_avg_sq"],
        }
        for name in self._NUMBERS:
            setattr(self, name, numbers[name])
