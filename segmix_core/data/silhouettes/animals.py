"""People and animals, each drawn by a small function with parts, pose and colours of its own."""

from __future__ import annotations

from typing import Literal

import numpy as np

from segmix_core.data.silhouettes.shapes import (
    CLOTH,
    DARK,
    FUR,
    HAIR,
    LIGHT,
    PAINT,
    SKIN,
    Colour,
    Point,
    Silhouette,
    ellipse,
    organic,
    pick,
    shade,
    stroke,
)

Pose = Literal["stand", "walk", "sit", "ride", "bust"]


def _toward(start: Point, angle: float, length: float) -> Point:
    """The point `length` away; `angle` 0 hangs straight down, positive swings forward (to the right)."""
    return start[0] + length * float(np.sin(angle)), start[1] - length * float(np.cos(angle))


def person(rng: np.random.Generator, chosen: Pose | None = None) -> Silhouette:
    """A person. Sitting and riding ones have their hips at (0, 0), the others their feet at y = 0."""
    standing: tuple[Pose, ...] = ("stand", "walk", "bust")
    pose = chosen or standing[rng.choice(3, p=[0.5, 0.3, 0.2])]
    skin, hair, top, legs = pick(rng, SKIN), pick(rng, HAIR), pick(rng, CLOTH), pick(rng, CLOTH)
    drawn = Silhouette()
    hip_y = 0.0 if pose in ("sit", "ride") else 0.48
    thigh, shin, upper, lower = 0.24, 0.24, 0.16, 0.15
    swing = rng.uniform(0.25, 0.5) if pose == "walk" else rng.uniform(0.0, 0.12)
    lean = {"ride": rng.uniform(0.1, 0.5), "sit": rng.uniform(-0.15, 0.1)}.get(pose, rng.uniform(-0.05, 0.08))
    hips = (0.0, hip_y)
    neck = _toward(hips, np.pi - lean, 0.34)

    def leg(angle: float, bend: float, colour: Colour, side: float) -> None:
        start = (hips[0] + side, hips[1])
        knee = _toward(start, angle, thigh)
        ankle = _toward(knee, angle - bend, shin)
        drawn.add(stroke([start, knee, ankle], 0.12, 0.09, 0.07), colour)
        drawn.add(ellipse(ankle[0] + 0.035, ankle[1] - 0.005, 0.06, 0.025), DARK)

    def arm(angle: float, bend: float, colour: Colour, side: float) -> None:
        start = (neck[0] + side, neck[1] - 0.03)
        elbow = _toward(start, angle, upper)
        hand = _toward(elbow, angle + bend, lower)
        drawn.add(stroke([start, elbow], 0.075, 0.06), colour)
        drawn.add(stroke([elbow, hand], 0.055, 0.045), colour if rng.random() < 0.5 else skin)
        drawn.add(ellipse(*hand, 0.03, 0.03), skin)

    facing = pose in ("ride", "walk") or rng.random() < 0.4  # seen from the side
    spread = 0.03 if facing else 0.1
    reach = {"ride": 0.9 + lean, "sit": 0.6}.get(pose, swing)
    arm(reach if pose in ("ride", "sit") else swing, 0.3, shade(top, 0.8), -spread)
    if pose in ("stand", "walk"):
        leg(-swing, swing * 0.8, shade(legs, 0.8), -0.05)
        leg(swing, swing * 0.5, legs, 0.05)
    elif pose == "ride":
        leg(rng.uniform(0.3, 0.8), rng.uniform(0.4, 1.0), legs, 0.0)
    elif pose == "sit":
        leg(1.4, 1.4, shade(legs, 0.8), -0.02)
        leg(1.2, 1.2, legs, 0.02)
    shoulders = 0.09 if facing else 0.135
    drawn.add(
        organic(
            [
                (hips[0] - 0.09, hips[1] - 0.03),
                (hips[0] + 0.09, hips[1] - 0.03),
                (hips[0] + 0.10, hips[1] + 0.06),
                (neck[0] + shoulders, neck[1] - 0.08),
                (neck[0] + shoulders, neck[1]),
                (neck[0] + 0.04, neck[1] + 0.03),
                (neck[0] - 0.04, neck[1] + 0.03),
                (neck[0] - shoulders, neck[1]),
                (neck[0] - shoulders, neck[1] - 0.08),
                (hips[0] - 0.10, hips[1] + 0.06),
            ],
            1,
        ),
        top,
    )
    if pose not in ("ride", "sit"):
        reach = -swing if pose == "walk" else rng.choice([-0.1, 0.2, 2.4], p=[0.5, 0.4, 0.1])
    arm(reach, rng.uniform(0.1, 0.6), top, spread)
    head = (neck[0] + 0.02 * facing + 0.3 * lean * 0.1, neck[1] + 0.11)
    drawn.add(stroke([neck, head], 0.06), shade(skin, 0.85))
    long_hair = rng.random() < 0.35
    drawn.add(ellipse(head[0] - 0.015 * facing, head[1] + 0.015, 0.082, 0.096), hair)
    if long_hair:
        drawn.add(organic([(head[0] - 0.09, head[1] + 0.04), (head[0] + 0.0, head[1] + 0.05), (head[0] - 0.01, head[1] - 0.12), (head[0] - 0.1, head[1] - 0.14)]), hair)  # fmt: skip
    drawn.add(ellipse(head[0] + 0.018 * facing, head[1] - 0.008, 0.066, 0.08), skin)
    for eye in (0.045,) if facing else (-0.025, 0.025):
        drawn.add(ellipse(head[0] + eye, head[1] + 0.012, 0.009, 0.011, corners=8), DARK)
    if not facing:
        drawn.add(
            stroke([(head[0] - 0.02, head[1] - 0.04), (head[0] + 0.02, head[1] - 0.04)], 0.01), (160, 70, 66)
        )
    if rng.random() < 0.25 or (pose == "ride" and rng.random() < 0.6):
        cap = pick(rng, PAINT)
        drawn.add(organic([(head[0] - 0.09, head[1] + 0.03), (head[0] + 0.12, head[1] + 0.03), (head[0] + 0.08, head[1] + 0.11), (head[0] - 0.08, head[1] + 0.12)], 1), cap)  # fmt: skip
    if pose == "bust":  # the upper half alone, as in a portrait
        moved = Silhouette([(points - (0.0, 0.44), colour) for points, colour in drawn.parts])
        return moved.stretch(1.75, 1.75)
    return drawn


