"""The comparison finds what was planted, chooses by validation only, and refuses broken results."""

import json
import math
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from radlib.errors import UserError
from radlib.questions.auc import compute as compare
from radlib.questions.auc.compute import AUC, OVERALL
from radlib.questions.auc.show import auc_findings, auc_of_sources, headline_sentence, read_tables
from radlib.questions.auc.sources import SOURCES, claim_of, compare_pretrainings
from radlib.report import published, summary
from radlib.study import load_study
from radlib.training.results import load_results, read_result
from tests import paper_files
from tests.conftest import REPOSITORY
from tests.fabricated import fabricate, make_study, read_results, write_results

CONTRACT = [
    "task", "estimate", "source_a", "source_b", "auc_a", "auc_b", "delta", "ci_low", "ci_high",
    "p_value", "p_holm", "n_patients", "n_images", "n_positive", "n_runs", "resamples", "simulated",
]  # fmt: skip
HEADLINE = ("radiology", "photographs")


def row_of(table, pair=HEADLINE, estimate="grid_mean", task=None):
    chosen = table[(table["source_a"] == pair[0]) & (table["source_b"] == pair[1])]
    chosen = chosen[chosen["estimate"] == estimate]
    return (chosen if task is None else chosen[chosen["task"] == task]).iloc[0]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Radiology far ahead of photographs, photographs equal to random."""
    study = make_study(tmp_path_factory.mktemp("planted"), ("thyroid_us", "breast_us"))
    fabricate(study, {"radiology": 1.6, "photographs": 0.8, "random": 0.8})
    results = load_results(study)
    return study, results, compare.compare_sources(study, results)


def test_planted_difference_is_found_with_its_size(planted):
    _, _, found = planted
    # Score = strength x label + noise of patient (SD .5), image (1) and run (.5): the binormal AUC.
    spread = math.sqrt(2 * (0.25 + 1 + 0.25))
    truth = norm.cdf(1.6 / spread) - norm.cdf(0.8 / spread)
    row = row_of(found.overall)
    assert row["ci_low"] > 0 and row["p_value"] < 0.05
    assert row["delta"] == pytest.approx(truth, abs=0.04)
    equal = row_of(found.overall, ("photographs", "random"))
    assert equal["ci_low"] < 0 < equal["ci_high"]


def test_columns_counts_and_grid_mean(planted):
    study, _, found = planted
    table = found.table
    assert list(table)[: len(CONTRACT)] == CONTRACT
    assert len(table) == 2 * 2 * 2 and table["simulated"].all()
    runs, predictions = read_results(study, "thyroid_us")
    row = row_of(table, task="thyroid_us")
    means = runs.groupby("source")["test_auc"].mean()
    assert row["auc_a"] == pytest.approx(means["radiology"])
    assert row["delta"] == pytest.approx(means["radiology"] - means["photographs"])
    settings = runs[runs["source"] == "radiology"].groupby(["train", "lr"])["test_auc"].mean()
    assert row["sd_a"] == pytest.approx(settings.std(ddof=1))
    images = predictions.drop_duplicates("image_id")
    assert row["n_images"] == len(images) and row["n_positive"] == images["label"].sum()
    assert row["n_patients"] == images["patient_id"].nunique()
    assert row["n_runs"] == (runs["source"] == "radiology").sum()


def test_auc_is_of_the_positive_class(planted):
    study, results, found = planted
    row = row_of(found.table, estimate="best_by_validation", task="breast_us")
    _, predictions = read_results(study, "breast_us")
    runs = compare.chosen_runs(results.of_task("breast_us").query("source == 'radiology'"))
    expected = [
        roc_auc_score(*predictions[predictions["run"] == run][["label", "score"]].to_numpy().T)
        for run in runs["run"]
    ]
    assert row["auc_a"] == pytest.approx(np.mean(expected))
    assert row["n_runs"] == len(expected) == 2


def test_overall_is_the_mean_over_tasks_and_narrower(planted):
    _, _, found = planted
    for estimate in ("grid_mean", "best_by_validation"):
        tasks = found.table[
            (found.table["estimate"] == estimate) & (found.table["source_b"] == "photographs")
        ]
        row = row_of(found.overall, estimate=estimate)
        assert row["delta"] == pytest.approx(tasks["delta"].mean())
        assert row["n_tasks"] == 2 and row["n_patients"] == tasks["n_patients"].sum()
        widths = tasks["ci_high"] - tasks["ci_low"]
        assert row["ci_high"] - row["ci_low"] < widths.max()


def test_holm_goes_across_tasks_within_pair_and_estimate(planted):
    _, _, found = planted
    for _, group in found.table.groupby(["source_a", "source_b", "estimate"]):
        p = np.sort(group["p_value"].to_numpy())
        expected = [min(1, 2 * p[0]), max(min(1, 2 * p[0]), p[1])]
        assert np.sort(group["p_holm"].to_numpy()) == pytest.approx(expected)


def test_results_do_not_depend_on_the_order_of_tasks_or_rows(planted, tmp_path):
    study, _, found = planted
    other = make_study(tmp_path, ("breast_us", "thyroid_us"))
    for task in other.tasks:
        runs, predictions = read_results(study, task)
        shuffled = predictions.sample(frac=1, random_state=1)
        write_results(other, task, runs.sample(frac=1, random_state=2), shuffled)
    again = compare.compare_sources(other, load_results(other)).table
    key = ["task", "estimate", "source_a", "source_b"]
    pd.testing.assert_frame_equal(
        again.sort_values(key, ignore_index=True), found.table.sort_values(key, ignore_index=True)
    )


def test_equal_sources_are_rarely_told_apart(tmp_path):
    hits = 0
    for seed in range(20):
        root = tmp_path / str(seed)
        root.mkdir()
        study = make_study(root, compare={"pairs": [], "headline": list(HEADLINE), "resamples": 400})
        fabricate(study, {"radiology": 1.0, "photographs": 1.0, "random": 1.0}, seed=100 + seed)
        row = compare.compare_sources(study, load_results(study)).table.iloc[0]
        hits += row["ci_low"] > 0 or row["ci_high"] < 0
    assert hits <= 4  # binomial(20, .05): more than 4 has probability 0.003


def test_one_task_s_predictions_at_a_time_are_in_memory(planted, monkeypatch):
    """With its texts, a table of predictions is many times larger than what is kept of it."""
    study, _, _ = planted
    seen, held = [], []

    def read(path: Path, *others) -> pd.DataFrame:
        held.append(sum(table() is not None for table in seen))
        table = read_result(path, *others)
        seen.append(weakref.ref(table))
        return table

    monkeypatch.setattr("radlib.training.results.read_result", read)
    load_results(study, [*study.tasks, *study.tasks, *study.tasks])
    assert max(held) <= 3, "two tables of the task before, and the runs of this one"


def test_selection_reads_validation_only(planted):
    _, results, _ = planted
    runs = results.of_task("thyroid_us").query("source == 'radiology'")
    scrambled = runs.assign(test_auc=np.random.default_rng(0).random(len(runs)))
    assert list(compare.chosen_runs(scrambled)["run"]) == list(compare.chosen_runs(runs)["run"])
    worst = runs.groupby(["backbone", "train", "lr"])["val_auc"].mean().idxmin()
    chosen = (runs[["backbone", "train", "lr"]] == list(worst)).all(axis=1)
    liked = compare.chosen_runs(runs.assign(val_auc=runs["val_auc"] + chosen))
    assert (liked[["backbone", "train", "lr"]] == list(worst)).all(axis=None)


def test_every_fold_chooses_with_its_own_validation_part(planted):
    """Who is tested in one fold validates in another, so other validation parts must not count."""
    _, results, _ = planted
    runs = results.of_task("thyroid_us").query("source == 'radiology'")
    chosen = compare.chosen_runs(runs)
    assert list(chosen["fold"]) == sorted(runs["fold"].unique())
    for fold, some in runs.groupby("fold"):
        own = chosen.loc[chosen["fold"] == fold, "run"].tolist()
        assert some.set_index("run").loc[own, "val_auc"].eq(some["val_auc"].max()).all()
        others = runs.assign(val_auc=runs["val_auc"].where(runs["fold"] == fold, 1 - runs["val_auc"]))
        again = compare.chosen_runs(others)
        assert again.loc[again["fold"] == fold, "run"].tolist() == own


def test_networks_with_several_pretrainings_and_with_one_are_chosen_from_alike(tmp_path):
    """Only the first pretraining, which both networks have; so every fold has as many runs on either side."""
    study = make_study(tmp_path, backbones=("resnet50", "densenet121"))
    networks = {"resnet50": study.backbones["resnet50"].model_copy(update={"replicates": 3})}
    study = study.model_copy(update={"backbones": study.backbones | networks})
    fabricate(study, {"radiology": 1.5, "photographs": 1.0, "random": 0.5})
    runs, predictions = read_results(study, "thyroid_us")
    liked = (runs["backbone"] == "resnet50") & (runs["fold"] == 0) & (runs["source"] == "radiology")
    write_results(study, "thyroid_us", runs.assign(val_auc=runs["val_auc"].mask(liked, 0.99)), predictions)
    results = load_results(study)
    row = row_of(compare.compare_sources(study, results).table, estimate="best_by_validation")
    assert row["n_runs"] == 2 and "resnet50" in row["setting_a"]
    chosen = compare.chosen_runs(results.of_task("thyroid_us").query("source == 'radiology'"))
    assert list(chosen["replicate"]) == [0, 0] and row["auc_a"] == pytest.approx(chosen["test_auc"].mean())


def test_choosing_a_setting_does_not_flatter_the_test():
    """Fifteen equal settings that suit patients differently; 150 patients, tested and validating by turns."""
    rng, gain, studies = np.random.default_rng(0), {"own": [], "all": []}, 60
    for _ in range(studies):
        suits = rng.normal(size=(15, 150))  # by setting and patient; every setting is worth 0 in truth
        fold_of = rng.permutation(np.arange(150) % 5)
        rows = []
        for fold, setting in np.ndindex(5, 15):
            val, test = suits[setting, fold_of == (fold + 1) % 5], suits[setting, fold_of == fold]
            rows.append((f"n{setting:02d}", "frozen", 0.1, 0, fold, 0, val.mean(), 0.0, test.mean()))
        columns = ["backbone", "train", "lr", "replicate", "fold", "seed", "val_auc", "val_loss", "test_auc"]
        runs = pd.DataFrame(rows, columns=columns)
        gain["own"].append(compare.chosen_runs(runs)["test_auc"].mean())
        best = runs.groupby("backbone")["val_auc"].mean().idxmax()
        gain["all"].append(runs.loc[runs["backbone"] == best, "test_auc"].mean())
    error = {name: np.std(some) / np.sqrt(studies) for name, some in gain.items()}
    assert abs(np.mean(gain["own"])) < 4 * error["own"]
    assert np.mean(gain["all"]) > 9 * error["all"], "as choosing over all folds does"


def test_selection_breaks_ties_by_loss_then_name():
    runs = pd.DataFrame(
        {
            "backbone": list("bbaacc"),
            "train": "all",
            "lr": 0.1,
            "fold": 0,
            "replicate": 0,
            "seed": [0, 1] * 3,
            "val_auc": [0.7, 0.9, 0.8, 0.8, 0.8, 0.8],
            "val_loss": [0.5, 0.5, 0.5, 0.5, 0.4, 0.4],
        }
    )
    assert list(compare.chosen_runs(runs)["backbone"]) == ["c", "c"]
    assert list(compare.chosen_runs(runs.assign(val_loss=0.5))["backbone"]) == ["a", "a"]


def test_pair_with_a_partial_source_uses_common_settings(tmp_path):
    checkpoint = {
        "path": "data/raw/weights",
        "files": {"resnet50": "x.pt"},
        "title": "ImageNet",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    study = make_study(
        tmp_path,
        backbones=("resnet50", "densenet121"),
        sources=["radiology", "photographs", "random", "imagenet"],
        checkpoints={"imagenet": checkpoint},
        compare={"pairs": [["radiology", "imagenet"]], "headline": list(HEADLINE), "resamples": 400},
    )
    fabricate(study, {"radiology": 1.5, "photographs": 1.0, "random": 0.5, "imagenet": 1.0})
    results = load_results(study)
    table = compare.compare_sources(study, results).table
    assert row_of(table)["n_runs"] == 2 * 4 * 2
    partial = row_of(table, ("radiology", "imagenet"))
    assert partial["n_runs"] == 4 * 2
    runs = results.of_task("thyroid_us").query("source == 'radiology' and backbone == 'resnet50'")
    assert partial["auc_a"] == pytest.approx(runs["test_auc"].mean())


def test_pair_without_common_runs_is_left_out_and_said(tmp_path):
    frame = {"mean": [0.5] * 3, "std": [0.5] * 3, "path": "data/raw/weights"}
    one = {**frame, "files": {"resnet50": "x.pt"}}
    two = {**frame, "files": {"densenet121": "x.pt"}}
    study = make_study(
        tmp_path,
        backbones=("resnet50", "densenet121"),
        sources=["radiology", "photographs", "one", "two"],
        checkpoints={"one": one, "two": two},
        compare={"pairs": [["one", "two"]], "headline": list(HEADLINE), "resamples": 400},
    )
    fabricate(study, {"radiology": 1.5, "photographs": 1.0, "one": 1.0, "two": 1.0})
    found = compare.compare_sources(study, load_results(study))
    assert set(found.table["source_a"]) == {"radiology"}
    assert any("one − two has no runs in common" in note for note in found.notes)


def test_too_few_resamples_for_holm_are_said(tmp_path):
    options = {"pairs": [], "headline": list(HEADLINE), "resamples": 100}
    study = make_study(tmp_path, ("a", "b", "c"), compare=options)
    fabricate(study, {"radiology": 2.0, "photographs": 0.5, "random": 0.5})
    found = compare.compare_sources(study, load_results(study))
    assert (found.table["p_holm"] >= 0.05).all()
    assert any("too few for Holm's correction over 3 tasks" in note for note in found.notes)


# Broken results -------------------------------------------------------------------------------------------


def drop_run(runs, predictions):
    return runs.iloc[1:], predictions[predictions["run"] != runs["run"].iloc[0]]


def other_images(runs, predictions):
    first = predictions["run"] == runs["run"].iloc[0]
    return runs, predictions.assign(
        image_id=predictions["image_id"].mask(first, "x" + predictions["image_id"])
    )


def fewer_images(runs, predictions):
    return runs, predictions.iloc[1:]


def shared_patient(runs, predictions):
    return runs, predictions.assign(patient_id=predictions["patient_id"].str.replace("f1_p000", "f0_p000"))


def not_finite(runs, predictions):
    return runs, predictions.assign(score=predictions["score"].mask(predictions.index == 3))


def no_predictions(runs, predictions):
    return runs, predictions[predictions["run"] != runs["run"].iloc[0]]


def other_auc(runs, predictions):
    return runs.assign(test_auc=1 - runs["test_auc"]), predictions


def two_datas(runs, predictions):
    return runs.assign(data_digest=[str(i % 2) for i in range(len(runs))]), predictions


def run_twice(runs, predictions):
    return pd.concat([runs, runs.iloc[:1]]), predictions


def no_column(runs, predictions):
    return runs, predictions.drop(columns="patient_id")


BROKEN = {
    drop_run: "1 of 24 runs of the study are not in the table of runs",
    other_images: "not all runs were tested on the same images",
    fewer_images: "not all runs were tested on the same images",
    shared_patient: "patient f0_p000 is in the test part of two folds",
    not_finite: "a score is no finite number",
    no_predictions: "1 runs have no predictions",
    other_auc: "test_auc in runs.parquet does not follow from the predictions",
    two_datas: "different versions of the data",
    run_twice: "holds a run twice",
    no_column: "lacks the column patient_id",
}


@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__)
def test_broken_results_are_refused(planted, tmp_path, damage):
    source = planted[0]
    study = make_study(tmp_path)
    write_results(study, "thyroid_us", *damage(*read_results(source, "thyroid_us")))
    with pytest.raises(UserError, match=BROKEN[damage]):
        load_results(study)


def test_unharmed_copy_is_accepted_and_foreign_runs_are_left_out(planted, tmp_path):
    study = make_study(tmp_path, sources=["radiology", "photographs"], compare={
        "pairs": [], "headline": list(HEADLINE), "resamples": 400})  # fmt: skip
    write_results(study, "thyroid_us", *read_results(planted[0], "thyroid_us"))
    results = load_results(study)
    assert set(results.runs["source"]) == set(HEADLINE)
    assert results.notes == ["Thyroid US: 8 stored runs lie outside this study"]


def test_missing_results_name_task_and_remedy(tmp_path):
    with pytest.raises(UserError, match="task 'thyroid_us' has no runs.parquet .* dvc repro"):
        load_results(make_study(tmp_path))


def test_two_weights_under_one_name_are_refused(planted, tmp_path):
    study = make_study(tmp_path, ("thyroid_us", "breast_us"))
    for task in study.tasks:
        runs, predictions = read_results(planted[0], task)
        write_results(study, task, runs.assign(weights_digest=runs["weights_digest"] + task), predictions)
    with pytest.raises(UserError, match="started from different weights"):
        load_results(study)


# Files and words ------------------------------------------------------------------------------------------


def test_saved_tables_and_metrics(planted, tmp_path):
    study = planted[0].model_copy(update={"root": tmp_path})
    with pytest.raises(UserError, match="no auc.csv .* dvc repro auc"):
        read_tables(study)
    AUC.write(study, planted[2].table)
    OVERALL.write(study, planted[2].overall)
    table, overall = read_tables(study)
    assert len(table) == 8 and len(overall) == 4
    assert table["delta"].to_numpy() == pytest.approx(planted[2].table["delta"].to_numpy(), rel=1e-4)
    dice = pd.DataFrame([["breast_us", "localisation", "dice", *HEADLINE, 0.1, 0.0, 0.2]])
    columns = ["task", "method", "metric", "source_a", "source_b", "delta", "ci_low", "ci_high"]
    controls = pd.DataFrame({"passed": [True, False]})
    claim = claim_of(study, overall)
    summary.save_metrics(study, claim, table, overall, dice.set_axis(columns, axis=1), controls)
    numbers = json.loads((study.report_dir / "metrics.json").read_text())
    assert numbers["lesions"]["breast_us"]["localisation"]["dice"]["delta"] == 0.1
    assert set(numbers["tasks"]) == {"thyroid_us", "breast_us"}
    assert numbers["controls_passed"] is False
    grid = numbers["overall"]["radiology_minus_photographs"]["grid_mean"]
    assert set(grid) == {"delta", "ci_low", "ci_high"} and grid["ci_low"] < grid["delta"] < grid["ci_high"]
    assert not [
        p for p in study.report_dir.iterdir() if p.name not in {"auc.csv", "overall.csv", "metrics.json"}
    ]


@pytest.mark.parametrize(
    ("low", "high", "verdict", "words"),
    [
        (0.01, 0.05, "better", "AUC was higher with {a} than with {b} by 0.030 (95 % CI 0.010 to 0.050)"),
        (-0.05, -0.01, "worse", "AUC was lower with {a} than with {b} by 0.030 (95 % CI 0.010 to 0.050)"),
        (
            -0.01,
            0.02,
            "undecided",
            "Neither a difference in AUC nor equivalence (within ±0.01) was shown between {a}",
        ),
        (
            -0.01,
            0.02,
            "equivalent",
            "AUC was equivalent with {a} and with {b}: difference +0.005 (95 % CI −0",
        ),
        (0.01, 0.05, "no verdict: 2 of 8 runs of x diverged", "{a} against {b}, no verdict: 2 of 8 runs"),
    ],
)
def test_headline_words_follow_from_the_verdict(planted, low, high, verdict, words):
    study, _, found = planted
    overall = found.overall.assign(ci_low=low, ci_high=high, delta=(low + high) / 2, verdict=verdict)
    text = headline_sentence(study, claim_of(study, overall))
    assert words.format(a="Simulated radiology", b="Simulated photographs") in text
    assert "160 tested patients" in text


def test_findings_of_tasks_are_those_after_the_correction(planted):
    study, _, found = planted
    table = found.table.assign(verdict="better", verdict_holm="undecided")
    said = auc_findings(study, table, found.overall, SOURCES.frame())
    assert [f.verdict for f in said if ": Thyroid US (" in f.subject or ": Breast US (" in f.subject] == 2 * [
        "undecided"
    ]
    mean = next(f for f in said if "mean over the settings" in f.subject)
    row = row_of(found.overall)
    assert (mean.value, mean.low, mean.high) == (row["delta"], row["ci_low"], row["ci_high"])


def test_auc_of_every_source_and_task_is_on_one_table(planted):
    study, results, found = planted
    wide = auc_of_sources(study, found.table)
    means = results.runs.groupby(["task", "source"])["test_auc"].mean()
    assert wide.loc["Breast US", "Random weights"] == f"{means['breast_us', 'random']:.3f}"
    assert wide.shape == (2, 3)


def test_published_values_stand_beside_ours(planted):
    study, results, found = planted
    empty = SOURCES.frame()
    shown = summary.beside_published(study, found.table.assign(ci_low=0.039, ci_high=0.041), empty)
    assert list(shown["interval covers it"]) == ["yes", "yes"] and list(shown["same data"]) == ["no", "no"]
    assert published.PRETRAINING.loc["resnet50"].iloc[0] == 72.3
    none = {name: task.model_copy(update={"published_delta": None}) for name, task in study.tasks.items()}
    assert summary.beside_published(study.model_copy(update={"tasks": none}), found.table, empty) is None
    # As the headline figure has them: every network counts the same.
    drawn = compare_pretrainings(study, {study.claimed: results}).assign(delta=0.25, ci_low=0.2, ci_high=0.3)
    assert set(summary.beside_published(study, found.table, drawn).iloc[:, 0]) == {
        "+0.250 (+0.200 to +0.300)"
    }


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("studies/*.yaml")), ids=lambda path: path.stem)
def test_studies_quote_the_published_differences(path):
    for name, task in load_study(path=path).tasks.items():
        assert task.published_delta in (None, paper_files.TRANSFER.get(name)), name


def test_data_and_pretraining_tables(planted, tmp_path):
    study = planted[0].model_copy(update={"root": tmp_path})
    assert published.pretraining_table(study) is None
    with pytest.raises(UserError, match="'radiology' is not prepared"):
        summary.data_table(study)
    for name in [*study.corpora, *study.tasks]:
        folder = study.dataset_dir(name)
        folder.mkdir(parents=True)
        # Who is not named is called as an image is.
        images = ["a", "x2", "b"] if name == "photographs" else ["x1", "x2", "b"]
        manifest = pd.DataFrame({"image_id": images, "patient_id": ["a", "a", "b"], "label": [0, 1, 1]})
        manifest.to_parquet(folder / "manifest.parquet")
        (folder / "dropped.csv").write_text("image_id,reason\nx,blank\n")
        audit = {"patients_published": name in study.tasks, "patients_guessed": False}
        (folder / "audit.json").write_text(json.dumps(audit))
    data = summary.data_table(study)
    assert data.loc["Thyroid US", ["patients", "images", "not used"]].tolist() == ["2", "3", "1"]
    assert data.loc["Simulated photographs", "patients"] == "not named"
    assert data.loc["Simulated radiology", "patients"] == "named in part"
    model = study.model_file("radiology", "resnet50").with_suffix(".json")
    model.parent.mkdir(parents=True)
    accuracy = {"top1": 0.5, "top5": 0.9, "balanced_accuracy": 0.25}
    about = {"source": "radiology", "backbone": "resnet50", "n_images": 7, "n_classes": 10, "epochs": 2}
    model.write_text(json.dumps({**accuracy, **about}))
    model.with_suffix(".history.csv").write_text("epoch,val_loss\n1,2.5\n2,2.0\n")
    learnt = published.pretraining_table(study).loc["Simulated radiology", "resnet50"]
    assert learnt.tolist() == [1, 50.0, 90.0, 25.0, 2.5, "7", 2, -20.0]
    twice = {"resnet50": study.backbones["resnet50"].model_copy(update={"replicates": 2})}
    study = study.model_copy(update={"backbones": twice})
    model = study.model_file("radiology", "resnet50", 1).with_suffix(".json")
    model.write_text(json.dumps({**accuracy, **about, "balanced_accuracy": 0.75}))
    model.with_suffix(".history.csv").write_text("epoch,val_loss\n1,2.0\n2,2.0\n")
    learnt = published.pretraining_table(study).loc["Simulated radiology", "resnet50"]
    assert learnt.tolist() == [2, 50.0, 90.0, 50.0, 5.0, "7", 2, -10.0]
