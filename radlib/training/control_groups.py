"""What controls train: on shuffled labels, or on images that pretraining never saw.

Lesion masks are left aside, for controls need no maps.
"""

import numpy as np
import pandas as pd
import torch

from radlib import compute
from radlib.code import code_digest
from radlib.data.images import Packed
from radlib.data.splits import choose_subset, part_columns
from radlib.errors import UserError
from radlib.seeds import digest_of, seed_of
from radlib.study import Run, Study
from radlib.training.transfer import TransferGroup

FEWEST_TESTED = 5  # patients in each group of classes
GROUPS = ("first half of the classes", "second half of the classes")


class ControlGroup(TransferGroup):
    """A task as it is."""

    folder, localises = "controls", False


class PermutedGroup(ControlGroup):
    """A task whose labels are shuffled where a run learns and chooses, and true where it is tested."""

    def compute(self, run: Run) -> tuple[dict, pd.DataFrame]:
        # The same for both sources of a pair, and drawn anew for every backbone, fold and seed.
        seed = seed_of(self.study.seed, "permuted labels", run.task, run.backbone, run.fold, run.seed)
        labels = permuted_labels(self.packed.manifest, run.task, run.fold, seed)
        self.labels = torch.from_numpy(labels.astype(np.float32)).to(compute.device())
        return super().compute(run)


class HeldOutGroup(ControlGroup):
    """The held-out images of a corpus, as a task; here `task` is the corpus' name."""

    @classmethod
    def opened(cls, study: Study, task: str) -> Packed:
        options = study.controls
        seed = seed_of(study.seed, "held out", task)
        packed = super().opened(study, task)
        return held_out(packed, task, options.train_patients, options.max_images, seed)


def permuted_labels(manifest: pd.DataFrame, task: str, fold: int, seed: int) -> np.ndarray:
    """Shuffle labels among the patients of the training part, and among those of the validation part.

    A patient's label is 1 if any image's is; all images of a patient get the one label that it draws. The
    result, (n,) int64, depends on patients, labels and seed, not on the order of rows; UserError where all
    patients of a part have one label.
    """
    rng = np.random.default_rng(seed)
    labels = manifest["label"].to_numpy(dtype=np.int64, copy=True)
    for part in ("train", "validation"):
        rows = np.flatnonzero(manifest[f"part_{fold}"] == part)
        patients = manifest["patient_id"].to_numpy()[rows]
        own = pd.Series(labels[rows]).groupby(patients).max()
        if own.nunique() < 2:
            raise UserError(
                f"task '{task}', fold {fold}: all {len(own)} patients of the {part} part have the label "
                f"{own.iloc[0]}, which cannot be shuffled; name another task as controls.task"
            )
        labels[rows] = pd.Series(rng.permutation(own), index=own.index)[patients]
    return labels


def held_out(packed: Packed, corpus: str, train_patients: int, max_images: int, seed: int) -> Packed:
    """The images of a corpus that pretraining never trained on, as a task of two groups of its classes.

    Classes in the order of their names: the first half are 0, the others 1. Few patients train, as many
    validate (`train_patients` of each group), all others test; both kinds are drawn evenly from the classes.
    The manifest has the new label, class_name and part_0; there are no masks. UserError on too few patients.
    """
    waiting = np.flatnonzero(packed.manifest["part_0"].isin(["validation", "test"]))
    some = packed.manifest.iloc[waiting]
    rows = waiting[choose_subset(some["label"].to_numpy(), some["image_id"].to_numpy(), max_images, seed)]
    manifest = packed.manifest.iloc[rows].reset_index(drop=True)
    classes = manifest["label"].to_numpy()
    second = classes >= (packed.manifest["label"].max() + 1) // 2
    manifest["label"] = second.astype(np.int64)
    manifest["class_name"] = np.where(second, GROUPS[1], GROUPS[0])
    manifest = manifest.drop(columns=part_columns(manifest))
    manifest["part_0"] = _parts(manifest, classes, corpus, train_patients, seed)
    digest = digest_of(code_digest(__name__), packed.digest, train_patients, max_images, seed)
    return Packed(packed.images[rows], None, manifest, {**packed.meta, "digest": digest})


def _parts(manifest: pd.DataFrame, classes: np.ndarray, corpus: str, train: int, seed: int) -> np.ndarray:
    """(m,) part of every image, by patient; a patient of several classes counts for the last."""
    ids = manifest["patient_id"].to_numpy()
    patients = pd.DataFrame({"class": classes, "group": manifest["label"]}).groupby(ids).max()
    part = pd.Series("test", index=patients.index)
    for group, own in patients.groupby("group"):
        needed = 2 * train + FEWEST_TESTED
        if len(own) < needed:
            raise UserError(
                f"corpus '{corpus}' keeps {len(own)} patients of the {GROUPS[group]} from training, and its "
                f"control needs {needed} ({train} to train, as many to validate, {FEWEST_TESTED} to test); "
                "lower controls.train_patients, raise controls.max_images, or take it out of "
                "controls.positive"
            )
        for name in ("train", "validation"):
            left = own[part[own.index] == "test"]
            chosen = choose_subset(left["class"].to_numpy(), left.index.to_numpy(), train, seed)
            part[left.index[chosen]] = name
    return part[ids].to_numpy()
