"""What 13_beyond_the_mean found about the order of sources, as data."""

import pandas as pd

from radlib.questions.ranking.compute import MEAN
from radlib.show.findings import Finding
from radlib.study import Study
from radlib.study.titles import pair_title, source_title, task_title


def places_table(study: Study, ranks: pd.DataFrame) -> pd.DataFrame:
    """A row per task and source: mean AUC, place in the data, and its rank frequencies.

    Args:
        ranks: `ranks.csv`, the rows of one group of sources.
    """
    keys = ["task", "source", "auc", "rank"]
    wide = ranks.pivot(index=keys, columns="place", values="share")
    wide = wide.reindex(pd.MultiIndex.from_frame(ranks[keys].drop_duplicates()))
    wide = (100 * wide).round(1).rename(columns="in place {}, %".format).reset_index()
    wide["task"] = [task_title(study, task) for task in wide["task"]]
    wide["source"] = [source_title(study, source) for source in wide["source"]]
    wide = wide.rename(columns={"auc": "AUC", "rank": "place"}).rename_axis(columns=None)
    return wide.set_index(["task", "source"]).round({"AUC": 3})


def ranking_findings(study: Study, ranks: pd.DataFrame) -> list[Finding]:
    """Who comes first by the mean over tasks, in which share of resamples, for each group of sources."""
    first = ranks[(ranks["task"] == MEAN) & (ranks["place"] == 1) & (ranks["rank"] == 1)]
    return [
        Finding(
            f"First by mean AUC over tasks, of {row.n_sources} sources on {row.backbones}: rank frequency",
            source_title(study, row.source), row.share, form=".0%", where="13_beyond_the_mean",
        )
        for row in first.itertuples()
    ]  # fmt: skip


def improvement_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Which share of pairs of runs the first source of the headline wins."""
    pair = tuple(study.compare.headline)
    mine = table[(table["source_a"] == pair[0]) & (table["source_b"] == pair[1])]
    tasks = mine[mine["task"] != MEAN]
    more, less = int((tasks["ci_low"] > 0.5).sum()), int((tasks["ci_high"] < 0.5).sum())
    verdict = f"more than half on {more} tasks, less than half on {less}, of {len(tasks)}"
    won = mine.loc[mine["task"] == MEAN, "improvement"].iloc[0]
    subject = f"Pairs of runs won, {pair_title(study, pair)}: mean over tasks"
    return [Finding(subject, verdict, won, form=".0%", where="13_beyond_the_mean")]
