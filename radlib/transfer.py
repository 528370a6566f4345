"""Transfer to one task: every run of the grid, each stored as it finishes."""

import copy
import math
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from radlib import batches, compute
from radlib.features import NOTHING, Features, count_views, features_of
from radlib.fitting import Fit, fit
from radlib.grid import Arm, carry_out
from radlib.images import Packed, open_packed
from radlib.learners import FrozenLearner, Head, TopLearner, WholeLearner, feature_scale
from radlib.localise import FIGURES, activation_maps, baselines, localise
from radlib.runs import write_table
from radlib.seeds import digest_of, seed_of
from radlib.stats.auc import auc
from radlib.study import Run, Study
from radlib.weights import Weights
from radlib.workers import Advance

VERSION = 2
LOCALISED = 1  # version of what a run of a task with lesion masks holds besides
PREDICTION = ["run", "image_id", "patient_id", "fold", "label", "score"]
LARGEST_LOGIT = 30.0
# What one image and epoch costs against a forward pass of the whole network; for the time left only.
COST = {"frozen": 0.003, "top10": 0.15, "all": 3.5}


@dataclass(frozen=True)
class Transferred:
    """Tables of a task: one row per run, per run and test image, per run and epoch.

    localisation: per run (and baseline) and test image with a lesion mask; no rows for a task without masks.
    """

    runs: pd.DataFrame
    predictions: pd.DataFrame
    history: pd.DataFrame
    localisation: pd.DataFrame
    computed: int
    reused: int


def transfer(study: Study, task: str, save: bool = False) -> Transferred:
    """Train every run of a task that the store does not hold yet, and gather the tables.

    Raises:
        UserError: data or weights are missing or damaged; the sentence names them.
    """
    packed = open_packed(study.dataset_dir(task))
    done = carry_out(
        study, task, study.runs_of(task), TransferArm, lambda arm: arm_cost(study, packed, arm),
        description=f"transfer to {task}",
    )  # fmt: skip
    result = Transferred(
        runs=done.runs,
        predictions=done.images[PREDICTION],
        history=done.history,
        localisation=_localisation(packed, done.runs, done.images),
        computed=done.computed,
        reused=len(done.runs) - done.computed,
    )
    if save:
        folder = study.result_dir(task)
        for name in ("runs", "predictions", "history", "localisation"):
            write_table(getattr(result, name), folder / f"{name}.parquet")
    return result


class TransferArm(Arm):
    """They share weights and features."""

    folder = "runs"

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

    def digest(self, run: Run) -> str:
        """Of all that determines a run's result."""
        options = self.options
        return digest_of(
            VERSION, self.study.seed, self.packed.digest, self.weights.digest, self.size, self.kind, run,
            options.epochs[run.train], options.batch_size, options.dropout, options.views,
            options.standardise, compute.precision(), compute.device().type,
            *([LOCALISED] if len(self.masked) else []),
        )  # fmt: skip

    def cost(self, run: Run) -> float:
        return _cost(self.study, self.packed, run)

    def compute(self, run: Run) -> tuple[dict, pd.DataFrame]:
        """Train, choose the epoch by validation loss, score the test part once."""
        start = time.perf_counter()
        manifest = self.packed.manifest
        part = manifest[f"part_{run.fold}"].to_numpy()
        train, validation, test = (np.flatnonzero(part == p) for p in ("train", "validation", "test"))
        # What is shared between runs is made first: making it must not draw from a run's random numbers.
        _ = self.features, (run.train == "frozen" or self._network)
        generator = compute.start_run(seed_of(self.study.seed, self.digest(run)))
        learner = self._learner(run, train)
        found = self._fit(learner, run, train, validation, generator)
        scores = _scores(learner, test, self.options.batch_size)
        labels = self.labels[test].numpy().astype(int)
        record = self.record(run, learner, found, len(train), start, test_auc=auc(scores, labels))
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
        if len(self.masked):
            record["threshold"], figures = self._localise(learner, validation, test)
            predictions = predictions.join(figures)
        return record, predictions

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
            lambda: self.advance(step),
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
        center, scale = feature_scale(self.features.pooled[0, train], self.options.standardise)
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


def _scores(learner, rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Probabilities of the positive class, float64; 0.5 for all where the network gives no number.

    Logits beyond `LARGEST_LOGIT` would become exactly 0 or 1, and these ties would enter the AUC; then all
    logits of the run are scaled down alike, which keeps their order.
    """
    logits = _logits(learner, rows, batch_size).double()
    if not torch.isfinite(logits).all():
        return np.full(len(rows), 0.5)
    largest = float(logits.abs().max())
    return torch.sigmoid(logits * min(1.0, LARGEST_LOGIT / max(largest, 1e-12))).numpy()


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


def _localisation(packed: Packed, runs: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    maps = ["map_height", "map_width", "map"]
    columns = ["run", "image_id", "patient_id", "fold", *FIGURES, "threshold", *maps]
    if "threshold" not in runs:
        return pd.DataFrame(columns=columns)
    found = predictions.dropna(subset="dice").merge(runs[["run", "threshold"]], on="run")
    guessed = baselines(packed, sorted(runs["fold"].unique()))
    about = packed.manifest[["image_id", "patient_id"]].iloc[guessed["row"]].reset_index(drop=True)
    return pd.concat([found, guessed.join(about)], ignore_index=True)[columns]
