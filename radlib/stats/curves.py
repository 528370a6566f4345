"""Curves over the number of training patients: do they depend on it, and how many reach a given AUC?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import f as fisher

from radlib.stats.estimate import Estimate

FEWER, NOT_REACHED = 0.0, np.inf


def per_doubling(sizes: Sequence[int], curve: Sequence[Estimate], degrees: float) -> Estimate:
    """By how much a curve changes with each doubling: its slope on log2 of the size, by least squares.

    Args:
        sizes: two or more; curve: the figure at each, replicate i of all being of the same resample;
        degrees: of freedom of the interval.

    >>> points = [Estimate(level, np.full(9, level), patients=30) for level in (0.09, 0.07, 0.05)]
    >>> round(per_doubling([10, 20, 40], points, degrees=29).value, 3)
    -0.02
    """
    logs = np.log2(sizes)
    weights = (logs - logs.mean()) / ((logs - logs.mean()) ** 2).sum()
    value = float(sum(w * point.value for w, point in zip(weights, curve, strict=True)))
    draws = sum(w * point.replicates for w, point in zip(weights, curve, strict=True))
    return replace(min(curve, key=_spare), value=value, replicates=draws, degrees=degrees)


def p_flat(curve: Sequence[Estimate], degrees: float) -> float:
    """p of the hypothesis that a curve has one true value at all sizes, against any other shape.

    Hotelling's T^2 of the differences to the last point (1931, doi 10.1214/aoms/1177732979), with the
    covariance of their replicates, which is widened for few patients as an expanded percentile interval is.
    For two points it is the t-test of their difference. NaN where there are more differences than degrees of
    freedom; 1 where no replicate differs from another.

    >>> noise = np.random.default_rng(0).normal(0, 0.01, (3, 2000))
    >>> curve = [Estimate(level, level + x, patients=99) for level, x in zip((0.04, 0, 0), noise)]
    >>> p_flat(curve, degrees=40) < 0.05, p_flat(curve[1:], degrees=40) > 0.5
    (True, True)
    """
    values, draws = np.array([x.value for x in curve]), np.stack([x.replicates for x in curve])
    moved, few = values[:-1] - values[-1], min(curve, key=_spare)
    covariance = np.atleast_2d(np.cov(draws[:-1] - draws[-1])) * few.patients / (few.patients - few.folds)
    if not np.isfinite(covariance).all():
        return np.nan
    rank = int(np.linalg.matrix_rank(covariance))
    left = degrees - rank + 1
    if rank == 0 or left <= 0:
        return np.nan if rank else 1.0
    squared = float(moved @ np.linalg.pinv(covariance, hermitian=True) @ moved)
    return float(fisher.sf(squared * left / (degrees * rank), rank, left))


def _spare(one: Estimate) -> int:
    return one.patients - one.folds


def rising(curve: Sequence[Estimate]) -> list[Estimate]:
    """The curve made to rise (least squares, equal weights), in the data and in every resample.

    >>> points = [Estimate(auc, np.full(2, auc)) for auc in (0.5, 0.7, 0.6)]
    >>> [round(point.value, 2) for point in rising(points)]
    [0.5, 0.65, 0.65]
    """
    values = np.array([np.append(point.value, point.replicates) for point in curve]).T
    risen = np.array([isotonic_regression(row).x for row in values])
    return [
        replace(point, value=float(x[0]), replicates=x[1:]) for point, x in zip(curve, risen.T, strict=True)
    ]


def patients_to_reach(sizes: Sequence[int], curve: Sequence[Estimate], target: Estimate) -> Estimate:
    """Number of training patients at which a curve reaches the target, in the data and in every resample.

    The curve is made to rise and interpolated on the logarithm of the number of patients. A target that is a
    point of another curve should be one of `rising`, too: noise alone would else put it above, for a largest
    size is never raised. Nothing is extrapolated: `FEWER` (0) where the smallest size reaches the target
    already, twice the largest size where none does; `within` says so of the ends of an interval.

    Args:
        sizes: ascending; curve: the AUC at each, target: the AUC to be reached; replicate i of all is of the
            same resample.

    >>> points = [Estimate(auc, np.full(9, auc)) for auc in (0.6, 0.7, 0.8)]
    >>> round(patients_to_reach([10, 20, 40], points, Estimate(0.75, np.full(9, 0.75))).value, 1)
    28.3
    """
    values = np.array([np.append(point.value, point.replicates) for point in rising(curve)]).T
    wanted = np.append(target.value, target.replicates)[:, np.newaxis]
    logs, rows = np.log(sizes), np.arange(len(values))
    reached = values >= wanted
    first = reached.argmax(axis=1)
    before = np.maximum(first - 1, 0)
    low, high = values[rows, before], values[rows, first]
    part = (wanted[:, 0] - low) / np.where(high > low, high - low, 1)
    number = np.exp(logs[before] + part * (logs[first] - logs[before]))
    # Reached by the smallest size in no more than equality, it is that size; by more, fewer would do.
    number = np.where(first > 0, number, np.where(high > wanted[:, 0], FEWER, sizes[0]))
    number = np.where(reached.any(axis=1), number, 2.0 * sizes[-1])
    return replace(target, value=float(number[0]), replicates=number[1:])


def within(number: float, sizes: Sequence[int]) -> float:
    """The number, or `NOT_REACHED` where it stands for that.

    >>> within(30, [10, 40]), within(80, [10, 40])
    (30, inf)
    """
    return NOT_REACHED if number > sizes[-1] else number
