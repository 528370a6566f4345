"""Whether every network of a study can do what the study asks of it, before anything is computed.

Networks run on meta tensors, which have shapes and no numbers. Whatever is not understood is refused.
"""

from collections.abc import Callable
from functools import partial

import torch

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.study import Study


def network_faults(study: Study) -> list[str]:
    """A sentence for everything that a backbone is asked for and cannot do, with its key in params.yaml."""
    faults = []
    for backbone in study.backbones:
        fault = _fault(f"backbones.{backbone}", partial(backbones.check, backbone))
        others = [] if fault else [_fault(key, check) for key, check in _checks(study, backbone)]
        faults += [said for said in [fault, *others] if said]
    return faults


def _fault(key: str, check: Callable) -> str:
    """What a check says of a key of params.yaml; empty where it passes."""
    try:
        check()
    except UserError as exc:
        return f"{key}: {exc}"
    return ""


def _checks(study: Study, backbone: str) -> list[tuple[str, Callable]]:
    """By key of params.yaml: every input side that a backbone is shown, and what else is asked of it."""

    def asked(settings: list) -> bool:
        return any(backbone in (setting.backbones or study.backbones) for setting in settings)

    draws = study.segment.tasks and asked(study.segment.settings)
    sizes = {f"backbones.{backbone}.size": study.backbones[backbone].size}
    for name in study.tasks:
        size = study.input_size(name, backbone)
        if size not in sizes.values():
            sizes[f"tasks.{name}.input"] = size
    if any(backbone in study.backbones_of(corpus) for corpus in study.corpora):
        sizes["pretrain.size"] = study.pretrain.size
    if draws:
        sizes["segment.size"] = study.segment.size
    checks = [(key, partial(backbones.check_size, backbone, size)) for key, size in sizes.items()]
    if asked([setting for setting in study.transfer.settings if setting.train == "top10"]):
        checks.append(("transfer.settings", partial(backbones.top_of, backbone)))
    if asked([setting for setting in study.transfer.settings if setting.train == "top"]):
        checks.append(("transfer.settings", partial(backbones.last_stage, backbone)))
    if draws and isinstance(backbones.feature_shape(backbone, study.segment.size), tuple):
        checks.append(("segment.settings", partial(_check_encoder, study, backbone)))
    return checks


def _check_encoder(study: Study, backbone: str) -> None:
    # Its library is slow to import, and most studies draw no lesions.
    from radlib.networks.segmenters import UNet

    size, network = study.segment.size, backbones.outline(backbone)
    try:
        with torch.device("meta"):
            maps = network.forward_intermediates(torch.empty(1, 3, size, size), intermediates_only=True)
            channels = [level["num_chs"] for level in network.feature_info]
            scales = [level["reduction"] for level in network.feature_info]
            if len(set(scales)) < len(scales):
                raise ValueError(f"its {len(scales)} maps are not all of different scales")
            drawn = tuple(UNet(channels, study.segment.decoder, size).eval()(maps).shape[1:])
        reason = "" if drawn == (size, size) else f"it would draw {drawn} px"
    except backbones.CANNOT as exc:
        reason = str(exc).splitlines()[0]
    if reason:
        raise UserError(
            f"{backbone} cannot be the encoder of a U-Net at {size} px ({reason}); list the other backbones "
            "in this setting, or choose another in its place"
        )
