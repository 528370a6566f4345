"""Logistic and nearest-neighbour probes: scikit-learn used directly on the same rows says the same."""

import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from radlib.data.images import open_packed
from radlib.errors import UserError
from radlib.networks.features import Features, features_of
from radlib.networks.weights import load_weights
from radlib.study import load_study
from radlib.study.questions import LabelEfficiency
from radlib.study.training import Setting, Transfer
from radlib.training import transfer
from radlib.training.partial import trained
from radlib.training.probes import NeighbourProbe
from radlib.training.results import load_regimes, load_results
from tests.conftest import REPOSITORY, SMALL, two_classes, write_packed

TASK = "breast_us"
OPTIONS = {"strengths": [1e-4, 0.01, 1.0], "neighbours": [1, 5, 20]}
SETTINGS = [Setting(train="logistic"), Setting(train="knn")]


@pytest.fixture
def study(small_study):
    """One task of 120 images with a weak signal; two trainings of what trains."""
    options = small_study.transfer.model_copy(update={"settings": SETTINGS, "seeds": [0, 1], **OPTIONS})
    study = small_study.model_copy(update={"sources": ["random"], "transfer": options})
    write_packed(study.dataset_dir(TASK), *two_classes(120, 32, folds=2, signal=14))
    return study


def parts_of(study, fold):
    """Features of the images themselves and labels of the training, validation and test part."""
    packed = open_packed(study.dataset_dir(TASK))
    weights = load_weights(study, "random", SMALL)
    found = features_of(packed, weights, 32, "full", 1, False, study.store_dir, mapped=np.zeros(0, dtype=int))
    part, labels = packed.manifest[f"part_{fold}"].to_numpy(), packed.manifest["label"].to_numpy()
    rows = [part == name for name in ("train", "validation", "test")]
    pooled = found.pooled[0].double().numpy()
    return [(pooled[some], labels[some]) for some in rows]


def voted(model: KNeighborsClassifier, features, share: float) -> np.ndarray:
    """The vote of the neighbours that scikit-learn finds, and one more for the share of positives."""
    weight = model.weights(model.kneighbors(features)[0]).sum(axis=1)
    return (model.predict_proba(features)[:, 1] * weight + share) / (weight + 1)


def test_probes_are_scikit_learn_used_directly(study, processor):
    result = transfer.transfer(study, TASK)
    assert len(result.runs) == 2 * 2, "a probe draws nothing, so it has one seed"
    for run in result.runs.to_dict("records"):
        (x, y), (x_val, y_val), (x_test, y_test) = parts_of(study, run["fold"])
        if run["train"] == "logistic":
            models = {
                c: make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=10_000)).fit(x, y)
                for c in OPTIONS["strengths"]
            }
            scores = {c: lambda some, m=m: m.predict_proba(some)[:, 1] for c, m in models.items()}
        else:
            models = {
                k: KNeighborsClassifier(k, metric="cosine", weights=lambda d: np.exp(-d / 0.07)).fit(x, y)
                for k in OPTIONS["neighbours"]
            }
            share = y.mean()
            scores = {k: lambda some, m=m, s=share: voted(m, some, s) for k, m in models.items()}
        losses = {choice: log_loss(y_val, score(x_val)) for choice, score in scores.items()}
        assert run["choice"] == min(losses, key=losses.get)
        assert run["val_loss"] == pytest.approx(min(losses.values()), abs=1e-5)
        found = result.predictions[result.predictions["run"] == run["run"]].sort_values("image_id")
        expected = scores[run["choice"]](x_test)
        np.testing.assert_allclose(found["score"], expected, atol=1e-5)
        assert run["test_auc"] == pytest.approx(roc_auc_score(y_test, expected), abs=1e-3)
        assert found["score"].nunique() == len(found), "no ties"
    tried = result.history.merge(result.runs[["run", "train"]]).groupby("train")["choice"].unique()
    assert tried.map(list).to_dict() == {"logistic": OPTIONS["strengths"], "knn": OPTIONS["neighbours"]}


def test_probes_make_no_second_pass_and_read_the_unaugmented_view(study, monkeypatch):
    transfer.transfer(study, TASK)
    assert len(list((study.store_dir / "features").iterdir())) == 1, "one view of one network"
    monkeypatch.setattr("radlib.networks.features._write", None)
    fewer = study.model_copy(update={"transfer": study.transfer.model_copy(update={"strengths": [0.5]})})
    changed = transfer.transfer(fewer, TASK)
    assert (changed.computed, changed.reused) == (2, 2), "knn does not depend on strengths"
    trained = study.transfer.model_copy(update={"dropout": 0.1, "batch_size": 8})
    assert transfer.transfer(study.model_copy(update={"transfer": trained}), TASK).computed == 0


