"""What 05_auc and the summary show of other pretrainings: figures, findings, gains, parts of the variance."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import norm

from radlib.questions.auc.next_study import POWER
from radlib.questions.auc.sources import ALL_TASKS, FIXED, SAMPLE, mean_of_pair, of_single_tasks
from radlib.questions.verdicts import BETTER, averaged, of_counting, turned
from radlib.show import style
from radlib.show.findings import NO_VERDICT, Finding, direction, finding_of, is_shown, over
from radlib.show.table import DIFFERENCE, MEAN, titled, with_ends
from radlib.study import Study
from radlib.study.common import RANDOM
from radlib.study.titles import (
    ESTIMATES,
    counted,
    estimate_title,
    ordered_pairs,
    pair_title,
    source_title,
    task_title,
)

NONE_SHOWN = "the interval includes 0"


def random_sentence(study: Study, pretrained: pd.DataFrame) -> str:
    """What both sources of the headline gain over random weights; empty where the study does not ask."""
    found = [mean_of_pair(study, pretrained, (source, RANDOM)) for source in study.compare.headline]
    if None in found:
        return ""
    gains = [f"{source_title(study, row['source_a'])} {_size(row)}" for row in found]
    said = f"AUC minus that of random weights, the same networks: {'; '.join(gains)}."
    if any(row["verdict"].startswith(BETTER) for row in found):
        return said
    alone = " in the mean of these networks" if all(row["n_networks"] > 1 for row in found) else ""
    each = " *Which weights should I start from?* has each network." if alone else ""
    return (
        f"{said} **Neither source is shown to beat random weights{alone}**, so that mean cannot tell whether "
        f"the content of images matters.{each}"
    )


def gains_table(study: Study, pretrained: pd.DataFrame) -> pd.DataFrame | None:
    """For readers: every source minus random weights, of each network and of all that the source has.

    None where the study compares no source with random weights by the claim's regime.

    Args:
        pretrained: `SOURCES`.
    """
    rows = pretrained[(pretrained["estimate"] == study.claimed) & (pretrained["task"] == MEAN)]
    rows = rows[rows["networks"] != SAMPLE].to_dict("records")
    rows = [turned(row) if row["source_a"] == RANDOM else row for row in rows]
    gains = {(row["source_a"], row["networks"]): _size(row) for row in rows if row["source_b"] == RANDOM}
    if not gains:
        return None
    wide = pd.Series(gains).unstack().fillna("not there")
    wide = wide[[name for name in (*study.backbones, FIXED) if name in wide]]
    wide = wide.loc[[source for source in study.sources if source in wide.index]]
    return wide.rename(index=lambda source: source_title(study, source)).rename_axis("source")


def tasks_sentence(study: Study, pretrained: pd.DataFrame, counting: Collection[str]) -> str:
    """On which single tasks the sources of the headline are shown to differ, after Holm's correction."""
    rows = of_these_networks(style.of_pair(pretrained, study.compare.headline, study.claimed))
    title = source_title(study, study.compare.headline[0])
    shown = [
        f"{task_title(study, row['task'], counting)} {_size(row)}, "
        f"{direction(row['ci_low'], row['ci_high'])} with {title}"
        for row in rows[of_single_tasks(rows)].to_dict("records")
        if is_shown(row, study.compare.alpha)
    ]
    return (
        f"Single tasks on which a difference is shown, after Holm's correction: {'; '.join(shown) or 'none'}."
    )


def _size(row: Mapping) -> str:
    """The difference with its interval; where runs diverged, that there is no verdict."""
    said = with_ends(*(row[name] for name in DIFFERENCE), "+.3f")
    return "; ".join([said, NO_VERDICT] if pd.notna(row.get("diverged")) else [said])


def variance_table(study: Study, claim: dict | None) -> pd.DataFrame | None:
    """What the claim varies by, and what it would take to halve it; for readers.

    Args:
        claim: of `claim_of`; without one, or if it is not of `SOURCES` (which has no trainings), None.
    """
    if claim is None or "networks" not in claim:
        return None
    named = {"sd_patients": "test patients", "sd_pretraining": "pretrainings", "sd_networks": "networks"}
    drawn = {} if study.claims_a_probe else {"pretrainings": "pretrainings and trainings"}
    sd = pd.Series({title: claim[name] for name, title in named.items()}, dtype=float)
    sd = sd[sd > 0]
    shares = sd.drop("networks", errors="ignore") ** 2
    detected = norm.isf((1 - study.compare.confidence) / 2) + norm.ppf(POWER)
    table = {
        "standard error": sd,
        "share of the claim's variance": (shares / shares.sum()).map("{:.0%}".format),
        "this part halved by": "four times as many " + sd.index.to_series(),
    }
    table = pd.DataFrame(table, index=sd.index).fillna("none: networks are fixed")
    if len(shares) > 1:
        table.loc["together"] = np.sqrt(shares.sum()), "100%", "four times as many of each"
    shows = (detected * table["standard error"]).map("{:.3f}".format)
    table.insert(1, f"true difference shown with {POWER:.0%} power", shows)
    table["standard error"] = table["standard error"].map("{:.4f}".format)
    return table.rename(index=drawn).rename_axis("varies by")


