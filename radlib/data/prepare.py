"""Published files to `data/<dataset>/`: choose, decode, audit, split, pack."""

import hashlib
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radlib.data import packing
from radlib.data.audit import Audit, audit
from radlib.data.facts import FACTS, THUMBNAIL, check_inverted, facts_of, odd_looks
from radlib.data.images import Packed, open_packed, to_square
from radlib.data.masks import Masks, pack
from radlib.data.overlap import images_of_tasks
from radlib.data.parts import LEFT_OUT, classes_of, with_parts
from radlib.data.records import Chosen, choose_records, loader
from radlib.data.splits import part_columns
from radlib.datasets import Record
from radlib.errors import UserError
from radlib.progress import on_threads, progress
from radlib.store import write_json
from radlib.study import Study
from radlib.study.datasets import Corpus, Task

_AHEAD = 64


@dataclass(frozen=True)
class Prepared(Packed):
    """A packed dataset and what its preparation found. dropped: image_id, reason; audit: counts and names."""

    dropped: pd.DataFrame
    audit: dict[str, Any]


@dataclass(frozen=True)
class _Scratch:
    """All chosen images, decoded, before the audit: row i of `table` is images[i], facts[i], thumbnails[i].

    masks: those that mark something, None elsewhere. table: image_id, patient_id, class_name, and of the
    published file sha256, rule, drop. digest: SHA-256 of the names and of the published files' digests.
    """

    images: np.ndarray
    thumbnails: np.ndarray
    masks: list[np.ndarray | None]
    table: pd.DataFrame
    facts: np.ndarray
    digest: str


