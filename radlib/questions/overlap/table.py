"""overlap.csv: what its columns mean."""

from radlib.show.table import (
    COUNT,
    IS_SIMULATED,
    PAIR,
    RESAMPLES,
    SOURCE_NAME,
    TASK,
    WORD,
    Column,
    Table,
    interval_columns,
)

OVERLAP = Table(
    "overlap.csv",
    "confounds",
    "corpus and task, and pair of sources where test images were found",
    [
        Column("source", "the corpus", "corpus", SOURCE_NAME),
        TASK,
        Column("n_images", "images of the task", "images of the task", COUNT),
        Column("n_found", "of them found in the corpus", "found in the corpus", COUNT),
        Column("n_found_training", "of them in its training part", "in its training part", COUNT),
        Column("n_tested", "test images"),
        Column("n_tested_found", "of them found in the corpus", "found and tested", COUNT),
        *PAIR,
        *interval_columns("delta", "AUC after source a minus source b", "a − b"),
        *interval_columns(
            "delta_without",
            "the same without the images found",
            "without the found",
            low="ci_low_without",
            high="ci_high_without",
        ),
        Column("n_patients_without", "patients left"),
        Column("n_images_without", "images left"),
        Column("n_positive_without", "positive images left"),
        Column("not_compared", "why there is no difference without them", "not compared", WORD),
        Column("interval_holds", "what was resampled"),
        RESAMPLES,
        IS_SIMULATED,
    ],
    index=2,
)
