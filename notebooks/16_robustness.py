# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Is source separation robust?
#
# **Question.** The paper says that source separation loses less under universal perturbations than DeepLabv3, Mixup and CutMix (claim 6), and with categorical
# clusters (CC) less than with co-occurrence (CM, claim 7).
# What do Table 6, common corruptions, adaptive attacks and two real defences say together?
#
# **Costs.** Seconds: it reads committed rows and corrupts one picture; importing the corruptions takes most of them. It trains nothing. The
# rows of corruptions are those of `segmix run corruptions`: 75 passes over some hundred images for each network, minutes of a GPU or half an
# hour of one core at `mini`.

# %% tags=["parameters"]
scale = "smoke"
dataset = "silhouettes"
root = None
seed = 0
device = "cpu"

# %% tags=["remove-cell"]
from collections import defaultdict
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown

from segmix_core import chapter, corruptions, results
from segmix_core.attacks import FITS
from segmix_core.data.transforms import center_crop
from segmix_core.evaluation import ConfusionMatrix
from segmix_core.experiments import DEFENCES, METHODS, SCALES, TABLES
from segmix_core.experiments.robustness import (
    CRAFTED_ON_EACH,
    PARTS,
    STUDIED,
    SURROGATE,
    TOLERANCE,
    UNIVERSALS,
)
from segmix_core.report import figures, paired_difference, robustness, verdict
from segmix_core.report.claims import CLAIMS, NO_EVIDENCE, judge, printed_value
from segmix_core.report.robustness import settings_of
from segmix_core.report.tables import scale_in
from segmix_core.rng import stream
from segmix_core.training import stages

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)
rows = [row for row in results.read_all() if row["experiment"] in STUDIED and "mIoU" in row["metrics"]]
SEPARATING = [name for name in METHODS if name.startswith("sourcesep")]
FAMILIES = {
    family: tuple(name for name, of in corruptions.CORRUPTIONS.items() if of == family)
    for family in dict.fromkeys(corruptions.CORRUPTIONS.values())
}


# %% tags=["remove-cell"]


def evidence(name):
    """Whether a setting is of a scale that is judged."""
    return scale_in(name) not in NO_EVIDENCE


def mean_of(values, digits=1):
    """The mean over seeds, or a dash."""
    return f"{np.mean(list(values.values())):.{digits}f}" if values else "–"


def word(difference, name, images=None, *, noise=False):
    """What may be said of a difference that is above zero where the first is more robust.

    `images` is its interval over images and seeds, where there is one; `noise`: nothing was attacked.
    """
    if difference is None:
        return "not compared"
    if not evidence(name):
        return "not judged"
    if noise:
        return "undecided, the perturbations take no more than noise"
    return {"higher": "more robust", "lower": "less robust"}.get(verdict(difference, images), "undecided")


def told(difference, name, images=None, *, noise=False):
    """A difference in numbers and words."""
    if difference is None:
        return "not compared"
    mean, half, seeds = difference
    spread = "" if half is None else f" ± {half:.2f}"
    drawn = "" if images is None else f" (over images {images[0]:+.1f} to {images[1]:+.1f})"
    return f"{mean:+.2f}{spread}{drawn}, {seeds} {'seed' if seeds == 1 else 'seeds'}: {word(difference, name, images, noise=noise)}"


def minus(first, second):
    """By seed."""
    return {number: first[number] - second[number] for number in first.keys() & second.keys()}


def mean_by_seed(found):
    """The mean of several measurements, by seed."""
    seeds = set.intersection(*(set(values) for values in found))
    return {number: float(np.mean([values[number] for values in found])) for number in sorted(seeds)}


studied = {name: of for name, of in settings_of(rows).items() if any(row["condition"] for row in of)}
drops, curves, corrupted, judged = {}, {}, {}, {}
for name, of in studied.items():
    # Of several lists of images, or attacks of several lengths, those of most networks: others are not compared.
    drops[name] = robustness.comparable(
        [one for one in robustness.drops(of) if one.fit == "resize" and " on " not in one.perturbation]
    )
    curves[name] = robustness.comparable(robustness.curves(of))
    corrupted[name] = [
        replace(one, setting=name) for one in robustness.comparable(robustness.corruptions(of))
    ]
    judged[name] = {one.claim.number: one for one in judge(of, numbers=(6, 7))}

