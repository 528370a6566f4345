"""Merged classes: the same images in the same parts under coarser labels."""

import pandas as pd
import pytest

from radlib.data.parts import merge_classes
from radlib.errors import UserError
from radlib.study.datasets import Corpus

CLASSES = ["cat", "dog", "oak", "pine", "van"]
MANIFEST = pd.DataFrame(
    {
        "image_id": [f"{name}/{k}" for name in CLASSES for k in range(4)],
        "class_name": [name for name in CLASSES for _ in range(4)],
        "label": [label for label in range(5) for _ in range(4)],
        "part_0": ["train", "train", "validation", "test"] * 5,
    }
)


def corpus(groups) -> Corpus:
    return Corpus(layout="folders", path="data/raw/x", title="x", groups=groups)


def test_named_groups_and_the_rest():
    groups = {"trees": ["oak", "pine"], "animals": ["dog", "cat"], "others": []}
    merged = merge_classes(MANIFEST, corpus(groups), 0, "x")
    expected = {"cat": "animals", "dog": "animals", "oak": "trees", "pine": "trees", "van": "others"}
    assert list(merged["class_name"]) == [expected[name] for name in MANIFEST["class_name"]]
    assert dict(zip(merged["class_name"], merged["label"], strict=True)) == {
        "animals": 0, "others": 1, "trees": 2,
    }  # fmt: skip
    pd.testing.assert_frame_equal(merged[["image_id", "part_0"]], MANIFEST[["image_id", "part_0"]])


def test_random_groups_hold_whole_classes_and_differ_with_the_seed():
    merged = [merge_classes(MANIFEST, corpus(2), seed, "x") for seed in range(6)]
    for table in merged:
        per_class = table.assign(was=MANIFEST["class_name"]).groupby("was")["class_name"].nunique()
        assert (per_class == 1).all()
        assert sorted(table.groupby("class_name").size()) == [8, 12]
    assert len({tuple(table["label"]) for table in merged}) > 1
    pd.testing.assert_frame_equal(merged[0], merge_classes(MANIFEST, corpus(2), 0, "x"))


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        ({"a": ["cat", "cow"], "b": []}, "group 'a' names 'cow', which it does not hold"),
        ({"a": ["cat"], "b": ["cat"], "c": []}, "class 'cat' is in two groups, a and b"),
        ({"a": ["cat", "dog"], "b": ["oak", "pine"]}, "1 classes are in no group, the first is 'van'"),
        ({"a": [], "b": []}, "only one can take all other classes"),
        (1, "1 groups of 5 classes; give 2 to 5"),
        (6, "6 groups of 5 classes"),
    ],
)
def test_groups_that_do_not_cover_the_classes_are_refused(groups, sentence):
    with pytest.raises(UserError, match=sentence):
        merge_classes(MANIFEST, corpus(groups), 0, "x")
