"""Which source comes first, and how often? (08_beyond_the_mean)

Sources are ranked on what all of them have in common: for the backbones of each source, together with every
other source that has them all. So a checkpoint of one network is ranked on that network, and the others once
more on all of theirs. All figures of 08 are of the mean over the settings, of which the claim need not be.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import rankdata

from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.verdicts import answering, averaged, diverged, left_out, of_counting, patients_drawn
from radlib.show import style
from radlib.show import table as common
from radlib.show.findings import Finding, finding_of
from radlib.show.table import MEAN, Column, Table, titled
from radlib.stats.bootstrap import bootstrap_run_aucs, place_shares, run_weights
from radlib.stats.estimate import Estimate, mean_of, stacked
from radlib.stats.folds import tested
from radlib.study import Study
from radlib.study.titles import TRAIN, estimate_title, source_title
from radlib.training.predictions import places_of
from radlib.training.results import RUN, TRAINING, Results, settings_by_fold, trained_again

ACROSS = 4  # panels in a row, at most
LARGEST_DOT = 620.0  # area in square points of a place that is always taken
RANKS = Table(
    "ranks.csv",
    "beyond",
    "task, group of sources, source and place",
    [
        common.TASK,
        Column("backbones", "that all sources of the group have"),
        Column("source", "the source", "source", source_title),
        Column("auc", "mean over the runs that the group has in common", "AUC", ".3f"),
        Column("rank", "place in the data", "place in the data", "g"),
        Column("place", "a place", "place", common.COUNT),
        Column("share", "share of resamples in which the source takes it", "rank frequency", ".1%"),
        Column("n_sources", "sources of the group"),
        Column("n_runs", "runs of each source"),
        Column("n_patients", "tested patients"),
        common.RESAMPLES,
        Column("resampled", "what was resampled"),
        common.IS_SIMULATED,
        common.COUNTED,
        common.DIVERGED,
    ],
    index=2,
)


def of_which(study: Study) -> str:
    """Of which runs the figures of 08 are, and of which the claim and the ranking of weights are."""
    regimes = [TRAIN[one] for one in study.transfer.averaged]
    here = estimate_title(study) + (f" ({', '.join(regimes)})" if len(regimes) > 1 else "")
    return (
        f"**Here: {here}.** The claim (`compare.claim_by`): {estimate_title(study, study.claimed)}. "
        f"The ranking of weights (`compare.rank_by`): {TRAIN[study.compare.rank_by]}."
    )


@dataclass(frozen=True, eq=False)
class TaskDraws:
    """Every run of a task in every resample of its patients, and of its trainings where there are several.

    runs: R rows, in the order of the R AUCs; weights: (resamples, R), how much each training counts, or None.
    """

    runs: pd.DataFrame
    aucs: Estimate
    weights: np.ndarray | None
    n_patients: int

    def columns(self, runs: pd.DataFrame) -> np.ndarray:
        """Where the given runs stand."""
        return places_of(runs["run"], self.runs["run"], "runs of a task")

    def mean(self, runs: Estimate, columns: np.ndarray) -> Estimate:
        """The mean of what was computed of the runs in some columns."""
        if self.weights is None:
            return runs.mean_of_runs()
        settings = len(self.runs.iloc[columns][[*TRAINING, "fold"]].drop_duplicates())
        return runs.mean_of_runs(self.weights[:, columns], settings)

    def mean_auc(self, runs: pd.DataFrame) -> Estimate:
        columns = self.columns(runs)
        return self.mean(self.aucs.columns(columns), columns)


def draw_tasks(study: Study, results: Results) -> dict[str, TaskDraws]:
    """By task; patients are drawn as in `auc.csv`.

    Raises:
        UserError: a fold that cannot be resampled.
    """
    sides = [runs for _, runs in results.runs.groupby(["task", "source"])]
    both = all(trained_again(settings_by_fold(runs)) for runs in sides)
    tasks = progress(results.tasks, description="ranks")
    return {task: draw_task(study, results, task, both) for task in tasks}


@of_task
def draw_task(study: Study, results: Results, task: str, both: bool = False) -> TaskDraws:
    """both: whether trainings are resampled beside patients."""
    runs = results.of_task(task)
    folds = results.scores(task, runs)
    drawn = patients_drawn(study, task)
    ordered = runs.sort_values("fold", kind="stable", ignore_index=True)
    weights = _training_weights(ordered, **drawn) if both else None
    return TaskDraws(ordered, bootstrap_run_aucs(folds, **drawn), weights, tested(folds)["n_patients"])


def _training_weights(runs: pd.DataFrame, resamples: int, seed: int) -> np.ndarray:
    """(resamples, runs): the trainings of a setting are drawn alike for all sources."""
    trainings = runs[RUN].drop_duplicates(ignore_index=True)
    settings = [group.groupby(TRAINING).ngroup().to_numpy() for _, group in trainings.groupby("fold")]
    weights = run_weights(settings, resamples, seed)
    return weights[:, runs.merge(trainings.reset_index(), on=RUN, how="left")["index"]]


def groups_of(study: Study) -> list[tuple[list[str], list[str]]]:
    """(backbones, sources that have them all), the most backbones first; groups of one source left out."""
    found = {}
    for source in study.sources:
        backbones = [name for name in study.backbones if name in study.backbones_of(source)]
        sources = [s for s in study.sources if set(backbones) <= set(study.backbones_of(s))]
        if len(sources) > 1:
            found[tuple(backbones)] = sources
    return [(list(backbones), found[backbones]) for backbones in sorted(found, key=len, reverse=True)]


def rank_table(
    study: Study, drawn: dict[str, TaskDraws], counting: Collection[str] | None = None
) -> pd.DataFrame:
    """`RANKS`: a row per task (and the mean, if two or more count), group of sources, source and place."""
    rows = []
    for backbones, sources in groups_of(study):
        found = {}
        for task, draws in drawn.items():
            some = draws.runs[draws.runs["backbone"].isin(backbones) & draws.runs["source"].isin(sources)]
            some = some[some.groupby(RUN)["run"].transform("size") == len(sources)]
            sides = [some[some["source"] == source] for source in sources]
            if len(some):
                found[task] = list(map(draws.mean_auc, sides)), sides, draws.n_patients
        tasks = averaged(found, counting)
        if len(tasks) > 1:
            means, sides, patients = zip(*map(found.get, tasks), strict=True)
            of_source = [mean_of(of, study.compare.confidence) for of in zip(*means, strict=True)]
            found[MEAN] = of_source, [pd.concat(of) for of in zip(*sides, strict=True)], sum(patients)
        group = {"backbones": " + ".join(backbones), "n_sources": len(sources)}
        for task, (means, sides, patients) in found.items():
            about = {"task": task, "n_patients": patients, "diverged": diverged(*sides)}
            about["counts"] = left_out(task, counting)
            rows += [group | about | row for row in _places(sources, means, sides)]
    return RANKS.frame(rows, study)


def _places(sources: list[str], means: list[Estimate], sides: list[pd.DataFrame]) -> list[dict]:
    ranks, shares = rankdata([-mean.value for mean in means]), place_shares(stacked(means).replicates)
    return [
        {"source": source, "auc": mean.value, "rank": rank, "n_runs": len(runs), "resampled": mean.resampled}
        | {"place": place, "share": share}
        for source, mean, rank, runs, own in zip(sources, means, ranks, sides, shares, strict=True)
        for place, share in enumerate(own, 1)
    ]


def place_dots(study: Study, ranks: pd.DataFrame) -> Figure:
    """One panel per task: sources against places, the dot's area the share of resamples; a cross at ours.

    Args:
        ranks: `ranks.csv`, the rows of one group of sources.
    """
    sources = [source for source in study.sources if source in set(ranks["source"])]
    tasks, colours = list(ranks["task"].unique()), style.source_colours(study)
    size = (2.1, 0.9 + 0.5 * len(sources))
    label = "place by mean AUC"
    figure, panels = style.panel_rows(study, len(tasks), ACROSS, (2.0, 1.1), size, label, sharex=True)
    for panel, task in zip(panels, tasks, strict=True):
        style.row_axis(style.quiet(panel), [source_title(study, source) for source in sources])
        rows = ranks[ranks["task"] == task].to_dict("records")
        panel.set_title(titled(study, rows[0]).replace(" (", "\n("))
        for row in rows:
            y, area = sources.index(row["source"]), LARGEST_DOT * row["share"]
            panel.scatter(row["place"], y, s=area, color=colours[row["source"]], lw=0, alpha=0.55)
            if row["place"] == 1:
                panel.plot(row["rank"], y, "x", color="black", ms=6, mew=1.4)
            if row["share"] >= 0.005:
                text = f"{100 * row['share']:.0f}"
                panel.text(row["place"], y + 0.43, text, fontsize=8, ha="center", va="center")
    panels[0].set(xlim=(0.45, len(sources) + 0.55), xticks=np.arange(1, len(sources) + 1))
    about = ranks.iloc[0]
    figure.suptitle(
        f"{about['n_sources']} sources on {about['backbones']}:\n"
        f"how often each takes each place by mean AUC ({estimate_title(study)}),\n"
        f"over resamples of {about['resampled']} (%); cross: its place in the data",
    )
    return figure


def places_table(study: Study, ranks: pd.DataFrame) -> pd.DataFrame:
    """A row per task and source: mean AUC, place in the data, and its rank frequencies.

    Args:
        ranks: `ranks.csv`, the rows of one group of sources.
    """
    named = ranks.assign(
        task=[titled(study, row) for row in ranks.to_dict("records")],
        source=[source_title(study, source) for source in ranks["source"]],
        AUC=ranks["auc"].map("{:.3f}".format),
        rank=ranks["rank"].map("{:g}".format),
        share=(100 * ranks["share"]).round(1),
    )
    wide = named.pivot_table("share", ["task", "source", "AUC", "rank"], "place", sort=False)
    wide = wide.rename(columns="in place {}, %".format).rename_axis(columns=None)
    return wide.reset_index(["AUC", "rank"]).rename(columns={"rank": "place"})


def ranking_findings(study: Study, ranks: pd.DataFrame) -> list[Finding]:
    """Who comes first by the mean over tasks, in which share of resamples, for each group of sources.

    Sources of the same mean AUC share the first place: each has a finding.
    """
    warned, found = "share of resamples in which it is first, not the probability that it is best", []
    rows = answering(ranks[of_counting(ranks)], ["backbones"])
    first = rows["rank"] == rows.groupby("backbones")["rank"].transform("min")
    for row in rows[(rows["place"] == 1) & first].to_dict("records"):
        group = f"{row['n_sources']} sources on {row['backbones']}, {estimate_title(study)}"
        subject = f"First by mean AUC of {group}, {titled(study, row)}: {warned}"
        found.append(finding_of(row, subject, source_title(study, row["source"]), ("share",), ".0%"))
    return found
