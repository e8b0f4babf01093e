"""From a declared experiment to result rows: training, and the runs of whole tables."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segmix_core import results
from segmix_core.cooccurrence import cooccurrence_matrix, dataset_presence
from segmix_core.data import open_dataset, saliency_root
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.saliency import SaliencyDataset
from segmix_core.data.voc import lists_of, open_images
from segmix_core.errors import InputError
from segmix_core.evaluation.saliency import SALIENCY_METRICS
from segmix_core.experiments import METHODS, SCALES, Experiment, Method, Row, rows_to_measure
from segmix_core.experiments.paper import Data
from segmix_core.files import alone, code_digest, new_folder, sweep, write_text
from segmix_core.measure import measure_run, predict, submit
from segmix_core.report.tables import confusions_of
from segmix_core.request import (
    Request,
    batches_of,
    check_categories,
    check_device,
    check_pairing,
    data_of,
    device_name,
    model_of,
    plan_of,
    precision_of,
    weights_of,
)
from segmix_core.subsets import OBJECTS, OCCLUSION, build_subsets, missing
from segmix_core.training import begin_after_stage1, train

CACHE = results.REPOSITORY / "data" / "cache"
STAGE1_KEY = "stage1.key"
"""In a run's folder: a digest of everything that decides its stage 1, which other runs may share."""

Report = Callable[[int, int, dict[str, float]], None]


class OutOfTimeError(Exception):
    """Training was stopped at a checkpoint, as the time that it was given had passed."""


def train_and_measure(
    request: Request,
    folder: Path,
    *,
    resume: bool = False,
    report: Report | None = None,
    progress: Callable[[int, int], None] | None = None,
    results_file: Path | None = None,
    seconds: float | None = None,
    stage1: Path | None = None,
) -> tuple[Path, list[dict[str, Any]]]:
    """Train both stages, measure the network after each, and add the rows to `folder`/rows.jsonl.

    Args:
        folder: holds the checkpoints; an existing run there is only touched with `resume`.
        report: told the steps of training and the terms of the loss.
        progress: told how far images are made, where they are made on first use, read, and measured.
        results_file: also append the rows here.
        seconds: training stops at a checkpoint once so many have passed.
        stage1: the `stage1.pt` of another run that has the same stage 1, to begin from its end.

    Returns:
        The checkpoint and the rows.

    Raises:
        InputError, WorkError: see the rooms; KeyboardInterrupt and OutOfTimeError after a checkpoint was
            written.
    """
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists() and not resume:
        raise InputError(folder, "holds a run already", "add --resume, or choose another --out")
    check_device(request.device)
    began = time.monotonic()
    request = with_pseudo_categories(request, report=report, seconds=seconds)
    training, evaluations = data_of(request, progress=progress)
    check_categories(request.mean_over, training.categories)
    batches = batches_of(request, training)
    _, weights = weights_of(request)
    plan = replace(
        plan_of(request, len(training)),
        data={
            "training set": training.digest(),
            "start": "random" if weights is None else weights.get("sha256", weights["name"]),
        },
    )
    matrix_NN = cooccurrence_matrix(batches.presence)
    # What cannot be read is found now. Of a run that goes on, the training images were read at its start.
    for one in evaluations if checkpoint.exists() or request.root is None else (training, *evaluations):
        _read_once(one, progress)
    for one in evaluations:
        if not isinstance(one, SaliencyDataset):
            build_subsets(one, dataset_presence(one), matrix_NN)
    model = model_of(request, training.num_logits)
    if results_file is not None:
        results.check_appendable(results_file)
    sweep(folder)
    # What the run is, to read; and a folder that cannot be written is found now, not after hours.
    if not checkpoint.exists():
        write_text(folder / "run.json", json.dumps(plan.identity(), indent=2) + "\n")
        if stage1 is not None:
            begin_after_stage1(stage1, folder, plan.identity())
    with _stopping(None if seconds is None else seconds - (time.monotonic() - began)) as stopping:
        train(
            plan,
            model,
            batches,
            matrix_NN,
            folder=folder,
            resume=resume or stage1 is not None,
            report=report,
            stopping=stopping,
        )
    rows = measure_run(request, folder, training, evaluations, progress=progress)
    results.append_missing(folder / "rows.jsonl", rows)
    if results_file is not None:
        results.append_missing(results_file, rows)
    return checkpoint, rows


