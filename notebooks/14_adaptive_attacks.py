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
# # Adaptive attacks
#
# **Question.** How much does each method still get right when the attacker knows the network, has its gradients, and aims at whatever
# part of it is weakest?
#
# **Costs.** The shared runs of [stage 1](04_stage1), and attacks on a handful of images: seconds of one core at `smoke`, a minute or
# two at `demo`, seconds of a GPU at larger scales. The curves are read from committed rows; what *they* cost is counted below.

# %% tags=["parameters"]
scale = "smoke"
dataset = "silhouettes"
root = None
seed = 0
device = "cpu"

# %% tags=["remove-cell"]
from collections import defaultdict
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown

from segmix_core import chapter, results
from segmix_core.attacks import adaptive, sanity
from segmix_core.attacks.adaptive import (
    AIMS,
    LOSSES,
    Adversary,
    aimed,
    apgd,
    attack,
    objective_of,
    pixel_loss,
)
from segmix_core.experiments import SCALES
from segmix_core.experiments.robustness import STUDIED, STUDIES
from segmix_core.losses import phantom_activation
from segmix_core.records import Separation
from segmix_core.report import figures, paired_difference, verdict
from segmix_core.report.claims import NO_EVIDENCE
from segmix_core.report.robustness import curves
from segmix_core.report.statistics import interval
from segmix_core.report.tables import scale_in
from segmix_core.robustness.adaptive import batch_of

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)
study = STUDIES[scale]
STEPS = 20  # of each loss, in the pictures of this page
FEW = 10  # the same, where all aims are tried
SHOWN = 3  # images of this page

# The largest scale first, of one scale photographs first.
found = sorted(
    curves(results.read_all()),
    key=lambda curve: (
        list(SCALES).index(scale_in(curve.setting)),
        "silhouettes" not in curve.setting,
    ),
    reverse=True,
)
groups = defaultdict(dict)  # (setting, what was shown) -> method -> curve
for curve in found:
    groups[curve.setting, curve.shown][curve.experiment] = curve
groups = {
    key: {name: of[name] for name in STUDIED if name in of} for key, of in groups.items()
}  # methods in their order


def told(values):
    """Mean over seeds, with its 95 % interval where there is one; a dash where nothing was measured."""
    if not values:
        return "–"
    mean, half = interval(list(values.values()))
    return f"{mean:.1f}" if half is None else f"{mean:.1f} ± {half:.1f}"


def difference_of(first, second):
    """A paired difference in words, and its verdict."""
    difference = paired_difference(first, second)
    if difference is None:
        return "–", "", difference
    mean, half, _ = difference
    return f"{mean:+.1f}" + ("" if half is None else f" ± {half:.1f}"), verdict(difference), difference


def attacked_difference(curve, base):
    """What a method keeps beyond another at the size where all aims were tried, and its verdict."""
    words, _, difference = difference_of(curve.by_aim["worst"], base.by_aim["worst"])
    images = curve.over_images(curve.at, base)
    if images is not None:
        words += f" (over images {images[0]:+.1f} to {images[1]:+.1f})"
    decided = verdict(difference, images)
    if not (curve.valid and base.valid):
        decided = "invalid"
    elif scale_in(curve.setting) in NO_EVIDENCE:
        decided = "not judged"
    return words, decided


def where(key):
    """What a table of rows was measured on."""
    chosen = groups[key].values()
    one = next(iter(chosen))
    name = one.setting
    seeds = sorted({number for curve in chosen for number in curve.by_aim["worst"]})
    codes = {next(iter(of.values())).code for (setting, _), of in groups.items() if setting == name}
    return (
        f"**{name[:1].upper()}{name[1:]}**: n = {one.images} images, {one.steps} steps for each loss, "
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}, epsilon {one.at:g} of 255"
        + (f"; code of attacks {one.code or 'not noted'}" if len(codes) > 1 else "")
    )


def tables(header, lines_of, *, methods=False):
    """A table for each setting that has rows, or that there is none; if wanted, with a column for each method."""
    parts = [
        f"{where(key)}\n\n{chapter.table([*header, *(of if methods else ())], lines_of(of)).data}"
        for key, of in groups.items()
    ]
    return Markdown("\n\n".join(parts) or "**Not measured yet**: no committed row was attacked adaptively.")


# %% [markdown]
# ## The finding, first

