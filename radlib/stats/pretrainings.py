"""Intervals over other test patients *and* other pretrainings of the same sources, or other trainings.

A source that was pretrained once gives a statement about these weights. With P pretrainings of each network,
the mean AUC of a source varies from one set of pretrainings to the next by

    u = sum over networks of s^2 / (P K^2),

s^2 the variance between the P pretrainings of one of K networks. Test patients alone would make i of s^2: the
mean of s^2 over resamples of patients, less s^2, for a resample adds what patients add once more. So the
variance of the mean is u + c, c that of the bootstrap of patients less their part of u. The degrees of
freedom of u are d = K (P - 1) for one source (fewer where P is not the same for all networks: those with the
fewest pretrainings then make most of u) and Welch's for two (1947, doi 10.1093/biomet/34.1-2.28), those of
the sum, with those of patients, are Satterthwaite's (1946, doi 10.2307/3002019); he takes u for the truth.
Seen with one or two degrees it is often far below that, so here u stands at the upper end of its one-sided
70 % interval (70 by simulation: 09_validity). Each replicate is multiplied by its own sqrt(degrees / chi^2),
which gives them the tails of that Student's t. Of trainings, seeds are replicates and settings networks.

Networks are fixed, or with `sample_of_networks` drawn from all networks that one might have taken: then u is
the variance between the K differences over K, with K - 1 degrees of freedom. Three networks may agree by
chance better than patients and pretrainings allow, so u is never taken below what these two make of it.

Two pretrainings of a single network are too few where one source varies far more between them than the other:
simulated intervals then held the true value in 91 to 92 % of studies, with three in 94 %, with three networks
of three in all that was tried.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtri

from radlib.stats.estimate import BOTH, ROUNDING, Estimate, degrees_left

SOURCES = "patients and pretrainings"
NETWORKS, NETWORKS_ALONE = "patients, pretrainings and networks", "patients and networks"
UPPER = 0.7  # of the interval of a variance that few replicates give
_REPLICATES = 2**31 + 1  # number of these draws in the seeds of their generators, far from those of folds


@dataclass(frozen=True)
class Between:
    """u, what patients make of it, and its degrees of freedom; count: those if all variances were equal."""

    seen: float
    of_patients: float
    degrees: float
    count: float

    @property
    def own(self) -> float:
        """u without the patients' part; not below 0."""
        return max(self.seen - self.of_patients, 0.0)


@dataclass(frozen=True)
class Components:
    """A difference over other test patients, and the parts of its variance; spend on the largest.

    networks: how many it averages. among_networks: None for a single one.
    """

    difference: Estimate
    networks: int
    among_pretrainings: Between
    among_networks: Between | None

    @property
    def network(self) -> float:
        """Variance that a sample of networks adds."""
        among = self.among_networks
        return max(among.own - self.among_pretrainings.own, 0.0) if among else np.nan


def over_pretrainings(parts: Components, seed: int, sample_of_networks: bool = False) -> Estimate:
    """The difference over other patients, other pretrainings and, if asked for, other networks.

    A source with one pretraining of every network counts as fixed: of it the interval says "these weights".
    Where both have one, other networks, each with a pretraining of its own, are all that it can speak of.

    Raises:
        ValueError: one network as a sample of networks.

    >>> aucs, rng = np.array([0.8, 0.82, 0.81, 0.7, 0.74, 0.71]), np.random.default_rng(0)
    >>> runs = Estimate(aucs, aucs + rng.normal(0, 1e-3, (2000, 6)), patients=99)
    >>> parts = components(runs, np.repeat([0, 1], 3), np.full(6, "resnet50"))
    >>> found = over_pretrainings(parts, seed=0)
    >>> round(found.value, 2), found.resampled, found.p_value() < 0.05
    (0.09, 'patients and pretrainings', True)
    """
    several, few = parts.among_pretrainings, parts.among_networks
    if not sample_of_networks:
        return _over(parts.difference, several, seed, SOURCES) if several.degrees else parts.difference
    if few is None:
        raise ValueError("one network is no sample of networks; give two or more")
    least = max(few.of_patients, 0.0) + several.own
    held = NETWORKS if several.degrees else NETWORKS_ALONE
    return _over(parts.difference, replace(few, seen=max(few.seen, least)), seed, held)


def over_trainings(runs: Estimate, settings: np.ndarray, seed: int) -> Estimate:
    """The mean of k runs over other patients and other trainings; settings: (k,) names, of each fold its own.

    ValueError: a setting with a single run.

    >>> aucs = Estimate(np.array([0.1, 0.2]), np.tile([0.1, 0.2], (2000, 1)), patients=99)
    >>> found = over_trainings(aucs, np.array(["x", "x"]), seed=0)
    >>> round(found.value, 2), found.resampled, found.p_value() > 0.1
    (0.15, 'patients and trainings', True)
    """
    names, counts = np.unique(settings, return_counts=True)
    if counts.min() == 1:
        raise ValueError(
            f"setting {names[counts.argmin()]} has a single run, which says nothing of the variation between "
            "trainings; train every setting with two seeds or more"
        )
    groups = [runs.columns(np.flatnonzero(settings == name)) for name in names]
    shares = (counts / len(settings)) ** 2
    parts = shares @ [_seen(one.value, one.replicates) for one in groups]
    return _over(runs.mean_of_runs(), Between(*parts, *[len(settings) - len(names)] * 2), seed, BOTH)


