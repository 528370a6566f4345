"""Places and pairs of runs: against plain loops, with planted truth; sources meet on what they share."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from radlib.errors import UserError
from radlib.questions import calibration as reliability
from radlib.questions import ranking as ranks
from radlib.questions.calibration import (
    CALIBRATION,
    calibration_findings,
    calibration_forest,
    reliability_diagrams,
)
from radlib.questions.improvement import (
    IMPROVEMENT,
    improvement_findings,
    improvement_forest,
    improvement_table,
)
from radlib.questions.ranking import (
    LARGEST_DOT,
    RANKS,
    place_dots,
    places_table,
    ranking_findings,
)
from radlib.show.style import STAMP
from radlib.stats.bootstrap import bootstrap_mean_auc, bootstrap_run_aucs, place_shares, wins
from radlib.stats.estimate import BOTH, PATIENTS, Estimate
from radlib.stats.folds import FoldScores
from radlib.stats.simulation import Design, draw_latent, level_of, scores
from radlib.study.titles import source_title
from radlib.training.results import load_results
from tests.fabricated import fabricate, make_study, read_results, write_results

HEADLINE = ("radiology", "photographs")
CHECKPOINT = {
    "path": "data/raw/weights", "files": {"resnet50": "x.pt"}, "title": "ImageNet", "mean": [0.5] * 3,
    "std": [0.5] * 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Radiology far ahead; photographs and random equal; a checkpoint between, of one backbone alone."""
    study = make_study(
        tmp_path_factory.mktemp("ranks"), ("thyroid_us", "breast_us"), backbones=("resnet50", "densenet121"),
        sources=["radiology", "photographs", "imagenet", "random"], checkpoints={"imagenet": CHECKPOINT},
    )  # fmt: skip
    fabricate(study, {"radiology": 1.8, "photographs": 0.7, "random": 0.7, "imagenet": 1.2})
    results = load_results(study)
    return study, results, ranks.draw_tasks(study, results)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_places_agree_with_sorting():
    draws = np.random.default_rng(0).normal([0, 0.3, 1], 1, (2000, 3))
    order = np.argsort(-draws, axis=1)
    expected = [[(order[:, place] == source).mean() for place in range(3)] for source in range(3)]
    np.testing.assert_allclose(place_shares(draws), expected)


def test_equal_sources_share_their_places():
    assert place_shares(np.array([[0.7, 0.7, 0.1]])).tolist() == [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]
    differences = np.array([0.1, 0.0, -2.0])
    won = wins(Estimate(differences, differences[np.newaxis]))
    assert won.value.tolist() == won.replicates[0].tolist() == [1, 0.5, 0]


def test_runs_average_to_the_mean_of_the_source(planted):
    _, results, _ = planted
    runs = results.of_task("thyroid_us").query("source == 'radiology'")
    folds = results.scores("thyroid_us", runs)
    expected = bootstrap_mean_auc({"a": folds}, 100, 3)["a"]
    found = bootstrap_run_aucs(folds, 100, 3)
    np.testing.assert_array_equal(found.value, runs.sort_values("fold", kind="stable")["test_auc"])
    assert found.mean_of_runs().value == pytest.approx(expected.value)
    np.testing.assert_allclose(found.mean_of_runs().replicates, expected.replicates, rtol=0, atol=1e-12)


def test_sources_are_ranked_on_the_backbones_they_share(planted):
    study, results, drawn = planted
    assert ranks.groups_of(study) == [
        (["resnet50", "densenet121"], ["radiology", "photographs", "random"]),
        (["resnet50"], ["radiology", "photographs", "imagenet", "random"]),
    ]
    table = ranks.rank_table(study, drawn)
    assert list(table) == RANKS.names and table["simulated"].all()
    assert set(table["resampled"]) == {PATIENTS}
    assert len(table) == (2 + 1) * (3 * 3 + 4 * 4)
    runs = results.of_task("breast_us").query("backbone == 'resnet50'").groupby("source")["test_auc"].mean()
    some = table[(table["n_sources"] == 4) & (table["task"] == "breast_us")]
    assert some.groupby("source")["auc"].first().to_dict() == pytest.approx(runs.to_dict())
    assert some.groupby("source")["rank"].first().to_dict() == runs.rank(ascending=False).to_dict()
    shares = table.groupby(["task", "backbones", "source"])["share"].sum()
    assert shares.to_numpy() == pytest.approx(1)
    places = table.groupby(["task", "backbones", "place"])["share"].sum()
    assert places.to_numpy() == pytest.approx(1)


