"""Agreement of readers beyond chance: Cohen's kappa of two readers, Fleiss' of more, with intervals.

Both are kappa = (o - e) / (1 - e), where o is how often two readings of an image agree, and e how often they
would by chance:

    Cohen 1960 (doi 10.1177/001316446002000104): o_i = 1 if both say the same; e = sum_k p_k q_k, p and q the
        two readers' shares of label k;
    Fleiss 1971 (doi 10.1037/h0031619): o_i = share of agreeing pairs among the r_i readings of image i;
        e = sum_k p_k^2, p_k the mean over images of the share of readings with label k. Images may be read by
        different numbers of readers, as Gwet has it, but each by two.

So an image is a row (o_i, p_i, q_i), and kappa a function of the rows' mean. The interval resamples patients
with all their images and expands the percentiles (`radlib.stats.estimate`). Beside it stands the
large-sample standard error by the delta method, which takes images as independent: for two readers that of
Fleiss, Cohen & Everitt 1969 (doi 10.1037/h0028106), for more that of Gwet 2021 (doi
10.1177/0013164420973080), with n in place of n - 1.
"""

from dataclasses import dataclass

import numpy as np

from radlib.stats.estimate import Estimate, resamples_needed
from radlib.stats.pairs import resamples_at_once

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
        resamples, seed: of the bootstrap.
    Raises:
        ValueError: no image with two readings.
    """
    twice_read = (ratings != UNREAD).sum(axis=1) >= 2
    if not twice_read.any():
        raise ValueError("no image was read by two readers; agreement needs some that were")
    ratings, patients = ratings[twice_read], np.asarray(patients)[twice_read]
    ratings = ratings[:, (ratings != UNREAD).any(axis=0)]
    readers = ratings.shape[1]
    rows = _rows_of_two(ratings) if readers == 2 else _rows_of_many(ratings)
    kappa, observed, _ = _kappa(rows.mean(axis=0))
    of_image = np.unique(patients, return_inverse=True)[1]
    low, high = _interval(rows, of_image, resamples, seed, confidence)
    error = (
        np.nan
        if np.isnan(kappa) or len(rows) < 2
        else float(np.sqrt((_influence(rows) ** 2).sum())) / len(rows)
    )
    method = "cohen" if readers == 2 else "fleiss"
    count = int(of_image.max()) + 1
    return Agreement(method, len(rows), count, readers, float(observed), float(kappa), low, high, error)


def _rows_of_two(ratings: np.ndarray) -> np.ndarray:
    """(n, 1 + 2k): agreement, and one-hot labels of both readers."""
    labels = np.arange(ratings.max() + 1)
    first, second = (ratings[:, reader, np.newaxis] == labels for reader in (0, 1))
    return np.column_stack([ratings[:, 0] == ratings[:, 1], first, second]).astype(np.float64)


def _rows_of_many(ratings: np.ndarray) -> np.ndarray:
    """(n, 1 + 2k): share of agreeing pairs, and twice the shares of labels."""
    labels = np.arange(ratings.max() + 1)
    counts = np.stack([(ratings == label).sum(axis=1) for label in labels], axis=1).astype(np.float64)
    readings = counts.sum(axis=1)
    agreeing = (counts * (counts - 1)).sum(axis=1) / (readings * (readings - 1))
    shares = counts / readings[:, np.newaxis]
    return np.column_stack([agreeing, shares, shares])


def _kappa(mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """kappa, o and e of mean rows (..., 1 + 2k); kappa is NaN where chance alone would always agree."""
    k = (mean.shape[-1] - 1) // 2
    observed = mean[..., 0]
    expected = (mean[..., 1 : 1 + k] * mean[..., 1 + k :]).sum(axis=-1)
    room = 1 - expected
    possible = room > 1e-12
    return np.where(possible, (observed - expected) / np.where(possible, room, 1), np.nan), observed, expected


def _influence(rows: np.ndarray) -> np.ndarray:
    """(n,) what each image adds to kappa, to first order."""
    mean = rows.mean(axis=0)
    k = (len(mean) - 1) // 2
    kappa, observed, expected = _kappa(mean)
    chance = rows[:, 1 : 1 + k] @ mean[1 + k :] + rows[:, 1 + k :] @ mean[1 : 1 + k] - 2 * expected
    return (rows[:, 0] - observed - (1 - kappa) * chance) / (1 - expected)


def _interval(
    rows: np.ndarray, of_image: np.ndarray, resamples: int, seed: int, confidence: float
) -> tuple[float, float]:
    patients = int(of_image.max()) + 1
    if patients < 2 or resamples < resamples_needed(confidence, patients):
        return np.nan, np.nan
    sums = np.zeros((patients, 1 + rows.shape[1]))
    np.add.at(sums, of_image, np.column_stack([np.ones(len(rows)), rows]))
    draws = _draws(sums, resamples, seed)
    defined = np.isfinite(draws)
    if (~defined).mean() > _MOST_UNDEFINED:
        return np.nan, np.nan
    return Estimate(np.nan, draws[defined], patients).interval(confidence)


def _draws(sums: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(resamples,) kappa of patients drawn with replacement; sums: (patients, 1 + columns), images first."""
    rng, patients = np.random.default_rng(seed), len(sums)
    chunk = resamples_at_once(8 * patients)
    draws = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = rng.multinomial(patients, np.full(patients, 1 / patients), size) @ sums
        draws.append(_kappa(drawn[:, 1:] / drawn[:, :1])[0])
    return np.concatenate(draws)
