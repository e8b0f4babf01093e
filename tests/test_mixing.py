"""Partners, delta and the blends, against the literal Algorithm 2 and against sums done by hand."""

from collections import Counter
from dataclasses import replace
from typing import Any

import literal
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segmix_core.cooccurrence import clusters, cooccurrence_matrix, presence
from segmix_core.experiments.factors import Cap, Delta, Method
from segmix_core.experiments.methods import CUTMIX, METHODS, MIXUP, SOURCESEP_CC, SOURCESEP_CM
from segmix_core.mixing import (
    blend,
    cap_delta,
    cluster_pairs,
    cooccurrence_partners,
    draw_boxes,
    draw_delta,
    mix,
    paste,
    presence_of,
    random_partners,
    sample_delta,
    unmixed,
)
from segmix_core.records import Batch, MixedBatch
from segmix_core.rng import stream

N = 6


def label_map(categories: list[int]) -> np.ndarray:
    """A 2 x 4 label map that holds the categories, one pixel each, on void."""
    flat = np.full(8, 255, dtype=np.uint8)
    flat[: len(categories)] = categories
    return flat.reshape(2, 4)


CATEGORIES = st.lists(st.integers(0, N - 1), max_size=4, unique=True).map(label_map)
BATCHES = st.lists(CATEGORIES, min_size=2, max_size=7)
SEEDS = st.integers(0, 2**32)


@st.composite
def matrices(draw: st.DrawFn, largest: int = 3) -> np.ndarray:
    """A symmetric C_ss; small counts, so that scores tie often."""
    half = np.array(draw(st.lists(st.integers(0, largest), min_size=N * N, max_size=N * N)))
    matrix = np.triu(half.reshape(N, N), 1)
    matrix[0] = 0
    return matrix + matrix.T


def algorithm_2(
    maps: list[np.ndarray], matrix: np.ndarray, *, count: str = "sum", **keywords: object
) -> list[literal.Mixed]:
    """The reference, for what it says of partners alone."""
    images = [np.zeros((2, 4, 3))] * len(maps)
    settings = {"alpha": 0.4, "gamma": 3, "rng": stream(0, "literal")} | keywords
    return literal.algorithm_2(images, maps, matrix, count=count, **settings)


def batch_of(maps: list[np.ndarray], seed: int = 0) -> Batch:
    """The label maps with images of noise."""
    image_BCHW = torch.from_numpy(np.random.default_rng(seed).random((len(maps), 3, *maps[0].shape)))
    return Batch(image_BCHW.float(), torch.from_numpy(np.stack(maps)).long())


