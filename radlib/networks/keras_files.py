"""Keras' files, whole models or weights alone, into state dicts by timm's names.

In a `.h5` there is a group for each layer. Its attribute `weight_names` lists the tensors in it as
`<layer>/<weight>`; Keras 2 adds `:0`, has layers with a `/` in their name (`conv1/conv`, which Keras 3 calls
`conv1_conv`), and the group of a network within a network lists the layers of the inner one.

In a `.weights.h5`, which a `.keras` archive holds, the tensors of a layer are numbered, as in
`layers/conv2d_1/vars/0`. The name of the layer is an attribute of `vars`; earlier versions of Keras 3 left it
to the archive's `config.json`.

The state belongs to the variant `keras` of a timm network (see `backbones.create`).
"""

import io
import json
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch
from timm.layers import ConvNormAct
from torch import Tensor

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.names import Fitted

WITHIN = "model.weights.h5"  # the file with the weights in a `.keras` archive
Layers = dict[str, dict[str, np.ndarray]]
WEIGHTS = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}

# What the numbered tensors of a layer are, by whether the first is a kernel, and how many there are.
VARIABLES = {
    (True, 1): ("kernel",),
    (True, 2): ("kernel", "bias"),
    (False, 3): ("beta", "moving_mean", "moving_variance"),
    (False, 4): ("gamma", "beta", "moving_mean", "moving_variance"),
}


def is_keras(path: Path) -> bool:
    """Whether a file is HDF5, or an archive that holds Keras' weights."""
    if not zipfile.is_zipfile(path):
        return h5py.is_hdf5(path)
    with zipfile.ZipFile(path) as archive:
        return WITHIN in archive.namelist()


def read_keras(path: Path, backbone: str) -> Fitted:
    """The tensors of a Keras file, float32, without dense layers.

    Raises: UserError where it is damaged or of another network; names the first layer that does not fit.
    """
    if backbone not in PLACES:
        raise UserError(
            f"{path} is a Keras file, and these are read for {', '.join(PLACES)} only, not for {backbone}; "
            "name the right backbone or file"
        )
    layers = _renumbered(_read_layers(path))
    # A kernel of two axes is that of a dense layer.
    dense = [name for name, weights in layers.items() if np.ndim(weights.get("kernel")) == 2]
    layers = {name: weights for name, weights in layers.items() if name not in dense}
    places = PLACES[backbone]()
    for layer in [*places, *layers]:
        if layer not in layers or layer not in places:
            wrong = "has no place in it" if layer in layers else "is missing"
            raise UserError(
                f"{path} is not a Keras {backbone}: layer '{layer}' {wrong}; name the right backbone or file"
            )
    biased = sum("bias" in weights for weights in layers.values()) if backbone == "resnet50" else 0
    if biased:
        _fold_biases(layers)
    made = [f"{biased} convolutions: their biases are taken off the means of the batch norms behind them"]
    state = {}
    for layer, place in places.items():
        for weight, tensor in _timm_tensors(layers[layer]).items():
            state[f"{place}.{weight}"] = tensor
    return Fitted(state, "Keras'", dropped=dict.fromkeys(dense, 2), made=made if biased else [])


def _read_layers(path: Path) -> Layers:
    """Every layer that has weights."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read(WITHIN))) as file:
                layers = _numbered_layers(file, json.loads(archive.read("config.json")))
        else:
            with h5py.File(path) as file:
                layers = _numbered_layers(file, {}) if "layers" in file else _named_layers(file)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, zipfile.BadZipFile) as exc:
        raise UserError(
            f"{path} cannot be read as a Keras file ({type(exc).__name__}); fetch it again"
        ) from exc
    if not layers:
        raise UserError(
            f"{path} lists no layers with weights; save the whole network by `model.save('name.h5')` instead"
        )
    return layers


def _named_layers(file: h5py.File) -> Layers:
    layers: Layers = defaultdict(dict)
    root = file.get("model_weights", file)
    for group in _names(root, "layer_names"):
        for name in _names(root[group], "weight_names"):
            layer, _, weight = name.removesuffix(":0").rpartition("/")
            layers[layer.replace("/", "_")][weight] = np.asarray(root[group][name], np.float32)
    return layers


def _numbered_layers(file: h5py.File, config: dict) -> Layers:
    """Of `layers/<kind>_<number>/vars/<place>`, also within a network within a network."""
    layers: Layers = {}
    names = _names_of(config, "")

    def note(place: str, found: h5py.Group | h5py.Dataset) -> None:
        if place.startswith("layers/") and place.endswith("/vars") and len(found):
            name = found.attrs.get("name") or names.get(place.removesuffix("/vars"))
            arrays = [np.asarray(found[key], np.float32) for key in sorted(found, key=int)]
            known = VARIABLES.get((np.ndim(arrays[0]) > 1, len(arrays)), map(str, range(len(arrays))))
            if name:
                layers[name] = dict(zip(known, arrays, strict=True))

    file.visititems(note)
    return layers


def _names_of(config: dict, above: str) -> dict[str, str]:
    """Place in the file -> name of the layer: Keras counts the layers of each kind from none."""
    places, counts = {}, Counter()
    for layer in config.get("config", {}).get("layers", []):
        # GlobalAveragePooling2D -> global_average_pooling2d
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\w)(?=[A-Z][a-z])", "_", layer["class_name"]).lower()
        place = f"{above}layers/{kind}_{counts[kind]}" if counts[kind] else f"{above}layers/{kind}"
        counts[kind] += 1
        places[place] = layer["config"]["name"]
        places |= _names_of(layer, f"{place}/")
    return places


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names; Keras cuts a long one into attributes `name0`, `name1`, ..."""
    parts = [key for key in group.attrs if re.fullmatch(rf"{attribute}\d*", key)]
    names = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _renumbered(layers: Layers) -> Layers:
    """Layers that Keras numbered itself, numbered from 0 in the order in which they were made.

    Keras counts on while a program makes more networks: the first layer may be called `conv2d_94`.
    """
    result, numbered = {}, {"conv2d": [], "batch_normalization": []}
    for name in layers:
        kind, number = re.fullmatch(r"(.*?)(?:_(\d+))?", name).groups()
        if kind in numbered:
            numbered[kind].append((int(number or 0), name))
        else:
            result[name] = layers[name]
    for kind, same in numbered.items():
        result |= {f"{kind}_{place}": layers[name] for place, (_, name) in enumerate(sorted(same))}
    return result


