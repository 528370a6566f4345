"""Whatever wraps, surrounds or names a network in a published file: it is found there, or refused."""

import argparse
import re

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.checkpoints import import_checkpoint
from radlib.networks.names import fitted
from radlib.networks.weights import Preprocessing, Weights, check_state, load_weights
from radlib.study.datasets import Checkpoint
from tests.conftest import SMALL, origin_of

RESNET, VIT = "resnet18", "vit_small_patch14_dinov2"


def shapes(backbone, classes=0):
    """Names and shapes of a network without numbers: new tensors each time."""
    state = backbones.layout(backbone, classes)
    return {key: torch.empty_like(tensor, device="meta") for key, tensor in state.items()}


def wrapped(state, wrapper):
    return {f"{wrapper}.{key}": tensor for key, tensor in state.items()}


MOMENTUM = [torch.empty(2), torch.empty(2)]
# wrapper of the network that must be found, and the wrappers of others beside it
TAKEN = {
    "DINO": ("teacher.backbone", ["student.module.backbone"]),
    "DINO, the student alone": ("student.module.backbone", []),
    "MoCo": ("state_dict.module.encoder_q", ["state_dict.module.encoder_k"]),
    "timm, with an average": ("state_dict_ema", ["state_dict"]),
    "RadiologyNET": ("model_state.model", []),
    "a Lightning module": ("state_dict.net.encoder", []),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_the_network_that_counts_is_taken_and_the_others_are_listed(kind, tmp_path):
    wrapper, others = TAKEN[kind]
    state = shapes(RESNET, classes=7)
    beside = {"optimizer.state.0.exp_avg": torch.empty(2), "head.mlp.0.weight": torch.empty(2, 2)}
    tensors = {**beside, **wrapped(state, wrapper)}
    for other in others:
        tensors = {**wrapped(shapes(RESNET), other), **tensors}
    found = fitted(tensors, RESNET, tmp_path)
    assert found.taken == wrapper
    assert found.state.keys() == shapes(RESNET).keys()
    assert all(found.state[key] is state[key] for key in found.state)
    expected = {"optimizer": 1, "head": 1, "fc": 2}
    for other in others:
        first = other.split(".")[0]
        expected[first] = expected.get(first, 0) + len(shapes(RESNET))
    assert found.dropped == expected


def test_a_whole_training_of_dino_is_read_and_its_arguments_never_run(small_study):
    torch.manual_seed(0)
    teacher, student = (timm.create_model(RESNET, num_classes=0).state_dict() for _ in range(2))
    content = {
        "student": wrapped(student, "module.backbone"),
        "teacher": wrapped(teacher, "backbone") | {"head.last.weight": torch.zeros(3)},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        "epoch": 100,
        "args": argparse.Namespace(arch=RESNET),
    }
    study = of_file(small_study, RESNET, "dino.pth")
    torch.save(content, study.checkpoint_file("published", RESNET))
    import_checkpoint(study, "published")
    found = load_weights(study, "published", RESNET).state
    assert all(torch.equal(found[key], teacher[key]) for key in found)
    origin = origin_of(study, RESNET)
    assert origin["taken"] == "teacher.backbone" and origin["dropped"]["student"] == len(student)


def of_file(study, backbone, file, mean=(0.5,) * 3, std=(0.5,) * 3):
    (study.root / "data").mkdir(exist_ok=True)
    entry = Checkpoint(path="data", files={backbone: file}, mean=mean, std=std)
    sizes = {backbone: study.backbones[SMALL]}
    return study.model_copy(update={"checkpoints": {"published": entry}, "backbones": sizes})


def test_children_in_a_row_are_named_as_torchvision_names_them(tmp_path):
    """`nn.Sequential(*network.children())`, wrapped or not."""
    state = shapes("resnet50")
    places = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    numbered = {re.sub(r"^\w+", lambda m: str(places[m[0]]), key): t for key, t in state.items()}
    for wrapper in ("", "backbone.", "model.module."):
        found = fitted({wrapper + key: t for key, t in numbered.items()}, "resnet50", tmp_path)
        assert all(found.state[key] is tensor for key, tensor in state.items())
        assert found.names == "numbers of torchvision's" and found.taken == wrapper.rstrip(".")


def test_one_channel_becomes_three_that_say_the_same_of_grey_images(small_study):
    torch.manual_seed(0)
    network = timm.create_model(RESNET, num_classes=0, in_chans=1).eval()
    study = of_file(small_study, RESNET, "grey.pt", (0.3,) * 3, (0.2,) * 3)
    torch.save(network.half().state_dict(), study.checkpoint_file("published", RESNET))
    import_checkpoint(study, "published")
    weights, grey = load_weights(study, "published", RESNET), torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        expected = network.float().forward_features((grey - 0.3) / 0.2)
        found = weights.build().cpu().eval().forward_features(weights.preprocessing(grey))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert "three channels from one" in origin_of(study, RESNET)["made"][0]
    colour = of_file(small_study, RESNET, "grey.pt", (0.3, 0.3, 0.4), (0.2,) * 3)
    with pytest.raises(UserError, match="write the same number three times in checkpoints.published.mean"):
        import_checkpoint(colour, "published")


HALF = {
    "a deeper network": (shapes("resnet34"), r"'layer1.2.conv1.weight' is .* and unknown in the network"),
    "a shallower network": (shapes("resnet10t"), "'conv1.weight' is missing in the file"),
    "half of it": (
        {key: tensor for key, tensor in shapes(RESNET).items() if "layer4" not in key},
        "'layer4.0.conv1.weight' is missing in the file",
    ),
    "another": (
        shapes("densenet121"),
        "is missing in the file, which has 'features.conv0.weight' and the like",
    ),
}


@pytest.mark.parametrize("kind", HALF)
def test_a_network_that_would_be_filled_by_half_is_refused(kind, tmp_path):
    tensors, sentence = HALF[kind]
    with pytest.raises(UserError, match=sentence):
        check_state(fitted(tensors, RESNET, tmp_path).state, RESNET, tmp_path)


# Vision transformers --------------------------------------------------------------------------------------
def transformers_names(state):
    """timm's tensors under the names of Hugging Face's Dinov2Model, with queries, keys and values apart."""
    named = {}
    for key, tensor in state.items():
        key = key.replace("pos_embed", "embeddings.position_embeddings")
        key = key.replace("cls_token", "embeddings.cls_token")
        key = key.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
        key = re.sub(r"^norm\.", "layernorm.", key).replace("blocks.", "encoder.layer.")
        key = re.sub(r"ls(\d)\.gamma", r"layer_scale\1.lambda1", key)
        key = key.replace("attn.proj", "attention.output.dense")
        if "attn.qkv" in key:
            for name, part in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                named[key.replace("attn.qkv", f"attention.attention.{name}")] = part
        else:
            named[key] = tensor
    return named | {"embeddings.mask_token": torch.zeros(1, 384)}


def dinov2_by_hand(named, images):
    """Last tokens of Dinov2Model (patches of 14 px, 6 heads), from the published description."""

    def dense(x, layer):
        return functional.linear(x, named[f"{layer}.weight"], named[f"{layer}.bias"])

    def norm(x, layer):
        return functional.layer_norm(x, x.shape[-1:], named[f"{layer}.weight"], named[f"{layer}.bias"], 1e-6)

    def heads(x):
        return x.unflatten(2, (6, 64)).transpose(1, 2)

    patches = "embeddings.patch_embeddings.projection"
    x = functional.conv2d(images, named[f"{patches}.weight"], named[f"{patches}.bias"], stride=14)
    x = x.flatten(2).transpose(1, 2)
    first = named["embeddings.cls_token"].expand(len(x), -1, -1)
    x = torch.cat([first, x], 1) + named["embeddings.position_embeddings"]
    for number in range(12):
        layer = f"encoder.layer.{number}"
        y = norm(x, f"{layer}.norm1")
        q, k, v = (heads(dense(y, f"{layer}.attention.attention.{n}")) for n in ("query", "key", "value"))
        y = ((q @ k.transpose(2, 3) / 8).softmax(3) @ v).transpose(1, 2).flatten(2)
        x = x + named[f"{layer}.layer_scale1.lambda1"] * dense(y, f"{layer}.attention.output.dense")
        y = dense(functional.gelu(dense(norm(x, f"{layer}.norm2"), f"{layer}.mlp.fc1")), f"{layer}.mlp.fc2")
        x = x + named[f"{layer}.layer_scale2.lambda1"] * y
    return norm(x, "layernorm")


def random_vit(name=VIT, side=56):
    """timm's network for images of `side` px, every number random."""
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0, img_size=side).eval()
    for tensor in network.parameters():
        tensor.data.normal_(0, 0.05)
    return network


