"""UAP (Moosavi-Dezfooli et al. 2017) against a segmenter: minimal steps for one image after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segmix_core.attacks.fooling import FOOLING_RATE, Watched
from segmix_core.attacks.perturbation import Perturbation
from segmix_core.attacks.state import read_state, save_state
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.models import SourceSeparation
from segmix_core.rng import stream


@dataclass(frozen=True, kw_only=True)
class UAP:
    """How a perturbation is crafted. Lengths are pixels, sizes are on the 0..255 scale."""

    size: int = 513
    epsilon: float = 10.0
    goal: float = 0.8  # share of pixels to be changed: of an image for it to be passed over, of all to stop
    passes: int = 10
    candidates: int = 10  # categories towards which a step is tried
    overshoot: float = 0.02
    steps: int = 10  # at most, for one image
    images: int = 100  # of the training list
    seed: int = 0

    @property
    def name(self) -> str:
        """What rows call it."""
        return "uap"


def craft_uap(
    model: SourceSeparation,
    how: UAP,
    images: SegmentationDataset,
    *,
    output: str = "dominant",
    device: str = "cpu",
    made_on: dict[str, Any] | None = None,
    state: Path | None = None,
    report: Callable[[int, int, dict[str, float]], None] | None = None,
) -> Perturbation:
    """Craft a perturbation that changes most pixels of most images.

    Each pass visits the images in a new order. One whose pixels are not yet changed to the share `goal` gets
    a DeepFool step (`deepfool_segmentation`), and the sum is clipped to the limit. It ends when the goal is
    met over all images, or after `passes`; the best pass is kept.

    Args:
        images, output, made_on, state, report: see `craft_gd_uap`; the state is written after every image.

    Returns:
        The perturbation of the best pass, (3, size, size).

    Raises:
        InputError: `state` belongs to another crafting.
    """
    model.eval()
    number = min(how.images, len(images))
    chosen = stream(how.seed, "uap", "images").permutation(len(images))[:number]
    watched = Watched.of(model, output, images, chosen, size=how.size, device=device)
    making = _Making(how, device, state, {"output": output, "data": images.digest(), "made_on": made_on})
    while making.visits < how.passes * number and making.best_rate < how.goal:
        turn, position = divmod(making.visits, number)
        index = int(stream(how.seed, "uap", "order", turn).permutation(number)[position])
        image_CHW = watched.image_BHWC[index].permute(2, 0, 1).float().div_(255)
        making.v = deepfool_segmentation(
            model,
            image_CHW,
            watched.clean_BHW[index],
            watched.inside_BHW[index],
            making.v,
            how,
            output=output,
        )
        making.v.clamp_(-how.epsilon, how.epsilon)
        making.visits += 1
        if position == number - 1:
            making.check(watched.fooling_rate(making.v))
        if state is not None:
            making.save(state)
        if report is not None:
            report(making.visits, how.passes * number, {FOOLING_RATE: 100 * max(0.0, making.best_rate)})
    if state is not None:
        state.unlink(missing_ok=True)
    origin = (made_on or {}) | {
        "attack": "uap",
        **asdict(how),
        "passes": making.visits // number,
        "images": number,
        "fooling_rate": round(100 * making.best_rate, 2),
        "data": images.digest(),
    }
    return Perturbation(how.name, making.best.cpu(), origin)


def deepfool_segmentation(
    model: SourceSeparation,
    image_CHW: Tensor,
    clean_HW: Tensor,
    inside_HW: Tensor,
    v_CHW: Tensor,
    how: UAP,
    *,
    output: str = "dominant",
) -> Tensor:
    """`v_CHW` with the smallest steps added that change an image's pixels to the share `how.goal`.

    DeepFool (Moosavi-Dezfooli et al. 2016) asks for the nearest decision boundary of one prediction. Here the
    prediction is that of all pixels not yet changed: f_k is their mean score of category k minus that of the
    category they have (f_k < 0), and the step is -f_k w_k / (w_k . w_k) with w_k the gradient of f_k, for the
    category k that needs the shortest one.

    Args:
        image_CHW: floats 0..1.
        clean_HW: the clean prediction, integers.
        inside_HW: what is picture and not padding, bool.
        v_CHW: the perturbation so far, on the 0..255 scale.
    """
    v_CHW = v_CHW.clone()
    for _ in range(how.steps):
        added_CHW = v_CHW.clone().requires_grad_()
        shown_CHW = torch.where(inside_HW, (image_CHW + added_CHW / 255).clamp(0, 1), image_CHW)
        logits_NHW = model(shown_CHW[None]).outputs()[output][0]
        unchanged_HW = (logits_NHW.argmax(0) == clean_HW) & inside_HW
        pixels = int(inside_HW.sum())
        if (pixels - int(unchanged_HW.sum())) / pixels >= how.goal:
            return v_CHW
        own = logits_NHW.gather(0, clean_HW.long()[None])[0]
        margin_NP = (logits_NHW - own)[:, unchanged_HW]
        margins_N = margin_NP.mean(1)
        # A category that is every unchanged pixel's own has no boundary to cross.
        others = (margin_NP.detach() != 0).any(1).nonzero()[:, 0]
        nearest = others[margins_N.detach()[others].topk(min(how.candidates, len(others))).indices]
        if not len(nearest):
            return v_CHW
        each = torch.eye(len(margins_N), device=v_CHW.device)[nearest]
        (gradient_KCHW,) = torch.autograd.grad(margins_N, added_CHW, each, is_grads_batched=True)
        length_K = gradient_KCHW.flatten(1).norm(dim=1)
        distance_K = margins_N.detach()[nearest].abs() / length_K
        distance_K = torch.where(length_K > 0, distance_K, torch.inf)
        shortest = int(distance_K.argmin())
        if not bool(distance_K[shortest].isfinite()):
            return v_CHW
        step_CHW = gradient_KCHW[shortest] * (distance_K[shortest] / length_K[shortest])
        v_CHW += (1 + how.overshoot) * step_CHW
    return v_CHW


class _Making:
    """Where crafting stands; all of it is in the state file."""

    def __init__(self, how: UAP, device: str, state: Path | None, of: dict[str, Any]) -> None:
        self.identity = {"attack": "uap", **asdict(how), **of}
        self.v = torch.zeros(3, how.size, how.size, device=device)
        self.best, self.best_rate, self.visits = self.v.clone(), -1.0, 0
        if state is not None and state.exists():
            self._restore(state, device)

    def check(self, rate: float) -> None:
        """Keep the perturbation if it changes more than any before."""
        if rate > self.best_rate:
            self.best, self.best_rate = self.v.clone(), rate

    def save(self, path: Path) -> None:
        """Write the state."""
        numbers = {"best_rate": self.best_rate, "visits": self.visits}
        save_state(path, self.identity, {"v": self.v, "best": self.best}, numbers)

    def _restore(self, path: Path, device: str) -> None:
        tensors, numbers = read_state(path, self.identity, device=device)
        self.v, self.best = tensors["v"], tensors["best"]
        self.best_rate, self.visits = numbers["best_rate"], numbers["visits"]
