"""One person, one spelling: patient ids that agree but for case, blanks and zeros stop the study.

Spreadsheets drop leading zeros and turn long numbers into `2.02401E+11`; two people who type one list write
`P001` and `p 001`. Images of one person under two ids would lie in train and in test. Ids are compared in a
plain form and kept as they are; only the user can say whether two spellings are one person.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from radlib.errors import UserError, listed

SAME, DIFFERENT = "same", "different"
OPTION = "patient_spellings"
_EXPONENT = re.compile(r"\d+([.,]\d+)?[eE]\+\d+")
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
    if _EXPONENT.fullmatch(patient.strip()):
        raise UserError(
            f"{where}: the patient '{patient}' is a number that a spreadsheet has shortened, and stands for "
            "many people; format the column as text, fill in the ids again, and save it anew"
        )
    return plain(patient)


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


def check_floats(patients: Iterable[str]) -> None:
    """UserError where some ids became numbers with a decimal (`1.0` for 001 or P001) and others did not."""
    floats, others = [], []
    for patient in dict.fromkeys(patients):
        (floats if _FLOAT.fullmatch(patient) else others).append(patient)
    if floats and others:
        raise UserError(
            f"some patients are numbers with a decimal ({listed(floats, most=3)}) and others are not "
            f"({listed(others, most=3)}): a program has changed ids, and one person may have two; format the "
            "column as text and fill in the ids again"
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
