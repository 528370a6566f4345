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
from pathlib import Path
from xml.etree import ElementTree

from radlib.datasets.ddti import FOLDS
from radlib.datasets.files import is_image, list_all, no_image
from radlib.datasets.lists import Folds, class_of, stem, with_folds
from radlib.datasets.record import FileRef, Outline, Record
from radlib.errors import UserError, explained

TIRADS = dict.fromkeys(("2", "3"), "benign") | dict.fromkeys(("4a", "4b", "4c", "5"), "malignant") | {"": ""}
_IMAGE = re.compile(r"([^_]+)_\d+\.\w+")


def read(path: Path, *, folds: Folds = "own") -> list[Record]:
    """One record per image, with the outlines of its nodules; what has no score is marked to be dropped.

    Args:
        path: the folder with all .jpg and .xml files.
        folds: "own" (the study's rule) or "authors" (the published split files, in `folds/`).
    """
    files, unused = list_all(path)
    names = {name: _IMAGE.fullmatch(name) for name in files if is_image(name)}
    if not any(names.values()):
        raise UserError(f"no images such as 1_1.jpg in {path}; expected the .jpg and .xml files as published")
    cases: dict[str, tuple[str, dict[str, Outline]]] = {}
    records = []
    for name, found in names.items():
        if not found:
            unused.append(Record(name, None, None, files[name], drop="not called as an image of a case"))
            continue
        case, image = found.group(1), stem(name)
        if case not in cases:
            cases[case] = _read_case(f"{case}.xml", files, path)
        label, outlines = cases[case]
        masks = (outlines[image],) if image in outlines else ()
        drop = "" if label else "no TI-RADS score"
        records.append(Record(image, case, label or None, files[name], masks, drop=drop))
    others = [n for n in files if n not in names and not n.endswith(".xml") and not n.startswith("folds/")]
    unused += [Record(name, None, None, files[name], drop=no_image(name)) for name in others]
    return with_folds(records, path, FOLDS, "img_dir", folds) + unused


def _read_case(name: str, files: dict[str, FileRef], path: Path) -> tuple[str, dict[str, Outline]]:
    """The class of a case, "" without a score, and the outlines by image."""
    where = path / name
    if name not in files:
        raise UserError(f"no {where}, which holds the case's label; download the set again")
    damaged = (ElementTree.ParseError, ValueError, LookupError)
    with explained(damaged, f"{where} is no readable XML", "download it again"):
        case = ElementTree.fromstring(files[name].read_bytes())
    score = (case.findtext("tirads") or "").strip().lower()
    label = class_of(score, TIRADS, f"{where}, tirads")
    outlines = {}
    for mark in case.iter("mark"):
        number, drawing = ((mark.findtext(tag) or "").strip() for tag in ("image", "svg"))
        if drawing:
            image = f"{where.stem}_{number}"
            before = outlines[image].polygons if image in outlines else ()
            outlines[image] = Outline(before + _polygons(drawing, where))
    return label, outlines


def _polygons(drawing: str, file: Path) -> tuple[tuple[tuple[float, float], ...], ...]:
    """The regions of one image; one of fewer than three points encloses nothing and is left out."""
    with explained(
        (ValueError, TypeError, KeyError), f"{file}: 'svg' is no list of points", "download it again"
    ):
        regions = json.loads(drawing)
        drawn = [tuple((float(p["x"]), float(p["y"])) for p in region["points"]) for region in regions]
    return tuple(points for points in drawn if len(points) > 2)
