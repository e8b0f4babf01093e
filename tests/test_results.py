"""Result rows as they are written and read; the arithmetic of the reports on numbers worked out by hand."""

import fcntl
import json
import math
import os
import re
import threading
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segmix_core import results
from segmix_core.errors import InputError
from segmix_core.experiments import METHODS, TABLES, find_experiment
from segmix_core.experiments.robustness import BLENDED_AT
from segmix_core.metrics import ImageConfusions, load_confusions, save_confusions, sparse
from segmix_core.report import (
    Term,
    as_markdown,
    collapsed,
    experiments_table,
    interval,
    measured,
    paired_bootstrap,
    paired_difference,
    report_rows,
    substitutions,
    verdict,
)
from segmix_core.report.figures import separation_curves
from segmix_core.report.separation import separations
from segmix_core.report.tables import setting_names, term_of, trained_in, value_of

CM = METHODS["sourcesep-cm"]

ROW: dict[str, Any] = {
    "schema": results.SCHEMA,
    "experiment": "sourcesep-cm",
    "method": asdict(CM.method),
    "method_digest": CM.digest(),
    "scale": "sketch",
    "scale_digest": "ba9876543210",
    "backbone": "resnet18w32",
    "dataset": "silhouettes",
    "dataset_digest": "feedfeedfeedfeed",
    "split": "train",
    "images": 24,
    "eval_dataset": "silhouettes",
    "eval_split": "val",
    "eval_images": 10,
    "eval_digest": "beefbeefbeefbeef",
    "seed": 0,
    "stage": 2,
    "output": "dominant",
    "reported": True,
    "protocol": "crop",
    "crop": 64,
    "mean_over": None,
    "condition": None,
    "metrics": {"mIoU": 50.0, "aAcc": 80.0, "iou_per_category": {"background": 90.0, "cat": None}},
    "per_image": None,
    "steps": 100,
    "group": 16,
    "weights": None,
    "device": "cpu",
    "precision": "float32",
    "torch": "2.4.0",
    "version": "0.1.0",
    "commit": "0123456789ab",
    "seconds": 1.5,
}


ATTACKED: dict[str, Any] = {
    "kind": "universal",
    "name": "uap-resnet152",
    "control": None,
    "epsilon": 10,
    "severity": None,
    "aim": None,
    "access": "transfer",
    "how": "resize",
    "valid": True,
    "making": {"file": "ResNet-152.mat"},
}


MADE: dict[str, Any] = {
    "aim": "joint",
    "checks": {},
    "epsilon": 1,
    "failed": [],
    "losses": ["ce"],
    "shrink": True,
    "steps": 10,
}
"""What the making of an adaptive attack holds."""


def row(miou: float | None = None, **changes: Any) -> dict[str, Any]:
    """A valid row with the given fields, and mIoU, changed."""
    metrics = ROW["metrics"] if miou is None else ROW["metrics"] | {"mIoU": miou}
    return ROW | {"metrics": metrics} | changes


def test_the_row_of_these_tests_is_valid_and_complete() -> None:
    assert results.problem_with(ROW) is None
    assert ROW.keys() == results.FIELDS.keys()


# Writing and reading


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "rows.jsonl"
    first, second, third = (
        row(),
        row(seed=1, weights={"name": "silhouettes"}, crop=None),
        row(mean_over=["cat"]),
    )
    results.append(path, [first])
    results.append(path, [second, third])
    assert results.read(path) == [first, second, third]
    assert len(path.read_text().splitlines()) == 3
    results.append(path, [])
    assert len(results.read(path)) == 3


def test_a_row_with_a_field_more_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    results.append(path, [row(note="kept")])
    assert results.read(path)[0]["note"] == "kept"


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    results.append(path, [row(seed=0)])
    writer = threading.Thread(target=results.append, args=(path, [row(seed=1), row(seed=2)]))
    with path.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writer.start()
        writer.join(timeout=0.3)
        assert writer.is_alive()
        assert len(results.read(path)) == 1
    writer.join(timeout=30)
    assert [entry["seed"] for entry in results.read(path)] == [0, 1, 2]


