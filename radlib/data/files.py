"""Opening one picture file: whole, upright, a single frame, with all the bits that it holds."""

import io
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from radlib.errors import UserError

SMALLEST_SIDE = 8
PERCENTILES = (0.5, 99.5)
DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
# What Pillow was seen to raise on damaged files of its formats.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, struct.error)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 0x0112
_LOWER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}


class UnreadKind(UserError):
    """The file may be whole, but its kind of picture is not read: it is left out with `reason`."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name} is left out ({reason}); export it as 8- or 16-bit PNG to use it")
        self.reason = reason


def open_picture(data: bytes, name: str) -> tuple[Image.Image, np.ndarray | None]:
    """The picture of a file, upright by its EXIF orientation, and its values where Pillow would cut them.

    Of colour, or grey with transparency, of 16 bits Pillow keeps the upper byte alone. Read as if the bytes
    were swapped, the same file gives the lower one; of grey with transparency, four channels of 8 bits are
    the four bytes of a pixel.

    Returns:
        The picture; and uint16 (H, W, 3 or 4) of such files, None of all others.
    Raises:
        UserError: empty, damaged, several frames, or a side below 8 px; the file is named.
        UnreadKind: a TIFF of a kind that Pillow does not read, such as float colour.
    """
    image = _header(data, name)
    kind = _rawmode(image)
    with _readable(name):
        image.load()
        image = ImageOps.exif_transpose(image)
    check_size(name, *image.size)
    if kind.startswith("LA;16"):
        grey, grey_low, alpha, alpha_low = np.moveaxis(_read_as(data, name, "RGBA"), 2, 0)
        grey, alpha = grey * 256 + grey_low, alpha * 256 + alpha_low
        return image, np.stack([grey, grey, grey, alpha], axis=-1)
    mode, _, order = kind.partition(";")
    if mode not in ("RGB", "RGBA") or order not in _LOWER_BYTE:
        return image, None
    upper, lower = (_read_as(data, name, f"{mode};{one}") for one in (order, _LOWER_BYTE[order]))
    return image, upper * 256 + lower


def orientation(data: bytes, name: str) -> int:
    """The EXIF orientation of a file, 1 to 8; 1 is upright as stored."""
    image = _header(data, name)
    with _readable(name):
        return int(image.getexif().get(_ORIENTATION, 1))


def on_black(image: Image.Image) -> Image.Image:
    """The picture over a black ground, where some of it is transparent."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)


def scaled_to_bytes(values: np.ndarray, name: str) -> np.ndarray:
    """Linear from the picture's percentiles 0.5 and 99.5 to 0..255, what lies outside cut off.

    So a burned-in marker does not take the grey levels of all else. Where both percentiles are one value,
    nearly all is background, and smallest and largest value take their place. A constant picture becomes 0.

    Raises:
        UserError: values that are no numbers.
    """
    if not np.isfinite(values).all():
        raise UserError(f"{name} holds values that are no numbers; export it again as 8- or 16-bit")
    low, high = np.percentile(values, PERCENTILES)
    if low == high:
        low, high = values.min(), values.max()
    if low == high:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def check_size(name: str, width: int, height: int) -> None:
    """UserError where a side is below 8 px."""
    if min(width, height) < SMALLEST_SIDE:
        raise UserError(
            f"{name} is {width} x {height} px; {SMALLEST_SIDE} px are the least; delete or replace it"
        )


def _header(data: bytes, name: str) -> Image.Image:
    """The file, opened; no pixel is decoded."""
    if not data:
        raise UserError(f"{name} is empty; replace or delete it")
    try:
        with _readable(name):
            image = Image.open(io.BytesIO(data))
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except UserError as exc:
        if isinstance(exc.__cause__, UnidentifiedImageError) and data.startswith(_TIFF):
            raise UnreadKind(name, "a damaged TIFF, or of a kind that is not read") from exc
        raise
    if frames > 1:
        raise UserError(f"{name} holds {frames} pictures; export the one that is meant")
    return image


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn what Pillow raises on a damaged file into a sentence that names it."""
    try:
        yield
    except (*_BROKEN, Image.DecompressionBombError) as exc:
        reason = "its kind is unknown" if isinstance(exc, UnidentifiedImageError) else exc
        raise UserError(f"{name} is no readable image ({reason}); replace or delete it") from exc


def _rawmode(image: Image.Image) -> str:
    """How Pillow reads the pixels of the file, `RGB;16B`; "" where its tiles differ."""
    kinds = {tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0]) for tile in image.tile}
    return kinds.pop() if len(kinds) == 1 else ""


def _read_as(data: bytes, name: str, rawmode: str) -> np.ndarray:
    """uint16 (H, W, C), upright: the bytes that Pillow takes under another `rawmode`."""
    image = _header(data, name)
    image.tile = [
        tile._replace(args=rawmode if isinstance(tile.args, str) else (rawmode, *tile.args[1:]))
        for tile in image.tile
    ]
    with _readable(name):
        return np.asarray(ImageOps.exif_transpose(image), dtype=np.uint16)