def assert_same(first: MixedBatch, second: MixedBatch) -> None:
    for name in ("image_BCHW", "dominant_BHW", "phantom_BHW", "delta_B", "partner_B"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name


# Partners


@settings(deadline=None, max_examples=150)
@given(BATCHES, matrices(), st.sampled_from(["sum", "union"]), SEEDS)
def test_partners_are_those_of_algorithm_2(
    maps: list[np.ndarray], matrix: np.ndarray, count: str, seed: int
) -> None:
    partner_B, total_B = cooccurrence_partners(
        presence(maps, N), matrix, rng=np.random.default_rng(seed), count=count
    )
    assert partner_B.dtype == total_B.dtype == torch.int64
    for k, expected in enumerate(algorithm_2(maps, matrix, count=count)):
        assert partner_B[k] != k
        assert int(partner_B[k]) in expected.candidates
        assert total_B[k] == expected.mixed_category_list[partner_B[k]]


@settings(deadline=None, max_examples=50)
@given(BATCHES, matrices(), SEEDS)
def test_partners_are_drawn_alike_from_tensors_and_arrays(
    maps: list[np.ndarray], matrix: np.ndarray, seed: int
) -> None:
    held = presence(maps, N)
    arrays = cooccurrence_partners(held, matrix, rng=np.random.default_rng(seed))
    tensors = cooccurrence_partners(
        torch.from_numpy(held), torch.from_numpy(matrix), rng=np.random.default_rng(seed)
    )
    assert torch.equal(arrays[0], tensors[0])
    assert torch.equal(arrays[1], tensors[1])


@settings(deadline=None, max_examples=100)
@given(
    st.lists(CATEGORIES, min_size=3, max_size=7), matrices(largest=10**6), st.randoms(use_true_random=False)
)
def test_permuting_a_batch_permutes_its_pairs(
    maps: list[np.ndarray], matrix: np.ndarray, random: object
) -> None:
    order = list(range(len(maps)))
    random.shuffle(order)
    partner_B, total_B = cooccurrence_partners(presence(maps, N), matrix, rng=stream(0))
    moved_B, moved_total_B = cooccurrence_partners(
        presence([maps[k] for k in order], N), matrix, rng=stream(1)
    )
    expected = algorithm_2(maps, matrix)
    for place, k in enumerate(order):
        if len(expected[k].candidates) == 1:  # ties are drawn, and the draw may differ
            assert order[moved_B[place]] == partner_B[k]
            assert moved_total_B[place] == total_B[k]


def test_the_score_is_the_double_sum_over_both_images() -> None:
    """R5: with the paper's slip, C[M[i]][K[i]], sample 0 would choose sample 2."""
    matrix = np.zeros((N, N), dtype=np.int64)
    for first, second, images in ((1, 3, 4), (2, 3, 4), (1, 4, 5)):
        matrix[first, second] = matrix[second, first] = images
    maps = [label_map([1, 2]), label_map([3]), label_map([4])]
    assert cooccurrence_partners(presence(maps, N), matrix, rng=stream(0))[0][0] == 1


def test_background_earns_no_score_and_counts_in_no_total() -> None:
    matrix = np.ones((N, N), dtype=np.int64)  # row 0 filled on purpose
    maps = [label_map([0, 1]), label_map([2, 3]), label_map([0])]
    partner_B, total_B = cooccurrence_partners(presence(maps, N), matrix, rng=stream(0))
    assert partner_B[:2].tolist() == [1, 0]
    assert total_B.tolist() == [3, 3, 0]


def test_a_shared_category_counts_twice_in_the_sum_and_once_in_the_union() -> None:
    maps = [label_map([1, 2]), label_map([2, 3])]
    matrix = np.ones((N, N), dtype=np.int64)
    for count, total in (("sum", 4), ("union", 3)):
        assert cooccurrence_partners(presence(maps, N), matrix, rng=stream(0), count=count)[1].tolist() == [
            total,
            total,
        ]


@pytest.mark.parametrize("case", ["no category", "no cooccurrence", "equal scores"])
def test_ties_are_broken_evenly_among_the_others(case: str) -> None:
    maps = [label_map([0] if case == "no category" else [1]) for _ in range(4)]
    matrix = np.zeros((N, N), dtype=np.int64)
    matrix[1, 1] = case == "equal scores"
    rng = stream(3)
    draws = [cooccurrence_partners(presence(maps, N), matrix, rng=rng)[0].tolist() for _ in range(300)]
    picks = Counter((k, m) for draw in draws for k, m in enumerate(draw))
    assert set(picks) == {(k, m) for k in range(4) for m in range(4) if k != m}
    assert 60 < min(picks.values()) <= max(picks.values()) < 140  # 100 each, standard deviation 8
    both = sum(first == second for first, second, *_ in draws)
    assert 40 < both < 95  # each draws for itself: two in nine, 67, meet in one partner; deviation 7


def test_a_batch_of_one_gets_itself() -> None:
    partner_B, total_B = cooccurrence_partners(presence([label_map([1])], N), np.eye(N), rng=stream(0))
    assert partner_B.tolist() == [0]
    assert total_B.shape == (1,)


@settings(deadline=None, max_examples=50)
@given(BATCHES)
def test_presence_of_a_batch_is_presence(maps: list[np.ndarray]) -> None:
    label_BHW = torch.from_numpy(np.stack(maps))
    for label in (label_BHW, label_BHW.long()):
        np.testing.assert_array_equal(presence_of(label, N).numpy(), presence(maps, N))


def test_random_partners_are_every_other_sample_alike() -> None:
    rng = stream(5)
    draws = [random_partners(4, rng=rng).tolist() for _ in range(300)]
    picks = Counter((k, m) for draw in draws for k, m in enumerate(draw))
    assert set(picks) == {(k, m) for k in range(4) for m in range(4) if k != m}
    assert 60 < min(picks.values()) <= max(picks.values()) < 140
    both = sum(first == second for first, second, *_ in draws)
    assert 40 < both < 95  # each draws for itself: two in nine, 67, meet in one partner; deviation 7
    assert random_partners(1, rng=rng).tolist() == [0]


# Delta


@settings(deadline=None, max_examples=50)
@given(st.floats(0.05, 5), st.integers(1, 40), SEEDS)
def test_delta_is_the_folded_beta_draw(alpha: float, size: int, seed: int) -> None:
    folded_B = sample_delta(alpha, size, rng=np.random.default_rng(seed))
    plain_B = sample_delta(alpha, size, rng=np.random.default_rng(seed), fold=False)
    drawn = np.random.default_rng(seed).beta(alpha, alpha, size=size)
    np.testing.assert_array_equal(plain_B.numpy(), drawn.astype(np.float32))
    np.testing.assert_allclose(folded_B.numpy(), np.maximum(drawn, 1 - drawn), rtol=1e-6)
    assert folded_B.dtype == torch.float32
    assert folded_B.shape == (size,)
    assert bool((folded_B >= 0.5).all() and (folded_B <= 1).all())


def test_samples_of_a_batch_have_deltas_of_their_own_spread_over_the_range() -> None:
    folded_B = sample_delta(0.4, 4000, rng=stream(0))
    assert len(folded_B.unique()) > 3900
    assert folded_B.mean().item() == pytest.approx(0.84, abs=0.01)  # the folded mean at alpha 0.4 (R3)
    plain_B = sample_delta(1.0, 4000, rng=stream(0), fold=False)  # Beta(1, 1) is uniform
    assert np.histogram(plain_B.numpy(), bins=4, range=(0, 1))[0].min() > 900


@pytest.mark.parametrize("alpha", [0, -1.0])
def test_without_alpha_delta_is_one(alpha: float) -> None:
    assert sample_delta(alpha, 3, rng=stream(0)).tolist() == [1, 1, 1]
    assert sample_delta(alpha, 3, rng=stream(0), fold=False).tolist() == [1, 1, 1]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0.5, 1, width=32), st.integers(0, 8)), min_size=1, max_size=8),
    st.integers(0, 6),
    st.sampled_from([0.9, 1.0]),
)
def test_the_cap_touches_only_the_samples_beyond_it(
    samples: list[tuple[float, int]], gamma: int, capped: float
) -> None:
    delta_B, total_B = torch.tensor([d for d, _ in samples]), torch.tensor([t for _, t in samples])
    before = delta_B.clone()
    expected = [np.float32(capped) if total > gamma else np.float32(delta) for delta, total in samples]
    assert cap_delta(delta_B, total_B, gamma=gamma, capped=capped).tolist() == expected
    assert torch.equal(delta_B, before)


