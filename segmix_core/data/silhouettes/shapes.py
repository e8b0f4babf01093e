"""What silhouettes are made of: polygons in a frame of their own, and colours to fill them with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Colour = tuple[int, int, int]
Point = tuple[float, float]

DARK: Colour = (28, 26, 30)
LIGHT: Colour = (238, 236, 228)
GLASS: Colour = (150, 190, 214)

FUR: tuple[Colour, ...] = (
    (92, 62, 40),
    (150, 100, 58),
    (196, 150, 96),
    (56, 48, 46),
    (216, 200, 176),
    (120, 116, 114),
    (170, 92, 48),
)
PAINT: tuple[Colour, ...] = (
    (186, 40, 44),
    (44, 84, 160),
    (226, 178, 46),
    (54, 126, 78),
    (226, 226, 222),
    (74, 78, 88),
    (216, 112, 40),
    (120, 168, 196),
    (150, 64, 110),
)
CLOTH: tuple[Colour, ...] = (*PAINT, (40, 44, 72), (104, 72, 60), (200, 190, 170))
SKIN: tuple[Colour, ...] = ((240, 204, 176), (222, 172, 134), (186, 130, 92), (134, 88, 60), (92, 60, 42))
HAIR: tuple[Colour, ...] = ((30, 24, 22), (84, 54, 30), (150, 110, 60), (200, 168, 100), (130, 126, 124))
WOOD: tuple[Colour, ...] = ((120, 78, 46), (164, 116, 70), (84, 54, 36), (196, 158, 110))
LEAF: tuple[Colour, ...] = ((44, 110, 52), (84, 140, 58), (30, 84, 60), (120, 150, 66))


@dataclass
class Silhouette:
    """Filled polygons, painted in order. x to the right, y up, the feet at y = 0, about 1 tall.

    `seats` are the places where something may sit or stand: a saddle, a cushion, a table top.
    """

    parts: list[tuple[np.ndarray, Colour]] = field(default_factory=list)
    seats: list[Point] = field(default_factory=list)

    def add(self, points: np.ndarray | Sequence[Point], colour: Colour) -> None:
        """Paint a polygon, points (K, 2), on top of what is there."""
        self.parts.append((np.asarray(points, dtype=np.float64), colour))

    def bounds(self) -> tuple[float, float, float, float]:
        """left, bottom, right, top."""
        points = np.concatenate([part for part, _ in self.parts])
        left, bottom = points.min(0)
        right, top = points.max(0)
        return float(left), float(bottom), float(right), float(top)

    def stretch(self, x: float, y: float = 1.0) -> Silhouette:
        """The same silhouette, wider by `x` and taller by `y`; negative `x` mirrors it."""
        factor = np.array([x, y])
        return Silhouette(
            [(points * factor, colour) for points, colour in self.parts],
            [(a * x, b * y) for a, b in self.seats],
        )


def pick(rng: np.random.Generator, colours: Sequence[Colour], spread: int = 18) -> Colour:
    """One of the colours, moved a little."""
    chosen = np.array(colours[int(rng.integers(len(colours)))]) + rng.integers(-spread, spread + 1, size=3)
    red, green, blue = np.clip(chosen, 0, 255).tolist()
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """Darker below 1, lighter above."""
    red, green, blue = (min(255, int(part * factor)) for part in colour)
    return red, green, blue


def ellipse(x: float, y: float, rx: float, ry: float, tilt: float = 0.0, corners: int = 20) -> np.ndarray:
    """An ellipse about (x, y); `tilt` in radians, counter-clockwise."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    across, along = rx * np.cos(angle), ry * np.sin(angle)
    cosine, sine = np.cos(tilt), np.sin(tilt)
    return np.stack([x + across * cosine - along * sine, y + across * sine + along * cosine], axis=1)


def ring(x: float, y: float, radius: float, width: float) -> np.ndarray:
    """A circle's line: one polygon that runs around outside and back inside."""
    angle = np.linspace(0, 2 * np.pi, 25)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([circle * radius, circle[::-1] * (radius - width)]) + (x, y)


def box(left: float, bottom: float, right: float, top: float) -> np.ndarray:
    """An upright rectangle."""
    return np.array([(left, bottom), (right, bottom), (right, top), (left, top)])


def organic(points: Sequence[Point], rounds: int = 2) -> np.ndarray:
    """A closed polygon with its corners cut off `rounds` times (Chaikin's rule), so that it looks grown."""
    path = np.asarray(points, dtype=np.float64)
    for _ in range(rounds):
        after = np.roll(path, -1, axis=0)
        path = np.stack([0.75 * path + 0.25 * after, 0.25 * path + 0.75 * after], axis=1).reshape(-1, 2)
    return path


def stroke(points: Sequence[Point], *widths: float) -> np.ndarray:
    """A line through points, as wide as said at each of them (the last width holds for the rest)."""
    path = np.asarray(points, dtype=np.float64)
    width = np.array([widths[min(index, len(widths) - 1)] for index in range(len(path))]) / 2
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) * width[:, None]
    return np.concatenate([path + normal, (path - normal)[::-1]])


def turned(points: np.ndarray, about: Point, angle: float) -> np.ndarray:
    """Points turned about a point; `angle` in radians, counter-clockwise."""
    cosine, sine = np.cos(angle), np.sin(angle)
    result: np.ndarray = (np.asarray(points) - about) @ np.array([[cosine, sine], [-sine, cosine]]) + about
    return result
