"""Tables as published, and the authors' own split files: one csv of image names per fold and part."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from radlib.errors import UserError

PARTS = ("train", "validation", "test")


def read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """A csv as text (leading zeros and the word None survive), with the columns that are needed.

    Commas, semicolons or tabs part the cells, whichever shows the columns; empty rows are left out.
    Row i of the index is line i + 2 of the file.

    Raises:
        UserError: no such file, not a table, or a column that is missing or there twice.
    """
    cells = read_cells(path, columns)
    header = cells.iloc[0].str.strip().tolist()
    for column in columns:
        if header.count(column) != 1:
            how = "two columns" if column in header else "no column"
            raise UserError(
                f"{path} has {how} '{column}'; it has: {', '.join(map(repr, header))}; correct its first "
                "line or the option"
            )
    table = cells.iloc[1:].set_axis(header, axis=1).set_axis(range(len(cells) - 1), axis=0)
    return table[(table != "").any(axis=1)]


def read_cells(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Every cell of a csv as text, its first line too, which says how many cells a line has.

    Args:
        columns: names in the first line, if it is a header: they tell what parts the cells.
    Raises:
        UserError: no such file, another encoding than UTF-8, or a line that is longer than the first.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as exc:
        raise UserError(f"no table {path}; download it with the images or correct the option") from exc
    except UnicodeDecodeError as exc:
        raise UserError(f"{path} is not in UTF-8 ({exc.reason}); save it as CSV UTF-8") from exc
    except OSError as exc:
        raise UserError(f"{path} cannot be read ({exc}); put a whole copy in its place") from exc
    if "\0" in text:
        raise UserError(f"{path} holds NUL bytes, so it is damaged or no csv; save it again as CSV UTF-8")
    if text.startswith("sep="):
        raise UserError(f"{path} begins with a line 'sep=', which is for Excel alone; delete that line")
    lines = io.StringIO(text, newline=None)
    separator = _separator(lines.readline(), columns)
    lines.seek(0)
    try:
        cells = pd.read_csv(
            lines, sep=separator, header=None, dtype=str, keep_default_na=False, skipinitialspace=True
        )
    except ValueError as exc:
        reason = str(exc).strip().removeprefix("Error tokenizing data. C error: ")
        raise UserError(
            f"{path} cannot be read as csv ({reason}); mend that line: the first line is the header, and "
            f"no other has more cells (a '{separator}' at its end makes one, or one in text without quotes)"
        ) from exc
    return cells.fillna("")


def _separator(header: str, columns: Sequence[str]) -> str:
    """What parts the cells of a header: the first of these that shows most of the columns."""

    def shown(separator: str) -> int:
        cells = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
        return len({cell.strip() for cell in cells} & set(columns))

    return max(",;\t", key=shown)


def read_parts(root: Path, files: dict[str, str], column: str) -> dict[str, dict[int, str]]:
    """Image name -> fold (from 0) -> part.

    Args:
        files: for each of train, validation and test a file below `root`; `{fold}` is its number.
        column: the column of image names.
    Raises:
        UserError: a part or file is missing, or an image is in two parts of one fold.
    """
    return _parts_of(_split_files(root, files, [column]), column)


def parts_by_stem(
    root: Path, files: dict[str, str], column: str, folds: str
) -> dict[str, dict[int, str]] | None:
    """The parts by image name without folder and ending, or None where the study draws its own.

    Args:
        folds: "own" (the study's rule) or "authors" (the published split files).
    Raises:
        UserError: another `folds`; see `read_parts`.
    """
    if folds not in ("own", "authors"):
        raise UserError(f"option 'folds' is '{folds}'; allowed: own, authors")
    if folds == "own":
        return None
    return {PurePosixPath(name).stem: parts for name, parts in read_parts(root, files, column).items()}


def read_list(
    root: Path, csv: str | dict[str, str], columns: list[str]
) -> tuple[pd.DataFrame, dict[str, dict[int, str]] | None]:
    """The rows of a list of images, each image once, and its parts where the list is the authors' split.

    Args:
        csv: one file below `root`, or the authors' split files (train, validation and test; `{fold}` is the
            number of a fold).
        columns: those that are needed, the image's name first.
    Returns:
        The columns as text, and name -> fold (from 0) -> part (None for one file).
    Raises:
        UserError: see `read_table` and `read_parts`; or rows of one image that contradict each other.
    """
    split = None if isinstance(csv, str) else _split_files(root, csv, columns)
    tables = [read_table(root / csv, columns)] if split is None else [table for *_, table in split]
    rows = pd.concat([table[columns] for table in tables], ignore_index=True).drop_duplicates()
    twice = rows[columns[0]].duplicated()
    if twice.any():
        name = rows.loc[twice, columns[0]].iloc[0]
        listed = csv if isinstance(csv, str) else ", ".join(csv.values())
        raise UserError(f"{root}: image {name} has rows that differ in {listed}; keep the right one")
    return rows, None if split is None else _parts_of(split, columns[0])


def _split_files(
    root: Path, files: dict[str, str], columns: list[str]
) -> list[tuple[int, str, Path, pd.DataFrame]]:
    """Fold (from 0), part, file and table of every split file."""
    if set(files) != set(PARTS):
        raise UserError(
            f"the list of split files needs the keys {', '.join(PARTS)}; it has: {', '.join(map(str, files))}"
        )
    numbers = _fold_numbers(root, files["train"])
    found = []
    for fold, number in enumerate(numbers):
        for part in PARTS:
            path = root / files[part].replace("{fold}", number)
            found.append((fold, part, path, read_table(path, columns)))
    return found


def _parts_of(split: list[tuple[int, str, Path, pd.DataFrame]], column: str) -> dict[str, dict[int, str]]:
    parts: dict[str, dict[int, str]] = {}
    for fold, part, path, table in split:
        for name in table[column]:
            known = parts.setdefault(name, {})
            if known.setdefault(fold, part) != part:
                raise UserError(
                    f"{path}: image {name} is also in the part '{known[fold]}' of that fold; keep one"
                )
    return parts


def _fold_numbers(root: Path, pattern: str) -> list[str]:
    if "{fold}" not in pattern:
        return [""]
    before, _, after = Path(pattern).name.partition("{fold}")
    expression = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    folder = (root / pattern).parent
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    numbers = [found.group(1) for name in names if (found := expression.fullmatch(name))]
    if not numbers:
        raise UserError(f"no split file {root / pattern}; download it or leave option 'folds' out")
    return sorted(numbers, key=int)
