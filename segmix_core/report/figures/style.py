"""What all figures share: colours, sizes, intervals over seeds, and a sheet where nothing is measured."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from segmix_core.report.statistics import interval

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


def not_measured() -> Figure:
    """A sheet that says that there are no rows."""
    return note("not measured yet")


def note(words: str) -> Figure:
    """A sheet with words alone."""
    figure, axis = plt.subplots(figsize=(6.4, 1.0))
    axis.text(0.5, 0.5, words, ha="center", va="center", color="0.4")
    axis.axis("off")
    return figure


def band(values: Sequence[Mapping[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Means over seeds, and halves of their 95 % intervals (NaN for one seed); NaN where there is none."""
    found = [interval(list(one.values())) if one else (np.nan, None) for one in values]
    return np.array([mean for mean, _ in found]), np.array(
        [np.nan if half is None else half for _, half in found]
    )


def number_of_seeds(counts: set[int]) -> str:
    """How many seeds the methods of a panel have, from the least to the most."""
    ends = sorted({min(counts), max(counts)})
    return "1 seed" if ends == [1] else f"{' to '.join(map(str, ends))} seeds"
