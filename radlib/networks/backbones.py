"""Networks by timm, and what "the top ten layers" means in each of them.

The published scripts unfreeze the last ten *Keras layers*, which is a different depth in every network:
half a residual block in ResNet50, one batch-norm's 192 offsets in InceptionV3. Each recipe below names the
module whose input can be stored once (everything before it is frozen) and the parameters that train.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from radlib.errors import UserError

# What every batch norm adds to the variance in Keras' own networks, read off keras 3.15.
KERAS_EPSILONS = {
    "resnet50": 1.001e-5,
    "densenet121": 1.001e-5,
    "inception_v3": 1e-3,
    "inception_resnet_v2": 1e-3,
}
KERAS = "keras"
# What timm's networks raise where an input does not fit them, and where their answer is no tensor.
CANNOT = (RuntimeError, ValueError, AssertionError, TypeError, AttributeError, IndexError)
AUXILIARY = "AuxLogits."  # a second classifier half-way through InceptionV3, for training alone


@dataclass(frozen=True)
class Top:
    """The trainable end of a backbone under `top10`.

    Attributes:
        modules: through which the last feature map goes; the input of the first is stored.
        trainable: regular expression of the names of the parameters that train.
        weights: number of trainable weights, batch-norm included, without the head.
    """

    modules: tuple[str, ...]
    trainable: str
    weights: int

    @property
    def boundary(self) -> str:
        """The module whose input is stored; all before it stays as it is."""
        return self.modules[0]

    def forward(self, backbone: nn.Module, stored: Tensor) -> Tensor:
        """The last feature map (B, C, h, w) from the stored input."""
        for name in self.modules:
            said = backbone.get_submodule(name)(stored)
            # A dense layer adds its maps to those that it is given.
            stored = torch.cat([stored, said], dim=1) if "denselayer" in name else said
        return stored


# Keras' inception networks have batch norms without a scale, so only offsets (timm: `bias`) train there.
TOPS = {
    "resnet50": Top(
        ("layer4.2",),
        r"layer4\.2\.(bn1|conv2|bn2|conv3|bn3)\.",
        512 * 512 * 9 + 512 * 2048 + 2 * (512 + 512 + 2048),
    ),
    "inception_resnet_v2": Top(
        ("block8", "conv2d_7b"),
        r"block8\.(conv2d\.|branch1\.2\.bn\.bias)|conv2d_7b\.(conv\.|bn\.bias)",
        (448 * 2080 + 2080) + 256 + 2080 * 1536 + 1536,
    ),
    "densenet121": Top(
        ("features.denseblock4.denselayer16", "features.norm5"),
        r"features\.(denseblock4\.denselayer16|norm5)\.",
        2 * 992 + 992 * 128 + 2 * 128 + 128 * 32 * 9 + 2 * 1024,
    ),
    "inception_v3": Top(("Mixed_7c",), r"Mixed_7c\.branch_pool\.bn\.bias", 192),
    # Not in the paper: its last convolution and batch norm, the nearest thing to the others in kind.
    "tf_efficientnet_lite0": Top(("conv_head", "bn2"), r"(conv_head|bn2)\.", 320 * 1280 + 2 * 1280),
}


class Undrawn(TorchFunctionMode):
    """Networks are made without drawing first weights, which takes longest: others replace them."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        if function in (Tensor.uniform_, Tensor.normal_, Tensor.erfinv_):
            return arguments[0]
        return function(*arguments, **(options or {}))


def create(backbone: str, classes: int = 0, variant: str = "") -> nn.Module:
    """A timm network with fresh weights; `classes=0` leaves out the classifier.

    Args:
        variant: `keras` for a network that computes what Keras' network of that name does; names and
            shapes of its parameters are those of timm's.
    Raises:
        UserError: timm has no network of that name, or it has no such variant.
    """
    if not timm.is_model(backbone):
        near = get_close_matches(backbone, timm.list_models(), 5) or ["see timm.list_models()"]
        raise UserError(f"timm has no backbone '{backbone}'; near names: {', '.join(near)}")
    model = timm.create_model(backbone, pretrained=False, num_classes=classes)
    if variant:
        _as_keras(model, backbone, variant)
    return model


@cache
def outline(backbone: str, classes: int = 0) -> nn.Module:
    """A network of meta tensors, in evaluation: names, shapes and dtypes without numbers."""
    with torch.device("meta"), Undrawn():
        return create(backbone, classes).eval()


