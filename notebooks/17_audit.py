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
# # The printed numbers, checked
#
# **Question.** Do the numbers that the paper prints agree with each other, with its sentences, and with PASCAL VOC?
#
# **Costs.** Seconds: the declared tables and the committed label statistics, no network.

# %% tags=["parameters"]
scale = "smoke"
dataset = "silhouettes"
root = None
seed = 0
device = "cpu"

# %% tags=["remove-cell"]
from collections import Counter

import matplotlib.pyplot as plt
import seaborn as sns
from IPython.display import Markdown

from segmix_core import chapter
from segmix_core.audit import (
    PUBLISHED,
    findings,
    losses_under_attack,
    same_configuration,
    spread_of_implementations,
)
from segmix_core.experiments import PRINTED_IMAGES, TABLES

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)
found = findings()
KINDS = ("counts", "between tables", "text and table", "claims")

# %% [markdown]
# ## The finding, first

# %%
agree = Counter(one.kind for one in found if one.said and one.agrees)
total = Counter(one.kind for one in found if one.said)
ours = [one for one in found if not one.said]
Markdown(
    f"Of {sum(total.values())} sentences and numbers of the paper that can be checked without training anything, "
    f"**{sum(agree.values())} hold and {sum(total.values()) - sum(agree.values())} do not**: "
    + "; ".join(f"{kind}: {agree[kind]} of {total[kind]} hold" for kind in KINDS)
    + f". {len(ours)} more checks are readings of ours, of what no sentence says but a table shows: "
    f"{sum(one.agrees for one in ours)} hold."
)


# %% tags=["remove-cell"]
def table_of(kind, *, disagreeing=False):
    """The findings of one kind."""
    shown = [one for one in found if one.kind == kind and not (disagreeing and one.agrees)]
    header, lines = ["what", "claimed" if kind == "claims" else "printed", "computed", "agrees"], []
    for one in shown:
        lines.append([one.what, one.printed, one.computed, "yes" if one.agrees else "**no**"])
    if not all(one.said for one in shown):
        header.append("reading")
        lines = [[*line, "" if one.said else "ours"] for line, one in zip(lines, shown, strict=True)]
    return chapter.table(header, lines)


# %% [markdown]
# ## Numbers of images, counted on VOC's label maps
#
# Categories are counted when at least one pixel has their label. Most printed counts come out exactly, which suggests that the subsets are read as the
# authors built them. Where the same number of cars is printed in both halves of Table 5, the first is almost certainly a slip. The count in the text of the paper's Fig. 5 is that
# of the training and evaluation lists together. More images hold an occluded object than hold two objects or more, so some of the occluded
# objects must be alone in their picture. VOC's own flag allows that. The first counts are those of [chapter 1](01_cooccurrence); the last four are checks of counts against each other, and of one sentence.

# %%
table_of("counts")

# %% [markdown]
# ## One configuration, several tables
#
# The same method, backbone and list must have the same number wherever it is printed.

# %%
table_of("between tables")

# %% mystnb={"figure": {"caption": "Printed mIoU of configurations that stand in several tables, one dot for each place. Dots that do not lie on each other are one configuration with two numbers.", "name": "fig-same-configuration"}, "image": {"alt": "Dots of printed values for each configuration; DeepLabv3 with ResNet-50 has two values."}}
groups = same_configuration()
figure, axis = plt.subplots(figsize=(6.8, 0.36 * len(groups) + 0.8))
for line, rows in enumerate(groups.values()):
    values = [row.printed for row in rows]
    axis.plot([min(values), max(values)], [line, line], color="#d55e00", lw=2)
    axis.plot(values, [line] * len(values), "o", color="#0173b2", alpha=0.6)
axis.set_yticks(
    range(len(groups)), [f"{rows[0].row}, {rows[0].column}" for rows in groups.values()], fontsize=8.5
)
axis.invert_yaxis()
axis.set_xlabel("printed mIoU (%)")
axis.grid(axis="x", alpha=0.3)
plt.show()

# %% [markdown]
# ## One network, several implementations
#
# DeepLabv3 itself is published by others for the same data set, in the model tables of their repositories. What is between them is a scale for any gain.

