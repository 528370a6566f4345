"""Scores by patient: every figure is that of pandas' own means (or maxima) over a patient's images."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from radlib.data.parts import with_parts
from radlib.errors import UserError
from radlib.networks.weights import load_weights
from radlib.questions.auc.compute import compare_sources
from radlib.stats.auc import by_patient
from radlib.stats.bootstrap import bootstrap_mean_auc
from radlib.stats.delong import delong_difference
from radlib.stats.folds import FoldScores
from radlib.training import transfer as module
from radlib.training.results import load_results
from radlib.training.transfer import transfer
from tests.conftest import SMALL, two_classes, write_packed
from tests.fabricated import fabricate, make_study, read_results, write_results

TASK, HOW = "thyroid_us", ["mean", "max"]
HEADLINE = ("radiology", "photographs")


def by_pandas(table: pd.DataFrame, how: str) -> pd.DataFrame:
    return table.groupby("patient_id", as_index=False).agg(label=("label", "first"), score=("score", how))


def auc_by_pandas(table: pd.DataFrame, how: str) -> float:
    one = by_pandas(table, how)
    return roc_auc_score(one["label"], one["score"])


def drawn(seed: int, patients: int = 24) -> pd.DataFrame:
    """One to five images a patient, not in the patients' order; coarse scores, so that there are ties."""
    rng = np.random.default_rng(seed)
    patient = rng.permutation(np.repeat(np.arange(patients), rng.integers(1, 6, patients)))
    score = (0.8 * (patient % 2) + rng.normal(0, 1, len(patient))).round(1)
    names = np.array([f"p{p:02d}" for p in patient])
    return pd.DataFrame({"patient_id": names, "label": patient % 2, "score": score})


def as_fold(a: pd.DataFrame, b: pd.DataFrame, how: str | None = None) -> list[FoldScores]:
    sides = []
    for table in (a, b):
        scores, labels, names = (table[c].to_numpy() for c in ("score", "label", "patient_id"))
        if how:
            scores, labels, names = by_patient(scores[np.newaxis], labels, names, how)
        sides.append(FoldScores(labels, names, np.atleast_2d(scores)))
    return sides


@pytest.mark.parametrize("how", HOW)
def test_auc_of_patients_is_that_of_pandas_means_by_scikit_learn(how):
    table = drawn(0)
    scores, labels, names = by_patient(
        table[["score"]].to_numpy().T, table["label"], table["patient_id"], how
    )
    expected = by_pandas(table, how)
    assert list(names) == list(expected["patient_id"])
    assert np.allclose(scores[0], expected["score"], rtol=1e-12)
    fold = FoldScores(labels, names, scores)
    found = bootstrap_mean_auc({"a": [fold]}, 100, seed=0)["a"].value
    assert found == pytest.approx(roc_auc_score(expected["label"], expected["score"].round(12)), abs=1e-12)


def test_several_runs_and_classes_are_combined_alike():
    rng = np.random.default_rng(1)
    scores, patients = rng.random((3, 20, 4)), np.repeat(list("abcde"), 4)
    found, labels, names = by_patient(scores, np.repeat([0, 1, 2, 3, 0], 4), patients, "mean")
    assert np.allclose(found, scores.reshape(3, 5, 4, 4).mean(axis=2))
    assert labels.tolist() == [0, 1, 2, 3, 0] and list(names) == list("abcde")


@pytest.mark.parametrize("how", HOW)
def test_delong_of_patients_is_the_textbook_variance_of_combined_scores(how):
    a = drawn(2)
    b = a.assign(score=(0.3 * a["label"] + np.random.default_rng(3).normal(0, 1, len(a))).round(1))
    found = delong_difference(*([side] for side in as_fold(a, b, how)))
    # DeLong et al. 1988 with loops over pairs of patients.
    components = []
    for table in (a, b):
        one = by_pandas(table, how)
        positive, negative = (one.loc[one["label"] == y, "score"].to_numpy().round(12) for y in (1, 0))
        wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
        components.append((wins.mean(axis=1), wins.mean(axis=0)))
    delta = components[0][0].mean() - components[1][0].mean()
    variance = sum(np.var(x - y, ddof=1) / len(x) for x, y in zip(*components, strict=True))
    assert found.delta == pytest.approx(delta, abs=1e-12) and found.se == pytest.approx(variance**0.5)
    assert found.p_value == pytest.approx(2 * norm.sf(abs(delta) / variance**0.5))


def test_a_patient_with_two_labels_is_named():
    with pytest.raises(ValueError, match="patient p1 has images of two labels.*label of the exam"):
        by_patient([[0.1, 0.2, 0.3]], [0, 0, 1], ["p0", "p1", "p1"], "mean")


# The study ------------------------------------------------------------------------------------------------
def patient_study(root, how: str):
    """Fabricated image scores of a task that is compared by patient, as 04_transfer would leave them."""
    study = make_study(root)
    fabricate(study, {"radiology": 1.2, "photographs": 0.8, "random": 0.2})
    tasks = {TASK: study.tasks[TASK].model_copy(update={"score": f"patient_{how}"})}
    study = study.model_copy(update={"tasks": tasks})
    runs, rows = read_results(study, TASK)
    aucs = {run: auc_by_pandas(some, how) for run, some in rows.groupby("run")}
    write_results(study, TASK, runs.assign(test_auc=runs["run"].map(aucs)), rows)
    return study


