"""Sections that say what is trained on: corpora, tasks, checkpoints."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from radlib.study import common
from radlib.study.common import Each, Resize, Strict


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
    near_duplicate_bits: int = Field(
        2, ge=0, le=16, description="perceptual hashes (64 bits) this close: one picture if thumbnails agree"
    )
    patients_certain: bool = Field(
        True,
        description="patient ids are of people, whom no published split may part; false: of documents or "
        "files, which copies join, too, and whose images a split's last part keeps",
    )

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
    groups: dict[str, list[str]] | int | None = Field(
        None, description="new class: published classes, an empty list for all others; or a number: at random"
    )
    backbones: Each[common.BackboneName] | None = Field(None, description="pretrain only these; None: all")
    variant_of: common.CorpusName | None = Field(
        None, description="a corpus with the same images under other labels"
    )


class Task(Dataset):
    """What backbones are transferred to: two classes or more, patients, perhaps lesion masks."""

    negative: str | None = Field(None, description="class counted as 0")
    positive: str | None = Field(None, description="class counted as 1")
    classes: Each[str] | None = Field(
        None,
        description="three or more in place of these two, counted as 0, 1, 2, ...; AUC is macro-averaged",
    )
    near_duplicate_bits: int = Field(
        8, ge=0, le=16, description="looser than in a corpus: a copy in two parts would flatter every source"
    )
    folds: int = Field(5, ge=1, le=20, description="1: one 75/10/15 split; k: each patient tested once")
    score: Literal["image", "patient_mean", "patient_max"] = Field(
        "image",
        description="what is scored: images; or patients, whose exams have one label, by the mean or the "
        "largest score of their images",
    )
    augment: Literal["none", "shifts", "full"] = Field("full", description="full: small sets")
    input: int | None = Field(None, ge=32, le=1024, description="at least this input side, px, for maps")
    train: Each[common.TrainUsed] | None = Field(
        None, description="only these settings of transfer; None: all"
    )
    resize: Resize | None = Field(None, description="None: as data.resize says")
    variant_of: common.ComparedName | None = Field(
        None, description="a task with the same images and patients, with which 06_dice compares this one"
    )
    external: common.TaskName | None = Field(
        None,
        description="a task with the same finding from another hospital: scored by the finished runs of this "
        "one, and neither trained on nor compared itself",
    )
    published_delta: float | None = Field(None, description="published AUC gain over ImageNet")
    same_data_as_published: bool = False

    @model_validator(mode="after")
    def _two_classes(self) -> Task:
        if self.classes is not None:
            if self.negative or self.positive or len(self.classes) < 3:
                raise ValueError("give three classes or more and neither negative nor positive, or these two")
        elif self.negative is None or self.positive is None:
            raise ValueError("name two classes, negative and positive, or three and more as classes")
        elif self.negative == self.positive:
            raise ValueError(f"negative and positive are both '{self.negative}'; name two classes")
        return self

    @property
    def class_names(self) -> list[str]:
        """In the order of their labels, 0, 1, ..."""
        return self.classes or [self.negative, self.positive]


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
    licence: str = ""
    url: str = Field("", description="where the files are published")
    files: dict[common.BackboneName, str] = Field({}, description="backbone: its file in the folder")
    tags: dict[common.BackboneName, str] = Field({}, description="backbone: timm's name for its training")
    mean: common.Means | None = Field(None, description="of pixels in 0 to 1, for each channel")
    std: common.Deviations | None = None
    channels: Literal["RGB", "BGR"] = "RGB"

    @model_validator(mode="after")
    def _one_preprocessing(self) -> Checkpoint:
        if bool(self.files) == bool(self.tags):
            raise ValueError("give either files or tags")
        if "://" in self.path:
            raise ValueError(f"path is a folder of this machine, not {self.path}; fetch the file into one")
        if self.files and (self.mean is None or self.std is None):
            raise ValueError("files need the mean and std they were trained with")
        if self.tags and self.model_fields_set & {"mean", "std", "channels"}:
            raise ValueError("tags bring their own mean, std and channels; leave these out")
        if self.files and max(*self.mean, *self.std) > 1:
            mean, std = ([round(x / 255, 6) for x in values] for values in (self.mean, self.std))
            raise ValueError(
                f"are mean {list(self.mean)} and std {list(self.std)} of pixels in 0 to 255? Here pixels are "
                f"in 0 to 1, so write mean: {mean} and std: {std}; but leave std at 1 if the network was "
                "shown (x - mean) / 255"
            )
        return self

    @property
    def backbones(self) -> list[str]:
        return list(self.files or self.tags)

    def file_of(self, backbone: str) -> str:
        """Name of a backbone's file in the folder."""
        return self.files.get(backbone) or f"{backbone}.{self.tags[backbone]}.safetensors"


class Data(Strict):
    resize: Resize = Field("stretch", description="letterbox: black borders instead of another aspect ratio")
