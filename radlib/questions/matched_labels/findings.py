"""What 12_matched_labels found, as data."""

import pandas as pd

from radlib.questions.matched_labels.compute import ALL_TASKS
from radlib.questions.matched_labels.table import SHARE
from radlib.show.findings import Finding, direction
from radlib.show.table import number
from radlib.study import Study
from radlib.study.titles import pair_title

NO_SOURCES = (
    "This study names no sources in `matched_labels`: it holds no corpus under two labellings, so there is "
    "nothing to compare here."
)


def matched_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Each pair over all tasks, and which share of the first one's difference is left."""
    found = []
    for _, row in table[table["task"] == ALL_TASKS].iterrows():
        verdict = direction(row["ci_low"], row["ci_high"])
        if pd.notna(row["share"]):
            share, low, high = (number(row[name], ".0%") for name in SHARE)
            verdict += f"; {share} ({low} to {high}) of the first difference is left"
        subject = f"AUC, {pair_title(study, (row['source_a'], row['source_b']))}: mean over tasks"
        found.append(Finding(subject, verdict, row["delta"], row["ci_low"], row["ci_high"],
                             where="12_matched_labels"))  # fmt: skip
    return found
