"""The paper's claims, each a set of contrasts between measurements, and the verdict that rows allow."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from segmix_core.experiments import MEASURED_ON, Experiment, Row, find_experiment, find_rows
from segmix_core.experiments.paper import COMPANIONS, THRESHOLDS, Data
from segmix_core.experiments.robustness import TOLERANCE
from segmix_core.report.statistics import IMAGES_NEEDED, interval, verdict
from segmix_core.report.tables import (
    Counted,
    Rows,
    confusions_of,
    counting,
    of_one_making,
    reading,
    resampled,
    setting_names,
    term_of,
    trained_in,
)
from segmix_core.results import run_of

NEVER_MEET = "pairs that never meet"
BIAS = "category bias"
EPOCH = "images in an epoch"
"""Metrics of pairs: no network is needed, see `segmix_core.pairing_statistics`."""

NEGLIGIBLE = 1.0
"""Points of mIoU: "no worse" holds where the interval lies above minus this, and not where it lies below."""

VOC_TRAINING = 10_582
"""Images of the list on which the paper counts pairs."""

NO_EVIDENCE = ("smoke", "demo")
"""Scales whose rows show that a command works, and are never judged."""

Verdict = Literal["supported", "not supported", "undecided"]
Expected = Literal["above", "not below"]
Holds = Literal["yes", "no", "undecided", "counted"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One number of one seed: an experiment's metric on a list of images, or a statistic of its pairs."""

    experiment: Experiment
    metric: str = "mIoU"
    subset: str | None = None
    data: Data = "voc"
    eval_split: str | None = None
    perturbation: str | None = None
    output: Literal["dominant", "final"] | None = None  # None: what the experiment reports (R12)


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of readings that a claim says is above zero, or at least not below."""

    what: str
    terms: tuple[tuple[float, Reading], ...]
    expected: Expected = "above"
    said: bool = True  # False: no sentence says it; it is read off a table, shown, and decides nothing

    @property
    def about_pairs(self) -> bool:
        """Whether it is counted on pairs of VOC's label maps, whatever networks there are."""
        return all(one.metric in (NEVER_MEET, BIAS, EPOCH) for _, one in self.terms)


@dataclass(frozen=True)
class Claim:
    """One of the paper's claims, in our words."""

    number: int
    text: str
    where: str  # tables, figures, sections
    contrasts: tuple[Contrast, ...]
    note: str = ""  # what the contrasts cannot tell
    read_off: str = ""  # what the paper's tables have besides, and no sentence says: it decides nothing


