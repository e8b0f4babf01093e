"""An encoder from image-level categories, made and written: the start of small runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import segmix_core
from segmix_core import results
from segmix_core.cooccurrence import dataset_presence
from segmix_core.data import SALIENCY, evaluation_crop, open_dataset, silhouettes
from segmix_core.data.transforms import center_crop
from segmix_core.errors import InputError
from segmix_core.experiments import Scale
from segmix_core.files import check_writable, file_digest
from segmix_core.request import check_device
from segmix_core.rng import stream
from segmix_core.training import Pretraining, pretrain, write_encoder


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

    Raises:
        InputError: a data set that cannot be used, as one of salient objects, which are of no category; or
            `out` cannot be written.
    """
    check_device(device)
    check_writable(out)
    if dataset in SALIENCY:
        raise InputError(f"dataset {dataset}", "has no categories to name", "take one that has, as voc2012")
    backbone = backbone or scale.backbone
    if dataset == "silhouettes" and root is None:
        size = scale.silhouettes[2]
        pictures, labels = silhouettes.make_single_objects(images, size=size, seed=seed)
        targets = np.eye(21, dtype=bool)[labels]
        source = f"{images} single generated objects, {size} px, seed {seed}"
    else:
        if root is None:
            raise InputError(f"dataset {dataset}", "no --root given", "say where the data set lies")
        opened = open_dataset(dataset, root, split)
        shuffled = stream(seed, "pretrain", "held out").permutation(len(opened))
        targets = dataset_presence(opened)[shuffled]
        crop = evaluation_crop(scale.eval_crop, scale.silhouettes[2], root)
        pictures = np.empty((len(opened), crop, crop, 3), dtype=np.uint8)
        for place, index in enumerate(shuffled):
            pictures[place] = center_crop(*opened.pair(int(index)), crop)[0]
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
