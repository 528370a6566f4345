"""Does the study find what is known to be there, and nothing else? (16_controls)

Controls are comparisons whose outcome is known before anything is computed. *Random weights*: two draws of
random weights, compared like sources, differ by nothing but chance. *Permuted labels*: networks that learnt
shuffled labels cannot know the labels of the test part, and neither source can be ahead. *Own classes*: a
source that learnt to tell classes apart must beat random weights on images of these classes that it was not
trained on. None of them sees leakage in the data: `16_controls` says what each can notice. All train heads by
gradient, whatever the claim is of, and the intervals of the negative ones are not of its kind: these are
tested in 09_validity.

The intervals of the negative controls are simultaneous (Bonferroni): in a sound study all of them together
cover what they should with the study's confidence. What they contain: see `students_interval` of
`radlib.stats.estimate`. The positive one is a bootstrap of patients and trainings. Where runs diverged no
control has passed: a run that diverged counts with an AUC of 0.5, which is what a negative control expects.
"""

from dataclasses import dataclass
from html import escape
from itertools import chain, product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from radlib.errors import of_task
from radlib.networks.weights import random_source
from radlib.questions.verdicts import diverged, estimate_columns
from radlib.seeds import seed_of
from radlib.show.findings import Finding, finding_of, unless_diverged, with_interval
from radlib.show.style import COLOURS, UNDECIDED, intervals
from radlib.show.table import COUNTS, ORIGIN, PAIR, RUNS, SIDES, Column, Table, interval_columns, with_ends
from radlib.stats.bootstrap import bootstrap_delta, mean_auc
from radlib.stats.estimate import students_interval
from radlib.stats.folds import tested
from radlib.study import Run, Study
from radlib.study.common import RANDOM
from radlib.study.datasets import Dataset, Task
from radlib.study.titles import pair_title, source_title
from radlib.study.training import Setting
from radlib.training.control_groups import GROUPS, ControlGroup, HeldOutGroup, PermutedGroup
from radlib.training.grid import Finished, carry_out
from radlib.training.predictions import fold_predictions
from radlib.training.results import Results, paired_runs
from radlib.training.transfer import predictions_of

RANDOM_WEIGHTS, PERMUTED_LABELS, OWN_CLASSES = "random_weights", "permuted_labels", "own_classes"
TITLES = {
    RANDOM_WEIGHTS: "random weights twice",
    PERMUTED_LABELS: "permuted labels",
    OWN_CLASSES: "own classes",
}
AUC, DELTA = "auc", "delta"
MEASURES = {AUC: "AUC", DELTA: "difference in AUC"}
FORMS = {AUC: ".3f", DELTA: "+.3f"}
EXPECTED = {AUC: 0.5, DELTA: 0.0}  # of a negative control
ABOVE = "lies above 0"  # what the interval of a positive one must do
_VALUE = ("value", "ci_low", "ci_high")
CONTROLS = Table(
    "controls.csv",
    "controls",
    "control and result",
    [
        Column("control", "random weights twice, permuted labels, or own classes", "control", names=TITLES),
        Column("task", "name of the task or corpus that is tested"),
        *PAIR,
        Column("measure", "AUC, or a difference of AUC", "result", names=MEASURES),
        *interval_columns(_VALUE, "the result", "value", ".3f"),
        Column("confidence", "of the interval", "confidence", ".2%"),
        Column("expected", "what the interval must do", "the interval"),
        Column("passed", "whether it does", "passed", names={True: "yes", False: "NO"}),
        *SIDES,
        COUNTS[0],
        RUNS,
        *ORIGIN,
    ],
    index=2,
)
_KEYS = ["control", "task", "source_a", "source_b", "measure"]
TRAINING = [*_KEYS, "value"]
NEGATIVE_RESULTS = 4  # random weights; permuted labels: AUC of two sources, and their difference
NO_CONTROLS = (
    "This study has no controls: nothing shows that it could see a difference, or that alike sources come "
    "out alike."
)
_MEANING = {
    RANDOM_WEIGHTS: "Two draws of random weights differ by more than chance, so a difference between "
    "sources may come from the comparison itself",
    PERMUTED_LABELS: "Networks that learnt shuffled labels cannot know who is ill, so true labels of the "
    "test part reach the fitting or a choice, test scores choose something, or one side is favoured",
    OWN_CLASSES: "The source was not shown to beat random weights where it must, so its pretraining taught "
    "little, or this study cannot see what a source carries",
}
_GREEN = "#CFE8D8"
_BOX = "border:3px solid #B00020; background-color:#FDECEA; color:#7A0016; padding:10px"


