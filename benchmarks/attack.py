"""Attacks on single images at scale mini, and a check of GD-UAP beside the crafting between two checks.

Reference: ten gradients of the baseline with respect to a batch. To reach: ten steps of APGD at most 1.2
times as long, SEA's four losses four times APGD, a search in bfloat16 shorter than one in float32, a check of
GD-UAP at most as long as what lies between two.
"""

import torch

from segmix_core.attacks.adaptive import LOSSES, Adversary, attack, objective_of
from segmix_core.attacks.fooling import segmented
from segmix_core.attacks.gd_uap import log_norms
from segmix_core.attacks.pgd import value_and_gradient
from segmix_core.bench import BenchRow, interleaved
from segmix_core.data import evaluation_crop
from segmix_core.experiments import METHODS, find_scale
from segmix_core.experiments.robustness import STUDIES
from segmix_core.models import Precision, SourceSeparation
from segmix_core.run import Request, model_of

from ._drawn import CATEGORIES

STEPS = 10
EPSILON = 0.05  # of 255: so small that no image is broken and left alone
BATCHES = {"cpu": 4, "cuda": 64}


def run(*, device: str, scale: str = "mini", batch: int | None = None, rounds: int = 3) -> list[BenchRow]:
    """Rows for both networks; the labels are what each says itself, so that there is much to break."""
    chosen, study = find_scale(scale), STUDIES[scale]
    batch = batch or BATCHES[torch.device(device).type]
    size = evaluation_crop(chosen.eval_crop, chosen.silhouettes[2], None)
    image_BCHW = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    models = {
        name: model_of(Request(experiment=METHODS[name], scale=chosen, pretrained="none"), CATEGORIES)
        .to(device, memory_format=torch.channels_last)
        .eval()
        for name in ("baseline", "sourcesep-cm")
    }
    with torch.no_grad():
        labels = {name: model(image_BCHW).dominant.argmax(1) for name, model in models.items()}

    def forward() -> None:
        with torch.no_grad():
            for _ in range(STEPS):
                models["baseline"](image_BCHW)

    def gradients() -> None:
        objective = objective_of(models["baseline"], "dominant", "js", measured="dominant")
        for _ in range(STEPS):
            value_and_gradient(objective, image_BCHW, labels["baseline"], 0.5)

    def attacked(name: str, losses: int, precision: Precision = "fp32") -> None:
        attack(
            models[name],
            image_BCHW,
            labels[name],
            Adversary(
                aim="dominant" if name == "baseline" else "joint",
                epsilon=EPSILON,
                steps=STEPS,
                losses=LOSSES[:losses],
                shrink=losses > 1,
            ),
            measured="dominant",
            generators=[torch.Generator(device=device).manual_seed(number) for number in range(batch)],
            precision=precision,
        )

    rows = interleaved(
        "attack",
        {
            f"{STEPS} forward passes": forward,
            f"{STEPS} gradients": gradients,
            f"APGD, {STEPS} steps": lambda: attacked("baseline", 1),
            f"SEA, {STEPS} steps a loss": lambda: attacked("baseline", len(LOSSES)),
            f"SEA, {STEPS} steps a loss, in bf16": lambda: attacked("baseline", len(LOSSES), "bf16"),
            f"SEA, {STEPS} steps a loss, CM, joint": lambda: attacked("sourcesep-cm", len(LOSSES)),
            f"SEA, {STEPS} steps a loss, CM, joint, in bf16": lambda: attacked(
                "sourcesep-cm", len(LOSSES), "bf16"
            ),
        },
        reference=f"{STEPS} gradients",
        rounds=rounds,
        device=device,
    )
    return rows + _gd_uap(
        models["baseline"], image_BCHW, study.gd_uap_check_every, study.gd_uap_watched, rounds
    )


def _gd_uap(
    model: SourceSeparation, image_BCHW: torch.Tensor, every: int, watched: int, rounds: int
) -> list[BenchRow]:
    """How long a check takes, as a share of the iterations between two."""
    v_CHW = torch.zeros_like(image_BCHW[0]).requires_grad_()

    def iterate() -> None:
        loss = -log_norms(model.encoder, (image_BCHW[0] + v_CHW).clamp(0, 1)[None])
        torch.autograd.grad(loss, v_CHW)

    def look() -> None:
        with torch.no_grad():
            segmented(model, image_BCHW, "dominant")

    iteration, check = interleaved(
        "attack",
        {"GD-UAP, an iteration": iterate, f"GD-UAP, {len(image_BCHW)} images checked": look},
        reference="GD-UAP, an iteration",
        rounds=rounds,
        device=str(image_BCHW.device),
    )
    share = check.median / len(image_BCHW) * watched / (iteration.median * every)
    name = f"GD-UAP, a check of {watched} over {every} iterations"
    return [iteration, check, BenchRow("attack", name, share, share, "times")]
