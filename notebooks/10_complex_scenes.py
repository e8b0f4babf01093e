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
# # Complex scenes
#
# **Question.** Does source separation help more where things hide each other, where there are many of them, and where they
# rarely meet? Tables 4 and 5 and Fig. 5 of the paper measure parts of VOC's val list. Which images are these?
#
# **Costs.** Nothing beyond the shared runs. Any subset is read off the confusion matrices of single images that a run
# leaves behind. The pictures need a data set with `Annotations` and `SegmentationObject`, as VOC and the generated one have.

# %% tags=["parameters"]
scale = "smoke"
dataset = "silhouettes"
root = None
seed = 0
device = "cpu"

# %% tags=["remove-cell"]
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown
from PIL import Image

from segmix_core import chapter, results
from segmix_core.cooccurrence import dataset_presence
from segmix_core.data.annotations import read_annotation
from segmix_core.experiments import METHODS, PRINTED_IMAGES, TABLES
from segmix_core.experiments.paper import COMPANIONS, MEASURED_ON, THRESHOLDS
from segmix_core.report import confusions_of, figures, measured, paired_difference, verdict
from segmix_core.report.claims import IMAGES_NEEDED, judge
from segmix_core.report.tables import told_apart
from segmix_core.subsets import (
    OBJECTS,
    OCCLUSION,
    RARE,
    UNIQUE,
    build_subsets,
    counts,
    describe_subsets,
    missing,
    voc_subsets,
)

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)
evaluation = setting.data[1]
subsets = build_subsets(evaluation, dataset_presence(evaluation), setting.cooccurrence_NN.numpy())
voc = voc_subsets()
runs = {name: setting.run(name) for name in METHODS}
printed = {
    (row.experiment.name, row.subset): row.printed
    for row in (*TABLES[4], *TABLES[5])
    if row.printed is not None
}
TABLE4 = (*OCCLUSION, *OBJECTS, *UNIQUE)
RARELY = [f"rare/{threshold}" for threshold in THRESHOLDS]


def read(rows, name, subset, metric="mIoU"):
    """What was measured of a method on a subset of this chapter's evaluation list, percent; NaN if nothing."""
    found = measured(
        rows, METHODS[name], metric=metric, subset=subset, among=(dataset,), eval_split=evaluation.split
    )
    return found[0]["value"] if found else np.nan


def cell(value):
    """A number of a table, or a dash."""
    return "–" if value is None or np.isnan(value) else f"{value:.1f}"


# %% [markdown]
# ## The finding, first

# %%
axes = {"occlusion": OCCLUSION, "objects": tuple(OBJECTS), "categories": tuple(UNIQUE)}
others = [name for name in METHODS if not name.startswith("sourcesep")]


def gain(other, subset):
    """What CM has more than another method, as printed, in points."""
    return printed["sourcesep-cm", subset] - printed[other, subset]


growing = {
    other: [name for name, along in axes.items() if gain(other, along[-1]) > gain(other, along[0])]
    for other in others
}
countable = [name for name in voc if name in PRINTED_IMAGES]
confirmed = [name for name in countable if len(voc[name].ids) == PRINTED_IMAGES[name]]
Markdown(
    "Does the printed gain of CM in Table 4 grow from the first to the last column with complexity? "
    + "; ".join(
        f"over {other} **{' and '.join(f'with {name}' for name in found) or 'with nothing'}**"
        for other, found in growing.items()
    )
    + " (no sentence of the paper says it of the number of objects)"
    + f". Of {len(countable)} printed image counts of Tables 4 and 5 that label maps can check, {len(confirmed)} hold."
)

# %%
chapter.table(
    ["gain of CM over", *axes],
    [
        [
            other,
            *(f"{gain(other, along[0]):+.1f} to {gain(other, along[-1]):+.1f}" for along in axes.values()),
        ]
        for other in others
    ],
)

# %% [markdown]
# Printed gains in points of mIoU, in the simplest and in the most complex column; between these it need not rise. Section 4.3.3 says that the gain over "the other methods" grows, which may be the mixing ones alone. A gain that shrinks may still be a gain. The columns of Table 4, by their printed names, in which a method does not beat the baseline:

# %%
columns = {row.subset: row.column for row in TABLES[4]}
over = {
    name: {subset: round(printed[name, subset] - printed["baseline", subset], 1) for subset in TABLE4}
    for name in METHODS
    if name != "baseline"
}
chapter.table(
    ["method, as printed", f"below the baseline, of {len(TABLE4)} columns", "equal to it"],
    [
        [
            name,
            *(
                f"{len(found)}: {', '.join(found)}" if found else "none"
                for found in (
                    [columns[subset] for subset in TABLE4 if gains[subset] < 0],
                    [columns[subset] for subset in TABLE4 if gains[subset] == 0],
                )
            ),
        ]
        for name, gains in over.items()
    ],
)

