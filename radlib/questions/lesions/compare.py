"""Do sources differ in how well lesions are found, and does it matter that images are squeezed? (07_dice)

Differences are paired, by patient, with intervals. An image's figure is the mean over the runs that both
sources of a pair have; images count the same. A task's figure is the mean over its test images with a lesion
mask. `guess` is what a centred ellipse scores on them. Where every setting was trained with several seeds,
trainings are resampled with the patients.

A task whose entry says `variant_of` another has that task's images, folds and runs and differs in `resize`
alone. Both are measured in the image's own pixels, so the two figures of an image can be subtracted.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from radlib.errors import UserError, of_task
from radlib.progress import progress
from radlib.questions.lesions.measured import METHODS, METRICS, Found, collapsed, without
from radlib.questions.verdicts import corrected, difference_columns, diverged, estimate_columns
from radlib.seeds import seed_of
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import NOT_SHOWN, Finding, direction, finding_of, unless_diverged
from radlib.show.table import Column, Table, interval_columns, number, p_text
from radlib.stats.means import MeanDifference, bootstrap_mean_difference
from radlib.study import Study
from radlib.study.titles import ordered_pairs, pair_title, source_title, task_title
from radlib.training.results import REMEDY, RUN, paired_runs, read_result, settings_by_fold, trained_again

NO_MASKS = "No task of this study has lesion masks, so there is nothing to compare here."
METHOD = Column("method", "`localisation`: maps of classifiers; `segmentation`: U-Nets", "by", names=METHODS)
METRIC = Column("metric", "the figure, mean over test images with a mask", "figure", names=METRICS)
_DELTA, *_ENDS = interval_columns("delta", "mean after source a minus mean after source b", "difference")
GAIN = ("relative_gain", "gain_low", "gain_high")
_GAIN, *_GAIN_ENDS = interval_columns(GAIN[0], "(a - b) / b", "relative gain", "+.0%", *GAIN[1:])
DICE = Table(
    "dice.csv",
    "dice",
    "task, method, figure and pair of sources",
    [
        common.TASK,
        METHOD,
        METRIC,
        *common.PAIR,
        Column("mean_a", "mean after source a", "a", ".3f"),
        Column("mean_b", "mean after source b", "b", ".3f"),
        _DELTA,
        _GAIN,
        *_ENDS,
        *_GAIN_ENDS,
        Column("p_value", "two-sided, of no difference"),
        common.P_HOLM,
        Column("wilcoxon_p", "Wilcoxon's signed-rank test of patients' differences", "p (Wilcoxon)", p_text),
        *common.COUNTS[:2],
        common.RUNS,
        common.RESAMPLES,
        common.IS_SIMULATED,
        Column("guess", "what an ellipse in the middle has, which never looks", "ellipse", ".3f"),
        common.RESAMPLED,
        common.DIVERGED,
    ],
    index=4,
)
RESIZE = Table(
    "resize.csv",
    "dice",
    "task, method, figure, source and group of images by aspect ratio",
    [
        common.TASK,
        METHOD,
        METRIC,
        Column("source", "the source, or all", "source", source_title),
        Column("aspect", "images by longer over shorter side", "images"),
        Column("aspect_low", "smallest aspect ratio", "ratio from", ".2f"),
        Column("aspect_high", "largest aspect ratio", "to", ".2f"),
        Column("mean_letterbox", "mean with black borders", "letterbox", ".3f"),
        Column("mean_stretch", "mean with stretching", "stretch", ".3f"),
        *interval_columns("delta", "letterbox minus stretch", "difference"),
        common.P,
        common.COUNTS[0],
        Column("n_images", "test images", "test images", ","),
        common.RUNS,
        *common.ORIGIN,
    ],
    index=5,
)
_FAMILY = ["method", "metric", "source_a", "source_b"]

# Sources --------------------------------------------------------------------------------------------------


def compare_found(study: Study, methods: list[Found]) -> pd.DataFrame:
    """Every method x task x pair x figure (`DICE`); Holm across the tasks of a method, pair and figure."""
    pieces = [(found, task) for found in methods for task in found.compared_tasks(study)]
    rows = []
    for found, task in progress(pieces, description="bootstrap of Dice"):
        for pair in ordered_pairs(study):
            sides = paired_runs(found.runs[task], pair)
            if len(sides[0]):
                about = {"task": task, "source_a": pair[0], "source_b": pair[1]}
                rows += [about | row for row in _rows(study, task, found, sides)]
    table = DICE.frame(rows, resamples=study.compare.resamples, simulated=study.simulated)
    return corrected(table, _FAMILY, {"p_value": "p_holm"}) if rows else table


@of_task
def _rows(study: Study, task: str, found: Found, sides: tuple[pd.DataFrame, pd.DataFrame]) -> list[dict]:
    """A row per figure of a method."""
    means, settings, rows = [found.means(task, runs) for runs in sides], None, []
    guess = found.baselines(task).get("centred_blob")
    for name in found.figures:
        figures = [one[name].to_numpy() for one in means]
        if trained_again(settings_by_fold(sides[0])):
            trainings = [found.by_training(task, runs, name).loc[means[0].index] for runs in sides]
            settings = trainings[0].columns.droplevel("seed").factorize()[0]
            figures = [one.to_numpy().T for one in trainings]
        result = _difference(study, task, figures, means[0], settings)
        rows.append(
            {
                "method": found.method,
                "metric": name,
                "mean_a": result.mean_a,
                "mean_b": result.mean_b,
                **difference_columns(study, result.difference),
                **estimate_columns(study, result.gain, GAIN),
                "wilcoxon_p": result.wilcoxon_p,
                "n_patients": result.difference.patients,
                "n_images": len(means[0]),
                "n_runs": len(sides[0]),
                "guess": np.nan if guess is None else float(guess[name].mean()),
                "diverged": diverged(*sides),
            }
        )
    return rows


def _difference(study: Study, task: str, figures, about: pd.DataFrame, settings=None) -> MeanDifference:
    """Of two sides of the same images; all pairs, figures and methods see the same resampled patients.

    Args:
        figures: of both sides (n,) or, with the settings (R,) of the trainings, (R, n).
        about: each image's patient and fold.
    """
    patients, folds = about["patient_id"].to_numpy(), about["fold"].to_numpy()
    seed = seed_of(study.seed, "bootstrap", task)
    return bootstrap_mean_difference(*figures, patients, folds, study.compare.resamples, seed, settings)


def lesion_forest(study: Study, table: pd.DataFrame) -> Figure:
    """Difference in Dice of every method and task with its interval, one panel per pair."""
    some = table[table["metric"] == "dice"]
    rows = [f"{task_title(study, r.task)}:\n{METHODS[r.method]}" for r in some.itertuples()]
    # Where an ellipse that never looks does better than both, neither finds the lesion.
    blind = some[["mean_a", "mean_b"]].max(axis=1) < some["guess"]
    shown = some.assign(row=rows, p_holm=some["p_holm"].mask(blind, 1.0))
    hollow = "not shown after Holm's correction, or both below an ellipse in the middle"
    return style.forest(study, shown, "Lesions", what="Dice", hollow=hollow)


# Relative gain of the Dice of maps, radiology against ImageNet (Mei et al. 2022, doi 10.1148/ryai.210315).
PUBLISHED_GAIN = {"thyroid_us": 0.646, "breast_us": 0.164}


def lesion_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Dice of the headline pair by method and task, after Holm's correction; and whether anybody looked."""
    pair, found = tuple(study.compare.headline), []
    mine, title = style.of_pair(table, pair), pair_title(study, pair)
    for row in mine[mine["metric"] == "dice"].to_dict("records"):
        shown = row["p_holm"] < 1 - study.compare.confidence
        verdict = direction(row["ci_low"], row["ci_high"]) if shown else NOT_SHOWN
        if max(row["mean_a"], row["mean_b"]) < row["guess"]:
            verdict = f"neither finds the lesion: an ellipse in the middle has {row['guess']:.3f}"
        claimed = PUBLISHED_GAIN.get(row["task"]) if row["method"] == "localisation" else None
        if claimed is not None:
            gain, low, high = (number(row[name], "+.0%") for name in GAIN)
            verdict += f"; relative gain {gain} ({low} to {high}), published {claimed:+.0%}"
        title = (
            f"Dice of {METHODS[row['method']]}, {pair_title(study, pair)}: {task_title(study, row['task'])}"
        )
        found.append(finding_of(row, title, verdict))
    return found


