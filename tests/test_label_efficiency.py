"""Parts of the training patients: who is drawn, what the curve must look like, and what its band holds."""

import math
from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from radlib.data.images import open_packed
from radlib.data.splits import nested_part
from radlib.errors import UserError
from radlib.networks.features import Features
from radlib.networks.weights import Preprocessing, load_weights, save_weights
from radlib.questions.label_efficiency import (
    BOTH,
    EFFICIENCY,
    FAMILY,
    TESTED,
    TREND,
    efficiency_figure,
    efficiency_findings,
    label_efficiency,
    what_trains,
)
from radlib.questions.verdicts import corrected, too_few_resamples
from radlib.seeds import seed_of
from radlib.show.style import STAMP, UNDECIDED, source_colours
from radlib.show.table import MEAN
from radlib.stats.bootstrap import bootstrap_delta, mean_auc
from radlib.stats.folds import FoldScores
from radlib.store import load_run
from radlib.study import Run
from radlib.study.questions import LabelEfficiency
from radlib.study.training import Setting
from radlib.training import transfer
from radlib.training.partial import PartialGroup, part_sizes, partial_runs, trained
from tests.conftest import SMALL, two_classes, with_lite0, write_packed
from tests.fabricated import make_study

matplotlib.use("Agg")
TASK = "breast_us"
PAIR = ("radiology", "random")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def prepared(study, count: int, size: int = 32, **options):
    """The smoke study with one task of `count` images in two folds, and two sources of random weights."""
    compare = study.compare.model_copy(update={"pairs": [PAIR], "headline": PAIR, "resamples": 1000})
    efficiency = LabelEfficiency(tasks=[TASK], **{"fractions": [0.1, 0.3, 1.0], "repeats": 3, **options})
    grid = study.transfer.model_copy(update={"settings": [Setting(train="frozen", lr=0.01)]})
    changes = {"sources": list(PAIR), "compare": compare, "transfer": grid, "label_efficiency": efficiency}
    study = study.model_copy(update=changes)
    write_packed(study.dataset_dir(TASK), *two_classes(count, size, folds=2, signal=8.0))
    (backbone,) = study.backbones
    weights = load_weights(study.model_copy(update={"seed": 1}), "random", backbone)
    save_weights(study.model_file("radiology", backbone), weights.state, Preprocessing())
    return study


# Who is drawn ---------------------------------------------------------------------------------------------
def mixed_patients() -> tuple[np.ndarray, np.ndarray]:
    """37 patients with positive images, some of whose images are negative, and 83 without; 1 to 4 images."""
    rng = np.random.default_rng(3)
    images = rng.integers(1, 5, 120)
    patients = np.repeat([f"p{i:03d}" for i in rng.permutation(120)], images)
    labels = np.concatenate([np.r_[i < 37, rng.random(n - 1) < (i < 37) / 2] for i, n in enumerate(images)])
    order = rng.permutation(len(patients))
    return patients[order], labels[order].astype(int)


def test_parts_are_nested_and_stratified_by_patient():
    patients, labels = mixed_patients()
    positive = set(patients[labels == 1])
    assert len(positive) == 37
    before: set[str] = set()
    for fraction in (0.05, 0.1, 0.25, 0.5, 0.77, 1):
        taken = nested_part(patients, labels, fraction, seed=4)
        drawn = set(patients[taken])
        assert before <= drawn
        assert not drawn & set(patients[~taken]), "all images of a patient or none"
        assert len(drawn & positive) == round(37 * fraction)
        assert len(drawn - positive) == round(83 * fraction)
        before = drawn
    assert taken.all()


