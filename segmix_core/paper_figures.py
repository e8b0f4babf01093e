"""The paper's figures, drawn from runs: `segmix figure N`. A rule says which images are shown."""

from __future__ import annotations

import textwrap
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
from segmix_core.data.transforms import center_crop, inside_crop
from segmix_core.errors import InputError
from segmix_core.experiments import FIGURES, METHODS, nearest
from segmix_core.experiments.robustness import STUDIES, SURROGATE, UNIVERSALS
from segmix_core.files import check_writable, replacing
from segmix_core.losses import phantom_activation
from segmix_core.measure import segmenter
from segmix_core.mixing import mix, pair_scores
from segmix_core.models import load_model
from segmix_core.records import Batch, MixedBatch, Separation
from segmix_core.report.figures import (
    DOMINANT,
    PHANTOM,
    Drawing,
    Place,
    cluster_order,
    confidence_picture,
    image_picture,
    label_picture,
    panels,
    rare_curves,
    use_book_style,
)
from segmix_core.request import Request, batches_of, data_of
from segmix_core.rng import stream
from segmix_core.robustness.at_hand import committed, published
from segmix_core.robustness.universal import Shown, crafted, crafting
from segmix_core.run import Report, cached_run
from segmix_core.subsets import OBJECTS, OCCLUSION, UNIQUE, Subset, build_subsets
from segmix_core.training import TrainingBatches

RequestFor = Callable[[str, int], Request]
"""The training run of an experiment with a seed, by name and seed."""

PAGE = 9.2  # inches, width of a drawing: nearly 900 pixels
LOSS = "#f6d5d5"


@dataclass(frozen=True)
class Drawn:
    """A figure and what has to be said of it."""

    figure: Figure
    rule: str  # by which its images were chosen


def draw(
    number: int,
    request_for: RequestFor,
    seeds: Sequence[int] = (0,),
    *,
    pictures: Path | None = None,
    perturbations: Path | None = None,
    reporter: Callable[[str], Report] = lambda what: lambda step, steps, terms: None,
) -> Drawn:
    """Draw a figure of the paper; the runs that it needs come from the cache, trained if they are not there.

    Args:
        request_for: gives the request of an experiment with a seed; scale and data set are in it.
        seeds: Fig. 5 is drawn over all of them; the other figures show networks of the first.
        pictures: for Fig. 4, a folder of images without labels (Out-of-Context, UnRel) in place of
            generated scenes.
        perturbations: for Fig. 6, a folder with the published files, in place of a perturbation that is
            crafted on another baseline.

    Raises:
        InputError: no such figure, no seed, or a figure that needs what this data set does not have.
    """
    if number not in FIGURES:
        raise nearest("figure", str(number), [str(one) for one in FIGURES])
    if not seeds:
        raise InputError("figure", "no seed", "name at least one")
    for given, of, what in ((pictures, 4, "--pictures"), (perturbations, 6, "--perturbations")):
        if given is not None and number != of:
            raise InputError(f"figure {number}", f"shows nothing of {what}", f"it is for figure {of} alone")
    use_book_style()
    runs = _Runs(request_for, tuple(dict.fromkeys(seeds)), reporter)
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


def draw_to(
    path: Path, number: int, request_for: RequestFor, seeds: Sequence[int] = (0,), **how: Any
) -> Drawn:
    """Draw a figure into a .png, .svg or .pdf file, which appears when it is whole; see `draw`.

    Below it stands of which networks it is, data, scale and seeds, and the rule that chose what it shows.

    Args:
        path: the file; an older one is replaced.
        number: 1 to 7.
        request_for, seeds, how: see `draw`.

    Raises:
        InputError: another ending, or a folder that cannot be written to; see `draw`.
    """
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(path, "is no .png, .svg or .pdf file", "name --out so")
    check_writable(path)
    drawn = draw(number, request_for, seeds, **how)
    setting = _setting(request_for("baseline", seeds[0]), seeds if number == 5 else seeds[:1])
    letters = int(14 * drawn.figure.get_figwidth())
    said = textwrap.fill(f"{setting}; {drawn.rule}", letters)
    drawn.figure.text(0.01, 0, said, va="top", fontsize=8, color="0.35")
    with replacing(path) as temporary:
        drawn.figure.savefig(temporary, format=path.suffix[1:], bbox_inches="tight", pad_inches=0.05)
    plt.close(drawn.figure)
    return replace(drawn, rule=f"{setting}; {drawn.rule}")