@pytest.mark.parametrize("field", results.FIELDS)
def test_a_missing_field_is_refused_on_both_ways(tmp_path: Path, field: str) -> None:
    path = tmp_path / "rows.jsonl"
    broken = {name: value for name, value in ROW.items() if name != field}
    with pytest.raises(ValueError, match=f"field '{field}' is missing"):
        results.append(path, [ROW, broken])
    assert not path.exists()  # all or none
    path.write_text(json.dumps(ROW) + "\n" + json.dumps(broken) + "\n")
    with pytest.raises(InputError, match=rf"rows\.jsonl:2: field '{field}' is missing; remove the line"):
        results.read(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", "0"),
        ("seed", None),
        ("seed", True),
        ("images", 24.0),
        ("steps", False),
        ("experiment", 7),
        ("reported", 1),
        ("crop", "64"),
        ("crop", True),
        ("mean_over", "cat"),
        ("metrics", 50.0),
        ("weights", "silhouettes"),
        ("seconds", "1.5"),
        ("method", None),
    ],
)
def test_a_misplaced_value_is_refused_on_both_ways(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "rows.jsonl"
    with pytest.raises(ValueError, match=re.escape(f"field '{field}' is {value!r}")):
        results.append(path, [row(**{field: value})])
    path.write_text(json.dumps(row(**{field: value})) + "\n")
    with pytest.raises(InputError, match=re.escape(f"rows.jsonl:1: field '{field}' is {value!r}")):
        results.read(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metrics": {"mIoU": 999.0}}, "metric 'mIoU' is 999.0, and not a number in 0..100"),
        ({"metrics": {"aAcc": -1}}, "metric 'aAcc' is -1,"),
        ({"metrics": {"mIoU": math.nan}}, "nan"),
        ({"seconds": math.inf}, "inf"),
        ({"metrics": {"mIoU": "abc"}}, "metric 'mIoU' is 'abc'"),
        ({"metrics": {"mIoU": True}}, "metric 'mIoU' is True"),
        ({"metrics": {"mIoU": {"cat": 1.0}}}, "metric 'mIoU' is {'cat': 1.0}"),
        ({"metrics": {"MAE": 1.5}}, "metric 'MAE' is 1.5, and not a number in 0..1"),
        ({"metrics": {"iou_per_category": 50.0}}, "metric 'iou_per_category' is 50.0"),
        ({"metrics": {"iou_per_category": {"cat": 100.5}}}, "metric 'iou_per_category' is 100.5"),
        ({"mean_over": [{}]}, "field 'mean_over' is [{}]"),
        ({"method": {}}, "field 'method' is none that can be declared"),
        ({"method": ROW["method"] | {"delta": 5}}, "field 'method' is none that can be declared"),
        ({"method": ROW["method"] | {"new": 5}}, "field 'method' is none that can be declared"),
        ({"condition": ATTACKED | {"kind": "adaptive"}}, "field 'aim' is missing"),
        ({"condition": ATTACKED | {"kind": "adaptive", "control": "noise"}}, "field 'checks' is missing"),
        ({"condition": ATTACKED | {"kind": "adaptive", "epsilon": None}}, "field 'epsilon' is None"),
    ],
)
def test_what_a_field_holds_is_refused_on_both_ways(tmp_path: Path, change: Any, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    with pytest.raises(ValueError, match=re.escape(said)):
        results.append(path, [row(**change)])
    path.write_text(json.dumps(row(**change)) + "\n")
    with pytest.raises(InputError, match="(?i)" + re.escape(said)) as caught:
        results.read(path)
    assert caught.value.where == f"{path}:1"


def test_another_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="schema 99 is not 3"):
        results.append(tmp_path / "rows.jsonl", [row(schema=99)])


@pytest.mark.parametrize(
    "broken",
    ["{", "", '{"seed": 0} trailing', json.dumps(ROW)[:-40], "\ufffd", "[]", "7", "[" * 200_000, "1e999"],
)
def test_a_broken_line_is_refused_with_file_and_number(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "rows.jsonl"
    good = json.dumps(ROW)
    path.write_text("\n".join([good, good, broken, good]) + "\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        results.read(path)
    assert caught.value.where == f"{path}:3"
    assert "remove the line" in caught.value.todo


def test_bytes_that_are_no_text_are_refused_with_file_and_number(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(ROW).encode() + b"\n\xff\xfe\x00\n")
    with pytest.raises(InputError, match=r"rows\.jsonl:2: broken line"):
        results.read(path)


@pytest.mark.parametrize("content", [b"the only copy of my notes", b"\xff\xfe\x80", b"[1, 2", b'{ "a'])
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    for use in (
        lambda: results.append(path, [ROW]),
        lambda: results.append_missing(path, [ROW]),
        lambda: results.check_appendable(path),
        lambda: results.read(path),
    ):
        with pytest.raises(InputError, match=r"notes\.txt:1: broken line"):
            use()
        assert path.read_bytes() == content


def test_a_missing_file_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such results file"):
        results.read(tmp_path / "rows.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        results.append(tmp_path / "file" / "rows.jsonl", [ROW])


def test_all_files_of_a_folder_are_read_by_name(tmp_path: Path) -> None:
    assert results.read_all(tmp_path / "none") == []
    results.append(tmp_path / "b.jsonl", [row(seed=2)])
    results.append(tmp_path / "a.jsonl", [row(seed=1)])
    (tmp_path / "notes.txt").write_text("not rows")
    assert [entry["seed"] for entry in results.read_all(tmp_path)] == [1, 2]


# A printed number never enters a row


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: row(printed=76.1),
        lambda: row(printed=None),
        lambda: row(metrics=ROW["metrics"] | {"printed": 76.1}),
    ],
)
def test_a_printed_number_is_refused_on_both_ways(
    tmp_path: Path, spoil: Callable[[], dict[str, Any]]
) -> None:
    path = tmp_path / "rows.jsonl"
    with pytest.raises(ValueError, match="printed"):
        results.append(path, [spoil()])
    path.write_text(json.dumps(spoil()) + "\n")
    with pytest.raises(InputError, match=r"rows\.jsonl:1: a printed number may not enter a result row"):
        results.read(path)


def test_a_report_measures_nothing_where_there_are_no_rows(tmp_path: Path) -> None:
    for number in TABLES:
        declared = experiments_table(number, tmp_path)
        assert [entry["printed"] for entry in declared] == [entry.printed for entry in TABLES[number]]
        assert all(entry["measured"] == {} for entry in declared)


# Arithmetic


def test_the_interval_is_students() -> None:
    """For 1, 2, 3: deviation 1, t(2, 0.975) = 4.30265, so 4.30265 / sqrt(3)."""
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    mean, half = interval([70.0, 72.0])  # deviation sqrt(2), t(1, 0.975) = 12.7062
    assert (mean, half) == (71, pytest.approx(12.706205, rel=1e-6))
    assert interval([5.0, 5.0, 5.0, 5.0]) == (5, 0)


def test_one_seed_has_no_interval() -> None:
    assert interval([61.5]) == (61.5, None)


def test_the_difference_is_paired_by_seed() -> None:
    """Seeds shift both alike, so that the pairs differ by 1, 2, 3 where the means alone would say nothing."""
    first, second = {0: 11.0, 1: 52.0, 2: 93.0, 7: 0.0}, {2: 90.0, 1: 50.0, 0: 10.0, 9: 100.0}
    difference = paired_difference(first, second)
    assert difference == (2, pytest.approx(4.302653 / math.sqrt(3), rel=1e-6), 3)
    assert paired_difference(second, first) == (-2, pytest.approx(4.302653 / math.sqrt(3), rel=1e-6), 3)
    assert paired_difference({0: 1.0}, {1: 2.0}) is None
    assert paired_difference({}, {}) is None
    assert paired_difference({3: 4.0, 4: 9.0}, {3: 1.5}) == (2.5, None, 1)


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ((2.0, 1.0, 3), "higher"),
        ((-2.0, 1.0, 3), "lower"),
        ((1.0, 1.0, 3), "undecided"),  # the interval touches zero
        ((-1.0, 1.0, 3), "undecided"),
        ((0.5, 1.0, 10), "undecided"),
        ((0.0, 0.0, 3), "undecided"),
        ((0.1, 0.0, 3), "higher"),  # the same difference on every seed
        ((9.0, 0.1, 2), "undecided"),  # two seeds decide nothing
        ((9.0, None, 1), "undecided"),
        (None, "undecided"),
    ],
)
def test_the_verdict(difference: tuple[float, float | None, int] | None, said: str) -> None:
    assert verdict(difference) == said


