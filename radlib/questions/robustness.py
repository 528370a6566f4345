"""Which sources lean on a mark that goes with the label? (11_robustness)

A mark is planted in the images: a tag, a low-pass filter, noise. In training and validation it goes with the
label to some degree; in the test it goes against it, wholly, so that whoever leans on it loses. Every degree
is scored on the very same marked test images, so what the mark itself does to an image cancels: the *drop* is
the AUC of the probe that learnt without correlation (degree 0) minus that of the probe that learnt with it.
The strength of the penalty is chosen on validation patients under the correlation of training, for a user who
does not know of the mark has no others. The idea is that of Source Matters (arXiv 2403.04484).

Patients who are tested are resampled, the same on all sides; each probe is one training. p-values are
corrected (Holm) over tasks and confounders, for each source and pair at a degree.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from radlib.data.confounders import PLANTED
from radlib.data.images import open_packed
from radlib.errors import listed, of_task
from radlib.questions.verdicts import (
    after_holm,
    difference_columns,
    diverged,
    estimate_columns,
    patients_drawn,
)
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import (
    HIGHER,
    LOWER,
    Finding,
    finding_of,
    is_shown,
    over,
    shown_direction,
    unless_diverged,
)
from radlib.show.table import Column, Table, hidden, interval_columns, number, titled
from radlib.stats.bootstrap import bootstrap_mean_auc
from radlib.stats.estimate import Estimate, mean_of
from radlib.stats.folds import tested
from radlib.study import Study
from radlib.study.titles import ordered_pairs, pair_title, source_title, task_title
from radlib.training.grid import Finished, carry_out
from radlib.training.planted import PlantedGroup, planted_runs
from radlib.training.predictions import fold_predictions
from radlib.training.results import Results
from radlib.training.transfer import predictions_of

NO_TASKS = "This study names no task in `robustness.tasks`, so nothing is planted; below is the method alone."
TITLES = {"tag": "tag", "blur": "low-pass filter", "noise": "noise"}
LEANS = "leans on it"
_AUC = ("auc", "auc_low", "auc_high")
ROBUSTNESS = Table(
    "robustness.csv",
    "robustness",
    "task, confounder, source or pair of sources, and degree",
    [
        common.TASK,
        Column("confounder", "what is planted", "planted", names=TITLES),
        *common.PAIR,
        Column("degree", "share of positive patients with the mark minus that of others", "degree", ".0%"),
        *interval_columns(_AUC, "mean AUC in the reversed test", "AUC", ".3f"),
        *interval_columns(
            common.DIFFERENCE, "drop of AUC against degree 0; of a pair: that of a minus that of b", "drop"
        ),
        common.P,
        common.P_HOLM,
        Column("verdict", "after Holm's correction over tasks and confounders", "verdict"),
        Column("n_backbones", "networks averaged"),
        common.COUNTS[0],
        *hidden(*common.COUNTS[1:]),
        *common.ORIGIN,
    ],
    index=4,
)
_CELL = ["task", "confounder", "degree"]


def robustness(study: Study) -> tuple[pd.DataFrame, list[str]]:
    """Train what the store lacks: `ROBUSTNESS`, how far each source drops, and by how much more; and notes.

    Raises:
        UserError: data or weights are missing, or too few patients or resamples for an interval.
    """
    rows = []
    for task in study.robustness.tasks:
        done = carry_out(study, task, planted_runs(study, task), PlantedGroup, f"marks in {task}")
        for confounder, runs in done.runs.groupby("confounder", sort=False):
            about = {"task": task, "confounder": confounder}
            rows += [about | row for row in _rows(study, task, done, runs)]
    family = ["source_a", "source_b", "degree"]
    table, notes = after_holm(study, ROBUSTNESS, rows, family, {"p_value": "p_holm"})
    rows = [row | {"verdict": _verdict(study, row)} for row in table.to_dict("records")]
    return ROBUSTNESS.frame(rows, study), notes


@of_task
def _rows(study: Study, task: str, done: Finished, runs: pd.DataFrame) -> list[dict]:
    """Of one task and confounder: sources, then pairs, each degree by degree."""
    said = predictions_of(done)
    said = said[said["run"].isin(runs["run"])]
    results = Results(runs, {task: fold_predictions(task, runs, said, study.tasks[task].score)})
    sides = {key: results.scores(task, some) for key, some in runs.groupby(["source", "backbone", "degree"])}
    counts = tested(next(iter(sides.values())))
    found = bootstrap_mean_auc(sides, **patients_drawn(study, task))

    def auc(source: str, networks: list[str], degree: float) -> Estimate:
        return mean_of([found[source, name, degree] for name in networks], study.compare.confidence)

    own = {source: list(some["backbone"].unique()) for source, some in runs.groupby("source", sort=False)}
    groups = [(source,) for source in own] + [p for p in ordered_pairs(study) if p[0] in own and p[1] in own]
    rows = []
    for group in groups:
        networks = [name for name in own[group[0]] if name in own[group[-1]]]
        used = [runs[(runs["source"] == source) & runs["backbone"].isin(networks)] for source in group]
        about = {"source_a": group[0], "source_b": "".join(group[1:]), **counts}
        about |= {"n_backbones": len(networks), "diverged": diverged(*used)}
        for degree in study.robustness.degrees if networks else ():
            row = about | {"degree": degree}
            if len(group) == 1:
                row |= estimate_columns(study, auc(group[0], networks, degree), _AUC)
            if degree:
                drop, *other = (auc(one, networks, 0) - auc(one, networks, degree) for one in group)
                row |= difference_columns(study, drop - other[0] if other else drop)
            rows.append(row)
    return [row for row in rows if row["degree"] or not row["source_b"]]


def _verdict(study: Study, row: dict) -> str:
    """Whether a source drops, or which of two drops further."""
    way = shown_direction(row, study.compare.alpha)
    if not row["degree"]:
        word = ""
    elif row["source_b"]:
        ahead = {HIGHER: row["source_a"], LOWER: row["source_b"]}.get(way)
        word = f"{source_title(study, ahead)} {LEANS} more" if ahead else way
    else:
        word = {HIGHER: LEANS, LOWER: "gains"}.get(way, way.replace("difference", "drop"))
    return unless_diverged(word, row["diverged"])


# Figures --------------------------------------------------------------------------------------------------
def planted_figure(study: Study, task: str) -> Figure:
    """The first positive image of a task as it is, and with each confounder."""
    packed = open_packed(study.dataset_dir(task))
    row = int(np.flatnonzero(packed.manifest["label"])[0])
    image = np.asarray(packed.images[row])
    shown = {"as it is": image} | {TITLES[c]: PLANTED[c](image, row) for c in study.robustness.confounders}
    figure, panels = plt.subplots(1, len(shown), figsize=(2.3 * len(shown), 2.8), layout="constrained")
    for panel, (title, pixels) in zip(panels, shown.items(), strict=True):
        panel.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=255)
        panel.set(title=title, xticks=[], yticks=[])
    style.mark_simulated(figure, study)
    return figure


def reversal_figure(study: Study, table: pd.DataFrame, task: str) -> Figure:
    """AUC in the reversed test against the degree in training: a panel per confounder, a line per source."""
    some = table[(table["task"] == task) & table["auc"].notna()]
    names, colours = list(some["confounder"].unique()), style.source_colours(study)
    labels = "degree of correlation in training (%)", "AUC where the mark is reversed"
    figure, panels = style.panel_rows(study, len(names), 3, (0.8, 1.2), (2.8, 2.7), *labels)
    for panel, name in zip(panels, names, strict=True):
        style.quiet(panel).axhline(0.5, color="0.6", lw=0.8, ls=":")
        for source, line in some[some["confounder"] == name].groupby("source_a", sort=False):
            figures = (line[column] for column in _AUC)
            style.banded(panel, 100 * line["degree"], *figures, color=colours[source], lw=1.8)
        panel.set(title=TITLES[name], ylim=(0, 1.02))
        panel.yaxis.set_major_locator(MultipleLocator(0.1))
    bands = f"bands: {study.compare.confidence:.0%} intervals over patients; dotted: chance"
    title = f"{task_title(study, task)}: AUC of logistic probes on {networks(study)}\n"
    title += f"where the test reverses the mark ({bands})"
    asked = [(run.source, run.backbone) for run in planted_runs(study, task)]
    titles = style.source_titles(study, pd.DataFrame(asked, columns=["source", "backbone"]))
    style.legend_above(figure, style.source_handles(study, some["source_a"], titles, lw=2), 4, title)
    return figure


def drops_figure(study: Study, table: pd.DataFrame) -> Figure:
    """At the highest degree: by how much more one source of a pair drops than the other."""
    some = pairs_at_most(table)
    labels = [
        f"{task_title(study, task)}, {TITLES[name]}"
        for task, name in zip(some["task"], some["confounder"], strict=True)
    ]
    title, what = f"Who leans on the mark more, by {networks(study)}", "drop of AUC"
    return style.forest(study, some.assign(row=labels), title, what, word="leans more")


def networks(study: Study, sources: tuple[str, ...] = ()) -> str:
    """Whose features the probes learn from: those that all these sources have."""
    asked = study.robustness.backbones or list(study.backbones)
    return listed(name for name in asked if all(name in study.backbones_of(one) for one in sources))


def pairs_at_most(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of pairs at the highest degree; none where no pair has a network in common."""
    return table[table["source_b"].fillna("").astype(bool) & (table["degree"] == table["degree"].max())]


def robustness_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """At the highest degree, task and mark: the headline pair, and of the others what is shown to differ."""
    found, pairs = [], pairs_at_most(table)
    shown = [is_shown(row, study.compare.alpha) for row in pairs.to_dict("records")]
    headline = style.of_pair(pairs, study.compare.headline)
    others = pairs[shown].drop(index=headline.index, errors="ignore")
    alone = table[~table["source_b"].fillna("").astype(bool)].set_index([*_CELL, "source_a"])
    for row in pd.concat([headline, others]).to_dict("records"):
        pair = row["source_a"], row["source_b"]
        drops = alone.loc[[(*(row[name] for name in _CELL), source) for source in pair]]
        subject = f"Drop of AUC, {titled(study, row)}, {TITLES[row['confounder']]}, {networks(study, pair)}"
        word = row["verdict"]
        if set(drops["n_backbones"]) == {row["n_backbones"]}:  # else they are of other networks than it
            word += "; drops of " + " and ".join(number(drop, ".3f") for drop in drops["delta"])
        found.append(finding_of(row, f"{subject}: {pair_title(study, pair)} {over(row)}", word))
    return found
