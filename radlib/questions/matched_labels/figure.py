"""Figure of 12_matched_labels."""

import pandas as pd
from matplotlib.figure import Figure

from radlib.show.style import forest
from radlib.study import Study
from radlib.study.titles import task_title


def matched_figure(study: Study, table: pd.DataFrame) -> Figure:
    """Differences with their intervals, a panel per pair.

    Args:
        study: of the matched sources; table: `matched_labels.csv`.
    """
    table = table.assign(row=[task_title(study, task) for task in table["task"]])
    return forest(study, table, "Matched labels", band=True)
