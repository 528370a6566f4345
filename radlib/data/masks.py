"""Lesion masks of a packed dataset, at the size at which they were drawn, one bit per pixel.

What a network says is brought to the mask's own pixels before it is compared, never the other way round.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Masks:
    """One mask per row of a manifest; rows without one have nothing stored.

    bits: uint8 (total,), the masks of all rows one behind the other, each padded to whole bytes.
    shapes: int (n, 2), height and width in px; present: bool (n,).
    """

    bits: np.ndarray
    shapes: np.ndarray
    present: np.ndarray

    @cached_property
    def _starts(self) -> np.ndarray:
        lengths = np.where(self.present, -(-self.shapes.prod(axis=1) // 8), 0)
        return np.concatenate([[0], np.cumsum(lengths)])

    @property
    def fits(self) -> bool:
        """Whether there are as many bits as the shapes need."""
        return self.bits.ndim == 1 and len(self.bits) == self._starts[-1]

    def __getitem__(self, row: int) -> np.ndarray:
        """bool (H, W) of one row; nowhere true where the image has no mask."""
        height, width = self.shapes[row]
        if not self.present[row]:
            return np.zeros((height, width), dtype=bool)
        some = self.bits[self._starts[row] : self._starts[row + 1]]
        return np.unpackbits(some, count=height * width).reshape(height, width).astype(bool)


def pack(masks: list[np.ndarray | None]) -> np.ndarray:
    """uint8 (total,): the bits of masks (H, W), those that are None left out."""
    bits = [np.packbits(mask.astype(bool)) for mask in masks if mask is not None]
    return np.concatenate(bits) if bits else np.zeros(0, dtype=np.uint8)


def masks_of(bits: np.ndarray, manifest: pd.DataFrame) -> Masks:
    """The masks that belong to a manifest (columns height, width, has_mask)."""
    shapes = manifest[["height", "width"]].to_numpy(dtype=np.int64)
    return Masks(bits, shapes, manifest["has_mask"].to_numpy(dtype=bool))
