"""Scores of runs on the test images of a fold, and the resampling of that fold's patients."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from radlib.stats.auc import checked


@dataclass(frozen=True, eq=False)
class FoldScores:
    """R runs (settings x seeds) scored on the same n test images of one fold.

    labels: (n,) int64, 0 negative or 1 positive; patients: (n,) patient ids, any sortable type.
    scores: (R, n) float64, higher = more likely positive. Of K classes: labels 0 ... K - 1, scores (R, n, K).

    Raises:
        ValueError: scores not finite, one class only, shapes that differ, or a missing patient id.

    >>> FoldScores([0, 0, 1, 1], ["p1", "p1", "p2", "p3"], [[0.2, 0.1, 0.4, 0.3]]).runs
    1
    """

    labels: np.ndarray
    patients: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        scores, labels = checked(self.scores, self.labels)
        patients = np.asarray(self.patients)
        if patients.shape != labels.shape:
            raise ValueError(f"{patients.shape} patient ids for {labels.shape} labels; give one id per image")
        if missing := int(pd.isna(patients).sum()):
            raise ValueError(f"{missing} images have no patient id; fill in the manifest")
        for name, value in (("scores", scores), ("labels", labels), ("patients", patients)):
            object.__setattr__(self, name, value)

    @property
    def runs(self) -> int:
        return self.scores.shape[0]


Folds = Sequence[FoldScores]


def of_two_classes(fold: FoldScores, what: str) -> None:
    """ValueError where there are more."""
    if fold.scores.ndim == 3:
        raise ValueError(
            f"{what} is of two classes, and there are {fold.scores.shape[2]}; leave the task out"
        )


def one_against_rest(fold: FoldScores, number: int) -> FoldScores:
    """A class, by its own score, against all others.

    >>> scores = np.eye(3)[np.newaxis, [0, 1, 2, 2]]
    >>> one_against_rest(FoldScores([0, 1, 2, 2], list("abcd"), scores), 2).labels
    array([0, 0, 1, 1])
    """
    return FoldScores(fold.labels == number, fold.patients, fold.scores[..., number])


def both_columns(fold: FoldScores) -> FoldScores:
    """The fold whose AUC is what the published scripts report: that of both columns of a softmax, flattened.

    `keras.metrics.AUC` flattens a softmax, which makes two of every image: the probability of the positive
    class with the image's label, and that of the negative class with the opposite label. With q the
    probability of an image's true class, the area is the share of all pairs of images, each paired with
    itself too, in which q_i > 1 - q_j, ties half. A predictor that says the same of every image, and favours
    the larger class, then has that class's share; the ROC AUC of the positive class gives it 0.5. The
    probability p of a single sigmoid unit stands for the columns (1 - p, p). Keras reads its curve at 200
    thresholds; here it is exact.

    >>> both_columns(FoldScores([0, 1, 1], ["a", "b", "c"], [[0.25, 0.5, 0.75]])).scores
    array([[0.75, 0.5 , 0.25, 0.25, 0.5 , 0.75]])
    """
    of_two_classes(fold, "the micro-averaged AUC")
    labels, scores = (np.concatenate([1 - x, x], axis=-1) for x in (fold.labels, fold.scores))
    return FoldScores(labels, np.tile(fold.patients, 2), scores)


def as_images(folds: Folds) -> list[FoldScores]:
    """The same scores, every image a patient of its own."""
    ends = np.cumsum([len(fold.labels) for fold in folds])
    return [
        replace(fold, patients=np.arange(end - len(fold.labels), end))
        for fold, end in zip(folds, ends, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class ClassPatients:
    """A fold's patients by stratum, which of K > 2 classes is the largest label of a patient's images.

    of_image: (n,) int64, place of each image's patient in that order; strata: number of patients in each.
    """

    of_image: np.ndarray
    strata: list[int]

    @property
    def count(self) -> int:
        return sum(self.strata)


@dataclass(frozen=True, eq=False)
class FoldPatients(ClassPatients):
    """The same of two classes, in the order: positive images only, both kinds, negative images only.

    So those with positives are the first `n_with_positives`, where the two strata meet (a patient is positive
    if any image is), and those with negatives are all from `first_with_negatives` on.

    positives, negatives: (patients,) int64, number of the patient's images of each class.
    """

    positives: np.ndarray
    negatives: np.ndarray

    @property
    def n_with_positives(self) -> int:
        return self.strata[0]

    @property
    def first_with_negatives(self) -> int:
        return int((self.negatives == 0).sum())

    def both_columns(self) -> "FoldPatients":
        """The patients of `both_columns`, each with as many positives as negatives: its images."""
        images = self.positives + self.negatives
        return FoldPatients(np.tile(self.of_image, 2), [self.count, 0], images, images)

    def drawn(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(b,) float64 each: positive and negative images in b resamples, of (b, patients) weights."""
        # Whole numbers, exact in float32.
        return tuple((weights @ x.astype(np.float32)).astype(float) for x in (self.positives, self.negatives))


def ordered_patients(fold: FoldScores) -> FoldPatients:
    """The patients of a fold of two classes, whether or not they can be resampled."""
    ids, of_image = np.unique(fold.patients, return_inverse=True)
    positives = np.bincount(of_image, weights=fold.labels, minlength=len(ids)).astype(np.int64)
    negatives = np.bincount(of_image, minlength=len(ids)) - positives
    order = np.argsort(np.select([negatives == 0, positives > 0], [0, 1], 2), kind="stable")
    strata = [int((positives > 0).sum()), int((positives == 0).sum())]
    return FoldPatients(np.argsort(order)[of_image], strata, positives[order], negatives[order])


