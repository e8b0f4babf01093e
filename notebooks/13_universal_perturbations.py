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
# # Universal perturbations
#
# **Question.** One pattern is added to every image. Does source separation lose less under it than the others do, as Table 6 is
# said to show, and does the pattern do more harm than noise of its size?
#
# **Costs.** One more baseline is trained, and two perturbations are crafted on it: seconds at `smoke` scale on a CPU, a few minutes of one core at `demo`. A GPU
# shortens both (`device="cuda"`). What comes from committed rows costs nothing; [how to run](../book/running) makes them again.
# The published perturbations (`ResNet-152.mat`, `GoogLeNet.mat`) appear when the environment variable `SEGMIX_PERTURBATIONS` names the folder that holds them.

# %% tags=["parameters"]
scale = "smoke"
dataset = "silhouettes"
root = None
seed = 0
device = "cpu"

# %% tags=["remove-cell"]
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown

from segmix_core import chapter, results
from segmix_core.attacks import CONTROLS, FITS, Perturbation, apply_perturbation, control_of, fit
from segmix_core.attacks.fooling import segmented
from segmix_core.attacks.gd_uap import log_norms
from segmix_core.attacks.uap import UAP, deepfool_segmentation
from segmix_core.cooccurrence import dataset_presence
from segmix_core.experiments import METHODS, SCALES, TABLES
from segmix_core.experiments.robustness import (
    CRAFTED_ON_EACH,
    STUDIED,
    STUDIES,
    SURROGATE,
    TOLERANCE,
    UNIVERSALS,
)
from segmix_core.report import figures
from segmix_core.report.claims import judge
from segmix_core.report.robustness import drops, matrix, printed_drops
from segmix_core.report.tables import scale_in
from segmix_core.rng import stream
from segmix_core.robustness.adaptive import batch_of
from segmix_core.robustness.at_hand import committed, published
from segmix_core.robustness.universal import Shown, crafted, crafting
from segmix_core.run import cached_run

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)
training, evaluation = setting.data
rows = results.read_all()
runs = {name: setting.run(name) for name in METHODS}
BASE, CC, CM = "baseline", "sourcesep-cc", "sourcesep-cm"

# %% tags=["remove-cell"]
# Committed, or crafted on a baseline of another seed, as in the study: nobody is attacked by its own.
request = replace(setting.request(BASE), seed=SURROGATE)
surrogate = chapter.Run(request, *cached_run(request))
own = {
    attack: committed(attack, request, training)
    or crafted(
        surrogate.checkpoint,
        crafting(attack, size=setting.eval_crop, study=STUDIES[scale]),
        training,
        surrogate.checkpoint.parent / "robustness" / "perturbations",
        output=request.experiment.method.output(),
        device=device,
    )
    for attack in CRAFTED_ON_EACH
}
folder = os.environ.get("SEGMIX_PERTURBATIONS")
named = [published(Path(folder), universal) for universal in UNIVERSALS] if folder else []
perturbations = own | {one.name: one for one in named if one is not None}

# %% tags=["remove-cell"]
# The printed table as points lost, and what rows hold: by setting and list of images, the largest scale first.
printed = printed_drops()
printed_lost = {key: clean - attacked for key, (clean, attacked) in printed.items()}
PRINTED = list(dict.fromkeys(name for _, name in printed))
GD_UAP = [name for name in PRINTED if name.startswith("gd-uap")]
PUBLISHED = [one.name for one in UNIVERSALS if one.file is not None]
NAMES = [universal.name for universal in UNIVERSALS]
SLACK = 1e-6  # of a point: printed numbers have one digit
measured = {}
for name in reversed(SCALES):
    groups = defaultdict(list)
    for drop in drops([row for row in rows if row["scale"] == name]):
        groups[drop.setting, drop.images, drop.digest].append(drop)
    measured |= dict(sorted(groups.items(), key=lambda entry: -len(entry[1])))
largest = next(iter(measured), None)


def added(shown, image_BCHW, inside_BHW):
    """Images with what is shown added to them, and not to their padding."""
    return torch.where(inside_BHW[:, None], shown.perturb()(image_BCHW), image_BCHW)


def table6(of):
    """The perturbations of the study as Table 6 shows them: resized, on networks that they were not made on."""
    kept = [drop for drop in of if drop.perturbation in NAMES and drop.fit == FITS[0]]
    return sorted(
        kept, key=lambda drop: (NAMES.index(drop.perturbation), list(STUDIED).index(drop.experiment))
    )


