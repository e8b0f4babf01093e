"""Adaptive white-box attacks on single images: APGD, and the SEA protocol over several losses.

APGD is that of Croce and Hein (2020); the losses and the shrinking radius are those of SEA (Croce, Singh and
Hein, "Towards reliable evaluation and fast training of robust semantic segmentation models", 2024). Sizes are
on the 0..255 scale. Every image of a batch has its own step size and its own best iterate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from segmix_core.losses import phantom_activation
from segmix_core.models import SourceSeparation
from segmix_core.records import IGNORE_INDEX, Separation

Aim = Literal["dominant", "final", "joint", "phantom"]
AIMS: tuple[Aim, ...] = get_args(Aim)
"""What an attack raises the loss of: S_t, S_ss, their mean, or the activation of the phantom branch."""

Loss = Literal["masked-ce", "segpgd", "js", "margin"]
LOSSES: tuple[Loss, ...] = get_args(Loss)

RADII = ((0.3, 2.0), (0.3, 1.5), (0.4, 1.0))
"""SEA's phases: share of the steps, and the radius as a multiple of epsilon."""

Objective = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""(image_BCHW, share of the steps done) -> (loss_B to be raised, share of pixels that are right, (B,))."""


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """What an attack aims at, how far it may go, and how long it tries."""

    aim: Aim = "dominant"
    epsilon: float  # L_inf, 0..255
    steps: int = 300  # for each loss
    losses: tuple[Loss, ...] = LOSSES
    shrink: bool = True  # from twice epsilon, as SEA; False: APGD at epsilon alone


@dataclass(frozen=True)
class Attacked:
    """The worst found for each image of a batch."""

    image_BCHW: Tensor  # floats 0..1
    right_B: Tensor  # share of the labelled pixels that the measured output still gets right, 0..1
    by_loss: dict[str, Tensor]  # the same for each loss alone


def available_aims(model: SourceSeparation) -> tuple[Aim, ...]:
    """The aims that a network's head allows: a plain head has S_t alone."""
    head = model.architecture["head"]
    if head == "plain":
        return ("dominant",)
    return AIMS if head == "full" else ("dominant", "phantom")


def pixel_loss(
    loss: Loss, logits_BNHW: Tensor, label_BHW: Tensor, done: float = 0.0
) -> tuple[Tensor, Tensor]:
    """A loss of SEA, which an attack raises, and the share of labelled pixels that are right: (B,), (B,).

    * "masked-ce": cross-entropy of the pixels that are still right;
    * "segpgd": cross-entropy, weighted 1 - t/2 where right and t/2 where wrong, t = `done` (Gu et al. 2022);
    * "js": Jensen-Shannon divergence between the softmax and the label;
    * "margin": how far the best other category is above the label's, over the norm of the logits, of the
      pixels that are still right.

    Averages are over the pixels that are labelled. An image without any has loss 0 and is all wrong.
    """
    valid_BHW = label_BHW != IGNORE_INDEX
    label_B1HW = label_BHW.clamp(max=logits_BNHW.shape[1] - 1)[:, None]
    right_BHW = (logits_BNHW.argmax(1) == label_BHW) & valid_BHW
    own_BHW = logits_BNHW.gather(1, label_B1HW)[:, 0]
    if loss == "margin":
        other_BHW = logits_BNHW.scatter(1, label_B1HW, -math.inf).amax(1)
        found_BHW = (other_BHW - own_BHW) / logits_BNHW.norm(dim=1).clamp(min=1e-12) * right_BHW
    else:
        log_own_BHW = own_BHW - logits_BNHW.logsumexp(1)
        if loss == "js":
            own = log_own_BHW.exp()
            log_mean = torch.log1p(own) - math.log(2)  # of the mean of softmax and label, at the label
            found_BHW = (-log_mean + (1 - own) * math.log(2) + own * (log_own_BHW - log_mean)) / 2 * valid_BHW
        elif loss == "segpgd":
            weight_BHW = torch.where(right_BHW, 1 - done / 2, done / 2)
            found_BHW = -log_own_BHW * weight_BHW * valid_BHW
        elif loss == "masked-ce":
            found_BHW = -log_own_BHW * right_BHW
        else:
            raise ValueError(f"loss '{loss}' is not one of {', '.join(LOSSES)}")
    labelled_B = valid_BHW.sum((1, 2)).clamp(min=1)
    return found_BHW.sum((1, 2)) / labelled_B, right_BHW.sum((1, 2)) / labelled_B


