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
# # What stage 2 changes
#
# **Question.** The paper calls source separation an *implicit defence* (section 4.4), and says that denoising improves performance
# *and* robustness (section 6, Fig. 2), the latter without a number. One way for this to work, ours and not the paper's: the phantom branch takes up
# what does not belong to the image. Does it say more of an attacked image than of a clean one, and what does silencing it change under attack?
#
# **Costs.** Nothing beyond the shared runs of [stage 1](04_stage1), and four short attacks on up to eight images: seconds at `smoke`, minutes of one
# core at `demo`. At `mini` they are five times as much (five times the steps), on photographs twenty (four times the pixels, too): take a GPU, `device="cuda"`.
# The committed rows are those of `segmix run universal adaptive`.

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
import torch.nn.functional as F
from IPython.display import Markdown
from scipy.stats import binomtest

from segmix_core import chapter, results
from segmix_core.attacks import adaptive, sanity
from segmix_core.attacks.pgd import pgd
from segmix_core.experiments import METHODS
from segmix_core.experiments.robustness import STUDIED, STUDIES
from segmix_core.losses import phantom_activation
from segmix_core.models import SourceSeparation
from segmix_core.report import figures, paired_difference, verdict
from segmix_core.report.claims import NO_EVIDENCE
from segmix_core.report.robustness import comparable, curves, drops, settings_of
from segmix_core.report.tables import scale_in
from segmix_core.robustness.adaptive import batch_of

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)
run = setting.run("sourcesep-cm")
networks = {"stage 1": run.stage1.to(device), "stage 2": run.model.to(device)}
WORDS = {"lower": "a threat beyond noise", "higher": "weaker than noise", "undecided": "undecided"}
READ = {"stage 1": "final", "stage 2": "dominant"}  # R12
SEPARATING = [name for name in METHODS if name.startswith("sourcesep")]
study = STUDIES[scale]
rows = results.read_all()


# %% tags=["remove-cell"]


def told(difference, name, better):
    """A paired difference in words: whether "higher" or "lower" is better, and judged where it may be."""
    if difference is None:
        return "–"
    mean, half, seeds = difference
    spread = "" if half is None else f" ± {half:.2f}"
    found = verdict(difference)
    word = found if found == "undecided" else ("better" if found == better else "worse")
    if scale_in(name) in NO_EVIDENCE:
        word = "not judged"
    return f"{mean:+.2f}{spread}, {seeds} {'seed' if seeds == 1 else 'seeds'}: {word}"


def change(stages):
    """After stage 2 minus after stage 1, by seed."""
    before, after = stages
    return {number: after[number] - before[number] for number in before.keys() & after.keys()}


def mean_by_seed(found):
    """The mean of several measurements, by seed."""
    seeds = set.intersection(*(set(values) for values in found))
    return {number: float(np.mean([values[number] for values in found])) for number in sorted(seeds)}


def mean_of(values):
    """The mean over seeds, or a dash."""
    return f"{np.mean(list(values.values())).round(2) + 0:.2f}" if values else "–"  # never -0.00


