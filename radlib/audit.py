"""What is wrong with a published dataset: copies, copies under two labels, blank images, shared patients.

Two images are *exact copies* when their decoded pixels agree. They are *near-identical* when their perceptual
hashes (pHash, 64 bits, by the imagehash package) differ in at most a few bits and their 32 x 32 thumbnails
correlate by at least 0.95: the hash alone confuses images with little texture.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

THUMBNAIL = 32
LEAST_CORRELATION = 0.95
CONSTANT = "constant image"
COPY = "exact copy"
COPY_TWO_LABELS = "copy with another label"
NEAR_TWO_LABELS = "near-identical to an image with another label"
_CHUNK = 512


@dataclass(frozen=True)
class Fingerprint:
    """What is compared of one image; phash: 64 bits, thumbnail: uint8 (32, 32)."""

    pixels_sha256: str
    phash: int
    thumbnail: np.ndarray
    constant: bool


def fingerprint(pixels: np.ndarray) -> Fingerprint:
    """Fingerprint of a decoded image, uint8 (H, W) or (H, W, 3)."""
    digest = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes())
    grey = Image.fromarray(pixels).convert("L")
    thumbnail = np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))
    phash = int.from_bytes(np.packbits(imagehash.phash(grey).hash.ravel()).tobytes(), "big")
    return Fingerprint(digest.hexdigest(), phash, thumbnail, bool((pixels == pixels.flat[0]).all()))


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


def audit(table: pd.DataFrame, prints: list[Fingerprint], near_bits: int) -> Audit:
    """Decide which images are dropped and which belong to one patient or group.

    Dropped are constant images, all exact copies of a picture that has two labels, and all but the first of
    exact copies with one label. Near-identical images with two labels are dropped too, unless the publisher
    says that they are of one patient, whose neighbouring slices may truly differ. Patients that share a
    picture, exactly or nearly, become one group, so that no split can part them.

    Args:
        table: image_id, patient_id (None where unknown: then an image is its own patient) and class_name.
        prints: one per row. near_bits: hashes that differ in at most so many bits are near-identical.
    """
    names, classes = (table[c].to_numpy(dtype=object) for c in ("image_id", "class_name"))
    known = table["patient_id"].notna().to_numpy()
    patients = np.where(known, table["patient_id"].to_numpy(dtype=object), names)
    reasons = np.full(len(table), "", dtype=object)
    reasons[[p.constant for p in prints]] = CONSTANT
    copies = _copies(prints, reasons)
    contradicting_copies = _drop_copies(reasons, copies, classes)
    near = _near_pairs(prints, np.flatnonzero(reasons == ""), near_bits)
    one_patient = known[near].all(axis=1) & (patients[near[:, 0]] == patients[near[:, 1]])
    contradicting = near[(classes[near[:, 0]] != classes[near[:, 1]]) & ~one_patient]
    reasons[contradicting.ravel()] = NEAR_TWO_LABELS
    linked = np.concatenate([near, *(_chain(rows) for rows in copies)])
    groups = _join(patients, linked)
    keep = reasons == ""
    report = {
        **_counts(reasons, known, classes, patients, groups),
        "near_identical_pairs": len(near),
        "two_labels_exact": [sorted(names[rows]) for rows in contradicting_copies],
        "two_labels_near": [sorted(names[pair]) for pair in contradicting],
    }
    dropped = pd.DataFrame({"image_id": names[~keep], "reason": reasons[~keep]})
    return Audit(keep, groups, dropped, report)


def _copies(prints: list[Fingerprint], reasons: np.ndarray) -> list[np.ndarray]:
    """Rows of every picture that occurs more than once; constant images are none."""
    digests = pd.Series([p.pixels_sha256 for p in prints])[reasons == ""]
    return [np.asarray(rows) for rows in digests.groupby(digests).groups.values() if len(rows) > 1]


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


def _near_pairs(prints: list[Fingerprint], rows: np.ndarray, near_bits: int) -> np.ndarray:
    """Pairs of near-identical images, int (pairs, 2), among `rows`."""
    hashes = np.array([prints[i].phash for i in rows], dtype=np.uint64)
    thumbnails = np.array([prints[i].thumbnail for i in rows], dtype=np.float32).reshape(len(rows), -1)
    thumbnails -= thumbnails.mean(axis=1, keepdims=True)
    thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True) + 1e-6
    found = [np.empty((0, 2), dtype=int)]
    for start in range(0, len(rows), _CHUNK):
        bits = np.bitwise_count(hashes[start : start + _CHUNK, None] ^ hashes[None, start:])
        first, second = np.nonzero(bits <= near_bits)
        pairs = np.column_stack([first, second])[first < second] + start
        found.append(pairs[_correlation(thumbnails, pairs) >= LEAST_CORRELATION])
    return rows[np.concatenate(found)]


def _correlation(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Pearson correlation of centred thumbnails of length one, a chunk of pairs at a time."""
    parts = [
        np.einsum("ij,ij->i", thumbnails[some[:, 0]], thumbnails[some[:, 1]])
        for some in np.array_split(pairs, len(pairs) // 10_000 + 1)
    ]
    return np.concatenate(parts)


def _chain(rows: np.ndarray) -> np.ndarray:
    return np.column_stack([rows[:-1], rows[1:]])


def _join(patients: np.ndarray, linked: np.ndarray) -> np.ndarray:
    """Give patients that are linked, directly or through others, the name of the first of them."""
    codes, unique = pd.factorize(patients, sort=True)
    links = (np.ones(len(linked)), (codes[linked[:, 0]], codes[linked[:, 1]]))
    _, component = connected_components(coo_array(links, shape=(len(unique),) * 2), directed=False)
    first_of = pd.Series(np.arange(len(unique))).groupby(component).min()
    return np.asarray(unique, dtype=object)[first_of.to_numpy()[component[codes]]]


def _counts(reasons, known, classes, patients, groups) -> dict[str, Any]:
    keep = reasons == ""
    kept = pd.DataFrame({"patient": patients, "group": groups, "class_name": classes})[keep]
    per_group = kept.groupby("group")
    return {
        "decoded": len(reasons),
        "kept": int(keep.sum()),
        "constant": int((reasons == CONSTANT).sum()),
        "exact_copies": int((reasons == COPY).sum()),
        "dropped_two_labels_exact": int((reasons == COPY_TWO_LABELS).sum()),
        "dropped_two_labels_near": int((reasons == NEAR_TWO_LABELS).sum()),
        "patients_published": bool(known.all()),
        "patients_before_joining": int(kept["patient"].nunique()),
        "patients": int(kept["group"].nunique()),
        "groups_of_several": int((per_group["patient"].nunique() > 1).sum()),
        "largest_group": int(per_group["patient"].nunique().max()) if len(kept) else 0,
        "patients_in_two_classes": int((per_group["class_name"].nunique() > 1).sum()),
    }
