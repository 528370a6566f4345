"""The authors' own COVID-19 CT: csv with filename and label (positive, negative), ten slices a patient.

Mei X. et al., RadImageNet, Radiology: Artificial Intelligence 2022, doi 10.1148/ryai.210315. The images are
not public. A name is `images/Bozhou_P11-00_0313.png`: patient, number of the slice among the ten, slice.
"""

from pathlib import Path

from radlib.datasets.authors import read_list
from radlib.datasets.record import Record, below, patient_in, patient_pattern
from radlib.errors import UserError

LISTS = {
    "train": "folds/covid19_train.csv",
    "validation": "folds/covid19_val.csv",
    "test": "folds/covid19_test.csv",
}
PATIENT = r"^(.+)-\d+_"
_LABELS = ("negative", "positive")


def read(
    path: Path, *, csv: str | dict[str, str] | None = None, patient: str = PATIENT, images: str = ""
) -> list[Record]:
    """One record per listed slice.

    Args:
        path: the folder that holds the lists and the images.
        csv: one list, which the study then splits by its own rule; or train, validation and test lists, whose
            split is used; without it the authors' three in `folds/`.
        patient: regular expression, searched in the file's name; its first group is the patient.
        images: the folder below `path` that `filename` starts from.
    Raises:
        UserError: list, column or image missing, another label, or a name that `patient` does not match.
    """
    lists = LISTS if csv is None else csv
    pattern = patient_pattern(patient)
    rows, parts = read_list(path, lists, ["filename", "label"])
    where = path / lists if isinstance(lists, str) else (path / lists["train"]).parent
    names = rows["filename"].tolist()
    files = below(path / images, names, where)
    records = []
    for name, label, file in zip(names, rows["label"], files, strict=True):
        if label not in _LABELS:
            raise UserError(f"{where}: image {name} has the label '{label}'; expected negative or positive")
        records.append(
            Record(name, patient_in(name, pattern), label, file, parts=parts[name] if parts else None)
        )
    return records
