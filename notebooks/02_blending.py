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
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown

from segmix_core import chapter, mixing
from segmix_core.cooccurrence import cooccurrence_matrix
from segmix_core.data.label_table import read_label_table
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.experiments.methods import CUTMIX, MIXUP, SOURCESEP_CC, SOURCESEP_CM
from segmix_core.mixing import cap_delta, cooccurrence_partners, mix, presence_of, sample_delta
from segmix_core.records import Batch
from segmix_core.report import figures
from segmix_core.rng import stream

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)

# %% [markdown]
# ## The finding, first
#
# Algorithm 2 looks for the partner inside the batch and takes the best. On VOC's real label statistics few images are the
# best partner of many: those with a person and several other things.

# %%
voc = read_label_table().presence("train_aug")
voc_matrix = cooccurrence_matrix(voc)


def hubs(size, batches=200):
    """Distinct phantoms, uses of the most used one, share of phantoms with a person, share of pairs capped."""
    found = []
    for number in range(batches):
        rng = stream(0, "hubs", size, number)
        held = voc[rng.choice(len(voc), size, replace=False)]
        partner, total = cooccurrence_partners(held, voc_matrix, rng=rng)
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
print(
    f"images with a person: {share:.0%} of the data set, {measured[16][2]:.0%} of the phantoms in batches of 16"
)

# %% [markdown]
# The paper sets out to *reduce* the bias towards frequent categories (section 3.1). Its pairing rule, read as printed where the best score
# is above zero and at random where it is not (R2), raises it. What that does to the results is a question for measurements, not for this page.
#
# ## Eq. 1
#
# A blend is a weighted mean of a *dominant* and a *phantom* image:
#
# $$I_{ss} = \delta\, I_a + (1 - \delta)\, I_b .$$ (eq-blend)
#
# {func}`segmix_core.mixing.blend` is that line. Drawing and applying are kept apart: whoever draws takes a random stream and
# returns numbers, whoever applies is pure.

# %%
chapter.source(mixing.blend)

# %% [markdown]
# ## Partners by co-occurrence (Algorithm 2)
#
# The score of two images is the sum of $C_{ss}$ over all pairs of their categories, for a batch the matrix
# $S = P\, C_{ss}\, P^\top$. Each image takes the partner of the highest score; where none is positive, a random other one
# (R2 on the [decisions page](../book/decisions)).

# %%
categories = setting.data[0].categories
voc_NN = torch.as_tensor(voc_matrix)  # these pictures have VOC's categories, and VOC's company


def blend_of(number):
    """A batch, its blends, what its images hold, and the score of each pair."""
    batch = setting.batch(number)
    blended = mix(SOURCESEP_CM, batch, voc_NN, rng=stream(seed, "chapter", "blend", number))
    presence_BN = presence_of(batch.label_BHW, len(categories))
    held_BN = presence_BN.double()
    held_BN[:, 0] = 0
    return batch, blended, presence_BN, (held_BN @ voc_NN.double() @ held_BN.T).fill_diagonal_(-1)


batch, blended, presence_BN, score_BB = blend_of(0)
_, total_B = cooccurrence_partners(presence_BN, voc_NN, rng=stream(seed, "chapter", "blend", 0))


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


# %% mystnb={"figure": {"caption": "Pairs that Algorithm 2 picks on VOC's co-occurrence, of each of four batches the first with a score above zero and a delta of at most 0.95: dominant, phantom, their blend at the drawn delta, and the two label maps that the network has to recover. Pale: padding, ignored.", "name": "fig-picked"}, "image": {"alt": "Four rows of generated scenes: the dominant image, the phantom image, the blend of both and their label maps."}}
sheet, notes = [], []
for number in range(4):
    own_batch, own, _, scores_BB = blend_of(number)
    picked_B = scores_BB[torch.arange(len(scores_BB)), own.partner_B]
    for sample in torch.where((picked_B > 0) & (own.delta_B <= 0.95))[0].tolist()[:1]:
        sheet += rows_of(own, own_batch, [sample])
        notes.append(f"delta {own.delta_B[sample]:.2f}\nscore {int(picked_B[sample])}")
