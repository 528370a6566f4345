"""Holm's correction by hand, and the mixed model against planted effects."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from radlib.stats.models import holm, mixed_model

BACKBONES = {"densenet121": 0.01, "inception_v3": -0.01, "resnet50": 0.0}
TRAINS = {"frozen": -0.02, "top10": -0.01, "all": 0.03}


def runs_of(
    tasks=4, folds=4, seed=0, noise=0.02, extra_when_all=0.0, task_sd=0.05, fold_sd=0.02
) -> pd.DataFrame:
    """Every source, backbone and train on every fold; radiology +0.03, random -0.10."""
    rng, rows = np.random.default_rng(seed), []
    for task in range(tasks):
        task_level = 0.75 + task_sd * rng.normal()
        for fold in range(folds):
            level = task_level + fold_sd * rng.normal()
            for source, gain in {"photographs": 0.0, "radiology": 0.03, "random": -0.10}.items():
                for backbone, better in BACKBONES.items():
                    for train, more in TRAINS.items():
                        extra = extra_when_all * (source == "radiology") * (train == "all")
                        auc = level + gain + better + more + extra + noise * rng.normal()
                        rows.append((f"task{task}", source, backbone, train, fold, auc))
    return pd.DataFrame(rows, columns=["task", "source", "backbone", "train", "fold", "test_auc"])


def term(result, name: str) -> pd.Series:
    return result.table.set_index("term").loc[name]


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1.0, 1.0])
    assert holm([]).shape == (0,)


def test_holm_equals_statsmodels():
    p = np.random.default_rng(0).random(40) ** 3
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-14)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_as_the_step_down_procedure(p):
    adjusted = holm(np.array(p))
    rejected, order = set(), np.argsort(p, kind="stable")
    for step, i in enumerate(order):
        if p[i] * (len(p) - step) > 0.05:
            break
        rejected.add(i)
    assert {i for i in range(len(p)) if adjusted[i] <= 0.05} == rejected
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-15).all()


@pytest.mark.parametrize("p", [[0.1, np.nan], [-0.1], [1.1]])
def test_holm_refuses_what_is_no_p_value(p):
    with pytest.raises(ValueError, match="within 0 and 1"):
        holm(p)


def test_planted_effects_are_found():
    result = mixed_model(runs_of(tasks=6), reference="photographs")
    for name, planted in [("radiology", 0.03), ("random", -0.10)]:
        row = term(result, f"source[{name}] - source[photographs]")
        assert row.ci_low < planted < row.ci_high
        assert row.ci_high - row.ci_low < 0.02
        assert row.p_value < 1e-4
    assert term(result, "train[all] - mean").estimate == pytest.approx(0.03, abs=0.005)
    assert term(result, "backbone[densenet121] - mean").estimate == pytest.approx(0.01, abs=0.005)
    assert result.converged
    assert result.n_runs == len(result.fitted) == len(result.residuals) == 6 * 4 * 27
    assert result.residuals.std() == pytest.approx(0.02, abs=0.002)
    assert result.random_sd["residual"] == pytest.approx(0.02, abs=0.002)
    assert result.random_sd["fold"] == pytest.approx(0.02, abs=0.012)
    assert result.random_sd["task"] == pytest.approx(0.05, abs=0.035)
    assert "(1 | task)" in result.formula
    assert "(1 | task:fold)" in result.formula


def test_balanced_difference_is_the_difference_of_means():
    """With every combination present, the estimate is the plain mean difference, whatever is trained."""
    runs = runs_of(extra_when_all=0.06)
    means = runs.groupby("source")["test_auc"].mean()
    row = term(mixed_model(runs, "photographs"), "source[radiology] - source[photographs]")
    assert row.estimate == pytest.approx(means["radiology"] - means["photographs"], abs=1e-9)


def test_interaction_is_found():
    result = mixed_model(runs_of(tasks=6, extra_when_all=0.06), "photographs")
    row = term(result, "source[radiology] - source[photographs] : train[all] - mean")
    assert row.ci_low < 0.04 < row.ci_high  # 0.06 in one of three levels: 0.04 above their mean
    assert row.p_value < 1e-3


def test_interval_covers_the_planted_effect():
    inside = 0
    for seed in range(40):
        runs = runs_of(tasks=3, folds=2, seed=seed)
        row = term(mixed_model(runs, "photographs"), "source[radiology] - source[photographs]")
        inside += row.ci_low <= 0.03 <= row.ci_high
    assert inside >= 35


def test_runs_of_a_source_on_the_same_images_are_not_new_evidence_of_it():
    """Sources alike, with what each has by chance on a fold's images: few studies may find them unlike."""
    found = 0
    for seed in range(40):
        runs, rng = runs_of(tasks=3, seed=seed), np.random.default_rng(seed)
        runs = runs[(runs.backbone != "resnet50") & (runs.train != "top10")].reset_index(drop=True)
        cells = runs.groupby(["task", "fold", "source"]).ngroup()
        planted = runs["source"].map({"photographs": 0.0, "radiology": 0.03, "random": -0.10})
        runs["test_auc"] += 0.02 * rng.normal(size=cells.max() + 1)[cells] - planted
        row = term(mixed_model(runs, "photographs"), "source[radiology] - source[photographs]")
        found += row.p_value < 0.05
    assert found <= 6  # a binomial of 0.05 has more in one of 250


