"""Planted marks: which rows a probe learns from, what a source that sees the mark loses, what is claimed."""

from functools import cached_property

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from radlib.data.confounders import tag
from radlib.data.images import open_packed
from radlib.networks.features import Features
from radlib.networks.weights import Preprocessing, load_weights, save_weights
from radlib.questions.robustness import (
    ROBUSTNESS,
    drops_figure,
    pairs_at_most,
    planted_figure,
    reversal_figure,
    robustness,
    robustness_findings,
)
from radlib.study import load_study
from radlib.study.questions import Robustness
from radlib.study.training import Compute
from radlib.training.grid import carry_out
from radlib.training.planted import PlantedGroup, planted_runs
from tests.conftest import REPOSITORY, SMALL, two_classes, write_packed

TASK, PAIR, COUNT = "breast_us", ("radiology", "random"), 120
OPTIONS = Robustness(tasks=[TASK], confounders=["noise", "tag"], degrees=[0, 0.5, 1])


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def planted(study):
    """The smoke study with a task of 120 images in two folds, and two sources of random weights."""
    compare = study.compare.model_copy(update={"pairs": [PAIR], "headline": PAIR, "resamples": 1000})
    transfer = study.transfer.model_copy(update={"strengths": [0.01, 1.0]})
    changes = {"sources": list(PAIR), "compare": compare, "robustness": OPTIONS, "transfer": transfer}
    study = study.model_copy(update=changes)
    write_packed(study.dataset_dir(TASK), *two_classes(COUNT, 32, folds=2, signal=8.0))
    weights = load_weights(study.model_copy(update={"seed": 1}), "random", SMALL)
    save_weights(study.model_file("radiology", SMALL), weights.state, Preprocessing())
    return study


@pytest.fixture
def study(small_study):
    return planted(small_study)


