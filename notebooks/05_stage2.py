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
# # Stage 2: silencing the phantom
#
# **Question.** Fine-tuning on plain images is to silence the phantom branch, so that a single image is seen as one. Does it fall
# silent, and does that help the other branch?
#
# **Costs.** Nothing beyond the shared runs of [stage 1](04_stage1).

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

from segmix_core import chapter, losses
from segmix_core.losses import phantom_activation, stage2_loss
from segmix_core.records import Separation
from segmix_core.report import figures

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)
names = ("sourcesep-cm", "sourcesep-cc", "baseline")
runs = {name: setting.run(name) for name in names}
separating = names[:2]

# %% [markdown]
# ## The finding, first
#
# Stage 2 is the paper's *feature denoising* (DN): plain images, and a penalty $l_{PPA}$ on the activity of the phantom branch. Longer runs: [five methods](07_photographs), and
# [Table 8](09_ablations), whose row "without l_PPA" tells what the penalty adds to plain fine-tuning.

# %% tags=["nbval-ignore-output"]
count = min(64, len(setting.data[1]))
held_out = setting.evaluation_batch(range(count))


def activity(model):
    """Share of phantom logits above zero, and mean l_PPA, over held-out images."""
    with torch.inference_mode():
        phantom = torch.cat([model(part).phantom for part in held_out.image_BCHW.split(16)])
    return float((phantom > 0).float().mean()), float(phantom_activation(phantom).mean())


spoken = {name: (activity(runs[name].stage1), activity(runs[name].model)) for name in separating}
setting.finding(
    "Stage 2 "
    + ", ".join(
        f"takes the share of phantom logits above zero from {before[0]:.1%} to {after[0]:.1%} ({name})"
        for name, (before, after) in spoken.items()
    )
    + "; one seed, so what it does to mIoU is only shown, below."
)

# %% tags=["nbval-ignore-output"]
chapter.table(
    [
        "method",
        "phantom logits above 0, after stage 1",
        "after stage 2",
        "l_PPA after stage 1",
        "after stage 2",
    ],
    [
        [name, f"{before[0]:.1%}", f"{after[0]:.1%}", f"{before[1]:.2f}", f"{after[1]:.2f}"]
        for name, (before, after) in spoken.items()
    ],
)

# %% tags=["nbval-ignore-output"]
Markdown(
    f"Over n = {count} held-out images, as they are; below, mIoU in per cent over all {len(setting.data[1])}."
)

# %% tags=["nbval-ignore-output"]
lines = []
for name, run in runs.items():
    for output in ("dominant", "final"):
        if any(row["output"] == output for row in run.rows):
            before, after = run.score(1, output), run.score(2, output)
            lines.append([name, output, f"{before:.1f}", f"{after:.1f}", f"{after - before:+.1f}"])
chapter.table(["method", "output", "mIoU after stage 1", "after stage 2", "change"], lines)

# %% mystnb={"figure": {"caption": "The paper's Fig. 2, drawn from a run of CM: the two stages of training. `segmix figure 2` draws it.", "name": "fig-stages"}, "image": {"alt": "A drawing: a blend goes through a shared encoder, two pyramids and the source separation head, each output with its loss; below, a plain image goes through the same encoder and pyramids, and the phantom branch is penalised."}} tags=["nbval-ignore-output"]
drawn = setting.figure(2)
plt.show()

# %% tags=["nbval-ignore-output"]
Markdown(f"Which images: {drawn.rule}.")

# %% [markdown]
# The most colourful panel may be that of $S_p$ after stage 2, and it is silent: none of its logits is above zero, and the colours are the least negative ones.
#
# Two things to look for in the table of mIoU above. The baseline gets the same number of fine-tuning steps at the same lower rate: whatever
# *it* gains has nothing to do with the phantom. And `final` reads a branch that was told to be silent, through an SSH that stage 2
# does not train: it has to be expected to fall, which is why stage 2 is read at `dominant` (R12).
#
# ## Eq. 5
#
# $$
# \begin{aligned}
# l &= l_t + l_{PPA} \\
# l_{PPA} &= \log \sum_{i,j,n} \mathrm{ReLU}(S_p)_{ijn}
# \end{aligned}
# $$ (eq-stage2)
#
# As printed, the logarithm is minus infinity once the phantom is silent. {func}`segmix_core.losses.phantom_activation` uses $\log(1 + s)$ (R13),
# which is zero exactly then. The other reading, $\log(\epsilon + s)$, is one option away.

# %%
chapter.source(losses.phantom_activation)

