"""Runs on parts of the training patients, whose networks are frozen and whose features are stored.

In every fold a part of the training patients trains, and the same test patients test. The validation part
stays whole: a twentieth of it would hold no patient of the rarer class, and so nothing to choose an epoch by;
and of what varies along a curve there should be one thing. So the smallest sizes are flattered by an epoch
that was chosen with more labels, every source alike.

Patients are drawn anew for every fold, backbone and repeat, but alike for all sources. So draws of different
backbones and folds are independent, as `radlib.stats.bootstrap` takes them to be, and sources stay paired.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from radlib import compute
from radlib.data.images import open_packed
from radlib.data.splits import nested_part, part_columns, part_size, patient_classes
from radlib.errors import UserError
from radlib.seeds import seed_of
from radlib.study import Run, Study
from radlib.study.titles import task_title
from radlib.training.grid import Finished, carry_out
from radlib.training.results import Results, fold_predictions
from radlib.training.transfer_arm import PREDICTION, TransferArm, arm_cost

FEWEST = 2  # patients of a class: one alone would say what its own image looks like
FEWEST_SPARE = (
    4  # degrees of freedom of the draws; with fewer an interval takes tens of thousands of resamples
)


@dataclass(frozen=True)
class PartialRun(Run):
    """A run on the first patients of a random order of its fold's training patients."""

    fraction: float
    order: int

    @property
    def name(self) -> str:
        return f"{super().name}/part{self.fraction:g}/order{self.order}"


class PartialArm(TransferArm):
    """Runs on parts of the patients; where these networks look is not asked."""

    localises = False

    def parts(self, run: PartialRun) -> list[np.ndarray]:
        """As every run's, but of the training part only what the fraction takes."""
        train, validation, test = super().parts(run)
        manifest = self.packed.manifest.iloc[train]
        drawn = nested_part(
            manifest["patient_id"].to_numpy(), manifest["label"].to_numpy(), run.fraction, self._seed(run)
        )
        return [train[drawn], validation, test]

    def start(self, run: PartialRun) -> torch.Generator:
        """As every run's, but with another seed for every draw of patients."""
        return compute.start_run(self._seed(run))

    def _seed(self, run: PartialRun) -> int:
        """Without source and fraction: sources share the draw, and larger fractions contain smaller ones."""
        names = (self.study.origin(run.task), run.backbone, run.fold, run.seed, run.order)
        return seed_of(self.study.seed, "patients", *names)


def part_sizes(study: Study, task: str) -> tuple[pd.DataFrame, list[str]]:
    """The fractions that leave `FEWEST` patients of each class in every fold, and notes on the others.

    Returns:
        Columns fraction, n_train_patients and n_validation_patients (both the mean over folds, rounded).
    """
    manifest = open_packed(study.dataset_dir(task)).manifest
    training, validating = (
        [_numbers(manifest[manifest[column] == part]) for column in part_columns(manifest)]
        for part in ("train", "validation")
    )
    validation = round(np.mean([sum(fold) for fold in validating]))
    rows, notes = [], []
    for fraction in study.label_efficiency.fractions:
        drawn = [[part_size(count, fraction) for count in fold] for fold in training]
        fewest = min(min(fold) for fold in drawn)
        if fewest < FEWEST:
            notes.append(
                f"{task_title(study, task)}: {fraction:.0%} of the training patients are left out, for in "
                f"some fold they hold {fewest} of a class, and {FEWEST} are needed."
            )
            continue
        rows.append((fraction, round(np.mean([sum(fold) for fold in drawn])), validation))
    return pd.DataFrame(rows, columns=["fraction", "n_train_patients", "n_validation_patients"]), notes


def whole_runs(study: Study, task: str) -> list[Run]:
    """The runs of 03_transfer on all training patients that the curves end in.

    Raises:
        UserError: the task has none with that rate.
    """
    options = study.label_efficiency
    runs = [
        run
        for run in study.runs_of(task)
        if run.train == "frozen" and run.lr == options.lr and run.seed == study.transfer.seeds[0]
        if not options.backbones or run.backbone in options.backbones
    ]
    if not runs:
        raise UserError(
            f"label_efficiency.lr is {options.lr:g}, but no frozen setting of task '{task}' has that rate; "
            "take one of transfer.settings"
        )
    return runs


def partial_runs(study: Study, task: str, fractions: list[float]) -> list[PartialRun]:
    """Every run on a part of the training patients; a fraction of 1 has none."""
    return [
        PartialRun(**asdict(run), fraction=fraction, order=order)
        for run in whole_runs(study, task)
        for order in range(study.label_efficiency.repeats)
        for fraction in fractions
        if fraction < 1
    ]


def trained(study: Study, task: str, fractions: list[float]) -> Results:
    """Runs with fraction and order, and what they scored; what the store holds is not trained again.

    Raises:
        UserError: data or weights are missing, no fraction is left, or no frozen setting has the rate.
    """
    runs, images = [], []
    partial = partial_runs(study, task, fractions)
    if partial:
        _check_repeats(study, task)
        done = _train(study, task, partial, PartialArm, f"parts of {task}")
        runs.append(done.runs)
        images.append(done.images[PREDICTION])
    if 1 in fractions:
        done = _train(study, task, whole_runs(study, task), TransferArm, f"all of {task}")
        runs.append(done.runs.assign(fraction=1.0, order=0))
        images.append(done.images[PREDICTION])
    if not runs:
        raise UserError(
            f"label_efficiency.fractions: none leaves {FEWEST} training patients of each class of task "
            f"'{task}' in every fold; add larger ones, or take the task out"
        )
    everything = pd.concat(runs, ignore_index=True)
    predictions = fold_predictions(task, everything, pd.concat(images, ignore_index=True))
    return Results(everything, {task: predictions})


def _check_repeats(study: Study, task: str) -> None:
    """Before hours of training: could there be an interval over draws?"""
    sources = [run.source for run in whole_runs(study, task)]
    cells = min(sources.count(source) for source in set(sources))
    repeats = study.label_efficiency.repeats
    if (repeats - 1) * cells < FEWEST_SPARE:
        raise UserError(
            f"label_efficiency.repeats is {repeats}, too few for an interval over draws: task '{task}' has "
            f"{cells} pair(s) of fold and backbone; take at least {1 + math.ceil(FEWEST_SPARE / cells)}"
        )


def _train(study: Study, task: str, runs: list, arm_type: type[TransferArm], description: str) -> Finished:
    packed = open_packed(study.dataset_dir(task))
    return carry_out(
        study, task, runs, arm_type, lambda arm: arm_cost(study, packed, arm), description=description
    )


def _numbers(part: pd.DataFrame) -> list[int]:
    """Patients of each class in a part."""
    return list(patient_classes(part["patient_id"].to_numpy(), part["label"].to_numpy()).value_counts())
