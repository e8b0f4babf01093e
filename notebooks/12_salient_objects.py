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
# # Salient objects
#
# **Question.** Does co-occurrence driven blending help where there are no categories at all, only what stands out (Table 7)?
#
# **Costs.** The shared baseline, which names pseudo-categories, and four runs of this chapter's own: seconds at scale `smoke`, minutes each of one core at `demo`.

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

from segmix_core import chapter, losses, results
from segmix_core.cooccurrence import cooccurrence_matrix, presence
from segmix_core.data.dataset import read_label
from segmix_core.data.silhouettes.saliency import MOST, SHARE, SPREAD, TRUE_CATEGORIES, salient_instances
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.evaluation import ConfusionMatrix
from segmix_core.evaluation.saliency import BETA_SQUARED, SaliencyScores
from segmix_core.experiments import MEASURED_ON, METHODS, TABLES
from segmix_core.mixing import cooccurrence_partners, mix, pair_scores, random_partners
from segmix_core.report import figures, measured, reading
from segmix_core.report.claims import CLAIMS, NO_EVIDENCE, judge, printed_value
from segmix_core.request import data_of
from segmix_core.rng import stream
from segmix_core.training import TrainingBatches
from segmix_core.training.samples import LEAST_SHARE

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)
METRICS = {"maxF": "max F-beta", "MAE": "MAE"}
MEASURED = ("maxF", "maxF_of_means", "MAE", "MAE_unscaled")
compared = list(dict.fromkeys(row.experiment.name for row in TABLES[7]))
runs = {name: setting.salient_run(name) for name in compared}
training, (test,) = data_of(runs["baseline"].request)
claim = CLAIMS[7]
committed = results.read_all()


def true_categories(data, index):
    """The categories that were drawn: no training reads them."""
    return read_label(data.root / TRUE_CATEGORIES / f"{data.ids[index]}.png", len(VOC_CATEGORIES))


def scored(maps):
    """Scores of saliency maps, one for each test image."""
    scores = SaliencyScores()
    for saliency, mask in zip(maps, masks, strict=True):
        scores.update(saliency, mask)
    return scores.as_json()


def mask_picture(label):
    """A mask of 0, 1 and 255 (ignored) as a picture."""
    shown = figures.confidence_picture((label == 1).astype(float))
    shown[label == 255] = 224
    return shown


# %% tags=["remove-cell"]
masks = [test.label(index) for index in range(len(test))]
objects = [true_categories(test, index) % 255 > 0 for index in range(len(test))]
middle = (np.arange(len(masks[0])) + 0.5) / len(masks[0]) - 0.5
across = np.exp(-0.5 * (middle / SPREAD) ** 2)
without_network = {
    "everything": scored([np.ones(mask.shape) for mask in masks]),
    "the middle": scored([np.outer(across, across)] * len(masks)),
    "every object": scored(objects),
}
here = {name: reading(run.rows, METHODS[name])[0]["metrics"] for name, run in runs.items()}
judged = judge(committed, numbers=[claim.number])


def unjudged(contrast):
    """Why the committed rows give no verdict on a contrast: none, or only of scales that are never judged."""
    scales = [
        {
            entry["scale"]
            for entry in measured(committed, one.experiment, metric=one.metric, among=MEASURED_ON["ecssd"])
        }
        for _, one in contrast.terms
    ]
    shared = sorted(set.intersection(*scales) & set(NO_EVIDENCE))
    return f"not judged: only {' and '.join(shared)} rows" if shared else "not measured"


verdicts = [
    f"**{one.in_words}** ({one.setting})"
    if one.findings
    else f"**{one.verdict}** ({', '.join(dict.fromkeys(map(unjudged, claim.contrasts)))})"
    for one in judged
]

# %% [markdown]
# ## The finding, first

# %%
printed = {(row.experiment.name, row.metric): row.printed for row in TABLES[7]}
gain = printed["sourcesep-cm", "maxF"] - printed["baseline", "maxF"]
Markdown(
    f"Claim 8: {claim.text} Its verdict by the committed rows: {'; '.join(verdicts)}. "
    f"Table 7's gain of CM over the baseline is {gain:.3f} of max F-beta."
)

