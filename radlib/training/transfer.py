"""Transfer to one task: every run of the grid, each stored as it finishes."""

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from radlib import compute
from radlib.data.images import Packed, open_packed
from radlib.machines.workers import Advance
from radlib.networks.backbones import no_maps
from radlib.networks.features import NOTHING, Features, features_of
from radlib.networks.learners import (
    FrozenLearner,
    Head,
    StageLearner,
    TopLearner,
    WholeLearner,
    feature_scale,
)
from radlib.networks.localise import activation_maps, baselines, localise
from radlib.networks.weights import Weights
from radlib.stats.auc import auc, best_threshold
from radlib.stats.dice import MAP_FIGURES
from radlib.store import write_table
from radlib.study import Run, Study
from radlib.training.grid import Finished, RunGroup, carry_out

PREDICTION = ["run", "image_id", "patient_id", "fold", "label", "score"]
MAP = ["map_height", "map_width", "map"]
KEPT_LOGIT, LARGEST_LOGIT = 15.0, 25.0


@dataclass(frozen=True)
class Transferred(Finished):
    """localisation: per run (and baseline) and test image with a lesion mask; no rows without masks."""

    localisation: pd.DataFrame


def transfer(study: Study, task: str, save: bool = False) -> Transferred:
    """Train every run of a task that the store does not hold yet, and gather the tables.

    Raises: UserError where data or weights are missing or damaged.
    """
    done = carry_out(study, task, study.runs_of(task), TransferGroup, f"transfer to {task}")
    localisation = _localisation(open_packed(study.dataset_dir(task)), done)
    result = Transferred(done.runs, done.history, done.predictions[PREDICTION], done.computed, localisation)
    if save:
        for name in ("runs", "predictions", "history", "localisation"):
            write_table(getattr(result, name), study.result_dir(task) / f"{name}.parquet")
    return result


def _localisation(packed: Packed, done: Finished) -> pd.DataFrame:
    columns = ["run", "image_id", "patient_id", "fold", *MAP_FIGURES, "threshold", *MAP]
    if "threshold" not in done.runs:
        return pd.DataFrame(columns=columns)
    found = done.predictions.dropna(subset="dice").merge(done.runs[["run", "threshold"]], on="run")
    guessed = baselines(packed, sorted(done.runs["fold"].unique()))
    about = packed.manifest[["image_id", "patient_id"]].iloc[guessed["row"]].reset_index(drop=True)
    return pd.concat([found, guessed.join(about)], ignore_index=True)[columns]


class TransferGroup(RunGroup):
    """They share weights and features. localises: whether maps are compared with lesion masks."""

    section, folder = "transfer", "runs"
    stored = ("frozen", "top10", "top", "all")
    passes = {"frozen": 0.003, "top10": 0.15, "top": 1.8, "all": 3.5}
    diverged = {"val_auc": 0.5}
    localises = True

    def __init__(self, study: Study, task: str, packed: Packed, weights: Weights, advance: Advance):
        super().__init__(study, task, packed, weights, advance)
        self.size = study.input_size(task, weights.backbone)
        shows = packed.masks and not no_maps(weights.backbone)
        self.masked = np.flatnonzero(packed.manifest["has_mask"]) if shows else NOTHING

    @cached_property
    def features(self) -> Features:
        """Made when the first missing run asks, so that a finished task touches no network."""
        same = (self.weights.source, self.weights.backbone)
        group = [run for run in self.study.runs_of(self.task) if (run.source, run.backbone) == same]
        return features_of(
            self.packed,
            self.weights,
            self.size,
            self.kind,
            self.options.views,
            boundary=any(run.train == "top10" for run in group),
            store=self.study.store_dir,
            advance=self.advance,
            mapped=self.masked,
        )

    @cached_property
    def labels(self) -> Tensor:
        """float32 (n,), on the device."""
        labels = self.packed.manifest["label"].to_numpy(dtype=np.float32, copy=True)
        return torch.from_numpy(labels).to(compute.device())

    def share(self, run: Run) -> None:
        _ = self.features, (run.train == "frozen" or self.weights.network)

    def learner(self, run: Run, train: np.ndarray) -> nn.Module:
        center, scale = feature_scale(self.features.pooled[0], train, self.options.standardise)
        head = Head(center, scale, self.options.dropout).to(compute.device())
        if run.train == "frozen":
            return FrozenLearner(self.features, head, self.weights)
        network = copy.deepcopy(self.weights.network)
        if run.train == "top10":
            return TopLearner(self.features, self.weights, network, head)
        learner = StageLearner if run.train == "top" else WholeLearner
        return learner(self.packed, self.weights, network, self.size, self.kind, head)

    def answer(self, learner, rows, epoch, generator) -> tuple[Tensor, Tensor]:
        return learner(rows, epoch, generator), self.labels[rows]

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(logits, targets)

    def figures(self, logits: Tensor, targets: Tensor) -> dict[str, float]:
        return {"val_auc": auc(logits.numpy(), targets.numpy())}

    def test(self, learner, validation: np.ndarray, test: np.ndarray) -> tuple[dict, pd.DataFrame]:
        logits, targets = self.answers(learner, np.concatenate([validation, test]))
        # Both parts are scaled alike, so that the threshold is one of the test scores too.
        chosen, scores = np.split(probabilities(logits), [len(validation)])
        true, labels = np.split(targets.numpy(), [len(validation)])
        labels = labels.astype(int)
        figures = {"val_threshold": best_threshold(chosen, true), "test_auc": auc(scores, labels)}
        table = pd.DataFrame({"label": labels, "score": scores})
        if self.localises and len(self.masked):
            figures["threshold"], located = self._localise(learner, validation, test)
            table = table.join(located)
        return figures, table

    def _localise(self, learner, validation: np.ndarray, test: np.ndarray) -> tuple[float, pd.DataFrame]:
        """The threshold, and per test image the figures and the map; rows without a mask are left out."""
        parts = [np.intersect1d(part, self.masked) for part in (validation, test)]
        maps = [activation_maps(learner, part, 2 * self.options.batch_size) for part in parts]
        threshold, figures = localise(self.packed, parts[0], maps[0], parts[1], maps[1])
        figures["map_height"], figures["map_width"] = maps[1].shape[1:]
        figures["map"] = [map.astype(np.float16).tobytes() for map in maps[1]]
        return threshold, figures.set_index(np.flatnonzero(np.isin(test, parts[1])))


def probabilities(logits: Tensor) -> np.ndarray:
    """Of the positive class, float64 (n,); 0.5 for all where the network gives no number.

    Logits far out would become exactly 0 or 1, and these ties would enter the AUC. So where any lies beyond
    `LARGEST_LOGIT`, all beyond `KEPT_LOGIT` (a probability of one in three million) are drawn in alike, which
    keeps their order and leaves every other score what the network says.
    """
    if not torch.isfinite(logits).all():
        return np.full(len(logits), 0.5)
    logits = logits.double()
    size = logits.abs()
    factor = (LARGEST_LOGIT - KEPT_LOGIT) / (max(float(size.max()), LARGEST_LOGIT) - KEPT_LOGIT)
    drawn_in = logits.sign() * (KEPT_LOGIT + factor * (size - KEPT_LOGIT))
    return torch.sigmoid(torch.where(size > KEPT_LOGIT, drawn_in, logits)).numpy()
