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
# # Two images in one
#
# **Question.** Which images does SegMix put together, how strongly, and how does that differ from Mixup
# {cite}`zhang2018mixup` and CutMix {cite}`yun2019cutmix`?
#
# **Costs.** Seconds on a CPU; nothing is trained.

# %% tags=["parameters"]
scale = "smoke"
dataset = "silhouettes"
root = None
seed = 0
device = "cpu"

# %% tags=["remove-cell"]
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown

from segmix_core import chapter, mixing
from segmix_core.cooccurrence import cooccurrence_matrix
from segmix_core.data.label_table import read_label_table
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.experiments.methods import CUTMIX, MIXUP, SOURCESEP_CC, SOURCESEP_CM
from segmix_core.mixing import cap_delta, cooccurrence_partners, mix, pair_scores, presence_of, sample_delta
from segmix_core.records import Batch
from segmix_core.report import figures
from segmix_core.rng import stream

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)

# %% [markdown]
# ## The finding, first
#
# Algorithm 2 looks for the partner inside the batch and takes the best. On VOC's real label statistics that makes *hubs*: one
# image serves many. Pairs with many categories are treated apart: where the categories of both images add up to more than $\gamma = 3$, the pair is *beyond the cap*, and its weight delta is
# fixed (below). The paper gives no value for $\gamma$; 3 is this project's choice. (200 random batches; [chapter 8](08_pairing) counts a whole epoch.)

# %%
voc = read_label_table().presence("train_aug")
voc_matrix = cooccurrence_matrix(voc)


def hubs(size, batches=200, count="sum"):
    """Distinct phantoms, uses of the most used one, share of phantoms with a person, share of pairs capped."""
    found = []
    for number in range(batches):
        rng = stream(0, "hubs", size, number)
        held = voc[rng.choice(len(voc), size, replace=False)]
        partner, total = cooccurrence_partners(held, voc_matrix, rng=rng, count=count)
        used = torch.bincount(partner, minlength=size)
        person = held[partner.numpy(), VOC_CATEGORIES.index("person")].mean()
        found.append((int((used > 0).sum()), int(used.max()), person, float((total > 3).float().mean())))
    return np.mean(found, axis=0)


sizes = (4, 8, 16, 32)
measured = {size: hubs(size) for size in sizes}
chapter.table(
    ["batch", "distinct phantoms", "uses of the most used", "phantoms with a person", "pairs beyond the cap"],
    [[size, f"{a:.1f}", f"{b:.1f}", f"{c:.0%}", f"{d:.0%}"] for size, (a, b, c, d) in measured.items()],
)

# %%
share = voc[:, VOC_CATEGORIES.index("person")].mean()
_, used, person, _ = measured[16]
Markdown(
    f"In batches of 16, one image serves {used:.1f} of 16 on average ({used / 16:.0%}). Images with a person are {share:.0%} of the data "
    f"set and {person:.0%} of the phantoms."
)

# %% [markdown]
# The paper sets out to *reduce* the bias towards frequent categories (section 3.1). Its pairing rule, read as in R2 (never the image
# itself; where no score is positive, a random other), raises it. [Pairing, examined](08_pairing) measures the bias, and compares networks trained
# with other pairings.
#
# ## Eq. 1
#
# A blend is a weighted mean of a *dominant* and a *phantom* image:
#
# $$I_{ss} = \delta\, I_a + (1 - \delta)\, I_b .$$ (eq-blend)
#
# {func}`segmix_core.mixing.blend` is that line. Drawing and applying are kept apart: the functions that draw take a random stream and
# return numbers; those that apply them use no randomness.

# %%
chapter.source(mixing.blend)

# %% [markdown]
# ## Partners by co-occurrence (Algorithm 2)
#
# The score of two images is the sum of $C_{ss}$ over all pairs of their categories, for a batch the matrix
# $S = P\, C_{ss}\, P^\top$. Each image takes the partner of the highest score; where none is positive, a random other one
# (R2 on the [decisions page](../book/decisions)).

# %%
# A batch of pictures that are large enough to see. Generated ones take their categories from VOC's images: C_ss is VOC's.
size = {"crop": max(128, setting.scale.crop), "batch_size": 16, "silhouettes": (48, 8, 128)}
wide = replace(setting, scale=replace(setting.scale, **size))
matrix_NN = torch.from_numpy(voc_matrix) if setting.root is None else wide.cooccurrence_NN
categories = wide.data[0].categories


def picked(step):
    """Training batch number `step`, its blend, the categories in it, and the scores of the pairs."""
    batch = wide.batch(step)
    presence_BN = presence_of(batch.label_BHW, len(categories))
    blended = mix(SOURCESEP_CM, batch, matrix_NN, rng=stream(seed, "chapter", "blend", step))
    score_BB, _ = pair_scores(presence_BN, matrix_NN)
    return batch, blended, presence_BN, score_BB.gather(1, blended.partner_B[:, None])[:, 0].long()


