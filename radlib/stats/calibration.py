"""Do scores mean what they say? Brier score, expected calibration error, balanced accuracy.

The Brier score is the mean of (score - label)^2 (Brier 1950,
doi 10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2). The expected calibration error (ECE; Naeini et al.,
AAAI 2015, pp. 2901-2907) sorts a run's scores into bins that hold as many images each and sums

    ECE = (1 / n) sum_bins |sum_(i in bin) (label_i - score_i)|.

Tied scores lie in one bin. ECE is never negative, so in small samples it lies above 0 even for a perfect
network, the more bins the more: by chance alone. What it would then be is measured here, with labels drawn
from the scores themselves (consistency resampling, Bröcker & Smith 2007, doi 10.1175/WAF993.1). A patient's
images get one uniform number u, label = u < score: each label is right in its probability, and the labels
of a patient go together, as they do in fact.

Balanced accuracy, the mean of sensitivity and specificity, needs a threshold; `radlib.stats.auc` chooses it
on validation images.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import rankdata

from radlib.stats.bootstrap import Statistic, mean_of_folds, resampled
from radlib.stats.estimate import Estimate
from radlib.stats.folds import FoldPatients, Folds, FoldScores, run_shares

BINS = 10
IMAGES_IN_A_BIN = 10
PERFECT_DRAWS = 200
FIGURES = ["brier", "ece", "balanced_accuracy"]


def number_of_bins(folds: Folds) -> int:
    """`BINS`, fewer where a fold would have less than `IMAGES_IN_A_BIN` in each; at least two.

    >>> number_of_bins([FoldScores(np.arange(35) % 2, np.arange(35), np.zeros((1, 35)))])
    3
    """
    images = min(len(fold.labels) for fold in folds)
    return int(np.clip(images // IMAGES_IN_A_BIN, 2, BINS))


def equal_mass_bins(scores: np.ndarray, bins: int) -> np.ndarray:
    """(R, n) int64 of (R, n) scores: each image's bin by its mid-rank in the run."""
    ranks = rankdata(scores, axis=1)
    return ((ranks - 0.5) * bins / scores.shape[1]).astype(np.int64)


def bootstrap_figures(
    folds: Folds, thresholds: Sequence[np.ndarray], bins: int, resamples: int, seed: int
) -> dict[str, Estimate]:
    """`FIGURES` of every run on its own fold's test images, mean over all runs.

    Patients are drawn as in `bootstrap_mean_auc` for balanced accuracy, and without regard to class for the
    other two, which depend on the share of positives. Bins stay as they are. Noise pushes a calibration error
    upwards, and a resample once more than the sample, so its replicates are moved until their mean is the
    value: the bootstrap's correction of bias (Efron & Tibshirani 1993, chapter 10, doi
    10.1201/9780429246593).

    Args:
        thresholds: (runs,) of each fold.
    Raises:
        ValueError: a fold that cannot be resampled.

    >>> fold = FoldScores(np.arange(20) % 2, np.arange(20), [np.linspace(0, 1, 20)])
    >>> found = bootstrap_figures([fold], [np.array([0.5])], 2, 100, seed=0)
    >>> {name: round(one.value, 3) for name, one in found.items()}
    {'brier': 0.316, 'ece': 0.263, 'balanced_accuracy': 0.5}
    """

    # Sums over patients, so that resamples are matrix products: of (b, patients) weights.
    def errors_of(number: int, patients: FoldPatients) -> Statistic:
        fold = folds[number]
        squares = np.bincount(patients.of_image, ((fold.scores - fold.labels) ** 2).mean(axis=0))
        images = np.bincount(patients.of_image)
        gaps = _by_patient_and_bin(patients, fold, fold.labels - fold.scores, bins)

        def errors(weights: np.ndarray) -> np.ndarray:
            gap = np.abs(weights @ gaps).sum(axis=1, dtype=np.float64) / fold.runs
            return np.stack([weights @ squares, gap], axis=1) / (weights @ images)[:, np.newaxis]

        return errors, 8 * (2 * patients.count + 2 * gaps.shape[1])

    def accuracy_of(number: int, patients: FoldPatients) -> Statistic:
        fold = folds[number]
        called = (fold.scores >= np.asarray(thresholds[number])[:, np.newaxis]).mean(axis=0)
        positive = fold.labels == 1
        right = [np.bincount(patients.of_image, x) for x in (called * positive, (1 - called) * ~positive)]

        def accuracy(weights: np.ndarray) -> np.ndarray:
            shares = [weights @ x / of for x, of in zip(right, patients.drawn(weights), strict=True)]
            return np.mean(shares, axis=0)[:, np.newaxis]

        return accuracy, 8 * 6 * patients.count

    errors = mean_of_folds(folds, resampled(folds, errors_of, resamples, seed, within_classes=False))
    accuracy = mean_of_folds(folds, resampled(folds, accuracy_of, resamples, seed))
    biased = errors.columns(1)
    recentred = biased.replicates + (biased.value - biased.replicates.mean())
    ece = replace(biased, replicates=recentred)
    return dict(zip(FIGURES, (errors.columns(0), ece, accuracy.columns(0)), strict=True))


