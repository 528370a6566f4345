"""Figure of 12_matched_labels: one row per pair of sources, the tasks in it and their mean."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.questions.matched_labels.compute import ALL_TASKS
from radlib.show.style import UNDECIDED, draw_interval, mark_simulated, quiet, source_colours, span
from radlib.study import Study
from radlib.study.titles import ordered_pairs, pair_title, task_title

MARKERS = "osv^P*X<>ph"
MEAN = "D"


def matched_figure(study: Study, table: pd.DataFrame) -> Figure:
    """Differences with their intervals; in the colour of the source ahead, grey where the interval holds 0.

    Args:
        study: of the matched sources; table: `matched_labels.COLUMNS`.
    """
    pairs = ordered_pairs(study)
    tasks = [task for task in study.tasks if task in set(table["task"])]
    places = dict(zip([ALL_TASKS, *tasks], np.linspace(-0.34, 0.34, len(tasks) + 1), strict=True))
    markers = dict(zip([ALL_TASKS, *tasks], MEAN + MARKERS * (1 + len(tasks) // len(MARKERS)), strict=False))
    height = 1.3 + len(pairs) * (0.3 + 0.14 * len(places))
    figure, panel = plt.subplots(figsize=(8, height), layout="constrained")
    colours = source_colours(study)
    for y, pair in enumerate(pairs):
        for _, row in table[(table["source_a"] == pair[0]) & (table["source_b"] == pair[1])].iterrows():
            mean = row["task"] == ALL_TASKS
            draw_interval(
                panel, row, y + places[row["task"]], colours, markers[row["task"]], size=8 if mean else 5
            )
    limit = span(table["ci_low"], table["ci_high"])
    quiet(panel).axvline(0, color="0.25", lw=1, zorder=1)
    titles = [pair_title(study, pair).replace(" − ", " −\n") for pair in pairs]
    panel.set(xlim=(-limit, limit), ylim=(len(pairs) - 0.5, -0.5), yticks=range(len(pairs)))
    panel.set_yticklabels(titles, fontsize=9)
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel(
        f"difference in AUC with {study.compare.confidence:.0%} interval over patients (grey: holds 0)",
        fontsize=9,
    )
    handles = [
        Line2D([], [], color=UNDECIDED, marker=marker, ls="", ms=6, label=_name(study, task))
        for task, marker in markers.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    mark_simulated(figure, study)
    return figure


def _name(study: Study, task: str) -> str:
    return task if task == ALL_TASKS else task_title(study, task)