@dataclass(frozen=True)
class Controlled:
    """`table` (`CONTROLS`): a row per result; `trainings` (`TRAINING`): what single trainings gave."""

    table: pd.DataFrame
    trainings: pd.DataFrame


def run_controls(study: Study) -> Controlled:
    """Compute every control of `study.controls`, or read it from the store.

    Raises:
        UserError: data or weights are missing, or a corpus keeps too few images from training.
    """
    rows = [*_random_weights(study), *_permuted_labels(study)] if study.controls.task else []
    rows += [_own_classes(study, corpus, source) for source, corpus in study.controls.positive.items()]
    trainings = pd.DataFrame(rows, columns=[*_KEYS, "values"]).explode("values", ignore_index=True)
    trainings = trainings.astype({"values": float}).set_axis(TRAINING, axis=1)
    return Controlled(CONTROLS.frame(rows, simulated=study.simulated), trainings)


# The negative controls ------------------------------------------------------------------------------------
def _random_weights(study: Study) -> list[dict]:
    """Every pair of draws and every backbone is one training, and folds are averaged."""
    options = study.controls
    pairs = [(random_source(2 * i + 1), random_source(2 * i + 2)) for i in range(options.pairs)]
    here = _frozen_study(study, options.task, study.tasks[options.task])
    backbones = options.backbones or list(study.backbones)
    done = _carried_out(here, ControlGroup, chain(*pairs), backbones, options.seeds[:1], "random weights")
    means = done.runs.groupby(["source", "backbone"])["test_auc"].mean().unstack()[backbones]
    sides = [means.loc[list(draws)].to_numpy().ravel() for draws in zip(*pairs, strict=True)]
    known = {"control": RANDOM_WEIGHTS, "task": options.task, "source_a": RANDOM, "source_b": RANDOM}
    return [_negative(study, known, done, sides, diverged(done.runs.assign(source=RANDOM)))]


def _permuted_labels(study: Study) -> list[dict]:
    """Every run is a training of its own, paired between the sources by its labels."""
    task, pair = study.controls.task, study.compare.headline
    here = _frozen_study(study, task, study.tasks[task])
    backbones, seeds = _common_backbones(study, pair), study.controls.seeds
    done = _carried_out(here, PermutedGroup, pair, backbones, seeds, "permuted labels")
    wide = done.runs.pivot(index=["backbone", "fold", "seed"], columns="source", values="test_auc")
    rows = []
    for some in (pair[:1], pair[1:], pair):
        known = {"control": PERMUTED_LABELS, "task": task, "source_a": some[0], "source_b": "".join(some[1:])}
        lost = diverged(done.runs[done.runs["source"].isin(some)])
        rows.append(_negative(study, known, done, [wide[source].to_numpy() for source in some], lost))
    return rows