def test_one_run_of_a_source_on_a_fold_has_no_intercept_of_its_own():
    runs = runs_of()
    one = runs[(runs.train == "all") & (runs.backbone == "resnet50")]
    result = mixed_model(one, "photographs")
    assert set(result.random_sd) == {"task", "fold", "residual"}
    assert any("one run of each source on a fold" in note for note in result.notes)


def test_fitted_and_residuals_add_up_in_the_order_given():
    runs = runs_of(seed=3).sample(frac=1, random_state=0)
    result = mixed_model(runs)
    np.testing.assert_allclose(result.fitted + result.residuals, runs["test_auc"], atol=1e-10)


def test_reference_is_the_first_source_unless_given():
    assert "source[random] - source[photographs]" in set(mixed_model(runs_of()).table["term"])
    assert "source[photographs] - source[random]" in set(mixed_model(runs_of(), "random").table["term"])
    with pytest.raises(ValueError, match="reference source 'imagenet' has no runs"):
        mixed_model(runs_of(), "imagenet")


def test_one_task_is_said():
    result = mixed_model(runs_of(tasks=1), "photographs")
    assert any("one task: no random intercept of task" in note for note in result.notes)
    assert set(result.random_sd) == {"fold", "source in a fold", "residual"}
    assert "(1 | task)" not in result.formula


def test_one_task_with_one_fold_is_said():
    result = mixed_model(runs_of(tasks=1, folds=1), "photographs")
    assert any("ordinary linear model" in note for note in result.notes)
    row = term(result, "source[radiology] - source[photographs]")
    assert row.ci_low < 0.03 < row.ci_high
    assert "|" not in result.formula


def test_one_fold_per_task_is_said():
    result = mixed_model(runs_of(tasks=5, folds=1), "photographs")
    assert any("one fold in every task" in note for note in result.notes)
    assert set(result.random_sd) == {"task", "source in a fold", "residual"}


def test_single_levels_and_missing_combinations_are_said():
    runs = runs_of()
    result = mixed_model(runs[(runs.train == "all") & (runs.backbone == "resnet50")], "photographs")
    assert [note.split()[0] for note in result.notes[:2]] == ["train", "backbone"]
    lacking = runs[~((runs.source == "random") & (runs.train == "top10"))]
    assert any(
        "interaction is not in the model" in note for note in mixed_model(lacking, "photographs").notes
    )


def test_no_convergence_is_said(monkeypatch):
    """An optimiser stopped after one step must not pass for a fit."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    fit = MixedLM.fit
    monkeypatch.setattr(MixedLM, "fit", lambda self, **kw: fit(self, reml=True, method=["bfgs"], maxiter=1))
    result = mixed_model(runs_of(), "photographs")
    assert not result.converged
    assert any("did not converge" in note for note in result.notes)
    assert any(note.startswith("statsmodels:") for note in result.notes)


def test_an_optimiser_that_failed_before_another_converged_is_not_said(monkeypatch):
    from statsmodels.base.optimizer import Optimizer

    optimise = Optimizer._fit

    def first_fails(self, *args, method="", **kw):
        params, values, settings = optimise(self, *args, method=method, **kw)
        return params, {**values, "converged": method != "lbfgs"}, settings

    monkeypatch.setattr(Optimizer, "_fit", first_fails)
    result = mixed_model(runs_of(), "photographs")
    assert result.converged
    assert not [note for note in result.notes if "converge" in note]


def test_variances_of_zero_are_said():
    """Where every fold has the same mean, the restricted likelihood is largest at variances of exactly 0."""
    runs = runs_of(task_sd=0, fold_sd=0)
    runs["test_auc"] += 0.75 - runs.groupby(["task", "fold"])["test_auc"].transform("mean")
    result = mixed_model(runs, "photographs")
    assert sum("of task is at its boundary of 0" in note for note in result.notes) == 1
    assert sum("of fold is at its boundary of 0" in note for note in result.notes) == 1
    assert max(result.random_sd["task"], result.random_sd["fold"]) < 1e-4
    assert result.converged


@pytest.mark.parametrize("seed", range(4))
def test_variances_that_are_not_there_are_not_made_up_by_an_optimiser(seed):
    """A task's mean of 108 runs has an SD of 0.002 from noise alone; an optimiser that stops says 0.015."""
    result = mixed_model(runs_of(task_sd=0, fold_sd=0, seed=seed), "photographs")
    assert max(result.random_sd["task"], result.random_sd["fold"]) < 3 * 0.002


def test_what_is_refused():
    runs = runs_of(tasks=1)
    with pytest.raises(ValueError, match="lacks the columns backbone, fold"):
        mixed_model(runs.drop(columns=["backbone", "fold"]))
    with pytest.raises(ValueError, match="1 of 108 runs lack a value"):
        mixed_model(runs.assign(test_auc=runs.test_auc.where(runs.index > 0)))
    with pytest.raises(ValueError, match="same source"):
        mixed_model(runs[runs.source == "random"])
    confounded = runs[(runs.source == "random") == (runs.backbone == "resnet50")]
    with pytest.raises(ValueError, match="cannot be told apart"):
        mixed_model(confounded, "photographs")
