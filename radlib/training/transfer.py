"""Transfer to one task: every run of the grid, each stored as it finishes."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from radlib import compute
from radlib.data.images import Packed, open_packed
from radlib.data.parts import check_masks
from radlib.errors import UserError
from radlib.machines.workers import Advance
from radlib.networks.backbones import no_maps
from radlib.networks.features import NOTHING, Features, features_of
from radlib.networks.learners import (
    FrozenLearner,
    Head,
    TopLearner,
    WholeLearner,
    feature_scale,
)
from radlib.networks.localise import activation_maps, baselines, localise
from radlib.networks.weights import Weights
from radlib.seeds import digest_of
from radlib.stats.auc import auc, best_threshold, by_patient
from radlib.stats.dice import MAP_FIGURES
from radlib.store import write_table
from radlib.study import Run, Study
from radlib.study.common import PROBES
from radlib.training.grid import Finished, RunGroup, carry_out
from radlib.training.probes import LogisticProbe, NeighbourProbe

# of a run and image: `score`, or `score_0` ... of each class; `external` where a task has such a set
PREDICTION = r"run|image_id|patient_id|fold|label|score(_\d+)?|external"
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
    scores = predictions_of(done)
    result = Transferred(done.runs, done.history, scores, done.computed, localisation)
    if save:
        for name in ("runs", "predictions", "history", "localisation"):
            write_table(getattr(result, name), study.result_dir(task) / f"{name}.parquet")
    return result


def predictions_of(done: Finished) -> pd.DataFrame:
    """What runs scored, without what is said of lesions."""
    return done.predictions.filter(regex=f"^({PREDICTION})$")


def _localisation(packed: Packed, done: Finished) -> pd.DataFrame:
    columns = ["run", "image_id", "patient_id", "fold", *MAP_FIGURES, "threshold", *MAP]
    if "threshold" not in done.runs:
        return pd.DataFrame(columns=columns)
    found = done.predictions.dropna(subset="dice").merge(done.runs[["run", "threshold"]], on="run")
    guessed = baselines(packed, sorted(done.runs["fold"].unique()))
    return pd.concat([found, guessed], ignore_index=True)[columns]


class TransferGroup(RunGroup):
    """They share weights and features. localises: whether maps are compared with lesion masks."""

    section, folder = "transfer", "runs"
    stored = ("frozen", "top10", "top", "all", "logistic", "knn")
    passes = {"frozen": 0.003, "top10": 0.15, "top": 1.8, "all": 3.5, "logistic": 0.05, "knn": 0.05}
    diverged = {"val_auc": 0.5}
    localises = True

    def __init__(self, study: Study, task: str, packed: Packed, weights: Weights, advance: Advance):
        super().__init__(study, task, packed, weights, advance)
        self.size, self.score = study.input_size(task, weights.backbone), study.tasks[task].score
        classes = study.tasks[task].classes
        self.units = len(classes) if classes else 1
        shows = packed.masks and not classes and not no_maps(weights.backbone)  # of the positive class
        self.masked = np.flatnonzero(packed.manifest["has_mask"]) if shows else NOTHING
        if self.localises and len(self.masked):  # found before training, not after the first run
            check_masks(packed.manifest, task)

    def digest(self, run: Run) -> str:
        """Figures are of what is compared; maps, and scores of another hospital, stand beside them or not."""
        maps = self.localises and len(self.masked) > 0
        elsewhere = self.elsewhere.packed.digest if self.elsewhere else None
        return digest_of(super().digest(run), self.score, maps, elsewhere)

    @cached_property
    def elsewhere(self) -> "TransferGroup | None":
        """The same group for the task's external set, which is scored and never trained on."""
        task = self.study.tasks[self.task]
        if task.external is None:
            return None
        as_here = task.model_copy(update={"augment": "none", "external": None})
        study = self.study.model_copy(update={"tasks": {task.external: as_here}})
        packed = replace(self.opened(study, task.external), masks=None)
        return TransferGroup(study, task.external, packed, self.weights, lambda done: None)

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
            self.options.views if any(run.train not in PROBES for run in group) else 1,
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
        _ = self.features
        if run.train not in ("frozen", *PROBES):
            _ = self.weights.network

    def learner(self, run: Run, train: np.ndarray) -> nn.Module:
        if run.train == "logistic":
            return LogisticProbe(self.features, self.weights, self.units).to(compute.device())
        if run.train == "knn":
            return NeighbourProbe(self.features, self.units).to(compute.device())
        center, scale = feature_scale(self.features.pooled[0], train, self.options.standardise)
        head = Head(center, scale, self.options.dropout, self.units).to(compute.device())
        if run.train == "frozen":
            return FrozenLearner(self.features, head, self.weights)
        network = copy.deepcopy(self.weights.network)
        if run.train == "top10":
            return TopLearner(self.features, self.weights, network, head)
        about = (self.packed, self.weights, network, self.size, self.kind)
        return WholeLearner(*about, head, partly=run.train == "top")

    def epochs(self, learner, run: Run, train: np.ndarray, generator) -> Iterator[dict]:
        """Of a probe: its candidates, each with its `choice`, in place of epochs.

        Raises: UserError where the training part of a probe has one label.
        """
        if run.train not in PROBES:
            yield from super().epochs(learner, run, train, generator)
            return
        labels = self.labels[train].cpu().numpy().astype(int)
        if len(np.unique(labels)) < 2:
            raise UserError(
                f"task '{run.task}', fold {run.fold}: all {len(train)} training images have the label "
                f"{labels[0]}, from which '{run.train}' learns nothing; use fewer folds or more patients"
            )
        seen = np.concatenate(self.parts(run)[:2])  # what it learns from and is chosen by
        if torch.isfinite(self.features.pooled[0][seen]).all():
            for choice in learner.choices(self.options, train):
                learner.fit(train, labels, choice)
                yield {"choice": choice}
        self.advance(self.cost(run))

    def answer(self, learner, rows, epoch, generator) -> tuple[Tensor, Tensor]:
        return learner(rows, epoch, generator), self.labels[rows]

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self.units > 1:
            return functional.cross_entropy(logits, targets.long())
        return functional.binary_cross_entropy_with_logits(logits, targets)

    def figures(self, logits: Tensor, targets: Tensor, rows: np.ndarray) -> dict[str, float]:
        plain = self.score == "image" and self.units == 1
        scores = logits.numpy() if plain else probabilities(logits)
        return {"val_auc": auc(*self.compared(scores, targets.numpy(), rows))}

    def compared(
        self, scores: np.ndarray, labels: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and labels of what the task compares: of the images themselves, or of their patients."""
        if self.score == "image":
            return scores, labels
        patients = self.packed.manifest["patient_id"].to_numpy()[rows]
        how = self.score.removeprefix("patient_")
        (scores,), labels, _ = by_patient(scores[np.newaxis], labels, patients, how)
        return scores, labels

    def test(self, learner, validation: np.ndarray, test: np.ndarray) -> tuple[dict, pd.DataFrame]:
        logits, targets = self.answers(learner, np.concatenate([validation, test]))
        # Both parts are scaled alike, so that the threshold is one of the test scores too.
        chosen, scores = np.split(probabilities(logits), [len(validation)])
        true, labels = np.split(targets.numpy(), [len(validation)])
        labels = labels.astype(int)
        finite = bool(torch.isfinite(logits).all())
        figures = {"finite": finite, "test_auc": auc(*self.compared(scores, labels, test))}
        if self.units == 1:
            figures["val_threshold"] = best_threshold(*self.compared(chosen, true, validation))
        table = pd.DataFrame({"label": labels, **columns_of(scores)})
        if self.localises and len(self.masked) and hasattr(learner, "last"):
            figures["threshold"], located = self._localise(learner, validation, test)
            table = table.join(located)
        return figures, table

    def external(self, learner) -> tuple[bool, pd.DataFrame]:
        if self.elsewhere is None:
            return True, pd.DataFrame()
        there, manifest = self.elsewhere, self.elsewhere.packed.manifest
        shown = learner.shown(there.packed, there.features)
        logits, _ = there.answers(shown, np.arange(len(manifest)))
        table = manifest[["image_id", "patient_id", "label"]].assign(**columns_of(probabilities(logits)))
        return bool(torch.isfinite(logits).all()), table

    def _localise(self, learner, validation: np.ndarray, test: np.ndarray) -> tuple[float, pd.DataFrame]:
        """The threshold, and per test image the figures and the map; rows without a mask are left out."""
        parts = [np.intersect1d(part, self.masked) for part in (validation, test)]
        maps = [activation_maps(learner, part, 2 * self.options.batch_size) for part in parts]
        threshold, figures = localise(self.packed, parts[0], maps[0], parts[1], maps[1])
        figures["map_height"], figures["map_width"] = maps[1].shape[1:]
        figures["map"] = [map.astype(np.float16).tobytes() for map in maps[1]]
        return threshold, figures.set_index(np.flatnonzero(np.isin(test, parts[1])))


def columns_of(scores: np.ndarray) -> dict[str, np.ndarray]:
    """Of the table of predictions: `score`, or of (n, K) scores `score_0` ... of each class."""
    return {"score": scores} if scores.ndim == 1 else {f"score_{k}": one for k, one in enumerate(scores.T)}


def probabilities(logits: Tensor) -> np.ndarray:
    """Of the positive class, float64 (n,); 0.5 for all where the network gives no number.

    Of (n, K) logits: softmax (n, K), or 1 / K for all.

    Logits far out would become exactly 0 or 1, and these ties would enter the AUC. So where any lies beyond
    `LARGEST_LOGIT`, all beyond `KEPT_LOGIT` (a probability of one in three million) are drawn in alike, which
    keeps their order and leaves every other score what the network says.
    """
    if not torch.isfinite(logits).all():
        return np.full(logits.shape, 0.5 if logits.ndim == 1 else 1 / logits.shape[1])
    logits = logits.double()
    if logits.ndim == 2:  # each class against all others: the logarithm of p / (1 - p)
        others = ~torch.eye(logits.shape[1], dtype=torch.bool)
        rest = [torch.logsumexp(logits[:, some], dim=1) for some in others]
        logits = logits - torch.stack(rest, dim=1)
    size = logits.abs()
    factor = (LARGEST_LOGIT - KEPT_LOGIT) / (max(float(size.max()), LARGEST_LOGIT) - KEPT_LOGIT)
    drawn_in = logits.sign() * (KEPT_LOGIT + factor * (size - KEPT_LOGIT))
    return torch.sigmoid(torch.where(size > KEPT_LOGIT, drawn_in, logits)).numpy()
