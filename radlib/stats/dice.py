"""How well a predicted region, or a continuous map without any threshold, finds the reference region.

Two masks are compared by Dice (doi 10.2307/1932409), the Jaccard index or "intersection over union" (doi
10.1111/j.1469-8137.1912.tb05611.x) and the distance between their outlines (Hausdorff distance, Huttenlocher
et al. 1993, doi 10.1109/34.232073). A map is compared with a mask by the average precision of its pixels, by
the share of its sum that lies inside (Wang et al. 2020, arXiv 1910.01279) and by where its maximum lies (the
"pointing game", Zhang et al. 2018, doi 10.1007/s11263-017-1059-x). A map that has one value above zero
everywhere scores the mask's share of the frame in all three.

Masks are bool and maps are finite numbers, higher = more likely inside, one per pixel. Everything else is
refused: the shape of a mask that was never resized to its map, or the 0 and 255 of a mask read from a file,
would give figures that look right.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt
from sklearn.metrics import average_precision_score

MASK_FIGURES = ["dice", "iou", "hausdorff95"]  # figures of a predicted mask
MAP_FIGURES = ["dice", "iou", "average_precision", "energy_inside", "pointing_hit"]  # of a map
BASELINES = ["whole_image", "centred_blob"]  # regions guessed without a look at the image


def dice(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Dice coefficient 2 |A & B| / (|A| + |B|) of two masks, 0 to 1.

    Two empty masks agree and have 1.0; if exactly one is empty it is 0.0.

    Args:
        predicted, reference: (h, w) bool.
    Raises:
        ValueError: masks that are not bool, not (h, w), without pixels, or of shapes that differ.
    """
    predicted, reference = checked_masks(predicted, reference, ndim=2)
    return float(dices(predicted[np.newaxis], reference[np.newaxis])[0])


