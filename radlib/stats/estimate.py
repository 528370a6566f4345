"""A resampled quantity: its value, its replicates, and every inference, which is read from them.

A percentile interval is too narrow with few patients: it stands on the standard normal where a mean would
need Student's t, and on the standard deviation with divisor n where it would need n - 1. The *expanded
percentile* interval (Hesterberg 2015, doi 10.1080/00031305.2015.1089789) puts both right by reading the
percentiles further out, at the level

    Phi(-sqrt(n / df) * t(df)),   t(df) the quantile of Student's t at (1 + confidence) / 2.

Hesterberg has one sample, df = n - 1. Here patients are resampled within class and fold, so each fold costs
one degree of freedom: df = n - folds. n counts the patients of the smaller class: a sum of two variances has
at least the degrees of freedom of the smaller sample (Satterthwaite 1946, doi 10.2307/3002019), so this errs
on the wide side. Where every replicate is the same (both sides separate the classes perfectly), an interval
of percentiles has no width: other patients might vary, and these do not say how much. No equivalence is then
shown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm, sem
from scipy.stats import t as student

PATIENTS, BOTH = "patients", "patients and trainings"
ROUNDING = 1e-12  # a replicate as small beside 1, or beside the largest replicate, is 0


@dataclass(frozen=True, eq=False)
class Estimate:
    """A quantity, or k of them at once, and how it varied over resamples.

    value: in the data, float or (k,); replicates: float64 (resamples,) or (resamples, k), NaN where a
        resample leaves the quantity undefined.
    patients: of the smaller class, None for plain percentiles; folds: in which they were resampled.
    degrees: degrees of freedom of the quantile where they are not patients - folds.
    resampled: `PATIENTS` or `BOTH`.

    >>> normal = norm.ppf(np.arange(1, 2000) / 2000)
    >>> few = Estimate(0.02, 0.02 + 0.01 * normal, patients=20, folds=5)
    >>> low, high = few.interval(0.95)
    >>> round(low, 3), round(high, 3), round(few.p_value(), 3)
    (-0.005, 0.045, 0.105)
    >>> (few - few).value
    0.0
    """

    value: float | np.ndarray
    replicates: np.ndarray
    patients: int | None = None
    folds: int = 1
    degrees: float | None = None
    resampled: str = PATIENTS

    @property
    def sample(self) -> tuple[int | None, int, float | None]:
        return self.patients, self.folds, self.degrees

    def interval(self, confidence: float) -> tuple:
        """Expanded percentile interval: low and high, floats or (k,) each; NaN where a replicate is.

        Both ends are replicates (no interpolation); it excludes 0 exactly where p_value() is below
        1 - confidence as a decimal (0.05, where 1 - 0.95 is 4e-17 more in floating point).
        ValueError: too few resamples for that confidence, or no more patients than folds.
        """
        tail, resamples = _tail(confidence, *self.sample), len(self.replicates)
        # Rounded, as 0.025 * 2000 must be 50 although (1 - 0.95) / 2 is a little more than 0.025.
        rank = math.ceil(round(tail * (resamples + 1), 9)) - 1
        if rank < 1:
            raise ValueError(self._too_few(confidence))
        defined = np.isfinite(self.replicates).all(axis=0)
        ends = np.where(defined, np.sort(self._settled(), axis=0)[[rank - 1, -rank]], np.nan)
        return tuple(ends) if ends.ndim > 1 else tuple(ends.tolist())

    def p_value(self) -> float:
        """Two-sided p, in (0, 1], of the hypothesis that the true value is 0: the inverse of `interval`.

        From the share of replicates beyond 0; each tail counts one more than there are, so that p is never 0
        (Davison & Hinkley 1997, doi 10.1017/CBO9780511802843), and zeros count for both tails.
        """
        if not np.isfinite(self.replicates).all():
            return math.nan
        settled = self._settled()
        beyond = min(int((settled <= 0).sum()), int((settled >= 0).sum()))
        tail = (beyond + 1) / (len(self.replicates) + 1)
        if tail >= 0.5 or self.patients is None:
            return min(2 * tail, 1.0)
        degrees = degrees_left(self.patients, self.folds)
        quantile = norm.isf(tail) * math.sqrt(degrees / self.patients)
        return float(2 * student.sf(quantile, self.degrees or degrees))

    def smallest_p(self) -> float:
        """The p-value if all replicates pointed one way: none can be smaller."""
        return replace(self, replicates=np.ones(len(self.replicates))).p_value()

    def equivalence(self, margin: float, confidence: float) -> tuple[float, float, float]:
        """Is the true value too small to matter? Both ends of an interval, and a p-value.

        It is shown to lie within (-margin, margin) where two one-sided tests reject, each at level
        1 - confidence: that it is -margin or less, and that it is margin or more. That is so exactly where
        the interval of confidence 2 c - 1 (90% for c = 95%), returned here, lies inside (Schuirmann 1987, doi
        10.1007/BF01068419). p is the larger of the two: both must reject, so nothing is to be corrected
        between them (Berger & Hsu 1996, doi 10.1214/ss/1032280304). It is 1 where no replicate differs from
        another: data without variation tell nothing of how far the true value may lie from them.
        """
        if margin <= 0:
            raise ValueError(f"the margin of equivalence is {margin}; give one above 0, for example 0.01")
        if confidence <= 0.5:
            raise ValueError(f"confidence is {confidence}; equivalence needs one above 0.5, for example 0.95")
        low, high = self.interval(2 * confidence - 1)
        if np.ptp(self._settled()) == 0:
            return low, high, 1.0
        moved = self.replicates - margin, -margin - self.replicates
        return low, high, max(replace(self, replicates=draws)._p_below_zero() for draws in moved)

    def share_of(self, whole: "Estimate", confidence: float) -> tuple[float, float, float]:
        """self / whole with both ends, replicate i of both being of the same resample.

        A share p is in the interval where the replicates of `part - p whole` do not exclude 0: Fieller's
        idea (1954, J R Stat Soc B 16:175), read from replicates in place of normal quantiles. Where every
        replicate of the whole has one sign, that is the interval of the ratios. There is none (NaN three
        times) where the whole is not shown to differ from 0: any share would then agree with the data.
        """
        strongest = _strongest([self, whole], confidence)
        low, high = replace(strongest, replicates=whole.replicates).interval(confidence)
        if low <= 0 <= high or whole.value == 0:
            return math.nan, math.nan, math.nan
        part_draws, whole_draws = np.sign(low) * self.replicates, np.sign(low) * whole.replicates
        right = whole_draws > 0
        ratios = part_draws[right] / whole_draws[right]
        # The few replicates of the other sign speak for no share: they count as beyond both ends, which errs
        # wide. They are fewer than those outside either end of an interval, so that both ends are ratios.
        ends = []
        for side, beyond in enumerate((ratios.min() - 1, ratios.max() + 1)):
            draws = np.full(len(right), beyond)
            draws[right] = ratios
            ends.append(replace(strongest, replicates=draws).interval(confidence)[side])
        return float(self.value / whole.value), *ends

    def p_best(self) -> np.ndarray:
        """Of each of k quantities, (k,) p of the hypothesis that no other one is truly larger.

        Those with p of 1 - confidence or more are a confidence set for the largest: it covers the truly
        largest in that share of studies, whichever came first in the data, so nothing is to be corrected for
        that choice (multiple comparisons with the best, Hsu 1984, Ann Statist 12:1136). The statistic is the
        largest lead over the quantity in standard errors; resamples say how large it gets by chance.

        >>> noise = np.random.default_rng(0).normal(0, 0.01, (2000, 3))
        >>> Estimate(np.array([0.8, 0.81, 0.7]), np.array([0.8, 0.81, 0.7]) + noise).p_best().round(2)
        array([0.4 , 0.87, 0.  ])
        """
        p = np.ones(len(self.value))
        for own in range(len(p) if len(p) > 1 else 0):
            leads, draws = (np.delete(x - x[..., [own]], own, -1) for x in (self.value, self.replicates))
            # Where two quantities never differ, neither leads.
            errors = np.maximum(draws.std(axis=0), 1e-12)
            beyond = ((draws - leads) / errors).max(axis=1) - (leads / errors).max()
            p[own] = replace(self, value=0.0, replicates=beyond)._p_below_zero()
        return p

    def columns(self, which: np.ndarray | int) -> "Estimate":
        """Some of the k quantities, in the order of their numbers in `which`; or the one of that number."""
        value, replicates = self.value[which], self.replicates[:, which]
        return replace(self, value=value if value.ndim else float(value), replicates=replicates)

    def mean_of_runs(self, weights: np.ndarray | None = None, settings: int = 0) -> "Estimate":
        """The mean of the k quantities, each of one trained run; over other trainings too, given weights.

        The variance is then a sum of two, the patients' and what the trainings add; its degrees of freedom
        are Satterthwaite's, of patients less folds and of runs less settings.

        weights: (resamples, k) of `run_weights`; settings: how many the k runs have, counted in each fold.
        """
        value, of_patients = float(np.mean(self.value)), self.replicates.mean(axis=1)
        if weights is None:
            return replace(self, value=value, replicates=of_patients)
        of_both = (self.replicates * weights).mean(axis=1)
        alone = of_patients.var()
        added = max(of_both.var() - alone, 0.0)
        spare = self.patients - self.folds, weights.shape[1] - settings
        terms = alone**2 / spare[0] + added**2 / spare[1]
        degrees = float((alone + added) ** 2 / terms) if terms > 0 else float(spare[0])
        return replace(self, value=value, replicates=of_both, degrees=degrees, resampled=BOTH)

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The difference, where replicate i of both is of the same resample, or both are independent.

        It is corrected for few patients as `mean_of` is.
        """
        value, replicates = self.value - other.value, self.replicates - other.replicates
        return replace(_strongest([self, other]), value=value, replicates=replicates)

    def _settled(self) -> np.ndarray:
        """The replicates, those that are 0 but for rounding set to 0.

        A mean of differences that cancel is 0, or 1e-17 of either sign, as the order of its summands has it.
        """
        size = np.abs(self.replicates)
        return np.where(size <= ROUNDING * size.max(axis=0, initial=1), 0.0, self.replicates)

    def _p_below_zero(self) -> float:
        """One-sided p-value of the hypothesis that the true value is 0 or more."""
        half = self.p_value() / 2
        return half if np.median(self.replicates) < 0 else 1 - half

    def _too_few(self, confidence: float) -> str:
        where, more = "", "use more patients or fewer folds"
        if self.patients is not None:
            where = f" with {self.patients} patients in the smaller class over {self.folds} fold(s)"
        if self.degrees is not None:
            where += f" and {self.degrees:.1f} degrees of freedom"
            more = "use more patients or more seeds"
        needed = resamples_needed(confidence, *self.sample)
        remedy = f"take at least {needed}" if needed <= 100_000 else more
        return (
            f"{len(self.replicates)} resamples are too few for a {confidence:.0%} interval{where}; {remedy}"
        )


