"""What a study costs in images passed through networks and in bytes kept: counted here, timed elsewhere.

Numbers of images come from what `01_data` packed, or where nothing is packed yet from the publisher's own
counts (`expected`), which are then split by the study's rule.
"""

import math
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from radlib.data.splits import PARTS, TEST_SHARE, VALIDATION_SHARE
from radlib.networks import backbones
from radlib.networks.features import count_views
from radlib.study import Run, Study
from radlib.study.datasets import Task

MASK_BYTES = 512 * 512 // 8  # of a mask whose size is not known yet: one bit per pixel of 512 x 512
ROW_BYTES = 60  # of an image in a table: its name, its patient's and a few numbers
RUN_BYTES = 10_000  # of a run's file besides its images
_NETS = {"frozen": "frozen", "top10": "top10", "all": "whole"}
_UNETS = {"frozen": "unet_frozen", "all": "unet_all"}


class Step(NamedTuple):
    """One way in which an image passes a network.

    net: `whole`; `top10`, from the stored input of the first trainable layer on; `frozen`, the head alone;
    `unet_frozen`, the decoder alone; `unet_all`. train: forward, backward and the optimiser's step; else
    forward alone. size: side of the network's input, px.
    """

    net: str
    train: bool
    backbone: str
    size: int


class Part(NamedTuple):
    """Images of a part of a fold; how many show a lesion; how many have a mask, an empty one included."""

    images: int
    lesions: int
    masked: int


@dataclass(frozen=True)
class Counts:
    """Images of a dataset, and of the parts of every fold; mask_bytes: of one mask, on average."""

    total: Part
    folds: list[dict[str, Part]]
    mask_bytes: float = MASK_BYTES


def counts_of(study: Study, dataset: str) -> Counts | None:
    """Numbers of images, or None where nothing is packed and the study states none."""
    path = study.dataset_dir(dataset) / "manifest.parquet"
    if path.is_file():
        counts = _packed(pd.read_parquet(path))
        if len(counts.folds) == _folds(study, dataset):  # else it was packed before the study asked for these
            return counts
    return _expected(study, dataset)


def _folds(study: Study, dataset: str) -> int:
    config = study.dataset(dataset)
    return config.folds if isinstance(config, Task) else 1


def _packed(manifest: pd.DataFrame) -> Counts:
    lesions = manifest["has_mask"].to_numpy(dtype=bool)
    masked = lesions | manifest["empty_mask"].to_numpy(dtype=bool) if "empty_mask" in manifest else lesions
    bits = (manifest["width"] * manifest["height"])[masked]

    def part(rows: np.ndarray) -> Part:
        return Part(int(rows.sum()), int((rows & lesions).sum()), int((rows & masked).sum()))

    columns = [name for name in manifest if name.startswith("part_")]
    return Counts(
        total=part(np.ones(len(manifest), dtype=bool)),
        folds=[{p: part((manifest[c] == p).to_numpy()) for p in PARTS} for c in columns],
        mask_bytes=float((bits / 8).mean()) if masked.any() else MASK_BYTES,
    )


def _expected(study: Study, dataset: str) -> Counts | None:
    config = study.dataset(dataset)
    folds = _folds(study, dataset)
    stated = [getattr(config.expected, "images", None), getattr(config, "max_images", None)]
    known = [number for number in stated if number is not None]
    if not known:
        return None
    tested = TEST_SHARE if folds == 1 else 1 / folds
    shares = {"train": 1 - tested - VALIDATION_SHARE, "validation": VALIDATION_SHARE, "test": tested}
    has_masks = dataset in study.segment.tasks  # then every image may have one; nobody has looked yet

    def part(share: float) -> Part:
        images = round(share * min(known))
        return Part(images, has_masks * images, has_masks * images)

    return Counts(part(1), [{name: part(share) for name, share in shares.items()}] * folds)


# Images passed ----------------------------------------------------------------------------------------------
def pretraining_steps(study: Study, counts: Counts, backbone: str) -> Counter[Step]:
    """How many images take which step in pretraining one backbone on one corpus."""
    size, epochs, fold = study.pretrain.size, study.pretrain.epochs, counts.folds[0]
    return Counter(
        {
            Step("whole", True, backbone, size): epochs * fold["train"].images,
            Step("whole", False, backbone, size): epochs * fold["validation"].images + fold["test"].images,
        }
    )


def transfer_steps(study: Study, counts: Counts, runs: list[Run]) -> Counter[Step]:
    """The same for the runs of one task, source and backbone, which share their stored features."""
    task, backbone = runs[0].task, runs[0].backbone
    size = study.input_size(task, backbone)
    views = count_views(study.tasks[task].augment, study.transfer.views)
    steps = Counter({Step("whole", False, backbone, size): views * counts.total.images})
    for run in runs:
        net, fold, epochs = _NETS[run.train], counts.folds[run.fold], study.transfer.epochs[run.train]
        # Class-activation maps take one pass more, except where the last feature map is stored.
        mapped = 0 if run.train == "frozen" else fold["validation"].lesions + fold["test"].lesions
        # Once more for the threshold, after the best epoch's weights are back.
        scored = (epochs + 1) * fold["validation"].images + fold["test"].images + mapped
        steps[Step(net, True, backbone, size)] += epochs * fold["train"].images
        steps[Step(net, False, backbone, size)] += scored
    return steps


