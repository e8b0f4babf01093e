"""The two stages: source separation on blends (section 3.2.2), then feature denoising (section 3.3)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segmix_core.attacks.pgd import Judged, pgd
from segmix_core.errors import WorkError
from segmix_core.experiments import Method, Scale
from segmix_core.losses import (
    cross_entropy_B,
    mixed_label_loss,
    segmentation_loss,
    stage1_loss,
    stage2_loss,
)
from segmix_core.mixing import MEMORY, mix, unmixed
from segmix_core.models import Precision, SourceSeparation, autocast
from segmix_core.records import Batch, MixedBatch, Separation
from segmix_core.rng import stream
from segmix_core.training.checkpoint import Progress, restore, save
from segmix_core.training.samples import TrainingBatches

CHECK_EVERY = 10
"""Steps between two looks at the losses: each look waits for the device."""

ADVERSARIAL_EPSILON = 2.0
"""How far adversarial fine-tuning moves a pixel, on the 0..255 scale: more leaves small networks nothing."""

ADVERSARIAL_STEP = 1.0
"""How far each of its steps moves a pixel, on the 0..255 scale."""

ADVERSARIAL_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides the numbers of a run, apart from the images themselves."""

    method: Method
    scale: Scale
    seed: int
    stage1_steps: int
    stage2_steps: int  # 0 without fine-tuning
    device: str = "cpu"
    precision: Precision = "fp32"
    workers: int = 0
    save_every: int = 500  # steps
    data: dict[str, Any] = field(default_factory=dict)  # what it learns and starts from, by digest

    @property
    def steps(self) -> int:
        """Steps of both stages."""
        return self.stage1_steps + self.stage2_steps

    def stage(self, step: int) -> int:
        """1 or 2: the stage that step number `step` (from 0) belongs to."""
        return 1 if step < self.stage1_steps else 2

    def identity(self) -> dict[str, Any]:
        """What must agree for a run to be resumed."""
        kept = ("method", "scale", "seed", "stage1_steps", "stage2_steps", "precision")
        named = {"method": self.method.factors(), "device": torch.device(self.device).type}
        stored: dict[str, Any] = _plain({key: asdict(self)[key] for key in kept} | named | self.data)
        return stored


def _plain(value: Any) -> Any:
    """Tuples as lists, as a checkpoint and JSON give them back."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def poly(start: float, step: int, steps: int, power: float = 0.9) -> float:
    """The "poly" learning rate of step number `step` out of `steps` (section 4.1)."""
    return float(start * (1 - step / steps) ** power)


def learning_rate(plan: Plan, step: int) -> float:
    """The encoder's rate at a step: each stage has its own start and its own decay to zero."""
    if plan.stage(step) == 1:
        return poly(plan.scale.stage1_lr, step, plan.stage1_steps, plan.scale.poly_power)
    return poly(plan.scale.stage2_lr, step - plan.stage1_steps, plan.stage2_steps, plan.scale.poly_power)


def make_optimizer(model: SourceSeparation, scale: Scale) -> torch.optim.SGD:
    """SGD with two groups: the branches at `head_lr_factor` times the rate of encoder and SSH (R17).

    The SSH reads raw logits and has no normalisation: at the branches' rate all its ReLUs die within a few
    hundred steps, and S_ss becomes a constant.
    """
    branches = [*model.pyramids.parameters(), *model.classifiers.parameters()]
    slow = [*model.encoder.parameters()] + ([] if model.joiner is None else [*model.joiner.parameters()])
    groups = [
        {"params": slow, "factor": 1.0},
        {"params": branches, "factor": scale.head_lr_factor},
    ]
    return torch.optim.SGD(
        groups, lr=scale.stage1_lr, momentum=scale.momentum, weight_decay=scale.weight_decay
    )


