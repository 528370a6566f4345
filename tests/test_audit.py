"""The audit on images with known copies."""

import hashlib
import io
import time
from typing import NamedTuple

import imagehash
import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from radlib.data.audit import audit
from radlib.data.facts import FACTS, facts_of


def texture(seed: int, size: int = 96) -> np.ndarray:
    """Smooth random texture, uint8; textures of two seeds have nothing in common."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 5)
    return np.interp(noise, (noise.min(), noise.max()), (0, 255)).astype(np.uint8)


def as_jpeg(pixels: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=70)
    return np.asarray(Image.open(buffer))


class Print(NamedTuple):
    """What is compared of an image, in place of its pixels."""

    pixels: bytes
    phash: int
    thumbnail: np.ndarray


def stacked(prints: list[Print]) -> tuple[np.ndarray, np.ndarray]:
    """Facts and thumbnails in columns, as they are packed."""
    facts, thumbnails = np.zeros(len(prints), dtype=FACTS), np.array([one.thumbnail for one in prints])
    facts["pixels"], facts["phash"] = [one.pixels for one in prints], [one.phash for one in prints]
    facts["twin"] = [hashlib.md5(one.thumbnail.tobytes()).digest() for one in prints]
    facts["flat"] = np.ptp(thumbnails, axis=(1, 2)) == 0
    return facts, thumbnails


def run(*images: tuple, bits: int = 2, certain: bool = True):
    """Each image is (pixels, class, patient or None)."""
    table = pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(len(images))],
            "patient_id": pd.Series([patient for _, _, patient in images], dtype=object),
            "class_name": [class_name for _, class_name, _ in images],
            "drop": "",
        }
    )
    rows, thumbnails = zip(*(facts_of(pixels) for pixels, _, _ in images), strict=True)
    return audit(table, np.array(list(rows), dtype=FACTS), np.array(thumbnails), bits, certain)


def reasons(result) -> dict[str, str]:
    return dict(result.dropped.itertuples(index=False))


def test_of_exact_copies_the_first_is_kept():
    result = run((texture(1), "a", "p"), (texture(2), "a", "q"), (texture(1), "a", "p"))
    assert reasons(result) == {"i2": "exact copy"}
    assert result.report["exact_copies"] == 1


def test_exact_copies_with_two_labels_are_all_dropped():
    result = run(*[(texture(1), c, None) for c in "aba"], (texture(2), "a", None))
    assert reasons(result) == dict.fromkeys(["i0", "i1", "i2"], "copy with another label")
    assert result.report["two_labels_exact"] == [["i0", "i1", "i2"]]
    assert result.keep.tolist() == [False, False, False, True]


def test_a_copy_of_another_size_is_near_but_not_exact():
    larger = np.asarray(Image.fromarray(texture(1)).resize((150, 150), Image.Resampling.BICUBIC))
    result = run((texture(1), "a", None), (larger, "a", None), (texture(2), "a", None))
    assert result.dropped.empty
    assert result.patients.tolist() == ["i0", "i0", "i2"] and result.report["joined"] == {}
    assert result.report["near_identical_pairs"] == 1 and result.report["patients"] == 2


def test_near_identical_images_join_names_that_may_be_of_one_person():
    one, two, three = (texture(seed) for seed in (1, 2, 3))
    images = (one, "a", "p"), (two, "a", "p"), (as_jpeg(two), "a", "q"), (three, "a", "r")
    result = run(*images, certain=False)
    assert result.patients.tolist() == ["p", "p", "p", "r"]
    assert result.report["patients_before_joining"] == 3 and result.report["groups_of_several"] == 1
    assert result.report["patients_guessed"] and not result.report["patients_published"]
    named = run(*images)
    assert named.patients.tolist() == ["p", "p", "q", "r"] and named.dropped.empty
    assert named.report["near_identical_pairs"] == named.report["near_identical_between_patients"] == 1


def test_slices_that_look_alike_in_every_patient_leave_patients_apart():
    """The top of the head is a round bone in everybody: whoever is named stays who they are, in any part."""
    bone, rng = texture(7).astype(int), np.random.default_rng(0)
    tops = [(bone + rng.integers(-3, 4, bone.shape)).clip(0, 255).astype(np.uint8) for _ in range(12)]
    slices = [(top, "ab"[n % 2], f"p{n}") for n, top in enumerate(tops)]
    result = run(*slices, *[(texture(20 + n), "a", f"p{n}") for n in range(12)], bits=8)
    assert result.report["near_identical_between_patients"] == 12 * 11 // 2
    assert len(set(result.patients)) == 12 and result.dropped.empty


def test_exact_copies_join_patients_although_one_is_dropped():
    result = run((texture(1), "a", "p"), (texture(1), "a", "q"), (texture(2), "a", "q"))
    assert reasons(result) == {"i1": "exact copy"}
    assert result.patients.tolist() == ["p", "p", "p"]
    assert result.report["joined"] == {"q": "p"}


def test_near_identical_with_two_labels_are_dropped_unless_of_one_patient():
    unknown = run((texture(1), "a", None), (as_jpeg(texture(1)), "b", None))
    assert set(reasons(unknown).values()) == {"near-identical to an image with another label"}
    assert unknown.report["two_labels_near"] == [["i0", "i1"]]
    assert not unknown.keep.any()
    slices = run((texture(1), "a", "p"), (as_jpeg(texture(1)), "b", "p"))
    assert slices.keep.all() and slices.report["patients_in_two_classes"] == 1
    two = (texture(1), "a", "p"), (as_jpeg(texture(1)), "b", "q")
    assert run(*two).keep.all() and not run(*two, certain=False).keep.any()


def test_blank_images_are_dropped_not_matched():
    blank = np.full((40, 40), 7, dtype=np.uint8)
    result = run((blank, "a", None), (blank, "b", None), (blank[:20], "a", None), (texture(1), "a", None))
    assert reasons(result) == dict.fromkeys(["i0", "i1", "i2"], "constant image")
    assert result.report["two_labels_exact"] == []


def test_hashes_alone_do_not_join_images_without_texture():
    """A dark frame with faint noise hashes like another by chance; the thumbnails tell them apart."""
    faint = [np.random.default_rng(seed).integers(0, 3, (64, 64), dtype=np.uint8) for seed in range(20)]
    result = run(*[(pixels, "a", None) for pixels in faint], bits=16)
    assert result.report["patients"] == 20


def test_the_hash_is_the_published_one():
    pixels = texture(5)
    for picture in (pixels, np.stack([pixels, texture(6), texture(7)], axis=-1)):
        row = np.array(facts_of(picture)[0], dtype=FACTS)
        assert row["phash"] == int(str(imagehash.phash(Image.fromarray(picture))), 16)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=25))
def test_groups_are_the_connected_components(tags):
    """Pictures with one tag are copies; patients i // 2. Compared with merging sets until nothing changes."""
    result = run(*[(texture(tag), "a", f"p{i // 2:02d}") for i, tag in enumerate(tags)])
    sets = [{f"p{i // 2:02d}" for i, t in enumerate(tags) if t == tag} for tag in set(tags)]
    merged = True
    while merged:
        merged = False
        for a in range(len(sets)):
            for b in range(a + 1, len(sets)):
                if sets[a] & sets[b]:
                    sets[a] |= sets.pop(b)
                    merged = True
                    break
            if merged:
                break
    first_of = {patient: min(group) for group in sets for patient in group}
    assert result.patients.tolist() == [first_of[f"p{i // 2:02d}"] for i in range(len(tags))]


def test_twelve_thousand_images_take_seconds():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 12_000, dtype=np.uint64)
    hashes[1] = hashes[0] ^ np.uint64(0b101)
    hashes[3] = hashes[2] ^ np.uint64(0b111)
    thumbnails = rng.integers(0, 256, (12_000, 32, 32), dtype=np.uint8)
    thumbnails[1], thumbnails[3] = thumbnails[0], thumbnails[2]
    prints = stacked([Print(b"%d" % n, int(hashes[n]), thumbnails[n]) for n in range(12_000)])
    names = [f"{n:05d}" for n in range(12_000)]
    table = pd.DataFrame({"image_id": names, "patient_id": names, "class_name": "a", "drop": ""})
    start = time.perf_counter()
    result = audit(table, *prints, near_bits=2, certain=False)
    assert time.perf_counter() - start < 20
    assert result.report["near_identical_pairs"] == 1  # two bits apart, not three
    assert result.report["patients"] == 11_999
