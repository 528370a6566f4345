"""Sentences of 06_dice and 07_summary about lesions, written from the numbers and from nothing else."""

import re

import pandas as pd

from radlib import published
from radlib.compare_dice import METRICS
from radlib.labels import source_title, task_title
from radlib.study import Study
from radlib.summary import direction, with_interval

NO_MASKS = "No task of this study has lesion masks, so there is nothing to compare here."


def lesion_lesson(study: Study, table: pd.DataFrame, means: pd.DataFrame) -> list[str]:
    """The headline pair by task: Dice with interval and published gain, other figures, and the guesses."""
    sentences = []
    for task, rows in _headline(study, table).groupby("task", sort=False):
        rows = rows.set_index("metric")
        sentences += [_dice(study, task, rows.loc["dice"]), _others(study, task, rows.drop(index=["dice"]))]
        sentences.append(_guesses(study, task, means[means["task"] == task].set_index("of")))
    return sentences


def headline_lesions(study: Study, table: pd.DataFrame) -> list[str]:
    """One sentence per task with masks: Dice of the headline pair."""
    some = _headline(study, table)
    return [_dice(study, row["task"], row) for _, row in some[some["metric"] == "dice"].iterrows()]


def _headline(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    a, b = study.compare.headline
    return table[(table["source_a"] == a) & (table["source_b"] == b)]


def _dice(study: Study, task: str, row: pd.Series) -> str:
    a, b = (source_title(study, source) for source in study.compare.headline)
    word = direction(row["ci_low"], row["ci_high"])
    gain = f"{row['relative_gain']:+.0%} ({row['gain_low']:+.0%} to {row['gain_high']:+.0%})"
    text = (
        f"{task_title(study, task)}, Dice of class-activation maps: {row['mean_a']:.3f} after {a}, "
        f"{row['mean_b']:.3f} after {b}; {word}, {with_interval(row, study.compare.confidence)}, "
        f"p after Holm {row['p_holm']:.3f}, relative gain {gain}"
    )
    claimed = published.LOCALISATION.get(task)
    if claimed is not None:
        inside = "lies" if row["gain_low"] <= claimed <= row["gain_high"] else "does not lie"
        text += f"; the published gain of {claimed:+.1%} {inside} in that interval"
        text += "" if study.tasks[task].same_data_as_published else " (not the same data)"
    return _minus(f"{text}.")


def _minus(text: str) -> str:
    """A true minus sign before numbers; hyphens of words stay."""
    return re.sub(r"-(?=\d)", "−", text)


def _others(study: Study, task: str, rows: pd.DataFrame) -> str:
    parts = [
        f"{METRICS[metric]} {direction(row['ci_low'], row['ci_high'])} ({row['delta']:+.3f})"
        for metric, row in rows.iterrows()
    ]
    return _minus(f"{task_title(study, task)}, other figures: {'; '.join(parts)}.")


def _guesses(study: Study, task: str, means: pd.DataFrame) -> str:
    blob = means.loc["centred_blob", "dice"]
    networks = means.drop(index=["centred_blob", "whole_image"])["dice"]
    ahead = [source_title(study, source) for source in networks.index[networks > blob]]
    word = f"only {', '.join(ahead)} did better on average" if ahead else "no source did better on average"
    if len(ahead) == len(networks):
        word = "every source did better on average"
    return (
        f"{task_title(study, task)}: an ellipse in the middle of every image, as large as the mean lesion, "
        f"has a Dice of {blob:.3f} without looking; {word}."
    )
