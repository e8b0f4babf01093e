"""A picture of given categories: places them, lets them ride, sit and stand on each other, and paints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from segmix_core.data.silhouettes import animals, furniture, vehicles
from segmix_core.data.silhouettes.backdrop import PLACES, Place, distractor, draw_backdrop, noise
from segmix_core.data.silhouettes.shapes import Silhouette
from segmix_core.data.voc import VOC_CATEGORIES

AEROPLANE, BICYCLE, BIRD, BOAT, BOTTLE, BUS, CAR, CAT, CHAIR, COW = range(1, 11)
DININGTABLE, DOG, HORSE, MOTORBIKE, PERSON, POTTEDPLANT, SHEEP, SOFA, TRAIN, TVMONITOR = range(11, 21)

_ROOMS = {module.__name__.rsplit(".", 1)[-1]: module for module in (animals, furniture, vehicles)}
DRAW: dict[int, Callable[[np.random.Generator], Silhouette]] = {
    number: next(getattr(module, name) for module in _ROOMS.values() if hasattr(module, name))
    for number, name in enumerate(VOC_CATEGORIES)
    if number
}
"""The function that draws each category."""

METRES = {
    AEROPLANE: 4.0, BICYCLE: 1.0, BIRD: 0.35, BOAT: 3.5, BOTTLE: 0.35, BUS: 3.0, CAR: 1.5, CAT: 0.4, CHAIR: 0.95,
    COW: 1.5, DININGTABLE: 0.8, DOG: 0.6, HORSE: 1.7, MOTORBIKE: 1.1, PERSON: 1.7, POTTEDPLANT: 0.6, SHEEP: 0.9,
    SOFA: 0.9, TRAIN: 3.2, TVMONITOR: 0.55,
}  # fmt: skip
"""About how tall each is. A picture softens the differences, as a photographer does."""

_AT_HOME: dict[Place, tuple[int, ...]] = {
    "meadow": (COW, SHEEP, HORSE, DOG, BIRD),
    "street": (BUS, CAR, MOTORBIKE, BICYCLE, TRAIN),
    "water": (BOAT, BIRD),
    "sky": (AEROPLANE, BIRD),
    "room": (BOTTLE, CHAIR, DININGTABLE, SOFA, TVMONITOR, POTTEDPLANT, CAT),
    "plain": (PERSON,),
}

_UPON: dict[int, dict[int, float]] = {
    PERSON: {HORSE: 0.65, BICYCLE: 0.6, MOTORBIKE: 0.65, CHAIR: 0.45, SOFA: 0.5, BOAT: 0.5},
    BOTTLE: {DININGTABLE: 0.75},
    POTTEDPLANT: {DININGTABLE: 0.35},
    TVMONITOR: {DININGTABLE: 0.5},
    CAT: {SOFA: 0.55, CHAIR: 0.4, DININGTABLE: 0.2},
    DOG: {SOFA: 0.45},
}
"""What rides, sits or stands on what, and how often."""

_HERDS = {SHEEP: 0.5, COW: 0.35, PERSON: 0.35, BOTTLE: 0.4, CHAIR: 0.4, BIRD: 0.35, BOAT: 0.3, CAR: 0.3}
"""The chance of one more of the same, drawn up to three times; 0.15 for the rest."""


@dataclass(frozen=True)
class Instance:
    """One object of a scene, as VOC's annotations describe it."""

    number: int  # its value in the instance map
    category: int
    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels from 1, as VOC counts
    truncated: bool  # reaches beyond the picture
    occluded: bool  # something stands before more than a thirtieth of it


@dataclass(frozen=True)
class Scene:
    """A generated picture with its two maps."""

    image: np.ndarray  # uint8 (S, S, 3), RGB
    label: np.ndarray  # uint8 (S, S), category
    instance: np.ndarray  # uint8 (S, S), 0 or `Instance.number`
    instances: tuple[Instance, ...]


@dataclass
class _Placed:
    """A silhouette with its place: feet at (x, y), `height` of one unit; all in sides of the picture, y down."""

    category: int  # 0: a distractor
    drawn: Silhouette
    x: float
    y: float
    height: float
    depth: float  # painted in this order

    def pixels(self, points: np.ndarray, side: int) -> np.ndarray:
        return (points * (1, -1) * self.height + (self.x, self.y)) * side


