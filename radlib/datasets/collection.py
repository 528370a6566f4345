"""Several published sets as one corpus, each class named modality/region/label, as RadImageNet's are."""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from radlib.datasets.record import Record
from radlib.errors import UserError, about


def _three(name: str) -> str:
    if len(name.split("/")) != 3 or not all(name.split("/")):
        raise ValueError(f"'{name}' is no modality/region/label, such as CT/head/stroke")
    return name


class PublishedSet(BaseModel):
    """One set of a collection; `path` is below the collection's own, which it is where none is given."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    layout: str
    path: str = ""
    options: dict[str, Any] = {}
    classes: dict[str, Annotated[str, AfterValidator(_three)]] = Field(
        description="published class: modality/region/label; the other classes are left out"
    )
    most: int | None = Field(None, ge=1, description="images of each class; None: all")


def read(
    path: Path, *, sets: dict[str, PublishedSet], read_layout: Callable[..., list[Record]], salt: str
) -> list[Record]:
    """The records of all sets; images and patients are named `<set>/...`, so that no two sets share one.

    A published split is of its set alone, so the collection is split anew.

    Args:
        sets: by name, what is taken of each published set.
        read_layout: `radlib.datasets.read`.
        salt: of the draw where a class has more images than `most`.
    Raises:
        UserError: what a set's own reader finds wrong, or a class that the set does not have.
    """
    records = []
    for name, asked in sets.items():
        if PurePosixPath(asked.path).is_absolute() or ".." in PurePosixPath(asked.path).parts:
            raise UserError(f"set '{name}': path '{asked.path}' leaves {path}; name a folder or zip below it")
        with about(f"set '{name}'"):
            found = read_layout(asked.layout, path / asked.path, asked.options)
        records += _taken(name, asked, found, salt)
    return records


def _taken(name: str, asked: PublishedSet, found: list[Record], salt: str) -> list[Record]:
    images = defaultdict(list)
    for record in found:
        if not record.drop:
            images[record.class_name].append(record.image_id)
    missing = sorted(asked.classes.keys() - images.keys())
    if missing:
        raise UserError(f"set '{name}' has no class '{missing[0]}'; it has: {', '.join(sorted(images))}")
    kept = {one for published in asked.classes for one in _drawn(images[published], asked.most, salt)}
    return [_renamed(name, record, asked.classes, kept) for record in found]


def _drawn(image_ids: list[str], most: int | None, salt: str) -> list[str]:
    """`most` of the images; which depends on their names and the salt alone, not on their order."""
    return sorted(image_ids, key=lambda one: hashlib.sha256(f"{salt} {one}".encode()).digest())[:most]


def _renamed(name: str, record: Record, classes: dict[str, str], kept: set[str]) -> Record:
    patient = None if record.patient_id is None else f"{name}/{record.patient_id}"
    key = None if record.patient_key is None else f"{name}/{record.patient_key}"
    drop = record.drop
    if not drop and record.class_name not in classes:
        drop = f"class '{record.class_name}' of '{name}' is not taken"
    elif not drop and record.image_id not in kept:
        drop = f"beyond the most images of a class of '{name}'"
    return replace(
        record,
        image_id=f"{name}/{record.image_id}",
        patient_id=patient,
        patient_key=key,
        class_name=classes.get(record.class_name, record.class_name),
        parts=None,
        drop=drop,
    )
