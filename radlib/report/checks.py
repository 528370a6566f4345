"""What stands between the headline and a conclusion, each answer from the table of its own notebook."""

import pandas as pd

from radlib.questions.confounds import compute as confounds
from radlib.questions.confounds.findings import confounds_answers, shortcuts_sentence
from radlib.questions.label_efficiency import compute as label_efficiency
from radlib.questions.label_efficiency.findings import efficiency_lesson
from radlib.questions.matched_labels import compute as matched_labels
from radlib.questions.matched_labels.findings import matched_sentence
from radlib.questions.overlap import compute as overlap
from radlib.questions.overlap.findings import overlap_lesson
from radlib.questions.ranking import compute as ranks
from radlib.questions.ranking.findings import first_places
from radlib.questions.shortcuts import compute as shortcuts
from radlib.questions.validity import compute as validity
from radlib.questions.validity.findings import promise
from radlib.store import read_report
from radlib.study import Study


def checks(study: Study) -> dict[str, list[str]]:
    """Question -> sentences; a question that the study does not ask is left out.

    Raises:
        UserError: a table is missing, or another version wrote it.
    """
    answers = {
        "Do the intervals keep their promise (`08_validity`)?": _validity(study),
        "How often would another sample of patients put the sources in another order "
        "(`13_beyond_the_mean`)?": first_places(study, _table(study, ranks.RANK_COLUMNS, "ranks", "beyond")),
        "Can preprocessing and metric explain the published gain (`09_confounds`)?": confounds_answers(
            study, _table(study, confounds.COLUMNS, "confounds", "confounds")
        ),
        "What can be had without looking at the content (`09_confounds`)?": [
            shortcuts_sentence(study, _table(study, shortcuts.COLUMNS, "shortcuts", "confounds"))
        ],
        "Has a source seen the test pictures (`09_confounds`)?": overlap_lesson(
            study, overlap.read_table(study)
        ),
        "From how many patients on does the source no longer matter (`10_label_efficiency`)?": _efficiency(
            study
        ),
        "Is it what images show, or how finely they are labelled (`12_matched_labels`)?": _matched(study),
    }
    return {question: said for question, said in answers.items() if said}


def _table(study: Study, columns: list[str], name: str, stage: str) -> pd.DataFrame:
    return read_report(study.report_dir / f"{name}.csv", columns, stage)


def _validity(study: Study) -> list[str]:
    return [promise(study, _table(study, validity.COLUMNS, "validity", "validity"))]


def _efficiency(study: Study) -> list[str]:
    table = label_efficiency.read_table(study)
    return [] if table.empty else efficiency_lesson(study, table, [])


def _matched(study: Study) -> list[str]:
    table = matched_labels.read_table(study)
    if table.empty:
        return []
    return [matched_sentence(study, table[table["task"] == matched_labels.ALL_TASKS])]