def test_draw_depends_on_the_seed_and_not_on_the_order_of_rows():
    patients, labels = mixed_patients()
    order = np.random.default_rng(0).permutation(len(patients))
    taken = nested_part(patients, labels, 0.3, seed=1)
    np.testing.assert_array_equal(nested_part(patients[order], labels[order], 0.3, seed=1), taken[order])
    assert set(patients[nested_part(patients, labels, 0.3, seed=2)]) != set(patients[taken])
    counts = pd.Series(0, index=np.unique(patients))
    for seed in range(400):
        counts[np.unique(patients[nested_part(patients, labels, 0.3, seed)])] += 1
    # Drawn 400 times with probability 11/37 or 25/83: SD 9, so no patient lies beyond five of it.
    assert counts.between(400 * 0.3 - 46, 400 * 0.3 + 46).all()


def test_no_run_trains_on_patients_of_another_part_and_sources_share_the_draw(small_study):
    study = prepared(small_study, 160)
    packed = open_packed(study.dataset_dir(TASK))
    manifest = packed.manifest
    arm = PartialGroup(study, TASK, packed, load_weights(study, "random", SMALL), lambda done: None)
    drawn: dict[tuple, set] = {}
    for run in partial_runs(study, TASK, [0.1, 0.3]):
        rows = arm.parts(run)
        part = manifest[f"part_{run.fold}"]
        assert (part.iloc[rows[0]] == "train").all()
        for number, name in ((1, "validation"), (2, "test")):
            np.testing.assert_array_equal(rows[number], np.flatnonzero(part == name))
        patients = [set(manifest["patient_id"].iloc[some]) for some in rows]
        assert not patients[0] & (patients[1] | patients[2])
        key = (run.fold, run.order, run.fraction)
        assert drawn.setdefault(key, patients[0]) == patients[0], "both sources train on the same patients"
    assert len(drawn) == 2 * 3 * 2
    for fold, order in ((f, o) for f in range(2) for o in range(3)):
        assert drawn[fold, order, 0.1] < drawn[fold, order, 0.3]
    assert len({frozenset(drawn[0, order, 0.1]) for order in range(3)}) == 3, "other orders, other patients"


def test_partial_runs_are_told_apart_and_whole_runs_are_those_of_the_grid(small_study):
    study = prepared(small_study, 160)
    runs = partial_runs(study, TASK, [0.1, 0.3, 1.0])
    assert len(set(runs)) == len(runs) == 2 * 2 * 3 * 2
    whole = study.whole_runs_of(TASK)
    assert set(whole) <= set(study.runs_of(TASK)) and {type(run) for run in whole} == {Run}
    assert {(run.train, run.lr, run.seed) for run in whole} == {("frozen", 0.01, 0)}


# What is trained ------------------------------------------------------------------------------------------
def scores_of(found: transfer.Transferred, source: str) -> list[FoldScores]:
    """From the tables of 04_transfer: the one frozen run of a source on each fold."""
    runs = found.runs.query("source == @source and train == 'frozen'").sort_values("fold")
    by_run = dict(list(found.predictions.sort_values("image_id").groupby("run")))
    tested = [by_run[run] for run in runs["run"]]
    return [FoldScores(t["label"], t["patient_id"], t["score"].to_numpy()[np.newaxis]) for t in tested]


def test_all_patients_are_the_run_of_the_grid_and_a_second_call_computes_nothing(small_study):
    study = prepared(small_study, 160)
    grid = transfer.transfer(study, TASK)
    stored = set((study.store_dir / "runs").rglob("*.parquet"))
    times = {path: path.stat().st_mtime_ns for path in stored}
    found = label_efficiency(study)
    new = set((study.store_dir / "runs").rglob("*.parquet")) - stored
    assert len(new) == 2 * 2 * 3 * 2, "sources, folds, orders, fractions below 1"
    assert {path: path.stat().st_mtime_ns for path in stored} == times
    whole = found.table[found.table["fraction"] == 1].iloc[0]
    a, b = (scores_of(grid, source) for source in PAIR)
    expected = bootstrap_delta(a, b, 1000, seed_of(study.seed, "bootstrap", TASK))
    assert (whole["auc_a"], whole["auc_b"], whole["delta"]) == (mean_auc(a), mean_auc(b), expected.value)
    assert (whole["ci_low"], whole["ci_high"]) == expected.interval(0.95)
    assert found.table[TREND[0]].isna().tolist() == [True, True, False]
    slope = np.polyfit(np.log2(found.table["fraction"]), found.table["delta"], 1)[0]
    assert whole["trend"] == pytest.approx(slope)
    assert whole["trend_low"] < whole["trend"] < whole["trend_high"]
    assert whole["p_depends"] == min(1, 2 * min(whole["p_trend"], whole["p_flat"]))
    assert whole["resampled"] == TESTED
    again = label_efficiency(study)
    assert set((study.store_dir / "runs").rglob("*.parquet")) == stored | new
    pd.testing.assert_frame_equal(found.table, again.table)


