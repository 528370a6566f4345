"""dice.csv and resize.csv: what their columns mean."""

from radlib.show.table import (
    COUNTS,
    HOLDS,
    IS_SIMULATED,
    P_VALUE,
    PAIR,
    RESAMPLES,
    RUNS,
    SOURCE_NAME,
    TASK,
    WORD,
    Column,
    Table,
    interval_columns,
)

METRICS = {
    "dice": "Dice",
    "iou": "IoU",
    "average_precision": "pixel average precision",
    "energy_inside": "energy inside the mask",
    "pointing_hit": "maximum inside the mask",
    "hausdorff95": "95% Hausdorff distance (px)",
}
METHODS = {"localisation": "class-activation maps", "segmentation": "U-Nets"}
METHOD = Column(
    "method", "`localisation`: class-activation maps; `segmentation`: U-Nets", "by", WORD, names=METHODS
)
METRIC = Column("metric", "the figure, mean over test images with a mask", "figure", WORD, names=METRICS)
_DELTA, _LOW, _HIGH = interval_columns("delta", "mean after source a minus mean after source b", "difference")
_GAIN, _GAIN_LOW, _GAIN_HIGH = interval_columns(
    "relative_gain", "(a - b) / b", "relative gain", "+.0%", low="gain_low", high="gain_high"
)

DICE = Table(
    "dice.csv",
    "dice",
    "task, method, figure and pair of sources",
    [
        TASK,
        METHOD,
        METRIC,
        *PAIR,
        Column("mean_a", "mean after source a", "a", ".3f"),
        Column("mean_b", "mean after source b", "b", ".3f"),
        _DELTA,
        _GAIN,
        _LOW,
        _HIGH,
        _GAIN_LOW,
        _GAIN_HIGH,
        Column("p_value", "two-sided, of no difference"),
        Column("p_holm", "after Holm's correction over the tasks", "p (Holm)", P_VALUE),
        Column("wilcoxon_p", "Wilcoxon's signed-rank test of patients' differences", "p (Wilcoxon)", P_VALUE),
        *COUNTS[:2],
        RUNS,
        RESAMPLES,
        IS_SIMULATED,
        Column("guess", "what an ellipse in the middle has, which never looks", "ellipse", ".3f"),
        HOLDS,
    ],
    index=4,
)

RESIZE = Table(
    "resize.csv",
    "dice",
    "task, method, figure, source and group of images by aspect ratio",
    [
        TASK,
        METHOD,
        METRIC,
        Column("source", "the source, or all", "source", SOURCE_NAME),
        Column("aspect", "images by longer over shorter side", "images", WORD),
        Column("aspect_low", "smallest aspect ratio", "ratio from", ".2f"),
        Column("aspect_high", "largest aspect ratio", "to", ".2f"),
        Column("mean_letterbox", "mean with black borders", "letterbox", ".3f"),
        Column("mean_stretch", "mean with stretching", "stretch", ".3f"),
        *interval_columns("delta", "letterbox minus stretch", "difference"),
        Column("p_value", "two-sided, of no difference", "p", P_VALUE),
        *COUNTS[:1],
        Column("n_images", "test images", "test images", ","),
        RUNS,
        RESAMPLES,
        IS_SIMULATED,
    ],
    index=5,
)