def _legs(
    drawn: Silhouette,
    rng: np.random.Generator,
    at: tuple[float, float],
    top: float,
    widths: tuple[float, float, float],
    colour: Colour,
    hoof: Colour,
    *,
    near: bool,
) -> None:
    """Two legs of a quadruped, the far or the near ones, hind leg first."""
    for index, x in enumerate(at):
        x = x + (0.0 if near else 0.07)
        step = rng.uniform(-0.09, 0.09)
        bend = -0.03 if index == 0 else 0.015
        foot = x + step
        drawn.add(
            stroke([(x, top), (x + step / 2 + bend, top * 0.5), (foot, 0.03)], *widths),
            shade(colour, 1.0 if near else 0.72),
        )
        drawn.add(ellipse(foot + 0.015, 0.025, widths[2] * 0.7, 0.028), shade(hoof, 1.0 if near else 0.72))


def horse(rng: np.random.Generator) -> Silhouette:
    """A horse from the side: long legs, arched neck, mane and tail."""
    coat = pick(rng, FUR)
    mane = shade(coat, 0.45) if sum(coat) > 240 else pick(rng, HAIR)
    drawn = Silhouette(seats=[(-0.02, 0.66)])
    nod = rng.uniform(-0.06, 0.06)
    _legs(drawn, rng, (-0.31, 0.2), 0.5, (0.12, 0.06, 0.05), coat, DARK, near=False)
    drawn.add(
        organic([(-0.38, 0.68), (-0.50, 0.66), (-0.60, 0.42), (-0.55, 0.18), (-0.49, 0.34), (-0.46, 0.52)]),
        mane,
    )
    drawn.add(organic([(-0.44, 0.62), (-0.40, 0.46), (-0.12, 0.40), (0.18, 0.42), (0.34, 0.50), (0.36, 0.64), (0.2, 0.69), (-0.08, 0.655), (-0.3, 0.71)]), coat)  # fmt: skip
    drawn.add(organic([(0.14, 0.68), (0.34, 0.48), (0.44, 0.68 + nod), (0.56, 0.86 + nod), (0.47, 0.99 + nod), (0.35, 0.93 + nod)]), coat)  # fmt: skip
    drawn.add(organic([(0.41, 0.97 + nod), (0.51, 1.0 + nod), (0.62, 0.86 + nod), (0.73, 0.74 + nod), (0.70, 0.66 + nod), (0.60, 0.68 + nod), (0.50, 0.80 + nod), (0.42, 0.84 + nod)]), coat)  # fmt: skip
    drawn.add([(0.42, 0.95 + nod), (0.44, 1.07 + nod), (0.49, 0.97 + nod)], shade(coat, 0.85))
    drawn.add(organic([(0.08, 0.69), (0.26, 0.92 + nod), (0.42, 1.04 + nod), (0.47, 0.97 + nod), (0.36, 0.88 + nod), (0.22, 0.68)]), mane)  # fmt: skip
    drawn.add(ellipse(0.54, 0.89 + nod, 0.017, 0.017, corners=8), DARK)
    drawn.add(ellipse(0.695, 0.71 + nod, 0.04, 0.035), shade(coat, 0.7))
    if rng.random() < 0.3:
        drawn.add(
            organic([(0.52, 0.96 + nod), (0.56, 0.94 + nod), (0.68, 0.76 + nod), (0.64, 0.76 + nod)], 1),
            LIGHT,
        )
    _legs(drawn, rng, (-0.34, 0.24), 0.5, (0.14, 0.065, 0.052), coat, DARK, near=True)
    if rng.random() < 0.4:
        drawn.add(organic([(-0.14, 0.69), (0.12, 0.69), (0.1, 0.54), (-0.1, 0.54)], 1), pick(rng, CLOTH))
    return drawn


