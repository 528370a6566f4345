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
from radlib.questions.lesions.compare import (
    RESIZE,
    collapse_findings,
    lesion_findings,
    resize_findings,
    resize_forest,
)
from radlib.questions.lesions.pictures import chosen_cases, overlays, random_predictions
from radlib.stats.dice import MASK_FIGURES
from radlib.study.training import Segment, SegmentSetting
from radlib.training.results import RUN
from tests.conftest import write_packed
from tests.fabricated import make_study

TASK, VARIANT = "thyroid_us", "padded"
LEVEL = {"radiology": 0.6, "photographs": 0.5, "random": 0.5}
IMAGES, GAIN = 120, 0.06  # letterboxing gains this much in Dice, in elongated images alone


def study_of(root):
    study = make_study(root)
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
            figures = {"val_loss": 1.0, "val_dice": 0.5, "data_digest": task, "weights_digest": run.source}
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
    table = compare_lesions.compare_resize(study, [found])
    assert list(table) == RESIZE.names
    every = table[(table["metric"] == "dice") & (table["source"] == compare_lesions.EVERY_SOURCE)]
    every = every.set_index("aspect")
    assert every.loc[compare_lesions.ALL, "delta"] == pytest.approx(GAIN / 3, abs=0.003)
    long, square = every.loc["elongated third"], every.loc["nearly square third"]
    assert long["ci_low"] < GAIN < long["ci_high"] and long["aspect_low"] == long["aspect_high"] == 2
    assert square["ci_low"] < 0 < square["ci_high"] and square["aspect_high"] < 1.2
    assert (every["n_images"] == [IMAGES, IMAGES / 3, IMAGES / 3, IMAGES / 3]).all()
    assert every["n_runs"].eq(3 * 2).all()
    assert set(table["source"]) == {compare_lesions.EVERY_SOURCE, *study.sources}
    assert [f.verdict for f in resize_findings(study, table)] == ["higher", "higher"]
    shown = RESIZE.shown(study, table)
    assert len(shown) == len(table) and "all sources" in shown.index.get_level_values("source")
    panel = resize_forest(study, table).axes[0]
    assert len(panel.get_yticklabels()) == 4
    plt.close("all")


def test_square_images_are_said_to_be_square(planted, tmp_path):
    study, found = planted
    assert compare_lesions.square_tasks(study, found) == []
    other = study.model_copy(update={"root": tmp_path})
    manifest = open_packed(study.dataset_dir(TASK)).manifest.assign(width=20)
    masks = [np.ones((20, 20), dtype=bool)] * IMAGES
    write_packed(other.dataset_dir(TASK), np.zeros((IMAGES, 16, 16, 1), np.uint8), manifest, masks=masks)
    assert compare_lesions.square_tasks(other, found) == [TASK]


def test_other_images_under_the_same_name_are_refused(planted, tmp_path):
    study, found = planted
    images = dict(found.images)
    images[VARIANT] = images[VARIANT][images[VARIANT]["image_id"] != "i000"]
    broken = lesions.Found(found.method, found.figures, found.runs, images)
    with pytest.raises(UserError, match="tested on different images or folds"):
        compare_lesions.compare_resize(study, [broken])


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
    plt.close("all")


def test_collapsed_networks_are_counted_and_the_difference_is_given_without_them(planted):
    """Half of one source's networks draw nothing: what they miss is no difference of sources."""
    study, found = planted
    runs = found.runs[TASK]
    lost = runs.loc[(runs["source"] == "photographs") & (runs["fold"] == 0), "run"]
    images = found.images[TASK].copy()
    images.loc[images["run"].isin(lost), "dice"] = 0.0
    spoilt = replace(found, images={**found.images, TASK: images})
    assert collapse_findings(study, found)[0].verdict == f"none, of {len(runs)}"
    counted, without = collapse_findings(study, spoilt)
    assert counted.verdict == f"{len(lost)} after Simulated photographs, of {len(runs)}"
    (all_of_them,) = lesion_findings(study, compare_lesions.compare_found(study, [spoilt]))
    assert all_of_them.value > 0.3 and without.value == pytest.approx(0.1, abs=0.02)
    empty = images.assign(dice=1.0)
    assert lesions.collapsed(empty) == [], "an image without a lesion, on which nothing is drawn"
