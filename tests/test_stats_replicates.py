"""The interval over trainings against SciPy, and in simulated studies in which nothing is to be found."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from radlib.stats.auc import aucs
from radlib.stats.bootstrap import bootstrap_delta, bootstrap_mean_auc
from radlib.stats.estimate import students_interval
from radlib.stats.folds import FoldScores
from tests.fabricated import covers

STUDIES = 400  # a share of 5 % is then known to within 2.1 percentage points, 95 times in 100
SPREAD = 1 / np.sqrt(np.arange(1, 17))  # of 16 features: a few carry most of the variance, as pooled ones do


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


def draw_patients(rng: np.random.Generator, negative: int, positive: int):
    """Features (n, 16), labels and patients of two images each; the classes differ in every feature."""
    labels = np.repeat([0, 1], [negative, positive])
    shift = rng.normal(0, 0.5, len(SPREAD)) * SPREAD
    own = rng.normal(size=(len(labels), len(SPREAD))) * SPREAD + labels[:, np.newaxis] * shift
    images = np.repeat(own, 2, axis=0) + 0.5 * rng.normal(size=(2 * len(labels), len(SPREAD))) * SPREAD
    return images, np.repeat(labels, 2), np.repeat(np.arange(len(labels)), 2)


def learn(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The direction from one class' mean to the other's."""
    return features[labels == 1].mean(axis=0) - features[labels == 0].mean(axis=0)


def of_shuffled_labels(rng: np.random.Generator, trainings: int, sizes: tuple[int, int]) -> FoldScores:
    """Test scores of classifiers that learnt shuffled labels, each its own shuffle; two thirds train."""
    features, labels, patients = draw_patients(rng, *sizes)
    by_patient = labels[::2]
    train = np.isin(patients, np.flatnonzero(np.arange(len(by_patient)) % 3 > 0))
    learnt = []
    for _ in range(trainings):
        shuffled = by_patient.copy()
        some = np.unique(patients[train])
        shuffled[some] = rng.permutation(by_patient[some])
        learnt.append(learn(features[train], shuffled[patients[train]]))
    return FoldScores(labels[~train], patients[~train], np.array(learnt) @ features[~train].T)


def of_random_layers(rng: np.random.Generator, pairs: int) -> list[tuple[FoldScores, FoldScores]]:
    """Test scores of classifiers that learnt the true labels behind pairs of random layers."""
    features, labels, patients = draw_patients(rng, 120, 120)
    train = patients % 3 > 0

    def scored() -> FoldScores:
        pooled = np.maximum(features @ rng.normal(size=(len(SPREAD), 8)), 0)
        return FoldScores(
            labels[~train], patients[~train], (pooled[~train] @ learn(pooled[train], labels[train]))[None]
        )

    return [(scored(), scored()) for _ in range(pairs)]


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.9875])
def test_interval_is_scipys(confidence):
    values = np.random.default_rng(1).normal(0.52, 0.1, 9)
    expected = stats.ttest_1samp(values, 0.5).confidence_interval(confidence)
    assert students_interval(values, confidence) == pytest.approx(tuple(expected))
    assert students_interval([0.5, 0.5, 0.5], confidence) == (0.5, 0.5)


@pytest.mark.parametrize("sizes", [(45, 45), (60, 24)])
def test_shuffled_labels_exclude_one_half_in_a_twentieth_of_studies(sizes):
    """Resampling patients alone excludes it in far more: the trained directions are luck, too."""
    ours = patients_alone = 0
    for study in range(STUDIES):
        fold = of_shuffled_labels(np.random.default_rng([3, study, *sizes]), 10, sizes)
        low, high = students_interval(aucs(fold.scores, fold.labels), 0.95)
        ours += not low <= 0.5 <= high
        resampled = bootstrap_mean_auc({"a": [fold]}, 200, study)["a"]
        low, high = replace(resampled, patients=None).interval(0.95)
        patients_alone += not low <= 0.5 <= high
    assert 0.02 < ours / STUDIES < 0.085
    assert patients_alone / STUDIES > 0.15


def test_random_layers_differ_in_a_twentieth_of_studies():
    """The interval over patients of a single pair excludes 0 in more: it takes both layers as given."""
    ours = one_pair = 0
    for study in range(STUDIES):
        pairs = of_random_layers(np.random.default_rng([4, study]), 6)
        single = [[aucs(side.scores, side.labels)[0] for side in pair] for pair in pairs]
        low, high = students_interval(np.subtract(*np.transpose(single)), 0.95)
        ours += not low <= 0 <= high
        a, b = pairs[0]
        first = bootstrap_delta([a], [b], 200, study)
        one_pair += not covers(first, 0)
    assert 0.02 < ours / STUDIES < 0.085
    assert one_pair / STUDIES > 0.12


@pytest.mark.parametrize("values", [[], [0.5], [0.5, np.nan], [[0.5, 0.4]]])
def test_no_interval_of_too_little(values):
    with pytest.raises(ValueError, match="give no interval over trainings; two finite ones are the least"):
        students_interval(np.array(values), 0.95)
