"""How many test patients a next study needs: DeLong's variance, and simulated studies of that size."""

import numpy as np
import pytest
from scipy.stats import norm

from radlib.questions.auc.next_study import NEXT, POWER, next_findings, next_study
from radlib.show.table import MEAN
from radlib.stats.bootstrap import mean_auc
from radlib.stats.delong import delong_difference
from radlib.stats.folds import FoldScores
from radlib.stats.sample_size import patients_needed, variance_of_difference
from radlib.training.results import load_results
from tests.fabricated import covers, fabricate, make_study


def drawn(rng, patients, levels, images=1):
    """Both sides of a study with as many patients of each class; most of the noise is shared."""
    labels, names = (np.repeat(x, images) for x in (np.arange(2 * patients) % 2, np.arange(2 * patients)))
    shared = np.repeat(rng.normal(0, 0.8, 2 * patients), images)
    sides = (level * labels + shared + rng.normal(0, 0.6, len(labels)) for level in levels)
    return [[FoldScores(labels, names, [scores])] for scores in sides]


@pytest.mark.parametrize("images", [1, 3])
def test_variance_is_that_of_delong(images):
    a, b = drawn(np.random.default_rng(0), 200, (1.2, 0.9), images)
    expected, near = delong_difference(a, b).se ** 2, 1e-6 if images == 1 else 0.02
    assert variance_of_difference(a, b, 10, 0).value == pytest.approx(expected, rel=near)


def test_two_folds_average_their_variances():
    rng = np.random.default_rng(1)
    (a, b), (c, d) = drawn(rng, 60, (1.2, 0.9)), drawn(rng, 60, (1.2, 0.9))
    other = [FoldScores(one[0].labels, one[0].patients + 1000, one[0].scores) for one in (c, d)]
    both = variance_of_difference([*a, other[0]], [*b, other[1]], 10, 0).value
    alone = [variance_of_difference([x], [y], 10, 0).value for x, y in ((a[0], b[0]), other)]
    assert both == pytest.approx(sum(alone) / 4)


def test_the_interval_covers_and_that_many_patients_have_the_power():
    """Planted: levels of 1.2 and 1.0; studies of the number found show that difference 80 % of times."""
    levels, rng = (1.2, 1.0), np.random.default_rng(2)
    truth = float(np.diff(norm.cdf(np.array(levels[::-1]) / np.sqrt(2)))[0])
    long = [mean_auc(a) - mean_auc(b) for a, b in (drawn(rng, 500, levels) for _ in range(400))]
    of_truth = np.var(long) * 1000 * ((norm.isf(0.025) + norm.ppf(POWER)) / truth) ** 2
    found = []
    for seed in range(60):
        a, b = drawn(rng, 60, levels)
        found.append(patients_needed(120, variance_of_difference(a, b, 400, seed), truth, POWER, 0.95))
    assert np.mean([one.value for one in found]) == pytest.approx(of_truth, rel=0.15)
    assert sum(covers(one, of_truth) for one in found) >= 53, "95 % of 60, less three standard errors"
    shown = [delong_difference(*drawn(rng, round(of_truth / 2), levels)).p_value < 0.05 for _ in range(300)]
    assert np.mean(shown) == pytest.approx(POWER, abs=3 * np.sqrt(0.16 / 300))


def test_table_has_every_pair_and_the_mean_takes_all_tasks_patients(tmp_path):
    study = make_study(tmp_path, ("thyroid_us", "breast_us"))
    fabricate(study, {"radiology": 1.8, "photographs": 1.5, "random": 0.7})
    table = next_study(study, load_results(study))
    assert list(table) == NEXT.names and len(table) == 2 * 3
    rows = table.query("source_a == 'radiology'").set_index("task")
    assert rows.loc[MEAN, "n_patients"] == 2 * 80
    pooled = rows.loc[["thyroid_us", "breast_us"], "se"].pow(2).sum() / 4
    assert rows.loc[MEAN, "se"] == pytest.approx(np.sqrt(pooled))
    factor = ((norm.isf(0.025) + norm.ppf(0.8)) / study.compare.equivalence) ** 2
    assert rows.loc[MEAN, "needed"] == pytest.approx(160 * factor * pooled)
    assert rows.loc[MEAN, "shows"] == pytest.approx((norm.isf(0.025) + norm.ppf(0.8)) * np.sqrt(pooled))
    assert (table["needed_low"] < table["needed"]).all() and (table["needed"] < table["needed_high"]).all()
    alone = next_study(study, load_results(study), ["breast_us"])
    assert list(alone["task"]) == 2 * ["thyroid_us", "breast_us"], "a mean takes two tasks that count"
    mean, *_ = next_findings(study, table)
    assert mean.subject.endswith("mean over tasks") and "times as many as here" in mean.verdict
