"""Paired, patient-clustered bootstrap of the mean AUC over runs, and of the ROC curve.

The unit is the patient. A resample draws patients with replacement within each fold (test parts are
disjoint) and within each class of patients (positive if any image is), to the same number; all images of a
drawn patient come along, on every side and in every run, so sides stay paired. Every run's AUC is then
computed anew, averaged over runs, and the sides are subtracted. Clustered and stratified resampling: Davison
& Hinkley 1997, doi 10.1017/CBO9780511802843.

**Other trainings.** With patients alone the trained runs are held fixed: the interval says how the result
could vary with other test patients. Where every setting was trained with several seeds, the runs of each
setting can be resampled too, within the fold, the same on both sides. Patients and runs are crossed, not
nested; to resample both errs on the wide side, by the part of the variance that belongs to single
combinations of patient and run (the pigeonhole bootstrap, Owen 2007, doi 10.1214/07-AOAS122).

**How an AUC is computed.** With weights w = how often a patient is drawn, the AUC of a resample is

    sum_pq w_p w_q K[p, q] / (sum_p w_p positives_p) (sum_q w_q negatives_q),

where K[p, q] counts the pairs of a positive image of patient p and a negative image of patient q that are
in the right order, ties half. The divisor is the same for all runs, so the *mean* over runs only needs the
mean K: one patients x patients matrix per side and fold however many runs there are, and all resamples are
matrix products. `radlib.stats.pairs` says what is done where the matrices would not fit.
"""

from collections.abc import Sequence

import numpy as np

from radlib.stats.auc import aucs
from radlib.stats.estimate import Estimate
from radlib.stats.folds import (
    FoldPatients,
    FoldScores,
    both_columns,
    check_folds,
    check_paired,
    draw_counts,
    fold_patients,
    patient_weights,
    run_shares,
    smaller_class,
)
from radlib.stats.pairs import count_pairs, resamples_at_once

RUNS = 2  # number of the draws of runs in the seeds of their generators, beside the two strata of patients


def mean_auc(folds: Sequence[FoldScores], flattened: bool = False) -> float:
    """Mean over all runs of the run's AUC on its own fold's test images.

    Args:
        flattened: the area of `both_columns` instead.
    Raises:
        ValueError: no folds, or a patient in two of them.

    >>> mean_auc([FoldScores([0, 0, 1, 1], list("abcd"), [[0.2, 0.6, 0.4, 0.9], [0.3, 0.1, 0.8, 0.7]])])
    0.875
    """
    check_folds(folds)
    folds = [both_columns(fold) for fold in folds] if flattened else folds
    return float(np.concatenate([aucs(fold.scores, fold.labels) for fold in folds]).mean())


def bootstrap_mean_auc(
    sides: dict[str, Sequence[FoldScores]], resamples: int, seed: int, flattened: bool = False
) -> dict[str, Estimate]:
    """Mean AUC of each side, the same patients drawn for all sides.

    Args:
        sides: name -> folds; labels and patients must agree between sides, numbers of runs need not.
        seed: draws depend on it and on the patients only, not on sides or scores.
        flattened: the area of `both_columns` instead, of the very same resamples.
    Raises:
        ValueError: sides that are not paired, a patient in two folds, or a fold that cannot be resampled.

    >>> labels, patients = np.arange(20) % 2, np.arange(20)
    >>> scores = {"a": labels + 0.1 * patients, "b": 0 * labels}
    >>> sides = {name: [FoldScores(labels, patients, [some])] for name, some in scores.items()}
    >>> found = bootstrap_mean_auc(sides, 1000, seed=0)
    >>> found["a"].value, found["b"].interval(0.95)
    (0.9, (0.5, 0.5))
    """
    check_paired(sides)
    first = next(iter(sides.values()))
    draws = np.zeros((resamples, len(sides)))
    for number, share in enumerate(run_shares(first)):
        folds = [side[number] for side in sides.values()]
        draws += share * _of_one_fold(folds, resamples, seed, number, flattened)
    sample = smaller_class(first), len(first)
    return {
        name: Estimate(mean_auc(folds, flattened), drawn, *sample)
        for (name, folds), drawn in zip(sides.items(), draws.T.copy(), strict=True)
    }


def bootstrap_run_aucs(folds: Sequence[FoldScores], resamples: int, seed: int) -> Estimate:
    """AUC of every single run, those of the first fold first; patients are drawn as in `bootstrap_mean_auc`.

    >>> labels, patients = np.arange(20) % 2, np.arange(20)
    >>> found = bootstrap_run_aucs([FoldScores(labels, patients, [patients, labels])], 100, seed=0)
    >>> found.value, found.replicates.shape
    (array([0.55, 1.  ]), (100, 2))
    """
    draws = []
    for number, fold in enumerate(folds):
        single = [FoldScores(fold.labels, fold.patients, run[np.newaxis]) for run in fold.scores]
        draws.append(_of_one_fold(single, resamples, seed, number))
    values = [aucs(fold.scores, fold.labels) for fold in folds]
    sample = smaller_class(folds), len(folds)
    return Estimate(np.concatenate(values), np.concatenate(draws, axis=1), *sample)


def _of_one_fold(
    sides: list[FoldScores], resamples: int, seed: int, number: int, flattened: bool = False
) -> np.ndarray:
    """(resamples, sides): mean AUC over the runs of each side of fold `number`."""
    drawn = counted = fold_patients(sides[0])
    if flattened:
        sides, counted = [both_columns(fold) for fold in sides], drawn.both_columns()
    runs = np.array([fold.runs for fold in sides])
    ordered_pairs = count_pairs(sides, counted)
    draws = np.empty((resamples, len(sides)))
    for part, weights in patient_weights(drawn, resamples, seed, number, ordered_pairs.chunk):
        positives, negatives = counted.drawn(weights)
        draws[part] = ordered_pairs(weights) / (2 * (positives * negatives)[:, np.newaxis] * runs)
    return draws


