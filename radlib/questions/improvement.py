"""How many pairs of runs does a source win? (08_beyond_the_mean)"""

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from radlib.errors import of_task
from radlib.questions.ranking import TaskDraws
from radlib.questions.verdicts import answering, averaged, diverged, left_out, of_counting
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import Finding, finding_of
from radlib.show.table import MEAN, Column, Table, interval_columns, titled
from radlib.stats.bootstrap import wins
from radlib.study import Study
from radlib.study.titles import counted, estimate_title, ordered_pairs, pair_title
from radlib.training.results import paired_runs

_WON = ("improvement", "ci_low", "ci_high")
IMPROVEMENT = Table(
    "improvement.csv",
    "beyond",
    "task and pair of sources",
    [
        common.TASK,
        *common.PAIR,
        *interval_columns(_WON, "share of pairs of runs that source a wins", "a wins", ".3f"),
        Column("n_pairs", "pairs of runs of one setting, fold and seed", "pairs of runs", common.COUNT),
        common.COUNTS[0],
        common.RESAMPLES,
        common.RESAMPLED,
        common.IS_SIMULATED,
        common.COUNTED,
        common.DIVERGED,
    ],
    index=2,
)


def improvement_table(
    study: Study, drawn: dict[str, TaskDraws], counting: Collection[str] | None = None
) -> pd.DataFrame:
    """`IMPROVEMENT`: a row per pair and task with its interval; the mean, if two or more count, without one.

    A resample varies once more than the data, which pulls every task's share towards one half. A single
    task's interval is wide enough to stand it; averaging tasks makes it narrower and leaves the pull: in
    simulated studies of 5 tasks, 15 settings and 110 + 110 patients such an interval covered the expected
    share 69% of times.

    Raises:
        UserError: too few patients or resamples for an interval.
    """
    rows = []
    for pair in ordered_pairs(study):
        about = {"source_a": pair[0], "source_b": pair[1]}
        sides = {task: paired_runs(draws.runs, pair) for task, draws in drawn.items()}
        sides = {task: both for task, both in sides.items() if len(both[0])}
        won = {task: about | _won(study, task, drawn[task], both) for task, both in sides.items()}
        rows += [row | {"counts": left_out(task, counting)} for task, row in won.items()]
        tasks = averaged(won, counting)
        if len(tasks) > 1:
            of_tasks = pd.DataFrame([won[task] for task in tasks])
            mean = {"task": MEAN, "improvement": of_tasks["improvement"].mean()}
            mean |= of_tasks[["n_pairs", "n_patients"]].sum().to_dict()
            mean["diverged"] = diverged(*(runs for task in tasks for runs in sides[task]))
            rows.append(about | mean)
    return IMPROVEMENT.frame(rows, study)


@of_task
def _won(study: Study, task: str, draws: TaskDraws, sides: tuple[pd.DataFrame, pd.DataFrame]) -> dict:
    a, b = (draws.columns(side) for side in sides)
    won = draws.mean(wins(draws.aucs.columns(a) - draws.aucs.columns(b)), a)
    low, high = won.interval(study.compare.confidence)
    return {
        "task": task,
        "improvement": won.value,
        "ci_low": min(low, won.value),
        "ci_high": max(high, won.value),
        "n_pairs": len(a),
        "n_patients": draws.n_patients,
        "resampled": won.resampled,
        "diverged": diverged(*sides),
    }


def improvement_forest(study: Study, table: pd.DataFrame) -> Figure:
    """Share of pairs of runs that source a wins with its interval; the mean over tasks has none.

    Where one half is excluded, in the colour of the source that wins more.
    """
    shown = (table["ci_low"] > 0.5) | (table["ci_high"] < 0.5)
    sound = table["diverged"].isna() if "diverged" in table else True
    winner = table["source_a"].where(table["improvement"] > 0.5, table["source_b"])
    pairs = [pair_title(study, pair) for pair in zip(table["source_a"], table["source_b"], strict=True)]
    marks = table.assign(
        panel=[pair.replace(" − ", "\nagainst ") for pair in pairs],
        row=[titled(study, row) for row in table.to_dict("records")],
        value=table["improvement"],
        colour=winner.map(style.source_colours(study)).where(shown & sound, style.UNDECIDED),
        marker=np.where(table["task"] == MEAN, "D", "o"),
    )
    figure, panels = style.intervals(study, marks, "share of pairs of runs won", 0.5, sharex=True)
    panels[0].set(xlim=(-0.05, 1.05), xticks=[0, 0.5, 1])
    interval = f"{study.compare.confidence:.0%} interval over {table['resampled'].iloc[0]}"
    said = "in the colour of the source that wins more; grey: covers one half"
    if (table["task"] == MEAN).any():
        said += "; the mean has no interval"
    title = f"How often does the first win? Pairs of runs, {estimate_title(study)}; {interval}"
    handles = style.source_handles(study, list(winner[shown & sound]), marker="o", ms=5)
    figure.set_figheight(figure.get_figheight() + 0.25)  # of the legend
    style.legend_above(figure, handles, title=f"{title}\n({said})")
    return figure


def improvement_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Which share of pairs of runs the first source of the headline wins."""
    pair = study.compare.headline
    mine = style.of_pair(table, pair)
    mine = mine[of_counting(mine)]
    tasks = mine[mine["task"] != MEAN]
    more, less = (tasks["ci_low"] > 0.5).sum(), (tasks["ci_high"] < 0.5).sum()
    verdict = f"more than half on {more}, less than half on {less}, neither shown on "
    verdict += f"{len(tasks) - more - less}, of {counted(len(tasks), 'task')}"
    subject = f"Pairs of runs won, {pair_title(study, pair)}, {estimate_title(study)}"
    return [
        finding_of(row, f"{subject}: {titled(study, row)}", verdict, _WON, ".0%")
        for row in answering(mine).to_dict("records")
    ]
