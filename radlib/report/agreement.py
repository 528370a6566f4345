"""Two versions of a table compared cell by cell: the one of a report, and the one computed again."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from radlib.errors import UserError

IDENTICAL, WITHIN, DIFFERENT = "identical", "within tolerance", "different"
MISSING, NOT_COMPUTED = "missing", "not computed again"
FAILED = (DIFFERENT, MISSING)

Tolerance = Callable[[pd.Series, str], float]
"""(row of the report, column) -> largest absolute difference that is tolerated there."""

# What follows from the rest of its row when a study is trained again, and moves more than it.
_DERIVED = (
    "p_value", "p_holm", "wilcoxon_p", "relative_gain", "gain_low", "gain_high", "delong_ci_low",
    "delong_ci_high", "delong_p", "sd_a", "sd_b",
)  # fmt: skip
_IN_UNITS_OF_THE_INTERVAL = ("delta", "ci_low", "ci_high", "auc_", "mean_")


@dataclass(frozen=True)
class Verdict:
    """What became of one table; `detail` is one sentence, without its full stop."""

    table: str
    verdict: str
    detail: str = ""


def last_digit(row: pd.Series, column: str) -> float:
    """For the same predictions: one unit of the sixth digit, the last that is printed.

    Other processors and libraries add numbers in another order, which moves the sixteenth digit and may turn
    the rounding of the sixth.
    """
    return 1e-9 + 1e-5 * abs(float(row[column]))


def second_training(row: pd.Series, column: str) -> float:
    """For networks trained again: a quarter of the half width of the row's interval.

    Another machine adds in another order, and training makes the last digit grow. What stays far inside the
    interval changes no conclusion. P-values, relative gains and SD follow from the row's other figures and
    are not judged apart; counts must be equal; in tables without intervals `last_digit` holds.
    """
    if column in _DERIVED:
        return math.inf
    if "ci_low" not in row or not column.startswith(_IN_UNITS_OF_THE_INTERVAL):
        return last_digit(row, column)
    return abs(float(row["ci_high"]) - float(row["ci_low"])) / 8


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
    tables = [_read(path) for path in (committed, again)]
    if list(tables[0]) != list(tables[1]):
        return Verdict(name, DIFFERENT, _other_columns(*tables))
    total = len(tables[0])
    if part is not None:
        tables[0] = tables[0][_keys(tables[0], part).isin(_keys(tables[1], part))]
    if len(tables[0]) != len(tables[1]):
        return Verdict(name, DIFFERENT, f"{len(tables[0])} rows in the report, {len(tables[1])} now")
    found = _compared(name, *tables, tolerance)
    if part is None:
        return found
    rows = f"{len(tables[0])} of {total} rows computed again"
    return Verdict(name, found.verdict, f"{rows}: {found.detail}" if found.detail else rows)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as exc:
        reason = str(exc).splitlines()[0]
        raise UserError(f"{path} is no table ({reason}); bring it back: git restore {path}") from exc


def _keys(table: pd.DataFrame, part: list[str]) -> pd.Series:
    return table[part].agg("\t".join, axis=1)


def _other_columns(committed: pd.DataFrame, again: pd.DataFrame) -> str:
    gone = [name for name in committed if name not in again]
    new = [name for name in again if name not in committed]
    if not gone and not new:
        return "columns in another order"
    return (
        f"other columns: only in the report {', '.join(gone) or 'none'}; only now {', '.join(new) or 'none'}"
    )


def _compared(name: str, committed: pd.DataFrame, again: pd.DataFrame, tolerance: Tolerance) -> Verdict:
    cells = np.argwhere(committed.to_numpy() != again.to_numpy())
    if not len(cells):
        return Verdict(name, IDENTICAL)
    beyond = [_excess(committed.iloc[i], again.iloc[i], committed.columns[j], tolerance) for i, j in cells]
    worst = int(np.argmax(beyond))
    row, column = committed.iloc[cells[worst][0]], committed.columns[cells[worst][1]]
    now = again.iloc[cells[worst][0]][column]
    # Line 1 of the file is the header.
    where = f"{column} in line {row.name + 2} ({_title(row)})"
    said = f"{where} is {row[column] or 'empty'} in the report and {now or 'empty'} now"
    if beyond[worst] <= 1:
        return Verdict(name, WITHIN, f"{len(cells)} cells differ, most of all {said}")
    count = sum(excess > 1 for excess in beyond)
    return Verdict(name, DIFFERENT, f"{count} of {committed.size} cells, most of all {said}")


def _excess(row: pd.Series, now: pd.Series, column: str, tolerance: Tolerance) -> float:
    """Difference as a multiple of what is tolerated; without end where a cell is not a number in both."""
    try:
        difference = abs(float(row[column]) - float(now[column]))
    except ValueError:
        return math.inf
    return difference / tolerance(row, column) if math.isfinite(difference) else math.inf


def _title(row: pd.Series) -> str:
    """The words that a row begins with: task, estimate, sources."""
    words = []
    for value in row:
        if value.replace(".", "").replace("-", "").isdigit():
            break
        words.append(value)
    return ", ".join(words)
