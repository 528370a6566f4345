"""`params.yaml` as types: what a study is made of, and where its files lie.

Words used everywhere: a *source* is where a backbone's first weights come from (a corpus it is pretrained
on here, a published checkpoint, or random numbers); a *task* is a labelled dataset with patients; a
*setting* is (backbone, which layers train, learning rate); a *run* is (task, source, setting, fold, seed).
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from radlib.errors import UserError

RANDOM = "random"
Name = str
Train = Literal["frozen", "top10", "all"]
Resize = Literal["stretch", "letterbox"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expected(_Strict):
    """What the publisher counts, before the study leaves anything out."""

    images: int | None = Field(None, ge=1)
    patients: int | None = Field(None, ge=1)
    positive: int | None = Field(None, ge=0, description="images of the positive class")


class Dataset(_Strict):
    """One dataset in its published layout; `layout` names a reader of `radlib.datasets`."""

    layout: str = Field(description="folders, table, busi, ddti, simulated_radiology, ...")
    path: str = Field(description="from the repository's folder: data/raw/..., or a generator")
    title: str = Field(description="as the figures print it")
    publisher: str = ""
    licence: str = ""
    url: str = ""
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the reader")
    expected: Expected | None = Field(None, description="the publisher's own counts, for make check-data")
    size: int = Field(64, ge=8, le=2048, description="side of the packed square images, px")
    colour: bool = Field(False, description="keep three channels (photographs)")

    @property
    def simulated(self) -> bool:
        return self.layout.startswith("simulated")


class Corpus(Dataset):
    """What backbones are pretrained on; several classes, patients optional."""

    max_images: int | None = Field(None, ge=1, description="a seeded, class-balanced subset of this size")


class Task(Dataset):
    """What backbones are transferred to: two classes, patients, perhaps lesion masks."""

    negative: str = Field(description="class counted as 0")
    positive: str = Field(description="class counted as 1")
    folds: int = Field(5, ge=1, le=20, description="1: one 75/10/15 split; k: each patient tested once")
    augment: Literal["none", "shifts", "full"] = Field("full", description="full: small sets")
    input: int | None = Field(None, ge=32, le=1024, description="at least this input side, px, for maps")
    train: list[Train] | None = Field(None, description="only these settings of transfer; None: all")
    resize: Resize | None = Field(None, description="None: as data.resize says")
    variant_of: Name | None = Field(
        None, description="a task with the same images and patients, with which 06_dice compares this one"
    )
    published_delta: float | None = Field(None, description="published AUC gain over ImageNet")
    same_data_as_published: bool = False


class Checkpoint(_Strict):
    """Published weights of one or several backbones, with the preprocessing they were trained with.

    Either `files` with mean, std and channels, or `tags`, whose preprocessing timm knows. A network is shown
    (x / 255 - mean) / std, x in 0..255, the channels in the given order. So RadImageNet's
    (x - 127.5) * 2 / 255 of blue first is channels BGR, mean 0.5 and std 0.5 throughout: -1 to +1. And its
    Keras files' x - (103.939, 116.779, 123.68), blue first, then / 255, is channels BGR,
    mean [0.407604, 0.457957, 0.485020], std 1: -0.49 to +0.59.
    """

    path: str = Field(description="the folder that holds the files")
    title: str = ""
    files: dict[Name, str] = Field(default_factory=dict, description="backbone: its file in the folder")
    tags: dict[Name, str] = Field(default_factory=dict, description="backbone: timm's name for its training")
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    channels: Literal["RGB", "BGR"] = "RGB"

    @model_validator(mode="after")
    def _one_preprocessing(self) -> Checkpoint:
        if bool(self.files) == bool(self.tags):
            raise ValueError("give either files or tags")
        if self.files and (self.mean is None or self.std is None):
            raise ValueError("files need the mean and std they were trained with")
        if self.tags and self.model_fields_set & {"mean", "std", "channels"}:
            raise ValueError("tags bring their own mean, std and channels; leave these out")
        return self

    @property
    def backbones(self) -> list[str]:
        return list(self.files or self.tags)

    def file_of(self, backbone: str) -> str:
        """Name of a backbone's file in the folder."""
        return self.files.get(backbone) or f"{backbone}.{self.tags[backbone]}.safetensors"


class Data(_Strict):
    near_duplicate_bits: int = Field(2, ge=0, le=16, description="hashes this close: one picture")
    resize: Resize = Field("stretch", description="letterbox: black borders instead of another aspect ratio")


class Backbone(_Strict):
    size: int = Field(ge=32, le=1024, description="input side in transfer, the same for every source, px")


class Pretrain(_Strict):
    size: int = Field(ge=32, le=1024, description="input side, px; the Inceptions need at least 75")
    epochs: int = Field(ge=1)
    batch_size: int = Field(64, ge=2)
    lr: float = Field(1e-3, gt=0, description="peak of a one-cycle schedule, AdamW")
    weight_decay: float = Field(0.05, ge=0)


