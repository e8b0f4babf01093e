"""Universal perturbations for the study: crafted once and kept, and what a network is shown of one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from segmix_core.attacks import (
    CONTROLS,
    FITS,
    Perturbation,
    apply_perturbation,
    control_of,
    fit,
    read_perturbation,
    write_perturbation,
)
from segmix_core.attacks.gd_uap import GDUAP, KNOWLEDGE, craft_gd_uap
from segmix_core.attacks.perturbation import NOTHING, Control, Fit
from segmix_core.attacks.uap import UAP, craft_uap
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.errors import InputError
from segmix_core.experiments import nearest
from segmix_core.experiments.robustness import Study
from segmix_core.files import alone, file_digest, replacing
from segmix_core.models import load_model
from segmix_core.request import device_name
from segmix_core.rng import stream
from segmix_core.robustness.condition import attack_digest
from segmix_core.run import source_digest

Access = str
Crafting = UAP | GDUAP
Report = Callable[[int, int, dict[str, float]], None]

CRAFTED = ("uap", *(f"gd-uap-{knowledge}" for knowledge in KNOWLEDGE))
"""The attacks by which a universal perturbation can be crafted here."""


@dataclass(frozen=True)
class Shown:
    """A way of showing images: a perturbation, fitted to them somehow, or noise in its place."""

    perturbation: Perturbation
    fit: Fit = "resize"
    control: Control | None = None
    access: Access = "transfer"

    def perturb(self) -> Callable[[Tensor], Tensor]:
        """What `evaluate(..., perturb=)` takes, for images of one size.

        A control is made at that size: resized noise would lose most of its power.
        """
        fitted: dict[tuple[int, int], Tensor] = {}

        def shown(image_BCHW: Tensor) -> Tensor:
            height, width = image_BCHW.shape[-2:]
            if (height, width) not in fitted:
                one = self.perturbation
                one = replace(one, v_CHW=fit(one.v_CHW, height, width, mode=self.fit))
                if self.control is not None:
                    rng = stream(0, "control", one.name, self.control)
                    one = control_of(one, self.control, rng=rng)
                fitted[height, width] = one.v_CHW
            return apply_perturbation(image_BCHW, fitted[height, width])

        return shown

    def condition(self) -> dict[str, Any]:
        """What a row says of it."""
        return {
            "kind": "universal",
            "name": self.perturbation.name,
            "control": self.control,
            # The limit it was crafted within; a published one says none.
            "epsilon": self.perturbation.origin.get("epsilon", round(self.perturbation.epsilon, 2)),
            "severity": None,
            "aim": None,
            "access": self.access,
            "how": self.fit,
            "valid": True,
            "making": self.perturbation.origin | {"code": attack_digest("universal")[:12]},
        }


def ways(perturbation: Perturbation, *, access: Access, published: bool) -> Iterator[Shown]:
    """The perturbation itself and noise in its place; a published one in every way of fitting it."""
    for mode, control in fittings(published=published):
        yield Shown(perturbation, fit=mode, control=control, access=access)


def fittings(*, published: bool) -> Iterator[tuple[Fit, Control | None]]:
    """In which ways a perturbation is fitted, each with the noise in its place; None: the thing itself."""
    for mode in FITS if published else FITS[:1]:
        for control in (None, *CONTROLS):
            yield mode, control


def crafting(
    attack: str,
    *,
    size: int,
    epsilon: float = 10.0,
    study: Study | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> Crafting:
    """How a named attack crafts: at the length of a study, at its own, or for so many steps.

    Args:
        steps: of UAP the passes over its images, of GD-UAP the iterations; at most.

    Raises:
        InputError: no such attack.
    """
    if attack not in CRAFTED:
        raise nearest("attack", attack, CRAFTED)
    if attack == "uap":
        uap = UAP(size=size, epsilon=epsilon, seed=seed)
        if study is not None:
            uap = replace(uap, images=study.uap_images, passes=study.uap_passes)
        return uap if steps is None else replace(uap, passes=steps)
    knowledge = next(one for one in KNOWLEDGE if attack == f"gd-uap-{one}")
    gd_uap = GDUAP(knowledge=knowledge, size=size, epsilon=epsilon, seed=seed)
    if study is not None:
        gd_uap = replace(
            gd_uap,
            iterations=study.gd_uap_iterations,
            check_every=study.gd_uap_check_every,
            watched=study.gd_uap_watched,
        )
    if steps is None:
        return gd_uap
    every = min(gd_uap.check_every, steps)
    # Looking whether it gets on costs at most as much as crafting.
    return replace(
        gd_uap, iterations=steps, check_every=every, watched=max(1, min(gd_uap.watched, every // 2))
    )


def crafted(
    checkpoint: Path,
    how: Crafting,
    images: SegmentationDataset,
    folder: Path,
    *,
    output: str,
    device: str = "cpu",
    report: Report | None = None,
) -> Perturbation:
    """A perturbation crafted on the network of a checkpoint; from `folder` if it is there already.

    Crafting that was stopped goes on where it was. Beside the perturbation lies a picture of it.

    Args:
        checkpoint: of the network.
        how: the attack, its size in pixels, epsilon on the 0..255 scale, length and seed.
        images: of the training list, to craft on and to watch the fooling rate on.
        folder: of crafted perturbations; a file's name tells attack, network, output, images, device and
            code apart.
        output: "dominant" or "final": whose predictions are to change.
        device: where it is crafted.
        report: told what is done, of how much, and the best fooling rate so far in percent.

    Returns:
        v_CHW is (3, how.size, how.size), nowhere larger than `how.epsilon`.

    Raises:
        InputError: the checkpoint cannot be read, crafting on it diverges or changes nothing, the list has
            too few images, or the folder cannot be written to.
        KeyError: the network has no such output.
    """
    made_on = {"network": file_digest(checkpoint)[:16], "output": output}
    code = attack_digest("universal"), source_digest()
    decides = [asdict(how), made_on, images.digest(), device_name(device), code]
    identity = json.dumps(decides, sort_keys=True)
    stem = f"{how.name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    path = folder / f"{stem}.safetensors"
    with alone(folder):
        if not path.exists():
            model = load_model(checkpoint).to(device)
            craft: Callable[..., Perturbation] = craft_uap if isinstance(how, UAP) else craft_gd_uap
            made = craft(
                model,
                how,
                images,
                output=output,
                device=device,
                made_on=made_on,
                state=folder / f"{stem}.state",
                report=report,
            )
            if not np.isfinite(made.epsilon):
                raise InputError(checkpoint, f"{how.name} diverges on it", "name another checkpoint")
            if made.epsilon < NOTHING:
                raise InputError(
                    checkpoint,
                    f"no step of {how.name} changes this network",
                    "train it longer, or give a larger epsilon",
                )
            write_perturbation(path, made)
            with replacing(path.with_suffix(".png")) as temporary:
                Image.fromarray(picture_of(made)).save(temporary, format="PNG")
    return read_perturbation(path, name=how.name)


def picture_of(perturbation: Perturbation) -> np.ndarray:
    """A perturbation to look at: grey is nothing, the limit is black or full colour; uint8 (H, W, 3)."""
    shade = perturbation.v_CHW.permute(1, 2, 0).numpy() / (2 * perturbation.epsilon) + 0.5
    picture: np.ndarray = np.round(255 * shade).astype(np.uint8)
    return picture
