"""The csv of radiologists' findings, and the pictures that each row means.

Columns `uid`, `finding` and `reader`, and any of these: `frame` (of a file with several, counted from 0),
`modality` and `region` (go before the header), `adjudicator` (the finding that decides where readers
disagree). `uid` is that of a picture (SOPInstanceUID), a series or a study; the finding of a series or study
holds for all its pictures, except where the same reader has one for the picture or series itself. Without
`frame`, a file with several stands for its middle frame.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from radlib.database.exams import Exams, Picture
from radlib.datasets.authors import read_table
from radlib.datasets.patients import plain
from radlib.errors import UserError, listed

NEEDED = ["uid", "finding", "reader"]
OPTIONAL = ["frame", "modality", "region", "adjudicator"]
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
    table = table.reindex(columns=[*NEEDED, *OPTIONAL], fill_value="")
    table = table.apply(lambda column: column.str.strip())
    for column in NEEDED:
        _refuse(path, table[column] == "", f"no {column}", "fill it in or delete the line")
    wrong = (table["frame"] != "") & ~table["frame"].str.fullmatch(r"[0-9]+")
    _refuse(path, wrong, "a frame that is no whole number", "count frames from 0")
    _check_readers(path, table["reader"].unique())
    return table


def _check_readers(path: Path, readers: Iterable[str]) -> None:
    """One person under two names would agree with itself, and have two votes."""
    spelt: dict[str, list[str]] = defaultdict(list)
    for reader in readers:
        spelt[plain(reader)].append(reader)
    twice = [" = ".join(map(repr, names)) for names in spelt.values() if len(names) > 1]
    if twice:
        raise UserError(
            f"{path} spells one reader in two ways: {listed(twice)}; write each in one way, and give two "
            "people names that differ by more than case, blanks or zeros"
        )


def _refuse(path: Path, wrong: pd.Series, what: str, remedy: str) -> None:
    lines = [number + 2 for number in wrong.index[wrong]]
    if lines:
        raise UserError(f"{path}: line {listed(lines)} has {what}; {remedy}")


def readings_of(annotations: pd.DataFrame, exams: Exams) -> pd.DataFrame:
    """One row per picture, frame and reader, with the row of the csv that counts.

    Returns:
        picture (place in exams.pictures), frame, and the columns of `read_annotations` but uid.
    Raises:
        UserError: a uid that no picture has, a frame that is not there or named for a series or study, or a
            picture that one reader annotated twice.
    """
    places = _places(exams.pictures)
    _check_uids(annotations, places, exams.pictures)
    chosen: dict[tuple[int, int, str], tuple[int, int]] = {}
    twice = []
    lines = zip(annotations["uid"], annotations["reader"], annotations["frame"], strict=True)
    for row, (uid, reader, frame) in enumerate(lines):
        level, members = places[uid]
        for place in members:
            key = (place, int(frame) if frame else exams.pictures[place].frames // 2, reader)
            if key in chosen and chosen[key][0] == level:
                twice.append(f"{uid} by {reader}")
            if key not in chosen or level < chosen[key][0]:
                chosen[key] = (level, row)
    if twice:
        names = listed(dict.fromkeys(twice))
        raise UserError(f"annotated twice by one reader: {names}; keep one row of each")
    keys = sorted(chosen)
    table = annotations.iloc[[chosen[key][1] for key in keys]].drop(columns=["uid", "frame"])
    table.insert(0, "picture", [place for place, *_ in keys])
    table.insert(1, "frame", [frame for _, frame, _ in keys])
    return table.reset_index(drop=True)


def _check_uids(annotations: pd.DataFrame, places: dict, pictures: list[Picture]) -> None:
    absent = [uid for uid in annotations["uid"].unique() if uid not in places]
    if absent:
        raise UserError(
            f"no picture of the folder has the uid {listed(absent)}; add the files, or delete the rows"
        )
    asked = annotations[annotations["frame"] != ""]
    wrong = [
        f"{uid} frame {frame}"
        for uid, frame in zip(asked["uid"], asked["frame"], strict=True)
        if places[uid][0] or int(frame) >= pictures[places[uid][1][0]].frames
    ]
    if wrong:
        raise UserError(
            f"there is no such frame: {listed(wrong)}; name the picture's own uid, and count frames from 0"
        )


def _places(pictures: list[Picture]) -> dict[str, tuple[int, list[int]]]:
    """UID -> its level (0 picture, 1 series, 2 study) and the places of its pictures."""
    levels: list[dict[str, list[int]]] = [defaultdict(list) for _ in _LEVELS]
    for place, picture in enumerate(pictures):
        for members, name in zip(levels, _LEVELS, strict=True):
            members[getattr(picture, name)].append(place)
    found: dict[str, tuple[int, list[int]]] = {}
    for level, members in reversed(list(enumerate(levels))):
        found |= {uid: (level, places) for uid, places in members.items()}
    return found
