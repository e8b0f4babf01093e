"""Result rows: append-only JSON lines, each with everything needed to know what it is worth.

Beside a file of rows lies the folder `per_image`, with the confusion matrices of single images that they
were read off (`segmix_core.metrics`).
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segmix_core.errors import InputError
from segmix_core.experiments.factors import Method
from segmix_core.files import check_writable, parse_json, replacing

SCHEMA = 3
_BEGINNING = b'{"'

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "data" / "results"
PER_IMAGE = "per_image"

FIELDS: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "experiment": str,  # the declared name
    "method": dict,  # its factors
    "method_digest": str,
    "scale": str,
    "scale_digest": str,
    "backbone": str,
    "dataset": str,
    "dataset_digest": str,  # of the images trained on
    "split": str,
    "images": int,
    "eval_dataset": str,
    "eval_split": str,
    "eval_images": int,
    "eval_digest": str,
    "seed": int,
    "stage": int,  # the network after stage 1 or after stage 2
    "output": str,  # "dominant" (S_t) or "final" (S_ss); of blends also "phantom" (S_p)
    "reported": bool,  # whether the declaration names this stage and output as the method's result
    "protocol": str,
    "crop": (int, type(None)),
    "mean_over": (list, type(None)),  # categories the mean is restricted to
    "condition": (dict, type(None)),  # what was done to the images, see `CONDITION`; null: nothing
    "metrics": dict,  # percent; of salient objects, F and MAE in 0..1; of blends also nats
    "per_image": (str, type(None)),  # an .npz file of confusion matrices; in memory its whole path
    "steps": int,
    "group": int,  # images among which Algorithm 2 looks for partners (R7)
    "weights": (dict, type(None)),  # where the encoder started: null means random
    "device": str,
    "precision": str,
    "torch": str,
    "version": str,
    "commit": str,
    "seconds": (int, float),
}
"""What a row holds. Missing or misplaced fields are refused when a row is written and when it is read."""


CONDITION: dict[str, type | tuple[type, ...]] = {
    "kind": str,  # "universal", "adaptive", "corruption" or "blend"
    "name": str,  # "uap-resnet152", "gd-uap-data", "uap on sourcesep-cm", "sea", "fog", "delta 0.9", ...
    "control": (str, type(None)),  # the noise in place of a universal perturbation; null: the thing itself
    "epsilon": (int, float, type(None)),  # of an attack, largest size on the 0..255 scale
    "severity": (int, type(None)),  # of a corruption, 1..5; 0: the same images as they are
    "aim": (str, type(None)),  # of an adaptive attack: what it raises the loss of, or "worst" of several
    "access": (str, type(None)),  # of an attack: made on this network ("white-box"), or "transfer"
    "how": str,  # how a perturbation was fitted to the image, or how an attack went, in words
    "valid": bool,  # false: a sanity check failed
    "making": dict,  # the file, or everything that decides what was made; "code": a digest of what attacked
}
"""What a row says of images that were attacked, corrupted or blended."""

_NUMBER = (int, float)
ADAPTIVE: dict[str, type | tuple[type, ...]] = {
    "checks": dict,  # name of a sanity check -> whether it holds
    "failed": list,  # names of those that do not
}
"""What the making of an adaptive attack holds, of noise in its place too."""

ATTACK = ADAPTIVE | {
    "aim": str,
    "epsilon": _NUMBER,
    "losses": list,
    "shrink": bool,
    "steps": int,
}
"""The same of an attack itself."""

PERCENT = ("mIoU", "aAcc", "iou_per_category")
"""Metrics in 0..100; those of salient objects are in 0..1."""

NATS = ("told", "told_95")
"""Metrics of blends that may be any number."""


def problem_with(row: object) -> str | None:
    """What is wrong with a row, or None."""
    if not isinstance(row, dict):
        return "not a JSON object"
    problem = _misplaced(row, FIELDS)
    if problem is None and row["condition"] is not None:
        problem = _misplaced(row["condition"], CONDITION) or _misplaced_making(row["condition"])
    if problem is not None:
        return problem
    if row["schema"] != SCHEMA:
        return f"schema {row['schema']} is not {SCHEMA}"
    if "printed" in row or "printed" in row["metrics"]:
        return "a printed number may not enter a result row"
    if not all(isinstance(name, str) for name in row["mean_over"] or ()):
        return f"field 'mean_over' is {row['mean_over']!r}"
    try:
        Method.stored(row["method"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return f"field 'method' is none that can be declared ({error})"
    return _misplaced_metric(row["metrics"])


def _misplaced_making(condition: dict[str, Any]) -> str | None:
    if condition["kind"] != "adaptive":
        return None
    if not _is_number(condition["epsilon"]):
        return f"field 'epsilon' is {condition['epsilon']!r}"
    is_attack = condition["epsilon"] > 0 and condition["control"] is None
    return _misplaced(condition["making"], ATTACK if is_attack else ADAPTIVE)


def _misplaced_metric(metrics: dict[str, Any]) -> str | None:
    """A metric that is no number, or not within its range; null is one that has no pixel."""
    for name, value in metrics.items():
        least, most = (-math.inf, math.inf) if name in NATS else (0, 100 if name in PERCENT else 1)
        if (name == "iou_per_category") != isinstance(value, dict):
            return f"metric '{name}' is {value!r}"
        for one in value.values() if isinstance(value, dict) else (value,):
            if one is not None and not (_is_number(one) and math.isfinite(one) and least <= one <= most):
                return f"metric '{name}' is {one!r}, and not a number in {least}..{most}"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _misplaced(entry: dict[str, Any], fields: dict[str, type | tuple[type, ...]]) -> str | None:
    missing = fields.keys() - entry.keys()
    if missing:
        return f"field '{min(missing)}' is missing"
    for name, kind in fields.items():
        # A bool is an int to Python, and a misplaced one here.
        value = entry[name]
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if wrong or (isinstance(value, float) and not math.isfinite(value)):
            return f"field '{name}' is {value!r}"
    return None


Missing = Callable[[list[dict[str, Any]], list[dict[str, Any]]], list[dict[str, Any]]]
"""From the rows that are held and those to be held: which are to be added."""


def append(path: Path, rows: list[dict[str, Any]], *, missing: Missing | None = None) -> None:
    """Add rows to a results file, all or none; several processes may do so at once.

    What a killed process left of a last line is cut off; a whole one that lacks only its end is kept.

    Args:
        missing: tells from the rows that the file holds, and from these, which of these to add; it is asked
            while no other process can add any.

    Raises:
        ValueError: a row is not valid.
        InputError: the file cannot be written, or a line of it is broken; it is as it was.
    """
    for row in rows:
        problem = problem_with(row)
        if problem is not None:
            raise ValueError(f"result row: {problem}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX)
            opened.seek(0)
            whole = _whole_lines(content := opened.read())
            end = min(len(content), len(whole))
            held = _rows_in(path, whole)
            text = _lines(path, rows if missing is None else missing(held, rows))
            try:
                opened.truncate(end)
                opened.write(whole[end:] + text.encode())
                opened.flush()
                os.fsync(opened.fileno())
            except BaseException:
                opened.truncate(end)
                raise
    except OSError as error:
        raise InputError(path, f"cannot be written ({error.strerror})", "choose another place") from error


def _whole_lines(content: bytes) -> bytes:
    """A file's lines without what a killed process left of the last; one that is JSON is whole.

    What does not begin as a row does was left by no process of ours, and stays.
    """
    end = content.rfind(b"\n") + 1
    rest = content[end:]
    try:
        parse_json(rest)
    except ValueError:
        return content[:end] if _BEGINNING.startswith(rest[:2]) else content + b"\n"
    return content + b"\n"


def check_appendable(path: Path) -> None:
    """Find out before the work whether rows can be appended to `path`; nothing is written.

    Raises:
        InputError: the file cannot be written, or it holds a broken line.
    """
    check_writable(path)
    if path.exists():
        read(path)


def _lines(path: Path, rows: list[dict[str, Any]]) -> str:
    return "".join(
        json.dumps(_with_its_file(row, path), sort_keys=True, allow_nan=False) + "\n" for row in rows
    )


def _with_its_file(row: dict[str, Any], path: Path) -> dict[str, Any]:
    """The row as it is written to `path`; its file of matrices is copied there if it lies elsewhere."""
    if row["per_image"] is None:
        return row
    source = Path(row["per_image"])
    target = path.parent / PER_IMAGE / source.name
    if not target.exists():
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
    return row | {"per_image": source.name}


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file, without what a killed process left of a last line.

    Raises:
        InputError: no such file, or a broken line; the message names the line.
    """
    if not path.is_file():
        raise InputError(
            path, "no such results file", "name a .jsonl file written by 'segmix run' or 'train'"
        )
    return _rows_in(path, _whole_lines(path.read_bytes()))


