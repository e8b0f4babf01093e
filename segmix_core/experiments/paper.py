"""The paper's tables: each row is an experiment, beside the value that was printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from segmix_core.experiments.factors import Experiment
from segmix_core.experiments.methods import METHODS


@dataclass(frozen=True, kw_only=True)
class Row:
    """One printed value and the experiment that would measure it."""

    table: int
    row: str  # as printed
    column: str
    experiment: Experiment
    metric: str  # "mIoU", percent
    printed: float | None


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A number that the paper prints about VOC's label maps, and what has to be counted to check it."""

    where: str
    split: str
    kind: Literal["exactly", "together", "number"]  # these categories alone; among others; so many of them
    categories: tuple[str, ...] = ()
    number: int = 0
    printed: int


def _facts() -> tuple[Fact, ...]:
    things = ("horse", "motorbike", "bicycle", "bottle", "car")
    with_person, alone = (32, 34, 30, 20, 45), (44, 23, 29, 35, 45)
    return (
        *(
            Fact(
                where="Table 5, co-occur",
                split="val",
                kind="exactly",
                categories=("person", thing),
                printed=n,
            )
            for thing, n in zip(things, with_person, strict=True)
        ),
        *(
            Fact(where="Table 5, exclusive", split="val", kind="exactly", categories=(thing,), printed=n)
            for thing, n in zip(things, alone, strict=True)
        ),
        *(
            Fact(where="Table 4, categories", split="val", kind="number", number=number, printed=n)
            for number, n in ((2, 375), (3, 121), (4, 23))
        ),
        Fact(
            where="text of Fig. 5",
            split="train_aug",
            kind="together",
            categories=("cat", "bottle"),
            printed=18,
        ),
    )


FACTS = _facts()
"""Printed counts that the committed label table can confirm or contradict."""


def _table1() -> tuple[Row, ...]:
    printed = {
        "ResNet-50": (75.1, 73.6, 75.1, 75.7, 76.2),
        "ResNet-101": (77.1, 76.2, 76.7, 77.9, 78.9),
    }
    names = (
        "DeepLabv3",
        "DeepLabv3 + Mixup",
        "DeepLabv3 + CutMix",
        "DeepLabv3 + SourceSep-CC",
        "DeepLabv3 + SourceSep-CM",
    )
    return tuple(
        Row(table=1, row=name, column=column, experiment=experiment, metric="mIoU", printed=value)
        for column, values in printed.items()
        for name, experiment, value in zip(names, METHODS.values(), values, strict=True)
    )


TABLES: dict[int, tuple[Row, ...]] = {1: _table1()}
"""Tables by their number in the paper. Table 1 so far."""
