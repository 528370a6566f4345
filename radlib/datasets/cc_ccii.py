"""CC-CCII, chest CT of COVID-19, by the authors' lists: csv with imgpath, pid, label, filename.

Zhang K. et al., Clinically applicable AI system for accurate diagnosis of COVID-19 pneumonia, Cell 2020, doi
10.1016/j.cell.2020.04.045. `imgpath` is as the set unpacks, `CP/1082/3127/0031.jpg` (class, patient, scan,
slice); labels are CP (common pneumonia) and NCP (novel coronavirus pneumonia); `pid` is the patient.
"""

from pathlib import Path

from radlib.datasets.authors import read_list
from radlib.datasets.record import Record, below
from radlib.errors import UserError

LISTS = {
    "train": "folds/sarscovid2_train.csv",
    "validation": "folds/sarscovid2_val.csv",
    "test": "folds/sarscovid2_test.csv",
}
_LABELS = ("CP", "NCP")


def read(path: Path, *, csv: str | dict[str, str] | None = None, images: str = "images") -> list[Record]:
    """One record per listed slice.

    Args:
        path: the folder that holds the lists and the images.
        csv: one list, which the study then splits by its own rule; or train, validation and test lists, whose
            split is used; without it the authors' three in `folds/`.
        images: the folder below `path` that `imgpath` starts from.
    Raises:
        UserError: list, column or image missing, another label, or no patient.
    """
    lists = LISTS if csv is None else csv
    rows, parts = read_list(path, lists, ["imgpath", "pid", "label"])
    where = path / lists if isinstance(lists, str) else (path / lists["train"]).parent
    names = rows["imgpath"].tolist()
    files = below(path / images, names, where)
    records = []
    for name, patient, label, file in zip(names, rows["pid"], rows["label"], files, strict=True):
        if label not in _LABELS:
            raise UserError(f"{where}: image {name} has the label '{label}'; expected CP or NCP")
        if not patient.strip():
            raise UserError(f"{where}: image {name} has no 'pid'; fill it in, or patients may be split")
        records.append(Record(name, patient, label, file, parts=parts[name] if parts else None))
    return records