def _negative(study: Study, known: dict, done: Finished, sides: list[np.ndarray], lost: str | None) -> dict:
    """The AUC of one side, or the difference of two; sides: (trainings,) AUCs of each."""
    measure, values = (AUC, sides[0]) if len(sides) == 1 else (DELTA, sides[0] - sides[1])
    confidence = 1 - (1 - study.compare.confidence) / NEGATIVE_RESULTS
    low, high = students_interval(values, confidence)
    patients, expected = done.predictions["patient_id"].nunique(), EXPECTED[measure]
    row = known | dict(zip(_VALUE, (values.mean(), low, high), strict=True))
    row |= {"measure": measure, "confidence": confidence, "expected": f"covers {expected:g}"}
    row |= {"passed": low <= expected <= high and not lost, "diverged": lost, "values": values}
    row |= {"auc_a": sides[0].mean(), "auc_b": sides[-1].mean() if measure == DELTA else np.nan}
    return row | {"n_patients": patients, "n_runs": len(done.runs) // 2, "resamples": 0}


# The positive control -------------------------------------------------------------------------------------
@of_task
def _own_classes(study: Study, task: str, source: str) -> dict:
    """task: the corpus whose held-out images are told apart."""
    about = study.corpora[task].model_dump(include=set(Dataset.model_fields))
    here = _frozen_study(study, task, Task(**about, negative=GROUPS[0], positive=GROUPS[1], folds=1))
    pair, options = (source, RANDOM), study.compare
    backbones, seeds = _common_backbones(study, pair), study.controls.seeds
    done = _carried_out(here, HeldOutGroup, pair, backbones, seeds, f"own classes of {source}")
    results = Results(done.runs, {task: fold_predictions(task, done.runs, predictions_of(done))})
    runs = paired_runs(done.runs, pair, ["backbone", "seed"])
    a, b = (results.scores(task, some) for some in runs)
    seed = seed_of(study.seed, "controls", source, task)
    found = bootstrap_delta(a, b, options.resamples, seed, [runs[0]["backbone"].to_numpy()])
    lost, values = diverged(*runs), (runs[0]["test_auc"] - runs[1]["test_auc"]).to_numpy()
    row = {"control": OWN_CLASSES, "task": task, "source_a": source, "source_b": RANDOM, "measure": DELTA}
    row |= estimate_columns(study, found, _VALUE)
    row |= {"confidence": options.confidence, "expected": ABOVE, "resamples": options.resamples}
    row |= {"passed": row["ci_low"] > 0 and not lost, "diverged": lost, "values": values}
    return row | {"auc_a": mean_auc(a), "auc_b": mean_auc(b), "n_runs": len(values), **tested(a)}


# What both share ------------------------------------------------------------------------------------------
def _frozen_study(study: Study, task: str, about: Task) -> Study:
    """The study with one task and one frozen setting, and without augmentation."""
    options = study.controls
    setting = Setting(train="frozen", lr=options.lr)
    changes = {"settings": [setting], "epochs": {"frozen": options.epochs}, "patience": {}}
    changes |= {"seeds": options.seeds, "views": 1}
    plain = about.model_copy(update={"augment": "none", "train": None, "external": None})
    transfer = study.transfer.model_copy(update=changes)
    return study.model_copy(update={"tasks": {task: plain}, "transfer": transfer})


def _carried_out(study: Study, group: type[ControlGroup], sources, backbones, seeds, title: str) -> Finished:
    """Every source on every backbone, fold and seed of the only task."""
    (task,), lr = study.tasks, study.controls.lr
    each = product(sources, backbones, range(study.tasks[task].folds), seeds)
    runs = [Run(task, source, backbone, "frozen", lr, fold, seed) for source, backbone, fold, seed in each]
    return carry_out(study, task, runs, group, title)


def _common_backbones(study: Study, pair: tuple[str, str]) -> list[str]:
    """Backbones of the controls that both sources have."""
    wanted = study.controls.backbones or study.backbones
    return [name for name in wanted if all(name in study.backbones_of(source) for source in pair)]


# What is shown --------------------------------------------------------------------------------------------
def controls_figure(study: Study, found: Controlled) -> Figure:
    """One line per result: its single trainings, mean and interval; where a positive one must lie is green.

    An AUC is drawn by how far it is from 0.5, so that the expected value of all negative controls is 0.
    """
    rows, expected = found.table.to_dict("records"), found.table["measure"].map(EXPECTED)
    marks = found.table.assign(
        panel="",
        row=[result_title(study, row).replace(": ", "\n", 1) for row in rows],
        colour=[COLOURS[0] if row["passed"] else COLOURS[1] for row in rows],
        marker=["o" if row["passed"] else "X" for row in rows],
        **{name: found.table[name] - expected for name in _VALUE},
    )
    measures = {AUC: "AUC minus 0.5", DELTA: "difference in AUC"}
    words = [word for measure, word in measures.items() if measure in set(found.table["measure"])]
    figure, (panel,) = intervals(study, marks, ", or ".join(words), line=0)
    values = found.trainings["value"] - found.trainings["measure"].map(EXPECTED)
    # Of few trainings an interval may be wider than AUCs can differ.
    limit = min(1.1 * max(values.abs().max(), marks[list(_VALUE)].abs().max(axis=None)), 1)
    panel.set_xlim(-limit, limit)
    for y, row in enumerate(rows):
        if row["expected"] == ABOVE:
            panel.add_patch(Rectangle((0, y - 0.4), limit, 0.8, color=_GREEN, lw=0, zorder=0))
        own = values[(found.trainings[_KEYS] == pd.Series(row)[_KEYS]).all(axis=1)]
        panel.plot(own, [y + 0.2] * len(own), "|", color=UNDECIDED, ms=7, zorder=2)
    figure.suptitle(_figure_title(found.table))
    return figure


def _figure_title(table: pd.DataFrame) -> str:
    """What the intervals of these controls must do, and what their marks mean."""
    levels = table.assign(above=table["expected"] == ABOVE).groupby("above")["confidence"].first()
    kinds = {False: "must cover the line at 0", True: "must lie in the green area"}
    said = ", ".join(f"{level:.4g} % intervals {kinds[above]}" for above, level in (100 * levels).items())
    failed = "" if table["passed"].all() else "; X: failed"
    strokes = "grey strokes: single trainings"
    if (table["control"] == RANDOM_WEIGHTS).any():
        strokes += "; with random weights twice, the mean over the folds of each pair"
    return f"Controls: {said}{failed}\n{strokes}"


def result_title(study: Study, row: dict) -> str:
    """`Breast US, permuted labels: Radiology − Photographs`; what a row of the table is about."""
    a, b = row["source_a"], row["source_b"]
    of = source_title(study, a) if row["measure"] == AUC else pair_title(study, (a, b))
    of = "difference" if row["control"] == RANDOM_WEIGHTS else of
    return f"{study.dataset(row['task']).title}, {TITLES[row['control']]}: {of}"


def control_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Every result, and whether it came out as it must."""
    found = []
    for row in table.to_dict("records"):
        word, subject = "passed" if row["passed"] else "FAILED", f"Control. {result_title(study, row)}"
        found.append(finding_of(row, subject, word, _VALUE, FORMS[row["measure"]]))
    return found


def control_table(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """For readers: `CONTROLS`, differences with their sign."""
    rows = table.to_dict("records")
    values = [with_ends(*(row[name] for name in _VALUE), FORMS[row["measure"]]) for row in rows]
    return CONTROLS.shown(study, table).assign(value=values)


def _reach(study: Study, table: pd.DataFrame) -> str:
    """What controls that passed are worth: the bias left open by the negative ones, and the positive AUCs."""
    positive = table["control"] == OWN_CLASSES
    negative, said = table[~positive], ""
    if len(negative):
        ends = negative[["ci_low", "ci_high"]].sub(negative["measure"].map(EXPECTED), axis=0)
        bias = f"{ends.abs().max(axis=None):.3f} in an AUC or a difference"
        said = f" The negative ones cannot exclude a bias of up to {bias}."
    aucs = [
        f"{a:.3f} with {source_title(study, source)}, {b:.3f} with random weights"
        for source, a, b in table.loc[positive, ["source_a", "auc_a", "auc_b"]].to_numpy()
    ]
    return said + (f" AUC in the positive ones: {'; '.join(aucs)}." if aucs else "")


def controls_box(study: Study, table: pd.DataFrame) -> str:
    """The verdict in Markdown: a sentence, or a red box (HTML) where a control failed."""
    if table.empty:
        return f"**Controls.** {NO_CONTROLS}"
    failed = table[~table["passed"].astype(bool)]
    if failed.empty:
        return f"**Controls.** No control failed ({len(table)} of {len(table)} passed).{_reach(study, table)}"
    items = ""
    for found, row in zip(control_findings(study, failed), failed.to_dict("records"), strict=True):
        what = f"{found.subject.removeprefix('Control. ')}: {with_interval(found, row['confidence'])}"
        why = f"the interval should be one that {row['expected']}, and is not. {_MEANING[row['control']]}"
        why = unless_diverged(why, row.get("diverged"))
        items += f"<li>{escape(f'{what}; {why}')}.</li>"
    return (
        f'<div style="{_BOX}"><b>A CONTROL FAILED ({len(failed)} of {len(table)} results).</b> Do not rely '
        f"on what is said below until the reason is found.<ul>{items}</ul>See notebook 16_controls.</div>"
    )
