"""Who the patient is, in a file's name, and whether one person goes by two spellings, which stops the study.

Spreadsheets drop leading zeros and turn long numbers into `2.02401E+11`; two people who type one list write
`P001` and `p 001`. Images of one person under two ids would lie in train and in test. Ids are compared in a
plain form and kept as they are; only the user can say whether two spellings are one person.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from radlib.datasets.record import Record
from radlib.errors import UserError, explained, listed

SAME, DIFFERENT = "same", "different"
OPTION = "patient_spellings"
EXPONENT = re.compile(r"\d+([.,]\d+)?[eE]\+\d+")
_FLOAT = re.compile(r"\d+\.0")
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def plain(name: str) -> str:
    """A name without what spreadsheets and typists change: `P 001` and `p1` give `p1`, `007.0` gives `7`.

    NFKC, case folded, without blanks and invisible characters, leading zeros, and a last `.0`.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    seen = "".join(c for c in folded if unicodedata.category(c)[0] not in "ZC")
    return _LEADING_ZEROS.sub("", seen.removesuffix(".0") if _FLOAT.fullmatch(seen) else seen)


def patient_key(patient: str, where: str) -> str:
    """`plain` of a patient's id; UserError for exponent notation, which has lost the digits that matter."""
    if EXPONENT.fullmatch(patient.strip()):
        raise UserError(
            f"{where}: the patient '{patient}' is a number that a spreadsheet has shortened, and stands for "
            "many people; format the column as text, fill in the ids again, and save it anew"
        )
    return plain(patient)


def checked(records: list[Record], spellings: str | None = None) -> list[Record]:
    """The records, with one id for each patient.

    Args:
        spellings: the option `patient_spellings`, see `one_spelling`.
    Raises:
        UserError: one patient for all images, or ids that spreadsheets or typists have changed.
    """
    named = [record for record in records if record.patient_id is not None]
    patients, keys = [record.patient_id for record in named], {}
    for patient, record in zip(patients, named, strict=True):
        if patient not in keys:
            keys[patient] = record.patient_key or patient_key(patient, f"image {record.image_id}")
    if len(named) == len(records) > 1 and len(keys) == 1:
        raise UserError(
            f"all images are of one patient, '{patients[0]}', so they cannot be split; correct the column or "
            "the expression that names the patient"
        )
    check_floats(keys, check_option(spellings))
    spelt = one_spelling(patients, [keys[p] for p in patients], [r.image_id for r in named], spellings)
    new = {patient: one for patient, one in zip(patients, spelt, strict=True) if one != patient}
    return [replace(r, patient_id=new[r.patient_id]) if r.patient_id in new else r for r in records]


def one_spelling(
    patients: Sequence[str], keys: Sequence[str], places: Sequence[str], spellings: str | None = None
) -> list[str]:
    """The patients, where two ids with one key are one person or are said to be two.

    Args:
        patients: id of each image. keys: their plain form, or a hash of it. places: where each id stands.
        spellings: "same" (ids of one key become the first of them), "different" (all stay), or None.
    Raises:
        UserError: two ids of one key where `spellings` is None; both are named with their places.
    """
    spelt: dict[str, dict[str, str]] = {}
    for patient, key, place in zip(patients, keys, places, strict=True):
        spelt.setdefault(key, {}).setdefault(patient, place)
    several = [found for found in spelt.values() if len(found) > 1]
    if not several or spellings == DIFFERENT:
        return list(patients)
    if spellings == SAME:
        return [min(spelt[key]) for key in keys]
    names = [" and ".join(f"{_shown(one)} ({place})" for one, place in found.items()) for found in several]
    raise UserError(
        f"one patient id is spelt in two ways: {listed(names, most=3, between='; ')}; write it in one way, "
        f"or say by the option '{OPTION}' whether such ids are one person ({SAME}) or not ({DIFFERENT})"
    )


def check_floats(patients: Collection[str], spellings: str | None) -> None:
    """UserError where some ids became numbers with a decimal (`1.0` for 001 or P001) and others did not.

    `spellings` of "same" tells of 1 and `1.0` that they are one person, but not of P001.
    """
    floats = list(filter(_FLOAT.fullmatch, patients))
    others = [patient for patient in patients if not _FLOAT.fullmatch(patient)]
    told = spellings == DIFFERENT or (spellings == SAME and all(other.isdecimal() for other in others))
    if floats and others and not told:
        raise UserError(
            f"some patients are numbers with a decimal ({listed(floats, most=3)}) and others are not "
            f"({listed(others, most=3)}): a program has changed ids, and one person may have two; format the "
            f"column as text and fill in the ids again ('{OPTION}: {DIFFERENT}' says that all are right)"
        )


def check_option(spellings: str | None) -> str | None:
    """The option `patient_spellings`; UserError where it is neither of its two values."""
    if spellings not in (None, SAME, DIFFERENT):
        raise UserError(f"option '{OPTION}' is '{spellings}'; allowed: {SAME}, {DIFFERENT}")
    return spellings


def patient_pattern(patient: str) -> re.Pattern:
    """The option `patient`: a regular expression whose first group is the patient."""
    with explained(re.error, f"option 'patient', {patient}, is not a regular expression", "correct it"):
        pattern = re.compile(patient)
    if pattern.groups < 1:
        raise UserError(f"option 'patient' needs a group in brackets that holds the patient: {patient}")
    return pattern


def patient_in(name: str, pattern: re.Pattern) -> str:
    """The patient in a file's name, or in its path below the data set where the expression holds a `/`."""
    found = pattern.search(name if in_path(pattern) else PurePosixPath(name).name)
    if not found or not found.group(1):
        raise UserError(f"option 'patient' ({pattern.pattern}) finds no patient in {name}; correct it")
    return found.group(1)


def in_path(pattern: re.Pattern) -> bool:
    """Whether the expression is searched in the path, `healthy/P017/left.png`, not in the file's name."""
    return "/" in pattern.pattern


def _shown(name: str) -> str:
    """In quotes; what cannot be seen or told apart on a screen is written as its code."""
    seen = name.isprintable() and unicodedata.normalize("NFKC", name) == name
    return repr(name) if seen else ascii(name)
