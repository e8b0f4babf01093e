"""The figures of the paper by one command each: what is on them, and by which rule."""

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from segmix_core import run
from segmix_core.data.annotations import read_annotation
from segmix_core.errors import InputError
from segmix_core.experiments import FIGURES, find_experiment
from segmix_core.experiments.scales import SMOKE
from segmix_core.paper_figures import draw, draw_to
from segmix_core.request import Request, data_of

mpl.use("agg")
TINY = replace(
    SMOKE, name="tiny", crop=33, batch_size=4, aspp_channels=8, stage1_steps=1, stage2_steps=1,
    silhouettes=(12, 8, 48),
)  # fmt: skip


def ask(name: str) -> Request:
    return Request(experiment=find_experiment(name), scale=TINY, pretrained="none")


@pytest.fixture(scope="module", autouse=True)
def _cached(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "CACHE", folder / "cache")
        patch.setattr("segmix_core.data.GENERATED", folder / "generated")
        yield


@pytest.mark.parametrize(
    ("number", "pictures"),
    [(1, 5 * 5), (2, 2 * 7), (3, 6 * 7), (4, 4 * 7), (7, 2 * 5)],
)
def test_a_sheet_has_a_picture_for_each_example_and_title(number: int, pictures: int) -> None:
    drawn = draw(number, ask)
    assert sum(len(axis.images) for axis in drawn.figure.axes) == pictures
    assert drawn.rule


def test_the_images_of_fig_7_have_the_most_occluded_objects() -> None:
    _, (evaluation, *_) = data_of(ask("baseline"))
    folder = evaluation.root / "Annotations"
    occluded = []
    for name in evaluation.ids:
        objects = read_annotation(folder / f"{name}.xml", evaluation.categories).objects
        occluded.append(sum(one.occluded for one in objects))
    first, second = sorted(range(len(occluded)), key=lambda index: -occluded[index])[:2]
    axes = draw(7, ask).figure.axes
    for axis, index in ((axes[0], first), (axes[5], second)):
        shown = np.asarray(axis.images[0].get_array())
        image = evaluation.image(index)
        assert np.array_equal(shown, image)  # 48 px: there is no padding round generated pictures


def test_fig_5_has_a_line_for_each_method_over_the_thresholds() -> None:
    (axis,) = draw(5, ask).figure.axes
    assert [line.get_label() for line in axis.lines] == [one.name for one in FIGURES[5].experiments]
    assert all(len(line.get_xdata()) == 5 for line in axis.lines)
    assert axis.get_xlim()[0] > axis.get_xlim()[1]


def test_fig_6_shows_each_image_as_it_is_and_perturbed() -> None:
    def smoke(name: str) -> Request:  # how long crafting takes goes by the scale's name
        return replace(ask(name), scale=replace(TINY, name="smoke"))

    axes = draw(6, smoke).figure.axes
    shown = np.array([axis.images[0].get_array() for axis in axes]).reshape(6, 7, 48, 48, 3).astype(int)
    for plain, perturbed in zip(shown[::2], shown[1::2], strict=True):
        assert np.array_equal(plain[1], perturbed[1])  # the labels stay
        assert 0 < np.abs(plain[0] - perturbed[0]).max() <= 10


def test_pictures_without_labels_take_the_place_of_scenes(tmp_path: Path) -> None:
    for name in "ba":
        Image.new("RGB", (40, 30), (0, 80, 90 if name == "a" else 10)).save(tmp_path / f"{name}.jpg")
    drawn = draw(4, ask, pictures=tmp_path)
    shown = [axis.images[0].get_array() for axis in drawn.figure.axes]
    assert len(shown) == 2 * 6
    assert shown[0][0, 0, 2] > shown[6][0, 0, 2]  # by name
    assert shown[1].shape == (30, 40, 3)


def test_a_figure_is_a_file_or_one_line(tmp_path: Path, root: Path) -> None:
    drawn = draw_to(tmp_path / "fig.png", 2, ask)
    with Image.open(tmp_path / "fig.png") as opened:
        assert opened.format == "PNG"
    assert "first training blend" in drawn.rule
    wrong = (
        (8, "f.png", "unknown name '8'"),
        (3, "f.gif", "no .png"),
    )
    for number, out, said in wrong:
        with pytest.raises(InputError, match=said):
            draw_to(tmp_path / out, number, ask)
        assert not (tmp_path / out).exists()

    def photographs(name: str) -> Request:
        return replace(ask(name), dataset="voc2012", root=root)

    with pytest.raises(InputError, match="no folder Annotations"):
        draw(7, photographs)
    with pytest.raises(InputError, match="--pictures"):
        draw(4, photographs)
