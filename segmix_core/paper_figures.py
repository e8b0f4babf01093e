"""The paper's figures, drawn from runs: `segmix figure N`. A rule says which images are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from segmix_core.cooccurrence import cooccurrence_matrix, dataset_presence
from segmix_core.data import open_dataset, out_of_context_root
from segmix_core.data.annotations import read_annotation
from segmix_core.data.context import open_context
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.transforms import center_crop
from segmix_core.errors import InputError
from segmix_core.experiments import FIGURES, METHODS, find_rows, nearest
from segmix_core.experiments.robustness import STUDIES, SURROGATE
from segmix_core.files import replacing
from segmix_core.measure import segmenter
from segmix_core.mixing import mix
from segmix_core.models import load_model
from segmix_core.report import measured
from segmix_core.report.figures import (
    confidence_picture,
    image_picture,
    label_picture,
    panels,
    threshold_curves,
    use_book_style,
)
from segmix_core.request import Request, batches_of, data_of
from segmix_core.rng import stream
from segmix_core.robustness.universal import Shown, crafted, crafting, published
from segmix_core.run import Report, cached_run
from segmix_core.subsets import build_subsets

Ask = Callable[[str], Request]
"""The training run of an experiment, by its name."""


@dataclass(frozen=True)
class Drawn:
    """A figure and what has to be said of it."""

    figure: Figure
    rule: str  # by which its images were chosen


def draw(
    number: int,
    ask: Ask,
    *,
    pictures: Path | None = None,
    perturbations: Path | None = None,
    reporter: Callable[[str], Report] = lambda what: lambda step, steps, terms: None,
) -> Drawn:
    """Draw a figure of the paper; the runs that it needs come from the cache, trained if they are not there.

    Args:
        ask: gives the request of an experiment; scale, data set and seed are in it.
        pictures: for Fig. 4, a folder of images without labels (Out-of-Context, UnRel) in place of
            generated scenes.
        perturbations: for Fig. 6, a folder with the published files, in place of a perturbation that is
            crafted on another baseline.

    Raises:
        InputError: no such figure, or one that needs what this data set does not have.
    """
    if number not in FIGURES:
        raise nearest("figure", str(number), [str(one) for one in FIGURES])
    use_book_style()
    runs = _Runs(ask, reporter)
    if number == 1:
        return _overview(runs)
    if number == 2:
        return _stages(runs)
    if number == 3:
        return _predictions(runs, *_occluded(runs, 6))
    if number == 4:
        return _out_of_context(runs, pictures)
    if number == 5:
        return _rare_company(runs)
    if number == 6:
        return _perturbed(runs, perturbations)
    return _predictions(runs, *_most_occluded(runs, 2), methods=("baseline", "sourcesep-cc", "sourcesep-cm"))


def draw_to(path: Path, number: int, ask: Ask, **how: Any) -> Drawn:
    """Draw a figure into a .png, .svg or .pdf file, which appears when it is whole."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(path, "is no .png, .svg or .pdf file", "name --out so")
    drawn = draw(number, ask, **how)
    with replacing(path) as temporary:
        drawn.figure.savefig(temporary, format=path.suffix[1:])
    plt.close(drawn.figure)
    return drawn


