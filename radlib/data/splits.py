"""Parts of every fold, by patient: all images of a patient are always in one part."""

import numpy as np
import pandas as pd

TEST_SHARE, VALIDATION_SHARE = 0.15, 0.10
PARTS = ("train", "validation", "test")


def assign_parts(patients: np.ndarray, labels: np.ndarray, folds: int, seed: int) -> pd.DataFrame:
    """Assign every image to train, validation or test of every fold.

    One fold: 75 / 10 / 15 % of the patients. k folds: every patient is tested exactly once; a tenth of all
    patients validate, the rest train. Patients are dealt out stratum by stratum (a patient's stratum is the
    largest label of its images: positive if any image is), largest first, so that parts also hold similar
    numbers of images. The result depends on patients, labels and seed, not on the order of rows.

    Args:
        patients: (n,) patient of each image. labels: (n,) int.
    Returns:
        DataFrame (n rows) with part_0 ... part_{folds-1}, "train", "validation" or "test".
    """
    patients = [str(patient) for patient in patients]
    per_patient = pd.DataFrame({"patient": patients, "label": labels}).groupby("patient", sort=True)["label"]
    table = pd.DataFrame({"stratum": per_patient.max(), "images": per_patient.size()})
    rng = np.random.default_rng(seed)
    columns = [f"part_{k}" for k in range(folds)]
    parts = pd.DataFrame("train", index=table.index, columns=columns, dtype=object)
    for _, stratum in table.groupby("stratum")["images"]:
        shuffled = stratum.iloc[rng.permutation(len(stratum))]
        order = list(shuffled.sort_values(ascending=False, kind="stable").index)
        alone = max(1, round(TEST_SHARE * len(order)))
        tested = [set(_pick(order, alone, rng))] if folds == 1 else _deal(stratum, order, folds)
        for column, test in zip(columns, tested, strict=True):
            rest = [p for p in order if p not in test]
            count = min(max(1, round(VALIDATION_SHARE * len(order))), max(len(rest) - 1, 0))
            parts.loc[sorted(test), column] = "test"
            parts.loc[sorted(_pick(rest, count, rng)), column] = "validation"
    return parts.loc[patients].reset_index(drop=True)


def _deal(images: pd.Series, order: list[str], folds: int) -> list[set[str]]:
    """Deal patients to folds in rounds; in each round the fullest fold gets the smallest patient."""
    tested: list[set[str]] = [set() for _ in range(folds)]
    held = [0] * folds
    for patient in order:
        fold = min(range(folds), key=lambda k: (len(tested[k]), held[k], k))
        tested[fold].add(patient)
        held[fold] += int(images[patient])
    return tested


def _pick(order: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """`count` patients, one from each of as many equal stretches of `order`: large and small ones alike."""
    if count == 0:
        return []
    return [str(rng.choice(stretch)) for stretch in np.array_split(np.asarray(order, dtype=object), count)]


def patient_classes(patients: np.ndarray, labels: np.ndarray) -> pd.Series:
    """Class of every patient, the largest label of its images; the index is sorted."""
    return pd.Series(labels).groupby(np.asarray(patients, dtype=str)).max()


def nested_part(patients: np.ndarray, labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Which images belong to a random fraction of the patients, drawn class by class.

    Each class of patients is put in a random order, and the first round(fraction x number) are taken: with
    one seed, a smaller fraction lies within every larger one.

    Args:
        patients: (n,) patient of each image. labels: (n,) int. fraction: 0 to 1.
    """
    rng = np.random.default_rng(seed)
    classes = patient_classes(patients, labels)
    taken: list[str] = []
    for _, one in classes.groupby(classes):
        order = rng.permutation(one.index.to_numpy())
        taken.extend(order[: part_size(len(one), fraction)])
    return np.isin(np.asarray(patients, dtype=str), taken)


def part_size(count: int, fraction: float) -> int:
    """Number of patients of one class that `nested_part` takes."""
    return round(fraction * count)


def part_columns(manifest: pd.DataFrame) -> list[str]:
    """part_0, part_1, ... in order of the folds."""
    columns = [c for c in manifest.columns if c.startswith("part_")]
    return sorted(columns, key=lambda c: int(c.removeprefix("part_")))


def choose_subset(
    classes: np.ndarray, keys: np.ndarray, most: int, seed: int, parts: np.ndarray | None = None
) -> np.ndarray:
    """A class-balanced random subset: classes give alike; what a small class cannot give, larger ones do.

    Args:
        classes: (n,) class of each image. keys: (n,) unique names, so that the order of rows plays no part.
        parts: (n,) published part of each image; each gives as large a share of its images as the others.
    Returns:
        Rows, int (min(n, most),), sorted.
    """
    if parts is None:
        return _balanced(np.arange(len(keys)), classes, keys, most, seed)
    names, part, sizes = np.unique(np.asarray(parts, dtype=object), return_inverse=True, return_counts=True)
    most = min(most, len(part))
    exact = most * sizes / len(part)
    shares = exact.astype(int)
    # What rounding down left goes to the parts that lost most by it.
    shares[np.argsort(shares - exact, kind="stable")[: most - shares.sum()]] += 1
    rows_of = [np.flatnonzero(part == number) for number in range(len(names))]
    chosen = [_balanced(r, classes, keys, share, seed) for r, share in zip(rows_of, shares, strict=True)]
    return np.sort(np.concatenate(chosen))


def _balanced(rows: np.ndarray, classes: np.ndarray, keys: np.ndarray, most: int, seed: int) -> np.ndarray:
    order = rows[np.argsort(keys[rows], kind="stable")]
    shuffled = order[np.random.default_rng(seed).permutation(len(order))]
    turn = pd.Series(shuffled).groupby(np.asarray(classes)[shuffled]).cumcount().to_numpy()
    # Turn 0 holds one image of every class, turn 1 the next: the first `most` are balanced.
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:most]])
