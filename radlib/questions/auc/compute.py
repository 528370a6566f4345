"""Differences in AUC between sources: paired, by patient, with intervals.

`grid_mean` averages all settings that both sources of a pair have, as the re-created paper does.
`best_by_validation` takes, for each source and in each fold, the setting that the fold's own validation part
likes best; its interval is conditional on that choice. They are two different numbers. Test patients choose
nothing: over all folds together they would, because who is tested in one fold validates in another.

Where every setting was trained with several seeds, the interval of `grid_mean` covers the variation between
trainings beside that between patients; `interval_holds` says which. That of `best_by_validation` holds
patients alone: a single setting has few trainings to tell how they vary.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from radlib.errors import UserError, of_task
from radlib.progress import progress
from radlib.questions.auc.table import AUC, OVERALL
from radlib.questions.verdicts import difference_columns, diverged, verdicts
from radlib.seeds import seed_of
from radlib.show.findings import unless_diverged
from radlib.stats.bootstrap import bootstrap_delta, mean_auc, roc_band
from radlib.stats.delong import delong_difference
from radlib.stats.estimate import BOTH, PATIENTS, Estimate, mean_of, resamples_needed
from radlib.stats.folds import smaller_class, tested
from radlib.stats.models import holm
from radlib.study import Study
from radlib.study.titles import ESTIMATES, ordered_pairs, pair_title, setting_title, task_title
from radlib.training.results import (
    SETTING,
    Results,
    headline_runs,
    paired_runs,
    settings_by_fold,
    trained_again,
)

_FAMILY = ["source_a", "source_b", "estimate"]
BAND_RESAMPLES = 500


@dataclass(frozen=True)
class Comparison:
    """`table` (`AUC`): a row per task, pair and estimate; `overall` (`OVERALL`); `notes`."""

    table: pd.DataFrame
    overall: pd.DataFrame
    notes: list[str]


def compare_sources(study: Study, results: Results) -> Comparison:
    """Every task x pair x estimate, Holm across the tasks of a pair and estimate, and the mean over tasks.

    Raises:
        UserError: too few patients or resamples for an interval; the headline pair has no runs in common.
    """
    rows, differences, compared, notes = [], [], [], list(results.notes)
    resampled = {pair: what_is_resampled(results, pair) for pair in ordered_pairs(study)}
    for task in progress(results.tasks, description="bootstrap"):
        for pair in ordered_pairs(study):
            sides = paired_runs(results.of_task(task), pair)
            if sides[0].empty:
                notes.append(f"{task_title(study, task)}: {pair_title(study, pair)} has no runs in common")
                continue
            for estimate in ESTIMATES:
                holds = resampled[pair] if estimate == "grid_mean" else PATIENTS
                runs = [chosen_runs(side) for side in sides] if estimate == "best_by_validation" else sides
                row, difference = _compared(study, results, task, runs, estimate, holds)
                rows.append({"task": task, "source_a": pair[0], "source_b": pair[1], **row})
                differences.append(difference)
                compared.append(runs)
    headline = tuple(study.compare.headline)
    if not any((row["source_a"], row["source_b"]) == headline for row in rows):
        raise UserError("the sources of compare.headline have no setting in common; choose another pair")
    table = pd.DataFrame(rows)
    families = table.groupby(_FAMILY, sort=False)
    for name, corrected in (("p_value", "p_holm"), ("p_tost", "p_tost_holm")):
        table[corrected] = families[name].transform(lambda p: holm(p.to_numpy()))
    overall = pd.DataFrame([_overall_row(study, group, differences) for _, group in families])
    table["verdict"] = verdicts(study, table, "p_value", "p_tost")
    table["verdict_holm"] = verdicts(study, table, "p_holm", "p_tost_holm")
    overall["verdict"] = verdicts(study, overall, "p_value", "p_tost")
    lost = [diverged(*sides) for sides in compared]
    for name in ("verdict", "verdict_holm"):
        table[name] = list(map(unless_diverged, table[name], lost))
    joined = [zip(*(compared[i] for i in rows), strict=True) for rows in families.groups.values()]
    lost_of_all = [diverged(*map(pd.concat, sides)) for sides in joined]
    overall["verdict"] = list(map(unless_diverged, overall["verdict"], lost_of_all))
    notes += _resolution_notes(study, families.groups.values(), differences)
    return Comparison(table[AUC.names], overall[OVERALL.names], notes)


def _resolution_notes(study: Study, families, differences: list[Estimate]) -> list[str]:
    """Where even resamples that all point one way could not pass Holm's correction."""
    smallest = {tuple(rows): min(differences[i].smallest_p() for i in rows) for rows in families}
    blind = {len(rows) for rows, p in smallest.items() if p * len(rows) >= 1 - study.compare.confidence}
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