# %% tags=["remove-cell"]
# Setting -> axis -> method -> (clean, left) by seed.
AXES = ("universal perturbations", "adaptive attacks", "common corruptions")
axes = {name: {axis: {} for axis in AXES} for name in studied}
shown_to_all = {}  # how many universal perturbations
beyond_noise = {}  # setting and method -> seed -> points that they take together beyond the worst noise of each
for name, found in axes.items():
    methods = {one.experiment for one in drops[name]}
    common = [
        perturbation
        for perturbation in dict.fromkeys(one.perturbation for one in drops[name])
        if {one.experiment for one in drops[name] if one.perturbation == perturbation} == methods
    ]
    shown_to_all[name] = len(common)
    for method in methods if common else ():
        chosen = [one for one in drops[name] if one.experiment == method and one.perturbation in common]
        found[AXES[0]][method] = (
            mean_by_seed([one.clean for one in chosen]),
            mean_by_seed([one.attacked for one in chosen]),
        )
        if all(one.controls for one in chosen):
            beyond_noise[name, method] = mean_by_seed(
                [
                    {
                        number: min(control[number] for control in one.controls.values())
                        - one.attacked[number]
                        for number in one.seeds
                    }
                    for one in chosen
                ]
            )
    for one in curves[name]:
        if one.valid:
            found[AXES[1]][one.experiment] = (one.by_epsilon[0.0], one.by_epsilon[one.at])
    for one in corrupted[name]:
        found[AXES[2]][one.experiment] = (one.clean, one.mean(tuple(corruptions.CORRUPTIONS)))


def effect(name, axis, method, than="baseline"):
    """By how many points a method loses less than another, paired by seed; of attacks, by how many it keeps more.

    What adaptive attacks leave counts as it is: where little is left, whoever began lower has lost less.
    """
    found = axes[name][axis]
    if method not in found or than not in found:
        return None
    kept = [left if axis == AXES[1] else minus(left, clean) for clean, left in (found[method], found[than])]
    return paired_difference(*kept)


def images_of(name, axis, method, than="baseline"):
    """The interval of such an effect over images and seeds; of adaptive attacks, which keep what they did to each image."""
    of = {one.experiment: one for one in curves[name]} if axis == AXES[1] else {}
    if method not in of or than not in of:
        return None
    return of[method].over_images(of[method].at, of[than])


def is_noise(name, axis, method, than="baseline"):
    """Whether universal perturbations take, with some seed, no more than noise from whoever loses more, as for the claims."""
    found = effect(name, axis, method, than)
    if axis != AXES[0] or found is None:
        return False
    beyond = beyond_noise.get((name, method if found[0] < 0 else than), {})
    return not beyond or min(beyond.values()) <= TOLERANCE


def against(name, axis):
    """An axis in words."""
    return f"{axis} ({shown_to_all[name]})" if axis == AXES[0] else axis


def said_of(name, axis, method):
    """An effect in numbers and words."""
    images, noise = images_of(name, axis, method), is_noise(name, axis, method)
    return told(effect(name, axis, method), name, images, noise=noise)


def verdicts(name):
    """What a setting says, in words; the numbers behind it stand in the tables."""
    if not evidence(name):
        return "no verdict: rows of this scale show that the commands work, and nothing else"
    said = [f"claim {number} is **{one.in_words}**" for number, one in judged[name].items()]
    for method in SEPARATING:
        found = [
            f"under {axis} {word(effect(name, axis, method), name, images_of(name, axis, method), noise=is_noise(name, axis, method))}"
            for axis in AXES
        ]
        said.append(f"{method} against the baseline: {', '.join(found)}")
    return "; ".join(said)


printed = robustness.printed_drops()
COLUMNS = list(dict.fromkeys(perturbation for _, perturbation in printed))
loses = {key: clean - attacked for key, (clean, attacked) in printed.items()}
more = {
    name: [column for column in COLUMNS if loses[name, column] > loses["baseline", column]]
    for name in SEPARATING
}

# %% [markdown]
# ## The finding, first

