"""The paper's tables and figures: each row an experiment and a way to read it, beside the printed value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from segmix_core.errors import InputError
from segmix_core.experiments.factors import Cap, Experiment, Method, Pairing
from segmix_core.experiments.methods import METHODS, MIXUP, SOURCESEP_CM
from segmix_core.experiments.names import nearest

Data = Literal["voc", "voc-test", "coco", "ecssd", "context"]
MEASURED_ON: dict[Data, tuple[str, ...]] = {
    "voc": ("voc2012", "silhouettes"),
    "voc-test": (),  # its labels are on PASCAL's server, which takes the archive of `segmix submit`
    "coco": ("coco",),
    "ecssd": ("ecssd", "silhouettes-saliency"),
    "context": ("silhouettes-outofcontext",),
}
"""The evaluation sets whose rows stand beside a printed value of each data set, named with the value."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One printed value, or one that the paper leaves open, and the experiment that would measure it."""

    table: int | None = None
    figure: int | None = None
    row: str  # as printed, shortened
    column: str
    experiment: Experiment
    metric: str = "mIoU"  # per cent, as are "IoU horse", "mIoU person, horse"; "maxF", "MAE", ... 0..1
    printed: float | None = None
    backbone: str = "resnet101"  # at paper scale; the scales below have one encoder (R25)
    data: Data = "voc"
    eval_split: str | None = None  # None: whichever the run was measured on
    subset: str | None = None  # of the evaluation images, see `segmix_core.subsets`
    perturbation: str | None = None
    output: Literal["dominant", "final"] | None = None  # None: what the method's declaration reports (R12)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the paper: what it shows, and whose predictions or curves are in it."""

    shows: str
    experiments: tuple[Experiment, ...]
    rows: tuple[Row, ...] = ()  # what can be measured; the paper prints no number in any figure


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A number that the paper prints about VOC's label maps, and what has to be counted to check it."""

    where: str
    split: str
    kind: Literal["exactly", "together", "number"]  # these categories alone; among others; so many of them
    categories: tuple[str, ...] = ()
    number: int = 0
    printed: int


ENCODERS = {"resnet50": "ResNet-50", "resnet101": "ResNet-101"}
"""The blocks of a table that the paper printed for both."""

COMPANIONS = ("horse", "motorbike", "bicycle", "bottle", "car")
"""The five categories of Table 5."""

THRESHOLDS = (50, 40, 30, 20, 10)
"""Of Fig. 5."""

PRINTED_IMAGES: dict[str, int] = {
    "occlusion/any": 1128, "occlusion/all": 538,
    "objects/1": 695, "objects/2": 318, "objects/3": 167, "objects/4": 99,
    "unique/2": 375, "unique/3": 121, "unique/4": 23,
    **{f"with-person/{thing}": n for thing, n in zip(COMPANIONS, (32, 34, 30, 20, 45), strict=True)},
    **{f"alone/{thing}": n for thing, n in zip(COMPANIONS, (44, 23, 29, 35, 45), strict=True)},
}  # fmt: skip
"""How many val images the paper says each subset of Tables 4 and 5 has."""


def _facts() -> tuple[Fact, ...]:
    exactly = [
        Fact(
            where=f"Table 5, {'co-occur' if company else 'exclusive'}",
            split="val",
            kind="exactly",
            categories=(*company, thing),
            printed=PRINTED_IMAGES[f"{subset}/{thing}"],
        )
        for subset, company in (("with-person", ("person",)), ("alone", ()))
        for thing in COMPANIONS
    ]
    unique = [
        Fact(
            where="Table 4, categories",
            split="val",
            kind="number",
            number=number,
            printed=PRINTED_IMAGES[f"unique/{number}"],
        )
        for number in (2, 3, 4)
    ]
    fig5 = Fact(
        where="text of Fig. 5", split="train_aug", kind="together", categories=("cat", "bottle"), printed=18
    )
    return (*exactly, *unique, fig5)


FACTS = _facts()
"""Printed counts that the committed label table can confirm or contradict."""

_NAMES = {
    "baseline": "DeepLabv3",
    "mixup": "DeepLabv3 + Mixup",
    "cutmix": "DeepLabv3 + CutMix",
    "sourcesep-cc": "DeepLabv3 + SourceSep-CC",
    "sourcesep-cm": "DeepLabv3 + SourceSep-CM",
}


