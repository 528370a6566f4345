"""Scores of runs on the test images of a fold, and the resampling of that fold's patients."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radlib.stats.auc import checked


@dataclass(frozen=True, eq=False)
class FoldScores:
    """R runs (settings x seeds) scored on the same n test images of one fold.

    labels: (n,) int64, 0 negative or 1 positive; patients: (n,) patient ids, any sortable type.
    scores: (R, n) float64, higher = more likely positive.

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
        if pd.isna(patients).any():
            raise ValueError(
                f"{int(pd.isna(patients).sum())} images have no patient id; fill in the manifest"
            )
        for name, value in (("scores", scores), ("labels", labels), ("patients", patients)):
            object.__setattr__(self, name, value)

    @property
    def runs(self) -> int:
        return self.scores.shape[0]


def both_columns(fold: FoldScores) -> FoldScores:
    """The fold whose AUC is the area that the published scripts report: a softmax' two columns, flattened.

    `keras.metrics.AUC` takes a softmax as it comes and flattens it, which makes two of every image: the
    probability of the positive class with the image's label, and that of the negative class with the opposite
    label (here in the other order). What is measured is no longer order alone: with q the probability of an
    image's true class, the area is the share of all pairs of images, each paired with itself too, in which
    q_i > 1 - q_j, ties half. A predictor that says the same of every image, and favours the larger class,
    then has that class's share; the area under the ROC curve of the positive class gives it 0.5.

    A softmax of two units is the sigmoid of their difference, so the probability p of a single unit stands
    for the columns (1 - p, p). Keras reads its curve at 200 thresholds; here it is exact.

    Args:
        fold: scores in 0 to 1.

    >>> both_columns(FoldScores([0, 1, 1], ["a", "b", "c"], [[0.25, 0.5, 0.75]])).scores
    array([[0.75, 0.5 , 0.25, 0.25, 0.5 , 0.75]])
    """
    return FoldScores(
        np.concatenate([1 - fold.labels, fold.labels]),
        np.concatenate([fold.patients, fold.patients]),
        np.concatenate([1 - fold.scores, fold.scores], axis=1),
    )


