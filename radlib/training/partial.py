"""Runs on parts of the training patients, whose networks are frozen and whose features are stored.

In every fold a part of the training patients trains, and the same test patients test. The validation part
stays whole: a twentieth of it would hold no patient of the rarer class, and so nothing to choose an epoch by;
and of what varies along a curve there should be one thing. So the smallest sizes are flattered by an epoch
that was chosen with more labels, every source alike.

Patients are drawn anew for every fold, backbone and repeat, but alike for all sources. So draws of different
backbones and folds are independent, as `radlib.stats.bootstrap` takes them to be, and sources stay paired.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from radlib.data.images import open_packed
from radlib.data.splits import nested_part, part_columns, part_size, patient_classes
from radlib.errors import UserError
from radlib.seeds import seed_of
from radlib.study import Run, Study
from radlib.study.titles import task_title
from radlib.training.grid import carry_out
from radlib.training.predictions import fold_predictions
from radlib.training.results import Results
from radlib.training.transfer import TransferGroup, predictions_of

FEWEST = 2  # patients of a class: one alone would say what its own image looks like


@dataclass(frozen=True)
class PartialRun(Run):
    """A run on the first patients of a random order of its fold's training patients."""

    fraction: float = 1.0
    order: int = 0


class PartialGroup(TransferGroup):
    """Runs on parts of the patients; where these networks look, and of other hospitals, is not asked."""

    localises, elsewhere = False, None

    def parts(self, run: PartialRun) -> list[np.ndarray]:
        """As every run's, but of the training part only what the fraction takes."""
        train, validation, test = super().parts(run)
        manifest = self.packed.manifest.iloc[train]
        patients, labels = (manifest[column].to_numpy() for column in ("patient_id", "label"))
        drawn = nested_part(patients, labels, run.fraction, self.seed(run))
        return [train[drawn], validation, test]

    def seed(self, run: PartialRun) -> int:
        """Another for every draw of patients, which it decides too.

        Without source and fraction: sources share the draw, and larger fractions contain smaller ones.
        """
        names = (self.study.origin(run.task), run.backbone, run.fold, run.seed, run.order)
        return seed_of(self.study.seed, "patients", *names)


def part_sizes(study: Study, task: str) -> tuple[pd.DataFrame, list[str]]:
    """The fractions that leave `FEWEST` patients of each class in every fold, and notes on the others.

    Returns:
        Columns fraction, n_train_patients and n_validation_patients (both the mean over folds, rounded).
    """
    manifest = open_packed(study.dataset_dir(task)).manifest
    of_classes = {"train": [], "validation": []}  # by part: of every fold, patients of each class
    for part, folds in of_classes.items():
        for column in part_columns(manifest):
            some = manifest[manifest[column] == part]
            classes = patient_classes(some["patient_id"].to_numpy(), some["label"].to_numpy())
            folds.append(list(classes.value_counts()))
    validation = round(np.mean([sum(fold) for fold in of_classes["validation"]]))
    rows, notes = [], []
    for fraction in study.label_efficiency.fractions:
        drawn = [[part_size(count, fraction) for count in fold] for fold in of_classes["train"]]
        fewest = min(min(fold) for fold in drawn)
        if fewest >= FEWEST:
            rows.append((fraction, round(np.mean([sum(fold) for fold in drawn])), validation))
        else:
            notes.append(
                f"{task_title(study, task)}: {fraction:.0%} of the training patients are left out, for in "
                f"some fold they hold {fewest} of a class, and {FEWEST} are needed."
            )
    return pd.DataFrame(rows, columns=["fraction", "n_train_patients", "n_validation_patients"]), notes


def partial_runs(study: Study, task: str, fractions: list[float]) -> list[PartialRun]:
    """Every run on a part of the training patients; a fraction of 1 has none."""
    return [
        PartialRun(**asdict(run), fraction=fraction, order=order)
        for run in study.whole_runs_of(task)
        for order in range(study.label_efficiency.repeats)
        for fraction in fractions
        if fraction < 1
    ]


def trained(study: Study, task: str, fractions: list[float]) -> Results:
    """Runs with fraction and order, and what they scored; what the store holds is not trained again.

    Raises:
        UserError: data or weights are missing, or no fraction is left.
    """
    done = []
    whole, partial = study.whole_runs_of(task), partial_runs(study, task, fractions)
    if partial:
        done.append(carry_out(study, task, partial, PartialGroup, f"parts of {task}"))
    if 1 in fractions:
        found = carry_out(study, task, whole, TransferGroup, f"all of {task}")
        done.append(replace(found, runs=found.runs.assign(fraction=1.0, order=0)))
    if not done:
        raise UserError(
            f"label_efficiency.fractions: none leaves {FEWEST} training patients of each class of task "
            f"'{task}' in every fold; add larger ones, or take the task out"
        )
    runs = pd.concat([found.runs for found in done], ignore_index=True)
    rows = pd.concat([predictions_of(found) for found in done], ignore_index=True)
    rows = rows[~rows["external"].fillna(False).astype(bool)] if "external" in rows else rows
    return Results(runs, {task: fold_predictions(task, runs, rows, study.tasks[task].score)})
