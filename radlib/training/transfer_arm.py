"""How one run of transfer is trained, and what it leaves: a threshold, test scores, where it looks."""

import copy
import math
import time
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from radlib import compute
from radlib.code import code_digest
from radlib.data import batches
from radlib.data.images import Packed
from radlib.data.splits import PARTS
from radlib.machines.workers import Advance
from radlib.networks.features import NOTHING, Features, count_views, features_of
from radlib.networks.learners import FrozenLearner, Head, TopLearner, WholeLearner, feature_scale
from radlib.networks.localise import activation_maps, localise
from radlib.networks.weights import Weights
from radlib.seeds import digest_of
from radlib.stats.auc import auc, best_threshold
from radlib.study import Run, Study
from radlib.training.fitting import Fit, fit
from radlib.training.grid import Arm

PREDICTION = ["run", "image_id", "patient_id", "fold", "label", "score"]
KEPT_LOGIT, LARGEST_LOGIT = 15.0, 25.0
# What one image and epoch costs against a forward pass of the whole network; for the time left only.
COST = {"frozen": 0.003, "top10": 0.15, "all": 3.5}


class TransferArm(Arm):
    """They share weights and features. localises: whether maps are compared with lesion masks."""

    folder = "runs"
    localises = True

    def __init__(self, study: Study, task: str, packed: Packed, weights: Weights, advance: Advance):
        super().__init__(study, task, packed, weights, advance)
        self.options = study.transfer
        self.size = study.input_size(task, weights.backbone)
        self.masked = np.flatnonzero(packed.manifest["has_mask"]) if packed.masks else NOTHING
        self.labels = torch.from_numpy(packed.manifest["label"].to_numpy(dtype=np.float32, copy=True))

    @cached_property
    def features(self) -> Features:
        """Made when the first missing run asks, so that a finished task touches no network."""
        same = (self.weights.source, self.weights.backbone)
        arm = [run for run in self.study.runs_of(self.task) if (run.source, run.backbone) == same]
        boundary = any(run.train == "top10" for run in arm)
        return features_of(
            self.packed, self.weights, self.size, self.kind, self.options.views, boundary,
            self.study.store_dir, self.advance, self.masked,
        )  # fmt: skip

    @cached_property
    def _network(self) -> torch.nn.Module:
        """Copied for every run: drawing fresh weights only to overwrite them takes longer."""
        return self.weights.build()

    @property
    def code(self) -> str:
        """The module whose code, with all that it imports, decides what a run gives."""
        return type(self).__module__

    def digest(self, run: Run) -> str:
        """Of all that determines a run's result."""
        options = self.options
        return digest_of(
            code_digest(self.code), self.study.seed, self.packed.digest, self.weights.digest,
            self.size, self.kind, run,
            options.epochs[run.train], options.batch_size, options.dropout, options.views,
            options.standardise, compute.precision(), compute.device().type,
        )  # fmt: skip

    def cost(self, run: Run) -> float:
        return _cost(self.study, self.packed, run)

    def compute(self, run: Run) -> tuple[dict, pd.DataFrame]:
        """Train, choose the epoch and the threshold by validation, score the test part once."""
        start = time.perf_counter()
        manifest = self.packed.manifest
        train, validation, test = self.parts(run)
        # What is shared between runs is made first: making it must not draw from a run's random numbers.
        _ = self.features, (run.train == "frozen" or self._network)
        generator = self.start(run)
        learner = self._learner(run, train)
        found = self._fit(learner, run, train, validation, generator)
        threshold, scores = _threshold_and_scores(
            learner, validation, test, self.labels, self.options.batch_size
        )
        labels = self.labels[test].numpy().astype(int)
        record = self.record(
            run, learner, found, len(train), start, val_threshold=threshold, test_auc=auc(scores, labels)
        )
        predictions = pd.DataFrame(
            {
                "run": record["run"],
                "image_id": manifest["image_id"].to_numpy()[test],
                "patient_id": manifest["patient_id"].to_numpy()[test],
                "fold": run.fold,
                "label": labels,
                "score": scores,
            }
        )
        if self.localises and len(self.masked):
            record["threshold"], figures = self._localise(learner, validation, test)
            predictions = predictions.join(figures)
        return record, predictions

    def parts(self, run: Run) -> list[np.ndarray]:
        """Rows of the manifest in which a run trains, validates and tests."""
        part = self.packed.manifest[f"part_{run.fold}"].to_numpy()
        return [np.flatnonzero(part == name) for name in PARTS]

    def _fit(self, learner, run: Run, train: np.ndarray, validation: np.ndarray, generator) -> Fit:
        options, targets = self.options, self.labels.to(compute.device())
        step = self.cost(run) / options.epochs[run.train]

        def loss_of(rows, epoch, generator):
            with compute.autocast():
                logits = learner(rows, epoch, generator)
            return functional.binary_cross_entropy_with_logits(logits.float(), targets[rows])

        return fit(
            learner, train, loss_of, lambda: _evaluate(learner, validation, self.labels, options.batch_size),
            {"val_auc": 0.5}, run.lr, options.epochs[run.train], options.batch_size, generator,
            lambda part: self.advance(part * step),
        )  # fmt: skip

    def _localise(self, learner, validation: np.ndarray, test: np.ndarray) -> tuple[float, pd.DataFrame]:
        """The threshold, and per test image the figures and the map; rows without a mask are left out."""
        parts = [np.intersect1d(part, self.masked) for part in (validation, test)]
        maps = [activation_maps(learner, part, 2 * self.options.batch_size) for part in parts]
        threshold, figures = localise(self.packed, parts[0], maps[0], parts[1], maps[1])
        figures["map_height"], figures["map_width"] = maps[1].shape[1:]
        figures["map"] = [map.astype(np.float16).tobytes() for map in maps[1]]
        return threshold, figures.set_index(np.flatnonzero(np.isin(test, parts[1])))

    def _learner(self, run: Run, train: np.ndarray):
        center, scale = feature_scale(self.features.pooled[0], train, self.options.standardise)
        head = Head(center, scale, self.options.dropout).to(compute.device())
        if run.train == "frozen":
            return FrozenLearner(self.features, head)
        if run.train == "top10":
            return TopLearner(self.features, self.weights, copy.deepcopy(self._network), head)
        return WholeLearner(
            self.packed, self.weights, copy.deepcopy(self._network), self.size, self.kind, head
        )


