"""Figures of 00_database: a page of key images, and how far readers agree."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from radlib.database.build import CLASS, Database
from radlib.show.style import COLOURS, mark_simulated, quiet
from radlib.study.titles import counted


def key_images(database: Database, most: int = 6, most_classes: int = 10) -> Figure:
    """A row of images per label as they are written, of different patients first."""
    groups = database.images.groupby(CLASS)
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


def agreement_figure(table: pd.DataFrame, truth: float | None = None) -> Figure:
    """Kappa of every region with its interval over patients; a dot alone has too few patients for one.

    Args:
        table: see `radlib.database.agreement.agreement_table`.
        truth: the kappa of simulated readers, as a dashed line.
    """
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
    if truth is not None:
        axis.axvline(truth, color="0.25", lw=1, ls="--", zorder=1)
        mark_simulated(figure)
    quiet(axis)
    return figure
