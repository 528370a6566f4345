"""Words and tables of 13_beyond_the_mean, written from the numbers and from nothing else."""

import pandas as pd

from radlib.questions.auc.findings import direction
from radlib.questions.calibration.compute import TITLES
from radlib.questions.ranking.compute import MEAN
from radlib.study import Study
from radlib.study.titles import pair_title, source_title, task_title

WORSE = {"brier": "higher", "ece": "higher", "balanced_accuracy": "lower"}


def ranks_shown(study: Study, ranks: pd.DataFrame) -> pd.DataFrame:
    """A row per task and source: mean AUC, place in the data, and % of resamples in each place.

    Args:
        ranks: `ranks.csv`, the rows of one group of sources.
    """
    keys = ["task", "source", "auc", "rank"]
    wide = ranks.pivot(index=keys, columns="place", values="share")
    wide = wide.reindex(pd.MultiIndex.from_frame(ranks[keys].drop_duplicates())).reset_index()
    shown = pd.DataFrame(
        {
            "task": [_task(study, task) for task in wide["task"]],
            "source": [source_title(study, source) for source in wide["source"]],
            "AUC": wide["auc"].round(3),
            "place": wide["rank"],
            **{f"place {n}, %": (100 * wide[n]).round(1) for n in sorted(ranks["place"].unique())},
        }
    )
    return shown.set_index(["task", "source"])


def improvement_shown(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """`improvement.csv` for readers: rounded, with titles for names."""
    pairs = zip(table["source_a"], table["source_b"], strict=True)
    shown = pd.DataFrame(
        {
            "pair": [pair_title(study, pair) for pair in pairs],
            "task": [_task(study, task) for task in table["task"]],
            "a wins": table["improvement"].round(3),
            "low": _or_blank(table["ci_low"]),
            "high": _or_blank(table["ci_high"]),
            "pairs of runs": table["n_pairs"],
            "patients": table["n_patients"],
            "interval holds": table["interval_holds"],
            "images are": ["simulated" if s else "real" for s in table["simulated"]],
        }
    )
    return shown.set_index(["pair", "task"])


def calibration_shown(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """`calibration.csv` for readers: sources first, then the headline difference."""
    names = [
        source_title(study, source) if pd.isna(against) else pair_title(study, (source, against))
        for source, against in zip(table["source"], table["against"], strict=True)
    ]
    shown = pd.DataFrame(
        {
            "figure": table["figure"].map(TITLES),
            "task": [_task(study, task) for task in table["task"]],
            "of": names,
            "value": table["value"].round(3),
            "low": table["ci_low"].round(3),
            "high": table["ci_high"].round(3),
            "by chance": table["reference"].map(lambda x: "" if pd.isna(x) else f"{x:.3f}"),
            "bins": table["bins"].map(lambda x: "" if pd.isna(x) else str(x)),
            "runs": table["n_runs"].map(lambda x: "" if pd.isna(x) else str(x)),
            "images are": ["simulated" if s else "real" for s in table["simulated"]],
        }
    )
    return shown.set_index(["figure", "task", "of"])


def beyond_lesson(
    study: Study, ranks: pd.DataFrame, improvement: pd.DataFrame, calibration: pd.DataFrame
) -> list[str]:
    """Who comes first and how surely, how many pairs of runs are won, and what the scores are worth."""
    sentences = [*first_places(study, ranks), _pairs_won(study, improvement)]
    sentences += [_figure(study, calibration, figure) for figure in TITLES]
    return [*sentences, _beyond_chance(calibration)]


def first_places(study: Study, ranks: pd.DataFrame) -> list[str]:
    """Who comes first and how surely: a sentence for each group of sources that share backbones."""
    return [_first(study, backbones, rows) for backbones, rows in ranks.groupby("backbones", sort=False)]


def _first(study: Study, backbones: str, rows: pd.DataFrame) -> str:
    leading = rows[(rows["place"] == 1) & (rows["rank"] == 1)]
    mean, tasks = leading[leading["task"] == MEAN], leading[leading["task"] != MEAN]
    counts = tasks["source"].value_counts()
    firsts = ", ".join(f"{source_title(study, source)} on {count}" for source, count in counts.items())
    sources = ", ".join(source_title(study, source) for source in rows["source"].unique())
    whole = " and ".join(
        f"{source_title(study, row['source'])} comes first, in {row['share']:.0%} of resamples"
        for _, row in mean.iterrows()
    )
    return (
        f"Of {sources} on {backbones}: by the mean over tasks, {whole}. Task by task the first place goes to "
        f"{firsts}; who has it keeps it in {_range(tasks['share'])} of resamples of "
        f"{rows['resampled'].iloc[0]}."
    )


def _pairs_won(study: Study, table: pd.DataFrame) -> str:
    pair = tuple(study.compare.headline)
    mine = table[(table["source_a"] == pair[0]) & (table["source_b"] == pair[1])]
    row, tasks = mine[mine["task"] == MEAN].iloc[0], mine[mine["task"] != MEAN]
    more, less = int((tasks["ci_low"] > 0.5).sum()), int((tasks["ci_high"] < 0.5).sum())
    a, b = (source_title(study, source) for source in pair)
    return (
        f"A run after {a} beats the run after {b} in the same setting, fold and seed in "
        f"{row['improvement']:.0%} of {row['n_pairs']:,} pairs, mean over tasks; in single tasks "
        f"{_range(tasks['improvement'])}, by their intervals more than half in {more} and less than half in "
        f"{less} of {len(tasks)}."
    )


def _figure(study: Study, table: pd.DataFrame, figure: str) -> str:
    rows = table[(table["figure"] == figure) & (table["task"] == MEAN)]
    row = rows.iloc[0]
    word = direction(row["ci_low"], row["ci_high"])
    if word != "no difference shown":
        word += ", which is worse" if word == WORSE[figure] else ", which is better"
    value = f"{row['value']:+.3f}".replace("-", "−")
    title = TITLES[figure]
    pair = pair_title(study, tuple(study.compare.headline))
    ends = f"{row['ci_low']:+.3f} to {row['ci_high']:+.3f}".replace("-", "−")
    return (
        f"{title[0].upper()}{title[1:]}, {pair}, mean over tasks: {word}, {value} "
        f"({study.compare.confidence:.0%} interval {ends})."
    )


def _beyond_chance(table: pd.DataFrame) -> str:
    rows = table[(table["figure"] == "ece") & table["against"].isna()]
    beyond = int((rows["ci_low"] > rows["reference"]).sum())
    return (
        f"The calibration error lies surely above what chance alone gives in {beyond} of {len(rows)} cases "
        "of task and source. Where it does, a score must not be read as a probability."
    )


def _or_blank(ends: pd.Series) -> pd.Series:
    """The mean over tasks has no interval."""
    return ends.map(lambda end: "" if pd.isna(end) else f"{end:.3f}")


def _task(study: Study, task: str) -> str:
    return task if task == MEAN else task_title(study, task)


def _range(values: pd.Series) -> str:
    low, high = f"{values.min():.0%}", f"{values.max():.0%}"
    return low if low == high else f"{low} to {high}"
