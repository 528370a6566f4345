"""What a study will cost, before anything is computed: runs, disk, memory, device-hours and wall time.

Images passed are counted as the stages pass them (`radlib.run.costs`); what an image takes is measured
on this machine (`radlib.run.calibration`). The devices take a stage's pieces, which are backbones in
`02_pretrain` and pairs of source and backbone in `04_transfer` and `06_segment`, one by one, the longest
first; stages follow one another. On Ray, backbones are pretrained one after another, each by a group of
`compute.together` processes with a device each, or as many as there are.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
from humanize import naturalsize

from radlib import compute
from radlib.machines import workers
from radlib.run import costs
from radlib.run.calibration import calibrate
from radlib.run.costs import Piece, Step
from radlib.study import Study
from radlib.study.titles import aligned
from radlib.training.grid import grouped

LEFT_OUT = (
    "Left out: reading and decoding the downloads (01_data, which while it packs needs 2.5 times a "
    "dataset's disk), the comparisons, controls and figures (05_auc, and 07_dice to 16_controls, with the "
    "runs that some of them add: most are frozen, but 12_similarity and 15_matched_labels train more), the "
    "start of every notebook, a second copy of data/, models/ and results/ in DVC's cache where the file "
    "system cannot share blocks between files."
)


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline; known: False where nobody knows yet how many images it takes.

    pieces: what devices take one by one. group: processes that take a piece together while all others wait;
    None: each device takes its own.
    """

    name: str
    images: int
    pieces: list[Piece]
    known: bool = True
    runs: int = 0
    group: int | None = None

    @property
    def disk(self) -> float:
        return sum(piece.disk for piece in self.pieces)

    @property
    def memory(self) -> float:
        return max((piece.memory for piece in self.pieces), default=0)


def plan(study: Study) -> list[Stage]:
    """Every stage that computes or stores, in the order in which they run; nothing is timed."""
    counts = {name: costs.counts_of(study, name) for name in [*study.corpora, *study.tasks]}
    stages = []
    for name, found in counts.items():
        pieces = [costs.packing(study, name, found)]
        stages.append(Stage(f"01_data {name}", found.total.images, pieces, found.known))
    for name in study.checkpoints:
        pieces = [costs.importing(backbone) for backbone in study.backbones_of(name)]
        stages.append(Stage(f"checkpoint {name}", 0, pieces))
    group = study.compute.together if study.compute.backend == "ray" else None
    for name in study.corpora:
        found, images = counts[name], counts[name].total.images
        pieces = [costs.pretraining(study, backbone, found) for backbone, _ in study.weights_of(name)]
        stages.append(Stage(f"02_pretrain {name}", images, pieces, found.known, len(pieces), group))
    for name in study.trained_tasks:
        found, runs, external = counts[name], study.runs_of(name), study.tasks[name].external
        outside = counts[external].total.images if external else 0
        pieces = [costs.transfer(study, some, found, outside) for some in grouped(runs)]
        known = found.known and (external is None or counts[external].known)
        stages.append(Stage(f"04_transfer {name}", found.total.images, pieces, known, len(runs)))
    for name in study.segment.tasks:
        found, runs = counts[name], study.segmentation_runs_of(name)
        pieces = [costs.segmentation(study, some, found) for some in grouped(runs)]
        stages.append(Stage(f"06_segment {name}", found.total.masked, pieces, found.known, len(runs)))
    return stages


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
def _time(seconds: float) -> str:
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 3600:,.0f} h" if seconds >= 36_000 else f"{seconds / 3600:.1f} h"


_count = "{:,.0f}".format
FORMATS = {
    "images": _count,
    "runs": _count,
    "disk": naturalsize,
    "memory": naturalsize,
    "device time": _time,
    "wall time": _time,
}


def planned(study: Study, devices: int | None = None) -> str:
    """The whole plan as text, after a calibration of at most a few minutes.

    Args:
        devices: graphics cards or processor cores; None: as many as the study uses on this machine.
    """
    stages = plan(study)
    pieces = [piece.steps for stage in stages if stage.known for piece in stage.pieces if piece.steps]
    here = workers.count(study.compute.workers, len(pieces))
    speeds = calibrate(study, {step for steps in pieces for step in steps}) if pieces else {}
    return report(study, stages, speeds, devices or here)


def report(study: Study, stages: list[Stage], speeds: dict[Step, float], devices: int) -> str:
    """The table, its total, and what it is worth.

    Args:
        speeds: seconds an image takes on one device, by step.
    """
    rows = []
    for stage in stages:
        row = {"stage": stage.name, "runs": stage.runs}
        if stage.known:
            seconds = [sum(n * speeds[step] for step, n in piece.steps.items()) for piece in stage.pieces]
            row |= {"images": stage.images, "disk": stage.disk, "memory": stage.memory}
            row |= {"device time": sum(seconds), "wall time": wall_seconds(seconds, devices, stage.group)}
        rows.append(row)
    table = pd.DataFrame(rows, columns=["stage", *FORMATS])
    total = dict(table[list(FORMATS)].sum()) | {"images": 0, "memory": table["memory"].fillna(0).max()}
    total["stage"] = "total of what is known" if table.isna().any(axis=None) else "total"
    table = pd.DataFrame([*table.to_dict("records"), total])
    for name, shown in FORMATS.items():
        nothing = table[name].eq(0) & (name != "disk")
        table[name] = table[name].map(shown, na_action="ignore").fillna("unknown").mask(nothing, "")
    sentences = [_how(devices), *_unknown(study, stages), LEFT_OUT]
    lines = [f"Plan of study '{study.name}': {study.title}", "", aligned(table, right=tuple(FORMATS)), ""]
    return "\n".join([*lines, *sentences])


def _how(devices: int) -> str:
    kind = "graphics card" if compute.device().type == "cuda" else "processor core"
    return (
        f"Device time is that of one {kind} like this machine's, calibrated just now; wall time is with "
        f"{devices} such device{'s' * (devices > 1)} and nothing else on them. Runs that may stop early "
        "count with their most epochs. Disk is what stays; memory is what one process reads in every epoch: "
        "06_segment needs it, 04_transfer waits for the disk without."
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