_readable: set[str] = set()
"""Digests of the data sets every pair of which was read by this process: the runs of a table share them."""


def _read_once(dataset: SegmentationDataset, progress: Callable[[int, int], None] | None) -> None:
    """Raise InputError where an image or label map of a data set cannot be read, or the two do not match."""
    if dataset.digest() in _readable:
        return
    for index in range(len(dataset)):
        dataset.pair(index)
        if progress is not None:
            progress(index + 1, len(dataset))
    _readable.add(dataset.digest())


@contextmanager
def _stopping(seconds: float | None) -> Iterator[Callable[[], bool]]:
    """A question that the training loop asks between steps: is the time up, or did somebody ask to stop?"""
    late = threading.Event()
    timer = None if seconds is None else threading.Timer(seconds, late.set)
    if timer is not None:
        timer.daemon = True
        timer.start()
    with _stop_on_interrupt() as asked:
        try:
            yield lambda: asked() or late.is_set()
        except KeyboardInterrupt:
            if late.is_set() and not asked():
                raise OutOfTimeError from None
            raise
        finally:
            if timer is not None:
                timer.cancel()


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C (or a polite kill) into a question that the training loop asks between steps."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_folder(request: Request, dataset_digest: str) -> Path:
    """Where a run lives in the cache: a folder named after everything that decides its numbers."""
    digest = _digest_of(request, dataset_digest, request.experiment.method, request.eval_split)
    return CACHE / f"{request.scale.name}-{request.experiment.name.replace('/', '-')}-{request.seed}-{digest}"