def test_table_agrees_with_the_stored_runs(small_study, monkeypatch):
    study = prepared(small_study, 160)
    found = label_efficiency(study)
    rows = found.table.set_index("fraction")
    assert list(found.table) == EFFICIENCY.names and list(rows.index) == [0.1, 0.3, 1.0]
    # Of 80 patients 48 train, 24 of each class; two images a patient.
    assert list(rows["n_train_patients"]) == [2 * 2, 2 * 7, 48]
    assert list(rows["n_runs"]) == [6, 6, 2] and list(rows["repeats"]) == [3, 3, 1]
    assert list(rows["resampled"]) == [BOTH, BOTH, TESTED]
    runs = [load_run(path) for path in (study.store_dir / "runs").rglob("*.parquet")]
    for source, column in zip(PAIR, ("auc_a", "auc_b"), strict=True):
        aucs: dict[float, list] = {}
        for record, images in runs:
            if record["source"] == source:
                value = roc_auc_score(images["label"], images["score"])
                aucs.setdefault(record.get("fraction", 1.0), []).append(value)
        for fraction, values in aucs.items():
            assert rows.loc[fraction, column] == pytest.approx(np.mean(values), abs=1e-6)
    learnt_from = {(r.get("fraction", 1.0), r["n_train"]) for r, _ in runs}
    assert learnt_from == {(0.1, 8), (0.3, 28), (1.0, 96)}
    EFFICIENCY.write(study, found.table)
    assert list(EFFICIENCY.read(study)) == EFFICIENCY.names

    def whole_ones_lost(*given):
        results = trained(*given)
        return replace(results, runs=results.runs.assign(diverged=results.runs["fraction"] == 1))

    monkeypatch.setattr("radlib.questions.label_efficiency.trained", whole_ones_lost)
    lost, said = label_efficiency(study), "2 of 2 runs of radiology diverged, 2 of 2 runs of random diverged"
    assert list(lost.table["diverged"].fillna("")) == ["", "", said]
    assert set(lost.worth["diverged"]) == {said}
    (finding,) = efficiency_findings(study, lost.table)
    assert finding.verdict == f"no verdict: {said}"


def planted(small_study, monkeypatch, distances: dict[str, float], images: int, parts: tuple[float, ...]):
    """Two normal classes at a distance in 20 dimensions (SD 1); two independent images a patient."""
    study = prepared(with_lite0(small_study), images, size=8, fractions=list(parts), repeats=5)
    options = study.transfer.model_copy(update={"epochs": {"frozen": 30, "top": 1, "all": 1}})
    study = study.model_copy(update={"transfer": options})

    def simulated(packed, weights, *_, **__):
        labels = packed.manifest["label"].to_numpy()
        pooled = np.random.default_rng(len(weights.source)).standard_normal((len(labels), 20))
        pooled += np.outer(labels, np.full(20, distances[weights.source] / math.sqrt(20)))
        return Features(torch.from_numpy(pooled).float()[np.newaxis], None)

    monkeypatch.setattr(transfer, "features_of", simulated)
    return label_efficiency(study).table


