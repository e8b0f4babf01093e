"""Presence, Algorithm 1 and the clusters, against a literal transcription and label maps made by hand."""

from pathlib import Path

import literal
import numpy as np
import pytest
from conftest import write_voc
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segmix_core.cooccurrence import clusters, cooccurrence_matrix, dataset_presence, presence
from segmix_core.data.voc import open_voc
from segmix_core.errors import LabelError

N = 6
LABELS = st.sampled_from([*range(N), 255])
LABEL_MAPS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 3)).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=LABELS)
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=100)
@given(LABEL_MAPS)
def test_cooccurrence_is_algorithm_1(label_maps: list[np.ndarray]) -> None:
    matrix = cooccurrence_matrix(presence(label_maps, N))
    np.testing.assert_array_equal(matrix, literal.algorithm_1(label_maps, N))
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, matrix.T)
    assert not matrix.diagonal().any()
    assert not matrix[0].any()


@settings(deadline=None, max_examples=50)
@given(LABEL_MAPS, st.sampled_from([np.uint8, np.int16, np.int64]))
def test_presence_is_membership_whatever_the_integer_type(
    label_maps: list[np.ndarray], dtype: type[np.integer]
) -> None:
    held = presence([label_map.astype(dtype) for label_map in label_maps], N)
    assert held.dtype == np.bool_
    assert held.tolist() == [[c in label_map for c in range(N)] for label_map in label_maps]


def test_a_worked_example() -> None:
    maps = [np.array([0, 1, 2, 255]), np.array([1, 2, 3]), np.array([2, 2, 0]), np.array([1, 1])]
    assert cooccurrence_matrix(presence(maps, 4)).tolist() == [
        [0, 0, 0, 0],
        [0, 0, 2, 1],
        [0, 2, 0, 1],
        [0, 1, 1, 0],
    ]


def test_counts_are_exact_whatever_their_size() -> None:
    images = 2**16 + 1  # neither 16 bits nor a short mantissa hold it
    assert cooccurrence_matrix(np.ones((images, 3), dtype=bool))[1].tolist() == [0, 0, images]


def test_cooccurrence_leaves_its_argument_alone() -> None:
    held = np.ones((2, 3))
    cooccurrence_matrix(held)
    assert held.all()


def test_one_pixel_is_enough() -> None:
    label_map = np.zeros((64, 64), dtype=np.uint8)
    label_map[63, 0] = 5
    assert presence([label_map], N).tolist() == [[True, False, False, False, False, True]]


def test_a_least_share_is_of_all_pixels_and_itself_enough() -> None:
    """R18: 2 of 20 x 20 pixels are 0.5 %, whether or not the rest is void."""
    label_map = np.full((20, 20), 255, dtype=np.uint8)
    label_map[0, :3] = 1, 2, 2
    assert presence([label_map], 3, least_share=0.005).tolist() == [[False, False, True]]
    assert presence([label_map], 3).tolist() == [[False, True, True]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_a_map_of_void_alone_holds_nothing(dtype: type[np.integer]) -> None:
    held = presence([np.full((2, 2), 255, dtype=dtype), np.array([[1, 2]], dtype=dtype)], N)
    assert held.tolist() == [[False] * N, [False, True, True, False, False, False]]
    assert cooccurrence_matrix(held).sum() == 2


def test_another_ignored_label() -> None:
    assert presence([np.array([0, 3, 7])], 4, ignore_index=7).tolist() == [[True, False, False, True]]
    with pytest.raises(LabelError, match="label 255"):
        presence([np.array([0, 255])], 4, ignore_index=7)


def test_no_maps() -> None:
    held = presence([], N)
    assert held.shape == (0, N)
    assert not cooccurrence_matrix(held).any()


@settings(deadline=None, max_examples=50)
@given(st.integers(21, 254), st.sampled_from([np.uint8, np.int64]))
def test_labels_between_the_last_category_and_void_are_refused(wrong: int, dtype: type[np.integer]) -> None:
    right = np.array([[0, 20, 255]], dtype=dtype)
    broken = np.array([[0, wrong, 255]], dtype=dtype)
    with pytest.raises(LabelError, match=rf"label map 1: label {wrong} is outside 0\.\.20; only 255 may"):
        presence([right, broken], 21)


@pytest.mark.parametrize("wrong", [-1, -255, 256, 1000])
def test_labels_no_byte_can_hold_are_refused(wrong: int) -> None:
    with pytest.raises(LabelError, match=f"label {wrong} "):
        presence([np.array([0, wrong, 255])], 21)


@pytest.mark.parametrize("wrong", [np.float32, bool])
def test_a_label_map_is_of_integers(wrong: type) -> None:
    with pytest.raises(LabelError, match=r"label map 1: is of .*, and not of category numbers"):
        presence([np.array([[0, 1]]), np.array([[0, 1]], dtype=wrong)], 21)


@settings(deadline=None, max_examples=50)
@given(LABEL_MAPS)
def test_clusters_hold_the_images_of_each_category(label_maps: list[np.ndarray]) -> None:
    found = clusters(presence(label_maps, N))
    assert len(found) == N
    assert found[0].tolist() == []
    for category in range(1, N):
        assert found[category].dtype == np.int64
        expected = [index for index, label_map in enumerate(label_maps) if category in label_map]
        assert found[category].tolist() == expected


def test_dataset_presence_reads_every_map_once_and_reports(tmp_path: Path) -> None:
    maps = [np.array([[0, c, 255]], dtype=np.uint8) for c in (3, 20, 7)]
    calls = []
    dataset = open_voc(write_voc(tmp_path, {"val": maps}), "val")
    held = dataset_presence(dataset, progress=lambda done, total: calls.append((done, total)))
    np.testing.assert_array_equal(held, presence(maps, 21))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.real_data
def test_voc_val_counts_are_those_of_the_masks(real_data: Path) -> None:
    """Facts computed once from the official masks: 1,449 images of val."""
    held = dataset_presence(open_voc(real_data / "voc2012_masks", "val", need_images=False))
    number = held[:, 1:].sum(1)
    assert [int((number == n).sum()) for n in (2, 3, 4)] == [374, 122, 23]
    person, horse = 15, 13
    assert int((held[:, person] & held[:, horse] & (number == 2)).sum()) == 32
    assert int((held[:, horse] & (number == 1)).sum()) == 44
    bottle, cat = 5, 8
    assert cooccurrence_matrix(held)[bottle, cat] == 2
