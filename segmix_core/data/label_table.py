"""The committed facts about VOC 2012's label maps: for each image its lists and its pixels per category."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from segmix_core.data.sbd import TRAIN_AUG, VOC_TRAIN
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.errors import InputError
from segmix_core.files import replacing
from segmix_core.records import IGNORE_INDEX

LABEL_TABLE = Path(__file__).resolve().parents[2] / "data" / "voc2012_labels.csv.gz"

LISTS = {"train": "t", "val": "v", "train_aug": "a"}
"""VOC's lists and the letter that stands for each in the table."""

IMAGES = {"train": VOC_TRAIN, "val": 1_449, "train_aug": TRAIN_AUG}
"""How many images each of them names."""

_HEADER = "id,lists,pixels"


@dataclass(frozen=True)
class LabelTable:
    """n label maps in numbers: no image, no position, counts alone."""

    ids: tuple[str, ...]
    lists: tuple[str, ...]  # letters of `LISTS`
    pixels: np.ndarray  # int64 (n, N + 1): category 0..N-1, then ignored pixels

    def on(self, split: str) -> np.ndarray:
        """Which rows a list names: bool (n,). `trainval` is train and val together.

        Raises:
            InputError: no such list in the table.
        """
        letters = "tv" if split == "trainval" else LISTS.get(split)
        if letters is None:
            raise InputError(
                f"list {split}", "not in the label table", f"known: {', '.join(LISTS)}, trainval"
            )
        return np.array([any(letter in held for letter in letters) for held in self.lists])

    def presence(self, split: str | None = None) -> np.ndarray:
        """Which categories each image holds, in at least one pixel: bool (n, N), of a list or of all."""
        held = self.pixels[:, : len(VOC_CATEGORIES)] > 0
        return held if split is None else held[self.on(split)]


def write_label_table(table: LabelTable, path: Path = LABEL_TABLE) -> None:
    """Write the table as gzipped CSV; the same table gives the same bytes.

    A row is `2007_000032,ta,0:155094 1:20000 15:900 255:6`: id, letters of its lists, category:pixels.
    """
    lines = [_HEADER]
    for identifier, lists, counts in zip(table.ids, table.lists, table.pixels, strict=True):
        held = [
            f"{category if category < len(VOC_CATEGORIES) else IGNORE_INDEX}:{counts[category]}"
            for category in np.flatnonzero(counts)
        ]
        lines.append(f"{identifier},{lists},{' '.join(held)}")
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9, mtime=0, filename="") as opened:
        opened.write(("\n".join(lines) + "\n").encode())
    with replacing(path) as temporary:
        temporary.write_bytes(packed.getvalue())


@cache
def read_label_table(path: Path = LABEL_TABLE) -> LabelTable:
    """Read the committed table.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        if lines[0] != _HEADER:
            raise ValueError(lines[0])
        rows = [line.split(",") for line in lines[1:]]
        pixels = np.zeros((len(rows), len(VOC_CATEGORIES) + 1), dtype=np.int64)
        for row, (_, _, counts) in enumerate(rows):
            for part in counts.split():
                category, number = part.split(":")
                column = len(VOC_CATEGORIES) if int(category) == IGNORE_INDEX else int(category)
                pixels[row, column] = int(number)
    except FileNotFoundError as error:
        raise InputError(
            path, "no such table", "restore it from the repository, or write it with 'segmix stats --write'"
        ) from error
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise InputError(path, "the label table is damaged", "restore it from the repository") from error
    pixels.flags.writeable = False
    return LabelTable(tuple(row[0] for row in rows), tuple(row[1] for row in rows), pixels)
