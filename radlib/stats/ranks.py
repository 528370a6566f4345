"""Who wins, and how often: places of sources over resamples, and the share of pairs of runs that one wins.

*Places.* In every resample the sources are put in order of their mean AUC; the share of resamples in which
a source has a place says how stable the order is (Wiesenfarth et al. 2021, doi 10.1038/s41598-021-82017-6).
It is no probability that the source is the best: sources that differ by nothing but luck still take places.

*Improvement.* The probability that a run of one source beats the run of another in the same setting, fold
and seed, ties counted half (Agarwal et al. 2021, arXiv 2108.13264). It tells how often, the difference in AUC
by how much. In a resample, luck acts twice, which pulls the share towards one half; `recentred` takes that
back.
"""

import numpy as np
from scipy.stats import rankdata


def place_shares(draws: np.ndarray) -> np.ndarray:
    """How often each of k sources takes each place; equal sources share their places evenly.

    Args:
        draws: (resamples, k) float, higher is better.
    Returns:
        (k, k) float64: [source, place - 1]; rows and columns sum to 1.
    """
    first, last = (rankdata(-draws, method=method, axis=1) for method in ("min", "max"))
    places = np.arange(1, draws.shape[1] + 1)
    inside = (first[..., np.newaxis] <= places) & (places <= last[..., np.newaxis])
    return (inside / (last - first + 1)[..., np.newaxis]).mean(axis=0)


def wins(differences: np.ndarray) -> np.ndarray:
    """1 where a difference is positive, 0 where it is negative, one half where it is 0."""
    return (np.sign(differences) + 1) / 2


def recentred(draws: np.ndarray, value: float) -> np.ndarray:
    """Draws moved so that their mean is the value found: the bootstrap's correction of bias.

    For figures that noise pushes one way, as it does a share of wins towards one half and a calibration error
    upwards: a resample is pushed once more than the sample was (Efron & Tibshirani 1993, chapter 10,
    doi 10.1201/9780429246593).
    """
    return draws + (value - draws.mean())
