"""Stretched or letterboxed? The same images and patients made square in two ways, compared image by image.

A task whose entry says `variant_of` another has that task's images, folds and runs and differs in `resize`
alone. Both are measured in the image's own pixels, so the two figures of an image can be subtracted.
"""

import numpy as np
import pandas as pd

from radlib.errors import UserError
from radlib.questions.lesions.dice import difference
from radlib.questions.lesions.measured import Found
from radlib.questions.lesions.table import RESIZE
from radlib.questions.verdicts import difference_columns
from radlib.study import Study
from radlib.training.results import REMEDY, RUN, read_result

ALL, EVERY_SOURCE = "all images", "all sources"
GROUPS = ["nearly square third", "middle third", "elongated third"]
METRICS = ["dice", "iou"]


def compare_resize(study: Study, methods: list[Found]) -> pd.DataFrame:
    """Letterbox minus stretch (`RESIZE`) of every task with a variant, by source and by aspect ratio.

    Raises:
        UserError: a task and its variant hold different images.
    """
    rows = []
    for found in methods:
        for task, variant in _pairs(study, found):
            stretched, letterboxed = _by_resize(study, task, variant)
            sides = _common(found.runs[letterboxed], found.runs[stretched])
            groups = aspect_groups(study, task)
            for source in [EVERY_SOURCE, *(s for s in study.sources if s in set(sides[0]["source"]))]:
                some = [runs if source == EVERY_SOURCE else runs[runs["source"] == source] for runs in sides]
                a, b = found.means(letterboxed, some[0]), found.means(stretched, some[1])
                _check_same(task, a, b)
                about = {"task": task, "method": found.method, "source": source, "n_runs": len(some[0])}
                rows += [about | row for row in _rows(study, task, a, b, groups)]
    return RESIZE.frame(rows)


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


def _pairs(study: Study, found: Found) -> list[tuple[str, str]]:
    variants = [(study.tasks[task].variant_of, task) for task in found.tasks]
    return [(task, variant) for task, variant in variants if task in found.tasks]


def _by_resize(study: Study, task: str, variant: str) -> tuple[str, str]:
    """The two in the order stretched, letterboxed."""
    return (task, variant) if study.resize_of(task) == "stretch" else (variant, task)


def _common(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs that differ in nothing but how images became square."""
    keys = ["source", *RUN]
    common = a[keys].merge(b[keys], on=keys)
    return common.merge(a, on=keys), common.merge(b, on=keys)


def _check_same(task: str, a: pd.DataFrame, b: pd.DataFrame) -> None:
    if not a[["patient_id", "fold"]].equals(b[["patient_id", "fold"]]):
        raise UserError(f"task '{task}' and its variant were tested on different images or folds; {REMEDY}")


def _rows(study: Study, task: str, a: pd.DataFrame, b: pd.DataFrame, groups: pd.DataFrame) -> list[dict]:
    groups = groups.reindex(a.index)
    rows = []
    for name in [ALL, *GROUPS]:
        chosen = np.ones(len(a), dtype=bool) if name == ALL else (groups["group"] == name).to_numpy()
        if not _enough(a[chosen]):
            continue
        aspects = groups["aspect"][chosen]
        for metric in METRICS:
            found = difference(study, task, metric, a[chosen], b[chosen])
            change = difference_columns(study, found.difference)
            rows.append(
                {
                    "metric": metric, "aspect": name, "aspect_low": aspects.min(),
                    "aspect_high": aspects.max(), "mean_letterbox": found.mean_a,
                    "mean_stretch": found.mean_b, **change, "n_patients": found.difference.patients,
                    "n_images": int(chosen.sum()), "resamples": study.compare.resamples,
                    "simulated": study.simulated,
                }
            )  # fmt: skip
    return rows


def _enough(side: pd.DataFrame) -> bool:
    """Whether every fold holds two patients, without whom nothing can be resampled."""
    return len(side) > 0 and side.groupby("fold")["patient_id"].nunique().min() >= 2