# %%
always = [name for name, gains in over.items() if min(gains.values()) > 0]
Markdown(f"Above the baseline in every printed column: **{', '.join(always) or 'no method'}**.")

# %% [markdown]
# ## Which images
#
# {func}`segmix_core.subsets.build_subsets` makes every list by one rule each.
#
# * **Occlusion and objects** come from VOC's `Annotations`, one `<object>` for each instance, with its flag `occluded`. The paper counts more
#   images "with at least one occluded object" than there are images with two objects or more, so an object
#   alone in its picture can count as occluded: the flag is the likely source. Files from 2007 have no flag; there, nothing counts as occluded.
# * **Categories** come from the label map. "Person and X" is the exact set {person, X}, and "X alone" the set {X}.
# * **Rare** images hold two categories or more, and *every* pair of them meets in fewer than t training images. The paper does not say
#   which images count, so two other readings are built beside it: *some* pair is rare, or single categories count too.

# %% tags=["nbval-ignore-output"]
here = counts(subsets)
lines = [
    [f"`{name}`", what, "" if number is None else number, len(voc[name].ids) if name in voc else "–", images]
    for name, what, images, number in describe_subsets(subsets, PRINTED_IMAGES)
]
chapter.table(
    [
        "subset",
        "images that show",
        "printed for VOC val",
        "VOC val, counted",
        f"{evaluation.name} {evaluation.split} here",
    ],
    lines,
)

# %% [markdown]
# The column *VOC val, counted* comes from the committed table of VOC's label maps. It knows no objects, hence the dashes. The last
# column is this page's own evaluation list. With VOC's `Annotations` at hand, `segmix subsets` fills the rest.

# %% tags=["nbval-ignore-output"]
differing = [name for name in countable if name not in confirmed]
for name in differing:
    print(f"{name}: printed {PRINTED_IMAGES[name]}, counted {len(voc[name].ids)}")
print("this data set cannot tell:", ", ".join(missing(evaluation)) or "nothing: every subset is built")

# %% [markdown]
# Counts by number of categories are one image off, or none. *Person and car* is printed with the count of *car alone*.
#
# ## What occluded scenes look like
#
# Rule: the first three images on the list `occlusion/any`; where a data set has no annotations, on the list `unique/3`.

# %% mystnb={"figure": {"caption": "The first three images of the list with an occluded object: image, categories, instances, and the occluded instances alone. Without annotations: image and categories of the first three images with three categories.", "name": "fig-occluded"}, "image": {"alt": "Three scenes with their label maps, their instance maps, and the instances that something stands before."}}
told = "occlusion/any" in subsets
sheet, notes = [], []
for identifier in subsets["occlusion/any" if told else "unique/3"].ids[:3]:
    index = evaluation.ids.index(identifier)
    row = [evaluation.image(index), figures.label_picture(evaluation.label(index))]
    if told:
        scene = read_annotation(evaluation.root / "Annotations" / f"{identifier}.xml", evaluation.categories)
        instance = np.asarray(Image.open(evaluation.root / "SegmentationObject" / f"{identifier}.png"))
        numbers = np.setdiff1d(instance, (0, 255))  # ascending, as the annotation lists the objects
        marked = zip(numbers, scene.objects, strict=False)
        occluded = [number for number, one in marked if one.occluded]
        row += map(figures.label_picture, (instance, np.where(np.isin(instance, occluded), instance, 0)))
        notes.append(f"{len(occluded)} of {len(scene.objects)} occluded")
    sheet.append(row)
figures.panels(sheet, ["image", "categories", "instances", "occluded ones"][: len(sheet[0])], notes or None)
plt.show()

# %% [markdown]
# {numref}`fig-occluded` has true occlusion: the generator knows what stands before what. An instance that is hidden wholly is in
# neither the annotation nor the map, so both count the same objects.
#
# ## Figs. 3 and 7: what the methods say of them
#
# In the manner of the paper's panels, of this page's runs. No image is chosen by hand; the rule stands below each figure.

# %% mystnb={"figure": {"caption": "Fig. 3 of the paper, from runs of one seed: evaluation images with occlusion, their labels, and what each method predicts. `segmix figure 3` draws it.", "name": "fig-occluded-predictions"}, "image": {"alt": "Rows of an image, its label map, and the label maps that five methods predict."}} tags=["nbval-ignore-output"]
third = setting.figure(3)
plt.show()

