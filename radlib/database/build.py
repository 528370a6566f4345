"""From exams and annotations to a folder in RadImageNet's layout, all or nothing.

`plan_database` reads headers and the csv and says what would be written; `write_database` decodes the pixels.
The folder holds `radiology_ai/<modality>/<region>/<label>/<hash>.png` (ultrasound without the region, as
published), `RadiologyAI_{train,val,test}.csv` with filename, label and patient_id (75 / 10 / 15 % of the
patients), and three small tables: agreement.csv, left_out.csv and rules.csv. File names are hashes of the
picture's UID, patients are hashes of their id.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from radlib.data.images import as_picture
from radlib.data.packing import whole_folder
from radlib.data.splits import assign_parts
from radlib.database.exams import every, read_exams
from radlib.database.readings import IMAGE, TIE, decide, place, read_annotations, readings_of
from radlib.database.taxonomy import Taxonomy, to_bytes
from radlib.datasets.dicom import decode, hashed
from radlib.datasets.patients import check_option
from radlib.datasets.radimagenet import FILES
from radlib.datasets.salt import check_salt
from radlib.errors import UserError
from radlib.progress import progress
from radlib.seeds import seed_of
from radlib.stats.kappa import UNREAD, Agreement, agreement
from radlib.store import write_table

CLASS = ["modality", "region", "label"]
FEW_PATIENTS = "a label of too few patients"


@dataclass(frozen=True)
class Database:
    """What will be written, before a pixel is decoded.

    images: a row per image: filename, modality, region, label, patient_id, part, decision, picture (row of
    `pictures`) and that row's columns, frame. agreement: see `agreement_table`. left_out: reason -> annotated
    images that are not used. unread: readings that name a finding of no_label. pictures, passed_over: see
    `radlib.database.exams.read_exams`.
    """

    images: pd.DataFrame
    agreement: pd.DataFrame
    left_out: dict[str, int]
    unread: int
    pictures: pd.DataFrame
    passed_over: dict[str, int]
    taxonomy: Taxonomy

    def pixels(self, row: int) -> np.ndarray:
        """A row's image as it is written, uint8 (H, W) or (H, W, 3); UserError if it cannot be decoded."""
        line = self.images.iloc[row]
        name, frame = line["file"].name, int(line["frame"]) if line["frames"] > 1 else None
        window = to_bytes(self.taxonomy.window_of(line["modality"], line["region"]))
        pixels = decode(line["file"].read_bytes(), name, window, frame)[0]
        return as_picture(pixels, name, colour=pixels.ndim == 3)

    def rules(self) -> pd.DataFrame:
        """Images by modality, region, label and rule (see `radlib.datasets.grey.units_rule`)."""
        counts = self.images.groupby(["modality", "region", "rule", "label"], as_index=False).size()
        return counts.rename(columns={"size": "images"})


def plan_database(
    exams_folder: Path,
    annotations: Path,
    salt: str,
    taxonomy: Taxonomy,
    least_patients: int = 3,
    seed: int = 2022,
    progress: Callable = progress,
    patient_spellings: str | None = None,
    include: Collection[str] = (),
) -> Database:
    """Read headers and annotations, and decide every image's place, label and part.

    Args:
        exams_folder: DICOM files in any order, also as a zip. annotations: see `radlib.database.readings`.
        least_patients: labels of fewer are left out; three give each part one.
        patient_spellings: "same" or "different": what ids are that agree but for case, blanks or zeros.
        include: kinds of picture to take in that are left out otherwise; see `radlib.database.exams.KINDS`.
    """
    table, salt = read_annotations(annotations), check_salt(salt)
    spellings = check_option(patient_spellings)
    pictures, passed_over = read_exams(exams_folder, set(table["uid"]), salt, progress, spellings, include)
    readings, unplaced, unread = place(readings_of(table, pictures), taxonomy)
    decided = decide(readings)
    kept = decided[decided["label"] != ""]
    frequent = kept.groupby(CLASS)["patient"].transform("nunique") >= least_patients
    left_out = {**unplaced, TIE: len(decided) - len(kept), FEW_PATIENTS: int((~frequent).sum())}
    left_out = {why: count for why, count in left_out.items() if count}
    kept = kept[frequent].reset_index(drop=True)
    if kept.empty:
        reasons = ", ".join(f"{why}: {count}" for why, count in left_out.items())
        raise UserError(f"no annotated image is left to write ({reasons or 'none was annotated'})")
    images = _with_names_and_parts(kept, seed, salt)
    kappas = agreement_table(readings, seed)
    return Database(images, kappas, left_out, unread, pictures, passed_over, taxonomy)