@pytest.mark.parametrize("how", HOW)
def test_differences_of_sources_are_a_simple_loop_over_patients(tmp_path, how):
    study = patient_study(tmp_path, how)
    results = load_results(study)
    row = compare_sources(study, results).table.iloc[0]
    runs, rows = read_results(study, TASK)
    kept = rows.merge(runs[["run", "source"]], on="run")
    mean = {}
    for source in HEADLINE:
        some = kept[kept["source"] == source]
        aucs = [
            roc_auc_score(*by_pandas(s, how)[["label", "score"]].to_numpy().T) for _, s in some.groupby("run")
        ]
        mean[source] = np.mean(aucs)
    assert row["auc_a"] == pytest.approx(mean["radiology"]) and row["auc_b"] == pytest.approx(
        mean["photographs"]
    )
    assert row["n_images"] == row["n_patients"] == 80


def test_the_bootstrap_of_patients_is_a_simple_loop(tmp_path):
    results = load_results(patient_study(tmp_path, "mean"))
    runs = results.of_task(TASK).query("train == 'all'")
    sides = {s: results.scores(TASK, runs[runs["source"] == s]) for s in HEADLINE}
    found = bootstrap_mean_auc(sides, 40, seed=3)
    draws = []  # of each fold: draw the patients of either class, and take their one score along
    for number, fold in enumerate(sides["radiology"]):
        of_class = []
        for stratum, label in enumerate((1, 0)):
            own, rng = np.flatnonzero(fold.labels == label), np.random.default_rng([3, number, stratum])
            of_class.append(own[rng.integers(len(own), size=(40, len(own)), dtype=np.int32)])
        draws.append(np.concatenate(of_class, axis=1))
    for source, folds in sides.items():
        loop = [
            np.mean(
                [
                    roc_auc_score(fold.labels[rows[i]], fold.scores[0][rows[i]])
                    for fold, rows in zip(folds, draws, strict=True)
                ]
            )
            for i in range(40)
        ]
        assert np.allclose(found[source].replicates, loop)


def test_a_patient_keeps_the_score_of_the_images_that_are_left(tmp_path):
    study = patient_study(tmp_path, "mean")
    part = load_results(study).predictions[TASK][0]
    left = part.without(part.image_ids[:1])
    before, after = (one.of(list(one.runs[:1])) for one in (part, left))
    assert len(after.labels) == len(before.labels)
    first = part.patients[0]
    of_first = part.scores[0][(part.patients == first) & (part.image_ids != part.image_ids[0])].mean()
    assert after.scores[0][after.patients == first] == pytest.approx(of_first)


def test_images_of_two_classes_in_one_exam_are_refused_before_anything_is_trained(tmp_path):
    study = patient_study(tmp_path, "mean")
    manifest = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(40)], "patient_id": [f"p{i // 2:02d}" for i in range(40)],
            "label": [i // 2 % 2 for i in range(39)] + [0], "has_mask": False,
        }
    )  # fmt: skip
    manifest["class_name"] = manifest["label"].map({0: "benign", 1: "malignant"})
    with pytest.raises(UserError, match="'thyroid_us' is scored by patient, but patient p19 has images of"):
        with_parts(study, TASK, manifest, [None] * 40, manifest["patient_id"])


@pytest.mark.parametrize("how", HOW)
def test_training_chooses_and_measures_by_what_is_compared(small_study, monkeypatch, how):
    """03 shows the very numbers that 04 reads; an image score is stored as it was."""
    tasks = {"breast_us": small_study.tasks["breast_us"].model_copy(update={"score": f"patient_{how}"})}
    transfer_of = small_study.transfer.model_copy(
        update={"settings": small_study.transfer.settings[:1], "views": 1}
    )
    study = small_study.model_copy(update={"tasks": tasks, "transfer": transfer_of, "sources": ["random"]})
    images, manifest = two_classes(60, 32, 2)
    write_packed(study.dataset_dir("breast_us"), images, manifest)
    by_image = study.model_copy(update={"tasks": {"breast_us": small_study.tasks["breast_us"]}})
    done = transfer(study, "breast_us", save=True)
    plain = transfer(by_image, "breast_us")
    assert done.computed == plain.computed == len(done.runs)  # other figures, so other runs of the store
    assert np.array_equal(done.predictions["score"], plain.predictions["score"])
    for _, run in done.runs.iterrows():
        some = done.predictions[done.predictions["run"] == run["run"]]
        one = by_pandas(some, how)
        assert run["test_auc"] == pytest.approx(roc_auc_score(one["label"], one["score"]))
    results = load_results(study)
    fold = results.scores("breast_us", results.runs)[0]
    assert len(np.unique(fold.patients)) == len(fold.labels)
    # val_auc, by which a setting is chosen, is of patients, too.
    packed = module.open_packed(study.dataset_dir("breast_us"))
    weights = load_weights(study, "random", SMALL)
    group = module.TransferGroup(study, "breast_us", packed, weights, lambda done: None)
    validation = np.flatnonzero(manifest["part_0"] == "validation")
    logits = module.torch.linspace(-2, 2, len(validation)) ** 3
    labels = manifest["label"].to_numpy()[validation]
    table = manifest.iloc[validation].assign(score=1 / (1 + np.exp(-logits.double().numpy())))
    one = by_pandas(table, how)
    said = group.figures(logits, module.torch.from_numpy(labels).float(), validation)
    assert said["val_auc"] == pytest.approx(roc_auc_score(one["label"], one["score"]))


@pytest.mark.parametrize("score", [0.1, 0.7, 1 / 3, 1e-9])
def test_means_of_equal_scores_are_equal_however_many_images_a_patient_has(score):
    """Their sums are rounded differently, and ranks of means that are nearly equal would be decided by it."""
    images = np.repeat(np.arange(40), np.arange(1, 41))
    scores, labels, _ = by_patient(np.full((1, len(images)), score), images % 2, images, "mean")
    assert len(np.unique(scores)) == 1 and roc_auc_score(labels, scores[0]) == 0.5
    assert scores[0, 0] == pytest.approx(score, rel=1e-12)
