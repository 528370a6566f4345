"""Tables and figures of 01_data: the data card, what a dataset holds, and whether the split is sound."""

import math
import re
from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from radlib.data.images import letterbox
from radlib.data.prepare import Prepared
from radlib.data.splits import PARTS, part_columns
from radlib.errors import listed
from radlib.show.style import ANNOTATED, mark_simulated, outline
from radlib.study.datasets import Corpus, Task

# How it is known who the patients are, and what follows.
_NAMED = "named by the publisher; those who share a picture are one"
_GUESSED = (
    "names are of documents or files; those that share a picture, exactly or nearly, are one. One person may "
    "have several names, so parts may share patients and intervals may be too narrow"
)
_PICTURES = (
    "no patients are given, and near-identical images are one picture; where pictures are of patients, parts "
    "may share patients"
)
_SOME = (
    "patients are named for {:,} of {:,} images. Of the others, near-identical images are one group and any "
    "other image is one of its own, so parts may share patients"
)
PICTURES, PATIENTS_OR_GROUPS = "pictures", "patients or groups"
_UNKNOWN = (
    "not given: near-identical images are one patient, and any other image is one of its own. Patients with "
    "several different pictures cannot be recognised, so parts may share patients and intervals may be too "
    "narrow"
)


def card(config: Corpus | Task, prepared: Prepared) -> str:
    """The data card, as a Markdown table: what it is, of whom, what was left out, which version this is."""
    report, meta, unit = prepared.audit, prepared.meta, unit_of(config, prepared)
    places = sorted({name.rpartition("/")[0] for name in meta["classes"]} - {""})
    parts = split_check(prepared.manifest).iloc[0, : len(PARTS)].set_axis(list(PARTS))
    marked = int(prepared.manifest["has_mask"].sum())
    empty = int(prepared.manifest["empty_mask"].sum()) if "empty_mask" in prepared.manifest else 0
    rows = {
        "title": config.title,
        "about": config.about,
        "publisher": "made by radlib.simulate; no real patient" if config.simulated else config.publisher,
        "licence": config.licence,
        "address": config.url,
        "modality and region, or kind": listed(places, most=12),
        "labels": _labels(config, prepared),
        "images": f"{report['listed']:,} listed; {report['kept']:,} used",
        "left out by `max_images`": _pieces((report["not_drawn"], "of the images")),
        "excluded": "; ".join(f"{why}: {count:,}" for why, count in report["reasons"].items()) or "nothing",
        "exact copies with two labels": _named(report["two_labels_exact"]),
        "near-identical with two labels": _named(report["two_labels_near"]),
        "near-identical pairs of images": _pieces(
            (report["near_identical_pairs"], "in all"),
            (report["near_identical_between_patients"], "of two named patients, who stay two"),
        ),
        unit: _pieces(
            (report["patients"], "in all"),
            (report["groups_of_several"], f"joined from several, at most {report['largest_group']}"),
            (report["patients_in_two_classes"], "with images of two classes"),
        ),
        f"how {unit} are known": _known(unit, prepared),
        "parts of the first fold": ", ".join(f"{count:,} {part}" for part, count in parts.items())
        + f" ({unit})",
        "lesion masks": marked + empty
        and _pieces(
            (marked, "with a lesion"),
            (empty, "empty: no lesion, one outside the image, or one not outlined"),
            (report["kept"] - marked - empty, "missing: their images are left out where masks are needed"),
        ),
        "to be looked at": " ".join(report["looks"]),
        "packed as": f"{config.size} x {config.size} px, {'colour' if config.colour else 'grey'}, 8 bits, "
        f"made square by {meta['resize']}",
        "version of the files (SHA-256)": meta["digest_raw"][:16],
        "version of the packed data (SHA-256)": meta["digest"][:16],
    }
    lines = [f"| {key} | {value} |" for key, value in rows.items() if value]
    return "\n".join(["| | |", "|:--|:--|", *lines])


def _labels(config: Corpus | Task, prepared: Prepared) -> str:
    """Of a task every class with its images, the positive one first."""
    if isinstance(config, Corpus):
        return listed(map(readable, prepared.meta["classes"]), most=12)
    roles = {config.positive: "positive: ", config.negative: "negative: "}
    counts, most = prepared.manifest["class_name"].value_counts(), f"of {len(prepared.manifest):,} images"
    names = config.classes or roles
    return "; ".join(f"{roles.get(name, '')}{name}, {counts.get(name, 0):,} {most}" for name in names)


