"""Do the intervals cover the true value as often as they say? Asked of simulated studies with a known truth.

A cell of `validity.cells` is one kind of study. It is drawn many times with its true difference and as often
without one; every method of `radlib.stats.rivals` gives its interval each time. The share of intervals that
cover the true value is the coverage; the share that exclude 0 is the power, or, without a difference, the
type-I error. Shares come with Wilson's interval (1927, doi 10.1080/01621459.1927.10502953): their Monte-Carlo
error.
"""

from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint
from threadpoolctl import threadpool_limits

from radlib.code import code_digest
from radlib.machines.workers import Advance, work
from radlib.questions.validity.table import VALIDITY
from radlib.seeds import digest_of, seed_of
from radlib.stats.rivals import METHODS, auc_intervals, figure_intervals
from radlib.stats.simulation import Design, draw_latent, figures, level_of, scores, true_difference
from radlib.store import load_run, save_run
from radlib.study import Study
from radlib.study.questions import Cell

THESE, ANY = "these trainings", "any training"
HOLDS, NARROW, WIDE = "holds", "too narrow", "too wide"
TOLERANCE = 0.01  # of the coverage: 94 to 96 % for a 95 % interval
ENOUGH_PATIENTS = 50  # of each class, from which on the reported interval must hold
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
        parts = (
            code_digest(__name__),
            design_of(self.cell),
            self.cell.level,
            self.delta,
            self.first,
            self.last,
            self.seed,
        )
        return self.store / f"{digest_of(self.cell.measure, *parts, self.resamples, self.confidence)}.parquet"


def design_of(cell: Cell) -> Design:
    """The simulation's design; its classes are counted from the negative one."""
    patients = tuple(reversed(cell.patients))
    return Design(patients, cell.folds, cell.settings, cell.seeds, luck=cell.luck)


def simulate(study: Study) -> pd.DataFrame:
    """Every method's interval in every simulated study.

    Returns:
        cell (its place in `validity.cells`), true_delta, study, method, low, high, and `these`: the true
        difference of the study's own trainings.
    """
    options = study.validity
    batches = [
        (place, Batch(cell, delta, first, min(first + BATCH, options.studies), study.seed, options.resamples,
                      study.compare.confidence, study.store_dir / "validity"))
        for place, cell in enumerate(options.cells)
        for delta in (0.0, cell.delta)
        for first in range(0, options.studies, BATCH)
    ]  # fmt: skip
    batches.sort(key=lambda item: -sum(item[1].cell.patients))
    total = 2 * options.studies * len(options.cells)
    # Here no network runs: processors are of use beside a CUDA device too.
    workers = study.compute.workers or joblib.cpu_count(only_physical_cores=True)
    pieces = [batch for _, batch in batches]
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
    levels = level_of(cell.level + batch.delta, cell.luck), level_of(cell.level, cell.luck)
    how = (batch.resamples, seed, batch.confidence)
    if cell.measure == "auc":
        settings = np.repeat(np.arange(cell.settings), cell.seeds)
        intervals = auc_intervals(*scores(latent, levels), settings, *how)
    else:
        intervals = figure_intervals(*figures(latent, levels), latent.patients, latent.folds, *how)
    known = {"true_delta": batch.delta, "study": number, "these": true_difference(levels, latent.shifts)}
    return [{**known, "method": name, "low": low, "high": high} for name, (low, high) in intervals.items()]


def coverage_table(study: Study, intervals: pd.DataFrame) -> pd.DataFrame:
    """A row (`VALIDITY`) per cell, true difference, method and truth, from what `simulate` returned.

    Without variation between trainings both true values are one and stand in one row. With it, `these
    trainings` asks for the difference of the trainings at hand, which is never quite 0, so there is no
    error of rejecting it.
    """
    rows = []
    for (place, delta, method), group in intervals.groupby(["cell", "true_delta", "method"], sort=False):
        cell = study.validity.cells[place]
        truths = {THESE: group["these"]} if cell.luck == 0 else {THESE: group["these"], ANY: delta}
        rows += [_row(study, cell, delta, method, group, *truth) for truth in truths.items()]
    table = pd.DataFrame(rows)
    table["method"] = pd.Categorical(table["method"], list(METHODS))
    keys = ["measure", "luck", "folds", "level", "positive", "negative", "true_delta", "truth", "method"]
    return table.sort_values(keys, ignore_index=True).astype({"method": str})[VALIDITY.names]


def _row(study: Study, cell: Cell, delta: float, method: str, group: pd.DataFrame, truth: str, value) -> dict:
    confidence = study.compare.confidence
    covered = (group["low"] <= value) & (value <= group["high"])
    low, high = wilson(int(covered.sum()), len(group))
    excluded = (group["low"] > 0) | (group["high"] < 0)
    answers = truth == ANY or cell.luck == 0
    rejected = (excluded.mean(), *wilson(int(excluded.sum()), len(group))) if answers else (np.nan,) * 3
    return {
        "measure": cell.measure, "positive": cell.patients[0], "negative": sum(cell.patients[1:]),
        "level": cell.level, "folds": cell.folds, "settings": cell.settings, "seeds": cell.seeds,
        "luck": cell.luck, "true_delta": delta, "method": method, "truth": truth, "studies": len(group),
        "coverage": covered.mean(), "coverage_low": low, "coverage_high": high,
        "verdict": verdict(low, high, confidence), "rejected": rejected[0], "rejected_low": rejected[1],
        "rejected_high": rejected[2], "width": (group["high"] - group["low"]).mean(),
        "confidence": confidence, "resamples": study.validity.resamples,
    }  # fmt: skip


def wilson(count: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    low, high = proportion_confint(count, total, method="wilson")
    return float(low), float(high)


def verdict(low: float, high: float, confidence: float) -> str:
    """Whether a coverage between `low` and `high` can be within `TOLERANCE` of what it should be."""
    if high < confidence - TOLERANCE:
        return NARROW
    return WIDE if low > confidence + TOLERANCE else HOLDS


def smaller_class(table: pd.DataFrame) -> pd.Series:
    """Patients of the smaller class of each row; of Dice, all of them."""
    return table["positive"].where(table["measure"] == "dice", table[["positive", "negative"]].min(axis=1))


def cell_title(row: pd.Series) -> str:
    """`AUC 0.75, 50 + 50 patients, 5 folds`: positive and negative patients; of Dice, all patients."""
    patients = f"{row['positive']} + {row['negative']}" if row["measure"] == "auc" else f"{row['positive']}"
    name = {"auc": "AUC", "dice": "Dice"}[row["measure"]]
    title = f"{name} {row['level']:g}, {patients} patients"
    title += f", {row['folds']} folds" if row["folds"] > 1 else ""
    return title + (f", SD of training {row['luck']:g}, {row['seeds']} seeds" if row["luck"] > 0 else "")
