"""Intervals about sources of weights: over other test patients *and* other pretrainings of the same source.

A source that was pretrained once gives a statement about these weights. With P pretrainings of each network,
the mean AUC of a source varies from one set of pretrainings to the next by

    V = sum over networks of tau^2 / (P K^2),   tau^2 = max(s^2 - i, 0),

s^2 the variance between the P pretrainings of one of K networks, and i what test patients alone would make of
it: the mean of s^2 over resamples of patients, less s^2, for a resample adds what patients add once more. The
patients' part of the difference, i included, is in the bootstrap of patients already. What pretraining adds
is drawn from Student's t with the degrees of freedom of V, K (P - 1) for one source and Welch-Satterthwaite's
for two (1946, doi 10.2307/3002019), and added to the replicates; the sum of both distributions is that of
Behrens and Fisher (Fisher 1935, doi 10.1111/j.1469-1809.1935.tb02120.x), which errs on the wide side.

Networks are fixed, or with `sample_of_networks` drawn from all networks that one might have taken: then V is
the variance between the K differences over K, with K - 1 degrees of freedom, and never less than the above.
"""

from dataclasses import dataclass, replace

import numpy as np

from radlib.stats.estimate import Estimate

SOURCES = "patients and pretrainings"
NETWORKS = "patients, pretrainings and networks"
_PRETRAININGS = 3  # number of these draws in the seeds of their generators


@dataclass(frozen=True)
class Components:
    """A difference over other test patients, and the parts of its variance; spend on the largest.

    networks: how many it averages. patients: of the bootstrap; pretraining: V, with its degrees of freedom;
    network: what a sample of networks adds, NaN for a single one.
    """

    difference: Estimate
    networks: int
    patients: float
    pretraining: float
    pretraining_degrees: float
    network: float


def over_pretrainings(parts: Components, seed: int, sample_of_networks: bool = False) -> Estimate:
    """The difference over other patients, other pretrainings and, if asked for, other networks.

    A source with one pretraining of every network counts as fixed: of it the interval says "these weights".

    Raises:
        ValueError: one network as a sample of networks.

    >>> aucs, rng = np.array([0.8, 0.82, 0.81, 0.7, 0.74, 0.71]), np.random.default_rng(0)
    >>> runs = Estimate(aucs, aucs + rng.normal(0, 1e-3, (2000, 6)), patients=99)
    >>> parts = components(runs, np.repeat([0, 1], 3), np.full(6, "resnet50"))
    >>> found = over_pretrainings(parts, seed=0)
    >>> round(found.value, 2), found.resampled, found.p_value() < 0.05
    (0.09, 'patients and pretrainings', True)
    """
    difference, held = parts.difference, SOURCES
    variance, degrees = parts.pretraining, parts.pretraining_degrees
    if sample_of_networks:
        if parts.networks == 1:
            raise ValueError("one network is no sample of networks; give two or more")
        variance, degrees, held = variance + parts.network, parts.networks - 1, NETWORKS
    if not variance:
        return replace(difference, resampled=held) if degrees else difference
    rng = np.random.default_rng([seed, _PRETRAININGS])
    drawn = np.sqrt(variance) * rng.standard_t(degrees, len(difference.replicates))
    return replace(difference, replicates=difference.replicates + drawn, resampled=held)


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
    >>> round(components(runs, np.repeat([0, 1], 2), np.full(4, "resnet50")).pretraining, 6)
    0.0008
    """
    by_network = [found.columns(np.flatnonzero(networks == name)) for name in np.unique(networks)]
    of_side = [sides[networks == name] for name in np.unique(networks)]
    variances, degrees = zip(*(_of_source(by_network, of_side, side) for side in (0, 1)), strict=True)
    total = sum(variances)
    spare = sum(v**2 / d for v, d in zip(variances, degrees, strict=True) if d)
    between = np.nan
    if len(by_network) > 1:
        each = [
            _difference(one, own, np.zeros(len(own))) for one, own in zip(by_network, of_side, strict=True)
        ]
        values, draws = (
            np.array([one.value for one in each]),
            np.stack([one.replicates for one in each], axis=1),
        )
        between = max(_without_patients(values, draws) / len(each) - total, 0.0)
    difference = _difference(found, sides, networks)
    patients, freedom = float(difference.replicates.var()), total**2 / spare if spare else float(sum(degrees))
    return Components(difference, len(by_network), patients, total, freedom, between)


def _of_source(by_network: list[Estimate], of_side: list[np.ndarray], side: int) -> tuple[float, int]:
    """V of one source, and its degrees of freedom."""
    own = [
        found.columns(np.flatnonzero(sides == side)) for found, sides in zip(by_network, of_side, strict=True)
    ]
    counts = [len(one.value) for one in own]
    if min(counts) == 0:
        raise ValueError(f"a network has no weights of source {'ab'[side]}; leave it out on both sides")
    if max(counts) == 1:
        return 0.0, 0
    if min(counts) == 1:
        raise ValueError(
            f"source {'ab'[side]} has one pretraining of some network and several of others; pretrain it "
            "again or report it apart"
        )
    parts = [_without_patients(one.value, one.replicates) / len(one.value) for one in own]
    return sum(parts) / len(own) ** 2, sum(count - 1 for count in counts)


def _without_patients(values: np.ndarray, draws: np.ndarray) -> float:
    """Variance between (n,) values, less what patients in (resamples, n) draws make of it; not below 0."""
    seen = float(values.var(ddof=1))
    return max(2 * seen - float(draws.var(axis=1, ddof=1).mean()), 0.0)


def _difference(found: Estimate, sides: np.ndarray, networks: np.ndarray) -> Estimate:
    names = np.unique(networks)
    shares = np.zeros(len(sides))
    for side, sign in ((0, 1), (1, -1)):
        for name in names:
            own = (sides == side) & (networks == name)
            shares[own] = sign / (own.sum() * len(names))
    return replace(found, value=float(found.value @ shares), replicates=found.replicates @ shares)
