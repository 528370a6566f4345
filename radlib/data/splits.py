"""Parts of every fold, by patient: all images of a patient are always in one part."""

import numpy as np
import pandas as pd

from radlib.errors import UserError

TEST_SHARE, VALIDATION_SHARE = 0.15, 0.10
PARTS = ("train", "validation", "test")
LEFT_OUT = "left out"


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
    for _, stratum in table.groupby("stratum"):
        order = _largest_first(stratum["images"], rng)
        tested = [_spread(order, TEST_SHARE, rng)] if folds == 1 else _deal(stratum["images"], order, folds)
        for fold, test in enumerate(tested):
            rest = [p for p in order if p not in test]
            count = min(max(1, round(VALIDATION_SHARE * len(order))), max(len(rest) - 1, 0))
            parts.loc[sorted(test), f"part_{fold}"] = "test"
            parts.loc[sorted(_pick(rest, count, rng)), f"part_{fold}"] = "validation"
    return parts.loc[patients].reset_index(drop=True)


def _largest_first(images: pd.Series, rng: np.random.Generator) -> list[str]:
    """Patients by number of images, descending, patients of one size in random order."""
    shuffled = images.iloc[rng.permutation(len(images))]
    return list(shuffled.sort_values(ascending=False, kind="stable").index)


def _deal(images: pd.Series, order: list[str], folds: int) -> list[set[str]]:
    """Deal patients to folds in rounds; in each round the fullest fold gets the smallest patient."""
    tested: list[set[str]] = [set() for _ in range(folds)]
    held = [0] * folds
    for patient in order:
        fold = min(range(folds), key=lambda k: (len(tested[k]), held[k], k))
        tested[fold].add(patient)
        held[fold] += int(images[patient])
    return tested


def _spread(order: list[str], share: float, rng: np.random.Generator) -> set[str]:
    return set(_pick(order, max(1, round(share * len(order))), rng))


