"""How many silhouettes the generator draws a second, at 128 pixels. On the CPU.

Reference: drawing one category. The second variant draws a second category into each picture, the third
encodes the pictures as a JPEG and a PNG, as `segmix data make` stores them.
"""

import io

import numpy as np
from PIL import Image

from segmix_core.bench import BenchRow, interleaved
from segmix_core.data.silhouettes import Scene, draw_scene
from segmix_core.rng import stream

from ._drawn import CATEGORIES


def draw(images: int, categories: int, size: int) -> list[Scene]:
    """`images` scenes of so many categories each."""
    scenes = []
    for index in range(images):
        rng = stream(0, "bench", "silhouettes", index)
        chosen = 1 + rng.permutation(CATEGORIES - 1)[:categories]
        scenes.append(draw_scene(chosen.tolist(), size=size, rng=rng))
    return scenes


def encode(scenes: list[Scene]) -> None:
    """Each picture as a JPEG, each label map as a PNG."""
    for scene in scenes:
        Image.fromarray(scene.image).save(io.BytesIO(), "JPEG", quality=95)
        Image.fromarray(scene.label.astype(np.uint8)).save(io.BytesIO(), "PNG")


def run(*, device: str, images: int = 24, size: int = 128, rounds: int = 5) -> list[BenchRow]:
    """Rows in images a second; ratios are of rates."""
    scenes = draw(images, 1, size)
    timed = interleaved(
        "silhouettes",
        {
            "one category": lambda: draw(images, 1, size),
            "two categories": lambda: draw(images, 2, size),
            "encode": lambda: encode(scenes),
        },
        reference="one category",
        rounds=rounds,
    )
    return [
        BenchRow(row.name, row.variant, 1000 * images / row.median, 1 / row.ratio, "img/s") for row in timed
    ]
