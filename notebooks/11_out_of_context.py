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
# # Out of context
#
# **Question.** A cow beside a television: does a network still see both, if it never saw them together? The paper expects
# categorical clustering (CC) to cope best, shows photographs (Fig. 4), and says that it cannot measure it.
#
# **Costs.** Nothing beyond the shared runs: each is also measured on two generated lists, one out of context, one ordinary.
# The page stays with generated scenes, whatever its parameters `dataset` and `root` say.

# %% tags=["parameters"]
scale = "smoke"
dataset = "silhouettes"
root = None
seed = 0
device = "cpu"

# %% tags=["remove-cell"]
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import Markdown

from segmix_core import chapter, results
from segmix_core.cooccurrence import cooccurrence_matrix, dataset_presence
from segmix_core.data import open_dataset, out_of_context_root
from segmix_core.data.annotations import read_annotation
from segmix_core.data.label_table import read_label_table
from segmix_core.data.silhouettes import outofcontext
from segmix_core.data.silhouettes.outofcontext import LISTS, ORDINARY_FROM, category_pairs, companies
from segmix_core.data.transforms import center_crop
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.experiments import FIGURES, MEASURED_ON, METHODS, SCALES
from segmix_core.measure import segmenter
from segmix_core.metrics import iou, miou
from segmix_core.report import (
    Term,
    confusions_of,
    figures,
    measured,
    paired_bootstrap,
    paired_difference,
    reading,
    verdict,
)
from segmix_core.report.claims import CLAIMS, NO_EVIDENCE, judge, printed_value
from segmix_core.rng import stream

# Whatever the data set: photographs come without lists like these.
setting = chapter.begin(scale=scale, dataset="silhouettes", root=None, seed=seed, device=device)
OUT, ORDINARY = LISTS
folder = out_of_context_root(setting.scale)
lists = {name: open_dataset("silhouettes-outofcontext", folder, name) for name in LISTS}
held = {name: dataset_presence(one)[:, 1:] for name, one in lists.items()}  # (n, 20)
runs = {name: setting.run(name) for name in METHODS}
claim = CLAIMS[4]
contrast = claim.contrasts[-1]
committed = results.read_all()


def score(name, split):
    """mIoU of a method's run of this page on a list, percent; NaN where it was not measured."""
    found = measured(runs[name].rows, METHODS[name], among=MEASURED_ON["context"], eval_split=split)
    return found[0]["value"] if found else np.nan


def confusions(name, split, of_single_images=False):
    """The confusion matrix behind that number, (N, N), or those of single images, (n, N * N)."""
    rows = [row for row in reading(runs[name].rows, METHODS[name]) if row["eval_split"] == split]
    held = confusions_of(rows[0]["per_image"])
    return (held.of if of_single_images else held.total)(rows[0]["stage"], rows[0]["output"])


def unjudged():
    """Why the committed rows give no verdict on CC against CM: none of both, or only of scales never judged."""
    scales = [
        {
            entry["scale"]
            for entry in measured(committed, METHODS[name], among=MEASURED_ON["context"], eval_split=OUT)
        }
        for name in ("sourcesep-cc", "sourcesep-cm")
    ]
    shared = sorted(set.intersection(*scales) & set(NO_EVIDENCE))
    return f"not judged: only {' and '.join(shared)} rows" if shared else "not measured"


here = {name: (score(name, ORDINARY), score(name, OUT)) for name in METHODS}
blank = [name for name in METHODS if not any(confusions(name, split)[:, 1:].any() for split in LISTS)]
found = {}  # setting -> method -> list -> what the committed rows say
for name in METHODS:
    for split in LISTS:
        for entry in measured(committed, METHODS[name], among=MEASURED_ON["context"], eval_split=split):
            key = (entry["scale"], f"{entry['steps']} steps", entry["weights"])
            found.setdefault(key, {}).setdefault(name, {})[split] = entry
drop = {
    key: {
        name: paired_difference(of[ORDINARY]["by_seed"], of[OUT]["by_seed"])
        for name, of in by_method.items()
        if len(of) == len(LISTS)
    }
    for key, by_method in found.items()
}
never_NN, ordinary_NN = companies(read_label_table())

# %% [markdown]
# ## The finding, first

# %%
sensitive = []
for key, by_method in drop.items():
    if key[0] not in NO_EVIDENCE:
        losing = sum(verdict(difference) == "higher" for difference in by_method.values())
        meaning = (
            "So these lists were not shown to be sensitive to context at all, and the test may be too weak to tell CC from CM"
            if losing == 0
            else "So the lists, or what else differs between them (see below), make a difference to some methods"
            if losing < len(by_method)
            else "So the second list is harder, by its context or by what else differs (see below)"
        )
        sensitive.append(
            f"At {' scale, '.join(key[:2])}, **{losing} of {len(by_method)} methods have a lower mIoU out of context, by the "
            f"rule of three seeds**. {meaning}."
        )