def _digest_of(request: Request, dataset_digest: str, method: Method, eval_split: str | None) -> str:
    identity = {
        "method": Experiment(name="", method=method).digest(),
        "scale": request.scale.digest(),
        "data": [request.dataset, dataset_digest, request.split, eval_split],
        "seed": request.seed,
        "device": device_name(request.device),
        "precision": precision_of(request),
        "weights": weights_of(request)[1],
        "mean_over": request.mean_over,
        "source": source_digest(),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _stage1_key(request: Request, dataset_digest: str) -> str:
    everywhere = replace(request, mean_over=None)
    return _digest_of(everywhere, dataset_digest, request.experiment.method.stage1(), None)


def _shared_stage1(key: str) -> Path | None:
    """The end of the stage 1 of another run in the cache whose stage 1 has this key."""
    for path in sorted(CACHE.glob(f"*/{STAGE1_KEY}")):
        stage1 = path.with_name("stage1.pt")
        if stage1.exists() and path.read_text(encoding="utf-8") == key:
            return stage1
    return None


_ASIDE = ("data/catalog", "data/check", "data/download", "evaluation/submission")
"""Of the folders whose sources decide numbers, those that decide none."""


@functools.cache
def source_digest() -> str:
    """SHA-256 of the sources that decide the numbers of a run, not of what fetches or shows them."""
    package = Path(__file__).resolve().parent
    rooms = ("data", "mixing", "models", "training", "evaluation")
    names = ("attacks/pgd", "cooccurrence", "experiments/factors", "losses", "measure", "metrics",
             "records", "request", "rng", "run", "subsets")  # fmt: skip
    files = [package / f"{name}.py" for name in names]
    files += sorted(path for room in rooms for path in (package / room).rglob("*.py"))
    aside = {package / f"{name}.py" for name in _ASIDE}
    files = [path for path in files if path not in aside]
    return hashlib.sha256("".join(code_digest(path) for path in files).encode()).hexdigest()


def cached_run(
    request: Request,
    *,
    report: Report | None = None,
    progress: Callable[[int, int], None] | None = None,
    seconds: float | None = None,
) -> tuple[Path, list[dict[str, Any]]]:
    """The run of a request from the cache; trained now if it is not there, resumed if it is half there.

    Where another run in the cache has the same stage 1, it goes on from the end of that. Where its images of
    evaluation have changed, or others were named, the network is measured anew.

    Args:
        report, progress, seconds: see `train_and_measure`.
    """
    began = time.monotonic()
    request = with_pseudo_categories(request, report=report, seconds=seconds)
    training, evaluations = data_of(request, progress=progress)
    folder = run_folder(request, training.digest())
    with alone(folder):
        if (folder / "rows.jsonl").is_file():
            rows = _rows_on(evaluations, request, results.read(folder / "rows.jsonl"))
            if rows is not None:
                return folder / "checkpoint.pt", rows
        if seconds is not None:
            seconds -= time.monotonic() - began
        key = _stage1_key(request, training.digest())
        shared = None
        if request.start is None and not (folder / "checkpoint.pt").exists():
            shared = _shared_stage1(key)
        found = train_and_measure(
            request, folder, resume=True, report=report, progress=progress, seconds=seconds, stage1=shared
        )
        write_text(folder / STAGE1_KEY, key)
        return found


def _rows_on(
    evaluations: Sequence[SegmentationDataset], request: Request, rows: list[dict[str, Any]]
) -> list[dict[str, Any]] | None:
    """The rows of these very images, cut as the request asks; None where a list of them was not measured.

    Rows of salient objects that were measured before a metric came up lack it, and do not count; nor do those
    of before there were annotations that tell objects and their occlusion.
    """
    digests = {one.digest() for one in evaluations}
    told = {one.digest(): {*OCCLUSION, *OBJECTS} - missing(one).keys() for one in evaluations}
    found = [
        row
        for row in rows
        if row["eval_digest"] in digests
        and row["crop"] in (request.eval_crop, None)
        and ("maxF" not in row["metrics"] or row["metrics"].keys() >= set(SALIENCY_METRICS))
        and (
            row["per_image"] is None
            or confusions_of(row["per_image"]).subsets.keys() >= told[row["eval_digest"]]
        )
    ]
    return found if digests == {row["eval_digest"] for row in found} else None


def with_pseudo_categories(
    request: Request, *, report: Report | None = None, seconds: float | None = None
) -> Request:
    """The request with pseudo-categories for generated salient objects, predicted on first use.

    As in section 4.5, they are what a segmenter says of the training images: here the baseline of the same
    scale on generated scenes, of seed 0 whatever that of the run, trained if it is not in the cache. Every
    run gets them, so that all learn from the same data set; only those that pair by score use them.
    """
    if request.dataset != "silhouettes-saliency" or request.root is not None or request.pseudo is not None:
        return request
    segmenter = replace(
        request,
        experiment=METHODS["baseline"],
        dataset="silhouettes",
        split="train",
        eval_split="val",
        # What was asked about salient objects, and not about scenes.
        eval_root=None,
        mask_threshold=None,
        start=None,
        seed=0,
        mean_over=None,
    )
    checkpoint, _ = cached_run(segmenter, report=report, seconds=seconds)
    images = open_dataset("silhouettes-saliency", saliency_root(request.scale), "train")
    pseudo = checkpoint.parent / "pseudo_categories" / images.digest()
    with alone(pseudo.parent):
        if not pseudo.exists():
            with new_folder(pseudo) as temporary:
                predict(checkpoint, images.image_paths, temporary, device=request.device)
    return replace(request, pseudo=pseudo)


def run_tables(
    names: Sequence[str],
    request_for: Callable[..., Request],
    *,
    seeds: Sequence[int],
    budget: float | None = None,
    results_file: Path | None = None,
    reporter: Callable[[str], Report] = lambda what: lambda step, steps, terms: None,
    progress: Callable[[int, int], None] | None = None,
) -> Ran:
    """Run what is missing of the rows of tables and figures: each distinct training run once for a seed.

    Rows land in `results_file`, by default in the repository's for the data set and scale. What that file, or
    any of the repository's, holds is not run again; runs live in the cache, so that a stopped one goes on
    where it was. For Table 2 networks are fine-tuned on trainval, and archives are made.

    Args:
        names: "table1", "figure5", "tables" ..., the most telling first.
        request_for: called with an experiment's name and `seed`.
        budget: seconds; a run is only begun while it is likely to end in time, judged by the longest so far,
            and stops at a checkpoint if it does not.

    Raises:
        InputError: a figure without rows, rows of another kind of data alone were asked for, or a method
            needs pseudo-categories that are not there.
    """
    began, longest = time.monotonic(), 0.0
    ran = Ran()
    declared = [row for name in names for row in rows_to_measure(name)]
    for seed in seeds:
        wanted, elsewhere = training_runs(declared, functools.partial(request_for, seed=seed))
        if not wanted and elsewhere:
            kinds = {data for _, data in elsewhere}
            asked = request_for(declared[0].experiment.name, seed=seed)
            if kinds == {"voc-test"} and asked.dataset == "voc2012" and asked.root is not None:
                raise InputError(
                    asked.root, "has no list test", "fetch the test images: segmix data fetch voc2012-test"
                )
            needs = " or ".join(dict.fromkeys(_NEEDS[data] for _, data in elsewhere))
            raise InputError(
                " ".join(names), f"is about {needs}, not {asked.dataset}", "give --dataset and --root"
            )
        ran.left += [f"{experiment.name} {seed} (needs {_NEEDS[data]})" for experiment, data in elsewhere]
        given = [one for one in wanted if one.root is not None]
        if given:  # what is wrong with the data is said before anything is trained
            training, _ = data_of(given[0])
            for request in given:
                check_pairing(request, training)
        for request in wanted:
            asked_for = request_for(request.experiment.name, seed=seed)
            name = _name_of(request, asked_for)
            held = held_rows(results_file)
            if not request.for_server and is_measured(request, held, progress=progress):
                ran.held.append(name)
                continue
            spent = time.monotonic() - began
            if budget is not None and spent + longest > budget:
                ran.left.append(name)
                continue
            remaining = None if budget is None else budget - spent
            how: dict[str, Any] = {"report": reporter(name), "progress": progress, "seconds": remaining}
            path = results_file or results.RESULTS / f"{request.dataset}-{request.scale.name}.jsonl"
            results.check_appendable(path)
            try:
                if request.for_server:
                    ran.archives.append(str(submit_run(request, asked_for, **how)))
                else:
                    results.append_missing(path, cached_run(request, **how)[1])
                ran.done.append(name)
            except OutOfTimeError:
                ran.left.append(name)
                longest = math.inf
                continue
            longest = max(longest, time.monotonic() - began - spent)
    return ran


@dataclass
class Ran:
    """What `run_tables` did of each "experiment seed"."""

    done: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)  # by the results file already
    left: list[str] = field(default_factory=list)  # for want of time or of data
    archives: list[str] = field(default_factory=list)  # for PASCAL's server, of what is done for Table 2


