"""Class folders, or a zip of them read in place: `<root>/<class>/.../<image>`."""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from radlib.datasets.files import is_image, left_out, list_all, no_image, split_masks
from radlib.datasets.lists import class_of
from radlib.datasets.patients import in_path, patient_in, patient_pattern
from radlib.datasets.record import Record
from radlib.errors import UserError

NO_IMAGE = "named as a mask, but its image is not there"


def read(
    path: Path,
    *,
    root: str = "",
    patient: str | None = None,
    consecutive: bool = False,
    labels: dict[str, str] | None = None,
) -> list[Record]:
    """One record per file but masks, which go to their images; the first folder below `root` is the class.

    Args:
        path: a folder or a zip file.
        root: the folder inside `path` that holds the class folders.
        patient: regular expression whose first group is the patient; searched in the file's name or, where it
            holds a `/`, in the path below `root`: `([^/]+)/[^/]+$` takes the folder of an image.
        consecutive: of one class, files whose whole names are numbers that follow one another are of one
            patient: files numbered through were often cut from one scan.
        labels: folder that must be there -> class; without it the folder's name is the class.
    """
    files, unused = list_all(path, root)
    folders = sorted({normalize("NFC", name.split("/")[0]) for name in files if "/" in name})
    missing = [name for name in labels or {} if name not in folders]
    if missing:
        raise UserError(
            f"no class folder '{missing[0]}' in {path / root}; it has: {', '.join(folders)}; "
            f"option 'root' names the folder that holds the class folders{left_out(r.drop for r in unused)}"
        )
    masks, orphans = split_masks(name for name in files if "/" in name and is_image(name))
    reasons = {name: no_image(name) for name in files if not is_image(name)}
    reasons |= dict.fromkeys(orphans, NO_IMAGE)
    reasons |= {name: "not in a class folder" for name in files if "/" not in name and is_image(name)}
    unused += [Record(name, None, None, files[name], drop=reason) for name, reason in reasons.items()]
    if not masks:
        raise UserError(
            f"{path / root} holds no images in class folders; put them there, or set option 'root' to the "
            f"folder that holds the class folders{left_out(r.drop for r in unused)}"
        )
    pattern = None if patient is None else patient_pattern(patient)
    records = [
        Record(
            name,
            None if pattern is None else patient_in(name, pattern),
            class_of(name.split("/")[0], labels, files[name].name, "labels"),
            files[name],
            tuple(files[mask] for mask in own),
        )
        for name, own in masks.items()
    ]
    if pattern is not None and not in_path(pattern):
        _check_folders(records, pattern)
    return unused + (_joined_runs(records) if consecutive else records)


def _check_folders(records: list[Record], pattern: re.Pattern) -> None:
    """Where every patient has a folder, files are often named alike in each: `P017/IM-0001.png`."""
    first: dict[tuple[str, str], str] = {}
    for record in records:
        name = record.image_id
        if name.count("/") < 2:
            continue
        other = first.setdefault((record.class_name, record.patient_id), name)
        if PurePosixPath(other).parent != PurePosixPath(name).parent:
            raise UserError(
                f"option 'patient' ({pattern.pattern}) finds patient '{record.patient_id}' in two "
                f"folders: {other}, {name}; an expression with a / is searched in the whole path: "
                "'([^/]+)/[^/]+$' takes the folder as the patient, '/([^/_]+)[^/]*$' the file's name up to _"
            )


def _joined_runs(records: list[Record]) -> list[Record]:
    """Files n, n + 1, n + 2 of one class are of the patient n; names that say more than a number stay."""
    alone = [
        (r.class_name, int(r.patient_id), r.image_id)
        for r in records
        if r.patient_id and r.patient_id.isdecimal() and PurePosixPath(r.image_id).stem == r.patient_id
    ]
    first: dict[tuple[str, int], int] = {}
    for class_name, number, _ in sorted(alone):
        first[class_name, number] = first.get((class_name, number - 1), number)
    joined = {image_id: str(first[class_name, number]) for class_name, number, image_id in alone}
    return [replace(r, patient_id=joined.get(r.image_id, r.patient_id)) for r in records]
