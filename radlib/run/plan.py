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
    """One stage of the pipeline; known: False where nobody knows yet how many images it takes.

    disk: bytes that stay. memory: bytes of features that one process goes through in every epoch; 05_segment
    holds them, copied once more, 03_transfer maps its files, so that less memory only makes it slower.
    pieces: what devices take one by one, each as the number of images by step. group: processes that take a
    piece together while all others wait; None: each device takes its own.
    """

    name: str
    images: int
    known: bool = True
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


def _data(study: Study, name: str, counts: Counts) -> Stage:
    disk = costs.data_bytes(study, name, counts)
    return Stage(f"01_data {name}", counts.total.images, counts.known, disk=disk)


def _checkpoint(study: Study, name: str) -> Stage:
    return Stage(f"checkpoint {name}", 0, disk=sum(map(costs.model_bytes, study.backbones_of(name))))


def _pretraining(study: Study, source: str, counts: Counts) -> Stage:
    names = study.backbones_of(source)
    return Stage(
        f"02_pretrain {source}",
        counts.total.images,
        counts.known,
        runs=len(names),
        disk=4 * sum(map(costs.model_bytes, names)),
        pieces=[costs.pretraining_steps(study, counts, backbone) for backbone in names],
        group=study.compute.together if study.compute.backend == "ray" else None,
    )


def _transfer(study: Study, task: str, counts: Counts) -> Stage:
    runs = study.runs_of(task)
    groups = _run_groups(runs)
    features = [costs.feature_bytes(study, counts, group) for group in groups]
    return Stage(
        f"03_transfer {task}",
        counts.total.images,
        counts.known,
        runs=len(runs),
        disk=sum(features) + costs.run_bytes(study, counts, runs),
        memory=max(features),
        pieces=[costs.transfer_steps(study, counts, group) for group in groups],
    )


def _segmentation(study: Study, task: str, counts: Counts) -> Stage:
    runs = study.segmentation_runs_of(task)
    groups = _run_groups(runs)
    return Stage(
        f"05_segment {task}",
        counts.total.masked,
        counts.known,
        runs=len(runs),
        disk=costs.segmentation_bytes(counts, runs),
        memory=2 * max(costs.encoded_bytes(study, counts, group) for group in groups),
        pieces=[costs.segmentation_steps(study, counts, group) for group in groups],
    )


def _run_groups(runs: list[Run]) -> list[list[Run]]:
    """Runs that share weights and features, which one process computes."""

    def shared(run: Run) -> tuple[str, str]:
        return run.backbone, run.source

    return [list(group) for _, group in groupby(sorted(runs, key=shared), key=shared)]


# Time -------------------------------------------------------------------------------------------------------
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
    pieces = [piece for stage in stages if stage.known for piece in stage.pieces]
    here = workers.count(study.compute.workers, max(1, len(pieces)))
    speeds = calibrate(study, {step for piece in pieces for step in piece}) if pieces else {}
    return report(study, stages, speeds, devices or here)


def report(study: Study, stages: list[Stage], speeds: dict[Step, float], devices: int) -> str:
    """The table, its total, and what it is worth.

    Args:
        speeds: seconds an image takes on one device, by step.
    """
    rows, times = [], []
    for stage in stages:
        if not stage.known:
            rows.append(_row(stage.name, runs=stage.runs))
            continue
        seconds = [sum(n * speeds[step] for step, n in piece.items()) for piece in stage.pieces]
        times.append((sum(seconds), wall_seconds(seconds, devices, stage.group)))
        rows.append(_row(stage.name, stage.images, stage.runs, stage.disk, stage.memory, *times[-1]))
    known = [stage for stage in stages if stage.known]
    total = _row(
        "total" if len(known) == len(stages) else "total of what is known",
        0,
        sum(stage.runs for stage in stages),
        sum(stage.disk for stage in known),
        max((stage.memory for stage in known), default=0),
        *map(sum, zip((0, 0), *times, strict=True)),
    )
    table = aligned(pd.DataFrame([*rows, total]), right=tuple(total)[1:])
    sentences = [_how(devices), *_unknown(study, stages), LEFT_OUT]
    return "\n".join([f"Plan of study '{study.name}': {study.title}", "", table, "", *sentences])


def _row(name: str, images=None, runs=0, disk=None, memory=None, device=None, wall=None) -> dict[str, str]:
    """A line of the table; None: nobody knows; 0 is not shown, except of disk."""

    def cell(value: float | None, shown) -> str:
        return "unknown" if value is None else shown(value) if value else ""

    return {
        "stage": name,
        "images": cell(images, "{:,}".format),
        "runs": cell(runs, "{:,}".format),
        "disk": "unknown" if disk is None else naturalsize(disk),
        "memory": cell(memory, naturalsize),
        "device time": cell(device, _time),
        "wall time": cell(wall, _time),
    }


def _how(devices: int) -> str:
    kind = "graphics card" if compute.device().type == "cuda" else "processor core"
    return (
        f"Device time is that of one {kind} like this machine's, calibrated just now; wall time is with "
        f"{devices} such device{'s' * (devices > 1)} and nothing else on them. Disk is what stays; memory is "
        "what one process reads in every epoch: 05_segment needs it, 03_transfer waits for the disk without."
    )


def _unknown(study: Study, stages: list[Stage]) -> list[str]:
    """How to come by the numbers that are missing."""
    names = {stage.name.split()[1] for stage in stages if not stage.known}
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
