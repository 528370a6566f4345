"""What a question found, as data; and the one renderer that turns it into a table.

A question's `findings` returns a `Finding` per statement. Nobody writes paragraphs from numbers: notebooks
show `findings_table`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from radlib.show.table import DIFFERENCE, p_of, with_ends

SIMULATED = (
    "**Simulated images.** Images of a task, or of what a source was pretrained on, are drawn by a program: "
    "the numbers show that the machinery works and are no evidence about pretraining."
)
HIGHER, LOWER, NOT_SHOWN = "higher", "lower", "no difference shown"
CORRECTED = " after correction"  # the interval excludes 0, but p after Holm's correction is not below alpha
NO_VERDICT = "no verdict"


@dataclass(frozen=True)
class Finding:
    """subject: of what; value, low, high: with its interval, None where there is none; verdict: in words.

    form: format of the numbers; where: the notebook, and its cell, that has it whole; csv: the table, and its
    line, that it is of.
    """

    subject: str
    verdict: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    form: str = "+.3f"
    where: str = ""
    csv: str = ""


def finding_of(
    row: Mapping,
    subject: str,
    verdict: str = "",
    columns: tuple[str, ...] = DIFFERENCE,
    form: str = "+.3f",
) -> Finding:
    """The finding of a table's row; its verdict, by default the direction, gives way where runs diverged.

    Args:
        columns: of the value and, if it has an interval, of both ends.
    """
    value, *ends = (row[name] for name in columns)
    low, high = ends or (None, None)
    word = unless_diverged(verdict or direction(low, high), row.get("diverged"))
    if CORRECTED in word and pd.notna(row.get("p_holm")):
        word = word.replace(CORRECTED, f"{CORRECTED} ({p_of(row['p_holm'])})")
    return Finding(subject, word, value, low, high, form, csv=row.get("csv", ""))


def over(row: Mapping, what: str = "") -> str:
    """`(over patients, of these weights)`: of what a row's interval speaks; ends the subject of a finding.

    Args:
        what: was resampled, by default what the row says, or patients.
    """
    what = what or row.get("resampled", "patients")
    return f"(over {what}{'' if 'pretrainings' in what else ', of these weights'})"


def unless_diverged(verdict: str, diverged: str | float | None) -> str:
    """The verdict, or that there is none where runs diverged (else None or NaN)."""
    return verdict if pd.isna(diverged) else f"{NO_VERDICT}: {diverged}"


def direction(ci_low: float, ci_high: float) -> str:
    """'higher', 'lower', or 'no difference shown' where the interval touches or covers 0."""
    if ci_low > 0:
        return HIGHER
    return LOWER if ci_high < 0 else NOT_SHOWN


def is_shown(row: Mapping, alpha: float) -> bool:
    """Whether a difference is told from 0: after Holm's correction where the row is one of several."""
    p = row.get("p_holm") if pd.notna(row.get("p_holm")) else row.get("p_value")
    return bool(p < alpha if pd.notna(p) else row["ci_low"] > 0 or row["ci_high"] < 0)


def shown_direction(row: Mapping, alpha: float) -> str:
    """`direction`, but 'no difference shown (after correction)' where it is not told from 0 (`is_shown`)."""
    way = direction(row["ci_low"], row["ci_high"])
    return way if way == NOT_SHOWN or is_shown(row, alpha) else NOT_SHOWN + CORRECTED


def with_interval(finding: Finding, confidence: float) -> str:
    """`+0.031 (95 % CI +0.012 to +0.050)`, or what there is of it."""
    if pd.isna(finding.value):
        return ""
    ends = finding.low, finding.high
    return with_ends(finding.value, *ends, finding.form, f"{100 * confidence:g} % CI ")


def findings_table(findings: Sequence[Finding], confidence: float) -> pd.DataFrame:
    """A row per finding; where it is from only where some finding says so."""
    rows = [(f.subject, f.verdict, with_interval(f, confidence), f.where, f.csv) for f in findings]
    table = pd.DataFrame(rows, columns=["finding", "verdict", "value", "notebook", "table"])
    unsaid = [name for name in ("notebook", "table") if not table[name].any()]
    return table.drop(columns=unsaid).set_index("finding")


def say(*texts: str) -> None:
    """Show texts in Markdown in a notebook; of an empty one nothing."""
    from IPython.display import Markdown, display  # notebooks alone have it

    display(*(Markdown(text) for text in texts if text))


def bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {text}" for text in sentences)
