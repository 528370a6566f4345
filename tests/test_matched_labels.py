"""Sources beside the grid: which runs are made and which reused, and what the sentence may say."""

from dataclasses import replace
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from radlib.errors import UserError
from radlib.networks.weights import Preprocessing, load_weights, save_weights
from radlib.questions.auc.compute import bootstrap_pair, compare_sources
from radlib.questions.matched_labels import (
    MATCHED,
    SHARE,
    WITHDRAWN,
    matched_figure,
    matched_findings,
    matched_labels,
    pairs_left,
    study_of_matched,
    with_shares,
)
from radlib.seeds import seed_of
from radlib.show.style import difference_mark, of_pair, source_colours
from radlib.show.table import MEAN
from radlib.stats.bootstrap import bootstrap_mean_auc
from radlib.stats.estimate import BOTH, PATIENTS, Estimate
from radlib.study.questions import MatchedLabels
from radlib.study.training import Setting
from radlib.training import transfer
from radlib.training.results import RUN, load_results, paired_runs, settings_by_fold
from tests.conftest import SMALL, two_classes, write_packed
from tests.fabricated import fabricate, make_study, read_results

matplotlib.use("Agg")
TASK = "breast_us"
FIRST, LEFT, ADDED = ("photographs", "radiology"), ("coarse", "radiology"), ("photographs", "coarse")
NONE = (np.nan,) * 3


@pytest.fixture
def study(small_study):
    """Radiology and photographs in the grid, coarser photographs beside it; all are random numbers."""
    corpora = {**small_study.corpora, "coarse": small_study.corpora["photographs"]}
    part = MatchedLabels(
        sources=["photographs", "radiology", "coarse"], backbones=[SMALL], tasks=[TASK],
        train=["frozen", "top"], pairs=[FIRST, LEFT, ADDED],
    )  # fmt: skip
    sources = ["radiology", "photographs"]
    settings = [Setting(train="frozen", lr=0.01), Setting(train="top", lr=0.001)]
    grid = small_study.transfer.model_copy(update={"settings": settings})
    changes = {"corpora": corpora, "sources": sources, "transfer": grid, "matched_labels": part}
    study = small_study.model_copy(update=changes)
    write_packed(study.dataset_dir(TASK), *two_classes(80, 32, folds=2))
    for seed, source in enumerate(part.sources):
        weights = load_weights(study.model_copy(update={"seed": seed}), "random", SMALL)
        save_weights(study.model_file(source, SMALL), weights.state, Preprocessing())
    return study


def test_only_the_source_beside_the_grid_is_trained(study):
    grid = transfer.transfer(study, TASK)
    found = matched_labels(study)
    assert found.computed == 2 * 2 * 2, "frozen and top on two folds, of one source and of random weights"
    assert found.reused == 2 * 2 * 2
    again = matched_labels(study)
    assert again.computed == 0
    pd.testing.assert_frame_equal(found.table, again.table)
    assert transfer.transfer(study, TASK).computed == 0
    runs = grid.runs
    for source, column in zip(FIRST, ("auc_a", "auc_b"), strict=True):
        stored = [
            roc_auc_score(part["label"], part["score"])
            for _, part in grid.predictions[
                grid.predictions["run"].isin(runs.loc[runs["source"] == source, "run"])
            ].groupby("run")
        ]
        assert found.table.iloc[0][column] == pytest.approx(np.mean(stored), abs=1e-6)


def test_table_holds_every_pair_and_no_mean_of_one_task(study):
    table = matched_labels(study).table
    assert list(table) == [*MATCHED.names[:13], WITHDRAWN, *MATCHED.names[13:]]
    pairs = list(zip(table["task"], table["source_a"], table["source_b"], strict=True))
    beside = [(source, "random") for source in FIRST]
    assert pairs == [(TASK, *pair) for pair in (FIRST, LEFT, ADDED, *beside)]
    whole, left, added = table["delta"].iloc[:3]
    assert whole == pytest.approx(left + added), "the three differences are of the same runs"
    MATCHED.write(study, table)
    assert list(MATCHED.read(study)) == list(table)
    lines = [line for panel in matched_figure(study, table).axes for line in panel.lines]
    drawn = {tuple(np.round(line.get_xdata(), 9)) for line in lines if len(line.get_xdata()) == 2}
    for _, row in table.iterrows():
        assert (round(row["ci_low"], 9), round(row["ci_high"], 9)) in drawn
    found = matched_findings(study, table)
    assert len(found) == 5 and all(
        one.subject.endswith(": Breast US (over patients, of these weights)") for one in found
    )


