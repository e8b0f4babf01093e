"""Rows and declarations -> tables and figures. No torch."""

from segmix_core.report.statistics import interval, paired_bootstrap, paired_difference, verdict
from segmix_core.report.tables import (
    as_markdown,
    confusions_of,
    experiments_table,
    measured,
    reading,
    report_rows,
    substitutions,
    value_of,
)

__all__ = [
    "as_markdown",
    "confusions_of",
    "experiments_table",
    "interval",
    "measured",
    "paired_bootstrap",
    "paired_difference",
    "reading",
    "report_rows",
    "substitutions",
    "value_of",
    "verdict",
]
