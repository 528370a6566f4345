"""Differences between sources in how well lesions are found: paired, by patient, with intervals.

An image's figure is the mean over the runs that both sources of a pair have; images count the same. A task's
figure is the mean over its test images with a lesion mask. `guess` is what a centred ellipse scores on them.
Where every setting was trained with several seeds, trainings are resampled with the patients.
"""

import pandas as pd

from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.lesions.measured import Found
from radlib.questions.lesions.table import DICE
from radlib.questions.verdicts import difference_columns
from radlib.seeds import seed_of
from radlib.stats.estimate import Estimate
from radlib.stats.means import MeanDifference, bootstrap_mean_difference
from radlib.stats.models import holm
from radlib.study import Study
from radlib.study.titles import ordered_pairs
from radlib.training.results import paired_runs, settings_by_fold, trained_again

_FAMILY = ["method", "metric", "source_a", "source_b"]


def compare_found(study: Study, methods: list[Found]) -> pd.DataFrame:
    """Every method x task x pair x figure (`DICE`); Holm across the tasks of a method, pair and figure."""
    pieces = [(found, task) for found in methods for task in found.compared_tasks(study)]
    rows = []
    for found, task in progress(pieces, description="bootstrap of Dice"):
        for pair in ordered_pairs(study):
            sides = paired_runs(found.runs[task], pair)
            if len(sides[0]):
                means = [found.means(task, runs) for runs in sides]
                rows += [_row(study, found, task, pair, name, sides, means) for name in found.figures]
    if not rows:
        return DICE.frame()
    table = pd.DataFrame(rows)
    table["p_holm"] = table.groupby(_FAMILY, sort=False)["p_value"].transform(lambda p: holm(p.to_numpy()))
    return table[DICE.names]


def difference(study: Study, task: str, name: str, a: pd.DataFrame, b: pd.DataFrame) -> MeanDifference:
    """One figure of two sides of `Found.means` of the same images.

    One seed a task: all pairs, figures and methods see the same resampled patients.
    """
    return bootstrap_mean_difference(
        a[name].to_numpy(), b[name].to_numpy(), a["patient_id"].to_numpy(), a["fold"].to_numpy(),
        study.compare.resamples, seed_of(study.seed, "bootstrap", task),
    )  # fmt: skip


def _of_both_levels(
    study: Study, found: Found, task: str, name: str, sides, about: pd.DataFrame
) -> MeanDifference:
    """`difference` over trainings too; `about` has each image's patient and fold."""
    a, b = (found.by_training(task, runs, name).loc[about.index] for runs in sides)
    settings = a.columns.droplevel("seed").factorize()[0]
    return bootstrap_mean_difference(
        a.to_numpy().T, b.to_numpy().T, about["patient_id"].to_numpy(), about["fold"].to_numpy(),
        study.compare.resamples, seed_of(study.seed, "bootstrap", task), settings,
    )  # fmt: skip


@of_task
def _row(study: Study, found: Found, task: str, pair: tuple[str, str], name: str, sides, means) -> dict:
    both = trained_again(settings_by_fold(sides[0]))
    if both:
        result = _of_both_levels(study, found, task, name, sides, means[0])
    else:
        result = difference(study, task, name, *means)
    guess = found.guess(task)
    return {
        "task": task, "method": found.method, "metric": name, "source_a": pair[0], "source_b": pair[1],
        "mean_a": result.mean_a, "mean_b": result.mean_b, **difference_columns(study, result.difference),
        **_gain(study, result.gain),
        "wilcoxon_p": result.wilcoxon_p, "n_patients": result.difference.patients, "n_images": len(means[0]),
        "n_runs": len(sides[0]), "resamples": study.compare.resamples, "simulated": study.simulated,
        "guess": float("nan") if guess is None else float(guess[name].mean()),
    }  # fmt: skip


def _gain(study: Study, gain: Estimate) -> dict[str, float]:
    low, high = gain.interval(study.compare.confidence)
    return {"relative_gain": gain.value, "gain_low": low, "gain_high": high}


def means_table(study: Study, found: Found) -> pd.DataFrame:
    """Mean figures of every source and baseline: columns task, of and the method's figures."""
    rows = []
    for task in found.tasks:
        for name, means in found.means_by_source(study, task).items():
            rows.append({"task": task, "of": name, **means[found.figures].mean()})
    return pd.DataFrame(rows, columns=["task", "of", *found.figures])


def thresholds_table(found: Found) -> pd.DataFrame:
    """Quartiles of the runs' thresholds by task and source."""
    rows = []
    for task, images in found.images.items():
        chosen = found.runs[task][["run", "source"]].merge(
            images.groupby("run")["threshold"].first(), on="run"
        )
        for source, values in chosen.groupby("source")["threshold"]:
            rows.append([task, source, *values.quantile([0.25, 0.5, 0.75])])
    columns = ["task", "source", "lower quartile", "median", "upper quartile"]
    return pd.DataFrame(rows, columns=columns).set_index(["task", "source"])