# %%
lines = [f"* {name}: {verdicts(name)}." for name in studied]
yardsticks = [
    name
    for name in studied
    if evidence(name) and any(of.keys() & DEFENCES.keys() for of in axes[name].values())
]
scaled = (
    f"*Not compared*: no seed has both, shown or attacked alike. Defences as a yardstick were measured in {' and '.join(yardsticks)}."
    if yardsticks
    else "*Not compared*: no seed has both, shown or attacked alike. In no setting that is judged has a defence been measured, so that the size of these differences has no yardstick yet."
)
counted = {name: f"{len(found)} of {len(COLUMNS)}" for name, found in more.items()}
Markdown(
    "Measured here: "
    + (
        "\n\n" + "\n".join(lines) + f"\n\n{scaled} The contrasts behind the verdicts are below.\n\n"
        if lines
        else "**not measured yet**. "
    )
    + "The paper's own Table 6, read as points *lost*: "
    + "; ".join(
        f"{name} loses more than the baseline under {text} perturbations" for name, text in counted.items()
    )
    + " (if its rows have one encoder, which their clean values leave in doubt). These are fixed perturbations; an attacker who knows the network is another matter, and another part of this page."
)

# %% [markdown]
# ## What Table 6 says by itself
#
# The table prints what is left. A method that starts higher ends higher, robust or not; claims about robustness are about what is *lost*, the clean score minus what is left, and
# [universal perturbations](13_universal_perturbations) has both, and the share that is retained, for every column.

# %%
means = {name: np.mean([loses[name, column] for column in COLUMNS]) for name in METHODS}
Markdown(
    "Mean points lost, as printed: "
    + ", ".join(f"{name} {value:.2f}" for name, value in means.items())
    + ". No interval is printed: five columns of one row share its clean value and its luck."
)

# %% [markdown]
# ## Claims 6 and 7
#
# Each is a contrast over the five perturbations of Table 6: the mean of what one method loses, minus that of the other ({func}`segmix_core.report.claims.judge`).
# *More than noise*: of the two methods, the one that loses more has to lose more to the five perturbations than to the most harmful noise of the size of each, with every seed, averaged over the five, by more than the tolerance of
# the sanity checks. Where it does not, nothing was attacked, and nothing is decided. The five together may do so on the strength of some: the next table but one has each by itself.
# ± is half of the 95 % interval over seeds; a contrast is decided by three seeds and an interval away from zero.

# %%
for claim in CLAIMS:
    if claim.number in (6, 7):
        print(f"{claim.number}. {claim.text} ({claim.where})")

# %%
lines = []
for name, of in judged.items():
    for number, one in of.items():
        for finding in one.findings:
            half = "" if finding.half_width_95 is None else f" ± {finding.half_width_95:.2f}"
            lines.append(
                [
                    number,
                    name,
                    finding.contrast.what + ("" if finding.contrast.said else " (ours)"),
                    f"{finding.printed:+.2f}",
                    f"{finding.mean:+.2f}{half}",
                    finding.seeds,
                    {True: "yes", False: "no"}[bool(finding.is_attack)],
                    finding.holds,
                    one.verdict,
                ]
            )
header = [
    "claim",
    "setting",
    "contrast",
    "printed",
    "measured",
    "seeds",
    "more than noise",
    "holds",
    "verdict",
]
chapter.table(header, lines) if lines else Markdown(
    "**Not measured yet**: no setting has both networks under all five."
)

# %% [markdown]
# ### What a fixed perturbation can show, and what it cannot
#
# A fixed perturbation is one point of a large set. That a network stands it shows that *this* point does not hurt it; a network that is hurt is not robust.
# It was made on another network, so that a difference between two methods may be how alike they are to that one. What this part measures is robustness to *transferred universal perturbations*. And
# what takes no more than noise of its size is noise:

# %%
lines = []
for name, found in drops.items():
    controlled = [one for one in found if one.is_attack is not None and one.fit == FITS[0]]
    for perturbation in dict.fromkeys(one.perturbation for one in controlled):
        of = [one for one in controlled if one.perturbation == perturbation]
        beaten = [one.experiment for one in of if one.is_attack]
        worst = {one.experiment: one.excess[0] for one in of}
        lines.append(
            [
                name,
                perturbation,
                f"{len(beaten)} of {len(of)}",
                " to ".join(f"{round(of(worst.values()), 1) + 0.0:+.1f}" for of in (min, max)),
            ]
        )