figures.panels(sheet, ["dominant", "phantom", "blend", "dominant labels", "phantom labels"], notes)
plt.show()

# %% [markdown]
# What the rule picks in words, and the image with the lowest score, which it would pick last. Where even the best score is 0 the partner is drawn at random.

# %% tags=["nbval-check-output"]
lines = []
for sample in range(min(6, len(presence_BN))):
    partner = int(blended.partner_B[sample])
    refused = int((score_BB[sample] + 1e9 * torch.eye(len(score_BB))[sample]).argmin())
    lines.append(
        [
            chapter.names_of(presence_BN[sample], categories),
            chapter.names_of(presence_BN[partner], categories),
            int(score_BB[sample, partner]),
            chapter.names_of(presence_BN[refused], categories),
            int(score_BB[sample, refused]),
        ]
    )
chapter.table(["dominant", "picked", "score", "lowest", "score"], lines)

# %% [markdown]
# ## Delta, and its cap
#
# Delta comes from $\mathrm{Beta}(\alpha, \alpha)$. That distribution is symmetric about one half, while the text wants
# "more weight on the dominant image"; here it is folded to $\max(\delta, 1 - \delta)$ (R3). A pair that holds more than
# $\gamma$ categories, both images counted, is *beyond the cap*, and its delta is set to 0.9 (R1, R4). The paper gives no $\gamma$; here it is 3.

# %% mystnb={"figure": {"caption": "Ten thousand draws of delta: folded Beta(0.4, 0.4) for co-occurrence pairs before and after the cap, and the uniform distribution of categorical clustering.", "name": "fig-delta"}, "image": {"alt": "Three histograms of delta between 0.5 and 1; after the cap most of the mass stands at 0.9."}}
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
lowered = (drawn[beyond_cap] > 0.9).double().mean()
Markdown(
    f"Of these draws {float(beyond_cap.double().mean()):.0%} are of pairs beyond the cap. Setting their delta to 0.9 weakens the phantom where less was "
    f"drawn, and strengthens it where more was: for {float(lowered):.0%} of them."
)

# %% [markdown]
# ## The other ways to mix
#
# **Categorical clustering** takes a phantom from another category's cluster, whatever the batch. **Mixup** takes any
# partner and any weight. **CutMix** pastes a box, labels and all.

# %% mystnb={"figure": {"caption": "One pair each of categorical clustering, Mixup and CutMix, with both label maps: training with Mixup weighs them by delta, with CutMix it takes those of the pasted picture.", "name": "fig-others"}, "image": {"alt": "Three rows of generated scenes: a clustering pair blended, a Mixup pair blended, and a CutMix pair with a pasted box."}}
others = {"clustering": SOURCESEP_CC, "Mixup": MIXUP, "CutMix": CUTMIX}
sheet, deltas = [], {}
for name, method in others.items():
    source = setting.batch(0, clustered=method.pairing == "clusters")
    mixed = mix(method, source, setting.cooccurrence_NN, rng=stream(seed, "chapter", name))
    sheet += rows_of(mixed, source, [1])
    deltas[name] = mixed.delta_B
figures.panels(sheet, ["image", "partner", "mixed", "labels", "partner's labels"], list(others))
plt.show()

# %% [markdown]
# Mixup trains one output on both label maps, weighted by delta; CutMix on the pasted one (R15). Only source separation
# gives each image an output of its own: that is the [network](03_network).
#
# ## Limits
#
# * The search group is the batch (R7): batch size and number of devices are part of the method, and every result row
#   records them.
# * Hubs were counted on label statistics. Crops hold fewer categories than whole images, so that training meets
#   somewhat milder ones.
#
# ## Takeaways
#
# * Eq. 1 is one line; which images meet in it is the method.
# * Algorithm 2 as printed gives a batch only a handful of different phantoms, most of them with a person.
# * Delta is folded, so that the dominant image dominates; beyond the cap it is one number.
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
beyond = {}
for way in ("sum", "union"):
    totals = [
        cooccurrence_partners(part, voc_matrix, rng=stream(0, "exercise", number), count=way)[1]
        for number, part in enumerate(np.split(held, 625))
    ]
    beyond[way] = float((torch.cat(totals) > 3).float().mean())
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
