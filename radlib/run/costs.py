"""What a study costs in images passed through networks and in bytes kept: counted here, timed elsewhere.

Numbers of images come from what `01_data` packed, or where nothing is packed yet from the publisher's own
counts (`expected`), which are then split by the study's rule.
"""

import math
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import pandas as pd
import torch

from radlib.data.splits import PARTS, TEST_SHARE, VALIDATION_SHARE
from radlib.networks import backbones
from radlib.networks.features import count_views
from radlib.study import Run, Study

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


@dataclass(frozen=True)
class Counts:
    """Images of a dataset, how many show a lesion, how many have a mask (an empty one included).

    total: int by `images`, `lesions`, `masked`. folds: for each fold a table of the same by part. known:
    False where nobody knows yet: all is 0 then. mask_bytes: of one mask, on average.
    """

    total: pd.Series
    folds: list[pd.DataFrame]
    known: bool = True
    mask_bytes: float = MASK_BYTES


def counts_of(study: Study, dataset: str) -> Counts:
    """Numbers of images: of what is packed, else of what the study states."""
    folds = getattr(study.dataset(dataset), "folds", 1)
    path = study.dataset_dir(dataset) / "manifest.parquet"
    if path.is_file():
        counts = _packed(pd.read_parquet(path))
        if len(counts.folds) == folds:  # else it was packed before the study asked for these
            return counts
    return _expected(study, dataset, folds)


def _packed(manifest: pd.DataFrame) -> Counts:
    lesions = manifest["has_mask"].astype(bool)
    masked = lesions | manifest.get("empty_mask", False)
    each = pd.DataFrame({"images": 1, "lesions": lesions.astype(int), "masked": masked.astype(int)})
    parts = [manifest[name] for name in manifest if name.startswith("part_")]
    folds = [each.groupby(part).sum().reindex(list(PARTS), fill_value=0) for part in parts]
    bytes_of_masks = (manifest["width"] * manifest["height"])[masked] / 8
    return Counts(each.sum(), folds, mask_bytes=bytes_of_masks.mean() if masked.any() else MASK_BYTES)


def _expected(study: Study, dataset: str, folds: int) -> Counts:
    config = study.dataset(dataset)
    stated = [getattr(config.expected, "images", None), getattr(config, "max_images", None)]
    known = [number for number in stated if number is not None]
    tested = TEST_SHARE if folds == 1 else 1 / folds
    images = min(known, default=0) * pd.Series(
        [1 - tested - VALIDATION_SHARE, VALIDATION_SHARE, tested], PARTS
    )
    has_masks = int(dataset in study.segment.tasks)  # then every image may have one; nobody has looked yet
    parts = pd.DataFrame({"images": images, "lesions": has_masks * images, "masked": has_masks * images})
    return Counts(parts.sum().round().astype(int), [parts.round().astype(int)] * folds, bool(known))


# Images passed ----------------------------------------------------------------------------------------------
def pretraining_steps(study: Study, counts: Counts, backbone: str) -> Counter[Step]:
    """How many images take which step in pretraining one backbone on one corpus."""
    epochs, images = study.pretrain.epochs, counts.folds[0].images
    scored = epochs * images.validation + images.test
    return _passes("whole", backbone, study.pretrain.size, epochs * images.train, scored)


def transfer_steps(study: Study, counts: Counts, runs: list[Run]) -> Counter[Step]:
    """The same for the runs of one task, source and backbone, which share their stored features."""
    task, backbone = runs[0].task, runs[0].backbone
    size = study.input_size(task, backbone)
    views = count_views(study.tasks[task].augment, study.transfer.views)
    steps = _passes("whole", backbone, size, 0, views * counts.total.images)
    for run in runs:
        images, epochs = counts.folds[run.fold].images, study.transfer.epochs[run.train]
        # Once more for the threshold, after the best epoch's weights are back.
        scored = (epochs + 1) * images.validation + images.test
        if run.train != "frozen":  # class-activation maps take a pass, where no last feature map is stored
            scored += counts.folds[run.fold].lesions[["validation", "test"]].sum()
        steps += _passes(_NETS[run.train], backbone, size, epochs * images.train, scored)
    return steps


