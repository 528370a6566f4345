"""Pretraining: resumes to the same weights, and counts what it says it counts."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy.special import softmax
from sklearn.metrics import log_loss, recall_score

from radlib.data.images import open_packed
from radlib.errors import UserError
from radlib.networks.cards import model_card
from radlib.networks.weights import load_weights
from radlib.training import pretrain as module
from radlib.training.pretrain import accuracies, channel_statistics, pretrain
from tests.conftest import SMALL, two_classes, write_packed


@pytest.fixture
def study(small_study):
    images, manifest = two_classes(64, 32, folds=1)
    write_packed(small_study.dataset_dir("radiology"), images, manifest)
    return small_study.model_copy(update={"pretrain": small_study.pretrain.model_copy(update={"epochs": 3})})


class Killed(Exception):
    pass


def weights(study) -> dict[str, torch.Tensor]:
    return load_file(study.model_file("radiology", SMALL))


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_interrupted_training_resumes_to_the_same_weights(study, monkeypatch):
    pretrain(study, "radiology", save=True)
    whole = weights(study)
    for path in (study.store_dir / "pretrain").iterdir():
        path.unlink()
    epoch = module._Training._epoch
    calls = []

    def dies_in_the_second(self, number, advance):
        calls.append(number)
        if len(calls) == 2:
            raise Killed
        epoch(self, number, advance)

    monkeypatch.setattr(module._Training, "_epoch", dies_in_the_second)
    with pytest.raises(Killed):
        pretrain(study, "radiology")
    pretrain(study, "radiology", save=True)
    assert calls == [0, 1, 1, 2]
    assert_equal(weights(study), whole)
    assert not any(key.startswith("classifier") for key in whole)
    packed = open_packed(study.dataset_dir("radiology"))
    rows = np.flatnonzero(packed.manifest["part_0"] == "train")
    found = load_weights(study, "radiology", SMALL).preprocessing
    assert found == channel_statistics(packed.images, rows)


def test_every_class_is_equally_likely_at_first(study):
    """A uniform guess has a log loss of log(classes); timm's own classifier begins far above it."""
    packed = open_packed(study.dataset_dir("radiology"))
    training = module._Training(packed, SMALL, study.pretrain, 0, module.ALONE)
    scores, labels = training._scores(training.rows["validation"])
    assert log_loss(labels, softmax(scores, axis=1), labels=range(training.classes)) == pytest.approx(
        np.log(training.classes)
    )


def test_a_backbone_has_its_own_epochs(study):
    own = {SMALL: study.backbones[SMALL].model_copy(update={"epochs": 2})}
    found = pretrain(study.model_copy(update={"backbones": own}), "radiology")[SMALL]
    assert study.pretrain.epochs == 3 and list(found.history["epoch"]) == [1, 2]
    assert found.summary["epochs"] == 2


def with_replicates(study, number: int):
    return study.model_copy(
        update={"pretrain": study.pretrain.model_copy(update={"replicates": number, "epochs": 1})}
    )


def test_replicates_differ_and_one_more_leaves_the_others_as_they_are(study, monkeypatch):
    names = pretrain(with_replicates(study, 2), "radiology", save=True)
    assert list(names) == [SMALL, f"{SMALL} (2)"]
    paths = [study.model_file("radiology", SMALL, replicate) for replicate in (0, 1)]
    first, second = map(load_file, paths)
    assert any(not torch.equal(first[key], second[key]) for key in first)
    assert paths[1].with_suffix(".history.csv").is_file()
    epochs, epoch = [], module._Training._epoch
    monkeypatch.setattr(
        module._Training, "_epoch", lambda self, *given: (epochs.append(given), epoch(self, *given))
    )
    pretrain(with_replicates(study, 3), "radiology", save=True)
    assert len(epochs) == 1
    for path, state in zip(paths, (first, second), strict=True):
        assert_equal(load_file(path), state)


def test_reading_ahead_changes_no_bit(study, monkeypatch):
    """Against reading each batch when it is asked for."""
    found = pretrain(study, "radiology", save=True)[SMALL].history
    ahead = weights(study)
    for path in (study.store_dir / "pretrain").iterdir():
        path.unlink()
    monkeypatch.setattr(module.batches, "ahead", iter)
    one_by_one = pretrain(study, "radiology", save=True)[SMALL].history
    assert_equal(weights(study), ahead)
    pd.testing.assert_frame_equal(
        *(table.drop(columns="images_per_second") for table in (found, one_by_one)), check_exact=True
    )


def test_damaged_checkpoint_is_said_and_trained_again(study, capsys):
    pretrain(study, "radiology", save=True)
    whole = weights(study)
    stored = next((study.store_dir / "pretrain").iterdir())
    stored.write_bytes(stored.read_bytes()[:2000])
    pretrain(study, "radiology", save=True)
    assert "is damaged" in capsys.readouterr().out
    assert_equal(weights(study), whole)


def test_preprocessing_is_mean_and_sd_of_the_training_images(study):
    packed = open_packed(study.dataset_dir("radiology"))
    rows = np.flatnonzero(packed.manifest["part_0"] == "train")
    found = channel_statistics(packed.images, rows)
    values = np.asarray(packed.images)[rows] / 255
    assert found.mean == pytest.approx((values.mean(),) * 3, abs=1e-5)
    assert found.std == pytest.approx((values.std(),) * 3, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_counted_statistics_are_those_of_the_numbers(channels):
    images = np.random.default_rng(channels).integers(0, 256, (40, 9, 9, channels), dtype=np.uint8)
    images[..., 0] //= 3
    found = channel_statistics(images, np.arange(40), sample=40)
    values = images.reshape(-1, channels) / 255
    for got, expected in ((found.mean, values.mean(0)), (found.std, values.std(0))):
        assert got == tuple(float(x) for x in np.broadcast_to(expected, 3).round(6))


def test_accuracies_against_their_definitions():
    rng = np.random.default_rng(0)
    labels = rng.choice(8, 400, p=[0.6, 0.2, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01])
    scores = rng.normal(size=(400, 8)) + 2 * np.eye(8)[labels]
    found = accuracies(scores, labels)
    order = np.argsort(-scores, axis=1)
    assert found["top1"] == pytest.approx((order[:, 0] == labels).mean())
    assert found["top5"] == pytest.approx((order[:, :5] == labels[:, None]).any(1).mean())
    expected = recall_score(labels, order[:, 0], average="macro")
    assert found["balanced_accuracy"] == pytest.approx(expected)


def test_the_model_card_says_where_weights_come_from_and_what_they_need(study):
    assert model_card(study, "radiology").empty
    history = pretrain(study, "radiology", save=True)[SMALL].history
    made, card = load_weights(study, "radiology", SMALL), model_card(study, "radiology")[SMALL]
    train = (open_packed(study.dataset_dir("radiology")).manifest["part_0"] == "train").sum()
    assert card["training images"] == f"{train} (simulated)" and card["epochs"] == len(history) == 3
    assert card["validation accuracy"] == f"{history['val_top1'].iloc[-1]:.1%}"
    assert [float(x) for x in card["divided by"].split(", ")] == list(made.preprocessing.std)
    assert card["digest (SHA-256)"] == f"{made.digest[:16]}..." and card["licence"] == "not stated"


def test_unprepared_corpus_is_one_sentence(study):
    with pytest.raises(UserError, match="dataset 'photographs' is not prepared"):
        pretrain(study, "photographs")
