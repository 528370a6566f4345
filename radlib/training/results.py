"""The finished runs of a study, read from `results/<task>/` and checked before anything is compared."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from radlib.errors import UserError, explained
from radlib.stats.folds import FoldScores
from radlib.study import Run, Study
from radlib.study.training import Segment, Transfer
from radlib.training.predictions import REMEDY, FoldPredictions, fold_predictions, together

SETTING = ["backbone", "train", "lr"]
TRAINING = [*SETTING, "replicate"]  # what further seeds are trainings of: a setting, from the same weights
RUN = [*TRAINING, "fold", "seed"]
SPARE = 3
_SOURCE_RUN = ["source", *RUN]
_FIGURES = ["val_loss", "val_auc", "test_auc"]
_RUN_COLUMNS = ["run", "task", *_SOURCE_RUN, *_FIGURES, "data_digest", "weights_digest"]
_PREDICTION_COLUMNS = ["run", "image_id", "patient_id", "fold", "label"]


@dataclass(frozen=True)
class Results:
    """`runs`: one row per run of the study; `predictions`: by task, one entry per fold; `external`: by task
    that has such a set, what all its runs score on the whole of it."""

    runs: pd.DataFrame
    predictions: dict[str, list[FoldPredictions]]
    notes: list[str] = field(default_factory=list)
    external: dict[str, FoldPredictions] = field(default_factory=dict)

    @property
    def tasks(self) -> list[str]:
        return list(self.predictions)

    @property
    def two_class_tasks(self) -> list[str]:
        """What ROC curves, thresholds and calibration are of."""
        return [task for task, parts in self.predictions.items() if parts[0].scores.ndim == 2]

    def of_task(self, task: str) -> pd.DataFrame:
        return self.runs[self.runs["task"] == task]

    def scores(self, task: str, runs: pd.DataFrame) -> list[FoldScores]:
        """One `FoldScores` per fold, holding exactly the given runs, in their order."""
        chosen = {fold: list(group["run"]) for fold, group in runs.groupby("fold")}
        return [part.of(chosen[part.fold]) for part in self.predictions[task] if part.fold in chosen]


def load_results(
    study: Study, tasks: list[str] | None = None, regimes: Sequence[str] | None = None
) -> Results:
    """Read and check the results of some tasks; runs outside the study are left out and counted.

    Args:
        tasks: None for the tasks in which sources are compared.
        regimes: whose runs are kept; None for those that means over settings take (`Transfer.averaged`).
    Raises:
        UserError: a file, run or prediction is missing, a score is no number, runs of one fold were tested on
            different images, a patient is tested in two folds, or runs come from different data or weights.
    """
    names = study.compared_tasks if tasks is None else tasks
    # One by one: a table of predictions, with its texts, is many times larger than what is kept of it.
    return check_results(study, ((task, *_read(study.result_dir(task), task)) for task in names), regimes)


def load_regimes(study: Study) -> dict[str, Results]:
    """The results of every regime by itself, but of one that is all that means over settings take."""
    used = dict.fromkeys(setting.train for setting in study.transfer.settings)
    return {one: load_results(study, regimes=[one]) for one in used if (one,) != study.transfer.averaged}


def _read(folder: Path, task: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    runs = read_result(folder / "runs.parquet", task, _RUN_COLUMNS)
    return runs, read_result(folder / "predictions.parquet", task, _PREDICTION_COLUMNS)


def check_results(
    study: Study,
    found: Iterable[tuple[str, pd.DataFrame, pd.DataFrame]],
    regimes: Sequence[str] | None = None,
) -> Results:
    """The same for tables at hand: task, its runs, and its predictions; errors as `load_results`.

    A task without a run of these regimes is left out.
    """
    tables, predictions, notes, external = [], {}, [], {}
    for task, runs, rows in found:
        kept = asked_for(study.runs_of(task), study.transfer, runs, _FIGURES)
        title, outside = study.tasks[task].title, len(runs) - len(kept)
        kept = kept[kept["train"].isin(regimes or study.transfer.averaged)].reset_index(drop=True)
        if kept.empty:
            continue
        diverged = int(kept["diverged"].sum()) if "diverged" in kept else 0
        if outside:
            notes.append(f"{title}: {outside} stored runs lie outside this study")
        if diverged:
            notes.append(
                f"{title}: {diverged} of {len(kept)} runs diverged; of images of which a run says no number, "
                "it counts with an AUC of 0.5"
            )
        asked, score = rows[rows["run"].isin(kept["run"])], study.tasks[task].score
        if "external" in asked:
            external[task] = together(f"task '{task}', external set", -1, asked[asked["external"]], score)
            asked = asked[~asked["external"]]
        predictions[task] = fold_predictions(task, kept, asked, score)
        if study.tasks[task].classes:
            notes.append(
                f"{title}: AUC is macro-averaged over {len(study.tasks[task].classes)} classes; DeLong, ROC "
                "curves, thresholds, calibration, patients needed are of two classes and leave the task out"
            )
        tables.append(kept)
    runs = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_RUN_COLUMNS)
    check_one_version(runs)
    return Results(runs, predictions, notes, external)


def read_result(path: Path, task: str, columns: list[str]) -> pd.DataFrame:
    """A table of `results/<task>/`; UserError where it is missing, damaged or lacks a column."""
    if not path.is_file():
        raise UserError(f"task '{task}' has no {path.name} in {path.parent}; run dvc repro to compute it")
    with explained((OSError, ValueError), f"{path} cannot be read", f"delete it and {REMEDY}"):
        table = pd.read_parquet(path)
    missing = [c for c in columns if c not in table]
    if missing:
        raise UserError(f"{path} lacks the column {missing[0]}; {REMEDY}")
    return table


def asked_for(
    wanted: list[Run], options: Transfer | Segment, runs: pd.DataFrame, figures: list[str]
) -> pd.DataFrame:
    """The stored ones of `wanted`, all runs of one task, sorted.

    Raises: UserError where one is missing, there twice or trained otherwise than `options` say, or a column
    of `figures` holds no finite number.
    """
    task = wanted[0].task
    named = pd.DataFrame([{key: getattr(run, key) for key in _SOURCE_RUN} for run in wanted])
    if runs.duplicated(_SOURCE_RUN).any() or runs["run"].duplicated().any():
        raise UserError(f"task '{task}': the table of runs holds a run twice; {REMEDY}")
    kept = named.merge(runs, on=_SOURCE_RUN, how="left", validate="one_to_one")
    absent = kept["run"].isna()
    if absent.any():
        first = wanted[int(np.flatnonzero(absent)[0])].name
        raise UserError(
            f"task '{task}': {int(absent.sum())} of {len(kept)} runs of the study are not in the table of "
            f"runs, the first is {first}; run dvc repro to compute them"
        )
    numbers = kept[figures].astype(float)
    # A run that diverged has a loss without end, which is a result.
    if numbers.isna().any(axis=None) or np.isinf(numbers.drop(columns="val_loss")).any(axis=None):
        raise UserError(f"task '{task}': the table of runs holds a figure that is no number; {REMEDY}")
    if "parameters" in kept:  # what earlier versions wrote does not say
        _check_parameters(task, kept, options)
    return kept.sort_values(_SOURCE_RUN, ignore_index=True)


def _check_parameters(task: str, runs: pd.DataFrame, options: Transfer | Segment) -> None:
    """Runs are found by their names, which do not change where a notebook overrides how they are trained."""
    section = type(options).__name__.lower()
    for train, text in runs[["train", "parameters"]].drop_duplicates().itertuples(index=False):
        now = options.deciding(train)
        for key, was in json.loads(text).items():
            if now.get(key, was) != was:
                raise UserError(
                    f"task '{task}': its runs were trained with {section}.{key} {was}, and the study says "
                    f"{now[key]} now; {REMEDY}, or the notebook that trains, with these overrides and save"
                )


def check_one_version(runs: pd.DataFrame) -> None:
    for task, group in runs.groupby("task"):
        if group["data_digest"].nunique() > 1:
            raise UserError(f"task '{task}': its runs used different versions of the data; {REMEDY}")
    for (source, backbone, _), group in runs.groupby(["source", "backbone", "replicate"]):
        if group["weights_digest"].nunique() > 1:
            raise UserError(
                f"runs of source '{source}' with {backbone} started from different weights; {REMEDY}"
            )


def paired_runs(
    runs: pd.DataFrame, pair: tuple[str, str], keys: list[str] = RUN
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of both sources of which both have the `keys`, in one order."""
    a, b = (runs[runs["source"] == source] for source in pair)
    places = [side[keys].assign(**{name: range(len(side))}) for side, name in ((a, "at_a"), (b, "at_b"))]
    both = places[0].merge(places[1], on=keys, validate="one_to_one").sort_values(keys)
    return a.iloc[both["at_a"]].reset_index(drop=True), b.iloc[both["at_b"]].reset_index(drop=True)


