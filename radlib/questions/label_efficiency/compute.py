"""How many training patients it takes until the source no longer matters: sources compared at every size.

`excess` is by how much more they differ than at the largest size: what a claim about small data means.

Every task is another chance to be wrong, so p-values of differences, of equivalence and of `excess` are
corrected (Holm) over the tasks of a pair at a size. Sizes of one task share patients, and are not corrected
among one another.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.auc.compute import bootstrap_pair
from radlib.questions.label_efficiency.table import EFFICIENCY
from radlib.questions.verdicts import difference_columns
from radlib.stats.bootstrap import mean_auc
from radlib.stats.estimate import Estimate
from radlib.stats.folds import tested
from radlib.stats.models import holm
from radlib.study import Study
from radlib.study.titles import ordered_pairs, pair_title, task_title
from radlib.training.partial import part_sizes, trained
from radlib.training.results import Results

CURVE_COLUMNS = ["task", "source", "fraction", "n_train_patients", "auc", "sd_draws", "n_backbones"]
TESTED, BOTH = "patients tested", "patients tested and patients drawn"
_CELL = ["backbone", "fold"]
_DRAW = [*_CELL, "order"]
_FAMILY = ["source_a", "source_b", "fraction"]
_CORRECTED = {"p_value": "p_holm", "p_tost": "p_tost_holm", "excess_p": "excess_p_holm"}


@dataclass(frozen=True)
class Efficiency:
    """`table` (`EFFICIENCY`): a row per task, pair and fraction; `curves` (`CURVE_COLUMNS`): per source."""

    table: pd.DataFrame
    curves: pd.DataFrame
    notes: list[str]


def label_efficiency(study: Study) -> Efficiency:
    """Train what the store lacks, and compare sources at every size.

    Raises:
        UserError: data or weights are missing, no frozen setting has the rate, or too few draws or patients
            for an interval.
    """
    rows, curves, notes = [], [], []
    for task in study.label_efficiency.tasks:
        sizes, said = part_sizes(study, task)
        results = trained(study, task, list(sizes["fraction"]))
        found, missing = _compare(study, results, task, sizes)
        rows += found
        curves += _curves(study, results.runs, task, sizes)
        notes += said + missing
    table = corrected(pd.DataFrame(rows, columns=[*EFFICIENCY.names, "least_p"]))
    notes += _resolution_notes(study, table)
    return Efficiency(table[EFFICIENCY.names], pd.DataFrame(curves, columns=CURVE_COLUMNS), notes)


def corrected(table: pd.DataFrame) -> pd.DataFrame:
    """With `p_holm`, `p_tost_holm` and `excess_p_holm`, over the tasks of a pair and fraction.

    A task without a figure there (no excess at its largest size) is not of the family.
    """
    families = table.groupby(_FAMILY, sort=False)
    return table.assign(**{new: families[p].transform(_holm) for p, new in _CORRECTED.items()})


def is_shown(study: Study, table: pd.DataFrame) -> pd.Series:
    """Whether a difference is shown: the interval excludes 0, and so it is after Holm's correction."""
    return excludes_zero(table) & (table["p_holm"] < 1 - study.compare.confidence)


def excludes_zero(table: pd.DataFrame) -> pd.Series:
    """Whether the interval excludes 0, before any correction."""
    return (table["ci_low"] > 0) | (table["ci_high"] < 0)


# Comparison -----------------------------------------------------------------------------------------------
def _compare(study: Study, results: Results, task: str, sizes: pd.DataFrame) -> tuple[list[dict], list[str]]:
    rows, notes = [], []
    pairs = ordered_pairs(study)
    for pair in progress(pairs, description=f"bootstrap of {task}"):
        sides = _paired(results.runs, pair)
        if sides[0].empty:
            notes.append(f"{task_title(study, task)}: {pair_title(study, pair)} has no runs in common.")
            continue
        rows += _pair_rows(study, results, task, pair, sides, sizes)
    return rows, notes


def _holm(p: pd.Series) -> pd.Series:
    given = p.dropna().astype(float)
    return pd.Series(holm(given.to_numpy()), index=given.index).reindex(p.index)


def _resolution_notes(study: Study, table: pd.DataFrame) -> list[str]:
    """Where even resamples that all point one way could not pass Holm's correction."""
    families = table.groupby(_FAMILY)["least_p"].agg(["min", "size"])
    blind = families[families["min"] * families["size"] >= 1 - study.compare.confidence]
    return [
        f"{study.compare.resamples} resamples are too few for Holm's correction over {count} tasks: no "
        "difference could pass it; raise compare.resamples, or use more patients."
        for count in sorted(set(blind["size"]))
    ]


