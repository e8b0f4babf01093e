"""Vehicles, each drawn by a small function; `seats` say where a rider goes."""

from __future__ import annotations

import numpy as np

from segmix_core.data.silhouettes.shapes import (
    DARK,
    GLASS,
    LIGHT,
    PAINT,
    WOOD,
    Colour,
    Silhouette,
    box,
    ellipse,
    organic,
    pick,
    ring,
    shade,
    stroke,
)

METAL: Colour = (150, 152, 158)


def _wheel(drawn: Silhouette, x: float, y: float, radius: float) -> None:
    drawn.add(ellipse(x, y, radius, radius), DARK)
    drawn.add(ellipse(x, y, radius * 0.55, radius * 0.55, corners=14), METAL)
    drawn.add(ellipse(x, y, radius * 0.2, radius * 0.2, corners=8), DARK)


def aeroplane(rng: np.random.Generator) -> Silhouette:
    """An aeroplane from the side, wings swept, with fin and engine; or a small one with a propeller."""
    skin = pick(rng, ((232, 232, 236), (200, 206, 214), (222, 222, 210), *PAINT), 8)
    trim = pick(rng, PAINT)
    drawn = Silhouette()
    if rng.random() < 0.65:
        drawn.add([(0.1, 0.42), (0.36, 0.62), (0.46, 0.62), (0.32, 0.40)], shade(skin, 0.7))
        drawn.add([(-1.02, 0.50), (-1.16, 0.98), (-0.96, 0.98), (-0.66, 0.52)], trim)
        drawn.add(organic([(-1.2, 0.52), (-0.8, 0.36), (0.2, 0.26), (0.86, 0.28), (1.1, 0.36), (1.08, 0.44), (0.86, 0.54), (0.2, 0.55), (-0.8, 0.55)], 2), skin)  # fmt: skip
        drawn.add(stroke([(-1.0, 0.46), (0.98, 0.40)], 0.035), trim)
        for x in np.arange(-0.6, 0.7, 0.13).tolist():
            drawn.add(ellipse(x, 0.475, 0.028, 0.034, corners=8), (70, 90, 120))
        drawn.add([(0.90, 0.45), (1.0, 0.44), (0.96, 0.50), (0.86, 0.51)], (60, 80, 110))
        drawn.add([(-1.12, 0.50), (-1.36, 0.62), (-1.22, 0.62), (-0.84, 0.47)], shade(skin, 0.85))
        drawn.add(ellipse(-0.02, 0.20, 0.17, 0.075), shade(trim, 0.9))
        drawn.add([(0.34, 0.36), (-0.44, 0.02), (-0.62, 0.02), (-0.12, 0.38)], shade(skin, 0.82))
    else:
        drawn.add([(-0.92, 0.44), (-1.04, 0.86), (-0.84, 0.86), (-0.62, 0.46)], trim)
        drawn.add(organic([(-1.06, 0.46), (-0.6, 0.30), (0.3, 0.24), (0.62, 0.28), (0.66, 0.44), (0.4, 0.5), (0.24, 0.68), (-0.1, 0.68), (-0.3, 0.5)]), skin)  # fmt: skip
        drawn.add(organic([(0.28, 0.50), (0.2, 0.64), (-0.06, 0.64), (-0.18, 0.5)], 1), GLASS)
        drawn.add([(0.34, 0.72), (-0.16, 0.72), (-0.2, 0.79), (0.36, 0.79)], shade(trim, 0.85))
        drawn.add([(-0.76, 0.42), (-1.1, 0.46), (-1.1, 0.52), (-0.7, 0.5)], shade(skin, 0.85))
        drawn.add(ellipse(0.70, 0.36, 0.025, 0.34), DARK)
        for x in (0.0, 0.3):
            drawn.add(stroke([(x, 0.3), (x + 0.05, 0.09)], 0.04), METAL)
            drawn.add(ellipse(x + 0.06, 0.07, 0.07, 0.07, corners=12), DARK)
    return drawn