# %% [markdown]
# ## The task
#
# A salient object mask says of each pixel whether it belongs to what a viewer looks at first. The network has one logit instead of a logit for each
# category, and learns from binary cross-entropy (R18; the paper names neither head nor loss). Everything else is as before: Eqs. 4 and 5 hold
# with the masks of the dominant and the phantom image.

# %%
chapter.source(losses.cross_entropy_B)

# %% [markdown]
# The paper trains on DUT-S and tests on ECSSD. Here, both are generated, in the layouts in which those are published. What is salient is a stated rule:

# %%
chapter.source(salient_instances)

# %%
Markdown(
    f"The weight of an object is its visible area, with pixels far from the middle counted less (a Gaussian whose standard deviation is {SPREAD} of the side). "
    f"The heaviest object is salient, and so is every object of at least {SHARE:g} times its weight. Scenes take at most {MOST} categories."
)

# %% mystnb={"figure": {"caption": "The first four training images: what was drawn, what a segmenter says of it, and what is salient.", "name": "fig-salient"}, "image": {"alt": "Four generated scenes with their true categories, their pseudo-categories and the mask of the salient objects."}} tags=["nbval-ignore-output"]
sheet = [
    [
        training.image(index),
        figures.label_picture(true_categories(training, index)),
        figures.label_picture(training.category(index)),
        mask_picture(training.label(index)),
    ]
    for index in range(4)
]
figures.panels(sheet, ["image", "true categories", "pseudo-categories", "salient"])
plt.show()

# %% [markdown]
# ## F-beta, twice
#
# A saliency map is cut at 256 thresholds. At each, precision $P$ and recall $R$ of an image give
#
# $$F_\beta = \frac{(1+\beta^2)\,P\,R}{\beta^2 P + R}, \qquad \beta^2 = 0.3 .$$ (eq-fbeta)
#
# Over a data set, two conventions are in use under one name. `maxF` takes the mean of all images' curves and then its highest point. `maxF_of_means` takes mean
# precision and mean recall first, and F-beta of those. The paper does not say which it prints. Two images are enough to see that it matters: on one
# everything is called salient, on the other only a corner of the object.

# %% tags=["nbval-check-output"]
small = np.zeros((16, 16), dtype=np.uint8)
small[:8, :8] = 1
careless, timid = np.ones((16, 16)), np.zeros((16, 16))
timid[:2, :3] = 1
pair, lines = SaliencyScores(), []
for name, saliency in (("careless", careless), ("timid", timid)):
    alone = SaliencyScores()
    for scores in (alone, pair):
        scores.update(saliency, small)
    lines.append([name, *(f"{alone.as_json()[metric]:.3f}" for metric in ("maxF", "maxF_of_means", "MAE"))])
lines.append(["both", *(f"{pair.as_json()[metric]:.3f}" for metric in ("maxF", "maxF_of_means", "MAE"))])
chapter.table(["image", "maxF", "maxF_of_means", "MAE"], lines)

# %% [markdown]
# The second convention lets one image's recall make up for another's precision. The curves of both are pysodmetrics', both are in every row, and Table 7
# is read at `maxF`. MAE is the mean absolute difference of map and mask. For all three, as is usual, each map is first stretched so that its lowest value
# is 0 and its highest 1; a map of one value is left as it is. `MAE_unscaled` is of the maps as they are.
#
# ## What needs no network
#
# Whatever a network reaches has to be seen against what is reached without one. "Everything" and "the middle" (one Gaussian for all images) are baselines that
# do not look at the image. "Every object" is an oracle: it takes the true maps, and calls all that was drawn salient.

# %% tags=["nbval-ignore-output"]
chapter.table(
    ["called salient", "maxF", "maxF_of_means", "MAE"],
    [
        [name, *(f"{scores[metric]:.3f}" for metric in ("maxF", "maxF_of_means", "MAE"))]
        for name, scores in without_network.items()
    ],
)

# %% [markdown]
# The oracle is a perfect segmenter that ignores the rule. The distance from its score to 1 is what saliency asks beyond finding things.
#
# ## Pseudo-categories
#
# DUT-S has no categories, so CM has nothing to pair by. The paper (section 4.5) passes the training images through a segmenter trained on VOC and pairs by what it
# says. Here the shared baseline of this scale does that. Pseudo-categories on less than a small share of an image are dropped (R18), and they are never a
# target of training. As the scenes are generated, it can be told how good they are.