def test_planted_order_is_stable_where_sources_differ_and_not_where_they_are_equal(planted):
    study, _, drawn = planted
    table = ranks.rank_table(study, drawn)
    mean = table[(table["task"] == ranks.MEAN) & (table["n_sources"] == 3)].set_index(["source", "place"])[
        "share"
    ]
    assert mean["radiology", 1] > 0.99
    assert mean["photographs", 1] + mean["random", 1] < 0.01
    assert 0.02 < mean["photographs", 2] < 0.98


def test_improvement_is_the_share_of_pairs_won(planted):
    study, results, drawn = planted
    table = improvement_table(study, drawn)
    assert list(table) == IMPROVEMENT.names
    rows = table.set_index(["task", "source_a"])
    runs = results.of_task("thyroid_us").set_index("source")
    keys = ["backbone", "train", "lr", "fold"]
    a, b = (runs.loc[source].set_index(keys)["test_auc"] for source in HEADLINE)
    assert rows.loc[("thyroid_us", "radiology"), "improvement"] == pytest.approx((a > b[a.index]).mean())
    assert rows.loc[("thyroid_us", "radiology"), "n_pairs"] == 16
    mean = rows.loc[(ranks.MEAN, "radiology")]
    own = rows.loc[["thyroid_us", "breast_us"]].loc[(slice(None), "radiology"), "improvement"]
    assert mean["improvement"] == pytest.approx(own.mean())
    tasks = table[table["task"] != ranks.MEAN]
    assert np.isnan(mean["ci_low"]) and tasks[["ci_low", "ci_high"]].notna().all(axis=None)
    ends = tasks.set_index("source_a")[["ci_low", "ci_high"]]
    assert (ends.loc["radiology", "ci_low"] > 0.5).all()
    equal = ends.loc["photographs"]
    assert ((equal["ci_low"] < 0.5) & (equal["ci_high"] > 0.5)).all()
    assert ((tasks["ci_low"] >= 0) & (tasks["ci_high"] <= 1)).all()


def test_interval_of_the_share_won_holds_what_is_expected_of_such_test_parts():
    """150 drawn test parts of the same trainings; what is expected is the mean share over them."""
    design = Design((50, 50), settings=8, training_sd=0.3)
    shifts = draw_latent(design, np.random.default_rng(99)).shifts
    shares, ends = [], []
    for seed in range(150):
        latent = replace(draw_latent(design, np.random.default_rng([1, seed])), shifts=shifts)
        (a,), (b,) = scores(latent, (level_of(0.78, 0.3), level_of(0.75, 0.3)))
        both = FoldScores(a.labels, a.patients, np.concatenate([a.scores, b.scores]))
        aucs = bootstrap_run_aucs([both], 400, seed)
        won = wins(aucs.columns(np.arange(8)) - aucs.columns(np.arange(8, 16))).mean_of_runs()
        shares.append(won.value)
        ends.append(won.interval(0.95))
    low, high = np.array(ends).T
    covered = ((low <= np.mean(shares)) & (np.mean(shares) <= high)).mean()
    assert 0.6 < np.mean(shares) < 0.7
    assert 0.9 <= covered <= 0.995
    assert ((low <= shares) & (shares <= high)).mean() > 0.98


def test_several_seeds_are_resampled_alike_for_all_sources(tmp_path):
    study = make_study(tmp_path)
    transfer = study.transfer.model_copy(update={"seeds": [0, 1]})
    study = study.model_copy(update={"transfer": transfer})
    fabricate(study, {"radiology": 1.2, "photographs": 1.0, "random": 0.8})
    drawn = ranks.draw_tasks(study, load_results(study))["thyroid_us"]
    runs = drawn.runs.assign(weight=drawn.weights[7])
    assert (runs.groupby(["train", "lr", "fold", "seed"])["weight"].nunique() == 1).all()
    assert (runs.groupby(["source", "train", "lr", "fold"])["weight"].sum() == 2).all()
    table = improvement_table(study, {"thyroid_us": drawn})
    assert set(table.loc[table["task"] != ranks.MEAN, "resampled"]) == {BOTH}
    fixed = improvement_table(study, {"thyroid_us": ranks.TaskDraws(
        **{**vars(drawn), "weights": None})})  # fmt: skip
    wider = (table["ci_high"] - table["ci_low"] >= fixed["ci_high"] - fixed["ci_low"])[
        table["task"] != ranks.MEAN
    ]
    assert len(wider) and wider.all()


