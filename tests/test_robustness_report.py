"""What rows of attacked images are read as, from rows made up so that the answer is known."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_results import ATTACKED, ROW

from segmix_core.attacks.adaptive import LOSSES
from segmix_core.experiments import METHODS, TABLES, find_experiment
from segmix_core.experiments.robustness import TOLERANCE
from segmix_core.metrics import ImageConfusions, save_confusions, sparse
from segmix_core.report import as_markdown, measured
from segmix_core.report.robustness import (
    Curve,
    Drop,
    comparable,
    corruptions,
    curves,
    drops,
    matrix,
    printed_drops,
    settings_of,
)
from segmix_core.report.robustness_tables import losses, losses_as_markdown, report_parts

SIGNS = "signs of the same size"


def row(miou: float, condition: dict[str, Any] | None = None, name: str = "baseline", **changes: Any) -> Any:
    experiment = find_experiment(name)
    return (
        ROW
        | {
            "experiment": name,
            "method": asdict(experiment.method),
            "metrics": ROW["metrics"] | {"mIoU": miou, "aAcc": miou + 20},
            "condition": condition,
        }
        | changes
    )


def uap(**changes: Any) -> dict[str, Any]:
    return ATTACKED | changes


def test_no_row_is_lost_between_settings_that_read_alike() -> None:
    """Means over different categories are different settings, and must not share a name."""
    chosen = [None, ["cat", "dog"], ["cat", "cow"], ["cat", "dog", "cow"]]
    rows = [row(50.0, mean_over=categories) for categories in chosen]
    assert sorted(len(of) for of in settings_of(rows).values()) == [1, 1, 1, 1]
    assert len(settings_of([*rows, row(40.0, seed=1)])) == 4


# Universal perturbations


def test_a_drop_is_that_of_one_training_run() -> None:
    """A network that was trained again with a seed lends its clean score and its controls to nobody else."""
    again = [row(90.0, seed=0, seconds=7.0), row(89.0, uap(control=SIGNS), seed=0, seconds=7.0)]
    assert drops(again + two_seeds()) == drops(two_seeds() + again) == drops(two_seeds())
    (drop,) = drops([*two_seeds(), *again, row(80.0, uap(), seed=0, seconds=7.0)])
    assert (drop.clean[0], drop.attacked[0], drop.controls[SIGNS][0]) == (90, 80, 89)
    assert drop.seeds == [1]  # of seed 0 the shuffled control is missing


def test_of_a_perturbation_that_was_crafted_anew_one_counts() -> None:
    """Of each seed: methods with the same seed never stand beside each other on different pixels."""
    other = {"sha256": "other"}

    def attacked(rows: list[Any]) -> dict[str, dict[int, float]]:
        return {drop.experiment: drop.attacked for drop in drops(rows)}

    def of_cm(seed: int) -> list[Any]:
        return [
            row(20.0, uap(making=other), name="sourcesep-cm", seed=seed),
            row(50.0, None, name="sourcesep-cm", seed=seed),
        ]

    anew = [row(10.0, uap(making=other), seed=0)]
    assert attacked(two_seeds() + anew) == {"baseline": {0: 10, 1: 40}}  # of equals the last
    assert attacked(anew + two_seeds()) == {"baseline": {0: 30, 1: 40}}
    assert attacked(two_seeds() + of_cm(0)) == {"baseline": {1: 40}, "sourcesep-cm": {0: 20}}
    assert attacked(two_seeds() + of_cm(2)) == {"baseline": {0: 30, 1: 40}, "sourcesep-cm": {2: 20}}
    most = [*two_seeds(), row(33.0, uap(), name="mixup", seed=0), row(60.0, None, name="mixup", seed=0)]
    for order in (most + of_cm(0), of_cm(0) + most):
        assert attacked(order) == {"baseline": {0: 30, 1: 40}, "mixup": {0: 33}}


def test_of_what_was_attacked_again_by_other_code_the_last_counts() -> None:
    """The perturbation has the same pixels; attacked and controls stand below those of before."""
    rows = two_seeds()
    again = [
        one
        | {
            "metrics": {"mIoU": 20.0},
            "condition": one["condition"] | {"making": ATTACKED["making"] | {"code": "new"}},
        }
        for one in rows
        if one["condition"] is not None
    ]
    (drop,) = drops(rows + again)
    assert drop.attacked == {0: 20, 1: 20}
    assert set(map(tuple, (control.values() for control in drop.controls.values()))) == {(20, 20)}
    name = METHODS["baseline"]
    (entry,) = measured(rows + again, name, perturbation="uap-resnet152")
    assert entry["by_seed"] == {"0": 20, "1": 20}
    fog = [corrupted("none", 0, 60.0), corrupted("fog", 1, 50.0)]
    (found,) = corruptions([*fog, *(one | {"metrics": {"mIoU": 7.0}} for one in fog)])
    assert (found.clean, found.mean(("fog",))) == ({0: 7}, {0: 7})


def test_table_6_is_told_as_points_lost_beside_noise() -> None:
    rows = [one for one in two_seeds() if one["condition"] is None or one["condition"]["control"] is None]
    signs = [row(55.0, uap(control=SIGNS), seed=0), row(38.0, uap(control=SIGNS), seed=1)]
    (weak,) = losses(rows + signs)
    assert (weak["clean"], weak["left"], weak["lost"]) == (55, 35, 20)
    assert weak["retained"] == pytest.approx((50 + 80) / 2)
    assert (weak["noise"], weak["attack"], weak["seeds"]) == ({SIGNS: 46.5}, False, [0, 1])
    assert weak["printed_lost"] == pytest.approx(16.8)
    text = losses_as_markdown("Table 6 as points lost", [weak]).splitlines()
    cells = [cell.strip() for cell in text[-1].strip("|").split("|")]
    assert cells[:7] == ["baseline", "uap-resnet152", "resize", "transfer", "16.8", "55.00", "35.00"]
    assert cells[7:10] == [f"20.00 ± {weak['half_width_95']:.2f}", "65.0", "46.50"]
    assert "**no: it is no attack**" in cells
    stronger = [one | {"metrics": {"mIoU": 55.0}} for one in signs]
    assert losses(rows + stronger)[0]["attack"] is True
    assert losses(rows)[0]["attack"] is None
    for other in ({"scale": "paper"}, {"dataset": "coco"}):
        assert report_parts(["universal"], rows, **other)[0] == {"losses": []}
    these = {"scale": rows[0]["scale"], "dataset": rows[0]["dataset"]}
    assert report_parts(["universal"], rows, **these)[0] == {"losses": losses(rows)}


def two_seeds() -> list[Any]:
    clean = [row(60.0, seed=0), row(50.0, seed=1)]
    attacked = [row(30.0, uap(), seed=0), row(40.0, uap(), seed=1)]
    signs = [row(55.0, uap(control=SIGNS), seed=0), row(39.0, uap(control=SIGNS), seed=1)]
    shuffled = [row(50.0, uap(control="shuffled"), seed=0), row(45.0, uap(control="shuffled"), seed=1)]
    return clean + attacked + signs + shuffled


def test_a_drop_is_what_is_lost_beside_its_controls() -> None:
    (drop,) = drops(two_seeds())
    assert (drop.experiment, drop.perturbation, drop.fit) == ("baseline", "uap-resnet152", "resize")
    assert (drop.access, drop.epsilon, drop.images) == ("transfer", 10, 10)
    assert (drop.clean, drop.attacked) == ({0: 60, 1: 50}, {0: 30, 1: 40})
    assert drop.controls == {SIGNS: {0: 55, 1: 39}, "shuffled": {0: 50, 1: 45}}
    mean, half = drop.lost
    assert mean == 20  # (60 - 30 + 50 - 40) / 2
    assert half == pytest.approx(12.706 * 20 / np.sqrt(2) / np.sqrt(2), rel=1e-3)  # t of one degree
    assert drop.retained == pytest.approx((50 + 80) / 2)
    assert drop.excess is not None
    assert drop.excess[0] == pytest.approx(((50 - 30) + (39 - 40)) / 2)
    assert drop.is_attack is False  # with seed 1 the signs took more


def test_what_beats_every_control_with_every_seed_is_an_attack() -> None:
    rows = [one for one in two_seeds() if (one["condition"] or {}).get("control") != SIGNS]
    assert drops(rows)[0].is_attack is True
    none = [one for one in rows if one["condition"] is None or one["condition"]["control"] is None]
    assert drops(none)[0].is_attack is None
    assert drops(none)[0].excess is None
    equal = [*rows, row(30.0, uap(control=SIGNS), seed=0), row(60.0, uap(control=SIGNS), seed=1)]
    assert drops(equal)[0].is_attack is False  # as much as noise takes is noise
    for lead, expected in ((TOLERANCE, False), (TOLERANCE + 0.01, True)):
        ahead = [*rows, row(30.0 + lead, uap(control=SIGNS), seed=0), row(60.0, uap(control=SIGNS), seed=1)]
        assert drops(ahead)[0].is_attack is expected


def test_a_seed_counts_where_all_of_it_was_measured() -> None:
    rows = [one for one in two_seeds() if one["seed"] == 0 or one["condition"] != uap(control=SIGNS)]
    (drop,) = drops([*rows, row(70.0, seed=2)])
    assert drop.seeds == [0]
    assert drop.lost == (30, None)
    assert drop.excess == (20, None)


def test_nothing_is_left_of_nothing() -> None:
    assert np.isnan(replace(drops(two_seeds())[0], clean={0: 0.0, 1: 50.0}).retained)


def test_drops_are_of_the_output_that_the_method_reports() -> None:
    rows = []
    for name, stage, output, clean, attacked in (
        ("sourcesep-cm", 2, "dominant", 60.0, 40.0),
        ("sourcesep-cm", 2, "final", 61.0, 31.0),
        ("sourcesep-cm", 1, "dominant", 62.0, 22.0),
        ("sourcesep-cm", 1, "final", 63.0, 13.0),
    ):
        where = {"stage": stage, "output": output}
        rows += [row(clean, None, name, **where), row(attacked, uap(), name, **where)]
    assert [drop.lost[0] for drop in drops(rows)] == [20]
    of_stage_1 = METHODS["sourcesep-cm"].method.stage1().output()
    assert [drop.lost[0] for drop in drops(rows, stage=1)] == [{"dominant": 40, "final": 50}[of_stage_1]]
    for output, points in (("dominant", 40), ("final", 50)):
        assert [drop.lost[0] for drop in drops(rows, stage=1, output=output)] == [points]
    assert [drop.lost[0] for drop in drops(rows, metric="aAcc")] == [20]  # of which `row` gives 20 more


def test_what_differs_is_never_mixed() -> None:
    """Another setting, list of images, crop, way of fitting, size or access is another drop."""
    rows = two_seeds()
    other: list[dict[str, Any]] = [
        {"weights": {"name": "imagenet"}},
        {"eval_digest": "0" * 16},
        {"crop": 128},
        {"scale_digest": "1" * 12},
    ]
    for changes in other:
        found = drops(rows + [one | changes | {"metrics": {"mIoU": 7.0}} for one in rows])
        assert sorted(drop.lost[0] for drop in found) == [0, 20], changes
    for changes in ({"how": "tile"}, {"epsilon": 5}, {"access": "white-box"}, {"name": "uap"}):
        more = [row(10.0, uap(**changes), seed=seed) for seed in (0, 1)]
        found = drops(rows + more)
        assert sorted(drop.lost[0] for drop in found) == [20, 45], changes
    # Images that were never measured clean have no drop, and rows of what is not compared are passed over.
    assert drops([one for one in rows if one["condition"] is not None]) == []
    assert drops([one | {"experiment": "table10/mixup+cooccurrence"} for one in rows]) == []


def test_the_printed_table_6() -> None:
    printed = printed_drops()
    assert len(printed) == 5 * 5
    assert printed["sourcesep-cc", "uap-resnet152"] == (77.9, 69.1)
    assert printed["sourcesep-cm", "gd-uap-none"] == (78.9, 67.2)
    assert {perturbation for _, perturbation in printed} == {
        one.perturbation for one in TABLES[6] if one.perturbation is not None
    }


def test_the_matrix_has_attackers_down_and_attacked_across() -> None:
    def one(perturbation: str, experiment: str, attacked: float) -> Drop:
        (drop,) = drops([row(50.0, None, experiment), row(attacked, uap(name=perturbation), experiment)])
        return drop

    found = matrix(
        [
            one("uap on baseline", "sourcesep-cm", 40.0),
            one("uap on sourcesep-cm", "baseline", 30.0),
            one("uap on mixup", "mixup", 5.0),
            one("gd-uap-none on baseline", "baseline", 1.0),
            one("uap", "baseline", 2.0),
        ],
        "uap",
    )
    names = list(METHODS)
    expected = np.full((5, 5), np.nan)
    expected[names.index("baseline"), names.index("sourcesep-cm")] = 10
    expected[names.index("sourcesep-cm"), names.index("baseline")] = 20
    expected[names.index("mixup"), names.index("mixup")] = 45
    np.testing.assert_array_equal(found.lost_MM, expected)
    assert found.stronger == {}
    assert not found.noise_MM.any()


@pytest.mark.parametrize(("by_transfer", "fails"), [(40.6, False), (39.9, False), (39.4, True)])
def test_a_column_whose_own_attack_is_the_weaker_one_is_invalid(by_transfer: float, fails: bool) -> None:
    """The white-box attack leaves 40 of 50; another's may take half a point more, and no more than that."""
    rows = [row(50.0, None, "baseline")]
    for name, left, noise in (("baseline", 40.0, 45.0), ("mixup", by_transfer, 39.0)):
        access = "white-box" if name == "baseline" else "transfer"
        condition = uap(name=f"uap on {name}", access=access)
        rows += [
            row(left, condition, "baseline"),
            row(noise, condition | {"control": SIGNS}, "baseline"),
        ]
    found = matrix(drops(rows), "uap")
    assert list(found.stronger) == ["baseline"] * fails
    document, text = report_parts(["matrix"], rows)
    told = f"{50 - by_transfer:.2f} lost by transfer, 10.00 white-box"
    assert [(one["access"], one["invalid"]) for one in document["crossed"]] == [
        ("white-box", told if fails else None),
        ("transfer", told if fails else None),
    ]
    assert text.count(f"**INVALID: {told}**") == 2 * fails
    place = list(METHODS).index
    assert not found.noise_MM[place("baseline"), place("baseline")]
    assert found.noise_MM[place("mixup"), place("baseline")]


