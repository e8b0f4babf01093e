"""The figures of the paper by one command each: what is on them, and by which rule."""

import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.text import Text
from PIL import Image

from segmix_core import run
from segmix_core.cooccurrence import cooccurrence_matrix, dataset_presence
from segmix_core.data.annotations import read_annotation
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.transforms import center_crop, inside_crop
from segmix_core.errors import InputError
from segmix_core.experiments import FIGURES, METHODS, find_experiment
from segmix_core.experiments.paper import THRESHOLDS
from segmix_core.experiments.scales import SMOKE
from segmix_core.losses import phantom_activation
from segmix_core.measure import segmenter
from segmix_core.metrics import load_confusions, save_confusions, sparse
from segmix_core.mixing import pair_scores
from segmix_core.models import load_model
from segmix_core.paper_figures import _most_occluded, _occluded, _Runs, draw, draw_to
from segmix_core.report.figures import confidence_picture, label_picture, loss_curves, panels, rare_curves
from segmix_core.request import Request, batches_of, data_of
from segmix_core.run import cached_run

mpl.use("agg")
TINY = replace(
    SMOKE, name="tiny", crop=33, batch_size=4, aspp_channels=8, stage1_steps=1, stage2_steps=1,
    silhouettes=(12, 8, 48),
)  # fmt: skip


def request_for(name: str, seed: int = 0) -> Request:
    return Request(experiment=find_experiment(name), scale=TINY, pretrained="none", seed=seed)


@pytest.fixture(scope="module", autouse=True)
def _cached(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "CACHE", folder / "cache")
        patch.setattr("segmix_core.data.GENERATED", folder / "generated")
        yield


@pytest.fixture(autouse=True)
def _closed() -> object:
    yield
    plt.close("all")


def evaluation() -> SegmentationDataset:
    return data_of(request_for("baseline"))[1][0]


def occluded_objects() -> list[list[bool]]:
    """Of each evaluation image: which of its objects are marked occluded."""
    dataset = evaluation()
    annotations = (
        read_annotation(dataset.root / "Annotations" / f"{name}.xml", dataset.categories)
        for name in dataset.ids
    )
    return [[one.occluded for one in annotation.objects] for annotation in annotations]


def by_title(figure: Figure) -> dict[str, np.ndarray]:
    """The pictures of a drawing by the words that are centred right above or below them."""
    width, height = figure.get_size_inches()
    found: dict[str, np.ndarray] = {}
    for text in figure.axes[0].texts:
        x, y = text.get_position()
        for axis in figure.axes[1:]:
            box = axis.get_position()
            middle = width * (box.x0 + box.x1) / 2
            edges = (height * (1 - box.y1) - 0.05, height * (1 - box.y0) + 0.05)
            if abs(x - middle) < 1e-6 and min(abs(y - edge) for edge in edges) < 1e-6:
                name = text.get_text()
                while name in found:
                    name += "'"
                found[name] = np.asarray(axis.images[0].get_array())
    return found


@pytest.mark.parametrize(("number", "pictures"), [(4, 4 * 7), (7, 2 * 5)])
def test_a_sheet_has_a_picture_for_each_example_and_title(number: int, pictures: int) -> None:
    drawn = draw(number, request_for)
    assert sum(len(axis.images) for axis in drawn.figure.axes) == pictures
    assert drawn.rule


def test_figures_predict_on_the_device_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    monkeypatch.setattr(
        "segmix_core.paper_figures.cached_run", lambda request, **named: (Path("checkpoint.pt"), [])
    )
    monkeypatch.setattr("segmix_core.paper_figures.segmenter", lambda path, *, device: used.append(device))
    runs = _Runs(
        lambda name, seed: replace(request_for(name, seed), device="cuda"),
        (0,),
        lambda what: lambda step, steps, terms: None,
    )
    runs.segment("baseline")
    assert used == ["cuda"]