def spread(found):
    """A mean with half of its interval, if there is one."""
    mean, half = found
    return f"{mean:+.2f}" + ("" if half is None else f" ± {half:.2f}")


def said_of(key, of):
    """Setting, images and seeds, in words."""
    seeds = sorted({len(drop.seeds) for drop in of})
    number = " to ".join(str(one) for one in dict.fromkeys((seeds[0], seeds[-1])))
    return f"{key[0]}, {key[1]} images, {number} seed{'s' * (seeds[-1] > 1)}"


judged = judge(rows, numbers=(6, 7))

# %% [markdown]
# ## The finding, first
#
# CC and CM separate sources, with phantoms chosen by categorical clusters and by co-occurrence; the `silhouettes` are the generated pictures, and `mini` is the larger of the small scales. GD-UAP's settings
# (none, range, data, part) are explained below: they are what its maker sees of the data.

# %%
worse = [name for name in GD_UAP if printed_lost[CM, name] > printed_lost[BASE, name] + SLACK]
kept_less = [
    name
    for name in GD_UAP
    if np.divide(*printed[CM, name][::-1]) < np.divide(*printed[BASE, name][::-1]) - SLACK
]
higher = [name for name in GD_UAP if printed[CM, name][1] > printed[BASE, name][1]]
mean_lost = {
    name: np.mean([printed_lost[name, perturbation] for perturbation in PRINTED]) for name in METHODS
}
text = (
    f"**As printed**, and if all five rows have one encoder, which their clean values leave in doubt, CM loses *more* points than the baseline in **{len(worse)} of {len(GD_UAP)} GD-UAP settings** "
    f"({', '.join(f'{name} {printed_lost[CM, name]:.1f} against {printed_lost[BASE, name]:.1f}' for name in GD_UAP)}), and retains a smaller share "
    f"in {len(kept_less)}. Its mIoU is the higher one in {len(higher)} of them because it starts from a higher one. "
    f"Over all {len(PRINTED)} columns the mean loss is {mean_lost[BASE]:.1f} for the baseline, {mean_lost[CM]:.1f} for CM and {mean_lost[CC]:.1f} for CC. "
)
if largest is None:
    text += "**Measured**: not measured yet; no committed row holds a universal perturbation."
else:
    told = []
    for key, of in measured.items():
        decided = [drop for drop in table6(of) if drop.is_attack is not None]
        if scale_in(key[0]) == scale_in(largest[0]) and decided:
            found = {
                name: [drop.is_attack for drop in decided if drop.perturbation == name]
                for name in dict.fromkeys(drop.perturbation for drop in decided)
            }
            shares = {
                "on every method": [name for name, hurt in found.items() if all(hurt)],
                "on some": [name for name, hurt in found.items() if any(hurt) and not all(hurt)],
                "on none": [name for name, hurt in found.items() if not any(hurt)],
            }
            by_share = [f"{where}: {', '.join(names)}" for where, names in shares.items() if names]
            told.append(f"In {said_of(key, decided)}: {'; '.join(by_share)}")
    text += (
        "**Measured**: which perturbations, resized, take more than every noise of their size, with every seed that there is and by more than "
        f"{TOLERANCE:g} points? "
        + ("; ".join(told) or "None has controls")
        + ". Other ways of fitting are below. **Whether source separation loses less**: "
        + (
            "; ".join(
                f"{one.in_words} ({one.setting or 'nowhere'})" for one in judged if one.claim.number == 6
            )
        )
        + "."
    )
Markdown(text)

# %%
chapter.table(
    ["claim", "in our words", "setting", "verdict"],
    [[one.claim.number, one.claim.text, one.setting or "–", one.in_words] for one in judged],
)

