"""Things of the house, each drawn by a small function; `seats` say what can be sat or stood on."""

from __future__ import annotations

import numpy as np

from segmix_core.data.silhouettes.shapes import (
    CLOTH,
    DARK,
    LEAF,
    LIGHT,
    PAINT,
    WOOD,
    Silhouette,
    box,
    ellipse,
    organic,
    pick,
    shade,
    stroke,
    turned,
)


def bottle(rng: np.random.Generator) -> Silhouette:
    """A bottle: shoulders, neck, cap and label."""
    glass = pick(
        rng, ((30, 84, 50), (94, 54, 24), (190, 214, 220), (60, 70, 74), (200, 60, 50), (70, 120, 190))
    )
    wide = rng.uniform(0.13, 0.2)
    neck = wide * rng.uniform(0.3, 0.45)
    shoulder = rng.uniform(0.5, 0.64)
    drawn = Silhouette()
    drawn.add(
        organic(
            [
                (-wide, 0.0),
                (wide, 0.0),
                (wide, 0.04),
                (wide, shoulder),
                (neck, shoulder + 0.16),
                (neck, 0.98),
                (-neck, 0.98),
                (-neck, shoulder + 0.16),
                (-wide, shoulder),
                (-wide, 0.04),
            ],
            1,
        ),  # fmt: skip
        glass,
    )
    drawn.add(box(-neck * 1.15, 0.9, neck * 1.15, 1.0), pick(rng, PAINT))
    drawn.add(box(-wide, 0.16, wide, shoulder - 0.1), pick(rng, (LIGHT, (240, 220, 150), *PAINT)))
    drawn.add(stroke([(-wide * 0.6, 0.3), (wide * 0.6, 0.3)], 0.04), DARK)
    drawn.add(box(-wide * 0.75, 0.04, -wide * 0.5, shoulder), shade(glass, 1.5))
    return drawn


def chair(rng: np.random.Generator) -> Silhouette:
    """A chair turned half to the side: legs, seat, a back with slats or a panel."""
    wood = pick(rng, (*WOOD, *PAINT))
    seat = pick(rng, CLOTH) if rng.random() < 0.5 else shade(wood, 1.2)
    drawn = Silhouette(seats=[(0.04, 0.5)])
    for x, low in ((-0.14, 0.1), (0.34, 0.08)):
        drawn.add(stroke([(x, 0.46), (x + 0.02, low)], 0.055), shade(wood, 0.7))
    top = rng.uniform(0.94, 1.0)
    drawn.add(stroke([(-0.27, 0.44), (-0.31, top)], 0.06), wood)
    drawn.add(stroke([(0.1, 0.50), (0.07, top)], 0.06), wood)
    if rng.random() < 0.6:
        for fraction in np.linspace(0.25, 0.85, rng.integers(2, 5)):
            drawn.add(
                stroke(
                    [(-0.29, 0.46 + fraction * (top - 0.46)), (0.085, 0.5 + fraction * (top - 0.5))], 0.055
                ),
                shade(wood, 0.9),
            )
        drawn.add(stroke([(-0.33, top - 0.02), (0.1, top - 0.01)], 0.08), wood)
    else:
        drawn.add([(-0.31, top), (0.07, top), (0.1, 0.58), (-0.28, 0.54)], seat)
    drawn.add([(-0.29, 0.42), (0.24, 0.36), (0.40, 0.47), (-0.12, 0.52)], seat)
    drawn.add([(-0.29, 0.42), (0.24, 0.36), (0.24, 0.31), (-0.29, 0.37)], shade(seat, 0.7))
    drawn.add([(0.24, 0.36), (0.40, 0.47), (0.40, 0.42), (0.24, 0.31)], shade(seat, 0.55))
    for x in (-0.26, 0.21):
        drawn.add(stroke([(x, 0.36), (x, 0.0)], 0.06), wood)
    return drawn