@dataclass(frozen=True)
class Finding:
    """What was measured of a contrast in one setting."""

    contrast: Contrast
    printed: float | None  # the same sum of the paper's printed values
    mean: float
    half_width_95: float | None  # over seeds
    seeds: int
    images: tuple[float, float] | None  # 95 % bootstrap interval over images and seeds; -inf, inf: not known
    fewest: int | None  # images of the side of the sum that is measured on the fewest; of pairs, none
    holds: Holds
    is_attack: bool | None = None  # of perturbations: whether they take more than noise of their size
    unmet: tuple[str, ...] = ()  # what keeps it undecided whatever its intervals, in words

    @property
    def in_words(self) -> str:
        """Whether it holds, and why not if that is not a matter of its intervals; *ours* is said."""
        unmet = f" ({'; '.join(self.unmet)})" if self.unmet else ""
        return f"{self.holds}{unmet}" + ("" if self.contrast.said else ", *ours*")

    @property
    def over_images(self) -> str:
        """The interval over images and seeds in words; empty where matrices are not at hand."""
        if self.images is None:
            return ""
        low, high = self.images
        return f"{low:+.2f} to {high:+.2f}" if math.isfinite(low) else "not known"


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim with its findings and verdict in one setting."""

    claim: Claim
    setting: str  # in words; "" where nothing was measured
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """Of what sentences say."""
        return _verdict([contrast for contrast in self.claim.contrasts if contrast.said], self.findings)

    @property
    def with_tables(self) -> Verdict:
        """What it would be if what is read off tables were claimed, too."""
        return _verdict(self.claim.contrasts, self.findings)

    @property
    def without_rows(self) -> str:
        """Why the verdict rests on no measurement, in words; empty where it rests on one."""
        if not self.findings:
            return "no judged rows"
        return "by construction" if all(one.holds == "counted" for one in self.findings) else ""

    @property
    def in_words(self) -> str:
        """The verdict, with what it lacks beside it and what it would be with what is read off tables."""
        said = [self.without_rows] if self.without_rows else []
        if self.with_tables != self.verdict:
            said.append(f"with ours: {self.with_tables}")
        return self.verdict + (f" ({'; '.join(said)})" if said else "")


def _read(name: str, **how: Any) -> Reading:
    return Reading(experiment=find_experiment(name), **how)


def _over(
    first: str,
    second: str,
    *,
    what: str | None = None,
    expected: Expected = "above",
    said: bool = True,
    **how: Any,
) -> Contrast:
    """first - second, read the same way."""
    terms = ((1.0, _read(first, **how)), (-1.0, _read(second, **how)))
    return Contrast(what or f"{_short(first)} - {_short(second)}", terms, expected, said)


def _short(name: str) -> str:
    return name.partition("/")[2] or name


def _mean_over(
    first: str, second: str, what: str, ways: list[dict[str, Any]], *, said: bool = True
) -> Contrast:
    """The mean of first - second over several ways of reading."""
    terms = [
        (sign / len(ways), _read(name, **how)) for how in ways for sign, name in ((1, first), (-1, second))
    ]
    return Contrast(what, tuple(terms), said=said)


def _grows(ours: str, other: str, what: str, more: str, less: str, *, said: bool = True) -> Contrast:
    """The gain of a method over another on one subset, minus that on another."""
    terms = (
        *((sign, _read(name, subset=more)) for sign, name in ((1.0, ours), (-1.0, other))),
        *((sign, _read(name, subset=less)) for sign, name in ((-1.0, ours), (1.0, other))),
    )
    what = f"gain of {_short(ours)} over {_short(other)}, {what}"
    return Contrast(what, terms, said=said)


def _table5(kind: str) -> list[dict[str, Any]]:
    return [{"subset": f"{kind}/{thing}", "metric": f"IoU {thing}"} for thing in COMPANIONS]


def _keeps(first: str, second: str) -> Contrast:
    """How far IoU rises from beside a person to alone, mean of five categories: of first - of second."""
    what = f"change from beside a person to alone: {first} - {second}"
    alone, beside = (
        _mean_over(first, second, what, _table5(kind)).terms for kind in ("alone", "with-person")
    )
    return Contrast(what, (*alone, *((-weight, one) for weight, one in beside)))


def _gain_of_denoising(what: str, first: str, second: str) -> Contrast:
    terms = (
        (1.0, _read(f"sourcesep-{first}")),
        (-1.0, _read(f"table8/sourcesep-{first}-without-dn")),
        (-1.0, _read(f"sourcesep-{second}")),
        (1.0, _read(f"table8/sourcesep-{second}-without-dn")),
    )
    return Contrast(what, terms)


_PERTURBATIONS = ("uap-resnet152", "uap-googlenet", "gd-uap-none", "gd-uap-data", "gd-uap-part")


def _loses_less(first: str, second: str) -> Contrast:
    """Mean drop under the perturbations of Table 6: that of `second` minus that of `first`."""
    share = 1 / len(_PERTURBATIONS)
    terms = [(1.0, _read(second)), (-1.0, _read(first))]
    for perturbation in _PERTURBATIONS:
        terms += [
            (-share, _read(second, perturbation=perturbation)),
            (share, _read(first, perturbation=perturbation)),
        ]
    return Contrast(f"{_short(first)} loses less than {_short(second)}", tuple(terms))


def _salient(first: str, second: str, *, said: bool = True) -> tuple[Contrast, ...]:
    return (
        _over(first, second, what=f"max F: {first} - {second}", said=said, data="ecssd", metric="maxF"),
        _over(second, first, what=f"MAE: {second} - {first}", said=said, data="ecssd", metric="MAE"),
    )


def _claims() -> tuple[Claim, ...]:
    cm, cc, base, mixup, cutmix = "sourcesep-cm", "sourcesep-cc", "baseline", "mixup", "cutmix"
    out: dict[str, Any] = {"data": "context", "eval_split": "outofcontext"}
    return (
        Claim(
            1,
            "On VOC, CM is better than DeepLabv3 and than CC, and CC is better than DeepLabv3, CutMix and "
            "Mixup.",
            "Tables 1, 2",
            (
                _over(cm, base),
                _over(cm, cc),
                _over(cc, base),
                _over(cc, cutmix),
                _over(cc, mixup),
                _over(cutmix, base, expected="not below", said=False),
                _over(base, mixup, said=False),
            ),
            read_off="CutMix is no worse than DeepLabv3, and DeepLabv3 is better than Mixup.",
        ),
        Claim(
            2,
            "On COCO, CM is better than DeepLabv3, CutMix and Mixup.",
            "Table 3",
            (
                _over(cm, base, data="coco"),
                _over(cm, cutmix, data="coco"),
                _over(cm, mixup, data="coco"),
                _over(base, cutmix, data="coco", said=False),
                _over(cutmix, mixup, data="coco", said=False),
            ),
            read_off="DeepLabv3 is better than CutMix, and CutMix is better than Mixup.",
        ),
        Claim(
            3,
            "On images with occlusion, with several objects and with several categories CC and CM are better "
            "than Mixup and CutMix, and their gains over them grow with occlusion and with the number of "
            "categories.",
            "Table 4",
            (
                *(
                    _mean_over(ours, other, f"{axis}: {ours} - {other}", [{"subset": one} for one in along])
                    for axis, along in (
                        ("with occlusion", ("occlusion/any", "occlusion/all")),
                        ("1 to 4 objects", tuple(f"objects/{number}" for number in (1, 2, 3, 4))),
                        ("2 to 4 categories", tuple(f"unique/{number}" for number in (2, 3, 4))),
                    )
                    for ours in (cc, cm)
                    for other in (mixup, cutmix)
                ),
                *(
                    _grows(ours, other, *how, said=other != base)
                    for how in (
                        ("All-Occ - 1-Occ", "occlusion/all", "occlusion/any"),
                        ("4 categories - 2", "unique/4", "unique/2"),
                    )
                    for ours in (cc, cm)
                    for other in (mixup, cutmix, base)
                ),
                _grows(cm, base, "4 objects - 1", "objects/4", "objects/1", said=False),
            ),
            "in all cases: the mean over the lists of each axis; section 4.3.3 speaks of the other methods, "
            "which may be the mixing ones alone",
            read_off="Their gains over DeepLabv3 grow too, and that of CM with the number of objects.",
        ),
        Claim(
            4,
            "From images with a person to images of the category alone, CC and CM lose less than DeepLabv3, "
            "and CC least.",
            "Table 5",
            (
                *(_keeps(first, second) for first, second in ((cc, base), (cm, base), (cc, cm))),
                _mean_over(cm, base, "beside a person: CM - baseline", _table5("with-person"), said=False),
                _mean_over(cm, base, "alone: CM - baseline", _table5("alone"), said=False),
                _mean_over(cc, cm, "alone: CC - CM", _table5("alone"), said=False),
            ),
            "means of the five IoUs; the text says that CC especially maintains performance, not that it is "
            "the highest",
            read_off="CM is better for five categories, both beside a person and alone; alone, CC is better "
            "than CM.",
        ),
        Claim(
            5,
            "CC and CM are better than DeepLabv3 on categories that rarely meet, and CM more so than CC. Out "
            "of context, CC is better than CM.",
            "Figs. 4, 5",
            (
                *(
                    _mean_over(
                        first,
                        second,
                        f"rare sets: {first} - {second}",
                        [{"subset": f"rare/{threshold}"} for threshold in THRESHOLDS],
                    )
                    for first, second in ((cc, base), (cm, base), (cm, cc))
                ),
                _over(cc, cm, what="out of context: CC - CM", **out),
            ),
            "rare sets: the mean over the thresholds of Fig. 5, where the text speaks of each; they count "
            "images of VOC's training list, so that on a shorter one, where more pairs are below them, "
            "nothing is decided; out of context is measured on generated scenes: the paper's images have no "
            "labels",
        ),
        Claim(
            6,
            "Source separation loses less under universal perturbations than DeepLabv3, Mixup and CutMix.",
            "Table 6, Fig. 6",
            tuple(_loses_less(ours, other) for other in (base, mixup, cutmix) for ours in (cc, cm)),
            "section 4.4 and Fig. 6 set both against DeepLabv3, Mixup and CutMix; GD-UAP is crafted here, on "
            "a baseline of another seed: the paper does not name its files; matrices of single images are "
            "not kept, so that the interval is over seeds alone",
        ),
        Claim(7, "CC is more robust than CM.", "Table 6", (_loses_less(cc, cm),), "as for claim 6"),
        Claim(
            8,
            "CM helps salient object detection.",
            "Table 7",
            (
                *_salient(cm, base),
                *_salient(base, mixup, said=False),
                *_salient(base, cutmix, said=False),
            ),
            "section 4.5 says that it is better or competitive; single images are not kept, so that the "
            "interval is over seeds alone",
            read_off="Mixup and CutMix hurt it.",
        ),
        Claim(
            9,
            "Denoising helps, and it helps CC more than CM.",
            "Table 8",
            (
                _over(cc, "table8/sourcesep-cc-without-dn", what="CC: with - without denoising"),
                _over(cm, "table8/sourcesep-cm-without-dn", what="CM: with - without denoising"),
                _over(cc, "table8/sourcesep-cc-mixed", what="CC: denoising - as many more steps of stage 1"),
                _over(cm, "table8/sourcesep-cm-mixed", what="CM: denoising - as many more steps of stage 1"),
                _gain_of_denoising("gain of CC - gain of CM", "cc", "cm"),
                *(
                    _over(
                        name,
                        f"table8/{name}-without-dn",
                        what=f"{short}, both at S_t: with - without denoising",
                        said=False,
                        output="dominant",
                    )
                    for name, short in ((cc, "CC"), (cm, "CM"))
                ),
            ),
            "without denoising a network has had fewer steps and is read at S_ss; those with more of stage 1 "
            "are of equal length, and S_t before denoising is the output that is read after it",
        ),
        Claim(
            10,
            "The source separation head helps.",
            "Table 9",
            (
                _over(
                    "table9/sourcesep-cc-with-ssh",
                    "table9/sourcesep-cc-without-ssh",
                    what="CC: with - without SSH",
                ),
                _over(
                    "table9/sourcesep-cm-with-ssh",
                    "table9/sourcesep-cm-without-ssh",
                    what="CM: with - without SSH",
                ),
            ),
        ),
        Claim(
            11,
            "Pairing by co-occurrence alone helps Mixup; separation helps further, and denoising a little.",
            "Table 10",
            (
                _over("table10/mixup+cooccurrence", mixup),
                _over("table10/mixup+cooccurrence+sourcesep", "table10/mixup+cooccurrence"),
                _over(cm, "table10/mixup+cooccurrence+sourcesep"),
                _over(
                    "table8/sourcesep-cm-mixed",
                    "table10/mixup+cooccurrence",
                    what="as many steps: with separation - mixup+cooccurrence",
                ),
                _over(cm, "table8/sourcesep-cm-mixed", what="as many steps: denoising - more of stage 1"),
            ),
            "separation without denoising has had fewer steps; two contrasts are of equal length",
        ),
        Claim(
            12,
            "A delta of 0.9 beyond the cap is better than not blending there, and than no cap.",
            "Table 11",
            tuple(
                _over("table11/delta-capped", f"table11/{other}")
                for other in ("max2", "max3", "max4", "uncapped")
            ),
        ),
        Claim(
            13,
            "CM costs less to train than CC.",
            "sections 1, 2",
            (_over(cc, cm, what="images in an epoch, thousands: CC - CM", metric=EPOCH),),
            "counted, not measured: as published, CC passes through a stored set of blends; at equal steps "
            "both cost the same",
        ),
        Claim(
            14,
            "CC's blends are noisier, and that is why denoising helps it more.",
            "section 5.1",
            (
                _over(
                    cc, cm, what="VOC's labels: pairs that never meet, per cent: CC - CM", metric=NEVER_MEET
                ),
                _gain_of_denoising("gain of denoising: CC - CM", "cc", "cm"),
            ),
            "that the one causes the other cannot be told from these",
        ),
        Claim(
            15,
            "Pairing by clusters and by co-occurrence reduces the bias towards frequent categories.",
            "section 3.1",
            tuple(
                _over(
                    mixup,
                    name,
                    what=f"VOC's labels: distance from equal shares, per cent: random - {short}",
                    metric=BIAS,
                )
                for name, short in ((cc, "CC"), (cm, "CM"))
            ),
            "section 3.1 brings in both against this bias, and says of clusters alone that they pair evenly",
        ),
    )


CLAIMS = _claims()
"""The fifteen claims, by their number in the book."""

Pairs = Mapping[tuple[str, str], Mapping[int, float]]
"""(experiment, metric) -> seed -> value, of the metrics that are about pairs."""


def judge(
    rows: Rows, *, numbers: Collection[int] | None = None, pairs: Pairs | None = None
) -> list[ClaimVerdict]:
    """A verdict on each claim in every setting that has rows; one for none, undecided, where there are none.

    A contrast holds when its mean over seeds has a 95 % interval above zero, with three seeds or more
    (`verdict`), and, where the matrices of single images are there, so has the bootstrap over images and
    seeds; on fewer than `IMAGES_NEEDED` images nothing is decided, nor by the lists of Fig. 5 where the
    training list is not VOC's: their thresholds count images, and more pairs are rare on a short list. One
    about perturbations also needs them to take more than noise of their size: what noise takes as well tells
    nothing of an attack. A claim is supported when all the contrasts hold that a sentence says, not supported
    when one of them is contradicted, and undecided otherwise. One that is arithmetic is supported or not by
    construction (`ClaimVerdict.without_rows`). Rows of the scales in `NO_EVIDENCE` are passed over.

    Args:
        numbers: of the claims; all by default.
        pairs: measurements of pairs, which have no setting but VOC's label statistics.
    """
    settings: dict[tuple[str, ...], Rows] = defaultdict(list)
    for row in rows:
        if row["scale"] not in NO_EVIDENCE:
            settings[trained_in(row)].append(row)
    words = setting_names([among[0] for among in settings.values()])
    judged = []
    for claim in (one for one in CLAIMS if numbers is None or one.number in numbers):
        found = []
        for name, among in zip(words, settings.values(), strict=True):
            findings = tuple(
                finding
                for contrast in claim.contrasts
                if (finding := _finding(contrast, among, pairs or {})) is not None
            )
            if any(not finding.contrast.about_pairs for finding in findings):
                found.append(ClaimVerdict(claim, name, findings))
        alone = tuple(
            finding
            for contrast in claim.contrasts
            if contrast.about_pairs and (finding := _finding(contrast, [], pairs or {})) is not None
        )
        if alone and not found:
            found.append(ClaimVerdict(claim, "label statistics of VOC", alone))
        judged += found or [ClaimVerdict(claim, "", ())]
    return judged


def _verdict(claimed: Sequence[Contrast], findings: tuple[Finding, ...]) -> Verdict:
    found = [finding for finding in findings if finding.contrast in claimed]
    if not found:
        return "undecided"
    if all(finding.holds == "counted" for finding in found):
        return "supported" if all(finding.mean > 0 for finding in found) else "not supported"
    if any(finding.holds == "no" for finding in found):
        return "not supported"
    whole = len(found) == len(claimed)
    return "supported" if whole and all(finding.holds == "yes" for finding in found) else "undecided"


def _finding(contrast: Contrast, rows: Rows, pairs: Pairs) -> Finding | None:
    """What rows of one setting say of a contrast; None where a term was not measured for any shared seed."""
    rows, by_seed = max(
        (
            (alike, [_by_seed(one, alike, pairs) for _, one in contrast.terms])
            for alike in _alike(contrast, rows)
        ),
        key=lambda found: len(_shared(found[1])),
    )
    shared = _shared(by_seed)
    if not shared:
        return None
    weights = [weight for weight, _ in contrast.terms]
    sums = [
        sum(weight * values[seed] for weight, values in zip(weights, by_seed, strict=True)) for seed in shared
    ]
    mean, half = interval(sums)
    images = None if contrast.about_pairs else _bootstrap(contrast, rows, shared)
    fewest = None if contrast.about_pairs else _fewest(contrast, rows)
    holds = _holds(contrast, (mean, half, len(shared)), images)
    if all(one.metric == EPOCH for _, one in contrast.terms):
        holds = "counted"
    attack = None
    if any(one.perturbation for _, one in contrast.terms):
        attack = _is_attack(contrast, rows, shared, pairs, loser=-1.0 if mean > 0 else 1.0)
    rare = _is_of_rare_company(contrast)
    conditions = {
        f"fewer than {IMAGES_NEEDED} images": fewest is not None and fewest < IMAGES_NEEDED,
        "training list is not VOC's": rare and any(row["images"] != VOC_TRAINING for row in rows),
        "not told from noise": attack is False,
    }
    unmet = tuple(words for words, lacks in conditions.items() if lacks)
    return Finding(
        contrast=contrast,
        printed=printed_value(contrast),
        mean=mean,
        half_width_95=half,
        seeds=len(shared),
        images=images,
        fewest=fewest,
        holds="undecided" if unmet else holds,
        is_attack=attack,
        unmet=unmet,
    )


def _is_of_rare_company(contrast: Contrast) -> bool:
    """Whether it is about the lists of Fig. 5, whose thresholds count images of VOC's training list."""
    return any((one.subset or "").startswith("rare") for _, one in contrast.terms)


