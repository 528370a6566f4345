"""How many training patients until the source no longer matters? (14_label_efficiency)

Sources are compared at every size. `excess` is by how much more they differ than at the largest size: what a
claim about small data means.

Every task is another chance to be wrong, so p-values of differences, of equivalence and of `excess` are
corrected (Holm) over the tasks of a pair at a size. Sizes of one task share patients, and are not corrected
among one another.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.labels_worth import WORTH, worth_rows
from radlib.questions.verdicts import (
    corrected,
    difference_columns,
    diverged,
    estimate_columns,
    too_few_resamples,
)
from radlib.seeds import seed_of
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import NOT_SHOWN, Finding, direction, finding_of
from radlib.show.table import Column, Table, hidden, interval_columns, p_text
from radlib.stats.bootstrap import bootstrap_run_aucs, run_weights
from radlib.stats.estimate import Estimate
from radlib.stats.folds import tested
from radlib.study import Study
from radlib.study.titles import ordered_pairs, pair_title, source_title, task_title
from radlib.training.partial import part_sizes, trained
from radlib.training.results import Results, paired_runs

NO_TASKS = "This study names no task in `label_efficiency.tasks`, so there is nothing to train and no curve."
TESTED, BOTH = "patients tested", "patients tested and patients drawn"
EXCESS = ("excess", "excess_low", "excess_high")
EFFICIENCY = Table(
    "label_efficiency.csv",
    "label_efficiency",
    "task, pair of sources and part of the patients",
    [
        common.TASK,
        *common.PAIR,
        Column("fraction", "part of the training patients", "part", ".0%"),
        Column("n_train_patients", "training patients", "training patients", common.COUNT),
        *common.SIDES,
        *common.DELTA,
        Column("p_value", "two-sided, of no difference"),
        common.P_HOLM,
        Column("p_tost", "of two one-sided tests of equivalence"),
        Column("p_tost_holm", "the same after Holm's correction"),
        common.RESAMPLED,
        *interval_columns(
            EXCESS[0],
            "difference in differences: this size minus the largest",
            "more than with all",
            low=EXCESS[1],
            high=EXCESS[2],
        ),
        Column("excess_p", "two-sided, of no difference in differences"),
        Column("excess_p_holm", "after Holm's correction", "p of it (Holm)", p_text),
        Column("sd_draws", "SD of one training's difference over draws of patients", "SD over draws", ".3f"),
        Column("repeats", "draws"),
        common.RUNS,
        Column("n_backbones", "networks"),
        Column("lr", "learning rate; 0 of a probe"),
        Column("n_validation_patients", "validation patients"),
        common.COUNTS[0],
        *hidden(*common.COUNTS[1:]),
        *common.ORIGIN,
    ],
    index=3,
)
_CELL = ["backbone", "fold"]
_DRAW = ["fraction", *_CELL, "order"]
FAMILY = ["source_a", "source_b", "fraction"]
CORRECTED = {"p_value": "p_holm", "p_tost": "p_tost_holm", "excess_p": "excess_p_holm"}

# Comparison -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Efficiency:
    """`table` (`EFFICIENCY`): a row per task, pair and fraction.

    curves: task, source, fraction, n_train_patients, auc (over the backbones that the source has), sd_draws,
    n_backbones. worth (`WORTH`): a row per task, pair and size.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    notes: list[str]
    worth: pd.DataFrame


