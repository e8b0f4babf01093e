"""Figures of universal perturbations: what a dot, a ring and a frame stand for."""

from collections.abc import Iterator
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segmix_core.report.figures import METHOD_COLOURS, attack_matrix, drop_points
from segmix_core.report.robustness import Drop, Matrix

mpl.use("agg")


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


DROP = Drop(
    digest="ten",
    setting="mini scale, pictures, from random weights",
    experiment="sourcesep-cm",
    perturbation="uap",
    fit="resize",
    access="transfer",
    epsilon=10.0,
    images=50,
    crop=128,
    clean={0: 60.0, 1: 62.0, 2: 61.0},
    attacked={0: 50.0, 1: 51.0, 2: 49.0},
    controls={"shuffled": {0: 53.0, 1: 53.0, 2: 53.0}, "signs": {0: 58.0, 1: 52.0, 2: 58.0}},
    cost="2 passes over 32 images",
)


def dots(axis: Axes, method: str) -> list[tuple[float, bool]]:
    """Where the means of a method lie, and whether each is a ring."""
    return [
        (float(line.get_xdata()[0]), line.get_markerfacecolor() == "none")
        for line in axis.lines
        if len(line.get_xdata()) == 1
        and line.get_alpha() is None
        and line.get_markeredgecolor() == METHOD_COLOURS[method]
        and line.get_marker() == "o"
    ]


def intervals(figure: Figure) -> int:
    """How many means have an interval of some width."""
    bars = [one for held in figure.axes[0].collections for one in held.get_paths()]
    return sum(float(np.ptp(bar.vertices, axis=0)[0]) > 0 for bar in bars)


def test_a_dot_is_what_is_lost_and_a_ring_what_the_worst_noise_takes() -> None:
    figure = drop_points([DROP])
    # Lost 10, 11 and 12; noise at its worst leaves 53, 52 and 53 of 60, 62 and 61.
    found = {ring: place for place, ring in dots(figure.axes[0], "sourcesep-cm")}
    assert found == pytest.approx({False: 11.0, True: 25 / 3})
    title = f"{DROP.setting}: 50 images, seeds 0, 1, 2\nuap: 2 passes over 32 images"
    assert figure.axes[0].get_title() == title


def test_two_seeds_have_no_interval() -> None:
    two = replace(DROP, clean={0: 60.0, 1: 62.0})
    assert intervals(drop_points([DROP])) == 1
    assert intervals(drop_points([two])) == 0
    assert "seeds 0, 1\n" in drop_points([two]).axes[0].get_title()
    assert drop_points([two]).axes[0].get_title().endswith("uap: 2 passes over 32 images")
    apart = drop_points([DROP, replace(two, experiment="baseline")]).axes[0].get_title()
    assert f"{DROP.setting}: 50 images, 2 to 3 seeds\n" in apart
    shifted = drop_points([two, replace(DROP, experiment="baseline", clean={1: 60.0, 2: 62.0})])
    assert ": 50 images, 2 seeds\n" in shifted.axes[0].get_title()
    assert "published" not in drop_points([replace(two, cost="published")]).axes[0].get_title()


def test_the_frames_of_the_matrix_are_white_box_attacks() -> None:
    lost = np.arange(25.0).reshape(5, 5)
    lost[0, 1] = np.nan
    noise = np.zeros((5, 5), dtype=bool)
    noise[2, 0] = True
    axis = attack_matrix(Matrix(lost_MM=lost, noise_MM=noise, stronger={"mixup": "told"})).axes[0]
    frames = {patch.get_xy() for patch in axis.patches if isinstance(patch, mpl.patches.Rectangle)}
    assert frames == {(place, place) for place in range(5)}
    # Attackers down: the second row, first column is what the second method takes from the first.
    written = {text.get_position(): text.get_text() for text in axis.texts}
    assert written[0.5, 1.5] == "5.0"
    assert written[0.5, 2.5] == "(10.0)"
    assert [text.get_text() for text in axis.get_xticklabels()][:2] == ["baseline", "mixup\n(invalid)"]
    assert (1.5, 0.5) not in written
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("attacked", "crafted on")


def test_nothing_measured_is_said() -> None:
    empty = Matrix(lost_MM=np.full((5, 5), np.nan), noise_MM=np.zeros((5, 5), dtype=bool), stronger={})
    for figure in (drop_points([]), attack_matrix(empty)):
        assert [text.get_text() for text in figure.axes[0].texts] == ["not measured yet"]
