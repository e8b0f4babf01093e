"""Losses of a run, and scores of methods: by seed, by category, by subset, as contrasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segmix_core.experiments import MEASURED_ON, find_rows
from segmix_core.report.figures.style import (
    DOMINANT,
    METHOD_COLOURS,
    PHANTOM,
    band,
    not_measured,
    note,
    number_of_seeds,
)
from segmix_core.report.robustness import settings_of
from segmix_core.report.tables import Rows, measured

if TYPE_CHECKING:
    from segmix_core.report.claims import ClaimVerdict, Finding
    from segmix_core.report.separation import Separated


def loss_curves(
    losses: Mapping[str, Sequence[Mapping[str, float]]], terms: Sequence[str], *, stage1_steps: int
) -> Figure:
    """Terms of the loss over steps, one line for each run and stage, one panel for each term.

    A line does not cross the end of stage 1, which is dotted: a term weighs something else after it. Where a
    stage has fewer than three points, a note stands in place of the curves.
    """
    drawn = {
        (term, name, stage): points
        for term in terms
        for name, curve in losses.items()
        for stage in (1, 2)
        if (
            points := [
                (entry["step"], entry[term])
                for entry in curve
                if term in entry and (entry["step"] > stage1_steps) == (stage == 2)
            ]
        )
    }
    if not drawn or min(map(len, drawn.values())) < 3:
        return note("too few steps for a curve")
    figure, axes = plt.subplots(1, len(terms), figsize=(2.9 * len(terms), 2.6), squeeze=False)
    for axis, term in zip(axes[0], terms, strict=True):
        for (of, name, stage), points in drawn.items():
            if of == term:
                label = name if (of, name, 1) not in drawn or stage == 1 else None
                colour = METHOD_COLOURS.get(name)
                axis.plot(*zip(*points, strict=True), ".-", label=label, color=colour, lw=1.2, ms=3)
        if {stage for of, _, stage in drawn if of == term} == {1, 2}:
            axis.axvline(stage1_steps, color="0.5", ls=":", lw=1)
        axis.set_title("$l_{PPA}$" if term == "ppa" else term)
        axis.set_xlabel("step")
    axes[0][0].set_ylabel("loss")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, frameon=False, loc="outside upper center", ncols=5)
    return figure


def score_points(entries: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Each seed a dot, each method's mean a bar with its 95 % interval where there are two seeds or more."""
    figure, axis = plt.subplots(figsize=(6.4, 0.55 * len(entries) + 1.0))
    for line, (name, entry) in enumerate(entries.items()):
        colour = METHOD_COLOURS.get(name, "0.4")
        values = list(entry["by_seed"].values())
        axis.plot(values, [line] * len(values), "o", color=colour, ms=5, alpha=0.6)
        half = entry["half_width_95"] or 0
        axis.errorbar(np.mean(values), line, xerr=half, fmt="|", color=colour, ms=16, mew=2, capsize=4)
    axis.set_yticks(range(len(entries)), list(entries))
    axis.margins(y=0.3 if len(entries) < 4 else 0.12)
    axis.invert_yaxis()
    low, high = axis.get_xlim()
    if high - low < 1:  # so that no difference of a hundredth fills the picture
        axis.set_xlim((low + high) / 2 - 0.5, (low + high) / 2 + 0.5)
    axis.set_xlabel("mIoU (%)")
    axis.grid(axis="x", alpha=0.3)
    return figure