def what_is_resampled(results: Results, pair: tuple[str, str]) -> str:
    """Trainings beside patients only if every task has several trainings of every setting of the pair."""
    sides = [paired_runs(results.of_task(task), pair)[0] for task in results.tasks]
    return BOTH if all(trained_again(settings_by_fold(runs)) for runs in sides if len(runs)) else PATIENTS


@of_task
def _compared(
    study: Study, results: Results, task: str, sides: list[pd.DataFrame], estimate: str, holds: str
) -> tuple[dict, Estimate]:
    tuned = estimate == "best_by_validation"
    a, b = (results.scores(task, runs) for runs in sides)
    options = study.compare
    found = bootstrap_pair(study, task, a, b, settings_by_fold(sides[0]) if holds == BOTH else None)
    check = delong_difference(a, b, confidence=options.confidence)
    row = {
        "estimate": estimate, "auc_a": mean_auc(a), "auc_b": mean_auc(b), **difference_columns(study, found),
        **tested(a), "n_runs": len(sides[0]), "resamples": options.resamples, "simulated": study.simulated,
        "delong_ci_low": check.ci_low, "delong_ci_high": check.ci_high, "delong_p": check.p_value,
        **_about_side("a", sides[0], tuned), **_about_side("b", sides[1], tuned),
    }  # fmt: skip
    return row, found


def bootstrap_pair(study: Study, task: str, a, b, settings: list[np.ndarray] | None) -> Estimate:
    """The difference of two sides of a task; resampled are patients and, given the runs' settings, trainings.

    One seed a task: all pairs see the same resampled patients, and tasks are resampled independently.

    Args:
        a, b: `FoldScores` of every fold. settings: as `settings_by_fold` gives them, or None.
    Raises:
        ValueError: as `bootstrap_delta`.
    """
    return bootstrap_delta(a, b, study.compare.resamples, seed_of(study.seed, "bootstrap", task), settings)


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


def _overall_row(study: Study, group: pd.DataFrame, differences: list[Estimate]) -> dict:
    """Mean over tasks, each counting the same; the interval is for these tasks, not for tasks at large."""
    found = mean_of([differences[i] for i in group.index], study.compare.confidence)
    return {
        **{key: group[key].iloc[0] for key in _FAMILY},
        "n_tasks": len(group),
        **{key: group[key].mean() for key in ("auc_a", "auc_b")},
        **{key: group[key].sum() for key in ("n_patients", "n_images", "n_positive", "n_runs")},
        "resamples": study.compare.resamples,
        "simulated": study.simulated,
        **difference_columns(study, found),
    }


# Tables and curves for the figures ------------------------------------------------------------------------


def auc_by_source(study: Study, results: Results) -> pd.DataFrame:
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


def roc_bands(study: Study, results: Results, points: int = 51) -> dict[str, dict[str, Estimate]]:
    """By task and source: the mean curve over the runs of `headline_runs`, at as many even rates as `points`.

    A band is for the eye and takes `BAND_RESAMPLES`, more only where few patients need them.
    """
    grid = np.linspace(0, 1, points)
    options = study.compare
    bands: dict[str, dict[str, Estimate]] = {}
    for task in progress(results.tasks, description="ROC curves"):
        seed = seed_of(study.seed, "bootstrap", task)
        bands[task] = {}
        for source, runs in headline_runs(study, results.of_task(task)).items():
            folds = results.scores(task, runs)
            needed = 10 * resamples_needed(options.confidence, smaller_class(folds), len(folds))
            resamples = min(options.resamples, max(BAND_RESAMPLES, needed))
            bands[task][source] = roc_band(folds, grid, resamples, seed)
    return bands