# Adaptive attacks

CHECKS = {"an unbounded attack reaches zero": "0; at most 1 allowed"}


def sea(**changes: Any) -> dict[str, Any]:
    making = {"aim": "dominant", "epsilon": 1.0, "steps": 20, "shrink": True, "checks": CHECKS, "failed": []}
    making["losses"] = list(LOSSES)
    made = making | changes.pop("making", {})
    given = {"kind": "adaptive", "name": "sea", "epsilon": 1.0, "aim": "dominant", "access": "white-box"}
    how = {"how": "SEA, 20 steps, 4 losses", "making": made | {"aim": changes.get("aim", "dominant")}}
    return ATTACKED | given | how | changes


def studied(seed: int, worst_aim: str = "joint", *, failed: tuple[str, ...] = ()) -> list[Any]:
    """The rows of one network, as the study writes them; each has a value of its own."""
    noise = {"control": SIGNS, "aim": None, "making": {"failed": list(failed)}}
    other_aim = "dominant" if worst_aim == "joint" else "joint"

    def made(**changes: Any) -> dict[str, Any]:
        making = {"failed": list(failed)} | changes.pop("making", {})
        return sea(making=making, **changes)

    at_worst = made(aim=worst_aim) | {"aim": "worst"}
    cases: list[tuple[float, dict[str, Any], int]] = [
        (60.0, made(epsilon=0.0, aim=None), 2),
        (41.0, made(aim=other_aim), 2),
        (31.0, made(aim=worst_aim), 2),
        (58.0, made(**noise), 2),
        (50.0, made(**noise, epsilon=4.0), 2),
        (11.0, made(aim=worst_aim, epsilon=4.0), 2),
        (52.0, made(access="transfer"), 2),
        (29.0, made(aim=worst_aim, making={"steps": 60}), 2),
        (0.5, made(aim=worst_aim, epsilon=255.0, making={"shrink": False}), 2),
        (26.0, made(aim="dominant"), 1),
        (24.0, made(aim="joint"), 1),
        (23.0, at_worst, 1),
        (28.0, at_worst, 2),
    ]
    method = METHODS["sourcesep-cm"].method
    output = {1: method.stage1().output(), 2: method.output()}
    return [
        # What the other output gives is never read here.
        row(value + seed if name == output[stage] else 99.0, condition, "sourcesep-cm", seed=seed,
            stage=stage, output=name)
        for value, condition, stage in cases
        for name in ("dominant", "final")
    ]  # fmt: skip


