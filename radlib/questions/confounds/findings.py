"""What 09_confounds found about preprocessing and metric, as data."""

import pandas as pd

from radlib.questions.confounds.compute import CHANGE, EVERY_TASK, FLATTENED, OWN, ROC, SHARED
from radlib.show.findings import Finding, direction
from radlib.show.table import number
from radlib.study import Study
from radlib.study.titles import pair_title, task_title

NOTHING_ASKED = "`confounds.tasks` names no task, so preprocessing and metric are not crossed in this study."
CHOICES = {
    (SHARED, ROC): "one preprocessing for all",
    (OWN, FLATTENED): "micro-averaged AUC",
    (SHARED, FLATTENED): "both",
}


def confounds_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """What each published choice changes, by pair: over all tasks with a published gain, else by task."""
    found = []
    for pair, rows in table[table["what"] == CHANGE].groupby(["source_a", "source_b"], sort=False):
        over = rows[rows["task"] == EVERY_TASK]
        for row in (over if len(over) else rows).to_dict("records"):
            choice = CHOICES.get((row["preprocessing"], row["metric"]))
            if choice:
                subject = f"Change of the difference in AUC, {pair_title(study, pair)}, by {choice}"
                found.append(_finding(f"{subject}: {task_title(study, row['task'])}", row))
    return found


def _finding(subject: str, row: dict) -> Finding:
    verdict = direction(row["ci_low"], row["ci_high"]).replace("difference", "change")
    if pd.notna(row["share"]):
        share, low, high = (number(row[name], "+.0%") for name in ("share", "share_low", "share_high"))
        verdict += f"; {share} ({low} to {high}) of the published gain"
    return Finding(subject, verdict, row["delta"], row["ci_low"], row["ci_high"], where="09_confounds")
