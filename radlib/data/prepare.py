"""Published files to `data/<dataset>/`: choose, decode, audit, split, pack."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radlib.data import packing
from radlib.data.audit import Audit, audit
from radlib.data.fingerprints import THUMBNAIL, Fingerprint, Fingerprints, fingerprint
from radlib.data.images import open_packed, to_square
from radlib.data.looks import Look, Looks, look
from radlib.data.masks import Masks, masks_of, pack
from radlib.data.parts import with_parts
from radlib.data.records import Chosen, Decoded, choose_records
from radlib.data.splits import LEFT_OUT, part_columns
from radlib.datasets import Record
from radlib.progress import on_threads, progress
from radlib.store import write_json
from radlib.study import Study
from radlib.study.datasets import Corpus, Task

_AHEAD = 64


@dataclass(frozen=True)
class Prepared:
    """A dataset after preparation; what `save` writes.

    images: uint8 (n, S, S, C); masks: as published, or None where there are none;
    manifest: see `radlib.data.images.Packed`; dropped: image_id, reason; audit: counts and names;
    meta: digests, classes, layout.
    """

    images: np.ndarray
    masks: Masks | None
    manifest: pd.DataFrame
    dropped: pd.DataFrame
    audit: dict[str, Any]
    meta: dict[str, Any]


@dataclass(frozen=True)
class _Scratch:
    """All chosen images, decoded, before the audit: row i of `table` is images[i] and fingerprint i.

    digest_raw: SHA-256 of the names and of the published files' digests; looks: what is said of the images.
    """

    images: np.ndarray
    masks: list[np.ndarray | None] | None
    table: pd.DataFrame
    prints: Fingerprints
    digest_raw: str
    looks: Looks


def prepare(study: Study, dataset: str, save: bool = True, progress: Callable = progress) -> Prepared:
    """Prepare one corpus or task; with `save`, write `data/<dataset>/` whole or not at all.

    The same files and parameters give the same bytes. Without `save` nothing is written.

    Raises:
        UserError: raw files missing or damaged, labels that are neither class, too few patients for the
            folds, or a full disk.
    """
    config = study.dataset(dataset)
    chosen = choose_records(study, dataset, progress)
    shape = (len(chosen.records), config.size, config.size, 3 if config.colour else 1)
    folder = study.dataset_dir(dataset)
    # What is decoded is packed once more without what the audit drops: twice the space, and a little.
    megabytes = (5 * int(np.prod(shape)) // 2 + shape[0] * THUMBNAIL**2) // 1_000_000 + 1
    with packing.whole_folder(folder, megabytes) if save else nullcontext() as temporary:
        scratch = _decode(chosen, study, dataset, shape, temporary, progress)
        found = audit(scratch.table, scratch.prints, config.near_duplicate_bits, config.patients_certain)
        rows = np.flatnonzero(found.keep)
        manifest = _manifest(study, dataset, chosen, scratch.table, found)
        bits = None if scratch.masks is None else pack([scratch.masks[row] for row in rows])
        meta = _meta(study, dataset, scratch, rows, bits, manifest)
        dropped = _dropped(chosen, found)
        report = _report(chosen, scratch, found, dropped, manifest)
        if temporary is None:
            masks = None if bits is None else masks_of(bits, manifest)
            return Prepared(scratch.images[rows], masks, manifest, dropped, report, meta)
        _write(temporary, scratch.images, bits, rows, manifest)
        dropped.to_csv(temporary / "dropped.csv", index=False)
        write_json(report, temporary / "audit.json")
        write_json(meta, temporary / "meta.json")
    # Of a million images, the records and a second manifest take a gigabyte.
    del chosen, scratch, found, manifest
    packed = open_packed(folder)
    return Prepared(packed.images, packed.masks, packed.manifest, dropped, report, meta)


def _decode(
    chosen: Chosen, study: Study, dataset: str, shape: tuple, folder: Path | None, progress: Callable
) -> _Scratch:
    images = packing.blank_array(shape, folder and folder / "images.raw")
    room = packing.blank_array((shape[0], THUMBNAIL, THUMBNAIL), folder and folder / "thumbnails.raw")
    masks, facts, prints, digest = [], _Facts(shape[0]), Fingerprints.blank(room), hashlib.sha256()
    looks = Looks()
    decoded = zip(chosen.records, _in_order(chosen.load, chosen.records), strict=True)
    bar = progress(decoded, total=len(chosen.records), description=f"decoding {dataset}")
    for row, (record, (one, print_, seen)) in enumerate(bar):
        images[row] = to_square(one.pixels, shape[1], study.resize_of(dataset))
        masks.append(one.mask if facts.put(row, one) else None)
        prints.put(row, print_)
        looks.put(record.image_id, seen)
        digest.update(f"{record.image_id} {' '.join(one.inputs)}\n".encode())
        if row % packing.CHUNK == 0:
            packing.release(images)
            packing.release(room)
    looks.check(dataset)
    masks = masks if chosen.has_masks else None
    return _Scratch(images, masks, facts.table(chosen.records), prints, digest.hexdigest(), looks)


def _in_order(
    load: Callable[[Record], Decoded], records: list[Record]
) -> Iterator[tuple[Decoded, Fingerprint, Look]]:
    """Decode on all processors, a few images ahead; in the order of the records."""

    def one(record: Record) -> tuple[Decoded, Fingerprint, Look]:
        decoded = load(record)
        return decoded, fingerprint(decoded.pixels), look(decoded.pixels, decoded.mask)

    return on_threads(one, records, _AHEAD)


class _Facts:
    """What is noted of each image, column by column: a million dictionaries would take gigabytes."""

    def __init__(self, count: int):
        self.width, self.height = (np.zeros(count, dtype=int) for _ in range(2))
        self.has_mask, self.empty_mask = (np.zeros(count, dtype=bool) for _ in range(2))
        self.sha256: list[str] = []
        self.rule: list[str] = []
        self.drop: list[str] = []

    def put(self, row: int, one: Decoded) -> bool:
        """Note image `row`; returns whether it has a mask that marks something."""
        self.height[row], self.width[row] = one.pixels.shape[:2]
        self.sha256.append(one.inputs[0])
        self.rule.append(sys.intern(one.rule))
        self.drop.append(one.drop)
        self.has_mask[row] = one.mask is not None and one.mask.any()
        self.empty_mask[row] = one.mask is not None and not self.has_mask[row]
        return bool(self.has_mask[row])

    def table(self, records: list[Record]) -> pd.DataFrame:
        # As objects, texts are the records' own; as text, pandas would copy them.
        texts = {
            "image_id": [r.image_id for r in records],
            "patient_id": [r.patient_id for r in records],
            "class_name": [r.class_name for r in records],
            "sha256": self.sha256,
            "rule": self.rule,
            "drop": self.drop,
        }
        return pd.DataFrame(
            {
                **{name: pd.Series(values, dtype=object) for name, values in texts.items()},
                "width": self.width,
                "height": self.height,
                "has_mask": self.has_mask,
                "empty_mask": self.empty_mask,
            }
        )


def _manifest(study: Study, dataset: str, chosen: Chosen, table: pd.DataFrame, found: Audit) -> pd.DataFrame:
    kept = table[found.keep].reset_index(drop=True)
    classes = _classes(study, dataset, table)
    labels = kept["class_name"].map({name: label for label, name in enumerate(classes)}).to_numpy(dtype=int)
    manifest = pd.DataFrame(
        {
            "image_id": kept["image_id"].astype(str),
            "patient_id": pd.Series(found.patients[found.keep], dtype=str),
            "label": labels,
            "class_name": kept["class_name"].astype(str),
            "width": kept["width"],
            "height": kept["height"],
            "sha256": kept["sha256"].astype(str),
            "has_mask": kept["has_mask"].astype(bool),
        }
    )
    if chosen.has_masks:
        manifest["empty_mask"] = kept["empty_mask"].astype(bool)
    published = [r.parts for r, keep in zip(chosen.records, found.keep, strict=True) if keep]
    return with_parts(study, dataset, manifest, published, kept["patient_id"])


def _classes(study: Study, dataset: str, table: pd.DataFrame) -> list[str]:
    config = study.dataset(dataset)
    if isinstance(config, Task):
        return [config.negative, config.positive]
    return sorted(set(table["class_name"]))


def _meta(
    study: Study, dataset: str, scratch: _Scratch, rows: np.ndarray, bits, manifest: pd.DataFrame
) -> dict[str, Any]:
    config = study.dataset(dataset)
    grouped = isinstance(config, Corpus) and config.groups
    return {
        "dataset": dataset,
        "digest": packing.digest_of(scratch.images, rows, bits, manifest),
        "digest_raw": scratch.digest_raw,
        "layout": config.layout,
        "simulated": config.simulated,
        "classes": _classes(study, dataset, manifest if grouped else scratch.table),
        "size": config.size,
        "colour": config.colour,
        "resize": study.resize_of(dataset),
    }


def _dropped(chosen: Chosen, found: Audit) -> pd.DataFrame:
    before = pd.DataFrame(chosen.dropped, columns=["image_id", "reason"])
    return pd.concat([before, found.dropped]).astype(str).sort_values("image_id", ignore_index=True)


def _report(
    chosen: Chosen, scratch: _Scratch, found: Audit, dropped: pd.DataFrame, manifest: pd.DataFrame
) -> dict[str, Any]:
    table = scratch.table
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
        "own_folds": all(r.parts is None for r in chosen.records),
        "left_out_of_a_fold": int((manifest[part_columns(manifest)] == LEFT_OUT).any(axis=1).sum()),
        "with_mask": int(manifest["has_mask"].sum()),
        "looks": scratch.looks.sentences(),
        "empty_masks": int(table["empty_mask"].sum()),
        "without_mask": int((~(table["has_mask"] | table["empty_mask"])).sum()),
    }


def _write(folder: Path, images: np.ndarray, bits: np.ndarray | None, rows: np.ndarray, manifest) -> None:
    packing.write_rows(images, rows, folder / "images.npy")
    for scratch in folder.glob("*.raw"):
        scratch.unlink()
    if bits is not None:
        np.save(folder / "masks.npy", bits)
    manifest.to_parquet(folder / "manifest.parquet", index=False)
