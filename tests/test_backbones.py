"""The networks: what trains under `top10`, and that stored feature maps give the same result."""

import pytest
import torch

from radlib.errors import UserError
from radlib.networks import backbones

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
    trained = sum(p.numel() for p in backbones.unfreeze_top(model, name))
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


def test_frozen_batch_norms_keep_their_statistics(network):
    name, model = network
    backbones.unfreeze_top(model, name)
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
