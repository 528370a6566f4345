"""Near-identical images among a million: pairs by perceptual hash and thumbnail, without comparing all.

Two images are near-identical when their hashes differ in at most a few bits and their thumbnails correlate by
at least 0.95: the hash alone confuses images with little texture.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise, product

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from radlib.data.facts import THUMBNAIL
from radlib.data.packing import release

LEAST_CORRELATION = 0.95
NAMED = 10_000
_HASH_BITS = 64
_PAIRS = 1024  # their thumbnails, each with the 64 kB that the system reads around it, are 130 MB
_PIECE = 1 << 16


@dataclass(frozen=True)
class Near:
    """What is near-identical among n images.

    pairs: how many; between: of them, of two patients who are known for certain. links: int (k, 2), rows: not
    every pair, but what pairs hold together these do, too. contradicting: bool (n,), near-identical to an
    image with another label. named: int (m, 2), rows of the pairs with two labels in ascending order;
    `NAMED` of them where there are more.
    """

    pairs: int
    between: int
    links: np.ndarray
    contradicting: np.ndarray
    named: np.ndarray


def find_near(
    facts: np.ndarray,
    thumbnails: np.ndarray,
    rows: np.ndarray,
    classes: np.ndarray,
    patients: np.ndarray,
    bits: int,
    certain: bool,
) -> Near:
    """Near-identical images among `rows`.

    Images alike in hash, thumbnail, class and patient are of one kind and share every verdict. Kinds are
    compared, not images, so that the thousandth copy of a picture costs no more than the second.

    Args:
        facts: FACTS (n,). thumbnails: uint8 (n, 32, 32), which may be a memory map. rows: ascending.
        classes, patients: int (n,), codes; -1 is an unknown patient. Two labels of one known patient
            contradict nothing: neighbouring slices may truly differ.
        bits: hashes that differ in at most so many bits are compared by thumbnail.
        certain: patients are known to be people. Then near-identical images of two of them are counted, no
            more: of a million slices many look alike, and would make all patients one.
    """
    # The thumbnail of a picture with hardly anything in it is one grey, which correlates with nothing.
    rows = rows[~facts["flat"][rows]]
    twins = np.unique(facts["twin"][rows], return_inverse=True)[1]
    alike = {"hash": facts["phash"][rows], "twin": twins, "class": classes[rows], "patient": patients[rows]}
    kinds = pd.DataFrame(alike).groupby(list(alike), sort=False).ngroup().to_numpy()
    sizes = np.bincount(kinds)
    first = rows[np.unique(kinds, return_index=True)[1]]
    total, between = int((sizes * (sizes - 1) // 2).sum()), 0
    links, against = np.column_stack([first[kinds], rows]), np.empty((0, 2), dtype=int)
    contradicting = np.zeros(len(first), dtype=bool)
    for pairs in _correlated(facts["phash"][first], thumbnails, first, bits):
        total += int(sizes[pairs].prod(axis=1).sum())
        if certain:
            one, other = patients[first[pairs]].T
            apart = (one >= 0) & (other >= 0) & (one != other)
            between += int(sizes[pairs[apart]].prod(axis=1).sum())
            pairs = pairs[~apart]
        links = np.concatenate([links, first[pairs]])
        if len(links) > 4 * len(facts):  # all pairs of thousands of copies would be millions
            links = _spanning(links, len(facts))
        (one, other), (label, other_label) = patients[first[pairs]].T, classes[first[pairs]].T
        two_labels = pairs[(label != other_label) & ((one != other) | (one < 0))]
        contradicting[two_labels.ravel()] = True
        against = np.concatenate([against, two_labels[: NAMED - len(against)]])
    of_rows = np.zeros(len(facts), dtype=bool)
    of_rows[rows] = contradicting[kinds]
    return Near(total, between, links, of_rows, _named(against, rows, kinds))


def first_linked(links: np.ndarray, count: int) -> np.ndarray:
    """The first of those that each of `count` rows is linked to, directly or through others; int (count,)."""
    graph = coo_array((np.ones(len(links), dtype=bool), tuple(links.T)), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    return np.unique(component, return_index=True)[1][component]


def _spanning(links: np.ndarray, count: int) -> np.ndarray:
    """No more links than hold the same rows together."""
    first = first_linked(links, count)
    linked = np.flatnonzero(first != np.arange(count))
    return np.column_stack([linked, first[linked]])


def _named(pairs: np.ndarray, rows: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Pairs of kinds as pairs of rows."""
    some = np.isin(kinds, pairs)
    members = pd.Series(rows[some]).groupby(kinds[some]).agg(list)
    found = (pair for a, b in pairs for pair in product(members[a], members[b]))
    named = sorted((min(pair), max(pair)) for pair in islice(found, NAMED))
    return np.array(named, dtype=int).reshape(-1, 2)


# Pairs ------------------------------------------------------------------------------------------------------
def _correlated(
    hashes: np.ndarray, thumbnails: np.ndarray, rows: np.ndarray, bits: int
) -> Iterator[np.ndarray]:
    """Pairs of places in `rows`, int (k, 2), whose hashes are close and whose thumbnails correlate."""
    for pairs in close_hashes(hashes, bits):
        alike = []
        for some in np.array_split(pairs, len(pairs) // _PAIRS + 1):
            first, second = (_centred(thumbnails[rows[some[:, side]]]) for side in (0, 1))
            alike.append(some[np.einsum("ij,ij->i", first, second) >= LEAST_CORRELATION])
            release(thumbnails)
        yield np.concatenate(alike)


def _centred(thumbnails: np.ndarray) -> np.ndarray:
    """float32 (k, 1024) of mean 0 and length 1, so that products are correlations; one grey becomes 0."""
    flat = thumbnails.reshape(-1, THUMBNAIL**2).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
    return flat


def close_hashes(hashes: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    """All pairs of 64-bit hashes that differ in at most `bits` bits, each once, int (k, 2), piece by piece.

    Cut into `bits + 1` bands, two such hashes agree in at least one of them, since fewer bits than bands
    differ (as in multi-index hashing: Norouzi M. et al., CVPR 2012, doi 10.1109/CVPR.2012.6248043). So only
    hashes that agree in a band are compared: for two bits and random hashes, about one pair in a million. The
    more bits, the narrower the bands; from about ten bits on, most pairs are compared after all.

    Args:
        hashes: uint64 (n,).
    """
    edges = np.linspace(0, _HASH_BITS, bits + 2).astype(int).tolist()
    masks = [np.uint64((1 << high) - (1 << low)) for low, high in pairwise(edges)]
    pieces = [np.empty((0, 2), dtype=int)]
    for number, mask in enumerate(masks):
        for pairs in _equal(hashes & mask):
            differing = hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]
            close = np.bitwise_count(differing) <= bits
            # A pair that agrees in an earlier band was found there.
            for earlier in masks[:number]:
                close &= (differing & earlier) != 0
            pieces.append(pairs[close])
            if sum(map(len, pieces)) >= _PIECE:
                yield np.concatenate(pieces)
                pieces = []
    if pieces:
        yield np.concatenate(pieces)


def _equal(keys: np.ndarray) -> Iterator[np.ndarray]:
    """All pairs of equal keys: in sorted order, every key with its first follower, its second, and so on."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first, step = np.arange(len(keys)), 0
    while len(first):
        step += 1
        first = first[: np.searchsorted(first, len(keys) - step)]
        first = first[keys[first] == keys[first + step]]
        yield np.column_stack([order[first], order[first + step]])
