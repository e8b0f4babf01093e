"""The pairings that keep Algorithm 2's score, and what each does to the pairs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_tiny_voc
from hypothesis import given, settings
from hypothesis import strategies as st

from segmix_core.cooccurrence import cooccurrence_matrix
from segmix_core.data import open_dataset
from segmix_core.data.label_table import read_label_table
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.experiments import METHODS, Experiment, Method
from segmix_core.experiments.scales import SMOKE
from segmix_core.mixing import (
    MEMORY,
    assigned_partners,
    choose_partners,
    cooccurrence_partners,
    mix,
    pair_scores,
    proportional_partners,
)
from segmix_core.pairing_statistics import PAIRINGS, _of_batch, measure_pairing, over_seeds
from segmix_core.records import Batch, MixedBatch
from segmix_core.request import Request, model_of, plan_of
from segmix_core.training import TrainingBatches, stages, train

CM = METHODS["sourcesep-cm"].method
FUNCTIONS = (cooccurrence_partners, proportional_partners, assigned_partners)


@st.composite
def batches(draw: st.DrawFn, least: int = 2) -> tuple[np.ndarray, np.ndarray, int]:
    """Presence (B, N), a symmetric matrix with a zero diagonal, and a seed."""
    size, categories = draw(st.integers(least, 7)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    presence = rng.random((size, categories)) < draw(st.sampled_from([0.0, 0.3, 0.6]))
    matrix = np.triu(rng.integers(0, draw(st.sampled_from([1, 3, 500])), size=(categories, categories)), 1)
    matrix[0] = 0
    return presence, matrix + matrix.T, draw(st.integers(0, 99))


@given(batches())
@settings(max_examples=60, deadline=None)
def test_nobody_is_its_own_partner_and_the_total_is_of_the_chosen_pair(
    batch: tuple[np.ndarray, np.ndarray, int],
) -> None:
    presence, matrix, seed = batch
    for function in FUNCTIONS:
        partner_B, total_B = function(presence, matrix, rng=np.random.default_rng(seed))
        number = presence[:, 1:].sum(1)
        for sample, partner in enumerate(partner_B.tolist()):
            assert partner != sample
            both = number[sample] > 0 and number[partner] > 0
            assert total_B[sample] == (number[sample] + number[partner] if both else 0)


@given(batches())
@settings(max_examples=60, deadline=None)
def test_an_assignment_serves_each_once_and_no_other_has_a_higher_total(
    batch: tuple[np.ndarray, np.ndarray, int],
) -> None:
    presence, matrix, seed = batch
    partner_B, _ = assigned_partners(presence, matrix, rng=np.random.default_rng(seed))
    size = len(presence)
    assert sorted(partner_B.tolist()) == list(range(size))
    score = pair_scores(presence, matrix)[0].numpy()
    reached = score[np.arange(size), partner_B.numpy()].sum()
    rng = np.random.default_rng(seed + 1)
    for _ in range(60):
        other = rng.permutation(size)
        if (other != np.arange(size)).all():
            assert score[np.arange(size), other].sum() <= reached


def test_equal_assignments_are_chosen_among_at_random() -> None:
    presence, matrix = np.zeros((4, 3), dtype=bool), np.zeros((3, 3), dtype=np.int64)
    drawn = {
        tuple(assigned_partners(presence, matrix, rng=np.random.default_rng(seed))[0].tolist())
        for seed in range(200)
    }
    assert len(drawn) == 9  # the derangements of four


def test_a_pool_offers_partners_beyond_the_batch() -> None:
    """Two samples with a cat; the dog that goes with it is only in the memory, once."""
    cat, dog, none = [False, True, False], [False, False, True], [False, False, False]
    matrix = np.zeros((3, 3), dtype=np.int64)
    matrix[1, 2] = matrix[2, 1] = 5
    pool = np.array([cat, cat, none, dog, none])
    for seed in range(5):
        partner_B, total_B = assigned_partners(
            pool[:2], matrix, rng=np.random.default_rng(seed), pool_PN=pool
        )
        first, second = partner_B.tolist()
        assert 3 in (first, second)
        assert first != second
        assert (first, second) != (0, 1)
        assert sorted(total_B.tolist())[1] == 2


def test_a_proportional_partner_comes_as_often_as_its_score_says() -> None:
    presence = np.eye(5, dtype=bool)[1:]
    matrix = np.zeros((5, 5), dtype=np.int64)
    matrix[1, 2:] = matrix[2:, 1] = (1, 3, 6)
    rng = np.random.default_rng(0)
    drawn = np.array([proportional_partners(presence, matrix, rng=rng)[0].tolist() for _ in range(3000)])
    counts = np.bincount(drawn[:, 0], minlength=4)
    expected = 3000 * np.array([0.1, 0.3, 0.6])
    assert counts[0] == 0
    assert ((counts[1:] - expected) ** 2 / expected).sum() < 13.8  # chi square, 2 degrees, one in a thousand
    assert set(drawn[:, 1]) == {0}  # its only positive score
    nothing = np.zeros_like(matrix)
    free = np.array([proportional_partners(presence, nothing, rng=rng)[0].tolist() for _ in range(600)])
    assert [sorted(set(free[:, sample])) for sample in range(2)] == [[1, 2, 3], [0, 2, 3]]
    # Each draws for itself: two in nine meet in one partner.
    assert (free[:, 0] == free[:, 1]).mean() == pytest.approx(2 / 9, abs=0.07)


def test_the_average_does_not_choose_a_sample_for_its_many_categories() -> None:
    """A horse alone meets a person 9 times in each pair; the crowd meets it less often, but in many pairs."""
    presence = np.array([[0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 1]], dtype=bool)
    matrix = np.zeros((5, 5), dtype=np.int64)
    matrix[1, 2:] = matrix[2:, 1] = (9, 7, 7)
    rng = np.random.default_rng(0)
    assert cooccurrence_partners(presence, matrix, rng=rng)[0][0] == 2
    assert cooccurrence_partners(presence, matrix, rng=rng, average=True)[0][0] == 1


def labelled(*categories: int) -> Batch:
    """A batch of 4 x 4 images of one category each, coloured by their number."""
    label = torch.tensor(categories)[:, None, None].expand(-1, 4, 4).contiguous()
    image = torch.arange(len(categories))[:, None, None, None].expand(-1, 3, 4, 4) / 10.0
    return Batch(image.contiguous(), label)


def test_every_declared_pairing_mixes_and_its_cap_acts() -> None:
    matrix = torch.zeros(21, 21, dtype=torch.int64)
    matrix[1:, 1:] = 1 - torch.eye(20, dtype=torch.int64)
    batch = labelled(1, 2, 3, 4)
    for pairing in ("random", "cooccurrence", "average", "proportional", "assignment", "memory"):
        assert CM.cap is not None
        tight = replace(CM, pairing=pairing, cap=replace(CM.cap, gamma=1))
        mixed = mix(tight, batch, matrix, rng=np.random.default_rng(0))
        assert torch.equal(mixed.delta_B, torch.full((4,), 0.9)), pairing
        alike = labelled(1, 1, 1, 1)  # two categories by their sum, one by their union (R4)
        assert torch.equal(mix(tight, alike, matrix, rng=np.random.default_rng(0)).delta_B, mixed.delta_B)
        union = replace(tight, cap=replace(CM.cap, gamma=1, count="union"))
        assert not (mix(union, alike, matrix, rng=np.random.default_rng(0)).delta_B == 0.9).any(), pairing
        loose = mix(replace(CM, pairing=pairing), batch, matrix, rng=np.random.default_rng(0))
        assert not (loose.delta_B == 0.9).any(), pairing
        assert torch.equal(loose.dominant_BHW, batch.label_BHW)
        assert (loose.phantom_BHW != loose.dominant_BHW).all(), pairing


def test_the_memory_lends_crops_of_batches_before() -> None:
    matrix = torch.zeros(21, 21, dtype=torch.int64)
    matrix[1, 9] = matrix[9, 1] = 100
    batch, before = labelled(1, 1), labelled(9, 9)
    before = Batch(before.image_BCHW + 0.5, before.label_BHW)
    memory = replace(CM, pairing="memory", cap=None)
    mixed = mix(memory, batch, matrix, rng=np.random.default_rng(1), recent=[labelled(3, 3), before])
    assert (mixed.phantom_BHW == 9).all()
    expected = mixed.delta_B[:, None, None, None] * batch.image_BCHW
    lent = (mixed.image_BCHW - expected) / (1 - mixed.delta_B[:, None, None, None])
    assert sorted(lent[:, 0, 0, 0].tolist()) == pytest.approx([0.5, 0.6], abs=1e-4)
    alone = mix(memory, batch, matrix, rng=np.random.default_rng(1))
    assignment = mix(replace(CM, pairing="assignment", cap=None), batch, matrix, rng=np.random.default_rng(1))
    assert torch.equal(alone.image_BCHW, assignment.image_BCHW)


def test_a_remembered_batch_is_paired_by_what_it_says_of_itself() -> None:
    """As pseudo-categories do, which its label maps do not hold (R18)."""
    matrix = torch.zeros(21, 21, dtype=torch.int64)
    matrix[1, 9] = matrix[9, 1] = 100
    held = torch.zeros(2, 21, dtype=torch.bool)
    shown, said = (
        Batch(one.image_BCHW, one.label_BHW, held.clone()) for one in (labelled(9, 9), labelled(2, 2))
    )
    assert said.presence_BN is not None
    said.presence_BN[:, 9] = True
    memory = replace(CM, pairing="memory", cap=None)
    mixed = mix(memory, labelled(1, 1), matrix, rng=np.random.default_rng(0), recent=[shown, said])
    assert (mixed.phantom_BHW == 2).all()


def test_a_batch_of_one_is_mixed_with_what_the_memory_holds() -> None:
    matrix = torch.zeros(21, 21, dtype=torch.int64)
    memory = replace(CM, pairing="memory", cap=None)
    for seed in range(5):
        mixed = mix(memory, labelled(1), matrix, rng=np.random.default_rng(seed), recent=[labelled(9)])
        assert mixed.phantom_BHW.unique().tolist() == [9]
        assert 0.5 <= mixed.delta_B.item() < 1


@pytest.mark.parametrize("size", [4, 1])
def test_a_run_with_a_memory_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    lent: list[int] = []
    before: list[tuple[Batch, torch.Tensor]] = []

    def counting(
        method: Method, batch: Batch, *given: Any, recent: Sequence[Batch], **named: Any
    ) -> MixedBatch:
        lent.append(len(recent))
        before.append((batch, batch.image_BCHW.clone()))
        mixed = mix(method, batch, *given, recent=recent, **named)
        assert all(torch.equal(one.image_BCHW, kept) for one, kept in before)  # no blend is written into one
        return mixed

    monkeypatch.setattr(stages, "mix", counting)
    scale = replace(
        SMOKE, name="tiny", crop=33, batch_size=size, aspp_channels=8, stage1_steps=22, stage2_steps=2
    )
    experiment = Experiment(name="remembers", method=replace(CM, pairing="memory"))
    root = write_tiny_voc(tmp_path)
    training = open_dataset("voc2012", root, "train")
    assert 10 % MEMORY != 0

    def run(name: str, stop_at: int | None = None) -> dict[str, torch.Tensor]:
        request = Request(experiment=experiment, scale=scale, dataset="voc2012", root=root, pretrained="none")
        batches = TrainingBatches(training, batch_size=size, crop=33, scale_range=(0.5, 1.5), seed=0)
        model = model_of(request, 21)
        matrix = cooccurrence_matrix(batches.presence)
        plan = plan_of(request, len(training))
        given = {"folder": tmp_path / name, "resume": True}
        if stop_at:
            with pytest.raises(KeyboardInterrupt):
                train(plan, model, batches, matrix, **given, stopping=lambda: True)
            assert (
                torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["progress"]["step"]
                == stop_at
            )
            model = model_of(request, 21)
        train(plan, model, batches, matrix, **given)
        return model.state_dict()

    whole, stopped = run("whole"), run("stopped", stop_at=10)
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert lent == 2 * [0, 1, 2, 3, *[4] * 18]  # in stage 1 alone


# Statistics


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_statistics_of_three_images_are_what_they_must_be(pairing: str) -> None:
    """Categories 1 and 2 meet in one image of each batch of four; everything is certain or bounded."""
    presence = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]] * 3, dtype=bool)
    found = measure_pairing(pairing, presence, 4, batches=40, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    assert 1 <= found.distinct <= 4
    assert 1 <= found.busiest <= 4
    assert found.capped_union <= found.capped
    assert 0 <= found.never_meet <= 1
    if pairing in ("assignment", "memory"):
        assert found.busiest < 2
    if pairing == "assignment":
        assert (found.distinct, found.busiest) == (4, 1)
    if pairing == "cooccurrence":
        assert found.never_meet < 0.5


def test_the_statistics_of_a_batch_are_counts_done_by_hand() -> None:
    """Images of categories 1; 1, 2; 3; 2, 3, 4, of which 1 and 2 alone ever meet; the last serves two."""
    presence = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 0, 1, 0], [0, 0, 1, 1, 1]], dtype=bool)
    matrix = np.zeros((5, 5), dtype=np.int64)
    matrix[1, 2] = matrix[2, 1] = 1
    found = _of_batch(presence, matrix, np.arange(4), np.array([3, 3, 1, 2]))
    shares = found.pop("share_N")
    assert {name: value.item() for name, value in found.items()} == {
        "distinct": 3,
        "busiest": 2,
        "categories": 9 / 4,
        "capped": 3 / 4,  # totals of 4, 5, 3, 4
        "capped_union": 2 / 4,  # of 4, 4, 3, 3
        "never_meet": 1 / 4,  # the third pair; the fourth shares a category
    }
    assert shares.tolist() == [1 / 2, 1 / 4, 3 / 4, 3 / 4, 1 / 2]
    # An image without any category is beyond no cap, in the statistics as in training.
    presence[0, 1:], presence[3, 1:] = False, True
    found = _of_batch(presence, matrix, np.array([0, 2]), np.array([3, 3]))
    total_B = choose_partners("random", presence[[0, 3]], matrix, rng=np.random.default_rng(0))[1]
    assert total_B.tolist() == [0, 0]
    assert (found["capped"], found["capped_union"]) == (1 / 2, 1 / 2)


def test_each_epoch_has_an_order_of_its_own() -> None:
    """Two cats and two dogs that never meet, in batches of two: in two orders of three all are strangers."""
    presence = np.eye(3, dtype=bool)[[1, 1, 2, 2]]
    found = measure_pairing("assignment", presence, 2, batches=400, rng=np.random.default_rng(0))
    assert found.never_meet == pytest.approx(2 / 3, abs=0.12)
    assert measure_pairing("assignment", presence, 2, rng=np.random.default_rng(0)).never_meet in (0, 1)
    assert (found.ever, found.most) == (1, 200)


def test_pairs_of_two_categories_each_are_beyond_the_cap_of_the_paper() -> None:
    presence = np.array([[1, 1, 1]] * 4, dtype=bool)
    found = measure_pairing("cooccurrence", presence, 4, rng=np.random.default_rng(0))
    assert (found.capped, found.capped_union) == (1, 0)


def test_each_seed_pairs_anew_and_alike() -> None:
    presence = np.eye(9, dtype=bool)[1:]
    first, second = over_seeds("random", presence, 8, seeds=(0, 1))
    (again,) = over_seeds("random", presence, 8, seeds=(1,))
    assert second.share_N.tolist() == again.share_N.tolist() != first.share_N.tolist()


def test_bias_is_nought_for_equal_shares_and_large_for_one() -> None:
    equal = np.repeat(np.eye(5, dtype=bool)[1:], 4, axis=0)
    found = measure_pairing("assignment", equal, 16, batches=1, rng=np.random.default_rng(0))
    assert found.bias == pytest.approx(0)
    one = np.zeros((16, 5), dtype=bool)
    one[:, 3] = True
    assert measure_pairing("random", one, 4, batches=3, rng=np.random.default_rng(0)).bias == pytest.approx(
        0.75
    )


def test_who_ever_serves_in_an_epoch() -> None:
    """A permutation of each batch serves everyone once; a memory lends some again, batch after batch."""
    presence = read_label_table().presence("train_aug")[:1600]
    rng = np.random.default_rng(0)
    found = {name: measure_pairing(name, presence, 16, rng=rng) for name in PAIRINGS}
    assert (found["assignment"].ever, found["assignment"].most) == (1, 1)
    assert found["cooccurrence"].ever < 0.3
    assert found["cooccurrence"].most > 5
    # Hubs of a batch are gone, and those over batches are not: at most once in each of five batches.
    assert found["memory"].distinct > 15
    assert found["memory"].ever < 0.4
    assert 3 <= found["memory"].most <= 2 * (MEMORY + 1)
    assert found["random"].ever > 0.6


def test_the_memory_holds_several_batches() -> None:
    """Of the crops before it, one in four is good company: among four there is one in two cases of three."""
    presence = np.zeros((404, 5), dtype=bool)
    presence[np.arange(400), 1 + np.arange(400) % 4] = True
    presence[400:402, 1:3] = presence[402:, 3:] = True
    found = measure_pairing("memory", presence, 1, rng=np.random.default_rng(0))
    assert 0.1 < found.never_meet < 0.35  # 0.5 with one crop to choose from
    assert measure_pairing("memory", presence, 1, batches=1, rng=np.random.default_rng(0)).never_meet == 0


def test_pairs_that_share_a_category_are_not_strangers() -> None:
    """Two cats score nothing, as C has no diagonal, and are no unlikely company for all that."""
    cats, mixed = np.zeros((8, 5), dtype=bool), np.zeros((8, 5), dtype=bool)
    cats[:, 1] = True
    mixed[:4, 1], mixed[4:, 2] = True, True
    rng = np.random.default_rng(0)
    assert measure_pairing("random", cats, 4, batches=20, rng=rng).never_meet == 0
    assert 0.3 < measure_pairing("random", mixed, 8, batches=50, rng=rng).never_meet < 0.8


def test_an_average_is_over_both_images() -> None:
    """Of two candidates with one category each, the more frequent company wins, however large the asker."""
    presence = np.array([[0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1]], dtype=bool)
    matrix = np.zeros((6, 6), dtype=np.int64)
    matrix[1, 3] = matrix[3, 1] = 5
    matrix[1, 4] = matrix[4, 1] = matrix[1, 5] = matrix[5, 1] = 4
    rng = np.random.default_rng(0)
    assert cooccurrence_partners(presence, matrix, rng=rng)[0][0] == 2
    assert cooccurrence_partners(presence, matrix, rng=rng, average=True)[0][0] == 1


def test_an_unknown_pairing_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fill a batch"):
        measure_pairing("random", np.eye(5, dtype=bool), 8, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="is not one of random"):
        measure_pairing("none", np.eye(5, dtype=bool), 2, batches=1, rng=np.random.default_rng(0))


def test_algorithm_2_makes_hubs_of_people_on_real_statistics() -> None:
    """Batches of 16 of VOC train_aug, as a trap to know: few phantoms, most with a person, most capped."""
    presence = read_label_table().presence("train_aug")
    rng = np.random.default_rng(0)
    found = {name: measure_pairing(name, presence, 16, batches=100, rng=rng) for name in PAIRINGS}
    person = VOC_CATEGORIES.index("person")
    assert found["cooccurrence"].distinct < 5 < found["random"].distinct
    assert found["cooccurrence"].busiest > 8
    assert found["cooccurrence"].share_N[person] > 2 * presence[:, person].mean()
    assert found["cooccurrence"].capped > 2 * found["random"].capped
    assert found["assignment"].distinct == 16
    assert abs(found["assignment"].share_N[person] - presence[:, person].mean()) < 0.06
    assert found["clusters"].bias < found["random"].bias < found["cooccurrence"].bias