def test_a_verdict_needs_images_on_the_same_side() -> None:
    more, less = (2.0, 1.0, 3), (-2.0, 1.0, 3)
    assert [verdict(more, images) for images in ((0.1, 4.0), (-0.1, 4.0), (-4.0, -0.1), (0.0, 4.0))] == [
        "higher", "undecided", "undecided", "undecided",
    ]  # fmt: skip
    assert [verdict(less, images) for images in ((-4.0, -0.1), (-4.0, 0.1), (0.1, 4.0))] == [
        "lower", "undecided", "undecided",
    ]  # fmt: skip
    assert verdict((0.5, 1.0, 3), (0.1, 4.0)) == "undecided"


# Reports


def test_seeds_of_one_setting_are_averaged() -> None:
    entry, *rest = measured([row(50.0, seed=0), row(51.0, seed=2), row(52.0, seed=1)], CM)
    assert not rest
    assert (entry["value"], entry["half_width_95"]) == (51, 2.48)
    assert entry["by_seed"] == {"0": 50, "1": 52, "2": 51}
    assert entry["seeds"] == [0, 1, 2]
    assert entry["images"] == 10


def test_blends_are_in_no_clean_number_and_bring_no_clean_rows_along(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    results.append(path, [row(50.0, seconds=1.0)])
    condition = dict.fromkeys(results.CONDITION) | {
        "kind": "blend", "name": "delta 0.9", "how": "the next", "valid": True, "making": {"delta": 0.9}
    }  # fmt: skip
    blended = row(30.0, seconds=2.0, stage=1, output="phantom", condition=condition)
    results.append_missing(path, [row(51.0, seconds=2.0), blended])  # another training of the same
    results.append_missing(path, [row(51.0, seconds=2.0), blended])
    rows = results.read(path)
    assert [(one["output"], one["metrics"]["mIoU"]) for one in rows] == [
        ("dominant", 50.0),
        ("phantom", 30.0),
    ]
    assert [entry["value"] for entry in measured(rows, CM)] == [50.0]
    after_stage1 = find_experiment("table8/sourcesep-cm-without-dn")
    (entry,) = measured(rows, after_stage1, output="phantom", perturbation="delta 0.9")
    assert (entry["value"], entry["stage"]) == (30.0, 1)


def test_what_the_phantom_branch_recovers_is_told_by_setting(tmp_path: Path) -> None:
    def blended(
        delta: float, output: str, miou: float, told: dict[str, float] | None = None, **changes: Any
    ) -> dict[str, Any]:
        condition = dict.fromkeys(results.CONDITION) | {
            "kind": "blend", "name": f"delta {delta:g}", "how": "the next", "valid": True, "making": {}
        }  # fmt: skip
        made = row(miou, stage=1, output=output, condition=condition, **changes)
        return made | {"metrics": made["metrics"] | (told or {})}

    rows = [
        blended(delta, output, miou + seed, seed=seed)
        for seed in (0, 1)
        for delta, dominant, phantom in zip(BLENDED_AT, (60, 59, 50, 40), (3, 4, 9, 20), strict=True)
        for output, miou in (("dominant", dominant), ("final", dominant), ("phantom", phantom))
    ]
    partly = [blended(delta, "phantom", 9.0, scale="mini") for delta in BLENDED_AT[1:]]
    (found,) = separations([*rows, *partly, row(50.0)])  # of the other setting one delta is missing
    assert (found.experiment, found.data, found.seeds) == ("sourcesep-cm", "silhouettes, sketch", (0, 1))
    assert found.scores["phantom"] == {1.0: 3.5, 0.9: 4.5, 0.75: 9.5, 0.6: 20.5}
    assert found.recovered == 17
    (axis,) = separation_curves([found]).axes
    assert [list(line.get_ydata()) for line in axis.lines][2] == [3.5, 4.5, 9.5, 20.5]
    assert separations(rows[:2]) == []
    assert (found.told, found.tells) == ({}, None)  # rows of before that was measured
    for low, tells in ((0.1, True), (0.01, False)):
        told = [
            blended(0.6, "phantom", 21.0, {"told": nats, "told_95": 0.05}, seed=seed)
            for seed, nats in ((0, 0.2), (1, low))
        ]
        (found,) = separations([*rows, *told])
        assert (found.told, found.tells) == ({0: (0.2, 0.05), 1: (low, 0.05)}, tells)
    assert results.problem_with(told[0]) is None
    told[0]["metrics"]["told"] = -2.5  # worse than another's
    assert results.problem_with(told[0]) is None
    told[0]["metrics"]["told"] = "much"
    assert "metric 'told' is 'much'" in str(results.problem_with(told[0]))


def test_attacked_rows_are_in_no_clean_number(tmp_path: Path) -> None:
    clean = [row(50.0, seed=0), row(52.0, seed=1)]
    attacked = [
        row(9.0, seed=seed, condition=ATTACKED | {"epsilon": epsilon})
        for seed in (0, 1, 2)
        for epsilon in (5, 10)
    ]
    noise = [row(45.0, seed=2, condition=ATTACKED | {"control": "random signs"})]
    spoilt = [row(8.0, seed=0, condition=ATTACKED | {"valid": False})]
    for order, rows in (("before", [*attacked, *noise, *spoilt, *clean]), ("after", clean)):
        results.append(tmp_path / order / "rows.jsonl", rows)
    before, alone = tmp_path / "before", tmp_path / "after"
    assert substitutions(before) == substitutions(alone)
    assert substitutions(before)["silhouettes_sketch_sourcesep_cm"] == "51.0"
    for name in ("table1", "table4", "table10", "figure5"):
        assert report_rows(name, where=before) == report_rows(name, where=alone)
    (entry,) = measured(results.read_all(before), CM)
    assert (entry["value"], entry["condition"]) == (51, None)
    lines = [
        line
        for line in as_markdown(report_rows("table6", where=before)).splitlines()
        if "SourceSep-CM" in line and "not measured" not in line
    ]
    assert [[*line.split(" | ")[1:5:3], line.split(" | ")[6]] for line in lines] == [
        ["clean", "51.00 ± 12.71", "silhouettes val"],
        ["UAP, ResNet", "9.00 ± 0.00", "silhouettes val, epsilon 5, access transfer, resize"],
        ["UAP, ResNet", "9.00 ± 0.00", "silhouettes val, epsilon 10, access transfer, resize"],
        [
            "UAP, ResNet",
            "8.00",
            "silhouettes val, epsilon 10, access transfer, resize, **a sanity check failed**",
        ],
    ]


def test_a_row_without_any_labelled_pixel_stops_no_report(tmp_path: Path) -> None:
    nothing = row(seed=0, metrics={"mIoU": None, "aAcc": None, "iou_per_category": {"cat": None}})
    results.append(tmp_path / "rows.jsonl", [nothing, row(60.0, seed=1)])
    assert substitutions(tmp_path)["silhouettes_sketch_sourcesep_cm_seeds"] == "1"
    assert "| 60.00 |" in as_markdown(report_rows("table1", where=tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"scale": "paper"},
        {"scale_digest": "other"},
        {"dataset": "voc2012"},
        {"dataset_digest": "other"},
        {"eval_digest": "other"},
        {"protocol": "full"},
        {"crop": 513},
        {"mean_over": ["cat"]},
        {"precision": "bfloat16"},
        {"weights": {"name": "imagenet"}},
        {"weights": {"name": "checkpoint.pt", "sha256": "one"}},
    ],
)
def test_settings_that_differ_are_never_averaged(change: dict[str, Any]) -> None:
    entries = measured([row(40.0), row(60.0, seed=1, **change)], CM)
    assert [entry["value"] for entry in entries] == [40, 60]


