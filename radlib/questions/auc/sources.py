"""Would the same source, pretrained again, give the same difference? (05_auc)

`auc.csv` speaks of the weights at hand. Where sources were pretrained several times, these intervals speak of
the sources: they cover other patients and other pretrainings, of the same networks or of networks as a
sample (`radlib.stats.pretrainings`). A checkpoint is one file, and its side stays "these weights".

Averaged are the networks of which each source pretrained here has several; the others are left out. A mean
over tasks has each pretraining's own mean over tasks, for a good pretraining may be good on all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.verdicts import difference_columns, diverged, verdicts
from radlib.seeds import seed_of
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import Finding, finding_of
from radlib.show.table import MEAN, Column, Table
from radlib.stats.bootstrap import bootstrap_mean_auc
from radlib.stats.estimate import Estimate, mean_of
from radlib.stats.pretrainings import components, over_pretrainings
from radlib.study import Study
from radlib.study.titles import ESTIMATES, ordered_pairs, pair_title, task_title
from radlib.training.results import SETTING, Results

ONCE = (
    "No source of this study was pretrained several times (`pretrain.replicates`), so every interval speaks "
    "of these weights, and none of a source."
)
FIXED, SAMPLE = "mean over these networks", "mean over a sample of networks"
SOURCES = Table(
    "sources.csv",
    "auc",
    "pair of sources, regime, task and networks",
    [
        Column("estimate", "of which settings: as in `auc.csv`", "estimate", names=ESTIMATES),
        *common.PAIR,
        common.TASK,
        Column("networks", "one network, or their mean: of these networks, or of a sample", "networks"),
        Column("n_networks", "networks averaged", "n", common.COUNT),
        Column("pretrainings_a", "pretrainings of each network on source a", "pretrainings a", common.COUNT),
        Column("pretrainings_b", "the same of source b", "pretrainings b", common.COUNT),
        *common.DELTA,
        common.P,
        common.RESAMPLED,
        Column("sd_patients", "standard error of the difference from test patients", "SE of patients", ".4f"),
        Column("sd_pretraining", "from pretrainings", "of pretrainings", ".4f"),
        Column("sd_networks", "from the choice of networks", "of networks", ".4f"),
        Column("equivalence", "half width of the region of equivalence"),
        Column("tost_low", "lower end of the interval that must lie within the region"),
        Column("tost_high", "its upper end"),
        Column("p_tost", "of two one-sided tests of equivalence"),
        Column("verdict", "better, worse, equivalent or undecided", "verdict"),
        *common.ORIGIN,
    ],
    index=4,
)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Columns of `found`: the mean AUC of each pretrained network; `runs`: of both sides."""

    found: Estimate
    labels: pd.DataFrame  # side, network, replicate
    runs: list[pd.DataFrame]

    def of(self, network: str | None) -> "_Cells":
        """Those of one network; None: all."""
        if network is None:
            return self
        own = (self.labels["network"] == network).to_numpy()
        runs = [side[side["backbone"] == network] for side in self.runs]
        return _Cells(self.found.columns(np.flatnonzero(own)), self.labels[own], runs)


def compare_pretrainings(study: Study, regimes: Mapping[str, Results]) -> pd.DataFrame:
    """`SOURCES`: every regime, pair, task and their mean; no rows where all were pretrained once.

    Args:
        regimes: name of the estimate -> the finished runs that it averages.
    Raises:
        UserError: too few patients or resamples for an interval.
    """
    rows = []
    for estimate, results in regimes.items():
        for pair in progress(ordered_pairs(study), description=f"pretrainings, {estimate}"):
            networks = _networks(study, pair)
            if not networks:
                continue
            cells = {task: _cells(study, results, task, pair, networks) for task in results.tasks}
            cells = {task: one for task, one in cells.items() if one is not None}
            same = [one for one in cells.values() if one.labels.equals(next(iter(cells.values())).labels)]
            if len(same) == len(cells) > 1:
                found = mean_of([one.found for one in same], study.compare.confidence)
                runs = [pd.concat(side) for side in zip(*(one.runs for one in same), strict=True)]
                cells[MEAN] = _Cells(found, same[0].labels, runs)
            about = {"estimate": estimate, "source_a": pair[0], "source_b": pair[1]}
            rows += [about | row for task, one in cells.items() for row in _rows(study, pair, task, one)]
    same = {"resamples": study.compare.resamples, "simulated": study.simulated}
    table = pd.DataFrame(rows)
    if rows:
        table["verdict"] = verdicts(study, table, "p_value", "p_tost")
    return SOURCES.frame(table.to_dict("records"), **same)


