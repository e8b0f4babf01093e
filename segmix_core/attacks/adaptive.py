"""Adaptive white-box attacks on single images: APGD, and the SEA protocol over several losses.

APGD is that of Croce and Hein (2020). The shrinking radius is that of SEA (Croce, Singh and Hein, "Towards
reliable evaluation and fast training of robust semantic segmentation models", 2024), and so are the losses
but for the last: the margin to the best other category stands for the score of the label alone. Sizes are
on the 0..255 scale. Every image of a batch has its own step size and its own worst iterate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from segmix_core.attacks.pgd import Ball, Judged, Objective, value_and_gradient
from segmix_core.models import Precision, SourceSeparation, autocast
from segmix_core.records import IGNORE_INDEX, Separation

Aim = Literal["dominant", "final", "joint", "phantom"]
AIMS: tuple[Aim, ...] = get_args(Aim)
"""What an attack raises the loss of: S_t, S_ss, their mean, or the activation of the phantom branch."""

Loss = Literal["masked-ce", "segpgd", "js", "margin"]
LOSSES: tuple[Loss, ...] = get_args(Loss)

RADII = ((0.3, 2.0), (0.6, 1.5), (1.0, 1.0))
"""SEA's phases: the share of the steps at which each ends, and its radius as a multiple of epsilon."""


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """What an attack aims at, how far it may go, and how long it tries.

    Raises:
        ValueError: an unknown aim or loss, no loss, no step, or a negative size.
    """

    aim: Aim = "dominant"
    epsilon: float  # L_inf, 0..255
    steps: int = 300  # for each loss
    losses: tuple[Loss, ...] = LOSSES
    shrink: bool = True  # from twice epsilon, as SEA; False: APGD at epsilon alone

    def __post_init__(self) -> None:
        if self.aim not in AIMS:
            raise ValueError(f"aim '{self.aim}' is not one of {', '.join(AIMS)}")
        if not self.losses or set(self.losses) - set(LOSSES):
            raise ValueError(f"losses {self.losses} are not some of {', '.join(LOSSES)}")
        if self.steps < 1:
            raise ValueError(f"{self.steps} steps are no attack")
        if not 0 <= self.epsilon < math.inf:
            raise ValueError(f"epsilon {self.epsilon} is not a size")


@dataclass(frozen=True)
class Attacked:
    """The worst found for each image of a batch."""

    image_BCHW: Tensor  # floats 0..1
    right_B: Tensor  # share of the labelled pixels that the measured output still gets right, 0..1
    by_loss: dict[str, Tensor]  # the same for each loss alone; 0 where an earlier loss had left nothing right


def available_aims(model: SourceSeparation) -> tuple[Aim, ...]:
    """The aims that a network's head allows: a plain head has S_t alone.

    A ReLU on the logits of S_ss hides gradients: where all are 0 there is none. That head is attacked at S_t
    and at both.
    """
    by_head: dict[str, tuple[Aim, ...]] = {
        "plain": ("dominant",),
        "no_ssh": ("dominant", "phantom"),
        "full": AIMS,
        "full_relu": ("dominant", "joint", "phantom"),
    }
    return by_head[str(model.architecture["head"])]


def losses_of(adversary: Adversary) -> tuple[Loss, ...]:
    """The losses that an attack goes through: what raises the phantom looks at no category, and has one."""
    return adversary.losses[:1] if adversary.aim == "phantom" else adversary.losses


