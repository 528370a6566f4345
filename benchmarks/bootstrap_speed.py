"""Time per paired resample of patients: the package's bootstrap beside a loop over scikit-learn.

Run from the repository's folder: `python -m benchmarks.bootstrap_speed`. Both sides of a row are measured in
turn within the same minute, several times over; the medians are printed.
"""

import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import roc_auc_score

from radlib.stats.bootstrap import bootstrap_mean_auc
from radlib.stats.folds import FoldScores, fold_patients, patient_weights

RESAMPLES = 2000  # as a study takes; ours includes building the matrices
LOOPED = 40  # resamples timed of the loop
ROUNDS = 5


def two_sides(patients: int, images_each: int, runs: int) -> list[FoldScores]:
    """Two sources of equal size on the same images."""
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(patients), images_each)
    labels = ids % 2
    return [FoldScores(labels, ids, rng.normal(size=(runs, len(ids))) + d * labels) for d in (1.0, 0.8)]


def loop_seconds(sides: list[FoldScores], resamples: int) -> float:
    """Seconds per resample of the plain way: copy the drawn patients' images, one call per run and side.

    The draws are made beforehand and not timed.
    """
    patients = fold_patients(sides[0])
    weights, *_ = patient_weights(patients, resamples, 0, 0, resamples)
    drawn = [np.repeat(np.arange(len(sides[0].labels)), w[patients.of_image].astype(int)) for w in weights]
    start = time.perf_counter()
    for images in drawn:
        for side in sides:
            labels = side.labels[images]
            for scores in side.scores:
                roc_auc_score(labels, scores[images])
    return (time.perf_counter() - start) / resamples


def our_seconds(sides: list[FoldScores]) -> float:
    """Seconds per resample, all included."""
    start = time.perf_counter()
    bootstrap_mean_auc({"a": [sides[0]], "b": [sides[1]]}, RESAMPLES, seed=0)
    return (time.perf_counter() - start) / RESAMPLES


def measured(loop: Callable[[], float], ours: Callable[[], float]) -> tuple[float, float]:
    """Medians over rounds, the two taken in turn."""
    ours()
    pairs = [(loop(), ours()) for _ in range(ROUNDS)]
    return tuple(np.median(pairs, axis=0))


def main() -> None:
    print(f"{'patients x images':>18} {'runs a side':>11} {'loop, us':>11} {'ours, us':>9} {'ratio':>7}")
    for patients, images_each in ((2000, 1), (500, 4)):
        for runs in (1, 52):
            sides = two_sides(patients, images_each, runs)
            looped = max(1, LOOPED // runs)
            loop, ours = measured(
                lambda s=sides, n=looped: loop_seconds(s, n), lambda s=sides: our_seconds(s)
            )
            size = f"{patients} x {images_each}"
            print(f"{size:>18} {runs:>11} {loop * 1e6:>11.0f} {ours * 1e6:>9.1f} {loop / ours:>7.0f}")
    print(
        f"per paired resample; medians of {ROUNDS} rounds; ours over {RESAMPLES} resamples, set-up included"
    )


if __name__ == "__main__":
    main()
