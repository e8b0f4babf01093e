"""Tables that set the printed value of a row beside what was measured here, at which scale and how often."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from segmix_core import results
from segmix_core.errors import InputError
from segmix_core.experiments import (
    MEASURED_ON,
    METHODS,
    TABLES,
    Experiment,
    Method,
    Row,
    find_rows,
    nearest,
    rows_to_measure,
)
from segmix_core.experiments.paper import ENCODERS
from segmix_core.metrics import ImageConfusions, aacc, load_confusions, miou
from segmix_core.report.statistics import (
    IMAGES_NEEDED,
    Term,
    interval,
    paired_bootstrap,
    paired_difference,
    verdict,
)
from segmix_core.rng import stream

Rows = list[dict[str, Any]]
Counted = tuple[float, dict[str, Any]]
"""A value, and the row it stands in."""

PAPER = "paper"
"""The scale at which a table's blocks of encoders are measured apart."""


@lru_cache(maxsize=64)
def confusions_of(path: str) -> ImageConfusions:
    """The matrices beside a row, each file read once."""
    return load_confusions(Path(path))


def _matrices_of(row: dict[str, Any]) -> ImageConfusions:
    """The matrices beside a row, those of its own stage and output among them."""
    found = confusions_of(row["per_image"])
    if f"stage{row['stage']} {row['output']}" not in found.matrices:
        what = f"holds no matrices of stage {row['stage']}, {row['output']}"
        raise InputError(row["per_image"], what, "restore it, or take its rows out of the results")
    return found


def _numbers_of(names: Sequence[str] | None, row: dict[str, Any]) -> list[int] | None:
    """The places of categories in the matrices beside a row; None is all."""
    known = confusions_of(row["per_image"]).categories
    for name in names or ():
        if name not in known:
            raise nearest(f"category of {row['per_image']}", name, known)
    return [known.index(name) for name in names] if names else None


def value_of(row: dict[str, Any], metric: str = "mIoU", subset: str | None = None) -> float | None:
    """A metric of a result row, on all its images or on a subset of them; None where it was not measured.

    The mIoU of a subset is the mean over the categories with a pixel in its labels or predictions (R22).

    Args:
        metric: as of `Row`, or "aAcc"; percent where matrices tell it, and a subset has no other.
    """
    named = named_in(metric)
    if subset is None:
        metrics = row["metrics"]
        if not named:
            return None if metrics.get(metric) is None else float(metrics[metric])
        per_category = metrics.get("iou_per_category", {})
        present = [per_category[name] for name in named if per_category.get(name) is not None]
        return float(np.mean(present)) if present else None
    if row["per_image"] is None or not (named or metric in ("mIoU", "aAcc")):
        return None
    confusions = _matrices_of(row)
    if subset not in confusions.subsets or not confusions.subsets[subset].any():
        return None
    matrix_NN = confusions.total(row["stage"], row["output"], subset)
    if metric == "aAcc":
        found = aacc(matrix_NN)
    else:
        found = miou(matrix_NN, _numbers_of(named or row["mean_over"], row))
    return None if np.isnan(found) else 100 * float(found)


def named_in(metric: str) -> list[str]:
    """The categories that "IoU horse" or "mIoU background, person, horse" names; none in "mIoU" or "maxF"."""
    return metric.partition("IoU ")[2].split(", ") if "IoU " in metric else []


def term_of(rows: Rows, *, weight: float = 1.0, metric: str = "mIoU", subset: str | None = None) -> Term:
    """A term of `paired_bootstrap`.

    Args:
        rows: one for each seed, with matrices beside them.
        metric: an IoU or a mean of them, as of `Row`.
    """
    confusions = [_matrices_of(row) for row in rows]
    return Term(
        weight=weight,
        matrices=[of.of(row["stage"], row["output"]) for of, row in zip(confusions, rows, strict=True)],
        counted_n=None if subset is None else confusions[0].subsets[subset],
        categories=_numbers_of(named_in(metric) or rows[0]["mean_over"], rows[0]),
    )


