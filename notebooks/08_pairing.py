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
# # Pairing, examined
#
# **Question.** Whom does Algorithm 2 pair, and is that what the paper wants?
#
# **Costs.** Seconds: the label statistics of VOC's train_aug, and one batch of generated pictures. No training.

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
import seaborn as sns
from IPython.display import Markdown

from segmix_core import chapter, results
from segmix_core.data.label_table import read_label_table
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.experiments import MEASURED_ON, TABLES
from segmix_core.mixing import assigned_partners, cooccurrence_partners, partners
from segmix_core.pairing_statistics import PAIRINGS, over_seeds
from segmix_core.report import compared, figures, measured, paired_difference
from segmix_core.report.claims import NO_EVIDENCE
from segmix_core.rng import stream
from segmix_core.verdicts import judge_claims

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)
presence = read_label_table().presence("train_aug")
SIZES = (4, 8, 16, 32, 64)
GROUP = 16  # images in a batch, among which Algorithm 2 pairs (R7)
PERSON = VOC_CATEGORIES.index("person")

# %% tags=["remove-cell"]
by_size = {
    pairing: {size: over_seeds(pairing, presence, size, seeds=[seed], batches=60)[0] for size in SIZES}
    for pairing in PAIRINGS
}
epoch = {pairing: over_seeds(pairing, presence, GROUP, seeds=[seed])[0] for pairing in PAIRINGS}
claim = next(one for one in judge_claims([]) if one.claim.number == 15)
STYLES = dict(zip(PAIRINGS, ("o-", "s-", "D-", "^--", "v--", "P--", "X--"), strict=True))
COLOURS = dict(zip(PAIRINGS, sns.color_palette("colorblind", len(PAIRINGS)), strict=True))


def over_sizes(value, label, *, height=3.2, columns=1):
    """A line for each pairing over the size of the batch. Returns the axes."""
    _, axis = plt.subplots(figsize=(6.2, height))
    for pairing, found in by_size.items():
        values = [value(found[size]) for size in SIZES]
        axis.plot(SIZES, values, STYLES[pairing], color=COLOURS[pairing], label=pairing, ms=4, lw=1.2)
    axis.set_xscale("log", base=2)
    axis.set_xticks(SIZES, SIZES)
    axis.set_xlabel("batch size")
    axis.set_ylabel(label)
    axis.legend(fontsize=8, frameon=False, ncols=columns)
    return axis


# %% [markdown]
# ## The finding, first

# %%
mine = epoch["cooccurrence"]
Markdown(
    f"In a batch of {GROUP} images of VOC's train_aug list, Algorithm 2 uses **{mine.distinct:.1f} different phantoms**; the busiest serves "
    f"{mine.busiest:.1f} of the {GROUP}. Over an epoch, {mine.ever:.0%} of the images are ever a phantom, and one is so {mine.most:.0f} times. "
    f"{mine.share_N[PERSON]:.0%} of the phantoms hold a person, as {presence[:, PERSON].mean():.0%} of the images do. "
    f"{mine.capped:.0%} of the pairs are beyond the cap of three categories. That pairing by clusters *and* by co-occurrence reduces category bias is **{claim.in_words}**."
)

# %% [markdown]
# ## Why hubs arise
#
# Algorithm 2 adds up $C_{ss}$ over all pairs of categories of two images. An image with many frequent categories has a high score with nearly everyone, and the
# highest score wins: it becomes the phantom of most of the batch. Such an image, the phantom of many samples at once, is a *hub*. A larger batch offers a better-connected
# winner, so the hub grows with the batch.

# %%
chapter.source(partners.pair_scores)

# %% mystnb={"figure": {"caption": "One batch of generated pictures on a ring; an arrow leads from each phantom to the image that it is blended into. Left as Algorithm 2 pairs them, right one to one. The thicker the frame, the more often a picture serves.", "name": "fig-pair-graph"}, "image": {"alt": "Two rings of pictures with arrows; on the left most arrows leave a few pictures, on the right each picture has one."}}
batch = setting.batch()
held = batch.presence_BN
chosen = [
    cooccurrence_partners(held, setting.cooccurrence_NN, rng=stream(seed, "chapter", "pairs"))[0].tolist(),
    assigned_partners(held, setting.cooccurrence_NN, rng=stream(seed, "chapter", "pairs"))[0].tolist(),
]
figures.pair_graph(
    [figures.image_picture(image) for image in batch.image_BCHW], chosen, ["Algorithm 2", "one to one"]
)
plt.show()

# %% [markdown]
# ## Seven ways to pair
#
# | name | partner |
# |---|---|
# | `random` | any other sample (Mixup) |
# | `clusters` | an image of another category (section 3.1.1) |
# | `cooccurrence` | the highest score (Algorithm 2) |
# | `average` | the highest score, divided by the number of category pairs in it |
# | `proportional` | drawn with a chance in proportion to the score |
# | `assignment` | one to one, with the highest total score |
# | `memory` | one to one as well, choosing also from the crops of the four batches before |
#
# The last four are not in the paper. Each is one value of a factor.

