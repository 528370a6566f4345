"""What all figures share: one colour per source, how differences are drawn, the stamp on simulated data."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from radlib.errors import listed
from radlib.show.findings import NO_VERDICT, is_shown
from radlib.study import Study
from radlib.study.common import RANDOM
from radlib.study.titles import source_title

# Okabe & Ito's colours that stand out on white (https://jfly.uni-koeln.de/color/), without the yellow; then
# wine, olive and indigo of Tol's muted scheme (https://sronpersonalpages.nl/~pault/).
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
COLOURS += ["#882255", "#999933", "#332288"]
UNDECIDED = "#6E6E6E"
ACCENT = "#C000C0"  # of no source
ANNOTATED, PREDICTED = "black", ACCENT  # outlines
BAND = "0.9"
ON_ONE_LINE = 20  # characters of two sources above a panel
CHARACTER = 0.06  # inches, of a legend's mean letter
WIDTH = 9.0  # inches, of a figure at most
UPRIGHT = (2, 2, 0)  # a marker: a stroke
STAMP = "simulated images: shows the machinery, not evidence"
plt.rcParams.update(
    {"axes.titlesize": 10, "figure.titlesize": 10, "legend.title_fontsize": 10}
    | {"legend.fontsize": 8, "legend.frameon": False}
)


def source_colours(study: Study) -> dict[str, str]:
    """A fixed colour per source: first `study.sources`, then what a question sets beside them.

    Beyond `COLOURS` they are hard to tell apart.
    """
    named = list(dict.fromkeys([*study.sources, *study.corpora, *study.checkpoints, RANDOM]))
    more = plt.get_cmap("turbo")(np.linspace(0.05, 0.95, max(0, len(named) - len(COLOURS))))
    return dict(zip(named, [*COLOURS, *map(to_hex, more)], strict=False))


def source_titles(study: Study, runs: pd.DataFrame) -> dict[str, str]:
    """What sources whose means stand side by side are called; one that lacks networks of another says so.

    Args:
        runs: `source` and `backbone` of all that is shown: `ImageNet-1k (tf_efficientnet_lite0 only)`.
    """
    titles, every = {}, set(runs["backbone"])
    for source in (source for source in study.sources if source in set(runs["source"])):
        own = set(runs.loc[runs["source"] == source, "backbone"])
        only = f" ({listed(sorted(own))} only)" if own < every else ""
        titles[source] = source_title(study, source) + only
    return titles


def source_handles(
    study: Study, shown: Sequence[str], titles: Mapping[str, str] | None = None, **line
) -> list[Line2D]:
    """A legend's entry per source that is shown, in the order of the study; titles: of `source_titles`."""
    colours, titles = source_colours(study), titles or {}
    sources = [source for source in study.sources if source in set(shown)]
    labels = {source: titles.get(source) or source_title(study, source) for source in sources}
    return [Line2D([], [], color=colours[source], label=label, **line) for source, label in labels.items()]


def legend_above(figure: Figure, handles: Sequence[Line2D], columns: int = 4, title: str = "") -> None:
    """Outside, above the panels, in as many columns as fit."""
    widest = 0.5 + CHARACTER * max((len(handle.get_label()) for handle in handles), default=0)
    columns = max(1, min(columns, len(handles), int(figure.get_figwidth() / widest)))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, title=title or None)


