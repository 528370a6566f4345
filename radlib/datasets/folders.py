"""Class folders, or a zip of them read in place: `<root>/<class>/.../<image>`."""

import re
from pathlib import Path, PurePosixPath

from radlib.datasets.record import FileRef, Record, class_of, is_image, list_files
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
    pattern = _compile(patient)
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
    return Record(name, _patient(name, pattern), class_name, ref)


def _compile(patient: str | None) -> re.Pattern | None:
    if patient is None:
        return None
    try:
        pattern = re.compile(patient)
    except re.error as exc:
        raise UserError(f"option 'patient' is not a regular expression ({exc}): {patient}") from exc
    if pattern.groups < 1:
        raise UserError(f"option 'patient' needs a group in brackets that holds the patient: {patient}")
    return pattern


def _patient(name: str, pattern: re.Pattern | None) -> str | None:
    if pattern is None:
        return None
    found = pattern.search(PurePosixPath(name).name)
    if not found or not found.group(1):
        raise UserError(f"option 'patient' ({pattern.pattern}) finds no patient in {name}; correct it")
    return found.group(1)
