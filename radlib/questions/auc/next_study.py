"""How many test patients would show a difference that matters, and what do these show? (05_auc)

Of a study like this one: the same trained networks, share of positive patients, and images per patient.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pandas as pd

from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.verdicts import averaged, diverged, estimate_columns, patients_drawn
from radlib.show import table as common
from radlib.show.findings import Finding, finding_of
from radlib.show.style import of_pair
from radlib.show.table import MEAN, Column, Table, interval_columns, titled
from radlib.stats.estimate import Estimate, mean_of
from radlib.stats.folds import tested
from radlib.stats.sample_size import patients_needed, variance_of_difference
from radlib.study import Study
from radlib.study.titles import estimate_title, ordered_pairs
from radlib.training.results import Results, paired_runs

POWER = 0.8
MOST = 10_000  # tested patients; beyond, the matrices of pairs of patients take gigabytes
_NEEDED = ("needed", "needed_low", "needed_high")
NEXT = Table(
    "next_study.csv",
    "auc",
    "pair of sources and task",
    [
        common.TASK,
        *common.PAIR,
        common.COUNTS[0],
        Column("se", "standard error of the difference, over test patients", "SE", ".3f"),
        Column("margin", "true difference that is to be shown: `compare.equivalence`", "to be shown", "g"),
        Column("power", "chance to show it", "power", ".0%"),
        Column("shows", "smallest true difference that these patients show with it", "these show", ".3f"),
        *interval_columns(_NEEDED, "test patients that this takes", "test patients needed", ",.0f"),
        *common.ORIGIN,
    ],
    index=2,
)


def next_study(study: Study, results: Results, counting: Collection[str] | None = None) -> pd.DataFrame:
    """`NEXT`: a row per pair and task, and one for the mean over tasks, whose patients grow in proportion.

    A task of several classes, or with more than `MOST` tested patients, is left out; no mean is given then.

    Args:
        results: of the runs that the claim averages; counting: as of `averaged`.
    Raises:
        UserError: too few patients or resamples for an interval.
    """
    rows, options = [], study.compare
    for pair in progress(ordered_pairs(study), description="patients needed"):
        sides = {task: paired_runs(results.of_task(task), pair) for task in results.tasks}
        sides = {task: both for task, both in sides.items() if len(both[0])}
        found = {task: _measured(study, results, task, both) for task, both in sides.items()}
        found = {task: one for task, one in found.items() if one}
        tasks = averaged(sides, counting)
        if len(tasks) > 1 and set(tasks) <= set(found):
            counts, variances = zip(*map(found.get, tasks), strict=True)
            mean, n = mean_of(variances, options.confidence), len(tasks)
            found[MEAN] = sum(counts), replace(mean, value=mean.value / n, replicates=mean.replicates / n)
            sides[MEAN] = [runs for task in tasks for runs in sides[task]]
        for task, (patients, variance) in found.items():
            needed = patients_needed(patients, variance, options.equivalence, POWER, options.confidence)
            row = {"task": task, "source_a": pair[0], "source_b": pair[1], "n_patients": patients}
            row |= {"se": np.sqrt(variance.value), "diverged": diverged(*sides[task])}
            # As n falls with its square.
            row["shows"] = options.equivalence * np.sqrt(needed.value / patients)
            rows.append(row | estimate_columns(study, needed, _NEEDED))
    return NEXT.frame(rows, study, margin=options.equivalence, power=POWER)


@of_task
def _measured(study: Study, results: Results, task: str, sides) -> tuple[int, Estimate] | None:
    """Tested patients, and the variance of the difference; None where the task is left out."""
    a, b = (results.scores(task, runs) for runs in sides)
    patients = tested(a)["n_patients"]
    if task not in results.two_class_tasks or patients > MOST:
        return None
    return patients, variance_of_difference(a, b, **patients_drawn(study, task))


def next_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """The headline pair, all tasks, then each: what these patients show, and how many it would take."""
    rows, found, by = of_pair(table, study.compare.headline), [], estimate_title(study, study.claimed)
    for row in sorted(rows.to_dict("records"), key=lambda row: row["task"] != MEAN):
        times = row["needed"] / row["n_patients"]
        many = f"{times:,.1f}" if times < 10 else f"{times:,.0f}"
        word = "these are enough" if times <= 1 else f"{many} times as many as here"
        word += f"; these show a true difference of {row['shows']:.3f}"
        subject = (
            f"Test patients that show a true difference of {row['margin']:g} between these very weights with "
            f"{POWER:.0%} power, {by}: "
        )
        found.append(finding_of(row, subject + titled(study, row), word, _NEEDED, ",.0f"))
    return found