@dataclass(frozen=True, eq=False)
class FoldPatients:
    """A fold's patients in the order: positive images only, both kinds, negative images only.

    So those with positives are the first `n_with_positives`, those with negatives are all from
    `first_with_negatives` on, and the two strata (a patient is positive if any image is) meet at
    `n_with_positives`.

    of_image: (n,) int64, place of each image's patient in that order; positives, negatives: (patients,)
    int64, number of the patient's images of each class.
    """

    of_image: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    @property
    def count(self) -> int:
        return len(self.positives)

    @property
    def n_with_positives(self) -> int:
        return int((self.positives > 0).sum())

    @property
    def first_with_negatives(self) -> int:
        return int((self.negatives == 0).sum())

    @property
    def strata(self) -> list[int]:
        """Number of patients in the positive and in the negative stratum."""
        return [self.n_with_positives, self.count - self.n_with_positives]

    def both_columns(self) -> "FoldPatients":
        """The patients of `both_columns`, each with as many positives as negatives: its images."""
        images = self.positives + self.negatives
        return FoldPatients(np.tile(self.of_image, 2), images, images)

    def drawn(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(b,) float64 each: positive and negative images in b resamples, of (b, patients) weights."""
        return weights @ self.positives.astype(np.float64), weights @ self.negatives.astype(np.float64)


def fold_patients(fold: FoldScores) -> FoldPatients:
    """Put a fold's patients in order.

    Raises:
        ValueError: a stratum of one patient (nothing could be learnt of how patients differ), or no purely
            negative patient while some have no negative image (a resample could then lack negatives).

    >>> fold_patients(FoldScores([0, 1, 0, 1, 0], list("abcda"), np.zeros((1, 5)))).strata
    [2, 2]
    """
    ids, of_image = np.unique(fold.patients, return_inverse=True)
    positives = np.bincount(of_image, weights=fold.labels, minlength=len(ids)).astype(np.int64)
    negatives = np.bincount(of_image, minlength=len(ids)) - positives
    order = np.argsort(np.select([negatives == 0, positives > 0], [0, 1], 2), kind="stable")
    place = np.empty(len(ids), dtype=np.int64)
    place[order] = np.arange(len(ids))
    found = FoldPatients(place[of_image], positives[order], negatives[order])
    for name, size in zip(("with", "without"), found.strata, strict=True):
        if size == 1:
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
    patients: FoldPatients, resamples: int, seed: int, fold: int, chunk: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """How often each patient is drawn in each resample.

    Each stratum is drawn with replacement to its own number of patients, so every resample has both
    classes. The draws depend on seed, fold number and numbers of patients only, not on `chunk`.

    Yields:
        (which resamples, weights): a slice of at most `chunk` resamples, and (its length, patients) float32.

    >>> patients = fold_patients(FoldScores([0, 1, 0, 1, 0], list("abcda"), np.zeros((1, 5))))
    >>> [weights.sum(axis=1).tolist() for _, weights in patient_weights(patients, 3, 0, 0, chunk=2)]
    [[4.0, 4.0], [4.0]]
    """
    strata = [
        (size, np.random.default_rng([seed, fold, stratum]))
        for stratum, size in enumerate(patients.strata)
        if size
    ]
    for start in range(0, resamples, chunk):
        stop = min(start + chunk, resamples)
        parts = [draw_counts(rng, stop - start, size) for size, rng in strata]
        yield slice(start, stop), np.concatenate(parts, axis=1, dtype=np.float32)


def draw_counts(rng: np.random.Generator, resamples: int, size: int, draws: int | None = None) -> np.ndarray:
    """(resamples, size) int64: how often each of `size` units is among `draws` draws, by default `size`.

    >>> draw_counts(np.random.default_rng(0), 2, 3).sum(axis=1)
    array([3, 3])
    """
    drawn = rng.integers(size, size=(resamples, draws or size), dtype=np.int32).astype(np.int64)
    drawn += np.arange(resamples)[:, np.newaxis] * size
    return np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size)


def run_shares(folds: Sequence[FoldScores]) -> np.ndarray:
    """(folds,) float64: the part of all runs that each fold holds; they sum to 1.

    >>> run_shares([FoldScores([0, 1], ["a", "b"], np.zeros((runs, 2))) for runs in (1, 3)])
    array([0.25, 0.75])
    """
    runs = np.array([fold.runs for fold in folds], dtype=np.float64)
    return runs / runs.sum()


def tested(folds: Sequence[FoldScores]) -> dict[str, int]:
    """Numbers of patients, images and positive images over all folds.

    >>> tested([FoldScores([0, 1, 1], ["a", "b", "b"], np.zeros((1, 3)))])
    {'n_patients': 2, 'n_images': 3, 'n_positive': 2}
    """
    return {
        "n_patients": sum(len(np.unique(fold.patients)) for fold in folds),
        "n_images": sum(len(fold.labels) for fold in folds),
        "n_positive": sum(int(fold.labels.sum()) for fold in folds),
    }


def smaller_class(folds: Sequence[FoldScores]) -> int:
    """Number of patients, over all folds, in the smaller of the two strata that are resampled.

    >>> smaller_class([FoldScores([0, 1, 0, 1, 0], list("abcde"), np.zeros((1, 5)))])
    2
    """
    strata = np.array([fold_patients(fold).strata for fold in folds]).sum(axis=0)
    return int(strata[strata > 0].min())


def check_folds(folds: Sequence[FoldScores]) -> None:
    """Test parts exist and share no patient, or ValueError.

    >>> check_folds([])
    Traceback (most recent call last):
    ValueError: no folds given; there are no test scores to compare
    """
    if not folds:
        raise ValueError("no folds given; there are no test scores to compare")
    seen: dict = {}
    for number, fold in enumerate(folds):
        for patient in np.unique(fold.patients).tolist():
            if patient in seen:
                raise ValueError(
                    f"patient {patient!r} is in the test parts of folds {seen[patient]} and {number}; "
                    "test parts must be disjoint, so make the splits again"
                )
            seen[patient] = number


def check_paired(sides: dict[str, Sequence[FoldScores]]) -> None:
    """All sides were scored on the same images, fold by fold, in the same order.

    Raises:
        ValueError: no sides, folds, images or patients that differ, or a fold that holds another share of
            the runs on one side than on the other (the difference would then compare folds, not sides).

    >>> first, second = (FoldScores([0, 1], ids, np.zeros((1, 2))) for ids in (["p", "q"], ["r", "s"]))
    >>> check_paired({"a": [first, second], "b": [first]})
    Traceback (most recent call last):
    ValueError: 'a' has 2 folds and 'b' has 1; finish all runs
    """
    if not sides:
        raise ValueError("no sides given; name at least one source and its folds")
    (first, folds), *others = sides.items()
    check_folds(folds)
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
        if not np.allclose(run_shares(folds), run_shares(other), rtol=0, atol=1e-12):
            raise ValueError(
                f"runs of '{first}' and '{name}' are spread over the folds differently "
                f"({[f.runs for f in folds]} and {[f.runs for f in other]}); run what is missing"
            )