judged = judge(committed, numbers=[claim.number])
decisive = [(one, finding) for one in judged for finding in one.findings if finding.contrast == contrast]
words = {
    "yes": "CC beats CM out of context",
    "no": "CC is worse than CM out of context",
    "undecided": "Whether CC beats CM out of context is undecided",
}
said = [
    f"**{words[finding.holds]}** ({finding.mean:+.1f} points, {finding.seeds} seed{'s' * (finding.seeds != 1)}; {one.setting})."
    for one, finding in decisive
]
pairs = len(VOC_CATEGORIES[1:]) * len(VOC_CATEGORIES[2:]) // 2
Markdown(
    " ".join(sensitive or ["Whether any method loses from ordinary to out of context: **not judged yet**."])
    + "\n\n"
    + " ".join(said or [f"Whether CC beats CM out of context: **{unjudged()}**."])
    + f"\n\n{never_NN.sum() // 2} of VOC's {pairs} pairs of categories never meet on train_aug and val together. Scenes made of such pairs, beside ordinary "
    "scenes from the same drawing code, give the paper's hypothesis the labels that it lacked."
)

# %% [markdown]
# ## What the paper shows
#
# Fig. 4 shows predictions on photographs of the Out-of-Context data set (five rows) and of UnRel (three rows), sampled at random, by networks trained on
# VOC alone. What the text reads off them, and off Fig. 5:

# %%
chapter.table(
    ["contrast of claim 5", "printed", "can be measured on"],
    [
        [
            one.what,
            "no number" if printed_value(one) is None else f"{printed_value(one):+.1f}",
            ", ".join(sorted({name for _, term in one.terms for name in MEASURED_ON[term.data]})),
        ]
        for one in claim.contrasts
    ],
)

# %% [markdown]
# The first three are the matter of [complex scenes](10_complex_scenes): rare company within VOC. The last one is this page's. The paper says that
# CC "may outperform" CM, because CC blends categories at random and so sees unlikely company, whereas CM blends what meets anyway. It adds that
# the baseline does surprisingly well on the pictures, and that without labels nothing can be said in numbers.
#
# ## A test with labels
#
# The generator can draw any company, and knows its labels. {func}`segmix_core.data.silhouettes.outofcontext.companies` sorts the pairs by what VOC's
# label maps show on train_aug and val together:

# %%
chapter.source(outofcontext.companies)

# %%
table = read_label_table()
in_images = table.presence()[table.on("train_aug") | table.on("val")].astype(np.int64)
shared = (in_images.T @ in_images)[np.triu(ordinary_NN)]
Markdown(
    f"A pair is *out of context* where none of the {len(in_images)} images of both lists holds it, and *ordinary* from {ORDINARY_FROM} "
    f"shared images on; the median ordinary pair shares {np.median(shared):.0f}. A category that meets every other one is in neither."
)

# %% mystnb={"figure": {"caption": "Which pairs make the two lists. Categories in the order of co-occurrence in VOC; a row without any mark is a category that meets every other one, so that it cannot be out of context.", "name": "fig-companies"}, "image": {"alt": "A grid of twenty by twenty categories that marks pairs which never meet and pairs which do meet in VOC."}}
order = figures.cluster_order(cooccurrence_matrix(read_label_table().presence("train_aug")))
names = [VOC_CATEGORIES[index] for index in order]
kinds = (2 * never_NN + ordinary_NN)[np.ix_(order, order)]
colours = ["0.95", "#56b4e9", "#d55e00"]
drawn, axis = plt.subplots(figsize=(6.4, 5.8))
sns.heatmap(
    kinds,
    cmap=mpl.colors.ListedColormap(colours),
    vmin=0,
    vmax=2,
    cbar=False,
    square=True,
    linewidths=0.6,
    xticklabels=names,
    yticklabels=names,
    ax=axis,
)
axis.tick_params(length=0, labelsize=9)
for colour, meaning in zip(colours[::-1], ("out of context", "ordinary", "neither"), strict=True):
    axis.plot([], [], "s", color=colour, mec="0.6", label=meaning)
drawn.legend(fontsize=9, frameon=False, loc="outside upper center", ncols=3)
plt.show()

