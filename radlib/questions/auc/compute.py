"""Differences in AUC between sources: paired, by patient, with intervals.

`grid_mean` averages all settings that both sources of a pair have, as the re-created paper does.
`best_by_validation` takes, for each source and in each fold, the setting that the fold's own validation part
likes best; its interval is conditional on that choice. They are two different numbers. Test patients choose
nothing: over all folds together they would, because who is tested in one fold validates in another.

Every regime is an estimate of its own beside them. Probes (`logistic`, `knn`) enter neither mean: adding one
moves no published mean. In a study without a setting that trains by gradient the first probe is what
`grid_mean` averages.

Where every setting was trained with several seeds, the interval of `grid_mean` covers the variation between
trainings beside that between patients; `resampled` says which. That of `best_by_validation` holds
patients alone: a single setting has few trainings to tell how they vary.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from radlib.errors import UserError, of_task
from radlib.progress import progress
from radlib.questions.verdicts import (
    averaged,
    corrected,
    difference_columns,
    diverged,
    patients_drawn,
    too_few_resamples,
    verdicts,
)
from radlib.seeds import seed_of
from radlib.show import table as common
from radlib.show.style import of_pair
from radlib.show.table import Column, Table
from radlib.stats.bootstrap import bootstrap_delta, mean_auc
from radlib.stats.delong import delong_difference
from radlib.stats.estimate import BOTH, PATIENTS, Estimate, mean_of
from radlib.stats.folds import FoldScores, tested
from radlib.study import Study
from radlib.study.common import PROBES
from radlib.study.titles import estimate_title, ordered_pairs, pair_title, setting_title, task_title
from radlib.training.results import SETTING, Results, paired_runs, settings_by_fold, trained_again

ESTIMATE = Column(
    "estimate",
    "`grid_mean`: mean over the settings that train by gradient; `best_by_validation`: of the one chosen "
    "among them; else: of the settings of that regime",
    "estimate",
    estimate_title,
)
_FIGURES = [*common.SIDES, *common.DELTA, common.P]
_SAMPLE = [*common.COUNTS, common.RUNS, common.RESAMPLES, common.IS_SIMULATED]
_EQUAL = [common.RESAMPLED, *common.EQUIVALENCE]
_VERDICT = Column("verdict", "better, worse, equivalent or undecided, before a correction", "verdict")
AUC = Table(
    "auc.csv",
    "auc",
    "task, pair of sources and estimate",
    [
        common.TASK,
        *common.hidden(ESTIMATE),
        *common.PAIR,
        *_FIGURES,
        common.P_HOLM,
        *_SAMPLE,
        Column("delong_ci_low", "lower end of DeLong's interval, clustered by patient", form="+.3f"),
        Column("delong_ci_high", "its upper end", form="+.3f"),
        Column("delong_p", "p by DeLong"),
        Column("sd_a", "SD over settings of the mean AUC after source a", form=".3f"),
        Column("sd_b", "the same after source b", form=".3f"),
        Column("setting_a", "which settings validation chose for source a"),
        Column("setting_b", "the same for source b"),
        *_EQUAL,
        Column("p_tost_holm", "`p_tost` after Holm's correction over the tasks"),
        _VERDICT,
        Column("verdict_holm", "the verdict after Holm's correction", "after Holm"),
    ],
    index=2,
)
_OF_ALL = [ESTIMATE, *common.PAIR, common.N_TASKS, *_FIGURES, *_SAMPLE, *_EQUAL, _VERDICT]
OVERALL = Table("overall.csv", "auc", "pair of sources and estimate: the mean over tasks", _OF_ALL, index=2)
_FAMILY = ["source_a", "source_b", "estimate"]


@dataclass(frozen=True, eq=False)
class Compared:
    """One row: its columns, the difference itself, and the runs of both sides."""

    row: dict
    difference: Estimate
    sides: Sequence[pd.DataFrame]


@dataclass(frozen=True)
class Comparison:
    """`table` (`AUC`): a row per task, pair and estimate; `overall` (`OVERALL`): their means over tasks.

    compared, means: what the rows of both are of, in their order.
    """

    table: pd.DataFrame
    overall: pd.DataFrame
    notes: list[str]
    compared: list[Compared]
    means: list[Compared]


def compare_sources(
    study: Study,
    results: Results,
    regimes: Mapping[str, Results] | None = None,
    counting: Collection[str] | None = None,
) -> Comparison:
    """Every task x pair x estimate, Holm across the tasks of a pair and estimate, and the mean over tasks.

    Args:
        regimes: of `load_regimes`; each is an estimate by its name.
        counting: as of `averaged`.
    Raises:
        UserError: too few patients or resamples for an interval; the headline pair has no runs in common.
    """
    compared, notes, pairs = [], list(results.notes), ordered_pairs(study)
    for estimate, some in {"grid_mean": results, **(regimes or {})}.items():
        both = {pair: estimate not in PROBES and what_is_resampled(some, pair) == BOTH for pair in pairs}
        for task, pair in progress(list(product(some.tasks, pairs)), description=f"bootstrap, {estimate}"):
            sides = paired_runs(some.of_task(task), pair)
            if sides[0].empty:
                said = f"{task_title(study, task)}: {pair_title(study, pair)} has no runs in common"
                notes += [said] if some is results else []
                continue
            compared.append(_compared(study, some, task, sides, estimate, both[pair]))
            if some is results:
                chosen = [chosen_runs(side) for side in sides]
                compared.append(_compared(study, some, task, chosen, "best_by_validation", False))
    table = pd.DataFrame([one.row for one in compared])
    if table.empty or of_pair(table, study.compare.headline).empty:
        raise UserError("the sources of compare.headline have no setting in common; choose another pair")
    table = corrected(table, _FAMILY, {"p_value": "p_holm", "p_tost": "p_tost_holm"})
    table["verdict"] = verdicts(study, table, "p_value", "p_tost")
    table["verdict_holm"] = verdicts(study, table, "p_holm", "p_tost_holm")
    families = table[table["task"].isin(averaged(table["task"], counting))]
    families = families.groupby(_FAMILY, sort=False).groups.values()
    means = [_mean(study, [compared[i] for i in rows]) for rows in families]
    overall = pd.DataFrame([one.row for one in means], columns=[*OVERALL.names, "diverged"])
    overall["verdict"] = verdicts(study, overall, "p_value", "p_tost")
    notes += too_few_resamples(study, table, _FAMILY)
    return Comparison(table.reindex(columns=AUC.names), overall[OVERALL.names], notes, compared, means)


@of_task
def _compared(study: Study, results: Results, task: str, sides, estimate: str, both: bool) -> Compared:
    """both: whether trainings are resampled beside patients."""
    tuned = estimate == "best_by_validation"
    a, b = (results.scores(task, runs) for runs in sides)
    pair = sides[0]["source"].iloc[0], sides[1]["source"].iloc[0]
    found = bootstrap_pair(study, task, pair, a, b, settings_by_fold(sides[0]) if both else None)
    row = {
        "task": task,
        "source_a": pair[0],
        "source_b": pair[1],
        "estimate": estimate,
        "auc_a": mean_auc(a),
        "auc_b": mean_auc(b),
        **difference_columns(study, found),
        **tested(a),
        "n_runs": len(sides[0]),
        "resamples": study.compare.resamples,
        "simulated": study.simulated,
        "diverged": diverged(*sides),
    }
    if task in results.two_class_tasks:  # a macro-averaged AUC is no mean of DeLong's components
        check = delong_difference(a, b, confidence=study.compare.confidence)
        row |= {"delong_ci_low": check.ci_low, "delong_ci_high": check.ci_high, "delong_p": check.p_value}
    for side, runs in zip("ab", sides, strict=True):
        row[f"sd_{side}"] = np.nan if tuned else runs.groupby(SETTING)["test_auc"].mean().std(ddof=1)
        row[f"setting_{side}"] = _chosen(runs) if tuned else "all in common"
    return Compared(row, found, sides)


def _chosen(runs: pd.DataFrame) -> str:
    """Which settings were chosen, those of most folds first."""
    folds = runs.groupby(SETTING)["fold"].nunique().sort_values(ascending=False, kind="stable")
    return "; ".join(
        f"{setting_title(*setting)} ({n} of {folds.sum()} folds)" for setting, n in folds.items()
    )


def _mean(study: Study, compared: list[Compared]) -> Compared:
    """Mean over tasks, each counting the same; the interval is for these tasks, not for tasks at large."""
    rows = pd.DataFrame([one.row for one in compared])
    sides = [pd.concat(side) for side in zip(*(one.sides for one in compared), strict=True)]
    found = mean_of([one.difference for one in compared], study.compare.confidence)
    row = {
        **rows.loc[0, [*_FAMILY, "resamples", "simulated"]],
        "n_tasks": len(rows),
        **rows[["auc_a", "auc_b"]].mean(),
        # A task of several classes has no positive images, so they are not counted over all tasks either.
        **{n: rows[n].sum(skipna=False) for n in ("n_patients", "n_images", "n_positive", "n_runs")},
        **difference_columns(study, found),
        "diverged": diverged(*sides),
    }
    return Compared(row, found, sides)


def chosen_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """In every fold, the runs of the setting with the highest mean `val_auc` there; reads no test figure.

    Ties go to the lower mean `val_loss`, then to the first by name. Of the pretrainings and seeds that all
    settings have: else a fold would count more, the more of them the setting has that it chose.
    """
    settings = runs.groupby(["fold", "seed", "replicate"])["val_auc"].transform("size")
    runs = runs[settings == len(runs[SETTING].drop_duplicates())]
    means = runs.groupby(["fold", *SETTING], as_index=False)[["val_auc", "val_loss"]].mean()
    # Equal values summed in another order may differ in the last digit.
    means["val_auc"] = -means["val_auc"].round(12)
    best = means.sort_values(["val_auc", "val_loss", *SETTING]).drop_duplicates("fold")
    chosen = best[["fold", *SETTING]].merge(runs, on=["fold", *SETTING])
    return chosen.sort_values(["fold", "seed"], ignore_index=True)


def what_is_resampled(results: Results, pair: tuple[str, str]) -> str:
    """Trainings beside patients only if every task has several trainings of every setting of the pair."""
    sides = [paired_runs(results.of_task(task), pair)[0] for task in results.tasks]
    return BOTH if all(trained_again(settings_by_fold(runs)) for runs in sides if len(runs)) else PATIENTS


def bootstrap_pair(
    study: Study,
    task: str,
    pair: tuple[str, str],
    a: list[FoldScores],
    b: list[FoldScores],
    settings: list[np.ndarray] | None,
) -> Estimate:
    """The difference of two sides of a task over other patients and, given `settings_by_fold`, trainings."""
    seed = seed_of(study.seed, "trainings", task, *pair)
    return bootstrap_delta(a, b, **patients_drawn(study, task), settings=settings, training_seed=seed)
