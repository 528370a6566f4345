"""Tables as published: lists of images, and the authors' own split files, one csv per fold and part."""

import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from radlib.datasets.record import FileRef, PixelsRef, Record
from radlib.errors import UserError, explained

PARTS = ("train", "validation", "test")
NOT_LISTED = "not in the authors' split files"
Parts = dict[str, dict[int, str]]  # image name -> fold (from 0) -> part
Folds = Literal["own", "authors"]  # the option: split by the study's rule, or as the published split files do


def split_files(pattern: str) -> dict[str, str]:
    """Part -> its file, as the authors call them: `{part}` becomes train, val or test."""
    return {part: pattern.replace("{part}", "val" if part == "validation" else part) for part in PARTS}


def read_table(path: Path, columns: list[str], filled: Iterable[str] = ()) -> pd.DataFrame:
    """The cells of a csv (see `read_cells`) below their header, with the columns that are needed.

    Args:
        filled: columns in which no cell may be empty, where the table has them.
    Raises:
        UserError: no such file, not a table, or a column that is missing, there twice, or not filled.
    """
    cells = read_cells(path, columns)
    header = cells.iloc[0].tolist()
    for column in columns:
        if header.count(column) != 1:
            how = "two columns" if column in header else "no column"
            raise UserError(
                f"{path} has {how} '{column}'; it has: {', '.join(map(repr, header))}; correct its first "
                "line or the option"
            )
    table = cells.iloc[1:].set_axis(header, axis=1)
    for column in (name for name in filled if name in table):
        empty = table.index[table[column] == ""]
        if len(empty):
            raise UserError(
                f"{path}: line {empty[0]} has no '{column}'; fill it in or delete the row, or patients "
                "may be split"
            )
    return table