def aimed(separation: Separation, aim: Aim, loss: Loss, label_BHW: Tensor, done: float) -> Tensor:
    """What an attack raises: (B,).

    Raises:
        ValueError: the head has not what `aim` names.
    """
    if aim == "phantom":
        if separation.phantom is None:
            raise ValueError("a plain head has no phantom branch to raise")
        return phantom_activation(separation.phantom)
    outputs = {"dominant": separation.dominant, "final": separation.final}
    chosen = [outputs[name] for name in (("dominant", "final") if aim == "joint" else (aim,))]
    found = [pixel_loss(loss, one, label_BHW, done)[0] for one in chosen if one is not None]
    if len(found) < len(chosen):
        raise ValueError("without an SSH there is no final output to attack")
    return torch.stack(found).mean(0)


def objective_of(
    model: SourceSeparation, label_BHW: Tensor, aim: Aim, loss: Loss, *, measured: str
) -> Objective:
    """The objective of an aim and a loss for the images with these labels."""

    def objective(image_BCHW: Tensor, done: float) -> tuple[Tensor, Tensor]:
        separation = model(image_BCHW)
        right_B = _right(separation.outputs()[measured].detach(), label_BHW)
        return aimed(separation, aim, loss, label_BHW, done), right_B

    return objective


def _right(logits_BNHW: Tensor, label_BHW: Tensor) -> Tensor:
    valid_BHW = label_BHW != IGNORE_INDEX
    right_BHW = (logits_BNHW.argmax(1) == label_BHW) & valid_BHW
    return right_BHW.sum((1, 2)) / valid_BHW.sum((1, 2)).clamp(min=1)


def pgd(
    objective: Objective,
    image_BCHW: Tensor,
    *,
    epsilon: float,
    step: float,
    steps: int,
    start_BCHW: Tensor | None = None,
    inside_BHW: Tensor | None = None,
) -> Tensor:
    """Projected gradient ascent with a fixed step (Madry et al. 2018): the last iterate, floats 0..1."""
    ball = _Ball(image_BCHW, epsilon, inside_BHW)
    current = image_BCHW if start_BCHW is None else ball.project(start_BCHW)
    for number in range(steps):
        gradient_BCHW, _, _ = _gradient(objective, current, number / steps)
        current = ball.project(current + step / 255 * gradient_BCHW.sign())
    return current


