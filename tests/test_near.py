"""Near-identical images: the fast search finds what comparing all with all finds, and does not slow down."""

import time
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radlib.data.audit import audit
from radlib.data.near import LEAST_CORRELATION, NAMED, close_hashes
from tests.test_audit import Print, stacked


def every_close_pair(hashes: np.ndarray, bits: int) -> set[tuple[int, int]]:
    """All with all."""
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    return set(zip(*(side.tolist() for side in np.nonzero(np.triu(distance <= bits, 1))), strict=True))


def found(hashes: np.ndarray, bits: int) -> list[tuple[int, int]]:
    return sorted((min(p), max(p)) for some in close_hashes(hashes, bits) for p in some.tolist())


def neighbours(rng: np.random.Generator, bits: int, places: np.ndarray) -> np.ndarray:
    """Hashes around ten centres, up to `bits + 1` bits away, the bits taken from `places`."""
    centres = rng.integers(0, 2**64, 10, dtype=np.uint64)
    hashes = []
    for centre in np.repeat(centres, 30):
        flipped = rng.permutation(places)[: rng.integers(0, bits + 2)]
        hashes.append(int(centre) ^ sum(1 << int(place) for place in flipped))
    return np.array(hashes, dtype=np.uint64)


@pytest.mark.parametrize("bits", [0, 1, 2, 3, 5, 8, 16])
@pytest.mark.parametrize(
    "places", [range(64), range(22), range(18, 25), [0, 63]], ids=["all", "one band", "an edge", "ends"]
)
def test_close_hashes_are_those_of_comparing_all_each_once(bits, places):
    rng = np.random.default_rng(bits)
    hashes = neighbours(rng, bits, np.array(list(places)))
    pairs = found(hashes, bits)
    assert len(pairs) == len(set(pairs)) and set(pairs) == every_close_pair(hashes, bits)
    assert len(pairs) > 100


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 15), min_size=0, max_size=40), st.integers(0, 16))
def test_close_hashes_of_any_numbers(numbers, bits):
    hashes = np.array(numbers, dtype=np.uint64)
    assert found(hashes, bits) == sorted(every_close_pair(hashes, bits))


# The audit as it was when it compared all with all ----------------------------------------------------------
def every_near_pair(prints: list[Print], rows: np.ndarray, bits: int) -> list[tuple[int, int]]:
    hashes = np.array([p.phash for p in prints], dtype=np.uint64)
    thumbnails = np.array([p.thumbnail for p in prints], dtype=np.float32).reshape(len(prints), -1)
    thumbnails -= thumbnails.mean(axis=1, keepdims=True)
    thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True) + 1e-6
    close = [(a, b) for a, b in combinations(rows, 2) if np.bitwise_count(hashes[a] ^ hashes[b]) <= bits]
    return [(a, b) for a, b in close if thumbnails[a] @ thumbnails[b] >= LEAST_CORRELATION]


def groups(patients: list[str], linked: list[tuple[int, int]]) -> list[str]:
    """The first of all patients that are linked, by merging until nothing changes."""
    group = {patient: patient for patient in patients}
    changed = True
    while changed:
        changed = False
        for a, b in linked:
            first = min(group[patients[a]], group[patients[b]])
            for patient in (patients[a], patients[b]):
                changed |= group[patient] != first
                group[patient] = first
    return [group[patient] for patient in patients]


