"""Marks that are planted in images, to see which networks take them for the finding; and in whose images.

`tag`, `blur` and `noise` take and give one uint8 image (S, S, C), and draw nothing but from their seed.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from radlib.data.packing import read_rows
from radlib.data.splits import patient_classes

NOISE_SD = 12.0  # grey values


def tag(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """A white L in the upper left corner, like a side marker; its arms are a twelfth of the side long."""
    marked, side = image.copy(), len(image)
    start = width = max(1, side // 32)
    end = start + max(3, side // 12)
    marked[start:end, start : start + width] = 255
    marked[end - width : end, start:end] = 255
    return marked


def blur(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """A Gaussian low-pass filter of SD s = side / 75 px: f cycles per px are damped to exp(-2 (pi s f)^2)."""
    smooth = gaussian_filter(image.astype(np.float64), len(image) / 75, axes=(0, 1), mode="nearest")
    return smooth.round().astype(np.uint8)


def noise(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Independent Gaussian noise in every pixel, the same in all channels, cut off at black and at white."""
    drawn = np.random.default_rng(seed).normal(0, NOISE_SD, image.shape[:2])
    return (image + drawn[..., np.newaxis]).round().clip(0, 255).astype(np.uint8)


PLANTED = {"tag": tag, "blur": blur, "noise": noise}


@dataclass(frozen=True)
class Marked:
    """As an array: the n images, then all of them with the first confounder, and so on; made when read."""

    images: np.ndarray
    confounders: list[str]
    base = None  # no memory map of its own, for `read_rows`

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        which, rows = np.divmod(rows, len(self.images))
        found = read_rows(self.images, rows)
        for place in np.flatnonzero(which):
            mark = PLANTED[self.confounders[which[place] - 1]]
            found[place] = mark(found[place], int(rows[place]))
        return found


def marked_images(patients: np.ndarray, labels: np.ndarray, degree: float, seed: int) -> np.ndarray:
    """Whose images carry a mark that goes with the label: bool (n,), the same for all images of a patient.

    Of the positive patients (those with a positive image) a share of 0.5 + degree / 2 is marked, of the
    others 0.5 - degree / 2, as nearly as whole patients allow. With one seed, positive patients who are
    marked at one degree are so at every higher one. `degree` is the difference of the two shares, the
    correlation where classes are of one size; -1 reverses it.
    """
    rng = np.random.default_rng(seed)
    classes = patient_classes(patients, labels)
    marked = pd.Series(False, index=classes.index)
    for label, own in classes.groupby(classes):
        share = 0.5 + (degree if label else -degree) / 2
        marked[own.index] = (rng.permutation(len(own)) + 0.5) / len(own) < share
    return marked[np.asarray(patients, dtype=str)].to_numpy()
