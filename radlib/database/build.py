"""From exams and annotations to a folder in RadImageNet's layout, all or nothing.

`plan_database` reads headers and the csv and says what would be written; `write_database` decodes the pixels.
The folder holds `radiology_ai/<modality>/<region>/<label>/<hash>.png` (ultrasound without the region, as
published), `RadiologyAI_{train,val,test}.csv` with filename, label and patient_id (75 / 10 / 15 % of the
patients), and two small tables: agreement.csv and left_out.csv. File names are hashes of the picture's UID,
patients are hashes of their id.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from radlib.data.images import as_picture
from radlib.data.packing import whole_folder
from radlib.data.splits import assign_parts
from radlib.database.agreement import TIE, agreement_table, decide
from radlib.database.annotations import read_annotations, readings_of
from radlib.database.exams import Exams, read_exams
from radlib.database.placing import IMAGE, place
from radlib.database.taxonomy import Taxonomy
from radlib.database.windows import to_bytes
from radlib.datasets.dicom import decode, hashed
from radlib.datasets.patients import check_option
from radlib.datasets.radimagenet import FILES
from radlib.datasets.salt import check_salt
from radlib.errors import UserError, listed
from radlib.progress import progress
from radlib.seeds import seed_of
from radlib.store import write_table

_AT_ONCE = 64
_CLASS = ["modality", "region", "label"]
FEW_PATIENTS = "a label of too few patients"


@dataclass(frozen=True)
class Database:
    """What will be written, before a pixel is decoded.

    images: a row per image: filename, modality, region, label, patient_id, part, decision, and picture (place
    in exams.pictures) and frame. agreement: see `agreement_table`. left_out: reason -> images that were
    annotated and are not used. unread: readings that name a finding of no_label.
    """

    images: pd.DataFrame
    agreement: pd.DataFrame
    left_out: dict[str, int]
    unread: int
    exams: Exams
    taxonomy: Taxonomy

    def pixels(self, row: int) -> np.ndarray:
        """A row's image as it is written, uint8 (H, W) or (H, W, 3); UserError if it cannot be decoded."""
        line = self.images.iloc[row]
        picture = self.exams.pictures[line["picture"]]
        name, frame = picture.file.name, int(line["frame"]) if picture.frames > 1 else None
        window = to_bytes(self.taxonomy.window_of(line["modality"], line["region"]))
        pixels = decode(picture.file.read_bytes(), name, window, frame)
        return as_picture(pixels, name, colour=pixels.ndim == 3)


def plan_database(
    exams_folder: Path,
    annotations: Path,
    salt: str,
    taxonomy: Taxonomy,
    least_patients: int = 3,
    seed: int = 2022,
    resamples: int = 2000,
    progress: Callable = progress,
    patient_spellings: str | None = None,
) -> Database:
    """Read headers and annotations, and decide every image's place, label and part.

    Args:
        exams_folder: DICOM files in any order, also as a zip. annotations: see `radlib.database.annotations`.
        salt: see `radlib.datasets.salt`.
        least_patients: labels of fewer are left out; three give each part one.
        seed: of the split and the intervals of agreement.
        patient_spellings: "same" or "different": PatientIDs that agree but for case, blanks or zeros.
    Raises:
        UserError: what the modules of this package find wrong, or no image left.
    """
    table = read_annotations(annotations)
    exams = read_exams(
        exams_folder, set(table["uid"]), check_salt(salt), progress, check_option(patient_spellings)
    )
    placed = place(readings_of(table, exams), exams, taxonomy)
    decided = decide(placed.readings)
    kept = decided[decided["label"] != ""]
    frequent = kept.groupby(_CLASS)["patient"].transform("nunique") >= least_patients
    left_out = {**placed.left_out, TIE: len(decided) - len(kept), FEW_PATIENTS: int((~frequent).sum())}
    kept = kept[frequent].reset_index(drop=True)
    if kept.empty:
        reasons = ", ".join(f"{why}: {count}" for why, count in left_out.items() if count)
        raise UserError(f"no annotated image is left to write ({reasons or 'none was annotated'})")
    images = _named(_parted(kept, seed), exams, salt)
    return Database(
        images=images,
        agreement=agreement_table(placed.readings, resamples, seed),
        left_out={why: count for why, count in left_out.items() if count},
        unread=placed.unread,
        exams=exams,
        taxonomy=taxonomy,
    )


