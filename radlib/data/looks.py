"""What a reader should hear of decoded pictures and masks; masks that look inverted stop the study."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from radlib.errors import UserError

FEW_LEVELS = 32


@dataclass(frozen=True, slots=True)
class Look:
    """Of one picture.

    levels: how many grey levels (of colour, of the channel that has most); share: of the pixels that the mask
    marks, and border: the same of the pixels at the border; 0 where there is no mask.
    """

    levels: int
    share: float = 0.0
    border: float = 0.0


def look(pixels: np.ndarray, mask: np.ndarray | None) -> Look:
    """Look at uint8 (H, W) or (H, W, 3) and its mask, 0/1 (H, W)."""
    counts = np.reshape(Image.fromarray(pixels).histogram(), (-1, 256))
    levels = int((counts > 0).sum(axis=1).max())
    if mask is None:
        return Look(levels)
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return Look(levels, float(mask.mean()), float(border.mean()))


@dataclass
class Looks:
    """Of a dataset: names of pictures of few grey levels, and of those whose mask marks more than half.

    marked: how many masks mark something; around: how many of these mark more than half, and of the border.
    """

    few_levels: list[str] = field(default_factory=list)
    large_masks: list[str] = field(default_factory=list)
    marked: int = 0
    around: int = 0

    def put(self, name: str, one: Look) -> None:
        """Note one picture; constant ones are left to the audit."""
        if 1 < one.levels < FEW_LEVELS:
            self.few_levels.append(name)
        self.marked += one.share > 0
        if one.share > 0.5:
            self.large_masks.append(name)
            self.around += one.border > 0.5

    def check(self, dataset: str) -> None:
        """UserError where most masks mark more than half of the picture and of its border."""
        if 2 * self.around > self.marked:
            raise UserError(
                f"dataset '{dataset}': the masks look inverted: {self.around} of {self.marked} mark more "
                f"than half of the picture and of its border (first: {self.large_masks[0]}); write the "
                "lesion as 255 and all else as 0"
            )

    def sentences(self) -> list[str]:
        """What a reader should look at: one sentence for each kind that there is."""
        found = []
        if self.few_levels:
            found.append(
                f"{len(self.few_levels)} pictures have fewer than {FEW_LEVELS} grey levels, perhaps by an "
                f"export: {_some(self.few_levels)}."
            )
        if self.large_masks:
            found.append(
                f"{len(self.large_masks)} masks mark more than half of their picture, perhaps inverted: "
                f"{_some(self.large_masks)}."
            )
        return found


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(f"`{name}`" for name in names[:most]) + (", ..." if len(names) > most else "")
