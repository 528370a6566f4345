"""shortcuts.csv: what its columns mean, and what the classifier that never looks is given."""

from radlib.show.table import (
    COUNTS,
    IS_SIMULATED,
    RESAMPLES,
    SOURCE_NAME,
    TASK,
    WORD,
    Column,
    Table,
    interval_columns,
)

EVERYTHING = "everything"
TITLES = {
    "size": "only image size",
    "aspect": "only aspect ratio",
    "mean": "only mean brightness",
    "contrast": "only contrast (SD)",
    "border": "only the border",
    EVERYTHING: "all of these",
}
SHORTCUTS = Table(
    "shortcuts.csv",
    "confounds",
    "task and set of features",
    [
        TASK,
        Column("features", "what the classifier sees", "sees only", WORD, names=TITLES),
        Column("n_features", "how many numbers that is"),
        *interval_columns("auc", "of the classifier", "AUC", ".3f"),
        Column("best_source", "the source that validation likes best", "best source", SOURCE_NAME),
        Column("auc_best_source", "its AUC", "its AUC", ".3f"),
        *interval_columns(
            "delta", "its AUC minus that of the classifier", "it has more", low="delta_low", high="delta_high"
        ),
        *COUNTS[:2],
        Column("n_positive", "positive test images"),
        RESAMPLES,
        IS_SIMULATED,
    ],
    index=2,
)
