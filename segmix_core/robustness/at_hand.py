"""Universal perturbations that need not be crafted: as published, or committed with this repository."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from segmix_core import results
from segmix_core.attacks import Perturbation, read_perturbation
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.errors import InputError
from segmix_core.experiments.robustness import STUDIES, Universal
from segmix_core.request import Request
from segmix_core.robustness.universal import crafting

COMMITTED = results.REPOSITORY / "data" / "perturbations"
"""Crafted perturbations by data set and scale, such as silhouettes-mini/uap.safetensors."""

_STOPPED_EARLY = ("iterations", "passes")
"""Of a crafting what it says of itself may be less than was asked for."""

_ROUNDING = 0.01
"""Of a published file's largest value."""


def at_hand(
    universal: Universal, request: Request, training: SegmentationDataset, folder: Path | None
) -> Perturbation | None:
    """A perturbation as published or else committed; None where it has to be crafted.

    Args:
        training: the images that it would be crafted on.
        folder: of published ones, if a user named one.

    Raises:
        InputError: as of `published` and `committed`.
    """
    found = None if folder is None else published(folder, universal)
    return committed(universal.name, request, training) if found is None else found


def is_published(perturbation: Perturbation | None) -> bool:
    """Whether it says of no attack here that it made it."""
    return perturbation is not None and "attack" not in perturbation.origin


def published(folder: Path, universal: Universal) -> Perturbation | None:
    """A published perturbation from the folder that a user named.

    Returns:
        None for one that is crafted, if the folder holds no `or_file` to be shown instead.

    Raises:
        InputError: it is not there, cannot be read, or is not of its published size.
    """
    file = universal.file or universal.or_file
    if file is None or (universal.file is None and not (folder / file).exists()):
        return None
    path = folder / file
    if not path.is_file():
        raise InputError(path, "no such perturbation", f"put {file} there, or name no folder")
    found = read_perturbation(path, scale="pixel", name=universal.name)
    if abs(found.epsilon - universal.epsilon) > _ROUNDING:
        in_units_of_1 = abs(255 * found.epsilon - universal.epsilon) <= _ROUNDING
        raise InputError(
            path,
            f"its largest value is {found.epsilon:.4g}, and {universal.epsilon:g} of 255 was published",
            "multiply it by 255: it is in units of 1" if in_units_of_1 else "restore the file as published",
        )
    return found


def committed(attack: str, request: Request, training: SegmentationDataset) -> Perturbation | None:
    """The perturbation of the repository that was crafted on such images in such a way; None without one.

    Processors round differently, and a surrogate that was trained on another one is another network: only
    with the same file are rows of two machines rows of one perturbation.

    Raises:
        InputError: the file is there and cannot be read.
    """
    path = COMMITTED / f"{request.dataset}-{request.scale.name}" / f"{attack}.safetensors"
    if not path.is_file():
        return None
    found = read_perturbation(path, name=attack)
    how = asdict(crafting(attack, size=request.eval_crop, study=STUDIES[request.scale.name]))
    asked = {name: value for name, value in how.items() if name not in _STOPPED_EARLY}
    asked |= {"data": training.digest()}
    return found if asked.items() <= found.origin.items() else None