# %% tags=["nbval-ignore-output"]
Markdown(f"Which images: {third.rule}.")

# %% mystnb={"figure": {"caption": "Fig. 7 of the paper, from the same runs: the two evaluation images with the most occluded objects. `segmix figure 7` draws it.", "name": "fig-most-occluded"}, "image": {"alt": "Two images, their label maps, and the label maps that the methods predict."}} tags=["nbval-ignore-output"]
seventh = setting.figure(7)
plt.show()

# %% tags=["nbval-ignore-output"]
Markdown(f"Which images: {seventh.rule}. One seed, a few images: these are to look at, and rank nothing.")

# %% [markdown]
# ## Table 4, printed beside measured
#
# The mIoU of a subset is the mean over the categories present in its labels or predictions. Sums of stored
# matrices give it; no network runs again.

# %% tags=["nbval-ignore-output"]
chapter.table(
    ["printed / here", "images", *METHODS],
    [
        [
            f"`{subset}`",
            f"{PRINTED_IMAGES[subset]} / {here.get(subset, '–')}",
            *(
                f"{cell(printed[name, subset])} / {cell(read(run.rows, name, subset))}"
                for name, run in runs.items()
            ),
        ]
        for subset in TABLE4
    ],
)

# %% mystnb={"figure": {"caption": "Table 4 as curves. Above: printed, DeepLabv3 with ResNet-101 on VOC val. Below: this page's runs, one seed each, on this page's own list; a subset without an image has no point, and where n is small a point is a few images' luck. The paper calls 'any' 1-Occ and 'all' All-Occ.", "name": "fig-complexity"}, "image": {"alt": "Six panels of mIoU against occlusion, number of objects and number of categories for five methods, printed above and measured below."}} tags=["nbval-ignore-output"]
figure, grid = plt.subplots(2, len(axes), figsize=(7.6, 5.2), sharey="row")
for name, run in runs.items():
    for column, (axis_name, along) in enumerate(axes.items()):
        style = {"marker": ".", "lw": 1.2, "color": figures.METHOD_COLOURS[name], "label": name}
        grid[0, column].plot([printed[name, subset] for subset in along], **style)
        grid[1, column].plot([read(run.rows, name, subset) for subset in along], **style)
        for axis, images in zip(grid[:, column], (PRINTED_IMAGES, here), strict=True):
            words = [f"{subset.partition('/')[2]}\nn={images.get(subset, 0)}" for subset in along]
            axis.set_xticks(range(len(along)), words, fontsize=8)
        grid[1, column].set_xlabel(axis_name)
grid[0, 0].set_ylabel("printed mIoU (%)")
grid[1, 0].set_ylabel("mIoU here (%)")
grid[0, 1].legend(fontsize=7, frameon=False)
plt.show()

# %% [markdown]
# ## Table 5, printed beside measured
#
# The paper says mIoU. It is read here as the IoU of X over the images of {person, X}, and over those of {X}; the other reading is the
# mean IoU over background, person and X (of those that have a pixel). First what is printed, then both readings here.

# %%
table5 = [(f"{company}/{thing}", thing) for company in ("with-person", "alone") for thing in COMPANIONS]
chapter.table(
    ["printed", "images", *METHODS],
    [
        [f"`{subset}`", PRINTED_IMAGES[subset], *(cell(printed[name, subset]) for name in METHODS)]
        for subset, _ in table5
    ],
)

# %% tags=["nbval-ignore-output"]
chapter.table(
    ["here: IoU of X / mean of three", "images", *METHODS],
    [
        [
            f"`{subset}`",
            here[subset],
            *(
                " / ".join(
                    cell(read(run.rows, name, subset, metric))
                    for metric in (f"IoU {thing}", f"mIoU background, person, {thing}")
                )
                for name, run in runs.items()
            ),
        ]
        for subset, thing in table5
        if here.get(subset)
    ],
)

# %% [markdown]
# ## Fig. 5: rare company
#
# The paper draws curves and prints no number. The three readings of "co-occur fewer than t times" choose quite different images.

# %% mystnb={"figure": {"caption": "Images of VOC val that count for each threshold of Fig. 5, in three readings (left), and the mIoU of this page's runs in the first reading, on this page's own list (right).", "name": "fig-rare"}, "image": {"alt": "Left, the number of images against the threshold for three readings; right, mIoU against the threshold for five methods."}} tags=["nbval-ignore-output"]
figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.0))
meanings = dict(zip(RARE, ("every pair is rare", "some pair is rare", "or a single category"), strict=True))
for rule, meaning in meanings.items():
    style = {"every pair is rare": "o-", "some pair is rare": "s--", "or a single category": "^:"}[meaning]
    left.plot(
        THRESHOLDS, [len(voc[f"{rule}/{t}"].ids) for t in THRESHOLDS], style, c="0.35", ms=4, label=meaning
    )