# %%
decided, said = "not measured", []
for key, of in groups.items():
    if not of.keys() >= {"baseline", "sourcesep-cm"}:
        left = ", ".join(
            f"{name} keeps {told(curve.by_aim['worst'])} of its {told(curve.by_epsilon[0.0])} % mIoU"
            for name, curve in of.items()
        )
        said.append(
            f"{where(key)}. **Not compared**: under the worst aim {left}; the others were not attacked, or by other code."
        )
        continue
    base, ours = of["baseline"], of["sourcesep-cm"]
    words, decided = attacked_difference(ours, base)
    broken = [curve.experiment for curve in (base, ours) if not curve.valid]
    untouched, _, _ = difference_of(ours.by_epsilon[0.0], base.by_epsilon[0.0])
    sentence = (
        f"{where(key)}. Under the worst aim the baseline keeps {told(base.by_aim['worst'])} of its "
        f"{told(base.by_epsilon[0.0])} % mIoU, CM {told(ours.by_aim['worst'])} of its {told(ours.by_epsilon[0.0])}. "
        f"CM minus baseline, in points: {words} attacked, {untouched} on the same images as they are. "
        + (
            f"**No verdict**: {' and '.join(broken)} failed a sanity check."
            if broken
            else "**No verdict**: this scale shows that a command works, and no more."
            if decided == "not judged"
            else f"Verdict of the rule (three seeds or more, both intervals away from zero): **{decided}**."
        )
    )
    if "baseline+adversarial" in of:
        gained, _ = attacked_difference(of["baseline+adversarial"], base)
        sentence += f" Adversarial fine-tuning changes what the baseline keeps by {gained} points."
    said.append(sentence)
    break  # the largest scale at which both were attacked
Markdown("\n\n".join(said) or "**Not measured yet**: no committed row was attacked adaptively.")

# %% [markdown]
# ## Why a fixed perturbation cannot show robustness
#
# Table 6 adds a perturbation that was made once, for another network, to every image. A network that keeps its score
# has shown that it is not fooled by *that* perturbation. Robust at size $\epsilon$ means something else: that no image near $x$ fools it,
#
# $$
# \max_{\lVert v \rVert_\infty \le \epsilon} \ell\big(f(\mathrm{clip}(x + v)),\, y\big)
# $$ (eq-attack)
#
# stays small. A fixed $v$ is one of the points over which the maximum is taken. So its loss is a lower bound of that maximum, and a loose one if it was made for another
# network. This holds at one size: the universal perturbations of the last chapter are of 10 of 255, the attacks here (below paper scale) of 0.25 to 4, so that what the two take must not be compared.
# An attack that follows this network's own gradients comes nearer to the maximum. It too is only a bound: a better attack may leave less. The attack here is SEA {cite}`croce2024sea`, four losses each raised by APGD {cite}`croce2020apgd`, on every image
# by itself, and of everything tried the worst counts.
#
# Attacks that were found by different code of this project are not compared: where a setting has rows of several codes, each has its own table, which names the code.
#
# ## Four losses
#
# An image has thousands of pixels, and raising the mean cross-entropy spends most of the budget on pixels that are wrong
# already. Each loss of SEA avoids this in another way. With $p$ the probability of the true category, $R$ the pixels that are still right and $t$ the share done of the steps of a phase (SEA has three, see below):
#
# | name | raised, mean over pixels | what a pixel that is wrong still counts |
# |---|---|---|
# | `masked-ce` | $-[\,\cdot \in R\,] \log p$ | nothing |
# | `segpgd` | $-\log p$, weighted $1 - t/2$ in $R$ and $t/2$ outside | more and more |
# | `js` | Jensen-Shannon divergence of softmax and label | ever less: it is bounded |
# | `margin` | $[\,\cdot \in R\,]\, (\max_{n \ne y} s_n - s_y) / \lVert s \rVert$ | nothing |

# %%
chapter.source(adaptive.pixel_loss)