def separation_curves(found: Sequence[Separated]) -> Figure:
    """What each output scores on blends, over the weight of the phantom: a panel for each entry."""
    if not found:
        return not_measured()
    figure, axes = plt.subplots(
        1, len(found), figsize=(3.4 * len(found) + 1.2, 2.9), squeeze=False, sharey=True
    )
    lines = {
        "dominant": ("$S_t$, of the dominant image", DOMINANT, "o-"),
        "final": ("$S_{ss}$, of the dominant image", DOMINANT, "s--"),
        "phantom": ("$S_p$, of the phantom", PHANTOM, "o-"),
    }
    for axis, one in zip(axes[0], found, strict=True):
        for output, (label, colour, style) in lines.items():
            points = sorted((1 - delta, value) for delta, value in one.scores[output].items())
            axis.plot(*zip(*points, strict=True), style, color=colour, label=label, lw=1.4, ms=4)
        axis.set_title(f"{one.experiment}: {one.data}", fontsize=9)
        axis.set_xlabel("weight of the phantom in the blend, 1 - $\\delta$")
        axis.set_ylim(bottom=0)
    axes[0][0].set_ylabel("mIoU (%)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, frameon=False, loc="outside upper center", ncols=3)
    return figure


def dumbbells(
    ends: Mapping[str, tuple[float, float]], names: tuple[str, str], *, unit: str = "mIoU (%)"
) -> Figure:
    """Two values of each row, joined by a line: the first a ring, the second a dot; NaN is not drawn."""
    figure, axis = plt.subplots(figsize=(6.4, 0.4 * len(ends) + 1.3))
    for line, (name, (first, second)) in enumerate(ends.items()):
        colour = METHOD_COLOURS.get(name, "0.4")
        axis.plot([first, second], [line, line], "-", color=colour, lw=2, alpha=0.5)
        axis.plot(first, line, "o", color=colour, ms=8, mfc="white", mew=1.8)
        axis.plot(second, line, "o", color=colour, ms=6)
    axis.set_yticks(range(len(ends)), list(ends))
    axis.set_ylim(len(ends) - 0.5, -0.5)
    axis.set_xlabel(unit)
    axis.grid(axis="x", alpha=0.3)
    for name, fill in zip(names, ("white", "0.3"), strict=True):
        axis.plot([], [], "o", color="0.3", mfc=fill, mew=1.8, label=name)
    figure.legend(fontsize=8, frameon=False, loc="outside upper right", ncols=2)
    return figure


def category_bars(scores: Mapping[str, Mapping[str, float | None]], categories: Sequence[str]) -> Figure:
    """IoU of each category, one bar for each method; an absent category has none."""
    names = list(scores)
    records = {
        "category": [category for category in categories for _ in names],
        "method": names * len(categories),
        "IoU (%)": [scores[name].get(category) for category in categories for name in names],
    }
    figure, axis = plt.subplots(figsize=(7.6, 3.0))
    sns.barplot(
        records,
        x="category",
        y="IoU (%)",
        hue="method",
        palette={name: METHOD_COLOURS.get(name, (0.4, 0.4, 0.4)) for name in names},
        ax=axis,
    )
    axis.set_xlabel("")
    axis.tick_params(axis="x", rotation=60, labelsize=9)
    axis.legend(fontsize=8, frameon=False, ncols=3)
    return figure


def contrast_points(judged: Sequence[ClaimVerdict]) -> Figure:
    """The contrasts of claims: mean and 95 % interval over seeds, in points; one line each, zero marked.

    A panel for each setting. Contrasts of one seed have no interval and are left out, as are those in other
    units than points of mIoU. Hollow ones are said by no sentence of the paper.
    """
    shown: dict[str, list[tuple[int, Finding]]] = {}
    for one in judged:
        for finding in one.findings:
            in_points = all("IoU" in reading.metric for _, reading in finding.contrast.terms)
            if finding.half_width_95 is not None and in_points:
                shown.setdefault(one.setting, []).append((one.claim.number, finding))
    if not shown:
        return not_measured()
    every = [finding for lines in shown.values() for _, finding in lines]
    heights = [len(lines) + 1 for lines in shown.values()]
    figure, axes = plt.subplots(
        len(shown),
        figsize=(7.6, 0.3 * sum(heights) + 1.2),
        squeeze=False,
        sharex=True,
        height_ratios=heights,
    )
    colours = {"yes": "#0173b2", "no": "#d55e00", "undecided": "0.45"}
    for axis, (setting, lines) in zip(axes[:, 0], shown.items(), strict=True):
        axis.axvline(0, color="0.7", lw=1)
        for line, (_, finding) in enumerate(lines):
            colour = colours[finding.holds]
            filled = colour if finding.contrast.said else "white"
            axis.errorbar(
                finding.mean,
                line,
                xerr=finding.half_width_95,
                fmt="o",
                color=colour,
                mfc=filled,
                capsize=3,
                ms=4,
            )
        names = [f"{number}: {one.contrast.what}" for number, one in lines]
        axis.set_yticks(range(len(lines)), names, fontsize=7.5)
        axis.tick_params(axis="x", labelbottom=True, labelsize=8)
        axis.set_ylim(len(lines) - 0.5, -0.5)
        axis.set_title(setting, fontsize=9, loc="left")
        axis.grid(axis="x", alpha=0.3)
    axis.set_xscale("symlog", linthresh=1)
    widest = max(abs(finding.mean) + (finding.half_width_95 or 0) for finding in every)
    marks = [mark for mark in (1, 10, 100) if mark <= 1.5 * widest]
    ticks = [*(-mark for mark in reversed(marks)), 0, *marks]
    axis.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks], fontsize=8)
    axis.minorticks_off()
    axis.set_xlabel("points of mIoU; beyond 1 the scale is logarithmic", fontsize=9)
    words = {"yes": "holds", "no": "contradicted"}
    for holds in (one for one in colours if any(finding.holds == one for finding in every)):
        axis.plot([], [], "o", color=colours[holds], label=words.get(holds, holds))
    figure.legend(fontsize=8, frameon=False, loc="outside upper right", ncols=3)
    return figure