left.set_yscale("log")
left.set_ylabel("images of VOC val (log scale)")
above = {"fontsize": 7, "frameon": False, "loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncol": 3}
left.legend(**above)
for name, run in runs.items():
    curve = [read(run.rows, name, subset) for subset in RARELY]
    right.plot(THRESHOLDS, curve, ".-", label=name, color=figures.METHOD_COLOURS[name], lw=1.2)
right.set_ylabel("mIoU here (%)")
right.legend(**above)
for axis in (left, right):
    axis.set_xlabel("together in fewer than t training images")
    axis.invert_xaxis()
plt.show()

# %% mystnb={"figure": {"caption": "Fig. 5 from committed rows, the first reading: mIoU on evaluation images all of whose pairs occur together in fewer training images than the threshold. Means over seeds with 95 % intervals where there are several; n counts images.", "name": "fig-rare-rows"}, "image": {"alt": "A panel for each setting: mIoU over the threshold for the methods, with bands where there are several seeds."}}
figures.rare_curves(results.read_all())
plt.show()

# %% [markdown]
# Where the threshold is low, n is small, and a curve is a few images' luck; the bands, which are over seeds, do not show it.
#
# ## What the committed rows say
#
# The runs above are one seed each at this page's scale. Other runs are committed as rows, some with several seeds.
# For each subset and setting: CM minus baseline in points of mIoU (of the IoU of X where Table 5's subsets are named), paired by
# seed, and in brackets the number of images. Bold: the interval over three seeds
# or more stays away from zero, on twenty images or more. This is weaker than a verdict on a claim, which also resamples the images (next section). Networks on `voc2012` start from random weights there, those on `silhouettes` from an
# encoder that has learned single generated objects.

# %%
committed = results.read_all()
parts, words, told_of, seeds, said_of, decided = {}, {}, {}, {}, {}, 0
company = {f"{kind}/{thing}": f"IoU {thing}" for kind in ("with-person", "alone") for thing in COMPANIONS}
metric_of = {**dict.fromkeys((*TABLE4, *RARELY), "mIoU"), **company}
for subset, metric in metric_of.items():
    found = {
        name: {
            entry["setting"]: entry
            for entry in measured(
                committed, METHODS[name], metric=metric, subset=subset, among=MEASURED_ON["voc"]
            )
        }
        for name in ("sourcesep-cm", "baseline")
    }
    for key in (one for one in found["sourcesep-cm"] if one in found["baseline"]):
        ours, theirs = (found[name][key] for name in ("sourcesep-cm", "baseline"))
        difference = paired_difference(ours["by_seed"], theirs["by_seed"])
        if difference is not None:
            mean, half, pairs = difference
            over_all = "all" if ours["mean_over"] is None else len(ours["mean_over"])
            said_of[key] = said_of.get(key, 0) + (
                half is not None and pairs >= 3 and ours["images"] >= IMAGES_NEEDED
            )
            parts[key] = (
                f"{ours['dataset']}, {ours['scale']}",
                f"from {ours['weights']}",
                ours["protocol"],
                key,
            )
            words[key] = f"{ours['split']}, {ours['protocol']}, mean over {over_all} categories"
            seeds.setdefault(key, set()).add(pairs)
            spread = "" if half is None else f" ± {half:.2f}"
            said = verdict(difference) if ours["images"] >= IMAGES_NEEDED else "undecided"
            decided += said != "undecided"
            told_of[subset, key] = f"{mean:+.2f}{spread} ({ours['images']})" + (
                "" if said == "undecided" else f", **{said}**"
            )
names = dict(zip(parts, told_apart([*parts.values()]), strict=True))
Markdown(
    "\n".join(
        f"* **{name}**: {words[key]}; paired seeds: {' or '.join(map(str, sorted(seeds[key])))}"
        for key, name in names.items()
    )
    + f"\n\nOf {len(told_of)} differences {sum(said_of.values())} have three seeds or more on {IMAGES_NEEDED} images or more; {decided} of these are decided, by an interval away from zero."
    if words
    else "**Not measured yet**: no committed row carries the matrices of single images."
)

