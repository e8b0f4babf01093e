"""What a finished network is worth: result rows, the matrices behind them, and predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

import segmix_core
from segmix_core import results
from segmix_core.cooccurrence import cooccurrence_matrix, dataset_presence
from segmix_core.data import evaluation_crop, open_dataset
from segmix_core.data.dataset import SegmentationDataset, read_image
from segmix_core.data.saliency import SaliencyDataset
from segmix_core.data.voc import VOC_CATEGORIES, open_images, voc_palette
from segmix_core.errors import InputError
from segmix_core.evaluation import Protocol, blends_of, evaluate, evaluate_blends
from segmix_core.evaluation.saliency import evaluate_saliency
from segmix_core.evaluation.submission import write_submission
from segmix_core.experiments import Method
from segmix_core.experiments.robustness import BLENDED_AT
from segmix_core.files import file_digest, replacing
from segmix_core.metrics import ImageConfusions, save_confusions, sparse
from segmix_core.models import SourceSeparation, load_model, read_checkpoint
from segmix_core.request import (
    Request,
    check_categories,
    check_device,
    device_name,
    precision_of,
    weights_of,
)
from segmix_core.subsets import build_subsets


def measure_run(
    request: Request,
    folder: Path,
    training: SegmentationDataset,
    evaluations: Sequence[SegmentationDataset],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Score the networks that a finished run left in `folder`, after each stage, on every evaluation set.

    The confusion matrices of single images, with the subsets of Tables 4 and 5 and Fig. 5, go to
    `folder`/per_image. A network with a phantom branch is also shown blends of the first set, after stage 1.

    Returns:
        One row for each evaluation set, stage and output, and for each delta of blends.
    """
    identity = read_checkpoint(folder / "checkpoint.pt")["identity"]
    networks = {
        stage: _Network.of(folder / name, request.device)
        for stage, name in ((1, "stage1.pt"), (2, "checkpoint.pt"))
        if identity[f"stage{stage}_steps"]
    }
    if isinstance(training, SaliencyDataset):
        return [
            row
            for evaluation in evaluations
            for row in _measure_saliency(request, folder, training, evaluation, networks, progress)
        ]
    training_NN = cooccurrence_matrix(dataset_presence(training))
    rows = []
    for evaluation in evaluations:
        scores = {
            (stage, output): score
            for stage, network in networks.items()
            for output, score in evaluate(
                network.model,
                evaluation,
                crop=request.eval_crop,
                device=request.device,
                mean_over=request.mean_over,
                progress=progress,
            ).items()
        }
        subsets = build_subsets(evaluation, dataset_presence(evaluation), training_NN)
        confusions = ImageConfusions(
            ids=evaluation.ids,
            categories=evaluation.categories,
            matrices={
                f"stage{stage} {output}": sparse(score.per_image_nNN)
                for (stage, output), score in scores.items()
            },
            subsets={name: np.isin(evaluation.ids, subset.ids) for name, subset in subsets.items()},
        )
        kept = keep_confusions(request, folder, confusions)
        shared = shared_fields(request, training, evaluation, folder / "checkpoint.pt")
        rows += [
            shared
            | {
                "stage": stage,
                "output": output,
                "reported": stage == max(networks) and output == request.experiment.method.output(),
                "metrics": score.as_json(),
                "per_image": kept,
                "steps": networks[stage].step,
            }
            for (stage, output), score in scores.items()
        ]
    if evaluations and 1 in networks and request.experiment.method.head != "plain":
        rows += measure_separation(request, folder, training, evaluations[0], progress=progress)
    return rows


@dataclass(frozen=True)
class _Network:
    """A trained network on its device, and the steps that it was trained for."""

    model: SourceSeparation
    step: int

    @staticmethod
    def of(checkpoint: Path, device: str) -> _Network:
        return _Network(load_model(checkpoint).to(device), read_checkpoint(checkpoint)["progress"]["step"])