def bicycle(rng: np.random.Generator) -> Silhouette:
    """A bicycle: two spoked wheels, a diamond frame, handlebar and saddle, and air between."""
    frame = pick(rng, PAINT)
    width = rng.uniform(0.05, 0.07)
    drawn = Silhouette(seats=[(-0.24, 0.98)])
    rear, front, radius = (-0.52, 0.36), (0.56, 0.36), 0.36
    crank, seat, head = (-0.08, 0.32), (-0.22, 0.82), (0.38, 0.86)
    for x, y in (rear, front):
        drawn.add(ring(x, y, radius, 0.055), DARK)
        for angle in np.arange(0, np.pi, np.pi / 4) + rng.uniform(0, 0.7):
            reach = np.array([np.cos(angle), np.sin(angle)]) * (radius - 0.03)
            ends: list[tuple[float, float]] = [(x - reach[0], y - reach[1]), (x + reach[0], y + reach[1])]
            drawn.add(stroke(ends, 0.016), METAL)
    for start, end in (
        (rear, crank),
        (rear, seat),
        (crank, seat),
        (crank, head),
        (seat, head),
        (head, front),
    ):
        drawn.add(stroke([start, end], width), frame)
    drawn.add(ellipse(*crank, 0.09, 0.09, corners=14), shade(METAL, 0.6))
    drawn.add(stroke([crank, (0.02, 0.14)], 0.035), DARK)
    drawn.add(stroke([head, (0.36, 0.96), (0.5, 1.0)], 0.05), DARK)
    drawn.add(stroke([seat, (-0.24, 0.9)], 0.045), DARK)
    drawn.add(organic([(-0.38, 0.95), (-0.12, 0.95), (-0.14, 0.89), (-0.34, 0.88)], 1), DARK)
    return drawn


def boat(rng: np.random.Generator) -> Silhouette:
    """A boat: with sails, with a cabin, or a rowing boat."""
    hull, trim = pick(rng, (*PAINT, *WOOD)), pick(rng, PAINT)
    kind = rng.choice(3, p=[0.45, 0.35, 0.2])
    drawn = Silhouette()
    if kind == 0:
        drawn.add(stroke([(0.0, 0.1), (0.0, 1.0)], 0.03), pick(rng, WOOD))
        sail = pick(rng, ((244, 240, 230), *PAINT), 10)
        drawn.add(organic([(-0.03, 0.98), (-0.03, 0.24), (-0.46, 0.24), (-0.24, 0.6)], 1), sail)
        drawn.add([(0.04, 0.9), (0.04, 0.26), (0.4, 0.26)], shade(sail, 0.85))
        drawn.add([(-0.5, 0.2), (0.56, 0.22), (0.36, 0.0), (-0.38, 0.0)], hull)
        drawn.add(stroke([(-0.48, 0.17), (0.52, 0.19)], 0.04), trim)
        drawn.seats = [(-0.3, 0.2)]
    elif kind == 1:
        drawn.add(box(-0.5, 0.36, 0.2, 0.74), LIGHT)
        for x in (-0.42, -0.2, 0.02):
            drawn.add(box(x, 0.5, x + 0.15, 0.67), shade(GLASS, 0.6))
        drawn.add(box(-0.56, 0.73, 0.26, 0.79), trim)
        drawn.add(box(-0.36, 0.79, -0.18, 1.0), trim)
        drawn.add(box(-0.36, 0.92, -0.18, 1.0), DARK)
        drawn.add(
            organic([(-0.9, 0.4), (1.0, 0.5), (1.0, 0.46), (0.7, 0.0), (-0.8, 0.0), (-0.86, 0.1)], 1), hull
        )
        drawn.add(stroke([(-0.88, 0.34), (0.9, 0.4)], 0.06), shade(hull, 1.5))
        drawn.seats = [(0.5, 0.42)]
    else:
        drawn.add(
            organic(
                [
                    (-1.0, 0.62),
                    (-0.7, 0.5),
                    (0.7, 0.5),
                    (1.0, 0.7),
                    (0.7, 0.05),
                    (0.4, 0.0),
                    (-0.5, 0.0),
                    (-0.75, 0.08),
                ],
                1,
            ),
            hull,
        )
        drawn.add(stroke([(-0.9, 0.52), (-0.5, 0.42), (0.5, 0.42), (0.9, 0.56)], 0.07), shade(hull, 0.6))
        drawn.add(stroke([(-0.1, 0.5), (-0.55, 0.0)], 0.06, 0.05), pick(rng, WOOD))
        drawn.seats = [(-0.2, 0.45), (0.4, 0.45)]
    return drawn


