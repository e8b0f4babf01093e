"""What to run, declared once: methods, scales and the paper's tables. No torch in here."""

from segmix_core.experiments.factors import Cap, Delta, Experiment, Method, Scale
from segmix_core.experiments.methods import DEFENCES, METHODS
from segmix_core.experiments.names import nearest
from segmix_core.experiments.paper import (
    FACTS,
    FIGURES,
    MEASURED_ON,
    PRINTED_IMAGES,
    TABLES,
    Fact,
    Figure,
    Row,
    find_rows,
    row_groups,
    rows_to_measure,
)
from segmix_core.experiments.scales import SCALES

__all__ = [
    "DEFENCES",
    "FACTS",
    "FIGURES",
    "MEASURED_ON",
    "METHODS",
    "PRINTED_IMAGES",
    "SCALES",
    "TABLES",
    "Cap",
    "Delta",
    "Experiment",
    "Fact",
    "Figure",
    "Method",
    "Row",
    "Scale",
    "find_experiment",
    "find_rows",
    "find_scale",
    "nearest",
    "row_groups",
    "rows_to_measure",
]


def find_scale(name: str) -> Scale:
    """The scale of that name, or InputError with the nearest one."""
    if name not in SCALES:
        raise nearest("scale", name, SCALES)
    return SCALES[name]


def find_experiment(name: str) -> Experiment:
    """The experiment of that name: a method, a defence, or a table's row such as `table1/sourcesep-cm`.

    Raises:
        InputError: no such experiment; the nearest names are told.
    """
    rows = {row.experiment.name: row.experiment for table in TABLES.values() for row in table}
    known = METHODS | DEFENCES | rows
    if name not in known:
        raise nearest("experiment", name, known)
    return known[name]
