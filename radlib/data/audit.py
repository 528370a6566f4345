"""What is wrong with a published dataset: copies, copies under two labels, blank images, shared patients.

Two images are *exact copies* when their decoded pixels agree; *near-identical* is defined in
`radlib.data.near`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from radlib.data.fingerprints import Fingerprints
from radlib.data.near import find_near

CONSTANT = "constant image"
COPY = "exact copy"
COPY_TWO_LABELS = "copy with another label"
NEAR_TWO_LABELS = "near-identical to an image with another label"


@dataclass(frozen=True)
class Audit:
    """What the audit decided.

    keep: bool (n,). patients: str (n,), the patient, or the first of those that share near-identical images.
    dropped: image_id and reason. report: counts and names, as `audit.json` holds them.
    """

    keep: np.ndarray
    patients: np.ndarray
    dropped: pd.DataFrame
    report: dict[str, Any]


def audit(table: pd.DataFrame, prints: Fingerprints, near_bits: int, certain: bool = True) -> Audit:
    """Decide which images are dropped and which belong to one patient or group.

    Dropped are constant images, all exact copies of a picture that has two labels, and all but the first of
    exact copies with one label. Near-identical images with two labels are dropped too, unless the publisher
    says that they are of one patient, whose neighbouring slices may truly differ. Patients that share a
    picture exactly become one group, so that no split can part them; so do unknown patients, and those of
    whom it is not certain that their names are of people, where images are nearly identical.

    Args:
        table: image_id, patient_id (None where unknown: then an image is its own patient), class_name, and
            drop, why a picture was not read ("" if it was), where there may be such.
        prints: of the same rows. near_bits: hashes that differ in at most so many bits are near-identical.
        certain: every patient_id given is of one person, not of a document or a file.
    """
    names, classes = table["image_id"].to_numpy(dtype=object), pd.factorize(table["class_name"])[0]
    known = table["patient_id"].notna().to_numpy()
    patients = np.where(known, table["patient_id"].to_numpy(dtype=object), names)
    reasons = np.full(len(table), "", dtype=object)
    reasons[prints.constant] = CONSTANT
    if "drop" in table:
        reasons = np.where(table["drop"] == "", reasons, table["drop"])
    copies = _copies(prints, reasons)
    contradicting_copies = _drop_copies(reasons, copies, classes)
    codes = np.where(known, pd.factorize(patients)[0], -1)
    near = find_near(prints, np.flatnonzero(reasons == ""), classes, codes, near_bits, certain)
    reasons[near.contradicting] = NEAR_TWO_LABELS
    linked = np.concatenate([near.links, *(_chain(rows) for rows in copies)])
    groups = _join(patients, linked)
    keep = reasons == ""
    report = {
        **_counts(reasons, classes, patients, groups),
        "patients_published": bool(known.all()) and certain,
        "patients_guessed": bool(known.all()) and not certain,
        "near_identical_pairs": near.pairs,
        "near_identical_between_patients": near.between,
        "two_labels_exact": [sorted(names[rows]) for rows in contradicting_copies],
        "two_labels_near": [sorted(names[pair]) for pair in near.named],
    }
    dropped = pd.DataFrame({"image_id": names[~keep], "reason": reasons[~keep]})
    return Audit(keep, groups, dropped, report)


def _copies(prints: Fingerprints, reasons: np.ndarray) -> list[np.ndarray]:
    """Rows of every picture that occurs more than once; constant images are none."""
    rows = np.flatnonzero(reasons == "")
    _, picture, times = np.unique(prints.pixels[rows], return_inverse=True, return_counts=True)
    several = np.flatnonzero(times[picture] > 1)
    order = several[np.argsort(picture[several], kind="stable")]
    return np.split(rows[order], np.cumsum(times[times > 1])[:-1]) if len(order) else []


def _drop_copies(reasons: np.ndarray, copies: list[np.ndarray], classes: np.ndarray) -> list[np.ndarray]:
    """Note the reasons; returns the copies that have two labels."""
    contradicting = []
    for rows in copies:
        if len(set(classes[rows])) > 1:
            reasons[rows] = COPY_TWO_LABELS
            contradicting.append(rows)
        else:
            reasons[rows[1:]] = COPY
    return contradicting


def _chain(rows: np.ndarray) -> np.ndarray:
    return np.column_stack([rows[:-1], rows[1:]])


def _join(patients: np.ndarray, linked: np.ndarray) -> np.ndarray:
    """Give patients that are linked, directly or through others, the name of the first of them."""
    codes, unique = pd.factorize(patients, sort=True)
    links = (np.ones(len(linked)), (codes[linked[:, 0]], codes[linked[:, 1]]))
    _, component = connected_components(coo_array(links, shape=(len(unique),) * 2), directed=False)
    first_of = pd.Series(np.arange(len(unique))).groupby(component).min()
    return np.asarray(unique, dtype=object)[first_of.to_numpy()[component[codes]]]


def _counts(reasons, classes, patients, groups) -> dict[str, Any]:
    keep = reasons == ""
    # Numbers, because texts of a million images would be copied with every step.
    numbered = {"patient": pd.factorize(patients)[0], "group": pd.factorize(groups)[0]}
    kept = pd.DataFrame({**numbered, "class_name": classes})[keep]
    per_group = kept.groupby("group")
    return {
        "decoded": len(reasons),
        "kept": int(keep.sum()),
        "constant": int((reasons == CONSTANT).sum()),
        "exact_copies": int((reasons == COPY).sum()),
        "dropped_two_labels_exact": int((reasons == COPY_TWO_LABELS).sum()),
        "dropped_two_labels_near": int((reasons == NEAR_TWO_LABELS).sum()),
        "patients_before_joining": int(kept["patient"].nunique()),
        "patients": int(kept["group"].nunique()),
        "groups_of_several": int((per_group["patient"].nunique() > 1).sum()),
        "largest_group": int(per_group["patient"].nunique().max()) if len(kept) else 0,
        "patients_in_two_classes": int((per_group["class_name"].nunique() > 1).sum()),
    }
