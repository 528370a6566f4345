"""Segmentation and letterboxing compared, with planted truth."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from radlib.data.images import open_packed
from radlib.errors import UserError
from radlib.questions.lesions import compare as compare_lesions
from radlib.questions.lesions import measured as lesions
from radlib.questions.lesions.compare import BLIND, collapse_findings, lesion_findings
from radlib.questions.lesions.pictures import (
    NOT_OUTLINED,
    chosen_cases,
    masks_table,
    overlays,
    random_predictions,
)
from radlib.questions.lesions.resize import ALL, RESIZE, compare_resize, resize_findings, resize_forest
from radlib.stats.dice import MASK_FIGURES
from radlib.study.training import Segment, SegmentSetting
from radlib.training.results import RUN
from tests.conftest import write_packed
from tests.fabricated import make_study

TASK, VARIANT = "thyroid_us", "padded"
LEVEL = {"radiology": 0.6, "photographs": 0.5, "random": 0.5}
IMAGES, GAIN = 120, 0.06  # letterboxing gains this much in Dice, in elongated images alone


def study_of(root):
    study = make_study(root, backbones=("resnet50", "densenet121"))
    setting = SegmentSetting(train="frozen", lr=0.001)
    options = Segment(tasks=[TASK, VARIANT], settings=[setting], epochs={"frozen": 1})
    task = study.tasks[TASK]
    variant = task.model_copy(update={"variant_of": TASK, "resize": "letterbox"})
    return study.model_copy(update={"segment": options, "tasks": {TASK: task, VARIANT: variant}})


def fabricate(study) -> None:
    """Two images a patient, two folds; every third image is twice as wide as high; noise shared by runs."""
    rng = np.random.default_rng(0)
    width = np.where(np.arange(IMAGES) % 3 == 0, 40, 20 + np.arange(IMAGES) % 3)
    manifest = pd.DataFrame(
        {
            "image_id": [f"i{n:03d}" for n in range(IMAGES)],
            "patient_id": [f"p{n // 2:02d}" for n in range(IMAGES)],
            "label": np.arange(IMAGES) // 2 % 2, "class_name": "x", "width": width, "height": 20,
            "sha256": "0", "has_mask": True, "empty_mask": False,
        }
    )  # fmt: skip
    shared = rng.normal(0, 0.05, IMAGES)
    masks = [np.indices((20, w)).sum(0) < 20 for w in width]
    for task in study.tasks:
        pixels = np.zeros((IMAGES, 16, 16, 1), dtype=np.uint8)
        write_packed(study.dataset_dir(task), pixels, manifest, masks=masks, resize=study.resize_of(task))
        runs, tables = [], []
        for run in study.segmentation_runs_of(task):
            about = {key: getattr(run, key) for key in ("task", "source", *RUN)}
            figures = {"val_loss": 1.0, "val_dice": 0.5, "val_lost": 0.1, "diverged": False}
            figures |= {"data_digest": task, "weights_digest": str(run.weights)}
            runs.append({"run": run.name, **about, **figures})
            some = np.flatnonzero(np.arange(IMAGES) // 2 % 2 == run.fold)
            gain = GAIN * (task == VARIANT) * (width[some] == 40)
            dice = (LEVEL[run.source] + shared[some] + gain + rng.normal(0, 0.01, len(some))).clip(0, 1)
            table = manifest.iloc[some][["image_id", "patient_id"]].assign(run=run.name, fold=run.fold)
            table = table.assign(dice=dice, iou=dice / (2 - dice), hausdorff95=20 * (1 - dice))
            tables.append(table.assign(mask=[np.packbits(masks[row]).tobytes() for row in some]))
        folder = study.result_dir(task)
        folder.mkdir(parents=True)
        pd.DataFrame(runs).to_parquet(folder / "segmentation_runs.parquet")
        pd.concat(tables).to_parquet(folder / "segmentation.parquet")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    study = study_of(tmp_path_factory.mktemp("resize"))
    fabricate(study)
    return study, lesions.load_segmented(study)


def test_sources_are_compared_on_the_original_task_alone(planted):
    study, found = planted
    table = compare_lesions.compare_found(study, [found])
    assert set(table["task"]) == {TASK} and set(table["method"]) == {"segmentation"}
    assert len(table) == 2 * len(MASK_FIGURES)
    row = table[(table["metric"] == "dice") & (table["source_a"] == "radiology")].iloc[0]
    assert row["ci_low"] < 0.1 < row["ci_high"] and row["ci_high"] - row["ci_low"] < 0.02
    distance = table[(table["metric"] == "hausdorff95") & (table["source_a"] == "radiology")].iloc[0]
    assert distance["ci_low"] < -2 < distance["ci_high"] < 0
    (found,) = lesion_findings(study, table)
    assert found.subject.startswith("Dice of U-Nets") and found.verdict == "higher"


def test_letterbox_gain_is_found_where_it_was_planted(planted):
    study, found = planted
    table = compare_resize(study, [found])
    assert list(table) == RESIZE.names
    every = table.set_index("aspect")
    assert every.loc[ALL, "delta"] == pytest.approx(GAIN / 3, abs=0.003)
    long, square = every.loc["elongated third"], every.loc["nearly square third"]
    assert long["ci_low"] < GAIN < long["ci_high"] and long["aspect_low"] == long["aspect_high"] == 2
    assert square["ci_low"] < 0 < square["ci_high"] and square["aspect_high"] < 1.2
    assert (every["n_images"] == [IMAGES, IMAGES / 3, IMAGES / 3, IMAGES / 3]).all()
    assert every["n_runs"].eq(3 * 2 * 2).all()
    assert [f.verdict for f in resize_findings(study, table)] == ["higher", "higher"]
    shown = RESIZE.shown(study, table)
    assert len(shown) == len(table) == 4
    panel = resize_forest(study, table).axes[0]
    assert len(panel.get_yticklabels()) == 4
    plt.close("all")


def test_other_images_under_the_same_name_are_refused(planted, tmp_path):
    study, found = planted
    images = dict(found.images)
    images[VARIANT] = images[VARIANT][images[VARIANT]["image_id"] != "i000"]
    broken = lesions.Found(found.method, found.figures, found.runs, images)
    with pytest.raises(UserError, match="tested on different images or folds"):
        compare_resize(study, [broken])


def test_missing_segmentation_names_the_task(planted, tmp_path):
    other = planted[0].model_copy(update={"root": tmp_path})
    with pytest.raises(UserError, match="task 'thyroid_us' has no segmentation_runs.parquet .* dvc repro"):
        lesions.load_segmented(other)


def test_pictures_show_masks_and_dice(planted):
    study, found = planted
    runs = found.runs[TASK][["run", "source", "backbone"]]
    packed = open_packed(study.dataset_dir(TASK))
    figure = random_predictions(study, TASK, found.images[TASK].merge(runs, on="run"), packed, 1)
    assert len([axis for axis in figure.axes if "Dice" in axis.get_xlabel()]) == 10
    overlay = overlays(study, found, TASK, packed)
    cases = chosen_cases(study, found, TASK)
    assert {axis.get_ylabel() for axis in overlay.axes} >= {f"{k}\n{v}" for k, v in cases.items()}
    assert "share of the runs" in overlay.axes[-1].get_ylabel() and "mean over" in overlay.get_suptitle()
    one = {TASK: found.runs[TASK][found.runs[TASK]["backbone"] == found.runs[TASK]["backbone"].iloc[0]]}
    overlay = overlays(study, replace(found, runs=one), TASK, packed)
    assert "the one run of each source" in overlay.get_suptitle() and len(overlay.axes) == 3 * len(cases)
    plt.close("all")


def test_a_mask_that_the_publisher_left_empty_says_so_and_is_counted_by_class(planted):
    study, found = planted
    packed, worst = open_packed(study.dataset_dir(TASK)), chosen_cases(study, found, TASK)["worst"]
    mine = packed.manifest["image_id"] == worst
    manifest = packed.manifest.assign(has_mask=~mine, empty_mask=mine)
    masks = [packed.masks[row] & ~empty for row, empty in enumerate(mine)]
    empty = replace(packed, manifest=manifest, masks=masks)
    assert masks_table(study, TASK, empty)["with an empty mask"] == "1 x"
    assert masks_table(study, TASK, packed)["with an empty mask"] == "0"
    labels = [axis.get_ylabel() for axis in overlays(study, found, TASK, empty).axes]
    assert f"worst\n{worst}\n{NOT_OUTLINED}" in labels and sum(NOT_OUTLINED in one for one in labels) == 1
    plt.close("all")


def spoil(found, source: str, backbone: str):
    """The U-Nets of a source and network draw nothing in fold 0, neither in validation nor in the test."""
    runs, images = found.runs[TASK].copy(), found.images[TASK].copy()
    lost = (runs["source"] == source) & (runs["backbone"] == backbone) & (runs["fold"] == 0)
    runs["val_lost"] = runs["val_lost"].mask(lost, 0.95)
    runs["collapsed"] = lesions.collapsed(runs)
    images["dice"] = images["dice"].mask(images["run"].isin(runs.loc[lost, "run"]), 0.0)
    return replace(found, runs={TASK: runs}, images={TASK: images}), int(lost.sum())


def test_collapsed_networks_are_counted_and_no_verdict_rests_on_them(planted, tmp_path):
    """One of two networks of a source draws nothing: what it misses is no difference of sources."""
    study, found = planted
    (none,) = collapse_findings(study, found)
    assert none.verdict == f"none of {len(found.runs[TASK])}"
    spoilt, count = spoil(found, "photographs", "resnet50")
    counted, without = collapse_findings(study, spoilt)
    of = len(found.runs[TASK]) // 3
    assert counted.verdict == f"{count} of {of} after Simulated photographs"
    table = compare_lesions.compare_found(study, [spoilt])
    (all_of_them,) = lesion_findings(study, table)
    assert all_of_them.value > 0.2
    assert all_of_them.verdict == f"no verdict: {count} of {of} runs of photographs collapsed"
    assert table["verdict"].str.startswith("no verdict").all(), "of both pairs and all figures"
    assert without.value == pytest.approx(0.1, abs=0.02) and without.verdict == "higher"
    assert without.subject.endswith("without settings that collapsed")
    # Without the headline's sources in it, a collapse is counted, and their difference stands.
    elsewhere, count = spoil(found, "random", "resnet50")
    (counted,) = collapse_findings(study, elsewhere)
    assert counted.verdict == f"{count} of {of} after Random weights"
    (stands,) = lesion_findings(study, compare_lesions.compare_found(study, [elsewhere]))
    assert stands.verdict == "higher"


def test_letterboxing_has_no_verdict_where_networks_collapsed(planted):
    study, found = planted
    spoilt, _ = spoil(found, "photographs", "resnet50")
    both = replace(found, runs={**found.runs, **spoilt.runs}, images={**found.images, **spoilt.images})
    assert all("collapsed" in one.verdict for one in resize_findings(study, compare_resize(study, [both])))


def test_unets_are_held_against_a_guess_that_never_looks(planted):
    """Less is better of a distance: there the guess leads from below."""
    study, found = planted
    images = found.images[TASK]
    guessed = images.drop_duplicates("image_id").assign(run="centred_blob", mask=None)
    for level, verdict in ((0.4, {"higher", "lower"}), (0.7, {BLIND})):
        guess = guessed.assign(dice=level, iou=level / (2 - level), hausdorff95=20 * (1 - level))
        some = replace(found, images={TASK: pd.concat([images, guess], ignore_index=True)})
        table = compare_lesions.compare_found(study, [some], [("radiology", "photographs")])
        assert set(table["verdict"]) == verdict
        lead = table.set_index("metric").loc["hausdorff95"]
        assert lead["lead_low"] < 20 * (1 - level) - lead["mean_a"] < lead["lead_high"]


def test_one_pretraining_drawn_of_several_is_these_weights(planted):
    study, _ = planted
    several = study.model_copy(update={"pretrain": study.pretrain.model_copy(update={"replicates": 3})})
    assert {run.replicate for run in several.segmentation_runs_of(TASK)} == {0, 1, 2}
    first = study.segment.model_copy(update={"replicates": 1})
    once = several.model_copy(update={"segment": first})
    assert once.segmentation_runs_of(TASK) == study.segmentation_runs_of(TASK)
    more = several.model_copy(update={"segment": study.segment.model_copy(update={"replicates": 9})})
    assert more.segmentation_runs_of(TASK) == several.segmentation_runs_of(TASK)
    assert once.runs_of(TASK) == several.runs_of(TASK), "transfer has them all"
