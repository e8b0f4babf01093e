"""Which runs a set of tables needs, and the salient path from pseudo-categories to rows."""

import shutil
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_voc
from PIL import Image
from test_results import ATTACKED, MADE
from test_results import row as result_row

from segmix_core import request as requests
from segmix_core import results, run
from segmix_core.data import evaluation_crop, open_dataset, silhouettes
from segmix_core.data.check import check
from segmix_core.data.saliency import SaliencyDataset
from segmix_core.data.transforms import draw_augmentation
from segmix_core.errors import InputError
from segmix_core.experiments import METHODS, TABLES, Row, Scale, find_experiment, find_rows
from segmix_core.experiments.scales import SCALES, SMOKE
from segmix_core.measure import reported_output
from segmix_core.report import measured
from segmix_core.report.tables import confusions_of
from segmix_core.request import Request, batches_of, data_of
from segmix_core.results import append_missing, row_key
from segmix_core.rng import stream
from segmix_core.run import (
    Ran,
    on_data,
    run_tables,
    train_and_measure,
    training_runs,
)
from segmix_core.training import TrainingBatches

TINY = replace(
    SMOKE, name="tiny", crop=33, batch_size=4, aspp_channels=8, stage1_steps=2, stage2_steps=1,
    silhouettes=(12, 6, 48),
)  # fmt: skip


def request_for(name: str, dataset: str = "silhouettes") -> Request:
    return Request(experiment=find_experiment(name), scale=TINY, dataset=dataset, pretrained="none")


def names_of(rows: tuple[Row, ...], dataset: str = "silhouettes") -> list[str]:
    wanted, _ = training_runs(rows, lambda name: request_for(name, dataset))
    return [request.experiment.name for request in wanted]


def test_stage_1_alone_is_read_off_the_whole_run() -> None:
    """Table 8 needs five runs besides the baseline: "w/o DN" is the stage 1 of those with DN."""
    assert names_of(TABLES[8]) == [
        "baseline",
        "table8/sourcesep-cc-mixed",
        "sourcesep-cc",
        "table8/sourcesep-cm-mixed",
        "sourcesep-cm",
        "table8/sourcesep-cm-without-ppa",
        "table8/sourcesep-cm-log-eps",
    ]
    assert names_of(TABLES[4]) == names_of(TABLES[5]) == list(METHODS)
    alone = tuple(row for row in TABLES[8] if row.experiment.name.endswith("cm-without-dn"))
    assert names_of(alone) == ["table8/sourcesep-cm-without-dn"]


def test_all_tables_share_their_runs() -> None:
    everything = find_rows("tables") + find_rows("figures")
    wanted, elsewhere = training_runs(everything, request_for)
    assert [request.experiment.name for request in wanted][:5] == list(METHODS)  # Table 1 first
    pairs = [(request.dataset, request.experiment.method) for request in wanted]
    assert len(set(pairs)) == len(pairs)
    for row in everything:
        request = on_data(request_for(row.experiment.name), row.data)
        if request is None:
            assert (row.experiment, row.data) in elsewhere
        else:
            read_from = [method for dataset, method in pairs if dataset == request.dataset]
            assert any(row.experiment.method.stage_of(method) for method in read_from), row
    assert {data for _, data in elsewhere} == {"coco", "voc-test"}


def test_rows_of_other_data_are_left() -> None:
    wanted, elsewhere = training_runs(TABLES[3], request_for)
    assert wanted == []
    assert {experiment.name for experiment, _ in elsewhere} == {row.experiment.name for row in TABLES[3]}
    assert names_of(TABLES[3], "coco") == [row.experiment.name for row in TABLES[3]]
    assert names_of(TABLES[1], "coco") == []