header = [
    "setting",
    "perturbation (resized)",
    "methods that it hurts more than any control (beyond the tolerance)",
    "points beyond the worst control",
]
chapter.table(header, lines) if lines else Markdown("**Not measured yet.**")

# %% [markdown]
# ### What adaptive attacks add
#
# An attack that sees the network asks what a defender must fear. If it succeeds, the network is not robust at that size. If it fails, a better attack may still succeed.
# All aims were tried at one size, where the worst of each image counts; at the others the aim that was worst there. A plain network has one aim, so that CC and CM may be a
# little worse off at those sizes than the table says.

# %%
lines = []
for name, found in curves.items():
    of = {one.experiment: one for one in found}
    for method in (method for method in SEPARATING if method in of and "baseline" in of):
        ours, theirs = of[method], of["baseline"]
        for epsilon in ours.by_epsilon:
            if epsilon and epsilon in theirs.by_epsilon:
                pair = ours.by_epsilon[epsilon], theirs.by_epsilon[epsilon]
                difference = paired_difference(*pair)
                said = (
                    told(difference, name, ours.over_images(epsilon, theirs))
                    if ours.valid and theirs.valid
                    else "invalid: a sanity check failed"
                )
                lines.append([name, method, f"{epsilon:g}", *(mean_of(one) for one in pair), said])
header = ["setting", "method", "epsilon", "left (%)", "baseline: left (%)", "difference"]
chapter.table(header, lines) if lines else Markdown("**Not measured yet.**")

# %% [markdown]
# ## Fifteen common corruptions
#
# Not an attack: noise, blur, weather and digital faults, at five severities, the same for all networks. They are those of the benchmark ImageNet-C, by a library that is
# kept up to date (but for `elastic_transform`, as [decisions](../book/decisions) say); here the draws of each image depend on its place in the list alone.

# %%
chapter.source(corruptions.corrupt)

# %% mystnb={"figure": {"caption": "One evaluation image and its fifteen corruptions at severity 3, a row for each family.", "name": "fig-corruptions"}, "image": {"alt": "A sheet of sixteen small pictures of one scene: as it is, and with each corruption."}}
SEVERITY = 3
evaluation = setting.data[1]
index = next(
    (place for place in range(len(evaluation)) if np.mean(evaluation.label(place) % 255 > 0) > 0.1), 0
)
scene = center_crop(*evaluation.pair(index), setting.eval_crop)[0]


def seen(name, severity=SEVERITY):
    """The scene with a corruption, drawn as in a study whose list is this page's."""
    return corruptions.corrupt(scene, name, severity, rng=stream(0, "corruption", name, index))


figure, grid = plt.subplots(len(FAMILIES), 4, figsize=(6.4, 7.0))
for line, (family, names) in zip(grid, FAMILIES.items(), strict=True):
    pictures = {name: seen(name) for name in names}
    if len(pictures) < len(line):
        pictures = {"as it is": scene} | pictures
    for axis, (name, picture) in zip(line, pictures.items(), strict=True):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(name.replace("_", " "), fontsize=8.5)
        axis.set_xticks([])
        axis.set_yticks([])
    line[0].set_ylabel(family)
plt.show()

# %% [markdown]
# A benchmark for classifiers asks no more than that the category stays. Here each pixel has one. `elastic_transform` moves the picture, and the labels stay where they were: of a network that is right about every
# pixel that it sees, this much of the mIoU would be left. It is found by moving the label map in the same way, on this page's pictures; those of the rows below are larger, and move less in proportion:


# %%
def moved_label(label, severity, number):
    """The label map, moved as the picture is: the category whose mask is the brightest there."""
    known = np.unique(label)
    masks = [
        corruptions.corrupt(
            np.repeat(np.uint8(255 * (label == category))[..., None], 3, axis=2),
            "elastic_transform",
            severity,
            rng=stream(0, "corruption", "elastic_transform", number),
        )[..., 0]
        for category in known
    ]
    return known[np.argmax(masks, axis=0)]


