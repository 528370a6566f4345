"""Which of the listed image files are lesion masks of others: one rule for all readers that list files.

A mask is called as its image with _mask, _mask_1, _seg, _gt or _label behind, or lies in a folder `masks`
(`mask`, `labels`, `gt`, ...) beside it, with any image suffix in any case. What is called so is never taken
for an image.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from radlib.errors import UserError

_MASK = re.compile(
    r"(?P<image>.*?)(?:^|[ _.-])(?:masks?(?:[ _-]?\(?\d+\)?)?|seg|segmentation|gt|ground[ _-]?truth|label)",
    re.I,
)
_IMAGE = re.compile(r"(?P<image>.*?)(?:^|[ _.-])(?:image|img|original|raw)", re.I)
_MASK_FOLDER = re.compile("masks?|seg|segmentations?|gt|groundtruth|labels?")
_IMAGE_FOLDER = re.compile("images?|imgs?")


def split_masks(names: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The masks of each image, `{image: [masks]}`, and the masks that have no image.

    Args:
        names: image files with their folders, of which the first is a class (`ill/masks/1.png`).
    Raises:
        UserError: a mask that fits several images.
    """
    images, masks = defaultdict(list), []
    for name in names:
        place, stem, is_mask = _place(name)
        if is_mask:
            masks.append((name, place, stem))
            continue
        images[place, stem].append(name)
        if found := _IMAGE.fullmatch(stem):
            images[place, found["image"]].append(name)
    partners, orphans = {name: [] for named in images.values() for name in named}, []
    for name, place, stem in masks:
        fitting = images.get((place, stem), [])
        if len(fitting) > 1:
            raise UserError(f"{name} is the mask of {fitting[0]} or of {fitting[1]}; rename one of these")
        (partners[fitting[0]] if fitting else orphans).append(name)
    return partners, orphans


def _place(name: str) -> tuple[tuple[str, ...], str, bool]:
    """Folders without those that only say what lies in them, the image's stem, and whether it is a mask."""
    top, *inner = name.lower().split("/")[:-1] or [""]
    stem = PurePosixPath(name.lower()).stem
    found = _MASK.fullmatch(stem)
    others = [folder for folder in inner if not _MASK_FOLDER.fullmatch(folder)]
    place = (top, *(folder for folder in others if not _IMAGE_FOLDER.fullmatch(folder)))
    return place, found["image"] if found else stem, found is not None or len(others) < len(inner)
