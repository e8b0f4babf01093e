"""Opening a checkpoint: strictly, and without ever running code from it."""

import pickle
from pathlib import Path
from typing import Any

import torch

from segmix_core.errors import InputError
from segmix_core.experiments.factors import Method
from segmix_core.models.separation import SourceSeparation
from segmix_core.models.tensors import is_plain, read_tensors

CHECKPOINT_FORMAT = 1
_PARTS = {"architecture", "model", "optimizer", "progress", "identity"}
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "progress": {"step": int, "seconds": (int, float), "losses": list},
    "identity": {"method": dict, "scale": dict, "stage1_steps": int, "stage2_steps": int},
    "scale": {"name": str, "eval_crop": int, "silhouettes": (list, tuple)},
}
"""What is read of a checkpoint, but for its tensors; each number is in 0.._MOST."""

_MOST = 10**12
_LARGEST_CROP = 4096  # pixels
_PARTS_OF_IDENTITY = 10_000


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
        content = read_tensors(path)
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
    damaged = _damaged_part(content)
    if damaged is not None:
        raise InputError(path, f"the checkpoint is damaged ({damaged} is not as it was written)", advice)
    return content


def _damaged_part(content: dict[str, Any]) -> str | None:
    """The part of a checkpoint that is not as it is written; None: all are whole."""
    parts = {name: content[name] for name in sorted(_PARTS)}
    for name, part in parts.items():
        if not isinstance(part, dict):
            return name
    for name, tensor in parts["model"].items():
        if not (isinstance(name, str) and is_plain(tensor)):
            return "model"
    if not _is_short(parts["identity"]):
        return "identity"
    parts["scale"] = parts["identity"].get("scale")
    for name, fields in _FIELDS.items():
        part = parts[name]
        for field, kind in fields.items():
            value = part.get(field) if isinstance(part, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                return f"{field} of {name}"
            if isinstance(value, int | float) and not 0 <= value < _MOST:
                return f"{field} of {name}"
    crop, generated = parts["scale"]["eval_crop"], parts["scale"]["silhouettes"]
    if not 1 <= crop <= _LARGEST_CROP or not _are_counts(generated) or len(generated) != 3:
        return "scale"
    if not _are_counts(rates := parts["architecture"].get("aspp_rates")) or 0 in rates:
        return "aspp_rates of architecture"
    try:
        Method.stored(parts["identity"]["method"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return "method of identity"
    return None


def _are_counts(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(
        isinstance(one, int) and not isinstance(one, bool) and 0 <= one < _MOST for one in values
    )


def _is_short(value: Any) -> bool:
    """Whether a value is made of few parts: one list, put into itself forty times, is a trillion."""
    waiting, looked = [value], 0
    while waiting:
        one = waiting.pop()
        looked += 1
        if looked > _PARTS_OF_IDENTITY or (isinstance(one, str) and len(one) > _PARTS_OF_IDENTITY):
            return False
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one
    return True


def load_model(checkpoint_path: str | Path) -> SourceSeparation:
    """The network of a checkpoint, in evaluation mode. Strict: every tensor must fit.

    Raises:
        InputError: see `read_checkpoint`; or the weights do not fit the architecture named beside them, or
            are not finite.
    """
    content = read_checkpoint(checkpoint_path)
    try:
        model = build(content["architecture"])
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        what = "names an architecture that cannot be built"
        raise InputError(checkpoint_path, what, "name a checkpoint written by 'segmix train'") from error
    load_weights(model, content, checkpoint_path)
    return model.eval()


def load_weights(model: SourceSeparation, content: dict[str, Any], path: str | Path) -> None:
    """Load what `read_checkpoint` found in `path` into a network, strictly.

    Raises:
        InputError: the weights do not fit the network, or are not finite.
    """
    try:
        model.load_state_dict(content["model"], strict=True)
    except RuntimeError as error:
        what = "the weights do not fit the architecture the checkpoint names"
        raise InputError(path, what, "name a checkpoint written by 'segmix train'") from error
    for name, tensor in model.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(path, f"{name} holds values that are not finite", "train it anew")


def build(architecture: dict[str, Any]) -> SourceSeparation:
    """The network that `SourceSeparation.architecture` describes, with random weights."""
    options = dict(architecture)
    rates = options.pop("aspp_rates")
    return SourceSeparation(
        options.pop("num_categories"), aspp_rates=(rates[0], rates[1], rates[2]), **options
    )