ceiling = []
for severity in corruptions.SEVERITIES:
    confusion = ConfusionMatrix(len(evaluation.categories))
    for number in range(min(24, len(evaluation))):
        label = center_crop(*evaluation.pair(number), setting.eval_crop)[1]
        confusion.update(moved_label(np.where(label == 255, 0, label), severity, number), label)
    ceiling.append(100 * confusion.miou())
chapter.table(
    ["severity", *map(str, corruptions.SEVERITIES)],
    [[f"left (%), pictures of {setting.eval_crop} pixels", *(f"{value:.1f}" for value in ceiling)]],
)

# %% [markdown]
# Motion blur smears to one side and zoom blur outwards, which moves what is seen as well. All methods meet the same; but no network could keep all that these take.
#
# ## What they leave
#
# From committed rows. Severity 0 is the same images as they are.

# %% mystnb={"figure": {"caption": "mIoU under corruptions by family and severity, mean over the corruptions of a family; above each row stand the scale, n (images x corrupted versions of each) and the seeds; bands are 95 % intervals over seeds where there are two or more.", "name": "fig-severity"}, "image": {"alt": "Panels of falling curves of mIoU over severity for noise, blur, weather and digital corruptions, a line for each method; or the words not measured yet."}}
figures.severity_curves([one for of in corrupted.values() for one in of], FAMILIES)
plt.show()

# %%
lines = []
for one in (one for of in corrupted.values() for one in of):
    left = one.mean(tuple(corruptions.CORRUPTIONS))
    retained = {number: 100 * left[number] / one.clean[number] for number in left if one.clean[number]}
    lines.append(
        [
            f"{one.setting}, {one.images} images",
            one.experiment,
            mean_of(one.clean),
            *(mean_of(one.mean(names)) for names in FAMILIES.values()),
            mean_of(left),
            mean_of(retained),
            ""
            if one.experiment == "baseline"
            else told(effect(one.setting, AXES[2], one.experiment), one.setting),
        ]
    )
header = [
    "setting",
    "method",
    "clean",
    *FAMILIES,
    "all",
    "retained (%)",
    "loses less than the baseline by",
]
chapter.table(header, lines) if lines else Markdown("**Not measured yet.**")

# %% [markdown]
# Retention alone flatters whoever starts low: a network that sees little has little to lose. Absolute values alone flatter whoever starts high. Both stand here,
# and the verdict is about points lost, paired by seed.
#
# ## Two defences as a yardstick
#
# Is a difference of a point large? It is, if a defence that is made for the purpose does no better. Two baselines, everything else equal:

# %%
sizes = {
    "baseline+noise": f"in both stages, standard deviation {DEFENCES['baseline+noise'].method.noise:g}",
    "baseline+adversarial": (
        f"in stage 2 alone, {stages.ADVERSARIAL_STEPS} steps of {stages.ADVERSARIAL_STEP:g} within "
        f"{stages.ADVERSARIAL_EPSILON:g}, from a random start"
    ),
}
chapter.table(
    ["", "what it is", "what images are changed by (of 255)", "what it is made for"],
    [
        [name, experiment.summary, sizes[name], "noise" if experiment.method.noise else "adaptive attacks"]
        for name, experiment in DEFENCES.items()
    ],
)

# %% [markdown]
# Both see as many images in as many steps as every other method. A step of adversarial fine-tuning takes the passes of its attack besides: what is equal is what a network is shown, not
# what that costs.

# %%
lines = [
    [
        name,
        against(name, axis),
        *(said_of(name, axis, method) for method in (*SEPARATING, *DEFENCES)),
    ]
    for name in studied
    for axis in AXES
    if axes[name][axis]
]
header = [
    "setting",
    "against",
    *(f"{method}: advantage over the baseline" for method in (*SEPARATING, *DEFENCES)),
]
chapter.table(header, lines) if lines else Markdown("**Not measured yet.**")