_NEEDS: dict[Data, str] = {
    "voc": "voc2012 or silhouettes",
    "voc-test": "voc2012 with its test images",
    "coco": "coco",
    "ecssd": "duts, or silhouettes without --root",
    "context": "silhouettes without --root",
}


def _name_of(request: Request, asked: Request) -> str:
    """An experiment and its seed, and in what the run is another one than was asked for."""
    encoder = request.scale.backbone
    parts = [
        f"{request.experiment.name} {request.seed}",
        "" if request.dataset == asked.dataset else f" on {request.dataset}",
        "" if request.split == asked.split else f" on {request.split}",
        "" if encoder == asked.scale.backbone else f" with {encoder}",
    ]
    return "".join(parts)


def held_rows(results_file: Path | None) -> list[dict[str, Any]]:
    """The rows that count as measured already."""
    if results_file is None:
        return results.read_all(results.RESULTS)
    return results.read(results_file) if results_file.exists() else []


def is_measured(
    request: Request,
    rows: list[dict[str, Any]],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Whether rows hold what a request's method reports, on each set that it is measured on.

    The pseudo-categories of generated salient objects follow from scale and seed: they are not made for this.
    """
    method = request.experiment.method
    own = asked_of(request) | {"output": method.output(), "condition": None}
    found = [
        row
        for row in rows
        if all(row[name] == value for name, value in own.items())
        and row["stage"] == method.stage_of(Method.stored(row["method"]))
    ]
    if not found:
        return False
    training, evaluations = data_of(request, progress=progress)
    follows = request.dataset == "silhouettes-saliency" and request.root is None and request.pseudo is None
    same = [row for row in found if follows or row["dataset_digest"] == training.digest()]
    return _rows_on(evaluations, request, same) is not None


def asked_of(request: Request) -> dict[str, Any]:
    """What every row of a request's run says, as far as the request tells; its method may be a longer one."""
    return {
        "seed": request.seed,
        "scale_digest": request.scale.digest(),
        "dataset": request.dataset,
        "device": device_name(request.device),
        "precision": precision_of(request),
        "weights": weights_of(request)[1],
        "mean_over": None if request.mean_over is None else list(request.mean_over),
    }


def submit_run(request: Request, asked: Request, *, seconds: float | None = None, **told: Any) -> Path:
    """The archive that PASCAL's server takes, of a network fine-tuned on trainval (Table 2).

    Args:
        request: of `on_data`, on the list trainval.
        asked: the run that it goes on from, on the training list.
        told, seconds: see `cached_run`.
    """
    began = time.monotonic()
    assert asked.root is not None
    # Both lists, before hours of training.
    ids = [identifier for identifier, _ in open_images(asked.root, "test")]
    data_of(request)
    start, _ = cached_run(replace(asked, scale=request.scale), seconds=seconds, **told)
    if seconds is not None:
        seconds -= time.monotonic() - began
    tuned, _ = cached_run(replace(request, start=start), seconds=seconds, **told)
    # Of these very images: another list of the same name has an archive of its own.
    listed = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]
    archive = tuned.with_name(f"submission-{listed}.tgz")
    if not archive.exists():
        submit(tuned, asked.root, "test", archive, device=asked.device)
    return archive


