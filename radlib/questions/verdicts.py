"""What a difference of sources is called, and by which rule.

With c = `compare.confidence` and m = `compare.equivalence`:

    better, worse   the interval of confidence c excludes 0
    equivalent      the interval of confidence 2 c - 1 lies within -m to m (two one-sided tests)
    both            "better, by less than matters": a difference is there, and it is a trifle
    neither         undecided: these patients show neither a difference nor that there is none
    no verdict      runs of a side diverged: where they say no number they count with an AUC of 0.5, which
                    says nothing of the source.
                    Tables say which (`diverged`); `radlib.show.findings.unless_diverged` says it in words

"Better" alone says nothing of how much; that is what the interval is for. Over several tasks the same rule is
read with p-values after Holm's correction, of both kinds, because every task is another chance to be wrong.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import pandas as pd

from radlib.seeds import seed_of
from radlib.show.findings import unless_diverged
from radlib.show.table import DIFFERENCE, MEAN, Table
from radlib.stats.estimate import Estimate
from radlib.stats.models import holm
from radlib.study import Study

BETTER, WORSE, EQUIVALENT, UNDECIDED = "better", "worse", "equivalent", "undecided"
BETTER_BY_LITTLE, WORSE_BY_LITTLE = "better, by less than matters", "worse, by less than matters"
_OPPOSITES = [(BETTER, WORSE), (BETTER_BY_LITTLE, WORSE_BY_LITTLE)]
CLAIMS = {
    BETTER: "AUC was higher with {a} than with {b} by {size}",
    WORSE: "AUC was lower with {a} than with {b} by {size}",
    BETTER_BY_LITTLE: "AUC was higher with {a} than with {b}, but by less than matters: {size}",
    WORSE_BY_LITTLE: "AUC was lower with {a} than with {b}, but by less than matters: {size}",
    EQUIVALENT: "AUC was equivalent with {a} and with {b}: difference {size}",
    UNDECIDED: (
        "Neither a difference in AUC nor equivalence (within ±{margin:g}) was shown between {a} and {b}: "
        "{size}"
    ),
}


def verdict(delta: float, p_difference: float, p_equivalence: float, alpha: float) -> str:
    """One of the six words.

    Args:
        delta: the difference a - b.
        p_difference, p_equivalence: of `Estimate.p_value` and `Estimate.equivalence`; below
            alpha (`Compare.alpha`) exactly where the intervals exclude 0 and lie within the margins.
    """
    differs = p_difference < alpha and delta != 0
    equivalent = p_equivalence < alpha
    if not differs:
        return EQUIVALENT if equivalent else UNDECIDED
    if equivalent:
        return BETTER_BY_LITTLE if delta > 0 else WORSE_BY_LITTLE
    return BETTER if delta > 0 else WORSE


def turned(row: Mapping) -> dict:
    """The row of the same difference, b minus a."""
    words = {word: other for pair in _OPPOSITES for word, other in (pair, pair[::-1])}
    ends = {"delta": -row["delta"], "ci_low": -row["ci_high"], "ci_high": -row["ci_low"]}
    sources = {"source_a": row["source_b"], "source_b": row["source_a"]}
    return {**row, **ends, **sources, "verdict": words.get(row["verdict"], row["verdict"])}


def verdicts(study: Study, table: pd.DataFrame, difference: str, equal: str) -> list[str]:
    """The word of every row, from `delta`, the columns of its two p-values, and `diverged` if some have."""
    rows = table.to_dict("records")
    words = [verdict(row["delta"], row[difference], row[equal], study.compare.alpha) for row in rows]
    return [unless_diverged(word, row.get("diverged")) for word, row in zip(words, rows, strict=True)]


def corrected(table: pd.DataFrame, family: list[str], names: dict[str, str]) -> pd.DataFrame:
    """With p-values after Holm's correction over the rows of a family; a row without a p is not of it.

    Args:
        family: columns that name one; names: column of the p-values -> new column.
    """
    families = table.groupby(family, sort=False)
    return table.assign(**{new: families[name].transform(_holm) for name, new in names.items()})


def _holm(p: pd.Series) -> pd.Series:
    given = p.dropna().astype(float)
    return pd.Series(holm(given.to_numpy()), index=given.index).reindex(p.index)


def after_holm(
    study: Study, declared: Table, rows: list[dict], family: list[str], names: dict[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Rows of a declared table, `corrected`, with `least_p` beside its columns; and `too_few_resamples`."""
    table = pd.DataFrame(rows, columns=[*(column.name for column in declared.columns), "least_p"])
    few = too_few_resamples(study, table.dropna(subset="least_p"), family)
    return corrected(table, family, names), few