def bootstrap_delta(
    a: Sequence[FoldScores],
    b: Sequence[FoldScores],
    resamples: int,
    seed: int,
    settings: Sequence[np.ndarray] | None = None,
) -> Estimate:
    """Difference of mean AUC, a - b, over other test patients and, given settings, other trainings.

    Args:
        settings: per fold, (runs,) the setting of each run; run r of one side is paired with run r of the
            other, and runs of one setting differ in their seed alone.
    Raises:
        ValueError: as `bootstrap_mean_auc`; sides with other numbers of runs, or a setting with a single run.

    >>> labels, patients = np.arange(40) % 2, np.arange(40)
    >>> a, b = (FoldScores(labels, patients, [shift * labels + patients]) for shift in (9, 1))
    >>> found = bootstrap_delta([a], [b], 2000, seed=0)
    >>> round(found.value, 3), found.p_value() < 0.05
    (0.17, True)
    """
    if settings is None:
        found = bootstrap_mean_auc({"a": a, "b": b}, resamples, seed)
        return found["a"] - found["b"]
    check_paired({"a": a, "b": b})
    for number, (fold, other, names) in enumerate(zip(a, b, settings, strict=True)):
        if not fold.runs == other.runs == len(names):
            raise ValueError(
                f"fold {number} has {fold.runs} and {other.runs} runs and settings of {len(names)}; runs of "
                "both sides must pair, so finish what is missing"
            )
    deltas = bootstrap_run_aucs(a, resamples, seed) - bootstrap_run_aucs(b, resamples, seed)
    n_settings = sum(len(np.unique(names)) for names in settings)
    return deltas.mean_of_runs(run_weights(settings, resamples, seed), n_settings)


def run_weights(settings: Sequence[np.ndarray], resamples: int, seed: int) -> np.ndarray:
    """(resamples, runs of all folds): how much each run counts in a resample of trainings; the mean is 1.

    With m runs of a setting, m draws with replacement would give a variance too small by (m - 1) / m, half of
    it for two seeds. So m - 1 are drawn, which puts it right (Rao & Wu 1988, doi
    10.1080/01621459.1988.10478591).

    Args:
        settings: per fold, (runs,) the setting of each run.
    Raises:
        ValueError: a setting with a single run.

    >>> run_weights([np.array(["x", "x", "y", "y"])], 3, seed=0).sum(axis=1)
    array([4., 4., 4.])
    """
    weights = [np.empty((resamples, len(names))) for names in settings]
    for number, names in enumerate(settings):
        rng = np.random.default_rng([seed, number, RUNS])
        for name in np.unique(names):
            own = np.flatnonzero(names == name)
            if len(own) < 2:
                raise ValueError(
                    f"setting {name} has a single run in fold {number}, which says nothing of the variation "
                    "between trainings; train every setting with two seeds or more"
                )
            drawn = draw_counts(rng, resamples, len(own), draws=len(own) - 1)
            weights[number][:, own] = drawn * len(own) / (len(own) - 1)
    return np.concatenate(weights, axis=1)


def roc_band(folds: Sequence[FoldScores], grid: np.ndarray, resamples: int, seed: int) -> Estimate:
    """Mean ROC curve over runs: sensitivity at each of k false positive rates.

    The vertical average of Fawcett 2006 (doi 10.1016/j.patrec.2005.10.010). Patients are drawn as in
    `bootstrap_mean_auc`. Its interval is a pointwise band: it holds at each false positive rate by itself,
    not for the whole curve at once. At a vertical step the upper end counts, so the curve starts at the
    sensitivity that is reached without a false positive.

    Args:
        grid: (k,) false positive rates in [0, 1].
    Raises:
        ValueError: no folds, or a fold that cannot be resampled.

    >>> fold = FoldScores(np.arange(20) % 2, np.arange(20), [np.arange(20)])
    >>> roc_band([fold], np.array([0, 0.5, 1]), 100, seed=0).value
    array([0.1, 0.6, 1. ])
    """
    check_folds(folds)
    mean, draws = np.zeros(len(grid)), np.zeros((resamples, len(grid)))
    for number, (fold, share) in enumerate(zip(folds, run_shares(folds), strict=True)):
        patients = fold_patients(fold)
        mean += share * _curves(fold, patients, grid, np.ones((1, patients.count)))[0]
        chunk = resamples_at_once(8 * 6 * len(fold.labels))
        for part, weights in patient_weights(patients, resamples, seed, number, chunk):
            draws[part] += share * _curves(fold, patients, grid, weights)
    return Estimate(mean, draws, smaller_class(folds), len(folds))


def _curves(fold: FoldScores, patients: FoldPatients, grid: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(b, k): true positive rate at each false positive rate of the grid, mean over the fold's runs."""
    curves = np.zeros((len(weights), len(grid)))
    drawn = patients.drawn(weights)
    for scores in fold.scores:
        order = np.argsort(-scores, kind="stable")
        ends = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])  # the last image of each score
        steps, positive = weights[:, patients.of_image[order]], fold.labels[order] == 1
        tpr, fpr = (
            np.cumsum(steps * own, axis=1, dtype=np.float64)[:, ends] / number[:, np.newaxis]
            for own, number in zip((positive, ~positive), drawn, strict=True)
        )
        for i in range(len(weights)):
            curves[i] += np.interp(grid, np.r_[0.0, fpr[i]], np.r_[0.0, tpr[i]])
    return curves / fold.runs