def layout(backbone: str, classes: int = 0) -> dict[str, Tensor]:
    """The state dict of `outline`."""
    # Both ways to ask for a network without classes shall find one in the cache.
    return (outline(backbone, classes) if classes else outline(backbone)).state_dict()


@cache
def feature_shape(backbone: str, size: int) -> tuple[int, ...] | str:
    """Shape of what a network says of one image of `size` px, or why it says nothing; nothing is computed."""
    try:
        with torch.no_grad():
            images = torch.empty(1, 3, size, size, device="meta")
            return tuple(outline(backbone).forward_features(images).shape)
    except CANNOT as exc:
        return str(exc).splitlines()[0] if str(exc) else type(exc).__name__


def usual_size(backbone: str) -> int:
    """Side of the images that a network was made for, px."""
    return outline(backbone).pretrained_cfg["input_size"][-1]


def check(backbone: str) -> None:
    """UserError unless features are maps (B, channels, height, width): others give numbers, and nonsense."""
    network, found = outline(backbone), feature_shape(backbone, usual_size(backbone))
    right = isinstance(found, tuple) and len(found) == 4 and found[1] == network.num_features
    if not right or getattr(network, "output_fmt", None) not in (None, "NCHW"):
        shape = " x ".join(map(str, found[1:])) if isinstance(found, tuple) else found
        raise UserError(
            f"the features of {backbone} ({shape}) are no maps of {network.num_features} channels x height x "
            "width, which is all that is understood here; choose another backbone, such as resnet50"
        )


def check_size(backbone: str, size: int) -> None:
    """UserError where images of that side (px) are too small for a network, or do not fit it."""
    if isinstance(feature_shape(backbone, size), tuple):
        return
    fixed = outline(backbone).pretrained_cfg.get("fixed_input_size")
    larger = [] if fixed else range(size + 1, size + 64)
    works = next((s for s in larger if isinstance(feature_shape(backbone, s), tuple)), usual_size(backbone))
    raise UserError(f"{backbone} cannot be shown images of {size} px; {works} px work")


def pooled(maps: Tensor) -> Tensor:
    """Last feature maps (B, C, h, w) of any precision -> float32 (B, C): their mean over places."""
    return maps.float().mean((2, 3))


def without_classifier(state: dict[str, Tensor], backbone: str) -> dict[str, Tensor]:
    """A state dict without what timm's network has only because it tells classes apart."""
    classifier = layout(backbone, classes=2).keys() - layout(backbone).keys()
    return {k: v for k, v in state.items() if k not in classifier and not k.startswith(AUXILIARY)}


def _as_keras(model: nn.Module, backbone: str, variant: str) -> None:
    if variant != KERAS or backbone not in KERAS_EPSILONS:
        known = ", ".join(KERAS_EPSILONS)
        raise UserError(f"no variant '{variant}' of backbone '{backbone}'; there is '{KERAS}' of {known}")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = KERAS_EPSILONS[backbone]
    if backbone == "resnet50":
        # Keras halves the map in the first 1 x 1 convolution of a stage, timm in the 3 x 3 behind it.
        for first in (model.layer2[0], model.layer3[0], model.layer4[0]):
            first.conv1.stride, first.conv2.stride = first.conv2.stride, first.conv1.stride
    if backbone == "inception_v3":
        for name, module in model.named_modules():
            if name.endswith(".branch_pool"):
                module.register_forward_pre_hook(_without_border)


def _without_border(_: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """A 3 x 3 average at the border of a map: timm counts the zeros outside, Keras only what is inside."""
    (pooled,) = inputs
    inside = functional.avg_pool2d(pooled.new_ones(1, 1, *pooled.shape[2:], dtype=torch.float32), 3, 1, 1)
    return pooled / inside


def top_of(backbone: str) -> Top:
    """The `top10` recipe of a backbone; UserError where none is defined."""
    if backbone not in TOPS:
        raise UserError(
            f"'top10' is not defined for backbone '{backbone}' (defined for {', '.join(TOPS)}); add a recipe "
            "to radlib/networks/backbones.py or list this setting's backbones in transfer.settings"
        )
    return TOPS[backbone]


def unfreeze_top(model: nn.Module, backbone: str) -> None:
    """Let only the top's parameters train."""
    pattern = re.compile(top_of(backbone).trainable)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = bool(pattern.match(name))


def set_training(model: nn.Module, training: bool) -> None:
    """Training mode for the batch norms that train; the others keep to their stored statistics.

    A frozen Keras batch norm runs on its stored mean and variance; in PyTorch only `eval()` does so.
    """
    model.eval()
    for module in model.modules():
        if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            module.train(training)