def objective(method: Method, stage: int, separation: Separation, mixed: MixedBatch) -> dict[str, Tensor]:
    """The loss of a stage: Eq. 4 or the mixed labels in stage 1, Eq. 5 or plain cross-entropy in stage 2."""
    if stage == 2 and method.finetune == "denoise":
        return stage2_loss(separation, mixed.dominant_BHW, ppa=method.ppa)
    mixing = method.blend != "none" and (stage == 1 or method.finetune == "mixed")
    if separation.phantom is not None and mixing:
        return stage1_loss(separation, mixed)
    if method.blend == "linear" and mixing:
        return mixed_label_loss(separation, mixed)
    return segmentation_loss(separation, mixed.dominant_BHW)


def noisy(image_BCHW: Tensor, sd: float, *, rng: np.random.Generator) -> Tensor:
    """Images 0..1 with Gaussian noise of standard deviation `sd` (0..255 scale), clipped to 0..1."""
    drawn = rng.standard_normal(tuple(image_BCHW.shape), dtype=np.float32)
    return image_BCHW.add(torch.from_numpy(drawn).to(image_BCHW.device), alpha=sd / 255).clamp_(0, 1)


def attacked(
    plan: Plan, model: SourceSeparation, image_BCHW: Tensor, label_BHW: Tensor, *, rng: np.random.Generator
) -> Tensor:
    """Images 0..1 moved by PGD, from a random start, towards a higher cross-entropy of the dominant output.

    The network stands in evaluation mode meanwhile, and is left in training mode. What is attacked is then
    the network that will be measured: each image alone, not through the statistics of its batch. And the
    attack leaves no trace in running means or in the dropout of the step.
    """

    def raised(image_BCHW: Tensor, label_BHW: Tensor, done: float) -> Judged:
        with autocast(plan.device, plan.precision):
            separation = model(image_BCHW)
        loss_B = cross_entropy_B(separation.dominant, label_BHW)
        return Judged(loss_B, loss_B.detach(), torch.zeros_like(loss_B))  # PGD asks for the first alone

    drawn = rng.uniform(-ADVERSARIAL_EPSILON, ADVERSARIAL_EPSILON, tuple(image_BCHW.shape)).astype(np.float32)
    start_BCHW = image_BCHW.add(torch.from_numpy(drawn).to(image_BCHW.device), alpha=1 / 255)
    model.eval()
    found_BCHW = pgd(
        raised,
        image_BCHW,
        label_BHW,
        epsilon=ADVERSARIAL_EPSILON,
        step=ADVERSARIAL_STEP,
        steps=ADVERSARIAL_STEPS,
        start_BCHW=start_BCHW,
    )
    model.train()
    return found_BCHW