def _over(mean: Estimate, between: Between, seed: int, resampled: str) -> Estimate:
    deviations, number = mean.replicates - mean.value, len(mean.replicates)
    alone = deviations.var()
    if between.seen <= ROUNDING * alone:
        return replace(mean, resampled=resampled)
    common = max(alone - max(between.of_patients, 0.0), 0.0)
    # What `Estimate.interval` does for few patients is done here for their part alone.
    left = np.inf if mean.patients is None else degrees_left(mean.patients, mean.folds)
    common *= 1.0 if mean.patients is None else mean.patients / left
    upper = between.seen * between.count / chdtri(between.count, UPPER)
    spare = (upper / (common + upper)) ** 2 / between.degrees + (common / (common + upper)) ** 2 / left
    degrees = min(1 / spare, 1e9)
    rng = np.random.default_rng([seed, _REPLICATES])
    tails = np.sqrt(degrees / chdtri(degrees, (rng.permutation(number) + 0.5) / number))
    drawn = np.sqrt(between.seen) * rng.standard_normal(number)
    deviations = np.sqrt(common / alone if alone else 0.0) * deviations + drawn
    draws = mean.value + tails * deviations
    return replace(mean, replicates=draws, patients=None, folds=1, resampled=resampled)


def components(found: Estimate, sides: np.ndarray, networks: np.ndarray) -> Components:
    """The difference a - b of the means over networks, of which each counts the same, and what it varies by.

    Args:
        found: AUC (or Dice) of k pretrained networks, resampled with the same patients.
        sides: (k,) 0 for source a, 1 for b; networks: (k,) names.
    Raises:
        ValueError: a network without weights of both sources, or once and elsewhere several times
            pretrained on one source.

    >>> aucs = np.array([0.8, 0.84, 0.7, 0.74])
    >>> runs = Estimate(aucs, np.tile(aucs, (9, 1)), patients=99)
    >>> round(components(runs, np.repeat([0, 1], 2), np.full(4, "resnet50")).among_pretrainings.own, 6)
    0.0008
    """
    names = np.unique(networks)
    cells = [(networks[:, np.newaxis] == names) & (sides == side)[:, np.newaxis] for side in (0, 1)]
    counts = [own.sum(axis=0) for own in cells]
    a, b = (
        _of_source([found.columns(np.flatnonzero(own)) for own in side.T], source)
        for side, source in zip(cells, "ab", strict=True)
    )
    seen = a.seen + b.seen
    spare = sum(one.seen**2 / one.degrees for one in (a, b) if one.degrees)
    count = _degrees(np.concatenate(counts))
    between = Between(seen, a.of_patients + b.of_patients, seen**2 / spare if spare else count, count)
    shares = cells[0] / counts[0] - cells[1] / counts[1]
    each = replace(found, value=found.value @ shares, replicates=found.replicates @ shares)
    few = [len(names) - 1] * 2
    among = Between(*_seen(each.value, each.replicates), *few) if len(names) > 1 else None
    return Components(each.mean_of_runs(), len(names), between, among)


def _of_source(own: list[Estimate], source: str) -> Between:
    """own: of every network, the AUC of each of its pretrainings on the source."""
    counts = np.array([len(one.value) for one in own])
    if min(counts) == 0:
        raise ValueError(f"a network has no weights of source {source}; leave it out on both sides")
    if max(counts) == 1:
        return Between(0.0, 0.0, 0.0, 0.0)
    if min(counts) == 1:
        raise ValueError(
            f"source {source} has one pretraining of some network and several of others; pretrain it "
            "again or report it apart"
        )
    parts = np.sum([_seen(one.value, one.replicates) for one in own], axis=0) / len(own) ** 2
    return Between(*parts.tolist(), *[_degrees(counts)] * 2)


def _degrees(counts: np.ndarray) -> float:
    """Satterthwaite's, of a sum of variances of means of so many values; a single value has no variance."""
    several = counts[counts > 1].astype(float)
    spare = (1 / (several**2 * (several - 1))).sum()
    return float((1 / several).sum() ** 2 / spare) if len(several) else 0.0


def _seen(values: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    """Variance of the mean of (n,) values, and what patients make of it in (resamples, n) draws."""
    seen = values.var(ddof=1) / len(values)
    return float(seen), float(draws.var(axis=1, ddof=1).mean() / len(values) - seen)