def expected_auc(distance: float, images: float) -> float:
    """Of the rule that projects on the difference of the means of `images` images of each class.

    That difference has, on average, a product of d^2 with the true one and a squared length of d^2 + 2 p / n.
    No rule has more than Phi(d / sqrt(2)).
    """
    return norm.cdf(distance**2 / math.sqrt(2 * (distance**2 + 2 * 20 / images)))


def test_curve_and_trend_are_what_theory_says(small_study, monkeypatch):
    parts, distances = (0.02, 0.1, 1.0), {"radiology": 2.0, "random": 1.0}
    table = planted(small_study, monkeypatch, distances, 2000, parts).set_index("fraction")
    truth = {part: [expected_auc(d, 2 * round(300 * part)) for d in distances.values()] for part in parts}
    for number, column in enumerate(("auc_a", "auc_b")):
        assert table[column].is_monotonic_increasing
        assert table[column].tolist() == pytest.approx([truth[part][number] for part in parts], abs=0.04)
    differences = [a - b for a, b in truth.values()]
    slope = np.polyfit(np.log2(parts), differences, 1)[0]
    last = table.loc[1.0]
    assert last["ci_low"] < differences[-1] < last["ci_high"]
    assert last["trend_low"] < slope < last["trend_high"] and last["p_depends"] < 0.05


def test_sources_that_never_differ_show_no_dependence(small_study, monkeypatch):
    table = planted(small_study, monkeypatch, {"radiology": 1.5, "random": 1.5}, 400, (0.1, 0.3, 1.0))
    last = table.iloc[-1]
    assert last["trend_low"] < 0 < last["trend_high"] and last["p_depends_holm"] > 0.05


# What cannot be drawn -------------------------------------------------------------------------------------
def test_a_part_with_a_single_patient_of_a_class_is_left_out_and_said(small_study):
    study = prepared(small_study, 160, fractions=[0.05, 0.1, 1.0])
    sizes, notes = part_sizes(study, TASK)
    assert list(sizes["fraction"]) == [0.1, 1.0]
    assert notes == [
        "Breast US: 5% of the training patients are left out, for in some fold they hold 1 of a class, and 2 "
        "are needed."
    ]
    assert list(sizes["n_validation_patients"]) == [16, 16]
    few = prepared(small_study.model_copy(update={"root": small_study.root / "few"}), 160, fractions=[0.05])
    with pytest.raises(UserError, match="none leaves 2 training patients of each class of task 'breast_us'"):
        label_efficiency(few)


def test_a_study_without_tasks_has_an_empty_table(small_study):
    found = label_efficiency(small_study.model_copy(update={"label_efficiency": LabelEfficiency()}))
    assert list(found.table) == EFFICIENCY.names and found.table.empty and not found.notes


@pytest.mark.parametrize("fractions", [[0.5, 0.1], [0.1, 0.1], [0.0, 1.0], [0.5, 1.5]])
def test_fractions_must_ascend(fractions):
    with pytest.raises(ValueError, match="fractions must ascend, above 0 and up to 1"):
        LabelEfficiency(fractions=fractions)


@pytest.mark.parametrize("train", ["frozen", "logistic"])
def test_what_trains_is_said_as_it_is(small_study, train):
    asked = LabelEfficiency(train=train, lr=0.02)
    said = what_trains(small_study.model_copy(update={"label_efficiency": asked}))
    assert ("rate 0.02" in said, "chooses the epoch" in said) == (train == "frozen",) * 2
    assert ("chooses the strength" in said) == (train == "logistic")


