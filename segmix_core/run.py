"""From a declared experiment to result rows: the one place where all rooms are put together."""

from __future__ import annotations

import functools
import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

import segmix_core
from segmix_core import results
from segmix_core.cooccurrence import cooccurrence_matrix, dataset_presence
from segmix_core.data import check_disjoint, generated_root, open_dataset
from segmix_core.data.dataset import SegmentationDataset, read_image
from segmix_core.data.transforms import center_crop
from segmix_core.data.voc import voc_palette
from segmix_core.errors import InputError
from segmix_core.evaluation import Protocol, evaluate
from segmix_core.experiments import TABLES, Cap, Delta, Experiment, Method, Scale, nearest
from segmix_core.files import alone, file_digest, replacing, write_text
from segmix_core.models import SourceSeparation, load_model, read_checkpoint
from segmix_core.rng import stream
from segmix_core.training import Plan, Pretraining, Progress, TrainingBatches, pretrain, train, write_encoder
from segmix_core.training.stages import Precision

WEIGHTS = results.REPOSITORY / "data" / "weights"
CACHE = results.REPOSITORY / "data" / "cache"

Report = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One training run, as asked for."""

    experiment: Experiment
    scale: Scale
    dataset: str = "silhouettes"
    root: Path | None = None  # None: the generated data set of the scale
    split: str = "train"
    eval_split: str = "val"
    seed: int = 0
    device: str = "cpu"
    precision: Precision | None = None  # None: bfloat16 on a GPU that has it, else float32
    pretrained: str | None = None  # None: the scale's weights; "none": random; "imagenet"; or a file
    mean_over: tuple[str, ...] | None = None
    workers: int = 0


def check_device(name: str) -> str:
    """`name` if torch can use that device, else InputError with the nearest one that it can."""
    available = ["cpu"]
    available += (
        ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        if torch.cuda.is_available()
        else []
    )
    available += ["mps"] if torch.backends.mps.is_available() else []
    if name not in available:
        raise nearest("device", name, available)
    return name


def precision_of(request: Request) -> Precision:
    """The precision a run uses: as asked, or bfloat16 where the GPU has it."""
    if request.precision is not None:
        return request.precision
    on_gpu = request.device.startswith("cuda") and torch.cuda.is_bf16_supported()
    return "bf16" if on_gpu else "fp32"


def data_of(request: Request) -> tuple[SegmentationDataset, SegmentationDataset]:
    """The training and the evaluation set, generated on first use where no root is given.

    Raises:
        InputError: the data cannot be used, or the two lists share images.
    """
    root = request.root
    if root is None:
        if request.dataset != "silhouettes":
            raise InputError(f"dataset {request.dataset}", "no --root given", "say where the data set lies")
        root = generated_root(request.scale)
    training = open_dataset(request.dataset, root, request.split)
    evaluation = open_dataset(request.dataset, root, request.eval_split)
    check_disjoint(training, evaluation)
    return training, evaluation


def weights_of(request: Request) -> tuple[str | Path | None, dict[str, Any] | None]:
    """Where the encoder starts, and what a row says of it; (None, None) is random weights."""
    chosen = request.pretrained or request.scale.weights or "none"
    if chosen == "none":
        return None, None
    if chosen == "imagenet":
        return "imagenet", {"name": "imagenet", "source": "torchvision IMAGENET1K_V1"}
    own = WEIGHTS / f"{chosen}-{request.scale.backbone}.safetensors"
    path = own if chosen == "silhouettes" else Path(chosen)
    if not path.is_file():
        raise InputError(
            path, "no such weights file", "make it with 'segmix pretrain', or give --pretrained none"
        )
    record: dict[str, Any] = {"name": path.name, "sha256": file_digest(path)}
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as opened:
            record |= opened.metadata() or {}
    return path, record


def model_of(request: Request, num_categories: int) -> SourceSeparation:
    """The network of a run, its random weights drawn from the run's seed."""
    scale, method = request.scale, request.experiment.method
    pretrained, _ = weights_of(request)
    torch.manual_seed(int(stream(request.seed, "weights").integers(2**31)))
    return SourceSeparation(
        num_categories,
        backbone=scale.backbone,
        head=method.head,
        output_stride=scale.output_stride,
        shared_aspp=method.shared_aspp,
        pretrained=pretrained,
        aspp_channels=scale.aspp_channels,
        aspp_rates=scale.aspp_rates,
    )


