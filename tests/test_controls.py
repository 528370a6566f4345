"""Controls: what is shuffled and held out, that they pass where they should, and fail where they should."""

import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from radlib.data.images import open_packed
from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.features import Features
from radlib.networks.weights import Preprocessing, load_weights, save_weights
from radlib.questions import controls
from radlib.questions.controls import CONTROLS, NO_CONTROLS, control_findings, controls_box, controls_figure
from radlib.seeds import seed_of
from radlib.stats.estimate import students_interval
from radlib.study import load_study
from radlib.study.questions import Controls
from radlib.training import control_groups, transfer
from radlib.training.control_groups import held_out, permuted_labels
from radlib.training.grid import carry_out
from tests.conftest import REPOSITORY, SMALL, two_classes, write_packed

TASK, CORPUS = "breast_us", "radiology"
NEGATIVE = Controls(task=TASK, pairs=2, seeds=[0, 1, 2], epochs=6)


def four_classes(count: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Noise in four classes; two images a patient."""
    patients = np.repeat(np.arange(count // 2), 2)
    turn = (patients // 4) % 3
    manifest = pd.DataFrame(
        {
            "image_id": [f"image_{i:03d}" for i in range(count)],
            "patient_id": [f"patient_{p:03d}" for p in patients],
            "label": patients % 4,
            "class_name": [f"class_{p % 4}" for p in patients],
            "part_0": np.select([turn == 0, turn == 1], ["test", "validation"], "train"),
            "has_mask": False,
        }
    )
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    return images, manifest


def with_controls(study, given: Controls, **changes):
    return study.model_copy(update={"controls": given, **changes})


@pytest.fixture
def study(small_study):
    """A task of 80 images with a strong signal; both headline sources are random weights."""
    write_packed(small_study.dataset_dir(TASK), *two_classes(80, 32, folds=2))
    for number, source in enumerate(small_study.corpora):
        weights = load_weights(small_study.model_copy(update={"seed": number}), "random", SMALL)
        save_weights(small_study.model_file(source, SMALL), weights.state, Preprocessing())
    return with_controls(small_study, NEGATIVE)


# Shuffled labels, held-out images -------------------------------------------------------------------------


def test_labels_are_shuffled_among_patients_of_a_part_and_nowhere_else():
    _, manifest = two_classes(400, 8, folds=2)
    manifest.loc[manifest["patient_id"] == "patient_007", "label"] = [0, 1]
    shuffled = manifest.assign(label=permuted_labels(manifest, TASK, 1, seed=3))
    tested = manifest["part_1"] == "test"
    pd.testing.assert_frame_equal(shuffled[tested], manifest[tested])
    one = shuffled[~tested].groupby("patient_id")["label"].agg(["nunique", "max"])
    assert (one["nunique"] == 1).all()
    truth = manifest[~tested].groupby("patient_id")[["label", "part_1"]].max()
    for _, part in truth.groupby("part_1"):
        assert one.loc[part.index, "max"].sum() == part["label"].sum()
    same = (one["max"] == truth["label"]).mean()
    assert 0.4 < same < 0.6
    backwards = permuted_labels(manifest[::-1], TASK, 1, seed=3)[::-1]
    np.testing.assert_array_equal(backwards, shuffled["label"])
    assert (permuted_labels(manifest, TASK, 1, seed=4) != shuffled["label"]).any()


def test_a_part_of_one_class_cannot_be_shuffled():
    _, manifest = two_classes(80, 8, folds=1)
    manifest.loc[manifest["part_0"] == "validation", "label"] = 1
    with pytest.raises(
        UserError, match="'breast_us', fold 0: all 8 patients of the validation part have .* 1"
    ):
        permuted_labels(manifest, TASK, 0, seed=0)


def test_held_out_images_were_never_trained_on_and_keep_their_pixels(tmp_path):
    images, corpus = four_classes(240)
    write_packed(tmp_path / CORPUS, images, corpus)
    packed = open_packed(tmp_path / CORPUS)
    found = held_out(packed, CORPUS, train_patients=6, max_images=96, seed=1)
    original = corpus.set_index("image_id").loc[found.manifest["image_id"]]
    assert set(original["part_0"]) == {"validation", "test"}
    np.testing.assert_array_equal(
        found.images, images[original.index.map(corpus["image_id"].to_list().index)]
    )
    np.testing.assert_array_equal(found.manifest["label"], original["label"] >= 2)
    assert (found.manifest.groupby("patient_id")["part_0"].nunique() == 1).all()
    counts = found.manifest.assign(of=original["label"].to_numpy()).drop_duplicates("patient_id")
    counts = counts.groupby(["part_0", "of"]).size().unstack()
    assert (counts.loc[["train", "validation"]] == 3).all(axis=None)
    assert found.digest != packed.digest
    assert held_out(packed, CORPUS, 6, 96, seed=2).digest != found.digest


def test_a_corpus_that_holds_too_few_back_is_one_sentence(tmp_path):
    write_packed(tmp_path / CORPUS, *four_classes(80))
    with pytest.raises(
        UserError, match="keeps 14 patients of the first half .* needs 15 .5 to train"
    ) as caught:
        held_out(open_packed(tmp_path / CORPUS), CORPUS, train_patients=5, max_images=80, seed=0)
    assert "\n" not in str(caught.value)


def test_further_random_weights_are_new_and_the_first_stay_as_they_were(small_study):
    torch.manual_seed(seed_of(small_study.seed, "random", SMALL))
    expected = backbones.create(SMALL).state_dict()
    first, second = (load_weights(small_study, source, SMALL) for source in ("random", "random_2"))
    assert all(torch.equal(first.state[key], expected[key]) for key in expected)
    assert first.digest != second.digest and second.source == "random_2"
    assert load_weights(small_study, "random_2", SMALL).digest == second.digest


# What shuffled labels can notice, and what not -------------------------------------------------------------
def shared_patients() -> tuple[np.ndarray, pd.DataFrame]:
    """(240, 30) features that tell patients apart and not classes; of each of 60 patients one image is tested
    and one trains, as if nobody had split by patient. Of 60 more both images train.
    """
    patients = np.repeat(np.arange(120), 2)
    rng = np.random.default_rng(5)
    features = rng.normal(size=(120, 30))[patients] + rng.normal(0, 0.1, (240, 30))
    tested = (np.arange(240) % 2 == 0) & (patients < 60)
    kept = np.where((patients >= 60) & (patients % 10 == 0), "validation", "train")
    part = np.where(tested, "test", kept)
    ids = [f"patient_{p:03d}" for p in patients]
    return features, pd.DataFrame({"patient_id": ids, "label": patients // 2 % 2, "part_0": part})


def control_of(fit_and_test, manifest: pd.DataFrame) -> tuple[float, bool]:
    """AUC with the true labels, and whether the control of 40 shuffles passes as in `16_controls`."""
    shuffled = [permuted_labels(manifest, TASK, 0, seed) for seed in range(40)]
    low, high = students_interval([fit_and_test(labels) for labels in shuffled], 1 - 0.05 / 4)
    return fit_and_test(manifest["label"].to_numpy()), low <= 0.5 <= high


def auc_after(
    model, features: np.ndarray, manifest: pd.DataFrame, fitted: list[str], labels: np.ndarray
) -> float:
    rows, tested = manifest["part_0"].isin(fitted).to_numpy(), (manifest["part_0"] == "test").to_numpy()
    scores = model.fit(features[rows], labels[rows]).predict_proba(features[tested])[:, 1]
    return roc_auc_score(manifest["label"][tested], scores)


def test_permuted_labels_are_blind_to_leakage_in_the_data():
    """A patient on both sides of the split, or a label among the features: only the AUC shows it."""
    features, manifest = shared_patients()
    nearest, linear = KNeighborsClassifier(1), LogisticRegression()
    copied = control_of(lambda y: auc_after(nearest, features, manifest, ["train"], y), manifest)
    assert copied[0] > 0.95 and copied[1]
    written = np.column_stack([features, 3.0 * manifest["label"]])
    named = control_of(lambda y: auc_after(linear, written, manifest, ["train"], y), manifest)
    assert named[0] > 0.95 and named[1]


def test_permuted_labels_notice_test_labels_that_are_fitted_and_choices_by_test_scores():
    features, manifest = shared_patients()
    fitted = control_of(
        lambda y: auc_after(KNeighborsClassifier(1), features, manifest, ["train", "test"], y), manifest
    )
    assert not fitted[1]

    def best_of_five(labels: np.ndarray) -> float:
        parts = (features[:, 6 * i : 6 * i + 6] for i in range(5))
        return max(auc_after(LogisticRegression(), some, manifest, ["train"], labels) for some in parts)

    assert not control_of(best_of_five, manifest)[1]


# Whole controls -------------------------------------------------------------------------------------------


def test_negative_controls_show_nothing_and_are_kept(study, monkeypatch):
    found = controls.run_controls(study)
    assert list(found.table) == CONTROLS.names
    assert list(found.table["expected"]) == ["covers 0", "covers 0.5", "covers 0.5", "covers 0"]
    assert found.table["passed"].all()
    assert (found.table["n_patients"] == 16).all() and (found.table["n_runs"] == [4, 6, 6, 6]).all()
    shuffled = found.trainings[found.trainings["measure"] == "auc"]
    assert shuffled["value"].std() > 0.05
    stored = sorted((study.store_dir / "controls").rglob("*.parquet"))
    times = [path.stat().st_mtime_ns for path in stored]
    again = controls.run_controls(study)
    pd.testing.assert_frame_equal(again.table, found.table)
    assert [path.stat().st_mtime_ns for path in stored] == times and len(stored) == 8 + 12
    monkeypatch.setattr(controls, "carry_out", lambda *given: first_run_diverged(carry_out(*given)))
    table = controls.run_controls(study).table
    assert list(table["passed"]) == list(table["diverged"].isna()) and table["passed"].sum() == 1
    assert table["diverged"][0] == "1 of 8 runs of random diverged"
    assert table["diverged"][0] in controls_box(study, table)
    verdicts = [one.verdict for one in control_findings(study, table)]
    assert [word.startswith("no verdict: 1 of ") for word in verdicts] == list(~table["passed"])


def first_run_diverged(done):
    return replace(done, runs=done.runs.assign(diverged=done.runs.index == 0))


def test_labels_that_are_not_shuffled_fail_the_control(study, monkeypatch):
    monkeypatch.setattr(
        control_groups, "permuted_labels", lambda manifest, *_: manifest["label"].to_numpy(dtype=np.int64)
    )
    table = controls.run_controls(study).table
    leaked = table.query("control == 'permuted_labels' and measure == 'auc'")
    assert not leaked["passed"].any() and (leaked["value"] > 0.8).all()
    said = controls_box(study, table)
    assert said.startswith('<div style="border:3px solid #B00020') and "A CONTROL FAILED" in said
    assert "Breast US, permuted labels: Simulated radiology: " in said
    assert "should be one that covers 0.5" in said


def known_features(signal: dict[str, float]):
    """Instead of a network: noise, and for some sources the group of classes by so many SD in one feature."""

    def features_of(packed, weights, *_, **__) -> Features:
        rng = np.random.default_rng(seed_of(weights.source))
        pooled = rng.normal(size=(1, len(packed.manifest), 12)).astype(np.float32)
        pooled[0, :, 0] += signal.get(weights.source, 0.0) * packed.manifest["label"].to_numpy()
        return Features(torch.from_numpy(pooled), None)

    return features_of


@pytest.mark.parametrize("signal", [0.0, 3.0])
def test_a_source_must_know_its_own_classes(study, monkeypatch, signal):
    """Where features hold nothing of the classes the control fails; three SD apart they are found."""
    given = Controls(positive={CORPUS: CORPUS}, train_patients=10, epochs=10, lr=0.03)
    study = with_controls(study, given)
    write_packed(study.dataset_dir(CORPUS), *four_classes(240))
    monkeypatch.setattr(transfer, "features_of", known_features({CORPUS: signal}))
    (row,) = controls.run_controls(study).table.to_dict("records")
    assert row["passed"] == (signal > 0)
    assert row["value"] == pytest.approx(row["auc_a"] - row["auc_b"]) and row["ci_low"] < row["value"]
    assert abs(row["auc_b"] - 0.5) < 0.2 and (row["auc_a"] > 0.75) == (signal > 0)
    assert row["n_patients"] == 40 and row["n_runs"] == 5
    assert ("A CONTROL FAILED" in controls_box(study, pd.DataFrame([row]))) == (signal == 0)


# Words, figure, files -------------------------------------------------------------------------------------


def made_up(study, *passed: bool) -> controls.Controlled:
    """A negative and a positive control."""
    rows = [
        ("permuted_labels", TASK, "radiology", "", "auc", 0.51, 0.47, 0.55, 0.9875, "covers 0.5"),
        ("own_classes", CORPUS, "radiology", "random", "delta", 0.08, 0.02, 0.14, 0.95, "lies above 0"),
    ]
    table = pd.DataFrame(
        [
            dict(zip(CONTROLS.names, (*row, ok, 0.6, 0.52, 40, 10, 0, True), strict=True))
            for row, ok in zip(rows, passed, strict=True)
        ]
    )
    trainings = pd.concat([table[controls.TRAINING], table[controls.TRAINING].assign(value=[0.41, 0.02])])
    return controls.Controlled(table, trainings)


@pytest.mark.parametrize("passed", [(True, True), (False, True), (True, False), (False, False)])
def test_words_and_figure_follow_the_table(study, passed):
    found = made_up(study, *passed)
    said = control_findings(study, found.table)
    assert [f.verdict for f in said] == ["passed" if p else "FAILED" for p in passed]
    if all(passed):
        said = controls_box(study, found.table)
        assert said.startswith(
            "**Controls.** No control failed (2 of 2 passed). The negative ones cannot excl"
        )
        assert "cannot exclude a bias of up to 0.050 in an AUC or a difference." in said  # 0.55, 0.5
        positive = "AUC in the positive ones: 0.600 with Simulated radiology, 0.520 with random weights."
        alone = controls_box(study, found.table[1:])
        assert alone == f"**Controls.** No control failed (1 of 1 passed). {positive}", "and no bias"
    assert (controls_box(study, found.table).count("#B00020") == 1) == (not all(passed))
    shown = controls.control_table(study, found.table)
    assert list(shown["passed"]) == ["yes" if p else "NO" for p in passed]
    assert list(shown["value"]) == ["0.510 (0.470 to 0.550)", "+0.080 (+0.020 to +0.140)"]
    figure = controls_figure(study, found)
    (panel,) = figure.axes
    means = {line.get_xdata()[0] for line in panel.lines if line.get_marker() in ("o", "X")}
    assert sorted(means) == pytest.approx([0.01, 0.08])
    assert panel.get_xlabel() == "AUC minus 0.5, or difference in AUC"
    assert ("X: failed" in figure.get_suptitle()) == (not all(passed))
    assert figure.get_suptitle().endswith("grey strokes: single trainings")
    (green,) = panel.patches
    assert (green.get_x(), green.get_y()) == (0, 0.6), "of the positive one: the negative must cover the line"
    assert figure.get_suptitle().startswith(
        "Controls: 98.75 % intervals must cover the line at 0, 95 % inter"
    )
    plt.close(figure)


def test_figure_speaks_of_the_controls_that_are_drawn(study):
    found = made_up(study, True, True)
    alone = controls_figure(study, replace(found, table=found.table[1:], trainings=found.trainings[1::2]))
    assert alone.axes[0].get_xlabel() == "difference in AUC"
    title = "Controls: 95 % intervals must lie in the green area\ngrey strokes: single trainings"
    assert alone.get_suptitle() == title
    random = found.table.assign(control=["random_weights", "own_classes"])
    assert controls_figure(study, replace(found, table=random)).get_suptitle().endswith("folds of each pair")
    plt.close("all")


def test_table_comes_back_as_it_was_written_also_without_controls(study):
    for table in (
        made_up(study, True, False).table,
        controls.run_controls(with_controls(study, Controls())).table,
    ):
        CONTROLS.write(study, table)
        read = CONTROLS.read(study)
        pd.testing.assert_frame_equal(read, table.replace("", np.nan), check_dtype=False)
    assert controls_box(study, read) == f"**Controls.** {NO_CONTROLS}"
    assert CONTROLS.shown(study, read).empty


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"controls.task": "moon"}, "'controls.task': names 'moon'; allowed: thyroid_us, breast_us"),
        (
            {"controls.backbones": ["vgg"]},
            "'controls.backbones.0': names 'vgg'; allowed: inception_resnet_v2",
        ),
        (
            {"controls.positive": {"moon": "radiology"}},
            "'controls.positive.moon': names 'moon'; allowed: radiology, ph",
        ),
        (
            {"controls.positive": {"random": "radiology"}},
            "'controls.positive.random': names 'random'; allowed: radiology",
        ),
        (
            {"controls.positive": {"radiology": "moon"}},
            "'controls.positive.radiology': names 'moon'; allowed: rad",
        ),
        ({"controls.seeds": [0]}, "'controls.seeds': List should have at least 2 items"),
        (
            {"corpora": {"random_2": {"layout": "folders", "path": "x", "title": "x"}}},
            "'random_2' is what random",
        ),
    ],
)
def test_impossible_controls_are_one_sentence(overrides, sentence):
    if "corpora" in overrides:
        pair = ["random", "random_2"]
        overrides = {**overrides, "sources": pair, "controls.positive": {}, "compare.pairs": []}
        overrides["compare.headline"] = pair
    with pytest.raises(UserError, match=re.escape(sentence)) as caught:
        load_study(overrides, REPOSITORY / "studies" / "demo.yaml")
    assert "\n" not in str(caught.value)


def test_a_study_without_the_section_has_no_controls(tmp_path):
    text = (REPOSITORY / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(re.sub(r"(?ms)^controls:.*?(?=^notes:)", "", text))
    assert load_study(path=tmp_path / "params.yaml").controls == Controls()
