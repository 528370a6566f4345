"""Weights files: what is read is what was written, and what is wrong is said in one sentence."""

import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.checkpoints import import_checkpoint
from radlib.networks.tensor_files import read_safetensors
from radlib.networks.weights import Preprocessing, load_weights, save_weights
from radlib.study.datasets import Checkpoint
from tests.conftest import LITE0, with_lite0


@pytest.fixture
def small_study(small_study):
    return with_lite0(small_study)


def with_checkpoint(study, file: str):
    checkpoint = Checkpoint(
        path="data", files={LITE0: file}, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), channels="BGR"
    )
    (study.root / "data").mkdir(exist_ok=True)
    return study.model_copy(update={"checkpoints": {"published": checkpoint}})


def test_checkpoint_brings_its_preprocessing_and_equal_features(small_study):
    torch.manual_seed(1)
    model = backbones.create(LITE0, classes=1000).eval()
    study = with_checkpoint(small_study, "net.safetensors")
    save_file(model.state_dict(), study.checkpoint_file("published", LITE0))
    import_checkpoint(study, "published")
    weights = load_weights(study, "published", LITE0)
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
    save_file(backbones.create("resnet18").state_dict(), study.checkpoint_file("published", LITE0))
    with pytest.raises(UserError, match=f"is not a {LITE0}: '.*'"):
        import_checkpoint(study, "published")


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pt", "code.pt"])
def test_unreadable_checkpoint_is_one_sentence(small_study, name):
    study = with_checkpoint(small_study, name)
    path = study.checkpoint_file("published", LITE0)
    if name == "code.pt":
        path.write_bytes(pickle.dumps({"key": pathlib_like}))
    else:
        state = backbones.create(LITE0).state_dict()
        save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be read as weights"):
        import_checkpoint(study, "published")


def small_state():
    torch.manual_seed(3)
    return backbones.create(LITE0, classes=10).state_dict()


def of_type(dtype):
    return lambda state: {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}


def named(word):
    return lambda state: {f"{word}.{key}": value for key, value in state.items()}


READ = {
    "bfloat16": ("net.safetensors", of_type(torch.bfloat16), save_file),
    "half precision": ("net.safetensors", of_type(torch.float16), save_file),
    "double precision": ("net.pt", of_type(torch.float64), torch.save),
    "safetensors under another name": ("net.pt", dict, save_file),
    "upper case": ("NET.SAFETENSORS", dict, save_file),
    "a pickle called safetensors": ("net.safetensors", dict, torch.save),
    "beside an optimiser": ("net.ckpt", lambda s: {"state_dict": s, "epoch": 3, "optimizer": {}}, torch.save),
    "in DataParallel": ("net.bin", named("module"), torch.save),
    "in a module of a module": ("net.pt", lambda s: named("model")(named("backbone")(s)), torch.save),
}


