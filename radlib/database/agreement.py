"""Several readers of one picture: how far they agree, and which label counts.

The label that most readers gave counts. Where two labels have equally many, the adjudicator's finding
decides; without one the picture is left out and counted.
"""

import numpy as np
import pandas as pd

from radlib.seeds import seed_of
from radlib.stats.kappa import UNREAD, Agreement, agreement

ONE, ALL, MOST = "one reader", "all readers agree", "most readers agree"
ADJUDICATED, TIE = "adjudicator decided", "readers disagree, no adjudicator"
COLUMNS = [
    "modality", "region", "method", "images", "patients", "readers", "observed", "kappa", "ci_low", "ci_high",
    "standard_error",
]  # fmt: skip
_IMAGE = ["picture", "frame"]


def agreement_table(
    readings: pd.DataFrame, resamples: int, seed: int, confidence: float = 0.95
) -> pd.DataFrame:
    """Kappa of every region in which pictures were read twice (see `radlib.stats.kappa.Agreement`).

    Args:
        readings: picture, frame, reader, modality, region, label and patient of each reading.
    """
    rows = []
    for (modality, region), some in readings.groupby(["modality", "region"]):
        found = _agreement(some, resamples, seed_of(seed, "kappa", modality, region), confidence)
        if found is not None:
            rows.append({"modality": modality, "region": region, **vars(found)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _agreement(some: pd.DataFrame, resamples: int, seed: int, confidence: float) -> Agreement | None:
    image, images = pd.factorize(pd.MultiIndex.from_frame(some[_IMAGE]))
    if len(images) == len(some):
        return None
    reader, readers = pd.factorize(some["reader"], sort=True)
    ratings = np.full((len(images), len(readers)), UNREAD)
    ratings[image, reader] = pd.factorize(some["label"], sort=True)[0]
    patients = np.empty(len(images), dtype=object)
    patients[image] = some["patient"].to_numpy()
    return agreement(ratings, patients.astype(str), resamples, seed, confidence)


def decide(readings: pd.DataFrame) -> pd.DataFrame:
    """One row per picture and frame: its label, and how it came about.

    Args:
        readings: as for `agreement_table`, and `adjudicated`, the adjudicator's label or "".
    Returns:
        picture, frame, modality, region, patient, label ("" where readers disagree) and decision.
    """
    votes = readings.groupby([*_IMAGE, "label"], as_index=False).size()
    of_image = votes.groupby(_IMAGE)["size"]
    for name, how in (("readers", "sum"), ("most", "max"), ("labels", "size")):
        votes[name] = of_image.transform(how)
    votes = votes[votes["size"] == votes["most"]].copy()
    tied = votes.duplicated(_IMAGE, keep=False)
    votes["decision"] = np.select([tied, votes["readers"] == 1, votes["labels"] == 1], [TIE, ONE, ALL], MOST)
    images = readings.drop_duplicates(_IMAGE).drop(columns=["reader", "label"])
    images = images.merge(votes.drop_duplicates(_IMAGE)[[*_IMAGE, "label", "decision"]], on=_IMAGE)
    judged = (images["decision"] == TIE) & (images["adjudicated"] != "")
    images.loc[images["decision"] == TIE, "label"] = images["adjudicated"]
    images.loc[judged, "decision"] = ADJUDICATED
    return images.drop(columns="adjudicated")


def simulated_readings(patients: int, kappa: float, images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two readers of two labels whose kappa is known: half of the patients are easy, in the others both err.

    Both labels are equally frequent, so that chance agrees in half of the images. On a hard patient's image a
    reader errs with probability e; kappa is the mean of (1 - 2 e)^2 over patients.

    Args:
        kappa: the truth, 0.5 to 1. images: of each patient.
    Returns:
        ratings (patients * images, 2) int, and the patient of each row.
    """
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), images)
    hard = (1 - np.sqrt(2 * kappa - 1)) / 2
    errs = rng.random((len(patient), 2)) < np.where(patient % 2, hard, 0.0)[:, np.newaxis]
    return rng.integers(0, 2, patients)[patient][:, np.newaxis] ^ errs, patient