def mean_of(estimates: Sequence[Estimate], confidence: float) -> Estimate:
    """The mean of estimates that were resampled independently, each counting the same.

    The correction for few patients is the strongest of any, which errs on the wide side.

    >>> mean_of([Estimate(0.1, np.zeros(9), patients) for patients in (90, 20)], 0.95).patients
    20
    """
    value = np.mean([one.value for one in estimates], axis=0)
    replicates = np.mean([one.replicates for one in estimates], axis=0)
    return replace(_strongest(estimates, confidence), value=value, replicates=replicates)


def stacked(estimates: Sequence[Estimate]) -> Estimate:
    """Estimates over the same resamples as one of k quantities; corrected for few patients as `mean_of` is.

    >>> stacked([Estimate(0.1, np.zeros(9), 90), Estimate(0.2, np.ones(9), 90)]).columns(1).value
    0.2
    """
    value, replicates = np.array([x.value for x in estimates]), [x.replicates for x in estimates]
    return replace(_strongest(estimates), value=value, replicates=np.stack(replicates, axis=1))


def resamples_needed(
    confidence: float, patients: int | None = None, folds: int = 1, degrees: float | None = None
) -> int:
    """Number of resamples with which an interval can be had at all (good ones take ten times as many).

    >>> resamples_needed(0.95), resamples_needed(0.95, patients=10)
    (40, 117)
    """
    return math.ceil(1 / max(_tail(confidence, patients, folds, degrees), 1e-12))


