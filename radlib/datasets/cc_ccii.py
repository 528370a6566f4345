"""CC-CCII, chest CT of COVID-19, by the authors' lists: csv with imgpath, pid, label, filename.

Zhang K. et al., Clinically applicable AI system for accurate diagnosis of COVID-19 pneumonia, Cell 2020, doi
10.1016/j.cell.2020.04.045. `imgpath` is as the set unpacks, `CP/1082/3127/0031.jpg` (class, patient, scan,
slice); labels are CP (common pneumonia) and NCP (novel coronavirus pneumonia); `pid` is the patient.
"""

from pathlib import Path

from radlib.datasets.files import below
from radlib.datasets.lists import read_list, split_files
from radlib.datasets.record import Record

_LISTS = split_files("folds/sarscovid2_{part}.csv")
_CLASSES = {"CP": "CP", "NCP": "NCP"}


def read(path: Path) -> list[Record]:
    """One record per slice of the authors' three lists in `folds/`; `imgpath` starts from `images/`."""
    found = read_list(path, _LISTS, ["imgpath", "pid", "label"], filled=["pid"])
    files = below(path / "images", found.names, found.where)
    return found.records(files, _CLASSES, found.rows["pid"])