def pixel_loss(
    loss: Loss, logits_BNHW: Tensor, label_BHW: Tensor, done: float = 0.0
) -> tuple[Tensor, Tensor]:
    """A loss of SEA, which an attack raises, and what tells whether it gets on: (B,), (B,).

    * "masked-ce": cross-entropy of the pixels that are still right;
    * "segpgd": cross-entropy, weighted 1 - lambda where right and lambda where wrong, lambda = `done` / 2 (Gu
      et al. 2022);
    * "js": Jensen-Shannon divergence between the softmax and the label;
    * "margin": how far the best other category is above the label's, over the norm of the logits, of the
      pixels that are still right.

    The first three are watched by the cross-entropy of all pixels, as SEA does: what a pixel adds to the
    first falls to nothing when it turns wrong, and the second changes its weights. The last is at most 0 and
    rises when a pixel turns wrong: it is watched by itself. Averages are over the pixels that are labelled;
    an image without any has loss 0.

    Args:
        done: the share of the steps that is behind, 0..1; in SEA of those of a phase.

    Raises:
        ValueError: an unknown loss, or a single category.
    """
    if logits_BNHW.shape[1] < 2:
        raise ValueError("these losses need at least two categories")
    valid_BHW = label_BHW != IGNORE_INDEX
    right_BHW = _right_pixels(logits_BNHW, label_BHW)
    if loss == "margin":
        label_B1HW = torch.where(valid_BHW, label_BHW, 0)[:, None]
        own_BHW = logits_BNHW.gather(1, label_B1HW)[:, 0]
        other_BHW = logits_BNHW.scatter(1, label_B1HW, -math.inf).amax(1)
        norm_BHW = logits_BNHW.square().sum(1).clamp(min=1e-24).sqrt()
        margin_B = _mean((other_BHW - own_BHW) / norm_BHW, right_BHW, valid_BHW)
        return margin_B, margin_B.detach()
    entropy_BHW = F.cross_entropy(logits_BNHW, label_BHW, ignore_index=IGNORE_INDEX, reduction="none")
    watched_B = _mean(entropy_BHW.detach(), valid_BHW, valid_BHW)
    if loss == "masked-ce":
        return _mean(entropy_BHW, right_BHW, valid_BHW), watched_B
    if loss == "segpgd":
        weighted_BHW = entropy_BHW * (right_BHW * (1 - done) + done / 2)
        return _mean(weighted_BHW, valid_BHW, valid_BHW), watched_B
    if loss == "js":
        p_BHW = (-entropy_BHW).exp()
        middle_BHW = torch.log1p(p_BHW) - math.log(2)  # log of the mean of softmax and label, at the label
        softmax_BHW = (1 - p_BHW) * math.log(2) - p_BHW * (entropy_BHW + middle_BHW)
        return _mean((softmax_BHW - middle_BHW) / 2, valid_BHW, valid_BHW), watched_B
    raise ValueError(f"loss '{loss}' is not one of {', '.join(LOSSES)}")


def _right_pixels(logits_BNHW: Tensor, label_BHW: Tensor) -> Tensor:
    """Where argmax is the label, the first of equals; on a CPU in a fraction of its time."""
    valid_BHW = label_BHW != IGNORE_INDEX
    label_B1HW = torch.where(valid_BHW, label_BHW, 0)[:, None]
    logits_BNHW = logits_BNHW.detach()
    highest_BNHW = logits_BNHW == logits_BNHW.amax(1, keepdim=True)
    category_N = torch.arange(logits_BNHW.shape[1], dtype=torch.uint8, device=logits_BNHW.device)
    earlier_BNHW = highest_BNHW & (category_N[:, None, None] < label_B1HW.to(torch.uint8))
    first_BHW = earlier_BNHW.sum(1, dtype=torch.uint8) == 0
    return highest_BNHW.gather(1, label_B1HW)[:, 0] & first_BHW & valid_BHW


def _mean(found_BHW: Tensor, counted_BHW: Tensor, valid_BHW: Tensor) -> Tensor:
    """The sum over what is counted, over the number of labelled pixels: (B,)."""
    return torch.where(counted_BHW, found_BHW, 0).sum((1, 2)) / valid_BHW.sum((1, 2)).clamp(min=1)


def right_share(logits_BNHW: Tensor, label_BHW: Tensor) -> Tensor:
    """The share of the labelled pixels that are right: (B,), 0..1; 0 where none is labelled."""
    valid_BHW = label_BHW != IGNORE_INDEX
    return _mean(_right_pixels(logits_BNHW, label_BHW).float(), valid_BHW, valid_BHW)


def aimed(
    separation: Separation, aim: Aim, loss: Loss, label_BHW: Tensor, done: float
) -> tuple[Tensor, Tensor]:
    """What an attack raises, and what it watches: (B,), (B,).

    The phantom branch is raised by the mean softplus of its scores where there are labels: l_PPA itself has
    no gradient where stage 2 has silenced the branch.

    Raises:
        ValueError: the head has not what `aim` names.
    """
    if aim == "phantom":
        if separation.phantom is None:
            raise ValueError("a plain head has no phantom branch to raise")
        valid_BHW = label_BHW != IGNORE_INDEX
        raised_B = _mean(F.softplus(separation.phantom).mean(1), valid_BHW, valid_BHW)
        return raised_B, raised_B.detach()
    outputs = separation.outputs()
    names = ("dominant", "final") if aim == "joint" else (aim,)
    if not outputs.keys() >= set(names):
        raise ValueError("without an SSH there is no final output to attack")
    raised, watched = zip(*(pixel_loss(loss, outputs[name], label_BHW, done) for name in names), strict=True)
    return torch.stack(raised).mean(0), torch.stack(watched).mean(0)


def objective_of(
    model: SourceSeparation, aim: Aim, loss: Loss, *, measured: str, precision: Precision = "fp32"
) -> Objective:
    """The objective of an aim and a loss; `measured` names the output whose right pixels count."""

    def objective(image_BCHW: Tensor, label_BHW: Tensor, done: float) -> Judged:
        with autocast(image_BCHW.device, precision):
            separation = model(image_BCHW)
        raised_B, watched_B = aimed(separation, aim, loss, label_BHW, done)
        return Judged(raised_B, watched_B, right_share(separation.outputs()[measured], label_BHW))

    return objective


