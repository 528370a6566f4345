"""Who counts as a patient: people whom the publisher names, or what stands for them."""

import json

import pandas as pd

from radlib.errors import UserError
from radlib.study import Study
from radlib.study.titles import task_title

GROUPS, DOCUMENTS = "groups of near-identical images", "documents or files"


def unit(study: Study) -> str:
    """`patients`, or what else is counted where a compared task does not name its patients."""
    unknown, guessed = _unnamed(study)
    stand_ins = [what for what, tasks in ((GROUPS, unknown), (DOCUMENTS, guessed)) if tasks]
    return f"patients (where nobody is named, {', '.join(stand_ins)})" if stand_ins else "patients"


def patients_sentence(study: Study) -> str:
    """Which tasks name no patients, and what that does to their figures; '' where all do."""
    unknown, guessed = _unnamed(study)
    said = {
        "nobody is named, and only near-identical images form a group": unknown,
        f"{DOCUMENTS} stand for patients": guessed,
    }
    parts = [f"in {', '.join(tasks)} {what}" for what, tasks in said.items() if tasks]
    if not parts:
        return ""
    return (
        f"It cannot tell all patients apart: {'; '.join(parts)}. There one person may be in two parts, which "
        "flatters the AUC of every source, and may count as several, which makes intervals too narrow."
    )


def audit_of(study: Study, dataset: str) -> dict:
    """What the preparation of a dataset found.

    Raises:
        UserError: it has not been prepared.
    """
    path = study.dataset_dir(dataset) / "audit.json"
    if not path.is_file():
        kind = "corpus" if dataset in study.corpora else "task"
        raise UserError(f"{path} is missing; run dvc repro {kind}@{dataset} to read the data again")
    return json.loads(path.read_text())


def published_names(study: Study, dataset: str, manifest: pd.DataFrame) -> dict[str, str]:
    """Every name that the publisher gives a patient, and what the manifest calls that patient.

    Who shares a picture with others goes by the name of the first of them; who is not named, by that of an
    image. None where the names are of documents or files.
    """
    if not study.dataset(dataset).patients_certain:
        return {}
    audit, own = audit_of(study, dataset), manifest["patient_id"].unique()
    if not audit["patients_published"]:
        dropped = pd.read_csv(study.dataset_dir(dataset) / "dropped.csv", dtype=str)
        own = own[~pd.Index(own).isin([*manifest["image_id"], *dropped["image_id"]])]
    return dict(zip(own, own, strict=True)) | audit["joined"]


def _unnamed(study: Study) -> tuple[list[str], list[str]]:
    """Titles of the compared tasks whose patients are unknown, and of those whose patients are guessed."""
    unknown, guessed = [], []
    for task in study.compared_tasks:
        audit = audit_of(study, task)
        if audit["patients_guessed"]:
            guessed.append(task_title(study, task))
        elif not audit["patients_published"]:
            unknown.append(task_title(study, task))
    return unknown, guessed
