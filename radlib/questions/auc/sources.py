"""Would the same source, pretrained again, give the same difference? (05_auc)

`auc.csv` speaks of the weights at hand. Where sources were pretrained several times, these intervals speak of
the sources: they cover other patients and other pretrainings, of the same networks or of networks as a
sample (`radlib.stats.pretrainings`). A checkpoint is one file, and its side stays "these weights"; so do both
sides where everything was pretrained once.

Averaged are the networks of which each source pretrained here has several, if there are any. A mean over
tasks has each pretraining's own mean over tasks, for a good pretraining may be good on all of them. Where
some tasks do not count, the mean over all of them stands beside it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.verdicts import (
    averaged,
    corrected,
    difference_columns,
    diverged,
    patients_drawn,
    turned,
    verdicts,
)
from radlib.seeds import seed_of
from radlib.show import style
from radlib.show import table as common
from radlib.show.table import MEAN, Column, Table
from radlib.stats.bootstrap import bootstrap_mean_auc
from radlib.stats.estimate import PATIENTS, Estimate, mean_of, stacked
from radlib.stats.pretrainings import SOURCES as SOURCES_TOO
from radlib.stats.pretrainings import components, over_pretrainings
from radlib.study import Study
from radlib.study.titles import estimate_title, ordered_pairs
from radlib.training.results import Results, runs_in_common

FIXED, SAMPLE = "mean over these networks", "mean over a sample of networks"
ALL_TASKS = "mean over all tasks"  # beside MEAN where some tasks do not count
SOURCES = Table(
    "sources.csv",
    "auc",
    "pair of sources, regime, task and networks",
    [
        Column("estimate", "of which settings: as in `auc.csv`", "estimate", estimate_title),
        *common.PAIR,
        common.TASK,
        Column("networks", "one network, or their mean: of these networks, or of a sample", "networks"),
        Column("n_networks", "networks averaged", "n", common.COUNT),
        Column("pretrainings_a", "pretrainings of each network on source a", "pretrainings a", common.COUNT),
        Column("pretrainings_b", "the same of source b", "pretrainings b", common.COUNT),
        *common.DELTA,
        common.P,
        common.P_HOLM,
        common.RESAMPLED,
        Column("sd_patients", "standard error of the difference from test patients", "SE of patients", ".4f"),
        Column("sd_pretraining", "from pretrainings", "of pretrainings", ".4f"),
        Column("sd_networks", "from the choice of networks", "of networks", ".4f"),
        *common.EQUIVALENCE,
        Column(
            "verdict", "better, worse, equivalent or undecided; of a task after Holm's correction", "verdict"
        ),
        *common.ORIGIN,
    ],
    index=4,
)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Columns of `found`: the mean AUC of each pretrained network; `runs`: of both sides."""

    found: Estimate
    labels: pd.DataFrame  # side, network, replicate
    runs: pd.DataFrame


def compare_pretrainings(
    study: Study, regimes: Mapping[str, Results], counting: Collection[str] | None = None
) -> pd.DataFrame:
    """`SOURCES`: every regime, pair, task and their mean, which is of every network by itself, too.

    Args:
        regimes: name of the estimate -> the finished runs that it averages.
        counting: as of `averaged`.
    Raises:
        UserError: too few patients or resamples for an interval.
    """
    rows = []
    for estimate, results in regimes.items():
        known: dict[tuple, Estimate] = {}
        for pair in progress(ordered_pairs(study), description=f"pretrainings, {estimate}"):
            networks = _networks(study, pair)
            if not networks:
                continue
            shared = [task for task in results.tasks if len(runs_in_common(results.of_task(task), pair)[0])]
            cells = {task: _cells(study, results, task, pair, networks, known) for task in shared}
            of_tasks, count = list(cells.values()), averaged(cells, counting)
            cells |= _mean(study, MEAN, [cells[task] for task in count])
            if len(count) < len(of_tasks):
                cells |= _mean(study, ALL_TASKS, of_tasks)
            about = {"estimate": estimate, "source_a": pair[0], "source_b": pair[1]}
            for task, one in cells.items():
                rows += [about | row for row in _rows(study, pair, task, one)] if one else []
    return _judged(study, SOURCES.frame(rows, study))


def _mean(study: Study, title: str, some: list[_Cells | None]) -> dict[str, _Cells]:
    """The mean over tasks under its title; nothing where they differ in networks or pretrainings."""
    if not some or None in some or not all(one.labels.equals(some[0].labels) for one in some):
        return {}
    found = mean_of([one.found for one in some], study.compare.confidence)
    return {title: _Cells(found, some[0].labels, pd.concat([one.runs for one in some]))}


