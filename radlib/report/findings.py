"""Every question that a study asks, with its tables and findings: for the summary, and for docs/tables.md.

`python -m radlib.report.findings` writes docs/tables.md, the data dictionary, from the declared tables.
"""

from dataclasses import replace
from pathlib import Path

from radlib.questions.auc.compute import AUC, OVERALL
from radlib.questions.auc.next_study import NEXT, next_findings
from radlib.questions.auc.show import tuned_findings
from radlib.questions.auc.show_sources import sources_findings
from radlib.questions.auc.sources import SOURCES
from radlib.questions.calibration import CALIBRATION, calibration_findings
from radlib.questions.confounds import CONFOUNDS, confounds_findings
from radlib.questions.controls import CONTROLS
from radlib.questions.external import EXTERNAL, external_findings
from radlib.questions.improvement import IMPROVEMENT, improvement_findings
from radlib.questions.label_efficiency import EFFICIENCY, efficiency_findings
from radlib.questions.labels_worth import WORTH, worth_findings
from radlib.questions.lesions.compare import DICE, collapse_findings, lesion_findings
from radlib.questions.lesions.measured import load_segmented
from radlib.questions.lesions.resize import RESIZE, resize_findings
from radlib.questions.matched_labels import MATCHED, matched_findings
from radlib.questions.overlap import OVERLAP, overlap_findings
from radlib.questions.passport import PASSPORT, passport_findings
from radlib.questions.ranking import RANKS, ranking_findings
from radlib.questions.robustness import ROBUSTNESS, robustness_findings
from radlib.questions.shortcuts import SHORTCUTS, shortcuts_findings
from radlib.questions.similarity import SIMILARITY, similarity_findings
from radlib.questions.start import RANKING, TASKS
from radlib.questions.validity.coverage import VALIDITY, validity_findings
from radlib.questions.verdicts import left_out
from radlib.show.findings import Finding
from radlib.study import Study

LESIONS = "Where do networks look, and what do they outline?"
# Question -> its tables, what each says, and the cell of a notebook that shows it.
QUESTIONS = {
    "Does the claim hold for other networks, tasks and regimes?": [
        (SOURCES, sources_findings, "05_auc#sources"),
        (OVERALL, tuned_findings, "05_auc#best-settings"),
    ],
    LESIONS: [(DICE, lesion_findings, "07_dice#difference")],
    "Does squeezing the image matter?": [(RESIZE, resize_findings, "07_dice#resize")],
    "How many test patients would decide it?": [(NEXT, next_findings, "05_auc#next")],
    "Which source comes first, and how often?": [
        (RANKS, ranking_findings, "08_beyond_the_mean#places"),
        (IMPROVEMENT, improvement_findings, "08_beyond_the_mean#improvement"),
        (CALIBRATION, calibration_findings, "08_beyond_the_mean#calibration-table"),
    ],
    "Do the intervals cover the true value?": [(VALIDITY, validity_findings, "09_validity#all")],
    "By how much do preprocessing and metric shift a difference?": [
        (CONFOUNDS, confounds_findings, "10_confounds#differences-table")
    ],
    "What does a classifier reach that sees only size, brightness, contrast and border?": [
        (SHORTCUTS, shortcuts_findings, "10_confounds#shortcuts-table")
    ],
    "Has a source seen the test images?": [(OVERLAP, overlap_findings, "10_confounds#overlap")],
    "Does a difference depend on the number of training patients?": [
        (EFFICIENCY, efficiency_findings, "14_label_efficiency#table"),
        (WORTH, worth_findings, "14_label_efficiency#worth"),
    ],
    "Is it what images show, or how finely they are labelled?": [
        (MATCHED, matched_findings, "15_matched_labels#difference")
    ],
    "Are weights shown what they were trained with?": [(PASSPORT, passport_findings, "03_passport#lesson")],
    "Which source leans on a mark (a tag, a filter, noise) planted where the label is positive?": [
        (ROBUSTNESS, robustness_findings, "11_robustness#drops")
    ],
    "How alike do the sources see the same images?": [
        (SIMILARITY, similarity_findings, "12_similarity#stages")
    ],
    "Does it hold in another hospital?": [(EXTERNAL, external_findings, "13_external#table")],
}
_OF_QUESTIONS = [table for parts in QUESTIONS.values() for table, _, _ in parts if table is not OVERALL]
TABLES = [RANKING, TASKS, AUC, OVERALL, *_OF_QUESTIONS, CONTROLS]
MOST = 8  # findings of one question on the first page; its notebook has the others
DICTIONARY = Path("docs/tables.md")
_HEAD = """# The tables of a report

Every csv of `reports/<study>/` and what its columns mean. Differences are source a minus source b; intervals
have the confidence of `compare.confidence`. This page is written from the code:
`python -m radlib.report.findings`.
"""


def findings_by_question(study: Study) -> dict[str, list[Finding]]:
    """Question -> findings, the first few; a question that the study does not ask is left out.

    Every finding says where it is from: a cell of a notebook and, if it is of one row, the line of the csv.

    Raises:
        UserError: a table is missing, or another version wrote it.
    """
    asked, tasks = {}, TASKS.read(study)
    counting = set(study.compared_tasks) - set(tasks["task"][tasks["counts"] == "no"])
    for question, parts in QUESTIONS.items():
        found = []
        for table, of, cell in parts:
            rows = table.read(study)
            rows["csv"] = [f"{table.file}#row={line}" for line in range(2, len(rows) + 2)]
            if "task" in rows and "counts" not in rows:
                rows["counts"] = [left_out(task, counting) for task in rows["task"]]
            said = of(study, rows) if len(rows) else []
            found += [replace(one, where=cell, csv=one.csv or table.file) for one in said]
        more = [Finding(f"{len(found) - MOST} more", "", where=parts[0][2])] if len(found) > MOST else []
        asked[question] = found[:MOST] + more
    lost = collapse_findings(study, load_segmented(study))
    asked[LESIONS] += [replace(one, where="07_dice#lesson") for one in lost]
    return {question: found for question, found in asked.items() if found}


def dictionary() -> str:
    return "\n".join([_HEAD, *(table.described() for table in TABLES)])


if __name__ == "__main__":
    DICTIONARY.write_text(dictionary(), encoding="utf-8")