def test_means_take_the_tasks_that_count_alone(planted):
    study, results, _ = planted
    drawn, measured = planted[2], reliability.measure(study, results)
    drawn, measured = ({**some, "acl_mri": some["breast_us"]} for some in (drawn, measured))
    counting = ["thyroid_us", "acl_mri"]
    places = ranks.rank_table(study, drawn, counting)
    auc = places.query("n_sources == 4").groupby(["task", "source"])["auc"].first()
    expected = (auc["thyroid_us"] + auc["acl_mri"]) / 2
    assert auc[ranks.MEAN].to_dict() == pytest.approx(expected.to_dict())
    won = improvement_table(study, drawn, counting)
    share = won.query("source_a == 'radiology'").set_index("task")["improvement"]
    assert share[ranks.MEAN] == pytest.approx(share[counting].mean())
    scored = reliability.calibration_table(study, measured, counting)
    ece = scored[scored["against"].notna() & (scored["figure"] == "ece")].set_index("task")["value"]
    assert ece[ranks.MEAN] == pytest.approx(ece[counting].mean())
    said = [
        ranking_findings(study, places)[0].subject,
        improvement_findings(study, won)[0].subject,
        calibration_findings(study, scored)[0].subject,
    ]
    assert all(
        f"mean over the settings{mark} {ranks.MEAN}" in one for one, mark in zip(said, ",::", strict=True)
    )
    assert improvement_findings(study, won)[0].verdict.endswith("of 2 tasks")
    for table in (places, won, scored):
        assert set(table["task"][table["counts"] == "no"]) == {"breast_us"}
    figure = improvement_forest(study, won)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert "Breast US\n(does not count)" in labels
    (legend,) = figure.legends
    assert "the mean has no interval" in legend.get_title().get_text()
    assert "Simulated radiology" in [text.get_text() for text in legend.get_texts()], "winners have a legend"


def test_a_single_task_that_counts_is_no_mean(planted):
    study, results, drawn = planted
    places, won = (
        ranks.rank_table(study, drawn, ["breast_us"]),
        improvement_table(study, drawn, ["breast_us"]),
    )
    scored = reliability.calibration_table(study, reliability.measure(study, results), ["breast_us"])
    for table, findings in (
        (places, ranking_findings),
        (won, improvement_findings),
        (scored, calibration_findings),
    ):
        assert ranks.MEAN not in set(table["task"])
        found = findings(study, table)[0]
        assert "Breast US" in found.subject and "mean over tasks" not in found.subject
        assert "mean over the settings" in found.subject
    title = improvement_forest(study, won).legends[0].get_title().get_text()
    assert "grey: covers one half" in title and "the mean" not in title.split("\n")[1]
    found, row = improvement_findings(study, won)[0], won.query("task == 'breast_us'").iloc[0]
    assert (found.value, found.low, found.high) == (row["improvement"], row["ci_low"], row["ci_high"])
    assert found.verdict.endswith("of 1 task")
    none = ranks.rank_table(study, drawn, []), improvement_table(study, drawn, [])
    assert ranking_findings(study, none[0]) == improvement_findings(study, none[1]) == []


def test_sources_that_share_the_first_place_are_both_said_to_be_first(planted):
    study, _, drawn = planted
    places = ranks.rank_table(study, drawn)
    first, second = (
        places[(places["n_sources"] == 3) & (places["rank"] == rank)]["source"].iloc[0] for rank in (1, 2)
    )
    tied = places.assign(rank=places["rank"].replace({1: 1.5, 2: 1.5}))
    said = [found.verdict for found in ranking_findings(study, tied) if " 3 sources " in found.subject]
    assert sorted(said) == sorted(source_title(study, name) for name in (first, second))


def test_runs_that_diverged_leave_no_verdict_of_places_nor_of_pairs_won(planted):
    study, results, drawn = planted
    assert "diverged" not in ranks.rank_table(study, drawn)
    broken = (results.runs["source"] == "photographs") & (results.runs["task"] == "breast_us")
    runs = results.runs.assign(diverged=broken & (results.runs.groupby(broken).cumcount() < 3))
    drawn = ranks.draw_tasks(study, replace(results, runs=runs))
    places, won = ranks.rank_table(study, drawn), improvement_table(study, drawn)
    said = places[places["n_sources"] == 3].groupby("task")["diverged"].first()
    assert said["breast_us"] == "3 of 16 runs of photographs diverged"
    assert said[ranks.MEAN] == "3 of 32 runs of photographs diverged" and pd.isna(said["thyroid_us"])
    assert ranking_findings(study, places)[0].verdict == f"no verdict: {said[ranks.MEAN]}"
    assert improvement_findings(study, won)[0].verdict == f"no verdict: {said[ranks.MEAN]}"


