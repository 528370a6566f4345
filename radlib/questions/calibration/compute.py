"""Do the scores mean what they say? Brier score, calibration error and balanced accuracy, by task and source.

Every run is measured on its own fold's test images, and the mean over a source's runs is reported, as for
the AUC: over the settings that the pair of the headline has in common. The difference of this pair is taken
on the same patients. The trained runs are held fixed.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from radlib.errors import UserError, of_task
from radlib.progress import progress
from radlib.questions.calibration.table import CALIBRATION
from radlib.questions.ranking.compute import MEAN
from radlib.seeds import seed_of
from radlib.stats.calibration import (
    FIGURES,
    bootstrap_figures,
    ece_if_perfect,
    number_of_bins,
    reliability,
)
from radlib.stats.estimate import Estimate, mean_of
from radlib.stats.folds import FoldScores, run_shares, tested
from radlib.study import Study
from radlib.training.results import REMEDY, Results, headline_runs


@dataclass(frozen=True, eq=False)
class Measured:
    """One source on one task: its figures, what they would be by chance, and the diagram's points.

    curve: mean score of each bin, and share of positives.
    """

    figures: dict[str, Estimate]
    references: dict[str, float]
    curve: tuple[np.ndarray, Estimate]
    about: dict


def measure(study: Study, results: Results) -> dict[str, dict[str, Measured]]:
    """By task and source.

    Raises:
        UserError: a run has no threshold; too few patients or resamples for an interval.
    """
    _check_thresholds(results.runs)
    return {
        task: {
            source: _measure(study, results, task, runs)
            for source, runs in headline_runs(study, results.of_task(task)).items()
        }
        for task in progress(results.tasks, description="calibration")
    }


def _check_thresholds(runs: pd.DataFrame) -> None:
    if "val_threshold" not in runs or runs["val_threshold"].isna().any():
        raise UserError(f"runs.parquet holds runs without the column val_threshold; {REMEDY}")


@of_task
def _measure(study: Study, results: Results, task: str, runs: pd.DataFrame) -> Measured:
    folds = results.scores(task, runs)
    thresholds = [group["val_threshold"].to_numpy(float) for _, group in runs.groupby("fold")]
    bins, options = number_of_bins(folds), study.compare
    seed = seed_of(study.seed, "bootstrap", task)
    perfect = ece_if_perfect(folds, bins, seed_of(study.seed, "perfect", task))
    return Measured(
        figures=bootstrap_figures(folds, thresholds, bins, options.resamples, seed),
        references={"brier": _always_the_share(folds), "ece": perfect, "balanced_accuracy": 0.5},
        curve=reliability(folds, bins, options.resamples, seed),
        about={"bins": bins, "n_runs": len(runs), **tested(folds)},
    )


def _always_the_share(folds: list[FoldScores]) -> float:
    """Brier score of somebody who gives every image the share of positives of its test part."""
    shares = np.array([fold.labels.mean() for fold in folds])
    return float(run_shares(folds) @ (shares * (1 - shares)))


def calibration_table(study: Study, found: dict[str, dict[str, Measured]]) -> pd.DataFrame:
    """`CALIBRATION`: a row per task, figure and source, and the headline difference with its mean over tasks.

    reference: what chance gives. For the Brier score the share of positives as every image's score; for the
    calibration error its mean if these scores were the true probabilities; for balanced accuracy one half.
    """
    a, b = study.compare.headline
    rows = []
    for figure in FIGURES:
        differences = []
        for task, sources in found.items():
            for source, one in sources.items():
                row = _row(study, one.figures[figure])
                known = {"task": task, "figure": figure, "source": source, **one.about}
                rows.append(known | row | {"reference": one.references[figure]})
            differences.append(sources[a].figures[figure] - sources[b].figures[figure])
            between = {"figure": figure, "source": a, "against": b}
            rows.append({"task": task, **between, **sources[a].about, **_row(study, differences[-1])})
        mean = mean_of(differences, study.compare.confidence)
        rows.append({"task": MEAN, **between, **_row(study, mean)})
    table = CALIBRATION.frame(rows)
    counts = ["bins", "n_runs", "n_patients", "n_images", "n_positive"]
    return table.astype(dict.fromkeys(counts, "Int64"))


def _row(study: Study, found: Estimate) -> dict:
    low, high = found.interval(study.compare.confidence)
    known = {"resamples": len(found.replicates), "simulated": study.simulated}
    return {"value": found.value, "ci_low": low, "ci_high": high, **known}