def _lines(
    table: int, printed: Mapping[str, Sequence[float | None]], columns: Sequence[tuple[str, Row | None]]
) -> Iterator[Row]:
    """Rows of the methods of Table 1: a printed line for each, whose columns differ in how they are read."""
    for name, values in printed.items():
        for (column, like), value in zip(columns, values, strict=True):
            base = like or Row(table=table, row="", column="", experiment=METHODS[name])
            yield replace(
                base, table=table, row=_NAMES[name], column=column, experiment=METHODS[name], printed=value
            )


def _read(**how: object) -> Row:
    return Row(row="", column="", experiment=METHODS["baseline"], **how)  # type: ignore[arg-type]


def _table1() -> Iterator[Row]:
    columns = [(column, _read(backbone=backbone)) for backbone, column in ENCODERS.items()]
    values = {
        "baseline": (75.1, 77.1),
        "mixup": (73.6, 76.2),
        "cutmix": (75.1, 76.7),
        "sourcesep-cc": (75.7, 77.9),
        "sourcesep-cm": (76.2, 78.9),
    }
    rows = list(_lines(1, values, columns))
    return (row for column, _ in columns for row in rows if row.column == column)


def _table2() -> Iterator[Row]:
    values = {"baseline": 79.3, "mixup": 78.9, "cutmix": 80.2, "sourcesep-cc": 80.5, "sourcesep-cm": 81.1}
    return _lines(2, {name: (value,) for name, value in values.items()}, [("mIoU", _read(data="voc-test"))])


def _table3() -> Iterator[Row]:
    values = {"baseline": 51.1, "mixup": 47.0, "cutmix": 49.5, "sourcesep-cm": 53.2}
    return _lines(3, {name: (value,) for name, value in values.items()}, [("mIoU", _read(data="coco"))])


def _table4() -> Iterator[Row]:
    subsets = ("occlusion/any", "occlusion/all", *(f"objects/{n}" for n in (1, 2, 3, 4)),
               *(f"unique/{n}" for n in (2, 3, 4)))  # fmt: skip
    names = ("1-Occ", "All-Occ", "1-Obj", "2-Obj", "3-Obj", "4-Obj",
             "2 categories", "3 categories", "4 categories")  # fmt: skip
    values: dict[str, Sequence[float | None]] = {
        "baseline": (75.5, 74.9, 74.6, 74.8, 76.0, 70.0, 72.5, 63.5, 62.1),
        "mixup": (75.4, 72.3, 77.9, 74.3, 71.7, 68.3, 72.0, 58.1, 59.2),
        "cutmix": (76.4, 74.3, 78.3, 75.4, 73.0, 70.0, 72.3, 60.1, 59.6),
        "sourcesep-cc": (77.9, 76.1, 80.7, 77.2, 75.6, 70.0, 74.0, 61.5, 62.0),
        "sourcesep-cm": (78.7, 76.1, 80.7, 77.2, 77.9, 72.1, 75.4, 65.6, 63.6),
    }
    columns = [(name, _read(subset=subset)) for name, subset in zip(names, subsets, strict=True)]
    return _lines(4, values, columns)


def _table5() -> Iterator[Row]:
    """The metric is the IoU of X over the subset; beside it the mean over background, person and X (R21)."""
    columns = [
        (f"{heading}: {thing}", _read(subset=f"{subset}/{thing}", metric=f"IoU {thing}"))
        for heading, subset in (("co-occur with person", "with-person"), ("exclusive", "alone"))
        for thing in COMPANIONS
    ]
    values: dict[str, Sequence[float | None]] = {
        "baseline": (87.9, 81.6, 77.7, 89.7, 89.7, 90.9, 91.5, 60.4, 85.4, 96.0),
        "mixup": (86.9, 82.8, 76.5, 87.6, 86.2, 92.5, 93.0, 60.0, 80.6, 95.5),
        "cutmix": (86.2, 83.6, 76.0, 87.4, 87.9, 94.1, 93.8, 61.3, 82.6, 96.2),
        "sourcesep-cc": (89.1, 87.2, 78.5, 86.9, 89.0, 94.0, 93.8, 61.5, 87.9, 96.4),
        "sourcesep-cm": (89.9, 86.7, 79.3, 88.5, 89.2, 93.6, 95.1, 60.2, 88.2, 96.6),
    }
    beside = [
        (
            f"{column}, mean with background and person",
            replace(of, metric=f"mIoU background, person, {thing}"),
        )
        for (column, of), thing in zip(columns, 2 * COMPANIONS, strict=True)
    ]
    return chain(_lines(5, values, columns), _lines(5, dict.fromkeys(values, [None] * len(beside)), beside))