def cow(rng: np.random.Generator) -> Silhouette:
    """A cow from the side: a box of a body, horns, udder, patches; now and then grazing."""
    coat = pick(rng, ((235, 230, 222), (60, 46, 40), (150, 84, 48), (196, 160, 120)))
    patch = shade(coat, 0.2) if sum(coat) > 450 else LIGHT
    drawn = Silhouette()
    graze = rng.random() < 0.25
    drop = -0.42 if graze else rng.uniform(-0.06, 0.02)
    _legs(drawn, rng, (-0.40, 0.24), 0.44, (0.15, 0.09, 0.075), coat, DARK, near=False)
    drawn.add(stroke([(-0.50, 0.84), (-0.58, 0.70), (-0.58, 0.40)], 0.05, 0.035), coat)
    drawn.add(ellipse(-0.58, 0.36, 0.035, 0.07), shade(patch, 0.8))
    drawn.add(ellipse(-0.2, 0.37, 0.11, 0.07), (226, 160, 150))
    if graze:
        drawn.add(organic([(0.2, 0.84), (0.48, 0.74), (0.66, 0.40), (0.52, 0.34), (0.3, 0.44)]), coat)
    drawn.add(organic([(-0.54, 0.86), (-0.56, 0.62), (-0.52, 0.40), (-0.2, 0.37), (0.28, 0.34), (0.42, 0.42), (0.44, 0.66), (0.42, 0.90), (0.1, 0.86), (-0.3, 0.88)], 2), coat)  # fmt: skip
    if rng.random() < 0.65:
        for _ in range(rng.integers(2, 5)):
            x, y = rng.uniform(-0.4, 0.28), rng.uniform(0.5, 0.76)
            outline = [(x + rng.uniform(0.07, 0.13) * np.cos(a), y + rng.uniform(0.05, 0.11) * np.sin(a)) for a in np.arange(0, 6.2, 1.0)]  # fmt: skip
            drawn.add(organic(outline), patch)
    hx, hy = 0.5, 0.84 + drop
    drawn.add(
        stroke([(hx - 0.02, hy + 0.06), (hx - 0.07, hy + 0.15), (hx - 0.01, hy + 0.22)], 0.045, 0.035, 0.01),
        (224, 212, 184),
    )
    drawn.add(
        stroke([(hx + 0.09, hy + 0.07), (hx + 0.14, hy + 0.15), (hx + 0.10, hy + 0.22)], 0.045, 0.035, 0.01),
        (224, 212, 184),
    )
    drawn.add(ellipse(hx - 0.09, hy + 0.02, 0.09, 0.035, 0.3), shade(coat, 0.8))
    drawn.add(organic([(hx - 0.12, hy + 0.06), (hx + 0.02, hy + 0.12), (hx + 0.14, hy + 0.06), (hx + 0.24, hy - 0.16), (hx + 0.20, hy - 0.26), (hx + 0.08, hy - 0.24), (hx - 0.04, hy - 0.12)]), coat)  # fmt: skip
    drawn.add(ellipse(hx + 0.17, hy - 0.18, 0.085, 0.07, -0.5), (220, 166, 152))
    drawn.add(ellipse(hx + 0.20, hy - 0.17, 0.014, 0.014, corners=8), DARK)
    drawn.add(ellipse(hx + 0.07, hy + 0.01, 0.02, 0.02, corners=8), DARK)
    _legs(drawn, rng, (-0.44, 0.3), 0.46, (0.17, 0.095, 0.08), coat, DARK, near=True)
    return drawn