def test_sources_keep_the_colours_that_they_have_in_the_study(study):
    table = matched_labels(study).table.assign(delta=-0.1, ci_low=-0.2, ci_high=-0.05, p_holm=0.001)
    panels = matched_figure(study, table).axes
    for panel, behind, ahead in zip(panels, table["source_a"], table["source_b"], strict=True):
        (mark,) = [line for line in panel.lines if line.get_marker() == "o"]
        assert mark.get_color() == source_colours(study)[ahead] != source_colours(study)[behind]
    assert study_of_matched(study).sources != study.sources


def test_part_of_the_study_holds_its_settings_alone(study):
    settings = [
        Setting(train="frozen", lr=0.01),
        Setting(train="top10", lr=0.001, backbones=["resnet50"]),
        Setting(train="all", lr=0.001),
    ]
    changed = study.transfer.model_copy(update={"settings": settings})
    within = study_of_matched(study.model_copy(update={"transfer": changed}))
    assert {(run.train, run.backbone) for run in within.runs_of(TASK)} == {("frozen", SMALL)}
    assert within.store_dir == study.store_dir and within.seed == study.seed


# The share that is left -------------------------------------------------------------------------------------
def fabricated_pairs(tmp_path, seeds: list[int], strength: dict[str, float]):
    """Two tasks; radiology less random numbers is to be explained, photographs less these is what is left."""
    tasks, pairs = ("thyroid_us", "breast_us"), [["radiology", "random"], ["photographs", "random"]]
    part = {
        "sources": ["radiology", "photographs", "random"], "backbones": ["resnet50"], "tasks": list(tasks),
        "train": ["frozen"], "pairs": pairs,
    }  # fmt: skip
    compare = {"pairs": pairs, "headline": pairs[0], "resamples": 1000}
    study = make_study(tmp_path, tasks, matched_labels=part, compare=compare)
    study = study.model_copy(update={"transfer": study.transfer.model_copy(update={"seeds": seeds})})
    fabricate(study, strength, patients=60)
    results = load_results(study)
    table = pd.DataFrame(with_shares(study, compare_sources(study, results)))
    return study, results, table[table["task"] != MEAN], table[table["task"] == MEAN]


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2, 3, 4]])
def test_share_is_of_the_very_draws_of_the_intervals(tmp_path, seeds):
    study, results, table, overall = fabricated_pairs(
        tmp_path, seeds, {"radiology": 1.5, "photographs": 1.0, "random": 0.2}
    )
    assert set(table["resampled"]) == {PATIENTS if len(seeds) == 1 else BOTH}
    drawn = {}
    for row in table.to_dict("records"):  # the bootstrap of a task and pair, made once more
        pair = row["source_a"], row["source_b"]
        sides = paired_runs(results.of_task(row["task"]), pair)
        settings = settings_by_fold(sides[0]) if len(seeds) > 1 else None
        a, b = (results.scores(row["task"], runs) for runs in sides)
        drawn[row["task"], pair[0]] = bootstrap_pair(study, row["task"], pair, a, b, settings)
        if pair[0] == "photographs":
            left, whole = (drawn[row["task"], source] for source in ("photographs", "radiology"))
            assert tuple(row[name] for name in SHARE) == left.share_of(whole, 0.95)
    assert table.loc[table["source_a"] == "radiology", list(SHARE)].isna().all(axis=None)
    whole, left = overall.iloc[0], overall.iloc[1]
    assert left["share"] == pytest.approx(left["delta"] / whole["delta"])
    assert left["share_low"] < left["share"] < left["share_high"] < 1


