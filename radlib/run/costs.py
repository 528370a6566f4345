"""What a study costs in images passed through networks and in bytes kept: counted here, timed elsewhere.

Numbers of images come from what `01_data` packed, or where nothing is packed yet from the publisher's own
counts (`expected`), which are then split by the study's rule.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import pandas as pd
import torch

from radlib.data.facts import THUMBNAIL
from radlib.data.splits import PARTS, TEST_SHARE, VALIDATION_SHARE, part_columns
from radlib.networks import backbones
from radlib.networks.features import count_views
from radlib.study import Run, Study
from radlib.study.common import PROBES

MASK_BYTES = 512 * 512 // 8  # of a mask whose size is not known yet: one bit per pixel of 512 x 512
ROW_BYTES = 60  # of an image in a table: its name, its patient's and a few numbers
RUN_BYTES = 10_000  # of a run's file besides its images
_NETS = {"frozen": "frozen", "top10": "top10", "top": "top", "all": "whole"} | dict.fromkeys(PROBES, "frozen")
_UNETS = {"frozen": "unet_frozen", "all": "unet_all"}


class Step(NamedTuple):
    """One way in which an image passes a network.

    net: `whole`; `top10`, from the stored input of the first trainable layer on; `top`, the whole network,
    of which the last stage trains; `frozen`, the head alone; `unet_frozen`, the decoder alone; `unet_all`.
    train: forward, backward and the optimiser's step; else forward alone. size: side of the input, px.
    """

    net: str
    train: bool
    backbone: str
    size: int


@dataclass(frozen=True)
class Piece:
    """What one process computes.

    steps: number of images by step. disk: bytes that stay. memory: bytes of features that it goes through in
    every epoch; they are maps of stored files, so that less memory only makes it slower.
    """

    steps: Counter[Step] = field(default_factory=Counter)
    disk: float = 0
    memory: float = 0


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
    parts = [manifest[name] for name in part_columns(manifest)]
    folds = [each.groupby(part).sum().reindex(list(PARTS), fill_value=0) for part in parts]
    bytes_of_masks = (manifest["width"] * manifest["height"])[masked] / 8
    return Counts(each.sum(), folds, mask_bytes=bytes_of_masks.mean() if masked.any() else MASK_BYTES)


def _expected(study: Study, dataset: str, folds: int) -> Counts:
    config = study.dataset(dataset)
    stated = [getattr(config.expected, "images", None), getattr(config, "max_images", None)]
    known = [number for number in stated if number is not None]
    tested = TEST_SHARE if folds == 1 else 1 / folds
    shares = pd.Series([1 - tested - VALIDATION_SHARE, VALIDATION_SHARE, tested], PARTS)
    images = min(known, default=0) * shares
    has_masks = int(dataset in study.segment.tasks)  # then every image may have one; nobody has looked yet
    parts = pd.DataFrame({"images": images, "lesions": has_masks * images, "masked": has_masks * images})
    return Counts(parts.sum().round().astype(int), [parts.round().astype(int)] * folds, bool(known))


# What the stages do -----------------------------------------------------------------------------------------
def packing(study: Study, dataset: str, counts: Counts) -> Piece:
    """`data/<dataset>/`: packed images, masks, manifest; of a task thumbnails, too."""
    config, total = study.dataset(dataset), counts.total
    pixels = config.size**2 * (3 if config.colour else 1) + THUMBNAIL**2 * (dataset in study.tasks)
    return Piece(disk=total.images * (pixels + 2 * ROW_BYTES) + total.lesions * counts.mask_bytes)


def importing(backbone: str) -> Piece:
    """`models/<source>/<backbone>.safetensors`."""
    return Piece(disk=sum(tensor.nbytes for tensor in backbones.layout(backbone).values()))


def pretraining(study: Study, backbone: str, counts: Counts) -> Piece:
    """One backbone on one corpus. The store keeps the network with the two moments of its optimiser, too."""
    epochs, images = study.pretrain_of(backbone).epochs, counts.folds[0].images
    scored = epochs * images.validation + images.test
    steps = _passes("whole", backbone, study.pretrain.size, epochs * images.train, scored)
    return Piece(steps, disk=4 * importing(backbone).disk)


def transfer(study: Study, runs: list[Run], counts: Counts, outside: int = 0) -> Piece:
    """The runs of one task, source and backbone, which share their stored features.

    A run's file is held once more by `results/<task>/`, and has a map of every tested image with a lesion.

    Args:
        outside: images of the task's external set.
    """
    task, backbone = runs[0].task, runs[0].backbone
    size, total = study.input_size(task, backbone), counts.total
    says, images = sizes_of(backbone, size), counts.total.images
    if any(run.train not in PROBES for run in runs):  # probes read the images themselves
        images *= count_views(study.tasks[task].augment, study.transfer.views)
    images += outside
    boundary = 2 * math.prod(says.boundary) * any(run.train == "top10" for run in runs)
    features = images * (4 * says.width + boundary) + 2 * says.last * total.lesions
    steps, files = _passes("whole", backbone, size, 0, images), 0
    for run in runs:
        fold = counts.folds[run.fold]
        epochs, trained = _trials(study, run, fold.images.train)
        # Once more for the threshold, after the best epoch's weights are back.
        scored = (epochs + 1) * fold.images.validation + fold.images.test + outside
        # Class-activation maps take a pass, where what is pooled is not stored.
        if _NETS[run.train] != "frozen" and says.last:
            scored += fold.lesions.validation + fold.lesions.test
        steps += _passes(_NETS[run.train], backbone, size, trained, scored)
        mapped = run.train != "knn" and says.places > 0
        maps = fold.lesions.test * mapped * (2 * says.places + ROW_BYTES)
        files += RUN_BYTES + (fold.images.test + outside) * ROW_BYTES + maps
    return Piece(steps, features + 2 * files, features)


def _trials(study: Study, run: Run, images: float) -> tuple[int, float]:
    """How often the validation part is scored, and images that pass a network in training."""
    options = study.transfer
    if run.train == "knn":
        return max(1, sum(k <= images for k in options.neighbours)), 0
    if run.train == "logistic":
        return len(options.strengths), 0
    return options.epochs[run.train], options.epochs[run.train] * images


def segmentation(study: Study, runs: list[Run], counts: Counts) -> Piece:
    """The U-Nets of one task, source and backbone, which share what a frozen encoder says of every view.

    A run's file, and `results/<task>/` once more, holds the masks that it draws.
    """
    backbone, size = runs[0].backbone, study.segment.size
    frozen = any(run.train == "frozen" for run in runs)
    images = (
        counts.total.masked * count_views(study.tasks[runs[0].task].augment, study.segment.views) * frozen
    )
    steps, files = _passes("whole", backbone, size, 0, images), 0
    for run in runs:
        masked, epochs = counts.folds[run.fold].masked, study.segment.epochs[run.train]
        scored = epochs * masked.validation + masked.test
        steps += _passes(_UNETS[run.train], backbone, size, epochs * masked.train, scored)
        files += RUN_BYTES + masked.test * (ROW_BYTES + counts.mask_bytes)
    features = images * (2 * sum(map(math.prod, encoder_maps(backbone, size))) + size**2)
    return Piece(steps, features + 2 * files, features)


def _passes(net: str, backbone: str, size: int, trained: int, scored: int) -> Counter[Step]:
    return Counter({Step(net, True, backbone, size): trained, Step(net, False, backbone, size): scored})


# What networks say ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Sizes:
    """How many numbers one backbone says of an image of one size.

    width: pooled features. last: what they are pooled from, and places: of a class-activation map; both 0
    where it has no maps. boundary: shape (C, h, w) of what `top10` runs store, or empty where not defined.
    """

    width: int
    last: int
    places: int
    boundary: tuple[int, ...]


@cache
def sizes_of(backbone: str, size: int) -> Sizes:
    """Read off a network without numbers, which takes no memory."""
    network, image = backbones.outline(backbone), torch.empty(1, 3, size, size, device="meta")
    boundary: list[tuple[int, ...]] = [()]

    def note(_, inputs) -> None:  # a dense layer is given a list of maps, of which it stores all
        maps = [inputs[0]] if isinstance(inputs[0], torch.Tensor) else inputs[0]
        boundary.append((sum(some.shape[1] for some in maps), *maps[0].shape[2:]))

    hooks = []
    if backbone in backbones.TOPS:
        module = network.get_submodule(backbones.top_of(backbone).boundary)
        hooks.append(module.register_forward_pre_hook(note))
    last = network.forward_features(image)
    for hook in hooks:
        hook.remove()
    width = backbones.width(backbone)
    if backbones.no_maps(backbone):
        return Sizes(width, 0, 0, boundary[-1])
    return Sizes(width, last.numel(), backbones.maps_of(network, last)[0, 0].numel(), boundary[-1])


@cache
def encoder_maps(backbone: str, size: int) -> list[tuple[int, ...]]:
    """Shapes (C, h, w) of the maps of an image that a U-Net uses."""
    image = torch.empty(1, 3, size, size, device="meta")
    maps = backbones.outline(backbone).forward_intermediates(image, intermediates_only=True)
    return [tuple(level.shape[1:]) for level in maps]