class Setting(_Strict):
    train: Train
    lr: float = Field(gt=0)
    backbones: list[str] | None = Field(None, description="None: all backbones of the study")


class Transfer(_Strict):
    settings: list[Setting] = Field(min_length=1)
    epochs: dict[Train, int] = Field(description="epochs for each of frozen, top10 and all")
    batch_size: int = Field(32, ge=2)
    dropout: float = Field(0.5, ge=0, lt=1)
    views: int = Field(2, ge=1, description="stored views per image: the image itself and augmented ones")
    standardise: bool = Field(True, description="scale pooled features by the training part's mean and SD")
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1)


class SegmentSetting(Setting):
    train: Literal["frozen", "all"] = Field(description="whether the encoder trains with the decoder")


class Segment(_Strict):
    """U-Nets with the backbones as encoders; folds and seeds are those of transfer."""

    tasks: list[Name] = Field(default_factory=list, description="tasks with lesion masks")
    size: int = Field(96, ge=32, le=1024, description="input side, px; the Inceptions need at least 75")
    settings: list[SegmentSetting] = Field(default_factory=list)
    epochs: dict[Literal["frozen", "all"], int] = Field(default_factory=dict)
    batch_size: int = Field(16, ge=2)
    decoder: list[int] = Field(
        default_factory=lambda: [256, 128, 64, 32, 16], min_length=5, max_length=5,
        description="channels of the decoder's five blocks, from the coarsest map to the input's size",
    )  # fmt: skip
    views: int = Field(2, ge=1, description="stored views per image for a frozen encoder")


class Compare(_Strict):
    pairs: list[tuple[str, str]] = Field(description="(source_a, source_b): differences are a minus b")
    headline: tuple[str, str] = Field(description="the pair that the summary leads with")
    resamples: int = Field(2000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)


class Cell(_Strict):
    """One kind of simulated study; it is drawn with a true difference of `delta`, and of 0."""

    measure: Literal["auc", "dice"]
    patients: list[int] = Field(min_length=1, max_length=2, description="[positive, negative]; Dice: [all]")
    level: float = Field(gt=0, lt=1, description="true value of side b")
    delta: float = Field(gt=0, lt=1, description="true difference, a minus b")
    folds: int = Field(1, ge=1, le=20)
    settings: int = Field(4, ge=1)
    seeds: int = Field(1, ge=1, description="trainings of each setting on each fold")
    luck: float = Field(0.0, ge=0, description="SD of a training's luck, in SD of a score")

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Cell:
        if len(self.patients) != {"auc": 2, "dice": 1}[self.measure]:
            raise ValueError("patients: [positive, negative] for auc, [all] for dice")
        if min(self.patients) < 2 * self.folds:
            raise ValueError(f"{min(self.patients)} patients over {self.folds} folds; each needs two")
        if self.level + self.delta >= 1:
            raise ValueError("level + delta must lie below 1")
        return self


class Validity(_Strict):
    """Simulated studies with a known truth, which the intervals should hold."""

    studies: int = Field(ge=2, description="in each cell, with and without a difference")
    resamples: int = Field(1000, ge=100)
    cells: list[Cell] = Field(min_length=1)


class Compute(_Strict):
    """How to compute, which no result depends on."""

    workers: int | None = Field(None, ge=1, description="processes; none given: one per core, one on CUDA")