def ece_if_perfect(folds: Folds, bins: int, seed: int, draws: int = PERFECT_DRAWS) -> float:
    """What `ece` would be on average if these scores were the true probabilities: its value by chance.

    >>> fold = FoldScores([0, 1, 0, 1], list("abcd"), [[0.0, 1.0, 0.0, 1.0]])
    >>> ece_if_perfect([fold], bins=2, seed=0)
    0.0
    """
    total = 0.0
    for number, (fold, share) in enumerate(zip(folds, run_shares(folds), strict=True)):
        _, of_image = np.unique(fold.patients, return_inverse=True)
        rng = np.random.default_rng([seed, number])
        uniform = rng.random((draws, of_image.max() + 1))[:, of_image]
        for scores, places in zip(fold.scores, equal_mass_bins(fold.scores, bins), strict=True):
            gaps = (uniform < scores) - scores
            in_bin = places[:, np.newaxis] == np.arange(bins)
            sums = np.abs(gaps @ in_bin.astype(np.float64)).sum(axis=1)
            total += share * sums.mean() / (len(scores) * fold.runs)
    return float(total)


def reliability(folds: Folds, bins: int, resamples: int, seed: int) -> tuple[np.ndarray, Estimate]:
    """Points of a reliability diagram, all runs together: mean score and share of positives of each bin.

    Patients are drawn without regard to class, as the share of positives is what it shows.

    Returns:
        (bins,) float64, and an estimate of (bins,) shares; NaN where a bin, or it in a resample, is empty.
    Raises:
        ValueError: a fold that cannot be resampled.

    >>> fold = FoldScores([0, 1, 0, 1, 1, 1], list("abcdef"), [[0.1, 0.2, 0.3, 0.7, 0.8, 0.9]])
    >>> score, share = reliability([fold], 2, 100, seed=0)
    >>> score.round(2), share.value.round(2)
    (array([0.2, 0.8]), array([0.33, 1.  ]))
    """

    def sums_of(number: int, patients: FoldPatients) -> Statistic:
        fold = folds[number]
        ones = np.ones_like(fold.scores)
        sums = [
            _by_patient_and_bin(patients, fold, x, bins).reshape(patients.count, fold.runs, bins).sum(axis=1)
            for x in (fold.scores, ones * fold.labels, ones)
        ]
        bytes_each = 8 * (2 * patients.count + 4 * bins)
        return lambda weights: np.stack([weights @ x for x in sums], axis=1).astype(np.float64), bytes_each

    found = resampled(folds, sums_of, resamples, seed, within_classes=False)
    score, positive, count = sum(one.value for one in found)
    draws = sum(one.replicates for one in found)
    with np.errstate(invalid="ignore"):
        shares = Estimate(positive / count, draws[:, 1] / draws[:, 2], *found[0].sample)
        return score / count, shares


def _by_patient_and_bin(
    patients: FoldPatients, fold: FoldScores, values: np.ndarray, bins: int
) -> np.ndarray:
    """(patients, runs * bins) float32: sums of (runs, n) values."""
    places = equal_mass_bins(fold.scores, bins) + bins * np.arange(fold.runs)[:, np.newaxis]
    width = fold.runs * bins
    flat = (patients.of_image * width + places).ravel()
    sums = np.bincount(flat, values.ravel(), patients.count * width)
    return sums.reshape(patients.count, width).astype(np.float32)
