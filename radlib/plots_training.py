"""Figures of 02_pretrain and 03_transfer: learning curves, and every run as a dot."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from radlib.plots import mark_simulated, source_colours
from radlib.study import Study

REGIMES = ["frozen", "top10", "all"]
ACCURACIES = [
    ("val_top1", "top-1", "o-", "#0072B2"),
    ("val_top5", "top-5", "s--", "#009E73"),
    ("val_balanced_accuracy", "balanced", "^:", "#D55E00"),
]


def pretraining_curves(history: pd.DataFrame, simulated: bool) -> Figure:
    """Loss of both parts and held-out accuracies by epoch."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.plot(history["epoch"], history["train_loss"], "o-", color="#0072B2", label="training part")
    left.plot(history["epoch"], history["val_loss"], "s--", color="#D55E00", label="validation part")
    left.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="Loss")
    left.legend()
    for column, label, style, colour in ACCURACIES:
        right.plot(history["epoch"], 100 * history[column], style, color=colour, label=label)
    right.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 102), title="Validation accuracy")
    right.legend()
    for axis in (left, right):
        axis.set_xticks(history["epoch"])
    if simulated:
        mark_simulated(figure)
    return figure


def learning_curves(study: Study, runs: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Validation loss by epoch, one panel per regime: mean over runs with the range of the middle half."""
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
            axis.plot(middle.index, middle, color=colours[source], label=source, marker="o", markersize=3)
            axis.fill_between(
                middle.index,
                some.quantile(0.25),
                some.quantile(0.75),
                color=colours[source],
                alpha=0.15,
                lw=0,
            )
        axis.set(
            xlabel="epoch", ylabel="validation loss (nats)", title=f"{regime}: median, middle half of runs"
        )
        axis.legend(fontsize=8)
    if study.simulated:
        mark_simulated(figure)
    return figure


def runs_by_setting(study: Study, runs: pd.DataFrame) -> Figure:
    """Test AUC of every run: backbone by row, regime and rate by colour of source."""
    table = runs.assign(setting=runs["train"] + " " + runs["lr"].map("{:g}".format))
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
    if study.simulated:
        mark_simulated(figure)
    return figure
