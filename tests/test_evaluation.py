"""The confusion matrix against a double loop and torchmetrics; the protocols with a network made of rules."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_voc
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.transforms import center_crop
from segmix_core.data.voc import VOC_CATEGORIES, open_voc
from segmix_core.errors import InputError, LabelError
from segmix_core.evaluation import ConfusionMatrix, Scores, blends_of, evaluate, evaluate_blends
from segmix_core.records import MixedBatch, Separation

N = 5
PIXELS = st.lists(
    st.tuples(st.integers(0, N - 1), st.sampled_from([*range(N), 255])), min_size=1, max_size=40
)


def columns(pixels: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and label."""
    both = np.array(pixels)
    return both[:, 0], both[:, 1]


def counted(pixels: list[tuple[int, int]], **keywords: int) -> ConfusionMatrix:
    confusion = ConfusionMatrix(N, **keywords)
    confusion.update(*columns(pixels))
    return confusion


# The confusion matrix


@settings(deadline=None, max_examples=100)
@given(PIXELS)
def test_the_matrix_is_a_double_loop(pixels: list[tuple[int, int]]) -> None:
    expected = np.zeros((N, N), dtype=np.int64)
    for predicted, labelled in pixels:
        if labelled != 255:
            expected[labelled, predicted] += 1
    confusion = counted(pixels)
    np.testing.assert_array_equal(confusion.matrix, expected)
    assert confusion.matrix.dtype == np.int64


@settings(deadline=None, max_examples=100)
@given(PIXELS)
def test_the_metrics_are_sums_over_pixels(pixels: list[tuple[int, int]]) -> None:
    confusion = counted(pixels)
    valid = [(predicted, labelled) for predicted, labelled in pixels if labelled != 255]
    ious = []
    for category in range(N):
        hit = sum(predicted == labelled == category for predicted, labelled in valid)
        union = sum(category in (predicted, labelled) for predicted, labelled in valid)
        ious.append(hit / union if union else math.nan)
    np.testing.assert_allclose(confusion.iou(), ious)
    present = [iou for iou in ious if not math.isnan(iou)]
    assert confusion.miou() == pytest.approx(np.mean(present) if present else math.nan, nan_ok=True)
    right = sum(predicted == labelled for predicted, labelled in valid)
    assert confusion.aacc() == pytest.approx(right / len(valid) if valid else math.nan, nan_ok=True)


@settings(deadline=None, max_examples=40)
@given(PIXELS.filter(lambda pixels: any(labelled != 255 for _, labelled in pixels)))
def test_torchmetrics_agrees(pixels: list[tuple[int, int]]) -> None:
    confusion = counted(pixels)
    predicted, labelled = map(torch.from_numpy, columns(pixels))
    theirs = MulticlassConfusionMatrix(N, ignore_index=255)(predicted, labelled)
    np.testing.assert_array_equal(confusion.matrix, theirs.numpy())
    iou = MulticlassJaccardIndex(N, average="none", ignore_index=255)(predicted, labelled).numpy()
    present = ~np.isnan(confusion.iou())
    np.testing.assert_allclose(confusion.iou()[present], iou[present], rtol=1e-5)


def test_a_worked_example() -> None:
    """Rows are labels and columns predictions: one pixel of category 1 was taken for 2, not the reverse."""
    confusion = counted([(0, 0), (0, 0), (1, 1), (2, 1), (2, 2), (3, 255)])
    assert confusion.matrix[1].tolist() == [0, 1, 1, 0, 0]
    assert confusion.matrix[2].tolist() == [0, 0, 1, 0, 0]
    np.testing.assert_array_equal(confusion.iou(), [1, 0.5, 0.5, np.nan, np.nan])
    assert confusion.miou() == pytest.approx(2 / 3)
    assert confusion.miou([1, 2, 4]) == pytest.approx(0.5)
    assert confusion.aacc() == pytest.approx(0.8)
    assert math.isnan(confusion.miou([3, 4]))


def test_a_category_that_is_only_predicted_has_iou_zero_and_counts() -> None:
    confusion = counted([(0, 0), (4, 0)])
    np.testing.assert_array_equal(confusion.iou(), [0.5, np.nan, np.nan, np.nan, 0])
    assert confusion.miou() == 0.25


def test_without_a_labelled_pixel_there_is_no_number() -> None:
    for confusion in (ConfusionMatrix(N), counted([(0, 255), (3, 255)])):
        assert not confusion.matrix.any()
        assert np.isnan(confusion.iou()).all()
        assert math.isnan(confusion.miou())
        assert math.isnan(confusion.aacc())


