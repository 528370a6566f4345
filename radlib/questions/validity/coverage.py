"""Do the intervals cover the true value as often as they say? (09_validity)

Of the simulated studies of a kind (an entry of `validity.cells`, with its difference or without) the share of
intervals that cover the true value is the coverage; the share that exclude 0 is the power, or, without a
difference, the type-I error. Shares come with Wilson's interval
(1927, doi 10.1080/01621459.1927.10502953): their Monte-Carlo error. An interval holds where that of its
coverage touches the band of `TOLERANCE`, so simulation has not shown it to be outside, nor to be within.
"""

import math
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from radlib.show.findings import Finding
from radlib.show.style import COLOURS, intervals, legend_above
from radlib.show.table import COUNT, Column, Table, interval_columns
from radlib.stats.rivals import METHODS
from radlib.study import Study
from radlib.study.titles import counted

THESE, ANY, ANY_SOURCE = "these trainings", "any training", "any pretraining"
# What the study reports of each; all other methods speak of these trainings.
SPEAKS_OF = {THESE: "reported", ANY: "both_levels", ANY_SOURCE: "sources"}
HOLDS, NARROW, WIDE = "holds", "too narrow", "too wide"
NOT_DRAWN = ("percentile", "t_folds")  # near relatives of others; the table has them
# Of the coverage: 94 to 96 % for a 95 % interval of these trainings, 93 to 97 % of any.
TOLERANCE = {THESE: 0.01, ANY: 0.02, ANY_SOURCE: 0.02}
ENOUGH_PATIENTS = 50  # of each class, from which on the interval over patients must hold
ALPHA = 0.05  # of Wilson's intervals
MEASURES = {"auc": "AUC", "dice": "Dice"}
_COVERAGE = ("coverage", "coverage_low", "coverage_high")
_REJECTED = ("rejected", "rejected_low", "rejected_high")
VALIDITY = Table(
    "validity.csv",
    "validity",
    "kind of simulated study, true difference, method and truth",
    [
        Column("measure", "AUC or Dice", "figure", names=MEASURES),
        Column("positive", "positive patients; of Dice, all", "positive", COUNT),
        Column("negative", "negative patients", "negative", COUNT),
        Column("level", "true figure of b", "level", "g"),
        Column("folds", "folds", "folds", COUNT),
        Column("settings", "settings of each source; with pretrainings, networks", "settings", COUNT),
        Column("seeds", "trainings of each setting", "seeds", COUNT),
        Column("training_sd", "SD that a training adds to the level", "SD of training", "g"),
        Column("pretrainings", "pretrainings of each source", "pretrainings", COUNT),
        Column("pretraining_sd", "SD that a pretraining adds to the level", "SD of pretraining", "g"),
        Column("true_delta", "the true difference", "true difference", "g"),
        Column("method", "how the interval was made", "method", names=METHODS),
        Column("truth", "of these trainings, of any training, or of any pretraining", "of"),
        Column("studies", "simulated studies", "studies", COUNT),
        *interval_columns(_COVERAGE, "share of intervals that cover the true value", "coverage", ".1%"),
        Column("verdict", "coverage against what it should be, given the simulation's error", "verdict"),
        *interval_columns(_REJECTED, "share of intervals that exclude 0", "excludes 0", ".1%"),
        Column("width", "mean width", "width", ".3f"),
        Column("confidence", "of the intervals"),
        Column("resamples", "bootstrap resamples of each study"),
    ],
    index=3,
)


def coverage_table(study: Study, found: pd.DataFrame) -> pd.DataFrame:
    """A row (`VALIDITY`) per cell, true difference, method and truth, from what `simulate` returned.

    Without variation between trainings both true values are one and stand in one row. With it, `these
    trainings` asks for the difference of the trainings at hand, which is never quite 0, so there is no
    error of rejecting it.
    """
    rows = []
    for (place, delta, method), group in found.groupby(["cell", "true_delta", "method"], sort=False):
        cell = study.validity.cells[place]
        anything = ANY_SOURCE if cell.pretraining_sd else ANY
        truths = {THESE: group["these"]} | ({anything: delta} if cell.varies else {})
        patients = {"positive": cell.patients[0], "negative": sum(cell.patients[1:])}
        about = {"true_delta": delta, "method": method, **patients}
        about |= cell.model_dump(exclude={"patients", "delta"})
        for truth, value in truths.items():
            tests, band = truth != THESE or not cell.varies, (study.compare.confidence, TOLERANCE[truth])
            rows.append(about | {"truth": truth} | _row(group, value, tests, band))
    table = VALIDITY.frame(rows, confidence=study.compare.confidence, resamples=study.validity.resamples)
    table["method"] = pd.Categorical(table["method"], list(METHODS))
    varies = ["training_sd", "pretraining_sd", "settings", "seeds", "pretrainings"]
    keys = ["measure", *varies, "folds", "level", "positive", "negative", "true_delta", "truth", "method"]
    return table.sort_values(keys, ignore_index=True).astype({"method": str})


