"""Does a difference between sources hold in another hospital? (13_external)

`external` of a task names a second set of the same finding. Finished runs score it whole, once: it trains
nothing, and no epoch, setting, threshold or scaling was chosen by it. A run's AUC there is of all its images;
every fold's network scores the same ones, so AUCs are averaged over folds as over settings and seeds.

Its patients are resampled independently of the task's own. So the *difference in differences*, outside minus
inside, has an interval of its own: replicates of the two are subtracted one by one. Where trainings are
resampled too, they are drawn separately on both sides although the networks are the same ones; that counts
their variation twice in the difference in differences, which errs on the wide side.

A set is external only if nobody is in both. Patients are left out, and counted, whose images lie in the task,
by the rule of `radlib.data.overlap`, or who are named like one of its patients. Names that are of documents
or files (`patients_certain: false`) are compared with nobody's, and who is not named cannot be compared.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.data.images import open_packed
from radlib.data.overlap import find, thumbnails_of
from radlib.datasets.patients import plain
from radlib.errors import UserError, of_task
from radlib.progress import progress
from radlib.questions.auc.compute import bootstrap_pair, what_is_resampled
from radlib.questions.patients import published_names
from radlib.questions.verdicts import (
    after_holm,
    difference_columns,
    diverged,
    estimate_columns,
    patients_drawn,
    source_aucs,
    verdicts,
)
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import Finding, finding_of, over, shown_direction
from radlib.show.table import Column, Table, hidden, interval_columns, p_text, titled
from radlib.stats.bootstrap import bootstrap_mean_auc, mean_auc
from radlib.stats.estimate import BOTH
from radlib.stats.folds import tested
from radlib.study import Study
from radlib.study.titles import ordered_pairs, pair_title, task_title
from radlib.training.predictions import FoldPredictions
from radlib.training.results import TRAINING, Results, paired_runs, settings_by_fold

NO_EXTERNAL = (
    "No task of this study names a second set of its finding by `external`, so nothing is asked here; below "
    "is the method alone."
)
KNOWN = (
    "With the simulated `hospital: same`, external patients are new ones before the same scanner: the "
    "difference in differences is truly 0, and 19 of 20 intervals cover it. With `older` the scanner is "
    "coarser and noisier: a source that is well above 0.5 inside should lose, and whether the difference "
    "changes is open."
)
INSIDE, OUTSIDE, CHANGE = "inside", "outside", "outside − inside"
_INSIDE, _CHANGE = ("inside", "inside_low", "inside_high"), ("change", "change_low", "change_high")
EXTERNAL = Table(
    "external.csv",
    "external",
    "task with an external set and pair of sources",
    [
        common.TASK,
        Column("external", "the external set", "external set", task_title),
        *common.PAIR,
        *interval_columns(_INSIDE, "difference in AUC on the task's own test patients", INSIDE),
        *interval_columns(common.DIFFERENCE, "the same on the external set", OUTSIDE),
        Column("p_value", "of it, two-sided"),
        common.P_HOLM,
        Column("p_tost", "of two one-sided tests of equivalence"),
        Column("p_tost_holm", "the same after Holm's correction"),
        Column("verdict", "on the external set, after Holm's correction", "verdict outside"),
        *interval_columns(_CHANGE, "difference in differences: outside minus inside", CHANGE),
        Column("change_p", "two-sided, of no difference in differences"),
        Column("change_p_holm", "after Holm's correction", "p of it (Holm)", p_text),
        Column("inside_auc_a", "mean AUC inside after source a"),
        Column("inside_auc_b", "mean AUC inside after source b"),
        *hidden(*common.SIDES),
        *common.COUNTS[:1],
        *hidden(*common.COUNTS[1:]),
        Column("n_found", "images of the external set that lie in the task"),
        Column("n_left_out", "patients left out, for they are in the task too", "left out", common.COUNT),
        common.RUNS,
        common.RESAMPLED,
        *common.ORIGIN,
    ],
    index=3,
)
_CORRECTED = {"p_value": "p_holm", "p_tost": "p_tost_holm", "change_p": "change_p_holm"}
MOST_MARKS = 40


@dataclass(frozen=True)
class External:
    """`table` (`EXTERNAL`); `sources`: task, source, title, where, auc, ci_low, ci_high; `notes`."""

    table: pd.DataFrame
    sources: pd.DataFrame
    notes: list[str]


def compare_external(study: Study, results: Results) -> External:
    """Every task with an external set x pair, and every source inside and outside.

    Raises:
        UserError: data are missing, nobody of a class is left outside, or too few for an interval.
    """
    rows, sources, notes = [], [], []
    resampled = {pair: what_is_resampled(results, pair) for pair in ordered_pairs(study)}
    for task in progress(list(results.external), description="external sets"):
        outside, about = only_outside(study, task, results.external[task])
        if about["n_left_out"]:
            notes.append(
                f"{task_title(study, task)}: {about['n_left_out']} patients of "
                f"{task_title(study, about['external'])} are left out, for they are in both sets: "
                f"{about['n_found']} of its images lie in the task, {about['n_named']} are named alike"
            )
        for pair in ordered_pairs(study):
            sides = paired_runs(results.of_task(task), pair)
            if len(sides[0]):
                both = resampled[pair] == BOTH
                rows.append(about | _pair_row(study, results, task, sides, outside, both))
        titles = style.source_titles(study, results.of_task(task))
        own = _sources(study, results, task, outside)
        sources += [row | {"title": titles[row["source"]]} for row in own]
    table, few = after_holm(study, EXTERNAL, rows, ["source_a", "source_b"], _CORRECTED)
    table["verdict"] = verdicts(study, table, "p_holm", "p_tost_holm")
    return External(EXTERNAL.frame(table.to_dict("records"), study), pd.DataFrame(sources), notes + few)


def only_outside(study: Study, task: str, scored: FoldPredictions) -> tuple[FoldPredictions, dict]:
    """What was scored outside without patients who are in the task too; and how many these are."""
    name = study.tasks[task].external
    manifests = [open_packed(study.dataset_dir(one)).manifest for one in (task, name)]
    there = manifests[1]["patient_id"]
    copies, _ = find(thumbnails_of(study, name), thumbnails_of(study, task))
    known, called = (published_names(study, *of) for of in zip((task, name), manifests, strict=True))
    # The sets may spell a name in two ways, as one of them alone may not: P001 and p1.
    inside = {plain(one) for one in known}
    named = there.isin([group for one, group in called.items() if plain(one) in inside])
    both = named | there.isin(there[copies])
    left_out = {"n_left_out": there[both].nunique(), "n_named": there[named].nunique()}
    counts = {"n_found": int(copies.sum()), **left_out}
    left = scored.without(manifests[1]["image_id"][both].to_numpy())
    if set(left.labels) != set(scored.labels):
        raise UserError(
            f"task '{task}': its external set '{name}' keeps no patient of some class, for "
            f"{counts['n_left_out']} are in the task too ({counts['n_named']} by name); if these are other "
            "people, give them other names, else name another set"
        )
    return left, {"task": task, "external": name, **counts}


@of_task
def _pair_row(study: Study, results: Results, task: str, sides, outside: FoldPredictions, both: bool) -> dict:
    name, (a, b) = study.tasks[task].external, (results.scores(task, runs) for runs in sides)
    far = [[outside.of(list(runs["run"]))] for runs in sides]
    networks = sides[0].groupby([*TRAINING, "fold"]).ngroup().to_numpy()  # each trained with every seed
    pair = sides[0]["source"].iloc[0], sides[1]["source"].iloc[0]
    inner = bootstrap_pair(study, task, pair, a, b, settings_by_fold(sides[0]) if both else None)
    outer = bootstrap_pair(study, name, pair, *far, [networks] if both else None)
    change = outer - inner  # resampled independently
    return {
        "source_a": pair[0],
        "source_b": pair[1],
        "inside_auc_a": mean_auc(a),
        "inside_auc_b": mean_auc(b),
        "auc_a": mean_auc(far[0]),
        "auc_b": mean_auc(far[1]),
        **estimate_columns(study, inner, _INSIDE),
        **difference_columns(study, outer),
        **estimate_columns(study, change, _CHANGE),
        "change_p": change.p_value(),
        **tested(far[0]),
        "n_runs": len(sides[0]),
        "diverged": diverged(*sides),
    }


@of_task
def _sources(study: Study, results: Results, task: str, outside: FoldPredictions) -> list[dict]:
    """The AUC of each source, mean over all its own runs, inside and outside."""
    runs = dict(iter(results.of_task(task).groupby("source")))
    inner = {source: results.scores(task, own) for source, own in runs.items()}
    outer = {source: [outside.of(list(own["run"]))] for source, own in runs.items()}
    rows = []
    for where, name, scores in ((INSIDE, task, inner), (OUTSIDE, study.tasks[task].external, outer)):
        aucs = bootstrap_mean_auc(scores, **patients_drawn(study, name))
        rows += [{"task": task, "where": where} | row for row in source_aucs(study, aucs)]
    return rows


# What is shown --------------------------------------------------------------------------------------------
def sources_figure(study: Study, found: External) -> Figure:
    """AUC of every source on the task's own test patients and on the external set, one panel per task."""
    some = found.sources
    marks = some.assign(
        panel=[
            f"{task_title(study, t)},\n{task_title(study, study.tasks[t].external)}" for t in some["task"]
        ],
        row=some["title"],
        series=some["where"],
        value=some["auc"],
        marker=some["where"].map({INSIDE: "o", OUTSIDE: "s"}),
        filled=some["where"] == INSIDE,
        colour=some["source"].map(style.source_colours(study)),
    )
    figure, _ = style.intervals(study, marks, "AUC", line=0.5, across=3, sharex=True)
    grey = {"color": style.UNDECIDED, "lw": 1.6, "ms": 5}
    handles = [
        Line2D([], [], marker="o", label="inside: the task's own test patients", **grey),
        Line2D([], [], marker="s", mfc="white", label="outside: the external set", **grey),
    ]
    title = f"AUC of the sources with {study.compare.confidence:.0%} intervals over patients"
    style.legend_above(figure, handles, 2, title)
    return figure


