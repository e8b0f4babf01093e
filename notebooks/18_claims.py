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
# # Fifteen claims, and what was found
#
# **Question.** Which of the paper's claims do the measurements made so far support?
#
# **Costs.** Seconds: it reads the committed rows and VOC's label statistics, and trains nothing.

# %% tags=["parameters"]
scale = "smoke"
dataset = "silhouettes"
root = None
seed = 0
device = "cpu"

# %% tags=["remove-cell"]
from collections import Counter

import matplotlib.pyplot as plt
from IPython.display import Markdown

from segmix_core import chapter, results
from segmix_core.experiments import METHODS, TABLES
from segmix_core.report import figures
from segmix_core.report.claims import CLAIMS, NO_EVIDENCE, holds_as_printed, printed_value
from segmix_core.verdicts import judge_claims

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)
rows = results.read_all()

# %% tags=["remove-cell"]
judged = judge_claims(rows)

# %% [markdown]
# ## The finding, first

# %%
VERDICTS = ("supported", "not supported", "undecided")
tally = Counter(one.verdict for one in judged if one.setting)
scales = sorted({row["scale"] for row in rows} - set(NO_EVIDENCE))
settings = list(dict.fromkeys(one.setting for one in judged if one.setting))
with_rows = {one.claim.number for one in judged if one.setting}
by_construction = {
    verdict: ", ".join(
        f"claim {one.claim.number} by construction"
        for one in judged
        if one.setting and one.verdict == verdict and one.without_rows
    )
    for verdict in VERDICTS
}
shares = ", ".join(
    f"**{tally[one]} {one}**" + (f" ({by_construction[one]})" if by_construction[one] else "")
    for one in VERDICTS
)


PAIRS = "label statistics of VOC"


def decided(holds, setting):
    """The contrasts that a sentence says and that are decided in a setting, each once, with its claim."""
    found = {
        f"{finding.contrast.what} (claim {one.claim.number})": None
        for one in judged
        for finding in one.findings
        if (PAIRS if finding.contrast.about_pairs else one.setting) == setting
        and finding.contrast.said
        and finding.holds == holds
    }
    return list(found)


said = (
    f"{len(CLAIMS)} claims, each judged in every setting that has rows for it: {tally.total()} verdicts on "
    f"{len(with_rows)} claims, {shares}; "
    f"{len(CLAIMS) - len(with_rows)} more claims are **undecided for want of rows** at a scale that is judged. "
    + (
        "**No network was trained at the paper's own scale**, with ImageNet weights and 513-pixel crops: a verdict is about the setting that stands beside it."
        if "paper" not in scales
        else "Some rows are at the paper's scale; each verdict stands beside its setting."
    )
    + " A claim needs all of its contrasts; single ones that are decided:"
)
lines = [
    f"* **{words}** in *{name}*: {'; '.join(found)}."
    for name in dict.fromkeys([*settings, PAIRS])
    for words, holds in (("hold", "yes"), ("contradicted", "no"))
    if (found := decided(holds, name))
]
Markdown("\n".join([said, "", *(lines or ["* none."])]))

