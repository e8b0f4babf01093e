"""Scenes in unheard-of company: two categories that never meet in VOC, beside pairs that do.

The paper shows pictures of objects out of context (Fig. 4), but its images have no labels. Here both lists
are drawn by the same code, with each category about as often on one as on the other: what differs is the
company, and what comes with it: a place suits both of an ordinary pair more often, and only they sit on each
other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from segmix_core.data.label_table import LabelTable, read_label_table
from segmix_core.data.silhouettes.folder import (
    Made,
    digest_of,
    ensured,
    make_folders,
    write_lists,
    write_scene,
    write_source,
)
from segmix_core.data.silhouettes.scene import draw_scene
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.files import new_folder
from segmix_core.rng import stream

LISTS = ("outofcontext", "ordinary")
ORDINARY_FROM = 3
"""Images in which an ordinary pair occurs together, at least."""

_ROUNDS = 500


def make_out_of_context(
    out: Path,
    *,
    images: int,
    size: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Generate a folder in VOC layout with the lists `outofcontext` and `ordinary`, `images` on each.

    Raises:
        InputError: `out` is there already, or cannot be written.
    """
    with new_folder(out) as temporary:
        make_folders(temporary)
        lists: dict[str, list[str]] = {}
        source = {}
        for split, pairs in category_pairs(images, seed=seed).items():
            lists[split] = [f"{split}_{index:06d}" for index in range(images)]
            for index, (identifier, pair) in enumerate(zip(lists[split], pairs, strict=True)):
                rng = stream(seed, "silhouettes", split, index)
                write_scene(temporary, identifier, draw_scene(pair, size=size, rng=rng))
                source[identifier] = [VOC_CATEGORIES[category] for category in pair]
                if progress is not None:
                    progress(len(source), len(LISTS) * images)
        write_lists(temporary, lists)
        write_source(temporary, seed=seed, size=size, categories_of=source)
        return Made(len(source), digest_of(temporary, LISTS))


def ensure_out_of_context(folder: Path, *, images: int, size: int, seed: int) -> Path:
    """The folder of `make_out_of_context` under `folder`, generated on first use."""
    name = f"outofcontext-{images}-{size}px-seed{seed}"
    return ensured(folder, name, lambda out: make_out_of_context(out, images=images, size=size, seed=seed))


def companies(table: LabelTable) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs of categories never meet on VOC's lists train_aug and val, and which do.

    Returns:
        two bool (N, N), symmetric, without background and diagonal. A category that meets every other one
        (person, car) is in neither: it cannot be out of context.
    """
    held = table.presence()[table.on("train_aug") | table.on("val")].astype(np.int64)
    counts_NN = held.T @ held
    things_NN = np.ones_like(counts_NN, dtype=bool)
    np.fill_diagonal(things_NN, False)
    things_NN[0] = things_NN[:, 0] = False
    never_NN = things_NN & (counts_NN == 0)
    can_be_out_N = never_NN.any(1)
    ordinary_NN = things_NN & (counts_NN >= ORDINARY_FROM) & can_be_out_N[:, None] & can_be_out_N[None, :]
    return never_NN, ordinary_NN


def fit_shares(allowed_NN: np.ndarray, share_N: np.ndarray) -> np.ndarray:
    """How often to draw each allowed pair, so that each category has its share of all places.

    Symmetric iterative proportional fitting. Where the shares cannot be met, the nearest that the rounds
    reach. Returns float (N, N), symmetric, of sum 1.
    """
    weight_NN = allowed_NN.astype(np.float64)
    for _ in range(_ROUNDS):
        held_N = weight_NN.sum(1)
        factor_N = np.sqrt(np.divide(share_N, held_N, out=np.zeros_like(held_N), where=held_N > 0))
        weight_NN = weight_NN * factor_N[:, None] * factor_N[None, :]
        weight_NN /= weight_NN.sum()
    return weight_NN


def category_pairs(count: int, *, seed: int) -> dict[str, list[tuple[int, int]]]:
    """`count` pairs of categories for each of the lists `outofcontext` and `ordinary`."""
    never_NN, ordinary_NN = companies(read_label_table())
    share_N = never_NN.any(1) / never_NN.any(1).sum()
    never_share_NN = fit_shares(never_NN, share_N)
    shares = {
        "outofcontext": never_share_NN,
        "ordinary": fit_shares(ordinary_NN, never_share_NN.sum(1)),
    }
    drawn = {}
    for name, share_NN in shares.items():
        first, second = np.nonzero(np.triu(share_NN))
        expected = count * share_NN[first, second] / share_NN[first, second].sum()
        # As many of each as it expects, not a draw: lists of hundreds would differ by chance in categories.
        number = np.floor(expected).astype(np.int64)
        number[np.argsort(number - expected, kind="stable")[: count - number.sum()]] += 1
        pairs = np.repeat(np.stack([first, second], axis=1), number, axis=0)
        pairs = pairs[stream(seed, "silhouettes", name, "pairs").permutation(count)]
        drawn[name] = [(int(one), int(other)) for one, other in pairs]
    return drawn
