"""Which weights should one start from, and which tasks do networks learn at all? (05_auc, and the summary)

What is ranked is one file of weights, a source and a backbone, for that is what somebody takes; by the
regime `compare.rank_by`, the logistic probe unless the study says otherwise. Which came first is seen in the
same data as by how much, so "behind" is not read from the interval of a difference from the first: it is
claimed of weights outside the confidence set for the best (`Estimate.p_best`). That the shortcut classifier
(`radlib.questions.shortcuts`) is beaten is claimed after Holm's correction over the weights.

A task on which no weights are shown to beat it, nor an AUC of 0.5, may tell sources apart by chance or by how
images were made. Where `compare.tasks_that_count` says so, it is shown and enters no mean over tasks.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from radlib.data.images import open_packed
from radlib.errors import listed, of_task
from radlib.progress import progress
from radlib.questions.ranking import draw_tasks
from radlib.questions.shortcuts import EVERYTHING, GROUPS, SHORTCUT, measure_images, score_folds
from radlib.questions.verdicts import corrected, diverged, estimate_columns, patients_drawn
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import NO_VERDICT, Finding, finding_of, unless_diverged
from radlib.show.table import MEAN, Column, Table, hidden, interval_columns, p_text
from radlib.stats.bootstrap import bootstrap_mean_auc
from radlib.stats.estimate import Estimate, mean_of, stacked
from radlib.stats.folds import FoldScores
from radlib.store import write_table
from radlib.study import Study
from radlib.study.titles import TRAIN, source_title, task_title
from radlib.training.results import Results, load_results

NO_RUNS = (
    "This study has no runs of `compare.rank_by` ({}), so weights are not ranked; add "
    "`- {{train: logistic}}` to `transfer.settings`, which takes seconds."
)
SCORES = "shortcut.parquet"  # in a report
FIRST, TOGETHER, BEHIND = "first", "not told apart from the first", "behind the first"
_BESIDE = {FIRST: FIRST, TOGETHER: "not told apart", BEHIND: "behind"}  # in a figure
BEATS, NOT_SHOWN = "beats it", "not shown to beat it"
_AUC, _OVER = ("auc", "ci_low", "ci_high"), ("over_shortcut", "over_low", "over_high")
_DELTA = ("delta", "delta_low", "delta_high")
_SHORTCUT, _UNDER = ("auc_shortcut", "shortcut_low", "shortcut_high"), ("under", "under_low", "under_high")
_SUREST = "weights that beat it most surely"
_HOLM = Column("p_shortcut_holm", "of no difference, by Holm's correction over weights", "p (Holm)", p_text)
RANKING = Table(
    "ranking.csv",
    "auc",
    "task and weights, a source and a backbone",
    [
        common.TASK,
        Column("place", "by AUC in the data", "place", common.COUNT),
        Column("source", "the source", "source", source_title),
        Column("backbone", "the network", "network"),
        *interval_columns(_AUC, "mean over folds", "AUC", ".3f"),
        *interval_columns(_DELTA, "AUC minus that of the first", "minus the first"),
        Column(
            "p_best", "of the hypothesis that no other weights are better", "p against being best", p_text
        ),
        Column("verdict", "first, not told apart from the first, or behind the first", "verdict"),
        *interval_columns(_OVER, "AUC minus that of the shortcut classifier", "minus shortcut"),
        Column("p_shortcut", "two-sided, of no difference to the shortcut classifier"),
        _HOLM,
        Column("regime", "by which weights are ranked", names=TRAIN),
        common.COUNTS[0],
        *common.ORIGIN,
    ],
    index=2,
)
TASKS = Table(
    "tasks.csv",
    "auc",
    "task: is it learnt at all? and their mean",
    [
        common.TASK,
        Column("counts", "in means over tasks, as `compare.tasks_that_count` asks", "counts"),
        *interval_columns(_SHORTCUT, "of the shortcut classifier", SHORTCUT, ".3f"),
        Column("source", f"of the {_SUREST}, or come closest", _SUREST, source_title),
        Column("backbone", "their network", "network"),
        Column("auc", "their AUC", "AUC", ".3f"),
        *interval_columns(_OVER, "their AUC minus its AUC", "minus shortcut"),
        _HOLM,
        Column("source_b", "the second source of the headline"),
        *hidden(*interval_columns(_UNDER, "its AUC minus the mean of source b", "")),
        common.COUNTS[0],
        *common.ORIGIN,
    ],
    index=1,
)


@dataclass(frozen=True)
class Ranked:
    """weights: `RANKING`, by task and for their mean, the best first; tasks: `TASKS`.

    scores: by task and fold, what the shortcut classifier says of what is tested, in the order of its id.
    """

    weights: pd.DataFrame
    tasks: pd.DataFrame
    scores: pd.Series

    def write(self, study: Study) -> None:
        RANKING.write(study, self.weights)
        TASKS.write(study, self.tasks)
        write_table(self.scores.reset_index(), study.report_dir / SCORES)


def rank_weights(study: Study, kept: pd.Series | None = None) -> Ranked:
    """Every task, and the mean over those that count; without rows where no run is of `compare.rank_by`.

    Args:
        kept: `Ranked.scores`; None: the shortcut classifier is trained.
    Raises:
        UserError: results or data are missing, or too few patients or resamples for an interval.
    """
    results = load_results(study, regimes=[study.compare.rank_by])
    drawn = draw_tasks(study, results)
    weights = list(results.runs[["source", "backbone"]].drop_duplicates().itertuples(index=False, name=None))
    found, rows, scores = {}, [], {}
    for task, draws in progress(drawn.items(), description="shortcuts"):
        own = [draws.runs.query("source == @s and backbone == @b") for s, b in weights]
        folds = _shortcut(study, results, task, kept)
        scores |= {(task, number): fold.scores.ravel() for number, fold in enumerate(folds)}
        shortcut = bootstrap_mean_auc({SHORTCUT: folds}, **patients_drawn(study, task))[SHORTCUT]
        found[task] = [*map(draws.mean_auc, own), shortcut]
        about = {"task": task, "n_patients": draws.n_patients}
        rows += [about | row for row in _rows(study, results.of_task(task), weights, found[task])]
    table = _ranking(study, rows)
    counting = [task for task in counting_tasks(study, table) if task in found]
    if len(counting) > 1:
        each = zip(*map(found.get, counting), strict=True)
        found[MEAN] = [mean_of(of, study.compare.confidence) for of in each]
        runs = results.runs[results.runs["task"].isin(counting)]
        about = {"task": MEAN, "n_patients": sum(drawn[task].n_patients for task in counting)}
        rows += [about | row for row in _rows(study, runs, weights, found[MEAN])]
        table = _ranking(study, rows)
    tasks = [_task_row(study, task, table, weights, found[task], [*counting, MEAN]) for task in found]
    places = pd.MultiIndex.from_tuples(list(scores), names=["task", "fold"])
    kept = pd.Series(list(scores.values()), places, dtype=object, name="scores")
    return Ranked(table, TASKS.frame(tasks, study), kept)


def _ranking(study: Study, rows: list[dict]) -> pd.DataFrame:
    table = RANKING.frame(rows, study, regime=study.compare.rank_by)
    return corrected(table, ["task"], {"p_shortcut": "p_shortcut_holm"})


def _task_row(study: Study, task: str, table, weights: list[tuple], found: list, counting: list[str]) -> dict:
    """What the shortcut classifier reaches, beside the weights that beat it most surely, and side b."""
    some = table[table["task"] == task]
    # A p is of both directions; of weights that are not ahead of it, the nearest.
    surest = some["p_shortcut_holm"].where(some["over_shortcut"] > 0, 2.0)
    best = some.assign(surest=surest).sort_values(["surest", "over_shortcut"], ascending=[True, False])
    best = best.iloc[0].drop("surest")
    side_b = study.compare.headline[1]
    base = [mean for (source, _), mean in zip(weights, found[:-1], strict=True) if source == side_b]
    row = {**best, "counts": "yes" if task in counting else "no", "source_b": side_b}
    row |= estimate_columns(study, found[-1], _SHORTCUT)
    if base:
        row |= estimate_columns(study, found[-1] - stacked(base).mean_of_runs(), _UNDER)
    return row


def counting_tasks(study: Study, table: pd.DataFrame | None = None) -> list[str]:
    """The tasks of which means over tasks are taken, as `compare.tasks_that_count` asks.

    Args:
        table: `RANKING`, of every task; None: that which 05_auc wrote.
    Raises:
        UserError: it is asked for and missing.
    """
    if study.compare.tasks_that_count == "all":
        return study.compared_tasks
    table = RANKING.read(study) if table is None else table
    beats = (
        (table["p_shortcut_holm"] < study.compare.alpha)
        & (table["over_shortcut"] > 0)
        & (table["ci_low"] > 0.5)
    )
    return [task for task in study.compared_tasks if task in set(table["task"][beats])]


def kept_scores(report: Path) -> pd.Series:
    """`Ranked.scores` as 05_auc wrote them into a report."""
    return pd.read_parquet(report / SCORES).set_index(["task", "fold"])["scores"]


@of_task
def _shortcut(study: Study, results: Results, task: str, kept: pd.Series | None) -> list[FoldScores]:
    """What the shortcut classifier says, fold by fold, of what the weights are tested on."""
    parts = results.predictions[task]
    if kept is not None:
        tested = [part.scored(part.scores[:1]) for part in parts]
        return [
            replace(one, scores=np.reshape(kept[task, number], one.scores.shape))
            for number, one in enumerate(tested)
        ]
    packed = open_packed(study.dataset_dir(task))
    return score_folds(packed, measure_images(packed)[GROUPS[EVERYTHING]], parts)


def _rows(study: Study, runs: pd.DataFrame, weights: list[tuple], found: list[Estimate]) -> list[dict]:
    """A row per weights, the best first; found: of each weights, then of the shortcut classifier."""
    *means, shortcut = found
    p_best = stacked(means).p_best()
    order = sorted(range(len(means)), key=lambda place: -means[place].value)
    rows, first = [], means[order[0]]
    for place, one in enumerate(order, 1):
        source, backbone = weights[one]
        mean, over = means[one], means[one] - shortcut
        behind = p_best[one] < study.compare.alpha
        lost = diverged(runs.query("source == @source and backbone == @backbone"))
        word = FIRST if place == 1 else BEHIND if behind else TOGETHER
        row = {"place": place, "source": source, "backbone": backbone, "p_best": p_best[one]}
        row |= estimate_columns(study, mean, _AUC)
        row |= estimate_columns(study, mean - first, _DELTA) if place > 1 else {}
        row |= estimate_columns(study, over, _OVER) | {"p_shortcut": over.p_value()}
        rows.append(row | {"verdict": unless_diverged(word, lost), "diverged": lost})
    return rows


# What it shows --------------------------------------------------------------------------------------------
def answer_of(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """The rows that answer: the mean over tasks, or the only task that counts, or the first one."""
    ranked = list(table["task"].unique())
    asked = [MEAN, *counting_tasks(study, table), *ranked]
    return table[table["task"] == next(task for task in asked if task in ranked)]


def weights_title(study: Study, row: dict) -> str:
    alone = len(study.backbones) == 1
    return source_title(study, row["source"]) + ("" if alone else f", {row['backbone']}")


def start_figure(study: Study, table: pd.DataFrame) -> Figure:
    """By how much each weights' AUC is below the first's, and below a line the shortcut classifier's."""
    rows, ends = answer_of(study, table), ["value", "ci_low", "ci_high"]
    first = rows.iloc[0]
    marks = rows[["source"]].assign(
        row=[weights_title(study, row) for row in rows.to_dict("records")],
        colour=rows["source"].map(style.source_colours(study)),
        marker="o",
    )
    marks[ends] = rows[list(_DELTA)].fillna({_DELTA[0]: 0}).to_numpy()
    blind = {"row": SHORTCUT, "colour": style.UNDECIDED, "marker": "s"}
    blind |= dict(zip(ends, -first[list(_OVER)], strict=True))
    marks = pd.concat([marks, pd.DataFrame([blind])]).assign(panel=task_title(study, first["task"]))
    figure, (panel,) = style.intervals(study, marks, "AUC minus that of the first")
    panel.axvline(0, color="0.25", lw=1, zorder=1)
    for y, (auc, verdict) in enumerate(zip(rows["auc"], rows["verdict"], strict=True)):
        style.write_beside(panel, y, f"AUC {auc:.3f}, {_BESIDE.get(verdict, NO_VERDICT)}")
    style.divide(panel, len(rows))
    style.write_beside(panel, len(rows), f"AUC {first['auc'] - first['over_shortcut']:.3f}")
    interval = f"difference from the first, {study.compare.confidence:.0%} interval over patients"
    said = "(of these weights alone; behind: in a joint test of all)"
    figure.suptitle(f"Weights by {TRAIN[first['regime']]}: {interval}\n{said}")
    return figure


def start_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """The first, who cannot be told apart from it, whether it beats the shortcut classifier, and how many do.

    The first was picked on the patients on whom its AUC is measured, so its AUC flatters it.
    """
    rows = answer_of(study, table)
    first = rows.iloc[0].to_dict()
    together = rows[1:][rows["verdict"][1:] != BEHIND].to_dict("records")  # runs of some may have diverged
    names = listed([weights_title(study, row) for row in together], between="; ")
    word = f"cannot be told apart from it: {names}" if together else "all others are behind it"
    word = f"first in this sample of patients, which flatters its AUC; {word}"
    beats = (rows["p_shortcut_holm"] < study.compare.alpha) & (rows["over_shortcut"] > 0)
    where = task_title(study, first["task"])
    subject = f"First by {TRAIN[first['regime']]}, {where}: {weights_title(study, first)}"
    over = f"The first minus the {SHORTCUT}, {where}"
    return [
        finding_of(first, subject, word if len(rows) > 1 else FIRST, _AUC, ".3f"),
        finding_of(first, over, BEATS if beats.iloc[0] else NOT_SHOWN, _OVER),
        Finding(f"Weights that beat the {SHORTCUT}, {where}", f"{beats.sum()} of {len(rows)}"),
    ]
