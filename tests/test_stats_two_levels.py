"""Bootstrap of patients and seeds: against a plain loop, a closed form, and trainings with real luck."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from radlib.stats.bootstrap import bootstrap_delta, bootstrap_run_aucs, mean_auc, run_weights
from radlib.stats.estimate import BOTH, PATIENTS
from radlib.stats.folds import FoldScores, fold_patients, patient_weights
from radlib.stats.simulation import Design, draw_latent, level_of, scores, true_difference
from tests.fabricated import covers


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


def drawn(design: Design, seed: int, delta: float = 0.08):
    """Both sides' scores, their settings, and the true differences of these and of any trainings."""
    latent = draw_latent(design, np.random.default_rng([9, seed]))
    levels = level_of(0.75 + delta, design.training_sd), level_of(0.75, design.training_sd)
    settings = [np.repeat(np.arange(design.settings), design.seeds)] * design.folds
    return *scores(latent, levels), settings, true_difference(levels, latent.shifts), delta


def test_equals_a_loop_over_scikit_learn():
    """The resampled patients one by one; variances group by group; what is drawn, from the replicates."""
    a, b, settings, _, _ = drawn(Design((20, 16), folds=2, settings=2, seeds=3, training_sd=0.3), 0)
    found = bootstrap_delta(a, b, 1000, 4, settings)
    deltas = np.zeros((31, 12))  # the data, and 30 resamples
    for number in range(2):
        patients = fold_patients(a[number])
        counts, *_ = patient_weights(patients, 1000, 4, number, 1000)
        for i, drawn_often in enumerate([np.ones_like(counts[0]), *counts[:30]]):
            often = drawn_often[patients.of_image].astype(int)
            images = np.repeat(np.arange(len(a[number].labels)), often)
            labels = a[number].labels[images]
            for run in range(6):
                pair = [roc_auc_score(labels, side[number].scores[run, images]) for side in (a, b)]
                deltas[i, 6 * number + run] = pair[0] - pair[1]
    assert found.value == pytest.approx(deltas[0].mean()) == pytest.approx(mean_auc(a) - mean_auc(b))
    alone = bootstrap_delta(a, b, 1000, 4)
    np.testing.assert_allclose(alone.replicates[:30], deltas[1:].mean(axis=1), rtol=0, atol=1e-12)
    assert found.resampled == BOTH and alone.resampled == PATIENTS
    # Median and quartiles: the SD of the sum of what is seen between seeds and what patients make of all.
    each = bootstrap_run_aucs(a, 1000, 4).replicates - bootstrap_run_aucs(b, 1000, 4).replicates
    np.testing.assert_allclose(each[:30], deltas[1:], rtol=0, atol=1e-12)
    seen = deltas[0].reshape(4, 3).var(axis=1, ddof=1).mean() / 12
    of_patients = each.reshape(-1, 4, 3).var(axis=2, ddof=1).mean() / 12 - seen
    sd = np.sqrt(alone.replicates.var() - of_patients + seen)
    quartiles = np.diff(np.quantile(found.replicates, [0.25, 0.75]))
    assert quartiles / sd == pytest.approx(2 * stats.t.ppf(0.75, 12), rel=0.08)


@pytest.mark.parametrize("seeds", [2, 3])
def test_drawn_runs_have_the_variance_of_a_mean(seeds):
    """All equally likely draws, enumerated: the variance of the mean is s^2 / m, divisor m - 1 in s^2."""
    values = np.array([0.3, -1.0, 0.9])[:seeds]
    outcomes = [values[list(i)].mean() for i in itertools.product(range(seeds), repeat=seeds - 1)]
    assert np.var(outcomes) == pytest.approx(values.var(ddof=1) / seeds)
    settings = np.array(["y", "x", "y", "x", "y", "x"])[: 2 * seeds]
    weights = run_weights([settings], 20_000, 1)
    assert weights[:, settings == "x"].sum(axis=1) == pytest.approx(seeds)
    means = (weights[:, settings == "x"] * values).mean(axis=1)
    assert means.var() == pytest.approx(np.var(outcomes), rel=0.03)
    assert set(means.round(9)) == set(np.round(outcomes, 9))


def test_luck_of_training_is_held_by_both_levels_and_not_by_one():
    """150 studies of 2 x 40 patients, two settings of three seeds."""
    one_any = one_these = both_any = 0
    for seed in range(150):
        a, b, settings, these, any_training = drawn(
            Design((40, 40), settings=2, seeds=3, training_sd=0.4), seed
        )
        one = bootstrap_delta(a, b, 400, seed)
        both = bootstrap_delta(a, b, 400, seed, settings)
        one_these += covers(one, these)
        one_any += covers(one, any_training)
        both_any += covers(both, any_training)
    assert one_these / 150 > 0.9
    assert one_any / 150 < 0.8
    assert 0.91 <= both_any / 150 <= 0.99


def test_without_luck_the_interval_is_a_little_wider_than_that_of_one_level():
    widths = []
    for seed in range(10):
        a, b, settings, _, _ = drawn(Design((40, 40), settings=4, seeds=3), seed)
        found = bootstrap_delta(a, b, 800, seed), bootstrap_delta(a, b, 800, seed, settings)
        widths.append([f.interval(0.95)[1] - f.interval(0.95)[0] for f in found])
    one, both = np.mean(widths, axis=0)
    assert one < both < 1.25 * one


def test_what_cannot_be_resampled_is_one_sentence():
    a, b, settings, _, _ = drawn(Design((20, 20), settings=2, seeds=2), 0)
    with pytest.raises(ValueError, match="setting 1 in fold 0 has a single run, .*two seeds or more"):
        bootstrap_delta(a, b, 400, 0, [np.array([0, 0, 0, 1])])
    fewer = [FoldScores(b[0].labels, b[0].patients, b[0].scores[:3])]
    with pytest.raises(ValueError, match="fold 0 has 4 and 3 runs and settings of 4"):
        bootstrap_delta(a, fewer, 400, 0, settings)