def curve_of(rows: list[Any]) -> Curve:
    (curve,) = curves(rows)
    return curve


def test_a_curve_is_of_the_worst_aim_at_every_size() -> None:
    curve = curve_of(studied(0))
    assert (curve.experiment, curve.steps, curve.at, curve.images) == ("sourcesep-cm", 20, 1.0, 10)
    assert curve.by_epsilon == {0.0: {0: 60}, 1.0: {0: 28}, 4.0: {0: 11}}
    # Four losses: 20 steps at no size, of two aims, larger, transfer, unbounded, two at stage 1; 60 longer.
    # Unbounded after stage 1 has no row.
    assert curve.passes == 4 * (8 * 20 + 60) + 20
    assert curve.noise == {1.0: {0: 58}, 4.0: {0: 50}}
    assert curve.by_aim == {"dominant": {0: 41}, "joint": {0: 31}, "worst": {0: 28}}
    assert curve.longer == {20: {0: 31}, 60: {0: 29}}
    assert curve.transfer == {0: 52}
    assert curve.unbounded == {0: 0.5}
    assert curve.stage1 == {"dominant": {0: 26}, "joint": {0: 24}, "worst": {0: 23}}
    assert list(curve.checks) == [(check, stage) for stage in (2, 1) for check in CHECKS]
    assert all(of == {0: (CHECKS[check], True)} for (check, _), of in curve.checks.items())
    missed = curve_of(studied(0, failed=tuple(CHECKS)))
    assert [of[0][1] for of in missed.checks.values()] == [False, False]
    assert curve.valid


