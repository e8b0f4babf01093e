"""What must hold of attacked numbers before they say anything: each check returns what it found.

Numbers are per cent of the labelled pixels that are right, or another score in per cent that an attack
lowers; a number that is not a number passes no check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from segmix_core.attacks.adaptive import LOSSES, Aim, Loss, objective_of
from segmix_core.attacks.pgd import value_and_gradient
from segmix_core.experiments.robustness import TOLERANCE
from segmix_core.models import SourceSeparation

STEPS = (0.003, 0.01, 0.03, 0.1)
"""Steps of the finite differences, on the 0..255 scale."""


@dataclass(frozen=True)
class Check:
    """A check, whether it holds, and the numbers by which."""

    name: str
    holds: bool
    detail: str


def all_hold(checks: Mapping[str, Check]) -> Check:
    """One check in several cases: it holds if it does in each, and says what it found in each.

    Args:
        checks: by the name of the case, such as a size; one at least.
    """
    (name,) = {check.name for check in checks.values()}
    details = [f"{case}: {check.detail}" for case, check in checks.items()]
    return Check(name, all(check.holds for check in checks.values()), "; ".join(details))


def noise(image_BCHW: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """Images with random signs of size `epsilon` (0..255) added, clipped: floats 0..1.

    Args:
        generator: on the device of the images.
    """
    shape, device = image_BCHW.shape, image_BCHW.device
    signs = torch.randint(0, 2, shape, generator=generator, device=device, dtype=image_BCHW.dtype) * 2 - 1
    return (image_BCHW + epsilon / 255 * signs).clamp(0, 1)


def nothing_at_zero(clean: float, at_zero: float) -> Check:
    """An attack of size 0 changes nothing, to the last digit."""
    return Check("size 0 changes nothing", at_zero == clean, f"{at_zero:g} at 0, {clean:g} clean")


def never_helps(name: str, by_size: Mapping[float, float], *, tolerance: float = TOLERANCE) -> Check:
    """More of an attack, be it size or steps, never leaves more right.

    Args:
        name: what there is more of.
        by_size: the score by size, in any order.
        tolerance: by how much a score may rise above the lowest of all smaller sizes: attacks are heuristics.
    """
    title = f"more {name} never helps the defender"
    if len(by_size) < 2:
        return Check(title, False, "needs two sizes to compare")
    scores = [by_size[size] for size in sorted(by_size)]
    lowest = accumulate(scores, min)
    holds = all(after <= before + tolerance for before, after in zip(lowest, scores[1:], strict=False))
    told = ", ".join(f"{by_size[size]:g} at {size:g}" for size in sorted(by_size))
    return Check(title, holds, f"{told}; tolerance {tolerance:g}")


def noise_is_weaker(attacked: float, noise: float, *, by: float = 0.0) -> Check:
    """Random signs of the same size leave more right than the attack; if both leave nothing, neither tells.

    Args:
        by: what the attack must be ahead of noise, more than that. The worst of many iterates is a little
            ahead of one draw of noise even where gradients point nowhere; a small attack on a network that
            withstands it is no further ahead, so that this is asked at the largest size alone.
    """
    asked = f"; by more than {by:g} asked" if by else ""
    return Check(
        "noise of the same size is weaker",
        attacked + by < noise,
        f"{attacked:g} attacked, {noise:g} with noise{asked}",
    )


def unbounded_reaches_zero(attacked: float, *, at_most: float = 1.0) -> Check:
    """An attack that may do anything to a pixel leaves nothing right, or at most `at_most`."""
    return Check(
        "an unbounded attack reaches zero", attacked <= at_most, f"{attacked:g}; at most {at_most:g} allowed"
    )


def transfer_is_not_stronger(white_box: float, transfer: float, *, tolerance: float = TOLERANCE) -> Check:
    """What was made on another network leaves at least as much right as what was made on this one."""
    return Check(
        "transfer is not stronger",
        white_box <= transfer + tolerance,
        f"{white_box:g} white-box, {transfer:g} transfer; tolerance {tolerance:g}",
    )


def finite_and_unmasked(
    model: SourceSeparation,
    image_BCHW: Tensor,
    label_BHW: Tensor,
    *,
    aim: Aim = "dominant",
    loss: Loss = "js",
    generator: torch.Generator,
    tolerance: float = 0.25,
) -> Check:
    """Gradients are finite whatever the loss; that of `loss` is not zero, and says what it does along it.

    Each image with a right pixel is probed at a random point near it (random signs of size 1, clipped). The
    slope of the loss along the sign of its gradient, the sum of its sizes, must agree with central
    differences at one of `STEPS` at least: none of them suits every image, for small ones drown in rounding
    and large ones cross kinks.

    Args:
        loss: the masked ones jump where a pixel turns wrong, so that only small steps suit them.
        generator: on the device of the images.
        tolerance: of the ratio of the two slopes to 1.

    Raises:
        ValueError: the head has not what `aim` names.
    """
    title = "gradients are finite and not masked"
    model.eval()
    objective = objective_of(model, aim, loss, measured="final" if aim == "final" else "dominant")
    near_BCHW = noise(image_BCHW, 1.0, generator)
    gradient_BCHW, judged = value_and_gradient(objective, near_BCHW, label_BHW, 0.0)
    probed_B = judged.right_B > 0
    number = int(probed_B.sum())
    if not number:
        return Check(title, False, "no image has a right pixel to probe")
    slope_B = gradient_BCHW.abs().sum((1, 2, 3))[probed_B]
    for tried in LOSSES:
        other = objective_of(model, aim, tried, measured="final" if aim == "final" else "dominant")
        finite_B = (
            value_and_gradient(other, near_BCHW, label_BHW, 0.0)[0][probed_B].isfinite().flatten(1).all(1)
        )
        if not bool(finite_B.all()):
            return Check(title, False, f"{tried}: not finite for {int((~finite_B).sum())} of {number} images")
    if not bool((slope_B > 0).all()):
        return Check(title, False, f"{loss}: zero for {int((slope_B == 0).sum())} of {number} images")
    off = []
    with torch.no_grad():
        for size in STEPS:
            step_BCHW = size / 255 * gradient_BCHW.sign()
            up_B, down_B = (
                objective(near_BCHW + side * step_BCHW, label_BHW, 0.0).raised_B[probed_B] for side in (1, -1)
            )
            off.append(((up_B - down_B) / (2 * size / 255) / slope_B - 1).abs())
    worst = float(torch.stack(off).amin(0).max())
    told = f"slopes differ by {100 * worst:.1f} % at most over {number} images; {100 * tolerance:g} % allowed"
    return Check(title, worst <= tolerance, f"{loss}: {told}")