# %% [markdown]
# Above zero favours the method. Under universal perturbations and corruptions the points *lost* are compared: those of the baseline minus its own. Under adaptive attacks it is what is *left*, its own minus the baseline's, as
# attacks that leave little take most from whoever began highest; that difference holds the clean one, which [adaptive attacks](14_adaptive_attacks) shows beside it. Attacks whose sanity checks failed are left out.
# Universal perturbations are all those that every method of a setting was shown, their number in brackets; claims 6 and 7 above are about the five of Table 6. Sizes differ: universal perturbations are of
# 10 of 255, adaptive attacks of far less, so that the lines of one setting are not to be compared with each other.

# %%
scaled = []
for name in filter(evidence, studied):
    for axis in AXES:
        for defence in DEFENCES:
            of = effect(name, axis, defence)
            if of is None or is_noise(name, axis, defence):
                continue
            if verdict(of, images_of(name, axis, defence)) == "higher":
                shares = ", ".join(
                    f"{method} {found[0] / of[0]:+.0%}"
                    for method in SEPARATING
                    if (found := effect(name, axis, method)) is not None
                )
                scaled.append(
                    f"* {name}, {axis}: of what {defence} gains ({of[0]:+.2f} points), {shares or 'nothing measured'}"
                )
Markdown(
    "\n".join(scaled)
    if scaled
    else "No defence is told from the baseline yet, by three seeds or more at a scale that is judged: **there is no yardstick**."
)

# %% [markdown]
# ## The verdict
#
# In words; the numbers stand in the tables above, and the universal perturbations that decide claims 6 and 7 are the five of Table 6.

# %%
lines = [f"* **{name}**: {verdicts(name)}." for name in studied]
at_paper = any(scale_in(name) == "paper" for name in studied)
Markdown(
    ("\n".join(lines) if lines else "**No verdict: nothing is measured yet.**")
    + "\n\n"
    + (
        "Settings at the paper's scale are among these."
        if at_paper
        else "Nothing was measured at the paper's scale, so that nothing here refutes or confirms its networks; what its table says by "
        "itself stands above."
    )
)

# %% [markdown]
# ## What was not measured
#
# Computed from the declarations: every method of the study, every part, and every seed of which a clean measurement is committed. A network counts as measured in a part where the tables of these chapters have all of
# it: every universal perturbation, every attack by one code, every corruption. With an asterisk: some of it.


# %%
def have(of):
    """What the tables use of a setting's rows: part -> (method, seed) -> how much of it."""
    found = {part: defaultdict(set) for part in PARTS}
    for drop in robustness.drops(of):
        part = "matrix" if " on " in drop.perturbation else "universal"
        for number in drop.seeds if drop.fit == FITS[0] else ():
            found[part][drop.experiment, number].add(drop.perturbation)
    for curve in robustness.curves(of):
        for number in curve.by_aim["worst"]:
            found["adaptive"][curve.experiment, number] |= set(curve.by_epsilon)
    for one in robustness.corruptions(of):
        for case, values in one.left.items():
            for number in values.keys() & one.clean.keys():
                found["corruptions"][one.experiment, number].add(case)
    return found


WHOLE = {
    "universal": len(UNIVERSALS),
    "adaptive": 1,  # such rows are written all at once
    "corruptions": len(corruptions.CORRUPTIONS) * len(corruptions.SEVERITIES),
    "matrix": len(METHODS) * len(CRAFTED_ON_EACH),
}
lines = []
for name, of in settings_of([row for row in rows if row["scale"] != "smoke"]).items():
    trained = {}
    for row in of:
        if row["seed"] != SURROGATE:
            trained.setdefault(row["experiment"], set()).add(row["seed"])
    for part, found in have(of).items():
        targets = METHODS if part == "matrix" else STUDIED
        whole = {network for network, shown in found.items() if len(shown) >= WHOLE[part]}
        missing = {
            method: [
                f"{number}{'*' * ((method, number) in found)}"
                for number in sorted(trained.get(method, ()))
                if (method, number) not in whole
            ]
            for method in targets
        }
        lines.append(
            [
                name,
                part,
                len(whole),
                "; ".join(f"{method} {' '.join(seeds)}" for method, seeds in missing.items() if seeds)
                or "none",
                ", ".join(method for method in targets if method not in trained) or "none",
            ]
        )
chapter.table(
    [
        "setting",
        "part",
        "networks measured",
        "trained, not measured (seeds; *: in part)",
        "methods without a network",
    ],
    lines,
)

