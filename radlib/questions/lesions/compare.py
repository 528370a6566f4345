"""Do sources differ in how well lesions are found? (07_dice)

Differences are paired, by patient, with intervals. An image's value is the mean over the runs that both
sources of a pair have; images count the same. A task's value is the mean over its test images with a lesion
mask, of U-Nets also over those whose mask the publisher left empty. Where sources were pretrained several
times, the interval covers other pretrainings; else, where every setting was trained with several seeds, other
trainings; else it speaks of these weights.

No source is called better unless the better one beats a fixed shape: the interval of its lead over the
better of two guesses, the whole image and an ellipse in the middle, lies above 0. And none is where networks
of either side diverged or, as U-Nets do, collapsed.
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.lesions.measured import METHODS, METRICS, Found, sound
from radlib.questions.verdicts import (
    corrected,
    difference_columns,
    diverged,
    estimate_columns,
    patients_drawn,
)
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import NOT_SHOWN, Finding, finding_of, over, shown_direction, unless_diverged
from radlib.show.table import Column, Table, interval_columns, p_text, with_ends
from radlib.stats.means import MeanDifference, bootstrap_mean_difference
from radlib.study import Study
from radlib.study.titles import ordered_pairs, pair_title, source_title, task_title
from radlib.training.results import TRAINING, paired_runs, runs_in_common, settings_by_fold, trained_again

NO_MASKS = "No task of this study has lesion masks, so nothing is compared; below is the method."
METHOD = Column("method", "`localisation`: maps of classifiers; `segmentation`: U-Nets", "by", names=METHODS)
GAIN = ("relative_gain", "gain_low", "gain_high")
LEAD = ("lead", "lead_low", "lead_high")
LESS_IS_BETTER = "hausdorff95"
PRETRAINED = ["backbone", "replicate"]
BLIND = "neither is shown to beat a fixed shape that ignores the image"
SPOILT = replace(common.DIVERGED, meaning="which runs diverged or collapsed, so that there is no verdict")
DICE = Table(
    "dice.csv",
    "dice",
    "task, method, measure and pair of sources",
    [
        common.TASK,
        METHOD,
        Column("metric", "what is measured, mean over test images with a mask", "measure", names=METRICS),
        *common.PAIR,
        Column("mean_a", "mean after source a", "a", ".3f"),
        Column("mean_b", "mean after source b", "b", ".3f"),
        *interval_columns(common.DIFFERENCE, "mean after source a minus mean after source b", "difference"),
        *interval_columns(GAIN, "(a - b) / b", "relative gain", "+.0%"),
        Column("p_value", "two-sided, of no difference"),
        common.P_HOLM,
        Column("wilcoxon_p", "of Wilcoxon's test over patients, of these weights", "p (Wilcoxon)", p_text),
        *common.COUNTS[:2],
        Column("n_runs", "runs of both sides", "runs", common.COUNT),
        common.RESAMPLES,
        common.IS_SIMULATED,
        Column("guess", "what the better of two guesses has: the whole image, or an ellipse", "guess", ".3f"),
        *interval_columns(LEAD, "by how much the better source beats it", "lead"),
        common.RESAMPLED,
        Column("verdict", f"higher, lower, `{NOT_SHOWN}`, or `{BLIND}`", "verdict"),
        *common.hidden(SPOILT),
    ],
    index=4,
)
_FAMILY = ["method", "metric", "source_a", "source_b"]


def compare_found(study: Study, methods: list[Found], pairs: list | None = None) -> pd.DataFrame:
    """Every method x task x pair x figure (`DICE`); Holm across the tasks of a method, pair and figure."""
    pieces = [(found, task) for found in methods for task in found.compared_tasks(study)]
    rows = []
    for found, task in progress(pieces, description="bootstrap of Dice"):
        for pair in pairs or ordered_pairs(study):
            sides, by = _sides(found.runs[task], pair)
            if len(sides[0]):
                about = {"task": task, "source_a": pair[0], "source_b": pair[1]}
                rows += [about | row for row in _rows(study, task, found, sides, by)]
    table = corrected(DICE.frame(rows, study), _FAMILY, {"p_value": "p_holm"})
    return table.assign(verdict=[_verdict(study, row) for row in table.to_dict("records")])


def _sides(runs: pd.DataFrame, pair: tuple[str, str]) -> tuple[Sequence[pd.DataFrame], list[str]]:
    """The runs of both sources that are compared, and by which columns they are kept apart, to be resampled.

    Pretrainings need not be as many on both sides: a published file is a single one.
    """
    every = runs_in_common(runs, pair)
    counts = [set(side.groupby("backbone")["replicate"].nunique()) for side in every]
    if max(map(len, counts)) == 1 and counts != [{1}, {1}]:
        return every, PRETRAINED
    sides = paired_runs(runs, pair)
    return sides, [*TRAINING, "seed"] if trained_again(settings_by_fold(sides[0])) else []


@of_task
def _rows(study: Study, task: str, found: Found, sides: Sequence[pd.DataFrame], by: list[str]) -> list[dict]:
    """A row per figure of a method."""
    about, guesses, rows = found.means(task, sides[0]), found.baselines(task).values(), []
    for name in found.figures:
        figures = [found.kept_apart(task, runs, name, by) for runs in sides]
        result = mean_difference(study, task, figures, about)
        gain = [ratio - 1 for ratio in result.a.share_of(result.b, study.compare.confidence)]
        row = {
            "method": found.method,
            "metric": name,
            "mean_a": result.a.value,
            "mean_b": result.b.value,
            **difference_columns(study, result.difference),
            **dict(zip(GAIN, gain, strict=True)),
            "wilcoxon_p": result.wilcoxon_p,
            "n_patients": about["patient_id"].nunique(),
            "n_images": len(about),
            "n_runs": sum(map(len, sides)),
            "diverged": diverged(*sides),
        }
        if guesses:
            sign = -1 if name == LESS_IS_BETTER else 1
            guess = max((some.loc[about.index, name] for some in guesses), key=lambda g: sign * g.mean())
            better = sign * figures[int(sign * result.difference.value < 0)]
            lead = mean_difference(study, task, [better, better.mul(0).add(sign * guess, axis=0)], about)
            row |= {"guess": guess.mean(), **estimate_columns(study, lead.difference, LEAD)}
        rows.append(row)
    return rows


def mean_difference(
    study: Study, task: str, sides: list[pd.DataFrame], about: pd.DataFrame
) -> MeanDifference:
    """Of two sides of the same images; all pairs, figures and methods see the same resampled patients.

    Args:
        sides: image (rows) by what is kept apart (columns); about: each image's patient and fold.
    """
    patients, folds = about["patient_id"].to_numpy(), about["fold"].to_numpy()
    again, figures = {}, [side.loc[about.index].to_numpy().T for side in sides]
    if "seed" in sides[0].columns.names:
        again["settings"] = sides[0].columns.droplevel("seed").factorize()[0]
    elif PRETRAINED[-1] in sides[0].columns.names:
        again["networks"] = tuple(side.columns.get_level_values("backbone") for side in sides)
    return bootstrap_mean_difference(*figures, patients, folds, **patients_drawn(study, task), **again)


def _verdict(study: Study, row: dict) -> str:
    """Which side's figure is higher, if that is shown and the better side has found anything."""
    word = BLIND if row["lead_low"] <= 0 else shown_direction(row, study.compare.alpha)
    return unless_diverged(word, row.get("diverged"))