@settings(deadline=None, max_examples=50)
@given(st.lists(PIXELS, min_size=1, max_size=4))
def test_updates_add_up(batches: list[list[tuple[int, int]]]) -> None:
    confusion = ConfusionMatrix(N)
    for pixels in batches:
        confusion.update(*columns(pixels))
    np.testing.assert_array_equal(
        confusion.matrix, counted([pair for pixels in batches for pair in pixels]).matrix
    )


@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, 3, 4), (2, 1, 3, 4)])
@pytest.mark.parametrize("number", [N, 21, 128, 129, 255])  # 128 is the last that 16 bits can code
def test_any_leading_shape_and_number_of_categories(shape: tuple[int, ...], number: int) -> None:
    rng = np.random.default_rng(number)
    predicted, labelled = rng.integers(0, number, size=(2, 24))
    labelled[:2], predicted[-1], labelled[-1] = 255, number - 1, number - 1
    expected = np.zeros((number, number), dtype=np.int64)
    np.add.at(expected, (labelled[2:], predicted[2:]), 1)
    confusion = ConfusionMatrix(number)
    confusion.update(predicted.reshape(shape), labelled.reshape(shape))
    np.testing.assert_array_equal(confusion.matrix, expected)


@pytest.mark.parametrize("number", [3, 200])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_maps_of_any_integer_type_are_read_and_left_alone(number: int, dtype: torch.dtype) -> None:
    predicted, labelled = torch.tensor([0, 1, 1, 2]).to(dtype), torch.tensor([0, 1, 2, 255]).to(dtype)
    confusion = ConfusionMatrix(number)
    for _ in range(2):
        confusion.update(predicted, labelled)
    assert confusion.matrix[:3, :3].tolist() == [[2, 0, 0], [0, 2, 0], [0, 2, 0]]
    assert predicted.tolist() == [0, 1, 1, 2]
    assert labelled.tolist() == [0, 1, 2, 255]


def test_long_runs_and_their_ends_are_counted() -> None:
    predicted, labelled = np.zeros(1000, dtype=np.int64), np.zeros(1000, dtype=np.int64)
    predicted[400:999], labelled[700:], predicted[999] = 1, 2, 4
    confusion = ConfusionMatrix(N)
    confusion.update(predicted, labelled)
    assert confusion.matrix[0].tolist() == [400, 300, 0, 0, 0]
    assert confusion.matrix[2].tolist() == [0, 299, 0, 0, 1]


def test_counts_are_exact_beyond_16_bits() -> None:
    confusion = ConfusionMatrix(N)
    for _ in range(2):
        confusion.update(np.full((300, 300), 4, dtype=np.uint8), np.full((300, 300), 3, dtype=np.uint8))
    assert confusion.matrix[3, 4] == 180000


def test_another_ignored_label() -> None:
    confusion = counted([(1, 0), (1, 1), (0, 2)], ignore_index=0)
    assert confusion.matrix.sum() == 2
    assert np.isnan(confusion.iou()[3])
    with pytest.raises(LabelError, match=r"label 255 is outside 0\.\.4; only 0 may"):
        confusion.update(np.array([0]), np.array([255]))


@pytest.mark.parametrize("dtype", [np.int16, np.int64])
@pytest.mark.parametrize("wrong", [N, 254, 256, 1000, -1])
def test_labels_out_of_range_are_refused_and_count_nothing(wrong: int, dtype: type[np.integer]) -> None:
    confusion = ConfusionMatrix(N)
    with pytest.raises(LabelError, match=rf"label {wrong} is outside 0\.\.4"):
        confusion.update(np.array([0, 0]), np.array([0, wrong], dtype=dtype))
    assert not confusion.matrix.any()


@pytest.mark.parametrize("wrong", [N, 255, -1])
def test_predictions_out_of_range_are_refused_even_under_void(wrong: int) -> None:
    confusion = ConfusionMatrix(N)
    with pytest.raises(ValueError, match=r"prediction is outside 0\.\.4"):
        confusion.update(np.array([0, wrong]), np.array([0, 255]))
    assert not confusion.matrix.any()


def test_shapes_that_differ_are_refused_and_empty_ones_are_not() -> None:
    confusion = ConfusionMatrix(N)
    with pytest.raises(ValueError, match="differ in shape"):
        confusion.update(np.zeros((2, 3), int), np.zeros((3, 2), int))
    confusion.update(np.zeros((0, 4), int), np.zeros((0, 4), int))
    assert not confusion.matrix.any()


@pytest.mark.parametrize(("number", "ignored"), [(0, 255), (256, 255), (5, 256), (5, -1)])
def test_a_matrix_that_bytes_cannot_label_is_refused(number: int, ignored: int) -> None:
    with pytest.raises(ValueError, match="must be in"):
        ConfusionMatrix(number, ignore_index=ignored)


