"""The flattened AUC against other libraries, cells against the comparison they repeat, planted effects."""

import re
from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from radlib import compute
from radlib.data.images import open_packed
from radlib.errors import UserError
from radlib.networks.weights import Preprocessing, load_weights, save_weights
from radlib.questions import confounds
from radlib.questions.auc.compute import compare_sources
from radlib.questions.confounds import (
    DIFFERENCE,
    FLATTENED,
    ONE_SIDED,
    OWN,
    ROC,
    SHARED,
    SHIFT,
    cells_figure,
    confounds_findings,
)
from radlib.seeds import seed_of
from radlib.show.style import STAMP
from radlib.show.table import MEAN
from radlib.stats import bootstrap, pairs
from radlib.stats.bootstrap import bootstrap_delta, bootstrap_mean_auc, mean_auc
from radlib.stats.folds import FoldScores, fold_patients, patient_weights
from radlib.study import load_study
from radlib.study.questions import Confounds, SharedPreprocessing
from radlib.training.results import load_results
from radlib.training.transfer import transfer
from tests.conftest import REPOSITORY, SMALL, two_classes, write_packed
from tests.fabricated import fabricate, make_study, read_results

matplotlib.use("Agg")
PAIR = ("radiology", "photographs")


# The metric -----------------------------------------------------------------------------------------------