def bus(rng: np.random.Generator) -> Silhouette:
    """A bus from the side, one or two decks, or from the front."""
    paint, trim = pick(rng, PAINT), pick(rng, PAINT)
    drawn = Silhouette()
    if rng.random() < 0.3:
        for x in (-0.32, 0.32):
            drawn.add(box(x - 0.09, 0.0, x + 0.09, 0.2), DARK)
        drawn.add(
            organic([(-0.46, 0.1), (0.46, 0.1), (0.46, 0.98), (0.38, 1.0), (-0.38, 1.0), (-0.46, 0.98)], 1),
            paint,
        )
        drawn.add(box(-0.4, 0.42, 0.4, 0.82), GLASS)
        drawn.add(stroke([(0.0, 0.42), (0.0, 0.82)], 0.02), DARK)
        drawn.add(box(-0.3, 0.86, 0.3, 0.95), DARK)
        drawn.add(box(-0.2, 0.88, 0.2, 0.93), (240, 180, 60))
        for x in (-0.34, 0.34):
            drawn.add(ellipse(x, 0.26, 0.07, 0.06), (250, 240, 190))
            drawn.add(box(x * 1.5 - 0.05, 0.6, x * 1.5 + 0.05, 0.76), DARK)
        drawn.add(box(-0.24, 0.14, 0.24, 0.24), shade(paint, 0.6))
        return drawn
    decks = 1 + int(rng.random() < 0.35)
    half = 1.15 / (1 + 0.25 * (decks - 1))
    drawn.add(organic([(-half, 0.12), (half, 0.12), (half, 0.5), (half - 0.03, 0.98), (half - 0.08, 1.0), (-half + 0.04, 1.0), (-half, 0.96)], 1), paint)  # fmt: skip
    rows = [(0.56, 0.86)] if decks == 1 else [(0.36, 0.56), (0.7, 0.9)]
    for low, high in rows:
        drawn.add(box(-half + 0.05, low - 0.02, half - 0.04, high + 0.02), DARK)
        for x in np.linspace(-half + 0.07, half - 0.3, 6):
            drawn.add(box(x, low, x + (2 * half - 0.3) / 6 - 0.06, high), GLASS)
    drawn.add(box(-half + 0.02, 0.28, half - 0.02, 0.33) if decks == 1 else box(-half, 0.6, half, 0.65), trim)
    drawn.add(box(half - 0.28, 0.16, half - 0.08, rows[0][1]), shade(GLASS, 0.7))
    drawn.add(stroke([(half - 0.18, 0.16), (half - 0.18, rows[0][1])], 0.02), DARK)
    drawn.add(ellipse(half - 0.03, 0.22, 0.04, 0.04, corners=8), (250, 240, 190))
    for x in (-half * 0.6, half * 0.55):
        _wheel(drawn, x, 0.14, 0.14)
    return drawn


