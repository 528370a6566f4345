"""What 00_database shows: the tree, counts of labels and parts, and the lines that make a corpus of it."""

from pathlib import Path

import pandas as pd

from radlib.data.splits import PARTS
from radlib.database.build import Database

_CLASS = ["modality", "region", "label"]


def tree(database: Database) -> str:
    """The folders that are written, with images and patients of each label."""
    images = database.images
    counts = images.groupby(images["filename"].str.rpartition("/")[0]).agg(
        images=("filename", "size"), patients=("patient_id", "nunique")
    )
    lines, before = [], []
    for folder, count in counts.iterrows():
        names = folder.split("/")
        same = next((i for i, (a, b) in enumerate(zip(names, before, strict=False)) if a != b), len(before))
        lines += [f"{'    ' * depth}{name}/" for depth, name in enumerate(names) if depth >= same]
        lines[-1] += f"  {count['images']:,} images, {count['patients']:,} patients"
        before = names
    return "\n".join(lines)


def label_table(database: Database) -> pd.DataFrame:
    """Images and patients of every label, and its patients in each part."""
    images = database.images
    table = images.groupby(_CLASS).agg(images=("filename", "size"), patients=("patient_id", "nunique"))
    parts = images.groupby([*_CLASS, "part"])["patient_id"].nunique().unstack(fill_value=0)
    return table.join(parts.reindex(columns=list(PARTS), fill_value=0).add_suffix(" patients"))


def region_table(database: Database) -> pd.DataFrame:
    """Labels of every region: published, in the taxonomy, and found; images and patients."""
    regions = [
        {
            "modality": code, "region": name, "published labels": region.published_labels,
            "labels in the taxonomy": len(region.labels),
        }
        for code, modality in database.taxonomy.modalities.items()
        for name, region in modality.regions.items()
    ]  # fmt: skip
    found = database.images.groupby(["modality", "region"]).agg(
        **{"labels found": ("label", "nunique")},
        images=("filename", "size"),
        patients=("patient_id", "nunique"),
    )
    table = pd.DataFrame(regions).set_index(["modality", "region"])
    return table.join(found).fillna(0).astype(int)


def findings(database: Database) -> str:
    """What was read, decided and left out, in sentences, as Markdown."""
    images, exams = database.images, database.exams
    flags = images["picture"].map(lambda place: exams.pictures[place].burned_in == "NO")
    decisions = ", ".join(f"{why} {count:,}" for why, count in images["decision"].value_counts().items())
    lines = [
        f"{len(exams.pictures):,} pictures are annotated; {len(images):,} images of "
        f"{images['patient_id'].nunique():,} patients are used.",
        *(f"{count:,} files passed over: {why}." for why, count in exams.passed_over.items()),
        f"How their labels came about: {decisions}.",
        *(f"{count:,} images left out: {why}." for why, count in database.left_out.items()),
        f"{int((~flags).sum()):,} of the images used do not say whether text is burned into them "
        "(BurnedInAnnotation is not stated). Only looking at them tells.",
    ]
    if database.unread:
        lines.append(f"{database.unread:,} readings count for nothing: their finding is one of `no_label`.")
    return "\n".join(f"- {line}" for line in lines)


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
