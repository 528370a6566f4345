"""Brier score, calibration error, thresholds: against scikit-learn, plain loops and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom
from scipy.stats import t as student
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_curve

from radlib.stats import calibration
from radlib.stats.auc import best_threshold
from radlib.stats.folds import FoldScores, fold_patients, patient_weights

BINS = 5


def drawn(runs=3, patients=40, images=3, seed=0, fold=0):
    """Scores that say something, patients of one class each."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(patients), images)
    labels = (ids % 3 == 0).astype(int)
    latent = 1.2 * labels + rng.normal(0, 1, patients)[ids] + rng.normal(0, 0.5, (runs, len(ids)))
    return FoldScores(labels, ids + 1000 * fold, 1 / (1 + np.exp(-latent)))


def measured(folds, thresholds, bins=BINS):
    found = calibration.bootstrap_figures(folds, thresholds, bins, 1, seed=0)
    return {name: one.value for name, one in found.items()}


def plain_ece(scores, labels, bins):
    """Sorted, cut into equal parts, summed."""
    order = np.argsort(scores)
    parts = zip(np.split(scores[order], bins), np.split(labels[order], bins), strict=True)
    return sum(len(s) / len(scores) * abs(y.mean() - s.mean()) for s, y in parts)


@pytest.fixture(scope="module")
def two_folds():
    folds = [drawn(seed=1), drawn(runs=3, patients=50, seed=2, fold=1)]
    return folds, [np.array([0.3, 0.5, 0.6]), np.array([0.4, 0.5, 0.7])]


def test_figures_agree_with_scikit_learn(two_folds):
    folds, thresholds = two_folds
    found = measured(folds, thresholds)
    rows = [
        (s, f.labels, cut)
        for f, cuts in zip(*two_folds, strict=True)
        for s, cut in zip(f.scores, cuts, strict=True)
    ]
    assert found["brier"] == pytest.approx(np.mean([brier_score_loss(y, s) for s, y, _ in rows]))
    accuracy = np.mean([balanced_accuracy_score(y, s >= cut) for s, y, cut in rows])
    assert found["balanced_accuracy"] == pytest.approx(accuracy)
    assert found["ece"] == pytest.approx(np.mean([plain_ece(s, y, BINS) for s, y, _ in rows]), abs=1e-6)


def test_calibration_error_agrees_with_the_curve_of_scikit_learn():
    fold = drawn(runs=1)
    share, score = calibration_curve(fold.labels, fold.scores[0], n_bins=BINS, strategy="quantile")
    found = measured([fold], [np.array([0.5])])
    assert found["ece"] == pytest.approx(np.abs(share - score).mean(), abs=1e-6)  # bins of equal mass
    scores, shares = calibration.reliability([fold], BINS, 2000, 0)
    np.testing.assert_allclose(shares.value, share, atol=1e-6)
    np.testing.assert_allclose(scores, score, atol=1e-6)
    low, high = shares.interval(0.95)
    assert ((low <= shares.value) & (shares.value <= high)).all()


def test_resamples_agree_with_a_loop_over_scikit_learn(two_folds):
    folds, thresholds = two_folds
    found = calibration.bootstrap_figures(folds, thresholds, BINS, 300, seed=4)
    expected = {name: np.zeros(20) for name in calibration.FIGURES}
    for number, (fold, cuts) in enumerate(zip(folds, thresholds, strict=True)):
        patients = fold_patients(fold)
        within, *_ = patient_weights(patients, 300, 4, number, 300)
        whole, *_ = patient_weights(replace(patients, strata=[patients.count]), 300, 4, number, 300)
        places = calibration.equal_mass_bins(fold.scores, BINS)
        for i in range(20):
            classes, drawn = (
                np.repeat(np.arange(len(fold.labels)), counts[i, patients.of_image].astype(int))
                for counts in (within, whole)
            )
            y = fold.labels[drawn]
            for run, cut in enumerate(cuts):
                called = fold.scores[run, classes] >= cut
                expected["balanced_accuracy"][i] += balanced_accuracy_score(fold.labels[classes], called) / 6
                s, bins = fold.scores[run, drawn], places[run, drawn]
                expected["brier"][i] += brier_score_loss(y, s) / 6
                gaps = [abs((y - s)[bins == b].sum()) for b in range(BINS)]
                expected["ece"][i] += sum(gaps) / len(drawn) / 6
    for name, values in expected.items():
        draws = found[name].replicates
        if name == "ece":
            assert draws.mean() == pytest.approx(found[name].value)  # corrected for its bias, by one number
            values, draws = values - values.mean(), draws - draws[:20].mean()
        np.testing.assert_allclose(draws[:20], values, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("patients", "positive"), [(100, 0.2), (200, 0.1)])
