"""Algorithm 2 and Eq. 1 on a batch of 16 x 3 x 513 x 513 float32, against a copy of the batch and peers.

Reference: copying the images into memory that is there already. To reach on a CPU: at most 2.5 as in
training, and at most a fifth of torchvision's MixUp. Training reuses memory, and presence comes with the
batch from the loader, which counts it on the uint8 crops; a further row counts it within the time. The peers
pair at random and keep no second label map; torchvision's take one label an image, so they get that. All
other variants put their result into fresh memory, which the system has to clear: at this size that takes
longer than the arithmetic.
"""

import numpy as np
import torch
from torchvision.transforms import v2

from segmix_core.bench import BenchRow, interleaved
from segmix_core.cooccurrence import presence
from segmix_core.errors import WorkError
from segmix_core.experiments.methods import SOURCESEP_CM
from segmix_core.mixing import blend, mix
from segmix_core.records import IGNORE_INDEX, Batch, MixedBatch
from segmix_core.rng import stream

from ._drawn import CATEGORIES, draw_labels


def literal(
    batch: Batch,
    cooccurrence_NN: torch.Tensor,
    *,
    rng: np.random.Generator,
    alpha: float = 0.4,
    gamma: int = 3,
) -> MixedBatch:
    """Algorithm 2 as printed, loop by loop, with one delta a sample and never oneself (R1, R2)."""
    images, labels = batch.image_BCHW, batch.label_BHW
    blended, phantoms, deltas, partners = [], [], [], []
    for k in range(len(images)):
        delta = float(rng.beta(alpha, alpha))
        delta = max(delta, 1 - delta)
        score, categories = [-1] * len(images), [0] * len(images)
        for m in range(len(images)):
            if k == m:
                continue
            score[m] = 0
            own = set(labels[k].unique().tolist()) - {0, IGNORE_INDEX}
            other = set(labels[m].unique().tolist()) - {0, IGNORE_INDEX}
            if own and other:
                for i in other:
                    for j in own:
                        score[m] += int(cooccurrence_NN[i, j])
                categories[m] = len(own) + len(other)
        chosen = int(np.argmax(score))
        if categories[chosen] > gamma:
            delta = 0.9
        blended.append(delta * images[k] + (1 - delta) * images[chosen])
        phantoms.append(labels[chosen])
        deltas.append(delta)
        partners.append(chosen)
    return MixedBatch(
        torch.stack(blended), labels, torch.stack(phantoms), torch.tensor(deltas), torch.tensor(partners)
    )


def run(*, device: str, batch: int = 16, size: int = 513, rounds: int = 15) -> list[BenchRow]:
    """Rows for one batch."""
    rng = stream(0, "bench", "mixing")
    crops = draw_labels(batch, size, size, rng=rng)  # uint8, as they come from the data
    cooccurrence_NN = torch.from_numpy(rng.integers(0, 500, size=(CATEGORIES, CATEGORIES)))
    cooccurrence_NN = (cooccurrence_NN + cooccurrence_NN.T).to(device)
    image_BCHW = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    label_BHW = torch.from_numpy(crops).long().to(device)
    plain = Batch(image_BCHW, label_BHW)
    number_B = torch.arange(batch, device=device) % CATEGORIES
    copied = torch.empty_like(image_BCHW)
    mixup, cutmix = v2.MixUp(num_classes=CATEGORIES), v2.CutMix(num_classes=CATEGORIES)

    held = mix(SOURCESEP_CM, plain, cooccurrence_NN, rng=rng)
    expected = literal(plain, cooccurrence_NN, rng=rng)
    if not torch.equal(held.partner_B.cpu(), expected.partner_B):
        raise WorkError("benchmark mixing: the literal algorithm chooses other partners")

    loaded = Batch(image_BCHW, label_BHW, torch.from_numpy(presence(crops, CATEGORIES)).to(device))

    def counted() -> MixedBatch:
        presence_BN = torch.from_numpy(presence(crops, CATEGORIES)).to(device)
        return mix(
            SOURCESEP_CM, Batch(image_BCHW, label_BHW, presence_BN), cooccurrence_NN, rng=rng, out=held
        )

    delta_B = torch.linspace(0.5, 1, batch, device=device)
    fresh = blend(plain, held.partner_B, delta_B).image_BCHW
    if not torch.equal(fresh, blend(plain, held.partner_B, delta_B, out=held).image_BCHW):
        raise WorkError("benchmark mixing: reused memory holds another blend")

    return interleaved(
        "mixing",
        {
            "copy of the images": lambda: copied.copy_(image_BCHW),
            "copy into fresh memory": image_BCHW.clone,
            "segmix, as in training": lambda: mix(SOURCESEP_CM, loaded, cooccurrence_NN, rng=rng, out=held),
            "segmix, presence counted too": counted,
            "segmix": lambda: mix(SOURCESEP_CM, plain, cooccurrence_NN, rng=rng),
            "torchvision MixUp": lambda: mixup(image_BCHW, number_B),
            "torchvision CutMix": lambda: cutmix(image_BCHW, number_B),
            "literal Algorithm 2": lambda: literal(plain, cooccurrence_NN, rng=rng),
        },
        reference="copy of the images",
        rounds=rounds,
        device=device,
        once=["literal Algorithm 2"],
    )
