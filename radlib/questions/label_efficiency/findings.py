"""What 10_label_efficiency found, as data."""

import numpy as np
import pandas as pd

from radlib.questions.label_efficiency.compute import is_shown
from radlib.show.findings import NOT_SHOWN, Finding, direction
from radlib.study import Study
from radlib.study.titles import pair_title, source_title, task_title

NO_TASKS = "This study names no task in `label_efficiency.tasks`, so there is nothing to train and no curve."


def efficiency_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """The headline pair, task by task: from which size on nothing is shown, and whom few patients favour."""
    pair = tuple(study.compare.headline)
    mine = table[(table["source_a"] == pair[0]) & (table["source_b"] == pair[1])]
    found = []
    for task, rows in mine.groupby("task", sort=False):
        rows = rows.sort_values("fraction")
        title = f"AUC, {pair_title(study, pair)}: {task_title(study, task)}"
        last, first = rows.iloc[-1], rows.iloc[0]
        sizes = f"{last['n_train_patients']:,} training patients"
        found.append(_finding(f"{title}, {sizes}", _from(study, rows), last, ("delta", "ci_low", "ci_high")))
        if pd.notna(first["excess"]):
            shown = first["excess_p_holm"] < 1 - study.compare.confidence
            word = direction(first["excess_low"], first["excess_high"]) if shown else NOT_SHOWN
            ends = ("excess", "excess_low", "excess_high")
            found.append(_finding(f"{title}, fewest minus most patients", word, first, ends))
    return found


def from_size(rows: pd.DataFrame, holds: pd.Series) -> int | None:
    """The smallest number of training patients from which on all rows hold; None where the largest does not.

    Args:
        rows: of one task and pair, fractions ascending; holds: bool, one per row.
    """
    size = None
    for patients, ok in zip(rows["n_train_patients"][::-1], holds[::-1], strict=True):
        if not ok:
            break
        size = int(patients)
    return size


def _from(study: Study, rows: pd.DataFrame) -> str:
    """After Holm's correction: from which size on a difference is shown or none, and equivalence."""
    shown, last = is_shown(study, rows), rows.iloc[-1]
    size = from_size(rows, ~shown)
    if size is None:
        same = shown & (np.sign(rows["delta"]) == np.sign(last["delta"]))
        ahead = source_title(study, last["source_a" if last["delta"] > 0 else "source_b"])
        return f"{ahead} is ahead from {from_size(rows, same)} training patients on"
    margin = study.compare.equivalence
    within = (rows["ci_low"] >= -margin) & (rows["ci_high"] <= margin)
    equal = from_size(rows, within & (rows["p_tost_holm"] < 1 - study.compare.confidence))
    word = f"{NOT_SHOWN} from {size} training patients on"
    return f"{word}, equivalence from {equal} on" if equal else f"{word}, and no equivalence"


def _finding(subject: str, word: str, row: pd.Series, names: tuple[str, str, str]) -> Finding:
    return Finding(subject, word, *(row[name] for name in names), where="10_label_efficiency")