# %% mystnb={"figure": {"caption": "The penalty on the phantom's activity during stage 2. Zero means that no phantom logit is above zero, and then the term has no gradient.", "name": "fig-ppa"}, "image": {"alt": "Curves of the phantom penalty over the steps of stage 2, for two methods; after a handful of steps, a note that there are too few."}} tags=["nbval-ignore-output"]
figures.loss_curves({name: runs[name].losses for name in separating}, ["ppa"], stage1_steps=setting.steps[0])
plt.show()

# %% mystnb={"figure": {"caption": "Plain held-out images before and after stage 2 (CM): the dominant prediction, and the activity of the phantom branch (mean positive part of its logits; black is silent, and what is above the bar's end, the largest value after stage 1, is drawn as that).", "name": "fig-silenced"}, "image": {"alt": "Rows of scenes with the dominant prediction and the phantom branch's activity, before and after stage 2."}} tags=["nbval-ignore-output"]
shown = [index for index in range(count) if (held_out.label_BHW[index] % 255 > 0).float().mean() > 0.05][:4]


def look(model):
    """Dominant prediction and mean positive logit of the phantom branch."""
    with torch.inference_mode():
        separation = model(held_out.image_BCHW[shown])
    return separation.dominant.argmax(1).numpy(), separation.phantom.relu().mean(1).numpy()


cm = runs["sourcesep-cm"]
before, after = look(cm.stage1), look(cm.model)
loudest = max(float(before[1].max()), 1e-6)
rows = [
    [
        figures.image_picture(held_out.image_BCHW[index]),
        figures.label_picture(held_out.label_BHW[index].numpy()),
        *(
            part
            for labels, activity_map in (before, after)
            for part in (
                figures.label_picture(labels[line]),
                figures.confidence_picture(activity_map[line] / loudest),
            )
        ),
    ]
    for line, index in enumerate(shown)
]
figures.panels(
    rows,
    ["image", "labels", "S_t, stage 1", "S_p, stage 1", "S_t, stage 2", "S_p, stage 2"],
    bar=("mean positive part of the phantom's logits", loudest),
)
plt.show()

# %% [markdown]
# A silent phantom is not an empty one. Eq. 5 pushes positive *logits* to zero, and a softmax over logits of which none is
# positive still names a category. "Silent" means here that no logit is positive.
#
# ## Limits
#
# * One seed at this scale: changes of a point are noise. [Results](06_results) has all methods.
# * The optimizer matters: the gradient of $\log(1 + s)$ is $1/(1 + s)$ for every active logit, largest near silence, and an optimizer
#   that rescales gradients would give it a weight that SGD does not. SGD is what the paper uses.
#
# ## Takeaways
#
# * Stage 2 is ordinary fine-tuning plus a penalty on positive phantom logits; where no logit is positive, the penalty and its gradient are zero.
# * `final` belongs to stage 1, `dominant` to stage 2.
#
# ## Exercises
#
# 1. What is the gradient of $\log(1+s)$ with respect to one active logit when the phantom is nearly silent, and when it is loud?
# 2. Does a phantom with all logits at -1 cost anything?

# %% tags=["hide-cell"]
# Solution of 1: 1 / (1 + s), that is, strongest near silence.
gradients = {}
for level in (0.001, 1.0):
    logits = torch.full((1, 21, 8, 8), level, requires_grad=True)
    phantom_activation(logits).sum().backward()
    gradients[level] = float(logits.grad[0, 0, 0, 0])
print({level: f"{value:.5f}" for level, value in gradients.items()})
assert gradients[0.001] > gradients[1.0]

# %% tags=["hide-cell"]
# Solution of 2: nothing.
silent = phantom_activation(torch.full((1, 21, 8, 8), -1.0))
print(float(silent))
assert float(silent) == 0.0

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
logits = torch.zeros(1, 3, 2, 2)
logits[0, 1] = 1.0
parts = stage2_loss(Separation(logits, logits, logits), torch.ones(1, 2, 2, dtype=torch.int64))
print("Eq. 5 on fixed logits:", {name: round(float(value), 4) for name, value in parts.items()})
quieter = {name: after[1] < before[1] for name, (before, after) in spoken.items()}
print("phantom quieter after stage 2:", quieter)
print("same steps for all:", len({max(row["steps"] for row in run.rows) for run in runs.values()}) == 1)
ends = {name: np.isfinite(run.losses[-1]["total"]) for name, run in runs.items()}
print("finite to the end:", all(ends.values()))
