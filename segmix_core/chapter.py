"""What every chapter of the book begins with: its parameters made into data, runs and pictures."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from IPython.display import Markdown

from segmix_core.cooccurrence import cooccurrence_matrix
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.transforms import center_crop
from segmix_core.experiments import METHODS, Scale, find_experiment, find_scale
from segmix_core.models import SourceSeparation, load_model, read_checkpoint
from segmix_core.paper_figures import Drawn, draw
from segmix_core.records import Batch
from segmix_core.report.figures import use_book_style
from segmix_core.request import Request, batches_of, check_device, data_of
from segmix_core.run import cached_run, with_pseudo_categories
from segmix_core.training import TrainingBatches

SHARED = tuple(METHODS)
"""The experiments that the chapters share; the book trains each of them once."""


@dataclass(frozen=True)
class Run:
    """A finished training run from the cache, with its networks after either stage."""

    request: Request
    checkpoint: Path
    rows: list[dict[str, Any]]

    @cached_property
    def model(self) -> SourceSeparation:
        """The network at the end."""
        return load_model(self.checkpoint)

    @cached_property
    def stage1(self) -> SourceSeparation:
        """The network at the end of stage 1."""
        return load_model(self.checkpoint.with_name("stage1.pt"))

    @property
    def losses(self) -> list[dict[str, float]]:
        """The curve: mean terms of the loss, every few steps, over both stages."""
        curve: list[dict[str, float]] = read_checkpoint(self.checkpoint)["progress"]["losses"]
        return curve

    def score(self, stage: int, output: str) -> float:
        """mIoU, percent, of an output after a stage, on the images as they are."""
        wanted = (stage, output, None)
        row = next(row for row in self.rows if (row["stage"], row["output"], row["condition"]) == wanted)
        return float(row["metrics"]["mIoU"])


@dataclass(frozen=True)
class Chapter:
    """A chapter's parameters, checked."""

    scale: Scale
    dataset: str
    root: Path | None
    seed: int
    device: str

    def request(self, experiment: str) -> Request:
        """The training run of an experiment under these parameters."""
        return Request(
            experiment=find_experiment(experiment),
            scale=self.scale,
            dataset=self.dataset,
            root=self.root,
            split="train_aug" if self.dataset == "voc2012" else "train",
            seed=self.seed,
            device=self.device,
        )

    @property
    def eval_crop(self) -> int:
        """Pixels, side of the crop of protocol `crop`."""
        return self.request("baseline").eval_crop

    def run(self, experiment: str) -> Run:
        """The run from the cache, trained now if it is not there."""
        request = self.request(experiment)
        return Run(request, *cached_run(request))

    @property
    def steps(self) -> tuple[int, int]:
        """Training steps of its runs, in either stage."""
        return self.scale.steps(len(self.data[0]))

    def finding(self, words: str) -> Markdown:
        """What a page found of networks that it trained; at `smoke`, that nothing can be."""
        if self.scale.name == "smoke":
            words = (
                f"**Nothing can be concluded here.** Each network took {self.steps[0]} + {self.steps[1]} "
                "training steps: the numbers show that the page works."
            )
        return Markdown(words)  # type: ignore[no-untyped-call]

    def figure(self, number: int) -> Drawn:
        """A figure of the paper, drawn from this chapter's runs."""
        return draw(number, lambda name, seed: replace(self.request(name), seed=seed), (self.seed,))

    def salient_run(self, experiment: str) -> Run:
        """The same, trained and measured on generated salient objects (Table 7), whatever the data set."""
        generated = replace(
            self.request(experiment),
            dataset="silhouettes-saliency",
            root=None,
            split="train",
            eval_split="test",
        )
        request = with_pseudo_categories(generated)
        return Run(request, *cached_run(request))

    @cached_property
    def data(self) -> tuple[SegmentationDataset, SegmentationDataset]:
        """The training and the evaluation set."""
        training, (evaluation, *_) = data_of(self.request("baseline"))
        return training, evaluation

    @cached_property
    def batches(self) -> TrainingBatches:
        """The training batches, as stage 1 sees them before they are mixed."""
        return batches_of(self.request("sourcesep-cm"), self.data[0])

    @cached_property
    def cooccurrence_NN(self) -> torch.Tensor:
        """C_ss of the training set."""
        return torch.from_numpy(cooccurrence_matrix(self.batches.presence))

    def batch(self, step: int = 0, *, clustered: bool = False) -> Batch:
        """Training batch number `step`; with `clustered`, dominant images and then their phantoms."""
        batches = batches_of(self.request("sourcesep-cc"), self.data[0]) if clustered else self.batches
        return next(batches.run(step, step + 1, device="cpu"))

    def evaluation_batch(self, indices: Sequence[int]) -> Batch:
        """Evaluation images, centre-cropped as in protocol `crop`."""
        evaluation = self.data[1]
        pairs = [center_crop(*evaluation.pair(index), self.eval_crop) for index in indices]
        image_BHWC = np.stack([image for image, _ in pairs])
        return Batch(
            torch.from_numpy(image_BHWC).permute(0, 3, 1, 2).float().div_(255),
            torch.from_numpy(np.stack([label for _, label in pairs])).long(),
        )


def begin(*, scale: str, dataset: str, root: str | None, seed: int, device: str) -> Chapter:
    """Check a chapter's parameters and set the style; one thread, so that numbers are the same everywhere.

    Raises:
        InputError: an unknown scale, data set or device.
    """
    check_device(device)
    torch.set_num_threads(1)
    use_book_style()
    return Chapter(find_scale(scale), dataset, None if root is None else Path(root), int(seed), device)


def shared_requests(scale: str) -> list[Request]:
    """The training runs that the chapters share at a scale, longest first."""
    chapter = Chapter(find_scale(scale), "silhouettes", None, 0, "cpu")
    return [chapter.request(name) for name in reversed(SHARED)]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Markdown:
    """A table for a notebook's output, the same text on every machine."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return Markdown("\n".join(lines))  # type: ignore[no-untyped-call]


def source(of: Any) -> Markdown:
    """The source of a function or method, as the chapter's text shows it."""
    text = textwrap.dedent(inspect.getsource(of))
    return Markdown(f"```python\n{text}```")  # type: ignore[no-untyped-call]


def names_of(presence_N: np.ndarray | torch.Tensor, categories: Sequence[str]) -> str:
    """The categories of an image in words, background left out."""
    held = [name for name, here in zip(categories[1:], presence_N[1:], strict=True) if here]
    return ", ".join(held) or "none"
