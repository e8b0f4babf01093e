"""An adaptive attack on a list of images, batch by batch: it can be stopped, and goes on where it was."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segmix_core.attacks.adaptive import Adversary, Aim, attack
from segmix_core.attacks.sanity import Check, all_hold, finite_and_unmasked, noise
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.transforms import center_crop, inside_crop
from segmix_core.errors import InputError
from segmix_core.evaluation import ConfusionMatrix, Scores
from segmix_core.files import alone, replacing
from segmix_core.models import Precision, SourceSeparation
from segmix_core.rng import stream

TOGETHER = {"cpu": (16, 2**18), "cuda": (64, 2**22)}
"""Images attacked together, and pixels, at most: what a stopped attack loses, and what a GPU can hold.

An image's attack does not depend on the others.
"""

PROBED = 4
"""Images at which gradients are probed."""

Working = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class AttackedSet:
    """What an attack did to the images of a list, in its order."""

    scores: dict[str, Scores]  # of each output, on the worst image found for the measured one
    right_n: np.ndarray  # share of labelled pixels that the measured output still gets right, 0..1
    by_loss: dict[str, np.ndarray]  # the same for each loss alone


def worst_of(found: Sequence[AttackedSet]) -> AttackedSet:
    """For each image the attack of several that leaves the fewest pixels right.

    Args:
        found: on the same images, in the same order; one at least.
    """
    best_n = np.stack([one.right_n for one in found]).argmin(0)
    images = np.arange(len(best_n))
    scores = {
        output: Scores(
            np.stack([one.scores[output].per_image_nNN for one in found])[best_n, images],
            first.categories,
            first.mean_over,
        )
        for output, first in found[0].scores.items()
    }
    return AttackedSet(scores, np.stack([one.right_n for one in found]).min(0), {})


def attack_dataset(
    model: SourceSeparation,
    dataset: SegmentationDataset,
    adversary: Adversary | None,
    *,
    epsilon: float = 0.0,
    measured: str,
    crop: int,
    judges: SourceSeparation | None = None,
    device: str = "cpu",
    precision: Precision = "fp32",
    mean_over: tuple[str, ...] | None = None,
    seed: int = 0,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    working: Working | None = None,
) -> AttackedSet:
    """Attack the centre `crop` x `crop` pixels of every image; padding is left alone.

    Args:
        adversary: what it aims at; None shows random signs of size `epsilon` instead (0: the image as it is).
        measured: the output whose right pixels count, "dominant" or "final"; on `model` it is "dominant"
            where another network judges.
        judges: another network, which is shown what was found on `model` (transfer).
        precision: of the search; what is found is measured in float32.
        folder: keeps what is done, a file for each batch; a stopped attack goes on from there.
        progress: told how many images are done.
        working: told at every step, besides, how far the batch at hand is (per cent).

    Raises:
        InputError: `folder` cannot be written to, or holds a file that is no part of this attack.
    """
    judges = judges or model
    judges.eval()
    batch = _together(crop, device)
    parts = []
    with (
        nullcontext() if folder is None else alone(folder)
    ):  # what cannot be written is found before the work
        for number, start in enumerate(range(0, len(dataset), batch)):
            indices = range(start, min(start + batch, len(dataset)))
            path = None if folder is None else folder / f"{number:03d}.npz"
            if path is not None and path.exists():
                part = _read_part(path, len(indices))
            else:
                image_BCHW, label_BHW, inside_BHW = batch_of(dataset, indices, crop, device)
                generators = [_generator(seed, dataset.ids[index], device) for index in indices]
                by_loss: dict[str, Tensor] = {}
                if adversary is None:
                    shown_BCHW = image_BCHW
                    if epsilon > 0:
                        noisy_BCHW = torch.cat(
                            [
                                noise(image_CHW[None], epsilon, generator)
                                for image_CHW, generator in zip(image_BCHW, generators, strict=True)
                            ]
                        )
                        shown_BCHW = torch.where(inside_BHW[:, None], noisy_BCHW, image_BCHW)
                else:
                    found = attack(
                        model,
                        image_BCHW,
                        label_BHW,
                        adversary,
                        measured=measured if judges is model else "dominant",
                        generators=generators,
                        precision=precision,
                        inside_BHW=inside_BHW,
                        working=functools.partial(_told, working, start, len(dataset)),
                    )
                    shown_BCHW, by_loss = found.image_BCHW, found.by_loss
                part = _scored(judges, shown_BCHW, label_BHW, len(dataset.categories))
                part |= {f"loss {name}": right_B.cpu().numpy() for name, right_B in by_loss.items()}
                if path is not None:
                    with replacing(path) as temporary, temporary.open("wb") as opened:
                        np.savez_compressed(opened, **part)  # type: ignore[arg-type]
            parts.append(part)
            if progress is not None:
                progress(indices.stop, len(dataset))
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    scores = {
        name.removeprefix("matrix "): Scores(matrices, dataset.categories, mean_over)
        for name, matrices in whole.items()
        if name.startswith("matrix ")
    }
    matrices = scores[measured].per_image_nNN
    pixels_n = matrices.sum((1, 2))
    right_n = np.trace(matrices, axis1=1, axis2=2) / np.maximum(pixels_n, 1)
    losses = {name.removeprefix("loss "): right for name, right in whole.items() if name.startswith("loss ")}
    return AttackedSet(scores, right_n, losses)


def _together(crop: int, device: str) -> int:
    images, pixels = TOGETHER["cpu" if torch.device(device).type == "cpu" else "cuda"]
    return max(1, min(images, pixels // crop**2))


def gradients_of(
    model: SourceSeparation, dataset: SegmentationDataset, aims: Sequence[Aim], *, crop: int, device: str
) -> Check:
    """`finite_and_unmasked` for each aim, its slope by the loss that does not jump where a pixel turns wrong.

    On the first images of which the output that is attacked gets a pixel right, or on the first of all.
    """
    outputs = {aim: "final" if aim == "final" else "dominant" for aim in aims}
    probed = {}
    for output in dict.fromkeys(outputs.values()):
        right = list(islice(_right_at(output, model, dataset, crop, device), PROBED))
        probed[output] = batch_of(dataset, right or [0], crop, device)
    generator = torch.Generator(device=device).manual_seed(0)
    checks = {}
    for aim, output in outputs.items():
        image_BCHW, label_BHW, _ = probed[output]
        checks[f"of {aim}"] = finite_and_unmasked(model, image_BCHW, label_BHW, aim=aim, generator=generator)
    return all_hold(checks)


def _right_at(
    output: str, model: SourceSeparation, dataset: SegmentationDataset, crop: int, device: str
) -> Iterator[int]:
    """The images of which an output gets a pixel right."""
    model.eval()
    for index in range(len(dataset)):
        image_BCHW, label_BHW, _ = batch_of(dataset, [index], crop, device)
        matrices = _scored(model, image_BCHW, label_BHW, len(dataset.categories))[f"matrix {output}"]
        if np.trace(matrices[0]) > 0:
            yield index


def _generator(seed: int, identifier: str, device: str) -> torch.Generator:
    """What draws the random starts of an image, whatever list it stands on."""
    return torch.Generator(device=device).manual_seed(int(stream(seed, "attack", identifier).integers(2**63)))


def _told(working: Working | None, done: int, number: int, share: float) -> None:
    if working is not None:
        working(done, number, {"of this batch (%)": 100 * share})


def attack_folder(root: Path, adversary: Adversary | None, **identity: object) -> Path:
    """A folder under `root` named after everything that decides what an attack finds."""
    content = {"adversary": None if adversary is None else asdict(adversary), **identity}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]
    return root / digest


def batch_of(
    dataset: SegmentationDataset, indices: Sequence[int], crop: int, device: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The centre of images, padded where they are smaller.

    Returns:
        Images, float32 (B, 3, crop, crop), 0..1; labels, int64 (B, crop, crop), 255 where there are none; and
        which pixels belong to the picture, bool (B, crop, crop).
    """
    images, labels, insides = [], [], []
    for index in indices:
        image, label = dataset.pair(index)
        cropped, cropped_label = center_crop(image, label, crop)
        images.append(cropped)
        labels.append(cropped_label)
        insides.append(inside_crop(label.shape, crop))
    image_BHWC = torch.from_numpy(np.stack(images)).to(device)
    label_BHW = torch.from_numpy(np.stack(labels)).to(device).long()
    inside_BHW = torch.from_numpy(np.stack(insides)).to(device)
    return image_BHWC.permute(0, 3, 1, 2).float().div_(255), label_BHW, inside_BHW


@torch.no_grad()
def _scored(
    model: SourceSeparation, image_BCHW: Tensor, label_BHW: Tensor, categories: int
) -> dict[str, np.ndarray]:
    """The confusion matrix of each image at each output."""
    found = {}
    for name, logits in model(image_BCHW).outputs().items():
        matrices = []
        for prediction, label in zip(logits.argmax(1), label_BHW, strict=True):
            confusion = ConfusionMatrix(categories)
            confusion.update(prediction.to(torch.uint8), label)
            matrices.append(confusion.matrix)
        found[f"matrix {name}"] = np.stack(matrices)
    return found


def _read_part(path: Path, images: int) -> dict[str, np.ndarray]:
    refused = InputError(path, "is no part of an attack", "delete it to attack its images anew")
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            part = {name: archive[name] for name in archive.files}
    except Exception as error:  # numpy and zipfile raise half a dozen kinds for a file that is cut or damaged
        raise refused from error
    if not part or any(array.shape[:1] != (images,) for array in part.values()):
        raise refused
    return part