# Universal perturbations: points lost after either stage, mean over those that all methods were shown.
studied = {name: of for name, of in settings_of(rows).items() if any(row["condition"] for row in of)}
# Each is a number of points and, beside it, the clean mIoU; S_t after stage 1 is neither stage's reported output.
READINGS = {
    "stage 1": {"stage": 1},
    "S_t, stage 1": {"stage": 1, "output": "dominant"},
    "stage 2": {"stage": 2},
}
lost, lost_same, lost_at, clean_at, shown_to_all, cost, crafted_in = {}, {}, {}, {}, {}, {}, {}
for name, of in studied.items():
    cost[name] = {one.images for stage in (1, 2) for one in drops(of, stage=stage) if one.seeds}
    taken = {
        (where, one.experiment, one.perturbation): one
        for where, how in READINGS.items()
        for one in drops(of, **how)
        if one.fit == "resize" and " on " not in one.perturbation
    }
    methods = [
        method
        for method in STUDIED
        if READINGS.keys() <= {where for where, named, _ in taken if named == method}
    ]
    everywhere = [
        perturbation
        for perturbation in dict.fromkeys(key[2] for key in taken)
        if all((where, method, perturbation) in taken for where in READINGS for method in methods)
    ]
    if everywhere:
        shown_to_all[name] = everywhere
        made = [one.cost for key, one in taken.items() if key[2] in everywhere and one.cost != "published"]
        crafted_in[name] = "; ".join(dict.fromkeys(made)) or "as published"
        for method in methods:
            for where in READINGS:
                found = [taken[where, method, one] for one in everywhere]
                points = [
                    {number: one.clean[number] - one.attacked[number] for number in one.seeds}
                    for one in found
                ]
                key = name, method, where
                lost_at[key] = mean_by_seed(points)
                clean_at[key] = {number: found[0].clean[number] for number in lost_at[key]}
        lost[name], lost_same[name] = (
            {method: (lost_at[name, method, first], lost_at[name, method, "stage 2"]) for method in methods}
            for first in ("stage 1", "S_t, stage 1")
        )

# Adaptive attacks: what is left after either stage, of each image under the aim that leaves least.
attacked_curves = {name: comparable(curves(of)) for name, of in studied.items()}


def worst(curve):
    """What is left after stage 1 and after stage 2, by seed: of each image the worst aim, where rows of both have it.

    Rows of before it was kept after stage 1 have the aims alone: of these the least counts, after both stages.
    """
    stages = curve.stage1, curve.by_aim
    if all("worst" in by_aim for by_aim in stages):
        return tuple(by_aim["worst"] for by_aim in stages)
    return tuple(least([values for aim, values in by_aim.items() if aim != "worst"]) for by_aim in stages)


def least(found):
    """The least of several measurements, by seed."""
    seeds = set.intersection(*(set(values) for values in found)) if found else set()
    return {number: min(values[number] for values in found) for number in sorted(seeds)}


left = {
    name: {one.experiment: worst(one) for one in found if one.stage1 and one.valid}
    for name, found in attacked_curves.items()
}


def silencing(stages):
    """What stage 2 changes for each separating method beyond what fine-tuning changes for the baseline."""
    if "baseline" not in stages:
        return {}
    plain = change(stages["baseline"])
    return {name: paired_difference(change(stages[name]), plain) for name in SEPARATING if name in stages}


# %% tags=["remove-cell"]
# The live part: the same images, shown in six ways to the network before and after stage 2.
count = min(8, len(setting.data[1]))
image_BCHW, label_BHW, inside_BHW = batch_of(setting.data[1], range(count), setting.eval_crop, device)
EPSILON = study.at


def drawn(number=0):
    """The same draws for both networks."""
    return torch.Generator(device=device).manual_seed(seed + number)


def ways(stage):
    """What a network is shown."""
    model, output = networks[stage], READ[stage]
    adversary = adaptive.Adversary(aim=output, epsilon=EPSILON, steps=study.steps)
    return {
        "as it is": image_BCHW,
        "blended with another": 0.7 * image_BCHW + 0.3 * image_BCHW.roll(1, 0),
        "nothing but noise": torch.rand(image_BCHW.shape, generator=drawn(), device=device),
        "random signs": torch.where(
            inside_BHW[:, None], sanity.noise(image_BCHW, EPSILON, drawn()), image_BCHW
        ),
        "attacked": adaptive.attack(
            model,
            image_BCHW,
            label_BHW,
            adversary,
            measured=output,
            generators=[drawn(number) for number in range(len(image_BCHW))],
            inside_BHW=inside_BHW,
        ).image_BCHW,
        "phantom raised": pgd(
            adaptive.objective_of(model, "phantom", "js", measured=output),
            image_BCHW,
            label_BHW,
            epsilon=EPSILON,
            step=EPSILON / 4,
            steps=study.steps,
            inside_BHW=inside_BHW,
        ),
    }


shown = {stage: ways(stage) for stage in networks}
with torch.no_grad():
    said = {
        stage: {way: networks[stage](seen) for way, seen in ways_of.items()}
        for stage, ways_of in shown.items()
    }
