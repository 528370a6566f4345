"""Words and tables of 11_controls and of the top of 07_summary, written from the numbers and nothing else."""

from html import escape

import numpy as np
import pandas as pd

from radlib.questions.controls.compute import (
    ABOVE,
    AUC,
    DELTA,
    HOLDS,
    OWN_CLASSES,
    PERMUTED_LABELS,
    RANDOM_WEIGHTS,
)
from radlib.show.style import signed
from radlib.study import Study
from radlib.study.titles import pair_title, source_title

TITLES = {
    RANDOM_WEIGHTS: "random weights twice",
    PERMUTED_LABELS: "permuted labels",
    OWN_CLASSES: "own classes",
}
NO_CONTROLS = (
    "This study has no controls: nothing shows that it could see a difference, or that alike sources come "
    "out alike."
)
_MEANING = {
    RANDOM_WEIGHTS: "Two draws of random weights differ by more than chance, so a difference between "
    "sources may come from the comparison itself",
    PERMUTED_LABELS: "Networks that learnt shuffled labels cannot know who is ill, so true labels of the "
    "test part reach the fitting or a choice, test scores choose something, or one side is favoured",
    OWN_CLASSES: "The source was not shown to beat random weights where it must, so its pretraining taught "
    "little, or this study cannot see what a source carries",
}
_SHOULD = {HOLDS[AUC]: "hold 0.5", HOLDS[DELTA]: "hold 0", ABOVE: "lie above 0"}
_BOX = "border:3px solid #B00020; background-color:#FDECEA; color:#7A0016; padding:10px"


def figure_title(study: Study, row: pd.Series) -> str:
    """`Breast US, permuted labels: Radiology − Photographs`; what a row of the table is about."""
    about = f"{study.dataset(row['task']).title}, {TITLES[row['control']]}"
    if row["control"] == RANDOM_WEIGHTS:
        return f"{about}: difference"
    if row["measure"] == AUC:
        return f"{about}: {source_title(study, row['source_a'])}"
    return f"{about}: {pair_title(study, (row['source_a'], row['source_b']))}"


def controls_shown(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """`controls.csv` for readers: rounded, with titles for names."""
    return pd.DataFrame(
        {
            "control": [figure_title(study, row) for _, row in table.iterrows()],
            "figure": table["measure"].map({"auc": "AUC", "delta": "difference in AUC"}),
            **{name: table[name].round(3) for name in ("value", "ci_low", "ci_high")},
            "interval, %": (100 * table["confidence"]).round(2),
            "the interval": table["expected"],
            "passed": np.where(table["passed"].astype(bool), "yes", "NO"),
            "AUC a": table["auc_a"].round(3),
            "AUC b": table["auc_b"].round(3).map(lambda b: "" if np.isnan(b) else f"{b:.3f}"),
            "patients": table["n_patients"],
            "runs a side": table["n_runs"],
            "images are": np.where(table["simulated"].astype(bool), "simulated", "real"),
        }
    ).set_index("control")


def verdict(study: Study, table: pd.DataFrame) -> list[str]:
    """One sentence for each figure that failed; a single calm one where none did, or there are none."""
    if table.empty:
        return [NO_CONTROLS]
    failed = table[~table["passed"].astype(bool)]
    if len(failed):
        return [_failure(study, row) for _, row in failed.iterrows()]
    said = "; ".join(_parts(study, table))
    return [f"All {len(table)} figures of the controls came out as they must: {said}."]


def controls_box(study: Study, table: pd.DataFrame) -> str:
    """The verdict in Markdown, with which the summary opens: a red box (HTML) where a control failed."""
    sentences = verdict(study, table)
    if all_passed(table) is not False:
        return f"**Controls.** {sentences[0]}"
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    count = f"{len(sentences)} of {len(table)} figures"
    return (
        f'<div style="{_BOX}"><b>A CONTROL FAILED ({count}).</b> Do not rely on what is said below until '
        f"the reason is found.<ul>{items}</ul>See notebook 11_controls.</div>"
    )


def all_passed(table: pd.DataFrame) -> bool | None:
    """None where the study has no controls."""
    return bool(table["passed"].all()) if len(table) else None


def _failure(study: Study, row: pd.Series) -> str:
    return (
        f"{figure_title(study, row)}: {value_and_interval(row)}; the {_level(row)} interval should "
        f"{_SHOULD[row['expected']]}, and does not. {_MEANING[row['control']]}."
    )


def _parts(study: Study, table: pd.DataFrame) -> list[str]:
    negative, positive = table[table["expected"] != ABOVE], table[table["expected"] == ABOVE]
    parts = []
    if len(negative):
        half = ((negative["ci_high"] - negative["ci_low"]) / 2).max()
        parts.append(f"random weights and shuffled labels show nothing, to within ± {half:.3f} in AUC")
    for _, row in positive.iterrows():
        title = source_title(study, row["source_a"])
        parts.append(f"{title} beats random weights on its own classes by {value_and_interval(row)}")
    return parts


def value_and_interval(row: pd.Series) -> str:
    """`0.503 [0.471, 0.535]` for an AUC, `+0.031 [+0.012, +0.050]` for a difference."""
    if row["measure"] == AUC:
        return f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    return signed(row.rename({"value": "delta"}))


def _level(row: pd.Series) -> str:
    return f"{100 * row['confidence']:.4g}%"