def _table6() -> Iterator[Row]:
    perturbations = {
        "clean": None,
        "UAP, ResNet": "uap-resnet152",
        "UAP, GoogLeNet": "uap-googlenet",
        "GD-UAP, no data": "gd-uap-none",
        "GD-UAP, all data": "gd-uap-data",
        "GD-UAP, part of the data": "gd-uap-part",
    }
    values: dict[str, Sequence[float | None]] = {
        "baseline": (75.9, 59.1, 63.6, 66.7, 63.9, 64.0),
        "mixup": (75.2, 62.9, 63.2, 65.3, 63.2, 63.6),
        "cutmix": (76.2, 60.9, 64.3, 64.2, 62.5, 62.2),
        "sourcesep-cc": (77.9, 69.1, 70.2, 68.2, 67.0, 67.2),
        "sourcesep-cm": (78.9, 63.2, 67.1, 67.2, 65.0, 64.9),
    }
    return _lines(6, values, [(name, _read(perturbation=what)) for name, what in perturbations.items()])


def _table7() -> Iterator[Row]:
    """Beside it the other conventions: F-beta of mean precision and recall, MAE without stretching."""
    values: dict[str, Sequence[float | None]] = {
        "baseline": (0.906, 0.045, None, None),
        "mixup": (0.893, 0.057, None, None),
        "cutmix": (0.903, 0.050, None, None),
        "sourcesep-cm": (0.909, 0.043, None, None),
    }
    metrics = {
        "max F-beta": "maxF",
        "MAE": "MAE",
        "max F-beta of means": "maxF_of_means",
        "MAE, unscaled": "MAE_unscaled",
    }
    columns = [
        (name, _read(data="ecssd", backbone="resnet50", metric=metric)) for name, metric in metrics.items()
    ]
    return _lines(7, values, columns)


_Printed = tuple[float | None, float | None]  # with ResNet-50 and with ResNet-101
_Line = tuple[str, Experiment, _Printed]
_OPEN: _Printed = (None, None)


def _variation(table: int, name: str, method: Method) -> Experiment:
    return Experiment(name=f"table{table}/{name}", method=method)


def _ablation(table: int, lines: Sequence[_Line], blocks: Sequence[str] = tuple(ENCODERS)) -> Iterator[Row]:
    """Rows of an ablation, block by block; a line with nothing printed is one that the paper leaves open."""
    for block in blocks:
        for name, experiment, printed in lines:
            yield Row(
                table=table,
                row=name,
                column=ENCODERS[block],
                experiment=experiment,
                printed=printed[list(ENCODERS).index(block)],
                backbone=block,
            )


def _without_dn(method: Method) -> Method:
    return replace(method, finetune="none")


_STAGE1 = "DeepLabv3 (stage 1)"
_BASELINE_STAGE1 = _variation(9, "baseline-stage1", _without_dn(METHODS["baseline"].method))
"""Beside rows that end after stage 1, so that no method of a table trains longer than another."""


def _continued(name: str) -> Experiment:
    """Stage 1 for as many more steps as the denoising stage takes (R24)."""
    longer = replace(METHODS[name].method, finetune="mixed")
    return _variation(8, f"{name}-mixed", longer)


def _table8() -> Iterator[Row]:
    """R24: stage 1 alone, stage 1 continued on mixed data for as many steps, and denoising.

    Without denoising S_ss is read, with it S_t (R12); S_t before denoising tells the two changes apart.
    """
    lines: list[_Line] = [("DeepLabv3", METHODS["baseline"], (75.9, 77.1))]
    printed: dict[str, tuple[_Printed, _Printed]] = {
        "cc": ((75.4, 76.4), (75.7, 77.9)),
        "cm": ((76.1, 78.3), (76.2, 78.9)),
    }
    for short, (without, with_dn) in printed.items():
        full = METHODS[f"sourcesep-{short}"]
        stage1 = _variation(8, f"{full.name}-without-dn", _without_dn(full.method))
        name = f"SourceSep-{short.upper()}"
        lines += [
            (f"{name} (w/o DN)", stage1, without),
            (f"{name} (w/o DN, stage 1 continued)", _continued(full.name), _OPEN),
            (f"{name} (w/ DN)", full, with_dn),
        ]
    off = _variation(8, "sourcesep-cm-without-ppa", replace(SOURCESEP_CM, ppa="off"))
    eps = _variation(8, "sourcesep-cm-log-eps", replace(SOURCESEP_CM, ppa="log_eps"))
    lines += [
        ("SourceSep-CM (w/ DN, without l_PPA)", off, _OPEN),
        ("SourceSep-CM (w/ DN, log(eps + s))", eps, _OPEN),
    ]
    for row in _ablation(8, lines):
        yield row
        if row.row.endswith("(w/o DN)"):
            yield replace(row, row=row.row.replace("w/o DN", "w/o DN, S_t"), printed=None, output="dominant")