# Several tasks --------------------------------------------------------------------------------------------
def test_tasks_are_corrected_together_and_their_mean_stands_beside_them(small_study):
    """The second task lacks the smallest part; Holm against statsmodels."""
    study = prepared(small_study, 160, fractions=[0.05, 0.1, 0.3, 1.0])
    other = "thyroid_us"
    both = study.label_efficiency.model_copy(update={"tasks": [TASK, other]})
    tasks = {task: study.tasks[TASK] for task in (TASK, other)}
    study = study.model_copy(update={"tasks": tasks, "label_efficiency": both})
    write_packed(study.dataset_dir(other), *two_classes(320, 32, folds=2, signal=2.0))
    table = label_efficiency(study).table
    assert [len(table[table["task"] == task]) for task in (TASK, other, MEAN)] == [3, 4, 3]
    for low, high, p in (("ci_low", "ci_high", "p_value"), ("trend_low", "trend_high", "p_trend")):
        some = table[table[p].notna()]
        assert (((some[low] > 0) | (some[high] < 0)) == (some[p] < 0.05)).all()
    means, own = table[table["task"] == MEAN], table[table["task"] != MEAN]
    for _, family in own.groupby("fraction"):
        expected = multipletests(family["p_value"], method="holm")[1]
        np.testing.assert_allclose(family["p_holm"], expected)
    tested_for = own.dropna(subset="p_depends")
    expected = multipletests(tested_for["p_depends"], method="holm")[1]
    np.testing.assert_allclose(tested_for["p_depends_holm"], expected)
    np.testing.assert_array_equal(means["p_holm"], means["p_value"])
    for row in means.to_dict("records"):
        parts = own[own["fraction"] == row["fraction"]]
        assert row["delta"] == pytest.approx(parts["delta"].mean())
        assert (row["n_patients"], row["n_runs"]) == (parts["n_patients"].sum(), parts["n_runs"].sum())
        assert row["n_train_patients"] == parts["n_train_patients"].mean().round()

    alone = label_efficiency(study, [other])
    assert MEAN not in set(alone.table["task"]), "a mean of the one task that counts is no mean"
    pd.testing.assert_frame_equal(alone.table.drop(columns="counts"), own, check_dtype=False)
    for one in (alone.table, alone.worth):
        assert set(one["task"][one["counts"] == "no"]) == {TASK}
    first, second = efficiency_findings(study, alone.table)
    over = " (over patients tested and drawn, of these weights)"
    assert first.subject.endswith(f"Breast US (does not count){over}") and "(does" not in second.subject
    assert second.subject.endswith(f"Breast US{over}")
    panels = efficiency_figure(study, alone.table).axes
    assert [panel.get_title() for panel in panels] == ["Breast US (does not count)", "Breast US"]


def test_note_where_nothing_could_pass_the_correction(tmp_path):
    cells = [("a", "b", 1, part, p) for part, p in ((0.1, 0.03), (0.1, 0.04), (1.0, 0.01), (1.0, 0.01))]
    table = pd.DataFrame(cells, columns=[*FAMILY, "least_p"])
    (note,) = too_few_resamples(make_study(tmp_path), table, FAMILY)
    assert note.startswith(
        "400 resamples are too few for Holm's correction over 2 tasks: no difference could"
    )
    assert not too_few_resamples(make_study(tmp_path), table[table["fraction"] == 1], FAMILY)


def test_of_true_nulls_one_study_in_twenty_claims_something():
    """Five tasks; of 500 studies the Monte-Carlo error is 0.019 and 0.010; three of it are allowed."""
    p = np.random.default_rng(8).random((500, 5))
    table = pd.DataFrame({"study": np.repeat(np.arange(500), 5), "p": p.ravel()})
    table = corrected(table, ["study"], {"p": "p_holm"})
    wrong = (table.groupby("study")[["p", "p_holm"]].min() < 0.05).mean()
    assert wrong["p"] == pytest.approx(1 - 0.95**5, abs=0.06)
    assert wrong["p_holm"] == pytest.approx(1 - (1 - 0.05 / 5) ** 5, abs=0.03)