# Calibration ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(planted):
    study, results, _ = planted
    found = reliability.measure(study, results)
    return found, reliability.calibration_table(study, found)


def test_calibration_table_holds_sources_and_the_difference_of_the_headline(planted, measured):
    study, results, _ = planted
    found, table = measured
    assert list(table) == CALIBRATION.names
    assert len(table) == 3 * (2 * (4 + 1) + 1)
    runs, predictions = read_results(study, "thyroid_us")
    mine = predictions.merge(runs[runs["source"] == "radiology"][["run", "val_threshold"]], on="run")
    brier = ((mine["score"] - mine["label"]) ** 2).groupby(mine["run"]).mean().mean()
    rows = table[(table["task"] == "thyroid_us") & (table["figure"] == "brier")].set_index("source")
    levels = rows[rows["against"].isna()]
    assert levels.loc["radiology", "value"] == pytest.approx(brier)
    assert levels.loc["radiology", "reference"] == pytest.approx(0.25)  # half of the patients are positive
    assert levels["n_runs"].to_dict() == {"radiology": 16, "photographs": 16, "imagenet": 8, "random": 16}
    between = rows[rows["against"] == "photographs"].iloc[0]
    assert between["value"] == pytest.approx(
        levels.loc["radiology", "value"] - levels.loc["photographs", "value"]
    )
    widths = levels["ci_high"] - levels["ci_low"]
    assert between["ci_high"] - between["ci_low"] < widths["radiology"] + widths["photographs"]
    called = (mine["score"] >= mine["val_threshold"]).groupby([mine["run"], mine["label"]]).mean().unstack()
    accuracy = ((called[1] + 1 - called[0]) / 2).mean()
    shown = table[(table["figure"] == "balanced_accuracy") & (table["task"] == "thyroid_us")].iloc[0]
    assert shown["value"] == pytest.approx(accuracy)
    assert ((table["ci_low"] <= table["value"]) & (table["value"] <= table["ci_high"])).all()


def test_mean_difference_is_that_of_the_tasks(measured):
    _, table = measured
    between = table[table["against"].notna()]
    for _, rows in between.groupby("figure"):
        mean = rows[rows["task"] == ranks.MEAN].iloc[0]
        assert mean["value"] == pytest.approx(rows[rows["task"] != ranks.MEAN]["value"].mean())


def test_a_task_on_which_the_headline_has_no_runs_in_common_is_left_out(planted):
    study, results, _ = planted
    lacking = (results.runs["source"] == "photographs") & (results.runs["task"] == "breast_us")
    found = reliability.measure(study, replace(results, runs=results.runs[~lacking]))
    table = reliability.calibration_table(study, found)
    assert list(found) == ["thyroid_us"] and set(table["task"]) == {"thyroid_us"}
    assert reliability.calibration_table(study, {}).empty


def test_runs_that_diverged_leave_no_verdict_of_calibration(planted, measured, tmp_path):
    study, results, _ = planted
    assert "diverged" not in measured[1]
    broken = (results.runs["source"] == "photographs") & (results.runs["task"] == "breast_us")
    runs = results.runs.assign(diverged=broken & (results.runs.groupby(broken).cumcount() < 3))
    table = reliability.calibration_table(study, reliability.measure(study, replace(results, runs=runs)))
    brier = table[table["figure"] == "brier"].fillna({"against": ""})
    said = brier.set_index(["task", "source", "against"])["diverged"]
    assert said["breast_us", "photographs", ""] == "3 of 16 runs of photographs diverged"
    assert said["breast_us", "radiology", "photographs"] == "3 of 16 runs of photographs diverged"
    assert said[ranks.MEAN, "radiology", "photographs"] == "3 of 32 runs of photographs diverged"
    assert said.notna().sum() == 3
    found = calibration_findings(study, table)
    assert {one.verdict for one in found[:3]} == {"no verdict: 3 of 32 runs of photographs diverged"}
    cases = len(measured[1].query("figure == 'ece' and against.isna()"))
    assert found[3].verdict.endswith(f" of {cases - 1} cases of a source and task"), "sound ones alone"
    heads = [
        line for line in calibration_forest(study, table).axes[0].lines if line.get_marker() in ("o", "D")
    ]
    spoilt = [line.get_markerfacecolor() == "white" for line in heads]
    assert spoilt == [False, True, True], "a difference of runs that diverged is drawn as not shown"


