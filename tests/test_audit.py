"""The audit of the printed numbers: what it finds, and that the declarations are what the paper prints."""

import hashlib
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT

from segmix_core.audit import (
    Finding,
    findings,
    losses_under_attack,
    same_configuration,
    spread_of_implementations,
)
from segmix_core.experiments import TABLES

FOUND = {one.what: one for one in findings()}


def disagreeing(kind: str) -> list[Finding]:
    return [one for one in FOUND.values() if one.kind == kind and not one.agrees]


def test_every_finding_has_a_name_of_its_own() -> None:
    assert len(FOUND) == len(findings())
    assert Counter(one.kind for one in FOUND.values()).keys() == {
        "counts", "between tables", "text and table", "claims",
    }  # fmt: skip


def test_counts_that_differ_from_the_label_maps() -> None:
    assert {one.what: (one.printed, one.computed) for one in disagreeing("counts")} == {
        "Table 5, co-occur: person + car, val": ("45", "15"),
        "Table 4, categories: 2 categories, val": ("375", "374"),
        "Table 4, categories: 3 categories, val": ("121", "122"),
        "text of Fig. 5: cat + bottle, train_aug": ("18", "16; with val 18"),
        "section 4.3.4: the five categories that meet a person most often (train_aug)": (
            "bicycle, bottle, car, horse, motorbike",
            "car 429, chair 416, bottle 371, bicycle 277, motorbike 272",
        ),
        "Table 4: an object is occluded by another, so that its image has two or more": (
            "1128 images with an occluded object",
            "754 images are not of one object",
        ),
    }
    agree = [one for one in FOUND.values() if one.kind == "counts" and one.agrees]
    assert len(agree) == 12


def test_one_configuration_two_numbers() -> None:
    apart = disagreeing("between tables")
    assert [one.computed for one in apart if "apart" in one.computed] == ["0.8 points apart"]
    assert "75.9 (Table 8)" in apart[0].printed
    clean = [one.what for one in apart if one.what.startswith("Table 6, clean")]
    assert [name.split(", ")[2].partition(":")[0] for name in clean] == [
        "DeepLabv3", "DeepLabv3 + Mixup", "DeepLabv3 + CutMix",
    ]  # fmt: skip
    assert all(len({row.table for row in rows}) > 1 for rows in same_configuration().values())


def test_table_6_as_loss() -> None:
    lost = losses_under_attack()
    assert lost["DeepLabv3"] == {
        "UAP, ResNet": 16.8, "UAP, GoogLeNet": 12.3, "GD-UAP, no data": 9.2, "GD-UAP, all data": 12.0,
        "GD-UAP, part of the data": 11.9,
    }  # fmt: skip
    assert list(lost["DeepLabv3 + SourceSep-CM"].values()) == [15.7, 11.8, 11.7, 13.9, 14.0]
    assert list(lost["DeepLabv3 + SourceSep-CC"].values()) == [8.8, 7.7, 9.7, 10.9, 10.7]
    losses = [one for one in FOUND.values() if "loses less" in one.what and "claim " not in one.what]
    more = [one.what for one in losses if not one.agrees]
    assert len([what for what in more if "SourceSep-CM loses less than DeepLabv3" in what]) == 3
    assert all("GD-UAP" in what for what in more)
    # The caption of Fig. 6 says it of GD-UAP without data, beside all three; no sentence of the others.
    said = [one for one in losses if one.said]
    assert {one.what.partition(":")[0] for one in said} == {"Fig. 6 and Table 6, GD-UAP, no data"}
    assert [one.agrees for one in said] == [False, True, True, False, False, True]


def test_sentences_that_their_tables_do_not_bear_out() -> None:
    assert [one.what.partition(":")[0] for one in disagreeing("text and table")] == ["4.3.3", "5.3"]
    better = FOUND["4.3.3: co-occurrence is better than clustering in most cases (Table 4)"]
    assert (better.computed, better.agrees) == ("better in 6 of 9, equal in 3", True)
    assert FOUND["5.1: denoising gains with CC (Table 8, ResNet-101)"].computed == "1.5"


def test_claims_that_the_printed_values_contradict() -> None:
    claims = [one for one in disagreeing("claims") if one.what.startswith("claim ")]
    assert [one.what.partition(",")[0] for one in claims if one.said] == ["claim 3", *["claim 6"] * 3]
    unsaid = [one.what.partition(",")[0] for one in claims if not one.said]
    assert unsaid == [*["claim 3"] * 5, "claim 4"]
    # The difference of gains is in claims 9 and 14, and counts once.
    assert not any(name.startswith("claim 14") for name in FOUND)
    assert any(name.startswith("claim 9") and "gain of CC" in name for name in FOUND)


@pytest.fixture(scope="module")
def paper() -> str:
    """The paper as text: SEGMIX_PAPER names the file, else ../shared/paper beside the checkout."""
    default = ROOT.parent / "shared" / "paper" / "segmix_ijcv2023.txt"
    path = Path(os.environ.get("SEGMIX_PAPER", default))
    if not path.is_file():
        pytest.skip(f"no text of the paper at {path}: set SEGMIX_PAPER to it")
    return path.read_text(encoding="utf-8")


def numbers_between(text: str, start: str, end: str) -> Counter[float]:
    """The decimal numbers of a passage."""
    passage = text[text.index(start) :]
    passage = passage[: passage.index(end)]
    return Counter(float(one) for one in re.findall(r"(?<![\d.])\d{1,2}\.\d{1,3}(?!\d)", passage))


@pytest.mark.parametrize(
    ("table", "start", "end"),
    [
        (1, "Table 1Quantitative", "Our co-occurrence based"),
        (2, "Table 2Quantitative", " Table 3"),
        (3, " Table 3\n", "Sample predictions"),
        (4, "Table 4 Results on complex", "Fig. 4 Qualitative"),
        (5, "Co-occur with person", " Table 5\n"),
        (6, "Networks\tClean", "Table 6Adv"),
        (7, "DeepLabv3-ResNet50 (Chen et al., 2017)\t0.906", " Table 8"),
        (8, " Table 8", "It is clear that the feature denoising"),
        (9, "Table 9 Performance", "Including the source"),
        (10, "Table 10Influence", "5 Ablation Studies"),
        (11, " Table 11\n", "Note, we report the number"),
    ],
)
def test_the_declared_values_are_the_printed_ones(paper: str, table: int, start: str, end: str) -> None:
    """As a bag of numbers: order is the declaration's own."""
    printed = numbers_between(paper, start, end)
    declared = Counter(row.printed for row in TABLES[table] if row.printed is not None)
    missing = declared - printed
    assert not missing, f"declared and not printed: {dict(missing)}"
    left = printed - declared
    assert not left, f"printed and not declared: {dict(left)}"


def test_the_declared_values_are_those_that_were_held_against_the_paper() -> None:
    """Where the paper is not at hand: whoever changes one holds them against it again, then changes this."""
    fields = ("backbone", "metric", "subset", "perturbation", "output", "printed")
    declared = [
        (table, row.experiment.name, *(getattr(row, name) for name in fields))
        for table, rows in TABLES.items()
        for row in rows
        if row.printed is not None
    ]
    assert len(declared) == 189
    assert hashlib.sha256(json.dumps(declared).encode()).hexdigest()[:12] == "1a519bbf73b8"


def test_with_resnet50_alone_implementations_differ_by_more_than_the_method_gains() -> None:
    assert spread_of_implementations("resnet50") == (2.6, 1.1)
    assert spread_of_implementations("resnet101") == (1.6, 1.8)
