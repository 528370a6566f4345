"""How alike two networks see the same images: unbiased linear centred kernel alignment (CKA).

CKA compares the similarities of all pairs of rows in one set of features with those in another, so it needs
no match between features, whose numbers may differ (Kornblith et al. 2019, arXiv 1905.00414):

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)),   K = X X', L = Y Y'.

With the usual estimate of HSIC unrelated features of more columns than rows come out nearly as alike as
equal ones, for every row is then most similar to itself. The unbiased HSIC_1 leaves the diagonals out (Song
et al. 2007, doi 10.1145/1273496.1273600; for CKA Nguyen et al. 2021, arXiv 2010.15327). It is the inner
product of U-centred matrices (Székely & Rizzo 2014, doi 10.1214/14-AOS1255), which is how it is computed.

**The interval.** A bootstrap draws rows twice, and a row is entirely similar to its copy, off the diagonal
too: CKA then rises, as with the diagonal. So rows are left out instead: the delete-d jackknife of Shao & Wu
(1989, doi 10.1214/aos/1176347263) with half of the rows, where subsets vary about the whole as much as the
whole varies about the truth, so that no factor is needed and no scale to be chosen.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, spearmanr

from radlib.stats.estimate import Estimate

FEWEST = 8  # rows: half of them must be four
FEWEST_POINTS = 5  # of a rank correlation


def cka(features: Sequence[np.ndarray]) -> np.ndarray:
    """Unbiased linear CKA of every set of features with every other.

    Args:
        features: k arrays (n, p_i) float, row i of each being of the same, independent subject.
    Returns:
        (k, k) float64, at most 1; about 0 where features have nothing in common, and then negative too.
    Raises:
        ValueError: rows that differ in number, fewer than four, not finite, or alike in a set of features.

    >>> x = np.random.default_rng(0).normal(size=(20, 50))
    >>> turned = 3 * x[:, ::-1] + 1
    >>> np.round(cka([x, turned]), 6) + 0
    array([[1., 1.],
           [1., 1.]])
    """
    return _aligned(_grams(features))


def subsampled_cka(
    features: Sequence[np.ndarray], pairs: Sequence[tuple[int, int]], resamples: int, seed: int
) -> Estimate:
    """CKA of some pairs of sets of features, with replicates of the same halves of the rows for all pairs.

    features: as in `cka`, of `FEWEST` rows or more; pairs: numbers of two sets each.

    >>> x = np.random.default_rng(0).normal(size=(3, 40, 5))
    >>> found = subsampled_cka([x[0], x[0] + x[1], x[2]], [(0, 1), (0, 2)], 400, seed=0)
    >>> low, high = found.interval(0.95)
    >>> (low < [0.5, 0]) & (high > [0.5, 0])
    array([ True,  True])
    """
    grams, (one, other) = _grams(features), np.transpose(pairs)
    count = grams.shape[1]
    if count < FEWEST:
        raise ValueError(f"{count} rows are too few for an interval of CKA; take {FEWEST} or more")
    value, rng = _aligned(grams)[one, other], np.random.default_rng(seed)
    draws = np.empty((resamples, len(pairs)))
    for draw in draws:
        half = rng.permutation(count)[: count // 2]
        draw[:] = _aligned(grams[:, half[:, np.newaxis], half])[one, other]
    return Estimate(value, draws, patients=count)


def _grams(features: Sequence[np.ndarray]) -> np.ndarray:
    """(k, n, n): inner products of rows, about their mean."""
    rows = {len(some) for some in features}
    if len(rows) > 1 or min(rows) < 4 or not all(np.isfinite(some).all() for some in features):
        raise ValueError(
            f"CKA needs finite features of the same four or more rows, not of {sorted(rows)} rows"
        )
    centred = [
        np.asarray(some, dtype=np.float64) - np.mean(some, axis=0, dtype=np.float64) for some in features
    ]
    for number, some in enumerate(centred):
        if np.allclose(some, 0):
            raise ValueError(f"set {number} says the same of every row, which is like nothing")
    return np.array([some @ some.T for some in centred])


def _aligned(grams: np.ndarray) -> np.ndarray:
    """(k, k) cosines between the U-centred matrices of (k, n, n) inner products."""
    count = grams.shape[1]
    off = 1 - np.eye(count)
    matrices = grams * off
    sums = matrices.sum(axis=1, keepdims=True)
    whole = sums.sum(axis=2, keepdims=True) / (count - 1)
    flat = (off * (matrices - (sums + sums.swapaxes(1, 2) - whole) / (count - 2))).reshape(len(grams), -1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    return flat @ flat.T


def rank_correlation(x: np.ndarray, y: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Spearman's rank correlation of n independent points, with both ends of its interval.

    On the scale of atanh, with the variance (1 + rho^2 / 2) / (n - 3) of Bonett & Wright (2000, doi
    10.1007/BF02294183). That scale is infinite at 1, where few points often lie by chance: rho is taken there
    as halfway to the next value that ranks can have. ValueError: fewer than `FEWEST_POINTS` points.

    >>> [round(value, 3) for value in rank_correlation(range(10), [1, 0, 3, 2, 5, 4, 7, 6, 9, 8], 0.95)]
    [0.939, 0.688, 0.99]
    """
    if len(x) < FEWEST_POINTS:
        raise ValueError(f"{len(x)} points give no interval of a rank correlation; take {FEWEST_POINTS}")
    rho = float(spearmanr(x, y).statistic)
    most = 1 - 6 / (len(x) ** 3 - len(x))
    half = norm.isf((1 - confidence) / 2) * np.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    low, high = np.tanh(np.arctanh(np.clip(rho, -most, most)) + [-half, half])
    return rho, float(min(low, rho)), float(max(high, rho))
