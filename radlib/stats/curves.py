"""A learning curve read sideways: how many training patients reach a given AUC?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from radlib.stats.estimate import Estimate

FEWER, NOT_REACHED = 0.0, np.inf


def patients_to_reach(sizes: Sequence[int], curve: Sequence[Estimate], target: Estimate) -> Estimate:
    """Number of training patients at which a curve reaches the target, in the data and in every resample.

    The curve is made to rise (least squares, equal weights) and interpolated on the logarithm of the number
    of patients. Nothing is extrapolated: `FEWER` (0) where the smallest size reaches the target already,
    twice the largest size where none does; `within` says so of the ends of an interval.

    Args:
        sizes: ascending; curve: the AUC at each, target: the AUC to be reached; replicate i of all is of the
            same resample.

    >>> points = [Estimate(auc, np.full(9, auc)) for auc in (0.6, 0.7, 0.8)]
    >>> round(patients_to_reach([10, 20, 40], points, Estimate(0.75, np.full(9, 0.75))).value, 1)
    28.3
    """
    values = np.array([np.append(point.value, point.replicates) for point in curve]).T
    wanted = np.append(target.value, target.replicates)[:, np.newaxis]
    rising, logs, rows = _rising(values), np.log(sizes), np.arange(len(values))
    reached = rising >= wanted
    first = reached.argmax(axis=1)
    before = np.maximum(first - 1, 0)
    low, high = rising[rows, before], rising[rows, first]
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


def _rising(values: np.ndarray) -> np.ndarray:
    """(r, k): isotonic regression of each row, by its formula of largest and smallest means."""
    sums = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    k = values.shape[1]
    mean = {(i, j): (sums[:, j + 1] - sums[:, i]) / (j + 1 - i) for i in range(k) for j in range(i, k)}
    least = {
        (i, at): np.min([mean[i, j] for j in range(at, k)], axis=0) for at in range(k) for i in range(at + 1)
    }
    return np.stack([np.max([least[i, at] for i in range(at + 1)], axis=0) for at in range(k)], axis=1)
