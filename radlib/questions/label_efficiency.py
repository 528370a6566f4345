"""Does the difference between sources depend on the number of training patients? (14_label_efficiency)

Networks of the first pretraining of each source learn from parts of the training patients and are tested on
the same ones. Two tests ask whether their difference depends on the part: one of its trend, the change with
each doubling of patients, and one against any shape that is not flat. `p_depends` is the smaller p of both,
doubled (Bonferroni), then corrected over the tasks of a pair (Holm); so are differences, at each size.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.labels_worth import DRAWN, WORTH, worth_rows
from radlib.questions.ranking import TaskDraws, draw_task
from radlib.questions.verdicts import (
    after_holm,
    averaged,
    corrected,
    difference_columns,
    diverged,
    estimate_columns,
    left_out,
    patients_drawn,
)
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import CORRECTED, HIGHER, LOWER, NOT_SHOWN, Finding, direction, finding_of, over
from radlib.show.table import MEAN, Column, Table, hidden, interval_columns, p_of, p_text, titled
from radlib.stats.bootstrap import run_weights
from radlib.stats.curves import p_flat, per_doubling
from radlib.stats.estimate import Estimate, mean_of
from radlib.stats.folds import tested
from radlib.study import Study
from radlib.study.titles import ordered_pairs, pair_title, task_title
from radlib.training.partial import part_sizes, trained
from radlib.training.results import Results, paired_runs

NO_TASKS = (
    "This study names no task in `label_efficiency.tasks`, so no curve is drawn; below is the method alone."
)
TRAINS = {
    "frozen": "**What trains** is a linear head on stored features, with learning rate {lr:g} and for as "
    "many epochs as in `04_transfer`; the validation part chooses the epoch. With few images an epoch is few "
    "steps, so a small rate could end these runs too early.",
    "logistic": "**What trains** is a logistic regression on stored features, the logistic probe of "
    "`04_transfer`: it has neither epochs nor a learning rate, and the validation part chooses the strength "
    "of its penalty.",
}
TESTED, BOTH = "patients tested", "patients tested and patients drawn"
TREND = ("trend", "trend_low", "trend_high")
EFFICIENCY = Table(
    "label_efficiency.csv",
    "label_efficiency",
    "task, or mean over tasks, pair of sources and part of the patients",
    [
        common.TASK,
        *common.PAIR,
        Column("fraction", "part of the training patients", "part", ".0%"),
        Column("n_train_patients", "training patients", "training patients", common.COUNT),
        *common.SIDES,
        *common.DELTA,
        Column("p_value", "two-sided, of no difference"),
        common.P_HOLM,
        common.RESAMPLED,
        *interval_columns(
            TREND,
            "change of the difference with each doubling of the patients; in the row of the largest part",
            "with each doubling",
        ),
        Column("p_trend", "two-sided, of no trend; there"),
        Column("p_flat", "of one true difference at all sizes, against any other shape; there"),
        Column("p_depends", "twice the smaller one of both: of no dependence on the number of patients"),
        Column("p_depends_holm", "the same after Holm's correction over the tasks", "p of it (Holm)", p_text),
        Column("repeats", "draws"),
        common.RUNS,
        Column("n_backbones", "networks"),
        Column("lr", "learning rate; 0 of a probe"),
        Column("n_validation_patients", "validation patients"),
        *hidden(common.N_TASKS),
        common.COUNTS[0],
        *hidden(*common.COUNTS[1:]),
        common.COUNTED,
        *common.ORIGIN,
    ],
    index=3,
)
_DRAW = ["fraction", "fold", "backbone", "order"]
PAIR = ["source_a", "source_b", "n_tasks"]  # a family of tests; a mean over tasks is one of its own
FAMILY = [*PAIR, "fraction"]
COUNTED = ["n_patients", "n_images", "n_positive"]

# Comparison -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Efficiency:
    """table (`EFFICIENCY`): a row per task, pair and fraction, then the means over tasks; worth (`WORTH`)."""

    table: pd.DataFrame
    notes: list[str]
    worth: pd.DataFrame


@dataclass(frozen=True, eq=False)
class _Size:
    """Two sources with one part of the patients. row: its columns; curves: the AUC of each source.

    degrees: of freedom, of patients tested or, where they are fewer, of draws, which errs on the wide side.
    """

    row: dict
    sides: Sequence[pd.DataFrame]
    curves: Sequence[Estimate]
    difference: Estimate
    degrees: float


def what_trains(study: Study) -> str:
    """By `label_efficiency.train`, what learns and what the validation part chooses."""
    return TRAINS[study.label_efficiency.train].format(lr=study.label_efficiency.lr)


def label_efficiency(study: Study, counting: Collection[str] | None = None) -> Efficiency:
    """Train what the store lacks, and compare sources at every size.

    Args:
        counting: as of `averaged`.
    Raises:
        UserError: data or weights are missing, no frozen setting has the rate, or too few draws or patients
            for an interval.
    """
    found, notes = {pair: {} for pair in ordered_pairs(study)}, []
    for task in study.label_efficiency.tasks:
        sizes, said = part_sizes(study, task)
        results = trained(study, task, list(sizes["fraction"]))
        notes += said
        drawn = draw_task(study, results, task)
        for pair in progress(found, description=f"bootstrap of {task}"):
            sides = paired_runs(results.runs, pair, _DRAW)
            if sides[0].empty:
                notes.append(f"{task_title(study, task)}: {pair_title(study, pair)} has no runs in common")
            else:
                found[pair][task] = _sizes(study, results, task, sides, sizes, drawn)
    every = [sizes for of_pair in found.values() for sizes in of_pair.values()]
    counted = [[of_pair[task] for task in averaged(of_pair, counting)] for of_pair in found.values()]
    means = [mean for some in counted if len(some) > 1 and (mean := _mean(study, some))]
    rows = [row for sizes in [*every, *means] for row in _rows(study, sizes[0].row["task"], sizes)]
    rows = [row | {"counts": left_out(row["task"], counting)} for row in rows]
    table, few = after_holm(study, EFFICIENCY, rows, FAMILY, {"p_value": "p_holm"})
    table = corrected(table, PAIR, {"p_depends": "p_depends_holm"})
    lr = study.label_efficiency.lr if study.label_efficiency.train == "frozen" else 0
    worth = [row for sizes in every if len(sizes) > 1 for row in _worth(study, sizes)]
    worth = [row | {"counts": left_out(row["task"], counting)} for row in worth]
    table = EFFICIENCY.frame(table.to_dict("records"), study, lr=lr)
    return Efficiency(table, notes + few, WORTH.frame(worth, study))


@of_task
def _sizes(study: Study, results: Results, task: str, sides, sizes, drawn: TaskDraws) -> list[_Size]:
    """Of one pair, in the order of `sizes`; sides: the runs of both sources; drawn: of all runs."""
    found = []
    for size in sizes.to_dict("records"):
        fraction = size["fraction"]
        some = [side[side["fraction"] == fraction] for side in sides]
        a, b = (drawn.aucs.columns(drawn.columns(runs)) for runs in some)
        # The same draws of patients for all sizes and pairs, as of the patients tested.
        settings = [group["backbone"].to_numpy() for _, group in some[0].groupby("fold")]
        weights = run_weights(settings, **patients_drawn(study, task)) if fraction < 1 else None
        count = sum(len(np.unique(names)) for names in settings)
        difference, *curves = (x.mean_of_runs(weights, count) for x in (a - b, a, b))
        of_draws = len(some[0]) - count if fraction < 1 else math.inf
        degrees = min(difference.patients - difference.folds, of_draws)
        known = {"task": task, "n_tasks": 1, **size, **tested(results.scores(task, some[0]))}
        found.append(_size(study, known, some, curves, difference, degrees))
    return found


def _mean(study: Study, tasks: list[list[_Size]]) -> list[_Size]:
    """Mean over tasks, each counting the same, at every part that all of them have."""
    found, confidence = [], study.compare.confidence
    for fraction in sorted(set.intersection(*({s.row["fraction"] for s in sizes} for sizes in tasks))):
        some = [size for sizes in tasks for size in sizes if size.row["fraction"] == fraction]
        rows = pd.DataFrame([size.row for size in some])
        known = {"task": MEAN, "fraction": fraction, **rows[["n_tasks", *COUNTED]].sum(skipna=False)}
        known |= rows[["n_train_patients", "n_validation_patients"]].mean().round()
        sides = [pd.concat(side) for side in zip(*(size.sides for size in some), strict=True)]
        curves = [mean_of(of, confidence) for of in zip(*(size.curves for size in some), strict=True)]
        difference = mean_of([size.difference for size in some], confidence)
        degrees = min(size.degrees for size in some)
        found.append(_size(study, known, sides, curves, difference, degrees))
    return found


def _size(study: Study, known: dict, sides, curves, difference: Estimate, degrees: float) -> _Size:
    a, b = sides
    row = {
        **known,
        "source_a": a["source"].iloc[0],
        "source_b": b["source"].iloc[0],
        "auc_a": curves[0].value,
        "auc_b": curves[1].value,
        **difference_columns(study, difference),
        "resampled": BOTH if known["fraction"] < 1 else TESTED,
        "repeats": a["order"].nunique(),
        "n_runs": len(a),
        "n_backbones": a["backbone"].nunique(),
        "diverged": diverged(a, b),
    }
    return _Size(row, sides, curves, difference, degrees)


@of_task
def _rows(study: Study, task: str, sizes: list[_Size]) -> list[dict]:
    """Of `EFFICIENCY`; that of the largest size has the trend, and both tests of no dependence on the size.

    Resampled patients are the same at all sizes, so replicates can be subtracted. With all patients nothing
    is drawn: the tests speak of these training patients, and take the training with all of them as given.
    """
    rows = [size.row for size in sizes]
    if len(sizes) > 1:
        parts, degrees = [row["fraction"] for row in rows], min(size.degrees for size in sizes)
        differences = [size.difference for size in sizes]
        trend = per_doubling(parts, differences, degrees)
        p = {"p_trend": trend.p_value(), "p_flat": p_flat(differences, degrees)}
        p["p_depends"] = min(1.0, 2 * np.nanmin(list(p.values())))
        rows[-1] |= estimate_columns(study, trend, TREND) | p
    return rows


def _worth(study: Study, sizes: list[_Size]) -> list[dict]:
    """Rows of `WORTH`."""
    rows, degrees = [size.row for size in sizes], min(size.degrees for size in sizes)
    about = {name: rows[0][name] for name in ("task", "source_a", "source_b")}
    about["diverged"] = next((row["diverged"] for row in rows if row["diverged"]), None)
    a, b = zip(*(size.curves for size in sizes), strict=True)
    patients = [row["n_train_patients"] for row in rows]
    return [about | row for row in worth_rows(study, patients, a, b, degrees)]


# What it shows --------------------------------------------------------------------------------------------


def efficiency_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """The headline pair, over all tasks and task by task: does its difference depend on the size?"""
    pair, found = study.compare.headline, []
    about = "Difference in AUC, change with each doubling of the training patients, "
    about += pair_title(study, pair)
    for _, rows in style.of_pair(table, pair).groupby("task", sort=False):
        lost = next(iter(rows["diverged"].dropna()), None) if "diverged" in rows else None
        for row in rows.dropna(subset=TREND[0]).to_dict("records"):
            subject = f"{about}: {titled(study, row)} {over(row, DRAWN)}"
            word = _word(study, row)
            row |= {"diverged": lost, "p_holm": None}  # that is of this size alone
            found.append(finding_of(row, subject, word, TREND))
    return sorted(found, key=lambda one: f": {MEAN} (" not in one.subject)


def _word(study: Study, row: dict) -> str:
    way, p = direction(row[TREND[1]], row[TREND[2]]), row["p_depends_holm"]
    word = "no dependence on the number of patients shown" + CORRECTED * (way != NOT_SHOWN)
    if p < study.compare.alpha:
        shape = {HIGHER: "rises with", LOWER: "falls with"}
        word = shape.get(way, "depends on") + " the number of patients"
    return f"{word} (Holm's {p_of(p)})"


def efficiency_figure(study: Study, table: pd.DataFrame) -> Figure:
    """The difference of the headline pair against the number of training patients: a panel per task."""
    pair = study.compare.headline
    tasks = [rows for _, rows in style.of_pair(table, pair).groupby("task", sort=False)]
    size, labels = (2.9 if len(tasks) > 1 else 6, 2.5), ("training patients", "difference in AUC")
    figure, panels = style.panel_rows(study, len(tasks), 3, (0.5, 1.5), size, *labels)
    for panel, some in zip(panels, tasks, strict=True):
        _differences(panel, study, some)
        panel.set_title(titled(study, some.iloc[0]))
    dot = {"color": style.UNDECIDED, "lw": 1.6, "ms": 5}
    handles = [
        *style.source_handles(study, pair, lw=1.6, marker="o"),
        Line2D([], [], **dot, marker="o", mfc="white", label="neither ahead after Holm's correction"),
        Line2D([], [], **dot, ls="", marker="s", label="all patients train: nothing is drawn"),
        Line2D([], [], color=style.BAND, lw=8, label="too small to matter"),
    ]
    title = f"Difference in AUC by number of training patients, {pair_title(study, pair)}\n"
    title += f"({study.compare.confidence:.0%} intervals; colour: the source ahead)"
    style.legend_above(figure, handles, 2, title)
    return figure


def _differences(panel: Axes, study: Study, rows: pd.DataFrame) -> None:
    """Of one task, on a log axis with a tick wherever there is a mark."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.axhspan(-study.compare.equivalence, study.compare.equivalence, color=style.BAND, lw=0, zorder=0)
    panel.axhline(0, color="0.25", lw=1, zorder=1)
    panel.plot(rows["n_train_patients"], rows["delta"], color="0.4", lw=1.2, zorder=3)
    for row in rows.to_dict("records"):
        mark = style.difference_mark(study, row, "o" if row["resampled"] == BOTH else "s")
        x, colour = row["n_train_patients"], mark["colour"]
        panel.plot([x, x], [row["ci_low"], row["ci_high"]], color=colour, lw=1.6, zorder=3)
        face = colour if mark["filled"] else "white"
        panel.plot(x, row["delta"], mark["marker"], color=colour, mfc=face, ms=5, zorder=4)
    sizes = sorted(rows["n_train_patients"])
    panel.set(xscale="log", xlim=(sizes[0] / 1.25, sizes[-1] * 1.25))
    panel.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    panel.set_xticks([], minor=True)
    panel.tick_params(labelsize=8)