def variation_points(entries: Mapping[str, Sequence[Mapping[str, Any]]], *, unit: str = "mIoU (%)") -> Figure:
    """Rows of an ablation: one line each, its seeds as dots and their mean as a bar with its interval.

    Args:
        entries: by row, what `segmix_core.report.measured` returns; empty where nothing was measured.
    """
    figure, axis = plt.subplots(figsize=(7.0, 0.36 * len(entries) + 0.9))
    first = next((found[0]["value"] for found in entries.values() if found), None)
    if first is not None:
        axis.axvline(first, color="0.7", lw=1)
    for line, found in enumerate(entries.values()):
        for entry in found[:1]:
            values = list(entry["by_seed"].values())
            axis.plot(values, [line] * len(values), "o", color="#0173b2", ms=5, alpha=0.5)
            axis.errorbar(
                np.mean(values),
                line,
                xerr=entry["half_width_95"] or 0,
                fmt="|",
                color="#0173b2",
                ms=14,
                mew=2,
                capsize=3,
            )
    axis.set_yticks(range(len(entries)), list(entries), fontsize=8.5)
    axis.set_ylim(len(entries) - 0.5, -0.5)
    axis.set_xlabel(unit)
    axis.grid(axis="x", alpha=0.3)
    return figure


def rare_curves(rows: Rows, *, among: tuple[str, ...] = MEASURED_ON["voc"]) -> Figure:
    """Fig. 5: mIoU over falling thresholds of co-occurrence, a line for each method, its mean over seeds.

    A panel for each setting, the largest scale first. Bars are 95 % intervals over seeds; a method with one
    seed has none. Methods stand side by side. Below each threshold stands how many images count.

    Args:
        rows: committed ones (`segmix_core.results.read_all`), or those of runs.
        among: the evaluation sets that count.
    """
    found: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for words, alike in settings_of(rows).items():
        for row in find_rows("figure5"):
            for entry in measured(alike, row.experiment, subset=row.subset, among=among):
                title = f"{words}\n{entry['dataset']} {entry['split']}, {entry['protocol']}"
                methods = found.setdefault((title, entry["setting"]), {})
                methods.setdefault(row.experiment.name, []).append(entry)
    if not found:
        return not_measured()
    figure, axes = plt.subplots(len(found), figsize=(6.8, 3.8 * len(found)), squeeze=False)
    for axis, ((title, _), methods) in zip(axes[:, 0], found.items(), strict=True):
        _rare_lines(axis, methods)
        seeds = {len(entry["seeds"]) for entries in methods.values() for entry in entries}
        bars = ", bars: 95 % interval over seeds" if max(seeds) > 1 else ""
        axis.set_title(f"{title}; {number_of_seeds(seeds)}{bars}", fontsize=9)
        axis.set_xlabel("threshold t: every pair of categories in fewer than t training images")
    lines = {str(line.get_label()): line for axis in axes[:, 0] for line in axis.lines}
    shown = [lines[name] for name in METHOD_COLOURS if name in lines]
    figure.legend(handles=shown, fontsize=8, frameon=False, loc="outside upper center", ncols=5)
    return figure