def change_figure(study: Study, table: pd.DataFrame) -> Figure:
    """The difference inside, outside, and of both; the headline alone where all pairs are too many marks."""
    if 3 * len(table) > MOST_MARKS:
        table = style.of_pair(table, study.compare.headline)
    table = table.assign(p_inside=np.nan).drop(columns="p_value")  # inside, no p was corrected
    parts = []
    for what, names, p in (
        (INSIDE, _INSIDE, "p_inside"),
        (OUTSIDE, common.DIFFERENCE, "p_holm"),
        (CHANGE, _CHANGE, "change_p_holm"),
    ):
        row = [f"{task_title(study, task)}: {what}" for task in table["task"]]
        taken = {new: table[old] for new, old in zip(common.DIFFERENCE, names, strict=True)}
        parts.append(table.assign(row=row, p_holm=table[p], **taken))
    marks = pd.concat(parts).sort_index(kind="stable", ignore_index=True)
    return style.forest(study, marks, "Inside and outside", hollow="not shown")


def external_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """The headline pair, task by task: the difference outside, and whether it is another than inside."""
    found = []
    for row in style.of_pair(table, study.compare.headline).to_dict("records"):
        subject = f"AUC, {pair_title(study, study.compare.headline)}: {task_title(study, row['external'])}"
        of_task = f"{subject}, the external set of {titled(study, row)}"
        found.append(finding_of(row, f"{of_task} {over(row)}", row["verdict"]))
        ends = {new: row[old] for new, old in zip(common.DIFFERENCE, _CHANGE, strict=True)}
        change = row | ends | {"p_holm": row["change_p_holm"]}
        word = shown_direction(change, study.compare.alpha).replace("difference", "change")
        found.append(finding_of(change, f"{subject}, outside minus inside {over(row)}", word))
    return found