def _parted(images: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Adds part. A patient is dealt out with its rarest label, so that rare labels reach every part."""
    classes = images[_CLASS].agg("/".join, axis=1)
    patients = images.groupby(classes)["patient"].nunique().sort_values(ascending=False, kind="stable")
    rarity = classes.map({name: rank for rank, name in enumerate(patients.index)}).to_numpy()
    parts = assign_parts(images["patient"].to_numpy(), rarity, folds=1, seed=seed_of(seed, "database"))
    return images.assign(part=parts["part_0"].to_numpy())


def _named(images: pd.DataFrame, exams: Exams, salt: str) -> pd.DataFrame:
    """Adds filename and sorts by it, so that nothing remains of the order of the files."""
    names = [
        hashed(f"{exams.pictures[place].instance} {frame}", salt)
        for place, frame in zip(images["picture"], images["frame"], strict=True)
    ]
    folders = [
        f"{modality}/{label}" if modality == "US" else f"{modality}/{region}/{label}"
        for modality, region, label in images[_CLASS].itertuples(index=False)
    ]
    filenames = [f"radiology_ai/{folder}/{name}.png" for folder, name in zip(folders, names, strict=True)]
    columns = ["filename", *_CLASS, "patient_id", "part", "decision", *IMAGE]
    images = images.rename(columns={"patient": "patient_id"}).assign(filename=filenames)
    return images.sort_values("filename", ignore_index=True)[columns]


def write_database(database: Database, out: Path, progress: Callable = progress) -> None:
    """Decode every image and write the folder, whole or not at all.

    Raises:
        UserError: the folder holds something already or lies in that of the exams, a full disk, or pictures
            that cannot be decoded, which are named.
    """
    for folder in {picture.file.path for picture in database.exams.pictures if picture.file.path.is_dir()}:
        if out.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{out} lies in {folder}, where the exams are; name a folder of its own")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; name another folder, or delete it first")
    values = sum(database.exams.pictures[place].values for place in database.images["picture"])
    with whole_folder(out, values // 1_000_000 + 1) as temporary:
        _write_images(database, temporary, progress)
        for part, name in FILES.items():
            rows = database.images[database.images["part"] == part]
            write_table(rows[["filename", "label", "patient_id"]], temporary / name)
        write_table(database.agreement, temporary / "agreement.csv")
        reasons = pd.DataFrame(database.left_out.items(), columns=["reason", "images"])
        write_table(reasons, temporary / "left_out.csv")


def _write_images(database: Database, folder: Path, progress: Callable) -> None:
    for name in {Path(filename).parent for filename in database.images["filename"]}:
        (folder / name).mkdir(parents=True, exist_ok=True)
    bar = progress(_written(database, folder), total=len(database.images), description="writing images")
    faults = [fault for fault in bar if fault]
    if faults:
        raise UserError(listed(faults, most=5, between="; "))


def _written(database: Database, folder: Path) -> Iterator[str]:
    """What is wrong with each picture, "" for nothing; on all cores, for decoders free the interpreter."""

    def one(row: int) -> str:
        try:
            pixels = database.pixels(row)
        except UserError as exc:
            return str(exc)
        Image.fromarray(pixels).save(folder / database.images["filename"].iloc[row], format="PNG")
        return ""

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(database.images), _AT_ONCE):
            yield from pool.map(one, range(start, min(start + _AT_ONCE, len(database.images))))
