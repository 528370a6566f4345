"""DeLong's variance against its definition, closed forms and simulation."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from radlib.stats.bootstrap import mean_auc
from radlib.stats.delong import delong_difference, run_components
from radlib.stats.folds import FoldScores, as_images


def two_sides(seed: int, runs: int, n: int = 60, per_patient: int = 1, prefix: int = 0):
    rng = np.random.default_rng(seed)
    patients = prefix + np.arange(n) // per_patient
    labels = patients % 2
    effect = rng.normal(size=patients.max() + 1)[patients]
    scores = [(rng.normal(size=(runs, n)) + effect + shift * labels).round(1) for shift in (1.5, 0.8)]
    return tuple(FoldScores(labels, patients, s) for s in scores)


def brute_components(fold: FoldScores) -> np.ndarray:
    """The definition: every positive against every negative, one pair at a time."""
    components = np.zeros(len(fold.labels))
    positives, negatives = np.flatnonzero(fold.labels == 1), np.flatnonzero(fold.labels == 0)
    for scores in fold.scores:
        for i in positives:
            for j in negatives:
                won = 1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
                components[i] += won / len(negatives) / fold.runs
                components[j] += won / len(positives) / fold.runs
    return components


def brute_variance(a: FoldScores, b: FoldScores) -> float:
    difference = brute_components(a) - brute_components(b)
    positive = difference[a.labels == 1]
    negative = difference[a.labels == 0]
    return positive.var(ddof=1) / len(positive) + negative.var(ddof=1) / len(negative)


def brute_clustered_variance(a: FoldScores, b: FoldScores) -> float:
    """Obuchowski's S10, S01 and S11, patient by patient."""
    difference, labels = brute_components(a) - brute_components(b), a.labels
    m, n, theta = (labels == 1).sum(), (labels == 0).sum(), difference[a.labels == 1].mean()
    x, y, with_positives, with_negatives = [], [], 0, 0
    for patient in set(a.patients.tolist()):
        own = a.patients == patient
        x.append(sum(v - theta for v in difference[own & (labels == 1)]))
        y.append(sum(v - theta for v in difference[own & (labels == 0)]))
        with_positives += (own & (labels == 1)).any()
        with_negatives += (own & (labels == 0)).any()
    s10 = with_positives / ((with_positives - 1) * m) * sum(v * v for v in x)
    s01 = with_negatives / ((with_negatives - 1) * n) * sum(v * v for v in y)
    s11 = len(x) / (len(x) - 1) * sum(v * w for v, w in zip(x, y, strict=True))
    return s10 / m + s01 / n + 2 * s11 / (m * n)


@pytest.mark.parametrize("runs", [1, 3])
def test_components_by_ranks_are_those_by_definition(runs):
    for fold in two_sides(0, runs):
        np.testing.assert_allclose(run_components(fold).mean(axis=0), brute_components(fold), atol=1e-13)


def test_variance_by_definition_and_delta_of_means():
    a, b = two_sides(1, 3)
    found = delong_difference(as_images([a]), as_images([b]))
    assert found.se**2 == pytest.approx(brute_variance(a, b), rel=1e-10)
    assert found.delta == pytest.approx(mean_auc([a]) - mean_auc([b]), abs=1e-14)
    assert found.p_value == pytest.approx(2 * (1 - norm.cdf(abs(found.delta) / found.se)), abs=1e-12)
    assert (found.ci_low + found.ci_high) / 2 == pytest.approx(found.delta)
    assert found.ci_high - found.ci_low == pytest.approx(2 * 1.959964 * found.se, rel=1e-6)


def test_clustered_variance_by_definition_with_patients_of_both_classes():
    a, b = two_sides(2, 2, per_patient=3)
    labels = a.labels.copy()
    labels[[0, 4, 5, 20]] = 1 - labels[[0, 4, 5, 20]]
    a, b = FoldScores(labels, a.patients, a.scores), FoldScores(labels, b.patients, b.scores)
    assert delong_difference([a], [b]).se ** 2 == pytest.approx(brute_clustered_variance(a, b), rel=1e-10)


def test_clustered_equals_plain_where_every_patient_has_one_image():
    a, b = two_sides(3, 2)
    clustered, plain = delong_difference([a], [b]), delong_difference(as_images([a]), as_images([b]))
    assert clustered.se == pytest.approx(plain.se, rel=1e-12)


