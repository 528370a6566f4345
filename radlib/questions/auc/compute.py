"""Differences between sources: paired, by patient, with intervals; the tables of `reports/<study>/`.

`grid_mean` averages all settings that both sources of a pair have, as the re-created paper does.
`best_by_validation` takes, for each source and in each fold, the setting that the fold's own validation part
likes best; its interval is conditional on that choice. They are two different numbers. Test patients choose
nothing: over all folds together they would, because who is tested in one fold validates in another.

Where every setting was trained with several seeds, the interval of `grid_mean` holds the luck of training
beside that of patients; `interval_holds` says which. That of `best_by_validation` holds patients alone: a
single setting has few trainings to tell how they vary.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from radlib.errors import UserError
from radlib.progress import progress
from radlib.questions.verdicts import EQUIVALENCE, of_finished_runs, tested_equivalence, verdicts
from radlib.seeds import seed_of
from radlib.stats.bootstrap import Difference, RocBand, bootstrap_delta, interval, p_value, roc_band
from radlib.stats.delong import delong_difference
from radlib.stats.folds import smaller_class, tested
from radlib.stats.intervals import resamples_needed
from radlib.stats.models import holm
from radlib.stats.two_levels import bootstrap_both_levels
from radlib.store import read_report, write_table
from radlib.study import Study
from radlib.study.titles import ESTIMATES, ordered_pairs, pair_title, setting_title, task_title
from radlib.training.results import (
    BOTH,
    PATIENTS,
    SETTING,
    Results,
    headline_runs,
    load_results,
    paired_runs,
    settings_by_fold,
    trained_again,
)

__all__ = [
    "Comparison", "bootstrap_pair", "compare_sources", "grid_table", "headline_runs", "load_results",
    "luck_held", "paired_runs", "read_tables", "roc_bands", "save_tables", "select_setting", "setting_deltas",
]  # fmt: skip

COLUMNS = [
    "task", "estimate", "source_a", "source_b", "auc_a", "auc_b", "delta", "ci_low", "ci_high", "p_value",
    "p_holm", "n_patients", "n_images", "n_positive", "n_runs", "resamples", "simulated",
    "delong_ci_low", "delong_ci_high", "delong_p", "sd_a", "sd_b", "setting_a", "setting_b",
    "interval_holds", *EQUIVALENCE, "p_tost_holm", "verdict", "verdict_holm",
]  # fmt: skip
OVERALL_COLUMNS = [
    "estimate", "source_a", "source_b", "n_tasks", "auc_a", "auc_b", "delta", "ci_low", "ci_high", "p_value",
    "n_patients", "n_images", "n_positive", "n_runs", "resamples", "simulated", "interval_holds",
    *EQUIVALENCE, "verdict",
]  # fmt: skip
_FAMILY = ["source_a", "source_b", "estimate"]
BAND_RESAMPLES = 500


@dataclass(frozen=True)
class Comparison:
    """`table` (`COLUMNS`): a row per task, pair and estimate; `overall` (`OVERALL_COLUMNS`); `notes`."""

    table: pd.DataFrame
    overall: pd.DataFrame
    notes: list[str]


@dataclass(frozen=True)
class _Cell:
    """One row of the table, with what the mean over tasks needs.

    sample: patients of the smaller class, folds, and degrees of freedom where they are not these two's.
    sides: the runs of both sources.
    """

    row: dict
    draws: np.ndarray
    sample: tuple[int, int, float | None]
    sides: list[pd.DataFrame]


def compare_sources(study: Study, results: Results) -> Comparison:
    """Every task x pair x estimate, Holm across the tasks of a pair and estimate, and the mean over tasks.

    Raises:
        UserError: too few patients or resamples for an interval; the headline pair has no runs in common.
    """
    cells, notes = [], list(results.notes)
    luck = {pair: luck_held(results, pair) for pair in ordered_pairs(study)}
    for task in progress(results.tasks, description="bootstrap"):
        for pair in ordered_pairs(study):
            sides = paired_runs(results.of_task(task), pair)
            if sides[0].empty:
                notes.append(f"{task_title(study, task)}: {pair_title(study, pair)} has no runs in common")
                continue
            for estimate in ESTIMATES:
                holds = luck[pair] if estimate == "grid_mean" else PATIENTS
                cells.append(_cell(study, results, task, pair, sides, estimate, holds))
    headline = tuple(study.compare.headline)
    if not any((cell.row["source_a"], cell.row["source_b"]) == headline for cell in cells):
        raise UserError("the sources of compare.headline have no setting in common; choose another pair")
    table = pd.DataFrame([cell.row for cell in cells])
    families = table.groupby(_FAMILY, sort=False)
    for name, corrected in (("p_value", "p_holm"), ("p_tost", "p_tost_holm")):
        table[corrected] = families[name].transform(lambda p: holm(p.to_numpy()))
    groups = [group for _, group in families]
    overall = pd.DataFrame([_overall_row(study, group, cells) for group in groups])
    table["verdict"] = verdicts(study, table, "p_value", "p_tost")
    table["verdict_holm"] = verdicts(study, table, "p_holm", "p_tost_holm")
    overall["verdict"] = verdicts(study, overall, "p_value", "p_tost")
    for name in ("verdict", "verdict_holm"):
        table[name] = [of_finished_runs(word, c.sides) for word, c in zip(table[name], cells, strict=True)]
    all_tasks = [_joined([cells[i] for i in group.index]) for group in groups]
    overall["verdict"] = [of_finished_runs(*of) for of in zip(overall["verdict"], all_tasks, strict=True)]
    notes += _resolution_notes(study, table, cells)
    return Comparison(table[COLUMNS], overall[OVERALL_COLUMNS], notes)


def _joined(cells: list[_Cell]) -> list[pd.DataFrame]:
    """Both sides' runs of several tasks."""
    return [pd.concat(runs) for runs in zip(*(cell.sides for cell in cells), strict=True)]