# %% mystnb={"figure": {"caption": "One pixel of three categories: the true one's score varies, its rival stays at 0 and the third at -2. Left, each loss against the probability of the true category; right, how hard it pushes the true score. Dotted: where the pixel turns wrong. Both masked losses stop there, the bounded one fades, and SegPGD (after half of its steps, and at its end) comes to push what is wrong.", "name": "fig-pixel-losses"}, "image": {"alt": "Two panels with five curves over the probability of the true category: values of the losses, and sizes of their gradients, several of which drop to zero where the pixel turns wrong."}}
score = torch.linspace(-7, 7, 281, requires_grad=True)
logits_BNHW = torch.stack([score, torch.zeros_like(score), torch.full_like(score, -2)], 1)[:, :, None, None]
label_BHW = torch.zeros(len(score), 1, 1, dtype=torch.int64)
probability = logits_BNHW.softmax(1)[:, 0, 0, 0].detach()
drawn = {f"{loss}": (loss, 0.0) for loss in LOSSES} | {
    "segpgd": ("segpgd", 0.5),
    "segpgd, at its end": ("segpgd", 1.0),
}
STYLES = ("-", "--", "-.", ":", (0, (1, 3)))
figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.1))
for (name, (loss, done)), style in zip(drawn.items(), STYLES, strict=True):
    value, _ = pixel_loss(loss, logits_BNHW, label_BHW, done)
    (push,) = torch.autograd.grad(value.sum(), score, retain_graph=True)
    left.plot(probability, value.detach(), linestyle=style, label=name)
    right.plot(probability, push.abs(), linestyle=style, label=name)
for axis in (left, right):
    axis.axvline(1 / (2 + np.exp(-2)), color="0.6", lw=1, ls=":")
    axis.set_xlabel("probability of the true category")
left.set_ylim(-1.2, 4)
left.set_ylabel("loss")
right.set_ylabel("|d loss / d true score|")
left.legend(fontsize=7.5, frameon=False)
plt.show()

# %% [markdown]
# None is best for every network: a loss that pushes where another has stopped finds what the other cannot. Taking the worst of the four removes the choice.

# %% tags=["remove-cell"]
names = ("baseline", "sourcesep-cm")
models = {name: setting.run(name).model.to(device).eval() for name in names}
evaluation = setting.data[1]
image_BCHW, label_BHW, inside_BHW = batch_of(
    evaluation, range(min(16, len(evaluation))), setting.eval_crop, device
)
things_BHW = (label_BHW > 0) & (label_BHW < 255)
known_B = torch.zeros(len(image_BCHW), dtype=torch.int64, device=device)
with torch.inference_mode():
    for model in models.values():
        known_B += ((model(image_BCHW).dominant.argmax(1) == label_BHW) & things_BHW).sum((1, 2))
chosen = known_B.argsort(descending=True, stable=True)[:SHOWN].cpu()
image_BCHW, label_BHW, inside_BHW = image_BCHW[chosen], label_BHW[chosen], inside_BHW[chosen]


def attacked(model, aim, epsilon, steps, count):
    """The worst found for the first images of this page."""
    return attack(
        model,
        image_BCHW[:count],
        label_BHW[:count],
        Adversary(aim=aim, epsilon=epsilon, steps=steps),
        measured="dominant",
        generators=[torch.Generator(device=device).manual_seed(seed + number) for number in range(count)],
        inside_BHW=inside_BHW[:count],
    )


one = {name: attacked(models[name], "dominant", study.at, STEPS, 1) for name in names}

# %% mystnb={"figure": {"caption": "Which pixels each loss still pushes (length of its gradient with respect to a pixel's scores, relative to the largest: bright is the most), baseline. Above on the image as it is, below on the attacked one. SegPGD after half of its steps.", "name": "fig-pushed"}, "image": {"alt": "Two rows of maps: labels, wrong pixels, and for each of four losses where it pushes; the masked losses are black where pixels are wrong."}}
sheet = []
for shown_BCHW in (image_BCHW[:1], one["baseline"].image_BCHW):
    with torch.no_grad():
        logits_BNHW = models["baseline"](shown_BCHW).dominant
    logits_BNHW = logits_BNHW.requires_grad_()
    wrong = (logits_BNHW.argmax(1) != label_BHW[:1]) & (label_BHW[:1] != 255)
    row = [
        figures.label_picture(label_BHW[0].cpu().numpy()),
        figures.confidence_picture(wrong[0].float().cpu().numpy()),
    ]
    for loss in LOSSES:
        value, _ = pixel_loss(loss, logits_BNHW, label_BHW[:1], 0.5)
        (push,) = torch.autograd.grad(value.sum(), logits_BNHW)
        push = push.norm(dim=1)[0]
        row.append(figures.confidence_picture((push / push.max().clamp(min=1e-12)).cpu().numpy()))
    sheet.append(row)
figures.panels(sheet, ["labels", "wrong", *LOSSES], ["as it is", "attacked"])
plt.show()