@pytest.mark.parametrize("number", [1, 2])
def test_nothing_on_a_drawing_overlaps_at_page_width(number: int) -> None:
    figure = draw(number, request_for).figure
    figure.canvas.draw()
    sheet = figure.bbox
    assert 800 <= sheet.width <= 900
    words = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
    assert min(text.get_fontsize() for text in words) >= 8
    texts = [(text.get_text(), text.get_window_extent()) for text in words]
    pictures = [(f"picture {place}", axis.bbox) for place, axis in enumerate(figure.axes[1:])]
    for name, box in texts + pictures:
        assert box.x0 >= 0, name
        assert box.y0 >= 0, name
        assert box.x1 <= sheet.x1, name
        assert box.y1 <= sheet.y1, name
    for (one, box), (other, another) in combinations(texts + pictures, 2):
        assert not box.overlaps(another), f"{one!r} and {other!r}"


def test_fig_1_blends_what_it_shows_and_names_delta() -> None:
    figure = draw(1, request_for).figure
    shown = by_title(figure)
    deltas = [
        float(text.get_text().partition("= ")[2])
        for text in figure.axes[0].texts
        if text.get_text().startswith("$\\delta$ =")
    ]
    assert len(deltas) == 2
    for delta, tick in zip(deltas, ("", "'"), strict=True):
        dominant, phantom = shown["$I_a$, dominant" + tick], shown["$I_b$, phantom" + tick]
        blend = delta * dominant.astype(float) + (1 - delta) * phantom
        # Half a hundredth of delta, and two roundings of pixels.
        assert np.abs(blend - shown["$I_{ss}$, the blend" + tick]).max() <= 0.005 * 255 + 1
        assert np.abs(dominant.astype(int) - phantom).max() > 50


def test_the_phantom_of_fig_1_has_the_best_score_and_its_cells_are_framed() -> None:
    drawn = draw(1, request_for, (1,))  # the first batch of seed 0 has no pair that occurs together
    figure = drawn.figure
    assert "of the pairs with a positive score" in drawn.rule
    request = request_for("sourcesep-cm", 1)
    training, _ = data_of(request)
    matrix_NN = cooccurrence_matrix(dataset_presence(training))
    (heat,) = (axis for axis in figure.axes[1:] if axis.patches)
    counts = np.asarray(np.ma.filled(heat.images[0].get_array(), 0))
    assert np.array_equal(np.sort(counts.sum(0)), np.sort(matrix_NN[1:, 1:].sum(0)))
    frames = [patch for patch in heat.patches if isinstance(patch, Rectangle)]
    framed = [counts[round(frame.get_y() + 0.5), round(frame.get_x() + 0.5)] for frame in frames]
    scores = [int(text.get_text()[4:]) for text in figure.axes[0].texts if text.get_text()[:4] == "S = "]
    assert scores[0] == max(scores) == sum(framed) > 0

    batch = next(batches_of(request, training).run(0, 1, device="cpu"))
    assert batch.presence_BN is not None
    images = (batch.image_BCHW.permute(0, 2, 3, 1) * 255).round().numpy()
    shown = by_title(figure)
    dominant, phantom = (
        next(index for index, image in enumerate(images) if np.array_equal(image, shown[title]))
        for title in ("$I_a$, dominant'", "$I_b$, phantom'")
    )
    score_BB = pair_scores(batch.presence_BN, matrix_NN)[0]
    assert int(score_BB[dominant, phantom]) == scores[0]
    targets = [label_picture(batch.label_BHW[index].numpy()) for index in (dominant, phantom)]
    stages = by_title(draw(2, request_for, (1,)).figure)
    for label, title in zip(targets, ("labels $y_a$", "labels $y_b$"), strict=True):
        assert np.array_equal(shown[title + "'"], label)
        assert np.array_equal(stages[title], label)


