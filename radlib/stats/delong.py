"""DeLong's variance of a difference of AUCs, with and without clustering by patient.

An AUC is a mean of structural components, one per image: V10 of a positive image is the share of negatives
that score lower, V01 of a negative image the share of positives that score higher, ties half. Their sample
variances give the variance of the AUC (DeLong, DeLong & Clarke-Pearson 1988, doi 10.2307/2531595). Mid-ranks
yield all components in O(n log n) (Sun & Xu 2014, doi 10.1109/LSP.2014.2337313). A mean over runs, and a
difference of sides, have the mean and the difference of components. Where a patient has several images, the
patient's components are summed first and the covariance of patients with both kinds is added (Obuchowski
1997, doi 10.2307/2533958); with one image per patient that is DeLong's variance exactly.

Test parts of folds share no patient, so their variances add, with the squared share of runs as weight.
The interval is normal: an asymptotic cross-check of the bootstrap, not its replacement.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from radlib.stats.folds import Folds, FoldScores, check_paired, of_two_classes, run_shares


@dataclass(frozen=True)
class DeLong:
    """Difference of mean AUC a - b, its standard error, normal interval and two-sided p-value.

    Where the standard error is 0, as for a side compared with itself, the interval has no width and p is 1;
    where it is 0 although the sides differ, no normal test exists: interval and p-value are NaN.
    """

    delta: float
    se: float
    ci_low: float
    ci_high: float
    p_value: float


def delong_difference(folds_a: Folds, folds_b: Folds, confidence: float = 0.95) -> DeLong:
    """Difference of two sides, each the mean AUC over its runs on the same test images.

    >>> a, b = (FoldScores([0, 0, 1, 1], list("abcd"), [x]) for x in ([0, 1, 2, 3], [1, 0, 0, 1]))
    >>> found = delong_difference([a], [b])
    >>> found.delta, round(found.se, 2), round(found.p_value, 2)
    (0.5, 0.35, 0.16)
    """
    check_paired({"a": folds_a, "b": folds_b})
    sides = ([run_components(fold).mean(axis=0) for fold in side] for side in (folds_a, folds_b))
    components = [a - b for a, b in zip(*sides, strict=True)]
    return delong_of_components(folds_a, components, confidence)


def delong_of_components(folds: Folds, components: Sequence[np.ndarray], confidence: float) -> DeLong:
    """The same where the (n,) differences of structural components are at hand, fold by fold."""
    delta = variance = 0.0
    for fold, differences, share in zip(folds, components, run_shares(folds), strict=True):
        delta += share * differences[fold.labels == 1].mean()
        variance += share**2 * _variance(differences, fold)
    delta, se = float(delta), math.sqrt(variance)
    if se < 1e-12:
        end, p = (delta, 1.0) if abs(delta) < 1e-12 else (math.nan, math.nan)
        return DeLong(delta, 0.0, end, end, p)
    low, high = norm.interval(confidence, delta, se)
    return DeLong(delta, se, float(low), float(high), float(2 * norm.sf(abs(delta) / se)))


def run_components(fold: FoldScores) -> np.ndarray:
    """(R, n) float64: V10 at positive and V01 at negative images; a run's mean over either is its AUC."""
    of_two_classes(fold, "DeLong's variance")
    positive = fold.labels == 1
    among_all = rankdata(fold.scores, axis=1)
    components = np.empty_like(fold.scores)
    for own in (positive, ~positive):
        among_own = rankdata(fold.scores[:, own], axis=1)
        lower = (among_all[:, own] - among_own) / (~own).sum()
        components[:, own] = lower if own is positive else 1 - lower
    return components


def _variance(components: np.ndarray, fold: FoldScores) -> float:
    """Variance of the mean of (n,) components; patients are independent."""
    _, patient = np.unique(fold.patients, return_inverse=True)
    center = components[fold.labels == 1].mean()
    # Of either class: sums by patient, patients that have images of it, and images.
    sums, counts, sizes = [], [], []
    for images in (fold.labels == 1, fold.labels == 0):
        sums.append(np.bincount(patient[images], components[images] - center, minlength=patient.max() + 1))
        counts.append(len(np.unique(patient[images])))
        sizes.append(images.sum())
    if min(counts) < 2:
        raise ValueError(
            f"a fold has {counts[0]} patients with positive and {counts[1]} with negative images; a variance "
            "needs two of each, so use fewer folds or more patients"
        )
    within = [n / (n - 1) * (s**2).sum() / size**2 for s, n, size in zip(sums, counts, sizes, strict=True)]
    between = (patient.max() + 1) / patient.max() * (sums[0] * sums[1]).sum() / (sizes[0] * sizes[1])
    # With patients of both kinds the sum of the three can fall a rounding error below 0.
    return max(float(sum(within) + 2 * between), 0.0)
