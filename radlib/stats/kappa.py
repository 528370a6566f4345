"""Agreement of readers beyond chance: Cohen's kappa of two readers, Fleiss' of more, with intervals.

Both are kappa = (o - e) / (1 - e), where o is how often two readings of an image agree, and e how often they
would by chance:

    Cohen 1960 (doi 10.1177/001316446002000104): o_i = 1 if both say the same; e = sum_k p_k q_k, p and q the
        two readers' shares of label k;
    Fleiss 1971 (doi 10.1037/h0031619): o_i = share of agreeing pairs among the r_i readings of image i;
        e = sum_k p_k^2, p_k the mean over images of the share of readings with label k. Images may be read by
        different numbers of readers, as Gwet has it, but each by two.

So an image is a row (o_i, p_i, q_i), and kappa a function of the rows' mean. The interval resamples patients
with all their images. Beside it stands the large-sample standard error by the delta method, which takes
images as independent: for two readers that of Fleiss, Cohen & Everitt 1969 (doi 10.1037/h0028106), for more
that of Gwet 2021 (doi 10.1177/0013164420973080), with n in place of n - 1.
"""

from dataclasses import dataclass

import numpy as np

from radlib.stats.estimate import Estimate, resamples_needed

UNREAD = -1
_MOST_UNDEFINED = 0.01


@dataclass(frozen=True)
class Agreement:
    """How far readers agree on the images that two or more of them read.

    method: "cohen" or "fleiss". observed: o above, 0 to 1. kappa: NaN where all readings are one label.
    ci_low, ci_high: NaN where there are too few patients. standard_error: large-sample, images independent.
    """

    method: str
    images: int
    patients: int
    readers: int
    observed: float
    kappa: float
    ci_low: float
    ci_high: float
    standard_error: float


def agreement(
    ratings: np.ndarray, patients: np.ndarray, resamples: int, seed: int, confidence: float = 0.95
) -> Agreement:
    """Cohen's kappa where two readers read, Fleiss' where more did.

    Resamples in which all readings are one label have no kappa; with more than one of them in a hundred there
    is no interval.

    Args:
        ratings: (n, readers) int labels from 0, UNREAD where a reader did not read the image; images read by
            fewer than two are left out, and so are readers who read none of the others.
        patients: (n,) patient of each image.

    >>> readings = np.array([[0, 0], [1, 1], [0, 1], [1, 1], [UNREAD, 1]])
    >>> found = agreement(readings, np.arange(5), resamples=1000, seed=0)
    >>> found.method, found.images, found.observed, round(found.kappa, 2)
    ('cohen', 4, 0.75, 0.5)
    """
    twice_read = (ratings != UNREAD).sum(axis=1) >= 2
    if not twice_read.any():
        raise ValueError("no image was read by two readers; agreement needs some that were")
    ids, of_image = np.unique(np.asarray(patients)[twice_read], return_inverse=True)
    ratings = ratings[twice_read]
    ratings = ratings[:, (ratings != UNREAD).any(axis=0)]
    images, readers, n_patients = *ratings.shape, len(ids)
    rows = _rows(ratings)
    mean = rows.mean(axis=0)
    kappa, observed = float(_kappa(mean)), float(mean[0])
    low, high = np.nan, np.nan
    if n_patients > 1 and resamples >= resamples_needed(confidence, n_patients):
        draws = _replicates(rows, of_image, resamples, seed)
        defined = draws[np.isfinite(draws)]
        if len(defined) >= (1 - _MOST_UNDEFINED) * resamples:
            low, high = Estimate(kappa, defined, n_patients).interval(confidence)
    # What each image adds to kappa, to first order.
    p, q = np.split(mean[1:], 2)
    chance = rows[:, 1:] @ np.concatenate([q, p]) - 2 * p @ q
    with np.errstate(invalid="ignore", divide="ignore"):
        influence = (rows[:, 0] - observed - (1 - kappa) * chance) / (1 - p @ q)
    error = float(np.sqrt((influence**2).sum())) / images if images > 1 else np.nan
    method = "cohen" if readers == 2 else "fleiss"
    return Agreement(method, images, n_patients, readers, observed, kappa, low, high, error)


def _rows(ratings: np.ndarray) -> np.ndarray:
    """(n, 1 + 2k): o_i, p_i and q_i of each image; for more than two readers q_i is p_i."""
    said = ratings[:, :, np.newaxis] == np.arange(ratings.max() + 1)
    if ratings.shape[1] == 2:
        return np.column_stack([(said[:, 0] & said[:, 1]).any(axis=1), said[:, 0], said[:, 1]]).astype(float)
    counts = said.sum(axis=1)
    readings = counts.sum(axis=1)
    agreeing = (counts * (counts - 1)).sum(axis=1) / (readings * (readings - 1))
    return np.column_stack([agreeing, *[counts / readings[:, np.newaxis]] * 2])


def _kappa(mean: np.ndarray) -> np.ndarray:
    """(...) of mean rows (..., 1 + 2k); NaN where chance alone would always agree."""
    p, q = np.split(mean[..., 1:], 2, axis=-1)
    room = 1 - (p * q).sum(axis=-1)
    possible = room > 1e-12
    return np.where(possible, 1 - (1 - mean[..., 0]) / np.where(possible, room, 1), np.nan)


def _replicates(rows: np.ndarray, of_image: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(resamples,) kappa of patients drawn with replacement."""
    patients = int(of_image.max()) + 1
    sums = np.zeros((patients, 1 + rows.shape[1]))
    np.add.at(sums, of_image, np.column_stack([np.ones(len(rows)), rows]))
    rng, even = np.random.default_rng(seed), np.full(patients, 1 / patients)
    drawn = np.stack([rng.multinomial(patients, even) @ sums for _ in range(resamples)])
    return _kappa(drawn[:, 1:] / drawn[:, :1])
