"""Files to uint8 pixels, by stated rules, and the packed dataset that every later stage reads.

Rules of decoding: images of 16 or 32 bits are scaled linearly from their own smallest and largest value to
0..255; transparent pixels count as black; palettes are looked up; colour becomes grey by ITU-R BT.601 luma;
the orientation that a camera noted is applied. Images are made square, antialiased: stretched, as the paper
did, or `letterbox`ed: black borders first, so that the aspect ratio is kept.
"""

import io
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageOps

from radlib.data.masks import Masks, masks_of
from radlib.errors import UserError

SMALLEST_SIDE = 8
MANY_PIXELS = 50
# What Pillow was seen to raise on damaged files of its formats.
_BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def decode_image(data: bytes, name: str, colour: bool) -> np.ndarray:
    """Decode one image file.

    Args:
        data: the file's bytes; name: as messages print it.
        colour: keep red, green, blue; else one grey channel.
    Returns:
        uint8 (H, W, 3) or (H, W).
    Raises:
        UserError: truncated, no image, several frames, or a side below 8 px; the file is named.
    """
    image = _open(data, name)
    if image.mode in _DEEP:
        grey = _scaled_to_bytes(np.asarray(image, dtype=np.float64), name)
        return np.repeat(grey[..., None], 3, axis=2) if colour else grey
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode == "P":
        image = image.convert("RGB")
    return np.asarray(image.convert("RGB" if colour else "L"))


def decode_masks(files: list[tuple[bytes, str]], shape: tuple[int, int]) -> np.ndarray:
    """The union of an image's lesion masks, uint8 0/1 (H, W).

    A mask holds 0 and 1, or 0 and 255 (then 128 and above is lesion, which survives JPEG and smooth edges).

    Args:
        files: bytes and name of each mask; shape: (H, W) of the image.
    Raises:
        UserError: not readable, of another size than its image, or with other values.
    """
    union = np.zeros(shape, dtype=bool)
    for data, name in files:
        pixels = np.asarray(_open(data, name).convert("L"))
        if pixels.shape != shape:
            raise UserError(
                f"{name} has {pixels.shape[1]} x {pixels.shape[0]} px, its image {shape[1]} x {shape[0]} px; "
                "export the mask at its image's size"
            )
        brightest = int(pixels.max())
        if 1 < brightest < 128:
            raise UserError(f"{name} is no mask (largest value {brightest}); write 0 and 1, or 0 and 255")
        _check_one_label(pixels, name)
        union |= pixels >= min(max(brightest, 1), 128)
    return union.astype(np.uint8)


def as_picture(values: np.ndarray, name: str, colour: bool) -> np.ndarray:
    """Pixels that come as numbers, by the rules that hold for image files.

    Args:
        values: (H, W) or (H, W, 3); other than uint8 they are scaled from their own range.
        colour: as for `decode_image`.
    Returns:
        uint8 (H, W, 3) or (H, W).
    Raises:
        UserError: of another shape, not finite, or a side below 8 px; the file is named.
    """
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise UserError(
            f"{name} has the shape {values.shape}; expected (height, width) or (height, width, 3)"
        )
    _check_size(name, values.shape[1], values.shape[0])
    if values.dtype != np.uint8:
        values = _scaled_to_bytes(values.astype(np.float64), name)
    return np.asarray(Image.fromarray(values).convert("RGB" if colour else "L"))


def draw_outlines(polygons: list[list[tuple[float, float]]], shape: tuple[int, int]) -> np.ndarray:
    """The union of filled polygons, uint8 0/1 (H, W); what lies outside the image is cut off.

    Args:
        polygons: (x, y) of each corner in px, from the upper left corner; shape: (H, W) of the image.
    """
    mask = Image.new("L", (shape[1], shape[0]), 0)
    for polygon in polygons:
        ImageDraw.Draw(mask).polygon([tuple(corner) for corner in polygon], fill=1, outline=1)
    return np.asarray(mask)


def _check_one_label(pixels: np.ndarray, name: str) -> None:
    """Refuse a mask of several labels: smooth edges and JPEG spread over many values, a label does not."""
    counts = np.bincount(pixels.ravel(), minlength=256)
    between = np.arange(32, 224)
    value = int(between[np.argmax(counts[between])])
    if counts[value] >= MANY_PIXELS and counts[value] > counts[32:].sum() / 10:
        raise UserError(
            f"{name} holds several labels ({counts[value]} pixels have the value {value}); write one mask "
            "per lesion with 0 and 255"
        )


