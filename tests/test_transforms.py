"""Augmentation against a slow reference: scale the whole image, pad it, crop it, mirror it."""

import math

import numpy as np
import pytest
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from segmix_core.data.transforms import (
    PADDING,
    Augmentation,
    augment,
    center_crop,
    draw_augmentation,
    inside_crop,
)
from segmix_core.rng import stream


def scene(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A smooth image, and a label map of rectangles with void among them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(y / rng.uniform(3, 9) + x / rng.uniform(3, 9)) for _ in range(3)]
    label = np.zeros((height, width), dtype=np.uint8)
    for category in (3, 20, 255):
        top, left = rng.integers(0, height), rng.integers(0, width)
        label[top : top + height // 2, left : left + width // 2] = category
    return np.stack(waves, axis=2).astype(np.uint8), label


def triangle_weights(source: int, target: int) -> np.ndarray:
    """Bilinear resampling along one side, (target, source): a triangle as wide as the larger pixel."""
    ratio = source / target
    support = max(1.0, ratio)
    weights = np.zeros((target, source))
    for place in range(target):
        centre = (place + 0.5) * ratio
        for pixel in range(source):
            weights[place, pixel] = max(0.0, 1 - abs(pixel + 0.5 - centre) / support)
    return weights / weights.sum(1, keepdims=True)


def reference(
    image: np.ndarray, label: np.ndarray, drawn: Augmentation, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The crop by the slow way: image (float), label map, and where nearest is a matter of rounding."""
    height, width = label.shape
    tall, wide = max(1, round(height * drawn.scale)), max(1, round(width * drawn.scale))
    rows = (np.arange(tall) + 0.5) * height / tall
    columns = (np.arange(wide) + 0.5) * width / wide
    nearest = label[rows.astype(int)][:, columns.astype(int)]
    close = [abs(places - np.round(places)) < 1e-4 for places in (rows, columns)]
    scaled = np.einsum("th,hwc,sw->tsc", triangle_weights(height, tall), image, triangle_weights(width, wide))
    margin = size
    padded_image = np.broadcast_to(np.array(PADDING, float), (tall + 2 * margin, wide + 2 * margin, 3)).copy()
    padded_label = np.full((tall + 2 * margin, wide + 2 * margin), 255, dtype=np.uint8)
    unsure = np.zeros(padded_label.shape, dtype=bool)
    inside = (slice(margin, margin + tall), slice(margin, margin + wide))
    padded_image[inside], padded_label[inside] = scaled, nearest
    unsure[inside] = close[0][:, None] | close[1][None]
    top, left = drawn.top + margin, drawn.left + margin
    cropped = [part[top : top + size, left : left + size] for part in (padded_image, padded_label, unsure)]
    if drawn.flip:
        cropped = [part[:, ::-1] for part in cropped]
    return cropped[0], cropped[1], cropped[2]


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 45), st.integers(1, 45), st.integers(1, 40), st.integers(0, 10**6))
def test_augment_is_scale_pad_crop_mirror(height: int, width: int, size: int, seed: int) -> None:
    image, label = scene(height, width, seed)
    drawn = draw_augmentation((height, width), size, rng=np.random.default_rng(seed))
    image_out, label_out = augment(image, label, drawn, size)
    expected_image, expected_label, unsure = reference(image, label, drawn, size)
    assert image_out.shape == (size, size, 3)
    assert image_out.dtype == label_out.dtype == np.uint8
    np.testing.assert_array_equal(label_out[~unsure], expected_label[~unsure])
    assert abs(image_out - expected_image).max() < 1.6  # two roundings, one for each side
    assert image_out.flags.c_contiguous
    assert label_out.flags.c_contiguous


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 60),
    st.tuples(st.floats(0.25, 1), st.floats(1, 2)),
    st.integers(0, 10**6),
)
def test_the_draw_is_in_range_and_wastes_no_pixel(
    height: int, width: int, size: int, scale_range: tuple[float, float], seed: int
) -> None:
    drawn = draw_augmentation(
        (height, width, 3), size, rng=np.random.default_rng(seed), scale_range=scale_range
    )
    assert scale_range[0] <= drawn.scale <= scale_range[1]
    for side, offset in ((height, drawn.top), (width, drawn.left)):
        room = max(1, round(side * drawn.scale)) - size
        # A larger image covers the crop, a smaller one lies within it.
        assert min(room, 0) <= offset <= max(room, 0)


def test_the_draws_cover_their_range() -> None:
    rng = stream(0)
    draws = [draw_augmentation((40, 60), 40, rng=rng) for _ in range(2000)]
    scales = [drawn.scale for drawn in draws]
    assert np.histogram(scales, bins=4, range=(0.5, 1.5))[0].min() > 420
    assert 900 < sum(drawn.flip for drawn in draws) < 1100
    same = [drawn for drawn in draws if round(60 * drawn.scale) == 45 and round(40 * drawn.scale) == 30]
    assert {drawn.left for drawn in same} == set(range(6))
    assert {drawn.top for drawn in same} == set(range(-10, 1))


def test_the_padding_is_the_mean_of_imagenet() -> None:
    published = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    assert tuple(round(255 * mean) for mean in published.mean) == PADDING


def test_padding_is_void_and_only_beyond_the_image() -> None:
    image, label = np.full((4, 6, 3), 7, dtype=np.uint8), np.full((4, 6), 5, dtype=np.uint8)
    image_out, label_out = augment(image, label, Augmentation(1.0, -1, -2, False), 10)
    inside = np.zeros((10, 10), dtype=bool)
    inside[1:5, 2:8] = True
    assert (label_out[inside] == 5).all()
    assert (label_out[~inside] == 255).all()
    assert (image_out[inside] == 7).all()
    assert (image_out[~inside] == PADDING).all()


def test_the_mirror_turns_image_and_labels_together() -> None:
    image, label = scene(30, 40, 3)
    straight = augment(image, label, Augmentation(1.3, 5, 3, False), 24)
    mirrored = augment(image, label, Augmentation(1.3, 5, 3, True), 24)
    np.testing.assert_array_equal(mirrored[0], straight[0][:, ::-1])
    np.testing.assert_array_equal(mirrored[1], straight[1][:, ::-1])
    assert (mirrored[0] != straight[0]).any()
    assert (mirrored[1] != straight[1]).any()


def test_image_and_labels_stay_on_the_same_pixels() -> None:
    """An image that shows its own label map still does after any augmentation, but at edges."""
    _, label = scene(50, 40, 11)
    label[label == 255] = 0
    image = np.repeat(label[..., None] * 10, 3, axis=2)
    for seed in range(10):
        drawn = draw_augmentation(label.shape, 36, rng=stream(seed))
        image_out, label_out = augment(image, label, drawn, 36)
        shown = label_out != 255
        off = (image_out[..., 0] != label_out * 10) & shown
        assert off.sum() < 0.2 * shown.sum()  # bilinear edges


def test_unscaled_and_uncut_nothing_changes() -> None:
    image, label = scene(20, 20, 5)
    image_out, label_out = augment(image, label, Augmentation(1.0, 0, 0, False), 20)
    np.testing.assert_array_equal(image_out, image)
    np.testing.assert_array_equal(label_out, label)


@pytest.mark.parametrize("shape", [(9, 12), (8, 8), (5, 20), (4, 7), (1, 1)])
def test_center_crop_keeps_the_middle(shape: tuple[int, int]) -> None:
    size = 8
    rng = np.random.default_rng(0)
    image, label = (
        rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
        rng.integers(0, 21, shape, dtype=np.uint8),
    )
    image_out, label_out = center_crop(image, label, size)
    offsets = [math.floor((side - size) / 2) for side in shape]
    for row in range(size):
        for column in range(size):
            y, x = row + offsets[0], column + offsets[1]
            inside = 0 <= y < shape[0] and 0 <= x < shape[1]
            assert label_out[row, column] == (label[y, x] if inside else 255)
            assert image_out[row, column].tolist() == list(image[y, x] if inside else PADDING)


def test_the_same_stream_draws_the_same_crop() -> None:
    image, label = scene(30, 40, 8)
    first, second, other = (
        augment(image, label, draw_augmentation(label.shape, 24, rng=stream(seed, "sample", 0)), 24)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (8, 8), (7, 8), (3, 4), (20, 11)])
def test_inside_is_what_the_centre_crop_did_not_pad(shape: tuple[int, int]) -> None:
    image, label = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    _, cropped = center_crop(image, label, 8)
    np.testing.assert_array_equal(inside_crop(shape, 8), cropped != 255)
