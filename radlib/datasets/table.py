"""A folder of images and a csv that names them: the layout for one's own data."""

from pathlib import Path

from radlib.datasets.authors import read_parts, read_table
from radlib.datasets.record import FileRef, Record, class_of, inside
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
) -> list[Record]:
    """One record per row of the csv.

    Args:
        path: folder that holds the csv and the images.
        csv: the csv's name below `path`.
        image, label, patient, mask: names of columns; image and mask hold file names below `images`, several
            masks of one image separated by `;`.
        labels: label value -> class; without it the label is the class. An empty label is no label.
        images: folder below `path` that the names start from.
        folds: the authors' split files, part -> file name with `{fold}`; matched by the image's name.
        folds_image: column of image names in them, if not `image`.
    Raises:
        UserError: missing file, column or patient, or a name that leaves the folder.
    """
    columns = [name for name in (image, label, patient, mask) if name]
    table = read_table(path / csv, columns)
    parts = read_parts(path, folds, folds_image or image) if folds else None
    where = path / csv
    return [
        _record(row, where, path / images, (image, label, patient, mask), labels, parts)
        for row in table.to_dict("records")
    ]


def _record(
    row: dict, where: Path, folder: Path, columns: tuple, labels: dict | None, parts: dict | None
) -> Record:
    image, label, patient, mask = columns
    name = row[image]
    if not name:
        raise UserError(f"{where} has a row with an empty '{image}'; fill it in or delete the row")
    file = _file(folder, name, where)
    patient_id = row[patient].strip() if patient else None
    if patient and not patient_id:
        raise UserError(f"{where}: image {name} has no '{patient}'; fill it in, or patients may be split")
    named = [part.strip() for part in row[mask].split(";")] if mask else []
    masks = tuple(FileRef(_file(folder, part, where)) for part in named if part)
    if not row[label].strip():
        return Record(name, patient_id, None, FileRef(file), masks, drop="no label")
    class_name = class_of(row[label].strip(), labels, f"{where}: image {name}")
    if parts is not None and name not in parts:
        return Record(
            name, patient_id, class_name, FileRef(file), masks, drop="not in the authors' split files"
        )
    return Record(name, patient_id, class_name, FileRef(file), masks, parts[name] if parts else None)


def _file(folder: Path, name: str, where: Path) -> Path:
    path = inside(folder, name)
    if not path.is_file():
        raise UserError(f"{where} names {name}, but there is no file {path}; add it or delete the row")
    return path
