"""Tasks of more than two classes, from the published file to the tables; what is of two leaves them out."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from radlib.data.prepare import prepare
from radlib.errors import UserError
from radlib.networks.features import Features
from radlib.questions import calibration, shortcuts
from radlib.questions.auc import show
from radlib.questions.auc.compute import AUC, OVERALL, compare_sources
from radlib.questions.auc.next_study import next_study
from radlib.questions.auc.sources import SOURCES, claim_of
from radlib.questions.external import EXTERNAL, compare_external
from radlib.questions.ranking import draw_tasks, rank_table
from radlib.study import load_study
from radlib.study.datasets import Task
from radlib.training.probes import TEMPERATURE, LogisticProbe, NeighbourProbe
from radlib.training.results import load_results
from radlib.training.transfer import probabilities, transfer
from tests.conftest import REPOSITORY

CLASSES = ["normal", "acl_tear", "meniscal_tear"]
TASK = {"layout": "simulated_task", "path": "radlib/simulate", "title": "Knee MRI", "size": 32}


def knee(patients: int, **more) -> Task:
    options = {"application": "knee_mri", "patients": patients, "slices": 2, **more.pop("options", {})}
    return Task(**{"folds": 1, **TASK, **more}, classes=CLASSES, options=options)


@pytest.fixture
def study(small_study):
    """Three classes, an external set of the same, and scores by patient."""
    tasks = {
        "knee": knee(48, folds=2, external="elsewhere", score="patient_mean"),
        "elsewhere": knee(24, options={"hospital": "same", "slices": 1}),
    }
    changes = {"tasks": tasks, "sources": ["random", "random_2"]}
    compare = small_study.compare.model_copy(
        update={"pairs": [("random", "random_2")], "headline": ("random", "random_2"), "resamples": 1000}
    )
    settings = small_study.transfer.model_copy(
        update={"views": 1, "settings": small_study.transfer.settings[::2]}
    )
    return small_study.model_copy(update={**changes, "compare": compare, "transfer": settings})


def test_three_classes_go_through_training_and_every_question(study):
    for name in study.tasks:
        prepare(study, name)
    done = transfer(study, "knee", save=True)
    assert {"score_0", "score_1", "score_2"} <= set(done.predictions) and "score" not in done.predictions
    assert done.localisation.empty and "val_threshold" not in done.runs
    scores = done.predictions[["score_0", "score_1", "score_2"]]
    assert np.allclose(scores.sum(axis=1), 1) and set(done.predictions["label"]) == {0, 1, 2}
    for _, run in done.runs.iterrows():
        some = done.predictions[(done.predictions["run"] == run["run"]) & ~done.predictions["external"]]
        means = some.groupby("patient_id")[["label", "score_0", "score_1", "score_2"]].mean()
        by_hand = roc_auc_score(
            means["label"], means.filter(like="score_"), multi_class="ovr", average="macro"
        )
        assert run["test_auc"] == pytest.approx(by_hand)
    results = load_results(study)
    assert (
        results.two_class_tasks == []
        and "macro-averaged over 3 classes; DeLong, ROC curves" in results.notes[0]
    )
    found = compare_sources(study, results)
    row = found.table.iloc[0]
    mean = results.runs.groupby("source")["test_auc"].mean()
    assert row["delta"] == pytest.approx(mean["random"] - mean["random_2"])
    assert row["ci_low"] <= row["delta"] <= row["ci_high"] and np.isnan(row["delong_p"])
    assert found.overall["n_positive"].isna().all(), "of several classes there is no number of positive ones"
    AUC.shown(study, found.table), OVERALL.shown(study, found.overall)
    assert found.overall["n_positive"].isna().all()
    assert "48 tested" in show.headline_sentence(study, claim_of(study, found.overall))
    assert next_study(study, results).empty
    show.auc_findings(study, found.table, found.overall, SOURCES.frame())
    assert show.roc_bands(study, results) == {}
    # What is of two classes leaves the task out.
    measured = calibration.measure(study, results)
    table = calibration.calibration_table(study, measured)
    assert measured == {} and table.empty and calibration.calibration_findings(study, table) == []
    calibration.CALIBRATION.shown(study, table)
    # What is asked of scores and AUC is asked of these, too.
    assert len(rank_table(study, draw_tasks(study, results)))
    assert shortcuts.compare_shortcuts(study, results).table["auc"].between(0, 1).all()
    outside = compare_external(study, results).table
    assert len(outside) == 1 and outside["n_patients"].iloc[0] == 24
    EXTERNAL.shown(study, outside)


def test_a_medmnist_set_of_four_classes_loads_as_published(small_study, tmp_path):
    """The publisher's arrays, numbers and split, as in BloodMNIST or PathMNIST."""
    rng, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 48), ("val", 16), ("test", 24)):
        labels = np.arange(count) % 4
        images = rng.integers(0, 90, (count, 28, 28, 3)) + 40 * labels[:, None, None, None]
        arrays |= {
            f"{part}_images": images.astype(np.uint8),
            f"{part}_labels": labels[:, None].astype(np.uint8),
        }
    np.savez(tmp_path / "bloodmnist.npz", **arrays)
    names = {str(k): name for k, name in enumerate(["basophil", "eosinophil", "lymphocyte", "monocyte"])}
    task = Task(
        layout="medmnist", path="bloodmnist.npz", title="BloodMNIST", size=28, colour=True, folds=1,
        classes=list(names.values()), options={"classes": names}, patients_certain=False,
    )  # fmt: skip
    settings = small_study.transfer.model_copy(
        update={"settings": small_study.transfer.settings[:1], "views": 1, "epochs": {"frozen": 3}}
    )
    study = small_study.model_copy(
        update={"tasks": {"blood": task}, "sources": ["random"], "transfer": settings}
    )
    packed = prepare(study, "blood")
    assert packed.meta["classes"] == list(names.values())
    assert packed.manifest["part_0"].value_counts().to_dict() == {"train": 48, "test": 24, "validation": 16}
    done = transfer(study, "blood")
    assert done.runs["test_auc"].iloc[0] > 0.8  # brightness tells them apart
    assert done.predictions.filter(like="score_").shape == (24, 4)


