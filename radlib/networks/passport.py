"""What weights themselves say of how they were trained. (03_passport)

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

Images of another kind than those of the training are off whatever their preprocessing, by as much as the
nearest candidate still is. So a candidate is ruled out only where it is more than `MARGIN` times as far, with
all of the interval: a smaller difference may come from the images (`benchmarks/passport.py` measures it).
"""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from radlib.errors import UserError
from radlib.networks.cards import still
from radlib.networks.weights import Preprocessing
from radlib.stats.estimate import Estimate

LAYERS = 3  # batch norms, in the order in which they compute
MARGIN = 2
FEWEST = 8  # images, for an interval
FLOOR = 1e-3  # of the stored variance: a channel that is still on the given images would be infinitely far
_BATCH = 16
TOLD, ORDER, UNTOLD = "told", "order", "not told"
AS_STATED, OF_IMAGES = "as the study has it", "mean and SD of these images"
CAFFE = (123.68 / 255, 116.779 / 255, 103.939 / 255)  # means of red, green, blue
SCALINGS = {
    "0 to 1": Preprocessing((0.0,) * 3, (1.0,) * 3),
    "−1 to 1": Preprocessing((0.5,) * 3, (0.5,) * 3),
    "Caffe (0 to 255, less means)": Preprocessing(CAFFE, (1 / 255,) * 3),
    "Caffe / 255": Preprocessing(CAFFE, (1.0,) * 3),
    "ImageNet's mean and SD": Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


# Distance -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Arriving:
    """What given images bring to a batch norm, beside what it has stored, without channels that are still.

    mean, variance: float64 (C,), stored; first, second: float64 (n, C), mean and mean square over places of
    every image.
    """

    mean: np.ndarray
    variance: np.ndarray
    first: np.ndarray
    second: np.ndarray


class _Enough(Exception):
    """The first batch norms have been reached, and nothing behind them is asked for."""


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Those with stored statistics, in the order in which they are declared."""
    norms = (module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    return [norm for norm in norms if norm.running_mean is not None]


def arriving(network: nn.Module, images: Tensor, layers: int = LAYERS) -> list[Arriving]:
    """What prepared images (n, 3, H, W) bring to the first batch norms of a network in evaluation.

    All before a batch norm runs on stored statistics; nothing behind the last is computed.
    """
    seen: dict[nn.Module, list[Tensor]] = {}

    def look(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        maps = inputs[0]
        seen.setdefault(norm, []).append(torch.stack([maps.mean((2, 3)), maps.square().mean((2, 3))]))
        if len(seen) == layers and norm is list(seen)[-1]:
            raise _Enough

    hooks = [norm.register_forward_pre_hook(look) for norm in batch_norms(network)]
    for some in images.split(_BATCH):
        with torch.inference_mode(), suppress(_Enough):
            network.forward_features(some)
    for hook in hooks:
        hook.remove()
    found = []
    for norm, parts in seen.items():
        moving = ~still(norm.running_var)
        tensors = (*_stored(norm), *torch.cat(parts, dim=1))
        found.append(Arriving(*(tensor[..., moving].double().cpu().numpy() for tensor in tensors)))
    return found


def _stored(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and variance without what few batches leave in them of their start, 0 and 1 (as in Adam,
    Kingma & Ba 2014, arXiv 1412.6980, section 3); a file that does not say how many had enough of them.
    """
    batches = int(norm.num_batches_tracked or 0)
    left = (1 - norm.momentum) ** batches if batches and norm.momentum else 0.0
    mean, variance = norm.running_mean / (1 - left), (norm.running_var - left) / (1 - left)
    return mean, variance.clamp_min(1e-3 * norm.running_var.median())


def distances(found: list[Arriving], weights: np.ndarray) -> np.ndarray:
    """(R,) distances of the images from what is stored, each with other weights of the images.

    Args:
        weights: (R, n), how often each image counts; a row of ones is the distance of the images themselves.
    """
    shares = weights / weights.sum(axis=1, keepdims=True)
    return np.mean([_divergence(layer, shares) for layer in found], axis=0)


def _divergence(layer: Arriving, shares: np.ndarray) -> np.ndarray:
    mean, stored = shares @ layer.first, (1 + FLOOR) * layer.variance
    variance = np.maximum(shares @ layer.second - mean**2, 0) + FLOOR * layer.variance
    return ((np.log(stored / variance) + (variance + (mean - layer.mean) ** 2) / stored - 1) / 2).mean(axis=1)


# Candidates -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Candidate:
    """One way to prepare images; `names`: every (scaling, order of channels) that comes to the same."""

    names: tuple[tuple[str, str], ...]
    preprocessing: Preprocessing

    @property
    def title(self) -> str:
        """`−1 to 1, RGB or BGR`."""
        orders: dict[str, list[str]] = {}
        for scaling, channels in self.names:
            orders.setdefault(scaling, []).append(channels)
        said = [f"{s}, {' or '.join(found)}" for s, found in orders.items() if s != AS_STATED]
        return " = ".join(said) or ", ".join(self.names[0])

    @property
    def stated(self) -> bool:
        """Whether it is what the study shows these weights."""
        return self.names[0][0] == AS_STATED


def candidates(images: Tensor, stated: Preprocessing, own: Preprocessing) -> list[Candidate]:
    """RGB and BGR by every scaling, those that prepare these images alike taken together.

    Args:
        images: float32 (n, 1 or 3, H, W) in 0..1, RGB.
        stated: of the study; own: mean and SD of the data set that the images are of.
    """
    ways = {(AS_STATED, stated.channels): stated}
    for scaling, way in {**SCALINGS, OF_IMAGES: own}.items():
        ways[scaling, "RGB"] = way
        ways[scaling, "BGR"] = Preprocessing(way.mean[::-1], way.std[::-1], "BGR")
    groups: list[tuple[list, Preprocessing, Tensor]] = []
    for name, way in ways.items():
        shown = way(images[:_BATCH])
        # The same but for a thousandth of the range from black to white.
        alike = (
            names for names, other, seen in groups if (shown - seen).abs().max() <= 1e-3 / min(other.std)
        )
        names = next(alike, None)
        if names is None:
            groups.append(([name], way, shown))
        else:
            names.append(name)
    return [Candidate(tuple(names), way) for names, way, _ in groups]


@dataclass(frozen=True)
class Matched:
    """Candidates on the images of one data set, nearest first; `found`: logarithms of their distances."""

    candidates: list[Candidate]
    found: list[Estimate]

    @property
    def times(self) -> list[Estimate]:
        """How far beyond the nearest, as logarithms, on the same resampled images."""
        return [one - self.found[0] for one in self.found]

    def fitting(self, confidence: float, margin: float = MARGIN) -> list[Candidate]:
        """The nearest, and all that are not shown to be more than `margin` times as far."""
        limit = np.log(margin)
        lows = [one.interval(confidence)[0] for one in self.times]
        return [one for i, one in enumerate(self.candidates) if i == 0 or lows[i] <= limit]


def verdict_of(fitting: list[Candidate]) -> str:
    """`TOLD` where one candidate is left, `ORDER` where all that are left share a scaling."""
    if len(fitting) == 1:
        return TOLD
    shared = set.intersection(*({scaling for scaling, _ in one.names} for one in fitting))
    return ORDER if shared - {AS_STATED} else UNTOLD


def match(network: nn.Module, images: Tensor, ways: list[Candidate], resamples: int, seed: int) -> Matched:
    """Distance of every candidate with its bootstrap over images, the same resamples for all.

    A distance is quadratic, so resampling adds to it what sampling had added already: replicates are moved by
    the mean of what they add (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 10).

    Args:
        network: in evaluation; images: float32 (n, 1 or 3, H, W), each of another patient.
    Raises:
        UserError: fewer images than an interval needs, or a network without batch norm.
    """
    count = len(images)
    if count < FEWEST:
        raise UserError(
            f"{count} images of different patients are too few to compare preprocessings; {FEWEST} are the "
            "least, so name another data set"
        )
    if not batch_norms(network):
        raise UserError(
            "a network without batch norm stores nothing of the images that it was trained on; ask the "
            "publisher of its weights for their preprocessing"
        )
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    found = []
    for way in ways:
        layers = arriving(network, way.preprocessing(images))
        value = float(np.log(distances(layers, np.ones((1, count))))[0])
        replicates = np.log(distances(layers, drawn))
        found.append(Estimate(value, replicates - (replicates.mean() - value), count))
    order = sorted(range(len(ways)), key=lambda i: found[i].value)
    return Matched([ways[i] for i in order], [found[i] for i in order])
