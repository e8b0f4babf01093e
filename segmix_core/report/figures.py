"""Figures of the book: label maps in VOC's palette, blends, confidence maps, matrices, curves, intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from segmix_core.data.voc import voc_palette
from segmix_core.records import IGNORE_INDEX

if TYPE_CHECKING:
    from segmix_core.report.claims import Judged

METHOD_COLOURS = dict(
    zip(
        ("baseline", "mixup", "cutmix", "sourcesep-cc", "sourcesep-cm"),
        sns.color_palette("colorblind", 5),
        strict=True,
    )
)
"""One colour for each method, in every figure; tells apart for readers who see colours differently."""

_VOID = (224, 224, 192)


def use_book_style() -> None:
    """Sizes and colours of every figure in the book."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind")
    mpl.rcParams.update(
        {
            "figure.dpi": 96,
            "savefig.dpi": 96,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.labelsize": 10,
            "svg.hashsalt": "segmix",
        }
    )


def image_picture(image_CHW: ArrayLike) -> np.ndarray:
    """An image of a batch: floats 0..1 (3, H, W), on the CPU -> uint8 (H, W, 3)."""
    pixels = np.moveaxis(np.clip(np.asarray(image_CHW), 0, 1), 0, -1)
    picture: np.ndarray = np.round(pixels * 255).astype(np.uint8)
    return picture


def label_picture(label: np.ndarray) -> np.ndarray:
    """A label map in VOC's palette: integers (H, W) -> uint8 (H, W, 3); ignored pixels are pale."""
    colours = voc_palette()
    colours[IGNORE_INDEX] = _VOID
    picture: np.ndarray = colours[label]
    return picture


def confidence_picture(probability: np.ndarray) -> np.ndarray:
    """A confidence map, floats 0..1 (H, W), from black (none) to yellow (certain): uint8 (H, W, 3)."""
    coloured = mpl.colormaps["inferno"](np.clip(probability, 0, 1))[..., :3]
    picture: np.ndarray = (coloured * 255).astype(np.uint8)
    return picture


def panels(
    rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], notes: Sequence[str] | None = None
) -> Figure:
    """A sheet of pictures, one row for each example and one column for each title.

    Args:
        rows: pictures, uint8 (H, W, 3).
        notes: one line for each row, set to its left.
    """
    side = min(1.5, 7.6 / len(titles))  # inches
    figure, axes = plt.subplots(
        len(rows), len(titles), figsize=(side * len(titles) + 0.3, side * len(rows) + 0.3), squeeze=False
    )
    for line, (row, pictures) in enumerate(zip(axes, rows, strict=True)):
        for axis, picture, title in zip(row, pictures, titles, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            sns.despine(ax=axis, left=True, bottom=True)
            if line == 0:
                axis.set_title(title, fontsize=9)
        if notes is not None:
            row[0].set_ylabel(notes[line], fontsize=9)
    return figure


def cluster_order(matrix: np.ndarray) -> np.ndarray:
    """Categories 1..N-1 in an order that puts those that occur together side by side.

    Average linkage on 1 - C_ij / sqrt(C_i C_j), with C_i the sum of a row, so that frequent categories do
    not swallow the rest.
    """
    counts = matrix[1:, 1:].astype(np.float64)
    often = np.sqrt(np.maximum(counts.sum(1), 1))
    distance = 1 - counts / (often[:, None] * often[None, :])
    np.fill_diagonal(distance, 0)
    order: np.ndarray = 1 + leaves_list(linkage(squareform(distance), "average", optimal_ordering=True))
    return order


def matrix_picture(matrix: np.ndarray, categories: Sequence[str], *, what: str = "images") -> Figure:
    """C_ss as a heat map on a logarithmic scale, its categories in `cluster_order`."""
    order = cluster_order(matrix)
    names = [categories[index] for index in order]
    shown = matrix[np.ix_(order, order)]
    figure, axis = plt.subplots(figsize=(7.6, 6.6))
    sns.heatmap(
        shown,
        mask=shown == 0,
        norm=mpl.colors.LogNorm(vmin=1, vmax=max(shown.max(), 2)),
        cmap="viridis",
        annot=True,
        fmt="d",
        annot_kws={"fontsize": 6.5},
        xticklabels=names,
        yticklabels=names,
        square=True,
        linewidths=0.4,
        cbar_kws={"label": f"{what} (log scale)", "shrink": 0.75},
        ax=axis,
    )
    axis.tick_params(length=0, labelsize=8.5)
    return figure


def loss_curves(losses: Mapping[str, Sequence[Mapping[str, float]]], terms: Sequence[str]) -> Figure:
    """Terms of the loss over steps, one line for each run, one panel for each term."""
    figure, axes = plt.subplots(1, len(terms), figsize=(2.9 * len(terms), 2.6), squeeze=False)
    for axis, term in zip(axes[0], terms, strict=True):
        for name, curve in losses.items():
            points = [(entry["step"], entry[term]) for entry in curve if term in entry]
            if points:
                axis.plot(
                    *zip(*points, strict=True), ".-", label=name, color=METHOD_COLOURS.get(name), lw=1.2, ms=3
                )
        axis.set_title(term)
        axis.set_xlabel("step")
    axes[0][0].set_ylabel("loss")
    axes[0][0].legend(fontsize=8, frameon=False)
    return figure


def score_points(entries: Mapping[str, Mapping[str, Any]], *, unit: str = "mIoU (%)") -> Figure:
    """Each seed a dot, each method's mean a bar with its 95 % interval where there are two seeds or more."""
    figure, axis = plt.subplots(figsize=(6.4, 0.55 * len(entries) + 1.0))
    for line, (name, entry) in enumerate(entries.items()):
        colour = METHOD_COLOURS.get(name, "0.4")
        values = list(entry["by_seed"].values())
        axis.plot(values, [line] * len(values), "o", color=colour, ms=5, alpha=0.6)
        half = entry["half_width_95"] or 0
        axis.errorbar(entry["value"], line, xerr=half, fmt="|", color=colour, ms=16, mew=2, capsize=4)
    axis.set_yticks(range(len(entries)), list(entries))
    axis.margins(y=0.3 if len(entries) < 4 else 0.12)
    axis.invert_yaxis()
    axis.set_xlabel(unit)
    axis.grid(axis="x", alpha=0.3)
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


def contrast_points(judged: Sequence[Judged]) -> Figure:
    """The contrasts of claims: mean and 95 % interval over seeds, in points; one line each, zero marked.

    Contrasts of one seed have no interval and are left out, as are those in other units than points of mIoU.
    """
    shown = [
        (one, finding)
        for one in judged
        for finding in one.findings
        if finding.half_width_95 is not None
        and all("IoU" in reading.metric for _, reading in finding.contrast.terms)
    ]
    colours = {"yes": "#0173b2", "no": "#d55e00", "undecided": "0.45"}
    figure, axis = plt.subplots(figsize=(7.0, 0.32 * max(len(shown), 2) + 1.0))
    axis.axvline(0, color="0.7", lw=1)
    for line, (_, finding) in enumerate(shown):
        colour = colours[finding.holds]
        axis.errorbar(finding.mean, line, xerr=finding.half_width_95, fmt="o", color=colour, capsize=3, ms=4)
    names = [f"{one.claim.number}: {finding.contrast.what}" for one, finding in shown]
    axis.set_yticks(range(len(shown)), names, fontsize=8)
    axis.margins(y=0.5 / max(len(shown), 1))
    axis.invert_yaxis()
    axis.set_xscale("symlog", linthresh=1)
    widest = max((abs(finding.mean) + (finding.half_width_95 or 0) for _, finding in shown), default=1)
    marks = [mark for mark in (1, 3, 10, 30, 100) if mark <= 1.5 * widest]
    ticks = [*(-mark for mark in reversed(marks)), 0, *marks]
    axis.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks], fontsize=8)
    axis.minorticks_off()
    axis.set_xlabel("points of mIoU; beyond 1 the scale is logarithmic", fontsize=9)
    axis.grid(axis="x", alpha=0.3)
    for holds, colour in colours.items():
        axis.plot([], [], "o", color=colour, label={"yes": "holds", "no": "contradicted"}.get(holds, holds))
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
                entry["value"],
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