def test_encoders_of_one_name_are_told_apart_by_content() -> None:
    rows = [
        row(value, seed=seed, weights={"name": "checkpoint.pt", "sha256": sha256})
        for seed, (value, sha256) in enumerate(((40.0, "cdab" * 16), (60.0, "abcd" * 16)))
    ]
    assert [entry["value"] for entry in measured(rows, CM)] == [40, 60]
    assert trained_in(rows[0]) != trained_in(rows[1])
    assert [name.split("weights ")[-1] for name in setting_names(rows)] == ["cdab", "abcd"]


def test_only_the_reported_output_of_the_method_is_measured() -> None:
    rows = [
        row(40.0),
        row(90.0, reported=False, output="final"),
        row(90.0, method=asdict(METHODS["sourcesep-cc"].method)),
    ]
    assert [entry["value"] for entry in measured(rows, CM)] == [40]


def test_a_method_without_fine_tuning_is_read_off_any_run_that_begins_with_it() -> None:
    """The stage 1 of CM is the row "w/o DN" of Table 8, at S_ss; its two runs count once for a seed."""
    without = find_experiment("table8/sourcesep-cm-without-dn")
    stage1 = {"stage": 1, "output": "final"}
    longer = replace(CM.method, finetune="mixed")
    rows = [
        row(30.0, **stage1),
        row(31.0, **stage1, method=asdict(longer)),
        row(90.0, stage=1),  # S_t
        row(91.0, **stage1, method=asdict(METHODS["sourcesep-cc"].method)),
        row(92.0, **stage1, method=asdict(replace(CM.method, shared_aspp=True))),
    ]
    assert [entry["by_seed"] for entry in measured(rows, without)] == [{"0": 30.0}]
    assert measured([row(30.0, output="final")], without) == []
    assert [entry["value"] for entry in measured([row(8.0, output="final")], CM, output="final")] == [8]


