"""Figure of the summary: our difference with its interval beside the published one."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radlib.show.style import forest, legend_above, of_pair, span
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
    figure = forest(study, rows, pair_title(study, pair), band=True)
    panel, published = figure.axes[0], {}
    for y, task in enumerate(study.tasks[name] for name in some["task"]):
        if task.published_delta is not None:
            published[y] = task.published_delta
            edge = "black" if task.same_data_as_published else "0.5"
            panel.plot(published[y], y - 0.24, "d", mfc="white", mec=edge, mew=1.3, ms=7, zorder=5)
    limit = span(rows["ci_low"], rows["ci_high"], pd.Series(published))
    panel.set_xlim(-limit, limit)
    figure.set_size_inches(8.4, figure.get_size_inches()[1])
    same = {study.tasks[some["task"].iloc[y]].same_data_as_published for y in published}
    handles = [
        Line2D([], [], color="none", marker="d", mfc="white", mec=edge, mew=1.3, label=label)
        for is_same, edge, label in ((True, "black", SAME), (False, "0.5", NOT_SAME))
        if is_same in same
    ]
    if handles:
        legend_above(figure, handles)
    return figure
