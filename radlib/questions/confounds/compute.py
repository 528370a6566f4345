"""Two confounds of the published comparison: one preprocessing for all weights, and how the AUC is taken.

The published scripts show every network the same preprocessing, whatever its weights were trained with, and
flatten both columns of the softmax into one AUC (`both_columns` of `radlib.stats.folds`). Here frozen runs
are made with either preprocessing on the same folds and seeds, and each is scored in both ways. What a cell
adds to the difference of sources is a difference of differences: all cells see the same resampled patients,
so it has an interval of its own.

Runs with the weights' own preprocessing are those of `03_transfer`; only the others are trained here.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from radlib.data.images import Packed, open_packed
from radlib.errors import UserError, of_task
from radlib.machines.workers import Advance
from radlib.networks.features import NOTHING
from radlib.networks.weights import Preprocessing, Weights
from radlib.progress import progress
from radlib.questions.confounds.table import CONFOUNDS
from radlib.seeds import seed_of
from radlib.stats.bootstrap import bootstrap_mean_auc, mean_auc
from radlib.stats.estimate import Estimate, mean_of
from radlib.stats.folds import FoldScores, tested
from radlib.study import Study
from radlib.study.common import RANDOM
from radlib.study.titles import ordered_pairs, pair_title, task_title
from radlib.training.grid import Finished, carry_out
from radlib.training.results import REMEDY, Results, check_results, load_results, paired_runs
from radlib.training.transfer_arm import TransferArm, arm_cost

OWN, SHARED, ONE_SIDED = "own", "shared", "one-sided"
PREPROCESSINGS = {
    OWN: "each weights' own",
    SHARED: "the published one for both sources",
    ONE_SIDED: "the published one for source b alone",
}
ROC, FLATTENED = "roc", "flattened"
METRICS = {ROC: "ROC AUC of the positive class", FLATTENED: "micro-averaged AUC, of both columns"}
CELLS = [(preprocessing, metric) for preprocessing in PREPROCESSINGS for metric in METRICS]
DIFFERENCE, CHANGE = "difference", "change"
EVERY_TASK = "tasks with a published gain"


@dataclass(frozen=True)
class Crossed:
    """The same runs with the weights' own and with the shared preprocessing; computed: how many just now."""

    own: Results
    shared: Results
    computed: int


@dataclass(frozen=True)
class _Measured:
    """One task and pair. By cell (`CELLS`): source a, source b, and a - b."""

    task: str
    pair: tuple[str, str]
    cells: list[list[Estimate]]
    counts: dict[str, int]


def pairs_of(study: Study) -> list[tuple[str, str]]:
    """The pairs that are asked about: those named, else the headline and all with a checkpoint."""
    if study.confounds.pairs is not None:
        return study.confounds.pairs
    headline, *others = ordered_pairs(study)
    return [headline, *(pair for pair in others if set(pair) & set(study.checkpoints))]


def crossed_part(study: Study) -> Study:
    """The study cut down to what is crossed: frozen settings, and the sources of `pairs_of`."""
    settings = study.confounds.settings or [s for s in study.transfer.settings if s.train == "frozen"]
    named = {source for pair in pairs_of(study) for source in pair}
    update = {
        "sources": [source for source in study.sources if source in named],
        "transfer": study.transfer.model_copy(update={"settings": settings}),
    }
    return study.model_copy(update=update)


class SharedArm(TransferArm):
    """Frozen runs whose images are prepared by `confounds.shared`, whatever the weights were trained with."""

    def __init__(self, study: Study, task: str, packed: Packed, weights: Weights, advance: Advance):
        shared = Preprocessing(**study.confounds.shared.model_dump())
        super().__init__(study, task, packed, weights.shown(shared), advance)
        self.masked = NOTHING  # only scores are asked for, so no map is made

    @property
    def code(self) -> str:
        """That of 03_transfer: these are its runs where the own preprocessing is the shared one."""
        return TransferArm.__module__


def cross(study: Study) -> Crossed:
    """Read the runs with own preprocessing, and train those with the shared one that the store lacks.

    Raises:
        UserError: results, data or weights are missing or damaged, or results are of other data.
    """
    part, tasks = crossed_part(study), study.confounds.tasks
    own = load_results(part, tasks)
    done = {task: _train_shared(part, task) for task in tasks}
    shared = check_results(part, ((task, found.runs, found.images) for task, found in done.items()))
    for task in tasks:
        if set(own.of_task(task)["data_digest"]) != set(shared.of_task(task)["data_digest"]):
            raise UserError(f"the results of task '{task}' are of another version of its data; {REMEDY}")
    return Crossed(own, shared, sum(found.computed for found in done.values()))


def _train_shared(part: Study, task: str) -> Finished:
    packed = open_packed(part.dataset_dir(task))
    return carry_out(
        part, task, part.runs_of(task), SharedArm, lambda arm: arm_cost(part, packed, arm),
        description=f"shared preprocessing, {task}",
    )  # fmt: skip


