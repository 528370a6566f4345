"""ranks.csv and improvement.csv: what their columns mean."""

from radlib.show.table import (
    COUNT,
    COUNTS,
    HOLDS,
    IS_SIMULATED,
    PAIR,
    RESAMPLES,
    SOURCE_NAME,
    TASK,
    Column,
    Table,
    interval_columns,
)

RANKS = Table(
    "ranks.csv",
    "beyond",
    "task, group of sources, source and place",
    [
        TASK,
        Column("backbones", "that all sources of the group have"),
        Column("source", "the source", "source", SOURCE_NAME),
        Column("auc", "mean over the runs that the group has in common", "AUC", ".3f"),
        Column("rank", "place in the data", "place in the data", "g"),
        Column("place", "a place", "place", COUNT),
        Column(
            "share",
            "rank frequency: share of resamples in which the source takes it",
            "rank frequency",
            ".1%",
        ),
        Column("n_sources", "sources of the group"),
        Column("n_runs", "runs of each source"),
        Column("n_patients", "tested patients"),
        RESAMPLES,
        Column("resampled", "what was resampled"),
        IS_SIMULATED,
    ],
    index=2,
)

IMPROVEMENT = Table(
    "improvement.csv",
    "beyond",
    "task and pair of sources",
    [
        TASK,
        *PAIR,
        *interval_columns("improvement", "share of pairs of runs that source a wins", "a wins", ".3f"),
        Column("n_pairs", "pairs of runs of one setting, fold and seed", "pairs of runs", COUNT),
        COUNTS[0],
        RESAMPLES,
        HOLDS,
        IS_SIMULATED,
    ],
    index=2,
)
