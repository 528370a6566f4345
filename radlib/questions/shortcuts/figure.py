"""Figure of 09_confounds: what can be had without looking at the content."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from radlib.questions.shortcuts.compute import GROUPS, Shortcuts
from radlib.questions.shortcuts.table import TITLES
from radlib.show.style import mark_simulated, panel_rows, quiet, source_colours
from radlib.study import Study
from radlib.study.titles import source_title, task_title

SHORTCUT = "#6E6E6E"


def shortcuts_figure(study: Study, found: Shortcuts) -> Figure:
    """AUC of the shortcut classifier by set of features, above the sources' AUC, one panel per task."""
    tasks = list(dict.fromkeys(found.table["task"]))
    colours = source_colours(study)
    sources = [source for source in study.sources if source in set(found.sources["source"])]
    names = [*(TITLES[group] for group in GROUPS), *(source_title(study, s) for s in sources)]
    figure, panels, lowest, _ = panel_rows(
        len(tasks), 3, (1.9, 0.4), (2.9, 0.9 + 0.25 * len(names)), sharex=True
    )
    for panel, task in zip(panels, tasks, strict=True):
        quiet(panel).axvline(0.5, color="0.6", lw=0.8, ls=":")
        shortcuts = found.table[found.table["task"] == task].set_index("features")
        networks = found.sources[found.sources["task"] == task].set_index("source")
        for y, group in enumerate(GROUPS):
            _auc(panel, shortcuts.loc[group], y, SHORTCUT, "s")
        for y, source in enumerate(sources, len(GROUPS)):
            if source in networks.index:
                _auc(panel, networks.loc[source], y, colours[source], "o")
        panel.axhline(len(GROUPS) - 0.5, color="0.75", lw=0.8)
        panel.set_title(task_title(study, task), fontsize=10)
        panel.tick_params(axis="y", labelsize=8)
    for panel in lowest:
        panel.set_xlabel("test AUC")
    panels[0].set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)))
    panels[0].set_yticklabels(names)
    figure.suptitle(
        f"AUC without looking (squares) and of the sources (mean over their runs), "
        f"{study.compare.confidence:.0%} intervals over patients", fontsize=10,
    )  # fmt: skip
    mark_simulated(figure, study)
    return figure


def _auc(panel: Axes, row: pd.Series, y: float, colour: str, marker: str) -> None:
    panel.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, lw=1.8, solid_capstyle="butt")
    panel.plot(row["auc"], y, marker, color=colour, ms=5, zorder=4)