def drawn_fold(seed: int = 0, patients: int = 30, runs: int = 3) -> FoldScores:
    """Three images a patient, patients in either class or both, scores with ties."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(patients), 3)
    labels = (rng.random(len(ids)) < np.repeat(np.resize([0.9, 0.0, 0.4], patients), 3)).astype(int)
    scores = 1 / (1 + np.exp(-rng.normal(labels - 0.8, 1, (runs, len(ids)))))
    # Sixty-fourths, so that 1 - p is exact and its ties with other scores are, too.
    return FoldScores(labels, ids, np.round(scores * 64) / 64)


def flat(scores: np.ndarray, labels: np.ndarray) -> float:
    """As the published scripts have it: a softmax of two columns and its labels, flattened."""
    softmax, one_hot = np.stack([1 - scores, scores], axis=1), np.stack([1 - labels, labels], axis=1)
    return roc_auc_score(one_hot.ravel(), softmax.ravel())


def test_flattened_auc_is_scikit_learns_of_the_flattened_arrays():
    fold = drawn_fold()
    expected = np.mean([flat(scores, fold.labels) for scores in fold.scores])
    assert mean_auc([fold], flattened=True) == pytest.approx(expected, abs=1e-12)
    assert abs(expected - mean_auc([fold])) > 0.01


def test_flattened_auc_is_keras_in_the_limit_of_many_thresholds(keras):
    fold = drawn_fold(1)
    one_hot = np.stack([1 - fold.labels, fold.labels], axis=1)
    for scores in fold.scores:
        area = keras.metrics.AUC(num_thresholds=5000)
        area.update_state(one_hot, np.stack([1 - scores, scores], axis=1))
        one = FoldScores(fold.labels, fold.patients, scores[np.newaxis])
        assert mean_auc([one], flattened=True) == pytest.approx(float(area.result()), abs=2e-4)


@pytest.mark.parametrize(("positive", "negative"), [(288, 61), (210, 570), (20, 20)])
def test_flattened_auc_of_a_constant_is_the_share_of_the_larger_class(positive, negative):
    labels = np.repeat([1, 0], [positive, negative])
    share = positive / (positive + negative)
    fold = FoldScores(labels, np.arange(len(labels)), np.full((1, len(labels)), share))
    assert mean_auc([fold]) == 0.5
    assert mean_auc([fold], flattened=True) == pytest.approx(max(share, 1 - share), abs=1e-12)


def test_resamples_of_the_flattened_auc_are_the_very_patients_of_the_other(monkeypatch):
    second = drawn_fold(3, patients=18)
    folds = [drawn_fold(2), FoldScores(second.labels, second.patients + 1000, second.scores)]
    ours = {m: bootstrap_mean_auc({"x": folds}, 25, 7, flattened=m)["x"].replicates for m in (False, True)}
    brute = {False: np.zeros(25), True: np.zeros(25)}
    for number, fold in enumerate(folds):
        patients = fold_patients(fold)
        (weights,) = patient_weights(patients, 25, 7, number, 25)
        for r in range(25):
            rows = np.repeat(np.arange(len(fold.labels)), weights[r, patients.of_image].astype(int))
            for scores in fold.scores:
                brute[False][r] += roc_auc_score(fold.labels[rows], scores[rows]) / 6
                brute[True][r] += flat(scores[rows], fold.labels[rows]) / 6
    for flattened, expected in brute.items():
        np.testing.assert_allclose(ours[flattened], expected, atol=1e-12)
    monkeypatch.setattr(bootstrap, "count_pairs", pairs.SortedPairs)
    sorted_way = bootstrap_mean_auc({"x": folds}, 25, 7, flattened=True)["x"]
    np.testing.assert_array_equal(sorted_way.replicates, ours[True])


# The cells ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    """Two tasks; the shared preprocessing weakens photographs and leaves radiology as it is."""
    studies = []
    for name, photographs in (("own", 1.6), ("shared", 0.6)):
        root = tmp_path_factory.mktemp(name)
        asked = {"tasks": ["thyroid_us", "breast_us"], "settings": [{"lr": 0.01}], "pairs": [PAIR]}
        study = make_study(root, ("thyroid_us", "breast_us"), confounds=asked)
        fabricate(study, {"radiology": 1.6, "photographs": photographs, "random": 0.5})
        studies.append(study)
    parts = [confounds.crossed_part(study) for study in studies]
    both = dict(zip((OWN, SHARED), map(load_results, parts), strict=True))
    return parts, both, confounds.compare_cells(studies[0], both)


def cell(table: pd.DataFrame, task: str, what: str, preprocessing: str, metric: str) -> pd.Series:
    keys = {"task": task, "what": what, "preprocessing": preprocessing, "metric": metric}
    (row,) = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)].to_dict("records")
    return pd.Series(row)


def test_roc_cells_are_the_comparison_of_05_auc(crossed):
    parts, both, table = crossed
    for part, results, name in zip(parts, both.values(), both, strict=True):
        expected = compare_sources(part, results).table
        expected = expected[(expected["estimate"] == "grid_mean") & (expected["source_b"] == PAIR[1])]
        for row in expected.to_dict("records"):
            found = cell(table, row["task"], DIFFERENCE, name, ROC)
            keys = ["delta", "ci_low", "ci_high", "p_value", "n_patients", "n_images", "n_positive", "n_runs"]
            assert found[keys].tolist() == [row[key] for key in keys]
            assert found[["a", "b"]].tolist() == [row["auc_a"], row["auc_b"]]


def test_other_cells_are_scikit_learns(crossed):
    _, both, table = crossed
    areas = {}
    for name, results in both.items():
        for run in results.of_task("breast_us").itertuples():
            part = results.predictions["breast_us"][run.fold]
            scores = part.scores[list(part.runs).index(run.run)]
            areas.setdefault((name, run.source, ROC), []).append(roc_auc_score(part.labels, scores))
            areas.setdefault((name, run.source, FLATTENED), []).append(flat(scores, part.labels))
    mean = {key: np.mean(values) for key, values in areas.items()}
    for metric in (ROC, FLATTENED):
        one_sided = cell(table, "breast_us", DIFFERENCE, ONE_SIDED, metric)
        assert one_sided["a"] == pytest.approx(mean[OWN, "radiology", metric])
        assert one_sided["b"] == pytest.approx(mean[SHARED, "photographs", metric])
        shared = cell(table, "breast_us", DIFFERENCE, SHARED, metric)
        assert shared["delta"] == pytest.approx(
            mean[SHARED, "radiology", metric] - mean[SHARED, "photographs", metric]
        )


def test_changes_are_paired_differences_of_differences(crossed):
    parts, both, table = crossed
    study = parts[0]
    sides = [
        [results.scores("thyroid_us", runs[runs["source"] == source]) for source in PAIR]
        for results in both.values()
        for runs in [results.of_task("thyroid_us")]
    ]
    seed = seed_of(study.seed, "bootstrap", "thyroid_us")
    own, shared = (bootstrap_delta(a, b, study.compare.resamples, seed) for a, b in sides)
    row = cell(table, "thyroid_us", SHIFT, SHARED, ROC)
    assert row["delta"] == pytest.approx(shared.value - own.value)
    draws = np.sort(shared.replicates - own.replicates)
    assert row["ci_low"] in draws and row["ci_high"] in draws
    assert row["ci_low"] < row["delta"] < row["ci_high"]


def test_planted_handicap_is_found_in_the_source_that_has_it(crossed):
    _, _, table = crossed
    changed = table[(table["what"] == SHIFT) & (table["preprocessing"] != OWN) & (table["metric"] == ROC)]
    assert len(changed) == 2 * 3
    assert (changed["ci_low"] > 0).all(), "radiology gains on photographs wherever these are handicapped"
    assert (changed["b_high"] < 0).all()
    assert (changed[["a", "a_low", "a_high"]] == 0).all(axis=None)


def test_one_sided_cell_has_the_handicap_of_that_side_alone(crossed):
    """The shared preprocessing leaves radiology as it is, so both cells with it are one here."""
    _, _, table = crossed
    for task in ("thyroid_us", "breast_us", MEAN):
        own, shared, alone = (cell(table, task, DIFFERENCE, p, ROC) for p in (OWN, SHARED, ONE_SIDED))
        ends = ["delta", "ci_low", "ci_high"]
        assert alone[ends].tolist() == pytest.approx(shared[ends].tolist())
        assert alone["delta"] - own["delta"] == pytest.approx(
            cell(table, task, SHIFT, ONE_SIDED, ROC)["delta"]
        )
        assert alone["ci_low"] > 0


def test_mean_over_tasks_counts_each_the_same(crossed):
    parts, both, table = crossed
    keys = (SHIFT, SHARED, FLATTENED)
    rows = [cell(table, task, *keys) for task in ("thyroid_us", "breast_us")]
    every = cell(table, MEAN, *keys)
    assert every["n_tasks"] == 2 and every["n_patients"] == sum(row["n_patients"] for row in rows)
    assert every["delta"] == pytest.approx(np.mean([row["delta"] for row in rows]))
    narrow = every["ci_high"] - every["ci_low"]
    assert narrow < min(row["ci_high"] - row["ci_low"] for row in rows)
    single = {
        name: replace(results, predictions={"breast_us": results.predictions["breast_us"]})
        for name, results in both.items()
    }
    alone = confounds.compare_cells(parts[0], single)
    assert set(alone["task"]) == {"breast_us"} and len(confounds_findings(parts[0], alone)) == 5


def test_a_task_that_does_not_count_says_so_and_enters_no_mean(crossed, tmp_path):
    parts, both, table = crossed
    alone, none = (confounds.compare_cells(parts[0], both, counting) for counting in (["breast_us"], []))
    for one, left_out in ((alone, ["thyroid_us"]), (none, ["thyroid_us", "breast_us"])):
        assert MEAN not in set(one["task"]), "a mean of one task is no mean"
        pd.testing.assert_frame_equal(one.drop(columns="counts"), table[table["task"] != MEAN])
        assert list(one["task"][one["counts"] == "no"].unique()) == left_out
    assert "counts" not in table
    over = "(over patients, of these weights)"
    assert {f.subject.split(": ")[1] for f in confounds_findings(parts[0], alone)} == {f"Breast US {over}"}
    flagged = {f"{title} (does not count) {over}" for title in ("Thyroid US", "Breast US")}
    assert {f.subject.split(": ")[1] for f in confounds_findings(parts[0], none)} == flagged
    for one, count in ((alone, 6), (none, 12)):
        (panel,) = cells_figure(parts[0], one).axes
        rows = [label.get_text() for label in panel.get_yticklabels()]
        assert len(rows) == count and all(("(does not count)" in row) == (count == 12) for row in rows)
    plt.close("all")


def test_findings_give_the_shift_by_each_choice_over_all_tasks(crossed):
    parts, _, table = crossed
    found = confounds_findings(parts[0], table)
    networks = ", ".join(parts[0].backbones)
    end = f", frozen, {networks}, first pretraining: {MEAN} (over patients, of these weights)"
    assert [f.subject.split(" by ")[-1] for f in found] == [
        f"AUC, Simulated radiology − Simulated photographs, each with its own preprocessing{end}",
        f"micro-averaged AUC{end}",
        f"AUC, Simulated radiology − Simulated photographs, with the shared preprocessing for both{end}",
        f"the shared preprocessing for both{end}",
        f"the shared preprocessing for Simulated photographs alone{end}",
    ]
    row = cell(table, MEAN, DIFFERENCE, SHARED, ROC)
    assert (found[2].value, found[2].low, found[2].high) == (row["delta"], row["ci_low"], row["ci_high"])
    row = cell(table, MEAN, SHIFT, ONE_SIDED, ROC)
    assert (found[4].value, found[4].low, found[4].high) == (row["delta"], row["ci_low"], row["ci_high"])
    assert found[4].verdict == "higher"
    row = cell(table, MEAN, SHIFT, SHARED, ROC)
    said = confounds.preprocessing_limit(parts[0], table)
    assert (f"{row['delta']:+.3f}" in said) == (row["ci_low"] > 0 or row["ci_high"] < 0)
    at_zero = table.assign(ci_low=-1.0, ci_high=1.0)
    assert confounds.preprocessing_limit(parts[0], at_zero) == ""
    assert confounds_findings(parts[0], table.iloc[:0]) == []


def test_runs_that_diverged_leave_no_verdict_where_they_are_used(crossed):
    parts, both, _ = crossed
    runs = both[SHARED].runs
    broken = (runs["source"] == "photographs") & (runs["task"] == "breast_us")
    shared = replace(both[SHARED], runs=runs.assign(diverged=broken & (runs.groupby(broken).cumcount() < 1)))
    table = confounds.compare_cells(parts[0], both | {SHARED: shared})
    count = broken.sum()
    for what, times in ((DIFFERENCE, 1), (SHIFT, 2)):  # a shift is of runs with either preprocessing
        for preprocessing in (SHARED, ONE_SIDED):
            said = f"1 of {times * count} runs of photographs diverged"
            assert cell(table, "breast_us", what, preprocessing, ROC)["diverged"] == said
    own = table["preprocessing"] == OWN
    assert table[own | (table["task"] == "thyroid_us")]["diverged"].isna().all()
    _, metric, *others = (one.verdict for one in confounds_findings(parts[0], table))
    assert [f"no verdict: 1 of {times * count} runs of photographs diverged" for times in (2, 4, 4)] == others
    assert not metric.startswith("no verdict"), "runs with their own preprocessing are all sound"


def test_figure_draws_every_cell_of_the_mean_with_its_interval(crossed, tmp_path):
    parts, _, table = crossed
    figure = cells_figure(parts[0], table)
    assert STAMP in [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    (panel,) = figure.axes
    drawn = {tuple(np.round(line.get_xdata(), 9)) for line in panel.lines if len(line.get_xdata()) == 2}
    rows = table[(table["what"] == DIFFERENCE) & (table["task"] == MEAN)]
    assert len(rows) == 6 == len(panel.get_yticks())
    assert {tuple(ends) for ends in rows[["ci_low", "ci_high"]].round(9).to_numpy()} <= drawn
    figure.savefig(tmp_path / "cells.png", dpi=40)
    plt.close("all")


# The runs -------------------------------------------------------------------------------------------------

TASK = "breast_us"
CAFFE = np.array([103.939, 116.779, 123.68])


@pytest.fixture
def study(small_study):
    """One task of 80 images; the two sources of the headline have weights and finished runs."""
    asked = Confounds(tasks=[TASK], pairs=[PAIR])
    study = small_study.model_copy(
        update={
            "confounds": asked, "sources": list(PAIR),
            "tasks": {TASK: small_study.tasks[TASK]},
            "transfer": small_study.transfer.model_copy(
                update={"settings": [s for s in small_study.transfer.settings if s.train != "all"]}
            ),
        }
    )  # fmt: skip
    images, manifest = two_classes(80, 32, folds=2)
    colours = np.concatenate([images, images // 2, images // 3], axis=-1)
    write_packed(study.dataset_dir(TASK), colours, manifest)
    for seed, source in enumerate(PAIR):
        weights = load_weights(study.model_copy(update={"seed": seed}), "random", SMALL)
        save_weights(study.model_file(source, SMALL), weights.state, Preprocessing())
    transfer(study, TASK, save=True)
    return study


def stored_runs(study):
    return {path: path.stat().st_mtime_ns for path in (study.store_dir / "runs").rglob("*.parquet")}


def test_runs_with_own_preprocessing_are_those_of_04_transfer(study):
    before = stored_runs(study)
    first = confounds.cross(study)
    after = stored_runs(study)
    assert {path: after[path] for path in before} == before
    assert len(after) - len(before) == 2 * 2, "two sources, two folds, one frozen setting"
    runs, _ = read_results(study, TASK)
    assert set(first[OWN].runs["run"]) == set(runs.loc[runs["train"] == "frozen", "run"])
    assert not set(first[SHARED].runs["run"]) & set(runs["run"])
    second = confounds.cross(study)
    assert stored_runs(study) == after
    pd.testing.assert_frame_equal(second[SHARED].runs, first[SHARED].runs)
    table = confounds.compare_cells(study, second)
    assert set(table["task"]) == {TASK} and len(table) == 6 + 5


def test_where_own_and_shared_are_one_nothing_is_trained_and_nothing_changes(study):
    same = SharedPreprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), channels="RGB")
    asked = study.confounds.model_copy(update={"shared": same})
    study = study.model_copy(update={"confounds": asked})
    before = stored_runs(study)
    both = confounds.cross(study)
    assert stored_runs(study) == before
    table = confounds.compare_cells(study, both)
    changed = table[(table["what"] == SHIFT) & (table["metric"] == ROC)]
    assert (changed[["a", "b", "delta", "ci_low", "ci_high"]] == 0).all(axis=None)


def test_shared_preprocessing_is_the_published_one(study):
    packed = open_packed(study.dataset_dir(TASK))
    weights = load_weights(study, PAIR[0], SMALL)
    arm = confounds.SharedGroup(confounds.crossed_part(study), TASK, packed, weights, lambda done: None)
    blue_first = packed.images[:8, :, :, ::-1].astype(np.float64)
    prepared = torch.from_numpy((blue_first - CAFFE) / 255).permute(0, 3, 1, 2).float()
    with compute.inference():
        network = weights.build().eval()
        last = network.forward_features(prepared.to(compute.device(), memory_format=torch.channels_last))
    expected = last.float().mean((2, 3)).cpu().numpy()
    found = arm.features.pooled[0][:8].numpy()
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    assert arm.weights.digest != weights.digest and weights.preprocessing == Preprocessing()


def test_runs_that_are_those_of_04_transfer_keep_the_maps_it_asks_for(study):
    """Runs of the weights' own preprocessing are shared with it through the store, and it asks for maps."""
    packed = open_packed(study.dataset_dir(TASK))
    packed = replace(packed, masks=["a mask"], manifest=packed.manifest.assign(has_mask=True))
    weights = load_weights(study, PAIR[0], SMALL)
    for preprocessing, kept in ((Preprocessing(), 0), (study.confounds.shared, len(packed.manifest))):
        own = replace(weights, preprocessing=Preprocessing(**vars(preprocessing)))
        group = confounds.SharedGroup(study, TASK, packed, own, lambda done: None)
        assert len(group.masked) == kept


