"""Studies that are simulated with a known truth, and the intervals that every method gives of them.

A cell of `validity.cells` is one kind of study. It is drawn many times with its true difference and as often
without one; every method of `radlib.stats.rivals` gives its interval each time.
"""

from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from radlib.code import code_digest
from radlib.machines.workers import Advance, work
from radlib.seeds import digest_of, seed_of
from radlib.stats.rivals import auc_intervals, figure_intervals
from radlib.stats.simulation import Design, draw_latent, figures, level_of, scores, true_difference
from radlib.store import load_run, save_run
from radlib.study import Study
from radlib.study.questions import Cell

BATCH = 50  # studies in one file of the store


@dataclass(frozen=True)
class Batch:
    """Studies `first` to `last` - 1 of one cell with one true difference."""

    cell: Cell
    delta: float
    first: int
    last: int
    seed: int
    resamples: int
    confidence: float
    store: Path

    @property
    def path(self) -> Path:
        """Where the store keeps it: under a digest of all that determines it."""
        # The design holds what the cell leaves at its default.
        cell = code_digest(__name__), self.cell.measure, design_of(self.cell), self.cell.level
        drawn = self.delta, self.first, self.last, self.seed, self.resamples, self.confidence
        return self.store / f"{digest_of(*cell, *drawn)}.parquet"


def design_of(cell: Cell) -> Design:
    """The simulation's design; its classes are counted from the negative one."""
    same = cell.model_dump(exclude={"measure", "patients", "level", "delta"})
    return Design(tuple(reversed(cell.patients)), **same)


def simulate(study: Study) -> pd.DataFrame:
    """Every method's interval in every simulated study.

    Returns:
        cell (its place in `validity.cells`), true_delta, study, method, low, high, and `these`: the true
        difference of the study's own trainings.
    """
    options, batches = study.validity, []
    same = study.seed, options.resamples, study.compare.confidence, study.store_dir / "validity"
    for place, cell in enumerate(options.cells):
        for delta in (0.0, cell.delta):
            for first in range(0, options.studies, BATCH):
                last = min(first + BATCH, options.studies)
                batches.append((place, Batch(cell, delta, first, last, *same)))
    batches.sort(key=lambda item: -sum(item[1].cell.patients))
    # Here no network runs: processors are of use beside a CUDA device too.
    workers = study.compute.workers or joblib.cpu_count(only_physical_cores=True)
    total, pieces = 2 * options.studies * len(options.cells), [batch for _, batch in batches]
    tables = work(simulate_batch, pieces, workers, total, "simulated studies", "study")
    tables = [table.assign(cell=place) for (place, _), table in zip(batches, tables, strict=True)]
    return pd.concat(tables).sort_values(["cell", "true_delta", "study"], kind="stable", ignore_index=True)


def simulate_batch(batch: Batch, advance: Advance) -> pd.DataFrame:
    """The intervals of one batch, from the store where it is finished."""
    stored = load_run(batch.path)
    if stored is not None:
        advance(batch.last - batch.first)
        return stored[1]
    rows = []
    with threadpool_limits(1):
        for number in range(batch.first, batch.last):
            rows += simulate_study(batch, number)
            advance(1)
    table = pd.DataFrame(rows)
    save_run(batch.path, {**batch.cell.model_dump(), "true_delta": batch.delta}, table)
    return table


def simulate_study(batch: Batch, number: int) -> list[dict]:
    """One drawn study: a row for each method that it allows."""
    design, cell = design_of(batch.cell), batch.cell
    seed = seed_of(batch.seed, "validity", cell.measure, design, cell.level, batch.delta, number)
    latent = draw_latent(design, np.random.default_rng(seed))
    levels = level_of(cell.level + batch.delta, cell.varies), level_of(cell.level, cell.varies)
    how = (batch.resamples, seed, batch.confidence)
    if cell.measure == "auc":
        weights = np.repeat(np.arange(cell.settings * cell.pretrainings), cell.seeds)
        intervals = auc_intervals(*scores(latent, levels), weights // cell.pretrainings, weights, *how)
    else:
        intervals = figure_intervals(*figures(latent, levels), latent.patients, latent.folds, *how)
    known = {"true_delta": batch.delta, "study": number, "these": true_difference(levels, latent.shifts)}
    return [{**known, "method": name, "low": low, "high": high} for name, (low, high) in intervals.items()]
