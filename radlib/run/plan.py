"""What a study will cost, before anything is computed: runs, disk, memory, device-hours and wall time.

Images passed are counted as the stages pass them (`radlib.run.costs`); what an image takes is measured
on this machine (`radlib.run.calibration`). The devices take a stage's pieces, which are backbones in
`02_pretrain` and pairs of source and backbone in `03_transfer` and `05_segment`, one by one, the longest
first; stages follow one another. On Ray, backbones are pretrained one after another, each by a group of
`compute.together` processes with a device each, or as many as there are.
"""

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

import pandas as pd
from humanize import naturalsize

from radlib import compute
from radlib.machines import workers
from radlib.run import costs
from radlib.run.calibration import calibrate
from radlib.run.costs import Counts, Step
from radlib.study import Run, Study
from radlib.study.titles import aligned

LEFT_OUT = (
    "Left out: reading and decoding the downloads (01_data, which while it packs needs 2.5 times a "
    "dataset's disk), the comparisons, controls and figures (04_auc, and 06_dice to 13_beyond_the_mean, with "
    "the frozen runs that some of them add), the start of every notebook, a second copy of data/, models/ "
    "and results/ in DVC's cache where the file system cannot share blocks between files."
)


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline; `images` None: nobody knows yet how many, so nothing else is known.

    disk: bytes that stay. memory: bytes of features that one process goes through in every epoch; 05_segment
    holds them, copied once more, 03_transfer maps its files, so that less memory only makes it slower.
    pieces: what devices take one by one, each as the number of images by step. group: processes that take a
    piece together while all others wait; None: each device takes its own.
    """

    name: str
    images: int | None
    runs: int = 0
    disk: float = 0
    memory: float = 0
    pieces: list[Counter[Step]] = field(default_factory=list)
    group: int | None = None


def plan(study: Study) -> list[Stage]:
    """Every stage that computes or stores, in the order in which they run; nothing is timed."""
    counts = {name: costs.counts_of(study, name) for name in [*study.corpora, *study.tasks]}
    return [
        *(_data(study, name, counts[name]) for name in counts),
        *(_checkpoint(study, name) for name in study.checkpoints),
        *(_pretraining(study, name, counts[name]) for name in study.corpora),
        *(_transfer(study, task, counts[task]) for task in study.tasks),
        *(_segmentation(study, task, counts[task]) for task in study.segment.tasks),
    ]


def _data(study: Study, name: str, counts: Counts | None) -> Stage:
    if counts is None:
        return Stage(f"01_data {name}", None)
    return Stage(f"01_data {name}", counts.total.images, disk=costs.data_bytes(study, name, counts))


def _checkpoint(study: Study, name: str) -> Stage:
    disk = sum(costs.model_bytes(backbone) for backbone in study.backbones_of(name))
    return Stage(f"checkpoint {name}", 0, disk=disk)


def _pretraining(study: Study, source: str, counts: Counts | None) -> Stage:
    name = f"02_pretrain {source}"
    if counts is None:
        return Stage(name, None, runs=len(study.backbones_of(source)))
    names = study.backbones_of(source)
    return Stage(
        name,
        counts.total.images,
        runs=len(names),
        disk=sum(costs.pretraining_bytes(backbone) for backbone in names),
        pieces=[costs.pretraining_steps(study, counts, backbone) for backbone in names],
        group=study.compute.together if study.compute.backend == "ray" else None,
    )


def _transfer(study: Study, task: str, counts: Counts | None) -> Stage:
    name, runs = f"03_transfer {task}", study.runs_of(task)
    if counts is None:
        return Stage(name, None, runs=len(runs))
    arms = _arms(runs)
    features = [costs.feature_bytes(study, counts, arm) for arm in arms]
    return Stage(
        name,
        counts.total.images,
        runs=len(runs),
        disk=sum(features) + costs.run_bytes(study, counts, runs),
        memory=max(features),
        pieces=[costs.transfer_steps(study, counts, arm) for arm in arms],
    )


def _segmentation(study: Study, task: str, counts: Counts | None) -> Stage:
    name, runs = f"05_segment {task}", study.segmentation_runs_of(task)
    if counts is None:
        return Stage(name, None, runs=len(runs))
    arms = _arms(runs)
    return Stage(
        name,
        counts.total.masked,
        runs=len(runs),
        disk=costs.segmentation_bytes(counts, runs),
        memory=2 * max(costs.encoded_bytes(study, counts, arm) for arm in arms),
        pieces=[costs.segmentation_steps(study, counts, arm) for arm in arms],
    )


def _arms(runs: list[Run]) -> list[list[Run]]:
    """Runs that share weights and features, which one process computes."""

    def arm(run: Run) -> tuple[str, str]:
        return run.backbone, run.source

    return [list(group) for _, group in groupby(sorted(runs, key=arm), key=arm)]


# Time -------------------------------------------------------------------------------------------------------
def piece_seconds(piece: Counter[Step], speeds: dict[Step, float]) -> float:
    """What one device needs for a piece; speeds: seconds an image, by step."""
    return sum(images * speeds[step] for step, images in piece.items())


def wall_seconds(pieces: Iterable[float], devices: int, group: int | None = None) -> float:
    """Until the last of some devices is done, the next longest piece always going to the first that is free.

    Args:
        pieces: seconds that one device needs for each. group: so many devices share every piece, and pieces
            follow one another; what the devices of a group tell each other is taken to cost nothing.
    """
    if group is not None:
        return sum(pieces) / min(group, devices)
    free = [0.0] * devices
    for seconds in sorted(pieces, reverse=True):
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


# What the user reads ----------------------------------------------------------------------------------------
def planned(study: Study, devices: int | None = None) -> str:
    """The whole plan as text, after a calibration of at most a few minutes.

    Args:
        devices: graphics cards or processor cores; None: as many as the study uses on this machine.
    """
    stages = plan(study)
    pieces = [piece for stage in stages for piece in stage.pieces]
    here = workers.count(study.compute.workers, max(1, len(pieces)))
    speeds = calibrate(study, {step for piece in pieces for step in piece}) if pieces else {}
    return report(study, stages, speeds, devices or here)


def report(study: Study, stages: list[Stage], speeds: dict[Step, float], devices: int) -> str:
    """The table, its total, and what it is worth."""
    rows = [_row(stage, speeds, devices) for stage in stages]
    known = [stage for stage in stages if stage.images is not None]
    total = {
        "stage": "total" if len(known) == len(stages) else "total of what is known",
        "images": "",
        "runs": f"{sum(stage.runs for stage in stages):,}",
        "disk": naturalsize(sum(stage.disk for stage in known)),
        "memory": naturalsize(max(stage.memory for stage in known)) if known else "unknown",
        "device time": _time(sum(sum(_seconds(stage, speeds)) for stage in known)),
        "wall time": _time(sum(_wall(stage, speeds, devices) for stage in known)),
    }
    table = aligned(pd.DataFrame([*rows, total]), right=tuple(total)[1:])
    sentences = [_how(devices), *_unknown(study, stages), LEFT_OUT]
    return "\n".join([f"Plan of study '{study.name}': {study.title}", "", table, "", *sentences])


def _row(stage: Stage, speeds: dict[Step, float], devices: int) -> dict[str, str]:
    row = {"stage": stage.name, "images": "unknown", "runs": f"{stage.runs:,}" if stage.runs else ""}
    if stage.images is None:
        return {**row, **dict.fromkeys(("disk", "memory", "device time", "wall time"), "unknown")}
    seconds = _seconds(stage, speeds)
    return {
        **row,
        "images": f"{stage.images:,}" if stage.images else "",
        "disk": naturalsize(stage.disk),
        "memory": naturalsize(stage.memory) if stage.memory else "",
        "device time": _time(sum(seconds)) if seconds else "",
        "wall time": _time(_wall(stage, speeds, devices)) if seconds else "",
    }


def _seconds(stage: Stage, speeds: dict[Step, float]) -> list[float]:
    return [piece_seconds(piece, speeds) for piece in stage.pieces]


def _wall(stage: Stage, speeds: dict[Step, float], devices: int) -> float:
    return wall_seconds(_seconds(stage, speeds), devices, stage.group)


def _how(devices: int) -> str:
    kind = "graphics card" if compute.device().type == "cuda" else "processor core"
    return (
        f"Device time is that of one {kind} like this machine's, calibrated just now; wall time is with "
        f"{devices} such device{'s' * (devices > 1)} and nothing else on them. Disk is what stays; memory is "
        "what one process reads in every epoch: 05_segment needs it, 03_transfer waits for the disk without."
    )


def _unknown(study: Study, stages: list[Stage]) -> list[str]:
    """How to come by the numbers that are missing."""
    names = {stage.name.split()[1] for stage in stages if stage.images is None}
    if not names:
        return []
    kinds = [f"corpus@{name}" for name in study.corpora if name in names]
    kinds += [f"task@{name}" for name in study.tasks if name in names]
    return [
        "Unknown: images of a dataset that is not prepared and whose publisher's number the study does not "
        f"state; prepare it first (dvc repro {' '.join(kinds)}, after make study's choice of the study), or "
        "state expected: {images: ...} in the study file."
    ]


def _time(seconds: float) -> str:
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 3600:,.0f} h" if seconds >= 36_000 else f"{seconds / 3600:.1f} h"
