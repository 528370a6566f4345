"""What 09_confounds found about shortcuts, as data."""

import pandas as pd

from radlib.questions.shortcuts.table import EVERYTHING
from radlib.show.findings import HIGHER, LOWER, NOT_SHOWN, Finding, direction
from radlib.study import Study
from radlib.study.titles import source_title, task_title

_WORDS = {HIGHER: "has more", LOWER: "has less", NOT_SHOWN: "is not shown to have more"}


def shortcuts_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Task by task: what can be had without looking, and whether the best source is shown to have more."""
    found = []
    for row in table[table["features"] == EVERYTHING].itertuples():
        best = f"{source_title(study, row.best_source)} ({row.auc_best_source:.3f})"
        verdict = f"the best source, {best}, {_WORDS[direction(row.delta_low, row.delta_high)]}"
        subject = f"AUC of a classifier that never looks: {task_title(study, row.task)}"
        found.append(Finding(subject, verdict, row.auc, row.ci_low, row.ci_high, ".3f", "09_confounds"))
    return found
