"""Is it what images show, or how finely they are labelled? (15_matched_labels)

A corpus of six coarse classes against photographs of two hundred fine ones differs in both. So the same
photographs are given coarser classes, and what is pretrained on them joins the comparison here, beside the
grid of the study. Every run is one that `04_transfer` would make, under the same digest: those of sources
that are in the grid too come from the store. Of every source as many pretrainings are compared, the first
ones: else differences would be of unlike weights and would not add up.

Draw i is of the same patients in all pairs of a task: the two differences of a share vary together. What
trainings add is drawn for each pair by itself, which errs on the wide side where both have one rival.

Random weights are always compared with both sources of the difference to be explained. A share of it is given
only where either is shown to be better than they are: the interval of its difference to random weights lies
above 0. Else the difference is not between two things that pretraining taught, and `withdrawn` says so.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from radlib.errors import listed
from radlib.questions.auc.compute import Compared, Comparison, compare_sources
from radlib.questions.auc.sources import compare_pretrainings
from radlib.questions.verdicts import answering, left_out
from radlib.show import table as common
from radlib.show.findings import Finding, finding_of, over, shown_direction
from radlib.show.style import forest
from radlib.show.table import MEAN, Column, Table, interval_columns, titled, with_ends
from radlib.study import Study
from radlib.study.common import RANDOM, is_random
from radlib.study.questions import MatchedLabels
from radlib.study.titles import TRAIN, counted, pair_title, source_title
from radlib.training.results import check_results
from radlib.training.transfer import transfer

NO_SOURCES = (
    "This study names no sources in `matched_labels`: it holds no corpus under two labellings, so nothing is "
    "compared here; below is the method alone."
)
SHARE, WITHDRAWN = ("share", "share_low", "share_high"), "withdrawn"
MATCHED = Table(
    "matched_labels.csv",
    "matched_labels",
    "task, or mean over tasks, and pair of sources",
    [
        common.TASK,
        *common.PAIR,
        *common.SIDES,
        *common.DELTA,
        common.P,
        common.P_HOLM,
        *interval_columns(SHARE, "share of the first pair's difference that is left", "share left", ".0%"),
        Column(WITHDRAWN, "why no share is given", "no share, for", rare=True),
        Column("n_tasks", "tasks averaged"),
        *common.COUNTS,
        common.RUNS,
        common.COUNTED,
        *common.ORIGIN,
    ],
    index=2,
)
Pair = tuple[str, str]


@dataclass(frozen=True)
class Matched:
    """table: `MATCHED`, a row per task and pair, then the mean over several tasks of every pair.

    sources: those of its rows that answer, as `SOURCES`, over other pretrainings where there were several.
    study: with the sources, backbones, settings and pairs of `matched_labels` in place of the study's own.
    """

    study: Study
    table: pd.DataFrame
    sources: pd.DataFrame
    notes: list[str]
    computed: int
    reused: int


def matched_labels(study: Study, counting: Collection[str] | None = None) -> Matched:
    """Train what the store lacks, and compare the pairs of `matched_labels`, by the mean over settings.

    Args:
        counting: as of `averaged`.
    Raises:
        UserError: data or weights are missing, or too few patients or resamples for an interval.
    """
    within = study_of_matched(study)
    done = {task: transfer(within, task) for task in study.matched_labels.tasks}
    results = check_results(within, ((task, one.runs, one.predictions) for task, one in done.items()))
    alike = results.runs[results.runs["replicate"] < pretrainings(study)]
    found = compare_sources(within, replace(results, runs=alike), counting=counting)
    table = MATCHED.frame(with_shares(within, found, counting))
    over = compare_pretrainings(within, {"grid_mean": results}, counting)
    over = answering(over.assign(counts=[left_out(task, counting) for task in over["task"]]))
    computed, reused = (sum(getattr(one, name) for one in done.values()) for name in ("computed", "reused"))
    return Matched(within, table, over, found.notes, computed, reused)


def pretrainings(study: Study) -> int:
    """How many pretrainings of each network all sources of `matched_labels` have."""
    part = study.matched_labels
    return min(study.replicates_of(source, name) for source in part.sources for name in part.backbones)


def study_of_matched(study: Study) -> Study:
    """The study with the part that `matched_labels` names, and random weights; all else is the same."""
    part = study.matched_labels
    beside = [(source, RANDOM) for source in part.pairs[0] if not is_random(source)]
    pairs = list(dict.fromkeys([*part.pairs, *beside]))
    settings = [
        setting.model_copy(update={"backbones": own})
        for setting in study.transfer.settings
        if setting.train in part.train
        and (own := [name for name in part.backbones if name in (setting.backbones or study.backbones)])
    ]
    return study.model_copy(
        update={
            "sources": list(dict.fromkeys([*part.sources, RANDOM])),
            "backbones": {name: study.backbones[name] for name in part.backbones},
            "transfer": study.transfer.model_copy(update={"settings": settings}),
            "compare": study.compare.model_copy(update={"pairs": pairs, "headline": pairs[0]}),
        }
    )


# Shares ---------------------------------------------------------------------------------------------------


def pairs_left(part: MatchedLabels) -> tuple[Pair, list[Pair]]:
    """The pair to be explained, and those against the same rival, in which something of it may be left."""
    first, *others = part.pairs
    return first, [pair for pair in others if pair[1] == first[1]]


def with_shares(study: Study, found: Comparison, counting: Collection[str] | None = None) -> list[dict]:
    """The rows of tasks, then of `MEAN` over several, by the mean over settings; with `SHARE` or `WITHDRAWN`.

    Args:
        study: of `study_of_matched`; found: its comparison; counting: as it was given to it.
    """
    tables = [(found.table.assign(n_tasks=1), found.compared), (found.overall.assign(task=MEAN), found.means)]
    each = {}
    for table, compared in tables:
        for row, one in zip(table.to_dict("records"), compared, strict=True):
            if row["estimate"] == "grid_mean" and (row["task"] != MEAN or row["n_tasks"] > 1):
                row |= {"diverged": one.row["diverged"], "counts": left_out(row["task"], counting)}
                each[row["task"], _pair(row)] = row, one
    return [row | _share(study, each, row["task"], _pair(row)) for row, _ in each.values()]


def _share(study: Study, each: dict[tuple, tuple[dict, Compared]], task: str, pair: Pair) -> dict:
    """Of the first difference, what is left in a row, or why no share is given; each: by task and pair."""
    first, left = pairs_left(study.matched_labels)
    (row, part), (_, whole) = each[task, pair], each.get((task, first), (None, None))
    if whole is None or pair not in left or set(part.sides[0]["task"]) != set(whole.sides[0]["task"]):
        return {}
    share = part.difference.share_of(whole.difference, study.compare.confidence)
    unsure = "the first difference is not shown" if np.isnan(share[0]) else None
    why = _withdrawn(study, each, task, first) or row["diverged"] or unsure
    return {WITHDRAWN: why} if why else dict(zip(SHARE, share, strict=True))


def _withdrawn(study: Study, each: dict, task: str, first: Pair) -> str | None:
    """Which side of the first difference is not shown to be better than random weights on a task."""
    for source in first:
        beside, _ = each.get((task, (source, RANDOM)), (None, None))
        shown = beside and beside["ci_low"] > 0 and not beside["diverged"]
        if not is_random(source) and not shown:
            return f"random weights may reach as much as {source_title(study, source)}"
    return None


def _pair(row: dict) -> Pair:
    return row["source_a"], row["source_b"]


# What it shows --------------------------------------------------------------------------------------------


def matched_figure(study: Study, table: pd.DataFrame) -> Figure:
    """Differences with their intervals, a panel per pair.

    Args:
        study: the whole, in which every source has its colour; table: `matched_labels.csv`.
    """
    rows = [titled(study, row) for row in table.to_dict("records")]
    return forest(study, table.assign(row=rows), "Matched labels", band=True)


def matched_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Each pair over the tasks that count; the share of the first difference left, or why none is said."""
    part, number, found = study.matched_labels, pretrainings(study), []
    regimes = listed(regime.lower() for regime in map(TRAIN.get, part.train))
    of = f"{regimes}, {listed(part.backbones)}, first {counted(number, 'pretraining').removeprefix('1 ')}"
    for row in answering(table).to_dict("records"):
        verdict = shown_direction(row, study.compare.alpha)
        if pd.notna(row["share"]):
            share = with_ends(*(row[name] for name in SHARE), ".0%")
            verdict += f"; {share} of the first difference is left"
        elif isinstance(why := row.get(WITHDRAWN), str):
            verdict += f"; no share of the first difference is given, for {why}"
        subject = f"AUC, {pair_title(study, _pair(row))}, {of}: {titled(study, row)} {over(row)}"
        found.append(finding_of(row, subject, verdict))
    return found
