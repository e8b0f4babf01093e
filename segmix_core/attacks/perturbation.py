"""Universal perturbations: reading the published forms, fitting them to an image, and their controls."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from scipy.io import loadmat, whosmat
from torch import Tensor
from torch.nn import functional as F

from segmix_core.errors import InputError
from segmix_core.files import file_digest, parse_json, replacing
from segmix_core.models.tensors import read_tensors

Scale = Literal["pixel", "unit"]
Fit = Literal["resize", "tile", "center_pad"]
Control = Literal["signs of the same size", "signs of the same RMS", "shuffled"]

FITS: tuple[Fit, ...] = get_args(Fit)
CONTROLS: tuple[Control, ...] = get_args(Control)

FORMS = (".mat", ".npy", ".pth", ".pt", ".safetensors")
_KEY = "perturbation"  # of the tensor in a file of ours
NOTHING = 1e-6  # a largest value that is none on any scale
_MOST = 3 * 4096**2  # numbers in a perturbation
_KINDS = ("F16", "F32", "F64")  # of numbers in a file of ours
_SLACK = 1e-3  # of 255: rounding that a stated epsilon forgives


@dataclass(frozen=True)
class Perturbation:
    """A universal perturbation and where it comes from."""

    name: str
    v_CHW: Tensor  # float32, RGB, on the 0..255 scale
    origin: dict[str, Any]  # what is known of its making, for a result row: JSON

    @property
    def epsilon(self) -> float:
        """Its largest size at any pixel and channel, on the 0..255 scale."""
        return float(self.v_CHW.abs().max())

    @property
    def rms(self) -> float:
        """Its root mean square, on the 0..255 scale."""
        return float(self.v_CHW.square().mean().sqrt())

    def scaled_to(self, epsilon: float) -> Perturbation:
        """The same pattern with `epsilon` as its largest size."""
        origin = self.origin | {"epsilon": epsilon, "rescaled_from": round(self.epsilon, 4)}
        return replace(self, v_CHW=self.v_CHW * (epsilon / self.epsilon), origin=origin)


def load_perturbation(path: Path | str, *, scale: Scale | None = None) -> Tensor:
    """The tensor of `read_perturbation`: float32 (3, H, W), RGB, on the 0..255 scale.

    Args:
        path: a .mat, .npy, .pth, .pt or .safetensors file.
        scale: of the file: "pixel" is 0..255, "unit" is 0..1 and multiplied by 255. None takes 0..255 and,
            but for what was crafted here, refuses values that are all within -1..1.

    Raises:
        InputError: see `read_perturbation`.
    """
    return read_perturbation(Path(path), scale=scale).v_CHW


def read_perturbation(path: Path, *, scale: Scale | None = None, name: str | None = None) -> Perturbation:
    """Read a universal perturbation in one of the forms that are published, or one that was crafted here.

    * `.mat`: key `r`, width x height x channel (Moosavi-Dezfooli et al. 2017), read by scipy.
    * `.npy`: (1, 3, H, W) or (3, H, W), or with the channel last, read without pickle.
    * `.pth`, `.pt`: the same as a tensor, or as the only tensor of a dictionary, read as weights only.
    * `.safetensors`: what `write_perturbation` wrote, with its making and its name.

    A shape with a 3 at either end counts as channel first. Files do not say their channel order: RGB is
    taken, and the origin says so.

    Args:
        scale: "pixel" where the file is on the 0..255 scale, "unit" where it is on 0..1. None decides by
            the size, and refuses what could be either.

    Raises:
        InputError: no such file, another form or rank, no pixel, NaN, all zero, beyond 255 or its stated
            epsilon; or no `scale` for a file whose values are all within -1..1.
    """
    if not path.is_file():
        raise InputError(path, "no such perturbation", f"name a file of the form {', '.join(FORMS)}")
    stated: dict[str, Any] = {}
    form = path.suffix.lower()
    if form == ".mat":
        found, layout = _matlab(path)
    elif form == ".npy":
        found, layout = _numpy(path)
    elif form in (".pth", ".pt"):
        found, layout = _torch(path)
    elif form == ".safetensors":
        found, layout, stated = _crafted(path)
    else:
        raise InputError(path, f"a file of the form '{path.suffix}'", f"give {', '.join(FORMS)}")
    if not found.size:
        raise _wrong_shape(path, found.shape, "3 x H x W with pixels in it")
    if not np.isfinite(found).all():
        raise InputError(path, "holds values that are not finite", "restore the file")
    size = float(np.abs(found).max(initial=0))
    if size < NOTHING:
        raise InputError(path, "is zero everywhere", "restore the file")
    if scale is None and not stated and size <= 1:
        raise InputError(
            path,
            f"its largest value is {size:.4g}, which may be on the scale 0..1 or 0..255",
            "say which: scale 'unit' (times 255) or 'pixel' (--perturbation-scale)",
        )
    factor = 255 if scale == "unit" else 1
    size *= factor
    if size > 255:
        raise InputError(path, f"its largest value is {size:.4g}, beyond 255", "check the scale of the file")
    found = found.astype(np.float32) * np.float32(factor)
    epsilon = stated.get("epsilon")
    if epsilon is not None and not size <= epsilon + _SLACK:
        raise InputError(
            path, f"its largest value is {size:.4g}, beyond its stated epsilon {epsilon:g}", "craft it anew"
        )
    written_as = stated.pop("name", path.stem)
    checked = {
        "file": path.name,
        "sha256": file_digest(path),
        "layout": layout,
        "scale": scale or "pixel",
    }
    origin = checked | stated | checked  # the file says how it was made, and not what was found of it
    return Perturbation(name or written_as, torch.from_numpy(np.ascontiguousarray(found)), origin)


def _matlab(path: Path) -> tuple[np.ndarray, str]:
    found = None
    try:
        shapes = {name: shape for name, shape, _ in whosmat(path, appendmat=False)}
        if "r" in shapes and math.prod(shapes["r"]) <= _MOST:  # nothing else is unpacked, nor a bomb
            found = loadmat(path, appendmat=False, variable_names=["r"])["r"]
    except Exception as error:  # scipy raises a dozen kinds for a file that is cut or damaged
        raise InputError(path, "is no whole .mat file", "restore the file") from error
    if "r" not in shapes:
        names = ", ".join(sorted(shapes)) or "nothing"
        raise InputError(path, f"has no key 'r', but {names}", "give a perturbation as published")
    if found is None:
        raise _too_large(path)
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
        raise _wrong_numbers(path, getattr(found, "dtype", type(found).__name__))
    if found.ndim != 3 or found.shape[2] != 3:
        raise _wrong_shape(path, found.shape, "width x height x 3")
    return found.transpose(2, 1, 0), "width x height x channel, RGB"


def _numpy(path: Path) -> tuple[np.ndarray, str]:
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)  # its header alone, so far
        found = np.array(stored) if stored.size <= _MOST else None
    except Exception as error:  # numpy raises half a dozen kinds for a header that is cut or damaged
        raise InputError(path, "is no whole .npy file of numbers", "restore the file") from error
    if found is None:
        raise _too_large(path)
    return _channel_first(path, found)


def _torch(path: Path) -> tuple[np.ndarray, str]:
    try:
        content = read_tensors(path)
    except Exception as error:  # what it raises for files that are cut, or would run code, varies
        raise InputError(
            path, "is no whole file of tensors, or would run code", "save the tensor alone, by torch.save"
        ) from error
    if isinstance(content, dict):
        tensors = [value for value in content.values() if isinstance(value, Tensor)]
        content = tensors[0] if len(tensors) == 1 else None
    if not isinstance(content, Tensor):
        raise InputError(path, "does not hold one tensor", "save the tensor alone, by torch.save")
    if not content.is_floating_point() or content.layout is not torch.strided or content.is_meta:
        raise _wrong_numbers(path, f"{content.dtype} ({content.layout}, {content.device})")
    if content.numel() > _MOST:  # a few bytes can be spread over any shape
        raise _too_large(path)
    return _channel_first(path, content.detach().double().numpy())


def _crafted(path: Path) -> tuple[np.ndarray, str, dict[str, Any]]:
    try:
        with safe_open(path, framework="numpy") as opened:
            held = opened.get_slice(_KEY)
            kind, size = held.get_dtype(), math.prod(held.get_shape())
            found = opened.get_tensor(_KEY) if kind in _KINDS and size <= _MOST else None
            stated = parse_json((opened.metadata() or {})["making"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(path, "is no perturbation that was crafted here", "craft it anew") from error
    if found is None:
        raise _too_large(path) if size > _MOST else _wrong_numbers(path, kind)
    if found.ndim != 3 or found.shape[0] != 3:
        raise _wrong_shape(path, found.shape, "3 x height x width")
    epsilon = stated.get("epsilon") if isinstance(stated, dict) else None
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not 0 < epsilon <= 255:
        raise InputError(path, "does not say its epsilon, of 0..255", "craft it anew")
    if not isinstance(stated.get("name", ""), str):
        raise InputError(path, "has a name that is no text", "craft it anew")
    return found, "channel x height x width, RGB", stated


def _channel_first(path: Path, found: np.ndarray) -> tuple[np.ndarray, str]:
    if found.dtype.kind != "f":
        raise _wrong_numbers(path, found.dtype)
    single = found[0] if found.ndim == 4 and len(found) == 1 else found
    if single.ndim == 3 and single.shape[0] == 3:
        return single, "channel x height x width, taken as RGB"
    if single.ndim == 3 and single.shape[2] == 3:
        return single.transpose(2, 0, 1), "height x width x channel, taken as RGB"
    raise _wrong_shape(path, found.shape, "3 x H x W or H x W x 3, with or without a 1 before it")


def _wrong_numbers(path: Path, kind: object) -> InputError:
    return InputError(path, f"holds {kind}", "save plain floating-point numbers")


def _too_large(path: Path) -> InputError:
    return InputError(path, f"holds more than {_MOST} numbers", "restore the file, or give a smaller one")


def _wrong_shape(path: Path, shape: tuple[int, ...], wanted: str) -> InputError:
    return InputError(path, f"an array of {' x '.join(map(str, shape)) or 'no axis'}", f"give {wanted}")


def write_perturbation(path: Path, perturbation: Perturbation) -> None:
    """Write a perturbation as .safetensors, its making (JSON) in the header.

    The epsilon that it states is that of its making, and its own size where that says none.
    """
    said = {"epsilon": perturbation.epsilon} | perturbation.origin | {"name": perturbation.name}
    making = json.dumps(said, sort_keys=True)
    with replacing(path) as temporary:
        save_file({_KEY: perturbation.v_CHW.contiguous()}, temporary, metadata={"making": making})


def fit(v_CHW: Tensor, height: int, width: int, *, mode: Fit = "resize") -> Tensor:
    """A perturbation at the size of an image: (3, height, width), nowhere larger than before.

    The paper does not say how 224 x 224 pixels meet 513 x 513; the mode is part of a result.

    Args:
        mode: "resize" is bilinear; "tile" repeats it from the upper left corner; "center_pad" sets it in
            the middle and leaves the rest alone (of a larger one, the middle is cut out).

    Raises:
        ValueError: an unknown mode.
    """
    if mode == "resize":
        size = (height, width)
        resized = F.interpolate(v_CHW[None], size=size, mode="bilinear", align_corners=False)[0]
        bound = v_CHW.abs().max()
        return resized.clamp(-bound, bound)
    if mode == "tile":
        rows = torch.arange(height, device=v_CHW.device) % v_CHW.shape[1]
        columns = torch.arange(width, device=v_CHW.device) % v_CHW.shape[2]
        return v_CHW[:, rows][:, :, columns]
    if mode == "center_pad":
        middle = v_CHW[:, _middle(v_CHW.shape[1], height)][:, :, _middle(v_CHW.shape[2], width)]
        fitted = v_CHW.new_zeros(3, height, width)
        fitted[:, _middle(height, v_CHW.shape[1]), _middle(width, v_CHW.shape[2])] = middle
        return fitted
    raise ValueError(f"mode '{mode}' is not one of {', '.join(FITS)}")


def _middle(whole: int, part: int) -> slice:
    first = max(0, (whole - part) // 2)
    return slice(first, first + min(whole, part))


def apply_perturbation(image_BCHW: Tensor, v: Tensor, *, mode: Fit = "resize") -> Tensor:
    """Add a perturbation to every image of a batch and clip to what a pixel can be.

    Args:
        image_BCHW: floats 0..1, (B, 3, height, width).
        v: float32 (3, H, W) of any size, RGB, on the 0..255 scale.
        mode: how it is brought to height x width; see `fit`.

    Returns:
        Floats 0..1, a new tensor (B, 3, height, width).

    Raises:
        ValueError: an unknown mode.
    """
    height, width = image_BCHW.shape[-2:]
    fitted = fit(v.to(image_BCHW.device), height, width, mode=mode)
    return image_BCHW.add(fitted, alpha=1 / 255).clamp_(0, 1)


def control_of(perturbation: Perturbation, control: Control, *, rng: np.random.Generator) -> Perturbation:
    """Noise that shares a property with a perturbation: what does not beat it is noise, not an attack.

    Give it a perturbation that has the size of the images already (`fit`). Resizing afterwards averages
    neighbours, which takes far more from noise than from a smooth pattern: the sizes would differ.

    The noise lies where the perturbation does: of one that is padded, the padding stays untouched.

    Args:
        control: random signs times its largest size, or times its root mean square there; or its own pixels
            in another place, each with its three channels.

    Raises:
        ValueError: an unknown control.
    """
    v_CHW = perturbation.v_CHW
    inside_HW = (v_CHW != 0).any(0)
    v_CP = v_CHW[:, inside_HW]
    if control == "shuffled":
        noise_CP = v_CP[:, torch.from_numpy(rng.permutation(v_CP.shape[1]))]
    elif control in CONTROLS:
        size = v_CP.abs().max() if control == "signs of the same size" else v_CP.square().mean().sqrt()
        signs = rng.integers(0, 2, size=tuple(v_CP.shape)) * 2 - 1
        noise_CP = torch.from_numpy(signs.astype(np.float32)) * size
    else:
        raise ValueError(f"control '{control}' is not one of {', '.join(CONTROLS)}")
    noise_CHW = torch.zeros_like(v_CHW)
    noise_CHW[:, inside_HW] = noise_CP
    return replace(perturbation, v_CHW=noise_CHW)
