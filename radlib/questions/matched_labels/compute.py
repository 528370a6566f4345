"""Is it what images show, or how finely they are labelled? Sources compared with matched labels.

A corpus of six coarse classes against photographs of two hundred fine ones differs in both. So the same
photographs are given coarser classes, and what is pretrained on them joins the comparison here, beside the
grid of the study. Every run is one that `03_transfer` would make, under the same digest: those of sources
that are in the grid too come from the store.
"""

from dataclasses import dataclass

import pandas as pd

from radlib.questions.auc.compute import compare_sources
from radlib.questions.matched_labels.shares import with_shares
from radlib.questions.matched_labels.table import MATCHED
from radlib.study import Study
from radlib.training.results import check_results
from radlib.training.transfer import transfer

ALL_TASKS = "mean over tasks"
_ESTIMATE = "grid_mean"


@dataclass(frozen=True)
class Matched:
    """`table` and `overall` as `compare_sources` gives them, the estimate `grid_mean` alone; notes.

    With columns of the share: how much of the first pair's difference is left in those with the same rival.

    study: with the sources, backbones, settings and pairs of `matched_labels` in place of the study's own.
    """

    study: Study
    table: pd.DataFrame
    overall: pd.DataFrame
    notes: list[str]
    computed: int
    reused: int


def matched_labels(study: Study) -> Matched:
    """Train what the store lacks, and compare the pairs of `matched_labels`.

    Raises:
        UserError: data or weights are missing, or too few patients or resamples for an interval.
    """
    within = study_of_matched(study)
    done = {task: transfer(within, task) for task in study.matched_labels.tasks}
    results = check_results(within, ((task, one.runs, one.predictions) for task, one in done.items()))
    found = compare_sources(within, results)
    grid_mean = (some[some["estimate"] == _ESTIMATE] for some in (found.table, found.overall))
    table, overall = with_shares(within, results, *grid_mean)
    return Matched(
        study=within,
        table=table,
        overall=overall,
        notes=found.notes,
        computed=sum(one.computed for one in done.values()),
        reused=sum(one.reused for one in done.values()),
    )


def study_of_matched(study: Study) -> Study:
    """The study with the part that `matched_labels` names; all else is the same, seeds and paths too."""
    part = study.matched_labels
    settings = [
        setting.model_copy(update={"backbones": own})
        for setting in study.transfer.settings
        if setting.train in part.train
        and (own := [name for name in part.backbones if name in (setting.backbones or study.backbones)])
    ]
    return study.model_copy(
        update={
            "sources": part.sources,
            "backbones": {name: study.backbones[name] for name in part.backbones},
            "transfer": study.transfer.model_copy(update={"settings": settings}),
            "compare": study.compare.model_copy(update={"pairs": part.pairs, "headline": part.pairs[0]}),
        }
    )


def table_of(found: Matched) -> pd.DataFrame:
    """Both tables as one (`MATCHED`): a row per task and pair, then the mean over tasks of every pair."""
    overall = found.overall.assign(task=ALL_TASKS)
    return pd.concat([found.table.assign(n_tasks=1), overall], ignore_index=True).reindex(
        columns=MATCHED.names
    )
