"""The training loop of transfer and segmentation: Adam, a constant rate, the best epoch by validation."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from radlib.data import batches
from radlib.machines.workers import Advance

Loss = Callable[[np.ndarray, int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Fit:
    """The kept epoch (from 1; 0 where training diverged), its validation figures, and all epochs."""

    best_epoch: int
    validation: dict[str, float]
    history: list[dict[str, float]]


def fit(
    learner: nn.Module,
    train: np.ndarray,
    loss_of: Loss,
    validate: Callable[[], dict[str, float]],
    diverged: dict[str, float],
    lr: float,
    epochs: int,
    batch_size: int,
    generator: torch.Generator,
    advance: Advance,
) -> Fit:
    """Train `learner`; it ends with the weights of the epoch with the lowest validation loss (as published).

    Args:
        train: rows of the training part; they are shuffled by `generator` in every epoch.
        loss_of: (rows, epoch, generator) -> the loss of a batch.
        validate: figures of the validation part after an epoch, `val_loss` among them.
        diverged: the figures of a run whose validation loss is never finite; `best_epoch` is then 0.
        advance: told after every batch which part of an epoch it was.
    """
    trained = [p for p in learner.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=lr, fused=True)
    kept, best, history = None, Fit(0, {"val_loss": math.inf, **diverged}, []), []
    for epoch in range(epochs):
        learner.set_training(True)
        total = 0.0
        for rows in batches.shuffled(train, batch_size, generator):
            loss = loss_of(rows, epoch, generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach().double() * len(rows)
            advance(len(rows) / len(train))
        figures = validate()
        history.append({"epoch": epoch + 1, "train_loss": float(total) / len(train), **figures})
        if figures["val_loss"] < best.validation["val_loss"]:
            best = Fit(epoch + 1, figures, history)
            kept = _trained_state(learner)
    learner.load_state_dict(kept or {}, strict=False)
    return Fit(best.best_epoch, best.validation, history)


def _trained_state(learner: nn.Module) -> dict[str, Tensor]:
    """A copy of what training changes: trained parameters and batch-norm statistics."""
    names = {n for n, p in learner.named_parameters() if p.requires_grad}
    names |= {n for n, _ in learner.named_buffers() if "running" in n}
    return {k: copy.deepcopy(v) for k, v in learner.state_dict().items() if k in names}