# %%
shown = {row["condition"]["name"] for row in rows if row["condition"] is not None}
unseen = [universal.name for universal in UNIVERSALS if universal.name not in shown]
absent = [
    name
    for name in SCALES
    if name not in NO_EVIDENCE and name not in {row["scale"] for row in rows if row["condition"] is not None}
]
Markdown(
    f"Of {len(UNIVERSALS)} declared universal perturbations, {len(unseen) or 'none'} without a row{': ' * bool(unseen)}{', '.join(unseen)}. "
    f"Of the scales that are judged, without any row of the study: {', '.join(absent) or 'none'}. "
    f"GD-UAP is crafted here, on a baseline of seed {SURROGATE}, which is not among the compared."
)

# %% [markdown]
# ## Limits
#
# * The severities were set for pictures of 224 pixels a side. On smaller ones blur and pixelation of the same number hide more.
# * Sizes of attacks are below those of the literature: larger ones may leave nothing of networks that were trained for minutes.
# * Verdicts under universal perturbations and corruptions go by seeds alone, with the images taken as given. Under adaptive attacks the images are resampled, too.
# * Two defences are a yardstick, not a contest: neither was tuned.
# * Corruptions that move the picture under its labels take points that no network could keep.
#
# ## Takeaways
#
# * Read absolute, lost and retained together: each alone favours someone.
# * Robustness to a fixed perturbation, to a corruption and to an attacker are three claims, and the paper's data speak of the first alone.
# * *Not measured* and *undecided* are findings too.
#
# ## Exercises
#
# 1. In which columns of Table 6 does CM end above the baseline although it loses more?
# 2. Which method of Table 6 would win by retention, and which by points left?
# 3. Does a corruption always move an image farther as its severity grows?

# %% tags=["hide-cell"]
# Solution of 1.
flattered = [
    column
    for column in more["sourcesep-cm"]
    if printed["sourcesep-cm", column][1] > printed["baseline", column][1]
]
print(flattered)
assert set(flattered) <= {row.perturbation for row in TABLES[6]}
assert all(loses["sourcesep-cm", column] > loses["baseline", column] for column in flattered)

# %% tags=["hide-cell"]
# Solution of 2, over the five columns.
retained = {
    name: np.mean([left / clean for clean, left in (printed[name, column] for column in COLUMNS)])
    for name in METHODS
}
ends = {name: np.mean([printed[name, column][1] for column in COLUMNS]) for name in METHODS}
print("retention:", sorted(retained, key=retained.get)[::-1])
print("left:", sorted(ends, key=ends.get)[::-1])
assert all(0 < value < 1 for value in retained.values())

# %% tags=["hide-cell", "nbval-ignore-output"]
# Solution of 3: noise does; others trade one parameter for another on the way.
moved = {
    name: [np.abs(seen(name, severity).astype(float) - scene).mean() for severity in corruptions.SEVERITIES]
    for name in ("gaussian_noise", "glass_blur", "frost", "snow")
}
growing = {name: bool(np.all(np.diff(far) > 0)) for name, far in moved.items()}
print("farther at every step:", growing)
assert growing["gaussian_noise"]

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
print("corruptions:", {family: len(names) for family, names in FAMILIES.items()})
print("CC loses more than the baseline under:", more["sourcesep-cc"])
print("CM loses more than the baseline under:", more["sourcesep-cm"])
contrasts = {
    contrast.what: printed_value(contrast)
    for claim in CLAIMS
    if claim.number in (6, 7)
    for contrast in claim.contrasts
    if contrast.said
}
print("printed contrasts:", contrasts)
CC, CM = (means[name] for name in SEPARATING)
by_hand = [means[name] - ours for name in ("baseline", "mixup", "cutmix") for ours in (CC, CM)] + [CM - CC]
print(
    "are those of the table:",
    np.allclose(list(contrasts.values()), by_hand, atol=1e-3),
)
findings = [(name, finding) for name, of in judged.items() for one in of.values() for finding in one.findings]
print("judged without evidence:", [name for name, _ in findings if not evidence(name)])
print(
    "no verdict without three seeds:",
    all(finding.seeds >= 3 for _, finding in findings if finding.holds != "undecided"),
)
