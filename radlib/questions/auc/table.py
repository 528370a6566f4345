"""auc.csv and overall.csv: what their columns mean; they are read with a check that they are this study's."""

from dataclasses import replace

import pandas as pd

from radlib.errors import UserError
from radlib.show.table import (
    COUNT,
    COUNTS,
    HOLDS,
    IS_SIMULATED,
    P_VALUE,
    PAIR,
    RESAMPLES,
    RUNS,
    TASK,
    WORD,
    Column,
    Table,
    interval_columns,
)
from radlib.study import Study
from radlib.study.titles import ESTIMATES, ordered_pairs, source_title, task_title

ESTIMATE = Column(
    "estimate",
    "`grid_mean`: mean over the settings; `best_by_validation`: of the one chosen",
    "estimate",
    WORD,
    names=ESTIMATES,
)
SIDES = [
    Column("auc_a", "mean AUC after source a", "AUC a", ".3f"),
    Column("auc_b", "mean AUC after source b", "AUC b", ".3f"),
]
DELTA = interval_columns("delta", "AUC after source a minus AUC after source b", "difference")
P = Column("p_value", "two-sided, of no difference", "p", P_VALUE)
P_HOLM = Column("p_holm", "the same after Holm's correction over the tasks", "p (Holm)", P_VALUE)
EQUIVALENCE = [
    Column("equivalence", "half width of the region of equivalence"),
    Column("tost_low", "lower end of the interval that must lie within the region"),
    Column("tost_high", "its upper end"),
    Column("p_tost", "of two one-sided tests of equivalence"),
]
VERDICT = Column("verdict", "better, worse, equivalent or undecided, before a correction", "verdict", WORD)

AUC = Table(
    "auc.csv",
    "auc",
    "task, pair of sources and estimate",
    [
        TASK,
        replace(ESTIMATE, title=""),
        *PAIR,
        *SIDES,
        *DELTA,
        P,
        P_HOLM,
        *COUNTS,
        RUNS,
        RESAMPLES,
        IS_SIMULATED,
        Column("delong_ci_low", "lower end of DeLong's interval, clustered by patient"),
        Column("delong_ci_high", "its upper end"),
        Column("delong_p", "p by DeLong"),
        Column("sd_a", "SD over settings of the mean AUC after source a"),
        Column("sd_b", "the same after source b"),
        Column("setting_a", "which settings validation chose for source a"),
        Column("setting_b", "the same for source b"),
        HOLDS,
        *EQUIVALENCE,
        Column("p_tost_holm", "`p_tost` after Holm's correction over the tasks"),
        VERDICT,
        Column("verdict_holm", "the verdict after Holm's correction", "after Holm", WORD),
    ],
    index=2,
)

OVERALL = Table(
    "overall.csv",
    "auc",
    "pair of sources and estimate: the mean over tasks",
    [
        ESTIMATE,
        *PAIR,
        Column("n_tasks", "tasks averaged", "tasks", COUNT),
        *SIDES,
        *DELTA,
        P,
        *COUNTS,
        RUNS,
        RESAMPLES,
        IS_SIMULATED,
        HOLDS,
        *EQUIVALENCE,
        VERDICT,
    ],
    index=2,
)


def read_tables(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """auc.csv and overall.csv.

    Raises:
        UserError: a table is missing, or was written for other tasks, sources or data.
    """
    table, overall = AUC.read(study), OVERALL.read(study)
    pairs = set(zip(table["source_a"], table["source_b"], strict=True))
    if not (set(table["task"]) <= set(study.tasks) and pairs <= set(ordered_pairs(study))):
        raise UserError(
            f"{study.report_dir}/auc.csv holds tasks or pairs outside the study; run dvc repro auc"
        )
    if bool(table["simulated"].any()) != study.simulated:
        raise UserError(f"{study.report_dir}/auc.csv is of other data than the study's; run dvc repro auc")
    return table, overall


def of_estimate(table: pd.DataFrame, estimate: str) -> pd.DataFrame:
    return table[table["estimate"] == estimate]


def auc_of_sources(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Mean AUC by task and source, each from the pair in which it has most runs; fewer runs are said."""
    rows = []
    for row in of_estimate(table, "grid_mean").to_dict("records"):
        rows += [(row["task"], row[f"source_{s}"], row["n_runs"], row[f"auc_{s}"]) for s in "ab"]
    long = pd.DataFrame(rows, columns=["task", "source", "runs", "auc"])
    long = long.sort_values("runs", kind="stable").drop_duplicates(["task", "source"], keep="last")
    most = long.groupby("task")["runs"].transform("max")
    few = [f" ({n} runs)" if n < m else "" for n, m in zip(long["runs"], most, strict=True)]
    long["auc"] = long["auc"].map("{:.3f}".format) + few
    wide = long.pivot(index="task", columns="source", values="auc").fillna("")
    wide = wide.reindex(
        index=[t for t in study.tasks if t in wide.index], columns=[s for s in study.sources if s in wide]
    )
    wide = wide.rename(index=lambda t: task_title(study, t), columns=lambda s: source_title(study, s))
    return wide.rename_axis(index="task", columns="mean AUC after")