def apgd(
    objective: Objective,
    image_BCHW: Tensor,
    label_BHW: Tensor,
    *,
    epsilon: float,
    steps: int,
    start_BCHW: Tensor,
    inside_BHW: Tensor | None = None,
    early_exit: bool = True,
) -> tuple[Tensor, Tensor]:
    """Auto-PGD (Croce and Hein 2020): ascent with momentum, whose step halves where it stops paying.

    Args:
        image_BCHW: floats 0..1.
        label_BHW: categories, 255 where nothing is labelled.
        epsilon: radius of the ball, on the 0..255 scale.
        start_BCHW: where it starts; projected into the ball.
        inside_BHW: the pixels that may change, bool; all by default.
        early_exit: leave an image as it is from the iterate on that has no right pixel.

    Returns:
        For each image the iterate with the fewest right pixels, of those the one with the highest watched
        loss, floats 0..1; and its share of right pixels, (B,).
    """
    ball = Ball(image_BCHW, epsilon, inside_BHW)
    current = previous = ball.project(start_BCHW)
    gradient, judged = value_and_gradient(objective, current, label_BHW, 0.0)
    loss_B, worst, least_B = judged.watched_B, current, judged.right_B
    worst_loss_B = loss_B
    highest, highest_gradient, highest_B = current, gradient, loss_B
    size_B = torch.full_like(loss_B, 2 * epsilon / 255)
    rises_B, at_check_B, halved_B = torch.zeros_like(loss_B), loss_B, torch.zeros_like(loss_B).bool()
    checks, before = _checkpoints(steps), 0
    for number in range(1, steps + 1):
        left = ((least_B > 0) | (not early_exit)).nonzero()[:, 0]
        if not len(left):
            break
        step = ball.project(current + _wide(size_B) * gradient.sign())
        if number > 1:
            step = ball.project(current + 0.75 * (step - current) + 0.25 * (current - previous))
        previous, current = current, step
        last_B = loss_B
        gradient, judged = _gradient_of(
            left, objective, current, label_BHW, number / steps, last=number == steps
        )
        loss_B, right_B = judged.watched_B, judged.right_B
        worse_B = (right_B < least_B) | ((right_B == least_B) & (loss_B > worst_loss_B))
        worst = torch.where(_wide(worse_B), current, worst)
        least_B, worst_loss_B = (
            torch.where(worse_B, right_B, least_B),
            torch.where(worse_B, loss_B, worst_loss_B),
        )
        rises_B = rises_B + (loss_B > last_B)
        higher_B = loss_B > highest_B
        highest = torch.where(_wide(higher_B), current, highest)
        highest_gradient = torch.where(_wide(higher_B), gradient, highest_gradient)
        highest_B = torch.where(higher_B, loss_B, highest_B)
        if number in checks:
            halved_B = (rises_B < 0.75 * (number - before)) | (~halved_B & (highest_B <= at_check_B))
            size_B = torch.where(halved_B, size_B / 2, size_B)
            current = torch.where(_wide(halved_B), highest, current)
            gradient = torch.where(_wide(halved_B), highest_gradient, gradient)
            loss_B = torch.where(halved_B, highest_B, loss_B)
            rises_B, at_check_B, before = torch.zeros_like(rises_B), highest_B, number
    return worst, least_B


