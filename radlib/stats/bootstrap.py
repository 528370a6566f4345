"""Paired, patient-clustered bootstrap of the mean AUC over runs, and of the ROC curve.

The unit is the patient. A resample draws patients with replacement within each fold (test parts are
disjoint) and within each class of patients (positive if any image is), to the same number; all images of a
drawn patient come along, on every side and in every run, so sides stay paired. Every run's AUC is then
computed anew, averaged over runs, and the sides are subtracted. Of several classes each class is a stratum,
and the AUC is the macro-averaged one of `radlib.stats.auc`, of the same resample class by class. Clustered
and stratified resampling: Davison & Hinkley 1997, doi 10.1017/CBO9780511802843.

**Other trainings.** With patients alone the trained runs are held fixed: the interval says how the result
could vary with other test patients. Where every setting was trained with several seeds, the runs of each
setting vary, too: `radlib.stats.pretrainings` says how their variance and that of patients are added. To draw
both at once (`run_weights`) keeps replicates of several means paired, but counts twice what belongs to single
combinations of patient and run (the pigeonhole bootstrap, Owen 2007, doi 10.1214/07-AOAS122).

**How an AUC is computed.** With weights w = how often a patient is drawn, the AUC of a resample is

    sum_pq w_p w_q K[p, q] / (sum_p w_p positives_p) (sum_q w_q negatives_q),

where K[p, q] counts the pairs of a positive image of patient p and a negative image of patient q that are
in the right order, ties half. The divisor is the same for all runs, so the *mean* over runs only needs the
mean K: one patients x patients matrix per side and fold however many runs there are, and all resamples are
matrix products. `radlib.stats.pairs` says what is done where the matrices would not fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import rankdata

from radlib.stats.auc import aucs
from radlib.stats.estimate import Estimate
from radlib.stats.folds import (
    ClassPatients,
    FoldPatients,
    Folds,
    FoldScores,
    both_columns,
    check_disjoint,
    check_paired,
    draw_counts,
    fold_patients,
    of_two_classes,
    one_against_rest,
    ordered_patients,
    patient_weights,
    run_shares,
    smaller_class,
)
from radlib.stats.pairs import WORK_BYTES, count_pairs
from radlib.stats.pretrainings import over_trainings

RUNS = 2**31  # number of the draws of runs in the seeds of their generators, far from those of strata
# Of (b, patients) float32 weights, (b, k) float64; and how much memory each of b resamples takes.
Statistic = tuple[Callable[[np.ndarray], np.ndarray], int]


def resampled(
    folds: Folds,
    statistic: Callable[[int, FoldPatients], Statistic],
    resamples: int,
    seed: int,
    within_classes: bool = True,
) -> list[Estimate]:
    """Any k figures of each fold that can be computed from how often each patient was drawn.

    Args:
        statistic: of the fold's number and its patients. Draws depend on the seed and on the patients only.
        within_classes: as many patients of each class as there are, which is right for what depends on each
            class by itself, such as an AUC; False where the share of positives matters, too: it varies
            between samples of patients as anything else does.

    >>> fold = FoldScores([0, 1] * 3, list("abcdef"), np.zeros((1, 6)))
    >>> (found,) = resampled([fold], lambda number, patients: (lambda w: w[:, :3], 9), 40, seed=0)
    >>> found.value, found.replicates.shape, found.patients
    (array([1., 1., 1.], dtype=float32), (40, 3), 3)
    """
    found, of_folds = [], [fold_patients(fold) for fold in folds]
    smallest = smaller_class(folds)
    if not within_classes:
        of_folds = [replace(patients, strata=[patients.count]) for patients in of_folds]
        smallest = sum(patients.count for patients in of_folds)
    sample = smallest, len(folds)
    for number, patients in enumerate(of_folds):
        of_weights, bytes_each = statistic(number, patients)
        chunk = max(1, WORK_BYTES // bytes_each)
        (value,) = of_weights(np.ones((1, patients.count), dtype=np.float32))
        draws = [of_weights(weights) for weights in patient_weights(patients, resamples, seed, number, chunk)]
        found.append(Estimate(value, np.concatenate(draws), *sample))
    return found


def mean_of_folds(folds: Folds, found: Sequence[Estimate]) -> Estimate:
    """The mean over runs, of k figures that are means over each fold's runs."""
    pairs = list(zip(run_shares(folds), found, strict=True))
    value, draws = sum(share * x.value for share, x in pairs), sum(share * x.replicates for share, x in pairs)
    return Estimate(value, draws, *found[0].sample)


def mean_auc(folds: Folds, flattened: bool = False) -> float:
    """Mean over all runs of the run's AUC on its own fold's test images; flattened: of `both_columns`.

    >>> mean_auc([FoldScores([0, 0, 1, 1], list("abcd"), [[0.2, 0.6, 0.4, 0.9], [0.3, 0.1, 0.8, 0.7]])])
    0.875
    """
    check_disjoint([fold.patients for fold in folds])
    folds = [both_columns(fold) for fold in folds] if flattened else folds
    return float(np.concatenate([aucs(fold.scores, fold.labels) for fold in folds]).mean())


