"""How well lesions were found, read from `results/<task>/`: by class-activation maps, and by U-Nets."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from radlib.errors import UserError
from radlib.networks.backbones import no_maps
from radlib.show.style import source_titles
from radlib.stats.dice import BASELINES, MAP_FIGURES, MASK_FIGURES
from radlib.study import Study
from radlib.study.titles import task_title
from radlib.training.results import (
    REMEDY,
    SETTING,
    Results,
    asked_for,
    check_one_version,
    headline_runs,
    read_result,
)

METRICS = {
    "dice": "Dice",
    "iou": "IoU",
    "average_precision": "pixel average precision",
    "energy_inside": "energy inside the mask",
    "pointing_hit": "maximum inside the mask",
    "hausdorff95": "95 % Hausdorff distance (px of the file)",
}
GUESSED = {"whole_image": "whole image", "centred_blob": "centred ellipse"}
METHODS = {"localisation": "class-activation maps", "segmentation": "U-Nets"}
COLLAPSED = 0.9  # share of the validation images with a lesion beyond which a U-Net that loses them collapsed
_IMAGE = ["run", "image_id", "patient_id", "fold"]


@dataclass(frozen=True)
class Found:
    """What one method found, by task with lesion masks.

    method: key of `METHODS`; figures: the columns of `images` that measure it (keys of `METRICS`).
    runs: a row per run; images: a row per run (or baseline) and test image.
    notes: what was left out, and why.
    """

    method: str
    figures: list[str]
    runs: dict[str, pd.DataFrame]
    images: dict[str, pd.DataFrame]
    notes: tuple[str, ...] = ()

    @property
    def tasks(self) -> list[str]:
        return list(self.images)

    def compared_tasks(self, study: Study) -> list[str]:
        """Without variants."""
        return [task for task in self.tasks if task in study.compared_tasks]

    def means(self, task: str, runs: pd.DataFrame) -> pd.DataFrame:
        """Mean of each image over the given runs: indexed by image_id, columns patient_id, fold, figures."""
        some = self.images[task].merge(runs[["run"]], on="run")
        about = {"patient_id": "first", "fold": "first"}
        return some.groupby("image_id").agg(about | dict.fromkeys(self.figures, "mean"))

    def kept_apart(self, task: str, runs: pd.DataFrame, figure: str, by: list[str]) -> pd.DataFrame:
        """One figure, by image (rows, as of `means`) and by what columns of `runs` say (columns)."""
        some = self.images[task].merge(runs[["run", *by]], on="run")
        return some.pivot_table(index="image_id", columns=by, values=figure)

    def baselines(self, task: str) -> dict[str, pd.DataFrame]:
        """`means` of the guesses that ignore the image."""
        known = [name for name in BASELINES if name in set(self.images[task]["run"])]
        return {name: self.means(task, pd.DataFrame({"run": [name]})) for name in known}

    def titles(self, study: Study, tasks: list[str]) -> dict[str, str]:
        """What sources (with their networks, where they differ in them) and baselines are called."""
        runs = [some for task in tasks for some in headline_runs(study, self.runs[task]).values()]
        return GUESSED | (source_titles(study, pd.concat(runs)) if runs else {})

    def means_by_source(self, study: Study, task: str) -> dict[str, pd.DataFrame]:
        """By source, over the runs that the headline pair has in common, and by baseline: `means`."""
        runs = headline_runs(study, self.runs[task])
        return {source: self.means(task, some) for source, some in runs.items()} | self.baselines(task)


def lesion_tasks(study: Study) -> list[str]:
    """Tasks, variants among them, of which 04_transfer found lesion masks."""
    files = {task: study.result_dir(task) / "localisation.parquet" for task in study.trained_tasks}
    return [task for task, file in files.items() if len(read_result(file, task, ["run", "image_id"]))]


def load_localised(study: Study, results: Results) -> Found:
    """Read `results/<task>/localisation.parquet` of those tasks of `results` that have lesion masks; without
    the runs that have no class-activation maps: of nearest neighbours, of some backbones, and of networks
    whose last feature map has a single place, which can point nowhere.

    Raises:
        UserError: a file is missing or damaged, or lacks a run or a figure.
    """
    runs, images, notes = {}, {}, []
    for task in results.tasks:
        path = study.result_dir(task) / "localisation.parquet"
        table = read_result(path, task, [*_IMAGE, *MAP_FIGURES])
        if len(table):
            found = results.of_task(task)
            lacking = found[~found["run"].isin(table["run"])]
            mapless = (lacking["train"] == "knn") | (lacking["backbone"].map(no_maps) != "")
            found = found.drop(index=lacking.index[mapless])
            _check_complete(path, found, table, MAP_FIGURES)
            single = table["run"][table["map_height"] * table["map_width"] == 1]
            pointless = found["run"].isin(single)
            if pointless.any():
                networks = ", ".join(found["backbone"][pointless].unique())
                notes.append(
                    f"{task_title(study, task)}: maps of {networks} have a single place, which cannot show "
                    "where a network looks, and are left out; larger inputs (`backbones.*.size`) have more"
                )
            if not pointless.all():
                runs[task], images[task] = found[~pointless], table[~table["run"].isin(single)]
    return Found("localisation", MAP_FIGURES, runs, images, tuple(notes))


def load_segmented(study: Study) -> Found:
    """Read `results/<task>/segmentation.parquet` of the tasks of `segment.tasks`; errors as above."""
    runs, images = {}, {}
    for task in study.segment.tasks:
        folder = study.result_dir(task)
        figures = ["val_loss", "val_dice", "val_lost"]
        columns = ["run", "replicate", "diverged", *figures]
        stored = read_result(folder / "segmentation_runs.parquet", task, columns)
        asked = asked_for(study.segmentation_runs_of(task), study.segment, stored, figures)
        runs[task] = asked.assign(collapsed=collapsed(asked))
        path = folder / "segmentation.parquet"
        images[task] = read_result(path, task, [*_IMAGE, *MASK_FIGURES])
        _check_complete(path, runs[task], images[task], MASK_FIGURES)
    if runs:
        check_one_version(pd.concat(runs.values(), ignore_index=True))
    return Found("segmentation", MASK_FIGURES, runs, images)


def _check_complete(path: Path, runs: pd.DataFrame, images: pd.DataFrame, figures: list[str]) -> None:
    missing = set(runs["run"]) - set(images["run"])
    if missing or images[figures].isna().any(axis=None):
        raise UserError(f"{path} lacks {len(missing)} of the runs or some of their figures; {REMEDY}")


def collapsed(runs: pd.DataFrame) -> pd.Series:
    """Whether a U-Net outlines (nearly) nothing of use on validation images: see `radlib.training.segment`.

    Those that diverged are counted as such.
    """
    return (runs["val_lost"] >= COLLAPSED) & ~runs["diverged"].astype(bool)


def sound(found: Found, sources: tuple[str, str]) -> Found:
    """Some sources' runs of the settings in which no network of theirs collapsed, in any fold."""
    kept = {}
    for task, runs in found.runs.items():
        some = runs[runs["source"].isin(sources)]
        kept[task] = some[~some.groupby(SETTING)["collapsed"].transform("any")]
    return replace(found, runs=kept)
