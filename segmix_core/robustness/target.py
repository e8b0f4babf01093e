"""A network under study: its run, what it is shown, and the rows that it gets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from segmix_core import results
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.errors import InputError
from segmix_core.evaluation import Scores, evaluate
from segmix_core.experiments import Method
from segmix_core.experiments.robustness import (
    STUDIES,
    Part,
    Study,
)
from segmix_core.measure import keep_confusions, shared_fields
from segmix_core.metrics import ImageConfusions, sparse
from segmix_core.models import SourceSeparation, load_model, read_checkpoint
from segmix_core.request import Request, data_of
from segmix_core.rng import stream
from segmix_core.run import (
    OutOfTimeError,
    Report,
    cached_run,
)

Reporter = Callable[[str, str], Report]
"""Given what is done and what is counted ("steps", "images"): what is told how far it is."""


@dataclass
class Clock:
    """Time that is left: work that takes long stops where it says how far it is, and can go on from there."""

    budget: float | None  # seconds
    began: float = field(default_factory=lambda: time.monotonic())

    @property
    def left(self) -> float | None:
        """Seconds that are left; None without a budget."""
        return None if self.budget is None else self.budget - (time.monotonic() - self.began)

    def look(self) -> None:
        """Raise OutOfTimeError if no time is left."""
        if self.left is not None and self.left <= 0:
            raise OutOfTimeError

    def watched(self, report: Report) -> Report:
        """A report that raises OutOfTimeError when it is not likely to be called again in time.

        That is judged by the longest time between two calls. After the last of them there is no more to do.
        """
        last, longest = time.monotonic(), 0.0

        def told(done: int, whole: int, terms: dict[str, float]) -> None:
            nonlocal last, longest
            report(done, whole, terms)
            now = time.monotonic()
            last, longest = now, max(longest, now - last)
            if done < whole and self.left is not None and self.left < longest:
                raise OutOfTimeError

        return told


class Target:
    """A network under study: its run, and everything that its rows say whatever it is shown."""

    def __init__(
        self, request: Request, request_for: Callable[..., Request], clock: Clock, reporter: Reporter
    ) -> None:
        self.request, self.clock, self.reporter = request, clock, reporter
        self._request_for = request_for
        self.name = request.experiment.name
        self.training, evaluations = data_of(request)
        if not evaluations or evaluations[0].num_logits == 1:
            raise InputError(
                request.dataset,
                "has no list of segmented images to attack",
                "choose VOC, COCO or silhouettes",
            )
        self.evaluation = evaluations[0]
        self.study: Study = STUDIES[request.scale.name]
        self.output = request.experiment.method.output()
        self._shared: dict[str, dict[str, Any]] = {}

    @cached_property
    def _run(self) -> tuple[Path, list[dict[str, Any]]]:
        report = self.reporter(f"{self.name} seed {self.request.seed}", "steps")
        return cached_run(self.request, report=report, seconds=self.clock.left)

    @property
    def checkpoint(self) -> Path:
        """The network after its last stage, which is trained on first use."""
        return self._run[0]

    @property
    def clean(self) -> list[dict[str, Any]]:
        """The rows of images as they are."""
        return self._run[1]

    @property
    def folder(self) -> Path:
        """Where what was done of its study is kept."""
        return self.checkpoint.parent / "robustness"

    def shown(self, what: str, unit: str = "images") -> Report:
        """What is told how far some work at this network is.

        Raises:
            OutOfTimeError: there is no time to begin.
        """
        self.clock.look()
        return self.reporter(f"{self.name} seed {self.request.seed}, {what}", unit)

    def report(self, what: str, unit: str = "images") -> Report:
        """The same, for work that ends when the time is up."""
        return self.clock.watched(self.shown(what, unit))

    def another(self, name: str, seed: int | None = None) -> Target:
        """Another network of the same scale and data."""
        request = self._request_for(name, seed=self.request.seed if seed is None else seed)
        return Target(request, self._request_for, self.clock, self.reporter)

    @cached_property
    def model(self) -> SourceSeparation:
        """The network after its last stage, on its device."""
        return self._loaded(self.checkpoint)

    @cached_property
    def stage1(self) -> SourceSeparation:
        """The network after stage 1."""
        return self._loaded(self.checkpoint.with_name("stage1.pt"))

    def _loaded(self, checkpoint: Path) -> SourceSeparation:
        model = load_model(checkpoint)
        model.to(self.request.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    @cached_property
    def kept(self) -> list[dict[str, Any]]:
        """The rows that are kept beside the network: of conditions that it was shown already."""
        path = self._rows_file
        return results.read(path) if path.exists() else []

    @property
    def _rows_file(self) -> Path:
        return self.folder / "rows.jsonl"

    def keep(self, rows: list[dict[str, Any]]) -> None:
        """Keep rows beside the network."""
        results.append(self._rows_file, rows)
        self.kept.extend(rows)

    def chosen(self, number: int | None) -> SegmentationDataset:
        """So many evaluation images, the same for every network; all of them for None."""
        if number is None or number >= len(self.evaluation):
            return self.evaluation
        drawn = stream(0, "robustness", "images").permutation(len(self.evaluation))[:number]
        return self.evaluation.only(sorted(int(index) for index in drawn))

    def shown_in(self, part: Part) -> SegmentationDataset:
        """The evaluation images of a part."""
        number = {"adaptive": self.study.images, "corruptions": self.study.corrupted}.get(part)
        return self.chosen(number)

    def seen(
        self,
        model: SourceSeparation,
        dataset: SegmentationDataset,
        perturb: Callable[[torch.Tensor], torch.Tensor] | None,
        what: str,
    ) -> dict[str, Scores]:
        """Scores of images that are shown somehow."""
        report = self.report(what)
        return evaluate(
            model,
            dataset,
            crop=self.request.eval_crop,
            device=self.request.device,
            mean_over=self.request.mean_over,
            perturb=perturb,
            progress=lambda done, number: report(done, number, {}),
        )

    def rows(
        self,
        scores: dict[str, Scores],
        condition: dict[str, Any],
        dataset: SegmentationDataset,
        *,
        stage: int = 2,
        per_image: bool = False,
    ) -> list[dict[str, Any]]:
        """A row for each output.

        Args:
            per_image: keep the matrices of single images beside them.
        """
        method: Method = self.request.experiment.method
        digest = dataset.digest()
        if digest not in self._shared:  # reading a checkpoint and asking git take longer than a small attack
            self._shared[digest] = shared_fields(self.request, self.training, dataset, self.checkpoint)
        fields = self._shared[digest]
        kept = self._confusions(scores, dataset, stage) if per_image else None
        return [
            fields
            | {
                "stage": stage,
                "output": output,
                "reported": stage == 2 and output == method.output(),
                "condition": condition,
                "metrics": score.as_json(),
                "per_image": kept,
                "steps": self._steps[stage],
            }
            for output, score in scores.items()
        ]

    @cached_property
    def _steps(self) -> dict[int, int]:
        """Of training, until the end of each stage."""
        paths = {1: self.checkpoint.with_name("stage1.pt"), 2: self.checkpoint}
        return {stage: read_checkpoint(path)["progress"]["step"] for stage, path in paths.items()}

    def _confusions(self, scores: dict[str, Scores], dataset: SegmentationDataset, stage: int) -> str:
        confusions = ImageConfusions(
            ids=dataset.ids,
            categories=dataset.categories,
            matrices={
                f"stage{stage} {output}": sparse(score.per_image_nNN) for output, score in scores.items()
            },
        )
        return keep_confusions(self.request, self.folder, confusions)
