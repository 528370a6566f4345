"""MRNet, knee MRI, as published: `train/sagittal/0000.npy`, `valid/...`, `train-acl.csv`, `valid-acl.csv`.

Bien N. et al., Deep-learning-assisted diagnosis for knee magnetic resonance imaging, PLoS Medicine 2018, doi
10.1371/journal.pmed.1002699. A volume is (slices, 256, 256); a table has no header and says exam, 0 or 1. An
exam counts as a patient: the 1 130 exams of train are of 1 088 patients, which the files do not name, so a
study says `patients_certain: false`.

The labels are of exams, so slices must be chosen. `slices: 3` takes the middle one and its neighbours; the
middle of n slices is slice n // 2, counted from 0. `slices: authors` takes the slices that the authors of
RadImageNet picked, with their labels: `images/1054_sagittal_19.000000.png` is slice 19 of exam 1054 (counted
from 0 too; their lists do not say).
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import StrictInt

from radlib.datasets.arrays import ArrayRow, open_array
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
) -> list[Record]:
    """One record per chosen slice, of class negative or positive.

    Args:
        slices: how many around the middle, or "authors": those of `folds/[meniscus_]train_fold1.csv`, ...
        folds: "own" or, with the authors' slices, "authors": their five folds too.
    """
    if slices == "authors":
        if finding not in _LISTS or plane != "sagittal":
            raise UserError(
                "the authors picked sagittal slices for acl and meniscus only; give 'slices' a number"
            )
        return _picked(path, finding, folds)
    if folds == "authors":
        raise UserError("option 'folds: authors' needs 'slices: authors'")
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
    return [(exam, class_of(label, _CLASSES, f"{file}: exam {exam}")) for exam, label in lines]


def _middle(file: Path, count: int) -> range:
    depth = len(open_array(file))
    first = depth // 2 - count // 2
    if first < 0 or first + count > depth:
        raise UserError(
            f"{file} holds {depth} slices, not {count} around the middle; lower the option 'slices'"
        )
    return range(first, first + count)


def _picked(path: Path, finding: str, folds: str) -> list[Record]:
    """The slices that the authors list, out of the volumes; an exam lies in train or in valid."""
    pattern, *columns = _LISTS[finding]
    found = read_list(path, split_files(pattern), columns)
    volumes = {f.stem: f for part in ("train", "valid") for f in (path / part / "sagittal").glob("*.npy")}
    records = []
    for name, label in zip(found.names, found.rows[columns[1]], strict=True):
        picked = _PICKED.fullmatch(name)
        if not picked:
            raise UserError(
                f"{found.where}: '{name}' is not images/<exam>_sagittal_<slice>.png; download it again"
            )
        exam, index = picked.group(1), int(picked.group(2))
        if exam not in volumes:
            raise UserError(
                f"{found.where} names exam {exam}, but neither train/ nor valid/ of {path} has its volume"
            )
        class_name = class_of(label, _CLASSES, f"{found.where}: image {name}")
        parts = found.parts[name] if folds == "authors" else None
        image = ArrayRow(volumes[exam], index)
        records.append(Record(f"{exam}_sagittal_{index}", exam, class_name, image, parts=parts))
    return records
