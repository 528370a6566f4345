"""Networks by timm: what they say of images, and what "the top ten layers" means in each of them.

Pooling, and the layout of what is pooled, are timm's own: `forward_features`, then `forward_head` up to the
classifier. So the features of a network are what timm's network without a classifier gives.

The published scripts unfreeze the last ten *Keras layers*, which is a different depth in every network:
half a residual block in ResNet50, one batch-norm's 192 offsets in InceptionV3. Each recipe below names the
module whose input can be stored once (everything before it is frozen) and the parameters that train.
"""

import math
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
AVERAGES = ("avg", "fast", "fastavg")  # timm's names of pooling by an average over places
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

    Where timm can, a network that was made for one size of image takes any: position embeddings keep the
    shape in which they are published, and are interpolated as an image passes.

    Args:
        variant: `keras` for a network that computes what Keras' network of that name does; names and
            shapes of its parameters are those of timm's.
    Raises:
        UserError: timm has no network of that name, or it has no such variant.
    """
    if not timm.is_model(backbone):
        near = get_close_matches(backbone, timm.list_models(), 5) or ["see timm.list_models()"]
        raise UserError(f"timm has no backbone '{backbone}'; near names: {', '.join(near)}")
    try:
        model = timm.create_model(backbone, num_classes=classes, dynamic_img_size=True)
    except TypeError:  # its constructor knows no such choice
        model = timm.create_model(backbone, num_classes=classes)
    if variant:
        _as_keras(model, backbone, variant)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.__class__ = _trained_in_float32(type(module))
    return model


class _TrainedInFloat32:
    """Before a convolution's class: in training on a processor, it keeps to the precision of its weights."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.to(self.weight.dtype))


@cache
def _trained_in_float32(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """A class for grouped convolutions, whose gradients take processors several times as long in bfloat16."""
    return type(kind.__name__, (_TrainedInFloat32, kind), {})


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
def _said(backbone: str, size: int) -> tuple[Tensor, Tensor] | str:
    """What a network says of one image of `size` px, and this pooled, without numbers; or why nothing."""
    try:
        with torch.no_grad():
            last = outline(backbone).forward_features(torch.empty(1, 3, size, size, device="meta"))
            if not isinstance(last, Tensor):
                return "they are several tensors"
            features = outline(backbone).forward_head(last, pre_logits=True)
    except CANNOT as exc:
        return str(exc).splitlines()[0] if str(exc) else type(exc).__name__
    if features.ndim != 2:
        return f"they are {' x '.join(map(str, features.shape[1:]))} numbers, not one row"
    return last, features


def feature_shape(backbone: str, size: int) -> tuple[int, ...] | str:
    """Shape of what a network says of one image of `size` px before it is pooled, or why it says nothing."""
    found = _said(backbone, size)
    return found if isinstance(found, str) else tuple(found[0].shape)


def width(backbone: str) -> int:
    """Number of pooled features of an image."""
    check(backbone)
    return _said(backbone, usual_size(backbone))[1].shape[1]


def usual_size(backbone: str) -> int:
    """Side of the images that a network was made for, px."""
    return outline(backbone).pretrained_cfg["input_size"][-1]


def check(backbone: str) -> None:
    """UserError unless timm gives one row of pooled features for an image."""
    if backbone in TOPS:  # known in detail
        return
    found = _said(backbone, usual_size(backbone))
    if isinstance(found, str):
        raise UserError(
            f"the features of {backbone} are not understood here ({found}); choose another backbone, such as "
            "resnet50"
        )


def check_size(backbone: str, size: int) -> None:
    """UserError where images of that side (px) are too small for a network, or do not fit it."""
    if isinstance(feature_shape(backbone, size), tuple):
        return
    network = outline(backbone)
    any_size = getattr(network, "dynamic_img_size", not network.pretrained_cfg.get("fixed_input_size"))
    larger = range(size + 1, size + 64) if any_size else []
    works = next((s for s in larger if isinstance(feature_shape(backbone, s), tuple)), usual_size(backbone))
    raise UserError(f"{backbone} cannot be shown images of {size} px; {works} px work")


# From the last output to features, and to maps --------------------------------------------------------------
def pooled(network: nn.Module, last: Tensor) -> Tensor:
    """What `forward_features` said, of any precision -> float32 (B, C): timm's features before a classifier.

    In full precision, because what follows the average in some networks is a norm or another layer.
    """
    with torch.autocast(last.device.type, enabled=False):
        return network.forward_head(last.float(), pre_logits=True)


def maps_of(network: nn.Module, last: Tensor) -> Tensor:
    """What `forward_features` said -> maps (B, C, h, w), without class and register tokens."""
    if last.ndim == 3:
        tokens = last[:, getattr(network, "num_prefix_tokens", 0) :]
        side = math.isqrt(tokens.shape[1])
        return tokens.transpose(1, 2).unflatten(2, (side, side))
    return last.permute(0, 3, 1, 2) if getattr(network, "output_fmt", "") == "NHWC" else last


@cache
def no_maps(backbone: str) -> str:
    """Why a network has no class-activation maps: they need features that average over places; else empty."""
    network, found = outline(backbone), _said(backbone, usual_size(backbone))
    pools = [getattr(some, "global_pool", None) for some in (network, getattr(network, "head", None))]
    kinds = [pool if isinstance(pool, str) else getattr(pool, "pool_type", "") for pool in pools if pool]
    kind = next(filter(None, kinds), "")
    try:
        maps_of(network, found[0])
    except CANNOT:
        return f"{backbone} has no class-activation maps: its places form no square"
    ways = {"token": "it reads its class token, not the places", "map": "it weighs places by attention"}
    ways |= {"": "timm does not say how it pools"} | dict.fromkeys(AVERAGES)
    way = ways.get(kind, f"it pools by '{kind}'")
    return f"{backbone} has no class-activation maps: {way}" if way else ""


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


@cache
def last_stage(backbone: str) -> frozenset[str]:
    """Names of the parameters of the last stage: of what lies behind the last but one of the maps that timm
    names (`feature_info`): where the map is halved last, in a vision transformer its last block.

    Raises: UserError where timm names fewer than two.
    """
    network = outline(backbone)
    named = [level["module"] for level in getattr(network, "feature_info", [])]
    modules = dict(network.named_modules())
    if len(named) < 2 or named[-2] not in modules:
        raise UserError(
            f"'top' is not defined for backbone '{backbone}', for timm names no stages of it; list this "
            "setting's backbones in transfer.settings"
        )
    before = [place for place, name in enumerate(modules) if f"{name}.".startswith(f"{named[-2]}.")]
    behind = list(modules)[max(before) + 1 :]
    return frozenset(f"{m}.{p}" for m in behind for p, _ in modules[m].named_parameters(recurse=False))


def unfreeze(model: nn.Module, backbone: str, train: str) -> None:
    """Let only the parameters of `top10` or of `top` train."""
    pattern = re.compile(top_of(backbone).trainable) if train == "top10" else None
    for name, parameter in model.named_parameters():
        parameter.requires_grad = bool(pattern.match(name)) if pattern else name in last_stage(backbone)


def set_training(model: nn.Module, training: bool) -> None:
    """Training mode for the batch norms that train; the others keep to their stored statistics.

    A frozen Keras batch norm runs on its stored mean and variance; in PyTorch only `eval()` does so.
    """
    model.eval()
    for module in model.modules():
        if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            module.train(training)
