"""Controls: comparisons whose outcome is known before anything is computed, run by the study's own machinery.

*Random weights*: two draws of random weights, compared like sources, differ by nothing but chance.
*Permuted labels*: networks that learnt shuffled labels cannot know the labels of the test part, and neither
source can be ahead. *Own classes*: a source that learnt to tell classes apart must beat random weights on
images of these classes that it was not trained on. The first fails where something other than the source
tells sides apart; the second, too, where true labels of the test part reach the fitting or a choice, or test
scores choose something; the last where the study could not see a difference if there were one.

None of them sees leakage in the data. A patient on both sides of the split, or a label written in the image,
leads from images to labels that were shuffled, and leaves permuted labels at 0.5. `01_data` looks for copies
and shared patients.

The intervals of the negative controls are simultaneous (Bonferroni): in a sound study all of them together
hold what they should with the study's confidence. What they contain: see `students_interval` of
`radlib.stats.estimate`. The positive one is a bootstrap of patients and trainings.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from radlib.errors import UserError
from radlib.networks.weights import random_source
from radlib.questions.controls.table import CONTROLS, OWN_CLASSES, PERMUTED_LABELS, RANDOM_WEIGHTS
from radlib.seeds import seed_of
from radlib.stats.bootstrap import bootstrap_delta, mean_auc
from radlib.stats.estimate import students_interval
from radlib.stats.folds import FoldScores
from radlib.study import Run, Study
from radlib.study.common import RANDOM
from radlib.study.datasets import Dataset, Task
from radlib.study.training import Setting
from radlib.training.control_arms import GROUPS, ControlArm, HeldOutArm, PermutedArm
from radlib.training.grid import Finished, carry_out
from radlib.training.transfer_arm import arm_cost

TRAINING = ["control", "task", "source_a", "source_b", "measure", "value"]
AUC, DELTA = "auc", "delta"
HOLDS = {AUC: "holds 0.5", DELTA: "holds 0"}  # what a negative control expects of its interval
ABOVE = "above 0"  # what a positive one does
NEGATIVE_FIGURES = 4  # random weights; permuted labels: AUC of two sources, and their difference


@dataclass(frozen=True)
class Controlled:
    """`table` (`CONTROLS`): a row per figure; `trainings` (`TRAINING`): what single trainings gave."""

    table: pd.DataFrame
    trainings: pd.DataFrame


@dataclass(frozen=True)
class _Figure:
    """One row of the table, and the figures of its trainings."""

    row: dict
    values: np.ndarray


def run_controls(study: Study) -> Controlled:
    """Compute every control of `study.controls`, or read it from the store.

    Raises:
        UserError: data or weights are missing, a corpus keeps too few images from training, or the headline
            sources have no backbone in common.
    """
    figures = [*_random_weights(study), *_permuted_labels(study)] if study.controls.task else []
    figures += [_own_classes(study, source) for source in study.controls.positive]
    trainings = [pd.DataFrame({**figure.row, "value": figure.values})[TRAINING] for figure in figures]
    return Controlled(
        CONTROLS.frame(figure.row for figure in figures),
        pd.concat(trainings, ignore_index=True) if trainings else pd.DataFrame(columns=TRAINING),
    )


# The negative controls ------------------------------------------------------------------------------------
def _random_weights(study: Study) -> list[_Figure]:
    """Every pair of draws and every backbone is one training; folds are averaged."""
    options = study.controls
    pairs = [(random_source(2 * i + 1), random_source(2 * i + 2)) for i in range(options.pairs)]
    here = _frozen_study(study, options.task, study.tasks[options.task])
    sources = [source for pair in pairs for source in pair]
    backbones = options.backbones or list(study.backbones)
    runs = _runs(here, options.task, sources, backbones, options.seeds[:1])
    done = _carried_out(here, options.task, runs, ControlArm, "random weights")
    mean = done.runs.groupby(["source", "backbone"])["test_auc"].mean()
    sides = [np.array([mean[pair[i], name] for pair in pairs for name in backbones]) for i in (0, 1)]
    known = {"control": RANDOM_WEIGHTS, "task": options.task, "source_a": RANDOM, "source_b": RANDOM}
    return [_negative(study, known, done, sides, len(done.runs) // 2)]


def _permuted_labels(study: Study) -> list[_Figure]:
    """Every run is a training of its own, paired between the sources by its labels."""
    task, pair = study.controls.task, study.compare.headline
    here = _frozen_study(study, task, study.tasks[task])
    runs = _runs(here, task, list(pair), _common_backbones(study, pair), study.controls.seeds)
    done = _carried_out(here, task, runs, PermutedArm, "permuted labels")
    wide = done.runs.pivot(index=["backbone", "fold", "seed"], columns="source", values="test_auc")
    sides = [wide[source].to_numpy() for source in pair]
    known = {"control": PERMUTED_LABELS, "task": task}
    figures = [
        _negative(study, {**known, "source_a": source, "source_b": ""}, done, [side], len(wide))
        for source, side in zip(pair, sides, strict=True)
    ]
    both = {**known, "source_a": pair[0], "source_b": pair[1]}
    return [*figures, _negative(study, both, done, sides, len(wide))]


def _negative(study: Study, known: dict, done: Finished, sides: list[np.ndarray], n_runs: int) -> _Figure:
    """The AUC of one side, or the difference of two; (trainings,) figures of each."""
    measure, expected = (AUC, 0.5) if len(sides) == 1 else (DELTA, 0.0)
    values = sides[0] if measure == AUC else sides[0] - sides[1]
    confidence = 1 - (1 - study.compare.confidence) / NEGATIVE_FIGURES
    low, high = students_interval(values, confidence)
    row = {
        **known, "measure": measure, "value": values.mean(), "ci_low": low, "ci_high": high,
        "confidence": confidence, "expected": HOLDS[measure],
        "passed": low <= expected <= high,
        "auc_a": sides[0].mean(), "auc_b": sides[-1].mean() if measure == DELTA else np.nan,
        "n_patients": done.images["patient_id"].nunique(), "n_runs": n_runs, "resamples": 0,
        "simulated": study.simulated,
    }  # fmt: skip
    return _Figure(row, values)


# The positive control -------------------------------------------------------------------------------------
def _own_classes(study: Study, source: str) -> _Figure:
    corpus = study.controls.positive[source]
    about = study.corpora[corpus].model_dump(include=set(Dataset.model_fields))
    here = _frozen_study(study, corpus, Task(**about, negative=GROUPS[0], positive=GROUPS[1], folds=1))
    backbones = _common_backbones(study, (source, RANDOM))
    runs = _runs(here, corpus, [source, RANDOM], backbones, study.controls.seeds)
    done = _carried_out(here, corpus, runs, HeldOutArm, f"own classes of {source}")
    (a, settings), (b, _) = _fold_scores(done, source), _fold_scores(done, RANDOM)
    options = study.compare
    seed = seed_of(study.seed, "controls", source, corpus)
    found = bootstrap_delta([a], [b], options.resamples, seed, [settings])
    low, high = found.interval(options.confidence)
    wide = done.runs.pivot(index=["backbone", "seed"], columns="source", values="test_auc")
    row = {
        "control": OWN_CLASSES, "task": corpus, "source_a": source, "source_b": RANDOM, "measure": DELTA,
        "value": found.value, "ci_low": low, "ci_high": high,
        "confidence": options.confidence, "expected": ABOVE, "passed": low > 0,
        "auc_a": mean_auc([a]), "auc_b": mean_auc([b]), "n_patients": len(np.unique(a.patients)),
        "n_runs": a.runs, "resamples": options.resamples, "simulated": study.simulated,
    }  # fmt: skip
    return _Figure(row, (wide[source] - wide[RANDOM]).to_numpy())


def _fold_scores(done: Finished, source: str) -> tuple[FoldScores, np.ndarray]:
    """A source's runs on the only fold, and the backbone of each, both in the order of backbone and seed."""
    runs = done.runs[done.runs["source"] == source].sort_values(["backbone", "seed"])
    scores = done.images.pivot(index="image_id", columns="run", values="score")
    about = done.images.drop_duplicates("image_id").set_index("image_id").loc[scores.index]
    patients, labels = about["patient_id"].to_numpy(), about["label"].to_numpy()
    return FoldScores(labels, patients, scores[runs["run"]].to_numpy().T), runs["backbone"].to_numpy()


