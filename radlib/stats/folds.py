"""Scores of runs on the test images of a fold, and the resampling of that fold's patients."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radlib.errors import UserError
from radlib.stats.auc import checked

POSITIVE, NEGATIVE = 0, 1  # numbers of the two strata in the seeds of their random generators


@dataclass(frozen=True, eq=False)
class FoldScores:
    """R runs (settings x seeds) scored on the same n test images of one fold.

    Attributes:
        labels: (n,) int64, 0 negative or 1 positive.
        patients: (n,) patient ids, any sortable type.
        scores: (R, n) float64, higher = more likely positive.
    Raises:
        UserError: scores not finite, one class only, shapes that differ, or a missing patient id.
    """

    labels: np.ndarray
    patients: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        scores, labels = checked(self.scores, self.labels)
        patients = np.asarray(self.patients)
        if patients.shape != labels.shape:
            raise UserError(f"{patients.shape} patient ids for {labels.shape} labels; give one id per image")
        if pd.isna(patients).any():
            raise UserError(f"{int(pd.isna(patients).sum())} images have no patient id; fill in the manifest")
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "patients", patients)

    @property
    def runs(self) -> int:
        return self.scores.shape[0]


@dataclass(frozen=True, eq=False)
class FoldPatients:
    """A fold's patients in the order: positive images only, both kinds, negative images only.

    In that order the patients with positives are the first `n_with_positives`, those with negatives are
    all from `first_with_negatives` on, and the two strata (a patient is positive if any image is) meet at
    `n_with_positives`.

    Attributes:
        of_image: (n,) int64, place of each image's patient in that order.
        positives, negatives: (patients,) int64, number of the patient's images of each class.
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

    def positives_drawn(self, weights: np.ndarray) -> np.ndarray:
        """(b,) float64: number of positive images in each of b resamples, from (b, patients) weights."""
        return weights @ self.positives.astype(np.float64)

    def negatives_drawn(self, weights: np.ndarray) -> np.ndarray:
        """(b,) float64: number of negative images in each of b resamples, from (b, patients) weights."""
        return weights @ self.negatives.astype(np.float64)


def fold_patients(fold: FoldScores) -> FoldPatients:
    """Put a fold's patients in order.

    Raises:
        UserError: a stratum of one patient (nothing could be learnt of how patients differ), or no purely
            negative patient while some have no negative image (a resample could then lack negatives).
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
            raise UserError(
                f"the test part of a fold has a single patient {name} positive images, and one patient "
                "cannot be resampled; use fewer folds or more patients"
            )
    if found.strata[NEGATIVE] == 0 and found.first_with_negatives > 0:
        raise UserError(
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
    """(resamples, size) int64: how often each of `size` units is among `draws` draws, by default `size`."""
    drawn = rng.integers(size, size=(resamples, draws or size), dtype=np.int32).astype(np.int64)
    drawn += np.arange(resamples)[:, np.newaxis] * size
    return np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size)


def run_shares(folds: Sequence[FoldScores]) -> np.ndarray:
    """(folds,) float64: the part of all runs that each fold holds; they sum to 1."""
    runs = np.array([fold.runs for fold in folds], dtype=np.float64)
    return runs / runs.sum()


def tested(folds: Sequence[FoldScores]) -> dict[str, int]:
    """Numbers of patients, images and positive images over all folds."""
    return {
        "n_patients": sum(len(np.unique(fold.patients)) for fold in folds),
        "n_images": sum(len(fold.labels) for fold in folds),
        "n_positive": sum(int(fold.labels.sum()) for fold in folds),
    }


def smaller_class(folds: Sequence[FoldScores]) -> int:
    """Number of patients, over all folds, in the smaller of the two strata that are resampled."""
    strata = np.array([fold_patients(fold).strata for fold in folds]).sum(axis=0)
    return int(strata[strata > 0].min())


def check_folds(folds: Sequence[FoldScores]) -> None:
    """Test parts exist and share no patient.

    Raises:
        UserError: no fold, or a patient in two of them.
    """
    if not folds:
        raise UserError("no folds given; there are no test scores to compare")
    seen: dict = {}
    for number, fold in enumerate(folds):
        for patient in np.unique(fold.patients).tolist():
            if patient in seen:
                raise UserError(
                    f"patient {patient!r} is in the test parts of folds {seen[patient]} and {number}; "
                    "test parts must be disjoint, so make the splits again"
                )
            seen[patient] = number


def check_paired(sides: dict[str, Sequence[FoldScores]]) -> None:
    """All sides were scored on the same images, fold by fold, in the same order.

    Raises:
        UserError: no sides, folds, images or patients that differ, or a fold that holds another share of
            the runs on one side than on the other (the difference would then compare folds, not sides).
    """
    if not sides:
        raise UserError("no sides given; name at least one source and its folds")
    (first, folds), *others = sides.items()
    check_folds(folds)
    for name, other in others:
        if len(other) != len(folds):
            raise UserError(
                f"'{first}' has {len(folds)} folds and '{name}' has {len(other)}; finish all runs"
            )
        for number, (a, b) in enumerate(zip(folds, other, strict=True)):
            if not (np.array_equal(a.labels, b.labels) and np.array_equal(a.patients, b.patients)):
                raise UserError(
                    f"'{first}' and '{name}' were not scored on the same images in fold {number}; "
                    "sort both by image and run what is missing"
                )
        if not np.allclose(run_shares(folds), run_shares(other), rtol=0, atol=1e-12):
            raise UserError(
                f"runs of '{first}' and '{name}' are spread over the folds differently "
                f"({[f.runs for f in folds]} and {[f.runs for f in other]}); run what is missing"
            )
