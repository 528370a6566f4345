"""Figures of 02_pretrain and 03_transfer: learning curves, and every run as a dot."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from radlib.show.style import mark_simulated, source_colours
from radlib.study import Study
from radlib.study.titles import TRAIN, source_title

REGIMES = ["frozen", "top10", "all"]
ACCURACIES = [
    ("val_top1", "top-1", "o-", "#0072B2"),
    ("val_top5", "top-5", "s--", "#009E73"),
    ("val_balanced_accuracy", "balanced", "^:", "#D55E00"),
]


def pretraining_curves(history: pd.DataFrame, title: str, simulated: bool) -> Figure:
    """Loss of both parts (above) and validation accuracies (below) by epoch, a column per backbone.

    Args:
        history: indexed by (backbone, row), a row per epoch.
    """
    names = list(history.index.unique(0))
    size = (2.6 * len(names) + 1.2, 5)
    figure, axes = plt.subplots(
        2, len(names), figsize=size, sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    for (above, below), name in zip(axes.T, names, strict=True):
        some = history.loc[name]
        above.plot(some["epoch"], some["train_loss"], "o-", color="#0072B2", label="training part")
        above.plot(some["epoch"], some["val_loss"], "s--", color="#D55E00", label="validation part")
        above.set(title=name)
        for column, label, style, colour in ACCURACIES:
            below.plot(some["epoch"], 100 * some[column], style, color=colour, label=label)
        below.set(xlabel="epoch", ylim=(0, 102), xticks=some["epoch"])
    axes[0, 0].set_ylabel("cross-entropy (nats)")
    axes[1, 0].set_ylabel("validation accuracy (%)")
    for row in axes:
        row[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    figure.suptitle(title)
    if simulated:
        mark_simulated(figure)
    return figure


def learning_curves(
    study: Study, runs: pd.DataFrame, history: pd.DataFrame, loss: str = "validation loss (nats)"
) -> Figure:
    """Validation loss by epoch, one panel per regime: median over runs with the range of the middle half."""
    table = history.merge(runs[["run", "source", "train"]], on="run")
    regimes = [r for r in REGIMES if r in set(table["train"])]
    size = (4 * len(regimes), 3.4)
    figure, axes = plt.subplots(1, len(regimes), figsize=size, squeeze=False, layout="constrained")
    colours = source_colours(study)
    for axis, regime in zip(axes[0], regimes, strict=True):
        for source in study.sources:
            some = table[(table["train"] == regime) & (table["source"] == source)]
            if some.empty:
                continue
            some = some.groupby("epoch")["val_loss"]
            middle = some.median()
            axis.plot(
                middle.index,
                middle,
                color=colours[source],
                label=source_title(study, source),
                marker="o",
                markersize=3,
            )
            axis.fill_between(
                middle.index,
                some.quantile(0.25),
                some.quantile(0.75),
                color=colours[source],
                alpha=0.15,
                lw=0,
            )
        axis.set(xlabel="epoch", ylabel=loss, title=f"{TRAIN[regime]}: median, middle half of runs")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(fontsize=8)
    mark_simulated(figure, study)
    return figure


def runs_by_setting(study: Study, runs: pd.DataFrame) -> Figure:
    """Test AUC of every run: a panel per backbone, a row per regime and rate, a colour per source."""
    table = runs.assign(
        setting=[f"{TRAIN[train]}, lr {lr:g}" for train, lr in zip(runs["train"], runs["lr"], strict=True)]
    )
    order = [s for r in REGIMES for s in sorted(set(table.loc[table["train"] == r, "setting"]))]
    backbones = [b for b in study.backbones if b in set(table["backbone"])]
    size = (2.6 * len(backbones) + 2.4, 0.55 * len(order) + 1.6)
    figure, axes = plt.subplots(
        1, len(backbones), figsize=size, sharey=True, sharex=True, squeeze=False, layout="constrained"
    )
    for axis, backbone in zip(axes[0], backbones, strict=True):
        some = table[table["backbone"] == backbone]
        sns.stripplot(
            some, x="test_auc", y="setting", hue="source", order=order, hue_order=study.sources, dodge=True,
            palette=source_colours(study), size=4, alpha=0.8, ax=axis, legend=axis is axes[0][-1],
        )  # fmt: skip
        axis.axvline(0.5, color="0.5", lw=1, ls=":")
        axis.set(xlabel="test AUC of a run", ylabel="", title=backbone)
    sns.move_legend(axes[0][-1], "upper left", bbox_to_anchor=(1.02, 1), frameon=False, title="source")
    for text in axes[0][-1].get_legend().get_texts():
        text.set_text(source_title(study, text.get_text()))
    mark_simulated(figure, study)
    return figure