def sheep(rng: np.random.Generator) -> Silhouette:
    """A sheep: a cloud of wool on thin legs, with a dark or pale face."""
    wool = pick(rng, ((232, 226, 210), (212, 200, 178), (246, 242, 236), (120, 108, 100)), 10)
    face = pick(rng, ((40, 36, 36), (70, 56, 48), (216, 196, 172)), 10)
    drawn = Silhouette()
    _legs(drawn, rng, (-0.28, 0.2), 0.36, (0.08, 0.06, 0.05), face, DARK, near=False)
    _legs(drawn, rng, (-0.30, 0.22), 0.36, (0.085, 0.06, 0.055), face, DARK, near=True)
    for angle in np.linspace(0, 2 * np.pi, 13, endpoint=False) + rng.uniform(0, 0.5):
        x, y = 0.40 * np.cos(angle), 0.57 + 0.22 * np.sin(angle)
        drawn.add(ellipse(x, y, 0.13, 0.12, corners=12), shade(wool, 0.88 + 0.1 * np.sin(angle)))
    drawn.add(ellipse(0, 0.58, 0.42, 0.25), wool)
    for _ in range(14):
        x, y = rng.uniform(-0.34, 0.34), rng.uniform(0.42, 0.74)
        curl = ellipse(x, y, 0.06, 0.05, corners=10)
        drawn.add(curl, shade(wool, rng.uniform(0.86, 1.06)))
    hx, hy = 0.50, 0.70 + rng.uniform(-0.1, 0.08)
    drawn.add(ellipse(hx - 0.10, hy + 0.04, 0.09, 0.035, -0.35), shade(face, 1.3))
    drawn.add(ellipse(hx + 0.02, hy - 0.02, 0.10, 0.17, 0.55), face)
    drawn.add(ellipse(hx - 0.06, hy + 0.12, 0.10, 0.08, corners=12), wool)
    drawn.add(ellipse(hx + 0.02, hy + 0.04, 0.018, 0.018, corners=8), LIGHT if sum(face) < 300 else DARK)
    return drawn


