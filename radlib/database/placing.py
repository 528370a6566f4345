"""Where each reading belongs, by the csv or else by the header, and which label of an image counts.

The label that most readers gave counts. Where two labels have equally many, the adjudicator's finding
decides; without one the picture is left out and counted.
"""

from functools import cache

import numpy as np
import pandas as pd

from radlib.database.annotations import IMAGE
from radlib.database.taxonomy import Taxonomy
from radlib.datasets.grey import NO_UNITS
from radlib.errors import UserError, listed

OTHER_MODALITY = "a modality that the taxonomy does not have"
NO_HOUNSFIELD = "CT without rescale slope and intercept: its values are no Hounsfield units"
NO_LABEL = "no label: all its readers name a finding of no_label"
ONE, ALL, MOST = "one reader", "all readers agree", "most readers agree"
ADJUDICATED, TIE = "adjudicator decided", "readers disagree, no adjudicator"
_SAID = ("modality", "region", "adjudicator")


def place(readings: pd.DataFrame, taxonomy: Taxonomy) -> tuple[pd.DataFrame, dict[str, int], int]:
    """Give every reading its modality, region and label.

    Args:
        readings: see `radlib.database.annotations.readings_of`.
    Returns:
        The readings that count, with modality, region, label and adjudicated (a label or ""); reason ->
        number of annotated images that have no place; and the number of readings of no_label.
    Raises:
        UserError: rows of one picture that contradict each other, a picture without a patient, a modality or
            region of the csv that the taxonomy lacks, a region that nobody tells, or findings that are no
            label there.
    """
    readings = _with_modality(_one_place(readings), taxonomy)
    fit = _with_region(readings[readings["unfit"] == ""], taxonomy)
    unfit = pd.concat([readings[readings["unfit"] != ""], fit[fit["unfit"] != ""]])
    labelled = _with_label(fit[fit["unfit"] == ""], taxonomy)
    read = labelled[labelled["label"] != ""].reset_index(drop=True)
    left_out = unfit.drop_duplicates(IMAGE)["unfit"].value_counts().to_dict()
    left_out[NO_LABEL] = len(labelled.drop_duplicates(IMAGE)) - len(read.drop_duplicates(IMAGE))
    return read, left_out, len(labelled) - len(read)


def _one_place(readings: pd.DataFrame) -> pd.DataFrame:
    """What one row of a picture says of its place holds for all; they must not say two things."""
    said = readings.assign(**{name: readings[name].mask(readings[name] == "") for name in _SAID})
    images = said.groupby(IMAGE)
    for column in _SAID:
        twice = images[column].transform("nunique") > 1
        if twice.any():
            names = readings.loc[twice, "instance"].unique()
            raise UserError(f"rows of one picture name two values of {column}: {listed(names)}; keep one")
    return readings.assign(**{column: images[column].transform("first").fillna("") for column in _SAID})


def _with_modality(readings: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    known = list(taxonomy.modalities)
    wrong = sorted(set(readings["modality"]) - {"", *known})
    if wrong:
        raise UserError(f"the csv names the modality {listed(wrong)}; the taxonomy has: {', '.join(known)}")
    modality = readings["modality"].where(readings["modality"] != "", readings["header_modality"])
    other = (readings["unfit"] == "") & ~modality.isin(known)
    return readings.assign(modality=modality, unfit=readings["unfit"].mask(other, OTHER_MODALITY))


def _with_region(readings: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    nobody = readings[readings["patient"] == ""].drop_duplicates("picture")
    if len(nobody):
        raise UserError(
            f"{len(nobody)} annotated pictures name no patient (PatientID): "
            f"{listed(file.name for file in nobody['file'])}; images of one patient could be parted: delete "
            "their rows, or fill the element in"
        )
    named = readings[readings["region"] != ""]
    pairs = dict.fromkeys(zip(named["modality"], named["region"], strict=True))
    wrong = ["/".join(pair) for pair in pairs if not taxonomy.has(*pair)]
    if wrong:
        raise UserError(f"the csv names the region {listed(wrong)}, which the taxonomy lacks; add it there")
    tell, keys = cache(taxonomy.region_of), ["modality", "words", "region"]
    regions = [region or tell(code, words) for code, words, region in readings[keys].itertuples(index=False)]
    readings = readings.assign(region=pd.Series(regions, readings.index, dtype=object))
    untold = readings[readings["region"].isna()].drop_duplicates("picture")
    if len(untold):
        headers = zip(untold["modality"], untold["words"], strict=True)
        words = sorted({f"{modality}: {' | '.join(words)}" for modality, words in headers})
        raise UserError(
            f"neither the csv nor the header tells the region of {len(untold)} annotated pictures; headers "
            f"say {listed(words, most=10, between='; ')}; add a word to the taxonomy, or a column region to "
            "the csv"
        )
    windows = map(taxonomy.window_of, readings["modality"], readings["region"])
    in_units = np.array([isinstance(window, tuple) for window in windows], dtype=bool)
    lacking = in_units & (readings["modality"] == "CT") & readings["rule"].str.startswith(NO_UNITS)
    return readings.assign(unfit=readings["unfit"].mask(lacking, NO_HOUNSFIELD))


def _with_label(readings: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """Adds label and adjudicated, "" where the finding is one of no_label."""
    unknown = {}
    for column, label in (("finding", "label"), ("adjudicator", "adjudicated")):
        findings = list(zip(readings["modality"], readings["region"], readings[column], strict=True))
        labels = [taxonomy.label_of(*one) for one in findings]
        unknown |= {one: None for one, label in zip(findings, labels, strict=True) if label is None}
        readings = readings.assign(**{label: labels})
    if unknown:
        names = [f"'{finding}' ({modality}/{region})" for modality, region, finding in unknown]
        raise UserError(
            f"the taxonomy has no label for the finding {listed(names, most=30)}; add it to a label there, "
            "or to no_label, which leaves its readings out"
        )
    return readings


def decide(readings: pd.DataFrame) -> pd.DataFrame:
    """One row per picture and frame: its label, and how it came about.

    Args:
        readings: see `place`.
    Returns:
        The columns of `readings`, with label ("" where readers disagree) and decision.
    """
    votes = readings.groupby([*IMAGE, "label"], as_index=False).size()
    of_image = votes.groupby(IMAGE)["size"]
    for name, how in (("readers", "sum"), ("most", "max"), ("labels", "size")):
        votes[name] = of_image.transform(how)
    votes = votes[votes["size"] == votes["most"]].copy()
    tied = votes.duplicated(IMAGE, keep=False)
    votes["decision"] = np.select([tied, votes["readers"] == 1, votes["labels"] == 1], [TIE, ONE, ALL], MOST)
    images = readings.drop_duplicates(IMAGE).drop(columns=["reader", "label"])
    images = images.merge(votes.drop_duplicates(IMAGE)[[*IMAGE, "label", "decision"]], on=IMAGE)
    judged = (images["decision"] == TIE) & (images["adjudicated"] != "")
    images.loc[images["decision"] == TIE, "label"] = images["adjudicated"]
    images.loc[judged, "decision"] = ADJUDICATED
    return images