loud = {
    stage: {way: F.softplus(one.phantom).mean((1, 2, 3)).cpu().numpy() for way, one in of.items()}
    for stage, of in said.items()
}
right = {
    stage: {
        way: adaptive.right_share(one.outputs()[READ[stage]], label_BHW).cpu().numpy()
        for way, one in of.items()
    }
    for stage, of in said.items()
}


def branch(model, number, seen_BCHW):
    """The scores of one branch: 0 is F_t, 1 is F_p."""
    return model.classifiers[number](model.pyramids[number](model.encoder(seen_BCHW)))


def joined(model, dominant_BCHW, phantom_BCHW):
    """S_ss, where each branch is shown an image of its own."""
    with torch.no_grad():
        score = model.joiner(
            torch.cat([branch(model, 0, dominant_BCHW), branch(model, 1, phantom_BCHW)], dim=1)
        )
        return F.interpolate(score.float(), dominant_BCHW.shape[-2:], mode="bilinear", align_corners=False)


def reads_phantom(model, output):
    """Whether the weights of F_p have any say in an output: whether it changes once they are zero."""
    before = model(image_BCHW[:2]).outputs()[output]
    kept = [weight.detach().clone() for weight in model.classifiers[1].parameters()]
    for weight in model.classifiers[1].parameters():
        weight.data.zero_()
    after = model(image_BCHW[:2]).outputs()[output]
    for weight, own in zip(model.classifiers[1].parameters(), kept, strict=True):
        weight.data.copy_(own)
    return not torch.equal(before, after)


with torch.no_grad():
    reads = {
        (stage, output): reads_phantom(model, output)
        for stage, model in networks.items()
        for output in ("dominant", "final")
    }

# %% [markdown]
# ## The finding, first

# %%
lines = []
for name in dict.fromkeys((*lost, *left)):
    if scale_in(name) in NO_EVIDENCE:
        continue
    for what, found, better in (
        ("points lost under universal perturbations", lost, "lower"),
        ("the same, both stages read at S_t", lost_same, "lower"),
        ("mIoU left under adaptive attacks", left, "higher"),
    ):
        for method, difference in silencing(found.get(name, {})).items():
            lines.append(f"* {name}: {what}, {method}: {told(difference, name, better)}")
Markdown(
    f"**By our reading R12 the output that is reported after stage 2 is S_t; it {'reads' if reads['stage 2', 'dominant'] else 'does not read'} the phantom "
    f"branch**; S_ss, which is reported after stage 1, {'does' if reads['stage 1', 'final'] else 'does not'}. (Section 3.2 of the paper is "
    '"principally interested" in S_ss, section 3.3 silences a branch that S_ss reads.) Whatever the branch '
    "soaks up, it cannot take away from S_t: silencing it can change S_t through the encoder that both branches share, and through nothing else. Stage 2 also trains S_t further, and changes which output is reported. "
    "From committed rows, what stage 2 changes beyond what the same fine-tuning changes for the baseline (of points *lost*, below zero is better; of mIoU *left*, above): "
    + ("\n\n" + "\n".join(lines) if lines else "**not measured yet** at a scale that is judged.")
)

# %% tags=["nbval-ignore-output"]
louder = []
for stage, of in loud.items():
    above = int(((of["attacked"] > of["as it is"]) & (of["attacked"] > of["random signs"])).sum())
    more = binomtest(above, count, 1 / 3, alternative="greater").pvalue < 0.05
    louder.append(
        f"after {stage} it is loudest for the attacked one with {above} of {count} images "
        f"({'more' if more else 'not more'} than by chance)"
    )
Markdown(
    "Whether the phantom branch says more of an attacked image than of a clean one: "
    + (
        "**not judged at this scale**."
        if scale in NO_EVIDENCE
        else f"of an image as it is, with random signs and attacked, {'; '.join(louder)}."
    )
)

