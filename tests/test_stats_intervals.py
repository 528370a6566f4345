"""Percentile intervals and p-values: against tables, and against each other."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from radlib.stats.estimate import Estimate, resamples_needed, stacked


def interval(draws: np.ndarray, confidence: float, *sample, **named) -> tuple:
    return Estimate(0.0, draws, *sample, **named).interval(confidence)


def p_value(draws: np.ndarray, *sample, **named) -> float:
    return Estimate(0.0, draws, *sample, **named).p_value()


def test_plain_interval_is_the_percentile():
    draws = np.random.default_rng(0).permutation(np.arange(1, 2000) / 1000 - 1)
    assert interval(draws, 0.90) == pytest.approx((-0.901, 0.901), abs=1.1e-3)
    low, high = interval(np.c_[draws, draws + 1], 0.90)
    assert (low[0], high[0]) == interval(draws, 0.90)
    assert (low[1], high[1]) == interval(draws + 1, 0.90)


@pytest.mark.parametrize(("patients", "folds", "quantile"), [(10, 1, 2.262157), (20, 5, 2.131450)])
def test_expanded_interval_of_normal_draws_is_students(patients, folds, quantile):
    """Quantiles of Student's t at 9 and 15 degrees of freedom as printed in tables."""
    draws = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    expected = quantile * math.sqrt(patients / (patients - folds))
    low, high = interval(draws, 0.95, patients, folds)
    assert (-low, high) == pytest.approx((expected, expected), rel=2e-3)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(600, 2100),
    st.floats(0, 3),
    st.sampled_from([0.8, 0.9, 0.95]),
    st.sampled_from([(None, 1), (6, 1), (30, 1), (30, 5), (400, 2)]),
)
@example(0, 1999, 1.96, 0.95, (None, 1))
def test_interval_excludes_zero_exactly_where_p_is_small(seed, resamples, shift, confidence, sample):
    draws = np.sort((np.random.default_rng(seed).normal(size=resamples) + shift).round(2))
    low, high = interval(draws, confidence, *sample)
    excludes = low > 0 or high < 0
    assert excludes == (p_value(draws, *sample) < round(1 - confidence, 2))
    assert p_value(-draws, *sample) == p_value(draws, *sample)


@pytest.mark.parametrize("below", [48, 49, 50])
def test_agreement_at_the_edge(below):
    draws = np.r_[np.full(below, -1.0), np.full(1999 - below, 1.0)]
    assert (interval(draws, 0.95)[0] > 0) == (p_value(draws) < 0.05) == (below < 49)


def test_p_value_is_never_zero_and_one_without_difference():
    assert p_value(np.ones(999)) == pytest.approx(2 / 1000)
    assert 0 < p_value(np.ones(999), patients=40) < 2 * 0.01
    assert p_value(np.zeros(999)) == p_value(np.zeros(999), 12, 2) == 1


def test_too_few_resamples_or_patients_are_refused():
    for sample in [(None, 1), (8, 1), (20, 5)]:
        needed = resamples_needed(0.95, *sample)
        low, high = interval(np.arange(needed, dtype=float), 0.95, *sample)
        assert 0 <= low < high <= needed - 1
        with pytest.raises(ValueError, match="resamples are too few"):
            interval(np.arange(needed // 2, dtype=float), 0.95, *sample)
    with pytest.raises(ValueError, match="no degree of freedom"):
        interval(np.arange(100.0), 0.95, 5, 5)
    with pytest.raises(ValueError, match="more patients or fewer folds"):
        interval(np.arange(2000.0), 0.95, 3)


def test_other_degrees_of_freedom_change_the_quantile_alone():
    """Student's t at 6 degrees of freedom as printed in tables; 20 patients in 2 folds set the spread."""
    draws = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    low, high = interval(draws, 0.95, 20, 2, degrees=6)
    assert (-low, high) == pytest.approx((2.446912 * math.sqrt(20 / 18),) * 2, rel=3e-3)
    assert interval(draws, 0.95, 20, 2, degrees=18) == interval(draws, 0.95, 20, 2)
    for shift in (2.4, 2.5, 2.55, 2.6, 2.7):
        excludes = interval(draws + shift, 0.95, 20, 2, degrees=6)[0] > 0
        assert excludes == (p_value(draws + shift, 20, 2, degrees=6) < 0.05)
    with pytest.raises(ValueError, match="and 1.0 degrees of freedom; use more patients or more seeds"):
        interval(draws[:2000], 0.95, 20, 2, degrees=1)


@pytest.mark.parametrize("scale", [1, 30])
def test_replicates_that_are_zero_but_for_rounding_count_for_both_tails(scale):
    rng = np.random.default_rng(1)
    exact = scale * np.where(rng.random(999) < 0.3, 0, rng.normal(0.1, 0.1, 999))
    noisy = exact + np.where(exact == 0, rng.choice([-1e-17, 1e-17], 999) * scale, 0)
    for sample in ((), (30, 2)):
        assert p_value(noisy, *sample) == p_value(exact, *sample)
    assert p_value(np.full(999, 1e-17)) == 1
    assert p_value(np.full(999, 1e-9)) == p_value(np.ones(999))
    assert interval(np.full(999, -1e-17), 0.95) == (0, 0)


def test_no_equivalence_where_nothing_varies():
    """Two sources that separate ten patients perfectly may still differ on others."""
    same = Estimate(0.0, np.full(2000, 1e-17), patients=10)
    assert same.equivalence(0.01, 0.95)[2] == 1 and same.interval(0.95) == (0, 0)
    alike = Estimate(0.0, np.random.default_rng(0).normal(0, 1e-4, 2000), patients=100)
    assert alike.equivalence(0.01, 0.95)[2] < 0.01


def test_a_difference_is_as_uncertain_whichever_side_stands_first():
    """One side is of few trainings: Student's t with its 4 degrees of freedom, from tables."""
    normal = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    trained, fixed = Estimate(0.0, normal, 50, degrees=4.0), Estimate(0.0, np.zeros(200_000), 50)
    expected = 2.776445 * math.sqrt(50 / 49)
    for found in (trained - fixed, fixed - trained):
        assert found.interval(0.95) == pytest.approx((-expected, expected), rel=2e-3)
    for both in ([trained, fixed], [fixed, trained]):
        assert stacked(both).degrees == 4
