"""Figure of 09_confounds: what preprocessing and metric do to a difference."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from radlib.questions.confounds.compute import CELLS, CHANGE, DIFFERENCE, EVERY_TASK, METRICS, PREPROCESSINGS
from radlib.show.style import COLOURS, mark_simulated, panel_rows, quiet, span
from radlib.study import Study
from radlib.study.titles import pair_title, task_title

MARKERS = dict(zip(PREPROCESSINGS, "os^", strict=True))
COLOUR_OF = dict(zip(METRICS, COLOURS, strict=False))
PUBLISHED = "--"


def cells_figure(study: Study, table: pd.DataFrame, what: str) -> Figure:
    """`what` of every cell with its interval, one panel per pair, a row per task; dashed: published gains.

    Args:
        table: `confounds.csv`; what: `difference` or `change`.
    """
    table = table[table["what"] == what]
    pairs = list(dict.fromkeys(zip(table["source_a"], table["source_b"], strict=True)))
    tasks = list(dict.fromkeys(table["task"].sort_values(key=lambda t: t == EVERY_TASK, kind="stable")))
    figure, panels, _, _ = panel_rows(len(pairs), 2, (2.2, 0.8), (4.2, 1.1 + 0.95 * len(tasks)))
    for panel, pair in zip(panels, pairs, strict=True):
        some = table[(table["source_a"] == pair[0]) & (table["source_b"] == pair[1])]
        _pair_panel(quiet(panel), some, tasks)
        panel.set_title(pair_title(study, pair), fontsize=10)
        panel.set_xlabel("difference in AUC" if what == DIFFERENCE else "change of the difference in AUC")
        panel.xaxis.set_major_locator(MaxNLocator(5))
    names = [
        "mean over tasks\nwith a published gain" if t == EVERY_TASK else task_title(study, t) for t in tasks
    ]
    panels[0].set_yticks(range(len(tasks)), names)
    figure.legend(
        handles=_legend(table), loc="outside upper center", ncols=2, frameon=False, fontsize=8,
        title=f"{'What each cell changes' if what == CHANGE else 'Difference of sources'}, with "
        f"{study.compare.confidence:.0%} interval over patients", title_fontsize=10,
    )  # fmt: skip
    mark_simulated(figure, study)
    return figure


def _pair_panel(panel: Axes, rows: pd.DataFrame, tasks: list[str]) -> None:
    shown = set(zip(rows["preprocessing"], rows["metric"], strict=True))
    cells = [cell for cell in CELLS if cell in shown]
    places = dict(zip(cells, np.linspace(-0.34, 0.34, len(cells)), strict=True))
    panel.axvline(0, color="0.25", lw=1, zorder=1)
    for row in rows.itertuples():
        y = tasks.index(row.task) + places[row.preprocessing, row.metric]
        colour = COLOUR_OF[row.metric]
        panel.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.6, solid_capstyle="butt")
        panel.plot(row.delta, y, MARKERS[row.preprocessing], color=colour, ms=5, zorder=4)
    published = rows.drop_duplicates("task").dropna(subset="published")
    for row in published.itertuples():
        y = tasks.index(row.task)
        panel.plot([row.published] * 2, [y - 0.45, y + 0.45], PUBLISHED, color="black", lw=1.2, zorder=2)
    for line in range(1, len(tasks)):
        panel.axhline(line - 0.5, color="0.85", lw=0.8)
    limit = span(rows["ci_low"], rows["ci_high"], published["published"])
    panel.set(xlim=(-limit, limit), ylim=(len(tasks) - 0.5, -0.5))
    panel.tick_params(axis="y", length=0)


def _legend(table: pd.DataFrame) -> list[Line2D]:
    shown = [name for name in PREPROCESSINGS if (table["preprocessing"] == name).any()]
    handles = [
        Line2D([], [], color="0.35", marker=MARKERS[name], lw=1.6, ms=5, label=PREPROCESSINGS[name])
        for name in shown
    ]
    handles += [Line2D([], [], color=COLOUR_OF[name], lw=3, label=METRICS[name]) for name in METRICS]
    published = Line2D([], [], color="black", ls=PUBLISHED, lw=1.2, label="published gain (other sources)")
    return [*handles, published]
