"""Figure of the summary: our difference with its interval beside the published one."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.show.style import (
    BAND,
    UNDECIDED,
    difference_axis,
    draw_interval,
    equivalence_band,
    mark_simulated,
    of_pair,
    quiet,
    signed,
    span,
)
from radlib.study import Study
from radlib.study.titles import pair_title, task_title

NOT_SAME = "published, not the same data"
SAME = "published, same data"


def headline_figure(
    study: Study, table: pd.DataFrame, overall: pd.DataFrame, estimate: str = "grid_mean"
) -> Figure:
    """Headline pair: every task and their mean; published differences as open diamonds."""
    pair = tuple(study.compare.headline)
    some = of_pair(table, pair, estimate).set_index("task")
    mean = of_pair(overall, pair, estimate).iloc[0]
    tasks = [task for task in study.tasks if task in some.index]
    rows = [task_title(study, task) for task in tasks] + [f"mean over {int(mean['n_tasks'])} tasks"]
    published = [study.tasks[t].published_delta for t in tasks if study.tasks[t].published_delta is not None]
    figure, panel = plt.subplots(figsize=(8.4, 1.9 + 0.44 * len(rows)), layout="constrained")
    limit = span(some["ci_low"], some["ci_high"], mean["ci_low"], mean["ci_high"], pd.Series(published))
    difference_axis(quiet(panel), study, pair, rows, limit)
    equivalence_band(panel, study)
    for y, task in enumerate(tasks):
        draw_interval(panel, study, some.loc[task], y)
        _published_marker(panel, study, task, y)
    panel.axhline(len(tasks) - 0.5, color="0.75", lw=0.8)
    draw_interval(panel, study, mean, len(tasks), marker="s", size=8)
    for y, row in enumerate([*(some.loc[task] for task in tasks), mean]):
        panel.text(1.01, y, signed(row), transform=panel.get_yaxis_transform(), fontsize=8, va="center")
    panel.set_xlabel(f"difference in AUC, {pair_title(study, pair)}, {study.compare.confidence:.0%} interval")
    figure.legend(
        handles=_legend(study, tasks), loc="outside upper center", ncols=2, frameon=False, fontsize=8
    )
    mark_simulated(figure, study)
    return figure


def _published_marker(panel, study: Study, task: str, y: float) -> None:
    delta = study.tasks[task].published_delta
    if delta is not None:
        edge = "black" if study.tasks[task].same_data_as_published else "0.5"
        panel.plot(delta, y - 0.24, "D", mfc="white", mec=edge, mew=1.3, ms=6, zorder=5)


def _legend(study: Study, tasks: list[str]) -> list[Line2D]:
    dot = {"color": UNDECIDED, "marker": "o", "lw": 2}
    handles = [
        Line2D([], [], **dot, label="this study (filled and coloured: shown after Holm's correction)"),
        Line2D([], [], **dot, mfc="white", label="this study, no difference shown after the correction"),
        Line2D([], [], color=BAND, lw=8, label="too small to matter"),
    ]
    for same, edge, label in ((True, "black", SAME), (False, "0.5", NOT_SAME)):
        given = [study.tasks[task] for task in tasks if study.tasks[task].published_delta is not None]
        if any(task.same_data_as_published == same for task in given):
            handles.append(
                Line2D([], [], color="none", marker="D", mfc="white", mec=edge, mew=1.3, label=label)
            )
    return handles
