"""Every interval of a difference that one meets in papers, beside those reported here, for one study.

The first three of `METHODS` are what `radlib.stats` reports, each where it says so (`Estimate.resampled`):
over patients, and over what varies beside them. The others are computed so that simulations can say what
they are worth.
"""

from dataclasses import replace

import numpy as np

from radlib.stats.auc import aucs
from radlib.stats.bootstrap import bootstrap_delta, bootstrap_mean_auc
from radlib.stats.delong import delong_of_components, run_components
from radlib.stats.estimate import BOTH, PATIENTS, Estimate, stacked, students_interval
from radlib.stats.folds import Folds, as_images
from radlib.stats.means import bootstrap_mean_difference
from radlib.stats.pretrainings import SOURCES, components, over_pretrainings

METHODS = {
    "reported": f"over {PATIENTS}",
    "both_levels": f"over {BOTH}",
    "sources": f"over {SOURCES}",
    "percentile": "over patients, plain percentiles",
    "delong_patients": "DeLong by patient (Obuchowski)",
    "delong_images": "DeLong by image",
    "images": "over images, plain percentiles",
    "t_folds": "paired t-test over folds",
    "t_runs": "paired t-test over all runs",
}
Interval = tuple[float, float]


def auc_intervals(
    a: Folds,
    b: Folds,
    settings: np.ndarray,
    weights: np.ndarray,
    resamples: int,
    seed: int,
    confidence: float,
) -> dict[str, Interval]:
    """Interval of the difference of mean AUC by each of `METHODS` that this study allows.

    Where a setting has several runs, by those alone that are asked about other trainings or pretrainings.

    Args:
        a, b: one entry per fold, run r of one side paired with run r of the other.
        settings, weights: (runs,) the setting of each run, and the pretrained network it started from; both
            levels where these have two runs or more, sources where a setting has several of them.

    >>> from radlib.stats.folds import FoldScores
    >>> a, b = (FoldScores(np.arange(20) % 2, np.arange(20), [np.arange(20) ** x % 7]) for x in (1, 2))
    >>> found = auc_intervals([a], [b], np.array([0]), np.array([0]), resamples=500, seed=0, confidence=0.95)
    >>> sorted(set(METHODS) - set(found))
    ['both_levels', 'sources', 't_folds', 't_runs']
    """
    found = bootstrap_delta(a, b, resamples, seed)
    if len(np.unique(settings)) < len(settings):
        aucs_of = ([aucs(fold.scores, fold.labels) for fold in side] for side in (a, b))
        intervals = _shared(found, np.subtract(*aucs_of), confidence)
        if np.unique(weights, return_counts=True)[1].min() > 1:
            both = bootstrap_delta(a, b, resamples, seed, [weights] * len(a))
            intervals["both_levels"] = both.interval(confidence)
        if len(np.unique(weights)) > len(np.unique(settings)):
            sources = _of_sources((a, b), settings, weights, resamples, seed)
            intervals["sources"] = sources.interval(confidence)
        return intervals
    # Ranks are what costs time: one pass serves both of DeLong's variances and the t-tests.
    by_run = [run_components(x) - run_components(y) for x, y in zip(a, b, strict=True)]
    components = [runs.mean(axis=0) for runs in by_run]
    differences = [runs[:, fold.labels == 1].mean(axis=1) for runs, fold in zip(by_run, a, strict=True)]
    images_a, images_b = as_images(a), as_images(b)
    by_image = bootstrap_delta(images_a, images_b, resamples, seed)
    intervals = _shared(found, np.stack(differences), confidence, by_image)
    for name, folds in (("delong_patients", a), ("delong_images", images_a)):
        check = delong_of_components(folds, components, confidence)
        intervals[name] = (check.ci_low, check.ci_high)
    return intervals


def _of_sources(
    sides: tuple[Folds, Folds], settings: np.ndarray, weights: np.ndarray, resamples: int, seed: int
) -> Estimate:
    """The difference over other patients and pretrainings; every setting counts as a network of its own."""
    _, first = np.unique(weights, return_index=True)
    each = {
        (side, name): [replace(fold, scores=fold.scores[weights == name]) for fold in folds]
        for side, folds in enumerate(sides)
        for name in weights[first]
    }
    found = stacked(list(bootstrap_mean_auc(each, resamples, seed).values()))
    parts = components(found, np.array([side for side, _ in each]), np.tile(settings[first], 2))
    return over_pretrainings(parts, seed)


def figure_intervals(
    a: np.ndarray,
    b: np.ndarray,
    patients: np.ndarray,
    folds: np.ndarray,
    resamples: int,
    seed: int,
    confidence: float,
) -> dict[str, Interval]:
    """The same for a mean figure such as Dice, from (runs, n) figures of both sides.

    >>> a = np.random.default_rng(0).random((2, 30))
    >>> found = figure_intervals(a, a - 0.1, np.arange(30) // 2, np.zeros(30), 500, 0, 0.95)
    >>> [round(end, 3) for end in found["reported"]]
    [0.1, 0.1]
    """
    means = a.mean(axis=0), b.mean(axis=0)
    found, by_image = (
        bootstrap_mean_difference(*means, units, folds, resamples, seed).difference
        for units in (patients, np.arange(len(patients)))
    )
    by_fold = np.stack([(a - b)[:, folds == number].mean(axis=1) for number in np.unique(folds)])
    return _shared(found, by_fold, confidence, by_image)


def _shared(
    found: Estimate, differences: np.ndarray, confidence: float, by_image: Estimate | None = None
) -> dict[str, Interval]:
    """That over patients, and others of what AUC and figures share; differences: (folds, runs)."""
    # Student's intervals: of the folds' means, and of all runs as if they were independent.
    samples = {"t_folds": differences.mean(axis=1), "t_runs": differences.ravel()}
    plain = {"percentile": found, "images": by_image} if by_image else {}
    return {
        "reported": found.interval(confidence),
        **{name: replace(one, patients=None).interval(confidence) for name, one in plain.items()},
        **{name: students_interval(x, confidence) for name, x in samples.items() if len(x) > 1},
    }