def agreement_table(readings: pd.DataFrame, seed: int, resamples: int = 2000) -> pd.DataFrame:
    """Kappa of every region in which pictures were read twice (see `radlib.stats.kappa.Agreement`)."""
    rows = []
    for (modality, region), some in readings.groupby(CLASS[:2]):
        read = some.assign(label=pd.factorize(some["label"], sort=True)[0])
        ratings = read.pivot(index=IMAGE, columns="reader", values="label")
        if (ratings.notna().sum(axis=1) < 2).all():
            continue
        patients = read.drop_duplicates(IMAGE).set_index(IMAGE)["patient"].reindex(ratings.index)
        codes, own_seed = ratings.fillna(UNREAD).to_numpy(dtype=int), seed_of(seed, "kappa", modality, region)
        found = agreement(codes, np.asarray(patients, str), resamples, own_seed)
        rows.append({"modality": modality, "region": region, **vars(found)})
    return pd.DataFrame(rows, columns=[*CLASS[:2], *(field.name for field in fields(Agreement))])


def _with_names_and_parts(images: pd.DataFrame, seed: int, salt: str) -> pd.DataFrame:
    """Adds part and filename, and sorts by this, so that nothing remains of the order of the files.

    A patient is dealt out with its rarest label, so that rare labels reach every part.
    """
    classes = images[CLASS].agg("/".join, axis=1)
    patients = images.groupby(classes)["patient"].nunique().sort_values(ascending=False, kind="stable")
    rarity = classes.map({name: rank for rank, name in enumerate(patients.index)}).to_numpy()
    parts = assign_parts(images["patient"].to_numpy(), rarity, folds=1, seed=seed_of(seed, "database"))
    names = (images["instance"] + " " + images["frame"].astype(str)).map(lambda name: hashed(name, salt))
    region = ("/" + images["region"]).where(images["modality"] != "US", "")
    filename = "radiology_ai/" + images["modality"] + region + "/" + images["label"] + "/" + names + ".png"
    images = images.rename(columns={"patient": "patient_id"})
    images = images.assign(part=parts["part_0"].to_numpy(), filename=filename)
    return images.sort_values("filename", ignore_index=True)


def write_database(database: Database, out: Path, progress: Callable = progress) -> None:
    """Decode every image and write the folder, whole or not at all; what cannot be decoded is named."""
    for folder in filter(Path.is_dir, {file.path for file in database.pictures["file"]}):
        if out.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{out} lies in {folder}, where the exams are; name a folder of its own")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; name another folder, or delete it first")
    with whole_folder(out, int(database.images["values"].sum()) // 1_000_000 + 1) as temporary:
        for row in database.images.drop_duplicates(CLASS)["filename"]:
            (temporary / row).parent.mkdir(parents=True, exist_ok=True)

        def write(row: int) -> None:
            Image.fromarray(database.pixels(row)).save(temporary / database.images["filename"].iloc[row])

        every(write, range(len(database.images)), "writing images", progress)
        for part, name in FILES.items():
            rows = database.images[database.images["part"] == part]
            write_table(rows[["filename", "label", "patient_id"]], temporary / name)
        write_table(database.agreement, temporary / "agreement.csv")
        write_table(database.rules(), temporary / "rules.csv")
        reasons = pd.DataFrame(database.left_out.items(), columns=["reason", "images"])
        write_table(reasons, temporary / "left_out.csv")
