"""Published weights, in the layout in which they were published, into `models/` under timm's names.

A file tells its layout itself: Keras' is HDF5 or an archive of it; of others the names of the tensors tell.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.backbones import KERAS
from radlib.networks.hub import timm_config, weights_file
from radlib.networks.keras_files import is_keras, read_keras
from radlib.networks.names import Fitted, finished, fitted
from radlib.networks.tensor_files import read_header, read_tensors
from radlib.networks.weights import Preprocessing, Weights, check_state, save_weights
from radlib.study import Study
from radlib.study.datasets import Checkpoint


def import_checkpoint(study: Study, name: str) -> list[Path]:
    """Bring the files of a checkpoint into `models/<name>/`, checked as in `published_weights`.

    The header of each says where the weights come from and what was done to them (`origin`), and what the
    network says of a fixed picture (`reference`).
    """
    written = []
    for backbone in study.checkpoints[name].backbones:
        weights, said = published_weights(study, name, backbone)
        target = study.model_file(name, backbone)
        more = {key: json.dumps(value) for key, value in said.items()}
        save_weights(target, weights.state, weights.preprocessing, variant=weights.variant, **more)
        written.append(target)
    return written


def is_imported(study: Study, name: str, backbone: str) -> bool:
    """Whether `models/` holds the weights of the very file that the checkpoint names now."""
    path = study.model_file(name, backbone)
    origin = json.loads(read_header(path).get("origin", "{}")) if path.is_file() else {}
    return origin.get("sha256") == weights_file(study, name, backbone)[1]["sha256"]


def published_weights(study: Study, name: str, backbone: str) -> tuple[Weights, dict[str, dict]]:
    """The weights of a checkpoint's file, checked whole.

    Returns:
        the weights; and of the file, its `origin`: address, commit, digest, size, whose names it has, which
        wrapper was taken, how many tensors of each group were dropped, what was made; and the `reference`.
    Raises:
        UserError: the file is missing, cannot be fetched or read, has another digest than before, is of
            another architecture, or of a network that says nothing or is not understood.
    """
    backbones.check(backbone)
    preprocessing = preprocessing_of(study.checkpoints[name], backbone)
    path, origin = weights_file(study, name, backbone)
    found, variant = read_published(path, backbone)
    if found.grey and len({*zip(preprocessing.mean, preprocessing.std, strict=True)}) > 1:
        raise UserError(
            f"{path} was trained on one channel, so it knows one mean and one std; write the same number "
            f"three times in checkpoints.{name}.mean and std"
        )
    check_state(found.state, backbone, path)
    weights = Weights(name, backbone, found.state, preprocessing, variant)
    origin |= {key: value for key, value in vars(found).items() if key != "state"}
    return weights, {"origin": origin, "reference": reference(weights, path)}


def reference(weights: Weights, path: Path) -> dict:
    """What the network says of `reference_image`, for others to compare their own loading with.

    Returns:
        size: side of the image, px; features: the first eight of its pooled features, to four digits.
    Raises:
        UserError: they are not finite, or are the same whatever the image.
    """
    network = weights.build().cpu().eval()
    size, features = reference_features(weights, network)
    _, others = reference_features(weights, network, negative=True)
    if not (torch.isfinite(features) & torch.isfinite(others)).all():
        raise UserError(f"{path}: the network answers an image with NaN or infinity; ask its publisher")
    if torch.allclose(features, others, rtol=1e-4, atol=0):
        raise UserError(
            f"{path}: the network says the same of every image, so its weights or its mean and std are "
            "broken; compare them with the publisher's"
        )
    return {"size": size, "features": [float(f"{value:.4g}") for value in features[:8].tolist()]}


def reference_features(weights: Weights, network: nn.Module, negative: bool = False) -> tuple[int, Tensor]:
    """Side (px) of `reference_image`, the network's usual one, and the features (C,) that it says of it.

    Float32; prepared as the weights' own preprocessing says, and pooled as timm does.

    Args:
        network: of these weights, on the processor, in evaluation. negative: of the image's negative.
    """
    size = backbones.usual_size(weights.backbone)
    image = torch.from_numpy(reference_image(size)).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        last = network.forward_features(weights.preprocessing(1 - image if negative else image))
        return size, backbones.pooled(network, last)[0]


def reference_image(size: int) -> np.ndarray:
    """uint8 (size, size, 3), RGB: a fixed picture that any language can draw."""
    y, x, channel = np.mgrid[:size, :size, :3]
    return ((2 * x + 3 * y + x * y // 8 + 40 * channel) % 256).astype(np.uint8)


def preprocessing_of(checkpoint: Checkpoint, backbone: str) -> Preprocessing:
    """As the checkpoint states it, or as timm does for its tag; UserError where timm has none."""
    if checkpoint.files:
        return Preprocessing(checkpoint.mean, checkpoint.std, checkpoint.channels)
    config = timm_config(backbone, checkpoint.tags[backbone])
    return Preprocessing(config.mean, config.std)


# Layouts --------------------------------------------------------------------------------------------------
def read_published(path: Path, backbone: str) -> tuple[Fitted, str]:
    """A file's tensors by timm's names, and the variant of the network (see `backbones.create`); UserError
    where the file cannot be read, or its layout is none of this backbone's."""
    if is_keras(path):
        return finished(read_keras(path, backbone), backbone), KERAS
    tensors, metadata = read_tensors(path)
    return fitted(tensors, backbone, path), metadata.get("variant", "")