def _class_patients(fold: FoldScores) -> ClassPatients:
    """So every resample holds every class: each patient of a stratum has an image of its class."""
    ids, of_image = np.unique(fold.patients, return_inverse=True)
    largest = np.zeros(len(ids), dtype=np.int64)
    np.maximum.at(largest, of_image, fold.labels)
    strata = np.bincount(largest, minlength=fold.scores.shape[2])
    if strata.min() < 2:
        raise ValueError(
            f"the test part of a fold has {strata.min()} patients with images of class {strata.argmin()} "
            "(from 0) and of none after it, and resampling takes two; use fewer folds or more patients"
        )
    order = np.argsort(largest, kind="stable")
    return ClassPatients(np.argsort(order)[of_image], strata.tolist())


def fold_patients(fold: FoldScores) -> ClassPatients:
    """Put a fold's patients in order; ValueError where a resample of them could not be had."""
    if fold.scores.ndim == 3:
        return _class_patients(fold)
    found = ordered_patients(fold)
    if 1 in found.strata:
        name = "with" if found.strata[0] == 1 else "without"
        raise ValueError(
            f"the test part of a fold has a single patient {name} positive images, and one patient "
            "cannot be resampled; use fewer folds or more patients"
        )
    if found.strata[1] == 0 and found.first_with_negatives > 0:
        raise ValueError(
            "the test part of a fold has no patient without positive images, so a resample of patients "
            "could lack negatives; use fewer folds or more patients"
        )
    return found


def patient_weights(
    patients: ClassPatients, resamples: int, seed: int, fold: int, chunk: int
) -> Iterator[np.ndarray]:
    """How often each patient is drawn, `chunk` resamples at a time: (chunk or less, patients) float32.

    Each stratum is drawn with replacement to its own number of patients, so every resample has both
    classes. The draws depend on seed, fold number and numbers of patients only, not on `chunk`.
    """
    generators = [np.random.default_rng([seed, fold, stratum]) for stratum in range(len(patients.strata))]
    strata = [pair for pair in zip(generators, patients.strata, strict=True) if pair[1]]
    for start in range(0, resamples, chunk):
        parts = [draw_counts(rng, min(chunk, resamples - start), size) for rng, size in strata]
        yield np.concatenate(parts, axis=1, dtype=np.float32)


def draw_counts(rng: np.random.Generator, resamples: int, size: int, draws: int | None = None) -> np.ndarray:
    """(resamples, size) int64: how often each of `size` units is among `draws` draws, by default `size`."""
    drawn = rng.integers(size, size=(resamples, draws or size), dtype=np.int32).astype(np.int64)
    drawn += np.arange(resamples)[:, np.newaxis] * size
    return np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size)


def run_shares(folds: Folds) -> np.ndarray:
    """(folds,) float64: the part of all runs that each fold holds; they sum to 1.

    >>> run_shares([FoldScores([0, 1], ["a", "b"], np.zeros((runs, 2))) for runs in (1, 3)])
    array([0.25, 0.75])
    """
    runs = np.array([fold.runs for fold in folds], dtype=np.float64)
    return runs / runs.sum()


def tested(folds: Folds) -> dict[str, int]:
    """Numbers of patients, images and positive images over all folds; NaN positive ones of several classes.

    >>> tested([FoldScores([0, 1, 1], ["a", "b", "b"], np.zeros((1, 3)))])
    {'n_patients': 2, 'n_images': 3, 'n_positive': 2}
    """
    return {
        "n_patients": sum(len(np.unique(fold.patients)) for fold in folds),
        "n_images": sum(len(fold.labels) for fold in folds),
        "n_positive": sum(int(fold.labels.sum()) if fold.scores.ndim == 2 else np.nan for fold in folds),
    }


def smaller_class(folds: Folds) -> int:
    """Number of patients, over all folds, in the smallest of the strata that are resampled.

    >>> smaller_class([FoldScores([0, 1, 0, 1, 0], list("abcde"), np.zeros((1, 5)))])
    2
    """
    strata = np.sum([fold_patients(fold).strata for fold in folds], axis=0)
    return int(strata[strata > 0].min())


def check_disjoint(parts: Sequence[np.ndarray]) -> None:
    """There are test parts, given by their patients, and no patient is in two of them; or ValueError."""
    if not parts:
        raise ValueError("no folds given; there are no test scores to compare")
    names, counts = np.unique(np.concatenate([np.unique(part) for part in parts]), return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"patient {names[counts > 1][0]} is tested in two folds; test parts must be disjoint, "
            "so make the splits again"
        )


def check_paired(sides: dict[str, Folds]) -> None:
    """All sides were scored on the same images, fold by fold, in the same order; or ValueError."""
    (first, folds), *others = sides.items()
    check_disjoint([fold.patients for fold in folds])
    for name, other in others:
        if len(other) != len(folds):
            raise ValueError(
                f"'{first}' has {len(folds)} folds and '{name}' has {len(other)}; finish all runs"
            )
        for number, (a, b) in enumerate(zip(folds, other, strict=True)):
            if not (np.array_equal(a.labels, b.labels) and np.array_equal(a.patients, b.patients)):
                raise ValueError(
                    f"'{first}' and '{name}' were not scored on the same images in fold {number}; "
                    "sort both by image and run what is missing"
                )
        # The difference would compare folds, not sides.
        if not np.allclose(run_shares(folds), run_shares(other), rtol=0, atol=1e-12):
            raise ValueError(
                f"runs of '{first}' and '{name}' are spread over the folds differently "
                f"({[f.runs for f in folds]} and {[f.runs for f in other]}); run what is missing"
            )
