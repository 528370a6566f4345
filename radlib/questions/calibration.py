"""Do the scores mean what they say? (08_beyond_the_mean)

Brier score, calibration error and balanced accuracy, by task and source. Every run is measured on its own
fold's test images, and the mean over a source's runs is reported, as for the AUC: over the settings that the
pair of the headline has in common. The difference of this pair is taken on the same patients. The trained
runs are held fixed.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from radlib.errors import UserError, of_task
from radlib.progress import progress
from radlib.questions.verdicts import (
    answering,
    averaged,
    diverged,
    estimate_columns,
    left_out,
    of_counting,
    patients_drawn,
)
from radlib.seeds import seed_of
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import HIGHER, LOWER, Finding, direction, finding_of, over
from radlib.show.table import MEAN, Column, Table, interval_columns, titled, with_ends
from radlib.stats.calibration import FIGURES, bootstrap_figures, ece_if_perfect, number_of_bins, reliability
from radlib.stats.estimate import Estimate, mean_of
from radlib.stats.folds import FoldScores, run_shares, tested
from radlib.study import Study
from radlib.study.titles import estimate_title, pair_title, source_title, task_title
from radlib.training.results import REMEDY, Results, headline_runs

FIGURE_TITLES = {
    "brier": "Brier score",
    "ece": "expected calibration error",
    "balanced_accuracy": "balanced accuracy at the validation threshold",
}
# What `reference` is: a rival that is to be beaten, the best that can be had, and guessing.
REFERENCES = {
    "brier": "the share of positives for every image",
    "ece": "these scores, were they true",
    "balanced_accuracy": "guessing",
}
_REFERENCE = Column(
    "reference",
    "of the Brier score that of the share of positives as every image's score, a rival; of the calibration "
    "error what these scores would have if they were true, the best to be had; of balanced accuracy 0.5, "
    "guessing",
    "to compare with",
    ".3f",
)
_VALUE = ("value", "ci_low", "ci_high")
_BETTER = {"brier": LOWER, "ece": LOWER, "balanced_accuracy": HIGHER}
CALIBRATION = Table(
    "calibration.csv",
    "beyond",
    "figure, task and source, or pair of sources",
    [
        common.TASK,
        Column("figure", "Brier score, calibration error, balanced accuracy", "figure", names=FIGURE_TITLES),
        Column("source", "the source", "source", source_title),
        Column("against", "the source whose figure is subtracted, if any", "minus", source_title),
        *interval_columns(_VALUE, "the figure, or its difference", "value", ".3f"),
        _REFERENCE,
        Column("bins", "of equal numbers", "bins", common.COUNT),
        Column("n_runs", "runs", "runs", common.COUNT),
        *common.hidden(*common.COUNTS),
        common.COUNTED,
        *common.ORIGIN,
    ],
    index=3,
)


@dataclass(frozen=True, eq=False)
class Measured:
    """One source on one task: figures, their `REFERENCES`, and the diagram.

    curve: mean score of each bin, and its share of positives.
    runs: that were measured; about: counts, columns of the table.
    """

    figures: dict[str, Estimate]
    references: dict[str, float]
    curve: tuple[np.ndarray, Estimate]
    runs: pd.DataFrame
    about: dict


def measure(study: Study, results: Results) -> dict[str, dict[str, Measured]]:
    """By task of two classes in which the pair of the headline has runs in common, and source.

    Raises:
        UserError: a run has no threshold; too few patients or resamples for an interval.
    """
    some = results.runs[results.runs["task"].isin(results.two_class_tasks)]
    if len(some) and ("val_threshold" not in some or some["val_threshold"].isna().any()):
        raise UserError(f"runs.parquet holds runs without the column val_threshold; {REMEDY}")
    found = {
        task: {
            source: _measure(study, results, task, runs)
            for source, runs in headline_runs(study, results.of_task(task)).items()
        }
        for task in progress(results.two_class_tasks, description="calibration")
    }
    return {task: sources for task, sources in found.items() if sources}


@of_task
def _measure(study: Study, results: Results, task: str, runs: pd.DataFrame) -> Measured:
    folds = results.scores(task, runs)
    thresholds = [group["val_threshold"].to_numpy(float) for _, group in runs.groupby("fold")]
    bins, drawn = number_of_bins(folds), patients_drawn(study, task)
    perfect = ece_if_perfect(folds, bins, seed_of(study.seed, "perfect", task))
    return Measured(
        figures=bootstrap_figures(folds, thresholds, bins, **drawn),
        references={"brier": _always_the_share(folds), "ece": perfect, "balanced_accuracy": 0.5},
        curve=reliability(folds, bins, **drawn),
        runs=runs,
        about={"bins": bins, "n_runs": len(runs), **tested(folds)},
    )


def _always_the_share(folds: list[FoldScores]) -> float:
    """Brier score of somebody who gives every image the share of positives of its test part."""
    shares = np.array([fold.labels.mean() for fold in folds])
    return float(run_shares(folds) @ (shares * (1 - shares)))


def calibration_table(
    study: Study, found: dict[str, dict[str, Measured]], counting: Collection[str] | None = None
) -> pd.DataFrame:
    """`CALIBRATION`: a row per task, figure and source, and the headline difference; its mean, if two or more
    tasks count."""
    a, b = study.compare.headline
    rows, tasks = [], averaged(found, counting)
    for figure in FIGURES:
        differences = {}
        for task, sources in found.items():
            known = {"task": task, "counts": left_out(task, counting)}
            for source, one in sources.items():
                about = {**known, "source": source, "reference": one.references[figure], **one.about}
                rows.append(about | _row(study, figure, one.figures[figure], one))
            differences[task] = sources[a].figures[figure] - sources[b].figures[figure]
            about = {**known, "source": a, "against": b, **sources[a].about}
            rows.append(about | _row(study, figure, differences[task], sources[a], sources[b]))
        if len(tasks) > 1:
            mean = mean_of([differences[task] for task in tasks], study.compare.confidence)
            both = [found[task][source] for source in (a, b) for task in tasks]
            rows.append({"task": MEAN, "source": a, "against": b} | _row(study, figure, mean, *both))
    table = CALIBRATION.frame(rows, study)
    return table.astype(
        dict.fromkeys(["bins", "n_runs", *(column.name for column in common.COUNTS)], "Int64")
    )


def _row(study: Study, figure: str, found: Estimate, *of: Measured) -> dict:
    lost = diverged(*(one.runs for one in of))
    return {"figure": figure, "diverged": lost, **estimate_columns(study, found, _VALUE)}


def calibration_shown(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """The table for readers: differences have a sign, and what a figure is compared with has its name."""
    shown, title = CALIBRATION.shown(study, table), _REFERENCE.title
    both = zip(shown[title], table["figure"], strict=True)
    beside = [f"{number}, {REFERENCES[name]}" if number else "" for number, name in both]
    signs = table["against"].notna().to_numpy()
    values = [
        with_ends(*ends, "+.3f" if sign else ".3f")
        for ends, sign in zip(table[list(_VALUE)].to_numpy(), signs, strict=True)
    ]
    return shown.assign(**{title: beside, "value": values})


def reliability_diagrams(
    study: Study, found: dict[str, dict[str, Measured]], counting: Collection[str] | None = None
) -> Figure:
    """One panel per task, one line per source: share of positives against mean score, bin by bin."""
    titles = [task_title(study, task, counting).replace(" (", "\n(") for task in found]
    figure, panels = style.unit_squares(study, titles, "mean score", "share of positives")
    colours = style.source_colours(study)
    for panel, sources in zip(panels, found.values(), strict=True):
        # A little to the side, so that intervals of different sources do not hide each other.
        shifts = 0.008 * (np.arange(len(sources)) - (len(sources) - 1) / 2)
        for (source, one), shift in zip(sources.items(), shifts, strict=True):
            score, share = one.curve
            low, high = share.interval(study.compare.confidence)
            panel.vlines(score + shift, low, high, color=colours[source], lw=1.2, alpha=0.75)
            panel.plot(score + shift, share.value, "o-", color=colours[source], ms=3.5, lw=0.9)
    titles = style.source_titles(
        study, pd.concat(one.runs for sources in found.values() for one in sources.values())
    )
    interval = f"{study.compare.confidence:.0%} interval of each bin over patients"
    title = f"Share of positives by score, {estimate_title(study)}\n({interval})"
    style.legend_above(figure, style.source_handles(study, titles, titles, marker="o", ms=4), title=title)
    return figure


def calibration_forest(study: Study, table: pd.DataFrame) -> Figure:
    """A panel per figure: headline difference of every task and the mean, coloured as the better source.

    Less is better of two figures and more of the third, so above each panel stands which way is whose.
    """
    pair, colours = study.compare.headline, style.source_colours(study)
    rows = table[table["against"].notna()]
    marks = []
    for row in rows.to_dict("records"):
        word = direction(row["ci_low"], row["ci_high"])
        shown = word in (HIGHER, LOWER) and pd.isna(row.get("diverged"))
        mark = {
            "panel": FIGURE_TITLES[row["figure"]].replace(" at the", "\nat the"),
            "row": titled(study, row),
            "colour": colours[pair[word != _BETTER[row["figure"]]]] if shown else style.UNDECIDED,
            "filled": shown,
            "marker": "D" if row["task"] == MEAN else "o",
        }
        marks.append(row | mark)
    figure, panels = style.intervals(study, pd.DataFrame(marks), "", line=0, across=len(FIGURES))
    for panel, name in zip(panels, rows["figure"].unique(), strict=True):
        left, right = pair if _BETTER[name] == LOWER else pair[::-1]
        words = f"← {source_title(study, left)} better\n{source_title(study, right)} better →"
        panel.set_xlabel(words, fontsize=8)
    interval = f"{study.compare.confidence:.0%} interval over patients"
    said = "filled where it excludes 0, in the colour of the better source"
    title = f"{pair_title(study, pair)}, {estimate_title(study)}: difference and {interval}\n({said})"
    style.legend_above(figure, style.source_handles(study, pair, marker="o", ms=5), title=title)
    return figure


def calibration_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """The headline difference of every figure, mean over tasks; and where scores err more than true ones."""
    if table.empty:
        return []
    pair, by, found = pair_title(study, study.compare.headline), estimate_title(study), []
    between = table[table["against"].notna() & of_counting(table)]
    for row in answering(between, ["figure"]).to_dict("records"):
        word = direction(row["ci_low"], row["ci_high"])
        if word in (HIGHER, LOWER):
            word += ", which is better" if word == _BETTER[row["figure"]] else ", which is worse"
        title = f"{FIGURE_TITLES[row['figure']]}, {pair}, {by}: {titled(study, row)} {over(row)}"
        found.append(finding_of(row, title[0].upper() + title[1:], word, _VALUE))
    rows = table[(table["figure"] == "ece") & table["against"].isna()]
    rows = rows[rows["diverged"].isna()] if "diverged" in rows else rows
    beyond = f"in {(rows['ci_low'] > rows['reference']).sum()} of {len(rows)} cases of a source and task"
    subject = f"Calibration error above that of true probabilities, {by}: every source on every task"
    return [*found, Finding(subject, beyond)]
