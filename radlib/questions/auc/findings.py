"""Sentences of 04_auc and 07_summary, written from the numbers and from nothing else.

A difference in AUC is called as `radlib.questions.verdicts` says. Other figures have no region of
equivalence, and three words: "higher", "lower", and "no difference shown" where the interval holds 0. Neither
that nor "undecided" is a proof that the sources are equal, and is never worded as one.
"""

import pandas as pd

from radlib.questions.patients import patients_sentence, unit
from radlib.questions.verdicts import (
    BETTER,
    BETTER_BY_LITTLE,
    EQUIVALENT,
    NO_VERDICT,
    UNDECIDED,
    WORSE,
    WORSE_BY_LITTLE,
)
from radlib.show.style import of_pair
from radlib.study import Study
from radlib.study.titles import ESTIMATES, counted, pair_title, source_title, task_title
from radlib.training.results import PATIENTS

SIMULATED = (
    "**Simulated images.** Patients and pictures are computer-made: the numbers show that the "
    "machinery works and are no evidence about pretraining."
)

CLAIMS = {
    BETTER: "AUC was better after {a} than after {b}",
    WORSE: "AUC was worse after {a} than after {b}",
    BETTER_BY_LITTLE: "AUC was better after {a} than after {b}, but by less than matters",
    WORSE_BY_LITTLE: "AUC was worse after {a} than after {b}, but by less than matters",
    EQUIVALENT: "AUC was equivalent after {a} and after {b}",
    UNDECIDED: "undecided: no difference in AUC was shown between {a} and {b}",
}


def direction(ci_low: float, ci_high: float) -> str:
    """'higher', 'lower', or 'no difference shown' where the interval touches or holds 0."""
    if ci_low > 0:
        return "higher"
    return "lower" if ci_high < 0 else "no difference shown"


def with_interval(row: pd.Series, confidence: float) -> str:
    """`+0.031 (95% interval +0.012 to +0.050)`."""
    text = f"{row['delta']:+.3f} ({confidence:.0%} interval {row['ci_low']:+.3f} to {row['ci_high']:+.3f})"
    return text.replace("-", "−")


def headline_sentence(
    study: Study, table: pd.DataFrame, overall: pd.DataFrame, estimate: str = "grid_mean"
) -> str:
    """The headline pair over all tasks, then the count of tasks after Holm's correction."""
    pair, confidence = tuple(study.compare.headline), study.compare.confidence
    mean, tasks = _headline(study, overall, estimate).iloc[0], _headline(study, table, estimate)
    a, b = (source_title(study, source) for source in pair)
    scope = f"Over {counted(mean['n_tasks'], 'task')} ({mean['n_patients']:,} tested {unit(study)}, " + (
        f"{mean['n_images']:,} images; {ESTIMATES[estimate]})"
    )
    claim = CLAIMS.get(mean["verdict"], mean["verdict"]).format(a=a, b=b)
    finding = f"**{claim}**: {with_interval(mean, confidence)}{_reservation(mean, confidence)}"
    return f"{scope}, {finding}. {_tasks_sentence(study, tasks)}"


def _reservation(row: pd.Series, confidence: float) -> str:
    """What an undecided difference leaves open, and on what an equivalent one rests."""
    if row["verdict"] == UNDECIDED:
        return (
            ". The interval says which differences these data cannot rule out; it does not show that the "
            "sources are equal"
        )
    if row["verdict"] in (BETTER, WORSE) or row["verdict"].startswith(NO_VERDICT):
        return ""
    ends = f"{row['tost_low']:+.3f} to {row['tost_high']:+.3f}".replace("-", "−")
    return (
        f"; its {2 * confidence - 1:.0%} interval, {ends}, lies within ± {row['equivalence']:g}, which the "
        "study declared too small to matter"
    )


