"""Coarser labels for the same images: published classes merged into groups."""

import numpy as np
import pandas as pd

from radlib.errors import UserError
from radlib.seeds import seed_of
from radlib.study.datasets import Corpus


def merge_classes(manifest: pd.DataFrame, config: Corpus, seed: int, dataset: str) -> pd.DataFrame:
    """The manifest of a corpus with `class_name` and `label` of its `groups`; images and parts stay.

    Args:
        manifest: class_name of every image. seed: the study's; it deals classes to groups drawn at random.
    Raises:
        UserError: a class in no group or in two, a class that is not published, or too many groups.
    """
    published = sorted(set(manifest["class_name"]))
    if isinstance(config.groups, int):
        group_of = _at_random(published, config.groups, seed, dataset)
    else:
        group_of = _named(published, config.groups or {}, dataset)
    names = manifest["class_name"].map(group_of)
    labels = {name: label for label, name in enumerate(sorted(set(names)))}
    return manifest.assign(class_name=names.astype(str), label=names.map(labels).to_numpy(dtype=int))


def _at_random(published: list[str], count: int, seed: int, dataset: str) -> dict[str, str]:
    """Groups of as many classes each, give or take one."""
    if not 2 <= count <= len(published):
        raise UserError(
            f"corpus '{dataset}': {count} groups of {len(published)} classes; give 2 to {len(published)}"
        )
    rng = np.random.default_rng(seed_of(seed, "groups", count))
    digits = len(str(count))
    dealt = rng.permutation(len(published)) % count
    return {name: f"group_{number + 1:0{digits}}" for name, number in zip(published, dealt, strict=True)}


def _named(published: list[str], groups: dict[str, list[str]], dataset: str) -> dict[str, str]:
    group_of: dict[str, str] = {}
    for group, names in groups.items():
        for name in names:
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