# %% [markdown]
# ## How a verdict is made
#
# Each claim is written as contrasts: sums of measurements that it says are above zero. A contrast *holds* when its mean over seeds has a
# 95 % interval above zero, with three seeds or more on twenty images or more and, where the confusion matrices of single images are kept, when the
# bootstrap over images and seeds agrees (*not known*: a draw may hold no image of a list). It is *contradicted* when the intervals lie below zero. "No worse" holds where they lie above -1 point, and is
# contradicted where they lie below it. Some contrasts are said by no sentence of the paper and read off a table by us: they are shown as *ours* and decide nothing, whether they hold or not. A claim is
#
# * **supported** when all contrasts hold that the paper says,
# * **not supported** when one of them is contradicted,
# * **undecided** otherwise: too few seeds, an interval or a bootstrap that holds zero, a contrast that was not measured, or no rows at all.
#
# Rows of `smoke` and `demo` scale are never judged: they show that a command works.
# The rule is a function with its own tests ({func}`segmix_core.report.claims.judge`). It was written before the rows, and changed in these ways when some rows were known:
#
# * *Made stricter*: the least number of images; contrasts of equal length in claims 9 and 11; CC against DeepLabv3 in claim 1; in claim 3 CC against Mixup and CutMix, and that both methods are better
#   than these at all; both methods against DeepLabv3 in claim 4, and against Mixup and CutMix in claim 6; the margin over noise in claims 6 and 7; and that a mean over nested lists rests on its smallest list, and on nothing known where a draw may miss one (claims 3 to 5); the
#   lists of Fig. 5 decide nothing where training has fewer images than VOC's list, whose pairs their thresholds count (claim 5). These can only make *supported* rarer.
# * *Brought nearer to the text*: what "pronounced" and "maintain" compare in claims 3 and 4, and that CM is above CC on rare pairs in claim 5.
# * *Made weaker*: an order that only a table shows, and no sentence claims, no longer decides anything, as CM against DeepLabv3 in claim 4. This turned claim 1 on photographs from *not supported* to *undecided*
#   ([decisions](../book/decisions)). Where such orders would change a verdict, the table below says so: *with ours*.
# * *Given more rows*: of a universal perturbation that was crafted several times, each seed may be shown another crafting, the same for all its methods (claims 6 and 7); before, one crafting counted for all seeds. This turned no verdict.
# * *Counted instead of timed*: claim 13 was first judged by seconds of training, which depend on the machine.
#
# One claim is arithmetic: it is supported, or not, *by construction*, and the table says so beside the verdict.
#
# ## All claims
#
# A setting is named after its data and its scale. Networks on `voc2012` start from random weights there, those on `silhouettes` from an encoder that has learned single
# generated objects ([five methods at mini scale](07_photographs)). A dash: no rows in that setting, at a scale that is judged. A claim
# that has none anywhere is undecided.

# %%
MARKS = {
    "supported": "✔ supported",
    "not supported": "✘ not supported",
    "undecided": "? undecided",
}
verdicts = {
    (one.claim.number, name): f"{MARKS[one.verdict]}{one.in_words.removeprefix(one.verdict)}"
    for one in judged
    for name in ([one.setting] if one.setting else settings)
    if one.setting or name != PAIRS
}
chapter.table(
    ["", "claim, in our words", "where", *settings],
    [
        [
            claim.number,
            claim.text + (f" *Ours: {claim.read_off}*" if claim.read_off else ""),
            claim.where,
            *(verdicts.get((claim.number, name), "–") for name in settings),
        ]
        for claim in CLAIMS
    ],
)

# %% [markdown]
# What the contrasts behind them cannot tell, or leave out:

# %%
Markdown("\n".join(f"* Claim {claim.number}: {claim.note}." for claim in CLAIMS if claim.note))

# %% [markdown]
# ## The contrasts behind them
#
# Differences are in points of mIoU unless their name says otherwise. *Printed* is the same sum of the paper's own numbers, with ResNet-101 where both
# backbones are printed. *Over seeds* is the mean with its interval (Student's t). *Bootstrap* is the 95 % interval over images and seeds, of one seed over images alone; *images* is
# the size of the smallest list in the contrast. What keeps one undecided besides its intervals stands in brackets. No interval is widened for the number of contrasts: of so many, some would be decided by chance. Contrasts of VOC's labels are counted on the pairs that batches of 16 of its training list make, whatever networks stand beside them.

# %%
tables = []
for name in settings:
    lines = []
    for one in (one for one in judged if one.setting == name):
        for finding in one.findings:
            half = (
                f"±\u00a0{finding.half_width_95:.2f}"
                if finding.half_width_95 is not None
                else "(counted)"
                if finding.holds == "counted"
                else "(one\u00a0seed)"
            )
            lines.append(
                [
                    f"{one.claim.number} · {finding.contrast.what}",
                    finding.in_words,
                    "" if finding.printed is None else f"{finding.printed:+.4g}",
                    f"{finding.mean:+.2f}\u00a0{half}",
                    finding.over_images,
                    ""
                    if finding.holds == "counted"
                    else f"{finding.seeds}" + ("" if finding.fewest is None else f" / {finding.fewest}"),
                ]
            )
    header = ["claim · contrast", "holds", "printed", "over seeds", "bootstrap", "seeds / images"]
    tables.append(f"**{name}**\n\n{chapter.table(header, lines).data}")
