"""Localisation compared: against a plain computation, with planted truth; figures and words follow."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from radlib.data.images import open_packed
from radlib.errors import UserError
from radlib.questions.lesions import compare as compare_lesions
from radlib.questions.lesions import measured as lesions
from radlib.questions.lesions.compare import BLIND, DICE, lesion_findings, lesion_forest
from radlib.questions.lesions.pictures import chosen_cases, dice_by_source, overlays
from radlib.stats.dice import BASELINES, MAP_FIGURES
from radlib.training.results import load_results
from tests.conftest import write_packed
from tests.fabricated import fabricate, make_study

TASK = "thyroid_us"
PAIR = ("radiology", "photographs")


def fabricate_maps(study, dice: dict[str, float], seed: int = 0, pretraining: float = 0.0) -> None:
    """Localisation of a task: mean figures by source, noise shared by runs; every fifth image without one.

    A pretraining adds N(0, pretraining^2) to a source's mean.
    """
    rng = np.random.default_rng(seed)
    folder = study.result_dir(TASK)
    predictions = pd.read_parquet(folder / "predictions.parquet")
    runs = pd.read_parquet(folder / "runs.parquet")
    runs.assign(threshold=0.3).to_parquet(folder / "runs.parquet")
    images = predictions.drop_duplicates("image_id").sort_values("image_id")
    images = images[np.arange(len(images)) % 5 > 0]
    shared = pd.Series(rng.normal(0, 0.05, len(images)), index=images["image_id"])
    tables = []
    names = [*zip(runs["run"], runs["source"], runs["fold"], runs["weights_digest"], strict=True)]
    names += [(name, name, fold, "") for name in BASELINES for fold in sorted(runs["fold"].unique())]
    luck = {name: rng.normal(0, pretraining) for name in runs["weights_digest"].unique()}
    for run, source, fold, weights in names:
        some = images[images["fold"] == fold][["image_id", "patient_id", "fold"]].assign(
            run=run, threshold=0.3
        )
        level = (
            dice[source]
            + luck.get(weights, 0)
            + some["image_id"].map(shared)
            + rng.normal(0, 0.02, len(some))
        )
        for figure in MAP_FIGURES:
            some[figure] = level.clip(0, 1)
        map = rng.random((3, 3)).astype(np.float16)
        tables.append(some.assign(map_height=3.0, map_width=3.0, map=map.tobytes()))
    pd.concat(tables, ignore_index=True).to_parquet(folder / "localisation.parquet")
    masks = [np.eye(20, 30, dtype=bool) | (np.indices((20, 30)).sum(0) < 20) for _ in images["image_id"]]
    manifest = images[["image_id", "patient_id", "label"]].assign(
        class_name="x", width=30, height=20, sha256="0", has_mask=True
    )
    pixels = np.zeros((len(images), 16, 16, 1), dtype=np.uint8)
    write_packed(study.dataset_dir(TASK), pixels, manifest.reset_index(drop=True), masks=masks)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    study = make_study(tmp_path_factory.mktemp("dice"))
    fabricate(study, {"radiology": 1.5, "photographs": 1.0, "random": 0.5})
    level = {"radiology": 0.5, "photographs": 0.4, "random": 0.4, "whole_image": 0.3, "centred_blob": 0.45}
    fabricate_maps(study, level)
    results = load_results(study)
    located = lesions.load_localised(study, results)
    return study, results, located, compare_lesions.compare_found(study, [located])


def test_table_holds_the_contract_and_the_plain_means(planted):
    study, results, _, table = planted
    named = "task method metric source_a source_b mean_a mean_b delta relative_gain ci_low ci_high"
    contract = f"{named} p_value p_holm n_patients n_images resamples simulated".split()
    assert set(contract) <= set(table.columns)
    assert len(table) == 2 * len(MAP_FIGURES)
    row = table[(table["metric"] == "dice") & (table["source_a"] == "radiology")].iloc[0]
    stored = pd.read_parquet(study.result_dir(TASK) / "localisation.parquet")
    runs = results.runs.set_index("run")["source"]
    means = stored.assign(source=stored["run"].map(runs)).groupby(["source", "image_id"])["dice"].mean()
    assert row["mean_a"] == pytest.approx(means["radiology"].mean())
    assert row["delta"] == pytest.approx(means["radiology"].mean() - means["photographs"].mean())
    assert row["relative_gain"] == pytest.approx(row["mean_a"] / row["mean_b"] - 1)
    assert row["ci_low"] < 0.1 < row["ci_high"] and row["ci_low"] > 0.05
    same = table[(table["metric"] == "dice") & (table["source_b"] == "random")].iloc[0]
    assert same["ci_low"] < 0 < same["ci_high"]


def test_saved_table_is_read_again(planted, tmp_path):
    study = planted[0].model_copy(update={"root": tmp_path})
    with pytest.raises(UserError, match="no dice.csv .* dvc repro dice"):
        DICE.read(study)
    DICE.write(study, planted[3])
    assert DICE.read(study)["delta"].to_numpy() == pytest.approx(planted[3]["delta"], rel=1e-4)


def test_study_without_masks_gives_an_empty_table(tmp_path):
    study = make_study(tmp_path)
    fabricate(study, {"radiology": 1.5, "photographs": 1.0, "random": 0.5})
    results = load_results(study)
    located = lesions.load_localised(study, results)
    table = compare_lesions.compare_found(study, [located])
    assert located.tasks == [] and len(table) == 0 and list(table) == DICE.names
    DICE.write(study, table)
    assert len(DICE.read(study)) == 0
    assert len(DICE.shown(study, table)) == 0
    assert lesion_findings(study, table) == []


@pytest.mark.parametrize("networks", [["resnet50"], None], ids=["one network", "all"])
def test_maps_of_one_place_are_left_out_and_said(planted, tmp_path, networks):
    study, results, _, _ = planted
    other, runs = study.model_copy(update={"root": tmp_path}), results.of_task(TASK)
    networks = networks or sorted(runs["backbone"].unique())
    pointless = runs["run"][runs["backbone"].isin(networks)]
    stored = pd.read_parquet(study.result_dir(TASK) / "localisation.parquet")
    stored.loc[stored["run"].isin(pointless), ["map_height", "map_width"]] = 1.0
    other.result_dir(TASK).mkdir(parents=True)
    stored.to_parquet(other.result_dir(TASK) / "localisation.parquet")
    located = lesions.load_localised(other, results)
    left = sorted(set(runs["backbone"]) - set(networks))
    assert [sorted(some["backbone"].unique()) for some in located.runs.values()] == ([left] if left else [])
    assert located.tasks == ([TASK] if left else [])
    assert (
        len(located.notes) == 1 and f"maps of {', '.join(networks)} have a single place" in located.notes[0]
    )


def test_missing_run_is_one_sentence(planted, tmp_path):
    study, results, _, _ = planted
    other = study.model_copy(update={"root": tmp_path})
    stored = pd.read_parquet(study.result_dir(TASK) / "localisation.parquet")
    other.result_dir(TASK).mkdir(parents=True)
    path = other.result_dir(TASK) / "localisation.parquet"
    stored[stored["run"] != results.runs["run"].iloc[0]].to_parquet(path)
    with pytest.raises(UserError, match="lacks 1 of the runs .* dvc repro"):
        lesions.load_localised(other, results)
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(UserError, match="localisation.parquet cannot be read"):
        lesions.load_localised(other, results)


def test_findings_follow_the_numbers(planted):
    study, _, _, table = planted
    (found,) = lesion_findings(study, table)
    row = table[(table["metric"] == "dice") & (table["source_a"] == "radiology")].iloc[0]
    assert (found.value, found.low, found.high) == (row["delta"], row["ci_low"], row["ci_high"])
    assert found.verdict.startswith("higher; relative gain +") and found.verdict.endswith("published +65%")
    # Random weights and photographs have 0.4 each, the ellipse 0.45.
    assert (table["verdict"] == np.where(table["source_b"] == "random", BLIND, "higher")).all()


def test_figures_show_what_the_tables_hold(planted):
    study, results, located, table = planted
    panel = lesion_forest(study, table).axes[0]
    assert [t.get_text() for t in panel.get_yticklabels()] == [
        "Thyroid US, class-activation maps\n(over patients)"
    ]
    marks = [line.get_xdata()[0] for line in panel.lines if line.get_marker() == "o"]
    assert marks == [table[table["metric"] == "dice"]["delta"].iloc[0]]
    spread = dice_by_source(study, located)
    shown = [t.get_text() for t in spread.axes[0].get_yticklabels()]
    assert shown == ["Simulated radiology", "Simulated photographs", "Random weights", "whole image",
                     "centred ellipse"]  # fmt: skip
    cases = chosen_cases(study, located, TASK)
    runs = results.runs[results.runs["source"].isin(PAIR)]
    mean = located.means(TASK, runs)["dice"]
    assert (cases["best"], cases["worst"]) == (mean.idxmax(), mean.idxmin())
    assert mean[cases["median"]] == pytest.approx(mean.median(), abs=0.01)
    maps = overlays(study, located, TASK, open_packed(study.dataset_dir(TASK)))
    *panels, bar = maps.axes
    assert "maps of 3 x 3 places" in bar.get_ylabel()
    assert "Thyroid US, class-activation maps: mean over a source's runs" in maps.get_suptitle()
    hatched = [some for axis in panels for some in axis.collections if any(getattr(some, "hatches", []))]
    assert len(hatched) == sum("nothing marked" not in axis.get_xlabel() for axis in panels)
    titles = {axis.get_title() for axis in panels}
    assert titles == {"Simulated radiology", "Simulated photographs", "Random weights"}
    labels = [axis.get_xlabel() for axis in maps.axes[:3]]
    best = (
        located.images[TASK]
        .query("image_id == @cases['best']")
        .merge(results.runs[["run", "source"]], on="run")
    )
    scores = [f"Dice {best[best['source'] == s]['dice'].mean():.2f}" for s in study.sources]
    assert [label.partition(",")[0] for label in labels] == scores
    others = replace(located, runs={TASK: results.runs[results.runs["source"] == "random"]})
    assert overlays(study, others, TASK, open_packed(study.dataset_dir(TASK))) is None, (
        "no maps of the headline"
    )
    plt.close("all")


def test_no_verdict_where_runs_diverged(planted):
    study, _, located, table = planted
    runs = located.runs[TASK]
    lost = (runs["source"] == "radiology") & (runs["fold"] == 0)
    spoilt = replace(located, runs={TASK: runs.assign(diverged=lost)})
    again = compare_lesions.compare_found(study, [spoilt])
    said = f"{lost.sum()} of {(runs['source'] == 'radiology').sum()} runs of radiology diverged"
    assert list(again) == [*table, "diverged"]
    pairs = again.groupby("source_b")["diverged"].first()
    assert pairs["photographs"] == said and pd.isna(pairs["random"])
    (found,) = lesion_findings(study, again)
    assert found.verdict == f"no verdict: {said}"


def test_several_seeds_hold_the_luck_of_training(planted, tmp_path):
    assert set(planted[3]["resampled"]) == {"patients"}
    study = make_study(tmp_path)
    transfer = study.transfer.model_copy(update={"seeds": [0, 1]})
    study = study.model_copy(update={"transfer": transfer})
    fabricate(study, {"radiology": 1.5, "photographs": 1.0, "random": 0.5})
    level = {"radiology": 0.5, "photographs": 0.4, "random": 0.4, "whole_image": 0.3, "centred_blob": 0.45}
    fabricate_maps(study, level)
    located = lesions.load_localised(study, load_results(study))
    table = compare_lesions.compare_found(study, [located])
    assert set(table["resampled"]) == {"patients and trainings"}
    row = table[(table["metric"] == "dice") & (table["source_a"] == "radiology")].iloc[0]
    images = located.images[TASK].merge(located.runs[TASK][["run", "source"]], on="run")
    means = images.groupby(["source", "image_id"])["dice"].mean()
    assert row["delta"] == pytest.approx(means["radiology"].mean() - means["photographs"].mean())
    assert row["ci_low"] < 0.1 < row["ci_high"] and row["n_runs"] == 32


@pytest.mark.parametrize(
    ("guess", "verdict"), [(0.48, "higher"), (0.4995, BLIND), (0.6, BLIND)], ids=["below", "as good", "above"]
)
def test_a_source_is_called_better_only_if_it_surely_beats_a_fixed_shape(tmp_path, guess, verdict):
    """The sources differ by 0.1 in all three; the better one has 0.5."""
    study = make_study(tmp_path)
    fabricate(study, {"radiology": 1.5, "photographs": 1.0, "random": 0.5})
    level = {"radiology": 0.5, "photographs": 0.4, "random": 0.4, "whole_image": guess, "centred_blob": 0.3}
    fabricate_maps(study, level)
    located = lesions.load_localised(study, load_results(study))
    table = compare_lesions.compare_found(study, [located])
    dice = table[table["metric"] == "dice"].set_index("source_b").loc["photographs"]
    assert dice["ci_low"] > 0.05 and dice["p_holm"] < 0.05, "the sources themselves differ"
    assert dice["guess"] == pytest.approx(guess, abs=0.02), "the better of the two guesses"
    assert dice["lead_low"] < 0.5 - guess < dice["lead_high"]
    assert dice["verdict"] == verdict
    (found,) = lesion_findings(study, table)
    assert found.verdict.startswith(
        f"{verdict} (Dice {dice['guess']:.3f})" if verdict == BLIND else "higher; "
    )
    heads = [line for line in lesion_forest(study, table).axes[0].lines if line.get_marker() == "o"]
    assert (heads[0].get_markerfacecolor() == "white") == (verdict == BLIND)
    plt.close("all")


def test_several_pretrainings_widen_the_interval_to_other_pretrainings(tmp_path):
    study = make_study(tmp_path)
    pretrain = study.pretrain.model_copy(update={"replicates": 3})
    study = study.model_copy(update={"pretrain": pretrain})
    fabricate(study, {"radiology": 1.5, "photographs": 1.0, "random": 0.5})
    level = {"radiology": 0.5, "photographs": 0.4, "random": 0.4, "whole_image": 0.3, "centred_blob": 0.3}
    fabricate_maps(study, level, pretraining=0.1)
    located = lesions.load_localised(study, load_results(study))
    every = compare_lesions.compare_found(study, [located])
    assert set(every["resampled"]) == {"patients and pretrainings"}
    first = replace(located, runs={TASK: located.runs[TASK][located.runs[TASK]["replicate"] == 0]})
    these = compare_lesions.compare_found(study, [first])
    assert set(these["resampled"]) == {"patients"}
    for low, high in (("ci_low", "ci_high"), ("lead_low", "lead_high")):
        widths = [table[high] - table[low] for table in (every, these)]
        assert (widths[0] > 3 * widths[1]).all()
    row = every[(every["metric"] == "dice") & (every["source_a"] == "radiology")].iloc[0]
    images = located.images[TASK].merge(located.runs[TASK][["run", "source"]], on="run")
    means = images.groupby(["source", "image_id"])["dice"].mean()
    assert row["delta"] == pytest.approx(means["radiology"].mean() - means["photographs"].mean())
    assert row["n_runs"] == 2 * len(located.runs[TASK]) / 3


def test_a_published_file_is_one_beside_several_pretrainings(tmp_path):
    study = make_study(tmp_path)
    study = study.model_copy(update={"pretrain": study.pretrain.model_copy(update={"replicates": 2})})
    fabricate(study, {"radiology": 1.5, "photographs": 1.0, "random": 0.5})
    level = {"radiology": 0.5, "photographs": 0.4, "random": 0.4, "whole_image": 0.3, "centred_blob": 0.3}
    fabricate_maps(study, level)
    located = lesions.load_localised(study, load_results(study))
    runs = located.runs[TASK]
    file = replace(located, runs={TASK: runs[(runs["source"] != "photographs") | (runs["replicate"] == 0)]})
    table = compare_lesions.compare_found(study, [file])
    assert set(table["resampled"]) == {"patients and pretrainings"}
    assert (table["n_runs"] == 3 * len(runs) / 6).all()
