"""What all figures share: one colour per source, how differences are drawn, the stamp on simulated data."""

import math
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from radlib.errors import UserError
from radlib.study import Study
from radlib.study.titles import source_title

# Okabe & Ito's colours that stand out on white (https://jfly.uni-koeln.de/color/), without the yellow.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
UNDECIDED = "#6E6E6E"
BAND = "0.9"
ON_ONE_LINE = 30  # characters of two sources above a panel
STAMP = "simulated images: shows the machinery, not evidence"


def source_colours(study: Study) -> dict[str, str]:
    """A fixed colour per source, by its place in `study.sources`.

    Raises:
        UserError: more sources than colours that can be told apart.
    """
    if len(study.sources) > len(COLOURS):
        raise UserError(f"{len(study.sources)} sources cannot be told apart by colour; keep {len(COLOURS)}")
    return dict(zip(study.sources, COLOURS, strict=False))


class Panels(NamedTuple):
    """A figure of panels. panels: row by row; lowest: of every column; first: of every row."""

    figure: Figure
    panels: list[Axes]
    lowest: list[Axes]
    first: list[Axes]


def panel_rows(
    count: int, most: int, margin: tuple[float, float], panel: tuple[float, float], sharex: bool = False,
    sharey: bool = True,
) -> Panels:  # fmt: skip
    """Empty panels in rows of `most` or fewer, as even as can be; the last row may be shorter.

    Args:
        margin, panel: width and height in inches, of what surrounds the panels and of each.
    """
    down = math.ceil(count / most)
    across = math.ceil(count / down)
    size = (margin[0] + across * panel[0], margin[1] + down * panel[1])
    figure, axes = plt.subplots(
        down, across, figsize=size, sharex=sharex, sharey=sharey, squeeze=False, layout="constrained"
    )
    for empty in axes.flat[count:]:
        empty.remove()
    panels = list(axes.flat[:count])
    for lowest in panels[-across:]:  # a shared axis writes its ticks in the last row alone
        lowest.tick_params(labelbottom=True)
    return Panels(figure, panels, panels[-across:], panels[::across])


def mark_simulated(figure: Figure, study: Study | None = None) -> None:
    """Stamp the figure where the study is simulated; without a study, always."""
    if study is not None and not study.simulated:
        return
    height = 0.36 / figure.get_size_inches()[1]
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, height, 1, 1 - height))
    box = {"boxstyle": "round,pad=0.25", "fc": "#FFF4E0", "ec": "#8A4B00", "lw": 0.8}
    figure.text(0.5, height / 2, STAMP, ha="center", va="center", fontsize=8, color="#8A4B00", bbox=box)


def quiet(axes: Axes) -> Axes:
    """No frame on top and right, a light grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    return axes


def ahead(study: Study, row: pd.Series) -> str | None:
    """The source that a difference is shown for, after Holm's correction where the row is one of several."""
    if pd.notna(row.get("p_holm", row.get("p_value"))):
        p = row["p_holm"] if pd.notna(row.get("p_holm")) else row["p_value"]
        shown = p < 1 - study.compare.confidence
    else:
        shown = row["ci_low"] > 0 or row["ci_high"] < 0
    if not shown or row["delta"] == 0 or str(row.get("verdict", "")).startswith("no verdict"):
        return None
    return row["source_a"] if row["delta"] > 0 else row["source_b"]


def draw_interval(
    axes: Axes, study: Study, row: pd.Series, y: float, marker: str = "o", size: float = 7
) -> None:
    """A difference with its interval: filled and in the colour of the source ahead, hollow if none is."""
    source = ahead(study, row)
    colour = source_colours(study)[source] if source else UNDECIDED
    axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, lw=2, solid_capstyle="butt", zorder=3)
    face = colour if source else "white"
    axes.plot(row["delta"], y, marker, color=colour, mfc=face, mew=1.4, ms=size, zorder=4)


