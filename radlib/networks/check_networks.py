"""Whether every network of a study can do what the study asks of it, before anything is computed.

Networks run on meta tensors, which have shapes and no numbers, so that a pass takes no time that counts.
Whatever is not understood is refused: a network whose maps are read wrongly gives numbers all the same.
"""

from functools import cache

import torch
from torch import Tensor, nn

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.study import Study

# What timm's networks raise where an input does not fit them, and where their answer is no tensor of maps.
_CANNOT = (RuntimeError, ValueError, AssertionError, TypeError, AttributeError, IndexError)


def check_networks(study: Study) -> None:
    """Raises: UserError, the first of `network_faults`."""
    for fault in network_faults(study):
        raise UserError(fault)


def network_faults(study: Study) -> list[str]:
    """A sentence for everything that a backbone is asked for and cannot do, with its key in params.yaml."""
    faults = []
    for backbone in study.backbones:
        try:
            fault = kind_fault(backbone)
        except UserError as exc:
            fault = str(exc)
        if fault:
            faults.append(f"backbones.{backbone}: {fault}")
            continue
        faults += [_size_fault(key, backbone, size) for key, size in _sizes(study, backbone).items()]
        faults += [_top_fault(study, backbone), _encoder_fault(study, backbone)]
    return [fault for fault in faults if fault]


@cache
def kind_fault(backbone: str) -> str:
    """Why a network is not understood; empty where its features are maps (B, channels, height, width)."""
    network = _network(backbone)
    found = _features(backbone, _usual_size(network))
    right = isinstance(found, tuple) and len(found) == 4 and found[1] == network.num_features
    if right and getattr(network, "output_fmt", None) in (None, "NCHW"):
        return ""
    shape = " x ".join(map(str, found[1:])) if isinstance(found, tuple) else found
    return (
        f"the features of this network ({shape}) are no maps of {network.num_features} channels x height x "
        "width, which is all that is understood here; choose another in its place, such as resnet50"
    )


def _sizes(study: Study, backbone: str) -> dict[str, int]:
    """Every input side that the study shows a backbone, px, by the key that says it."""
    sizes = {f"backbones.{backbone}.size": study.backbones[backbone].size}
    for name in study.tasks:
        size = study.input_size(name, backbone)
        if size not in sizes.values():
            sizes[f"tasks.{name}.input"] = size
    if any(backbone in study.backbones_of(corpus) for corpus in study.corpora):
        sizes["pretrain.size"] = study.pretrain.size
    if _draws(study, backbone):
        sizes["segment.size"] = study.segment.size
    return sizes


def _draws(study: Study, backbone: str) -> bool:
    """Whether the study asks for U-Nets with the backbone as encoder."""
    asked = study.segment.settings if study.segment.tasks else []
    return any(backbone in (setting.backbones or study.backbones) for setting in asked)


def _size_fault(key: str, backbone: str, size: int) -> str:
    if isinstance(_features(backbone, size), tuple):
        return ""
    network = _network(backbone)
    larger = [] if network.pretrained_cfg.get("fixed_input_size") else range(size + 1, size + 64)
    works = next((s for s in larger if isinstance(_features(backbone, s), tuple)), _usual_size(network))
    return f"{key}: {backbone} cannot be shown images of {size} px; {works} px work"


def _top_fault(study: Study, backbone: str) -> str:
    asked = [s for s in study.transfer.settings if s.train == "top10"]
    if not any(backbone in (setting.backbones or study.backbones) for setting in asked):
        return ""
    try:
        backbones.top_of(backbone)
    except UserError as exc:
        return f"transfer.settings: {exc}"
    return ""


def _encoder_fault(study: Study, backbone: str) -> str:
    size = study.segment.size
    if not _draws(study, backbone) or not isinstance(_features(backbone, size), tuple):
        return ""
    # Its library is slow to import, and most studies draw no lesions.
    from radlib.networks.segmenters import UNet

    network = _network(backbone)
    try:
        maps = network.forward_intermediates(_images(size), intermediates_only=True)
        channels = [level["num_chs"] for level in network.feature_info]
        with torch.device("meta"):
            drawn = UNet(channels, study.segment.decoder, size).eval()(maps)
        if drawn.shape == (1, size, size):
            return ""
        reason = f"it would draw {tuple(drawn.shape[1:])} px"
    except _CANNOT as exc:
        reason = str(exc).splitlines()[0]
    return (
        f"segment.settings: {backbone} cannot be the encoder of a U-Net at {size} px ({reason}); list "
        "the other backbones in this setting, or choose another in its place"
    )


@cache
def _network(backbone: str) -> nn.Module:
    with torch.device("meta"):
        return backbones.create(backbone).eval()


@cache
def _features(backbone: str, size: int) -> tuple[int, ...] | str:
    """Shape of a network's features of one image, or why there are none."""
    try:
        with torch.no_grad():
            return tuple(_network(backbone).forward_features(_images(size)).shape)
    except _CANNOT as exc:
        return str(exc).splitlines()[0] if str(exc) else type(exc).__name__


def _images(size: int) -> Tensor:
    return torch.empty(1, 3, size, size, device="meta")


def _usual_size(network: nn.Module) -> int:
    return network.pretrained_cfg["input_size"][-1]