def rows_of(mixed, batch, samples):
    """Pictures of dominant, phantom and blend with the two label maps."""
    return [
        [
            figures.image_picture(batch.image_BCHW[sample]),
            figures.image_picture(batch.image_BCHW[mixed.partner_B[sample]]),
            figures.image_picture(mixed.image_BCHW[sample]),
            figures.label_picture(mixed.dominant_BHW[sample].numpy()),
            figures.label_picture(mixed.phantom_BHW[sample].numpy()),
        ]
        for sample in samples
    ]


# %% mystnb={"figure": {"caption": "Pairs that Algorithm 2 picks in batches of 16: the first four with a positive score, a delta of 0.7 or less and little padding, so that both images can be seen, and phantoms of different categories. Score: how often the categories of the two occur together. Right: the two label maps that the network has to recover; pale: ignored.", "name": "fig-picked"}, "image": {"alt": "Four rows of generated scenes: the dominant image, the phantom image, the blend of both and their label maps."}}
sheet, notes, phantoms = [], [], []
for step in range(100):
    batch, blended, presence_BN, score_B = picked(step)
    for sample, (delta, score) in enumerate(zip(blended.delta_B, score_B, strict=True)):
        phantom = presence_BN[blended.partner_B[sample]].tolist()
        padded = max(
            (part[sample] == 255).float().mean() for part in (blended.dominant_BHW, blended.phantom_BHW)
        )
        seen = delta <= 0.7 and score > 0 and padded < 0.1 and phantom not in phantoms
        if seen and len(sheet) < 4:
            sheet += rows_of(blended, batch, [sample])
            notes.append(f"score {score}\ndelta {delta:.2f}")
            phantoms.append(phantom)
    if len(sheet) == 4:
        break
titles = ["dominant", "phantom", "blend", "dominant labels", "phantom labels"]
figures.panels(sheet, titles, notes)
plt.show()

# %% mystnb={"figure": {"caption": "The colours of categories in all label maps and predictions of this book: VOC's palette.", "name": "fig-key"}, "image": {"alt": "A coloured field beside the name of each category of VOC, and a pale one for ignored pixels."}}
figures.category_key(setting.data[1].categories)
plt.show()

# %% [markdown]
# What the rule picks for the first six images of the first batch, in words:

# %% tags=["nbval-check-output"]
_, blended, presence_BN, score_B = picked(0)
lines = [
    [
        chapter.names_of(presence_BN[sample], categories),
        chapter.names_of(presence_BN[blended.partner_B[sample]], categories),
        int(score_B[sample]),
        f"{blended.delta_B[sample]:.2f}",
    ]
    for sample in range(6)
]
chapter.table(["dominant", "picked", "score", "delta"], lines)

# %% [markdown]
# ## Delta, and its cap
#
# Delta comes from $\mathrm{Beta}(\alpha, \alpha)$. That distribution is symmetric about one half, while the text wants
# "more weight on the dominant image"; here it is folded to $\max(\delta, 1 - \delta)$ (R3). For pairs beyond the cap it is set to
# 0.9, whatever was drawn (R1, R4). The intent is to blend less, but draws above 0.9 are lowered, too.

# %% mystnb={"figure": {"caption": "Ten thousand draws of delta: folded Beta(0.4, 0.4) for co-occurrence pairs before and after the cap, and the uniform distribution of categorical clustering.", "name": "fig-delta"}, "image": {"alt": "Three histograms of delta between 0.5 and 1; after the cap, the bar at 0.9 stands out."}}
rng = stream(seed, "chapter", "delta")
held = voc[rng.choice(len(voc), 10_000)]
totals = torch.cat([cooccurrence_partners(part, voc_matrix, rng=rng)[1] for part in np.split(held, 625)])
drawn = sample_delta(0.4, 10_000, rng=rng)
capped = cap_delta(drawn, totals, gamma=3, capped=0.9)
uniform = torch.from_numpy(rng.uniform(0.7, 1.0, 10_000))
shown, axes = plt.subplots(1, 3, figsize=(7.6, 2.3), sharey=True)
for axis, values, title in zip(
    axes, (drawn, capped, uniform), ("CM, drawn", "CM, capped", "CC, uniform"), strict=True
):
    axis.hist(values.numpy(), bins=np.linspace(0.5, 1, 21), color="C0")
    axis.set_title(title)
    axis.set_xlabel("delta")
axes[0].set_ylabel("samples")
plt.show()

