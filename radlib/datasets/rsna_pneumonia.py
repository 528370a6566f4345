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

from radlib.datasets.authors import parts_by_stem, read_list
from radlib.datasets.dicom import DicomRef, check_window
from radlib.datasets.record import Record, below
from radlib.errors import UserError

TABLE, IMAGES = "stage_2_train_labels.csv", "stage_2_train_images"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_CLASS = {"0": "negative", "1": "positive"}
_FOLDS = {"train": "folds/train.csv", "validation": "folds/val.csv", "test": "folds/test.csv"}


def read(
    path: Path, *, window: list[float] | None = None, frame: int | None = None, folds: str = "own"
) -> list[Record]:
    """One record per image, positive where any row says so.

    Args:
        window: centre and width; without it the header's own, else the image's whole range.
        frame: which frame of a file that holds several, from 0; the published files hold one.
        folds: "own" (the study's rule) or "authors" (their one split, in `folds/`).
    Raises:
        UserError: table, column or image missing, a Target other than 0 and 1, two Targets of one image, or a
            mapping that is damaged or lacks an image.
    """
    chosen = check_window(window)
    parts = parts_by_stem(path, _FOLDS, "filename", folds)
    rows, _ = read_list(path, TABLE, ["patientId", "Target"])
    images = rows["patientId"].tolist()
    for image, target in zip(images, rows["Target"], strict=True):
        if target not in _CLASS:
            raise UserError(f"{path / TABLE}: image {image} has the Target '{target}'; expected 0 or 1")
    files = below(path / IMAGES, [f"{image}.dcm" for image in images], path / TABLE)
    people = _people(path / MAPPING, images)
    return [
        Record(
            image,
            people.get(image),
            _CLASS[target],
            DicomRef(file, chosen, frame),
            parts=parts.get(image) if parts else None,
            drop="not in the authors' split files" if parts is not None and image not in parts else "",
        )
        for image, target, file in zip(images, rows["Target"], files, strict=True)
    ]


def _people(mapping: Path, images: list[str]) -> dict[str, str]:
    """NIH's patient of every image; nobody where there is no mapping."""
    if not mapping.is_file():
        return {}
    try:
        entries = json.loads(mapping.read_text(encoding="utf-8"))
        people = {entry["subset_img_id"]: entry["img_id"].partition("_")[0] for entry in entries}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as exc:
        raise UserError(
            f"{mapping} is not RSNA's list of images ({exc!r}); download it again or delete it"
        ) from exc
    for image in images:
        if image not in people:
            raise UserError(f"{mapping} does not name image {image}; download it again or delete it")
    return people
