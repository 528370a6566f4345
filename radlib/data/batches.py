"""From a uint8 memory map to a batch: gather, resize, and the paper's augmentation.

All of it works on whole batches, on the device that computes; decoding was done once, in `01_data`.
"""

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from radlib import compute
from radlib.data.packing import read_rows

# Published augmentation: rotation by up to 10 degrees, shifts and zoom by up to a tenth, horizontal flip;
# large data sets without rotation and flip.
ROTATION, SHIFT, ZOOM = math.radians(10), 0.1, 0.1


def gather(images: np.ndarray, rows: np.ndarray, size: int) -> Tensor:
    """Rows of a uint8 (n, S, S, C) array as float32 (B, C, size, size) in 0..1, on the device."""
    return as_input(torch.from_numpy(read_rows(images, rows)), size)


def as_input(pixels: Tensor, size: int) -> Tensor:
    """uint8 (B, S, S, C) as float32 (B, C, size, size) in 0..1, on the device."""
    batch = pixels.to(compute.device(), non_blocking=True)
    batch = batch.permute(0, 3, 1, 2).float().div_(255)
    if batch.shape[-1] != size:
        batch = functional.interpolate(batch, (size, size), mode="bilinear", antialias=True)
    return batch


def draw_augmentation(count: int, kind: str, generator: torch.Generator) -> Tensor | None:
    """Random affine maps, float32 (count, 2, 3), as `affine_grid` takes them; None for kind `none`."""
    if kind == "none":
        return None

    def uniform(limit: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    angle = uniform(ROTATION if kind == "full" else 0.0)
    zoom_x, zoom_y = 1 + uniform(ZOOM), 1 + uniform(ZOOM)
    # The grid spans -1..1, so a shift by a tenth of the width is 0.2 in its units.
    shift_x, shift_y = uniform(2 * SHIFT), uniform(2 * SHIFT)
    flips = torch.rand(count, generator=generator) < 0.5
    flip = torch.where(flips & (kind == "full"), -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    first = torch.stack([flip * zoom_x * cos, -zoom_y * sin, shift_x], dim=1)
    second = torch.stack([flip * zoom_x * sin, zoom_y * cos, shift_y], dim=1)
    return torch.stack([first, second], dim=1)


def augment(batch: Tensor, maps: Tensor | None) -> Tensor:
    """Apply affine maps to a batch; what comes in from outside repeats the border."""
    if maps is None:
        return batch
    maps = maps.to(batch.device, non_blocking=True)
    grid = functional.affine_grid(maps, list(batch.shape), align_corners=False)
    return functional.grid_sample(batch, grid, padding_mode="border", align_corners=False)


def ahead(items: Iterable[Any]) -> Iterator[Any]:
    """The items in their order, none of them None; a thread makes the next one while this one is used."""
    items = iter(items)
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def shuffled(rows: np.ndarray, batch_size: int, generator: torch.Generator) -> list[np.ndarray]:
    """The rows in random order, in batches of nearly equal size: a last batch of one breaks batch norm."""
    order = torch.randperm(len(rows), generator=generator).numpy()
    return np.array_split(rows[order], max(1, math.ceil(len(rows) / batch_size)))


def in_order(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
