"""The split of a dataset, the publisher's or the study's own, with everything that would make it useless."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from radlib.data.splits import PARTS, assign_parts, part_columns
from radlib.errors import UserError, listed
from radlib.seeds import seed_of
from radlib.study import Study
from radlib.study.datasets import Corpus, Task

LEFT_OUT = "left out"
Parts = dict[int, str] | None


def classes_of(config: Corpus | Task, class_names: Iterable[str]) -> list[str]:
    """The classes in the order of their labels: a task's negative and positive, a corpus' by their names."""
    return config.class_names if isinstance(config, Task) else sorted(set(class_names))


def with_parts(
    study: Study, dataset: str, manifest: pd.DataFrame, published: Sequence[Parts], named: pd.Series
) -> pd.DataFrame:
    """The manifest with part_0 ... of every image, and with the classes of a corpus' groups.

    Args:
        manifest: image_id, patient_id (or group), label, class_name and has_mask.
        published: fold (from 0) -> part of the same rows; None where the publisher has no split.
        named: the patients as published, a missing one where unknown.
    Raises:
        UserError: another number of folds than the study's, an image without a part, a patient in two parts,
            a part that lacks a class, groups that do not fit, or no mask for a task of `segment.tasks`.
    """
    config = study.dataset(dataset)
    folds = config.folds if isinstance(config, Task) else 1
    groups = manifest["patient_id"].to_numpy()
    if any(parts is not None for parts in published):
        held = max(len(parts or {}) for parts in published)
        if held != folds:
            raise UserError(
                f"dataset '{dataset}': the authors' files hold {held} folds, not {folds}; set folds: {held}"
            )
        columns = {f"part_{k}": [(parts or {}).get(k, "") for parts in published] for k in range(folds)}
        parts = pd.DataFrame(columns)
        # Where ids are of files, several may be one person's: then images are left out, see `keep_apart`.
        if config.patients_certain:
            _check_patients(named, parts, dataset)
        parts = keep_apart(parts, groups)
    else:
        seed = seed_of(study.seed, "split", study.origin(dataset))
        parts = assign_parts(groups, manifest["label"].to_numpy(), folds, seed)
    manifest = pd.concat([manifest, parts.astype(str)], axis=1)
    if isinstance(config, Corpus) and config.groups:
        manifest = merge_classes(manifest, config, study.seed, dataset)
    check_parts(manifest, dataset, getattr(config, "class_names", ()))
    if dataset in study.segment.tasks:
        check_masks(manifest, dataset)
    if getattr(config, "score", "image") != "image":
        check_exams(manifest, dataset)
    return manifest


def keep_apart(parts: pd.DataFrame, groups: np.ndarray) -> pd.DataFrame:
    """A published split in which no group lies in two parts of a fold.

    Where a publisher names no patients, near-identical images may lie on both sides of its split. Test images
    stay; of the others, those that a later part (train < validation < test) nearly holds too are left out.
    A group is tested in the first fold that does so, and left out of the test part of all later ones, because
    the folds of a comparison must be independent.

    Args:
        parts: (n rows) part_0 ..., as published. groups: (n,) patient or group of each image.
    """
    order = {part: place for place, part in enumerate(PARTS)}
    apart, group = parts.copy(), pd.factorize(np.asarray(groups))[0]
    tested = np.zeros(len(apart), dtype=bool)
    for column in parts:
        place = parts[column].map(order)
        apart.loc[place < place.groupby(group).transform("max"), column] = LEFT_OUT
        test = (apart[column] == "test").to_numpy()
        apart.loc[test & tested[group], column] = LEFT_OUT
        tested[group[test]] = True
    return apart


# Checks -----------------------------------------------------------------------------------------------------
def check_parts(manifest: pd.DataFrame, dataset: str, names: Sequence[str] = ()) -> None:
    """UserError for a patient in two parts, an image without a part, or a part that lacks a class.

    Every part needs two classes, and training (with three or more `names` each part) all of them: `names` of
    a task, whose images the audit may all have dropped, or else those that are there. LEFT_OUT is no part.
    """
    classes, every = set(manifest["label"]).union(range(len(names))), len(names) > 2
    _check_patients(manifest["patient_id"], manifest[part_columns(manifest)], dataset)
    for fold, column in enumerate(part_columns(manifest)):
        known = manifest[column].isin((*PARTS, LEFT_OUT))
        if not known.all():
            bad = manifest.loc[~known, "image_id"].iloc[0]
            raise UserError(
                f"dataset '{dataset}', fold {fold}: image {bad} has no part; correct the split files"
            )
        for part in PARTS:
            held = set(manifest.loc[manifest[column] == part, "label"])
            if len(held) < 2 or ((every or part == "train") and held != classes):
                raise UserError(
                    f"dataset '{dataset}', fold {fold}: the {part} part lacks a class (it holds {len(held)} "
                    f"of {len(classes)}); use fewer folds or add patients of the rarer class"
                )


def check_masks(manifest: pd.DataFrame, dataset: str) -> None:
    """UserError where a task of `segment.tasks` has no mask at all, or none in a part of a fold."""
    marked = manifest[manifest["has_mask"]]
    if marked.empty:
        raise UserError(
            f"task '{dataset}' has no lesion masks to learn from; take it out of segment.tasks, or give its "
            "masks (for layout table by the option mask)"
        )
    for fold, column in enumerate(part_columns(manifest)):
        for part in PARTS:
            if part not in set(marked[column]):
                raise UserError(
                    f"task '{dataset}', fold {fold}: the {part} part has no lesion mask; use fewer folds or "
                    "more images with masks"
                )


def check_exams(manifest: pd.DataFrame, dataset: str) -> None:
    """UserError where a patient (or group) that is to be scored as one has images of two classes."""
    classes = manifest.groupby("patient_id")["class_name"].unique()
    for patient, names in classes[classes.map(len) > 1].items():
        raise UserError(
            f"task '{dataset}' is scored by patient, but patient {patient} has images of {listed(names)}; "
            "give all images of an exam the label of the exam, or set score: image"
        )


def _check_patients(patients: pd.Series, parts: pd.DataFrame, dataset: str) -> None:
    """Stop where images of one patient, whose name is not missing, lie in two parts of a fold."""
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


# Merged classes ---------------------------------------------------------------------------------------------
def merge_classes(manifest: pd.DataFrame, config: Corpus, seed: int, dataset: str) -> pd.DataFrame:
    """The manifest of a corpus with `class_name` and `label` of its `groups`; images and parts stay.

    UserError for a class in no group or in two, a class that is not published, or too many groups.
    """
    published = sorted(set(manifest["class_name"]))
    if isinstance(config.groups, int):
        group_of = _random_groups(published, config.groups, seed, dataset)
    else:
        group_of = _named_groups(published, config.groups or {}, dataset)
    names = manifest["class_name"].map(group_of)
    return manifest.assign(class_name=names.astype(str), label=pd.factorize(names, sort=True)[0])


def _random_groups(published: list[str], count: int, seed: int, dataset: str) -> dict[str, str]:
    """Groups of as many classes each, give or take one."""
    if not 2 <= count <= len(published):
        raise UserError(
            f"corpus '{dataset}': {count} groups of {len(published)} classes; give 2 to {len(published)}"
        )
    dealt = np.random.default_rng(seed_of(seed, "groups", count)).permutation(len(published)) % count
    names = [f"group_{number + 1:0{len(str(count))}}" for number in dealt]
    return dict(zip(published, names, strict=True))


def _named_groups(published: list[str], groups: dict[str, list[str]], dataset: str) -> dict[str, str]:
    group_of: dict[str, str] = {}
    for name, group in [(name, group) for group, names in groups.items() for name in names]:
        if name not in published:
            raise UserError(f"corpus '{dataset}': group '{group}' names '{name}', which it does not hold")
        if name in group_of:
            raise UserError(
                f"corpus '{dataset}': class '{name}' is in two groups, {group_of[name]} and {group}; "
                "leave one"
            )
        group_of[name] = group
    others = [group for group, names in groups.items() if not names]
    left = [name for name in published if name not in group_of]
    if len(others) > 1:
        raise UserError(f"corpus '{dataset}': groups {others} are empty; only one can take all other classes")
    if left and not others:
        raise UserError(
            f"corpus '{dataset}': {len(left)} classes are in no group, the first is '{left[0]}'; name them, "
            "or give one group an empty list, which takes all others"
        )
    return group_of | {name: others[0] for name in left}
