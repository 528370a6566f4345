"""Weights files: what is read is what was written, and what is wrong is said in one sentence."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.checkpoints import import_checkpoint
from radlib.networks.weights import Preprocessing, load_weights, read_state, save_weights
from radlib.study.datasets import Checkpoint
from tests.conftest import SMALL


def with_checkpoint(study, file: str):
    checkpoint = Checkpoint(
        path="data", files={SMALL: file}, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), channels="BGR"
    )
    (study.root / "data").mkdir(exist_ok=True)
    return study.model_copy(update={"checkpoints": {"published": checkpoint}})


def test_checkpoint_brings_its_preprocessing_and_equal_features(small_study):
    torch.manual_seed(1)
    model = backbones.create(SMALL, classes=1000).eval()
    study = with_checkpoint(small_study, "net.safetensors")
    save_file(model.state_dict(), study.checkpoint_file("published", SMALL))
    import_checkpoint(study, "published")
    weights = load_weights(study, "published", SMALL)
    assert weights.preprocessing == Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "BGR")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model.forward_features(images)
        found = weights.build().cpu().eval().forward_features(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_preprocessing_is_the_stated_formula():
    images = torch.rand(2, 3, 4, 4)
    found = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "BGR")(images)
    blue_first = (images[:, 2] - 0.1) / 0.4
    torch.testing.assert_close(found[:, 0], blue_first)
    grey = Preprocessing()(images[:, :1])
    assert grey.shape == (2, 3, 4, 4)
    torch.testing.assert_close(grey[:, 0], 2 * images[:, 0] - 1)


def test_another_architecture_is_refused_by_name(small_study):
    study = with_checkpoint(small_study, "net.safetensors")
    save_file(backbones.create("resnet18").state_dict(), study.checkpoint_file("published", SMALL))
    with pytest.raises(UserError, match=f"is not a {SMALL}: '.*'"):
        import_checkpoint(study, "published")


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pt", "code.pt"])
def test_unreadable_checkpoint_is_one_sentence(small_study, name):
    study = with_checkpoint(small_study, name)
    path = study.checkpoint_file("published", SMALL)
    if name == "code.pt":
        path.write_bytes(pickle.dumps({"key": pathlib_like}))
    else:
        state = backbones.create(SMALL).state_dict()
        save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be read as weights"):
        import_checkpoint(study, "published")


def pathlib_like():
    raise AssertionError("a checkpoint must never run code")


def test_missing_checkpoint_says_where_to_put_it(small_study):
    with pytest.raises(
        UserError, match=f"'published' for {SMALL} at data/none.pt; fetch it and put it there"
    ):
        import_checkpoint(with_checkpoint(small_study, "none.pt"), "published")


def test_random_weights_depend_on_the_seed_alone(small_study):
    first = load_weights(small_study, "random", SMALL)
    torch.manual_seed(99)
    again = load_weights(small_study, "random", SMALL)
    other = load_weights(small_study.model_copy(update={"seed": 8}), "random", SMALL)
    assert first.digest == again.digest != other.digest


def test_digest_changes_with_preprocessing(small_study):
    state = backbones.create(SMALL).state_dict()
    digests = set()
    for mean in (0.5, 0.4):
        save_weights(small_study.model_file("radiology", SMALL), state, Preprocessing(mean=(mean,) * 3))
        digests.add(load_weights(small_study, "radiology", SMALL).digest)
    assert len(digests) == 2


def test_file_without_preprocessing_is_refused(small_study):
    path = small_study.model_file("radiology", SMALL)
    path.parent.mkdir(parents=True)
    save_file(backbones.create(SMALL).state_dict(), path)
    assert read_state(path)[1] == {}
    with pytest.raises(UserError, match="carries no preprocessing"):
        load_weights(small_study, "radiology", SMALL)