def test_the_cap_of_the_paper() -> None:
    capped_B = cap_delta(torch.tensor([0.6, 0.6, 0.97]), torch.tensor([3, 4, 7]))
    torch.testing.assert_close(capped_B, torch.tensor([0.6, 0.9, 0.9]))


@settings(deadline=None, max_examples=100)
@given(BATCHES, matrices(), st.floats(0.1, 3), st.integers(0, 6), SEEDS)
def test_the_printed_reading_is_algorithm_2_as_printed(
    maps: list[np.ndarray], matrix: np.ndarray, alpha: float, gamma: int, seed: int
) -> None:
    """R1: one draw for the batch, and 0.9 stays with every later sample once a pair went beyond the cap."""
    expected = algorithm_2(
        maps, matrix, alpha=alpha, gamma=gamma, rng=np.random.default_rng(seed), as_printed=True
    )
    total_B = torch.tensor([mixed.mixed_category_list[mixed.top_sim_idx] for mixed in expected])
    declared = Delta(distribution="beta", alpha=alpha, fold=False, literal=True)
    delta_B = draw_delta(declared, Cap(gamma=gamma), total_B, rng=np.random.default_rng(seed))
    np.testing.assert_allclose(delta_B.numpy(), [mixed.delta for mixed in expected], rtol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_the_printed_reading_keeps_the_dominant_image_dominant_where_it_is_folded(seed: int) -> None:
    total_B = torch.tensor([2, 3, 4, 5, 2])
    printed, folded = (
        draw_delta(
            Delta(distribution="beta", fold=fold, literal=True),
            Cap(),
            total_B,
            rng=np.random.default_rng(seed),
        )
        for fold in (False, True)
    )
    assert folded[0].item() == pytest.approx(max(printed[0].item(), 1 - printed[0].item()))
    assert folded.tolist()[1:] == pytest.approx([folded[0].item(), 0.9, 0.9, 0.9])


@pytest.mark.parametrize(
    ("factors", "reason"),
    [
        ({"distribution": "uniform", "literal": True}, "as printed draws delta from a beta distribution"),
        ({"distribution": "uniform", "low": 0.8, "high": 0.7}, r"between 0\.8 and 0\.7 is no range"),
        ({"distribution": "uniform", "high": 1.5}, r"within 0\.\.1"),
    ],
)
def test_a_delta_that_means_nothing_is_refused(factors: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Delta(**factors)


def test_draw_delta_follows_the_declaration() -> None:
    total_B = torch.tensor([2, 3, 4, 5] * 100)
    uniform_B = draw_delta(SOURCESEP_CC.delta, SOURCESEP_CC.cap, total_B, rng=stream(0))
    assert 0.7 <= uniform_B.min() < 0.71
    assert 0.99 < uniform_B.max() <= 1
    low_B = draw_delta(Delta(distribution="uniform", low=0.2, high=0.4), None, total_B, rng=stream(0))
    assert 0.2 <= low_B.min() < 0.21
    assert 0.39 < low_B.max() <= 0.4
    beyond_B = total_B > 3
    weakened_B = draw_delta(SOURCESEP_CM.delta, SOURCESEP_CM.cap, total_B, rng=stream(0))
    free_B = draw_delta(SOURCESEP_CM.delta, None, total_B, rng=stream(0))
    refused_B = draw_delta(SOURCESEP_CM.delta, Cap(gamma=3, beyond="refuse"), total_B, rng=stream(0))
    assert set(weakened_B[beyond_B].tolist()) == {np.float32(0.9)}
    assert set(refused_B[beyond_B].tolist()) == {1.0}
    assert (free_B[beyond_B] < 0.8).any()
    for drawn_B in (weakened_B, refused_B):
        assert torch.equal(drawn_B[~beyond_B], free_B[~beyond_B])


# Eq. 1


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5).flatmap(lambda b: st.lists(st.integers(0, b - 1), min_size=b, max_size=b)), SEEDS)
def test_blend_is_equation_1(partners: list[int], seed: int) -> None:
    size, rng = len(partners), np.random.default_rng(seed)
    batch = batch_of([rng.integers(0, N, size=(3, 4)) for _ in range(size)], seed)
    delta = rng.uniform(0, 1, size=size)
    mixed = blend(batch, torch.tensor(partners), torch.from_numpy(delta).float())
    image, label = batch.image_BCHW.numpy().astype(np.float64), batch.label_BHW.numpy()
    for k, m in enumerate(partners):
        expected = delta[k] * image[k] + (1 - delta[k]) * image[m]
        np.testing.assert_allclose(mixed.image_BCHW[k].numpy(), expected, atol=1e-6)
        np.testing.assert_array_equal(mixed.dominant_BHW[k].numpy(), label[k])
        np.testing.assert_array_equal(mixed.phantom_BHW[k].numpy(), label[m])
    assert mixed.partner_B.tolist() == partners
    assert mixed.image_BCHW.dtype == mixed.delta_B.dtype == torch.float32