def last_tokens(state, name, images):
    check_state(state, name, "file")
    weights = Weights("published", name, state, Preprocessing())
    with torch.no_grad():
        return weights.build().cpu().eval().forward_features(images)


def test_transformers_dinov2_says_what_its_description_says(tmp_path):
    named = transformers_names(random_vit().state_dict())
    images = torch.randn(2, 3, 56, 56)
    found = fitted(wrapped(named, "dinov2"), VIT, tmp_path)
    assert (found.names, found.taken) == ("transformers'", "dinov2") and found.dropped == {"mask_token": 1}
    torch.testing.assert_close(
        last_tokens(found.state, VIT, images), dinov2_by_hand(named, images), rtol=1e-4, atol=1e-4
    )


def test_dinov2_with_registers_and_chunks_says_what_timm_says(tmp_path):
    """timm adds the place of the class token once for all; the published files have it apart."""
    name = "vit_small_patch14_reg4_dinov2"
    network, images = random_vit(name), torch.randn(2, 3, 56, 56)
    state = network.state_dict()
    place = torch.randn(1, 1, 384)
    published = {re.sub(r"^blocks\.(\d+)", r"blocks.0.\1", key): tensor for key, tensor in state.items()}
    published["cls_token"] = state["cls_token"] - place
    published["pos_embed"] = torch.cat([place, state["pos_embed"]], 1)
    published["register_tokens"] = published.pop("reg_token")
    found = fitted(wrapped(published, "teacher.backbone"), name, tmp_path)
    assert found.names == "DINOv2's"
    with torch.no_grad():
        expected = network.forward_features(images)
    torch.testing.assert_close(last_tokens(found.state, name, images), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="'reg_token' is .* in the file and unknown in the network"):
        check_state(fitted(published, VIT, tmp_path).state, VIT, tmp_path)


