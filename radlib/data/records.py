"""Which images a study takes from a dataset, before any is decoded, and how each is loaded."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from radlib import datasets
from radlib.data.files import SMALLEST_SIDE, UnreadKind
from radlib.data.images import as_picture, decode_image
from radlib.data.masks import decode_masks, draw_outlines
from radlib.data.splits import choose_subset
from radlib.datasets import FileRef, Outline, Record, check_options, patients
from radlib.datasets.files import left_out
from radlib.errors import UserError, about, listed
from radlib.progress import progress
from radlib.seeds import seed_of
from radlib.simulate import GENERATORS
from radlib.study import Study
from radlib.study.datasets import Corpus, Task
from radlib.study.places import absent, holds_something


@dataclass(frozen=True)
class Decoded:
    """One image before packing.

    pixels: uint8 (H, W) or (H, W, 3); mask: uint8 0/1 (H, W) or None; inputs: SHA-256 of the image's file (or
    array) and of its masks' files; rule: how DICOM values became grey (see `radlib.datasets.grey`), else "".
    drop: why the picture is not read ("" if it is); its pixels are black then.
    """

    pixels: np.ndarray
    mask: np.ndarray | None
    inputs: tuple[str, ...]
    rule: str = ""
    drop: str = ""


@dataclass(frozen=True)
class Chosen:
    """The records, sorted by image_id; image_id -> reason of the others; how many max_images left out."""

    records: list[Record]
    dropped: dict[str, str]
    not_drawn: int


def choose_records(study: Study, dataset: str, progress: Callable = progress) -> Chosen:
    """List the dataset's images, and take those that the study compares; errors as of the two functions."""
    return choose_from(study, dataset, list_records(study, dataset, progress))


def list_records(study: Study, dataset: str, progress: Callable = progress) -> list[Record]:
    """All images of a dataset, those to be dropped too: as its files list them, or drawn.

    Raises:
        UserError: raw files missing, unknown layout or option, or what the reader finds wrong.
    """
    config = study.dataset(dataset)
    options = dict(config.options)
    options.pop(patients.OPTION, None)
    if not isinstance(options.pop("ignore", []), list):
        raise UserError(f"dataset '{dataset}': option 'ignore' is a list of classes, for example [normal]")
    if config.simulated:
        return _draw(study, dataset, options, progress)
    path = study.raw_path(config)
    if not holds_something(path):
        raise UserError(absent(study, dataset))
    bar = partial(progress, description=f"reading {dataset}")
    with about(f"dataset '{dataset}'"):
        return datasets.read(config.layout, path, options, str(study.seed), bar)


def _draw(study: Study, dataset: str, options: dict[str, Any], progress: Callable) -> list[Record]:
    config = study.dataset(dataset)
    if config.layout not in GENERATORS:
        raise UserError(
            f"no layout '{config.layout}'; allowed: {', '.join([*GENERATORS, *datasets.READERS])}"
        )
    draw = GENERATORS[config.layout]
    options = check_options(draw, config.layout, options, given=("size", "seed"))
    seed = seed_of(study.seed, "images", study.origin(dataset))
    total = options["images"] if "images" in options else options["patients"] * options["slices"]
    drawn = draw(**options, size=config.size, seed=seed)
    return [
        Record(one.name, one.patient_id, one.class_name, one, () if one.mask is None else (one.mask,))
        for one in progress(drawn, total=total, description=f"drawing {dataset}")
    ]


def choose_from(study: Study, dataset: str, records: list[Record]) -> Chosen:
    """Those of the listed images that the study takes.

    Raises:
        UserError: an image listed twice, a label that is neither class, an empty class, patient ids that may
            be two spellings of one person, or one id for all images.
    """
    with about(f"dataset '{dataset}'"):
        usable, dropped = _usable(study.dataset(dataset), records)
    chosen = _subset(study, dataset, usable)
    return Chosen(chosen, dropped, len(usable) - len(chosen))