def _checkpoints(steps: int) -> set[int]:
    """After which steps APGD looks whether to halve its step size.

    p_1 = 0.22, p_j+1 = p_j + max(p_j - p_j-1 - 0.03, 0.06), of the steps, rounded up. In whole hundredths:
    as floats, 0.57 of 100 steps would round up to 58.
    """
    found, last, now = set(), 0, 22
    while now <= 100:
        found.add(-(-now * steps // 100))
        last, now = now, now + max(now - last - 3, 6)
    return found


def _wide(value_B: Tensor) -> Tensor:
    return value_B[:, None, None, None]


def _gradient_of(
    left: Tensor, objective: Objective, image_BCHW: Tensor, label_BHW: Tensor, done: float, *, last: bool
) -> tuple[Tensor, Judged]:
    """`value_and_gradient` of the images `left`: the others have none, and the lowest loss.

    After the last step nobody asks for a gradient.
    """
    whole = len(left) == len(image_BCHW)
    image, label = (image_BCHW, label_BHW) if whole else (image_BCHW[left], label_BHW[left])
    if last:
        with torch.no_grad():
            gradient, judged = torch.zeros_like(image), objective(image, label, done)
    else:
        gradient, judged = value_and_gradient(objective, image, label, done)
    if whole:
        return gradient, judged
    loss_B, right_B = (
        one.new_full((len(image_BCHW),), worth).index_copy(0, left, one)
        for one, worth in ((judged.watched_B, -math.inf), (judged.right_B, 1.0))
    )
    return torch.zeros_like(image_BCHW).index_copy(0, left, gradient), Judged(loss_B, loss_B, right_B)


def attack(
    model: SourceSeparation,
    image_BCHW: Tensor,
    label_BHW: Tensor,
    adversary: Adversary,
    *,
    measured: str,
    generators: Sequence[torch.Generator],
    precision: Precision = "fp32",
    inside_BHW: Tensor | None = None,
    working: Callable[[float], None] = lambda share: None,
) -> Attacked:
    """The worst of several losses for each image of a batch; the losses share the clean forward pass.

    Images of which a loss leaves no pixel right are not attacked further. No gradient of a weight is
    computed, and the network is put into evaluation mode. What an image becomes does not depend on the
    others of its batch.

    Args:
        measured: the output whose right pixels count, "dominant" or "final".
        generators: draw the random starts, one for each image; on the device of the images.
        precision: of the search. What each loss found is judged in float32.
        inside_BHW: the pixels that may change, bool; all by default.
        working: told the share of the steps that is behind, 0..1, before each of them.

    Raises:
        ValueError: the head has not what `adversary.aim` or `measured` names.
    """
    if adversary.aim not in available_aims(model):
        raise ValueError(f"a head '{model.architecture['head']}' has no '{adversary.aim}' to attack")
    model.eval()
    with torch.no_grad():
        outputs = model(image_BCHW).outputs()
    if measured not in outputs:
        raise ValueError(f"a head '{model.architecture['head']}' has no output '{measured}' to measure")
    worst, right_B = image_BCHW.clone(), right_share(outputs[measured], label_BHW)
    clean_B = right_B.clone()
    by_loss: dict[str, Tensor] = {}
    losses = losses_of(adversary)
    steps = itertools.count()

    def counted(objective: Objective) -> Objective:
        def told(image_BCHW: Tensor, label_BHW: Tensor, done: float) -> Judged:
            working(min(1.0, next(steps) / (len(losses) * adversary.steps)))
            return objective(image_BCHW, label_BHW, done)

        return told

    for loss in losses:
        # Drawn for all, so that an image's start does not depend on which losses left it alone.
        noise_BCHW = torch.stack([_uniform(image_BCHW[0], generator) for generator in generators])
        found_B = torch.where(right_B > 0, clean_B, 0)
        left = (right_B > 0).nonzero()[:, 0]
        if len(left):
            found, least_B = _descend(
                counted(objective_of(model, adversary.aim, loss, measured=measured, precision=precision)),
                image_BCHW[left],
                label_BHW[left],
                adversary,
                noise_BCHW[left],
                None if inside_BHW is None else inside_BHW[left],
            )
            if precision != "fp32":
                with torch.no_grad():
                    least_B = right_share(model(found).outputs()[measured], label_BHW[left])
            found_B[left] = torch.minimum(least_B, clean_B[left])
            better = least_B < right_B[left]
            worst[left[better]], right_B[left[better]] = found[better], least_B[better]
        by_loss["phantom" if adversary.aim == "phantom" else loss] = found_B
    return Attacked(worst, right_B, by_loss)


def _uniform(like_CHW: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like_CHW.shape, generator=generator, device=like_CHW.device) * 2 - 1


def _descend(
    objective: Objective,
    image_BCHW: Tensor,
    label_BHW: Tensor,
    adversary: Adversary,
    noise_BCHW: Tensor,
    inside_BHW: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """APGD at one radius, or through SEA's shrinking ones; of the last, which is epsilon, is what it returns.

    Each phase starts from the worst of the one before, projected.
    """
    phases = RADII if adversary.shrink else RADII[-1:]
    current = image_BCHW + phases[0][1] * adversary.epsilon / 255 * noise_BCHW
    least_B = image_BCHW.new_ones(len(image_BCHW))
    behind = 0
    for share, factor in phases:
        # The last phase has a step at least: what the others find may be farther away than epsilon.
        until = adversary.steps if share == 1 else min(round(share * adversary.steps), adversary.steps - 1)
        if until > behind:
            current, least_B = apgd(
                objective,
                image_BCHW,
                label_BHW,
                epsilon=factor * adversary.epsilon,
                steps=until - behind,
                start_BCHW=current,
                inside_BHW=inside_BHW,
                early_exit=factor == 1,  # what breaks an image farther away need not break it at epsilon
            )
        behind = until
    return current, least_B
