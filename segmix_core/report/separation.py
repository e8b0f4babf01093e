"""How well stage 1 takes blends apart: S_t, S_p and S_ss over the weight of the dominant image."""

from __future__ import annotations

from dataclasses import dataclass

from segmix_core.experiments import find_experiment
from segmix_core.experiments.robustness import BLENDED_AT
from segmix_core.report.tables import Rows, measured

AFTER_STAGE1 = {
    "sourcesep-cc": "table8/sourcesep-cc-without-dn",
    "sourcesep-cm": "table8/sourcesep-cm-without-dn",
}
"""The two methods as they stand after stage 1: any run that shares it tells."""


@dataclass(frozen=True)
class Separated:
    """What a method's outputs score on blends in one setting, means over seeds."""

    experiment: str
    data: str  # "silhouettes, mini"
    seeds: tuple[int, ...]
    images: int
    scores: dict[str, dict[float, float]]  # output -> delta -> mIoU, per cent
    told: dict[
        int, tuple[float, float]
    ]  # seed -> nats (`evaluate_blends`) of S_p at the smallest delta, and ±

    @property
    def recovered(self) -> float:
        """Points that S_p gains once its image is in the blend: at the smallest delta, minus at delta 1."""
        phantom = self.scores["phantom"]
        return phantom[min(phantom)] - phantom[max(phantom)]

    @property
    def tells(self) -> bool | None:
        """Whether S_p holds its image for likelier than another: each seed, beyond its interval.

        None where rows are of before that was measured.
        """
        return all(nats > half for nats, half in self.told.values()) if self.told else None


def separations(rows: Rows) -> list[Separated]:
    """One entry for each method and setting in which blends were measured at every delta."""
    found = []
    for name, after in AFTER_STAGE1.items():
        entries = {
            (entry["setting"], output, delta): entry
            for output in ("dominant", "final", "phantom")
            for delta in BLENDED_AT
            for entry in measured(
                rows, find_experiment(after), output=output, perturbation=f"delta {delta:g}"
            )
        }
        for setting in dict.fromkeys(setting for setting, _, _ in entries):
            of = {(output, delta): entry for (at, output, delta), entry in entries.items() if at == setting}
            if {delta for output, delta in of if output == "phantom"} != set(BLENDED_AT):
                continue
            scores: dict[str, dict[float, float]] = {}
            for (output, delta), entry in of.items():
                scores.setdefault(output, {})[delta] = entry["value"]
            first = next(iter(of.values()))
            where = f"{first['dataset']}, {first['scale']}"
            told = _told(rows, after).get(of["phantom", min(BLENDED_AT)]["setting"], {})
            found.append(Separated(name, where, tuple(first["seeds"]), first["images"], scores, told))
    return found


def _told(rows: Rows, after: str) -> dict[str, dict[int, tuple[float, float]]]:
    """By setting and seed what S_p tells of its image where that weighs most; older rows lack it."""
    nats, half = (
        {
            entry["setting"]: entry["by_seed"]
            for entry in measured(
                rows,
                find_experiment(after),
                output="phantom",
                perturbation=f"delta {min(BLENDED_AT):g}",
                metric=metric,
            )
        }
        for metric in ("told", "told_95")
    )
    return {
        setting: {int(seed): (value, half[setting][seed]) for seed, value in by_seed.items()}
        for setting, by_seed in nats.items()
    }
