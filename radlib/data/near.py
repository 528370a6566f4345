"""Near-identical images among a million: pairs by perceptual hash and thumbnail, without comparing all.

Two images are near-identical when their hashes differ in at most a few bits and their thumbnails correlate by
at least 0.95: the hash alone confuses images with little texture.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from radlib.data.fingerprints import THUMBNAIL, Fingerprints
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
    prints: Fingerprints,
    rows: np.ndarray,
    classes: np.ndarray,
    patients: np.ndarray,
    bits: int,
    certain: bool = False,
) -> Near:
    """Near-identical images among `rows`.

    Images alike in hash, thumbnail, class and patient are of one kind and share every verdict. Kinds are
    compared, not images, so that the thousandth copy of a picture costs no more than the second.

    Args:
        rows: ascending. classes, patients: int (n,), codes; -1 is an unknown patient. Two labels of one known
            patient contradict nothing: neighbouring slices may truly differ.
        bits: hashes that differ in at most so many bits are compared by thumbnail.
        certain: patients are known to be people. Then near-identical images of two of them are counted, no
            more: of a million slices many look alike, and would make all patients one.
    """
    # The thumbnail of a picture with hardly anything in it is one grey, which correlates with nothing.
    rows = rows[~prints.flat[rows]]
    kinds = _kinds(prints, rows, classes, patients)
    sizes = np.bincount(kinds)
    first = rows[np.unique(kinds, return_index=True)[1]]
    total = int((sizes * (sizes - 1) // 2).sum())
    between, contradicting = 0, np.zeros(len(first), dtype=bool)
    links, against = _Links(len(prints.phash)), []
    links.add(np.column_stack([first[kinds], rows]))
    for pairs in _correlated(prints, first, bits):
        total += int(sizes[pairs].prod(axis=1).sum())
        if certain:
            apart = _of_two_patients(patients[first[pairs]])
            between += int(sizes[pairs[apart]].prod(axis=1).sum())
            pairs = pairs[~apart]
        links.add(first[pairs])
        two_labels = pairs[_contradict(classes[first[pairs]], patients[first[pairs]])]
        contradicting[two_labels.ravel()] = True
        if sum(map(len, against)) < NAMED:
            against.append(two_labels[:NAMED])
    of_rows = np.zeros(len(prints.phash), dtype=bool)
    of_rows[rows] = contradicting[kinds]
    return Near(total, between, links.joined(), of_rows, _named(against, rows, kinds))


def _kinds(prints: Fingerprints, rows: np.ndarray, classes: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """The kind of every row, int (len(rows),), numbered in the order in which they occur."""
    alike = pd.DataFrame(
        {
            "hash": prints.phash[rows],
            "thumbnail": np.unique(prints.twins[rows], return_inverse=True)[1],
            "class": classes[rows],
            "patient": patients[rows],
        }
    )
    return alike.groupby(list(alike), sort=False).ngroup().to_numpy()


def _of_two_patients(patients: np.ndarray) -> np.ndarray:
    """Which pairs (k, 2) are of two different known patients."""
    return (patients >= 0).all(axis=1) & (patients[:, 0] != patients[:, 1])


def _contradict(classes: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Which pairs (k, 2) have two labels and are not of one known patient."""
    one_patient = (patients[:, 0] == patients[:, 1]) & (patients[:, 0] >= 0)
    return (classes[:, 0] != classes[:, 1]) & ~one_patient


def _named(pairs: list[np.ndarray], rows: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Pairs of kinds as pairs of rows."""
    order = np.argsort(kinds, kind="stable")
    starts = np.searchsorted(kinds[order], np.arange(kinds.max(initial=-1) + 2))

    def members(kind: int) -> list[int]:
        return rows[order[starts[kind] : starts[kind + 1]]].tolist()

    found = (pair for some in pairs for a, b in some for pair in product(members(a), members(b)))
    named = sorted((min(pair), max(pair)) for pair in islice(found, NAMED))
    return np.array(named, dtype=int).reshape(-1, 2)


class _Links:
    """Pairs of rows, of which no more are kept than hold the same rows together."""

    def __init__(self, count: int):
        self.count, self.pieces, self.held = count, [np.empty((0, 2), dtype=int)], 0

    def add(self, pairs: np.ndarray) -> None:
        self.pieces.append(pairs)
        self.held += len(pairs)
        if self.held > 4 * self.count:
            self.pieces = [self.joined()]
            self.held = len(self.pieces[0])

    def joined(self) -> np.ndarray:
        """Every row that is linked to others, with the first of them; int (k, 2), k below `count`."""
        links = np.concatenate(self.pieces)
        graph = coo_array((np.ones(len(links), dtype=bool), tuple(links.T)), shape=(self.count,) * 2)
        _, component = connected_components(graph, directed=False)
        first = np.unique(component, return_index=True)[1][component]
        linked = np.flatnonzero(first != np.arange(self.count))
        return np.column_stack([linked, first[linked]])


# Pairs ------------------------------------------------------------------------------------------------------
def _correlated(prints: Fingerprints, rows: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    """Pairs of places in `rows`, int (k, 2), whose hashes are close and whose thumbnails correlate."""
    for pairs in close_hashes(prints.phash[rows], bits):
        for some in np.array_split(pairs, len(pairs) // _PAIRS + 1):
            yield some[_correlation(prints.thumbnails, rows[some]) >= LEAST_CORRELATION]
            release(prints.thumbnails)


def _correlation(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Pearson correlation of the thumbnails of pairs of rows; 0 where one is a single grey."""
    first, second = (_centred(thumbnails[pairs[:, side]]) for side in (0, 1))
    return np.einsum("ij,ij->i", first, second)


def _centred(thumbnails: np.ndarray) -> np.ndarray:
    """float32 (k, 1024) of mean 0 and length 1."""
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
    pieces = []
    for pairs in _agreeing(hashes, bits):
        pieces.append(pairs)
        if sum(map(len, pieces)) >= _PIECE:
            yield np.concatenate(pieces)
            pieces = []
    yield np.concatenate([np.empty((0, 2), dtype=int), *pieces])


def _agreeing(hashes: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    edges = np.linspace(0, _HASH_BITS, bits + 2).astype(int).tolist()
    masks = [np.uint64((1 << high) - (1 << low)) for low, high in zip(edges, edges[1:], strict=False)]
    for number, mask in enumerate(masks):
        for pairs in _equal(hashes & mask):
            differing = hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]
            close = np.bitwise_count(differing) <= bits
            # A pair that agrees in an earlier band was found there.
            for earlier in masks[:number]:
                close &= (differing & earlier) != 0
            yield pairs[close]


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
