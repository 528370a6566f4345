"""Bootstrap of means: against scipy, a plain loop, a closed form, and simulated studies with known truth."""

import numpy as np
import pytest
from scipy import stats

from radlib.stats.means import bootstrap_mean_difference


def figures(patients: int, seed: int, delta: float = 0.0, images: int = 3, folds: int = 2):
    """Correlated figures of both sides, clustered in patients."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(patients), images)
    of_patient, of_pair = rng.normal(0, 0.1, patients)[ids], rng.normal(0, 0.1, patients)[ids]
    base = 0.5 + of_patient + rng.normal(0, 0.05, len(ids))
    return base + delta + of_pair + rng.normal(0, 0.05, len(ids)), base, ids, ids % folds


def test_one_image_a_patient_agrees_with_scipy_bootstrap():
    a, b, ids, folds = figures(80, 1, 0.02, images=1, folds=1)
    found = bootstrap_mean_difference(a, b, ids, folds, 20_000, 0)
    assert found.difference.value == pytest.approx(np.mean(a - b))
    plain = stats.bootstrap(
        (a - b,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    )
    assert found.difference.replicates.std() == pytest.approx(plain.standard_error, rel=0.03)
    # The expanded percentile of a mean is Student's interval, up to the bootstrap's own noise and skewness.
    low, high = stats.t.interval(0.95, 79, loc=np.mean(a - b), scale=stats.sem(a - b))
    assert (found.difference.interval(0.95)[0], found.difference.interval(0.95)[1]) == pytest.approx(
        (low, high), abs=0.003
    )
    assert found.wilcoxon_p == stats.wilcoxon(a - b).pvalue


def test_unequal_patients_follow_a_plain_loop():
    rng = np.random.default_rng(2)
    ids = np.repeat(np.arange(12), rng.integers(1, 6, 12))
    a, b = rng.random(len(ids)), rng.random(len(ids))
    found = bootstrap_mean_difference(a, b, ids, ids % 3, 4000, 5)
    loop = []
    for _ in range(4000):
        rows = []
        for fold in range(3):
            own = np.unique(ids[ids % 3 == fold])
            for patient in rng.choice(own, len(own)):
                rows += list(np.flatnonzero(ids == patient))
        loop.append(a[rows].mean() - b[rows].mean())
    assert found.difference.replicates.mean() == pytest.approx(np.mean(loop), abs=0.01)
    assert found.difference.replicates.std() == pytest.approx(np.std(loop), rel=0.06)
    assert stats.ks_2samp(found.difference.replicates, loop).pvalue > 0.001


def test_interval_covers_the_truth_and_the_image_bootstrap_would_not():
    covered = image_wise = 0
    for seed in range(400):
        a, b, ids, folds = figures(50, seed, 0.03)
        found = bootstrap_mean_difference(a, b, ids, folds, 400, seed)
        covered += found.difference.interval(0.95)[0] <= 0.03 <= found.difference.interval(0.95)[1]
        low, high = stats.t.interval(0.95, len(a) - 1, loc=np.mean(a - b), scale=stats.sem(a - b))
        image_wise += low <= 0.03 <= high
    assert 0.92 <= covered / 400 <= 0.975  # three standard errors are 0.033
    assert image_wise / 400 < 0.85


def test_relative_gain_is_a_share_of_b_and_undefined_at_zero():
    a, b, ids, folds = figures(30, 3, 0.1)
    found = bootstrap_mean_difference(a, b, ids, folds, 500, 0)
    gain, low, high = found.difference.share_of(found.b, 0.95)
    assert gain == pytest.approx(a.mean() / b.mean() - 1) and low < gain < high
    ratios = found.a.replicates / found.b.replicates - 1
    assert low == pytest.approx(np.quantile(ratios, 0.025), abs=0.03)
    nothing = bootstrap_mean_difference(a, 0 * b, ids, folds, 500, 0)
    assert np.isnan(nothing.difference.share_of(nothing.b, 0.95)).all()
    same = bootstrap_mean_difference(a, a, ids, folds, 500, 0)
    assert same.difference.value == 0 and same.difference.p_value() == 1 and same.wilcoxon_p == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a, b, p, f: (a * np.nan, b, p, f), "NaN or infinite"),
        (lambda a, b, p, f: (a, b, p, np.arange(len(a)) % 2), "tested in two folds"),
        (lambda a, b, p, f: (a, b, p, np.where(p == 0, 9, 0)), "single tested patient"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        bootstrap_mean_difference(*change(*figures(10, 0)), 100, 0)


def test_one_training_of_each_setting_is_the_plain_bootstrap_and_several_widen_it():
    rng = np.random.default_rng(7)
    a, b, ids, folds = figures(40, 3, 0.03)
    luck = rng.normal(0, 0.04, (2, 6, 1))
    trained_a, trained_b = a + luck[0] - luck[0].mean(), b + luck[1] - luck[1].mean()
    settings = np.repeat([0, 1, 2], 2)
    one = bootstrap_mean_difference(a, b, ids, folds, 2000, 0)
    both = bootstrap_mean_difference(trained_a, trained_b, ids, folds, 2000, 0, settings)
    assert both.difference.value == pytest.approx(one.difference.value)
    assert both.wilcoxon_p == pytest.approx(one.wilcoxon_p)
    # Trainings add the variance of a mean of three settings of two seeds on each of two folds.
    within = [np.diff((luck[0] - luck[1])[settings == s, 0])[0] ** 2 / 2 for s in range(3)]
    added = np.sum(within) / 9 / 2 / 2
    assert both.difference.replicates.var() == pytest.approx(one.difference.replicates.var() + added, rel=0.1)
    assert (
        both.difference.interval(0.95)[1] - both.difference.interval(0.95)[0]
        > one.difference.interval(0.95)[1] - one.difference.interval(0.95)[0]
    )
    same = bootstrap_mean_difference(a[np.newaxis], b[np.newaxis], ids, folds, 2000, 0)
    np.testing.assert_array_equal(same.difference.replicates, one.difference.replicates)


@pytest.mark.parametrize("kind", ["settings", "networks"])
def test_relative_gain_covers_that_of_other_trainings_or_pretrainings(kind):
    """Hardly any variation between patients; those of side b are not those of side a."""
    rng, covered, names = np.random.default_rng(3), 0, np.repeat(list("wxyz"), 3)
    again = {"settings": names} if kind == "settings" else {"networks": (names, names)}
    patients, ids = rng.normal(0, 1e-3, 40), np.arange(40)
    for _ in range(100):
        a, b = (level + rng.normal(0, 0.06, (12, 1)) + patients for level in (0.6, 0.4))
        found = bootstrap_mean_difference(a, b, ids, 0 * ids, 400, 0, **again)
        _, low, high = found.a.share_of(found.b, 0.95)
        covered += low <= 1.5 <= high
    assert covered >= 88  # 95, less three standard errors


def test_other_pretrainings_add_what_their_means_vary_by():
    """Three pretrainings of two networks; the other side is a file, of which there is one."""
    a, b, ids, folds = figures(40, 3, 0.03)
    of_pretraining = np.array([-0.05, 0, 0.05, -0.02, 0, 0.02])[:, np.newaxis]
    names = np.array(["x", "y"])
    networks = np.repeat(names, 3), names
    found = bootstrap_mean_difference(a + of_pretraining, [b, b], ids, folds, 4000, 0, networks=networks)
    fixed = bootstrap_mean_difference(a, b, ids, folds, 4000, 0)
    assert found.difference.value == pytest.approx(fixed.difference.value)
    assert found.difference.resampled == "patients and pretrainings"
    # s^2 / P of each network over K^2, and t with K (P - 1) = 4 degrees has twice the variance of a normal.
    added = 2 * (0.05**2 + 0.02**2) / 3 / 4
    assert found.difference.replicates.var() == pytest.approx(
        fixed.difference.replicates.var() + added, rel=0.2
    )
    assert found.wilcoxon_p == pytest.approx(fixed.wilcoxon_p)
    files = bootstrap_mean_difference([a, a], [b, b], ids, folds, 4000, 0, networks=(names, names))
    np.testing.assert_allclose(files.difference.replicates, fixed.difference.replicates)
    assert files.difference.resampled == "patients"
