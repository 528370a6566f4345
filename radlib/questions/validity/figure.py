"""Figures of 08_validity: how often intervals cover the true value, by method and kind of study."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.questions.validity.compute import ANY, THESE, TOLERANCE, cell_title
from radlib.show.style import COLOURS, mark_simulated, panel_rows, quiet
from radlib.stats.rivals import METHODS
from radlib.study import Study

BAND = "#CFE8D8"
_CELL = ["measure", "positive", "negative", "level", "folds", "settings", "seeds", "luck"]


def coverage_figure(study: Study, table: pd.DataFrame) -> Figure:
    """One panel per method, one line per kind of study, Wilson's interval around each coverage.

    With variation between trainings, the truth is the one that the method speaks of: these trainings or any.
    """
    cells = table.drop_duplicates(_CELL)[_CELL].reset_index(drop=True)
    methods = [name for name in METHODS if (table["method"] == name).any()]
    figure, panels, lowest, _ = panel_rows(
        len(methods), 3, (3.4, 0), (2.7, 1.1 + 0.25 * len(cells)), sharex=True
    )
    for panel, method in zip(panels, methods, strict=True):
        truth = ANY if method == "both_levels" else THESE
        chosen = table[(table["method"] == method) & (table["truth"] == truth)]
        _coverages(quiet(panel), study, cells, chosen, COLOURS[1] if method == "reported" else COLOURS[0])
        panel.set_title(METHODS[method], fontsize=9)
    panels[0].set_ylim(len(cells) - 0.4, -0.6)
    panels[0].set_yticks(range(len(cells)), [cell_title(row) for _, row in cells.iterrows()])
    for panel in lowest:
        panel.set_xlabel(
            f"share of {study.compare.confidence:.0%} intervals\nthat cover the true value", fontsize=8
        )
    figure.legend(handles=_legend(study), loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    mark_simulated(figure, study)
    return figure


def _coverages(panel: Axes, study: Study, cells: pd.DataFrame, rows: pd.DataFrame, colour: str) -> None:
    confidence = study.compare.confidence
    panel.axvspan(confidence - TOLERANCE, confidence + TOLERANCE, color=BAND, zorder=0)
    panel.axvline(confidence, color="0.4", lw=0.8, zorder=1)
    panel.tick_params(axis="y", length=0, labelsize=8)
    for y, (_, cell) in enumerate(cells.iterrows()):
        own = rows[(rows[_CELL] == cell).all(axis=1)]
        for _, row in own.iterrows():
            null = row["true_delta"] == 0
            place = y + (0.16 if null else -0.16)
            panel.plot([row["coverage_low"], row["coverage_high"]], [place, place], color=colour, lw=1.4)
            face = "white" if null else colour
            panel.plot(row["coverage"], place, "o", color=colour, mfc=face, ms=4.5, zorder=4)


def _legend(study: Study) -> list:
    dot = {"color": "0.3", "marker": "o", "lw": 1.4, "ms": 5}
    low, high = study.compare.confidence - TOLERANCE, study.compare.confidence + TOLERANCE
    return [
        Line2D([], [], **dot, label="with a true difference (line: Monte-Carlo error)"),
        Line2D([], [], **dot, mfc="white", label="without one (1 − coverage is the type-I error)"),
        Line2D([], [], color=BAND, lw=8, label=f"{low:.0%} to {high:.0%}"),
    ]
