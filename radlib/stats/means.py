"""Paired, patient-clustered bootstrap of a mean over images, such as the mean Dice.

The unit is the patient: a resample draws patients with replacement within each fold, to the same number,
each with all their images, on both sides alike. The mean over the drawn images is a ratio of two sums that
both vary; it is taken anew in every resample. The interval is the expanded percentile of
`radlib.stats.intervals`, with one degree of freedom less per fold.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

from radlib.errors import UserError
from radlib.stats.folds import draw_counts
from radlib.stats.intervals import interval, p_value


@dataclass(frozen=True, eq=False)
class MeanDifference:
    """Means of two sides, a - b with interval and p-value, and the relative gain (a - b) / b with interval.

    wilcoxon_p: of the patients' mean differences, as a check by another method; draws: (resamples,).
    """

    mean_a: float
    mean_b: float
    delta: float
    ci_low: float
    ci_high: float
    p_value: float
    relative_gain: float
    gain_low: float
    gain_high: float
    wilcoxon_p: float
    n_patients: int
    draws: np.ndarray


def bootstrap_mean_difference(
    a: np.ndarray,
    b: np.ndarray,
    patients: np.ndarray,
    folds: np.ndarray,
    resamples: int,
    seed: int,
    confidence: float,
) -> MeanDifference:
    """Compare two figures of the same images.

    Args:
        a, b: (n,) float, one figure per image and side.
        patients: (n,) ids; folds: (n,) the fold in which the image is tested.
        resamples, confidence: for example 2000 and 0.95; seed: the draws depend on it and on the patients.
    Returns:
        the difference; the gain is NaN, and so are its ends, where b's mean is 0 in the data or a resample.
    Raises:
        UserError: lengths that differ, figures that are no numbers, a patient in two folds, or a single
            patient in a fold.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    _check(a, b, patients, folds)
    ids, of_image = np.unique(patients, return_inverse=True)
    fold_of = np.zeros(len(ids), dtype=np.int64)
    numbers, fold_of[of_image] = np.unique(folds), np.unique(folds, return_inverse=True)[1]
    sums = np.stack([np.bincount(of_image, x, len(ids)) for x in (a, b, np.ones(len(a)))], axis=1)
    drawn = np.zeros((resamples, 3))
    for number in range(len(numbers)):
        some = np.flatnonzero(fold_of == number)
        drawn += draw_counts(np.random.default_rng([seed, number]), resamples, len(some)) @ sums[some]
    means = drawn[:, :2] / drawn[:, 2:]
    draws = means[:, 0] - means[:, 1]
    low, high = interval(draws, confidence, len(ids), len(numbers))
    gains = _gain(means[:, 0], means[:, 1])
    finite = np.isfinite(gains).all()
    gain_low, gain_high = interval(gains, confidence, len(ids), len(numbers)) if finite else (np.nan, np.nan)
    return MeanDifference(
        mean_a=float(a.mean()), mean_b=float(b.mean()), delta=float(a.mean() - b.mean()),
        ci_low=low, ci_high=high, p_value=p_value(draws, len(ids), len(numbers)),
        relative_gain=float(_gain(a.mean(), b.mean())), gain_low=gain_low, gain_high=gain_high,
        wilcoxon_p=_wilcoxon((sums[:, 0] - sums[:, 1]) / sums[:, 2]), n_patients=len(ids), draws=draws,
    )  # fmt: skip


def _gain(a, b):
    """(a - b) / b; NaN where b is 0."""
    return np.divide(a - b, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) != 0)


def _wilcoxon(differences: np.ndarray) -> float:
    """Signed-rank test (Wilcoxon 1945, doi 10.2307/3001968) of patients' differences; 1 where all are 0."""
    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def _check(a: np.ndarray, b: np.ndarray, patients: np.ndarray, folds: np.ndarray) -> None:
    if not a.shape == b.shape == np.shape(patients) == np.shape(folds) or a.ndim != 1 or len(a) == 0:
        raise UserError(
            f"figures of shapes {a.shape} and {b.shape} with {np.shape(patients)} patients do not pair; "
            "give one figure per image and side, for the same images"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UserError("some figures are NaN or infinite; leave images out for which there is no figure")
    pairs = np.unique(np.stack([np.asarray(patients, dtype=str), np.asarray(folds, dtype=str)]), axis=1)
    names, counts = np.unique(pairs[0], return_counts=True)
    if (counts > 1).any():
        raise UserError(
            f"patient {names[counts > 1][0]} is tested in two folds; test parts must be disjoint, "
            "so make the splits again"
        )
    if np.unique(pairs[1], return_counts=True)[1].min() < 2:
        raise UserError("a fold has a single tested patient, who cannot be resampled; use fewer folds")
