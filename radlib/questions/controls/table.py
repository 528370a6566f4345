"""controls.csv: what its columns mean."""

from radlib.show.table import (
    COUNT,
    IS_SIMULATED,
    PAIR,
    RESAMPLES,
    RUNS,
    WORD,
    Column,
    Table,
    interval_columns,
)

RANDOM_WEIGHTS, PERMUTED_LABELS, OWN_CLASSES = "random_weights", "permuted_labels", "own_classes"
TITLES = {
    RANDOM_WEIGHTS: "random weights twice",
    PERMUTED_LABELS: "permuted labels",
    OWN_CLASSES: "own classes",
}
CONTROLS = Table(
    "controls.csv",
    "controls",
    "control and figure",
    [
        Column(
            "control", "random weights twice, permuted labels, or own classes", "control", WORD, names=TITLES
        ),
        Column("task", "name of the task or corpus that is tested"),
        *PAIR,
        Column(
            "measure",
            "AUC, or a difference of AUC",
            "figure",
            WORD,
            names={"auc": "AUC", "delta": "difference in AUC"},
        ),
        *interval_columns("value", "the figure", "value", ".3f"),
        Column("confidence", "of the interval", "confidence", ".2%"),
        Column("expected", "what the interval must do", "the interval", WORD),
        Column("passed", "whether it does", "passed", WORD, names={True: "yes", False: "NO"}),
        Column("auc_a", "mean AUC of side a", "AUC a", ".3f"),
        Column("auc_b", "of side b", "AUC b", ".3f"),
        Column("n_patients", "tested patients", "patients", COUNT),
        RUNS,
        RESAMPLES,
        IS_SIMULATED,
    ],
    index=2,
)