def draw_scene(
    categories: Sequence[int], *, size: int, rng: np.random.Generator, alone: bool = False
) -> Scene:
    """A picture that shows exactly the given categories, each of them visibly.

    Args:
        categories: numbers 1..20.
        size: side in pixels.
        alone: one object of each category and no second one.
    """
    for attempt in range(40):
        placed = _compose(categories, rng, alone=alone or attempt > 8, crowd=1 - 0.015 * attempt)
        scene = _paint(placed, categories, size, rng)
        area = np.bincount(scene.label.ravel(), minlength=len(VOC_CATEGORIES))
        if all(area[category] >= 0.004 * size * size for category in categories):
            return scene
    raise RuntimeError(f"no picture shows all of {categories}")


def _compose(
    categories: Sequence[int], rng: np.random.Generator, *, alone: bool, crowd: float
) -> list[_Placed]:
    """Choose sizes and places. `crowd` below 1 shrinks everything, to make room."""
    subject = int(rng.choice(list(categories)))
    horizon = rng.uniform(0.25, 0.6)
    unit = rng.uniform(0.5, 1.0) * crowd / METRES[subject] ** 0.5
    placed: list[_Placed] = []
    columns = iter(rng.permutation(np.linspace(0.16, 0.84, 4 * len(categories) + 1)))
    for category in rng.permutation(list(categories)).tolist():
        count = 1 if alone else 1 + int((rng.random(3) < _HERDS.get(category, 0.15)).cumprod().sum())
        for index in range(count):
            drawn = DRAW[category](rng)
            drawn = drawn.stretch(rng.choice([-1, 1]) * rng.uniform(0.88, 1.12))
            left, _, right, top = drawn.bounds()
            height = (
                unit
                * METRES[category] ** 0.5
                * rng.uniform(0.8, 1.15)
                * (1 if index == 0 else rng.uniform(0.6, 1))
            )
            widest = {TRAIN: 1.5, SOFA: rng.uniform(0.8, 1.3)}.get(category, rng.uniform(0.75, 1.0))
            height = max(min(height, widest / (right - left), 1.0 / top), 0.17)
            x = (
                0.5 + rng.normal(0, 0.08)
                if len(categories) == 1 and count == 1
                else next(columns) + rng.normal(0, 0.05)
            )
            y = rng.uniform(max(horizon + 0.12, 0.82 * height), 1.04)
            if category == AEROPLANE or (category == BIRD and rng.random() < 0.5):
                y = rng.uniform(min(0.3, height), 0.75)
            placed.append(_Placed(category, drawn, float(x), float(y), float(height), float(y)))
    _seat(placed, rng)
    for _ in range(rng.integers(1, 5)):
        height, y = rng.uniform(0.08, 0.3), rng.uniform(0.2, 1.1)
        behind = rng.random() < 0.75
        drawn = distractor(rng)
        placed.append(_Placed(0, drawn, rng.uniform(0, 1), y, height, y - 1 if behind else y))
    placed.sort(key=lambda one: one.depth)
    return placed


def _seat(placed: list[_Placed], rng: np.random.Generator) -> None:
    """Let some things ride, sit or stand on others: they move to a free seat and are painted after it."""
    taken: set[tuple[int, int]] = set()
    for one in placed:
        supports = _UPON.get(one.category, {})
        for number, below in enumerate(placed):
            if below.category not in supports or rng.random() >= supports[below.category]:
                continue
            free = [seat for seat in range(len(below.drawn.seats)) if (number, seat) not in taken]
            if not free:
                continue
            seat = int(rng.choice(free))
            taken.add((number, seat))
            if one.category == PERSON:
                pose: animals.Pose = "ride" if below.category in (HORSE, BICYCLE, MOTORBIKE) else "sit"
                facing = np.sign(below.drawn.bounds()[2] + below.drawn.bounds()[0]) or 1
                one.drawn = animals.person(rng, pose).stretch(
                    float(facing if pose == "ride" else rng.choice([-1, 1]))
                )
            x, y = below.drawn.seats[seat]
            one.x, one.y = below.x + x * below.height, below.y - y * below.height
            one.height = below.height * (METRES[one.category] / METRES[below.category]) ** 0.85
            one.depth = below.depth + 1e-3
            break


def _place_for(categories: Sequence[int], rng: np.random.Generator) -> Place:
    """Where such things are found; now and then anywhere at all, so that places give little away."""
    fitting = [place for place in PLACES if set(_AT_HOME[place]) & set(categories)]
    everywhere = not fitting or rng.random() < 0.3
    return PLACES[rng.integers(len(PLACES))] if everywhere else fitting[rng.integers(len(fitting))]