# %%
chapter.table(
    ["CM minus baseline", *(f"{name} (images)" for name in names.values())],
    [[f"`{subset}`", *(told_of.get((subset, key), "–") for key in names)] for subset in metric_of],
)

# %% [markdown]
# ## What that says of the claims
#
# The contrasts of claims 3 to 5 that only subsets can tell, in the settings that are judged; the rule asks three seeds or more, both intervals away from
# zero, twenty images and, of rare pairs, VOC's own training list, as the thresholds count its images ([fifteen claims](18_claims)). *Not known*: a list is so short that a draw of images may miss it. *Ours* marks contrasts that no sentence of the paper states; they decide nothing.

# %%
by_setting, too_few = {}, {}
for one in judge(committed, numbers=(3, 4, 5)):
    for finding in one.findings:
        if all(term.subset is not None for _, term in finding.contrast.terms):
            half = finding.half_width_95
            if finding.contrast.said and finding.fewest is not None and finding.fewest < IMAGES_NEEDED:
                too_few.setdefault(one.setting, []).append(f"{finding.contrast.what} ({finding.fewest})")
            by_setting.setdefault(one.setting, []).append(
                [
                    one.claim.number,
                    finding.contrast.what,
                    f"{finding.mean:+.2f}" + ("" if half is None else f" ± {half:.2f}"),
                    finding.over_images,
                    finding.seeds,
                    finding.in_words,
                ]
            )
header = ["claim", "contrast", "points, over seeds", "over images and seeds", "seeds", "holds"]
Markdown(
    "\n\n".join(f"**{words}**\n\n{chapter.table(header, lines).data}" for words, lines in by_setting.items())
    or "**Not measured yet** at a scale that is judged."
)

# %%
Markdown(
    f"On fewer than {IMAGES_NEEDED} images (in brackets) nothing is decided, and more seeds do not change that; these need a longer evaluation list:\n\n"
    + "\n".join(f"* *{name}*: {'; '.join(found)}" for name, found in too_few.items())
    if too_few
    else f"Every contrast that a sentence says rests on {IMAGES_NEEDED} images or more."
)

# %% [markdown]
# ## Limits
#
# * Subsets are not nested experiments: images of four objects differ from images of one in more than their number of objects.
# * The rarest subsets hold few images. Their mIoU is a mean over few pixels of few categories, and moves a lot with one image.
# * The table of committed rows holds many differences, and no interval in it is widened for their number: some would be decided by chance.
# * A threshold of Fig. 5 is a number of training images. On a training list shorter than VOC's the same number is looser, and
#   on a very short one every pair is rare.
# * VOC's flag is an annotator's judgement. The generated flag is a rule: more than a thirtieth of the object is hidden.
#
# ## Takeaways
#
# * Every subset is a rule, its images are counted, and what a data set cannot tell is named.
# * A claim about complexity is a claim about how a *gain* changes. The gain along each axis has to be looked at, not the score.
#
# ## Exercises
#
# 1. For which X of Table 5 do its two readings put these runs in a different order?
# 2. How many images of VOC val count in one reading of Fig. 5 at the largest threshold, and not in another?

# %% tags=["hide-cell", "nbval-ignore-output"]
# Solution of 1, beside a person.
for thing in (thing for thing in COMPANIONS if here.get(f"with-person/{thing}")):
    orders = [
        sorted(runs, key=lambda name: -read(runs[name].rows, name, f"with-person/{thing}", metric))
        for metric in (f"IoU {thing}", f"mIoU background, person, {thing}")
    ]
    print(thing, "the same order" if orders[0] == orders[1] else orders)

# %% tags=["hide-cell"]
# Solution of 2.
strict, loose = (set(voc[f"{rule}/{max(THRESHOLDS)}"].ids) for rule in RARE[:2])
print(f"{len(loose - strict)} images have a rare pair among others that are not")
assert strict < loose

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
print("printed counts confirmed:", len(confirmed), "of", len(countable))
print("counted on VOC val:", {name: len(voc[name].ids) for name in (*UNIQUE, *RARELY)})
if told:
    any_occluded, all_occluded = (set(subsets[name].ids) for name in OCCLUSION)
    print("all-occluded within any-occluded:", all_occluded <= any_occluded)
print(
    "rarer is fewer:",
    all(set(voc[more].ids) >= set(voc[less].ids) for more, less in pairwise(RARELY)),
)
row = next(row for row in runs["baseline"].rows if row["eval_split"] == evaluation.split)
print(
    "the subsets of the rows are these:",
    {name: int(held.sum()) for name, held in confusions_of(row["per_image"]).subsets.items()} == here,
)