def label_efficiency(study: Study) -> Efficiency:
    """Train what the store lacks, and compare sources at every size.

    Raises:
        UserError: data or weights are missing, no frozen setting has the rate, or too few draws or patients
            for an interval.
    """
    rows, worth, curves, notes = [], [], [pd.DataFrame()], []
    for task in study.label_efficiency.tasks:
        sizes, said = part_sizes(study, task)
        results = trained(study, task, list(sizes["fraction"]))
        notes += said
        drawn = _drawn(study, results, task)
        for pair in progress(ordered_pairs(study), description=f"bootstrap of {task}"):
            sides = paired_runs(results.runs, pair, _DRAW)
            if sides[0].empty:
                notes.append(f"{task_title(study, task)}: {pair_title(study, pair)} has no runs in common")
            else:
                compared, sideways = _pair_rows(study, results, task, pair, sides, sizes, drawn)
                rows, worth = rows + compared, worth + sideways
        curves.append(_curves(results.runs, sizes).assign(task=task))
    table = pd.DataFrame(rows, columns=[*(column.name for column in EFFICIENCY.columns), "least_p"])
    notes += too_few_resamples(study, table, FAMILY)
    table = corrected(table, FAMILY, CORRECTED)
    same = {"resamples": study.compare.resamples, "simulated": study.simulated}
    lr = study.label_efficiency.lr if study.label_efficiency.train == "frozen" else 0
    table = EFFICIENCY.frame(table.to_dict("records"), lr=lr, **same)
    return Efficiency(table, pd.concat(curves, ignore_index=True), notes, WORTH.frame(worth, **same))


@of_task
def _drawn(study: Study, results: Results, task: str) -> dict[tuple[str, float], tuple[pd.Index, Estimate]]:
    """By source and fraction: its runs, and the AUC of each over the patients that 05_auc resamples."""
    resamples, seed = study.compare.resamples, seed_of(study.seed, "bootstrap", task)
    ordered = results.runs.sort_values("fold", kind="stable")
    return {
        key: (pd.Index(runs["run"]), bootstrap_run_aucs(results.scores(task, runs), resamples, seed))
        for key, runs in ordered.groupby(["source", "fraction"])
    }


@of_task
def _pair_rows(
    study: Study, results: Results, task: str, pair, sides: list[pd.DataFrame], sizes: pd.DataFrame, drawn
) -> tuple[list[dict], list[dict]]:
    """Rows of `EFFICIENCY` and of `WORTH`."""
    rows, differences, curves = [], [], []
    about = {"task": task, "source_a": pair[0], "source_b": pair[1]}
    for size in sizes.to_dict("records"):
        fraction = size["fraction"]
        some = [side[side["fraction"] == fraction].sort_values("fold", kind="stable") for side in sides]
        a, b = (_of_runs(*drawn[own, fraction], runs) for own, runs in zip(pair, some, strict=True))
        # The same draws of patients for all sizes and pairs, as of the patients tested.
        settings = [group["backbone"].to_numpy() for _, group in some[0].groupby("fold")]
        seed = seed_of(study.seed, "bootstrap", task)
        weights = run_weights(settings, study.compare.resamples, seed) if fraction < 1 else None
        count = sum(len(np.unique(names)) for names in settings)
        found, *curve = (x.mean_of_runs(weights, count) for x in (a - b, a, b))
        differences, curves = [*differences, found], [*curves, curve]
        rows.append(about | size | _row(study, some, found, curve) | tested(results.scores(task, some[0])))
    for row, found in zip(rows[:-1], differences, strict=False):
        row.update(_excess(study, found, differences[-1]))
    if len(rows) < 2:
        return rows, []
    patients, (of_a, of_b) = list(sizes["n_train_patients"]), zip(*curves, strict=True)
    lost = {"diverged": next((row["diverged"] for row in rows if row["diverged"]), None)}
    worth = worth_rows(study, patients, of_a, of_b)
    return rows, [about | lost | row for row in worth]


def _of_runs(names: pd.Index, aucs: Estimate, runs: pd.DataFrame) -> Estimate:
    return aucs.columns(names.get_indexer(runs["run"]))


def _row(study: Study, sides: list[pd.DataFrame], found: Estimate, curve: list[Estimate]) -> dict:
    delta = sides[0].assign(delta=sides[0]["test_auc"] - sides[1]["test_auc"])
    drawn = (sides[0]["fraction"] < 1).all()
    return {
        "auc_a": curve[0].value,
        "auc_b": curve[1].value,
        **difference_columns(study, found),
        "resampled": BOTH if drawn else TESTED,
        "sd_draws": _scatter(delta, "delta"),
        "repeats": sides[0]["order"].nunique(),
        "n_runs": len(sides[0]),
        "n_backbones": sides[0]["backbone"].nunique(),
        "diverged": diverged(*sides),
    }


