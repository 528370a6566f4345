"""What several sections of a study must agree on, beside the names that `radlib.study.common` checks.

Nothing that a study writes may lie where it reads: what it writes is replaced, with all that is in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from radlib.errors import UserError

if TYPE_CHECKING:
    from radlib.study import Study

_SAME_TASK = ("layout", "path", "options", "negative", "positive", "folds")
_SAME_CORPUS = ("layout", "path", "options", "size", "colour", "max_images")


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
    _check_confounds(study)
    check_places(study)


def _check_confounds(study: Study) -> None:
    """The question is asked of runs in transfer whose backbones are frozen."""
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


def check_places(study: Study) -> None:
    """Datasets and weights must lie apart from the study's own folders, wherever links lead.

    Raises:
        UserError: a path that is one of these folders, lies in one, or holds one.
    """
    datasets = {**study.corpora, **study.tasks}
    written = [study.dataset_dir(name) for name in datasets]
    written += [study.root / name for name in ("models", "results", "store", "reports", "logs")]
    read = {name: item.path for name, item in datasets.items() if not item.simulated}
    read |= {name: item.path for name, item in study.checkpoints.items()}
    for name, path in read.items():
        if path.startswith(("~", "$")):
            raise UserError(
                f"the path of '{name}', {path}: ~ and $ stay as they are here; write the whole path"
            )
        source = _resolved(study.root / path)
        for folder in written:
            target = _resolved(folder)
            if source.is_relative_to(target) or target.is_relative_to(source):
                raise UserError(
                    f"the path of '{name}', {path}, and {folder}, which the study replaces, lie in one "
                    "another; keep what is yours elsewhere, and link it: make study RAW=/with/downloads"
                )


def _resolved(path: Path) -> Path:
    """Without links, and without case, which not every disk tells apart."""
    return Path(str(path.resolve()).casefold())