# %% [markdown]
# List `outofcontext` draws from the first kind, list `ordinary` from the second. Each pair gets as many scenes as its share says, with shares fitted so that
# every category is on both lists about equally often (iterative proportional fitting). Both lists go through the same drawing code. How well the fit
# comes out depends on how many scenes there are to share:

# %%
lines = []
for one in SCALES.values():
    number = one.silhouettes[1] // 2
    drawn = {name: np.array(pairs) for name, pairs in category_pairs(number, seed=0).items()}
    share = {name: np.bincount(pairs.ravel()) / pairs.size for name, pairs in drawn.items()}
    apart = 0.5 * np.abs(share[OUT] - share[ORDINARY]).sum()
    different = [len(np.unique(drawn[name], axis=0)) for name in LISTS]
    lines.append([one.name, number, *different, f"{apart:.1%}"])
chapter.table(
    [
        "scale",
        "scenes on each list",
        f"different pairs, out of context (of {never_NN.sum() // 2})",
        f"ordinary (of {ordinary_NN.sum() // 2})",
        "difference in categories",
    ],
    lines,
)

# %% [markdown]
# The difference is the total variation between the categories' shares of both lists. Scale `smoke` has too few scenes for a match.

# %% mystnb={"figure": {"caption": "The first four scenes of either list with their label maps. Beside each row its categories: out of context, then ordinary.", "name": "fig-lists"}, "image": {"alt": "Generated scenes of two categories that never meet in VOC beside scenes of two that do, with label maps."}} tags=["nbval-ignore-output"]
sheet = [
    [part for one in lists.values() for part in (one.image(index), figures.label_picture(one.label(index)))]
    for index in range(4)
]
notes = [
    "\n".join(chapter.names_of(np.append(False, held[name][index]), VOC_CATEGORIES) for name in LISTS)
    for index in range(4)
]
figures.panels(sheet, ["out of context", "labels", "ordinary", "labels"], notes)
plt.show()

# %% [markdown]
# ## Are the two lists alike in all but company?
#
# What differs is counted, not assumed. For this page's lists:


# %% tags=["nbval-ignore-output"]
def describe(name):
    """Facts of a list, in words."""
    one, presence = lists[name], held[name]
    annotations = [
        read_annotation(folder / "Annotations" / f"{identifier}.xml", one.categories)
        for identifier in one.ids
    ]
    objects = [entry for annotation in annotations for entry in annotation.objects]
    labels = [one.label(index) for index in range(len(one))]
    pairs = np.triu(presence.astype(int).T @ presence, 1)  # how many scenes show each
    trained = setting.cooccurrence_NN.numpy()[1:, 1:]  # how many of this page's training images do
    return {
        "scenes": len(one),
        "different pairs": len(np.unique(presence, axis=0)),
        "categories": int(presence.any(0).sum()),
        "objects a scene": f"{len(objects) / len(one):.2f}",
        "objects that something hides in part": f"{np.mean([entry.occluded for entry in objects]):.0%}",
        "pixels that belong to an object": f"{np.mean([(label % 255 > 0).mean() for label in labels]):.1%}",
        "training images that hold the same pair, mean": f"{np.average(trained, weights=pairs):.1f}",
        "scenes whose pair no training image holds": f"{np.average(trained == 0, weights=pairs):.0%}",
    }


facts = {name: describe(name) for name in LISTS}
chapter.table(["", *LISTS], [[what, facts[OUT][what], facts[ORDINARY][what]] for what in facts[OUT]])

# %% [markdown]
# The last two lines are what the lists are made for. Where an ordinary pair is seldom met in training, the networks know neither company, and the lists tell little of
# context. At scale `smoke` they tell nothing. At the others ordinary is a modest word: a few shared images of VOC make a pair ordinary, and to have every category on both lists equally
# often, rare pairs get more scenes than they have in VOC. The training lists are shorter than VOC's, so that some of those pairs are in none of their images.
#
# The drawing code adds differences that no line counts, and they favour ordinary pairs. A scene is set in a place that suits one of its categories, and suits both of
# an ordinary pair more often. And only ordinary pairs sit on each other, as a cat does on a sofa. So a *drop* from one list to the other is not all context. A
# comparison of two methods on the *same* list is free of this.
#
# ## The five methods on both lists

# %% tags=["nbval-ignore-output"]
lines = []
for name, (ordinary, out) in here.items():
    only = {
        split: 100 * float(miou(confusions(name, split), [0, *(1 + np.flatnonzero(held[split].any(0)))]))
        for split in LISTS
    }
    lines.append(
        [
            name,
            f"{ordinary:.1f}",
            f"{out:.1f}",
            f"{ordinary - out:+.1f}",
            f"{only[ORDINARY]:.1f}",
            f"{only[OUT]:.1f}",
        ]
    )
