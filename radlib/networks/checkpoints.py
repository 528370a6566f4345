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
import torchvision
from timm.models import get_pretrained_cfg
from torch import Tensor

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.backbones import KERAS, layout
from radlib.networks.keras_files import read_keras
from radlib.networks.tensor_files import read_tensors
from radlib.networks.weights import Preprocessing, Weights, check_state, save_weights
from radlib.study import Study
from radlib.study.datasets import Checkpoint


def import_checkpoint(study: Study, name: str) -> list[Path]:
    """Bring the files of a checkpoint into `models/<name>/`, checked as in `published_weights`."""
    written = []
    for backbone in study.checkpoints[name].backbones:
        weights, said = published_weights(study, name, backbone)
        target = study.model_file(name, backbone)
        more = {"variant": weights.variant, "reference": json.dumps(said)}
        save_weights(target, weights.state, weights.preprocessing, **more)
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
    weights = Weights(name, backbone, state, preprocessing, variant)
    return weights, reference(weights, path)


def reference(weights: Weights, path: Path) -> dict:
    """What the network says of `reference_image`, for others to compare their own loading with.

    Returns:
        size: side of the image, px, the network's usual one; features: the first eight of its pooled
        features, to four digits, computed on the processor in float32.
    Raises:
        UserError: they are not finite, or are the same whatever the image.
    """
    network = weights.build().cpu().eval()
    size = backbones.usual_size(weights.backbone)
    image = torch.from_numpy(reference_image(size)).permute(2, 0, 1) / 255
    with torch.no_grad():
        found = network.forward_features(weights.preprocessing(torch.stack([image, 1 - image])))
    features, others = backbones.pooled(network, found)
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
    fetch = f"fetch it{f' from {checkpoint.url}' if checkpoint.url else ''} and put it there"
    if checkpoint.tags:
        hub = _timm_config(backbone, checkpoint.tags[backbone]).hf_hub_id
        fetch = f"fetch model.safetensors of {hub} from huggingface.co and save it under that name"
    wanted = f"{checkpoint.path}/{checkpoint.file_of(backbone)}"
    return UserError(
        f"no weights of checkpoint '{name}' for {backbone} at {wanted}; {fetch} (make study "
        f"RAW=/folder/with/downloads links a folder as data/raw), or take {backbone} out of "
        f"checkpoints.{name} in params.yaml"
    )


def preprocessing_of(checkpoint: Checkpoint, backbone: str) -> Preprocessing:
    """As the checkpoint states it, or as timm does for its tag; UserError where timm has none."""
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


# Layouts --------------------------------------------------------------------------------------------------
def read_published(path: Path, backbone: str) -> tuple[dict[str, Tensor], str]:
    """State dict by timm's names without classifier, and the variant of the network (see `backbones.create`);
    UserError where the file cannot be read, or its layout is none of this backbone's."""
    if h5py.is_hdf5(path):
        return read_keras(path, backbone), KERAS
    state, metadata = read_tensors(path)
    state = _without_wrapper(_by_child_names(state, backbone, path), layout(backbone))
    state = backbones.without_classifier(state, backbone)
    # Files of half precision are common; every number of this study is computed from float32.
    floats = {key for key, value in layout(backbone).items() if value.is_floating_point()}
    state = {k: v.float() if k in floats and v.is_floating_point() else v for k, v in state.items()}
    return state, metadata.get("variant", "")


def _by_child_names(state: dict[str, Tensor], backbone: str, path: Path) -> dict[str, Tensor]:
    """RadImageNet's numbers become the names of torchvision's children."""
    numbered = re.compile(r"backbone\.(\d+)\.")
    if not any(map(numbered.match, state)):
        return state
    options = {"aux_logits": False, "init_weights": False} if backbone == "inception_v3" else {}
    try:
        with torch.device("meta"):
            children = torchvision.models.get_model(backbone, weights=None, **options).named_children()
    except ValueError as exc:
        raise UserError(
            f"{path} numbers its layers ('backbone.0...'), which is known of torchvision's networks only, "
            f"not of {backbone}; name the right backbone or file"
        ) from exc
    names = {str(place): f"{name}." for place, (name, _) in enumerate(children)}
    return {numbered.sub(lambda found: names.get(found[1], found[0]), k): v for k, v in state.items()}


def _without_wrapper(state: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the word before every name that a program put there: `module.`, `model.`, `backbone.`, ..."""
    while state and not state.keys() & expected.keys():
        wrappers = {key.partition(".")[0] for key in state}
        if len(wrappers) > 1 or any("." not in key for key in state):
            break
        state = {key.partition(".")[2]: tensor for key, tensor in state.items()}
    return state
