"""What 10_label_efficiency found, as data."""

import pandas as pd

from radlib.questions.label_efficiency.compute import is_shown
from radlib.show.findings import NOT_SHOWN, Finding, direction
from radlib.study import Study
from radlib.study.titles import counted, pair_title, task_title

NO_TASKS = "This study names no task in `label_efficiency.tasks`, so there is nothing to train and no curve."


def efficiency_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """The headline at the smallest and the largest size of every task, and the difference of the two."""
    pair = tuple(study.compare.headline)
    mine = table[(table["source_a"] == pair[0]) & (table["source_b"] == pair[1])]
    mine = mine.assign(shown=is_shown(study, mine))
    found = []
    for task, rows in mine.groupby("task", sort=False):
        rows = rows.sort_values("fraction")
        title = f"AUC, {pair_title(study, pair)}: {task_title(study, task)}"
        for _, row in rows.iloc[[0, -1]].iterrows():
            word = direction(row["ci_low"], row["ci_high"]) if row["shown"] else NOT_SHOWN
            size = counted(row["n_train_patients"], "training patient")
            found.append(_finding(f"{title}, {size}", word, row, ("delta", "ci_low", "ci_high")))
        first = rows.iloc[0]
        shown = first["excess_p_holm"] < 1 - study.compare.confidence
        word = direction(first["excess_low"], first["excess_high"]) if shown else NOT_SHOWN
        ends = ("excess", "excess_low", "excess_high")
        found.append(_finding(f"{title}, fewest minus most patients", word, first, ends))
    return found


def _finding(subject: str, word: str, row: pd.Series, names: tuple[str, str, str]) -> Finding:
    return Finding(subject, word, *(row[name] for name in names), where="10_label_efficiency")
