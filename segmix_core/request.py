"""One training run as asked for, and the objects that it is made of."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from segmix_core import results
from segmix_core.data import (
    check_disjoint,
    evaluation_crop,
    generated_root,
    open_dataset,
    out_of_context_root,
    saliency_root,
)
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.saliency import PSEUDO_CATEGORIES, SaliencyDataset
from segmix_core.errors import InputError
from segmix_core.experiments import Experiment, Scale, nearest
from segmix_core.files import file_digest
from segmix_core.models import Precision, SourceSeparation, load_weights, native, read_checkpoint
from segmix_core.rng import stream
from segmix_core.training import Plan, TrainingBatches

WEIGHTS = results.REPOSITORY / "data" / "weights"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One training run, as asked for."""

    experiment: Experiment
    scale: Scale
    dataset: str = "silhouettes"
    root: Path | None = None  # None: the generated data set of the scale
    split: str = "train"
    eval_split: str | None = "val"  # None: nothing is measured (lists whose labels are not at hand)
    eval_root: Path | None = None  # where ECSSD lies, if not beside DUT-S
    pseudo: Path | None = None  # pseudo-categories of DUT-S's training images, to pair by
    mask_threshold: int | None = None  # the shade from which DUT-S's and ECSSD's masks are salient
    seed: int = 0
    device: str = "cpu"
    precision: Precision | None = None  # None: bfloat16 on a GPU that has it, else float32
    pretrained: str | None = None  # None: the scale's weights; "none": random; "imagenet"; or a file
    start: Path | None = None  # a checkpoint whose network stage 2 goes on from, without stage 1
    mean_over: tuple[str, ...] | None = None
    workers: int = 0
    chosen_encoder: bool = False  # the scale's encoder was asked for: a table's blocks have no say
    for_server: bool = False  # fine-tuned for PASCAL's test server (Table 2)

    @property
    def eval_crop(self) -> int:
        """Pixels, side of the crop of protocol `crop`."""
        return evaluation_crop(self.scale.eval_crop, self.scale.silhouettes[2], self.root)


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


def device_name(device: str) -> str:
    """What a row calls a device: "cpu", or the GPU's own name.

    Raises:
        InputError: torch cannot use it.
    """
    check_device(device)
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def check_categories(chosen: tuple[str, ...] | None, known: tuple[str, ...]) -> None:
    """Raise InputError for a category that the data set does not have."""
    for name in chosen or ():
        if name not in known:
            raise nearest("category", name, known)


def precision_of(request: Request) -> Precision:
    """The precision a run uses: as asked, or bfloat16 where the GPU has it."""
    if request.precision is not None:
        return request.precision
    on_gpu = request.device.startswith("cuda") and native(request.device, "bf16")
    return "bf16" if on_gpu else "fp32"


def data_of(
    request: Request, *, progress: Callable[[int, int], None] | None = None
) -> tuple[SegmentationDataset, list[SegmentationDataset]]:
    """The training set, and the sets a run is measured on; generated on first use where no root is given.

    A run on generated scenes is also measured on scenes out of context, and on ordinary ones beside them.

    Raises:
        InputError: the data cannot be used, or the training and evaluation lists share images.
    """
    root = _root_of(request)
    opened = functools.partial(open_dataset, mask_threshold=request.mask_threshold, progress=progress)
    training = opened(request.dataset, root, request.split, pseudo=request.pseudo)
    if request.eval_split is None:
        return training, []
    measured_on = "ecssd" if request.dataset == "duts" else request.dataset
    evaluation = opened(measured_on, request.eval_root or root, request.eval_split)
    check_disjoint(training, evaluation)
    if request.dataset != "silhouettes" or request.root is not None:
        return training, [evaluation]
    beside = out_of_context_root(request.scale)
    lists = ("outofcontext", "ordinary")
    return training, [evaluation, *(open_dataset("silhouettes-outofcontext", beside, one) for one in lists)]