def test_the_report_of_attacks_names_what_does_not_hold() -> None:
    broken = [one | {"experiment": "baseline"} for one in studied(0, failed=("transfer is not stronger",))]
    document, text = report_parts(["adaptive"], [*studied(0), *studied(1), *broken])
    shaky, sound = document["attacks"]
    assert (shaky["experiment"], shaky["valid"], shaky["failed"]) == (
        "baseline", False, ["transfer is not stronger"],
    )  # fmt: skip
    assert (sound["experiment"], sound["valid"], sound["seeds"]) == ("sourcesep-cm", True, [0, 1])
    assert sound["code"] is None
    assert sound["left"] == {"0": 60.5, "1": 28.5, "4": 11.5}
    assert sound["noise"] == {"1": 58.5, "4": 50.5}
    assert sound["aAcc"] == {"0": 80.5, "1": 48.5, "4": 31.5}
    assert sound["left_over_images"] == {"0": None, "1": None, "4": None}  # no matrices of single images here
    assert sound["by_aim"] == {"dominant": 41.5, "joint": 31.5, "worst": 28.5}
    assert (sound["transfer"], sound["unbounded"], sound["longer"]) == (52.5, 1.0, {"20": 31.5, "60": 29.5})
    *_, of_shaky, of_sound = text.splitlines()
    assert "**INVALID, does not hold: transfer is not stronger**" in of_shaky
    assert of_sound.startswith(
        "| sourcesep-cm | 60.50 | 28.50 | 11.50 | 0 80.50; 1 48.50; 4 31.50 "
        "| 1 58.50; 4 50.50 | at 1: dominant 41.50;"
    )
    assert "| hold |" in of_sound
    assert of_sound.endswith("| 20 | not noted |")


