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
from sys import intern

from radlib.datasets.files import below
from radlib.datasets.lists import read_list, split_files
from radlib.datasets.record import Record
from radlib.errors import UserError

FILES = split_files("RadiologyAI_{part}.csv")
PATIENT = "patient_id"
_PATH = re.compile(r"radiology_ai/((?:MR|CT)/[^/]+/[^/]+|US/[^/]+)/[^/]+")


def read(path: Path) -> list[Record]:
    """One record per row of the three tables, with the part that its table stands for."""
    found = read_list(path, FILES, ["filename", "label"], filled=[PATIENT])
    rows = found.rows.reindex(columns=["label", PATIENT])
    files = below(path, found.names, found.where)
    records = []
    for name, file, label, patient in zip(found.names, files, rows["label"], rows[PATIENT], strict=True):
        # One string per class and patient for all images: at 1.35 million, copies would take gigabytes.
        class_name = intern(_class(name, found.where))
        person = intern(patient) if isinstance(patient, str) else None
        drop = "" if label else "no label"
        records.append(Record(name, person, None if drop else class_name, file, (), found.parts[name], drop))
    return records


def _class(name: str, where: Path) -> str:
    match = _PATH.fullmatch(name)
    if not match:
        raise UserError(
            f"{where}: '{name}' is not radiology_ai/<MR or CT>/<region>/<label>/<file> or "
            "radiology_ai/US/<label>/<file>; download the table again"
        )
    return match.group(1)
