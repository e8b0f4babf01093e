"""Figures of adaptive attacks: which curve is on which panel, and what its title says."""

from dataclasses import replace

import matplotlib as mpl
import pytest

from segmix_core.report.figures import METHOD_COLOURS, aim_points, epsilon_curves
from segmix_core.report.robustness import Curve

mpl.use("agg")

LARGE = Curve(
    setting="mini scale, somewhere", experiment="baseline", images=50, steps=100,
    precision="fp32", passes=900, at=1.0, digest="fifty", code="this",
    by_epsilon={0.0: {0: 40.0, 1: 44.0}, 1.0: {0: 20.0, 1: 22.0}}, noise={1.0: {0: 39.0, 1: 43.0}},
    by_aim={"dominant": {0: 21.0, 1: 23.0}, "worst": {0: 20.0, 1: 22.0}}, longer={}, transfer={},
    unbounded={}, stage1={}, failed=(),
)  # fmt: skip
BROKEN = replace(LARGE, experiment="sourcesep-cm", failed=("noise of the same size is weaker",))
SMALL = replace(
    LARGE, setting="demo scale, elsewhere", images=24, steps=20, precision="bf16", passes=70,
    by_epsilon={0.0: {0: 30.0}, 1.0: {0: 9.0}}, noise={}, by_aim={"worst": {0: 9.0}},
)  # fmt: skip


def test_each_setting_has_its_panel_and_no_curve_of_another() -> None:
    large, small = epsilon_curves([LARGE, BROKEN, SMALL]).axes
    assert large.get_title() == (
        "mini scale, somewhere\nn = 50 images, 100 steps a loss, 2 seeds; "
        "the whole study up to 900 passes an image"
    )
    assert small.get_title() == (
        "demo scale, elsewhere\nn = 24 images, 20 steps a loss, 1 seed; "
        "the whole study up to 70 passes an image, searched in bf16"
    )
    drawn = {str(line.get_label()): line for line in large.get_lines()}
    assert list(drawn["baseline"].get_ydata()) == [42.0, 21.0]
    assert drawn["baseline"].get_linestyle() == "-"
    assert drawn["sourcesep-cm (invalid)"].get_linestyle() == "--"
    assert drawn["sourcesep-cm (invalid)"].get_color() == METHOD_COLOURS["sourcesep-cm"]
    assert [list(line.get_ydata()) for line in small.get_lines()] == [[30.0, 9.0], []]


def test_what_other_code_found_has_a_panel_of_its_own() -> None:
    titles = [axis.get_title() for axis in epsilon_curves([LARGE, replace(BROKEN, code=None)]).axes]
    assert [title.rpartition("; ")[2] for title in titles] == ["code this", "code not noted"]


def test_aims_of_a_setting_stay_in_its_panel() -> None:
    large, small = aim_points([LARGE, SMALL]).axes
    assert [text.get_text() for text in large.get_yticklabels()] == [
        "baseline: dominant, 1/255",
        "baseline: worst, 1/255",
    ]
    assert [list(line.get_xdata()) for line in large.get_lines()] == [
        [21.0, 23.0],
        [22.0],
        [20.0, 22.0],
        [21.0],
    ]
    assert [text.get_text() for text in small.get_yticklabels()] == ["baseline: worst, 1/255"]


@pytest.mark.parametrize("draw", [epsilon_curves, aim_points])
def test_without_rows_a_figure_says_so(draw: object) -> None:
    (axis,) = draw([]).axes  # type: ignore[operator]
    assert [text.get_text() for text in axis.texts] == ["not measured yet"]