# %% [markdown]
# Three ways of showing an image are compared: as it is, with random signs, and attacked. By chance, one of them is the loudest with a third of the images; a binomial test at 5 % tells whether it is more. An attack that the branch takes up as
# a second source must pass this at least.
#
# ## Who reads whom
#
# $$
# \begin{aligned}
# S_t &= F_t(f_{enc}(I)), \qquad S_p = F_p(f_{enc}(I)) \\
# S_{ss} &= F_{ss}(S_t, S_p)
# \end{aligned}
# $$
#
# The argument for a defence needs a way from $S_p$ to what is reported. There is one to $S_{ss}$ and none to $S_t$
# ([R12](../book/decisions): stage 1 is read at `final`, stage 2 at `dominant`).

# %%
chapter.source(SourceSeparation.forward)

# %% [markdown]
# Setting the last layers of $F_p$ to zero tells the same without reading code:

# %%
chapter.table(
    ["network after", "output", "reported there", "changes with F_p set to zero"],
    [
        [stage, output, "yes" if READ[stage] == output else "", "yes" if yes else "no"]
        for (stage, output), yes in reads.items()
    ],
)

# %% [markdown]
# ## What the phantom branch says
#
# Six ways of showing the same images: as they are; blended with another at 0.7, which is what the branch was trained on; noise without an image;
# random signs of the attack's size; attacked at the output that the network reports; and with the branch itself raised.
# An attack that raises it follows the mean softplus of its scores, since $l_{PPA}$ has no gradient where all logits are negative:

# %%
chapter.source(adaptive.aimed)

# %% tags=["nbval-ignore-output"]
chapter.table(
    [
        "shown",
        *(
            f"{what}, after {stage}"
            for stage in networks
            for what in ("l_PPA", "softplus", "pixels right (%)")
        ),
    ],
    [
        [
            way,
            *(
                cell
                for stage in networks
                for cell in (
                    f"{float(phantom_activation(said[stage][way].phantom).mean()):.2f}",
                    f"{loud[stage][way].mean():.3f}",
                    "–" if way == "nothing but noise" else f"{100 * right[stage][way].mean():.1f}",
                )
            ),
        ]
        for way in shown["stage 1"]
    ],
)

# %% tags=["nbval-ignore-output"]
Markdown(
    f"{count} images, epsilon {EPSILON:g} of 255; SEA with {study.steps} steps for each of {len(adaptive.LOSSES)} losses against "
    "the reported output, plain PGD of as many steps for the phantom. Each network is attacked by its own gradients."
)

# %% mystnb={"figure": {"caption": "Mean softplus of the phantom branch for each image (dots) and their mean (bar), by what the network is shown, before and after stage 2.", "name": "fig-loudness"}, "image": {"alt": "Two panels of dots, six lines each, of how loud the phantom branch is for images shown in six ways, after stage 1 and after stage 2."}} tags=["nbval-ignore-output"]
figure, axes = plt.subplots(1, 2, figsize=(7.4, 2.9), sharex=True, sharey=True)
for axis, (stage, of) in zip(axes, loud.items(), strict=True):
    for line, values in enumerate(of.values()):
        axis.plot(values, [line] * count, "o", color="C0", ms=4, alpha=0.4, mew=0)
        axis.plot(values.mean(), line, "|", color="C3", ms=14, mew=2)
    axis.set_title(f"after {stage}")
    axis.set_xlabel("mean softplus of S_p")
    axis.grid(axis="x", alpha=0.3)
axes[0].set_yticks(range(len(shown["stage 1"])), list(shown["stage 1"]))
axes[0].set_ylim(len(shown["stage 1"]) - 0.5, -0.5)
plt.show()