@pytest.mark.parametrize("counting", [["thyroid_us", "breast_us"], ["breast_us"], []])
def test_means_are_of_the_tasks_that_count(tmp_path, counting):
    strength = {"radiology": 1.5, "photographs": 1.0, "random": 0.2}
    study, results, every, _ = fabricated_pairs(tmp_path, [0], strength)
    rows = with_shares(study, compare_sources(study, results, counting=counting), counting)
    table = MATCHED.frame(rows, study)
    own = table[table["task"] != MEAN]
    assert own["delta"].tolist() == every["delta"].tolist()
    assert own["share"].tolist() == pytest.approx(every["share"].tolist(), nan_ok=True)
    left_out = own["task"][own["counts"] == "no"] if "counts" in own else own["task"][:0]
    assert set(left_out) == {"thyroid_us", "breast_us"} - set(counting)
    assert (MEAN in set(table["task"])) == (len(counting) == 2), "a mean of one task is no mean"
    about = {one.subject.split(": ")[1] for one in matched_findings(study, table)}
    end = " (over patients, of these weights)"
    flagged = {f"{title} (does not count){end}" for title in ("Thyroid US", "Breast US")}
    assert about == {2: {MEAN + end}, 1: {f"Breast US{end}"}, 0: flagged}[len(counting)]


def test_draws_of_both_differences_are_of_the_same_patients(tmp_path):
    """Against one bootstrap of the three sources at once."""
    study, results, table, overall = fabricated_pairs(
        tmp_path, [0], {"radiology": 1.5, "photographs": 1.0, "random": 0.2}
    )
    parts, wholes = [], []
    for task, rows in table.groupby("task", sort=False):
        runs = results.of_task(task).sort_values(RUN)
        folds = {s: results.scores(task, runs[runs["source"] == s]) for s in study.sources}
        found = bootstrap_mean_auc(folds, 1000, seed_of(study.seed, "bootstrap", task))
        of = {source: one.replicates for source, one in found.items()}
        wholes.append(of["radiology"] - of["random"])
        parts.append(of["photographs"] - of["random"])
        low, high = Estimate(0.0, parts[-1] / wholes[-1], 30, 2).interval(0.95)
        assert tuple(rows.iloc[1][list(SHARE[1:])]) == pytest.approx((low, high))
    low, high = Estimate(0.0, np.mean(parts, axis=0) / np.mean(wholes, axis=0), 30, 2).interval(0.95)
    assert tuple(overall.iloc[1][list(SHARE[1:])]) == pytest.approx((low, high))


def test_no_share_where_the_whole_is_not_shown(tmp_path):
    _, _, table, overall = fabricated_pairs(
        tmp_path, [0], {"radiology": 1.0, "photographs": 1.6, "random": 1.0}
    )
    assert overall.iloc[0]["ci_low"] < 0 < overall.iloc[0]["ci_high"]
    assert not set(SHARE) & set(overall) and list(overall["delta"].abs() > 0.02) == [False, True]
    assert overall[WITHDRAWN].fillna("").tolist() == [
        "",
        "random weights may reach as much as Simulated radiology",
    ]


def of_four_sources(root, strength: dict[str, float], pretraining=0.0, **changes):
    """A study whose `matched_labels` name three pretrained sources, and its finished runs; one network."""
    corpus = {"path": "radlib/simulate", "layout": "simulated_photographs"}
    corpora = {name: {**corpus, "title": name} for name in ("radiology", "photographs", "coarse")}
    part = {
        "sources": list(corpora), "backbones": ["resnet50"], "tasks": ["thyroid_us"],
        "train": ["frozen"], "pairs": [list(FIRST), list(LEFT)],
    }  # fmt: skip
    changes |= {"corpora": corpora, "sources": [*corpora, "random"], "matched_labels": part}
    whole = make_study(root, **changes)
    fabricate(study_of_matched(whole), strength, pretraining=pretraining)
    return whole