# Words and figures ----------------------------------------------------------------------------------------
def rows(task: str, points: dict[int, tuple[float, float]], trend=(0.01, -0.01, 0.03), p=0.4) -> list[dict]:
    """points: training patients -> both ends; a difference is shown where they exclude 0."""
    found = []
    for patients, (low, high) in points.items():
        part = patients / max(points)
        p_own = 0.01 if low > 0 or high < 0 else 0.9
        about = {"task": task, "source_a": "radiology", "source_b": "photographs", "fraction": part}
        about |= {"n_train_patients": patients, "delta": (low + high) / 2, "ci_low": low, "ci_high": high}
        found.append(about | {"p_holm": p_own, "resampled": BOTH if part < 1 else TESTED})
    found[-1] |= dict(zip(TREND, trend, strict=True)) | {"p_depends_holm": p}
    return [dict.fromkeys(EFFICIENCY.names, math.nan) | row for row in found]


FADING = {8: (0.05, 0.15), 20: (-0.01, 0.07), 40: (-0.009, 0.008), 80: (-0.01, 0.01)}


@pytest.mark.parametrize(
    ("trend", "p", "expected"),
    [
        ((0.02, 0.01, 0.03), 0.0004, "rises with the number of patients (Holm's p < 0.001)"),
        ((-0.02, -0.03, -0.01), 0.04, "falls with the number of patients (Holm's p = 0.040)"),
        ((0.01, -0.01, 0.03), 0.04, "depends on the number of patients (Holm's p = 0.040)"),
        (
            (0.02, 0.01, 0.03),
            0.06,
            "no dependence on the number of patients shown after correction (Holm's p = 0.060)",
        ),
        ((0.02, -0.01, 0.03), 0.06, "no dependence on the number of patients shown (Holm's p = 0.060)"),
    ],
)
def test_finding_says_whether_the_difference_depends_on_the_size(tmp_path, trend, p, expected):
    table = pd.DataFrame(rows("thyroid_us", FADING) + rows(MEAN, FADING, trend, p))
    mean, task = efficiency_findings(make_study(tmp_path), table)
    assert mean.verdict == expected and (mean.value, mean.low, mean.high) == trend
    over = " (over patients tested and drawn, of these weights)"
    assert mean.subject.endswith(MEAN + over) and task.subject.endswith(f"Thyroid US{over}")


def test_a_size_whose_runs_diverged_leaves_no_verdict(tmp_path):
    lost = "3 of 24 runs of radiology diverged"
    table = pd.DataFrame(rows("thyroid_us", FADING)).assign(diverged=[lost, None, None, None])
    (found,) = efficiency_findings(make_study(tmp_path), table)
    assert found.verdict == f"no verdict: {lost}"


def test_figure_shows_the_table_of_the_headline_pair(tmp_path):
    study = make_study(tmp_path, ("thyroid_us", "breast_us"))
    table = pd.DataFrame([row for task in ("thyroid_us", "breast_us", MEAN) for row in rows(task, FADING)])
    others = table.assign(source_b="random", delta=0.5, ci_low=0.4, ci_high=0.6)
    figure = efficiency_figure(study, pd.concat([table, others]))
    assert [panel.get_title() for panel in figure.axes] == ["Thyroid US", "Breast US", MEAN]
    for panel in figure.axes:
        assert panel.get_xscale() == "log"
        dots = {tuple(np.round([*line.get_xdata(), *line.get_ydata()], 9)): line for line in panel.lines}
        for patients, (low, high) in FADING.items():
            ends = (patients, patients, low, high)
            ahead = source_colours(study)["radiology"] if low > 0 else UNDECIDED
            assert dots[ends].get_color() == ahead
            inside = dots[patients, round((low + high) / 2, 9)].get_markerfacecolor()
            assert inside == (ahead if ahead != UNDECIDED else "white")
        assert not any(0.5 in line.get_ydata() for line in panel.lines)
    assert STAMP in [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
