"""Images, label maps in VOC's palette and confidence maps, on sheets and in drawings."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from numpy.typing import ArrayLike

from segmix_core.data.voc import voc_palette
from segmix_core.records import IGNORE_INDEX
from segmix_core.report.figures.style import PHANTOM

_VOID = (224, 224, 192)


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


def category_key(categories: Sequence[str]) -> Figure:
    """The colour of each category in `label_picture`, and that of ignored pixels."""
    entries = [*enumerate(categories), (IGNORE_INDEX, "ignored")]
    columns = 6
    lines = -(-len(entries) // columns)
    figure, axis = plt.subplots(figsize=(7.6, 0.3 * lines))
    for place, (label, name) in enumerate(entries):
        line, column = divmod(place, columns)
        colour = label_picture(np.array(label)) / 255
        axis.add_patch(Rectangle((column, -line), 0.16, 0.6, facecolor=colour, edgecolor="0.6", lw=0.5))
        axis.text(column + 0.2, 0.28 - line, name, va="center", fontsize=8)
    axis.set_xlim(0, columns)
    axis.set_ylim(0.4 - lines, 0.8)
    axis.axis("off")
    return figure


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
