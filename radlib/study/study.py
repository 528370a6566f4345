"""`params.yaml` as types: what a study is made of, and where its files lie.

Words used everywhere: a *source* is where a backbone's first weights come from (a corpus it is pretrained
on here, a published checkpoint, or random numbers); a *task* is a labelled dataset with patients; a
*setting* is (backbone, which layers train, learning rate or probe); a *run* is (task, source, pretraining
replicate, setting, fold, seed).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationInfo, model_validator

from radlib.errors import UserError
from radlib.study.common import PROBES, RANDOM, Each, NewName, Strict, WeightsName, is_random
from radlib.study.consistency import check_sections
from radlib.study.datasets import Checkpoint, Corpus, Data, Dataset, Task
from radlib.study.questions import (
    Compare,
    Confounds,
    Controls,
    LabelEfficiency,
    MatchedLabels,
    Robustness,
    Similarity,
    Validity,
)
from radlib.study.training import Backbone, Compute, Pretrain, Segment, Transfer


class Study(Strict):
    """A whole study. `root` is the repository's folder; every path below hangs from it."""

    name: NewName
    title: str
    seed: int = Field(ge=0)
    data: Data
    backbones: dict[str, Backbone] = Field(min_length=1)
    sources: Each[WeightsName] = Field(
        min_length=1, description="keys of corpora, checkpoints, or 'random'; figures tell ten apart"
    )
    corpora: dict[NewName, Corpus]
    checkpoints: dict[NewName, Checkpoint]
    tasks: dict[NewName, Task] = Field(min_length=1)
    pretrain: Pretrain
    transfer: Transfer
    segment: Segment = Segment()
    compare: Compare
    validity: Validity
    confounds: Confounds = Confounds()
    label_efficiency: LabelEfficiency = LabelEfficiency()
    matched_labels: MatchedLabels = MatchedLabels()
    controls: Controls = Controls()
    robustness: Robustness = Robustness()
    similarity: Similarity = Similarity()
    compute: Compute = Compute()
    notes: list[str] = Field([], description="sentences the summary prints as they are")
    history: list[str] = Field([], description="earlier results of the study, in sentences, the first first")
    root: Path = Field(Path(), exclude=True)

    @model_validator(mode="after")
    def _sections_agree(self, info: ValidationInfo) -> Study:
        if info.context:
            check_sections(self)
        return self

    def names(self) -> dict[str, list[str]]:
        """What a name in the study may stand for, by its kind (see `radlib.study.common`)."""
        return {
            "backbones": list(self.backbones),
            "sources": self.sources,
            "weights": [*self.corpora, *self.checkpoints, RANDOM],
            "pretrained sources": [source for source in self.sources if not is_random(source)],
            "corpora": list(self.corpora),
            "tasks": list(self.tasks),
            "trained tasks": self.trained_tasks,
            "compared tasks": self.compared_tasks,
            "settings": [setting.train for setting in self.transfer.settings],
        }

    # Where things lie -------------------------------------------------------------------------------
    @property
    def raw(self) -> Path:
        """Where `make study RAW=...` links the folder with the downloads."""
        return self.root / "data" / "raw"

    def raw_path(self, item: Dataset) -> Path:
        return self.root / item.path

    def checkpoint_file(self, name: str, backbone: str) -> Path:
        """Where a file of a checkpoint with a `path` lies."""
        checkpoint = self.checkpoints[name]
        return self.root / checkpoint.path / checkpoint.file_of(backbone)

    def fetched_record(self, checkpoint: str) -> Path:
        """What was fetched from huggingface.co, with digests; goes with the report."""
        return self.report_dir / "weights" / f"{checkpoint}.json"

    # Under the study's name: another study may call another dataset, source or task the same.
    def dataset_dir(self, dataset: str) -> Path:
        kind = "corpora" if dataset in self.corpora else "tasks"  # controls have a corpus for a task
        return self.root / "data" / self.name / kind / dataset

    def model_file(self, source: str, backbone: str, replicate: int = 0) -> Path:
        name = backbone if replicate == 0 else f"{backbone}.{replicate + 1}"
        return self.root / "models" / self.name / source / f"{name}.safetensors"

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
        return datasets[self.pick(name, datasets, "dataset")]

    @property
    def compared_tasks(self) -> list[str]:
        """The tasks that count in the comparison of sources: a variant has the images of another task."""
        return [name for name in self.trained_tasks if self.tasks[name].variant_of is None]

    @property
    def claimed(self) -> str:
        """The estimate that `compare.claim_by` asks for."""
        return self.estimate_of(self.compare.claim_by)

    @property
    def claims_a_probe(self) -> bool:
        """Whether the claim is of a probe, which another training would give again."""
        return self.compare.claim_by in PROBES or self.transfer.averaged[0] in PROBES

    def estimate_of(self, regime: str) -> str:
        """What a regime is called among the estimates; the only averaged one is the mean itself."""
        return "grid_mean" if (regime,) == self.transfer.averaged else regime

    @property
    def trained_tasks(self) -> list[str]:
        """The tasks that networks are transferred to: all but the `external` sets of others."""
        external = {task.external for task in self.tasks.values()}
        return [name for name in self.tasks if name not in external]

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

    def pretrain_of(self, backbone: str) -> Pretrain:
        """How a backbone is pretrained, on whichever corpus: some networks need more epochs than others."""
        own = self.backbones[backbone].epochs or self.pretrain.epochs
        return self.pretrain.model_copy(update={"epochs": own})

    def replicates_of(self, source: str, backbone: str) -> int:
        """How many pretrainings, or draws of random weights, a source has of a backbone; a file is one."""
        if source in self.checkpoints:
            return 1
        own = self.corpora[source].replicates if source in self.corpora else None
        return own or self.backbones[backbone].replicates or self.pretrain.replicates

    def weights_of(self, source: str) -> list[tuple[str, int]]:
        """(backbone, replicate) of all first weights that a source has."""
        return [
            (backbone, replicate)
            for backbone in self.backbones_of(source)
            for replicate in range(self.replicates_of(source, backbone))
        ]

    def runs_of(self, task: str) -> list[Run]:
        """Every run of a task in transfer, in the order in which they are computed: the cheap ones first."""
        only = self.tasks[task].train
        return self._runs(task, [s for s in self.transfer.settings if only is None or s.train in only])

    def whole_runs_of(self, task: str) -> list[Run]:
        """The runs of a task in transfer in which the curves of `label_efficiency` end.

        Of the first pretraining of each source: many draws of patients are enough to compute.
        """
        options = self.label_efficiency
        return [
            run
            for run in self.runs_of(task)
            if run.train == options.train and run.lr in (0, options.lr) and run.seed == self.transfer.seeds[0]
            if run.replicate == 0
            if not options.backbones or run.backbone in options.backbones
        ]

    def segmentation_runs_of(self, task: str) -> list[Run]:
        """Every run of a task in segmentation, likewise."""
        return self._runs(task, self.segment.settings, self.segment.replicates)

    def _runs(self, task: str, settings: list, most: int | None = None) -> list[Run]:
        cost = {"top10": 1, "top": 2, "all": 3}
        return [
            Run(task, source, backbone, setting.train, setting.lr, fold, seed, replicate)
            for setting in sorted(settings, key=lambda s: cost.get(s.train, 0))
            for backbone in (setting.backbones or self.backbones)
            for source in self.sources
            if backbone in self.backbones_of(source)
            for replicate in range(self.replicates_of(source, backbone))[:most]
            for fold in range(self.tasks[task].folds)
            for seed in self.transfer.seeds[: 1 if setting.train in PROBES else None]
        ]


@dataclass(frozen=True)
class Run:
    """One training of one network on one fold of one task, from a source's pretraining number `replicate`."""

    task: str
    source: str
    backbone: str
    train: str
    lr: float  # 0 of a probe
    fold: int
    seed: int
    replicate: int = 0

    @property
    def weights(self) -> tuple[str, str, int]:
        """Which first weights it starts from: source, backbone, replicate."""
        return self.source, self.backbone, self.replicate

    @property
    def name(self) -> str:
        source = self.source if self.replicate == 0 else f"{self.source} ({self.replicate + 1})"
        setting = f"{self.backbone}/{self.train}" + (f"/lr{self.lr:g}" if self.lr else "")
        return f"{self.task}/{source}/{setting}/fold{self.fold}/seed{self.seed}"
