"""A backbone with a new head under one of four regimes: `frozen`, `top10`, `top`, `all`.

They differ in where the backbone's last output comes from: stored, recomputed from a stored map through the
last layers, or from the image through the whole network. Everything behind that is the same: timm's pooling,
features scaled by a fixed affine map, dropout, one linear unit.
"""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from radlib import compute
from radlib.data import batches
from radlib.data.images import Packed
from radlib.networks import backbones
from radlib.networks.features import Features, view_of
from radlib.networks.weights import Weights


class Head(nn.Module):
    """Fixed scaling, dropout, and one linear unit: pooled features (B, C) -> logits (B,).

    units: one of each class where there are more than two; then logits are (B, units).
    """

    def __init__(self, center: Tensor, scale: Tensor, dropout: float, units: int = 1):
        super().__init__()
        self.register_buffer("center", center)
        self.register_buffer("scale", scale)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(len(center), units)

    def forward(self, pooled: Tensor) -> Tensor:
        # In full precision: a bfloat16 logit has 8 bits, and its ties would be counted in the AUC.
        with torch.autocast(pooled.device.type, enabled=False):
            scaled = (pooled.float() - self.center) / self.scale
            return self.linear(self.dropout(scaled)).squeeze(1)


def feature_scale(pooled: Tensor, train: np.ndarray, standardise: bool) -> tuple[Tensor, Tensor]:
    """Mean and SD of every feature (n, C) over the rows `train`; (0, 1) where `standardise` is off.

    A learning rate means different things for features of different size, so without scaling a comparison
    of sources at one rate compares their units. A feature's SD counts as at least a tenth of the average,
    lest one that hardly ever fires is blown up when it trains.
    """
    if not standardise:
        return torch.zeros(pooled.shape[1]), torch.ones(pooled.shape[1])
    pooled = pooled[train]
    std = pooled.std(0)
    return pooled.mean(0), std.clamp_min(max(0.1 * float(std.mean()), 1e-8))


class Learner(nn.Module):
    """What gives logits for rows of some images, or of what is stored of them.

    partly: whether of the backbone only the last layers train.
    """

    partly = False

    def __init__(self, packed: Packed | None, features: Features | None):
        super().__init__()
        self.packed, self.features = packed, features

    def shown(self, packed: Packed, features: Features) -> "Learner":
        """The same network before other images."""
        other = copy.copy(self)
        other.packed, other.features = packed, features
        return other

    def train(self, mode: bool = True) -> "Learner":
        super().train(mode)
        if self.partly:
            backbones.set_training(self.backbone, mode)
        return self


class FrozenLearner(Learner):
    """Only the head trains, on stored features."""

    def __init__(self, features: Features, head: Head, weights: Weights):
        super().__init__(None, features)
        self.head, self.weights = head, weights

    def forward(self, rows: np.ndarray, epoch: int | None, generator: torch.Generator | None) -> Tensor:
        """Logits of rows; `epoch` chooses the stored view or the augmentation, None is the image itself."""
        return self.head(view_of(self.features.pooled, epoch)[rows].to(compute.device()))

    @property
    def backbone(self) -> nn.Module:
        """No part of what trains."""
        return self.weights.network

    def last(self, rows: np.ndarray) -> Tensor:
        """The backbone's last output of the images themselves; here only of images with a lesion mask."""
        return self.features.last_of(rows).to(compute.device())


class TopLearner(Learner):
    """The backbone's last layers and the head train, on stored feature maps."""

    partly = True

    def __init__(self, features: Features, weights: Weights, backbone: nn.Module, head: Head):
        super().__init__(None, features)
        self.head, self.backbone = head, backbone
        backbones.unfreeze(backbone, weights.backbone, "top10")
        self.top = backbones.top_of(weights.backbone)

    def forward(self, rows: np.ndarray, epoch: int | None, generator: torch.Generator | None) -> Tensor:
        return self.head(backbones.pooled(self.backbone, self.last(rows, epoch)))

    def last(self, rows: np.ndarray, epoch: int | None = None) -> Tensor:
        stored = view_of(self.features.boundary, epoch)[rows].to(compute.device()).float()
        return self.top.forward(self.backbone, stored.contiguous(memory_format=torch.channels_last))


class WholeLearner(Learner):
    """Images pass the whole network, augmented afresh in every epoch.

    partly: only the last stage trains; what lies before stays as it is.
    """

    def __init__(
        self,
        packed: Packed,
        weights: Weights,
        backbone: nn.Module,
        size: int,
        kind: str,
        head: Head,
        partly: bool = False,
    ):
        super().__init__(packed, None)
        self.size, self.kind, self.head, self.partly = size, kind, head, partly
        self.preprocessing, self.backbone = weights.preprocessing, backbone
        if partly:
            backbones.unfreeze(backbone, weights.backbone, "top")

    def forward(self, rows: np.ndarray, epoch: int | None, generator: torch.Generator | None) -> Tensor:
        moves = None if epoch is None else batches.draw_augmentation(len(rows), self.kind, generator)
        return self.head(backbones.pooled(self.backbone, self.last(rows, moves)))

    def last(self, rows: np.ndarray, moves: Tensor | None = None) -> Tensor:
        batch = batches.augment(batches.gather(self.packed.images, rows, self.size), moves)
        return self.backbone.forward_features(self.preprocessing(batch))
