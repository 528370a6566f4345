"""Words of 12_matched_labels, written from its table and from nothing else."""

import pandas as pd

from radlib.questions.auc.findings import direction, with_interval
from radlib.questions.matched_labels.compute import ALL_TASKS
from radlib.questions.matched_labels.shares import SHARE, Pair, pair_roles
from radlib.study import Study
from radlib.study.titles import pair_title

NO_SOURCES = (
    "This study names no sources in `matched_labels`: it holds no corpus under two labellings, so there is "
    "nothing to compare here."
)
NOT_SHOWN = "no difference shown"
_ADDED = {
    "higher": "The finer labels add to AUC",
    "lower": "The finer labels cost AUC",
    NOT_SHOWN: "That the finer labels matter is not shown",
}


def matched_lesson(study: Study, table: pd.DataFrame) -> list[str]:
    """What is left of the difference when labels are matched: over all tasks, then task by task."""
    said = [matched_sentence(study, table[table["task"] == ALL_TASKS])]
    for task in study.matched_labels.tasks:
        rows = table[table["task"] == task]
        differences = "; ".join(_named(study, row) for _, row in rows.iterrows())
        said.append(f"{study.tasks[task].title}: {differences}.")
    return said


def matched_sentence(study: Study, overall: pd.DataFrame) -> str:
    """The difference to be explained, what is left of it, and what the finer labels add.

    Args:
        overall: the mean over tasks of every pair.
    """
    first, left, added = pair_roles(study.matched_labels)
    whole = _of(overall, first)
    plural = "" if whole["n_tasks"] == 1 else "s"
    text = f"Over {whole['n_tasks']} task{plural}: {_named(study, whole)}"
    if _word(whole) == NOT_SHOWN:
        text += ", so **no difference is shown that labels could explain**"
    for pair in left:
        row = _of(overall, pair)
        text += f". With matched labels {_left(row, whole)}: {_named(study, row)}"
    for pair in added:
        row = _of(overall, pair)
        text += f". {_ADDED[_word(row)]}: {_named(study, row)}"
    return f"{text}."


def _left(row: pd.Series, whole: pd.Series) -> str:
    """In bold what is left, and with which share of the whole these data agree."""
    word, before = _word(row), _word(whole)
    if before == NOT_SHOWN:
        return "**no difference is shown**" if word == NOT_SHOWN else "**one is shown**"
    if word not in (NOT_SHOWN, before):
        return "**the difference turns round**"
    if pd.isna(row["share"]):
        what = "no difference is shown" if word == NOT_SHOWN else "a difference is left"
        return f"**{what}**; which share of the whole that is cannot be given"
    about, low, high = (f"{row[name]:.0%}".replace("-", "−") for name in SHARE)
    if word == NOT_SHOWN:
        return f"**no difference is shown**, and {low} to {high} of the whole may be left"
    return f"**about {about} ({low} to {high}) of the difference is left**"


def _word(row: pd.Series) -> str:
    return direction(row["ci_low"], row["ci_high"])


def _named(study: Study, row: pd.Series) -> str:
    pair = (row["source_a"], row["source_b"])
    return f"{pair_title(study, pair)} {with_interval(row, study.compare.confidence)}"


def _of(overall: pd.DataFrame, pair: Pair) -> pd.Series:
    return overall[(overall["source_a"] == pair[0]) & (overall["source_b"] == pair[1])].iloc[0]