def reading(
    rows: Rows, experiment: Experiment, *, output: str | None = None, perturbation: str | None = None
) -> Rows:
    """The rows in which an experiment's network was measured, at the output that it declares.

    A method without fine-tuning is read after stage 1 of any run that shares its stage 1.

    Args:
        perturbation: see `condition_name`; None reads what was measured on the images as they are.
    """
    wanted = output or experiment.method.output()
    stages: dict[str, int | None] = {}  # by method: thousands of rows are of a few dozen

    def stage_of(row: dict[str, Any]) -> int | None:
        digest = row["method_digest"]
        if digest not in stages:
            stages[digest] = experiment.method.stage_of(Method.stored(row["method"]))
        return stages[digest]

    return [
        row
        for row in rows
        if row["output"] == wanted and condition_name(row) == perturbation and row["stage"] == stage_of(row)
    ]


def condition_name(row: dict[str, Any]) -> str | None:
    """What was done to the images of a row: "<attack>", "<attack>, <control>", "<corruption>", or None.

    A universal perturbation that was fitted in another way than by resizing says so: "<attack>, tile".
    """
    condition = row["condition"]
    if condition is None:
        return None
    fit = condition["how"] if condition["kind"] == "universal" and condition["how"] != "resize" else None
    return ", ".join(part for part in (condition["name"], condition["control"], fit) if part is not None)


def measured(
    rows: Rows,
    experiment: Experiment,
    *,
    metric: str = "mIoU",
    subset: str | None = None,
    output: str | None = None,
    among: tuple[str, ...] | None = None,
    eval_split: str | None = None,
    perturbation: str | None = None,
    backbone: str | None = None,
) -> list[dict[str, Any]]:
    """The measurements of an experiment, one entry for each setting that may not be averaged across.

    Args:
        among: only these evaluation sets.
        backbone: at paper scale, only networks with this encoder; the scales below have one (R25).
        perturbation: see `condition_name`; one that was crafted several times is read as `of_one_making`.
    """
    rows = rows if perturbation is None else of_one_making(rows)
    groups: dict[tuple[str, ...], Rows] = defaultdict(list)
    for row in reading(rows, experiment, output=output, perturbation=perturbation):
        if among is not None and row["eval_dataset"] not in among:
            continue
        if eval_split is not None and row["eval_split"] != eval_split:
            continue
        if backbone is not None and row["scale"] == PAPER and row["backbone"] != backbone:
            continue
        groups[setting(row)].append(row)
    counted = (counting(group, metric, subset) for group in groups.values())
    return [_summary(group, metric, subset) for group in counted if group]


def counting(rows: Rows, metric: str = "mIoU", subset: str | None = None) -> dict[int, Counted]:
    """By seed the value that counts of the rows of one reading, and the row it stands in.

    Two runs may share a stage 1: its first measurement counts. Of what was attacked again the last does.
    """
    found: dict[int, Counted] = {}
    for row in rows:
        value = value_of(row, metric, subset)
        if value is not None and (row["condition"] is not None or row["seed"] not in found):
            found[row["seed"]] = value, row
    return found


def compared(
    rows: Rows,
    first: Experiment,
    second: Experiment,
    where: str,
    *,
    outputs: tuple[str | None, str | None] = (None, None),
) -> str:
    """The `verdict` on the mIoU of one experiment minus another's: the rule of claims, on one difference.

    By seeds, by the bootstrap over images where their matrices are at hand, and on enough images.

    Args:
        where: the setting, as entries of `measured` name it.
        outputs: at which each is read; None is the one it declares.
    """
    found = [
        counting([row for row in reading(rows, one, output=output) if _digest_of(setting(row)) == where])
        for one, output in zip((first, second), outputs, strict=True)
    ]
    difference = paired_difference(*({seed: value for seed, (value, _) in of.items()} for of in found))
    shared = sorted(found[0].keys() & found[1].keys())
    chosen = [[of[seed][1] for seed in shared] for of in found]
    if any(row["eval_images"] < IMAGES_NEEDED for of in chosen for row in of):
        return "undecided"
    if verdict(difference) == "undecided" or any(row["per_image"] is None for of in chosen for row in of):
        return verdict(difference)
    terms = [term_of(of, weight=weight) for weight, of in zip((1.0, -1.0), chosen, strict=True)]
    return verdict(difference, resampled(terms))


