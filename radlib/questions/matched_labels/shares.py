"""Which share of the difference to be explained is left with matched labels, by task and over all tasks.

All pairs of a task are drawn with the same seed, so that draw i is of the same patients in each of them (and
of the same trainings, where pairs have the same settings): the two differences of a share vary together.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from radlib.seeds import seed_of
from radlib.stats.bootstrap import bootstrap_delta
from radlib.stats.folds import smaller_class
from radlib.stats.intervals import resamples_needed
from radlib.stats.ratio import NOT_GIVEN, Share, share
from radlib.stats.two_levels import bootstrap_both_levels
from radlib.study import Study
from radlib.study.questions import MatchedLabels
from radlib.training.results import BOTH, Results, paired_runs, settings_by_fold

SHARE = ["share", "share_low", "share_high"]
Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A difference with its (resamples,) draws; sample: as in `radlib.stats.ratio.share`."""

    delta: float
    draws: np.ndarray
    sample: tuple[int, int, float | None]


def pair_roles(part: MatchedLabels) -> tuple[Pair, list[Pair], list[Pair]]:
    """The pair to be explained, those against the same rival, and those of the same source with others."""
    first, *others = part.pairs
    return first, [p for p in others if p[1] == first[1]], [p for p in others if p[0] == first[0]]


def with_shares(
    study: Study, results: Results, table: pd.DataFrame, overall: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with the columns `SHARE`: NaN where a pair is no part of the first, or none can be given.

    Args:
        study: with `matched_labels`; table, overall: of `compare_sources`, of one estimate, the mean over
            settings.
    """
    first, left, _ = pair_roles(study.matched_labels)
    drawn: dict[Pair, dict[str, Drawn]] = {pair: {} for pair in (first, *left)}
    for _, row in table.iterrows():
        if (pair := _pair(row)) in drawn:
            drawn[pair][row["task"]] = draw(study, results, row)

    def left_of(row: pd.Series) -> Share:
        if (pair := _pair(row)) not in left:
            return Share(*[NOT_GIVEN] * 3)
        tasks = [row["task"]] if "task" in row else list(drawn[pair])
        if "task" not in row and tasks != list(drawn[first]):
            return Share(*[NOT_GIVEN] * 3)
        return _share(study, *([drawn[p][task] for task in tasks if task in drawn[p]] for p in (pair, first)))

    return _assigned(table, left_of), _assigned(overall, left_of)


def draw(study: Study, results: Results, row: pd.Series) -> Drawn:
    """The draws from which 04_auc's bootstrap made the interval of a row."""
    options, task = study.compare, row["task"]
    sides = paired_runs(results.of_task(task), _pair(row))
    a, b = (results.scores(task, runs) for runs in sides)
    luck = options.resamples, seed_of(study.seed, "bootstrap", task), options.confidence
    if row["interval_holds"] == BOTH:
        found = bootstrap_both_levels(a, b, settings_by_fold(sides[0]), *luck)
    else:
        found = bootstrap_delta(a, b, *luck)
    return Drawn(found.delta, found.draws, (smaller_class(a), len(a), found.degrees))


def _share(study: Study, part: list[Drawn], whole: list[Drawn]) -> Share:
    """Of means over tasks; the correction for few patients is the strongest of any task's and pair's."""
    if not whole:
        return Share(*[NOT_GIVEN] * 3)
    confidence = study.compare.confidence
    sample = max((one.sample for one in [*part, *whole]), key=lambda s: resamples_needed(confidence, *s))
    deltas = [float(np.mean([one.delta for one in side])) for side in (part, whole)]
    draws = [np.mean([one.draws for one in side], axis=0) for side in (part, whole)]
    return share(*deltas, *draws, confidence, sample)


def _assigned(table: pd.DataFrame, left_of) -> pd.DataFrame:
    found = pd.DataFrame([left_of(row) for _, row in table.iterrows()], columns=SHARE, index=table.index)
    return pd.concat([table, found], axis=1)


def _pair(row: pd.Series) -> Pair:
    return row["source_a"], row["source_b"]
