"""Figures of 04_auc."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.stats import norm

from radlib.questions.auc.table import of_estimate
from radlib.show.style import forest, mark_simulated, panel_rows, quiet, source_colours, span
from radlib.stats.estimate import Estimate
from radlib.stats.models import MixedModelResult
from radlib.study import Study
from radlib.study.titles import ESTIMATES, TRAIN, pair_title, source_title, task_title


def auc_forest(
    study: Study, table: pd.DataFrame, overall: pd.DataFrame, estimate: str = "grid_mean"
) -> Figure:
    """Difference of every task with its interval, one panel per pair, the mean over tasks as a diamond."""
    tasks = of_estimate(table, estimate)
    tasks = tasks.assign(row=[task_title(study, task) for task in tasks["task"]])
    rows = pd.concat([tasks, of_estimate(overall, estimate).assign(row="mean over tasks")])
    return forest(study, rows, f"{ESTIMATES[estimate].capitalize()}", band=True, across=2)


def roc_curves(study: Study, bands: dict[str, dict[str, Estimate]]) -> Figure:
    """Mean ROC curve of each source with its pointwise band, one panel per task."""
    figure, panels, lowest, first = panel_rows(len(bands), 4, (0.4, 0.9), (2.7, 2.8), sharex=True)
    colours = source_colours(study)
    for panel, (task, curves) in zip(panels, bands.items(), strict=True):
        panel.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls=":")
        for source, band in curves.items():
            rates = np.linspace(0, 1, len(band.value))
            low, high = band.interval(study.compare.confidence)
            panel.fill_between(rates, low, high, color=colours[source], alpha=0.15, lw=0)
            panel.plot(rates, band.value, color=colours[source], lw=1.6)
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


def setting_map(study: Study, deltas: pd.DataFrame) -> Figure:
    """Headline difference of every setting and task as a coloured number, and the mean over tasks.

    One training per number and fold, so it carries no interval; the figure shows where a source matters, not
    whether a setting's difference is more than chance.
    """
    a, b = (source_colours(study)[source] for source in study.compare.headline)
    tasks = [task for task in study.tasks if task in set(deltas["task"])]
    wide = deltas.pivot(index=["train", "backbone", "lr"], columns="task", values="delta")[tasks]
    order = {train: place for place, train in enumerate(TRAIN)}
    wide = wide.sort_index(
        level=["train", "backbone"], key=lambda x: x.map(order) if x.name == "train" else x
    )
    wide = wide.assign(mean=wide.mean(axis=1))
    figure, panel = plt.subplots(
        figsize=(2.6 + 1.0 * wide.shape[1], 1.4 + 0.27 * len(wide)), layout="constrained"
    )
    limit = span(deltas["delta"])
    shades = LinearSegmentedColormap.from_list("ahead", [b, "white", a])
    panel.imshow(wide.to_numpy(), shades, aspect="auto", vmin=-limit, vmax=limit)
    for (y, x), value in np.ndenumerate(wide.to_numpy()):
        if np.isfinite(value):
            panel.text(x, y, f"{value:+.3f}".replace("-", "−"), ha="center", va="center", fontsize=7)
    names = [task_title(study, task).replace(" ", "\n", 1) for task in tasks] + ["mean"]
    panel.set_xticks(range(wide.shape[1]), names, fontsize=8)
    settings = [f"{TRAIN[train]}, {backbone}, lr {lr:g}" for train, backbone, lr in wide.index]
    panel.set_yticks(range(len(wide)), settings, fontsize=7)
    panel.tick_params(length=0)
    figure.suptitle(
        f"Difference in AUC, {pair_title(study, study.compare.headline)}, by setting", fontsize=10
    )
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
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.set(xlabel="normal quantile (AUC)", ylabel="residual (AUC)")
    panel.set_title("Are residuals normal? (on the line)", fontsize=10)
