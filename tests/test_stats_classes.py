"""Several classes: the macro AUC is scikit-learn's, its bootstrap a simple loop, its interval covers."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from radlib.stats.auc import auc, aucs
from radlib.stats.bootstrap import bootstrap_delta, bootstrap_mean_auc, bootstrap_run_aucs, mean_auc, roc_band
from radlib.stats.delong import delong_difference
from radlib.stats.folds import FoldScores, both_columns, fold_patients, patient_weights
from radlib.stats.sample_size import variance_of_difference


def drawn(seed: int, patients: int = 30, classes: int = 4, runs: int = 2, signal: float = 1.5) -> FoldScores:
    """One to three images a patient, in no order; some beside the first are of the class below."""
    rng = np.random.default_rng(seed)
    patient = rng.permutation(np.repeat(np.arange(patients), rng.integers(1, 4, patients)))
    first = np.r_[True, [p not in patient[:i] for i, p in enumerate(patient) if i]]
    labels = np.where(first, patient % classes, np.maximum(patient % classes - rng.integers(0, 2), 0))
    logits = rng.normal(0, 1, (runs, len(patient), classes))
    logits += signal * np.eye(classes)[labels]
    return FoldScores(labels, patient, softmax(logits, axis=2).round(2))  # rounded: there are ties


def by_scikit_learn(labels: np.ndarray, scores: np.ndarray) -> float:
    """Of softmax probabilities; their rounding is put right, as scikit-learn wants sums of 1."""
    return np.mean([roc_auc_score(labels == k, scores[:, k]) for k in range(scores.shape[1])])


def test_it_is_scikit_learns_macro_one_against_rest():
    rng = np.random.default_rng(0)
    labels = rng.choice(5, 80, p=[0.4, 0.3, 0.1, 0.1, 0.1])
    scores = softmax(rng.normal(0, 2, (80, 5)) + np.eye(5)[labels] * [3, 0, 1, 2, 0], axis=1)
    expected = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert auc(scores, labels) == pytest.approx(expected, abs=1e-12)
    one_vs_one = roc_auc_score(labels, scores, multi_class="ovo", average="macro")
    assert abs(auc(scores, labels) - one_vs_one) > 1e-6  # Hand and Till's is another number


def test_two_classes_in_two_columns_are_the_auc_of_the_positive_one():
    rng = np.random.default_rng(1)
    labels, p = np.arange(40) % 2, rng.random(40)
    assert auc(np.stack([1 - p, p], axis=1), labels) == pytest.approx(auc(p, labels), abs=1e-12)


@pytest.mark.parametrize("folds", [1, 2])
def test_the_bootstrap_is_a_simple_loop_over_patients_of_each_class(folds):
    sides = {
        name: [
            FoldScores(f.labels, f.patients + 1000 * k, f.scores)
            for k, f in enumerate(drawn(10 * k, signal=signal) for k in range(folds))
        ]
        for name, signal in (("a", 1.5), ("b", 0.7))
    }
    resamples, seed = 8, 3
    found = bootstrap_mean_auc(sides, resamples, seed)
    for name, side in sides.items():
        loop = np.zeros(resamples)
        for number, fold in enumerate(side):
            ids = np.unique(fold.patients)
            stratum = np.array([fold.labels[fold.patients == p].max() for p in ids])
            taken = []
            for k in range(4):
                own, rng = ids[stratum == k], np.random.default_rng([seed, number, k])
                taken.append(own[rng.integers(len(own), size=(resamples, len(own)), dtype=np.int32)])
            for i, people in enumerate(np.concatenate(taken, axis=1)):
                rows = np.concatenate([np.flatnonzero(fold.patients == p) for p in people])
                runs = [by_scikit_learn(fold.labels[rows], run[rows]) for run in fold.scores]
                loop[i] += np.mean(runs) / folds
        assert np.allclose(found[name].replicates, loop, atol=1e-6)
        assert found[name].value == pytest.approx(mean_auc(side))
    delta = bootstrap_delta(sides["a"], sides["b"], resamples, seed)
    assert np.allclose(delta.replicates, found["a"].replicates - found["b"].replicates)
    assert delta.patients == 7 * folds  # of the smallest class: 30 patients in turn over four


def test_images_without_a_lesion_of_every_patient_are_a_class_like_others():
    """All but one patient have them, too few to be resampled if it were class 0 against the rest alone."""
    labels = np.array([label for p in range(12) for label in ([1] if p == 1 else [0, p % 3])])
    patients = np.repeat(np.arange(12), [1 if p == 1 else 2 for p in range(12)])
    scores = softmax(np.random.default_rng(2).normal(size=(1, len(labels), 3)), axis=2)
    fold = FoldScores(labels, patients, scores)
    found = bootstrap_mean_auc({"a": [fold]}, 3, seed=4)["a"]
    (weights,) = patient_weights(people := fold_patients(fold), 3, 4, 0, 3)
    for counts, value in zip(weights[:, people.of_image], found.replicates, strict=True):
        rows = np.repeat(np.arange(len(labels)), counts.astype(int))
        assert value == pytest.approx(by_scikit_learn(labels[rows], scores[0, rows]), abs=1e-6)


def test_single_runs_and_resampled_trainings_work_as_for_two_classes():
    fold = drawn(5)
    found = bootstrap_run_aucs([fold], 50, seed=1)
    assert np.allclose(found.value, aucs(fold.scores, fold.labels))
    mean = bootstrap_mean_auc({"a": [fold]}, 50, seed=1)["a"]
    assert np.allclose(found.replicates.mean(axis=1), mean.replicates)
    settings = [np.array([0, 0])]
    assert (
        bootstrap_delta([fold], [drawn(5, signal=0.5)], 50, 1, settings).resampled == "patients and trainings"
    )


def test_the_interval_covers_the_true_difference():
    """120 simulated studies of 3 x 15 patients: one run a side, whose true macro AUC is known."""
    rng, covered, shifts = np.random.default_rng(0), 0, (1.4, 1.0)
    labels = np.repeat(np.arange(3), 15)
    truth = np.subtract(*norm.cdf(np.array(shifts) / np.sqrt(2)))  # of every class, so of their mean
    for study in range(120):
        common = rng.normal(0, np.sqrt(0.5), (45, 3))
        sides = []
        for shift in shifts:
            scores = common + rng.normal(0, np.sqrt(0.5), (45, 3)) + shift * np.eye(3)[labels]
            sides.append([FoldScores(labels, np.arange(45), scores[np.newaxis])])
        low, high = bootstrap_delta(*sides, 400, seed=study).interval(0.9)
        covered += low <= truth <= high
    assert 0.84 <= covered / 120 <= 0.97


def test_what_is_of_two_classes_says_so():
    fold = drawn(0)
    for ask in (
        lambda: delong_difference([fold], [fold]),
        lambda: roc_band([fold], np.linspace(0, 1, 3), 50, 0),
        lambda: variance_of_difference([fold], [fold], 50, 0),
        lambda: both_columns(fold),
    ):
        with pytest.raises(ValueError, match="is of two classes, and there are 4; leave the task out"):
            ask()


def test_a_class_without_images_or_with_one_patient_is_refused():
    with pytest.raises(ValueError, match="of 3 classes, numbered from 0, label 2 has no image"):
        FoldScores([0, 1, 0, 1], list("abcd"), np.zeros((1, 4, 3)))
    fold = FoldScores([0, 1, 2, 0, 1], list("abcde"), np.zeros((1, 5, 3)))
    with pytest.raises(ValueError, match="has 1 patients with images of class 2"):
        fold_patients(fold)
