"""What to run, declared once: methods, scales and the paper's tables. No torch in here."""

import difflib
from collections.abc import Iterable

from segmix_core.errors import InputError
from segmix_core.experiments.factors import Cap, Delta, Experiment, Method, Scale
from segmix_core.experiments.methods import METHODS
from segmix_core.experiments.paper import FACTS, TABLES, Fact, Row
from segmix_core.experiments.scales import SCALES

__all__ = [
    "FACTS",
    "METHODS",
    "SCALES",
    "TABLES",
    "Cap",
    "Delta",
    "Experiment",
    "Fact",
    "Method",
    "Row",
    "Scale",
    "find_experiment",
    "find_scale",
    "nearest",
]


def nearest(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for an unknown name: what was asked for, the nearest known name, and all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return InputError(kind, f"unknown name '{name}'", f"{hint}known: {', '.join(names)}")


def find_scale(name: str) -> Scale:
    """The scale of that name, or InputError with the nearest one."""
    if name not in SCALES:
        raise nearest("scale", name, SCALES)
    return SCALES[name]


def find_experiment(name: str) -> Experiment:
    """The experiment of that name: one of the methods, or a table's row such as `table1/sourcesep-cm`."""
    rows = {row.experiment.name: row.experiment for table in TABLES.values() for row in table}
    known = METHODS | rows
    if name not in known:
        raise nearest("experiment", name, known)
    return known[name]
