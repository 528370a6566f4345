"""How well a predicted region, or a continuous map without any threshold, finds the reference region.

Masks are bool and maps are finite numbers, higher = more likely inside, one per pixel. Everything else is
refused: the shape of a mask that was never resized to its map, or the 0 and 255 of a mask read from a file,
would give figures that look right.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt
from sklearn.metrics import average_precision_score

MASK_FIGURES = ["dice", "iou", "hausdorff95"]  # figures of a predicted mask
MAP_FIGURES = ["dice", "iou", "average_precision", "energy_inside", "pointing_hit"]  # of a map
BASELINES = ["whole_image", "centred_blob"]  # regions guessed without a look at the image


def dices(predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n,) float64: Dice coefficient 2 |A & B| / (|A| + |B|) (doi 10.2307/1932409) of (n, h, w) bool masks.

    Two empty masks agree and have 1.0; if exactly one is empty it is 0.0.

    >>> dices([[[True, True]], [[False, False]]], [[[True, False]], [[False, False]]]).round(2)
    array([0.67, 1.  ])
    """
    return _overlap(*_checked(predicted, reference, "predicted mask", "(n, h, w)"))[0]


def mask_figures(predicted: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """`MASK_FIGURES` of an (h, w) bool mask: overlap with the reference, and distance of their outlines.

    iou: intersection over union |A & B| / |A | B|, Jaccard's index (doi 10.1111/j.1469-8137.1912.tb05611.x);
        1.0 of two empty masks.
    hausdorff95: 95th percentile of the distance of outlines, in pixels (Huttenlocher et al. 1993, doi
        10.1109/34.232073). From each outline pixel of one mask (one of its four neighbours lies outside it,
        or outside the frame), the distance of its centre to the nearest outline pixel of the other; of these
        the 95th percentile, interpolated linearly; of the two directions the larger. So does MONAI's
        `compute_hausdorff_distance`, which has no number for an empty mask. Here two empty masks have 0.0; if
        exactly one is empty, it is the diagonal of the frame, as no two pixel centres are farther apart.

    >>> square = np.pad(np.ones((4, 4), dtype=bool), 6)
    >>> {name: round(value, 2) for name, value in mask_figures(np.roll(square, 2, axis=1), square).items()}
    {'dice': 0.5, 'iou': 0.33, 'hausdorff95': 2.0}
    """
    predicted, reference = _checked(predicted, reference, "predicted mask")
    dice, iou = _overlap(predicted, reference)
    if predicted.any() and reference.any():
        ours, theirs = (mask & ~binary_erosion(mask) for mask in (predicted, reference))
        distances = distance_transform_edt(~theirs)[ours], distance_transform_edt(~ours)[theirs]
        hausdorff95 = max(np.percentile(one, 95) for one in distances)
    else:
        hausdorff95 = np.hypot(*reference.shape) if predicted.any() or reference.any() else 0.0
    return {"dice": float(dice), "iou": float(iou), "hausdorff95": float(hausdorff95)}


def map_figures(map: np.ndarray, reference: np.ndarray, threshold: float) -> dict[str, float]:
    """`MAP_FIGURES` of an (h, w) map of floats, nowhere negative.

    Dice and IoU are of `map >= threshold`. The other three need no threshold; a map that has one value above
    zero everywhere scores the mask's share of the frame in them, and where the mask is empty they are NaN.

    average_precision: its pixels are the samples; the sum over distinct values, from high to low, of the
        precision down to that value times the recall it adds.
    energy_inside: share of its sum that lies inside (Wang et al. 2020, arXiv 1910.01279); 0.0 where it is
        zero everywhere, since none of it is inside.
    pointing_hit: whether its maximum lies inside, the "pointing game" (Zhang et al. 2018, doi
        10.1007/s11263-017-1059-x). Pixels that share the maximum count equally: the share of them inside,
        where the first in reading order would always be the top left corner of a constant map.

    >>> found = map_figures([[0.1, 0.2, 0.7]], [[False, True, True]], threshold=0.5)
    >>> {name: round(value, 2) for name, value in found.items()}
    {'dice': 0.67, 'iou': 0.5, 'average_precision': 1.0, 'energy_inside': 0.9, 'pointing_hit': 1.0}
    """
    map, reference = _checked(map, reference, "map")
    if (map < 0).any():
        raise ValueError(
            f"{int((map < 0).sum())} of {map.size} pixels of the map are negative, so no share of its sum "
            "can be had; clip the map at 0 first if only positive evidence is meant"
        )
    dice, iou = _overlap(map >= threshold, reference)
    figures = dict.fromkeys(MAP_FIGURES, np.nan) | {"dice": float(dice), "iou": float(iou)}
    if reference.any():
        precision = average_precision_score(reference.ravel(), map.ravel())
        inside = map[reference].sum(dtype=np.float64)
        # Not over map.sum(): rounded in another order, it could be smaller than the sum inside.
        total = inside + map[~reference].sum(dtype=np.float64)
        figures["average_precision"] = min(float(precision), 1.0)  # its sum is rounded
        figures["energy_inside"] = float(inside / total) if total > 0 else 0.0
        figures["pointing_hit"] = float(reference[map == map.max()].mean())
    return figures


def best_threshold(
    maps: Iterable[np.ndarray], references: Iterable[np.ndarray], thresholds: Sequence[float]
) -> float:
    """The threshold t for which the masks `map >= t` have the highest mean Dice; if several, the smallest.

    Empty masks count as in `dices`: an image without reference scores 1.0 above the map's maximum. A map is
    compared with t in its own precision, as NumPy does in `map >= t` with a Python float. Images may differ
    in size, candidates come in any order.

    >>> best_threshold([[[0.1, 0.2, 0.3]]], [[[False, True, True]]], [0.05, 0.15, 0.25])
    0.15
    """
    candidates, scores = np.unique(np.asarray(thresholds, dtype=np.float64)), []
    for number, pair in enumerate(zip(maps, references, strict=True)):
        map, reference = _checked(*pair, "map", where=f"image {number}: ")
        # How many of the thresholds each pixel reaches; it is in the masks of exactly these.
        reached = np.searchsorted(candidates.astype(map.dtype), map, side="right")
        predicted, shared = (
            np.bincount(pixels, minlength=len(candidates) + 1)[::-1].cumsum()[::-1][1:]
            for pixels in (reached.ravel(), reached[reference])
        )
        scores.append(_ratio(2 * shared, predicted + reference.sum()))
    return float(candidates[np.argmax(np.mean(scores, axis=0))])


def centred_blob(shape: tuple[int, int], area_share: float) -> np.ndarray:
    """(h, w) bool: an ellipse at the image's centre, the guess of somebody who never looks at the image.

    Its axes are parallel to the frame's and in the same ratio. Of all such ellipses (those for a share above
    pi / 4 reach beyond the frame and are cut off) it is the non-empty one whose number of pixels is nearest
    to the share; of two equally near the smaller. Pixels at the same distance enter together, so the blob is
    symmetric and misses the share by a few pixels.

    >>> centred_blob((3, 3), 0.5).astype(int)
    array([[0, 1, 0],
           [1, 1, 1],
           [0, 1, 0]])
    """
    if not 0 < area_share <= 1:
        raise ValueError(f"a blob cannot cover a share of {area_share}; give a share above 0 and up to 1")
    height, width = shape
    # Twice the offset from the centre, times the other side: whole numbers, so equal distances are equal.
    down = (2 * np.arange(height, dtype=np.int64) + 1 - height) * width
    right = (2 * np.arange(width, dtype=np.int64) + 1 - width) * height
    distances = down[:, np.newaxis] ** 2 + right**2
    radii, pixels = np.unique(distances, return_counts=True)
    return distances <= radii[np.argmin(np.abs(np.cumsum(pixels) - area_share * distances.size))]


def _overlap(predicted: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dice and IoU of (..., h, w) masks."""
    shared, either = (x.sum(axis=(-2, -1)) for x in (predicted & reference, predicted | reference))
    return _ratio(2 * shared, shared + either), _ratio(shared, either)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64, and 1.0 where whole is 0: two empty masks agree."""
    return np.divide(part, whole, out=np.ones(np.shape(whole)), where=whole > 0)


def _checked(
    given: np.ndarray, reference: np.ndarray, what: str, axes: str = "(h, w)", where: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """A finite map (of floats, whole numbers become such) or a bool mask, and its reference mask."""
    given, reference = np.asarray(given), np.asarray(reference)
    masks = {what: given, "reference mask": reference}
    if what == "map":
        given = masks.pop(what).astype(np.result_type(given, np.float16), copy=False)
    for name, mask in masks.items():
        if mask.dtype != bool:
            kind = f"{where}the {name} has dtype {mask.dtype}, not bool"
            raise ValueError(f"{kind}; threshold it, for instance with mask > 0")
    if given.shape != reference.shape or given.ndim != axes.count(",") + 1 or given.size == 0:
        raise ValueError(
            f"{where}a {what} of shape {given.shape} cannot be compared with a reference mask of shape "
            f"{reference.shape}; give both the same shape {axes} with pixels"
        )
    if not np.isfinite(given).all():
        bad = int((~np.isfinite(given)).sum())
        raise ValueError(
            f"{where}{bad} of {given.size} pixels of the map are NaN or infinite; find what computed them"
        )
    return given, reference
