"""Has a source seen the pictures that it is tested on: does a corpus hold images of a task? (10_confounds)

Published collections are made of one another, and an audit looks at one data set at a time. Here every image
of a task is set beside every image of each corpus that is a source, as thumbnails (32 x 32 px, grey), by
Pearson correlation, which ignores brightness and contrast.

**The rule.** Radiographs all look alike: the most similar picture of somebody else correlates by 0.90 in the
median and by up to 0.96, so a threshold alone misses copies or takes strangers for copies. But a copy is also
nearer than *everything else*. An image is found if its best match has a correlation of `SAME` = 0.99, or one
of `LIKELY` = 0.95 and is `CLOSER` = 2.5 times as near as the best match that is another picture, near meaning
1 - correlation (the ratio test of Lowe 2004, doi 10.1023/B:VISI.0000029664.99615.94).

It was chosen on 3 052 images of five public tasks beside two corpora of 10 000. Fourteen radiographs are the
same picture by eye: correlations of 0.963 to 0.9998, and 4 times as near as the next, or more. Of all others
none passed 0.964 or was more than 1.6 times as near where it passed 0.95; 2.5 is the middle of the two. The
larger a corpus, the nearer are strangers; a ratio takes that along, and 0.99 is far from it. The next match
is another picture only if it is no copy of the best, by `SAME`: a corpus may hold a picture twice.

**What it cannot find**: other pictures of the same patient, copies that were cropped, turned or mirrored, and
whatever a published checkpoint was trained on. All counts are lower bounds.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from radlib import compute
from radlib.data.facts import THUMBNAIL, thumbnail
from radlib.data.images import Packed, inner_box, open_packed
from radlib.data.packing import blank_array, release
from radlib.errors import of_task
from radlib.progress import progress
from radlib.questions.auc.compute import bootstrap_pair, what_is_resampled
from radlib.questions.verdicts import diverged, estimate_columns
from radlib.show import table as common
from radlib.show.findings import Finding, finding_of
from radlib.show.table import COUNT, Column, Table, interval_columns
from radlib.stats.estimate import BOTH
from radlib.stats.folds import tested
from radlib.study import Study
from radlib.study.titles import ordered_pairs, pair_title, source_title, task_title
from radlib.training.results import Results, paired_runs, settings_by_fold

NO_CORPUS = "No source is pretrained here, so there is no corpus to look into."
ALL, WITHOUT = ("delta", "ci_low", "ci_high"), ("delta_without", "ci_low_without", "ci_high_without")
OVERLAP = Table(
    "overlap.csv",
    "confounds",
    "corpus and task, and pair of sources where test images were found",
    [
        Column("source", "the corpus", "corpus", source_title),
        common.TASK,
        Column("n_images", "images of the task", "images of the task", COUNT),
        Column("n_found", "of them found in the corpus", "found in the corpus", COUNT),
        Column("n_found_training", "of them in its training part", "in its training part", COUNT),
        Column("n_tested", "test images"),
        Column("n_tested_found", "of them found in the corpus", "found and tested", COUNT),
        *common.PAIR,
        *interval_columns(ALL[0], "AUC after source a minus source b", "a − b"),
        *interval_columns(
            WITHOUT[0], "the same without the images found", "without the found", "+.3f", *WITHOUT[1:]
        ),
        Column("n_patients_without", "patients left"),
        Column("n_images_without", "images left"),
        Column("n_positive_without", "positive images left"),
        Column("not_compared", "why there is no difference without them", "not compared"),
        Column("resampled", "what was resampled"),
        *common.ORIGIN,
    ],
    index=2,
)
SAME, LIKELY, CLOSER = 0.99, 0.95, 2.5
# Thumbnails with less contrast (SD, in greys of 256) are mostly the rounding to whole greys.
LEAST_CONTRAST = 2.0
_KEPT = 4  # best matches of every image
_READ = 256  # images at once: 40 MB at 224 px in colour
_TASK, _CORPUS = 2048, 4096  # thumbnails at once: 24 MB, and 32 MB of correlations


@dataclass(frozen=True)
class Matches:
    """The best matches of n images in a corpus, best first.

    correlations: float32 (n, 4), rows: int64 (n, 4) of the corpus; -1 in both where it has fewer images.
    """

    correlations: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Found:
    """seen: bool (n,), the corpus holds this image of the task; training: bool (n,), in its training part."""

    seen: np.ndarray
    training: np.ndarray


def compare_overlap(study: Study, results: Results) -> pd.DataFrame:
    """A row (`OVERLAP`) per source that is a corpus and task, and per pair where test images were found.

    Columns `*_without` are the difference in `grid_mean` when found images are left out of the test parts;
    `not_compared` says why there is none. Without found test images the row has no pair. Sources, tasks,
    resampled patients and intervals are those of `radlib.questions.auc.compute`.

    Raises:
        UserError: data missing, or too few patients or resamples for an interval of all test images.
    """
    corpora = [source for source in study.sources if source in study.corpora]
    found = find_in_corpora(study, corpora, results.tasks)
    rows = []
    for (source, task), one in found.items():
        ids = open_packed(study.dataset_dir(task)).manifest["image_id"].to_numpy()[one.seen]
        folds = results.predictions[task]
        about = {
            "source": source,
            "task": task,
            "n_images": len(one.seen),
            "n_found": len(ids),
            "n_found_training": int(one.training.sum()),
            "n_tested": sum(len(part.image_ids) for part in folds),
            "n_tested_found": sum(int(np.isin(part.image_ids, ids).sum()) for part in folds),
        }
        pairs = [pair for pair in ordered_pairs(study) if source in pair] if about["n_tested_found"] else []
        compared = [_without(study, results, task, pair, ids) for pair in pairs]
        rows += [about | row for row in compared if row] or [about]
    return OVERLAP.frame(rows, resamples=study.compare.resamples, simulated=study.simulated)


def find_in_corpora(study: Study, corpora: list[str], tasks: list[str]) -> dict[tuple[str, str], Found]:
    """By corpus and task: which images of the task the corpus holds; rows as in the task's manifest."""
    packed = {name: open_packed(study.dataset_dir(name)) for name in [*corpora, *tasks]} if corpora else {}
    sizes = {name: len(one.images) for name, one in packed.items()}
    pieces = sum(sizes[c] * -(-sizes[t] // _TASK) for c in corpora for t in tasks)
    found = {}
    with tempfile.TemporaryDirectory(prefix="radlib-overlap-") as scratch:
        with progress(total=sum(sizes.values()), description="thumbnails") as bar:
            small = {name: thumbnails(one, Path(scratch) / name, bar) for name, one in packed.items()}
        with progress(total=pieces, description="overlap") as bar:
            for corpus in corpora:
                for task in tasks:
                    matches = best_matches(small[task], small[corpus], bar)
                    found[corpus, task] = judge(matches, small[corpus], packed[corpus].manifest)
    return found


def thumbnails(packed: Packed, file: Path, bar=None) -> np.ndarray:
    """Thumbnails of packed images, uint8 (n, 32, 32), in a file: a corpus of a million needs 1.4 GB.

    Letterboxed images lose their borders first: a copy may have become square in the other way elsewhere.
    """
    small = blank_array((len(packed.images), THUMBNAIL, THUMBNAIL), file)
    boxes = packed.manifest[["height", "width"]].to_numpy() if packed.resize == "letterbox" else None
    for start in range(0, len(small), _READ):
        images = packed.images[start : start + _READ]
        for place, pixels in enumerate(images, start):
            shown = pixels if boxes is None else pixels[_content(boxes[place], len(pixels))]
            small[place] = thumbnail(np.ascontiguousarray(shown[..., 0] if shown.shape[2] == 1 else shown))
        release(packed.images)
        release(small)
        if bar is not None:
            bar.update(len(images))
    return small


def best_matches(task: np.ndarray, corpus: np.ndarray, bar=None) -> Matches:
    """Correlate all thumbnails of a task, uint8 (n, 32, 32), with all of a corpus, piece by piece.

    A piece is a product of matrices on `compute.device()`; besides its pieces, nothing is held but the best.
    It takes 2 000 operations for each image of the one and of the other: 750 000 images beside 1.35 million
    are work for a graphics card, 1 000 beside 10 000 for a second of a processor.
    """
    correlations = np.full((len(task), _KEPT), -1, dtype=np.float32)
    rows = np.full((len(task), _KEPT), -1, dtype=np.int64)
    for start in range(0, len(task), _TASK):
        piece = slice(start, start + _TASK)
        asked = _centred(task[piece])
        best = torch.full((len(asked), _KEPT), -1.0, device=asked.device)
        where = torch.full((len(asked), _KEPT), -1, device=asked.device)
        for first in range(0, len(corpus), _CORPUS):
            held = _centred(corpus[first : first + _CORPUS])
            found, place = torch.topk(asked @ held.T, min(_KEPT, len(held)))
            best, order = torch.topk(torch.cat([best, found], dim=1), _KEPT)
            where = torch.cat([where, place + first], dim=1).gather(1, order)
            release(corpus)
            if bar is not None:
                bar.update(len(held))
        correlations[piece], rows[piece] = best.cpu().numpy(), where.cpu().numpy()
    return Matches(correlations, rows)


def judge(matches: Matches, corpus: np.ndarray, manifest: pd.DataFrame) -> Found:
    """Apply the rule of this module; `corpus`: its thumbnails, `manifest`: its manifest."""
    seen, training = (np.zeros(len(matches.rows), dtype=bool) for _ in range(2))
    learnt = (manifest["part_0"] == "train").to_numpy()
    for image in np.flatnonzero(matches.correlations[:, 0] >= LIKELY):
        correlations, rows = matches.correlations[image], matches.rows[image]
        vectors = _centred(corpus[rows]).cpu()
        copies = ((vectors @ vectors[0]).numpy() >= SAME) & (rows >= 0)
        copies[0] = True
        # Where all that are kept are copies of the best, the next picture is at most as near as the last.
        rival = correlations[-1] if copies.all() else correlations[~copies].max()
        seen[image] = correlations[0] >= SAME or CLOSER * (1 - correlations[0]) <= 1 - rival
        training[image] = seen[image] and learnt[rows[copies]].any()
    return Found(seen, training)


def _content(shape: np.ndarray, side: int) -> tuple[slice, slice]:
    """Where the image of (height, width) lies in its letterboxed square of `side` px."""
    longer = int(shape.max())
    edges = [(part.start, part.stop) for part in inner_box((int(shape[0]), int(shape[1])))]
    scaled = [(round(low * side / longer), round(high * side / longer)) for low, high in edges]
    rows, columns = (slice(low, max(high, low + 1)) for low, high in scaled)
    return rows, columns


def _centred(small: np.ndarray) -> torch.Tensor:
    """float32 (k, 1024) of mean 0 and length 1; too little contrast is all zeros, alike with nothing."""
    flat = torch.from_numpy(np.array(small)).to(compute.device()).reshape(len(small), -1).float()
    flat -= flat.mean(dim=1, keepdim=True)
    length = flat.norm(dim=1, keepdim=True)
    flat[length[:, 0] < LEAST_CONTRAST * THUMBNAIL] = 0
    return flat / length.clamp(min=1)


@of_task
def _without(study: Study, results: Results, task: str, pair: tuple[str, str], seen: np.ndarray) -> dict:
    """A pair's difference with and without the images `seen` (ids); empty where it has no runs in common."""
    sides = paired_runs(results.of_task(task), pair)
    if sides[0].empty:
        return {}
    holds = what_is_resampled(results, pair)
    settings = settings_by_fold(sides[0]) if holds == BOTH else None
    a, b = (results.scores(task, runs) for runs in sides)
    row = {"source_a": pair[0], "source_b": pair[1], "resampled": holds, "diverged": diverged(*sides)}
    row |= estimate_columns(study, bootstrap_pair(study, task, a, b, settings), ALL)
    parts = [part.without(seen) for part in results.predictions[task] if part.fold in set(sides[0]["fold"])]
    for part in parts:
        if len(np.unique(part.labels)) < 2:
            return row | {"not_compared": f"without them the test part of fold {part.fold} lacks a class"}
    a, b = (replace(results, predictions={task: parts}).scores(task, runs) for runs in sides)
    try:
        row |= estimate_columns(study, bootstrap_pair(study, task, a, b, settings), WITHOUT)
    except ValueError as exc:
        return row | {"not_compared": f"without them no interval can be had: {exc}"}
    return row | {f"{name}_without": count for name, count in tested(a).items()}


def overlap_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Which corpus holds test images of which task, and each pair's difference without them."""
    found = []
    for (source, task), rows in table[table["n_found"] > 0].groupby(["source", "task"], sort=False):
        row = rows.iloc[0]
        title = f"Images of {task_title(study, task)} that lie in {source_title(study, source)}"
        counts = f"{row['n_found']:,} of {row['n_images']:,}, {row['n_tested_found']:,} of them tested"
        found.append(Finding(title, counts, csv=row.get("csv", "")))
        for one in rows.dropna(subset="source_a").to_dict("records"):
            pair = pair_title(study, (one["source_a"], one["source_b"]))
            subject = f"AUC, {pair}: {task_title(study, task)} without them"
            reason = "" if pd.isna(one["not_compared"]) else f"none can be given: {one['not_compared']}"
            found.append(finding_of(one, subject, reason, WITHOUT))
    if len(table) and not found:
        found = [Finding("Images of a task that lie in a corpus", "none found")]
    return found