def dog(rng: np.random.Generator) -> Silhouette:
    """A dog: snout, hanging or pricked ears, raised tail, collar; from the side, sitting, or its face."""
    coat = pick(rng, FUR)
    ear = shade(coat, rng.uniform(0.45, 0.8))
    collar = pick(rng, PAINT)
    view = rng.choice(3, p=[0.6, 0.2, 0.2])
    if view == 2:
        return _dog_face(rng, coat, ear)
    if view == 1:
        return _dog_sitting(rng, coat, ear, collar)
    drawn = Silhouette()
    _legs(drawn, rng, (-0.3, 0.2), 0.44, (0.11, 0.065, 0.06), coat, shade(coat, 0.8), near=False)
    drawn.add(
        stroke([(-0.36, 0.62), (-0.50, 0.72), (-0.54, 0.90), (-0.48, 1.0)], 0.09, 0.07, 0.05, 0.02), coat
    )
    drawn.add(organic([(-0.42, 0.66), (-0.40, 0.44), (-0.12, 0.42), (0.15, 0.34), (0.34, 0.42), (0.36, 0.66), (0.0, 0.66), (-0.25, 0.69)]), coat)  # fmt: skip
    if rng.random() < 0.4:
        for _ in range(3):
            drawn.add(ellipse(rng.uniform(-0.28, 0.2), rng.uniform(0.5, 0.6), 0.08, 0.05), ear)
    drawn.add(organic([(0.16, 0.66), (0.26, 0.90), (0.36, 1.0), (0.50, 0.96), (0.58, 0.86), (0.74, 0.83), (0.77, 0.76), (0.70, 0.70), (0.54, 0.68), (0.44, 0.60), (0.38, 0.46), (0.28, 0.5)]), coat)  # fmt: skip
    drawn.add(organic([(0.62, 0.70), (0.72, 0.69), (0.68, 0.64), (0.6, 0.66)], 1), shade(coat, 0.7))
    drawn.add(ellipse(0.755, 0.815, 0.035, 0.03, corners=10), DARK)
    drawn.add(ellipse(0.50, 0.88, 0.02, 0.022, corners=8), DARK)
    drawn.add(stroke([(0.23, 0.74), (0.42, 0.60)], 0.05), collar)
    if rng.random() < 0.6:
        drawn.add(organic([(0.30, 0.98), (0.40, 0.97), (0.44, 0.80), (0.38, 0.66), (0.28, 0.72)]), ear)
    else:
        drawn.add([(0.28, 0.92), (0.30, 1.12), (0.42, 0.98)], ear)
    _legs(drawn, rng, (-0.34, 0.24), 0.46, (0.14, 0.07, 0.065), coat, shade(coat, 0.8), near=True)
    return drawn


def _dog_sitting(rng: np.random.Generator, coat: Colour, ear: Colour, collar: Colour) -> Silhouette:
    drawn = Silhouette()
    drawn.add(stroke([(-0.2, 0.08), (-0.38, 0.1), (-0.46, 0.26)], 0.09, 0.07, 0.03), coat)
    drawn.add(
        organic(
            [(-0.28, 0.0), (-0.32, 0.2), (-0.2, 0.42), (-0.02, 0.66), (0.16, 0.66), (0.2, 0.4), (0.16, 0.0)]
        ),
        coat,
    )
    drawn.add(ellipse(-0.16, 0.15, 0.15, 0.15), shade(coat, 0.9))
    drawn.add(stroke([(0.12, 0.5), (0.13, 0.24), (0.14, 0.03)], 0.13, 0.085, 0.07), coat)
    drawn.add(ellipse(0.17, 0.025, 0.07, 0.03), shade(coat, 0.85))
    drawn.add(organic([(-0.06, 0.66), (-0.04, 0.92), (0.1, 0.99), (0.24, 0.92), (0.28, 0.84), (0.44, 0.80), (0.46, 0.72), (0.3, 0.66), (0.2, 0.58)]), coat)  # fmt: skip
    drawn.add(ellipse(0.435, 0.785, 0.034, 0.03, corners=10), DARK)
    drawn.add(ellipse(0.2, 0.85, 0.02, 0.022, corners=8), DARK)
    drawn.add(stroke([(-0.06, 0.66), (0.2, 0.58)], 0.05), collar)
    drawn.add(organic([(-0.02, 0.94), (0.08, 0.94), (0.1, 0.76), (0.04, 0.62), (-0.06, 0.68)]), ear)
    return drawn


