"""Shortcuts: planted ones are found where they were planted, absent ones are not."""

from functools import partial

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageStat
from sklearn.ensemble._hist_gradient_boosting import gradient_boosting

from radlib.data.images import open_packed
from radlib.questions import shortcuts
from radlib.questions.shortcuts import EVERYTHING, GROUPS, shortcuts_figure, shortcuts_findings
from radlib.show.style import STAMP
from radlib.training.results import load_results
from tests.conftest import write_packed
from tests.fabricated import fabricate, make_study, read_results, write_results

matplotlib.use("Agg")
SIZE = 32


@pytest.fixture
def study(tmp_path):
    """One task in two folds, 200 images of 100 patients; sources that are barely better than chance."""
    study = make_study(
        tmp_path, backbones=("resnet50",), compare={
            "pairs": [["radiology", "photographs"]], "headline": ["radiology", "photographs"],
            "resamples": 1000, "confidence": 0.99,
        },
    )  # fmt: skip
    fabricate(study, {"radiology": 0.8, "photographs": 0.6, "random": 0.0}, patients=100)
    return study


def pack(study, plant=lambda images, manifest, labels: None) -> pd.DataFrame:
    """Noise images of the fabricated patients, each tested in one fold and trained on in the other."""
    tested = read_results(study, "thyroid_us")[1].drop_duplicates("image_id").reset_index(drop=True)
    rng = np.random.default_rng(0)
    brightness = rng.integers(-20, 20, (len(tested), 1, 1, 1))
    images = (brightness + rng.integers(60, 140, (len(tested), SIZE, SIZE, 1))).astype(np.uint8)
    manifest = tested[["image_id", "patient_id", "label"]].assign(
        class_name=tested["label"].astype(str), width=rng.integers(200, 400, len(tested)),
        height=rng.integers(200, 400, len(tested)), sha256="0", has_mask=False,
    )  # fmt: skip
    for fold in range(2):
        manifest[f"part_{fold}"] = np.where(tested["fold"] == fold, "test", "train")
    plant(images, manifest, manifest["label"].to_numpy())
    write_packed(study.dataset_dir("thyroid_us"), images, manifest)
    return manifest


def plant_size(images, manifest, labels):
    manifest[["width", "height"]] = manifest[["width", "height"]].mul(1 + labels, axis=0)


def plant_aspect(images, manifest, labels):
    size = np.sqrt(manifest["width"] * manifest["height"])
    manifest["width"], manifest["height"] = size * (1 + labels), size / (1 + labels)


def plant_mean(images, manifest, labels):
    images += (labels * 60).astype(np.uint8)[:, None, None, None]


def plant_contrast(images, manifest, labels):
    positive = images[labels == 1].astype(float)
    middle = positive.mean(axis=(1, 2, 3), keepdims=True)
    images[labels == 1] = (middle + (positive - middle) / 2).round()


def plant_border(images, manifest, labels):
    images[labels == 1, :2] = 0


@pytest.mark.parametrize(
    ("plant", "found", "unsure"),
    [
        (plant_size, {"size"}, set()),
        (plant_aspect, {"aspect"}, set()),
        (plant_mean, {"mean", "border"}, set()),
        (plant_contrast, {"contrast", "border"}, set()),
        (plant_border, {"contrast", "border"}, {"mean"}),
        (lambda *_: None, set(), set()),
    ],
    ids=["size", "aspect", "mean", "contrast", "border", "none"],
)
def test_planted_shortcut_is_found_and_an_absent_one_is_not(study, plant, found, unsure):
    pack(study, plant)
    table = shortcuts.compare_shortcuts(study, load_results(study)).table.set_index("features")
    for group in set(GROUPS) - unsure:
        if group in found or (group == EVERYTHING and found):
            assert table.loc[group, "auc"] > 0.9, group
        else:
            assert table.loc[group, "ci_low"] <= 0.5 <= table.loc[group, "ci_high"], group
    (said,) = shortcuts_findings(study, table.reset_index())
    assert (", has less (" in said.verdict) == bool(found)


def test_figures_of_an_image_are_those_of_pillow(study):
    manifest = pack(study, plant_border)
    packed = open_packed(study.dataset_dir("thyroid_us"))
    table = shortcuts.measure_images(packed)
    assert list(table) and set(table) == set(GROUPS[EVERYTHING])
    for row in (0, len(manifest) - 1):
        picture = Image.fromarray(packed.images[row, :, :, 0])
        strips = {"top": (0, 0, SIZE, 2), "bottom": (0, SIZE - 2, SIZE, SIZE)}
        strips |= {"left": (0, 0, 2, SIZE), "right": (SIZE - 2, 0, SIZE, SIZE)}
        expected = {"mean": ImageStat.Stat(picture).mean[0], "contrast": ImageStat.Stat(picture).stddev[0]}
        for side, box in strips.items():
            expected[f"{side}_mean"] = ImageStat.Stat(picture.crop(box)).mean[0]
            expected[f"{side}_contrast"] = ImageStat.Stat(picture.crop(box)).stddev[0]
        for name, value in expected.items():
            assert table.loc[row, name] == pytest.approx(value, rel=1e-4), name
        black = manifest["label"][row] * 2 * SIZE / (SIZE**2 - (SIZE - 4) ** 2)
        assert table.loc[row, "border_black"] == pytest.approx(black)
        width, height = manifest.loc[row, ["width", "height"]]
        assert np.exp(2 * table.loc[row, "log_size"]) == pytest.approx(width * height)
        assert np.exp(table.loc[row, "log_aspect"]) == pytest.approx(width / height)