def training_runs(
    rows: Sequence[Row], request_for: Callable[[str], Request]
) -> tuple[list[Request], list[tuple[Experiment, Data]]]:
    """The runs from which every row can be read, in the order of the rows, each distinct one once.

    A method that ends after stage 1 is read off any run that begins with it.

    Returns:
        The runs, and the experiments of rows that are about another kind of data than was asked for.
    """
    wanted: dict[tuple[str, str, str, Method], Request] = {}
    elsewhere: dict[tuple[Experiment, Data], None] = {}
    for row in rows:
        request = on_data(request_for(row.experiment.name), row.data)
        if request is None:
            elsewhere[row.experiment, row.data] = None
        else:
            request = with_encoder(request, row.backbone)
            where = (request.dataset, request.split, request.scale.backbone)
            wanted.setdefault((*where, row.experiment.method), request)
    longer = {(*run, method.stage1()) for *run, method in wanted if method.finetune != "none"}
    kept = [
        request
        for (*run, method), request in wanted.items()
        if method.finetune != "none" or (*run, method) not in longer
    ]
    return kept, list(elsewhere)


def with_encoder(request: Request, backbone: str) -> Request:
    """The request with the encoder of a table's row at paper scale, unless one was asked for (R25)."""
    if request.scale != SCALES["paper"] or request.chosen_encoder:
        return request
    return replace(request, scale=replace(request.scale, backbone=backbone))


def on_data(request: Request, data: Data) -> Request | None:
    """The request on the kind of data that a row is about; None where its data set is of another kind."""
    if data == "voc-test" and request.dataset == "voc2012" and _has_test(request.root):
        return replace(request, split="trainval", eval_split=None, for_server=True)
    kinds: dict[str, Data] = {"coco": "coco", "duts": "ecssd", "silhouettes-saliency": "ecssd"}
    kind = kinds.get(request.dataset, "voc")
    if kind == data:
        return request
    if request.dataset == "silhouettes" and request.root is None:  # a folder holds scenes alone
        if data == "context":
            return request
        if data == "ecssd":
            return replace(request, dataset="silhouettes-saliency", eval_split="test")
    return None


def _has_test(root: Path | None) -> bool:
    return root is not None and "test" in lists_of(root)