@pytest.mark.parametrize("kind", READ)
def test_weights_are_read_as_people_save_them(kind, small_study):
    name, change, save = READ[kind]
    study, state = with_checkpoint(small_study, name), small_state()
    save(change(state), study.checkpoint_file("published", LITE0))
    import_checkpoint(study, "published")
    found = load_weights(study, "published", LITE0).state
    of = (
        torch.float16 if kind == "half precision" else torch.bfloat16 if kind == "bfloat16" else torch.float64
    )
    expected = {
        k: v.to(of).float() for k, v in state.items() if v.is_floating_point() and "classifier" not in k
    }
    assert expected.keys() == {key for key, value in found.items() if value.is_floating_point()}
    assert all(torch.equal(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize(
    "name", ["resnet18", "legacy_seresnet18", "dla34", "regnety_002", "inception_v4", "edgenext_xx_small"]
)
def test_the_classifier_is_what_timm_says_it_is(name):
    """`fc`, `last_linear`, `head.fc`, ...: all that a network of many classes has more than one of none."""
    several = backbones.layout(name, classes=10)
    classifier = backbones.outline(name, classes=10).get_classifier()
    found = backbones.without_classifier(several, name)
    assert found.keys() == backbones.layout(name).keys()
    lost = sorted(several[key].shape for key in several.keys() - found.keys())
    assert lost == sorted(parameter.shape for parameter in classifier.parameters())


def changed(key, change):
    return lambda state: state | {key: change(state[key].clone())}


def in_one_filter(value):
    return changed("blocks.3.0.conv_pw.weight", lambda t: t.index_fill_(0, torch.tensor([1]), value))


def archive_of(*names):
    def save(_, path):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "x")

    return save


def text(content):
    return lambda _, path: path.write_bytes(content)


NAN = "numbers of tensor 'blocks.3.0.conv_pw.weight' are NaN or infinite; fetch it again"
REFUSED = {
    "one filter of NaN": (in_one_filter(torch.nan), torch.save, f"40 of the 9,600 {NAN}"),
    "infinity": (in_one_filter(-torch.inf), torch.save, NAN),
    "too large for float32": (changed("bn1.bias", lambda t: t.double() + 1e300), torch.save, "32 of the 32"),
    "zeros": (lambda s: {k: torch.zeros_like(v) for k, v in s.items()}, torch.save, "same of every image"),
    "negative variance": (changed("bn1.running_var", torch.neg), torch.save, "an image with NaN"),
    "whole numbers": (changed("bn1.bias", torch.Tensor.char), torch.save, r"is \(32,\) int8 in the file and"),
    "two networks": (lambda s: {"a": s, "b": in_one_filter(2)(s)}, torch.save, r"several networks \(a, b\)"),
    "nothing": (lambda s: {"epoch": 3}, torch.save, "holds no tensors by name; save those of the network"),
    "empty": (dict, text(b""), "net.pt is empty; fetch it again"),
    "git lfs": (dict, text(b"version https://git-lfs.github.com/spec/v1"), "is a pointer of Git LFS"),
    "web page": (dict, text(b"\n<!DOCTYPE html>"), "is a web page"),
    "anything": (dict, text(b"there"), "is damaged, or of no kind known here"),
    "keras 3": (dict, archive_of("config.json", "model.weights.h5"), "is a Keras file, and these are read"),
    "compressed": (dict, text(b"\x1f\x8b tar"), "is a compressed archive; unpack it"),
    "torchscript": (dict, archive_of("w/data.pkl", "w/constants.pkl"), "is a TorchScript program"),
    "zipped": (dict, archive_of("w/net.pt"), r"is a zip archive \(w/net.pt, ...\); unpack it"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_weights_that_would_poison_a_study_are_refused_by_what_they_are(kind, small_study):
    change, save, sentence = REFUSED[kind]
    study = with_checkpoint(small_study, "net.pt")
    save(change(small_state()), study.checkpoint_file("published", LITE0))
    with pytest.raises(UserError, match=sentence) as caught:
        import_checkpoint(study, "published")
    assert "\n" not in str(caught.value)


def test_the_reference_can_be_had_with_timm_alone(small_study):
    study, state = with_checkpoint(small_study, "net.pt"), small_state()
    torch.save(state, study.checkpoint_file("published", LITE0))
    import_checkpoint(study, "published")
    _, metadata = read_safetensors(study.model_file("published", LITE0))
    reference = json.loads(metadata["reference"])
    side = reference["size"]
    picture = [
        [[(2 * x + 3 * y + x * y // 8 + 40 * c) % 256 for c in (2, 1, 0)] for x in range(side)]
        for y in range(side)
    ]
    shown = (np.array(picture) / 255 - [0.1, 0.2, 0.3]) / [0.4, 0.5, 0.6]
    network = backbones.create(LITE0, classes=10).eval()
    network.load_state_dict(state)
    with torch.no_grad():
        pooled = network.forward_head(
            network.forward_features(torch.tensor(shown).permute(2, 0, 1)[None].float()), pre_logits=True
        )
    assert side == 224 and reference["features"] == pytest.approx(pooled[0, :8].tolist(), rel=2e-3, abs=1e-5)


HALF = [0.5] * 3
IN_255 = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
SCALES = [
    (IN_255, r"255\? .* write mean: \[0.485, 0.456, 0.406\] and std: \[0.229, 0.224, 0.225\]"),
    ({"mean": [103.939, 116.779, 123.68], "std": [1, 1, 1]}, "leave std at 1 if the network was shown"),
    ({"mean": HALF, "std": [127.5] * 3}, "of pixels in 0 to 255"),
    ({"mean": HALF, "std": [0.5, 0, 0.5]}, "should be greater than 0"),
    ({"mean": HALF, "std": [-0.5] * 3}, "should be greater than 0"),
    ({"mean": HALF, "std": [0.5, float("nan"), 0.5]}, "finite number"),
    ({"mean": HALF[:2], "std": HALF}, "at least 3 items"),
    ({"mean": HALF, "std": HALF, "path": "https://example.org/w"}, "path is a folder of this machine"),
]


@pytest.mark.parametrize(("entry", "sentence"), SCALES)
def test_a_scale_that_cannot_be_right_is_refused(entry, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Checkpoint(**{"path": "data", "files": {LITE0: "net.pt"}, **entry})


def test_weights_of_a_training_that_diverged_are_not_kept(small_study):
    path = small_study.model_file("radiology", LITE0)
    with pytest.raises(UserError, match="'bn1.bias' are NaN or infinite; lower the learning rate"):
        save_weights(path, small_state() | {"bn1.bias": torch.full((32,), torch.nan)}, Preprocessing())
    assert not path.exists()
    with pytest.raises(UserError, match="every std above 0"):
        Preprocessing(std=(0.2, 0.0, 0.2))


def pathlib_like():
    raise AssertionError("a checkpoint must never run code")


def test_missing_checkpoint_says_where_to_put_it(small_study):
    with pytest.raises(
        UserError, match=f"'published' for {LITE0} at data/none.pt; fetch it and put it there"
    ):
        import_checkpoint(with_checkpoint(small_study, "none.pt"), "published")


def test_random_weights_depend_on_the_seed_alone(small_study):
    first = load_weights(small_study, "random", LITE0)
    torch.manual_seed(99)
    again = load_weights(small_study, "random", LITE0)
    other = load_weights(small_study.model_copy(update={"seed": 8}), "random", LITE0)
    assert first.digest == again.digest != other.digest


def test_digest_changes_with_preprocessing(small_study):
    state = backbones.create(LITE0).state_dict()
    digests = set()
    for mean in (0.5, 0.4):
        save_weights(small_study.model_file("radiology", LITE0), state, Preprocessing(mean=(mean,) * 3))
        digests.add(load_weights(small_study, "radiology", LITE0).digest)
    assert len(digests) == 2


def test_file_without_preprocessing_is_refused(small_study):
    path = small_study.model_file("radiology", LITE0)
    path.parent.mkdir(parents=True)
    save_file(backbones.create(LITE0).state_dict(), path)
    assert read_safetensors(path)[1] == {}
    with pytest.raises(UserError, match="carries no preprocessing"):
        load_weights(small_study, "radiology", LITE0)