# The protocols


class Rule(nn.Module):
    """A network that reads the category off the red channel (10 levels each), and is wrong on purpose.

    `dominant` says `instead` where it should say `mistaken`; `final` is right everywhere, or absent.
    """

    def __init__(self, *, mistaken: int = 1, instead: int = 2, final: bool = True) -> None:
        super().__init__()
        self.mistaken, self.instead, self.has_final = mistaken, instead, final
        self.shapes: list[tuple[int, ...]] = []
        self.modes: list[bool] = []

    def forward(self, image_BCHW: Tensor) -> Separation:
        assert 0 <= image_BCHW.min() <= image_BCHW.max() <= 1
        self.shapes.append(tuple(image_BCHW.shape))
        self.modes.append(self.training)
        seen_BHW = (image_BCHW[:, 0] * 255 / 10).round().long().clamp(0, 20)
        wrong_BHW = torch.where(seen_BHW == self.mistaken, self.instead, seen_BHW)
        final, dominant = (
            nn.functional.one_hot(map_BHW, 21).permute(0, 3, 1, 2).float()
            for map_BHW in (seen_BHW, wrong_BHW)
        )
        return Separation(dominant=dominant, phantom=-dominant, final=final if self.has_final else None)


@pytest.fixture
def quadrants(tmp_path: Path) -> SegmentationDataset:
    """Three images: 8 x 12 of category 1 left, 2 right; 10 x 6 of 3 framed by void; 6 x 6 of void alone."""
    first = np.repeat(np.array([[1] * 6 + [2] * 6], dtype=np.uint8), 8, axis=0)
    second = np.full((10, 6), 255, dtype=np.uint8)
    second[1:-1, 1:-1] = 3
    maps = [first, second, np.full((6, 6), 255, dtype=np.uint8)]
    dataset = open_voc(write_voc(tmp_path, {"val": maps}), "val")
    for path, label in zip(dataset.image_paths, maps, strict=True):
        shown = np.repeat((np.where(label == 255, 20, label) * 10).astype(np.uint8)[..., None], 3, axis=2)
        Image.fromarray(shown).save(path, format="PNG")  # exact values under the list's names
    return dataset


def test_full_scores_every_labelled_pixel_of_every_output(quadrants: SegmentationDataset) -> None:
    model = Rule()
    scores = evaluate(model, quadrants, protocol="full", batch_size=16)
    assert [shape[2:] for shape in model.shapes] == [(8, 12), (10, 6), (6, 6)]
    assert set(scores) == {"dominant", "final"}
    final, dominant = scores["final"].as_json(), scores["dominant"].as_json()
    assert (final["mIoU"], final["aAcc"]) == (100, 100)
    assert scores["dominant"].confusion.matrix[1:4, 1:4].tolist() == [[0, 48, 0], [0, 48, 0], [0, 0, 32]]
    assert scores["dominant"].confusion.matrix.sum() == 128
    assert dominant["mIoU"] == 50  # 0, 50 and 100 for categories 1, 2 and 3
    assert dominant["aAcc"] == 62.5
    named = {name: value for name, value in dominant["iou_per_category"].items() if value is not None}
    assert named == {"aeroplane": 0, "bicycle": 50, "bird": 100}
    assert tuple(dominant["iou_per_category"]) == VOC_CATEGORIES


def test_crop_scores_the_centre_and_pads_with_void(quadrants: SegmentationDataset) -> None:
    model = Rule()
    scores = evaluate(model, quadrants, protocol="crop", crop=8, batch_size=2)
    assert model.shapes == [(2, 3, 8, 8), (1, 3, 8, 8)]
    matrix = scores["dominant"].confusion.matrix
    assert matrix[1:4, 1:4].tolist() == [[0, 32, 0], [0, 32, 0], [0, 0, 32]]
    assert matrix.sum() == 96
    assert scores["final"].as_json()["mIoU"] == 100


def test_the_batch_size_changes_no_count(quadrants: SegmentationDataset) -> None:
    counts = [
        evaluate(Rule(), quadrants, crop=7, batch_size=size)["dominant"].confusion.matrix
        for size in (1, 2, 3, 16)
    ]
    for matrix in counts[1:]:
        np.testing.assert_array_equal(matrix, counts[0])


