"""What 13_beyond_the_mean found about calibration, as data."""

import pandas as pd

from radlib.questions.calibration.table import FIGURE_TITLES
from radlib.questions.ranking.compute import MEAN
from radlib.show.findings import Finding, direction
from radlib.study import Study
from radlib.study.titles import pair_title

WHERE = "13_beyond_the_mean"
WORSE = {"brier": "higher", "ece": "higher", "balanced_accuracy": "lower"}


def calibration_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """The headline difference of every figure, mean over tasks; and whether scores err beyond chance."""
    pair = pair_title(study, tuple(study.compare.headline))
    found = []
    for row in table[table["task"] == MEAN].itertuples():
        word = direction(row.ci_low, row.ci_high)
        if word in ("higher", "lower"):
            word += ", which is worse" if word == WORSE[row.figure] else ", which is better"
        title = f"{FIGURE_TITLES[row.figure]}, {pair}: mean over tasks"
        found.append(
            Finding(title[0].upper() + title[1:], word, row.value, row.ci_low, row.ci_high, where=WHERE)
        )
    rows = table[(table["figure"] == "ece") & table["against"].isna()]
    beyond = int((rows["ci_low"] > rows["reference"]).sum())
    return [*found, Finding("Calibration error above what chance gives",
                            f"in {beyond} of {len(rows)} cases of a source and task")]  # fmt: skip
