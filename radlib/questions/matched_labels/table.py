"""matched_labels.csv: what its columns mean."""

from radlib.show.table import (
    COUNTS,
    IS_SIMULATED,
    P_VALUE,
    PAIR,
    RESAMPLES,
    RUNS,
    TASK,
    Column,
    Table,
    interval_columns,
)

SHARE = ["share", "share_low", "share_high"]
MATCHED = Table(
    "matched_labels.csv",
    "matched_labels",
    "task, or mean over tasks, and pair of sources",
    [
        TASK,
        *PAIR,
        Column("auc_a", "mean AUC after source a", "AUC a", ".3f"),
        Column("auc_b", "mean AUC after source b", "AUC b", ".3f"),
        *interval_columns("delta", "AUC after source a minus source b", "difference"),
        Column("p_value", "two-sided, of no difference", "p", P_VALUE),
        Column("p_holm", "after Holm's correction over the tasks", "p (Holm)", P_VALUE),
        *interval_columns(
            "share",
            "share of the first pair's difference that is left",
            "share left",
            ".0%",
            low=SHARE[1],
            high=SHARE[2],
        ),
        Column("n_tasks", "tasks averaged"),
        *COUNTS,
        RUNS,
        RESAMPLES,
        IS_SIMULATED,
    ],
    index=2,
)