def _tasks_sentence(study: Study, tasks: pd.DataFrame) -> str:
    groups: dict[str, list[str]] = {}
    for _, row in tasks.iterrows():
        word = row["verdict_holm"]
        if word != row["verdict"]:
            word = f"{row['verdict']} before, but not after the correction"
        groups.setdefault(word, []).append(task_title(study, row["task"]))
    parts = [f"{word} in {len(named)} ({', '.join(named)})" for word, named in groups.items()]
    a, b = (source_title(study, source) for source in study.compare.headline)
    return f"Task by task, with Holm's correction, AUC after {a} against {b}: {'; '.join(parts)}."


def auc_lesson(study: Study, table: pd.DataFrame, overall: pd.DataFrame) -> list[str]:
    """What 04_auc teaches, as sentences: both estimates, each pair, and what DeLong says of the headline."""
    sentences = [SIMULATED] if study.simulated else []
    sentences.append(headline_sentence(study, table, overall))
    sentences.append(_estimates_sentence(study, overall))
    for _, row in overall[overall["estimate"] == "grid_mean"].iterrows():
        pair = (row["source_a"], row["source_b"])
        if pair != tuple(study.compare.headline):
            sentences.append(f"{pair_title(study, pair)}: {row['verdict']}, {_interval(row, study)}.")
    sentences += [luck_sentence(study, overall), delong_sentence(study, table)]
    return sentences


def _estimates_sentence(study: Study, overall: pd.DataFrame) -> str:
    grid = _headline(study, overall, "grid_mean").iloc[0]
    best = _headline(study, overall, "best_by_validation").iloc[0]
    words = [grid["verdict"], best["verdict"]]
    verdict = "The two estimates say the same" if words[0] == words[1] else "The two estimates differ"
    return (
        f"{verdict}: {words[0]} on the mean over settings, {words[1]} with the settings that each fold's "
        f"validation part chose: {_interval(best, study)}, AUC {best['auc_a']:.3f} against "
        f"{best['auc_b']:.3f}. The first answers which source is better on average over choices of network "
        "and rate, the second which is better for someone who tunes; its interval takes the choice as given."
    )


def luck_sentence(study: Study, table: pd.DataFrame) -> str:
    """Which luck the intervals of a table of AUC hold, in words."""
    seeds = len(study.transfer.seeds)
    if _luck(study, table) == PATIENTS:
        few = "" if seeds == 1 else ", too few in all to tell how trainings vary"
        return (
            "What the intervals hold: the luck of which patients were tested, and **not the luck of "
            f"training**. Every setting was trained with {counted(seeds, 'seed')}{few}; how the difference "
            "would move with other trainings is not in them."
        )
    return (
        "What the intervals of the mean over the settings hold: **the luck of which patients were tested "
        f"and the luck of training**, because each setting was trained with {counted(seeds, 'seed')} and "
        "both are resampled. Intervals of the setting chosen by validation, and DeLong's, hold patients "
        "alone."
    )


def delong_sentence(study: Study, table: pd.DataFrame) -> str:
    """How often DeLong and the bootstrap come to the same conclusion, over all rows of the table."""
    ours = [direction(low, high) for low, high in zip(table["ci_low"], table["ci_high"], strict=True)]
    check = [
        direction(low, high)
        for low, high in zip(table["delong_ci_low"], table["delong_ci_high"], strict=True)
    ]
    differ = [i for i, (x, y) in enumerate(zip(ours, check, strict=True)) if x != y]
    text = (
        f"DeLong and the bootstrap agree in {len(table) - len(differ)} of {counted(len(table), 'comparison')}"
    )
    if not differ:
        return text + "."
    rows = table.iloc[differ]
    named = dict.fromkeys(
        f"{task_title(study, row['task'])} ({pair_title(study, (row['source_a'], row['source_b']))}, "
        f"{ESTIMATES[row['estimate']]})"
        for _, row in rows.iterrows()
    )
    return f"{text}; they differ, and the conclusion is fragile, for {'; '.join(named)}."


