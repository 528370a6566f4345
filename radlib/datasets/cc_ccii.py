"""CC-CCII, chest CT of COVID-19, by the authors' lists: csv with imgpath, pid, label, filename.

Zhang K. et al., Clinically applicable AI system for accurate diagnosis of COVID-19 pneumonia, Cell 2020, doi
10.1016/j.cell.2020.04.045. `imgpath` is as the set unpacks, `CP/1082/3127/0031.jpg` (class, patient, scan,
slice); labels are CP (common pneumonia) and NCP (novel coronavirus pneumonia); `pid` is the patient.
"""

from pathlib import Path

from radlib.datasets.files import below
from radlib.datasets.lists import read_list, split_files
from radlib.datasets.record import Record

LISTS = split_files("folds/sarscovid2_{part}.csv")
_CLASSES = {"CP": "CP", "NCP": "NCP"}


def read(path: Path, *, csv: str | dict[str, str] = LISTS, images: str = "images") -> list[Record]:
    """One record per listed slice.

    Args:
        path: the folder that holds the lists and the images.
        csv: one list, which the study then splits by its own rule; or train, validation and test lists, whose
            split is used; without it the authors' three in `folds/`.
        images: the folder below `path` that `imgpath` starts from.
    """
    found = read_list(path, csv, ["imgpath", "pid", "label"], filled=["pid"])
    files = below(path / images, found.names, found.where)
    return found.records(files, found.rows["label"], _CLASSES, found.rows["pid"])
