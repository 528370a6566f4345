"""What 00_database shows: tables of what is written, figures, and an example where there are no exams."""

import re
import secrets
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydicom.data import get_testdata_file

from radlib.data.figures import image_rows
from radlib.data.splits import PARTS
from radlib.database.build import CLASS, Database
from radlib.show.style import COLOURS, draw_mark, mark_simulated, quiet, row_axis
from radlib.study.titles import counted

_COUNTS = {"images": ("filename", "size"), "patients": ("patient_id", "nunique")}
# DICOM files that come with pydicom, real pictures; the findings, readers and some regions are made up.
_EXAMPLES = """
    CT_small.dcm 693_J2KI.dcm J2K_pixelrep_mismatch.dcm MR_small.dcm examples_overlay.dcm
    examples_rgb_color.dcm dicomdirtests/77654033 dicomdirtests/98892003 reportsi.dcm README.txt
"""
FINDINGS = Path(__file__).with_name("demo.csv")


def copy_examples(folder: Path) -> tuple[Path, Path]:
    """Copy the examples below `folder`, and make a salt that lasts as long as it: (exams, salt file)."""
    shipped = Path(get_testdata_file("CT_small.dcm", download=False)).parent
    exams, salt = folder / "exams", folder / "salt.txt"
    for name in _EXAMPLES.split():
        (exams / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (shipped / name).is_dir() else shutil.copyfile
        copy(shipped / name, exams / name)
    salt.write_text(secrets.token_hex(32))
    return exams, salt


def label_table(database: Database) -> pd.DataFrame:
    """The folders that are written, one per label: images, patients, and patients of each part."""
    images = database.images.assign(folder=database.images["filename"].str.rpartition("/")[0])
    parts = images.groupby(["folder", "part"])["patient_id"].nunique().unstack(fill_value=0)
    parts = parts.reindex(columns=list(PARTS), fill_value=0).add_suffix(" patients")
    return images.groupby("folder").agg(**_COUNTS).join(parts)


def region_table(database: Database) -> pd.DataFrame:
    """Labels of every region: published, in the taxonomy, and found; images and patients."""
    regions = database.taxonomy.regions
    table = pd.DataFrame(
        [[region.published_labels, len(region.labels)] for region in regions.values()],
        index=pd.MultiIndex.from_tuples(regions, names=CLASS[:2]),
        columns=["published labels", "labels in the taxonomy"],
    )
    found = database.images.groupby(CLASS[:2]).agg(**{"labels found": ("label", "nunique")}, **_COUNTS)
    return table.join(found).fillna(0).astype(int)


def counts(database: Database) -> pd.DataFrame:
    """What was read, decided and left out, a row each."""
    images = database.images
    rows = [
        ("files", "pictures that the csv names", len(database.pictures)),
        *(("files", f"passed over: {why}", count) for why, count in database.passed_over.items()),
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
    name = re.sub("[^a-z0-9]", "_", out.name.lower()).lstrip("_0123456789") or "database"
    return f"""sources: [{name}, imagenet]      # and the others that you compare

corpora:
  {name}:
    layout: radimagenet
    path: {out.as_posix()}
    title: My database
    size: {size}"""


def key_images(database: Database, most: int = 6, most_classes: int = 10) -> Figure:
    """A row of images per label as they are written, each patient's first before any patient's second."""
    groups = list(database.images.groupby(CLASS))
    chosen = np.linspace(0, len(groups) - 1, min(len(groups), most_classes)).astype(int)
    lines = {}
    for name, images in (groups[number] for number in chosen):
        turn = images.groupby("patient_id").cumcount().sort_values(kind="stable")
        lines["/".join(name)] = [(database.pixels(row), None) for row in turn.index[:most]]
    return image_rows(lines, max(map(len, lines.values())))


def agreement_figure(table: pd.DataFrame, truth: float | None = None) -> Figure:
    """Kappa of every region with its interval over patients; a dot alone has too few patients for one.

    Args:
        table: see `radlib.database.build.agreement_table`.
        truth: the kappa of simulated readers, as a dashed line.
    """
    figure, axis = plt.subplots(figsize=(7, 1.2 + 0.35 * len(table)), layout="constrained")
    marks = table.assign(value=table["kappa"], colour=COLOURS[0], filled=True, marker="o").to_dict("records")
    for y, mark in enumerate(marks):
        draw_mark(axis, mark, y)
    row_axis(axis, [_read_twice(mark) for mark in marks])
    axis.axvline(0, color="0.25", lw=1, zorder=1)
    axis.set_xlim(-1.05, 1.05)
    axis.set_xlabel(
        "kappa, 95 % interval over patients (a dot alone: too few of them)\n"
        "0: as by chance, 1: readers always agree"
    )
    if truth is not None:
        axis.axvline(truth, color="0.25", lw=1, ls="--", zorder=1)
        mark_simulated(figure)
    quiet(axis)
    return figure


def _read_twice(row: dict) -> str:
    images, patients = counted(row["images"], "image"), counted(row["patients"], "patient")
    return f"{row['modality']}/{row['region']}: {images}, {patients}"
