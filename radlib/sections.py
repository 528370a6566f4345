"""The sections of `params.yaml` as types; `radlib.study` puts them together."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, field_validator, model_validator

Name = str
Train = Literal["frozen", "top10", "all"]
Resize = Literal["stretch", "letterbox"]
RANDOM = "random"


def is_random(source: str) -> bool:
    """`random`, or another draw of random weights: `random_2`, `random_3`, ..."""
    return re.fullmatch(rf"{RANDOM}(_\d+)?", source) is not None


class Strict(BaseModel):
    """No unknown keys, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Expected(Strict):
    """What the publisher counts, before the study leaves anything out."""

    images: int | None = Field(None, ge=1)
    patients: int | None = Field(None, ge=1)
    positive: int | None = Field(None, ge=0, description="images of the positive class")


class Dataset(Strict):
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
    """What backbones are pretrained on; several classes, patients optional.

    With `groups` its classes are merged after images are drawn, audited and split by the published ones. So a
    variant holds the very images of its original in the same parts, under coarser labels.
    """

    max_images: int | None = Field(
        None, ge=1, description="a seeded, class-balanced subset, of each published part alike"
    )
    groups: dict[Name, list[str]] | int | None = Field(
        None, description="new class: published classes, an empty list for all others; or a number: at random"
    )
    backbones: list[str] | None = Field(None, description="pretrain only these; None: all of the study")
    variant_of: Name | None = Field(None, description="a corpus with the same images under other labels")


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


class Checkpoint(Strict):
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


class Data(Strict):
    near_duplicate_bits: int = Field(2, ge=0, le=16, description="hashes this close: one picture")
    resize: Resize = Field("stretch", description="letterbox: black borders instead of another aspect ratio")


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


class Compare(Strict):
    pairs: list[tuple[str, str]] = Field(description="(source_a, source_b): differences are a minus b")
    headline: tuple[str, str] = Field(description="the pair that the summary leads with")
    resamples: int = Field(2000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    equivalence: float = Field(0.01, gt=0, lt=1, description="differences in AUC below it do not matter")


class Cell(Strict):
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


class Validity(Strict):
    """Simulated studies with a known truth, which the intervals should hold."""

    studies: int = Field(ge=2, description="in each cell, with and without a difference")
    resamples: int = Field(1000, ge=100)
    cells: list[Cell] = Field(min_length=1)


class SharedPreprocessing(Strict):
    """One preprocessing for all weights, (x / 255 - mean) / std in the order of `channels`.

    By default that of the published scripts: blue first, minus (103.939, 116.779, 123.68), then / 255.
    """

    mean: tuple[float, float, float] = (0.407604, 0.457957, 0.485020)
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (1.0, 1.0, 1.0)
    channels: Literal["RGB", "BGR"] = "BGR"


class FrozenSetting(Setting):
    train: Literal["frozen"] = "frozen"


class Confounds(Strict):
    """What preprocessing and metric alone do to the differences between sources, in frozen runs."""

    tasks: list[Name] = Field(default_factory=list, description="none named: the question is not asked")
    settings: list[FrozenSetting] | None = Field(None, description="of transfer; None: all frozen ones")
    pairs: list[tuple[Name, Name]] | None = Field(
        None, description="None: the headline, and the pairs of compare that name a checkpoint"
    )
    shared: SharedPreprocessing = Field(default_factory=SharedPreprocessing)


class LabelEfficiency(Strict):
    """Frozen runs on parts of the training patients: from which size on does the source no longer matter?"""

    tasks: list[Name] = Field(default_factory=list)
    backbones: list[Name] = Field(default_factory=list, description="none named: all of the study")
    lr: float = Field(0.01, gt=0, description="that of one of transfer's frozen settings")
    fractions: list[float] = Field(
        default_factory=lambda: [0.05, 0.1, 0.25, 0.5, 1.0], min_length=1,
        description="parts of the training patients, ascending; 1 is the run of 03_transfer itself",
    )  # fmt: skip
    repeats: int = Field(5, ge=3, description="random orders of patients, for each fold and backbone")

    @model_validator(mode="after")
    def _ascending(self) -> LabelEfficiency:
        if sorted(set(self.fractions)) != self.fractions or self.fractions[0] <= 0 or self.fractions[-1] > 1:
            raise ValueError("fractions must ascend, above 0 and up to 1, as [0.05, 0.1, 0.25, 0.5, 1]")
        return self


class MatchedLabels(Strict):
    """Sources set against each other beside the grid, to tell what images show from how they are labelled.

    The first of `pairs` is the difference to be explained. Pairs with the same second source show what is
    left of it when labels are matched, pairs with the same first source what its finer labels add.
    """

    sources: list[Name] = Field(default_factory=list, description="they need not be among the study's")
    backbones: list[Name] = Field(default_factory=list)
    tasks: list[Name] = Field(default_factory=list)
    train: list[Train] = Field(default_factory=lambda: ["frozen", "top10"], description="transfer's settings")
    pairs: list[tuple[Name, Name]] = Field(default_factory=list, description="as in compare")

    @model_validator(mode="after")
    def _whole_or_empty(self) -> MatchedLabels:
        given = [bool(part) for part in (self.sources, self.backbones, self.tasks, self.pairs)]
        if any(given) and not (all(given) and self.train):
            raise ValueError("give all of sources, backbones, tasks, train and pairs, or none")
        for source in {name for pair in self.pairs for name in pair} - set(self.sources):
            raise ValueError(f"pairs name '{source}', which is not among its sources")
        return self


class Controls(Strict):
    """Comparisons whose outcome is known beforehand; without `task` and `positive` there are none."""

    task: Name | None = Field(None, description="of the negative controls")
    positive: dict[Name, Name] = Field(
        default_factory=dict, description="source: the corpus whose classes it has learnt to tell apart"
    )
    backbones: list[Name] | None = Field(None, description="None: all backbones of the study")
    lr: float = Field(0.003, gt=0, description="all backbones are frozen")
    epochs: int = Field(10, ge=1)
    seeds: list[int] = Field(default_factory=lambda: [0, 1, 2, 3, 4], min_length=2)
    pairs: int = Field(3, ge=2, description="pairs of random weights of each backbone")
    train_patients: int = Field(15, ge=2, description="positive: in each group of classes; as many validate")
    max_images: int = Field(300, ge=20, description="positive: most images of a corpus")


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
