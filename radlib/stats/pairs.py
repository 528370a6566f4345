"""Rightly ordered pairs of a positive and a negative image, counted for many resamples of patients.

Both ways below give twice the weighted number of such pairs (ties half), summed over a fold's runs. These are
whole numbers held exactly in floating point, so the two ways agree to the last bit. One matrix per side is
faster unless there are many patients and few runs; it takes at most `KERNEL_BYTES` (twice that where numbers
are too large for float32), and working space is at most about `WORK_BYTES` more, or what one resample needs.
"""

import numpy as np
from scipy.sparse import csc_array

from radlib.stats.folds import FoldPatients, Folds

KERNEL_BYTES = 256 * 2**20
WORK_BYTES = 64 * 2**20
BLOCK_BYTES = 2**20  # images compared at once: small enough for a core's cache
FLOAT32_INTEGERS = 2**24  # whole numbers up to here are exact in float32
SORTED_RESAMPLES = 32  # resamples at once in the cumulative sums: more of them leave the cache
CELLS_PER_SCORE = 100  # this many cells of a matrix product take about as long as one sorted score


class KernelPairs:
    """By one matrix per side, whatever the number of runs; its cells are pairs of patients."""

    def __init__(self, folds: Folds, patients: FoldPatients) -> None:
        self.patients, self.sides = patients, len(folds)
        largest = 2 * max(fold.runs for fold in folds) * patients.positives.max() * patients.negatives.max()
        # A resample draws as many patients as there are, so no product exceeds this bound.
        exact = largest * patients.count < FLOAT32_INTEGERS
        dtype = np.float32 if exact else np.float64
        self.kernel = np.concatenate(_pair_counts(folds, patients, dtype)).T
        self.bytes_each = 8 * (4 * patients.count + 2 * self.kernel.shape[1])

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """(b, sides) float64 of (b, patients) weights."""
        rows = weights[:, : self.patients.n_with_positives].astype(self.kernel.dtype, copy=False)
        columns = weights[:, self.patients.first_with_negatives :]
        products = (rows @ self.kernel).reshape(len(weights), self.sides, -1)
        return np.einsum("bsq,bq->bs", products, columns, dtype=np.float64)


class SortedPairs:
    """Run by run: sort once, cumulative weights of the negatives, looked up at each positive."""

    def __init__(self, folds: Folds, patients: FoldPatients) -> None:
        needed = 8 * (3 * patients.count + 4 * len(folds[0].labels))
        self.bytes_each = max(needed, WORK_BYTES // SORTED_RESAMPLES)
        positive = folds[0].labels == 1
        self.positive_patients = patients.of_image[positive]
        self.runs = [[_lookup(s, positive, patients.of_image) for s in fold.scores] for fold in folds]

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """(b, sides) float64 of (b, patients) weights."""
        by_patient = np.ascontiguousarray(weights.T, dtype=np.float64)
        positives = by_patient[self.positive_patients]
        totals = np.zeros((len(weights), len(self.runs)))
        for side, runs in enumerate(self.runs):
            for negative_patients, below, not_above in runs:
                negatives = np.zeros((len(negative_patients) + 1, len(weights)))
                np.cumsum(by_patient[negative_patients], axis=0, out=negatives[1:])
                totals[:, side] += np.einsum("ib,ib->b", positives, negatives[below])
                totals[:, side] += np.einsum("ib,ib->b", positives, negatives[not_above])
        return totals


def count_pairs(folds: Folds, patients: FoldPatients) -> KernelPairs | SortedPairs:
    """The faster of the two for the same fold of all sides, the kernel only where it fits."""
    cells = len(folds) * patients.n_with_positives * (patients.count - patients.first_with_negatives)
    scores = sum(fold.scores.size for fold in folds)
    # Eight bytes a cell of float32: while the sides are put side by side, each matrix exists twice.
    kernel = 8 * cells <= KERNEL_BYTES and cells <= CELLS_PER_SCORE * scores
    return KernelPairs(folds, patients) if kernel else SortedPairs(folds, patients)


def _pair_counts(folds: Folds, patients: FoldPatients, dtype: type) -> list[np.ndarray]:
    """(patients with negatives, patients with positives): twice the rightly ordered pairs, over all runs."""
    positive, width = folds[0].labels == 1, patients.count - patients.first_with_negatives
    of_negative = patients.of_image[~positive] - patients.first_with_negatives
    by_positive = _sums(patients.of_image[positive], patients.n_with_positives, dtype)
    step = max(1, BLOCK_BYTES // (4 * len(by_positive.data)))
    blocks = [slice(start, start + step) for start in range(0, len(of_negative), step)]
    by_negative = [_sums(of_negative[block], width, dtype) for block in blocks]
    found = []
    for fold in folds:
        high, low = fold.scores[:, positive, np.newaxis], fold.scores[:, np.newaxis, ~positive]
        counts = np.zeros((width, patients.n_with_positives), dtype=dtype)
        for block, sums in zip(blocks, by_negative, strict=True):
            pairs = np.zeros((high.shape[1], sums.shape[1]), dtype=np.min_scalar_type(2 * fold.runs))
            for above, below in zip(high, low[..., block], strict=True):
                # Booleans as bytes: to add them is several times faster than to sum them.
                pairs += (above > below).view(np.uint8)
                pairs += (above >= below).view(np.uint8)
            counts += sums @ (by_positive @ pairs.astype(dtype)).T
        found.append(counts)
    return found


def _sums(groups: np.ndarray, count: int, dtype: type) -> csc_array:
    """(count, n) with which a product adds up n rows by group."""
    return csc_array((np.ones(len(groups), dtype), groups, np.arange(len(groups) + 1)), (count, len(groups)))


def _lookup(
    scores: np.ndarray, positive: np.ndarray, of_image: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patients of the negatives from low to high score; per positive, how many lie below, and not above."""
    order = np.argsort(scores[~positive], kind="stable")
    negatives = scores[~positive][order]
    below, not_above = (np.searchsorted(negatives, scores[positive], side) for side in ("left", "right"))
    return of_image[~positive][order], below, not_above
