"""calibration.csv: what its columns mean."""

from radlib.show.table import (
    COUNT,
    HIDDEN_COUNTS,
    IS_SIMULATED,
    RESAMPLES,
    SOURCE_NAME,
    TASK,
    WORD,
    Column,
    Table,
    interval_columns,
)

FIGURE_TITLES = {
    "brier": "Brier score",
    "ece": "expected calibration error",
    "balanced_accuracy": "balanced accuracy at the validation threshold",
}
CALIBRATION = Table(
    "calibration.csv",
    "beyond",
    "figure, task and source, or pair of sources",
    [
        TASK,
        Column(
            "figure",
            "Brier score, expected calibration error or balanced accuracy",
            "figure",
            WORD,
            names=FIGURE_TITLES,
        ),
        Column("source", "the source", "source", SOURCE_NAME),
        Column("against", "the source whose figure is subtracted, if any", "minus", SOURCE_NAME),
        *interval_columns("value", "the figure, or its difference", "value", ".3f"),
        Column("reference", "what chance gives", "by chance", ".3f"),
        Column("bins", "of equal numbers", "bins", COUNT),
        Column("n_runs", "runs", "runs", COUNT),
        *HIDDEN_COUNTS,
        RESAMPLES,
        IS_SIMULATED,
    ],
    index=3,
)
