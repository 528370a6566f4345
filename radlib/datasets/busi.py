"""BUSI, breast ultrasound, as published: `<class>/<class> (1).png` with `..._mask.png`, `..._mask_1.png`.

Al-Dhabyani W. et al., Dataset of breast ultrasound images, Data in Brief 2020, doi 10.1016/j.dib.2019.104863.
The set names no patients; the audit puts near-identical images into one group.
"""

import re
from pathlib import Path, PurePosixPath

from radlib.datasets.authors import parts_by_stem
from radlib.datasets.record import FileRef, Record, class_of, is_image, list_files
from radlib.errors import UserError

_MASK = re.compile(r"(?P<image>.+)_mask(_\d+)?\.png")
_CLASSES = ("benign", "malignant", "normal")
_FOLDS = {
    "train": "folds/breast_train_fold{fold}.csv",
    "validation": "folds/breast_val_fold{fold}.csv",
    "test": "folds/breast_test_fold{fold}.csv",
}


def read(path: Path, *, labels: dict[str, str] | None = None, folds: str = "own") -> list[Record]:
    """One record per image, with all its masks.

    Args:
        labels: may rename classes; the authors' lists count the normal images as benign (normal: benign).
        folds: "own" (the study's rule) or "authors" (their five folds of all 780 images, in `folds/`).
    Raises:
        UserError: a class folder is missing, or a mask has no image.
    """
    parts = parts_by_stem(path, _FOLDS, "filename", folds)
    files = list_files(path)
    folders = {name.split("/")[0] for name in files if "/" in name}
    for missing in (c for c in _CLASSES if c not in folders):
        raise UserError(f"no class folder '{missing}' in {path}; expected {', '.join(_CLASSES)} as published")
    masks = _masks_by_image(files)
    images = {n: ref for n, ref in files.items() if "/" in n and is_image(n) and not _MASK.fullmatch(n)}
    for orphan in (name for name in masks if name not in images):
        raise UserError(f"{path}: mask of {orphan} has no image; download the set again")
    translate = {**{c: c for c in _CLASSES}, **(labels or {})}
    records = []
    for name, ref in images.items():
        image_id = PurePosixPath(name).stem
        class_name = class_of(name.split("/")[0], translate, ref.name)
        unlisted = parts is not None and image_id not in parts
        drop = "not in the authors' split files" if unlisted else ""
        own_parts = parts.get(image_id) if parts else None
        records.append(Record(image_id, None, class_name, ref, tuple(masks.get(name, [])), own_parts, drop))
    return records


def _masks_by_image(files: dict[str, FileRef]) -> dict[str, list[FileRef]]:
    masks: dict[str, list[FileRef]] = {}
    for name, ref in files.items():
        if found := _MASK.fullmatch(name):
            masks.setdefault(f"{found['image']}.png", []).append(ref)
    return masks