def loader(colour: bool) -> Callable[[Record], Decoded]:
    """How to read and decode a record's image and masks."""

    def load(record: Record) -> Decoded:
        image, data = record.image, b""
        if isinstance(image, FileRef):
            data, rule = image.read_bytes(), ""
            digest = _sha256(data)
            try:
                pixels = decode_image(data, image.name, colour)
            except UnreadKind as exc:
                black = np.zeros((SMALLEST_SIDE, SMALLEST_SIDE, 3)[: 3 if colour else 2], dtype=np.uint8)
                return Decoded(black, None, (digest,), drop=exc.reason)
        else:
            values, digest, rule = image.read_pixels()
            pixels = as_picture(values, image.name, colour)
        shape, digests = pixels.shape[:2], [digest]
        union = np.zeros(shape, dtype=np.uint8) if record.masks else None
        for mask in record.masks:
            if isinstance(mask, FileRef):
                content = mask.read_bytes()
                union |= decode_masks([(content, mask.name)], shape, data)
            elif isinstance(mask, Outline):
                content = repr(mask.polygons).encode()
                union |= draw_outlines(mask.polygons, shape)
            else:
                content = mask.tobytes()
                union |= mask
            digests.append(_sha256(content))
        return Decoded(pixels, union, tuple(digests), rule)

    return load


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _usable(config: Corpus | Task, records: list[Record]) -> tuple[list[Record], dict[str, str]]:
    """The records to choose from, sorted, with one id for each patient; and why the others are dropped."""
    ignore = config.options.get("ignore", [])
    classes = sorted({r.class_name for r in records if r.class_name})
    twice = [name for name, count in Counter(r.image_id for r in records).items() if count > 1]
    if twice:
        raise UserError(f"image {twice[0]} is listed twice; keep one of them")
    records = sorted(records, key=lambda r: r.image_id)
    dropped = {r.image_id: f"class '{r.class_name}' is ignored" for r in records if r.class_name in ignore}
    dropped |= {r.image_id: r.drop for r in records if r.drop}
    records = [r for r in records if r.image_id not in dropped]
    # First, for a floor too high neither the classes nor those to be ignored are found.
    if isinstance(config, Task) and config.layout == "folders":
        _check_root(set(config.class_names), records)
    unknown = [name for name in ignore if name not in classes]
    if unknown:
        raise UserError(
            f"option 'ignore' names {listed(map(repr, unknown))}, which is no class; found: "
            f"{listed(map(repr, classes))}"
        )
    _check_classes(config, records, left_out(dropped.values()))
    records = patients.checked(records, config.options.get(patients.OPTION))
    if isinstance(config, Task) and config.layout == "folders":
        _check_nested(records)
    return records, dropped


def _check_classes(config: Corpus | Task, records: list[Record], dropped: str) -> None:
    found = {r.class_name for r in records}
    if isinstance(config, Corpus):
        if len(found) < 2:
            raise UserError(f"pretraining needs two classes, there are {len(found)}")
        return
    wanted = set(config.class_names)
    for record in records:
        if record.class_name not in wanted:
            where = record.image.name if record.image else record.image_id
            raise UserError(
                f"{where} has the label '{record.class_name}', which is neither "
                f"{' nor '.join(map(repr, config.class_names))}; correct it or add it to the option 'ignore'"
            )
    for name in sorted(wanted - found):
        raise UserError(
            f"no image of class '{name}' at {config.path}; found: {', '.join(sorted(found)) or 'none'}; "
            f"correct negative, positive or option 'labels'{dropped}"
        )


def _check_root(wanted: set[str], records: list[Record]) -> None:
    """Class folders that lie a floor deeper: `train/ill/...`, or one folder around all of them."""
    paths = [record.image_id.split("/") for record in records]
    deep = {path[0] for path in paths if len(path) > 2 and path[1] in wanted}
    if tops := sorted(deep - wanted):
        raise UserError(
            f"the class folders lie in {listed(tops)}; name one by the option 'root', for example "
            f"'root: {tops[-1]}', or put all images into the same class folders"
        )


def _check_nested(records: list[Record]) -> None:
    """Several folders in a class are often one for each patient."""
    folder: dict[str, str] = {}
    for record in records:
        here = record.image_id.rpartition("/")[0]
        other = folder.setdefault(record.class_name, here)
        if record.patient_id is None and other != here:
            raise UserError(
                f"images lie in several folders of a class ({other}, {here}), and no option 'patient' tells "
                "people apart; '([^/]+)/[^/]+$' takes the folder as the patient; if nobody knows the "
                "patients, '^(.+/.+)$' takes each image by itself, with patients_certain: false"
            )


def _subset(study: Study, dataset: str, records: list[Record]) -> list[Record]:
    most = getattr(study.dataset(dataset), "max_images", None)
    if most is None or most >= len(records):
        return records
    classes = np.array([r.class_name for r in records], dtype=object)
    keys = np.array([r.image_id for r in records], dtype=object)
    seed = seed_of(study.seed, "subset", study.origin(dataset))
    parts = np.array([(r.parts or {}).get(0, "") for r in records], dtype=object)
    rows = choose_subset(classes, keys, most, seed, parts)
    return [records[row] for row in rows]
