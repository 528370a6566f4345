"""The authors' own split files: one csv of image names per fold and part."""

import re
from pathlib import Path

import pandas as pd

from radlib.errors import UserError

PARTS = ("train", "validation", "test")


def read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """A csv as text (leading zeros and the word None survive), with the columns that are needed.

    Raises:
        UserError: no such file, not a table, or a column missing.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as exc:
        raise UserError(f"no table {path}; download it with the images or correct the option") from exc
    except (ValueError, pd.errors.ParserError, OSError) as exc:
        raise UserError(f"{path} cannot be read as csv ({exc}); save it as UTF-8 csv") from exc
    for column in columns:
        if column not in table.columns:
            raise UserError(f"{path} has no column '{column}'; it has: {', '.join(table.columns)}")
    return table


def read_parts(root: Path, files: dict[str, str], column: str) -> dict[str, dict[int, str]]:
    """Image name -> fold (from 0) -> part.

    Args:
        files: for each of train, validation and test a file below `root`; `{fold}` is its number.
        column: the column of image names.
    Raises:
        UserError: a part or file is missing, or an image is in two parts of one fold.
    """
    if set(files) != set(PARTS):
        raise UserError(f"option 'folds' needs the keys {', '.join(PARTS)}; it has: {', '.join(files)}")
    numbers = _fold_numbers(root, files["train"])
    parts: dict[str, dict[int, str]] = {}
    for fold, number in enumerate(numbers):
        for part in PARTS:
            path = root / files[part].replace("{fold}", number)
            for name in read_table(path, [column])[column]:
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
