"""RadImageNet as published: `RadiologyAI_{train,val,test}.csv` beside the folder `radiology_ai/`.

Mei X. et al., RadImageNet, Radiology: Artificial Intelligence 2022, doi 10.1148/ryai.210315. Images lie at
`radiology_ai/MR/<region>/<label>/x.png`, `radiology_ai/CT/<region>/<label>/x.png` and
`radiology_ai/US/<label>/x.png` (ultrasound has no level for the region).

A class is modality, region and label together, `MR/knee/acl`: labels such as `normal` occur in many regions.
The publisher names no patients, so its own split is used; a split of ours could part a patient's slices. The
tables of one's own database (`radlib.database`) have a column `patient_id`, by which their split is checked.
"""

import re
from pathlib import Path

import pandas as pd

from radlib.datasets.authors import read_table
from radlib.datasets.record import Record, below
from radlib.errors import UserError

FILES = {
    "train": "RadiologyAI_train.csv",
    "validation": "RadiologyAI_val.csv",
    "test": "RadiologyAI_test.csv",
}
_PATH = re.compile(r"radiology_ai/((?:MR|CT)/[^/]+/[^/]+|US/[^/]+)/[^/]+")


def read(path: Path, *, csv: dict[str, str] | None = None) -> list[Record]:
    """One record per row of the three tables, with the part that its table stands for.

    Args:
        path: the folder that holds the tables and `radiology_ai/`.
        csv: other names of the tables: train, validation, test.
    Raises:
        UserError: a table, column, image or patient is missing, or a path is not as published.
    """
    files = csv or FILES
    if set(files) != set(FILES):
        raise UserError(
            f"option 'csv' needs the keys {', '.join(FILES)}; it has: {', '.join(map(str, files))}"
        )
    return [record for part in FILES for record in _read_part(path, path / files[part], part)]


def _read_part(path: Path, where: Path, part: str) -> list[Record]:
    table = read_table(where, ["filename", "label"])
    names, patients = table["filename"].tolist(), _patients(table, where)
    # One dictionary and one string per class for all images: at 1.35 million, copies would take gigabytes.
    parts, classes = {0: part}, {}
    records = []
    lines = zip(names, patients, table["label"].tolist(), below(path, names, where), strict=True)
    for name, patient, label, ref in lines:
        class_name = _class(name, where)
        class_name = classes.setdefault(class_name, class_name)
        drop = "" if label.strip() else "no label"
        records.append(Record(name, patient, class_name if label.strip() else None, ref, (), parts, drop))
    return records


def _patients(table: pd.DataFrame, where: Path) -> list[str | None]:
    if "patient_id" not in table:
        return [None] * len(table)
    empty = table.loc[table["patient_id"] == "", "filename"]
    if len(empty):
        raise UserError(
            f"{where}: image {empty.iloc[0]} has no patient_id; fill it in, or patients may be split"
        )
    known: dict[str, str] = {}
    return [known.setdefault(patient, patient) for patient in table["patient_id"]]


def _class(name: str, where: Path) -> str:
    found = _PATH.fullmatch(name)
    if not found:
        raise UserError(
            f"{where}: '{name}' is not radiology_ai/<MR or CT>/<region>/<label>/<file> or "
            "radiology_ai/US/<label>/<file>; download the table again"
        )
    return found.group(1)
