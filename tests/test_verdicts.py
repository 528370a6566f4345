"""Verdicts follow from the intervals; two one-sided tests agree with statsmodels and keep their level."""

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.weightstats import ttost_paired

from radlib.errors import UserError, of_task
from radlib.questions.auc import compute as compare
from radlib.questions.auc.show import headline_sentence, resampled_sentence
from radlib.questions.auc.sources import claim_of
from radlib.questions.verdicts import verdict
from radlib.report.limits import _pretrainings, limits
from radlib.seeds import seed_of
from radlib.stats.bootstrap import bootstrap_delta
from radlib.stats.estimate import BOTH, PATIENTS, Estimate
from radlib.stats.models import holm
from radlib.stats.simulation import Design, draw_latent, level_of, scores
from radlib.study import load_study
from radlib.study.questions import Compare
from radlib.study.titles import estimate_title
from radlib.study.training import Setting
from radlib.training.results import load_results, paired_runs, settings_by_fold, trained_again
from tests.conftest import REPOSITORY
from tests.fabricated import fabricate, make_study, read_results, write_results

HEADLINE = ("radiology", "photographs")
STRENGTH = {"radiology": 1.6, "photographs": 0.8, "random": 0.8}


@pytest.mark.parametrize("margin", [0.02, 0.05, 0.07])
def test_two_one_sided_tests_agree_with_statsmodels(margin):
    differences = np.random.default_rng(3).normal(0.01, 0.1, 40)
    # All quantiles of a bootstrap of the mean: its SD has divisor n, which the interval puts right.
    quantiles = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    draws = differences.mean() + quantiles * differences.std() / np.sqrt(40)
    *_, p = Estimate(0.0, draws, patients=40).equivalence(margin, 0.95)
    expected, *_ = ttost_paired(differences, np.zeros(40), -margin, margin)
    assert p == pytest.approx(expected, rel=0.02, abs=2e-5)


def test_p_value_is_small_exactly_where_the_interval_lies_inside():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        draws = rng.normal(rng.normal(0, 0.02), rng.uniform(0.002, 0.02), 500)
        sample = int(rng.integers(8, 80)), int(rng.integers(1, 4)), rng.choice([None, 6.0])
        low, high, p = Estimate(0.0, draws, *sample).equivalence(0.03, 0.95)
        lies = bool(max(-low, high) < 0.03)
        assert (p < 0.05) == lies
        inside += lies
    assert 50 < inside < 250


def test_equivalence_is_rarely_claimed_of_a_difference_as_large_as_the_margin():
    wrong = right = 0
    for seed in range(120):
        latent = draw_latent(Design((60, 60), settings=2), np.random.default_rng([4, seed]))
        for delta in (0.1, 0.0):
            a, b = scores(latent, (level_of(0.75 + delta), level_of(0.75)))
            *_, p = bootstrap_delta(a, b, 400, seed).equivalence(0.1, 0.95)
            wrong += (p < 0.05) * (delta > 0)
            right += (p < 0.05) * (delta == 0)
    assert wrong <= 13  # binomial(120, .05): more than 13 has probability 0.003
    assert right > 60


@pytest.mark.parametrize(("margin", "confidence", "words"), [(0, 0.95, "margin of equivalence is 0"),
                                                              (0.1, 0.5, "needs one above 0.5")])  # fmt: skip
def test_what_cannot_be_tested_is_one_sentence(margin, confidence, words):
    with pytest.raises(ValueError, match=words):
        Estimate(0.0, np.linspace(-1, 1, 1000)).equivalence(margin, confidence)


@pytest.mark.parametrize(
    ("delta", "p_difference", "p_equivalence", "word"),
    [
        (0.02, 0.01, 0.4, "better"),
        (-0.02, 0.01, 0.4, "worse"),
        (0.002, 0.01, 0.01, "better, by less than matters"),
        (-0.002, 0.01, 0.01, "worse, by less than matters"),
        (0.002, 0.3, 0.01, "equivalent"),
        (0.02, 0.3, 0.4, "undecided"),
        (0.02, 0.051, 0.051, "undecided"),
        (0.0, 1.0, 0.01, "equivalent"),
    ],
)
def test_words(delta, p_difference, p_equivalence, word):
    assert verdict(delta, p_difference, p_equivalence, 0.05) == word