Markdown("\n\n".join(tables))

# %% mystnb={"figure": {"caption": "Every contrast of mIoU or IoU that was measured with two seeds or more: its mean and 95 % interval over seeds, after the number of its claim. Colours are the verdict of the whole rule, which also asks for three seeds, the bootstrap, twenty images, for rare pairs VOC's own list, and of attacks that they take more than noise: a grey one whose interval lies off the line fails in one of these, which the table names. Hollow ones are ours; 'cutmix - baseline' is asked whether it lies above -1.", "name": "fig-contrasts"}, "image": {"alt": "Horizontal intervals of contrasts, a panel for each setting, in the order of the claims."}}
figures.contrast_points(judged)
plt.show()

# %% [markdown]
# ## What the printed numbers say by themselves
#
# Some claims can be held against the tables alone, without training anything. These are the contrasts that the printed numbers do not bear out.

# %%
lines = []
for claim in CLAIMS:
    for contrast in claim.contrasts:
        if holds_as_printed(contrast) is False:
            said = "" if contrast.said else "ours"
            lines.append([claim.number, contrast.what, f"{printed_value(contrast):+.4g}", claim.where, said])
chapter.table(["claim", "contrast", "printed", "where", "reading"], lines)

# %% [markdown]
# More of these are in [the audit](17_audit).
#
# ## Limits
#
# * The runs start from random or generated weights and are short; most networks are underfitted. Mixing makes their task harder, so that a method which
#   needs long training is at a disadvantage here.
# * The methods of Table 1 train the same number of steps, fine-tuning included. Networks that are read before stage 2 have had the steps of stage 1 alone: in
#   Table 11 all have, in Table 9 all that the paper prints; for "without denoising" there are contrasts of equal length beside the paper's.
# * Whether the networks behind these rows separate anything is measured for few of them ([stage 1](longer-runs)). Where the phantom branch names nothing of its image, a gain or a loss is not owed to
#   sources that were separated.
# * "No judged rows", or a dash, means that there are none at a scale that is judged. There may be some at `demo`: `segmix report tableN` shows them.
#
# ## Takeaways
#
# * A verdict belongs to its setting. Read the setting before the verdict.
# * *Undecided* is not *wrong*: how small a difference a few seeds can tell is the width of their intervals.
#
# ## Exercises
#
# 1. Which contrast of three seeds or more is nearest to being decided by them?
# 2. How many printed values does claim 3 rest on, without what is ours?

# %% tags=["hide-cell"]
# Solution of 1: the one whose mean is the largest share of its half-width, among those whose interval holds zero.
open_ones = [
    finding
    for one in judged
    for finding in one.findings
    if finding.seeds >= 3 and abs(finding.mean) < finding.half_width_95
]
share, what = max(
    ((abs(one.mean) / one.half_width_95, one.contrast.what) for one in open_ones), default=(0, "none")
)
print(f"{what}: its mean is {share:.0%} of its half-width")
assert share < 1

# %% tags=["hide-cell"]
# Solution of 2.
third = CLAIMS[2]
read = {
    (reading.experiment.name, reading.subset)
    for contrast in third.contrasts
    if contrast.said
    for _, reading in contrast.terms
}
print(len(read))
assert {name for name, _ in read} == METHODS.keys() - {"baseline"}
assert all(
    any(row.experiment.name == name and row.subset == subset for row in TABLES[4])
    for name, subset in read
    if subset
)

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
print(
    "claims:",
    len(CLAIMS),
    "| every claim has a verdict:",
    {one.claim.number for one in judged} == set(range(1, 16)),
)
print(
    "as the front pages have it:",
    {
        verdict: sorted({one.claim.number for one in judged if one.verdict == verdict})
        for verdict in ("supported", "not supported")
    },
)
print(
    "pairs alone:",
    [(number, verdict) for (number, name), verdict in verdicts.items() if name == PAIRS],
)
print(
    "no verdict without three seeds:",
    all(finding.seeds >= 3 for one in judged for finding in one.findings if finding.holds in ("yes", "no")),
)
