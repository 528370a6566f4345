"""Whether every network of a study can do what the study asks of it, before anything is computed.

Networks run on meta tensors, which have shapes and no numbers. Whatever is not understood is refused.
"""

from collections.abc import Callable

import torch

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.study import Study


def network_faults(study: Study) -> list[str]:
    """A sentence for everything that a backbone is asked for and cannot do, with its key in params.yaml."""
    faults = []
    for backbone in study.backbones:
        fault = _said(f"backbones.{backbone}", backbones.check, backbone)
        if fault:
            faults.append(fault)
            continue
        for key, size in _sizes(study, backbone).items():
            faults.append(_said(key, backbones.check_size, backbone, size))
        if _asked(study, backbone, [s for s in study.transfer.settings if s.train == "top10"]):
            faults.append(_said("transfer.settings", backbones.top_of, backbone))
        drawn = backbones.feature_shape(backbone, study.segment.size) if _draws(study, backbone) else ""
        if isinstance(drawn, tuple):
            faults.append(_said("segment.settings", _check_encoder, study, backbone))
    return [fault for fault in faults if fault]


def _said(key: str, check: Callable, *arguments) -> str:
    """What a check says of a key of params.yaml; empty where it passes."""
    try:
        check(*arguments)
    except UserError as exc:
        return f"{key}: {exc}"
    return ""


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
    return bool(study.segment.tasks) and _asked(study, backbone, study.segment.settings)


def _asked(study: Study, backbone: str, settings: list) -> bool:
    return any(backbone in (setting.backbones or study.backbones) for setting in settings)


def _check_encoder(study: Study, backbone: str) -> None:
    # Its library is slow to import, and most studies draw no lesions.
    from radlib.networks.segmenters import UNet

    size, network = study.segment.size, backbones.outline(backbone)
    try:
        with torch.device("meta"):
            maps = network.forward_intermediates(torch.empty(1, 3, size, size), intermediates_only=True)
            channels = [level["num_chs"] for level in network.feature_info]
            drawn = tuple(UNet(channels, study.segment.decoder, size).eval()(maps).shape[1:])
        reason = "" if drawn == (size, size) else f"it would draw {drawn} px"
    except backbones.CANNOT as exc:
        reason = str(exc).splitlines()[0]
    if reason:
        raise UserError(
            f"{backbone} cannot be the encoder of a U-Net at {size} px ({reason}); list the other backbones "
            "in this setting, or choose another in its place"
        )