def _rows_in(path: Path, lines: bytes) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(lines.splitlines(), start=1):
        try:
            row = parse_json(line)
        except ValueError as error:  # no JSON, or no text at all
            raise InputError(
                f"{path}:{number}", f"broken line ({error})", "remove the line or restore the file"
            ) from error
        row = _of_this_schema(row)
        problem = problem_with(row)
        if problem is not None:
            raise InputError(f"{path}:{number}", problem, "remove the line or restore the file")
        if row["per_image"] is not None:
            row["per_image"] = str(path.parent / PER_IMAGE / row["per_image"])
        rows.append(row)
    return rows


def _of_this_schema(row: Any) -> Any:
    """A row of before as it would be written now; the schema is counted up where fields are added.

    Rows of schema 1 were all measured on their own data set, with one encoder, and kept no matrices; those
    of schema 2 were all of images as they are.
    """
    if not isinstance(row, dict) or row.get("schema") not in (1, 2):
        return row
    added: dict[str, Any] = {"schema": SCHEMA, "condition": None}
    if row["schema"] == 1:
        added |= {"backbone": "resnet18w32", "eval_dataset": row.get("dataset"), "per_image": None}
    return row | added


def run_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one training run from another; its rows share it, of images as they are and of attacked.

    Two that took as long on one device, to a tenth of a second, are not told apart.
    """
    names = ("method_digest", "scale_digest", "dataset_digest", "seed", "device", "precision", "seconds")
    return tuple(row[name] for name in names)


def append_missing(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append the rows that `path` does not hold yet.

    Attacked rows are held against those of the same training run. With them go its rows of images as they
    are, even where another network of the same kind and seed was measured before. The adaptive attacks on a
    network tell of each other: where one row is missing, all are appended.
    """
    append(path, rows, missing=_missing)


