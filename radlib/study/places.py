"""Nothing that a study writes may lie where it reads: what it writes is replaced, with all that is in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from radlib.errors import UserError

if TYPE_CHECKING:
    from radlib.study import Study


def check_places(study: Study) -> None:
    """Datasets and weights must lie apart from the study's own folders, wherever links lead.

    Raises:
        UserError: a path that is one of these folders, lies in one, or holds one.
    """
    datasets = {**study.corpora, **study.tasks}
    written = [study.dataset_dir(name) for name in datasets]
    written += [study.root / name for name in ("models", "results", "store", "reports", "logs")]
    read = {name: item.path for name, item in datasets.items() if not item.simulated}
    read |= {name: item.path for name, item in study.checkpoints.items() if item.path}
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


def holds_something(path: Path) -> bool:
    """Whether there is a file, or a folder that is not empty."""
    return any(path.iterdir()) if path.is_dir() else path.is_file()


def absent(study: Study, name: str) -> str:
    """Where a dataset is looked for in vain, and how to come by it: one sentence."""
    item = study.dataset(name)
    where = f"get it from {item.url} and put it there" if item.url else "put it there"
    by_raw = ", and type: make study RAW=/folder/with/downloads" if item.path.startswith("data/raw/") else ""
    return f"'{name}' ({item.title}) is not at {item.path}, or it is empty; {where}{by_raw}"


def _resolved(path: Path) -> Path:
    """Without links, and without case, which not every disk tells apart."""
    return Path(str(path.resolve()).casefold())
