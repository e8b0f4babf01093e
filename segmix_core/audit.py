"""What the paper prints, held against itself and against VOC's label maps. Everything is computed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from segmix_core.data.label_table import LabelTable, read_label_table
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.experiments import FACTS, PRINTED_IMAGES, TABLES, Row
from segmix_core.experiments.paper import COMPANIONS
from segmix_core.label_statistics import count
from segmix_core.report.claims import CLAIMS, NEGLIGIBLE, holds_as_printed, printed_value

Kind = Literal["counts", "between tables", "text and table", "claims"]


@dataclass(frozen=True)
class Finding:
    """One check of a printed statement and what was computed for it."""

    kind: Kind
    what: str
    printed: str
    computed: str
    agrees: bool
    said: bool = True  # False: no sentence or count of the paper says it; we read it off a table


@dataclass(frozen=True)
class Published:
    """What an implementation of DeepLabv3, trained on train_aug, publishes for VOC val: mIoU, per cent."""

    implementation: str
    backbone: str
    output_stride: int
    lowest: float
    highest: float  # of the schedules that it publishes
    same_network: bool = True  # False: another variant of the backbone, from other weights


PUBLISHED = (
    Published("mmsegmentation", "resnet50", 8, 76.2, 77.7),
    Published("mmsegmentation", "resnet101", 8, 77.9, 78.7),
    Published("VainF/DeepLabV3Plus-Pytorch", "resnet50", 16, 76.9, 76.9),
    Published("VainF/DeepLabV3Plus-Pytorch", "resnet101", 16, 77.3, 77.3),
    Published("PaddleSeg", "resnet50", 8, 79.8, 79.8, same_network=False),
    Published("PaddleSeg", "resnet101", 8, 80.6, 80.6, same_network=False),
)
"""From the model tables of github.com/open-mmlab/mmsegmentation, github.com/VainF/DeepLabV3Plus-Pytorch and
github.com/PaddlePaddle/PaddleSeg. By its configurations, PaddleSeg's encoders are the variant D of ResNet,
from distilled weights."""


def spread_of_implementations(backbone: str) -> tuple[float, float]:
    """Points between the highest and the lowest DeepLabv3, the paper's among them, and the gain of CM.

    Of the same network alone: another encoder, or other weights to start from, are another thing.
    """
    in_paper = {row.experiment.name: row.printed for row in TABLES[1] if row.backbone == backbone}
    baseline, best = in_paper["baseline"] or np.nan, in_paper["sourcesep-cm"] or np.nan
    values = [baseline]
    values += [
        value
        for one in PUBLISHED
        if one.backbone == backbone and one.same_network
        for value in (one.lowest, one.highest)
    ]
    return round(max(values) - min(values), 1), round(best - baseline, 1)


def findings() -> tuple[Finding, ...]:
    """Every check of the printed numbers, those that agree included."""
    return (*_counts(read_label_table()), *_same_configuration(), *_attacks(), *_sentences(), *_claims())


def _counts(table: LabelTable) -> Iterator[Finding]:
    """Printed numbers of images against VOC's label maps."""
    for fact in FACTS:
        found = count(fact, table)
        computed = str(found)
        if fact.kind == "together" and fact.split == "train_aug":
            computed += f"; with val {found + count(replace(fact, split='val'), table)}"
        what = " + ".join(fact.categories) or f"{fact.number} categories"
        name = f"{fact.where}: {what}, {fact.split}"
        yield Finding("counts", name, str(fact.printed), computed, found == fact.printed)
    presence = table.presence("val")[:, 1:]
    several = int((presence.sum(1) >= 2).sum())
    objects = sum(PRINTED_IMAGES[f"objects/{number}"] for number in (1, 2, 3, 4))
    yield Finding(
        "counts",
        "Table 4: images with 1, 2, 3 and 4 objects are together no more than the val list",
        str(objects),
        f"{len(presence)} images",
        objects <= len(presence),
    )
    crowded = len(presence) - PRINTED_IMAGES["objects/1"]
    yield Finding(
        "counts",
        "Table 4: every image of two or more categories has two or more objects",
        f"{crowded} images are not of one object",
        f"{several} of two or more categories",
        several <= crowded,
    )
    occluded = PRINTED_IMAGES["occlusion/any"]
    yield Finding(
        "counts",
        "Table 4: an object is occluded by another, so that its image has two or more",
        f"{occluded} images with an occluded object",
        f"{crowded} images are not of one object",
        occluded <= crowded,
    )
    person = VOC_CATEGORIES.index("person")
    train = table.presence("train_aug")
    together = train[train[:, person]].sum(0)
    together[[0, person]] = 0
    most = {VOC_CATEGORIES[index]: int(together[index]) for index in np.argsort(-together)[:5]}
    yield Finding(
        "counts",
        "section 4.3.4: the five categories that meet a person most often (train_aug)",
        ", ".join(sorted(COMPANIONS)),
        ", ".join(f"{name} {images}" for name, images in most.items()),
        most.keys() == set(COMPANIONS),
    )


