"""The file from which a long crafting goes on where it was stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from segmix_core.errors import InputError
from segmix_core.files import replacing


def save_state(
    path: Path, identity: dict[str, Any], tensors: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    """Write tensors and numbers (JSON) in one step, with what must agree for them to be gone on from."""
    with replacing(path) as temporary:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            temporary,
            metadata={"state": json.dumps({"identity": identity, "numbers": numbers})},
        )


def read_state(
    path: Path, identity: dict[str, Any], *, device: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and numbers of `save_state`.

    Raises:
        InputError: another kind of file, or the state of something else than `identity` names.
    """
    try:
        with safe_open(path, framework="pt", device=device) as opened:
            stored = json.loads((opened.metadata() or {})["state"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            found, numbers = stored["identity"], stored["numbers"]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(path, "is no state of a crafting", "delete it to begin anew") from error
    if found != json.loads(json.dumps(identity)):
        raise InputError(path, "belongs to another crafting", "delete it, or give the same options")
    return tensors, numbers