def too_few_resamples(study: Study, table: pd.DataFrame, family: list[str]) -> list[str]:
    """Where even resamples that all point one way could not pass Holm's correction, from `least_p`."""
    families = table.groupby(family)["least_p"].agg(["min", "size"])
    blind = families[families["min"] * families["size"] >= study.compare.alpha]
    return [
        f"{study.compare.resamples} resamples are too few for Holm's correction over {count} tasks: no "
        "difference could pass it; raise compare.resamples, or use more patients"
        for count in sorted(set(blind["size"]))
    ]


def diverged(*sides: pd.DataFrame) -> str | None:
    """`3 of 24 runs of photographs diverged`; None where all runs are sound.

    Args:
        sides: the runs that means are taken over, of one source or several, with the columns source and, if
            any of them may have, diverged and (U-Nets) collapsed.
    """
    by_source = pd.concat(sides).groupby("source", sort=False)
    said = [
        f"{int(runs[fault].sum())} of {len(runs)} runs of {source} {fault}"
        for fault in ("diverged", "collapsed")
        for source, runs in by_source
        if fault in runs and runs[fault].any()
    ]
    return ", ".join(said) or None


def averaged(tasks: Iterable[str], counting: Collection[str] | None) -> list[str]:
    """The tasks of which the mean over tasks is taken.

    Args:
        counting: those that count (`radlib.questions.start`); None: all do.
    """
    return [task for task in tasks if counting is None or task in counting]


def left_out(task: str, counting: Collection[str] | None) -> str | None:
    """What stands in the column `counts`: `no` of a task that enters no mean; counting: as of `averaged`."""
    return None if task == MEAN or averaged([task], counting) else "no"


def of_counting(table: pd.DataFrame) -> pd.Series:
    """bool: the rows of tasks that count, and of means over them."""
    return table["counts"].isna() if "counts" in table else table["task"].notna()


def answering(table: pd.DataFrame, by: Sequence[str] = ("source_a", "source_b")) -> pd.DataFrame:
    """Of every pair the mean over tasks; without one the tasks that count, or if none does all tasks.

    What is a mean of one task alone is no mean: the task's own rows stand for it.

    Args:
        by: the columns that tell one mean from another.
    """
    kept = []
    for _, rows in table.groupby(list(by), sort=False):
        of_mean = rows["task"] == MEAN
        counts = of_counting(rows) & ~of_mean
        alone = rows["task"][counts].nunique() == 1
        answer = of_mean if of_mean.any() and not alone else counts if counts.any() else ~of_mean
        kept += list(rows.index[answer])
    return table.loc[kept]


def patients_drawn(study: Study, task: str) -> dict[str, int]:
    """`resamples` and `seed` of a bootstrap of the task's patients.

    One seed a task: all questions, pairs and sides see the same resampled patients, and tasks are resampled
    independently.
    """
    return {"resamples": study.compare.resamples, "seed": seed_of(study.seed, "bootstrap", task)}


def estimate_columns(study: Study, found: Estimate, names: tuple[str, str, str]) -> dict[str, float]:
    """A value and both ends of its interval, under the names of their columns."""
    return dict(zip(names, (found.value, *found.interval(study.compare.confidence)), strict=True))


def source_aucs(study: Study, aucs: Mapping[str, Estimate]) -> list[dict]:
    """A row per source, in the order of the study: its AUC and both ends of its interval."""
    return [
        {"source": source, **estimate_columns(study, aucs[source], ("auc", "ci_low", "ci_high"))}
        for source in study.sources
        if source in aucs
    ]


def difference_columns(study: Study, found: Estimate) -> dict:
    """Columns of a difference: `DIFFERENCE`, its p, what was resampled, and `EQUIVALENCE`.

    Beside them `least_p`, the smallest p that these resamples could give, for `too_few_resamples`.
    """
    margin = study.compare.equivalence
    low, high, p_equal = found.equivalence(margin, study.compare.confidence)
    return {
        **estimate_columns(study, found, DIFFERENCE),
        "p_value": found.p_value(),
        "least_p": found.smallest_p(),
        "resampled": found.resampled,
        "equivalence": margin,
        "tost_low": low,
        "tost_high": high,
        "p_tost": p_equal,
    }