def students_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Student's interval of the mean of (n,) independent figures (1908, doi 10.1093/biomet/6.1.1).

    Of trainings that are all tested on the same patients it is enough where the mean over all possible
    trainings is known, whoever is tested, as in a negative control: swapping two draws of random weights
    turns the sign of their difference, turning round shuffled labels makes 1 - AUC of an AUC (nearly so where
    classes differ in size). Trainings then miss the known number independently, and by what they miss it
    holds both kinds of variation. A bootstrap of patients would hold the networks fixed, and one that learnt
    nothing may well point to one side; one of patients and trainings counts the patients twice.

    >>> low, high = students_interval([0.48, 0.5, 0.55], 0.95)
    >>> round(low, 3), round(high, 3)
    (0.42, 0.6)
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"figures of shape {values.shape} give no interval over trainings; two finite ones are the least"
        )
    half = student.isf((1 - confidence) / 2, len(values) - 1) * sem(values)
    return float(values.mean() - half), float(values.mean() + half)


def _strongest(estimates: Sequence[Estimate], confidence: float = 0.95) -> Estimate:
    """The one whose few patients widen an interval most."""
    return max(estimates, key=lambda one: resamples_needed(confidence, *one.sample))


def _tail(confidence: float, patients: int | None, folds: int, degrees: float | None) -> float:
    """Share of replicates below the interval, and above it."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1, for example 0.95")
    tail = (1 - confidence) / 2
    if patients is None:
        return tail
    df = degrees_left(patients, folds)
    return float(norm.sf(student.isf(tail, degrees or df) * math.sqrt(patients / df)))


def degrees_left(patients: int, folds: int) -> int:
    """Degrees of freedom of resampled patients; ValueError where there are none."""
    if patients <= folds:
        raise ValueError(
            f"{patients} patients in the smaller class over {folds} folds leave no degree of freedom for an "
            "interval; use fewer folds or more patients"
        )
    return patients - folds
