"""Sections that say how networks are trained, and on which machines."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from radlib.study.common import PROBES, BackboneName, Each, Strict, Train, Trained, TrainedName

Strength = Annotated[float, Field(gt=0)]
Neighbours = Annotated[int, Field(ge=1)]
Epochs = Annotated[int, Field(ge=1)]
Patience = Annotated[
    dict[Trained, Epochs],
    Field(description="epochs without a lower validation loss that end a run; `epochs` is then the most"),
]


class Backbone(Strict):
    size: int = Field(ge=32, le=1024, description="input side in transfer, the same for every source, px")
    epochs: int | None = Field(None, ge=1, description="of pretraining; None: pretrain.epochs")
    replicates: int | None = Field(None, ge=1, le=100, description="pretrainings; None: pretrain.replicates")


class Pretrain(Strict):
    size: int = Field(ge=32, le=1024, description="input side, px; the Inceptions need at least 75")
    epochs: int = Field(ge=1, description="of backbones that name none; the same for every source")
    batch_size: int = Field(64, ge=2)
    lr: float = Field(1e-3, gt=0, description="peak of a one-cycle schedule, AdamW")
    weight_decay: float = Field(0.05, ge=0)
    replicates: int = Field(1, ge=1, le=100, description="pretrainings of every backbone on every corpus")


class Setting(Strict):
    train: Train
    lr: float = Field(0.0, ge=0, description="learning rate; a probe has none, which is written as 0")
    backbones: Each[BackboneName] | None = Field(None, description="None: all backbones of the study")

    @model_validator(mode="after")
    def _rate_where_one_is_used(self) -> Self:
        if self.train in PROBES and self.lr:
            raise ValueError(f"'{self.train}' has no learning rate; leave lr out")
        if self.train not in PROBES and not self.lr:
            raise ValueError(f"'{self.train}' needs a learning rate above 0, for example lr: 0.001")
        return self


_CHOSEN = {"logistic": "strengths", "knn": "neighbours"}  # what a probe chooses among
# Which runs there are, not how one is trained; or how, by regime.
_BESIDE = {"settings", "tasks", "seeds", "replicates", "epochs", "patience", *_CHOSEN.values()}


class _Learning(Strict):
    """Sections of settings, with a number of epochs for each kind of training."""

    def deciding(self, train: str) -> dict[str, Any]:
        """What decides how a run of one regime is trained, by key; of a probe, what it chooses among."""
        if train in PROBES:
            return {_CHOSEN[train]: getattr(self, _CHOSEN[train])}
        own = {f"{key}.{train}": getattr(self, key).get(train) for key in ("epochs", "patience")}
        return own | self.model_dump(exclude=_BESIDE)

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        for setting in self.settings:
            if setting.train not in (*PROBES, *self.epochs):
                raise ValueError(f"epochs has no entry for '{setting.train}'")
        for regime in self.patience:
            if regime not in self.epochs:
                raise ValueError(f"patience names '{regime}', of which epochs has no entry")
        for a, b in combinations(self.settings, 2):
            disjoint = a.backbones and b.backbones and not set(a.backbones) & set(b.backbones)
            if (a.train, a.lr) == (b.train, b.lr) and not disjoint:
                rate = f", lr {a.lr:g}" if a.lr else ""
                raise ValueError(f"settings hold '{a.train}{rate}' twice; once is enough")
        return self


class Transfer(_Learning):
    settings: list[Setting] = Field(min_length=1)
    epochs: dict[Trained, Epochs] = Field({}, description="of each regime that trains by gradient")
    patience: Patience = {}
    batch_size: int = Field(32, ge=2)
    dropout: float = Field(0.5, ge=0, lt=1)
    views: int = Field(2, ge=1, description="stored views per image: the image itself and augmented ones")
    standardise: bool = Field(True, description="scale pooled features by the training part's mean and SD")
    seeds: Each[int] = Field([0], min_length=1)
    strengths: Each[Strength] = Field(
        [1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0],
        min_length=1,
        description="logistic: C of scikit-learn, of which validation chooses",
    )
    neighbours: Each[Neighbours] = Field(
        [1, 3, 5, 10, 20, 50], min_length=1, description="knn: numbers of neighbours, likewise"
    )

    @property
    def averaged(self) -> tuple[str, ...]:
        """The regimes that means over settings take: those that train by gradient; without any, one probe."""
        regimes = dict.fromkeys(setting.train for setting in self.settings)
        trained = tuple(train for train in regimes if train not in PROBES)
        return trained or tuple(probe for probe in PROBES if probe in regimes)[:1]


class SegmentSetting(Setting):
    train: Literal["frozen", "all"] = Field(description="whether the encoder trains with the decoder")


class Segment(_Learning):
    """U-Nets with the backbones as encoders; folds and seeds are those of transfer."""

    tasks: Each[TrainedName] = Field([], description="tasks with lesion masks")
    size: int = Field(96, ge=32, le=1024, description="input side, px; the Inceptions need at least 75")
    settings: list[SegmentSetting] = []
    epochs: dict[Literal["frozen", "all"], Epochs] = {}
    patience: Patience = {}
    batch_size: int = Field(16, ge=2)
    replicates: int | None = Field(
        None, ge=1, le=100, description="most pretrainings of each network that draw, the first; None: all"
    )
    decoder: list[int] = Field(
        [256, 128, 64, 32, 16],
        min_length=5,
        max_length=5,
        description="channels of the decoder's five blocks, from the coarsest map to the input's size",
    )
    views: int = Field(2, ge=1, description="stored views per image for a frozen encoder")

    @model_validator(mode="after")
    def _settings_for_tasks(self) -> Segment:
        if self.tasks and not self.settings:
            raise ValueError("tasks names tasks, but settings names no setting")
        return self


class Compute(Strict):
    """How to compute, which no result depends on (but for rounding, where processes train one network)."""

    backend: Literal["local", "ray"] = Field("local", description="processes of this machine, or of Ray")
    workers: int | None = Field(None, ge=1, description="processes; none given: one per core, one on CUDA")
    address: str | None = Field(
        None, description="host:port of the Ray cluster; none given: one that runs here, else this machine"
    )
    gpus: float | None = Field(
        None, gt=0, description="Ray: of a GPU for one piece of work; none given: one, where there are any"
    )
    together: int = Field(1, ge=1, description="Ray: processes that pretrain one backbone together")
    retries: int = Field(3, ge=0, description="Ray: times in a row that a piece of work may lose its machine")

    @field_validator("address")
    @classmethod
    def _not_from_outside(cls, address: str | None) -> str | None:
        if address and not re.fullmatch(r"auto|[^/:]+:\d+", address):
            raise ValueError("give host:port or auto, and start the study on a machine of the cluster")
        return address
