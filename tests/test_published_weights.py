"""Published weights: the networks they came from and ours say the same, each with its own preprocessing."""

import io
import re
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
import timm
import torch
import torchvision
import yaml
from dvc.repo import Repo
from safetensors.torch import save_file

from radlib.errors import UserError
from radlib.networks import backbones, keras_files
from radlib.networks.checkpoints import import_checkpoint, preprocessing_of
from radlib.networks.weights import Preprocessing, load_weights
from radlib.run.choose import choose
from radlib.run.commands import main
from radlib.study import load_study
from radlib.study.training import Compute, Setting
from radlib.training.transfer import transfer
from tests.conftest import two_classes, write_packed
from tests.fabricated import make_study
from tests.test_pipeline import copy_repository

FOUR = ["resnet50", "densenet121", "inception_v3", "inception_resnet_v2"]
KERAS_NAMES = dict(zip(FOUR, ["ResNet50", "DenseNet121", "InceptionV3", "InceptionResNetV2"], strict=True))
# RadImageNet as a user enters it; the Keras numbers are 103.939, 116.779 and 123.68, over 255.
PYTORCH = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "channels": "BGR"}
KERAS = {"mean": [0.407604, 0.457957, 0.485020], "std": [1, 1, 1], "channels": "BGR"}
TAGS = {**dict.fromkeys(FOUR[:3], "tv_in1k"), "inception_resnet_v2": "tf_in1k"}


def study_with(root, **checkpoint):
    """A study whose source `published` is the checkpoint, with its files in `data/raw/weights`."""
    (root / "data/raw/weights").mkdir(parents=True, exist_ok=True)
    return make_study(
        root,
        backbones=FOUR,
        sources=["published", "random"],
        checkpoints={"published": {"path": "data/raw/weights", **checkpoint}},
        compare={"pairs": [], "headline": ["published", "random"]},
    )


def imported(study, backbone):
    import_checkpoint(study, "published")
    return load_weights(study, "published", backbone)


def random_images():
    """Float32 (2, 3, 107, 150) from -1 to 1: one side odd, one even, so that any other padding shows."""
    return torch.rand(2, 3, 107, 150, generator=torch.Generator().manual_seed(0)) * 2 - 1


def last_maps(network, images):
    with torch.no_grad():
        return network.cpu().eval().forward_features(images)


def state_of(path, backbone):
    return keras_files.read_keras(path, backbone).state


def assert_same(found, expected, tolerance):
    """Last maps (2, C, h, w) and pooled features agree, relative to their size; two images do not."""
    assert found.shape == expected.shape
    for some, other in ((found, expected), (found.mean((2, 3)), expected.mean((2, 3)))):
        assert (some - other).norm() <= tolerance * other.norm()
        assert (some - other).abs().max() <= tolerance * other.abs().max()
    assert (expected[0] - expected[1]).norm() > 0.01 * expected[0].norm()


@pytest.fixture(scope="module")
def random_keras(keras, tmp_path_factory):
    """backbone -> (Keras' network with random weights and statistics, its file), each made once."""
    folder, made = tmp_path_factory.mktemp("keras"), {}

    def make(backbone):
        if backbone not in made:
            with keras.device("cpu"):
                network = getattr(keras.applications, KERAS_NAMES[backbone])
                model = network(include_top=False, weights=None, input_shape=(None, None, 3))
                randomise(model)
                model.save(folder / f"{backbone}.h5")
            made[backbone] = model, folder / f"{backbone}.h5"
        return made[backbone]

    return make


def randomise(model):
    rng = np.random.default_rng(1)
    for weight in model.weights:
        name = weight.path.rsplit("/", 1)[1]
        if name == "kernel":
            # Keras' own start lets an image's signal die before the last layer.
            weight.assign(rng.normal(0, np.sqrt(2 / np.prod(weight.shape[:-1])), weight.shape))
        elif name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0, 0.2, weight.shape))
        elif name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))


