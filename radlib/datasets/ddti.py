"""DDTI, thyroid ultrasound, as nodule crops: `images/106_1(2).png`, `masks/` (same names), `labels.csv`.

Pedraza L. et al., An open access thyroid ultrasound image database, SPIE 2015, doi 10.1117/12.2073532.
The case (patient) is the part before `_`. Several crops may come from one image: `106_1(1)`, `106_1(2)`.

The authors' five folds list the 349 uncropped images. `folds: authors` gives each crop its image's part. The
default is our own split by patient, because the published folds were drawn for another set of pictures
(whole images, one label each), and because one rule for all tasks keeps the tasks comparable.
"""

import re
from pathlib import Path

from radlib.datasets.files import is_image, list_all, no_image, split_masks
from radlib.datasets.lists import Folds, class_of, one_row_each, read_table, split_files, stem, with_folds
from radlib.datasets.record import Record
from radlib.errors import UserError

FOLDS = split_files("folds/thyroid_{part}_fold{fold}.csv")
_CLASSES = {"0": "benign", "1": "malignant", "": "", "None": ""}


def read(path: Path, *, folds: Folds = "own") -> list[Record]:
    """One record per crop, and one per label row without a crop; what has no label is marked to be dropped.

    Args:
        folds: "own" (the study's rule) or "authors" (the published split files).
    """
    files, unused = list_all(path)
    files = {name: ref for name, ref in files.items() if name.startswith(("images/", "masks/"))}
    # Without a class folder, both lie in the same.
    masks, orphans = split_masks(f"/{name}" for name in files if is_image(name))
    if not masks:
        raise UserError(f"no images in {path}/images; expected images/, masks/ and labels.csv as published")
    if orphans:
        raise UserError(f"{path}{min(orphans)} has no image of that name; download the set again")
    table, columns = path / "labels.csv", ["image_id", "malignant"]
    rows = one_row_each(read_table(table, columns), columns, table)
    labels = {
        image: class_of(label, _CLASSES, f"{table}: image {image}")
        for image, label in zip(rows["image_id"], rows["malignant"], strict=True)
    }
    records = []
    for name, own in masks.items():
        image, drawn = stem(name), tuple(files[mask[1:]] for mask in own)
        label = labels.get(image)
        drop = "" if label else "no row in labels.csv" if label is None else "no label"
        records.append(Record(image, image.split("_")[0], label or None, files[name[1:]], drawn, drop=drop))
    for image in sorted(labels.keys() - {record.image_id for record in records}):
        drop = "label row without an image"
        records.append(Record(image, image.split("_")[0], labels[image] or None, None, drop=drop))
    unused += [Record(n, None, None, ref, drop=no_image(n)) for n, ref in files.items() if not is_image(n)]
    records = with_folds(records, path, FOLDS, "img_dir", folds, lambda crop: re.sub(r"\(\d+\)$", "", crop))
    return records + unused
