"""What label maps say in numbers: the document of `segmix stats`, and the committed table of VOC 2012."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segmix_core.cooccurrence import cooccurrence_matrix, dataset_presence
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.label_table import IMAGES, LABEL_TABLE, LISTS, LabelTable, write_label_table
from segmix_core.data.voc import VOC_CATEGORIES, open_voc
from segmix_core.errors import InputError
from segmix_core.experiments import Fact
from segmix_core.records import IGNORE_INDEX


def statistics(
    dataset: SegmentationDataset, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Algorithm 1 and its surroundings for a data set: see `describe`."""
    return describe(dataset_presence(dataset, progress=progress), dataset.categories)


def describe(presence: np.ndarray, categories: tuple[str, ...]) -> dict[str, Any]:
    """Label statistics from a presence matrix.

    Args:
        presence: bool (n, N), column 0 background.

    Returns:
        `images`; `categories`; `images_per_category`; `cooccurrence` (C_ss, Algorithm 1);
        `unique_categories`, images by number of categories, background not counted; `pairs`
        [name, name, images], most frequent first.
    """
    matrix = cooccurrence_matrix(presence)
    first, second = np.nonzero(np.triu(matrix))
    order = np.argsort(-matrix[first, second], kind="stable")
    unique = Counter(presence[:, 1:].sum(1).tolist())
    return {
        "images": len(presence),
        "categories": list(categories),
        "images_per_category": presence.sum(0).tolist(),
        "cooccurrence": matrix.tolist(),
        "unique_categories": {str(number): unique[number] for number in sorted(unique)},
        "pairs": [
            [categories[a], categories[b], int(matrix[a, b])]
            for a, b in zip(first[order], second[order], strict=True)
        ],
    }


def count(fact: Fact, table: LabelTable) -> int:
    """In how many images of the table what a printed fact says is so."""
    presence = table.presence(fact.split)[:, 1:]
    if fact.kind == "number":
        return int((presence.sum(1) == fact.number).sum())
    asked = np.isin(VOC_CATEGORIES[1:], fact.categories)
    held = presence[:, asked].all(1)
    return int((held & ~presence[:, ~asked].any(1)).sum() if fact.kind == "exactly" else held.sum())


def measure_label_table(root: Path, *, progress: Callable[[int, int], None] | None = None) -> LabelTable:
    """Count the pixels of every label map on VOC's lists train, val and train_aug under `root`.

    Raises:
        InputError: a list is missing or is not VOC's whole one: the table stands for the data set as
            published.
    """
    opened = {}
    for split in LISTS:
        opened[split] = open_voc(root, split, need_images=False)
        if len(opened[split]) != IMAGES[split]:
            raise InputError(
                f"{root}, list {split}",
                f"names {len(opened[split])} images, VOC's {IMAGES[split]}",
                "name the folder of all of VOC 2012",
            )
    letters: dict[str, str] = {}
    where: dict[str, tuple[SegmentationDataset, int]] = {}
    for split, dataset in opened.items():
        for index, identifier in enumerate(dataset.ids):
            letters[identifier] = letters.get(identifier, "") + LISTS[split]
            where[identifier] = (dataset, index)
    ids = sorted(letters)
    num_categories = len(opened["train"].categories)
    pixels = np.zeros((len(ids), num_categories + 1), dtype=np.int64)
    for row, identifier in enumerate(ids):
        dataset, index = where[identifier]
        counts = np.bincount(dataset.label(index).ravel(), minlength=IGNORE_INDEX + 1)
        pixels[row, :num_categories] = counts[:num_categories]
        pixels[row, num_categories] = counts[IGNORE_INDEX]
        if progress is not None:
            progress(row + 1, len(ids))
    return LabelTable(tuple(ids), tuple(letters[identifier] for identifier in ids), pixels)


def write_label_statistics(root: Path, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Count the label maps under `root` and write the committed table. Returns where it lies."""
    write_label_table(measure_label_table(root, progress=progress), LABEL_TABLE)
    return LABEL_TABLE
