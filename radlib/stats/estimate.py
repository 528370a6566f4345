"""A resampled quantity: its value, its replicates, and what was resampled; every inference is read from it.

>>> import numpy as np
>>> found = Estimate(0.1, np.linspace(0.0, 0.2, 1999), patients=200)
>>> low, high = found.interval(0.95)
>>> round(low, 3), round(high, 3)
(0.004, 0.196)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from radlib.stats.equivalence import Equivalence, equivalence
from radlib.stats.intervals import interval, p_value, resamples_needed

PATIENTS, BOTH = "patients", "patients and trainings"


@dataclass(frozen=True, eq=False)
class Estimate:
    """A quantity and how it varied over resamples.

    value: in the data; replicates: float64 (resamples,).
    patients: of the smaller class, None where no correction for few patients is wanted; folds: in which they
    were resampled; degrees: degrees of freedom where they are not patients - folds.
    resampled: `PATIENTS` or `BOTH`.
    """

    value: float
    replicates: np.ndarray
    patients: int | None = None
    folds: int = 1
    degrees: float | None = None
    resampled: str = PATIENTS

    @property
    def sample(self) -> tuple[int | None, int, float | None]:
        return self.patients, self.folds, self.degrees

    def interval(self, confidence: float) -> tuple[float, float]:
        """Expanded percentile interval; see `radlib.stats.intervals`."""
        return interval(self.replicates, confidence, *self.sample)

    def p_value(self) -> float:
        """Two-sided, of the hypothesis that the true value is 0."""
        return p_value(self.replicates, *self.sample)

    def smallest_p(self) -> float:
        """The p-value if all replicates pointed one way: none can be smaller."""
        return p_value(np.ones(len(self.replicates)), *self.sample)

    def equivalence(self, margin: float, confidence: float) -> Equivalence:
        """Two one-sided tests of whether the true value lies within ± margin."""
        return equivalence(self.replicates, margin, confidence, *self.sample)

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The difference of two estimates whose replicate i is of the same resample."""
        return replace(self, value=self.value - other.value, replicates=self.replicates - other.replicates)


def mean_of(estimates: Sequence[Estimate], confidence: float) -> Estimate:
    """The mean of estimates that were resampled independently, each counting the same.

    The correction for few patients is the strongest of any, which errs on the wide side.
    """
    strongest = max(estimates, key=lambda one: resamples_needed(confidence, *one.sample))
    value = float(np.mean([one.value for one in estimates]))
    return replace(strongest, value=value, replicates=np.mean([one.replicates for one in estimates], axis=0))