# %% [markdown]
# Whatever stands here is **robustness to transferred universal perturbations**: a fixed pattern, made without the network that it is shown to. It never
# means that a network withstands somebody who attacks it. Rows of `smoke` and `demo` scale are not judged.
#
# ## What a universal perturbation is
#
# An ordinary attack is made for one image. A universal perturbation $v$ is made once, for all images at once and within a size that hardly shows:
#
# $$
# \|v\|_\infty \le \epsilon, \qquad \text{fooling rate}(v) = \frac{1}{|X||\Omega|} \sum_{x \in X} \sum_{p \in \Omega} \left[ s_p(x + v) \ne s_p(x) \right]
# $$
#
# with $s_p(x)$ the category of pixel $p$ and $\epsilon = 10$ of 255. Note what a fooling rate is not: it counts changes, not errors, and needs no labels. The paper
# takes published perturbations: UAP {cite}`moosavi2017universal`, made on classifiers, and GD-UAP {cite}`mopuri2019generalizable`, made on a segmenter's encoder.
# It says that both are public. The authors of GD-UAP link perturbations made on segmenters of their own; which of them Table 6 is about, the paper does not say. Here they are crafted anew.
#
# ## How 224 pixels meet an image
#
# The published UAPs have 224 x 224 pixels, the paper's images 513 x 513, and the paper does not say how the one gets onto the other. There are three ways
# ({func}`segmix_core.attacks.fit`), and a result row names the one that was used.

# %%
chapter.source(fit)

# %% mystnb={"figure": {"caption": "A perturbation and an image in the proportion of 224 to 513 pixels, at the size of this page's images (a published one where its folder was named, else one crafted here). Above: the pattern by itself, enlarged, and fitted in three ways; grey is nothing, black or full colour the limit. Below: the image, and the image with each.", "name": "fig-fits"}, "image": {"alt": "Four columns: a small pattern, then the same stretched, tiled, and padded with grey; below, a picture with each of them added."}}
size = setting.eval_crop
drawn = perturbations.get(NAMES[0], own["uap"])  # a published one, if there is any
small_CHW = fit(drawn.v_CHW, round(size * 224 / 513), round(size * 224 / 513))
fitted = {mode: fit(small_CHW, size, size, mode=mode) for mode in FITS}
image_BCHW = setting.evaluation_batch([0]).image_BCHW


def pattern_picture(v_CHW):
    """A pattern on one scale for all: grey is nothing, the limit is black or full colour."""
    return figures.image_picture(v_CHW / (2 * UAP().epsilon) + 0.5)


figures.panels(
    [
        [pattern_picture(v_CHW) for v_CHW in (small_CHW, *fitted.values())],
        [
            figures.image_picture(one_BCHW[0])
            for one_BCHW in (image_BCHW, *(apply_perturbation(image_BCHW, v) for v in fitted.values()))
        ],
    ],
    ["as it is", *FITS],
    ["pattern", "image"],
).set_size_inches(5.0, 2.8)
plt.show()

# %% [markdown]
# At 513 pixels
#
# * `resize` makes every detail of the pattern 2.3 times as large: what was made to excite small filters may excite none.
# * `tile` keeps the details, and puts seams where nobody made them.
# * `center_pad` leaves most of the image untouched.
#
# Images of the small scales are smaller than the pattern, and there the three do something else:

# %%
met = {
    (drop.crop, scale_in(key[0]))
    for key, of in measured.items()
    for drop in of
    if drop.perturbation in PUBLISHED and drop.crop is not None and drop.crop < 224
}
smaller = {}
for crop, of_scale in sorted(met):
    smaller.setdefault(crop, []).append(f"`{of_scale}`")
Markdown(
    "\n".join(
        f"* Rows at {' and '.join(names)} are of images of {crop} pixels. `resize` shrinks the pattern to {crop / 224:.0%} of its length, bilinearly and without a smoothing filter before; `tile` and `center_pad` "
        f"show {crop} x {crop} pixels of it as they are, from its corner and from its middle. Nothing is tiled, and nothing is padded."
        for crop, names in smaller.items()
    )
    or "No row of a published perturbation is of such images so far."
)

# %% [markdown]
# ## Two ways to craft one
#
# **UAP** ({func}`segmix_core.attacks.uap.craft_uap`) visits image after image. Where fewer than the wanted share of pixels is changed yet, it adds the shortest step that takes the
# unchanged ones across a decision boundary (DeepFool) and clips the sum to $\epsilon$. With $f_k$ the mean score of category $k$ minus that of the pixels' own category,
#
# $$
# v \leftarrow v + (1 + 0.02)\, \frac{|f_k|}{\|\nabla_v f_k\|_2^2} \nabla_v f_k, \qquad k = \arg\min_j \frac{|f_j|}{\|\nabla_v f_j\|_2}
# $$

# %%
chapter.source(deepfool_segmentation)

