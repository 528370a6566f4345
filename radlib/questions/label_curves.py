"""Figures of 14_label_efficiency: learning curves, their differences, and the curves read sideways."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from radlib.questions.label_efficiency import BOTH, Efficiency
from radlib.questions.labels_worth import NEEDED
from radlib.show import style
from radlib.stats.curves import FEWER
from radlib.study import Study
from radlib.study.titles import pair_title, source_title, task_title

ACROSS = 2
SHIFT = 1.03  # sources stand beside each other on the log axis, lest their bars cover one another


def efficiency_figure(study: Study, found: Efficiency, task: str) -> Figure:
    """First AUC by source, then the difference of every pair; x is patients, on a log axis."""
    table, curves = (some[some["task"] == task] for some in (found.table, found.curves))
    pairs = list(table.groupby(["source_a", "source_b"], sort=False))
    figure, panels, _, _ = style.panel_rows(len(pairs) + 1, ACROSS, (0.4, 1.2), (3, 2.7), sharey=False)
    sizes = sorted(set(curves["n_train_patients"]))
    handles = _aucs(_patients_axis(panels[0], sizes), study, curves)
    limit = style.span(table["ci_low"], table["ci_high"], study.compare.equivalence)
    for panel, (pair, rows) in zip(panels[1:], pairs, strict=True):
        _differences(_patients_axis(panel, sizes), study, rows)
        panel.set_ylim(-limit, limit)
        panel.set_title(pair_title(study, pair).replace(" − ", " −\n"), fontsize=9)
    dot = {"color": style.UNDECIDED, "lw": 1.6, "ms": 5}
    handles += [
        Line2D([], [], **dot, marker="o", label="over patients tested and drawn"),
        Line2D([], [], **dot, marker="s", label="over patients tested, all train"),
        Line2D([], [], **dot, marker="o", mfc="white", label="hollow: not after Holm's correction"),
        Line2D([], [], color=style.BAND, lw=8, label="band: too small to matter"),
    ]
    title = f"{task_title(study, task)}, frozen backbones, {study.compare.confidence:.0%} intervals"
    style.legend_above(figure, handles, ACROSS, title)
    style.mark_simulated(figure, study)
    return figure


def _patients_axis(panel: Axes, sizes: list[int]) -> Axes:
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="0.92")
    panel.set_axisbelow(True)
    panel.set_xscale("log")
    panel.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
    _ticks(panel.xaxis, sizes)
    panel.tick_params(labelsize=8)
    panel.set_xlabel("training patients", fontsize=9)
    return panel


def _ticks(axis: Axis, sizes: Sequence[int]) -> None:
    """Where there are curves, and nowhere else."""
    axis.set_major_locator(FixedLocator(sizes))
    axis.set_major_formatter(FixedFormatter([f"{size:,}" for size in sizes]))
    axis.set_minor_locator(NullLocator())


def _aucs(panel: Axes, study: Study, curves: pd.DataFrame) -> list:
    """Draw them; the legend's entries."""
    colours, most, handles = style.source_colours(study), curves["n_backbones"].max(), []
    sources = [source for source in study.sources if source in set(curves["source"])]
    for number, source in enumerate(sources):
        rows = curves[curves["source"] == source].sort_values("fraction")
        own = int(rows["n_backbones"].iloc[0])
        label = source_title(study, source) + (f" ({own} of {most} networks)" if own < most else "")
        x = rows["n_train_patients"] * SHIFT ** (number - (len(sources) - 1) / 2)
        line = {"color": colours[source], "lw": 1.4, "ms": 4, "elinewidth": 0.8, "fmt": "o-"}
        handles.append(panel.errorbar(x, rows["auc"], rows["sd_draws"].fillna(0), label=label, **line))
    panel.axhline(0.5, color="0.6", lw=0.8, ls=":")
    panel.set_ylabel("AUC", fontsize=8)
    panel.set_title("by source\n(bars: SD of one training over draws)", fontsize=9)
    return handles


def _differences(panel: Axes, study: Study, rows: pd.DataFrame) -> None:
    panel.axhspan(-study.compare.equivalence, study.compare.equivalence, color=style.BAND, lw=0, zorder=0)
    panel.axhline(0, color="0.25", lw=1, zorder=1)
    panel.plot(rows["n_train_patients"], rows["delta"], color="0.4", lw=1.2, zorder=3)
    for row in rows.to_dict("records"):
        mark = style.difference_mark(study, row, "o" if row["resampled"] == BOTH else "s")
        x, colour = row["n_train_patients"], mark["colour"]
        panel.plot([x, x], [row["ci_low"], row["ci_high"]], color=colour, lw=1.6, zorder=3)
        face = colour if mark["filled"] else "white"
        panel.plot(x, row["delta"], mark["marker"], color=colour, mfc=face, ms=5, zorder=4)
    panel.set_ylabel("difference in AUC", fontsize=8)


def worth_figure(study: Study, table: pd.DataFrame, task: str) -> Figure:
    """Patients with b against patients with a, on log axes; on the dotted line both are worth the same."""
    rows = table[table["task"] == task]
    pairs = list(rows.groupby(["source_a", "source_b"], sort=False))
    figure, panels, lowest, _ = style.panel_rows(len(pairs), 4, (0.9, 1.0), (2.7, 2.9))
    sizes, colours = sorted(set(rows["n_train_patients"])), style.source_colours(study)
    ends = sizes[0] / 1.6, sizes[-1] * 1.6
    for panel, (pair, some) in zip(panels, pairs, strict=True):
        style.quiet(panel).plot(ends, ends, color="0.6", lw=0.8, ls=":")
        for row in some.to_dict("records"):
            x, (value, low, high) = row["n_train_patients"], np.clip([row[name] for name in NEEDED], *ends)
            ahead = pair[0] if row["needed_low"] > x else pair[1] if row["needed_high"] < x else None
            colour = colours[ahead] if ahead else style.UNDECIDED
            marker = "^" if np.isinf(row["needed"]) else "v" if row["needed"] == FEWER else "o"
            panel.plot([x, x], [low, high], color=colour, lw=1.6, zorder=3)
            panel.plot(x, value, marker, color=colour, mfc=colour if ahead else "white", ms=6, zorder=4)
        panel.set(xscale="log", yscale="log", xlim=ends, ylim=(ends[0] / 1.15, ends[1] * 1.15))
        for axis in (panel.xaxis, panel.yaxis):
            _ticks(axis, sizes)
        a, b = (source_title(study, source) for source in pair)
        panel.set_title(f"{a}\nagainst {b}", fontsize=9)
        panel.set_ylabel("patients with the second", fontsize=8)
    for panel in lowest:
        panel.set_xlabel("training patients with the first", fontsize=8)
    figure.suptitle(
        f"{task_title(study, task)}: training patients for the same AUC, {study.compare.confidence:.0%} "
        "interval\n(triangles: beyond what was trained; hollow: not shown to differ)"
    )
    style.mark_simulated(figure, study)
    return figure