def test_places_of_another_size_are_kept_as_they_are_published(tmp_path):
    """And timm resamples them for images of yet another size."""
    network, images = random_vit(side=56), torch.randn(1, 3, 84, 84)
    state = fitted(network.state_dict(), VIT, tmp_path).state
    assert state["pos_embed"].shape == (1, 17, 384)
    again = random_vit(side=56)
    again.load_state_dict(state)
    again.set_input_size(img_size=84)
    with torch.no_grad():
        expected = again.forward_features(images)
    torch.testing.assert_close(last_tokens(state, VIT, images), expected, rtol=1e-4, atol=1e-4)


def test_names_that_timm_itself_converts_are_left_to_it(tmp_path):
    """Microsoft's Swin halves its map at the end of a stage, timm's at the start of the next."""
    name = "swin_tiny_patch4_window7_224"
    state = shapes(name)
    old = {
        re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", key): tensor
        for key, tensor in state.items()
    }
    assert old.keys() != state.keys()
    found = fitted(wrapped(old, "model"), name, tmp_path)
    assert found.state.keys() >= state.keys() - {k for k in state if "relative_position_index" in k}
    assert found.names == "names that timm converts"


@pytest.mark.parametrize("name", ["vit_small_patch16_224", "vit_base_patch14_dinov2"])
def test_the_networks_of_the_published_study_are_found_by_either_name(name, tmp_path):
    state = shapes(name)
    for tensors in (state, transformers_names(state), wrapped(transformers_names(state), "vit")):
        assert fitted(tensors, name, tmp_path).state.keys() == state.keys()


def test_the_published_files_are_read_through_safetensors_of_half_precision(small_study):
    network = random_vit(VIT, 518)
    study = of_file(small_study, VIT, "model.safetensors")
    named = {key: tensor.bfloat16() for key, tensor in transformers_names(network.state_dict()).items()}
    save_file(named, study.checkpoint_file("published", VIT))
    import_checkpoint(study, "published")
    found = load_weights(study, "published", VIT).state
    assert found["blocks.3.attn.qkv.weight"].dtype == torch.float32
    torch.testing.assert_close(
        found["blocks.3.attn.qkv.weight"], network.state_dict()["blocks.3.attn.qkv.weight"].bfloat16().float()
    )