def _row(group: pd.DataFrame, truth: float | pd.Series, tests: bool, band: tuple[float, float]) -> dict:
    """tests: whether excluding 0 answers whether there is a difference."""
    covered = wilson((group["low"] <= truth) & (truth <= group["high"]))
    rejected = wilson((group["low"] > 0) | (group["high"] < 0)) if tests else (np.nan,) * 3
    return {
        "studies": len(group),
        **dict(zip(_COVERAGE, covered, strict=True)),
        "verdict": verdict(*covered[1:], *band),
        **dict(zip(_REJECTED, rejected, strict=True)),
        "width": (group["high"] - group["low"]).mean(),
    }


def wilson(said: pd.Series) -> tuple[float, float, float]:
    """A share, and Wilson's interval of it."""
    return said.mean(), *proportion_confint(said.sum(), len(said), ALPHA, method="wilson")


def verdict(low: float, high: float, confidence: float, tolerance: float) -> str:
    """Whether a coverage between `low` and `high` can be within `tolerance` of what it should be."""
    if high < confidence - tolerance:
        return NARROW
    return WIDE if low > confidence + tolerance else HOLDS


def cell_titles(rows: pd.DataFrame) -> tuple[list[str], str]:
    """What tells each row's cell from others, as `50 + 50 patients, 5 folds`; and what all have in common."""
    parts = pd.DataFrame([_parts(row) for row in rows.to_dict("records")])
    cells = parts.drop_duplicates()
    differs = cells.nunique() > 1
    tells = differs.copy()
    tells["repeated" if cells["repeated"].any() else "patients"] = True
    tells["difference"] = cells.drop(columns="difference").duplicated().any()
    named, common = (
        [", ".join(filter(None, row)) for row in parts.loc[:, some].to_numpy()]
        for some in (tells, ~tells & ~differs)
    )
    return named, common[0]


def _parts(row: dict) -> dict[str, str]:
    two = row["measure"] == "auc"
    return {
        "level": f"{MEASURES[row['measure']]} {row['level']:g}",
        "patients": f"{row['positive']}{' + ' + str(row['negative']) if two else ''} patients",
        "repeated": _repeated(row),
        "folds": f"{row['folds']} folds" if row["folds"] > 1 else "",
        "settings": "" if _repeated(row) else counted(row["settings"], "setting"),
        "difference": f"true difference {row['true_delta']:g}",
    }


def _repeated(row: dict) -> str:
    """`3 pretrainings of 2 networks, SD 0.3`; '' where nothing varies."""
    for sd, one, each in (("pretraining_sd", "pretraining", "network"), ("training_sd", "seed", "setting")):
        if row[sd] > 0:
            return f"{counted(row[one + 's'], one)} of {counted(row['settings'], each)}, SD {row[sd]:g}"
    return ""


def of_truth(table: pd.DataFrame, truth: str) -> pd.DataFrame:
    """Rows of studies that ask for it: of any training or pretraining those of the method that speaks of it,
    and of the interval over patients alone; of these trainings all methods, where trainings do not vary."""
    own = table["truth"] == truth
    if truth == THESE:
        return table[own & (table[["training_sd", "pretraining_sd"]] == 0).all(axis=1)]
    return table[own & table["method"].isin(["reported", SPEAKS_OF[truth]])]


