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

from radlib.stats.estimate import Estimate
from radlib.stats.folds import (
    FoldPatients,
    FoldScores,
    fold_patients,
    patient_weights,
    run_shares,
    smaller_class,
)
from radlib.stats.pairs import resamples_at_once

BINS = 10
IMAGES_IN_A_BIN = 10
PERFECT_DRAWS = 200
FIGURES = ["brier", "ece", "balanced_accuracy"]


def number_of_bins(folds: Sequence[FoldScores]) -> int:
    """`BINS`, fewer where a fold would have less than `IMAGES_IN_A_BIN` in each; at least two.

    >>> number_of_bins([FoldScores(np.arange(35) % 2, np.arange(35), np.zeros((1, 35)))])
    3
    """
    images = min(len(fold.labels) for fold in folds)
    return int(np.clip(images // IMAGES_IN_A_BIN, 2, BINS))


def equal_mass_bins(scores: np.ndarray, bins: int) -> np.ndarray:
    """(R, n) int64 of (R, n) scores: each image's bin by its mid-rank in the run.

    >>> equal_mass_bins(np.array([[0.1, 0.9, 0.2, 0.2]]), 2)
    array([[0, 1, 1, 1]])
    """
    ranks = rankdata(scores, axis=1)
    return ((ranks - 0.5) * bins / scores.shape[1]).astype(np.int64)


def bootstrap_figures(
    folds: Sequence[FoldScores], thresholds: Sequence[np.ndarray], bins: int, resamples: int, seed: int
) -> dict[str, Estimate]:
    """`FIGURES` of every run on its own fold's test images, mean over all runs.

    Patients are drawn as in `bootstrap_mean_auc`, bins stay as they are. Noise pushes a calibration error
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
    values, draws = np.zeros(len(FIGURES)), np.zeros((len(FIGURES), resamples))
    for number, share in enumerate(run_shares(folds)):
        figures = _FoldFigures(folds[number], thresholds[number], bins)
        patients = figures.patients
        values += share * figures(np.ones((1, patients.count), dtype=np.float32))[:, 0]
        for part, weights in patient_weights(patients, resamples, seed, number, figures.chunk):
            draws[:, part] += share * figures(weights)
    sample = smaller_class(folds), len(folds)
    found = {
        name: Estimate(float(value), drawn, *sample)
        for name, value, drawn in zip(FIGURES, values, draws, strict=True)
    }
    biased = found["ece"]
    recentred = biased.replicates + (biased.value - biased.replicates.mean())
    return found | {"ece": replace(biased, replicates=recentred)}


class _FoldFigures:
    """The figures of one fold as sums over patients, so that resamples are matrix products."""

    def __init__(self, fold: FoldScores, thresholds: np.ndarray, bins: int) -> None:
        self.patients, self.runs = fold_patients(fold), fold.runs
        self.images = (self.patients.positives + self.patients.negatives).astype(np.float64)
        self.squares = self._by_patient(((fold.scores - fold.labels) ** 2).mean(axis=0))
        called = (fold.scores >= np.asarray(thresholds)[:, np.newaxis]).mean(axis=0)
        self.hits = self._by_patient(called * (fold.labels == 1))
        self.rejections = self._by_patient((1 - called) * (fold.labels == 0))
        self.gaps = _by_patient_and_bin(self.patients, fold, fold.labels - fold.scores, bins)
        self.chunk = resamples_at_once(8 * (2 * self.patients.count + 2 * self.gaps.shape[1]))

    def _by_patient(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.patients.of_image, values, self.patients.count)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """(3, b) float64, in the order of `FIGURES`, of (b, patients) weights."""
        images = weights @ self.images
        positives, negatives = self.patients.drawn(weights)
        accuracy = (weights @ self.hits / positives + weights @ self.rejections / negatives) / 2
        gaps = np.abs(weights @ self.gaps).sum(axis=1, dtype=np.float64)
        return np.stack([weights @ self.squares / images, gaps / (self.runs * images), accuracy])


def ece_if_perfect(folds: Sequence[FoldScores], bins: int, seed: int, draws: int = PERFECT_DRAWS) -> float:
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


def reliability(
    folds: Sequence[FoldScores], bins: int, resamples: int, seed: int
) -> tuple[np.ndarray, Estimate]:
    """Points of a reliability diagram, all runs together: mean score and share of positives of each bin.

    Returns:
        (bins,) float64, and an estimate of (bins,) shares; NaN where a bin, or it in a resample, is empty.
    Raises:
        ValueError: a fold that cannot be resampled.

    >>> fold = FoldScores([0, 1, 0, 1, 1, 1], list("abcdef"), [[0.1, 0.2, 0.3, 0.7, 0.8, 0.9]])
    >>> score, share = reliability([fold], 2, 100, seed=0)
    >>> score.round(2), share.value.round(2)
    (array([0.2, 0.8]), array([0.33, 1.  ]))
    """
    scores, totals, drawn = np.zeros(bins), np.zeros((2, bins)), np.zeros((2, resamples, bins))
    for number, fold in enumerate(folds):
        patients = fold_patients(fold)
        ones = np.ones_like(fold.scores)
        score, count, positive = (
            _by_patient_and_bin(patients, fold, x, bins).reshape(patients.count, fold.runs, bins).sum(axis=1)
            for x in (fold.scores, ones, ones * fold.labels)
        )
        scores += score.sum(axis=0)
        totals += [positive.sum(axis=0), count.sum(axis=0)]
        chunk = resamples_at_once(8 * (2 * patients.count + 4 * bins))
        for part, weights in patient_weights(patients, resamples, seed, number, chunk):
            drawn[:, part] += [weights @ positive, weights @ count]
    with np.errstate(invalid="ignore"):
        shares = Estimate(totals[0] / totals[1], drawn[0] / drawn[1], smaller_class(folds), len(folds))
        return scores / totals[1], shares


def _by_patient_and_bin(
    patients: FoldPatients, fold: FoldScores, values: np.ndarray, bins: int
) -> np.ndarray:
    """(patients, runs * bins) float32: sums of (runs, n) values."""
    places = equal_mass_bins(fold.scores, bins) + bins * np.arange(fold.runs)[:, np.newaxis]
    width = fold.runs * bins
    flat = (patients.of_image * width + places).ravel()
    sums = np.bincount(flat, values.ravel(), patients.count * width)
    return sums.reshape(patients.count, width).astype(np.float32)
