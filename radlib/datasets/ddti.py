"""DDTI, thyroid ultrasound, as nodule crops: `images/106_1(2).png`, `masks/` (same names), `labels.csv`.

Pedraza L. et al., An open access thyroid ultrasound image database, SPIE 2015, doi 10.1117/12.2073532.
The case (patient) is the part before `_`. Several crops may come from one image: `106_1(1)`, `106_1(2)`.

The authors' five folds list the 349 uncropped images. `folds: authors` gives each crop its image's part. The
default is our own split by patient, because the published folds were drawn for another set of pictures
(whole images, one label each), and because one rule for all tasks keeps the tasks comparable.
"""

import re
from pathlib import Path, PurePosixPath

from radlib.datasets.authors import parts_by_stem, read_table
from radlib.datasets.partners import split_masks
from radlib.datasets.record import FileRef, Record, is_image, list_all, no_image
from radlib.errors import UserError

_CLASS = {"0": "benign", "1": "malignant"}
FOLDS = {
    "train": "folds/thyroid_train_fold{fold}.csv",
    "validation": "folds/thyroid_val_fold{fold}.csv",
    "test": "folds/thyroid_test_fold{fold}.csv",
}


def read(path: Path, *, folds: str = "own") -> list[Record]:
    """One record per crop, and one per label row without a crop; what has no label is marked to be dropped.

    Args:
        folds: "own" (the study's rule) or "authors" (the published split files).
    Raises:
        UserError: labels.csv or images/ missing, a mask without an image, a label other than 0 and 1, or an
            unknown `folds`.
    """
    parts = parts_by_stem(path, FOLDS, "img_dir", folds)
    files, unusable = list_all(path)
    files = {name: ref for name, ref in files.items() if name.startswith(("images/", "masks/"))}
    # Without a class folder, both lie in the same.
    masks, orphans = split_masks(f"/{name}" for name in files if is_image(name))
    if not masks:
        raise UserError(f"no images in {path}/images; expected images/, masks/ and labels.csv as published")
    if orphans:
        raise UserError(f"{path}{min(orphans)} has no image of that name; download the set again")
    labels = _labels(path / "labels.csv")
    records = [
        _record(files[name[1:]], tuple(files[mask[1:]] for mask in lesions), labels, parts)
        for name, lesions in masks.items()
    ]
    without_image = sorted(set(labels) - {record.image_id for record in records})
    absent = [Record(i, _case(i), labels[i], None, drop="label row without an image") for i in without_image]
    others = [Record(n, None, None, ref, drop=no_image(n)) for n, ref in files.items() if not is_image(n)]
    return records + absent + others + unusable


def _labels(path: Path) -> dict[str, str | None]:
    table = read_table(path, ["image_id", "malignant"])
    labels: dict[str, str | None] = {}
    for image_id, value in zip(table["image_id"], table["malignant"], strict=True):
        if value not in (*_CLASS, "", "None"):
            raise UserError(f"{path}: image {image_id} has the label '{value}'; expected 0, 1 or empty")
        if labels.setdefault(image_id, _CLASS.get(value)) != _CLASS.get(value):
            raise UserError(f"{path}: image {image_id} has two labels; keep one row")
    return labels


def _record(
    file: FileRef,
    masks: tuple[FileRef, ...],
    labels: dict[str, str | None],
    parts: dict[str, dict[int, str]] | None,
) -> Record:
    image_id = PurePosixPath(file.member).stem
    label = labels.get(image_id)
    whole_image = re.sub(r"\(\d+\)$", "", image_id)
    drop = ""
    if image_id not in labels:
        drop = "no row in labels.csv"
    elif label is None:
        drop = "no label"
    elif parts is not None and whole_image not in parts:
        drop = "not in the authors' split files"
    own_parts = parts.get(whole_image) if parts else None
    return Record(image_id, _case(image_id), label, file, masks, own_parts, drop)


def _case(image_id: str) -> str:
    return image_id.split("_")[0]