def test_the_report_of_corruptions_is_a_mean_over_severities() -> None:
    rows = [corrupted("none", 0, 60.0), *(corrupted("fog", severity, 60.0 - severity) for severity in (1, 2))]
    rows.append(corrupted("snow", 1, 40.5))
    document, text = report_parts(["corruptions"], rows)
    (found,) = document["corruptions"]
    assert (found["clean"], found["by_corruption"]) == (60, {"fog": 58.5, "snow": 40.5})
    assert found["left"] == round((59 + 58 + 40.5) / 3, 2)
    assert "| fog 58.50; snow 40.50 |" in text.splitlines()[-1]
    # Nothing is a mean over what some seed was not shown.
    rows += [corrupted("none", 0, 61.0, seed=1), corrupted("rain", 1, 50.0, seed=1)]
    document, text = report_parts(["corruptions"], rows)
    assert (document["corruptions"][0]["left"], document["corruptions"][0]["seeds"]) == (None, [])
    assert text.splitlines()[-1].startswith("| baseline | 60.50 | – |")


def test_a_report_of_the_study_has_every_part() -> None:
    document, text = report_parts(["universal", "adaptive", "corruptions", "matrix"], [])
    assert document == {"losses": [], "attacks": [], "corruptions": [], "crossed": []}
    assert text.count("not measured yet") == 4
    made = [row(60.0, None, "baseline"), row(50.0, uap(name="uap on mixup"), "baseline")]
    assert [one["perturbation"] for one in report_parts(["matrix"], made)[0]["crossed"]] == ["uap on mixup"]
    assert report_parts(["universal"], made)[0] == {"losses": []}


