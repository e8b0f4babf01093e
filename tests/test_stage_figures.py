"""Figures of corruptions and of what stage 2 changes: every setting by itself, every value in its place."""

import matplotlib.pyplot as plt
import pytest

from segmix_core.report import figures
from segmix_core.report.robustness import Corrupted

FAMILIES = {"noise": ("shot_noise", "impulse_noise"), "blur": ("zoom_blur",)}


def corrupted(setting: str, clean: float) -> Corrupted:
    left = {
        (name, severity): {0: clean - 10 * severity - offset, 1: clean - 10 * severity - offset + 2}
        for name, offset in (("shot_noise", 0), ("impulse_noise", 4), ("zoom_blur", 20))
        for severity in (1, 2)
    }
    clean_by_seed = {0: clean, 1: clean + 2}
    return Corrupted(
        setting=setting, experiment="mixup", images=8, digest="eight", clean=clean_by_seed, left=left
    )


def test_curves_of_corruptions_keep_settings_and_families_apart() -> None:
    found = [corrupted("mini scale, from random weights", 60), corrupted("demo scale, silhouettes", 80)]
    figure = figures.severity_curves(found, FAMILIES)
    panels = figure.axes
    told = [[text.get_text() for text in panel.texts] for panel in panels]
    assert [texts[-1] for texts in told] == ["noise", "blur", "noise", "blur"]
    assert [panel.get_xlabel() for panel in panels] == ["", "", "severity", "severity"]
    assert panels[0].get_ylabel() == "mIoU (%)"
    assert told[0][0] == "mini scale, from random weights; n = 8 x 6, 2 seeds"
    drawn = [[float(value) for value in panel.lines[0].get_ydata()] for panel in panels]
    assert drawn == [[61, 49, 39], [61, 31, 21], [81, 69, 59], [81, 51, 41]]
    assert [float(value) for value in panels[0].lines[0].get_xdata()] == [0, 1, 2]
    plt.close(figure)


def test_rings_are_stage_1_and_dots_stage_2() -> None:
    found = {
        "mini scale": {"baseline": ({0: 9.0, 1: 7.0}, {0: 4.0, 1: 6.0}), "mixup": ({0: 1.0}, {0: 2.0})},
        "demo scale": {"baseline": ({0: 3.0}, {0: 5.0})},
    }
    figure = figures.stage_points(found, unit="points")
    upper, lower = figure.axes
    assert (upper.get_title(loc="left"), lower.get_title(loc="left")) == ("mini scale", "demo scale")
    for seed, ends in enumerate(([9, 4], [7, 6])):
        joined, ring, dot = upper.lines[3 * seed : 3 * seed + 3]
        assert list(joined.get_xdata()) == ends
        assert (list(ring.get_xdata()), ring.get_markerfacecolor()) == (ends[:1], "white")
        assert (list(dot.get_xdata()), dot.get_markerfacecolor()) == (ends[1:], dot.get_color())
        assert {*joined.get_ydata(), *ring.get_ydata()} == {*dot.get_ydata()}
    assert upper.lines[0].get_ydata()[0] < 0 < upper.lines[3].get_ydata()[0] < 0.5
    assert [label.get_text() for label in upper.get_yticklabels()] == ["baseline", "mixup"]
    assert list(lower.lines[2].get_xdata()) == [5]
    plt.close(figure)


@pytest.mark.parametrize("what", ["corruptions", "stages"])
def test_a_figure_of_nothing_says_so(what: str) -> None:
    nothing = (
        figures.severity_curves([], FAMILIES) if what == "corruptions" else figures.stage_points({}, unit="")
    )
    assert [text.get_text() for text in nothing.axes[0].texts] == ["not measured yet"]
    plt.close(nothing)