def test_the_clusters_of_fig_1_hold_the_images_that_are_blended() -> None:
    figure = draw(1, request_for).figure
    training, _ = data_of(request_for("sourcesep-cc"))
    presence = dataset_presence(training)
    named = [text.get_text() for text in figure.axes[0].texts if text.get_text().startswith("cluster ")]
    shown = [np.asarray(axis.images[0].get_array()) for axis in figure.axes[1:]]
    names = []
    for words in named:
        name, _, number = words.removeprefix("cluster ").partition(", ")
        held = np.flatnonzero(presence[:, training.categories.index(name)])
        assert number.split()[0] == str(len(held))
        images = [training.image(index) for index in held]
        # The whole image is 48 px, a crop of it 33.
        assert sum(any(np.array_equal(one, image) for image in images) for one in shown) >= min(4, len(held))
        names.append(name)
    assert len(set(names)) == 2


def test_fig_1_ends_in_what_the_methods_predict() -> None:
    drawn = draw(1, request_for)
    shown = by_title(drawn.figure)
    flags = occluded_objects()
    every = [index for index, marks in enumerate(flags) if all(marks)]
    index = (every or [index for index, marks in enumerate(flags) if any(marks)])[0]
    image, label = center_crop(*evaluation().pair(index), request_for("baseline").eval_crop)
    assert np.array_equal(shown["image"], image)
    assert np.array_equal(shown["labels"], label_picture(label))
    for name in METHODS:
        predicted = segmenter(cached_run(request_for(name))[0])(image)
        assert np.array_equal(shown[name], label_picture(predicted)), name
    assert sum(isinstance(patch, FancyArrowPatch) for patch in drawn.figure.axes[0].patches) == 11


