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
# # Ablations
#
# **Question.** Which parts of the method matter (Tables 8 to 11), and what do the readings change that the paper leaves open?
#
# **Costs.** Seconds: it reads committed rows and the shared run of SourceSep-CM. `segmix run table8 table9 table10 table11` makes the rows.

# %% tags=["parameters"]
scale = "smoke"
dataset = "silhouettes"
root = None
seed = 0
device = "cpu"

# %% tags=["remove-cell"]
import dataclasses
from collections import Counter
from itertools import groupby

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown

from segmix_core import chapter, results
from segmix_core.experiments import MEASURED_ON, METHODS, TABLES, find_experiment, paper
from segmix_core.metrics import miou
from segmix_core.report import confusions_of, figures, measured, paired_difference
from segmix_core.report.claims import NO_EVIDENCE, judge
from segmix_core.report.statistics import PAIRS_NEEDED
from segmix_core.report.tables import compared, reading, told_apart

setting = chapter.begin(scale=scale, dataset=dataset, root=root, seed=seed, device=device)
rows = results.read_all()
ABLATIONS = (8, 9, 10, 11)


# %% tags=["remove-cell"]
FOUND = {}  # what tells a setting from others


def settings_of(table):
    """The settings in which any row of a table was measured: the judged first, then those with most runs."""
    runs, idle = Counter(), set()
    for row in {row.row: row for row in TABLES[table]}.values():
        for entry in measured(rows, row.experiment, output=row.output, among=MEASURED_ON[row.data]):
            FOUND[entry["setting"]] = (
                f"{entry['dataset']}, {entry['scale']}",
                f"from {entry['weights']}",
                entry["setting"],
            )
            runs[entry["setting"]] += len(entry["seeds"])
            if entry["scale"] in NO_EVIDENCE:
                idle.add(entry["setting"])
    return dict(sorted(runs.items(), key=lambda one: (one[0] in idle, -one[1])))


IN_ALL = sum((Counter(settings_of(table)) for table in ABLATIONS), Counter())
NAMES = dict(zip(FOUND, told_apart([*FOUND.values()]), strict=True))
ORDER = [one for one, _ in IN_ALL.most_common()]


def measured_rows(table, where):
    """By row of a table, what was measured in one setting."""
    found = {}
    for row in TABLES[table]:
        entries = measured(rows, row.experiment, output=row.output, among=MEASURED_ON[row.data])
        found[row.row] = [entry for entry in entries if entry["setting"] == where]
    return found


def printed(table, name):
    """The printed values of a row, block by block."""
    values = [
        f"{row.printed} ({row.column})"
        for row in TABLES[table]
        if row.row == name and row.printed is not None
    ]
    return ", ".join(values) or "not in the paper"


def table_of(table):
    """A table's rows, printed beside measured, in every setting that has any."""
    where = sorted(settings_of(table), key=ORDER.index)
    lines = []
    for name in dict.fromkeys(row.row for row in TABLES[table]):
        cells = [name, printed(table, name)]
        for one in where:
            found = measured_rows(table, one)[name]
            entry = found[0] if found else None
            spread = (
                "" if entry is None or entry["half_width_95"] is None else f" ± {entry['half_width_95']:.2f}"
            )
            cells.append(
                "not measured" if entry is None else f"{entry['value']:.2f}{spread} ({len(entry['seeds'])})"
            )
        lines.append(cells)
    header = ["", "printed (%)", *(f"{NAMES[one]} (seeds)" for one in where)]
    return chapter.table(header, lines)


def picture_of(table):
    """The rows that were measured in the setting with most of the table's runs, as points."""
    where = next(iter(settings_of(table)), None)
    shown = {name: found for name, found in measured_rows(table, where).items() if found}
    figures.variation_points(shown, unit=f"mIoU (%), {NAMES.get(where, 'nothing measured')}")
    plt.show()


def told_from_first(table):
    """Which rows of enough seeds the rule of claims tells from the table's first row, in each judged setting."""
    lines = []
    for where in settings_of(table):
        found = {name: one[0] for name, one in measured_rows(table, where).items() if one}
        first, *others = {row.row: row for row in TABLES[table]}.values()
        if first.row not in found or found[first.row]["scale"] in NO_EVIDENCE:
            continue
        said = {"higher": [], "lower": [], "undecided": []}
        alike = [
            row for row in others if row.row in found and found[row.row]["steps"] == found[first.row]["steps"]
        ]
        for row in alike:
            difference = paired_difference(found[row.row]["by_seed"], found[first.row]["by_seed"])
            if difference is not None and difference[2] >= PAIRS_NEEDED:
                read_at = (row.output, first.output)
                word = compared(rows, row.experiment, first.experiment, where, outputs=read_at)
                said[word].append(f"{row.row} ({difference[0]:+.2f} ± {difference[1]:.2f})")
        if any(said.values()):
            words = "; ".join(f"{which}: {', '.join(names) or 'none'}" for which, names in said.items())
            lines.append(f"* **{NAMES[where]}**: {words}.")
    return Markdown(
        f"Against *{TABLES[table][0].row}*, points over {PAIRS_NEEDED} paired seeds or more, of rows with as many steps:\n\n"
        + ("\n".join(lines) or "* no row has as many seeds in a setting that is judged.")
    )