def bootstrap_mean_auc(
    sides: dict[str, Folds], resamples: int, seed: int, flattened: bool = False
) -> dict[str, Estimate]:
    """Mean AUC of each side, the same patients drawn for all sides.

    Args:
        sides: name -> folds; labels and patients must agree between sides, numbers of runs need not.
        flattened: the area of `both_columns` instead, of the very same resamples.
    Raises:
        ValueError: sides that are not paired, a patient in two folds, or a fold that cannot be resampled.

    >>> labels, patients = np.arange(20) % 2, np.arange(20)
    >>> a, b = ([FoldScores(labels, patients, [scores])] for scores in (patients, 0 * patients))
    >>> found = bootstrap_mean_auc({"a": a, "b": b}, 1000, seed=0)
    >>> found["a"].value, found["b"].interval(0.95)
    (0.55, (0.5, 0.5))
    """
    check_paired(sides)
    folds, *_ = sides.values()

    def aucs_of(number: int, patients: FoldPatients) -> Statistic:
        return _aucs([side[number] for side in sides.values()], patients, flattened)

    found = mean_of_folds(folds, resampled(folds, aucs_of, resamples, seed))
    return {name: found.columns(place) for place, name in enumerate(sides)}


def bootstrap_run_aucs(folds: Folds, resamples: int, seed: int) -> Estimate:
    """AUC of every single run, those of the first fold first; patients are drawn as in `bootstrap_mean_auc`.

    >>> labels, patients = np.arange(20) % 2, np.arange(20)
    >>> found = bootstrap_run_aucs([FoldScores(labels, patients, [patients, labels])], 100, seed=0)
    >>> found.value, found.replicates.shape
    (array([0.55, 1.  ]), (100, 2))
    """

    def aucs_of(number: int, patients: FoldPatients) -> Statistic:
        fold = folds[number]
        single = [FoldScores(fold.labels, fold.patients, run[np.newaxis]) for run in fold.scores]
        return _aucs(single, patients)

    found = resampled(folds, aucs_of, resamples, seed)
    values = np.concatenate([aucs(fold.scores, fold.labels) for fold in folds])
    return Estimate(values, np.concatenate([one.replicates for one in found], axis=1), *found[0].sample)


def _aucs(sides: list[FoldScores], patients: FoldPatients, flattened: bool = False) -> Statistic:
    """Mean AUC over the runs of each side, (b, sides)."""
    if flattened:
        sides, patients = [both_columns(fold) for fold in sides], patients.both_columns()
    if sides[0].scores.ndim == 3:
        return _macro_aucs(sides, patients)
    runs = np.array([fold.runs for fold in sides])
    ordered_pairs = count_pairs(sides, patients)

    def aucs_of(weights: np.ndarray) -> np.ndarray:
        positives, negatives = patients.drawn(weights)
        return ordered_pairs(weights) / (2 * (positives * negatives)[:, np.newaxis] * runs)

    return aucs_of, ordered_pairs.bytes_each


def _macro_aucs(sides: list[FoldScores], patients: ClassPatients) -> Statistic:
    """Mean over the classes of what `_aucs` says of each against the rest."""
    of_classes = []
    for number in range(sides[0].scores.shape[2]):
        folds = [one_against_rest(fold, number) for fold in sides]
        own = ordered_patients(folds[0])  # the strata of all classes see to it that none is lacking
        # Where each patient, in the order of the class, stands among `patients`.
        place = np.empty(own.count, dtype=np.int64)
        place[own.of_image] = patients.of_image
        of_classes.append((place, *_aucs(folds, own)))

    def aucs_of(weights: np.ndarray) -> np.ndarray:
        return np.mean([of_class(weights[:, place]) for place, of_class, _ in of_classes], axis=0)

    return aucs_of, sum(bytes_each for *_, bytes_each in of_classes)