# %% mystnb={"figure": {"caption": "One image, the first with an object, shown in six ways. For each network: what it is shown, the activity of the phantom branch, and what it reports.", "name": "fig-phantom-attacked"}, "image": {"alt": "Six rows of pictures: the image as shown, the phantom branch's activity and the predicted labels, before and after stage 2."}} tags=["nbval-ignore-output"]
index = next((place for place in range(count) if (label_BHW[place] % 255 > 0).float().mean() > 0.05), 0)
activity = {
    stage: {way: F.softplus(one.phantom[index]).mean(0).cpu().numpy() for way, one in of.items()}
    for stage, of in said.items()
}
loudest = max(float(one.max()) for of in activity.values() for one in of.values())
sheet = [
    [
        picture
        for stage in networks
        for picture in (
            figures.image_picture(shown[stage][way][index].cpu()),
            figures.confidence_picture(activity[stage][way] / loudest),
            figures.label_picture(said[stage][way].outputs()[READ[stage]][index].argmax(0).cpu().numpy()),
        )
    ]
    for way in shown["stage 1"]
]
titles = ["stage 1: shown", "S_p", "S_ss", "stage 2: shown", "S_p", "S_t"]
figures.panels(
    sheet,
    titles,
    [way.replace(" ", "\n", 1) for way in shown["stage 1"]],
    bar=("mean softplus of S_p", loudest),
)
plt.show()

# %% [markdown]
# ## Who carries the damage into S_ss
#
# Before stage 2 the reported output has both branches to read. Each can be shown an image of its own: one the clean image, the other the attacked one.
# If the phantom branch soaked the attack up, so that the head could subtract it, then hiding the attack *from the phantom branch* would make
# things worse, and showing it to that branch alone would do no harm.

# %% tags=["nbval-ignore-output"]
before = networks["stage 1"]
clean, hit = shown["stage 1"]["as it is"], shown["stage 1"]["attacked"]
mixed = {
    ("clean", "clean"): joined(before, clean, clean),
    ("clean", "attacked"): joined(before, clean, hit),
    ("attacked", "clean"): joined(before, hit, clean),
    ("attacked", "attacked"): joined(before, hit, hit),
}
shares = {
    names: 100 * float(adaptive.right_share(logits, label_BHW).mean()) for names, logits in mixed.items()
}
told_of_shares = chapter.table(
    ["F_t is shown the image", "F_p is shown the image", "pixels that S_ss gets right (%)"],
    [[*names, f"{share:.1f}"] for names, share in shares.items()],
).data
if f"{shares['clean', 'clean']:.1f}" == "0.0":
    told_of_shares = (
        "**Not judged at this scale**: after stage 1 this page's network gets "
        f"{shares['clean', 'clean']:.1f} % of the pixels of clean images right."
    )
elif scale in NO_EVIDENCE:
    told_of_shares += "\n\n**Not judged at this scale.**"
Markdown(told_of_shares)

# %% [markdown]
# A branch that soaks the attack up shows in two places: the third line, where the attack is hidden from it, lies *below* the fourth, and the second, where it alone is attacked, no lower
# than the first. One network and a handful of images only show how the question is asked.
#
# ## Universal perturbations, before and after stage 2
#
# From committed rows: points of mIoU lost by the network after stage 1, at $S_{ss}$, and by the same network after stage 2, at $S_t$. Methods without
# separation are read at their one output. The baseline is fine-tuned for as many steps without any phantom,
# so that what stage 2 does to *it* is not the merit of silence; the last columns take it off, seed by seed: a method of one seed is held against the baseline's same seed, so that the means of two lines cannot be subtracted. A network with less to lose loses less: the clean mIoU stands
# beside what is lost, and the last column reads both stages at $S_t$, so that only the network differs, and not the output.

# %% mystnb={"figure": {"caption": "Points of mIoU lost under universal perturbations, mean over those that every method of a setting was shown: rings after stage 1, dots after stage 2. Each line is one seed, from its ring to its dot; the seeds of a method stand below each other. Left is better. The axes differ, and do not begin at zero.", "name": "fig-stage-universal"}, "image": {"alt": "For each setting a panel with a ring and a dot for each method, the points lost before and after stage 2; or the words not measured yet."}}
figures.stage_points(
    {
        f"{name}\nn = {' or '.join(map(str, sorted(cost[name])))} images, {len(shown_to_all[name])} perturbations: {crafted_in[name]}": found
        for name, found in lost.items()
    },
    unit="points of mIoU lost",
)
plt.show()