def threshold_curves(curves: Mapping[str, Sequence[tuple[int, float, float | None, int]]]) -> Figure:
    """mIoU over falling thresholds of co-occurrence, one line for each method (Fig. 5).

    Args:
        curves: by method, (threshold, mIoU, half of its 95 % interval or None, images).
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    for name, points in curves.items():
        colour = METHOD_COLOURS.get(name, "0.4")
        thresholds = [point[0] for point in points]
        values = np.array([point[1] for point in points])
        axis.plot(thresholds, values, "o-", color=colour, label=name, ms=4)
        half = np.array([point[2] if point[2] is not None else np.nan for point in points])
        if np.isfinite(half).any():
            axis.fill_between(thresholds, values - half, values + half, color=colour, alpha=0.12, lw=0)
    images = {point[0]: point[3] for points in curves.values() for point in points}
    ticks = sorted(images, reverse=True)
    axis.set_xticks(ticks, [f"{tick}\nn = {images[tick]}" for tick in ticks])
    axis.invert_xaxis()
    axis.set_xlabel("all pairs of categories occur together in fewer training images than")
    axis.set_ylabel("mIoU (%)")
    axis.legend(fontsize=8, frameon=False)
    axis.grid(alpha=0.3)
    return figure


def pair_graph(
    pictures: Sequence[np.ndarray], partners: Sequence[Sequence[int]], titles: Sequence[str]
) -> Figure:
    """Who is whose phantom: the pictures of a batch on a ring, an arrow from each phantom to what it joins.

    Args:
        pictures: uint8 (H, W, 3), one for each sample.
        partners: for each way of pairing, the phantom of each sample.
    """
    count = len(pictures)
    angle = 2 * np.pi * np.arange(count) / count
    places = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    side = 0.13
    figure, axes = plt.subplots(1, len(partners), figsize=(3.8 * len(partners), 3.9), squeeze=False)
    for axis, chosen, title in zip(axes[0], partners, titles, strict=True):
        served = np.bincount(chosen, minlength=count)
        for sample, phantom in enumerate(chosen):
            axis.annotate(
                "",
                xy=places[sample] * 0.84,
                xytext=places[phantom] * 0.84,
                arrowprops={
                    "arrowstyle": "->",
                    "color": "#0173b2",
                    "alpha": 0.7,
                    "lw": 1,
                    "shrinkA": 2,
                    "shrinkB": 2,
                },
            )
        for sample, picture in enumerate(pictures):
            x, y = places[sample]
            axis.imshow(picture, extent=(x - side, x + side, y - side, y + side), zorder=3)
            frame = mpl.patches.Rectangle((x - side, y - side), 2 * side, 2 * side, fill=False, zorder=4)
            frame.set(edgecolor="#d55e00" if served[sample] else "0.8", linewidth=0.5 + 0.5 * served[sample])
            axis.add_patch(frame)
        axis.set_xlim(-1.2, 1.2)
        axis.set_ylim(-1.2, 1.2)
        axis.set_aspect("equal")
        axis.axis("off")
        axis.set_title(f"{title}: {np.count_nonzero(served)} phantoms", fontsize=10)
    return figure