def car(rng: np.random.Generator) -> Silhouette:
    """A car from the side (saloon, hatchback) or from the front."""
    paint = pick(rng, PAINT)
    drawn = Silhouette()
    if rng.random() < 0.3:
        for x in (-0.42, 0.42):
            drawn.add(box(x - 0.1, 0.0, x + 0.1, 0.26), DARK)
        drawn.add(organic([(-0.6, 0.14), (0.6, 0.14), (0.62, 0.56), (0.48, 0.64), (0.34, 0.98), (-0.34, 0.98), (-0.48, 0.64), (-0.62, 0.56)], 1), paint)  # fmt: skip
        drawn.add([(-0.42, 0.64), (0.42, 0.64), (0.3, 0.92), (-0.3, 0.92)], shade(GLASS, 0.8))
        drawn.add(box(-0.28, 0.3, 0.28, 0.46), DARK)
        drawn.add(box(-0.14, 0.17, 0.14, 0.26), LIGHT)
        for x in (-0.45, 0.45):
            drawn.add(ellipse(x, 0.44, 0.1, 0.07), (252, 246, 206))
            drawn.add(ellipse(x * 1.46, 0.68, 0.07, 0.05), shade(paint, 0.7))
        return drawn
    back = rng.uniform(-0.86, -0.62)
    roof = organic(
        [(back, 0.56), (back + 0.2, 0.92), (0.12, 1.0), (0.34, 0.92), (0.62, 0.58), (0.6, 0.5), (back, 0.5)],
        1,
    )
    drawn.add(roof, paint)
    drawn.add(
        organic(
            [
                (-1.1, 0.2),
                (1.1, 0.2),
                (1.12, 0.42),
                (0.98, 0.54),
                (0.56, 0.62),
                (-0.7, 0.64),
                (-1.04, 0.62),
                (-1.12, 0.5),
            ],
            1,
        ),
        paint,
    )
    drawn.add([(back + 0.14, 0.60), (back + 0.3, 0.87), (-0.08, 0.91), (-0.08, 0.60)], shade(GLASS, 0.75))
    drawn.add([(0.0, 0.60), (0.0, 0.91), (0.16, 0.91), (0.3, 0.86), (0.48, 0.60)], shade(GLASS, 0.75))
    drawn.add(stroke([(-0.04, 0.62), (-0.04, 0.24)], 0.02), shade(paint, 0.6))
    drawn.add(box(-0.2, 0.5, -0.09, 0.53), shade(paint, 0.5))
    drawn.add(box(-1.0, 0.18, 1.0, 0.25), shade(paint, 0.55))
    drawn.add(ellipse(1.04, 0.44, 0.06, 0.05, corners=10), (252, 246, 206))
    drawn.add(ellipse(-1.07, 0.48, 0.04, 0.05, corners=10), (200, 40, 40))
    for x in (-0.66, 0.68):
        _wheel(drawn, x, 0.2, 0.2)
    return drawn


def motorbike(rng: np.random.Generator) -> Silhouette:
    """A motorbike: thick wheels, tank, engine and exhaust between, raked fork."""
    paint = pick(rng, PAINT)
    drawn = Silhouette(seats=[(-0.22, 0.72)])
    for x in (-0.62, 0.66):
        drawn.add(ellipse(x, 0.30, 0.30, 0.30), DARK)
        drawn.add(ellipse(x, 0.30, 0.19, 0.19, corners=14), METAL)
        drawn.add(ellipse(x, 0.30, 0.07, 0.07, corners=10), DARK)
    drawn.add(stroke([(0.66, 0.30), (0.36, 0.86)], 0.07), METAL)
    drawn.add(
        organic([(-0.9, 0.62), (-0.62, 0.68), (-0.3, 0.5), (-0.4, 0.3), (-0.6, 0.42)], 1), shade(paint, 0.8)
    )
    drawn.add(organic([(-0.3, 0.52), (0.3, 0.56), (0.26, 0.16), (-0.22, 0.14)], 1), (84, 84, 92))
    for y in (0.26, 0.34, 0.42):
        drawn.add(stroke([(-0.12, y), (0.2, y)], 0.03), METAL)
    drawn.add(stroke([(0.1, 0.16), (-0.4, 0.14), (-0.95, 0.22)], 0.07, 0.08, 0.1), (196, 196, 200))
    drawn.add(
        organic([(-0.06, 0.62), (0.02, 0.80), (0.3, 0.84), (0.44, 0.70), (0.34, 0.56), (0.0, 0.54)]), paint
    )
    drawn.add(organic([(-0.72, 0.74), (-0.66, 0.62), (-0.04, 0.58), (0.0, 0.68), (-0.3, 0.70)], 1), DARK)
    drawn.add(stroke([(0.36, 0.84), (0.3, 0.98), (0.12, 1.0)], 0.05), DARK)
    drawn.add(ellipse(0.47, 0.80, 0.09, 0.09), (250, 242, 200))
    if rng.random() < 0.4:
        drawn.add(organic([(0.3, 0.74), (0.42, 1.0), (0.56, 0.94), (0.6, 0.66), (0.48, 0.56)], 1), paint)
    drawn.add(organic([(0.40, 0.60), (0.68, 0.66), (0.92, 0.50), (0.74, 0.58)], 1), shade(paint, 0.9))
    return drawn