def test_runs_without_threshold_are_refused(planted, tmp_path):
    study, _, _ = planted
    other = study.model_copy(update={"root": tmp_path})
    for task in study.tasks:
        runs, predictions = read_results(study, task)
        write_results(other, task, runs.drop(columns="val_threshold"), predictions)
    with pytest.raises(UserError, match="without the column val_threshold; run dvc repro"):
        reliability.measure(other, load_results(other))


# Words, figures and files ---------------------------------------------------------------------------------


def test_findings_follow_the_numbers(planted, measured):
    study, _, drawn = planted
    places, won = ranks.rank_table(study, drawn), improvement_table(study, drawn)
    said = ranking_findings(study, places)
    assert said[0].verdict == "Simulated radiology" and said[0].value == 1 and len(said) == 2
    (win,) = improvement_findings(study, won)
    assert win.verdict == "more than half on 2, less than half on 0, neither shown on 0, of 2 tasks"
    shown = reliability.calibration_shown(study, measured[1])["to compare with"]
    assert set(shown[measured[1]["against"].notna().to_numpy()]) == {""}
    assert "0.250, the share of positives for every image" in set(shown) and "0.500, guessing" in set(shown)
    values = reliability.calibration_shown(study, measured[1])["value"]
    signed = values.str.startswith(("+", "−")).to_numpy()
    assert (signed == measured[1]["against"].notna()).all(), "differences alone have a sign"
    found = calibration_findings(study, measured[1])
    assert found[2].subject.startswith("Balanced accuracy") and found[2].verdict == "higher, which is better"
    worse = calibration_findings(study, measured[1].assign(value=0.1, ci_low=0.05, ci_high=0.2))
    assert worse[0].verdict == "higher, which is worse" and worse[0].value == 0.1
    shown = places_table(study, places[places["n_sources"] == 4])
    assert shown.filter(like="in place ").sum(axis=1).to_numpy() == pytest.approx(100, abs=0.2)
    assert list(shown.index[-4:].get_level_values("task")) == [ranks.MEAN] * 4
    assert sorted(shown["place"][-4:]) == ["1", "2", "3", "4"], "a place is written without decimals"


def test_figures_draw_what_the_tables_hold(planted, measured):
    study, _, drawn = planted
    places, won = ranks.rank_table(study, drawn), improvement_table(study, drawn)
    some = places[places["n_sources"] == 4]
    figures = [
        place_dots(study, some), improvement_forest(study, won),
        reliability_diagrams(study, measured[0]),
        calibration_forest(study, measured[1]),
    ]  # fmt: skip
    for figure in figures:
        assert STAMP in [text.get_text() for text in figure.texts]
        figure.canvas.draw()
    sizes = np.concatenate([c.get_sizes() for panel in figures[0].axes for c in panel.collections])
    assert sizes / LARGEST_DOT == pytest.approx(some["share"].to_numpy())
    crosses = [line.get_xdata()[0] for panel in figures[0].axes for line in panel.lines]
    assert crosses == list(some[some["place"] == 1]["rank"])
    lines = [line for panel in figures[1].axes for line in panel.lines]
    dots = [line.get_xdata()[0] for line in lines if line.get_marker() in ("o", "D")]
    assert dots == pytest.approx(list(won["improvement"]))
    table = measured[1]
    lines = [line for panel in figures[3].axes for line in panel.lines]
    dots = [line.get_xdata()[0] for line in lines if line.get_marker() in ("o", "D")]
    assert sorted(dots) == pytest.approx(sorted(table.loc[table["against"].notna(), "value"]))
    ways = [panel.get_xlabel().split("\n")[0] for panel in figures[3].axes]
    less, more = "← Simulated radiology better", "← Simulated photographs better"
    assert ways == [less, less, more], "less is better of Brier score and calibration error"
    _, share = measured[0]["thyroid_us"]["radiology"].curve
    line = next(line for line in figures[2].axes[0].lines if line.get_marker() == "o")
    np.testing.assert_allclose(line.get_ydata(), share.value)


def test_tables_are_written(planted, measured, tmp_path):
    study, _, drawn = planted
    other = study.model_copy(update={"root": tmp_path})
    places, won = ranks.rank_table(study, drawn), improvement_table(study, drawn)
    RANKS.write(other, places)
    IMPROVEMENT.write(other, won)
    CALIBRATION.write(other, measured[1])
    for name, table in (("ranks", places), ("improvement", won), ("calibration", measured[1])):
        read = pd.read_csv(other.report_dir / f"{name}.csv")
        assert list(read) == list(table) and len(read) == len(table)
