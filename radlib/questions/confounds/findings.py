"""Words and tables of 09_confounds, written from the numbers and from nothing else."""

import pandas as pd

from radlib.questions.auc.findings import direction, with_interval
from radlib.questions.confounds.compute import (
    CHANGE,
    DIFFERENCE,
    EVERY_TASK,
    FLATTENED,
    ONE_SIDED,
    OWN,
    ROC,
    SHARED,
)
from radlib.questions.shortcuts.compute import EVERYTHING, TITLES
from radlib.study import Study
from radlib.study.titles import pair_title, source_title, task_title

NOTHING_ASKED = "`confounds.tasks` names no task, so preprocessing and metric are not crossed in this study."
# The published choices, in the words of the answer; {b} is the second source of the pair.
CHOICES = {
    (SHARED, ROC): "the one preprocessing for all",
    (OWN, FLATTENED): "the flattened AUC",
    (SHARED, FLATTENED): "both together",
    (ONE_SIDED, ROC): "that preprocessing shown to {b} alone",
    (ONE_SIDED, FLATTENED): "the flattened AUC and that preprocessing shown to {b} alone",
}


def cells_shown(study: Study, table: pd.DataFrame, what: str) -> pd.DataFrame:
    """`confounds.csv` for readers: the `difference` or the `change` rows, rounded, each with its interval."""
    some = table[table["what"] == what]
    pairs = zip(some["source_a"], some["source_b"], strict=True)
    shown = {
        "pair": [pair_title(study, pair) for pair in pairs],
        "task": [_task(study, task) for task in some["task"]],
        "preprocessing": some["preprocessing"].to_numpy(),
        "AUC": some["metric"].to_numpy(),
        "a": _ranges(some, "a", "a_low", "a_high", signed=what == CHANGE),
        "b": _ranges(some, "b", "b_low", "b_high", signed=what == CHANGE),
        "a − b": _ranges(some, "delta", "ci_low", "ci_high", signed=True),
        "published gain": [_optional(x, "{:+.3f}") for x in some["published"]],
    }
    if what == CHANGE:
        shown["part of it"] = [_share(row) for _, row in some.iterrows()]
    shown["images are"] = ["simulated" if s else "real" for s in some["simulated"]]
    return pd.DataFrame(shown).set_index(["pair", "task", "preprocessing", "AUC"])


