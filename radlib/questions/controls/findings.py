"""What 11_controls found, as data, and the box with which the summary opens."""

from html import escape

import pandas as pd

from radlib.questions.controls.compute import ABOVE, AUC, DELTA, HOLDS
from radlib.questions.controls.table import OWN_CLASSES, PERMUTED_LABELS, RANDOM_WEIGHTS, TITLES
from radlib.show.findings import Finding, with_interval
from radlib.study import Study
from radlib.study.titles import pair_title, source_title

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


def control_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Every figure, and whether it came out as it must."""
    return [
        Finding(
            f"Control. {figure_title(study, row)}", "passed" if row["passed"] else "FAILED", row["value"],
            row["ci_low"], row["ci_high"], ".3f" if row["measure"] == AUC else "+.3f", "11_controls",
        )
        for _, row in table.iterrows()
    ]  # fmt: skip


def controls_box(study: Study, table: pd.DataFrame) -> str:
    """The verdict in Markdown: a sentence, or a red box (HTML) where a control failed."""
    if table.empty:
        return f"**Controls.** {NO_CONTROLS}"
    failed = table[~table["passed"].astype(bool)]
    if failed.empty:
        return f"**Controls.** All {len(table)} figures came out as they must."
    items = "".join(f"<li>{escape(_failure(study, row))}</li>" for _, row in failed.iterrows())
    return (
        f'<div style="{_BOX}"><b>A CONTROL FAILED ({len(failed)} of {len(table)} figures).</b> Do not rely '
        f"on what is said below until the reason is found.<ul>{items}</ul>See notebook 11_controls.</div>"
    )


def all_passed(table: pd.DataFrame) -> bool | None:
    """None where the study has no controls."""
    return bool(table["passed"].all()) if len(table) else None


def _failure(study: Study, row: pd.Series) -> str:
    figures = with_interval(control_findings(study, row.to_frame().T)[0], row["confidence"])
    what = f"{figure_title(study, row)}: {figures}"
    return f"{what}; it should {_SHOULD[row['expected']]}, and does not. {_MEANING[row['control']]}."
