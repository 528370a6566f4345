"""Sections that say how networks are trained, and on which machines."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from radlib.study.common import Name, Strict, Train


class Backbone(Strict):
    size: int = Field(ge=32, le=1024, description="input side in transfer, the same for every source, px")


class Pretrain(Strict):
    size: int = Field(ge=32, le=1024, description="input side, px; the Inceptions need at least 75")
    epochs: int = Field(ge=1)
    batch_size: int = Field(64, ge=2)
    lr: float = Field(1e-3, gt=0, description="peak of a one-cycle schedule, AdamW")
    weight_decay: float = Field(0.05, ge=0)


class Setting(Strict):
    train: Train
    lr: float = Field(gt=0)
    backbones: list[str] | None = Field(None, description="None: all backbones of the study")


class Transfer(Strict):
    settings: list[Setting] = Field(min_length=1)
    epochs: dict[Train, int] = Field(description="epochs for each of frozen, top10 and all")
    batch_size: int = Field(32, ge=2)
    dropout: float = Field(0.5, ge=0, lt=1)
    views: int = Field(2, ge=1, description="stored views per image: the image itself and augmented ones")
    standardise: bool = Field(True, description="scale pooled features by the training part's mean and SD")
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1)


class SegmentSetting(Setting):
    train: Literal["frozen", "all"] = Field(description="whether the encoder trains with the decoder")


class Segment(Strict):
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
