"""Checkpoints: atomic, strict, openable without running code, and enough to go on exactly."""

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from segmix_core.errors import InputError
from segmix_core.files import replacing
from segmix_core.models import SourceSeparation, load_weights, read_checkpoint
from segmix_core.models.stored import CHECKPOINT_FORMAT
from segmix_core.models.tensors import is_plain


@dataclass
class Progress:
    """Where a run stands: all there is, as schedule and random streams are functions of seed and step."""

    step: int = 0  # steps done, over both stages
    seconds: float = 0.0  # of training, over all sittings
    losses: list[dict[str, float]] = field(default_factory=list)  # the curve, one entry each few steps


def save(
    path: Path,
    model: SourceSeparation,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    identity: dict[str, Any],
) -> None:
    """Write a checkpoint in one step: a process killed while writing leaves the one of before."""
    content = {
        "format": CHECKPOINT_FORMAT,
        "architecture": model.architecture,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": vars(progress),
        "identity": identity,
    }
    _write(path, content)


def _write(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # what torch makes of a write that failed
            if isinstance(error, torch.OutOfMemoryError) or "CUDA" in str(error):
                raise
            raise OSError(errno.EIO, "the disk is full or failing") from error


def restore(
    path: Path, model: SourceSeparation, optimizer: torch.optim.Optimizer, identity: dict[str, Any]
) -> Progress:
    """Load a checkpoint into model and optimizer.

    Raises:
        InputError: the file is damaged, or belongs to another run than `identity` names.
    """
    content = read_checkpoint(path)
    stored = {"device": identity.get("device")} | content["identity"]  # those of before do not name it
    differing = next(_differences(stored, identity), None)
    if differing is not None:
        raise InputError(
            path,
            f"belongs to another run: its {differing}",
            "resume with the options of that run, or choose another --out",
        )
    if content["architecture"] != model.architecture:
        raise InputError(path, "was written by another architecture", "resume with the options of that run")
    load_weights(model, content, path)
    own = optimizer.state_dict()["param_groups"]
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    if (
        not _fits(content["optimizer"], own, parameters)
        or content["progress"].keys() != vars(Progress()).keys()
    ):
        what = (
            "the checkpoint is damaged, or of another torch (its optimizer or progress is none of this run's)"
        )
        raise InputError(path, what, "remove it, and train anew")
    optimizer.load_state_dict(content["optimizer"])
    return Progress(**content["progress"])


def _fits(stored: dict[str, Any], own: list[dict[str, Any]], parameters: list[torch.Tensor]) -> bool:
    """Whether a stored state of the optimizer is one of a run with these groups, but for their rates."""

    def settings(groups: Any) -> Any:
        rates = ("lr", "initial_lr")
        return [{name: value for name, value in group.items() if name not in rates} for group in groups]

    groups, state = stored.get("param_groups"), stored.get("state")
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        return False
    if settings(groups) != settings(own) or not all(isinstance(group.get("lr"), float) for group in groups):
        return False
    return isinstance(state, dict) and all(
        key in range(len(parameters)) and isinstance(kept, dict) and _continues(kept, parameters[key])
        for key, kept in state.items()
    )


def _continues(kept: dict[str, Any], parameter: torch.Tensor) -> bool:
    """Whether what is kept of a parameter is a momentum that it can have."""
    momentum = kept.get("momentum_buffer")
    return kept.keys() == {"momentum_buffer"} and (
        momentum is None
        or (is_plain(momentum) and momentum.shape == parameter.shape and bool(momentum.isfinite().all()))
    )


def begin_after_stage1(stage1: Path, folder: Path, identity: dict[str, Any]) -> None:
    """Write the checkpoint of a run that stands at the end of a stage 1 that another run shares with it.

    Stage 2 begins from the weights alone: what follows is what it would be after a stage 1 of its own.

    Args:
        stage1: the other run's `stage1.pt`; the caller knows that the two agree up to there.
        identity: of the run that begins.

    Raises:
        InputError: the file is damaged, or is not about the end of this stage 1.
        WorkError: the disk is full.
    """
    content = read_checkpoint(stage1)
    if content["progress"]["step"] != identity["stage1_steps"]:
        raise InputError(stage1, "is not the end of this stage 1", "remove it")
    for name in ("stage1.pt", "checkpoint.pt"):
        _write(folder / name, content | {"identity": identity})


def _differences(stored: dict[str, Any], asked: dict[str, Any], within: str = "") -> Iterator[str]:
    # A group, such as the method, is held against its whole: factors at their default are not written.
    for key in (asked | stored) if within else asked:
        before, value = stored.get(key), asked.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            yield from _differences(before, value, f"{within}{key}.")
        elif before != value:
            yield f"{within}{key} is {before}, not {value}"
