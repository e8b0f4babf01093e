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
# # Which things are seen together
#
# **Question.** SegMix blends images *because* their categories occur together, or because they do not. How often
# do the twenty categories of PASCAL VOC {cite}`everingham2015voc` meet, and are the paper's own figures about it right?
#
# **Costs.** Seconds on any machine: everything below is computed from a committed table of label counts, one line
# for each of VOC's label maps. No image is needed. The last section draws generated pictures.

# %% tags=["parameters"]
scale = "smoke"
dataset = "silhouettes"
root = None
seed = 0
device = "cpu"

# %% tags=["remove-cell"]
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from segmix_core import chapter, cooccurrence
from segmix_core.cooccurrence import clusters, cooccurrence_matrix
from segmix_core.data.label_table import read_label_table
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.experiments import FACTS
from segmix_core.label_statistics import count, describe
from segmix_core.report import figures

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)

# %% [markdown]
# ## The finding, first

# %%
labels = read_label_table()
training = labels.presence("train_aug")
statistics = describe(training, VOC_CATEGORIES)
matrix = np.array(statistics["cooccurrence"])
right = [fact for fact in FACTS if count(fact, labels) == fact.printed]
several = int((training[:, 1:].sum(1) > 1).sum())
share_N = np.array(statistics["images_per_category"]) / len(training)
person, second = 1 + np.argsort(-share_N[1:])[:2]
chapter.table(
    ["what", "counted"],
    [
        ["images on train_aug", len(training)],
        ["of them with two categories or more", f"{several} ({several / len(training):.0%})"],
        [
            "of them with a person",
            f"{share_N[person]:.0%} (next: {VOC_CATEGORIES[second]}, {share_N[second]:.0%})",
        ],
        [
            "pairs of categories that never meet on it",
            int((matrix[1:, 1:][np.triu_indices(20, 1)] == 0).sum()),
        ],
        [
            "printed counts of Tables 4 and 5 and beside Fig. 5 that the label maps confirm",
            f"{len(right)} of {len(FACTS)}",
        ],
    ],
)

# %% [markdown]
# Most images hold a single category, and one category, *person*, is in far more of them than any other. Both facts
# decide what co-occurrence driven blending can do; the [next chapter](02_blending) shows how.
#
# ## Algorithm 1
#
# The paper counts, image by image, every ordered pair of categories that share it. With a presence matrix $P$ (images by
# categories, background dropped) the same count is one product, its diagonal set to zero:
#
# $$C_{ss} = P^\top P, \qquad (C_{ss})_{ii} = 0 .$$
#
# {func}`segmix_core.cooccurrence.cooccurrence_matrix` is that equation. `tests/literal.py` keeps Algorithm 1 with the paper's
# line numbers, and a property test holds one against the other.

# %%
chapter.source(cooccurrence.cooccurrence_matrix)

# %% mystnb={"figure": {"caption": "Co-occurrence of the twenty VOC categories in the label maps of train_aug, ordered so that categories that meet lie side by side. Empty cells: never together; the diagonal is not counted.", "name": "fig-cooccurrence"}, "image": {"alt": "Heat map of how many training images of PASCAL VOC hold each pair of categories, ordered so that household things stand together, and vehicles too."}}
figures.matrix_picture(matrix, VOC_CATEGORIES)
plt.show()

# %% [markdown]
# In {numref}`fig-cooccurrence` two groups that meet among themselves stand out, the household and the road; *person* meets all. The
# order comes from average linkage on the counts, not from a hand.

# %% mystnb={"figure": {"caption": "How many categories a training image of VOC holds (left), and how many images hold each category (right). Numbers on the bars: images. Background is not counted.", "name": "fig-unique"}, "image": {"alt": "Two bar charts: most images hold one category; person is in far more images than any other category."}}
drawn, (left, right_axis) = plt.subplots(1, 2, figsize=(7.6, 3.4), width_ratios=[1, 2.4])
unique = statistics["unique_categories"]
sns.barplot(x=list(unique), y=list(unique.values()), color=sns.color_palette("colorblind")[0], ax=left)
left.set_xlabel("categories in the image")
left.set_ylabel("images")
frequent = np.argsort(statistics["images_per_category"][1:])[::-1] + 1
sns.barplot(
    x=[VOC_CATEGORIES[index] for index in frequent],
    y=[statistics["images_per_category"][index] for index in frequent],
    color=sns.color_palette("colorblind")[1],
    ax=right_axis,
)
right_axis.tick_params(axis="x", rotation=90, labelsize=8.5)
left.bar_label(left.containers[0], fontsize=8)
right_axis.bar_label(right_axis.containers[0], fontsize=7, rotation=90, padding=2)
plt.show()

# %% [markdown]
# ## The paper's counts, counted again
#
# The paper prints how many images several of its experiments use. Label maps alone settle these: the numbers of unique categories in
# Table 4, both halves of Table 5, and the pair named beside the paper's Fig. 5. The rest of Table 4 needs annotations
# ([complex scenes](10_complex_scenes)); [the audit](17_audit) has all.