# %% mystnb={"figure": {"caption": "Different phantoms in a batch, by its size, in 60 batches of the label statistics of VOC's train_aug. The grey line is one phantom for each sample; clusters, assignment and memory lie on it.", "name": "fig-distinct"}, "image": {"alt": "Lines of distinct phantoms over batch size for seven pairings; that of Algorithm 2 lies lowest."}}
axis = over_sizes(lambda one: one.distinct, "different phantoms", height=3.6)
axis.plot(SIZES, SIZES, color="0.8", lw=4, zorder=0)
axis.set_yscale("log", base=2)
axis.set_yticks(SIZES, SIZES)
plt.show()

# %%
chapter.table(
    [
        "pairing",
        "in a batch",
        "busiest",
        "ever serve",
        "at most",
        "phantoms with person",
        "capped (union)",
        "pairs that never meet",
        "bias",
    ],
    [
        [
            pairing,
            f"{one.distinct:.1f}",
            f"{one.busiest:.1f}",
            f"{one.ever:.0%}",
            f"{one.most:.0f}",
            f"{one.share_N[PERSON]:.0%}",
            f"{one.capped:.0%} ({one.capped_union:.0%})",
            f"{one.never_meet:.1%}",
            f"{one.bias:.3f}",
        ]
        for pairing, one in epoch.items()
    ],
)

# %% [markdown]
# One epoch in batches of 16. *In a batch*: different phantoms. *Busiest*: how many samples the busiest phantom of a batch serves. *Ever serve*: images that are a
# phantom at least once in the epoch, *at most* so many times. *With person*: phantoms whose label map holds a person. *Capped*: pairs of more than three categories,
# each image's own added up, or their union. *Never meet*: pairs of images that share no category, and of whose categories no two are together in any image of the list.
# *Bias* is the total variation between the categories of the phantoms and equal shares: 0 where every category is seen equally often.

# %% mystnb={"figure": {"caption": "Bias of the phantoms, by batch size, in 60 batches each; the table above is of a whole epoch. Lower is nearer to equal shares.", "name": "fig-bias"}, "image": {"alt": "Lines of the bias over batch size for seven pairings; that of average rises highest, Algorithm 2 lies above random at every size."}}
over_sizes(lambda one: one.bias, "bias (total variation)", columns=3).set_ylim(0, 1)
plt.show()

# %% [markdown]
# ## Which categories are seen as phantoms

# %% mystnb={"figure": {"caption": "Share of phantoms that hold each category, against the share of all images that do (grey bars). Categories by their frequency.", "name": "fig-categories-phantom"}, "image": {"alt": "For twenty categories, grey bars of their share among images and markers of their share among phantoms for four pairings."}}
order = 1 + np.argsort(-presence[:, 1:].mean(0))
figure, axis = plt.subplots(figsize=(6.6, 5.4))
axis.barh(range(len(order)), 100 * presence.mean(0)[order], color="0.85", label="all images")
for pairing in ("cooccurrence", "proportional", "assignment", "clusters"):
    style = {"marker": STYLES[pairing][0], "color": COLOURS[pairing], "ls": "", "ms": 5, "alpha": 0.8}
    axis.plot(100 * epoch[pairing].share_N[order], range(len(order)), label=pairing, **style)
axis.set_yticks(range(len(order)), [VOC_CATEGORIES[index] for index in order], fontsize=8.5)
axis.invert_yaxis()
axis.set_xlabel("per cent of phantoms, of images")
axis.legend(fontsize=8, frameon=False)
axis.grid(axis="x", alpha=0.3)
plt.show()

# %% mystnb={"figure": {"caption": "Share of pairs with more than three categories, which are blended at 0.9, by batch size, in 60 batches each.", "name": "fig-capped"}, "image": {"alt": "Lines of the share of capped pairs over batch size; that of Algorithm 2 rises highest."}}
over_sizes(lambda one: 100 * one.capped, "pairs beyond the cap (%)", columns=2)
plt.show()

# %% [markdown]
# * `assignment` serves everyone once. That removes the hubs, and with them the preference: the phantoms are the images themselves, so their categories are
#   those of the data set. What remains is *who* meets whom.
# * `proportional` keeps the preference for frequent company without a single winner.
# * `memory` looks as good as `assignment` within a batch, and is not: the same well-connected crops are lent again while they are remembered.
# * `average` no longer counts categories, so fewer pairs are capped. It then prefers images that show a frequent companion *alone*, which raises the bias.
#
# ## Claim 15
#
# Section 3.1 says that pairing by clusters and by co-occurrence reduces the bias to frequent categories. Each line is the distance of random
# phantoms from equal shares minus that of another pairing: first clusters (CC), then Algorithm 2 (CM). In percentage points over several seeds; above zero, that part of the claim holds:

