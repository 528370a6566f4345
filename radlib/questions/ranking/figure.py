"""Figures of 13_beyond_the_mean: places of sources, pairs of runs won, reliability."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.questions.calibration.compute import TITLES, Measured
from radlib.questions.ranking.compute import MEAN
from radlib.show.style import UNDECIDED, mark_simulated, panel_rows, quiet, source_colours
from radlib.stats.calibration import FIGURES, Reliability
from radlib.study import Study
from radlib.study.titles import pair_title, source_title, task_title

ACROSS = 4  # panels in a row, at most
LARGEST_DOT = 620.0  # area in square points of a place that is always taken


def name_of(study: Study, task: str) -> str:
    return task if task == MEAN else task_title(study, task)


def place_dots(study: Study, ranks: pd.DataFrame) -> Figure:
    """One panel per task: sources against places, the dot's area the share of resamples; a cross at ours.

    Args:
        ranks: `ranks.csv`, the rows of one group of sources.
    """
    sources = [source for source in study.sources if source in set(ranks["source"])]
    tasks = list(ranks["task"].unique())
    figure, panels, lowest, _ = panel_rows(
        len(tasks), ACROSS, (2.0, 1.1), (2.1, 0.9 + 0.5 * len(sources)), sharex=True
    )
    for panel, task in zip(panels, tasks, strict=True):
        _places(panel, study, ranks[ranks["task"] == task], sources)
        panel.set_title(name_of(study, task), fontsize=10)
    places = np.arange(1, len(sources) + 1)
    panels[0].set(xlim=(0.45, len(sources) + 0.55), ylim=(len(sources) - 0.4, -0.6), xticks=places)
    panels[0].set_yticks(range(len(sources)), [source_title(study, source) for source in sources])
    for panel in lowest:
        panel.set_xlabel("place by mean AUC")
    figure.suptitle(
        f"How often each source takes each place, over resamples of {ranks['resampled'].iloc[0]} (%); "
        "cross: its place in the data", fontsize=10,
    )  # fmt: skip
    mark_simulated(figure, study)
    return figure


def _places(panel: Axes, study: Study, rows: pd.DataFrame, sources: list[str]) -> None:
    colours = source_colours(study)
    quiet(panel).tick_params(axis="y", length=0)
    for y, source in enumerate(sources):
        own = rows[rows["source"] == source]
        panel.scatter(own["place"], [y] * len(own), s=LARGEST_DOT * own["share"], color=colours[source], lw=0,
                      alpha=0.55)  # fmt: skip
        panel.plot(own["rank"].iloc[0], y, "x", color="black", ms=6, mew=1.4)
        for _, row in own[own["share"] >= 0.005].iterrows():
            panel.text(
                row["place"], y + 0.43, f"{100 * row['share']:.0f}", fontsize=7, ha="center", va="center"
            )


def improvement_forest(study: Study, table: pd.DataFrame) -> Figure:
    """Share of pairs of runs that source a wins with its interval; the mean over tasks has none."""
    pairs = list(table.groupby(["source_a", "source_b"], sort=False))
    tasks = list(table["task"].unique())
    figure, panels, _, _ = panel_rows(len(pairs), ACROSS, (2.0, 0.7), (2.9, 1.1 + 0.34 * len(tasks)))
    for panel, (pair, rows) in zip(panels, pairs, strict=True):
        _shares_won(quiet(panel), rows, tasks, source_colours(study))
        panel.set_title(pair_title(study, pair).replace(" − ", "\nagainst "), fontsize=9)
    panels[0].set_yticks(range(len(tasks)), [name_of(study, task) for task in tasks])
    figure.suptitle(
        f"How often does the first win? {study.compare.confidence:.0%} interval over "
        f"{table['interval_holds'].iloc[0]} (grey: holds one half; the mean has no interval)", fontsize=10,
    )  # fmt: skip
    mark_simulated(figure, study)
    return figure


def _shares_won(panel: Axes, rows: pd.DataFrame, tasks: list[str], colours: dict[str, str]) -> None:
    panel.axvline(0.5, color="0.25", lw=1, zorder=1)
    panel.tick_params(axis="y", length=0)
    for y, (_, row) in zip(map(tasks.index, rows["task"]), rows.iterrows(), strict=True):
        colour = UNDECIDED
        if row["ci_low"] > 0.5:
            colour = colours[row["source_a"]]
        elif row["ci_high"] < 0.5:
            colour = colours[row["source_b"]]
        panel.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, lw=2, solid_capstyle="butt")
        marker = "o"
        if row["task"] == MEAN:
            colour, marker = "0.15", "D"
        panel.plot(row["improvement"], y, marker, color=colour, ms=6, clip_on=False)
    panel.axhline(len(tasks) - 1.5, color="0.75", lw=0.8)
    panel.set(xlim=(-0.05, 1.05), ylim=(len(tasks) - 0.4, -0.6), xlabel="share of pairs of runs won")
    panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])


def reliability_diagrams(study: Study, found: dict[str, dict[str, Measured]]) -> Figure:
    """One panel per task, one line per source: share of positives against mean score, bin by bin."""
    figure, panels, lowest, first = panel_rows(len(found), ACROSS, (0.8, 0.9), (2.6, 2.8), sharex=True)
    colours = source_colours(study)
    for panel, (task, sources) in zip(panels, found.items(), strict=True):
        panel.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls=":")
        for (source, one), shift in zip(sources.items(), _shifts(len(sources)), strict=True):
            _reliability_line(quiet(panel), one.curve, colours[source], shift)
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


def _reliability_line(panel: Axes, curve: Reliability, colour: str, shift: float) -> None:
    panel.vlines(curve.score + shift, curve.low, curve.high, color=colour, lw=1.2, alpha=0.75)
    panel.plot(curve.score + shift, curve.share, "o-", color=colour, ms=3.5, lw=0.9)


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
        panel.set_xlabel(TITLES[name].replace(" at the", "\nat the"))
    axes[0, 0].set_ylim(len(tasks) - 0.4, -0.6)
    axes[0, 0].set_yticks(range(len(tasks)), [task_title(study, task) for task in tasks])
    handles = [
        Line2D([], [], color=colours[s], marker="o", ms=5, label=source_title(study, s)) for s in sources
    ]
    handles.append(Line2D([], [], color="0.55", marker="|", ls="", ms=10, mew=2.5, label="what chance gives"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=8)
    mark_simulated(figure, study)
    return figure
