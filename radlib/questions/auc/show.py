"""What 05_auc and the summary show of the differences in AUC: tables, figures, findings, the headline."""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from scipy.stats import probplot

from radlib.errors import UserError
from radlib.progress import progress
from radlib.questions.auc.compute import AUC, OVERALL
from radlib.questions.auc.sources import SOURCES_TOO, with_pretrainings
from radlib.questions.patients import unit
from radlib.questions.verdicts import BETTER, CLAIMS, WORSE, averaged, patients_drawn
from radlib.show import style
from radlib.show.findings import Finding, direction, finding_of, over, with_interval
from radlib.show.table import DIFFERENCE, MEAN
from radlib.stats.bootstrap import roc_band
from radlib.stats.estimate import PATIENTS, Estimate, resamples_needed
from radlib.stats.folds import smaller_class
from radlib.stats.models import MixedModelResult
from radlib.study import Study
from radlib.study.titles import (
    TRAIN,
    counted,
    estimate_title,
    ordered_pairs,
    pair_title,
    regime_title,
    source_title,
    task_title,
)
from radlib.training.results import RUN, SETTING, Results, headline_runs, paired_runs

BAND_RESAMPLES = 500
DOTS = {"marker": "o", "ls": "", "color": "0.3", "ms": 3, "alpha": 0.35, "mew": 0}


