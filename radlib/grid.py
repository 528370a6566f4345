"""A grid of runs, arm by arm: the runs of one source and backbone share weights and features.

Arms are the pieces of work that processes take; every run goes to the store as it finishes.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd
from torch import nn

from radlib.fitting import Fit
from radlib.images import Packed, open_packed
from radlib.runs import load_run, save_run
from radlib.study import Run, Study
from radlib.weights import Weights, load_weights
from radlib.workers import Advance, work


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

    def path(self, run: Run) -> Path:
        return self.study.store_dir / self.folder / run.task / f"{self.digest(run)}.parquet"

    def record(self, run: Run, learner: nn.Module, found: Fit, n_train: int, start: float, **figures) -> dict:
        """One row of the table of runs (JSON values) with the `history` of its epochs.

        Args:
            start: when the run began, by `time.perf_counter`; figures: of the test part.
        """
        return {
            "run": self.digest(run),
            "task": run.task,
            "source": run.source,
            "backbone": run.backbone,
            "train": run.train,
            "lr": run.lr,
            "fold": run.fold,
            "seed": run.seed,
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
    arms = sorted((list(group) for _, group in groupby(runs, key=_arm_of)), key=lambda arm: -cost(arm))
    done = work(
        _complete, [(arm_type, study, task, arm) for arm in arms], study.compute.workers,
        total=sum(cost(arm) for arm in arms), description=description,
    )  # fmt: skip
    stored = {run: (path, new) for arm in done for run, path, new in arm}
    results = [load_run(stored[run][0]) for run in runs]
    return _gather(results, sum(new for _, new in stored.values()))


def _complete(piece: tuple[type[Arm], Study, str, list[Run]], advance: Advance) -> list[tuple]:
    """Every run of an arm into the store: (run, where it lies, whether it was computed now)."""
    arm_type, study, task, runs = piece
    weights = load_weights(study, runs[0].source, runs[0].backbone)
    arm = arm_type(study, task, arm_type.opened(study, task), weights, advance)
    done = []
    for run in runs:
        missing = load_run(arm.path(run)) is None
        if missing:
            save_run(arm.path(run), *arm.compute(run))
        else:
            advance(arm.cost(run))
        done.append((run, arm.path(run), missing))
    return done


def _arm_of(run: Run) -> tuple[str, str]:
    return run.backbone, run.source


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
