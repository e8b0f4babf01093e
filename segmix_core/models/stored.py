"""Opening a checkpoint: strictly, and without ever running code from it."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from segmix_core.errors import InputError
from segmix_core.models.separation import SourceSeparation

CHECKPOINT_FORMAT = 1
_PARTS = {"architecture", "model", "optimizer", "progress", "identity"}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint, on the CPU.

    Raises:
        InputError: no such file, empty or cut short, not a checkpoint of this project, or a pickle that
            would run code.
    """
    path = Path(path)
    advice = "name a checkpoint written by 'segmix train'"
    if not path.is_file():
        raise InputError(path, "no such checkpoint", advice)
    if path.stat().st_size == 0:
        raise InputError(path, "the checkpoint is empty", advice)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error below says it
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a cut archive or a hostile pickle
        what = "the checkpoint is cut short or damaged"
        if isinstance(error, pickle.UnpicklingError):
            what = "not a checkpoint of tensors and numbers alone; anything else could run code"
        raise InputError(path, what, advice) from error
    if (
        not isinstance(content, dict)
        or content.get("format") != CHECKPOINT_FORMAT
        or not content.keys() >= _PARTS
    ):
        raise InputError(path, "not a checkpoint of this project", advice)
    return content


def load_model(checkpoint_path: str | Path) -> SourceSeparation:
    """The network of a checkpoint, in evaluation mode. Strict: every tensor must fit.

    Raises:
        InputError: see `read_checkpoint`; or the weights do not fit the architecture named beside them, or
            are not finite.
    """
    content = read_checkpoint(checkpoint_path)
    model = build(content["architecture"])
    try:
        model.load_state_dict(content["model"], strict=True)
    except (RuntimeError, KeyError) as error:
        what = "the weights do not fit the architecture the checkpoint names"
        raise InputError(checkpoint_path, what, "name a checkpoint written by 'segmix train'") from error
    for name, tensor in model.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(checkpoint_path, f"{name} holds values that are not finite", "train it anew")
    return model.eval()


def build(architecture: dict[str, Any]) -> SourceSeparation:
    """The network that `SourceSeparation.architecture` describes, with random weights."""
    options = dict(architecture)
    rates = options.pop("aspp_rates")
    return SourceSeparation(
        options.pop("num_categories"), aspp_rates=(rates[0], rates[1], rates[2]), **options
    )