def test_intervals_of_the_brier_score_count_that_the_share_of_positives_varies(patients, positive):
    """Of images of a patient each, the interval is Student's of the mean of squared errors; it covers."""
    rng, truth, held, widths = np.random.default_rng(0), positive * (1 - positive), 0, []
    for seed in range(200):
        labels = (rng.random(patients) < positive).astype(int)
        fold = FoldScores(labels, np.arange(patients), np.full((1, patients), positive))
        found = calibration.bootstrap_figures([fold], [np.array([0.5])], 2, 400, seed)["brier"]
        low, high = found.interval(0.95)
        held += low <= truth <= high
        squared = (labels - positive) ** 2
        half = student.isf(0.025, patients - 1) * squared.std(ddof=1) / np.sqrt(patients)
        widths.append((high - low) / (2 * half))
    assert 0.89 <= held / 200 <= 0.99  # of a binomial count, a percentile interval; within classes: 0
    assert np.mean(widths) == pytest.approx(1, abs=0.05)


def test_bands_of_reliability_cover_the_shares_of_a_perfect_network():
    rng, held = np.random.default_rng(1), []
    for seed in range(200):
        scores = rng.choice([0.1, 0.3], 120)
        labels = (rng.random(120) < scores).astype(int)
        fold = FoldScores(labels, np.arange(120), scores[np.newaxis])
        score, share = calibration.reliability([fold], 2, 400, seed)
        low, high = share.interval(0.95)
        held.append((low <= score) & (score <= high))
    assert 0.90 <= np.mean(held) <= 0.99


def test_bins_hold_as_many_images_each_and_ties_stay_together():
    scores = np.random.default_rng(0).random((2, 60))
    assert all((np.bincount(row) == 12).all() for row in calibration.equal_mass_bins(scores, BINS))
    tied = np.r_[np.full(30, 0.5), np.linspace(0.6, 0.9, 30)][np.newaxis]
    assert len(np.unique(calibration.equal_mass_bins(tied, BINS)[0, :30])) == 1
    assert calibration.equal_mass_bins(np.full((1, 9), 0.5), 4).tolist() == [[2] * 9]


def test_few_images_get_fewer_bins():
    assert calibration.number_of_bins([drawn(patients=100)]) == 10
    assert calibration.number_of_bins([drawn(patients=100), drawn(patients=12, fold=1)]) == 3
    assert calibration.number_of_bins([drawn(patients=6, images=1)]) == 2


def test_perfect_error_of_one_bin_is_that_of_a_binomial():
    n = 24
    fold = FoldScores(np.arange(n) % 2, np.arange(n), np.full((1, n), 0.5))
    k = np.arange(n + 1)
    expected = (binom.pmf(k, n, 0.5) * np.abs(k - n / 2)).sum() / n
    assert calibration.ece_if_perfect([fold], 4, seed=1, draws=4000) == pytest.approx(expected, rel=0.05)


def test_perfect_networks_have_the_error_that_chance_gives_and_others_more():
    rng = np.random.default_rng(5)
    perfect, bold, chance = [], [], []
    for seed in range(40):
        ids = np.repeat(np.arange(60), 2)
        scores = rng.uniform(0.05, 0.95, 60)[ids]
        labels = (rng.random(60)[ids] < scores).astype(int)
        logit = np.log(scores / (1 - scores))
        for said, found in ((scores, perfect), (1 / (1 + np.exp(-3 * logit)), bold)):
            fold = FoldScores(labels, ids, said[np.newaxis])
            found.append(measured([fold], [np.array([0.5])], 10)["ece"])
        chance.append(calibration.ece_if_perfect([FoldScores(labels, ids, scores[np.newaxis])], 10, seed))
    assert np.mean(perfect) == pytest.approx(np.mean(chance), abs=0.01)
    assert np.mean(bold) > np.mean(chance) + 0.03


def test_threshold_is_where_youdens_j_is_highest():
    fold = drawn(runs=1, patients=60, seed=8)
    scores, labels = fold.scores[0], fold.labels
    cut = best_threshold(scores, labels)
    fpr, tpr, _ = roc_curve(labels, scores)
    assert balanced_accuracy_score(labels, scores >= cut) == pytest.approx(((tpr - fpr).max() + 1) / 2)
    assert cut not in scores


@pytest.mark.parametrize(
    ("scores", "labels", "cut"),
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 0.5),
        ([0.9, 0.1], [0, 1], 0.1),  # worse than guessing: call everything positive
        ([0.5, 0.5, 0.5], [0, 1, 1], 0.5),
        ([0.2, 0.3, 0.3, 0.9], [0, 0, 1, 1], 0.6),
        ([0.7, np.nextafter(0.7, 1)], [0, 1], np.nextafter(0.7, 1)),
    ],
)
def test_threshold_of_simple_cases(scores, labels, cut):
    assert best_threshold(np.array(scores), np.array(labels)) == pytest.approx(cut, abs=1e-15)