def _named(groups: list[list[str]]) -> str:
    return listed((" = ".join(f"`{name}`" for name in group) for group in groups), most=10, between="; ")


def _pieces(*counted: tuple[int, str]) -> str:
    return "; ".join(f"{count:,} {what}" for count, what in counted if count)


def named(prepared: Prepared) -> np.ndarray:
    """bool (images,): whether the publisher names the patient; who is not named is called as an image is."""
    images = pd.concat([prepared.manifest["image_id"], prepared.dropped["image_id"]])
    own_names = ~prepared.manifest["patient_id"].isin(images).to_numpy()
    return own_names & (not prepared.audit["patients_guessed"])


def unit_of(config: Corpus | Task, prepared: Prepared) -> str:
    """What stays in one part: patients; of a corpus that names some of them patients or groups of
    near-duplicates; of one that names none, as of photographs, pictures.
    """
    report = prepared.audit
    if report["patients_published"] or report["patients_guessed"] or isinstance(config, Task):
        return "patients"
    return PATIENTS_OR_GROUPS if named(prepared).any() else PICTURES


def _known(unit: str, prepared: Prepared) -> str:
    if unit == PICTURES:
        return _PICTURES
    if unit == PATIENTS_OR_GROUPS:
        return _SOME.format(named(prepared).sum(), len(prepared.manifest))
    report = prepared.audit
    return _NAMED if report["patients_published"] else _GUESSED if report["patients_guessed"] else _UNKNOWN


def class_counts(prepared: Prepared, unit: str = "patients") -> pd.DataFrame:
    """Patients (or their unit) and images by class; a patient with images of two classes counts in both."""
    counts = prepared.manifest.groupby("class_name").agg(
        patients=("patient_id", "nunique"), images=("image_id", "size"), with_mask=("has_mask", "sum")
    )
    counts = counts.rename(index=readable, columns={"patients": unit}).rename_axis("class")
    return counts if counts["with_mask"].any() else counts.drop(columns="with_mask")


def side_by_side(table: pd.DataFrame, rows: int = 15, most: int = 3) -> pd.DataFrame:
    """A table of more rows than that in up to three blocks beside each other."""
    height = max(rows, math.ceil(len(table) / most))
    words = table.astype(object)  # whole numbers stay whole beside what is empty
    first, others = words[:height], [words[n : n + height] for n in range(height, len(table), height)]
    blocks = [other.reset_index().set_axis(first.index[: len(other)]) for other in others]
    return pd.concat([first, *blocks], axis=1).fillna("") if blocks else table


def readable(class_name: str) -> str:
    """A WordNet id, as ImageNet names classes, with its word: 'n01443537 goldfish'; others as they are."""
    if not re.fullmatch(r"n\d{8}", class_name):
        return class_name
    return f"{class_name} {_wordnet().label_name_to_description(class_name).split(',')[0]}"


@cache
def _wordnet() -> Any:
    from timm.data import ImageNetInfo  # seconds, which few datasets need

    return ImageNetInfo("imagenet-22k")


def lesion_shares(prepared: Prepared) -> pd.DataFrame:
    """By class: how many images have a mask, and what share of the pixels it marks (%), empty ones apart."""
    manifest = prepared.manifest
    rows = np.flatnonzero(manifest["has_mask"])
    shares = pd.Series([100 * prepared.masks[row].mean() for row in rows], dtype=float)
    by_class = shares.groupby(manifest["class_name"].to_numpy()[rows])
    table = by_class.describe()[["count", "min", "50%", "max"]].round(1)
    table.columns = ["images with a lesion", "smallest (%)", "median (%)", "largest (%)"]
    table["above half"] = by_class.apply(lambda some: (some > 50).sum())
    table = table.reindex(sorted(set(manifest["class_name"])))
    table["empty masks"] = manifest.groupby("class_name")["empty_mask"].sum()
    counts = ["images with a lesion", "above half", "empty masks"]
    return table.fillna(dict.fromkeys(counts, 0)).astype(dict.fromkeys(counts, int))