def test_at_paper_scale_each_block_trains_its_encoder() -> None:
    """Tables 1 and 7 have ResNet-50; below paper scale, or where one is asked for, there is one encoder."""

    def trained(scale: Scale, *tables: int) -> list[tuple[str, str]]:
        rows = tuple(row for number in tables for row in TABLES[number])
        wanted, _ = training_runs(rows, lambda name: replace(request_for(name, "voc2012"), scale=scale))
        return [(request.scale.backbone, request.experiment.name) for request in wanted]

    assert trained(SCALES["paper"], 1) == [
        (backbone, name) for backbone in ("resnet50", "resnet101") for name in METHODS
    ]
    assert trained(TINY, 1) == [(TINY.backbone, name) for name in METHODS]
    for backbone in ("resnet50", "resnet101"):
        asked = replace(SCALES["paper"], backbone=backbone)
        wanted, _ = training_runs(
            TABLES[1],
            lambda name, asked=asked: replace(request_for(name, "voc2012"), scale=asked, chosen_encoder=True),
        )
        assert [(one.scale.backbone, one.experiment.name) for one in wanted] == [
            (backbone, name) for name in METHODS
        ]
    # Stage 1 alone is read off the whole run of the same encoder.
    assert ("resnet50", "table9/baseline-stage1") not in trained(SCALES["paper"], 1, 11)
    (salient, *_), _ = training_runs(
        TABLES[7], lambda name: replace(request_for(name, "duts"), scale=SCALES["paper"])
    )
    assert salient.scale.backbone == "resnet50"


@pytest.fixture(scope="module")
def salient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("salient") / "made"
    silhouettes.make_saliency(folder, images=12, val=6, size=48, seed=0)
    pseudo = folder / "pseudo_categories"
    pseudo.mkdir()
    for path in sorted((folder / "true_categories").glob("train_*.png")):
        (pseudo / path.name).write_bytes(path.read_bytes())
    return folder


def test_salient_objects_are_paired_by_their_pseudo_categories(salient: Path) -> None:
    dataset = open_dataset("duts", salient, "train")
    assert isinstance(dataset, SaliencyDataset)
    batches = TrainingBatches(dataset, batch_size=4, crop=48, scale_range=(1.0, 1.0), seed=0)
    assert batches.presence.shape == (12, 21)
    _, labels, held = batches[0]  # type: ignore[misc]
    assert held.shape == (4, 21)
    assert set(np.unique(labels)) <= {0, 1, 255}
    # At scale 1 the crop is the whole image, mirrored or not.
    assert np.array_equal(held.numpy(), batches.presence[batches.indices(0)])
    for index in range(12):
        seen = np.bincount(dataset.category(index).ravel(), minlength=21)
        assert np.array_equal(batches.presence[index], seen >= 0.005 * 48 * 48)
    # A smaller crop is paired by what is left in it.
    smaller = TrainingBatches(dataset, batch_size=12, crop=16, scale_range=(1.0, 1.0), seed=0)
    _, _, held = smaller[3]  # type: ignore[misc]
    for slot, index in enumerate(smaller.indices(3)):
        category = dataset.category(index)
        drawn = draw_augmentation((48, 48), 16, rng=stream(0, "augment", 3, slot), scale_range=(1.0, 1.0))
        left = category[drawn.top : drawn.top + 16, drawn.left : drawn.left + 16]
        seen = np.bincount(left.ravel(), minlength=21)
        assert np.array_equal(held[slot].numpy(), seen >= 0.005 * 16 * 16)
    assert not np.array_equal(held.numpy(), smaller.presence[smaller.indices(3)])


