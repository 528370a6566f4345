"""Words of 10_label_efficiency, written from its table and from nothing else."""

import numpy as np
import pandas as pd

from radlib.questions.auc.findings import direction, with_interval
from radlib.questions.label_efficiency.compute import BOTH, TESTED, excludes_zero, is_shown
from radlib.study import Study
from radlib.study.titles import pair_title, source_title, task_title

NO_TASKS = "This study names no task in `label_efficiency.tasks`, so there is nothing to train and no curve."


def efficiency_lesson(study: Study, table: pd.DataFrame, notes: list[str]) -> list[str]:
    """One sentence per task on the headline pair, what the band holds, and what was left out."""
    pair = tuple(study.compare.headline)
    chosen = table[(table["source_a"] == pair[0]) & (table["source_b"] == pair[1])]
    said = [_task_sentence(study, pair, rows) for _, rows in chosen.groupby("task", sort=False)]
    return [*said, *_band(study, table), *notes]


def from_size(rows: pd.DataFrame, holds: pd.Series) -> int | None:
    """The smallest number of training patients from which on all rows hold; None where the largest does not.

    Args:
        rows: of one task and pair, fractions ascending; holds: bool, one per row.
    """
    size = None
    for patients, ok in zip(rows["n_train_patients"][::-1], holds[::-1], strict=True):
        if not ok:
            break
        size = int(patients)
    return size


def _task_sentence(study: Study, pair: tuple[str, str], rows: pd.DataFrame) -> str:
    confidence = study.compare.confidence
    rows = rows.sort_values("fraction")
    first, last = rows.iloc[0], rows.iloc[-1]
    return (
        f"**{task_title(study, rows['task'].iloc[0])}**, {pair_title(study, pair)}: "
        f"{with_interval(first, confidence)} with {first['n_train_patients']} training patients, "
        f"{with_interval(last, confidence)} with {last['n_train_patients']}. "
        f"{_zero(study, rows)}{_before(study, rows)} {_small(study, rows)}{_excess(study, pair, first)}"
    )


def _zero(study: Study, rows: pd.DataFrame) -> str:
    """From which size on a difference is shown, or none; both after Holm's correction."""
    shown, last = is_shown(study, rows), rows.iloc[-1]
    size = from_size(rows, ~shown)
    if size is None:
        same = shown & (np.sign(rows["delta"]) == np.sign(last["delta"]))
        return (
            f"**From {from_size(rows, same)} training patients on {_ahead(study, last)} is ahead**, after "
            "Holm's correction too."
        )
    smaller = rows[rows["n_train_patients"] < size]
    if len(smaller):
        nearest = smaller.iloc[-1]
        return (
            f"**From {size} training patients on no difference is shown** after Holm's correction; with "
            f"{nearest['n_train_patients']} {_ahead(study, nearest)} is ahead."
        )
    if excludes_zero(rows).any():
        return "**After Holm's correction no difference is shown at any size.**"
    return "**The interval holds 0 at every size**: none was found at which a difference is shown."


def _before(study: Study, rows: pd.DataFrame) -> str:
    """Differences that are gone after the correction."""
    gone = rows[excludes_zero(rows) & ~is_shown(study, rows)]
    sizes: dict[str, list[str]] = {}
    for _, row in gone.iterrows():
        sizes.setdefault(_ahead(study, row), []).append(str(row["n_train_patients"]))
    return "".join(
        f" With {', '.join(named)} training patients {source} is ahead before, but not after the correction."
        for source, named in sizes.items()
    )


def _ahead(study: Study, row: pd.Series) -> str:
    return source_title(study, row["source_a"] if row["delta"] > 0 else row["source_b"])


def _small(study: Study, rows: pd.DataFrame) -> str:
    """From which size on the sources are equivalent, after Holm's correction."""
    matters = study.compare.equivalence
    margin = f"±{matters:g}, below which a difference does not matter"
    within = (rows["ci_low"] >= -matters) & (rows["ci_high"] <= matters)
    size = from_size(rows, within & (rows["p_tost_holm"] < 1 - study.compare.confidence))
    if size is None:
        where = f"lies within {margin}, before, but not after the correction"
        if not within.iloc[-1]:
            where = f"reaches beyond {margin}"
        return f"At the largest size it {where}: that sources stop mattering is not shown."
    if size == rows["n_train_patients"].iloc[0]:
        return f"It lies within {margin}, at every size: the sources are equivalent throughout."
    return f"From {size} on it lies within {margin}: from there the sources are equivalent."


def _excess(study: Study, pair: tuple[str, str], first: pd.Series) -> str:
    """Whether little data favour a source; nothing where there is a single size."""
    if pd.isna(first["excess"]):
        return ""
    moved = pd.Series(
        {"delta": first["excess"], "ci_low": first["excess_low"], "ci_high": first["excess_high"]}
    )
    word = direction(moved["ci_low"], moved["ci_high"])
    favoured = source_title(study, pair[1] if word == "lower" else pair[0])
    if word == "no difference shown":
        found = "that little data favour either source is not shown"
    elif first["excess_p_holm"] < 1 - study.compare.confidence:
        found = f"**little data favour {favoured}**, after Holm's correction too"
    else:
        found = f"that little data favour {favoured} is shown before, but not after the correction"
    return (
        f" From the largest to the smallest size the difference moves by "
        f"{with_interval(moved, study.compare.confidence)}: {found}."
    )


def _band(study: Study, table: pd.DataFrame) -> list[str]:
    drawn = table[table["interval_holds"] == BOTH]
    if drawn.empty:
        return []
    low, high = drawn["sd_draws"].min(), drawn["sd_draws"].max()
    return [
        "The interval of a part holds the luck of which patients were tested and of which were drawn to "
        f"train on, and what else differs between two trainings ({study.label_efficiency.repeats} draws for "
        "every fold and backbone). It is about the mean over draws; after a single one the difference "
        f"scatters by {low:.3f} to {high:.3f} (SD).{_whole(table)}",
    ]


def _whole(table: pd.DataFrame) -> str:
    """What the interval lacks where all patients train."""
    if not (table["interval_holds"] == TESTED).any():
        return ""
    return (
        " At 100% nothing is drawn: there is one training for every fold and backbone, and the interval "
        "holds the patients tested alone. So the interval of how far the difference moves lacks the luck of "
        "training on that side, and is somewhat too narrow."
    )