def test_results_of_other_data_are_refused(study):
    runs, _ = read_results(study, TASK)
    runs.assign(data_digest="older").to_parquet(study.result_dir(TASK) / "runs.parquet", index=False)
    with pytest.raises(UserError, match="results of task 'breast_us' are of another version of its data"):
        confounds.cross(study)


# The section of the study ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"tasks": ["moon"]}, "'confounds.tasks.0': names 'moon'; allowed: thyroid_us"),
        ({"tasks": ["breast_us"], "pairs": [["radiology", "moon"]]}, "'confounds.pairs.0.1': names 'moon'"),
        (
            {"tasks": ["breast_us"], "settings": [{"lr": 0.5}]},
            "transfer has no frozen setting of 'inception_resnet_v2' with lr 0.5",
        ),
        ({"settings": [{"train": "all", "lr": 1}]}, "'confounds.settings.0.train': Input should be 'frozen'"),
        ({"shared": {"std": [0, 1, 1]}}, "'confounds.shared.std.0': Input should be greater than 0"),
        ({"shared": {"channels": "GBR"}}, "'confounds.shared.channels': Input should be 'RGB' or 'BGR'"),
    ],
)
def test_impossible_sections_are_one_sentence(asked, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        load_study({"confounds": asked}, REPOSITORY / "studies" / "demo.yaml")


def test_without_pairs_the_headline_and_every_pair_with_a_checkpoint_are_asked():
    study = load_study(path=REPOSITORY / "studies" / "open.yaml")
    pairs = confounds.pairs_of(study)
    assert pairs[0] == tuple(study.compare.headline)
    assert set(pairs[1:]) == {tuple(pair) for pair in study.compare.pairs if "imagenet" in pair}
    assert confounds.crossed_part(study).sources == study.sources
    np.testing.assert_allclose(255 * np.array(study.confounds.shared.mean), CAFFE, atol=1e-3)
