"""The networks: what trains under `top10`, and that stored feature maps give the same result."""

import copy
import re

import pytest
import timm
import torch
from torch.nn import functional

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.check_networks import network_faults
from radlib.networks.weights import load_weights
from radlib.study.training import Backbone, Segment, Setting
from tests.fabricated import make_study

# Trainable weights of the last ten Keras layers (include_top=False, pooling="avg"), read off keras 3.15;
# test_published_weights.py builds the networks and counts. ResNet50 has 2 560 more there: biases of its last
# two convolutions, which only shift what the batch norms behind them subtract.
KERAS_TOPS = {
    "resnet50": 3_416_576 - 2_560,
    "inception_resnet_v2": 4_130_592,
    "densenet121": 168_128,
    "inception_v3": 192,
}

VARIANTS = [*((name, "") for name in backbones.TOPS), ("resnet50", "keras"), ("inception_v3", "keras")]


@pytest.fixture(scope="module", params=VARIANTS, ids=" ".join)
def network(request):
    name, variant = request.param
    torch.manual_seed(0)
    model = backbones.create(name, variant=variant).eval()
    # Fresh batch norms are identities; statistics of their own make a wrong path show.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return name, model


def test_top_has_as_many_trainable_weights_as_the_last_ten_keras_layers(network):
    name, model = network
    backbones.unfreeze(model, name, "top10")
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == backbones.TOPS[name].weights
    assert trained == KERAS_TOPS.get(name, trained)


def test_top_on_stored_map_equals_the_whole_network(network):
    name, model = network
    captured = []
    top = backbones.top_of(name)
    images = torch.randn(2, 3, 96, 96)
    handle = model.get_submodule(top.boundary).register_forward_pre_hook(
        lambda _, inputs: captured.append(
            inputs[0].clone() if isinstance(inputs[0], torch.Tensor) else torch.cat(list(inputs[0]), 1)
        )
    )
    with torch.no_grad():
        whole = model.forward_features(images)
        handle.remove()
        again = top.forward(model, captured[0])
    torch.testing.assert_close(again, whole, rtol=1e-4, atol=1e-4)


def test_features_are_the_means_of_the_last_maps_to_the_bit(network):
    """Of the paper's networks; so runs that finished before any network was read stay comparable."""
    name, model = network
    fresh = timm.create_model(name, num_classes=0).eval()
    with torch.no_grad():
        last = model.forward_features(torch.randn(2, 3, 96, 96).contiguous(memory_format=torch.channels_last))
        assert torch.equal(backbones.pooled(model, last), last.mean((2, 3)))
    assert fresh.load_state_dict(model.state_dict()) and not backbones.no_maps(name)


def test_frozen_batch_norms_keep_their_statistics(network):
    name, model = network
    backbones.unfreeze(model, name, "top10")
    frozen = {
        key: value.clone()
        for key, value in model.state_dict().items()
        if "running" in key
        and not any(
            key.startswith(n.rsplit(".", 1)[0]) for n, p in model.named_parameters() if p.requires_grad
        )
    }
    backbones.set_training(model, True)
    with torch.no_grad():
        model.forward_features(torch.randn(4, 3, 96, 96))
    backbones.set_training(model, False)
    assert frozen
    for key, value in frozen.items():
        assert torch.equal(model.state_dict()[key], value), key


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="no backbone 'resnet5000'"):
        backbones.create("resnet5000")
    with pytest.raises(
        UserError, match="no variant 'keras' of backbone 'resnet18'; there is 'keras' of resnet50"
    ):
        backbones.create("resnet18", variant="keras")
    with pytest.raises(UserError, match="no variant 'moon' of backbone 'resnet50'"):
        backbones.create("resnet50", variant="moon")
    with pytest.raises(UserError, match="'top10' is not defined for backbone 'resnet18'"):
        backbones.top_of("resnet18")


@pytest.mark.parametrize("name", ["resnet18", "inception_v3", "dla34"])
def test_passes_of_shapes_say_what_a_real_pass_says(name):
    network = backbones.create(name).eval()
    for size in (33, 64, 74, 75, 96):
        try:
            with torch.no_grad():
                found = tuple(network.forward_features(torch.rand(1, 3, size, size)).shape)
        except RuntimeError as exc:
            found = str(exc)
        shape = backbones.feature_shape(name, size)
        assert isinstance(shape, str) == isinstance(found, str)
        assert isinstance(found, str) or shape == found


