"""Does a curve depend on the size? Against closed forms, another library, and studies with a known truth."""

import numpy as np
import pytest
from scipy.stats import kstest
from scipy.stats import t as student
from statsmodels.stats.multivariate import test_mvmean as one_sample

from radlib.stats.bootstrap import bootstrap_run_aucs, run_weights
from radlib.stats.curves import p_flat, per_doubling
from radlib.stats.estimate import Estimate
from radlib.stats.folds import FoldScores

MANY = 10**9  # patients with whom nothing is widened
PARTS = (0.1, 0.25, 0.5, 1.0)


def curve(values, covariance, patients=MANY, folds=1) -> list[Estimate]:
    """Points whose replicates have exactly the covariance."""
    noise = np.random.default_rng(0).normal(size=(500, len(values)))
    noise -= noise.mean(axis=0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise.T))).T
    draws = np.array(values) + white @ np.linalg.cholesky(covariance).T
    return [Estimate(*point, patients, folds) for point in zip(values, draws.T, strict=True)]


def test_the_joint_test_is_hotellings_of_another_library():
    sample = np.random.default_rng(1).normal((0.3, 0.0, -0.1, 0.1), 0.5, (12, 4))
    points = curve(sample.mean(axis=0), np.cov(sample.T) / 12)
    for last in (3, 0):  # whichever point the others are compared with
        turned = points[last:] + points[:last] if last else points
        moved = sample[:, :-1] - sample[:, -1:]
        expected = one_sample(moved, np.zeros(3)).pvalue
        assert p_flat(turned, degrees=11) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("moved", [0.0, 0.01, -0.03])
def test_of_two_points_it_is_the_t_test_of_their_difference_widened_for_few_patients(moved):
    points = curve([0.02 + moved, 0.02], np.array([[4e-4, 1e-4], [1e-4, 2e-4]]), patients=20, folds=5)
    error = np.sqrt(4e-4) * np.sqrt(20 / 15)  # 4 + 2 - 2 * 1
    assert p_flat(points, degrees=9) == pytest.approx(2 * student.sf(abs(moved) / error, 9))


def test_what_cannot_be_tested_jointly():
    points = curve([0.1, 0.2, 0.3, 0.5], np.eye(4) * 1e-4)
    assert np.isnan(p_flat(points, degrees=2)) and p_flat(points, degrees=3) < 0.1
    assert p_flat([Estimate(0.1, np.full(99, 0.1), 30)] * 3, degrees=29) == 1.0


def test_trend_is_the_slope_of_least_squares():
    points = curve([0.09, 0.05, 0.04, 0.01], np.eye(4) * 1e-4, patients=40)
    found = per_doubling(PARTS, points, degrees=12)
    values = np.array([np.append(point.value, point.replicates) for point in points])
    slopes = np.polyfit(np.log2(PARTS), values, 1)[0]
    np.testing.assert_allclose([found.value, *found.replicates], slopes)
    assert found.sample == (40, 1, 12)


def test_of_flat_curves_one_in_twenty_is_called_otherwise():
    """Normal curves whose covariance is estimated with 10 degrees of freedom; 400 of them."""
    rng, p = np.random.default_rng(2), []
    for _ in range(400):
        sample = 0.3 + rng.normal(0, 1, 11)[:, None] + rng.normal(0, (1, 2, 1, 0.5), (11, 4))
        p.append(p_flat(curve(sample.mean(axis=0), np.cov(sample.T) / 11), degrees=10))
    assert kstest(p, "uniform").pvalue > 0.01


def bootstrapped(rng, leads, patients=40, folds=3, networks=2, orders=3) -> tuple[list[Estimate], int]:
    """A difference at every part: source a separates the classes by `leads` SD more than b does there.

    Training moves every run with a part by 0.3 SD; with all patients there is one, and it is not moved.
    """
    labels, seed, points = np.arange(patients) % 2, int(rng.integers(1e9)), []
    shared = rng.normal(0, 1, (folds, patients))
    of_network = rng.normal(0, 0.5, (2, folds, networks, patients))
    for part, lead in zip(PARTS, leads, strict=True):
        runs = orders if part < 1 else 1
        sides = []
        for side in range(2):
            signal = 1 + lead * (side == 0) + rng.normal(0, 0.3 * (part < 1), (folds, networks, runs, 1))
            scores = signal * labels + shared[:, None, None] + of_network[side][:, :, None]
            names = [np.array([f"{fold} {p}" for p in range(patients)]) for fold in range(folds)]
            of_folds = zip(names, scores.reshape(folds, -1, patients), strict=True)
            parts = [FoldScores(labels, own, some) for own, some in of_folds]
            sides.append(bootstrap_run_aucs(parts, 300, seed))
        settings = [np.repeat(np.arange(networks), runs)] * folds
        weights = run_weights(settings, 300, seed) if part < 1 else None
        points.append((sides[0] - sides[1]).mean_of_runs(weights, folds * networks))
    return points, folds * networks * (orders - 1)


def p_values(leads, studies: int) -> np.ndarray:
    """(studies, 2): p of the trend, and of the joint test."""
    found = []
    for number in range(studies):
        points, degrees = bootstrapped(np.random.default_rng(number), leads)
        found.append((per_doubling(PARTS, points, degrees).p_value(), p_flat(points, degrees)))
    return np.array(found)


def test_planted_studies_without_a_dependence_rarely_show_one():
    """Resampling patients and trainings errs wide; six or more of 40 have a chance of 1 in 70."""
    assert ((p_values((0.4, 0.4, 0.4, 0.4), 40) < 0.05).sum(axis=0) <= 5).all()


def test_planted_dependences_are_found_by_the_test_of_their_shape():
    fading, bent = p_values((1.2, 0.8, 0.4, 0.0), 10), p_values((0.0, 1.4, 1.4, 0.0), 10)
    assert (fading[:, 0] < 0.05).mean() > 0.8
    assert (bent[:, 1] < 0.05).mean() > 0.8 > 0.4 > (bent[:, 0] < 0.05).mean()
