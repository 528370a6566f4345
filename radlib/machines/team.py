"""Several processes that train one network: each takes its share of every batch, all keep the same weights.

A batch is drawn, augmented and counted as one process would; then each takes its part of it, gradients are
summed over the parts, and batch norms see the whole batch (Ioffe & Szegedy 2015, arXiv 1502.03167, with mean
and variance summed over processes). So the result is that of one process but for the order of summation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

from radlib import compute


@dataclass(frozen=True)
class Team:
    """Who takes part: `rank` of `size` processes. With more than one, `torch.distributed` must be up."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes files."""
        return self.rank == 0

    def network(self, model: nn.Module) -> nn.Module:
        """What training calls instead of `model`, whose parameters it shares and keeps equal everywhere."""
        if self.size == 1:
            return model
        if compute.device().type == "cuda":
            model = convert_sync_batchnorm(model)
        else:
            _join_batch_norms(model)
        return DistributedDataParallel(model, forward_sync_buffers=False)

    def share(self, count: int) -> np.ndarray:
        """This process' places, int (about count / size,), among `count` of a batch."""
        return np.array_split(np.arange(count), self.size)[self.rank]

    def weight(self, count: int) -> float:
        """Factor for the mean loss of a share, so that the mean over processes is that of all `count`."""
        return len(self.share(count)) * self.size / count

    def total(self, value: float) -> float:
        """The sum of every process' value."""
        return sum(self._exchanged(value))

    def deal(self, items: Sequence[Any]) -> Sequence[Any]:
        """This process' items: every `size`-th."""
        return items[self.rank :: self.size]

    def collect(self, dealt: Sequence[Any]) -> list[Any]:
        """What became of every process' dealt items, in the order of the undealt ones."""
        everyones = self._exchanged(dealt)
        collected = [None] * sum(map(len, everyones))
        for rank, items in enumerate(everyones):
            collected[rank :: self.size] = items
        return collected

    def _exchanged(self, mine: Any) -> list[Any]:
        everyones = [mine]
        if self.size > 1:
            everyones = [None] * self.size
            distributed.all_gather_object(everyones, mine)
        return everyones


ALONE = Team()


def _join_batch_norms(model: nn.Module) -> None:
    """On the processor, where PyTorch has no `SyncBatchNorm`."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = partial(_joint_forward, module, module.forward)


def _joint_forward(norm: nn.BatchNorm2d, alone, inputs: Tensor) -> Tensor:
    """float (B, C, H, W) of this process, normalised by mean and variance of every process' inputs."""
    if not norm.training:
        return alone(inputs)
    values = inputs.to(norm.weight.dtype)
    var, mean = torch.var_mean(values, (0, 2, 3), correction=0)
    number = mean.new_tensor([values.numel() / len(mean)])
    *summed, count = all_reduce(torch.cat([mean * number, number])).split([len(mean), 1])
    joint_mean = summed[0] / count
    joint_var = all_reduce((var + (mean - joint_mean) ** 2) * number) / count
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(joint_mean, norm.momentum)
        norm.running_var.lerp_(joint_var * count / (count - 1), norm.momentum)
    scale = norm.weight * torch.rsqrt(joint_var + norm.eps)
    shift = norm.bias - joint_mean * scale
    scaled = values * scale[:, None, None] + shift[:, None, None]
    outputs = scaled.to(inputs.dtype)
    return norm.act(norm.drop(outputs)) if isinstance(norm, BatchNormAct2d) else outputs
