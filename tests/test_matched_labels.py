"""Sources beside the grid: which runs are made and which reused, and what the sentence may say."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from radlib import transfer
from radlib.comparisons.matched_labels import (
    ALL_TASKS,
    COLUMNS,
    matched_labels,
    read_table,
    save_table,
    study_of_matched,
    table_of,
)
from radlib.errors import UserError
from radlib.networks.weights import Preprocessing, load_weights, save_weights
from radlib.plots.matched_labels import matched_figure
from radlib.sections.comparisons import MatchedLabels
from radlib.sections.training import Setting
from radlib.sentences.matched_labels import matched_lesson, matched_sentence, pair_roles
from tests.conftest import SMALL, two_classes, write_packed
from tests.fabricated import make_study

matplotlib.use("Agg")
TASK = "breast_us"
FIRST, LEFT, ADDED = ("photographs", "radiology"), ("coarse", "radiology"), ("photographs", "coarse")


@pytest.fixture
def study(small_study):
    """Radiology and photographs in the grid, coarser photographs beside it; all are random weights."""
    corpora = {**small_study.corpora, "coarse": small_study.corpora["photographs"]}
    part = MatchedLabels(
        sources=["photographs", "radiology", "coarse"], backbones=[SMALL], tasks=[TASK],
        train=["frozen", "top10"], pairs=[FIRST, LEFT, ADDED],
    )  # fmt: skip
    sources = ["radiology", "photographs"]
    settings = [Setting(train="frozen", lr=0.01), Setting(train="top10", lr=0.001)]
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
    assert found.computed == 2 * 2, "frozen and top10 on two folds, of one source"
    assert found.reused == 2 * 2 * 2
    again = matched_labels(study)
    assert again.computed == 0
    pd.testing.assert_frame_equal(table_of(found), table_of(again))
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


def test_table_holds_every_pair_and_the_mean_over_tasks(study):
    table = table_of(matched_labels(study))
    assert list(table) == COLUMNS
    pairs = list(zip(table["task"], table["source_a"], table["source_b"], strict=True))
    assert pairs == [(task, *pair) for task in (TASK, ALL_TASKS) for pair in (FIRST, LEFT, ADDED)]
    whole, left, added = table["delta"].iloc[:3]
    assert whole == pytest.approx(left + added), "the three differences are of the same runs"
    save_table(study, table)
    assert list(read_table(study)) == COLUMNS
    panel = matched_figure(study_of_matched(study), table).axes[0]
    drawn = {tuple(np.round(line.get_xdata(), 9)) for line in panel.lines if len(line.get_xdata()) == 2}
    for _, row in table.iterrows():
        assert (round(row["ci_low"], 9), round(row["ci_high"], 9)) in drawn
    said = matched_lesson(study, table)
    assert said[0].startswith("Over 1 task: ") and said[1].startswith("Breast US: ")


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


WORDS = [
    ((0.10, 0.08, 0.12), (0.05, 0.02, 0.08), "50% of the difference is left"),
    ((0.10, 0.08, 0.12), (0.01, -0.02, 0.04), "With matched labels **no difference is shown**"),
    ((0.10, 0.08, 0.12), (-0.05, -0.08, -0.02), "the difference turns round"),
    ((0.01, -0.02, 0.04), (0.05, 0.02, 0.08), "no difference is shown that labels could explain**. With"),
    ((0.01, -0.02, 0.04), (0.05, 0.02, 0.08), "With matched labels **one is shown**"),
]  # fmt: skip


@pytest.mark.parametrize(("whole", "left", "expected"), WORDS)
def test_sentence_says_what_is_left(study, whole, left, expected):
    added = (whole[0] - left[0], -0.01, 0.03)
    columns = ["source_a", "source_b", "n_tasks", "delta", "ci_low", "ci_high"]
    rows = [(*p, 5, *d) for p, d in zip((FIRST, LEFT, ADDED), (whole, left, added), strict=True)]
    said = matched_sentence(study, pd.DataFrame(rows, columns=columns))
    assert expected in said
    assert "That the finer labels matter is not shown" in said


def test_roles_follow_from_the_pairs():
    two = ("shuffled", "radiology")
    part = MatchedLabels(
        sources=["photographs", "radiology", "coarse", "shuffled"], backbones=["x"], tasks=["y"],
        pairs=[FIRST, ADDED, LEFT, two],
    )  # fmt: skip
    assert pair_roles(part) == (FIRST, [LEFT, two], [ADDED])


def test_a_section_is_whole_or_empty(tmp_path):
    assert MatchedLabels().sources == []
    with pytest.raises(ValueError, match="give all of sources, backbones, tasks, train and pairs, or none"):
        MatchedLabels(sources=["radiology"])
    with pytest.raises(ValueError, match="pairs name 'moon', which is not among its sources"):
        MatchedLabels(sources=["radiology"], backbones=["x"], tasks=["y"], pairs=[("radiology", "moon")])
    part = {"sources": ["moon"], "backbones": ["resnet50"], "tasks": ["thyroid_us"]}
    part["pairs"] = [["moon", "moon"]]
    with pytest.raises(UserError, match="matched_labels.sources names 'moon'; allowed: radiology"):
        make_study(tmp_path, matched_labels=part)