# %% [markdown]
# These are of this page's own network, of the scale that the top of the page names. At `smoke` it calls everything background, attacked or not, and the two rows agree; the figures below
# are stored of a longer run.
#
# ## APGD: a step that halves where it stops paying
#
# A projected step along the sign of the gradient, with momentum, $\Pi$ the projection into the ball and into 0..255:
#
# $$
# \begin{aligned}
# z_{k+1} &= \Pi\big(x_k + \eta_k\, \mathrm{sign}\, \nabla \ell(x_k)\big) \\
# x_{k+1} &= \Pi\big(x_k + 0.75\,(z_{k+1} - x_k) + 0.25\,(x_k - x_{k-1})\big)
# \end{aligned}
# $$ (eq-apgd)
#
# The step starts at $\eta = 2\epsilon$. At checkpoints, ever closer to each other, it is halved if fewer than three quarters of the steps since the last one raised the loss, or if
# neither the step nor the best loss has changed since then. Then the walk goes back to the best point so far. Nothing has to be tuned to a network, which matters: a step
# tuned on one network flatters the others. {func}`segmix_core.attacks.adaptive.apgd` does this for every image of a batch by itself. SEA runs it three times: for 30 % of
# the steps at $2\epsilon$, for 30 % at $1.5\epsilon$, and for the rest at $\epsilon$, each from the projected worst of the one before.

# %%
chapter.source(adaptive.apgd)

# %% tags=["remove-cell"]