# %% [markdown]
# **GD-UAP** ({func}`segmix_core.attacks.gd_uap.craft_gd_uap`) follows no prediction, and in the setting `none` no image; labels choose the images of `part`, and do nothing else. It fills the encoder with as much activation as it can, layer by layer:
#
# $$
# v^* = \arg\min_{\|v\|_\infty \le \epsilon} \; - \sum_l \log \| a_l(v) \|_2
# $$
#
# with $a_l$ what the $l$-th ReLU returns, of the perturbation alone or, with images, of the perturbed image. `range` gives it the mean and spread of the training images, `data` the images, `part` those of them with the least background.

# %%
chapter.source(log_norms)

# %% [markdown]
# Both are crafted here, on a baseline with a seed of its own ({func}`segmix_core.robustness.universal.crafted`): for all five methods they are *transferred*.
# What the attacker knows is the architecture of the encoder and the training images, not the weights. Even GD-UAP without data meets predictions at its checks: there the fooling rate
# on training images that are held out is measured, and the perturbation that fools most is kept. Below paper scale crafting is shorter than its authors', by as much
# as this table tells: a perturbation that was crafted for longer may take more.

# %%
chapter.table(
    ["scale", "UAP: images", "passes over them", "GD-UAP: iterations", "a check every", "images of a check"],
    [
        [
            name,
            of.uap_images,
            of.uap_passes,
            of.gd_uap_iterations,
            of.gd_uap_check_every,
            of.gd_uap_watched,
        ]
        for name, of in STUDIES.items()
    ],
)

# %% [markdown]
# ## Why noise stands beside each
#
# Any pattern of this size may cost a network some points. Whether it was the *pattern* or only its *size* shows in three controls: random signs of the same
# largest size, random signs of the same root mean square, and the pattern's own pixels in another place ({func}`segmix_core.attacks.control_of`).

# %%
chapter.source(control_of)

# %% mystnb={"figure": {"caption": "The perturbations of this page (a row each) and their controls, on one scale: grey is nothing, black or full colour is 10 of 255. The published ones are among them where their folder was named.", "name": "fig-crafted"}, "image": {"alt": "Rows of four patterns: a crafted perturbation, two fields of random signs, and its pixels shuffled."}} tags=["nbval-ignore-output"]
sheet = []
for name, perturbation in perturbations.items():
    whole = replace(perturbation, v_CHW=fit(perturbation.v_CHW, size, size))
    controls = [control_of(whole, one, rng=stream(0, "control", name, one)) for one in CONTROLS]
    sheet.append([pattern_picture(one.v_CHW) for one in (whole, *controls)])
sheets = figures.panels(
    sheet, ["itself", "signs, same size", "signs, same RMS", "shuffled"], list(perturbations)
)
sheets.set_size_inches(5.0, 1.2 * len(sheet) + 0.3)
plt.show()

# %% [markdown]
# This page crafts two, `uap` and `gd-uap-none`. They are those that are also crafted on every method (who attacks whom, below). `segmix run table6` crafts GD-UAP in its other settings, and keeps a picture of each.
#
# A control is made at the size of the image. Made at 224 pixels and resized afterwards, noise would lose a third of its RMS to averaging, and a smooth pattern
# nothing (exercise 1): such a control is beaten by anything.
#
# Fooling rates, per cent of pixels that change, over the first images of this page's evaluation list:

# %% tags=["nbval-ignore-output"]
number = min(48, len(evaluation))
image_BCHW, _, inside_BHW = batch_of(evaluation, range(number), setting.eval_crop, "cpu")
networks = {name: (run.model, run.request.experiment.method.output()) for name, run in runs.items()}
networks = {"surrogate (white-box)": (surrogate.model, request.experiment.method.output())} | networks
with torch.inference_mode():
    clean = {name: segmented(model, image_BCHW, output) for name, (model, output) in networks.items()}
lines = []
for name, perturbation in perturbations.items():
    for control in (None, *CONTROLS):
        shown_BCHW = added(Shown(perturbation, control=control), image_BCHW, inside_BHW)
        with torch.inference_mode():
            rates = [
                100 * float((segmented(model, shown_BCHW, output) != clean[of])[inside_BHW].double().mean())
                for of, (model, output) in networks.items()
            ]
        lines.append([name, control or "**itself**", *(f"{rate:.1f}" for rate in rates)])
chapter.table([f"{number} images", "what is added", *networks], lines)

