"""How many labelled patients are weights worth? (14_label_efficiency)

The learning curves read sideways: the number of training patients at which source b reaches the AUC that
source a has with n patients, both curves made to rise. Nothing is extrapolated beyond the sizes that were
trained.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from radlib.questions.verdicts import UNDECIDED, estimate_columns
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import Finding, finding_of, over
from radlib.show.table import Column, Table, interval_columns
from radlib.stats.curves import FEWER, patients_to_reach, rising, within
from radlib.stats.estimate import Estimate
from radlib.study import Study
from radlib.study.titles import source_title

DRAWN = "patients tested and drawn"  # resampled
NEEDED = ("needed", "needed_low", "needed_high")
WORTH = Table(
    "labels_worth.csv",
    "label_efficiency",
    "task, pair of sources and size",
    [
        common.TASK,
        *common.PAIR,
        Column("n_train_patients", "training patients of source a", "patients with a", common.COUNT),
        Column("auc_a", "mean AUC of source a with them, the curve made to rise"),
        *interval_columns(
            NEEDED,
            "training patients with which source b has it; 0: below `smallest`, inf: above `largest`",
            "patients with b for that AUC",
            common.COUNT,
        ),
        Column("smallest", "fewest patients that were trained on"),
        Column("largest", "most patients that were trained on"),
        common.COUNTED,
        *common.ORIGIN,
    ],
    index=3,
)


def worth_rows(
    study: Study, sizes: Sequence[int], a: Sequence[Estimate], b: Sequence[Estimate], degrees: float
) -> list[dict]:
    """Of one pair: for every size, how many patients b needs for the AUC of a.

    Args:
        sizes: training patients, ascending; a, b: the curves; degrees: of freedom.
    """
    rows = []
    for size, target in zip(sizes, rising(a), strict=True):
        found = replace(patients_to_reach(sizes, b, target), degrees=degrees)
        row = {name: within(number, sizes) for name, number in estimate_columns(study, found, NEEDED).items()}
        about = {"n_train_patients": size, "auc_a": target.value, "smallest": sizes[0], "largest": sizes[-1]}
        rows.append(about | row)
    return rows


def in_words(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `fewer than 12` and `more than 240` for what was not reached within the data."""
    words = {name: [_word(row[name], row) for row in table.to_dict("records")] for name in NEEDED}
    return table.assign(**words)


def _word(number: float, row: dict) -> str:
    if number == FEWER:
        return f"fewer than {row['smallest']:,.0f}"
    return f"more than {row['largest']:,.0f}" if np.isinf(number) else f"{number:,.0f}"


def worth_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """The headline pair by task, always at the largest size, whichever source is ahead there."""
    found, pair = [], study.compare.headline
    a, b = (source_title(study, source) for source in pair)
    for _, rows in style.of_pair(table, pair).groupby("task", sort=False):
        row = rows.sort_values("n_train_patients").iloc[-1].to_dict()
        n = row["n_train_patients"]
        more, fewer = row["needed_low"] > n, row["needed_high"] < n
        word = f"{a if more else b} is worth labelled patients" if more or fewer else UNDECIDED
        subject = (
            f"Patients with {b} for the AUC of {n:,} with {a}: {common.titled(study, row)} {over(row, DRAWN)}"
        )
        words = {name: _word(row[name], row) for name in NEEDED}
        found.append(finding_of(row | words, subject, word, NEEDED, ""))
    return found