def _evaluate(learner, rows: np.ndarray, labels: torch.Tensor, batch_size: int) -> dict[str, float]:
    logits = _logits(learner, rows, batch_size)
    if not torch.isfinite(logits).all():
        return {"val_loss": math.inf, "val_auc": 0.5}
    loss = functional.binary_cross_entropy_with_logits(logits, labels[rows])
    return {"val_loss": float(loss), "val_auc": auc(logits.numpy(), labels[rows].numpy())}


def _threshold_and_scores(
    learner, validation: np.ndarray, test: np.ndarray, labels: torch.Tensor, batch_size: int
) -> tuple[float, np.ndarray]:
    """The threshold that validation chooses, and the test scores it is for: both parts are scaled alike."""
    scores = _scores(learner, np.concatenate([validation, test]), batch_size)
    chosen, tested = np.split(scores, [len(validation)])
    return best_threshold(chosen, labels[validation].numpy()), tested


def _scores(learner, rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Probabilities of the positive class, float64; 0.5 for all where the network gives no number.

    Logits far out would become exactly 0 or 1, and these ties would enter the AUC. So where any lies beyond
    `LARGEST_LOGIT`, all beyond `KEPT_LOGIT` (a probability of one in three million) are drawn in alike, which
    keeps their order and leaves every other score what the network says.
    """
    logits = _logits(learner, rows, batch_size).double()
    if not torch.isfinite(logits).all():
        return np.full(len(rows), 0.5)
    size = logits.abs()
    factor = (LARGEST_LOGIT - KEPT_LOGIT) / (max(float(size.max()), LARGEST_LOGIT) - KEPT_LOGIT)
    drawn_in = logits.sign() * (KEPT_LOGIT + factor * (size - KEPT_LOGIT))
    return torch.sigmoid(torch.where(size > KEPT_LOGIT, drawn_in, logits)).numpy()


def _logits(learner, rows: np.ndarray, batch_size: int) -> torch.Tensor:
    learner.set_training(False)
    with compute.inference():
        return torch.cat(
            [learner(r, None, None).float().cpu() for r in batches.in_order(rows, 2 * batch_size)]
        )


def _cost(study: Study, packed: Packed, run: Run) -> float:
    return len(packed.manifest) * study.transfer.epochs[run.train] * COST[run.train]


def arm_cost(study: Study, packed: Packed, runs: list[Run]) -> float:
    """What an arm's runs and features add to the progress bar."""
    views = count_views(study.tasks[runs[0].task].augment, study.transfer.views)
    return views * len(packed.manifest) + sum(_cost(study, packed, run) for run in runs)
