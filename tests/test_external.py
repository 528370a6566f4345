"""Another hospital: its scores are the networks' own, change nothing inside, and a planted truth is found."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from radlib.errors import UserError
from radlib.questions import external
from radlib.questions.external import CHANGE, EXTERNAL, INSIDE, compare_external, external_findings
from radlib.simulate import simulated_task
from radlib.stats.bootstrap import bootstrap_delta
from radlib.stats.folds import FoldScores
from radlib.study import load_study
from radlib.training.results import load_results
from radlib.training.transfer import transfer
from tests.conftest import two_classes, write_packed
from tests.fabricated import fabricate, make_study, read_results, write_results

TASK, OTHER = "thyroid_us", "elsewhere"
HEADLINE = ("radiology", "photographs")


# What runs store ------------------------------------------------------------------------------------------
@pytest.fixture
def with_external(small_study):
    """One task whose external set is its own test images again, under other names."""
    task = small_study.tasks["breast_us"].model_copy(update={"external": OTHER, "folds": 1})
    study = small_study.model_copy(
        update={
            "tasks": {"breast_us": task, OTHER: task.model_copy(update={"external": None})},
            "sources": ["random"],
            "transfer": small_study.transfer.model_copy(update={"views": 1}),
        }
    )
    images, manifest = two_classes(60, 32, 1)
    write_packed(study.dataset_dir("breast_us"), images, manifest)
    test = np.flatnonzero(manifest["part_0"] == "test")
    outside = manifest.iloc[test].assign(image_id=lambda t: "x" + t["image_id"], part_0="train")
    write_packed(study.dataset_dir(OTHER), images[test], outside.reset_index(drop=True))
    return study


def test_the_networks_of_every_regime_say_outside_what_they_say_inside(with_external):
    done = transfer(with_external, "breast_us", save=True)
    assert set(done.runs["train"]) == {"frozen", "top", "all", "logistic", "knn"}
    inside, outside = (done.predictions[done.predictions["external"] == x] for x in (False, True))
    both = inside.merge(outside.assign(image_id=outside["image_id"].str[1:]), on=["run", "image_id"])
    assert len(both) == len(inside) == len(outside) > 0
    assert np.allclose(both["score_x"], both["score_y"], atol=1e-6)
    assert (both["label_x"] == both["label_y"]).all()
    results = load_results(with_external)
    assert results.tasks == ["breast_us"] and list(results.external) == ["breast_us"]
    assert results.external["breast_us"].scores.shape == (3, len(inside) // 5)


def test_an_external_set_changes_nothing_inside_and_only_runs_that_have_one(with_external):
    alone = with_external.tasks["breast_us"].model_copy(update={"external": None})
    without = with_external.model_copy(update={"tasks": {"breast_us": alone}})
    plain, done = transfer(without, "breast_us"), transfer(with_external, "breast_us")
    assert plain.computed == done.computed == 5 and "external" not in plain.predictions
    same = ["best_epoch", "val_loss", "val_auc", "val_threshold", "test_auc"]
    pd.testing.assert_frame_equal(plain.runs[same], done.runs[same], check_exact=True)
    inside = done.predictions[~done.predictions["external"]]
    assert np.array_equal(plain.predictions["score"], inside["score"])
    assert transfer(without, "breast_us").computed == 0  # the digest of runs without one stays


# What is compared -----------------------------------------------------------------------------------------
def fabricated(root, inside, outside, patients=60, names="x"):
    """Runs whose positives score `inside[source]` SD above negatives, outside `outside[source]`."""
    make_study(root, tasks=(TASK, OTHER))
    study = load_study({f"tasks.{TASK}.external": OTHER}, root / "params.yaml")
    fabricate(study.model_copy(update={"tasks": {TASK: study.tasks[TASK]}}), inside)
    runs, rows = read_results(study, TASK)
    rng = np.random.default_rng(7)
    patient = np.repeat(np.arange(patients), 2)
    about = pd.DataFrame(
        {
            "image_id": [f"{names}{i:03d}" for i in range(2 * patients)],
            "patient_id": [f"{names}p{p:02d}" for p in patient],
            "label": patient % 2,
        }
    )
    noise, parts = rng.normal(0, 1, 2 * patients), [rows.assign(external=False)]
    for run in runs.to_dict("records"):
        signal = outside[run["source"]] * about["label"] + noise + rng.normal(0, 0.3, 2 * patients)
        known = {"run": run["run"], "fold": run["fold"], "external": True}
        parts.append(about.assign(**known, score=norm.cdf(signal)))
    write_results(study, TASK, runs, pd.concat(parts, ignore_index=True))
    write_sets(study, rows.drop_duplicates("image_id"), about)
    return study


def write_sets(study, inside: pd.DataFrame, outside: pd.DataFrame) -> None:
    """Packed images, all different, for the search of copies."""
    for number, (name, table) in enumerate(((TASK, inside), (OTHER, outside))):
        rng = np.random.default_rng(number)
        images = rng.integers(0, 255, (len(table), 32, 32, 1)).astype(np.uint8)
        known = {"class_name": "a", "width": 32, "height": 32, "sha256": "0", "has_mask": False}
        manifest = table[["image_id", "patient_id", "label"]].assign(**known, part_0="test")
        write_packed(study.dataset_dir(name), images, manifest.reset_index(drop=True))


STRENGTH = {"radiology": 1.4, "photographs": 0.8, "random": 0.2}


def test_values_are_those_of_scikit_learn_and_a_planted_loss_is_found(tmp_path):
    study = fabricated(tmp_path, STRENGTH, {"radiology": 0.4, "photographs": 0.8, "random": 0.2}, 200)
    found = compare_external(study, load_results(study))
    row = found.table.iloc[0]
    assert (row["source_a"], row["source_b"]) == HEADLINE and row["external"] == OTHER
    runs, rows = read_results(study, TASK)
    mean = {}
    for source in HEADLINE:
        some = rows[rows["run"].isin(runs.loc[runs["source"] == source, "run"]) & rows["external"]]
        mean[source] = np.mean([roc_auc_score(r["label"], r["score"]) for _, r in some.groupby("run")])
    assert row["auc_a"] == pytest.approx(mean["radiology"])
    assert row["delta"] == pytest.approx(mean["radiology"] - mean["photographs"])
    inside = runs.groupby("source")["test_auc"].mean()
    assert row["inside"] == pytest.approx(inside["radiology"] - inside["photographs"])
    assert row["change"] == pytest.approx(row["delta"] - row["inside"])
    # planted: better inside, worse outside, so less outside than inside
    assert row["inside_low"] > 0 > row["ci_high"] and row["change_high"] < 0 and row["verdict"] == "worse"
    assert row["n_patients"] == 200 and row["n_left_out"] == 0 and not found.notes
    # nothing happened to the other pair
    other = found.table.iloc[1]
    assert other["change_low"] < 0 < other["change_high"]
    EXTERNAL.write(study, found.table)
    words = [f.verdict for f in external_findings(study, EXTERNAL.read(study))]
    assert words == ["worse", "lower"]
    EXTERNAL.shown(study, found.table)
    for figure in (external.sources_figure(study, found), external.change_figure(study, found.table)):
        assert figure.axes
        plt.close(figure)
    assert set(found.sources["where"]) == {INSIDE, external.OUTSIDE} and CHANGE in str(
        EXTERNAL.shown(study, found.table).columns
    )


def test_the_interval_of_the_difference_in_differences_covers_it():
    """90 simulated pairs of hospitals; a loses outside and b does not, so the true change is known."""
    rng, covered, confidence = np.random.default_rng(0), 0, 0.9
    level = {"in a": 1.5, "in b": 1.0, "out a": 0.8, "out b": 1.0}
    truth = {name: norm.cdf(shift / np.sqrt(2)) for name, shift in level.items()}
    change = truth["out a"] - truth["out b"] - truth["in a"] + truth["in b"]
    for study in range(90):
        found = {}
        for where, patients in (("in", 40), ("out", 60)):
            labels = np.arange(patients) % 2
            shared = rng.normal(0, np.sqrt(0.5), patients)
            sides = []
            for side in "ab":
                scores = shared + level[f"{where} {side}"] * labels + rng.normal(0, np.sqrt(0.5), patients)
                sides.append([FoldScores(labels, np.arange(patients), scores[np.newaxis])])
            found[where] = bootstrap_delta(*sides, 300, seed=1000 * study + len(where))
        low, high = (found["out"] - found["in"]).interval(confidence)
        covered += low <= change <= high
    assert 0.83 <= covered / 90 <= 0.97


def test_a_run_without_scores_outside_is_refused(tmp_path):
    """It must not be given those of another run."""
    study = fabricated(tmp_path, STRENGTH, STRENGTH)
    runs, rows = read_results(study, TASK)
    lacking = rows["external"] & (rows["run"] == runs["run"].iloc[0])
    write_results(study, TASK, runs, rows[~lacking])
    with pytest.raises(UserError, match=r"runs of the external set: 1 of \d+ are missing, the first is"):
        compare_external(study, load_results(study))


# Who is in both -------------------------------------------------------------------------------------------
def test_patients_of_both_sets_are_left_out_and_counted(tmp_path):
    study = fabricated(tmp_path, STRENGTH, STRENGTH)
    # A picture of the task stands among the external ones, and one patient is named as inside, in capitals.
    folders = [study.dataset_dir(name) for name in (TASK, OTHER)]
    here, there = (np.load(folder / "images.npy") for folder in folders)
    there[10] = here[3]
    manifest = pd.read_parquet(folders[1] / "manifest.parquet")
    runs, rows = read_results(study, TASK)
    same = {"xp07": rows.loc[~rows["external"], "patient_id"].iloc[0].upper() + " "}
    write_packed(folders[1], there, manifest.replace({"patient_id": same}))
    write_results(study, TASK, runs, rows.replace({"patient_id": same}))
    found = compare_external(study, load_results(study))
    row = found.table.iloc[0]
    assert (row["n_found"], row["n_left_out"], row["n_patients"]) == (1, 2, 58)
    assert "2 patients of elsewhere are left out" in found.notes[0] and "1 are named alike" in found.notes[0]


@pytest.mark.parametrize("joined_in", [TASK, OTHER])
def test_patients_who_share_a_picture_with_others_are_known_by_all_their_names(tmp_path, joined_in):
    """Two people with one picture go by the name of the first: the second is still in both sets."""
    study = fabricated(tmp_path, STRENGTH, STRENGTH)
    runs, rows = read_results(study, TASK)
    first = {name: group["patient_id"].iloc[0] for name, group in rows.groupby("external")}
    known = {TASK: first[False], OTHER: first[True]}
    other = OTHER if joined_in == TASK else TASK
    audit = study.dataset_dir(joined_in) / "audit.json"
    # Inside, `Q9` shared a picture with somebody; outside, somebody is called `q 9`; and the other way round.
    said = {"patients_published": True, "patients_guessed": False, "joined": {"Q9": known[joined_in]}}
    audit.write_text(json.dumps(said))
    manifest = study.dataset_dir(other) / "manifest.parquet"
    renamed = {"patient_id": {known[other]: "q 9"}}
    pd.read_parquet(manifest).replace(renamed).to_parquet(manifest)
    outside = compare_external(study, load_results(study)).table.iloc[0]
    assert (outside["n_found"], outside["n_left_out"], outside["n_patients"]) == (0, 1, 59)


@pytest.mark.parametrize(
    ("guessed", "left_out"), [(False, 1), (True, 0)], ids=["people", "documents or files"]
)
def test_names_are_compared_where_some_images_name_nobody(tmp_path, guessed, left_out):
    """One nameless image is called as its file is, and takes nobody else's name away."""
    study = fabricated(tmp_path, STRENGTH, STRENGTH)
    inside = pd.read_parquet(study.dataset_dir(TASK) / "manifest.parquet")["patient_id"].iloc[0]
    folder = study.dataset_dir(OTHER)
    outside = pd.read_parquet(folder / "manifest.parquet")
    first, last = outside["patient_id"].iloc[[0, -1]]
    nameless = outside.loc[outside["patient_id"] == last, "image_id"].iloc[0]
    renamed = {first: inside, last: nameless}
    outside.replace({"patient_id": renamed}).to_parquet(folder / "manifest.parquet")
    certain = study.tasks[OTHER].model_copy(update={"patients_certain": not guessed})
    study = study.model_copy(update={"tasks": study.tasks | {OTHER: certain}})
    said = {"patients_published": False, "patients_guessed": False, "joined": {}}  # as some are not named
    (folder / "audit.json").write_text(json.dumps(said))
    (folder / "dropped.csv").write_text("image_id,reason\n")
    found = compare_external(study, load_results(study)).table.iloc[0]
    assert found["n_left_out"] == left_out