def resampled(terms: Sequence[Term]) -> tuple[float, float]:
    """The interval of `paired_bootstrap`, with the same draws for all: a difference has one interval."""
    _, low, high = paired_bootstrap(terms, rng=stream(0, "bootstrap"), draws=1000)
    return low, high


def start_of(row: dict[str, Any]) -> str:
    """What the encoder of a row started from: "random", or the name of its weights."""
    return "random" if row["weights"] is None else str(row["weights"].get("name"))


def _weights_of(row: dict[str, Any]) -> str:
    """The same, told apart by content: files of one name need not be one file."""
    return start_of(row) if row["weights"] is None else f"{start_of(row)} {row['weights'].get('sha256')}"


def trained_in(row: dict[str, Any]) -> tuple[str, ...]:
    """What networks that are compared must share: everything but the images they are measured on."""
    names = ("scale", "scale_digest", "dataset", "dataset_digest", "mean_over", "precision")
    return (*(str(row[name]) for name in names), _weights_of(row))


def setting_names(firsts: Rows) -> list[str]:
    """A name for each setting, "voc2012, mini", from one of its rows; the start too where that is shared."""
    return told_apart(
        [
            (
                f"{row['dataset']}, {row['scale']}",
                f"from {start_of(row)} weights" if row["weights"] is None else f"from {start_of(row)}",
                f"{row['precision']}, mean over {len(row['mean_over'] or ()) or 'all'} categories",
                f"scale {row['scale_digest'][:4]}, data {row['dataset_digest'][:4]}",
                "" if row["weights"] is None else f"weights {str(row['weights'].get('sha256'))[:4]}",
            )
            for row in firsts
        ]
    )


def scale_in(name: str) -> str:
    """The scale that a name of `setting_names` says."""
    return name.split(", ")[1]


def told_apart(parts: Sequence[tuple[str, ...]]) -> list[str]:
    """Each in as few of its parts, from the first on, as tell it from the others; at last by a number."""
    names = []
    for place, of in enumerate(parts):
        lengths = range(1, len(of) + 1)
        alone = (length for length in lengths if [one[:length] for one in parts].count(of[:length]) == 1)
        length = next(alone, None)
        number = "" if length else f" ({parts[: place + 1].count(of)})"
        names.append(", ".join(of[:length]) + number)
    return names


def pixels_of(row: dict[str, Any]) -> str:
    """Which perturbation a row is about, by digest: one that was crafted anew is another.

    Those that are crafted on each method differ by seed on purpose, and are told apart by name alone.
    """
    condition = row["condition"]
    return "" if " on " in condition["name"] else str(condition["making"].get("sha256", ""))


def of_one_making(rows: Rows) -> Rows:
    """Rows without those of a universal perturbation's other makings, where it was crafted several times.

    In each setting and of each seed those pixels count that most methods were shown; of equals the last. So
    methods are compared on the same pixels with every seed; a mean over seeds may be over several makings.
    """
    attacked = [row for row in rows if row["condition"] and row["condition"]["kind"] == "universal"]
    made = [
        (trained_in(row), row["seed"], row["condition"]["name"], row["condition"]["epsilon"], pixels_of(row))
        for row in attacked
    ]
    shown = dict.fromkeys((of, row["experiment"]) for of, row in zip(made, attacked, strict=True))
    chosen: dict[tuple[Any, ...], str] = {}
    for (*name, pixels), _ in Counter(of for of, _ in reversed(shown)).most_common():
        chosen.setdefault(tuple(name), pixels)
    others = {
        id(row) for row, (*name, pixels) in zip(attacked, made, strict=True) if chosen[tuple(name)] != pixels
    }
    return [row for row in rows if id(row) not in others]


