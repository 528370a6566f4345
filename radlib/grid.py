"""A grid of runs, arm by arm: the runs of one source and backbone share weights and features.

Arms are the pieces of work that processes take; every run goes to the store as it finishes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

import pandas as pd

from radlib.runs import load_run, save_run
from radlib.study import Run, Study
from radlib.workers import Advance, work


class Arm(Protocol):
    """What transfer and segmentation know of their runs."""

    def digest(self, run: Run) -> str:
        """Of all that determines a run's result."""

    def path(self, run: Run) -> Path:
        """Where the store keeps it."""

    def cost(self, run: Run) -> float:
        """What it adds to the progress bar."""

    def compute(self, run: Run) -> tuple[dict, pd.DataFrame]:
        """The run's record (JSON values, its `history` among them) and its rows per test image."""


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
    work_arm: Callable,
    cost: Callable[[list[Run]], float],
    description: str,
) -> Finished:
    """Compute what the store lacks, several arms at a time, then gather everything from it.

    Args:
        work_arm: of a module, ((study, task, runs), advance) -> `complete(arm, runs, advance)`.
        cost: of an arm's runs, in the units of `advance`.
    """
    runs = sorted(runs, key=_arm_of)
    arms = sorted((list(group) for _, group in groupby(runs, key=_arm_of)), key=lambda arm: -cost(arm))
    done = work(
        work_arm, [(study, task, arm) for arm in arms], study.compute.workers,
        total=sum(cost(arm) for arm in arms), description=description,
    )  # fmt: skip
    stored = {run: (path, new) for arm in done for run, path, new in arm}
    results = [load_run(stored[run][0]) for run in runs]
    return _gather(results, sum(new for _, new in stored.values()))


def complete(arm: Arm, runs: list[Run], advance: Advance) -> list[tuple[Run, Path, bool]]:
    """Every run of an arm into the store; where each lies, and whether it was computed now."""
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
