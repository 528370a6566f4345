"""Tables and figures of 01_data: what a dataset holds, what was dropped, and whether the split is sound."""

import re
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from radlib.data.images import letterbox
from radlib.data.prepare import Prepared
from radlib.data.splits import PARTS, part_columns
from radlib.show.style import mark_simulated
from radlib.study.datasets import Corpus, Task

OUTLINE = "#E69F00"
_MARKERS = "osD^vPX<>*"


def facts(config: Corpus | Task, prepared: Prepared) -> str:
    """What the dataset is and which version of it this is, as a Markdown table."""
    rows = {
        "title": config.title,
        "publisher": "drawn by radlib.simulate; no real patient" if config.simulated else config.publisher,
        "licence": config.licence,
        "address": config.url,
        "simulated": "yes" if config.simulated else "no",
        "version of the files (SHA-256)": prepared.meta["digest_raw"][:16],
        "version of the packed data (SHA-256)": prepared.meta["digest"][:16],
        "packed as": f"{config.size} x {config.size} px, {'colour' if config.colour else 'grey'}, 8 bits, "
        f"made square by {prepared.meta['resize']}",
    }
    lines = [f"| {key} | {value} |" for key, value in rows.items() if value]
    return "\n".join(["| | |", "|:--|:--|", *lines])


def unit_of(config: Corpus | Task, prepared: Prepared) -> str:
    """What stays in one part: 'patients', or 'pictures' of a corpus that names none, as of photographs."""
    named = prepared.audit["patients_published"] or prepared.audit["patients_guessed"]
    return "patients" if named or isinstance(config, Task) else "pictures"


def class_counts(prepared: Prepared, unit: str = "patients") -> pd.DataFrame:
    """Patients (or pictures) and images by class; a patient with images of two classes counts in both."""
    counts = prepared.manifest.groupby("class_name").agg(
        patients=("patient_id", "nunique"), images=("image_id", "size"), with_mask=("has_mask", "sum")
    )
    counts = counts.rename(index=readable, columns={"patients": unit}).rename_axis("class")
    return counts if counts["with_mask"].any() else counts.drop(columns="with_mask")


def readable(class_name: str) -> str:
    """A WordNet id, as ImageNet names classes, with its word: 'n01443537 goldfish'; others as they are."""
    if not re.fullmatch(r"n\d{8}", class_name):
        return class_name
    from timm.data import ImageNetInfo  # seconds, which few datasets need

    words = ImageNetInfo("imagenet-22k").label_name_to_description(class_name)
    return f"{class_name} {words.split(',')[0]}"


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
    """Smallest, median and largest side of the published images, px."""
    sides = prepared.manifest[["width", "height"]].quantile([0, 0.5, 1]).astype(int)
    return sides.set_axis(["smallest", "median", "largest"]).rename(columns=lambda side: f"{side} (px)")


def examples(prepared: Prepared, columns: int = 6, most_classes: int = 8) -> Figure:
    """A row of images per class, of different patients, spread over the dataset; lesion masks outlined."""
    classes = prepared.meta["classes"]
    shown = [
        classes[i] for i in np.linspace(0, len(classes) - 1, min(len(classes), most_classes)).astype(int)
    ]
    figure, axes = plt.subplots(
        len(shown), columns, figsize=(1.5 * columns, 1.6 * len(shown)), squeeze=False, layout="constrained"
    )
    for line, class_name in zip(axes, shown, strict=True):
        rows = _one_per_patient(prepared.manifest, class_name, columns)
        for axis in line:
            axis.axis("off")
        for axis, row in zip(line, rows, strict=False):
            _draw_image(axis, prepared, row)
        line[0].set_title(readable(class_name), loc="left", fontsize=9)
    if prepared.meta["simulated"]:
        mark_simulated(figure)
    return figure


def _one_per_patient(manifest: pd.DataFrame, class_name: str, count: int) -> np.ndarray:
    rows = manifest[manifest["class_name"] == class_name].drop_duplicates("patient_id").index.to_numpy()
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]


def _draw_image(axis: plt.Axes, prepared: Prepared, row: int) -> None:
    axis.imshow(prepared.images[row].squeeze(), cmap="gray", vmin=0, vmax=255)
    if prepared.manifest["has_mask"].iloc[row]:
        mask = prepared.masks[row]
        mask = letterbox(mask) if prepared.meta["resize"] == "letterbox" else mask
        x, y = ((np.arange(n) + 0.5) * prepared.images.shape[1] / n - 0.5 for n in mask.shape[::-1])
        axis.contour(x, y, mask, levels=[0.5], colors=OUTLINE, linewidths=1)