def plan_of(request: Request, images: int) -> Plan:
    """Steps, device and precision of a run on `images` training images."""
    stage1, stage2 = request.scale.steps(images)
    return Plan(
        method=request.experiment.method,
        scale=request.scale,
        seed=request.seed,
        stage1_steps=stage1,
        stage2_steps=0 if request.experiment.method.finetune == "none" else stage2,
        device=request.device,
        precision=precision_of(request),
        workers=request.workers,
    )


def train_and_measure(
    request: Request,
    folder: Path,
    *,
    resume: bool = False,
    report: Report | None = None,
    results_file: Path | None = None,
) -> tuple[Path, list[dict[str, Any]]]:
    """Train both stages, measure after each, and write the rows to `folder`/rows.jsonl.

    Args:
        folder: holds the checkpoints; an existing run there is only touched with `resume`.
        results_file: also append the rows here.

    Returns:
        The checkpoint and the rows.

    Raises:
        InputError, WorkError: see the rooms; KeyboardInterrupt after a checkpoint was written.
    """
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists() and not resume:
        raise InputError(folder, "holds a run already", "add --resume, or choose another --out")
    check_device(request.device)
    training, evaluation = data_of(request)
    check_categories(request.mean_over, training.categories)
    scale = request.scale
    batches = TrainingBatches(
        training,
        batch_size=scale.batch_size,
        crop=scale.crop,
        scale_range=scale.scale_range,
        seed=request.seed,
        clustered=request.experiment.method.pairing == "clusters",
    )
    _, weights = weights_of(request)
    plan = replace(
        plan_of(request, len(training)),
        data={
            "training set": training.digest(),
            "evaluation set": evaluation.digest(),
            "mean over": request.mean_over,
            "start": "random" if weights is None else weights.get("sha256", weights["name"]),
        },
    )
    # What the run is, to read; and a folder or file that cannot be written is found now, not after hours.
    if not checkpoint.exists():
        write_text(folder / "run.json", json.dumps(plan.identity(), indent=2) + "\n")
    if results_file is not None:
        results.append(results_file, [])
    model = model_of(request, len(training.categories))

    def validate(network: SourceSeparation) -> dict[str, Any]:
        scores = evaluate(
            network,
            evaluation,
            crop=scale.eval_crop,
            device=request.device,
            mean_over=request.mean_over,
        )
        return {name: score.as_json() for name, score in scores.items()}

    with _stop_on_interrupt() as stopping:
        progress = train(
            plan,
            model,
            batches,
            cooccurrence_matrix(batches.presence),
            folder=folder,
            resume=resume,
            validate=validate,
            report=report,
            stopping=stopping,
        )
    rows = rows_of(request, plan, training, evaluation, progress)
    write_text(folder / "rows.jsonl", "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))
    if results_file is not None:
        append_missing(results_file, rows)
    return checkpoint, rows


def rows_of(
    request: Request,
    plan: Plan,
    training: SegmentationDataset,
    evaluation: SegmentationDataset,
    progress: Progress,
) -> list[dict[str, Any]]:
    """One row for each stage and output that was measured."""
    method = request.experiment.method
    _, weights = weights_of(request)
    last_stage = 2 if plan.stage2_steps else 1
    shared: dict[str, Any] = {
        "schema": results.SCHEMA,
        "experiment": request.experiment.name,
        "method": asdict(method),
        "method_digest": request.experiment.digest(),
        "scale": request.scale.name,
        "scale_digest": request.scale.digest(),
        "dataset": request.dataset,
        "dataset_digest": training.digest(),
        "split": request.split,
        "images": len(training),
        "eval_split": request.eval_split,
        "eval_images": len(evaluation),
        "eval_digest": evaluation.digest(),
        "seed": request.seed,
        "protocol": "crop",
        "crop": request.scale.eval_crop,
        "mean_over": None if request.mean_over is None else list(request.mean_over),
        "group": request.scale.batch_size,
        "weights": weights,
        "device": device_name(request.device),
        "precision": plan.precision,
        "torch": torch.__version__,
        "version": segmix_core.__version__,
        "commit": results.commit(),
        "seconds": round(progress.seconds, 1),
    }
    return [
        shared
        | {
            "stage": stage,
            "output": output,
            "reported": stage == last_stage and output == method.output(),
            "metrics": metrics,
            "steps": plan.stage1_steps if stage == 1 else plan.steps,
        }
        for stage in (1, 2)
        for output, metrics in progress.scores.get(f"stage{stage}", {}).items()
    ]


def device_name(device: str) -> str:
    """What a row calls a device: "cpu", or the GPU's own name."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def check_categories(chosen: tuple[str, ...] | None, known: tuple[str, ...]) -> None:
    """Raise InputError for a category that the data set does not have."""
    for name in chosen or ():
        if name not in known:
            raise nearest("category", name, known)


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
    identity = {
        "method": request.experiment.digest(),
        "scale": request.scale.digest(),
        "data": [request.dataset, dataset_digest, request.split, request.eval_split],
        "seed": request.seed,
        "device": device_name(request.device),
        "precision": precision_of(request),
        "weights": weights_of(request)[1],
        "mean_over": request.mean_over,
        "source": source_digest(),
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    return CACHE / f"{request.scale.name}-{request.experiment.name.replace('/', '-')}-{request.seed}-{digest}"


@functools.cache
def source_digest() -> str:
    """SHA-256 of the sources that decide the numbers of a run: everything but what shows or asks for them."""
    package = Path(__file__).resolve().parent
    rooms = ("data", "mixing", "models", "training", "evaluation")
    files = [package / f"{name}.py" for name in ("cooccurrence", "losses", "records", "rng")]
    files += sorted(path for room in rooms for path in (package / room).rglob("*.py"))
    return hashlib.sha256("".join(file_digest(path) for path in files).encode()).hexdigest()


def cached_run(request: Request, *, report: Report | None = None) -> tuple[Path, list[dict[str, Any]]]:
    """The run of a request from the cache; trained now if it is not there, resumed if it is half there."""
    training, _ = data_of(request)
    folder = run_folder(request, training.digest())
    with alone(folder):
        if (folder / "rows.jsonl").is_file():
            return folder / "checkpoint.pt", results.read(folder / "rows.jsonl")
        return train_and_measure(request, folder, resume=True, report=report)


def pretrain_encoder(
    scale: Scale,
    *,
    dataset: str,
    root: Path | None,
    split: str,
    out: Path,
    images: int,
    epochs: int,
    backbone: str | None,
    seed: int,
    device: str,
    report: Callable[[int, int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Train an encoder on image-level categories and write it to `out`, with its making in the header.

    From single generated objects (`silhouettes`), or from the categories that the label maps of a real data
    set imply. A tenth of the images, 2,000 at most, is held out to measure accuracy.
    """
    check_device(device)
    backbone = backbone or scale.backbone
    if dataset == "silhouettes" and root is None:
        from segmix_core.data import silhouettes

        size = scale.silhouettes[2]
        pictures, labels = silhouettes.make_single_objects(images, size=size, seed=seed)
        targets = np.eye(21, dtype=bool)[labels]
        source = f"{images} single generated objects, {size} px, seed {seed}"
    else:
        if root is None:
            raise InputError(f"dataset {dataset}", "no --root given", "say where the data set lies")
        opened = open_dataset(dataset, root, split)
        pairs = (opened.pair(index) for index in range(len(opened)))
        pictures = np.stack([center_crop(image, label, scale.eval_crop)[0] for image, label in pairs])
        targets = dataset_presence(opened)
        shuffled = stream(seed, "pretrain", "held out").permutation(len(pictures))
        pictures, targets = pictures[shuffled], targets[shuffled]
        source = (
            f"image-level categories of {dataset} {split}, {len(opened)} images, digest {opened.digest()}"
        )
    settings = Pretraining(backbone=backbone, epochs=epochs, seed=seed, device=device)
    encoder, accuracy = pretrain(
        settings,
        pictures,
        targets,
        held_out=min(2000, len(pictures) // 10),
        report=None if report is None else lambda step, steps, loss: report(step, steps, {"total": loss}),
    )
    made = {
        "backbone": backbone,
        "source": source,
        "epochs": str(epochs),
        "accuracy": f"{100 * accuracy:.1f}",
        "version": segmix_core.__version__,
        "commit": results.commit(),
    }
    write_encoder(encoder, out, made)
    return made | {"weights": str(out), "accuracy": round(100 * accuracy, 2), "sha256": file_digest(out)}


def evaluate_checkpoint(
    checkpoint: Path,
    *,
    dataset: str,
    root: Path,
    split: str,
    protocol: Protocol,
    crop: int | None,
    mean_over: tuple[str, ...] | None,
    device: str,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure every output of a checkpoint: the document of `segmix evaluate`."""
    check_device(device)
    opened = open_dataset(dataset, root, split)
    check_categories(mean_over, opened.categories)
    model = load_model(checkpoint).to(device)
    if model.architecture["num_categories"] != len(opened.categories):
        raise InputError(
            checkpoint,
            f"knows {model.architecture['num_categories']} categories, not {len(opened.categories)}",
            "name a checkpoint trained on the same categories",
        )
    crop = crop or read_checkpoint(checkpoint)["identity"]["scale"]["eval_crop"]
    scores = evaluate(
        model, opened, protocol=protocol, crop=crop, device=device, mean_over=mean_over, progress=progress
    )
    return {
        "images": len(opened),
        "protocol": protocol,
        "crop": crop if protocol == "crop" else None,
        "mean_over": None if mean_over is None else list(mean_over),
        "outputs": {name: score.as_json() for name, score in scores.items()},
    }


def predict(checkpoint: Path, images: Sequence[Path], out: Path, *, device: str = "cpu") -> list[Path]:
    """Label maps (VOC palette) and overlays of photographs, at their own size.

    Returns:
        For each image, `<name>.png` and `<name>-overlay.jpg` in `out`.

    Raises:
        InputError: a bad checkpoint or image, or a result would replace an image or another result.
    """
    check_device(device)
    taken = {path.resolve() for path in images}
    for path in images:
        for target in (out / f"{path.stem}.png", out / f"{path.stem}-overlay.jpg"):
            if target.resolve() in taken:
                raise InputError(
                    path,
                    f"its result would replace {target}",
                    "choose another --out, or give images of one name one by one",
                )
            taken.add(target.resolve())
    identity = read_checkpoint(checkpoint)["identity"]
    output = Method(**_as_factors(identity["method"])).output()
    model = load_model(checkpoint).to(device)
    written = []
    for path in images:
        image = read_image(path)
        image_BCHW = torch.tensor(image, device=device).permute(2, 0, 1)[None].float().div_(255)
        with torch.inference_mode():
            label = model(image_BCHW).outputs()[output].argmax(1)[0].to("cpu", torch.uint8).numpy()
        drawn = Image.fromarray(label)
        drawn.putpalette(voc_palette().tobytes())
        shown = voc_palette()[label]
        overlay = np.where(label[..., None] > 0, (image.astype(np.uint16) + shown) // 2, image).astype(
            np.uint8
        )
        for name, picture, kind in (
            (f"{path.stem}.png", drawn, "PNG"),
            (f"{path.stem}-overlay.jpg", Image.fromarray(overlay), "JPEG"),
        ):
            with replacing(out / name) as temporary:
                picture.save(temporary, format=kind)
            written.append(out / name)
    return written


def _as_factors(stored: dict[str, Any]) -> dict[str, Any]:
    """The factors of a method as JSON or a checkpoint holds them, as declarations again."""
    delta, cap = stored["delta"], stored["cap"]
    return stored | {"delta": delta and Delta(**delta), "cap": cap and Cap(**cap)}


def run_tables(
    tables: Sequence[int],
    request_for: Callable[[str, int], Request],
    *,
    seeds: Sequence[int],
    budget: float | None = None,
    results_file: Path | None = None,
    reporter: Callable[[str], Report] = lambda what: lambda step, steps, terms: None,
) -> tuple[list[str], list[str]]:
    """Run what is missing of the tables' rows, one training run for each distinct method and seed.

    Rows land in `results_file`; runs live in the cache, so that a stopped one goes on where it was.

    Args:
        budget: seconds; a run is only begun while it is likely to end in time, judged by the longest so far.

    Returns:
        What is done and what is left, as "experiment seed".
    """
    wanted: dict[tuple[str, int], Request] = {}
    for seed in seeds:
        for table in tables:
            for row in TABLES[table]:
                wanted.setdefault((row.experiment.digest(), seed), request_for(row.experiment.name, seed))
    began, longest = time.monotonic(), 0.0
    done, left = [], []
    for request in wanted.values():
        name = f"{request.experiment.name} {request.seed}"
        spent = time.monotonic() - began
        if budget is not None and spent + longest > budget:
            left.append(name)
            continue
        path = results_file or results.RESULTS / f"{request.dataset}-{request.scale.name}.jsonl"
        results.append(path, [])  # a file that cannot be written or read is found before the work, not after
        results.read(path)
        _, rows = cached_run(request, report=reporter(name))
        append_missing(path, rows)
        longest = max(longest, time.monotonic() - began - spent)
        done.append(name)
    return done, left


def append_missing(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append the rows that `path` does not hold yet."""
    present = {row_key(row) for row in results.read(path)} if path.exists() else set()
    results.append(path, [row for row in rows if row_key(row) not in present])


def row_key(row: dict[str, Any]) -> str:
    """What makes two rows the same measurement."""
    kept = (
        "method_digest",
        "scale_digest",
        "dataset_digest",
        "eval_digest",
        "seed",
        "stage",
        "output",
        "mean_over",
    )
    return json.dumps([row[name] for name in (*kept, "weights", "device", "precision")], sort_keys=True)
