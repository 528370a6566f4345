"""The csv of radiologists' findings, and the pictures that each row means.

Columns `uid`, `finding` and `reader`, and any of these: `frame` (of a file with several, counted from 0),
`modality` and `region` (go before the header), `adjudicator` (the finding that decides where readers
disagree). `uid` is that of a picture (SOPInstanceUID), a series or a study; the finding of a series or study
holds for all its pictures, except where the same reader has one for the picture or series itself. Without
`frame`, a file with several stands for its middle frame.
"""

from pathlib import Path

import pandas as pd

from radlib.datasets.lists import read_table
from radlib.datasets.patients import EXPONENT, plain
from radlib.errors import UserError, listed

NEEDED = ["uid", "finding", "reader"]
OPTIONAL = ["frame", "modality", "region", "adjudicator"]
IMAGE = ["picture", "frame"]
_LEVELS = ("instance", "series", "study")


def read_annotations(path: Path) -> pd.DataFrame:
    """The csv as text, one row per finding; columns that are not there are empty.

    Raises:
        UserError: no such file, no rows, a column that is missing or unknown, an empty cell, a frame that is
            no number, a reader in two spellings; lines are named as an editor counts them.
    """
    table = read_table(path, NEEDED)
    unknown = [column for column in table if column not in (*NEEDED, *OPTIONAL)]
    if unknown:
        raise UserError(
            f"{path} has the unknown column {listed(unknown)}; allowed: {', '.join([*NEEDED, *OPTIONAL])}"
        )
    if table.empty:
        raise UserError(f"{path} has no row below its columns; write one per finding")
    table = table.reindex(columns=[*NEEDED, *OPTIONAL], fill_value="").apply(lambda cells: cells.str.strip())
    for column in NEEDED:
        _refuse(path, table[column] == "", f"no {column}", "fill it in or delete the line")
    shortened = table["uid"].str.fullmatch(EXPONENT)
    _refuse(path, shortened, "a uid cut by a spreadsheet", "format the column as text and fill it in again")
    wrong = (table["frame"] != "") & ~table["frame"].str.fullmatch(r"[0-9]+")
    _refuse(path, wrong, "a frame that is no whole number", "count frames from 0")
    _check_readers(path, table["reader"].drop_duplicates())
    return table


def _check_readers(path: Path, readers: pd.Series) -> None:
    """One person under two names would agree with itself, and have two votes."""
    spelt = readers.map(repr).groupby(readers.map(plain), sort=False).agg([" = ".join, "size"])
    twice = spelt.loc[spelt["size"] > 1, "join"]
    if len(twice):
        raise UserError(
            f"{path} spells one reader in two ways: {listed(twice)}; write each in one way, and give two "
            "people names that differ by more than case, blanks or zeros"
        )


def _refuse(path: Path, wrong: pd.Series, what: str, remedy: str) -> None:
    lines = [number + 2 for number in wrong.index[wrong]]
    if lines:
        raise UserError(f"{path}: line {listed(lines)} has {what}; {remedy}")


def readings_of(annotations: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame:
    """One row per picture, frame and reader, with the row of the csv that counts.

    Args:
        pictures: see `radlib.database.exams.Exams`.
    Returns:
        picture (row of `pictures`), frame, and the columns of both tables; `modality` is the csv's, and
        `header_modality` the picture's.
    Raises:
        UserError: a uid that no picture has, a frame that is not there or named for a series or study, or a
            picture that one reader annotated twice.
    """
    pictures = pictures.rename(columns={"modality": "header_modality"}).rename_axis("picture").reset_index()
    matches = [
        annotations.merge(pictures, left_on="uid", right_on=name).assign(level=level)
        for level, name in enumerate(_LEVELS)
    ]
    found = pd.concat(matches, ignore_index=True)
    absent = annotations.loc[~annotations["uid"].isin(found["uid"]), "uid"].unique()
    if len(absent):
        raise UserError(
            f"no picture of the folder has the uid {listed(absent)}; add the files, or delete the rows"
        )
    middle = found["frames"] // 2
    frame = pd.to_numeric(found["frame"].mask(found["frame"] == "")).fillna(middle).astype(int)
    wrong = (found["frame"] != "") & ((found["level"] > 0) | (frame >= found["frames"]))
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
    return found.drop_duplicates([*IMAGE, "reader"]).reset_index(drop=True)
