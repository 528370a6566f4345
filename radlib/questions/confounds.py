"""Two confounds of the published comparison: one preprocessing for all weights, and how the AUC is taken.
(10_confounds)

The published scripts show every network the same preprocessing, whatever its weights were trained with, and
flatten both columns of the softmax into one AUC (`both_columns` of `radlib.stats.folds`). Here frozen runs
are made with either preprocessing on the same folds and seeds, and each is scored in both ways. What a choice
shifts is a difference in differences: all cells see the same resampled patients, so it has an interval.

Runs with the weights' own preprocessing are those of `04_transfer`; only the others are trained here. Both
are of the first pretraining of each network.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import chain, product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from radlib.data.images import Packed
from radlib.errors import UserError, listed, of_task
from radlib.machines.workers import Advance
from radlib.networks.features import NOTHING
from radlib.networks.weights import Preprocessing, Weights
from radlib.progress import progress
from radlib.questions.verdicts import (
    answering,
    averaged,
    diverged,
    estimate_columns,
    left_out,
    patients_drawn,
)
from radlib.show import table as common
from radlib.show.findings import Finding, direction, finding_of, over
from radlib.show.style import forest, of_pair
from radlib.show.table import MEAN, Column, Table, hidden, interval_columns, titled, with_ends
from radlib.stats.bootstrap import bootstrap_mean_auc
from radlib.stats.estimate import Estimate, mean_of
from radlib.stats.folds import tested
from radlib.study import Study
from radlib.study.titles import TRAIN, ordered_pairs, pair_title, source_title, task_title
from radlib.training.grid import carry_out
from radlib.training.results import REMEDY, Results, check_results, load_results, paired_runs
from radlib.training.transfer import TransferGroup

OWN, SHARED, ONE_SIDED = "own", "shared", "one-sided"
ROC, FLATTENED = "roc", "flattened"
METRICS = {ROC: "ROC AUC", FLATTENED: "micro-averaged"}
# Which preprocessing the networks of either source are shown.
SHOWN = {
    OWN: {"a": OWN, "b": OWN},
    SHARED: {"a": SHARED, "b": SHARED},
    ONE_SIDED: {"a": OWN, "b": SHARED},
}
PREPARED = {OWN: "own", SHARED: "shared", ONE_SIDED: "shared for b"}
CELLS = list(product(SHOWN, METRICS))
DIFFERENCE, SHIFT = "difference", "shift"
MEASURED = [(DIFFERENCE, *CELLS[0])] + [(what, *cell) for cell in CELLS[1:] for what in (DIFFERENCE, SHIFT)]
NOTHING_ASKED = (
    "`confounds.tasks` names no task, so preprocessing and metric are not crossed in this study; of them "
    "below is the method alone. Shortcuts are of all tasks."
)
_A, _B, _DELTA = ("a", "a_low", "a_high"), ("b", "b_low", "b_high"), ("delta", "ci_low", "ci_high")
CONFOUNDS = Table(
    "confounds.csv",
    "confounds",
    "task, pair of sources and cell of preprocessing x metric",
    [
        common.TASK,
        *common.PAIR,
        Column("what", "the difference in a cell, or its shift against the first cell"),
        Column(
            "preprocessing",
            "each weights' own, one shared by both, or one-sided: shown to source b alone",
            "preprocessing",
            names=PREPARED,
        ),
        Column("metric", "AUC of the positive class, or of both columns", "AUC", names=METRICS),
        *interval_columns(_A, "source a", "a", ".3f"),
        *interval_columns(_B, "source b", "b", ".3f"),
        *interval_columns(_DELTA, "source a minus source b", "a − b"),
        Column("p_value", "two-sided, of 0"),
        *hidden(common.N_TASKS, *common.COUNTS, common.RUNS),
        common.COUNTED,
        *common.ORIGIN,
    ],
    index=4,
)


@dataclass(frozen=True, eq=False)
class _Measured:
    """One task and pair. aucs: by metric, preprocessing and side; runs: by preprocessing and side."""

    task: str
    pair: tuple[str, str]
    aucs: dict[tuple[str, str, str], Estimate]
    runs: dict[tuple[str, str], pd.DataFrame]
    counts: pd.Series


def pairs_of(study: Study) -> list[tuple[str, str]]:
    """The pairs that are asked about: those named, else the headline and all with a checkpoint."""
    if study.confounds.pairs is not None:
        return study.confounds.pairs
    headline, *others = ordered_pairs(study)
    return [headline, *(pair for pair in others if set(pair) & set(study.checkpoints))]


def crossed_part(study: Study) -> Study:
    """The study cut down to what is crossed: frozen settings, sources of `pairs_of`, pretrained once."""
    settings = study.confounds.settings or [s for s in study.transfer.settings if s.train == "frozen"]
    named = {source for pair in pairs_of(study) for source in pair}
    sources = [source for source in study.sources if source in named]
    transfer = study.transfer.model_copy(update={"settings": settings})
    once = {name: net.model_copy(update={"replicates": 1}) for name, net in study.backbones.items()}
    return study.model_copy(update={"sources": sources, "transfer": transfer, "backbones": once})


def crossed_networks(study: Study, pair: Collection[str] = ()) -> str:
    """By which regimes, and which networks of `crossed_part` all these sources have."""
    named = [s.backbones or list(study.backbones) for s in crossed_part(study).transfer.settings]
    names = dict.fromkeys(chain(*named))
    names = [name for name in names if all(name in study.backbones_of(source) for source in pair)]
    regimes = dict.fromkeys(TRAIN[s.train] for s in crossed_part(study).transfer.settings)
    return f"{listed(regimes)}, {listed(names)}, first pretraining"


class SharedGroup(TransferGroup):
    """Frozen runs whose images are prepared by `confounds.shared`, whatever the weights were trained with.

    Where that is the weights' own preprocessing they are the runs of 04_transfer.
    """

    like = TransferGroup

    def __init__(self, study: Study, task: str, packed: Packed, weights: Weights, advance: Advance):
        shared = Preprocessing(**study.confounds.shared.model_dump())
        super().__init__(study, task, packed, replace(weights, preprocessing=shared), advance)
        if self.weights.digest != weights.digest:
            self.masked = NOTHING  # only scores are asked for, so no map is made


def cross(study: Study) -> dict[str, Results]:
    """Read the runs with `OWN` preprocessing, and train those with the `SHARED` one that the store lacks.

    Raises:
        UserError: results, data or weights are missing or damaged, or results are of other data.
    """
    part, tasks = crossed_part(study), study.confounds.tasks
    own = load_results(part, tasks)
    done = {
        task: carry_out(part, task, part.runs_of(task), SharedGroup, f"shared preprocessing, {task}")
        for task in tasks
    }
    shared = check_results(part, ((task, found.runs, found.predictions) for task, found in done.items()))
    for task in tasks:
        if set(own.of_task(task)["data_digest"]) != set(shared.of_task(task)["data_digest"]):
            raise UserError(f"the results of task '{task}' are of another version of its data; {REMEDY}")
    return {OWN: own, SHARED: shared}


def compare_cells(
    study: Study, crossed: dict[str, Results], counting: Collection[str] | None = None
) -> pd.DataFrame:
    """`CONFOUNDS`: a row per task, pair and cell, and one for what each cell shifts; then means over tasks.

    `difference` rows have the AUC of both sources and their difference in a cell. `shift` rows have the same
    minus the first cell (own preprocessing, ROC).

    Args:
        counting: as of `averaged`.
    Raises:
        UserError: too few patients or resamples for an interval.
    """
    measured = [
        found
        for task in progress(crossed[OWN].tasks, description="bootstrap")
        for pair in pairs_of(study)
        if (found := _measure(study, crossed, task, pair)) is not None
    ]
    counted = [one for one in measured if averaged([one.task], counting)]
    of_pairs = [[one for one in counted if one.pair == pair] for pair in pairs_of(study)]
    measured += [_mean(study, some) for some in of_pairs if len(some) > 1]
    rows = [row | {"counts": left_out(one.task, counting)} for one in measured for row in _rows(study, one)]
    return CONFOUNDS.frame(rows, study)


@of_task
def _measure(study: Study, crossed: dict, task: str, pair: tuple[str, str]) -> _Measured | None:
    """One task and pair, or None where the sources have no frozen run in common."""
    runs, scores = {}, {}
    for preprocessing, results in crossed.items():
        for side, some in zip("ab", paired_runs(results.of_task(task), pair), strict=True):
            if some.empty:
                return None
            runs[preprocessing, side], scores[preprocessing, side] = some, results.scores(task, some)
    aucs = {}
    for metric in METRICS:
        found = bootstrap_mean_auc(scores, **patients_drawn(study, task), flattened=metric == FLATTENED)
        aucs |= {(metric, *key): auc for key, auc in found.items()}
    counts = pd.Series({"n_tasks": 1, **tested(scores[OWN, "a"]), "n_runs": len(runs[OWN, "a"])})
    return _Measured(task, pair, aucs, runs, counts)


def _mean(study: Study, some: list[_Measured]) -> _Measured:
    """Mean over tasks, each counting the same; tasks are resampled independently, as in 05_auc."""
    confidence = study.compare.confidence
    aucs = {key: mean_of([one.aucs[key] for one in some], confidence) for key in some[0].aucs}
    runs = {key: pd.concat([one.runs[key] for one in some]) for key in some[0].runs}
    return _Measured(MEAN, some[0].pair, aucs, runs, sum(one.counts for one in some))


def _rows(study: Study, measured: _Measured) -> list[dict]:
    """A row per cell, and one for what it shifts against the first."""
    a, b = measured.pair
    about = {"task": measured.task, "source_a": a, "source_b": b, **measured.counts}
    first, rows = _cell(measured, *CELLS[0]), []
    for what, preprocessing, metric in MEASURED:
        found, shown = _cell(measured, preprocessing, metric), [preprocessing]
        if what == SHIFT:
            found, shown = [x - y for x, y in zip(found, first, strict=True)], [preprocessing, OWN]
        used = dict.fromkeys((SHOWN[one][side], side) for side in "ab" for one in shown)
        lost = diverged(*map(measured.runs.get, used))
        row = {"what": what, "preprocessing": preprocessing, "metric": metric, "diverged": lost, **about}
        for names, one in zip((_A, _B, _DELTA), found, strict=True):
            row |= estimate_columns(study, one, names)
        rows.append(row | {"p_value": found[-1].p_value()})
    return rows


def _cell(measured: _Measured, preprocessing: str, metric: str) -> tuple[Estimate, Estimate, Estimate]:
    """AUC after source a, after source b, and their difference."""
    a, b = (measured.aucs[metric, shown, side] for side, shown in SHOWN[preprocessing].items())
    return a, b, a - b


def majority_table(study: Study, results: Results) -> pd.DataFrame:
    """What a predictor scores that says of every image how probable the positive class is: one number.

    Columns task, positive (share of the test images), and the titles of `METRICS`; means over folds.
    """
    rows = []
    for task in results.two_class_tasks:
        parts = results.predictions[task]
        shares = np.array([part.scored(part.scores).labels.mean() for part in parts])
        rows.append((task_title(study, task), shares.mean(), 0.5, np.maximum(shares, 1 - shares).mean()))
    return pd.DataFrame(rows, columns=["task", "positive", *METRICS.values()])


def without_common_runs(study: Study, table: pd.DataFrame) -> list[str]:
    """A sentence for every pair of which the table has no row."""
    return [
        f"{task_title(study, task)}: {pair_title(study, pair)} has no frozen runs in common"
        for task in study.confounds.tasks
        for pair in pairs_of(study)
        if task not in set(of_pair(table, pair)["task"])
    ]


def cells_figure(study: Study, table: pd.DataFrame) -> Figure:
    """The difference in every cell, a panel per pair: the mean over tasks, or what stands for it."""
    some = answering(table[table["what"] == DIFFERENCE])
    prepared = PREPARED | {ONE_SIDED: "shared for the left source"}
    cells = some["preprocessing"].map(prepared) + ", " + some["metric"].map(METRICS)
    tasks = [titled(study, row) for row in some.to_dict("records")]
    where = f", {tasks[0]}" if len(set(tasks)) == 1 else ""
    rows = cells if where else [f"{task}: {cell}" for task, cell in zip(tasks, cells, strict=True)]
    title = f"Preprocessing and metric, {crossed_networks(study)}{where}"
    return forest(study, some.assign(row=rows), title, hollow="the interval includes 0")


def preprocessing_limit(study: Study, table: pd.DataFrame) -> str:
    """A sentence where one preprocessing for all is shown to shift the headline's difference; else empty."""
    rows = answering(of_pair(table[table["what"] == SHIFT], study.compare.headline))
    rows = rows[(rows["preprocessing"] == SHARED) & (rows["metric"] == ROC)]
    for row in rows[(rows["ci_low"] > 0) | (rows["ci_high"] < 0)].to_dict("records"):
        shift = f"{with_ends(*(row[name] for name in _DELTA), '+.3f')}, {crossed_networks(study)}"
        return (
            "Preprocessing can move a difference as much as sources do: one for all, as published, shifts it "
            f"by {shift} (`10_confounds`). The claim gives each source its own."
        )
    return ""


def confounds_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """By how much each choice shifts a difference, by pair: the mean over tasks, or what stands for it.

    Beside the shift by the published choice, one preprocessing for all, stands the difference under it.
    """
    found = []
    for row in answering(table).to_dict("records"):
        pair = row["source_a"], row["source_b"]
        shift = f"Shift of the difference in AUC, {pair_title(study, pair)}, by"
        shared = "the shared preprocessing for"
        subject = {
            (DIFFERENCE, OWN, ROC): f"AUC, {pair_title(study, pair)}, each with its own preprocessing",
            (SHIFT, OWN, FLATTENED): f"{shift} micro-averaged AUC",
            (DIFFERENCE, SHARED, ROC): f"AUC, {pair_title(study, pair)}, with {shared} both",
            (SHIFT, SHARED, ROC): f"{shift} {shared} both",
            (SHIFT, ONE_SIDED, ROC): f"{shift} {shared} {source_title(study, pair[1])} alone",
        }.get((row["what"], row["preprocessing"], row["metric"]))
        if subject:
            subject += f", {crossed_networks(study, pair)}: {titled(study, row)} {over(row)}"
            word = direction(row["ci_low"], row["ci_high"])
            found.append(finding_of(row, subject, word.replace("difference", row["what"])))
    return found
