"""What corpora hold of the tasks, as data."""

import pandas as pd

from radlib.show.findings import Finding, direction
from radlib.study import Study
from radlib.study.titles import pair_title, source_title, task_title

NO_CORPUS = "No source is pretrained here, so there is no corpus to look into."


def overlap_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Which corpus holds test images of which task, and each pair's difference without them."""
    found = []
    for (source, task), rows in table[table["n_found"] > 0].groupby(["source", "task"], sort=False):
        row = rows.iloc[0]
        title = f"Images of {task_title(study, task)} that lie in {source_title(study, source)}"
        counts = f"{row['n_found']:,} of {row['n_images']:,}, {row['n_tested_found']:,} of them tested"
        found.append(Finding(title, counts, where="09_confounds"))
        found += [_without(study, one) for _, one in rows.iterrows() if pd.notna(one["source_a"])]
    if len(table) and not found:
        found = [Finding("Images of a task that lie in a corpus", "none found", where="09_confounds")]
    return found


def _without(study: Study, row: pd.Series) -> Finding:
    pair = pair_title(study, (row["source_a"], row["source_b"]))
    subject = f"AUC, {pair}: {task_title(study, row['task'])} without them"
    if pd.notna(row["not_compared"]):
        return Finding(subject, f"none can be given: {row['not_compared']}", where="09_confounds")
    ends = row["ci_low_without"], row["ci_high_without"]
    return Finding(subject, direction(*ends), row["delta_without"], *ends, where="09_confounds")
