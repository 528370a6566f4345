"""Words and tables of 08_validity, written from the numbers and from nothing else."""

import pandas as pd

from radlib.questions.validity.compute import (
    ANY,
    ENOUGH_PATIENTS,
    HOLDS,
    THESE,
    TOLERANCE,
    cell_title,
    smaller_class,
)
from radlib.stats.rivals import METHODS
from radlib.study import Study

RIVALS = ["images", "delong_images", "percentile", "bca", "delong_patients", "t_runs", "t_folds"]


def validity_shown(table: pd.DataFrame, method: str | None = None) -> pd.DataFrame:
    """Coverage as a reader sees it: a line per kind of study and method, with Wilson's interval."""
    some = table if method is None else table[table["method"] == method]
    return pd.DataFrame(
        {
            "kind of study": [cell_title(row) for _, row in some.iterrows()],
            "method": some["method"].map(METHODS).to_numpy(),
            "true difference": some["true_delta"].to_numpy(),
            "truth": some["truth"].to_numpy(),
            "coverage %": [_percent(row, "coverage") for _, row in some.iterrows()],
            "verdict": some["verdict"].to_numpy(),
            "excludes 0 %": [_percent(row, "rejected") for _, row in some.iterrows()],
            "mean width": some["width"].round(3).to_numpy(),
        }
    ).set_index(["kind of study", "method"])


def validity_lesson(study: Study, table: pd.DataFrame) -> list[str]:
    """Does the reported interval keep its promise, where not, what are others worth, what does each hold?"""
    sentences = [_precision(table), promise(study, table), *_few_patients(table)]
    sentences += [_rival(table, method) for method in RIVALS if (table["method"] == method).any()]
    return sentences + _luck(table)


def _precision(table: pd.DataFrame) -> str:
    half = ((table["coverage_high"] - table["coverage_low"]) / 2).max()
    return (
        f"{table['studies'].max()} studies were simulated in each cell, so a coverage is known to within "
        f"± {half:.1%} or better."
    )


def promise(study: Study, table: pd.DataFrame) -> str:
    """Whether the reported interval holds the truth as often as it says."""
    rows = _of(table, "reported")
    rows = rows[smaller_class(rows) >= ENOUGH_PATIENTS]
    if rows.empty:
        return (
            f"No cell has {ENOUGH_PATIENTS} patients of each class, so nothing is said about larger studies."
        )
    confidence = study.compare.confidence
    band = f"{confidence - TOLERANCE:.0%} to {confidence + TOLERANCE:.0%}"
    broken = rows[rows["verdict"] != HOLDS]
    text = (
        f"With at least {ENOUGH_PATIENTS} patients of each class, the reported interval holds the truth in "
        f"{_range(rows)} of studies; "
    )
    if broken.empty:
        return f"{text}that agrees with {band} in all {len(rows)} cells."
    return f"**{text}that is outside {band} in {len(broken)} of {len(rows)} cells: {_listed(broken)}.**"


def _few_patients(table: pd.DataFrame) -> list[str]:
    rows = _of(table, "reported")
    rows = rows[smaller_class(rows) < ENOUGH_PATIENTS]
    if rows.empty:
        return []
    broken = rows[rows["verdict"] != HOLDS]
    text = f"With fewer patients it holds the truth in {_range(rows)}; "
    where = f"it misses the band in: {_listed(broken)}" if len(broken) else "no cell misses the band for sure"
    return [f"{text}{where}. Its power there is {_range(rows[rows['true_delta'] > 0], 'rejected')}."]


def _rival(table: pd.DataFrame, method: str) -> str:
    rows = _of(table, method)
    keys = ["measure", "positive", "negative", "level", "folds", "true_delta"]
    both = rows.merge(_of(table, "reported"), on=keys, suffixes=("", "_reported"))
    null, real = both[both["true_delta"] == 0], both[both["true_delta"] > 0]
    title = METHODS[method]
    return (
        f"{title[0].upper()}{title[1:]}: holds the truth in {_range(rows)}, claims a difference where there "
        f"is none in {_range(null, 'rejected')}, and finds one that is there in {_range(real, 'rejected')} "
        f"(the reported interval in the same cells: {_range(real, 'rejected_reported')}); on average "
        f"{(both['width'] / both['width_reported']).mean():.2f} times as wide."
    )


def _luck(table: pd.DataFrame) -> list[str]:
    lucky = table[table["luck"] > 0]
    if not (lucky["method"] == "both_levels").any():
        return [
            "No cell has several seeds with luck of training, so the bootstrap of both levels was not tried."
        ]
    one, both = (lucky[lucky["method"] == name] for name in ("reported", "both_levels"))
    return [
        "What the reported interval contains: the luck of which patients are tested. Where trainings have "
        f"luck, it holds the difference of *these trainings* in {_range(one[one['truth'] == THESE])}, but "
        f"that of *any training* in {_range(one[one['truth'] == ANY])}.",
        f"The bootstrap of both levels, patients and seeds, holds the difference of *any training* in "
        f"{_range(both[both['truth'] == ANY])}. It needs two seeds or more in every setting.",
    ]


def _of(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Rows of one method without luck of training."""
    return table[(table["method"] == method) & (table["luck"] == 0)]


def _range(rows: pd.DataFrame, column: str = "coverage") -> str:
    low, high = rows[column].min(), rows[column].max()
    return f"{low:.1%}" if low == high else f"{low:.1%} to {high:.1%}"


def _listed(rows: pd.DataFrame) -> str:
    return "; ".join(
        f"{cell_title(row)}, true difference {row['true_delta']:g}: {row['coverage']:.1%}, {row['verdict']}"
        for _, row in rows.iterrows()
    )


def _percent(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]):
        return ""
    return f"{row[name]:.1%} [{row[f'{name}_low']:.1%}, {row[f'{name}_high']:.1%}]".replace("%", "")