def same_configuration() -> dict[tuple[str, str], list[Row]]:
    """Printed clean values of one method, backbone and list that stand in several places."""
    groups: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in (row for rows in TABLES.values() for row in rows):
        clean = row.subset is None and row.perturbation is None and row.data == "voc"
        # Table 6 does not say which backbone it is about; its clean column is looked at apart.
        if row.printed is not None and clean and row.table != 6:
            method = row.experiment.method
            # Stages are those of separation: DeepLabv3 is one network, whichever stage is read here.
            printed_as = method.stage1() if method.head == "plain" else method
            groups[printed_as, row.backbone, row.output].append(row)
    return {
        (rows[0].experiment.name, rows[0].backbone): rows
        for rows in groups.values()
        if len({row.table for row in rows}) > 1
    }


def _same_configuration() -> Iterator[Finding]:
    for (_, backbone), rows in same_configuration().items():
        values = sorted({row.printed for row in rows if row.printed is not None})
        where = ", ".join(f"{row.printed} (Table {row.table})" for row in rows)
        what = f"{rows[0].row}, {backbone}: the same in Tables {', '.join(str(row.table) for row in rows)}"
        spread = f"{values[-1] - values[0]:.1f} points apart" if len(values) > 1 else "equal"
        yield Finding("between tables", what, where, spread, len(values) == 1)
    for row in TABLES[6]:
        if row.column != "clean":
            continue
        elsewhere = {
            one.column: one.printed for one in TABLES[1] if one.experiment.method == row.experiment.method
        }
        yield Finding(
            "between tables",
            f"Table 6, clean, {row.row}: one of Table 1's two values",
            str(row.printed),
            ", ".join(f"{value} ({column})" for column, value in elsewhere.items()),
            row.printed in elsewhere.values(),
        )


def losses_under_attack() -> dict[str, dict[str, float]]:
    """Table 6 as points of mIoU lost: by row, by column."""
    printed = {(row.row, row.column): row.printed for row in TABLES[6]}
    columns = dict.fromkeys(row.column for row in TABLES[6] if row.column != "clean")
    lost: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(row.row for row in TABLES[6]):
        clean = printed[name, "clean"]
        assert clean is not None
        lost[name] = {}
        for column in columns:
            attacked = printed[name, column]
            assert attacked is not None
            lost[name][column] = round(clean - attacked, 1)
    return lost


def _attacks() -> Iterator[Finding]:
    """Table 6 as losses; the caption of Fig. 6 says who loses less to GD-UAP without data."""
    lost = losses_under_attack()
    for name in ("DeepLabv3 + SourceSep-CC", "DeepLabv3 + SourceSep-CM"):
        for column, loss in lost[name].items():
            said = column == "GD-UAP, no data"
            others = ("DeepLabv3", "DeepLabv3 + Mixup", "DeepLabv3 + CutMix") if said else ("DeepLabv3",)
            for other in others:
                short = other.rpartition(" ")[2]
                yield Finding(
                    "claims",
                    f"{'Fig. 6 and ' if said else ''}Table 6, {column}: {name.rpartition(' ')[2]} loses less "
                    f"than {short}",
                    f"{lost[other][column]} lost by {short}",
                    f"{loss} lost",
                    loss < lost[other][column],
                    said=said,
                )


def _value(table: int, experiment: str, column: str) -> float:
    for row in TABLES[table]:
        if row.experiment.name == experiment and row.column == column and row.printed is not None:
            return row.printed
    raise KeyError((table, experiment, column))