# %%
chapter.table(
    ["part of the claim", "points", "seeds", "holds"],
    [
        [
            finding.contrast.what,
            f"{finding.mean:+.1f} ± {finding.half_width_95:.1f}",
            finding.seeds,
            finding.holds,
        ]
        for finding in claim.findings
    ],
)

# %%
Markdown(f"The claim as a whole: **{claim.in_words}**.")

# %% [markdown]
# ## Do other pairs make better networks?
#
# The lower rows of Table 10, from committed rows: SourceSep-CM with each pairing, everything else equal.

# %% tags=["remove-cell"]
rows = results.read_all()
reference = next(row.experiment for row in TABLES[10] if row.experiment.name == "sourcesep-cm")
lines, decided = [], []
for row in dict.fromkeys(
    row for row in TABLES[10] if row.printed is None and "paired" in row.row and row.column == "ResNet-50"
):
    entries = measured(rows, row.experiment, among=MEASURED_ON[row.data])
    for entry in entries:
        same = [
            one
            for one in measured(rows, reference, among=MEASURED_ON[row.data])
            if one["setting"] == entry["setting"]
        ]
        difference = paired_difference(entry["by_seed"], same[0]["by_seed"]) if same else None
        half = None if difference is None else difference[1]
        told = "" if difference is None else f"{difference[0]:+.2f}" + (f" ± {half:.2f}" if half else "")
        judged = entry["scale"] not in NO_EVIDENCE
        said = compared(rows, row.experiment, reference, entry["setting"]) if judged else "not judged"
        if said in ("higher", "lower"):
            decided.append(f"{row.row} ({entry['scale']}, {entry['dataset']}): {said}, {told}")
        lines.append(
            [
                row.row,
                f"{entry['scale']}, {entry['dataset']} {entry['split']}",
                f"{entry['value']:.2f}",
                told,
                0 if difference is None else difference[2],
                said,
            ]
        )
    if not entries:
        lines.append([row.row, "not measured yet", "", "", 0, ""])

# %%
Markdown(
    "Pairings whose networks are better or worse than Algorithm 2's by the rule for verdicts (points of mIoU, 95 % interval): "
    + ("; ".join(decided) or "**none so far**")
    + "."
)

# %%
chapter.table(["row", "setting", "mIoU (%)", "minus Algorithm 2", "paired seeds", "verdict"], lines)

# %% [markdown]
# One seed decides nothing. A row of demo scale shows that the pairing runs, and is never judged.
#
# ## Limits
#
# * Whole images are paired here. Training pairs crops, which may hold fewer categories.
# * The statistics are VOC's. What hubs another data set has is not measured here.
#
# ## Takeaways
#
# * Algorithm 2 as printed is not a preference but a winner-takes-all rule, and the winner shows people.
# * The batch size is part of the method ([R7](../book/decisions)): the larger the batch, the smaller the share of its images that are ever a phantom.
#
# ## Exercises
#
# 1. Why can `assignment` not change the category shares of the phantoms?
# 2. What happens to the hubs in a batch of two?

# %% tags=["hide-cell"]
# Solution of 1: it is a permutation of the batch; every image is phantom once.
print(f"{epoch['assignment'].ever:.0%} serve, at most {epoch['assignment'].most:.0f} time")
assert epoch["assignment"].most == 1
assert epoch["assignment"].ever > 0.99  # the last part of an epoch that fills no batch is left out

# %% tags=["hide-cell"]
# Solution of 2: each has only the other, so that all pairings agree.
two = over_seeds("cooccurrence", presence, 2, seeds=[seed], batches=50)[0]
print(two.distinct)
assert two.distinct == 2

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
print("few phantoms:", mine.distinct < 5, "| one serves more than half:", mine.busiest > GROUP / 2)
print("person over-represented twice:", mine.share_N[PERSON] > 2 * presence[:, PERSON].mean())
print(
    "hubs grow with the batch:",
    all(by_size["cooccurrence"][a].busiest < by_size["cooccurrence"][b].busiest for a, b in pairwise(SIZES)),
)
print(
    "share of phantoms falls with the batch:",
    all(
        by_size["cooccurrence"][a].distinct / a > by_size["cooccurrence"][b].distinct / b
        for a, b in pairwise(SIZES)
    ),
)
print("claim 15:", claim.in_words)
print(
    "Algorithm 2 more biased than random pairs:",
    all(by_size["cooccurrence"][size].bias > by_size["random"][size].bias for size in SIZES),
)
print(
    "average raises the bias:",
    epoch["average"].bias > mine.bias,
    "| caps fewer:",
    epoch["average"].capped < mine.capped,
)