def test_salient_objects_without_pseudo_categories_are_not_paired_by_score(
    salient: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(salient, bare, ignore=shutil.ignore_patterns("pseudo_categories"))
    asked = partial(Request, scale=TINY, dataset="duts", root=bare, eval_split="test")
    for name, method in METHODS.items():
        request = asked(experiment=method)
        training, _ = data_of(request)
        if name.startswith("sourcesep"):
            with pytest.raises(InputError, match=f"no pseudo-categories, and {name} pairs images by them"):
                batches_of(request, training)
        else:
            assert len(batches_of(request, training).dataset) == 12
    # Of a whole table that is said before its first network is trained.
    monkeypatch.setattr(run, "cached_run", lambda *given, **named: pytest.fail("trained"))
    out = tmp_path / "rows.jsonl"
    with pytest.raises(InputError, match="no pseudo-categories, and sourcesep-cm pairs images by them"):
        run_tables(
            ["table7"],
            lambda name, seed: asked(experiment=METHODS[name], seed=seed),
            seeds=[0],
            results_file=out,
        )
    assert not out.exists()


def test_a_speck_of_a_pseudo_category_is_not_paired_by(salient: Path, tmp_path: Path) -> None:
    dataset = open_dataset("duts", salient, "train")
    pseudo = tmp_path / "pseudo"
    pseudo.mkdir()
    for number, identifier in enumerate(dataset.ids):
        label = np.zeros((48, 48), dtype=np.uint8)
        label.flat[: 11 if number else 12] = 7  # 0.5 % of 48 x 48 is 11.52
        Image.fromarray(label).save(pseudo / f"{identifier}.png")
    specks = open_dataset("duts", salient, "train", pseudo=pseudo)
    batches = TrainingBatches(specks, batch_size=4, crop=48, scale_range=(1.0, 1.0), seed=0)
    assert batches.presence[:, 7].tolist() == [True] + [False] * 11
    for step in range(3):
        assert batches[step][2][:, 7].tolist() == (batches.indices(step) == 0).tolist()  # type: ignore[index]


def test_shades_count_from_the_threshold_that_is_said(salient: Path, tmp_path: Path) -> None:
    shaded = tmp_path / "shaded"
    shutil.copytree(salient, shaded)
    dataset = open_dataset("duts", shaded, "train")
    grey = np.full((48, 48), 100, dtype=np.uint8)
    grey[:20] = 200
    Image.fromarray(grey).save(dataset.label_paths[0])
    with pytest.raises(InputError, match=r"value 200 .* with --mask-threshold"):
        dataset.label(0)
    assert len(check("duts", shaded).problems) == 1
    assert check("duts", shaded, mask_threshold=128).problems == ()
    request = Request(
        experiment=METHODS["baseline"], scale=TINY, dataset="duts", root=shaded, eval_split="test",
        mask_threshold=128,
    )  # fmt: skip
    training, (evaluation,) = data_of(request)
    assert (training.label(0) == (grey == 200)).all()
    assert isinstance(evaluation, SaliencyDataset)
    assert evaluation.threshold == 128
    other, _ = data_of(replace(request, mask_threshold=50))
    assert other.digest() != training.digest()
    with pytest.raises(InputError, match="has no masks for --mask-threshold"):
        open_dataset("voc2012", shaded, "train", mask_threshold=9)


def test_a_salient_run_leaves_rows_of_its_own_kind(salient: Path, tmp_path: Path) -> None:
    request = Request(
        experiment=METHODS["sourcesep-cm"], scale=TINY, dataset="duts", root=salient, eval_split="test",
        pretrained="none",
    )  # fmt: skip
    _, rows = train_and_measure(request, tmp_path / "run", results_file=tmp_path / "rows.jsonl")
    rows = results.read(tmp_path / "rows.jsonl")
    assert [(row["stage"], row["output"]) for row in rows] == [
        (1, "dominant"), (1, "final"), (2, "dominant"), (2, "final"),
    ]  # fmt: skip
    for row in rows:
        assert row["metrics"].keys() == {"maxF", "maxF_of_means", "MAE", "MAE_unscaled"}
        assert all(0 <= value <= 1 for value in row["metrics"].values())
        assert (row["eval_dataset"], row["protocol"], row["crop"]) == ("ecssd", "full", None)
    entries = measured(rows, METHODS["sourcesep-cm"], metric="maxF", among=("ecssd",))
    assert entries[0]["value"] == rows[2]["metrics"]["maxF"]
    assert measured(rows, METHODS["sourcesep-cm"]) == []  # no mIoU
    before = [row | {"metrics": {"maxF": 0.5, "MAE": 0.1}} for row in rows]  # older rows have one MAE
    assert measured(before, METHODS["sourcesep-cm"], metric="MAE_unscaled") == []
    # They do not keep the other from being measured, and what is measured is added to them.
    assert run.is_measured(request, rows)
    assert not run.is_measured(request, before)
    older = tmp_path / "older.jsonl"
    results.append(older, before)
    append_missing(older, rows)
    append_missing(older, rows)
    (entry,) = measured(results.read(older), METHODS["sourcesep-cm"], metric="MAE_unscaled")
    assert entry["value"] == rows[2]["metrics"]["MAE_unscaled"]
    assert len(results.read(older)) == 2 * len(rows)


def test_generated_salient_objects_get_their_pseudo_categories_from_a_segmenter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")
    monkeypatch.setattr("segmix_core.data.GENERATED", tmp_path / "generated")
    request = on_data(request_for("sourcesep-cm"), "ecssd")
    assert request is not None
    assert request.dataset == "silhouettes-saliency"
    whole = run.with_pseudo_categories(request)
    assert whole.pseudo is not None
    training, (evaluation,) = data_of(whole)
    assert isinstance(training, SaliencyDataset)
    assert sorted(path.stem for path in whole.pseudo.glob("*.png")) == list(training.ids)
    assert evaluation.name == "silhouettes-saliency"
    assert not set(training.ids) & set(evaluation.ids)
    before = {path: path.stat().st_mtime_ns for path in whole.pseudo.iterdir()}
    assert run.with_pseudo_categories(request) == whole
    of_salient_objects: tuple[dict[str, Any], ...] = (
        {"mask_threshold": 128},
        {"mean_over": ("salient",)},
        {"start": tmp_path / "checkpoint.pt"},
        {"eval_root": tmp_path},
    )
    for asked in of_salient_objects:
        assert run.with_pseudo_categories(replace(request, **asked)) == replace(whole, **asked)
    assert {path: path.stat().st_mtime_ns for path in whole.pseudo.iterdir()} == before
    # Whatever the seed of a run, it learns from the same data: seeds may be averaged.
    assert run.with_pseudo_categories(replace(request, seed=1)) == replace(whole, seed=1)


def test_a_run_on_generated_scenes_is_measured_out_of_context_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")
    monkeypatch.setattr("segmix_core.data.GENERATED", tmp_path / "generated")
    out = tmp_path / "rows.jsonl"
    ran = run_tables(
        ["figure4"], lambda name, seed: replace(request_for(name), seed=seed), seeds=[0], results_file=out
    )
    assert ran == Ran(done=[f"{name} 0" for name in METHODS])
    # Without a file of the user's own, whatever any of the repository's holds is held.
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    again = run_tables(["figure4"], lambda name, seed: replace(request_for(name), seed=seed), seeds=[0])
    assert again == Ran(held=ran.done)
    rows = results.read(out)
    for split, images in (("val", 6), ("outofcontext", 3), ("ordinary", 3)):
        listed = [row for row in rows if row["eval_split"] == split]
        assert {row["eval_images"] for row in listed} == {images}
        assert {row["experiment"] for row in listed} == set(METHODS)
    own = replace(request_for("mixup"), root=tmp_path)  # a folder of scenes has no such lists
    assert [on_data(own, "voc"), on_data(own, "context"), on_data(own, "ecssd")] == [own, None, None]
    here = {"among": ("silhouettes-outofcontext",), "eval_split": "ordinary"}
    assert [entry["images"] for entry in measured(rows, METHODS["mixup"], **here)] == [3]  # type: ignore[arg-type]


def test_fine_tuning_goes_on_from_a_checkpoint(root: Path, tmp_path: Path) -> None:
    """As for the VOC test server: stage 2 alone, on trainval, from a finished network, unmeasured."""
    lists = root / "ImageSets" / "Segmentation"
    (lists / "trainval.txt").write_text((lists / "train.txt").read_text() + (lists / "val.txt").read_text())
    first = Request(
        experiment=METHODS["sourcesep-cm"], scale=TINY, dataset="voc2012", root=root, pretrained="none"
    )
    begun, _ = train_and_measure(first, tmp_path / "first")
    ends_of_stages = [requests.read_checkpoint(path) for path in (begun.with_name("stage1.pt"), begun)]
    assert [reported_output(content) for content in ends_of_stages] == ["final", "dominant"]
    second = replace(first, split="trainval", eval_split=None, start=begun)
    with pytest.raises(InputError, match="share 10 images"):
        train_and_measure(replace(second, eval_split="val"), tmp_path / "second")
    ended, rows = train_and_measure(second, tmp_path / "second")
    assert rows == []
    content = requests.read_checkpoint(ended)
    assert content["progress"]["step"] == 1
    assert not (tmp_path / "second" / "stage1.pt").exists()
    started = requests.model_of(second, 21).state_dict()
    network = requests.read_checkpoint(begun)["model"]
    assert all((started[name] == network[name]).all() for name in network)
    ends = replace(second, experiment=find_experiment("table8/sourcesep-cm-without-dn"))
    with pytest.raises(InputError, match="leaves nothing to do"):
        train_and_measure(ends, tmp_path / "third")
    assert not (tmp_path / "third" / "run.json").exists()
    with pytest.raises(InputError, match="another architecture"):
        requests.model_of(replace(second, experiment=METHODS["baseline"]), 21)


def test_runs_with_one_stage_1_train_it_once_and_find_the_same(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")

    def ask(name: str, **changes: Any) -> Request:
        return replace(request_for(name, "voc2012"), root=root, split="train", **changes)

    def steps_of(request: Request) -> tuple[list[int], list[dict[str, Any]]]:
        told: list[int] = []
        _, rows = run.cached_run(request, report=lambda step, steps, terms: told.append(step))
        return told, rows

    names = ("sourcesep-cm", "table8/sourcesep-cm-without-ppa", "table8/sourcesep-cm-without-dn")
    told = {name: steps_of(ask(name)) for name in names}
    assert [steps for steps, _ in told.values()] == [[2, 3], [3], []]
    for name in names[1:]:
        _, alone = train_and_measure(ask(name), tmp_path / name.replace("/", "-"))
        for ours, theirs in zip(told[name][1], alone, strict=True):
            assert ours["metrics"] == theirs["metrics"]
            assert (ours["experiment"], ours["method_digest"]) == (name, find_experiment(name).digest())
            assert row_key(ours) == row_key(theirs)
    # Another seed, start or method begins anew.
    assert steps_of(ask(names[1], seed=1))[0] == [2, 3]
    assert steps_of(ask("sourcesep-cc"))[0] == [2, 3]
    # A refused run leaves no folder behind.
    before = sorted((tmp_path / "cache").iterdir())
    with pytest.raises(InputError, match="mean 'person'"):
        run.cached_run(ask(names[0], mean_over=("persn",)))
    assert sorted((tmp_path / "cache").iterdir()) == before


def test_annotations_that_came_later_are_measured_without_training(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")
    voc = tmp_path / "VOC2012"
    shutil.copytree(root, voc, ignore=shutil.ignore_patterns("Annotations", "SegmentationObject"))
    request = replace(request_for("baseline", "voc2012"), root=voc, split="train")
    _, before = run.cached_run(request)
    assert run.is_measured(request, before)
    (voc / "Annotations").mkdir()
    box = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    marked = f"<object><name>cat</name><occluded>1</occluded><bndbox>{box}</bndbox></object>"
    for one in (voc / "ImageSets" / "Segmentation" / "val.txt").read_text().split():
        (voc / "Annotations" / f"{one}.xml").write_text(f"<annotation>{marked}</annotation>")
    assert not run.is_measured(request, before)
    asked: list[int] = []
    _, after = run.cached_run(request, report=lambda step, steps, terms: asked.append(step))
    assert asked == []
    assert run.is_measured(request, after)
    assert confusions_of(after[0]["per_image"]).subsets["occlusion/all"].all()


def test_what_is_rare_is_counted_on_the_training_list(tmp_path: Path) -> None:
    def together(one: int, other: int) -> np.ndarray:
        label = np.full((40, 40), one, dtype=np.uint8)
        label[20:] = other
        return label

    cat_dog, sheep_cow = together(8, 12), together(17, 10)
    labels = {"train": [cat_dog] * 60 + [sheep_cow] * 15, "val": [cat_dog] + [sheep_cow] * 55}
    voc = write_voc(tmp_path / "VOC2012", labels)
    request = replace(request_for("baseline", "voc2012"), root=voc, split="train")
    _, rows = train_and_measure(request, tmp_path / "run")
    subsets = confusions_of(rows[0]["per_image"]).subsets
    assert [int(subsets[f"rare/{threshold}"].sum()) for threshold in (50, 20, 10)] == [55, 55, 0]


def test_a_mended_label_of_evaluation_is_measured_again_without_training(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")
    voc = tmp_path / "VOC2012"
    shutil.copytree(root, voc)
    request = replace(request_for("baseline", "voc2012"), root=voc, split="train")
    checkpoint, before = run.cached_run(request)
    identifier = (voc / "ImageSets" / "Segmentation" / "val.txt").read_text().split()[0]
    path = voc / "SegmentationClass" / f"{identifier}.png"
    with Image.open(path) as label:
        mended = np.full_like(np.asarray(label), 7)
        palette = label.getpalette()
    saved = path.read_bytes()
    picture = Image.fromarray(mended, mode="P")
    picture.putpalette(palette)
    picture.save(path)
    asked: list[int] = []
    again, after = run.cached_run(request, report=lambda step, steps, terms: asked.append(step))
    assert (again, asked) == (checkpoint, [])
    assert len(after) == len(before)
    assert {row["eval_digest"] for row in after}.isdisjoint(row["eval_digest"] for row in before)
    assert after[-1]["metrics"] != before[-1]["metrics"]
    path.write_bytes(saved)
    assert [row["metrics"] for row in run.cached_run(request)[1]] == [row["metrics"] for row in before]
    assert not run.is_measured(request, after)
    assert run.is_measured(request, before)
    assert not run.is_measured(request, [row | {"crop": row["crop"] + 1} for row in before])


def test_table_2_is_fine_tuned_on_trainval_and_ends_in_archives(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")
    voc = tmp_path / "VOC2012"
    shutil.copytree(root, voc)
    lists = voc / "ImageSets" / "Segmentation"
    (lists / "trainval.txt").unlink(missing_ok=True)  # of another test

    def asked(name: str, seed: int) -> Request:
        return replace(request_for(name, "voc2012"), root=voc, seed=seed)

    out = tmp_path / "rows.jsonl"
    with pytest.raises(InputError, match="has no list test; fetch the test images"):
        run_tables(["table2"], asked, seeds=[0], results_file=out)
    (lists / "test.txt").write_text("test_0000\n")
    with pytest.raises(InputError, match=r"trainval\.txt: no such list"):
        run_tables(["table2"], asked, seeds=[0], results_file=out)
    (lists / "trainval.txt").write_text((lists / "train.txt").read_text() + (lists / "val.txt").read_text())
    with pytest.raises(InputError, match="is on list test and does not exist"):
        run_tables(["table2"], asked, seeds=[0], results_file=out)
    Image.new("RGB", (40, 30)).save(voc / "JPEGImages" / "test_0000.jpg")
    assert not (tmp_path / "cache").exists()
    ran = run_tables(["table2"], asked, seeds=[0], results_file=out)
    assert (ran.left, ran.held, len(ran.done)) == ([], [], len(METHODS))
    assert not out.exists()  # the server alone can measure
    assert ran.done == [f"{name} 0 on trainval" for name in METHODS]
    for archive in ran.archives:
        with tarfile.open(archive) as opened:
            assert opened.getnames() == ["results/VOC2012/Segmentation/comp6_test_cls/test_0000.png"]
        tuned = requests.read_checkpoint(Path(archive).with_name("checkpoint.pt"))
        assert (tuned["identity"]["stage1_steps"], tuned["progress"]["step"]) == (0, TINY.stage2_steps)
    monkeypatch.setattr(run, "train", lambda *given, **named: pytest.fail("trained again"))
    assert run_tables(["table2"], asked, seeds=[0], results_file=out) == ran
    # Another list of that name is another submission, by the same networks.
    Image.new("RGB", (40, 30)).save(voc / "JPEGImages" / "test_0001.jpg")
    (lists / "test.txt").write_text("test_0000\ntest_0001\n")
    for archive in run_tables(["table2"], asked, seeds=[0], results_file=out).archives:
        assert archive not in ran.archives
        with tarfile.open(archive) as opened:
            assert [Path(name).stem for name in opened.getnames()] == ["test_0000", "test_0001"]


def test_attacked_rows_bring_the_clean_rows_of_their_own_network(tmp_path: Path) -> None:
    """Another training of the same kind and seed is there already: its score is not that of this one."""
    path = tmp_path / "rows.jsonl"
    first, again = result_row(50.0, seconds=1.0), result_row(51.0, seconds=2.0)
    attacked = result_row(30.0, seconds=2.0, condition=ATTACKED)
    append_missing(path, [first])
    append_missing(path, [again])  # alone it is present
    assert [one["seconds"] for one in results.read(path)] == [1.0]
    for _ in range(2):
        append_missing(path, [again, attacked])
        kept = results.read(path)
        assert [(one["seconds"], one["condition"] is None) for one in kept] == [
            (1.0, True),
            (2.0, True),
            (2.0, False),
        ]


def of(condition: dict[str, Any], miou: float = 30.0, **changes: Any) -> dict[str, Any]:
    if condition["kind"] == "adaptive":
        condition = condition | {"making": MADE | condition["making"]}
    return result_row(miou, condition=ATTACKED | condition, **changes)


@pytest.mark.parametrize("kind", ["universal", "corruption", "adaptive"])
def test_what_is_measured_by_other_code_or_on_another_network_is_appended(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "rows.jsonl"
    clean = result_row(50.0)
    old = of({"kind": kind, "making": {}})
    other = of({"kind": kind, "making": {"code": "other"}}, 20.0)
    append_missing(path, [clean, old])
    for _ in range(2):
        append_missing(path, [clean, other])
        assert results.read(path) == [clean, old, other]
    retrained = [row | {"seconds": 2.0} for row in (clean, other)]
    append_missing(path, retrained)
    assert results.read(path) == [clean, old, other, *retrained]


def test_an_adaptive_study_is_appended_whole_or_not_at_all(tmp_path: Path) -> None:
    """A row that says the same as before is part of the new study all the same."""
    path = tmp_path / "rows.jsonl"
    clean = result_row(50.0)
    first, same, last = (
        of({"kind": "adaptive", "aim": aim, "making": {"checks": {"of": aim}}})
        for aim in ("joint", None, "worst")
    )
    append_missing(path, [clean, first, same, last])
    changed = [
        of({"kind": "adaptive", "aim": aim, "making": {"checks": {"of": "another"}}})
        for aim in ("joint", "worst")
    ]
    for _ in range(2):
        append_missing(path, [clean, changed[0], same, changed[1]])
        assert results.read(path) == [clean, first, same, last, changed[0], same, changed[1]]
    # Other attacks stand each on its own.
    fog, snow = of({"kind": "corruption", "name": "fog"}), of({"kind": "corruption", "name": "snow"})
    append_missing(path, [clean, fog])
    append_missing(path, [clean, fog, snow])
    assert results.read(path)[-2:] == [fog, snow]


def test_generated_pictures_are_evaluated_without_padding() -> None:
    mini = Request(experiment=METHODS["baseline"], scale=SCALES["mini"])
    assert mini.eval_crop == SCALES["mini"].silhouettes[2] < SCALES["mini"].eval_crop
    photographs = replace(mini, dataset="voc2012", root=Path("VOC2012"))
    assert photographs.eval_crop == SCALES["mini"].eval_crop


def test_a_generated_folder_is_cut_the_same_named_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "scenes").mkdir(parents=True)
    (tmp_path / "generated").symlink_to(tmp_path / "disk")  # kept on another disk
    monkeypatch.setattr("segmix_core.data.GENERATED", tmp_path / "generated")
    mini = Request(experiment=METHODS["baseline"], scale=SCALES["mini"])
    for root in (tmp_path / "generated" / "scenes", tmp_path / "disk" / "scenes"):
        assert replace(mini, root=root).eval_crop == mini.eval_crop
    assert evaluation_crop(256, 0, None) == 256  # of a scale that generates nothing


def test_a_run_stays_in_the_cache_when_what_fetches_or_packs_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def note(path: Path) -> str:
        seen.append(f"{path.parent.name}/{path.name}")
        return "0"

    monkeypatch.setattr(run, "code_digest", note)
    run.source_digest.__wrapped__()
    assert len(set(seen)) == len(seen)
    for name in ("data/download.py", "data/check.py", "data/catalog.py", "evaluation/submission.py"):
        assert name not in seen
    for name in ("data/voc.py", "mixing/partners.py", "training/stages.py", "evaluation/confusion.py",
                 "silhouettes/scene.py", "models/separation.py", "experiments/factors.py",
                 "segmix_core/request.py"):  # fmt: skip
        assert name in seen