chapter.table(
    [
        "method",
        "mIoU, ordinary",
        "mIoU, out of context",
        "drop",
        "ordinary, categories on the list",
        "out of context, categories on the list",
    ],
    lines,
)

# %% [markdown]
# The mean runs over all categories that have a pixel in labels *or* predictions. A network that sees a person where there is none gets an IoU of zero for it. The
# last two columns leave such categories out of the mean; the pixels lost to them still count as missed.

# %% tags=["nbval-ignore-output"]
Markdown(
    f"{len(blank)} of {len(METHODS)} networks call every pixel background on both lists: their mIoU is background's IoU divided "
    "by the number of categories in the labels, and their drop compares the lists, and no method."
) if blank else None

# %% mystnb={"figure": {"caption": "From ordinary scenes to scenes out of context: mIoU of this page's runs, one seed each.", "name": "fig-drop"}, "image": {"alt": "Dumbbells that join the mIoU on ordinary scenes with that out of context, one for each of five methods."}} tags=["nbval-ignore-output"]
figures.dumbbells(here, ("ordinary", "out of context"))
plt.show()

# %% [markdown]
# How far does the choice of scenes alone move the difference between two methods? A bootstrap over the scenes of the list tells, for these networks as they are.
# The seed's part in it takes several seeds.

# %% tags=["nbval-ignore-output"]
lines = []
for first, second in (
    ("sourcesep-cc", "sourcesep-cm"),
    ("sourcesep-cc", "baseline"),
    ("sourcesep-cm", "baseline"),
):
    if {first, second} <= set(blank):
        continue
    terms = [
        Term(weight=sign, matrices=[confusions(name, OUT, of_single_images=True)])
        for sign, name in ((1, first), (-1, second))
    ]
    mean, low, high = paired_bootstrap(terms, rng=stream(seed, "chapter", first, second))
    lines.append([f"{first} minus {second}", f"{mean:+.2f}", f"{low:+.2f} to {high:+.2f}"])
chapter.table(["out of context", "difference, points", "95 % over scenes"], lines) if lines else Markdown(
    "Not drawn: these networks all call every pixel background, so that no choice of scenes can tell them apart."
)

# %% [markdown]
# ## What it looks like
#
# Rule: the first three ids of the list `outofcontext`.

# %% mystnb={"figure": {"caption": "Predictions of all five methods on the first three scenes out of context.", "name": "fig-predicted-out"}, "image": {"alt": "Three scenes out of context with their label maps and the predictions of five methods."}} tags=["nbval-ignore-output"]
sheet = []
for index in range(3):
    image, label = center_crop(*lists[OUT].pair(index), setting.eval_crop)
    predicted = [figures.label_picture(segmenter(run.checkpoint)(image)) for run in runs.values()]
    sheet.append([image, figures.label_picture(label), *predicted])
figures.panels(sheet, ["image", "labels", *(name.replace("sourcesep", "sep") for name in METHODS)])
plt.show()

# %% [markdown]
# ## Longer runs
#
# The committed rows, over seeds. The drop is paired by seed. Rows of `demo` scale are never judged.


# %%
def in_words(entry):
    """A value with half of its 95 % interval over seeds."""
    half = entry["half_width_95"]
    return f"{entry['value']:.2f}" + ("" if half is None else f" ± {half:.2f}")


lines = []
for key, by_method in drop.items():
    for name, difference in by_method.items():
        told = {"higher": "a loss", "lower": "a gain"}.get(verdict(difference), "undecided")
        cells = [in_words(found[key][name][split]) for split in (ORDINARY, OUT)]
        spread = "" if difference[1] is None else f" ± {difference[1]:.2f}"
        if key[0] in NO_EVIDENCE:
            told = "not judged"
        lines.append([", ".join(key[:2]), name, *cells, f"{difference[0]:+.2f}{spread}", difference[2], told])
header = ["setting", "method", "ordinary", "out of context", "drop", "seeds", "verdict on the drop"]
chapter.table(header, lines) if lines else Markdown(
    "**Not measured yet**: no committed row is about these lists. "
    "`segmix run figure4 --scale mini --seeds 0,1,2` makes them."
)

# %%
chapter.table(
    [f"claim 5: {contrast.what}", "points, over seeds", "bootstrap over scenes and seeds", "seeds", "holds"],
    [
        [
            one.setting,
            f"{finding.mean:+.2f}"
            + ("" if finding.half_width_95 is None else f" ± {finding.half_width_95:.2f}"),
            finding.over_images,
            finding.seeds,
            finding.holds,
        ]
        for one, finding in decisive
    ]
    or [["no setting", "", "", 0, unjudged()]],
)