def _pick(order: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """`count` patients, one from each of as many equal stretches of `order`: large and small ones alike."""
    if count == 0:
        return []
    return [str(rng.choice(stretch)) for stretch in np.array_split(np.asarray(order, dtype=object), count)]


def keep_apart(parts: pd.DataFrame, groups: np.ndarray) -> pd.DataFrame:
    """A published split in which no group lies in two parts of a fold.

    Where a publisher names no patients, near-identical images may lie on both sides of its split. Test images
    stay; of the others, those that a later part (train < validation < test) nearly holds too are left out.
    A group is tested in the first fold that does so, and left out of the test part of all later ones, because
    the folds of a comparison must be independent.

    Args:
        parts: (n rows) part_0 ..., as published. groups: (n,) patient or group of each image.
    Returns:
        The same, with LEFT_OUT in some places.
    """
    order = {part: place for place, part in enumerate(PARTS)}
    apart = parts.copy()
    for column in parts:
        place = parts[column].map(order)
        last = place.groupby(np.asarray(groups)).transform("max")
        apart.loc[place < last, column] = LEFT_OUT
    group = pd.factorize(np.asarray(groups))[0]
    tested = np.zeros(len(apart), dtype=bool)
    for column in parts:
        test = (apart[column] == "test").to_numpy()
        apart.loc[test & tested[group], column] = LEFT_OUT
        tested[group[test]] = True
    return apart


def patient_classes(patients: np.ndarray, labels: np.ndarray) -> pd.Series:
    """Class of every patient, the largest label of its images; the index is sorted."""
    return pd.Series(labels).groupby(np.asarray(patients, dtype=str)).max()


def nested_part(patients: np.ndarray, labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Which images belong to a random fraction of the patients, drawn class by class.

    Each class of patients is put in a random order, and the first round(fraction x number) are taken: with
    one seed, a smaller fraction lies within every larger one.

    Args:
        patients: (n,) patient of each image. labels: (n,) int. fraction: 0 to 1.
    Returns:
        (n,) bool.
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


def check_parts(manifest: pd.DataFrame, dataset: str) -> None:
    """Stop where a split would spoil the study.

    Args:
        manifest: patient_id, label and part_0 ... of every image; LEFT_OUT is no part.
    Raises:
        UserError: a patient in two parts (the patient is named), an image without a part, or a part that
            lacks a class: every part needs two classes, and training all of them.
    """
    classes = set(manifest["label"])
    check_patients(manifest["patient_id"], manifest[part_columns(manifest)], dataset)
    for fold, column in enumerate(part_columns(manifest)):
        known = manifest[column].isin((*PARTS, LEFT_OUT))
        if not known.all():
            bad = manifest.loc[~known, "image_id"].iloc[0]
            raise UserError(
                f"dataset '{dataset}', fold {fold}: image {bad} has no part; correct the split files"
            )
        for part in PARTS:
            held = set(manifest.loc[manifest[column] == part, "label"])
            if len(held) < 2 or (part == "train" and held != classes):
                raise UserError(
                    f"dataset '{dataset}', fold {fold}: the {part} part lacks a class (it holds {len(held)} "
                    f"of {len(classes)}); use fewer folds or add patients of the rarer class"
                )


def check_masks(manifest: pd.DataFrame, dataset: str) -> None:
    """Stop where a task of `segment.tasks` could not be segmented.

    Args:
        manifest: has_mask and part_0 ... of every image.
    Raises:
        UserError: no mask at all, or none in a part of a fold.
    """
    if not manifest["has_mask"].any():
        raise UserError(
            f"task '{dataset}' has no lesion masks to learn from; take it out of segment.tasks, or give its "
            "masks (for layout table by the option mask)"
        )
    for fold, column in enumerate(part_columns(manifest)):
        marked = manifest.groupby(column)["has_mask"].sum()
        for part in PARTS:
            if not marked.get(part, 0):
                raise UserError(
                    f"task '{dataset}', fold {fold}: the {part} part has no lesion mask; use fewer folds or "
                    "more images with masks"
                )


def check_patients(patients: pd.Series, parts: pd.DataFrame, dataset: str) -> None:
    """Stop where images of one patient lie in two parts of a fold.

    Args:
        patients: of each image, a missing one where unknown. parts: part_0 ... of the same rows.
    Raises:
        UserError: the first such patient, with the parts.
    """
    for fold, column in enumerate(part_columns(parts)):
        pairs = pd.DataFrame({"patient": patients, "part": parts[column]})
        pairs = pairs[pairs["part"].isin(PARTS) & pairs["patient"].notna()].drop_duplicates()
        parted = pairs[pairs["patient"].duplicated(keep=False)].sort_values(["patient", "part"])
        if len(parted):
            patient = parted["patient"].iloc[0]
            held = parted.loc[parted["patient"] == patient, "part"]
            raise UserError(
                f"dataset '{dataset}', fold {fold}: patient {patient} is in {' and '.join(held)}; "
                "correct the split files, or leave them out"
            )


def part_columns(manifest: pd.DataFrame) -> list[str]:
    """part_0, part_1, ... in order of the folds."""
    columns = [c for c in manifest.columns if c.startswith("part_")]
    return sorted(columns, key=lambda c: int(c.removeprefix("part_")))


def choose_subset(classes: np.ndarray, keys: np.ndarray, most: int, seed: int) -> np.ndarray:
    """A class-balanced random subset: classes give alike; what a small class cannot give, larger ones do.

    Args:
        classes: (n,) class of each image. keys: (n,) unique names, so that the order of rows plays no part.
    Returns:
        Rows, int (min(n, most),), sorted.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(keys, kind="stable")
    shuffled = order[rng.permutation(len(order))]
    turn = pd.Series(shuffled).groupby(np.asarray(classes)[shuffled]).cumcount().to_numpy()
    # Turn 0 holds one image of every class, turn 1 the next: the first `most` are balanced.
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:most]])


def choose_from_parts(
    parts: np.ndarray, classes: np.ndarray, keys: np.ndarray, most: int, seed: int
) -> np.ndarray:
    """`choose_subset` within each published part, which gives as large a share of its images as the others.

    Args:
        parts: (n,) published part of each image; the rest as `choose_subset` has it.
    Returns:
        Rows, int (min(n, most),), sorted.
    """
    names, part, sizes = np.unique(np.asarray(parts, dtype=object), return_inverse=True, return_counts=True)
    most = min(most, len(part))
    exact = most * sizes / len(part)
    shares = exact.astype(int)
    # What rounding down left goes to the parts that lost most by it.
    shares[np.argsort(shares - exact, kind="stable")[: most - shares.sum()]] += 1
    chosen = []
    for number in range(len(names)):
        rows = np.flatnonzero(part == number)
        chosen.append(rows[choose_subset(classes[rows], keys[rows], shares[number], seed)])
    return np.sort(np.concatenate(chosen))


def part_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Patients and images of every fold, part and class, one row each."""
    rows = []
    for fold, column in enumerate(part_columns(manifest)):
        for (part, class_name), group in manifest.groupby([column, "class_name"]):
            counts = {"patients": group["patient_id"].nunique(), "images": len(group)}
            rows.append({"fold": fold, "part": part, "class": class_name, **counts})
    return pd.DataFrame(rows)
