"""What rows of attacked and corrupted images say, beside the same networks on images as they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from segmix_core.experiments import METHODS, SCALES, TABLES
from segmix_core.experiments.robustness import STUDIED, TOLERANCE
from segmix_core.report.statistics import interval, paired_bootstrap
from segmix_core.report.tables import Rows, of_one_making, setting_names, term_of, trained_in, value_of
from segmix_core.results import run_of
from segmix_core.rng import stream

BySeed = dict[int, float]


@dataclass(frozen=True, kw_only=True)
class Drop:
    """What a universal perturbation takes from a method, in points of a metric (per cent)."""

    setting: str  # of training, in words
    experiment: str
    perturbation: str
    fit: str
    access: str  # "transfer" or "white-box"
    epsilon: float
    images: int
    digest: str  # of the list of images
    crop: int | None  # pixels, side of the images that it was fitted to; None: whole images
    clean: BySeed
    attacked: BySeed
    controls: dict[str, BySeed]  # noise in its place: what is left under it
    cost: str  # what crafting it took, in words

    @property
    def seeds(self) -> list[int]:
        """Seeds of which every measurement is there: clean, attacked and under each control."""
        return sorted(set.intersection(*map(set, (self.clean, self.attacked, *self.controls.values()))))

    @property
    def shown(self) -> tuple[Any, ...]:
        """What must be the same for two of them to be compared: the images, and their size."""
        return self.digest, self.crop

    @property
    def lost(self) -> tuple[float, float | None]:
        """Points lost: mean over seeds, and half of its 95 % interval."""
        return interval([self.clean[seed] - self.attacked[seed] for seed in self.seeds])

    @property
    def retained(self) -> float:
        """Per cent of the clean value that is left, mean over seeds; NaN where a clean value is 0."""
        if not all(self.clean[seed] for seed in self.seeds):
            return float("nan")
        return float(np.mean([100 * self.attacked[seed] / self.clean[seed] for seed in self.seeds]))

    @property
    def excess(self) -> tuple[float, float | None] | None:
        """Points lost beyond what the most harmful of its controls takes; None without controls."""
        if not self.controls:
            return None
        worst = [min(control[seed] for control in self.controls.values()) for seed in self.seeds]
        return interval([left - self.attacked[seed] for left, seed in zip(worst, self.seeds, strict=True)])

    @property
    def is_attack(self) -> bool | None:
        """Whether with every seed it takes more than each control, by over `TOLERANCE`; else it is noise."""
        if not self.controls:
            return None
        return all(
            self.attacked[seed] + TOLERANCE < control[seed]
            for control in self.controls.values()
            for seed in self.seeds
        )


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What adaptive attacks leave of a method, in per cent, on the same images at every size."""

    setting: str
    experiment: str
    images: int
    steps: int
    precision: str  # of the search; what it found is judged in float32
    passes: int  # forward and backward, for each image at most: of all attacks of one network's study
    at: float  # epsilon at which aims, transfer and longer attacks are compared
    digest: str  # of the list of images
    code: str | None  # what decided the rows: sources, sizes, images; None: of before rows named it
    # At `at` the worst aim of each image, elsewhere the aim that was worst there; 0 is the image as it is.
    by_epsilon: dict[float, BySeed]
    noise: dict[float, BySeed]  # random signs of the same size
    by_aim: dict[str, BySeed]  # at `at`; "worst" takes the worst aim of each image
    longer: dict[int, BySeed]  # at `at`, the worst aim, by steps
    transfer: BySeed  # at `at`, made on the surrogate
    unbounded: BySeed
    stage1: dict[str, BySeed]  # by aim at `at`, the network before stage 2 at its own output
    failed: tuple[str, ...]  # sanity checks
    rows: dict[float, dict[int, dict[str, Any]]] = field(default_factory=dict)  # of `by_epsilon`
    # By check and stage, the last stage first: what each seed found, and whether it holds.
    checks: dict[tuple[str, int], dict[int, tuple[str, bool]]] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """Whether every sanity check held with every seed."""
        return not self.failed

    @property
    def shown(self) -> tuple[Any, ...]:
        """What curves must share to stand beside each other: images, the size of all aims, steps, code."""
        return self.digest, self.at, self.steps, self.code

    def over_images(self, epsilon: float, than: Curve | None = None) -> tuple[float, float] | None:
        """95 % interval, over images and seeds, of the mIoU that is left at a size; of one seed, over images.

        Args:
            than: a curve on the same images, what is left of which is taken away.

        Returns:
            Its ends, per cent or points; None where matrices of single images are not at hand, no seed is
            shared, or the images are others.
        """
        curves = [self] if than is None else [self, than]
        shared = sorted(set.intersection(*(set(one.rows.get(epsilon, {})) for one in curves)))
        listed = [[one.rows[epsilon][seed] for seed in shared] for one in curves]
        if not shared or any(row["per_image"] is None for rows in listed for row in rows):
            return None
        if len({row["eval_digest"] for rows in listed for row in rows}) > 1:
            return None
        terms = [term_of(rows, weight=weight) for weight, rows in zip((1.0, -1.0), listed, strict=False)]
        rng = stream(0, "bootstrap", self.setting, self.experiment, f"{epsilon:g}")
        _, low, high = paired_bootstrap(terms, rng=rng)
        return low, high


