"""Bootstrap of both kinds of variation: between test patients, and between trainings.

The intervals of `radlib.stats.bootstrap` hold the trained runs fixed. Where every setting was trained with
several seeds, the trainings can be resampled too: patients within fold and class as there, and independently
of them, the runs of each setting within the fold, the same on both sides. Patients and runs are crossed, not
nested; to resample both errs on the wide side, by the part of the variance that belongs to single
combinations of patient and run (the pigeonhole bootstrap, Owen 2007, doi 10.1214/07-AOAS122).

With m runs of a setting, m draws with replacement would give a variance too small by (m - 1) / m, half of it
for two seeds. So m - 1 are drawn, which puts it right (Rao & Wu 1988, doi 10.1080/01621459.1988.10478591).

The interval is the expanded percentile of `radlib.stats.intervals`. Its degrees of freedom are those of a sum
of two variances (Satterthwaite 1946, doi 10.2307/3002019), each with its own: patients of the smaller class
less folds, and runs less settings, fold by fold.
"""

from collections.abc import Sequence

import numpy as np

from radlib.errors import UserError
from radlib.stats.bootstrap import bootstrap_run_aucs, mean_auc
from radlib.stats.estimate import BOTH, Estimate
from radlib.stats.folds import FoldScores, check_paired, draw_counts, run_shares, smaller_class

RUNS = 2  # number of the draws of runs in the seeds of their generators, beside the two strata of patients


def bootstrap_both_levels(
    a: Sequence[FoldScores],
    b: Sequence[FoldScores],
    settings: Sequence[np.ndarray],
    resamples: int,
    seed: int,
) -> Estimate:
    """Difference of mean AUC, a - b, over other patients *and* other trainings.

    Args:
        a, b: one entry per fold, run r of one side paired with run r of the other.
        settings: per fold, (runs,) the setting of each run; runs of one setting differ in their seed alone.
        resamples, seed: as `bootstrap_delta`, whose patients are drawn here too.
    Raises:
        UserError: as `bootstrap_delta`; sides with other numbers of runs, or a setting with a single run.
    """
    check_paired({"a": a, "b": b})
    for number, (fold, other, names) in enumerate(zip(a, b, settings, strict=True)):
        _check_runs(number, fold, other, np.asarray(names))
    of_patients, of_both = np.zeros(resamples), np.zeros(resamples)
    for number, share in enumerate(run_shares(a)):
        deltas = _run_deltas(a[number], b[number], resamples, seed, number)
        weights = run_weights(np.asarray(settings[number]), resamples, seed, number)
        of_patients += share * deltas.mean(axis=1)
        of_both += share * (deltas * weights).mean(axis=1)
    patients, folds = smaller_class(a), len(a)
    spare = sum(len(names) - len(np.unique(names)) for names in settings)
    degrees = satterthwaite(of_patients.var(), of_both.var(), patients - folds, spare)
    return Estimate(mean_auc(a) - mean_auc(b), of_both, patients, folds, degrees, BOTH)


def _run_deltas(a: FoldScores, b: FoldScores, resamples: int, seed: int, number: int) -> np.ndarray:
    """(resamples, runs): difference of the AUC of each pair of runs, patients resampled."""
    both = FoldScores(a.labels, a.patients, np.concatenate([a.scores, b.scores]))
    draws = bootstrap_run_aucs(both, resamples, seed, number)
    return draws[:, : a.runs] - draws[:, a.runs :]


def run_weights(settings: np.ndarray, resamples: int, seed: int, number: int) -> np.ndarray:
    """(resamples, runs): how much each run counts, m - 1 of a setting's m runs drawn; the mean is 1."""
    rng = np.random.default_rng([seed, number, RUNS])
    weights = np.empty((resamples, len(settings)))
    for name in np.unique(settings):
        own = np.flatnonzero(settings == name)
        drawn = draw_counts(rng, resamples, len(own), draws=len(own) - 1)
        weights[:, own] = drawn * len(own) / (len(own) - 1)
    return weights


def satterthwaite(of_patients: float, of_both: float, degrees_patients: int, degrees_runs: int) -> float:
    """Degrees of freedom of the sum of the patients' variance and what the trainings add to it."""
    added = max(of_both - of_patients, 0.0)
    terms = of_patients**2 / degrees_patients + added**2 / degrees_runs
    return float((of_patients + added) ** 2 / terms) if terms > 0 else float(degrees_patients)


def _check_runs(number: int, a: FoldScores, b: FoldScores, settings: np.ndarray) -> None:
    if not a.runs == b.runs == len(settings):
        raise UserError(
            f"fold {number} has {a.runs} and {b.runs} runs and settings of {len(settings)}; runs of both "
            "sides must pair, so finish what is missing"
        )
    names, counts = np.unique(settings, return_counts=True)
    if (counts < 2).any():
        raise UserError(
            f"setting {names[counts < 2][0]} has a single run in fold {number}, which says nothing of the "
            "variation between trainings; give transfer.seeds two or more"
        )