def _sentences() -> Iterator[Finding]:
    """Differences that the text names, against those of the tables it speaks of."""
    r101, r50 = "ResNet-101", "ResNet-50"
    cc, cm = "table8/sourcesep-cc-without-dn", "table8/sourcesep-cm-without-dn"
    paired, separated = "table10/mixup+cooccurrence", "table10/mixup+cooccurrence+sourcesep"
    cc_ssh, cc_no_ssh = "table9/sourcesep-cc-with-ssh", "table9/sourcesep-cc-without-ssh"
    cm_ssh, cm_no_ssh = "table9/sourcesep-cm-with-ssh", "table9/sourcesep-cm-without-ssh"
    named: list[tuple[str, float, int, str, str, str]] = [
        ("4.3.1: CC gains over DeepLabv3", 0.8, 1, r101, "sourcesep-cc", "baseline"),
        ("4.3.1: CM gains over DeepLabv3", 1.8, 1, r101, "sourcesep-cm", "baseline"),
        ("4.3.2: CM gains on COCO", 2.1, 3, "mIoU", "sourcesep-cm", "baseline"),
        ("5.1: denoising gains with CC", 1.5, 8, r101, "sourcesep-cc", cc),
        ("5.1: denoising gains with CM", 0.6, 8, r101, "sourcesep-cm", cm),
        ("5.1: the SSH gains with CC", 0.3, 9, r101, cc_ssh, cc_no_ssh),
        ("5.1: the SSH gains with CM", 0.4, 9, r101, cm_ssh, cm_no_ssh),
        ("5.2: co-occurrence gains over Mixup", 0.6, 10, r50, paired, "mixup"),
        ("5.2: separation gains further", 1.9, 10, r50, separated, paired),
        ("5.2: denoising gains a little", 0.1, 10, r50, "sourcesep-cm", separated),
    ]
    for what, said, table, column, first, second in named:
        computed = _value(table, first, column) - _value(table, second, column)
        agrees = abs(said - computed) < 0.05
        yield Finding(
            "text and table", f"{what} (Table {table}, {column})", f"{said}", f"{computed:.1f}", agrees
        )
    table4 = {(row.row, row.column): row.printed for row in TABLES[4]}
    ours = ("DeepLabv3 + SourceSep-CC", "DeepLabv3 + SourceSep-CM")
    others = ("DeepLabv3 + Mixup", "DeepLabv3 + CutMix")
    columns = list(dict.fromkeys(row.column for row in TABLES[4]))
    worse = [
        column
        for column in columns
        if any(
            (table4[name, column] or 0) <= (table4[other, column] or 0) for name in ours for other in others
        )
    ]
    yield Finding(
        "text and table",
        "4.3.3: both methods are better than Mixup and CutMix in all cases (Table 4)",
        "all cases",
        f"not in {', '.join(worse)}" if worse else "all cases",
        not worse,
    )
    gains = [(table4[ours[1], column] or 0) - (table4[ours[0], column] or 0) for column in columns]
    better, equal = sum(gain > 0 for gain in gains), gains.count(0)
    yield Finding(
        "text and table",
        "4.3.3: co-occurrence is better than clustering in most cases (Table 4)",
        "most",
        f"better in {better} of {len(gains)}, equal in {equal}",
        better > len(gains) / 2,
    )
    change = {
        name: _value(5, experiment, "exclusive: bottle")
        - _value(5, experiment, "co-occur with person: bottle")
        for name, experiment in {"DeepLabv3": "baseline", "CC": "sourcesep-cc", "CM": "sourcesep-cm"}.items()
    }
    yield Finding(
        "text and table",
        "4.3.4: from beside a person to alone, CC and CM keep the IoU of a bottle, CC most (Table 5)",
        "maintained, especially by CC",
        ", ".join(f"{name} {points:+.1f}" for name, points in change.items()),
        change["CC"] > change["CM"] > change["DeepLabv3"] and min(change["CC"], change["CM"]) > -NEGLIGIBLE,
    )
    table11 = [row.printed for row in TABLES[11] if row.column == r50 and row.printed is not None][1:]
    best = max(table11)
    yield Finding(
        "text and table",
        "5.3: delta 0.9 beyond the cap is higher than the alternatives (Table 11, ResNet-50)",
        "higher",
        f"{table11.count(best)} settings share the highest value, {best}",
        table11[-1] == best and table11.count(best) == 1,
    )


def _claims() -> Iterator[Finding]:
    """Contrasts of the claims that the printed values alone can tell, each once."""
    seen = set()
    for claim in CLAIMS:
        for contrast in claim.contrasts:
            holds = holds_as_printed(contrast)
            if holds is None or contrast.terms in seen:
                continue
            seen.add(contrast.terms)
            yield Finding(
                "claims",
                f"claim {claim.number}, {claim.where}: {contrast.what}",
                "above zero" if contrast.expected == "above" else f"above -{NEGLIGIBLE:g}",
                f"{printed_value(contrast):+.4g}",
                holds,
                said=contrast.said,
            )
