"""Probes that train where a mark goes with the label, and are tested where it goes against it.

Every image is shown to a network as it is and once with each mark; its features are stored. A degree of
correlation then only picks which of an image's rows a probe learns from.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from radlib.code import code_digest
from radlib.data.confounders import Marked, marked_images
from radlib.data.images import Packed, open_packed
from radlib.networks.features import Features, features_of
from radlib.seeds import digest_of, seed_of
from radlib.study import Run, Study
from radlib.training.transfer import TransferGroup

REVERSED = -1.0  # of the test part: no positive patient carries the mark, and every other one does


@dataclass(frozen=True)
class PlantedRun(Run):
    """A logistic probe on one fold; degree: see `marked_images`, in the training and validation part."""

    confounder: str = ""
    degree: float = 0.0


class PlantedGroup(TransferGroup):
    """The images of a task, and behind them the same images with each confounder of the study."""

    localises, elsewhere = False, None  # neither lesions nor another hospital

    @classmethod
    def opened(cls, study: Study, task: str) -> Packed:
        packed, names = open_packed(study.dataset_dir(task)), study.robustness.confounders
        manifest = pd.concat([packed.manifest] * (1 + len(names)), ignore_index=True)
        digest = digest_of(code_digest("radlib.data.confounders"), packed.digest, names)
        return Packed(Marked(packed.images, names), None, manifest, {**packed.meta, "digest": digest})

    @cached_property
    def features(self) -> Features:
        shown = self.packed, self.weights, self.size
        store = self.study.store_dir
        return features_of(*shown, "none", 1, boundary=False, store=store, advance=self.advance)

    def parts(self, run: PlantedRun) -> list[np.ndarray]:
        """As every run's, but marked images in place of some; alike for all sources."""
        names = self.study.robustness.confounders
        count, place = len(self.packed.images.images), 1 + names.index(run.confounder)
        patients, labels = (self.packed.manifest[c].to_numpy() for c in ("patient_id", "label"))
        named = (self.study.origin(run.task), run.backbone, run.fold, run.confounder)
        seed, found = seed_of(self.study.seed, "planted", *named), []
        for rows, degree in zip(super().parts(run), (run.degree, run.degree, REVERSED), strict=True):
            rows = rows[rows < count]
            marked = marked_images(patients[rows], labels[rows], degree, seed)
            found.append(rows + marked * place * count)
        return found


def planted_runs(study: Study, task: str) -> list[PlantedRun]:
    """Every source, backbone, fold, confounder and degree."""
    options, seed = study.robustness, study.transfer.seeds[0]
    return [
        PlantedRun(*named, "logistic", 0.0, fold, seed, confounder=confounder, degree=degree)
        for named in [
            (task, source, backbone)
            for source in study.sources
            for backbone in options.backbones or study.backbones
            if backbone in study.backbones_of(source)
        ]
        for fold in range(study.tasks[task].folds)
        for confounder in options.confounders
        for degree in options.degrees
    ]