def test_copied_images_count_once_when_clustered():
    """Copies tell nothing new: clustered ignores them, plain believes in five times the sample."""
    a, b = two_sides(4, 1)
    copies = [
        FoldScores(*(np.repeat(x, 5) for x in (s.labels, s.patients)), np.repeat(s.scores, 5, 1))
        for s in (a, b)
    ]
    one = delong_difference([a], [b])
    assert delong_difference(copies[:1], copies[1:]).se == pytest.approx(one.se, rel=1e-12)
    plain = delong_difference(as_images(copies[:1]), as_images(copies[1:]))
    assert plain.se == pytest.approx(one.se / math.sqrt(5), rel=0.02)


def test_closed_form_of_one_misplaced_image():
    """One side separates perfectly; on the other one of m positives lies below all n negatives.

    Components of the difference: 0 for m - 1 positives and 1 for one; 1/m for all negatives. So
    delta = 1/m and the variance is (1/m)(1 - 1/m) / (m - 1).
    """
    m, n = 8, 11
    labels = np.repeat([1, 0], [m, n])
    perfect = labels.astype(float)
    misplaced = perfect.copy()
    misplaced[0] = -1
    a, b = (FoldScores(labels, np.arange(m + n), s[None]) for s in (perfect, misplaced))
    found = delong_difference([a], [b])
    assert found.delta == pytest.approx(1 / m)
    assert found.se**2 == pytest.approx((1 / m) * (1 - 1 / m) / (m - 1), rel=1e-10)


def test_folds_add_with_the_square_of_their_share():
    sides = [two_sides(5, 1, prefix=0), two_sides(6, 3, n=80, prefix=1000)]
    a, b = [s[0] for s in sides], [s[1] for s in sides]
    expected = (1 / 4) ** 2 * brute_variance(a[0], b[0]) + (3 / 4) ** 2 * brute_variance(a[1], b[1])
    found = delong_difference(as_images(a), as_images(b))
    assert found.se**2 == pytest.approx(expected, rel=1e-10)
    assert found.delta == pytest.approx(mean_auc(a) - mean_auc(b), abs=1e-14)


def test_standard_error_is_the_spread_over_studies():
    deltas, plain, clustered = [], [], []
    for seed in range(400):
        a, b = two_sides(100 + seed, 1, n=240, per_patient=4)
        found = delong_difference([a], [b])
        deltas.append(found.delta)
        clustered.append(found.se)
        plain.append(delong_difference(as_images([a]), as_images([b])).se)
    assert np.mean(clustered) == pytest.approx(np.std(deltas), rel=0.1)


def test_p_values_are_uniform_where_sides_are_equal():
    rng, small = np.random.default_rng(0), 0
    for _ in range(1000):
        labels, common = np.arange(120) % 2, rng.normal(size=120)
        a, b = (
            FoldScores(labels, np.arange(120), (labels + common + rng.normal(size=120))[None]) for _ in "ab"
        )
        small += delong_difference([a], [b]).p_value < 0.05
    assert 0.03 <= small / 1000 <= 0.07


def test_sides_without_variance():
    a, _ = two_sides(7, 2)
    same = delong_difference([a], [a])
    assert (same.delta, same.se, same.ci_low, same.ci_high, same.p_value) == (0, 0, 0, 0, 1)
    perfect = FoldScores(a.labels, a.patients, a.labels[None].astype(float))
    constant = FoldScores(a.labels, a.patients, np.zeros((1, len(a.labels))))
    found = delong_difference([perfect], [constant])
    assert (found.delta, found.se) == (0.5, 0)
    assert math.isnan(found.p_value)
    assert math.isnan(found.ci_low)


def test_what_is_refused():
    a, b = two_sides(8, 1)
    with pytest.raises(ValueError, match="not scored on the same images"):
        delong_difference([a], [FoldScores(1 - b.labels, b.patients, b.scores)])
    one = FoldScores(np.array([1, 1, 0, 0]), np.array(["a", "a", "b", "c"]), np.array([[0.3, 0.9, 0.5, 0.1]]))
    with pytest.raises(ValueError, match="1 patients with positive and 2 with negative"):
        delong_difference([one], [one])
