"""Which share of a difference is left, with an interval from joint draws of both differences.

A share p is in the interval where the draws of `part - p whole` do not exclude 0: Fieller's idea (1954, J R
Stat Soc B 16:175), read from draws in place of normal quantiles. Where every draw of the whole has one sign,
that is the interval of the draws' ratios. As with Fieller there is no interval where the whole itself is not
shown to differ from 0: any share, of either sign, would then agree with the data.
"""

from typing import NamedTuple

import numpy as np

from radlib.stats.intervals import interval

NOT_GIVEN = float("nan")


class Share(NamedTuple):
    """part / whole with both ends; all NaN where no share can be given."""

    value: float
    low: float
    high: float


def share(
    part: float,
    whole: float,
    part_draws: np.ndarray,
    whole_draws: np.ndarray,
    confidence: float,
    sample: tuple[int | None, int, float | None] = (None, 1, None),
) -> Share:
    """part / whole, both differences estimated from the same patients.

    Args:
        part, whole: the estimates; part_draws, whole_draws: (resamples,), draw i of the same resample.
        sample: patients, folds and degrees of freedom, as in `interval`.
    Returns:
        NaN three times where the interval of the whole touches or holds 0.
    Raises:
        UserError: as `interval`.
    """
    low, high = interval(whole_draws, confidence, *sample)
    if low <= 0 <= high or whole == 0:
        return Share(NOT_GIVEN, NOT_GIVEN, NOT_GIVEN)
    of_sign = np.sign(low)
    part_draws, whole_draws = of_sign * part_draws, of_sign * whole_draws
    right = whole_draws > 0
    ratios = part_draws[right] / whole_draws[right]
    # The few draws of the other sign speak for no share: they count as beyond both ends, which errs wide.
    # They are fewer than the draws outside either end of an interval, so that both ends are ratios.
    ends = [
        interval(_filled(ratios, right, beyond), confidence, *sample)[side]
        for side, beyond in enumerate((ratios.min() - 1, ratios.max() + 1))
    ]
    return Share(float(part / whole), *ends)


def _filled(ratios: np.ndarray, right: np.ndarray, beyond: float) -> np.ndarray:
    draws = np.full(len(right), beyond)
    draws[right] = ratios
    return draws