def test_delta_one_returns_the_dominant_image_and_zero_the_phantom() -> None:
    batch = batch_of([label_map([c]) for c in (1, 2, 3)])
    partner_B = torch.tensor([1, 2, 0])
    assert torch.equal(blend(batch, partner_B, torch.ones(3)).image_BCHW, batch.image_BCHW)
    assert torch.equal(blend(batch, partner_B, torch.zeros(3)).image_BCHW, batch.image_BCHW[[1, 2, 0]])


def test_the_dominant_image_is_the_heavier_one() -> None:
    """White with label 1 and black with label 2, so that a swap of images, labels or weights shows."""
    image_BCHW = torch.stack([torch.ones(3, 1, 1), torch.zeros(3, 1, 1)])
    batch = Batch(image_BCHW, torch.tensor([1, 2])[:, None, None])
    mixed = blend(batch, torch.tensor([1, 0]), torch.tensor([0.75, 0.875]))
    assert mixed.image_BCHW[:, 0, 0, 0].tolist() == [0.75, 0.125]
    assert mixed.dominant_BHW.flatten().tolist() == [1, 2]
    assert mixed.phantom_BHW.flatten().tolist() == [2, 1]


def test_blend_is_pure() -> None:
    batch = batch_of([label_map([c]) for c in (1, 2)])
    image_BCHW, label_BHW = batch.image_BCHW.clone(), batch.label_BHW.clone()
    blend(batch, torch.tensor([1, 0]), torch.tensor([0.6, 0.7]))
    paste(batch, torch.tensor([1, 0]), [(0, 2, 0, 2)] * 2)
    assert torch.equal(batch.image_BCHW, image_BCHW)
    assert torch.equal(batch.label_BHW, label_BHW)


