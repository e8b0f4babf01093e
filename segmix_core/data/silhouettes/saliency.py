"""Salient objects: the silhouettes as DUT-S and ECSSD are laid out, with a stated rule for what is salient.

The rule: an object weighs as much as the pixels of it that are seen, each counted the less the farther it
lies from the middle (a Gaussian of `SPREAD` sides of the picture). Salient are the heaviest object and all
that weigh at least `SHARE` of it. So the salient region may be several objects, as in DUT-S; it is never
empty; and small, cut off or distant company is not part of it, so that finding all objects is not enough.
Shapes that are no category are never salient.

Scenes take the set of categories of a real VOC image, `MOST` categories at most: those of training from
VOC's train_aug list, those of the test from its val list.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from segmix_core.data.label_table import read_label_table
from segmix_core.data.saliency import open_duts, open_ecssd
from segmix_core.data.silhouettes.folder import Made, ensured, generator_digest
from segmix_core.data.silhouettes.scene import Scene, draw_scene
from segmix_core.data.voc import voc_palette
from segmix_core.files import new_folder
from segmix_core.rng import stream

SPREAD = 0.25  # standard deviation, in sides of the picture
SHARE = 0.5
MOST = 3

TRUE_CATEGORIES = "true_categories"
"""The folder of true label maps: they tell how good pseudo-categories are, and no training reads them."""

_LAYOUT = {
    "train": ("train_aug", "DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
    "test": ("val", "ECSSD/images", "ECSSD/ground_truth_mask"),
}
"""List: VOC's list that lends its sets of categories, folder of the images, folder of the masks."""


def make_saliency(
    out: Path,
    *,
    images: int,
    val: int,
    size: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Generate DUTS-TR with `images` pictures and ECSSD with `val`, and true_categories of both.

    `open_duts(out, "train")` and `open_ecssd(out)` open them. The folder appears when it is whole.

    Raises:
        InputError: `out` is there already, or cannot be written.
    """
    counts = {"train": images, "test": val}
    palette = voc_palette().tobytes()
    done = 0
    with new_folder(out) as temporary:
        (temporary / TRUE_CATEGORIES).mkdir()
        for split, count in counts.items():
            real_list, image_folder, mask_folder = _LAYOUT[split]
            for name in (image_folder, mask_folder):
                (temporary / name).mkdir(parents=True)
            for index, categories in enumerate(_category_sets(real_list, count, seed)):
                rng = stream(seed, "silhouettes", "saliency", split, index)
                scene = draw_scene(categories, size=size, rng=rng)
                file = f"{split}_{index:06d}.png"
                drawn = Image.fromarray(scene.image)
                drawn.save((temporary / image_folder / file).with_suffix(".jpg"), quality=92)
                mask = np.isin(scene.instance, salient_instances(scene))
                Image.fromarray(mask.astype(np.uint8) * 255).save(temporary / mask_folder / file)
                label = Image.fromarray(scene.label)
                label.putpalette(palette)
                label.save(temporary / TRUE_CATEGORIES / file)
                done += 1
                if progress is not None:
                    progress(done, sum(counts.values()))
        source = {"seed": seed, "size": size, "generator": generator_digest()}
        (temporary / "SOURCE.json").write_text(json.dumps(source, indent=1) + "\n", encoding="utf-8")
        digests = [open_duts(temporary, "train").digest(), open_ecssd(temporary).digest()]
    return Made(done, sha256("".join(digests).encode()).hexdigest()[:16])


def ensure_saliency(folder: Path, *, images: int, val: int, size: int, seed: int) -> Path:
    """The folder of `make_saliency` under `folder`, generated on first use."""
    name = f"saliency-{images}+{val}-{size}px-seed{seed}"
    return ensured(folder, name, lambda out: make_saliency(out, images=images, val=val, size=size, seed=seed))


def salient_instances(scene: Scene) -> tuple[int, ...]:
    """The numbers, in the instance map, of the objects that are salient by the rule of this module."""
    size = len(scene.instance)
    from_middle = (np.arange(size) + 0.5) / size - 0.5
    across = np.exp(-0.5 * (from_middle / SPREAD) ** 2)
    weight = np.bincount(scene.instance.ravel(), weights=np.outer(across, across).ravel())
    weight[0] = 0  # background
    return tuple(np.flatnonzero((weight >= SHARE * weight.max()) & (weight > 0)).tolist())


def _category_sets(real_list: str, count: int, seed: int) -> list[tuple[int, ...]]:
    """The sets of at most `MOST` categories of real images, in an order drawn from the seed; they repeat."""
    held = read_label_table().presence(real_list)[:, 1:]
    held = held[held.any(1) & (held.sum(1) <= MOST)]
    order = stream(seed, "silhouettes", "saliency", real_list).permutation(len(held))
    return [tuple((1 + np.flatnonzero(held[row])).tolist()) for row in np.resize(order, count)]
