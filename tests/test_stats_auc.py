"""AUC and ROC curves against scikit-learn, and what must leave an AUC as it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from radlib.stats.auc import auc, aucs


@st.composite
def scored(draw):
    """Labels of both classes and scores with many ties."""
    n = draw(st.integers(2, 60))
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    labels[:2] = [0, 1]
    scores = draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n))
    return np.array(scores, dtype=float), labels


@given(scored())
def test_auc_equals_scikit_learn_with_ties(case):
    scores, labels = case
    assert auc(scores, labels) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)


@given(scored(), st.randoms(use_true_random=False))
def test_only_the_order_of_scores_counts(case, random):
    scores, labels = case
    order = random.sample(range(len(labels)), len(labels))
    assert auc(scores[order], labels[order]) == auc(scores, labels)
    assert auc(np.exp(scores / 3) - 7, labels) == auc(scores, labels)
    assert auc(-scores, labels) == pytest.approx(1 - auc(scores, labels), abs=1e-12)
    assert auc(scores, 1 - labels) == pytest.approx(1 - auc(scores, labels), abs=1e-12)


@settings(max_examples=20)
@given(st.integers(1, 50), st.integers(1, 50))
def test_a_predictor_that_always_says_the_same_has_one_half(positives, negatives):
    labels = np.repeat([1, 0], [positives, negatives])
    assert auc(np.full(len(labels), 0.93), labels) == 0.5


def test_many_runs_at_once_are_each_run_alone():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 40), rng.normal(size=(7, 40)).round(1)
    np.testing.assert_array_equal(aucs(scores, labels), [auc(run, labels) for run in scores])


@pytest.mark.parametrize(
    ("scores", "labels", "sentence"),
    [
        ([0.1, np.nan], [0, 1], "1 of 2 scores are NaN"),
        ([0.1, np.inf], [0, 1], "NaN or infinite"),
        ([0.1, 0.2], [1, 1], "all 2 images have label 1"),
        ([0.1, 0.2, 0.3], [0, 1, 2], "must be 0 or 1"),
        ([0.1, 0.2, 0.3], [0, 1], "do not fit"),
        ([], [], "do not fit"),
    ],
)
def test_what_has_no_auc_is_refused(scores, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        auc(np.array(scores), np.array(labels))
