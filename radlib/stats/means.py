"""Paired, patient-clustered bootstrap of a mean over images, such as the mean Dice.

Patients are drawn as in `radlib.stats.bootstrap`, within each fold, of one class; given settings, the
trainings of each setting are drawn with them; given networks, other pretrainings of them are covered, as in
`radlib.stats.pretrainings`. The mean over the drawn images is a ratio of two sums that both vary; it is taken
anew in every resample.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from radlib.stats.estimate import Estimate
from radlib.stats.folds import check_disjoint, draw_counts
from radlib.stats.pretrainings import components, over_pretrainings, over_trainings


@dataclass(frozen=True, eq=False)
class MeanDifference:
    """Means of two sides, and their difference a - b.

    Replicate i of all is of the same patients; what trainings or pretrainings add is drawn for each apart,
    as they vary. So a relative gain is `a.share_of(b)` less 1, for which the difference is no use.

    wilcoxon_p: of the patients' mean differences, as a check by another method.
    """

    a: Estimate
    b: Estimate
    difference: Estimate
    wilcoxon_p: float


def bootstrap_mean_difference(
    a: np.ndarray,
    b: np.ndarray,
    patients: np.ndarray,
    folds: np.ndarray,
    resamples: int,
    seed: int,
    settings: np.ndarray | None = None,
    networks: tuple[np.ndarray, np.ndarray] | None = None,
) -> MeanDifference:
    """Compare two figures of the same images, such as Dice, by their means over images.

    Args:
        a, b: (n,) float, one figure per image and side; with settings, (R, n), one per training and image;
            with networks, (k, n), one per pretrained network and image.
        patients: (n,) ids; folds: (n,) the fold in which the image is tested.
        settings: (R,) the setting of each training, at least two of each, if these are to be resampled.
        networks: (k,) of each side, the name of each pretrained network, every name as often as the others.

    >>> dice, patients = np.linspace(0.4, 0.8, 30), np.arange(30) // 2
    >>> found = bootstrap_mean_difference(dice + 0.05, dice, patients, patients % 3, 1000, seed=0)
    >>> round(found.a.value, 3), round(found.difference.value, 3), found.difference.patients
    (0.65, 0.05, 15)
    """
    a, b = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (a, b))
    _check(a.mean(axis=0) - b.mean(axis=0), patients, folds)
    _, first, of_image = np.unique(patients, return_index=True, return_inverse=True)
    images, fold_of = np.bincount(of_image).astype(np.float64), np.asarray(folds)[first]
    sums = [np.array([np.bincount(of_image, run) for run in side]) for side in (a, b)]
    both = _run_means(np.concatenate(sums), images, fold_of, resamples, seed)
    side_of = np.tile(np.repeat([0, 1], [len(a), len(b)]), both.folds)
    sides = [both.columns(side_of == side) for side in (0, 1)]
    if settings is not None:
        cells = np.array([f"{name} in fold {fold}" for fold in range(both.folds) for name in settings])
        means = [over_trainings(side, cells, seed + 1 + place) for place, side in enumerate(sides)]
        difference = over_trainings(sides[0] - sides[1], cells, seed)
    else:
        means = [side.mean_of_runs() for side in sides]
        difference = means[0] - means[1]
    if networks is not None:
        values, draws = both.value.reshape(both.folds, -1), both.replicates.reshape(resamples, both.folds, -1)
        each = replace(both, value=values.mean(axis=0), replicates=draws.mean(axis=1))
        side_of = side_of[: len(each.value)]
        difference = over_pretrainings(components(each, side_of, np.concatenate(networks)), seed)
        for place, names in enumerate(networks):
            if len(set(names)) < len(names):
                means[place] = over_trainings(each.columns(side_of == place), names, seed + 1 + place)
    difference = replace(difference, value=float(a.mean() - b.mean()))
    # Signed-rank test of patients (Wilcoxon 1945, doi 10.2307/3001968); 1 where all differences are 0.
    by_patient = (sums[0].mean(axis=0) - sums[1].mean(axis=0)) / images
    p = float(wilcoxon(by_patient).pvalue) if by_patient.any() else 1.0
    return MeanDifference(*means, difference, p)


def _run_means(
    sums: np.ndarray, images: np.ndarray, fold_of: np.ndarray, resamples: int, seed: int
) -> Estimate:
    """What each of R runs adds in each fold to the mean over images; the mean of all is that mean.

    Args:
        sums: (R, patients) over a patient's images; images, fold_of: (patients,) how many, and the test part.
    """
    drawn, found, totals = np.zeros(resamples), [], []
    for number, fold in enumerate(np.unique(fold_of)):
        some, rng = fold_of == fold, np.random.default_rng([seed, number])
        counts = draw_counts(rng, resamples, some.sum()).astype(np.float64)
        drawn += counts @ images[some]
        found.append(sums[:, some].sum(axis=1))
        totals.append(np.stack([counts @ run for run in sums[:, some]], axis=1))
    value = len(found) * np.concatenate(found) / images.sum()
    replicates = len(found) * np.concatenate(totals, axis=1) / drawn[:, np.newaxis]
    return Estimate(value, replicates, len(images), len(found))


def _check(figures: np.ndarray, patients: np.ndarray, folds: np.ndarray) -> None:
    if not np.isfinite(figures).all():
        raise ValueError("some figures are NaN or infinite; leave images out for which there is no figure")
    parts = [np.unique(part) for _, part in pd.Series(patients).groupby(np.asarray(folds))]
    check_disjoint(parts)
    if min(len(part) for part in parts) < 2:
        raise ValueError("a fold has a single tested patient, who cannot be resampled; use fewer folds")