# %%
lines = [
    [
        name,
        method,
        *(
            f"{mean_of(lost_at[name, method, where])} of {mean_of(clean_at[name, method, where])}"
            for where in READINGS
        ),
        told(paired_difference(stages[1], stages[0]), name, "lower"),
        told(silencing(found).get(method), name, "lower"),
        told(silencing(lost_same[name]).get(method), name, "lower"),
    ]
    for name, found in lost.items()
    for method, stages in found.items()
]
header = [
    "setting",
    "method",
    "lost of clean mIoU: stage 1, as reported",
    "stage 1, S_t",
    "stage 2, S_t",
    "change",
    "beyond the baseline's change",
    "the same, both at S_t",
]
chapter.table(header, lines) if lines else Markdown("**Not measured yet.**")

# %%
Markdown(
    "Means are over: " + "; ".join(f"{', '.join(listed)} ({name})" for name, listed in shown_to_all.items())
    if shown_to_all
    else "No setting has universal perturbations after both stages."
)

# %% [markdown]
# Below zero is better: fewer points are lost. Rows of `smoke` and `demo` scale are shown, and never judged.
#
# ## Adaptive attacks, before and after stage 2
#
# The same for attacks that see the network they attack. Of each image the aim that leaves least counts. Here above zero is better: more is left.

# %% mystnb={"figure": {"caption": "mIoU left under adaptive attacks of one size: rings after stage 1, dots after stage 2. Each line is one seed, from its ring to its dot. Right is better. The axes differ, and do not begin at zero. Methods on which a sanity check failed are left out.", "name": "fig-stage-adaptive"}, "image": {"alt": "For each setting a panel with a ring and a dot for each method, the mIoU left before and after stage 2; or the words not measured yet."}}
figures.stage_points(
    {
        f"{name}\nn = {one.images} images, {one.steps} steps a loss, up to {one.passes} passes an image": found
        for name, found in left.items()
        if found
        for one in [max(attacked_curves[name], key=lambda curve: curve.passes)]
    },
    unit="mIoU left (%)",
)
plt.show()

# %%
lines = []
for name, found in attacked_curves.items():
    for one in (one for one in found if one.stage1):
        stages = worst(one)
        invalid = None if one.valid else "invalid: a sanity check failed"
        lines.append(
            [
                name,
                one.experiment,
                f"{one.at:g}, {one.steps}, {one.images}",
                mean_of(one.by_epsilon[0.0]),
                *map(mean_of, stages),
                invalid or told(paired_difference(*reversed(stages)), name, "higher"),
                invalid or told(silencing(left[name]).get(one.experiment), name, "higher"),
            ]
        )
header = [
    "setting",
    "method",
    "epsilon (of 255), steps, images",
    "clean, after stage 2",
    "left after stage 1",
    "after stage 2",
    "change",
]
chapter.table([*header, "beyond the baseline's change"], lines) if lines else Markdown(
    "**Not measured yet.**"
)

# %% [markdown]
# ## Is the phantom worth attacking?
#
# Noise is what an attack has to beat. An attack that raises a branch the reported output does not read can
# only do harm by the way, through the encoder.

# %%
lines, threats = [], []
for name, found in attacked_curves.items():
    for one in (one for one in found if "phantom" in one.by_aim):
        noise = one.noise.get(one.at, {})
        difference = paired_difference(one.by_aim["phantom"], noise)
        lines.append(
            [
                name,
                one.experiment,
                mean_of(one.by_epsilon[0.0]),
                mean_of(noise),
                mean_of(one.by_aim["phantom"]),
                mean_of(least([one.by_aim[aim] for aim in one.by_aim if aim not in ("phantom", "worst")])),
                told(difference, name, "higher") if one.valid else "invalid: a sanity check failed",
            ]
        )
        if scale_in(name) not in NO_EVIDENCE and one.valid:
            threats.append(f"{one.experiment} ({name}): **{WORDS[verdict(difference)]}**")