def test_the_mean_is_over_the_named_categories(quadrants: SegmentationDataset) -> None:
    def miou(*names: str) -> float | None:
        return evaluate(Rule(), quadrants, protocol="full", mean_over=names)["dominant"].as_json()["mIoU"]

    assert miou("bicycle") == 50
    assert miou("aeroplane", "bicycle") == 25
    assert miou("bicycle", "bird", "sheep") == 75  # no pixel of a sheep: it counts in no mean
    assert miou("sheep") is None


def test_an_output_the_head_does_not_have_is_not_scored(quadrants: SegmentationDataset) -> None:
    assert set(evaluate(Rule(final=False), quadrants, crop=8)) == {"dominant"}


def test_an_image_without_a_labelled_pixel_leaves_no_trace(
    quadrants: SegmentationDataset, tmp_path: Path
) -> None:
    (quadrants.root / "ImageSets" / "Segmentation" / "void.txt").write_text("val_0002\n")
    alone = evaluate(Rule(), open_voc(quadrants.root, "void"), protocol="full")["final"].as_json()
    assert (alone["mIoU"], alone["aAcc"]) == (None, None)
    assert set(alone["iou_per_category"].values()) == {None}


def test_the_network_is_put_to_evaluation_and_back(quadrants: SegmentationDataset) -> None:
    for training in (True, False):
        model = Rule().train(training)
        evaluate(model, quadrants, crop=8)
        assert model.modes == [False]
        assert model.training is training


def test_by_default_the_centre_of_the_papers_size_is_scored(quadrants: SegmentationDataset) -> None:
    """R16: section 4.1 crops to 513 x 513."""
    model = Rule()
    evaluate(model, quadrants)
    assert model.shapes == [(3, 3, 513, 513)]


def test_the_network_sees_red_green_and_blue_in_their_places(tmp_path: Path) -> None:
    label = np.arange(15, 21, dtype=np.uint8).reshape(2, 3)
    dataset = open_voc(write_voc(tmp_path, {"val": [label]}), "val")
    pixels = np.random.default_rng(0).integers(0, 256, size=(2, 3, 3), dtype=np.uint8)
    pixels[..., 0] = 10 * label
    Image.fromarray(pixels).save(dataset.image_paths[0], format="PNG")
    seen: list[Tensor] = []

    class Watching(Rule):
        def forward(self, image_BCHW: Tensor) -> Separation:
            seen.append(image_BCHW)
            return super().forward(image_BCHW)

    scores = evaluate(Watching(), dataset, protocol="full")
    assert scores["final"].as_json()["mIoU"] == 100
    np.testing.assert_allclose(seen[0][0].numpy(), np.moveaxis(pixels, 2, 0) / 255, atol=1e-6)


def test_a_perturbation_acts_before_the_network(quadrants: SegmentationDataset) -> None:
    shifted = evaluate(Rule(), quadrants, protocol="full", perturb=lambda image_BCHW: image_BCHW + 10 / 255)
    assert shifted["final"].confusion.matrix[1:4, 2:5].tolist() == [[48, 0, 0], [0, 48, 0], [0, 0, 32]]


def test_padding_is_not_perturbed(quadrants: SegmentationDataset) -> None:
    """Of crops of 16 px round images of 12 x 8 and less, the network is shown a border as it was."""
    seen: list[Tensor] = []

    class Watching(Rule):
        def forward(self, image_BCHW: Tensor) -> Separation:
            seen.append(image_BCHW)
            return super().forward(image_BCHW)

    evaluate(Watching(), quadrants, crop=16)
    evaluate(Watching(), quadrants, crop=16, perturb=lambda image_BCHW: image_BCHW + 10 / 255)
    changed_BHW = (seen[1] - seen[0]).abs().amax(1) > 0
    pictures = [quadrants.label(index).size for index in range(len(quadrants))]
    assert changed_BHW.sum((1, 2)).tolist() == pictures


def test_progress_counts_images(quadrants: SegmentationDataset) -> None:
    calls: list[tuple[int, int]] = []
    evaluate(Rule(), quadrants, crop=8, batch_size=2, progress=lambda *done: calls.append(done))
    assert calls == [(2, 3), (3, 3)]


def test_a_label_map_of_another_size_stops_the_evaluation(quadrants: SegmentationDataset) -> None:
    quadrants.label_paths[0].write_bytes(quadrants.label_paths[1].read_bytes())
    with pytest.raises(InputError, match="6x10 pixels for an image of 12x8"):
        evaluate(Rule(), quadrants, crop=8)