def setting(row: dict[str, Any]) -> tuple[str, ...]:
    """What must be equal for two rows to be compared: scale, data, start, protocol, precision."""
    names = ("scale", "scale_digest", "dataset", "dataset_digest", "eval_dataset", "eval_digest",
             "protocol", "crop", "mean_over", "precision")  # fmt: skip
    condition = row["condition"] or {}
    how = (str(condition.get(name)) for name in ("epsilon", "severity", "aim", "access", "how", "valid"))
    return (*(str(row[name]) for name in names), _weights_of(row), *how)


def _summary(group: dict[int, Counted], metric: str, subset: str | None) -> dict[str, Any]:
    by_seed = {seed: value for seed, (value, _) in sorted(group.items())}
    rows = [row for _, row in group.values()]
    mean, half = interval(list(by_seed.values()))
    first = rows[0]
    images = first["eval_images"]
    if subset is not None:
        images = int(confusions_of(first["per_image"]).subsets[subset].sum())
    digits = 2 if "IoU" in metric else 4
    return {
        "setting": _digest_of(setting(first)),
        "scale": first["scale"],
        "dataset": first["eval_dataset"],
        "trained_on": first["dataset"],
        "split": first["eval_split"],
        "subset": subset,
        "mean_over": first["mean_over"],
        "condition": _without_making(first["condition"]),
        "weights": start_of(first),
        "backbone": first["backbone"],
        "protocol": first["protocol"] if first["crop"] is None else f"{first['protocol']} {first['crop']}",
        "output": first["output"],
        "stage": first["stage"],
        "metric": metric,
        "value": round(mean, digits),
        "half_width_95": None if half is None else round(half, digits),
        "by_seed": {str(seed): round(value, 4) for seed, value in by_seed.items()},
        "seeds": sorted(by_seed),
        "images": images,
        "steps": first["steps"],
        "devices": sorted({row["device"] for row in rows}),
        "commits": sorted({row["commit"] for row in rows}),
    }


def _digest_of(words: tuple[str, ...]) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()[:12]


def _without_making(condition: dict[str, Any] | None) -> dict[str, Any] | None:
    return condition and {name: value for name, value in condition.items() if name != "making"}


def experiments_table(table: int | None = None, where: Path = results.RESULTS) -> Rows:
    """Every declared row of one table or of all, with what was measured.

    `measured` holds, by scale and then by data set and start of the encoder, what `measured` returns.

    Args:
        where: folder of results files, or one of them.

    Raises:
        InputError: no such table, or a results file is broken.
    """
    if table is not None and table not in TABLES:
        raise nearest("table", str(table), [str(number) for number in TABLES])
    rows = results.read_all(where)
    declared = [row for number in ([table] if table else TABLES) for row in TABLES[number]]
    return [_declared(row, rows) for row in declared]


def _declared(row: Row, rows: Rows) -> dict[str, Any]:
    by_scale: dict[str, dict[str, Any]] = defaultdict(dict)
    found = measured(
        rows,
        row.experiment,
        metric=row.metric,
        subset=row.subset,
        output=row.output,
        among=MEASURED_ON[row.data],
        eval_split=row.eval_split,
        perturbation=row.perturbation,
        backbone=row.backbone,
    )
    for entry in found:
        entries = by_scale[entry["scale"]]
        name = f"{entry['dataset']}, {entry['weights']}"
        entries[name if name not in entries else f"{name}, {len(entries) + 1}"] = entry
    return {
        **({"figure": row.figure} if row.table is None else {"table": row.table}),
        "row": row.row,
        "column": row.column,
        "experiment": row.experiment.name,
        "metric": row.metric,
        "subset": row.subset,
        "perturbation": row.perturbation,
        "printed": row.printed,
        "measured": dict(by_scale),
    }