def share_left(root, strength: dict[str, float]) -> pd.Series:
    """The row of coarse − radiology, beside photographs − radiology."""
    study = study_of_matched(of_four_sources(root, strength))
    results = load_results(study)
    rows = MATCHED.frame(with_shares(study, compare_sources(study, results)))
    (row,) = of_pair(rows[rows["task"] != MEAN], LEFT).to_dict("records")
    return pd.Series(row)


@pytest.mark.parametrize(
    ("radiology", "photographs", "random", "expected"),
    [
        (1.0, 1.8, 0.2, None),
        (0.6, 1.8, 0.6, "random weights may reach as much as radiology"),
        (0.6, 1.8, 1.8, "random weights may reach as much as photographs"),
        (1.4, 1.4, 0.2, "the first difference is not shown"),
    ],
)
def test_share_is_withdrawn_where_random_weights_reach_as_much(
    tmp_path, radiology, photographs, random, expected
):
    strength = {"radiology": radiology, "photographs": photographs, "random": random}
    row = share_left(tmp_path, {**strength, "coarse": (radiology + photographs) / 2})
    assert row.get(WITHDRAWN) == expected and np.isnan(row["share"]) == (expected is not None)
    if expected is None:
        assert 0 < row["share_low"] < row["share"] < row["share_high"]


def test_several_pretrainings_all_take_part_and_have_an_interval_of_their_own(tmp_path, monkeypatch):
    strength = {"radiology": 0.8, "photographs": 1.6, "coarse": 1.2, "random": 0.2}
    three = {"size": 80, "epochs": 1, "replicates": 3}
    study = of_four_sources(tmp_path, strength, pretraining=0.3, pretrain=three)

    def stored(study, task):
        runs, predictions = read_results(study, task)
        return SimpleNamespace(runs=runs, predictions=predictions, computed=0, reused=len(runs))

    monkeypatch.setattr("radlib.questions.matched_labels.transfer", stored)
    found = matched_labels(study)
    assert (found.table["n_runs"] == 3 * 2 * 2).all(), "pretrainings, folds and learning rates"
    assert (found.sources[["pretrainings_a", "pretrainings_b"]] == 3).all(axis=None)
    assert len(found.sources) == 4
    pairs = ["source_a", "source_b"]
    assert set(found.sources["task"]) == set(found.table["task"]) == {"thyroid_us"}
    both = found.sources.merge(found.table, on=pairs, suffixes=("", "_these"))
    np.testing.assert_allclose(both["delta"], both["delta_these"])
    assert (both["ci_high"] - both["ci_low"] > both["ci_high_these"] - both["ci_low_these"]).all()


def test_differences_add_up_where_a_source_was_pretrained_once(tmp_path, monkeypatch):
    strength = {"radiology": 0.8, "photographs": 1.6, "coarse": 1.2, "random": 0.2}
    three = {"size": 80, "epochs": 1, "replicates": 3}
    study = of_four_sources(tmp_path, strength, pretraining=0.3, pretrain=three)
    once = study.corpora["photographs"].model_copy(update={"replicates": 1})
    part = study.matched_labels.model_copy(update={"pairs": [FIRST, LEFT, ADDED]})
    corpora = {**study.corpora, "photographs": once}
    study = study.model_copy(update={"corpora": corpora, "matched_labels": part})

    def stored(study, task):
        runs, predictions = read_results(study, task)
        return SimpleNamespace(runs=runs, predictions=predictions, computed=0, reused=len(runs))

    monkeypatch.setattr("radlib.questions.matched_labels.transfer", stored)
    found = matched_labels(study)
    first, left, added = (of_pair(found.table, pair)["delta"].iloc[0] for pair in (FIRST, LEFT, ADDED))
    assert first - left == pytest.approx(added)
    assert (found.table["n_runs"] == 2 * 2).all(), "one pretraining; folds and learning rates"
    assert of_pair(found.sources, LEFT)["pretrainings_b"].tolist() == [3]


