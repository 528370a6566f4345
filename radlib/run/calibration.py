"""How long an image takes here, step by step: real training steps on noise, at the study's sizes.

Each backbone is measured in a process of its own with one thread, as the study trains: on a processor
several at a time, so that they share the memory's speed as they will then. There the time is the process'
own, which does not grow when other programs take turns on its core; on a graphics card it is the clock's.
"""

import time
from collections.abc import Callable, Iterable
from operator import attrgetter

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from radlib import compute
from radlib.data.images import Packed
from radlib.machines.workers import Advance, work
from radlib.networks.features import Features
from radlib.networks.learners import FrozenLearner, Head, TopLearner, WholeLearner
from radlib.networks.segmenters import FrozenSegmenter, Pictures, WholeSegmenter
from radlib.networks.weights import Weights, load_weights
from radlib.run.costs import Step, encoder_maps, sizes_of
from radlib.study import Study
from radlib.study.common import RANDOM
from radlib.training.grid import grouped

SPAN = 1.0  # seconds for which a step is repeated
# On a processor a batch of many large images would take minutes, and makes none of them cheaper; of small
# images it does, because updating the weights costs the same for any number.
LARGEST = 8 * 224**2  # pixels of a batch there


def calibrate(study: Study, steps: Iterable[Step]) -> dict[Step, float]:
    """Seconds that one device (a graphics card, or one core of a processor) needs for an image."""
    pieces = [(study, group) for group in grouped(steps, attrgetter("backbone"))]
    total = sum(len(group) for _, group in pieces)
    found = work(_measured, pieces, study.compute.workers, total, "calibration", unit="step")
    return {step: seconds for some in found for step, seconds in some.items()}


def _measured(piece: tuple[Study, list[Step]], advance: Advance) -> dict[Step, float]:
    study, steps = piece
    weights = load_weights(study, RANDOM, steps[0].backbone)
    found = {}
    for step in steps:
        count = _batch_size(study, step)
        learner = _learner(study, step, weights, count).to(compute.device())
        learner.train(step.train)
        pass_once = _training_step(learner, count) if step.train else _scoring(learner, count)
        found[step] = _seconds(pass_once) / count
        advance(1)
    return found


def _batch_size(study: Study, step: Step) -> int:
    wanted = study.segment.batch_size if step.net.startswith("unet") else study.transfer.batch_size
    if compute.device().type == "cuda" or step.net == "frozen":
        return wanted
    return min(wanted, max(LARGEST // step.size**2, 8))


def _learner(study: Study, step: Step, weights: Weights, count: int) -> nn.Module:
    """What a run trains, on `count` images of noise."""
    sizes = sizes_of(step.backbone, step.size)
    head = Head(torch.zeros(sizes.width), torch.ones(sizes.width), study.transfer.dropout)
    noise = np.random.default_rng(0).integers(0, 256, (count, step.size, step.size, 1), dtype=np.uint8)
    packed = Packed(noise, None, pd.DataFrame(), {"digest": "noise"})
    pictures = Pictures(packed, np.arange(count), torch.rand(count, step.size, step.size) < 0.5, step.size)
    if step.net in ("whole", "top"):
        return WholeLearner(packed, weights, weights.build(), step.size, "full", head, step.net == "top")
    if step.net == "unet_all":
        return WholeSegmenter(pictures, weights, "full", study.segment.decoder)
    if step.net == "unet_frozen":
        shapes = encoder_maps(step.backbone, step.size)
        maps = [torch.rand(count, *shape).bfloat16() for shape in shapes]
        return FrozenSegmenter(pictures, [(maps, pictures.targets)], study.segment.decoder)
    pooled = torch.rand(1, count, sizes.width)
    if step.net == "frozen":
        return FrozenLearner(Features(pooled, None), head, weights)
    boundary = torch.rand(1, count, *sizes.boundary).bfloat16()
    return TopLearner(Features(pooled, boundary), weights, weights.build(), head)


def _training_step(learner: nn.Module, count: int) -> Callable[[], None]:
    rows, generator = np.arange(count), torch.Generator().manual_seed(0)
    trained = [p for p in learner.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-3, fused=True)

    def step() -> None:
        with compute.autocast():
            logits = _logits(learner(rows, 0, generator))
        loss = functional.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        float(loss.detach())  # a graphics card has then finished

    return step


def _scoring(learner: nn.Module, count: int) -> Callable[[], None]:
    def step() -> None:
        with compute.inference():
            _logits(learner(np.arange(count), None, None)).cpu()

    return step


def _logits(said: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """A segmenter gives its targets too."""
    return (said if isinstance(said, Tensor) else said[0]).float()


def _seconds(step: Callable[[], None]) -> float:
    """Median of repeated steps, after one that prepares what all others use."""
    clock = time.perf_counter if compute.device().type == "cuda" else time.process_time
    step()
    taken: list[float] = []
    while sum(taken) < SPAN:
        start = clock()
        step()
        taken.append(clock() - start)
    return float(np.median(taken))