def bootstrap_delta(
    a: Folds,
    b: Folds,
    resamples: int,
    seed: int,
    settings: Sequence[np.ndarray] | None = None,
    training_seed: int | None = None,
) -> Estimate:
    """Difference of mean AUC, a - b, over other test patients and, given settings, other trainings.

    Args:
        settings: per fold, (runs,) the setting of each run; run r of one side is paired with run r of the
            other, and runs of one setting differ in their seed alone.
        training_seed: of what trainings add, by default `seed`. Differences that are compared with each other
            are of the same patients, but each of trainings of its own, so they need one each.
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
    cells = [f"{name} in fold {number}" for number, names in enumerate(settings) for name in names]
    return over_trainings(deltas, np.array(cells), seed if training_seed is None else training_seed)


def run_weights(settings: Sequence[np.ndarray], resamples: int, seed: int) -> np.ndarray:
    """(resamples, runs of all folds): how much each run counts in a resample of trainings; the mean is 1.

    With m runs of a setting, m draws with replacement would give a variance too small by (m - 1) / m, half of
    it for two seeds. So m - 1 are drawn, which puts it right (Rao & Wu 1988, doi
    10.1080/01621459.1988.10478591). settings: per fold, (runs,) the setting of each run, each of two or more.

    >>> run_weights([np.array(["x", "x", "y", "y"])], 3, seed=0).sum(axis=1)
    array([4., 4., 4.])
    """
    weights = [np.empty((resamples, len(names))) for names in settings]
    for number, names in enumerate(settings):
        rng = np.random.default_rng([seed, number, RUNS])
        for name in np.unique(names):
            own = np.flatnonzero(names == name)
            drawn = draw_counts(rng, resamples, len(own), draws=len(own) - 1)
            weights[number][:, own] = drawn * len(own) / (len(own) - 1)
    return np.concatenate(weights, axis=1)


def roc_band(folds: Folds, grid: np.ndarray, resamples: int, seed: int) -> Estimate:
    """Mean ROC curve over runs: sensitivity at each of k false positive rates.

    The vertical average of Fawcett 2006 (doi 10.1016/j.patrec.2005.10.010). Its interval is a pointwise band:
    it holds at each false positive rate by itself, not for the whole curve at once. At a vertical step the
    upper end counts, so the curve starts at the sensitivity that is reached without a false positive.

    >>> fold = FoldScores(np.arange(20) % 2, np.arange(20), [np.arange(20)])
    >>> roc_band([fold], np.array([0, 0.5, 1]), 100, seed=0).value
    array([0.1, 0.6, 1. ])
    """
    check_disjoint([fold.patients for fold in folds])
    of_two_classes(folds[0], "a ROC curve")

    def curves_of(number: int, patients: FoldPatients) -> Statistic:
        fold = folds[number]
        return lambda weights: _curves(fold, patients, grid, weights), 8 * 6 * len(fold.labels)

    return mean_of_folds(folds, resampled(folds, curves_of, resamples, seed))


def _curves(fold: FoldScores, patients: FoldPatients, grid: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(b, k): true positive rate at each false positive rate of the grid, mean over the fold's runs."""
    curves, drawn = np.zeros((len(weights), len(grid))), patients.drawn(weights)
    # Curves side by side are read as one; a rate counts as reached whatever rounding says.
    apart, rates = 2.0 * np.arange(len(weights))[:, np.newaxis], np.minimum(grid + 1e-9, 1)
    for scores in fold.scores:
        order = np.argsort(-scores, kind="stable")
        ends = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])  # the last image of each score
        steps, positive = weights[:, patients.of_image[order]], fold.labels[order] == 1
        tpr, fpr = (
            np.cumsum(steps * own, axis=1, dtype=np.float64)[:, ends] / number[:, np.newaxis]
            for own, number in zip((positive, ~positive), drawn, strict=True)
        )
        tpr, fpr = (np.pad(some, ((0, 0), (1, 0))) for some in (tpr, fpr))
        curves += np.interp(apart + rates, (apart + fpr).ravel(), tpr.ravel())
    return curves / fold.runs


def place_shares(draws: np.ndarray) -> np.ndarray:
    """How often each of k sources takes each place; equal sources share their places evenly.

    The share of resamples in which a source has a place says how stable the order is (Wiesenfarth et al.
    2021, doi 10.1038/s41598-021-82017-6). It is no probability that the source is the best: sources that do
    not differ at all still take places.

    Args:
        draws: (resamples, k) float, higher is better.
    Returns:
        (k, k) float64: [source, place - 1]; rows and columns sum to 1.

    >>> place_shares(np.array([[0.8, 0.7], [0.8, 0.8]]))
    array([[0.75, 0.25],
           [0.25, 0.75]])
    """
    first, last = (rankdata(-draws, method=method, axis=1) for method in ("min", "max"))
    places = np.arange(1, draws.shape[1] + 1)
    inside = (first[..., np.newaxis] <= places) & (places <= last[..., np.newaxis])
    return (inside / (last - first + 1)[..., np.newaxis]).mean(axis=0)


def wins(differences: Estimate) -> Estimate:
    """Of differences of k pairs of runs, which pairs are won: 1, or 0 where lost, one half where equal.

    Their mean is the probability that a run of one source beats the run of another in the same setting, fold
    and seed (Agarwal et al. 2021, arXiv 2108.13264). It tells how often, the difference in AUC by how much. A
    resample varies once more than the data, which pulls the share towards one half. For one task the expanded
    percentile interval stands this: in 200 to 300 simulated studies of 50 + 50 patients it covered the
    expected share 96 to 97% of times where that lay between 0.46 and 0.95, in 1 770 studies of 110 + 110
    patients and 5 folds 93% of times where it was 0.28. Beyond 0.99, where most studies win every pair, it
    covered it 63 to 70% of times, for want of width. A mean over tasks has no such interval.

    >>> wins(Estimate(np.array([0.1, 0.0, -2.0]), np.zeros((1, 3)))).mean_of_runs().value
    0.5
    """
    value, replicates = ((np.sign(x) + 1) / 2 for x in (differences.value, differences.replicates))
    return replace(differences, value=value, replicates=replicates)
