"""The finished runs of a study, read from `results/<task>/` and checked before anything is compared."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from radlib.errors import UserError
from radlib.stats.auc import auc
from radlib.stats.bootstrap import FoldScores
from radlib.study import Study

SETTING = ["backbone", "train", "lr"]
REMEDY = "run dvc repro to compute it again"
_RUN = ["source", *SETTING, "fold", "seed"]
_RUN_COLUMNS = ["run", "task", *_RUN, "val_loss", "val_auc", "test_auc", "data_digest", "weights_digest"]
_PREDICTION_COLUMNS = ["run", "image_id", "patient_id", "fold", "label", "score"]


@dataclass(frozen=True)
class FoldPredictions:
    """All runs of one task on the test part of one fold; images sorted by id.

    image_ids, patients: str (n,); labels: int (n,), 0 or 1; runs: str (R,); scores: float64 (R, n).
    """

    fold: int
    image_ids: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    runs: np.ndarray
    scores: np.ndarray

    def of(self, runs: list[str]) -> FoldScores:
        """The scores of the named runs, in the order given."""
        rows = pd.Index(self.runs).get_indexer(runs)
        return FoldScores(self.labels, self.patients, self.scores[rows])


@dataclass(frozen=True)
class Results:
    """`runs`: one row per run of the study; `predictions`: by task, one entry per fold."""

    runs: pd.DataFrame
    predictions: dict[str, list[FoldPredictions]]
    notes: list[str] = field(default_factory=list)

    def of_task(self, task: str) -> pd.DataFrame:
        return self.runs[self.runs["task"] == task]

    def scores(self, task: str, runs: pd.DataFrame) -> list[FoldScores]:
        """One `FoldScores` per fold, holding exactly the given runs, in their order."""
        chosen = {fold: list(group["run"]) for fold, group in runs.groupby("fold")}
        return [part.of(chosen[part.fold]) for part in self.predictions[task] if part.fold in chosen]


def load_results(study: Study) -> Results:
    """Read and check the results of the study's tasks; runs outside the study are left out and counted.

    Raises:
        UserError: a file, run or prediction is missing, a score is no number, runs of one fold were tested on
            different images, a patient is tested in two folds, or runs come from different data or weights.
    """
    tables, predictions, notes = [], {}, []
    for task in study.tasks:
        folder = study.result_dir(task)
        runs = _read(folder / "runs.parquet", task, _RUN_COLUMNS)
        rows = _read(folder / "predictions.parquet", task, _PREDICTION_COLUMNS)
        kept = _runs_of_study(study, task, runs)
        if len(kept) < len(runs):
            notes.append(
                f"{study.tasks[task].title}: {len(runs) - len(kept)} stored runs lie outside this study"
            )
        if "diverged" in kept and kept["diverged"].any():
            notes.append(
                f"{study.tasks[task].title}: {int(kept['diverged'].sum())} of {len(kept)} runs diverged "
                "and count with an AUC of 0.5"
            )
        predictions[task] = _fold_predictions(task, kept, rows[rows["run"].isin(kept["run"])])
        tables.append(kept)
    everything = pd.concat(tables, ignore_index=True)
    _check_one_version(everything)
    return Results(everything, predictions, notes)


def _read(path: Path, task: str, columns: list[str]) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"task '{task}' has no {path.name} in {path.parent}; run dvc repro to compute it")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as exc:
        raise UserError(f"{path} cannot be read ({exc}); delete it and {REMEDY}") from exc
    missing = [c for c in columns if c not in table]
    if missing:
        raise UserError(f"{path} lacks the column {missing[0]}; {REMEDY}")
    return table


def _runs_of_study(study: Study, task: str, runs: pd.DataFrame) -> pd.DataFrame:
    """The stored runs that the study asks for, sorted; each must be there exactly once."""
    wanted = pd.DataFrame([{key: getattr(run, key) for key in _RUN} for run in study.runs_of(task)])
    if runs.duplicated(_RUN).any() or runs["run"].duplicated().any():
        raise UserError(f"task '{task}': runs.parquet holds a run twice; {REMEDY}")
    kept = wanted.merge(runs, on=_RUN, how="left", validate="one_to_one")
    absent = kept["run"].isna()
    if absent.any():
        first = study.runs_of(task)[int(np.flatnonzero(absent)[0])].name
        raise UserError(
            f"task '{task}': {int(absent.sum())} of {len(kept)} runs of the study are not in runs.parquet, "
            f"the first is {first}; run dvc repro to compute them"
        )
    wrong = ~(np.isfinite(kept["val_auc"].astype(float)) & np.isfinite(kept["test_auc"].astype(float)))
    if wrong.any() or kept["val_loss"].isna().any():
        raise UserError(f"task '{task}': runs.parquet holds an AUC or loss that is no number; {REMEDY}")
    return kept.sort_values(_RUN, ignore_index=True)


def _fold_predictions(task: str, runs: pd.DataFrame, rows: pd.DataFrame) -> list[FoldPredictions]:
    without = set(runs["run"]) - set(rows["run"])
    if without:
        raise UserError(
            f"task '{task}': {len(without)} runs have no predictions, the first is {min(without)}; {REMEDY}"
        )
    rows = rows.sort_values(["fold", "run", "image_id"], ignore_index=True)
    parts = [_one_fold(task, int(fold), runs, group) for fold, group in rows.groupby("fold")]
    tested = pd.concat([pd.Series(np.unique(part.patients)) for part in parts])
    if tested.duplicated().any():
        patient = tested[tested.duplicated()].iloc[0]
        raise UserError(
            f"task '{task}': patient {patient} is in the test part of two folds, so the folds are not "
            "independent; prepare the data and run the task again (dvc repro)"
        )
    return parts


def _one_fold(task: str, fold: int, runs: pd.DataFrame, rows: pd.DataFrame) -> FoldPredictions:
    where = f"task '{task}', fold {fold}"
    names = rows["run"].unique()
    if set(names) != set(runs.loc[runs["fold"] == fold, "run"]):
        raise UserError(f"{where}: runs.parquet and predictions.parquet name different runs; {REMEDY}")
    shape = (len(names), len(rows) // len(names))
    same = len(rows) == shape[0] * shape[1]
    for column in ("image_id", "patient_id", "label"):
        values = rows[column].to_numpy()
        same = same and bool((values.reshape(shape) == values[: shape[1]]).all())
    if not same:
        raise UserError(f"{where}: not all runs were tested on the same images; {REMEDY}")
    first = rows.iloc[: shape[1]]
    part = FoldPredictions(
        fold=fold,
        image_ids=first["image_id"].to_numpy(),
        patients=first["patient_id"].to_numpy(),
        labels=first["label"].to_numpy(dtype=np.int64),
        runs=names,
        scores=rows["score"].to_numpy(dtype=np.float64).reshape(shape),
    )
    _check_fold(where, part, runs)
    return part


def _check_fold(where: str, part: FoldPredictions, runs: pd.DataFrame) -> None:
    if len(np.unique(part.image_ids)) != len(part.image_ids):
        raise UserError(f"{where}: a run scored one image twice; {REMEDY}")
    if not np.isfinite(part.scores).all():
        raise UserError(f"{where}: a score is no finite number; {REMEDY}")
    if set(np.unique(part.labels)) != {0, 1}:
        raise UserError(
            f"{where}: the test part needs both classes, 0 and 1; use fewer folds or more patients"
        )
    stored = runs.set_index("run").loc[part.runs, "test_auc"].to_numpy(dtype=float)
    found = np.array([auc(scores, part.labels) for scores in part.scores])
    # Scores stored with fewer digits may tie where the training's own did not.
    if np.abs(stored - found).max() > 1e-3:
        raise UserError(f"{where}: test_auc in runs.parquet does not follow from the predictions; {REMEDY}")


def _check_one_version(runs: pd.DataFrame) -> None:
    for task, group in runs.groupby("task"):
        if group["data_digest"].nunique() > 1:
            raise UserError(f"task '{task}': its runs used different versions of the data; {REMEDY}")
    for (source, backbone), group in runs.groupby(["source", "backbone"]):
        if group["weights_digest"].nunique() > 1:
            raise UserError(
                f"runs of source '{source}' with {backbone} started from different weights; {REMEDY}"
            )
