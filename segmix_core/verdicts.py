"""The verdicts on the paper's claims: from rows, and from the pairs that a pairing draws."""

from __future__ import annotations

from typing import Any

from segmix_core.data.label_table import read_label_table
from segmix_core.experiments.factors import Pairing
from segmix_core.pairing_statistics import over_seeds, published_epoch
from segmix_core.report.claims import BIAS, EPOCH, NEVER_MEET, ClaimVerdict, judge


def judge_claims(rows: list[dict[str, Any]]) -> list[ClaimVerdict]:
    """The verdicts on the paper's claims, from rows and from the pairs that VOC's label statistics give.

    Pairs are drawn over five seeds, a hundred batches of 16 images of train_aug each.
    """
    presence = read_label_table().presence("train_aug")
    pairings: dict[str, Pairing] = {
        "mixup": "random",
        "sourcesep-cc": "clusters",
        "sourcesep-cm": "cooccurrence",
    }
    pairs: dict[tuple[str, str], dict[int, float]] = {}
    for experiment, pairing in pairings.items():
        drawn = over_seeds(pairing, presence, 16, seeds=range(5), batches=100)
        pairs[experiment, NEVER_MEET] = {seed: 100 * one.never_meet for seed, one in enumerate(drawn)}
        pairs[experiment, BIAS] = {seed: 100 * one.bias for seed, one in enumerate(drawn)}
        pairs[experiment, EPOCH] = {0: published_epoch(pairing, presence) / 1000}
    return judge(rows, pairs=pairs)
