"""What 05_segment and 06_dice found, as data."""

from dataclasses import replace

import numpy as np
import pandas as pd

from radlib.data.images import Packed
from radlib.questions.lesions.dice import compare_found
from radlib.questions.lesions.measured import Found, collapsed, without
from radlib.questions.lesions.resize import ALL, EVERY_SOURCE, GROUPS
from radlib.questions.lesions.table import METHODS
from radlib.show.findings import NOT_SHOWN, Finding, direction
from radlib.show.table import number
from radlib.study import Study
from radlib.study.titles import pair_title, source_title, task_title

# Relative gain of the Dice of maps, radiology against ImageNet (Mei et al. 2022, doi 10.1148/ryai.210315).
PUBLISHED_GAIN = {"thyroid_us": 0.646, "breast_us": 0.164}
NO_MASKS = "No task of this study has lesion masks, so there is nothing to compare here."


def masks_table(study: Study, task: str, packed: Packed) -> pd.Series:
    """What there is to draw: counts of masks, share of the frame, and the shape of the images."""
    manifest = packed.manifest
    marked = manifest[manifest["has_mask"]]
    low, middle, high = np.quantile([packed.masks[row].mean() for row in marked.index], [0.25, 0.5, 0.75])
    sides = marked[["width", "height"]]
    aspect = sides.max(axis=1) / sides.min(axis=1)
    said = {
        "images": f"{len(manifest):,}" + (" (simulated)" if packed.meta["simulated"] else ""),
        "with a lesion mask": f"{len(marked):,}",
        "with an empty mask": f"{int(manifest['empty_mask'].sum()):,}",
        "share of the frame, median (quartiles)": f"{middle:.0%} ({low:.0%}, {high:.0%})",
        "longer over shorter side, median (most)": f"{aspect.median():.2f} ({aspect.max():.2f})",
        "made square by": packed.resize,
    }
    return pd.Series(said, name=task_title(study, task))


def lesion_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Dice of the headline pair by method and task, after Holm's correction; and whether anybody looked."""
    a, b = study.compare.headline
    rows = table[(table["source_a"] == a) & (table["source_b"] == b) & (table["metric"] == "dice")]
    return [_dice(study, row) for _, row in rows.iterrows()]


def collapse_findings(study: Study, segmented: Found) -> list[Finding]:
    """How many U-Nets collapsed, by task and source, and the headline difference without them."""
    found = []
    for task in segmented.compared_tasks(study):
        runs = segmented.runs[task]
        lost = runs[runs["run"].isin(collapsed(segmented.images[task]))]
        title = f"U-Nets that found nothing of any lesion, {task_title(study, task)}"
        counts = [f"{n} after {source_title(study, s)}" for s, n in lost["source"].value_counts().items()]
        found.append(Finding(title, f"{'; '.join(counts) or 'none'}, of {len(runs)}", where="06_dice"))
        if len(lost):
            kept = compare_found(study, [without(segmented, task, lost["run"])])
            found += [replace(f, subject=f"{f.subject}, without them") for f in lesion_findings(study, kept)]
    return found


def resize_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Dice with black borders minus Dice with stretching: all images, and the most elongated third."""
    some = table[(table["metric"] == "dice") & (table["source"] == EVERY_SOURCE)]
    some = some[some["aspect"].isin([ALL, GROUPS[-1]])]
    return [
        Finding(
            f"Dice of {METHODS[row.method]}, letterbox − stretch: {task_title(study, row.task)}, "
            f"{row.aspect}",
            direction(row.ci_low, row.ci_high), row.delta, row.ci_low, row.ci_high, where="06_dice",
        )
        for row in some.itertuples()
    ]  # fmt: skip


def _dice(study: Study, row: pd.Series) -> Finding:
    pair = pair_title(study, tuple(study.compare.headline))
    subject = f"Dice of {METHODS[row['method']]}, {pair}: {task_title(study, row['task'])}"
    verdict = direction(row["ci_low"], row["ci_high"])
    if row["p_holm"] >= 1 - study.compare.confidence:
        verdict = NOT_SHOWN
    if max(row["mean_a"], row["mean_b"]) < row["guess"]:
        verdict = f"neither finds the lesion: an ellipse in the middle has {row['guess']:.3f}"
    claimed = PUBLISHED_GAIN.get(row["task"]) if row["method"] == "localisation" else None
    if claimed is not None:
        gain = [number(row[name], "+.0%") for name in ("relative_gain", "gain_low", "gain_high")]
        verdict += f"; relative gain {gain[0]} ({gain[1]} to {gain[2]}), published {claimed:+.0%}"
    return Finding(subject, verdict, row["delta"], row["ci_low"], row["ci_high"], where="06_dice")
