"""The command line: what `--json` holds, what an error says, what Ctrl-C leaves."""

import contextlib
import errno
import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, write_huge
from PIL import Image

from segmix_core import cli, models, results, run
from segmix_core import data as data_sets
from segmix_core.cli.arguments import DATASETS, OUT_OF_CONTEXT, request_of
from segmix_core.cli.arguments import seconds as as_seconds
from segmix_core.cli.command import parser
from segmix_core.cli.datasets import _list_line
from segmix_core.cli.progress import ProgressLine, note
from segmix_core.data.dataset import Listed
from segmix_core.data.voc import VOC_CATEGORIES, voc_palette
from segmix_core.errors import LONGEST, InputError, short
from segmix_core.experiments import METHODS, SCALES, Scale
from segmix_core.experiments.robustness import BLENDED_AT
from segmix_core.experiments.scales import SMOKE
from segmix_core.files import file_digest
from segmix_core.models import SourceSeparation, load_model, read_checkpoint
from segmix_core.training import stages

SHORT = replace(
    SMOKE,
    name="short",
    crop=33,
    batch_size=4,
    aspp_channels=8,
    stage1_steps=20,
    stage2_steps=40,
)


@dataclass(frozen=True)
class Said:
    """What one command said, and how it ended."""

    status: int
    out: str
    err: str

    def document(self) -> Any:
        """The JSON on standard output, which must be all there is and hold no NaN."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        assert self.status == 0, self.err
        return json.loads(self.out, parse_constant=refuse)


def segmix(*arguments: object) -> Said:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse
            status = int(ended.code or 0)
    return Said(status, out.getvalue(), err.getvalue())


def refused(said: Said, *parts: str, status: int = 2) -> None:
    """One line on standard error, of the form `segmix: error: where: what; todo`, and nothing else."""
    assert (said.status, said.out) == (status, "")
    assert said.err.startswith("segmix: error: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    where, rest = said.err.removeprefix("segmix: error: ").split(": ", 1)
    assert where
    what, todo = rest.split("; ", 1)
    assert what
    assert todo.strip()
    for part in parts:
        assert part in said.err


Kind = Any


def has_kind(value: object, kind: Kind, at: str = "document") -> None:
    """Compare a document with its declaration: exact keys, and no boolean or text in place of a number."""
    if isinstance(kind, dict):
        assert isinstance(value, dict), at
        assert value.keys() == kind.keys(), at
        for name in kind:
            has_kind(value[name], kind[name], f"{at}.{name}")
    elif isinstance(kind, list):
        assert isinstance(value, list), at
        for index, item in enumerate(value):
            has_kind(item, kind[0], f"{at}[{index}]")
    else:
        assert isinstance(value, kind), f"{at}: {value!r}"
        assert kind is bool or not isinstance(value, bool), f"{at}: {value!r}"


NUMBER = int | float
SCORES = {
    "mIoU": NUMBER | None,
    "aAcc": NUMBER,
    "iou_per_category": dict.fromkeys(VOC_CATEGORIES, NUMBER | None),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SCALES, "short", SHORT)
        yield
    torch.set_num_threads(before)


def data(root: Path) -> tuple[object, ...]:
    return ("--dataset", "voc2012", "--root", root, "--split", "train", "--pretrained", "none")


def without_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without what differs between two runs of one experiment: time, and the folder of the matrices."""
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        | {"per_image": row["per_image"] and Path(row["per_image"]).name}
        for row in rows
    ]


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document of `segmix train sourcesep-cm --scale smoke`."""
    out = tmp_path_factory.mktemp("trained") / "run"
    document: dict[str, Any] = segmix(
        "train", "sourcesep-cm", "--scale", "smoke", *data(root), "--out", out, "--json"
    ).document()
    return document


# What --json holds


def test_statistics_are_of_the_training_list_unless_another_is_named(root: Path) -> None:
    command = ("stats", "--dataset", "silhouettes", "--root", root, "--json")
    assert segmix(*command).document() == segmix(*command, "--split", "train").document()
    assert segmix(*command).document() != segmix(*command, "--split", "val").document()
    refused(segmix("stats", "--root", root), "train_aug.txt")


def test_stats(root: Path) -> None:
    said = segmix("stats", "--dataset", "voc2012", "--root", root, "--split", "train", "--json").document()
    has_kind(
        said,
        {
            "images": int,
            "categories": [str],
            "images_per_category": [int],
            "cooccurrence": [[int]],
            "unique_categories": dict.fromkeys(said["unique_categories"], int),
            "pairs": [list],
        },
    )
    assert said["images"] == 24
    assert said["categories"] == list(VOC_CATEGORIES)
    matrix = np.array(said["cooccurrence"])
    assert matrix.shape == (21, 21)
    assert not matrix[0].any()
    assert not matrix[:, 0].any()
    held = []
    for path in sorted((root / "SegmentationClass").glob("train_*.png")):
        held.append({int(value) for value in np.unique(np.asarray(Image.open(path)))} - {0, 255})
    for number in range(1, 21):
        assert said["images_per_category"][number] == sum(number in one for one in held)
    assert said["images_per_category"][0] == 24
    assert {int(n): count for n, count in said["unique_categories"].items()} == {
        n: sum(len(one) == n for one in held) for n in {len(one) for one in held}
    }
    counts = [count for _, _, count in said["pairs"]]
    assert counts == sorted(counts, reverse=True)
    for first, second, count in said["pairs"]:
        pair = {VOC_CATEGORIES.index(first), VOC_CATEGORIES.index(second)}
        assert count == sum(pair <= one for one in held) > 0
    assert sum(counts) == sum(len(one) * (len(one) - 1) // 2 for one in held)


def test_data_make_and_check(tmp_path: Path) -> None:
    out = tmp_path / "made"
    options = ("--images", 4, "--val", 2, "--size", 32, "--seed", 3, "--json")
    made = segmix("data", "make", "silhouettes", "--out", out, *options).document()
    has_kind(made, {"images": int, "digest": str})
    assert made["images"] == 6
    refused(segmix("data", "make", "silhouettes", "--out", out, *options), "is there already")

    check = ("data", "check", "--dataset", "silhouettes", "--root", out, "--json")
    kind = {
        "files": int,
        "bytes": int,
        "problems": [{"path": str, "problem": str}],
        "notes": [str],
        "lists": [{"list": str, "images": int | None, "published": int | None}],
    }
    whole = segmix(*check).document()
    has_kind(whole, kind)
    assert whole["problems"] == []
    folders = ("JPEGImages", "SegmentationClass", "SegmentationObject", "Annotations")
    assert whole["files"] == 24
    assert whole["bytes"] == sum(path.stat().st_size for name in folders for path in (out / name).iterdir())
    for folder in folders:
        victim = min((out / folder).iterdir())
        before = victim.read_bytes()
        victim.write_bytes(before[:90])
        broken = segmix(*check)
        assert broken.status == 2
        document = json.loads(broken.out)
        has_kind(document, kind)
        assert [entry["path"] for entry in document["problems"]] == [str(victim)]
        victim.write_bytes(before)
    next((out / "Annotations").glob("*.xml")).write_text("<annotation><segmented>1</segmented></annotation>")
    assert [one["problem"] for one in json.loads(segmix(*check).out)["problems"]] == ["names no object"]


def test_check_says_how_long_lists_are_beside_the_published(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "voc")
    lists = tmp_path / "voc" / "ImageSets" / "Segmentation"
    (lists / "val.txt").unlink()
    names = (lists / "train.txt").read_text()
    for split, text in (("mine", names), ("trainaug", names)):
        (lists / f"{split}.txt").write_text(text)
    command = ("data", "check", "--root", tmp_path / "voc")
    said = segmix(*command)
    assert (said.status, said.out.splitlines()[:-1]) == (
        0,
        [
            "list mine: 24 images",
            "list train: 24 of 1,464 published images",
            "list trainaug: 24 of 10,582 published images",
            "list val: not there (1,449 published images)",
        ],
    )
    document = segmix(*command, "--json").document()
    assert document["lists"] == [
        {"list": "mine", "images": 24, "published": None},
        {"list": "train", "images": 24, "published": 1464},
        {"list": "trainaug", "images": 24, "published": 10582},
        {"list": "val", "images": None, "published": 1449},
    ]


@pytest.mark.parametrize(
    ("images", "published", "said"),
    [(1449, 1449, "1,449 images, as published"), (1500, 1449, "1,500 images, more than the 1,449 published"),
     (None, None, "not there")],
)  # fmt: skip
def test_a_whole_and_a_longer_list_are_told_apart(
    images: int | None, published: int | None, said: str
) -> None:
    assert _list_line(Listed("val", images, published)) == f"list val: {said}"


ROW = {
    "table": int,
    "row": str,
    "column": str,
    "experiment": str,
    "metric": str,
    "subset": str | None,
    "perturbation": str | None,
    "printed": NUMBER | None,
    "measured": dict,
}


def test_experiments_and_report() -> None:
    for arguments in (("experiments",), ("experiments", "--table", 1), ("report", "table1")):
        document = segmix(*arguments, "--json").document()
        has_kind(document["rows"], [ROW])
        printed = {
            (row["experiment"], row["column"]): row["printed"]
            for row in document["rows"]
            if row["table"] == 1
        }
        assert printed[("sourcesep-cm", "ResNet-101")] == 78.9
        assert len(printed) == 10
    everything = segmix("experiments", "--json").document()
    has_kind(everything["figures"], [{"figure": int, "shows": str, "rows": list}])
    assert {it["figure"]: len(it["rows"]) for it in everything["figures"]} == dict.fromkeys(
        range(1, 8), 0
    ) | {4: 10, 5: 25}
    shown = segmix("experiments").out
    assert all(f"segmix figure {number}" in shown for number in range(1, 8))
    of_4 = {
        dataset: segmix("report", "figure4", "--dataset", dataset, "--json").document()["rows"]
        for dataset in ("silhouettes", "silhouettes-outofcontext", "voc2012")
    }
    assert of_4["silhouettes"] == of_4["silhouettes-outofcontext"]
    assert any(row["measured"] for row in of_4["silhouettes"])
    assert not any(row["measured"] for row in of_4["voc2012"])
    refused(segmix("report", "figure1"), "has no rows", "segmix figure 1")
    lines = segmix("experiments", "--table", 1).out.splitlines()
    assert lines[0].split() == ["where", "column", "row", "printed", "experiment", "measured", "(seeds)"]
    assert lines[1].startswith("table 1  ResNet-50")
    assert re.search(r" 75\.1, 77\.1 +baseline +.*voc2012 mini \d+\.\d\d", lines[1])
    assert [lines[0].index(word) for word in ("printed", "measured")] == [
        lines[1].index(word) for word in ("75.1", "silhouettes demo")
    ]
    at_smoke = segmix("report", "table1", "--scale", "smoke", "--json").document()
    assert all(row["measured"].keys() <= {"smoke"} for row in at_smoke["rows"])
    assert json.loads(segmix("report", "table1", "--format", "json").out) == document
    assert segmix("report", "table1").out.startswith("Table 1\n\n| row | column |")


def test_train(root: Path, trained: dict[str, Any]) -> None:
    assert trained.keys() == {"checkpoint", "rows"}
    folder = Path(trained["checkpoint"]).parent
    assert read_checkpoint(trained["checkpoint"])["progress"]["step"] == 6
    assert sorted(path.name for path in folder.glob("[!.]*")) == [
        "checkpoint.pt",
        "per_image",
        "rows.jsonl",
        "run.json",
        "stage1.pt",
    ]
    rows = trained["rows"]
    assert results.read(folder / "rows.jsonl") == rows  # reading checks every field and its kind
    assert [(row["stage"], row["output"], row["steps"], row["reported"]) for row in rows] == [
        (1, "dominant", 4, False),
        (1, "final", 4, False),
        (2, "dominant", 6, True),
        (2, "final", 6, False),
        *[(1, output, 4, False) for _ in BLENDED_AT for output in ("dominant", "final", "phantom")],
    ]
    assert [row["condition"] and row["condition"]["name"] for row in rows] == [
        *[None] * 4,
        *[f"delta {delta:g}" for delta in BLENDED_AT for _ in range(3)],
    ]
    for row in rows:
        has_kind(
            row["metrics"], SCORES | ({} if row["condition"] is None else {"told": NUMBER, "told_95": NUMBER})
        )
        assert row["weights"] is None
        given = {
            name: row[name] for name in ("experiment", "scale", "dataset", "split", "eval_split", "seed")
        }
        assert list(given.values()) == ["sourcesep-cm", "smoke", "voc2012", "train", "val", 0]
        assert (row["images"], row["eval_images"], row["protocol"], row["crop"]) == (24, 10, "crop", 64)


def test_the_rows_are_what_evaluating_the_checkpoints_gives(root: Path, trained: dict[str, Any]) -> None:
    checkpoint = Path(trained["checkpoint"])
    for stage, path in ((1, checkpoint.with_name("stage1.pt")), (2, checkpoint)):
        document = segmix("evaluate", path, "--dataset", "voc2012", "--root", root, "--json").document()
        for row in trained["rows"]:
            if row["stage"] == stage and row["condition"] is None:
                assert document["outputs"][row["output"]] == row["metrics"]


@pytest.mark.parametrize("protocol", ["crop", "full"])
def test_evaluate(root: Path, trained: dict[str, Any], protocol: str) -> None:
    common = ("evaluate", trained["checkpoint"], "--dataset", "voc2012", "--root", root)
    document = segmix(*common, "--protocol", protocol, "--json").document()
    scores = {"dominant": SCORES, "final": SCORES}
    crop = int if protocol == "crop" else type(None)
    kind = {"images": int, "protocol": str, "crop": crop, "mean_over": type(None), "outputs": scores}
    kind["perturbation"] = type(None)
    has_kind(document, kind)
    assert (document["images"], document["protocol"]) == (10, protocol)
    chosen = ["background", "person", "cat"]
    restricted = segmix(
        *common, "--protocol", protocol, "--categories", ", ".join(chosen), "--json"
    ).document()
    has_kind(restricted, kind | {"mean_over": [str]})
    assert restricted["mean_over"] == chosen
    for name, score in restricted["outputs"].items():
        assert score["iou_per_category"] == document["outputs"][name]["iou_per_category"]
        for names, measured in ((chosen, score), (VOC_CATEGORIES, document["outputs"][name])):
            iou = [score["iou_per_category"][category] for category in names]
            mean = np.mean([value for value in iou if value is not None])
            assert measured["mIoU"] == pytest.approx(mean, abs=2e-4)
    shown = dict(re.findall(r"^  (\w+) +(\S+)$", segmix(*common, "--protocol", protocol).out, re.MULTILINE))
    last = document["outputs"]["final"]["iou_per_category"]  # the later of two outputs
    assert None in last.values()
    assert shown == {category: "-" if iou is None else str(iou) for category, iou in last.items()}


def test_generated_pictures_are_those_of_the_checkpoints_scale(
    trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def root_of(scale: Scale) -> Path:
        asked.append(scale.name)
        raise InputError("scale", "was asked for", "stop here")

    monkeypatch.setattr("segmix_core.data.generated_root", root_of)
    refused(segmix("evaluate", trained["checkpoint"]), "was asked for")
    refused(segmix("stats", "--dataset", "silhouettes"), "was asked for")
    assert asked == ["smoke", "demo"]


def test_predict_takes_photographs_of_any_size_and_kind(trained: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"wide.jpg": (33, 129, 3), "grey.png": (70, 40), "clear.png": (16, 16, 4), "dot.png": (1, 1, 3)}
    for name, shape in shapes.items():
        Image.fromarray(rng.integers(0, 256, size=shape, dtype=np.uint8)).save(tmp_path / name)
    photos = [tmp_path / name for name in shapes]
    out = tmp_path / "new" / "out"
    document = segmix("predict", trained["checkpoint"], *photos, "--out", out, "--json").document()
    expected = [out / f"{path.stem}{end}" for path in photos for end in (".png", "-overlay.jpg")]
    assert document == {"files": [str(path) for path in expected]}
    assert set(out.iterdir()) == set(expected)
    model = load_model(trained["checkpoint"])
    for path in photos:
        with Image.open(path) as photo, Image.open(out / f"{path.stem}.png") as label:
            assert label.mode == "P"
            assert label.size == photo.size
            palette = label.getpalette()
            assert palette is not None
            assert palette[:63] == voc_palette()[:21].ravel().tolist()
            image = np.asarray(photo.convert("RGB"))
            drawn = np.asarray(label)
        image_BCHW = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            assert (model(image_BCHW).dominant.argmax(1)[0].numpy() == drawn).all()
        with Image.open(out / f"{path.stem}-overlay.jpg") as overlay:
            assert overlay.size == image.shape[1::-1]


def test_predict_replaces_neither_photographs_nor_its_own_results(
    trained: dict[str, Any], tmp_path: Path
) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (20, 20)).save(tmp_path / folder / "photo.png")
    photos = [tmp_path / folder / "photo.png" for folder in ("first", "second")]
    before = photos[0].read_bytes()
    common = ("predict", trained["checkpoint"])
    refused(segmix(*common, photos[0], "--out", tmp_path / "first"), "would replace", str(photos[0]))
    assert photos[0].read_bytes() == before
    refused(segmix(*common, *photos, "--out", tmp_path / "out"), "would replace")
    assert not (tmp_path / "out").exists()
    # What it wrote itself is written again; another file of the name, a published mask too, is not.
    for _ in range(2):
        assert segmix(*common, photos[0], "--out", tmp_path / "out").status == 0
    (tmp_path / "out" / "photo-overlay.jpg").unlink()
    mask = (tmp_path / "out" / "photo.png").read_bytes()
    refused(
        segmix(*common, photos[0], "--out", tmp_path / "out"), "photo.png: is there already, and no label"
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.png").write_text("mine")
    refused(
        segmix(*common, photos[0], "--out", tmp_path / "other"), "photo.png: is there already, and no label"
    )
    assert (tmp_path / "other" / "photo.png").read_text() == "mine"
    assert (tmp_path / "out" / "photo.png").read_bytes() == mask


def test_pretrain(tmp_path: Path) -> None:
    out = tmp_path / "encoder.safetensors"
    common = ("pretrain", "--scale", "smoke", "--epochs", 1, "--out", out, "--json")
    document = segmix(*common, "--images", 40).document()
    texts = ("backbone", "source", "epochs", "version", "commit", "weights", "sha256")
    has_kind(document, dict.fromkeys(texts, str) | {"accuracy": NUMBER})
    assert document["weights"] == str(out)
    assert 0 <= document["accuracy"] <= 100
    before = out.read_bytes()
    refused(segmix(*common, "--images", 20), "18 images do not fill a batch of 32")
    (tmp_path / "annotations").mkdir()
    coco = ("--dataset", "coco", "--root", tmp_path)
    refused(segmix(*common, *coco), "list trainval35k needs")  # the data set's own, as of train
    assert out.read_bytes() == before


def test_training_records_the_weights_it_starts_from_and_the_categories_it_is_measured_on(
    root: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "encoder.safetensors"
    made = segmix(
        "pretrain", "--scale", "smoke", "--images", 40, "--epochs", 1, "--out", weights, "--json"
    ).document()
    command = ("train", "baseline", "--scale", "smoke", "--categories", "background,person")
    out = ("--out", tmp_path / "run")
    rows = segmix(*command, *data(root)[:-1], weights, *out, "--json").document()["rows"]
    assert len(rows) == 2
    for row in rows:
        assert (row["weights"]["name"], row["weights"]["sha256"]) == (weights.name, made["sha256"])
        assert row["mean_over"] == ["background", "person"]
        iou = [row["metrics"]["iou_per_category"][name] for name in row["mean_over"]]
        assert row["metrics"]["mIoU"] == pytest.approx(np.mean(iou), abs=2e-4)
    refused(segmix(*command, *data(root), *out, "--resume"), f"its start is {made['sha256']}, not random")


def test_run_does_what_is_missing_within_its_budget_and_nothing_twice(
    root: Path, trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")
    out = tmp_path / "rows.jsonl"
    command = ("run", "table1", "--scale", "smoke", *data(root), "--out", out, "--json")
    names = [f"{name} 0" for name in METHODS]
    assert segmix(*command, "--budget", "0s").document() == {
        "done": [],
        "held": [],
        "left": names,
        "archives": [],
    }
    assert not out.exists()
    with monkeypatch.context() as ticking:
        ticking.setattr(run, "time", SimpleNamespace(monotonic=itertools.count(0, 10).__next__))
        # 10 s are spent when the first run begins; it takes 10 s, so at 30 s another would end at 40 s.
        once = segmix(*command, "--budget", "39s").document()
    assert once == {"done": names[:1], "held": [], "left": names[1:], "archives": []}
    assert {row["experiment"] for row in results.read(out)} == {"baseline"}
    assert segmix(*command).document() == {"done": names[1:], "held": names[:1], "left": [], "archives": []}
    rows = results.read(out)
    assert [(row["experiment"], row["stage"], row["output"]) for row in rows if row["reported"]] == [
        (name, 2, "dominant") for name in METHODS
    ]
    separate = [row for row in rows if row["experiment"] == "sourcesep-cm"]
    assert without_time(separate) == without_time(trained["rows"])

    def fail(*given: object, **named: object) -> None:
        pytest.fail("trained again")

    monkeypatch.setattr(run, "train", fail)
    before = out.read_bytes()
    assert segmix(*command).document() == {"done": [], "held": names, "left": [], "archives": []}
    assert segmix(*command, "--budget", "0s").document()["held"] == names  # what is there takes no time
    assert out.read_bytes() == before
    # Another file takes the runs from the cache; another seed, precision or mean is not held by this one.
    elsewhere = tmp_path / "elsewhere.jsonl"
    assert segmix(*command[:-2], elsewhere, "--json").document()["done"] == names
    assert len(results.read(elsewhere)) == len(rows)
    for other in (("--seeds", 1), ("--precision", "bf16"), ("--categories", "person")):
        with pytest.raises(pytest.fail.Exception, match="trained again"):
            segmix(*command, *other)


def test_a_run_that_outlasts_the_budget_stops_at_a_checkpoint_and_is_gone_on_with(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AtOnce(threading.Timer):
        """The time has passed as soon as training begins."""

        def start(self) -> None:
            self.function()

    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(threading, "Timer", AtOnce)
    out = tmp_path / "rows.jsonl"
    command = ("run", "table1", "--scale", "short", *data(root), "--out", out, "--budget", "1h", "--json")
    for step in (10, 30):  # nobody asks at 20, the end of stage 1
        left = [f"{name} 0" for name in METHODS]
        assert segmix(*command).document() == {"done": [], "held": [], "left": left, "archives": []}
        (checkpoint,) = (tmp_path / "cache").rglob("checkpoint.pt")  # no other run was begun
        assert read_checkpoint(checkpoint)["progress"]["step"] == step
        assert not out.exists()


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("45s", 45), ("25m", 1500), ("1.5h", 5400)])
def test_a_budget_has_units(text: str, seconds: float) -> None:
    assert as_seconds(text) == seconds


def test_a_name_counts_once() -> None:
    options = parser().parse_args(
        ["run", "table1", "--categories", "background,cat, background", "--seeds", "1,0,1"]
    )
    assert (options.categories, options.seeds) == (("background", "cat"), (1, 0))


def test_claims_have_verdicts() -> None:
    document = segmix("claims", "--json").document()["claims"]
    assert {one["claim"] for one in document} == set(range(1, 16))
    assert {one["verdict"] for one in document} <= {"supported", "not supported", "undecided"}
    verdicts = {one["claim"]: (one["verdict"], one["without_rows"]) for one in document}
    assert (verdicts[13], verdicts[8]) == (("supported", "by construction"), ("undecided", "no judged rows"))
    biased = next(one for one in document if one["claim"] == 15)
    assert (biased["verdict"], biased["contrasts"][0]["seeds"]) == ("not supported", 5)
    assert len(segmix("claims").out.splitlines()) == len(document)
    salient = next(one for one in document if one["claim"] == 8)
    assert salient["read_off"] not in salient["text"]
    ours = [contrast["what"] for one in document for contrast in one["contrasts"] if not contrast["said"]]
    assert "cutmix - baseline" in ours
    assert "sourcesep-cm - baseline" not in ours


def test_reports_are_about_any_results_file(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "own" / "rows.jsonl"
    segmix("train", "baseline", *data(root), "--scale", "smoke", "--out", tmp_path / "run", "--results", out)

    def measured_in(*where: Any) -> list[str]:
        rows = segmix("report", "table1", *where, "--json").document()["rows"]
        return sorted({row["experiment"] for row in rows if row["measured"].get("smoke")})

    assert measured_in("--results", out) == measured_in("--results", out.parent) == ["baseline"]
    renamed = out.with_name("rows.txt")
    renamed.write_bytes(out.read_bytes())
    assert measured_in("--results", renamed) == ["baseline"]
    assert "smoke" not in segmix("report", "table1").out
    shown = segmix("experiments", "--table", 1, "--results", out, "--json").document()["rows"]
    assert [row["row"] for row in shown if row["measured"]] == ["DeepLabv3"] * 2
    verdicts = segmix("claims", "--results", out, "--json").document()["claims"]
    decided = {one["claim"]: one["verdict"] for one in verdicts if one["verdict"] != "undecided"}
    assert decided == {13: "supported", 15: "not supported"}  # of pairs, which need no rows
    for command in (("report", "table1"), ("experiments",), ("claims",)):
        refused(segmix(*command, "--results", tmp_path / "none.jsonl"), "none.jsonl", "no such results file")


# Data sets


def test_every_kind_of_generated_data_is_made_and_checked(tmp_path: Path) -> None:
    made = {}
    for kind in ("scenes", "saliency", "outofcontext"):
        out = tmp_path / kind
        images = () if kind == "outofcontext" else ("--images", 6)
        sizes = (*images, "--val", 4, "--size", 48, "--json")
        said = segmix("data", "make", "silhouettes", "--kind", kind, "--out", out, *sizes)
        made[kind] = said.document()["images"]
    assert made == {"scenes": 10, "saliency": 10, "outofcontext": 8}
    for dataset, kind in (("silhouettes", "scenes"), ("duts", "saliency"), ("ecssd", "saliency")):
        checked = segmix(
            "data", "check", "--dataset", dataset, "--root", tmp_path / kind, "--json"
        ).document()
        assert checked["problems"] == []
        assert checked["files"] > 0
    (tmp_path / "saliency" / "ECSSD" / "ground_truth_mask" / "test_000000.png").unlink()
    broken = segmix("data", "check", "--dataset", "ecssd", "--root", tmp_path / "saliency", "--json")
    assert broken.status == 2
    assert len(json.loads(broken.out)["problems"]) == 1


def test_masks_with_shades_and_a_folder_of_its_own_for_what_is_measured(tmp_path: Path) -> None:
    made, elsewhere = tmp_path / "made", tmp_path / "elsewhere"
    sizes = ("--images", 8, "--val", 4, "--size", 48)
    segmix("data", "make", "silhouettes", "--kind", "saliency", "--out", made, *sizes)
    (made / "ECSSD").rename(elsewhere)
    (mask, *_) = sorted((elsewhere / "ground_truth_mask").iterdir())
    shades = np.full((48, 48), 100, dtype=np.uint8)
    shades[:20] = 200
    Image.fromarray(shades).save(mask)

    check = ("data", "check", "--dataset", "ecssd", "--root", elsewhere)
    assert segmix(*check).status == 2
    assert segmix(*check, "--mask-threshold", 150).status == 0
    refused(segmix(*check, "--mask-threshold", 256), "--mask-threshold")

    train = ("train", "baseline", "--scale", "smoke", "--dataset", "duts", "--root", made)
    train = (*train, "--pretrained", "none", "--out", tmp_path / "out")
    refused(segmix(*train), str(made), "has no folder images")
    shaded = segmix(*train, "--eval-root", elsewhere)
    assert (shaded.status, f"{mask.name}: " in shaded.err) == (2, True)
    document = segmix(*train, "--eval-root", elsewhere, "--mask-threshold", 150, "--json").document()
    row = document["rows"][-1]
    assert (row["dataset"], row["eval_dataset"], row["eval_images"]) == ("duts", "ecssd", 4)

    evaluate = ("evaluate", document["checkpoint"], "--dataset", "ecssd", "--root", elsewhere)
    evaluate = (*evaluate, "--protocol", "full", "--json")
    measured = {
        shade: segmix(*evaluate, "--mask-threshold", shade).document()["outputs"]["dominant"]
        for shade in (50, 150)
    }
    assert measured[150] == row["metrics"] != measured[50]


def test_fine_tuning_starts_from_a_checkpoint(root: Path, trained: dict[str, Any], tmp_path: Path) -> None:
    command = ("train", "sourcesep-cm", "--scale", "smoke", *data(root), "--start", trained["checkpoint"])
    document = segmix(*command, "--out", tmp_path / "out", "--json").document()
    start = {"name": "checkpoint.pt", "sha256": file_digest(Path(trained["checkpoint"]))}
    for row in document["rows"]:
        assert (row["stage"], row["steps"], row["weights"]) == (2, 2, start)
    assert not (tmp_path / "out" / "stage1.pt").exists()
    refused(segmix("train", "baseline", *command[2:], "--out", tmp_path / "other"), "another architecture")


def test_subsets_of_vocs_val_alone_stand_beside_their_printed_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmix(
        "data", "make", "silhouettes", "--out", tmp_path / "made", "--images", 30, "--val", 12, "--size", 48
    )
    command = ("subsets", "--root", tmp_path / "made", "--train-split", "train")
    out = tmp_path / "lists"
    written = segmix(*command, "--out", out, "--json").document()["subsets"]
    for row in written:
        assert len((out / f"{row['subset']}.txt").read_text().split()) == row["images"]
    val = (tmp_path / "made" / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    assert {one for path in out.rglob("*.txt") for one in path.read_text().split()} <= set(val)
    assert len([*out.rglob("*.txt")]) == len(written)
    with monkeypatch.context() as unread:
        unread.setattr("segmix_core.data.open_dataset", lambda *given, **named: pytest.fail("read before"))
        refused(segmix(*command, "--out", out), "is there already")
    document = segmix(*command, "--json").document()
    rows = {row["subset"]: row for row in document["subsets"]}
    assert rows["occlusion/any"]["printed"] == 1128
    assert rows["unique/2"]["images"] <= 12
    assert document["missing"] == {}
    assert segmix(*command).out.splitlines()[0].split() == ["subset", "images", "printed", "what"]
    for other in (("--dataset", "silhouettes"), ("--split", "train")):
        document = segmix(*command, *other, "--json").document()
        assert [row["subset"] for row in document["subsets"]] == list(rows)
        assert {row["printed"] for row in document["subsets"]} == {None}
        assert segmix(*command, *other).out.splitlines()[0].split() == ["subset", "images", "what"]
    shutil.rmtree(tmp_path / "made" / "Annotations")
    assert "occlusion/any" in segmix(*command, "--json").document()["missing"]
    untold = next(line for line in segmix(*command).out.splitlines() if line.startswith("occlusion/any"))
    assert untold.split()[1:6] == ["–", "1128", "cannot", "be", "told:"]
    untold = segmix(*command, "--split", "train").out.splitlines()[-1]
    assert "–  cannot be told" in untold  # the paper prints sizes of val alone


@pytest.mark.parametrize(
    ("dataset", "training", "evaluation"),
    [
        ("voc2012", "train_aug", "val"),
        ("coco", "trainval35k", "minival"),
        ("duts", "train", "test"),
        ("silhouettes-saliency", "train", "test"),
    ],
)
def test_the_evaluation_list_is_the_data_sets_own_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, training: str, evaluation: str
) -> None:
    asked: list[str] = []

    def measure(split: str) -> None:
        asked.append(split)
        raise InputError("list", "was asked for", "stop here")

    def open_dataset(name: str, root: Path, split: str, **named: Any) -> None:
        if split != training:
            measure(split)
        asked.append(split)

    monkeypatch.setattr(
        "segmix_core.measure.evaluate_checkpoint", lambda path, *, split, **named: measure(split)
    )
    monkeypatch.setattr(
        "segmix_core.robustness.checkpoint.attack_checkpoint", lambda of, **named: measure(of.split)
    )
    monkeypatch.setattr("segmix_core.data.open_dataset", open_dataset)
    on = ("--dataset", dataset, "--root", tmp_path)
    for split, expected in (((), evaluation), (("--split", "mine"), "mine")):
        for command in (
            ("evaluate", "checkpoint.pt"),
            ("attack", "checkpoint.pt", "--out", tmp_path),
            ("subsets",),
        ):
            refused(segmix(*command, *on, *split), "was asked for")
        assert asked == [expected, expected, training, expected]
        asked.clear()


def test_submit_packs_what_the_server_takes(root: Path, trained: dict[str, Any], tmp_path: Path) -> None:
    lists = root / "ImageSets" / "Segmentation"
    ids = (lists / "val.txt").read_text().split()
    out = tmp_path / "results.tgz"
    command = ("submit", trained["checkpoint"], "--root", root, "--split", "val", "--out", out)
    assert segmix(*command, "--json").document() == {"archive": str(out)}
    with tarfile.open(out) as archive:
        assert archive.getnames() == [
            f"results/VOC2012/Segmentation/comp6_val_cls/{one}.png" for one in sorted(ids)
        ]
        member = archive.extractfile(archive.getmembers()[0])
        assert member is not None
        submitted = np.asarray(Image.open(io.BytesIO(member.read())))
    image = root / "JPEGImages" / f"{sorted(ids)[0]}.jpg"
    segmix("predict", trained["checkpoint"], image, "--out", tmp_path / "predicted")
    predicted = np.asarray(Image.open(tmp_path / "predicted" / f"{image.stem}.png"))
    assert np.array_equal(submitted, predicted)
    refused(segmix(*command[:-1], tmp_path / "results.zip"), "the server takes .tgz")


# Errors


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("train", "baselin", "--out", "OUT"), ("baselin", "did you mean 'baseline'?")),
        (("train", "baseline", "--scale", "smok", "--out", "OUT"), ("scale", "did you mean 'smoke'?")),
        (
            (
                "train",
                "baseline",
                "--scale",
                "smoke",
                "--dataset",
                "voc2021",
                "--root",
                "ROOT",
                "--out",
                "OUT",
            ),
            ("dataset", "did you mean 'voc2012'?"),
        ),
        (("train", "baseline", "DATA", "--device", "cpi", "--out", "OUT"), ("did you mean 'cpu'?",)),
        (("train", "baseline", "DATA", "--backbone", "resnet18w23", "--out", "OUT"), ("'resnet18w32'?",)),
        (("train", "baseline", "DATA", "--categories", "persn", "--out", "OUT"), ("mean 'person'?",)),
        (("train", "baseline", "DATA", "--eval-split", "vla", "--out", "OUT"), ("vla", "val")),
        (("train", "baseline", "DATA", "--eval-split", "train", "--out", "OUT"), ("share 24 images",)),
        (("train", "baseline", "DATA", "--pretrained", "none.pth", "--out", "OUT"), ("none.pth",)),
        (
            ("train", "baseline", "DATA", "--pretrained", "WEIGHTS", "--out", "OUT"),
            ("WEIGHTS", "not a readable weights file"),
        ),
        (("train", "baseline", "DATA", "--workers", "-1", "--out", "OUT"), ("--workers",)),
        (("train", "baseline", "DATA", "--categories", ",", "--out", "OUT"), ("--categories",)),
        (("train", "baseline", "DATA", "--out", "FILE"), ("cannot write here",)),
        (("train", "baseline", "DATA", "--out", "FILE/below"), ("cannot write here",)),
        (
            ("train", "baseline", "DATA", "--out", "OUT", "--results", "FILE/rows.jsonl"),
            ("cannot be written",),
        ),
        (("train", "baseline", "--dataset", "voc2012", "--out", "OUT"), ("no --root given",)),
        (
            ("train", "baseline", "--dataset", "voc2012", "--root", "NONE", "--out", "OUT"),
            ("no such folder",),
        ),
        (("train", "baseline"), ("--out",)),
        (("stats", "--root", "NONE"), ("no such folder",)),
        (("stats",), ("no --root given",)),
        (("stats", "--root", "ROOT", "--split", "trian"), ("trian", "train")),
        (("stats", "--root", "ROOT", "--write"), ("list train", "VOC's 1464")),
        (("stats", "--root", "ROOT", "--write", "--split", "train"), ("--write", "--split")),
        (("stats", "--dataset", "coco", "--root", "ROOT", "--write"), ("--write", "voc2012")),
        (("evaluate", "NONE", "--dataset", "voc2012", "--root", "ROOT"), ("no such checkpoint",)),
        (("evaluate", "CHECKPOINT", "--dataset", "voc2021", "--root", "ROOT"), ("'voc2012'?",)),
        (
            (
                "evaluate",
                "CHECKPOINT",
                "--dataset",
                "voc2012",
                "--root",
                "ROOT",
                "--categories",
                "person,dgo",
            ),
            ("category", "did you mean 'dog'?"),
        ),
        (("evaluate", "FILE", "--dataset", "voc2012", "--root", "ROOT"), ("not a checkpoint",)),
        (("evaluate", "CHECKPOINT", "--dataset", "voc2021"), ("'voc2012'?",)),
        (
            ("evaluate", "CHECKPOINT", "--dataset", "ecssd", "--root", "ROOT", "--split", "val"),
            ("list", "'val'", "test"),
        ),
        (("predict", "CHECKPOINT", "DEEP", "--out", "OUT"), ("DEEP", "mode I;16", "8 bits a channel")),
        (("report", "table1", "--results", "ROOT"), ("ROOT", "holds no .jsonl file")),
        (("claims", "--results", "ROOT"), ("ROOT", "holds no .jsonl file")),
        (
            ("evaluate", "CHECKPOINT", "--dataset", "unrel", "--root", "ROOT"),
            ("has no label maps", "figure 4"),
        ),
        (("train", "baseline", "--dataset", "outofcontext", "--out", "OUT"), ("has no label maps",)),
        *(
            (("evaluate", "CHECKPOINT", "--dataset", "ecssd", "--root", "ROOT", *idle), ("measured whole",))
            for idle in (("--protocol", "crop"), ("--crop", "64"), ("--categories", "cat"))
        ),
        (
            ("train", "baseline", "--dataset", "silhouettes-saliency", "--categories", "cat", "--out", "OUT"),
            ("of no category",),
        ),
        (
            (
                "train",
                "baseline",
                "DATA",
                "--start",
                "CHECKPOINT",
                "--pretrained",
                "imagenet",
                "--out",
                "OUT",
            ),
            ("--start", "leave --pretrained out"),
        ),
        (
            ("pretrain", "--images", "9", "--dataset", "voc2012", "--root", "ROOT", "--out", "OUT"),
            ("--images",),
        ),
        (("pretrain", "--split", "train", "--out", "OUT"), ("--split", "give --root")),
        (
            ("data", "make", "silhouettes", "--kind", "outofcontext", "--images", "9", "--out", "OUT"),
            ("--images", "--val"),
        ),
        (("predict", "NONE", "FILE", "--out", "OUT"), ("no such checkpoint",)),
        (("predict", "CHECKPOINT", "NONE", "--out", "OUT"), ("no such image",)),
        (("predict", "CHECKPOINT", "FILE", "--out", "OUT"), ("the image is cut short or damaged",)),
        (
            ("predict", "CHECKPOINT", "HUGE/huge.png", "--out", "OUT"),
            ("huge.png", "has more than 89478485 pixels"),
        ),
        (("predict", "CHECKPOINT", "PHOTO", "--out", "FILE"), ("cannot write here",)),
        (("run", "tabel1", "DATA"), ("did you mean 'table1'?",)),
        (("run", "figure3", "DATA"), ("has no rows", "segmix figure 3")),
        (("run", "table2", "DATA"), ("has no list test", "segmix data fetch voc2012-test")),
        (("run", "table2"), ("is about voc2012 with its test images, not silhouettes",)),
        (("run", "table3", "DATA"), ("is about coco, not voc2012",)),
        (("run", "table1", "DATA", "--split", "trainval"), ("trainval",)),
        (("run", "table1", "DATA", "--seeds", "0,x"), ("--seeds",)),
        (("run", "table1", "DATA", "--seeds", "a"), ("--seeds", "no list of whole numbers, such as 0,1,2")),
        (("run", "table1", "DATA", "--budget", "5 days"), ("--budget", "no time, such as 90s, 25m or 3h")),
        (("run", "table1", "DATA", "--budget", "-5"), ("--budget", "no time, such as 90s, 25m or 3h")),
        (("run", "table1", "DATA", "--device", "cuda:9"), ("device", "unknown name 'cuda:9'")),
        (("run", "table1", "--budget", "0s", "--dataset", "silhouetes"), ("dataset", "mean 'silhouettes'?")),
        (("run", "table1", "--budget", "0s", "--backbone", "resnet18w23"), ("backbone", "'resnet18w32'?")),
        (("run", "table1", "DATA", "--budget", "0s", "--split", "tarin"), ("tarin",)),
        (("run", "table1", "--budget", "0s", "--device", "cpi"), ("device", "did you mean 'cpu'?")),
        (
            ("figure", "5", "DATA", "--device", "cuda:9", "--out", "OUT/f.png"),
            ("device", "unknown name 'cuda:9'"),
        ),
        (("figure", "3", "DATA", "--pictures", "ROOT", "--out", "OUT/f.png"), ("figure 3", "figure 4 alone")),
        (
            ("figure", "4", "DATA", "--pictures", "HUGE", "--out", "OUT/f.png"),
            ("huge.png", "has more than 89478485"),
        ),
        (("figure", "5", "DATA", "--perturbations", "ROOT", "--out", "OUT/f.png"), ("figure 6 alone",)),
        (("run", "table1", "DATA", "--eval-split", "none"), ("leaves a table nothing to measure",)),
        (("run", "table1", "DATA", "--pseudo", "NONE"), ("categories of its own", "leave --pseudo out")),
        (("train", "baseline", "DATA", "--start", "NONE", "--out", "OUT"), ("NONE", "no such checkpoint")),
        (("train", "baseline", "DATA", "--start", "ROOT", "--out", "OUT"), ("ROOT", "no such checkpoint")),
        (("run", "table1", "DATA", "--out", "FILE/rows.jsonl"), ("cannot be written",)),
        (("run", "table1", "DATA", "--out", "BROKEN"), ("BROKEN:2", "broken line")),
        (
            ("pretrain", "--dataset", "ecssd", "--root", "ROOT", "--out", "OUT/encoder.safetensors"),
            ("dataset ecssd", "has no categories to name"),
        ),
        (
            ("pretrain", "--dataset", "silhouettes-saliency", "--out", "OUT/encoder.safetensors"),
            ("dataset silhouettes-saliency", "has no categories to name"),
        ),
        (("report", "table99"), ("known: figure1",)),
        (("experiments", "--table", "99"), ("known: 1",)),
        (("data", "make", "silhouettes", "--out", "FILE/made"), ("cannot write here",)),
        (("data", "make", "silhouettes", "--out", "OUT", "--images", "0"), ("--images",)),
        (("data", "make", "silhouettes", "--out", "OUT", "--images", "1" + "0" * 20), ("more than 1000000",)),
        (("data", "make", "silhouettes", "--out", "OUT", "--val", "1" + "0" * 20), ("more than 1000000",)),
        (("data", "make", "silhouettes", "--out", "OUT", "--size", "5000"), ("more than 4096",)),
        (("pretrain", "--out", "OUT/e.safetensors", "--images", "1000000"), ("more than 100000",)),
        (
            ("evaluate", "CHECKPOINT", "--dataset", "voc2012", "--root", "ROOT", "--crop", "1000000"),
            ("more than 4096",),
        ),
        (("pretrain", "--out", "FOLDER"), ("FOLDER", "cannot be written")),
        (("figure", "5", "DATA", "--out", "FOLDER"), ("FOLDER", "cannot be written")),
        (("submit", "CHECKPOINT", "--root", "ROOT", "--split", "val", "--out", "FOLDER"), (".tgz",)),
        (("submit", "CHECKPOINT", "--root", "ROOT", "--split", "val", "--out", "ARCHIVE"), ("is a folder",)),
        (("data", "make", "silhouettes", "--out", "OUT", "--size", "8"), ("--size", "give 32 or more")),
        (("data", "check", "--root", "NONE"), ("NONE",)),
        (("data", "fetch", "voc", "--root", "OUT"), ("unknown name 'voc'", "did you mean 'voc2012'")),
        (("data", "augment", "--root", "OUT", "--sbd", "NONE"), ("NONE",)),
        (("subsets", "--root", "NONE"), ("NONE",)),
        (("stats", "--root", "LONG", "--split", "val"), ("val.txt, line 1", "(5000 characters)")),
        (("submit", "NONE", "--root", "NONE", "--out", "OUT/x.tgz"), ("NONE",)),
        (("unknown",), ("invalid choice: 'unknown'",)),
        ((), ("COMMAND",)),
    ],
    ids=lambda value: " ".join(map(str, value)) if value and value[0] != "DATA" else None,
)
def test_bad_input_is_one_line_and_exit_2(
    root: Path,
    trained: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise AssertionError("trained before it looked")

    monkeypatch.setattr(run, "train", fail)
    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    file, broken, photo = tmp_path / "file", tmp_path / "broken.jsonl", tmp_path / "photo.png"
    file.write_text("mine")
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"cut short")
    row = Path(trained["checkpoint"]).with_name("rows.jsonl").read_text().splitlines()[0]
    broken.write_text(f"{row}\n{row[:80]}\n")
    Image.new("RGB", (20, 20)).save(photo)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.tgz").mkdir()
    deep = tmp_path / "deep.png"
    Image.fromarray(np.full((20, 20), 4000, dtype=np.uint16)).save(deep)
    (tmp_path / "huge").mkdir()
    write_huge(tmp_path / "huge" / "huge.png")
    (tmp_path / "long" / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "long" / "SegmentationClass").mkdir()
    (tmp_path / "long" / "ImageSets" / "Segmentation" / "val.txt").write_text(f"{'x' * 5000}\n")
    places = {
        "OUT": tmp_path / "out",
        "FILE": file,
        "NONE": tmp_path / "none",
        "ROOT": root,
        "BROKEN": broken,
        "PHOTO": photo,
        "DEEP": deep,
        "FOLDER": tmp_path / "folder.png",
        "ARCHIVE": tmp_path / "folder.tgz",
        "HUGE": tmp_path / "huge",
        "LONG": tmp_path / "long",
        "WEIGHTS": weights,
        "CHECKPOINT": trained["checkpoint"],
    }
    given: list[object] = []
    for argument in arguments:
        first, slash, below = argument.partition("/")
        if argument == "DATA":
            given += ["--scale", "smoke", *data(root)]
        else:
            given.append(f"{places.get(first, first)}{slash}{below}")
    said = segmix(*given)
    named = list(parts)
    for name, place in places.items():
        named = [part.replace(name, str(place)) for part in named]
    refused(said, *named)
    assert file.read_text() == "mine"
    assert broken.read_text() == f"{row}\n{row[:80]}\n"
    for left in ("out", "cache", "results"):
        assert not list((tmp_path / left).rglob("*"))


@pytest.mark.parametrize(
    ("folder", "name", "content", "said"),
    [
        ("JPEGImages", "train_0003.jpg", None, "the image is cut short or damaged"),
        ("JPEGImages", "val_0003.jpg", None, "the image is cut short or damaged"),
        ("SegmentationClass", "val_0003.png", None, "the label map is cut short or damaged"),
        ("Annotations", "val_0000.xml", b"<annotation/>", "names no object"),
        (
            "Annotations",
            "val_0000.xml",
            b"<annotation><object><name>hors</name></object></annotation>",
            "did you mean 'horse'?",
        ),
    ],
)
def test_files_are_read_before_hours_of_training(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    name: str,
    content: bytes | None,
    said: str,
) -> None:
    monkeypatch.setattr(run, "train", lambda *given, **named: pytest.fail("trained before it looked"))
    monkeypatch.setattr(run, "_readable", set())
    spoilt = tmp_path / "voc"
    shutil.copytree(root, spoilt)
    path = spoilt / folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(path.read_bytes()[:90] if content is None else content)
    out = tmp_path / "out"
    found = segmix("train", "baseline", "--scale", "smoke", *data(spoilt), "--out", out)
    *progress, refusal = found.err.splitlines(keepends=True)
    assert all(line.startswith("data: ") for line in progress)
    refused(replace(found, err=refusal), name, said)
    assert not out.exists()


def test_what_resumes_nothing_says_so(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train", interrupt)
    out = tmp_path / "mistyped"
    said = segmix("train", "baseline", "--scale", "short", *data(root), "--out", out, "--resume")
    assert f"{out} holds no checkpoint: training begins" in said.err


def test_the_data_sets_in_help_are_those_that_can_be_opened() -> None:
    assert {*DATASETS, OUT_OF_CONTEXT} == set(data_sets.DATASETS)


def test_a_folder_that_holds_a_run_is_left_alone(root: Path, trained: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(trained["checkpoint"]).parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    command = ("train", "sourcesep-cm", "--scale", "smoke", *data(root), "--out", folder)
    refused(segmix(*command), str(folder), "holds a run already; add --resume")
    for changed, parts in (
        (("--seed", 1), "its seed is 0, not 1"),
        (("--backbone", "resnet18"), "its scale.backbone is resnet18w32, not resnet18"),
    ):
        refused(segmix(*command, "--resume", *changed), parts)
    refused(
        segmix("train", "baseline", "--scale", "smoke", *data(root), "--out", folder, "--resume"),
        "its method.pairing is cooccurrence, not none",
    )
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    # A finished run goes on to where it is, with the same rows.
    again = segmix(*command, "--resume", "--json").document()
    assert again["rows"] == trained["rows"]


def test_a_checkpoint_of_other_categories_is_refused(
    root: Path, trained: dict[str, Any], tmp_path: Path
) -> None:
    content = read_checkpoint(trained["checkpoint"])
    content["architecture"]["num_categories"] = 5
    model = SourceSeparation(
        5, backbone="resnet18w32", output_stride=8, aspp_channels=64, aspp_rates=(2, 4, 6)
    )
    content["model"] = model.state_dict()
    torch.save(content, tmp_path / "five.pt")
    refused(
        segmix("evaluate", tmp_path / "five.pt", "--dataset", "voc2012", "--root", root),
        "knows 5 categories, not 21",
    )


@pytest.mark.parametrize("native", [False, True])
def test_imitated_precision_is_told_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setattr(models, "native", lambda device, precision: native or precision == "fp32")
    note.cache_clear()
    command = (
        "run",
        "table1",
        *data(root),
        "--seeds",
        "0,1",
        "--budget",
        "0s",
        "--out",
        tmp_path / "rows.jsonl",
    )
    said = segmix(*command, "--precision", "bf16")
    assert said.status == 0
    assert said.err.count("segmix: note: cpu has no instructions for bf16") == (0 if native else 1)
    note.cache_clear()
    assert "note" not in segmix(*command).err


def test_work_that_fails_is_one_line_and_exit_1(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("train", "baseline", "--scale", "smoke", *data(root), "--out")
    with monkeypatch.context() as poisoned:
        poisoned.setattr(stages, "learning_rate", lambda plan, step: 1e30)
        refused(segmix(*command, tmp_path / "poisoned"), "step 1: the loss is not finite", status=1)

    def full(content: object, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    said = segmix(*command, tmp_path / "full")
    assert said.status == 1
    assert "No space left on device" in said.err
    assert [path.name for path in (tmp_path / "full").glob("[!.]*")] == ["run.json"]


@pytest.mark.parametrize(("number", "status"), [(errno.EACCES, 2), (errno.EISDIR, 2), (errno.ENOSPC, 1)])
def test_a_path_that_the_system_refuses_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    def fail(options: object) -> int:
        raise OSError(number, os.strerror(number), "given/path")

    monkeypatch.setattr("segmix_core.cli.command._answer", fail)
    refused(segmix("report", "table1"), f"given/path: {os.strerror(number)}", "check the path", status=status)


def test_what_an_error_cites_does_not_steer_the_terminal() -> None:
    said = segmix("report", "table\x1b[31m99")
    assert said.status == 2
    assert "\x1b" not in said.err


def test_what_an_error_cites_is_cut() -> None:
    error = InputError("x.xml, line 7", f"unknown name '{'a' * 9000}'", "name a category of VOC")
    assert str(error).startswith("x.xml, line 7: unknown name 'aaa")
    assert str(error).endswith("aaa ...; name a category of VOC")
    assert len(error.what) == LONGEST
    assert short("a" * LONGEST) == "a" * LONGEST


def test_a_terminal_that_does_not_know_a_letter_is_told_all_the_same(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "segmix_core", "data", "make", "silhouettes", "--images", "2", "--val", "2",
         "--size", "32", "--out", str(tmp_path / "\u732b")],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"}, capture_output=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert rb"\u732b" in made.stdout


def test_debug_shows_where_an_error_came_from() -> None:
    with pytest.raises(InputError):
        segmix("report", "table99", "--debug")


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_the_process_ends_with_the_status() -> None:
    good = python("-m", "segmix_core", "experiments", "--json")
    assert (good.returncode, good.stderr) == (0, "")
    assert len(json.loads(good.stdout)["rows"]) >= 10
    bad = python("-m", "segmix_core", "report", "tabel1")
    refused(Said(bad.returncode, bad.stdout, bad.stderr), "did you mean 'table1'?")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "segmix_core", "report", "tables"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(7) == b"Table 1"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


# Ctrl-C


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    rows: list[dict[str, Any]] = segmix(
        "train", "sourcesep-cm", "--scale", "short", *data(root), "--out", out, "--json"
    ).document()["rows"]
    return rows


def goes_on(root: Path, out: Path, undisturbed: list[dict[str, Any]]) -> None:
    """Resuming the run of scale `short` in `out` gives the rows of one that was never stopped."""
    command = ("train", "sourcesep-cm", "--scale", "short", *data(root), "--out", out, "--resume", "--json")
    assert without_time(segmix(*command).document()["rows"]) == without_time(undisturbed)


def test_an_interrupt_in_stage_1_leaves_a_checkpoint_and_says_how_to_go_on(
    root: Path, tmp_path: Path, undisturbed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: ProgressLine, done: int, total: int, terms: dict[str, float]) -> None:
        assert (done, total) == (10, 60)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(ProgressLine, "__call__", interrupt)
        said = segmix("train", "sourcesep-cm", "--scale", "short", *data(root), "--out", tmp_path / "out")
    refused(said, "train: interrupted; the checkpoint is whole, add --resume", status=130)
    assert signal.getsignal(signal.SIGINT) is before
    assert read_checkpoint(tmp_path / "out" / "checkpoint.pt")["progress"]["step"] == 10
    goes_on(root, tmp_path / "out", undisturbed)


def test_an_interrupt_before_the_first_checkpoint_promises_none(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "model_of", interrupt)
    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")
    for command in (
        ("train", "baseline", "--out", tmp_path / "out"),
        ("run", "table1", "--out", tmp_path / "r"),
    ):
        said = segmix(*command, "--scale", "short", *data(root))
        refused(said, "interrupted; give the same command", status=130)


def out_of_gpu_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has ...")


@pytest.mark.parametrize(
    "fills", [lambda: torch.empty(1 << 60), lambda: np.empty(1 << 57), out_of_gpu_memory]
)
def test_too_little_memory_is_one_line(
    fills: Callable[[], object], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "model_of", lambda *given, **named: fills())
    said = segmix("train", "baseline", "--scale", "short", *data(root), "--out", tmp_path / "out")
    refused(said, "train: out of memory; choose a smaller --scale", status=1)


def test_an_error_of_ours_is_one_line_and_its_traceback_is_asked_for(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object, **named: object) -> None:
        raise ValueError("shapes (3,)\nand (4,)")

    monkeypatch.setattr(run, "model_of", broken)
    command = ("train", "baseline", "--scale", "short", *data(root), "--out", tmp_path / "out")
    refused(segmix(*command), "train: ValueError: shapes (3,) and (4,); --debug", status=1)
    with pytest.raises(ValueError, match="shapes"):
        segmix(*command, "--debug")


REGISTERED = """
import sys
from dataclasses import replace
from segmix_core import cli
from segmix_core.experiments import SCALES, Scale
SCALES["short"] = {scale}
sys.exit(cli.main(sys.argv[1:]))
"""


def test_ctrl_c_reaches_a_process_and_those_that_load_for_it(
    root: Path, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    out = tmp_path / "out"
    command = ["train", "sourcesep-cm", "--scale", "short", *data(root), "--out", out, "--workers", 2]
    with subprocess.Popen(
        [sys.executable, "-c", REGISTERED.format(scale=SHORT), *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    ) as process:
        began = time.monotonic()
        while not (out / "stage1.pt").exists():
            assert process.poll() is None
            assert time.monotonic() - began < 300
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        written, said = process.communicate(timeout=300)
    assert "Traceback" not in said
    refused(Said(process.returncode, written, said.splitlines(True)[-1]), "add --resume", status=130)
    step = read_checkpoint(out / "checkpoint.pt")["progress"]["step"]
    assert 20 <= step < 60
    goes_on(root, out, undisturbed)


def test_another_backbone_is_another_scale() -> None:
    asked = ("train", "baseline", "--out", "unused", "--pretrained", "none")
    plain, other = (
        request_of(parser().parse_args([*asked, *more]), "baseline", 0)
        for more in ((), ("--backbone", "resnet50"))
    )
    assert other.scale.backbone == "resnet50"
    assert plain.scale.digest() != other.scale.digest()
    assert run.run_folder(plain, "data") != run.run_folder(other, "data")