class Study(_Strict):
    """A whole study. `root` is the repository's folder; every path below hangs from it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
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
    compute: Compute = Field(default_factory=Compute)
    notes: list[str] = Field(default_factory=list, description="sentences the summary prints as they are")
    root: Path = Field(Path(), exclude=True)

    @model_validator(mode="after")
    def _names_agree(self) -> Study:
        known = [*self.corpora, *self.checkpoints, RANDOM]
        _only("sources", self.sources, known)
        self._settings_agree("transfer", self.transfer)
        self._settings_agree("segment", self.segment)
        _only("segment.tasks", self.segment.tasks, list(self.tasks))
        if self.segment.tasks and not self.segment.settings:
            raise ValueError("segment.tasks names tasks, but segment.settings names no setting")
        self._variants_agree()
        for name, checkpoint in self.checkpoints.items():
            _only(f"checkpoints.{name}", checkpoint.backbones, list(self.backbones))
        for pair in [*self.compare.pairs, self.compare.headline]:
            _only("compare", list(pair), self.sources)
        both = set(self.corpora) & set(self.tasks)
        if both:
            raise ValueError(f"{sorted(both)} name both a corpus and a task; names must differ")
        for name in [*self.corpora, *self.tasks, *self.checkpoints]:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"'{name}' is no usable name: lower case letters, digits and _ only")
        return self

    def _settings_agree(self, where: str, options: Transfer | Segment) -> None:
        for i, setting in enumerate(options.settings):
            _only(f"{where}.settings.{i}.backbones", setting.backbones or [], list(self.backbones))
            if setting.train not in options.epochs:
                raise ValueError(f"{where}.epochs has no entry for '{setting.train}'")

    def _variants_agree(self) -> None:
        for name, task in self.tasks.items():
            if task.train is not None:
                _only(f"tasks.{name}.train", task.train, [s.train for s in self.transfer.settings])
            if task.variant_of is None:
                continue
            _only(f"tasks.{name}.variant_of", [task.variant_of], self.compared_tasks)
            if self.resize_of(name) == self.resize_of(task.variant_of):
                raise ValueError(f"tasks.{name} is a variant of {task.variant_of}, so 'resize' must differ")
            same = ["layout", "path", "options", "negative", "positive", "folds"]
            for key in same:
                if getattr(task, key) != getattr(self.tasks[task.variant_of], key):
                    raise ValueError(
                        f"tasks.{name} is a variant of {task.variant_of}, so its '{key}' must be the same"
                    )

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

    def dataset_dir(self, dataset: str) -> Path:
        return self.root / "data" / dataset

    def model_file(self, source: str, backbone: str) -> Path:
        return self.root / "models" / source / f"{backbone}.safetensors"

    def result_dir(self, task: str) -> Path:
        return self.root / "results" / task

    @property
    def report_dir(self) -> Path:
        return self.root / "reports" / self.name

    @property
    def store_dir(self) -> Path:
        return self.root / "store"

    # What it holds ----------------------------------------------------------------------------------
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
        """Backbones that a source has weights for: a checkpoint only its own, the others all."""
        if source in self.checkpoints:
            return self.checkpoints[source].backbones
        return list(self.backbones)

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
        overrides: for example `{"transfer.epochs.all": 5}`; only keys that exist are accepted.
        path: another study file; its folder (or the one above `studies/`) becomes the root.
    Raises:
        UserError: file missing, not YAML, unknown key, or impossible value; the key is named.
    """
    path = Path(path) if path else _find_params()
    if not path.is_file():
        raise UserError(f"no study file {path}; choose one of studies/*.yaml")
    try:
        params = yaml.safe_load(path.read_text())
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        reason = getattr(exc, "problem", None) or str(exc).splitlines()[0]
        raise UserError(f"{path} is not valid YAML{line} ({reason}); mend it there") from exc
    if not isinstance(params, dict):
        raise UserError(f"{path} holds no study: expected keys such as name, tasks and transfer")
    params = copy.deepcopy(params)
    for key, value in (overrides or {}).items():
        _override(params, key, value)
    folder = path.resolve().parent
    params["root"] = folder.parent if folder.name == "studies" else folder
    try:
        return Study.model_validate(params)
    except ValidationError as exc:
        raise UserError(_one_sentence(exc, path)) from exc


def _find_params() -> Path:
    here = Path.cwd()
    for folder in [here, *here.parents]:
        if (folder / "params.yaml").is_file():
            return folder / "params.yaml"
    raise UserError(f"no params.yaml in {here} or above it; start from the repository's folder")


def _override(params: dict, dotted: str, value: Any) -> None:
    *parents, leaf = dotted.split(".")
    node: Any = params
    for depth, key in enumerate([*parents, leaf]):
        if not isinstance(node, dict) or key not in node:
            where = ".".join(dotted.split(".")[:depth]) or "the top level"
            allowed = ", ".join(map(str, node)) if isinstance(node, dict) else "none"
            raise UserError(f"overrides: no key '{dotted}'; allowed at {where}: {allowed}")
        if depth < len(parents):
            node = node[key]
    node[leaf] = value


def _one_sentence(exc: ValidationError, path: Path) -> str:
    # A misspelt key is also a missing one; name what was written, not what was meant.
    error = min(exc.errors(), key=lambda e: e["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in error["loc"])
    more = f" (and {exc.error_count() - 1} more)" if exc.error_count() > 1 else ""
    if error["type"] == "extra_forbidden":
        allowed = ", ".join(_allowed_keys(error["loc"][:-1]))
        return f"{path.name}: unknown key '{key}'; allowed there: {allowed}{more}"
    where = f"'{key}': " if key else ""
    given = f", got {error['input']!r}" if not isinstance(error.get("input"), dict) else ""
    return f"{path.name}: {where}{error['msg'].removeprefix('Value error, ')}{given}{more}"


def _allowed_keys(loc: tuple) -> list[str]:
    model: Any = Study
    for part in loc:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[part].annotation
        args = [a for a in getattr(model, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = args[-1] if args else model
    fields = getattr(model, "model_fields", {})
    return [name for name in fields if name != "root"]


def _only(where: str, names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{where} names '{name}'; allowed: {', '.join(known)}")
