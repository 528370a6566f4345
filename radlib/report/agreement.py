"""Two versions of a table compared cell by cell: the one of a report, and the one computed again."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import pandas as pd

from radlib.errors import explained
from radlib.show.table import Table

IDENTICAL, WITHIN, DIFFERENT = "identical", "within tolerance", "different"
MISSING, NOT_COMPUTED = "missing", "not computed again"
FAILED = (DIFFERENT, MISSING)

Tolerance = Callable[[pd.DataFrame], pd.DataFrame]
"""The report's cells as numbers -> largest absolute difference that is tolerated in each."""

# What follows from other figures when a study is trained again, and moves more than they do: p-values, SD,
# DeLong's interval, and the places of sources.
_DERIVED = re.compile("^(.+_)?p(_.+)?$|^(sd_.+|se|delong_.+|rank|share)$")
_IN_UNITS_OF_THE_ROW = ("auc", "mean_", "inside_auc_", "tost_", "guess", "reference")


@dataclass(frozen=True)
class Verdict:
    """What became of one table; `detail` is one sentence, without its full stop."""

    table: str
    verdict: str
    detail: str = ""


def last_digit(report: pd.DataFrame) -> pd.DataFrame:
    """For the same predictions: one unit of the sixth digit, the last that is printed.

    Other processors and libraries add numbers in another order, which moves the sixteenth digit and may turn
    the rounding of the sixth.
    """
    return 1e-9 + 1e-5 * report.abs()


def second_training(report: pd.DataFrame, table: Table) -> pd.DataFrame:
    """For networks trained again: a quarter of the half width of a figure's interval, or of the row's first.

    Another machine adds in another order, and training makes the last digit grow. What stays far inside the
    interval changes no conclusion. P-values, SD and figures of tables without intervals follow from others
    and are not judged apart; counts must be equal.
    """
    tolerated = last_digit(report)
    intervals = [(column.name, *column.ends) for column in table.columns if column.ends]
    for name in report:
        own = next((interval for interval in intervals if name in interval), None)
        like_the_row = name.startswith(_IN_UNITS_OF_THE_ROW)
        if own or (like_the_row and intervals):
            _, low, high = own or intervals[0]
            tolerated[name] = ((report[high] - report[low]).abs() / 8).fillna(tolerated[name])
        elif like_the_row or _DERIVED.search(name):
            tolerated[name] = np.inf
    return tolerated


def compare(
    name: str, committed: Path, again: Path, tolerance: Tolerance, part: list[str] | None = None
) -> Verdict:
    """The verdict on one csv.

    Args:
        part: where only some rows were computed again, the columns that name a row.
    Raises:
        UserError: a file is no table.
    """
    for path, where in ((committed, "the report"), (again, "the new study")):
        if not path.is_file():
            return Verdict(name, MISSING, f"{where} has no {name}")
    report, now = _read(committed), _read(again)
    if list(report) != list(now):
        gone, new = ([c for c in a if c not in b] for a, b in ((report, now), (now, report)))
        words = f"only in the report {', '.join(gone) or 'none'}; only now {', '.join(new) or 'none'}"
        other = f"other columns: {words}" if gone or new else "columns in another order"
        return Verdict(name, DIFFERENT, other)
    said = []
    if part is not None:
        same = _keys(report, part).isin(_keys(now, part))
        said = [f"{same.sum()} of {len(report)} rows computed again"]
        report = report[same]
    if len(report) != len(now):
        return Verdict(name, DIFFERENT, f"{len(report)} rows in the report, {len(now)} now")
    verdict, cells = _compared(report, now.set_axis(report.index), tolerance)
    return Verdict(name, verdict, ": ".join([*said, *cells]))


def _read(path: Path) -> pd.DataFrame:
    with explained((ValueError, OSError), f"{path} is no table", f"bring it back: git restore {path}"):
        return pd.read_csv(path, dtype=str, keep_default_na=False)


def _keys(table: pd.DataFrame, part: list[str]) -> pd.Series:
    return table[part].agg("\t".join, axis=1)


def _compared(report: pd.DataFrame, now: pd.DataFrame, tolerance: Tolerance) -> tuple[str, list[str]]:
    """The verdict, and which of the cells that differ is furthest beyond what is tolerated."""
    differ = (report != now).to_numpy()
    if not differ.any():
        return IDENTICAL, []
    was, is_now = (table.apply(pd.to_numeric, errors="coerce") for table in (report, now))
    # Where a cell is not a number in both, the difference is without end.
    excess = ((was - is_now).abs() / tolerance(was)).fillna(np.inf).where(differ, 0).to_numpy()
    line, place = np.unravel_index(excess.argmax(), excess.shape)
    row, column = report.iloc[line], report.columns[place]
    title = ", ".join(takewhile(lambda word: not word.replace(".", "").replace("-", "").isdigit(), row))
    said = (
        f"most of all {column} in line {row.name + 2} ({title}) is {row[column] or 'empty'} in the report "
        f"and {now.iloc[line, place] or 'empty'} now"
    )
    if excess.max() <= 1:
        return WITHIN, [f"{differ.sum()} cells differ, {said}"]
    return DIFFERENT, [f"{(excess > 1).sum()} of {differ.size} cells, {said}"]