def _missing(held: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    present = {row_key(row) for row in held}
    measured = {(row_key(row), run_of(row)) for row in held}
    keyed = [(row, row_key(row), run_of(row)) for row in rows]
    missing = [(row, run) for row, key, run in keyed if (key, run) not in measured]
    attacked = {run for row, run in missing if row["condition"] and row["condition"]["kind"] != "blend"}
    studied = {run for row, run in missing if _is_adaptive(row)}
    return [
        row
        for row, key, run in keyed
        if (_is_adaptive(row) and run in studied)
        or ((key, run) not in measured and (key not in present or run in attacked))
    ]


def _is_adaptive(row: dict[str, Any]) -> bool:
    return row["condition"] is not None and row["condition"]["kind"] == "adaptive"


def row_key(row: dict[str, Any]) -> str:
    """What makes two rows the same measurement."""
    kept = (
        "method_digest",
        "scale_digest",
        "dataset_digest",
        "eval_digest",
        "protocol",
        "crop",
        "seed",
        "stage",
        "output",
        "mean_over",
        "condition",
    )
    how = [row[name] for name in (*kept, "weights", "device", "precision")]
    return json.dumps([*how, sorted(row["metrics"])], sort_keys=True)


def read_all(where: Path = RESULTS) -> list[dict[str, Any]]:
    """The rows of a results file, or of every one of a folder, by file name; none where there is neither.

    Raises:
        InputError: a broken line.
    """
    files = [where] if where.is_file() else sorted(where.glob("*.jsonl"))
    return [row for path in files for row in read(path)]


def commit() -> str:
    """The commit the package stands at, with "+" where files differ from it; "unknown" outside git."""
    git = ["git", "-C", str(REPOSITORY)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "segmix_core"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