def collapse_findings(study: Study, segmented: Found) -> list[Finding]:
    """How many U-Nets collapsed, by task and source, and the headline difference without them."""
    found = []
    for task in segmented.compared_tasks(study):
        runs = segmented.runs[task]
        lost = runs[runs["run"].isin(collapsed(segmented.images[task]))]
        title = f"U-Nets that found nothing of any lesion, {task_title(study, task)}"
        counts = [f"{n} after {source_title(study, s)}" for s, n in lost["source"].value_counts().items()]
        found.append(Finding(title, f"{'; '.join(counts) or 'none'}, of {len(runs)}"))
        if len(lost):
            kept = compare_found(study, [without(segmented, task, lost["run"])])
            found += [replace(f, subject=f"{f.subject}, without them") for f in lesion_findings(study, kept)]
    return found


# Letterboxing ---------------------------------------------------------------------------------------------
ALL, EVERY_SOURCE = "all images", "all sources"
GROUPS = ["nearly square third", "middle third", "elongated third"]


def compare_resize(study: Study, methods: list[Found]) -> pd.DataFrame:
    """Letterbox minus stretch (`RESIZE`) of every task with a variant, by source and by aspect ratio.

    Raises:
        UserError: a task and its variant hold different images.
    """
    rows, keys = [], ["source", *RUN]
    variants = [(found, study.tasks[name].variant_of, name) for found in methods for name in found.tasks]
    for found, task, variant in variants:
        if task not in found.tasks:
            continue
        ways = (variant, task) if study.resize_of(task) == "stretch" else (task, variant)
        shared = found.runs[ways[0]][keys].merge(found.runs[ways[1]][keys], on=keys)
        sides = [shared.merge(found.runs[way], on=keys) for way in ways]
        groups = aspect_groups(study, task)
        for source in [EVERY_SOURCE, *(s for s in study.sources if s in set(shared["source"]))]:
            some = [runs if source == EVERY_SOURCE else runs[runs["source"] == source] for runs in sides]
            means = [found.means(way, runs) for way, runs in zip(ways, some, strict=True)]
            if not means[0][["patient_id", "fold"]].equals(means[1][["patient_id", "fold"]]):
                raise UserError(
                    f"task '{task}' and its variant were tested on different images or folds; {REMEDY}"
                )
            lost = diverged(*(runs for _, runs in pd.concat(some).groupby("source")))
            about = {"task": task, "method": found.method, "source": source, "n_runs": len(some[0])}
            about["diverged"] = lost
            rows += [about | row for row in _by_aspect(study, task, means, groups.reindex(means[0].index))]
    return RESIZE.frame(rows, resamples=study.compare.resamples, simulated=study.simulated)


