"""What stands between the headline and a conclusion: the findings of every question that the study asks."""

from radlib.questions.calibration import CALIBRATION, calibration_findings
from radlib.questions.confounds.findings import confounds_findings
from radlib.questions.confounds.table import CONFOUNDS
from radlib.questions.label_efficiency.findings import efficiency_findings
from radlib.questions.label_efficiency.table import EFFICIENCY
from radlib.questions.lesions.findings import collapse_findings, lesion_findings, resize_findings
from radlib.questions.lesions.measured import load_segmented
from radlib.questions.lesions.table import DICE, RESIZE
from radlib.questions.matched_labels.findings import matched_findings
from radlib.questions.matched_labels.table import MATCHED
from radlib.questions.overlap.findings import overlap_findings
from radlib.questions.overlap.table import OVERLAP
from radlib.questions.ranking.findings import improvement_findings, ranking_findings
from radlib.questions.ranking.table import IMPROVEMENT, RANKS
from radlib.questions.shortcuts.findings import shortcuts_findings
from radlib.questions.shortcuts.table import SHORTCUTS
from radlib.questions.validity.findings import validity_findings
from radlib.questions.validity.table import VALIDITY
from radlib.show.findings import Finding
from radlib.study import Study

QUESTIONS = {
    "Where do networks look, and what do they draw?": [(DICE, lesion_findings)],
    "Does squeezing the image matter?": [(RESIZE, resize_findings)],
    "Which source comes first, and how often?": [
        (RANKS, ranking_findings), (IMPROVEMENT, improvement_findings), (CALIBRATION, calibration_findings)],
    "Do the intervals cover the true value?": [(VALIDITY, validity_findings)],
    "Can preprocessing and metric explain the published gain?": [(CONFOUNDS, confounds_findings)],
    "What can be had without looking at the content?": [(SHORTCUTS, shortcuts_findings)],
    "Has a source seen the test images?": [(OVERLAP, overlap_findings)],
    "How many training patients until the source stops mattering?": [(EFFICIENCY, efficiency_findings)],
    "Is it what images show, or how finely they are labelled?": [(MATCHED, matched_findings)],
}  # fmt: skip
MOST = 6  # findings of one question on the first page; its notebook has the others


def findings_by_question(study: Study) -> dict[str, list[Finding]]:
    """Question -> findings, the first few; a question that the study does not ask is left out.

    Raises:
        UserError: a table is missing, or another version wrote it.
    """
    found = {}
    for question, parts in QUESTIONS.items():
        tables = [(table.read(study), of) for table, of in parts]
        found[question] = [one for table, of in tables if len(table) for one in of(study, table)][:MOST]
    first = next(iter(found))
    found[first] += collapse_findings(study, load_segmented(study))
    return {question: rows for question, rows in found.items() if rows}