def _resolution_notes(study: Study, table: pd.DataFrame, cells: list[_Cell]) -> list[str]:
    """Where even resamples that all point one way could not pass Holm's correction."""
    blind = set()
    for _, group in table.groupby(_FAMILY, sort=False):
        ones = np.ones(study.compare.resamples)
        smallest = min(p_value(ones, *cells[i].sample) for i in group.index)
        if smallest * len(group) >= 1 - study.compare.confidence:
            blind.add(len(group))
    return [
        f"{study.compare.resamples} resamples are too few for Holm's correction over {count} tasks: no "
        "difference could pass it; raise compare.resamples, or use more patients"
        for count in sorted(blind)
    ]


def select_setting(runs: pd.DataFrame) -> tuple[str, str, float]:
    """(backbone, train, lr) with the highest mean `val_auc` of the runs given; reads no test figure.

    Ties go to the lower mean `val_loss`, then to the first by name.
    """
    means = runs.groupby(SETTING, as_index=False)[["val_auc", "val_loss"]].mean()
    # Equal values summed in another order may differ in the last digit.
    means["val_auc"] = means["val_auc"].round(12)
    best = means.sort_values(["val_auc", "val_loss", *SETTING], ascending=[False, True, True, True, True])
    return tuple(best.iloc[0][SETTING])


def chosen_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """In every fold, the runs of the setting that the fold's own validation part chose."""
    chosen = [_with_setting(some, select_setting(some)) for _, some in runs.groupby("fold")]
    return pd.concat(chosen).sort_values(["fold", "seed"], ignore_index=True)


def luck_held(results: Results, pair: tuple[str, str]) -> str:
    """What the intervals of a pair can hold: trainings only if every task has several of every setting."""
    sides = [paired_runs(results.of_task(task), pair)[0] for task in results.tasks]
    return BOTH if all(trained_again(settings_by_fold(runs)) for runs in sides if len(runs)) else PATIENTS


