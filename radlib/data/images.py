"""Files to uint8 pixels, by stated rules, and the packed dataset that every later stage reads.

Rules of decoding: images of 16 or 32 bits, grey or colour, are scaled linearly from their own percentiles
0.5 and 99.5 to 0..255; transparent pixels count as black; palettes are looked up; colour becomes grey by
ITU-R BT.601 luma; the orientation that a camera noted is applied. Images are made square, antialiased:
stretched, as the paper did, or `letterbox`ed: black borders first, so that the aspect ratio is kept.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from radlib.data.files import DEEP, UnreadKind, check_size, on_black, open_picture, scaled_to_bytes
from radlib.data.masks import Masks
from radlib.errors import UserError


def decode_image(data: bytes, name: str, colour: bool) -> np.ndarray:
    """Decode the bytes of one image file, which messages call `name`.

    Args:
        colour: keep red, green, blue; else one grey channel.
    Returns:
        uint8 (H, W, 3) or (H, W).
    Raises:
        UserError: truncated, no image, several frames, or a side below 8 px; the file is named.
        UnreadKind: a kind of picture that is not read.
    """
    image, deep = open_picture(data, name)
    if image.mode in DEEP:
        return as_picture(np.asarray(image), name, colour)
    if deep is not None:
        opaque = deep[..., 3:] / 65535 if deep.shape[2] == 4 else 1
        return as_picture(deep[..., :3] * opaque, name, colour)
    if image.has_transparency_data:
        image = on_black(image)
    if image.mode in ("P", "LAB"):
        image = image.convert("RGB")
    try:
        return np.asarray(image.convert("RGB" if colour else "L"))
    except ValueError as exc:
        raise UnreadKind(name, f"pictures of the kind {image.mode} are not read") from exc


def as_picture(values: np.ndarray, name: str, colour: bool) -> np.ndarray:
    """Pixels that come as numbers, by the rules that hold for image files; the rest as `decode_image`.

    Args:
        values: (H, W) or (H, W, 3); other than uint8 they are scaled as files of 16 bits are.
    Raises:
        UserError: of another shape, not finite, or a side below 8 px; the file is named.
    """
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise UserError(
            f"{name} has the shape {values.shape}; expected (height, width) or (height, width, 3)"
        )
    check_size(name, values.shape[1], values.shape[0])
    if values.dtype != np.uint8:
        values = scaled_to_bytes(values.astype(np.float64), name)
    return np.asarray(Image.fromarray(values).convert("RGB" if colour else "L"))


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


# The packed dataset -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Packed:
    """A prepared dataset; row i of the manifest is images[i].

    images: uint8 (n, S, S, C), a memory map; masks: in their own pixels, or None where the dataset has none.
    manifest: image_id, patient_id, label, class_name, part_0..., width, height (px, as published), sha256,
    has_mask. meta: digests, classes, layout.
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
    for name in ("images.npy", "manifest.parquet", "meta.json"):
        if not (folder / name).is_file():
            raise UserError(f"dataset '{folder.name}' is not prepared: no {folder / name}; {remedy}")
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        bits = np.load(folder / "masks.npy", mmap_mode="r") if (folder / "masks.npy").is_file() else None
        # Released column by column: the texts of a million images are not twice in memory.
        sparing = {"split_blocks": True, "self_destruct": True}
        manifest = pd.read_parquet(folder / "manifest.parquet", to_pandas_kwargs=sparing)
        meta = json.loads((folder / "meta.json").read_text())
    except (ValueError, OSError, EOFError) as exc:
        raise UserError(f"dataset '{folder.name}' is damaged ({exc}); delete {folder} and {remedy}") from exc
    masks = None if bits is None else Masks(bits, manifest)
    fits = masks.fits if masks else not manifest["has_mask"].any()
    if len(images) != len(manifest) or not fits:
        raise UserError(f"the files in {folder} do not belong together; delete the folder and {remedy}")
    return Packed(images, masks, manifest, meta)