def _dog_face(rng: np.random.Generator, coat: Colour, ear: Colour) -> Silhouette:
    drawn = Silhouette()
    drawn.add(
        organic([(-0.34, 0.0), (-0.3, 0.3), (-0.2, 0.5), (0.2, 0.5), (0.3, 0.3), (0.34, 0.0)], 1),
        shade(coat, 0.85),
    )
    drawn.add(
        organic(
            [
                (-0.3, 0.55),
                (-0.34, 0.85),
                (-0.16, 1.0),
                (0.16, 1.0),
                (0.34, 0.85),
                (0.3, 0.55),
                (0.14, 0.3),
                (-0.14, 0.3),
            ]
        ),
        coat,
    )
    for side in (-1, 1):
        drawn.add(
            organic(
                [
                    (side * 0.2, 0.98),
                    (side * 0.38, 0.94),
                    (side * 0.46, 0.62),
                    (side * 0.38, 0.46),
                    (side * 0.28, 0.62),
                ]
            ),
            ear,
        )
        drawn.add(ellipse(side * 0.12, 0.74, 0.035, 0.04, corners=12), DARK)
    muzzle = shade(coat, 1.3)
    drawn.add(ellipse(0, 0.5, 0.17, 0.16), muzzle)
    drawn.add(ellipse(0, 0.6, 0.07, 0.05), DARK)
    if rng.random() < 0.6:
        drawn.add(organic([(-0.05, 0.42), (0.05, 0.42), (0.055, 0.28), (-0.045, 0.28)]), (216, 96, 104))
    return drawn