def _cell(study: Study, results: Results, task: str, pair, sides, estimate: str, holds: str) -> _Cell:
    tuned = estimate == "best_by_validation"
    if tuned:
        sides = [chosen_runs(runs) for runs in sides]
    a, b = (results.scores(task, runs) for runs in sides)
    options = study.compare
    found = bootstrap_pair(study, task, a, b, settings_by_fold(sides[0]) if holds == BOTH else None)
    sample = (smaller_class(a), len(a), found.degrees)
    check = delong_difference(a, b, confidence=options.confidence)
    row = {
        "task": task, "estimate": estimate, "source_a": pair[0], "source_b": pair[1],
        "auc_a": found.auc_a, "auc_b": found.auc_b, "delta": found.delta,
        "ci_low": found.ci_low, "ci_high": found.ci_high, "p_value": found.p_value,
        **tested(a), "n_runs": len(sides[0]), "resamples": options.resamples, "simulated": study.simulated,
        "delong_ci_low": check.ci_low, "delong_ci_high": check.ci_high, "delong_p": check.p_value,
        **_about_side("a", sides[0], tuned), **_about_side("b", sides[1], tuned),
        "interval_holds": holds, **tested_equivalence(study, found.draws, sample),
    }  # fmt: skip
    return _Cell(row, found.draws, sample, sides)


def bootstrap_pair(study: Study, task: str, a, b, settings: list[np.ndarray] | None) -> Difference:
    """The difference of two sides of a task; resampled are patients and, given the runs' settings, trainings.

    One seed a task: all pairs see the same resampled patients, and tasks are resampled independently.

    Args:
        a, b: `FoldScores` of every fold. settings: as `settings_by_fold` gives them, or None.
    Raises:
        UserError: as `bootstrap_delta` and `bootstrap_both_levels`.
    """
    seed, options = seed_of(study.seed, "bootstrap", task), study.compare
    if settings is None:
        return bootstrap_delta(a, b, options.resamples, seed, options.confidence)
    return bootstrap_both_levels(a, b, settings, options.resamples, seed, options.confidence)


def _with_setting(runs: pd.DataFrame, setting: tuple) -> pd.DataFrame:
    return pd.DataFrame([setting], columns=SETTING).merge(runs, on=SETTING)


def _about_side(side: str, runs: pd.DataFrame, tuned: bool) -> dict[str, float | str]:
    """How the settings of a grid scatter; or which were chosen, those of most folds first."""
    if not tuned:
        return {f"sd_{side}": _spread(runs), f"setting_{side}": "all in common"}
    folds = runs.groupby(SETTING)["fold"].nunique().sort_values(ascending=False, kind="stable")
    named = [f"{setting_title(*setting)} ({n} of {folds.sum()} folds)" for setting, n in folds.items()]
    return {f"sd_{side}": np.nan, f"setting_{side}": "; ".join(named)}


def _spread(runs: pd.DataFrame) -> float:
    """SD (divisor n - 1) over settings of the setting's mean test AUC; NaN for a single setting."""
    return float(runs.groupby(SETTING)["test_auc"].mean().std(ddof=1))


def _overall_row(study: Study, group: pd.DataFrame, cells: list[_Cell]) -> dict:
    """Mean over tasks, each counting the same; the interval is for these tasks, not for tasks at large.

    Tasks are resampled independently, so their draws are averaged. The correction for few patients is the
    strongest of any single task's, which errs on the wide side.
    """
    chosen = [cells[i] for i in group.index]
    draws = np.mean([cell.draws for cell in chosen], axis=0)
    confidence = study.compare.confidence
    sample = max((cell.sample for cell in chosen), key=lambda s: resamples_needed(confidence, *s))
    low, high = interval(draws, confidence, *sample)
    return {
        **{key: group[key].iloc[0] for key in _FAMILY},
        "n_tasks": len(group),
        **{key: group[key].mean() for key in ("auc_a", "auc_b", "delta")},
        "ci_low": low,
        "ci_high": high,
        "p_value": p_value(draws, *sample),
        **{key: group[key].sum() for key in ("n_patients", "n_images", "n_positive", "n_runs")},
        "resamples": study.compare.resamples,
        "simulated": study.simulated,
        "interval_holds": group["interval_holds"].iloc[0],
        **tested_equivalence(study, draws, sample),
    }


