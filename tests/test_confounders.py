"""Marks in images: how many pixels, which frequencies, how much noise, and in whose images."""

import numpy as np
import pytest

from radlib.data.confounders import NOISE_SD, PLANTED, Marked, blur, marked_images, noise, tag


def grey(size: int, value: int = 120, channels: int = 1) -> np.ndarray:
    return np.full((size, size, channels), value, dtype=np.uint8)


@pytest.mark.parametrize("size", [32, 75, 224])
def test_a_tag_is_a_small_white_mark_in_one_corner(size):
    image = grey(size, channels=3)
    marked = tag(image)
    changed = (marked != image).all(axis=2)
    assert (marked[changed] == 255).all()
    assert 0.002 < changed.mean() < 0.01
    assert not changed[size // 6 :].any() and not changed[:, size // 6 :].any()
    assert (image == 120).all()


def test_blur_damps_a_wave_as_a_gaussian_does():
    size, cycles = 150, 0.08  # per px; SD 2 px
    wave = np.sin(2 * np.pi * cycles * np.arange(size))
    image = np.tile(127 + 100 * wave, (size, 1)).round().astype(np.uint8)[..., np.newaxis]
    middle = slice(30, -30)
    amplitude = blur(image)[75, middle, 0].astype(float).std() / image[75, middle, 0].std()
    assert amplitude == pytest.approx(np.exp(-2 * (np.pi * 2 * cycles) ** 2), abs=0.01)
    np.testing.assert_array_equal(blur(grey(40)), grey(40))


def test_noise_has_its_sd_is_alike_in_all_channels_and_depends_on_the_seed_alone():
    image = grey(120, channels=3)
    noisy = noise(image, 3)
    difference = noisy.astype(int) - 120
    assert difference.std() == pytest.approx(np.sqrt(NOISE_SD**2 + 1 / 12), rel=0.02)
    assert abs(difference.mean()) < 0.5
    assert (noisy == noisy[..., :1]).all()
    np.testing.assert_array_equal(noisy, noise(image, 3))
    assert (noisy != noise(image, 4)).any()
    assert noise(grey(50, 255), 0).max() == 255 and noise(grey(50, 0), 0).min() == 0


def test_marked_images_stand_behind_the_images_themselves():
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 1), dtype=np.uint8)
    marked = Marked(images, ["noise", "tag"])
    found = marked[np.array([2, 14, 8, 0])]
    np.testing.assert_array_equal(found, [images[2], tag(images[2]), noise(images[2], 2), images[0]])
    assert set(PLANTED) == {"tag", "blur", "noise"}


@pytest.fixture
def cohort() -> tuple[np.ndarray, np.ndarray]:
    """40 patients with a positive image and 60 without; three images each."""
    patients = np.repeat([f"p{i:03d}" for i in range(100)], 3)
    labels = np.zeros(300, dtype=int)
    labels[:120:3] = 1
    order = np.random.default_rng(1).permutation(300)
    return patients[order], labels[order]


@pytest.mark.parametrize("degree", [-1, 0, 0.25, 0.5, 1])
def test_the_degree_is_the_difference_of_shares_among_patients(cohort, degree):
    patients, labels = cohort
    marked = marked_images(patients, labels, degree, seed=0)
    of_patient = {p: set(marked[patients == p]) for p in np.unique(patients)}
    assert all(len(found) == 1 for found in of_patient.values())
    shares = [
        np.mean([True in of_patient[f"p{i:03d}"] for i in some]) for some in (range(40), range(40, 100))
    ]
    np.testing.assert_allclose(shares, [0.5 + degree / 2, 0.5 - degree / 2], atol=0.02)


def test_degrees_are_nested_and_do_not_depend_on_the_order_of_images(cohort):
    patients, labels = cohort
    low, high = (marked_images(patients, labels, degree, seed=7) for degree in (0.2, 0.8))
    positive = np.isin(patients, patients[labels == 1])
    assert (high[positive] >= low[positive]).all() and (high[~positive] <= low[~positive]).all()
    backwards = marked_images(patients[::-1], labels[::-1], 0.2, seed=7)[::-1]
    np.testing.assert_array_equal(low, backwards)
    assert (low != marked_images(patients, labels, 0.2, seed=8)).any()
