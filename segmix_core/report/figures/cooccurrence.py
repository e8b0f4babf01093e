"""Which categories occur together: as a matrix, and as a graph."""

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform


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


def matrix_picture(matrix: np.ndarray, categories: Sequence[str]) -> Figure:
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
        cbar_kws={"label": "images (log scale)", "shrink": 0.75},
        ax=axis,
    )
    axis.tick_params(length=0, labelsize=8.5)
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
