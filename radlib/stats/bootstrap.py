"""Paired, patient-clustered bootstrap of the mean AUC over runs.

The unit is the patient. A resample draws patients with replacement within each fold (test parts are
disjoint) and within each class of patients (positive if any image is), to the same number; all images of a
drawn patient come along, on every side and in every run, so sides stay paired. Every run's AUC is then
recomputed, averaged over runs, and the sides are subtracted. The trained runs are held fixed: the interval
says how the result could vary with other test patients, not with another training. Clustered and stratified
resampling: Davison & Hinkley 1997, doi 10.1017/CBO9780511802843.

**How it is computed.** With weights w = how often a patient is drawn, the AUC of a resample is

    sum_pq w_p w_q K[p, q] / (sum_p w_p positives_p) (sum_q w_q negatives_q),

where K[p, q] counts the pairs of a positive image of patient p and a negative image of patient q that are
in the right order, ties half. The divisor is the same for all runs, so the *mean* over runs only needs the
mean K: one patients x patients matrix per side and fold however many runs there are, and all resamples are
matrix products. Counts are kept doubled, as integers in floating point, hence without rounding error.

**Memory.** The matrices of one fold take at most `pairs.KERNEL_BYTES` (256 MiB; twice that where numbers
are too large for float32). Where they would not fit, or would be slower (many patients and few runs), the
fold is done run by run instead: sort once, cumulative sums of weights, ties half. Both ways give identical
numbers. Working space is at most about `pairs.WORK_BYTES` (64 MiB) more, or what one resample needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radlib.errors import UserError
from radlib.stats.auc import aucs, descending_steps
from radlib.stats.estimate import Estimate
from radlib.stats.flattened import both_columns, patients_of_both
from radlib.stats.folds import (
    FoldPatients,
    FoldScores,
    check_folds,
    check_paired,
    fold_patients,
    patient_weights,
    run_shares,
    smaller_class,
)
from radlib.stats.intervals import interval
from radlib.stats.pairs import count_pairs, resamples_at_once

__all__ = [
    "FoldScores",
    "RocBand",
    "bootstrap_delta",
    "bootstrap_mean_auc",
    "bootstrap_run_aucs",
    "interval",
    "mean_auc",
    "roc_band",
]


@dataclass(frozen=True, eq=False)
class RocBand:
    """Mean ROC curve and its pointwise band: (k,) float64 each; `fpr` is the grid."""

    fpr: np.ndarray
    tpr: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean_auc(folds: Sequence[FoldScores], flattened: bool = False) -> float:
    """Mean over all runs of the run's AUC on its own fold's test images.

    Args:
        flattened: the area of `radlib.stats.flattened` instead.
    Raises:
        UserError: no folds, or a patient in two of them.
    """
    check_folds(folds)
    folds = [both_columns(fold) for fold in folds] if flattened else folds
    return float(np.concatenate([aucs(fold.scores, fold.labels) for fold in folds]).mean())


def bootstrap_mean_auc(
    sides: dict[str, Sequence[FoldScores]],
    resamples: int,
    seed: int,
    kernel_bytes: int | None = None,
    flattened: bool = False,
) -> dict[str, np.ndarray]:
    """Mean AUC of each side in each resample, the same patients drawn for all sides.

    Args:
        sides: name -> folds; labels and patients must agree between sides, numbers of runs need not.
        resamples: number of resamples.
        seed: draws depend on it and on the patients only, not on sides or scores.
        kernel_bytes: most memory for one fold's matrices, as in `count_pairs`; the numbers are the same.
        flattened: the area of `radlib.stats.flattened` instead, of the very same resamples.
    Returns:
        name -> (resamples,) float64.
    Raises:
        UserError: sides that are not paired, a patient in two folds, or a fold that cannot be resampled.
    """
    check_paired(sides)
    if resamples < 1:
        raise UserError(f"resamples is {resamples}; at least one is needed")
    first = next(iter(sides.values()))
    draws = np.zeros((resamples, len(sides)))
    for number, share in enumerate(run_shares(first)):
        folds = [side[number] for side in sides.values()]
        drawn = counted = fold_patients(folds[0])
        if flattened:
            folds, counted = [both_columns(fold) for fold in folds], patients_of_both(drawn)
        runs = np.array([fold.runs for fold in folds])
        ordered_pairs = count_pairs(folds, counted, kernel_bytes)
        for part, weights in patient_weights(drawn, resamples, seed, number, ordered_pairs.chunk):
            pairs = counted.positives_drawn(weights) * counted.negatives_drawn(weights)
            draws[part] += share * ordered_pairs(weights) / (2 * pairs[:, np.newaxis] * runs)
    return dict(zip(sides, draws.T.copy(), strict=True))


def bootstrap_run_aucs(fold: FoldScores, resamples: int, seed: int, number: int) -> np.ndarray:
    """AUC of each single run in each resample; patients are drawn as in `bootstrap_mean_auc`.

    Args:
        number: of the fold, from 0.
    Returns:
        (resamples, runs) float64.
    Raises:
        UserError: a fold that cannot be resampled.
    """
    patients = fold_patients(fold)
    single = [FoldScores(fold.labels, fold.patients, run[np.newaxis]) for run in fold.scores]
    ordered_pairs = count_pairs(single, patients)
    draws = np.empty((resamples, fold.runs))
    for part, weights in patient_weights(patients, resamples, seed, number, ordered_pairs.chunk):
        pairs = patients.positives_drawn(weights) * patients.negatives_drawn(weights)
        draws[part] = ordered_pairs(weights) / (2 * pairs[:, np.newaxis])
    return draws


def bootstrap_delta(a: Sequence[FoldScores], b: Sequence[FoldScores], resamples: int, seed: int) -> Estimate:
    """Difference of mean AUC, a - b, over other test patients.

    Raises:
        UserError: as `bootstrap_mean_auc`.
    """
    drawn = bootstrap_mean_auc({"a": a, "b": b}, resamples, seed)
    return Estimate(mean_auc(a) - mean_auc(b), drawn["a"] - drawn["b"], smaller_class(a), len(a))


def roc_band(
    folds: Sequence[FoldScores], grid: np.ndarray, resamples: int, seed: int, confidence: float = 0.95
) -> RocBand:
    """Mean ROC curve over runs, with a band.

    The vertical average of Fawcett 2006 (doi 10.1016/j.patrec.2005.10.010). Patients are drawn as in
    `bootstrap_mean_auc`. The band is pointwise: it holds at each false positive rate by itself, not for the
    whole curve at once. At a vertical step the upper end counts, so the curve starts at the sensitivity that
    is reached without a false positive.

    Args:
        grid: (k,) false positive rates in [0, 1], ascending.
    Raises:
        UserError: no folds, a fold that cannot be resampled, a grid outside [0, 1], or too few resamples.
    """
    check_folds(folds)
    grid = np.asarray(grid, dtype=np.float64)
    if grid.ndim != 1 or grid.size == 0 or grid.min() < 0 or grid.max() > 1 or (np.diff(grid) <= 0).any():
        raise UserError(
            "the grid of false positive rates must ascend within 0 to 1, as np.linspace(0, 1, 101)"
        )
    mean, draws = np.zeros(len(grid)), np.zeros((resamples, len(grid)))
    for number, (fold, share) in enumerate(zip(folds, run_shares(folds), strict=True)):
        patients = fold_patients(fold)
        mean += share * _curves(fold, patients, grid, np.ones((1, patients.count)))[0]
        chunk = resamples_at_once(8 * 6 * len(fold.labels))
        for part, weights in patient_weights(patients, resamples, seed, number, chunk):
            draws[part] += share * _curves(fold, patients, grid, weights)
    low, high = interval(draws, confidence, smaller_class(folds), len(folds))
    return RocBand(grid, mean, low, high)


def _curves(fold: FoldScores, patients: FoldPatients, grid: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(b, k): true positive rate at each false positive rate of the grid, mean over the fold's runs."""
    curves = np.zeros((len(weights), len(grid)))
    n_positive, n_negative = patients.positives_drawn(weights), patients.negatives_drawn(weights)
    for scores in fold.scores:
        order, ends = descending_steps(scores)
        steps, positive = weights[:, patients.of_image[order]], fold.labels[order] == 1
        tpr = np.cumsum(steps * positive, axis=1, dtype=np.float64)[:, ends] / n_positive[:, np.newaxis]
        fpr = np.cumsum(steps * ~positive, axis=1, dtype=np.float64)[:, ends] / n_negative[:, np.newaxis]
        for i in range(len(weights)):
            curves[i] += np.interp(grid, np.r_[0.0, fpr[i]], np.r_[0.0, tpr[i]])
    return curves / fold.runs