def train(rng: np.random.Generator) -> Silhouette:
    """A train: a coach or power car that runs out of the picture, a steam engine, or a front with buffers."""
    paint, trim = pick(rng, PAINT), pick(rng, PAINT)
    drawn = Silhouette()
    kind = rng.choice(3, p=[0.5, 0.2, 0.3])
    if kind == 2:
        drawn.add(box(-0.52, -0.02, 0.52, 0.06), (110, 96, 84))
        drawn.add(organic([(-0.42, 0.06), (0.42, 0.06), (0.44, 0.5), (0.36, 0.92), (0.2, 1.0), (-0.2, 1.0), (-0.36, 0.92), (-0.44, 0.5)], 2), paint)  # fmt: skip
        for x in (-0.17, 0.17):
            drawn.add(box(x - 0.14, 0.56, x + 0.14, 0.82), shade(GLASS, 0.6))
            drawn.add(ellipse(x * 1.6, 0.36, 0.065, 0.065, corners=12), (252, 246, 200))
            drawn.add(ellipse(x * 1.3, 0.15, 0.08, 0.05), DARK)
        drawn.add([(-0.4, 0.24), (0.4, 0.24), (0.3, 0.46), (-0.3, 0.46)], trim)
        for x in (-0.27, 0.27):
            drawn.add(ellipse(x, 0.36, 0.065, 0.065, corners=12), (252, 246, 200))
        drawn.add(ellipse(0, 0.92, 0.06, 0.04, corners=10), (252, 246, 200))
        return drawn
    if kind == 1:
        drawn.add(box(-1.0, 0.30, -0.42, 0.94), paint)
        drawn.add(box(-1.06, 0.92, -0.36, 1.0), DARK)
        drawn.add(box(-0.88, 0.58, -0.56, 0.84), GLASS)
        drawn.add(box(-0.44, 0.34, 0.8, 0.74), shade(paint, 0.8))
        drawn.add(ellipse(0.8, 0.54, 0.08, 0.20), DARK)
        drawn.add([(0.5, 0.72), (0.7, 0.72), (0.76, 1.0), (0.44, 1.0)], DARK)
        drawn.add(ellipse(0.12, 0.76, 0.12, 0.11), (206, 170, 70))
        for x in (-0.2, 0.3):
            drawn.add(box(x, 0.34, x + 0.05, 0.74), (206, 170, 70))
        drawn.add([(0.76, 0.3), (1.04, 0.04), (0.7, 0.04)], trim)
        for x, radius in ((-0.76, 0.19), (-0.3, 0.19), (0.14, 0.19), (0.52, 0.13)):
            drawn.add(ellipse(x, radius, radius, radius), DARK)
            drawn.add(ring(x, radius, radius * 0.75, 0.04), trim)
        drawn.add(stroke([(-0.76, 0.17), (0.14, 0.17)], 0.05), METAL)
        return drawn
    nose = rng.uniform(1.3, 1.7)
    drawn.add(
        organic(
            [
                (-2.2, 0.10),
                (nose, 0.10),
                (nose + 0.06, 0.3),
                (nose - 0.3, 0.86),
                (nose - 0.6, 0.98),
                (-2.2, 0.98),
            ],
            1,
        ),
        paint,
    )
    drawn.add(box(-2.2, 0.30, nose - 0.02, 0.38), trim)
    drawn.add(box(-2.2, 0.52, nose - 0.5, 0.82), shade(paint, 0.55))
    for x in np.arange(-2.1, nose - 0.66, 0.34).tolist():
        drawn.add(box(x, 0.55, x + 0.25, 0.79), GLASS)
    drawn.add(
        [(nose - 0.40, 0.54), (nose - 0.16, 0.54), (nose - 0.36, 0.82), (nose - 0.46, 0.82)],
        shade(GLASS, 0.6),
    )
    for x in (-1.1, 0.3):
        drawn.add(box(x, 0.14, x + 0.26, 0.84), shade(paint, 0.7))
    drawn.add(box(-2.2, 0.02, nose - 0.1, 0.12), (70, 66, 66))
    for x in np.arange(-2.0, nose - 0.3, 0.42).tolist():
        drawn.add(ellipse(x, 0.07, 0.1, 0.1, corners=12), DARK)
    drawn.add(ellipse(nose - 0.03, 0.26, 0.05, 0.04, corners=8), (252, 246, 200))
    return drawn
