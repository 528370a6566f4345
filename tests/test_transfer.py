"""Transfer: what a run may depend on, what it must find, and what survives a kill."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from radlib import compute
from radlib.data.images import open_packed
from radlib.errors import UserError
from radlib.networks import features
from radlib.networks.weights import Preprocessing, load_weights, save_weights
from radlib.study.training import Setting
from radlib.training import transfer
from radlib.training.figures import learning_curves, runs_by_setting
from radlib.training.results import load_results
from tests.conftest import LITE0, SMALL, two_classes, write_packed

TASK = "breast_us"
TABLES = ("runs", "predictions", "history")


def with_transfer(study, **changes):
    return study.model_copy(update={"transfer": study.transfer.model_copy(update=changes)})


@pytest.fixture
def study(small_study):
    """One task of 80 images with a signal, and two sources of random weights."""
    study = small_study.model_copy(update={"sources": ["radiology", "random"]})
    write_packed(study.dataset_dir(TASK), *two_classes(80, 32, folds=2))
    weights = load_weights(study.model_copy(update={"seed": 1}), "random", SMALL)
    save_weights(study.model_file("radiology", SMALL), weights.state, Preprocessing())
    return study


def without_times(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="seconds", errors="ignore")


def test_every_regime_runs_once_and_finds_the_signal(study):
    study = with_transfer(study, epochs={"frozen": 30, "top": 6, "all": 1})
    result = transfer.transfer(study, TASK, save=True)
    assert len(result.runs) == 5 * 2 * 2 == result.computed
    assert result.runs["run"].is_unique
    frozen = result.runs[result.runs["train"] == "frozen"]
    assert frozen["test_auc"].mean() > 0.9
    trainable = result.runs.groupby("train")["n_trainable"].first()
    assert trainable["frozen"] == 257
    expansion, excitation = 48 * 192 + 2 * 192 + 9 * 192 + 2 * 192, 2 * 192 * 12 + 12 + 192
    last_stage = expansion + excitation + 192 * 64 + 2 * 64 + 64 * 256 + 2 * 256
    assert trainable["top"] == 257 + last_stage
    for name in TABLES:
        assert (study.result_dir(TASK) / f"{name}.parquet").is_file()


def test_every_replicate_of_random_weights_has_its_runs(study):
    some = study.model_copy(
        update={
            "sources": ["random"],
            "pretrain": study.pretrain.model_copy(update={"replicates": 2}),
            "transfer": study.transfer.model_copy(update={"settings": [Setting(train="frozen", lr=0.01)]}),
        }
    )
    runs = transfer.transfer(some, TASK, save=True).runs
    assert len(runs) == 4 and runs.groupby("replicate")["weights_digest"].nunique().eq(1).all()
    assert runs["weights_digest"].nunique() == 2
    assert len(load_results(some, [TASK]).of_task(TASK)) == 4


def test_test_auc_is_that_of_the_stored_predictions(study):
    result = transfer.transfer(study, TASK)
    manifest = open_packed(study.dataset_dir(TASK)).manifest.set_index("image_id")
    for run in result.runs.itertuples():
        some = result.predictions[result.predictions["run"] == run.run]
        assert roc_auc_score(some["label"], some["score"]) == pytest.approx(run.test_auc)
        tested = manifest.index[manifest[f"part_{run.fold}"] == "test"]
        assert sorted(some["image_id"]) == sorted(tested)


def test_second_call_computes_nothing_and_scratch_gives_the_same(study, tmp_path_factory):
    first = transfer.transfer(study, TASK)
    second = transfer.transfer(study, TASK)
    assert second.computed == 0 and second.reused == len(first.runs)
    for run in (study.store_dir / "runs").rglob("*.parquet"):
        run.unlink()
    scratch = transfer.transfer(study, TASK)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))
        pd.testing.assert_frame_equal(
            without_times(getattr(first, name)), without_times(getattr(scratch, name)), check_exact=True
        )


def test_changed_rate_reruns_only_its_setting(study):
    transfer.transfer(study, TASK)
    settings = [Setting(train="frozen", lr=0.02), *study.transfer.settings[1:]]
    changed = transfer.transfer(with_transfer(study, settings=settings), TASK)
    assert changed.computed == 4
    assert changed.reused == 16


def test_digest_holds_all_that_decides_a_run(study, monkeypatch):
    """Also what is not in data, weights and parameters of training; the network itself is not asked."""

    def digest_in(study, localises=True):
        group = transfer.TransferGroup(study, TASK, packed, weights, lambda done: None)
        group.masked, group.localises = np.arange(3), localises
        return group.digest(run)

    packed, weights = open_packed(study.dataset_dir(TASK)), load_weights(study, "random", SMALL)
    run = next(run for run in study.runs_of(TASK) if run.source == "random")
    task = study.tasks[TASK]
    other, scored = task.model_copy(update={"variant_of": "other"}), {"score": "patient_mean"}
    as_variant = study.model_copy(update={"tasks": {TASK: other, "other": task}})
    by_patient = study.model_copy(update={"tasks": {TASK: task.model_copy(update=scored)}})
    digests = [digest_in(study), digest_in(study, localises=False), digest_in(as_variant)]
    digests += [digest_in(by_patient), digest_in(study)]
    monkeypatch.setattr(features, "VERSIONS", ("torch 0.1",))
    digests.append(digest_in(study))
    assert digests[0] == digests[4] and len(set(digests)) == 5


def test_results_of_another_training_are_no_answer_to_this_study(study):
    """Results are found by name, and an override in a notebook changes no name."""
    study = with_transfer(study, settings=[Setting(train="frozen", lr=0.01), Setting(train="knn")])
    transfer.transfer(study, TASK, save=True)
    for changes, said in (
        ({"epochs": {**study.transfer.epochs, "frozen": 7}}, "transfer.epochs.frozen 4, .* says 7 now"),
        ({"neighbours": [1, 2]}, r"transfer.neighbours \[1, 5, 20\], .* says \[1, 2\] now"),
    ):
        with pytest.raises(UserError, match=said):
            load_results(with_transfer(study, **changes), [TASK])
    fewer = with_transfer(study, settings=study.transfer.settings[:1], strengths=[1.0], epochs={"frozen": 4})
    assert len(load_results(fewer, [TASK]).runs) == 4


def test_damaged_store_is_computed_again_and_said(study, capsys):
    first = transfer.transfer(study, TASK)
    for path in (study.store_dir / "features").iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    runs = sorted((study.store_dir / "runs").rglob("*.parquet"))
    runs[0].write_bytes(b"not a run")
    again = transfer.transfer(study, TASK)
    said = capsys.readouterr().out
    assert "stored features" in said and "stored run" in said
    assert again.computed == 1
    pd.testing.assert_frame_equal(first.predictions, again.predictions)


def test_test_labels_cannot_leak_into_selection(study):
    """Runs with test labels turned around choose the same epoch and give the same scores."""
    first = transfer.transfer(study, TASK)
    images, manifest = two_classes(80, 32, folds=2)
    turned = manifest.copy()
    for fold in range(2):
        turned[f"part_{fold}"] = manifest["part_0"]
    tested = turned["part_0"] == "test"
    other = study.model_copy(update={"root": study.root / "other"})
    weights = load_weights(study, "radiology", SMALL)
    save_weights(other.model_file("radiology", SMALL), weights.state, weights.preprocessing)
    turned.loc[tested, "label"] = 1 - turned.loc[tested, "label"]
    write_packed(other.dataset_dir(TASK), images, turned)
    second = transfer.transfer(other, TASK)
    some, same = (r.predictions[r.predictions["fold"] == 0].reset_index() for r in (first, second))
    np.testing.assert_array_equal(some["score"], same["score"])
    assert (some["label"] == 1 - same["label"]).all()


def test_frozen_run_comes_near_logistic_regression(study):
    """An independent classifier on the same features."""
    study = with_transfer(
        study, settings=[Setting(train="frozen", lr=0.003)], epochs={"frozen": 60}, dropout=0.0, views=1
    )
    images, manifest = two_classes(240, 32, folds=2, seed=3, signal=22.0)
    other = study.model_copy(update={"root": study.root / "other", "sources": ["random"]})
    write_packed(other.dataset_dir(TASK), images, manifest)
    result = transfer.transfer(other, TASK)
    packed = open_packed(other.dataset_dir(TASK))
    weights = load_weights(other, "random", SMALL)
    pooled = features.features_of(packed, weights, 32, "none", 1, False, other.store_dir).pooled[0].numpy()
    expected = []
    for fold in range(2):
        part = manifest[f"part_{fold}"]
        train, test = part == "train", part == "test"
        scaler = StandardScaler().fit(pooled[train])
        model = LogisticRegression(C=0.01, max_iter=2000).fit(
            scaler.transform(pooled[train]), manifest["label"][train]
        )
        scores = model.decision_function(scaler.transform(pooled[test]))
        expected.append(roc_auc_score(manifest["label"][test], scores))
    assert 0.6 < np.mean(expected) < 0.999
    assert result.runs["test_auc"].mean() == pytest.approx(np.mean(expected), abs=0.08)


def test_stored_features_are_read_from_their_files_not_copied(study):
    packed = open_packed(study.dataset_dir(TASK))
    weights = load_weights(study, "random", LITE0)
    call = (packed, weights, 32, "full", 2, True, study.store_dir)
    first, second = features.features_of(*call), features.features_of(*call)
    for name in ("pooled", "boundary"):
        assert len(getattr(first, name)) == 2
        assert all(map(torch.equal, getattr(first, name), getattr(second, name)))
    mapped = Path("/proc/self/maps")
    if mapped.is_file():
        files = [p for p in (study.store_dir / "features").iterdir()]
        assert len(files) == 2 and all(str(file) in mapped.read_text() for file in files)


@pytest.mark.parametrize("shape", [(3, 5, 1, 1), (3, 5, 2, 2), (1, 1, 1, 1)])
def test_maps_are_stored_whatever_their_order_in_memory(tmp_path, shape):
    """Graphics cards give them channels last, and a map of 1 x 1 pixels keeps the strides of that."""
    count, channels, *_ = shape
    given = torch.randn(2 * count, *shape[1:]).bfloat16()
    strides = (channels * shape[2] * shape[3], 1, shape[3] * channels, channels)
    last = torch.empty_strided(given.shape, strides if channels > 1 else (1, 7, 7, 7), dtype=given.dtype)
    last.copy_(given)
    file = tmp_path / "some.safetensors"
    said = ({"boundary": features._joined(s), "pooled": s.float().mean((2, 3))} for s in last.split(count))
    features._write(file, said)
    found = features._load(file)
    assert torch.equal(found["boundary"], given)
    torch.testing.assert_close(found["pooled"], given.float().mean((2, 3)))


@pytest.mark.skipif(compute.precision() != "bfloat16", reason="no native bfloat16 here")
def test_bfloat16_features_agree_with_float32(study, monkeypatch):
    packed = open_packed(study.dataset_dir(TASK))
    weights = load_weights(study, "radiology", SMALL)
    low = features.features_of(packed, weights, 32, "none", 1, False, study.store_dir).pooled[0]
    monkeypatch.setattr(compute, "precision", lambda: "float32")
    high = features.features_of(packed, weights, 32, "none", 1, False, study.store_dir).pooled[0]
    assert not torch.equal(low, high)
    correlation = torch.corrcoef(torch.stack([low.flatten(), high.flatten()]))[0, 1]
    assert correlation > 0.999


LOSSES = [1.0, 0.5, 0.6, 0.7, 0.4, 0.8]


def fitted(study, train: str, epochs: int, patience: dict, monkeypatch):
    """A network after a training whose validation losses are given, and what is said of it."""
    changes = {"epochs": {train: epochs}, "patience": patience, "settings": [Setting(train=train, lr=0.01)]}
    study, told = with_transfer(study, **changes), []
    packed, weights = open_packed(study.dataset_dir(TASK)), load_weights(study, "random", SMALL)
    group = transfer.TransferGroup(study, TASK, packed, weights, told.append)
    run = next(run for run in study.runs_of(TASK) if run.source == "random")
    part, _, _ = group.parts(run)
    group.share(run)
    told.clear()
    losses = iter(LOSSES)
    monkeypatch.setattr(group, "validate", lambda learner, rows: {"val_loss": next(losses), "val_auc": 0.5})
    generator = compute.start_run(group.seed(run))
    learner = group.learner(run, part)
    best, history = group.fit(learner, run, part, part, generator)
    assert [row["val_loss"] for row in history] == LOSSES[: best["last_epoch"]]
    assert sum(told) == pytest.approx(80 * epochs * group.passes[train])
    return learner.state_dict(), best


@pytest.mark.parametrize("train", ["frozen", "all"])
def test_patience_ends_a_run_and_keeps_what_a_run_of_that_length_keeps(study, train, monkeypatch):
    """Losses have their minima in epochs 2 and 5: a patience of 2 ends in epoch 4, one of 3 never."""
    early, said = fitted(study, train, 6, {train: 2}, monkeypatch)
    assert (said["best_epoch"], said["last_epoch"], said["stopped_early"]) == (2, 4, True)
    short, same = fitted(study, train, 4, {}, monkeypatch)
    assert (same["best_epoch"], same["last_epoch"], same["stopped_early"]) == (2, 4, False)
    torch.testing.assert_close(early, short, rtol=0, atol=0)
    long, said = fitted(study, train, 6, {train: 3}, monkeypatch)
    assert (said["best_epoch"], said["last_epoch"], said["stopped_early"]) == (5, 6, False)
    assert not torch.equal(early["head.linear.weight"], long["head.linear.weight"])


def test_patience_that_is_never_over_changes_no_number(study):
    study = with_transfer(study, settings=[Setting(train="frozen", lr=0.01)], epochs={"frozen": 8})
    first = transfer.transfer(with_transfer(study, patience={}), TASK)
    second = transfer.transfer(with_transfer(study, patience={"frozen": 8}), TASK)
    assert second.computed == len(first.runs) and (second.runs["last_epoch"] == 8).all()
    assert not second.runs["stopped_early"].any()
    for name in TABLES:
        some, same = (without_times(getattr(done, name)) for done in (first, second))
        some, same = (one.drop(columns=["run", "parameters"], errors="ignore") for one in (some, same))
        pd.testing.assert_frame_equal(some, same, check_exact=True)


def test_learning_curve_of_runs_that_stopped_shows_what_they_keep(study):
    """The median over the runs that go on would fall where nothing is learnt any more."""
    about = {"task": TASK, "source": "random", "backbone": "resnet50", "train": "all"}
    runs = pd.DataFrame({"run": ["a", "b", "c"], **about})
    losses = {"a": [3.0, 1.0, 2.0, 2.0], "b": [5.0, 4.0, 4.5], "c": [6.0, 5.0, 5.5, 3.0, 2.5]}
    rows = [(run, n, loss) for run, some in losses.items() for n, loss in enumerate(some, 1)]
    figure = learning_curves(study, runs, pd.DataFrame(rows, columns=["run", "epoch", "val_loss"]))
    axis = figure.axes[0]
    assert list(axis.lines[0].get_ydata()) == [5, 4, 4, 3, 2.5] and "so far" in axis.get_title()
    assert figure.legends[0].get_title().get_text() == f"{study.tasks[TASK].title}: validation loss"


def test_figures_of_a_task_name_it_and_say_what_their_marks_mean(study):
    about = {"task": TASK, "backbone": SMALL, "train": "knn", "lr": 0.0}
    own = {"run": ["a", "b"], "source": ["random", "radiology"], "test_auc": [0.4, 0.7]}
    runs = pd.DataFrame({**own, **about})
    history = [(run, choice, 0.5 + choice / 100) for run in "ab" for choice in (1, 5, 20)]
    curves = learning_curves(study, runs, pd.DataFrame(history, columns=["run", "choice", "val_loss"]))
    ticks = [label.get_text() for label in curves.axes[0].get_xticklabels()]
    assert ticks == ["1", "5", "20"] and not len(curves.axes[0].xaxis.get_minorticklocs())
    dots = runs_by_setting(study, runs)
    said = [text.get_text() for text in dots.legends[0].get_texts()]
    assert said == [study.corpora["radiology"].title, "Random weights", "guessing"]
    assert dots.legends[0].get_title().get_text() == f"{study.tasks[TASK].title}: every run"
    assert sorted(x for dot in dots.axes[0].collections for x in dot.get_offsets()[:, 0]) == [0.4, 0.7]


def test_diverged_run_is_marked_and_scores_one_half(study):
    study = with_transfer(
        study, settings=[Setting(train="frozen", lr=1e38)], epochs={"frozen": 2}, standardise=False
    )
    result = transfer.transfer(study, TASK)
    assert result.runs["diverged"].all()
    assert (result.runs["test_auc"] == 0.5).all()
    assert (result.predictions["score"] == 0.5).all()


def test_order_of_large_logits_survives_in_the_scores():
    logits = torch.tensor([900.0, -400.0, 100.0, 901.0, 50.0, 0.0])
    scores = transfer.probabilities(logits)
    assert list(np.argsort(scores)) == list(np.argsort(logits.numpy()))
    assert len(np.unique(scores)) == 6
    np.testing.assert_array_equal(scores[5], 0.5)
    modest = torch.tensor([2.0, -1.0, 0.5])
    expected = 1 / (1 + np.exp(-modest.double().numpy()))
    np.testing.assert_array_equal(transfer.probabilities(modest), expected)


class _Certain(torch.nn.Module):
    """A network whose logits are far beyond what a probability can tell apart."""

    def __init__(self, logits: torch.Tensor):
        super().__init__()
        self.logits = logits

    def forward(self, rows: np.ndarray, epoch, generator) -> torch.Tensor:
        return self.logits[rows]


def test_threshold_and_test_scores_are_of_one_scale(study):
    """Far logits on either part are drawn in; the threshold then cuts test scores where it should."""
    logits = torch.tensor([-500.0, 30.0, 31.0, 900.0, 30.4, 30.6, -2.0])
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    packed, weights = open_packed(study.dataset_dir(TASK)), load_weights(study, "random", SMALL)
    group = transfer.TransferGroup(study, TASK, packed, weights, lambda done: None)
    group.labels = labels
    figures, table = group.test(_Certain(logits), np.arange(4), np.arange(4, 7))
    assert (table["score"] >= figures["val_threshold"]).tolist() == [False, True, False]
    assert table["score"][2] == 1 / (1 + np.exp(2.0))


@pytest.mark.parametrize("place", ["validation", "test"])
def test_a_network_that_says_no_number_of_one_image_is_not_finite(study, place):
    """All scores of a run are then alike, and without the mark its AUC of 0.5 would look like a result."""
    logits, labels = torch.tensor([-1.0, 2.0, -2.0, 1.0, -1.0, 1.0]), torch.tensor([0.0, 1.0] * 3)
    packed, weights = open_packed(study.dataset_dir(TASK)), load_weights(study, "random", SMALL)
    group = transfer.TransferGroup(study, TASK, packed, weights, lambda done: None)
    group.labels = labels
    figures, _ = group.test(_Certain(logits), np.arange(2), np.arange(2, 6))
    assert figures["finite"] and figures["test_auc"] == 1
    logits[{"validation": 0, "test": 5}[place]] = float("nan")
    figures, table = group.test(_Certain(logits), np.arange(2), np.arange(2, 6))
    assert not figures["finite"] and figures["test_auc"] == 0.5 and (table["score"] == 0.5).all()


@pytest.mark.parametrize("broken", ["test", "external"])
def test_a_run_that_says_no_number_where_it_is_scored_diverged(study, monkeypatch, broken):
    study = with_transfer(study, settings=[Setting(train="frozen", lr=0.01)], epochs={"frozen": 1})
    asked = getattr(transfer.TransferGroup, broken)

    def without_number(group, learner, *parts):
        first, table = asked(group, learner, *parts)
        return (first | {"finite": False} if broken == "test" else False), table

    assert not transfer.transfer(study, TASK).runs["diverged"].any()
    monkeypatch.setattr(transfer.TransferGroup, broken, without_number)
    again = with_transfer(study, settings=[Setting(train="frozen", lr=0.02)], epochs={"frozen": 1})
    assert transfer.transfer(again, TASK).runs["diverged"].all()


def test_the_threshold_of_each_run_is_kept(study):
    study = with_transfer(study, settings=[Setting(train="frozen", lr=0.01)], epochs={"frozen": 30})
    result = transfer.transfer(study, TASK)
    assert result.runs["val_threshold"].between(0, 1, inclusive="neither").all()
    assert result.runs["val_threshold"].nunique() > 1
    called = result.predictions.merge(result.runs[["run", "val_threshold"]], on="run")
    right = (called["score"] >= called["val_threshold"]) == called["label"]
    assert right.mean() > 0.8  # the planted signal is plain


def test_the_bar_moves_with_every_batch_and_ends_full(study):
    """So that the time left is known in the first minute, also where an epoch takes an hour."""
    packed, runs = open_packed(study.dataset_dir(TASK)), study.runs_of(TASK)
    runs = [run for run in runs if run.source == "random"]
    told = []
    group = transfer.TransferGroup(study, TASK, packed, load_weights(study, "random", SMALL), told.append)
    for run in runs:
        group.compute(run)
    assert sum(told) == pytest.approx(group.cost_of(study, packed, runs))
    trained = (packed.manifest["part_0"] == "train").sum()
    batches = -(-trained // study.transfer.batch_size)
    assert len(told) >= batches * sum(study.transfer.epochs.get(run.train, 0) for run in runs)
