"""Segmentation of one task: every U-Net of the grid, each stored as it finishes.

The loss is cross-entropy plus soft Dice loss. A pixel is lesion where its probability exceeds one half; Dice,
IoU and the 95 % Hausdorff distance are measured in the image's own pixels. A mask that the publisher left
empty says "no lesion here": predicting none counts 1 in Dice and IoU and 0 px in distance; predicting any
counts 0, and the diagonal of the image.

A U-Net may *collapse*: it draws nothing, or everything, whatever it is shown. `val_lost` is the share of the
validation images with a lesion on which its mask misses the lesion whole or fills the frame.
"""

from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from segmentation_models_pytorch.losses import BINARY_MODE, DiceLoss
from torch import Tensor, nn
from torch.nn import functional

from radlib import compute
from radlib.data.images import open_packed
from radlib.data.parts import check_masks
from radlib.networks.localise import baselines, resized
from radlib.networks.segmenters import FrozenSegmenter, Pictures, WholeSegmenter, encoded, pictures_of
from radlib.stats.dice import dices, mask_figures
from radlib.store import write_table
from radlib.study import Run, Study
from radlib.training.grid import Finished, RunGroup, carry_out

WHOLE = 0.95  # share of the frame beyond which a mask fills it


def segment(study: Study, task: str, save: bool = False) -> Finished:
    """Train every U-Net of a task that the store does not hold yet, and gather the tables.

    Returns:
        predictions with `MASK_FIGURES` and the mask in the image's own pixels, as bits; and, without a
        mask, what the guesses of `baselines` have.
    Raises:
        UserError: data or weights are missing or damaged, the task has no masks, or a part of a fold none.
    """
    packed, runs = open_packed(study.dataset_dir(task)), study.segmentation_runs_of(task)
    check_masks(packed.manifest, task)
    done = carry_out(study, task, runs, SegmentGroup, f"segment {task}")
    guessed = baselines(packed, sorted(done.runs["fold"].unique()), drawn=True)
    done = replace(done, predictions=pd.concat([done.predictions, guessed], ignore_index=True))
    if save:
        write_table(done.runs, study.result_dir(task) / "segmentation_runs.parquet")
        write_table(done.predictions, study.result_dir(task) / "segmentation.parquet")
    return done


class SegmentGroup(RunGroup):
    """They share weights and what a frozen encoder says."""

    section, folder = "segment", "segmentation"
    stored = ("frozen",)
    passes = {"frozen": 1.5, "all": 5.0}
    diverged = {"val_dice": 0.0, "val_lost": 1.0}

    @cached_property
    def size(self) -> int:
        return self.options.size

    @cached_property
    def pictures(self) -> Pictures:
        """Made when the first missing run asks, for every mask is unpacked and made smaller."""
        return pictures_of(self.packed, self.size)

    @cached_property
    def encoded(self) -> list:
        store, views = self.study.store_dir, self.options.views
        return encoded(self.pictures, self.weights, self.kind, views, store, self.advance)

    def parts(self, run: Run) -> list[np.ndarray]:
        """Rows that have a mask."""
        return [np.intersect1d(part, self.pictures.rows) for part in super().parts(run)]

    def share(self, run: Run) -> None:
        _ = run.train == "frozen" and self.encoded

    def learner(self, run: Run, train: np.ndarray) -> nn.Module:
        decoder = self.options.decoder
        if run.train == "frozen":
            learner = FrozenSegmenter(self.pictures, self.encoded, decoder)
        else:
            learner = WholeSegmenter(self.pictures, self.weights, self.kind, decoder)
        return learner.to(compute.device(), memory_format=torch.channels_last)

    def answer(self, learner, rows, epoch, generator) -> tuple[Tensor, Tensor]:
        return learner(rows, epoch, generator)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy (nats a pixel) plus soft Dice over the batch (Milletari et al. 2016, 1606.04797)."""
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, targets)
        return cross_entropy + DiceLoss(BINARY_MODE)(logits[:, None], targets[:, None])

    def figures(self, logits: Tensor, targets: Tensor, rows: np.ndarray) -> dict[str, float]:
        drawn, lesions = (logits > 0).numpy(), targets.bool().numpy()
        found = dices(drawn, lesions)
        lost = (found == 0) | (drawn.mean(axis=(1, 2)) > WHOLE)
        lost = lost[lesions.any(axis=(1, 2))]
        return {"val_dice": float(found.mean()), "val_lost": float(lost.mean()) if lost.size else 0.0}

    def test(self, learner, validation: np.ndarray, test: np.ndarray) -> tuple[dict, pd.DataFrame]:
        logits, _ = self.answers(learner, test)
        finite, logits = bool(torch.isfinite(logits).all()), torch.nan_to_num(logits).numpy()
        rows = []
        for logit, row in zip(logits, test, strict=True):
            mask = self.packed.masks[row]
            drawn = resized(logit, mask.shape, self.packed.resize) > 0
            figures = mask_figures(drawn, mask)
            rows.append({**figures, "resize": self.packed.resize, "mask": np.packbits(drawn).tobytes()})
        table = pd.DataFrame(rows)
        dice = float(table["dice"].mean())
        return {"finite": finite, "resize": self.packed.resize, "test_dice": dice}, table