def apgd(
    objective: Objective,
    image_BCHW: Tensor,
    *,
    epsilon: float,
    steps: int,
    start_BCHW: Tensor,
    best: Best | None = None,
    inside_BHW: Tensor | None = None,
    done: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Auto-PGD (Croce and Hein 2020): ascent with momentum, whose step halves where it stops paying.

    Args:
        start_BCHW: where it starts; projected into the ball.
        best: told of every iterate; it keeps, for each image, the one with the fewest right pixels.
        inside_BHW: the pixels that may change, bool; all by default.
        done: the share of the whole attack that is behind at its start and at its end.

    Returns:
        For each image the iterate with the highest loss, floats 0..1.
    """
    ball = _Ball(image_BCHW, epsilon, inside_BHW)
    size_B111 = torch.full((len(image_BCHW), 1, 1, 1), 2 * epsilon / 255, device=image_BCHW.device)
    current = previous = ball.project(start_BCHW)
    gradient, loss_B, right_B = _gradient(objective, current, done[0])
    if best is not None:
        best.look(current, right_B)
    highest, highest_gradient, highest_B = current, gradient, loss_B
    rises_B = torch.zeros_like(loss_B)
    at_check_B, halved_B = loss_B, torch.zeros_like(loss_B, dtype=torch.bool)
    checks = _checkpoints(steps)
    before = 0
    for number in range(1, steps):
        step = ball.project(current + size_B111 * gradient.sign())
        if number > 1:
            step = ball.project(current + 0.75 * (step - current) + 0.25 * (current - previous))
        previous, current = current, step
        last_B = loss_B
        gradient, loss_B, right_B = _gradient(
            objective, current, done[0] + (done[1] - done[0]) * number / steps
        )
        if best is not None:
            best.look(current, right_B)
        rises_B = rises_B + (loss_B > last_B)
        higher = (loss_B > highest_B)[:, None, None, None]
        highest = torch.where(higher, current, highest)
        highest_gradient = torch.where(higher, gradient, highest_gradient)
        highest_B = torch.maximum(loss_B, highest_B)
        if number in checks:
            stuck_B = rises_B < 0.75 * (number - before)
            still_B = ~halved_B & (highest_B <= at_check_B)
            halved_B = stuck_B | still_B
            halve = halved_B[:, None, None, None]
            size_B111 = torch.where(halve, size_B111 / 2, size_B111)
            current = torch.where(halve, highest, current)
            gradient = torch.where(halve, highest_gradient, gradient)
            rises_B, at_check_B, before = torch.zeros_like(rises_B), highest_B, number
    return highest


def _checkpoints(steps: int) -> set[int]:
    """After which steps APGD looks whether to halve its step size."""
    found, last, now = [], 0.0, 0.22
    while now <= 1:
        found.append(math.ceil(now * steps))
        last, now = now, now + max(now - last - 0.03, 0.06)
    return set(found)


class _Ball:
    """The images that an attack may show: within epsilon, within 0..1, changed inside the image alone."""

    def __init__(self, image_BCHW: Tensor, epsilon: float, inside_BHW: Tensor | None) -> None:
        reach = epsilon / 255
        self.low, self.high = (image_BCHW - reach).clamp(min=0), (image_BCHW + reach).clamp(max=1)
        if inside_BHW is not None:
            inside = inside_BHW[:, None]
            self.low, self.high = (torch.where(inside, one, image_BCHW) for one in (self.low, self.high))

    def project(self, image_BCHW: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(image_BCHW, self.low), self.high)


def _gradient(objective: Objective, image_BCHW: Tensor, done: float) -> tuple[Tensor, Tensor, Tensor]:
    image_BCHW = image_BCHW.detach().requires_grad_()
    loss_B, right_B = objective(image_BCHW, done)
    (gradient_BCHW,) = torch.autograd.grad(loss_B.sum(), image_BCHW)
    return gradient_BCHW, loss_B.detach(), right_B


class Best:
    """For each image the iterate with the fewest right pixels, of all that it is told of."""

    def __init__(self, image_BCHW: Tensor, right_B: Tensor) -> None:
        self.image_BCHW, self.right_B = image_BCHW.clone(), right_B.clone()

    def look(self, image_BCHW: Tensor, right_B: Tensor) -> None:
        """Keep what is worse than before."""
        worse_B = right_B < self.right_B
        self.image_BCHW = torch.where(worse_B[:, None, None, None], image_BCHW.detach(), self.image_BCHW)
        self.right_B = torch.minimum(self.right_B, right_B)


def attack(
    model: SourceSeparation,
    image_BCHW: Tensor,
    label_BHW: Tensor,
    adversary: Adversary,
    *,
    measured: str,
    generator: torch.Generator,
    inside_BHW: Tensor | None = None,
) -> Attacked:
    """The worst of several losses for each image of a batch; the losses share the clean forward pass.

    Images of which a loss leaves no pixel right are not attacked further.

    Args:
        measured: the output whose right pixels count, "dominant" or "final".
        generator: draws the random starts; on the device of the images.
        inside_BHW: the pixels that may change, bool; all by default.

    Raises:
        ValueError: the head has not what `adversary.aim` names.
    """
    with torch.no_grad():
        clean_B = _right(model(image_BCHW).outputs()[measured], label_BHW)
    worst = Best(image_BCHW, clean_B)
    by_loss: dict[str, Tensor] = {}
    # What raises the phantom does not look at the labels: it has one loss.
    losses: Sequence[Loss] = adversary.losses[:1] if adversary.aim == "phantom" else adversary.losses
    for loss in losses:
        found = Best(image_BCHW, clean_B)
        left = worst.right_B > 0
        if adversary.epsilon > 0 and left.any():
            images, labels = image_BCHW[left], label_BHW[left]
            inside = None if inside_BHW is None else inside_BHW[left]
            objective = objective_of(model, labels, adversary.aim, loss, measured=measured)
            best = Best(images, clean_B[left])
            _descend(objective, images, adversary, best, generator, inside)
            found.image_BCHW[left], found.right_B[left] = best.image_BCHW, best.right_B
        name = "phantom" if adversary.aim == "phantom" else loss
        by_loss[name] = torch.minimum(found.right_B, worst.right_B) if not left.all() else found.right_B
        worst.look(found.image_BCHW, found.right_B)
    return Attacked(worst.image_BCHW, worst.right_B, by_loss)


def _descend(
    objective: Objective,
    image_BCHW: Tensor,
    adversary: Adversary,
    best: Best,
    generator: torch.Generator,
    inside_BHW: Tensor | None,
) -> None:
    """APGD through SEA's shrinking radii, or at one; only iterates within epsilon are told to `best`."""
    phases = RADII if adversary.shrink else ((1.0, 1.0),)
    noise = torch.rand(image_BCHW.shape, generator=generator, device=image_BCHW.device) * 2 - 1
    current = image_BCHW + phases[0][1] * adversary.epsilon / 255 * noise
    behind = 0.0
    for share, factor in phases:
        current = apgd(
            objective,
            image_BCHW,
            epsilon=factor * adversary.epsilon,
            steps=max(1, round(share * adversary.steps)),
            start_BCHW=current,
            best=best if factor == 1.0 else None,
            inside_BHW=inside_BHW,
            done=(behind, behind + share),
        )
        behind += share
