"""Any network of timm: one of each family has timm's own features and trains what it should."""

import numpy as np
import pandas as pd
import pytest
import timm
import torch

from radlib import compute
from radlib.data import batches
from radlib.data.images import open_packed
from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.segmenters import UNet, encode
from radlib.networks.weights import load_weights
from radlib.questions.lesions.measured import load_localised
from radlib.study import Run
from radlib.study.training import Backbone, Setting
from radlib.training import transfer
from radlib.training.results import load_results
from tests import networks  # noqa: F401 - timm learns their names
from tests.conftest import SMALL, write_packed
from tests.test_localise import with_masks

TASK = "breast_us"
# By network: whether it has class-activation maps.
FAMILIES = {
    "test_vit": False,  # class token
    "test_vit2": True,  # average of patches, then a norm
    "test_vit3": False,  # attention pooling
    "test_vit_relpos": True,  # no class token, and one size only
    "tiny_dinov3": True,  # leaves a class token and four registers out of its average
    "tiny_dinov2": False,  # class token beside registers
    "tiny_swin": True,  # channels last
    "test_convnext": True,  # a norm behind the average
    "mobilenetv3_small_050": True,  # a convolution behind the average
    "regnetx_002": True,
    "test_byobnet": True,
}
RESAMPLED = ["test_vit", "test_vit2", "test_vit3", "tiny_dinov3", "tiny_dinov2"]
TRAINED = [
    "test_vit2",
    "tiny_dinov3",
    "tiny_swin",
    "test_convnext",
    "mobilenetv3_small_050",
    "test_byobnet",
    SMALL,
]
SETTINGS = [Setting(train=train, lr=0.001) for train in ("frozen", "top", "all")]


@pytest.fixture(scope="module", params=FAMILIES)
def network(request):
    torch.manual_seed(0)
    return request.param, backbones.create(request.param).eval()


@pytest.mark.usefixtures("processor")
def test_features_are_what_timm_gives_without_a_classifier(network):
    """At the size that timm's network was made for, by timm's network as it is published."""
    name, ours = network
    theirs = timm.create_model(name, num_classes=0).eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(1, 3, *[backbones.usual_size(name)] * 2).contiguous(
        memory_format=torch.channels_last
    )
    with torch.no_grad():
        found, expected = backbones.pooled(ours, ours.forward_features(images)), theirs(images)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.shape == (1, backbones.width(name)) and found.std() > 0
    pretrained = backbones.without_classifier(backbones.layout(name, classes=3), name)
    assert pretrained.keys() == ours.state_dict().keys()


def test_maps_are_where_places_are_averaged(network):
    """Whatever places say counts by its average alone, exactly in these networks."""
    name, ours = network
    assert bool(backbones.no_maps(name)) != FAMILIES[name]
    with torch.no_grad():
        last = torch.randn(backbones.feature_shape(name, backbones.usual_size(name)))
        maps = backbones.maps_of(ours, last)
        assert maps.shape[2] == maps.shape[3] and maps.shape[1] == ours.num_features
        before = backbones.pooled(ours, last)
        maps.copy_(maps.mean((2, 3), keepdim=True).expand_as(maps))  # a view of `last`
        after = backbones.pooled(ours, last)
    assert torch.allclose(before, after, atol=1e-4) == FAMILIES[name] or "token" in backbones.no_maps(name)


@pytest.mark.parametrize("network", RESAMPLED, indirect=True)
def test_other_sizes_are_those_of_timms_own_resampling(network):
    name, ours = network
    theirs = timm.create_model(name, num_classes=0).eval()
    theirs.load_state_dict(ours.state_dict())
    size = 7 * theirs.patch_embed.patch_size[0]
    theirs.set_input_size(img_size=size)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        found = backbones.pooled(ours, ours.forward_features(images))
        torch.testing.assert_close(found, theirs(images), rtol=1e-4, atol=1e-4)


def test_the_last_stage_lies_behind_all_others_and_reaches_the_features(network):
    """Other numbers in it leave the map before it as it is; it changes the features."""
    name, ours = network
    stage = backbones.last_stage(name)
    size = backbones.usual_size(name) if name == "test_vit_relpos" else 112
    images, state, said = torch.randn(1, 3, size, size), ours.state_dict(), []
    before = ours.get_submodule(ours.feature_info[-2]["module"])
    hook = before.register_forward_hook(lambda *given: said.append(given[-1].clone()))
    with torch.no_grad():
        features = [backbones.pooled(ours, ours.forward_features(images))]
        ours.load_state_dict(
            {k: v + 0.1 * torch.randn_like(v) if k in stage else v for k, v in state.items()}
        )
        features.append(backbones.pooled(ours, ours.forward_features(images)))
    hook.remove()
    assert torch.equal(*said) and not torch.allclose(*features, atol=1e-3)
    share = sum(state[k].numel() for k in stage) / sum(p.numel() for p in ours.parameters())
    assert 0.05 < share < 0.95


