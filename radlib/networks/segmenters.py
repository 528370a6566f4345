"""A U-Net with a backbone as its encoder, under one of two regimes: `frozen` or `all`.

Ronneberger et al. 2015, arXiv 1505.04597. The decoder is that of segmentation_models_pytorch: it brings the
coarser map to the size of the next finer one by interpolation, so the odd sizes of the Inceptions (45, 20, 9
at 96 px) fit. Networks whose finest map is 1/4 of the image (Swin, ConvNeXt) have none at 1/2; there the
decoder gets an empty one, as in that library. What the encoder says is scaled map by map to mean 0 and SD 1,
so that one learning rate means the same for every source.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn
from torch.nn import functional

from radlib import compute
from radlib.code import code_digest
from radlib.data import batches
from radlib.data.images import Packed, letterbox
from radlib.machines.workers import Advance
from radlib.networks.features import computed_by, count_views, from_store, moves_of, view_of
from radlib.networks.weights import Weights
from radlib.seeds import digest_of

BATCH = 32


class UNet(nn.Module):
    """Decoder and head: the encoder's maps, fine to coarse -> logits (B, size, size)."""

    def __init__(self, encoder: list[int], decoder: list[int], size: int):
        super().__init__()
        self.size = size
        self.scales = nn.ModuleList(nn.BatchNorm2d(channels, affine=False) for channels in encoder)
        # The decoder expects the input itself first, and reads only its size; likewise of maps that lack.
        self.empty = max(len(decoder) - len(encoder), 0)
        self.decoder = UnetDecoder([3, *[0] * self.empty, *encoder], decoder, n_blocks=len(decoder))
        self.head = nn.Conv2d(decoder[-1], 1, kernel_size=3, padding=1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        sides = [self.size >> halved for halved in range(1 + self.empty)]
        frames = [maps[0].new_empty((len(maps[0]), 0, side, side)) for side in sides]
        scaled = [scale(some) for scale, some in zip(self.scales, maps, strict=True)]
        return self.head(self.decoder([*frames, *scaled]))[:, 0].float()


@dataclass(frozen=True)
class Pictures:
    """What is segmented: rows of a task that have a mask, and masks at the network's input size.

    rows: (m,) ascending; targets: bool (m, size, size), empty where the publisher marked nothing.
    """

    packed: Packed
    rows: np.ndarray
    targets: Tensor
    size: int

    def shown(self, rows: np.ndarray, moves: Tensor | None) -> tuple[Tensor, Tensor]:
        """Images (B, C, size, size) of rows among `rows` and float32 targets (B, size, size), moved alike."""
        batch = batches.gather(self.packed.images, rows, self.size)
        targets = self.targets[np.searchsorted(self.rows, rows)].float().to(compute.device())
        if moves is None:
            return batch, targets
        moved = batches.augment(torch.cat([batch, targets[:, None]], dim=1), moves)
        return moved[:, :-1], (moved[:, -1] >= 0.5).float()


def pictures_of(packed: Packed, size: int) -> Pictures:
    """The images of a task that have a mask, an empty one included."""
    manifest = packed.manifest
    rows = np.flatnonzero(manifest["has_mask"] | manifest["empty_mask"])
    targets = torch.stack([_target(packed, row, size) for row in rows])
    return Pictures(packed, rows, targets, size)


def _target(packed: Packed, row: int, size: int) -> Tensor:
    """bool (size, size): the mask as the network's input is made, lesion where half of a pixel is."""
    mask = packed.masks[row].astype(np.float32)
    square = letterbox(mask) if packed.resize == "letterbox" else mask
    tensor = torch.from_numpy(square)[None, None]
    return functional.interpolate(tensor, (size, size), mode="area")[0, 0] >= 0.5


def encode(backbone: nn.Module, weights: Weights, batch: Tensor) -> list[Tensor]:
    """float32 (B, 1 or 3, size, size) in 0..1 -> the backbone's maps at about 1/2, 1/4, ... of the size."""
    return backbone.forward_intermediates(weights.preprocessing(batch), intermediates_only=True)


def encoded(
    pictures: Pictures, weights: Weights, kind: str, views: int, store: Path, advance: Advance
) -> list[tuple[list[Tensor], Tensor]]:
    """What a frozen encoder says, by view, from the store; every fold, rate and seed shares it.

    Returns:
        maps bfloat16 (m, c, h, w) fine to coarse, and bool targets: maps of the stored files, as `Features`
        are. View 0 is the image itself.
    """
    packed, found = pictures.packed, []
    for view in range(count_views(kind, views)):
        key = digest_of(
            code_digest(__name__),
            (packed.digest, packed.resize, weights.digest, weights.backbone, pictures.size),
            (view and kind, view),
            computed_by(),
        )
        said = _said(pictures, weights, moves_of(view, kind, len(pictures.rows)), advance)
        path = store / "features" / f"{key}.safetensors"
        tensors = from_store(path, said, len(pictures.rows), advance)
        targets = tensors.pop("targets")
        found.append(([tensors[str(level)] for level in range(len(tensors))], targets))
    return found


def _said(
    pictures: Pictures, weights: Weights, moves: Tensor | None, advance: Advance
) -> Iterator[dict[str, Tensor]]:
    """Of each batch, on the processor: the encoder's maps by level, the finest is 0; and `targets`."""
    backbone = weights.build().eval()
    for places in batches.in_order(np.arange(len(pictures.rows)), BATCH):
        batch, targets = pictures.shown(pictures.rows[places], None if moves is None else moves[places])
        with compute.inference():
            maps = encode(backbone, weights, batch)
        said = {str(level): some.to("cpu", torch.bfloat16) for level, some in enumerate(maps)}
        yield {**said, "targets": targets.cpu().bool()}
        advance(len(places))


class FrozenSegmenter(nn.Module):
    """Only the decoder trains, on what the encoder said once."""

    def __init__(self, pictures: Pictures, encoded: list, decoder: list[int]):
        super().__init__()
        self.pictures, self.encoded = pictures, encoded
        self.unet = UNet([level.shape[1] for level in encoded[0][0]], decoder, pictures.size)

    def forward(self, rows: np.ndarray, epoch: int | None, generator) -> tuple[Tensor, Tensor]:
        """Logits and targets, float32 (B, size, size); `epoch` chooses the view, None is the image itself."""
        places, device = np.searchsorted(self.pictures.rows, rows), compute.device()
        stored, targets = view_of(self.encoded, epoch)
        maps = [level[places].to(device).float() for level in stored]
        logits = self.unet([level.contiguous(memory_format=torch.channels_last) for level in maps])
        return logits, targets[places].float().to(device)


class WholeSegmenter(nn.Module):
    """Encoder and decoder train, on images augmented afresh in every epoch."""

    def __init__(self, pictures: Pictures, weights: Weights, kind: str, decoder: list[int]):
        super().__init__()
        self.pictures, self.weights, self.kind = pictures, weights, kind
        self.backbone = weights.build()
        channels = [level["num_chs"] for level in self.backbone.feature_info]
        self.unet = UNet(channels, decoder, pictures.size)

    def forward(self, rows: np.ndarray, epoch: int | None, generator) -> tuple[Tensor, Tensor]:
        """As `FrozenSegmenter.forward`; None leaves out the augmentation."""
        moves = None if epoch is None else batches.draw_augmentation(len(rows), self.kind, generator)
        batch, targets = self.pictures.shown(rows, moves)
        return self.unet(encode(self.backbone, self.weights, batch)), targets
