"""Two one-sided tests: is a difference too small to matter?

A difference is shown to lie within (-margin, margin) where two one-sided tests both reject, each at level
1 - confidence: that it is -margin or less, and that it is margin or more. That is so exactly where the
interval of confidence 2 c - 1 (90% for c = 95%) lies inside (Schuirmann 1987, doi 10.1007/BF01068419). Both
must reject, so nothing is to be corrected between the two (Berger & Hsu 1996, doi 10.1214/ss/1032280304).
"""

from dataclasses import dataclass

import numpy as np

from radlib.errors import UserError
from radlib.stats.intervals import interval, p_value


@dataclass(frozen=True)
class Equivalence:
    """The interval that must lie inside the margins, and the larger of the two one-sided p-values."""

    low: float
    high: float
    p_value: float


def equivalence(
    draws: np.ndarray,
    margin: float,
    confidence: float,
    patients: int | None = None,
    folds: int = 1,
    degrees: float | None = None,
) -> Equivalence:
    """Two one-sided tests from bootstrap draws of a difference.

    The interval lies within the margins exactly where p_value < 1 - confidence.

    Args:
        draws: (resamples,) float.
        margin: differences smaller than this do not matter.
        confidence: above 0.5, for example 0.95; patients, folds, degrees: as in `interval`.
    Raises:
        UserError: a margin that is not positive, a confidence of 0.5 or less; or as `interval`.
    """
    if margin <= 0:
        raise UserError(f"the margin of equivalence is {margin}; give one above 0, for example 0.01")
    if confidence <= 0.5:
        raise UserError(f"confidence is {confidence}; equivalence needs one above 0.5, for example 0.95")
    draws, sample = np.asarray(draws, dtype=np.float64), (patients, folds, degrees)
    low, high = interval(draws, 2 * confidence - 1, *sample)
    tests = [_below_zero(draws - margin, sample), _below_zero(-margin - draws, sample)]
    return Equivalence(low, high, max(tests))


def _below_zero(draws: np.ndarray, sample: tuple) -> float:
    """One-sided p-value of the hypothesis that the truth is 0 or more."""
    half = p_value(draws, *sample) / 2
    return half if np.median(draws) < 0 else 1 - half