@pytest.mark.parametrize("method", [MIXUP, SOURCESEP_CC, SOURCESEP_CM])
def test_a_blend_into_an_earlier_one_is_the_same_blend_in_its_memory(method: Method) -> None:
    matrix_NN = torch.from_numpy(MATRIX)
    earlier = mix(method, batch_of(MAPS[::-1], seed=1), matrix_NN, rng=stream(1))
    fresh = mix(method, batch_of(MAPS), matrix_NN, rng=stream(0))
    again = mix(method, batch_of(MAPS), matrix_NN, rng=stream(0), out=earlier)
    assert_same(again, fresh)
    assert again.image_BCHW.data_ptr() == earlier.image_BCHW.data_ptr()


# CutMix


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 1), SEEDS)
def test_boxes_lie_inside_and_have_the_declared_area(
    height: int, width: int, delta: float, seed: int
) -> None:
    boxes = draw_boxes(torch.full((4,), delta), height, width, rng=np.random.default_rng(seed))
    box_height, box_width = round((1 - delta) ** 0.5 * height), round((1 - delta) ** 0.5 * width)
    for top, bottom, left, right in boxes:
        assert 0 <= top <= bottom <= height
        assert 0 <= left <= right <= width
        for low, high, side, full in ((top, bottom, height, box_height), (left, right, width, box_width)):
            touches = low == 0 or high == side
            assert high - low == full or (touches and high - low < full)


def test_a_box_clear_of_the_border_covers_one_minus_delta() -> None:
    for delta in (0.75, 0.96):
        boxes = draw_boxes(torch.full((200,), delta), 100, 200, rng=stream(0))
        clear = [b for b in boxes if b[0] > 0 and b[1] < 100 and b[2] > 0 and b[3] < 200]
        assert len(clear) > 20
        assert {(b - t) * (r - left) for t, b, left, r in clear} == {round((1 - delta) * 20000)}
        assert len({(t, left) for t, _, left, _ in clear}) > 20  # each sample has a box of its own
    assert all(b == t or r == left for t, b, left, r in draw_boxes(torch.ones(9), 8, 8, rng=stream(0)))


def test_boxes_lie_round_a_middle_that_is_anywhere() -> None:
    """Four tenths of a side long, a box is cut off at either end in one case of five."""
    boxes = np.array(draw_boxes(torch.full((4000,), 0.84), 100, 200, rng=stream(0)))
    for low, high, side in ((0, 1, 100), (2, 3, 200)):
        length = boxes[:, high] - boxes[:, low]
        for cut in (boxes[:, low] == 0, boxes[:, high] == side):
            assert (cut & (length < 0.4 * side)).mean() == pytest.approx(0.2, abs=0.03)


def test_paste_brings_the_partners_pixels_and_labels() -> None:
    maps = [np.full((4, 6), c) for c in (1, 2, 3)]
    batch = batch_of(maps)
    partners, boxes = [2, 0, 1], [(1, 3, 2, 6), (0, 4, 0, 6), (2, 2, 0, 6)]
    mixed = paste(batch, torch.tensor(partners), boxes)
    for k, (top, bottom, left, right) in enumerate(boxes):
        for y in range(4):
            for x in range(6):
                source = partners[k] if top <= y < bottom and left <= x < right else k
                assert torch.equal(mixed.image_BCHW[k, :, y, x], batch.image_BCHW[source, :, y, x])
                assert mixed.dominant_BHW[k, y, x] == source + 1
    assert mixed.phantom_BHW[:, 0, 0].tolist() == [3, 1, 2]
    assert mixed.delta_B.tolist() == [1, 1, 1]


def test_paste_takes_phantoms_from_a_second_half() -> None:
    batch = batch_of([label_map([c]) for c in (1, 2, 3, 4)])
    mixed = paste(batch, torch.tensor([2, 3]), [(0, 2, 0, 4), (0, 0, 0, 0)])
    assert torch.equal(mixed.image_BCHW, batch.image_BCHW[[2, 1]])
    assert torch.equal(mixed.dominant_BHW, batch.label_BHW[[2, 1]])
    assert torch.equal(mixed.phantom_BHW, batch.label_BHW[[2, 3]])