# %%
beyond_cap = totals > 3
Markdown(
    f"{(drawn > 0.9).float().mean():.0%} of the folded draws are above 0.9. Of the pairs beyond the cap, the rule weakens the blend of "
    f"{(drawn[beyond_cap] < 0.9).float().mean():.0%} and strengthens that of {(drawn[beyond_cap] > 0.9).float().mean():.0%}; their mean delta "
    f"goes from {drawn[beyond_cap].mean():.2f} to {capped[beyond_cap].mean():.2f}."
)

# %% [markdown]
# ## The other ways to mix
#
# **Categorical clustering** takes a phantom from another category's cluster, whatever the batch. **Mixup** takes any
# partner and any weight. **CutMix** pastes a box, labels and all.

# %% mystnb={"figure": {"caption": "One pair each of categorical clustering, Mixup and CutMix. Mixup trains on both label maps; CutMix on the first, in which the partner's box is pasted: its last map is shown only to compare.", "name": "fig-others"}, "image": {"alt": "Three rows of generated scenes: a clustering pair blended, a Mixup pair blended, and a CutMix pair with a pasted box."}}
others = {"clustering": SOURCESEP_CC, "Mixup": MIXUP, "CutMix": CUTMIX}
sheet, deltas, notes = [], {}, []
for name, method in others.items():
    source = wide.batch(0, clustered=method.pairing == "clusters")
    mixed = mix(method, source, matrix_NN, rng=stream(seed, "chapter", name))
    sheet += rows_of(mixed, source, [1])
    deltas[name] = mixed.delta_B
    pasted = (mixed.image_BCHW[1] != source.image_BCHW[1]).any(0).float().mean()
    notes.append(
        f"{name}\n" + (f"{pasted:.0%} pasted" if name == "CutMix" else f"delta {mixed.delta_B[1]:.2f}")
    )
figures.panels(sheet, ["image", "partner", "mixed", "labels", "partner's labels"], notes)
plt.show()

# %% [markdown]
# Mixup trains one output on both label maps, weighted by delta; CutMix on the pasted one (R15). Only source separation
# gives each image an output of its own: that is the [network](03_network).
#
# ## Limits
#
# * The search group is the batch (R7): batch size and number of devices are part of the method, and every result row
#   records them.
# * Hubs were counted on label statistics of whole images; training sees crops, which may hold fewer categories.
#
# ## Takeaways
#
# * Eq. 1 is one line; which images meet in it is the method.
# * Algorithm 2 gives a batch only a handful of different phantoms, most of them with a person.
# * Folding delta makes the dominant image dominate. The cap sets it to 0.9, which for part of the pairs is less than was drawn.
#
# ## Exercises
#
# 1. How many distinct phantoms would a batch of 16 have if partners were drawn at random?
# 2. Count the union of categories in a pair instead of the sum (R4). What share of pairs is still beyond the cap?

# %% tags=["hide-cell"]
# Solution of 1.
used = [len(mixing.random_partners(16, rng=stream(0, "exercise", number)).unique()) for number in range(200)]
print(f"{np.mean(used):.1f} distinct phantoms of 16 at random, {measured[16][0]:.1f} by Algorithm 2")
assert np.mean(used) > measured[16][0]

# %% tags=["hide-cell"]
# Solution of 2.
beyond = {"sum": measured[16][3], "union": hubs(16, count="union")[3]}
print(f"beyond the cap of 3: {beyond['sum']:.0%} by sum, {beyond['union']:.0%} by union")
assert beyond["union"] < beyond["sum"]

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
toy = Batch(
    torch.stack([torch.full((3, 2, 2), value) for value in (0.0, 0.5, 1.0)]),
    torch.tensor([1, 2, 15])[:, None, None].expand(3, 2, 2),
)
toy_matrix = torch.zeros(21, 21, dtype=torch.int64)
toy_matrix[1, 15] = toy_matrix[15, 1] = 7
toy_matrix[2, 15] = toy_matrix[15, 2] = 3
partner_B, total_B = cooccurrence_partners(presence_of(toy.label_BHW, 21), toy_matrix, rng=stream(0, "check"))
one = mixing.blend(toy, partner_B, torch.tensor([0.75, 0.75, 0.5]))
print("partners", partner_B.tolist(), "categories in the pair", total_B.tolist())
print(
    "blended values",
    one.image_BCHW[:, 0, 0, 0].tolist(),
    "| dominant",
    one.dominant_BHW[:, 0, 0].tolist(),
    "| phantom",
    one.phantom_BHW[:, 0, 0].tolist(),
)
print("capped", cap_delta(torch.tensor([0.6, 0.6]), torch.tensor([3, 4])).round(decimals=2).tolist())
for name, delta_B in deltas.items():
    print(
        name,
        "delta within",
        (0.0, 0.7)[name == "clustering"],
        "and 1:",
        bool(((delta_B >= (0.0, 0.7)[name == "clustering"]) & (delta_B <= 1)).all()),
    )
