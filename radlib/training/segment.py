"""Segmentation of one task: every U-Net of the grid, each stored as it finishes.

The loss is cross-entropy plus soft Dice loss. A pixel is lesion where its probability exceeds one half; Dice,
IoU and the 95 % Hausdorff distance are measured in the image's own pixels. A mask that the publisher left
empty says "no lesion here": predicting none counts 1 in Dice and IoU and 0 px in distance; predicting any
counts 0, and the diagonal of the image.
"""

import math
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from segmentation_models_pytorch.losses import BINARY_MODE, DiceLoss
from torch import Tensor
from torch.nn import functional

from radlib import compute
from radlib.code import code_digest
from radlib.data import batches
from radlib.data.images import Packed, open_packed
from radlib.data.parts import check_masks
from radlib.machines.workers import Advance
from radlib.networks.features import count_views
from radlib.networks.localise import resized
from radlib.networks.segmenters import Encoded, FrozenSegmenter, WholeSegmenter, encoded, pictures_of
from radlib.networks.weights import Weights
from radlib.seeds import digest_of
from radlib.stats.dice import MASK_FIGURES, dices, mask_figures
from radlib.store import write_table
from radlib.study import Run, Study
from radlib.training.fitting import Fit, fit
from radlib.training.grid import Arm, carry_out

# What one image and epoch costs against a forward pass of the encoder; for the time left only.
COST = {"frozen": 1.5, "all": 5.0}


@dataclass(frozen=True)
class Segmented:
    """Tables of a task: one row per run, per run and test image (`MASK_FIGURES`, mask), per epoch."""

    runs: pd.DataFrame
    segmentation: pd.DataFrame
    history: pd.DataFrame
    computed: int
    reused: int


def segment(study: Study, task: str, save: bool = False) -> Segmented:
    """Train every U-Net of a task that the store does not hold yet, and gather the tables.

    Raises:
        UserError: data or weights are missing or damaged, the task has no masks, or a part of a fold none.
    """
    packed = open_packed(study.dataset_dir(task))
    check_masks(packed.manifest, task)
    done = carry_out(
        study, task, study.segmentation_runs_of(task), _Arm,
        lambda arm: _arm_cost(study, packed, arm), description=f"segment {task}",
    )  # fmt: skip
    if save:
        write_table(done.runs, study.result_dir(task) / "segmentation_runs.parquet")
        write_table(done.images, study.result_dir(task) / "segmentation.parquet")
    return Segmented(
        done.runs, done.images, done.history, done.computed, reused=len(done.runs) - done.computed
    )


