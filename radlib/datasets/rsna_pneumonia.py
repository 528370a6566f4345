"""RSNA Pneumonia Detection 2018: `stage_2_train_labels.csv`, `stage_2_train_images/<patientId>.dcm`.

Shih G. et al., Augmenting the National Institutes of Health chest radiograph dataset with expert annotations
of possible pneumonia, Radiology: Artificial Intelligence 2019, doi 10.1148/ryai.2019180041. The table has
patientId, x, y, width, height, Target: one row per box, so an image with two opacities has two rows.

A patientId names an image, not a person: the images are from ChestX-ray14 (112 120 of 30 805 people; Wang X.
et al. 2017, doi 10.1109/CVPR.2017.369). RSNA publishes which image is which there, at
https://s3.amazonaws.com/east1.public.rsna.org/AI/2018/pneumonia-challenge-dataset-mappings_2018.json: a list
of entries whose `subset_img_id` is the patientId and whose `img_id` is NIH's name, 00000013_005.png, which
begins with the person. With this file in the set's folder patients are these people; without it nobody is
named.
"""

import json
from pathlib import Path

from radlib.datasets.dicom import dicom_refs
from radlib.datasets.grey import Window
from radlib.datasets.lists import Folds, class_of, one_row_each, read_table, split_files, with_folds
from radlib.datasets.record import Record
from radlib.errors import UserError, explained

TABLE, IMAGES = "stage_2_train_labels.csv", "stage_2_train_images"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_CLASSES = {"0": "negative", "1": "positive"}
_FOLDS = split_files("folds/{part}.csv")


def read(path: Path, *, window: Window | None = None, folds: Folds = "own") -> list[Record]:
    """One record per image, positive where any row says so.

    Args:
        window: centre and width; without it the header's own, else the image's whole range.
        folds: "own" (the study's rule) or "authors" (their one split, in `folds/`).
    """
    table, columns = path / TABLE, ["patientId", "Target"]
    rows = one_row_each(read_table(table, columns), columns, table)
    names = rows["patientId"].tolist()
    images, people = dicom_refs(path / IMAGES, names, table, window), _people(path / MAPPING, names)
    records = [
        Record(name, person, class_of(target, _CLASSES, f"{table}: image {name}"), image)
        for name, person, target, image in zip(names, people, rows["Target"], images, strict=True)
    ]
    return with_folds(records, path, _FOLDS, "filename", folds)


def _people(mapping: Path, images: list[str]) -> list[str | None]:
    """NIH's patient of every image; nobody where there is no mapping."""
    if not mapping.is_file():
        return [None] * len(images)
    damaged = (OSError, ValueError, LookupError, TypeError, AttributeError)
    with explained(damaged, f"{mapping} is not RSNA's list of images", "download it again or delete it"):
        entries = json.loads(mapping.read_text(encoding="utf-8"))
        people = {entry["subset_img_id"]: entry["img_id"].partition("_")[0] for entry in entries}
    for image in images:
        if image not in people:
            raise UserError(f"{mapping} does not name image {image}; download it again or delete it")
    return [people[image] for image in images]