@dataclass(frozen=True, kw_only=True)
class Corrupted:
    """What corruptions leave of a method, in per cent."""

    setting: str
    experiment: str
    images: int
    digest: str  # of the list of images
    clean: BySeed
    left: dict[tuple[str, int], BySeed]  # by corruption and severity

    def mean(self, names: tuple[str, ...], severity: int | None = None) -> BySeed:
        """The mean over some corruptions, at one severity or over all."""
        chosen = [
            values for (name, at), values in self.left.items() if name in names and severity in (None, at)
        ]
        seeds = set(self.clean).intersection(*chosen) if chosen else set()
        return {seed: float(np.mean([one[seed] for one in chosen])) for seed in sorted(seeds)}

    @property
    def shown(self) -> tuple[Any, ...]:
        """What must be the same for two of them to be compared: the images."""
        return (self.digest,)


Measurement = TypeVar("Measurement", Drop, Curve, Corrupted)


def comparable(found: Sequence[Measurement]) -> list[Measurement]:
    """Of what was found in one setting that of networks that were shown the same.

    Where there are several lists of images, the one with most; of as many the one of more images.
    """
    groups: dict[tuple[Any, ...], list[Measurement]] = defaultdict(list)
    for one in found:
        groups[one.shown].append(one)
    return max(groups.values(), key=lambda group: (len(group), group[0].images), default=[])


def settings_of(rows: Rows) -> dict[str, Rows]:
    """Rows that may be compared, by their setting in words, the largest scale first."""
    groups: dict[tuple[str, ...], Rows] = defaultdict(list)
    for row in rows:
        groups[trained_in(row)].append(row)
    names = setting_names([among[0] for among in groups.values()])
    named = dict(zip(names, groups.values(), strict=True))
    sizes = list(SCALES)

    def order(name: str) -> tuple[int, str]:
        scale = named[name][0]["scale"]
        return -sizes.index(scale) if scale in sizes else 1, name

    return {name: named[name] for name in sorted(named, key=order)}


def _of(rows: Rows, kind: str) -> dict[str, Rows]:
    """The rows of a kind of condition, by method, in the order of their declaration."""
    found: dict[str, Rows] = {name: [] for name in STUDIED}
    for row in rows:
        if row["condition"] is not None and row["condition"]["kind"] == kind and row["experiment"] in found:
            found[row["experiment"]].append(row)
    return {name: listed for name, listed in found.items() if listed}


def _by_seed(rows: Rows, metric: str) -> BySeed:
    found = {seed: value_of(row, metric) for seed, row in _row_by_seed(rows).items()}
    return {seed: value for seed, value in found.items() if value is not None}


def _row_by_seed(rows: Rows) -> dict[int, dict[str, Any]]:
    """The last of a seed's rows counts: what was measured again stands below."""
    return {row["seed"]: row for row in rows}


