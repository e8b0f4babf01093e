"""Figures of the book: label maps in VOC's palette, blends, confidence maps, matrices, curves, intervals."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from numpy.typing import ArrayLike
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from segmix_core.data.voc import voc_palette
from segmix_core.experiments import MEASURED_ON, find_rows
from segmix_core.records import IGNORE_INDEX
from segmix_core.report.robustness import settings_of
from segmix_core.report.statistics import PAIRS_NEEDED, interval
from segmix_core.report.tables import Rows, measured

if TYPE_CHECKING:
    from segmix_core.report.claims import Finding, Judged
    from segmix_core.report.robustness import Corrupted, Curve, Drop, Matrix

METHOD_COLOURS = dict(
    zip(
        ("baseline", "mixup", "cutmix", "sourcesep-cc", "sourcesep-cm"),
        sns.color_palette("colorblind", 5),
        strict=True,
    )
) | {"baseline+noise": (0.45, 0.45, 0.45), "baseline+adversarial": (0.0, 0.0, 0.0)}
"""One colour for each method, in every figure; tells apart for readers who see colours differently."""

DOMINANT, PHANTOM = "#0173b2", "#de8f05"
"""Frames and arrows of the two images of a blend."""

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
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    notes: Sequence[str] | None = None,
    *,
    bar: tuple[str, float] | None = None,
) -> Figure:
    """A sheet of pictures, one row for each example and one column for each title.

    Args:
        rows: pictures, uint8 (H, W, 3).
        notes: words for each row, set to its left.
        bar: what a `confidence_picture` among them shows, and its largest value: a colour bar from 0 to it.
    """
    side = min(1.5, 7.6 / len(titles))  # inches
    height = side * len(rows) + (0.3 if bar is None else 0.9)
    figure, axes = plt.subplots(
        len(rows), len(titles), figsize=(side * len(titles) + 0.3, height), squeeze=False
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
    if bar is not None:
        scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, bar[1]), "inferno")
        figure.colorbar(scale, ax=axes, location="bottom", shrink=0.4, aspect=30, label=bar[0])
    return figure


@dataclass(frozen=True)
class Place:
    """A rectangle on a `Drawing`, in inches from its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    def at(self, across: float, down: float) -> tuple[float, float]:
        """A point of it: (0, 0) is its upper left corner, (1, 0.5) the middle of its right side."""
        return self.x + across * self.width, self.y + down * self.height