def checkpoints(steps):
    """After which steps APGD looks whether to halve, from p_1 = 0.22 and p_2 - p_1 = 0.19 on (hundredths)."""
    looked, last, now = [], 0, 22
    while now <= 100:
        looked.append(-(-now * steps // 100))
        last, now = now, now + max(now - last - 3, 6)
    return looked


start = torch.rand(image_BCHW[:1].shape, generator=torch.Generator().manual_seed(seed)).to(device) * 2 - 1
traces = {}
for loss in LOSSES:
    objective, trace = objective_of(models["baseline"], "dominant", loss, measured="dominant"), []

    def recorded(image, label, done, objective=objective, trace=trace):
        """The objective, which writes down what it says."""
        judged = objective(image, label, done)
        trace.append((float(judged.watched_B[0]), float(judged.right_B[0]), image.detach()))
        return judged

    apgd(
        recorded,
        image_BCHW[:1],
        label_BHW[:1],
        epsilon=study.at,
        steps=STEPS,
        start_BCHW=image_BCHW[:1] + study.at / 255 * start,
        inside_BHW=inside_BHW[:1],
    )
    traces[loss] = trace

# %% mystnb={"figure": {"caption": "APGD at a fixed radius on one image, baseline, from a random start. Left, the cross-entropy of all pixels (the margin watches itself, in another unit, and is not drawn). Middle, pixels still right. Right, how far a pixel moves in a step, on average: it falls where the step is halved. Dotted: the checkpoints.", "name": "fig-apgd"}, "image": {"alt": "Three panels over the iterations for four losses: cross-entropy, right pixels, and mean change of a pixel, with dotted vertical lines at the checkpoints."}} tags=["nbval-ignore-output"]
figure, panes = plt.subplots(1, 3, figsize=(7.6, 2.8))
for (loss, trace), style in zip(traces.items(), STYLES, strict=False):
    watched, right_share, images = zip(*trace, strict=True)
    moved = [255 * float((after - before).abs().mean()) for before, after in pairwise(images)]
    if loss != "margin":
        panes[0].plot(watched, linestyle=style, color=f"C{LOSSES.index(loss)}")
    panes[1].plot([100 * share for share in right_share], linestyle=style, label=loss)
    panes[2].plot(range(1, len(images)), moved, linestyle=style)
for axis, what in zip(panes, ("cross-entropy", "right pixels (%)", "mean change (of 255)"), strict=True):
    for number in checkpoints(STEPS):
        axis.axvline(number, color="0.8", lw=0.8, ls=":", zorder=0)
    axis.set_title(what)
    axis.set_xlabel("iteration")
panes[1].legend(fontsize=7.5, frameon=False)
figure.suptitle(f"epsilon {study.at:g} of 255, {STEPS} steps, {scale} scale, seed {seed}", fontsize=9)
plt.show()

# %% [markdown]
# ## One image, attacked
#
# Rule: of the first sixteen evaluation images, that on which both networks together get the most pixels of things right. Where neither knows any, it is the first.

# %% mystnb={"figure": {"caption": "One image under SEA, baseline above and CM below: the image, what was added (grey is nothing, black or full colour is epsilon), the labels, and the prediction before and after. Each network has a perturbation of its own.", "name": "fig-attacked-image"}, "image": {"alt": "Two rows: a scene, a magnified perturbation, the label map, the clean prediction and the prediction under attack, for two methods."}} tags=["nbval-ignore-output"]
sheet = []
for name in names:
    with torch.inference_mode():
        before, after = (
            models[name](shown_BCHW).dominant.argmax(1)[0].cpu().numpy()
            for shown_BCHW in (image_BCHW[:1], one[name].image_BCHW)
        )
    added = 255 * (one[name].image_BCHW - image_BCHW[:1])[0].cpu()
    sheet.append(
        [
            figures.image_picture(one[name].image_BCHW[0].cpu()),
            figures.image_picture(0.5 + added / (2 * study.at)),
            figures.label_picture(label_BHW[0].cpu().numpy()),
            figures.label_picture(before),
            figures.label_picture(after),
        ]
    )
figures.panels(sheet, ["attacked image", "perturbation", "labels", "before", "after"], names)
plt.show()

# %% tags=["nbval-ignore-output"]
with torch.inference_mode():
    clean = {
        name: float(adaptive.right_share(models[name](image_BCHW[:1]).dominant, label_BHW[:1])[0])
        for name in names
    }
chapter.table(
    ["method", "right before (%)", "after", *(f"by `{loss}` alone" for loss in LOSSES)],
    [
        [
            name,
            f"{100 * clean[name]:.1f}",
            f"{100 * float(one[name].right_B[0]):.1f}",
            *(f"{100 * float(one[name].by_loss[loss][0]):.1f}" for loss in LOSSES),
        ]
        for name in names
    ],
)

# %% [markdown]
# Pixels of one image at one size: an illustration, and no measurement. Losses that were not run because nothing was left to change are shown as 0. (A network of `smoke`
# scale is untrained and calls everything background: an attack of this size changes nothing of it, and by the checks below would be *invalid*.)
#
# ## Four aims
#
# A network of source separation has more than one place to be hit, and an attack that ignores this tests only half of it. So the attack aims, one after the other, at
#
# * `dominant`, the output $S_t$ that is reported after stage 2;
# * `final`, the output $S_{ss}$ of the SSH;
# * `joint`, the mean of both losses;
# * `phantom`: wake the branch that stage 2 silenced, whatever that does to the rest.
#
# The reported figure takes, **for each image, the worst** of these: the one that leaves the fewest right pixels, which need not be the lowest mIoU of all images together.
# A plain network has one aim, so that separation meets more attacks than the baseline; what each aim alone leaves is shown below. A network is attacked where it is weakest, and someone who may choose the
# aim to report has chosen the result. All are judged by the same output: the phantom may wake and $S_t$ not care, and then this aim has found nothing.
#
# There is a trap in the last one. The natural thing to raise is $l_{PPA}$ (the paper's Eq. 5), which training lowered. But where all phantom logits are negative it is zero *and
# flat*: an attack on it stands still, and the defence looks perfect because its gradient is gone, not because it is robust. The attack therefore raises the mean softplus,
# $\log(1 + e^{s})$, which has a slope everywhere.

# %%
chapter.source(aimed)

# %%
quiet = torch.full((1, 21, 8, 8), -4.0, requires_grad=True)
silent = Separation(torch.zeros_like(quiet), quiet)
activity = phantom_activation(quiet)
(flat,) = torch.autograd.grad(activity.sum(), quiet)
raised, _ = aimed(silent, "phantom", "js", torch.zeros(1, 8, 8, dtype=torch.int64), 0.0)
(sloped,) = torch.autograd.grad(raised.sum(), quiet)
chapter.table(
    ["a phantom with all logits at -4", "value", "largest slope of a logit, times the logits"],
    [
        [
            "l_PPA",
            f"{float(activity.detach()):.4f}",
            f"{float(flat.abs().max()) * quiet.numel():.4f}",
        ],
        [
            "mean softplus",
            f"{float(raised.detach()):.4f}",
            f"{float(sloped.abs().max()) * quiet.numel():.4f}",
        ],
    ],
)

# %% tags=["nbval-ignore-output"]
by_aim = {aim: attacked(models["sourcesep-cm"], aim, study.at, FEW, SHOWN).right_B.cpu() for aim in AIMS}
worst = torch.stack(list(by_aim.values())).amin(0)
chapter.table(
    [f"CM, right pixels (%), {FEW} steps", *by_aim, "worst"],
    [
        [
            f"image {number + 1}",
            *(f"{100 * float(right[number]):.1f}" for right in by_aim.values()),
            f"{100 * float(worst[number]):.1f}",
        ]
        for number in range(len(worst))
    ],
)

# %% [markdown]
# ## What the study costs
#
# Passes (forward and backward) that the study of one network makes at most, but for the first forward pass of each phase: for one image, and for all of them. Images of which nothing is left are not attacked further.

# %%


def passes(of, aims, stage1):
    """Passes of the attacks on one network: every aim, the other sizes, transfer, longer, unbounded, stage 1."""
    together = sum(1 if aim == "phantom" else len(LOSSES) for aim in aims)
    sizes = len([epsilon for epsilon in of.epsilons if epsilon != of.at])
    each = of.steps * (together + len(LOSSES) * (sizes + 1) + 1) + len(LOSSES) * of.longer
    # Unbounded, with one loss: once after each stage; and a single step at size 0.
    return each + of.steps * (together if stage1 else len(LOSSES)) + of.steps + 1


chapter.table(
    ["scale", "images", "steps", "longer", "sizes (of 255)", "an image, baseline", "an image, CM", "all, CM"],
    [
        [
            name,
            "all" if of.images is None else of.images,
            of.steps,
            of.longer,
            ", ".join(f"{epsilon:g}" for epsilon in of.epsilons),
            passes(of, AIMS[:1], stage1=False),
            passes(of, AIMS, stage1=True),
            "–" if of.images is None else of.images * passes(of, AIMS, stage1=True),
        ]
        for name, of in STUDIES.items()
    ],
)

# %% [markdown]
# ## What must hold first
#
# An attack that fails looks just like a defence that works. Seven checks tell them apart ({mod}`segmix_core.attacks.sanity`). They are run with every network,
# three of them on the network before stage 2 as well, and a network that fails one has no valid number.
#
# | check | what it would catch |
# |---|---|
# | size 0 changes nothing | an attack that leaves its ball, or changes images of its own accord |
# | more epsilon never helps the defender | an attack that gets lost in a larger ball: a step or a schedule that does not fit |
# | more steps never helps the defender | an attack that forgets the best it had |
# | noise of the same size is weaker, at the largest size by more than the tolerance | an attack that is not better than chance |
# | an unbounded attack reaches zero | gradients that are masked: with every image allowed, something must be found |
# | transfer is not stronger | the same: gradients borrowed from another network would be better than its own |
# | gradients are finite and not masked | a loss that does not follow its gradient, by finite differences; a zero, an infinity |

# %% tags=["remove-cell"]
MARKS = {True: "✔", False: "✘"}


def names_of_checks(of):
    """The checks of a setting and the stages after which they were run, in their order."""
    return list(dict.fromkeys(case for curve in of.values() for case in curve.checks))


def passed(of):
    """Of each check and method, the seeds that passed of those that were run."""
    lines = []
    for check, stage in names_of_checks(of):
        cells = []
        for curve in of.values():
            fine = [holds for _, holds in curve.checks.get((check, stage), {}).values()]
            cells.append(f"{MARKS[all(fine)]} {sum(fine)} of {len(fine)}" if fine else "–")
        lines.append([check, stage, *cells])
    return [*lines, ["**valid**", "", *(MARKS[curve.valid] for curve in of.values())]]


def numbers(of):
    """What each check found with the first seed of a method, and with every seed that failed it."""
    return [
        [check, stage, curve.experiment, number, MARKS[holds], detail]
        for check, stage in names_of_checks(of)
        for curve in of.values()
        for number, (detail, holds) in curve.checks.get((check, stage), {}).items()
        if number == min(curve.checks[check, stage]) or not holds
    ]


# %%
tables(["check: seeds that pass", "after stage"], passed, methods=True)

# %% [markdown]
# The numbers behind the marks, per cent of right pixels, mean over images: of each method its first seed, and every seed that failed.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the numbers", "code_prompt_hide": "Hide the numbers"}
tables(["check", "after stage", "method", "seed", "", "found"], numbers)

# %% [markdown]
# ## What is left, by size

# %% mystnb={"figure": {"caption": "mIoU that adaptive attacks leave, by size (logarithmic above the smallest), from committed rows: at the size that the table below names all aims were tried, and the worst of them counts for each image; at the others one aim, that which was worst there. Bands: 95 % bootstrap intervals over images and seeds, of one seed over images alone. Dotted: random signs of the same size. Dashed: a sanity check failed. Images, steps, seeds and scale stand above each panel; \"searched in bf16\": the attack's convolutions were computed in 16 bits, what it found is judged in 32.", "name": "fig-epsilon-curves"}, "image": {"alt": "For each setting with rows, curves of mIoU falling over epsilon for the methods, beside flat dotted lines of random signs; a note where nothing is measured yet."}}
figures.epsilon_curves(found)
plt.show()


# %% tags=["remove-cell"]
accuracy = {
    (curve.setting, curve.images, curve.experiment): curve
    for curve in curves(results.read_all(), metric="aAcc")
}


# %%
def by_method(of):
    """What is left under the worst aim, and whether it differs from the baseline."""
    lines = []
    for name in STUDIED:
        if name not in of:
            lines.append([name, "not measured", *[""] * 6])
            continue
        curve, base = of[name], of.get("baseline")
        left = curve.by_aim["worst"]
        words, judged = "–", ""
        if base is not None and name != "baseline":
            words, judged = attacked_difference(curve, base)
        lost, _, _ = difference_of(left, curve.by_epsilon[0.0])
        pixels = told(accuracy[curve.setting, curve.images, name].by_aim["worst"])
        lines.append([name, told(curve.by_epsilon[0.0]), told(left), pixels, lost, words, len(left), judged])
    return lines


tables(
    [
        *("method", "clean mIoU (%)", "left", "aAcc left (%)", "left minus clean (points)"),
        *("left, minus baseline", "seeds", "verdict"),
    ],
    by_method,
)

# %% [markdown]
# Every number, the clean mIoU too, is over the few attacked images and not the whole list, with the 95 % interval over seeds where there are two. So few images are a small sample: in brackets stands the bootstrap interval over images and seeds, and a verdict needs both. *Left minus clean* is no measure of robustness by itself: a network that gets little right has
# little to lose. Two defences are the yardstick, where they were measured: `baseline+noise`, trained on images with Gaussian noise, is made against noise, and `baseline+adversarial`, fine-tuned on
# images attacked by PGD-3, against attacks. What gains no more than the first is no defence against attacks; what is called one is to be held against the second.

# %% mystnb={"figure": {"caption": "mIoU that is left at one size, by what the attack aims at, from committed rows; each seed a dot, the mean a bar. \"worst\" takes the worst aim of each image. A plain head has one aim.", "name": "fig-aims"}, "image": {"alt": "For each setting with rows, dots of mIoU by method and aim; a note where nothing is measured yet."}}
figures.aim_points(found)
plt.show()

# %% [markdown]
# ## Has the attack converged?
#
# The worst aim again, with more steps. If much more is found, the curves above are too kind.

# %%
TOLERANCE = 0.5  # points, as in the sanity checks


def converged(of):
    """What a longer attack leaves beside the one of the curves."""
    lines = []
    for curve in of.values():
        short, long = min(curve.longer), max(curve.longer)
        words, _, difference = difference_of(curve.longer[long], curve.longer[short])
        told_so = "" if difference is None or short == long else MARKS[difference[0] > -TOLERANCE]
        lines.append(
            [
                curve.experiment,
                f"{short} → {long}",
                told(curve.longer[short]),
                told(curve.longer[long]),
                words,
                told_so,
            ]
        )
    return lines


tables(["method", "steps", "left", "left by more", "difference", f"above -{TOLERANCE}"], converged)

# %% [markdown]
# ## Transfer beside white-box
#
# The same attack, made on a baseline of another seed that is not among the compared, and shown to each network. This is the kind of evidence that Table 6 gives, in its strongest
# form: made for each image. The distance between the two columns is what it does not see.

# %%
tables(
    ["method", "clean mIoU (%)", "random signs", "transfer", "white-box", "white-box minus transfer"],
    lambda of: [
        [
            curve.experiment,
            told(curve.by_epsilon[0.0]),
            told(curve.noise.get(curve.at)),
            told(curve.transfer),
            told(curve.by_aim["worst"]),
            difference_of(curve.by_aim["worst"], curve.transfer)[0],
        ]
        for curve in of.values()
    ],
)

# %% [markdown]
# The check "transfer is not stronger" counts pixels that stay right, with its tolerance; mIoU weighs rare categories more, and may order two nearly equal attacks otherwise.
#
# ## Limits
#
# * An attack is a bound from one side: the network is at most as robust as what it leaves, and a better one may leave less. Passing the checks makes a gap unlikely, not impossible.
# * The sizes here are smaller than those of the literature, chosen for networks that were trained for minutes. Numbers may not be compared across scales.
# * Only $L_\infty$. A patch, a rotation or fog is another question; [the last chapter of this part](16_robustness) has fog among its corruptions.
# * The images of an attack are few, as each costs about a thousand passes and more.
#
# ## Takeaways
#
# * Robustness is a maximum over perturbations. One perturbation, or one aim, or one loss, is a point below it.
# * The worst of all aims for each image leaves its author no choice of aim.
# * A network that survives where noise or transfer beats the attack has not survived: the attack has failed.
#
# ## Exercises
#
# 1. A network multiplies its scores by 1000 before the softmax; its predictions stay. What becomes of the gradient of each loss at a pixel that is right?
# 2. Why is the worst aim taken for each image, and not for all together?
# 3. After which steps does APGD look whether to halve, of 120?

# %% tags=["hide-cell"]
# Solution of 1: the softmax saturates, and all that goes through it is flat; the normalised margin does not notice the scale.
slopes = {}
for factor in (1, 1000):
    scores = torch.tensor([2.0, 0.0, -2.0], requires_grad=True)
    for loss in LOSSES:
        value, _ = pixel_loss(loss, (factor * scores)[None, :, None, None], torch.zeros(1, 1, 1).long())
        (slope,) = torch.autograd.grad(value.sum(), scores)
        slopes[loss, factor] = float(slope.abs().sum())
print({loss: f"{slopes[loss, 1]:.3f} -> {slopes[loss, 1000]:.3f}" for loss in LOSSES})
assert all(slopes[loss, 1000] == 0 for loss in LOSSES if loss != "margin")
assert abs(slopes["margin", 1000] - slopes["margin", 1]) < 1e-5

# %% tags=["hide-cell"]
# Solution of 2: the attacker sees each image before choosing; images may differ in where they are weak.
right = {"dominant": [0.2, 0.9, 0.5], "phantom": [0.6, 0.1, 0.5]}
together = min(np.mean(of) for of in right.values())
each = np.mean(np.min(list(right.values()), axis=0))
print(f"worst aim of all {together:.2f}, worst of each {each:.2f}")
assert each < together

# %% tags=["hide-cell"]
# Solution of 3: p grows by 0.22, then by 0.03 less each time, and by 0.06 at least.
print(checkpoints(120))
assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
assert all(set(checkpoints(steps)) == adaptive._checkpoints(steps) for steps in range(1, 301))
assert all(later > sooner for sooner, later in pairwise(checkpoints(120)))

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
two = torch.tensor([[2.0, 0.0, -2.0], [0.0, 1.0, -1.0]]).T[None, :, None]  # a right pixel, and a wrong one
two = two.clone().requires_grad_()
truth = torch.zeros(1, 1, 2, dtype=torch.int64)
for loss in LOSSES:
    value, _ = pixel_loss(loss, two, truth, 0.5)
    (slope,) = torch.autograd.grad(value.sum(), two)
    pushed = [bool(slope[..., pixel].abs().sum() > 0) for pixel in (0, 1)]
    print(
        f"{loss}: {float(value.detach()):.4f}, pushes the right pixel {pushed[0]}, the wrong one {pushed[1]}"
    )
print(
    "l_PPA of a silent phantom is flat:", float(flat.abs().max()) == 0, "| softplus:", float(sloped.min()) > 0
)
nothing = attacked(models["baseline"], "dominant", 0.0, FEW, 1)
print("size 0:", sanity.nothing_at_zero(clean["baseline"], float(nothing.right_B[0])).holds)
walked = [255 * (image - image_BCHW[:1]).abs().max() for trace in traces.values() for *_, image in trace]
print("within epsilon:", all(float(size) <= study.at + 1e-3 for size in walked))
print("to its edge:", all(float(size) > 0.9 * study.at for size in walked))
print("never helps:", all(float(one[name].right_B[0]) <= clean[name] for name in names))
print(
    "each loss raises what it watches:",
    all(max(said[0] for said in trace) > trace[0][0] + 1e-4 for trace in traces.values()),
)
print(
    "measured:",
    [(f"{name}, n = {next(iter(of.values())).images}", list(of)) for (name, _), of in groups.items()]
    or "nothing yet",
)
print("invalid:", sorted({curve.experiment for curve in found if not curve.valid}), "| verdict:", decided)