# %%
chapter.table(
    ["where", "list", "which images", "printed", "counted", ""],
    [
        [
            fact.where,
            fact.split,
            f"{fact.number} categories"
            if fact.kind == "number"
            else f"{' + '.join(fact.categories)} {fact.kind}",
            fact.printed,
            count(fact, labels),
            "" if count(fact, labels) == fact.printed else "**differs**",
        ]
        for fact in FACTS
    ],
)

# %% [markdown]
# The counts of Table 4 that differ do so by a single image. The count for *person* with *car* equals the one printed for *car* alone, in the last column of the table:
# almost certainly a slip. The number in the text about *cat* and *bottle* is neither the training nor the
# validation count, but their sum:

# %%
cat, bottle = (VOC_CATEGORIES.index(name) for name in ("cat", "bottle"))
together = {
    split: int(labels.presence(split)[:, [cat, bottle]].all(1).sum())
    for split in ("train_aug", "train", "val")
}
companions = np.argsort(-matrix[person], kind="stable")[:8]
print(
    "cat and bottle together:", together, "sum of train_aug and val:", together["train_aug"] + together["val"]
)
print(
    "person's companions:",
    ", ".join(f"{VOC_CATEGORIES[index]} {matrix[person, index]}" for index in companions),
)

# %% [markdown]
# The paper's Table 5 takes *horse* as one of person's five most frequent companions. By these counts it is not.
#
# ## Categorical clusters
#
# The other way of the paper to choose pairs, categorical clustering (section 3.1.1), puts every image into one cluster
# for each category it holds, and blends each member with an image of every other cluster.

# %%
members = clusters(training)
memberships = sum(len(cluster) for cluster in members)
print(
    f"{memberships} memberships x 19 other clusters = {memberships * 19} blends,",
    f"{memberships * 19 / len(training):.1f} times the data set",
)

# %% [markdown]
# The paper writes all of them to disk. Here pairs of the same distribution are drawn when they are needed
# ({func}`segmix_core.mixing.cluster_pairs`), with crops and delta of their own each time, and an epoch has as many steps as for every other method.
#
# ## The embedded data set
#
# The book must be built without a download, so it brings a data set of its own: parametric silhouettes of the twenty
# categories, in VOC's layout, where each picture has the *set of categories* of one real VOC image. Co-occurrence in it is
# therefore real, appearance is not.

# %% mystnb={"figure": {"caption": "Generated pictures with their label maps in the VOC palette. Things sit, ride and stand on each other where their categories do, and hide each other in true order.", "name": "fig-silhouettes"}, "image": {"alt": "Eight generated scenes with several things in each, beside their label maps."}}
made, _ = setting.data
chosen = np.argsort(-setting.batches.presence[:, 1:].sum(1), kind="stable")[:8]
cells = [part for index in chosen for part in (made.image(index), figures.label_picture(made.label(index)))]
figures.panels([cells[:8], cells[8:]], ["image", "labels"] * 4)
plt.show()

# %% [markdown]
# ## Limits
#
# * A category counts from its first pixel on. A person in the background of a street weighs as much as a portrait.
# * Counts say what meets in VOC, not what meets in the world: VOC was collected by searching for its categories.
#
# ## Takeaways
#
# * $C_{ss}$ is one matrix product; it is exact, symmetric and cheap.
# * Co-occurrence in VOC is sparse and dominated by *person*.
# * Most of the printed counts that label maps can settle hold. The exceptions are small, but for *person* with *car*.
#
# ## Exercises
#
# 1. Which pair of categories is the most surprising, that is, farthest above what their frequencies alone would predict?
# 2. Would Algorithm 1 give other *rankings* if it counted only images where both categories cover one per cent or more?

# %% tags=["hide-cell"]
# Solution of 1: the largest lift, among pairs that meet at least ten times.
frequency = np.array(statistics["images_per_category"], dtype=float)
expected = np.outer(frequency, frequency) / len(training)
lift = np.where(matrix >= 10, matrix / expected, 0)
first, second = np.unravel_index(lift.argmax(), lift.shape)
print(f"{VOC_CATEGORIES[first]} and {VOC_CATEGORIES[second]}: {lift.max():.1f} times the expected count")
assert matrix[first, second] > expected[first, second]

# %% tags=["hide-cell"]
# Solution of 2: person's companions when both must be large.
pixels = labels.pixels[labels.on("train_aug")]
large = pixels[:, :21] >= 0.01 * pixels.sum(1, keepdims=True)
strict = cooccurrence_matrix(large)
before, after = (VOC_CATEGORIES[row[person].argmax()] for row in (matrix, strict))
print("person's first companion, any pixel:", before, "- at one per cent:", after)
assert (strict <= matrix).all()

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
print("C_ss: symmetric", bool((matrix == matrix.T).all()), "| diagonal zero", not matrix.diagonal().any())
print(
    "sum of C_ss",
    int(matrix.sum()),
    "| images by categories",
    dict(sorted(Counter(training[:, 1:].sum(1).tolist()).items())),
)
print("order of the heat map", [VOC_CATEGORIES[index] for index in figures.cluster_order(matrix)][:3])
