"""Overlap, outlines and threshold-free figures against scikit-learn, MONAI and their definitions in loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_hausdorff_distance
from scipy.ndimage import gaussian_filter
from sklearn import metrics

from radlib.stats.dice import best_threshold, centred_blob, dices, map_figures, mask_figures

# MONAI 1.6 warns of its own use of an argument that it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
EMPTY, FULL = np.zeros((30, 40), dtype=bool), np.ones((30, 40), dtype=bool)


def of_mask(name: str):
    return lambda predicted, reference: mask_figures(predicted, reference)[name]


def of_map(name: str):
    return lambda scores, reference: map_figures(scores, reference, 0.5)[name]


dice, iou, hausdorff95 = (of_mask(name) for name in ("dice", "iou", "hausdorff95"))
average_precision, energy_inside, pointing_hit = (
    of_map(name) for name in ("average_precision", "energy_inside", "pointing_hit")
)


@st.composite
def two_masks(draw):
    """Two masks of one shape, often empty, full or at the frame's border."""
    shape = draw(SHAPES)
    return draw(hnp.arrays(bool, shape)), draw(hnp.arrays(bool, shape))


@st.composite
def map_and_mask(draw):
    """A non-negative map with many ties and a mask of its shape that is not empty."""
    shape = draw(SHAPES)
    mask = draw(hnp.arrays(bool, shape))
    mask.flat[draw(st.integers(0, mask.size - 1))] = True
    return draw(hnp.arrays(float, shape, elements=st.integers(0, 5).map(float))), mask


def blobs(seed: int, shape: tuple[int, int] = (30, 40)) -> np.ndarray:
    """A mask of a few round regions, some cut by the frame, that is neither empty nor full."""
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return smooth > np.quantile(smooth, 0.5 + 0.45 * np.random.default_rng(seed).random())


# Overlap of two masks


@settings(deadline=None)
@given(two_masks())
def test_dice_and_iou_equal_scikit_learn(masks):
    predicted, reference = masks
    flat = {"y_true": reference.ravel(), "y_pred": predicted.ravel(), "zero_division": 1.0}
    assert dice(*masks) == pytest.approx(metrics.f1_score(**flat), abs=1e-12)
    assert iou(*masks) == pytest.approx(metrics.jaccard_score(**flat), abs=1e-12)


@settings(deadline=None)
@given(two_masks())
def test_overlap_does_not_depend_on_which_mask_is_called_the_reference(masks):
    for figure in (dice, iou, hausdorff95):
        assert figure(*masks) == figure(*masks[::-1])
        assert figure(masks[0], masks[0]) == (0.0 if figure is hausdorff95 else 1.0)
    assert 0 <= iou(*masks) <= dice(*masks) <= 1
    assert 0 <= hausdorff95(*masks) <= np.hypot(*masks[0].shape)


def test_two_empty_masks_agree_and_one_empty_mask_is_the_worst_there_is():
    assert (dice(EMPTY, EMPTY), iou(EMPTY, EMPTY), hausdorff95(EMPTY, EMPTY)) == (1.0, 1.0, 0.0)
    for other in (FULL, blobs(0)):
        for pair in ((EMPTY, other), (other, EMPTY)):
            assert (dice(*pair), iou(*pair), hausdorff95(*pair)) == (0.0, 0.0, 50.0)


def test_many_pairs_at_once_are_each_pair_alone():
    predicted = np.stack([EMPTY, EMPTY, FULL, *(blobs(seed) for seed in range(5))])
    reference = np.stack([EMPTY, FULL, FULL, *(blobs(seed) for seed in range(5, 10))])
    pairs = list(zip(predicted, reference, strict=True))
    expected = [metrics.f1_score(r.ravel(), p.ravel(), zero_division=1.0) for p, r in pairs]
    np.testing.assert_allclose(dices(predicted, reference), expected, rtol=0, atol=1e-12)
    assert dices(predicted, reference).tolist() == [dice(p, r) for p, r in pairs]


# Distance of outlines


def monai_hausdorff95(predicted: np.ndarray, reference: np.ndarray) -> float:
    masks = [torch.from_numpy(mask.copy())[None, None] for mask in (predicted, reference)]
    return float(compute_hausdorff_distance(*masks, include_background=True, percentile=95))