# %% tags=["nbval-ignore-output"]
batches = TrainingBatches(
    training,
    batch_size=setting.scale.batch_size,
    crop=setting.scale.crop,
    scale_range=setting.scale.scale_range,
    seed=seed,
)
pseudo = batches.presence[:, 1:]
maps = [true_categories(training, index) for index in range(len(training))]
truth = presence(maps, len(VOC_CATEGORIES))[:, 1:]
pixels = ConfusionMatrix(len(VOC_CATEGORIES))
for index, true in enumerate(maps):
    pixels.update(training.category(index).copy(), true.copy())  # torch takes no read-only array
hit, said, there = (int(part.sum()) for part in (pseudo & truth, pseudo, truth))
chapter.table(
    ["pseudo-categories of the training images", ""],
    [
        ["images", len(training)],
        ["least share of an image that counts", f"{LEAST_SHARE:.1%}"],
        [
            "named categories that are there (precision)",
            f"{hit} of {said}" + (f" ({hit / said:.0%})" if said else ""),
        ],
        ["categories there that are named (recall)", f"{hit} of {there} ({hit / there:.0%})"],
        ["images with exactly the right set", f"{(pseudo == truth).all(1).mean():.0%}"],
        ["images of which nothing is said", f"{(~pseudo.any(1)).mean():.0%}"],
        ["mIoU of the maps, as segmentation", f"{100 * pixels.miou():.1f}"],
    ],
)

# %% [markdown]
# How much of the pairing survives such labels? Over one epoch, each image gets a partner by Algorithm 2: by its pseudo-categories, by its true ones, or at
# random. The score is counted with the *true* co-occurrence.

# %% tags=["nbval-ignore-output"]
background = np.zeros((len(training), 1), dtype=bool)
known = {"pseudo-categories": pseudo, "true categories": truth}
known = {name: np.hstack([background, held]) for name, held in known.items()}
matrix = {name: torch.from_numpy(cooccurrence_matrix(held)) for name, held in known.items()}
gathered = {name: [] for name in (*known, "chance")}
for step in range(len(training) // batches.batch_size):
    chosen = batches.indices(step)
    score_BB, _ = pair_scores(known["true categories"][chosen], matrix["true categories"])
    for name in gathered:
        rng = stream(seed, "chapter", "partners", step)
        if name == "chance":
            partner = random_partners(len(chosen), rng=rng)
        else:
            partner, _ = cooccurrence_partners(known[name][chosen], matrix[name], rng=rng)
        gathered[name].append(score_BB.gather(1, partner[:, None])[:, 0].double())
reached = {name: float(torch.cat(parts).mean()) for name, parts in gathered.items()}
chapter.table(
    ["partners by", "mean true score", "of the best"],
    [[name, f"{value:.1f}", f"{value / reached['true categories']:.0%}"] for name, value in reached.items()],
)

# %% [markdown]
# Partners by pseudo-categories can fall below chance: an image of which nothing is said is paired at random, and one of which little is said has a high score
# with few. Where the segmenter has learned nothing, as at scale `smoke`, the line says nothing of the method.

# %% mystnb={"figure": {"caption": "Pairs that CM makes of one batch by pseudo-categories (of images of which nothing is said, at random): dominant, phantom, blend, and the two masks that the network has to recover. Pale grey: padding, ignored.", "name": "fig-salient-pairs"}, "image": {"alt": "Three rows of generated scenes: dominant image, phantom image, their blend and both salient masks."}} tags=["nbval-ignore-output"]
batch = next(batches.run(0, 1, device="cpu"))
cm = METHODS["sourcesep-cm"].method
mixed = mix(cm, batch, matrix["pseudo-categories"], rng=stream(seed, "chapter", "salient"))

figures.panels(
    [
        [
            figures.image_picture(batch.image_BCHW[sample]),
            figures.image_picture(batch.image_BCHW[mixed.partner_B[sample]]),
            figures.image_picture(mixed.image_BCHW[sample]),
            mask_picture(mixed.dominant_BHW[sample].numpy()),
            mask_picture(mixed.phantom_BHW[sample].numpy()),
        ]
        for sample in range(3)
    ],
    ["dominant", "phantom", "blend", "dominant mask", "phantom mask"],
    [f"delta {mixed.delta_B[sample]:.2f}" for sample in range(3)],
)
plt.show()

# %% [markdown]
# ## Table 7, printed beside measured

# %% tags=["nbval-ignore-output"]
read = {
    (name, metric): measured(run.rows, METHODS[name], metric=metric, among=MEASURED_ON["ecssd"])[0]
    for name, run in runs.items()
    for metric in MEASURED
}
chapter.table(
    [
        "method",
        *(f"{meaning}, printed" for meaning in METRICS.values()),
        *(f"{metric} here" for metric in MEASURED),
        "n",
    ],
    [
        [
            name,
            *(f"{printed[name, metric]:.3f}" for metric in METRICS),
            *(f"{read[name, metric]['value']:.3f}" for metric in MEASURED),
            read[name, "maxF"]["images"],
        ]
        for name in compared
    ],
)

# %% [markdown]
# Printed: DeepLabv3 with ResNet-50, DUT-S to ECSSD, one number each. Measured: this page's scale, generated scenes, one seed. They compare only within
# themselves.

# %% tags=["nbval-ignore-output"]
own = [one["maxF"] for one in here.values()]
trivial = without_network["the middle"]["maxF"]
Markdown(
    f"Of these runs {sum(one > trivial for one in own)} of {len(own)} have a higher maxF than the middle of the image, {trivial:.3f}, "
    f"on {len(masks)} images."
)

# %% mystnb={"figure": {"caption": "Both conventions of max F-beta for this page's runs, one seed each, and for what needs no network (grey).", "name": "fig-fbeta"}, "image": {"alt": "Dumbbells that join the two conventions of max F-beta for four methods, two baselines that do not look at the image, and an oracle."}} tags=["nbval-ignore-output"]
ends = {name: (one["maxF"], one["maxF_of_means"]) for name, one in (here | without_network).items()}
figures.dumbbells(ends, ("maxF", "maxF_of_means"), unit="max F-beta")
plt.show()

# %% [markdown]
# ## What it looks like
#
# Rule: the first three images of the test list.

# %% mystnb={"figure": {"caption": "Saliency maps of one run of each method on the first three test images, at their own confidence.", "name": "fig-saliency-maps"}, "image": {"alt": "Three generated scenes with their salient mask and the saliency maps of four methods."}} tags=["nbval-ignore-output"]
images = [test.image(index) for index in range(3)]
image_BCHW = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)
with torch.inference_mode():
    saliency = {
        name: run.model(image_BCHW).outputs()[METHODS[name].method.output()].sigmoid()[:, 0].numpy()
        for name, run in runs.items()
    }