def check_pairing(request: Request, training: SegmentationDataset) -> None:
    """Raise InputError for salient objects without the categories that the method pairs them by."""
    by_category = request.experiment.method.pairing not in ("none", "random")
    if by_category and isinstance(training, SaliencyDataset) and not training.category_paths:
        raise InputError(
            f"{training.root}, list {training.split}",
            f"has no pseudo-categories, and {request.experiment.name} pairs images by them",
            f"'segmix predict' them into {training.root / PSEUDO_CATEGORIES}, or give --pseudo",
        )


def batches_of(request: Request, training: SegmentationDataset) -> TrainingBatches:
    """The batches of a request's stage 1, as they are before they are mixed.

    Raises:
        InputError: too few images or categories, or see `check_pairing`.
    """
    check_pairing(request, training)
    return TrainingBatches(
        training,
        batch_size=request.scale.batch_size,
        crop=request.scale.crop,
        scale_range=request.scale.scale_range,
        seed=request.seed,
        clustered=request.experiment.method.pairing == "clusters",
    )


def _root_of(request: Request) -> Path:
    if request.root is not None:
        return request.root
    if request.dataset == "silhouettes":
        return generated_root(request.scale)
    if request.dataset == "silhouettes-saliency":
        return saliency_root(request.scale)
    raise InputError(f"dataset {request.dataset}", "no --root given", "say where the data set lies")


def weights_of(request: Request) -> tuple[str | Path | None, dict[str, Any] | None]:
    """Where the encoder starts, and what a row says of it; (None, None) is random weights.

    Raises:
        InputError: no such file, or the header of a .safetensors file cannot be read.
    """
    if request.start is not None:
        if not request.start.is_file():
            raise InputError(
                request.start, "no such checkpoint", "name a checkpoint written by 'segmix train'"
            )
        return None, {"name": request.start.name, "sha256": file_digest(request.start)}
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
        try:
            with safe_open(path, framework="pt") as opened:
                record = (
                    opened.metadata() or {}
                ) | record  # the file says how it was made, and not what it is
        except (SafetensorError, OSError) as error:
            raise InputError(
                path, "not a readable weights file", "make it anew, or give --pretrained none"
            ) from error
    return path, record


def model_of(request: Request, num_logits: int) -> SourceSeparation:
    """The network of a run: that of the checkpoint it starts from, or one drawn from the run's seed.

    Raises:
        InputError: a bad checkpoint, or one of another network than the experiment's.
    """
    scale, method = request.scale, request.experiment.method
    pretrained, _ = weights_of(request)
    torch.manual_seed(int(stream(request.seed, "weights").integers(2**31)))
    model = SourceSeparation(
        num_logits,
        backbone=scale.backbone,
        head=method.head,
        output_stride=scale.output_stride,
        shared_aspp=method.shared_aspp,
        pretrained=pretrained,
        aspp_channels=scale.aspp_channels,
        aspp_rates=scale.aspp_rates,
    )
    if request.start is not None:
        content = read_checkpoint(request.start)
        if content["architecture"] != model.architecture:
            raise InputError(
                request.start, "was written by another architecture", "start from a run of this experiment"
            )
        load_weights(model, content, request.start)
    return model


def plan_of(request: Request, images: int) -> Plan:
    """Steps, device and precision of a run on `images` training images.

    Raises:
        InputError: nothing to train: a method that ends after stage 1, started from a checkpoint.
    """
    if request.start is not None and request.experiment.method.finetune == "none":
        raise InputError(
            request.experiment.name,
            "ends after stage 1: --start leaves nothing to do",
            "choose a method with a stage 2",
        )
    stage1, stage2 = request.scale.steps(images)
    return Plan(
        method=request.experiment.method,
        scale=request.scale,
        seed=request.seed,
        stage1_steps=stage1 if request.start is None else 0,
        stage2_steps=0 if request.experiment.method.finetune == "none" else stage2,
        device=request.device,
        precision=precision_of(request),
        workers=request.workers,
    )