# Tables and curves for the figures ------------------------------------------------------------------------


def grid_table(study: Study, results: Results) -> pd.DataFrame:
    """Columns task, source, mean, sd (over settings, divisor n - 1), n_settings: the figure as published."""
    rows = []
    for task in results.tasks:
        for source, runs in headline_runs(study, results.of_task(task)).items():
            settings = runs.groupby(SETTING)["test_auc"].mean()
            rows.append((task, source, settings.mean(), settings.std(ddof=1), len(settings)))
    return pd.DataFrame(rows, columns=["task", "source", "mean", "sd", "n_settings"])


def setting_deltas(study: Study, results: Results) -> pd.DataFrame:
    """Columns task, backbone, train, lr, delta: headline difference, mean over folds and seeds."""
    tables = []
    for task in results.tasks:
        a, b = paired_runs(results.of_task(task), study.compare.headline)
        delta = a[SETTING].assign(task=task, delta=a["test_auc"] - b["test_auc"])
        tables.append(delta.groupby(["task", *SETTING], as_index=False)["delta"].mean())
    return pd.concat(tables, ignore_index=True)


def roc_bands(study: Study, results: Results, points: int = 51) -> dict[str, dict[str, RocBand]]:
    """By task and source: the mean curve over the runs of `headline_runs`, with its pointwise band.

    A band is for the eye and takes `BAND_RESAMPLES`, more only where few patients need them.
    """
    grid = np.linspace(0, 1, points)
    options = study.compare
    bands: dict[str, dict[str, RocBand]] = {}
    for task in progress(results.tasks, description="ROC curves"):
        seed = seed_of(study.seed, "bootstrap", task)
        bands[task] = {}
        for source, runs in headline_runs(study, results.of_task(task)).items():
            folds = results.scores(task, runs)
            needed = 10 * resamples_needed(options.confidence, smaller_class(folds), len(folds))
            resamples = min(options.resamples, max(BAND_RESAMPLES, needed))
            bands[task][source] = roc_band(folds, grid, resamples, seed, options.confidence)
    return bands


# Files ----------------------------------------------------------------------------------------------------


def save_tables(study: Study, comparison: Comparison) -> None:
    """Write auc.csv and overall.csv of `reports/<study>/`, each whole or not at all."""
    write_table(comparison.table, study.report_dir / "auc.csv")
    write_table(comparison.overall, study.report_dir / "overall.csv")


def read_tables(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """auc.csv and overall.csv as `save_tables` wrote them.

    Raises:
        UserError: a table is missing, or was written for other tasks or sources.
    """
    tables = []
    for name, columns in (("auc.csv", COLUMNS), ("overall.csv", OVERALL_COLUMNS)):
        tables.append(read_report(study.report_dir / name, columns, "auc"))
    pairs = set(zip(tables[0]["source_a"], tables[0]["source_b"], strict=True))
    if not (set(tables[0]["task"]) <= set(study.tasks) and pairs <= set(ordered_pairs(study))):
        raise UserError(
            f"{study.report_dir}/auc.csv holds tasks or pairs outside the study; run dvc repro auc"
        )
    if bool(tables[0]["simulated"].any()) != study.simulated:
        raise UserError(f"{study.report_dir}/auc.csv is of other data than the study's; run dvc repro auc")
    return tables[0], tables[1]
