"""A folder of DICOM exams by its headers: which of the annotated pictures are there, whose, and of what.

Every file is opened up to its pixels, whatever it is called. What is no DICOM file, holds no picture (a
report, a directory, a treatment plan) or is not annotated is counted and passed over; a damaged header stops.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from radlib.datasets.dicom import hashed_patient, named_faults, read_header
from radlib.datasets.patients import one_spelling
from radlib.datasets.record import FileRef, list_files
from radlib.errors import UserError, listed
from radlib.progress import progress

_WORDS = ["BodyPartExamined", "StudyDescription", "SeriesDescription"]
_UIDS = ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]
_ELEMENTS = [
    *_WORDS, *_UIDS, "PatientID", "Modality", "BurnedInAnnotation", "NumberOfFrames", "Rows", "Columns",
    "SamplesPerPixel",
]  # fmt: skip
_AT_ONCE = 1024
NO_DICOM, NO_PICTURE = "no DICOM file", "a DICOM file without a picture"
NOT_NAMED = "a picture that the csv does not name"


@dataclass(frozen=True, slots=True)
class Picture:
    """One DICOM file with pixels that the csv names.

    instance, series, study: UIDs, as annotations name them. patient: salted hash, "" where the header has no
    id; patient_key: hash of what other spellings of the id have in common. words: BodyPartExamined,
    StudyDescription, SeriesDescription. burned_in: BurnedInAnnotation, "" where not stated. values: rows x
    columns x samples of one frame.
    """

    file: FileRef
    instance: str
    series: str
    study: str
    patient: str
    patient_key: str
    modality: str
    words: tuple[str, ...]
    frames: int
    burned_in: str
    values: int


@dataclass(frozen=True)
class Exams:
    """The pictures, in the order of their files' names; passed_over: reason -> number of other files."""

    pictures: list[Picture]
    passed_over: dict[str, int]


def read_exams(
    folder: Path,
    wanted: Container[str],
    salt: str,
    progress: Callable = progress,
    patient_spellings: str | None = None,
) -> Exams:
    """Read all headers below a folder (or in a zip).

    Args:
        wanted: UIDs of pictures, series and studies; other pictures are not kept.
        salt: of the patients' hashes.
        patient_spellings: see `radlib.datasets.patients.one_spelling`.
    Raises:
        UserError: no such folder, no picture in it, damaged headers, a picture that is there twice, or a UID
            of two patients; the files are named.
    """
    files = list(list_files(folder).values())
    pictures, reasons, damaged = [], Counter(), []
    bar = progress(_headers(files, wanted, salt), total=len(files), description="reading headers")
    for found in bar:
        if isinstance(found, Picture):
            pictures.append(found)
        elif isinstance(found, UserError):
            damaged.append(str(found))
        else:
            reasons[found] += 1
    if damaged:
        raise UserError(listed(damaged, most=5, between="; "))
    if not pictures and not reasons[NOT_NAMED]:
        raise UserError(
            f"{folder} holds no DICOM picture among {len(files)} files; name the folder of the exams"
        )
    _check_instances(pictures)
    spelt = one_spelling(
        [picture.patient for picture in pictures],
        [picture.patient_key for picture in pictures],
        [picture.file.name for picture in pictures],
        patient_spellings,
    )
    pictures = [replace(picture, patient=one) for picture, one in zip(pictures, spelt, strict=True)]
    _check_patients(pictures)
    return Exams(pictures, dict(sorted(reasons.items())))


def _headers(files: list[FileRef], wanted: Container[str], salt: str) -> Iterator[Picture | UserError | str]:
    """Headers are short and disks slow to answer: many are asked for at once."""

    def one(file: FileRef) -> Picture | UserError | str:
        try:
            return _picture(file, wanted, salt)
        except UserError as exc:
            return exc

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(files), _AT_ONCE):
            yield from pool.map(one, files[start : start + _AT_ONCE])


def _picture(file: FileRef, wanted: Container[str], salt: str) -> Picture | str:
    header = read_header(file, _ELEMENTS)
    if header is None:
        return NO_DICOM
    with named_faults(file.name):
        # pydicom converts an element when it is asked for, and finds the fault then.
        text = {name: sys.intern(str(header.get(name) or "").strip()) for name in _ELEMENTS}
        rows, columns, frames, samples = (
            int(header.get(name) or 0) for name in ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel")
        )
    if not rows or not columns or not text["SOPInstanceUID"]:
        return NO_PICTURE
    uids = [text[name] for name in _UIDS]
    if not any(uid in wanted for uid in uids):
        return NOT_NAMED
    named = text["PatientID"]
    patient, key = hashed_patient(named, salt, file.name) if named else ("", "")
    return Picture(
        file,
        *uids,
        patient=patient,
        patient_key=key,
        modality=text["Modality"],
        words=tuple(text[name] for name in _WORDS),
        frames=max(frames, 1),
        burned_in=text["BurnedInAnnotation"].upper(),
        values=rows * columns * max(samples, 1),
    )


def _check_instances(pictures: list[Picture]) -> None:
    seen: dict[str, Picture] = {}
    twice = []
    for picture in pictures:
        first = seen.setdefault(picture.instance, picture)
        if first is not picture:
            twice.append(f"{first.file.name} = {picture.file.name}")
    if twice:
        raise UserError(f"pictures are there twice (one SOPInstanceUID): {listed(twice)}; delete one of each")


def _check_patients(pictures: list[Picture]) -> None:
    """A study or series belongs to one patient; else images of one person would go by two hashes."""
    for level in ("study", "series"):
        patients: dict[str, set[str]] = defaultdict(set)
        for picture in pictures:
            patients[getattr(picture, level)].add(picture.patient)
        shared = [uid for uid, of in patients.items() if uid and len(of) > 1]
        if shared:
            raise UserError(
                f"the headers give one {level} to two patients (PatientID): {listed(shared)}; correct the "
                "ids, or take these files out"
            )
