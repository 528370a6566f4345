"""Class folders, or a zip of them read in place: `<root>/<class>/.../<image>`."""

import re
from pathlib import Path

from radlib.datasets.record import (
    FileRef,
    Record,
    class_of,
    is_image,
    list_files,
    patient_in,
    patient_pattern,
)
from radlib.errors import UserError


def read(
    path: Path,
    *,
    root: str = "",
    patient: str | None = None,
    labels: dict[str, str] | None = None,
    classes: list[str] | None = None,
) -> list[Record]:
    """One record per file; the first folder below `root` is the class.

    Args:
        path: a folder or a zip file.
        root: the folder inside `path` that holds the class folders.
        patient: regular expression, searched in the file name; its first group is the patient.
        labels: folder name -> class; without it the folder's name is the class.
        classes: folders that must be there.
    Raises:
        UserError: missing class folder, no image at all, or a name that `patient` does not match.
    """
    files = list_files(path, root)
    folders = sorted({name.split("/")[0] for name in files if "/" in name})
    missing = [name for name in [*(labels or {}), *(classes or [])] if str(name) not in folders]
    if missing:
        raise UserError(f"no class folder '{missing[0]}' in {path / root}; it has: {', '.join(folders)}")
    pattern = None if patient is None else patient_pattern(patient)
    records = [_record(name, ref, pattern, labels) for name, ref in files.items()]
    if not any(not r.drop for r in records):
        raise UserError(f"{path / root} holds no images in class folders; it has {len(files)} other files")
    return records


def _record(name: str, ref: FileRef, pattern: re.Pattern | None, labels: dict | None) -> Record:
    if not is_image(name):
        return Record(name, None, None, ref, drop="not an image file")
    if "/" not in name:
        return Record(name, None, None, ref, drop="not in a class folder")
    class_name = class_of(name.split("/")[0], labels, ref.name)
    patient = None if pattern is None else patient_in(name, pattern)
    return Record(name, patient, class_name, ref)