class _Runs:
    """The checkpoints and rows of the runs behind a figure, each fetched once."""

    def __init__(self, ask: Ask, reporter: Callable[[str], Report]) -> None:
        self.ask = ask
        self.reporter = reporter
        self._found: dict[str, tuple[Path, list[dict[str, Any]]]] = {}
        self.training, evaluations = data_of(ask("baseline"))
        if not evaluations:
            raise InputError("figure", "no evaluation list", "name one with --eval-split")
        self.evaluation = evaluations[0]

    def of(self, name: str) -> tuple[Path, list[dict[str, Any]]]:
        if name not in self._found:
            self._found[name] = cached_run(self.ask(name), report=self.reporter(name))
        return self._found[name]

    def segment(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        return segmenter(self.of(name)[0])

    @property
    def crop(self) -> int:
        return self.ask("baseline").eval_crop


def _cropped(runs: _Runs, dataset: SegmentationDataset, index: int) -> tuple[np.ndarray, np.ndarray]:
    return center_crop(*dataset.pair(index), runs.crop)


def _predictions(
    runs: _Runs,
    indices: Sequence[int],
    rule: str,
    *,
    dataset: SegmentationDataset | None = None,
    methods: Sequence[str] = tuple(METHODS),
) -> Drawn:
    """Image, labels and what each method predicts."""
    dataset = dataset or runs.evaluation
    segments = {name: runs.segment(name) for name in methods}
    rows = []
    for index in indices:
        image, label = _cropped(runs, dataset, index)
        predicted = [label_picture(segment(image)) for segment in segments.values()]
        rows.append([image, label_picture(label), *predicted])
    titles = ["image", "labels", *(name.replace("sourcesep", "sep") for name in methods)]
    return Drawn(panels(rows, titles), rule)


def _subsets(runs: _Runs) -> dict[str, Any]:
    matrix_NN = cooccurrence_matrix(dataset_presence(runs.training))
    return dict(build_subsets(runs.evaluation, dataset_presence(runs.evaluation), matrix_NN))


def _occluded(runs: _Runs, count: int) -> tuple[list[int], str]:
    """Images all of whose objects are occluded; where no annotation tells, images of most categories."""
    subsets = _subsets(runs)
    for name in ("occlusion/all", "unique/4", "unique/3", "unique/2"):
        if name in subsets and len(subsets[name].ids) >= count:
            chosen = [runs.evaluation.ids.index(one) for one in subsets[name].ids[:count]]
            return chosen, f"the first {count} of the list {name} ({subsets[name].what})"
    return list(range(min(count, len(runs.evaluation)))), f"the first {count} of the list"


def _most_occluded(runs: _Runs, count: int) -> tuple[list[int], str]:
    folder = runs.evaluation.root / "Annotations"
    if not folder.is_dir():
        raise InputError(
            runs.evaluation.root,
            "has no folder Annotations, which tells what is occluded",
            "take VOC or the silhouettes",
        )
    occluded = []
    for identifier in runs.evaluation.ids:
        annotation = read_annotation(folder / f"{identifier}.xml", runs.evaluation.categories)
        occluded.append(sum(one.occluded for one in annotation.objects))
    order = np.argsort(-np.array(occluded), kind="stable")[:count]
    return [int(one) for one in order], f"the {count} images with the most occluded objects"


def _out_of_context(runs: _Runs, pictures: Path | None) -> Drawn:
    if pictures is None:
        if runs.ask("baseline").root is not None:
            raise InputError(
                "figure 4", "needs pictures out of context", "name a folder of them with --pictures"
            )
        root = out_of_context_root(runs.ask("baseline").scale)
        dataset = open_dataset("silhouettes-outofcontext", root, "outofcontext")
        shown = range(min(5, len(dataset)))
        return _predictions(runs, shown, "the first generated scenes of the list", dataset=dataset)
    folder = open_context("outofcontext", pictures)
    segments = {name: runs.segment(name) for name in METHODS}
    rows = []
    for index in range(min(8, len(folder))):
        image = folder.image(index)
        rows.append([image, *(label_picture(segment(image)) for segment in segments.values())])
    titles = ["image", *(name.replace("sourcesep", "sep") for name in METHODS)]
    return Drawn(panels(rows, titles), "the first eight pictures by file name")


def _perturbed(runs: _Runs, perturbations: Path | None) -> Drawn:
    """Fig. 6: each image as it is and under a universal perturbation, and what the methods say of both."""
    request = runs.ask("baseline")
    if request.seed == SURROGATE:
        raise InputError(
            f"seed {SURROGATE}", "is that of the network on which attacks are crafted", "choose another seed"
        )
    if perturbations is None:
        surrogate = replace(request, seed=SURROGATE)
        checkpoint, _ = cached_run(surrogate, report=runs.reporter("surrogate"))
        how = crafting("gd-uap-none", size=runs.crop, study=STUDIES[request.scale.name])
        perturbation = crafted(
            checkpoint,
            how,
            runs.training,
            checkpoint.parent / "robustness" / "perturbations",
            output="dominant",
            device=request.device,
            report=runs.reporter("crafting gd-uap-none"),
        )
    else:
        perturbation = published(perturbations, "ResNet-152.mat", "uap-resnet152")
    perturb = Shown(perturbation).perturb()
    indices, rule = _occluded(runs, 3)
    segments = {name: runs.segment(name) for name in METHODS}
    rows, notes = [], []
    for index in indices:
        image, label = _cropped(runs, runs.evaluation, index)
        image_BCHW = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        for shown, note in ((image, "as it is"), (image_picture(perturb(image_BCHW)[0]), "perturbed")):
            predicted = [label_picture(segment(shown)) for segment in segments.values()]
            rows.append([shown, label_picture(label), *predicted])
            notes.append(note)
    titles = ["image", "labels", *(name.replace("sourcesep", "sep") for name in METHODS)]
    return Drawn(
        panels(rows, titles, notes), f"{perturbation.name}, L_inf {perturbation.epsilon:.0f}; {rule}"
    )


def _rare_company(runs: _Runs) -> Drawn:
    """mIoU of images whose categories meet fewer than t times in training, for falling t."""
    curves: dict[str, list[tuple[int, float, float | None, int]]] = {}
    for row in find_rows("figure5"):
        assert row.subset is not None
        name = row.experiment.name
        entries = measured(runs.of(name)[1], row.experiment, subset=row.subset)
        points = curves.setdefault(name, [])
        if entries:
            entry = entries[0]
            threshold = int(row.subset.partition("/")[2])
            points.append((threshold, entry["value"], entry["half_width_95"], entry["images"]))
    return Drawn(threshold_curves(curves), "every image of each subset")


def _blend(request: Request, runs: _Runs) -> tuple[Any, Any]:
    """The first training batch of a method, as drawn and as mixed."""
    batches = batches_of(request, runs.training)
    batch = next(batches.run(0, 1, device="cpu"))
    matrix_NN = torch.from_numpy(cooccurrence_matrix(batches.presence))
    return batch, mix(request.experiment.method, batch, matrix_NN, rng=stream(request.seed, "mix", 0))


def _overview(runs: _Runs) -> Drawn:
    """Fig. 1: two pairs of each way of blending, and below them what is predicted for one image."""
    rows, notes = [], []
    for name, note in (("sourcesep-cc", "clusters"), ("sourcesep-cm", "co-occurrence")):
        batch, mixed = _blend(runs.ask(name), runs)
        for sample in range(2):
            partner = int(mixed.partner_B[sample])
            rows.append(
                [
                    image_picture(batch.image_BCHW[sample]),
                    image_picture(batch.image_BCHW[partner]),
                    image_picture(mixed.image_BCHW[sample]),
                    label_picture(mixed.dominant_BHW[sample].numpy()),
                    label_picture(mixed.phantom_BHW[sample].numpy()),
                ]
            )
            notes.append(f"{note}, {float(mixed.delta_B[sample]):.2f}")
    (index,), rule = _occluded(runs, 1)
    image, _ = _cropped(runs, runs.evaluation, index)
    shown = ("mixup", "cutmix", "sourcesep-cc", "sourcesep-cm")
    rows.append([image, *(label_picture(runs.segment(name)(image)) for name in shown)])
    notes.append("predictions")
    titles = ["dominant", "phantom", "blend", "dominant labels", "phantom labels"]
    figure = panels(rows, titles, notes)
    for axis, title in zip(figure.axes[-5:], ["image", "Mixup", "CutMix", "sep-cc", "sep-cm"], strict=True):
        axis.set_title(title, fontsize=9)
    return Drawn(figure, f"the first two samples of the first training batch; below, {rule}")


def _stages(runs: _Runs) -> Drawn:
    """Fig. 2: what the branches and the head say of a blend in stage 1, and of an image in stage 2."""
    request = runs.ask("sourcesep-cm")
    checkpoint, _ = runs.of("sourcesep-cm")
    _, mixed = _blend(request, runs)
    image, _ = _cropped(runs, runs.evaluation, 0)
    plain_BCHW = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    rows = []
    for path, image_BCHW in (
        (checkpoint.with_name("stage1.pt"), mixed.image_BCHW[:1]),
        (checkpoint, plain_BCHW),
    ):
        with torch.inference_mode():
            separation = load_model(path)(image_BCHW)
        outputs = (separation.dominant, separation.phantom, separation.final)
        row = [image_picture(image_BCHW[0])]
        for logits in outputs:
            probability = logits.softmax(1)[0].max(0).values.numpy()
            row += [label_picture(logits.argmax(1)[0].numpy()), confidence_picture(probability)]
        rows.append(row)
    titles = ["input", "dominant", "its confidence", "phantom", "its confidence", "final", "its confidence"]
    figure = panels(rows, titles, ["stage 1: a blend", "stage 2: an image"])
    return Drawn(figure, "the first training blend, and the first evaluation image")
