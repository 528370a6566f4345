"""Whether every network of a study can do what the study asks of it, before anything is computed.

Networks run on meta tensors, which have shapes and no numbers. Whatever is not understood is refused.
"""

from collections.abc import Iterator

import torch

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.study import Study


def network_faults(study: Study) -> list[str]:
    """A sentence for everything that a backbone is asked for and cannot do, with its key in params.yaml."""
    faults = []
    for backbone in study.backbones:
        for key, check, *asked in _checks(study, backbone):
            try:
                check(backbone, *asked)
            except UserError as exc:
                faults.append(f"{key}: {exc}")
                if check is backbones.check:  # it can be asked for nothing else
                    break
    for task in study.trained_tasks:
        if not study.runs_of(task):
            faults.append(
                f"tasks.{task}: nothing would be trained, for no source has weights for a backbone of its "
                "settings (transfer.settings, of which the task's train keeps some); add one, or take it out"
            )
    return faults


def _checks(study: Study, backbone: str) -> Iterator[tuple]:
    """Key of params.yaml, what checks it, and what the check is given beside the backbone."""

    def asked(settings: list) -> bool:
        return any(backbone in (setting.backbones or study.backbones) for setting in settings)

    yield f"backbones.{backbone}", backbones.check
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
    for key, size in sizes.items():
        yield key, backbones.check_size, size
    for train, check in (("top10", backbones.top_of), ("top", backbones.last_stage)):
        if asked([setting for setting in study.transfer.settings if setting.train == train]):
            yield "transfer.settings", check
    if draws and isinstance(backbones.feature_shape(backbone, study.segment.size), tuple):
        yield "segment.settings", _check_encoder, study.segment.size, study.segment.decoder


def _check_encoder(backbone: str, size: int, decoder: list[int]) -> None:
    # Its library is slow to import, and most studies draw no lesions.
    from radlib.networks.segmenters import UNet

    network = backbones.outline(backbone)
    try:
        with torch.device("meta"):
            maps = network.forward_intermediates(torch.empty(1, 3, size, size), intermediates_only=True)
            channels = [level["num_chs"] for level in network.feature_info]
            scales = [level["reduction"] for level in network.feature_info]
            if len(set(scales)) < len(scales):
                raise ValueError(f"its {len(scales)} maps are not all of different scales")
            drawn = tuple(UNet(channels, decoder, size).eval()(maps).shape[1:])
        reason = "" if drawn == (size, size) else f"it would draw {drawn} px"
    except backbones.CANNOT as exc:
        reason = str(exc).splitlines()[0]
    if reason:
        raise UserError(
            f"{backbone} cannot be the encoder of a U-Net at {size} px ({reason}); list the other backbones "
            "in this setting, or choose another in its place"
        )
