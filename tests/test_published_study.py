"""studies/published.yaml, small: files in the published formats, from a server, and again without it."""

import json
import shutil

import h5py
import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from radlib.data.prepare import prepare
from radlib.networks.cards import model_card
from radlib.networks.checkpoints import import_checkpoint
from radlib.networks.keras_files import PLACES
from radlib.networks.weights import load_weights
from radlib.run.choose import choose
from radlib.study import load_study
from radlib.training.transfer import transfer
from tests.conftest import REPOSITORY, origin_of
from tests.published_files import picture
from tests.test_hub import hub  # noqa: F401 - a fixture

STUDY = REPOSITORY / "studies" / "published.yaml"
SOURCES = ["imagenet", "radimagenet", "radimagenet_keras", "radiologynet", "dino", "radiodino"]


def small(params):
    """One task of few images, one fold, one epoch; the ResNet50 and the small vision transformer."""
    kept = ("resnet50", "vit_small_patch16_224")
    params["backbones"] = {"resnet50": {"size": 64}, "vit_small_patch16_224": {"size": 32}}
    params["checkpoints"] = {name: params["checkpoints"][name] for name in SOURCES}
    for checkpoint in params["checkpoints"].values():
        for key in {"files", "tags"} & checkpoint.keys():
            checkpoint[key] = {name: file for name, file in checkpoint[key].items() if name in kept}
        checkpoint["may_have_seen"] = [t for t in checkpoint.get("may_have_seen", []) if t == "breast_us"]
    params["sources"] = [name for name in params["sources"] if name in [*SOURCES, "random"]]
    params["tasks"] = {"breast_us": params["tasks"]["breast_us"] | {"folds": 1, "size": 64}}
    params["transfer"] |= {"epochs": {"frozen": 1}, "views": 1}
    params["compare"] |= {"pairs": [["radimagenet", "imagenet"], ["radiodino", "dino"]]}
    params["confounds"] = {}
    params["compute"] = {"workers": 1}
    return params


def halved(state):
    return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}


def numbered(key):
    """The name of a tensor in RadImageNet's file: children of the network are counted."""
    child, _, rest = key.partition(".")
    return f"backbone.{['conv1', 'bn1', '', '', 'layer1', 'layer2', 'layer3', 'layer4'].index(child)}.{rest}"


