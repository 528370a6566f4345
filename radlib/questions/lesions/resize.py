"""Does it matter that images are squeezed into a square? (07_dice)

A task whose entry says `variant_of` another has that task's images, folds and runs and differs in `resize`
alone. Both are measured in the image's own pixels, so the two Dice of an image can be subtracted.
"""

import pandas as pd
from matplotlib.figure import Figure

from radlib.errors import UserError, of_task
from radlib.questions.lesions.compare import METHOD, SPOILT, mean_difference
from radlib.questions.lesions.measured import METHODS, Found
from radlib.questions.verdicts import difference_columns, diverged
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import Finding, finding_of, over
from radlib.show.table import Column, Table, interval_columns
from radlib.study import Study
from radlib.study.titles import task_title
from radlib.training.results import REMEDY, RUN, read_result

RESIZE = Table(
    "resize.csv",
    "dice",
    "task, method and group of images by aspect ratio; Dice, mean over the runs of all sources",
    [
        common.TASK,
        METHOD,
        Column("aspect", "images by longer over shorter side", "images"),
        Column("aspect_low", "smallest aspect ratio", "ratio from", ".2f"),
        Column("aspect_high", "largest aspect ratio", "to", ".2f"),
        Column("mean_letterbox", "mean with black borders", "letterbox", ".3f"),
        Column("mean_stretch", "mean with stretching", "stretch", ".3f"),
        *interval_columns(common.DIFFERENCE, "letterbox minus stretch", "difference"),
        common.P,
        common.COUNTS[0],
        Column("n_images", "test images", "test images", ","),
        common.RUNS,
        *common.ORIGIN[:2],
        SPOILT,
    ],
    index=3,
)
NO_VARIANT = "No task of this study has a variant with the other rule, so nothing is compared here."
ALL = "all images"
GROUPS = ["nearly square third", "middle third", "elongated third"]


def compare_resize(study: Study, methods: list[Found]) -> pd.DataFrame:
    """Letterbox minus stretch (`RESIZE`) of every task with a variant, by aspect ratio.

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
        means = [found.means(way, runs) for way, runs in zip(ways, sides, strict=True)]
        if not means[0][["patient_id", "fold"]].equals(means[1][["patient_id", "fold"]]):
            raise UserError(
                f"task '{task}' and its variant were tested on different images or folds; {REMEDY}"
            )
        spoilt = diverged(*sides)
        about = {"task": task, "method": found.method, "n_runs": len(shared), "diverged": spoilt}
        groups = aspect_groups(study, task).reindex(means[0].index)
        rows += [about | row for row in _by_aspect(study, task, means, groups)]
    return RESIZE.frame(rows, study)


@of_task
def _by_aspect(study: Study, task: str, means: list[pd.DataFrame], groups: pd.DataFrame) -> list[dict]:
    rows = []
    for name in [ALL, *GROUPS]:
        chosen = (groups["group"] == name) | (name == ALL)
        some, aspects = [side[chosen] for side in means], groups["aspect"][chosen]
        # Nothing can be resampled where a fold holds a single patient.
        if some[0].empty or some[0].groupby("fold")["patient_id"].nunique().min() < 2:
            continue
        found = mean_difference(study, task, [side[["dice"]] for side in some], some[0])
        rows.append(
            {
                "aspect": name,
                "aspect_low": aspects.min(),
                "aspect_high": aspects.max(),
                "mean_letterbox": found.a.value,
                "mean_stretch": found.b.value,
                **difference_columns(study, found.difference),
                "n_patients": some[0]["patient_id"].nunique(),
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


def resize_forest(study: Study, table: pd.DataFrame) -> Figure:
    """Letterbox minus stretch in Dice by aspect ratio, one panel per method and task."""
    panels_of = [f"{task_title(study, r.task)}:\n{METHODS[r.method]}" for r in table.itertuples()]
    shown = table.assign(panel=panels_of, row=table["aspect"], value=table["delta"], colour=style.COLOURS[0])
    shown["filled"] = table["diverged"].isna() if "diverged" in table else True
    figure, _ = style.intervals(study, shown, "Dice, letterbox − stretch", 0, 4, sharex=True)
    title = f"{study.compare.confidence:.0%} intervals over patients, mean over the runs of all sources"
    figure.suptitle(f"{title}; thirds of the images by longer over shorter side")
    return figure


def resize_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Dice with black borders minus Dice with stretching: all images, and the most elongated third."""
    title = "Dice of {}, letterbox − stretch: {}, {} " + over({})
    return [
        finding_of(row, title.format(METHODS[row["method"]], task_title(study, row["task"]), row["aspect"]))
        for row in table[table["aspect"].isin([ALL, GROUPS[-1]])].to_dict("records")
    ]