def measure_separation(
    request: Request,
    folder: Path,
    training: SegmentationDataset,
    evaluation: SegmentationDataset,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Score how well the branches that stage 1 left in `folder` take blends of evaluation images apart.

    Returns:
        One row for each delta of `BLENDED_AT` and each output, the phantom among them.
    """
    network = _Network.of(folder / "stage1.pt", request.device)
    shared = shared_fields(request, training, evaluation, folder / "checkpoint.pt")

    def told(done: int) -> None:
        if progress is not None:
            progress(done, len(evaluation))

    rows = []
    for delta in BLENDED_AT:
        scores = evaluate_blends(
            network.model,
            blends_of(evaluation, delta, crop=request.eval_crop, device=request.device),
            evaluation.categories,
            mean_over=request.mean_over,
            progress=told,
        )
        condition = dict.fromkeys(results.CONDITION) | {
            "kind": "blend",
            "name": f"delta {delta:g}",
            "how": "the next image of the list as phantom",
            "valid": True,
            "making": {"delta": delta},
        }
        rows += [
            shared
            | {
                "stage": 1,
                "output": output,
                "reported": False,
                "condition": condition,
                "metrics": score.as_json(),
                "per_image": None,
                "steps": network.step,
            }
            for output, score in scores.items()
        ]
    return rows


def keep_confusions(request: Request, folder: Path, confusions: ImageConfusions) -> str:
    """Write the matrices of single images to `folder`/per_image; the path, as rows name it.

    The file is named after the run and what it holds: those of many runs lie side by side.
    """
    written = folder / results.PER_IMAGE / "written.npz"
    save_confusions(written, confusions)
    name = f"{request.experiment.name.replace('/', '-')}-{request.seed}-{file_digest(written)[:12]}.npz"
    return str(written.rename(written.with_name(name)))


def _measure_saliency(
    request: Request,
    folder: Path,
    training: SegmentationDataset,
    evaluation: SegmentationDataset,
    networks: dict[int, _Network],
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    """Rows of a one-logit network: F-beta and MAE, each image at its own size."""
    shared = shared_fields(request, training, evaluation, folder / "checkpoint.pt")
    return [
        shared
        | {
            "protocol": "full",
            "crop": None,
            "stage": stage,
            "output": output,
            "reported": stage == max(networks) and output == request.experiment.method.output(),
            "metrics": scores.as_json(),
            "per_image": None,
            "steps": network.step,
        }
        for stage, network in networks.items()
        for output, scores in evaluate_saliency(
            network.model, evaluation, device=request.device, progress=progress
        ).items()
    ]


def shared_fields(
    request: Request, training: SegmentationDataset, evaluation: SegmentationDataset, checkpoint: Path
) -> dict[str, Any]:
    """What every row of a run says, whatever stage and output it is about."""
    method, scale = request.experiment.method, request.scale
    return {
        "schema": results.SCHEMA,
        "experiment": request.experiment.name,
        "method": method.factors(),
        "method_digest": request.experiment.digest(),
        "scale": scale.name,
        "scale_digest": scale.digest(),
        "backbone": scale.backbone,
        "dataset": request.dataset,
        "dataset_digest": training.digest(),
        "split": request.split,
        "images": len(training),
        "eval_dataset": evaluation.name,
        "eval_split": evaluation.split,
        "eval_images": len(evaluation),
        "eval_digest": evaluation.digest(),
        "seed": request.seed,
        "protocol": "crop",
        "crop": request.eval_crop,
        "mean_over": None if request.mean_over is None else list(request.mean_over),
        "group": scale.batch_size,
        "condition": None,
        "weights": weights_of(request)[1],
        "device": device_name(request.device),
        "precision": precision_of(request),
        "torch": torch.__version__,
        "version": segmix_core.__version__,
        "commit": results.commit(),
        "seconds": round(read_checkpoint(checkpoint)["progress"]["seconds"], 1),
    }


def stored_crop(checkpoint: Path, root: Path) -> int:
    """Pixels, side of the crop of protocol `crop` at a checkpoint's scale, for the images in `root`."""
    scale = read_checkpoint(checkpoint)["identity"]["scale"]
    return evaluation_crop(scale["eval_crop"], scale["silhouettes"][2], root)


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
    mask_threshold: int | None = None,
    perturb: Callable[[torch.Tensor], torch.Tensor] | None = None,
    controls: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = MappingProxyType({}),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure every output of a checkpoint: the document of `segmix evaluate`.

    Args:
        perturb: see `evaluate`; not for salient objects.
        controls: by name, what is shown in its place afterwards.
    """
    check_device(device)
    opened = open_dataset(dataset, root, split, mask_threshold=mask_threshold, progress=progress)
    check_categories(mean_over, opened.categories)
    model = load_model(checkpoint).to(device)
    if model.architecture["num_categories"] != opened.num_logits:
        raise InputError(
            checkpoint,
            f"knows {model.architecture['num_categories']} categories, not {opened.num_logits}",
            "name a checkpoint trained on the same categories",
        )
    if isinstance(opened, SaliencyDataset):
        if perturb is not None:
            raise InputError(dataset, "salient objects are not perturbed", "leave --perturbation out")
        salient = evaluate_saliency(model, opened, device=device, progress=progress)
        return {
            "images": len(opened),
            "protocol": "full",
            "crop": None,
            "mean_over": None,
            "outputs": {name: score.as_json() for name, score in salient.items()},
        }
    crop = crop or stored_crop(checkpoint, root)

    def under(perturb: Callable[[torch.Tensor], torch.Tensor] | None) -> dict[str, Any]:
        scores = evaluate(
            model,
            opened,
            protocol=protocol,
            crop=crop,
            device=device,
            mean_over=mean_over,
            perturb=perturb,
            progress=progress,
        )
        return {name: score.as_json() for name, score in scores.items()}

    return {
        "images": len(opened),
        "protocol": protocol,
        "crop": crop if protocol == "crop" else None,
        "mean_over": None if mean_over is None else list(mean_over),
        "outputs": under(perturb),
        "controls": {name: under(control) for name, control in controls.items()},
    }


def predict(
    checkpoint: Path,
    images: Sequence[Path],
    out: Path,
    *,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Label maps (VOC palette) and overlays of photographs, at their own size.

    Returns:
        For each image, `<name>.png` and `<name>-overlay.jpg` in `out`.

    Raises:
        InputError: a bad checkpoint or image, or a result would replace an image, another result, or a file
            that no call of this wrote.
    """
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
        if not _is_ours(out, path.stem):
            what = "is there already, and no label map of this command"
            raise InputError(out / f"{path.stem}.png", what, "choose another --out")
    segment = segmenter(checkpoint, device=device)
    written = []
    for number, path in enumerate(images, 1):
        image = read_image(path)
        label = segment(image)
        drawn = Image.fromarray(label)
        drawn.putpalette(voc_palette().tobytes())
        shown = voc_palette()[label]
        overlay = np.where(label[..., None] > 0, (image.astype(np.uint16) + shown) // 2, image).astype(
            np.uint8
        )
        pictures = {
            f"{path.stem}.png": (drawn, "PNG"),
            f"{path.stem}-overlay.jpg": (Image.fromarray(overlay), "JPEG"),
        }
        for name, (picture, kind) in reversed(pictures.items()):  # the label map last: see `_is_ours`
            with replacing(out / name) as temporary:
                picture.save(temporary, format=kind)
        written += [out / name for name in pictures]
        if progress is not None:
            progress(number, len(images))
    return written


def _is_ours(out: Path, name: str) -> bool:
    """Whether `predict` may write a label map there: none is, or one in its palette beside an overlay."""
    label = out / f"{name}.png"
    if not label.exists():
        return True
    try:
        with Image.open(label) as opened:
            colours = opened.getpalette() if opened.mode == "P" else None
    except OSError:
        return False
    known = voc_palette()[: len(VOC_CATEGORIES)].ravel().tolist()
    return colours is not None and colours[: len(known)] == known and (out / f"{name}-overlay.jpg").exists()


def reported_output(content: dict[str, Any]) -> Literal["dominant", "final"]:
    """The output that a checkpoint's method reports (R12): of stage 1, as if it ended there."""
    method = Method.stored(content["identity"]["method"])
    in_stage1 = content["progress"]["step"] <= content["identity"]["stage1_steps"]
    return (method.stage1() if in_stage1 else method).output()


def segmenter(checkpoint: Path, *, device: str = "cpu") -> Callable[[np.ndarray], np.ndarray]:
    """The network of a checkpoint as a function: uint8 (H, W, 3) -> categories, uint8 (H, W).

    It reads the output that the method reports after the stage that has ended (R12), at the image's own size.

    Raises:
        InputError: a bad checkpoint, or a network that knows no categories.
    """
    check_device(device)
    output = reported_output(read_checkpoint(checkpoint))
    model = load_model(checkpoint).to(device)
    if model.architecture["num_categories"] == 1:
        raise InputError(checkpoint, "tells salient from not, and no categories", "use 'segmix evaluate'")

    @torch.inference_mode()
    def segment(image: np.ndarray) -> np.ndarray:
        image_BCHW = torch.tensor(image, device=device).permute(2, 0, 1)[None].float().div_(255)
        label: np.ndarray = model(image_BCHW).outputs()[output].argmax(1)[0].to("cpu", torch.uint8).numpy()
        return label

    return segment


def submit(
    checkpoint: Path,
    root: Path,
    split: str,
    out: Path,
    *,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Predict a list of a VOC folder, such as `test`, into the archive that PASCAL's server takes (Table 2).

    Raises:
        InputError: see `open_images` and `write_submission`.
    """
    known = read_checkpoint(checkpoint)["architecture"]["num_categories"]
    if known != len(VOC_CATEGORIES):
        raise InputError(
            checkpoint, f"knows {known} categories, not VOC's 21", "name a network trained on VOC"
        )
    ids, paths = zip(*open_images(root, split), strict=True)
    segment = segmenter(checkpoint, device=device)
    return write_submission(segment, ids, paths, out, split=split, progress=progress)
