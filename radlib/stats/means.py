"""Paired, patient-clustered bootstrap of a mean over images, such as the mean Dice.

Patients are drawn as in `radlib.stats.bootstrap`, within each fold, of one class; given settings, the
trainings of each setting are drawn with them. The mean over the drawn images is a ratio of two sums that both
vary; it is taken anew in every resample.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from radlib.stats.bootstrap import run_weights
from radlib.stats.estimate import Estimate
from radlib.stats.folds import check_disjoint, draw_counts


@dataclass(frozen=True, eq=False)
class MeanDifference:
    """Means of two sides, their difference a - b, and the relative gain (a - b) / b.

    gain: NaN where b's mean is 0, in the data or in a resample.
    wilcoxon_p: of the patients' mean differences, as a check by another method.
    """

    mean_a: float
    mean_b: float
    difference: Estimate
    gain: Estimate
    wilcoxon_p: float


def bootstrap_mean_difference(
    a: np.ndarray,
    b: np.ndarray,
    patients: np.ndarray,
    folds: np.ndarray,
    resamples: int,
    seed: int,
    settings: np.ndarray | None = None,
) -> MeanDifference:
    """Compare two figures of the same images, such as Dice, by their means over images.

    Args:
        a, b: (n,) float, one figure per image and side; with settings, (R, n), one per training and image.
        patients: (n,) ids; folds: (n,) the fold in which the image is tested.
        settings: (R,) the setting of each training, at least two of each, if these are to be resampled.

    >>> dice, patients = np.linspace(0.4, 0.8, 30), np.arange(30) // 2
    >>> found = bootstrap_mean_difference(dice + 0.05, dice, patients, patients % 3, 1000, seed=0)
    >>> round(found.difference.value, 3), round(found.gain.value, 3), found.difference.patients
    (0.05, 0.083, 15)
    """
    a, b = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (a, b))
    _check(a.mean(axis=0) - b.mean(axis=0), patients, folds)
    sides = [_run_means(x, patients, folds, resamples, seed) for x in (a, b)]
    trainings = ()
    if settings is not None:
        n_folds = sides[0].folds
        weights = run_weights([settings] * n_folds, resamples, seed)
        trainings = weights, n_folds * len(np.unique(settings))
    difference, *means = (x.mean_of_runs(*trainings) for x in (sides[0] - sides[1], *sides))
    gains = _gain(*(mean.replicates for mean in means))
    value = float(_gain(*(mean.value for mean in means))) if np.isfinite(gains).all() else np.nan
    gain = replace(difference, value=value, replicates=gains)
    # Signed-rank test of patients (Wilcoxon 1945, doi 10.2307/3001968); 1 where all differences are 0.
    by_patient = pd.Series((a - b).mean(axis=0)).groupby(np.asarray(patients)).mean()
    p = float(wilcoxon(by_patient).pvalue) if by_patient.any() else 1.0
    return MeanDifference(means[0].value, means[1].value, difference, gain, p)


def _run_means(
    values: np.ndarray, patients: np.ndarray, folds: np.ndarray, resamples: int, seed: int
) -> Estimate:
    """What each of R runs adds in each fold to the mean over images; the mean of all is that mean."""
    by_patient = pd.DataFrame(values.T).groupby([np.asarray(folds), np.asarray(patients)])
    images = by_patient.size().astype(np.float64)
    drawn, found, totals = np.zeros(resamples), [], []
    for number, (fold, sums) in enumerate(by_patient.sum().groupby(level=0)):
        rng = np.random.default_rng([seed, number])
        counts = draw_counts(rng, resamples, len(sums)).astype(np.float64)
        drawn += counts @ images.loc[fold].to_numpy()
        found.append(sums.sum().to_numpy())
        totals.append(counts @ sums.to_numpy())
    value = len(found) * np.concatenate(found) / images.sum()
    replicates = len(found) * np.concatenate(totals, axis=1) / drawn[:, np.newaxis]
    return Estimate(value, replicates, len(images), len(found))


def _gain(a, b):
    """(a - b) / b; NaN where b is 0."""
    return np.divide(a - b, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) != 0)


def _check(figures: np.ndarray, patients: np.ndarray, folds: np.ndarray) -> None:
    if not np.isfinite(figures).all():
        raise ValueError("some figures are NaN or infinite; leave images out for which there is no figure")
    parts = [np.unique(part) for _, part in pd.Series(patients).groupby(np.asarray(folds))]
    check_disjoint(parts)
    if min(len(part) for part in parts) < 2:
        raise ValueError("a fold has a single tested patient, who cannot be resampled; use fewer folds")
