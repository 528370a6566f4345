"""MedMNIST as published: one `.npz` with {train,val,test}_images and {train,val,test}_labels, of any size.

Yang J. et al., MedMNIST v2, Scientific Data 2023, doi 10.1038/s41597-022-01721-8. Images are (n, S, S) or
(n, S, S, 3), labels (n, 1). The publisher's split is used: most of these sets name no patients (none is in
the file), and the split was made where they were known.
"""

from pathlib import Path

import numpy as np

from radlib.datasets.arrays import ArrayRow, length_of, read_array
from radlib.datasets.lists import class_of, split_files
from radlib.datasets.record import Record
from radlib.errors import UserError


def read(path: Path, *, classes: dict[str, str] | None = None) -> list[Record]:
    """One record per row.

    Args:
        path: the .npz file.
        classes: number -> class, as the publisher's list has them; without it the number is the class.
    """
    records = []
    for part, key in split_files("{part}").items():
        labels = _labels(path, key)
        images = length_of(path, f"{key}_images")
        if images != len(labels):
            raise UserError(f"{path} has {images} {key}_images but {len(labels)} labels; download it again")
        parts = {0: part}
        for row, label in enumerate(labels.tolist()):
            image = ArrayRow(path, row, f"{key}_images")
            class_name = class_of(label, classes, image.name, "classes")
            records.append(Record(f"{key}_{row:06d}", None, class_name, image, parts=parts))
    return records


def _labels(path: Path, key: str) -> np.ndarray:
    labels = read_array(path, f"{key}_labels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            f"{path}: {key}_labels has the shape {labels.shape}; one whole number an image is needed (in "
            "sets such as ChestMNIST an image has several findings, and no class)"
        )
    return labels