def _fold_biases(layers: Layers) -> None:
    """Take the bias of a convolution off the mean that the batch norm behind it takes off: y + b - m."""
    for layer in layers:
        batch_norm = layers.get(f"{layer.removesuffix('_conv')}_bn", {})
        if "bias" in layers[layer] and "moving_mean" in batch_norm:
            batch_norm["moving_mean"] = batch_norm["moving_mean"] - layers[layer].pop("bias")


def _timm_tensors(weights: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """One layer's tensors: kernels (h, w, in, out) become (out, in, h, w), a missing gamma becomes ones."""
    weights = dict(weights)
    if "kernel" in weights:
        weights["kernel"] = np.moveaxis(weights["kernel"], (-1, -2), (0, 1))
    elif "gamma" not in weights and "beta" in weights:
        weights["gamma"] = np.ones_like(weights["beta"])
    return {WEIGHTS.get(name, name): torch.tensor(np.ascontiguousarray(a)) for name, a in weights.items()}


def _resnet50() -> dict[str, str]:
    """Keras layer -> timm module, here and below."""
    places = {"conv1_conv": "conv1", "conv1_bn": "bn1"}
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            keras, timm = f"conv{stage + 1}_block{block + 1}", f"layer{stage}.{block}"
            if block == 0:
                places[f"{keras}_0_conv"] = f"{timm}.downsample.0"
                places[f"{keras}_0_bn"] = f"{timm}.downsample.1"
            for i in (1, 2, 3):
                places[f"{keras}_{i}_conv"] = f"{timm}.conv{i}"
                places[f"{keras}_{i}_bn"] = f"{timm}.bn{i}"
    return places


def _densenet121() -> dict[str, str]:
    places = {"conv1_conv": "features.conv0", "conv1_bn": "features.norm0", "bn": "features.norm5"}
    for block, count in enumerate((6, 12, 24, 16), start=1):
        for layer in range(1, count + 1):
            keras, timm = f"conv{block + 1}_block{layer}", f"features.denseblock{block}.denselayer{layer}"
            places[f"{keras}_0_bn"] = f"{timm}.norm1"
            places[f"{keras}_1_conv"] = f"{timm}.conv1"
            places[f"{keras}_1_bn"] = f"{timm}.norm2"
            places[f"{keras}_2_conv"] = f"{timm}.conv2"
    for block in (1, 2, 3):
        places[f"pool{block + 1}_bn"] = f"features.transition{block}.norm"
        places[f"pool{block + 1}_conv"] = f"features.transition{block}.conv"
    return places


def _inception_resnet_v2() -> dict[str, str]:
    places = _in_order("inception_resnet_v2", named="conv2d_7b")
    places |= {f"block35_{i + 1}_conv": f"repeat.{i}.conv2d" for i in range(10)}
    places |= {f"block17_{i + 1}_conv": f"repeat_1.{i}.conv2d" for i in range(20)}
    places |= {f"block8_{i + 1}_conv": f"repeat_2.{i}.conv2d" for i in range(9)}
    return places | {
        "block8_10_conv": "block8.conv2d",
        "conv_7b": "conv2d_7b.conv",
        "conv_7b_bn": "conv2d_7b.bn",
    }


def _in_order(backbone: str, named: str = "") -> dict[str, str]:
    """Numbered layers: Keras and timm list the convolutions of their Inceptions in the same order."""
    modules = backbones.outline(backbone).named_modules()
    blocks = [name for name, module in modules if isinstance(module, ConvNormAct) and name != named]
    places = {f"conv2d_{i}": f"{block}.conv" for i, block in enumerate(blocks)}
    return places | {f"batch_normalization_{i}": f"{block}.bn" for i, block in enumerate(blocks)}


PLACES: dict[str, Callable[[], dict[str, str]]] = {
    "resnet50": _resnet50,
    "densenet121": _densenet121,
    "inception_v3": partial(_in_order, "inception_v3"),
    "inception_resnet_v2": _inception_resnet_v2,
}