@pytest.mark.parametrize("backbone", FOUR)
def test_keras_file_gives_the_features_of_keras(backbone, keras, random_keras, tmp_path):
    model, path = random_keras(backbone)
    study = study_with(tmp_path, files={backbone: "notop.h5"}, **KERAS)
    study.checkpoint_file("published", backbone).symlink_to(path)
    network, images = imported(study, backbone).build(), random_images()
    with torch.no_grad(), keras.device("cpu"):
        expected = model(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert_same(last_maps(network, images), expected, 1e-4)
    epsilons = {layer.epsilon for layer in model.layers if hasattr(layer, "epsilon")}
    assert {m.eps for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)} == epsilons


@pytest.mark.parametrize("backbone", FOUR)
def test_top10_trains_what_the_last_ten_layers_of_keras_hold(backbone, random_keras):
    """The tenth is the pooling, which the published scripts ask for and which has no weights."""
    last = [weight for layer in random_keras(backbone)[0].layers[-9:] for weight in layer.trainable_weights]
    folded = [w for w in last if w.path.endswith("_conv/bias")] if backbone == "resnet50" else []
    counts = [sum(int(np.prod(weight.shape)) for weight in some) for some in (last, folded)]
    assert counts[0] - counts[1] == backbones.TOPS[backbone].weights
    assert counts[1] == (512 + 2048 if backbone == "resnet50" else 0)


@pytest.mark.parametrize("backbone", ["resnet50", "inception_v3"])
def test_timms_own_network_would_say_something_else(backbone, random_keras):
    state = state_of(random_keras(backbone)[1], backbone)
    maps = []
    for variant in ("", "keras"):
        network = backbones.create(backbone, variant=variant)
        network.load_state_dict(state, strict=False)
        maps.append(last_maps(network, random_images()))
    assert (maps[0] - maps[1]).norm() > 0.1 * maps[1].norm()


