"""Figures of 06_dice: differences in localisation, its spread over images, and the maps themselves."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.compare import headline_runs
from radlib.compare_dice import METRICS, Located, image_figures, source_figures
from radlib.images import Packed
from radlib.labels import ordered_pairs, pair_title, source_title, task_title
from radlib.localise import BASELINES, resized
from radlib.plots import difference_axis, draw_interval, mark_simulated, quiet, source_colours, span
from radlib.results import Results
from radlib.study import Study

OUTLINE = "#D55E00"
GUESSED = {"whole_image": "whole image", "centred_blob": "centred ellipse"}


def name_of(study: Study, name: str) -> str:
    """Title of a source or of a baseline."""
    return GUESSED.get(name) or source_title(study, name)


def lesion_forest(study: Study, table: pd.DataFrame) -> Figure:
    """Difference of every figure and task with its interval, one panel per pair."""
    pairs = [
        p for p in ordered_pairs(study) if ((table["source_a"] == p[0]) & (table["source_b"] == p[1])).any()
    ]
    keys = [(task, metric) for task in dict.fromkeys(table["task"]) for metric in METRICS]
    rows = [f"{task_title(study, task)}: {METRICS[metric]}" for task, metric in keys]
    across = min(2, len(pairs))
    down = -(-len(pairs) // across)
    figure, axes = plt.subplots(
        down, across, figsize=(3.2 + 3.9 * across, down * (1.7 + 0.3 * len(rows))), sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for empty in axes.flat[len(pairs) :]:
        empty.remove()
    colours = source_colours(study)
    for panel, pair in zip(axes.flat, pairs, strict=False):
        some = table[(table["source_a"] == pair[0]) & (table["source_b"] == pair[1])]
        difference_axis(quiet(panel), study, pair, rows, span(some["ci_low"], some["ci_high"]))
        panel.set_xlabel("difference in the figure (0 to 1)")
        for _, row in some.iterrows():
            draw_interval(panel, row, keys.index((row["task"], row["metric"])), colours, size=5)
        panel.set_title(f"{pair_title(study, pair)}\n", fontsize=10, pad=16)
    figure.suptitle(
        f"Where networks look: difference and {study.compare.confidence:.0%} interval over patients "
        "(grey: holds 0)", fontsize=10,
    )  # fmt: skip
    mark_simulated(figure, study)
    return figure


def dice_by_source(study: Study, results: Results, located: Located) -> Figure:
    """Dice of every test image, mean over the common runs: quartiles and range by source and guess."""
    count = len(located.tasks)
    figure, axes = plt.subplots(
        1, count, figsize=(5.2 * count, 3.6), squeeze=False, sharex=True, layout="constrained"
    )
    colours = source_colours(study) | dict.fromkeys(BASELINES, "0.75")
    for panel, task in zip(axes[0], located.tasks, strict=True):
        found = source_figures(study, results, located, task)
        long = pd.concat([f.assign(of=name) for name, f in found.items()])
        sns.boxplot(
            long, x="dice", y="of", hue="of", palette={name: colours[name] for name in found}, whis=(0, 100),
            width=0.6, linewidth=1, ax=quiet(panel), legend=False,
        )  # fmt: skip
        panel.set(xlim=(0, 1), xlabel="Dice of an image", ylabel="", title=task_title(study, task))
        panel.set_yticks(range(len(found)), [name_of(study, name) for name in found])
    mark_simulated(figure, study)
    return figure


def chosen_cases(study: Study, results: Results, located: Located, task: str) -> dict[str, str]:
    """Best, median and worst test image by the mean Dice of the headline pair: title -> image_id."""
    runs = headline_runs(study, results, task)
    mean = sum(image_figures(located, task, runs[source])["dice"] for source in study.compare.headline) / 2
    ordered = mean.sort_values(kind="stable").index
    return {"best": ordered[-1], "median": ordered[len(ordered) // 2], "worst": ordered[0]}


def overlays(study: Study, results: Results, located: Located, task: str, packed: Packed) -> Figure:
    """The mean map of each source over the common runs, with the outline of the lesion, for `chosen_cases`.

    Real images are left out: what a publisher gives out is not ours to print. Outline and map remain.
    """
    runs = headline_runs(study, results, task)
    cases = chosen_cases(study, results, located, task)
    figure, axes = plt.subplots(
        len(cases), len(runs), figsize=(2.5 * len(runs) + 0.6, 2.6 * len(cases)), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for line, (title, image_id) in zip(axes, cases.items(), strict=True):
        for panel, (source, some) in zip(line, runs.items(), strict=True):
            _overlay(panel, packed, located.tables[task].merge(some[["run"]], on="run"), image_id)
            panel.set_title(source_title(study, source), fontsize=9)
        line[0].set_ylabel(f"{title}\n{image_id}", fontsize=8)
    handle = Line2D([], [], color=OUTLINE, lw=1.4, label="lesion as drawn by the annotator")
    figure.legend(handles=[handle], loc="outside lower center", frameon=False, fontsize=8)
    figure.suptitle(f"{task_title(study, task)}: mean map of all runs, and its mean Dice", fontsize=10)
    mark_simulated(figure, study)
    return figure


def _overlay(panel: Axes, packed: Packed, table: pd.DataFrame, image_id: str) -> None:
    row = int(np.flatnonzero(packed.manifest["image_id"] == image_id)[0])
    mask = packed.masks[row]
    some = table[table["image_id"] == image_id]
    maps = [
        # Baselines have no map, so the columns of sides are not whole numbers to pandas.
        resized(np.frombuffer(m, np.float16).reshape(int(height), int(width)), mask.shape)
        for m, height, width in zip(some["map"], some["map_height"], some["map_width"], strict=True)
    ]
    printable = packed.meta["simulated"]
    if printable:
        extent = (-0.5, mask.shape[1] - 0.5, mask.shape[0] - 0.5, -0.5)
        panel.imshow(packed.images[row].squeeze(), cmap="gray", extent=extent)
    panel.imshow(np.mean(maps, axis=0), cmap="viridis", vmin=0, vmax=1, alpha=0.55 if printable else 1)
    panel.contour(mask, levels=[0.5], colors=OUTLINE, linewidths=1.4)
    panel.set(xticks=[], yticks=[])
    panel.set_xlabel(f"Dice {some['dice'].mean():.2f}", fontsize=8)
