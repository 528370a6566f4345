"""Beyond the mean: which source comes first and how often, and how many pairs of runs a source wins.

Sources are ranked on what all of them have in common: for the backbones of each source, together with every
other source that has them all. So a checkpoint of one network is ranked on that network, and the others once
more on all of theirs.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.ranking.table import IMPROVEMENT, RANKS
from radlib.seeds import seed_of
from radlib.stats.bootstrap import bootstrap_run_aucs, run_weights
from radlib.stats.estimate import BOTH, PATIENTS, Estimate
from radlib.stats.folds import tested
from radlib.stats.ranks import place_shares, wins
from radlib.study import Study
from radlib.study.titles import ordered_pairs
from radlib.training.results import (
    RUN,
    SETTING,
    Results,
    paired_runs,
    settings_by_fold,
    trained_again,
)

MEAN = "mean over tasks"  # in the column `task`; no task can be called so


@dataclass(frozen=True, eq=False)
class TaskDraws:
    """Every run of a task in every resample of its patients, and of its trainings where there are several.

    runs: R rows, in the order of the R AUCs; weights: (resamples, R), how much each training counts, or None.
    """

    runs: pd.DataFrame
    aucs: Estimate
    weights: np.ndarray | None
    n_patients: int

    @property
    def resampled(self) -> str:
        return PATIENTS if self.weights is None else BOTH

    def columns(self, runs: pd.DataFrame) -> np.ndarray:
        """Where the given runs stand."""
        return pd.Index(self.runs["run"]).get_indexer(runs["run"])

    def mean(self, runs: Estimate, columns: np.ndarray) -> Estimate:
        """The mean of what was computed of the runs in some columns."""
        if self.weights is None:
            return runs.mean_of_runs()
        settings = len(self.runs.iloc[columns][[*SETTING, "fold"]].drop_duplicates())
        return runs.mean_of_runs(self.weights[:, columns], settings)


def draw_tasks(study: Study, results: Results) -> dict[str, TaskDraws]:
    """By task; patients are drawn as in `auc.csv`.

    Raises:
        UserError: a fold that cannot be resampled.
    """
    sides = [runs for _, runs in results.runs.groupby(["task", "source"])]
    both = all(trained_again(settings_by_fold(runs)) for runs in sides)
    return {task: _draw(study, results, task, both) for task in progress(results.tasks, description="ranks")}


@of_task
def _draw(study: Study, results: Results, task: str, both: bool) -> TaskDraws:
    runs = results.of_task(task)
    folds = results.scores(task, runs)
    seed, resamples = seed_of(study.seed, "bootstrap", task), study.compare.resamples
    ordered = runs.sort_values("fold", kind="stable", ignore_index=True)
    weights = _training_weights(ordered, resamples, seed) if both else None
    aucs = bootstrap_run_aucs(folds, resamples, seed)
    return TaskDraws(ordered, aucs, weights, tested(folds)["n_patients"])


def _training_weights(runs: pd.DataFrame, resamples: int, seed: int) -> np.ndarray:
    """(resamples, runs): the trainings of a setting are drawn alike for all sources."""
    trainings = runs[RUN].drop_duplicates(ignore_index=True)
    settings = [group.groupby(SETTING).ngroup().to_numpy() for _, group in trainings.groupby("fold")]
    weights = run_weights(settings, resamples, seed)
    return weights[:, runs.merge(trainings.reset_index(), on=RUN, how="left")["index"]]


# Places ---------------------------------------------------------------------------------------------------


def groups_of(study: Study) -> list[tuple[list[str], list[str]]]:
    """(backbones, sources that have them all), the most backbones first; groups of one source left out."""
    found = {}
    for source in study.sources:
        backbones = [name for name in study.backbones if name in study.backbones_of(source)]
        sources = [s for s in study.sources if set(backbones) <= set(study.backbones_of(s))]
        if len(sources) > 1:
            found[tuple(backbones)] = sources
    return [(list(backbones), found[backbones]) for backbones in sorted(found, key=len, reverse=True)]


def rank_table(study: Study, drawn: dict[str, TaskDraws]) -> pd.DataFrame:
    """`RANKS`: a row per task (and their mean), group of sources, source and place."""
    rows = []
    for backbones, sources in groups_of(study):
        found = {}
        for task, draws in drawn.items():
            columns = _common_columns(draws, backbones, sources)
            if len(columns[0]):
                found_means = [draws.mean(draws.aucs.columns(some), some) for some in columns]
                aucs = np.array([mean.value for mean in found_means])
                means = np.stack([mean.replicates for mean in found_means], axis=1)
                about = {
                    "n_runs": len(columns[0]),
                    "n_patients": draws.n_patients,
                    "resampled": draws.resampled,
                }
                found[task] = (aucs, means, about)
        if found:
            found[MEAN] = _mean_over_tasks(list(found.values()))
        for task, (aucs, means, about) in found.items():
            known = {"task": task, "backbones": " + ".join(backbones), "n_sources": len(sources), **about}
            known |= {"resamples": study.compare.resamples, "simulated": study.simulated}
            rows += [{**known, **row} for row in _places(sources, aucs, means)]
    return RANKS.frame(rows)


def _common_columns(draws: TaskDraws, backbones: list[str], sources: list[str]) -> list[np.ndarray]:
    """Per source, the runs that all these sources have, in one order."""
    some = draws.runs[draws.runs["backbone"].isin(backbones) & draws.runs["source"].isin(sources)]
    common = some[RUN].value_counts().loc[lambda count: count == len(sources)].reset_index()[RUN]
    sides = [common.merge(some[some["source"] == source], on=RUN) for source in sources]
    return [draws.columns(side) for side in sides]


def _mean_over_tasks(found: list[tuple[np.ndarray, np.ndarray, dict]]) -> tuple:
    """Each task counts the same; tasks were resampled independently."""
    aucs, means, about = zip(*found, strict=True)
    counts = {key: sum(one[key] for one in about) for key in ("n_runs", "n_patients")}
    return np.mean(aucs, axis=0), np.mean(means, axis=0), {**counts, "resampled": about[0]["resampled"]}


def _places(sources: list[str], aucs: np.ndarray, means: np.ndarray) -> list[dict]:
    ranks = pd.Series(-aucs).rank().to_numpy()
    shares = place_shares(means)
    return [
        {"source": source, "auc": aucs[i], "rank": ranks[i], "place": place + 1, "share": shares[i, place]}
        for i, source in enumerate(sources)
        for place in range(len(sources))
    ]


# Improvement ----------------------------------------------------------------------------------------------


def improvement_table(study: Study, drawn: dict[str, TaskDraws]) -> pd.DataFrame:
    """`IMPROVEMENT`: a row per pair and task with its interval, and their mean without one.

    A resample varies once more than the data, which pulls every task's share towards one half. A single
    task's interval is wide enough to stand it; averaging tasks makes it narrower and leaves the pull: in
    simulated studies of 5 tasks, 15 settings and 110 + 110 patients such an interval covered the expected
    share 69% of times.

    Raises:
        UserError: too few patients or resamples for an interval.
    """
    rows = []
    for pair in ordered_pairs(study):
        found = [_won(draws, pair) | {"task": task} for task, draws in drawn.items()]
        found = [one for one in found if one["n_pairs"]]
        if found:
            found.append(_mean_won(found))
        for one in found:
            low, high = np.nan, np.nan
            if one["task"] != MEAN:
                low, high = one["won"].interval(study.compare.confidence)
                low, high = min(low, one["improvement"]), max(high, one["improvement"])
            known = {"source_a": pair[0], "source_b": pair[1], "ci_low": low, "ci_high": high}
            rows.append(known | one | {"resamples": study.compare.resamples, "simulated": study.simulated})
    return IMPROVEMENT.frame(rows)


def _won(draws: TaskDraws, pair: tuple[str, str]) -> dict:
    a, b = (draws.columns(side) for side in paired_runs(draws.runs, pair))
    if not len(a):
        return {"n_pairs": 0}
    won = draws.mean(wins(draws.aucs.columns(a) - draws.aucs.columns(b)), a)
    return {
        "improvement": won.value,
        "won": won,
        "n_pairs": len(a),
        "n_patients": draws.n_patients,
        "interval_holds": draws.resampled,
    }


def _mean_won(found: list[dict]) -> dict:
    """Each task counts the same."""
    return {
        "task": MEAN,
        "improvement": np.mean([one["improvement"] for one in found]),
        "n_pairs": sum(one["n_pairs"] for one in found),
        "n_patients": sum(one["n_patients"] for one in found),
        "interval_holds": np.nan,
    }