def to_square(pixels: np.ndarray, size: int, resize: str) -> np.ndarray:
    """Resize uint8 (H, W) or (H, W, 3) to (size, size, C), bilinear and antialiased.

    Args:
        resize: `stretch`, or `letterbox` to pad to a square first.
    """
    if resize == "letterbox":
        pixels = letterbox(pixels)
    resized = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(size, size, -1)


def letterbox(pixels: np.ndarray) -> np.ndarray:
    """Pad (H, W) or (H, W, C) with zeros to a square of the longer side, the image in the middle."""
    rows, columns = inner_box(pixels.shape[:2])
    side = max(pixels.shape[:2])
    square = np.zeros((side, side, *pixels.shape[2:]), dtype=pixels.dtype)
    square[rows, columns] = pixels
    return square


def inner_box(shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns at which an image (H, W) lies in its square."""
    side = max(shape)
    top, left = ((side - length) // 2 for length in shape)
    return slice(top, top + shape[0]), slice(left, left + shape[1])


def _open(data: bytes, name: str) -> Image.Image:
    if not data:
        raise UserError(f"{name} is empty; replace or delete it")
    try:
        image = Image.open(io.BytesIO(data))
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise UserError(f"{name} holds {image.n_frames} pictures; export the one that is meant")
        image.load()
        image = ImageOps.exif_transpose(image)
    except _BROKEN as exc:
        raise UserError(f"{name} is no readable image ({exc}); replace or delete it") from exc
    _check_size(name, *image.size)
    return image


def _check_size(name: str, width: int, height: int) -> None:
    if min(width, height) < SMALLEST_SIDE:
        raise UserError(
            f"{name} is {width} x {height} px; {SMALLEST_SIDE} px are the least; delete or replace it"
        )


def _scaled_to_bytes(values: np.ndarray, name: str) -> np.ndarray:
    """Linear from the image's own range to 0..255; a constant image stays constant (0)."""
    if not np.isfinite(values).all():
        raise UserError(f"{name} holds values that are no numbers; export it again as 8- or 16-bit")
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.rint((values - low) / (high - low) * 255).astype(np.uint8)


# The packed dataset -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Packed:
    """A prepared dataset; row i of the manifest is images[i].

    images: uint8 (n, S, S, C), a memory map; masks: in their own pixels, or None where the dataset has none.
    manifest: image_id, patient_id, label, class_name, part_0..., width, height (px, as
    published), sha256, has_mask.
    """

    images: np.ndarray
    masks: Masks | None
    manifest: pd.DataFrame
    meta: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of pixels, masks and manifest."""
        return self.meta["digest"]

    @property
    def resize(self) -> str:
        """How the images became square: `stretch` or `letterbox`."""
        return self.meta.get("resize", "stretch")


def open_packed(folder: Path) -> Packed:
    """Open `data/<dataset>/` without reading the pixels.

    Raises:
        UserError: missing, incomplete, or files that do not belong together.
    """
    remedy = f"run dvc repro, or notebook 01_data with dataset = '{folder.name}' and save = True"
    needed = ["images.npy", "manifest.parquet", "meta.json"]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise UserError(f"dataset '{folder.name}' is not prepared: no {folder / missing[0]}; {remedy}")
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        bits = np.load(folder / "masks.npy", mmap_mode="r") if (folder / "masks.npy").is_file() else None
        manifest = _read_manifest(folder / "manifest.parquet")
        meta = json.loads((folder / "meta.json").read_text())
    except (ValueError, OSError, EOFError) as exc:
        raise UserError(f"dataset '{folder.name}' is damaged ({exc}); delete {folder} and {remedy}") from exc
    masks = None if bits is None else masks_of(bits, manifest)
    fits = masks.fits if masks else not manifest["has_mask"].any()
    if len(images) != len(manifest) or not fits:
        raise UserError(f"the files in {folder} do not belong together; delete the folder and {remedy}")
    return Packed(images, masks, manifest, meta)


def _read_manifest(file: Path) -> pd.DataFrame:
    """Column by column: read at once, texts of a million images are twice in memory for a while."""
    names = pq.read_schema(file).names
    return pd.DataFrame({name: pd.read_parquet(file, columns=[name])[name] for name in names})
