"""The split of a dataset, the publisher's or the study's own, with everything that would make it useless."""

from collections.abc import Sequence

import pandas as pd

from radlib.data.grouping import merge_classes
from radlib.data.splits import assign_parts, check_masks, check_parts, check_patients, keep_apart
from radlib.errors import UserError
from radlib.seeds import seed_of
from radlib.study import Study
from radlib.study.datasets import Corpus, Task

Parts = dict[int, str] | None


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
        parts = _published(published, folds, dataset)
        # Where ids are of files, several may be one person's: then images are left out, see `keep_apart`.
        if config.patients_certain:
            check_patients(named, parts, dataset)
        parts = keep_apart(parts, groups)
    else:
        seed = seed_of(study.seed, "split", study.origin(dataset))
        parts = assign_parts(groups, manifest["label"].to_numpy(), folds, seed)
    manifest = pd.concat([manifest, parts.astype(str)], axis=1)
    if isinstance(config, Corpus) and config.groups:
        manifest = merge_classes(manifest, config, study.seed, dataset)
    check_parts(manifest, dataset)
    if dataset in study.segment.tasks:
        check_masks(manifest, dataset)
    return manifest


def _published(published: Sequence[Parts], folds: int, dataset: str) -> pd.DataFrame:
    held = max(len(parts or {}) for parts in published)
    if held != folds:
        raise UserError(
            f"dataset '{dataset}': the authors' files hold {held} folds, not {folds}; set folds: {held}"
        )
    return pd.DataFrame(
        {f"part_{k}": [(parts or {}).get(k, "") for parts in published] for k in range(folds)}
    )