def _rare_lines(axis: Axes, methods: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    images: dict[int, int] = {}
    for place, (name, entries) in enumerate(methods.items()):
        colour = METHOD_COLOURS.get(name, "0.4")
        thresholds = [int(entry["subset"].partition("/")[2]) for entry in entries]
        beside = np.array(thresholds) + 0.6 * (place - (len(methods) - 1) / 2)
        mean, half = band([entry["by_seed"] for entry in entries])
        axis.plot(beside, mean, "o-", color=colour, label=name, ms=4)
        if np.isfinite(half).any():
            axis.errorbar(beside, mean, yerr=half, fmt="none", ecolor=colour, elinewidth=1.2, alpha=0.6)
        images |= dict(zip(thresholds, (entry["images"] for entry in entries), strict=True))
    ticks = sorted(images, reverse=True)
    axis.set_xticks(ticks, [f"{tick}\nn = {images[tick]}" for tick in ticks])
    axis.invert_xaxis()
    axis.set_ylabel("mIoU (%)")
    axis.grid(alpha=0.3)


def stage_points(
    found: Mapping[str, Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]]], *, unit: str
) -> Figure:
    """Each method after stage 1 (rings) and after stage 2 (dots): a panel for each setting, a mark a seed.

    Seeds stand below each other, the lowest on top; a line joins a seed's ring and dot.

    Args:
        found: setting -> method -> values by seed after either stage.
    """
    if not found:
        return not_measured()
    heights = [len(methods) + 1 for methods in found.values()]
    figure, axes = plt.subplots(
        len(found),
        1,
        figsize=(6.8, 0.36 * sum(heights) + 0.6 * len(found) + 0.5),
        squeeze=False,
        height_ratios=heights,
    )
    for axis, (setting, methods) in zip(axes[:, 0], found.items(), strict=True):
        for line, (method, stages) in enumerate(methods.items()):
            colour = METHOD_COLOURS.get(method, "0.4")
            seeds = sorted(set().union(*stages))
            for place, seed in enumerate(seeds):
                height = line + 0.6 * ((place + 0.5) / len(seeds) - 0.5)
                ends = [values.get(seed, np.nan) for values in stages]
                axis.plot(ends, [height, height], "-", color=colour, lw=1.5, alpha=0.4)
                for value, fill in zip(ends, ("white", colour), strict=True):
                    axis.plot(value, height, "o", color=colour, mfc=fill, ms=5, mew=1.3)
        axis.set_yticks(range(len(methods)), list(methods), fontsize=8.5)
        axis.set_ylim(len(methods) - 0.5, -0.5)
        axis.set_title(setting, fontsize=9, loc="left")
        axis.grid(axis="x", alpha=0.3)
    axes[-1, 0].set_xlabel(unit)
    for name, fill in (("after stage 1", "white"), ("after stage 2", "0.3")):
        axes[0, 0].plot([], [], "o", color="0.3", mfc=fill, mew=1.5, label=name)
    figure.legend(fontsize=8, frameon=False, loc="outside upper right", ncols=2)
    return figure
