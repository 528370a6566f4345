"""One person, one spelling: patient ids that agree but for case, blanks and zeros stop the study.

Spreadsheets drop leading zeros and turn long numbers into `2.02401E+11`; two people who type one list write
`P001` and `p 001`. Images of one person under two ids would lie in train and in test. Ids are compared in a
plain form and kept as they are; only the user can say whether two spellings are one person.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace

from radlib.datasets.record import Record
from radlib.errors import UserError, listed

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
    """`plain` of a patient's id.

    Raises:
        UserError: exponent notation, which has lost the digits that told people apart; names `where`.
    """
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
    patients = [record.patient_id for record in named]
    key_of: dict[str, str] = {}
    for record in named:
        if record.patient_id not in key_of:
            key_of[record.patient_id] = _key(record)
    if len(named) == len(records) > 1 and len(set(patients)) == 1:
        raise UserError(
            f"all images are of one patient, '{patients[0]}', so they cannot be split; correct the column or "
            "the expression that names the patient"
        )
    check_floats(key_of, check_option(spellings))
    keys = [key_of[patient] for patient in patients]
    spelt = one_spelling(patients, keys, [record.image_id for record in named], spellings)
    new = {record.image_id: one for record, one in zip(named, spelt, strict=True) if one != record.patient_id}
    return [replace(r, patient_id=new[r.image_id]) if r.image_id in new else r for r in records]


def _key(record: Record) -> str:
    return record.patient_key or patient_key(record.patient_id, f"image {record.image_id}")


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


def check_floats(patients: Iterable[str], spellings: str | None) -> None:
    """UserError where some ids became numbers with a decimal (`1.0` for 001 or P001) and others did not.

    `spellings` of "same" tells of 1 and `1.0` that they are one person, but not of P001.
    """
    floats, others = [], []
    for patient in patients:
        (floats if _FLOAT.fullmatch(patient) else others).append(patient)
    told = spellings == DIFFERENT or (spellings == SAME and all(other.isdecimal() for other in others))
    if floats and others and not told:
        raise UserError(
            f"some patients are numbers with a decimal ({listed(floats, most=3)}) and others are not "
            f"({listed(others, most=3)}): a program has changed ids, and one person may have two; format the "
            f"column as text and fill in the ids again ('{OPTION}: {DIFFERENT}' says that all are right)"
        )


def check_option(spellings: object) -> str | None:
    """The option `patient_spellings`; UserError where it is neither of its two values."""
    if spellings not in (None, SAME, DIFFERENT):
        raise UserError(f"option '{OPTION}' is '{spellings}'; allowed: {SAME}, {DIFFERENT}")
    return spellings


def _shown(name: str) -> str:
    """In quotes; what cannot be seen or told apart on a screen is written as its code."""
    seen = name.isprintable() and unicodedata.normalize("NFKC", name) == name
    return repr(name) if seen else ascii(name)
