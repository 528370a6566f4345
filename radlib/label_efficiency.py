"""How many training patients it takes until the source no longer matters: runs on parts of them.

In every fold a part of the training patients trains, and the same test patients test. Only frozen backbones
run, whose features are stored. The validation part stays whole: a twentieth of it would hold no patient of
the rarer class, and so nothing to choose an epoch by; and of what varies along a curve there should be one
thing. So the smallest sizes are flattered by an epoch that was chosen with more labels, every source alike.

Patients are drawn anew for every fold, backbone and repeat, but alike for all sources. So draws of different
backbones and folds are independent, as `radlib.stats.two_levels` takes them to be, and sources stay paired.
"""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from radlib import compute
from radlib.errors import UserError
from radlib.grid import Finished, carry_out
from radlib.images import open_packed
from radlib.labels import ordered_pairs, pair_title, task_title
from radlib.progress import progress
from radlib.results import Results, fold_predictions
from radlib.runs import read_report, write_table
from radlib.seeds import seed_of
from radlib.splits import nested_part, part_columns, part_size, patient_classes
from radlib.stats.bootstrap import Difference, bootstrap_delta
from radlib.stats.two_levels import bootstrap_both_levels
from radlib.study import Run, Study
from radlib.transfer import PREDICTION, TransferArm, arm_cost

COLUMNS = [
    "task", "source_a", "source_b", "fraction", "n_train_patients", "auc_a", "auc_b", "delta", "ci_low",
    "ci_high", "p_value", "interval_holds", "sd_draws", "repeats", "n_runs", "n_backbones", "lr",
    "n_validation_patients", "n_patients", "n_images", "n_positive", "resamples", "simulated",
]  # fmt: skip
CURVE_COLUMNS = ["task", "source", "fraction", "n_train_patients", "auc", "sd_draws", "n_backbones"]
TESTED, BOTH = "patients tested", "patients tested and patients drawn"
FEWEST = 2  # patients of a class: one alone would say what its own image looks like
_CELL = ["backbone", "fold"]
_DRAW = [*_CELL, "order"]


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
        """As every run's, but with other luck of training for every draw of patients."""
        return compute.start_run(self._seed(run))

    def _seed(self, run: PartialRun) -> int:
        """Without source and fraction: sources share the draw, and larger fractions contain smaller ones."""
        names = (self.study.origin(run.task), run.backbone, run.fold, run.seed, run.order)
        return seed_of(self.study.seed, "patients", *names)


@dataclass(frozen=True)
class Efficiency:
    """`table` (`COLUMNS`): a row per task, pair and fraction; `curves` (`CURVE_COLUMNS`): per source."""

    table: pd.DataFrame
    curves: pd.DataFrame
    notes: list[str]


def label_efficiency(study: Study) -> Efficiency:
    """Train what the store lacks, and compare sources at every size.

    Raises:
        UserError: data or weights are missing, no frozen setting has the rate, or too few draws or patients
            for an interval.
    """
    rows, curves, notes = [], [], []
    for task in study.label_efficiency.tasks:
        sizes, said = part_sizes(study, task)
        results = _trained(study, task, list(sizes["fraction"]))
        found, missing = _compare(study, results, task, sizes)
        rows += found
        curves += _curves(study, results.runs, task, sizes)
        notes += said + missing
    return Efficiency(pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(curves, columns=CURVE_COLUMNS), notes)


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


def read_table(study: Study) -> pd.DataFrame:
    """label_efficiency.csv as `save_table` wrote it.

    Raises:
        UserError: the table is missing, or another version wrote it.
    """
    return read_report(study.report_dir / "label_efficiency.csv", COLUMNS, "label_efficiency")


def save_table(study: Study, table: pd.DataFrame) -> None:
    """Write label_efficiency.csv of `reports/<study>/`."""
    write_table(table, study.report_dir / "label_efficiency.csv")


# Runs -----------------------------------------------------------------------------------------------------
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


def _trained(study: Study, task: str, fractions: list[float]) -> Results:
    """Runs with fraction and order, and what they scored."""
    runs, images = [], []
    partial = partial_runs(study, task, fractions)
    if partial:
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


def _train(study: Study, task: str, runs: list, arm_type: type[TransferArm], description: str) -> Finished:
    packed = open_packed(study.dataset_dir(task))
    return carry_out(
        study, task, runs, arm_type, lambda arm: arm_cost(study, packed, arm), description=description
    )


