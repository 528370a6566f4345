"""`params.yaml` as types: what a study is made of, and where its files lie.

Words used everywhere: a *source* is where a backbone's first weights come from (a corpus it is pretrained
on here, a published checkpoint, or random numbers); a *task* is a labelled dataset with patients; a
*setting* is (backbone, which layers train, learning rate); a *run* is (task, source, setting, fold, seed).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from radlib.errors import UserError
from radlib.study.common import Name, Strict, fault_of
from radlib.study.consistency import check_names
from radlib.study.datasets import Checkpoint, Corpus, Data, Dataset, Task
from radlib.study.files import read_params
from radlib.study.questions import Compare, Confounds, Controls, LabelEfficiency, MatchedLabels, Validity
from radlib.study.training import Backbone, Compute, Pretrain, Segment, Transfer


class Study(Strict):
    """A whole study. `root` is the repository's folder; every path below hangs from it."""

    name: str
    title: str
    seed: int = Field(ge=0)
    data: Data
    backbones: dict[Name, Backbone] = Field(min_length=1)
    sources: list[Name] = Field(min_length=1, description="keys of corpora and checkpoints, or 'random'")
    corpora: dict[Name, Corpus]
    checkpoints: dict[Name, Checkpoint]
    tasks: dict[Name, Task] = Field(min_length=1)
    pretrain: Pretrain
    transfer: Transfer
    segment: Segment = Field(default_factory=Segment)
    compare: Compare
    validity: Validity
    confounds: Confounds = Field(default_factory=Confounds)
    label_efficiency: LabelEfficiency = Field(default_factory=LabelEfficiency)
    matched_labels: MatchedLabels = Field(default_factory=MatchedLabels)
    controls: Controls = Field(default_factory=Controls)
    compute: Compute = Field(default_factory=Compute)
    notes: list[str] = Field(default_factory=list, description="sentences the summary prints as they are")
    root: Path = Field(Path(), exclude=True)

    @model_validator(mode="after")
    def _names_agree(self) -> Study:
        check_names(self)
        return self

    # Where things lie -------------------------------------------------------------------------------
    @property
    def raw(self) -> Path:
        """Where `make study RAW=...` links the folder with the downloads."""
        return self.root / "data" / "raw"

    def raw_path(self, item: Dataset) -> Path:
        return self.root / item.path

    def checkpoint_file(self, name: str, backbone: str) -> Path:
        checkpoint = self.checkpoints[name]
        return self.root / checkpoint.path / checkpoint.file_of(backbone)

    # Under the study's name: another study may call another dataset, source or task the same.
    def dataset_dir(self, dataset: str) -> Path:
        return self.root / "data" / self.name / dataset

    def model_file(self, source: str, backbone: str) -> Path:
        return self.root / "models" / self.name / source / f"{backbone}.safetensors"

    def result_dir(self, task: str) -> Path:
        return self.root / "results" / self.name / task

    @property
    def report_dir(self) -> Path:
        return self.root / "reports" / self.name

    @property
    def store_dir(self) -> Path:
        return self.root / "store"

    # What it holds ----------------------------------------------------------------------------------
    def pick(self, name: str | None, names: Iterable[str], what: str) -> str:
        """The name of a notebook's first cell; None: the first that this study has.

        Raises:
            UserError: there is none, or none of that name.
        """
        known = list(names)
        if not known:
            raise UserError(f"study '{self.name}' has no {what}, so there is nothing to do here")
        if name is not None and name not in known:
            raise UserError(f"no {what} '{name}' in study '{self.name}'; there are: {', '.join(known)}")
        return known[0] if name is None else name

    def dataset(self, name: str) -> Corpus | Task:
        datasets = {**self.corpora, **self.tasks}
        if name not in datasets:
            raise UserError(f"no dataset '{name}' in study '{self.name}'; there are: {', '.join(datasets)}")
        return datasets[name]

    @property
    def compared_tasks(self) -> list[str]:
        """The tasks that count in the comparison of sources: a variant has the images of another task."""
        return [name for name, task in self.tasks.items() if task.variant_of is None]

    def origin(self, dataset: str) -> str:
        """The dataset whose seeds this one shares: a variant is drawn and split like its original."""
        return getattr(self.dataset(dataset), "variant_of", None) or dataset

    def resize_of(self, dataset: str) -> str:
        """How images become square: `stretch` or `letterbox`."""
        return getattr(self.dataset(dataset), "resize", None) or self.data.resize

    def input_size(self, task: str, backbone: str) -> int:
        """Side of a network's input in transfer to a task, px."""
        return max(self.backbones[backbone].size, self.tasks[task].input or 0)

    @property
    def simulated(self) -> bool:
        return any(d.simulated for d in [*self.corpora.values(), *self.tasks.values()])

    def backbones_of(self, source: str) -> list[str]:
        """Backbones that a source has weights for: a checkpoint only its own, a corpus what it is given."""
        if source in self.checkpoints:
            return self.checkpoints[source].backbones
        only = self.corpora[source].backbones if source in self.corpora else None
        return [name for name in self.backbones if only is None or name in only]

    def runs_of(self, task: str) -> list[Run]:
        """Every run of a task in transfer, in the order in which they are computed: the cheap ones first."""
        only = self.tasks[task].train
        return self._runs(task, [s for s in self.transfer.settings if only is None or s.train in only])

    def segmentation_runs_of(self, task: str) -> list[Run]:
        """Every run of a task in segmentation, likewise."""
        return self._runs(task, self.segment.settings)

    def _runs(self, task: str, settings: list) -> list[Run]:
        cost = {"frozen": 0, "top10": 1, "all": 2}
        return [
            Run(task, source, backbone, setting.train, setting.lr, fold, seed)
            for setting in sorted(settings, key=lambda s: cost[s.train])
            for backbone in (setting.backbones or self.backbones)
            for source in self.sources
            if backbone in self.backbones_of(source)
            for fold in range(self.tasks[task].folds)
            for seed in self.transfer.seeds
        ]


