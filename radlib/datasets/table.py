"""A folder of images and a csv that names them: the layout for one's own data."""

import posixpath
from pathlib import Path

import pandas as pd

from radlib.datasets.files import below, split_masks
from radlib.datasets.lists import class_of, read_list, read_table, with_parts
from radlib.datasets.record import FileRef, Record
from radlib.errors import UserError, explained


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
        folds: the authors' split files, part -> file name with `{fold}`; they have the column `image`, too.
        file: the file's name where the csv shortens it: `{image:0>3}.png` finds 007.png for 7.
    """
    where, folder = path / csv, path / images
    columns = list(dict.fromkeys([image, label, *filter(None, [patient, mask])]))
    table = read_table(where, columns, filled=[image, patient])
    if table.empty:
        raise UserError(f"{where} has no row below its header; write one per image")
    names = table[image].tolist()
    with explained(
        (ValueError, LookupError, AttributeError),
        f"option 'file' is '{file}'",
        "it is the file's name with {image} for the cell of the csv, for example '{image}.png', or "
        "'{image:0>3}.png' where 7 stands for 007.png",
    ):
        members = [file.format(image=name) for name in names]
    files = below(folder, members, where)
    _check_once(names, files, where)
    masks = _masks(folder, table[mask], where) if mask else [()] * len(names)
    patients = table[patient] if patient else [None] * len(names)
    records = [
        Record(
            name,
            person,
            class_of(said, labels, f"{where}: image {name}", "labels") if said else None,
            ref,
            own,
            drop="" if said else "no label",
        )
        for name, person, said, ref, own in zip(names, patients, table[label], files, masks, strict=True)
    ]
    return with_parts(records, read_list(path, folds, [image]).parts) if folds else records


def _check_once(names: list[str], files: list[FileRef], where: Path) -> None:
    """No file may stand in two rows, and no mask beside its image."""
    first: dict[str, str] = {}
    for name, file in zip(names, files, strict=True):
        member = posixpath.normpath(file.member)
        if first.setdefault(member, name) != name:
            raise UserError(
                f"{where}: '{first[member]}' and '{name}' are one file, {file.name}; keep one row"
            )
    for image, masks in split_masks(f"/{file.member}" for file in files)[0].items():
        if masks:
            raise UserError(
                f"{where} names {masks[0][1:]} as an image, which is the mask of {image[1:]}; delete the row "
                "and name the mask in a column of its own, which the option 'mask' names"
            )


def _masks(folder: Path, column: pd.Series, where: Path) -> list[tuple[FileRef, ...]]:
    named = [[part.strip() for part in cell.split(";") if part.strip()] for cell in column]
    found = iter(below(folder, [part for parts in named for part in parts], where))
    return [tuple(next(found) for _ in parts) for parts in named]