def diningtable(rng: np.random.Generator) -> Silhouette:
    """A table, round or long, with or without a cloth, laid with plates."""
    wood, cloth = pick(rng, WOOD), pick(rng, ((240, 236, 226), *CLOTH))
    covered = rng.random() < 0.4
    top = cloth if covered else shade(wood, 1.2)
    drawn = Silhouette(seats=[(-0.5, 0.86), (0.05, 0.88), (0.5, 0.86)])
    if rng.random() < 0.4:
        drawn.add(stroke([(0, 0.8), (0, 0.1)], 0.12), wood)
        drawn.add(organic([(-0.36, 0.0), (0.36, 0.0), (0.08, 0.16), (-0.08, 0.16)], 1), shade(wood, 0.8))
        if covered:
            drawn.add(
                organic([(-0.9, 0.86), (0.9, 0.86), (0.8, 0.5), (0.3, 0.42), (-0.3, 0.46), (-0.8, 0.5)], 1),
                shade(cloth, 0.85),
            )
        drawn.add(ellipse(0, 0.84, 0.92, 0.16), shade(top, 0.7))
        drawn.add(ellipse(0, 0.86, 0.92, 0.16), top)
    else:
        for x, low in ((-0.6, 0.16), (0.74, 0.16)):
            drawn.add(box(x - 0.04, low, x + 0.04, 0.8), shade(wood, 0.65))
        for x in (-0.84, 0.84):
            drawn.add(box(x - 0.06, 0.0, x + 0.06, 0.74), wood)
        drawn.add([(-0.98, 0.74), (0.98, 0.74), (0.76, 0.98), (-0.76, 0.98)], top)
        drop = 0.42 if covered else 0.66
        drawn.add(box(-0.98, drop, 0.98, 0.75), shade(top, 0.75))
    for x in rng.choice([-0.5, -0.15, 0.2, 0.52], size=rng.integers(1, 4), replace=False):
        drawn.add(ellipse(x, 0.86, 0.15, 0.05), LIGHT)
        drawn.add(ellipse(x, 0.865, 0.09, 0.028), shade(pick(rng, PAINT), 1.2))
    return drawn


def pottedplant(rng: np.random.Generator) -> Silhouette:
    """A plant in a pot: broad leaves, long blades, or a little tree with flowers."""
    pot = pick(rng, ((176, 92, 58), (150, 70, 46), (220, 214, 204), (70, 90, 130)))
    leaf = pick(rng, LEAF)
    drawn = Silhouette()
    kind = rng.integers(3)
    if kind == 0:
        for angle in rng.permutation(np.linspace(-1.3, 1.3, 11)):
            tip = rng.uniform(0.42, 0.62)
            blade = organic([(0, 0.3), (0.11, 0.3 + tip * 0.55), (0, 0.3 + tip), (-0.11, 0.3 + tip * 0.55)])
            drawn.add(turned(blade, (0, 0.3), -float(angle)), shade(leaf, rng.uniform(0.7, 1.3)))
    elif kind == 1:
        for angle in rng.permutation(np.linspace(-1.0, 1.0, 13)):
            blade = stroke(
                [(0, 0.28), (0.02, 0.6), (0.10 * np.sign(angle), rng.uniform(0.85, 1.0))], 0.05, 0.07, 0.01
            )
            drawn.add(turned(blade, (0, 0.28), -float(angle)), shade(leaf, rng.uniform(0.7, 1.3)))
    else:
        drawn.add(stroke([(0, 0.3), (0.01, 0.6)], 0.05), (110, 76, 50))
        for _ in range(16):
            x, y = rng.normal(0, 0.13), 0.74 + rng.normal(0, 0.09)
            drawn.add(
                ellipse(x, y, 0.1, 0.08, rng.uniform(0, 3), corners=10), shade(leaf, rng.uniform(0.7, 1.35))
            )
        flower = pick(rng, ((230, 70, 90), (240, 200, 60), (236, 236, 240), (170, 80, 190)))
        for _ in range(rng.integers(0, 8)):
            drawn.add(ellipse(rng.normal(0, 0.14), 0.76 + rng.normal(0, 0.1), 0.04, 0.04, corners=8), flower)
    drawn.add([(-0.16, 0.0), (0.16, 0.0), (0.22, 0.30), (-0.22, 0.30)], pot)
    drawn.add(box(-0.25, 0.27, 0.25, 0.35), shade(pot, 1.15))
    drawn.add([(0.06, 0.0), (0.16, 0.0), (0.22, 0.27), (0.1, 0.27)], shade(pot, 0.8))
    return drawn