def at_the_edge(share: float, resamples: int, fewer: int) -> np.ndarray:
    """Replicates of which this share of `resamples` + 1, less a few, lie far below the others."""
    below = round(share * (resamples + 1)) - fewer
    return np.r_[np.full(below, -0.03), np.full(resamples - below, 0.01)]


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.98, 0.99])
@pytest.mark.parametrize("resamples", [999, 1999])
@pytest.mark.parametrize("fewer", [1, 2])
def test_a_verdict_at_the_edge_is_that_of_the_interval(confidence, resamples, fewer):
    """Of p-values the largest below alpha shows something; one that is alpha itself does not."""
    pair = ("radiology", "photographs")
    alpha = Compare(pairs=[pair], headline=pair, confidence=confidence).alpha
    found = Estimate(0.005, at_the_edge((1 - confidence) / 2, resamples, fewer))
    assert (found.interval(confidence)[0] > 0) == (fewer == 2)
    assert verdict(0.005, found.p_value(), 1.0, alpha) == ("better" if fewer == 2 else "undecided")
    low, high, p = Estimate(0.0, at_the_edge(1 - confidence, resamples, fewer)).equivalence(0.02, confidence)
    assert (low > -0.02 and high < 0.02) == (fewer == 2)
    assert verdict(0.0, 1.0, p, alpha) == ("equivalent" if fewer == 2 else "undecided")


def compared(
    tmp_path,
    margin=0.01,
    seeds=(0,),
    tasks=("thyroid_us", "breast_us"),
    strength=STRENGTH,
    folds=2,
    resamples=2000,
):
    study = make_study(tmp_path, tasks, folds)
    options = study.compare.model_copy(update={"equivalence": margin, "resamples": resamples})
    transfer = study.transfer.model_copy(update={"seeds": list(seeds)})
    study = study.model_copy(update={"compare": options, "transfer": transfer})
    fabricate(study, strength)
    results = load_results(study)
    return study, results, compare.compare_sources(study, results)


def mean_of(found, pair, estimate="grid_mean"):
    rows = found.overall[found.overall["estimate"] == estimate].set_index(["source_a", "source_b"])
    return rows.loc[pair]


def test_planted_differences_get_their_words(tmp_path):
    study, _, found = compared(tmp_path)
    assert mean_of(found, HEADLINE)["verdict"] == "better"
    assert mean_of(found, ("photographs", "random"))["verdict"] == "undecided"
    text = headline_sentence(study, claim_of(study, found.overall))
    assert "**AUC was higher with Simulated radiology than with Simulated photographs by" in text


def test_a_wide_region_makes_the_same_differences_equivalent_or_trifles(tmp_path):
    study, _, found = compared(tmp_path, margin=0.5)
    row = mean_of(found, HEADLINE)
    assert row["verdict"] == "better, by less than matters" and row["equivalence"] == 0.5
    assert -0.5 < row["tost_low"] < row["delta"] < row["tost_high"] < 0.5
    assert row["ci_low"] < row["tost_low"] and row["tost_high"] < row["ci_high"]
    assert mean_of(found, ("photographs", "random"))["verdict"] == "equivalent"
    assert "but by less than matters: " in headline_sentence(study, claim_of(study, found.overall))


def test_runs_that_diverged_leave_no_verdict_and_are_counted_in_it(tmp_path):
    study, _, _ = compared(tmp_path)
    for task, count in (("thyroid_us", 3), ("breast_us", 1)):
        runs, predictions = read_results(study, task)
        broken = runs.index[(runs["source"] == "photographs") & (runs["train"] == "frozen")][:count]
        runs["diverged"] = runs.index.isin(broken)
        runs.loc[broken, ["val_loss", "val_auc", "test_auc"]] = [np.inf, 0.0, 0.5]
        predictions.loc[predictions["run"].isin(runs.loc[broken, "run"]), "score"] = 0.5
        write_results(study, task, runs, predictions)
    found = compare.compare_sources(study, load_results(study))
    of = found.table[found.table["estimate"] == "grid_mean"].groupby("task").first()
    n = of.loc["thyroid_us", "n_runs"]
    for column in ("verdict", "verdict_holm"):
        assert of.loc["thyroid_us", column] == f"no verdict: 3 of {n} runs of photographs diverged"
    word = f"no verdict: 4 of {2 * n} runs of photographs diverged"
    assert mean_of(found, HEADLINE)["verdict"] == word
    assert mean_of(found, HEADLINE, "best_by_validation")["verdict"] == "better"
    text = headline_sentence(study, claim_of(study, found.overall))
    assert word in text and "higher" not in text and "better" not in text


