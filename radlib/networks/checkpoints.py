"""Published weights, in the layout in which they were published, into `models/` under timm's names.

A file tells its layout itself: HDF5 is Keras'; keys `backbone.<index>.<name>` are RadImageNet's, the index
counting the children of the torchvision network; all others must be timm's, which torchvision shares.
"""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import timm
import torch
from timm.models import get_pretrained_cfg
from torch import Tensor

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.backbones import KERAS, layout, without_classifier
from radlib.networks.keras_files import read_keras
from radlib.networks.torch_files import read_tensors, without_wrapper
from radlib.networks.weights import Preprocessing, Weights, check_state, digest_state, save_weights
from radlib.study import Study
from radlib.study.datasets import Checkpoint

# Children of torchvision's networks that have parameters; InceptionV3 as built with aux_logits=False.
CHILDREN = {
    "resnet50": {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 6: "layer3", 7: "layer4", 9: "fc"},
    "densenet121": {0: "features", 1: "classifier"},
    "inception_v3": {
        0: "Conv2d_1a_3x3", 1: "Conv2d_2a_3x3", 2: "Conv2d_2b_3x3", 4: "Conv2d_3b_1x1", 5: "Conv2d_4a_3x3",
        7: "Mixed_5b", 8: "Mixed_5c", 9: "Mixed_5d", 10: "Mixed_6a", 11: "Mixed_6b", 12: "Mixed_6c",
        13: "Mixed_6d", 14: "Mixed_6e", 15: "Mixed_7a", 16: "Mixed_7b", 17: "Mixed_7c", 20: "fc",
    },
}  # fmt: skip


def import_checkpoint(study: Study, name: str) -> list[Path]:
    """Bring the files of a checkpoint into `models/<name>/`, each checked against its backbone.

    Returns:
        the files written.
    Raises:
        UserError: as `published_weights`, of the first.
    """
    written = []
    for backbone in study.checkpoints[name].backbones:
        weights, reference = published_weights(study, name, backbone)
        target = study.model_file(name, backbone)
        save_weights(
            target, weights.state, weights.preprocessing, weights.variant, reference=json.dumps(reference)
        )
        written.append(target)
    return written


def published_weights(study: Study, name: str, backbone: str) -> tuple[Weights, dict]:
    """The weights of a checkpoint's file, checked whole, and what `reference` says of them.

    Raises:
        UserError: the file is missing, unreadable, of another architecture, or of a network that says nothing
            or is not understood.
    """
    path = study.checkpoint_file(name, backbone)
    if not path.is_file():
        raise missing_file(study, name, backbone)
    backbones.check(backbone)
    preprocessing = preprocessing_of(study.checkpoints[name], backbone)
    state, variant = read_published(path, backbone)
    check_state(state, backbone, path)
    weights = Weights(
        name, backbone, state, preprocessing, digest_state(state, preprocessing, variant), variant
    )
    return weights, reference(weights, path)


def reference(weights: Weights, path: Path) -> dict:
    """What the network says of `reference_image`, for others to compare their own loading with.

    Returns:
        size: side of the image, px, the network's usual one; features: the first eight of its last maps'
        means, to four digits, computed on the processor in float32.
    Raises:
        UserError: they are not finite, or are the same whatever the image.
    """
    network = weights.build().cpu().eval()
    size = backbones.usual_size(weights.backbone)
    image = torch.from_numpy(reference_image(size)).permute(2, 0, 1) / 255
    with torch.no_grad():
        found = network.forward_features(weights.preprocessing(torch.stack([image, 1 - image])))
    features, others = found.mean((2, 3))
    if not torch.isfinite(found).all():
        raise UserError(f"{path}: the network answers an image with NaN or infinity; ask its publisher")
    if torch.allclose(features, others, rtol=1e-4, atol=0):
        raise UserError(
            f"{path}: the network says the same of every image, so its weights or its mean and std are "
            "broken; compare them with the publisher's"
        )
    return {"size": size, "features": [float(f"{value:.4g}") for value in features[:8].tolist()]}


def reference_image(size: int) -> np.ndarray:
    """uint8 (size, size, 3), RGB: a fixed picture that any language can draw."""
    y, x, channel = np.mgrid[:size, :size, :3]
    return ((2 * x + 3 * y + x * y // 8 + 40 * channel) % 256).astype(np.uint8)


def missing_file(study: Study, name: str, backbone: str) -> UserError:
    """The sentence that says which file to fetch, from where, and where to put it."""
    checkpoint = study.checkpoints[name]
    wanted = f"{checkpoint.path}/{checkpoint.file_of(backbone)}"
    fetch = (
        f"fetch it from {checkpoint.url} and put it there" if checkpoint.url else "fetch it and put it there"
    )
    if checkpoint.tags:
        hub = _timm_config(backbone, checkpoint.tags[backbone]).hf_hub_id
        fetch = f"fetch model.safetensors of {hub} from huggingface.co and save it under that name"
    return UserError(
        f"no weights of checkpoint '{name}' for {backbone} at {wanted}; {fetch} (make study "
        f"RAW=/folder/with/downloads links a folder as data/raw), or take {backbone} out of "
        f"checkpoints.{name} in params.yaml"
    )


def read_published(path: Path, backbone: str) -> tuple[dict[str, Tensor], str]:
    """State dict by timm's names without classifier, and the variant of the network (see `backbones.create`).

    Raises:
        UserError: the file cannot be read, or its layout is none of this backbone's.
    """
    if h5py.is_hdf5(path):
        return read_keras(path, backbone), KERAS
    state, metadata = read_tensors(path)
    if any(re.match(r"backbone\.\d+\.", key) for key in state):
        state = _by_child_names(state, backbone, path)
    state = without_classifier(without_wrapper(state, backbone), backbone)
    # Files of half precision are common; every number of this study is computed from float32.
    floats = {key for key, value in layout(backbone).items() if value.is_floating_point()}
    state = {k: v.float() if k in floats and v.is_floating_point() else v for k, v in state.items()}
    return state, metadata.get("variant", "")


def preprocessing_of(checkpoint: Checkpoint, backbone: str) -> Preprocessing:
    """As the checkpoint states it, or as timm does for its tag.

    Raises:
        UserError: timm has no weights under that tag.
    """
    if checkpoint.files:
        return Preprocessing(checkpoint.mean, checkpoint.std, checkpoint.channels)
    config = _timm_config(backbone, checkpoint.tags[backbone])
    return Preprocessing(config.mean, config.std)


def _timm_config(backbone: str, tag: str):
    try:
        return get_pretrained_cfg(f"{backbone}.{tag}", allow_unregistered=False)
    except RuntimeError as exc:
        known = ", ".join(timm.list_pretrained(f"{backbone}.*")) or f"none of {backbone}"
        raise UserError(f"timm has no weights '{backbone}.{tag}'; there are: {known}") from exc


def _by_child_names(state: dict[str, Tensor], backbone: str, path: Path) -> dict[str, Tensor]:
    if backbone not in CHILDREN:
        raise UserError(
            f"{path} numbers its layers ('backbone.0...'), which is known of {', '.join(CHILDREN)} only, "
            f"not of {backbone}; name the right backbone or file"
        )
    return {_child_name(key, CHILDREN[backbone]): value for key, value in state.items()}


def _child_name(key: str, children: dict[int, str]) -> str:
    match = re.fullmatch(r"backbone\.(\d+)\.(.+)", key)
    if match is None or int(match[1]) not in children:
        return key
    return f"{children[int(match[1])]}.{match[2]}"
