"""A table of a report, declared once: reading, writing, showing and describing follow from its columns.

DICE = Table("dice.csv", "dice", "a task, method, figure and pair", [TASK, *PAIR, Column(...), ...])
DICE.write(study, rows)             # whole or not at all
table = DICE.read(study)            # UserError where it is missing or of another version
DICE.shown(study, table)            # for readers: titles for names, rounded, intervals beside values
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from radlib.errors import UserError
from radlib.store import write_table
from radlib.study import Study
from radlib.study.titles import pair_title, source_title, task_title

COUNT = ",.0f"


@dataclass(frozen=True)
class Column:
    """One column of a csv.

    meaning: a clause for the data dictionary, with the unit if there is one.
    title: heading for readers, '' where they do not see it.
    form: of a number, as `+.3f`; or a function of study and value that gives the text, as `task_title`.
    ends: columns of the interval, shown in the same cell; names: word -> title.
    rare: the column is there only where some row has a value.
    """

    name: str
    meaning: str
    title: str = ""
    form: str | Callable[[Study, object], str] = ""
    ends: tuple[str, str] | None = None
    names: dict | None = None
    rare: bool = False


@dataclass(frozen=True)
class Table:
    """file: in `reports/<study>/`; stage: of DVC, which writes it; row: what one row is; index: how many of
    the shown columns name a row."""

    file: str
    stage: str
    row: str
    columns: list[Column]
    index: int = 1

    @property
    def names(self) -> list[str]:
        """Of the columns that are always there."""
        return [column.name for column in self.columns if not column.rare]

    def present(self, table: pd.DataFrame) -> list[Column]:
        """The columns that this table has: all but the rare ones without a value."""
        return [c for c in self.columns if not c.rare or (c.name in table and table[c.name].notna().any())]

    def frame(self, rows: Iterable[dict] = (), study: Study | None = None, **same) -> pd.DataFrame:
        """Rows with exactly the declared columns; what a row lacks is NaN.

        Args:
            study: gives `resamples` and `simulated`; same: further columns of all rows.
        """
        if study is not None:
            same = {"resamples": study.compare.resamples, "simulated": study.simulated} | same
        names = [column.name for column in self.columns]
        table = pd.DataFrame([row | same for row in rows], columns=names)
        return table[[column.name for column in self.present(table)]]

    def write(self, study: Study, table: pd.DataFrame) -> None:
        """Write the csv, whole or not at all."""
        write_table(table[[column.name for column in self.present(table)]], study.report_dir / self.file)

    def read(self, study: Study) -> pd.DataFrame:
        """The csv as `write` wrote it.

        Raises:
            UserError: the table is missing, or another version wrote it.
        """
        path = study.report_dir / self.file
        again = f"run dvc repro {self.stage}"
        if not path.is_file():
            raise UserError(f"no {self.file} in {path.parent}; {again}, or its notebook with save = True")
        # A task may be named nan or null; only an empty cell is no value.
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
        if list(table) != [column.name for column in self.present(table)]:
            raise UserError(f"{path} has other columns than this version writes; {again}")
        return table

    def shown(self, study: Study, table: pd.DataFrame) -> pd.DataFrame:
        """For readers: the columns that have a title."""
        rows = table.to_dict("records")
        titled = [column for column in self.present(table) if column.title]
        shown = pd.DataFrame({column.title: [cell(study, row, column) for row in rows] for column in titled})
        return shown.set_index(list(shown)[: self.index])

    def described(self) -> str:
        """Its part of the data dictionary, in Markdown."""
        lines = [f"## `{self.file}`", "", f"A row per {self.row}.", "", "| column | meaning |", "|---|---|"]
        lines += [f"| `{column.name}` | {column.meaning} |" for column in self.columns]
        return "\n".join([*lines, ""])


def cell(study: Study, row: dict, column: Column) -> str:
    """One value as readers see it; `+0.031 (+0.012 to +0.050)` with its interval."""
    value = row[column.name]
    if pd.isna(value):
        return ""
    if column.name == "source_a":
        other = row["source_b"]
        alone = pd.isna(other) or not other
        return source_title(study, value) if alone else pair_title(study, (value, other))
    if column.names:
        return column.names.get(value, str(value))
    if callable(column.form):
        return column.form(study, value)
    if column.ends is None:
        return number(value, column.form)
    return with_ends(value, *(row[end] for end in column.ends), column.form)


def titled(study: Study, row: Mapping) -> str:
    """The title of a row's task; one that does not count says so."""
    return task_title(study, row["task"], () if row.get("counts") == "no" else None)


