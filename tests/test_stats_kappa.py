"""Kappa against statsmodels, scikit-learn, brute force and simulated readers whose agreement is known."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa, to_table

from radlib.stats.kappa import UNREAD, agreement


def read(
    rng: np.random.Generator, images: int, readers: int, labels: int = 3, error: float = 0.3
) -> np.ndarray:
    """Readers who see the truth, and now and then guess."""
    truth = rng.integers(0, labels, images)
    guesses = rng.integers(0, labels, (images, readers))
    return np.where(rng.random((images, readers)) < error, guesses, truth[:, np.newaxis])


def one_each(ratings: np.ndarray, **options):
    return agreement(ratings, np.arange(len(ratings)), **{"resamples": 400, "seed": 1} | options)


@pytest.mark.parametrize("seed", range(5))
def test_two_readers_equal_statsmodels_and_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    ratings = read(rng, 60 + 10 * seed, 2, labels=2 + seed)
    found = one_each(ratings)
    theirs = cohens_kappa(to_table(ratings)[0])
    assert found.method == "cohen" and found.images == found.patients == len(ratings)
    assert found.kappa == pytest.approx(theirs.kappa, abs=1e-12)
    assert found.kappa == pytest.approx(cohen_kappa_score(*ratings.T), abs=1e-12)
    assert found.standard_error == pytest.approx(theirs.std_kappa, rel=1e-9)
    assert found.observed == np.mean(ratings[:, 0] == ratings[:, 1])


@pytest.mark.parametrize("readers", [3, 4, 7])
def test_more_readers_equal_statsmodels(readers):
    ratings = read(np.random.default_rng(readers), 80, readers, labels=4)
    found = one_each(ratings)
    assert found.method == "fleiss" and found.readers == readers
    assert found.kappa == pytest.approx(fleiss_kappa(aggregate_raters(ratings)[0]), abs=1e-12)


def test_images_may_be_read_by_different_numbers_of_readers():
    rng = np.random.default_rng(3)
    ratings = read(rng, 50, 5)
    ratings[rng.random(ratings.shape) < 0.4] = UNREAD
    found = one_each(ratings)
    agreeing, shares = [], []
    for row in ratings:
        said = row[row != UNREAD]
        if len(said) >= 2:
            agreeing.append(np.mean([a == b for a, b in combinations(said, 2)]))
            shares.append([np.mean(said == label) for label in range(3)])
    chance = (np.mean(shares, axis=0) ** 2).sum()
    assert found.images == len(agreeing) < 50
    assert found.kappa == pytest.approx((np.mean(agreeing) - chance) / (1 - chance), abs=1e-12)


def test_the_standard_error_of_many_readers_is_that_of_leaving_one_image_out():
    ratings = read(np.random.default_rng(8), 150, 4)
    left = [one_each(np.delete(ratings, i, axis=0), resamples=1).kappa for i in range(150)]
    jackknife = np.sqrt(149 / 150 * ((np.array(left) - np.mean(left)) ** 2).sum())
    assert one_each(ratings).standard_error == pytest.approx(jackknife, rel=0.03)


@pytest.mark.parametrize("readers", [2, 3])
def test_with_one_image_a_patient_the_interval_is_the_large_sample_one(readers):
    found = one_each(read(np.random.default_rng(readers), 500, readers), resamples=4000)
    width = found.ci_high - found.ci_low
    assert width == pytest.approx(2 * 1.96 * found.standard_error, rel=0.06)
    assert found.ci_low < found.kappa < found.ci_high


@pytest.mark.parametrize("readers", [2, 3])
def test_copies_of_a_patient_s_images_tell_nothing_new(readers):
    ratings = read(np.random.default_rng(5), 40, readers)
    once = one_each(ratings)
    copied = agreement(np.repeat(ratings, 9, axis=0), np.repeat(np.arange(40), 9), 400, 1)
    assert copied.images == 360 and copied.patients == 40
    same = ("kappa", "ci_low", "ci_high")
    assert [getattr(copied, n) for n in same] == pytest.approx([getattr(once, n) for n in same], abs=1e-12)
    assert copied.standard_error == pytest.approx(once.standard_error / 3, rel=1e-9)


def test_the_interval_holds_the_truth_though_errors_run_in_patients():
    """Two labels, equally frequent; with a patient's probability e of an error, kappa is E (1 - 2 e)^2."""
    rng, patients, images, studies = np.random.default_rng(0), 40, 4, 300
    truth = np.mean([(1 - 2 * e) ** 2 for e in (0.02, 0.35)])
    held, too_narrow = 0, 0
    of_image = np.repeat(np.arange(patients), images)
    for study in range(studies):
        label = rng.integers(0, 2, patients)[of_image]
        error = rng.choice([0.02, 0.35], patients)[of_image]
        ratings = label[:, np.newaxis] ^ (rng.random((len(of_image), 2)) < error[:, np.newaxis])
        found = agreement(ratings, of_image, 400, study)
        held += found.ci_low <= truth <= found.ci_high
        too_narrow += abs(found.kappa - truth) <= 1.96 * found.standard_error
    assert 0.91 <= held / studies <= 0.99
    assert too_narrow < held


def test_where_no_kappa_or_no_interval_can_be_there_is_none():
    assert np.isnan(one_each(np.zeros((20, 2), dtype=int)).kappa)
    few = one_each(read(np.random.default_rng(1), 3, 2))
    assert np.isfinite(few.kappa) and np.isnan([few.ci_low, few.ci_high]).all()
    nearly = np.zeros((20, 2), dtype=int)
    nearly[0] = 1  # 36 % of the resamples hold one label only
    found = one_each(nearly)
    assert found.kappa == 1 and np.isnan(found.ci_low)
    ratings = np.full((4, 3), UNREAD)
    ratings[:, 0] = 1
    with pytest.raises(ValueError, match="no image was read by two readers"):
        one_each(ratings)


def test_readers_of_single_images_do_not_turn_cohen_into_fleiss():
    ratings = np.full((30, 3), UNREAD)
    ratings[:, :2] = read(np.random.default_rng(2), 30, 2)
    expected = one_each(ratings[:, :2])
    alone = np.array([[UNREAD, UNREAD, 2]])
    assert one_each(np.vstack([ratings, alone])) == expected