class _Arm(Arm):
    """They share weights and what a frozen encoder says."""

    folder = "segmentation"

    def __init__(self, study: Study, task: str, packed: Packed, weights: Weights, advance: Advance):
        super().__init__(study, task, packed, weights, advance)
        self.options = study.segment
        self.pictures = pictures_of(packed, self.options.size)

    @cached_property
    def encoded(self) -> Encoded:
        return encoded(self.pictures, self.weights, self.kind, self.options.views, self.advance)

    def digest(self, run: Run) -> str:
        """Of all that determines a run's result."""
        options = self.options
        return digest_of(
            code_digest(__name__), self.study.seed, self.packed.digest, self.packed.resize,
            self.weights.digest, self.kind, run, options.size, options.epochs[run.train],
            options.batch_size, options.decoder, options.views, compute.precision(), compute.device().type,
        )  # fmt: skip

    def cost(self, run: Run) -> float:
        return _cost(self.study, self.packed, run)

    def compute(self, run: Run) -> tuple[dict, pd.DataFrame]:
        """Train, choose the epoch by validation loss, segment the test part once."""
        start = time.perf_counter()
        part = self.packed.manifest[f"part_{run.fold}"].to_numpy()[self.pictures.rows]
        train, validation, test = (self.pictures.rows[part == p] for p in ("train", "validation", "test"))
        # What is shared between runs is made first: making it must not draw from a run's random numbers.
        _ = run.train == "frozen" and self.encoded
        generator = self.start(run)
        learner = self._learner(run)
        found = self._fit(learner, run, train, validation, generator)
        predictions = self._predictions(run, learner, test)
        figures = {"resize": self.packed.resize, "test_dice": float(predictions["dice"].mean())}
        record = self.record(run, learner, found, len(train), start, **figures)
        return record, predictions

    def _learner(self, run: Run) -> FrozenSegmenter | WholeSegmenter:
        decoder = self.options.decoder
        if run.train == "frozen":
            learner = FrozenSegmenter(self.pictures, self.encoded, decoder)
        else:
            learner = WholeSegmenter(self.pictures, self.weights, self.kind, decoder)
        return learner.to(compute.device(), memory_format=torch.channels_last)

    def _fit(self, learner, run: Run, train: np.ndarray, validation: np.ndarray, generator) -> Fit:
        options = self.options
        step = self.cost(run) / options.epochs[run.train]

        def loss_of(rows, epoch, generator):
            with compute.autocast():
                logits, targets = learner(rows, epoch, generator)
            return _loss(logits, targets)

        return fit(
            learner, train, loss_of, lambda: self._validate(learner, validation), {"val_dice": 0.0}, run.lr,
            options.epochs[run.train], options.batch_size, generator, lambda part: self.advance(part * step),
        )  # fmt: skip

    def _validate(self, learner, rows: np.ndarray) -> dict[str, float]:
        logits, targets = _logits(learner, rows, 2 * self.options.batch_size)
        if not torch.isfinite(logits).all():
            return {"val_loss": math.inf, "val_dice": 0.0}
        found = dices((logits > 0).numpy(), targets.bool().numpy())
        return {"val_loss": float(_loss(logits, targets)), "val_dice": float(found.mean())}

    def _predictions(self, run: Run, learner, rows: np.ndarray) -> pd.DataFrame:
        """Per test image: `MASK_FIGURES`, and the predicted mask in the image's own pixels, as bits."""
        logits = torch.nan_to_num(_logits(learner, rows, 2 * self.options.batch_size)[0]).numpy()
        manifest = self.packed.manifest.iloc[rows]
        predicted = [
            resized(logit, (height, width), self.packed.resize) > 0
            for logit, height, width in zip(logits, manifest["height"], manifest["width"], strict=True)
        ]
        table = pd.DataFrame(
            [mask_figures(mask, self.packed.masks[row]) for mask, row in zip(predicted, rows, strict=True)],
            columns=MASK_FIGURES,
        )
        return pd.DataFrame(
            {
                "run": self.digest(run),
                "image_id": manifest["image_id"].to_numpy(),
                "patient_id": manifest["patient_id"].to_numpy(),
                "fold": run.fold,
                **table,
                "resize": self.packed.resize,
                "mask": [np.packbits(mask).tobytes() for mask in predicted],
            }
        )


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy (nats a pixel) plus soft Dice loss over the batch (Milletari et al. 2016, 1606.04797)."""
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, targets)
    return cross_entropy + DiceLoss(BINARY_MODE)(logits[:, None], targets[:, None])


def _logits(learner, rows: np.ndarray, batch_size: int) -> tuple[Tensor, Tensor]:
    learner.set_training(False)
    with compute.inference():
        pairs = [learner(some, None, None) for some in batches.in_order(rows, batch_size)]
    return tuple(torch.cat([pair[i].float().cpu() for pair in pairs]) for i in (0, 1))


def _cost(study: Study, packed: Packed, run: Run) -> float:
    return len(packed.manifest) * study.segment.epochs[run.train] * COST[run.train]


def _arm_cost(study: Study, packed: Packed, runs: list[Run]) -> float:
    views = count_views(study.tasks[runs[0].task].augment, study.segment.views)
    encoding = views * len(packed.manifest) if any(run.train == "frozen" for run in runs) else 0
    return encoding + sum(_cost(study, packed, run) for run in runs)