def panel_rows(
    study: Study,
    count: int,
    most: int,
    margin: tuple[float, float],
    panel: tuple[float, float],
    xlabel: str = "",
    ylabel: str = "",
    sharex: bool = False,
    sharey: bool = True,
) -> tuple[Figure, list[Axes]]:
    """A figure, and its empty panels in rows of `most` or fewer, as even as can be; the last may be shorter.

    Stamped by `mark_simulated`.

    Args:
        margin, panel: width and height in inches, of what surrounds the panels and of each.
        xlabel, ylabel: of the lowest panel of every column, and of the first of every row.
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
        lowest.set_xlabel(xlabel)
    for first in panels[::across]:
        first.set_ylabel(ylabel)
    mark_simulated(figure, study)
    return figure, panels


def unit_squares(study: Study, titles: Sequence[str], xlabel: str, ylabel: str) -> tuple[Figure, list[Axes]]:
    """A figure, and a panel per title, both axes from 0 to 1, with the diagonal."""
    margin = (0.8 if len(titles) > 1 else 2.8, 1.2)  # a title is wider than one panel
    figure, panels = panel_rows(study, len(titles), 2, margin, (4.1, 3.8), xlabel, ylabel, sharex=True)
    for panel, title in zip(panels, titles, strict=True):
        quiet(panel).plot([0, 1], [0, 1], color="0.6", lw=0.8, ls=":")
        panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        panel.set(box_aspect=1, title=title)
    return figure, panels


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


def outline(axes: Axes, mask: np.ndarray, colour: str, *places: np.ndarray) -> None:
    """The border of a region, cased in white to be seen on any picture; none of an empty or full one.

    Args:
        places: x of the mask's columns and y of its rows, where it has not the picture's pixels.
    """
    if mask.any() and not mask.all():
        lines = axes.contour(*places, mask, levels=[0.5], colors=colour, linewidths=1.4)
        lines.set_path_effects([withStroke(linewidth=2.8, foreground="white")])


def banded(axes: Axes, x: pd.Series, value: pd.Series, low: pd.Series, high: pd.Series, **line) -> None:
    """A line, and its interval as a band."""
    axes.fill_between(x, low, high, color=line["color"], alpha=0.14, lw=0)
    axes.plot(x, value, **line)


# Intervals ------------------------------------------------------------------------------------------------


def intervals(
    study: Study,
    marks: pd.DataFrame,
    xlabel: str,
    line: float | None = None,
    across: int = 2,
    sharex: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Values with their intervals, in a figure with a panel per word of `panel`, a line per word of `row`.

    Args:
        marks: `panel`, `row`, `value`, `ci_low`, `ci_high` and `colour`; where wanted `series`, whose marks
            stand side by side in a row, `marker` and `filled`.
        line: where a vertical line stands, in the middle of one scale for all panels if at 0.
        across: most panels in a row.
    """
    plain = {"series": "", "marker": "o", "filled": True}
    marks = marks.assign(**{name: value for name, value in plain.items() if name not in marks})
    names, rows, series = (list(dict.fromkeys(marks[name])) for name in ("panel", "row", "series"))
    places = dict(zip(series, np.linspace(-0.32, 0.32, len(series)) if len(series) > 1 else [0], strict=True))
    margin, alone, across = (2.2, 0.8), len(names) == 1, min(across, len(names))
    width = 6 if alone else (WIDTH - margin[0]) / across
    size = (width, 1.1 + max(0.34, 0.16 * (len(series) + 1)) * len(rows))
    figure, panels = panel_rows(study, len(names), across, margin, size, xlabel, sharex=sharex)
    limit = span(marks[["value", "ci_low", "ci_high"]].to_numpy(dtype=float))
    for panel, name in zip(panels, names, strict=True):
        row_axis(quiet(panel), rows if alone else [row.replace(" (", "\n(", 1) for row in rows])
        panel.tick_params(axis="y", labelsize=10 if alone else 9)
        panel.set_title(name)
        panel.xaxis.set_major_locator(MaxNLocator(6 if alone else 4))
        if line is not None:
            panel.axvline(line, color="0.25", lw=1, zorder=1)
        if line == 0:
            panel.set_xlim(-limit, limit)
        some = marks[marks["panel"] == name]
        for mark in some.to_dict("records"):
            draw_mark(panel, mark, rows.index(mark["row"]) + places[mark["series"]], small=not alone)
    return figure, panels


def row_axis(axes: Axes, rows: Sequence[str]) -> None:
    """A word per row, from the top down."""
    axes.set(ylim=(len(rows) - 0.4, -0.7), yticks=np.arange(len(rows)), yticklabels=rows)
    axes.tick_params(axis="y", length=0)


def draw_mark(axes: Axes, mark: Mapping, y: float, small: bool = False) -> None:
    """A value with its interval: the keys of `intervals`' marks.

    Args:
        small: for narrow panels, where a short interval would hide under its mark: its ends are upright.
    """
    colour, ends, size = mark["colour"], (mark["ci_low"], mark["ci_high"]), 4 if small else 6
    cap = {"marker": UPRIGHT, "ms": 8, "mew": 1} if small else {}
    axes.plot(ends, [y, y], color=colour, lw=size / 3, solid_capstyle="butt", zorder=3, **cap)
    face = colour if mark["filled"] else "white"
    axes.plot(mark["value"], y, mark["marker"], color=colour, mfc=face, mew=size / 4, ms=size, zorder=4)


