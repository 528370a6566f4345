"""What stands between the headline and a conclusion, each answer from the table of its own notebook."""

import pandas as pd

from radlib.comparisons import (
    confounds,
    label_efficiency,
    matched_labels,
    overlap,
    ranks,
    shortcuts,
    validity,
)
from radlib.sentences.beyond import first_places
from radlib.sentences.confounds import confounds_answers, shortcuts_sentence
from radlib.sentences.label_efficiency import efficiency_lesson
from radlib.sentences.matched_labels import matched_sentence
from radlib.sentences.overlap import overlap_lesson
from radlib.sentences.validity import promise
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