figures.panels(
    [
        [
            image,
            mask_picture(masks[index]),
            *(figures.confidence_picture(saliency[name][index]) for name in compared),
        ]
        for index, image in enumerate(images)
    ],
    ["image", "mask", *(name.replace("sourcesep", "sep") for name in compared)],
    bar=("confidence that a pixel is salient", 1.0),
)
plt.show()

# %% [markdown]
# ## Longer runs
#
# The committed rows, over seeds. Rows of `demo` scale are never judged. They are of other runs than the pictures above: on another machine the same
# run ends a little elsewhere.


# %%
def in_words(entry):
    """A value with half of its 95 % interval over seeds."""
    half = entry["half_width_95"]
    return f"{entry['value']:.4f}" + ("" if half is None else f" ± {half:.4f}")


def setting_of(entry):
    """A setting in words."""
    return f"{entry['dataset']}, {entry['scale']}, {entry['steps']} steps, from {entry['weights']}"


groups = {}
for name in compared:
    for metric in METRICS:
        for entry in measured(committed, METHODS[name], metric=metric, among=MEASURED_ON["ecssd"]):
            group = groups.setdefault((setting_of(entry), entry["setting"]), {})
            group.setdefault(name, {})[metric] = entry
# Pseudo-categories that were named anew are another setting of the same words: the last one counts, whole.
found = {words: by_method for (words, _), by_method in groups.items()}


lines = [
    [
        words,
        name,
        *(in_words(entries[metric]) for metric in METRICS),
        len(entries["maxF"]["seeds"]),
    ]
    for words, by_method in found.items()
    for name, entries in by_method.items()
]
chapter.table(["setting", "method", *METRICS.values(), "seeds"], lines) if lines else Markdown(
    "**Not measured yet**: no committed row is about salient objects. "
    "`segmix run table7 --scale mini --seeds 0,1,2` makes them."
)


