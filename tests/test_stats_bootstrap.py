"""The fast bootstrap against a loop over scikit-learn, and its intervals against known truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from radlib.stats import bootstrap, pairs
from radlib.stats.bootstrap import (
    bootstrap_delta,
    bootstrap_mean_auc,
    mean_auc,
    roc_band,
)
from radlib.stats.delong import delong_difference
from radlib.stats.folds import FoldScores, as_images, fold_patients, patient_weights
from tests.fabricated import covers


@pytest.fixture(autouse=True)
def one_thread():
    """Hundreds of small studies: threads of a matrix product would wait for one another, not work."""
    with threadpool_limits(1):
        yield


def fold_of(seed: int, runs: int, prefix: str = "p", patients: int = 14, mixed: bool = True) -> FoldScores:
    """Clusters of 1-4 images, tied scores, images in random order, some patients with both classes."""
    rng = np.random.default_rng(seed)
    ids = np.repeat([f"{prefix}{i}" for i in range(patients)], rng.integers(1, 5, patients))
    labels = np.array([int(name[len(prefix) :]) % 2 for name in ids])
    if mixed:
        labels[np.flatnonzero(ids == f"{prefix}1")[-1]] = 1
        ids, labels = np.r_[ids, [f"{prefix}1"] * 2], np.r_[labels, [0, 1]]
    order = rng.permutation(len(ids))
    ids, labels = ids[order], labels[order]
    return FoldScores(labels, ids, (rng.normal(size=(runs, len(ids))) + 0.7 * labels).round(1))


def other_side(folds: list[FoldScores], seed: int, runs: int) -> list[FoldScores]:
    rng = np.random.default_rng(seed)
    return [FoldScores(f.labels, f.patients, rng.normal(size=(runs, len(f.labels))).round(1)) for f in folds]


def draws_of(folds: list[FoldScores], resamples: int, seed: int) -> np.ndarray:
    return bootstrap_mean_auc({"a": folds}, resamples, seed)["a"].replicates


def counted_by(patch: pytest.MonkeyPatch, kind: type | None) -> None:
    """Pairs are counted by one of the two ways, None: by the faster one."""
    if kind is not None:
        patch.setattr(bootstrap, "count_pairs", kind)


def naive_mean_auc(folds: list[FoldScores], resamples: int, seed: int) -> np.ndarray:
    """Copies the images of drawn patients and asks scikit-learn, run by run."""
    aucs, runs = np.zeros(resamples), sum(fold.runs for fold in folds)
    for number, fold in enumerate(folds):
        patients = fold_patients(fold)
        weights, *_ = patient_weights(patients, resamples, seed, number, resamples)
        for i in range(resamples):
            images = np.repeat(np.arange(len(fold.labels)), weights[i, patients.of_image].astype(int))
            for scores in fold.scores:
                aucs[i] += roc_auc_score(fold.labels[images], scores[images]) / runs
    return aucs


@pytest.mark.parametrize("kind", [None, pairs.KernelPairs, pairs.SortedPairs])
def test_equals_a_loop_over_scikit_learn(monkeypatch, kind):
    counted_by(monkeypatch, kind)
    a = [fold_of(1, 3, "p"), fold_of(2, 3, "q", mixed=False), fold_of(3, 3, "r", patients=9)]
    b = other_side(a, 4, runs=2)
    found = bootstrap_mean_auc({"a": a, "b": b}, 60, seed=5)
    np.testing.assert_allclose(found["a"].replicates, naive_mean_auc(a, 60, 5), rtol=0, atol=1e-13)
    np.testing.assert_allclose(found["b"].replicates, naive_mean_auc(b, 60, 5), rtol=0, atol=1e-13)


def test_folds_weigh_by_their_runs():
    folds = [fold_of(1, 1, "p"), fold_of(2, 4, "q")]
    per_run = [roc_auc_score(f.labels, s) for f in folds for s in f.scores]
    assert mean_auc(folds) == pytest.approx(np.mean(per_run), abs=1e-14)
    draws = draws_of(folds, 40, seed=0)
    np.testing.assert_allclose(draws, naive_mean_auc(folds, 40, 0), rtol=0, atol=1e-13)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(4, 40))
def test_matrix_and_sorting_agree_to_the_last_bit(seed, runs, patients):
    a = [fold_of(seed, runs, patients=patients)]
    sides = {"a": a, "b": other_side(a, seed + 1, 2 * runs)}
    found = []
    for kind in (pairs.KernelPairs, pairs.SortedPairs):
        with pytest.MonkeyPatch.context() as patch:
            counted_by(patch, kind)
            found.append(bootstrap_mean_auc(sides, 30, seed))
    for side in sides:
        np.testing.assert_array_equal(found[0][side].replicates, found[1][side].replicates)


def test_more_runs_than_small_integers_hold(monkeypatch):
    """Pairs are counted in 8 bits for some runs at a time and in float32 only while that is exact."""
    counted_by(monkeypatch, pairs.KernelPairs)
    fold = fold_of(8, runs=200, patients=20)
    np.testing.assert_allclose(draws_of([fold], 4, 0), naive_mean_auc([fold], 4, 0), rtol=0, atol=1e-12)


def test_large_counts_leave_float32(monkeypatch):
    counted_by(monkeypatch, pairs.KernelPairs)
    fold = fold_of(8, runs=3)
    expected = draws_of([fold], 50, 0)
    monkeypatch.setattr(pairs, "FLOAT32_INTEGERS", 1)
    assert pairs.KernelPairs([fold], fold_patients(fold)).kernel.dtype == np.float64
    np.testing.assert_array_equal(draws_of([fold], 50, 0), expected)


@pytest.mark.parametrize("kind", [pairs.KernelPairs, pairs.SortedPairs])
def test_memory_limits_do_not_change_the_draws(monkeypatch, kind):
    a = [fold_of(1, 3, "p"), fold_of(2, 3, "q")]
    grid = np.linspace(0, 1, 11)
    expected, band = draws_of(a, 70, 1), roc_band(a, grid, 700, 1)
    counted_by(monkeypatch, kind)
    monkeypatch.setattr(bootstrap, "WORK_BYTES", 20_000)
    monkeypatch.setattr(pairs, "BLOCK_BYTES", 100)
    np.testing.assert_array_equal(draws_of(a, 70, 1), expected)
    np.testing.assert_allclose(roc_band(a, grid, 700, 1).replicates, band.replicates, atol=1e-8)


def test_draws_are_paired_and_depend_on_seed_and_patients_only():
    a = [fold_of(1, 2)]
    alone = draws_of(a, 50, 3)
    together = bootstrap_mean_auc({"b": other_side(a, 9, 4), "a": a, "same": a}, 50, 3)
    np.testing.assert_array_equal(together["a"].replicates, alone)
    np.testing.assert_array_equal(together["same"].replicates, alone)
    assert not np.array_equal(draws_of(a, 50, 4), alone)


def test_patients_are_drawn_with_replacement_within_their_class():
    patients = fold_patients(fold_of(1, 1, patients=30))
    weights, *_ = patient_weights(patients, 20_000, 0, 0, 20_000)
    positive, negative = patients.strata
    assert patients.n_with_positives > patients.first_with_negatives  # one patient has both classes
    np.testing.assert_array_equal(weights[:, :positive].sum(axis=1), positive)
    np.testing.assert_array_equal(weights[:, positive:].sum(axis=1), negative)
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.04)
    np.testing.assert_allclose(weights[:, :positive].var(axis=0), 1 - 1 / positive, atol=0.06)
    assert patients.positives[:positive].min() > 0 == patients.positives[positive:].max()


def test_images_of_a_patient_in_any_order_and_under_any_name():
    fold = fold_of(1, 2)
    order = np.random.default_rng(0).permutation(len(fold.labels))
    shuffled = FoldScores(fold.labels[order], fold.patients[order], fold.scores[:, order])
    monotone = FoldScores(fold.labels, fold.patients, np.arctan(fold.scores))
    expected = draws_of([fold], 50, 3)
    np.testing.assert_array_equal(draws_of([shuffled], 50, 3), expected)
    np.testing.assert_array_equal(draws_of([monotone], 50, 3), expected)


def test_a_side_compared_with_itself():
    a = [fold_of(1, 2, patients=30)]
    found = bootstrap_delta(a, a, 1000, 0)
    assert (found.value, found.interval(0.95)[0], found.interval(0.95)[1], found.p_value()) == (0, 0, 0, 1)


def test_sides_exchanged_change_the_sign():
    a = [fold_of(1, 2, "p", 30), fold_of(2, 2, "q", 30)]
    b = other_side(a, 7, 3)
    there, back = bootstrap_delta(a, b, 999, 0), bootstrap_delta(b, a, 999, 0)
    assert there.value == -back.value
    assert there.value == pytest.approx(mean_auc(a) - mean_auc(b), abs=1e-14)
    assert (there.interval(0.95)[0], there.interval(0.95)[1]) == (
        -back.interval(0.95)[1],
        -back.interval(0.95)[0],
    )
    assert there.p_value() == back.p_value()
    assert there.interval(0.95)[0] < there.value < there.interval(0.95)[1]


# Against theory and known truth --------------------------------------------------------------------------


def study(rng: np.random.Generator, per_class: int, images: int, between: float) -> tuple[list, list, float]:
    """Two sides on clustered binormal images; the difference of AUCs that holds in truth.

    A patient's images share a part of variance `between`, most of it on both sides alike; each side adds
    image noise so that a score has variance 1 within a class: AUC = Phi(separation / sqrt(2)).
    """
    counts = rng.integers(1, 2 * images, 2 * per_class)
    patients = np.repeat(np.arange(2 * per_class), counts)
    labels = patients % 2
    shared = rng.normal(size=2 * per_class)
    folds = []
    for separation in (1.5, 1.1):
        own = rng.normal(size=2 * per_class)
        patient = math.sqrt(between) * (0.8 * shared + 0.6 * own)
        noise = math.sqrt(1 - between) * rng.normal(size=len(labels))
        folds.append([FoldScores(labels, patients, (separation * labels + patient[patients] + noise)[None])])
    return folds[0], folds[1], norm.cdf(1.5 / math.sqrt(2)) - norm.cdf(1.1 / math.sqrt(2))


def test_coverage_by_patients_and_not_by_images():
    """600 clustered studies of 2 x 50 patients: 95 % by patient, far fewer by image."""
    rng = np.random.default_rng(20)
    by_patient = by_image = 0
    for number in range(600):
        a, b, truth = study(rng, per_class=50, images=4, between=0.6)
        found = bootstrap_delta(a, b, 600, number)
        by_patient += covers(found, truth)
        each = [[FoldScores(s[0].labels, np.arange(len(s[0].labels)), s[0].scores)] for s in (a, b)]
        if number < 200:
            image = bootstrap_delta(*each, 600, number)
            by_image += covers(image, truth)
    assert 0.93 <= by_patient / 600 <= 0.97
    assert by_image / 200 < 0.88


def test_standard_error_is_delongs_for_independent_images():
    a, b, _ = study(np.random.default_rng(2), per_class=300, images=1, between=0.5)
    se = bootstrap_delta(a, b, 4000, 0).replicates.std()
    assert se == pytest.approx(delong_difference(as_images(a), as_images(b)).se, rel=0.05)


def test_standard_error_is_obuchowskis_for_clusters_runs_and_folds():
    rng = np.random.default_rng(6)
    a, b = [], []
    for number in range(2):
        one, other, _ = study(rng, per_class=150, images=4, between=0.6)
        for side, fold in ((a, one[0]), (b, other[0])):
            runs = fold.scores + 0.3 * rng.normal(size=(3, len(fold.labels)))
            side.append(FoldScores(fold.labels, fold.patients + 1000 * number, runs))
    se = bootstrap_delta(a, b, 4000, 0).replicates.std()
    assert se == pytest.approx(delong_difference(a, b).se, rel=0.05)
    assert se > 1.2 * delong_difference(as_images(a), as_images(b)).se


# ROC band ------------------------------------------------------------------------------------------------


def test_mean_curve_holds_the_mean_area_and_lies_in_its_band():
    folds = [fold_of(1, 3, "p", 40), fold_of(2, 3, "q", 40)]
    grid = np.linspace(0, 1, 4001)
    band = roc_band(folds, grid, 200, 0)
    low, high = band.interval(0.9)
    assert np.trapezoid(band.value, grid) == pytest.approx(mean_auc(folds), abs=2e-3)
    assert (low <= band.value).all()
    assert (band.value <= high).all()
    assert (np.diff(band.value) >= -1e-12).all()
    assert band.value[-1] == low[-1] == 1


def test_band_of_binormal_scores_covers_the_true_curve_pointwise():
    grid, rng = np.array([0.1, 0.3, 0.6]), np.random.default_rng(1)
    truth = norm.cdf(1.5 + norm.ppf(grid))
    inside = np.zeros(3)
    for number in range(150):
        a, _, _ = study(rng, per_class=60, images=2, between=0.5)
        low, high = roc_band(a, grid, 400, number).interval(0.95)
        inside += (low <= truth) & (truth <= high)
    assert (inside / 150 >= 0.89).all()
    assert (inside / 150).mean() <= 0.99


def test_band_uses_the_draws_of_the_auc():
    folds = [fold_of(1, 2, patients=30)]
    fine = np.linspace(0, 1, 2001)
    area = bootstrap_mean_auc({"a": folds}, 1000, 4)["a"]
    band = roc_band(folds, fine, 1000, 4)
    areas = [np.trapezoid(curve, fine) for curve in band.replicates]
    np.testing.assert_allclose(areas, area.replicates, atol=5e-3)
    low, high = band.interval(0.95)
    assert np.trapezoid(low, fine) < area.interval(0.95)[0]
    assert np.trapezoid(high, fine) > area.interval(0.95)[1]


# What is refused -----------------------------------------------------------------------------------------


def test_one_class_nan_and_missing_patients_are_refused():
    with pytest.raises(ValueError, match="all 2 images have label 0"):
        FoldScores(np.zeros(2), np.array(["a", "b"]), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="NaN"):
        FoldScores(np.array([0, 1]), np.array(["a", "b"]), np.array([[0.1, np.nan]]))
    with pytest.raises(ValueError, match="1 images have no patient id"):
        FoldScores(np.array([0, 1]), np.array(["a", None]), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="do not fit"):
        FoldScores(np.array([0, 1]), np.array(["a", "b"]), np.zeros(2))


def test_folds_that_cannot_be_resampled_are_refused():
    lonely = FoldScores(np.array([0, 0, 1]), np.array(["a", "b", "c"]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="single patient with positive"):
        bootstrap_mean_auc({"a": [lonely]}, 10, 0)
    no_negative = FoldScores(np.array([1, 0, 1]), np.array(["a", "a", "b"]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="could lack negatives"):
        bootstrap_mean_auc({"a": [no_negative]}, 10, 0)
    both = FoldScores(np.array([1, 0, 1, 0]), np.array(["a", "a", "b", "b"]), np.array([[0.9, 0, 0.4, 0.6]]))
    draws = draws_of([both], 500, 0)
    assert set(draws) == {0.0, 0.75, 1.0}  # b twice, both once, a twice


def test_unpaired_sides_are_refused():
    a = [fold_of(1, 2, "p"), fold_of(2, 2, "q")]
    with pytest.raises(ValueError, match="2 folds and 'b' has 1"):
        bootstrap_mean_auc({"a": a, "b": a[:1]}, 10, 0)
    with pytest.raises(ValueError, match="not scored on the same images in fold 1"):
        bootstrap_mean_auc({"a": a, "b": [a[0], fold_of(3, 2, "q")]}, 10, 0)
    with pytest.raises(ValueError, match="spread over the folds differently"):
        bootstrap_mean_auc(
            {"a": a, "b": [a[0], FoldScores(a[1].labels, a[1].patients, a[1].scores[:1])]}, 10, 0
        )
    with pytest.raises(ValueError, match="patient p0 is tested in two folds"):
        mean_auc([a[0], a[0]])
    with pytest.raises(ValueError, match="no folds"):
        mean_auc([])
