"""Which share of the difference to be explained is left with matched labels, by task and over all tasks.

All pairs of a task are drawn with the same seed, so that draw i is of the same patients in each of them (and
of the same trainings, where pairs have the same settings): the two differences of a share vary together.
"""

import numpy as np
import pandas as pd

from radlib.questions.auc.compute import bootstrap_pair
from radlib.questions.matched_labels.table import SHARE
from radlib.stats.estimate import BOTH, Estimate, mean_of
from radlib.study import Study
from radlib.study.questions import MatchedLabels
from radlib.training.results import Results, paired_runs, settings_by_fold

Pair = tuple[str, str]
NOT_GIVEN = (np.nan, np.nan, np.nan)


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
    drawn: dict[Pair, dict[str, Estimate]] = {pair: {} for pair in (first, *left)}
    for _, row in table.iterrows():
        if (pair := _pair(row)) in drawn:
            drawn[pair][row["task"]] = replicates(study, results, row)

    def left_of(row: pd.Series) -> tuple[float, float, float]:
        if (pair := _pair(row)) not in left:
            return NOT_GIVEN
        tasks = [row["task"]] if "task" in row else list(drawn[pair])
        if "task" not in row and tasks != list(drawn[first]):
            return NOT_GIVEN
        return _share(study, *([drawn[p][task] for task in tasks if task in drawn[p]] for p in (pair, first)))

    return _assigned(table, left_of), _assigned(overall, left_of)


def replicates(study: Study, results: Results, row: pd.Series) -> Estimate:
    """What 04_auc's bootstrap made the interval of a row from."""
    sides = paired_runs(results.of_task(row["task"]), _pair(row))
    a, b = (results.scores(row["task"], runs) for runs in sides)
    settings = settings_by_fold(sides[0]) if row["interval_holds"] == BOTH else None
    return bootstrap_pair(study, row["task"], a, b, settings)


def _share(study: Study, part: list[Estimate], whole: list[Estimate]) -> tuple[float, float, float]:
    """Of means over tasks."""
    if not whole:
        return NOT_GIVEN
    confidence = study.compare.confidence
    return mean_of(part, confidence).share_of(mean_of(whole, confidence), confidence)


def _assigned(table: pd.DataFrame, left_of) -> pd.DataFrame:
    found = pd.DataFrame([left_of(row) for _, row in table.iterrows()], columns=SHARE, index=table.index)
    return pd.concat([table, found], axis=1)


def _pair(row: pd.Series) -> Pair:
    return row["source_a"], row["source_b"]
