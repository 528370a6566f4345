"""Interval of a mean over independent trainings that are all tested on the same patients.

A negative control asks whether the mean over all possible trainings is a known number, whoever is tested.
Two draws of random weights may be swapped, which turns the sign of their difference; shuffled labels may be
turned round, which turns an AUC into 1 - AUC (exactly so with classes of one size, nearly so otherwise). So
for any given patients a single training misses that number by chance alone, and trainings miss it
independently. What they miss it by holds both kinds of variation: where the training happened to point, and
what these patients make of that. Student's interval of the trainings' figures (1908, doi
10.1093/biomet/6.1.1) is therefore enough.

Neither bootstrap would do. Resampling patients alone holds the trained networks fixed, and a network that
learnt nothing may well point to one side; resampling patients and trainings counts the patients twice.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from radlib.errors import UserError


@dataclass(frozen=True)
class Mean:
    """A mean with both ends of its interval."""

    value: float
    ci_low: float
    ci_high: float


def mean_of_trainings(values: np.ndarray, confidence: float) -> Mean:
    """Mean of (n,) figures of independent trainings, with Student's interval.

    Raises:
        UserError: fewer than two trainings, or a figure that is no number.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise UserError(
            f"figures of shape {values.shape} give no interval over trainings; two finite ones are the least"
        )
    half = student.isf((1 - confidence) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return Mean(float(values.mean()), float(values.mean() - half), float(values.mean() + half))