def read_tables(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """auc.csv and overall.csv.

    Raises:
        UserError: a table is missing, or was written for other tasks, sources or data.
    """
    table, overall = AUC.read(study), OVERALL.read(study)
    pairs = set(zip(table["source_a"], table["source_b"], strict=True))
    known = set(table["task"]) <= set(study.tasks) and pairs <= set(ordered_pairs(study))
    if not known or bool(table["simulated"].any()) != study.simulated:
        raise UserError(
            f"{study.report_dir}/auc.csv is of other tasks, pairs or data than the study's; run dvc repro auc"
        )
    return table, overall


def of_estimate(table: pd.DataFrame, estimate: str) -> pd.DataFrame:
    return table[table["estimate"] == estimate]


def auc_of_sources(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Mean AUC by task and source, each from the pair in which it has most runs; fewer runs are said."""
    some = of_estimate(table, study.claimed)
    sides = [some[["task", f"source_{s}", "n_runs", f"auc_{s}"]].to_numpy() for s in "ab"]
    long = pd.DataFrame(np.concatenate(sides), columns=["task", "source", "runs", "auc"])
    long = long.sort_values("runs", kind="stable").drop_duplicates(["task", "source"], keep="last")
    most = long.groupby("task")["runs"].transform("max")
    few = [f" ({n} runs)" if n < m else "" for n, m in zip(long["runs"], most, strict=True)]
    long["auc"] = long["auc"].map("{:.3f}".format) + few
    wide = long.pivot(index="task", columns="source", values="auc").fillna("")
    wide = wide.reindex(
        index=[t for t in study.tasks if t in wide.index], columns=[s for s in study.sources if s in wide]
    )
    weights = [(source, name) for source in study.sources for name in study.backbones_of(source)]
    titles = style.source_titles(study, pd.DataFrame(weights, columns=["source", "backbone"]))
    wide = wide.rename(index=lambda t: task_title(study, t), columns=titles)
    return wide.rename_axis(index="task", columns="mean AUC after")


def shown_as(study: Study, table: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """For readers: these columns of `AUC` under other titles."""
    columns = [replace(column, title=titles.get(column.name, "")) for column in AUC.columns]
    return replace(AUC, columns=columns).shown(study, table)


def setting_deltas(study: Study, results: Results) -> pd.DataFrame:
    """Columns task, backbone, train, lr, delta: headline difference, mean over folds and seeds."""
    a, b = paired_runs(results.runs, study.compare.headline, ["task", *RUN])
    deltas = a.assign(delta=a["test_auc"] - b["test_auc"])
    return deltas.groupby(["task", *SETTING], as_index=False)["delta"].mean()


def roc_bands(study: Study, results: Results, points: int = 51) -> dict[str, dict[str, Estimate]]:
    """By task of two classes and source: the mean curve over the runs of `headline_runs`, at even rates.

    A band is for the eye and takes `BAND_RESAMPLES`, more only where few patients need them.
    """
    grid, options = np.linspace(0, 1, points), study.compare
    bands: dict[str, dict[str, Estimate]] = {}
    for task in progress(results.two_class_tasks, description="ROC curves"):
        drawn = patients_drawn(study, task)
        for source, runs in headline_runs(study, results.of_task(task)).items():
            folds = results.scores(task, runs)
            needed = 10 * resamples_needed(options.confidence, smaller_class(folds), len(folds))
            drawn["resamples"] = min(options.resamples, max(BAND_RESAMPLES, needed))
            bands.setdefault(task, {})[source] = roc_band(folds, grid, **drawn)
    return bands


def roc_curves(
    study: Study,
    results: Results,
    bands: dict[str, dict[str, Estimate]],
    counting: Collection[str] | None = None,
) -> Figure:
    """Mean ROC curve of each source with its pointwise band (`roc_bands`), one panel per task."""
    titles = [task_title(study, task, counting).replace(" (", "\n(") for task in bands]
    figure, panels = style.unit_squares(study, titles, "1 − specificity", "sensitivity")
    colours = style.source_colours(study)
    for panel, curves in zip(panels, bands.values(), strict=True):
        for source, band in curves.items():
            rates, ends = np.linspace(0, 1, len(band.value)), band.interval(study.compare.confidence)
            style.banded(panel, rates, band.value, *ends, color=colours[source], lw=1.6)
    runs = [some for task in bands for some in headline_runs(study, results.of_task(task)).values()]
    titles = style.source_titles(study, pd.concat(runs))
    band = f"{study.compare.confidence:.0%} interval of each point over patients"
    title = f"Mean ROC curve, {estimate_title(study)}; band: {band}"
    style.legend_above(figure, style.source_handles(study, titles, titles, lw=2), title=title)
    return figure


def auc_forest(
    study: Study,
    table: pd.DataFrame,
    overall: pd.DataFrame,
    estimate: str = "grid_mean",
    counting: Collection[str] | None = None,
) -> Figure:
    """Difference of every task with its interval, one panel per pair, the mean over tasks as a diamond."""
    tasks = of_estimate(table, estimate)
    tasks = tasks.assign(row=[task_title(study, task, counting) for task in tasks["task"]])
    means = of_estimate(overall, estimate).assign(row=MEAN)
    rows = pd.concat([tasks, means[means["n_tasks"] > 1]])  # of one task, the mean says the same again
    covered = " or ".join(rows["resampled"].unique())
    title = f"{estimate_title(study, estimate).capitalize()}, these weights, over {covered}"
    return style.forest(study, rows, title, band=True)


def setting_map(study: Study, deltas: pd.DataFrame, counting: Collection[str] | None = None) -> Figure:
    """Headline difference of every setting and task as a coloured number, and the mean over those that count.

    A setting that some of these tasks do not have has no mean. One training per number and fold, so it
    carries no interval; the figure shows where a source matters, not whether a setting's difference is more
    than chance. Numbers are black or white, which differs more from the cell in luminance.
    """
    a, b = (style.source_colours(study)[source] for source in study.compare.headline)
    wide = deltas.pivot(index=["train", "backbone", "lr"], columns="task", values="delta")
    wide = wide[[task for task in study.tasks if task in wide]]
    if len(count := averaged(wide, counting)) > 1:
        wide = wide.assign(**{MEAN: wide[count].mean(axis=1, skipna=False)})
    trains, networks = list(TRAIN), list(study.backbones)
    order = sorted(wide.index, key=lambda one: (trains.index(one[0]), networks.index(one[1]), one[2]))
    wide = wide.loc[order]
    names = [task_title(study, task, counting) for task in wide]
    names = [name.replace(", ", ",\n").replace(" (", "\n(") for name in names]
    longest = max(len(line) for name in names for line in name.split("\n"))
    size = (3.2 + max(1.1, style.CHARACTER * longest) * len(names), 1.7 + 0.27 * len(wide))
    figure, panel = plt.subplots(figsize=size, layout="constrained")
    sns.heatmap(
        wide,
        vmax=style.span(deltas["delta"]),
        center=0,
        cmap=LinearSegmentedColormap.from_list("ahead", [b, "white", a]),
        annot=wide.map(lambda value: f"{value:+z.3f}".replace("-", "−")),
        fmt="",
        annot_kws={"fontsize": 8},
        cbar_kws={"label": "difference in AUC", "fraction": 0.04, "pad": 0.01},
        xticklabels=names,
        yticklabels=[f"{backbone}, {regime_title(train, lr)}" for train, backbone, lr in wide.index],
        ax=panel,
    )
    panel.set(xlabel="", ylabel="")
    panel.tick_params(length=0, labelsize=8, labelrotation=0)
    shades = panel.collections[0].to_rgba(wide.to_numpy())[wide.notna()]
    for text, shade in zip(panel.texts, shades, strict=True):
        text.set_color("black" if sns.utils.relative_luminance(shade) > 0.18 else "white")
    title = f"Difference in AUC by setting\n{pair_title(study, study.compare.headline)}"
    if wide.isna().any(axis=None):
        of_mean = "; of the mean, not run on every task that counts" if MEAN in wide else ""
        title += f"\n(blank: not run{of_mean})"
    figure.suptitle(title)
    style.mark_simulated(figure, study)
    return figure


def model_figure(study: Study, model: MixedModelResult) -> Figure:
    """Fixed effects with Wald intervals; residuals against the normal and against fitted values.

    It knows folds and no patients, so its intervals are no substitute for those over patients.
    """
    terms = model.table[model.table["term"] != "Intercept"].reset_index(drop=True)
    heights = [0.8 + 0.42 * len(terms), 3]
    size = (8, sum(heights) + 0.5)
    figure, panels = plt.subplot_mosaic("aa;bc", figsize=size, height_ratios=heights, layout="constrained")
    above, left, right = panels.values()
    style.quiet(above).axvline(0, color="0.25", lw=1)
    style.row_axis(above, [_term_title(study, term) for term in terms["term"]])
    marks = terms.assign(value=terms["estimate"], colour="0.2", filled=True, marker="o").to_dict("records")
    for y, mark in enumerate(marks):
        style.draw_mark(above, mark, y)
    above.set(xlabel="effect on AUC", title=f"Fixed effects, {study.compare.confidence:.0%} Wald interval")
    (quantiles, residuals), (slope, start, _) = probplot(model.residuals)
    left.plot(quantiles, residuals, **DOTS)
    left.axline((0, start), slope=slope, color="0.25", lw=1)
    left.set(xlabel="normal quantile", ylabel="residual (AUC)", title="Residuals:\nnormal on the line?")
    right.axhline(0, color="0.25", lw=1)
    right.plot(model.fitted, model.residuals, **DOTS)
    right.set(xlabel="fitted AUC", ylabel="residual (AUC)", title="Residuals\nagainst fitted")
    figure.suptitle("Mixed model of all runs, a cross-check: it knows folds, not patients")
    style.mark_simulated(figure, study)
    return figure


def _term_title(study: Study, term: str) -> str:
    """`source[a] - source[b]`, `train[frozen] - mean` and their products, as a reader would say them."""
    named = re.sub(r"source\[(\w+)\]", lambda found: source_title(study, found[1]), term)
    named = re.sub(r"train\[(\w+)\]", lambda found: TRAIN[found[1]], named)
    named = re.sub(r" : (.+) - mean$", r"\nmore with \1 than on average", named)
    return re.sub(r"\w+\[(\w+)\]", r"\1", named).replace(" - ", " − ")


def headline_sentence(study: Study, claim: dict | None) -> str:
    """`AUC was lower with A than with B by 0.033 (95 % CI 0.022 to 0.044), mean over 5 tasks, ...`

    Args:
        claim: of `claim_of`.
    """
    a, b = (source_title(study, source) for source in study.compare.headline)
    if claim is None:
        why = "a task counts where some network is shown to beat the shortcut classifier and an AUC of 0.5"
        return f"**No claim about {a} and {b}**: no task counts ({why})."
    value, low, high = (claim[name] for name in DIFFERENCE)
    verdict, form = claim["verdict"], "+.3f"
    if verdict.startswith((BETTER, WORSE)):
        form = ".3f"
        value, low, high = (value, low, high) if value > 0 else (-value, -high, -low)
    size = with_interval(Finding("", verdict, value, low, high, form), study.compare.confidence)
    said = CLAIMS.get(verdict, f"{{a}} against {{b}}, {verdict}: difference in AUC {{size}}")
    said = said.format(a=a, b=b, size=size, margin=study.compare.equivalence)
    scope = f"{_of_tasks(claim)}, {claim['n_patients']:,} tested {unit(study)}"
    return f"**{said}**, {estimate_title(study, study.claimed)}, {scope}."


def _of_tasks(row: Mapping) -> str:
    """Over which tasks a row of `OVERALL` is: of one it is no mean."""
    return f"mean over {row['n_tasks']} tasks" if row["n_tasks"] > 1 else "one task"


def resampled_sentence(study: Study, claim: dict | None) -> str:
    """What the interval of the claim covers, and what is held fixed; `claim`: of `claim_of`."""
    held, seeds = claim["resampled"] if claim else PATIENTS, counted(len(study.transfer.seeds), "seed")
    if held == SOURCES_TOO:
        numbers = claim["pretrainings_a"], claim["pretrainings_b"]
        titles = [source_title(study, source) for source in study.compare.headline]
        times = dict(zip(titles, map(int, numbers), strict=True))
        several = [f"{counted(n, 'pretraining')} of each with {title}" for title, n in times.items() if n > 1]
        fixed = "".join(f"the weights of {title}, " for title, n in times.items() if n == 1)
        return (
            "The interval covers other test patients and other pretrainings of the same networks "
            f"({', '.join(several)}); {fixed}training patients and folds are held fixed."
        )
    if study.claims_a_probe:
        return (
            "The interval covers the variation between test patients; weights, training patients and folds "
            "are held fixed, and fitting a probe has no random part."
        )
    if held == PATIENTS:
        words = "Intervals cover the variation between test patients, **not between trainings**"
        return f"{words} ({seeds} per setting)."
    return (
        "Intervals of the mean over settings cover the variation **between test patients and between "
        f"trainings** ({seeds} per setting); those of the setting chosen by validation, and DeLong's, cover "
        "patients alone."
    )


def auc_findings(
    study: Study,
    table: pd.DataFrame,
    overall: pd.DataFrame,
    pretrained: pd.DataFrame,
    counting: Collection[str] | None = None,
) -> list[Finding]:
    """The headline by every estimate, task by task after Holm's correction, then the other pairs.

    Over other pretrainings where `pretrained` (`SOURCES`) has them; counting: as of `averaged`.
    """
    headline, *others = ordered_pairs(study)
    means = _rows(overall, headline)
    asked = [(row, "verdict", f"{_of_tasks(row)}, {estimate_title(study, row['estimate'])}") for row in means]
    of_tasks = _rows(table, headline, study.claimed)
    asked += [(row, "verdict_holm", task_title(study, row["task"], counting)) for row in of_tasks]
    rows = [row for pair in others for row in _rows(overall, pair, study.claimed)]
    asked += [(row, "verdict", _of_tasks(row)) for row in rows]
    found = []
    for one, verdict, where in asked:
        row = with_pretrainings(one, pretrained)
        pair = pair_title(study, (row["source_a"], row["source_b"]))
        found.append(finding_of(row, f"AUC, {pair}: {where} (over {row['resampled']})", row[verdict]))
    # How often DeLong and the bootstrap come to the same conclusion, over all rows of the table.
    ends = [("ci_low", "ci_high"), ("delong_ci_low", "delong_ci_high")]
    both = table.dropna(subset="delong_p")
    words = [[direction(*row) for row in both[list(pair)].to_numpy()] for pair in ends]
    same = sum(ours == check for ours, check in zip(*words, strict=True))
    agreement = f"agree in {same} of {counted(len(both), 'comparison')}"
    return found + [Finding("DeLong's interval and the bootstrap's", agreement)] * bool(len(both))


def tuned_findings(study: Study, overall: pd.DataFrame) -> list[Finding]:
    """The headline pair, each source with the setting that validation chose: what whoever tunes compares."""
    tuned, pair = "best_by_validation", study.compare.headline
    subject = f"AUC, {pair_title(study, pair)}, {estimate_title(study, tuned)}"
    return [
        finding_of(row, f"{subject}: {_of_tasks(row)} {over(row)}", row["verdict"])
        for row in _rows(overall, pair, tuned)
    ]


def _rows(table: pd.DataFrame, pair: tuple[str, str], estimate: str | None = None) -> list[dict]:
    return style.of_pair(table, pair, estimate).to_dict("records")
