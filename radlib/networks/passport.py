"""What weights themselves say of how they were trained. (14_passport)

A batch norm stores mean and variance of what came to each of its channels in training. Given images, prepared
in one way or another, bring a mean and a variance of their own: the nearer to those stored, the more likely
were the images of the training prepared so. Distance is the Kullback-Leibler divergence (Kullback & Leibler
1951, doi 10.1214/aoms/1177729694) of the normal distribution with the images' mean m and variance v from
the one with the stored M and V,

    (log(V / v) + (v + (m - M)^2) / V - 1) / 2,

its mean over channels, then over the first batch norms. The same pairs are matched, by the sum of squares,
where images are made from weights (DeepInversion, Yin et al. 2020, arXiv 1912.08795), and replaced where
networks move to other images (AdaBN, Li et al. 2016, arXiv 1603.04779). What comes to the first batch norm is
a linear function of the input; deeper ones say more of what images show than of how they were scaled.
"""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from radlib.networks.backbones import usual_size
from radlib.networks.checkpoints import reference_image
from radlib.networks.weights import Weights

LAYERS = 3  # batch norms, in the order in which they compute
DEAD_VARIANCE, DEAD_SCALE = 1e-6, 1e-4  # of the layer's median; of gamma, in SD
EXPLODING = 1000  # times the layer's median variance
# A channel that is constant on the given images would be infinitely far.
_FLOOR = 1e-3
_BATCH = 16


@dataclass(frozen=True)
class Arriving:
    """What given images bring to a batch norm, beside what it has stored, channels that are dead left out.

    mean, variance: float64 (C,), stored; first, second: float64 (n, C), mean and mean square over places of
    every image.
    """

    mean: np.ndarray
    variance: np.ndarray
    first: np.ndarray
    second: np.ndarray


class _Enough(Exception):
    """The first batch norms have been reached, and nothing behind them is asked for."""


def batch_norms(network: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """By name, in the order in which they are declared; empty for networks without, such as ViT or ConvNeXt."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None
    }


def census(network: nn.Module) -> pd.DataFrame:
    """A row per batch norm: layer, channels, dead, exploding, largest (variance).

    A channel is dead where it hardly varied in training (variance at most `DEAD_VARIANCE` of the layer's
    median) or is hardly passed on (|gamma| at most `DEAD_SCALE`); it explodes where its variance is more than
    `EXPLODING` times the layer's median.
    """
    rows = []
    for name, norm in batch_norms(network).items():
        variance, median = norm.running_var, norm.running_var.median()
        dead = _dead(norm)
        exploding = (variance > EXPLODING * median) & ~dead
        counts = (len(variance), int(dead.sum()), int(exploding.sum()), float(variance.max()))
        rows.append((name, *counts))
    return pd.DataFrame(rows, columns=["layer", "channels", "dead", "exploding", "largest"])


def _dead(norm: nn.BatchNorm2d) -> Tensor:
    still = _still(norm)
    return still if norm.weight is None else still | (norm.weight.detach().abs() <= DEAD_SCALE)


def _still(norm: nn.BatchNorm2d) -> Tensor:
    return norm.running_var <= DEAD_VARIANCE * norm.running_var.median()


def arriving(network: nn.Module, images: Tensor, layers: int = LAYERS) -> list[Arriving]:
    """What prepared images (n, 3, H, W) bring to the first batch norms of a network in evaluation.

    All before a batch norm runs on stored statistics; nothing behind the last is computed.
    """
    seen: dict[nn.Module, list[Tensor]] = {}

    def look(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        maps = inputs[0].double()
        seen.setdefault(norm, []).append(torch.stack([maps.mean((2, 3)), maps.square().mean((2, 3))]))
        if len(seen) == layers and norm is list(seen)[-1]:
            raise _Enough

    hooks = [norm.register_forward_pre_hook(look) for norm in batch_norms(network).values()]
    for some in images.split(_BATCH):
        with torch.inference_mode(), suppress(_Enough):
            network.forward_features(some)
    for hook in hooks:
        hook.remove()
    found = [_of_norm(norm, torch.cat(parts, dim=1)) for norm, parts in seen.items()]
    return [layer for layer in found if len(layer.mean)]


def _of_norm(norm: nn.BatchNorm2d, moments: Tensor) -> Arriving:
    alive = ~_still(norm)
    stored = (norm.running_mean[alive], norm.running_var[alive], *moments[:, :, alive])
    return Arriving(*(tensor.double().cpu().numpy() for tensor in stored))


def distances(found: list[Arriving], weights: np.ndarray) -> np.ndarray:
    """(R,) distances of the images from what is stored, each with other weights of the images.

    Args:
        weights: (R, n), how often each image counts; a row of ones is the distance of the images themselves.
    """
    shares = weights / weights.sum(axis=1, keepdims=True)
    return np.mean([_divergence(layer, shares) for layer in found], axis=0)


def _divergence(layer: Arriving, shares: np.ndarray) -> np.ndarray:
    mean = shares @ layer.first
    variance = np.maximum(shares @ layer.second - mean**2, 0) + _FLOOR * layer.variance
    stored = (1 + _FLOOR) * layer.variance
    return ((np.log(stored / variance) + (variance + (mean - layer.mean) ** 2) / stored - 1) / 2).mean(axis=1)


def reference_vector(weights: Weights) -> tuple[int, np.ndarray]:
    """Side (px) of `reference_image` and the features (C,) that a network says of it, float32, on the processor.

    The picture is prepared as the weights' own preprocessing says, and pooled as timm does.
    """
    size, network = usual_size(weights.backbone), weights.build().cpu().eval()
    picture = torch.from_numpy(reference_image(size)).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        last = network.forward_features(weights.preprocessing(picture))
        return size, network.forward_head(last, pre_logits=True)[0].numpy()