class Drawing:
    """Boxes, arrows and pictures, each put where it is told; nothing is laid out by itself."""

    def __init__(self, width: float, height: float) -> None:
        self.size = (width, height)  # inches
        self.figure = plt.figure(figsize=self.size, layout="none")
        self._sheet = self.figure.add_axes((0, 0, 1, 1))
        self._sheet.set(xlim=(0, width), ylim=(height, 0))
        self._sheet.axis("off")

    def text(self, words: str, point: tuple[float, float], **how: Any) -> None:
        """Words at a point, centred; `how` is passed on to matplotlib."""
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9}
        self._sheet.text(*point, words, **style | how)

    def box(self, place: Place, words: str = "", *, colour: str = "0.93", edge: str = "0.5") -> Place:
        """A box with round corners and words in its middle."""
        style = "round,pad=0,rounding_size=0.08"
        self._sheet.add_patch(
            FancyBboxPatch(
                (place.x, place.y), place.width, place.height, style, facecolor=colour, edgecolor=edge, lw=1
            )
        )
        if words:
            self.text(words, place.at(0.5, 0.5), linespacing=1.3)
        return place

    def arrow(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        *,
        colour: str = "0.35",
        dashed: bool = False,
    ) -> None:
        """A straight arrow; dashed, it carries no activation but a target or a loss."""
        self._sheet.add_patch(
            FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                mutation_scale=11,
                shrinkA=2,
                shrinkB=2,
                color=colour,
                lw=1.3,
                linestyle=(0, (3, 2)) if dashed else "-",
            )
        )

    def picture(
        self, picture: np.ndarray, place: Place, title: str = "", *, frame: str = "0.5", below: bool = False
    ) -> Place:
        """A picture, uint8 (H, W, 3), in a frame, its title above or below it."""
        axis = self._axes(place)
        axis.imshow(picture, interpolation="nearest", aspect="auto")
        for spine in axis.spines.values():
            spine.set(visible=True, color=frame, lw=0.8 if frame == "0.5" else 2.4)
        if title:
            x, y = place.at(0.5, 1 if below else 0)
            self.text(title, (x, y + (0.05 if below else -0.05)), va="top" if below else "bottom")
        return place

    def matrix(self, matrix: np.ndarray, place: Place, marked: Collection[tuple[int, int]] = ()) -> Place:
        """Counts as a heat map on a logarithmic scale, zeros left white; `marked` cells are framed."""
        axis = self._axes(place)
        norm = mpl.colors.LogNorm(vmin=1, vmax=max(int(matrix.max()), 2))
        axis.imshow(
            np.where(matrix == 0, np.nan, matrix),
            norm=norm,
            cmap="viridis",
            interpolation="nearest",
            aspect="auto",
        )
        for row, column in marked:
            corner = (column - 0.5, row - 0.5)
            axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=PHANTOM, lw=2)).set_clip_on(False)
        for spine in axis.spines.values():
            spine.set(visible=True, color="0.5", lw=0.8)
        return place

    def _axes(self, place: Place) -> Axes:
        width, height = self.size
        bottom = 1 - (place.y + place.height) / height
        return self.figure.add_axes(
            (place.x / width, bottom, place.width / width, place.height / height), xticks=[], yticks=[]
        )


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
        return _note("too few steps for a curve")
    figure, axes = plt.subplots(1, len(terms), figsize=(2.9 * len(terms), 2.6), squeeze=False)
    for axis, term in zip(axes[0], terms, strict=True):
        for (of, name, stage), points in drawn.items():
            if of == term:
                label = name if (of, name, 1) not in drawn or stage == 1 else None
                colour = METHOD_COLOURS.get(name)
                axis.plot(*zip(*points, strict=True), ".-", label=label, color=colour, lw=1.2, ms=3)
        if {stage for of, _, stage in drawn if of == term} == {1, 2}:
            axis.axvline(stage1_steps, color="0.5", ls=":", lw=1)
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
        axis.errorbar(np.mean(values), line, xerr=half, fmt="|", color=colour, ms=16, mew=2, capsize=4)
    axis.set_yticks(range(len(entries)), list(entries))
    axis.margins(y=0.3 if len(entries) < 4 else 0.12)
    axis.invert_yaxis()
    low, high = axis.get_xlim()
    if high - low < 1:  # so that no difference of a hundredth fills the picture
        axis.set_xlim((low + high) / 2 - 0.5, (low + high) / 2 + 0.5)
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
        return _not_measured()
    every = [finding for lines in shown.values() for _, finding in lines]
    heights = [len(lines) + 1 for lines in shown.values()]
    figure, axes = plt.subplots(
        len(shown),
        figsize=(7.0, 0.3 * sum(heights) + 1.0),
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
        names = [f"{number}: {one.contrast.what} ({one.seeds} seeds)" for number, one in lines]
        axis.set_yticks(range(len(lines)), names, fontsize=8)
        axis.set_ylim(len(lines) - 0.5, -0.5)
        axis.set_title(setting, fontsize=9, loc="left")
        axis.grid(axis="x", alpha=0.3)
    axis.set_xscale("symlog", linthresh=1)
    widest = max(abs(finding.mean) + (finding.half_width_95 or 0) for finding in every)
    marks = [mark for mark in (1, 3, 10, 30, 100) if mark <= 1.5 * widest]
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

    A panel for each setting, the largest scale first. Bands are 95 % intervals over seeds; a method with one
    seed has none. Below each threshold stands how many images count.

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
        return _not_measured()
    figure, axes = plt.subplots(len(found), figsize=(6.8, 3.8 * len(found)), squeeze=False)
    for axis, ((title, _), methods) in zip(axes[:, 0], found.items(), strict=True):
        _rare_lines(axis, methods)
        seeds = {len(entry["seeds"]) for entries in methods.values() for entry in entries}
        bands = ", bands: 95 % interval over seeds" if max(seeds) > 1 else ""
        axis.set_title(f"{title}; {_number_of_seeds(seeds)}{bands}", fontsize=9)
    axes[-1, 0].set_xlabel("all pairs of categories occur together in fewer training images than")
    lines = {str(line.get_label()): line for axis in axes[:, 0] for line in axis.lines}
    shown = [lines[name] for name in METHOD_COLOURS if name in lines]
    figure.legend(handles=shown, fontsize=8, frameon=False, loc="outside upper center", ncols=5)
    return figure


def _rare_lines(axis: Axes, methods: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    images: dict[int, int] = {}
    for name, entries in methods.items():
        colour = METHOD_COLOURS.get(name, "0.4")
        thresholds = [int(entry["subset"].partition("/")[2]) for entry in entries]
        mean, half = _band([entry["by_seed"] for entry in entries])
        axis.plot(thresholds, mean, "o-", color=colour, label=name, ms=4)
        if np.isfinite(half).any():
            low, high = np.clip((mean - half, mean + half), 0, 100)
            axis.fill_between(thresholds, low, high, color=colour, alpha=0.12, lw=0)
        images |= dict(zip(thresholds, (entry["images"] for entry in entries), strict=True))
    ticks = sorted(images, reverse=True)
    axis.set_xticks(ticks, [f"{tick}\nn = {images[tick]}" for tick in ticks])
    axis.invert_xaxis()
    axis.set_ylabel("mIoU (%)")
    axis.grid(alpha=0.3)


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


def drop_points(drops: Sequence[Drop]) -> Figure:
    """Points that perturbations take from each method: the mean over seeds, and each seed in pale.

    From three seeds on it has its 95 % interval. The ring is what the most harmful noise of its size takes: a
    dot that is not beyond it is noise. Setting, images and seeds stand above.

    Raises:
        ValueError: several drops of one perturbation and method, as of two settings or fits.
    """
    if not drops:
        return _not_measured()
    if len({(drop.perturbation, drop.experiment) for drop in drops}) < len(drops):
        raise ValueError("drops of several settings, fits or sizes do not share a line: draw them apart")
    names = list(dict.fromkeys(drop.perturbation for drop in drops))
    methods = list(dict.fromkeys(drop.experiment for drop in drops))
    figure, axis = plt.subplots(figsize=(7.2, 0.16 * len(names) * (len(methods) + 1) + 1.4))
    axis.axvline(0, color="0.7", lw=1)
    height = len(methods) + 1
    for drop in drops:
        line = names.index(drop.perturbation) * height + methods.index(drop.experiment)
        colour = METHOD_COLOURS.get(drop.experiment, "0.4")
        lost, half = drop.lost
        if len(drop.seeds) < PAIRS_NEEDED:
            half = None
        axis.errorbar(lost, line, xerr=half or 0, fmt="o", color=colour, ms=4.5, capsize=2)
        each = [drop.clean[seed] - drop.attacked[seed] for seed in drop.seeds]
        axis.plot(each, [line] * len(each), "o", color=colour, ms=3, alpha=0.35)
        if drop.excess is not None:
            axis.plot(lost - drop.excess[0], line, "o", mfc="none", mec=colour, ms=7)
    axis.set_yticks(
        [height * place + (len(methods) - 1) / 2 for place in range(len(names))], names, fontsize=8.5
    )
    axis.set_ylim(height * len(names) - 1, -1)
    for method in methods:
        axis.plot([], [], "o", color=METHOD_COLOURS.get(method, "0.4"), ms=4.5, label=method)
    axis.plot([], [], "o", mfc="none", mec="0.3", ms=7, label="noise of its size")
    axis.set_xlabel("points of mIoU lost")
    axis.grid(axis="x", alpha=0.3)
    told = [*dict.fromkeys(_measured_on(drop) for drop in drops), *_costs(drops)]
    axis.set_title("\n".join(told), fontsize=9)
    figure.legend(fontsize=8, frameon=False, loc="outside upper center", ncols=3)
    return figure


def _measured_on(drop: Drop) -> str:
    seeds = ", ".join(str(seed) for seed in drop.seeds)
    return f"{drop.setting}: {drop.images} images, seed{'s' * (len(drop.seeds) > 1)} {seeds}"


def _costs(drops: Sequence[Drop]) -> list[str]:
    """What crafting took, a line for each kind of perturbation."""
    kinds: dict[str, list[str]] = {}
    for drop in drops:
        if drop.perturbation not in kinds.setdefault(drop.cost, []):
            kinds[drop.cost].append(drop.perturbation)
    return [f"{', '.join(names)}: {cost}" for cost, names in kinds.items() if cost != "published"]


def _not_measured() -> Figure:
    return _note("not measured yet")


def _note(words: str) -> Figure:
    figure, axis = plt.subplots(figsize=(6.4, 1.0))
    axis.text(0.5, 0.5, words, ha="center", va="center", color="0.4")
    axis.axis("off")
    return figure


def _band(values: Sequence[Mapping[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Means over seeds, and halves of their 95 % intervals (NaN for one seed); NaN where there is none."""
    found = [interval(list(one.values())) if one else (np.nan, None) for one in values]
    return np.array([mean for mean, _ in found]), np.array(
        [np.nan if half is None else half for _, half in found]
    )


def epsilon_curves(curves: Sequence[Curve], *, unit: str = "mIoU (%)") -> Figure:
    """What adaptive attacks leave over their size: a line for each method.

    Bands: 95 % intervals over images and seeds, where matrices of single images are at hand. A panel for each
    setting, in the order given. Dotted: what random signs of the same size leave. Dashed: a method that fails
    a sanity check.
    """
    if not curves:
        return _not_measured()
    settings = _by_setting(curves)
    figure, axes = plt.subplots(len(settings), figsize=(6.8, 3.8 * len(settings)))
    for axis, (title, among) in zip(np.atleast_1d(axes), settings.items(), strict=True):
        for curve in among:
            colour = METHOD_COLOURS.get(curve.experiment, "0.4")
            sizes = list(curve.by_epsilon)
            mean, _ = _band(list(curve.by_epsilon.values()))
            low, high = zip(*(curve.over_images(size) or (np.nan, np.nan) for size in sizes), strict=True)
            label = curve.experiment if curve.valid else f"{curve.experiment} (invalid)"
            axis.plot(sizes, mean, "o-" if curve.valid else "o--", color=colour, ms=4, label=label)
            axis.fill_between(sizes, low, high, color=colour, alpha=0.12, lw=0)
            if curve.noise:
                axis.plot(list(curve.noise), _band(list(curve.noise.values()))[0], ":", color=colour, lw=1.2)
        ticks = sorted({size for curve in among for size in curve.by_epsilon})
        axis.set_xscale("symlog", linthresh=0.25, base=2)
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_xlabel("epsilon (of 255)")
        axis.set_ylabel(unit)
        axis.set_title(title, fontsize=9)
        axis.plot([], [], ":", color="0.3", lw=1.2, label="random signs")
        axis.legend(fontsize=8, frameon=False, handlelength=3)
        axis.grid(alpha=0.3)
    return figure


def aim_points(curves: Sequence[Curve], *, unit: str = "mIoU (%)") -> Figure:
    """What is left at one size, by what the attack aims at; each seed a dot, the mean a bar.

    A panel for each setting, in the order given.
    """
    if not curves:
        return _not_measured()
    lines = {
        title: [(curve, aim) for curve in among for aim in curve.by_aim]
        for title, among in _by_setting(curves).items()
    }
    heights = [len(of) + 4 for of in lines.values()]
    figure, axes = plt.subplots(
        len(heights), figsize=(6.8, 0.3 * sum(heights)), gridspec_kw={"height_ratios": heights}
    )
    for axis, (title, of) in zip(np.atleast_1d(axes), lines.items(), strict=True):
        for line, (curve, aim) in enumerate(of):
            colour = METHOD_COLOURS.get(curve.experiment, "0.4")
            values = list(curve.by_aim[aim].values())
            axis.plot(values, [line] * len(values), "o", color=colour, ms=5, alpha=0.6)
            axis.plot(np.mean(values), line, "|", color=colour, ms=14, mew=2)
        names = [
            f"{curve.experiment}{'' if curve.valid else ' (invalid)'}: {aim}, {curve.at:g}/255"
            for curve, aim in of
        ]
        axis.set_yticks(range(len(of)), names, fontsize=8.5)
        axis.set_ylim(len(of) - 0.5, -0.5)
        axis.set_xlim(left=0)
        axis.set_xlabel(unit)
        axis.set_title(title, fontsize=9)
        axis.grid(axis="x", alpha=0.3)
    return figure


def _by_setting(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Curves that may share a panel, under its title: setting, images, steps and seeds."""
    groups: dict[tuple[str, int, int], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.setting, curve.images, curve.steps), []).append(curve)
    titled: dict[str, list[Curve]] = {}
    for (setting, images, steps), among in groups.items():
        seeds = _number_of_seeds({len(values) for curve in among for values in curve.by_epsilon.values()})
        cost = f"the whole study up to {max(curve.passes for curve in among)} passes an image"
        titled[f"{setting}\nn = {images} images, {steps} steps a loss, {seeds}; {cost}"] = among
    return titled


def _number_of_seeds(counts: set[int]) -> str:
    ends = sorted({min(counts), max(counts)})
    return "1 seed" if ends == [1] else f"{' to '.join(map(str, ends))} seeds"


def attack_matrix(found: Matrix) -> Figure:
    """Who attacks whom: points lost, attackers down, attacked across; the diagonal is white-box.

    In brackets: what noise of the same size takes as well. A column whose own attack is weaker than another's
    is named invalid.
    """
    lost = found.lost_MM
    if np.isnan(lost).all():
        return _not_measured()
    names = [f"{name}\n(invalid)" if name in found.stronger else name for name in found.names]
    told = [
        [f"({value:.1f})" if noise else f"{value:.1f}" for value, noise in zip(*line, strict=True)]
        for line in zip(lost, found.noise_MM, strict=True)
    ]
    figure, axis = plt.subplots(figsize=(5.6, 4.4))
    sns.heatmap(
        lost,
        mask=np.isnan(lost),
        annot=np.array(told),
        fmt="",
        cmap="viridis",
        xticklabels=names,
        yticklabels=found.names,
        square=True,
        cbar_kws={"label": "points of mIoU lost", "shrink": 0.8},
        ax=axis,
    )
    for place in range(len(names)):
        frame = mpl.patches.Rectangle((place, place), 1, 1, fill=False, edgecolor="#d55e00", lw=2)
        axis.add_patch(frame).set_clip_on(False)
    axis.set_xlabel("attacked")
    axis.set_ylabel("crafted on")
    axis.tick_params(length=0, labelsize=8.5)
    axis.tick_params(axis="x", rotation=30)
    return figure


def severity_curves(
    found: Sequence[Corrupted], families: Mapping[str, tuple[str, ...]], *, unit: str = "mIoU (%)"
) -> Figure:
    """What corruptions leave by severity: a panel for each family, a line for each method; 0 is clean.

    Settings stand below each other, in the order in which they come; above each what it is, the number of
    images and of corrupted versions of each.
    """
    settings = list(dict.fromkeys((one.setting, one.images) for one in found))
    if not settings:
        return _not_measured()
    figure, axes = plt.subplots(
        len(settings),
        len(families),
        figsize=(2.1 * len(families) + 0.6, 2.5 * len(settings) + 0.6),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    methods = list(dict.fromkeys(one.experiment for one in found))
    for line, (setting, images) in zip(axes, settings, strict=True):
        seeds = len(
            {seed for one in found if (one.setting, one.images) == (setting, images) for seed in one.clean}
        )
        shown = max(len(one.left) for one in found if (one.setting, one.images) == (setting, images))
        counted = f"n = {images} x {shown}, {seeds} seed{'s' * (seeds > 1)}"
        line[0].set_ylabel(unit, fontsize=8.5)
        for axis in line:
            axis.set_title(" ", fontsize=8.5)
        # In place of these titles, as wide as the row: a title of its own would widen its panel.
        told = line[0].annotate(f"{setting}; {counted}", (0, 1.04), xycoords="axes fraction", fontsize=8.5)
        told.set_in_layout(False)
        for axis, (family, names) in zip(line, families.items(), strict=True):
            axis.annotate(family, (0.96, 0.94), xycoords="axes fraction", ha="right", va="top", fontsize=8.5)
            for one in (one for one in found if (one.setting, one.images) == (setting, images)):
                severities = sorted({severity for name, severity in one.left if name in names})
                values = [one.clean, *(one.mean(names, severity) for severity in severities)]
                mean, half = _band(values)
                colour = METHOD_COLOURS.get(one.experiment, "0.4")
                axis.plot([0, *severities], mean, "o-", color=colour, ms=3, lw=1.2)
                if np.isfinite(half).any():
                    axis.fill_between(
                        [0, *severities], mean - half, mean + half, color=colour, alpha=0.12, lw=0
                    )
            axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("severity")
    for method in methods:
        axes[0][0].plot([], [], "o-", color=METHOD_COLOURS.get(method, "0.4"), ms=3, lw=1.2, label=method)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, frameon=False, loc="outside upper center", ncols=4)
    return figure


def stage_points(
    found: Mapping[str, Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]]], *, unit: str
) -> Figure:
    """Each method after stage 1 (rings) and after stage 2 (dots): a panel for each setting, a mark a seed.

    Seeds stand below each other, the lowest on top; a line joins a seed's ring and dot.

    Args:
        found: setting -> method -> values by seed after either stage.
    """
    if not found:
        return _not_measured()
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