def train(
    plan: Plan,
    model: SourceSeparation,
    batches: TrainingBatches,
    cooccurrence_NN: np.ndarray,
    *,
    folder: Path,
    resume: bool = False,
    report: Callable[[int, int, dict[str, float]], None] | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Progress:
    """Run what is left of both stages; checkpoints go to `folder`/checkpoint.pt.

    Stopping after any step and resuming gives the same numbers as not stopping, on a CPU: every draw belongs
    to its step. (On a GPU as far as its kernels repeat themselves.) At the end of stage 1 the network is also
    kept as `folder`/stage1.pt.

    Args:
        cooccurrence_NN: matrix of the training set (Algorithm 1).
        report: called every few steps with step, steps and the mean terms of the loss.
        stopping: asked every few steps; once it says yes, a checkpoint is written and the run ends.

    Raises:
        WorkError: the loss is not finite; the last good checkpoint stays.
        InputError: see `restore` and `TrainingBatches`.
        KeyboardInterrupt: `stopping` said yes, and a checkpoint was written.
    """
    checkpoint = folder / "checkpoint.pt"
    model.to(plan.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    optimizer = make_optimizer(model, plan.scale)
    matrix_NN = torch.from_numpy(cooccurrence_NN).to(plan.device)
    identity = plan.identity()
    progress = (
        restore(checkpoint, model, optimizer, identity) if resume and checkpoint.exists() else Progress()
    )

    began = time.monotonic() - progress.seconds
    waiting: list[dict[str, Tensor]] = []
    blended: MixedBatch | None = None  # each blend is written into the memory of the one before
    # Two iterators: a clustered stage 1 loads pairs, stage 2 single images.
    plain = TrainingBatches(
        batches.dataset,
        batch_size=batches.batch_size,
        crop=batches.crop,
        scale_range=batches.scale_range,
        seed=batches.seed,
    )
    for stage in (1, 2):
        mixing = stage == 1 or plan.method.finetune == "mixed"
        first = max(progress.step, 0 if stage == 1 else plan.stage1_steps)
        last = plan.stage1_steps if stage == 1 else plan.steps
        if stage == 2 and first == plan.stage1_steps:
            optimizer.state.clear()  # fine-tuning starts from the weights alone
        source = batches if mixing else plain
        recent: deque[Batch] = deque(maxlen=MEMORY)
        if mixing and plan.method.pairing == "memory" and first < last:
            # What it would hold had the run not been stopped here.
            recent.extend(source.run(max(0, first - MEMORY), first, device=plan.device))
        for batch in source.run(first, last, device=plan.device, workers=plan.workers):
            step = progress.step
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(plan, step) * group["factor"]
            rng = stream(plan.seed, "mix", step)
            # Dropout draws from torch's own stream, which a stop would leave elsewhere.
            torch.manual_seed(int(stream(plan.seed, "dropout", step).integers(2**63)))
            if mixing:
                mixed = mix(plan.method, batch, matrix_NN, rng=rng, recent=recent, out=blended)
                # A batch that was left unmixed is itself, and may be remembered: not to be written into.
                blended = None if mixed.image_BCHW is batch.image_BCHW else mixed
                if plan.method.pairing == "memory":
                    recent.append(batch)
            else:
                mixed = unmixed(batch)
            image_BCHW = mixed.image_BCHW
            if plan.method.noise > 0:
                image_BCHW = noisy(image_BCHW, plan.method.noise, rng=stream(plan.seed, "noise", step))
            if stage == 2 and plan.method.finetune == "adversarial":
                start_rng = stream(plan.seed, "attack", step)
                image_BCHW = attacked(plan, model, image_BCHW, mixed.dominant_BHW, rng=start_rng)
            optimizer.zero_grad(set_to_none=True)
            with autocast(plan.device, plan.precision):
                separation = model(image_BCHW)
            terms = objective(plan.method, stage, separation, mixed)
            terms["total"].backward()  # type: ignore[no-untyped-call]
            waiting.append({name: term.detach() for name, term in terms.items()})
            if len(waiting) == CHECK_EVERY or step + 1 == last:
                # Looked at before the step is taken, so that a checkpoint never holds what a bad loss did.
                _look(waiting, step, progress)
                if report is not None:
                    report(step + 1, plan.steps, progress.losses[-1])
            optimizer.step()
            progress.step = step + 1
            if waiting or progress.step == last:
                continue
            stop = stopping()
            if stop or progress.step % plan.save_every < CHECK_EVERY:
                progress.seconds = time.monotonic() - began
                save(checkpoint, model, optimizer, progress, identity)
            if stop:
                raise KeyboardInterrupt
        if first < last:
            progress.seconds = time.monotonic() - began
            if stage == 1:
                save(folder / "stage1.pt", model, optimizer, progress, identity)
            save(checkpoint, model, optimizer, progress, identity)
    return progress


def _look(waiting: list[dict[str, Tensor]], step: int, progress: Progress) -> None:
    """Bring the losses of the last steps to the host, refuse any that is not finite, keep their mean."""
    names = list(waiting[-1])
    losses = torch.stack([torch.stack([terms[name] for name in names]) for terms in waiting]).cpu()
    finite = losses.isfinite().all(1)
    if not bool(finite.all()):
        at = step + 1 - len(waiting) + int((~finite).nonzero()[0])
        raise WorkError(
            f"step {at}: the loss is not finite; the last checkpoint is unchanged, lower the learning rate"
        )
    means = losses.mean(0).tolist()
    progress.losses.append({"step": step + 1} | dict(zip(names, means, strict=True)))
    waiting.clear()