def by_regime(
    study: Study, pretrained: pd.DataFrame, counting: Collection[str] | None = None
) -> pd.DataFrame:
    """For readers: every pair by every regime, over the tasks that count, or the one that was run by it."""
    rows = of_these_networks(_by_regime(pretrained)).set_index(["source_a", "source_b", "estimate"])
    # A network that is the only one: of the pair if it is so by every regime, else of the regime.
    single = rows["networks"].isin(list(study.backbones)) & (len(study.backbones) > 1)
    network = rows["networks"].where(single, "").map(lambda name: f", {name} alone" if name else "")
    always = network.groupby(level=["source_a", "source_b"]).transform("nunique") == 1
    of_pairs = network[always].groupby(level=["source_a", "source_b"]).first()
    task = np.where(
        rows["task"] == MEAN, "", [f", {task_title(study, task, counting)} alone" for task in rows["task"]]
    )
    found = rows.apply(_size, axis=1) + network.mask(always, "") + task
    wide = found.unstack("estimate").reindex(index=ordered_pairs(study)).fillna("")
    wide = wide[[name for name in ESTIMATES if name in wide]]
    wide = wide.rename(columns=lambda name: estimate_title(study, name))
    titles = [pair_title(study, pair) + of_pairs.get(pair, "") for pair in wide.index]
    return wide.set_axis(titles).rename_axis("pair", columns=None)


def sources_forest(study: Study, table: pd.DataFrame) -> Figure:
    """By `compare.claim_by`, the mean over tasks of pairs of several networks: each, and their means."""
    rows = table[(table["estimate"] == study.claimed) & (table["task"] == MEAN)]
    several = rows.groupby(["source_a", "source_b"])["networks"].transform("size") > 1
    rows = rows[several] if several.any() else rows  # a pair with one network is a line of the table above
    # Two networks leave one degree of freedom: an interval that sets a scale on which all others are dots.
    two = (rows["networks"] == SAMPLE) & (rows["n_networks"] == 2)
    title = f"Mean over tasks, {estimate_title(study, study.claimed)}"
    if two.any():
        rows, title = rows[~two], f"{title} (networks as a sample of two: in the table)"
    return style.forest(study, rows.assign(row=rows["networks"]), title, band=True, hollow=NONE_SHOWN)


def regimes_forest(study: Study, table: pd.DataFrame, counting: Collection[str] | None = None) -> Figure:
    """Every regime and mean over settings: the mean over tasks and these networks.

    A regime that was run on some of the tasks alone, as costly ones are, says on which, or on how many.
    """
    rows, regime = of_these_networks(_by_regime(table)), ["source_a", "source_b", "estimate"]
    of_tasks = table[table["task"].isin(averaged(table["task"], counting)) & of_single_tasks(table)]
    tasks = rows.join(of_tasks.groupby(regime)["task"].nunique().rename("tasks"), on=regime)["tasks"]
    where = [f", {counted(int(n), 'task')}" if n < tasks.max() else "" for n in tasks]
    titles = [f", {task_title(study, task, counting)}" for task in rows["task"]]
    where = np.where(rows["task"] == MEAN, where, titles)
    rows = rows.assign(row=[estimate_title(study, one) for one in rows["estimate"]] + where)
    return style.forest(study, rows, "Mean over tasks, by regime", band=True, hollow=NONE_SHOWN)


def of_these_networks(table: pd.DataFrame) -> pd.DataFrame:
    """Of every pair, regime and task the row of all its networks, which stands last."""
    rows = table[table["networks"] != SAMPLE]
    return rows.groupby(["source_a", "source_b", "estimate", "task"], sort=False).tail(1)


def _by_regime(table: pd.DataFrame) -> pd.DataFrame:
    """The means over tasks; of a regime that was run on one of several tasks, its rows there."""
    table = table[table["task"] != ALL_TASKS]
    of_tasks = table[of_single_tasks(table)]
    several = of_tasks.groupby("estimate")["task"].nunique() > 1
    averaged = table["estimate"].map(several) | (of_tasks["task"].nunique() == 1)
    return table[(table["task"] == MEAN) == averaged]


def sources_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """The headline pair: the claim for networks in general and over all tasks, then by every other regime."""
    rows = style.of_pair(table, study.compare.headline)
    claimed, regimes = rows["estimate"] == study.claimed, of_these_networks(_by_regime(rows))
    beside = claimed & ((rows["networks"] == SAMPLE) | (rows["task"] == ALL_TASKS))
    asked = pd.concat([rows[beside], regimes[regimes["estimate"] != study.claimed]])
    found, counting = [], rows["task"][of_counting(rows) & of_single_tasks(rows)].nunique()
    for row in asked.to_dict("records"):
        alone = row["task"] == MEAN and counting == 1  # the mean of a single task is none
        where = f"{'the only task that counts' if alone else titled(study, row)}, {row['networks']}"
        by = estimate_title(study, row["estimate"])
        subject = f"AUC, {pair_title(study, study.compare.headline)}, {by}: {where}"
        found.append(finding_of(row, f"{subject} {over(row)}", row["verdict"]))
    return found