def test_blends_are_scored_against_the_label_map_each_output_is_for() -> None:
    """S_t and S_ss against the dominant maps, S_p against the phantoms': 1, 1 and 2 here."""
    model = Rule(mistaken=1, instead=1)
    image_BCHW = torch.full((2, 3, 4, 4), 10 / 255)
    label_BHW = torch.ones(2, 4, 4, dtype=torch.int64)
    mixed = MixedBatch(image_BCHW, label_BHW, 2 * label_BHW, torch.ones(2), torch.arange(2))
    separation = model(image_BCHW)
    separated = Separation(
        dominant=separation.dominant, phantom=separation.dominant.roll(1, dims=1), final=separation.final
    )
    modes = []
    model.forward = lambda image_BCHW: modes.append(model.training) or separated
    scores = evaluate_blends(model.train(), [mixed, mixed], VOC_CATEGORIES)
    assert modes == [False, False]
    assert model.training
    assert set(scores) == {"dominant", "phantom", "final"}
    for name, category in (("dominant", 1), ("final", 1), ("phantom", 2)):
        assert scores[name].confusion.matrix[category, category] == scores[name].confusion.matrix.sum() == 64
    assert all("told" not in score.as_json() for score in scores.values())  # of two blends nobody can say
    model.forward = lambda image_BCHW: Separation(dominant=separation.dominant)
    assert set(evaluate_blends(model, [mixed], VOC_CATEGORIES)) == {"dominant"}


def test_an_output_that_names_background_alone_may_still_tell_its_image() -> None:
    """Logits of an image's own category: 2 more than of the others, and 3 less than of background."""
    category_B = torch.tensor([1, 2, 3, 4])
    label_BHW = category_B[:, None, None].expand(4, 2, 2).clone()
    label_BHW[:, 0, 0] = 255
    logits_BNHW = torch.zeros(4, N, 2, 2)
    logits_BNHW[:, 0] = 5
    told_BNHW = logits_BNHW.clone()
    told_BNHW[torch.arange(4), category_B] = 2
    mixed = MixedBatch(
        torch.zeros(4, 3, 2, 2),
        torch.zeros_like(label_BHW),
        label_BHW,
        torch.full((4,), 0.6),
        torch.arange(4),
    )
    model = Rule()
    for phantom, nats in ((told_BNHW, 2.0), (logits_BNHW, 0.0)):
        model.forward = lambda image_BCHW, phantom=phantom: Separation(dominant=logits_BNHW, phantom=phantom)
        score = evaluate_blends(model, [mixed, mixed], tuple("abcde"))["phantom"]
        assert score.confusion.matrix[:, 0].sum() == score.confusion.matrix.sum() == 24
        assert (score.as_json()["told"], score.as_json()["told_95"]) == (nats, 0)


@pytest.mark.parametrize("wrong", [torch.float32, torch.bool])
def test_what_is_no_category_number_is_not_counted(wrong: torch.dtype) -> None:
    """Probabilities, masks: as integers they would give a plausible score."""
    right, other = torch.tensor([1, 0]), torch.tensor([1, 0]).to(wrong)
    for pair, name in (((other, right), "prediction"), ((right, other), "label")):
        with pytest.raises(ValueError, match=f"the {name} is of torch"):
            ConfusionMatrix(N).update(*pair)


def test_every_image_is_blended_with_the_next_of_the_list(quadrants: SegmentationDataset) -> None:
    count = len(quadrants)
    cut = [center_crop(*quadrants.pair(index), 8) for index in range(count)]
    mixed = [*blends_of(quadrants, 0.75, crop=8, batch_size=2)]
    assert [len(one.image_BCHW) for one in mixed] == [2, 1]
    for index in range(count):
        one, place, other = mixed[index // 2], index % 2, (index + 1) % count
        by_hand = (0.75 * cut[index][0] + 0.25 * cut[other][0]).transpose(2, 0, 1) / 255
        np.testing.assert_allclose(one.image_BCHW[place].numpy(), by_hand, atol=1e-6)
        np.testing.assert_array_equal(one.dominant_BHW[place], cut[index][1])
        np.testing.assert_array_equal(one.phantom_BHW[place], cut[other][1])
    assert all((one.delta_B == 0.75).all() for one in mixed)
    seen: list[int] = []
    scores = evaluate_blends(Rule(), mixed, quadrants.categories, progress=seen.append)
    assert seen == [2, 3]
    assert len(scores["dominant"].per_image_nNN) == count


def test_percent_is_for_documents_and_shares_for_python() -> None:
    confusion = counted([(0, 0), (0, 1), (1, 1)])
    scores = Scores(confusion.matrix[None], ("background", "a", "b", "c", "d"))
    assert scores.as_json() == {
        "mIoU": 50.0,
        "aAcc": 66.6667,
        "iou_per_category": {"background": 50.0, "a": 50.0, "b": None, "c": None, "d": None},
    }
    assert confusion.miou() == 0.5