def _networks(study: Study, pair: tuple[str, str]) -> list[str]:
    """Networks that both sources have, several times where they can be had several times."""
    able = [source for source in pair if source not in study.checkpoints]
    common_ones = [name for name in study.backbones_of(pair[0]) if name in study.backbones_of(pair[1])]
    return [
        name for name in common_ones if able and all(study.replicates_of(source, name) > 1 for source in able)
    ]


@of_task
def _cells(
    study: Study, results: Results, task: str, pair: tuple[str, str], networks: list[str]
) -> _Cells | None:
    """None where the sources have no setting of these networks in common on a task."""
    keys, runs = [*SETTING, "fold", "seed"], results.of_task(task)
    runs = runs[runs["backbone"].isin(networks)]
    sides = [runs[runs["source"] == source] for source in pair]
    shared = sides[0][keys].drop_duplicates().merge(sides[1][keys].drop_duplicates())
    sides = [side.merge(shared, on=keys) for side in sides]
    if shared.empty:
        return None
    each = {
        (number, network, replicate): results.scores(task, own)
        for number, side in enumerate(sides)
        for (network, replicate), own in side.groupby(["backbone", "replicate"])
    }
    seed = seed_of(study.seed, "bootstrap", task)
    found = list(bootstrap_mean_auc(each, study.compare.resamples, seed).values())
    values, draws = np.array([x.value for x in found]), np.stack([x.replicates for x in found], axis=1)
    labels = pd.DataFrame(list(each), columns=["side", "network", "replicate"])
    return _Cells(replace(found[0], value=values, replicates=draws), labels, sides)


def _rows(study: Study, pair: tuple[str, str], task: str, cells: _Cells) -> list[dict]:
    """The mean over networks, fixed and as a sample, and every network by itself."""
    names = list(dict.fromkeys(cells.labels["network"]))
    asked = [(name, name, False) for name in names]
    if len(names) > 1:
        asked += [(FIXED, None, False), (SAMPLE, None, True)]
    return [
        {"task": task, "networks": title} | _row(study, pair, task, cells.of(name), sample)
        for title, name, sample in asked
    ]


@of_task
def _row(study: Study, pair: tuple[str, str], task: str, cells: _Cells, sample: bool) -> dict:
    sides, networks = (cells.labels[name].to_numpy() for name in ("side", "network"))
    seed = seed_of(study.seed, "pretrainings", *pair, task)
    parts = components(cells.found, sides, networks)
    found = over_pretrainings(parts, seed, sample)
    fewest = cells.labels.groupby(["side", "network"]).size().groupby("side").min()
    return {
        "n_networks": parts.networks,
        "pretrainings_a": fewest[0],
        "pretrainings_b": fewest[1],
        **difference_columns(study, found),
        "sd_patients": parts.difference.replicates.std(),
        "sd_pretraining": np.sqrt(parts.among_pretrainings.own),
        "sd_networks": np.sqrt(parts.network),
        "diverged": diverged(*cells.runs),
    }


def sources_forest(study: Study, table: pd.DataFrame, estimate: str) -> Figure:
    """The mean over tasks of each pair: of each network, and over these networks or a sample of networks."""
    rows = table[(table["estimate"] == estimate) & (table["task"] == MEAN)]
    rows = rows.assign(row=rows["networks"])
    title = "Mean over tasks, other pretrainings included"
    return style.forest(study, rows, title, band=True, hollow="covers no difference")


def sources_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """The headline pair in every regime: its difference over other pretrainings, and what it varies by."""
    mine = style.of_pair(table, tuple(study.compare.headline)) if len(table) else table
    found = []
    for row in mine.to_dict("records"):
        if row["task"] != (MEAN if MEAN in set(mine["task"]) else row["task"]):
            continue
        title = f"AUC over other pretrainings, {pair_title(study, tuple(study.compare.headline))}, "
        subject = f"{title}{ESTIMATES[row['estimate']]}, {row['networks']}: {task_title(study, row['task'])}"
        found.append(finding_of(row, subject, row["verdict"], ("delta", "ci_low", "ci_high"), "+.3f"))
    return found