def images_with_copies(rng: np.random.Generator, count: int) -> tuple[list[Print], pd.DataFrame]:
    """A few pictures, each many times: equal, equal but for the hash or a thumbnail's noise, or one grey."""
    pictures = rng.integers(0, 256, (8, 32, 32)).astype(float)
    pictures[0] = 30
    hashes = rng.integers(0, 2**64, 8, dtype=np.uint64)
    prints = []
    for number in range(count):
        which = rng.integers(8)
        noise = rng.choice([0, 0, 8, 25]) * rng.normal(size=(32, 32)) * (which > 0)
        thumbnail = (pictures[which] + noise).clip(0, 255).astype(np.uint8)
        flips = sum(1 << int(place) for place in rng.integers(0, 64, rng.choice([0, 0, 1, 2])))
        copy = b"%d" % (number // 2 if rng.random() < 0.2 else number)
        prints.append(Print(copy, int(hashes[which]) ^ flips, thumbnail))
    patients = [f"p{rng.integers(count // 3)}" if rng.random() < 0.5 else None for _ in range(count)]
    table = pd.DataFrame(
        {
            "image_id": [f"i{number:03d}" for number in range(count)],
            "patient_id": pd.Series(patients, dtype=object),
            "class_name": rng.choice(["a", "b", "c"], count, p=[0.8, 0.1, 0.1]),
            "drop": "",
        }
    )
    return prints, table


@pytest.mark.parametrize("certain", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_audit_decides_as_if_all_were_compared_with_all(seed, certain):
    rng = np.random.default_rng(seed)
    prints, table = images_with_copies(rng, 150)
    result = audit(table, *stacked(prints), near_bits=2, certain=certain)
    names, classes = table["image_id"].tolist(), table["class_name"].tolist()
    patients = [p if isinstance(p, str) else n for p, n in zip(table["patient_id"], names, strict=True)]
    known = [isinstance(p, str) for p in table["patient_id"]]
    pixels = [p.pixels for p in prints]
    copies = [(a, b) for a, b in combinations(range(len(prints)), 2) if pixels[a] == pixels[b]]
    exact = {b for a, b in copies} | {a for a, b in copies if classes[a] != classes[b]}
    near = every_near_pair(prints, [row for row in range(len(prints)) if row not in exact], 2)
    between = [(a, b) for a, b in near if known[a] and known[b] and patients[a] != patients[b]]
    joined = sorted(set(near) - set(between)) if certain else near
    against = [
        (a, b)
        for a, b in joined
        if classes[a] != classes[b] and not (known[a] and known[b] and patients[a] == patients[b])
    ]
    assert len(near) > 200 and len(against) > 20 and len(between) > 20
    assert result.report["near_identical_pairs"] == len(near)
    assert result.report["two_labels_near"] == [[names[a], names[b]] for a, b in against]
    assert set(np.flatnonzero(~result.keep)) == exact | {row for pair in against for row in pair}
    assert result.patients.tolist() == groups(patients, joined + copies)
    assert result.report["near_identical_between_patients"] == (len(between) if certain else 0)


def test_thousands_of_blank_images_are_not_compared_with_each_other():
    """Twelve thousand of one grey, as many of one picture under two labels, the rest all different."""
    count, blank, same = 30_000, 12_000, 12_000
    rng = np.random.default_rng(0)
    thumbnails = np.zeros((count, 32, 32), dtype=np.uint8)
    thumbnails[blank : blank + same] = rng.integers(0, 256, (32, 32), dtype=np.uint8)
    thumbnails[blank + same :] = rng.integers(0, 256, (count - blank - same, 32, 32), dtype=np.uint8)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    hashes[:blank], hashes[blank : blank + same] = 0, 1
    classes = np.full(count, "a", dtype=object)
    classes[blank] = "b"
    names = np.array([f"i{row:06d}" for row in range(count)], dtype=object)
    table = pd.DataFrame({"image_id": names, "patient_id": None, "class_name": classes, "drop": ""})
    start = time.process_time()
    prints = stacked([Print(b"%d" % row, int(hashes[row]), thumbnails[row]) for row in range(count)])
    result = audit(table, *prints, near_bits=2)
    assert time.process_time() - start < 10
    assert result.report["near_identical_pairs"] == same * (same - 1) // 2
    assert result.report["dropped_two_labels_near"] == same and result.keep.sum() == count - same
    assert len(result.report["two_labels_near"]) == NAMED < same - 1
    assert len(set(result.patients)) == count - same + 1
