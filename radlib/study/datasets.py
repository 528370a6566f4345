"""Sections that say what is trained on: corpora, tasks, checkpoints."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

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
    about: str = Field("", description="what a reader must know of its images and labels; on its data card")
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
    replicates: int | None = Field(
        None, ge=1, le=100, description="pretrainings of each backbone on it; None: as the backbone says"
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
        None, description="a task with the same images and patients, with which 07_dice compares this one"
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


def _chain(licence: object) -> object:
    """`{code: MIT, weights: ..., data: ...}` as one text, a link of the chain after the other."""
    if not isinstance(licence, dict):
        return licence
    unknown = [key for key in licence if key not in ("code", "weights", "data")]
    if unknown:
        raise ValueError(f"'{unknown[0]}' is no link of a licence; allowed: code, weights, data")
    return "; ".join(f"{key}: {text}" for key, text in licence.items())


class Checkpoint(Strict):
    """Published weights of one or several backbones, with the preprocessing they were trained with.

    Either `files` with mean, std and channels, in the folder `path` or in the repository `hub` of
    huggingface.co; or `tags`, whose preprocessing and repository timm knows. A network is shown
    (x / 255 - mean) / std, x in 0..255, the channels in the given order. So RadImageNet's
    (x - 127.5) * 2 / 255 of blue first is channels BGR, mean 0.5 and std 0.5 throughout: -1 to +1. And its
    Keras files' x - (103.939, 116.779, 123.68), blue first, then / 255, is channels BGR,
    mean [0.407604, 0.457957, 0.485020], std 1: -0.49 to +0.59.
    """

    path: str = Field("", description="the folder that holds the files")
    hub: str = Field("", description="owner/name of the repository that holds them")
    revision: str = Field("main", min_length=1, description="of hub: a branch, a tag or a commit")
    title: str = ""
    licence: Annotated[str, BeforeValidator(_chain)] = Field(
        "", description="or a chain: {code: ..., weights: ..., data: of the images they were trained on}"
    )
    url: str = Field("", description="where the files are published")
    files: dict[common.BackboneName, str] = Field({}, description="backbone: its file")
    tags: dict[common.BackboneName, str] = Field({}, description="backbone: timm's name for its training")
    sha256: dict[str, str] = Field({}, description="backbone: the digest that its file must have")
    mean: common.Means | None = Field(None, description="of pixels in 0 to 1, for each channel")
    std: common.Deviations | None = None
    channels: Literal["RGB", "BGR"] = "RGB"
    may_have_seen: Each[common.TaskName] = Field(
        [], description="tasks on whose images they may have been trained, or by which they were chosen"
    )

    @model_validator(mode="after")
    def _one_address(self) -> Checkpoint:
        if bool(self.files) == bool(self.tags):
            raise ValueError("give either files or tags")
        if "://" in self.path:
            raise ValueError(f"path is a folder of this machine, not {self.path}; name a repository by hub")
        if self.files and bool(self.path) == bool(self.hub):
            raise ValueError("files lie in a folder or in a repository; give either path or hub")
        if self.tags and self.hub:
            raise ValueError("timm knows the repository of a tag; leave hub out")
        if "revision" in self.model_fields_set and not self.hub:
            raise ValueError("a revision is one of hub; give hub, or leave revision out")
        if self.hub and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.hub):
            raise ValueError(f"hub is {self.hub}; write it as owner/name, such as microsoft/rad-dino")
        outside = [name for name in self.files.values() if name.startswith("/") or ".." in name.split("/")]
        if self.hub and outside:
            raise ValueError(f"files names {outside[0]}, which is no file within a repository")
        return self

    @model_validator(mode="after")
    def _known_digests(self) -> Checkpoint:
        for backbone, digest in self.sha256.items():
            if backbone not in self.backbones:
                raise ValueError(f"sha256 names '{backbone}'; allowed: {', '.join(self.backbones)}")
            if not re.fullmatch("[0-9a-f]{64}", digest):
                raise ValueError(f"sha256 of {backbone} must be 64 digits of 0-9 and a-f, got '{digest}'")
        return self

    @model_validator(mode="after")
    def _one_preprocessing(self) -> Checkpoint:
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

    @property
    def fetched(self) -> bool:
        """Whether its files come from huggingface.co (those of a tag, unless the folder holds them)."""
        return bool(self.hub or self.tags)

    def file_of(self, backbone: str) -> str:
        """Name of a backbone's file in the folder or repository."""
        return self.files.get(backbone) or f"{backbone}.{self.tags[backbone]}.safetensors"


class Data(Strict):
    resize: Resize = Field("stretch", description="letterbox: black borders instead of another aspect ratio")