def _setting(request: Request, seeds: Sequence[int]) -> str:
    numbers = ", ".join(str(seed) for seed in dict.fromkeys(seeds))
    return f"{request.dataset}, {request.scale.name}, seed{'s' * (len(set(seeds)) > 1)} {numbers}"


class _Runs:
    """The checkpoints and rows of the runs behind a figure, each fetched once."""

    def __init__(
        self, request_for: RequestFor, seeds: tuple[int, ...], reporter: Callable[[str], Report]
    ) -> None:
        self.request_for = request_for
        self.seeds = seeds
        self.reporter = reporter
        self._found: dict[tuple[str, int], tuple[Path, list[dict[str, Any]]]] = {}
        self.training, evaluations = data_of(self.ask("baseline"))
        if not evaluations:
            raise InputError("figure", "no evaluation list", "name one with --eval-split")
        self.evaluation = evaluations[0]

    def ask(self, name: str) -> Request:
        """The request with the first seed."""
        return self.request_for(name, self.seeds[0])

    def of(self, name: str, seed: int | None = None) -> tuple[Path, list[dict[str, Any]]]:
        key = (name, self.seeds[0] if seed is None else seed)
        if key not in self._found:
            what = name if len(self.seeds) == 1 else f"{name}, seed {key[1]}"
            self._found[key] = cached_run(self.request_for(*key), report=self.reporter(what))
        return self._found[key]

    def segment(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        return segmenter(self.of(name)[0], device=self.ask(name).device)

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


def _subsets(runs: _Runs) -> dict[str, Subset]:
    matrix_NN = cooccurrence_matrix(dataset_presence(runs.training))
    return build_subsets(runs.evaluation, dataset_presence(runs.evaluation), matrix_NN)


def _occluded(runs: _Runs, count: int) -> tuple[list[int], str]:
    """The first images of the lists of Table 4 with occlusion: all objects, then any; and the rule in words.

    Where no annotation marks occluded objects, the images with most objects, then with most categories.
    """
    subsets = _subsets(runs)
    names: tuple[str, ...] = OCCLUSION[::-1]
    why = ""
    if not any(name in subsets and subsets[name].ids for name in names):
        names, why = (*reversed(OBJECTS), *reversed(UNIQUE)), "no annotation marks an object as occluded: "
    chosen: list[int] = []
    said = []
    for name in names:
        ids = subsets[name].ids if name in subsets else ()
        added = [index for index in map(runs.evaluation.ids.index, ids) if index not in chosen]
        added = added[: count - len(chosen)]
        if added:
            first = "the first" if len(added) == 1 else f"the first {len(added)}"
            said.append(f"{first} of {name} ({subsets[name].what})")
        chosen += added
    if not chosen:
        chosen = list(range(min(count, len(runs.evaluation))))
        said = [f"the first {len(chosen)} of the list"]
    return chosen, why + ", then ".join(said)


def _most_occluded(runs: _Runs, count: int) -> tuple[list[int], str]:
    """The images with the most objects that an annotation marks occluded; without annotations, as above."""
    folder = runs.evaluation.root / "Annotations"
    if not folder.is_dir():
        return _occluded(runs, count)
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
    shown_by_paper = next(one for one in UNIVERSALS if one.name == "gd-uap-none")  # one of GD-UAP
    if perturbations is None:
        perturbation = committed(shown_by_paper.name, request, runs.training)
    else:
        perturbation = published(perturbations, shown_by_paper) or published(perturbations, UNIVERSALS[0])
    if perturbation is None:
        checkpoint, _ = cached_run(replace(request, seed=SURROGATE), report=runs.reporter("surrogate"))
        perturbation = crafted(
            checkpoint,
            crafting(shown_by_paper.name, size=runs.crop, study=STUDIES[request.scale.name]),
            runs.training,
            checkpoint.parent / "robustness" / "perturbations",
            output="dominant",
            device=request.device,
            report=runs.reporter(f"crafting {shown_by_paper.name}"),
        )
    perturb = Shown(perturbation).perturb()
    indices, rule = _occluded(runs, 3)
    segments = {name: runs.segment(name) for name in METHODS}
    rows, notes = [], []
    for index in indices:
        image, label = _cropped(runs, runs.evaluation, index)
        inside_HW1 = inside_crop(runs.evaluation.label(index).shape, runs.crop)[..., None]
        image_BCHW = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        perturbed = np.where(inside_HW1, image_picture(perturb(image_BCHW)[0]), image)  # not its padding
        for shown, note in ((image, "as it is"), (perturbed, "perturbed")):
            predicted = [label_picture(segment(shown)) for segment in segments.values()]
            rows.append([shown, label_picture(label), *predicted])
            notes.append(note)
    titles = ["image", "labels", *(name.replace("sourcesep", "sep") for name in METHODS)]
    return Drawn(
        panels(rows, titles, notes), f"{perturbation.name}, L_inf {perturbation.epsilon:.0f}; {rule}"
    )


def _rare_company(runs: _Runs) -> Drawn:
    """Fig. 5: mIoU of images whose categories meet fewer than t times in training, for falling t."""
    names = [experiment.name for experiment in FIGURES[5].experiments]
    rows = [row for name in names for seed in runs.seeds for row in runs.of(name, seed)[1]]
    figure = rare_curves(rows, among=(runs.evaluation.name,))
    seeds = ", ".join(map(str, runs.seeds))
    over = f"mean over seeds {seeds} with its 95 % interval" if len(runs.seeds) > 1 else f"seed {seeds} alone"
    return Drawn(figure, f"every image of each subset; {over}")


@dataclass(frozen=True)
class _Blended:
    """The first training batch of a method, as drawn and as mixed."""

    batches: TrainingBatches
    matrix_NN: np.ndarray
    batch: Batch
    presence_BN: torch.Tensor
    mixed: MixedBatch

    def strongest(self, among_B: torch.Tensor, which: str) -> tuple[int, str]:
        """The sample with the strongest phantom among some, or among all if there are none; and the rule."""
        delta_B = self.mixed.delta_B
        if not among_B.any():
            among_B, which = torch.ones_like(delta_B, dtype=torch.bool), ""
        sample = int(delta_B.masked_fill(~among_B, torch.inf).argmin())
        return sample, f"the strongest phantom of the first training batch{which}"

    def paired(self) -> tuple[int, str]:
        """The sample that is shown of pairs within the batch."""
        score_BB = pair_scores(self.presence_BN, self.matrix_NN)[0]
        positive_B = score_BB.gather(1, self.mixed.partner_B[:, None])[:, 0] > 0
        return self.strongest(positive_B, ", of the pairs with a positive score")


def _blend(runs: _Runs, name: str) -> _Blended:
    request = runs.ask(name)
    batches = batches_of(request, runs.training)
    batch = next(batches.run(0, 1, device="cpu"))
    matrix_NN = cooccurrence_matrix(batches.presence)
    rng = stream(request.seed, "mix", 0)
    mixed = mix(request.experiment.method, batch, torch.from_numpy(matrix_NN), rng=rng)
    assert batch.presence_BN is not None
    return _Blended(batches, matrix_NN, batch, batch.presence_BN, mixed)


def _named(runs: _Runs, number: int) -> list[str]:
    """Names of the categories that images are paired by; pseudo-categories have only numbers."""
    names = runs.training.categories
    return list(names) if len(names) == number else [str(index) for index in range(number)]


def _overview(runs: _Runs) -> Drawn:
    """Fig. 1: both ways of blending, each with one pair, and what is predicted for one image."""
    drawing = Drawing(PAGE, 8.4)
    pair = _draw_clusters(drawing, runs, 0.05)
    sample = _draw_cooccurrence(drawing, runs, 3.25)
    shown = _draw_predictions(drawing, runs, 6.4)
    return Drawn(drawing.figure, f"top, {pair}; middle, {sample}; bottom, {shown}")


def _heading(drawing: Drawing, top: float, name: str, words: str) -> None:
    left = {"ha": "left", "va": "top", "fontsize": 10}
    drawing.text(name, (0.12, top + 0.06), weight="bold", **left)
    drawing.text(words, (0.12, top + 0.26), **left | {"fontsize": 9})


def _draw_blend(drawing: Drawing, blended: _Blended, sample: int, top: float) -> tuple[Place, Place]:
    """Eq. 1 for one sample: both crops, the blend, its targets. Returns where the crops are."""
    batch, mixed = blended.batch, blended.mixed
    delta = float(mixed.delta_B[sample])
    places = []
    for index, row, symbol, colour in (
        (sample, 0, "a", DOMINANT),
        (int(mixed.partner_B[sample]), 1, "b", PHANTOM),
    ):
        name = "dominant" if symbol == "a" else "phantom"
        place = Place(4.6, top + 0.22 + 1.3 * row, 1, 1)
        crop = image_picture(batch.image_BCHW[index])
        places.append(drawing.picture(crop, place, f"$I_{symbol}$, {name}", frame=colour))
    sum_box = drawing.box(Place(6.05, top + 1.02, 0.95, 0.7), "$\\delta\\, I_a +$\n$(1-\\delta)\\, I_b$")
    drawing.arrow(places[0].at(1, 0.5), sum_box.at(0.2, 0), colour=DOMINANT)
    drawing.arrow(places[1].at(1, 0.5), sum_box.at(0.2, 1), colour=PHANTOM)
    drawing.text(f"$\\delta$ = {delta:.2f}", (6.62, top + 0.82))
    blend = Place(7.3, top + 0.82, 1.1, 1.1)
    drawing.picture(image_picture(mixed.image_BCHW[sample]), blend, "$I_{ss}$, the blend")
    drawing.arrow(sum_box.at(1, 0.5), blend.at(0, 0.5))
    for label_BHW, row, symbol in ((mixed.dominant_BHW, 0, "a"), (mixed.phantom_BHW, 1, "b")):
        place = Place(8.5, top + 0.62 + 0.9 * row, 0.6, 0.6)
        drawing.picture(label_picture(label_BHW[sample].numpy()), place, f"labels $y_{symbol}$")
    return places[0], places[1]


def _draw_clusters(drawing: Drawing, runs: _Runs, top: float) -> str:
    """Section 3.1.1: an image of one category's cluster, and a random one of another's."""
    blended = _blend(runs, "sourcesep-cc")
    batches, size = blended.batches, len(blended.mixed.delta_B)
    assert batches.clusters is not None
    visible_B = blended.presence_BN[:, 1:].any(1)
    sample, rule = blended.strongest(
        visible_B[:size] & visible_B[size:], ", of the pairs whose crops both show an object"
    )
    names = _named(runs, len(blended.matrix_NN))
    words = (
        "one cluster of training images for each category; the phantom is a random image of another cluster"
    )
    _heading(drawing, top, "Categorical clusters", words)
    crops = _draw_blend(drawing, blended, sample, top + 0.45)
    slots = (sample, size + sample)
    # Which two clusters were drawn is not kept: of those that may have been, the largest in the crops.
    held = [
        _largest_first(blended.batch.label_BHW[slot], batches.presence[batches.indices(0)[slot]])
        for slot in slots
    ]
    categories = next((one, other) for one in held[0] for other in held[1] if one != other)
    for slot, category, crop, colour in zip(slots, categories, crops, (DOMINANT, PHANTOM), strict=True):
        index, cluster = int(batches.indices(0)[slot]), batches.clusters[category]
        box = drawing.box(Place(0.12, crop.y - 0.1, 4.06, 1.2), colour="0.96")
        title = f"cluster {names[category]}, {len(cluster)} image{'s' * (len(cluster) > 1)}"
        drawing.text(title, (box.x + 0.12, box.y + 0.15), ha="left")
        for place, one in enumerate([index, *cluster[cluster != index][:3]]):
            thumbnail = Place(box.x + 3.12 - place * 1.0, box.y + 0.3, 0.82, 0.82)
            frame = "0.5" if place else colour
            drawing.picture(_square(runs.training, int(one)), thumbnail, frame=frame)
        drawing.arrow((box.x + 3.94, crop.at(0, 0.5)[1]), crop.at(0, 0.5), colour=colour)
    return rule


def _largest_first(label_HW: torch.Tensor, presence_N: np.ndarray) -> list[int]:
    """The categories that an image holds, by how many pixels each has in its crop."""
    pixels = np.bincount(label_HW.numpy().ravel(), minlength=len(presence_N))
    return sorted((int(one) + 1 for one in np.flatnonzero(presence_N[1:])), key=lambda one: -pixels[one])


def _square(dataset: SegmentationDataset, index: int) -> np.ndarray:
    image, label = dataset.pair(index)
    return center_crop(image, label, min(label.shape))[0]


def _draw_cooccurrence(drawing: Drawing, runs: _Runs, top: float) -> str:
    """Algorithm 2: the sample of the batch whose categories occur with those of I_a most often."""
    blended = _blend(runs, "sourcesep-cm")
    sample, rule = blended.paired()
    partner = int(blended.mixed.partner_B[sample])
    words = "the phantom is the sample whose categories occur with those of $I_a$ in most training images"
    _heading(drawing, top, "Co-occurrence within a batch", words)
    crops = _draw_blend(drawing, blended, sample, top + 0.45)

    names = _named(runs, len(blended.matrix_NN))
    order = cluster_order(blended.matrix_NN).tolist()
    own, other = (
        _largest_first(blended.batch.label_BHW[one], blended.presence_BN[one].numpy())
        for one in (sample, partner)
    )
    marked = {(order.index(one), order.index(another)) for one in own for another in other if one != another}
    matrix = drawing.matrix(
        blended.matrix_NN[np.ix_(order, order)], Place(0.12, top + 0.85, 1.6, 1.6), marked
    )
    drawing.text(f"$C_{{ss}}$, {len(order)} categories", matrix.at(0.5, -0.08))
    pair = "\n\u00d7 ".join(
        ", ".join(names[one] for one in held[:2]) + ", ..." * (len(held) > 2) for held in (own, other)
    )
    drawing.text(f"bright: many images; framed:\n{pair}", matrix.at(0, 1.2), ha="left", fontsize=8)

    batch = drawing.box(Place(2.0, crops[0].y - 0.1, 2.18, 2.5), colour="0.96")
    drawing.arrow(matrix.at(1, 0.5), (batch.x, matrix.at(1, 0.5)[1]))
    drawing.text("the batch; S: score with $I_a$", batch.at(0.5, 0.06))
    score_B = pair_scores(blended.presence_BN, blended.matrix_NN)[0][sample]
    others = [one for one in score_B.argsort(descending=True).tolist() if one not in (sample, partner)]
    places = ((2, 0), (2, 1), (1, 0), (0, 0), (1, 1), (0, 1))
    for one, (column, row) in zip((sample, partner, *others), places, strict=False):
        thumbnail = Place(batch.x + 0.11 + 0.68 * column, crops[row].y + 0.2, 0.6, 0.6)
        frame = {sample: DOMINANT, partner: PHANTOM}.get(one, "0.5")
        title = "$I_a$" if one == sample else f"S = {int(score_B[one])}"
        shown = image_picture(blended.batch.image_BCHW[one])
        drawing.picture(shown, thumbnail, title, frame=frame, below=True)
        if column == 2:
            drawing.arrow(thumbnail.at(1, 0.5), crops[row].at(0, 0.5), colour=frame)
    return rule


def _draw_predictions(drawing: Drawing, runs: _Runs, top: float) -> str:
    (index,), rule = _occluded(runs, 1)
    image, label = _cropped(runs, runs.evaluation, index)
    _heading(
        drawing, top, "Predictions", "of networks that were trained on plain images, or on blends of them"
    )
    shown = {"image": image, "labels": label_picture(label)}
    shown |= {name: label_picture(runs.segment(name)(image)) for name in METHODS}
    for place, (title, picture) in enumerate(shown.items()):
        drawing.picture(picture, Place(0.12 + 1.29 * place, top + 0.65, 1.2, 1.2), title)
    return rule


def _stages(runs: _Runs) -> Drawn:
    """Fig. 2: both stages, with what the branches and the head say of a blend and then of an image."""
    checkpoint, _ = runs.of("sourcesep-cm")
    blended = _blend(runs, "sourcesep-cm")
    sample, rule = blended.paired()
    image, label = _cropped(runs, runs.evaluation, 0)
    plain_BCHW = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    first, last = (load_model(path) for path in (checkpoint.with_name("stage1.pt"), checkpoint))
    with torch.inference_mode():
        of_blend, before, after = (
            first(blended.mixed.image_BCHW[sample, None]),
            first(plain_BCHW),
            last(plain_BCHW),
        )
    drawing = Drawing(PAGE, 7.65)
    _heading(
        drawing,
        0.05,
        "Stage 1: blends",
        "loss of Eq. 4: $l_{ss} + \\delta\\, l_t + (1-\\delta)\\, l_p$, "
        "each a cross-entropy with the labels of one of the two images",
    )
    _draw_stage1(drawing, blended.mixed, sample, of_blend, 0.5)
    _heading(
        drawing, 4.55, "Stage 2: plain images", "loss of Eq. 5: $l_t + l_{PPA}$, which silences the phantom"
    )
    _draw_stage2(drawing, image, label, before, after, 5.05)
    return Drawn(drawing.figure, f"{rule}; the first evaluation image")


def _draw_trunk(drawing: Drawing, picture: np.ndarray, title: str, rows: tuple[Place, Place]) -> None:
    """From the input through the encoder and both branches to their outputs, whose first maps are `rows`."""
    middle = (rows[0].at(0, 0.5)[1] + rows[1].at(0, 0.5)[1]) / 2
    image = drawing.picture(picture, Place(0.12, middle - 0.55, 1.1, 1.1), title)
    encoder = drawing.box(Place(1.5, middle - 0.5, 0.85, 1.0), "shared\nencoder\n$f_{enc}$", colour="#dfe9f5")
    drawing.arrow(image.at(1, 0.5), encoder.at(0, 0.5))
    for row, words in zip(rows, ("ASPP\n$F_t$", "ASPP\n$F_p$"), strict=True):
        colour = "#d6e8f5" if row is rows[0] else "#fbe6c8"
        branch = drawing.box(Place(2.65, row.at(0, 0.5)[1] - 0.35, 0.7, 0.7), words, colour=colour)
        drawing.arrow(encoder.at(1, 0.25 if row is rows[0] else 0.75), branch.at(0, 0.5))
        drawing.arrow(branch.at(1, 0.5), row.at(0, 0.5))


def _draw_output(drawing: Drawing, logits_1NHW: torch.Tensor, place: Place, name: str, frame: str) -> Place:
    """An output's label map and, to its right, its confidence. Returns the place of the latter."""
    probability = logits_1NHW.softmax(1)[0].max(0).values.numpy()
    drawing.picture(label_picture(logits_1NHW.argmax(1)[0].numpy()), place, name, frame=frame)
    beside = replace(place, x=place.x + place.width + 0.08)
    return drawing.picture(confidence_picture(probability), beside, "confidence", frame=frame)


def _draw_stage1(drawing: Drawing, mixed: MixedBatch, sample: int, outputs: Separation, top: float) -> None:
    assert outputs.phantom is not None
    assert outputs.final is not None
    rows = Place(3.65, top + 0.85, 0.9, 0.9), Place(3.65, top + 2.2, 0.9, 0.9)
    _draw_trunk(drawing, image_picture(mixed.image_BCHW[sample]), "$I_{ss}$, a blend", rows)
    head = drawing.box(
        Place(5.9, top + 1.4, 0.85, 1.15), "source\nseparation\nhead\n$F_{ss}$", colour="#dcefdc"
    )
    final = Place(7.15, top + 1.525, 0.9, 0.9)
    for logits, row, name, frame, down in (
        (outputs.dominant, rows[0], "$S_t$", DOMINANT, 0.2),
        (outputs.phantom, rows[1], "$S_p$", PHANTOM, 0.8),
    ):
        confidence = _draw_output(drawing, logits, row, name, frame)
        drawing.arrow(confidence.at(1, 0.5), head.at(0, down))
    _draw_output(drawing, outputs.final, final, "$S_{ss}$", "0.5")
    drawing.arrow(head.at(1, 0.5), final.at(0, 0.5))

    targets = (mixed.dominant_BHW, mixed.phantom_BHW)
    own, other = (label_picture(label_BHW[sample].numpy()) for label_BHW in targets)
    own_at = drawing.picture(own, Place(6.02, top + 0.02, 0.6, 0.6), "labels $y_a$", below=True)
    other_at = drawing.picture(other, Place(6.02, top + 3.3, 0.6, 0.6), "labels $y_b$")
    for words, target, side, row, down in (
        ("$\\delta\\, l_t$", own_at, 0, rows[0], 0),
        ("$(1-\\delta)\\, l_p$", other_at, 0, rows[1], 1),
        ("$l_{ss}$", own_at, 1, final, 0),
    ):
        y = target.at(0, 0.5)[1] - 0.17
        loss = drawing.box(Place(row.x + 0.28, y, 1.0, 0.34), words, colour=LOSS)
        drawing.arrow(target.at(side, 0.5), loss.at(1 - side, 0.5), dashed=True)
        x = row.x + 0.8
        drawing.arrow((x, loss.at(0, 1 - down)[1]), (x, row.at(0, down)[1]), dashed=True)

    scale = Place(7.3, top + 3.5, 1.6, 0.13)
    drawing.picture(confidence_picture(np.linspace(0, 1, 64)[None]), scale, "confidence")
    for across in (0, 1):
        drawing.text(str(across), (scale.at(across, 0)[0], scale.y + 0.25))


def _draw_stage2(
    drawing: Drawing, image: np.ndarray, label: np.ndarray, before: Separation, after: Separation, top: float
) -> None:
    """`before` and `after`: what the network says of the image after stage 1 and after stage 2."""
    assert before.phantom is not None
    assert after.phantom is not None
    rows = Place(3.65, top + 0.2, 0.9, 0.9), Place(3.65, top + 1.5, 0.9, 0.9)
    _draw_trunk(drawing, image, "$I$, as it is", rows)
    for logits, row, name, frame, words in (
        (after.dominant, rows[0], "$S_t$, reported", DOMINANT, "$l_t$"),
        (after.phantom, rows[1], "$S_p$ after stage 2", PHANTOM, "$l_{PPA}$"),
    ):
        confidence = _draw_output(drawing, logits, row, name, frame)
        loss = drawing.box(Place(6.0, row.at(0, 0.5)[1] - 0.17, 0.8, 0.34), words, colour=LOSS)
        drawing.arrow(loss.at(0, 0.5), confidence.at(1, 0.5), dashed=True)
        if row is rows[0]:
            target = drawing.picture(label_picture(label), replace(row, x=7.3), "labels $y$")
            drawing.arrow(target.at(0, 0.5), loss.at(1, 0.5), dashed=True)
    first, last = (float(phantom_activation(one)) for one in (before.phantom, after.phantom))
    words = f"$l_{{PPA}}$ of this image:\n{first:.2f} after stage 1,\n{last:.2f} after stage 2"
    drawing.text(words, (7.0, rows[1].at(0, 0.5)[1]), ha="left", linespacing=1.4)
