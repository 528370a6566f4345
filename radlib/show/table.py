"""A table of a report, declared once: reading, writing, showing and describing follow from its columns.

DICE = Table("dice.csv", "dice", "a task, method, figure and pair", [TASK, *PAIR, Column(...), ...])
DICE.write(study, rows)             # whole or not at all
table = DICE.read(study)            # UserError where it is missing or of another version
DICE.shown(study, table)            # for readers: titles for names, rounded, intervals beside values
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from radlib.store import read_report, write_table
from radlib.study import Study
from radlib.study.titles import pair_title, source_title, task_title

WORD, TASK_NAME, SOURCE_NAME, PAIR_NAMES = "word", "task", "source", "pair"
P_VALUE, SIMULATED, COUNT = "p", "simulated", ",.0f"


@dataclass(frozen=True)
class Column:
    """One column of a csv.

    meaning: a clause for the data dictionary; unit: of a number.
    title: heading for readers, '' where they do not see it; form: `WORD` and the like above, or a format
    specification such as `+.3f`; ends: columns of the interval, shown in the same cell; names: word -> title.
    """

    name: str
    meaning: str
    title: str = ""
    form: str = ""
    unit: str = ""
    ends: tuple[str, str] | None = None
    names: dict[str, str] | None = None


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
        return [column.name for column in self.columns]

    def frame(self, rows: Iterable[dict] = ()) -> pd.DataFrame:
        """Rows with exactly the declared columns; what a row lacks is NaN."""
        return pd.DataFrame(list(rows), columns=self.names)

    def write(self, study: Study, table: pd.DataFrame) -> None:
        """Write the csv, whole or not at all."""
        write_table(table[self.names], study.report_dir / self.file)

    def read(self, study: Study) -> pd.DataFrame:
        """The csv as `write` wrote it.

        Raises:
            UserError: the table is missing, or another version wrote it.
        """
        return read_report(study.report_dir / self.file, self.names, self.stage)

    def shown(self, study: Study, table: pd.DataFrame, columns: list[str] | None = None) -> pd.DataFrame:
        """For readers.

        Args:
            columns: names of those to show, None for all that have a title.
        """
        chosen = [c for c in self.columns if c.title and (not columns or c.name in columns)]
        rows = table.to_dict("records")
        shown = pd.DataFrame({c.title: [cell(study, row, c) for row in rows] for c in chosen})
        return shown.set_index(list(shown)[: self.index])

    def described(self) -> str:
        """Its part of the data dictionary, in Markdown."""
        lines = [f"## `{self.file}`", "", f"A row per {self.row}.", "", "| column | meaning |", "|---|---|"]
        for column in self.columns:
            unit = f" ({column.unit})" if column.unit else ""
            lines.append(f"| `{column.name}` | {column.meaning}{unit} |")
        return "\n".join([*lines, ""])


def cell(study: Study, row: dict, column: Column) -> str:
    """One value as readers see it; `+0.031 (+0.012 to +0.050)` with its interval."""
    value, form = row[column.name], column.form
    if form == PAIR_NAMES:
        if pd.isna(value) or pd.isna(row["source_b"]) or not row["source_b"]:
            return "" if pd.isna(value) else source_title(study, value)
        return pair_title(study, (value, row["source_b"]))
    if pd.isna(value):
        return ""
    if form in _WORDS:
        return _WORDS[form](study, value)
    if column.names:
        return column.names.get(value, str(value))
    if column.ends is None or pd.isna(row[column.ends[0]]):
        return number(value, form)
    low, high = (number(row[end], form) for end in column.ends)
    return f"{number(value, form)} ({low} to {high})"


def number(value: float, form: str) -> str:
    """With a true minus sign."""
    if form == P_VALUE:
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    return f"{value:{form}}".replace("-", "−") if form != WORD else str(value)


_WORDS = {
    TASK_NAME: task_title,
    SOURCE_NAME: source_title,
    SIMULATED: lambda study, value: "simulated" if value else "real",
}

# What several tables have in common ------------------------------------------------------------------------
TASK = Column("task", "name of the task in `params.yaml`, or a mean over tasks", "task", TASK_NAME)
PAIR = [
    Column("source_a", "source from whose figure the other's is subtracted", "pair", PAIR_NAMES),
    Column("source_b", "source whose figure is subtracted"),
]
COUNTS = [
    Column("n_patients", "tested patients, or what stands for them", "patients", COUNT),
    Column("n_images", "test images", "images", COUNT),
    Column("n_positive", "positive test images", "positive", COUNT),
]
HIDDEN_COUNTS = [Column(count.name, count.meaning) for count in COUNTS]
RUNS = Column("n_runs", "runs of each side", "runs a side", COUNT)
RESAMPLES = Column("resamples", "bootstrap resamples")
IS_SIMULATED = Column("simulated", "whether patients and images are computer-made", "images are", SIMULATED)
HOLDS = Column("interval_holds", "what was resampled", "resampled", WORD)


def interval_columns(
    value: str,
    meaning: str,
    title: str,
    form: str = "+.3f",
    unit: str = "",
    low: str = "ci_low",
    high: str = "ci_high",
) -> list[Column]:
    """A value and the two ends of its interval."""
    return [
        Column(value, meaning, title, form, unit, ends=(low, high)),
        Column(low, f"lower end of the interval of `{value}`", unit=unit),
        Column(high, f"upper end of the interval of `{value}`", unit=unit),
    ]
