"""What is noted of every decoded picture: what copies are found by, and what a reader should hear of it."""

import hashlib

import imagehash
import numpy as np
from PIL import Image

from radlib.errors import UserError, listed
from radlib.study.titles import counted

THUMBNAIL = 32
FEW_LEVELS = 32
# A row of one array for each picture: a million objects would take gigabytes.
FACTS = np.dtype(
    [
        ("width", int),  # px, as published
        ("height", int),
        ("has_mask", bool),  # there is a mask that marks something
        ("empty_mask", bool),  # there is a mask that marks nothing
        ("levels", int),  # grey levels; of colour, of the channel that has most
        ("share", float),  # of the pixels that the mask marks
        ("border", float),  # the same of the pixels at the border
        ("pixels", "S32"),  # SHA-256 of all that was decoded
        ("phash", np.uint64),  # perceptual hash: pHash of 64 bits as the imagehash package computes it
        ("constant", bool),  # all pixels are the same
        ("twin", "S16"),  # equal where thumbnails are
        ("flat", bool),  # the thumbnail is one grey
    ]
)


def facts_of(pixels: np.ndarray, mask: np.ndarray | None = None) -> tuple[tuple, np.ndarray]:
    """One picture's row of FACTS, and its thumbnail.

    Args:
        pixels: uint8 (H, W) or (H, W, 3). mask: 0/1 (H, W), None where there is none.
    """
    small = thumbnail(pixels)
    counts = np.reshape(Image.fromarray(pixels).histogram(), (-1, 256))
    drawn = np.zeros((2, 2)) if mask is None else mask
    border = np.concatenate([drawn[0], drawn[-1], drawn[1:-1, 0], drawn[1:-1, -1]])
    content = repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
    phash = imagehash.phash(Image.fromarray(pixels).convert("L")).hash
    row = (
        pixels.shape[1],
        pixels.shape[0],
        drawn.any(),
        mask is not None and not drawn.any(),
        (counts > 0).sum(axis=1).max(),
        drawn.mean(),
        border.mean(),
        hashlib.sha256(content).digest(),
        int.from_bytes(np.packbits(phash).tobytes(), "big"),
        (pixels == pixels.flat[0]).all(),
        hashlib.blake2b(small.tobytes(), digest_size=16).digest(),
        small.min() == small.max(),
    )
    return row, small


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) in grey, stretched to uint8 (32, 32)."""
    grey = Image.fromarray(pixels).convert("L")
    return np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))


def check_inverted(dataset: str, names: np.ndarray, facts: np.ndarray) -> None:
    """UserError where most masks mark more than half of the picture and of its border.

    Args:
        names: (n,) of the images. facts: FACTS (n,) of the same.
    """
    around = (facts["share"] > 0.5) & (facts["border"] > 0.5)
    marked = facts["share"] > 0
    if 2 * around.sum() > marked.sum():
        raise UserError(
            f"dataset '{dataset}': the masks look inverted: {around.sum()} of {marked.sum()} mark more than "
            f"half of the picture and of its border (first: {names[around][0]}); write the lesion as 255 and "
            "all else as 0"
        )


def odd_looks(names: np.ndarray, facts: np.ndarray) -> list[str]:
    """What a reader should look at: one sentence for each kind that there is; arguments as above."""
    few = names[(facts["levels"] > 1) & (facts["levels"] < FEW_LEVELS)]  # constant ones are for the audit
    large = names[facts["share"] > 0.5]
    sentences = {
        f"{counted(len(few), 'picture')} with fewer than {FEW_LEVELS} grey levels (an export? a mask?)": few,
        f"{counted(len(large), 'mask')} over more than half of the picture, perhaps inverted": large,
    }
    named = {sentence: listed(f"`{name}`" for name in found) for sentence, found in sentences.items()}
    return [f"{sentence}: {names}." for sentence, names in named.items() if names]