def _holds(
    contrast: Contrast, over_seeds: tuple[float, float | None, int], images: tuple[float, float] | None
) -> Holds:
    """The `verdict` on a sum; what may be "not below" zero is held against -`NEGLIGIBLE`."""
    margin = NEGLIGIBLE if contrast.expected == "not below" else 0.0
    mean, half, seeds = over_seeds
    moved = None if images is None else (images[0] + margin, images[1] + margin)
    said = verdict((mean + margin, half, seeds), moved)
    return "yes" if said == "higher" else "no" if said == "lower" else "undecided"


def _fewest(contrast: Contrast, rows: Rows) -> int | None:
    """Images of the side of a sum that is measured on the fewest.

    Readings of one experiment and sign are one side: a mean over several subsets is a matter of all their
    images, unless one of them is part of another. Then it hangs on the smallest.
    """
    of_side: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for side, ones in _sides(contrast).items():
        counted: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
        for one in ones:
            for row in _rows_of(one, rows):
                if one.subset is None:
                    of_side[side].append(int(row["eval_images"]))
                elif row["per_image"] is not None:
                    subsets = confusions_of(row["per_image"]).subsets
                    if one.subset in subsets:
                        counted[row["per_image"]][one.subset] = subsets[one.subset].astype(bool)
        for named in counted.values():
            lists = [*named.values()]
            nested = any(
                few.any() and (many & ~few).any() and not (few & ~many).any()
                for few, many in itertools.permutations(lists, 2)
            )
            whole = np.logical_or.reduce(lists)
            of_side[side].append(min(int(held.sum()) for held in (lists if nested else [whole])))
    return min((number for numbers in of_side.values() for number in numbers if number), default=None)