def findings(report: dict[str, Any], unit: str = "patients") -> str:
    """The audit in sentences, as Markdown."""
    lines = [
        f"{report['listed']:,} images are listed; {report['kept']:,} are used.",
        f"{report['exact_copies']} dropped as exact copies of another image with the same label.",
        f"{report['dropped_two_labels_exact']} dropped as exact copies with another label: "
        f"{_named(report['two_labels_exact'])}.",
        f"{report['dropped_two_labels_near']} dropped as near-identical to an image with another label: "
        f"{_named(report['two_labels_near'])}.",
        f"{report['constant']} dropped because all their pixels are the same.",
        f"{report['near_identical_pairs']} pairs of images are near-identical.",
        _patients(report, unit),
        f"{report['patients_in_two_classes']} {unit} have images of two classes; each is in one part.",
    ]
    if report["left_out_of_a_fold"]:
        lines.append(
            f"{report['left_out_of_a_fold']} images are left out of a fold of the published split, because a "
            "later part holds the same patient, or a near-identical image of an unknown one."
        )
    if report["not_drawn"]:
        lines.append(
            f"{report['not_drawn']:,} images are left out by `max_images`, the same share of every class."
        )
    if report["empty_masks"]:
        lines.append(
            f"{report['empty_masks']} images come with a mask that marks nothing (no lesion, or one outside "
            "the picture); a U-Net should draw nothing there, and maps are not measured on them."
        )
    if report["with_mask"] and report["without_mask"]:
        lines.append(f"{report['without_mask']} images have no mask and take no part where masks are needed.")
    lines += report["looks"]
    return "\n".join(f"- {line}" for line in lines)


def _named(groups: list[list[str]], most: int = 10) -> str:
    shown = "; ".join(" = ".join(f"`{name}`" for name in group) for group in groups[:most])
    more = f"; and {len(groups) - most} more" if len(groups) > most else ""
    return (shown or "none") + more


def _patients(report: dict[str, Any], unit: str) -> str:
    between = report["near_identical_between_patients"]
    joined = f"{report['groups_of_several']} groups join several (the largest {report['largest_group']})"
    if report["patients_published"]:
        return (
            f"{report['patients_before_joining']:,} patients are given; those who share a picture are one: "
            f"{joined}, which leaves {report['patients']:,}. {between:,} pairs of images of two patients are "
            "near-identical, which neighbouring slices of two people may be; they change nothing."
        )
    if report["patients_guessed"]:
        return (
            f"{report['patients_before_joining']:,} names stand for patients, but are of documents or files; "
            f"those that share a picture, exactly or nearly, are one: {joined}, which leaves "
            f"{report['patients']:,}. One person may have several names, so parts may share patients and "
            "intervals may be too narrow."
        )
    if unit == "pictures":
        return (
            "No patients are given: near-identical images count as one picture, and any other image as a "
            f"picture of its own: {joined}, which leaves {report['patients']:,}. Where the pictures are of "
            "patients, parts may share some."
        )
    return (
        "No patients are given, so every image counts as a patient of its own unless it is near-identical to "
        f"another: {joined}, which leaves {report['patients']:,}. Patients with several different pictures "
        "cannot be recognised, so parts may share patients and intervals may be too narrow."
    )


def part_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Patients and images of every fold, part and class, one row each."""
    folds = {fold: manifest[column] for fold, column in enumerate(part_columns(manifest))}
    rows = [
        manifest.groupby([parts.rename("part"), manifest["class_name"].rename("class")])
        .agg(patients=("patient_id", "nunique"), images=("image_id", "size"))
        .reset_index()
        .assign(fold=fold)
        for fold, parts in folds.items()
    ]
    return pd.concat(rows, ignore_index=True)[["fold", "part", "class", "patients", "images"]]


def split_check(manifest: pd.DataFrame, unit: str = "patients") -> pd.DataFrame:
    """By fold: patients (or pictures) of each part, those in more than one (must be 0), images left out."""
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


def positive_shares(prepared: Prepared) -> Figure:
    """Share of positive images by part and fold of a task; alike if the split is stratified well."""
    manifest = prepared.manifest
    figure, axis = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
    columns = part_columns(manifest)
    for fold, column in enumerate(columns):
        share = 100 * manifest.groupby(column)["label"].mean().reindex(list(PARTS))
        height = np.arange(len(PARTS)) + 0.7 * ((fold + 0.5) / len(columns) - 0.5)
        axis.plot(
            share, height, _MARKERS[fold % len(_MARKERS)], color="#0072B2", alpha=0.8, label=f"fold {fold}"
        )
    overall = 100 * manifest["label"].mean()
    axis.axvline(overall, color="0.4", ls="--", lw=1, label="all images")
    axis.set(yticks=range(len(PARTS)), yticklabels=PARTS, xlim=(0, 100), ylim=(-0.5, len(PARTS) - 0.5))
    axis.set(xlabel=f"images of class '{prepared.meta['classes'][1]}' (%)")
    axis.invert_yaxis()
    axis.legend(fontsize=8, frameon=False, bbox_to_anchor=(1.01, 1), loc="upper left")
    if prepared.meta["simulated"]:
        mark_simulated(figure)
    return figure