def test_what_was_shown_other_images_or_attacked_otherwise_does_not_stand_beside_the_others() -> None:
    few = [one | {"experiment": "baseline", "eval_digest": "few"} for one in studied(0)]
    other = [one | {"experiment": "mixup"} for one in few]
    longer = [
        one
        | {
            "experiment": "cutmix",
            "condition": one["condition"] | {"making": one["condition"]["making"] | {"steps": 40}},
        }
        for one in few
        if one["condition"]["making"]["steps"] == 20
    ]
    found = curves([*studied(0), *few, *other, *longer])
    assert {(one.experiment, one.steps) for one in found} == {
        ("sourcesep-cm", 20), ("baseline", 20), ("mixup", 20), ("cutmix", 40),
    }  # fmt: skip
    assert {(one.experiment, one.steps, one.digest == "few") for one in comparable(found)} == {
        ("baseline", 20, True),
        ("mixup", 20, True),
    }
    listed = corruptions(
        [corrupted("none", 0, 60.0), corrupted("none", 0, 50.0, eval_digest="few", eval_images=9)]
    )
    (kept,) = comparable(listed)  # of as many the longer list
    assert (len(listed), kept.images, comparable([])) == (2, 10, [])


def test_what_other_code_found_is_not_put_together() -> None:
    def by_code(code: str | None, *rows: Any) -> list[Any]:
        making = {} if code is None else {"code": code}
        return [
            one | {"condition": one["condition"] | {"making": one["condition"]["making"] | making}}
            for one in rows
        ]

    old, new = by_code("old", *studied(0)), by_code("new", *studied(1))
    assert (curve_of([*old, *new]).code, curve_of([*new, *old]).code) == ("new", "old")  # of as many the last
    most = curve_of([*by_code(None, *studied(2), *studied(3)), *new])
    assert (most.code, set(most.by_epsilon[1.0])) == (None, {2, 3})
    assert curve_of([*old, *by_code("new", *studied(0))]).code == "new"  # the last study of a seed counts
    other = [one | {"experiment": name} for name in ("baseline", "mixup") for one in new]
    beside = comparable(curves([*old, *other]))
    assert {(one.experiment, one.code) for one in beside} == {("baseline", "new"), ("mixup", "new")}