def keras_file(path, state):
    """A `_notop.h5` with these tensors of timm's ResNet50, as Keras 2 saves a whole model."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name in PLACES["resnet50"]()]
        for layer, place in PLACES["resnet50"]().items():
            if f"{place}.running_mean" in state:
                keys = {"gamma": "weight", "beta": "bias"}
                keys |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
                arrays = {weight: state[f"{place}.{key}"].numpy() for weight, key in keys.items()}
            else:
                kernel = state[f"{place}.weight"].numpy().transpose(2, 3, 1, 0)
                arrays = {"kernel": kernel, "bias": np.zeros(kernel.shape[-1], kernel.dtype)}
            for weight, array in arrays.items():
                root[f"{layer}/{layer}/{weight}:0"] = array
            root[layer].attrs["weight_names"] = [f"{layer}/{weight}:0".encode() for weight in arrays]


def write_study(root, hub):  # noqa: F811
    """The small study, its data, and its weights on the server and in the folder, as they are published."""
    torch.manual_seed(0)
    state = halved(timm.create_model("resnet50", num_classes=5).state_dict())
    vit = halved(timm.create_model("vit_small_patch16_224", num_classes=0).state_dict())
    save_file(state, hub.put("timm/resnet50.tv_in1k", "model.safetensors"))
    save_file(vit, hub.put("timm/vit_small_patch16_224.dino", "model.safetensors"))
    torch.save(vit, hub.put("Snarcy/RadioDino-s16", "pytorch_model.bin"))
    body = {numbered(key): value for key, value in state.items() if "fc" not in key}
    torch.save(body, hub.put("Lab-Rasool/RadImageNet", "ResNet50.pt"))
    raw = root / "data/raw"
    for folder in ("RadImageNet_keras", "RadiologyNET"):
        (raw / folder).mkdir(parents=True)
    keras_file(raw / "RadImageNet_keras/RadImageNet-ResNet50_notop.h5", state)
    wrapped = {f"model.{key}": value for key, value in state.items()}
    torch.save({"model_state": wrapped, "epoch": 9}, raw / "RadiologyNET/ResNet50.pth")
    for number in range(44):
        kind = "normal" if number >= 40 else "malignant" if number % 2 else "benign"
        picture(raw / "Dataset_BUSI_with_GT" / kind / f"{kind} ({number}).png", number, 40)
    params = small(yaml.safe_load(STUDY.read_text()))
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture
def published(hub, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path / "study")
    write_study(tmp_path / "study", hub)
    return tmp_path / "study"


def imported():
    """The first steps of `make study`, where they are not done; the study, and the digests of its weights."""
    choose("", "")
    study = load_study()
    for name in study.checkpoints:
        if not (study.root / "models/published" / name).exists():
            import_checkpoint(study, name)
    pairs = [(name, backbone) for name in study.checkpoints for backbone in study.backbones_of(name)]
    return study, {pair: load_weights(study, *pair).digest for pair in pairs}


def test_it_ends_and_ends_again_with_the_network_cut(published, hub):  # noqa: F811
    study, digests = imported()
    prepare(study, "breast_us", save=True)
    runs = transfer(study, "breast_us").runs
    assert set(runs["source"]) == set(study.sources) and len(runs) == 3 * (4 + 2 + 2)
    assert set(runs["weights_digest"]) > set(digests.values())
    check_formats(study)
    fetched = [one.split("cdn/")[1] for one in hub.asked if one.startswith("GET cdn")]
    assert len(fetched) == len(set(fetched)) == 4
    hub.stop()
    for name in ("imagenet", "radimagenet", "dino", "radiodino"):
        shutil.rmtree(published / "models/published" / name)
    stored = {path: path.stat().st_mtime_ns for path in (published / "store/runs").rglob("*.parquet")}
    assert imported()[1] == digests
    transfer(study, "breast_us")
    assert {path: path.stat().st_mtime_ns for path in (published / "store/runs").rglob("*.parquet")} == stored


def check_formats(study):
    """Every format holds the same network, and its card says what it is."""
    names = {name: origin_of(study, study.backbones_of(name)[0], name)["names"] for name in SOURCES}
    assert list(names.values()) == [
        "timm's",
        "numbers of torchvision's",
        "Keras'",
        "timm's",
        "timm's",
        "timm's",
    ]
    states = [load_weights(study, name, "resnet50").state for name in SOURCES[:4]]
    for state in states[1:]:
        torch.testing.assert_close(state["layer3.2.conv2.weight"], states[0]["layer3.2.conv2.weight"])
    card = model_card(study, "radiologynet")["resnet50"]
    assert card["its tensors"] == "timm's names within model_state.model"
    assert card["left out (tensors)"] == "fc (2)"
    assert card["licence"].startswith("code: GPL-3.0; weights: not stated; data: ")
    card = model_card(study, "radiodino")["vit_small_patch16_224"]
    assert card["may have seen images of"] == "Breast US"
    assert card["published file"].startswith("pytorch_model.bin of Snarcy/RadioDino-s16, c0c0")
    record = json.loads(study.fetched_record("radiodino").read_text())["vit_small_patch16_224"]
    assert record["sha256"].startswith(card["its SHA-256"][:16])


def test_the_study_names_what_exists():
    study = load_study(path=STUDY)
    ways = [source for source in study.sources if "resnet50" in study.backbones_of(source)]
    assert ways == ["imagenet", "radimagenet", "radimagenet_keras", "radiologynet", "random"]
    assert not study.simulated and len(study.tasks) == 5
    for pair in study.compare.pairs:
        assert set(study.backbones_of(pair[0])) & set(study.backbones_of(pair[1])), pair
    assert all(checkpoint.licence and checkpoint.url for checkpoint in study.checkpoints.values())
