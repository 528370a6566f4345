"""RSNA Pneumonia Detection 2018: `stage_2_train_labels.csv`, `stage_2_train_images/<patientId>.dcm`.

Shih G. et al., Augmenting the National Institutes of Health chest radiograph dataset with expert annotations
of possible pneumonia, Radiology: Artificial Intelligence 2019, doi 10.1148/ryai.2019180041. The table has
patientId, x, y, width, height, Target: one row per box, so a patient with two opacities has two rows. A
patient has one radiograph.
"""

from pathlib import Path

from radlib.datasets.authors import parts_by_stem, read_list
from radlib.datasets.dicom import DicomRef, check_window
from radlib.datasets.record import Record, below
from radlib.errors import UserError

TABLE, IMAGES = "stage_2_train_labels.csv", "stage_2_train_images"
_CLASS = {"0": "negative", "1": "positive"}
_FOLDS = {"train": "folds/train.csv", "validation": "folds/val.csv", "test": "folds/test.csv"}


def read(
    path: Path, *, window: list[float] | None = None, frame: int | None = None, folds: str = "own"
) -> list[Record]:
    """One record per patient, positive where any row says so.

    Args:
        window: centre and width; without it the header's own, else the image's whole range.
        frame: which frame of a file that holds several, from 0; the published files hold one.
        folds: "own" (the study's rule) or "authors" (their one split, in `folds/`).
    Raises:
        UserError: table, column or image missing, a Target other than 0 and 1, or two Targets of one patient.
    """
    chosen = check_window(window)
    parts = parts_by_stem(path, _FOLDS, "filename", folds)
    rows, _ = read_list(path, TABLE, ["patientId", "Target"])
    patients = rows["patientId"].tolist()
    for patient, target in zip(patients, rows["Target"], strict=True):
        if target not in _CLASS:
            raise UserError(f"{path / TABLE}: patient {patient} has the Target '{target}'; expected 0 or 1")
    files = below(path / IMAGES, [f"{patient}.dcm" for patient in patients], path / TABLE)
    return [
        Record(
            patient,
            patient,
            _CLASS[target],
            DicomRef(file, chosen, frame),
            parts=parts.get(patient) if parts else None,
            drop="not in the authors' split files" if parts is not None and patient not in parts else "",
        )
        for patient, target, file in zip(patients, rows["Target"], files, strict=True)
    ]