# %% [markdown]
# A number in the line *itself* says nothing until it is larger than the three below it. If it is not, the pattern does no more than noise of its size,
# which is no robustness of the network: it is a weakness of the attack. (Networks of `smoke` scale are hardly
# trained: where they call everything background, nothing changes.)
#
# ## Before and after
#
# In the manner of Fig. 6. Rule: the first three evaluation images that show two categories or more; GD-UAP without data, and a published UAP where its folder was named.

# %% mystnb={"figure": {"caption": "Three images as they are and under GD-UAP without data, crafted on another baseline, and what each method says of them (one seed each). Where their folder was named, also under a published UAP.", "name": "fig-perturbed"}, "image": {"alt": "Rows, each with an image, its labels and the predictions of five methods; each image stands there as it is and then perturbed."}} tags=["nbval-ignore-output"]
several = np.flatnonzero(dataset_presence(evaluation)[:, 1:].sum(1) >= 2)[:3]
image_BCHW, label_BHW, inside_BHW = batch_of(evaluation, several.tolist(), setting.eval_crop, "cpu")
sheet = []
shown = {"as it is": image_BCHW} | {
    name: added(Shown(perturbations[name]), image_BCHW, inside_BHW)
    for name in ("gd-uap-none", NAMES[0])
    if name in perturbations
}
for sample in range(len(several)):
    label = figures.label_picture(label_BHW[sample].numpy())
    for shown_BCHW in shown.values():
        with torch.inference_mode():
            found = [
                segmented(model, shown_BCHW[sample, None], output)[0].numpy()
                for model, output in (networks[name] for name in METHODS)
            ]
        sheet.append([figures.image_picture(shown_BCHW[sample]), label, *map(figures.label_picture, found)])
figures.panels(
    sheet,
    ["image", "labels", *(name.replace("sourcesep", "sep") for name in METHODS)],
    [*shown] * len(several),
)
plt.show()

# %% [markdown]
# Three images can be found for any conclusion. They show what a perturbation does, not whom it hurts.
#
# ## Table 6 as printed
#
# The text speaks of "performance loss"; the table prints what is left. The methods start from different
# heights, so that the loss has to be computed. What an attack *takes* is the difference; what is *retained* is the share. The same losses are drawn in [the audit](17_audit).

# %%
columns = {row.perturbation: row.column for row in TABLES[6] if row.perturbation is not None}
chapter.table(
    ["name in this book", "column of Table 6", "here"],
    [
        [
            one.name,
            columns.get(one.name, "not in the paper"),
            f"as published, {one.file}" if one.file else "crafted on another baseline",
        ]
        for one in UNIVERSALS
    ],
)

# %%
clean_of = {(row.experiment.name, row.column): row.printed for row in TABLES[1]}
chapter.table(
    ["method", "clean", "which is, in Table 1", *(f"{name}: left / lost / retained" for name in PRINTED)],
    [
        [
            name,
            printed[name, PRINTED[0]][0],
            next(
                (
                    of
                    for (one, of), value in clean_of.items()
                    if (one, value) == (name, printed[name, PRINTED[0]][0])
                ),
                "neither backbone's",
            ),
            *(
                f"{attacked} / {clean_value - attacked:.1f} / {100 * attacked / clean_value:.1f} %"
                for clean_value, attacked in (printed[name, perturbation] for perturbation in PRINTED)
            ),
        ]
        for name in METHODS
    ],
)

# %%
less = {
    name: [one for one in PRINTED if printed_lost[name, one] < printed_lost[BASE, one] - SLACK]
    for name in METHODS
    if name != BASE
}
chapter.table(
    ["method, as printed", "mean loss", "loses less than the baseline under"],
    [
        [name, f"{mean_lost[name]:.2f}", ", ".join(less.get(name, [])) or ("–" if name == BASE else "none")]
        for name in METHODS
    ],
)

# %% [markdown]
# *Left* is the mIoU under attack, *lost* the points taken from the clean one, *retained* the share of it. Two clean values are those of ResNet-101 in Table 1 and three are of neither
# encoder: if they are not all of one, every comparison between methods is moved. Section 4.4 calls both variants significantly robust. For CC the printed losses agree under most columns; for CM under GD-UAP they say the opposite. And no column has a
# control: how much of any loss is noise, the paper does not tell.
#
# ## Table 6, measured
#
# From committed rows, every setting that has some, the largest scale first. *More than noise*: pairs of perturbation and method in which the perturbation takes more
# than each control, with every seed and by more than the tolerance named at the top of this page ({class}`segmix_core.report.robustness.Drop`). Of a perturbation that was crafted more than once each seed is shown one crafting, the same
# for all methods: the one that most of them were shown. A mean over seeds can therefore be over several craftings, and the number of seeds can differ from line to line.

