"""Figures of 04_auc."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.stats import norm

from radlib.show.style import (
    difference_axis,
    draw_interval,
    equivalence_band,
    mark_simulated,
    of_pair,
    panel_rows,
    quiet,
    signed,
    source_colours,
    span,
)
from radlib.stats.bootstrap import RocBand
from radlib.stats.models import MixedModelResult
from radlib.study import Study
from radlib.study.titles import ESTIMATES, TRAIN, ordered_pairs, pair_title, source_title, task_title


def forest(study: Study, table: pd.DataFrame, overall: pd.DataFrame, estimate: str = "grid_mean") -> Figure:
    """Difference of every task with its interval, one panel per pair, the mean over tasks as a diamond."""
    pairs = [pair for pair in ordered_pairs(study) if len(of_pair(table, pair, estimate))]
    tasks = [task for task in study.tasks if task in set(table["task"])]
    rows = [task_title(study, task) for task in tasks] + ["mean over tasks"]
    figure, panels, _, _ = panel_rows(len(pairs), 3, (1.8, 0), (3.7, 1.8 + 0.42 * len(rows)))
    colours = source_colours(study)
    for panel, pair in zip(panels, pairs, strict=True):
        some = of_pair(table, pair, estimate).set_index("task")
        mean = of_pair(overall, pair, estimate).iloc[0]
        limit = span(some["ci_low"], some["ci_high"], some["delta"], mean["ci_low"], mean["ci_high"])
        difference_axis(quiet(panel), study, pair, rows, limit)
        equivalence_band(panel, study)
        for y, task in enumerate(tasks):
            if task in some.index:
                _written_interval(panel, some.loc[task], y, colours)
        panel.axhline(len(tasks) - 0.55, color="0.75", lw=0.8)
        _written_interval(panel, mean, len(tasks), colours, marker="D")
        panel.set_title(f"{pair_title(study, pair)}\n", fontsize=10, pad=16)
    holds = table.loc[table["estimate"] == estimate, "interval_holds"].iloc[0]
    figure.suptitle(
        f"AUC by source, {ESTIMATES[estimate]}: difference and {study.compare.confidence:.0%} interval "
        f"over {holds}\n(grey mark: holds 0; grey band: too small to matter)", fontsize=10,
    )  # fmt: skip
    mark_simulated(figure, study)
    return figure


def _written_interval(
    panel: Axes, row: pd.Series, y: float, colours: dict[str, str], marker: str = "o"
) -> None:
    """The interval, and its numbers at the edge away from it."""
    draw_interval(panel, row, y + 0.1, colours, marker)
    x, side = (0.01, "left") if row["delta"] > 0 else (0.99, "right")
    across = panel.get_yaxis_transform()
    panel.text(x, y - 0.25, signed(row), transform=across, fontsize=7, color="0.35", ha=side, va="center")


def roc_curves(study: Study, bands: dict[str, dict[str, RocBand]]) -> Figure:
    """Mean ROC curve of each source with its pointwise band, one panel per task."""
    figure, panels, lowest, first = panel_rows(len(bands), 4, (0.4, 0.9), (2.7, 2.8), sharex=True)
    colours = source_colours(study)
    for panel, (task, curves) in zip(panels, bands.items(), strict=True):
        panel.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls=":")
        for source, band in curves.items():
            panel.fill_between(band.fpr, band.low, band.high, color=colours[source], alpha=0.15, lw=0)
            panel.plot(band.fpr, band.tpr, color=colours[source], lw=1.6)
        panel.set(xlim=(0, 1), ylim=(0, 1.01))
        panel.set_title(task_title(study, task), fontsize=10)
        panel.set_box_aspect(1)
        panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        panel.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    for panel in lowest:
        panel.set_xlabel("1 − specificity")
    for panel in first:
        panel.set_ylabel("sensitivity")
    figure.get_layout_engine().set(h_pad=0.07)
    shown = {source for curves in bands.values() for source in curves}
    handles = [
        Line2D([], [], color=colours[s], lw=2, label=source_title(study, s))
        for s in study.sources
        if s in shown
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    mark_simulated(figure, study)
    return figure


def setting_dots(study: Study, deltas: pd.DataFrame) -> Figure:
    """Headline difference of every setting: a row per setting, a dot per task, a bar at the mean.

    One training per dot and fold, so single dots carry no interval; the figure shows where a source
    matters, not whether a setting's difference is more than chance.
    """
    regimes = [train for train in TRAIN if train in set(deltas["train"])]
    parts = {train: deltas[deltas["train"] == train] for train in regimes}
    heights = [part[["backbone", "lr"]].drop_duplicates().shape[0] + 0.8 for part in parts.values()]
    figure, axes = plt.subplots(
        len(regimes), 1, figsize=(7.6, 1.7 + 0.26 * sum(heights)), sharex=True, squeeze=False,
        height_ratios=heights, layout="constrained",
    )  # fmt: skip
    pair = tuple(study.compare.headline)
    for panel, (train, part) in zip(axes[:, 0], parts.items(), strict=True):
        _setting_rows(quiet(panel), study, part, pair)
        panel.set_ylabel(TRAIN[train], fontsize=10)
    limit = span(deltas["delta"])
    axes[0, 0].set_xlim(-limit, limit)
    axes[-1, 0].set_xlabel(f"difference in AUC, {pair_title(study, pair)}")
    figure.suptitle("Where does the source matter? One dot per task, black bar: their mean", fontsize=10)
    mark_simulated(figure, study)
    return figure


def _setting_rows(panel: Axes, study: Study, part: pd.DataFrame, pair: tuple[str, str]) -> None:
    colours = source_colours(study)
    order = [(b, lr) for b in study.backbones for lr in sorted(part["lr"].unique(), reverse=True)]
    groups = dict(iter(part.groupby(["backbone", "lr"])["delta"]))
    order = [key for key in order if key in groups]
    panel.axvline(0, color="0.25", lw=1, zorder=1)
    for y, key in enumerate(order):
        values = groups[key].to_numpy()
        # Spread evenly over the row's height, so that equal dots stay visible.
        heights = y + (np.linspace(-0.26, 0.26, len(values)) if len(values) > 1 else np.zeros(1))
        ahead = [colours[pair[0]] if v > 0 else colours[pair[1]] for v in values]
        panel.scatter(values, heights, c=ahead, s=18, alpha=0.8, lw=0, zorder=3)
        panel.plot([values.mean()] * 2, [y - 0.38, y + 0.38], color="black", lw=2.2, zorder=4)
    panel.set(ylim=(len(order) - 0.4, -0.6), yticks=range(len(order)))
    panel.set_yticklabels([f"{backbone}, lr {lr:g}" for backbone, lr in order], fontsize=8)


def grid_means(study: Study, grid: pd.DataFrame) -> Figure:
    """Mean AUC over settings with its SD, as published: a spread between settings, not an interval."""
    tasks = [task for task in study.tasks if task in set(grid["task"])]
    figure, panel = plt.subplots(figsize=(7.6, 1.7 + 0.5 * len(tasks)), layout="constrained")
    quiet(panel)
    colours, sources = source_colours(study), [s for s in study.sources if s in set(grid["source"])]
    offsets = np.linspace(-0.24, 0.24, len(sources)) if len(sources) > 1 else np.zeros(1)
    for source, offset, marker in zip(sources, offsets, "os^DvP*", strict=False):
        some = grid[grid["source"] == source].set_index("task").reindex(tasks)
        panel.errorbar(
            some["mean"], np.arange(len(tasks)) + offset, xerr=some["sd"].fillna(0), fmt=marker, ms=5,
            color=colours[source], lw=1.3, capsize=2.5, label=source_title(study, source),
        )  # fmt: skip
    panel.axvline(0.5, color="0.6", lw=0.8, ls=":")
    panel.set(
        ylim=(len(tasks) - 0.5, -0.5), yticks=range(len(tasks)), xlabel="test AUC, mean ± SD over settings"
    )
    panel.set_yticklabels([task_title(study, task) for task in tasks])
    low = np.nanmin(grid["mean"] - grid["sd"].fillna(0))
    high = np.nanmax(grid["mean"] + grid["sd"].fillna(0))
    panel.set_xlim(min(0.48, low - 0.02), max(1.0, high + 0.01))
    figure.legend(loc="outside upper center", ncols=len(sources), frameon=False)
    mark_simulated(figure, study)
    return figure


def model_figure(study: Study, model: MixedModelResult) -> Figure:
    """Fixed effects with Wald intervals; residuals against the normal and against fitted values."""
    terms = model.table[model.table["term"] != "Intercept"].reset_index(drop=True)
    figure, axes = plt.subplots(
        1, 3, figsize=(12, 1.8 + max(2.2, 0.3 * len(terms))), width_ratios=[1.3, 1, 1], layout="constrained"
    )
    left, middle, right = axes
    quiet(left).axvline(0, color="0.25", lw=1)
    y = np.arange(len(terms))
    left.hlines(y, terms["ci_low"], terms["ci_high"], color="0.2", lw=2)
    left.plot(terms["estimate"], y, "o", color="0.2", ms=5)
    left.set(ylim=(len(terms) - 0.4, -0.6), yticks=y, xlabel="effect on AUC")
    left.set_yticklabels([_term_title(study, term) for term in terms["term"]], fontsize=7.5)
    left.xaxis.set_major_locator(MaxNLocator(5))
    left.set_title(f"Fixed effects, {study.compare.confidence:.0%} Wald interval", fontsize=10)
    _normal_quantiles(middle, model.residuals)
    right.axhline(0, color="0.25", lw=1)
    right.plot(model.fitted, model.residuals, "o", color="0.3", ms=3, alpha=0.35, mew=0)
    right.set(xlabel="fitted AUC", ylabel="residual (AUC)")
    right.set_title("Residuals against fitted", fontsize=10)
    mark_simulated(figure, study)
    return figure


def _term_title(study: Study, term: str) -> str:
    """`source[a] - source[b]`, `train[frozen] - mean` and their products, as a reader would say them."""
    named = re.sub(r"source\[(\w+)\]", lambda found: source_title(study, found[1]), term)
    return re.sub(r"\w+\[(\w+)\]", r"\1", named).replace(" - ", " − ")


def _normal_quantiles(panel: Axes, residuals: np.ndarray) -> None:
    ordered = np.sort(residuals)
    expected = norm.ppf((np.arange(len(ordered)) + 0.5) / len(ordered)) * ordered.std(ddof=1)
    panel.plot(expected, ordered, "o", color="0.3", ms=3, alpha=0.5, mew=0)
    panel.axline((0, 0), slope=1, color="0.25", lw=1)
    panel.set(xlabel="normal quantile (AUC)", ylabel="residual (AUC)")
    panel.set_title("Are residuals normal? (on the line)", fontsize=10)