def _paint(placed: list[_Placed], categories: Sequence[int], size: int, rng: np.random.Generator) -> Scene:
    """Paint from far to near at twice the size, then halve."""
    side = 2 * size
    horizon = rng.uniform(0.25, 0.6)
    canvas = draw_backdrop(_place_for(categories, rng), horizon, side, rng)
    numbers = np.zeros((side, side), dtype=np.uint8)
    own = [0]
    beyond = [False]
    category_of = [0]
    for one in placed:
        number = len(own) if one.category else 0
        area, outside = _paint_one(canvas, numbers, one, number, rng)
        if number:
            own.append(area)
            beyond.append(outside)
            category_of.append(one.category)
    visible = np.bincount(numbers.ravel(), minlength=len(own))
    small = numbers[1::2, 1::2]
    instances = []
    for number in range(1, len(own)):
        rows, columns = np.nonzero(small == number)
        if not len(rows):
            continue
        instances.append(
            Instance(
                number=number,
                category=category_of[number],
                box=(
                    int(columns.min()) + 1,
                    int(rows.min()) + 1,
                    int(columns.max()) + 1,
                    int(rows.max()) + 1,
                ),
                truncated=beyond[number],
                occluded=is_occluded(int(own[number]), int(visible[number])),
            )
        )
    image = np.asarray(canvas.reduce(2)).astype(np.float32)
    image = (image - 128) * rng.uniform(0.8, 1.15) + 128 + rng.uniform(-18, 18)
    image += rng.uniform(1, 6) * rng.standard_normal((size, size, 1), dtype=np.float32)
    return Scene(
        image=np.clip(image, 0, 255).astype(np.uint8),
        label=np.array(category_of, dtype=np.uint8)[small],
        instance=np.ascontiguousarray(small),
        instances=tuple(instances),
    )


def is_occluded(area: int, visible: int) -> bool:
    """Whether other things hide more than a thirtieth of an object of `area` pixels in the picture."""
    return visible < area * 29 / 30


def _paint_one(
    canvas: Image.Image, numbers: np.ndarray, one: _Placed, number: int, rng: np.random.Generator
) -> tuple[int, bool]:
    """Paint a silhouette. Returns its area within the picture and whether it reaches beyond it."""
    side = canvas.width
    polygons = [(one.pixels(points, side), colour) for points, colour in one.drawn.parts]
    everything = np.concatenate([points for points, _ in polygons])
    low, high = np.floor(everything.min(0)).astype(int), np.ceil(everything.max(0)).astype(int) + 1
    (left, top), (right, bottom) = np.maximum(low, 0).tolist(), np.minimum(high, side).tolist()
    if left >= right or top >= bottom:
        return 0, True
    tile = canvas.crop((left, top, right, bottom))
    mask = Image.new("L", tile.size)
    paint, cut = ImageDraw.Draw(tile), ImageDraw.Draw(mask)
    for points, colour in polygons:
        corners = (points - (left, top)).ravel().tolist()
        paint.polygon(corners, fill=colour)
        cut.polygon(corners, fill=255)
    pixels = np.asarray(tile).astype(np.float32) * _texture(bottom - top, right - left, rng)[..., None]
    canvas.paste(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), (left, top), mask)
    shape = np.asarray(mask) > 0
    numbers[top:bottom, left:right][shape] = number
    slack = 0.02 * side
    outside = bool((low < -slack).any() or (high > side + slack).any())
    return int(shape.sum()), outside


def _texture(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Light and weave of a surface: float32 (height, width) about 1."""
    down = np.linspace(rng.uniform(1.02, 1.18), rng.uniform(0.72, 0.95), height, dtype=np.float32)[:, None]
    across = np.linspace(rng.uniform(0.9, 1.1), rng.uniform(0.9, 1.1), width, dtype=np.float32)[None]
    texture = down * across
    cells = int(rng.integers(6, 24))
    texture = texture * (1 + 0.06 * noise(rng, max(height, width), cells)[:height, :width])
    if rng.random() < 0.25:
        wave = np.arange(width, dtype=np.float32) * rng.uniform(0.1, 0.5) + rng.uniform(0, 6)
        slant = np.arange(height, dtype=np.float32)[:, None] * rng.uniform(-0.5, 0.5)
        texture = texture * (1 + rng.uniform(0.03, 0.1) * np.sign(np.sin(wave + slant)))
    result: np.ndarray = texture
    return result