# %%
lines, further = [], {}
for backbone in ("resnet50", "resnet101"):
    spread, gain = spread_of_implementations(backbone)
    further.setdefault(spread > gain, []).append(backbone)
    others = "; ".join(
        f"{one.implementation} {one.lowest:.1f}"
        + (f" to {one.highest:.1f}" if one.highest > one.lowest else "")
        + f" (stride {one.output_stride}{'' if one.same_network else '; another variant and weights, not counted'})"
        for one in PUBLISHED
        if one.backbone == backbone
    )
    printed = next(
        row.printed for row in TABLES[1] if row.backbone == backbone and row.experiment.name == "baseline"
    )
    lines.append([backbone, printed, others, f"{spread:.1f}", f"{gain:+.1f}"])
chapter.table(
    ["backbone", "the paper's DeepLabv3", "others", "spread, the paper's included", "the paper's gain of CM"],
    lines,
)

# %% [markdown]
# What these repositories name in their model tables is listed in {mod}`segmix_core.audit`; others may publish other numbers.

# %%
words = {True: "further than the paper's gain of CM", False: "less far than that gain"}
Markdown(
    "Implementations, schedules and strides move DeepLabv3 "
    + " and ".join(
        f"{words[more]} with {' and '.join(names)}" for more, names in sorted(further.items(), reverse=True)
    )
    + ". A gain means something only beside a baseline trained in the same way, over several seeds. The paper states neither stride nor the number of runs."
)

# %% [markdown]
# The clean column of Table 6 is that of ResNet-101 in Table 1 for the two proposed methods, and neither value of Table 1 for the other three; DeepLabv3's is the one
# that Table 8 prints for ResNet-50. If the two groups have different encoders, neither heights nor losses can be compared between them.
#
# ## Table 6, read as loss
#
# A network that starts higher ends higher. What a perturbation takes away is another question: absolute mIoU, points lost and the share retained, side by side.

# %%
lost = losses_under_attack()
clean = {row.row: row.printed for row in TABLES[6] if row.column == "clean"}
lines = []
for name, columns in lost.items():
    cells = [
        f"{clean[name] - loss:.1f} / {loss:.1f} / {100 * (clean[name] - loss) / clean[name]:.0f} %"
        for loss in columns.values()
    ]
    lines.append([name, clean[name], *cells])
chapter.table(["attacked / lost / retained", "clean", *next(iter(lost.values()))], lines)

# %% mystnb={"figure": {"caption": "Points of mIoU that each perturbation takes, from the printed values of Table 6, if all rows share an encoder. Lower is more robust. SourceSep-CM loses more than DeepLabv3 on every GD-UAP column.", "name": "fig-table6-loss"}, "image": {"alt": "Bars of points lost for five methods under five perturbations."}}
names = {
    "DeepLabv3": "baseline",
    "DeepLabv3 + Mixup": "mixup",
    "DeepLabv3 + CutMix": "cutmix",
    "DeepLabv3 + SourceSep-CC": "sourcesep-cc",
    "DeepLabv3 + SourceSep-CM": "sourcesep-cm",
}
records = {
    "perturbation": [column.replace(", ", ",\n") for columns in lost.values() for column in columns],
    "method": [names[name] for name, columns in lost.items() for _ in columns],
    "points lost": [loss for columns in lost.values() for loss in columns.values()],
}
figure, axis = plt.subplots(figsize=(7.2, 3.0))
sns.barplot(records, x="perturbation", y="points lost", hue="method", ax=axis)
axis.set_xlabel("")
axis.tick_params(axis="x", labelsize=8.5)
axis.legend(fontsize=8, frameon=False, ncols=3, loc="upper right", bbox_to_anchor=(1, 1.22))
plt.show()

# %% [markdown]
# ## Sentences and their tables

# %%
table_of("text and table")

# %% [markdown]
# Two more that no number tells: the caption of Table 11 calls the mixing ratio $\gamma$, which is the cap in Algorithm 2, where the ratio is $\delta$; and
# Table 3 has no row for CC, so that nothing is said of it on COCO.
#
# ## Claims that the printed values contradict
#
# The claims are those of [the last chapter](18_claims); here they are held against the paper's own numbers. Only those that do not hold are listed;
# *ours* marks what is read off a table and said by no sentence.

# %%
table_of("claims", disagreeing=True)

# %% [markdown]
# Section 4.3.3 calls the improvements "particularly pronounced" where all objects are occluded and where there are many categories, beside "the other methods". What CM
# gains over each of them, from Table 4:

# %% mystnb={"figure": {"caption": "Printed gain of SourceSep-CM over each other method for the subsets of Table 4, with the printed number of images. Beside Mixup and CutMix it is larger at four categories than at two, beside DeepLabv3 it is not; with occlusion it grows beside Mixup alone.", "name": "fig-printed-gain"}, "image": {"alt": "Three bars for each subset of Table 4: the printed gain over DeepLabv3, Mixup and CutMix."}}
values = {(row.experiment.name, row.subset): row.printed for row in TABLES[4]}
subsets = {row.subset: row.column for row in TABLES[4]}
others = ("baseline", "mixup", "cutmix")
records = {
    "subset": [f"{column}\nn={PRINTED_IMAGES[subset]}" for subset, column in subsets.items() for _ in others],
    "over": [other for _ in subsets for other in others],
    "gain (points of mIoU)": [
        values["sourcesep-cm", subset] - values[other, subset] for subset in subsets for other in others
    ],
}
gain = {
    (over, subset): values["sourcesep-cm", subset] - values[over, subset]
    for over in others
    for subset in subsets
}
grows = {
    over: (
        gain[over, "unique/4"] > gain[over, "unique/2"],
        gain[over, "occlusion/all"] > gain[over, "occlusion/any"],
    )
    for over in others
}
assert grows == {
    "baseline": (False, False),
    "mixup": (True, True),
    "cutmix": (True, False),
}  # as the caption says
figure, axis = plt.subplots(figsize=(7.6, 3.0))
sns.barplot(records, x="subset", y="gain (points of mIoU)", hue="over", ax=axis)
axis.set_xlabel("")
axis.tick_params(axis="x", labelsize=7.5)
axis.legend(
    title="gain over",
    fontsize=8,
    title_fontsize=8,
    frameon=False,
    ncols=3,
    loc="upper right",
    bbox_to_anchor=(1, 1.3),
)
plt.show()

# %% [markdown]
# ## What this does and does not mean
#
# * Slips happen when tables are typed. A wrong count changes nothing about a method.
# * Two numbers for one configuration may be a slip, or a second training. If they are the latter, training twice moves a result as far as many of the gains in these tables.
# * Claims that the printed numbers contradict need no training to be doubted. Those that they bear out still need it: how many runs a number rests on is not said.
#
# ## Takeaways
#
# * Where a printed count of images comes out, its subset can be built as the paper built it; the table of counts names those that do not.
# * The caption of Fig. 6 says that GD-UAP without data is more effective on the baselines. By Table 6 it takes more from both proposed methods than from DeepLabv3.
# * Read as loss, and if its rows share an encoder, Table 6 does not show that SourceSep-CM is more robust than DeepLabv3 under GD-UAP.
#
# ## Exercises
#
# 1. Which method loses least on average over Table 6?
# 2. Is the widest spread of one configuration smaller than CM's gain with ResNet-50 in Table 1, and by how much?

# %% tags=["hide-cell"]
# Solution of 1.
average = {name: sum(columns.values()) / len(columns) for name, columns in lost.items()}
least = min(average, key=average.get)
print(f"{least}: {average[least]:.2f} points")
assert all(average[least] <= other for other in average.values())

# %% tags=["hide-cell"]
# Solution of 2: it is, but of the same size.
widest = max(max(row.printed for row in rows) - min(row.printed for row in rows) for rows in groups.values())
table1 = {(row.experiment.name, row.column): row.printed for row in TABLES[1]}
gained = table1["sourcesep-cm", "ResNet-50"] - table1["baseline", "ResNet-50"]
print(f"spread {widest:.1f}, gain {gained:.1f}")
assert widest < gained < 2 * widest

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
print({kind: f"{agree[kind]} of {total[kind]}" for kind in KINDS}, f"and {len(ours)} readings of ours")
print(
    "GD-UAP without data takes more from both than from DeepLabv3:",
    all(
        lost[f"DeepLabv3 + SourceSep-{name}"]["GD-UAP, no data"] > lost["DeepLabv3"]["GD-UAP, no data"]
        for name in ("CC", "CM")
    ),
)
print(
    "CM loses more than the baseline on every GD-UAP column:",
    all(
        lost["DeepLabv3 + SourceSep-CM"][column] > lost["DeepLabv3"][column]
        for column in lost["DeepLabv3"]
        if "GD-UAP" in column
    ),
)