# What both share ------------------------------------------------------------------------------------------
def _frozen_study(study: Study, task: str, about: Task) -> Study:
    """The study with one task and one frozen setting, and without augmentation."""
    options = study.controls
    changes = {
        "settings": [Setting(train="frozen", lr=options.lr)], "epochs": {"frozen": options.epochs},
        "seeds": options.seeds, "views": 1,
    }  # fmt: skip
    plain = about.model_copy(update={"augment": "none", "train": None})
    transfer = study.transfer.model_copy(update=changes)
    return study.model_copy(update={"tasks": {task: plain}, "transfer": transfer})


def _runs(study: Study, task: str, sources: list[str], backbones: list[str], seeds: list[int]) -> list[Run]:
    return [
        Run(task, source, backbone, "frozen", study.controls.lr, fold, seed)
        for source in sources
        for backbone in backbones
        for fold in range(study.tasks[task].folds)
        for seed in seeds
    ]


def _carried_out(study: Study, task: str, runs: list[Run], arm: type[ControlArm], title: str) -> Finished:
    packed = arm.opened(study, task)
    return carry_out(study, task, runs, arm, lambda some: arm_cost(study, packed, some), title)


def _common_backbones(study: Study, pair: tuple[str, str]) -> list[str]:
    """Backbones of the controls that both sources have.

    Raises:
        UserError: there are none.
    """
    wanted = study.controls.backbones or list(study.backbones)
    common = [name for name in wanted if all(name in study.backbones_of(source) for source in pair)]
    if not common:
        raise UserError(
            f"'{pair[0]}' and '{pair[1]}' have none of the backbones {', '.join(wanted)} in common; name one "
            "that both have in controls.backbones"
        )
    return common
