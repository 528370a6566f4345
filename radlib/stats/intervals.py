"""Interval and p-value from bootstrap draws, with a correction for few patients.

A percentile interval is too narrow with few patients: it stands on the standard normal where a mean would
need Student's t, and on the standard deviation with divisor n where it would need n - 1. The *expanded
percentile* interval (Hesterberg 2015, doi 10.1080/00031305.2015.1089789) puts both right by reading the
percentiles further out, at the level

    Phi(-sqrt(n / df) * t(df)),   t(df) the quantile of Student's t at (1 + confidence) / 2.

Hesterberg has one sample, df = n - 1. Here patients are resampled within class and fold, so each fold costs
one degree of freedom: df = n - folds. n counts the patients of the smaller class: by the rule of Welch and
Satterthwaite (doi 10.2307/3002019) a sum of two variances has at least the degrees of freedom of the smaller
sample, so this choice errs on the wide side.

What no percentile interval repairs: where every draw is the same (both sides separate the classes
perfectly), the interval has no width.
"""

import math

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from radlib.errors import UserError


def interval(
    draws: np.ndarray,
    confidence: float,
    patients: int | None = None,
    folds: int = 1,
    degrees: float | None = None,
) -> tuple:
    """Percentile interval; expanded for few patients where their number is given.

    Both ends are draws (no interpolation), chosen so that the interval excludes 0 exactly where
    `p_value(draws, patients, folds, degrees) < 1 - confidence`.

    Args:
        draws: (resamples,) float, or (resamples, k) for k intervals at once.
        confidence: for example 0.95.
        patients: number of patients in the smaller class, all folds together; None: plain percentiles.
        folds: number of folds that patients were resampled in.
        degrees: degrees of freedom of the quantile where they are not patients - folds, as when the draws
            hold more than the variation between patients.
    Returns:
        low, high: floats, or (k,) float64 each.
    Raises:
        UserError: draws not finite, too few resamples for that level, or no more patients than folds.
    """
    draws = _checked(draws)
    tail = _tail(confidence, patients, folds, degrees)
    # Rounded, as 0.025 * 2000 must be 50 although (1 - 0.95) / 2 is a little more than 0.025.
    rank = math.ceil(round(tail * (len(draws) + 1), 9)) - 1
    if rank < 1:
        raise UserError(_too_few(len(draws), confidence, patients, folds, degrees))
    ordered = np.sort(draws, axis=0)
    low, high = ordered[rank - 1], ordered[len(draws) - rank]
    return (float(low), float(high)) if draws.ndim == 1 else (low, high)


def p_value(
    draws: np.ndarray, patients: int | None = None, folds: int = 1, degrees: float | None = None
) -> float:
    """Two-sided p-value of the hypothesis that the difference is 0: the inverse of `interval`.

    The share of draws on the far side of 0, each tail counting one draw more than there are, so that p is
    never 0 (Davison & Hinkley 1997, doi 10.1017/CBO9780511802843); draws equal to 0 count for both tails.

    Args:
        draws: (resamples,) float.
        patients, folds, degrees: as in `interval`.
    Returns:
        p in (0, 1].
    Raises:
        UserError: draws not finite, or no more patients than folds.
    """
    draws = _checked(draws)
    beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    tail = (beyond + 1) / (len(draws) + 1)
    if tail >= 0.5:
        return 1.0
    if patients is None:
        return 2 * tail
    df = _degrees(patients, folds)
    return float(2 * student.sf(norm.isf(tail) * math.sqrt(df / patients), degrees or df))


def resamples_needed(
    confidence: float, patients: int | None = None, folds: int = 1, degrees: float | None = None
) -> int:
    """Number of resamples with which `interval` can be had at all (good ones take ten times as many)."""
    return math.ceil(1 / max(_tail(confidence, patients, folds, degrees), 1e-12))


def _tail(confidence: float, patients: int | None, folds: int, degrees: float | None) -> float:
    """Share of draws below the interval, and above it."""
    if not 0 < confidence < 1:
        raise UserError(f"confidence is {confidence}; it must lie between 0 and 1, for example 0.95")
    tail = (1 - confidence) / 2
    if patients is None:
        return tail
    df = _degrees(patients, folds)
    return float(norm.sf(student.isf(tail, degrees or df) * math.sqrt(patients / df)))


def _degrees(patients: int, folds: int) -> int:
    if patients <= folds:
        raise UserError(
            f"{patients} patients in the smaller class over {folds} folds leave no degree of freedom for an "
            "interval; use fewer folds or more patients"
        )
    return patients - folds


def _too_few(
    resamples: int, confidence: float, patients: int | None, folds: int, degrees: float | None
) -> str:
    needed = resamples_needed(confidence, patients, folds, degrees)
    where = "" if patients is None else f" with {patients} patients in the smaller class over {folds} fold(s)"
    if degrees is not None:
        where += f" and {degrees:.1f} degrees of freedom"
    more = "use more patients or fewer folds" if degrees is None else "use more patients or more seeds"
    remedy = f"take at least {needed}" if needed <= 100_000 else more
    return f"{resamples} resamples are too few for a {confidence:.0%} interval{where}; {remedy}"


def _checked(draws: np.ndarray) -> np.ndarray:
    draws = np.asarray(draws, dtype=np.float64)
    if draws.size == 0 or not np.isfinite(draws).all():
        raise UserError(f"bootstrap draws of shape {draws.shape} are empty or not finite; check the scores")
    return draws
