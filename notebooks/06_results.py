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
# # Results of a short run
#
# **Question.** What does Table 1 of the paper say, and what can a run of seconds or minutes say about it?
#
# **Costs.** Nothing beyond the shared runs: five methods, one seed, a small network on generated pictures.

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

from segmix_core import chapter
from segmix_core.experiments import METHODS, TABLES
from segmix_core.report import confusions_of, figures, interval, measured, paired_difference, verdict

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)
runs = {name: setting.run(name) for name in METHODS}
rows = [row for run in runs.values() for row in run.rows]
entries = {name: measured(rows, METHODS[name])[0] for name in METHODS}
reported = {name: next(row for row in run.rows if row["reported"]) for name, run in runs.items()}

# %% [markdown]
# ## The finding, first

# %% tags=["nbval-ignore-output"]
ordered = sorted(
    (row for row in TABLES[1] if row.column == "ResNet-101"), key=lambda row: row.printed, reverse=True
)
said = " > ".join(f"{row.experiment.name} ({row.printed})" for row in ordered)
Markdown(
    f"Table 1 says, in per cent of mIoU with ResNet-101: {said}.\n\n"
    f"Here: one seed of five methods at scale `{setting.scale.name}` ({setting.scale.stage1_steps} + {setting.scale.stage2_steps} steps, "
    f"{setting.scale.crop} px, {len(setting.data[0])} training and {len(setting.data[1])} evaluation images of {setting.dataset}). "
    "**No ranking follows from one seed**: a verdict needs three seeds and a paired interval."
)

# %% mystnb={"figure": {"caption": "Fig. 1 of the paper, drawn from runs of one seed: both ways of blending two images, and what the five methods say of an evaluation image. `segmix figure 1` draws it.", "name": "fig-overview"}, "image": {"alt": "A drawing: two clusters of images and a blend of one from each; a co-occurrence matrix, a batch with scores, and a blend of its best pair; below, an image, its labels and five predictions."}} tags=["nbval-ignore-output"]
drawn = setting.figure(1)
plt.show()

# %% tags=["nbval-ignore-output"]
Markdown(f"Which images: {drawn.rule}.")

# %% [markdown]
# ## Table 1, printed beside measured

# %% tags=["nbval-ignore-output"]
lines = []
for name, entry in entries.items():
    printed = {row.column: row.printed for row in TABLES[1] if row.experiment.name == name}
    lines.append(
        [
            name,
            printed["ResNet-50"],
            printed["ResNet-101"],
            f"{entry['value']:.1f}",
            entry["output"],
            entry["weights"],
            entry["images"],
        ]
    )
chapter.table(
    [
        "method",
        "printed, ResNet-50",
        "printed, ResNet-101",
        "measured here",
        "output",
        "encoder starts from",
        "n",
    ],
    lines,
)

# %% tags=["nbval-ignore-output"]
blank = [
    row
    for row in reported.values()
    if not confusions_of(row["per_image"]).total(row["stage"], row["output"])[:, 1:].any()
]
words = ""
if blank:
    found = {
        name: value for name, value in blank[0]["metrics"]["iou_per_category"].items() if value is not None
    }
    words = (
        f"{len(blank)} of {len(runs)} networks call every pixel background: "
        f"{np.mean(list(found.values())):.1f} is background's IoU, {found['background']:.1f}, divided by the "
        f"{len(found)} categories of these labels. They have learned nothing else, and are alike."
    )
Markdown(words) if words else None

# %% [markdown]
# The printed columns are mIoU in per cent on VOC val. The measured one is mIoU in per cent on generated pictures, with one small
# encoder (R25). The two cannot be compared with each other, only within themselves. *Output* is the one that a method declares
# (R12), *n* the number of evaluation images.

# %% mystnb={"figure": {"caption": "mIoU of the five methods in this run: one seed each, so there is no interval to draw.", "name": "fig-demo-scores"}, "image": {"alt": "Dot plot of the mIoU of five methods."}} tags=["nbval-ignore-output"]
figures.score_points(entries)
plt.show()

# %% mystnb={"figure": {"caption": "IoU of each category in this run. A method that has not yet learned a category shows no bar.", "name": "fig-demo-categories"}, "image": {"alt": "Grouped bars of the IoU of each category for five methods."}} tags=["nbval-ignore-output"]
scores = {name: row["metrics"]["iou_per_category"] for name, row in reported.items()}
figures.category_bars(scores, setting.data[1].categories)
plt.show()

# %% mystnb={"figure": {"caption": "Predictions of all five methods for held-out pictures: the first four of the list. Black is background.", "name": "fig-demo-predictions"}, "image": {"alt": "Rows of scenes with their label maps and the predictions of five methods."}} tags=["nbval-ignore-output"]
batch = setting.evaluation_batch(range(4))
predictions = {}
for name, run in runs.items():
    with torch.inference_mode():
        predictions[name] = run.model(batch.image_BCHW).dominant.argmax(1).numpy()
sheet = [
    [
        figures.image_picture(batch.image_BCHW[index]),
        figures.label_picture(batch.label_BHW[index].numpy()),
        *(figures.label_picture(predictions[name][index]) for name in METHODS),
    ]
    for index in range(4)
]
figures.panels(sheet, ["image", "labels", *(name.replace("sourcesep", "sep") for name in METHODS)])
plt.show()

# %% [markdown]
# ## What may be concluded, and what not
#
# * **May**: that every part works from label maps to numbers; that all methods train the same number of steps from the same
#   encoder; what the outputs of each look like, once a run is long enough to name anything (at scale `smoke` none is).
# * The batches are the same for all but CC, which draws its own: each of its pairs is an image and one that shows another category,
#   both from the whole training list (section 3.1.1).
# * **May not**: that one method is better. At this length the networks are underfitted, mixing makes their task harder, and
#   one seed cannot tell a method from its luck.
# * The runs that can say more are longer and have several seeds: see [five methods at mini scale](07_photographs).
#
# ## Takeaways
#
# * A number of scale `smoke` or `demo` shows that a path works. It is never evidence for or against the paper.
#
# ## Exercises
#
# 1. What does {func}`segmix_core.report.verdict` say of one seed, whatever the difference?
# 2. How large must the mean paired difference over three seeds be to count, if its standard deviation is half a point?

# %% tags=["hide-cell"]
# Solution of 1.
print(verdict(paired_difference({0: 90.0}, {0: 10.0})))
assert verdict(paired_difference({0: 90.0}, {0: 10.0})) == "undecided"

# %% tags=["hide-cell"]
# Solution of 2: more than the half-width of the 95 % interval.
_, half = interval([0.5, 0.0, -0.5])
print(f"more than {half:.2f} points")
assert verdict((half + 0.01, half, 3)) == "higher"

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
print("reported outputs:", {name: entry["output"] for name, entry in entries.items()})
print(
    "same steps:",
    len({entry["steps"] for entry in entries.values()}) == 1,
    "| same data:",
    len({row["dataset_digest"] for row in rows}) == 1,
)
print("scores between 0 and 100:", all(0 <= row["metrics"]["mIoU"] <= 100 for row in rows))
print(
    "verdict on CM against baseline:",
    verdict(
        paired_difference(
            *(
                {int(seed): value for seed, value in entries[name]["by_seed"].items()}
                for name in ("sourcesep-cm", "baseline")
            )
        )
    ),
)