def sofa(rng: np.random.Generator) -> Silhouette:
    """A sofa: back, arms, cushions, short feet."""
    cloth = pick(rng, CLOTH)
    cushions = int(rng.integers(2, 4))
    half = 0.45 * cushions
    drawn = Silhouette(seats=[(x, 0.46) for x in np.linspace(-half * 0.6, half * 0.6, cushions)])
    for x in (-half - 0.08, half + 0.08):
        drawn.add(box(x - 0.05, 0.0, x + 0.05, 0.12), pick(rng, WOOD))
    drawn.add(
        organic(
            [
                (-half - 0.1, 0.3),
                (half + 0.1, 0.3),
                (half + 0.1, 0.9),
                (half, 1.0),
                (-half, 1.0),
                (-half - 0.1, 0.9),
            ],
            1,
        ),
        shade(cloth, 0.85),
    )
    width = 2 * half / cushions
    for index in range(cushions):
        left = -half + index * width
        drawn.add(
            organic(
                [
                    (left + 0.01, 0.46),
                    (left + width - 0.01, 0.46),
                    (left + width - 0.01, 0.92),
                    (left + 0.01, 0.92),
                ],
                1,
            ),
            cloth,
        )
    for index in range(cushions):
        left = -half + index * width
        drawn.add(
            organic([(left, 0.30), (left + width, 0.30), (left + width, 0.5), (left, 0.5)], 1),
            shade(cloth, 1.15),
        )
    drawn.add(box(-half - 0.1, 0.1, half + 0.1, 0.33), shade(cloth, 0.75))
    for side in (-1, 1):
        x = side * (half + 0.1)
        drawn.add(
            organic([(x - 0.14, 0.08), (x + 0.14, 0.08), (x + 0.15, 0.66), (x - 0.15, 0.66)], 2),
            shade(cloth, 0.95),
        )
        drawn.add(ellipse(x, 0.6, 0.15, 0.1), shade(cloth, 1.1))
    if rng.random() < 0.5:
        pillow = turned(box(-0.13, 0.46, 0.13, 0.72), (0, 0.5), rng.uniform(-0.4, 0.4)) + (
            rng.uniform(-half * 0.7, half * 0.7),
            0,
        )
        drawn.add(pillow, pick(rng, PAINT))
    return drawn


def tvmonitor(rng: np.random.Generator) -> Silhouette:
    """A screen: flat on a foot, or a deep old set; what it shows varies."""
    case = pick(rng, ((30, 30, 34), (60, 60, 66), (206, 204, 196)), 8)
    screen = pick(rng, ((40, 60, 110), (90, 150, 200), (20, 24, 30), (220, 226, 232), (60, 130, 110)))
    drawn = Silhouette()
    half = rng.uniform(0.5, 0.72)
    if rng.random() < 0.7:
        drawn.add(organic([(-0.28, 0.0), (0.28, 0.0), (0.2, 0.06), (-0.2, 0.06)], 1), shade(case, 0.85))
        drawn.add(box(-0.07, 0.04, 0.07, 0.26), shade(case, 0.75))
        drawn.add(box(-half, 0.2, half, 1.0), case)
        inner = (-half + 0.06, 0.3, half - 0.06, 0.94)
    else:
        drawn.add(organic([(-half, 0.04), (half, 0.04), (half, 1.0), (-half, 1.0)], 1), case)
        inner = (-half + 0.09, 0.2, half - 0.2, 0.9)
        for y in (0.7, 0.5):
            drawn.add(ellipse(half - 0.1, y, 0.045, 0.045, corners=10), shade(case, 0.5))
        for x in (-0.3, 0.3):
            drawn.add(box(x - 0.06, 0.0, x + 0.06, 0.06), DARK)
    left, bottom, right, top = inner
    drawn.add(box(*inner), screen)
    kind = rng.integers(3)
    if kind == 0:
        for y in np.linspace(bottom + 0.1, top - 0.08, 5):
            drawn.add(stroke([(left + 0.06, y), (left + 0.06 + rng.uniform(0.3, 0.9) * (right - left - 0.1), y)], 0.03), shade(screen, 1.8 if sum(screen) < 400 else 0.5))  # fmt: skip
    elif kind == 1:
        drawn.add(
            [
                (left, bottom),
                (right, bottom),
                (right, bottom + 0.2),
                (left + 0.3, bottom + 0.34),
                (left, bottom + 0.16),
            ],
            shade(screen, 0.6),
        )
        drawn.add(ellipse(right - 0.18, top - 0.14, 0.07, 0.07, corners=12), (250, 220, 120))
    drawn.add([(left, top), (left + 0.18, top), (left, top - 0.3)], shade(screen, 1.3))
    return drawn
