"""What lies behind the silhouettes: meadow, street, water, sky, room; and shapes that are no category."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from segmix_core.data.silhouettes.shapes import (
    CLOTH,
    LEAF,
    LIGHT,
    PAINT,
    WOOD,
    Colour,
    Silhouette,
    box,
    ellipse,
    organic,
    pick,
    shade,
    stroke,
)

Place = Literal["meadow", "street", "water", "sky", "room", "plain"]
PLACES: tuple[Place, ...] = ("meadow", "street", "water", "sky", "room", "plain")

_SKY: tuple[Colour, ...] = (
    (134, 178, 222),
    (190, 206, 220),
    (226, 214, 200),
    (96, 132, 186),
    (240, 196, 150),
)
_GRASS: tuple[Colour, ...] = ((96, 140, 70), (130, 150, 80), (160, 150, 90), (70, 110, 60), (190, 176, 130))
_STONE: tuple[Colour, ...] = ((128, 126, 124), (98, 98, 102), (160, 152, 142), (184, 178, 166))
_SEA: tuple[Colour, ...] = ((60, 104, 140), (80, 136, 150), (40, 74, 104), (110, 140, 150))
_WALL: tuple[Colour, ...] = (
    (222, 210, 190),
    (190, 200, 206),
    (206, 180, 160),
    (160, 176, 150),
    (236, 232, 224),
)


def noise(rng: np.random.Generator, side: int, cells: int) -> np.ndarray:
    """Smooth noise of about unit spread: float32 (side, side), `cells` bumps across."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))