def test_probes_of_several_classes_are_scikit_learn_used_directly():
    rng = np.random.default_rng(3)
    labels = rng.permutation(np.arange(60) % 3)
    pooled = rng.normal(0, 1, (60, 8)) + np.eye(3, 8)[labels]
    features, train, test = (
        Features([torch.from_numpy(pooled).float()], None),
        np.arange(40),
        np.arange(40, 60),
    )
    logistic = LogisticProbe(features, None, 3)
    logistic.fit(train, labels[train], 0.3)
    direct = make_pipeline(StandardScaler(), LogisticRegression(C=0.3)).fit(pooled[train], labels[train])
    assert np.allclose(
        probabilities(logistic(test, None, None).detach()), direct.predict_proba(pooled[test]), atol=1e-4
    )
    neighbours = NeighbourProbe(features, 3)
    neighbours.fit(train, labels[train], 7)
    shares = np.bincount(labels[train]) / len(train)
    model = KNeighborsClassifier(7, metric="cosine", weights=lambda d: np.exp(-d / TEMPERATURE))
    model.fit(pooled[train], labels[train])
    weight = np.exp(-model.kneighbors(pooled[test])[0] / TEMPERATURE).sum(axis=1, keepdims=True)
    expected = (model.predict_proba(pooled[test]) * weight + shares) / (weight + 1)
    assert np.allclose(probabilities(neighbours(test, None, None)), expected, atol=1e-5)


def test_probabilities_are_a_softmax_and_never_tie_far_out():
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]])
    assert np.allclose(probabilities(logits), softmax(logits.double().numpy(), axis=1), atol=1e-12)
    far = probabilities(torch.tensor([[900.0, 0.0, -5.0], [800.0, 0.0, -5.0], [0.0, 900.0, 3.0]]))
    assert far[0, 0] > far[1, 0] > far[2, 0] and (far < 1).all()
    assert np.allclose(probabilities(torch.full((2, 4), np.nan)), 0.25)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"classes": ["a", "b"]}, "give three classes or more and neither negative nor positive"),
        (
            {"classes": ["a", "b", "c"], "negative": "a"},
            "give three classes or more and neither negative nor",
        ),
        ({"classes": ["a", "b", "b"]}, "holds 'b' twice"),
        ({"negative": "a"}, "name two classes, negative and positive, or three and more as classes"),
    ],
)
def test_classes_that_do_not_fit_are_refused(keys, message):
    with pytest.raises(UserError, match=message):
        load_study({"tasks.breast_us": {**TASK, **keys}}, REPOSITORY / "studies" / "smoke.yaml")


def test_questions_of_two_classes_refuse_the_task_before_anything_is_computed():
    asked = {"tasks.breast_us": {**TASK, "classes": CLASSES}}
    with pytest.raises(UserError, match="confounds.tasks names 'breast_us', which has more than two classes"):
        load_study(asked, REPOSITORY / "studies" / "smoke.yaml")


def test_a_part_that_lacks_one_of_several_classes_is_refused_with_the_data(small_study):
    study = small_study.model_copy(update={"tasks": {"knee": knee(4)}})
    with pytest.raises(UserError, match="dataset 'knee', fold 0: the .* part lacks a class"):
        prepare(study, "knee", save=False)


def test_an_image_of_no_class_is_named(small_study):
    task = knee(12).model_copy(update={"classes": ["normal", "acl_tear", "cyst"]})
    study = small_study.model_copy(update={"tasks": {"knee": task}})
    with pytest.raises(
        UserError, match="has the label 'meniscal_tear', which is neither 'normal' nor 'acl_tear' nor"
    ):
        prepare(study, "knee", save=False)