def lesion_forest(study: Study, table: pd.DataFrame) -> Figure:
    """Difference in Dice of every method and task with its interval, one panel per pair."""
    some = table[table["metric"] == "dice"]
    of_rows = some.groupby(["task", "method"])["resampled"]
    covered = of_rows.transform(lambda of_pairs: " or ".join(of_pairs.unique()))
    rows = [
        f"{task_title(study, r.task)}, {METHODS[r.method]}\n(over {what})"
        for r, what in zip(some.itertuples(), covered, strict=True)
    ]
    shown = some.assign(row=rows, p_holm=some["p_holm"].mask(some["verdict"] == BLIND, 1.0))
    hollow = "not shown after Holm's correction, no better than a fixed shape, or runs collapsed"
    return style.forest(study, shown, "Lesions", what="Dice", hollow=hollow)


# Relative gain of the Dice of maps, radiology against ImageNet (Mei et al. 2022, doi 10.1148/ryai.210315).
PUBLISHED_GAIN = {"thyroid_us": 0.646, "breast_us": 0.164}


def lesion_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Dice of the headline pair by method and task, after Holm's correction; and whether anybody looked."""
    pair, found = tuple(study.compare.headline), []
    mine = style.of_pair(table, pair)
    for row in mine[mine["metric"] == "dice"].to_dict("records"):
        verdict = row["verdict"] + (f" (Dice {row['guess']:.3f})" if row["verdict"] == BLIND else "")
        claimed = PUBLISHED_GAIN.get(row["task"]) if row["method"] == "localisation" else None
        if claimed is not None:
            gain = with_ends(*(row[name] for name in GAIN), "+.0%")
            verdict += f"; relative gain {gain}; of RadImageNet against ImageNet, published {claimed:+.0%}"
        title = f"Dice of {METHODS[row['method']]}, {pair_title(study, pair)}: "
        found.append(finding_of(row, f"{title}{task_title(study, row['task'])} {over(row)}", verdict))
    return found


def collapse_findings(study: Study, segmented: Found) -> list[Finding]:
    """How many U-Nets collapsed, by task and source; the headline difference of settings where none did."""
    pair, found, spoilt = tuple(study.compare.headline), [], []
    for task in segmented.compared_tasks(study):
        counts = segmented.runs[task].groupby("source", sort=False)["collapsed"].agg(["sum", "count"])
        lost = counts[counts["sum"] > 0].to_dict("index").items()
        said = [f"{n['sum']} of {n['count']} after {source_title(study, source)}" for source, n in lost]
        title = f"U-Nets that collapsed, {task_title(study, task)}"
        found.append(Finding(title, "; ".join(said) or f"none of {counts['count'].sum()}"))
        spoilt += [task] if set(pair) & {source for source, _ in lost} else []
    if spoilt:
        kept = compare_found(study, [sound(segmented, pair)], [pair])
        said = lesion_findings(study, kept[kept["task"].isin(spoilt)])
        found += [replace(one, subject=f"{one.subject}, without settings that collapsed") for one in said]
    return found