# %% [markdown]
# ## The finding, first

# %%
judged = judge(rows, numbers=(9, 10, 11, 12))
complete = {
    NAMES[where]: sum(bool(found) for table in ABLATIONS for found in measured_rows(table, where).values())
    for where in ORDER
}
total = sum(len({row.row for row in TABLES[table]}) for table in ABLATIONS)
verdicts = "\n".join(
    f"* Claim {claim.number}: {claim.text} "
    + "; ".join(f"**{one.in_words}**" + (f" ({one.setting})" if one.setting else "") for one in found)
    + "."
    for claim, found in groupby(judged, key=lambda one: one.claim)
)
Markdown(
    f"Measured so far, of the {total} rows of Tables 8 to 11: {', '.join(f'{number} on {name}' for name, number in complete.items())}. "
    f"The paper's claims about them, and the verdict of the rows:\n\n{verdicts}\n\n"
    "One seed shows that a command works, and decides nothing. Rows of `smoke` and `demo` scale are never judged."
)

# %% [markdown]
# ## What varies, and how little code it takes
#
# A method is a set of factors. Each row of these tables changes some of them and nothing else. Stage 1 for as many more steps as denoising
# takes, say, is one replaced factor:


# %% tags=["remove-cell"]
def flat(factors, within=""):
    """Factors and their values, those of delta and cap with a dot."""
    for name, value in factors.items():
        if isinstance(value, dict):
            yield from flat(value, f"{name}.")
        else:
            yield f"{within}{name}", "none" if value is None else value


def differences(one, other):
    """The factors of a method that another one does not have alike, in words."""
    theirs = dict(flat(dataclasses.asdict(other)))
    ours = flat(dataclasses.asdict(one))
    return ", ".join(f"{name}: {value}" for name, value in ours if theirs.get(name) != value)


# %%
chapter.source(paper._continued)

# %% [markdown]
# What every row changes. The rows that are missing here are methods of Table 1, or SourceSep-CM read at another output. First
# what SourceSep-CM has itself; {class}`segmix_core.experiments.factors.Method` says what each factor and value means.

# %%
reference = METHODS["sourcesep-cm"].method
own = ", ".join(f"{name}: {value}" for name, value in flat(dataclasses.asdict(reference)))
lines = [["", "SourceSep-CM itself", own]]
for table in ABLATIONS:
    for row in {row.row: row for row in TABLES[table]}.values():
        if row.experiment.name.startswith("table") and row.output is None:
            lines.append([table, row.row, differences(row.experiment.method, reference)])
chapter.table(["table", "row", "what differs from SourceSep-CM"], lines)

# %% [markdown]
# ## The tables
#
# Columns are mIoU in per cent, in settings named after their data and scale; in brackets the number of seeds. Networks on `voc2012` start from random weights there, those on
# `silhouettes` from an encoder that has learned single generated objects. "Higher" and "lower" below are told by the rule that verdicts on claims follow, of
# three paired seeds or more and of the images ([fifteen claims](18_claims)). No interval is widened for the number of rows: of so many, some would be told apart by chance.
#
# ## Table 8: the feature denoising stage
#
# DN is feature denoising, the paper's stage 2. "w/o DN" is stage 1 read at $S_{ss}$, "w/ DN" is stage 2 read at $S_t$ (R12). As the two differ in length,
# a third row goes on with stage 1, on mixed images, for as many steps (R24). Claim 9 asks denoising to be better than both. As they differ in the output too,
# "w/o DN, S_t" reads the network before denoising where the one after it is read: where that row is as high as "w/ DN", the gain over "w/o DN" is that of another
# output. Two more rows take $l_{PPA}$ out of Eq. 5, or read it as it is printed.

# %%
table_of(8)

# %%
told_from_first(8)

# %% mystnb={"figure": {"caption": "Rows of Table 8 that were measured in the setting named below the axis, of all judged ones the one with most runs; the line marks the first row. Dots are seeds, bars the mean and its 95 % interval, each row alone: what is told apart by pairs of seeds stands above.", "name": "fig-table8"}, "image": {"alt": "Points of mIoU for the rows of Table 8."}}
picture_of(8)

# %% [markdown]
# ## Table 9: the source separation head (SSH)
#
# Rows end after stage 1, DeepLabv3's too, so that they have as many steps. The two exceptions say so: "w/ DN" and "after stage 2".

# %%
table_of(9)

# %%
told_from_first(9)

# %% [markdown]
# $S_{ss}$ after stage 2 is a row of its own so that nobody has to guess: the head is not trained there, and sees a silenced phantom.
#
# "With ReLU" can be read so that the logits of the SSH pass one, too (R11). A logit that is below zero at every pixel then has no gradient, and its category is
# learned no more, whatever the loss says. Such categories can be counted: they are given to no pixel.

