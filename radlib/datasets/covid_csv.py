"""The authors' own COVID-19 CT: csv with filename and label (positive, negative), ten slices a patient.

Mei X. et al., RadImageNet, Radiology: Artificial Intelligence 2022, doi 10.1148/ryai.210315. The images are
not public. A name is `images/Bozhou_P11-00_0313.png`: patient, number of the slice among the ten, slice.
"""

from pathlib import Path

from radlib.datasets.files import below
from radlib.datasets.lists import read_list, split_files
from radlib.datasets.patients import patient_in, patient_pattern
from radlib.datasets.record import Record

_LISTS = split_files("folds/covid19_{part}.csv")
_CLASSES = {"negative": "negative", "positive": "positive"}


def read(path: Path, *, patient: str = r"^(.+)-\d+_") -> list[Record]:
    """One record per slice of the authors' three lists in `folds/`; `filename` starts from `path`.

    Args:
        patient: regular expression, searched in the file's name; its first group is the patient.
    """
    pattern = patient_pattern(patient)
    found = read_list(path, _LISTS, ["filename", "label"])
    files = below(path, found.names, found.where)
    patients = [patient_in(name, pattern) for name in found.names]
    return found.records(files, _CLASSES, patients)
