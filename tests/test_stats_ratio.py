"""The share of a difference that is left: against Fieller's formula, and counted over simulated studies."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from radlib.stats.bootstrap import bootstrap_delta
from radlib.stats.estimate import Estimate
from radlib.stats.folds import FoldScores
from radlib.stats.pretrainings import over_trainings

CORRELATION = 0.6


def share(part: float, whole: float, drawn: np.ndarray, sample: tuple = (None, 1, None)) -> tuple:
    """Value, low and high from (resamples, 2) joint draws."""
    estimates = [Estimate(x, draws, *sample) for x, draws in zip((part, whole), drawn.T, strict=True)]
    return estimates[0].share_of(estimates[1], 0.95)


def fieller(part: float, whole: float, sd: tuple[float, float], confidence: float = 0.95) -> tuple:
    """Roots p of (part - p whole)^2 = z^2 var(part - p whole), a quadratic in p."""
    z2 = norm.isf((1 - confidence) / 2) ** 2
    between = CORRELATION * sd[0] * sd[1]
    a, b, c = whole**2 - z2 * sd[1] ** 2, part * whole - z2 * between, part**2 - z2 * sd[0] ** 2
    root = math.sqrt(b**2 - a * c)
    return (b - root) / a, (b + root) / a


def joint(part: float, whole: float, sd: tuple[float, float], rng, size) -> np.ndarray:
    """(size, 2) normal draws of part and whole."""
    covariance = [[sd[0] ** 2, CORRELATION * sd[0] * sd[1]], [CORRELATION * sd[0] * sd[1], sd[1] ** 2]]
    return rng.multivariate_normal([part, whole], covariance, size)


@pytest.mark.parametrize("whole", [8.0, 4.0, 2.6, -4.0])
@pytest.mark.parametrize("left", [0.55, 0.0, -0.4, 1.0])
def test_normal_draws_give_fiellers_interval(whole, left):
    sd = (1.1, 1.0)
    drawn = joint(left * whole, whole, sd, np.random.default_rng(1), 200_000)
    value, *ends = share(left * whole, whole, drawn)
    low, high = fieller(left * whole, whole, sd)
    assert value == pytest.approx(left)
    if abs(whole) >= 4:
        assert ends == pytest.approx([low, high], rel=0.02, abs=0.01)
    else:  # draws of the other sign count against both ends
        assert ends[0] < low + 0.02 and high - 0.02 < ends[1]


def test_a_whole_of_one_sign_gives_the_interval_of_the_ratios_with_the_same_correction():
    drawn = joint(2.0, 9.0, (1.0, 1.0), np.random.default_rng(2), 4000)
    assert (drawn[:, 1] > 0).all()
    sample = (20, 5, 9.0)
    found = share(2.0, 9.0, drawn, sample)
    assert found[1:] == Estimate(0.0, drawn[:, 0] / drawn[:, 1], *sample).interval(0.95)
    plain = share(2.0, 9.0, drawn)
    assert found[1] < plain[1] < plain[2] < found[2]
    turned = share(-2.0, -9.0, -drawn, sample)
    assert turned == pytest.approx(found)


@pytest.mark.parametrize("whole", [0.0, 0.5, 1.9, -1.5])
def test_no_share_is_given_of_a_difference_that_is_not_shown(whole):
    drawn = joint(0.5, whole, (1.0, 1.0), np.random.default_rng(3), 20_000)
    assert np.isnan(share(0.5, whole, drawn)).all()


@pytest.mark.parametrize("whole", [6.0, 3.0, 1.0])
def test_the_true_share_is_inside_as_often_as_promised(whole):
    """Where none is given, nothing false is said. Of 1000 studies the Monte-Carlo error is 0.7 points."""
    rng, left, sd = np.random.default_rng(4), 0.6, (1.0, 1.0)
    wrong = given = 0
    for part, seen in joint(left * whole, whole, sd, rng, 1000):
        value, low, high = share(part, seen, joint(part, seen, sd, rng, 1000))
        given += not math.isnan(value)
        wrong += not math.isnan(value) and not low <= left <= high
    assert wrong / 1000 <= 0.05 + 0.021
    if whole == 6.0:
        assert given == 1000 and wrong / 1000 == pytest.approx(0.05, abs=0.021)


def test_a_share_covers_that_of_other_trainings_of_three_sources():
    """Hardly any variation between patients; both differences are from the same third source."""
    rng, covered, settings = np.random.default_rng(0), 0, np.repeat(list("wxyz"), 3)
    for _ in range(100):
        one, other, rival = (level + rng.normal(0, 0.03, 12) for level in (0.10, 0.05, 0.0))
        patients = rng.normal(0, 1e-4, (400, 1))
        whole, part = (
            over_trainings(Estimate(runs, runs + patients, patients=400), settings, seed)
            for seed, runs in enumerate((one - rival, other - rival))
        )
        _, low, high = part.share_of(whole, 0.95)
        covered += low <= 0.5 <= high
    assert covered >= 88  # with one seed for both it is 76


def test_what_trainings_add_has_a_seed_of_its_own():
    rng, labels = np.random.default_rng(1), np.arange(40) % 2
    a, b = ([FoldScores(labels, np.arange(40), rng.normal(labels, 1, (6, 40)))] for _ in "ab")
    settings = [np.repeat([0, 1], 3)]
    same, again, other = (bootstrap_delta(a, b, 200, 0, settings, seed) for seed in (None, 0, 1))
    np.testing.assert_array_equal(same.replicates, again.replicates)
    assert other.value == same.value and not np.allclose(other.replicates, same.replicates)