def _sides(contrast: Contrast) -> dict[tuple[str, bool], list[Reading]]:
    sides: dict[tuple[str, bool], list[Reading]] = defaultdict(list)
    for weight, one in contrast.terms:
        sides[one.experiment.name, weight > 0].append(one)
    return sides


def _shared(by_seed: list[dict[int, float]]) -> list[int]:
    return sorted(set.intersection(*(set(values) for values in by_seed)))


def _alike(contrast: Contrast, rows: Rows) -> Iterator[Rows]:
    """The rows that may stand in one sum: of the same images, read in the same way, attacked alike.

    Of attacked networks those of one training run for each seed, and of a perturbation one making for each.
    """
    rows = of_one_making(rows)
    measured = [row for _, one in contrast.terms for row in _rows_of(one, rows)]
    for way in dict.fromkeys(_measured_on(row) for row in measured) or [()]:
        same = [row for row in rows if _measured_on(row) == way]
        attacked = [row for row in measured if row["condition"] and _measured_on(row) == way]
        for epsilon in dict.fromkeys(row["condition"]["epsilon"] for row in attacked) or [None]:
            runs = {
                (row["method_digest"], row["seed"]): run_of(row)
                for row in attacked
                if row["condition"]["epsilon"] == epsilon
            }
            yield [
                row
                for row in same
                if runs.get((row["method_digest"], row["seed"]), run_of(row)) == run_of(row)
                and (row["condition"] is None or row["condition"]["epsilon"] == epsilon)
            ]