def test_rows_of_the_first_schema_are_read(tmp_path: Path) -> None:
    old = {
        key: value
        for key, value in ROW.items()
        if key not in ("eval_dataset", "backbone", "per_image", "condition")
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(old | {"schema": 1}) + "\n")
    assert results.read(tmp_path / "rows.jsonl") == [ROW]


def two_images(tmp_path: Path) -> dict[str, Any]:
    """A row whose two images are read perfectly and half: background and cat, dog nowhere."""
    matrices = np.zeros((2, 3, 3), dtype=np.int64)
    matrices[0] = [[8, 0, 0], [0, 8, 0], [0, 0, 0]]
    matrices[1] = [[8, 0, 0], [8, 0, 0], [0, 0, 0]]
    confusions = ImageConfusions(
        ids=("a", "b"),
        categories=("background", "cat", "dog"),
        matrices={"stage2 dominant": sparse(matrices)},
        subsets={
            "first": np.array([True, False]),
            "second": np.array([False, True]),
            "none": np.zeros(2, bool),
        },
    )
    save_confusions(tmp_path / "elsewhere" / "two.npz", confusions)
    return row(per_image=str(tmp_path / "elsewhere" / "two.npz"))


def test_what_several_add_at_once_is_there_once(tmp_path: Path) -> None:
    path, together = tmp_path / "rows.jsonl", threading.Barrier(8)
    rows = [row(seed=seed, per_image=None) for seed in range(200)]

    def add() -> None:
        together.wait()
        results.append_missing(path, rows)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one["seed"] for one in results.read(path)] == list(range(200))


def test_a_subset_is_read_off_the_matrices_of_its_images(tmp_path: Path) -> None:
    path = tmp_path / "results" / "rows.jsonl"
    results.append(path, [two_images(tmp_path)])
    (tmp_path / "elsewhere" / "two.npz").unlink()  # a results file has its own copy
    rows = results.read(path)
    assert json.loads(path.read_text())["per_image"] == "two.npz"

    def value(**how: Any) -> list[tuple[float, int]]:
        return [(entry["value"], entry["images"]) for entry in measured(rows, CM, **how)]

    assert value(subset="first") == [(100, 1)]
    assert value(subset="second") == [(25, 1)]  # background 8 of 16, cat none; dog does not count
    assert value(subset="second", metric="IoU background") == [(50, 1)]
    assert value(subset="second", metric="mIoU background, dog") == [(50, 1)]
    assert value(subset="second", metric="mIoU background, cat") == [(25, 1)]
    assert value(subset="none") == value(subset="unheard-of") == []
    assert value(subset="second", metric="aAcc") == [(50, 1)]
    assert value(subset="second", metric="maxF") == []  # matrices cannot tell
    assert value() == [(50, 10)]
    narrow = [one | {"mean_over": ["cat"]} for one in rows]
    assert [entry["value"] for entry in measured(narrow, CM, subset="second")] == [0]


def test_a_damaged_file_of_matrices_is_one_line(tmp_path: Path) -> None:
    path = Path(two_images(tmp_path)["per_image"])
    whole = path.read_bytes()
    packed = 30 + int.from_bytes(whole[26:28], "little") + int.from_bytes(whole[28:30], "little")
    method = whole.rindex(b"PK\x01\x02") + 10
    for place, kind in ((packed, zlib.error), (method, NotImplementedError), (-22, zipfile.BadZipFile)):
        damaged = bytearray(whole)
        damaged[place] = 0xFF
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"two\.npz: not a file of confusion matrices; restore") as said:
            load_confusions(path)
        assert isinstance(said.value.__cause__, kind)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: {"matrix stage2 dominant": arrays["matrix stage2 dominant"][:1]},
        lambda arrays: {"matrix stage2 dominant": arrays["matrix stage2 dominant"][:, :2, :2]},
        lambda arrays: {"matrix stage2 dominant": -arrays["matrix stage2 dominant"]},
        lambda arrays: {"matrix stage2 dominant": arrays["matrix stage2 dominant"].astype(np.float64)},
        lambda arrays: {"subset first": arrays["subset first"].astype(np.int64)},
        lambda arrays: {"subset first": arrays["subset first"][:1]},
        lambda arrays: {"ids": np.array(["a", "a"])},
        lambda arrays: {"categories": np.arange(3)},
    ],
    ids=range(8),
)
def test_matrices_that_no_run_leaves_are_refused(tmp_path: Path, change: Callable[..., Any]) -> None:
    path = Path(two_images(tmp_path)["per_image"])
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez_compressed(path, **(arrays | change(arrays)))
    with pytest.raises(InputError, match=r"two\.npz: not a file of confusion matrices"):
        load_confusions(path)