def _excess(study: Study, some: Estimate, most: Estimate) -> dict[str, float]:
    """By how much more the sources differ than at the largest size, with an interval.

    Resampled patients are the same at all sizes, so replicates can be subtracted.

    What errs on the narrow side: with all patients there is one training for every fold and backbone, so the
    largest size enters without the variation of training, which several draws put into the smaller ones.
    """
    excess = some - most
    return estimate_columns(study, excess, EXCESS) | {"excess_p": excess.p_value()}


def _curves(runs: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    of_size = runs.groupby(["source", "fraction"])
    curves = of_size.agg(auc=("test_auc", "mean"), n_backbones=("backbone", "nunique"))
    curves["sd_draws"] = [_scatter(some, "test_auc") for _, some in of_size]
    return curves.reset_index().merge(sizes[["fraction", "n_train_patients"]], on="fraction")


def _scatter(runs: pd.DataFrame, column: str) -> float:
    """SD over draws of one training, within fold and backbone (divisor n - 1); NaN where nothing is drawn."""
    return float(np.sqrt(runs.groupby(_CELL)[column].var(ddof=1).mean()))


# Findings -------------------------------------------------------------------------------------------------


def efficiency_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """The headline pair, task by task: from which size on nothing is shown, and whom few patients favour."""
    pair = tuple(study.compare.headline)
    found = []
    for task, rows in style.of_pair(table, pair).groupby("task", sort=False):
        rows = rows.sort_values("fraction")
        lost = rows["diverged"].dropna() if "diverged" in rows else []
        first, last = (
            {**row, "diverged": next(iter(lost), None)} for _, row in rows.iloc[[0, -1]].iterrows()
        )
        title = f"AUC, {pair_title(study, pair)}: {task_title(study, task)}"
        sizes = f"{title}, {last['n_train_patients']:,} training patients"
        found.append(finding_of(last, sizes, _from(study, rows)))
        if pd.notna(first["excess"]):
            shown = first["excess_p_holm"] < 1 - study.compare.confidence
            word = direction(first["excess_low"], first["excess_high"]) if shown else NOT_SHOWN
            found.append(finding_of(first, f"{title}, fewest minus most patients", word, EXCESS))
    return found


def _from(study: Study, rows: pd.DataFrame) -> str:
    """After Holm's correction: from which size on a difference is shown or none, and equivalence."""
    alpha, margin, last = 1 - study.compare.confidence, study.compare.equivalence, rows.iloc[-1]
    shown = ((rows["ci_low"] > 0) | (rows["ci_high"] < 0)) & (rows["p_holm"] < alpha)
    size = _from_size(rows, ~shown)
    if size is None:
        same = shown & (np.sign(rows["delta"]) == np.sign(last["delta"]))
        ahead = source_title(study, last["source_a" if last["delta"] > 0 else "source_b"])
        return f"{ahead} is ahead from {_from_size(rows, same)} training patients on"
    within = (rows["ci_low"] >= -margin) & (rows["ci_high"] <= margin)
    equal = _from_size(rows, within & (rows["p_tost_holm"] < alpha))
    word = f"{NOT_SHOWN} from {size} training patients on"
    return f"{word}, equivalence from {equal} on" if equal else f"{word}, and no equivalence"


def _from_size(rows: pd.DataFrame, holds: pd.Series) -> int | None:
    """The smallest number of training patients from which on all rows hold; None where the largest does not.

    Args:
        rows: of one task and pair, fractions ascending; holds: bool, one per row.
    """
    held = rows["n_train_patients"][holds[::-1].cummin()[::-1]]
    return int(held.iloc[0]) if len(held) else None