def drops(rows: Rows, *, metric: str = "mIoU", stage: int = 2, output: str | None = None) -> list[Drop]:
    """Every universal perturbation on every method, at the output that the method reports after a stage.

    A seed is left out of a drop's `seeds` where a clean value or a control of the same training run is
    missing; a drop without seeds is left out. Of a perturbation that was crafted several times those pixels
    count that most rows hold, whatever the method; of equals the last.

    Args:
        output: every method is read at this one instead.
    """
    found = []
    for setting, among in settings_of(rows).items():
        for name, listed in _of(of_one_making(among), "universal").items():
            read_at = output or _reported(name, stage)
            at_stage = [row for row in listed if (row["stage"], row["output"]) == (stage, read_at)]
            groups: dict[tuple[Any, ...], Rows] = defaultdict(list)
            for row in at_stage:
                made = tuple(row["condition"][key] for key in ("name", "how", "access", "epsilon"))
                groups[*made, row["eval_digest"], row["crop"]].append(row)
            for (perturbation, fit, access, epsilon, images, crop), alike in groups.items():
                itself = [row for row in alike if row["condition"]["control"] is None]
                if not itself:
                    continue
                # Of each seed one training run: its score as it is, attacked, and under the controls.
                runs = {row["seed"]: run_of(row) for row in itself}
                clean = [
                    row
                    for row in among
                    if row["condition"] is None
                    and run_of(row) == runs.get(row["seed"])
                    and (row["stage"], row["output"]) == (stage, read_at)
                    and (row["eval_digest"], row["crop"]) == (images, crop)
                ]
                controls: dict[str, Rows] = defaultdict(list)
                for row in alike:
                    if row["condition"]["control"] is not None and run_of(row) == runs.get(row["seed"]):
                        controls[row["condition"]["control"]].append(row)
                drop = Drop(
                    setting=setting,
                    experiment=name,
                    perturbation=perturbation,
                    fit=fit,
                    access=access,
                    epsilon=epsilon,
                    images=itself[0]["eval_images"],
                    digest=images,
                    crop=crop,
                    clean=_by_seed(clean, metric),
                    attacked=_by_seed(itself, metric),
                    controls={control: _by_seed(of, metric) for control, of in controls.items()},
                    cost=_crafting_cost(itself[0]["condition"]["making"]),
                )
                if drop.seeds:
                    found.append(drop)
    return found


def _crafting_cost(making: dict[str, Any]) -> str:
    if making.get("attack") == "uap":
        return f"{making['passes']} passes over {making['images']} images"
    return f"{making['iterations']} iterations" if making.get("attack") == "gd-uap" else "published"


def _reported(name: str, stage: int) -> str:
    method = STUDIED[name].method
    return (method if stage == 2 else method.stage1()).output()


def printed_drops() -> dict[tuple[str, str], tuple[float, float]]:
    """Table 6 as printed: (method, perturbation) -> (clean, attacked), per cent."""
    printed = {(row.experiment.name, row.perturbation): row.printed for row in TABLES[6]}
    return {
        (name, perturbation): (clean, attacked)
        for (name, perturbation), attacked in printed.items()
        if perturbation is not None and attacked is not None and (clean := printed[name, None]) is not None
    }


def curves(rows: Rows, *, metric: str = "mIoU") -> list[Curve]:
    """The adaptive attacks on every method, one curve for each setting and list of images."""
    found = []
    for setting, among in settings_of(rows).items():
        for name, listed in _of(among, "adaptive").items():
            for digest in dict.fromkeys(row["eval_digest"] for row in listed):
                alike = _last_study([row for row in listed if row["eval_digest"] == digest])
                if alike:
                    found.append(_curve(setting, name, alike, metric))
    return found