def cat(rng: np.random.Generator) -> Silhouette:
    """A cat: round head, pointed ears, whiskers, long tail, often striped; walking, sitting or lying."""
    coat = pick(rng, ((206, 132, 62), (120, 112, 108), (44, 42, 46), (224, 214, 200), (156, 128, 100)))
    mark = shade(coat, 0.6)
    striped = rng.random() < 0.6
    view = rng.choice(3, p=[0.35, 0.45, 0.2])
    drawn = Silhouette()
    if view == 0:
        _legs(drawn, rng, (-0.34, 0.14), 0.36, (0.1, 0.065, 0.06), coat, shade(coat, 0.9), near=False)
        tail = [(-0.42, 0.52), (-0.58, 0.56), (-0.64, 0.76), (-0.54, 0.92), (-0.58, 1.0)]
        drawn.add(stroke(tail, 0.08, 0.07, 0.065, 0.06, 0.04), mark if striped else coat)
        drawn.add(organic([(-0.48, 0.54), (-0.46, 0.30), (-0.1, 0.27), (0.22, 0.26), (0.34, 0.4), (0.30, 0.62), (-0.05, 0.55), (-0.32, 0.60)]), coat)  # fmt: skip
        if striped:
            for x in np.arange(-0.36, 0.24, 0.1).tolist():
                drawn.add(stroke([(x, 0.56), (x - 0.02, 0.42)], 0.035, 0.01), mark)
        _legs(drawn, rng, (-0.38, 0.2), 0.36, (0.13, 0.07, 0.065), coat, shade(coat, 0.9), near=True)
        _cat_head(drawn, (0.40, 0.66), 0.19, coat, mark, striped)
    elif view == 1:
        drawn.add(stroke([(0.2, 0.05), (0.4, 0.04), (0.5, 0.16), (0.44, 0.34)], 0.09, 0.08, 0.07, 0.03), mark)
        drawn.add(
            organic(
                [
                    (-0.27, 0.0),
                    (-0.33, 0.2),
                    (-0.2, 0.5),
                    (-0.1, 0.64),
                    (0.1, 0.64),
                    (0.2, 0.5),
                    (0.33, 0.2),
                    (0.27, 0.0),
                ]
            ),
            coat,
        )
        if striped:
            for side in (-1, 1):
                for y in (0.2, 0.3, 0.4):
                    drawn.add(stroke([(side * 0.26, y), (side * 0.13, y + 0.02)], 0.035, 0.01), mark)
        for x in (-0.08, 0.08):
            drawn.add(stroke([(x, 0.4), (x, 0.04)], 0.1, 0.085), shade(coat, 1.08))
            drawn.add(ellipse(x, 0.035, 0.06, 0.035), shade(coat, 1.15))
        _cat_head(drawn, (0.0, 0.78), 0.22, coat, mark, striped)
    else:
        drawn.add(stroke([(-0.6, 0.12), (-0.78, 0.1), (-0.9, 0.2)], 0.1, 0.09, 0.05), mark)
        drawn.add(
            organic([(-0.66, 0.0), (-0.68, 0.3), (-0.4, 0.56), (0.1, 0.52), (0.4, 0.4), (0.46, 0.0)]), coat
        )
        if striped:
            for x in np.arange(-0.5, 0.2, 0.13).tolist():
                drawn.add(stroke([(x, 0.52), (x - 0.03, 0.3)], 0.05, 0.01), mark)
        drawn.add(stroke([(0.2, 0.06), (0.62, 0.05)], 0.12, 0.1), shade(coat, 1.08))
        _cat_head(drawn, (0.44, 0.62), 0.28, coat, mark, striped)
    return drawn


def _cat_head(drawn: Silhouette, at: Point, size: float, coat: Colour, mark: Colour, striped: bool) -> None:
    x, y = at
    for side in (-1, 1):
        drawn.add([(x + side * size * 0.92, y + size * 0.2), (x + side * size * 0.8, y + size * 1.35), (x + side * size * 0.15, y + size * 0.75)], coat)  # fmt: skip
        drawn.add([(x + side * size * 0.8, y + size * 0.45), (x + side * size * 0.74, y + size * 1.1), (x + side * size * 0.35, y + size * 0.75)], (216, 150, 140))  # fmt: skip
    drawn.add(ellipse(x, y, size, size * 0.85), coat)
    if striped:
        for shift in (-0.25, 0.0, 0.25):
            drawn.add(
                stroke(
                    [(x + shift * size, y + size * 0.8), (x + shift * size, y + size * 0.45)],
                    size * 0.12,
                    0.01,
                ),
                mark,
            )
    for side in (-1, 1):
        drawn.add(ellipse(x + side * size * 0.4, y + size * 0.1, size * 0.2, size * 0.17), (196, 204, 70))
        drawn.add(ellipse(x + side * size * 0.4, y + size * 0.1, size * 0.07, size * 0.16), DARK)
        for drop in (-0.35, -0.22):
            drawn.add(
                stroke(
                    [(x + side * size * 0.2, y - size * 0.32), (x + side * size * 1.25, y + size * drop)],
                    size * 0.05,
                ),
                LIGHT,
            )
    drawn.add(ellipse(x, y - size * 0.35, size * 0.35, size * 0.22), shade(coat, 1.25))
    drawn.add(
        [(x - size * 0.12, y - size * 0.18), (x + size * 0.12, y - size * 0.18), (x, y - size * 0.34)],
        (200, 100, 100),
    )


