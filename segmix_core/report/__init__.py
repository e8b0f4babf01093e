"""Rows and declarations to tables: what was printed beside what was measured."""

from segmix_core.report.tables import (
    as_markdown,
    experiments_table,
    interval,
    measured,
    paired_difference,
    substitutions,
    table_report,
    verdict,
)

__all__ = [
    "as_markdown",
    "experiments_table",
    "interval",
    "measured",
    "paired_difference",
    "substitutions",
    "table_report",
    "verdict",
]