class Known(PlantedGroup):
    """Ten features that tell the classes apart a little; source `radiology` sees the tag besides."""

    like = PlantedGroup

    @cached_property
    def features(self) -> Features:
        rows = len(self.packed.manifest)
        count = rows // 3
        labels = self.packed.manifest["label"].to_numpy()
        signal = (
            np.tile(np.random.default_rng(0).normal(size=(count, 10)), (3, 1)) + 0.5 * labels[:, np.newaxis]
        )
        tagged = (np.arange(rows) >= 2 * count) * (self.weights.source == "radiology")
        seen = np.repeat(3.0 * tagged[:, np.newaxis], 10, axis=1)
        return Features([torch.from_numpy(np.c_[signal, seen]).float()], None)


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> pd.DataFrame:
    root, alone = tmp_path_factory.mktemp("known"), Compute(workers=1)
    study = load_study(path=REPOSITORY / "studies" / "smoke.yaml")
    # With an external set, which plays no part here, and scores of patients, which do.
    task = study.tasks[TASK].model_copy(update={"score": "patient_mean", "external": "elsewhere"})
    changes = {"root": root, "compute": alone, "tasks": {TASK: task}}
    study = planted(study.model_copy(update=changes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("radlib.questions.robustness.PlantedGroup", Known)
        return robustness(study)[0]


def one(table: pd.DataFrame, confounder: str, source: str, other: str = "", degree: float = 1) -> pd.Series:
    same = (table["confounder"] == confounder) & (table["degree"] == degree)
    return table[same & (table["source_a"] == source) & (table["source_b"] == other)].squeeze()


def test_a_source_that_sees_the_mark_drops_to_0_and_a_blind_one_does_not_drop(known):
    seeing, blind = one(known, "tag", "radiology"), one(known, "tag", "random")
    assert seeing["auc"] < 0.02 and seeing["auc"] + seeing["delta"] > 0.7
    assert seeing["verdict"] == "leans on it"
    # The same features whatever is marked, and the same patients: nothing may change.
    blind = known[(known["source_a"] == "random") & (known["degree"] > 0)]
    assert (blind["delta"] == 0).all() and (blind["verdict"] == "no drop shown").all()
    pair = one(known, "tag", *PAIR)
    assert pair["delta"] == pytest.approx(seeing["delta"]) and pair["p_holm"] < 0.05
    assert pair["verdict"] == "Simulated radiology leans on it more"
    assert one(known, "noise", *PAIR)["verdict"] == "no difference shown"
    half = one(known, "tag", "radiology", degree=0.5)
    assert 0 < half["delta"] < seeing["delta"]


def test_an_auc_is_that_of_scikit_learn_on_the_rows_that_the_degree_picks(study):
    """One run, by hand: strength by log loss on validation, with the marks of training."""
    run = next(r for r in planted_runs(study, TASK) if (r.confounder, r.degree, r.fold) == ("tag", 0.5, 1))
    done = carry_out(study, TASK, [run], PlantedGroup, "one")
    group = PlantedGroup(
        study, TASK, PlantedGroup.opened(study, TASK), load_weights(study, run.source, SMALL), print
    )
    x, labels = group.features.pooled[0].double().numpy(), group.packed.manifest["label"].to_numpy()
    train, validation, test = group.parts(run)
    scaler, found = StandardScaler().fit(x[train]), {}
    for strength in study.transfer.strengths:
        model = LogisticRegression(C=strength, max_iter=5000).fit(scaler.transform(x[train]), labels[train])
        true = model.predict_log_proba(scaler.transform(x[validation]))[
            np.arange(len(validation)), labels[validation]
        ]
        found[-true.mean()] = roc_auc_score(labels[test], model.decision_function(scaler.transform(x[test])))
    assert done.runs["test_auc"].item() == pytest.approx(found[min(found)], abs=0.005)


def test_rows_are_those_of_the_run_with_and_without_the_mark(study):
    packed, plain = PlantedGroup.opened(study, TASK), open_packed(study.dataset_dir(TASK))
    weights = load_weights(study, "random", SMALL)
    group = PlantedGroup(study, TASK, packed, weights, print)
    runs = {
        r.degree: r
        for r in planted_runs(study, TASK)
        if (r.confounder, r.fold, r.source) == ("tag", 0, "random")
    }
    for degree, run in runs.items():
        for name, rows in zip(("train", "validation", "test"), group.parts(run), strict=True):
            own = np.flatnonzero(plain.manifest["part_0"] == name)
            np.testing.assert_array_equal(rows % COUNT, own)
            marked, labels = rows >= 2 * COUNT, plain.manifest["label"].to_numpy()[own]
            assert set(rows // COUNT) <= {0, 2}
            share = marked[labels == 1].mean() - marked[labels == 0].mean()
            assert share == pytest.approx(-1 if name == "test" else degree, abs=0.15)
            np.testing.assert_array_equal(
                packed.images[rows[-1:]][0],
                tag(plain.images[own[-1]]) if marked[-1] else plain.images[own[-1]],
            )
    assert np.array_equal(group.parts(runs[0])[2], group.parts(runs[1])[2])


def test_what_is_shown(study, known):
    assert list(known) == ROBUSTNESS.names
    assert len(planted_figure(study, TASK).axes) == 3
    figure = reversal_figure(study, known, TASK)
    assert [panel.get_title() for panel in figure.axes] == ["noise", "tag"]
    assert all(len(panel.lines) == 3 for panel in figure.axes)
    assert [text.get_text() for text in drops_figure(study, known).axes[0].get_yticklabels()] == [
        "Breast US, noise",
        "Breast US, tag",
    ]
    said = {
        finding.subject.split(", ")[2]: finding
        for finding in robustness_findings(study, known)
        if finding.subject.endswith(
            ": Simulated radiology − Random weights (over patients, of these weights)"
        )
    }
    assert all(f", {SMALL}: " in finding.subject for finding in said.values())
    assert said["tag"].verdict.startswith("Simulated radiology leans on it more; drops of 0.")
    assert said["noise"].verdict == "no difference shown; drops of 0.000 and 0.000"
    # Of a pair that is not the headline's only what is shown.
    compare = study.compare.model_copy(update={"headline": PAIR[::-1]})
    others = robustness_findings(study.model_copy(update={"compare": compare}), known)
    assert others == [said["tag"]]
    assert ROBUSTNESS.shown(study, known).index.names == ["task", "planted", "pair", "degree"]
    # Where a source has networks that the other lacks, its own drop is not of those that are compared.
    more = known.assign(n_backbones=known["n_backbones"] + (known["source_b"] == "") * 1)
    assert not any("drops of" in finding.verdict for finding in robustness_findings(study, more))
    assert pairs_at_most(known[known["source_b"] == ""]).empty


def test_a_study_without_the_question_has_an_empty_table(study):
    table, notes = robustness(study.model_copy(update={"robustness": Robustness()}))
    assert table.empty and not notes


@pytest.mark.parametrize("degrees", [[0.5, 1], [0, 1, 0.5], [0, 2]])
def test_degrees_start_at_0_and_ascend(degrees):
    with pytest.raises(ValueError, match="degrees must ascend from 0"):
        Robustness(degrees=degrees)


def test_the_studies_ask_it_of_tasks_that_they_have():
    for name in ("demo", "smoke", "open"):
        study = load_study(path=REPOSITORY / "studies" / f"{name}.yaml")
        assert study.robustness.tasks and study.similarity.tasks
