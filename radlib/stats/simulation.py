"""Simulated studies whose true difference is known in closed form: two sides, patients, folds and runs.

The latent value z of an image in a run is normal with variance 1. A part `between` of the variance belongs
to the patient, the rest to the image; each part is divided alike: `alike` of it is common to both sides,
`steady` to all runs of a side, what is left is the run's own. From z come, with a level L of the side,

    a score   L y + z, y the class of the patient:  AUC  = Phi(L / sqrt 2), the binormal curve's area
    a figure  Phi(L + z), in 0 to 1 like Dice:      mean = Phi(L / sqrt 2)

so that one formula gives both true values (Bamber 1975, doi 10.1016/0022-2496(75)90001-2, for the area). A
training adds N(0, training_sd^2) to its L, and a pretraining N(0, pretraining_sd^2), the same in all its
trainings; over all of both the true value is Phi(L / sqrt(2 + training_sd^2 + pretraining_sd^2)). All images
of a patient have one class, and their number does not depend on z.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from radlib.stats.folds import FoldScores


@dataclass(frozen=True)
class Design:
    """What a simulated study is made of.

    patients: of each class, the negative first for scores, one class for figures; folds: disjoint test parts.
    settings, pretrainings, seeds: how many runs each side has on every fold, the seeds changing fastest.
    images: fewest and most of a patient, all numbers between equally likely; between: share of the variance
    that patients have in common over their images; alike, steady: correlation of runs of different sides, and
    of one side; training_sd, pretraining_sd: of what each of them adds to a level, in SD of a score.
    """

    patients: tuple[int, ...]
    folds: int = 1
    settings: int = 4
    pretrainings: int = 1
    seeds: int = 1
    images: tuple[int, int] = (1, 5)
    between: float = 0.5
    alike: float = 0.6
    steady: float = 0.8
    training_sd: float = 0.0
    pretraining_sd: float = 0.0

    @property
    def runs(self) -> int:
        return self.settings * self.pretrainings * self.seeds


@dataclass(frozen=True, eq=False)
class Latent:
    """One drawn study before the sides' levels: what both measures are made of.

    classes, patients, folds: (n,) int64 of each image; values: (2, runs, n) float64, z of both sides.
    shifts: (2, runs, folds) float64, what each training and its pretraining add to its level.
    """

    classes: np.ndarray
    patients: np.ndarray
    folds: np.ndarray
    values: np.ndarray
    shifts: np.ndarray


def level_of(truth: float, sd: float = 0.0) -> float:
    """The level L with which the AUC or mean figure is `truth` over all that adds to it with this SD.

    >>> round(level_of(0.75), 3), level_of(0.5, sd=1.0)
    (0.954, 0.0)
    """
    return float(np.sqrt(2 + sd**2) * norm.ppf(truth))


def true_difference(levels: tuple[float, float], shifts: np.ndarray) -> float:
    """Difference a - b of trainings with these (2, runs, folds) shifts, with infinitely many patients.

    >>> round(true_difference((level_of(0.8), level_of(0.7)), np.zeros((2, 1, 1))), 3)
    0.1
    """
    means = norm.cdf((np.reshape(levels, (2, 1, 1)) + shifts) / np.sqrt(2)).mean(axis=(1, 2))
    return float(means[0] - means[1])


def draw_latent(design: Design, rng: np.random.Generator) -> Latent:
    """Draw patients, their images, and every run's latent values.

    >>> draw_latent(Design((3, 2), images=(1, 1)), np.random.default_rng(0)).values.shape
    (2, 4, 5)
    """
    runs = design.runs

    def correlated(count: int) -> np.ndarray:
        """(2, runs, count) standard normal: correlation `steady` within a side, `alike` between sides."""
        shared, side, run = (rng.standard_normal(shape) for shape in (count, (2, 1, count), (2, runs, count)))
        of_side = np.sqrt(design.alike) * shared + np.sqrt(design.steady - design.alike) * side
        return of_side + np.sqrt(1 - design.steady) * run

    class_of = np.repeat(np.arange(len(design.patients)), design.patients)
    fold_of = np.concatenate([np.arange(count) % design.folds for count in design.patients])
    low, high = design.images
    patients = np.repeat(np.arange(len(class_of)), rng.integers(low, high + 1, len(class_of)))
    of_patient, of_image = correlated(len(class_of)), correlated(len(patients))
    values = np.sqrt(design.between) * of_patient[..., patients] + np.sqrt(1 - design.between) * of_image
    shifts = design.training_sd * rng.standard_normal((2, runs, design.folds))
    if design.pretraining_sd:
        of_weights = rng.standard_normal((2, design.settings * design.pretrainings, 1))
        shifts += design.pretraining_sd * of_weights.repeat(design.seeds, axis=1)
    return Latent(class_of[patients], patients, fold_of[patients], values, shifts)


def scores(latent: Latent, levels: tuple[float, float]) -> list[list[FoldScores]]:
    """Both sides' scores fold by fold; class 1 is positive.

    >>> latent = draw_latent(Design((6, 4), folds=2, images=(1, 1)), np.random.default_rng(0))
    >>> [[len(fold.labels) for fold in side] for side in scores(latent, (1.0, 0.5))]
    [[5, 5], [5, 5]]
    """
    sides = []
    for values, raised in zip(latent.values, _raised(latent, levels), strict=True):
        found = values + raised * latent.classes
        parts = [np.flatnonzero(latent.folds == fold) for fold in range(latent.shifts.shape[2])]
        sides.append([FoldScores(latent.classes[p], latent.patients[p], found[:, p]) for p in parts])
    return sides


def figures(latent: Latent, levels: tuple[float, float]) -> np.ndarray:
    """(2, runs, n) float64: both sides' figures, in 0 to 1.

    >>> latent = draw_latent(Design((9,), images=(1, 1)), np.random.default_rng(0))
    >>> figures(latent, (1.0, 0.5)).shape
    (2, 4, 9)
    """
    return norm.cdf(latent.values + _raised(latent, levels))


def _raised(latent: Latent, levels: tuple[float, float]) -> np.ndarray:
    """(2, runs, n): the level of each image's training."""
    return np.reshape(levels, (2, 1, 1)) + latent.shifts[:, :, latent.folds]
