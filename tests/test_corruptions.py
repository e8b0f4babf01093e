"""Common corruptions: what each family does, what severity and seed change, whose a draw is."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segmix_core.corruptions import CORRUPTIONS, HELD_OUT, SEVERITIES, Corruption, corrupt
from segmix_core.data import open_dataset
from segmix_core.data.transforms import center_crop
from segmix_core.errors import InputError
from segmix_core.evaluation import evaluate
from segmix_core.models import SourceSeparation
from segmix_core.rng import stream

ALL = CORRUPTIONS | HELD_OUT
RANDOM = [
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur"),
    *("snow", "frost", "fog", "spatter", "elastic_transform"),
]


def scene(height: int = 96, width: int = 96) -> np.ndarray:
    """Something like a picture: a coloured slope, discs with edges, fine texture; never black or white."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width]
    picture = np.stack([60 + 60 * x / width, 70 + 50 * y / height, 90 + 30 * np.sin(x / 7)], axis=-1)
    for _ in range(6):
        middle, radius = rng.random(2) * (height, width), rng.uniform(0.08, 0.2) * min(height, width)
        disc = np.hypot(y - middle[0], x - middle[1]) < radius
        picture[disc] = rng.uniform(30, 200, size=3)
    return np.clip(picture + rng.normal(0, 4, picture.shape), 10, 240).astype(np.uint8)


def seen(name: str, severity: int, image: np.ndarray | None = None, *, seed: int = 0) -> np.ndarray:
    return corrupt(scene() if image is None else image, name, severity, rng=stream(seed, "test"))


def distance(found: np.ndarray, image: np.ndarray) -> float:
    return float(np.sqrt(np.square(found.astype(float) - image).mean()))


def roughness(image: np.ndarray) -> float:
    """Mean difference of neighbours."""
    return float(np.abs(np.diff(image.astype(float), axis=1)).mean())


# Against the published numbers


def test_noise_is_as_large_as_published() -> None:
    grey = np.full((128, 128, 3), 128, dtype=np.uint8)
    for severity, sd in zip(SEVERITIES, (0.08, 0.12, 0.18, 0.26, 0.38), strict=True):
        noise = seen("gaussian_noise", severity, grey) / 255 - 128 / 255
        inner = noise[np.abs(noise) < 0.45]
        expected = np.random.default_rng(0).normal(0, sd, 200_000)
        assert inner.std() == pytest.approx(expected[np.abs(expected) < 0.45].std(), rel=0.03)
    for severity, share in zip(SEVERITIES, (0.03, 0.06, 0.09, 0.17, 0.27), strict=True):
        found = seen("impulse_noise", severity, grey)
        assert (found != 128).mean() == pytest.approx(share, rel=0.1)
        assert set(np.unique(found)) == {0, 128, 255}


def test_contrast_and_compression_are_the_published_ones_to_the_bit() -> None:
    image = scene()
    for severity, factor, quality in zip(
        SEVERITIES, (0.4, 0.3, 0.2, 0.1, 0.05), (25, 18, 15, 10, 7), strict=True
    ):
        means = image.mean((0, 1))
        assert np.abs(seen("contrast", severity) - ((image - means) * factor + means)).max() < 1.001
        packed = io.BytesIO()
        Image.fromarray(image).save(packed, "JPEG", quality=quality)
        assert np.array_equal(seen("jpeg_compression", severity), np.asarray(Image.open(packed)))


# Families and severities


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", ALL)
def test_each_does_what_its_family_says(name: str, severity: int) -> None:
    image, found = scene(), seen(name, severity)
    family = Corruption(name, severity).family
    if family == "noise":
        assert roughness(found) > 1.5 * roughness(image)
    elif family == "blur" or name == "fog":
        assert roughness(found) < 0.9 * roughness(image)
    elif name in ("snow", "frost", "brightness"):
        assert found.mean() > image.mean() + 5
    assert distance(found, image) > 1


def test_the_benchmark_has_fifteen_in_four_families_and_four_are_held_out() -> None:
    families = list(CORRUPTIONS.values())
    assert [families.count(family) for family in ("noise", "blur", "weather", "digital")] == [3, 4, 4, 4]
    assert sorted(HELD_OUT.values()) == ["blur", "digital", "noise", "weather"]
    assert CORRUPTIONS.keys().isdisjoint(HELD_OUT)


@pytest.mark.parametrize("name", [name for name in ALL if name != "saturate"])
def test_the_highest_severity_is_farther_from_the_image_than_the_lowest(name: str) -> None:
    image = scene()
    assert distance(seen(name, 5), image) > 1.1 * distance(seen(name, 1), image)


@pytest.mark.parametrize(
    "name",
    [
        *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus_blur", "gaussian_blur"),
        *("motion_blur", "brightness", "contrast", "elastic_transform", "jpeg_compression"),
    ],
)
def test_each_severity_is_farther_than_the_one_before(name: str) -> None:
    image = scene()
    found = [distance(seen(name, severity), image) for severity in SEVERITIES]
    assert found == sorted(set(found))


