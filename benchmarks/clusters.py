"""Categorical clustering (section 3.1.1) drawn lazily, at the size of VOC's train_aug. On the CPU.

To reach: at most 50 ms to build and 1 MB to hold. The ratios of times are to building, those of bytes to
what is held. The paper writes every pair out as a blended image beforehand; listing the pairs as two int32
indices each is the least that could be stored of them.
"""

import numpy as np

from segmix_core.bench import BenchRow, interleaved
from segmix_core.cooccurrence import clusters
from segmix_core.mixing import cluster_pairs
from segmix_core.rng import stream

from ._drawn import CATEGORIES


def run(*, device: str, images: int = 10582, batch: int = 16, rounds: int = 51) -> list[BenchRow]:
    """Rows for `images` images of one to three categories."""
    rng = stream(0, "bench", "clusters")
    presence = np.zeros((images, CATEGORIES), dtype=bool)
    for _ in range(2):
        presence[np.arange(images), rng.integers(1, CATEGORIES, size=images)] = True
    built = clusters(presence)
    rows = interleaved(
        "clusters",
        {
            f"build, {images} images": lambda: clusters(presence),
            f"draw {batch} pairs": lambda: cluster_pairs(built, batch, rng=rng),
        },
        reference=f"build, {images} images",
        rounds=rounds,
    )
    held = sum(cluster.nbytes for cluster in built)
    filled = sum(len(cluster) > 0 for cluster in built)
    listed = sum(len(cluster) for cluster in built) * (filled - 1) * 2 * np.dtype(np.int32).itemsize
    rows.append(BenchRow("clusters", "held", held / 1e6, 1.0, "MB"))
    rows.append(BenchRow("clusters", "every pair listed (reckoned)", listed / 1e6, listed / held, "MB"))
    return rows
