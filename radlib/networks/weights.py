"""Weights files: timm key names, and with them the preprocessing they were trained with.

Preprocessing belongs to the weights, never to the task: feeding a network with another network's mean and
standard deviation costs accuracy, and in a comparison of sources it costs one side only.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from radlib import compute
from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.tensor_files import read_safetensors
from radlib.seeds import replicate_seed
from radlib.store import atomic_path
from radlib.study import Study
from radlib.study.common import RANDOM, is_random


@dataclass(frozen=True)
class Preprocessing:
    """(x / 255 - mean) / std per channel, in `channels` order."""

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    channels: str = "RGB"

    def __post_init__(self):
        if not all(math.isfinite(x) for x in self.mean) or not all(0 < x < math.inf for x in self.std):
            raise UserError(
                f"images cannot be scaled by mean {list(self.mean)} and std {list(self.std)}: all must be "
                "finite and every std above 0 (images that are all of one grey have a std of 0)"
            )

    def __call__(self, images: Tensor) -> Tensor:
        """float32 (B, 1 or 3, H, W) in 0..1, RGB -> (B, 3, H, W), normalised, channels last."""
        images = images.expand(-1, 3, -1, -1)
        if self.channels == "BGR":
            images = images.flip(1)
        mean, std = (
            torch.tensor(numbers).view(1, 3, 1, 1).to(images.device, non_blocking=True)
            for numbers in (self.mean, self.std)
        )
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Weights:
    """A backbone's first weights: `state` by timm key names, without classifier.

    `variant`: empty, or which variant of the network they were trained in (see `backbones.create`).
    """

    source: str
    backbone: str
    state: dict[str, Tensor]
    preprocessing: Preprocessing
    variant: str = ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, shapes and bytes, preprocessing and variant: all decide what a network says."""
        total = hashlib.sha256(f"{self.preprocessing!r}{self.variant}".encode())
        for key, tensor in sorted(self.state.items()):
            total.update(f"{key}{tuple(tensor.shape)}".encode())
            total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return total.hexdigest()

    @cached_property
    def network(self) -> nn.Module:
        """The network as it is, in evaluation. Training copies it, for drawing fresh weights takes longer."""
        return self.build().eval()

    def build(self) -> nn.Module:
        """A new network with these weights, channels last, on the device.

        Raises: UserError where its features are of a kind that is not understood.
        """
        backbones.check(self.backbone)
        with backbones.Undrawn():
            model = backbones.create(self.backbone, variant=self.variant)
            side = side_of_places(self.state, self.backbone)
            if side:
                model.set_input_size(img_size=side)
        # Only the count of seen batches may be missing from a file, and nothing here uses it.
        model.load_state_dict(self.state, strict=False)
        return model.to(compute.device(), memory_format=torch.channels_last)


def save_weights(path: Path, state: dict[str, Tensor], preprocessing: Preprocessing, **more: str) -> None:
    """Write a safetensors file with the preprocessing, and what of `more` is not empty, in its header.

    Raises: UserError where a weight is NaN or infinite, as after a training that diverged.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    check_finite(state, f"weights for {path}", "lower the learning rate that they were trained with")
    metadata = {"preprocessing": json.dumps(asdict(preprocessing)), **more}
    metadata = {key: text for key, text in metadata.items() if text}
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata=metadata)


def load_weights(study: Study, source: str, backbone: str, replicate: int = 0) -> Weights:
    """First weights of (source, backbone, replicate): random numbers, or the file an earlier stage wrote.

    Raises: UserError where the file is missing, damaged, or of another network.
    """
    if is_random(source):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(replicate_seed(replicate, study.seed, source, backbone))
            return Weights(source, backbone, backbones.create(backbone).state_dict(), Preprocessing())
    path = study.model_file(source, backbone, replicate)
    if not path.is_file():
        raise UserError(
            f"no weights of source '{source}' for {backbone} at {path}; `dvc repro` makes them, "
            "or run notebook 02_pretrain with save = True"
        )
    state, metadata = read_safetensors(path)
    if "preprocessing" not in metadata:
        raise UserError(f"{path} carries no preprocessing; weights enter the study through `dvc repro` only")
    stored = json.loads(metadata["preprocessing"])
    preprocessing = Preprocessing(tuple(stored["mean"]), tuple(stored["std"]), stored["channels"])
    check_state(state, backbone, path)
    return Weights(source, backbone, state, preprocessing, metadata.get("variant", ""))


def random_source(number: int) -> str:
    """Name of a draw of random weights, counted from 1: `random`, `random_2`, `random_3`, ..."""
    return RANDOM if number == 1 else f"{RANDOM}_{number}"


def check_state(state: dict[str, Tensor], backbone: str, path: Path) -> None:
    """Every key, shape and dtype must be the backbone's own, and every number finite; else UserError."""
    expected, found = (
        {k: f"{tuple(v.shape)} {v.dtype}".replace("torch.", "") for k, v in some.items()}
        for some in (backbones.layout(backbone), state)
    )
    if side_of_places(state, backbone):
        expected["pos_embed"] = found["pos_embed"]
    for key in [*expected, *found]:
        if not key.endswith("num_batches_tracked") and expected.get(key) != found.get(key):
            raise UserError(
                f"{path} is not a {backbone}: '{key}' is {found.get(key, 'missing')} in the file and "
                f"{expected.get(key, 'unknown')} in the network; name the right backbone or file"
            )
    check_finite(state, str(path), "fetch it again, or ask its publisher")


def side_of_places(state: dict[str, Tensor], backbone: str) -> int:
    """Side, px, of the images that a vision transformer's embeddings of places are for, where it is not the
    usual one of timm's network; else 0. timm resamples them for the images that it is shown."""
    own, found = backbones.layout(backbone).get("pos_embed"), state.get("pos_embed")
    if own is None or found is None or found.ndim != 3 or found.shape[::2] != own.shape[::2]:
        return 0
    network = backbones.outline(backbone)
    tokens = 0 if getattr(network, "no_embed_class", False) else getattr(network, "num_prefix_tokens", 0)
    side = math.isqrt(max(found.shape[1] - tokens, 0))
    other = found.shape != own.shape and side * side + tokens == found.shape[1]
    return side * network.patch_embed.patch_size[0] if other else 0


def check_finite(state: dict[str, Tensor], what: str, remedy: str) -> None:
    for key, value in state.items():
        wrong = int((~torch.isfinite(value)).sum())
        if wrong:
            raise UserError(
                f"{what}: {wrong:,} of the {value.numel():,} numbers of tensor '{key}' are NaN or infinite; "
                f"{remedy}"
            )
