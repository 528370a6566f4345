"""Figures of 02_pretrain and 04_transfer: learning curves, and every run as a dot."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from radlib.show.style import (
    legend_above,
    mark_simulated,
    panel_rows,
    source_colours,
    source_handles,
    source_titles,
)
from radlib.study import Study
from radlib.study.titles import TRAIN, regime_title, task_title

LOSSES = {
    "train_loss": {"label": "training part", "marker": "o", "color": "#0072B2"},
    "val_loss": {"label": "validation part", "marker": "s", "color": "#D55E00", "ls": "--"},
}
ACCURACIES = {
    "val_top1": {"label": "top-1", "marker": "o", "color": "#0072B2"},
    "val_top5": {"label": "top-5", "marker": "s", "color": "#009E73", "ls": "--"},
    "val_balanced_accuracy": {"label": "balanced", "marker": "^", "color": "#D55E00", "ls": ":"},
}
CHOICES = {"logistic": "C: to the left a stronger penalty", "knn": "neighbours"}


def pretraining_curves(history: pd.DataFrame, title: str, simulated: bool, classes: int) -> Figure:
    """Loss of both parts (above) and validation accuracies (below) by epoch, a column per backbone.

    Args:
        history: indexed by (backbone, row), a row per epoch; all pretrainings of a network share a panel.
        classes: of the corpus, for the accuracy of guessing.
    """
    networks = history.index.get_level_values(0).str.partition(" (").get_level_values(0)
    names = list(networks.unique())
    size = (2.6 * len(names) + 1.6, 5)
    figure, axes = plt.subplots(
        2, len(names), figsize=size, sharex="col", sharey="row", squeeze=False, layout="constrained"
    )
    for (above, below), name in zip(axes.T, names, strict=True):
        for _, some in history[networks == name].groupby(level=0, sort=False):
            for column, line in LOSSES.items():
                above.plot(some["epoch"], some[column], ms=4, **line)
            for column, line in ACCURACIES.items():
                below.plot(some["epoch"], 100 * some[column], ms=4, **line)
        below.axhline(100 / classes, color="0.4", lw=1, label="guessing one class")
        above.set(title=name)
        below.set(xlabel="epoch", ylim=(0, 102), xlim=(0.5, history[networks == name]["epoch"].max() + 0.5))
        below.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes[0, 0].set_ylabel("cross-entropy (nats)")
    axes[1, 0].set_ylabel("validation accuracy (%)")
    for row in axes:
        lines, labels = row[-1].get_legend_handles_labels()
        known = dict(zip(labels, lines, strict=True))  # one of each for all pretrainings
        row[-1].legend(known.values(), known, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    several = history.index.get_level_values(0).nunique() > len(names)
    figure.suptitle(title + (": of each kind a line for every pretraining" if several else ""))
    if simulated:
        mark_simulated(figure)
    return figure


def learning_curves(
    study: Study, runs: pd.DataFrame, history: pd.DataFrame, loss: str = "validation loss (nats)"
) -> Figure:
    """Validation loss of a task by epoch, or by what a probe chooses among; a panel per regime.

    Median over runs with the range of the middle half. Where runs stopped at different epochs the lowest loss
    so far is shown, which is what a run that has stopped keeps: the last to stop would be those that improve.
    """
    table = history.merge(runs[["run", "source", "train"]], on="run")
    regimes = [regime for regime in TRAIN if regime in set(table["train"])]
    figure, panels = panel_rows(study, len(regimes), 2, (0, 0.7), (4.4, 2.9), sharey=False)
    for axis, regime in zip(panels, regimes, strict=True):
        some = table[table["train"] == regime]
        band = {"estimator": "median", "errorbar": ("pi", 50), "err_kws": {"lw": 0, "alpha": 0.15}}
        x, shown = "choice" if regime in CHOICES else "epoch", "median, middle half of runs"
        if x == "epoch" and some.groupby("run")[x].max().nunique() > 1:
            some, shown = _lowest_so_far(some), "lowest so far; median, middle half"
        sns.lineplot(some, x=x, y="val_loss", marker="o", ax=axis, **band, **_colours(study, some))
        axis.set(ylabel=loss, title=f"{TRAIN[regime]}:\n{shown}")
        if x == "choice":
            axis.set(xscale="log", xlabel=CHOICES[regime])
            if regime == "knn":
                axis.set_xticks(some[x].unique(), [f"{number:g}" for number in some[x].unique()])
                axis.minorticks_off()
        else:
            axis.set_xlim(0.5, some["epoch"].max() + 0.5)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    titles = source_titles(study, runs)
    handles = source_handles(study, titles, titles, marker="o", ms=5)
    own = ", each panel on its own scale" if len(regimes) > 1 else ""
    legend_above(figure, handles, title=f"{task_title(study, runs['task'].iloc[0])}: validation loss{own}")
    return figure


def _lowest_so_far(history: pd.DataFrame) -> pd.DataFrame:
    """The same up to the last epoch of the longest run."""
    wide = history.pivot(index="epoch", columns=["run", "source"], values="val_loss")
    return wide.cummin().ffill().unstack().rename("val_loss").reset_index()


def runs_by_setting(study: Study, runs: pd.DataFrame) -> Figure:
    """Test AUC of a task's runs: a panel per backbone, a row per regime and rate, a colour per source."""
    table = runs.sort_values("lr")
    table["setting"] = [regime_title(*row) for row in table[["train", "lr"]].to_numpy()]
    order = [s for regime in TRAIN for s in table.loc[table["train"] == regime, "setting"].unique()]
    backbones = [name for name in study.backbones if name in set(table["backbone"])]
    size = (2.2, 0.55 * len(order) + 0.3)
    figure, panels = panel_rows(study, len(backbones), 3, (2, 1), size, sharex=True)
    for axis, backbone in zip(panels, backbones, strict=True):
        some = table[table["backbone"] == backbone]
        dots = {"dodge": True, "size": 4, "alpha": 0.8}
        sns.stripplot(some, x="test_auc", y="setting", order=order, ax=axis, **dots, **_colours(study, table))
        axis.axvline(0.5, color="0.5", lw=1, ls=":")
        axis.set(xlabel="test AUC of a run", ylabel="", title=backbone)
    guessing = Line2D([], [], color="0.5", lw=1, ls=":", label="guessing")
    handles = [*source_handles(study, list(runs["source"]), marker="o", ms=4, ls=""), guessing]
    legend_above(figure, handles, title=f"{task_title(study, runs['task'].iloc[0])}: every run")
    return figure


def _colours(study: Study, table: pd.DataFrame) -> dict:
    """Which colour seaborn gives a source: always the same; `source_handles` explain it."""
    order = [source for source in study.sources if source in set(table["source"])]
    return {"hue": "source", "palette": source_colours(study), "hue_order": order, "legend": False}