def segmentation_steps(study: Study, counts: Counts, runs: list[Run]) -> Counter[Step]:
    """The same for the U-Nets of one task, source and backbone, which share what a frozen encoder says."""
    task, backbone, size = runs[0].task, runs[0].backbone, study.segment.size
    steps: Counter[Step] = Counter()
    if any(run.train == "frozen" for run in runs):
        views = count_views(study.tasks[task].augment, study.segment.views)
        steps[Step("whole", False, backbone, size)] += views * counts.total.masked
    for run in runs:
        net, fold, epochs = _UNETS[run.train], counts.folds[run.fold], study.segment.epochs[run.train]
        steps[Step(net, True, backbone, size)] += epochs * fold["train"].masked
        steps[Step(net, False, backbone, size)] += epochs * fold["validation"].masked + fold["test"].masked
    return steps


# Bytes kept -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Sizes:
    """Of one backbone at one input size: bytes of its weights, and how many numbers it says of an image.

    boundary: shape of what `top10` runs store, or empty where that is not defined.
    """

    weights: int
    pooled: int
    boundary: tuple[int, ...]
    last: int
    places: int
    encoder: int


@cache
def sizes_of(backbone: str, size: int) -> Sizes:
    """Read off a network without numbers, which takes no time and no memory."""
    with torch.device("meta"):
        model, image = backbones.create(backbone).eval(), torch.empty(1, 3, size, size)
    boundary: list[tuple[int, ...]] = [()]
    if backbone in backbones.TOPS:
        module = model.get_submodule(backbones.top_of(backbone).boundary)
        module.register_forward_pre_hook(lambda _, inputs: boundary.append(_shape(inputs[0])))
    last = model.forward_features(image)
    return Sizes(
        weights=sum(tensor.nbytes for tensor in model.state_dict().values()),
        pooled=last.shape[1],
        boundary=boundary[-1],
        last=last.numel(),
        places=last.shape[2] * last.shape[3],
        encoder=sum(m.numel() for m in model.forward_intermediates(image, intermediates_only=True)),
    )


def _shape(inputs: torch.Tensor | list[torch.Tensor]) -> tuple[int, ...]:
    """Channels, height, width; a dense layer is given a list of maps, of which it stores all."""
    maps = [inputs] if isinstance(inputs, torch.Tensor) else inputs
    return sum(some.shape[1] for some in maps), *maps[0].shape[2:]


def data_bytes(study: Study, dataset: str, counts: Counts) -> float:
    """`data/<dataset>/`: packed images, masks, manifest."""
    config, total = study.dataset(dataset), counts.total
    pixels = config.size**2 * (3 if config.colour else 1)
    return total.images * (pixels + 2 * ROW_BYTES) + total.lesions * counts.mask_bytes


def model_bytes(backbone: str) -> int:
    """`models/<source>/<backbone>.safetensors`."""
    return sizes_of(backbone, 96).weights


def pretraining_bytes(backbone: str) -> int:
    """The model, and in the store the network with the two moments of its optimiser."""
    return 4 * model_bytes(backbone)


def feature_bytes(study: Study, counts: Counts, runs: list[Run]) -> int:
    """`store/features/` of one task, source and backbone."""
    task, backbone = runs[0].task, runs[0].backbone
    sizes = sizes_of(backbone, study.input_size(task, backbone))
    boundary = 2 * math.prod(sizes.boundary) if any(run.train == "top10" for run in runs) else 0
    views = count_views(study.tasks[task].augment, study.transfer.views)
    return views * counts.total.images * (4 * sizes.pooled + boundary) + 2 * sizes.last * counts.total.lesions


def encoded_bytes(study: Study, counts: Counts, runs: list[Run]) -> int:
    """What a frozen encoder says of a task's images: in memory alone, never on disk."""
    if all(run.train != "frozen" for run in runs):
        return 0
    task, backbone, size = runs[0].task, runs[0].backbone, study.segment.size
    views = count_views(study.tasks[task].augment, study.segment.views)
    return views * counts.total.masked * (2 * sizes_of(backbone, size).encoder + size**2)


def run_bytes(study: Study, counts: Counts, runs: list[Run]) -> float:
    """Files of finished runs, which `results/<task>/` holds once more."""
    total = 0
    for run in runs:
        tested = counts.folds[run.fold]["test"]
        places = sizes_of(run.backbone, study.input_size(run.task, run.backbone)).places
        maps = tested.lesions * (2 * places + ROW_BYTES)
        total += RUN_BYTES + tested.images * ROW_BYTES + maps
    return 2 * total


def segmentation_bytes(counts: Counts, runs: list[Run]) -> float:
    """The same for U-Nets, whose predicted masks are kept."""
    tested = [counts.folds[run.fold]["test"].masked for run in runs]
    return 2 * sum(RUN_BYTES + masked * (ROW_BYTES + counts.mask_bytes) for masked in tested)