FAULTS = [
    ("resnet_50", {}, "backbones.resnet_50: timm has no backbone 'resnet_50'; near names: .*resnet50"),
    ("test_vit", {"size": 100, "pretrain": 64}, "test_vit cannot be shown images of 100 px; 112 px work"),
    ("test_vit", {"size": 96, "top": True}, ""),
    ("test_vit", {"segment": 64}, "encoder of a U-Net at 64 px .its 6 maps are not all of different scales."),
    ("test_vit_relpos", {"size": 64, "pretrain": 160}, "test_vit_relpos.size: .* 160 px work"),
    ("swin_s3_tiny_224", {"size": 96, "segment": 64, "top": True}, ""),
    ("swin_s3_tiny_224", {"top10": True}, "transfer.settings: .top10. is not defined for backbone"),
    ("coat_tiny", {}, "the features of coat_tiny are not understood here .they are several tensors.; choose"),
    ("inception_v3", {"size": 64}, "v3.size: inception_v3 cannot be shown images of 64 px; 75 px work"),
    ("inception_v3", {"pretrain": 74}, "pretrain.size: .* 75 px work"),
    ("inception_v3", {"segment": 40}, "segment.size: .* 75 px work"),
    ("maxvit_tiny_tf_224", {"size": 64}, "maxvit_tiny_tf_224.size: .* 224 px work"),
    ("resnet18", {"top10": True}, "transfer.settings: 'top10' is not defined for backbone 'resnet18'"),
    ("test_convnext", {"segment": 64}, ""),
    ("resnet18", {"segment": 64}, ""),
    ("inception_v3", {"segment": 75, "size": 75, "pretrain": 75, "top10": True}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "asked", "sentence"), FAULTS)
def test_what_a_network_cannot_do_is_found_before_anything_is_computed(name, asked, sentence, tmp_path):
    study = make_study(tmp_path, backbones=(name,))
    settings = [s for s in study.transfer.settings if s.train != "top10" or "top10" in asked]
    settings += [Setting(train="top", lr=0.001)] * ("top" in asked)
    drawn = {"tasks": ["thyroid_us"], "size": asked.get("segment"), "epochs": {"all": 1}}
    segment = Segment(**drawn, settings=[{"train": "all", "lr": 0.001}]) if "segment" in asked else Segment()
    study = study.model_copy(
        update={
            "backbones": {name: Backbone(size=asked.get("size", 224))},
            "pretrain": study.pretrain.model_copy(update={"size": asked.get("pretrain", 224)}),
            "transfer": study.transfer.model_copy(update={"settings": settings}),
            "segment": segment,
        }
    )
    faults = network_faults(study)
    assert len(faults) == bool(sentence) and not any("\n" in fault for fault in faults)
    assert re.search(sentence, "".join(faults))


def test_a_task_without_a_run_is_found_before_anything_is_computed(small_study):
    assert not network_faults(small_study)
    name, task = next(iter(small_study.tasks.items()))
    tasks = {**small_study.tasks, name: task.model_copy(update={"train": []})}
    (fault,) = network_faults(small_study.model_copy(update={"tasks": tasks}))
    assert fault.startswith(f"tasks.{name}: nothing would be trained")


def test_features_that_would_be_read_wrongly_enter_no_run(small_study):
    with pytest.raises(UserError, match="the features of coat_tiny"):
        load_weights(small_study, "random", "coat_tiny").build()


def test_grouped_convolutions_train_in_float32_under_mixed_precision():
    network = backbones.create("tf_efficientnet_lite0", 3)
    assert list(network.state_dict()) == list(timm.create_model("tf_efficientnet_lite0").state_dict())
    copied = copy.deepcopy(network.conv_stem), copy.deepcopy(network.blocks[0][0].conv_dw)
    assert [layer.groups for layer in copied] == [1, 32]
    images = torch.rand(2, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = copied[0](images)
        said = copied[1](maps)
        said.sum().backward()
        with torch.no_grad():
            assert copied[1](maps).dtype == torch.bfloat16
    assert (maps.dtype, said.dtype) == (torch.bfloat16, torch.float32)
    assert network.blocks[0][0].conv_dw.weight.grad is None, "a copy trains apart"
    weight = copied[1].weight.detach().clone().requires_grad_()
    functional.conv2d(maps.detach().float(), weight, padding=1, groups=32).sum().backward()
    assert torch.allclose(copied[1].weight.grad, weight.grad, rtol=1e-5)
