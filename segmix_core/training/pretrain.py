"""An encoder from image-level categories: what stands in for ImageNet weights below paper scale."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from segmix_core.errors import InputError, WorkError
from segmix_core.files import replacing
from segmix_core.models import Encoder
from segmix_core.rng import stream
from segmix_core.training.stages import poly


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How an encoder is trained to name what an image shows."""

    backbone: str
    epochs: int
    batch_size: int = 32
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seed: int = 0
    device: str = "cpu"


class _Namer(nn.Module):
    """An encoder at stride 32, pooled, with a score for each category."""

    def __init__(self, backbone: str, num_outputs: int) -> None:
        super().__init__()
        self.encoder = Encoder(backbone, output_stride=32)
        self.score = nn.Linear(self.encoder.channels, num_outputs)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        scores: Tensor = self.score(self.encoder(image_BCHW).mean((2, 3)))
        return scores


def pretrain(
    settings: Pretraining,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    held_out: int,
    report: Callable[[int, int, float], None] | None = None,
) -> tuple[Encoder, float]:
    """Train an encoder to name the categories of whole images.

    Args:
        images: uint8 (n, S, S, 3), RGB.
        targets: bool (n, N): which categories each image holds; column 0, background, is not learned.
            Trained with a softmax over them where every image holds exactly one, else with a logistic loss.
        held_out: the last so many images are not trained on; accuracy is measured on them.

    Returns:
        The encoder and its accuracy, 0..1: the share of held-out images whose best score is a category
        they hold.

    Raises:
        InputError: the images that are not held out do not fill a batch.
        WorkError: the loss is not finite.
    """
    trained = len(images) - held_out
    if trained < settings.batch_size:
        raise InputError(
            "pretraining",
            f"{trained} images do not fill a batch of {settings.batch_size}",
            "take more images",
        )
    torch.manual_seed(int(stream(settings.seed, "pretrain", "weights").integers(2**31)))
    model = _Namer(settings.backbone, targets.shape[1] - 1).to(
        settings.device, memory_format=torch.channels_last
    )  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        model.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    target_nK = torch.from_numpy(targets[:, 1:]).float()
    single = bool((targets[:, 1:].sum(1) == 1).all())
    per_epoch = trained // settings.batch_size
    steps = settings.epochs * per_epoch
    for step in range(steps):
        epoch, position = divmod(step, per_epoch)
        order = stream(settings.seed, "pretrain", "order", epoch).permutation(trained)
        chosen = order[position * settings.batch_size :][: settings.batch_size]
        image_BCHW = _augmented(
            images[chosen], stream(settings.seed, "pretrain", "augment", step), settings.device
        )
        target_BK = target_nK[chosen].to(settings.device)
        for group in optimizer.param_groups:
            group["lr"] = poly(settings.lr, step, steps)
        score_BK = model(image_BCHW)
        if single:
            loss = F.cross_entropy(score_BK, target_BK)
        else:
            loss = F.binary_cross_entropy_with_logits(score_BK, target_BK)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 20 == 19 or step + 1 == steps:
            value = loss.item()
            if not np.isfinite(value):
                raise WorkError(f"pretraining step {step}: the loss is not finite; lower the rate")
            if report is not None:
                report(step + 1, steps, value)
    return model.encoder, _accuracy(model.eval(), images[trained:], target_nK[trained:], settings.device)


def _augmented(images_BHWC: np.ndarray, rng: np.random.Generator, device: str) -> Tensor:
    """Each image mirrored or not; all shifted alike, around the edges, by up to an eighth of the side."""
    image_BCHW = torch.from_numpy(images_BHWC).to(device).permute(0, 3, 1, 2).float().div_(255)
    mirrored = torch.from_numpy(rng.random(len(image_BCHW)) < 0.5).to(device)
    image_BCHW = torch.where(mirrored[:, None, None, None], image_BCHW.flip(3), image_BCHW)
    reach = image_BCHW.shape[-1] // 8
    down, right = (int(shift) for shift in rng.integers(-reach, reach + 1, size=2))
    return image_BCHW.roll((down, right), dims=(2, 3))


@torch.inference_mode()
def _accuracy(model: _Namer, images: np.ndarray, target_nK: Tensor, device: str) -> float:
    hits = 0.0
    for start in range(0, len(images), 100):
        image_BCHW = (
            torch.from_numpy(images[start : start + 100]).to(device).permute(0, 3, 1, 2).float().div_(255)
        )
        best_B = model(image_BCHW).argmax(1).cpu()
        hits += float(target_nK[start : start + 100].gather(1, best_B[:, None]).sum())
    return hits / len(images)


def write_encoder(encoder: Encoder, path: Path, provenance: dict[str, str]) -> None:
    """Write weights as safetensors in half precision, their making recorded in the header."""
    tensors = {
        name: tensor.detach().cpu().half().contiguous() if tensor.is_floating_point() else tensor.cpu()
        for name, tensor in encoder.state_dict().items()
    }
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=provenance)
        except SafetensorError as error:  # what safetensors makes of a write that failed
            raise OSError(errno.EIO, "the disk is full or failing") from error
