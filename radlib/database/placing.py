"""Where each reading belongs: modality, region and label, by the csv or else by the header."""

from dataclasses import dataclass

import pandas as pd

from radlib.database.exams import Exams, Picture
from radlib.database.taxonomy import Taxonomy
from radlib.errors import UserError, listed

BURNED_IN = "text burned into the picture (BurnedInAnnotation is YES)"
OTHER_MODALITY = "a modality that the taxonomy does not have"
NO_LABEL = "no label: all its readers name a finding of no_label"
IMAGE = ["picture", "frame"]


@dataclass(frozen=True)
class Placed:
    """readings: picture, frame, reader, modality, region, patient, label, adjudicated (label or "").

    left_out: reason -> number of images that were annotated and have no place; unread: readings of no_label.
    """

    readings: pd.DataFrame
    left_out: dict[str, int]
    unread: int


def place(readings: pd.DataFrame, exams: Exams, taxonomy: Taxonomy) -> Placed:
    """Give every reading its modality, region and label.

    Args:
        readings: see `radlib.database.annotations.readings_of`.
    Raises:
        UserError: rows of one picture that contradict each other, a picture without a patient, a modality or
            region of the csv that the taxonomy lacks, a region that nobody tells, or findings that are no
            label there.
    """
    readings = _one_place(readings, exams.pictures)
    burned = readings["picture"].map(lambda place: exams.pictures[place].burned_in == "YES")
    left_out = {BURNED_IN: _images(readings[burned])}
    readings = _with_modality(readings[~burned], exams.pictures, taxonomy)
    left_out[OTHER_MODALITY] = _images(readings[readings["modality"] == ""])
    readings = _with_patient(readings[readings["modality"] != ""], exams.pictures)
    readings = _with_region(readings, exams.pictures, taxonomy)
    labelled = _with_label(readings, taxonomy)
    read = labelled[labelled["label"] != ""].reset_index(drop=True)
    left_out[NO_LABEL] = _images(labelled) - _images(read)
    return Placed(read, {why: count for why, count in left_out.items() if count}, len(labelled) - len(read))


def _images(readings: pd.DataFrame) -> int:
    return len(readings.drop_duplicates(IMAGE))


def _one_place(readings: pd.DataFrame, pictures: list[Picture]) -> pd.DataFrame:
    """What one row of a picture says of its place holds for all; they must not say two things."""
    readings = readings.copy()
    for column in ("modality", "region", "adjudicator"):
        said = readings[readings[column] != ""].drop_duplicates([*IMAGE, column])
        twice = said[said.duplicated(IMAGE)]
        if len(twice):
            names = [pictures[place].instance for place in twice["picture"]]
            raise UserError(f"rows of one picture name two values of {column}: {listed(names)}; keep one")
        known = said.set_index(IMAGE)[column]
        keys = pd.MultiIndex.from_frame(readings[IMAGE])
        readings[column] = known.reindex(keys).fillna("").to_numpy()
    return readings


def _with_modality(readings: pd.DataFrame, pictures: list[Picture], taxonomy: Taxonomy) -> pd.DataFrame:
    known = list(taxonomy.modalities)
    wrong = sorted(set(readings["modality"]) - {"", *known})
    if wrong:
        raise UserError(f"the csv names the modality {listed(wrong)}; the taxonomy has: {', '.join(known)}")
    of_header = readings["picture"].map(lambda place: pictures[place].modality)
    modality = readings["modality"].where(readings["modality"] != "", of_header)
    return readings.assign(modality=modality.where(modality.isin(known), ""))


def _with_patient(readings: pd.DataFrame, pictures: list[Picture]) -> pd.DataFrame:
    readings = readings.assign(patient=readings["picture"].map(lambda place: pictures[place].patient))
    unknown = readings.loc[readings["patient"] == "", "picture"].unique()
    if len(unknown):
        names = [pictures[place].file.name for place in unknown]
        raise UserError(
            f"{len(unknown)} annotated pictures name no patient (PatientID): {listed(names)}; images of one "
            "patient could be parted: delete their rows, or fill the element in"
        )
    return readings


def _with_region(readings: pd.DataFrame, pictures: list[Picture], taxonomy: Taxonomy) -> pd.DataFrame:
    named = readings[readings["region"] != ""].drop_duplicates(["modality", "region"])
    pairs = zip(named["modality"], named["region"], strict=True)
    wrong = [f"{modality}/{region}" for modality, region in pairs if not taxonomy.has(modality, region)]
    if wrong:
        raise UserError(f"the csv names the region {listed(wrong)}, which the taxonomy lacks; add it there")
    told: dict[tuple, str | None] = {}
    regions = []
    for place, modality, region in readings[["picture", "modality", "region"]].itertuples(index=False):
        key = (modality, pictures[place].words)
        if not region and key not in told:
            told[key] = taxonomy.region_of(*key)
        regions.append(region or told[key])
    readings = readings.assign(region=regions)
    untold = readings[readings["region"].isna()].drop_duplicates("picture")
    if len(untold):
        pairs = zip(untold["modality"], untold["picture"], strict=True)
        words = {f"{modality}: {' | '.join(pictures[place].words)}" for modality, place in pairs}
        raise UserError(
            f"neither the csv nor the header tells the region of {len(untold)} annotated pictures; headers "
            f"say {listed(sorted(words), most=10, between='; ')}; add a word to the taxonomy, or a column "
            "region to the csv"
        )
    return readings


def _with_label(readings: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """Adds label and adjudicated, "" where the finding is one of no_label."""
    unknown: dict[str, None] = {}

    def label(modality: str, region: str, finding: str) -> str:
        if not finding or taxonomy.is_no_label(finding):
            return ""
        found = taxonomy.label_of(modality, region, finding)
        if found is None:
            unknown[f"'{finding}' ({modality}/{region})"] = None
        return found or ""

    def labels(column: str) -> list[str]:
        columns = (readings["modality"], readings["region"], readings[column])
        return [label(*one) for one in zip(*columns, strict=True)]

    readings = readings.assign(label=labels("finding"), adjudicated=labels("adjudicator"))
    if unknown:
        raise UserError(
            f"the taxonomy has no label for the finding {listed(unknown, most=30)}; add it to a label there, "
            "or to no_label, which leaves its readings out"
        )
    return readings.drop(columns=["finding", "adjudicator"])