def report_rows(
    name: str, *, scale: str | None = None, dataset: str | None = None, where: Path = results.RESULTS
) -> Rows:
    """Printed beside measured for "table4", "figure5", "tables" ...; optionally at one scale or data set.

    Args:
        dataset: that the networks were trained or measured on.
        where: folder of results files, or one of them.

    Raises:
        InputError: no such table or figure, one without rows, or a results file is broken.
    """
    stored = results.read_all(where)
    rows = [_declared(row, stored) for row in rows_to_measure(name)]
    for row in rows:
        row["measured"] = {
            at: kept
            for at, found in row["measured"].items()
            if scale in (None, at)
            and (
                kept := {
                    key: entry
                    for key, entry in found.items()
                    if dataset in (None, entry["dataset"], entry["trained_on"])
                }
            )
        }
    return rows


def collapsed(rows: Rows) -> Rows:
    """A report to be read: blocks of encoders as one line, below paper scale, where there is one (R25).

    The line names both blocks and both printed values; what was measured at paper scale keeps its block's.
    """
    blocks: dict[tuple[Any, ...], Rows] = defaultdict(list)
    for row in rows:
        where = None if row["column"] in ENCODERS.values() else row["column"]
        parts = ("experiment", "row", "metric", "subset", "perturbation")
        blocks[(row.get("table"), row.get("figure"), where, *(row[part] for part in parts))].append(row)
    shown: Rows = []
    for alike in blocks.values():
        if len(alike) == 1:
            shown += alike
            continue
        apart = [
            row | {"measured": {PAPER: row["measured"][PAPER]}} for row in alike if PAPER in row["measured"]
        ]
        below = {at: found for at, found in alike[0]["measured"].items() if at != PAPER}
        printed = [str(row["printed"]) for row in alike if row["printed"] is not None]
        one = {
            "column": ", ".join(row["column"] for row in alike),
            "printed": ", ".join(printed) or None,
            "measured": below,
        }
        # Where nothing is measured below, the blocks that are not measured above stand for themselves.
        without = [row for row in alike if PAPER not in row["measured"]]
        shown += [*apart, alike[0] | one] if below or not apart else [*apart, *without]
    return shown


_COLUMNS = (
    *("row", "column", "metric", "printed", "measured"),
    *("scale", "data", "start", "steps", "seeds", "n", "device", "commit"),
)


def as_markdown(rows: Rows) -> str:
    """A report as Markdown tables: one for each table, one line for each printed row, column and setting."""
    tables: dict[str, Rows] = defaultdict(list)
    for row in collapsed(rows):
        title = f"Table {row['table']}" if "table" in row else f"Figure {row['figure']}"
        tables[title].append(row)
    lines = []
    for title, listed in tables.items():
        lines += [title, ""]
        lines += [
            f"| {' | '.join(_COLUMNS)} |",
            f"|{'---|' * len(_COLUMNS)}",
        ]
        for row in listed:
            printed = "" if row["printed"] is None else str(row["printed"])
            cells = [row["row"], row["column"], row["metric"], printed]
            entries = [entry for found in row["measured"].values() for entry in found.values()]
            lines += [f"| {' | '.join([*cells, *found])} |" for found in _measured_apart(entries)]
            if not entries:
                lines.append(f"| {' | '.join(cells)} | not measured |{' |' * (len(_COLUMNS) - 5)}")
        lines.append("")
    lines.append(
        "n: evaluation images. ±: half of the 95 % interval of the mean over seeds (Student's t). "
        "setting: what is said in the same words differs in digests, of data or weights; the later is below."
    )
    return "\n".join(lines)