def dices(predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Dice coefficient of each of n pairs of masks; pairs with empty masks as in `dice`.

    Args:
        predicted, reference: (n, h, w) bool.
    Returns:
        (n,) float64.
    Raises:
        ValueError: masks that are not bool, not (n, h, w), without pixels, or of shapes that differ.
    """
    predicted, reference = checked_masks(predicted, reference, ndim=3)
    shared = (predicted & reference).sum(axis=(1, 2))
    return _ratio(2 * shared, predicted.sum(axis=(1, 2)) + reference.sum(axis=(1, 2)))


def iou(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Intersection over union |A & B| / |A | B| of two masks, 0 to 1; arguments, empty masks as in `dice`.

    Raises:
        ValueError: as `dice`.
    """
    predicted, reference = checked_masks(predicted, reference, ndim=2)
    return float(_ratio((predicted & reference).sum(), (predicted | reference).sum()))


def hausdorff95(predicted: np.ndarray, reference: np.ndarray) -> float:
    """95th percentile of the Hausdorff distance of two masks' outlines, in pixels.

    From each outline pixel of one mask, the distance of its centre to the nearest outline pixel of the other;
    of these the 95th percentile, interpolated linearly; of the two directions the larger. This is MONAI's
    `compute_hausdorff_distance(..., percentile=95)`, which however has no number for an empty mask.
    Two empty masks have 0.0. If exactly one is empty, the distance is the diagonal of the frame,
    sqrt(h^2 + w^2): the worst there can be, as no two pixel centres are farther apart.

    Args:
        predicted, reference: (h, w) bool.
    Raises:
        ValueError: as `dice`.
    """
    predicted, reference = checked_masks(predicted, reference, ndim=2)
    if not (predicted.any() and reference.any()):
        return float(np.hypot(*reference.shape)) if predicted.any() or reference.any() else 0.0
    ours, theirs = outline(predicted), outline(reference)
    there = distance_transform_edt(~theirs)[ours]
    back = distance_transform_edt(~ours)[theirs]
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def outline(mask: np.ndarray) -> np.ndarray:
    """(h, w) bool: pixels of a mask with one of their four neighbours outside it or outside the frame."""
    return mask & ~binary_erosion(mask)


def average_precision(map: np.ndarray, reference: np.ndarray) -> float:
    """Average precision of a map whose pixels are the samples, 0 to 1.

    The sum over the map's distinct values, from high to low, of the precision down to that value times the
    recall it adds, without interpolation, as in scikit-learn's `average_precision_score`. A constant map
    scores the mask's share of the frame. NaN if the mask is empty: recall is then undefined.

    Args:
        map: (h, w) float.
        reference: (h, w) bool.
    Raises:
        ValueError: map not finite, mask not bool, or not both of one shape (h, w) with pixels.
    """
    map, reference = checked_map(map, reference)
    if not reference.any():
        return float("nan")
    return float(average_precision_score(reference.ravel(), map.ravel()))


def energy_inside(map: np.ndarray, reference: np.ndarray) -> float:
    """Share of a non-negative map's sum that lies inside the mask, 0 to 1.

    0.0 for a map that is zero everywhere, since none of it is inside. NaN if the mask is empty.

    Args:
        map: (h, w) float, nowhere negative.
        reference: (h, w) bool.
    Raises:
        ValueError: as `average_precision`, and for a map with negative values.
    """
    map, reference = checked_map(map, reference)
    if (map < 0).any():
        raise ValueError(
            f"{int((map < 0).sum())} of {map.size} pixels of the map are negative, so no share of its sum "
            "can be had; clip the map at 0 first if only positive evidence is meant"
        )
    if not reference.any():
        return float("nan")
    inside = map[reference].sum(dtype=np.float64)
    # Not over map.sum(): rounded in another order, it could be smaller than the sum inside.
    total = inside + map[~reference].sum(dtype=np.float64)
    return float(inside / total) if total > 0 else 0.0


def pointing_hit(map: np.ndarray, reference: np.ndarray) -> float:
    """Whether the map's maximum lies in the mask: 1.0 or 0.0, and between them if pixels tie.

    Pixels that share the maximum count equally: the figure is the share of them inside the mask, the
    probability of a hit if one were drawn. A constant map thus scores the mask's share of the frame, where
    the first maximum in reading order would always be the top left corner. NaN if the mask is empty.

    Args:
        map: (h, w) float.
        reference: (h, w) bool.
    Raises:
        ValueError: as `average_precision`.
    """
    map, reference = checked_map(map, reference)
    return float(reference[map == map.max()].mean()) if reference.any() else float("nan")


def best_threshold(
    maps: Sequence[np.ndarray], references: Sequence[np.ndarray], thresholds: Sequence[float]
) -> float:
    """The threshold t for which the masks `map >= t` have the highest mean Dice; if several, the smallest.

    Empty masks count as in `dice`: an image without reference scores 1.0 above the map's maximum. A map is
    compared with t in its own precision, as NumPy does in `map >= t` with a Python float.

    Args:
        maps: n maps of (h, w) float; images may differ in size.
        references: n masks of (h, w) bool, each of its map's size.
        thresholds: candidates, in any order, in the maps' units.
    Raises:
        ValueError: as `average_precision`, naming the image by its number from 0; no images; more or fewer
            masks than maps; no thresholds, or thresholds that are not finite.
    """
    candidates = np.unique(np.asarray(thresholds, dtype=np.float64))
    if candidates.size == 0 or not np.isfinite(candidates).all():
        raise ValueError(f"thresholds must be finite numbers, got {list(thresholds)[:5]}; name at least one")
    if len(maps) == 0 or len(maps) != len(references):
        raise ValueError(
            f"{len(maps)} maps for {len(references)} masks leave no threshold to choose; "
            "give at least one map, and one mask per map"
        )
    scores = [
        _dices_at(*checked_map(map, reference, f"image {number}: "), candidates)
        for number, (map, reference) in enumerate(zip(maps, references, strict=True))
    ]
    return float(candidates[np.argmax(np.mean(scores, axis=0))])


def _dices_at(map: np.ndarray, reference: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(T,) float64: Dice of `map >= t` for each of T ascending thresholds, in one pass over the pixels."""
    # How many of the thresholds each pixel reaches; it is in the masks of exactly these.
    reached = np.searchsorted(thresholds.astype(map.dtype), map, side="right")
    predicted = _pixels_left(reached.ravel(), len(thresholds))
    shared = _pixels_left(reached[reference], len(thresholds))
    return _ratio(2 * shared, predicted + reference.sum())


def _pixels_left(reached: np.ndarray, thresholds: int) -> np.ndarray:
    """(thresholds,) int64: number of pixels that reach each threshold."""
    histogram = np.bincount(reached, minlength=thresholds + 1)
    return histogram[::-1].cumsum()[::-1][1:]


def centred_blob(shape: tuple[int, int], area_share: float) -> np.ndarray:
    """An ellipse at the image's centre: the guess of somebody who never looks at the image.

    Its axes are parallel to the frame's and in the same ratio. Of all such ellipses (those for a share above
    pi / 4 reach beyond the frame and are cut off) it is the non-empty one whose number of pixels is nearest
    to the share; of two equally near the smaller. Pixels at the same distance enter together, so the blob is
    symmetric and misses the share by a few pixels.

    Args:
        shape: (h, w) of the image in pixels.
        area_share: share of the frame to cover, above 0 and up to 1.
    Returns:
        (h, w) bool.
    Raises:
        ValueError: a share outside (0, 1], or a shape that is no (h, w).
    """
    if not 0 < area_share <= 1:
        raise ValueError(f"a blob cannot cover a share of {area_share}; give a share above 0 and up to 1")
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"an image cannot have shape {tuple(shape)}; give (height, width) in pixels")
    height, width = shape
    # Twice the offset from the centre, times the other side: whole numbers, so equal distances are equal.
    down = (2 * np.arange(height, dtype=np.int64) + 1 - height) * width
    right = (2 * np.arange(width, dtype=np.int64) + 1 - width) * height
    distances = down[:, np.newaxis] ** 2 + right**2
    radii, pixels = np.unique(distances, return_counts=True)
    best = np.argmin(np.abs(np.cumsum(pixels) - area_share * distances.size))
    return distances <= radii[best]


def checked_masks(predicted: np.ndarray, reference: np.ndarray, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Two bool arrays of one shape with `ndim` axes, or the reason why they cannot be compared."""
    predicted, reference = np.asarray(predicted), np.asarray(reference)
    _check_bool(predicted, "the predicted mask")
    _check_bool(reference, "the reference mask")
    if predicted.shape != reference.shape or predicted.ndim != ndim or predicted.size == 0:
        expected = "(h, w)" if ndim == 2 else "(n, h, w)"
        raise ValueError(
            f"a predicted mask of shape {predicted.shape} cannot be compared with a reference mask of shape "
            f"{reference.shape}; give both the same shape {expected} with pixels"
        )
    return predicted, reference


def checked_map(map: np.ndarray, reference: np.ndarray, where: str = "") -> tuple[np.ndarray, np.ndarray]:
    """A finite (h, w) map of floats and its bool mask, or the reason why they cannot be compared.

    `where` opens the sentence of an error. Whole numbers become float64; floats keep their precision.
    """
    map, reference = np.asarray(map), np.asarray(reference)
    if not np.issubdtype(map.dtype, np.floating):
        map = map.astype(np.float64)
    _check_bool(reference, f"{where}the reference mask")
    if map.shape != reference.shape or map.ndim != 2 or map.size == 0:
        raise ValueError(
            f"{where}a map of shape {map.shape} cannot be compared with a reference mask of shape "
            f"{reference.shape}; give both the same shape (h, w) with pixels"
        )
    if not np.isfinite(map).all():
        bad = int((~np.isfinite(map)).sum())
        raise ValueError(
            f"{where}{bad} of {map.size} pixels of the map are NaN or infinite; find what computed them"
        )
    return map, reference


def _check_bool(mask: np.ndarray, name: str) -> None:
    if mask.dtype != bool:
        raise ValueError(f"{name} has dtype {mask.dtype}, not bool; threshold it, for instance with mask > 0")


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64, and 1.0 where whole is 0: two empty masks agree."""
    return np.divide(part, whole, out=np.ones(np.shape(whole)), where=whole > 0)