def test_each_seed_has_a_worst_aim_of_its_own() -> None:
    curve = curve_of([*studied(0, "joint"), *studied(1, "dominant")])
    assert curve.by_epsilon == {0.0: {0: 60, 1: 61}, 1.0: {0: 28, 1: 29}, 4.0: {0: 11, 1: 12}}
    assert curve.by_aim["joint"] == {0: 31, 1: 42}
    assert curve.passes == curve_of(studied(0)).passes  # of one network
    assert curve.longer == {20: {0: 31, 1: 32}, 60: {0: 29, 1: 30}}


def test_a_check_that_failed_with_one_seed_makes_the_curve_invalid_and_the_report_says_so() -> None:
    rows = [*studied(0), *studied(1, failed=("transfer is not stronger",))]
    curve = curve_of(rows)
    assert (curve.valid, curve.failed) == (False, ("transfer is not stronger",))
    invalid = [one | {"condition": one["condition"] | {"valid": False}} for one in rows if one["seed"] == 1]
    entries = measured(rows + invalid, METHODS["sourcesep-cm"], perturbation="sea")
    declared = asdict(TABLES[6][0]) | {"experiment": "sourcesep-cm"}
    measured_in = {"sketch": {str(place): entry for place, entry in enumerate(entries)}}
    text = as_markdown([declared | {"measured": measured_in}])
    lines = [line for line in text.splitlines() if "epsilon 4.0" in line]
    # Valid and invalid rows are never averaged.
    assert len(lines) == 2
    assert [("**a sanity check failed**" in line) for line in lines].count(True) == 1


def test_the_last_study_of_a_seed_counts() -> None:
    """An earlier one that failed, with another worst aim, leaves nothing behind; other seeds stay."""
    before = studied(0, "dominant", failed=("transfer is not stronger",))
    now, other = studied(0), studied(1)
    assert curve_of(before + other + now) == curve_of(other + now)
    assert curve_of(before + other + now).valid
    assert not curve_of(now + other + before).valid


def test_seeds_that_were_attacked_longer_or_otherwise_are_no_part_of_a_mean() -> None:
    longer = [
        one | {"condition": one["condition"] | {"making": one["condition"]["making"] | {"steps": 100}}}
        for one in studied(2)
        if one["condition"]["making"].get("steps") != 60
    ]
    for rows in (studied(0) + studied(1) + longer, longer + studied(0) + studied(1)):
        assert curve_of(rows) == curve_of(studied(0) + studied(1))
    for rows in (studied(0) + longer, longer + studied(0)):
        assert curve_of(rows) == curve_of(longer)
        assert curve_of(rows).steps == 100