def difference_mark(study: Study, row: Mapping, marker: str = "o") -> dict:
    """A difference as a mark: filled and in the colour of the source ahead, hollow where none is shown to be.

    That is asked after Holm's correction where the row is one of several.
    """
    lost = pd.notna(row.get("diverged")) or str(row.get("verdict", "")).startswith(NO_VERDICT)
    source = row["source_a"] if row["delta"] > 0 else row["source_b"]
    filled = is_shown(row, study.compare.alpha) and not lost and row["delta"] != 0
    colour = source_colours(study)[source] if filled else UNDECIDED
    return {**row, "value": row["delta"], "colour": colour, "filled": filled, "marker": marker}


def forest(
    study: Study,
    table: pd.DataFrame,
    title: str,
    what: str = "AUC",
    band: bool = False,
    hollow: str = "not shown after Holm's correction",
    word: str = "higher",
) -> Figure:
    """Differences with their intervals: a panel per pair on one scale, a row per word of `row`.

    Args:
        table: `row` (its label; those that begin with "mean" are diamonds, below a line),
            `source_a`, `source_b`, `delta`, `ci_low`, `ci_high`, and `p_holm` or `p_value` if there are some.
        what: the figure that is subtracted; band: whether to show the region of equivalence;
            hollow: what a hollow mark means; word: what is said of the source ahead.
    """
    records = table.assign(panel=table["source_a"] + " " + table["source_b"]).to_dict("records")
    of_means = [row["row"].startswith("mean") for row in records]
    marks = [
        difference_mark(study, r, "D" if mean else "o") for r, mean in zip(records, of_means, strict=True)
    ]
    figure, panels = intervals(study, pd.DataFrame(marks), "", line=0)
    rows = list(dict.fromkeys(table["row"]))
    pairs = table.groupby(["source_a", "source_b"], sort=False)
    for panel, (pair, some) in zip(panels, pairs, strict=True):
        difference_axis(panel, study, pair, what, word)
        if band:
            panel.axvspan(-study.compare.equivalence, study.compare.equivalence, color=BAND, lw=0, zorder=0)
        for row in some.to_dict("records"):
            write_beside(panel, rows.index(row["row"]), signed(row))
        if first := next((y for y, row in enumerate(rows) if row.startswith("mean")), 0):
            divide(panel, first)
    said = f"(hollow: {hollow}{'; band: too small to matter' if band else ''})"
    title = f"{title}: difference in {what} and {study.compare.confidence:.0%} interval\n{said}"
    legend_above(figure, (), title=title)
    return figure


def divide(axes: Axes, y: float) -> None:
    """A line above a row."""
    axes.axhline(y - 0.55, color="0.75", lw=0.8)


def write_beside(axes: Axes, y: float, text: str) -> None:
    """Right of the axes, small."""
    axes.text(1.01, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color="0.35")


def difference_axis(axes: Axes, study: Study, pair: tuple[str, str], what: str, word: str = "higher") -> None:
    """x is a difference, with the direction that favours each source, or each word; no title."""
    axes.set(title="", xlabel=f"difference in {what}")
    colours = source_colours(study)
    a, b = (source_title(study, source) for source in pair)
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 8, "va": "bottom"}
    above = 14 if len(a) + len(b) > ON_ONE_LINE else 3
    axes.annotate(f"← {b} {word}", (0, 1), (0, 3), ha="left", color=colours.get(pair[1], UNDECIDED), **place)
    axes.annotate(
        f"{a} {word} →", (1, 1), (0, above), ha="right", color=colours.get(pair[0], UNDECIDED), **place
    )


def span(values: ArrayLike) -> float:
    """Half width of a symmetric axis that shows all values."""
    return 1.08 * float(np.nanmax(np.abs(values))) + 1e-3


def of_pair(table: pd.DataFrame, pair: tuple[str, str], estimate: str | None = None) -> pd.DataFrame:
    """The rows of one pair, and of one estimate where it is given, in the order of the table."""
    some = table[(table["source_a"] == pair[0]) & (table["source_b"] == pair[1])]
    return some if estimate is None else some[some["estimate"] == estimate]


def signed(row: Mapping) -> str:
    """`+0.031 [+0.012, +0.050]`, with a true minus sign; `−0.000` is below 0, which an end should say."""
    return f"{row['delta']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]".replace("-", "−")
