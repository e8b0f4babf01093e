"""Rows and declarations -> tables and figures. No torch."""

from segmix_core.report.statistics import Term, interval, paired_bootstrap, paired_difference, verdict
from segmix_core.report.tables import (
    as_markdown,
    collapsed,
    compared,
    confusions_of,
    experiments_table,
    measured,
    reading,
    report_rows,
    substitutions,
    value_of,
)

__all__ = [
    "Term",
    "as_markdown",
    "collapsed",
    "compared",
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