def _paired(runs: pd.DataFrame, pair: tuple[str, str]) -> list[pd.DataFrame]:
    """The runs of both sources that were trained on the same patients, in the same order."""
    keys = ["fraction", *_DRAW]
    sides = [runs[runs["source"] == source] for source in pair]
    common = sides[0][keys].merge(sides[1][keys], on=keys).sort_values(keys)
    return [common.merge(side, on=keys, how="left", validate="one_to_one") for side in sides]


@of_task
def _pair_rows(
    study: Study, results: Results, task: str, pair, sides: list[pd.DataFrame], sizes: pd.DataFrame
) -> list[dict]:
    rows, differences = [], []
    for size in sizes.to_dict("records"):
        some = [side[side["fraction"] == size["fraction"]] for side in sides]
        a, b = (results.scores(task, runs) for runs in some)
        differences.append(_difference(study, task, a, b, some[0]))
        rows.append(_row(study, task, pair, some, size, differences[-1], a, b))
    for row, found in zip(rows[:-1], differences, strict=False):
        spare = row["n_runs"] - row["n_backbones"] * len(a)
        row.update(_excess(study, found, differences[-1], spare))
    return rows


def _excess(study: Study, some: Estimate, most: Estimate, spare: int) -> dict[str, float]:
    """By how much more the sources differ than at the largest size, with an interval.

    Resampled patients are the same at all sizes, so replicates can be subtracted. Of the two degrees of
    freedom, of patients tested and of draws, the smaller one counts, which errs on the wide side.

    What errs on the narrow side: with all patients there is one training for every fold and backbone, so the
    largest size enters without the variation of training, which several draws put into the smaller ones.
    """
    excess = replace(some - most, degrees=min(some.patients - some.folds, spare))
    low, high = excess.interval(study.compare.confidence)
    return {
        "excess": excess.value, "excess_low": low, "excess_high": high, "excess_p": excess.p_value(),
    }  # fmt: skip


def _row(study: Study, task: str, pair, sides: list[pd.DataFrame], size: dict, found: Estimate, a, b) -> dict:
    delta = sides[0].assign(delta=sides[0]["test_auc"] - sides[1]["test_auc"])
    return {
        "task": task, "source_a": pair[0], "source_b": pair[1], **size, "auc_a": mean_auc(a),
        "auc_b": mean_auc(b), **difference_columns(study, found), "least_p": found.smallest_p(),
        "interval_holds": BOTH if size["fraction"] < 1 else TESTED,
        "sd_draws": _scatter(delta, "delta"), "repeats": sides[0]["order"].nunique(),
        "n_runs": len(sides[0]), "n_backbones": sides[0]["backbone"].nunique(),
        "lr": study.label_efficiency.lr, **tested(a),
        "resamples": study.compare.resamples, "simulated": study.simulated,
    }  # fmt: skip


def _difference(study: Study, task: str, a, b, runs: pd.DataFrame) -> Estimate:
    """Over patients tested, and where patients were drawn for training, over draws too.

    With the seed of 04_auc: the same resampled patients there, at all sizes and for all pairs.
    """
    drawn = [group["backbone"].to_numpy() for _, group in runs.groupby("fold")]
    return bootstrap_pair(study, task, a, b, None if (runs["fraction"] == 1).all() else drawn)


def _curves(study: Study, runs: pd.DataFrame, task: str, sizes: pd.DataFrame) -> list[dict]:
    """Mean AUC of every source at every size, over the backbones that it has."""
    numbers = dict(zip(sizes["fraction"], sizes["n_train_patients"], strict=True))
    rows = []
    for (source, fraction), group in runs.groupby(["source", "fraction"]):
        rows.append(
            {
                "task": task, "source": source, "fraction": fraction,
                "n_train_patients": numbers[fraction], "auc": group["test_auc"].mean(),
                "sd_draws": _scatter(group, "test_auc"), "n_backbones": group["backbone"].nunique(),
            }
        )  # fmt: skip
    return sorted(rows, key=lambda row: (study.sources.index(row["source"]), row["fraction"]))


def _scatter(runs: pd.DataFrame, column: str) -> float:
    """SD over draws of one training, within fold and backbone (divisor n - 1); NaN where nothing is drawn."""
    return float(np.sqrt(runs.groupby(_CELL)[column].var(ddof=1).mean()))
