"""Figure of the summary: our difference with its interval beside the published one."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.show.style import forest, of_pair, span
from radlib.study import Study
from radlib.study.titles import pair_title, task_title

NOT_SAME = "published, not the same data"
SAME = "published, same data"


def headline_figure(
    study: Study, table: pd.DataFrame, overall: pd.DataFrame, estimate: str = "grid_mean"
) -> Figure:
    """Headline pair: every task and their mean; published differences as open diamonds."""
    pair = tuple(study.compare.headline)
    some, mean = of_pair(table, pair, estimate), of_pair(overall, pair, estimate)
    names = [task_title(study, task) for task in some["task"]]
    rows = pd.concat([some.assign(row=names), mean.assign(row=f"mean over {len(some)} tasks")])
    tasks = [study.tasks[task] for task in some["task"]]
    same = {task.same_data_as_published for task in tasks if task.published_delta is not None}
    diamond = {"color": "none", "marker": "d", "mfc": "white", "mew": 1.3}
    handles = [
        Line2D([], [], mec=edge, label=label, **diamond)
        for is_same, edge, label in ((True, "black", SAME), (False, "0.5", NOT_SAME))
        if is_same in same
    ]
    figure = forest(study, rows, pair_title(study, pair), band=True, handles=handles)
    (panel,) = figure.axes
    for y, task in enumerate(tasks):
        if task.published_delta is not None:
            edge = "black" if task.same_data_as_published else "0.5"
            panel.plot(task.published_delta, y - 0.24, mec=edge, ms=7, zorder=5, **diamond)
    published = pd.Series([task.published_delta for task in tasks], dtype=float)
    limit = span(rows["ci_low"], rows["ci_high"], published)
    panel.set_xlim(-limit, limit)
    return figure
