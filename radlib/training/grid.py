"""A grid of runs, group by group: the runs of one source and backbone share weights and features.

Groups are the pieces of work that processes take, on a cluster parts of them; every run goes to the store as
it finishes.
"""

import copy
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from radlib import compute
from radlib.code import code_digest
from radlib.data import batches
from radlib.data.images import Packed, open_packed
from radlib.data.splits import PARTS
from radlib.machines.cluster import stream
from radlib.machines.workers import Advance, work
from radlib.networks.features import computed_by, count_views
from radlib.networks.weights import Weights, load_weights
from radlib.seeds import digest_of, replicate_seed
from radlib.store import load_run, save_run
from radlib.study import Run, Study
from radlib.study.common import PROBES


class RunGroup(ABC):
    """The runs of one (task, source, backbone, replicate): how each is trained, tested and stored."""

    section: str  # of the study: how they train
    folder: str  # of the store
    stored: tuple[str, ...]  # regimes whose runs read what is computed once for the group
    passes: dict[str, float]  # what an image and epoch cost against a forward pass; for the time left only
    diverged: dict[str, float]  # figures of a run whose validation loss is never finite
    size: int  # side of the network's input, px
    like: type["RunGroup"] | None = None  # the class whose code decides what a run gives; None: its own

    def __init__(self, study: Study, task: str, packed: Packed, weights: Weights, advance: Advance):
        self.study, self.task, self.packed, self.weights = study, task, packed, weights
        self.advance, self.options = advance, getattr(study, self.section)
        self.kind = study.tasks[task].augment

    @classmethod
    def opened(cls, study: Study, task: str) -> Packed:
        """The images that the runs are about."""
        return open_packed(study.dataset_dir(task))

    @classmethod
    def cost_of(cls, study: Study, packed: Packed, runs: list[Run]) -> float:
        """What runs, and what is stored for them, add to the progress bar."""
        options, kind = getattr(study, cls.section), study.tasks[runs[0].task].augment
        reads = any(run.train in cls.stored for run in runs)
        views = options.views if any(run.train not in PROBES for run in runs) else 1
        trained = sum(options.epochs.get(run.train, 1) * cls.passes[run.train] for run in runs)
        return len(packed.manifest) * (reads * count_views(kind, views) + trained)

    def cost(self, run: Run) -> float:
        """What an epoch of a run, or a whole probe, adds."""
        return len(self.packed.manifest) * self.passes[run.train]

    # What kinds of runs differ in -----------------------------------------------------------------------
    @abstractmethod
    def share(self, run: Run) -> None:
        """Make what the run shares with others, unless it is there."""

    @abstractmethod
    def learner(self, run: Run, train: np.ndarray) -> nn.Module:
        """The untrained network of a run whose training part is the rows `train`."""

    @abstractmethod
    def answer(self, learner: nn.Module, rows: np.ndarray, epoch, generator) -> tuple[Tensor, Tensor]:
        """Logits and targets of rows; `epoch` chooses the augmentation, None is the image itself."""

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor) -> Tensor: ...

    @abstractmethod
    def figures(self, logits: Tensor, targets: Tensor, rows: np.ndarray) -> dict[str, float]:
        """What is said of the validation part, the rows `rows`, beside its loss."""

    @abstractmethod
    def test(self, learner: nn.Module, validation: np.ndarray, test: np.ndarray) -> tuple[dict, pd.DataFrame]:
        """Figures of a trained run, one of them `finite` (are all answers numbers?); a row per test image."""

    def external(self, learner: nn.Module) -> tuple[bool, pd.DataFrame]:
        """Are all its answers numbers? And a row per image of the task's external set, if it has one."""
        return True, pd.DataFrame()

    # What they have in common ---------------------------------------------------------------------------
    def parts(self, run: Run) -> list[np.ndarray]:
        """Rows of the manifest in which a run trains, validates and tests."""
        part = self.packed.manifest[f"part_{run.fold}"].to_numpy()
        return [np.flatnonzero(part == name) for name in PARTS]

    def seed(self, run: Run) -> int:
        """Of a run's training, by what the run is called.

        By name, so that a changed column of the data does not change the seeds. And the same for every
        source: order of images, dropout and the head's first weights cancel in differences between sources.
        """
        names = (self.study.origin(run.task), run.backbone, run.train, run.lr, run.fold, run.seed)
        return replicate_seed(run.replicate, self.study.seed, self.folder, *names)

    def digest(self, run: Run) -> str:
        """Of all that determines a run's result, such as the code that the module of `like` runs."""
        like = self.like or type(self)
        return digest_of(
            (code_digest(like.__module__), like.__name__),
            computed_by(),
            (self.study.seed, self.seed(run)),
            (self.packed.digest, self.packed.resize, self.weights.digest, self.size, self.kind),
            (run, self.options.deciding(run.train)),
        )

    def path(self, run: Run) -> Path:
        return self.study.store_dir / self.folder / run.task / f"{self.digest(run)}.parquet"

    def compute(self, run: Run) -> tuple[dict, pd.DataFrame]:
        """Train, choose the epoch by validation loss, test once.

        Returns:
            one row of the table of runs (JSON values) with the `history` of its epochs; a row per test image,
            and per image of an external set, which the column `external` then marks.
        """
        start = time.perf_counter()
        train, validation, test = self.parts(run)
        # Made first: making it must not draw from a run's random numbers.
        self.share(run)
        generator = compute.start_run(self.seed(run))
        learner = self.learner(run, train)
        best, history = self.fit(learner, run, train, validation, generator)
        figures, tested = self.test(learner, validation, test)
        finite, outside = self.external(learner)
        sound = figures.pop("finite") and finite and best["best_epoch"] > 0
        digest = self.digest(run)
        about = self.packed.manifest.iloc[test][["image_id", "patient_id"]].reset_index(drop=True)
        about.insert(0, "run", digest)
        record = {
            "run": digest,
            **asdict(run),
            **best,
            **figures,
            "n_trainable": sum(p.numel() for p in learner.parameters() if p.requires_grad),
            "n_train": len(train),
            "diverged": not sound,
            "seconds": time.perf_counter() - start,
            "data_digest": self.packed.digest,
            "weights_digest": self.weights.digest,
            "parameters": json.dumps(self.options.deciding(run.train)),
            "history": history,
        }
        rows = about.join(tested)
        if len(outside):
            outside = outside.assign(run=digest, external=True)
            rows = pd.concat([rows.assign(external=False), outside], ignore_index=True)
        return record, rows.assign(fold=run.fold)

    def fit(
        self, learner: nn.Module, run: Run, train: np.ndarray, validation: np.ndarray, generator
    ) -> tuple[dict[str, float], list[dict[str, float]]]:
        """End with the weights of the lowest validation loss (as published).

        Returns:
            `best_epoch` (from 1; 0 where training diverged) with its figures, `last_epoch`, and whether the
            run `stopped_early`, for want of a lower loss; the figures of all epochs.
        """
        patience = self.options.patience.get(run.train, math.inf)
        best, kept, history = {"best_epoch": 0, "val_loss": math.inf, **self.diverged}, {}, []
        for epoch, about in enumerate(self.epochs(learner, run, train, generator), 1):
            about |= self.validate(learner, validation)
            history.append({"epoch": epoch, **about})
            if about["val_loss"] < best["val_loss"]:
                best, kept = {"best_epoch": epoch, **about}, _changed_state(learner)
            if epoch - best["best_epoch"] >= patience:
                self.advance(self.cost(run) * (self.options.epochs[run.train] - epoch))
                break
        learner.load_state_dict(kept, strict=False)
        last = len(history)
        return {**best, "last_epoch": last, "stopped_early": last - best["best_epoch"] >= patience}, history

    def epochs(self, learner: nn.Module, run: Run, train: np.ndarray, generator) -> Iterator[dict]:
        """Train with Adam at a constant rate, and say after each epoch what it was like.

        A schedule of the rate would be laid out for the most epochs; without one a run that stops early is
        the beginning of the run that goes on.
        """
        trained = [p for p in learner.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=run.lr, fused=True)
        for epoch in range(self.options.epochs[run.train]):
            learner.train()
            total = 0.0
            for rows in batches.shuffled(train, self.options.batch_size, generator):
                loss = self.loss_of(learner, rows, epoch, generator)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += loss.detach().double() * len(rows)
                self.advance(self.cost(run) * len(rows) / len(train))
            yield {"train_loss": float(total) / len(train)}

    def loss_of(self, learner: nn.Module, rows: np.ndarray, epoch: int, generator) -> Tensor:
        with compute.autocast():
            logits, targets = self.answer(learner, rows, epoch, generator)
        return self.loss(logits.float(), targets)

    def validate(self, learner: nn.Module, rows: np.ndarray) -> dict[str, float]:
        logits, targets = self.answers(learner, rows)
        if not torch.isfinite(logits).all():
            return {"val_loss": math.inf, **self.diverged}
        return {"val_loss": float(self.loss(logits, targets)), **self.figures(logits, targets, rows)}

    def answers(self, learner: nn.Module, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Logits and targets of any number of rows, float32, on the processor."""
        learner.eval()
        with compute.inference():
            said = [
                [part.float().cpu() for part in self.answer(learner, some, None, None)]
                for some in batches.in_order(rows, 2 * self.options.batch_size)
            ]
        logits, targets = (torch.cat(parts) for parts in zip(*said, strict=True))
        return logits, targets


def _changed_state(learner: nn.Module) -> dict[str, Tensor]:
    """A copy of what training may change: trained parameters, and buffers such as batch-norm statistics."""
    frozen = {name for name, p in learner.named_parameters() if not p.requires_grad}
    return {k: copy.deepcopy(v) for k, v in learner.state_dict().items() if k not in frozen}


@dataclass(frozen=True)
class Finished:
    """Runs in the order asked for: a row per run; per run and epoch; per run and test image."""

    runs: pd.DataFrame
    history: pd.DataFrame
    predictions: pd.DataFrame
    computed: int

    @property
    def reused(self) -> int:
        return len(self.runs) - self.computed


def carry_out(
    study: Study, task: str, runs: list[Run], group_type: type[RunGroup], description: str
) -> Finished:
    """Compute what the store lacks, several groups at a time, then gather everything from it."""
    runs = sorted(runs, key=attrgetter("weights"))
    on_cluster = study.compute.backend == "ray"
    packed, key = group_type.opened(study, task), _part_of if on_cluster else attrgetter("weights")
    parts = grouped(runs, key)
    cost = {part[0]: group_type.cost_of(study, packed, part) for part in parts}
    total, longest_first = sum(cost.values()), sorted(parts, key=lambda part: -cost[part[0]])
    pieces = [((group_type, study, task), part) for part in longest_first]
    done = []
    if on_cluster:
        stream(_each_run, pieces, study.compute, total, description, done.append)
    else:
        for group in work(_complete, pieces, study.compute.workers, total, description):
            done += group
    stored = {run: (path, new) for run, path, new in done}
    results = [load_run(stored[run][0]) for run in runs]
    return _gathered(results, sum(new for _, new in stored.values()))


def grouped(runs: Iterable, key: Callable = attrgetter("weights")) -> list[list]:
    """Runs or other things that have something in common, such as weights."""
    return [list(group) for _, group in groupby(sorted(runs, key=key), key=key)]


def _complete(piece: tuple[tuple, list[Run]], advance: Advance) -> list[tuple[Run, Path, bool]]:
    return list(_each_run(*piece, advance))


def _each_run(shared: tuple, runs: list[Run], advance: Advance) -> Iterator[tuple[Run, Path, bool]]:
    """Every run of a group into the store: where it lies, and whether it was computed now."""
    group_type, study, task = shared
    weights = load_weights(study, *runs[0].weights)
    group = group_type(study, task, group_type.opened(study, task), weights, advance)
    for run in runs:
        path = group.path(run)
        missing = load_run(path) is None
        if missing:
            save_run(path, *group.compute(run))
        else:
            advance(group.cost(run) * group.options.epochs.get(run.train, 1))
        yield run, path, missing


def _part_of(run: Run) -> tuple:
    """A part of a group. Training the whole network takes so much longer than making the group's features
    that many machines may as well make them several times, and share the folds."""
    return *run.weights, run.fold if run.train in ("top", "all") else -1


def _gathered(results: list[tuple[dict, pd.DataFrame]], computed: int) -> Finished:
    records = [dict(record) for record, _ in results]
    history = [pd.DataFrame(r.pop("history")).assign(run=r["run"], fold=r["fold"]) for r in records]
    return Finished(
        runs=pd.DataFrame(records),
        history=pd.concat(history, ignore_index=True),
        predictions=pd.concat([images for _, images in results], ignore_index=True),
        computed=computed,
    )
