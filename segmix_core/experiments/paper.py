"""The paper's tables: each row is an experiment, beside the value that was printed."""

from __future__ import annotations

from dataclasses import dataclass

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
