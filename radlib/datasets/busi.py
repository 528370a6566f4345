"""BUSI, breast ultrasound, as published: `<class>/<class> (1).png` with `..._mask.png`, `..._mask_1.png`.

Al-Dhabyani W. et al., Dataset of breast ultrasound images, Data in Brief 2020, doi 10.1016/j.dib.2019.104863.
The set names no patients; the audit puts near-identical images into one group.
"""

from pathlib import Path, PurePosixPath

from radlib.datasets.authors import parts_by_stem
from radlib.datasets.partners import split_masks
from radlib.datasets.record import Record, class_of, is_image, list_all, no_image
from radlib.errors import UserError

_CLASSES = ("benign", "malignant", "normal")
_FOLDS = {
    "train": "folds/breast_train_fold{fold}.csv",
    "validation": "folds/breast_val_fold{fold}.csv",
    "test": "folds/breast_test_fold{fold}.csv",
}


def read(path: Path, *, labels: dict[str, str] | None = None, folds: str = "own") -> list[Record]:
    """One record per image, with its masks (see `radlib.datasets.partners`), and per file of another kind.

    Args:
        labels: may rename classes; the authors' lists count the normal images as benign (normal: benign).
        folds: "own" (the study's rule) or "authors" (their five folds of all 780 images, in `folds/`).
    Raises:
        UserError: a class folder is missing, or a mask has no image.
    """
    parts = parts_by_stem(path, _FOLDS, "filename", folds)
    files, unusable = list_all(path)
    folders = {name.split("/")[0] for name in files if "/" in name}
    for missing in (c for c in _CLASSES if c not in folders):
        raise UserError(f"no class folder '{missing}' in {path}; expected {', '.join(_CLASSES)} as published")
    masks, orphans = split_masks(name for name in files if "/" in name and is_image(name))
    if orphans:
        raise UserError(f"{path}: mask {orphans[0]} has no image; download the set again")
    attached = {mask for several in masks.values() for mask in several}
    translate = {**{c: c for c in _CLASSES}, **(labels or {})}
    records = unusable
    for name, ref in files.items():
        if name in attached or name.startswith("folds/"):
            continue
        if name not in masks:
            drop = "not in a class folder" if is_image(name) else no_image(name)
            records.append(Record(name, None, None, ref, drop=drop))
            continue
        image_id = PurePosixPath(name).stem
        class_name = class_of(name.split("/")[0], translate, ref.name)
        unlisted = parts is not None and image_id not in parts
        drop = "not in the authors' split files" if unlisted else ""
        own_parts = parts.get(image_id) if parts else None
        lesions = tuple(files[mask] for mask in masks[name])
        records.append(Record(image_id, None, class_name, ref, lesions, own_parts, drop))
    return records
