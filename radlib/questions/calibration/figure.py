"""Figures of 13_beyond_the_mean: reliability diagrams, and three figures of what scores are worth."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.questions.calibration.compute import Measured
from radlib.questions.calibration.table import FIGURE_TITLES
from radlib.show.style import mark_simulated, panel_rows, quiet, source_colours
from radlib.stats.calibration import FIGURES
from radlib.study import Study
from radlib.study.titles import source_title, task_title

ACROSS = 4  # panels in a row, at most


def reliability_diagrams(study: Study, found: dict[str, dict[str, Measured]]) -> Figure:
    """One panel per task, one line per source: share of positives against mean score, bin by bin."""
    figure, panels, lowest, first = panel_rows(len(found), ACROSS, (0.8, 0.9), (2.6, 2.8), sharex=True)
    colours = source_colours(study)
    for panel, (task, sources) in zip(panels, found.items(), strict=True):
        panel.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls=":")
        for (source, one), shift in zip(sources.items(), _shifts(len(sources)), strict=True):
            score, share = one.curve
            low, high = share.interval(study.compare.confidence)
            quiet(panel).vlines(score + shift, low, high, color=colours[source], lw=1.2, alpha=0.75)
            panel.plot(score + shift, share.value, "o-", color=colours[source], ms=3.5, lw=0.9)
        panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        panel.set_box_aspect(1)
        panel.set_title(task_title(study, task), fontsize=10)
    for panel in lowest:
        panel.set_xlabel("mean score")
    for panel in first:
        panel.set_ylabel("share of positives")
    shown = [s for s in study.sources if any(s in sources for sources in found.values())]
    handles = [
        Line2D([], [], color=colours[s], marker="o", ms=4, label=source_title(study, s)) for s in shown
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    mark_simulated(figure, study)
    return figure


def _shifts(count: int) -> np.ndarray:
    """A little to the side, so that intervals of different sources do not hide each other."""
    return 0.008 * (np.arange(count) - (count - 1) / 2)


def calibration_forest(study: Study, table: pd.DataFrame) -> Figure:
    """One panel per figure: every source on every task with its interval, a grey bar at what chance gives."""
    levels = table[table["against"].isna()]
    tasks = [task for task in study.tasks if task in set(levels["task"])]
    sources = [source for source in study.sources if source in set(levels["source"])]
    figure, axes = plt.subplots(
        1, len(FIGURES), figsize=(2.0 + 2.9 * len(FIGURES), 1.6 + 0.16 * len(tasks) * (len(sources) + 1)),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    colours = source_colours(study)
    offsets = 0.7 * (np.arange(len(sources)) + 0.5) / len(sources) - 0.35
    for panel, name in zip(axes.flat, FIGURES, strict=True):
        quiet(panel).tick_params(axis="y", length=0)
        for row in levels[levels["figure"] == name].itertuples():
            y = tasks.index(row.task) + offsets[sources.index(row.source)]
            panel.plot([row.reference] * 2, [y - 0.13, y + 0.13], color="0.55", lw=2.5, zorder=1)
            panel.plot([row.ci_low, row.ci_high], [y, y], color=colours[row.source], lw=1.6)
            panel.plot(row.value, y, "o", color=colours[row.source], ms=4.5)
        panel.set_xlabel(FIGURE_TITLES[name].replace(" at the", "\nat the"))
    axes[0, 0].set_ylim(len(tasks) - 0.4, -0.6)
    axes[0, 0].set_yticks(range(len(tasks)), [task_title(study, task) for task in tasks])
    handles = [
        Line2D([], [], color=colours[s], marker="o", ms=5, label=source_title(study, s)) for s in sources
    ]
    handles.append(Line2D([], [], color="0.55", marker="|", ls="", ms=10, mew=2.5, label="what chance gives"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=8)
    mark_simulated(figure, study)
    return figure
