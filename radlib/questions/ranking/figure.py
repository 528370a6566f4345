"""Figures of 13_beyond_the_mean: places of sources, and pairs of runs won."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from radlib.questions.ranking.compute import MEAN
from radlib.show.style import UNDECIDED, mark_simulated, panel_rows, quiet, source_colours
from radlib.study import Study
from radlib.study.titles import pair_title, source_title, task_title

ACROSS = 4  # panels in a row, at most
LARGEST_DOT = 620.0  # area in square points of a place that is always taken


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
        panel.set_title(task_title(study, task), fontsize=10)
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
    panels[0].set_yticks(range(len(tasks)), [task_title(study, task) for task in tasks])
    figure.suptitle(
        f"How often does the first win? {study.compare.confidence:.0%} interval over "
        f"{table['interval_holds'].iloc[0]} (grey: covers one half; the mean has no interval)", fontsize=10,
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
