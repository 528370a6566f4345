"""Intervals about sources of weights: over other test patients *and* other pretrainings of the same source.

A source that was pretrained once gives a statement about these weights. With P pretrainings of each network,
the mean AUC of a source varies from one set of pretrainings to the next by

    u = sum over networks of s^2 / (P K^2),

s^2 the variance between the P pretrainings of one of K networks. Test patients alone would make i of s^2: the
mean of s^2 over resamples of patients, less s^2, for a resample adds what patients add once more. The degrees
of freedom of u are K (P - 1) for one source and Welch-Satterthwaite's for two (Welch 1947, doi
10.1093/biomet/34.1-2.28). `radlib.stats.estimate` says how the interval holds both patients and pretrainings.

Networks are fixed, or with `sample_of_networks` drawn from all networks that one might have taken: then u is
the variance between the K differences over K, with K - 1 degrees of freedom, and adds never less.
"""

from dataclasses import dataclass, replace

import numpy as np

from radlib.stats.estimate import Between, Estimate

SOURCES = "patients and pretrainings"
NETWORKS = "patients, pretrainings and networks"
_PRETRAININGS = 3  # number of these draws in the seeds of their generators


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
    def patients(self) -> float:
        return float(self.difference.replicates.var())

    @property
    def pretraining(self) -> float:
        return self.among_pretrainings.own

    @property
    def network(self) -> float:
        """What a sample of networks adds."""
        return max(self.among_networks.own - self.pretraining, 0.0) if self.among_networks else np.nan


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
    between, held = parts.among_pretrainings, SOURCES
    if sample_of_networks:
        if parts.networks == 1:
            raise ValueError("one network is no sample of networks; give two or more")
        few, held = parts.among_networks, NETWORKS
        between = few if parts.network > 0 else replace(between, degrees=few.degrees, count=few.count)
    if not between.degrees:
        return parts.difference
    rng = np.random.default_rng([seed, _PRETRAININGS])
    drawn = np.sqrt(between.seen) * rng.standard_normal(len(parts.difference.replicates))
    return parts.difference.over_replicates(between, drawn, held)


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
    a, b = (_of_source(by_network, of_side, side) for side in (0, 1))
    seen = a.seen + b.seen
    spare = sum(one.seen**2 / one.degrees for one in (a, b) if one.degrees)
    count = a.count + b.count
    between = Between(seen, a.of_patients + b.of_patients, seen**2 / spare if spare else count, count)
    among = None
    if len(by_network) > 1:
        pairs = zip(by_network, of_side, strict=True)
        each = [_difference(one, own, np.zeros(len(own))) for one, own in pairs]
        draws = np.stack([one.replicates for one in each], axis=1)
        among = Between(*_seen(np.array([one.value for one in each]), draws), *[len(each) - 1] * 2)
    return Components(_difference(found, sides, networks), len(by_network), between, among)


def _of_source(by_network: list[Estimate], of_side: list[np.ndarray], side: int) -> Between:
    pairs = zip(by_network, of_side, strict=True)
    own = [found.columns(np.flatnonzero(sides == side)) for found, sides in pairs]
    counts = [len(one.value) for one in own]
    if min(counts) == 0:
        raise ValueError(f"a network has no weights of source {'ab'[side]}; leave it out on both sides")
    if max(counts) == 1:
        return Between(0.0, 0.0, 0, 0)
    if min(counts) == 1:
        raise ValueError(
            f"source {'ab'[side]} has one pretraining of some network and several of others; pretrain it "
            "again or report it apart"
        )
    parts = np.sum([_seen(one.value, one.replicates) for one in own], axis=0) / len(own) ** 2
    return Between(*parts.tolist(), *[sum(counts) - len(own)] * 2)


def _seen(values: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    """Variance of the mean of (n,) values, and what patients make of it in (resamples, n) draws."""
    seen = values.var(ddof=1) / len(values)
    return float(seen), float(draws.var(axis=1, ddof=1).mean() / len(values) - seen)


def _difference(found: Estimate, sides: np.ndarray, networks: np.ndarray) -> Estimate:
    names = np.unique(networks)
    shares = np.zeros(len(sides))
    for side, sign in ((0, 1), (1, -1)):
        for name in names:
            own = (sides == side) & (networks == name)
            shares[own] = sign / (own.sum() * len(names))
    return replace(found, value=float(found.value @ shares), replicates=found.replicates @ shares)