def segmentation_steps(study: Study, counts: Counts, runs: list[Run]) -> Counter[Step]:
    """The same for the U-Nets of one task, source and backbone, which share what a frozen encoder says."""
    backbone, size = runs[0].backbone, study.segment.size
    steps = _passes("whole", backbone, size, 0, _encoded_images(study, counts, runs))
    for run in runs:
        images, epochs = counts.folds[run.fold].masked, study.segment.epochs[run.train]
        scored = epochs * images.validation + images.test
        steps += _passes(_UNETS[run.train], backbone, size, epochs * images.train, scored)
    return steps


def _passes(net: str, backbone: str, size: int, trained: int, scored: int) -> Counter[Step]:
    return Counter({Step(net, True, backbone, size): trained, Step(net, False, backbone, size): scored})


def _encoded_images(study: Study, counts: Counts, runs: list[Run]) -> int:
    """Images that the frozen encoder of some runs sees, every view once."""
    views = count_views(study.tasks[runs[0].task].augment, study.segment.views)
    return views * counts.total.masked * any(run.train == "frozen" for run in runs)


# Bytes kept -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Sizes:
    """How many numbers one backbone says of an image of one size.

    last: shape (C, h, w) of the last feature map. boundary: the same of what `top10` runs store, or empty
    where that is not defined. encoder: of all maps that a U-Net uses.
    """

    last: tuple[int, ...]
    boundary: tuple[int, ...]
    encoder: int


@cache
def sizes_of(backbone: str, size: int) -> Sizes:
    """Read off a network without numbers, which takes no memory."""
    network, image = backbones.outline(backbone), torch.empty(1, 3, size, size, device="meta")
    boundary: list[tuple[int, ...]] = [()]

    def note(_, inputs) -> None:  # a dense layer is given a list of maps, of which it stores all
        maps = [inputs[0]] if isinstance(inputs[0], torch.Tensor) else inputs[0]
        boundary.append((sum(some.shape[1] for some in maps), *maps[0].shape[2:]))

    top = backbones.TOPS[backbone].boundary if backbone in backbones.TOPS else ""
    with network.get_submodule(top).register_forward_pre_hook(note):
        last = network.forward_features(image)
    encoder = network.forward_intermediates(image, intermediates_only=True)
    return Sizes(tuple(last.shape[1:]), boundary[-1], sum(level.numel() for level in encoder))


def data_bytes(study: Study, dataset: str, counts: Counts) -> float:
    """`data/<dataset>/`: packed images, masks, manifest."""
    config, total = study.dataset(dataset), counts.total
    pixels = config.size**2 * (3 if config.colour else 1)
    return total.images * (pixels + 2 * ROW_BYTES) + total.lesions * counts.mask_bytes


def model_bytes(backbone: str) -> int:
    """`models/<source>/<backbone>.safetensors`; pretraining keeps the network with two moments of its
    optimiser in the store besides."""
    return sum(tensor.nbytes for tensor in backbones.layout(backbone).values())


def feature_bytes(study: Study, counts: Counts, runs: list[Run]) -> int:
    """`store/features/` of one task, source and backbone."""
    task, backbone = runs[0].task, runs[0].backbone
    sizes = sizes_of(backbone, study.input_size(task, backbone))
    boundary = 2 * math.prod(sizes.boundary) if any(run.train == "top10" for run in runs) else 0
    views = count_views(study.tasks[task].augment, study.transfer.views)
    maps = 2 * math.prod(sizes.last) * counts.total.lesions
    return views * counts.total.images * (4 * sizes.last[0] + boundary) + maps


def encoded_bytes(study: Study, counts: Counts, runs: list[Run]) -> int:
    """What a frozen encoder says of a task's images: in memory alone, never on disk."""
    size = study.segment.size
    return _encoded_images(study, counts, runs) * (2 * sizes_of(runs[0].backbone, size).encoder + size**2)


def run_bytes(study: Study, counts: Counts, runs: list[Run]) -> float:
    """Files of finished runs, which `results/<task>/` holds once more."""
    total = 0
    for run in runs:
        tested = counts.folds[run.fold].loc["test"]
        places = math.prod(sizes_of(run.backbone, study.input_size(run.task, run.backbone)).last[1:])
        total += RUN_BYTES + tested.images * ROW_BYTES + tested.lesions * (2 * places + ROW_BYTES)
    return 2 * total


def segmentation_bytes(counts: Counts, runs: list[Run]) -> float:
    """The same for U-Nets, whose predicted masks are kept."""
    tested = [counts.folds[run.fold].masked.test for run in runs]
    return 2 * sum(RUN_BYTES + masked * (ROW_BYTES + counts.mask_bytes) for masked in tested)
