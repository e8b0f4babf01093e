"""The embedded data set: silhouettes of the twenty VOC categories, in VOC layout, reproducible from a seed.

Which categories meet in a picture is a fact: each picture takes the set of categories of one real VOC
image, so that Algorithm 1 counts here what it counts there. Training pictures take theirs from images on
VOC's train_aug list, validation pictures from its val list.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from segmix_core.data.label_table import read_label_table
from segmix_core.data.silhouettes.folder import (
    Made,
    digest_of,
    ensured,
    make_folders,
    write_lists,
    write_scene,
    write_source,
)
from segmix_core.data.silhouettes.outofcontext import ensure_out_of_context, make_out_of_context
from segmix_core.data.silhouettes.saliency import ensure_saliency, make_saliency
from segmix_core.data.silhouettes.scene import Instance, Scene, draw_scene
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.files import new_folder
from segmix_core.rng import stream

__all__ = [
    "Instance",
    "Made",
    "Scene",
    "draw_scene",
    "ensure",
    "ensure_out_of_context",
    "ensure_saliency",
    "make",
    "make_out_of_context",
    "make_saliency",
    "make_single_objects",
]

_REAL_LIST = {"train": "train_aug", "val": "val"}


def make(
    out: Path,
    *,
    images: int,
    val: int,
    size: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Generate the data set in VOC layout: `images` on list train, `val` on list val, both on trainval.

    JPEGImages, SegmentationClass, SegmentationObject, Annotations (with `truncated` and `occluded`),
    ImageSets/Segmentation, and SOURCE.json, which names the real image whose categories each picture has.
    The folder appears when it is whole.

    Raises:
        InputError: `out` is there already, or cannot be written.
    """
    with new_folder(out) as temporary:
        _write_all(temporary, {"train": images, "val": val}, size, seed, progress)
        return Made(images + val, digest_of(temporary, ("train", "val")))


def ensure(folder: Path, *, images: int, val: int, size: int, seed: int) -> Path:
    """The data set under `folder`, generated on first use, in a folder named after all that decides it."""
    name = f"silhouettes-{images}+{val}-{size}px-seed{seed}"
    return ensured(folder, name, lambda out: make(out, images=images, val=val, size=size, seed=seed))


def make_single_objects(count: int, *, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of one object each, to learn to name them from.

    Returns:
        uint8 (count, size, size, 3), RGB, and int64 (count,), categories 1..20 in equal shares.
    """
    labels = 1 + np.arange(count) % (len(VOC_CATEGORIES) - 1)
    pictures = np.empty((count, size, size, 3), dtype=np.uint8)
    for index, category in enumerate(labels.tolist()):
        rng = stream(seed, "silhouettes", "single", index)
        pictures[index] = draw_scene((category,), size=size, rng=rng, alone=True).image
    order = stream(seed, "silhouettes", "single").permutation(count)
    return pictures[order], labels[order]


def _write_all(
    out: Path,
    counts: dict[str, int],
    size: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    make_folders(out)
    source: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for split, count in counts.items():
        lists[split] = []
        for index, (real, categories) in enumerate(_category_sets(split, count, seed)):
            identifier = f"{split}_{index:06d}"
            scene = draw_scene(categories, size=size, rng=stream(seed, "silhouettes", split, index))
            write_scene(out, identifier, scene)
            lists[split].append(identifier)
            source[identifier] = real
            if progress is not None:
                progress(len(source), sum(counts.values()))
    lists["trainval"] = lists["train"] + lists["val"]
    write_lists(out, lists)
    write_source(out, seed=seed, size=size, categories_of=source)


def _category_sets(split: str, count: int, seed: int) -> list[tuple[str, tuple[int, ...]]]:
    """Real VOC images and the categories they hold, in an order drawn from the seed; the list repeats."""
    table = read_label_table()
    presence = table.presence()
    rows = np.flatnonzero(table.on(_REAL_LIST[split]) & presence[:, 1:].any(1))
    rows = rows[stream(seed, "silhouettes", split).permutation(len(rows))]
    return [
        (table.ids[row], tuple((1 + np.flatnonzero(presence[row, 1:])).tolist()))
        for row in np.resize(rows, count).tolist()
    ]