# %%
lines = []
for key, of in measured.items():
    for name in STUDIED:
        mine = [drop for drop in table6(of) if drop.experiment == name]
        against = [drop for drop in mine if drop.is_attack is not None]
        if mine:
            lines.append(
                [
                    said_of(key, mine),
                    name,
                    f"{np.mean([drop.lost[0] for drop in mine]):+.2f}",
                    f"{np.mean([drop.excess[0] for drop in against]):+.2f}" if against else "–",
                    f"{sum(drop.is_attack for drop in against)} of {len(against)}",
                ]
            )
chapter.table(
    ["setting", "method", "mean points lost", "of them beyond noise", "more than noise (resized)"], lines
) if lines else Markdown("**Not measured yet**: no committed row holds a universal perturbation.")

# %% mystnb={"figure": {"caption": "Points of mIoU that each perturbation takes from each method, at the largest scale that has rows; scale, images and seeds stand above, and what crafting took. Dots: means over seeds, with 95 % intervals from three seeds on; pale dots: single seeds. Rings: the most harmful noise of the same size. A dot that is not right of its ring, by more than the tolerance, is noise.", "name": "fig-drops"}, "image": {"alt": "Dots with intervals and rings for each method under each perturbation, or the words: not measured yet."}}
figures.drop_points([] if largest is None else table6(measured[largest]))
plt.show()

# %%
tables = []
for key, of in measured.items():
    if scale_in(key[0]) != scale_in(largest[0]):
        continue  # a smaller scale: see above
    lines = []
    for drop in table6(of):
        before, left = printed.get((drop.experiment, drop.perturbation), (None, None))
        lines.append(
            [
                drop.perturbation,
                drop.experiment,
                "–" if left is None else f"{left} / {before - left:.1f} / {100 * left / before:.1f} %",
                f"{np.mean([drop.attacked[one] for one in drop.seeds]):.2f} / {spread(drop.lost)} / {drop.retained:.1f} %",
                "–" if drop.excess is None else spread(drop.excess),
                {True: "yes", False: "no", None: "no control"}[drop.is_attack],
                len(drop.seeds),
            ]
        )
    header = [
        "perturbation",
        "method",
        "printed: left / lost / retained",
        "measured: left / lost / retained",
        "beyond noise",
        "attack",
        "seeds",
    ]
    tables.append(
        f"**{said_of(key, of)[:1].upper()}{said_of(key, of)[1:]}**\n\n{chapter.table(header, lines).data}"
    )
Markdown("\n\n".join(tables) or "**Not measured yet.**")

# %% [markdown]
# ± is half of the 95 % interval over seeds, from two seeds on; the figure draws it from three. Means are over the seeds that a line has: the next chapters compare common seeds alone, and differ a little.
# *Attack* is "no" where with some seed some control takes as much, or less by no more than the tolerance. Such a line compares how methods bear noise. Among lines that say "yes", a method is
# called more robust only through the rule for differences: three seeds or more, and an interval away from zero.
#
# Does the way of fitting matter? Points lost under the published perturbations, and what of them is beyond noise that is fitted in the same way; means over the
# methods that met all three (a dash: noise was not fitted so):

# %%
lines = []
for key, of in measured.items():
    fitted = {(one.perturbation, one.experiment, one.fit): one for one in of}
    for name in NAMES:
        met = [one for one in STUDIED if all((name, one, mode) in fitted for mode in FITS)]
        for mode in FITS if met else ():
            these = [fitted[name, one, mode] for one in met]
            lost = f"{np.mean([one.lost[0] for one in these]):+.2f}"
            controlled = all(one.excess is not None for one in these)
            beyond = f"{np.mean([one.excess[0] for one in these]):+.2f}" if controlled else "–"
            sides = " or ".join(sorted({str(one.crop) for one in these}))
            lines.append([said_of(key, of), name, mode, sides, len(met), lost, beyond])
header = [
    *("setting", "perturbation", "fitted by", "to pixels", "methods", "points lost"),
    "of them beyond noise",
]
chapter.table(header, lines) if lines else Markdown("**Not measured yet.**")

