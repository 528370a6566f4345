"""What several sections of a study must agree on, beside the names that `radlib.study.common` checks."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

from radlib.study.common import RANDOM
from radlib.study.places import check_places

if TYPE_CHECKING:
    from radlib.study import Study
    from radlib.study.datasets import Task

_SAME_TASK = ("layout", "path", "options", "class_names", "folds")
_SAME_CORPUS = ("layout", "path", "options", "size", "colour", "max_images")
# Degrees of freedom of the draws of patients; with fewer an interval takes tens of thousands of resamples.
_FEWEST_SPARE = 4


def check_sections(study: Study) -> None:
    """What a study asks must be possible.

    Raises:
        ValueError: one sentence; pydantic makes it part of its own.
    """
    both = set(study.corpora) & set(study.tasks)
    if both:
        raise ValueError(f"{sorted(both)} name both a corpus and a task; names must differ")
    for name, task in study.tasks.items():
        if task.variant_of in study.tasks and study.resize_of(name) == study.resize_of(task.variant_of):
            raise ValueError(f"tasks.{name} is a variant of {task.variant_of}, so 'resize' must differ")
        if task.external in study.tasks:
            _check_external(name, task, study.tasks[task.external])
    for where, group, same in (("tasks", study.tasks, _SAME_TASK), ("corpora", study.corpora, _SAME_CORPUS)):
        for name, item in group.items():
            if item.variant_of == name:
                raise ValueError(f"{where}.{name} is a variant of itself; name another")
            original = group.get(item.variant_of)
            for key in same if original else ():
                if getattr(item, key) != getattr(original, key):
                    raise ValueError(
                        f"{where}.{name} is a variant of {item.variant_of}, so its '{key}' must be the same"
                    )
    _check_titles(study)
    _check_confounds(study)
    _check_label_efficiency(study)
    _check_claim(study)
    _check_matched_labels(study)
    _check_controls(study)
    check_places(study)
    ranked = any(setting.train == study.compare.rank_by for setting in study.transfer.settings)
    if study.compare.tasks_that_count == "above_shortcut" and not ranked:
        raise ValueError(
            f"compare.tasks_that_count asks which tasks are learnt by '{study.compare.rank_by}' "
            "(compare.rank_by), which is no setting of transfer; name one that is"
        )


def _check_titles(study: Study) -> None:
    """Figures and tables tell tasks, and sources, apart by their titles alone."""
    for group in (study.tasks, {**study.corpora, **study.checkpoints}):
        named: dict[str, str] = {}
        for name, item in group.items():
            title = item.title or name
            other = named.setdefault(title, name)
            if other != name:
                raise ValueError(
                    f"'{other}' and '{name}' have the same title, '{title}', by which figures tell them "
                    "apart; give one of them another"
                )


def _check_claim(study: Study) -> None:
    """The sources of the headline have what the claim is of in common, on some task."""
    claim, pair = study.compare.claim_by, study.compare.headline
    asked = study.transfer.averaged if claim == "grid_mean" else (claim,)
    shared = _shared_backbones(study, study.backbones, pair)
    if not any(_has_setting(study, task, asked, shared) for task in study.compared_tasks):
        raise ValueError(
            f"the sources of compare.headline, {pair[0]} and {pair[1]}, have no setting of '{claim}' "
            "(compare.claim_by) in common; choose another pair, or another claim"
        )


def _shared_backbones(study: Study, asked: Collection[str], pair: tuple[str, str]) -> set[str]:
    """Those backbones of the asked ones that both sources have weights for."""
    return set(asked).intersection(*(study.backbones_of(source) for source in pair))


def _has_setting(study: Study, task: str, regimes: Collection[str], backbones: Collection[str]) -> bool:
    """Whether a task has a setting of one of the regimes with one of the backbones."""
    only = study.tasks[task].train
    return any(
        setting.train in regimes and (only is None or setting.train in only)
        for setting in study.transfer.settings
        if set(backbones).intersection(setting.backbones or study.backbones)
    )


def _check_matched_labels(study: Study) -> None:
    """Every task has some of its settings, and the first pair has settings in common."""
    part = study.matched_labels
    idle = [task for task in part.tasks if not _has_setting(study, task, part.train, part.backbones)]
    if idle:
        raise ValueError(
            f"matched_labels asks for {', '.join(part.train)} on {', '.join(part.backbones)}, of which "
            f"{', '.join(idle)} has no setting of transfer; name a regime and a backbone that it has"
        )
    for pair in part.pairs[:1]:
        shared = _shared_backbones(study, part.backbones, pair)
        if not any(_has_setting(study, task, part.train, shared) for task in part.tasks):
            raise ValueError(
                f"the first pair of matched_labels.pairs, {pair[0]} and {pair[1]}, has no setting in common; "
                "name a backbone that both have"
            )


def _check_controls(study: Study) -> None:
    """Both sides of a control have a network in common."""
    options = study.controls
    wanted = options.backbones or study.backbones
    headline = [study.compare.headline] if options.task else []
    for pair in [*headline, *((source, RANDOM) for source in options.positive)]:
        if not _shared_backbones(study, wanted, pair):
            raise ValueError(
                f"'{pair[0]}' and '{pair[1]}' have none of the backbones {', '.join(wanted)} in common; name "
                "one that both have in controls.backbones"
            )


def _check_external(name: str, task: Task, other: Task) -> None:
    """A second set of the same finding, which nothing else asks of."""
    if task.external == name or other.external or other.variant_of:
        raise ValueError(
            f"tasks.{name}: external names '{task.external}', which must be another task, itself without "
            "external and variant_of"
        )
    if task.class_names != other.class_names:
        raise ValueError(
            f"tasks.{name} has the classes {task.class_names} and its external set '{task.external}' "
            f"{other.class_names}; give both the same, renaming labels by the option 'labels'"
        )


def _check_label_efficiency(study: Study) -> None:
    """Its curves end in runs of transfer, and there could be an interval over draws of patients."""
    options = study.label_efficiency
    for task in options.tasks:
        sources = [run.source for run in study.whole_runs_of(task)]
        if not sources:
            rate = f" with lr {options.lr:g}" if options.train == "frozen" else ""
            raise ValueError(
                f"label_efficiency asks for '{options.train}'{rate}, which is no setting of task '{task}' in "
                "transfer; take one that is"
            )
        cells = min(map(sources.count, sources))
        if options.fractions[0] < 1 and (options.repeats - 1) * cells < _FEWEST_SPARE:
            raise ValueError(
                f"label_efficiency.repeats is {options.repeats}, too few for an interval over draws: task "
                f"'{task}' has {cells} pair(s) of fold and backbone; take at least "
                f"{1 + math.ceil(_FEWEST_SPARE / cells)}"
            )


def _check_confounds(study: Study) -> None:
    """Questions of two classes; confounds are of runs in transfer whose backbones are frozen."""
    for section in ("confounds", "robustness"):
        for task in getattr(study, section).tasks:
            if study.tasks[task].classes:
                raise ValueError(
                    f"{section}.tasks names '{task}', which has more than two classes; the question is of two"
                )
    for task in study.confounds.tasks:
        frozen = {(run.backbone, run.lr) for run in study.runs_of(task) if run.train == "frozen"}
        if not frozen:
            raise ValueError(f"confounds.tasks names '{task}', which has no frozen setting in transfer")
        for setting in study.confounds.settings or []:
            for backbone in setting.backbones or study.backbones:
                if (backbone, setting.lr) not in frozen:
                    raise ValueError(
                        f"confounds.settings: transfer has no frozen setting of '{backbone}' with lr "
                        f"{setting.lr:g}"
                    )