def test_test_labels_play_no_part_in_the_scores(study):
    manifest = pack(study, plant_mean)
    parts = load_results(study).predictions["thyroid_us"]
    packed = open_packed(study.dataset_dir("thyroid_us"))
    table = shortcuts.measure_images(packed)
    first = shortcuts.score_folds(packed, table, parts)[0]
    turned = np.where(manifest["part_0"] == "test", 1 - manifest["label"], manifest["label"])
    packed.manifest["label"] = turned
    second = shortcuts.score_folds(packed, table, parts)[0]
    np.testing.assert_array_equal(first.scores, second.scores)
    packed.manifest["label"] = 1 - turned
    assert not np.array_equal(shortcuts.score_folds(packed, table, parts)[0].scores, first.scores)


def test_the_same_images_give_the_same_scores_however_many_they_are(study, monkeypatch):
    """Of more than 200 000 images, here of more than 40, scikit-learn draws those that it makes bins of."""
    few = partial(gradient_boosting._BinMapper, subsample=40)
    monkeypatch.setattr(gradient_boosting, "_BinMapper", few)
    pack(study)
    parts = load_results(study).predictions["thyroid_us"]
    packed = open_packed(study.dataset_dir("thyroid_us"))
    known = shortcuts.measure_images(packed)
    once, again = (shortcuts.score_folds(packed, known, parts) for _ in range(2))
    np.testing.assert_array_equal(once[0].scores, again[0].scores)


def test_best_source_is_chosen_by_validation_and_set_beside_the_shortcut(study):
    pack(study, plant_size)
    runs, predictions = read_results(study, "thyroid_us")
    runs["val_auc"] = np.where(runs["source"] == "random", 0.9, 0.6)
    write_results(study, "thyroid_us", runs, predictions)
    found = shortcuts.compare_shortcuts(study, load_results(study))
    means = runs.groupby("source")["test_auc"].mean()
    assert set(found.table["best_source"]) == {"random"}
    assert found.sources.set_index("source")["auc"].to_dict() == pytest.approx(means.to_dict())
    for row in found.table.itertuples():
        assert row.auc_best_source == pytest.approx(means["random"])
        assert row.delta == pytest.approx(row.auc_best_source - row.auc)
        assert row.delta_low <= row.delta <= row.delta_high and row.ci_low <= row.auc <= row.ci_high


def test_a_best_source_whose_runs_diverged_has_no_verdict(study):
    pack(study)
    results = load_results(study)
    best = results.runs["source"] == shortcuts.compare_shortcuts(study, results).table["best_source"].iloc[0]
    results.runs["diverged"] = best & (results.runs.groupby(best).cumcount() < 1)
    table = shortcuts.compare_shortcuts(study, results).table
    said = f"1 of {best.sum()} runs of {table['best_source'].iloc[0]} diverged"
    assert set(table["diverged"]) == {said}
    assert [one.verdict for one in shortcuts_findings(study, table)] == [f"no verdict: {said}"]


def test_a_task_that_does_not_count_says_so(study):
    pack(study)
    found = shortcuts.compare_shortcuts(study, load_results(study), counting=[])
    (said,) = shortcuts_findings(study, found.table)
    regime = "mean over the settings that train by gradient"
    title = "Thyroid US (does not count)"
    subject = f"AUC of the shortcut classifier, beside sources ({regime}): {title}"
    assert said.subject == f"{subject} (over patients, of these weights)"
    (panel,) = shortcuts_figure(study, found).axes
    assert [label.get_text() for label in panel.get_yticklabels()] == [title]


def test_a_source_that_lacks_networks_of_the_others_says_so(tmp_path):
    fewer = {"layout": "simulated_photographs", "path": "radlib/simulate", "title": "Simulated photographs"}
    corpora = {
        "radiology": {**fewer, "title": "Radiology"},
        "photographs": {**fewer, "backbones": ["resnet50"]},
    }
    study = make_study(tmp_path, backbones=("resnet50", "densenet121"), corpora=corpora)
    fabricate(study, {"radiology": 0.6, "photographs": 0.9, "random": 0.0})
    runs, predictions = read_results(study, "thyroid_us")
    runs["val_auc"] = np.where(runs["source"] == "photographs", 0.9, 0.6)
    write_results(study, "thyroid_us", runs, predictions)
    pack(study)
    found = shortcuts.compare_shortcuts(study, load_results(study))
    (said,) = shortcuts_findings(study, found.table)
    assert said.verdict.startswith(f"{shortcuts.BEST}, Simulated photographs (resnet50 only), ")
    words = [text.get_text() for text in shortcuts_figure(study, found).legends[0].get_texts()]
    named = ["Radiology", "Simulated photographs (resnet50 only)", "Random weights"]
    assert words == ["shortcut classifier", *named]
    plt.close("all")


def test_figure_shows_the_classifier_of_all_features_and_every_source(study, tmp_path):
    pack(study)
    found = shortcuts.compare_shortcuts(study, load_results(study))
    figure = shortcuts_figure(study, found)
    panel = figure.axes[0]
    squares, dots = ([line.get_xdata()[0] for line in panel.lines if line.get_marker() == m] for m in "so")
    assert squares == pytest.approx(list(found.table.loc[found.table["features"] == EVERYTHING, "auc"]))
    assert dots == pytest.approx(list(found.sources["auc"]))
    assert STAMP in [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    figure.savefig(tmp_path / "figure.png", dpi=40)
    plt.close("all")