def runs_in_common(runs: pd.DataFrame, pair: tuple[str, str]) -> list[pd.DataFrame]:
    """The runs of each source in the settings, folds and seeds that both have, of all its pretrainings."""
    keys = [*SETTING, "fold", "seed"]
    sides = [runs[runs["source"] == source] for source in pair]
    shared = sides[0][keys].drop_duplicates().merge(sides[1][keys].drop_duplicates(), on=keys)
    return [side.merge(shared, on=keys) for side in sides]


def headline_runs(study: Study, runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """By source: a task's runs in the settings, folds and seeds that both sources of the headline have."""
    common = paired_runs(runs, study.compare.headline)[0][RUN]
    sides = {source: runs[runs["source"] == source].merge(common, on=RUN) for source in study.sources}
    return {source: side for source, side in sides.items() if len(side)}


def settings_by_fold(runs: pd.DataFrame) -> list[np.ndarray]:
    """Per fold, (runs,) the number of each run's setting and weights, in the order of `Results.scores`."""
    numbers = runs.groupby(TRAINING, sort=False).ngroup()
    return [numbers[group.index].to_numpy() for _, group in runs.groupby("fold")]


def trained_again(settings: list[np.ndarray]) -> bool:
    """Whether every setting has two trainings or more on every fold, and `SPARE` of them are to spare.

    To spare is each training of a setting on a fold but one: the degrees of freedom of their variance. With
    fewer an interval that covers the variation between trainings would be too wide to say anything.
    """
    counts = [np.unique(numbers, return_counts=True)[1] for numbers in settings]
    return all(count.min() > 1 for count in counts) and sum((count - 1).sum() for count in counts) >= SPARE
