"""Whether the parts of a study name each other rightly; `radlib.study` asks when it reads one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from radlib.study.common import RANDOM, Name, is_random
from radlib.study.datasets import Dataset
from radlib.study.places import check_places
from radlib.study.training import Segment, Transfer

if TYPE_CHECKING:
    from radlib.study import Study


def check_names(study: Study) -> None:
    """Every name that a part of the study gives must be known to the part that it means.

    Raises:
        ValueError: one sentence; pydantic makes it part of its own.
    """
    _nothing_twice(study)
    if study.name == "raw":
        raise ValueError(
            "a study cannot be called 'raw', for data/raw holds the downloads; choose another name"
        )
    known = [*study.corpora, *study.checkpoints, RANDOM]
    _only("sources", study.sources, known)
    _settings_agree(study, "transfer", study.transfer)
    _settings_agree(study, "segment", study.segment)
    _only("segment.tasks", study.segment.tasks, list(study.tasks))
    _parts_agree(study, known)
    if study.segment.tasks and not study.segment.settings:
        raise ValueError("segment.tasks names tasks, but segment.settings names no setting")
    _variants_agree(study)
    _corpora_agree(study)
    for name, checkpoint in study.checkpoints.items():
        _only(f"checkpoints.{name}", checkpoint.backbones, list(study.backbones))
    for pair in [*study.compare.pairs, study.compare.headline]:
        _only("compare", list(pair), study.sources)
    _confounds_agree(study)
    _controls_agree(study)
    both = set(study.corpora) & set(study.tasks)
    if both:
        raise ValueError(f"{sorted(both)} name both a corpus and a task; names must differ")
    for name, task in study.tasks.items():
        if task.negative == task.positive:
            raise ValueError(
                f"tasks.{name}: negative and positive are both '{task.negative}'; name two classes"
            )
    for name in [study.name, *study.corpora, *study.tasks, *study.checkpoints]:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError(f"'{name}' is no usable name: lower case letters, digits and _ only")
        if is_random(name):
            raise ValueError(f"'{name}' is what random weights are called; choose another name")
        if name == "raw":
            raise ValueError("'raw' is where downloads lie (data/raw); choose another name")
    check_places(study)


def _nothing_twice(study: Study) -> None:
    """What stands in a list twice would be computed twice, and counted as two."""
    lists = {"sources": study.sources, "compare.pairs": study.compare.pairs}
    lists |= {"transfer.seeds": study.transfer.seeds, "controls.seeds": study.controls.seeds}
    for where in ("segment", "confounds", "label_efficiency", "matched_labels"):
        part = getattr(study, where)
        for key in ("tasks", "backbones", "sources", "pairs", "train"):
            lists[f"{where}.{key}"] = getattr(part, key, None) or []
    for name, items in (*study.corpora.items(), *study.tasks.items()):
        lists[f"{name}.backbones"] = getattr(items, "backbones", None) or []
        lists[f"{name}.train"] = getattr(items, "train", None) or []
    for where in ("transfer", "segment"):
        lists[f"{where}.settings"] = [
            f"{setting.train}, lr {setting.lr:g}, {backbone}"
            for setting in getattr(study, where).settings
            for backbone in setting.backbones or study.backbones
        ]
    for where, items in lists.items():
        twice = [item for place, item in enumerate(items) if item in items[:place]]
        if twice:
            raise ValueError(f"{where} holds {_said(twice[0])} twice; once is enough")
    for a, b in [*study.compare.pairs, study.compare.headline, *study.matched_labels.pairs]:
        if a == b:
            raise ValueError(f"a pair sets {a} against itself; name two sources")


def _said(item: object) -> str:
    return f"[{', '.join(item)}]" if isinstance(item, tuple) else f"'{item}'"


def _settings_agree(study: Study, where: str, options: Transfer | Segment) -> None:
    for i, setting in enumerate(options.settings):
        _only(f"{where}.settings.{i}.backbones", setting.backbones or [], list(study.backbones))
        if setting.train not in options.epochs:
            raise ValueError(f"{where}.epochs has no entry for '{setting.train}'")


def _controls_agree(study: Study) -> None:
    controls = study.controls
    _only("controls.task", [controls.task] if controls.task else [], study.compared_tasks)
    _only("controls.backbones", controls.backbones or [], list(study.backbones))
    _only("controls.positive", list(controls.positive), [s for s in study.sources if not is_random(s)])
    for source, corpus in controls.positive.items():
        _only(f"controls.positive.{source}", [corpus], list(study.corpora))


def _variants_agree(study: Study) -> None:
    for name, task in study.tasks.items():
        if task.train is not None:
            _only(f"tasks.{name}.train", task.train, [s.train for s in study.transfer.settings])
        if task.variant_of is None:
            continue
        _only(f"tasks.{name}.variant_of", [task.variant_of], study.compared_tasks)
        if study.resize_of(name) == study.resize_of(task.variant_of):
            raise ValueError(f"tasks.{name} is a variant of {task.variant_of}, so 'resize' must differ")
        same = ["layout", "path", "options", "negative", "positive", "folds"]
        _alike(f"tasks.{name}", task, task.variant_of, study.tasks[task.variant_of], same)


def _corpora_agree(study: Study) -> None:
    for name, corpus in study.corpora.items():
        _only(f"corpora.{name}.backbones", corpus.backbones or [], list(study.backbones))
        if corpus.variant_of is not None:
            others = [other for other in study.corpora if other != name]
            _only(f"corpora.{name}.variant_of", [corpus.variant_of], others)
            same = ["layout", "path", "options", "size", "colour", "max_images"]
            _alike(f"corpora.{name}", corpus, corpus.variant_of, study.corpora[corpus.variant_of], same)


def _confounds_agree(study: Study) -> None:
    asked = study.confounds
    _only("confounds.tasks", asked.tasks, study.compared_tasks)
    for pair in asked.pairs or []:
        _only("confounds.pairs", list(pair), study.sources)
    for task in asked.tasks:
        frozen = {(run.backbone, run.lr) for run in study.runs_of(task) if run.train == "frozen"}
        if not frozen:
            raise ValueError(f"confounds.tasks names '{task}', which has no frozen setting in transfer")
        for setting in asked.settings or []:
            for backbone in setting.backbones or study.backbones:
                if (backbone, setting.lr) not in frozen:
                    raise ValueError(
                        f"confounds.settings: transfer has no frozen setting of '{backbone}' with lr "
                        f"{setting.lr:g}"
                    )


def _parts_agree(study: Study, sources: list[str]) -> None:
    efficiency, matched = study.label_efficiency, study.matched_labels
    for where, part in (("label_efficiency", efficiency), ("matched_labels", matched)):
        _only(f"{where}.tasks", part.tasks, study.compared_tasks)
        _only(f"{where}.backbones", part.backbones, list(study.backbones))
    _only("matched_labels.sources", matched.sources, sources)


def _alike(where: str, variant: Dataset, name: Name, original: Dataset, keys: list[str]) -> None:
    for key in keys:
        if getattr(variant, key) != getattr(original, key):
            raise ValueError(f"{where} is a variant of {name}, so its '{key}' must be the same")


def _only(where: str, names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{where} names '{name}'; allowed: {', '.join(known)}")
