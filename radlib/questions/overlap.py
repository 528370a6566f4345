"""Which corpus held images of a task, until 01_data took them out by `radlib.data.overlap`? (10_confounds)"""

import pandas as pd

from radlib.data.overlap import IMAGE_OF
from radlib.questions.patients import audit_of
from radlib.show import table as common
from radlib.show.findings import Finding
from radlib.show.table import COUNT, Column, Table
from radlib.study import Study
from radlib.study.titles import source_title, task_title

OVERLAP = Table(
    "overlap.csv",
    "confounds",
    "corpus and task",
    [
        Column("source", "the corpus", "corpus", source_title),
        common.TASK,
        Column("n_left_out", "images that the corpus lost, for they are of the task", "left out", COUNT),
        common.IS_SIMULATED,
    ],
    index=2,
)


def overlap_table(study: Study) -> pd.DataFrame:
    """A row (`OVERLAP`) per corpus and task, from what the corpora's preparation noted; variants left out."""
    rows = []
    for corpus in study.corpora:
        noted = audit_of(study, corpus)["reasons"]
        for task in (name for name, one in study.tasks.items() if one.variant_of is None):
            rows.append({"source": corpus, "task": task, "n_left_out": noted.get(IMAGE_OF.format(task), 0)})
    return OVERLAP.frame(rows, study)


def overlap_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """How many images of which task each corpus lost before pretraining."""
    found = [
        Finding(
            f"Images of {task_title(study, row['task'])} left out of {source_title(study, row['source'])}",
            f"{row['n_left_out']:,}, before pretraining",
            csv=row.get("csv", ""),
        )
        for row in table[table["n_left_out"] > 0].to_dict("records")
    ]
    total = table.groupby("source", sort=False)["n_left_out"].sum()
    clean = [source_title(study, source) for source in total[total == 0].index]
    return [*found, *(Finding(f"Images of any task in {title}", "none found") for title in clean)]
