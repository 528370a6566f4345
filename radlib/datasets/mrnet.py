"""MRNet, knee MRI, as published: `train/sagittal/0000.npy`, `valid/...`, `train-acl.csv`, `valid-acl.csv`.

Bien N. et al., Deep-learning-assisted diagnosis for knee magnetic resonance imaging, PLoS Medicine 2018, doi
10.1371/journal.pmed.1002699. A volume is (slices, 256, 256); a table has no header and says exam, 0 or 1. An
exam counts as a patient: the 1 130 exams of train are of 1 088 patients, which the files do not name.

The labels are of exams, so slices must be chosen. `slices: 3` takes the middle one and its neighbours; the
middle of n slices is slice n // 2, counted from 0. `slices: authors` takes the slices that the authors of
RadImageNet picked, with their labels: `images/1054_sagittal_19.000000.png` is slice 19 of exam 1054 (counted
from 0 too; their lists do not say).
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import StrictInt

from radlib.datasets.arrays import ArrayRow, open_array
from radlib.datasets.files import below
from radlib.datasets.lists import Folds, class_of, read_cells, read_list, split_files
from radlib.datasets.record import Record
from radlib.errors import UserError

_CLASSES = dict.fromkeys(("0", "no", "n"), "negative") | dict.fromkeys(("1", "yes", "p"), "positive")
# The authors' lists, and their columns of image and label.
_LISTS = {
    "acl": ("folds/{part}_fold{fold}.csv", "filename", "acl_label"),
    "meniscus": ("folds/meniscus_{part}_fold{fold}.csv", "img_dir", "label"),
}
_PICKED = re.compile(r"images/(\d+)_sagittal_(\d+)(?:\.0+)?\.png")


def read(
    path: Path,
    *,
    finding: Literal["acl", "meniscus", "abnormal"],
    plane: Literal["sagittal", "coronal", "axial"] = "sagittal",
    slices: Annotated[StrictInt, Ge(1)] | Literal["authors"] = 1,
    folds: Folds = "own",
    exported: bool = False,
) -> list[Record]:
    """One record per chosen slice, of class negative or positive.

    Args:
        slices: how many around the middle, or "authors": those of `folds/[meniscus_]train_fold1.csv`, ...
        folds: "own" or, with the authors' slices, "authors": their five folds too.
        exported: with the authors' slices, take them from their `images/*.png` and not from the volumes.
    """
    if slices == "authors":
        if finding not in _LISTS or plane != "sagittal":
            raise UserError(
                "the authors picked sagittal slices for acl and meniscus only; give 'slices' a number"
            )
        return _picked(path, finding, folds, exported)
    if folds == "authors" or exported:
        raise UserError("options 'folds: authors' and 'exported' need 'slices: authors'")
    return [
        Record(f"{exam}_{plane}_{index}", exam, label, ArrayRow(path / part / plane / f"{exam}.npy", index))
        for part in ("train", "valid")
        for exam, label in _exams(path / f"{part}-{finding}.csv")
        for index in _middle(path / part / plane / f"{exam}.npy", slices)
    ]


def _exams(file: Path) -> list[tuple[str, str]]:
    """Exam and class of every line of a table without a header."""
    table = read_cells(file)
    if table.shape[1] != 2:
        raise UserError(f"{file} has {table.shape[1]} columns; expected exam and label, without a header")
    lines = table.to_numpy().tolist()
    return [(exam, class_of(label.strip(), _CLASSES, f"{file}: exam {exam}")) for exam, label in lines]


def _middle(file: Path, count: int) -> range:
    depth = len(open_array(file))
    first = depth // 2 - count // 2
    if first < 0 or first + count > depth:
        raise UserError(
            f"{file} holds {depth} slices, not {count} around the middle; lower the option 'slices'"
        )
    return range(first, first + count)


def _picked(path: Path, finding: str, folds: str, exported: bool) -> list[Record]:
    pattern, *columns = _LISTS[finding]
    found = read_list(path, split_files(pattern), columns)
    matches = [_PICKED.fullmatch(name) for name in found.names]
    if None in matches:
        name = found.names[matches.index(None)]
        raise UserError(
            f"{found.where}: '{name}' is not images/<exam>_sagittal_<slice>.png; download it again"
        )
    slices = [(match.group(1), int(match.group(2))) for match in matches]
    images = below(path, found.names, found.where) if exported else _slices(path, slices, found.where)
    patients = [exam for exam, _ in slices]
    records = found.records(images, found.rows[columns[1]].str.strip(), _CLASSES, patients)
    return [
        replace(
            record, image_id=f"{exam}_sagittal_{index}", parts=record.parts if folds == "authors" else None
        )
        for record, (exam, index) in zip(records, slices, strict=True)
    ]


def _slices(path: Path, picked: list[tuple[str, int]], where: Path) -> list[ArrayRow]:
    """Slices of the volumes; an exam lies in train or in valid."""
    volumes = {f.stem: f for part in ("train", "valid") for f in (path / part / "sagittal").glob("*.npy")}
    for exam, _ in picked:
        if exam not in volumes:
            raise UserError(
                f"{where} names exam {exam}, but neither train/ nor valid/ of {path} has its volume"
            )
    return [ArrayRow(volumes[exam], index) for exam, index in picked]