# Comparison -----------------------------------------------------------------------------------------------
def _compare(study: Study, results: Results, task: str, sizes: pd.DataFrame) -> tuple[list[dict], list[str]]:
    rows, notes = [], []
    pairs = ordered_pairs(study)
    for pair in progress(pairs, description=f"bootstrap of {task}"):
        sides = _paired(results.runs, pair)
        if sides[0].empty:
            notes.append(f"{task_title(study, task)}: {pair_title(study, pair)} has no runs in common.")
            continue
        for size in sizes.to_dict("records"):
            some = [side[side["fraction"] == size["fraction"]] for side in sides]
            rows.append(_row(study, results, task, pair, some, size))
    return rows, notes


def _paired(runs: pd.DataFrame, pair: tuple[str, str]) -> list[pd.DataFrame]:
    """The runs of both sources that were trained on the same patients, in the same order."""
    keys = ["fraction", *_DRAW]
    sides = [runs[runs["source"] == source] for source in pair]
    common = sides[0][keys].merge(sides[1][keys], on=keys).sort_values(keys)
    return [common.merge(side, on=keys, how="left", validate="one_to_one") for side in sides]


def _row(study: Study, results: Results, task: str, pair, sides: list[pd.DataFrame], size: dict) -> dict:
    a, b = (results.scores(task, runs) for runs in sides)
    drawn = size["fraction"] < 1
    found = _difference(study, task, a, b, sides[0], drawn)
    delta = sides[0].assign(delta=sides[0]["test_auc"] - sides[1]["test_auc"])
    return {
        "task": task, "source_a": pair[0], "source_b": pair[1], **size, "auc_a": found.auc_a,
        "auc_b": found.auc_b, "delta": found.delta, "ci_low": found.ci_low, "ci_high": found.ci_high,
        "p_value": found.p_value, "interval_holds": BOTH if drawn else TESTED,
        "sd_draws": _scatter(delta, "delta"), "repeats": sides[0]["order"].nunique(),
        "n_runs": len(sides[0]), "n_backbones": sides[0]["backbone"].nunique(),
        "lr": study.label_efficiency.lr, "n_patients": sum(len(np.unique(f.patients)) for f in a),
        "n_images": sum(len(f.labels) for f in a), "n_positive": sum(int(f.labels.sum()) for f in a),
        "resamples": study.compare.resamples, "simulated": study.simulated,
    }  # fmt: skip


def _difference(study: Study, task: str, a, b, runs: pd.DataFrame, drawn: bool) -> Difference:
    """With an interval over patients tested, and where patients were drawn for training, over draws too."""
    options = study.compare
    # The seed of 04_auc: the same resampled patients there, at all sizes and for all pairs.
    luck = options.resamples, seed_of(study.seed, "bootstrap", task), options.confidence
    if not drawn:
        return bootstrap_delta(a, b, *luck)
    settings = [group["backbone"].to_numpy() for _, group in runs.groupby("fold")]
    return bootstrap_both_levels(a, b, settings, *luck)


def _curves(study: Study, runs: pd.DataFrame, task: str, sizes: pd.DataFrame) -> list[dict]:
    """Mean AUC of every source at every size, over the backbones that it has."""
    numbers = dict(zip(sizes["fraction"], sizes["n_train_patients"], strict=True))
    rows = []
    for (source, fraction), group in runs.groupby(["source", "fraction"]):
        rows.append(
            {
                "task": task, "source": source, "fraction": fraction,
                "n_train_patients": numbers[fraction], "auc": group["test_auc"].mean(),
                "sd_draws": _scatter(group, "test_auc"), "n_backbones": group["backbone"].nunique(),
            }
        )  # fmt: skip
    return sorted(rows, key=lambda row: (study.sources.index(row["source"]), row["fraction"]))


def _scatter(runs: pd.DataFrame, column: str) -> float:
    """SD over draws of one training, within fold and backbone (divisor n - 1); NaN where nothing is drawn."""
    return float(np.sqrt(runs.groupby(_CELL)[column].var(ddof=1).mean()))


def _numbers(part: pd.DataFrame) -> list[int]:
    """Patients of each class in a part."""
    return list(patient_classes(part["patient_id"].to_numpy(), part["label"].to_numpy()).value_counts())