def _measured_apart(entries: Rows) -> list[list[str]]:
    """The cells of each entry; of what is said in the same words, the data name the setting, too."""
    cells = [_measured_cells(entry) for entry in entries]
    words = [tuple(found[1:5]) for found in cells]  # scale, data, start, steps
    for entry, found, said in zip(entries, cells, words, strict=True):
        if words.count(said) > 1:
            found[2] += f", setting {entry['setting'][:4]}"
    return cells


def _measured_cells(entry: dict[str, Any]) -> list[str]:
    digits = 2 if "IoU" in entry["metric"] else 4
    spread = "" if entry["half_width_95"] is None else f" ± {entry['half_width_95']:.{digits}f}"
    over = "" if entry["mean_over"] is None else f", mean over {len(entry['mean_over'])} categories"
    return [
        f"{entry['value']:.{digits}f}{spread}",
        f"{entry['scale']}, {entry['backbone']}",
        f"{entry['dataset']} {entry['split']}{over}{_attacked(entry['condition'])}",
        entry["weights"],
        str(entry["steps"]),
        str(len(entry["seeds"])),
        str(entry["images"]),
        ", ".join(entry["devices"]),
        ", ".join(entry["commits"]),
    ]


def _attacked(condition: dict[str, Any] | None) -> str:
    if condition is None:
        return ""
    names = ("epsilon", "severity", "aim", "access")
    said = [f"{name} {condition[name]}" for name in names if condition[name] is not None]
    said += [condition["how"]] * bool(condition["how"]) + ["**a sanity check failed**"] * (
        not condition["valid"]
    )
    return "".join(f", {part}" for part in said)


def substitutions(folder: Path = results.RESULTS) -> dict[str, str]:
    """The numbers that prose may name, by key: never typed, always from rows.

    Keys are `<dataset>_<scale>_<experiment>` with "-" as "_", for the mean over seeds, and the same with
    `_seeds` for their number, `_images` for that of evaluation images, `_over` for that of the categories in
    the mean, `_protocol`; and, beside a baseline of the same setting, `_difference` (paired by seed, with its
    95 % interval) and `_verdict` (`compared`). Of a data set that is measured on two lists, in and out of
    context, the first part is `<dataset>_<list>`. Of several settings under one key that with most seeds
    counts.
    """
    rows = [row for row in results.read_all(folder) if row["condition"] is None]
    baseline = METHODS["baseline"]
    baselines = {entry["setting"]: entry["by_seed"] for entry in measured(rows, baseline)}
    values: dict[str, str] = {}
    for experiment in {row.experiment.name: row.experiment for row in find_rows("tables")}.values():
        by_key: dict[str, dict[str, Any]] = {}
        for entry in measured(rows, experiment):
            where = entry["dataset"]
            if where in MEASURED_ON["context"]:
                where += f"_{entry['split']}"
            key = f"{where}_{entry['scale']}_{experiment.name}"
            for sign in "-/+":
                key = key.replace(sign, "_")
            if key not in by_key or len(entry["seeds"]) > len(by_key[key]["seeds"]):
                by_key[key] = entry
        for key, entry in by_key.items():
            values[key] = f"{entry['value']:.1f}"
            values[f"{key}_seeds"] = str(len(entry["seeds"]))
            values[f"{key}_images"] = str(entry["images"])
            values[f"{key}_protocol"] = entry["protocol"]
            if entry["mean_over"] is not None:
                values[f"{key}_over"] = str(len(entry["mean_over"]))
            beside = paired_difference(entry["by_seed"], baselines.get(entry["setting"], {}))
            if beside is not None and experiment.name != "baseline":
                mean, half, _ = beside
                values[f"{key}_difference"] = f"{mean:+.2f}" + ("" if half is None else f" ± {half:.2f}")
                values[f"{key}_verdict"] = compared(rows, experiment, baseline, entry["setting"])
    return values