# Categorical clustering


def test_cluster_pairs_are_the_distribution_of_section_3_1_1() -> None:
    """A draw is one line of the written-out data set: (member of a cluster) x (image of another cluster)."""
    members = (
        np.zeros(0, np.int64),
        np.array([0, 1, 4]),
        np.array([1]),
        np.zeros(0, np.int64),
        np.array([2, 3]),
    )
    expected: Counter[tuple[int, int]] = Counter()
    memberships = [(image, category) for category in (1, 2, 4) for image in members[category]]
    for image, category in memberships:
        for other in {1, 2, 4} - {category}:
            for phantom in members[other]:
                share = 1 / len(memberships) / 2 / len(members[other])
                expected[int(image), int(phantom)] += share
    draws = 60000
    dominant_B, phantom_B = cluster_pairs(members, draws, rng=stream(0))
    assert dominant_B.dtype == phantom_B.dtype == np.int64
    drawn = Counter(zip(dominant_B.tolist(), phantom_B.tolist(), strict=True))
    assert drawn.keys() == expected.keys()
    for pair, share in expected.items():
        deviation = (share * (1 - share) / draws) ** 0.5
        assert abs(drawn[pair] / draws - share) < 5 * deviation, pair


def test_cluster_pairs_join_two_categories() -> None:
    held = presence([label_map([0, c]) for c in (1, 1, 1, 2, 5, 5)], N)
    dominant_B, phantom_B = cluster_pairs(clusters(held), 500, rng=stream(1))
    category = held[:, 1:].argmax(1)
    assert (category[dominant_B] != category[phantom_B]).all()
    assert set(dominant_B.tolist()) == set(phantom_B.tolist()) == set(range(6))


def test_clustering_needs_two_categories() -> None:
    empty = np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="at least two categories"):
        cluster_pairs((empty, np.array([0, 1]), empty), 4, rng=stream(0))


# The five methods


MAPS = [label_map(c) for c in ([0, 1], [2, 3], [1], [2, 4, 5], [0], [3])]
MATRIX = cooccurrence_matrix(presence([*MAPS, label_map([1, 3]), label_map([1, 3])], N))


def mixed_by(method: Method, *, maps: list[np.ndarray] = MAPS, seed: int = 0) -> tuple[Batch, MixedBatch]:
    batch = batch_of(maps)
    return batch, mix(method, batch, torch.from_numpy(MATRIX), rng=stream(seed, "mix"))


def check_equation_1(batch: Batch, mixed: MixedBatch) -> None:
    delta_B111 = mixed.delta_B[:, None, None, None]
    size = len(mixed.partner_B)
    expected = delta_B111 * batch.image_BCHW[:size] + (1 - delta_B111) * batch.image_BCHW[mixed.partner_B]
    torch.testing.assert_close(mixed.image_BCHW, expected)
    assert torch.equal(mixed.dominant_BHW, batch.label_BHW[:size])
    assert torch.equal(mixed.phantom_BHW, batch.label_BHW[mixed.partner_B])


def test_the_baseline_mixes_nothing() -> None:
    batch, mixed = mixed_by(METHODS["baseline"].method)
    assert torch.equal(mixed.image_BCHW, batch.image_BCHW)
    assert torch.equal(mixed.dominant_BHW, batch.label_BHW)
    assert mixed.delta_B.tolist() == [1] * 6


def test_mixup_blends_random_pairs_with_an_unfolded_delta() -> None:
    deltas = []
    for seed in range(20):
        batch, mixed = mixed_by(METHODS["mixup"].method, seed=seed)
        check_equation_1(batch, mixed)
        assert (mixed.partner_B != torch.arange(6)).all()
        deltas += mixed.delta_B.tolist()
    assert min(deltas) < 0.1
    assert max(deltas) > 0.9