def _judged(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """With verdicts, those of tasks after Holm's correction over the tasks of a pair and regime."""
    family, names = ["estimate", "source_a", "source_b"], {"p_value": "p_holm", "p_tost": "p_tost_holm"}
    of_tasks = corrected(table[of_single_tasks(table)], family, names)
    p = of_tasks[list(names.values())].reindex(table.index).set_axis(list(names), axis=1)
    words = verdicts(study, table.assign(**p.fillna(table[list(names)])), *names)
    return table.assign(p_holm=p["p_value"], verdict=words)


def of_single_tasks(table: pd.DataFrame) -> pd.Series:
    return ~table["task"].isin([MEAN, ALL_TASKS])


def _networks(study: Study, pair: tuple[str, str]) -> list[str]:
    """Networks that both sources have; of them those of which the most sources have several, if any."""
    shared = [name for name in study.backbones_of(pair[0]) if name in study.backbones_of(pair[1])]
    several = {name: sum(study.replicates_of(source, name) > 1 for source in pair) for name in shared}
    return [name for name in shared if several[name] == max(several.values())]


@of_task
def _cells(
    study: Study, results: Results, task: str, pair: tuple[str, str], networks: list[str], known: dict
) -> _Cells | None:
    """None where the sources have no setting of these networks in common on a task, but of others.

    Args:
        known: runs -> their mean AUC, of pairs that had the same ones; it grows.
    """
    runs = results.of_task(task)
    sides = runs_in_common(runs[runs["backbone"].isin(networks)], pair)
    if sides[0].empty:
        return None
    both = pd.concat(sides, keys=(0, 1), names=["side"])
    each = dict(iter(both.groupby(["side", "backbone", "replicate"])))
    names = [(task, *own["run"]) for own in each.values()]
    new = {name: own for name, own in zip(names, each.values(), strict=True) if name not in known}
    if new:
        scores = {name: results.scores(task, own) for name, own in new.items()}
        known |= bootstrap_mean_auc(scores, **patients_drawn(study, task))
    labels = pd.DataFrame(list(each), columns=["side", "network", "replicate"])
    return _Cells(stacked([known[name] for name in names]), labels, both)


def _rows(study: Study, pair: tuple[str, str], task: str, cells: _Cells) -> list[dict]:
    """The mean over networks; of the mean over tasks every network, and networks as a sample, too."""
    names = list(dict.fromkeys(cells.labels["network"]))
    asked = [(name, [name], False) for name in names if task == MEAN or len(names) == 1]
    if len(names) > 1:
        asked += [(FIXED, names, False), *([(SAMPLE, names, True)] if task == MEAN else [])]
    return [
        {"task": task, "networks": title} | _row(study, pair, task, cells, some, sample)
        for title, some, sample in asked
    ]


@of_task
def _row(
    study: Study, pair: tuple[str, str], task: str, cells: _Cells, some: list[str], sample: bool
) -> dict:
    """Of some networks; sample: whether they are a sample of others."""
    own = cells.labels["network"].isin(some).to_numpy()
    labels, columns = cells.labels[own], cells.found.columns(np.flatnonzero(own))
    parts = components(columns, labels["side"].to_numpy(), labels["network"].to_numpy())
    found = over_pretrainings(parts, seed_of(study.seed, "pretrainings", *pair, task), sample)
    fewest = labels.groupby(["side", "network"]).size().groupby("side").min()
    return {
        "n_networks": parts.networks,
        "pretrainings_a": fewest[0],
        "pretrainings_b": fewest[1],
        **difference_columns(study, found),
        "sd_patients": parts.difference.replicates.std(),
        "sd_pretraining": np.sqrt(parts.among_pretrainings.own),
        "sd_networks": np.sqrt(parts.network),
        "diverged": diverged(cells.runs[cells.runs["backbone"].isin(some)]),
    }


def claim_of(study: Study, overall: pd.DataFrame, pretrained: pd.DataFrame | None = None) -> dict | None:
    """The row of the headline by `compare.claim_by`, each network counting the same; None: no task counts.

    Args:
        overall: `OVERALL`; pretrained: `SOURCES`, see `with_pretrainings`; without it the claim is of these
            weights.
    """
    rows = style.of_pair(overall, study.compare.headline, study.claimed).to_dict("records")
    return with_pretrainings(rows[0], SOURCES.frame() if pretrained is None else pretrained) if rows else None


def with_pretrainings(row: dict, pretrained: pd.DataFrame) -> dict:
    """A row of `AUC` or `OVERALL`, over other pretrainings if `SOURCES` has it so.

    Its own difference stands where its interval covers other trainings and that of `pretrained` covers no
    other pretrainings.
    """
    same = style.of_pair(pretrained, (row["source_a"], row["source_b"]), row["estimate"])
    same = same[(same["task"] == row.get("task", MEAN)) & (same["networks"] != SAMPLE)][-1:]
    if same.empty or (row["resampled"] != PATIENTS and same["resampled"].iloc[0] != SOURCES_TOO):
        return row
    found = same.iloc[0].drop("simulated").to_dict()
    return row | found | ({"verdict_holm": found["verdict"]} if "verdict_holm" in row else {})


def by_network(study: Study, pretrained: pd.DataFrame) -> pd.DataFrame:
    """`SOURCES`, the networks of a task in the order of the study, before their means."""
    places = {name: place for place, name in enumerate(study.backbones)}
    place = pretrained["networks"].map(places).fillna(len(places))
    group = pretrained.groupby(["estimate", "source_a", "source_b", "task"], sort=False).ngroup()
    return pretrained.iloc[np.lexsort((place, group))]


def mean_of_pair(study: Study, pretrained: pd.DataFrame, pair: tuple[str, str]) -> dict | None:
    """The mean over tasks and these networks by `compare.claim_by`; None where there is none.

    It is a minus b, whichever way round the study asks for the two.
    """
    for asked in (pair, pair[::-1]):
        rows = style.of_pair(pretrained, asked, study.claimed)
        rows = rows[(rows["task"] == MEAN) & (rows["networks"] != SAMPLE)]
        for row in rows[-1:].to_dict("records"):
            return row if asked == pair else turned(row)
    return None