def forest(
    study: Study,
    table: pd.DataFrame,
    title: str,
    what: str = "AUC",
    band: bool = False,
    across: int = 2,
    hollow: str = "not shown after Holm's correction",
) -> Figure:
    """Differences with their intervals: a panel per pair on one scale, a row per word of `row`.

    Args:
        table: `row` (its label; one that begins with "mean" is a diamond below a line), `source_a`,
            `source_b`, `delta`, `ci_low`, `ci_high`, and `p_holm` or `p_value` where there are some.
        what: the figure that is subtracted; band: whether to show the region of equivalence;
            hollow: what a hollow mark means.
    """
    pairs = list(dict.fromkeys(zip(table["source_a"], table["source_b"], strict=True)))
    rows = list(dict.fromkeys(table["row"]))
    figure, panels, _, _ = panel_rows(len(pairs), across, (1.8, 0.4), (3.7, 1.3 + 0.42 * len(rows)))
    limit = span(table["ci_low"], table["ci_high"], table["delta"])
    for panel, (pair, some) in zip(panels, [(p, _of(table, p)) for p in pairs], strict=True):
        difference_axis(quiet(panel), study, pair, rows, limit, what)
        if band:
            equivalence_band(panel, study)
        for _, row in some.iterrows():
            mean = row["row"].startswith("mean")
            _written_interval(panel, study, row, rows.index(row["row"]), "D" if mean else "o")
        if rows[-1].startswith("mean"):
            panel.axhline(len(rows) - 1.55, color="0.75", lw=0.8)
    figure.suptitle(
        f"{title}: difference in {what} and {study.compare.confidence:.0%} interval\n"
        f"(hollow: {hollow}{'; band: too small to matter' if band else ''})",
        fontsize=10,
    )
    mark_simulated(figure, study)
    return figure


def _of(table: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return table[(table["source_a"] == pair[0]) & (table["source_b"] == pair[1])]


def _written_interval(panel: Axes, study: Study, row: pd.Series, y: float, marker: str) -> None:
    """The interval, and its numbers at the edge away from it."""
    draw_interval(panel, study, row, y + 0.1, marker)
    x, side = (0.01, "left") if row["delta"] > 0 else (0.99, "right")
    across = panel.get_yaxis_transform()
    panel.text(x, y - 0.25, signed(row), transform=across, fontsize=7, color="0.35", ha=side, va="center")


def difference_axis(
    axes: Axes, study: Study, pair: tuple[str, str], rows: list[str], limit: float, what: str = "AUC"
) -> None:
    """Rows from the top down; x is a difference, with the direction that favours each source."""
    axes.axvline(0, color="0.25", lw=1, zorder=1)
    axes.set(
        xlim=(-limit, limit), ylim=(len(rows) - 0.4, -0.7), yticks=np.arange(len(rows)), yticklabels=rows
    )
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"difference in {what}")
    colours = source_colours(study)
    a, b = (source_title(study, source) for source in pair)
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 8, "va": "bottom"}
    above = 14 if len(a) + len(b) > ON_ONE_LINE else 3
    axes.annotate(f"← {b} higher", (0, 1), (0, 3), ha="left", color=colours[pair[1]], **place)
    axes.annotate(f"{a} higher →", (1, 1), (0, above), ha="right", color=colours[pair[0]], **place)


def equivalence_band(axes: Axes, study: Study) -> None:
    """Differences in AUC that the study declared too small to matter."""
    margin = study.compare.equivalence
    axes.axvspan(-margin, margin, color=BAND, lw=0, zorder=0)


def span(*values: pd.Series | float) -> float:
    """Half width of a symmetric axis that shows all values."""
    return 1.08 * max(float(np.nanmax(np.abs(np.atleast_1d(v)))) for v in values if np.size(v)) + 1e-3


def of_pair(table: pd.DataFrame, pair: tuple[str, str], estimate: str) -> pd.DataFrame:
    """The rows of one pair and estimate, in the order of the table."""
    chosen = (table["source_a"] == pair[0]) & (table["source_b"] == pair[1]) & (table["estimate"] == estimate)
    return table[chosen]


def signed(row: pd.Series) -> str:
    """`+0.031 [+0.012, +0.050]`, with a true minus sign."""
    return f"{row['delta']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]".replace("-", "−")