@pytest.mark.parametrize("severity", [1, 5])
def test_elastic_transformation_moves_every_picture_alike(severity: int) -> None:
    """The chapter on robustness moves label maps by it, category by category."""
    mask = (255 * (scene() > 120)).astype(np.uint8)
    moved, rest = (seen("elastic_transform", severity, one).astype(int) for one in (mask, 255 - mask))
    assert np.abs(moved + rest - 255).max() <= 1
    assert (np.abs(moved - mask) > 127).mean() > 0.005


def test_saturation_falls_first_and_rises_then() -> None:
    def spread(image: np.ndarray) -> float:
        return float((image.max(-1).astype(float) - image.min(-1)).mean())

    found = [spread(seen("saturate", severity)) for severity in SEVERITIES]
    assert found[1] < found[0] < spread(scene()) < found[2] < found[3] < found[4]


# Seeds


@pytest.mark.parametrize("name", ALL)
def test_the_seed_decides_and_nothing_else_is_drawn_from(name: str) -> None:
    image = scene()
    kept = image.copy()
    np.random.seed(1)  # noqa: NPY002
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    first = seen(name, 3, image)
    assert np.array_equal(np.random.random(3), expected)  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(seen(name, 3, image), first)
    assert np.array_equal(image, kept)
    assert np.array_equal(seen(name, 3, image, seed=1), first) == (name not in RANDOM)


def test_severities_share_their_draws() -> None:
    grey = torch.full((1, 3, 64, 64), 128 / 255)
    first, second = (Corruption("gaussian_noise", s).perturb(seed=0)(grey) - grey for s in (1, 2))
    assert torch.allclose(second, 1.5 * first, atol=3 / 255)


def test_an_image_has_its_own_draw_whatever_the_size_of_the_batches() -> None:
    image_BCHW = torch.from_numpy(scene(40, 48)).permute(2, 0, 1).float().div(255).repeat(5, 1, 1, 1)

    def shown(*sizes: int, seed: int = 0) -> torch.Tensor:
        perturb = Corruption("gaussian_noise", 2).perturb(seed=seed)
        return torch.cat([perturb(part) for part in image_BCHW.split(sizes)])

    whole = shown(5)
    assert torch.equal(shown(2, 2, 1), whole)
    assert torch.equal(shown(1, 1, 1, 1, 1), whole)
    assert not torch.equal(shown(5, seed=1), whole)
    for number in range(1, 5):
        assert not torch.equal(whole[number], whole[0])


def test_a_network_is_shown_each_image_of_a_data_set_corrupted(root: Path) -> None:
    dataset = open_dataset("voc2012", root, "val")
    model = SourceSeparation(21, backbone="resnet18w32", head="plain", aspp_channels=8)
    shown: list[torch.Tensor] = []
    perturb = Corruption("frost", 4).perturb(seed=3)

    def watched(image_BCHW: torch.Tensor) -> torch.Tensor:
        shown.append(perturb(image_BCHW))
        return shown[-1]

    evaluate(model, dataset, crop=64, batch_size=4, perturb=watched)
    found_BHWC = (torch.cat(shown) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert len(found_BHWC) == len(dataset)
    for number, found_HWC in enumerate(found_BHWC):
        image = center_crop(*dataset.pair(number), 64)[0]
        rng = stream(3, "corruption", "frost", number)
        assert np.array_equal(found_HWC, corrupt(image, "frost", 4, rng=rng))


# Sizes and bad input


@pytest.mark.parametrize("size", [(32, 32), (64, 97), (101, 65)])
@pytest.mark.parametrize("name", ALL)
def test_small_and_odd_sizes_stay_pictures(
    name: str, size: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    image = scene(*size)
    found = seen(name, 5, image)
    assert found.dtype == np.uint8
    assert found.shape == image.shape
    assert distance(found, image) > 1
    assert capsys.readouterr().out == ""  # the library prints where it goes wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_the_papers_size_works(name: str) -> None:
    image = scene(513, 513)
    found = seen(name, 3, image)
    assert found.shape == image.shape
    assert distance(found, image) > 1


@pytest.mark.parametrize(
    ("name", "severity", "reason"),
    [
        ("gausian_noise", 1, "corruption: unknown name 'gausian_noise'; did you mean 'gaussian_noise'"),
        ("fog", 0, "fog: no severity 0; choose one of 1, 2, 3, 4, 5"),
        ("fog", 6, "fog: no severity 6;"),
        ("fog", -1, "fog: no severity -1;"),
    ],
)
def test_a_corruption_that_does_not_exist_is_refused(name: str, severity: int, reason: str) -> None:
    for attempt in (lambda: Corruption(name, severity), lambda: seen(name, severity)):
        with pytest.raises(InputError) as error:
            attempt()
        assert str(error.value).startswith(reason)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (scene().astype(np.float32) / 255, "an image of float32, 96 x 96 x 3; give uint8"),
        (scene()[..., 0], "an image of uint8, 96 x 96; give"),
        (scene()[:31], "an image of 31 x 96; give at least 32 pixels"),
    ],
)
def test_an_image_of_another_kind_is_refused(image: np.ndarray, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        seen("fog", 1, image)


def test_the_library_is_not_loaded_before_it_is_used() -> None:
    check = "import sys, segmix_core.corruptions; sys.exit('imagecorruptions' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