def test_cutmix_pastes_random_pairs() -> None:
    shares = []
    maps = [np.full((20, 20), c) for c in range(6)]
    for seed in range(10):
        batch, mixed = mixed_by(METHODS["cutmix"].method, maps=maps, seed=seed)
        for k, m in enumerate(mixed.partner_B.tolist()):
            assert m != k
            pasted_HW = mixed.dominant_BHW[k] == m
            assert bool((pasted_HW | (mixed.dominant_BHW[k] == k)).all())
            expected = torch.where(pasted_HW, batch.image_BCHW[m], batch.image_BCHW[k])
            assert torch.equal(mixed.image_BCHW[k], expected)
            shares.append(pasted_HW.float().mean().item())
    assert mixed.delta_B.tolist() == [1] * 6
    assert min(shares) < 0.1
    assert max(shares) > 0.6


def test_sourcesep_cc_blends_the_first_half_with_the_second() -> None:
    batch, mixed = mixed_by(METHODS["sourcesep-cc"].method)
    check_equation_1(batch, mixed)
    assert mixed.partner_B.tolist() == [3, 4, 5]
    assert bool((mixed.delta_B >= 0.7).all() and (mixed.delta_B <= 1).all())


def test_sourcesep_cm_is_algorithm_2_from_end_to_end() -> None:
    batch = batch_of(MAPS)
    images = [image.transpose(1, 2, 0) for image in batch.image_BCHW.numpy().astype(np.float64)]
    free = capped = 0
    for seed in range(30):
        _, mixed = mixed_by(METHODS["sourcesep-cm"].method, seed=seed)
        check_equation_1(batch, mixed)
        expected = literal.algorithm_2(images, MAPS, MATRIX, alpha=0.4, gamma=3, rng=stream(seed))
        for k, reference in enumerate(expected):
            m = int(mixed.partner_B[k])
            assert m in reference.candidates
            assert mixed.delta_B[k] >= 0.5
            if reference.mixed_category_list[m] > 3:
                assert mixed.delta_B[k].item() == pytest.approx(0.9)
                capped += 1
            else:
                free += abs(mixed.delta_B[k].item() - 0.9) > 1e-6
            if reference.delta == 0.9 and m == reference.top_sim_idx:
                np.testing.assert_allclose(
                    mixed.image_BCHW[k].numpy().transpose(1, 2, 0), reference.image, atol=1e-6
                )
                np.testing.assert_array_equal(mixed.phantom_BHW[k].numpy(), reference.phantom)
    assert capped > 30
    assert free > 110  # four samples of six never find a pair beyond the cap, and keep their own draw


def test_the_batchs_own_presence_is_used_where_it_has_one() -> None:
    """Cropping may cut a category away: what the batch says of itself decides."""
    batch = batch_of([label_map([0])] * 3)
    held_BN = torch.zeros(3, N, dtype=torch.bool)
    held_BN[0, 1] = held_BN[2, 3] = True
    mixed = mix(
        SOURCESEP_CM,
        Batch(batch.image_BCHW, batch.label_BHW, held_BN),
        torch.from_numpy(MATRIX),
        rng=stream(0),
    )
    assert mixed.partner_B[[0, 2]].tolist() == [2, 0]


def test_the_union_reading_caps_fewer_pairs() -> None:
    maps = [label_map([1, 2]), label_map([1, 2])]
    by_union = replace(SOURCESEP_CM, cap=Cap(gamma=3, count="union"))
    assert mixed_by(SOURCESEP_CM, maps=maps)[1].delta_B.tolist() == [np.float32(0.9)] * 2
    assert np.float32(0.9) not in mixed_by(by_union, maps=maps)[1].delta_B.tolist()


@pytest.mark.parametrize("name", METHODS)
def test_the_same_stream_mixes_the_same_batch(name: str) -> None:
    first, second, other = (mixed_by(METHODS[name].method, seed=seed)[1] for seed in (4, 4, 5))
    assert_same(first, second)
    if name != "baseline":
        assert not torch.equal(first.image_BCHW, other.image_BCHW)


@pytest.mark.parametrize("method", [MIXUP, CUTMIX, SOURCESEP_CM])
def test_a_batch_of_one_is_left_unmixed(method: Method) -> None:
    batch, mixed = mixed_by(method, maps=MAPS[3:4])
    assert_same(mixed, unmixed(batch))
    assert mixed.delta_B.tolist() == [1]
    assert mixed.partner_B.tolist() == [0]


def test_unmixed_samples_are_their_own_partners() -> None:
    batch = batch_of(MAPS)
    mixed = unmixed(batch)
    check_equation_1(batch, mixed)
    assert mixed.partner_B.tolist() == list(range(6))