def _measured_on(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("eval_dataset", "eval_digest", "protocol", "crop"))


def _by_seed(one: Reading, rows: Rows, pairs: Pairs) -> dict[int, float]:
    """The first measurement with each seed, as in tables; the last of what was attacked again."""
    if one.metric in (NEVER_MEET, BIAS, EPOCH):
        return dict(pairs.get((one.experiment.name, one.metric), {}))
    return {seed: value for seed, (value, _) in _measurements(one, rows).items()}


def _measurements(one: Reading, rows: Rows) -> dict[int, Counted]:
    return counting(_rows_of(one, rows), one.metric, one.subset)


def _is_attack(contrast: Contrast, rows: Rows, seeds: list[int], pairs: Pairs, *, loser: float) -> bool:
    """Whether the perturbations together take more than noise from the method that loses more.

    With each seed, that is, and by more than `TOLERANCE` for each of them in the mean. Noise is the most
    harmful of a perturbation's controls; without any, nobody knows.

    Args:
        loser: sign of the weights of the method's attacked readings in the contrast.
    """
    excess = dict.fromkeys(seeds, 0.0)
    for weight, one in contrast.terms:
        if one.perturbation is None or weight * loser < 0:
            continue
        controls = {
            row["condition"]["control"]
            for row in rows
            if row["condition"] is not None and row["condition"]["name"] == one.perturbation
        } - {None}
        itself = _by_seed(one, rows, pairs)
        noise = [
            _by_seed(replace(one, perturbation=f"{one.perturbation}, {control}"), rows, pairs)
            for control in sorted(controls)
        ]
        if not noise or not all(set(seeds) <= of.keys() for of in noise):
            return False
        for seed in seeds:
            excess[seed] += min(of[seed] for of in noise) - itself[seed] - TOLERANCE
    return all(value > 0 for value in excess.values())