header = ["setting", "method", "clean", "random signs", "phantom raised", "an output attacked"]
chapter.table([*header, "phantom raised minus random signs"], lines) if lines else Markdown(
    "**Not measured yet.**"
)

# %%
Markdown(
    "After stage 2, by the rule of three seeds, raising the phantom is: " + "; ".join(threats) + "."
    if threats
    else "No verdict: **not measured yet** at a scale that is judged, or not validly."
)

# %% [markdown]
# ## Limits
#
# * $S_{ss}$ after stage 1 and $S_t$ after stage 2 are different outputs of networks with different training. The baseline's change
#   takes off what more steps do; what the change of output does is taken off under universal perturbations alone.
# * What adaptive attacks leave is given, not what they take: the images they see are not measured unattacked after stage 1.
# * The live part is one seed on a few images. Its network is the page's, and at `smoke` scale it is untrained.
# * A branch that does not answer to these attacks may answer to others. An absence is never shown by trying.
#
# ## Takeaways
#
# * An argument about a branch needs a path from that branch to the answer. To $S_t$, which is read after stage 2 (R12, our reading), there is none; to $S_{ss}$ there is one.
# * To credit silence with a change, the same fine-tuning without a phantom must not make it.
#
# ## Exercises
#
# 1. Why does the attack on the phantom raise a softplus, and not $l_{PPA}$ itself?
# 2. How large may a phantom's logits become before $S_t$ changes?
# 3. Stage 2 makes a method lose 3 points less with each of three seeds, and the baseline 2, 3 and 4 less. What has silence done?

# %% tags=["hide-cell"]
# Solution of 1: where every logit is negative, l_PPA is flat, and there is nothing to follow.
gradients = {}
for name, raised in (("l_PPA", phantom_activation), ("softplus", lambda logits: F.softplus(logits).mean())):
    logits = torch.full((1, 21, 4, 4), -1.0, requires_grad=True)
    raised(logits).sum().backward()
    gradients[name] = float(logits.grad.abs().sum())
print({name: round(value, 4) for name, value in gradients.items()})
assert gradients["l_PPA"] == 0
assert gradients["softplus"] > 0

# %% tags=["hide-cell"]
# Solution of 2: as large as they like.
after = networks["stage 2"]
bias = after.classifiers[1][-1].bias
with torch.no_grad():
    quiet = after(image_BCHW[:2])
    bias += 1e6
    shouting = after(image_BCHW[:2])
    bias -= 1e6
print("phantom raised by", f"{float((shouting.phantom - quiet.phantom).mean()):.0e}")
assert torch.equal(quiet.dominant, shouting.dominant)
assert not torch.equal(quiet.final, shouting.final)

# %% tags=["hide-cell"]
# Solution of 3: nothing that can be told.
method, plain = {0: -3.0, 1: -3.0, 2: -3.0}, {0: -2.0, 1: -3.0, 2: -4.0}
beyond = paired_difference(method, plain)
print(f"{beyond[0]:+.1f} ± {beyond[1]:.1f}: {verdict(beyond)}")
assert beyond[0] == 0
assert verdict(beyond) == "undecided"

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
print("S_t reads the phantom branch:", reads["stage 2", "dominant"], "| S_ss:", reads["stage 1", "final"])
with torch.no_grad():
    whole = before(clean).final
print("joined by hand as by the network:", torch.allclose(whole, mixed["clean", "clean"], atol=1e-4))
farthest = max(
    float((shown[stage][way] - image_BCHW).abs().max()) * 255
    for stage in networks
    for way in ("random signs", "attacked", "phantom raised")
)
print("within epsilon:", farthest <= EPSILON + 1e-3)
print(
    "no image gains from its attack:",
    {stage: bool((of["attacked"] <= of["as it is"] + 1e-6).all()) for stage, of in right.items()},
)
print(
    "raising the phantom makes it louder:",
    {stage: bool(of["phantom raised"].mean() > of["as it is"].mean()) for stage, of in loud.items()},
)
print("no verdict at", NO_EVIDENCE[0], "scale:", told((1.0, 0.1, 5), "silhouettes, smoke", "higher"))