# %% [markdown]
# ## Who attacks whom
#
# A perturbation can be crafted on each of the five methods and shown to each. On the diagonal it meets the network that it was made on (*white-box*), elsewhere
# another one (*transfer*). A method that is weak as a source and strong as a target under transfer, but weak on the diagonal, is not robust: it is different.

# %% tags=["remove-cell"]
crossed = {}
for attack in CRAFTED_ON_EACH:
    for key, of in measured.items():
        made = [drop for drop in of if drop.perturbation.startswith(f"{attack} on ")]
        if made and attack not in crossed:  # the largest scale comes first
            cost = "; ".join(dict.fromkeys(drop.cost for drop in made))
            crossed[attack] = (said_of(key, made), cost, matrix(made, attack))
nothing = ("not measured yet", "", matrix([], "uap"))

# %% mystnb={"figure": {"caption": "UAP crafted on each method (down) and shown to each (across): points of mIoU lost, mean over seeds. Framed: white-box. Empty: not measured. A number in brackets, if any: noise of the same size takes as much. Invalid: transfer takes more than white-box.", "name": "fig-matrix-uap"}, "image": {"alt": "A five by five matrix of points lost under UAP with a framed diagonal; empty cells were not measured."}}
said, cost, crossing = crossed.get("uap", nothing)
figures.attack_matrix(crossing).axes[0].set_title(f"UAP: {said}\n{cost}", fontsize=9)
plt.show()

# %% mystnb={"figure": {"caption": "The same for GD-UAP without data.", "name": "fig-matrix-gd-uap"}, "image": {"alt": "A five by five matrix of points lost under GD-UAP with a framed diagonal; empty cells were not measured."}}
said, cost, crossing = crossed.get("gd-uap-none", nothing)
figures.attack_matrix(crossing).axes[0].set_title(f"GD-UAP, no data: {said}\n{cost}", fontsize=9)
plt.show()

# %%
lines = []
for attack, (said, _, crossing) in crossed.items():
    for place, name in enumerate(METHODS):
        own_loss = crossing.lost_MM[place, place]
        others = np.delete(crossing.lost_MM[:, place], place)
        if np.isfinite(own_loss) and np.isfinite(others).any():
            valid = "✘ invalid" if name in crossing.stronger else "✔"
            cells = (own_loss, np.nanmean(others), np.nanmax(others))
            lines.append([attack, said, name, *(f"{cell:+.2f}" for cell in cells), valid])
header = [
    "attack",
    "setting",
    "attacked",
    "white-box",
    "transfer, mean",
    "transfer, strongest",
    "transfer is not stronger",
]
chapter.table(header, lines) if lines else Markdown("**Not measured yet.**")

# %% [markdown]
# An attacker who knows the network should do at least as much harm as one who does not: where a perturbation from elsewhere takes more (by more than the tolerance of the sanity checks), the one crafted on the network
# itself was not made well enough, and the column says nothing about robustness. Such a perturbation may still be stronger than noise, as the tables above ask: that makes
# it an attack, not the strongest of its kind.

# %% [markdown]
# ## Limits
#
# * A universal perturbation is fixed before the network is seen. It bounds nothing: the next chapters attack each image with the network at hand.
# * The paper does not name its GD-UAP files, nor the network that they were made on. What is crafted here carries the names of its settings, not its pixels.
# * The published UAPs were made on classifiers of photographs at 224 pixels. To a small network on generated pictures they may be nothing but texture. At the
#   small scales, Table 6's rows and claims 6 and 7 take them shrunk, which may take some of their power away; pieces of their own size stand beside them in the table on fitting.
# * Below paper scale the networks are underfitted. How much they lose to noise alone stands beside each perturbation.
#
# ## Takeaways
#
# * Read robustness as what is lost, beside what noise of the same size takes. The mIoU that is left mostly reflects the clean one.
# * A perturbation whose lines say "no" tells nothing of robustness to attacks here, whichever method loses least under it.
# * The printed losses contradict the printed claim for CM under GD-UAP, unless the rows of Table 6 have different encoders; no training is needed to see it.
# * The right words for all of this are "robustness to transferred universal perturbations".
#
# ## Exercises
#
# 1. Random signs are drawn at 224 pixels and resized to 513. What share of their root mean square is left? Why is that unfair to the control?
# 2. Two categories, and a score that is linear in the pixel: how long is the DeepFool step?
# 3. Rank the methods by printed mIoU under attack, and by printed loss. Under which perturbation do both name the same best method?