def _rows_of(one: Reading, rows: Rows) -> Rows:
    """The rows of a reading, without those on which a sanity check of an attack failed."""
    return [
        row
        for row in reading(rows, one.experiment, output=one.output, perturbation=one.perturbation)
        if row["eval_dataset"] in MEASURED_ON[one.data]
        and one.eval_split in (None, row["eval_split"])
        and (row["condition"] is None or row["condition"]["valid"])
    ]


def printed_value(contrast: Contrast) -> float | None:
    """The contrast of the printed values, with ResNet-101 where both backbones are printed.

    Table 6 has clean values of its own, which count for its perturbations alone.
    """
    attacked = any(one.perturbation for _, one in contrast.terms)
    declared = [row for row in find_rows("tables") if (row.table == 6) == attacked]
    total = 0.0
    for weight, one in contrast.terms:
        values: dict[str, float] = {}
        for row in declared:
            if row.printed is not None and _reads(row, one):
                values.setdefault(row.backbone, row.printed)
        if not values:
            return None
        total += weight * values.get("resnet101", next(iter(values.values())))
    return round(total, 4)


def holds_as_printed(contrast: Contrast) -> bool | None:
    """Whether the printed values bear a contrast out; None where they do not tell."""
    value = printed_value(contrast)
    if value is None:
        return None
    return value > (0 if contrast.expected == "above" else -NEGLIGIBLE)


def _reads(row: Row, one: Reading) -> bool:
    """Whether a declared row is the paper's value of a reading."""
    if row.experiment.method != one.experiment.method or row.output != one.output:
        return False
    asked = (one.metric, one.subset, one.data, one.perturbation)
    return (row.metric, row.subset, row.data, row.perturbation) == asked


def _bootstrap(contrast: Contrast, rows: Rows, seeds: list[int]) -> tuple[float, float] | None:
    """The interval over images and seeds of a sum of mIoU and IoU; None where matrices are not at hand."""
    terms = []
    for weight, one in contrast.terms:
        measured = _measurements(one, rows)
        chosen = [measured[seed][1] for seed in seeds]
        if any(row["per_image"] is None for row in chosen):
            return None
        terms.append(term_of(chosen, weight=weight, metric=one.metric, subset=one.subset))
    return resampled(terms)
