"""Files that torch wrote, opened without running code from them, and without unpacking a bomb."""

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch


def read_tensors(path: Path) -> Any:
    """The contents of a file that `torch.save` wrote, on the CPU: tensors, numbers, and lists of them.

    Raises:
        pickle.UnpicklingError: it holds something else, which could run code.
        zipfile.BadZipFile: a part of it is damaged, or packed: torch packs none, and does not look.
        Exception: whatever else torch raises for a file that is cut or is none of its own.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for part in archive.infolist():
                if part.compress_type != zipfile.ZIP_STORED:
                    raise zipfile.BadZipFile(f"part {part.filename} is packed")
            damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"part {damaged} is damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the error says it
        return torch.load(path, map_location="cpu", weights_only=True)


def is_plain(tensor: object) -> bool:
    """Whether this is a tensor of real numbers that lie in memory, each its own: none sparse, none spread."""
    return (
        isinstance(tensor, torch.Tensor)
        and tensor.layout is torch.strided
        and not tensor.is_meta
        and not tensor.is_quantized
        and not tensor.is_complex()
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )
