"""Words of 10_label_efficiency, written from its table and from nothing else."""

import pandas as pd

from radlib.comparisons.label_efficiency import BOTH
from radlib.labels import pair_title, source_title, task_title
from radlib.sentences.common import direction, with_interval
from radlib.study import Study

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
    confidence, matters = study.compare.confidence, study.compare.equivalence
    rows = rows.sort_values("fraction")
    first, last = rows.iloc[0], rows.iloc[-1]
    zero = from_size(rows, (rows["ci_low"] <= 0) & (rows["ci_high"] >= 0))
    small = from_size(rows, (rows["ci_low"] >= -matters) & (rows["ci_high"] <= matters))
    return (
        f"**{task_title(study, rows['task'].iloc[0])}**, {pair_title(study, pair)}: "
        f"{with_interval(first, confidence)} with {first['n_train_patients']} training patients, "
        f"{with_interval(last, confidence)} with {last['n_train_patients']}. "
        f"{_zero(study, pair, rows, zero)} {_small(first, small, matters)}{_excess(study, pair, first)}"
    )


def _zero(study: Study, pair: tuple[str, str], rows: pd.DataFrame, size: int | None) -> str:
    last = rows.iloc[-1]
    if size is None:
        ahead = source_title(study, pair[0] if last["delta"] > 0 else pair[1])
        shown = from_size(rows, rows["ci_low"] > 0 if last["delta"] > 0 else rows["ci_high"] < 0)
        return (
            f"**From {shown} training patients on {ahead} is ahead**; the interval holds 0 from no size on."
        )
    smaller = rows.loc[rows["n_train_patients"] < size, "n_train_patients"]
    if smaller.empty:
        return "**The interval holds 0 at every size**: none was found at which a difference is shown."
    return f"**From {size} training patients on the interval holds 0**; with {smaller.max()} it does not."


def _small(first: pd.Series, size: int | None, matters: float) -> str:
    margin = f"±{matters:g}, below which a difference does not matter"
    if size is None:
        return f"At the largest size it reaches beyond {margin}: that sources stop mattering is not shown."
    if size == first["n_train_patients"]:
        return f"It lies within {margin}, at every size: the sources are equivalent throughout."
    return f"From {size} on it lies within {margin}: from there the sources are equivalent."


def _excess(study: Study, pair: tuple[str, str], first: pd.Series) -> str:
    """Whether little data favour a source; nothing where there is a single size."""
    if pd.isna(first["excess"]):
        return ""
    moved = pd.Series(
        {"delta": first["excess"], "ci_low": first["excess_low"], "ci_high": first["excess_high"]}
    )
    found = {
        "higher": f"**little data favour {source_title(study, pair[0])}**",
        "lower": f"**little data favour {source_title(study, pair[1])}**",
        "no difference shown": "that little data favour either source is not shown",
    }[direction(moved["ci_low"], moved["ci_high"])]
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
        f"scatters by {low:.3f} to {high:.3f} (SD). At 100% nothing is drawn, and it holds the "
        "patients tested alone.",
    ]
