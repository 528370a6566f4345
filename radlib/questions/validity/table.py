"""validity.csv: what its columns mean."""

from radlib.show.table import COUNT, WORD, Column, Table, interval_columns
from radlib.stats.rivals import METHODS

VALIDITY = Table(
    "validity.csv",
    "validity",
    "kind of simulated study, true difference, method and truth",
    [
        Column("measure", "AUC or Dice", "figure", WORD, names={"auc": "AUC", "dice": "Dice"}),
        Column("positive", "positive patients; of Dice, all", "positive", COUNT),
        Column("negative", "negative patients", "negative", COUNT),
        Column("level", "true figure of b", "level", "g"),
        Column("folds", "folds", "folds", COUNT),
        Column("settings", "settings of each source"),
        Column("seeds", "trainings of each setting", "seeds", COUNT),
        Column("luck", "SD that a training adds to the level", "SD of training", "g"),
        Column("true_delta", "the true difference", "true difference", "g"),
        Column("method", "how the interval was made", "method", WORD, names=METHODS),
        Column("truth", "of these trainings, or of any training", "of", WORD),
        Column("studies", "simulated studies"),
        *interval_columns(
            "coverage",
            "share of intervals that cover the true value",
            "coverage",
            ".1%",
            low="coverage_low",
            high="coverage_high",
        ),
        Column(
            "verdict", "coverage against what it should be, given the simulation's error", "verdict", WORD
        ),
        *interval_columns(
            "rejected",
            "share of intervals that exclude 0",
            "excludes 0",
            ".1%",
            low="rejected_low",
            high="rejected_high",
        ),
        Column("width", "mean width", "width", ".3f"),
        Column("confidence", "of the intervals"),
        Column("resamples", "bootstrap resamples of each study"),
    ],
    index=3,
)