def test_means_over_settings_take_no_probe(study):
    frozen = Setting(train="frozen", lr=0.01)
    options = study.transfer.model_copy(update={"settings": [*SETTINGS, frozen]})
    both = study.model_copy(update={"transfer": options, "tasks": {TASK: study.tasks[TASK]}})
    assert options.averaged == ("frozen",) and study.transfer.averaged == ("logistic",)
    transfer.transfer(both, TASK, save=True)
    assert set(load_results(both).runs["train"]) == {"frozen"}
    assert {probe: set(found.runs["train"]) for probe, found in load_regimes(both).items()} == {
        "logistic": {"logistic"}, "knn": {"knn"},
    }  # fmt: skip
    alone = both.model_copy(update={"transfer": study.transfer})
    assert set(load_results(alone).runs["train"]) == {"logistic"} and set(load_regimes(alone)) == {"knn"}


def test_features_that_are_no_numbers_count_as_diverged(study, monkeypatch):
    real = transfer.features_of
    broken = lambda *a, **k: Features([real(*a, **k).pooled[0] * torch.nan], None, mapped=k["mapped"])  # noqa: E731
    monkeypatch.setattr(transfer, "features_of", broken)
    result = transfer.transfer(study, TASK)
    assert result.runs["diverged"].all() and (result.runs["test_auc"] == 0.5).all()
    assert (result.predictions["score"] == 0.5).all()


def test_parts_of_the_patients_are_learnt_from_by_the_logistic_probe_too(study):
    efficiency = LabelEfficiency(tasks=[TASK], train="logistic", fractions=[0.5, 1.0], repeats=3)
    results = trained(study.model_copy(update={"label_efficiency": efficiency}), TASK, [0.5, 1.0])
    assert set(results.runs["train"]) == {"logistic"} and len(results.runs) == 2 * (3 + 1)
    sizes = results.runs.groupby("fraction")["n_train"].mean()
    assert sizes[0.5] == pytest.approx(sizes[1.0] / 2, rel=0.1)


def test_one_class_in_training_is_refused(study):
    images, manifest = two_classes(120, 32, folds=2)
    manifest.loc[(manifest["part_1"] == "train") & (manifest["label"] == 1), "part_1"] = "validation"
    write_packed(study.dataset_dir(TASK), images, manifest)
    with pytest.raises(UserError, match="fold 1: all .* training images have the label 0"):
        transfer.transfer(study, TASK)


def test_neighbours_are_scikit_learns_and_a_batch_copies_no_training_part():
    rng = np.random.default_rng(0)
    pooled, labels, train = rng.normal(size=(3000, 256)), rng.integers(0, 2, 2900), np.arange(2900)
    probe = NeighbourProbe(Features([torch.from_numpy(pooled)], None))
    probe.fit(train, labels, 20)
    tracemalloc.start()
    score = torch.sigmoid(probe(np.arange(2900, 2964), None, None)).numpy()
    assert tracemalloc.get_traced_memory()[1] < pooled[:2900].nbytes
    tracemalloc.stop()
    model = KNeighborsClassifier(20, metric="cosine", weights=lambda d: np.exp(-d / 0.07))
    expected = voted(model.fit(pooled[:2900], labels), pooled[2900:2964], labels.mean())
    np.testing.assert_allclose(score, expected, rtol=1e-12)


def test_fewer_training_images_than_neighbours():
    probe = NeighbourProbe(Features([torch.eye(4)], None))
    assert probe.choices(Transfer(settings=SETTINGS, neighbours=[1, 3, 9]), np.arange(4)) == [1, 3]
    assert probe.choices(Transfer(settings=SETTINGS, neighbours=[9]), np.arange(4)) == [4]


@pytest.mark.parametrize(
    "setting, message",
    [
        ({"train": "logistic", "lr": 0.1}, "'logistic' has no learning rate; leave lr out"),
        ({"train": "frozen"}, "'frozen' needs a learning rate above 0"),
    ],
)
def test_rates_stand_where_they_are_used(setting, message):
    with pytest.raises(UserError, match=message):
        load_study({"transfer.settings": [setting]}, path=REPOSITORY / "studies" / "smoke.yaml")
