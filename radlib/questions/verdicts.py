"""What a difference of sources is called, and by which rule.

With c = `compare.confidence` and m = `compare.equivalence`:

    better, worse   the interval of confidence c excludes 0
    equivalent      the interval of confidence 2 c - 1 lies within -m to m (two one-sided tests)
    both            "better, by less than matters": a difference is there, and it is a trifle
    neither         undecided: these patients show neither a difference nor that there is none
    no verdict      runs of a side diverged: they count with an AUC of 0.5, which says nothing of the source.
                    Tables say which (`diverged`); `radlib.show.findings.unless_diverged` says it in words

"Better" alone says nothing of how much; that is what the interval is for. Over several tasks the same rule is
read with p-values after Holm's correction, of both kinds, because every task is another chance to be wrong.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from radlib.stats.estimate import Estimate
from radlib.stats.models import holm
from radlib.study import Study

BETTER, WORSE, EQUIVALENT, UNDECIDED = "better", "worse", "equivalent", "undecided"
BETTER_BY_LITTLE, WORSE_BY_LITTLE = "better, by less than matters", "worse, by less than matters"
EQUIVALENCE = ["equivalence", "tost_low", "tost_high", "p_tost"]  # columns of the tables of differences


def verdict(delta: float, p_difference: float, p_equivalence: float, confidence: float) -> str:
    """One of the six words.

    Args:
        delta: the difference a - b.
        p_difference, p_equivalence: of `Estimate.p_value` and `Estimate.equivalence`; below
            1 - confidence exactly where the intervals exclude 0 and lie within the margins.
    """
    differs = p_difference < 1 - confidence and delta != 0
    equivalent = p_equivalence < 1 - confidence
    if not differs:
        return EQUIVALENT if equivalent else UNDECIDED
    if equivalent:
        return BETTER_BY_LITTLE if delta > 0 else WORSE_BY_LITTLE
    return BETTER if delta > 0 else WORSE


def verdicts(study: Study, table: pd.DataFrame, difference: str, equal: str) -> list[str]:
    """The word of every row, from `delta` and the columns of its two p-values."""
    rows = zip(table["delta"], table[difference], table[equal], strict=True)
    return [verdict(*row, study.compare.confidence) for row in rows]


def diverged(*sides: pd.DataFrame) -> str | None:
    """`3 of 24 runs of photographs diverged`; None where all runs are sound.

    Args:
        sides: for each source the runs that its mean is taken over, with the columns source and, if any of
            them may have diverged, diverged.
    """
    counts = [(int(runs["diverged"].sum()) if "diverged" in runs else 0, runs) for runs in sides]
    said = [f"{n} of {len(runs)} runs of {runs['source'].iloc[0]} diverged" for n, runs in counts if n]
    return ", ".join(said) or None


def corrected(table: pd.DataFrame, family: list[str], names: dict[str, str]) -> pd.DataFrame:
    """With p-values after Holm's correction over the rows of every family; a row without p is not of it.

    Args:
        family: the columns that name one; names: column of p -> column of the corrected p.
    """
    families = table.groupby(family, sort=False)
    return table.assign(**{new: families[p].transform(_holm) for p, new in names.items()})


def _holm(p: pd.Series) -> pd.Series:
    given = p.dropna().astype(float)
    return pd.Series(holm(given.to_numpy()), index=given.index).reindex(p.index)


def too_few_resamples(study: Study, families: Iterable[Sequence[float]]) -> list[str]:
    """Where even resamples that all point one way could not pass Holm's correction.

    Args:
        families: the smallest p-values that the comparisons of each could have (`Estimate.smallest_p`).
    """
    blind = {len(family) for family in families if min(family) * len(family) >= 1 - study.compare.confidence}
    return [
        f"{study.compare.resamples} resamples are too few for Holm's correction over {count} tasks: no "
        "difference could pass it; raise compare.resamples, or use more patients"
        for count in sorted(blind)
    ]


def estimate_columns(study: Study, found: Estimate, names: tuple[str, str, str]) -> dict[str, float]:
    """A value and both ends of its interval, under the names of their columns."""
    return dict(zip(names, (found.value, *found.interval(study.compare.confidence)), strict=True))


def difference_columns(study: Study, found: Estimate) -> dict:
    """Columns of a difference: `delta`, its interval and p, what was resampled, and `EQUIVALENCE`."""
    margin = study.compare.equivalence
    equal = found.equivalence(margin, study.compare.confidence)
    return {
        **estimate_columns(study, found, ("delta", "ci_low", "ci_high")),
        "p_value": found.p_value(),
        "interval_holds": found.resampled,
        **dict(zip(EQUIVALENCE, (margin, *equal), strict=True)),
    }