def sizes(prepared: Prepared) -> pd.DataFrame:
    """Smallest, median and largest side of the files as they lie in the folder, px."""
    sides = prepared.manifest[["width", "height"]].quantile([0, 0.5, 1]).astype(int)
    return sides.set_axis(["smallest", "median", "largest"]).rename(columns=lambda side: f"{side} (px)")


def examples(prepared: Prepared, columns: int = 6, most_classes: int = 8) -> Figure:
    """A row of images per class, of different patients, spread over the dataset; lesion masks outlined."""
    manifest, classes = prepared.manifest, prepared.meta["classes"]
    chosen = np.linspace(0, len(classes) - 1, min(len(classes), most_classes)).astype(int)
    lines = {}
    for name in (classes[number] for number in chosen):
        rows = manifest[manifest["class_name"] == name].drop_duplicates("patient_id").index.to_numpy()
        rows = rows[np.linspace(0, len(rows) - 1, min(columns, len(rows))).astype(int)]
        lines[readable(name)] = [(prepared.images[row].squeeze(), _lesion(prepared, row)) for row in rows]
    figure = image_rows(lines, columns)
    if prepared.meta["simulated"]:
        mark_simulated(figure)
    return figure


def _lesion(prepared: Prepared, row: int) -> np.ndarray | None:
    if not prepared.manifest["has_mask"].iloc[row]:
        return None
    mask = prepared.masks[row]
    return letterbox(mask) if prepared.resize == "letterbox" else mask


def image_rows(lines: dict[str, list[tuple[np.ndarray, np.ndarray | None]]], columns: int) -> Figure:
    """Pictures in named rows; where one comes with a mask, of any size, that is outlined."""
    size = (max(1.5 * columns, 4), 1.7 * len(lines))
    figure, axes = plt.subplots(len(lines), columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for line, (title, pictures) in zip(axes, lines.items(), strict=True):
        line[0].set_title(title, loc="left", fontsize=9)
        for axis, (pixels, mask) in zip(line, pictures, strict=False):
            axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            if mask is not None:
                y, x = ((np.arange(n) + 0.5) * pixels.shape[i] / n - 0.5 for i, n in enumerate(mask.shape))
                outline(axis, mask, ANNOTATED, x, y)
    return figure


def part_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Patients and images of every fold, part and class, one row each, and the class' share of the part."""
    counts = {"patients": ("patient_id", "nunique"), "images": ("image_id", "size")}
    folds = {
        fold: manifest.groupby([column, "class_name"]).agg(**counts).rename_axis(["part", "class"])
        for fold, column in enumerate(part_columns(manifest))
    }
    table = pd.concat(folds, names=["fold"])
    of_part = table.groupby(["fold", "part"])["images"].transform("sum")
    return table.assign(**{"images (%)": (100 * table["images"] / of_part).round(1)}).reset_index()


def split_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """`part_table` with a row per fold and part, a column per class."""
    counts = ["patients", "images", "images (%)"]
    wide = part_table(manifest).pivot(index=["fold", "part"], columns="class", values=counts).fillna(0)
    return wide.astype({column: int for column in wide if column[0] in counts[:2]})


def split_check(manifest: pd.DataFrame, unit: str = "patients") -> pd.DataFrame:
    """By fold: patients (or their unit) of each part, those in more than one (must be 0), images left out."""
    rows = {}
    for fold, column in enumerate(part_columns(manifest)):
        held = manifest[manifest[column].isin(PARTS)].groupby("patient_id")[column]
        counts = manifest.groupby(column)["patient_id"].nunique().reindex(list(PARTS), fill_value=0)
        left_out = int((~manifest[column].isin(PARTS)).sum())
        rows[fold] = [*counts, int((held.nunique() > 1).sum()), left_out]
    columns = [*(f"{part} {unit}" for part in PARTS), f"{unit} in two parts", "images left out"]
    return pd.DataFrame.from_dict(rows, "index", columns=columns).rename_axis("fold")


def times_tested(manifest: pd.DataFrame) -> pd.Series:
    """How many patients are tested in how many folds."""
    tested = (manifest[part_columns(manifest)] == "test").sum(axis=1).groupby(manifest["patient_id"]).max()
    return tested.value_counts().sort_index().rename_axis("folds tested in").rename("patients")