def coverage_figure(study: Study, table: pd.DataFrame, truth: str = THESE) -> Figure | None:
    """A panel per method, a line per kind of study with a difference; around coverage Wilson's interval.

    None where no cell of `validity.cells` asks for this truth.
    """
    rows = of_truth(table, truth)
    rows = rows[(rows["true_delta"] != 0) & ~rows["method"].isin(NOT_DRAWN)]
    if rows.empty:
        return None
    titles, common = cell_titles(rows)
    of_dice = set(rows["method"][rows["measure"] == "dice"])
    only = [" (AUC alone)" if of_dice and method not in of_dice else "" for method in rows["method"]]
    marks = rows.assign(
        panel=[fill(METHODS[method] + said, 30) for method, said in zip(rows["method"], only, strict=True)],
        row=[fill(title, 46) for title in titles],
        value=rows["coverage"],
        ci_low=rows["coverage_low"],
        ci_high=rows["coverage_high"],
        colour=np.where(rows["method"] == SPEAKS_OF[truth], COLOURS[1], COLOURS[0]),
    )
    marks = marks.sort_values("method", key=lambda names: names.map(list(METHODS).index), kind="stable")
    confidence, band = study.compare.confidence, "#CFE8D8"
    figure, panels = intervals(study, marks, "share that cover it", confidence, across=3, sharex=True)
    lines = math.ceil(len(panels) / 3)
    figure.set_size_inches(3.2 + 2.2 * min(len(panels), 3), 1 + lines * (0.9 + 0.2 * len(set(titles))))
    low, high = confidence - TOLERANCE[truth], confidence + TOLERANCE[truth]
    for panel in panels:
        panel.axvspan(low, high, color=band, zorder=0)
    line = {"marker": "o", "lw": 1.4, "ms": 5}
    handles = [
        Line2D([], [], color=COLOURS[1], label=f"reported here, where it speaks of {truth}", **line),
        Line2D([], [], color=COLOURS[0], label="other intervals (line: Monte-Carlo error)", **line),
        Line2D([], [], color=band, lw=8, label=f"{low:.0%} to {high:.0%}: a line that touches it holds"),
    ]
    title = f"How often {confidence:.0%} intervals cover the true difference of {truth}"
    legend_above(figure, handles, title=title + f"\n(all: {common})" * bool(common))
    return figure


def missed(rows: pd.DataFrame, end: float) -> float:
    """How far below the band's lower end a true coverage holds in half of all simulations of this size."""
    return norm.isf(ALPHA / 2) * math.sqrt(end * (1 - end) / rows["studies"].min())


def validity_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Coverage of what is reported, of these trainings and of any, then of its rivals."""
    plain, trained, pretrained = (of_truth(table, truth) for truth in TOLERANCE)
    smaller = plain["positive"].where(plain["measure"] == "dice", plain[["positive", "negative"]].min(axis=1))
    enough = smaller >= ENOUGH_PATIENTS
    of = "of the difference of"
    asked = [
        (f"Intervals over patients, {ENOUGH_PATIENTS} of each class or more", "reported", plain[enough]),
        ("Intervals over patients, fewer of them", "reported", plain[~enough]),
        (f"Intervals over patients alone, {of} {ANY}", "reported", trained),
        (f"Intervals over patients and trainings, {of} {ANY}", "both_levels", trained),
        (f"Intervals over patients alone, {of} {ANY_SOURCE}", "reported", pretrained),
        (f"Intervals over patients and pretrainings, {of} {ANY_SOURCE}", "sources", pretrained),
    ]
    rivals = {name: title for name, title in METHODS.items() if name not in SPEAKS_OF.values()}
    asked += [(title[0].upper() + title[1:], name, plain) for name, title in rivals.items()]
    found = [(subject, rows[rows["method"] == name]) for subject, name, rows in asked]
    return [_found(subject, rows, study.compare.confidence) for subject, rows in found if len(rows)]


def _found(subject: str, rows: pd.DataFrame, confidence: float) -> Finding:
    """The lowest coverage with its Monte-Carlo error, and how many are shown to be outside the band."""
    lowest = rows.loc[rows["coverage"].idxmin()]
    broken = int((rows["verdict"] != HOLDS).sum())
    tolerance = TOLERANCE[rows["truth"].iloc[0]]
    band = f"{100 * (confidence - tolerance):g} % to {100 * (confidence + tolerance):g} %"
    verdict = f"shown to be outside {band} in {broken} of {len(rows)} kinds of study"
    verdict += "; Monte-Carlo error of the lowest: {coverage_low:.1%} to {coverage_high:.1%}".format(**lowest)
    return Finding(f"{subject}: lowest coverage", verdict, lowest["coverage"], form=".1%")
