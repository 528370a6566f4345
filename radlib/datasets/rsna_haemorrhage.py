"""RSNA Intracranial Hemorrhage Detection 2019: `stage_2_train.csv` and `stage_2_train/ID_12cadc6af.dcm`.

Flanders A. et al., Construction of a machine learning dataset through collaboration: the RSNA 2019 brain CT
hemorrhage challenge, Radiology: Artificial Intelligence 2020, doi 10.1148/ryai.2020190211. The table has ID
and Label, six rows per image; the row `ID_12cadc6af_any` says whether there is any haemorrhage.

The patient stands in the DICOM header alone, so every header is opened (the pixels are not), which takes
minutes for all 752 803; `subset` takes fewer images. With the authors' split, patients come from its lists.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from radlib.datasets.dicom import dicom_refs, hashed_patient, patient_of
from radlib.datasets.grey import Window
from radlib.datasets.lists import (
    Folds,
    Parts,
    class_of,
    one_row_each,
    read_list,
    read_table,
    split_files,
    stem,
    with_parts,
)
from radlib.datasets.record import Record
from radlib.datasets.salt import read_salt
from radlib.errors import UserError
from radlib.progress import on_threads

TABLE, IMAGES = "stage_2_train.csv", "stage_2_train"
_CLASSES = {"0": "negative", "1": "positive"}
_FOLDS = split_files("folds/hemorrhage_{part}.csv")
_AHEAD = 4096  # headers are short, and disks slow to answer


def read(
    path: Path,
    *,
    window: Window | None = None,
    subset: int | None = None,
    leave_out: list[str] | None = None,
    folds: Folds = "own",
    salt_file: str | None = None,
    salt: str = "",
    progress: Callable,
) -> list[Record]:
    """One record per image; the patient is a salted hash.

    The published ids are pseudonyms already, so the salt may be public, and the study's seed is taken: then
    every copy of the study has the same hashes. Where the ids are of a hospital, name a `salt_file`, and keep
    it: the split that a study draws depends on the hashes, so another salt deals out other parts.

    Args:
        window: centre and width in Hounsfield units, for example [40, 80]; else each header's own.
        subset: so many images, those whose names have the smallest SHA-256: random, but always the same.
        leave_out: images that are damaged as published.
        folds: "own" (the study's rule) or "authors" (their one split, in `folds/`).
        salt_file: a file with 16 secret characters or more, absolute or from `path`; see `read_salt`.
        salt: of the hash where there is no `salt_file`; the study gives its seed.
        progress: wraps the reading of the headers.
    """
    if salt_file is not None:
        salt = read_salt(path / Path(salt_file).expanduser())
    labels = _labels(path / TABLE)
    unusable = set(leave_out or [])
    for name in sorted(unusable - set(labels)):
        raise UserError(f"option 'leave_out' names '{name}', which {path / TABLE} does not list; correct it")
    chosen = sorted(labels, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:subset]
    names = sorted(set(chosen) - unusable)
    images = dicom_refs(path / IMAGES, names, path / TABLE, window)
    parts = None
    if folds == "own":
        files = [image.file for image in images]
        people = progress(on_threads(lambda file: patient_of(file, salt), files, _AHEAD), total=len(files))
        known = dict(zip(names, people, strict=True))
    else:
        known, parts = _authors(path, salt)
    records = [Record(name, None, None, None, drop="left out by an option") for name in sorted(unusable)]
    for name, image in zip(names, images, strict=True):
        patient, key = known.get(name, (None, None))
        records.append(Record(name, patient, labels[name], image, patient_key=key))
    return with_parts(records, parts) if parts else records


def _labels(file: Path) -> dict[str, str]:
    """Image -> class. A few rows are published twice, with one label."""
    table = read_table(file, ["ID", "Label"])
    table = one_row_each(table[table["ID"].str.endswith("_any")], ["ID", "Label"], file)
    if table.empty:
        raise UserError(f"{file} has no row such as ID_12cadc6af_any; download it again")
    images = table["ID"].str.removesuffix("_any")
    return {
        image: class_of(label, _CLASSES, f"{file}: image {image}")
        for image, label in zip(images, table["Label"], strict=True)
    }


def _authors(path: Path, salt: str) -> tuple[dict[str, tuple[str, str]], Parts]:
    """Hash and key of the patient, and parts, by image."""
    found = read_list(path, _FOLDS, ["dir", "pid"], filled=["pid"], called=stem)
    listed = zip(found.names, found.rows["pid"], strict=True)
    return {image: hashed_patient(pid, salt, f"image {image}") for image, pid in listed}, found.parts