def plain_hausdorff95(predicted: np.ndarray, reference: np.ndarray) -> float:
    """The definition, pixel by pixel: all distances of all pairs of outline pixels."""

    def outline(mask):
        inside = {(int(y), int(x)) for y, x in np.argwhere(mask)}
        around = [(0, 1), (0, -1), (1, 0), (-1, 0)]
        return [(y, x) for y, x in inside if any((y + dy, x + dx) not in inside for dy, dx in around)]

    def directed(start, end):
        nearest = sorted(min(np.hypot(y - v, x - u) for v, u in end) for y, x in start)
        place = 0.95 * (len(nearest) - 1)
        low = int(place)
        high = min(low + 1, len(nearest) - 1)
        return nearest[low] + (place - low) * (nearest[high] - nearest[low])

    ours, theirs = outline(predicted), outline(reference)
    return max(directed(ours, theirs), directed(theirs, ours))


@pytest.mark.parametrize("seed", range(25))
def test_hausdorff_equals_monai(seed):
    pair = blobs(seed), blobs(1000 + seed)
    assert hausdorff95(*pair) == pytest.approx(monai_hausdorff95(*pair), rel=1e-5)
    speckles = np.random.default_rng(seed).random((2, 30, 40)) < 0.02
    assert hausdorff95(*speckles) == pytest.approx(monai_hausdorff95(*speckles), rel=1e-5)


