"""What is compared of images: a digest of all pixels, a perceptual hash, a thumbnail.

The perceptual hash is pHash of 64 bits as the imagehash package computes it.
"""

import hashlib
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

THUMBNAIL = 32


@dataclass(frozen=True)
class Fingerprint:
    """Of one image; pixels: SHA-256 of all that was decoded, phash: 64 bits, thumbnail: uint8 (32, 32)."""

    pixels: bytes
    phash: int
    thumbnail: np.ndarray
    constant: bool


def fingerprint(pixels: np.ndarray) -> Fingerprint:
    """Fingerprint of a decoded image, uint8 (H, W) or (H, W, 3)."""
    digest = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes())
    phash = imagehash.phash(Image.fromarray(pixels).convert("L")).hash.ravel()
    number = int.from_bytes(np.packbits(phash).tobytes(), "big")
    return Fingerprint(digest.digest(), number, thumbnail(pixels), bool((pixels == pixels.flat[0]).all()))


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) in grey, stretched to uint8 (32, 32)."""
    grey = Image.fromarray(pixels).convert("L")
    return np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class Fingerprints:
    """Of n images, column by column: a million objects would take gigabytes.

    pixels: S32 (n,), phash: uint64 (n,), constant: bool (n,). thumbnails: uint8 (n, 32, 32), which may be a
    memory map; twins: S16 (n,), equal where thumbnails are; flat: bool (n,), where a thumbnail is one grey.
    """

    pixels: np.ndarray
    phash: np.ndarray
    constant: np.ndarray
    thumbnails: np.ndarray
    twins: np.ndarray
    flat: np.ndarray

    @classmethod
    def blank(cls, thumbnails: np.ndarray) -> "Fingerprints":
        """Room for as many fingerprints as there are `thumbnails`."""
        count = len(thumbnails)
        return cls(
            pixels=np.zeros(count, dtype="S32"),
            phash=np.zeros(count, dtype=np.uint64),
            constant=np.zeros(count, dtype=bool),
            thumbnails=thumbnails,
            twins=np.zeros(count, dtype="S16"),
            flat=np.zeros(count, dtype=bool),
        )

    def put(self, row: int, one: Fingerprint) -> None:
        """Keep the fingerprint of image `row`."""
        self.pixels[row], self.phash[row], self.constant[row] = one.pixels, one.phash, one.constant
        self.thumbnails[row] = one.thumbnail
        self.twins[row] = hashlib.blake2b(one.thumbnail.tobytes(), digest_size=16).digest()
        self.flat[row] = one.thumbnail.min() == one.thumbnail.max()
