"""A training step of stage 1 at scale demo: sourcesep-cm against the baseline, beside their arithmetic.

Reference: the baseline. To reach on a GPU: a step costs at most 1.1 times what the ratio of the FLOPs of
forward and backward pass says; the last row is that quotient.
"""

import torch
from torch.utils.flop_counter import FlopCounterMode

from segmix_core.bench import BenchRow, interleaved
from segmix_core.experiments import METHODS, Method, find_scale
from segmix_core.mixing import mix
from segmix_core.models import SourceSeparation
from segmix_core.records import Batch
from segmix_core.rng import stream
from segmix_core.run import Request, model_of
from segmix_core.training.stages import make_optimizer, objective

from ._drawn import CATEGORIES, draw_labels


def run(*, device: str, scale: str = "demo", batch: int = 16, rounds: int = 5) -> list[BenchRow]:
    """Rows for both methods on one batch."""
    chosen = find_scale(scale)
    rng = stream(0, "bench", "step")
    labels = torch.from_numpy(draw_labels(batch, chosen.crop, chosen.crop, rng=rng)).long()
    images = torch.rand(batch, 3, chosen.crop, chosen.crop, generator=torch.Generator().manual_seed(0))
    samples = Batch(images, labels).to(device)
    matrix_NN = torch.from_numpy(rng.integers(0, 500, size=(CATEGORIES, CATEGORIES))).to(device)

    steps, flops = {}, {}
    for name in ("baseline", "sourcesep-cm"):
        method = METHODS[name].method
        request = Request(experiment=METHODS[name], scale=chosen, pretrained="none")
        model = model_of(request, CATEGORIES).to(device, memory_format=torch.channels_last).train()
        optimizer = make_optimizer(model, chosen)

        def step(
            method: Method = method,
            model: SourceSeparation = model,
            optimizer: torch.optim.Optimizer = optimizer,
        ) -> None:
            mixed = mix(method, samples, matrix_NN, rng=rng)
            optimizer.zero_grad(set_to_none=True)
            objective(method, 1, model(mixed.image_BCHW), mixed)["total"].backward()
            optimizer.step()

        with FlopCounterMode(display=False) as counter:
            step()
        steps[name] = step
        flops[name] = counter.get_total_flops()
    rows = interleaved("step", steps, reference="baseline", rounds=rounds, device=device)
    for name, count in flops.items():
        rows.append(BenchRow("step", f"{name}, FLOPs", count / 1e9, count / flops["baseline"], "GFLOP"))
    quotient = rows[1].ratio / rows[3].ratio
    rows.append(BenchRow("step", "sourcesep-cm, time over FLOPs", quotient, quotient, "times"))
    return rows
