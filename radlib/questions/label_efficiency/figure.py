"""Figures of 10_label_efficiency: AUC and its difference between sources against the number of patients."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from radlib.questions.label_efficiency.compute import BOTH, Efficiency
from radlib.show.style import UNDECIDED, ahead, mark_simulated, panel_rows, source_colours, span
from radlib.study import Study
from radlib.study.titles import ordered_pairs, pair_title, source_title, task_title

ACROSS = 4
BAND = "0.85"
SHIFT = 1.03  # sources stand beside each other on the log axis, lest their bars cover one another


def efficiency_figure(study: Study, found: Efficiency, task: str) -> Figure:
    """First AUC by source, then the difference of every pair with its band; x is patients, on a log axis."""
    table, curves = (some[some["task"] == task] for some in (found.table, found.curves))
    pairs = [pair for pair in ordered_pairs(study) if len(_of_pair(table, pair))]
    figure, (left, *others), _, _ = panel_rows(len(pairs) + 1, ACROSS, (0.4, 1.2), (3, 2.7), sharey=False)
    sizes = sorted(set(curves["n_train_patients"]))
    _aucs(_patients_axis(left, sizes), study, curves)
    limit = span(table["ci_low"], table["ci_high"], study.compare.equivalence)
    for panel, pair in zip(others, pairs, strict=True):
        _differences(_patients_axis(panel, sizes), study, _of_pair(table, pair), limit)
        panel.set_title(pair_title(study, pair).replace(" − ", " −\n"), fontsize=9)
    handles = [*left.get_legend_handles_labels()[0], *_legend()]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=ACROSS, fontsize=8, frameon=False,
        title=f"{task_title(study, task)}, frozen backbones, {study.compare.confidence:.0%} intervals",
        title_fontsize=10,
    )  # fmt: skip
    mark_simulated(figure, study)
    return figure


def _legend() -> list[Line2D]:
    dot = {"color": UNDECIDED, "lw": 1.6, "ms": 5}
    return [
        Line2D([], [], **dot, marker="o", label="over patients tested and drawn"),
        Line2D([], [], **dot, marker="s", label="over patients tested, all train"),
        Line2D([], [], **dot, marker="o", mfc="white", label="hollow: not after Holm's correction"),
        Line2D([], [], color="0.35", lw=0.9, ls=":", label="between: too small to matter"),
    ]


def _of_pair(table: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return table[(table["source_a"] == pair[0]) & (table["source_b"] == pair[1])]


def _patients_axis(panel: Axes, sizes: list[int]) -> Axes:
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="0.92")
    panel.set_axisbelow(True)
    panel.set_xscale("log")
    panel.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
    panel.xaxis.set_major_locator(FixedLocator(sizes))
    panel.xaxis.set_major_formatter(FixedFormatter([f"{size:,}" for size in sizes]))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.tick_params(labelsize=8)
    panel.set_xlabel("training patients", fontsize=9)
    return panel


def _aucs(panel: Axes, study: Study, curves: pd.DataFrame) -> None:
    colours, most = source_colours(study), curves["n_backbones"].max()
    sources = [source for source in study.sources if source in set(curves["source"])]
    for number, source in enumerate(sources):
        rows = curves[curves["source"] == source].sort_values("fraction")
        own = int(rows["n_backbones"].iloc[0])
        label = source_title(study, source) + (f" ({own} of {most} networks)" if own < most else "")
        x = rows["n_train_patients"] * SHIFT ** (number - (len(sources) - 1) / 2)
        panel.errorbar(
            x, rows["auc"], rows["sd_draws"].fillna(0), color=colours[source], label=label, lw=1.4,
            marker="o", ms=4, elinewidth=0.8, ls="-" if own == most else "--",
        )  # fmt: skip
    panel.axhline(0.5, color="0.6", lw=0.8, ls=":")
    panel.set_ylabel("AUC", fontsize=8)
    panel.set_title("by source\n(bars: SD of one training over draws)", fontsize=9)


def _differences(panel: Axes, study: Study, rows: pd.DataFrame, limit: float) -> None:
    matters, colours = study.compare.equivalence, source_colours(study)
    drawn = rows[rows["interval_holds"] == BOTH]
    x = rows["n_train_patients"]
    panel.fill_between(drawn["n_train_patients"], drawn["ci_low"], drawn["ci_high"], color=BAND, lw=0)
    panel.plot(x, rows["delta"], color="0.4", lw=1.2, zorder=3)
    panel.axhline(0, color="0.25", lw=1, zorder=1)
    for edge in (-matters, matters):
        panel.axhline(edge, color="0.35", lw=0.9, ls=":", zorder=2)
    for _, row in rows.iterrows():
        source = ahead(study, row)
        colour = colours[source] if source else UNDECIDED
        panel.plot(
            [row["n_train_patients"]] * 2, [row["ci_low"], row["ci_high"]], color=colour, lw=1.6, zorder=3
        )
        marker = "o" if row["interval_holds"] == BOTH else "s"
        inside = colour if source else "white"
        panel.plot(row["n_train_patients"], row["delta"], marker, color=colour, mfc=inside, ms=5, zorder=4)
    panel.set_ylim(-limit, limit)
    panel.set_ylabel("difference in AUC", fontsize=8)