def test_hausdorff_equals_monai_for_masks_that_fill_the_frame_or_touch_its_border():
    corner = EMPTY.copy()
    corner[:7, :9] = True
    for pair in ((FULL, corner), (corner, FULL), (corner, corner[::-1, ::-1]), (FULL, blobs(3))):
        assert hausdorff95(*pair) == pytest.approx(monai_hausdorff95(*pair), rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(two_masks())
def test_hausdorff_equals_its_definition(masks):
    for mask in masks:
        mask.flat[0] |= not mask.any()
    assert hausdorff95(*masks) == pytest.approx(plain_hausdorff95(*masks), abs=1e-9)


def test_hausdorff_of_a_shifted_square_is_in_pixels_and_leaves_out_a_few_outliers():
    square = np.zeros((60, 60), dtype=bool)
    square[10:30, 10:30] = True
    speck = square.copy()
    speck[55, 55] = True
    assert hausdorff95(np.roll(square, 7, axis=1), square) == 7.0
    assert hausdorff95(speck, square) == 0.0


# A map and a mask


@settings(deadline=None)
@given(map_and_mask())
def test_average_precision_equals_scikit_learn_with_ties(case):
    scores, mask = case
    expected = metrics.average_precision_score(mask.ravel(), scores.ravel())
    assert average_precision(scores, mask) == pytest.approx(expected, abs=1e-12)


def test_average_precision_equals_scikit_learn_on_a_map_without_ties():
    mask = blobs(1)
    scores = np.random.default_rng(1).random(size=mask.shape) + 0.5 * mask
    expected = metrics.average_precision_score(mask.ravel(), scores.ravel())
    assert average_precision(scores, mask) == pytest.approx(expected, abs=1e-12)
    assert average_precision(scores.astype(np.float32), mask) == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(map_and_mask())
def test_energy_and_pointing_equal_counts_over_pixels(case):
    scores, mask = case
    pixels = list(zip(scores.ravel().tolist(), mask.ravel().tolist(), strict=True))
    total = sum(score for score, _ in pixels)
    inside = sum(score for score, within in pixels if within)
    assert energy_inside(scores, mask) == pytest.approx(inside / total if total else 0.0, abs=1e-12)
    hits = [within for score, within in pixels if score == max(scores.ravel())]
    assert pointing_hit(scores, mask) == pytest.approx(sum(hits) / len(hits), abs=1e-12)


@settings(deadline=None)
@given(map_and_mask())
def test_threshold_free_figures_are_shares_and_know_the_perfect_map(case):
    scores, mask = case
    for figure in (average_precision, energy_inside, pointing_hit):
        assert 0 <= figure(scores, mask) <= 1
        assert figure(mask * 0.3, mask) == 1.0
        assert figure(np.full(mask.shape, 0.3), mask) == pytest.approx(mask.mean(), abs=1e-12)


@settings(deadline=None)
@given(map_and_mask())
def test_order_alone_counts_for_average_precision_and_the_unit_never(case):
    scores, mask = case
    assert average_precision(np.exp(scores), mask) == average_precision(scores, mask)
    for figure in (average_precision, energy_inside, pointing_hit):
        assert figure(scores * 1024, mask) == figure(scores, mask)


@settings(deadline=None)
@given(map_and_mask(), st.integers(0, 5))
def test_overlap_of_a_map_is_that_of_its_mask(case, threshold):
    scores, mask = case
    found, expected = map_figures(scores, mask, threshold), mask_figures(scores >= threshold, mask)
    assert [found["dice"], found["iou"]] == [expected["dice"], expected["iou"]]


def test_a_single_maximum_hits_or_misses():
    scores = np.zeros((5, 6))
    scores[2, 3] = 1.0
    mask = scores > 0
    assert (pointing_hit(scores, mask), pointing_hit(scores, ~mask)) == (1.0, 0.0)


def test_a_map_of_zeros_has_nothing_inside():
    assert energy_inside(np.zeros((30, 40)), blobs(0)) == 0.0


def test_without_a_reference_the_threshold_free_figures_are_undefined():
    for scores in (np.zeros((30, 40)), np.random.default_rng(0).random((30, 40))):
        for figure in (average_precision, energy_inside, pointing_hit):
            assert np.isnan(figure(scores, EMPTY))


# The threshold of a map


def plain_best_threshold(maps, references, thresholds) -> float:
    means = {
        t: np.mean([dice(scores >= t, mask) for scores, mask in zip(maps, references, strict=True)])
        for t in sorted(thresholds)
    }
    return max(means, key=means.get)  # the first of equals, so the smallest


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("seed", range(8))
def test_best_threshold_equals_the_loop_over_thresholds(seed, dtype):
    rng = np.random.default_rng(seed)
    masks = [blobs(10 * seed + i, (20 + 3 * i, 30 - i)) for i in range(6)]
    masks[0][:] = seed % 2 == 0  # an image that is all reference, or without any
    # Rounded so that many pixels lie on a threshold, where >= and > differ.
    maps = [(0.3 * mask + rng.normal(0.3, 0.2, mask.shape)).round(2).astype(dtype) for mask in masks]
    thresholds = rng.permutation(np.arange(-20, 120, 3) / 100).tolist()
    assert best_threshold(maps, masks, thresholds) == plain_best_threshold(maps, masks, thresholds)


def test_a_threshold_belongs_to_the_mask_above_it():
    scores = np.array([[0.1, 0.2, 0.3, 0.4]])
    assert best_threshold([scores], [scores >= 0.3], [0.4, 0.2, 0.3]) == 0.3


def test_of_equally_good_thresholds_the_smallest_is_taken():
    scores = np.array([[0.0, 0.0, 0.8, 0.9]])
    assert best_threshold([scores], [scores > 0.5], [0.7, 0.5, 0.95, 0.3, 0.8]) == 0.3
    assert best_threshold([scores], [np.zeros((1, 4), dtype=bool)], [0.1, 2.0, 1.0]) == 1.0


# The guess that never looks


@pytest.mark.parametrize("share", [0.01, 0.1, 0.31, 0.78, 0.95, 1.0])
@pytest.mark.parametrize("shape", [(500, 600), (97, 61), (64, 64)])
def test_blob_covers_the_share_and_is_an_ellipse_of_the_frames_aspect(shape, share):
    blob = centred_blob(shape, share)
    assert blob.shape == shape and blob.dtype == bool
    assert abs(blob.sum() - share * blob.size) <= 8
    np.testing.assert_array_equal(blob, blob[::-1])
    np.testing.assert_array_equal(blob, blob[:, ::-1])
    if share < np.pi / 4:
        down = (np.arange(shape[0]) + 0.5) / shape[0] - 0.5
        right = (np.arange(shape[1]) + 0.5) / shape[1] - 0.5
        ellipse = down[:, None] ** 2 + right**2 <= share / np.pi
        assert (blob ^ ellipse).mean() < 0.005


@settings(deadline=None)
@given(SHAPES, st.floats(0.001, 1), st.floats(0.001, 1))
def test_blob_grows_with_the_share_and_is_never_empty(shape, one, other):
    small, large = (centred_blob(shape, share) for share in sorted((one, other)))
    assert small.any() and not (small & ~large).any()
    assert centred_blob(shape, 1.0).all()


def test_blob_of_a_few_pixels_is_the_nearest_there_is():
    # Rings of a 3 x 3 image from the centre: 1, 4 and 4 pixels.
    for pixels, expected in [(0.1, 1), (2.9, 1), (3.0, 1), (3.1, 5), (7.0, 5), (7.1, 9)]:
        assert centred_blob((3, 3), pixels / 9).sum() == expected


# What is refused

SCORES, MASK = np.random.default_rng(0).random((30, 40)), blobs(0)
BROKEN = np.where(np.arange(1200).reshape(30, 40) < 3, np.nan, SCORES)


@pytest.mark.parametrize("figure", [dice, iou, hausdorff95])
@pytest.mark.parametrize(
    ("predicted", "reference", "sentence"),
    [
        (MASK, MASK.T, r"shape \(30, 40\) cannot be compared with .* \(40, 30\)"),
        (MASK[:, :1], MASK, r"shape \(30, 1\) cannot be compared"),
        (MASK[None], MASK[None], r"same shape \(h, w\)"),
        (MASK[:0], MASK[:0], "with pixels"),
        (MASK * np.uint8(255), MASK, "the predicted mask has dtype uint8, not bool"),
        (MASK, MASK.astype(float), "the reference mask has dtype float64, not bool"),
    ],
)
def test_masks_that_cannot_be_compared_are_refused(figure, predicted, reference, sentence):
    with pytest.raises(ValueError, match=sentence):
        figure(predicted, reference)


def test_many_pairs_need_an_axis_of_images():
    with pytest.raises(ValueError, match=r"same shape \(n, h, w\)"):
        dices(MASK, MASK)
    with pytest.raises(ValueError, match="not bool"):
        dices(MASK[None] * 1, MASK[None])


@pytest.mark.parametrize("figure", [average_precision, energy_inside, pointing_hit])
@pytest.mark.parametrize(
    ("scores", "reference", "sentence"),
    [
        (SCORES, MASK.T, r"a map of shape \(30, 40\) cannot be compared with .* \(40, 30\)"),
        (SCORES[:1], MASK, r"a map of shape \(1, 40\) cannot be compared"),
        (SCORES[None], MASK[None], r"same shape \(h, w\)"),
        (SCORES[:0], MASK[:0], "with pixels"),
        (SCORES, MASK * 1, "the reference mask has dtype int64, not bool"),
        (BROKEN, MASK, "3 of 1200 pixels of the map are NaN or infinite"),
        (np.where(MASK, np.inf, SCORES), MASK, "NaN or infinite"),
    ],
)
def test_a_map_that_cannot_be_compared_is_refused(figure, scores, reference, sentence):
    with pytest.raises(ValueError, match=sentence):
        figure(scores, reference)


def test_a_map_with_negative_values_has_no_share_inside():
    for reference in (MASK, EMPTY):
        with pytest.raises(ValueError, match="1200 of 1200 pixels of the map are negative"):
            energy_inside(-SCORES - 1, reference)


@pytest.mark.parametrize(
    ("maps", "references", "thresholds", "sentence"),
    [
        ([SCORES, BROKEN], [MASK, MASK], [0.5], "image 1: 3 of 1200 pixels of the map are NaN"),
        ([SCORES, SCORES], [MASK, MASK.T], [0.5], "image 1: a map of shape"),
        ([SCORES], [MASK * 1], [0.5], "image 0: the reference mask has dtype"),
    ],
)
def test_a_threshold_that_cannot_be_chosen_is_refused(maps, references, thresholds, sentence):
    with pytest.raises(ValueError, match=sentence):
        best_threshold(maps, references, thresholds)


@pytest.mark.parametrize("share", [0, -0.1, 1.0001, 5, float("nan")])
def test_a_blob_without_a_possible_share_is_refused(share):
    with pytest.raises(ValueError, match="above 0 and up to 1"):
        centred_blob((30, 40), share)
