"""Figures of 00_database: a page of key images, and how far readers agree."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from radlib.database import Database
from radlib.show.style import COLOURS, mark_simulated, quiet
from radlib.study.titles import counted

_CLASS = ["modality", "region", "label"]


def key_images(database: Database, most: int = 6, most_classes: int = 10) -> Figure:
    """A row of images per label as they are written, of different patients first."""
    groups = database.images.groupby(_CLASS)
    chosen = np.linspace(0, len(groups) - 1, min(len(groups), most_classes)).astype(int)
    classes = [list(groups.groups)[number] for number in chosen]
    columns = min(most, int(groups.size().max()))
    size = (max(1.5 * columns, 4), 1.75 * len(classes))
    figure, axes = plt.subplots(len(classes), columns, figsize=size, squeeze=False, layout="constrained")
    for line, name in zip(axes, classes, strict=True):
        line[0].set_title("/".join(name), loc="left", fontsize=9)
        rows = _rows(groups.get_group(name), columns)
        for axis, row in zip(line, rows, strict=False):
            axis.imshow(database.pixels(row), cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
        for empty in line[len(rows) :]:
            empty.axis("off")
    return figure


def _rows(images: pd.DataFrame, count: int) -> np.ndarray:
    """Rows of a label, each patient's first image before any patient's second."""
    turn = images.groupby("patient_id").cumcount()
    return turn.sort_values(kind="stable").index.to_numpy()[:count]


def agreement_figure(table: pd.DataFrame) -> Figure:
    """Kappa of every region with its interval over patients; a dot alone has too few patients for one."""
    figure, axis = plt.subplots(figsize=(7, 1.2 + 0.35 * len(table)), layout="constrained")
    for y, row in enumerate(table.itertuples()):
        axis.plot([row.ci_low, row.ci_high], [y, y], color=COLOURS[0], lw=2, solid_capstyle="butt")
        axis.plot(row.kappa, y, "o", color=COLOURS[0], ms=6)
    names = [
        f"{row.modality}/{row.region}: {counted(row.images, 'image')}, {counted(row.patients, 'patient')}"
        for row in table.itertuples()
    ]
    axis.axvline(0, color="0.25", lw=1, zorder=1)
    axis.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6), xlim=(-1.05, 1.05))
    axis.set_xlabel(
        "kappa, 95 % interval over patients (a dot alone: too few of them)\n"
        "0: as by chance, 1: readers always agree"
    )
    quiet(axis)
    return figure


def interval_by_patients(table: pd.DataFrame, truth: float) -> Figure:
    """How wide the interval of kappa is by the number of patients read twice; simulated readers.

    Args:
        table: patients, kappa, ci_low and ci_high. truth: the kappa that was simulated.
    """
    figure, axis = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    axis.vlines(table["patients"], table["ci_low"], table["ci_high"], color=COLOURS[0], lw=2)
    axis.plot(table["patients"], table["kappa"], "o", color=COLOURS[0])
    axis.axhline(truth, color="0.25", ls="--", lw=1)
    axis.set_xscale("log")
    axis.set_xticks(table["patients"], table["patients"].astype(str))
    axis.minorticks_off()
    axis.set(xlabel="patients read by two readers", ylabel="kappa, 95 % interval", ylim=(None, 1.02))
    axis.set_title(f"Simulated readers; dashed: the truth, kappa = {truth:g}", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    mark_simulated(figure)
    return figure