def _table9() -> Iterator[Row]:
    lines: list[_Line] = [(_STAGE1, _BASELINE_STAGE1, (None, 77.1))]
    for short, without, with_ssh in (("cc", 76.1, 76.4), ("cm", 77.9, 78.3)):
        full = METHODS[f"sourcesep-{short}"]
        method = _without_dn(full.method)
        no_ssh = _variation(9, f"{full.name}-without-ssh", replace(method, head="no_ssh"))
        name = f"SourceSep-{short.upper()}"
        lines += [
            (f"{name} (w/o SSH)", no_ssh, (None, without)),
            (f"{name} (w/ SSH)", _variation(9, f"{full.name}-with-ssh", method), (None, with_ssh)),
        ]
    shared = _variation(9, "sourcesep-cm-shared-aspp", replace(SOURCESEP_CM, shared_aspp=True))
    relu = _variation(9, "sourcesep-cm-relu-ssh", replace(_without_dn(SOURCESEP_CM), head="full_relu"))
    lines += [
        ("SourceSep-CM (w/ SSH, w/ DN)", METHODS["sourcesep-cm"], _OPEN),
        ("SourceSep-CM (shared ASPP, w/ DN)", shared, _OPEN),
        ("SourceSep-CM (w/ SSH, ReLU on its logits)", relu, _OPEN),
    ]
    yield from _ablation(9, lines, ("resnet101",))
    yield Row(
        table=9,
        row="SourceSep-CM (S_ss after stage 2)",
        column="ResNet-101",
        experiment=METHODS["sourcesep-cm"],
        output="final",
    )


_PAIRINGS: dict[Pairing, str] = {
    "random": "at random",
    "average": "by the average score",
    "proportional": "in proportion to the score",
    "assignment": "one to one",
    "memory": "one to one, with a memory",
}


def _table10() -> Iterator[Row]:
    """R23: "+ Co-occurrence" changes Mixup's pairing alone; CM's delta and cap make a row of its own."""
    paired = replace(MIXUP, pairing="cooccurrence")
    capped = replace(paired, delta=SOURCESEP_CM.delta, cap=SOURCESEP_CM.cap)
    separated = _without_dn(SOURCESEP_CM)
    lines: list[_Line] = [
        ("DeepLabv3", METHODS["baseline"], (75.1, 77.1)),
        ("+ Mixup", METHODS["mixup"], (73.6, 76.2)),
        ("+ Mixup + Co-occurrence", _variation(10, "mixup+cooccurrence", paired), (74.2, 77.2)),
        (
            "+ Mixup + Co-occurrence, delta and cap of CM",
            _variation(10, "mixup+cooccurrence+cap", capped),
            _OPEN,
        ),
        (
            "+ Mixup + Co-occurrence + SourceSep",
            _variation(10, "mixup+cooccurrence+sourcesep", separated),
            (76.1, 78.3),
        ),
        ("+ Mixup + Co-occurrence + SourceSep, stage 1 continued", _continued("sourcesep-cm"), _OPEN),
        ("+ Mixup + Co-occurrence + SourceSep + DN", METHODS["sourcesep-cm"], (76.2, 78.9)),
    ]
    for pairing, how in _PAIRINGS.items():
        method = replace(SOURCESEP_CM, pairing=pairing)
        lines.append((f"SourceSep-CM, paired {how}", _variation(10, f"sourcesep-{pairing}", method), _OPEN))
    return _ablation(10, lines)


