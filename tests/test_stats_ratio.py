"""The share of a difference that is left: against Fieller's formula, and counted over simulated studies."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from radlib.stats.bootstrap import interval
from radlib.stats.ratio import share

CORRELATION = 0.6


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
    found = share(left * whole, whole, *drawn.T, 0.95)
    low, high = fieller(left * whole, whole, sd)
    assert found.value == pytest.approx(left)
    if abs(whole) >= 4:
        assert (found.low, found.high) == pytest.approx((low, high), rel=0.02, abs=0.01)
    else:  # draws of the other sign count against both ends
        assert found.low < low + 0.02 and high - 0.02 < found.high


def test_a_whole_of_one_sign_gives_the_interval_of_the_ratios_with_the_same_correction():
    drawn = joint(2.0, 9.0, (1.0, 1.0), np.random.default_rng(2), 4000)
    assert (drawn[:, 1] > 0).all()
    sample = (20, 5, 9.0)
    found = share(2.0, 9.0, *drawn.T, 0.95, sample)
    assert (found.low, found.high) == interval(drawn[:, 0] / drawn[:, 1], 0.95, *sample)
    plain = share(2.0, 9.0, *drawn.T, 0.95)
    assert found.low < plain.low < plain.high < found.high
    turned = share(-2.0, -9.0, *-drawn.T, 0.95, sample)
    assert turned == pytest.approx(found)


@pytest.mark.parametrize("whole", [0.0, 0.5, 1.9, -1.5])
def test_no_share_is_given_of_a_difference_that_is_not_shown(whole):
    drawn = joint(0.5, whole, (1.0, 1.0), np.random.default_rng(3), 20_000)
    assert np.isnan(share(0.5, whole, *drawn.T, 0.95)).all()


@pytest.mark.parametrize("whole", [6.0, 3.0, 1.0])
def test_the_true_share_is_inside_as_often_as_promised(whole):
    """Where none is given, nothing false is said. Of 1000 studies the Monte-Carlo error is 0.7 points."""
    rng, left, sd = np.random.default_rng(4), 0.6, (1.0, 1.0)
    wrong = given = 0
    for part, seen in joint(left * whole, whole, sd, rng, 1000):
        found = share(part, seen, *joint(part, seen, sd, rng, 1000).T, 0.95)
        given += not math.isnan(found.value)
        wrong += not math.isnan(found.value) and not found.low <= left <= found.high
    assert wrong / 1000 <= 0.05 + 0.021
    if whole == 6.0:
        assert given == 1000 and wrong / 1000 == pytest.approx(0.05, abs=0.021)
