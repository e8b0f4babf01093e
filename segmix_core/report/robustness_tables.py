"""The study of robustness in tables, each of its parts for `segmix report`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segmix_core.experiments.robustness import CRAFTED_ON_EACH, Part
from segmix_core.report.robustness import (
    BySeed,
    Corrupted,
    Curve,
    Drop,
    corruptions,
    curves,
    drops,
    matrix,
    printed_drops,
)
from segmix_core.report.tables import Rows


def report_parts(
    parts: Sequence[Part], rows: Rows, *, scale: str | None = None, dataset: str | None = None
) -> tuple[dict[str, Any], str]:
    """Parts of the study, from rows: a document and the same as text.

    Args:
        scale, dataset: only these; a data set that networks were trained or measured on.

    Returns:
        Of "universal" `losses`, of "adaptive" `attacks`, of "corruptions" `corruptions`, of "matrix"
        `crossed`: the perturbations that were crafted on each method, as `losses`.
    """
    among = [
        row
        for row in rows
        if scale in (None, row["scale"]) and dataset in (None, row["dataset"], row["eval_dataset"])
    ]
    document: dict[str, Any] = {}
    texts = []
    if "universal" in parts:
        document["losses"] = losses(among)
        texts.append(losses_as_markdown("Table 6 as points lost", document["losses"]))
    if "adaptive" in parts:
        accuracies = curves(among, metric="aAcc")
        document["attacks"] = [_attack(*both) for both in zip(curves(among), accuracies, strict=True)]
        texts.append(_attacks_as_markdown(document["attacks"]))
    if "corruptions" in parts:
        document["corruptions"] = [_corrupted(one) for one in corruptions(among)]
        texts.append(_corruptions_as_markdown(document["corruptions"]))
    if "matrix" in parts:
        document["crossed"] = crossed(among)
        texts.append(losses_as_markdown("Who attacks whom", document["crossed"]))
    return document, "\n\n".join(texts)


def losses(rows: Rows) -> list[dict[str, Any]]:
    """Table 6 as what is lost: each of its perturbations on each method, beside noise in its place.

    Returns:
        For each: `clean`, `left` and `lost` (mIoU, per cent and points, means over `seeds`), `retained` (per
        cent; None where a clean value is 0), `noise` (what each control leaves), `attack` (as
        `Drop.is_attack`), `printed_lost`, and `invalid`: why nothing follows from it, or None.
    """
    return _losses([one for one in drops(rows) if " on " not in one.perturbation], {})


def crossed(rows: Rows) -> list[dict[str, Any]]:
    """Who attacks whom, as `losses`: perturbations crafted on each method ("uap on mixup").

    What a method loses to any of them is `invalid` where its own is not the strongest (`matrix`).
    """
    of = [one for one in drops(rows) if " on " in one.perturbation]
    invalid = {
        (setting, attack, name): why
        for setting in dict.fromkeys(one.setting for one in of)
        for attack in CRAFTED_ON_EACH
        for name, why in matrix([one for one in of if one.setting == setting], attack).stronger.items()
    }
    return _losses(of, invalid)


def _losses(of: Sequence[Drop], invalid: dict[tuple[str, str, str], str]) -> list[dict[str, Any]]:
    """`invalid`: by setting, attack and method that is attacked."""
    printed = {key: round(clean - left, 2) for key, (clean, left) in printed_drops().items()}
    return [
        {
            "experiment": one.experiment,
            "perturbation": one.perturbation,
            "fit": one.fit,
            "access": one.access,
            "printed_lost": printed.get((one.experiment, one.perturbation)),
            "clean": _mean(one.clean, one.seeds),
            "left": _mean(one.attacked, one.seeds),
            "lost": round(one.lost[0], 2),
            "half_width_95": None if one.lost[1] is None else round(one.lost[1], 2),
            "retained": None if np.isnan(one.retained) else round(one.retained, 1),
            "noise": {control: _mean(of, one.seeds) for control, of in one.controls.items()},
            "attack": one.is_attack,
            "invalid": invalid.get((one.setting, one.perturbation.split(" on ")[0], one.experiment)),
            "setting": one.setting,
            "seeds": one.seeds,
            "images": one.images,
        }
        for one in of
    ]


_ATTACKS = {True: "yes", False: "**no: it is no attack**", None: "not known"}


def losses_as_markdown(title: str, found: list[dict[str, Any]]) -> str:
    """What `losses` returns, as a table."""
    controls = list(dict.fromkeys(control for one in found for control in one["noise"]))
    header = [
        *("method", "perturbation", "fit", "access"),
        *("printed: lost", "clean", "left", "lost", "retained (%)"),
        *(f"left under {control}" for control in controls),
        *("takes more than noise", "setting", "seeds", "n"),
    ]
    lines = []
    for one in found:
        spread = "" if one["half_width_95"] is None else f" ± {one['half_width_95']:.2f}"
        cells = [
            *(one["experiment"], one["perturbation"], one["fit"], one["access"]),
            "" if one["printed_lost"] is None else f"{one['printed_lost']:.1f}",
            *(f"{one[name]:.2f}" for name in ("clean", "left")),
            *(f"{one['lost']:.2f}{spread}", "–" if one["retained"] is None else f"{one['retained']:.1f}"),
            *(f"{one['noise'][name]:.2f}" if name in one["noise"] else "" for name in controls),
            f"**INVALID: {one['invalid']}**" if one["invalid"] else _ATTACKS[one["attack"]],
            *(one["setting"], str(len(one["seeds"])), str(one["images"])),
        ]
        lines.append(cells)
    return _table(title, header, lines)


def _attack(curve: Curve, accuracy: Curve) -> dict[str, Any]:
    """Means over the seeds, mIoU in per cent where it is not said, sizes of 255; intervals of 95 %."""
    seeds = sorted(curve.by_epsilon[curve.at])
    over_images = {f"{size:g}": curve.over_images(size) for size in curve.by_epsilon}
    return {
        "experiment": curve.experiment,
        "setting": curve.setting,
        "images": curve.images,
        "seeds": seeds,
        "steps": curve.steps,
        "code": curve.code,
        "precision": curve.precision,
        "passes": curve.passes,
        "left": {f"{size:g}": _mean(of, list(of)) for size, of in curve.by_epsilon.items()},
        "left_over_images": {
            size: None if ends is None else [round(end, 2) for end in ends]
            for size, ends in over_images.items()
        },
        "aAcc": {f"{size:g}": _mean(of, list(of)) for size, of in accuracy.by_epsilon.items()},
        "noise": {f"{size:g}": _mean(of, list(of)) for size, of in curve.noise.items()},
        "at": curve.at,
        "by_aim": {aim: _mean(of, list(of)) for aim, of in curve.by_aim.items()},
        "longer": {str(steps): _mean(of, list(of)) for steps, of in curve.longer.items()},
        "transfer": _mean(curve.transfer, list(curve.transfer)),
        "unbounded": _mean(curve.unbounded, list(curve.unbounded)),
        "stage1": {aim: _mean(of, list(of)) for aim, of in curve.stage1.items()},
        "valid": curve.valid,
        "failed": list(curve.failed),
    }


def _attacks_as_markdown(found: list[dict[str, Any]]) -> str:
    sizes = sorted({size for one in found for size in one["left"]}, key=float)
    header = [
        *("method", *(f"left at {size} (over images)" for size in sizes), "aAcc at the same"),
        *("noise at the same", "by aim", "transfer", "stage 1"),
        *("sanity checks", "setting", "seeds", "n", "steps a loss", "code"),
    ]
    lines = [
        [
            one["experiment"],
            *(_between(one["left"].get(size), one["left_over_images"].get(size)) for size in sizes),
            _listed(one["aAcc"]),
            _listed(one["noise"]),
            f"at {one['at']:g}: {_listed(one['by_aim'])}",
            _shown(one["transfer"]),
            _listed(one["stage1"]),
            "hold" if one["valid"] else f"**INVALID, does not hold: {', '.join(one['failed'])}**",
            *(
                one["setting"],
                str(len(one["seeds"])),
                str(one["images"]),
                str(one["steps"]),
                one["code"] or "not noted",
            ),
        ]
        for one in found
    ]
    return _table("Adaptive attacks: mIoU that is left, by size (of 255)", header, lines)


def _corrupted(one: Corrupted) -> dict[str, Any]:
    """Means over the seeds and the severities, mIoU in per cent."""
    names = tuple(dict.fromkeys(name for name, _ in one.left))
    by_name = {name: one.mean((name,)) for name in names}
    whole = one.mean(names)
    return {
        "experiment": one.experiment,
        "setting": one.setting,
        "images": one.images,
        "seeds": sorted(whole),
        "clean": _mean(one.clean, list(one.clean)),
        "left": _mean(whole, list(whole)),
        "by_corruption": {name: _mean(of, list(of)) for name, of in by_name.items() if of},
    }


def _corruptions_as_markdown(found: list[dict[str, Any]]) -> str:
    header = ["method", "clean", "left, mean over all", "left by corruption", "setting", "seeds", "n"]
    lines = [
        [
            *(one["experiment"], _shown(one["clean"]), _shown(one["left"]), _listed(one["by_corruption"])),
            *(one["setting"], str(len(one["seeds"])), str(one["images"])),
        ]
        for one in found
    ]
    return _table("Common corruptions: mIoU that is left, mean over severities", header, lines)


def _listed(values: dict[str, float | None]) -> str:
    return "; ".join(f"{name} {value:.2f}" for name, value in values.items() if value is not None) or "–"


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _between(value: float | None, ends: Sequence[float] | None) -> str:
    """With its interval, where there is one."""
    return _shown(value) + ("" if ends is None else f" ({ends[0]:.2f} to {ends[1]:.2f})")


def _mean(values: BySeed, seeds: list[int]) -> float | None:
    return round(float(np.mean([values[seed] for seed in seeds])), 2) if seeds else None


def _table(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return f"{title}\n\nnot measured yet"
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join([title, "", *(f"| {' | '.join(cells)} |" for cells in rows)])