def test_what_the_matrices_do_not_hold_is_one_line(tmp_path: Path) -> None:
    own = two_images(tmp_path)
    assert value_of(own, subset="first") == 100
    with pytest.raises(InputError, match=r"holds no matrices of stage 1, dominant"):
        value_of(own | {"stage": 1}, subset="first")
    with pytest.raises(InputError, match=r"category of .*two\.npz: unknown name 'zebra'"):
        value_of(own | {"mean_over": ["zebra"]}, subset="first")
    with pytest.raises(InputError, match=r"unknown name 'zebra'"):
        term_of([own | {"mean_over": ["zebra"]}])


def test_every_committed_file_of_matrices_is_read() -> None:
    paths = sorted(results.RESULTS.glob("per_image/*.npz"))
    assert len(paths) > 50
    for path in paths:
        assert load_confusions(path).matrices


def test_the_bootstrap_is_paired_over_images_and_seeds() -> None:
    rng = np.random.default_rng(0)
    images = 200
    hit = rng.integers(20, 80, size=images)
    first, second = np.zeros((images, 2, 2), dtype=np.int64), np.zeros((images, 2, 2), dtype=np.int64)
    first[:, 0, 0], first[:, 1, 1], first[:, 1, 0] = 100, hit + 5, 95 - hit
    second[:, 0, 0], second[:, 1, 1], second[:, 1, 0] = 100, hit, 100 - hit

    def drawn(*pairs: tuple[np.ndarray, np.ndarray], **how: Any) -> tuple[float, float, float]:
        """First minus second, a pair for each seed."""
        terms = [
            Term(weight=sign, matrices=[sparse(one) for one in of], **how)
            for sign, of in zip((1, -1), zip(*pairs, strict=True), strict=True)
        ]
        return paired_bootstrap(terms, rng=np.random.default_rng(1), draws=400)

    difference, low, high = drawn((first, second), (first, second))
    assert 0 < low < difference < high < 10
    # Images vary by far more than 5 pixels; only pairing makes the interval this narrow.
    assert high - low < 1
    assert drawn((first, first)) == (0, 0, 0)
    assert drawn((second, first))[2] < 0
    cat = drawn((first, second), categories=[1])
    assert cat[0] == pytest.approx(5)
    # Seeds that contradict each other widen it across zero.
    _, low, high = drawn((first, second), (second, first))
    assert low < 0 < high
    short = [Term(weight=1, matrices=[sparse(one)]) for one in (first, second[:-1])]
    with pytest.raises(ValueError, match="need the same"):
        paired_bootstrap(short, rng=rng)


def test_the_bootstrap_of_a_subset_counts_its_images_alone() -> None:
    """Ten points are gained on each image of the first half, none on the second, whose images differ."""
    images = 40
    second = np.zeros((images, 2, 2), dtype=np.int64)
    second[..., 0, 0], second[..., 1, 1], second[..., 1, 0] = 100, 50, 50
    first = second.copy()
    half_n = np.arange(images) < images // 2
    first[half_n, 1] = [40, 60]
    for one in (first, second):
        one[-1, 1] = [0, 500]
    gain = [
        Term(weight=sign * side, matrices=[sparse(of)], counted_n=half_n == (side > 0), categories=[1])
        for side in (1, -1)
        for sign, of in ((1, first), (-1, second))
    ]
    rng = np.random.default_rng(0)
    assert paired_bootstrap(gain, rng=rng, draws=50) == pytest.approx((10, 10, 10))
    alone = paired_bootstrap(gain[3:], rng=rng, draws=50)  # of the second half, where one image outweighs
    assert alone[1] == pytest.approx(50)
    assert alone[1] < alone[0] < alone[2]


def test_the_bootstrap_of_a_mean_is_the_interval_of_a_mean() -> None:
    """One pixel an image, half of them right: a share of 0.5, with a deviation of sqrt(0.25 / 400)."""
    matrices = np.zeros((400, 2, 2), dtype=np.int64)
    matrices[::2, 1, 1] = matrices[1::2, 1, 0] = 1
    term = Term(weight=1, matrices=[sparse(matrices)], categories=[1])
    observed, low, high = paired_bootstrap([term], rng=np.random.default_rng(0), draws=4000)
    assert observed == 50
    assert (low, high) == pytest.approx((50 - 1.96 * 2.5, 50 + 1.96 * 2.5), abs=0.4)
    # Three seeds, all right, all right, all wrong: nothing varies but which of them are drawn.
    seeds = [np.array([[[0, 0], [1 - right, right]]]) for right in (1, 1, 0)]
    term = Term(weight=2, matrices=[sparse(one) for one in seeds], categories=[1])
    found = paired_bootstrap([term], rng=np.random.default_rng(0), draws=4000)
    assert found == pytest.approx((2 * 200 / 3, 0, 200))


@pytest.mark.parametrize(("held", "low", "high"), [(1, -math.inf, math.inf), (8, 50, 50)])
def test_where_draws_hold_no_image_of_a_subset_nothing_is_known(held: int, low: float, high: float) -> None:
    """One image of twelve is missing from a third of the draws; one of eight hardly ever."""
    matrices = np.array([[[1, 0], [1, 1]]] * 12)
    term = Term(weight=1, matrices=[sparse(matrices)], counted_n=np.arange(12) < held, categories=[1])
    assert paired_bootstrap([term], rng=np.random.default_rng(0), draws=500) == (50, low, high)