@pytest.mark.parametrize(
    ("left", "share", "expected"),
    [
        ((0.05, 0.02, 0.08), (0.5, 0.19, 0.91), "higher; 50% (19% to 91%) of the first difference is left"),
        ((0.01, -0.02, 0.04), (0.1, -0.2, 0.4), "no difference shown; 10% (−20% to 40%) of the first"),
        ((-0.05, -0.08, -0.02), (-0.5, -0.9, -0.2), "lower; −50% (−90% to −20%) of the first"),
        (
            (0.05, 0.02, 0.08),
            NONE,
            "higher; no share of the first difference is given, for random weights may",
        ),
    ],
)
def test_finding_says_what_is_left(study, left, share, expected):
    row = dict(zip(["delta", "ci_low", "ci_high", *SHARE], [*left, *share], strict=True))
    why = "random weights may reach as much as radiology" if np.isnan(share[0]) else None
    table = pd.DataFrame([{"task": MEAN, "source_a": LEFT[0], "source_b": LEFT[1], WITHDRAWN: why, **row}])
    (found,) = matched_findings(study, table)
    assert found.verdict.startswith(expected) and (found.value, found.low, found.high) == left


@pytest.mark.parametrize(
    "p_holm, word",
    [(0.04, "lower"), (0.06, "no difference shown after correction (p = 0.060)"), (np.nan, "lower")],
)
def test_a_task_that_is_one_of_several_is_judged_after_holm(study, p_holm, word):
    row = {
        "task": "x",
        "source_a": LEFT[0],
        "source_b": LEFT[1],
        "delta": -0.1,
        "ci_low": -0.2,
        "ci_high": -0.01,
    }
    row |= dict.fromkeys(SHARE, np.nan) | {"p_value": 0.03, "p_holm": p_holm}
    (found,) = matched_findings(study, pd.DataFrame([row]))
    assert found.verdict == word
    assert difference_mark(study, row)["filled"] == (word == "lower"), (
        "the figure shows what the finding says"
    )


def test_no_verdict_where_runs_diverged(study):
    found = matched_labels(study)
    assert "diverged" not in found.table
    transferred = transfer.transfer(study_of_matched(study), TASK)
    lost = transferred.runs["run"][transferred.runs["source"] == "coarse"].iloc[0]

    def with_one_lost(*_):
        return replace(transferred, runs=transferred.runs.assign(diverged=transferred.runs["run"] == lost))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("radlib.questions.matched_labels.transfer", with_one_lost)
        table = matched_labels(study).table
    said = "1 of 4 runs of coarse diverged"
    assert list(table["diverged"].fillna("")) == ["", said, said, "", ""]
    assert [f.verdict.startswith(f"no verdict: {said}") for f in matched_findings(study, table)] == [
        False, True, True, False, False,
    ]  # fmt: skip


def test_pair_to_be_explained_comes_first():
    two = ("shuffled", "radiology")
    part = MatchedLabels(
        sources=["photographs", "radiology", "coarse", "shuffled"], backbones=["x"], tasks=["y"],
        pairs=[FIRST, ADDED, LEFT, two],
    )  # fmt: skip
    assert pairs_left(part) == (FIRST, [LEFT, two])


def test_a_section_is_whole_or_empty(tmp_path):
    assert MatchedLabels().sources == []
    with pytest.raises(ValueError, match="give all of sources, backbones, tasks, train and pairs, or none"):
        MatchedLabels(sources=["radiology"])
    with pytest.raises(ValueError, match="pairs name 'moon', which is not among its sources"):
        MatchedLabels(sources=["radiology"], backbones=["x"], tasks=["y"], pairs=[("radiology", "moon")])
    part = {"sources": ["moon", "radiology"], "backbones": ["resnet50"], "tasks": ["thyroid_us"]}
    part["pairs"] = [["moon", "radiology"]]
    with pytest.raises(UserError, match="'matched_labels.sources.0': names 'moon'; allowed: radiology"):
        make_study(tmp_path, matched_labels=part)