@dataclass(frozen=True)
class Run:
    """One training of one network on one fold of one task."""

    task: str
    source: str
    backbone: str
    train: str
    lr: float
    fold: int
    seed: int

    @property
    def name(self) -> str:
        setting = f"{self.backbone}/{self.train}/lr{self.lr:g}"
        return f"{self.task}/{self.source}/{setting}/fold{self.fold}/seed{self.seed}"


def load_study(overrides: dict[str, Any] | None = None, path: str | Path | None = None) -> Study:
    """Read `params.yaml` (found in this folder or above) and apply dotted overrides.

    Args:
        overrides: for example `{"transfer.epochs.all": 5}`; only keys of the study are accepted, those that
            the file leaves out among them.
        path: another study file; its folder (or the one above `studies/`) becomes the root.
    Raises:
        UserError: file missing, not UTF-8 or not YAML; a key that is unknown, there twice, or of an
            impossible value, which is named.
    """
    path = Path(path) if path else _find_params()
    params = read_params(path)
    study = _validated(params, path)
    if not overrides:
        return study
    if not isinstance(overrides, dict):
        raise UserError(
            f"overrides is {overrides!r}; write keys and values, such as {{'transfer.epochs.frozen': 5}}"
        )
    complete = study.model_dump(mode="json")
    for key, value in overrides.items():
        _override(params, complete, key, value)
    return _validated(params, path, "overrides")


def _validated(params: dict, path: Path, said: str = "") -> Study:
    folder = path.resolve().parent
    root = folder.parent if folder.name == "studies" else folder
    try:
        return Study.model_validate({**copy.deepcopy(params), "root": root})
    except ValidationError as exc:
        raise UserError(f"{said or path.name}: {_one_sentence(exc, said)}") from exc


def _find_params() -> Path:
    here = Path.cwd()
    for folder in [here, *here.parents]:
        if (folder / "params.yaml").is_file():
            return folder / "params.yaml"
    raise UserError(
        f"no params.yaml in {here} or above it; start from the repository's folder, or type: make study "
        "STUDY=demo"
    )


def _override(params: dict, complete: dict, dotted: str, value: Any) -> None:
    """Set one key of `params`; `complete` has the keys that the file leaves out, too."""
    if not isinstance(dotted, str):
        raise UserError(
            f"overrides: {dotted!r} is no key; write it as text, such as 'transfer.epochs.frozen'"
        )
    *parents, leaf = dotted.split(".")
    node: Any = params
    known: Any = complete
    for depth, key in enumerate([*parents, leaf]):
        if depth and depth == len(parents) and parents[-1] == "options":
            break  # the reader of the data knows its options
        if not isinstance(known, dict) or key not in known:
            where = ".".join(dotted.split(".")[:depth]) or "the top level"
            allowed = ", ".join(map(str, known)) if isinstance(known, dict) else "none"
            raise UserError(f"overrides: no key '{dotted}'; allowed at {where}: {allowed}")
        if depth < len(parents):
            node, known = node.setdefault(key, {}), known[key]
    node[leaf] = value


def _one_sentence(exc: ValidationError, said: str) -> str:
    # A misspelt key is also a missing one; name what was written, not what was meant.
    error = min(exc.errors(), key=lambda e: e["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in error["loc"])
    more = f" (and {exc.error_count() - 1} more)" if exc.error_count() > 1 else ""
    if error["type"] == "extra_forbidden":
        allowed = ", ".join(_allowed_keys(error["loc"][:-1]))
        return f"unknown key '{key}'; allowed there: {allowed}{more}"
    fault = fault_of(error)
    if error["type"] == "missing" and said:
        fault += "; a section is replaced whole, so write one key for each value: 'transfer.epochs.frozen'"
    return f"'{key}': {fault}{more}" if key else f"{fault}{more}"


def _allowed_keys(loc: tuple) -> list[str]:
    model: Any = Study
    for part in loc:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[part].annotation
        args = [a for a in getattr(model, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = args[-1] if args else model
    fields = getattr(model, "model_fields", {})
    return [name for name in fields if name != "root"]