def assert_equal_states(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def as_keras_2(source, target, rename=lambda layer: layer, root="model_weights", inner=""):
    """Rewrite a file as Keras 2 wrote it: `:0` behind every name, long lists of names in several parts."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        group = new.create_group(root) if root else new
        names = {}
        for layer in old["model_weights"].attrs["layer_names"]:
            for name in old["model_weights"][layer].attrs["weight_names"]:
                renamed = f"{rename(layer)}/{name.rsplit('/', 1)[1]}:0"
                group[f"{inner or rename(layer)}/{renamed}"] = old["model_weights"][layer][name][()]
                names.setdefault(inner or rename(layer), []).append(renamed)
        group.attrs["layer_names"] = [n.encode() for n in ["input_1", *names]]
        group.create_group("input_1").attrs["weight_names"] = np.zeros(0)
        for layer, listed in names.items():
            for part, some in enumerate(np.array_split(listed, 1 + len(listed) // 100)):
                attribute = f"weight_names{part}" if len(listed) >= 100 else "weight_names"
                group[layer].attrs[attribute] = [n.encode() for n in some]


def numbered_from(first):
    """Names of Keras' own numbering in a program that had made other networks before."""

    def rename(layer):
        match = re.fullmatch(r"(conv2d|batch_normalization)(?:_(\d+))?", layer)
        return f"{match[1]}_{first + int(match[2] or 0)}" if match else layer

    return rename


KERAS_2 = {
    "slash in a name": ("densenet121", {"rename": lambda layer: re.sub("^conv1_", "conv1/", layer)}),
    "weights alone": ("resnet50", {"root": ""}),
    "network in a network": ("resnet50", {"inner": "resnet50"}),
    "numbered from 94": ("inception_v3", {"rename": numbered_from(94)}),
}


@pytest.mark.parametrize("layout", KERAS_2)
def test_older_keras_layouts_give_the_same_state(layout, random_keras, tmp_path):
    backbone, changes = KERAS_2[layout]
    path = random_keras(backbone)[1]
    as_keras_2(path, tmp_path / "old.h5", **changes)
    assert_equal_states(state_of(tmp_path / "old.h5", backbone), state_of(path, backbone))


def strip_names(weights):
    with h5py.File(weights, "a") as file:
        groups = []
        file.visititems(lambda _, found: groups.append(found))
        for found in groups:
            found.attrs.pop("name", None)


def without_names(archive, target):
    """As earlier versions of Keras 3 wrote it: layers are told by kind and number alone."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w") as new:
        weights = io.BytesIO(old.read("model.weights.h5"))
        strip_names(weights)
        new.writestr("config.json", old.read("config.json"))
        new.writestr("model.weights.h5", weights.getvalue())


@pytest.mark.parametrize("backbone", ["resnet50", "inception_v3"])
def test_keras_3_formats_give_the_same_state(backbone, keras, random_keras, tmp_path):
    model, path = random_keras(backbone)
    classes = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(model.output))
    whole, expected = keras.Model(model.input, classes), state_of(path, backbone)
    nested = keras.Sequential([model, keras.layers.GlobalAveragePooling2D()])
    for network in (whole, nested) if backbone == "resnet50" else (model,):
        network.save(tmp_path / "net.keras")
        network.save_weights(tmp_path / "net.weights.h5")
        without_names(tmp_path / "net.keras", tmp_path / "older.keras")
        for file in ("net.keras", "net.weights.h5", "older.keras"):
            assert_equal_states(state_of(tmp_path / file, backbone), expected)
        # Without names and without a list of layers nobody can tell them apart.
        strip_names(tmp_path / "net.weights.h5")
        with pytest.raises(UserError, match="lists no layers with weights; save the whole network"):
            state_of(tmp_path / "net.weights.h5", backbone)


def test_keras_network_within_a_classifier_is_found(keras, random_keras, tmp_path):
    model, path = random_keras("densenet121")
    layers = [keras.Input((64, 64, 3)), model, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    keras.Sequential(layers).save(tmp_path / "classifier.h5")
    assert_equal_states(state_of(tmp_path / "classifier.h5", "densenet121"), state_of(path, "densenet121"))


@pytest.mark.parametrize(
    ("file", "backbone", "sentence"),
    [
        ("densenet121", "resnet50", "is not a Keras resnet50: layer 'conv2_block1_0_conv' is missing"),
        ("resnet50", "inception_v3", "is not a Keras inception_v3: layer 'conv2d_0' is missing"),
        ("inception_resnet_v2", "inception_v3", "layer 'block35_.*' has no place in it"),
        ("resnet50", "tf_efficientnet_lite0", "is a Keras file, and these are read for resnet50"),
    ],
)
def test_keras_file_of_another_network_is_refused_by_name(file, backbone, sentence, random_keras):
    with pytest.raises(UserError, match=sentence):
        state_of(random_keras(file)[1], backbone)


def test_keras_file_with_another_width_is_refused_by_name(random_keras, tmp_path):
    study = study_with(tmp_path, files={"densenet121": "notop.h5"}, **KERAS)
    path = study.checkpoint_file("published", "densenet121")
    path.write_bytes(random_keras("densenet121")[1].read_bytes())
    with h5py.File(path, "a") as file:
        del file["model_weights/bn/bn/gamma"]
        file["model_weights/bn/bn/gamma"] = np.ones(1000)
    with pytest.raises(UserError, match=r"is not a densenet121: 'features.norm5.weight' is \(1000,\)"):
        import_checkpoint(study, "published")


def test_damaged_and_other_hdf5_files_are_one_sentence(random_keras, tmp_path):
    _, path = random_keras("densenet121")
    whole = path.read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cut.h5 cannot be read as a Keras file .OSError.; fetch it again"):
        state_of(tmp_path / "cut.h5", "densenet121")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(UserError, match="lists no layers with weights; save the whole network"):
        state_of(tmp_path / "other.h5", "densenet121")


def torchvision_network(backbone):
    """torchvision's network with random statistics: what is published of it; up to its last map."""
    torch.manual_seed(2)
    options = {"aux_logits": False, "init_weights": False} if backbone == "inception_v3" else {}
    network = torchvision.models.get_model(backbone, weights=None, **options).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    if backbone == "densenet121":
        return [network.features], torch.nn.Sequential(network.features, torch.nn.ReLU())
    children = list(network.children())[:-1]
    return children, torch.nn.Sequential(*children[: -2 if backbone == "inception_v3" else -1])


@pytest.mark.parametrize("backbone", FOUR[:3])
def test_radimagenet_pytorch_file_gives_the_features_of_torchvision(backbone, tmp_path):
    children, network = torchvision_network(backbone)
    published = torch.nn.Module()
    published.backbone = torch.nn.Sequential(*children)
    study = study_with(tmp_path, files={backbone: "net.pt"}, **PYTORCH)
    torch.save(published.state_dict(), study.checkpoint_file("published", backbone))
    with torch.no_grad():
        expected = network(random_images())
    assert_same(last_maps(imported(study, backbone).build(), random_images()), expected, 1e-5)


def test_pytorch_file_that_is_not_what_it_claims_is_one_sentence(tmp_path):
    study = study_with(tmp_path, files={"densenet121": "net.pt"}, **PYTORCH)
    path = study.checkpoint_file("published", "densenet121")
    state = torchvision.models.resnet18().state_dict()
    torch.save({f"backbone.{i}.{key}": value for i, (key, value) in enumerate(state.items())}, path)
    with pytest.raises(
        UserError, match="is not a densenet121: 'features.conv0.weight' is missing in the file"
    ):
        import_checkpoint(study, "published")
    torch.save(torchvision.models.resnet18(), path)
    with pytest.raises(
        UserError, match="holds more than tensors, which is never run; fetch it again, or save"
    ):
        import_checkpoint(study, "published")
    study = study_with(tmp_path, files={"inception_resnet_v2": "net.pt"}, **PYTORCH)
    torch.save({"backbone.0.weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="is missing in the file, which has 'backbone.0.weight' and the like"):
        import_checkpoint(study, "published")


LITERAL = {
    "pytorch": (PYTORCH, lambda x: (x - 127.5) * 2 / 255),
    "keras": (KERAS, lambda x: (x - np.array([103.939, 116.779, 123.68])) / 255),
}


@pytest.mark.parametrize("family", LITERAL)
def test_preprocessing_is_what_radimagenet_was_trained_with(family, tmp_path):
    entry, literal = LITERAL[family]
    study = study_with(tmp_path, files={"resnet50": "net.safetensors"}, **entry)
    state = backbones.create("resnet50").state_dict()
    save_file(state, study.checkpoint_file("published", "resnet50"))
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3))
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    blue_first = literal(images[..., ::-1].astype(np.float64)).transpose(0, 3, 1, 2)
    rgb = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = imported(study, "resnet50").preprocessing(rgb).numpy()
    np.testing.assert_allclose(found, blue_first, atol=1e-6)
    expected = {"pytorch": (-1, 1), "keras": (-0.485, 0.592)}[family]
    np.testing.assert_allclose((found.min(), found.max()), expected, atol=1e-3)


def test_tags_take_their_preprocessing_from_timm(tmp_path):
    checkpoint = study_with(tmp_path, tags=TAGS).checkpoints["published"]
    imagenet = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    halves = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    expected = dict(zip(FOUR, [imagenet, imagenet, halves, halves], strict=True))
    assert {backbone: preprocessing_of(checkpoint, backbone) for backbone in FOUR} == expected


def test_file_of_a_tag_is_found_by_its_name_and_loses_its_second_classifier(tmp_path):
    study = study_with(tmp_path, tags={"inception_v3": "tv_in1k"})
    network = timm.create_model("inception_v3", pretrained=False, aux_logits=True)
    assert any(key.startswith("AuxLogits") for key in network.state_dict())
    save_file(network.state_dict(), tmp_path / "data/raw/weights/inception_v3.tv_in1k.safetensors")
    found = imported(study, "inception_v3").state
    assert found["Mixed_7c.branch_pool.bn.bias"].equal(network.Mixed_7c.branch_pool.bn.bias)
    assert not any(key.startswith(("AuxLogits", "fc")) for key in found)


def test_an_unknown_tag_says_which_there_are(tmp_path):
    study = study_with(tmp_path, tags={"inception_v3": "moon"})
    with pytest.raises(UserError, match="no weights 'inception_v3.moon'; there are: .*inception_v3.tv_in1k"):
        import_checkpoint(study, "published")


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({}, "give either files or tags"),
        ({"files": {"resnet50": "x.pt"}, "tags": TAGS, **PYTORCH}, "give either files or tags"),
        ({"files": {"resnet50": "x.pt"}, "mean": [0, 0, 0]}, "files need the mean and std"),
        ({"tags": TAGS, "channels": "BGR"}, "tags bring their own mean, std and channels"),
        ({"files": {"vgg16": "x.pt"}, **PYTORCH}, "published.files.vgg16': names 'vgg16'; allowed: resnet50"),
        (
            {"backbone": "resnet50", **PYTORCH},
            "unknown key 'checkpoints.published.backbone'; allowed there: path",
        ),
    ],
)
def test_impossible_entries_are_one_sentence(entry, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence) as caught:
        study_with(tmp_path, **entry)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_has_runs_for_the_backbones_it_has_files_of(tmp_path):
    study = study_with(tmp_path, files={"resnet50": "a.pt", "inception_v3": "b.pt"}, **PYTORCH)
    assert study.backbones_of("published") == ["resnet50", "inception_v3"]
    assert study.backbones_of("random") == FOUR
    runs = study.runs_of("thyroid_us")
    assert {r.backbone for r in runs if r.source == "published"} == {"resnet50", "inception_v3"}