# %%
readings = {
    name: {
        (row["dataset"], row["scale"], row["eval_split"], row["seed"]): row
        for row in reading(rows, find_experiment(f"table9/sourcesep-cm-{name}"))
    }
    for name in ("relu-ssh", "with-ssh")
}
lines = []
for (data, at, split, number), row in readings["relu-ssh"].items():
    other = readings["with-ssh"].get((data, at, split, number))
    if split not in ("val", "test") or other is None:
        continue
    totals = [confusions_of(one["per_image"]).total(1, "final") for one in (row, other)]
    dead = [(matrix_NN.sum(0) == 0) & (matrix_NN.sum(1) > 0) for matrix_NN in totals]
    alive = np.flatnonzero(~dead[0])
    lines.append(
        [
            f"{data}, {at}, seed {number}",
            *(f"{int(none.sum())} of {len(none)}" for none in dead),
            *(f"{100 * float(miou(matrix_NN, alive)):.1f}" for matrix_NN in totals),
        ]
    )
header = [
    "S_ss after stage 1",
    "categories given to no pixel, with the ReLU",
    "without it",
    "mIoU of the others (%), with the ReLU",
    "without it",
]
chapter.table(header, lines) if lines else Markdown("**Not measured yet.**")

# %% [markdown]
# *The others* are the categories that the network with the ReLU still gives; both columns are over the same ones. One seed: an explanation of its row, and no verdict.
#
# ## Table 10: pairing, separation, denoising
#
# "+ Co-occurrence" changes Mixup's pairing alone (R23). "+ SourceSep" ends after stage 1, as the paper has it; all others have the steps of both stages.
# Claim 11 therefore compares with "stage 1 continued". The lower rows replace Algorithm 2 by other pairings; which of them avoid its hubs is measured in
# [pairing, examined](08_pairing).

# %%
table_of(10)

# %%
told_from_first(10)

# %% mystnb={"figure": {"caption": "Rows of Table 10 that were measured in the setting named below the axis, of all judged ones the one with most runs; the line marks the first row. Dots are seeds, bars the mean and its 95 % interval, each row alone: what is told apart by pairs of seeds stands above.", "name": "fig-table10"}, "image": {"alt": "Points of mIoU for the rows of Table 10."}}
picture_of(10)

# %% [markdown]
# ## Table 11: what to do beyond the cap
#
# "max = m" does not blend pairs with more than m categories; the default blends them at 0.9. All rows end after stage 1, DeepLabv3's too.

# %%
table_of(11)

# %%
told_from_first(11)

# %% mystnb={"figure": {"caption": "Rows of Table 11 that were measured in the setting named below the axis, of all judged ones the one with most runs; the line marks the first row. Dots are seeds, bars the mean and its 95 % interval, each row alone: what is told apart by pairs of seeds stands above.", "name": "fig-table11"}, "image": {"alt": "Points of mIoU for the rows of Table 11."}}
picture_of(11)

# %% [markdown]
# ## Limits
#
# * In Tables 8 and 10, rows that end after stage 1 train fewer steps than the others, and are not held against the first; "stage 1 continued" is as long, and read at $S_{ss}$.
# * The small scales have one encoder: both of the paper's blocks stand beside one measured column (R25).
#
# ## Takeaways
#
# * Every row of Tables 8 to 11 is a change of factors of one declaration; no row has code of its own.
# * Rows of Table 8 that end after stage 1 need no run of their own: they are the stage 1 of runs that exist anyway.
#
# ## Exercises
#
# 1. Which row of Table 11 has the same method as a row of Table 8?
# 2. How many runs do the four tables need, and how many would they need if nothing were shared?

# %% tags=["hide-cell"]
# Solution of 1.
same = (
    find_experiment("table11/delta-capped").method == find_experiment("table8/sourcesep-cm-without-dn").method
)
print("the default, without denoising:", same)
assert same

# %% tags=["hide-cell"]
# Solution of 2.
from segmix_core.run import training_runs

declared = [row for table in ABLATIONS for row in TABLES[table]]
wanted, _ = training_runs(declared, setting.request)
named = {(row.table, row.row) for row in declared}
print(len(wanted), "runs instead of", len(named))
assert len(wanted) < len({row.experiment.method for row in declared}) < len(named)

# %% [markdown]
# ## Checks

# %% tags=["nbval-check-output"]
print("rows declared:", {table: len({row.row for row in TABLES[table]}) for table in ABLATIONS})
print(
    "every row has its experiment:",
    all(find_experiment(row.experiment.name) == row.experiment for row in declared),
)
cm = setting.run("sourcesep-cm")
without = measured(cm.rows, find_experiment("table8/sourcesep-cm-without-dn"))[0]
print("stage 1 of the shared run is the row without denoising:", (without["stage"], without["output"]))
