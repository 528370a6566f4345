"""confounds.csv: what its columns mean."""

from radlib.show.table import (
    HIDDEN_COUNTS,
    IS_SIMULATED,
    PAIR,
    RESAMPLES,
    RUNS,
    TASK,
    WORD,
    Column,
    Table,
    interval_columns,
)

CONFOUNDS = Table(
    "confounds.csv",
    "confounds",
    "task, pair of sources and cell of preprocessing x metric",
    [
        TASK,
        *PAIR,
        Column("what", "the difference in a cell, or its change against the first cell"),
        Column(
            "preprocessing", "each weights' own, shared, or shown to source b alone", "preprocessing", WORD
        ),
        Column(
            "metric",
            "ROC AUC of the positive class, or micro-averaged over both columns",
            "AUC",
            WORD,
            names={"roc": "ROC", "flattened": "micro-averaged"},
        ),
        *interval_columns("a", "source a", "a", ".3f", low="a_low", high="a_high"),
        *interval_columns("b", "source b", "b", ".3f", low="b_low", high="b_high"),
        *interval_columns("delta", "source a minus source b", "a − b"),
        Column("p_value", "two-sided, of 0"),
        Column("published", "the published gain of the task", "published gain", "+.3f"),
        *interval_columns(
            "share",
            "the change as a part of the published gain",
            "part of it",
            "+.0%",
            low="share_low",
            high="share_high",
        ),
        Column("n_tasks", "tasks averaged"),
        *HIDDEN_COUNTS,
        Column(RUNS.name, RUNS.meaning),
        RESAMPLES,
        IS_SIMULATED,
    ],
    index=4,
)
