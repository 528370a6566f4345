"""What all runs of a task scored on the same images, from a row per run and image."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from radlib.errors import UserError, of_task
from radlib.stats.auc import aucs, by_patient
from radlib.stats.folds import FoldScores

REMEDY = "run dvc repro to compute it again"


@dataclass(frozen=True)
class FoldPredictions:
    """All runs of one task on the test part of one fold; images sorted by id.

    image_ids, patients: str (n,); labels: int (n,), 0 or 1; runs: str (R,); scores: float64 (R, n), or
    (R, n, K) of K classes, with labels from 0 to K - 1.
    score: what is compared, images or patients, as `Task.score` says.
    """

    fold: int
    image_ids: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    runs: np.ndarray
    scores: np.ndarray
    score: str = "image"

    def of(self, runs: list[str]) -> FoldScores:
        """The scores of the named runs, in the order given; UserError where one is not there."""
        what = "runs of the external set" if self.fold < 0 else f"runs of fold {self.fold}"
        return self.scored(self.scores[places_of(runs, self.runs, what)])

    def scored(self, scores: np.ndarray) -> FoldScores:
        """(R, n) scores of these images as they are compared: of images, or of their patients."""
        if self.score == "image":
            return FoldScores(self.labels, self.patients, scores)
        how = self.score.removeprefix("patient_")
        scores, labels, patients = by_patient(scores, self.labels, self.patients, how)
        return FoldScores(labels, patients, scores)

    def without(self, image_ids: np.ndarray) -> "FoldPredictions":
        """The same without some images."""
        keep = ~np.isin(self.image_ids, image_ids)
        some = {name: getattr(self, name)[keep] for name in ("image_ids", "patients", "labels")}
        return replace(self, **some, scores=self.scores[:, keep])


def places_of(wanted: Iterable[str], known: Iterable[str], what: str) -> np.ndarray:
    """int64, where each one wanted stands among those known; UserError where it does not."""
    places, wanted = pd.Index(known).get_indexer(wanted), np.asarray(wanted)
    if (places < 0).any():
        raise UserError(
            f"{what}: {int((places < 0).sum())} of {len(wanted)} are missing, the first is "
            f"{wanted[places < 0][0]}; {REMEDY}"
        )
    return places


@of_task
def fold_predictions(
    task: str, runs: pd.DataFrame, rows: pd.DataFrame, score: str = "image"
) -> list[FoldPredictions]:
    """What a task's runs scored, one entry per fold, from a row per run and test image; as `load_results`."""
    without = set(runs["run"]) - set(rows["run"])
    if without:
        raise UserError(
            f"task '{task}': {len(without)} runs have no predictions, the first is {min(without)}; {REMEDY}"
        )
    parts = [_one_fold(task, int(fold), runs, group, score) for fold, group in rows.groupby("fold")]
    tested = pd.concat([pd.Series(np.unique(part.patients)) for part in parts])
    if tested.duplicated().any():
        patient = tested[tested.duplicated()].iloc[0]
        raise UserError(
            f"task '{task}': patient {patient} is in the test part of two folds, so the folds are not "
            "independent; prepare the data and run the task again (dvc repro)"
        )
    return parts


def _one_fold(task: str, fold: int, runs: pd.DataFrame, rows: pd.DataFrame, score: str) -> FoldPredictions:
    where = f"task '{task}', fold {fold}"
    if set(rows["run"]) != set(runs.loc[runs["fold"] == fold, "run"]):
        raise UserError(f"{where}: runs.parquet and predictions.parquet name different runs; {REMEDY}")
    part = together(where, fold, rows, score)
    stored = runs.set_index("run").loc[part.runs, "test_auc"].to_numpy(dtype=float)
    compared = part.scored(part.scores)
    found = aucs(compared.scores, compared.labels)
    # Scores stored with fewer digits may tie where the training's own did not.
    if np.abs(stored - found).max() > 1e-3:
        raise UserError(f"{where}: test_auc in runs.parquet does not follow from the predictions; {REMEDY}")
    return part


def together(where: str, fold: int, rows: pd.DataFrame, score: str) -> FoldPredictions:
    """What several runs scored on the same images, from a row per run and image."""
    if rows.duplicated(["run", "image_id"]).any():
        raise UserError(f"{where}: a run scored one image twice; {REMEDY}")
    images = rows[["image_id", "patient_id", "label"]].drop_duplicates().sort_values("image_id")
    if images["image_id"].duplicated().any() or len(rows) != len(images) * rows["run"].nunique():
        raise UserError(f"{where}: not all runs were tested on the same images; {REMEDY}")
    columns = [name for name in rows if re.fullmatch(r"score(_\d+)?", name)]  # or one of each class, in order
    if not columns:
        raise UserError(f"{where}: the table of predictions lacks the column score; {REMEDY}")
    if not np.isfinite(rows[columns]).all(axis=None):
        raise UserError(f"{where}: a score is no finite number; {REMEDY}")
    if len(columns) == 1 and set(images["label"]) != {0, 1}:
        raise UserError(
            f"{where}: the test part needs both classes, 0 and 1; use fewer folds or more patients"
        )
    tables = rows.pivot(index="run", columns="image_id", values=columns)
    scores = np.stack([tables[column].to_numpy(dtype=np.float64) for column in columns], axis=2)
    return FoldPredictions(
        fold=fold,
        image_ids=images["image_id"].to_numpy(),
        patients=images["patient_id"].to_numpy(),
        labels=images["label"].to_numpy(dtype=np.int64),
        runs=tables.index.to_numpy(),
        scores=scores if len(columns) > 1 else scores[..., 0],
        score=score,
    )
