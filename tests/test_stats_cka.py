"""Unbiased CKA against closed forms and a direct implementation; its interval against a known truth."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from radlib.stats.cka import cka, rank_correlation, subsampled_cka


def hsic_1(k: np.ndarray, m: np.ndarray) -> float:
    """The unbiased estimate of Song et al. 2007, term by term."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    whole = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ m) + whole - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def direct(x: np.ndarray, y: np.ndarray) -> float:
    k, m = x @ x.T, y @ y.T
    return hsic_1(k, m) / np.sqrt(hsic_1(k, k) * hsic_1(m, m))


def biased(x: np.ndarray, y: np.ndarray) -> float:
    """Kornblith et al. 2019, with the usual HSIC."""
    x, y = x - x.mean(0), y - y.mean(0)
    return np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def linear_pair(rng, count: int, mix: tuple, own: int = 60, sd: float = 0.5):
    """Features that are linear in the same Gaussians, and as many that are each set's own noise."""
    latent = rng.normal(size=(count, len(mix[0])))
    return [np.c_[latent @ m, sd * rng.normal(size=(count, own))] for m in mix]


def true_cka(mix: tuple, own: int = 60, sd: float = 0.5) -> float:
    """|cov(x, y)|^2 over the sizes of both covariances, of `linear_pair`."""
    sizes = [np.linalg.norm(m.T @ m) ** 2 + own * sd**4 for m in mix]
    return np.linalg.norm(mix[0].T @ mix[1]) ** 2 / np.sqrt(sizes[0] * sizes[1])


def test_it_is_the_direct_formula():
    rng = np.random.default_rng(0)
    x, y, z = rng.normal(size=(25, 40)) + 7, rng.exponential(size=(25, 3)), rng.normal(size=(25, 9))
    z[:, :3] += y
    found = cka([x, y, z])
    expected = [[direct(one, other) for other in (x, y, z)] for one in (x, y, z)]
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_turned_shifted_and_scaled_features_are_the_same():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 12)).astype(np.float32)
    rotation = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    np.testing.assert_allclose(cka([x, x, 5 * x @ rotation - 3])[0], 1, atol=1e-5)


def test_unrelated_wide_features_have_nothing_in_common_where_the_usual_estimate_says_they_do():
    rng = np.random.default_rng(2)
    pairs = [(rng.normal(size=(40, 400)), rng.normal(size=(40, 400))) for _ in range(40)]
    assert abs(np.mean([cka(pair)[0, 1] for pair in pairs])) < 0.02
    assert np.mean([biased(*pair) for pair in pairs]) > 0.85


def test_rows_drawn_twice_raise_it_and_halves_do_not():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 40, 200))
    found = subsampled_cka([x, y], [(0, 1)], 200, seed=0)
    drawn = [rng.integers(0, 40, 40) for _ in range(100)]
    again = np.mean([cka([x[rows], y[rows]])[0, 1] for rows in drawn])
    assert abs(found.replicates.mean() - found.value[0]) < 0.03
    assert again > found.value[0] + 0.2


@pytest.mark.parametrize(("count", "spread"), [(24, 0.3), (40, 1.5)])
def test_the_interval_covers_the_true_value(count, spread):
    rng = np.random.default_rng(4)
    first = rng.normal(size=(8, 20))
    mix = (first, first + spread * rng.normal(size=(8, 20)))
    truth, covered = true_cka(mix), []
    for seed in range(100):
        found = subsampled_cka(linear_pair(rng, count, mix), [(0, 1)], 100, seed)
        low, high = found.interval(0.95)
        covered.append(low[0] <= truth <= high[0])
    assert 0.91 <= np.mean(covered) <= 1  # 0.95 within its own error, or a little wide


def test_pairs_share_their_halves():
    rng = np.random.default_rng(5)
    x, y, z = rng.normal(size=(3, 20, 6))
    together = subsampled_cka([x, y, z], [(0, 1), (1, 2), (0, 0)], 60, seed=9)
    alone = subsampled_cka([z, y], [(1, 0)], 60, seed=9)
    np.testing.assert_allclose(together.replicates[:, 1], alone.replicates[:, 0])
    np.testing.assert_allclose(together.replicates[:, 2], 1)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ([np.ones((5, 2)), np.ones((6, 2))], "same four or more rows, not of .5, 6. rows"),
        ([np.eye(3)], "same four or more rows, not of .3. rows"),
        ([np.full((5, 2), np.nan)], "needs finite features"),
        ([np.ones((9, 4)), np.eye(9)], "set 0 says the same of every row"),
    ],
)
def test_what_has_no_cka_is_refused(features, said):
    with pytest.raises(ValueError, match=said):
        cka(features)


def test_too_few_rows_for_an_interval_are_refused():
    with pytest.raises(ValueError, match="7 rows are too few .* take 8 or more"):
        subsampled_cka([np.eye(7), np.eye(7)], [(0, 1)], 100, seed=0)


def test_rank_correlation_covers_the_truth_and_needs_five_points():
    rng, covered = np.random.default_rng(6), []
    for _ in range(400):
        x, e = rng.normal(size=(2, 15))
        rho, low, high = rank_correlation(x, x + e, 0.95)
        assert rho == pytest.approx(spearmanr(x, x + e).statistic)
        # Spearman's rho of a Gaussian pair with correlation r is 6 / pi asin(r / 2).
        covered.append(low <= 6 / np.pi * np.arcsin(np.sqrt(0.5) / 2) <= high)
    assert 0.92 <= np.mean(covered) <= 0.98
    with pytest.raises(ValueError, match="4 points give no interval"):
        rank_correlation(range(4), range(4), 0.95)


@pytest.mark.parametrize("points", [5, 6])
def test_few_points_that_lie_in_order_by_chance_do_not_prove_that_all_do(points):
    rng, r, covered = np.random.default_rng(points), 0.95, []
    for _ in range(300):
        x, e = rng.normal(size=(2, points))
        rho, low, high = rank_correlation(x, r * x + np.sqrt(1 - r**2) * e, 0.95)
        assert low <= rho <= high
        covered.append(low <= 6 / np.pi * np.arcsin(r / 2) <= high)
    assert np.mean(covered) >= 0.93
    turned = rank_correlation(range(points), range(points)[::-1], 0.95)
    assert turned == pytest.approx((-1, -1, -rank_correlation(range(points), range(points), 0.95)[1]))
