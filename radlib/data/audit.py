"""What is wrong with a published dataset: copies, copies under two labels, blank images, shared patients.

Two images are *exact copies* when their decoded pixels agree; *near-identical* is defined in
`radlib.data.near`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radlib.data.near import find_near, first_linked

CONSTANT = "constant image"
COPY = "exact copy"
COPY_TWO_LABELS = "copy with another label"
NEAR_TWO_LABELS = "near-identical to an image with another label"


@dataclass(frozen=True)
class Audit:
    """What the audit decided.

    keep: bool (n,). patients: str (n,), the patient, or the first of those that share near-identical images.
    dropped: image_id and reason. report: counts and names, as `audit.json` holds them;
    `joined` there: name of a patient -> that of the first of the group.
    """

    keep: np.ndarray
    patients: np.ndarray
    dropped: pd.DataFrame
    report: dict[str, Any]


def audit(
    table: pd.DataFrame, facts: np.ndarray, thumbnails: np.ndarray, near_bits: int, certain: bool = True
) -> Audit:
    """Decide which images are dropped and which belong to one patient or group.

    Dropped are constant images, all exact copies of a picture that has two labels, and all but the first of
    exact copies with one label. Near-identical images with two labels are dropped too, unless the publisher
    says that they are of one patient, whose neighbouring slices may truly differ. Patients that share a
    picture exactly become one group, so that no split can part them; so do unknown patients, and those of
    whom it is not certain that their names are of people, where images are nearly identical.

    Args:
        table: image_id, patient_id (None where unknown: then an image is its own patient), class_name, and
            drop, why a picture is not to be used ("" if it is).
        facts: FACTS (n,). thumbnails: uint8 (n, 32, 32).
        near_bits: hashes that differ in at most so many bits are near-identical.
        certain: every patient_id given is of one person, not of a document or a file.
    """
    names, classes = table["image_id"].to_numpy(dtype=object), pd.factorize(table["class_name"])[0]
    known = table["patient_id"].notna().to_numpy()
    patients = np.where(known, table["patient_id"].to_numpy(dtype=object), names)
    reasons = np.where(table["drop"] == "", np.where(facts["constant"], CONSTANT, ""), table["drop"])
    copies = _copies(np.flatnonzero(reasons == ""), facts["pixels"], classes)
    two_labels, again = copies["labels"] > 1, copies["row"] != copies["first"]
    reasons[copies["row"][again]] = COPY
    reasons[copies["row"][two_labels]] = COPY_TWO_LABELS
    # Numbers, because texts of a million images would be copied with every step.
    codes, of_patient = pd.factorize(patients, sort=True)
    left = np.flatnonzero(reasons == "")
    near = find_near(facts, thumbnails, left, classes, np.where(known, codes, -1), near_bits, certain)
    reasons[near.contradicting] = NEAR_TWO_LABELS
    links = codes[np.concatenate([near.links, copies.loc[again, ["first", "row"]]])]
    groups = first_linked(links, len(of_patient))[codes]
    keep, joined = reasons == "", known & (groups != codes)
    report = {
        **_counts(reasons, pd.DataFrame({"patient": codes, "group": groups, "class": classes})[keep]),
        "patients_published": bool(known.all()) and certain,
        "patients_guessed": bool(known.all()) and not certain,
        "joined": dict(zip(of_patient[codes[joined]], of_patient[groups[joined]], strict=True)),
        "near_identical_pairs": near.pairs,
        "near_identical_between_patients": near.between,
        "two_labels_exact": [sorted(names[rows]) for _, rows in copies[two_labels].groupby("picture")["row"]],
        "two_labels_near": [sorted(names[pair]) for pair in near.named],
    }
    dropped = pd.DataFrame({"image_id": names[~keep], "reason": reasons[~keep]})
    return Audit(keep, np.asarray(of_patient, dtype=object)[groups], dropped, report)


def _copies(rows: np.ndarray, pixels: np.ndarray, classes: np.ndarray) -> pd.DataFrame:
    """For every row its picture (a number), the first row with the same, and how many labels that has."""
    picture = np.unique(pixels[rows], return_inverse=True)[1]
    table = pd.DataFrame({"row": rows, "picture": picture, "class": classes[rows]})
    same = table.groupby("picture")
    return table.assign(first=same["row"].transform("first"), labels=same["class"].transform("nunique"))


def _counts(reasons: np.ndarray, kept: pd.DataFrame) -> dict[str, int]:
    per_group = kept.groupby("group").nunique()
    return {
        "decoded": len(reasons),
        "kept": len(kept),
        "constant": int((reasons == CONSTANT).sum()),
        "exact_copies": int((reasons == COPY).sum()),
        "dropped_two_labels_exact": int((reasons == COPY_TWO_LABELS).sum()),
        "dropped_two_labels_near": int((reasons == NEAR_TWO_LABELS).sum()),
        "patients_before_joining": int(kept["patient"].nunique()),
        "patients": len(per_group),
        "groups_of_several": int((per_group["patient"] > 1).sum()),
        "largest_group": int(per_group["patient"].max()) if len(kept) else 0,
        "patients_in_two_classes": int((per_group["class"] > 1).sum()),
    }
