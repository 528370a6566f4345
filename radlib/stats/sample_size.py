"""How many test patients a next study needs, from the variance that this one measured.

The variance of a difference of AUCs falls as one over the number of patients, at the same prevalence and
the same images per patient. So with n patients and a standard error se, a true difference delta is shown
(two-sided level alpha) with the wanted power in a study of

    n (z_(1 - alpha/2) + z_power)^2 se^2 / delta^2

patients: the normal approximation (Obuchowski & McClish 1997, doi
10.1002/(SICI)1097-0258(19970715)16:13<1529::AID-SIM565>3.0.CO;2-H). The trained networks are held fixed.
"""

from dataclasses import replace

import numpy as np
from scipy.stats import norm

from radlib.stats.bootstrap import Statistic, resampled
from radlib.stats.estimate import Estimate
from radlib.stats.folds import FoldPatients, Folds, check_paired, of_two_classes, run_shares
from radlib.stats.pairs import KernelPairs


def variance_of_difference(a: Folds, b: Folds, resamples: int, seed: int) -> Estimate:
    """Variance of the difference of mean AUC, a - b, over other test patients, with its own resamples.

    The sum of the patients' squared influences: how far the structural components of a patient's images (see
    `radlib.stats.delong`) lie from their class' mean. All of it is computed anew in every resample, from one
    matrix of pairs of patients for each side and fold.

    Raises:
        ValueError: as `bootstrap_mean_auc`; or there are more than two classes.

    >>> from radlib.stats.folds import FoldScores
    >>> labels, patients = np.arange(40) % 2, np.arange(40)
    >>> a, b = (FoldScores(labels, patients, [shift * labels + patients]) for shift in (9, 1))
    >>> found = variance_of_difference([a], [b], 200, seed=0)
    >>> round(found.value**0.5, 3), found.replicates.shape
    (0.02, (200,))
    """
    check_paired({"a": a, "b": b})
    for fold in a:
        of_two_classes(fold, "the number of patients")
    shares = run_shares(a)

    def variance(number: int, patients: FoldPatients) -> Statistic:
        sides, last, first = (a[number], b[number]), patients.n_with_positives, patients.first_with_negatives
        kernels = np.split(KernelPairs(sides, patients).kernel.astype(np.float64), 2, axis=1)
        won = kernels[0] / (2 * sides[0].runs) - kernels[1] / (2 * sides[1].runs)
        freed = shares[number] ** 2 * np.concatenate([np.full(n, n / max(n - 1, 1)) for n in patients.strata])

        def of_weights(weights: np.ndarray) -> np.ndarray:
            positives, negatives = (total[:, np.newaxis] for total in patients.drawn(weights))
            of_positives = weights[:, first:] @ won.T / negatives
            of_negatives = weights[:, :last] @ won / positives
            delta = (weights[:, :last] * of_positives).sum(axis=1, keepdims=True) / positives
            influence = np.zeros(weights.shape)
            influence[:, :last] += (of_positives - patients.positives[:last] * delta) / positives
            influence[:, first:] += (of_negatives - patients.negatives[first:] * delta) / negatives
            return (weights * freed * influence**2).sum(axis=1, keepdims=True)

        return of_weights, 8 * 6 * patients.count

    found = resampled(a, variance, resamples, seed)
    value, replicates = sum(one.value for one in found), sum(one.replicates for one in found)
    return Estimate(float(value[0]), replicates[:, 0], *found[0].sample)


def patients_needed(
    patients: int, variance: Estimate, difference: float, power: float, confidence: float
) -> Estimate:
    """Number of test patients with which a true difference would be shown with this power.

    Args:
        patients: tested now, to which the variance belongs.
    Returns:
        Estimate, of float patients.

    >>> now = Estimate(0.02**2, np.full(99, 0.02**2))
    >>> round(patients_needed(200, now, 0.01, power=0.8, confidence=0.95).value)
    6279
    """
    factor = patients * ((norm.isf((1 - confidence) / 2) + norm.ppf(power)) / difference) ** 2
    return replace(variance, value=factor * variance.value, replicates=factor * variance.replicates)
