"""What 08_validity found, as data."""

import pandas as pd

from radlib.questions.validity.compute import ANY, ENOUGH_PATIENTS, HOLDS, TOLERANCE, smaller_class
from radlib.show.findings import Finding
from radlib.stats.rivals import METHODS
from radlib.study import Study


def validity_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Coverage of the reported interval, of both true values, then of its rivals; few and many patients."""
    plain, trained = table[table["luck"] == 0], table[(table["luck"] > 0) & (table["truth"] == ANY)]
    enough = smaller_class(plain) >= ENOUGH_PATIENTS
    confidence = study.compare.confidence
    subjects = {
        f"Reported interval, {ENOUGH_PATIENTS} patients of each class or more": ("reported", plain[enough]),
        "Reported interval, fewer patients": ("reported", plain[~enough]),
        "Reported interval, of *any training*, where it covers patients alone": ("reported", trained),
        "Interval over patients and trainings, of *any training*": ("both_levels", trained),
    }
    subjects |= {
        title[0].upper() + title[1:]: (method, plain)
        for method, title in METHODS.items() if method not in ("reported", "both_levels")
    }  # fmt: skip
    found = []
    for subject, (method, rows) in subjects.items():
        rows = rows[rows["method"] == method]
        if len(rows):
            found.append(Finding(f"Coverage. {subject}", _verdict(rows, confidence), where="08_validity"))
    return found


def _verdict(rows: pd.DataFrame, confidence: float) -> str:
    """`93.7 % to 96.0 %; in 0 of 18 cells outside 94 % to 96 % by more than the error of simulation`."""
    low, high = rows["coverage"].min(), rows["coverage"].max()
    broken = int((rows["verdict"] != HOLDS).sum())
    band = f"{100 * (confidence - TOLERANCE):g} % to {100 * (confidence + TOLERANCE):g} %"
    error = "by more than the simulation's own error"
    return f"{100 * low:.1f} % to {100 * high:.1f} %; outside {band} {error} in {broken} of {len(rows)} cells"