def test_matrices_come_back_whole_by_stage_and_output(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    matrices = {name: rng.integers(0, 10**6, size=(3, 2, 2)) for name in ("stage1 final", "stage2 dominant")}
    held = np.array([True, False, True])
    kept = ImageConfusions(
        ids=("a", "b", "c"),
        categories=("background", "cat"),
        matrices={name: sparse(of) for name, of in matrices.items()},
        subsets={"some": held},
    )
    save_confusions(tmp_path / "kept.npz", kept)
    for confusions in (kept, load_confusions(tmp_path / "kept.npz")):
        for (stage, output), of in zip(((1, "final"), (2, "dominant")), matrices.values(), strict=True):
            np.testing.assert_array_equal(confusions.of(stage, output).toarray(), of.reshape(3, 4))
            np.testing.assert_array_equal(confusions.total(stage, output), of.sum(0))
            np.testing.assert_array_equal(confusions.total(stage, output, "some"), of[held].sum(0))


def test_printed_and_measured_stand_side_by_side(tmp_path: Path) -> None:
    declared = next(one for one in TABLES[1] if one.experiment == CM)
    results.append(tmp_path / "rows.jsonl", [row(40.0)])
    elsewhere = {"scale": "paper", "dataset": "voc2012", "eval_dataset": "voc2012"}
    elsewhere["backbone"] = declared.backbone
    results.append(tmp_path / "rows.jsonl", [row(44.0, **elsewhere)])
    results.append(tmp_path / "rows.jsonl", [row(99.0, eval_dataset="coco")])  # of another table
    found = next(
        entry
        for entry in report_rows("table1", where=tmp_path)
        if (entry["row"], entry["column"]) == (declared.row, declared.column)
    )
    assert found["printed"] == declared.printed
    assert {
        scale: [entry["value"] for entry in entries.values()] for scale, entries in found["measured"].items()
    } == {
        "sketch": [40],
        "paper": [44],
    }
    shown = as_markdown([found])
    assert (
        f"| {declared.row} | {declared.column} | mIoU | {declared.printed} | 40.00 | sketch, resnet18w32 |"
        in shown
    )
    narrowed = [
        entry
        for entry in report_rows("table1", scale="paper", dataset="voc2012", where=tmp_path)
        if entry["row"] == declared.row
    ]
    assert [list(entry["measured"]) for entry in narrowed] == [["paper"], []]
    assert "40.0" not in as_markdown(narrowed)


def test_blocks_of_encoders_are_apart_at_paper_scale_and_one_below(tmp_path: Path) -> None:
    """R25. Each block of Table 1 has its own encoder's value there; a sketch has one encoder, said once."""
    paper = {"scale": "paper", "dataset": "voc2012", "eval_dataset": "voc2012"}
    for backbone, value in (("resnet50", 50.0), ("resnet101", 60.0)):
        made = row(value, backbone=backbone, scale_digest=backbone, **paper)
        results.append(tmp_path / "rows.jsonl", [made])
    results.append(tmp_path / "rows.jsonl", [row(40.0)])
    rows = [one for one in report_rows("table1", where=tmp_path) if one["experiment"] == CM.name]

    def values(one: dict[str, Any]) -> dict[str, list[float]]:
        return {
            scale: [entry["value"] for entry in found.values()] for scale, found in one["measured"].items()
        }

    assert {one["column"]: values(one) for one in rows} == {
        "ResNet-50": {"paper": [50], "sketch": [40]},
        "ResNet-101": {"paper": [60], "sketch": [40]},
    }
    shown = [(one["column"], one["printed"], values(one)) for one in collapsed(rows)]
    assert shown == [
        ("ResNet-50", 76.2, {"paper": [50]}),
        ("ResNet-101", 78.9, {"paper": [60]}),
        ("ResNet-50, ResNet-101", "76.2, 78.9", {"sketch": [40]}),
    ]
    assert as_markdown(rows).count("40.00") == 1
    without = [one | {"measured": {}} if one["column"] == "ResNet-50" else one for one in rows]
    for one in without:
        one["measured"] = {at: found for at, found in one["measured"].items() if at == "paper"}
    assert [(one["column"], values(one)) for one in collapsed(without)] == [
        ("ResNet-101", {"paper": [60]}),
        ("ResNet-50", {}),
    ]


def test_settings_of_the_same_words_are_told_apart_by_their_digest(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    other = row(dataset_digest="0" * 16, metrics={"mIoU": 60.0})
    results.append(path, [row(metrics={"mIoU": 50.0}), other, row(seed=1, metrics={"mIoU": 52.0})])
    lines = [line for line in as_markdown(report_rows("table1", where=path)).splitlines() if "sketch" in line]
    assert [line.split(" | ")[4][:5] for line in lines] == ["51.00", "60.00"]
    first, second = (re.search(r"silhouettes val, setting (\w{4}) \|", line) for line in lines)
    assert first is not None
    assert second is not None
    assert first[1] != second[1]
    results.append(tmp_path / "one.jsonl", [other])
    (line,) = [
        line
        for line in as_markdown(report_rows("table1", where=tmp_path / "one.jsonl")).splitlines()
        if "60.00" in line
    ]
    assert ", setting" not in line


def test_what_was_not_measured_says_so(tmp_path: Path) -> None:
    assert "| not measured |" in as_markdown(report_rows("table1", where=tmp_path))
    with pytest.raises(InputError, match="unknown name 'table99'"):
        report_rows("table99", where=tmp_path)


def test_prose_takes_its_numbers_from_rows(tmp_path: Path) -> None:
    results.append(tmp_path / "rows.jsonl", [row(50.04, seed=0), row(50.14, seed=1)])
    values = substitutions(tmp_path)
    own = "silhouettes_sketch_sourcesep_cm"
    assert (values[own], values[f"{own}_seeds"], values[f"{own}_images"]) == ("50.1", "2", "10")
    assert {key.removeprefix(own) for key in values} == {"", "_seeds", "_images", "_protocol"}


def test_prose_tells_ordinary_company_from_none(tmp_path: Path) -> None:
    lists = {"outofcontext": 40.0, "ordinary": 60.0}
    rows = [
        row(value, eval_dataset="silhouettes-outofcontext", eval_split=split, eval_digest=split)
        for split, value in lists.items()
    ]
    results.append(tmp_path / "rows.jsonl", rows)
    values = substitutions(tmp_path)
    for split, value in lists.items():
        assert values[f"silhouettes_outofcontext_{split}_sketch_sourcesep_cm"] == str(value)


def test_prose_names_a_difference_only_of_one_setting(tmp_path: Path) -> None:
    plain = METHODS["baseline"]
    beside = {"experiment": "baseline", "method": asdict(plain.method), "method_digest": plain.digest()}
    gains = {0: 1.0, 1: 1.5, 2: 2.0}
    rows = [row(50.0 + gain, seed=seed, eval_images=20) for seed, gain in gains.items()]
    rows += [row(50.0, seed=seed, eval_images=20, **beside) for seed in gains]
    results.append(tmp_path / "rows.jsonl", rows)
    values = substitutions(tmp_path)
    own = "silhouettes_sketch_sourcesep_cm"
    assert (values[f"{own}_difference"], values[f"{own}_verdict"]) == ("+1.50 ± 1.24", "higher")
    assert "silhouettes_sketch_baseline_difference" not in values
    few = [one | {"eval_images": 19} for one in rows]
    results.append(tmp_path / "few" / "rows.jsonl", few)
    assert substitutions(tmp_path / "few")[f"{own}_verdict"] == "undecided"
    # Of another start there are fewer seeds, and no baseline: its mean does not count.
    other = [row(11.0, seed=0, weights={"name": "elsewhere"})]
    results.append(tmp_path / "more" / "rows.jsonl", rows + other)
    assert substitutions(tmp_path / "more") == values
    results.append(tmp_path / "before" / "rows.jsonl", other + rows)
    assert substitutions(tmp_path / "before") == values
    elsewhere = [row(50.0, seed=seed, eval_digest="0" * 16, **beside) for seed in gains]
    results.append(tmp_path / "other" / "rows.jsonl", rows[:3] + elsewhere)
    assert f"{own}_difference" not in substitutions(tmp_path / "other")


def test_prose_and_claims_judge_by_the_images_too(tmp_path: Path) -> None:
    """CM is better with every seed, by one image of twenty: without it, it is not."""
    plain = METHODS["baseline"]
    beside = {"experiment": "baseline", "method": asdict(plain.method), "method_digest": plain.digest()}
    for right in (np.eye(20, dtype=int)[0], np.zeros(20, dtype=int)):
        matrices = np.array([[[0, 0], [1 - one, one]] for one in right])
        confusions = ImageConfusions(
            ids=tuple(map(str, range(20))),
            categories=("background", "cat"),
            matrices={"stage2 dominant": sparse(matrices)},
        )
        save_confusions(tmp_path / f"{sum(right)}.npz", confusions)
    seeds = [{"seed": seed, "eval_images": 20} for seed in range(3)]
    rows = [row(60.0 + one["seed"] / 10, per_image=str(tmp_path / "1.npz"), **one) for one in seeds]
    rows += [row(50.0, per_image=str(tmp_path / "0.npz"), **one, **beside) for one in seeds]
    key = "silhouettes_sketch_sourcesep_cm_verdict"
    results.append(tmp_path / "with" / "rows.jsonl", rows)
    assert substitutions(tmp_path / "with")[key] == "undecided"
    results.append(tmp_path / "without" / "rows.jsonl", [one | {"per_image": None} for one in rows])
    assert substitutions(tmp_path / "without")[key] == "higher"


def test_the_commit_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert re.fullmatch(r"[0-9a-f]{12}\+?|unknown", results.commit())
    monkeypatch.setattr(results, "REPOSITORY", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert results.commit() == "unknown"


def test_half_a_line_of_a_killed_process_is_passed_over_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    results.append(path, [row(seed=0)])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])
    assert [one["seed"] for one in results.read(path)] == [0]
    results.append(path, [row(seed=1)])
    assert [one["seed"] for one in results.read(path)] == [0, 1]
    path.write_bytes(whole[:-1])  # as an editor may leave it: nothing of it is lost
    results.append(path, [row(seed=1)])
    assert [one["seed"] for one in results.read(path)] == [0, 1]
    path.write_bytes(
        whole + whole[:50] + b"\n"
    )  # a whole line, and broken: somebody's, not a killed process's
    with pytest.raises(InputError, match="broken line"):
        results.read(path)


def test_rows_that_cannot_be_written_leave_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    results.append(path, [row(seed=0)])
    whole = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot be written"):
        results.append(path, [row(seed=1)] * 50)
    assert path.read_bytes() == whole
