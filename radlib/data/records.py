"""Which images a study takes from a dataset, before any is decoded, and how each is loaded."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from radlib import datasets, simulate
from radlib.data.files import SMALLEST_SIDE, UnreadKind
from radlib.data.images import as_picture, decode_image
from radlib.data.masks import decode_masks, draw_outlines
from radlib.data.splits import choose_from_parts, choose_subset
from radlib.datasets import FileRef, Outline, PixelsRef, Record, check_options, patients
from radlib.errors import UserError, listed
from radlib.progress import progress
from radlib.seeds import seed_of
from radlib.simulate import Sample
from radlib.study import Study
from radlib.study.datasets import Corpus, Task
from radlib.study.places import holds_something

GENERATORS = {
    "simulated_radiology": simulate.simulated_radiology,
    "simulated_photographs": simulate.simulated_photographs,
    "simulated_task": simulate.simulated_task,
}


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


Load = Callable[[Record], Decoded]


@dataclass(frozen=True)
class Chosen:
    """The records, sorted by image_id, and how to load one.

    dropped: (image_id, reason) of the others; not_drawn: how many max_images left out; masks_drawn: whether
    the images are simulated with lesion masks.
    """

    records: list[Record]
    load: Load
    dropped: list[tuple[str, str]]
    not_drawn: int
    masks_drawn: bool = False

    @property
    def has_masks(self) -> bool:
        return self.masks_drawn or any(record.masks for record in self.records)


def choose_records(study: Study, dataset: str, progress: Callable = progress) -> Chosen:
    """Read the dataset's list of images, or draw simulated ones, and take those that the study compares.

    Raises:
        UserError: raw files missing, unknown layout or option, a label that is neither class, an empty class.
    """
    config = study.dataset(dataset)
    if config.simulated:
        records, load, masks_drawn = _draw(study, dataset, _options(study, dataset), progress)
    else:
        records, load, masks_drawn = list_records(study, dataset, progress), loader(config.colour), False
    return choose_from(study, dataset, records, load, masks_drawn)


def list_records(study: Study, dataset: str, progress: Callable = progress) -> list[Record]:
    """All images of a published dataset as its files list them, those to be dropped too.

    Raises:
        UserError: raw files missing, or what the reader finds wrong.
    """
    config, raw = study.dataset(dataset), _raw(study, dataset)
    options, bar = _options(study, dataset), partial(progress, description=f"reading {dataset}")
    try:
        return datasets.read(config.layout, raw, options, str(study.seed), bar)
    except UserError as exc:
        raise UserError(f"dataset '{dataset}': {exc}") from exc


def choose_from(
    study: Study, dataset: str, records: list[Record], load: Load, masks_drawn: bool = False
) -> Chosen:
    """Those of the listed images that the study takes; errors as `choose_records`.

    Raises:
        UserError: patient ids that may be two spellings of one person, or one id for all images, too.
    """
    config = study.dataset(dataset)
    ignore = config.options.get("ignore", [])
    _check_names(dataset, records)
    dropped = [(r.image_id, r.drop) for r in records if r.drop]
    records = sorted((r for r in records if not r.drop), key=lambda r: r.image_id)
    left_out = [r for r in records if r.class_name in ignore]
    dropped += [(r.image_id, f"class '{r.class_name}' is ignored") for r in left_out]
    records = [r for r in records if r.class_name not in ignore]
    _check_classes(config, dataset, records, [reason for _, reason in dropped])
    try:
        records = patients.checked(records, config.options.get(patients.OPTION))
    except UserError as exc:
        raise UserError(f"dataset '{dataset}': {exc}") from exc
    if isinstance(config, Task) and config.layout == "folders":
        _check_nested(dataset, records)
    chosen = _subset(study, dataset, records)
    return Chosen(chosen, load, sorted(dropped), len(records) - len(chosen), masks_drawn)


def _options(study: Study, dataset: str) -> dict[str, Any]:
    """What the reader gets: all options but those that are the same for every layout."""
    options = dict(study.dataset(dataset).options)
    options.pop(patients.OPTION, None)
    if not isinstance(options.pop("ignore", []), list):
        raise UserError(f"dataset '{dataset}': option 'ignore' is a list of classes, for example [normal]")
    return options


def _raw(study: Study, dataset: str) -> Path:
    config = study.dataset(dataset)
    path = study.raw_path(config)
    if holds_something(path):
        return path
    source = ", ".join(part for part in (config.title, config.publisher, config.url) if part)
    raise UserError(
        f"dataset '{dataset}' is not at {path} ({source}); download it as published and type: "
        "make study RAW=/folder/with/downloads"
    )


def loader(colour: bool) -> Load:
    """How to read and decode a record's image and masks."""

    def load(record: Record) -> Decoded:
        image = record.image
        data = image.read_bytes() if isinstance(image, FileRef) else b""
        try:
            pixels, digest, rule = _pixels(image, data, colour)
        except UnreadKind as exc:
            black = np.zeros((SMALLEST_SIDE, SMALLEST_SIDE, 3)[: 3 if colour else 2], dtype=np.uint8)
            return Decoded(black, None, (_sha256(data),), drop=exc.reason)
        files = [(mask.read_bytes(), mask.name) for mask in record.masks if isinstance(mask, FileRef)]
        mask = decode_masks(files, pixels.shape[:2], data) if record.masks else None
        digests = [digest, *(_sha256(data) for data, _ in files)]
        for outline in (m for m in record.masks if isinstance(m, Outline)):
            mask |= draw_outlines(outline.polygons, pixels.shape[:2])
            digests.append(_sha256(repr(outline.polygons).encode()))
        return Decoded(pixels, mask, tuple(digests), rule)

    return load


