"""BUSI, breast ultrasound, as published: `<class>/<class> (1).png` with `..._mask.png`, `..._mask_1.png`.

Al-Dhabyani W. et al., Dataset of breast ultrasound images, Data in Brief 2020, doi 10.1016/j.dib.2019.104863.
The set names no patients; the audit puts near-identical images into one group.
"""

from dataclasses import replace
from pathlib import Path

from radlib.datasets import folders as class_folders
from radlib.datasets.lists import Folds, split_files, stem, with_folds
from radlib.datasets.record import Record
from radlib.errors import UserError

_CLASSES = ("benign", "malignant", "normal")
_FOLDS = split_files("folds/breast_{part}_fold{fold}.csv")


def read(path: Path, *, labels: dict[str, str] | None = None, folds: Folds = "own") -> list[Record]:
    """One record per image, with its masks, and per file of another kind.

    Args:
        labels: may rename classes; the authors' lists count the normal images as benign (normal: benign).
        folds: "own" (the study's rule) or "authors" (their five folds of all 780 images, in `folds/`).
    """
    renamed = {**{name: name for name in _CLASSES}, **(labels or {})}
    records = [r for r in class_folders.read(path, labels=renamed) if not r.image_id.startswith("folds/")]
    for record in records:
        if record.drop == class_folders.NO_IMAGE:
            raise UserError(f"{path}: mask {record.image_id} has no image; download the set again")
    records = [r if r.drop else replace(r, image_id=stem(r.image_id)) for r in records]
    return with_folds(records, path, _FOLDS, "filename", folds)
