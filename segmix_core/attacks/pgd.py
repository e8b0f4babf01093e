"""Projected gradient ascent on images, and what every attack on single images is made of.

Sizes are on the 0..255 scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Judged:
    """What an objective says of the images it is shown."""

    raised_B: Tensor  # what the attack follows the gradient of, upwards
    watched_B: Tensor  # by which it sees whether it gets on
    right_B: Tensor  # share of the labelled pixels that are right, 0..1


Objective = Callable[[Tensor, Tensor, float], Judged]
"""(image_BCHW, label_BHW, share of the steps done) -> what it says of each image."""


def value_and_gradient(
    objective: Objective, image_BCHW: Tensor, label_BHW: Tensor, done: float
) -> tuple[Tensor, Judged]:
    """The gradient with respect to the images alone, (B, 3, H, W), and what the objective says of them."""
    with torch.enable_grad():
        image_BCHW = image_BCHW.detach().requires_grad_()
        judged = objective(image_BCHW, label_BHW, done)
        (gradient_BCHW,) = torch.autograd.grad(judged.raised_B.sum(), image_BCHW)
    return gradient_BCHW, judged


class Ball:
    """The images that an attack may show: within epsilon, within 0..1, changed inside the image alone.

    Args:
        image_BCHW: floats 0..1.
        epsilon: 0..255.
        inside_BHW: the pixels that may change, bool; all by default.
    """

    def __init__(self, image_BCHW: Tensor, epsilon: float, inside_BHW: Tensor | None) -> None:
        reach = epsilon / 255
        self.low, self.high = (image_BCHW - reach).clamp(min=0), (image_BCHW + reach).clamp(max=1)
        if inside_BHW is not None:
            inside = inside_BHW[:, None]
            self.low, self.high = (torch.where(inside, one, image_BCHW) for one in (self.low, self.high))

    def project(self, image_BCHW: Tensor) -> Tensor:
        """The nearest of them, floats (B, 3, H, W)."""
        return torch.clamp(image_BCHW, self.low, self.high)


def pgd(
    objective: Objective,
    image_BCHW: Tensor,
    label_BHW: Tensor,
    *,
    epsilon: float,
    step: float,
    steps: int,
    start_BCHW: Tensor | None = None,
    inside_BHW: Tensor | None = None,
) -> Tensor:
    """Projected gradient ascent with a fixed step (Madry et al. 2018): the last iterate, floats 0..1.

    Args:
        image_BCHW: floats 0..1.
        label_BHW: categories, 255 where nothing is labelled.
        epsilon, step: radius of the ball and length of a step, on the 0..255 scale.
        start_BCHW: where it starts, projected into the ball; by default at the images.
        inside_BHW: the pixels that may change, bool; all by default.
    """
    ball = Ball(image_BCHW, epsilon, inside_BHW)
    current = image_BCHW if start_BCHW is None else ball.project(start_BCHW)
    for number in range(steps):
        gradient_BCHW, _ = value_and_gradient(objective, current, label_BHW, number / steps)
        current = ball.project(current + step / 255 * gradient_BCHW.sign())
    return current
