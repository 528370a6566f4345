"""What the report says of tasks whose patients nobody names."""

import json

import pytest

from radlib.errors import UserError
from radlib.questions.patients import patients_sentence, unit
from tests.test_compare import make_study

TASKS = ("thyroid_us", "breast_us")
UNKNOWN = {"patients_published": False, "patients_guessed": False}
NAMED = {"patients_published": True, "patients_guessed": False}


def audits(study, *reports):
    for task, report in zip(study.compared_tasks, reports, strict=True):
        path = study.dataset_dir(task) / "audit.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report))
    return study


def test_named_patients_are_patients(tmp_path):
    study = audits(make_study(tmp_path, TASKS), NAMED, NAMED)
    assert unit(study) == "patients" and patients_sentence(study) == ""


@pytest.mark.parametrize(
    "guessed, stand_ins", [(False, "groups of near-identical images"), (True, "documents or files")]
)
def test_what_stands_for_patients_is_named_alone(tmp_path, guessed, stand_ins):
    study = audits(make_study(tmp_path, TASKS), NAMED, UNKNOWN | {"patients_guessed": guessed})
    assert unit(study) == f"patients (where nobody is named, {stand_ins})"


def test_tasks_without_named_patients_are_named(tmp_path):
    study = make_study(tmp_path, TASKS)
    first, second = (study.tasks[task].title for task in study.compared_tasks)
    audits(study, UNKNOWN, UNKNOWN | {"patients_guessed": True})
    assert unit(study) == (
        "patients (where nobody is named, groups of near-identical images, documents or files)"
    )
    said = patients_sentence(study)
    assert f"in {first} nobody is named" in said and f"in {second} documents or files stand" in said


def test_a_missing_audit_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"audit.json is missing; run dvc repro task@"):
        unit(make_study(tmp_path, TASKS))