def _pixels(image: FileRef | PixelsRef, data: bytes, colour: bool) -> tuple[np.ndarray, str, str]:
    if isinstance(image, FileRef):
        return decode_image(data, image.name, colour), _sha256(data), ""
    values, digest, rule = image.read_pixels()
    return as_picture(values, image.name, colour), digest, rule


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _draw(
    study: Study, dataset: str, options: dict[str, Any], progress: Callable
) -> tuple[list[Record], Load, bool]:
    config = study.dataset(dataset)
    if config.layout not in GENERATORS:
        raise UserError(
            f"no layout '{config.layout}'; allowed: {', '.join([*GENERATORS, *datasets.READERS])}"
        )
    draw = GENERATORS[config.layout]
    check_options(draw, config.layout, options, given=("size", "seed"))
    seed = seed_of(study.seed, "images", study.origin(dataset))
    drawn = draw(**options, size=config.size, seed=seed)
    total = options["images"] if "images" in options else options["patients"] * options["slices"]
    samples = {s.image_id: s for s in progress(drawn, total=total, description=f"drawing {dataset}")}
    records = [Record(s.image_id, s.patient_id, s.class_name, None) for s in samples.values()]
    masks_drawn = any(s.mask is not None for s in samples.values())
    return records, lambda record: _from_sample(samples[record.image_id], config.colour), masks_drawn


def _from_sample(sample: Sample, colour: bool) -> Decoded:
    pixels = np.asarray(Image.fromarray(sample.image).convert("RGB" if colour else "L"))
    arrays = [sample.image] if sample.mask is None else [sample.image, sample.mask]
    return Decoded(pixels, sample.mask, tuple(hashlib.sha256(a.tobytes()).hexdigest() for a in arrays))


def _check_names(dataset: str, records: list[Record]) -> None:
    seen: set[str] = set()
    for record in records:
        if record.image_id in seen:
            raise UserError(f"dataset '{dataset}': image {record.image_id} is listed twice; keep one of them")
        seen.add(record.image_id)


def _check_classes(config: Corpus | Task, dataset: str, records: list[Record], dropped: list[str]) -> None:
    found = {r.class_name for r in records}
    if isinstance(config, Corpus):
        if len(found) < 2:
            raise UserError(f"dataset '{dataset}': pretraining needs two classes, there are {len(found)}")
        return
    wanted = {config.negative, config.positive}
    if config.layout == "folders":
        _check_root(dataset, wanted, records)
    for record in records:
        if record.class_name not in wanted:
            where = record.image.name if record.image else record.image_id
            raise UserError(
                f"dataset '{dataset}': {where} has the label '{record.class_name}', which is neither "
                f"'{config.negative}' nor '{config.positive}'; correct it or add it to the option 'ignore'"
            )
    for name in sorted(wanted - found):
        raise UserError(
            f"dataset '{dataset}': no image of class '{name}' at {config.path}; found: "
            f"{', '.join(sorted(found)) or 'none'}; correct negative, positive or option 'labels'"
            + "".join(f"; {count} left out: {reason}" for reason, count in sorted(Counter(dropped).items()))
        )


def _check_root(dataset: str, wanted: set[str], records: list[Record]) -> None:
    """Class folders that lie a floor deeper: `train/ill/...`, or one folder around all of them."""
    paths = [record.image_id.split("/") for record in records]
    deep = {path[0] for path in paths if len(path) > 2 and path[1] in wanted}
    if tops := sorted(deep - wanted):
        raise UserError(
            f"dataset '{dataset}': the class folders lie in {listed(tops)}; name one by the option "
            f"'root', for example 'root: {tops[-1]}', or put all images into the same class folders"
        )


def _check_nested(dataset: str, records: list[Record]) -> None:
    """Several folders in a class are often one for each patient."""
    folder: dict[str, str] = {}
    for record in records:
        here = record.image_id.rpartition("/")[0]
        other = folder.setdefault(record.class_name, here)
        if record.patient_id is None and other != here:
            raise UserError(
                f"dataset '{dataset}': images lie in several folders of a class ({other}, {here}), and no "
                "option 'patient' tells people apart; '([^/]+)/[^/]+$' takes the folder as the patient; if "
                "nobody knows the patients, '^(.+/.+)$' takes each image by itself, with "
                "patients_certain: false"
            )


def _subset(study: Study, dataset: str, records: list[Record]) -> list[Record]:
    most = getattr(study.dataset(dataset), "max_images", None)
    if most is None or most >= len(records):
        return records
    classes = np.array([r.class_name for r in records], dtype=object)
    keys = np.array([r.image_id for r in records], dtype=object)
    seed = seed_of(study.seed, "subset", study.origin(dataset))
    if any(r.parts for r in records):
        parts = np.array([(r.parts or {}).get(0, "") for r in records], dtype=object)
        rows = choose_from_parts(parts, classes, keys, most, seed)
    else:
        rows = choose_subset(classes, keys, most, seed)
    return [records[row] for row in rows]
