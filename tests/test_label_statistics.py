"""The committed label table, the paper's counts checked against it, and the document of `segmix stats`."""

from pathlib import Path

import numpy as np
import pytest

from segmix_core.data import open_dataset
from segmix_core.data.label_table import LABEL_TABLE, read_label_table, write_label_table
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.errors import InputError
from segmix_core.experiments import FACTS
from segmix_core.label_statistics import count, describe, measure_label_table, statistics


def test_the_table_is_small_and_whole() -> None:
    table = read_label_table()
    assert LABEL_TABLE.stat().st_size < 300_000
    assert len(table.ids) == len(set(table.ids)) == 12_031
    sizes = {split: int(table.on(split).sum()) for split in ("train", "val", "trainval", "train_aug")}
    assert sizes == {"train": 1464, "val": 1449, "trainval": 2913, "train_aug": 10_582}
    assert not (table.on("train_aug") & table.on("val")).any()
    assert (table.on("train") <= table.on("train_aug")).all()


def test_writing_what_was_read_gives_the_same_bytes(tmp_path: Path) -> None:
    write_label_table(read_label_table(), tmp_path / "again.csv.gz")
    assert (tmp_path / "again.csv.gz").read_bytes() == LABEL_TABLE.read_bytes()


@pytest.mark.parametrize("damage", [b"", b"not gzip", None])
def test_a_damaged_table_is_refused(damage: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "table.csv.gz"
    path.write_bytes(LABEL_TABLE.read_bytes()[:5000] if damage is None else damage)
    with pytest.raises(InputError, match="damaged"):
        read_label_table(path)
    with pytest.raises(InputError, match="no such table"):
        read_label_table(tmp_path / "missing.csv.gz")


def test_the_printed_facts() -> None:
    """What VOC's label maps say of each printed count: most hold, and these are the ones that do not."""
    table = read_label_table()
    differing = {
        (fact.where, fact.categories, fact.number): count(fact, table)
        for fact in FACTS
        if count(fact, table) != fact.printed
    }
    assert differing == {
        ("Table 5, co-occur", ("person", "car"), 0): 15,
        ("Table 4, categories", (), 2): 374,
        ("Table 4, categories", (), 3): 122,
        ("text of Fig. 5", ("cat", "bottle"), 0): 16,
    }


def test_the_document_of_train_aug() -> None:
    document = describe(read_label_table().presence("train_aug"), VOC_CATEGORIES)
    assert document["images"] == 10_582
    assert document["images_per_category"][0] <= 10_582  # a few images are all foreground
    assert document["pairs"][:3] == [
        ["car", "person", 429],
        ["chair", "person", 416],
        ["bottle", "person", 371],
    ]
    person = VOC_CATEGORIES.index("person")
    companions = np.argsort(-np.array(document["cooccurrence"])[person], kind="stable")[:7]
    assert [VOC_CATEGORIES[index] for index in companions] == [
        "car", "chair", "bottle", "bicycle", "motorbike", "diningtable", "dog",
    ]  # fmt: skip
    counts = [pair[2] for pair in document["pairs"]]
    assert counts == sorted(counts, reverse=True)
    assert sum(document["unique_categories"].values()) == 10_582
    memberships = sum(document["images_per_category"][1:])
    assert (memberships, memberships * 19) == (15_555, 295_545)


def test_statistics_of_a_folder(tiny_voc: Path) -> None:
    dataset = open_dataset("voc2012", tiny_voc, "train")
    document = statistics(dataset)
    assert document["images"] == 24
    for category in range(1, 21):
        expected = sum(bool((dataset.label(index) == category).any()) for index in range(24))
        assert document["images_per_category"][category] == expected


@pytest.mark.real_data
def test_the_committed_table_is_what_the_masks_say(real_data: Path) -> None:
    measured = measure_label_table(real_data / "voc2012_masks")
    table = read_label_table()
    assert measured.ids == table.ids
    assert measured.lists == table.lists
    assert (measured.pixels == table.pixels).all()
