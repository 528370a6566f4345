"""Simulated studies whose true difference is known in closed form: two sides, patients, folds and runs.

The latent value z of an image in a run is normal with variance 1. A part `between` of the variance belongs
to the patient, the rest to the image; each part is divided alike: `alike` of it is common to both sides,
`steady` to all runs of a side, what is left is the run's own. From z come, with a level L of the side,

    a score   L y + z, y the class of the patient:  AUC  = Phi(L / sqrt 2), the binormal curve's area
    a figure  Phi(L + z), in 0 to 1 like Dice:      mean = Phi(L / sqrt 2)

so that one formula gives both true values (Bamber 1975, doi 10.1016/0022-2496(75)90001-2, for the area). A
training adds N(0, luck^2) to its L; over all trainings the true value is Phi(L / sqrt(2 + luck^2)). All
images of a patient have one class, and their number does not depend on z.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from radlib.stats.folds import FoldScores


@dataclass(frozen=True)
class Design:
    """What a simulated study is made of.

    Attributes:
        patients: number of patients of each class, the negative first for scores; one class for figures.
        folds: disjoint test parts, each with its share of every class.
        settings, seeds: each side has settings x seeds runs on every fold.
        images: fewest and most images of a patient, all numbers between equally likely.
        between: share of the variance that patients have in common over their images.
        alike, steady: correlation of runs of different sides, and of one side.
        luck: SD of what a training adds to its level, in SD of a score.
    """

    patients: tuple[int, ...]
    folds: int = 1
    settings: int = 4
    seeds: int = 1
    images: tuple[int, int] = (1, 5)
    between: float = 0.5
    alike: float = 0.6
    steady: float = 0.8
    luck: float = 0.0

    @property
    def runs(self) -> int:
        """Runs of one side on one fold: all seeds of the first setting, then of the second, ..."""
        return self.settings * self.seeds


@dataclass(frozen=True, eq=False)
class Latent:
    """One drawn study before the sides' levels: what both measures are made of.

    Attributes:
        classes, patients, folds: (n,) int64 of each image.
        values: (2, runs, n) float64, z of both sides.
        shifts: (2, runs, folds) float64, what each training adds to its level.
    """

    classes: np.ndarray
    patients: np.ndarray
    folds: np.ndarray
    values: np.ndarray
    shifts: np.ndarray


def level_of(truth: float, luck: float = 0.0) -> float:
    """The level L with which the AUC or mean figure is `truth` over all trainings."""
    return float(np.sqrt(2 + luck**2) * norm.ppf(truth))


def true_difference(levels: tuple[float, float], shifts: np.ndarray) -> float:
    """Difference a - b of trainings with these (2, runs, folds) shifts, with infinitely many patients."""
    means = norm.cdf((np.asarray(levels)[:, np.newaxis, np.newaxis] + shifts) / np.sqrt(2)).mean(axis=(1, 2))
    return float(means[0] - means[1])


def draw_latent(design: Design, rng: np.random.Generator) -> Latent:
    """Draw patients, their images, and every run's latent values."""
    class_of = np.repeat(np.arange(len(design.patients)), design.patients)
    fold_of = np.concatenate([np.arange(count) % design.folds for count in design.patients])
    low, high = design.images
    patients = np.repeat(np.arange(len(class_of)), rng.integers(low, high + 1, len(class_of)))
    of_patient = _correlated(design, len(class_of), rng)
    of_image = _correlated(design, len(patients), rng)
    values = np.sqrt(design.between) * of_patient[..., patients] + np.sqrt(1 - design.between) * of_image
    shifts = design.luck * rng.standard_normal((2, design.runs, design.folds))
    return Latent(class_of[patients], patients, fold_of[patients], values, shifts)


def scores(latent: Latent, levels: tuple[float, float]) -> tuple[list[FoldScores], list[FoldScores]]:
    """Both sides' scores fold by fold; class 1 is positive."""
    sides = []
    for values, shifts, level in zip(latent.values, latent.shifts, levels, strict=True):
        raised = values + (level + shifts[:, latent.folds]) * latent.classes
        parts = [np.flatnonzero(latent.folds == fold) for fold in range(shifts.shape[1])]
        sides.append([FoldScores(latent.classes[p], latent.patients[p], raised[:, p]) for p in parts])
    return sides[0], sides[1]


def figures(latent: Latent, levels: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Both sides' figures, (runs, n) float64 in 0 to 1 each."""
    a, b = (
        norm.cdf(values + level + shifts[:, latent.folds])
        for values, shifts, level in zip(latent.values, latent.shifts, levels, strict=True)
    )
    return a, b


def _correlated(design: Design, count: int, rng: np.random.Generator) -> np.ndarray:
    """(2, runs, count) standard normal: correlation `steady` within a side, `alike` between sides."""
    shared = rng.standard_normal(count)
    side = rng.standard_normal((2, 1, count))
    run = rng.standard_normal((2, design.runs, count))
    return (
        np.sqrt(design.alike) * shared
        + np.sqrt(design.steady - design.alike) * side
        + np.sqrt(1 - design.steady) * run
    )