def conclusions(study: Study, overall: pd.DataFrame) -> list[str]:
    """What the study can say, and what it cannot, from how it was set up and what its intervals hold."""
    seeds, said = len(study.transfer.seeds), []
    said.append(
        f"It can say how the difference varies with other test patients: {study.compare.resamples:,} "
        f"resamples of {unit(study)}, all images of one together, both sources on the same images."
    )
    said += [sentence for sentence in [patients_sentence(study)] if sentence]
    said.append(
        "Intervals of the setting chosen by validation take the choice as given: other validation patients "
        "might have chosen another."
    )
    if _luck(study, overall) == PATIENTS:
        said.append(
            f"It cannot say how it varies with another training: {counted(seeds, 'seed')} per setting, and "
            "the intervals hold the finished runs fixed."
        )
    else:
        said.append(
            f"It can say how the mean over settings varies with another training: {seeds} seeds per setting, "
            "resampled with the patients. The intervals of the setting chosen by validation hold its runs "
            "fixed."
        )
    said.append(
        f"It calls a difference in AUC below {study.compare.equivalence:g} too small to matter; this margin "
        "was declared with the study, not measured."
    )
    said.append(
        "The mean over tasks is about these tasks, each counting the same, and takes their patients as "
        "different people; tasks that share patients make its interval too narrow."
    )
    for source in study.sources:
        limit = study.corpora[source].max_images if source in study.corpora else None
        if limit:
            said.append(
                f"{source_title(study, source)} was cut to at most {limit:,} images and pretrained for "
                f"{counted(study.pretrain.epochs, 'epoch')}; the published corpora hold over a million."
            )
    compared = [study.tasks[task] for task in study.compared_tasks]
    others = [task.title for task in compared if not task.same_data_as_published]
    if others:
        said.append(
            f"Published values stand beside ours for orientation, not as a test: the images differ in "
            f"{', '.join(others)}."
        )
    return said


def closing(study: Study, overall: pd.DataFrame) -> str:
    """What to do with the result: a paragraph that depends on what was found."""
    grid = _headline(study, overall, "grid_mean").iloc[0]
    tuned = _headline(study, overall, "best_by_validation").iloc[0]["verdict"]
    a, b = (source_title(study, source) for source in study.compare.headline)
    word = grid["verdict"]
    if word == UNDECIDED:
        width = grid["ci_high"] - grid["ci_low"]
        text = (
            f"These patients do not decide between {a} and {b}. The interval is {width:.3f} wide; half of "
            "that takes about four times as many tested patients."
        )
    elif word.startswith(NO_VERDICT):
        text = f"{a} and {b}: {word}. Mend their weights or lower the rates of transfer.settings first."
    elif word == EQUIVALENT:
        text = f"On average over settings {a} and {b} may stand for each other; tuned by validation: {tuned}."
    else:
        ahead, behind = (a, b) if word in (BETTER, BETTER_BY_LITTLE) else (b, a)
        again = "does so too" if tuned == word else "does not show the same"
        little = "" if word in (BETTER, WORSE) else ", by less than matters"
        text = f"On average over settings {ahead} is ahead of {behind}{little}; tuning by validation {again}."
    text += (
        f" Quote a difference with its interval, estimate and number of patients: {_interval(grid, study)}, "
    )
    text += f"{ESTIMATES['grid_mean']}, {grid['n_patients']:,} {unit(study)}."
    return f"{SIMULATED} On real data one would now say: {text}" if study.simulated else text


def bullets(sentences: list[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _headline(study: Study, table: pd.DataFrame, estimate: str) -> pd.DataFrame:
    return of_pair(table, tuple(study.compare.headline), estimate)


def _luck(study: Study, table: pd.DataFrame) -> str:
    """What the intervals of the headline's mean over settings hold."""
    return _headline(study, table, "grid_mean")["interval_holds"].iloc[0]


def _interval(row: pd.Series, study: Study) -> str:
    return with_interval(row, study.compare.confidence)