def _table11() -> Iterator[Row]:
    """No denoising stage here; "max = m" refuses to blend beyond m categories (R4)."""
    plain = _without_dn(SOURCESEP_CM)
    variations: list[tuple[str, str, Method, _Printed]] = [
        ("max = 2", "max2", replace(plain, cap=Cap(gamma=2, beyond="refuse")), (75.9, 77.2)),
        ("max = 3", "max3", replace(plain, cap=Cap(gamma=3, beyond="refuse")), (76.1, 77.6)),
        ("max = 4", "max4", replace(plain, cap=Cap(gamma=4, beyond="refuse")), (75.6, 77.7)),
        ("max = inf", "uncapped", replace(plain, cap=None), (76.1, 77.0)),
        ("max = inf, delta 0.9 beyond 3", "delta-capped", plain, (76.1, 78.3)),
        ("the same, union of categories", "union", replace(plain, cap=Cap(count="union")), _OPEN),
        ("the same, one delta a batch, 0.9 stays (R1)", "literal-delta", _literal(plain), _OPEN),
    ]
    lines: list[_Line] = [(_STAGE1, _BASELINE_STAGE1, (75.1, 77.1))]
    lines += [
        (f"SourceSep-CM ({row})", _variation(11, name, method), printed)
        for row, name, method, printed in variations
    ]
    return _ablation(11, lines)


def _literal(method: Method) -> Method:
    assert method.delta is not None
    return replace(method, delta=replace(method.delta, literal=True))


TABLES: dict[int, tuple[Row, ...]] = {
    number: tuple(rows())
    for number, rows in enumerate(
        (_table1, _table2, _table3, _table4, _table5, _table6, _table7, _table8, _table9, _table10, _table11),
        start=1,
    )
}
"""Tables by their number in the paper. A row without a printed value is one that the paper leaves open."""

MOST_TELLING = (1, 10, 8, 9, 11, 4, 5, 6, 7, 3, 2)
"""The order in which tables are run where time may not suffice."""

_ALL = tuple(METHODS.values())


def _figure4() -> Iterator[Row]:
    """The paper's images have no labels; generated scenes have."""
    for name, experiment in METHODS.items():
        for split, column in (("outofcontext", "out of context"), ("ordinary", "ordinary company")):
            yield Row(
                figure=4,
                row=_NAMES[name],
                column=column,
                experiment=experiment,
                data="context",
                eval_split=split,
            )


def _figure5() -> Iterator[Row]:
    for name, experiment in METHODS.items():
        for threshold in THRESHOLDS:
            column = f"fewer than {threshold}"
            subset = f"rare/{threshold}"
            yield Row(figure=5, row=_NAMES[name], column=column, experiment=experiment, subset=subset)


FIGURES: dict[int, Figure] = {
    1: Figure(shows="both ways of blending, and what the methods predict", experiments=_ALL),
    2: Figure(shows="the two stages of training", experiments=(METHODS["sourcesep-cm"],)),
    3: Figure(shows="predictions on evaluation images with occlusion", experiments=_ALL),
    4: Figure(shows="predictions on images out of context", experiments=_ALL, rows=tuple(_figure4())),
    5: Figure(shows="mIoU by how rarely the categories meet", experiments=_ALL, rows=tuple(_figure5())),
    6: Figure(shows="predictions before and under a universal perturbation", experiments=_ALL),
    7: Figure(shows="the two most occluded evaluation images", experiments=_ALL),
}
"""Figures by their number in the paper."""


def row_groups() -> dict[str, tuple[Row, ...]]:
    """The rows of each of "table8", "figure5" ..., and of all "tables" or "figures", most telling first."""
    groups = {f"table{number}": TABLES[number] for number in MOST_TELLING}
    groups |= {f"figure{number}": figure.rows for number, figure in FIGURES.items()}
    for every in ("table", "figure"):
        groups[f"{every}s"] = tuple(
            row for group, rows in groups.items() if group.startswith(every) for row in rows
        )
    return groups


def find_rows(name: str) -> tuple[Row, ...]:
    """The rows of a group of `row_groups`.

    Raises:
        InputError: no such table or figure.
    """
    groups = row_groups()
    if name not in groups:
        raise nearest("table or figure", name, sorted(groups))
    return groups[name]


def rows_to_measure(name: str) -> tuple[Row, ...]:
    """The rows of a group of which there are any.

    Raises:
        InputError: no such table or figure, or a figure that is drawn alone.
    """
    rows = find_rows(name)
    if not rows:
        number = name.removeprefix("figure")
        raise InputError(
            name, "has no rows: nothing in it is measured", f"draw it: 'segmix figure {number} --out FILE'"
        )
    return rows