def _curve(setting: str, name: str, rows: Rows, metric: str) -> Curve:
    """Of seeds that were attacked by other code, at other sizes, or longer, those that are most.

    Of as many the longer, and of as many as long those that were measured last.
    """

    def those(stage: int = 2, **wanted: Any) -> Rows:
        return [
            row
            for row in rows
            if (row["stage"], row["output"]) == (stage, _reported(name, stage))
            and all(row["condition"][key] == value for key, value in wanted.items())
        ]

    extents = Counter(map(_extent, those(aim="worst")))
    at, steps, code = max(reversed(extents), key=lambda one: (extents[one], one[1]))
    seeds = {row["seed"] for row in those(aim="worst") if _extent(row) == (at, steps, code)}
    rows = [row for row in rows if row["seed"] in seeds]
    attacks = [row for row in those(access="white-box", control=None) if row["condition"]["epsilon"] > 0]
    worst = those(aim="worst")
    bounded = [
        row
        for row in attacks
        if row["condition"]["making"]["steps"] == steps and row["condition"]["making"]["shrink"]
    ]
    aims = {row["condition"]["aim"] for row in bounded}
    worst_aim = {row["seed"]: row["condition"]["making"]["aim"] for row in worst}

    def of_worst_aim(row: dict[str, Any]) -> bool:
        return bool(row["condition"]["aim"] == worst_aim.get(row["seed"]))

    counted = {0.0: those(epsilon=0.0, control=None)}
    for epsilon in sorted({row["condition"]["epsilon"] for row in bounded}):
        kept = [row for row in bounded if row["condition"]["epsilon"] == epsilon]
        counted[epsilon] = worst if epsilon == at else [row for row in kept if of_worst_aim(row)]
    by_aim = {
        aim: _by_seed([row for row in bounded if _aim_and_size(row) == (aim, at)], metric)
        for aim in sorted(aims)
    }
    noise = [row for row in those() if row["condition"]["control"] is not None]
    longest: dict[int, BySeed] = {}
    for row in filter(of_worst_aim, attacks):
        making, value = row["condition"]["making"], value_of(row, metric)
        if making["shrink"] and row["condition"]["epsilon"] == at and value is not None:
            longest.setdefault(making["steps"], {})[row["seed"]] = value
    stage1 = those(1, access="white-box", control=None)
    failed = {name for row in rows for name in row["condition"]["making"]["failed"]}
    return Curve(
        setting=setting,
        experiment=name,
        images=rows[0]["eval_images"],
        digest=rows[0]["eval_digest"],
        steps=steps,
        code=code,
        precision=" and ".join(
            sorted({row["condition"]["making"].get("precision", "fp32") for row in bounded})
        ),
        passes=_passes(rows),
        at=at,
        by_epsilon={epsilon: _by_seed(of, metric) for epsilon, of in counted.items()},
        noise={
            epsilon: _by_seed([row for row in noise if row["condition"]["epsilon"] == epsilon], metric)
            for epsilon in sorted({row["condition"]["epsilon"] for row in noise})
        },
        by_aim=by_aim,
        longer=longest,
        transfer=_by_seed(those(access="transfer"), metric),
        unbounded=_by_seed([row for row in attacks if not row["condition"]["making"]["shrink"]], metric),
        stage1={
            aim: _by_seed([row for row in stage1 if row["condition"]["aim"] == aim], metric)
            for aim in sorted({row["condition"]["aim"] for row in stage1})
        },
        failed=tuple(sorted(failed)),
        rows={epsilon: _row_by_seed(of) for epsilon, of in counted.items()},
        checks=_checks([*worst, *stage1]),
    )


def _checks(rows: Rows) -> dict[tuple[str, int], dict[int, tuple[str, bool]]]:
    found: dict[tuple[str, int], dict[int, tuple[str, bool]]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: (-row["stage"], row["seed"])):
        making = row["condition"]["making"]
        for check, detail in making["checks"].items():
            found[check, row["stage"]][row["seed"]] = (detail, check not in making["failed"])
    return dict(found)


def _aim_and_size(row: dict[str, Any]) -> tuple[str | None, float]:
    return row["condition"]["aim"], row["condition"]["epsilon"]


def _passes(rows: Rows) -> int:
    """Passes for each image of every attack on the network that took most of them."""
    return max(
        _passes_on([row for row in rows if row["seed"] == seed]) for seed in {row["seed"] for row in rows}
    )


