"""What 00_database shows: counts of folders, regions and reasons, and the lines that make a corpus of it."""

from pathlib import Path

import pandas as pd

from radlib.data.splits import PARTS
from radlib.database.build import Database

_COUNTS = {"images": ("filename", "size"), "patients": ("patient_id", "nunique")}


def label_table(database: Database) -> pd.DataFrame:
    """The folders that are written, one per label: images, patients, and patients of each part."""
    images = database.images.assign(folder=database.images["filename"].str.rpartition("/")[0])
    parts = images.groupby(["folder", "part"])["patient_id"].nunique().unstack(fill_value=0)
    parts = parts.reindex(columns=list(PARTS), fill_value=0).add_suffix(" patients")
    return images.groupby("folder").agg(**_COUNTS).join(parts)


def region_table(database: Database) -> pd.DataFrame:
    """Labels of every region: published, in the taxonomy, and found; images and patients."""
    regions = {
        (code, name): {
            "published labels": region.published_labels,
            "labels in the taxonomy": len(region.labels),
        }
        for code, modality in database.taxonomy.modalities.items()
        for name, region in modality.regions.items()
    }
    found = database.images.groupby(["modality", "region"])
    found = found.agg(**{"labels found": ("label", "nunique")}, **_COUNTS)
    table = pd.DataFrame.from_dict(regions, orient="index").rename_axis(found.index.names)
    return table.join(found).fillna(0).astype(int)


def counts(database: Database) -> pd.DataFrame:
    """What was read, decided and left out, a row each."""
    images, exams = database.images, database.exams
    rows = [
        ("files", "pictures that the csv names", len(exams.pictures)),
        *(("files", f"passed over: {why}", count) for why, count in exams.passed_over.items()),
        *(("images", f"left out: {why}", count) for why, count in database.left_out.items()),
        ("images", "used", len(images)),
        ("patients", "used", images["patient_id"].nunique()),
        *(("images", f"label: {why}", count) for why, count in images["decision"].value_counts().items()),
        ("images", "used, and no header says that no text is burned in", int((~images["cleared"]).sum())),
        ("readings", "without a label (a finding of no_label)", database.unread),
    ]
    return pd.DataFrame(rows, columns=["of", "what", "number"]).set_index(["of", "what"])


def study_lines(out: Path, size: int = 224) -> str:
    """The lines of params.yaml that make a corpus, and a source, of the database."""
    name = "".join(c if c.isalnum() else "_" for c in out.name.lower())
    return f"""sources: [{name}, imagenet]      # and the others that you compare

corpora:
  {name}:
    layout: radimagenet
    path: {out.as_posix()}
    title: My database
    size: {size}"""
