"""The data dictionary docs/tables.md, from the declarations: python -m radlib.report.dictionary writes it."""

from pathlib import Path

from radlib.questions.auc.table import AUC, OVERALL
from radlib.questions.calibration import CALIBRATION
from radlib.questions.confounds.table import CONFOUNDS
from radlib.questions.controls.table import CONTROLS
from radlib.questions.label_efficiency.table import EFFICIENCY
from radlib.questions.lesions.table import DICE, RESIZE
from radlib.questions.matched_labels.table import MATCHED
from radlib.questions.overlap.table import OVERLAP
from radlib.questions.ranking.table import IMPROVEMENT, RANKS
from radlib.questions.shortcuts.table import SHORTCUTS
from radlib.questions.validity.table import VALIDITY

TABLES = [
    AUC, OVERALL, DICE, RESIZE, RANKS, IMPROVEMENT, CALIBRATION, CONFOUNDS, SHORTCUTS, OVERLAP, EFFICIENCY,
    MATCHED, CONTROLS, VALIDITY,
]  # fmt: skip
FILE = Path("docs/tables.md")
_HEAD = """# The tables of a report

Every csv of `reports/<study>/` and what its columns mean. Differences are source a minus source b; intervals
have the confidence of `compare.confidence`. This page is written from the code:
`python -m radlib.report.dictionary`.
"""


def dictionary() -> str:
    return "\n".join([_HEAD, *(table.described() for table in TABLES)])


if __name__ == "__main__":
    FILE.write_text(dictionary(), encoding="utf-8")