# %% [markdown]
# The whole claim, with its parts about rare company, is judged in [fifteen claims](18_claims).
#
# ## Fig. 4 with the photographs
#
# The photographs are not part of this project. To see the figure as the paper has it, with a network of one's own:
#
# ```bash
# segmix train sourcesep-cm --scale paper --device cuda \
#   --dataset voc2012 --root VOC2012 --out runs/cm
# segmix data fetch outofcontext --root data/outofcontext
# segmix data fetch unrel --root data/unrel
# segmix predict runs/cm/checkpoint.pt PICTURES/*.jpg --out runs/out-of-context
# segmix figure 4 --scale paper --device cuda \
#   --dataset voc2012 --root VOC2012 --pictures PICTURES --out fig4.png
# ```
#
# `PICTURES` is the unpacked folder that holds the images. `predict` writes label maps and overlays of any photograph; `figure 4` draws the first eight of a
# folder, by name, with all five methods.
#
# ## Limits
#
# * Generated scenes have two categories, plain shapes and few textures. A network may rely on context less here, where shapes are clear, or more,
#   where colours are random. Nothing follows for photographs.
# * *Out of context* is about VOC's two lists. Other data sets may show such pairs.
# * Places and seats favour ordinary pairs, see above. And with equal shares for all categories, only some of the pairs that never meet get a scene (the table by
#   scale says how many): the list is about those.
# * Every scene has two categories; crowded scenes out of context are not tested.
#
# ## Takeaways
#
# * What photographs without labels can only suggest, scenes with labels can measure: how well each method sees things in unheard-of company.
# * Compare methods on one list; read the drop with the lists' own differences in mind.
# * Before a test tells methods apart, something has to be lost on it: ask that first.
#
# ## Exercises
#
# 1. Which categories cannot be out of context by this rule, and why?
# 2. Which category loses most from ordinary to out of context in CM's run?
# 3. How often does CC, which pairs categories at random, blend a pair that never meets?

# %% tags=["hide-cell"]
# Solution of 1: those that meet every other category somewhere in VOC.
everywhere = [VOC_CATEGORIES[index] for index in range(1, len(VOC_CATEGORIES)) if not never_NN[index].any()]
print(everywhere)
assert not any(held[name][:, VOC_CATEGORIES.index(thing) - 1].any() for thing in everywhere for name in LISTS)

# %% tags=["hide-cell", "nbval-ignore-output"]
# Solution of 2: among the categories on both lists.
both = 1 + np.flatnonzero(held[OUT].any(0) & held[ORDINARY].any(0))
lost = [iou(confusions("sourcesep-cm", split))[both] for split in (ORDINARY, OUT)]
worst = int(np.argmax(lost[0] - lost[1]))
most = 100 * (lost[0] - lost[1])[worst]
print(f"{VOC_CATEGORIES[both[worst]]}: {most:.1f} points" if most > 0 else "none")
assert np.isfinite(lost).all()

# %% tags=["hide-cell"]
# Solution of 3: the share among pairs of categories drawn as CC draws them, from VOC's images.
from segmix_core.pairing_statistics import over_seeds

presence = read_label_table().presence("train_aug")
unheard = {
    pairing: np.mean(
        [one.never_meet for one in over_seeds(pairing, presence, 16, seeds=range(2), batches=50)]
    )
    for pairing in ("clusters", "cooccurrence")
}
print({pairing: f"{value:.0%}" for pairing, value in unheard.items()})
assert unheard["clusters"] > unheard["cooccurrence"]

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
company = {name: presence.astype(int).T @ presence for name, presence in held.items()}
print(
    "every scene shows two categories:",
    {name: bool((presence.sum(1) == 2).all()) for name, presence in held.items()},
)
print("out of context, pairs that VOC shows:", int(np.triu(company[OUT] * ~never_NN[1:, 1:], 1).sum()))
print(
    "ordinary, pairs that are not frequent:", int(np.triu(company[ORDINARY] * ~ordinary_NN[1:, 1:], 1).sum())
)
print(
    "training images with a pair that never meets:", int((setting.cooccurrence_NN.numpy() * never_NN).sum())
)
print("measured on both lists:", all(np.isfinite(values).all() for values in here.values()))
print(
    "declared rows of Fig. 4:",
    len(FIGURES[4].rows),
    "| printed:",
    [row.printed for row in FIGURES[4].rows[:1]],
)
print(
    "one seed decides:", verdict(paired_difference({seed: here["baseline"][0]}, {seed: here["baseline"][1]}))
)
