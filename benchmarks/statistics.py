"""Presence and co-occurrence of PNG label maps (Algorithm 1) against merely decoding them. On the CPU.

Reference: decoding. To reach: at most 1.3, and memory that does not grow with the number of maps. The
literal algorithm visits every map once for every category; it decodes as it goes, to need no more memory.

With the environment variable SEGMIX_DATA naming a folder that holds `voc2012_masks`, the same over all
masks in it, the literal algorithm left out.
"""

import os
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from segmix_core.bench import BenchRow, interleaved
from segmix_core.cooccurrence import cooccurrence_matrix, dataset_presence
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.errors import WorkError
from segmix_core.records import IGNORE_INDEX
from segmix_core.rng import stream

from ._drawn import draw_folder


def decode(dataset: SegmentationDataset) -> None:
    """The floor: read every label map into an array."""
    for path in dataset.label_paths:
        with Image.open(path) as opened:
            np.asarray(opened)


def count(dataset: SegmentationDataset) -> np.ndarray:
    """This project's way."""
    return cooccurrence_matrix(dataset_presence(dataset))


def literal(dataset: SegmentationDataset) -> np.ndarray:
    """Algorithm 1 as printed, with background and ignored pixels left out (R6)."""
    number = len(dataset.categories)
    matrix_NN = np.zeros((number, number), dtype=np.int64)
    for category in range(1, number):
        for index in range(len(dataset)):
            unique = set(np.unique(dataset.label(index)).tolist()) - {0, IGNORE_INDEX}
            if category in unique:
                for other in unique - {category}:
                    matrix_NN[category, other] += 1
    return matrix_NN


def first(dataset: SegmentationDataset, number: int) -> SegmentationDataset:
    """The first `number` label maps."""
    return replace(dataset, ids=dataset.ids[:number], label_paths=dataset.label_paths[:number])


def peak(work: Callable[[], object]) -> float:
    """The most memory that Python and numpy held at once during `work`, in MB."""
    tracemalloc.start()
    work()
    bytes_held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return bytes_held / 1e6


def real_masks() -> SegmentationDataset | None:
    """Every mask under SEGMIX_DATA/voc2012_masks, where that is set and there."""
    if "SEGMIX_DATA" not in os.environ:
        return None
    root = Path(os.environ["SEGMIX_DATA"]) / "voc2012_masks"
    paths = tuple(sorted((root / "SegmentationClass").glob("*.png")))
    if not paths:
        return None
    ids = tuple(path.stem for path in paths)
    return SegmentationDataset(
        name="voc2012",
        root=root,
        split="all",
        categories=VOC_CATEGORIES,
        ids=ids,
        image_paths=(),
        label_paths=paths,
    )


def run(*, device: str, masks: int = 200, rounds: int = 9) -> list[BenchRow]:
    """Rows for `masks` drawn maps of 500x375 pixels, and for the real ones where they are at hand."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = draw_folder(Path(folder), masks, 375, 500, rng=stream(0, "bench", "statistics"))
        quarter = first(dataset, masks // 4)
        if not np.array_equal(count(quarter), literal(quarter)):
            raise WorkError("benchmark statistics: the literal algorithm counts something else")
        rows = interleaved(
            "statistics",
            {
                f"decode {masks} maps": lambda: decode(dataset),
                "segmix": lambda: count(dataset),
                "literal Algorithm 1": lambda: literal(dataset),
            },
            reference=f"decode {masks} maps",
            rounds=rounds,
            once=["literal Algorithm 1"],
        )
        few, many = peak(lambda: count(quarter)), peak(lambda: count(dataset))
    rows.append(BenchRow("statistics", f"peak memory, {masks // 4} maps", few, 1.0, "MB"))
    rows.append(BenchRow("statistics", f"peak memory, {masks} maps", many, many / few, "MB"))
    real = real_masks()
    if real is not None:
        rows += interleaved(
            "statistics",
            {
                f"decode {len(real)} real masks": lambda: decode(real),
                f"segmix, {len(real)} real masks": lambda: count(real),
            },
            reference=f"decode {len(real)} real masks",
            rounds=min(rounds, 3),
        )
    return rows