def test_equivalence_too_is_corrected_over_tasks(tmp_path):
    _, _, found = compared(tmp_path, margin=0.05)
    for _, group in found.table.groupby(["source_a", "source_b", "estimate"]):
        assert group["p_tost_holm"].to_numpy() == pytest.approx(holm(group["p_tost"].to_numpy()))
        for row in group.itertuples():
            assert row.verdict_holm == verdict(row.delta, row.p_holm, row.p_tost_holm, 0.05)
            assert (row.verdict == "undecided") == (row.ci_low <= 0 <= row.ci_high and row.p_tost >= 0.05)


def test_what_the_statistics_refuse_names_the_task(tmp_path):
    with pytest.raises(UserError, match="task 'thyroid_us': 20 resamples are too few for a .* fold"):
        compared(tmp_path, resamples=20)

    @of_task
    def broken(task: str) -> None:
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="a mistake of ours"):
        broken("thyroid_us")


# Variation between trainings ------------------------------------------------------------------------------


def test_one_seed_holds_patients_alone_and_says_so(tmp_path):
    study, _, found = compared(tmp_path)
    assert set(found.table["resampled"]) == {PATIENTS} == set(found.overall["resampled"])
    text = resampled_sentence(study, claim_of(study, found.overall))
    assert "**not between trainings** (1 seed per setting)" in text
    assert any(
        "Another training, with another seed" in s for s in limits(study, claim_of(study, found.overall))
    )


def test_several_seeds_hold_the_luck_of_training(tmp_path):
    study, results, found = compared(tmp_path, seeds=(0, 1))
    grid = found.table["estimate"] == "grid_mean"
    assert set(found.table[grid]["resampled"]) == {BOTH}
    assert set(found.table[~grid]["resampled"]) == {PATIENTS}
    sides = paired_runs(results.of_task("breast_us"), HEADLINE)
    a, b = (results.scores("breast_us", runs) for runs in sides)
    seed = seed_of(study.seed, "bootstrap", "breast_us")
    # The same settings, told from the names of the runs.
    names = [
        np.array([run.rsplit("/fold")[0] for run in sides[0]["run"][sides[0]["fold"] == f]]) for f in (0, 1)
    ]
    expected = bootstrap_delta(a, b, 2000, seed, names)
    row = found.table[grid & (found.table["task"] == "breast_us")].iloc[0]
    assert row["delta"] == pytest.approx(expected.value)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(expected.interval(0.95), abs=0.005)
    text = resampled_sentence(study, claim_of(study, found.overall))
    assert "**between test patients and between trainings** (2 seeds per setting)" in text
    assert not any("Another training" in s for s in limits(study, claim_of(study, found.overall)))


def test_limits_speak_of_no_other_training_of_a_probe(tmp_path):
    study = compared(tmp_path)[0]
    changes = {"settings": [Setting(train="logistic")]}
    probe = study.model_copy(update={"transfer": study.transfer.model_copy(update=changes)})
    assert probe.claimed == "grid_mean", "the only regime is what the mean over settings averages"
    assert estimate_title(probe, probe.claimed) == "logistic probe"
    assert estimate_title(study, study.claimed) == "mean over the settings"
    for which, said in ((study, True), (probe, False)):
        text = limits(which, {"resampled": PATIENTS})
        assert any("Another training" in sentence for sentence in text) is said


def test_limits_say_that_some_networks_were_pretrained_once():
    often = {"pretrain.replicates": 3}
    for backbones, said in (({}, "3 times"), ({"backbones.resnet50.replicates": 1}, "1 to 3 times")):
        study = load_study(often | backbones, REPOSITORY / "studies" / "demo.yaml")
        assert f"Each source was pretrained {said}, for 1 epoch of images of 75 px: " in _pretrainings(study)


def test_a_few_repeated_trainings_are_not_resampled(tmp_path):
    settings = [np.array([0, 0, 1, 1])]
    assert not trained_again(settings) and trained_again(2 * settings)
    assert not trained_again([np.array([0, 0, 0, 0, 1])])
    study, results, _ = compared(tmp_path, seeds=(0, 1), tasks=("thyroid_us",), folds=1)
    runs = results.of_task("thyroid_us").query("source == 'radiology' and train == 'frozen'")
    assert not trained_again(settings_by_fold(runs))