def prepare(study: Study, dataset: str, save: bool = True, progress: Callable = progress) -> Prepared:
    """Prepare one corpus or task; with `save`, write `data/<dataset>/` whole or not at all.

    The same files and parameters give the same bytes. Without `save` nothing is written. UserError for files
    missing or damaged, labels that are neither class, too few patients for the folds, a full disk, or, of a
    corpus, which loses the images of tasks: a task that is not prepared, or no image left.
    """
    config = study.dataset(dataset)
    chosen = choose_records(study, dataset, progress)
    shape = (len(chosen.records), config.size, config.size, 3 if config.colour else 1)
    folder = study.dataset_dir(dataset)
    # What is decoded is packed once more without what the audit drops: twice the space, and a little.
    megabytes = (5 * int(np.prod(shape)) // 2 + 2 * shape[0] * THUMBNAIL**2) // 1_000_000 + 1
    with packing.whole_folder(folder, megabytes) if save else nullcontext() as temporary:
        scratch = _decode(study, dataset, chosen.records, shape, temporary, progress)
        if isinstance(config, Corpus):
            of_tasks = images_of_tasks(study, scratch.thumbnails, scratch.facts["twin"], progress)
            if (of_tasks != "").all():
                raise UserError(f"corpus '{dataset}' holds nothing but images of tasks; name another corpus")
            scratch.table["drop"] = scratch.table["drop"].where(scratch.table["drop"] != "", of_tasks)
        rule = config.near_duplicate_bits, config.patients_certain
        found = audit(scratch.table, scratch.facts, scratch.thumbnails, *rule)
        rows = np.flatnonzero(found.keep)
        manifest = _manifest(study, dataset, chosen.records, scratch, found)
        bits = pack([scratch.masks[row] for row in rows]) if "empty_mask" in manifest else None
        meta = _meta(study, dataset, scratch, rows, bits, manifest)
        before = pd.DataFrame(chosen.dropped.items(), columns=["image_id", "reason"])
        dropped = pd.concat([before, found.dropped]).astype(str).sort_values("image_id", ignore_index=True)
        report = _report(chosen, scratch, found, dropped, manifest)
        if temporary is None:
            masks = None if bits is None else Masks(bits, manifest)
            return Prepared(scratch.images[rows], masks, manifest, meta, dropped, report)
        if isinstance(config, Task):
            packing.write_rows(scratch.thumbnails, rows, temporary / "thumbnails.npy")
        _write(temporary, scratch.images, bits, rows, manifest)
        dropped.to_csv(temporary / "dropped.csv", index=False)
        write_json(report, temporary / "audit.json")
        write_json(meta, temporary / "meta.json")
    # Of a million images, the records and a second manifest take a gigabyte.
    del chosen, scratch, found, manifest
    return Prepared(**vars(open_packed(folder)), dropped=dropped, audit=report)


def _decode(
    study: Study, dataset: str, records: list[Record], shape: tuple, folder: Path | None, progress: Callable
) -> _Scratch:
    """Decode on all processors, a few images ahead, in the order of the records."""
    images = packing.blank_array(shape, folder and folder / "images.raw")
    thumbnails = packing.blank_array((shape[0], THUMBNAIL, THUMBNAIL), folder and folder / "thumbnails.raw")
    load, digest = loader(study.dataset(dataset).colour), hashlib.sha256()
    facts, masks, published = np.zeros(shape[0], dtype=FACTS), [], []

    def one(record: Record) -> tuple:
        decoded = load(record)
        return decoded, facts_of(decoded.pixels, decoded.mask)

    opened = zip(records, on_threads(one, records, _AHEAD), strict=True)
    bar = progress(opened, total=len(records), description=f"decoding {dataset}")
    for row, (record, (decoded, (noted, small))) in enumerate(bar):
        images[row] = to_square(decoded.pixels, shape[1], study.resize_of(dataset))
        facts[row], thumbnails[row] = noted, small
        masks.append(decoded.mask if facts["has_mask"][row] else None)
        published.append((decoded.inputs[0], sys.intern(decoded.rule), decoded.drop))
        digest.update(f"{record.image_id} {' '.join(decoded.inputs)}\n".encode())
        if row % packing.CHUNK == 0:
            packing.release(images)
            packing.release(thumbnails)
    # As objects, texts are the records' own; as text, pandas would copy them.
    table = pd.DataFrame(published, columns=["sha256", "rule", "drop"], dtype=object)
    for name in ("image_id", "patient_id", "class_name"):
        table[name] = pd.Series([getattr(record, name) for record in records], dtype=object)
    check_inverted(dataset, table["image_id"].to_numpy(), facts)
    return _Scratch(images, thumbnails, masks, table, facts, digest.hexdigest())


def _manifest(
    study: Study, dataset: str, records: list[Record], scratch: _Scratch, found: Audit
) -> pd.DataFrame:
    kept, facts = scratch.table[found.keep].reset_index(drop=True), scratch.facts[found.keep]
    classes = classes_of(study.dataset(dataset), scratch.table["class_name"])
    manifest = pd.DataFrame(
        {
            "image_id": kept["image_id"].astype(str),
            "patient_id": pd.Series(found.patients[found.keep], dtype=str),
            "label": kept["class_name"].map(classes.index).astype(int),
            "class_name": kept["class_name"].astype(str),
            "width": facts["width"],
            "height": facts["height"],
            "sha256": kept["sha256"].astype(str),
            "has_mask": facts["has_mask"],
        }
    )
    if any(record.masks for record in records):
        manifest["empty_mask"] = facts["empty_mask"]
    published = [record.parts for record, keep in zip(records, found.keep, strict=True) if keep]
    return with_parts(study, dataset, manifest, published, kept["patient_id"])


def _meta(
    study: Study, dataset: str, scratch: _Scratch, rows: np.ndarray, bits, manifest: pd.DataFrame
) -> dict[str, Any]:
    config = study.dataset(dataset)
    named = manifest if isinstance(config, Corpus) and config.groups else scratch.table
    return {
        "dataset": dataset,
        "digest": packing.digest_of(scratch.images, rows, bits, manifest),
        "digest_raw": scratch.digest,
        "layout": config.layout,
        "simulated": config.simulated,
        "classes": classes_of(config, named["class_name"]),
        "size": config.size,
        "colour": config.colour,
        "resize": study.resize_of(dataset),
    }


def _report(
    chosen: Chosen, scratch: _Scratch, found: Audit, dropped: pd.DataFrame, manifest: pd.DataFrame
) -> dict[str, Any]:
    facts, table = scratch.facts, scratch.table
    per_class = manifest.groupby("class_name").agg(
        images=("image_id", "size"), patients=("patient_id", "nunique")
    )
    converted = table[found.keep & (table["rule"] != "")]
    rules = converted.groupby(["rule", "class_name"]).size().unstack(fill_value=0)
    return {
        **found.report,
        "dicom_rules": rules.T.to_dict(),
        "listed": len(chosen.records) + len(chosen.dropped) + chosen.not_drawn,
        "not_drawn": chosen.not_drawn,
        "reasons": {str(k): int(v) for k, v in dropped["reason"].value_counts().sort_index().items()},
        "classes": per_class.to_dict("index"),
        "own_folds": all(record.parts is None for record in chosen.records),
        "left_out_of_a_fold": int((manifest[part_columns(manifest)] == LEFT_OUT).any(axis=1).sum()),
        "with_mask": int(manifest["has_mask"].sum()),
        "looks": odd_looks(table["image_id"].to_numpy(), facts),
        "empty_masks": int(facts["empty_mask"].sum()),
        "without_mask": int((~(facts["has_mask"] | facts["empty_mask"])).sum()),
    }


def _write(folder: Path, images: np.ndarray, bits: np.ndarray | None, rows: np.ndarray, manifest) -> None:
    packing.write_rows(images, rows, folder / "images.npy")
    for scratch in folder.glob("*.raw"):
        scratch.unlink()
    if bits is not None:
        np.save(folder / "masks.npy", bits)
    manifest.to_parquet(folder / "manifest.parquet", index=False)
