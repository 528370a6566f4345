"""DDTI, thyroid ultrasound, as first published: `314_1.jpg`, `314_2.jpg` and `314.xml`, one XML per case.

Pedraza L. et al., An open access thyroid ultrasound image database, SPIE 2015, doi 10.1117/12.2073532.
The XML holds the case's TI-RADS score and, for each image, a `mark` whose `svg` is JSON: a list of regions,
each with its `points`, {"x": ..., "y": ...} in px.

TI-RADS 2 and 3 are benign; 4a, 4b, 4c and 5 are malignant, as the literature on this set and the labels in
RadImageNet's split files have it: a score of suspicion, not a biopsy. A case without a score has no label.
The case (patient) is the part before `_`.
"""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from radlib.datasets.authors import parts_by_stem
from radlib.datasets.ddti import FOLDS
from radlib.datasets.record import FileRef, Outline, Record, is_image, list_all, no_image
from radlib.errors import UserError

TIRADS = {
    "2": "benign", "3": "benign",
    "4a": "malignant", "4b": "malignant", "4c": "malignant", "5": "malignant",
}  # fmt: skip
_IMAGE = re.compile(r"([^_]+)_\d+\.\w+")


def read(path: Path, *, folds: str = "own") -> list[Record]:
    """One record per image, with the outlines of its nodules; what has no score is marked to be dropped.

    Args:
        path: the folder with all .jpg and .xml files.
        folds: "own" (the study's rule) or "authors" (the published split files, in `folds/`).
    Raises:
        UserError: no images, a case without its XML, a damaged XML, or a score that is none.
    """
    parts = parts_by_stem(path, FOLDS, "img_dir", folds)
    files, records = list_all(path) if path.is_dir() else ({}, [])
    images = [path / name for name in files if _IMAGE.fullmatch(name) and is_image(name)]
    if not images:
        raise UserError(f"no images such as 1_1.jpg in {path}; expected the .jpg and .xml files as published")
    cases: dict[str, tuple[str | None, dict[str, Outline]]] = {}
    known = {file.name for file in images}
    records += [
        Record(
            name,
            None,
            None,
            ref,
            drop="not called as an image of a case" if is_image(name) else no_image(name),
        )
        for name, ref in files.items()
        if name not in known and not name.endswith(".xml") and not name.startswith("folds/")
    ]
    for file in images:
        case = _IMAGE.fullmatch(file.name).group(1)
        if case not in cases:
            cases[case] = _read_case(path / f"{case}.xml")
        label, outlines = cases[case]
        drop = ""
        if label is None:
            drop = "no TI-RADS score"
        elif parts is not None and file.stem not in parts:
            drop = "not in the authors' split files"
        masks = (outlines[file.stem],) if file.stem in outlines else ()
        own_parts = parts.get(file.stem) if parts else None
        records.append(Record(file.stem, case, label, FileRef(file), masks, own_parts, drop))
    return records


def _read_case(file: Path) -> tuple[str | None, dict[str, Outline]]:
    """The class of a case, and the outlines by image."""
    try:
        case = ElementTree.fromstring(file.read_bytes())
    except FileNotFoundError as exc:
        raise UserError(f"no {file}, which holds the case's label; download the set again") from exc
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as exc:
        raise UserError(f"{file} is no readable XML ({exc}); download it again") from exc
    score = (case.findtext("tirads") or "").strip().lower()
    if score and score not in TIRADS:
        raise UserError(f"{file}: TI-RADS '{score}' is none of {', '.join(TIRADS)}; correct it")
    outlines = {}
    for mark in case.iter("mark"):
        number, drawing = ((mark.findtext(tag) or "").strip() for tag in ("image", "svg"))
        if drawing:
            polygons = _polygons(drawing, file)
            outlines[f"{file.stem}_{number}"] = Outline(polygons, f"{file}, image {number}")
    return TIRADS.get(score), outlines


def _polygons(drawing: str, file: Path) -> tuple[tuple[tuple[float, float], ...], ...]:
    """The regions of one image; one of fewer than three points encloses nothing and is left out."""
    try:
        regions: list[dict[str, Any]] = json.loads(drawing)
        drawn = [tuple((float(p["x"]), float(p["y"])) for p in region["points"]) for region in regions]
    except (ValueError, TypeError, KeyError) as exc:
        raise UserError(f"{file}: 'svg' is no list of points ({exc}); download it again") from exc
    return tuple(points for points in drawn if len(points) > 2)
