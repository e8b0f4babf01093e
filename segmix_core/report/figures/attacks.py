"""What attacks and corruptions leave: drops, curves over their size, the matrix of who attacks whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from segmix_core.report.figures.style import METHOD_COLOURS, band, not_measured, number_of_seeds
from segmix_core.report.statistics import PAIRS_NEEDED

if TYPE_CHECKING:
    from segmix_core.report.robustness import Corrupted, Curve, Drop, Matrix


def drop_points(drops: Sequence[Drop]) -> Figure:
    """Points that perturbations take from each method: the mean over seeds, and each seed in pale.

    From three seeds on it has its 95 % interval. The ring is what the most harmful noise of its size takes: a
    dot that is not beyond it is noise. Setting, images and seeds stand above.

    Raises:
        ValueError: several drops of one perturbation and method, as of two settings or fits.
    """
    if not drops:
        return not_measured()
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
    axis.set_title("\n".join([*_measured_on(drops), *_costs(drops)]), fontsize=9)
    figure.legend(fontsize=8, frameon=False, loc="outside upper center", ncols=3)
    return figure


def _measured_on(drops: Sequence[Drop]) -> list[str]:
    """Setting, images and seeds, a line for each list of images; of seeds that differ, how many there are."""
    lines = []
    for setting, images in dict.fromkeys((drop.setting, drop.images) for drop in drops):
        seeds = {tuple(drop.seeds) for drop in drops if (drop.setting, drop.images) == (setting, images)}
        most = max(map(len, seeds))
        if len(seeds) == 1:
            told = f"seed{'s' * (most > 1)} {', '.join(map(str, *seeds))}"
        else:
            told = (
                " to ".join(dict.fromkeys((str(min(map(len, seeds))), str(most))))
                + f" seed{'s' * (most > 1)}"
            )
        lines.append(f"{setting}: {images} images, {told}")
    return lines


def _costs(drops: Sequence[Drop]) -> list[str]:
    """What crafting took, a line for each kind of perturbation."""
    kinds: dict[str, list[str]] = {}
    for drop in drops:
        if drop.perturbation not in kinds.setdefault(drop.cost, []):
            kinds[drop.cost].append(drop.perturbation)
    return [f"{', '.join(names)}: {cost}" for cost, names in kinds.items() if cost != "published"]


def epsilon_curves(curves: Sequence[Curve]) -> Figure:
    """What adaptive attacks leave over their size: a line for each method.

    Bands: 95 % intervals over images and seeds, where matrices of single images are at hand. A panel for each
    setting, in the order given. Dotted: what random signs of the same size leave. Dashed: a method that fails
    a sanity check.
    """
    if not curves:
        return not_measured()
    settings = _by_setting(curves)
    figure, axes = plt.subplots(len(settings), figsize=(6.8, 3.8 * len(settings)))
    for axis, (title, among) in zip(np.atleast_1d(axes), settings.items(), strict=True):
        for curve in among:
            colour = METHOD_COLOURS.get(curve.experiment, "0.4")
            sizes = list(curve.by_epsilon)
            mean, _ = band(list(curve.by_epsilon.values()))
            low, high = zip(*(curve.over_images(size) or (np.nan, np.nan) for size in sizes), strict=True)
            label = curve.experiment if curve.valid else f"{curve.experiment} (invalid)"
            axis.plot(sizes, mean, "o-" if curve.valid else "o--", color=colour, ms=4, label=label)
            axis.fill_between(sizes, low, high, color=colour, alpha=0.12, lw=0)
            if curve.noise:
                axis.plot(list(curve.noise), band(list(curve.noise.values()))[0], ":", color=colour, lw=1.2)
        ticks = sorted({size for curve in among for size in curve.by_epsilon})
        axis.set_xscale("symlog", linthresh=0.25, base=2)
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_xlabel("epsilon (of 255)")
        axis.set_ylabel("mIoU (%)")
        axis.set_title(title, fontsize=9)
        axis.plot([], [], ":", color="0.3", lw=1.2, label="random signs")
        axis.legend(fontsize=8, frameon=False, handlelength=3)
        axis.grid(alpha=0.3)
    return figure


def aim_points(curves: Sequence[Curve]) -> Figure:
    """What is left at one size, by what the attack aims at; each seed a dot, the mean a bar.

    A panel for each setting, in the order given.
    """
    if not curves:
        return not_measured()
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
        axis.set_xlabel("mIoU (%)")
        axis.set_title(title, fontsize=9)
        axis.grid(axis="x", alpha=0.3)
    return figure


def _by_setting(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Curves that may share a panel, under its title: setting, images, steps, seeds; code, if of several."""
    groups: dict[tuple[Any, ...], list[Curve]] = {}
    codes: dict[str, set[str | None]] = {}
    for curve in curves:
        groups.setdefault((curve.setting, curve.images, *curve.shown), []).append(curve)
        codes.setdefault(curve.setting, set()).add(curve.code)
    titled: dict[str, list[Curve]] = {}
    for (setting, images, *_, steps, code), among in groups.items():
        seeds = number_of_seeds({len(values) for curve in among for values in curve.by_epsilon.values()})
        cost = f"the whole study up to {max(curve.passes for curve in among)} passes an image"
        precision = {curve.precision for curve in among} - {"fp32"}
        cost += f", searched in {' and '.join(sorted(precision))}" if precision else ""
        cost += f"; code {code or 'not noted'}" if len(codes[setting]) > 1 else ""
        titled[f"{setting}\nn = {images} images, {steps} steps a loss, {seeds}; {cost}"] = among
    return titled


def attack_matrix(found: Matrix) -> Figure:
    """Who attacks whom: points lost, attackers down, attacked across; the diagonal is white-box.

    In brackets: what noise of the same size takes as well. A column whose own attack is weaker than another's
    is named invalid.
    """
    lost = found.lost_MM
    if np.isnan(lost).all():
        return not_measured()
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


def severity_curves(found: Sequence[Corrupted], families: Mapping[str, tuple[str, ...]]) -> Figure:
    """What corruptions leave by severity: a panel for each family, a line for each method; 0 is clean.

    Settings stand below each other, in the order in which they come; above each what it is, the number of
    images and of corrupted versions of each.
    """
    settings = list(dict.fromkeys((one.setting, one.images) for one in found))
    if not settings:
        return not_measured()
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
        line[0].set_ylabel("mIoU (%)", fontsize=8.5)
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
                mean, half = band(values)
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