def test_fig_2_shows_what_either_stage_says_and_where_the_losses_act() -> None:
    drawn = draw(2, request_for)
    shown = by_title(drawn.figure)
    checkpoint, _ = cached_run(request_for("sourcesep-cm"))
    first, last = load_model(checkpoint.with_name("stage1.pt")), load_model(checkpoint)

    def said(model: torch.nn.Module, picture: np.ndarray) -> list[torch.Tensor]:
        image_BCHW = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            separation = model(image_BCHW)
        return [separation.dominant, separation.phantom, separation.final]

    def maps(logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        confidence = logits.softmax(1)[0].max(0).values.numpy()
        return label_picture(logits.argmax(1)[0].numpy()), confidence_picture(confidence)

    blend, plain = shown["$I_{ss}$, a blend"], shown["$I$, as it is"]
    assert not np.array_equal(blend, plain)
    for title, ticks, logits in zip(
        ("$S_t$", "$S_p$", "$S_{ss}$"), ("", "'", "''"), said(first, blend), strict=True
    ):
        label, confidence = maps(logits)
        # The blend went through 8 bits on its way to this picture.
        assert np.mean(shown[title] != label) < 0.02, title
        assert np.abs(shown["confidence" + ticks].astype(int) - confidence).max() <= 8, title
    after = said(last, plain)
    for title, ticks, logits in zip(
        ("$S_t$, reported", "$S_p$ after stage 2"), ("'''''", "''''''"), after, strict=False
    ):
        label, confidence = maps(logits)
        assert np.array_equal(shown[title], label), title
        assert np.array_equal(shown["confidence" + ticks[1:]], confidence), title

    words = [text.get_text() for text in drawn.figure.axes[0].texts]
    for loss in ("$\\delta\\, l_t$", "$(1-\\delta)\\, l_p$", "$l_{ss}$", "$l_t$", "$l_{PPA}$"):
        assert words.count(loss) == 1, loss
    assert sum(word.startswith("ASPP") for word in words) == 4
    before = float(phantom_activation(said(first, plain)[1]))
    silenced = float(phantom_activation(after[1]))
    assert any(f"{before:.2f} after stage 1,\n{silenced:.2f} after stage 2" in word for word in words)


def test_the_images_of_fig_3_have_occluded_objects_first_those_with_nothing_else() -> None:
    drawn = draw(3, request_for)
    flags = occluded_objects()
    every = [index for index, marks in enumerate(flags) if all(marks)]
    some = [index for index, marks in enumerate(flags) if any(marks) and not all(marks)]
    wanted = (every + some)[:6]
    assert 0 < len(wanted) < len(flags)
    images = [np.asarray(axis.images[0].get_array()) for axis in drawn.figure.axes]
    assert len(images) == 7 * len(wanted)
    for image, index in zip(images[::7], wanted, strict=True):
        assert np.array_equal(image, evaluation().image(index))
    assert "occlusion/any (at least one object marked occluded)" in drawn.rule


def test_images_whose_every_object_is_occluded_come_first(tmp_path: Path) -> None:
    dataset = evaluation()
    copy = tmp_path / "copy"
    shutil.copytree(dataset.root, copy)
    last = copy / "Annotations" / f"{dataset.ids[-1]}.xml"
    text = last.read_text(encoding="utf-8")
    last.write_text(text.replace("<occluded>0", "<occluded>1"), encoding="utf-8")

    def copied(name: str, seed: int) -> Request:
        return replace(request_for(name, seed), root=copy)

    runs = _Runs(copied, (0,), lambda what: lambda step, steps, terms: None)
    flags = [any(marks) for marks in occluded_objects()]
    some = [index for index, occluded in enumerate(flags[:-1]) if occluded]
    assert not any(all(marks) for marks in occluded_objects())
    assert _occluded(runs, 2) == (
        [len(dataset) - 1, some[0]],
        "the first of occlusion/all (every object marked occluded), then "
        "the first of occlusion/any (at least one object marked occluded)",
    )


def test_where_nothing_marks_occlusion_the_rule_says_so(tiny_voc: Path) -> None:
    def photographs(name: str, seed: int) -> Request:
        return replace(request_for(name, seed), dataset="voc2012", root=tiny_voc)

    def runs() -> _Runs:
        return _Runs(photographs, (0,), lambda what: lambda step, steps, terms: None)

    def chosen() -> tuple[list[int], str]:
        return _occluded(runs(), 3)

    _, (dataset,) = data_of(photographs("baseline", 0))
    number = dataset_presence(dataset)[:, 1:].sum(1)
    most = [int(index) for wanted in (4, 3, 2) for index in np.flatnonzero(number == wanted)]
    indices, rule = chosen()
    assert indices == most[:3]
    assert rule.startswith("no annotation marks an object as occluded: the first")
    assert _most_occluded(runs(), 3) == (indices, rule)  # Fig. 7 can be drawn, too
    assert "unique/" in rule

    folder = tiny_voc / "SegmentationObject"
    folder.mkdir()
    for place, name in enumerate(dataset.ids):  # one instance in each image, four in the last two
        objects = np.ones((64, 64), dtype=np.uint8)
        objects[:4] = np.arange(1, 5)[:, None] if place >= len(dataset) - 2 else 1
        Image.fromarray(objects).save(folder / f"{name}.png")
    indices, rule = chosen()
    assert indices[:2] == [len(dataset) - 2, len(dataset) - 1]
    assert "the first 2 of objects/4 (4 objects in SegmentationObject)" in rule


def test_the_images_of_fig_7_have_the_most_occluded_objects() -> None:
    occluded = [sum(marks) for marks in occluded_objects()]
    first, second = sorted(range(len(occluded)), key=lambda index: -occluded[index])[:2]
    axes = draw(7, request_for).figure.axes
    for axis, index in ((axes[0], first), (axes[5], second)):
        shown = np.asarray(axis.images[0].get_array())
        assert np.array_equal(shown, evaluation().image(index))  # 48 px: no padding round generated pictures


def test_fig_5_has_a_line_for_each_method_over_the_thresholds() -> None:
    drawn = draw(5, request_for)
    (axis,) = drawn.figure.axes
    assert [line.get_label() for line in axis.lines] == [one.name for one in FIGURES[5].experiments]
    assert all(len(line.get_xdata()) == 5 for line in axis.lines)
    assert axis.get_xlim()[0] > axis.get_xlim()[1]
    assert not axis.collections
    assert "1 seed" in axis.get_title()
    assert drawn.rule.endswith("seed 0 alone")


def test_fig_5_takes_every_seed_and_the_others_the_first() -> None:
    asked = []

    def asking(name: str, seed: int) -> Request:
        asked.append((name, seed))
        return request_for(name, seed)

    drawn = draw(5, asking, (1, 0, 1))
    assert set(asked) == {(name, seed) for name in METHODS for seed in (0, 1)}
    (axis,) = drawn.figure.axes
    assert len(axis.collections) == len(METHODS)
    assert "2 seeds, bars: 95 % interval over seeds" in axis.get_title()
    assert "seeds 1, 0 with its 95 % interval" in drawn.rule
    asked.clear()
    draw(2, asking, (1, 0))
    assert {seed for _, seed in asked} == {1}


def test_a_band_is_the_interval_of_the_seeds_and_of_this_list_alone(tmp_path: Path) -> None:
    """Every pixel is background; `correct` per cent are seen, the rest taken for one other category."""
    _, found = cached_run(request_for("baseline"))
    rows = []
    for row in (one for one in found if one["reported"]):
        confusions = load_confusions(Path(row["per_image"]))
        at_home = row["eval_dataset"] == "silhouettes"
        for seed, correct in enumerate((60, 70, 80) if at_home else (1, 2, 3)):
            (name,) = (name for name in confusions.matrices if name == f"stage{row['stage']} {row['output']}")
            matrices = np.zeros((len(confusions.ids), 21, 21), dtype=np.int64)
            matrices[:, 0, 0], matrices[:, 0, 1] = correct, 100 - correct
            path = tmp_path / f"{row['eval_split']}-{seed}.npz"
            save_confusions(path, replace(confusions, matrices={name: sparse(matrices)}))
            rows.append(row | {"seed": seed, "per_image": str(path)})
        if at_home:
            images = {
                threshold: int(confusions.subsets[f"rare/{threshold}"].sum()) for threshold in THRESHOLDS
            }
    (axis,) = rare_curves(rows).axes
    (line,) = axis.lines
    assert np.asarray(line.get_ydata()) == pytest.approx([35.0] * 5)  # half of 60, 70, 80: the other IoU is 0
    (bars,) = axis.collections
    low, high = bars.get_segments()[0][:, 1]
    half = 4.302653 * 5 / 3**0.5  # t of two degrees of freedom, standard deviation 5, three seeds
    assert (low, high) == pytest.approx((35 - half, 35 + half), abs=1e-4)
    ticks = [label.get_text() for label in axis.get_xticklabels()]
    assert sorted(ticks) == sorted(f"{threshold}\nn = {number}" for threshold, number in images.items())
    assert "3 seeds" in axis.get_title()
    assert not rare_curves(rows[:1]).axes[0].collections


def test_settings_have_panels_of_their_own(tmp_path: Path) -> None:
    _, found = cached_run(request_for("baseline"))
    larger = [row | {"scale": "mini", "scale_digest": "0"} for row in found]
    first, second = rare_curves([*found, *larger]).axes
    assert first.get_title().startswith("silhouettes, mini\n")
    assert second.get_title().startswith("silhouettes, tiny\n")
    (axis,) = rare_curves(found, among=("coco",)).axes
    assert axis.texts[0].get_text() == "not measured yet"


def test_fig_6_shows_each_image_as_it_is_and_perturbed() -> None:
    def smoke(name: str, seed: int) -> Request:  # how long crafting takes goes by the scale's name
        return replace(request_for(name, seed), scale=replace(TINY, name="smoke"))

    axes = draw(6, smoke).figure.axes
    shown = np.array([axis.images[0].get_array() for axis in axes]).reshape(6, 7, 48, 48, 3).astype(int)
    for plain, perturbed in zip(shown[::2], shown[1::2], strict=True):
        assert np.array_equal(plain[1], perturbed[1])  # the labels stay
        assert 0 < np.abs(plain[0] - perturbed[0]).max() <= 10


def test_fig_6_leaves_the_border_of_a_small_picture_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segmix_core.paper_figures._Runs.crop", 64)  # pictures are of 48 pixels

    def smoke(name: str, seed: int) -> Request:
        return replace(request_for(name, seed), scale=replace(TINY, name="smoke"))

    axes = draw(6, smoke).figure.axes
    shown = np.array([axis.images[0].get_array() for axis in axes]).reshape(6, 7, 64, 64, 3).astype(int)
    changed = np.abs(shown[1::2, 0] - shown[::2, 0]).max((0, -1))
    inside = inside_crop((48, 48), 64)
    assert 0 < changed[inside].max() <= 10
    assert 0 < inside.sum() == 48 * 48
    assert not changed[~inside].any()


def test_pictures_without_labels_take_the_place_of_scenes(tmp_path: Path) -> None:
    for name in "ba":
        Image.new("RGB", (40, 30), (0, 80, 90 if name == "a" else 10)).save(tmp_path / f"{name}.jpg")
    drawn = draw(4, request_for, pictures=tmp_path)
    shown = [axis.images[0].get_array() for axis in drawn.figure.axes]
    assert len(shown) == 2 * 6
    assert shown[0][0, 0, 2] > shown[6][0, 0, 2]  # by name
    assert shown[1].shape == (30, 40, 3)


def test_a_figure_is_a_file_or_one_line(tmp_path: Path, root: Path) -> None:
    drawn = draw_to(tmp_path / "fig.png", 2, request_for)
    with Image.open(tmp_path / "fig.png") as opened:
        assert opened.format == "PNG"
    setting = "silhouettes, tiny, seed 0"
    assert drawn.rule.startswith(f"{setting}; the strongest phantom of the first training batch")
    below = drawn.figure.texts[-1].get_text()
    assert " ".join(below.split()) == drawn.rule
    assert max(map(len, below.splitlines())) <= 14 * drawn.figure.get_figwidth()
    wrong = (
        (8, "f.png", (0,), "unknown name '8'"),
        (3, "f.gif", (0,), "no .png"),
        (5, "f.png", (), "no seed"),
    )
    for number, out, seeds, said in wrong:
        with pytest.raises(InputError, match=said):
            draw_to(tmp_path / out, number, request_for, seeds)
        assert not (tmp_path / out).exists()

    def photographs(name: str, seed: int) -> Request:
        return replace(request_for(name, seed), dataset="voc2012", root=root)

    with pytest.raises(InputError, match="--pictures"):
        draw(4, photographs)


def test_a_loss_curve_ends_with_its_stage() -> None:
    curve = [{"step": step, "dominant": float(step)} for step in range(10, 70, 10)]
    figure = loss_curves({"baseline": curve}, ["dominant"], stage1_steps=30)
    (axis,) = figure.axes
    first, second, end = axis.lines
    assert [list(line.get_xdata()) for line in (first, second)] == [[10, 20, 30], [40, 50, 60]]
    assert list(end.get_xdata()) == [30, 30]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["baseline"]
    few = loss_curves({"baseline": curve}, ["dominant"], stage1_steps=40).axes[0]
    assert [text.get_text() for text in few.texts] == ["too few steps for a curve"]


def test_confidence_maps_have_their_scale_beside_them() -> None:
    picture = confidence_picture(np.zeros((2, 2)))
    assert len(panels([[picture]], ["S_p"]).axes) == 1
    bar = panels([[picture]], ["S_p"], bar=("confidence", 0.5)).axes[1]
    assert (bar.get_xlabel(), bar.get_xlim()) == ("confidence", (0, 0.5))