def read_cells(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Every cell of a csv as text (leading zeros and the word None survive), without blanks around it.

    The index is the line of the file; empty lines are left out. The first line is among them, and says how
    many cells a line has. Commas, semicolons or tabs part the cells: whichever shows most of `columns`, which
    are names in the first line, if it is a header.
    """
    if not path.exists():
        raise UserError(f"no table {path}; download it with the images or correct the option")
    with explained(OSError, f"{path} cannot be read", "put a whole copy in its place"):
        data = path.read_bytes()
    with explained(UnicodeDecodeError, f"{path} is not in UTF-8", "save it as CSV UTF-8"):
        text = data.decode("utf-8-sig")
    if "\0" in text:
        raise UserError(f"{path} holds NUL bytes, so it is damaged or no csv; save it again as CSV UTF-8")
    if text.startswith("sep="):
        raise UserError(f"{path} begins with a line 'sep=', which is for Excel alone; delete that line")
    filled = text.lstrip("\r\n")
    blank = len(text[: len(text) - len(filled)].splitlines())
    lines = io.StringIO(filled, newline=None)
    separator = _separator(lines.readline(), columns)
    lines.seek(0)
    try:
        cells = pd.read_csv(
            lines,
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            skip_blank_lines=False,
        )
    except ValueError as exc:
        reason = str(exc).strip().removeprefix("Error tokenizing data. C error: ")
        raise UserError(
            f"{path} cannot be read as csv ({reason}); mend that line: the first line is the header, and "
            f"no other has more cells (a '{separator}' at its end makes one, or one in text without quotes)"
        ) from exc
    for place, column in enumerate(cells if '"' in text else ()):
        for cell in cells.loc[cells[column].str.contains("\n", na=False), column]:
            # Two quotes that nobody closed make one cell of all rows between them.
            if any(line.count(separator) >= place for line in cell.split("\n")[1:]):
                raise UserError(
                    f"{path}: a cell that begins {cell[:30]!r} goes on in the next line, which may be a row "
                    "of its own; close the quote before it, or take the line breaks out of the cell"
                )
    cells = cells.fillna("").apply(lambda column: column.str.strip())
    cells.index += blank + 1
    cells = cells[(cells != "").any(axis=1)]
    if cells.empty:
        raise UserError(f"{path} has no line with a cell that is filled; save it again as CSV UTF-8")
    return cells


def _separator(header: str, columns: Sequence[str]) -> str:
    """What parts the cells of a header: the first of these that shows most of the columns."""
    cells = {separator: [cell.strip(' "\n') for cell in header.split(separator)] for separator in ",;\t"}
    return max(cells, key=lambda separator: len(set(columns).intersection(cells[separator])))


@dataclass(frozen=True)
class Listing:
    """The images of the authors' split files, each once; cells are text. where: the files, for messages."""

    rows: pd.DataFrame
    names: list[str]
    where: Path
    parts: Parts

    def records(
        self,
        images: Sequence[FileRef | PixelsRef],
        classes: dict[str, str],
        patients: Iterable[str | None],
    ) -> list[Record]:
        """A record per row; UserError for a `label` that `classes` lacks."""
        records = []
        for name, image, label, patient in zip(self.names, images, self.rows["label"], patients, strict=True):
            class_name = class_of(label, classes, f"{self.where}: image {name}")
            records.append(Record(name, patient, class_name, image, parts=self.parts[name]))
        return records


def read_list(
    root: Path,
    files: dict[str, str],
    columns: list[str],
    filled: Iterable[str] = (),
    called: Callable[[str], str] = str,
) -> Listing:
    """The rows of the authors' split files, whose parts come with them.

    Args:
        files: a csv below `root` for each of train, validation and test; `{fold}` is the number of a fold.
        columns: those that are needed, the image's name first; rows that differ in others are one.
        filled: columns in which no cell may be empty, where there are such.
        called: makes the image's name, by which rows are compared, of what stands in the first column.
    Raises:
        UserError: see `read_table`; a part that has no file; rows of one image that contradict each other, or
            lie in two parts of one fold.
    """
    if set(files) != set(PARTS):
        raise UserError(
            f"the list of split files needs the keys {', '.join(PARTS)}; it has: {', '.join(map(str, files))}"
        )
    tables, parts = [], {}
    shared: dict[tuple, dict[int, str]] = {}  # one for all images of like parts: there are millions
    for (fold, number), part in product(enumerate(_fold_numbers(root, files["train"])), PARTS):
        path = root / files[part].replace("{fold}", number)
        table = read_table(path, columns, filled)
        table = table.loc[:, table.columns.isin([*columns, *filled])]
        tables.append(table.assign(**{columns[0]: table[columns[0]].map(called)}))
        for name in tables[-1][columns[0]]:
            known = parts.get(name, {})
            if known.get(fold, part) != part:
                raise UserError(
                    f"{path}: image {name} is also in the part '{known[fold]}' of that fold; keep one"
                )
            more = {**known, fold: part}
            parts[name] = shared.setdefault(tuple(more.items()), more)
    where = root / " or ".join(files.values())
    rows = one_row_each(pd.concat(tables, ignore_index=True), columns, where)
    return Listing(rows, rows[columns[0]].tolist(), where, parts)


def one_row_each(rows: pd.DataFrame, columns: list[str], where: Path) -> pd.DataFrame:
    """One row for each image, which `columns` name first; UserError where two differ in these columns."""
    rows = rows.drop_duplicates(columns)
    twice = rows.loc[rows[columns[0]].duplicated(), columns[0]]
    if len(twice):
        raise UserError(f"{where}: image {twice.iloc[0]} has rows that differ; keep the right one")
    return rows


def with_folds(
    records: list[Record],
    root: Path,
    files: dict[str, str],
    column: str,
    folds: Folds,
    listed_as: Callable[[str], str] = str,
) -> list[Record]:
    """The records, with the parts of the authors' split files if `folds` says so.

    Args:
        files, column: the split files, their column of image names, of which `stem` is the name.
        listed_as: the name of an image there.
    """
    if folds == "own":
        return records
    return with_parts(records, read_list(root, files, [column], called=stem).parts, listed_as)


def stem(name: str) -> str:
    """A file's name without its folders and its ending."""
    return PurePosixPath(name).stem


def with_parts(records: list[Record], parts: Parts, listed_as: Callable[[str], str] = str) -> list[Record]:
    """The records with their parts; one that the authors do not list is marked to be dropped."""
    found = [parts.get(listed_as(record.image_id)) for record in records]
    return [
        replace(record, parts=own, drop=record.drop or ("" if own else NOT_LISTED))
        for record, own in zip(records, found, strict=True)
    ]


def _fold_numbers(root: Path, pattern: str) -> list[str]:
    if "{fold}" not in pattern:
        return [""]
    before, _, after = Path(pattern).name.partition("{fold}")
    expression = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    found = [expression.fullmatch(file.name) for file in (root / pattern).parent.glob("*")]
    numbers = [match.group(1) for match in found if match]
    if not numbers:
        raise UserError(f"no split file {root / pattern}; download it or leave option 'folds' out")
    return sorted(numbers, key=int)


def class_of(label: object, classes: dict | None, where: str, option: str = "") -> str:
    """The class that a published label of the image `where` stands for; UserError if `classes` lacks it.

    Args:
        classes: label -> class, None if labels are classes. option: its name, where an option gives it.
    """
    label = unicodedata.normalize("NFC", str(label))
    if classes is None:
        return label
    known = {unicodedata.normalize("NFC", key): value for key, value in classes.items()}
    if label not in known:
        remedy = f"correct it or the option '{option}'" if option else "correct it"
        raise UserError(f"{where}: '{label}' is none of the labels {', '.join(map(repr, known))}; {remedy}")
    return known[label]