def draw_backdrop(place: Place, horizon: float, side: int, rng: np.random.Generator) -> Image.Image:
    """A place without any object, RGB of `side` pixels; the ground begins at `horizon` (0 top, 1 bottom)."""
    above, below = {
        "meadow": (_SKY, _GRASS),
        "street": (_SKY, _STONE),
        "water": (_SKY, _SEA),
        "sky": (_SKY, _SKY),
        "room": (_WALL, (*WOOD, *_STONE)),
        "plain": ((*_WALL, *PAINT), (*_STONE, *CLOTH)),
    }[place]
    line = int(horizon * side)
    image = Image.new("RGB", (side, side), pick(rng, above))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, line, side, side), fill=pick(rng, below))
    if place in ("meadow", "water", "sky"):
        for _ in range(rng.integers(0, 4)):
            _fill(draw, _cloud(rng) * (side, side * horizon), shade(LIGHT, rng.uniform(0.85, 1.05)))
    if place in ("meadow", "water") and rng.random() < 0.7:
        hills = rng.uniform(0.02, 0.16, size=8)
        ridge = np.stack([np.linspace(-0.1, 1.1, 8), horizon - hills], axis=1)
        ridge = np.concatenate([[(-0.1, horizon)], ridge, [(1.1, horizon)]])
        _fill(draw, ridge * side, shade(pick(rng, (*LEAF, *_STONE)), 0.9))
    if place == "street":
        left = 0.0
        while left < 1.0:
            width, high = rng.uniform(0.12, 0.35), rng.uniform(0.1, 0.55)
            wall = pick(rng, (*_WALL, *_STONE, (150, 84, 66)))
            top = max(0.0, horizon - high)
            draw.rectangle((left * side, top * side, (left + width) * side, line), fill=wall)
            for y in np.arange(top + 0.03, horizon - 0.05, 0.09).tolist():
                for x in np.arange(left + 0.02, min(left + width, 1.0) - 0.04, 0.075).tolist():
                    draw.rectangle(
                        (x * side, y * side, (x + 0.035) * side, (y + 0.05) * side), fill=shade(wall, 0.6)
                    )
            left += width
        if rng.random() < 0.5:
            draw.line((0, (line + side) // 2, side, (line + side) // 2), fill=LIGHT, width=max(1, side // 60))
    if place == "room":
        mark = shade(image.getpixel((0, 0)), rng.uniform(0.8, 0.95))  # type: ignore[arg-type]
        step = side * rng.uniform(0.06, 0.15)
        if rng.random() < 0.6:
            for x in np.arange(0, side, step).tolist():
                draw.line((x, 0, x, line), fill=mark, width=max(1, int(side * rng.uniform(0.005, 0.03))))
        if rng.random() < 0.6:
            x, y = rng.uniform(0.05, 0.7), rng.uniform(0.0, 0.2)
            frame = (x * side, y * side, (x + 0.22) * side, (y + 0.2) * side)
            draw.rectangle(
                frame, fill=pick(rng, (*_SKY, *PAINT)), outline=pick(rng, WOOD), width=max(1, side // 50)
            )
        floor = shade(image.getpixel((0, side - 1)), 0.85)  # type: ignore[arg-type]
        for y in np.arange(horizon, 1.0, 0.08).tolist():
            draw.line((0, y * side, side, y * side), fill=floor, width=1)
        draw.rectangle((0, line - side // 60, side, line), fill=LIGHT)
    pixels = np.asarray(image).astype(np.float32)
    light = (
        1 + 0.07 * noise(rng, side, 4) + rng.uniform(0.0, 0.06) * noise(rng, side, int(rng.integers(16, 48)))
    )
    if place == "water":
        light[line:] += 0.09 * np.sin(np.arange(side - line) * 40 / side)[:, None]
    return Image.fromarray(np.clip(pixels * light[..., None], 0, 255).astype(np.uint8))


def _cloud(rng: np.random.Generator) -> np.ndarray:
    x, y, size = rng.uniform(0, 1), rng.uniform(0.05, 0.7), rng.uniform(0.08, 0.2)
    return organic(
        [(x - size, y), (x - size / 2, y - size / 2), (x, y - size * 0.6), (x + size, y), (x, y + size * 0.2)]
    )


def _fill(draw: ImageDraw.ImageDraw, points: np.ndarray, colour: Colour) -> None:
    draw.polygon(points.ravel().tolist(), fill=colour)


def distractor(rng: np.random.Generator) -> Silhouette:
    """Something that is no category: a bush, a crate, a ball, a post, a stone, a scrap of cloth."""
    drawn = Silhouette()
    kind = rng.integers(6)
    paint = pick(rng, (*PAINT, *WOOD, *CLOTH))
    if kind == 0:
        leaf = pick(rng, LEAF)
        for _ in range(9):
            drawn.add(
                ellipse(rng.normal(0, 0.25), rng.uniform(0.2, 0.8), 0.26, 0.22, corners=12),
                shade(leaf, rng.uniform(0.7, 1.2)),
            )
    elif kind == 1:
        drawn.add(box(-0.5, 0.0, 0.5, 1.0), paint)
        drawn.add(stroke([(-0.5, 0.0), (0.5, 1.0)], 0.08), shade(paint, 0.7))
        drawn.add(box(-0.5, 0.9, 0.5, 1.0), shade(paint, 0.7))
    elif kind == 2:
        drawn.add(ellipse(0, 0.5, 0.5, 0.5), paint)
        drawn.add(ellipse(-0.15, 0.65, 0.16, 0.13), shade(paint, 1.4))
    elif kind == 3:
        drawn.add(box(-0.04, 0.0, 0.04, 0.9), (90, 90, 94))
        drawn.add(organic([(-0.2, 0.7), (0.2, 0.7), (0.2, 1.0), (-0.2, 1.0)], int(rng.integers(0, 3))), paint)
    elif kind == 4:
        outline = [
            (rng.uniform(0.3, 0.6) * np.cos(a), 0.5 + rng.uniform(0.3, 0.5) * np.sin(a))
            for a in np.arange(0, 6.2, 0.9)
        ]
        drawn.add(organic(outline, 1), pick(rng, _STONE))
    else:
        drawn.add(rng.uniform(-0.5, 0.5, size=(4, 2)) + (0, 0.5), paint)
    return drawn
