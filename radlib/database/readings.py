"""The csv of radiologists' findings: which pictures each row means, where they belong, which label counts.

Columns `uid`, `finding` and `reader`, and any of these: `frame` (of a file with several, counted from 0),
`modality` and `region` (go before the header), `adjudicator` (the finding that decides where readers
disagree). `uid` is that of a picture (SOPInstanceUID), a series or a study; the finding of a series or study
holds for all its pictures, except where the same reader has one for the picture or series itself. Without
`frame`, a file with several stands for its middle frame.

The label that most readers gave counts. Where two labels have equally many, the adjudicator's finding
decides; without one the picture is left out and counted.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from radlib.database.taxonomy import Taxonomy
from radlib.datasets.grey import NO_UNITS
from radlib.datasets.lists import read_table
from radlib.datasets.patients import EXPONENT, plain
from radlib.errors import UserError, listed

NEEDED = ["uid", "finding", "reader"]
OPTIONAL = ["frame", "modality", "region", "adjudicator"]
IMAGE = ["picture", "frame"]
OTHER_MODALITY = "a modality that the taxonomy does not have"
NO_HOUNSFIELD = "CT without rescale slope and intercept: its values are no Hounsfield units"
NO_LABEL = "no label: all its readers name a finding of no_label"
ONE, ALL, MOST = "one reader", "all readers agree", "most readers agree"
ADJUDICATED, TIE = "adjudicator decided", "readers disagree, no adjudicator"


def read_annotations(path: Path) -> pd.DataFrame:
    """The csv as text, one row per finding; columns that are not there are empty.

    What is wrong is refused by a UserError that names lines as an editor counts them.
    """
    table, allowed = read_table(path, NEEDED), [*NEEDED, *OPTIONAL]
    unknown = [column for column in table if column not in allowed]
    if unknown:
        raise UserError(f"{path} has the unknown column {listed(unknown)}; allowed: {', '.join(allowed)}")
    if table.empty:
        raise UserError(f"{path} has no row below its columns; write one per finding")
    table = table.reindex(columns=allowed, fill_value="")
    numbered = table["frame"].str.fullmatch(r"[0-9]*")
    for wrong, what, remedy in (
        *((table[column] == "", f"no {column}", "fill it in or delete the line") for column in NEEDED),
        (
            table["uid"].str.fullmatch(EXPONENT),
            "a uid cut by a spreadsheet",
            "format the column as text and fill it in again",
        ),
        (~numbered, "a frame that is no whole number", "count frames from 0"),
    ):
        if wrong.any():
            raise UserError(f"{path}: line {listed(table.index[wrong])} has {what}; {remedy}")
    # One person under two names would agree with itself, and have two votes.
    readers = table["reader"].drop_duplicates()
    spelt = readers.map(repr).groupby(readers.map(plain), sort=False).agg([" = ".join, "size"])
    twice = spelt.loc[spelt["size"] > 1, "join"]
    if len(twice):
        raise UserError(
            f"{path} spells one reader in two ways: {listed(twice)}; write each in one way, and give two "
            "people names that differ by more than case, blanks or zeros"
        )
    return table


def readings_of(annotations: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame:
    """One row per picture, frame and reader, with the row of the csv that counts.

    Args:
        pictures: see `radlib.database.exams.Picture`.
    Returns:
        picture (row of `pictures`), frame, and the columns of both tables; `modality` is the csv's, and
        `header_modality` the picture's.
    """
    pictures = pictures.rename(columns={"modality": "header_modality"}).rename_axis("picture").reset_index()
    matches = [
        annotations.merge(pictures, left_on="uid", right_on=name).assign(level=level)
        for level, name in enumerate(("instance", "series", "study"))
    ]
    found = pd.concat(matches, ignore_index=True)
    absent = annotations.loc[~annotations["uid"].isin(found["uid"]), "uid"].unique()
    if len(absent):
        raise UserError(
            f"no picture of the folder has the uid {listed(absent)}; add the files, or delete the rows"
        )
    named = found["frame"] != ""
    frame = pd.to_numeric(found["frame"].where(named)).fillna(found["frames"] // 2).astype(int)
    wrong = named & ((found["level"] > 0) | (frame >= found["frames"]))
    if wrong.any():
        names = (found["uid"] + " frame " + found["frame"])[wrong].unique()
        raise UserError(
            f"there is no such frame: {listed(names)}; name the picture's own uid, and count frames from 0"
        )
    found = found.assign(frame=frame).sort_values([*IMAGE, "reader", "level"], kind="stable")
    twice = found[found.duplicated([*IMAGE, "reader", "level"])]
    if len(twice):
        names = (twice["uid"] + " by " + twice["reader"]).unique()
        raise UserError(f"annotated twice by one reader: {listed(names)}; keep one row of each")
    closest = found.groupby(["picture", "reader"])["level"].transform("min")
    return found[found["level"] == closest].reset_index(drop=True)


def place(readings: pd.DataFrame, taxonomy: Taxonomy) -> tuple[pd.DataFrame, dict[str, int], int]:
    """Give every reading its modality, region and label.

    Args:
        readings: see `readings_of`.
    Returns:
        The readings that count, with modality, region, label and adjudicated (a label or ""); reason ->
        number of annotated images that have no place; and the number of readings of no_label.
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
    readings = readings.copy()
    for column in ("modality", "region", "adjudicator"):
        said = readings[column].where(readings[column] != "").groupby([readings[key] for key in IMAGE])
        twice = said.transform("nunique") > 1
        if twice.any():
            names = readings.loc[twice, "instance"].unique()
            raise UserError(f"rows of one picture name two values of {column}: {listed(names)}; keep one")
        readings[column] = said.transform("first").fillna("")
    return readings


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
    places = readings[["modality", "region"]].drop_duplicates().itertuples(index=False, name=None)
    wrong = ["/".join(place) for place in places if place[1] and place not in taxonomy.regions]
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
    unknown = []
    for column, label in (("finding", "label"), ("adjudicator", "adjudicated")):
        findings = list(zip(readings["modality"], readings["region"], readings[column], strict=True))
        labels = [taxonomy.label_of(*one) for one in findings]
        unknown += [one for one, label in zip(findings, labels, strict=True) if label is None]
        readings = readings.assign(**{label: labels})
    if unknown:
        names = [f"'{finding}' ({code}/{region})" for code, region, finding in dict.fromkeys(unknown)]
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
    readers, most, labels = (of_image.transform(how) for how in ("sum", "max", "size"))
    tied = votes["size"].eq(most).groupby([votes[key] for key in IMAGE]).transform("sum") > 1
    votes["decision"] = np.select([tied, readers == 1, labels == 1], [TIE, ONE, ALL], MOST)
    votes = votes[votes["size"] == most].drop_duplicates(IMAGE)
    images = readings.drop_duplicates(IMAGE).drop(columns=["reader", "label"])
    images = images.merge(votes[[*IMAGE, "label", "decision"]], on=IMAGE)
    tie, judged = images["decision"] == TIE, images["adjudicated"] != ""
    images["label"] = images["label"].mask(tie, images["adjudicated"])
    images["decision"] = images["decision"].mask(tie & judged, ADJUDICATED)
    return images
