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

Balanced accuracy, the mean of sensitivity and specificity, needs a threshold. It is chosen on validation
images, where balanced accuracy is highest (the index of Youden, Cancer 1950, 3:32-35).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from radlib.stats.auc import checked
from radlib.stats.folds import FoldScores, fold_patients, patient_weights, run_shares, smaller_class
from radlib.stats.intervals import interval
from radlib.stats.pairs import resamples_at_once

BINS = 10
IMAGES_IN_A_BIN = 10
PERFECT_DRAWS = 200
FIGURES = ["brier", "ece", "balanced_accuracy"]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Mean score and share of positives by bin, all runs together, with the share's interval: (bins,) each.

    The interval is NaN where a resample has no image in the bin.
    """

    score: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The cut with the highest balanced accuracy, `score >= cut` being positive.

    Cuts lie halfway between neighbouring scores, or at the lowest. Of equals, the one nearest 0.5 counts.

    Args:
        scores: (n,) float; labels: (n,) 0 or 1, both present.
    Raises:
        UserError: as `radlib.stats.auc.auc`.
    """
    (scores,), labels = checked(np.asarray(scores)[np.newaxis], labels)
    values = np.unique(scores)
    # Between neighbouring numbers of the machine there is none; then the upper one is the cut.
    between = np.maximum((values[:-1] + values[1:]) / 2, np.nextafter(values[:-1], np.inf))
    cuts = np.concatenate([values[:1], between])
    positives, negatives = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    sensitivity = 1 - np.searchsorted(positives, cuts) / len(positives)
    specificity = np.searchsorted(negatives, cuts) / len(negatives)
    accuracy = ((sensitivity + specificity) / 2).round(12)
    best = cuts[accuracy == accuracy.max()]
    return float(best[np.abs(best - 0.5).argmin()])


def number_of_bins(folds: Sequence[FoldScores]) -> int:
    """`BINS`, fewer where a fold would have less than `IMAGES_IN_A_BIN` in each; at least two."""
    images = min(len(fold.labels) for fold in folds)
    return int(np.clip(images // IMAGES_IN_A_BIN, 2, BINS))


def equal_mass_bins(scores: np.ndarray, bins: int) -> np.ndarray:
    """(R, n) int64 of (R, n) scores: each image's bin by its mid-rank in the run."""
    ranks = rankdata(scores, axis=1)
    return ((ranks - 0.5) * bins / scores.shape[1]).astype(np.int64)


def measured(folds: Sequence[FoldScores], thresholds: Sequence[np.ndarray], bins: int) -> dict[str, float]:
    """`FIGURES` of every run on its own fold's test images, mean over all runs.

    Args:
        thresholds: (runs,) of each fold.
    """
    ones = [np.ones((1, fold_patients(fold).count), dtype=np.float32) for fold in folds]
    found = dict.fromkeys(FIGURES, 0.0)
    for fold, cuts, weights, share in zip(folds, thresholds, ones, run_shares(folds), strict=True):
        for name, value in _FoldFigures(fold, cuts, bins)(weights).items():
            found[name] += share * float(value[0])
    return found


def bootstrap_figures(
    folds: Sequence[FoldScores], thresholds: Sequence[np.ndarray], bins: int, resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """`measured` in each resample; patients are drawn as in `bootstrap_mean_auc`, bins stay as they are.

    Returns:
        name -> (resamples,) float64.
    Raises:
        UserError: a fold that cannot be resampled.
    """
    draws = {name: np.zeros(resamples) for name in FIGURES}
    for number, share in enumerate(run_shares(folds)):
        figures = _FoldFigures(folds[number], thresholds[number], bins)
        for part, weights in patient_weights(figures.patients, resamples, seed, number, figures.chunk):
            for name, values in figures(weights).items():
                draws[name][part] += share * values
    return draws


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

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """(b,) float64 each, of (b, patients) weights."""
        images = weights @ self.images
        sensitivity = weights @ self.hits / self.patients.positives_drawn(weights)
        specificity = weights @ self.rejections / self.patients.negatives_drawn(weights)
        gaps = np.abs(weights @ self.gaps).sum(axis=1, dtype=np.float64)
        return {
            "brier": weights @ self.squares / images,
            "ece": gaps / (self.runs * images),
            "balanced_accuracy": (sensitivity + specificity) / 2,
        }


def recentred(draws: np.ndarray, value: float) -> np.ndarray:
    """Draws moved so that their mean is the value found: the bootstrap's correction of bias.

    Noise pushes a calibration error upwards, and a resample once more than the sample (Efron & Tibshirani
    1993, chapter 10, doi 10.1201/9780429246593).
    """
    return draws + (value - draws.mean())


def ece_if_perfect(folds: Sequence[FoldScores], bins: int, seed: int, draws: int = PERFECT_DRAWS) -> float:
    """What `ece` would be on average if these scores were the true probabilities: its value by chance."""
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
    return total


def reliability(
    folds: Sequence[FoldScores], bins: int, resamples: int, seed: int, confidence: float
) -> Reliability:
    """Points of a reliability diagram: bin b of every run taken together, patients resampled.

    Raises:
        UserError: a fold that cannot be resampled, or too few resamples for that confidence.
    """
    scores, totals = np.zeros(bins), np.zeros((2, bins))
    drawn = np.zeros((2, resamples, bins))
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
        shares, draws = totals[0] / totals[1], drawn[0] / drawn[1]
    low, high = np.full(bins, np.nan), np.full(bins, np.nan)
    full = np.isfinite(draws).all(axis=0)
    if full.any():
        low[full], high[full] = interval(draws[:, full], confidence, smaller_class(folds), len(folds))
    with np.errstate(invalid="ignore"):
        return Reliability(scores / totals[1], shares, low, high)


def _by_patient_and_bin(patients, fold: FoldScores, values: np.ndarray, bins: int) -> np.ndarray:
    """(patients, runs * bins) float32: sums of (runs, n) values."""
    places = equal_mass_bins(fold.scores, bins) + bins * np.arange(fold.runs)[:, np.newaxis]
    width = fold.runs * bins
    flat = (patients.of_image * width + places).ravel()
    sums = np.bincount(flat, values.ravel(), patients.count * width)
    return sums.reshape(patients.count, width).astype(np.float32)