def test_sets_whose_patients_are_all_named_alike_are_refused(tmp_path):
    study = fabricated(tmp_path, STRENGTH, STRENGTH)
    manifest = pd.read_parquet(study.dataset_dir(TASK) / "manifest.parquet")
    path = study.dataset_dir(OTHER) / "manifest.parquet"
    other = pd.read_parquet(path)
    other["patient_id"] = manifest["patient_id"].to_numpy()[: len(other)]
    other.to_parquet(path)
    with pytest.raises(
        UserError, match="keeps no patient of some class, for 60 are in the task too .60 by name"
    ):
        compare_external(study, load_results(study))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"external": "moon"}, "names 'moon'; allowed: thyroid_us, elsewhere"),
        ({"external": TASK}, "external names 'thyroid_us', which must be another task"),
        (
            {"external": OTHER, "positive": "ill"},
            "give both the same, renaming labels by the option 'labels'",
        ),
    ],
)
def test_an_impossible_external_set_is_refused(tmp_path, change, message):
    study = fabricated(tmp_path, STRENGTH, STRENGTH)
    overrides = {f"tasks.{TASK}.{key}": value for key, value in change.items()}
    with pytest.raises(UserError, match=message):
        load_study(overrides, study.root / "params.yaml")


def test_an_external_set_is_not_compared_itself(tmp_path):
    study = fabricated(tmp_path, STRENGTH, STRENGTH)
    assert study.compared_tasks == study.trained_tasks == [TASK]
    with pytest.raises(UserError, match="label_efficiency.tasks.0': names 'elsewhere'; allowed: thyroid_us"):
        asked = {f"tasks.{TASK}.external": OTHER, "label_efficiency.tasks": [OTHER]}
        load_study(asked, study.root / "params.yaml")


# Simulated hospitals --------------------------------------------------------------------------------------
def test_another_simulated_hospital_has_other_patients_and_an_older_one_a_worse_scanner():
    def drawn(hospital, seed=1):
        return list(simulated_task("covid_ct", 6, 1, 64, seed, hospital))

    own, same, older = map(drawn, ("", "same", "older"))
    assert not {s.patient_id for s in own} & {s.patient_id for s in [*same, *older]}
    assert [s.class_name for s in own] == [s.class_name for s in same] == [s.class_name for s in older]
    assert np.mean([s.image.mean() for s in older]) < np.mean([s.image.mean() for s in own])
    with pytest.raises(UserError, match="hospital is 'far'; give same, older, or none"):
        drawn("far")