def number(value: float, form: str) -> str:
    """With a true minus sign; words stay as they are."""
    return value if isinstance(value, str) else f"{value:{form}}".replace("-", "−")


def with_ends(value: float, low: float | None, high: float | None, form: str, what: str = "") -> str:
    """`+0.031 (+0.012 to +0.050)`; the value alone where there is no interval."""
    said = number(value, form)
    return said if pd.isna(low) else f"{said} ({what}{number(low, form)} to {number(high, form)})"


def p_text(study: Study, p: float) -> str:
    return p_of(p).removeprefix("p ").removeprefix("= ")


def p_of(p: float) -> str:
    """`p = 0.064`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def interval_columns(
    names: tuple[str, str, str], meaning: str, title: str, form: str = "+.3f"
) -> list[Column]:
    """A value and the two ends of its interval."""
    value, low, high = names
    return [
        Column(value, meaning, title, form, ends=(low, high)),
        Column(low, f"lower end of the interval of `{value}`"),
        Column(high, f"upper end of the interval of `{value}`"),
    ]


def hidden(*columns: Column) -> list[Column]:
    """The same columns, not for readers."""
    return [replace(column, title="") for column in columns]


# What several tables have in common ------------------------------------------------------------------------
MEAN = "mean over tasks"  # stands in the column `task`
TASK = Column("task", "name of the task in `params.yaml`, or a mean over tasks", "task", task_title)
PAIR = [
    Column("source_a", "source from whose figure the other's is subtracted", "pair"),
    Column("source_b", "source whose figure is subtracted"),
]
SIDES = [
    Column("auc_a", "mean AUC after source a", "AUC a", ".3f"),
    Column("auc_b", "mean AUC after source b", "AUC b", ".3f"),
]
DIFFERENCE = ("delta", "ci_low", "ci_high")
DELTA = interval_columns(DIFFERENCE, "AUC after source a minus AUC after source b", "difference")
P = Column("p_value", "two-sided, of no difference", "p", p_text)
P_HOLM = Column("p_holm", "the same after Holm's correction over the tasks", "p (Holm)", p_text)
COUNTS = [
    Column("n_patients", "tested patients, or what stands for them", "patients", COUNT),
    Column("n_images", "test images; where patients are scored (`score`), patients", "images", COUNT),
    Column("n_positive", "the positive ones of them", "positive", COUNT),
]
N_TASKS = Column("n_tasks", "tasks averaged", "tasks", COUNT)
COUNTED = Column("counts", "`no` of a task that enters no mean over tasks", "counts", rare=True)
RUNS = Column("n_runs", "runs of each side", "runs a side", COUNT)
RESAMPLES = Column("resamples", "bootstrap resamples")
_MADE = {True: "simulated", False: "real"}
IS_SIMULATED = Column("simulated", "whether patients and images are computer-made", "images are", names=_MADE)
EQUIVALENCE = [
    Column("equivalence", "half width of the region of equivalence"),
    Column("tost_low", "lower end of the interval that must lie within the region"),
    Column("tost_high", "its upper end"),
    Column("p_tost", "of two one-sided tests of equivalence"),
]
RESAMPLED = Column("resampled", "what was resampled", "resampled")
DIVERGED = Column("diverged", "which runs diverged, so that there is no verdict", "no verdict", rare=True)
ORIGIN = [RESAMPLES, IS_SIMULATED, DIVERGED]
