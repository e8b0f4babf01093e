"""Perturbations from files of every published form, what is refused, how they fit an image, controls."""

import io
import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from safetensors.torch import save_file
from test_cli import refused, segmix
from torch import Tensor
from torch.nn import functional as F

from segmix_core.attacks import (
    CONTROLS,
    FITS,
    Perturbation,
    apply_perturbation,
    control_of,
    fit,
    load_perturbation,
    read_perturbation,
    write_perturbation,
)
from segmix_core.errors import InputError
from segmix_core.files import file_digest
from segmix_core.robustness.check import check_perturbations

HEIGHT, WIDTH = 4, 5


def pattern() -> np.ndarray:
    """float32 (3, 4, 5) with another number in every place, the largest 10: any other order of axes shows."""
    numbers = np.arange(3 * HEIGHT * WIDTH, dtype=np.float32).reshape(3, HEIGHT, WIDTH)
    return numbers / numbers.max() * 15 - 5


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def save_mat(path: Path, array: object, key: str = "r") -> Path:
    scipy.io.savemat(path, {key: array}, do_compression=True)
    return path


def save_npy(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def save_pth(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def in_units(array: np.ndarray) -> np.ndarray:
    return (array / 255).astype(array.dtype)


def test_a_mat_is_width_by_height_by_channel(tmp_path: Path) -> None:
    path = save_mat(tmp_path / "net.mat", pattern().transpose(2, 1, 0))
    read = read_perturbation(path)
    np.testing.assert_array_equal(read.v_CHW.numpy(), pattern())
    assert read.v_CHW.dtype == torch.float32
    assert (read.name, read.epsilon) == ("net", 10.0)
    assert read.origin == {
        "file": "net.mat",
        "sha256": file_digest(path),
        "layout": "width x height x channel, RGB",
        "scale": "pixel",
    }
    torch.testing.assert_close(load_perturbation(path), read.v_CHW, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arranged", "layout"),
    [
        (lambda v: v[None], "channel x height x width"),
        (lambda v: v, "channel x height x width"),
        (lambda v: v.transpose(1, 2, 0)[None].astype(np.float64), "height x width x channel"),
        (lambda v: v.transpose(1, 2, 0), "height x width x channel"),
    ],
)
@pytest.mark.parametrize("form", ["npy", "pth", "pt", "dictionary"])
def test_arrays_may_have_the_channel_first_or_last(
    arranged: Callable[[np.ndarray], np.ndarray], layout: str, form: str, tmp_path: Path
) -> None:
    array = np.ascontiguousarray(arranged(pattern()))
    if form == "npy":
        path = save_npy(tmp_path / "v.npy", array)
    elif form == "dictionary":
        path = save_pth(tmp_path / "v.pth", {"uap": torch.from_numpy(array), "network": "vgg"})
    else:
        path = save_pth(tmp_path / f"v.{form}", torch.from_numpy(array))
    read = read_perturbation(path, name="mine")
    np.testing.assert_array_equal(read.v_CHW.numpy(), pattern())
    assert read.v_CHW.dtype == torch.float32
    assert read.name == "mine"
    assert read.origin["layout"] == f"{layout}, taken as RGB"


def test_the_ending_may_be_in_capitals(tmp_path: Path) -> None:
    save_mat(tmp_path / "a.mat", pattern().transpose(2, 1, 0)).rename(tmp_path / "A.MAT")
    np.testing.assert_array_equal(load_perturbation(tmp_path / "A.MAT").numpy(), pattern())


def test_a_three_at_both_ends_is_channel_first(tmp_path: Path) -> None:
    array = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    np.testing.assert_array_equal(load_perturbation(save_npy(tmp_path / "v.npy", array)).numpy(), array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_a_file_in_units_of_one_is_scaled_on_request(dtype: type, tmp_path: Path) -> None:
    path = save_npy(tmp_path / "v.npy", in_units(pattern().astype(dtype))[None])
    read = read_perturbation(path, scale="unit")
    np.testing.assert_allclose(read.v_CHW.numpy(), pattern(), rtol=2e-3 if dtype == np.float16 else 1e-6)
    assert read.origin["scale"] == "unit"
    small = read_perturbation(path, scale="pixel")
    np.testing.assert_allclose(small.v_CHW.numpy() * 255, read.v_CHW.numpy(), rtol=1e-6)
    assert small.origin["scale"] == "pixel"
    for scale, expected in (("unit", read), ("pixel", small)):
        loaded = load_perturbation(str(path), scale=scale)
        torch.testing.assert_close(loaded, expected.v_CHW, rtol=0, atol=0)
    with pytest.raises(InputError, match="say which: scale"):
        load_perturbation(path)


@pytest.mark.parametrize("form", [".mat", ".npy", ".pth"])
def test_what_could_be_of_either_scale_is_refused_with_advice(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"v{form}"
    array = pattern() / 10  # the largest is 1
    if form == ".mat":
        save_mat(path, array.transpose(2, 1, 0))
    elif form == ".npy":
        save_npy(path, array)
    else:
        save_pth(path, torch.from_numpy(array))
    with pytest.raises(InputError, match=r"largest value is 1, .* 0\.\.1 or 0\.\.255; .*'unit'.*'pixel'"):
        read_perturbation(path)
    above = save_npy(tmp_path / "above.npy", array * np.float32(1.0001))
    assert read_perturbation(above).epsilon == pytest.approx(1.0001)


def spoilt(value: float) -> np.ndarray:
    array = pattern()
    array[1, 2, 3] = value
    return array


BAD_ARRAYS: list[tuple[str, np.ndarray, dict[str, Any], str]] = [
    ("NaN", spoilt(np.nan), {}, "not finite"),
    ("inf", spoilt(-np.inf), {}, "not finite"),
    ("zero", 0 * pattern(), {}, "zero everywhere"),
    ("next to nothing", np.full((3, 4, 5), 1e-300), {"scale": "pixel"}, "zero everywhere"),
    ("empty", np.zeros((3, 0, 4), np.float32), {}, "with pixels in it"),
    ("beyond 255", spoilt(-255.5), {}, r"255\.5, beyond 255"),
    ("beyond any float32", spoilt(0).astype(np.float64) + 1e300, {}, "beyond 255"),
    ("beyond 255 once scaled", pattern(), {"scale": "unit"}, "2550, beyond 255"),
    ("flat", pattern()[0], {}, "an array of 4 x 5"),
    ("a number", np.float32(3).reshape(()), {}, "an array of no axis"),
    ("two of them", np.stack([pattern()] * 2), {}, "an array of 2 x 3 x 4 x 5"),
    ("five axes", pattern()[None, None], {}, "an array of 1 x 1 x 3 x 4 x 5"),
    ("four channels", np.ones((4, 8, 8), np.float32) * 2, {}, "an array of 4 x 8 x 8"),
    ("the channel between", pattern().transpose(1, 0, 2), {}, "an array of 4 x 3 x 5"),
    ("integers", pattern().astype(np.int16), {}, "holds int16"),
    ("bytes", pattern().astype(np.uint8), {}, "holds uint8"),
    ("complex", pattern().astype(np.complex64), {}, "holds complex64"),
]


@pytest.mark.parametrize(("array", "asked", "said"), [case[1:] for case in BAD_ARRAYS], ids=lambda _: "")
@pytest.mark.parametrize("form", ["npy", "pth"])
def test_bad_arrays_are_refused(
    array: np.ndarray, asked: dict[str, Any], said: str, form: str, tmp_path: Path
) -> None:
    path = tmp_path / f"v.{form}"
    if form == "npy":
        save_npy(path, array)
    else:
        save_pth(path, torch.from_numpy(np.ascontiguousarray(array)).reshape(array.shape))
        said = said if "holds" not in said else "holds torch"
    with pytest.raises(InputError, match=said) as caught:
        read_perturbation(path, **asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "key", "said"),
    [
        (pattern().transpose(2, 1, 0), "v", "no key 'r', but v"),
        (pattern()[0], "r", "an array of 4 x 5"),
        (pattern(), "r", "an array of 3 x 4 x 5; give width x height x 3"),
        (pattern().transpose(2, 1, 0).astype(np.int16), "r", "holds int16"),
        (spoilt(np.nan).transpose(2, 1, 0), "r", "not finite"),
        (np.array([["a", 1]], dtype=object), "r", "holds object"),
    ],
    ids=["another key", "flat", "channel first", "integers", "NaN", "cells"],
)
def test_bad_mat_files_are_refused(array: np.ndarray, key: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_perturbation(save_mat(tmp_path / "v.mat", array, key))


class Payload:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


def test_no_file_runs_code(tmp_path: Path) -> None:
    trap = tmp_path / "it ran"
    Path(tmp_path / "proof.pkl").write_bytes(pickle.dumps(Payload(trap)))
    pickle.loads((tmp_path / "proof.pkl").read_bytes())
    assert trap.exists()  # the payload works
    trap.unlink()
    hostile = np.empty((3, 2, 2), dtype=object)
    hostile[0, 0, 0] = Payload(trap)
    paths = [
        save_pth(tmp_path / "a.pth", Payload(trap)),
        save_pth(tmp_path / "b.pt", {"v": torch.ones(3, 2, 2) * 2, "and": Payload(trap)}),
        save_npy(tmp_path / "c.npy", hostile),
    ]
    for name in ("d.npy", "e.pth", "f.mat", "g.safetensors"):
        paths.append(tmp_path / name)
        paths[-1].write_bytes((tmp_path / "proof.pkl").read_bytes())
    np.savez(tmp_path / "archive.npz", v=hostile)
    paths.append((tmp_path / "archive.npz").rename(tmp_path / "h.npy"))
    for path in paths:
        with pytest.raises(InputError, match=rf"{path.name}: is no "):
            read_perturbation(path)
        assert not trap.exists(), path.name


def written(folder: Path) -> dict[str, Path]:
    """A good file of each form."""
    folder.mkdir(exist_ok=True)
    paths = {
        ".mat": save_mat(folder / "v.mat", pattern().transpose(2, 1, 0)),
        ".npy": save_npy(folder / "v.npy", pattern()),
        ".pth": save_pth(folder / "v.pth", torch.from_numpy(pattern())),
        ".safetensors": folder / "v.safetensors",
    }
    write_perturbation(paths[".safetensors"], Perturbation("v", torch.from_numpy(pattern()), {}))
    return paths


@pytest.mark.parametrize("form", [".mat", ".npy", ".pth", ".safetensors"])
def test_cut_files_are_refused(form: str, tmp_path: Path) -> None:
    path = written(tmp_path)[form]
    whole = path.read_bytes()
    for share in (0, 0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"v\..*: is no "):
            read_perturbation(path)
    path.write_bytes(whole)
    np.testing.assert_array_equal(load_perturbation(path).numpy(), pattern())


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    with path.open("wb") as opened:
        header = {"descr": "<f4", "fortran_order": False, "shape": (3, 2**40, 2**40)}
        np.lib.format.write_array_header_1_0(opened, header)
    with pytest.raises(InputError, match=r"no whole \.npy"):
        read_perturbation(path)


def holes(path: Path, beginning: bytes, size: int) -> None:
    """A file that takes hardly any place on the disk."""
    with path.open("wb") as opened:
        opened.write(beginning)
        opened.truncate(len(beginning) + size)


@pytest.mark.parametrize("form", ["mat", "pth", "npy", "safetensors"])
def test_a_bomb_is_refused(form: str, tmp_path: Path) -> None:
    """A file of a few kilobytes that would fill the memory."""
    path = tmp_path / f"v.{form}"
    shape, size = (3, 60_000, 16_000), 4 * 3 * 60_000 * 16_000
    if form == "mat":
        save_mat(path, np.zeros((4096, 4097, 3), dtype=np.float32))
    elif form == "pth":
        save_pth(path, torch.zeros(1).expand(3, 200_000, 200_000))
    elif form == "npy":
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        holes(path, header.getvalue(), size)
    else:
        tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
        header_text = json.dumps({"__metadata__": {"making": '{"epsilon": 10}'}, "perturbation": tensor})
        holes(path, struct.pack("<Q", len(header_text)) + header_text.encode(), size)
    assert path.stat().st_blocks * 512 < 1 << 20
    with pytest.raises(InputError, match="holds more than 50331648 numbers"):
        read_perturbation(path)


def test_numbers_that_numpy_lacks_are_one_line(tmp_path: Path) -> None:
    for dtype, said in ((torch.float8_e4m3fn, "F8_E4M3"), (torch.bfloat16, "BF16")):
        path = tmp_path / "v.safetensors"
        save_file(
            {"perturbation": torch.ones(3, 2, 2).to(dtype)}, path, metadata={"making": '{"epsilon": 9}'}
        )
        with pytest.raises(InputError, match=f"holds {said}"):
            read_perturbation(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name, said in (("none.npy", "no such perturbation"), ("", "no such perturbation")):
        with pytest.raises(InputError, match=said):
            read_perturbation(tmp_path / name)
    (tmp_path / "v.png").write_bytes(b"picture")
    with pytest.raises(InputError, match=r"of the form '\.png'; give \.mat"):
        read_perturbation(tmp_path / "v.png")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": torch.ones(3, 2, 2), "b": torch.ones(3, 2, 2)}, "does not hold one tensor"),
        ([torch.ones(3, 2, 2)], "does not hold one tensor"),
        (torch.ones(3, 2, 2).to_sparse(), r"holds torch\.float32 \(torch\.sparse_coo"),
        (torch.ones(3, 2, 2, device="meta"), r"holds torch\.float32 .* meta"),
    ],
    ids=["two tensors", "a list", "sparse", "meta"],
)
@pytest.mark.filterwarnings("ignore:Validating sparse")
def test_what_is_not_one_plain_tensor_is_refused(content: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_perturbation(save_pth(tmp_path / "v.pth", content))


def crafted(v_CHW: Tensor | None = None, **origin: object) -> Perturbation:
    v_CHW = torch.from_numpy(pattern()) if v_CHW is None else v_CHW
    return Perturbation("gd-uap-none", v_CHW, {"attack": "gd-uap", "epsilon": 10.0, "seed": 3, **origin})


def test_a_crafted_one_comes_back_with_its_making(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "7.safetensors"
    write_perturbation(path, crafted())
    read = read_perturbation(path)
    np.testing.assert_array_equal(read.v_CHW.numpy(), pattern())
    assert read.name == "gd-uap-none"
    assert read.origin == {
        "file": "7.safetensors",
        "sha256": file_digest(path),
        "layout": "channel x height x width, RGB",
        "scale": "pixel",
        "attack": "gd-uap",
        "epsilon": 10.0,
        "seed": 3,
    }
    write_perturbation(tmp_path / "again.safetensors", read)
    again = read_perturbation(tmp_path / "again.safetensors")
    assert (again.name, again.origin["seed"]) == (read.name, 3)


def test_a_crafted_one_may_be_small(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    write_perturbation(path, crafted(torch.from_numpy(pattern() / 40), epsilon=0.25))
    assert read_perturbation(path).epsilon == pytest.approx(0.25)


def test_one_beyond_its_stated_epsilon_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    write_perturbation(path, crafted(epsilon=9.5))
    with pytest.raises(InputError, match=r"largest value is 10, beyond its stated epsilon 9\.5"):
        read_perturbation(path)
    write_perturbation(path, crafted(epsilon=float("nan")))
    with pytest.raises(InputError, match="no perturbation that was crafted"):
        read_perturbation(path)
    write_perturbation(path, crafted(epsilon=9.9999))  # rounding is forgiven
    assert read_perturbation(path).epsilon == 10


def test_what_was_scaled_states_its_new_epsilon(tmp_path: Path) -> None:
    doubled = crafted().scaled_to(20)
    np.testing.assert_allclose(doubled.v_CHW.numpy(), 2 * pattern())
    assert doubled.epsilon == 20
    assert (doubled.origin["epsilon"], doubled.origin["rescaled_from"]) == (20, 10)
    write_perturbation(tmp_path / "v.safetensors", doubled)
    assert read_perturbation(tmp_path / "v.safetensors").epsilon == 20


@pytest.mark.parametrize(
    ("tensors", "metadata", "said"),
    [
        ({"v": torch.ones(3, 2, 2)}, {"making": '{"epsilon": 10}'}, "no perturbation that was crafted"),
        ({"perturbation": torch.ones(3, 2, 2)}, {}, "no perturbation that was crafted"),
        ({"perturbation": torch.ones(3, 2, 2)}, {"making": "{"}, "no perturbation that was crafted"),
        ({"perturbation": torch.ones(3, 2, 2)}, {"making": "[1]"}, "does not say its epsilon"),
        ({"perturbation": torch.ones(3, 2, 2)}, {"making": "{}"}, "does not say its epsilon"),
        ({"perturbation": torch.ones(3, 2, 2)}, {"making": '{"epsilon": 10, "name": 1}'}, "is no text"),
        ({"perturbation": torch.ones(3, 2, 2).int()}, {"making": '{"epsilon": 10}'}, "holds I32"),
        ({"perturbation": torch.ones(2, 2, 3)}, {"making": '{"epsilon": 10}'}, "an array of 2 x 2 x 3"),
        *(
            ({"perturbation": torch.ones(3, 2, 2)}, {"making": f'{{"epsilon": {epsilon}}}'}, said)
            for epsilon, said in (
                ("1" * 400, "does not say its epsilon"),
                ("Infinity", "no perturbation that was crafted"),
                ("true", "does not say its epsilon"),
                ("0", "does not say its epsilon"),
                ("[" * 100_000, "no perturbation that was crafted"),
            )
        ),
    ],
    ids=range(13),
)
def test_other_safetensors_are_refused(
    tensors: dict[str, Tensor], metadata: dict[str, str], said: str, tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "v.safetensors", metadata=metadata)
    with pytest.raises(InputError, match=said):
        read_perturbation(tmp_path / "v.safetensors")


def test_its_size_and_root_mean_square() -> None:
    one = Perturbation("v", torch.tensor([3.0, -4.0, 0.0])[:, None, None].expand(3, 2, 2), {})
    assert one.epsilon == 4
    assert one.rms == pytest.approx((25 / 3) ** 0.5)


def noise(height: int, width: int, size: float = 10.0) -> Tensor:
    drawn = rng(height).uniform(-size, size, (3, height, width))
    return torch.from_numpy(drawn.astype(np.float32))


@pytest.mark.parametrize("size", [(11, 7), (6, 9), (2, 3)])
def test_resizing_is_bilinear_and_within_the_bound(size: tuple[int, int]) -> None:
    v = noise(6, 9)
    fitted = fit(v, *size)
    expected = F.interpolate(v[None], size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(fitted, expected)
    if size == (6, 9):
        torch.testing.assert_close(fitted, v, rtol=0, atol=0)
    for epsilon in (0.1, 1 / 3, 9.999, 10.0):
        signs = v.sign() * epsilon
        assert fit(signs, 513, 387).abs().max() <= signs.abs().max()


def test_tiles_repeat_from_the_upper_left_corner() -> None:
    v = noise(3, 4)
    fitted = fit(v, 8, 10, mode="tile")
    for row, column in np.ndindex(8, 10):
        torch.testing.assert_close(fitted[:, row, column], v[:, row % 3, column % 4], rtol=0, atol=0)
    torch.testing.assert_close(fit(v, 2, 3, mode="tile"), v[:, :2, :3], rtol=0, atol=0)


def test_the_middle_is_padded_with_nothing_or_cut_out() -> None:
    v = torch.arange(1.0, 3 * 4 * 6 + 1).reshape(3, 4, 6)
    larger = fit(v, 7, 10, mode="center_pad")
    torch.testing.assert_close(larger[:, 1:5, 2:8], v, rtol=0, atol=0)
    assert larger.sum() == v.sum()
    torch.testing.assert_close(fit(v, 2, 3, mode="center_pad"), v[:, 1:3, 1:4], rtol=0, atol=0)
    mixed = fit(v, 2, 8, mode="center_pad")  # lower than v, and wider
    torch.testing.assert_close(mixed[:, :, 1:7], v[:, 1:3], rtol=0, atol=0)
    assert mixed[:, :, [0, 7]].abs().sum() == 0
    torch.testing.assert_close(fit(v, 4, 6, mode="center_pad"), v, rtol=0, atol=0)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="'stretch' is not one of resize, tile, center_pad"):
        fit(noise(2, 2), 4, 4, mode="stretch")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", FITS)
def test_it_is_added_to_every_image_in_pixel_units_and_clipped(mode: str) -> None:
    v = noise(3, 4, size=100)
    image_BCHW = torch.from_numpy(rng().random((2, 3, 6, 5), dtype=np.float32))
    before = image_BCHW.clone()
    shown = apply_perturbation(image_BCHW, v, mode=mode)  # type: ignore[arg-type]
    fitted = fit(v, 6, 5, mode=mode)  # type: ignore[arg-type]
    literal = (before.double() * 255 + fitted.double()).clamp(0, 255) / 255
    torch.testing.assert_close(shown.double(), literal, rtol=0, atol=1e-6)
    assert (shown == 0).any()
    assert (shown == 1).any()
    torch.testing.assert_close(image_BCHW, before, rtol=0, atol=0)


def test_controls_of_signs_share_its_size_or_its_root_mean_square() -> None:
    of = crafted(noise(40, 30))
    same_size = control_of(of, "signs of the same size", rng=rng())
    same_rms = control_of(of, "signs of the same RMS", rng=rng())
    for control, size in ((same_size, of.epsilon), (same_rms, of.rms)):
        assert control.v_CHW.dtype == torch.float32
        assert control.v_CHW.abs().unique().tolist() == pytest.approx([size])
        assert abs(float(control.v_CHW.sign().mean())) < 0.06  # five standard errors: both signs alike
    assert same_rms.rms == pytest.approx(of.rms)
    assert same_size.rms > 1.5 * of.rms


def test_the_shuffled_control_moves_whole_pixels() -> None:
    of = crafted(noise(12, 9))
    shuffled = control_of(of, "shuffled", rng=rng())
    before, after = of.v_CHW.flatten(1).T, shuffled.v_CHW.flatten(1).T
    assert sorted(map(tuple, before.tolist())) == sorted(map(tuple, after.tolist()))
    assert int((before == after).all(1).sum()) < 8  # few stay where they were
    assert shuffled.rms == pytest.approx(of.rms)


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_covers_the_pixels_of_a_padded_perturbation(control: Any) -> None:
    of = crafted()
    padded = replace(of, v_CHW=fit(of.v_CHW, 40, 40, mode="center_pad"))
    there = (padded.v_CHW != 0).any(0)
    noise = control_of(padded, control, rng=rng()).v_CHW
    assert torch.equal((noise != 0).any(0), there)
    assert 0 < there.float().mean() < 1
    size = {"signs of the same size": padded.epsilon, "signs of the same RMS": of.rms}.get(control)
    if size is not None:
        assert noise[:, there].abs().unique().tolist() == pytest.approx([size])
    else:
        assert noise[:, there].sort().values.equal(padded.v_CHW[:, there].sort().values)


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_depend_on_the_generator_alone(control: str) -> None:
    of = crafted(noise(12, 9))
    before = of.v_CHW.clone()
    one, again, other = (control_of(of, control, rng=rng(seed)) for seed in (0, 0, 1))  # type: ignore[arg-type]
    torch.testing.assert_close(one.v_CHW, again.v_CHW, rtol=0, atol=0)
    assert not torch.equal(one.v_CHW, other.v_CHW)
    assert not torch.equal(one.v_CHW, of.v_CHW)
    torch.testing.assert_close(of.v_CHW, before, rtol=0, atol=0)
    assert (one.name, one.origin) == (of.name, of.origin)


def test_an_unknown_control_is_refused() -> None:
    with pytest.raises(ValueError, match="'blurred' is not one of"):
        control_of(crafted(), "blurred", rng=rng())  # type: ignore[arg-type]


def published(real_data: Path, folder: str) -> Path:
    if not (real_data / "uap" / folder).is_dir():
        pytest.skip(f"no uap/{folder} in {real_data}")
    return real_data / "uap" / folder


@pytest.mark.real_data
@pytest.mark.parametrize("network", ["ResNet-152", "GoogLeNet"])
def test_the_published_perturbations_of_table_6_open(real_data: Path, network: str) -> None:
    path = published(real_data, "moosavi_uap") / f"{network}.mat"
    read = read_perturbation(path)
    assert read.v_CHW.shape == (3, 224, 224)
    assert read.epsilon == pytest.approx(10, abs=1e-3)
    stored_WHC = scipy.io.loadmat(path)["r"]
    for x, y, channel in ((0, 223, 0), (17, 5, 2), (200, 100, 1)):
        assert float(read.v_CHW[channel, y, x]) == stored_WHC[x, y, channel]
    assert json.loads(json.dumps(read.origin)) == read.origin


@pytest.mark.real_data
def test_the_published_array_with_the_channel_last_opens(real_data: Path) -> None:
    read = read_perturbation(published(real_data, "moosavi_uap") / "universal.npy")
    assert read.v_CHW.shape == (3, 224, 224)
    assert read.epsilon == pytest.approx(10, abs=1e-3)
    assert read.origin["layout"] == "height x width x channel, taken as RGB"


@pytest.mark.real_data
def test_the_published_arrays_in_units_of_one_open(real_data: Path) -> None:
    paths = sorted(published(real_data, "gd_uap_pytorch").glob("*.npy"))
    assert len(paths) == 5
    for path in paths:
        with pytest.raises(InputError, match="say which: scale"):
            read_perturbation(path)
        read = read_perturbation(path, scale="unit")
        assert read.v_CHW.shape == (3, 224, 224)
        assert read.epsilon == pytest.approx(10, abs=1e-3)


def test_check_is_told_the_scale_of_files_in_units_of_one(tmp_path: Path) -> None:
    v = np.full((1, 3, 8, 8), 10 / 255, dtype=np.float32)
    np.save(tmp_path / "a.npy", v)
    (problem,) = check_perturbations(tmp_path).problems
    assert "may be on the scale 0..1 or 0..255" in problem.problem
    assert check_perturbations(tmp_path, scale="unit").problems == ()
    command = ("data", "check", "--root", tmp_path, "--dataset")
    assert segmix(*command, "uap").status == 2
    assert segmix(*command, "uap", "--perturbation-scale", "unit").status == 0
    refused(segmix(*command, "voc2012", "--perturbation-scale", "unit"), "has no perturbations")
    refused(segmix(*command, "uap", "--mask-threshold", 3), "has no masks")
    refused(segmix(*command, "upa"), "did you mean 'uap'?")


def test_check_reads_every_perturbation_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no file of the form \.mat"):
        check_perturbations(tmp_path)
    v = np.zeros((1, 3, 8, 8), dtype=np.float32)
    v[..., 0] = 10
    np.save(tmp_path / "a.npy", v)
    scipy.io.savemat(tmp_path / "ResNet-152.mat", {"r": np.full((8, 8, 3), 50.0, dtype=np.float32)})
    np.save(tmp_path / "b.npy", v[0, 0])
    np.save(tmp_path / "c.npy", v * np.nan)
    (tmp_path / "readme.txt").write_text("no perturbation")
    found = check_perturbations(tmp_path)
    assert found.files == 4
    assert [Path(one.path).name for one in found.problems] == ["ResNet-152.mat", "b.npy", "c.npy"]
