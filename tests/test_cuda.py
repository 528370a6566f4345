"""CUDA without a graphics card: every learner through forward pass and loss, and no tensor left elsewhere.

PyTorch's `FakeTensorMode` computes shapes, types and devices without numbers, and "cuda" is a device to it;
it names a mixture of devices as a card would. Backward passes, mixed precision and numbers need a card.
"""

import numpy as np
import pytest
import torch
from timm.models import vision_transformer
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from radlib import compute
from radlib.data import batches
from radlib.data.images import open_packed
from radlib.machines.team import ALONE
from radlib.networks import backbones, features, segmenters
from radlib.networks.weights import load_weights
from radlib.study import Run
from radlib.study.training import Backbone
from radlib.training import pretrain, segment, transfer
from radlib.training.grid import RunGroup
from tests.conftest import LITE0
from tests.test_segment import TASK, with_lesions

pytestmark = pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'")
CUDA = torch.device("cuda", 0)


class Reached(Exception):
    """A learner and its loss, where the loop would begin."""


def move(module: nn.Module, device: torch.device, memory_format=None) -> nn.Module:
    """`nn.Module.to`, which cannot exchange parameters that hold no numbers."""
    for some in module.modules():
        for name, own in some._parameters.items():
            if own is not None:
                some._parameters[name] = nn.Parameter(own.detach().to(device), own.requires_grad)
        for name, own in some._buffers.items():
            some._buffers[name] = own if own is None else own.to(device)
    return module


@pytest.fixture
def study(small_study):
    """Without scaling of features, for which a number is read from them."""
    study = with_lesions(small_study)
    return study.model_copy(update={"transfer": study.transfer.model_copy(update={"standardise": False})})


@pytest.fixture
def fake(monkeypatch):
    """As on a machine with a card."""

    def reached(group, learner, run, train, *_):
        learner.train()
        raise Reached(learner, group.loss_of(learner, train[:6], 0, torch.Generator()))

    monkeypatch.setattr(RunGroup, "fit", reached)
    monkeypatch.setattr(compute, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(compute, "precision", lambda: "bfloat16")
    monkeypatch.setattr(compute, "pinned", lambda tensor: tensor)  # there is no number to be fetched
    monkeypatch.setattr(nn.Module, "to", move)
    monkeypatch.setattr(vision_transformer, "calculate_drop_path_rates", lambda rate, depth: [rate] * depth)
    monkeypatch.setattr(batches, "shuffled", lambda rows, size, _: batches.in_order(rows, size))
    return FakeTensorMode(allow_non_fake_inputs=True)


def begun(group, run) -> tuple[nn.Module, torch.Tensor]:
    with pytest.raises(Reached) as reached:
        group.compute(run)
    return reached.value.args


@pytest.mark.parametrize(
    ("train", "backbone"),
    [(train, LITE0) for train in ("frozen", "top10", "top", "all")]
    + [(train, "test_vit2") for train in ("frozen", "top", "all")],
)
def test_transfer(study, train, backbone, fake):
    study = study.model_copy(update={"backbones": {backbone: Backbone(size=32)}})
    packed, weights = open_packed(study.dataset_dir(TASK)), load_weights(study, "random", backbone)
    group = transfer.TransferGroup(study, TASK, packed, weights, lambda _: None)
    mapped = np.flatnonzero(packed.manifest["has_mask"])
    count = len(packed.manifest)
    with fake:
        boundary = torch.zeros(2, count, 320, 1, 1, dtype=torch.bfloat16)
        pooled = torch.zeros(2, count, backbones.width(backbone))
        last = torch.zeros(len(mapped), *backbones.feature_shape(backbone, 32)[1:], dtype=torch.bfloat16)
        group.features = features.Features(pooled, boundary, last, mapped)
        learner, loss = begun(group, Run(TASK, "random", backbone, train, 0.01, 0, 0))
        assert loss.device == CUDA and loss.dtype == torch.float32
        scores, _ = group.answers(learner, np.arange(20))
        assert scores.device.type == "cpu" and scores.shape == (20,)
        logits = learner.head(backbones.pooled(learner.backbone, learner.last(mapped[:3])))
        assert logits.device == CUDA and logits.shape == (3,)


@pytest.mark.parametrize("train", ["frozen", "all"])
def test_segmentation(study, train, fake):
    packed, weights = open_packed(study.dataset_dir(TASK)), load_weights(study, "random", LITE0)
    group = segment.SegmentGroup(study, TASK, packed, weights, lambda _: None)
    with fake:
        # What goes to the store lies on the processor; a file cannot take it, for it has no numbers.
        each = list(segmenters._said(group.pictures, weights, None, lambda _: None))
        *levels, targets = (torch.cat([said[name] for said in each]) for name in each[0])
        assert {tensor.device.type for tensor in [*levels, targets]} == {"cpu"}
        group.encoded = [(levels, targets)]
        learner, loss = begun(group, Run(TASK, "random", LITE0, train, 0.01, 0, 0))
        assert loss.device == CUDA and loss.dtype == torch.float32
        for found in group.answers(learner, group.pictures.rows[:5]):
            assert found.device.type == "cpu" and found.shape == (5, 64, 64)


@pytest.mark.parametrize("backbone", [LITE0, "densenet121", "test_vit2"])
def test_features(study, backbone, fake):
    """What goes to the store lies on the processor, a list of maps included."""
    packed, weights = open_packed(study.dataset_dir(TASK)), load_weights(study, "random", backbone)
    count = len(packed.manifest)
    options = {
        "moves": torch.zeros(count, 2, 3),
        "boundary": backbone in backbones.TOPS,
        "mapped": np.arange(9),
    }
    with fake:
        said = features._said(packed, weights, 64, **options, advance=lambda _: None)
        stored = [dict(batch) for batch in said]
    kinds = {"pooled": torch.float32, "last": torch.bfloat16}
    kinds |= {"boundary": torch.bfloat16} if backbone in backbones.TOPS else {}
    for batch in stored:
        assert {name: tensor.dtype for name, tensor in batch.items()} == kinds
        assert {tensor.device.type for tensor in batch.values()} == {"cpu"}
    assert sum(len(batch["last"]) for batch in stored) == 9


def test_pretraining(study, fake):
    packed = open_packed(study.dataset_dir(TASK))
    with fake:
        training = pretrain._Training(packed, LITE0, study.pretrain, 0, ALONE)
        for rows in training._epoch_batches(0)[:2]:
            loss = training._loss(*training._drawn(rows, torch.Generator()))
            assert loss.device == CUDA and loss.dtype == torch.float32
        with compute.inference():
            scores = training.model(training._input(training._pixels(training.rows["test"]), None))
        assert scores.device == CUDA
