"""A folder of images and a csv that names them: the layout for one's own data."""

import posixpath
from itertools import islice
from pathlib import Path

import pandas as pd

from radlib.datasets.authors import read_parts, read_table
from radlib.datasets.partners import split_masks
from radlib.datasets.record import FileRef, Record, below, class_of
from radlib.errors import UserError


def read(
    path: Path,
    *,
    csv: str,
    image: str = "image",
    label: str = "label",
    patient: str | None = None,
    mask: str | None = None,
    labels: dict[str, str] | None = None,
    images: str = "",
    folds: dict[str, str] | None = None,
    folds_image: str | None = None,
    file: str = "{image}",
) -> list[Record]:
    """One record per row of the csv.

    Args:
        path: folder that holds the csv and the images.
        csv: the csv's name below `path`.
        image, label, patient, mask: names of columns; image and mask hold file names below `images`, several
            masks of one image separated by `;`. An ending may be left out.
        labels: label value -> class; without it the label is the class. An empty label is no label.
        images: folder below `path` that the names start from.
        folds: the authors' split files, part -> file name with `{fold}`; matched by the image's name.
        folds_image: column of image names in them, if not `image`.
        file: the file's name where the csv shortens it: `{image:0>3}.png` finds 007.png for 7.
    Raises:
        UserError: missing file, column or patient, a file in two rows, or a name that leaves the folder.
    """
    where, folder = path / csv, path / images
    table = read_table(where, [name for name in (image, label, patient, mask) if name])
    if table.empty:
        raise UserError(f"{where} has no row below its header; write one per image")
    _check_filled(table, where, image, patient)
    parts = read_parts(path, folds, folds_image or image) if folds else None
    names = table[image].str.strip().tolist()
    files = below(folder, _file_names(names, file), where)
    _check_once(names, files, where)
    _check_no_masks(files, where)
    masks = _masks(folder, table[mask], where) if mask else [()] * len(names)
    patients = table[patient].str.strip() if patient else [None] * len(names)
    rows = zip(names, patients, table[label].str.strip(), files, masks, strict=True)
    return [_record(*row, labels, parts, where) for row in rows]


def _record(
    name: str, patient: str | None, label: str, file: FileRef, masks: tuple, labels: dict | None,
    parts: dict | None, where: Path,
) -> Record:  # fmt: skip
    if not label:
        return Record(name, patient, None, file, masks, drop="no label")
    class_name = class_of(label, labels, f"{where}: image {name}")
    if parts is not None and name not in parts:
        return Record(name, patient, class_name, file, masks, drop="not in the authors' split files")
    return Record(name, patient, class_name, file, masks, parts[name] if parts else None)


def _check_filled(table: pd.DataFrame, where: Path, image: str, patient: str | None) -> None:
    for column in filter(None, (image, patient)):
        empty = table[table[column].str.strip() == ""]
        if len(empty):
            raise UserError(
                f"{where}: line {empty.index[0] + 2} has no '{column}'; fill it in or delete the row, or "
                "patients may be split"
            )


def _file_names(names: list[str], pattern: str) -> list[str]:
    try:
        return [pattern.format(image=name) for name in names]
    except (ValueError, LookupError, AttributeError) as exc:
        raise UserError(
            f"option 'file' is '{pattern}' ({exc}); it is the file's name with {{image}} for the cell of the "
            "csv, for example '{image}.png', or '{image:0>3}.png' where 7 stands for 007.png"
        ) from exc


def _check_once(names: list[str], files: list[FileRef], where: Path) -> None:
    first: dict[str, str] = {}
    for name, file in zip(names, files, strict=True):
        member = posixpath.normpath(file.member)
        if first.setdefault(member, name) != name:
            raise UserError(
                f"{where}: '{first[member]}' and '{name}' are one file, {file.name}; keep one row"
            )


def _check_no_masks(files: list[FileRef], where: Path) -> None:
    for image, masks in split_masks(f"/{file.member}" for file in files)[0].items():
        if masks:
            raise UserError(
                f"{where} names {masks[0][1:]} as an image, which is the mask of {image[1:]}; delete the row "
                "and name the mask in a column of its own, which the option 'mask' names"
            )


def _masks(folder: Path, column: pd.Series, where: Path) -> list[tuple[FileRef, ...]]:
    named = [[part.strip() for part in cell.split(";") if part.strip()] for cell in column]
    found = iter(below(folder, [part for parts in named for part in parts], where))
    return [tuple(islice(found, len(parts))) for parts in named]