@pytest.fixture
def tiny(small_study):
    """A task of 24 images of 32 px, most with a lesion mask."""
    images, manifest, masks = with_masks(24)
    write_packed(small_study.dataset_dir(TASK), images, manifest, masks=masks)
    epochs = {"frozen": 2, "top": 1, "all": 1}
    options = small_study.transfer.model_copy(
        update={"settings": SETTINGS, "epochs": epochs, "batch_size": 8}
    )
    task = small_study.tasks[TASK].model_copy(update={"folds": 1})
    study = small_study.model_copy(update={"sources": ["random"], "tasks": {TASK: task}, "transfer": options})
    return study.model_copy(update={"compare": study.compare.model_copy(update={"pairs": []})})


def on(study, *names: str):
    return study.model_copy(update={"backbones": {name: Backbone(size=64) for name in names}})


@pytest.mark.parametrize("name", TRAINED)
def test_what_should_train_trains(tiny, name, monkeypatch):
    study = on(tiny, name)
    weights = load_weights(study, "random", name)
    group = transfer.TransferGroup(study, TASK, open_packed(study.dataset_dir(TASK)), weights, lambda _: None)
    images = weights.preprocessing(batches.gather(group.packed.images, np.arange(24), 64))
    with torch.no_grad():
        expected = weights.build().eval()(images).float().cpu()
    learners = []
    said = pd.DataFrame()
    monkeypatch.setattr(group, "test", lambda learner, *_: ({"finite": not learners.append(learner)}, said))
    for train in ("frozen", "top", "all"):
        record, _ = group.compute(Run(TASK, "random", name, train, 0.001, 0, 0))
        assert record["best_epoch"] > 0
    tolerance = 1e-5 if compute.precision() == "float32" else 0.05
    torch.testing.assert_close(group.features.pooled[0], expected, rtol=tolerance, atol=tolerance)
    first, stage = weights.build().cpu().state_dict(), backbones.last_stage(name)
    for learner, train in zip(learners, ("frozen", "top", "all"), strict=True):
        state = learner.backbone.cpu().state_dict()
        changed = {
            key for key in state if "num_batches" not in key and not torch.equal(state[key], first[key])
        }
        trained = {key for key, _ in learner.backbone.named_parameters() if key in changed}
        if train == "frozen":
            assert not changed
        if train == "top":
            assert trained == {k for k, p in learner.backbone.named_parameters() if p.requires_grad} == stage
            assert {key.rpartition(".")[0] for key in changed} <= {key.rpartition(".")[0] for key in stage}
        if train == "all":
            assert len(trained) > 0.9 * len(list(learner.backbone.parameters()))


def test_runs_without_maps_are_left_out_where_maps_are_compared(tiny):
    study = on(tiny, "test_vit", "test_vit2")
    result = transfer.transfer(study, TASK, save=True)
    assert result.computed == 6
    found = load_localised(study, load_results(study, [TASK]))
    assert set(found.runs[TASK]["backbone"]) == {"test_vit2"}
    assert set(found.images[TASK]["run"]) > set(found.runs[TASK]["run"])
    assert result.runs.set_index("backbone")["threshold"].isna().groupby("backbone").all().to_dict() == {
        "test_vit": True, "test_vit2": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("test_vit", "it reads its class token, not the places"),
        ("test_vit3", "it weighs places by attention"),
        ("test_mambaout", "timm does not say how it pools"),
    ],
)
def test_why_there_are_no_maps(name, why):
    assert backbones.no_maps(name) == f"{name} has no class-activation maps: {why}"


@pytest.mark.parametrize("name", ["test_convnext", "tiny_swin"])
def test_networks_without_a_map_at_half_the_size_draw(small_study, name):
    weights = load_weights(small_study, "random", name)
    network = weights.network.cpu()
    with torch.no_grad():
        maps = encode(network, weights, torch.rand(2, 1, 96, 96))
        assert [level.shape[2:] for level in maps] == [(24, 24), (12, 12), (6, 6), (3, 3)]
        unet = UNet([level["num_chs"] for level in network.feature_info], [16, 8, 8, 8, 8], 96).eval()
        logits = unet(maps)
    assert logits.shape == (2, 96, 96) and logits.std() > 0


def test_a_network_without_named_stages_has_no_top(monkeypatch):
    monkeypatch.setattr(backbones, "outline", lambda _: torch.nn.Linear(1, 1))
    with pytest.raises(
        UserError, match="'top' is not defined for backbone 'plain', for timm names no stages"
    ):
        backbones.last_stage("plain")
