"""Which weights to start from: a planted order and ties are found, beside the shortcut classifier."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from radlib.questions import start
from radlib.questions.start import (
    BEATS,
    BEHIND,
    FIRST,
    NOT_SHOWN,
    RANKING,
    TOGETHER,
    kept_scores,
    rank_weights,
)
from radlib.seeds import seed_of
from radlib.show.table import MEAN
from radlib.stats.bootstrap import bootstrap_mean_auc, mean_auc
from radlib.stats.estimate import Estimate
from radlib.training.results import load_results
from tests.conftest import write_packed
from tests.fabricated import fabricate, make_study, read_results

TASKS = ("thyroid_us", "breast_us")
STRENGTH = {"radiology": 1.9, "photographs": 1.9, "random": 0.6}


def ranked(root, strength=STRENGTH, border=0, tasks=TASKS, count="all", only=()):
    """Fabricated logistic runs; the images' brightness tells the label as well as `border` grey levels do.

    only: tasks that have frozen runs alone.
    """
    settings = [{"train": "logistic"}, {"train": "frozen", "lr": 0.01}]
    study = make_study(root, tasks, transfer={"settings": settings, "epochs": {"frozen": 1}})
    slow = {task: study.tasks[task].model_copy(update={"train": ["frozen"]}) for task in only}
    study = study.model_copy(update={"tasks": study.tasks | slow})
    study = study.model_copy(update={"compare": study.compare.model_copy(update={"tasks_that_count": count})})
    fabricate(study, strength, seed=1)
    rng = np.random.default_rng(0)
    for task in tasks:
        tested = read_results(study, task)[1].drop_duplicates("image_id")[
            ["image_id", "patient_id", "label", "fold"]
        ]
        step = border[task] if isinstance(border, dict) else border
        images = rng.normal(
            110 + step * tested["label"].to_numpy()[:, None, None, None], 5, (len(tested), 16, 16, 1)
        )
        parts = {f"part_{fold}": np.where(tested["fold"] == fold, "test", "train") for fold in (0, 1)}
        manifest = tested.drop(columns="fold").assign(
            class_name="", width=16, height=16, has_mask=False, **parts
        )
        write_packed(study.dataset_dir(task), images.clip(0, 255).astype(np.uint8), manifest)
    ranks = rank_weights(study)
    ranks.write(study)
    return study, ranks.weights


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return ranked(tmp_path_factory.mktemp("start"))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_weights_that_are_worse_are_behind_and_equal_ones_are_not(found):
    study, table = found
    assert list(table) == RANKING.names and list(table["task"].unique()) == [*TASKS, MEAN]
    for _, rows in table.groupby("task"):
        assert rows["auc"].is_monotonic_decreasing and list(rows["place"]) == [1, 2, 3]
        assert list(rows["verdict"]) == [FIRST, TOGETHER, BEHIND]
        assert rows["source"].iloc[2] == "random" and (rows["p_shortcut_holm"].iloc[:2] < 0.05).all()
    first, over, beats = start.start_findings(study, table)
    assert first.verdict.startswith(
        "first in this sample of patients, which flatters its AUC; cannot be told"
    )
    assert "apart from it: Simulated" in first.verdict and over.verdict == BEATS and over.low > 0
    beating = table.query("task == @MEAN and p_shortcut_holm < 0.05 and over_shortcut > 0")
    assert beats.verdict == f"{len(beating)} of 3" and beats.value is None and len(beating) >= 2


def test_weights_whose_runs_diverged_are_not_called_behind_the_first(found):
    study, table = found
    lost = {TOGETHER: "no verdict: 1 of 2 runs of photographs diverged"}
    first = start.start_findings(study, table.replace({"verdict": lost}))[0]
    assert "; cannot be told apart from it: Simulated" in first.verdict
    figure = start.start_figure(study, table.replace({"verdict": lost}))
    beside = [text.get_text().partition(", ")[2] for text in figure.axes[0].texts]
    assert beside == ["first", "no verdict", "behind", ""], "the last is the shortcut classifier"


def test_numbers_are_those_of_the_bootstrap_of_logistic_runs(found):
    study, table = found
    results = load_results(study, regimes=["logistic"])
    row = table.query("task == 'thyroid_us' and source == 'radiology'").iloc[0]
    own = results.scores("thyroid_us", results.of_task("thyroid_us").query("source == 'radiology'"))
    assert row["auc"] == pytest.approx(mean_auc(own))
    seed = seed_of(study.seed, "bootstrap", "thyroid_us")
    ends = bootstrap_mean_auc({"a": own}, study.compare.resamples, seed)["a"].interval(0.95)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(ends)


def test_tables_follow_from_the_kept_scores_without_an_image(found, monkeypatch):
    study, table = found
    monkeypatch.setattr(start, "open_packed", None)
    kept = kept_scores(study.report_dir)
    again = rank_weights(study, kept)
    pd.testing.assert_frame_equal(again.weights, table)
    other = rank_weights(study, kept.map(lambda scores: 1 - scores)).weights
    assert (other["over_shortcut"] != table["over_shortcut"]).all()


def test_where_none_is_ahead_of_the_classifier_the_nearest_stands_beside_it(found):
    study, table = found
    behind = table[table["task"] == "thyroid_us"].assign(
        over_shortcut=[-0.3, -0.1, -0.2], p_shortcut_holm=[0.001, 0.5, 0.1]
    )
    rows = zip(behind["source"], behind["backbone"], strict=True)
    nothing = Estimate(0.5, np.full(99, 0.5))
    row = start._task_row(study, "thyroid_us", behind, list(rows), [nothing] * 4, [])
    assert row["over_shortcut"] == -0.1, "not the one that is most surely beaten"
    some = behind.assign(over_shortcut=[0.1, 0.2, -0.3])
    ahead = start._task_row(study, "thyroid_us", some, [], [nothing], [])
    assert ahead["over_shortcut"] == 0.1, "of those ahead, the surest"


def test_where_brightness_says_as_much_no_weights_beat_it(tmp_path):
    study, table = ranked(tmp_path, dict.fromkeys(STRENGTH, 1.0), border=60, tasks=("thyroid_us",))
    assert MEAN not in set(table["task"])
    assert [one.verdict for one in start.start_findings(study, table)[1:]] == [NOT_SHOWN, "0 of 3"]
    figure = start.start_figure(study, table)
    (panel,) = [axes for axes in figure.axes if axes.get_yticklabels()]
    words = [label.get_text() for label in panel.get_yticklabels()]
    assert words[-1] == "shortcut classifier" and len(words) == 4
    RANKING.write(study, table)
    pd.testing.assert_frame_equal(RANKING.read(study), table, check_dtype=False)


def test_without_the_regime_nothing_is_ranked(tmp_path):
    study = make_study(tmp_path)
    fabricate(study, STRENGTH)
    found = rank_weights(study)
    assert found.weights.empty and found.tasks.empty and start.counting_tasks(study, found.weights)


def test_a_task_without_runs_of_the_regime_is_not_ranked_and_the_others_are(tmp_path):
    study, table = ranked(tmp_path, tasks=("acl_mri", *TASKS), only=("acl_mri",))
    assert list(table["task"].unique()) == [*TASKS, MEAN]
    both = table.query("source == 'radiology'").set_index("task")["auc"]
    assert both[MEAN] == pytest.approx(both[list(TASKS)].mean())
    alone = table[table["task"] == "breast_us"]
    assert set(start.answer_of(study, alone)["task"]) == {"breast_us"}


def test_only_tasks_on_which_a_network_beats_the_shortcut_classifier_count(tmp_path):
    """Of two tasks that networks learn alike, brightness tells the label of one."""
    study, table = ranked(tmp_path, border={"thyroid_us": 60, "breast_us": 0}, count="above_shortcut")
    assert start.counting_tasks(study, table) == ["breast_us"] and MEAN not in set(table["task"])
    assert set(start.answer_of(study, table)["task"]) == {"breast_us"}
    every = study.model_copy(update={"compare": study.compare.model_copy(update={"tasks_that_count": "all"})})
    assert start.counting_tasks(every, table) == list(TASKS)
    tasks = rank_weights(study).tasks.set_index("task")
    assert dict(tasks["counts"]) == {"thyroid_us": "no", "breast_us": "yes"}
    assert tasks["auc_shortcut"]["thyroid_us"] > 0.95 > 0.7 > tasks["auc_shortcut"]["breast_us"]
    base = table.query("task == 'breast_us' and source == 'photographs'").iloc[0]
    assert tasks["under"]["breast_us"] == pytest.approx(-base["over_shortcut"])


def test_a_task_that_no_network_learns_counts_for_nothing(tmp_path):
    study, table = ranked(tmp_path, dict.fromkeys(STRENGTH, 0.0), count="above_shortcut")
    assert start.counting_tasks(study, table) == []
    assert set(rank_weights(study).tasks["counts"]) == {"no"}


@pytest.mark.parametrize("truth", [[0.8] * 5, [0.8, 0.8, 0.79, 0.7, 0.6]])
def test_the_confidence_set_covers_the_best(truth):
    """Simulated: the first quantity is truly the largest; it is excluded in 5 of 100 studies or fewer."""
    rng = np.random.default_rng(1)
    excluded, worse, studies = 0, 0, 400
    for _ in range(studies):
        shared = rng.normal(0, 0.05, (1, 40))
        sample = np.array(truth)[:, None] + shared + rng.normal(0, 0.06, (5, 40))
        draws = sample[:, rng.integers(0, 40, (400, 40))].mean(axis=2).T
        p = Estimate(sample.mean(axis=1), draws, patients=40).p_best()
        excluded, worse = excluded + (p[0] < 0.05), worse + (p[-1] < 0.05)
    assert excluded / studies <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)
    assert worse / studies > 0.99 if truth[-1] < 0.7 else worse / studies < 0.1


def test_quantities_that_never_differ_are_not_told_apart():
    same = Estimate(np.array([1.0, 1.0]), np.ones((100, 2)), patients=20)
    assert (same.p_best() >= 0.5).all()
    assert Estimate(np.array([0.5]), np.ones((100, 1))).p_best().tolist() == [1]