def shortcuts_shown(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """`shortcuts.csv` for readers."""
    return pd.DataFrame(
        {
            "task": [task_title(study, task) for task in table["task"]],
            "sees only": table["features"].map(TITLES).to_numpy(),
            "AUC": _ranges(table, "auc", "ci_low", "ci_high", signed=False),
            "best source": [source_title(study, source) for source in table["best_source"]],
            "its AUC": table["auc_best_source"].round(3).to_numpy(),
            "it has more": _ranges(table, "delta", "delta_low", "delta_high", signed=True),
            "patients": table["n_patients"].to_numpy(),
            "images": table["n_images"].to_numpy(),
            "images are": ["simulated" if s else "real" for s in table["simulated"]],
        }
    ).set_index(["task", "sees only"])


def confounds_lesson(study: Study, table: pd.DataFrame) -> list[str]:
    """Pair by pair: how much of the published gain each confound explains, what it does to each source."""
    if table.empty:
        return [NOTHING_ASKED]
    sentences = []
    for pair, rows in table.groupby(["source_a", "source_b"], sort=False):
        every = rows["task"] == EVERY_TASK
        for _, some in (rows[every] if every.any() else rows).groupby("task", sort=False):
            sentences += [_answer(study, pair, some), _changes(study, pair, some)]
        if every.any():
            sentences.append(_by_task(study, pair, rows[~every]))
    return sentences


def confounds_answers(study: Study, table: pd.DataFrame) -> list[str]:
    """The answer of each pair over all tasks with a published gain, else task by task."""
    sentences = []
    for pair, rows in table.groupby(["source_a", "source_b"], sort=False):
        over = rows[rows["task"] == EVERY_TASK]
        some = (over if len(over) else rows).groupby("task", sort=False)
        sentences += [_answer(study, pair, group) for _, group in some]
    return sentences


def shortcuts_sentence(study: Study, table: pd.DataFrame) -> str:
    """What every task gives away without a look, and where no source is shown to have more."""
    whole = table[table["features"] == EVERYTHING]
    aucs = ", ".join(f"{task_title(study, row['task'])} {_auc(row)}" for _, row in whole.iterrows())
    without = [task_title(study, row["task"]) for _, row in whole.iterrows() if row["delta_low"] <= 0]
    text = f"AUC of a classifier that sees only size, aspect ratio, brightness, contrast and border: {aucs}"
    if not without:
        return f"{text}. The best source has more on every task."
    return f"{text}. **The best source is not shown to have more on {', '.join(without)}.**"


def shortcuts_lesson(study: Study, table: pd.DataFrame) -> list[str]:
    """Per task: what can be had without looking, and whether the best source has more."""
    sentences = []
    for task, rows in table.groupby("task", sort=False):
        rows = rows.set_index("features")
        whole = rows.loc[EVERYTHING]
        single = rows.drop(index=EVERYTHING).sort_values("auc", kind="stable").iloc[-1]
        more = pd.Series(
            {"delta": whole["delta"], "ci_low": whole["delta_low"], "ci_high": whole["delta_high"]}
        )
        word = {
            "higher": "has more",
            "lower": "**has less**",
            "no difference shown": "**is not shown to have more**",
        }[direction(more["ci_low"], more["ci_high"])]
        sentences.append(
            f"{task_title(study, task)}: a classifier that sees only size, aspect ratio, brightness, contrast"
            f" and border has AUC {_auc(whole)}; one that sees {TITLES[single.name]} has {_auc(single)}. The "
            f"source that validation likes best, {source_title(study, whole['best_source'])}, {word}: "
            f"{whole['auc_best_source']:.3f}, by {with_interval(more, study.compare.confidence)}."
        )
    return sentences


def _answer(study: Study, pair: tuple[str, str], rows: pd.DataFrame) -> str:
    """How much of the published gain each choice could explain, and which of this is more than luck."""
    changed = {words: _cell(rows, CHANGE, *cell) for cell, words in _choices(study, pair).items()}
    first = next(iter(changed.values()))
    title = f"**{pair_title(study, pair)}, {_where(study, first)}**"
    if not _share(first):
        return f"{title}: no gain of such a pair was published."
    parts = [f"{words} {_share(row)}" for words, row in changed.items()]
    sure = [
        f"{words} ({direction(row['ci_low'], row['ci_high'])})"
        for words, row in changed.items()
        if direction(row["ci_low"], row["ci_high"]) != "no difference shown"
    ]
    shown = f"Shown to change the difference at all: {'; '.join(sure)}" if sure else "No change is shown"
    return (
        f"{title}: such choices could explain, of the published gain of {first['published']:+.3f}, "
        f"{'; '.join(parts)}. {shown}."
    )


def _changes(study: Study, pair: tuple[str, str], rows: pd.DataFrame) -> str:
    """The difference without the confounds, with them, and what the preprocessing does to either source."""
    clean, published = _cell(rows, DIFFERENCE, OWN, ROC), _cell(rows, DIFFERENCE, SHARED, FLATTENED)
    alone, confidence = _cell(rows, CHANGE, SHARED, ROC), study.compare.confidence
    each = "; ".join(
        f"{source_title(study, source)} {_range(alone, side, f'{side}_low', f'{side}_high', signed=True)}"
        for source, side in zip(pair, "ab", strict=True)
    )
    words = [
        f"{with_interval(row, confidence)}, {direction(row['ci_low'], row['ci_high'])}"
        for row in (clean, published)
    ]
    return (
        f"{pair_title(study, pair)}, {_where(study, clean)}: the difference itself is {words[0]}, with each "
        f"weights' own preprocessing and the ROC AUC; it is {words[1]}, with both published choices. What "
        f"that preprocessing does to the ROC AUC of each source itself: {each}."
    )


def _choices(study: Study, pair: tuple[str, str]) -> dict[tuple[str, str], str]:
    return {cell: words.format(b=source_title(study, pair[1])) for cell, words in CHOICES.items()}


def _where(study: Study, row: pd.Series) -> str:
    if row["task"] == EVERY_TASK:
        return f"mean over {row['n_tasks']} {EVERY_TASK}"
    return task_title(study, row["task"])


def _by_task(study: Study, pair: tuple[str, str], rows: pd.DataFrame) -> str:
    parts = []
    for _, row in rows[_is(rows, CHANGE, SHARED, FLATTENED)].iterrows():
        share = f", {_share(row)} of {row['published']:+.3f}" if _share(row) else ""
        change = _range(row, "delta", "ci_low", "ci_high", signed=True)
        parts.append(f"{_task(study, row['task'])} {change}{share}")
    return f"{pair_title(study, pair)}, change by both together, task by task: {'; '.join(parts)}."


def _cell(rows: pd.DataFrame, what: str, preprocessing: str, metric: str) -> pd.Series:
    return rows[_is(rows, what, preprocessing, metric)].iloc[0]


def _is(rows: pd.DataFrame, what: str, preprocessing: str, metric: str) -> pd.Series:
    same = (rows["preprocessing"] == preprocessing) & (rows["metric"] == metric)
    return same & (rows["what"] == what)


def _task(study: Study, task: str) -> str:
    return task if task == EVERY_TASK else task_title(study, task)


def _auc(row: pd.Series) -> str:
    return f"{row['auc']:.3f}, {row['ci_low']:.3f} to {row['ci_high']:.3f}"


def _ranges(table: pd.DataFrame, value: str, low: str, high: str, signed: bool) -> list[str]:
    return [_range(row, value, low, high, signed) for _, row in table.iterrows()]


def _range(row: pd.Series, value: str, low: str, high: str, signed: bool) -> str:
    """`+0.031 [+0.012, +0.050]`, with a true minus sign."""
    sign = "+" if signed else ""
    text = f"{row[value]:{sign}.3f} [{row[low]:{sign}.3f}, {row[high]:{sign}.3f}]"
    return text.replace("-", "−")


def _share(row: pd.Series) -> str:
    """`+35% (+10% to +61%)` of the published gain; empty where that is not known."""
    if pd.isna(row["share"]):
        return ""
    return f"{row['share']:+.0%} ({row['share_low']:+.0%} to {row['share_high']:+.0%})".replace("-", "−")


def _optional(value: float, form: str) -> str:
    return "" if pd.isna(value) else form.format(value)
