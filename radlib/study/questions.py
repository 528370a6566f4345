"""Sections that say what is compared, and which questions are asked of it."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from radlib.study import common
from radlib.study.common import Each, Strict, Train
from radlib.study.training import Setting


class Compare(Strict):
    pairs: Each[common.Pair] = Field(description="(source_a, source_b): differences are a minus b")
    headline: common.Pair = Field(description="the pair that the summary leads with")
    resamples: int = Field(2000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    equivalence: float = Field(0.01, gt=0, lt=1, description="differences in AUC below it do not matter")
    claim_by: common.Claimed = Field(
        "grid_mean",
        description="what the summary's claim is of: one regime, or the mean over the settings that train by "
        "gradient",
    )
    rank_by: common.TrainUsed = Field("logistic", description="regime by which 05 says where to start from")
    tasks_that_count: Literal["all", "above_shortcut"] = Field(
        "all",
        description="in means over tasks; above_shortcut: those on which some network, by rank_by, is shown "
        "to beat both the shortcut classifier and an AUC of 0.5",
    )

    @property
    def alpha(self) -> float:
        """Differences are shown by a p below it: 0.05 for 95 %, where 1 - 0.95 is a little more."""
        return round(1 - self.confidence, 12)


class Cell(Strict):
    """One kind of simulated study; it is drawn with a true difference of `delta`, and of 0."""

    measure: Literal["auc", "dice"]
    patients: list[int] = Field(min_length=1, max_length=2, description="[positive, negative]; Dice: [all]")
    level: float = Field(gt=0, lt=1, description="true value of side b")
    delta: float = Field(gt=0, lt=1, description="true difference, a minus b")
    folds: int = Field(1, ge=1, le=20)
    settings: int = Field(4, ge=1)
    pretrainings: int = Field(1, ge=1, description="of each source, for each setting")
    seeds: int = Field(1, ge=1, description="trainings of each setting on each fold")
    training_sd: float = Field(
        0.0, ge=0, description="SD of what a training adds to its level, in SD of a score"
    )
    pretraining_sd: float = Field(0.0, ge=0, description="the same of a pretraining")

    @property
    def varies(self) -> float:
        """SD of what trainings and pretrainings add to a level together."""
        return math.hypot(self.training_sd, self.pretraining_sd)

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Cell:
        if len(self.patients) != {"auc": 2, "dice": 1}[self.measure]:
            raise ValueError("patients: [positive, negative] for auc, [all] for dice")
        if min(self.patients) < 2 * self.folds:
            raise ValueError(f"{min(self.patients)} patients over {self.folds} folds; each needs two")
        if self.pretraining_sd and (self.measure == "dice" or self.training_sd):
            raise ValueError("pretraining_sd is of auc alone, and of cells without training_sd")
        if self.level + self.delta >= 1:
            raise ValueError("level + delta must lie below 1")
        return self


class Validity(Strict):
    """Simulated studies with a known true difference, which the intervals should cover."""

    studies: int = Field(ge=2, description="in each cell, with and without a difference")
    resamples: int = Field(1000, ge=100)
    cells: list[Cell] = Field(min_length=1)


class SharedPreprocessing(Strict):
    """One preprocessing for all weights, (x / 255 - mean) / std in the order of `channels`.

    By default that of the published scripts: blue first, minus (103.939, 116.779, 123.68), then / 255.
    """

    mean: common.Means = (0.407604, 0.457957, 0.485020)
    std: common.Deviations = (1.0, 1.0, 1.0)
    channels: Literal["RGB", "BGR"] = "BGR"


class FrozenSetting(Setting):
    train: Literal["frozen"] = "frozen"


class Confounds(Strict):
    """What preprocessing and metric alone do to the differences between sources, in frozen runs."""

    tasks: Each[common.ComparedName] = Field([], description="none named: the question is not asked")
    settings: list[FrozenSetting] | None = Field(None, description="of transfer; None: all frozen ones")
    pairs: Each[common.Pair] | None = Field(
        None, description="None: the headline, and the pairs of compare that name a checkpoint"
    )
    shared: SharedPreprocessing = SharedPreprocessing()


class LabelEfficiency(Strict):
    """Frozen runs on parts of the training patients: does a difference depend on their number?"""

    tasks: Each[common.ComparedName] = []
    backbones: Each[common.BackboneName] = Field([], description="none named: all of the study")
    train: Literal["frozen", "logistic"] = Field("frozen", description="one of transfer's settings")
    lr: float = Field(0.01, gt=0, description="that of one of transfer's frozen settings")
    fractions: list[float] = Field(
        [0.05, 0.1, 0.25, 0.5, 1.0],
        min_length=1,
        description="parts of the training patients, ascending; 1 is the run of 04_transfer itself",
    )
    repeats: int = Field(5, ge=3, description="random orders of patients, for each fold and backbone")

    @model_validator(mode="after")
    def _ascending(self) -> LabelEfficiency:
        if sorted(set(self.fractions)) != self.fractions or self.fractions[0] <= 0 or self.fractions[-1] > 1:
            raise ValueError("fractions must ascend, above 0 and up to 1, as [0.05, 0.1, 0.25, 0.5, 1]")
        return self


class MatchedLabels(Strict):
    """Sources set against each other beside the grid, to tell what images show from how they are labelled.

    The first of `pairs` is the difference to be explained. Pairs with the same second source show what is
    left of it when labels are matched, pairs with the same first source what its finer labels add. Random
    weights are always set beside both sources of the first pair.
    """

    sources: Each[common.WeightsName] = Field([], description="they need not be among the study's")
    backbones: Each[common.BackboneName] = []
    tasks: Each[common.ComparedName] = []
    train: Each[Train] = Field(["frozen", "top10"], description="transfer's settings")
    pairs: Each[common.AnyPair] = Field([], description="as in compare")

    @model_validator(mode="after")
    def _whole_or_empty(self) -> MatchedLabels:
        given = [bool(part) for part in (self.sources, self.backbones, self.tasks, self.pairs)]
        if any(given) and not (all(given) and self.train):
            raise ValueError("give all of sources, backbones, tasks, train and pairs, or none")
        for source in {name for pair in self.pairs for name in pair} - set(self.sources):
            raise ValueError(f"pairs name '{source}', which is not among its sources")
        return self


class Controls(Strict):
    """Comparisons whose outcome is known beforehand; without `task` and `positive` there are none."""

    task: common.ComparedName | None = Field(None, description="of the negative controls")
    positive: dict[common.PretrainedName, common.CorpusName] = Field(
        {}, description="source: the corpus whose classes it has learnt to tell apart"
    )
    backbones: Each[common.BackboneName] | None = Field(None, description="None: all backbones of the study")
    lr: float = Field(0.003, gt=0, description="all backbones are frozen")
    epochs: int = Field(10, ge=1)
    seeds: Each[int] = Field([0, 1, 2, 3, 4], min_length=2)
    pairs: int = Field(3, ge=2, description="pairs of random weights of each backbone")
    train_patients: int = Field(15, ge=2, description="positive: in each group of classes; as many validate")
    max_images: int = Field(300, ge=20, description="positive: most images of a corpus")


class Robustness(Strict):
    """Logistic probes learn where a planted mark goes with the label; tests reverse it."""

    tasks: Each[common.ComparedName] = Field([], description="none named: the question is not asked")
    backbones: Each[common.BackboneName] = Field([], description="none named: all of the study")
    confounders: Each[Literal["tag", "blur", "noise"]] = Field(["tag", "blur", "noise"], min_length=1)
    degrees: list[float] = Field(
        [0, 0.25, 0.5, 0.75, 1],
        min_length=2,
        description="share of positive training patients with the mark minus that of the others, from 0 on",
    )

    @model_validator(mode="after")
    def _ascending(self) -> Robustness:
        if sorted(set(self.degrees)) != self.degrees or self.degrees[0] != 0 or self.degrees[-1] > 1:
            raise ValueError(
                "degrees must ascend from 0, what all are compared with, up to 1, as [0, 0.5, 1]"
            )
        return self


class Similarity(Strict):
    """CKA between networks of two sources, stage by stage, on the test patients of a task's first fold."""

    tasks: Each[common.ComparedName] = Field([], description="none named: the question is not asked")
    backbones: Each[common.BackboneName] = Field([], description="none named: all of the study")
    after: Literal["top10", "all"] = Field("all", description="which settings of transfer, trained again")
    patients: int = Field(300, ge=8, description="most test patients that are compared")