@of_task
def _by_aspect(study: Study, task: str, means: list[pd.DataFrame], groups: pd.DataFrame) -> list[dict]:
    rows = []
    for name in [ALL, *GROUPS]:
        chosen = (groups["group"] == name) | (name == ALL)
        some, aspects = [side[chosen] for side in means], groups["aspect"][chosen]
        # Nothing can be resampled where a fold holds a single patient.
        if some[0].empty or some[0].groupby("fold")["patient_id"].nunique().min() < 2:
            continue
        for metric in ("dice", "iou"):
            found = _difference(study, task, [side[metric].to_numpy() for side in some], some[0])
            rows.append(
                {
                    "metric": metric,
                    "aspect": name,
                    "aspect_low": aspects.min(),
                    "aspect_high": aspects.max(),
                    "mean_letterbox": found.mean_a,
                    "mean_stretch": found.mean_b,
                    **difference_columns(study, found.difference),
                    "n_patients": found.difference.patients,
                    "n_images": int(chosen.sum()),
                }
            )
    return rows


def aspect_groups(study: Study, task: str) -> pd.DataFrame:
    """Longer over shorter side of every image with a mask, and its third: columns aspect, group; by image."""
    columns = ["image_id", "has_mask", "width", "height"]
    manifest = read_result(study.dataset_dir(task) / "manifest.parquet", task, columns).set_index("image_id")
    sides = manifest.loc[manifest["has_mask"], ["width", "height"]]
    aspect = sides.max(axis=1) / sides.min(axis=1)
    third = (3 * (aspect.rank(method="first") - 1) / len(aspect)).astype(int)
    return pd.DataFrame({"aspect": aspect, "group": third.map(dict(enumerate(GROUPS)))})


def square_tasks(study: Study, found: Found) -> list[str]:
    """Tasks whose images with a mask are all square, so that both ways are one."""
    return [t for t in found.compared_tasks(study) if (aspect_groups(study, t)["aspect"] == 1).all()]


def resize_forest(study: Study, table: pd.DataFrame) -> Figure:
    """Letterbox minus stretch in Dice by aspect ratio, one panel per method and task, over all sources."""
    marks = []
    for row in _of_every_source(table).to_dict("records"):
        panel = f"{task_title(study, row['task'])}:\n{METHODS[row['method']]}"
        sound = unless_diverged("", row.get("diverged")) == ""
        marks.append(row | {"panel": panel, "row": row["aspect"], "value": row["delta"], "filled": sound})
    shown = pd.DataFrame(marks).assign(colour=style.COLOURS[0])
    figure, panels, _, _ = style.intervals(study, shown, "Dice, letterbox − stretch", 0, 4, sharex=True)
    limit = style.span(shown["ci_low"], shown["ci_high"])
    panels[0].set_xlim(-limit, limit)
    title = f"{study.compare.confidence:.0%} intervals over patients, mean over all sources"
    figure.suptitle(f"{title}; thirds of the images by longer over shorter side", fontsize=10)
    return figure


def resize_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Dice with black borders minus Dice with stretching: all images, and the most elongated third."""
    some = _of_every_source(table)
    title = "Dice of {}, letterbox − stretch: {}, {}"
    return [
        finding_of(row, title.format(METHODS[row["method"]], task_title(study, row["task"]), row["aspect"]))
        for row in some[some["aspect"].isin([ALL, GROUPS[-1]])].to_dict("records")
    ]


def _of_every_source(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["metric"] == "dice") & (table["source"] == EVERY_SOURCE)]
