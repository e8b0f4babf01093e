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
# # A network that separates what it sees
#
# **Question.** What does the network of section 3.2 consist of, and what does separation cost beside DeepLabv3
# {cite}`chen2017rethinking`?
#
# **Costs.** Seconds on a CPU: the large networks are counted, not run.

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
import seaborn as sns
import torch
from IPython.display import Markdown
from torch.utils.flop_counter import FlopCounterMode

from segmix_core import chapter
from segmix_core.experiments import SCALES
from segmix_core.models import SourceSeparation

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)


def network(of, head="full", shared_aspp=False, backbone=None):
    """The network of a scale with random weights."""
    return SourceSeparation(
        21,
        backbone=backbone or of.backbone,
        head=head,
        output_stride=of.output_stride,
        shared_aspp=shared_aspp,
        aspp_channels=of.aspp_channels,
        aspp_rates=of.aspp_rates,
    ).eval()


def cost(of, **options):
    """Parameters, and multiply-adds of one forward pass at the scale's crop, counted without computing."""
    with torch.device("meta"):
        model = network(of, **options)
        image = torch.empty(1, 3, of.crop, of.crop)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return sum(part.numel() for part in model.parameters()), counter.get_total_flops() / 2


# %% [markdown]
# ## The finding, first
#
# *ASPP* is DeepLabv3's pyramid of dilated convolutions. The *source separation module* (SSM) is two branches, each with an ASPP and a classifier, one for the dominant and one for the phantom image.
# The *source separation head* (SSH) joins their outputs.

# %% tags=["nbval-check-output"]
variants = {
    "DeepLabv3 (plain head)": {"head": "plain"},
    "SSM, without SSH": {"head": "no_ssh"},
    "SSM + SSH": {"head": "full"},
    "SSM + SSH, one shared ASPP": {"head": "full", "shared_aspp": True},
}
paper = SCALES["paper"]
costs = {
    (backbone, name): cost(paper, backbone=backbone, **options)
    for backbone in ("resnet50", "resnet101")
    for name, options in variants.items()
}
lines = []
for (backbone, name), (parameters, operations) in costs.items():
    plain = costs[backbone, "DeepLabv3 (plain head)"][1]
    lines.append(
        [backbone, name, f"{parameters / 1e6:.1f}", f"{operations / 1e9:.0f}", f"{operations / plain:.2f}"]
    )
chapter.table(["encoder", "head", "million parameters", "billion multiply-adds", "times DeepLabv3"], lines)

# %%
Markdown(
    f"One forward pass on one image of {paper.crop} x {paper.crop} pixels, output stride {paper.output_stride}, 21 categories."
)

# %% [markdown]
# The second ASPP is what separation costs; the two 1x1 convolutions of the SSH are nearly free. Sharing the ASPP would
# bring the price down to almost nothing (R10): an option, and a row of [Table 9](09_ablations).
#
# ## Eqs. 2 and 3
#
# One encoder, two branches of the same shape, and a head that reads both ({numref}`fig-stages` of the chapter on stage 2 draws them with
# what they put out):
#
# $$
# \begin{aligned}
# S_t &= F_t(f_{enc}(I_{ss})) \\
# S_p &= F_p(f_{enc}(I_{ss}))
# \end{aligned}
# $$ (eq-branches)
#
# $$S_{ss} = F_{ss}(S_t \oplus S_p)$$ (eq-joined)
#
# $S_t$ is `dominant`, $S_p$ `phantom`, $S_{ss}$ `final` in a {class}`segmix_core.records.Separation`; all three are logits at the
# size of the image. The whole forward pass of {class}`segmix_core.models.SourceSeparation`:

# %%
chapter.source(SourceSeparation.forward)

# %% tags=["nbval-check-output"]
of = setting.scale
model = network(of)
with torch.no_grad():
    separation = model(torch.rand(2, 3, of.crop, of.crop))
for name, value in vars(separation).items():
    print(f"{name:<9}", tuple(value.shape))

# %% [markdown]
# ## Where the parameters are

# %% mystnb={"figure": {"caption": "Parameters by part, at paper scale (ResNet-101) and in the small network of the demo scale. The SSH is too small to be seen; its share stands beside the bar.", "name": "fig-parameters"}, "image": {"alt": "Stacked bars of the share of parameters in encoder, ASPP, classifiers and SSH, for two networks; encoder and ASPP take nearly all of it."}}
parts = ("encoder", "pyramids", "classifiers", "joiner")
called = ("encoder", "ASPP", "classifiers", "SSH")
shown, axis = plt.subplots(figsize=(7.2, 1.9))
for line, name in enumerate(("paper", "demo")):
    with torch.device("meta"):
        whole = network(SCALES[name])
    sizes = [sum(part.numel() for part in getattr(whole, attribute).parameters()) for attribute in parts]
    start = 0.0
    for size, label, colour in zip(sizes, called, sns.color_palette("colorblind"), strict=False):
        share = size / sum(sizes)
        axis.barh(line, share, left=start, color=colour, label=label if line == 0 else None)
        start += share
    axis.text(1.01, line, f"SSH {share:.3%}", va="center", fontsize=9)
axis.set_xlim(0, 1.16)
axis.set_xticks(np.linspace(0, 1, 6))
axis.set_yticks([0, 1], ["paper", "demo"])
axis.set_xlabel("share of parameters")
axis.legend(ncols=4, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9)
plt.show()

# %% [markdown]
# ## What the plain head shares with it
#
# With `head="plain"` the same class is DeepLabv3: one ASPP, one classifier, only `dominant`. A test copies torchvision's
# own weights into it and compares the logits.
#
# ## Limits
#
# * Multiply-adds are not seconds. `segmix bench step` measures a training step on the machine at hand.
# * The paper does not say whether the branches share an ASPP (R10), nor its batch size and output stride (R8).
#
# ## Takeaways
#
# * Separation is a second branch and two small convolutions.
# * Its cost lies in the second ASPP, in training and, unless the phantom branch is dropped, in use.
#
# ## Exercises
#
# 1. After stage 2 only $S_t$ is read. What does the network cost then?
# 2. How does the price of separation change with output stride 8?

# %% tags=["hide-cell"]
# Solution of 1: without phantom branch and SSH it is the plain head.
full, plain = (cost(paper, head=head, backbone="resnet50")[1] for head in ("full", "plain"))
print(f"{plain / full:.2f} of the multiply-adds of training's forward pass")
assert plain < full

# %% tags=["hide-cell"]
# Solution of 2.
finer = replace(paper, output_stride=8, aspp_rates=(12, 24, 36))
ratios = [
    cost(one, backbone="resnet50")[1] / cost(one, head="plain", backbone="resnet50")[1]
    for one in (paper, finer)
]
print(f"times DeepLabv3: {ratios[0]:.2f} at stride 16, {ratios[1]:.2f} at stride 8")
assert ratios[1] > ratios[0]

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
plain_model = network(of, head="plain")
alone = plain_model(torch.rand(1, 3, of.crop, of.crop))
print("plain head: phantom", alone.phantom, "| final", alone.final)
print(
    "convolutions of the SSH:", [tuple(part.weight.shape) for part in model.joiner if hasattr(part, "weight")]
)
changed = model.joiner[2].bias
before = model(torch.ones(1, 3, of.crop, of.crop))
with torch.no_grad():
    changed += 1
after = model(torch.ones(1, 3, of.crop, of.crop))
print(
    "the SSH moves final only:",
    bool((after.final - before.final - 1).abs().max() < 1e-4),
    torch.equal(after.dominant, before.dominant),
)
