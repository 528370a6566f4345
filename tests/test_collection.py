"""Several published sets as one corpus: classes renamed, patients kept apart, at most so many of a class."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from radlib import datasets
from radlib.errors import UserError

HEAD = {
    "layout": "folders",
    "path": "head",
    "options": {"patient": r"^(\d+)-"},
    "classes": {"Normal": "CT/head/normal", "Stroke": "CT/head/stroke"},
}
KNEE = {"layout": "folders", "path": "knee", "classes": {"0": "XR/knee/KL0"}}


@pytest.fixture
def published(tmp_path):
    names = [
        f"head/{label}/{patient}-{n}.png"
        for label, patient in (("Normal", 1), ("Stroke", 2))
        for n in range(5)
    ]
    names += [f"knee/{grade}/{n}.png" for grade in "01" for n in range(3)]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32), number, dtype=np.uint8)).save(tmp_path / name)
    return tmp_path


def read(path, salt="7", **sets):
    return datasets.read("collection", path, {"sets": sets}, salt)


def kept(records):
    return [record for record in records if not record.drop]


def test_classes_are_named_modality_region_label_and_patients_by_set(published):
    records = kept(read(published, head=HEAD, knee=KNEE))
    assert Counter(r.class_name for r in records) == {
        "CT/head/normal": 5,
        "CT/head/stroke": 5,
        "XR/knee/KL0": 3,
    }
    assert {r.patient_id for r in records} == {"head/1", "head/2", None}
    assert len({r.image_id for r in records}) == 13


def test_one_set_twice_gives_images_of_two_names(published):
    again = HEAD | {"classes": {"Normal": "CT/head/again"}}
    assert len({r.image_id for r in read(published, a=HEAD, b=again)}) == 20


def test_what_is_not_taken_is_counted_and_the_draw_is_of_names_alone(published):
    few = HEAD | {"most": 2}
    records = read(published, head=few, knee=KNEE)
    assert Counter(r.drop for r in records if r.drop) == {
        "beyond the most images of a class of 'head'": 6,
        "class '1' of 'knee' is not taken": 3,
    }
    drawn = {r.image_id for r in kept(records)}
    assert drawn == {r.image_id for r in kept(read(published, knee=KNEE, head=few))}
    other = {r.image_id for r in kept(read(published, salt="8", head=few, knee=KNEE))}
    assert len(other) == len(drawn) and other != drawn


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": {"Stroke": "CT/head"}}, "'CT/head' is no modality/region/label"),
        ({"classes": {"Bleed": "CT/head/bleed"}}, "set 'head' has no class 'Bleed'; it has: Normal, Stroke"),
        ({"path": "heart"}, "set 'head': .*heart"),
        ({"layout": "heap"}, "set 'head': no layout 'heap'"),
        ({"max": 3}, "option 'sets.head.max'"),
        ({"path": "../head"}, "set 'head': path '../head' leaves"),
    ],
)
def test_bad_sets_are_refused_in_one_sentence(published, change, said):
    with pytest.raises(UserError, match=said):
        read(published, head=HEAD | change)