# %%
def named(contrast):
    """A contrast in words, marked where no sentence of the paper says it."""
    return contrast.what + ("" if contrast.said else " (ours)")


chapter.table(
    ["claim 8", "printed", "measured", "seeds", "holds"],
    [
        [
            f"{named(finding.contrast)} ({one.setting})",
            f"{finding.printed:+.3f}",
            f"{finding.mean:+.4f}"
            + ("" if finding.half_width_95 is None else f" ± {finding.half_width_95:.4f}"),
            finding.seeds,
            finding.holds,
        ]
        for one in judged
        for finding in one.findings
    ]
    or [
        [named(contrast), f"{printed_value(contrast):+.3f}", "", 0, unjudged(contrast)]
        for contrast in claim.contrasts
    ],
)

# %% [markdown]
# Each contrast is written so that the claim says it is above zero: a higher F-beta or a lower error for the better method. *Ours* marks
# contrasts that no sentence of the paper states; they decide nothing.
#
# With the published data, the same commands as everywhere:
#
# ```bash
# segmix data fetch duts --root data/duts
# segmix data fetch ecssd --root data/ecssd
# segmix train baseline --scale paper --backbone resnet50 --device cuda \
#   --dataset voc2012 --root VOC2012 --out runs/voc
# segmix predict runs/voc/checkpoint.pt data/duts/DUTS-TR/DUTS-TR-Image/*.jpg \
#   --out data/duts/pseudo_categories
# segmix run table7 --scale paper --backbone resnet50 --device cuda \
#   --dataset duts --root data/duts --eval-root data/ecssd
# ```
#
# ## Limits
#
# * The rule of salience is ours. It shares size and centre with the masks people draw, and not their judgement.
# * Training and test scenes come from one generator; DUT-S and ECSSD come from different collectors.
# * Pseudo-categories come from a segmenter that was trained on scenes of the same generator. On photographs they are as good as the network is on
#   unfamiliar pictures.
# * No run of source separation pairs at random or by true categories here: nothing shows that pairing by pseudo-categories helps.
# * Table 7 does not say how many runs its numbers rest on.
#
# ## Takeaways
#
# * Source separation needs two label maps that differ, not categories. Pairing by co-occurrence does need them, and how much of it survives with rough
#   ones can be counted.
# * Name the convention with an F-beta, and show what a trivial answer scores.
#
# ## Exercises
#
# 1. What is `maxF` of calling everything salient, from the salient share of each image alone?
# 2. Does a map that is half as confident everywhere score differently?

# %% tags=["hide-cell"]
# Solution of 1: precision is the share, recall is 1.
shares = np.array([mask.mean() for mask in masks])
expected = float(np.mean((1 + BETA_SQUARED) * shares / (BETA_SQUARED * shares + 1)))
print(f"{expected:.3f}, scored {without_network['everything']['maxF']:.3f}")
assert abs(expected - without_network["everything"]["maxF"]) < 1e-3

# %% tags=["hide-cell"]
# Solution of 2: no, not even in MAE, as each map is stretched to 0..1 before it is scored. Only the unscaled MAE sees it.
dimmed = scored([0.5 * one for one in objects])
differ = {name for name, value in dimmed.items() if value != without_network["every object"][name]}
print(differ)
assert differ == {"MAE_unscaled"}

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
print("one logit:", {name: run.model.architecture["num_categories"] for name, run in runs.items()})
print("measured on:", {(row["eval_dataset"], row["eval_split"]) for run in runs.values() for row in run.rows})
print(
    "same data:",
    len({row["dataset_digest"] for run in runs.values() for row in run.rows}) == 1,
    "| same steps:",
    len({read[name, "maxF"]["steps"] for name in compared}) == 1,
)
print("pseudo-categories for every training image:", len(training.category_paths) == len(training))
print(
    "salient pixels that are no object:",
    sum(int((mask & ~thing).sum()) for mask, thing in zip(masks, objects, strict=True)),
)
print("scores between 0 and 1:", all(0 <= value <= 1 for one in here.values() for value in one.values()))
print("contrasts of claim 8:", len(claim.contrasts))
