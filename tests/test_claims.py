"""Verdicts on the paper's claims, from rows made up so that the answer is known."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_results import ATTACKED, ROW

from segmix_core.data.label_table import read_label_table
from segmix_core.experiments import METHODS, find_experiment
from segmix_core.experiments.paper import COMPANIONS
from segmix_core.metrics import ImageConfusions, save_confusions, sparse
from segmix_core.pairing_statistics import published_epoch
from segmix_core.report import figures, measured
from segmix_core.report.claims import (
    BIAS,
    CLAIMS,
    EPOCH,
    IMAGES_NEEDED,
    NEGLIGIBLE,
    NEVER_MEET,
    _holds,
    holds_as_printed,
    judge,
    printed_value,
)
from segmix_core.report.tables import compared, scale_in, told_apart
from segmix_core.verdicts import judge_claims

SEEDS = (0, 1, 2)


def rows_of(name: str, *values: float, stage: int = 2, output: str = "dominant", **changes: Any) -> list[Any]:
    """A row for each seed."""
    experiment = find_experiment(name)
    return [
        ROW
        | {
            "experiment": name,
            "method": asdict(experiment.method),
            "method_digest": experiment.digest(),
            "metrics": ROW["metrics"] | {"mIoU": value},
            "seed": seed,
            "stage": stage,
            "output": output,
            "eval_images": 100,
        }
        | changes
        for seed, value in enumerate(values)
    ]


def verdict_on(number: int, rows: list[Any], **given: Any) -> Any:
    judged = [one for one in judge(rows, **given) if one.claim.number == number]
    assert len(judged) == 1
    return judged[0]


def table1(**changes: tuple[float, ...]) -> list[Any]:
    """Rows in the order that claim 1 says, a point apart on each of three seeds."""
    order = ("mixup", "baseline", "cutmix", "sourcesep-cc", "sourcesep-cm")
    rows = []
    for place, name in enumerate(order):
        values = changes.get(name.replace("-", "_"), tuple(40 + place + 0.1 * seed for seed in SEEDS))
        rows += rows_of(name, *values)
    return rows


def test_the_fifteen_claims_are_numbered() -> None:
    assert [claim.number for claim in CLAIMS] == list(range(1, 16))
    assert all(claim.contrasts for claim in CLAIMS)


def test_nothing_measured_is_said() -> None:
    assert [(one.verdict, one.without_rows) for one in judge([])] == [("undecided", "no judged rows")] * 15
    assert {one.in_words for one in judge([])} == {"undecided (no judged rows)"}


def test_a_claim_whose_every_part_holds_is_supported() -> None:
    found = verdict_on(1, table1())
    assert found.verdict == "supported"
    assert {finding.holds for finding in found.findings} == {"yes"}
    assert found.findings[0].mean == pytest.approx(3)
    assert found.findings[0].printed == pytest.approx(1.8)
    assert found.findings[0].seeds == 3


def test_one_part_that_is_contradicted_refutes_it() -> None:
    found = verdict_on(1, table1(sourcesep_cm=(40.0, 40.1, 40.2)))
    assert found.verdict == "not supported"
    assert [finding.holds for finding in found.findings] == ["no", "no", *["yes"] * 5]


def test_what_no_sentence_says_is_shown_and_decides_nothing() -> None:
    found = verdict_on(1, table1(baseline=(40.5, 40.6, 40.7), mixup=(41.5, 41.6, 41.7)))
    assert [finding.contrast.said for finding in found.findings] == [*[True] * 5, False, False]
    assert [finding.holds for finding in found.findings][-1] == "no"
    assert (found.verdict, found.with_tables) == (
        "supported",
        "not supported",
    )  # and what it would decide, said
    assert found.in_words == "supported (with ours: not supported)"
    assert verdict_on(1, table1()).in_words == verdict_on(1, table1()).with_tables == "supported"
    alone = [row for row in table1() if row["experiment"] in ("mixup", "baseline")]
    assert verdict_on(1, alone).verdict == "undecided"


@pytest.mark.parametrize(
    "cm",
    [
        (44.0, 44.0),  # two seeds
        (49.0, 41.0, 44.2),  # seeds that disagree
    ],
)
def test_what_seeds_do_not_settle_is_undecided(cm: tuple[float, ...]) -> None:
    found = verdict_on(1, table1(sourcesep_cm=cm))
    assert found.verdict == "undecided"
    assert found.findings[0].holds == "undecided"


def test_a_claim_with_a_part_not_measured_is_undecided() -> None:
    rows = [row for row in table1() if row["experiment"] != "mixup"]
    found = verdict_on(1, rows)
    assert found.verdict == "undecided"
    assert len(found.findings) == 5  # without two in which Mixup stands
    assert {finding.holds for finding in found.findings} == {"yes"}


def test_no_worse_is_less_than_better() -> None:
    same = (41.2, 41.3, 41.1)  # beside a baseline of 41.0, 41.1, 41.2
    found = verdict_on(1, table1(cutmix=same))
    assert found.findings[5].contrast.expected == "not below"
    assert found.findings[5].holds == "yes"
    worse = verdict_on(1, table1(cutmix=(39.0, 39.1, 39.2)))
    assert worse.findings[5].holds == "no"
    a_little = verdict_on(1, table1(cutmix=(40.2, 40.1, 40.2)))  # 0.93 below, give or take 0.29
    assert a_little.findings[5].holds == "undecided"
    better_wanted = verdict_on(1, table1(sourcesep_cc=(42.1, 42.0, 42.3), cutmix=(42.0, 42.1, 42.2)))
    assert better_wanted.findings[3].holds == "undecided"


def test_a_handful_of_images_decides_nothing() -> None:
    assert {finding.fewest for finding in verdict_on(1, table1()).findings} == {100}
    for images, expected in ((IMAGES_NEEDED, "supported"), (IMAGES_NEEDED - 1, "undecided")):
        found = verdict_on(1, [row | {"eval_images": images} for row in table1()])
        assert (found.verdict, found.findings[0].fewest) == (expected, images)
        assert found.findings[5].holds == ("yes" if expected == "supported" else "undecided")  # no worse


def test_settings_are_judged_apart() -> None:
    elsewhere = [row | {"scale": "paper"} for row in table1(sourcesep_cm=(30.0, 30.1, 30.2))]
    judged = [one for one in judge(table1() + elsewhere) if one.claim.number == 1]
    assert {one.setting: one.verdict for one in judged} == {
        "silhouettes, sketch": "supported",
        "silhouettes, paper": "not supported",
    }


def test_settings_that_sound_alike_have_names_of_their_own() -> None:
    half = [row | {"precision": "bf16"} for row in table1(sourcesep_cm=(30.0, 30.1, 30.2))]
    judged = {one.setting: one.verdict for one in judge(table1() + half) if one.claim.number == 1}
    common = "silhouettes, sketch"
    assert judged == {
        f"{common}, from random weights, float32, mean over all categories": "supported",
        f"{common}, from random weights, bf16, mean over all categories": "not supported",
    }
    assert verdict_on(1, table1()).setting == common
    pretrained = [row | {"weights": {"name": "made.safetensors"}} for row in table1()]
    named = {one.setting for one in judge(table1() + pretrained) if one.claim.number == 1}
    assert {scale_in(name) for name in (common, *judged, *named)} == {"sketch"}
    assert named == {f"{common}, from random weights", f"{common}, from made.safetensors"}


def test_contrasts_are_drawn_in_a_panel_for_each_setting() -> None:
    larger = [row | {"scale": "paper"} for row in table1(sourcesep_cm=(30.0, 30.1, 30.2))]
    judged = [one for one in judge(table1() + larger) if one.claim.number == 1]
    figure = figures.contrast_points(judged)
    assert [axis.get_title(loc="left") for axis in figure.axes] == [one.setting for one in judged]
    for axis, one in zip(figure.axes, judged, strict=True):
        names = [label.get_text() for label in axis.get_yticklabels()]
        assert names == [f"1: {finding.contrast.what}" for finding in one.findings]
        dots = [container.lines[0].get_xdata()[0] for container in axis.containers]
        assert dots == pytest.approx([finding.mean for finding in one.findings])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["holds", "contradicted"]
    (axis,) = figures.contrast_points([]).axes
    assert axis.texts[0].get_text() == "not measured yet"


def test_names_are_as_short_as_tells_them_apart() -> None:
    parts = [("a", "x", "1"), ("a", "y", "1"), ("b", "y", "1"), ("a", "x", "2"), ("a", "x", "2")]
    assert told_apart(parts) == ["a, x, 1", "a, y", "b", "a, x, 2 (1)", "a, x, 2 (2)"]
    assert told_apart(parts[:1]) == ["a"]


@pytest.mark.parametrize("scale", ["smoke", "demo"])
def test_short_runs_are_never_judged(scale: str) -> None:
    assert (
        verdict_on(1, [row | {"scale": scale} for row in table1()]).in_words == "undecided (no judged rows)"
    )


def test_denoising_is_read_against_the_stage_1_of_the_same_runs() -> None:
    rows = []
    for name, gain in (("sourcesep-cc", 2.0), ("sourcesep-cm", 1.0)):
        rows += rows_of(name, *(50 + seed for seed in SEEDS), stage=1, output="final")
        rows += rows_of(name, *(50 + seed + gain for seed in SEEDS))
    for short in ("cc", "cm"):
        longer = find_experiment(f"table8/sourcesep-{short}-mixed").name
        rows += rows_of(longer, *(50.5 + seed for seed in SEEDS), output="final")
    found = verdict_on(9, rows)
    assert found.verdict == "supported"
    assert [finding.mean for finding in found.findings] == pytest.approx([2, 1, 1.5, 0.5, 1])
    swapped = [row | {"stage": 3 - row["stage"]} for row in rows if row["experiment"] in METHODS]
    assert verdict_on(9, swapped).in_words == "undecided (no judged rows)"


def test_pairs_are_judged_without_any_network() -> None:
    shares = {
        ("mixup", BIAS): dict.fromkeys(SEEDS, 20.0),
        ("sourcesep-cc", BIAS): {0: 15.0, 1: 15.5, 2: 16.0},
        ("sourcesep-cm", BIAS): {0: 40.0, 1: 41.0, 2: 42.0},
    }
    found = verdict_on(15, [], pairs=shares)
    assert (found.verdict, found.setting) == ("not supported", "label statistics of VOC")
    shares[("sourcesep-cm", BIAS)] = {0: 10.0, 1: 11.0, 2: 12.0}
    assert verdict_on(15, [], pairs=shares).verdict == "supported"
    noise = {("sourcesep-cc", NEVER_MEET): {0: 50.0}, ("sourcesep-cm", NEVER_MEET): {0: 1.0}}
    found = verdict_on(14, [], pairs=noise)
    assert (found.verdict, [finding.mean for finding in found.findings]) == ("undecided", [49.0])


def test_pairs_are_counted_on_no_images() -> None:
    few = [
        row | {"eval_images": IMAGES_NEEDED - 1}
        for name in ("sourcesep-cc", "sourcesep-cm")
        for stage, output in ((1, "final"), (2, "dominant"))
        for row in rows_of(name, 50, 51, 52, stage=stage, output=output)
    ]
    noise = {
        ("sourcesep-cc", NEVER_MEET): dict.fromkeys(SEEDS, 50.0),
        ("sourcesep-cm", NEVER_MEET): dict.fromkeys(SEEDS, 1.0),
    }
    pairs, gain = verdict_on(14, few, pairs=noise).findings
    assert (pairs.fewest, pairs.images, pairs.holds) == (None, None, "yes")
    assert (gain.fewest, gain.holds) == (IMAGES_NEEDED - 1, "undecided")


def test_the_cost_of_clusters_is_the_stored_set_of_blends() -> None:
    """15,555 memberships of train_aug, each blended with 19 other categories (R14)."""
    presence = read_label_table().presence("train_aug")
    assert published_epoch("clusters", presence) == 15_555 * 19 == 295_545
    assert published_epoch("cooccurrence", presence) == len(presence) == 10_582
    (found,) = [one for one in judge_claims([]) if one.claim.number == 13]
    assert (found.verdict, found.setting) == ("supported", "label statistics of VOC")
    assert (found.without_rows, found.in_words) == ("by construction", "supported (by construction)")
    assert found.findings[0].mean == pytest.approx(284.963)
    assert (found.findings[0].holds, found.findings[0].half_width_95) == ("counted", None)
    fewer = {("sourcesep-cc", EPOCH): {0: 1.0}, ("sourcesep-cm", EPOCH): {0: 2.0}}
    assert verdict_on(13, [], pairs=fewer).in_words == "not supported (by construction)"


def test_attacked_rows_are_in_no_clean_contrast() -> None:
    attacked = [row | {"metrics": {"mIoU": 1.0}, "condition": ATTACKED} for row in table1()]
    expected = verdict_on(1, table1())
    assert verdict_on(1, attacked + table1()) == expected
    assert verdict_on(1, table1() + attacked) == expected
    assert verdict_on(1, attacked).in_words == "undecided (no judged rows)"


def attacked_rows(
    name: str, clean: float, lost: float, epsilon: float = 10, noise: float = 1, **changes: Any
) -> list[Any]:
    """Three seeds, clean, under each perturbation of Table 6, and under noise that takes so many points."""
    rows = rows_of(name, *(clean + seed for seed in SEEDS))
    for perturbation in ("uap-resnet152", "uap-googlenet", "gd-uap-none", "gd-uap-data", "gd-uap-part"):
        condition = ATTACKED | {"name": perturbation, "epsilon": epsilon} | changes
        rows += rows_of(name, *(clean - lost + seed for seed in SEEDS), condition=condition)
        condition = condition | {"control": "shuffled"}
        rows += rows_of(name, *(clean - noise + seed for seed in SEEDS), condition=condition)
    return rows


def test_losses_under_attack_are_paired_at_one_size() -> None:
    """CC loses 3 points at epsilon 10, CM 5, the others 9, 7 and 11; at 2 nobody but CC was measured."""
    rows = [
        *attacked_rows("sourcesep-cc", 60, 3),
        *attacked_rows("sourcesep-cm", 55, 5),
        *attacked_rows("baseline", 50, 9),
        *attacked_rows("mixup", 50, 7),
        *attacked_rows("cutmix", 50, 11),
    ]
    beyond = pytest.approx([6, 4, 4, 2, 8, 6])
    at_2 = attacked_rows("sourcesep-cc", 60, 30, epsilon=2)[3:]
    elsewhere = [row | {"device": "NVIDIA"} for row in at_2]  # another training
    for others in (at_2, elsewhere):
        for order in ([*others, *rows], [*rows, *others]):
            assert [one.mean for one in verdict_on(6, order).findings] == beyond
    rows = [*at_2, *rows]
    assert [finding.mean for finding in verdict_on(6, rows).findings] == beyond
    assert verdict_on(7, rows).findings[0].mean == pytest.approx(2)
    assert verdict_on(6, rows).verdict == verdict_on(7, rows).verdict == "supported"
    failed = [row | {"condition": row["condition"] and row["condition"] | {"valid": False}} for row in rows]
    assert verdict_on(6, failed).in_words == "undecided (no judged rows)"


@pytest.mark.parametrize(
    ("noise", "expected"),
    [(1, "supported"), (8.4, "supported"), (8.6, "undecided"), (9.1, "undecided"), (None, "undecided")],
)
def test_what_takes_no_more_than_noise_is_no_attack(noise: float | None, expected: str) -> None:
    """The others lose 9 points. Where noise takes as many, or hardly fewer, nothing was attacked."""
    rows = [
        row
        for name, lost in zip(METHODS, (9, 9, 9, 3, 5), strict=True)
        for row in attacked_rows(
            name, 60, lost, noise=min(noise or 0, lost - 0.1) if lost < 9 else noise or 0
        )
        if noise is not None or row["condition"] is None or row["condition"]["control"] is None
    ]
    found = verdict_on(6, rows)
    assert found.verdict == expected
    assert {finding.is_attack for finding in found.findings} == {expected == "supported"}
    assert [finding.mean for finding in found.findings] == pytest.approx([6, 4] * 3)


@pytest.mark.parametrize(
    ("taken", "last", "expected"),
    [
        ((4.9, 4.9, 4.9), 0.0, "supported"),
        ((5.1, 5.1, 5.1), 5.1, "undecided"),
        ((1.0, 1.0, 5.1), 5.1, "undecided"),  # it has to be an attack with each seed
        ((5.3, 5.3, 5.3), 0.0, "supported"),  # over the perturbations together
        ((8.0, 8.0, 8.0), 0.0, "undecided"),
    ],
)
def test_noise_is_the_most_harmful_control(taken: tuple[float, ...], last: float, expected: str) -> None:
    """CM loses 5 points, CC 3. Of CM a second control takes `taken`, or `last` beside one perturbation."""
    rows = [*attacked_rows("sourcesep-cc", 60, 3), *attacked_rows("sourcesep-cm", 55, 5)]
    for name in ("uap-resnet152", "uap-googlenet", "gd-uap-none", "gd-uap-data", "gd-uap-part"):
        condition = ATTACKED | {"name": name, "control": "uniform"}
        points = [last] * 3 if name == "gd-uap-part" else taken
        rows += rows_of("sourcesep-cm", *(55 + seed - points[seed] for seed in SEEDS), condition=condition)
    found = verdict_on(7, rows)
    assert found.findings[0].mean == pytest.approx(2)
    assert found.verdict == expected


def test_the_rule_of_claims_tells_two_outputs_of_one_network_apart() -> None:
    cm = METHODS["sourcesep-cm"]
    rows = rows_of("sourcesep-cm", 60.0, 60.1, 60.2)
    rows += rows_of("sourcesep-cm", 50.0, 50.1, 50.3, output="final")
    where = measured(rows, cm)[0]["setting"]

    def told(*outputs: str | None) -> str:
        return compared(rows, cm, cm, where, outputs=outputs)  # type: ignore[arg-type]

    assert told(None, "final") == told("dominant", "final") == "higher"
    assert told("final", None) == "lower"
    assert told(None, "dominant") == "undecided"


def test_of_several_measurements_the_first_counts_and_of_attacks_the_last() -> None:
    later = [row | {"seconds": 2.0, "metrics": row["metrics"] | {"mIoU": 1.0}} for row in table1()]
    assert verdict_on(1, table1() + later) == verdict_on(1, table1())
    again = [row for row in attacked_rows("baseline", 50, 7) if row["condition"] is not None]
    rows = [*attacked_rows("sourcesep-cc", 60, 3), *attacked_rows("baseline", 50, 9)]
    assert verdict_on(6, rows).findings[0].mean == pytest.approx(6)
    assert verdict_on(6, rows + again).findings[0].mean == pytest.approx(4)


def test_a_drop_is_that_of_one_network() -> None:
    """Another training of the same seed, on another device, lends its clean score to nobody."""
    elsewhere = [
        row | {"device": "NVIDIA", "metrics": {"mIoU": 99.0}} for row in rows_of("baseline", 0, 0, 0)
    ]
    rows = [*elsewhere, *attacked_rows("sourcesep-cc", 60, 3), *attacked_rows("baseline", 50, 9)]
    assert verdict_on(6, rows).findings[0].mean == pytest.approx(6)


def test_one_sum_is_about_the_same_pixels() -> None:
    """A perturbation that was crafted anew is another one."""
    old, new = ({"making": {"sha256": name}} for name in ("old", "new"))
    cc = attacked_rows("sourcesep-cc", 60, 3, **old)
    rows = [*cc, *attacked_rows("baseline", 50, 9, **new)]
    assert verdict_on(6, rows).in_words == "undecided (no judged rows)"
    rows += [row for row in attacked_rows("baseline", 50, 7, **old) if row["condition"] is not None]
    assert verdict_on(6, rows).findings[0].mean == pytest.approx(4)


def test_every_seed_is_shown_one_making_of_a_perturbation() -> None:
    """Methods of one seed stand on the same pixels; another seed may be shown another crafting."""
    old, new = ({"making": {"sha256": name}} for name in ("old", "new"))
    mixed = [row for row in attacked_rows("baseline", 60, 30, **old) if row["seed"] == 0]
    mixed += [row for row in attacked_rows("baseline", 60, 3, **new) if row["seed"] > 0]

    def read(name: str, rows: list[Any]) -> list[Any]:
        return [of["by_seed"] for of in measured(rows, METHODS[name], perturbation="gd-uap-none")]

    assert read("baseline", mixed) == [{"0": 30, "1": 58, "2": 59}]
    assert measured(mixed, METHODS["baseline"])[0]["seeds"] == [0, 1, 2]
    # Two methods were shown the new pixels with seed 0: the baseline's of the old ones stand beside neither.
    others = [row for name in ("mixup", "sourcesep-cc") for row in attacked_rows(name, 60, 4, **new)]
    for order in (mixed + others, others + mixed):
        assert read("baseline", order) == [{"1": 58, "2": 59}]
        assert read("mixup", order) == [{"0": 56, "1": 57, "2": 58}]
        over_baseline = verdict_on(6, order).findings[0]
        assert (over_baseline.mean, over_baseline.seeds) == (pytest.approx(-1), 2)


def test_one_sum_is_about_one_list_of_images() -> None:
    """A network attacked on ten images is not held against its score on all of them."""
    few = [row for row in attacked_rows("sourcesep-cc", 60, 3) if row["condition"]]
    few = [row | {"eval_digest": "ten images", "eval_images": 10} for row in few]
    rows = [*few, *rows_of("sourcesep-cc", 60, 60, 60), *attacked_rows("baseline", 50, 9)]
    assert verdict_on(6, rows).in_words == "undecided (no judged rows)"
    more = [row | {"eval_digest": "ten images"} for row in rows_of("sourcesep-cc", 62.0, 63.0, 64.0)]
    more += [row | {"eval_digest": "ten images"} for row in attacked_rows("baseline", 50, 9)]
    (over_cc,) = verdict_on(6, [*rows, *more]).findings
    assert over_cc.mean == pytest.approx(4)


@pytest.mark.parametrize(
    "changed",
    [{"protocol": "full"}, {"crop": 32}, {"eval_digest": "other"}, {"eval_dataset": "voc2012"}],
    ids=str,
)
def test_one_sum_is_read_in_one_way(changed: dict[str, Any]) -> None:
    rows = table1()
    found = verdict_on(1, [row | changed if row["experiment"] == "baseline" else row for row in rows])
    assert [finding.contrast.what for finding in found.findings] == [
        "sourcesep-cm - sourcesep-cc", "sourcesep-cc - cutmix", "sourcesep-cc - mixup",
    ]  # fmt: skip
    assert verdict_on(1, [row | changed for row in rows]).verdict == "supported"


def test_a_claim_is_about_the_data_and_the_list_that_it_names() -> None:
    coco = [row | {"eval_dataset": "coco", "dataset": "coco"} for row in table1()]
    assert verdict_on(1, coco).in_words == "undecided (no judged rows)"
    assert verdict_on(2, coco).verdict == "supported"
    assert verdict_on(2, table1()).in_words == "undecided (no judged rows)"
    for split, expected in (("outofcontext", ["out of context: CC - CM"]), ("incontext", [])):
        scenes = [row | {"eval_dataset": "silhouettes-outofcontext", "eval_split": split} for row in table1()]
        assert [finding.contrast.what for finding in verdict_on(5, scenes).findings] == expected
        assert verdict_on(1, scenes).in_words == "undecided (no judged rows)"


def test_images_that_disagree_leave_it_undecided(tmp_path: Path) -> None:
    """Three equal seeds would settle it, but one image of two carries the whole difference."""
    rows = []
    for name, hit in (("sourcesep-cm", 100), ("baseline", 0)):
        matrices = np.zeros((2, 2, 2), dtype=np.int64)
        matrices[0] = [[100, 0], [0, 100]] if hit else [[100, 0], [100, 0]]
        matrices[1] = [[100, 0], [0, 100]] if not hit else [[100, 0], [90, 10]]
        confusions = ImageConfusions(
            ids=("a", "b"), categories=("background", "cat"), matrices={"stage2 dominant": sparse(matrices)}
        )
        save_confusions(tmp_path / f"{name}.npz", confusions)
        rows += rows_of(name, *((70.0, 70.1, 70.2) if hit else (60.0, 60.1, 60.2)))
        for row in rows[-3:]:
            row["per_image"] = str(tmp_path / f"{name}.npz")
    found = verdict_on(1, rows)
    assert found.findings[0].mean == pytest.approx(10)
    assert found.findings[0].images is not None
    assert found.findings[0].images[0] < 0 < found.findings[0].images[1]
    assert found.findings[0].holds == "undecided"
    without = [row | {"per_image": None} for row in rows]
    assert verdict_on(1, without).findings[0].holds == "yes"
    swapped = [tmp_path / f"{name}.npz" for name in ("baseline", "sourcesep-cm")]
    later = [row | {"per_image": str(swapped[place // 3])} for place, row in enumerate(rows)]
    assert verdict_on(1, rows + later) == found  # the first measurement with each seed, as in the mean


def test_a_subset_and_a_category_are_what_the_bootstrap_counts(tmp_path: Path) -> None:
    """CM is better on horses beside a person, worse on all images: only the subset may be counted."""
    images, beside = 80, 60
    subsets = {}
    for thing in COMPANIONS:
        subsets[f"with-person/{thing}"] = np.arange(images) < beside
        subsets[f"alone/{thing}"] = np.arange(images) < 1  # one image decides nothing
    # Fewer for each category than are needed: of a mean over five, the images of all five count.
    for place, thing in enumerate(COMPANIONS):
        subsets[f"with-person/{thing}"] = np.arange(images) // 12 == place
    rows = []
    for name, right in (("sourcesep-cm", (90, 10)), ("baseline", (60, 80)), ("sourcesep-cc", (50, 50))):
        matrices = np.zeros((images, 6, 6), dtype=np.int64)
        for category in range(1, 6):
            matrices[:beside, category, category] = right[0]
            matrices[beside:, category, category] = right[1]
            matrices[:, category, 0] = 100 - matrices[:, category, category]
        confusions = ImageConfusions(
            ids=tuple(map(str, range(images))),
            categories=("background", *COMPANIONS),
            matrices={"stage2 dominant": sparse(matrices)},
            subsets=subsets,
        )
        save_confusions(tmp_path / f"{name}.npz", confusions)
        rows += rows_of(name, 1.0, 1.0, 1.0, per_image=str(tmp_path / f"{name}.npz"), eval_images=images)
    for number, row in enumerate(rows):
        row["metrics"] = row["metrics"] | {"iou_per_category": {}, "mIoU": 1.0 + number}
    _, _, change, beside_person, alone, _ = verdict_on(4, rows).findings
    assert beside_person.mean == pytest.approx(30)
    assert beside_person.images == pytest.approx((30, 30))
    assert (beside_person.fewest, beside_person.holds) == (60, "yes")
    assert (alone.fewest, alone.holds) == (1, "undecided")
    assert alone.images == (-math.inf, math.inf)  # most draws hold no image of one of the lists
    assert (beside_person.over_images, alone.over_images) == ("+30.00 to +30.00", "not known")
    assert (change.fewest, change.mean) == (1, pytest.approx(0))
    assert alone.mean == pytest.approx(30)


@pytest.mark.parametrize(
    ("fewest", "training", "holds"), [(12, 10_582, "undecided"), (24, 10_582, "yes"), (24, 2400, "undecided")]
)
def test_of_lists_within_each_other_the_smallest_counts_and_of_voc_alone(
    tmp_path: Path, fewest: int, training: int, holds: str
) -> None:
    """Fig. 5: what is rare at 10 is rare at 50, so that a mean over both hangs on the few.

    On a shorter training list than VOC's more pairs are below its thresholds.
    """
    images = 60
    few = {50: 40, 40: 35, 30: 30, 20: 25, 10: fewest}
    subsets = {f"rare/{threshold}": np.arange(images) < number for threshold, number in few.items()}
    rows = []
    for name, right in (("sourcesep-cm", 90), ("sourcesep-cc", 80), ("baseline", 60)):
        matrices = np.zeros((images, 2, 2), dtype=np.int64)
        matrices[:, 1] = 100 - right, right
        matrices[:, 0, 0] = 100
        confusions = ImageConfusions(
            ids=tuple(map(str, range(images))),
            categories=("background", "cat"),
            matrices={"stage2 dominant": sparse(matrices)},
            subsets=subsets,
        )
        save_confusions(tmp_path / f"{name}.npz", confusions)
        where = {"per_image": str(tmp_path / f"{name}.npz"), "eval_images": images, "images": training}
        rows += rows_of(name, 1.0, 1.0, 1.0, **where)
    rare = [one for one in verdict_on(5, rows).findings if "rare" in str(one.contrast.terms[0][1].subset)]
    assert rare
    assert {(one.fewest, one.holds) for one in rare} == {(fewest, holds)}
    never = {
        name: dict.fromkeys(SEEDS, value) for name, value in (("sourcesep-cc", 50.0), ("sourcesep-cm", 1.0))
    }
    pairs = verdict_on(14, rows, pairs={(name, NEVER_MEET): of for name, of in never.items()}).findings[0]
    assert (pairs.images, pairs.holds) == (None, "yes")  # the matrices tell nothing of pairs


@pytest.mark.parametrize(
    ("mean", "images", "expected"),
    [
        (2.0, None, "yes"),
        (2.0, (0.1, 4.0), "yes"),
        (2.0, (-0.1, 4.0), "undecided"),
        (2.0, (-3.0, -1.0), "undecided"),
        (2.0, (math.nan, math.nan), "undecided"),
        (-2.0, (-3.0, -1.0), "no"),
        (-2.0, (1.0, 3.0), "undecided"),
    ],
)
def test_seeds_and_images_have_to_say_the_same(
    mean: float, images: tuple[float, float] | None, expected: str
) -> None:
    contrasts = CLAIMS[0].contrasts
    assert _holds(contrasts[0], (mean, 0.5, 3), images) == expected
    no_worse = contrasts[5]  # than a point below, that is
    assert no_worse.expected == "not below"
    moved = None if images is None else (images[0] - NEGLIGIBLE, images[1] - NEGLIGIBLE)
    assert _holds(no_worse, (mean - NEGLIGIBLE, 0.5, 3), moved) == expected


def test_no_worse_needs_the_images_as_well(tmp_path: Path) -> None:
    """Three equal seeds a tenth of a point below, but single images differ by far more."""
    rows = []
    for name, right in (("cutmix", (10, 100)), ("baseline", (100, 10))):
        matrices = np.zeros((40, 2, 2), dtype=np.int64)
        for half, hits in enumerate(right):
            matrices[half::2] = [[100, 0], [100 - hits, hits]]
        confusions = ImageConfusions(
            ids=tuple(map(str, range(40))),
            categories=("background", "cat"),
            matrices={"stage2 dominant": sparse(matrices)},
        )
        save_confusions(tmp_path / f"{name}.npz", confusions)
        value = 60.0 if name == "baseline" else 59.9
        rows += rows_of(name, value, value, value, per_image=str(tmp_path / f"{name}.npz"))
    (found,) = verdict_on(1, rows).findings
    assert found.images is not None
    assert found.images[0] < -1 < 1 < found.images[1]
    assert found.holds == "undecided"
    (without,) = verdict_on(1, [row | {"per_image": None} for row in rows]).findings
    assert without.holds == "yes"


def test_contrasts_of_the_printed_numbers_are_the_sums_done_by_hand() -> None:
    """Claim by claim from Tables 1 to 11, ResNet-101 where there are two; None where nothing is printed."""
    table4 = {"mixup": (72.3, 75.4, 59.2, 72.0), "cutmix": (74.3, 76.4, 59.6, 72.3),
              "base": (74.9, 75.5, 62.1, 72.5), "cc": (76.1, 77.9, 62.0, 74.0),
              "cm": (76.1, 78.7, 63.6, 75.4)}  # fmt: skip
    growth = [
        (table4[ours][more] - table4[other][more]) - (table4[ours][less] - table4[other][less])
        for more, less in ((0, 1), (2, 3))  # All-Occ, 1-Occ; 4 categories, 2
        for ours in ("cc", "cm")
        for other in ("mixup", "cutmix", "base")
    ]
    means = {"mixup": (73.85, 73.05, 63.1), "cutmix": (75.35, 74.175, 64.0), "cc": (77.0, 75.875, 65.8333),
             "cm": (77.4, 76.975, 68.2)}  # fmt: skip
    better = [
        means[ours][axis] - means[other][axis]
        for axis in range(3)
        for ours in ("cc", "cm")
        for other in ("mixup", "cutmix")
    ]
    beside = {"base": (87.9, 81.6, 77.7, 89.7, 89.7), "cc": (89.1, 87.2, 78.5, 86.9, 89.0),
              "cm": (89.9, 86.7, 79.3, 88.5, 89.2)}  # fmt: skip
    alone = {"base": (90.9, 91.5, 60.4, 85.4, 96.0), "cc": (94.0, 93.8, 61.5, 87.9, 96.4),
             "cm": (93.6, 95.1, 60.2, 88.2, 96.6)}  # fmt: skip
    beside_mean, alone_mean = ({name: sum(of) / 5 for name, of in each.items()} for each in (beside, alone))
    lost = {
        "base": 75.9 - (59.1 + 63.6 + 66.7 + 63.9 + 64.0) / 5,
        "mixup": 75.2 - (62.9 + 63.2 + 65.3 + 63.2 + 63.6) / 5,
        "cutmix": 76.2 - (60.9 + 64.3 + 64.2 + 62.5 + 62.2) / 5,
        "cc": 77.9 - (69.1 + 70.2 + 68.2 + 67.0 + 67.2) / 5,
        "cm": 78.9 - (63.2 + 67.1 + 67.2 + 65.0 + 64.9) / 5,
    }
    expected: dict[int, list[float | None]] = {
        1: [78.9 - 77.1, 78.9 - 77.9, 77.9 - 77.1, 77.9 - 76.7, 77.9 - 76.2, 76.7 - 77.1, 77.1 - 76.2],
        2: [53.2 - 51.1, 53.2 - 49.5, 53.2 - 47.0, 51.1 - 49.5, 49.5 - 47.0],
        3: [*better, *growth, (72.1 - 70.0) - (80.7 - 74.6)],
        4: [
            *(
                (alone_mean[ours] - beside_mean[ours]) - (alone_mean[other] - beside_mean[other])
                for ours, other in (("cc", "base"), ("cm", "base"), ("cc", "cm"))
            ),
            beside_mean["cm"] - beside_mean["base"],
            alone_mean["cm"] - alone_mean["base"],
            alone_mean["cc"] - alone_mean["cm"],
        ],
        5: [None] * 4,
        6: [
            lost[other] - lost[ours]
            for other, ours in (("base", "cc"), ("base", "cm"), ("mixup", "cc"), ("mixup", "cm"),
                                ("cutmix", "cc"), ("cutmix", "cm"))
        ],
        7: [lost["cm"] - lost["cc"]],
        8: [0.909 - 0.906, 0.045 - 0.043, 0.906 - 0.893, 0.057 - 0.045, 0.906 - 0.903, 0.050 - 0.045],
        9: [77.9 - 76.4, 78.9 - 78.3, None, None, (77.9 - 76.4) - (78.9 - 78.3), None, None],
        10: [76.4 - 76.1, 78.3 - 77.9],
        11: [77.2 - 76.2, 78.3 - 77.2, 78.9 - 78.3, None, None],
        12: [78.3 - 77.2, 78.3 - 77.6, 78.3 - 77.7, 78.3 - 77.0],
        13: [None],
        14: [None, (77.9 - 76.4) - (78.9 - 78.3)],
        15: [None, None],
    }  # fmt: skip
    for claim in CLAIMS:
        found = [printed_value(contrast) for contrast in claim.contrasts]
        for value, by_hand in zip(found, expected[claim.number], strict=True):
            assert value == (None if by_hand is None else pytest.approx(by_hand, abs=1e-4)), claim.number


def test_contrasts_that_nothing_is_printed_of_are_the_differences_that_they_say() -> None:
    def terms_of(number: int, place: int) -> list[tuple[float, str, str | None, str | None]]:
        return [
            (weight, one.experiment.name, one.subset, one.eval_split)
            for weight, one in CLAIMS[number - 1].contrasts[place].terms
        ]

    for place, (first, second) in enumerate((("cc", None), ("cm", None), ("cm", "cc"))):
        names = [f"sourcesep-{short}" if short else "baseline" for short in (first, second)]
        assert sorted(terms_of(5, place), key=str) == sorted(
            (
                (sign / 5, name, f"rare/{threshold}", None)
                for threshold in (10, 20, 30, 40, 50)
                for sign, name in zip((1, -1), names, strict=True)
            ),
            key=str,
        )
    scenes = "outofcontext"
    assert terms_of(5, 3) == [(1, "sourcesep-cc", None, scenes), (-1, "sourcesep-cm", None, scenes)]
    separated, mixup = "table8/sourcesep-cm-mixed", "table10/mixup+cooccurrence"
    assert terms_of(11, 3) == [(1, separated, None, None), (-1, mixup, None, None)]
    assert terms_of(11, 4) == [(1, "sourcesep-cm", None, None), (-1, separated, None, None)]


def test_the_printed_numbers_contradict_two_claims_by_themselves() -> None:
    """Of the printed values alone: gains under full occlusion (Table 4), and CM under attack (Table 6)."""
    growth = {contrast.what: holds_as_printed(contrast) for contrast in CLAIMS[2].contrasts if contrast.said}
    assert [what for what, holds in growth.items() if not holds] == [
        "gain of sourcesep-cm over cutmix, All-Occ - 1-Occ"
    ]
    assert not any(holds_as_printed(contrast) for contrast in CLAIMS[2].contrasts if not contrast.said)
    assert {contrast.what: holds_as_printed(contrast) for contrast in CLAIMS[5].contrasts} == {
        f"{ours} loses less than {other}": ours == "sourcesep-cc"
        for ours in ("sourcesep-cc", "sourcesep-cm")
        for other in ("baseline", "mixup", "cutmix")
    }
    assert [holds_as_printed(contrast) for contrast in CLAIMS[4].contrasts] == [None] * 4
    assert holds_as_printed(CLAIMS[0].contrasts[5])  # -0.4, within what "no worse" forgives
