"""Splits: patients stay whole, whatever the data; shares and balance are as stated."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radlib.data.figures import split_check
from radlib.data.parts import LEFT_OUT, check_parts, keep_apart
from radlib.data.splits import assign_parts, choose_subset, part_columns
from radlib.errors import UserError


@st.composite
def patients_and_labels(draw):
    per_patient = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 1)), min_size=20, max_size=60))
    patients = np.concatenate([np.full(n, f"p{i}") for i, (n, _) in enumerate(per_patient)])
    labels = np.concatenate([np.full(n, label) for n, label in per_patient])
    return patients, labels


@settings(max_examples=40, deadline=None)
@given(data=patients_and_labels(), folds=st.integers(1, 5), seed=st.integers(0, 99))
def test_no_patient_is_ever_in_two_parts(data, folds, seed):
    patients, labels = data
    parts = assign_parts(patients, labels, folds, seed)
    for column in parts:
        assert parts[column].groupby(patients).nunique().max() == 1
    tested = (parts == "test").groupby(patients).max().sum(axis=1)
    assert (tested == 1).all() if folds > 1 else (tested <= 1).all()


@settings(max_examples=20, deadline=None)
@given(data=patients_and_labels(), folds=st.integers(1, 5), order=st.randoms(use_true_random=False))
def test_the_order_of_rows_plays_no_part(data, folds, order):
    patients, labels = data
    rows = list(range(len(patients)))
    order.shuffle(rows)
    straight = assign_parts(patients, labels, folds, 3)
    shuffled = assign_parts(patients[rows], labels[rows], folds, 3)
    pd.testing.assert_frame_equal(straight.iloc[rows].reset_index(drop=True), shuffled)


def test_folds_of_equal_patients_are_equal_and_stratified():
    patients = np.array([f"p{i:03d}" for i in range(100)])
    labels = (np.arange(100) < 30).astype(int)
    parts = assign_parts(patients, labels, 5, seed=1)
    for column in parts:
        assert parts[column].value_counts().to_dict() == {"train": 70, "test": 20, "validation": 10}
        assert pd.Series(labels).groupby(parts[column]).sum().to_dict() == {
            "train": 21,
            "test": 6,
            "validation": 3,
        }
    assert not parts.equals(assign_parts(patients, labels, 5, seed=2))


def test_one_split_takes_the_published_shares():
    parts = assign_parts(np.arange(200).astype(str), np.arange(200) % 2, 1, seed=0)["part_0"]
    assert parts.value_counts().to_dict() == {"train": 150, "test": 30, "validation": 20}


def test_large_patients_are_spread_over_the_folds():
    """Ten patients of 30 images and 90 of one: by patients alone a fold could hold 60 of them."""
    patients = np.concatenate(
        [np.repeat([f"big{i}" for i in range(10)], 30), [f"small{i}" for i in range(90)]]
    )
    labels = np.concatenate([np.repeat(np.arange(10) % 2, 30), np.arange(90) % 2])
    parts = assign_parts(patients, labels, 5, seed=0)
    images = (parts == "test").sum()
    assert images.max() - images.min() <= 4


def test_a_patient_of_both_classes_counts_as_positive():
    patients = np.repeat([f"p{i:02d}" for i in range(40)], 2)
    labels = np.zeros(80, dtype=int)
    labels[np.arange(0, 40, 2)] = (
        1  # ten patients with one positive and one negative image, ten wholly positive
    )
    labels[np.arange(1, 20, 2)] = 0
    parts = assign_parts(patients, labels, 5, 0)
    positive = pd.Series(labels).groupby(patients).max()
    for column in parts:
        tested = parts[column].groupby(patients).first() == "test"
        assert positive[tested].sum() == positive.sum() / 5


def manifest(rows: list[tuple]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["patient_id", "label", "part_0"])
    return table.assign(image_id=[f"i{n}" for n in range(len(table))])


SOUND = [(f"{part}{label}", label, part) for part in ("train", "validation", "test") for label in (0, 1)]


def test_check_accepts_a_sound_split_and_names_what_is_wrong():
    check_parts(manifest(SOUND), "breast")
    with pytest.raises(UserError, match="fold 0: patient train0 is in test and train"):
        check_parts(manifest([*SOUND, ("train0", 0, "test")]), "breast")
    with pytest.raises(
        UserError, match="dataset 'breast', fold 0: the validation part lacks a class.*fewer folds"
    ):
        check_parts(manifest([row for row in SOUND if row[0] != "validation1"]), "breast")
    with pytest.raises(UserError, match="image i6 has no part"):
        check_parts(manifest([*SOUND, ("new", 0, "")]), "breast")


def test_training_needs_every_class():
    rows = [*SOUND, ("x", 2, "test")]
    with pytest.raises(UserError, match=r"train part lacks a class \(it holds 2 of 3\)"):
        check_parts(manifest(rows), "corpus")


def test_part_columns_are_in_order_of_folds():
    table = pd.DataFrame(columns=[f"part_{k}" for k in (10, 2, 0, 1)])
    assert part_columns(table) == ["part_0", "part_1", "part_2", "part_10"]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    most=st.integers(1, 100),
    seed=st.integers(0, 9),
)
def test_subset_is_balanced_until_a_class_is_used_up(sizes, most, seed):
    classes = np.concatenate([np.full(n, f"c{i}") for i, n in enumerate(sizes)])
    keys = np.array([f"{i:04d}" for i in range(len(classes))])
    rows = choose_subset(classes, keys, most, seed)
    assert len(rows) == len(set(rows)) == min(most, len(classes))
    taken = [int((classes[rows] == f"c{i}").sum()) for i in range(len(sizes))]
    for count, size in zip(taken, sizes, strict=True):
        assert count == size or count >= max(taken) - 1


def test_a_subset_takes_its_share_of_every_published_part_and_is_balanced_in_each():
    rng = np.random.default_rng(0)
    parts = rng.permutation(np.repeat(["train", "validation", "test"], [750, 100, 150])).astype(object)
    classes = rng.choice(["common", "rare"], 1000, p=[0.9, 0.1]).astype(object)
    keys = np.array([f"{i:04d}" for i in range(1000)], dtype=object)
    rows = choose_subset(classes, keys, 203, 1, parts)
    assert len(set(rows)) == 203 and (np.diff(rows) > 0).all()
    held = pd.Series(parts[rows]).value_counts().to_dict()
    assert held == {"train": 152, "test": 31, "validation": 20}  # of 152.25, 30.45 and 20.3
    for part in held:
        there, taken = ((parts == part) & (classes == "rare")), classes[rows][parts[rows] == part]
        rare = (taken == "rare").sum()
        assert rare == min(there.sum(), len(taken) // 2) or abs(2 * rare - len(taken)) <= 1
    assert list(choose_subset(classes, keys, 5000, 1, parts)) == list(range(1000))
    order = rng.permutation(1000)
    again = choose_subset(classes[order], keys[order], 203, 1, parts[order])
    assert set(keys[order][again]) == set(keys[rows])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), images=st.integers(1, 12), folds=st.integers(1, 4))
def test_no_group_of_a_published_split_is_in_two_parts_or_tested_twice(data, images, folds):
    groups = np.array(data.draw(st.lists(st.integers(0, 4), min_size=images, max_size=images)))
    part = st.lists(st.sampled_from(["train", "validation", "test"]), min_size=images, max_size=images)
    parts = pd.DataFrame({f"part_{k}": data.draw(part) for k in range(folds)})
    apart, tested = keep_apart(parts, groups), set()
    for column in parts:
        used = apart[column] != LEFT_OUT
        assert (apart[column][used] == parts[column][used]).all()
        assert (apart[column][used].groupby(groups[used]).nunique() <= 1).all()
        first = (parts[column] == "test") & ~np.isin(groups, list(tested))
        assert ((apart[column] == "test") == first).all(), "test images stay where they are tested first"
        tested |= set(groups[first])


def test_published_folds_become_independent_where_a_group_is_tested_twice():
    """Images b and c are nearly the same picture, which two folds test; a and d are alone."""
    parts = pd.DataFrame(
        {
            "part_0": ["train", "test", "validation", "train"],
            "part_1": ["test", "validation", "test", "train"],
            "part_2": ["validation", "train", "train", "test"],
        }
    )
    apart = keep_apart(parts, np.array(["a", "b", "b", "d"]))
    assert apart["part_0"].tolist() == ["train", "test", LEFT_OUT, "train"]
    assert apart["part_1"].tolist() == ["test", LEFT_OUT, LEFT_OUT, "train"]
    assert apart["part_2"].tolist() == parts["part_2"].tolist()
    # What is left out is in no part; the published split itself parts patient b.
    people = pd.Series(["a", "b", "b", "d"], name="patient_id")
    for split, in_two, left_out in ((apart, [0, 0, 0], [1, 2, 0]), (parts, [1, 1, 0], [0, 0, 0])):
        check = split_check(pd.concat([people, split], axis=1))
        assert check["patients in two parts"].tolist() == in_two
        assert check["images left out"].tolist() == left_out