def _passes_on(rows: Rows) -> int:
    """Those of every attack on one network; those of the worst aim are those of its parts.

    The unbounded attack after stage 1 serves a check alone, and has no row.
    """
    attacks = {
        (row["stage"], *_aim_and_size(row), row["condition"]["access"], making["steps"]): making
        for row in rows
        if (making := row["condition"]["making"]).get("steps")
        and row["condition"]["control"] is None
        and row["condition"]["aim"] != "worst"
    }
    passes = [int(making["steps"]) * len(making["losses"]) for making in attacks.values()]
    unbounded = [making for making in attacks.values() if not making["shrink"] and making["epsilon"]]
    if any(stage == 1 for stage, *_ in attacks):
        passes += [int(making["steps"]) for making in unbounded[:1]]
    return sum(passes)


def _extent(row: dict[str, Any]) -> tuple[float, int, str | None]:
    making = row["condition"]["making"]
    return row["condition"]["epsilon"], making["steps"], making.get("code")


def _last_study(rows: Rows) -> Rows:
    """Of each seed the rows of its last study: a study is appended whole, and ends with its worst aim."""
    kept: Rows = []
    for seed in dict.fromkeys(row["seed"] for row in rows):
        of_seed = [row for row in rows if row["seed"] == seed]
        ends = [
            place
            for place, (row, after) in enumerate(zip(of_seed, [*of_seed[1:], None], strict=True))
            if row["condition"]["aim"] == "worst" and (after is None or after["condition"]["aim"] != "worst")
        ]
        first = ends[-2] + 1 if len(ends) > 1 else 0
        kept += of_seed[first : ends[-1] + 1] if ends else []
    return kept


def corruptions(rows: Rows) -> list[Corrupted]:
    """Common corruptions on every method, one entry for each setting and list of images."""
    found = []
    for setting, among in settings_of(rows).items():
        for name, listed in _of(among, "corruption").items():
            reported = [row for row in listed if row["reported"]]
            for digest in dict.fromkeys(row["eval_digest"] for row in reported):
                alike = [row for row in reported if row["eval_digest"] == digest]
                left: dict[tuple[str, int], Rows] = defaultdict(list)
                for row in alike:
                    left[row["condition"]["name"], row["condition"]["severity"]].append(row)
                clean = _by_seed(left.pop(("none", 0), []), "mIoU")
                values = {case: _by_seed(of, "mIoU") for case, of in left.items()}
                if clean:
                    found.append(
                        Corrupted(
                            setting=setting,
                            experiment=name,
                            images=alike[0]["eval_images"],
                            digest=digest,
                            clean=clean,
                            left=values,
                        )
                    )
    return found


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Who attacks whom: points lost by attacker (rows) and attacked (columns), in the order of Table 1."""

    lost_MM: np.ndarray  # NaN: not measured
    noise_MM: np.ndarray  # bool: some noise of its size takes as much
    stronger: dict[str, str]  # attacked -> what was found, where transfer takes more than white-box

    @property
    def names(self) -> list[str]:
        """The methods."""
        return list(METHODS)


def matrix(of: list[Drop], attack: str) -> Matrix:
    """The matrix of an attack that was crafted on each method.

    Where what was made on another network takes more from a method than what was made on itself, by more than
    `TOLERANCE`, its own attack has failed, and nothing in its column tells how robust it is.

    Args:
        of: the drops of one setting.
        attack: "uap", "gd-uap-none".
    """
    names = list(METHODS)
    lost_MM = np.full((len(names), len(names)), np.nan)
    noise_MM = np.zeros(lost_MM.shape, dtype=bool)
    for drop in of:
        made_by = drop.perturbation.removeprefix(f"{attack} on ")
        if drop.perturbation != made_by and made_by in names and drop.experiment in names:
            place = names.index(made_by), names.index(drop.experiment)
            lost_MM[place], noise_MM[place] = drop.lost[0], drop.is_attack is False
    stronger = {}
    for column, name in enumerate(names):
        own, others = lost_MM[column, column], np.delete(lost_MM[:, column], column)
        if np.isfinite(own) and np.isfinite(others).any() and np.nanmax(others) > own + TOLERANCE:
            stronger[name] = f"{np.nanmax(others):.2f} lost by transfer, {own:.2f} white-box"
    return Matrix(lost_MM=lost_MM, noise_MM=noise_MM, stronger=stronger)
