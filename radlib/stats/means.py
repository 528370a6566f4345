"""Paired, patient-clustered bootstrap of a mean over images, such as the mean Dice.

The unit is the patient: a resample draws patients with replacement within each fold, to the same number,
each with all their images, on both sides alike. The mean over the drawn images is a ratio of two sums that
both vary; it is taken anew in every resample. The interval is the expanded percentile of
`radlib.stats.intervals`, with one degree of freedom less per fold.

Where every setting was trained with several seeds, the trainings of each setting are resampled too, as in
`radlib.stats.two_levels`; the interval then covers both kinds of variation.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import wilcoxon

from radlib.errors import UserError
from radlib.stats.estimate import BOTH, PATIENTS, Estimate
from radlib.stats.folds import draw_counts
from radlib.stats.two_levels import run_weights, satterthwaite


@dataclass(frozen=True, eq=False)
class MeanDifference:
    """Means of two sides, their difference a - b, and the relative gain (a - b) / b.

    gain: None where b's mean is 0 in the data or in a resample.
    wilcoxon_p: of the patients' mean differences, as a check by another method.
    """

    mean_a: float
    mean_b: float
    difference: Estimate
    gain: Estimate | None
    wilcoxon_p: float
    n_patients: int


def bootstrap_mean_difference(
    a: np.ndarray,
    b: np.ndarray,
    patients: np.ndarray,
    folds: np.ndarray,
    resamples: int,
    seed: int,
    settings: np.ndarray | None = None,
) -> MeanDifference:
    """Compare two figures of the same images.

    Args:
        a, b: (n,) float, one figure per image and side; with settings, (R, n), one per training and image.
        patients: (n,) ids; folds: (n,) the fold in which the image is tested.
        resamples: for example 2000; seed: the draws depend on it and on the patients.
        settings: (R,) the setting of each training, at least two of each, if these are to be resampled.
    Raises:
        UserError: lengths that differ, figures that are no numbers, a patient in two folds, or a single
            patient in a fold.
    """
    sides = [np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (a, b)]
    a, b = (side.mean(axis=0) for side in sides)
    _check(a, b, patients, folds)
    ids, of_image = np.unique(patients, return_inverse=True)
    fold_of = np.zeros(len(ids), dtype=np.int64)
    numbers, fold_of[of_image] = np.unique(folds), np.unique(folds, return_inverse=True)[1]
    images = np.bincount(of_image, minlength=len(ids)).astype(np.float64)
    sums = [np.array([np.bincount(of_image, x, len(ids)) for x in side]) for side in sides]
    of_patients, means = _draw(images, sums, fold_of, resamples, seed, settings)
    draws, sample = means[0] - means[1], (len(ids), len(numbers))
    if settings is not None:
        spare = len(numbers) * (len(settings) - len(np.unique(settings)))
        alone = (of_patients[0] - of_patients[1]).var()
        sample = (*sample, satterthwaite(alone, draws.var(), len(ids) - len(numbers), spare))
    resampled = PATIENTS if settings is None else BOTH
    gains, gain = _gain(means[0], means[1]), float(_gain(a.mean(), b.mean()))
    found = Estimate(float(a.mean() - b.mean()), draws, *sample, resampled=resampled)
    return MeanDifference(
        float(a.mean()), float(b.mean()), found,
        replace(found, value=gain, replicates=gains) if np.isfinite([*gains, gain]).all() else None,
        _wilcoxon((sums[0] - sums[1]).mean(axis=0) / images), len(ids),
    )  # fmt: skip


def _draw(
    images: np.ndarray,
    sums: list,
    fold_of: np.ndarray,
    resamples: int,
    seed: int,
    settings: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """(2, resamples) means of both sides, twice: patients resampled, and trainings too.

    Args:
        images: (patients,) how many each has; sums: of both sides, (R, patients) over a patient's images.
    """
    drawn, of_patients, of_both = np.zeros(resamples), np.zeros((2, resamples)), np.zeros((2, resamples))
    for number in range(fold_of.max() + 1):
        some = np.flatnonzero(fold_of == number)
        counts = draw_counts(np.random.default_rng([seed, number]), resamples, len(some)).astype(np.float64)
        weights = np.ones(1) if settings is None else run_weights(settings, resamples, seed, number)
        drawn += counts @ images[some]
        for side, own in enumerate(sums):
            totals = counts @ own[:, some].T
            of_patients[side] += totals.mean(axis=1)
            of_both[side] += (totals * weights).mean(axis=1)
    return of_patients / drawn, of_both / drawn


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
