"""A folder of DICOM exams by its headers: which of the annotated pictures are there, whose, and of what.

Every file is opened up to its pixels, whatever it is called. What is no DICOM file, holds no picture (a
report, a directory, a treatment plan) or is not annotated is counted and passed over; a damaged header stops.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from radlib.datasets.dicom import hashed_patient, named_faults, read_header
from radlib.datasets.files import list_all
from radlib.datasets.grey import ELEMENTS, units_rule
from radlib.datasets.patients import one_spelling
from radlib.datasets.record import FileRef
from radlib.errors import UserError, listed
from radlib.progress import on_threads, progress

WORDS = ["BodyPartExamined", "StudyDescription", "SeriesDescription"]
_UIDS = ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]
_TEXTS = [*_UIDS, *WORDS, "PatientID", "Modality", "BurnedInAnnotation", "ImageType", "SOPClassUID"]
_COUNTS = ["Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"]
_AHEAD = 1024
NO_DICOM, NO_PICTURE = "no DICOM file", "a DICOM file without a picture"
NOT_NAMED = "a picture that the csv does not name"
# Kinds of picture that are left out unless they are asked for.
KINDS = {
    "scout": "a scout or localizer",
    "capture": "a screenshot, dose sheet or other secondary capture",
    "burned_in": "text burned into the picture (BurnedInAnnotation is YES)",
}
# A survey of bones or of the body is an examination, and no scout.
_SCOUT = re.compile(r"\b(LOCALI[SZ]ER|SCOUT|TOPOGRAM|(?<!BONE )(?<!SKELETAL )(?<!BODY )SURVEY)\b")
_SCREEN = re.compile(r"\b(SCREEN[ _]?(SAVE|SHOT)|CSA REPORT|DOSE[ _]INFO)\b")
_SECONDARY_CAPTURE = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.7(\.\d)?")


class Picture(NamedTuple):
    """What is kept of one file's header."""

    file: FileRef
    instance: str  # UIDs
    series: str
    study: str
    patient: str  # salted hash; "" where the header names none
    patient_key: str
    modality: str
    words: tuple[str, ...]  # of WORDS
    frames: int
    unfit: str  # why it is left out, or ""
    cleared: bool  # the header says that no text is burned in
    rule: str  # see `units_rule`
    values: int  # pixels x colours


def read_exams(
    folder: Path,
    wanted: set[str],
    salt: str,
    progress: Callable = progress,
    patient_spellings: str | None = None,
    include: Collection[str] = (),
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read all headers below a folder (or in a zip).

    Args:
        wanted: UIDs of pictures, series and studies; other pictures are not kept.
        salt: of the patients' hashes.
        patient_spellings: see `radlib.datasets.patients.one_spelling`.
        include: those of `KINDS` that are taken in.
    Returns:
        A row per picture that is wanted, in the order of the files' names: see `Picture`; and why how many
        other files were passed over.
    """
    if isinstance(include, str) or set(include) - set(KINDS):
        raise UserError(f"include is {include!r}; give a list of these words: {', '.join(KINDS)}")
    by_name, unusable = list_all(folder)
    files = list(by_name.values())
    found = every(lambda file: _picture(file, wanted, salt, include), files, "reading headers", progress)
    pictures = pd.DataFrame([one for one in found if isinstance(one, Picture)], columns=Picture._fields)
    reasons = Counter(one for one in found if isinstance(one, str))
    reasons.update(record.drop for record in unusable)
    if pictures.empty and not reasons[NOT_NAMED]:
        raise UserError(
            f"{folder} holds no DICOM picture among {len(files)} files; name the folder of the exams"
        )
    names = pictures["file"].map(lambda file: file.name)
    twice = pictures["instance"].duplicated(keep=False)
    if twice.any():
        pairs = names[twice].groupby(pictures["instance"][twice], sort=False).agg(" = ".join)
        raise UserError(f"pictures are there twice (one SOPInstanceUID): {listed(pairs)}; delete one of each")
    pictures["patient"] = one_spelling(pictures["patient"], pictures["patient_key"], names, patient_spellings)
    _check_patients(pictures)
    return pictures, dict(sorted(reasons.items()))


def every(function: Callable, items: Sequence, description: str, progress: Callable) -> list:
    """`function` of every item, on all processors; UserError that says what is wrong with all that fail."""

    def tried(item: object) -> object:
        try:
            return function(item)
        except UserError as exc:
            return exc

    done = list(progress(on_threads(tried, items, _AHEAD), total=len(items), description=description))
    faults = [str(one) for one in done if isinstance(one, UserError)]
    if faults:
        raise UserError(listed(faults, most=5, between="; "))
    return done


def _picture(file: FileRef, wanted: set[str], salt: str, include: Collection[str]) -> Picture | str:
    """The row of a picture, or why the file is passed over."""
    header = read_header(file, [*_TEXTS, *_COUNTS, *ELEMENTS])
    if header is None:
        return NO_DICOM
    with named_faults(file.name):
        # pydicom converts an element when it is asked for, and finds the fault then.
        text = {name: str(header.get(name) or "").strip() for name in _TEXTS}
        rows, columns, frames, samples = (int(header.get(name) or 0) for name in _COUNTS)
        groups = len(header.get("PerFrameFunctionalGroupsSequence") or [])
        rules = sorted({units_rule(header, index) for index in range(max(groups, 1))})
    uids = [text[name] for name in _UIDS]
    if not rows or not columns or not uids[0]:
        return NO_PICTURE
    if not wanted.intersection(uids):
        return NOT_NAMED
    patient, key = hashed_patient(text["PatientID"], salt, file.name) if text["PatientID"] else ("", "")
    kinds = [kind for kind in _kinds(text) if kind not in include]
    return Picture(
        file,
        *uids,
        patient,
        key,
        text["Modality"],
        words=tuple(text[name] for name in WORDS),
        frames=max(frames, 1),
        unfit=KINDS[kinds[0]] if kinds else "",
        cleared=text["BurnedInAnnotation"].upper() == "NO",
        rule=" or ".join(rules),
        values=rows * columns * max(samples, 1),
    )


def _kinds(text: dict[str, str]) -> list[str]:
    said = f"{text['ImageType']} {text['SeriesDescription']}".upper().replace("_", " ")
    is_kind = {
        "scout": _SCOUT.search(said),
        "capture": _SECONDARY_CAPTURE.fullmatch(text["SOPClassUID"]) or _SCREEN.search(said),
        "burned_in": text["BurnedInAnnotation"].upper() in ("YES", "Y"),
    }
    return [kind for kind, found in is_kind.items() if found]


def _check_patients(pictures: pd.DataFrame) -> None:
    """A study or series belongs to one patient; else images of one person would go by two hashes."""
    if pictures["study"].nunique() > 1 and pictures["patient"].nunique() == 1 and pictures["patient"].iloc[0]:
        raise UserError(
            f"all {len(pictures)} pictures, of {pictures['study'].nunique()} studies, name one patient "
            "(PatientID); were the ids overwritten? export the exams again, with a pseudonym per patient"
        )
    for level in ("study", "series"):
        patients = pictures[pictures[level] != ""].groupby(level)["patient"].nunique()
        shared = patients.index[patients > 1]
        if len(shared):
            raise UserError(
                f"the headers give one {level} to two patients (PatientID): {listed(shared)}; correct the "
                "ids, or take these files out"
            )
