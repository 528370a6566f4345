"""A grid of runs, arm by arm: the runs of one source and backbone share weights and features.

Arms are the pieces of work that processes take, on a cluster parts of them; every run goes to the store as it
finishes.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from radlib import compute
from radlib.data.images import Packed, open_packed
from radlib.machines.cluster import stream
from radlib.machines.workers import Advance, work
from radlib.networks.weights import Weights, load_weights
from radlib.seeds import seed_of
from radlib.store import load_run, save_run
from radlib.study import Run, Study
from radlib.training.fitting import Fit


class Arm(ABC):
    """The runs of one (task, source, backbone): what transfer and segmentation have in common."""

    folder: str  # of the store

    def __init__(self, study: Study, task: str, packed: Packed, weights: Weights, advance: Advance):
        self.study, self.task, self.packed, self.weights = study, task, packed, weights
        self.advance = advance
        self.kind = study.tasks[task].augment

    @classmethod
    def opened(cls, study: Study, task: str) -> Packed:
        """The images that the arm's runs are about."""
        return open_packed(study.dataset_dir(task))

    @abstractmethod
    def digest(self, run: Run) -> str:
        """Of all that determines a run's result."""

    @abstractmethod
    def cost(self, run: Run) -> float:
        """What it adds to the progress bar."""

    @abstractmethod
    def compute(self, run: Run) -> tuple[dict, pd.DataFrame]:
        """The run's `record` and its rows per test image."""

    def start(self, run: Run) -> torch.Generator:
        """Seed a run's training by what it is called; returns the generator of its batches.

        By name, so that a changed column of the data does not change the seeds. And the same for every
        source: order of images, dropout and the head's first weights cancel in differences between sources.
        """
        names = (self.study.origin(run.task), run.backbone, run.train, run.lr, run.fold, run.seed)
        return compute.start_run(seed_of(self.study.seed, self.folder, *names))

    def path(self, run: Run) -> Path:
        return self.study.store_dir / self.folder / run.task / f"{self.digest(run)}.parquet"

    def record(self, run: Run, learner: nn.Module, found: Fit, n_train: int, start: float, **figures) -> dict:
        """One row of the table of runs (JSON values) with the `history` of its epochs.

        Args:
            start: when the run began, by `time.perf_counter`; figures: of validation and test.
        """
        return {
            "run": self.digest(run),
            **asdict(run),
            "best_epoch": found.best_epoch,
            **found.validation,
            **figures,
            "n_trainable": sum(p.numel() for p in learner.parameters() if p.requires_grad),
            "n_train": n_train,
            "diverged": found.best_epoch == 0,
            "seconds": time.perf_counter() - start,
            "data_digest": self.packed.digest,
            "weights_digest": self.weights.digest,
            "history": found.history,
        }


@dataclass(frozen=True)
class Finished:
    """All runs of a grid in the order asked for: a row per run; per run and epoch; per run and test image."""

    runs: pd.DataFrame
    history: pd.DataFrame
    images: pd.DataFrame
    computed: int


def carry_out(
    study: Study,
    task: str,
    runs: list[Run],
    arm_type: type[Arm],
    cost: Callable[[list[Run]], float],
    description: str,
) -> Finished:
    """Compute what the store lacks, several arms at a time, then gather everything from it.

    Args:
        cost: of an arm's runs, in the units of `advance`.
    """
    runs = sorted(runs, key=_arm_of)
    on_cluster = study.compute.backend == "ray"
    pieces = _pieces(runs, _part_of if on_cluster else _arm_of, cost)
    total = sum(cost(piece) for piece in pieces)
    if on_cluster:
        done = _stream(study, task, pieces, arm_type, total, description)
    else:
        pieces = [(arm_type, study, task, piece) for piece in pieces]
        arms = work(_complete, pieces, study.compute.workers, total, description)
        done = [run for arm in arms for run in arm]
    stored = {run: (path, new) for run, path, new in done}
    results = [load_run(stored[run][0]) for run in runs]
    return _gather(results, sum(new for _, new in stored.values()))


def _pieces(runs: list[Run], key: Callable, cost: Callable[[list[Run]], float]) -> list[list[Run]]:
    """Runs that stay together, the most expensive first."""
    pieces = [list(group) for _, group in groupby(sorted(runs, key=key), key=key)]
    return sorted(pieces, key=lambda piece: -cost(piece))


def _complete(piece: tuple[type[Arm], Study, str, list[Run]], advance: Advance) -> list[tuple]:
    """Every run of an arm into the store: (run, where it lies, whether it was computed now)."""
    arm_type, study, task, runs = piece
    arm = _open_arm(arm_type, study, task, runs, advance)
    done = []
    for run in runs:
        missing = load_run(arm.path(run)) is None
        if missing:
            save_run(arm.path(run), *arm.compute(run))
        else:
            advance(arm.cost(run))
        done.append((run, arm.path(run), missing))
    return done


def _stream(
    study: Study, task: str, pieces: list[list[Run]], arm_type: type[Arm], total: float, description: str
) -> list[tuple]:
    """The same on a cluster; only here is written to the store."""
    folder = study.store_dir / arm_type.folder / task
    stored = {path.stem for path in folder.glob("*.parquet") if load_run(path) is not None}
    done = []

    def keep(finished: tuple) -> None:
        run, digest, result = finished
        path = folder / f"{digest}.parquet"
        if result is not None:
            save_run(path, *result)
        done.append((run, path, result is not None))

    shared = (arm_type, study, task, stored)
    stream(_each_run, [(shared, piece) for piece in pieces], study.compute, total, description, keep)
    return done


def _each_run(shared: tuple, runs: list[Run], advance: Advance) -> Iterator[tuple]:
    """Somewhere in the cluster: each run's digest, and its result unless that is stored already."""
    arm_type, study, task, stored = shared
    arm = _open_arm(arm_type, study, task, runs, advance)
    for run in runs:
        digest = arm.digest(run)
        if digest in stored:
            advance(arm.cost(run))
        yield run, digest, None if digest in stored else arm.compute(run)


def _open_arm(arm_type: type[Arm], study: Study, task: str, runs: list[Run], advance: Advance) -> Arm:
    weights = load_weights(study, runs[0].source, runs[0].backbone)
    return arm_type(study, task, arm_type.opened(study, task), weights, advance)


def _arm_of(run: Run) -> tuple[str, str]:
    return run.backbone, run.source


def _part_of(run: Run) -> tuple:
    """A part of an arm. Training the whole network takes so much longer than making the arm's features that
    many machines may as well make them several times, and share the folds."""
    return *_arm_of(run), run.fold if run.train == "all" else -1


def _gather(results: list[tuple[dict, pd.DataFrame]], computed: int) -> Finished:
    records = [dict(record) for record, _ in results]
    histories = [
        pd.DataFrame(record.pop("history")).assign(run=record["run"], fold=record["fold"])
        for record in records
    ]
    return Finished(
        runs=pd.DataFrame(records),
        history=pd.concat(histories, ignore_index=True),
        images=pd.concat([images for _, images in results], ignore_index=True),
        computed=computed,
    )
