"""Sentences of 06_dice and 07_summary about lesions, written from the numbers and from nothing else."""

import re

import numpy as np
import pandas as pd

from radlib.data.images import Packed
from radlib.questions.auc.findings import direction, with_interval
from radlib.questions.lesions.measured import METHODS, METRICS
from radlib.questions.lesions.resize import ALL, EVERY_SOURCE, GROUPS
from radlib.report import published
from radlib.study import Study
from radlib.study.titles import source_title, task_title

WORSE = {"higher": "higher, which is worse", "lower": "lower, which is better"}  # of a distance
NO_MASKS = "No task of this study has lesion masks, so there is nothing to compare here."


def masks_sentence(study: Study, task: str, packed: Packed) -> str:
    """What there is to draw: counts of masks, share of the frame, and the shape of the images."""
    manifest = packed.manifest
    marked = manifest[manifest["has_mask"]]
    low, middle, high = np.quantile([packed.masks[row].mean() for row in marked.index], [0.25, 0.5, 0.75])
    sides = marked[["width", "height"]]
    aspect = sides.max(axis=1) / sides.min(axis=1)
    return (
        f"**{task_title(study, task)}**{' (simulated images)' if packed.meta['simulated'] else ''}: "
        f"{len(marked):,} images with a lesion mask, {int(manifest['empty_mask'].sum()):,} with an empty "
        f"one, of {len(manifest):,}. A lesion covers {middle:.0%} of the frame in the median (quartiles "
        f"{low:.0%} and {high:.0%}). The longer side is {aspect.median():.2f} times the shorter in the "
        f"median, {aspect.max():.2f} times at most; images are made square by *{packed.resize}*."
    )


def lesion_lesson(study: Study, table: pd.DataFrame, means: pd.DataFrame) -> list[str]:
    """The headline pair by method and task: Dice with interval, other figures, and the guesses.

    Args:
        table: `dice.csv`; means: of class-activation maps and baselines, by task.
    """
    sentences = []
    for (method, task), rows in _headline(study, table).groupby(["method", "task"], sort=False):
        rows = rows.set_index("metric")
        sentences += [_dice(study, rows.loc["dice"]), _others(study, task, rows.drop(index=["dice"]))]
        if method == "localisation":
            sentences.append(_guesses(study, task, means[means["task"] == task].set_index("of")))
    return sentences


def headline_lesions(study: Study, table: pd.DataFrame) -> list[str]:
    """One sentence per method and task with masks: Dice of the headline pair."""
    some = _headline(study, table)
    return [_dice(study, row) for _, row in some[some["metric"] == "dice"].iterrows()]


def resize_lesson(study: Study, table: pd.DataFrame, square: list[str]) -> list[str]:
    """What letterboxing changes, per task and method, over all images and in the most elongated ones.

    Args:
        table: `resize.csv`; square: tasks whose images are all square.
    """
    sentences = [
        f"{task_title(study, task)}: every image with a mask is square, so stretching and letterboxing are "
        "the same thing and the question does not arise."
        for task in square
    ]
    some = table[(table["metric"] == "dice") & (table["source"] == EVERY_SOURCE)]
    for (task, method), rows in some.groupby(["task", "method"], sort=False):
        rows = rows.set_index("aspect")
        parts = [f"over all images {_change(study, rows.loc[ALL])}"]
        if GROUPS[-1] in rows.index:
            row = rows.loc[GROUPS[-1]]
            aspect = f"{row['aspect_low']:.2f} to {row['aspect_high']:.2f}"
            where = f"in the most elongated third (longer over shorter side {aspect})"
            parts.append(f"{where} {_change(study, row)}")
        what = f"{task_title(study, task)}, Dice of {METHODS[method]}"
        sentences.append(_minus(f"{what} with letterboxing instead of stretching: {'; '.join(parts)}."))
    return sentences


def _change(study: Study, row: pd.Series) -> str:
    word = direction(row["ci_low"], row["ci_high"])
    return f"{word}, {with_interval(row, study.compare.confidence)}"


def _headline(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    a, b = study.compare.headline
    return table[(table["source_a"] == a) & (table["source_b"] == b)]


def _dice(study: Study, row: pd.Series) -> str:
    a, b = (source_title(study, source) for source in study.compare.headline)
    task = row["task"]
    word = direction(row["ci_low"], row["ci_high"])
    gain = f"{row['relative_gain']:+.0%} ({row['gain_low']:+.0%} to {row['gain_high']:+.0%})"
    text = (
        f"{task_title(study, task)}, Dice of {METHODS[row['method']]}: {row['mean_a']:.3f} after {a}, "
        f"{row['mean_b']:.3f} after {b}; {word}, {with_interval(row, study.compare.confidence)}, "
        f"p after Holm {row['p_holm']:.3f}, relative gain {gain}"
    )
    claimed = published.LOCALISATION.get(task) if row["method"] == "localisation" else None
    if claimed is not None:
        inside = "lies" if row["gain_low"] <= claimed <= row["gain_high"] else "does not lie"
        text += f"; the published gain of {claimed:+.1%} {inside} in that interval"
        text += "" if study.tasks[task].same_data_as_published else " (not the same data)"
    if pd.notna(row["guess"]):
        text += f". An ellipse in the middle that never looks has {row['guess']:.3f}"
    return _minus(f"{text}.")


def _minus(text: str) -> str:
    """A true minus sign before numbers; hyphens of words stay."""
    return re.sub(r"-(?=\d)", "−", text)


def _others(study: Study, task: str, rows: pd.DataFrame) -> str:
    parts = []
    for metric, row in rows.iterrows():
        word = direction(row["ci_low"], row["ci_high"])
        if metric == "hausdorff95" and word in WORSE:
            word = WORSE[word]
        parts.append(f"{METRICS[metric]} {word} ({row['delta']:+.3f})")
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
