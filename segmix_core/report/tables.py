"""Tables that set the printed value of a row beside what was measured here, at which scale and how often."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from scipy.special import stdtrit

from segmix_core import results
from segmix_core.experiments import TABLES, Row, nearest

Rows = list[dict[str, Any]]


def interval(values: list[float]) -> tuple[float, float | None]:
    """Mean and half-width of its 95 % interval over seeds (Student's t); None for a single seed."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    quantile = float(stdtrit(len(values) - 1, 0.975))
    return mean, quantile * statistics.stdev(values) / math.sqrt(len(values))


def paired_difference(
    first: dict[int, float], second: dict[int, float]
) -> tuple[float, float | None, int] | None:
    """Mean of first - second over the seeds both have, its 95 % half-width, and the number of seeds."""
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    mean, half = interval([first[seed] - second[seed] for seed in shared])
    return mean, half, len(shared)


def verdict(difference: tuple[float, float | None, int] | None) -> str:
    """What a paired difference allows to say: "higher", "lower" or "undecided"."""
    mean, half, pairs = difference or (0.0, None, 0)
    if half is None or pairs < 3 or abs(mean) <= half:
        return "undecided"
    return "higher" if mean > 0 else "lower"


def measured(rows: Rows, method_digest: str) -> list[dict[str, Any]]:
    """The reported measurements of a method, one entry for each setting that may not be averaged across."""
    groups: dict[tuple[str, ...], Rows] = defaultdict(list)
    for row in rows:
        if row["method_digest"] == method_digest and row["reported"]:
            groups[setting(row)].append(row)
    return [_summary(group) for group in groups.values()]


def setting(row: dict[str, Any]) -> tuple[str, ...]:
    """What must be equal for two rows to be compared: scale, data, start, protocol, precision."""
    weights = "random" if row["weights"] is None else str(row["weights"].get("name"))
    names = ("scale", "scale_digest", "dataset", "dataset_digest", "eval_digest", "protocol", "crop")
    return (*(str(row[name]) for name in (*names, "mean_over", "precision")), weights)


def _summary(group: Rows) -> dict[str, Any]:
    by_seed = {row["seed"]: row["metrics"]["mIoU"] for row in group}
    mean, half = interval(list(by_seed.values()))
    first = group[0]
    return {
        "scale": first["scale"],
        "dataset": first["dataset"],
        "mean_over": first["mean_over"],
        "weights": "random" if first["weights"] is None else first["weights"]["name"],
        "protocol": f"{first['protocol']} {first['crop']}",
        "output": first["output"],
        "mIoU": round(mean, 2),
        "half_width_95": None if half is None else round(half, 2),
        "by_seed": {str(seed): round(value, 2) for seed, value in sorted(by_seed.items())},
        "seeds": sorted(by_seed),
        "images": first["eval_images"],
        "steps": first["steps"],
        "devices": sorted({row["device"] for row in group}),
        "commits": sorted({row["commit"] for row in group}),
    }


def experiments_table(table: int | None = None, folder: Path = results.RESULTS) -> Rows:
    """Every declared row, of one table or of all, with its printed value and what was measured.

    `measured` holds, by scale and then by data set and start of the encoder, what `measured` returns.

    Raises:
        InputError: no such table, or a results file is broken.
    """
    if table is not None and table not in TABLES:
        raise nearest("table", str(table), [str(number) for number in TABLES])
    rows = results.read_all(folder)
    return [_declared(row, rows) for number in ([table] if table else TABLES) for row in TABLES[number]]


def _declared(row: Row, rows: Rows) -> dict[str, Any]:
    by_scale: dict[str, dict[str, Any]] = defaultdict(dict)
    for entry in measured(rows, row.experiment.digest()):
        found = by_scale[entry["scale"]]
        name = f"{entry['dataset']}, {entry['weights']}"
        found[name if name not in found else f"{name}, {len(found) + 1}"] = entry
    return {
        "table": row.table,
        "row": row.row,
        "column": row.column,
        "experiment": row.experiment.name,
        "metric": row.metric,
        "printed": row.printed,
        "measured": dict(by_scale),
    }


def table_report(
    table: int, *, scale: str | None = None, dataset: str | None = None, folder: Path = results.RESULTS
) -> Rows:
    """Printed beside measured, for one table; optionally only what was measured at one scale or data set."""
    rows = experiments_table(table, folder)
    for row in rows:
        row["measured"] = {
            at: {name: entry for name, entry in found.items() if dataset in (None, entry["dataset"])}
            for at, found in row["measured"].items()
            if scale in (None, at)
        }
    return rows


def as_markdown(rows: Rows) -> str:
    """A report as a Markdown table: one line for each printed value and setting.

    Below paper scale there is one encoder, so the printed columns of a method share one measured value (R25).
    """
    lines = [
        "| method | printed (%) | measured mIoU (%) | scale | data | start | seeds | n | device | commit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    methods: dict[str, Rows] = defaultdict(list)
    for row in rows:
        methods[row["row"]].append(row)
    for name, columns in methods.items():
        printed = ", ".join(f"{row['printed']} ({row['column']})" for row in columns)
        entries = [entry for found in columns[0]["measured"].values() for entry in found.values()]
        if not entries:
            lines.append(f"| {name} | {printed} | not measured | | | | | | | |")
        for entry in entries:
            spread = "" if entry["half_width_95"] is None else f" ± {entry['half_width_95']}"
            over = "" if entry["mean_over"] is None else f", mean over {len(entry['mean_over'])} categories"
            cells = [
                name,
                printed,
                f"{entry['mIoU']}{spread}",
                entry["scale"],
                f"{entry['dataset']}{over}",
                entry["weights"],
                str(len(entry["seeds"])),
                str(entry["images"]),
                ", ".join(entry["devices"]),
                ", ".join(entry["commits"]),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "n: evaluation images. ±: half of the 95 % interval of the mean over seeds (Student's t)."]
    return "\n".join(lines)


def substitutions(folder: Path = results.RESULTS) -> dict[str, str]:
    """The numbers that prose may name, by key: never typed, always from rows.

    Keys are `<dataset>_<scale>_<experiment>` with "-" as "_", for the mean over seeds, and the same with
    `_seeds` for their number.
    """
    rows = results.read_all(folder)
    values: dict[str, str] = {}
    for digest, experiment in {row["method_digest"]: row["experiment"] for row in rows}.items():
        for entry in measured(rows, digest):
            key = f"{entry['dataset']}_{entry['scale']}_{experiment}".replace("-", "_").replace("/", "_")
            values[key] = f"{entry['mIoU']:.1f}"
            values[f"{key}_seeds"] = str(len(entry["seeds"]))
    return values