# %% tags=["hide-cell"]
# Solution of 1: about two thirds. Along each axis the weights t and 1 - t leave E[t^2 + (1-t)^2] = 2/3 of the power.
# Noise is left weaker than the smooth pattern that it stands beside.
flat = Perturbation("flat", torch.full((3, 224, 224), 10.0), {})
signs = control_of(flat, CONTROLS[0], rng=stream(seed, "chapter", "signs"))
left = replace(signs, v_CHW=fit(signs.v_CHW, 513, 513)).rms / signs.rms
smooth = replace(flat, v_CHW=fit(flat.v_CHW, 513, 513)).rms / flat.rms
print(f"noise keeps {left:.2f}, a flat pattern {smooth:.2f}")
assert abs(left - 2 / 3) < 0.01
assert abs(smooth - 1) < 1e-6

# %% tags=["hide-cell"]
# Solution of 2: |f| / ||w||, and 2 % more. On the 0..255 scale the gradient is w / 255.
weight_C = torch.tensor([3.0, -1.0, 2.0])
pixel_CHW = torch.full((3, 1, 1), 0.5)
margin = -0.2  # of category 1 over category 0, at this pixel


def linear(shown_BCHW):
    """A network of two categories with a linear score."""
    score_BHW = (weight_C[None, :, None, None] * (shown_BCHW - pixel_CHW)).sum(1) + margin
    return SimpleNamespace(
        outputs=lambda: {"dominant": torch.stack([torch.zeros_like(score_BHW), score_BHW], 1)}
    )


own_HW, inside_HW = torch.zeros(1, 1, dtype=torch.uint8), torch.ones(1, 1, dtype=torch.bool)
step_CHW = deepfool_segmentation(linear, pixel_CHW, own_HW, inside_HW, torch.zeros(3, 1, 1), UAP(size=1))
by_hand = 1.02 * 255 * abs(margin) / float(weight_C.norm())
print(f"{float(step_CHW.norm()):.3f} of 255, by hand {by_hand:.3f}")
assert abs(float(step_CHW.norm()) - by_hand) < 1e-3
assert torch.allclose(step_CHW.flatten() / step_CHW.norm(), weight_C / weight_C.norm(), atol=1e-5)

# %% tags=["hide-cell"]
# Solution of 3.
best = {
    name: (
        max(METHODS, key=lambda method, name=name: printed[method, name][1]),
        min(METHODS, key=lambda method, name=name: printed_lost[method, name]),
    )
    for name in PRINTED
}
for name, (by_height, by_loss) in best.items():
    print(f"{name}: highest {by_height}, smallest loss {by_loss}")
assert any(by_height != by_loss for by_height, by_loss in best.values())

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
print("printed: CM loses more than the baseline under", worse, "of", GD_UAP)
print("printed mean loss:", {name: round(float(value), 2) for name, value in mean_lost.items()})
print("loses less than the baseline:", {name: len(where) for name, where in less.items()})
print("within the limit:", {name: one.epsilon <= 10 + 1e-4 for name, one in own.items()})
ones_CHW = torch.arange(1.0, 3 * 4 + 1).view(3, 2, 2)
print("tiled:", fit(ones_CHW, 3, 3, mode="tile")[0].tolist())
print("padded:", fit(ones_CHW, 4, 4, mode="center_pad")[0].tolist())
print("resized:", fit(ones_CHW, 4, 4)[0].tolist())
probe = Perturbation("probe", ones_CHW, {})
for control in CONTROLS:
    noise = control_of(probe, control, rng=stream(0, "control", "probe", control))
    print(f"{control}: size {noise.epsilon:.3f}, RMS {noise.rms:.3f} of {probe.rms:.3f}")
with torch.inference_mode():
    mean_C11 = surrogate.model.encoder.mean
    start_CHW = torch.from_numpy(stream(0, "gd-uap", "start").uniform(-10, 10, (3, size, size))).float()
    filled = [
        float(log_norms(surrogate.model.encoder, (mean_C11 + v_CHW / 255).clamp(0, 1)[None]))
        for v_CHW in (start_CHW, own["gd-uap-none"].v_CHW)
    ]
print("GD-UAP fills the encoder more than the noise it started from:", filled[1] > filled[0] + 0.1)
print("claims 6 and 7:", sorted({(one.claim.number, one.setting, one.in_words) for one in judged}))
print("rows:", {key[0]: len(of) for key, of in measured.items()} or "not measured yet")