def test_pipeline_imports_every_file_of_a_checkpoint(tmp_path, monkeypatch):
    folder = copy_repository(tmp_path / "copy")
    params = yaml.safe_load((folder / "studies/smoke.yaml").read_text())
    files = {"tf_efficientnet_lite0": "a.safetensors", "resnet18": "b.pt"}
    params["backbones"] = {name: {"size": 32} for name in files}
    params["transfer"]["settings"] = [{"train": "frozen", "lr": 0.01}]
    params["compare"]["rank_by"] = "frozen"
    params["checkpoints"]["published"] = {"path": "data/raw/weights", "files": files, **PYTORCH}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    raw = folder / "data/raw/weights"
    raw.mkdir(parents=True)
    save_file(backbones.create("tf_efficientnet_lite0").state_dict(), raw / "a.safetensors")
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match="'published' for resnet18 at data/raw/weights/b.pt; fetch it"):
        choose("", "")
    torch.save(backbones.create("resnet18").state_dict(), raw / "b.pt")
    choose("", "")
    stages = {stage.name: stage for stage in Repo(str(folder)).index.stages}
    stage = stages["checkpoint@published"]
    read = [d.def_path for d in stage.deps if not d.def_path.startswith("radlib/")]
    assert read == ["data/raw/weights", "study.json"]
    assert [out.def_path for out in stage.outs] == ["models/smoke/published"]
    assert main(stage.cmd.removeprefix("python -m radlib.run ").split()) == 0
    assert all(load_weights(load_study(), "published", name).state for name in files)


def test_every_regime_trains_a_keras_network(random_keras, tmp_path):
    study = study_with(tmp_path, files={"inception_v3": "notop.h5"}, **KERAS)
    settings = [Setting(train=train, lr=1e-3) for train in ("frozen", "top10", "all")]
    task = study.tasks["thyroid_us"].model_copy(update={"folds": 1})
    study = study.model_copy(
        update={
            "sources": ["published"],
            "tasks": {"thyroid_us": task},
            "transfer": study.transfer.model_copy(update={"settings": settings}),
            "compute": Compute(workers=1),
        }
    )
    study.checkpoint_file("published", "inception_v3").symlink_to(random_keras("inception_v3")[1])
    weights = imported(study, "inception_v3")
    write_packed(study.dataset_dir("thyroid_us"), *two_classes(20, 80, folds=1))
    runs = transfer(study, "thyroid_us").runs
    assert list(runs["backbone"].unique()) == ["inception_v3"]
    assert set(runs["weights_digest"]) == {weights.digest}
    assert runs["val_loss"].map(np.isfinite).all()
    other = replace(weights, variant="")
    assert other.digest != weights.digest, "the same numbers in timm's own network are other weights"