def compare_cells(study: Study, crossed: Crossed) -> pd.DataFrame:
    """A row (`CONFOUNDS`) per task, pair and cell, and one for what each cell changes.

    `difference` rows hold the AUC of both sources and their difference in a cell. `change` rows hold the same
    minus the first cell (own preprocessing, ROC); `share` is that change as a part of the published gain, for
    pairs that are of the published kind: the headline's first source against one that is not random.
    Rows of `EVERY_TASK` are means over the tasks that have a published gain, if there are two.

    Raises:
        UserError: too few patients or resamples for an interval.
    """
    measured = [
        found
        for task in progress(crossed.own.tasks, description="bootstrap")
        for pair in pairs_of(study)
        if (found := _measure(study, crossed, task, pair)) is not None
    ]
    gains = {task: study.tasks[task].published_delta for task in crossed.own.tasks}
    rows = [row for found in measured for row in _rows(study, found, gains[found.task])]
    for pair in pairs_of(study):
        some = [m for m in measured if m.pair == pair and gains[m.task] is not None]
        if len(some) > 1:
            gain = float(np.mean([gains[m.task] for m in some]))
            rows += _rows(study, _mean(study, some), gain, len(some))
    return CONFOUNDS.frame(rows)


def majority_table(study: Study, results: Results) -> pd.DataFrame:
    """What a predictor scores that says of every image how probable the positive class is: one number.

    Columns task, positive (share of the test images), roc, flattened; means over folds.
    """
    rows = []
    for task, parts in results.predictions.items():
        constant = [
            FoldScores(part.labels, part.patients, np.full((1, len(part.labels)), part.labels.mean()))
            for part in parts
        ]
        positive = float(np.mean([fold.labels.mean() for fold in constant]))
        areas = {metric: mean_auc(constant, metric == FLATTENED) for metric in METRICS}
        rows.append({"task": task_title(study, task), "positive": positive, **areas})
    return pd.DataFrame(rows)


def without_common_runs(study: Study, table: pd.DataFrame) -> list[str]:
    """A sentence for every pair of which the table has no row."""
    there = set(zip(table["task"], table["source_a"], table["source_b"], strict=True))
    return [
        f"{task_title(study, task)}: {pair_title(study, pair)} has no frozen runs in common"
        for task in study.confounds.tasks
        for pair in pairs_of(study)
        if (task, *pair) not in there
    ]


@of_task
def _measure(study: Study, crossed: Crossed, task: str, pair: tuple[str, str]) -> _Measured | None:
    """All cells of one task and pair, or None where the sources have no frozen run in common."""
    sides = {}
    for preprocessing, results in ((OWN, crossed.own), (SHARED, crossed.shared)):
        paired = paired_runs(results.of_task(task), pair)
        if paired[0].empty:
            return None
        for side, runs in zip("ab", paired, strict=True):
            sides[f"{preprocessing} {side}"] = results.scores(task, runs)
    # The seed of 04_auc: the very patients that its intervals resample.
    seed = seed_of(study.seed, "bootstrap", task)
    found = {
        metric: bootstrap_mean_auc(sides, study.compare.resamples, seed, flattened=metric == FLATTENED)
        for metric in METRICS
    }
    cells = []
    for preprocessing, metric in CELLS:
        a = found[metric][f"{SHARED if preprocessing == SHARED else OWN} a"]
        b = found[metric][f"{OWN if preprocessing == OWN else SHARED} b"]
        cells.append([a, b, a - b])
    first = sides[f"{OWN} a"]
    return _Measured(task, pair, cells, {**tested(first), "n_runs": sum(fold.runs for fold in first)})


def _mean(study: Study, some: list[_Measured]) -> _Measured:
    """Mean over tasks, each counting the same; tasks are resampled independently, as in 04_auc."""
    cells = [
        [mean_of(of_tasks, study.compare.confidence) for of_tasks in zip(*cell, strict=True)]
        for cell in zip(*(m.cells for m in some), strict=True)
    ]
    counts = {key: sum(m.counts[key] for m in some) for key in some[0].counts}
    return _Measured(EVERY_TASK, some[0].pair, cells, counts)


def _rows(study: Study, found: _Measured, published: float | None, n_tasks: int = 1) -> list[dict]:
    if found.pair[0] != study.compare.headline[0] or found.pair[1] == RANDOM:
        published = None
    about = {
        "task": found.task, "source_a": found.pair[0], "source_b": found.pair[1],
        "published": np.nan if published is None else published, "n_tasks": n_tasks, **found.counts,
        "resamples": study.compare.resamples, "simulated": study.simulated,
    }  # fmt: skip
    rows = []
    for place, (preprocessing, metric) in enumerate(CELLS):
        cell = about | {"preprocessing": preprocessing, "metric": metric}
        here = found.cells[place]
        rows.append(cell | {"what": DIFFERENCE} | _figures(study, here))
        if place > 0:
            figures = _figures(study, [x - first for x, first in zip(here, found.cells[0], strict=True)])
            rows.append(cell | {"what": CHANGE} | figures | _share(figures, published))
    return rows


def _figures(study: Study, cell: list[Estimate]) -> dict[str, float]:
    """Source a, source b and their difference with intervals."""
    names = [("a", "a_low", "a_high"), ("b", "b_low", "b_high"), ("delta", "ci_low", "ci_high")]
    figures = {}
    for keys, one in zip(names, cell, strict=True):
        figures |= dict(zip(keys, (one.value, *one.interval(study.compare.confidence)), strict=True))
    return figures | {"p_value": cell[-1].p_value()}


def _share(figures: dict[str, float], published: float | None) -> dict[str, float]:
    """A change as a part of the published gain; nothing where that is 0 or not known."""
    if not published:
        return {}
    share = figures["delta"] / published
    low, high = sorted(figures[key] / published for key in ("ci_low", "ci_high"))
    return {"share": share, "share_low": low, "share_high": high}
