"""Figure of 11_controls: every figure with its interval, and where it must lie."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from radlib.questions.controls.compute import ABOVE, AUC, TRAINING, Controlled
from radlib.questions.controls.findings import control_findings, figure_title
from radlib.show.findings import Finding, with_interval
from radlib.show.style import COLOURS, mark_simulated, quiet
from radlib.study import Study

PASSED, FAILED, EXPECTED, SINGLE = COLOURS[0], COLOURS[1], "#CFE8D8", "#B8B8B8"


def controls_figure(study: Study, found: Controlled) -> Figure:
    """One line per figure: its single trainings, mean and interval; green is where the interval must lie.

    An AUC is drawn by how far it is from 0.5, so that the expected value of all negative controls is 0.
    """
    table = found.table
    figure, panel = plt.subplots(figsize=(10, 1.7 + 0.5 * len(table)), layout="constrained")
    quiet(panel)
    values = found.trainings["value"] - (found.trainings["measure"] == AUC) * 0.5
    limit = 1.1 * max(values.abs().max(), *(_shifted(row).abs().max() for _, row in table.iterrows()))
    limit = min(limit, 1)  # of few trainings an interval may be wider than AUCs can differ
    panel.set(xlim=(-limit, limit), ylim=(len(table) - 0.4, -0.6))
    findings = control_findings(study, table)
    for y, (_, row) in enumerate(table.iterrows()):
        own = (found.trainings[TRAINING[:-1]] == row[TRAINING[:-1]]).all(axis=1)
        _line(panel, row, findings[y], values[own], y, limit)
    panel.axvline(0, color="0.25", lw=1, zorder=2)
    titles = [figure_title(study, row).replace(": ", "\n", 1) for _, row in table.iterrows()]
    panel.set_yticks(range(len(table)), titles)
    panel.tick_params(axis="y", length=0, labelsize=9)
    panel.set_xlabel("AUC minus 0.5, or difference in AUC")
    figure.legend(handles=_legend(), loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    mark_simulated(figure, study)
    return figure


def _line(panel: Axes, row: pd.Series, finding: Finding, trainings: pd.Series, y: int, limit: float) -> None:
    colour, marker = (PASSED, "o") if row["passed"] else (FAILED, "X")
    value, low, high = _shifted(row)
    if row["expected"] == ABOVE:
        panel.add_patch(Rectangle((0, y - 0.4), limit, 0.8, color=EXPECTED, lw=0, zorder=0))
    else:
        panel.plot([0, 0], [y - 0.4, y + 0.4], color=EXPECTED, lw=8, solid_capstyle="butt", zorder=1)
    panel.plot(trainings, [y + 0.2] * len(trainings), "|", color=SINGLE, ms=7, zorder=2)
    panel.plot([low, high], [y, y], color=colour, lw=2.2, solid_capstyle="butt", zorder=3)
    panel.plot(value, y, marker, color=colour, ms=8, zorder=4)
    text = with_interval(finding, row["confidence"])
    panel.text(1.01, y, text, transform=panel.get_yaxis_transform(), fontsize=8, va="center")


def _shifted(row: pd.Series) -> pd.Series:
    """Value and both ends; an AUC less 0.5."""
    return row[["value", "ci_low", "ci_high"]].astype(float) - (0.5 if row["measure"] == AUC else 0.0)


def _legend() -> list:
    return [
        Line2D([], [], color=PASSED, marker="o", lw=2.2, label="mean and interval, as expected"),
        Line2D([], [], color=FAILED, marker="X", lw=2.2, label="control failed"),
        Line2D([], [], color="none", marker="|", mec=SINGLE, ms=8, label="single trainings"),
        Line2D([], [], color=EXPECTED, lw=8, label="must be touched (0) or held throughout (above 0)"),
    ]