def test_what_is_left_has_an_interval_over_images(tmp_path: Path) -> None:
    """Of twenty images ten are right, or all of them: the choice of images moves only the first."""

    def of(right: int, seed: int) -> list[Any]:
        single = np.repeat([[[1, 0], [0, 1]], [[0, 1], [1, 0]]], [right, 20 - right], axis=0)
        names = {f"stage2 {output}": sparse(single) for output in ("dominant", "final")}
        path = tmp_path / f"{right}.npz"
        ids = tuple(map(str, range(20)))
        save_confusions(path, ImageConfusions(ids=ids, categories=("background", "cat"), matrices=names))
        return [one | {"per_image": str(path)} for one in studied(seed)]

    half, all_right = curve_of(of(10, 0)), curve_of(of(20, 0))
    for epsilon in half.by_epsilon:
        low, high = half.over_images(epsilon) or (np.nan, np.nan)
        assert 10 < low < 100 / 3 < high < 70  # ten right of twenty are an IoU of a third
        assert all_right.over_images(epsilon) == (100, 100)
        assert half.over_images(epsilon, half) == (0, 0)
        low, high = all_right.over_images(epsilon, half) or (np.nan, np.nan)
        assert 30 < low < 200 / 3 < high < 90
    # Over seeds as well: one of them has all right.
    two = curve_of(of(10, 0) + of(20, 1))
    low, high = two.over_images(1.0) or (np.nan, np.nan)
    assert low < 60
    assert high == 100
    assert two.over_images(1.0, half) == (0, 0)  # seed 0 alone is shared
    # Without the matrices, with no seed in common, at a size that was not tried.
    assert curve_of(studied(0)).over_images(1.0) is None
    assert half.over_images(1.0, curve_of(of(10, 1))) is None
    elsewhere = curve_of([one | {"eval_digest": "0" * 16} for one in of(20, 0)])
    assert half.over_images(1.0, elsewhere) is None  # as many images, but others
    assert half.over_images(3.0) is None


def test_images_and_settings_have_curves_of_their_own() -> None:
    rows = studied(0)
    for changes in ({"eval_digest": "0" * 16}, {"precision": "bf16"}):
        found = curves(rows + [one | changes for one in rows])
        assert [curve.by_epsilon for curve in found] == [curve_of(rows).by_epsilon] * 2
    assert curves(rows[:-4]) == []  # the worst of each image is the last row: without it nothing is whole
    assert curves([]) == []


# Corruptions


def corrupted(name: str, severity: int, miou: float, seed: int = 0, **changes: Any) -> Any:
    condition = ATTACKED | {"kind": "corruption", "name": name, "severity": severity, "epsilon": None}
    return row(miou, condition, seed=seed, **changes)


def test_corruptions_are_averaged_over_a_family_and_severities() -> None:
    rows = [
        corrupted("none", 0, 60.0), corrupted("fog", 1, 50.0), corrupted("fog", 5, 20.0),
        corrupted("snow", 1, 40.0), corrupted("snow", 5, 30.0), corrupted("contrast", 1, 10.0),
        corrupted("fog", 1, 1.0, reported=False),
        row(5.0),
    ]  # fmt: skip
    (found,) = corruptions(rows)
    assert (found.experiment, found.images, found.clean) == ("baseline", 10, {0: 60})
    assert ("none", 0) not in found.left
    assert found.mean(("fog", "snow")) == {0: 35}
    assert found.mean(("fog", "snow"), 5) == {0: 25}
    assert found.mean(("fog",), 1) == {0: 50}
    assert found.mean(("rain",)) == {}
    more = [corrupted("none", 0, 61.0, 1), corrupted("fog", 1, 52.0, 1)]
    (both,) = corruptions(rows + more)
    assert both.mean(("fog",), 1) == {0: 50, 1: 52}
    assert both.mean(("fog",)) == {0: 35}  # seed 1 was not shown all of them
    assert corruptions([one for one in rows if (one["condition"] or {}).get("name") != "none"]) == []
