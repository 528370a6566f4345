"""Lesion masks: what a file of one means; those of a packed dataset, at their own size, one bit per pixel.

What a network says is brought to the mask's own pixels before it is compared, never the other way round.

A mask holds two values, 0 and 1 or 0 and 255 (65535 with 16 bits). Of smooth edges and JPEG, 128 and above is
lesion. Transparent pixels are background; where all colours are the same, the opaque pixels are the lesion.
Anything else is refused: colours, other values, an outline, the image itself, a mask turned otherwise.
"""

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from scipy import ndimage

from radlib.data.files import DEEP, on_black, open_picture, orientation
from radlib.errors import UserError

_TOPS = (0, 1, 255, 65535)
_MANY_PIXELS = 50
_FEW_LEVELS = 8
_DARK, _BRIGHT = 32, 224
_COLOURED = 16
_THINNEST = 0.3
_QUARTER_TURNS = (5, 6, 7, 8)


class Masks:
    """One mask per row of a manifest; rows without one have nothing stored.

    bits: uint8 (total,), the masks of all rows one behind the other, each padded to whole bytes.
    """

    def __init__(self, bits: np.ndarray, manifest: pd.DataFrame):
        """The manifest has height and width, in px, and has_mask."""
        self.bits = bits
        self.shapes = manifest[["height", "width"]].to_numpy(dtype=np.int64)
        lengths = np.where(manifest["has_mask"], -(-self.shapes.prod(axis=1) // 8), 0)
        self._ends = np.cumsum([0, *lengths])

    @property
    def fits(self) -> bool:
        """Whether there are as many bits as the shapes need."""
        return self.bits.ndim == 1 and len(self.bits) == self._ends[-1]

    def __getitem__(self, row: int) -> np.ndarray:
        """bool (H, W) of one row; nowhere true where the image has no mask."""
        height, width = self.shapes[row]
        some = self.bits[self._ends[row] : self._ends[row + 1]]
        if not len(some):
            return np.zeros((height, width), dtype=bool)
        return np.unpackbits(some, count=height * width).reshape(height, width).astype(bool)


def pack(masks: list[np.ndarray | None]) -> np.ndarray:
    """uint8 (total,): the bits of masks (H, W), those that are None left out."""
    bits = [np.packbits(mask.astype(bool)) for mask in masks if mask is not None]
    return np.concatenate(bits) if bits else np.zeros(0, dtype=np.uint8)


# Reading ----------------------------------------------------------------------------------------------------
def decode_masks(files: list[tuple[bytes, str]], shape: tuple[int, int], image: bytes = b"") -> np.ndarray:
    """The union of an image's lesion masks, uint8 0/1 (H, W), by the rules above.

    Args:
        files: bytes and name of each mask; shape: (H, W) of the image, upright; image: the bytes of its file.
    Raises:
        UserError: not readable, of another size or orientation than its image, or no mask of one lesion.
    """
    union = np.zeros(shape, dtype=bool)
    for data, name in files:
        if data == image:
            raise UserError(f"{name} is the image itself, not its mask; correct the name of the mask")
        marked = _marked(data, name)
        if marked.shape != shape:
            raise UserError(
                f"{name} has {marked.shape[1]} x {marked.shape[0]} px, its image {shape[1]} x {shape[0]} px; "
                "export the mask at its image's size, turned as the image is shown"
            )
        turned, mask_turned = (orientation(one, name) if image else 1 for one in (image, data))
        # Where a quarter turn swaps unequal sides, the size tells already how the mask is meant.
        sides_tell = shape[0] != shape[1] and (turned in _QUARTER_TURNS) != (mask_turned in _QUARTER_TURNS)
        if turned != mask_turned and not sides_tell:
            raise UserError(
                f"{name} has the EXIF orientation {mask_turned}, its image {turned}, so one may be turned; "
                "save both as they are shown, without the tag"
            )
        union |= marked
    return union.astype(np.uint8)


def draw_outlines(polygons: list[list[tuple[float, float]]], shape: tuple[int, int]) -> np.ndarray:
    """The union of filled polygons, uint8 0/1 (H, W); what lies outside the image is cut off.

    Args:
        polygons: (x, y) of each corner in px, from the upper left corner; shape: (H, W) of the image.
    """
    mask = Image.new("L", (shape[1], shape[0]), 0)
    for polygon in polygons:
        ImageDraw.Draw(mask).polygon([tuple(corner) for corner in polygon], fill=1, outline=1)
    return np.asarray(mask)


def _marked(data: bytes, name: str) -> np.ndarray:
    """bool (H, W) of one file; an outline is refused: a thin line around what is meant."""
    values = _grey(data, name)
    levels, counts = np.unique(values, return_counts=True)
    lossy = data.startswith(b"\xff\xd8")
    if set(levels.tolist()) <= {0, levels[-1]} and levels[-1] in _TOPS and not (lossy and levels[-1] == 1):
        marked = values > 0
    else:
        _check_smooth(values, levels, counts, name, lossy)
        marked = values >= 128
    background, _ = ndimage.label(~np.pad(marked, 1))
    enclosed, drawn = int((background > 1).sum()), int(marked.sum())
    if drawn < _THINNEST * (drawn + enclosed):
        raise UserError(f"{name} marks an outline ({drawn} px around {enclosed} px); fill it")
    return marked


def _grey(data: bytes, name: str) -> np.ndarray:
    """The values of a mask's file, (H, W), what is transparent as 0."""
    image, deep = open_picture(data, name)
    if image.mode in (*DEEP, "L"):
        return np.asarray(image)
    if deep is not None:
        raise UserError(f"{name} is no mask (16 bits with colour or transparency); write 0 and 255 in grey")
    if image.has_transparency_data:
        pixels = np.asarray(image.convert("RGBA"))
        if (pixels[..., :3] == pixels[0, 0, :3]).all() and (pixels[..., 3] < 255).any():
            return pixels[..., 3]
        image = on_black(image)
    colours = np.asarray(image.convert("RGB")).astype(np.int16)
    if np.ptp(colours, axis=2).max() > _COLOURED:
        raise UserError(f"{name} is coloured, which does not say what is lesion; write 0 and 255 in grey")
    return np.asarray(image.convert("L"))


def _check_smooth(values: np.ndarray, levels: np.ndarray, counts: np.ndarray, name: str, lossy: bool) -> None:
    """Refuse what is not 0 and 255 with smooth edges: these spread over many values, a label does not."""
    listed = ", ".join(f"{level:g}" for level in levels[:6].tolist()) + (", ..." if len(levels) > 6 else "")
    remedy = f"it holds {listed}; write 0 and 255, one mask for each lesion"
    if values.dtype != np.uint8 or levels[-1] < 128:
        raise UserError(f"{name} is no mask (largest value {levels[-1]:g}); {remedy}")
    bright = counts[levels >= _DARK].sum()
    between = (levels >= _DARK) & (levels < _BRIGHT)
    few = len(levels) <= _FEW_LEVELS and not lossy
    labels = counts * (between | ((levels > 0) & (levels < _DARK) if few else False))
    most = int(labels.argmax())
    if labels[most] >= _MANY_PIXELS and labels[most] > bright / 10:
        raise UserError(
            f"{name} is not only 0 and 255 ({labels[most]} pixels have the value {levels[most]}); {remedy}"
        )
    if counts[between].sum() > max(bright / 2, values.size / 10):
        raise UserError(f"{name} is a picture, not a mask; {remedy}")