def bird(rng: np.random.Generator) -> Silhouette:
    """A bird: perched with folded wing, in flight with spread ones, or swimming."""
    body = pick(rng, (*PAINT, (60, 50, 46), (150, 120, 90)))
    wing, belly, beak = shade(body, 0.65), shade(body, 1.35), (230, 160, 40)
    drawn = Silhouette()
    view = rng.choice(3, p=[0.45, 0.35, 0.2])
    if view == 1:
        lift = rng.uniform(0.25, 0.5)
        drawn.add(
            organic(
                [(0.0, 0.45), (-0.1, 0.55 + lift), (-0.34, 0.62 + lift), (-0.42, 0.5 + lift), (-0.28, 0.45)]
            ),
            shade(wing, 0.8),
        )
        drawn.add([(-0.4, 0.44), (-0.66, 0.56), (-0.70, 0.40), (-0.62, 0.34)], wing)
        drawn.add(
            organic([(-0.48, 0.44), (-0.2, 0.56), (0.2, 0.55), (0.34, 0.46), (0.2, 0.32), (-0.2, 0.32)]), body
        )
        drawn.add(ellipse(0.02, 0.36, 0.2, 0.06), belly)
        drawn.add(ellipse(0.34, 0.53, 0.12, 0.11), body)
        drawn.add([(0.44, 0.56), (0.60, 0.50), (0.44, 0.47)], beak)
        drawn.add(ellipse(0.37, 0.56, 0.02, 0.02, corners=8), DARK)
        drawn.add(
            organic(
                [(0.14, 0.48), (0.1, 0.66 + lift), (-0.16, 0.84 + lift), (-0.34, 0.78 + lift), (-0.18, 0.46)]
            ),
            wing,
        )
        return drawn
    bottom = 0.0 if view == 2 else 0.18
    if view == 0:
        for x in (-0.06, 0.08):
            drawn.add(stroke([(x, 0.3), (x + 0.02, 0.02)], 0.03), (150, 110, 60))
            drawn.add(stroke([(x - 0.05, 0.015), (x + 0.1, 0.015)], 0.03), (150, 110, 60))
    long_neck = view == 2 and rng.random() < 0.6
    drawn.add([(-0.36, bottom + 0.32), (-0.78, bottom + (0.4 if view == 2 else 0.1)), (-0.74, bottom + (0.28 if view == 2 else 0.0)), (-0.3, bottom + 0.12)], wing)  # fmt: skip
    drawn.add(organic([(-0.46, bottom + 0.24), (-0.3, bottom + 0.05), (0.0, bottom), (0.28, bottom + 0.1), (0.36, bottom + 0.36), (0.2, bottom + 0.5), (-0.1, bottom + 0.46)]), body)  # fmt: skip
    drawn.add(ellipse(0.14, bottom + 0.2, 0.16, 0.15), belly)
    head = (0.34, bottom + (0.95 if long_neck else 0.62))
    if long_neck:
        drawn.add(
            stroke(
                [(0.22, bottom + 0.32), (0.42, bottom + 0.55), (0.26, bottom + 0.78), head],
                0.16,
                0.11,
                0.1,
                0.12,
            ),
            body,
        )
    else:
        drawn.add(stroke([(0.2, bottom + 0.38), head], 0.26, 0.2), body)
    drawn.add(ellipse(*head, 0.13, 0.12), body)
    drawn.add(
        [(head[0] + 0.1, head[1] + 0.05), (head[0] + 0.28, head[1] - 0.02), (head[0] + 0.1, head[1] - 0.06)],
        beak,
    )
    drawn.add(
        ellipse(head[0] + 0.04, head[1] + 0.03, 0.024, 0.024, corners=8), LIGHT if sum(body) < 250 else DARK
    )
    drawn.add(
        organic(
            [
                (0.1, bottom + 0.4),
                (-0.1, bottom + 0.44),
                (-0.5, bottom + 0.26),
                (-0.3, bottom + 0.14),
                (0.02, bottom + 0.16),
            ]
        ),
        wing,
    )
    return drawn
