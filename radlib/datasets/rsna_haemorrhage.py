"""RSNA Intracranial Hemorrhage Detection 2019: `stage_2_train.csv` and `stage_2_train/ID_12cadc6af.dcm`.

Flanders A. et al., Construction of a machine learning dataset through collaboration: the RSNA 2019 brain CT
hemorrhage challenge, Radiology: Artificial Intelligence 2020, doi 10.1148/ryai.2020190211. The table has ID
and Label, six rows per image; the row `ID_12cadc6af_any` says whether there is any haemorrhage.

The patient stands in the DICOM header alone, so every header is opened (the pixels are not), which takes
minutes for all 752 803; `subset` takes fewer images. With the authors' split, patients come from its lists.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pandas as pd

from radlib.datasets.authors import read_list, read_table
from radlib.datasets.dicom import DicomRef, check_window, hashed_patient, patient_of
from radlib.datasets.record import Record, below
from radlib.datasets.salt import read_salt
from radlib.errors import UserError
from radlib.progress import on_threads

TABLE, IMAGES = "stage_2_train.csv", "stage_2_train"
_CLASS = {"0": "negative", "1": "positive"}
_FOLDS = {
    "train": "folds/hemorrhage_train.csv",
    "validation": "folds/hemorrhage_val.csv",
    "test": "folds/hemorrhage_test.csv",
}
_AHEAD = 4096  # headers are short, and disks slow to answer


def read(
    path: Path,
    *,
    window: list[float] | None = None,
    frame: int | None = None,
    subset: int | None = None,
    leave_out: list[str] | None = None,
    folds: str = "own",
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
        frame: which frame of a file that holds several, from 0; the published files hold one.
        subset: so many images, those whose names have the smallest SHA-256: random, but always the same.
        leave_out: images that are damaged as published.
        folds: "own" (the study's rule) or "authors" (their one split, in `folds/`).
        salt_file: a file with 16 secret characters or more, absolute or from `path`; see `read_salt`.
        salt: of the hash where there is no `salt_file`; the study gives its seed.
        progress: wraps the reading of the headers.
    Raises:
        UserError: table, column or image missing, an image without or with two labels, no patient,
            or no salt in the file.
    """
    if salt_file is not None:
        salt = read_salt(path / Path(salt_file).expanduser())
    if folds not in ("own", "authors"):
        raise UserError(f"option 'folds' is '{folds}'; allowed: own, authors")
    chosen, labels = check_window(window), _labels(path)
    names = sorted(labels if subset is None else sorted(labels, key=_digest)[:subset])
    unusable = set(leave_out or [])
    for name in sorted(unusable - set(labels)):
        raise UserError(f"option 'leave_out' names '{name}', which {path / TABLE} does not list; correct it")
    names = [name for name in names if name not in unusable]
    files = below(path / IMAGES, [f"{name}.dcm" for name in names], path / TABLE)
    if folds == "own":
        hashes = progress(on_threads(lambda file: patient_of(file, salt), files, _AHEAD), total=len(files))
        known, parts = dict(zip(names, hashes, strict=True)), None
    else:
        known, parts = _authors(path, salt)
    nobody = (None, None)
    records = [
        Record(
            name,
            known.get(name, nobody)[0],
            _CLASS[labels[name]],
            DicomRef(file, chosen, frame),
            parts=parts.get(name) if parts else None,
            drop="" if name in known else "not in the authors' split files",
            patient_key=known.get(name, nobody)[1],
        )
        for name, file in zip(names, files, strict=True)
    ]
    absent = [Record(name, None, None, None, drop="left out by an option") for name in sorted(unusable)]
    return records + absent


def _labels(path: Path) -> dict[str, str]:
    """Image -> 0 or 1. A few rows are published twice, with one label."""
    table = read_table(path / TABLE, ["ID", "Label"])
    table = table[table["ID"].str.endswith("_any")].drop_duplicates(["ID", "Label"])
    images = table["ID"].str.removesuffix("_any").tolist()
    labels: dict[str, str] = {}
    for image, label in zip(images, table["Label"].tolist(), strict=True):
        if label not in _CLASS:
            raise UserError(f"{path / TABLE}: image {image} has the Label '{label}'; expected 0 or 1")
        if labels.setdefault(image, label) != label:
            raise UserError(f"{path / TABLE}: image {image} has two labels; keep one row")
    if not labels:
        raise UserError(f"{path / TABLE} has no row such as ID_12cadc6af_any; download it again")
    return labels


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _authors(path: Path, salt: str) -> tuple[dict[str, tuple[str, str]], dict[str, dict[int, str]]]:
    """Hash and key of the patient, and parts, by image."""
    rows, parts = read_list(path, _FOLDS, ["dir", "pid"])
    stems = pd.Series([PurePosixPath(name).stem for name in rows["dir"]])
    pairs = zip(stems, rows["pid"], strict=True)
    patients = {stem: hashed_patient(pid, salt, f"image {stem}") for stem, pid in pairs}
    return patients, {PurePosixPath(name).stem: part for name, part in parts.items()}
