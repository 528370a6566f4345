"""Two processes that train one network do what one does alone."""

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.nn import functional

from radlib import compute
from radlib.machines import workers
from radlib.machines.team import ALONE, Team
from radlib.networks import backbones
from radlib.training.pretrain import pretrain_backbone
from tests.conftest import SMALL, two_classes, write_packed


def in_a_team(piece, advance):
    """What `piece` names, done by one of two processes."""
    function, rank, meeting, arguments = piece
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    try:
        return function(Team(rank, 2), *arguments)
    finally:
        distributed.destroy_process_group()


@pytest.fixture
def both(tmp_path):
    def call(function, *arguments):
        pieces = [(function, rank, str(tmp_path / "meeting"), arguments) for rank in (0, 1)]
        return workers.work(in_a_team, pieces, 2, 2, "team")

    return call


def normalised(team: Team, inputs: np.ndarray, seed: int):
    """A step of a convolution and a batch norm: outputs, gradients, and what the batch norm remembers."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh())
    network = team.network(model)
    share = team.share(len(inputs))
    outputs = network(torch.from_numpy(inputs[share]))
    (outputs.pow(3).mean() * team.weight(len(inputs))).backward()
    gradients = [p.grad.numpy() for p in model.parameters()]
    return outputs.detach().numpy(), gradients, {k: v.numpy() for k, v in model.state_dict().items()}


def test_batch_norm_and_gradients_are_those_of_the_whole_batch(both):
    """Seven images: the shares are unequal."""
    inputs = np.random.default_rng(0).normal(50, 3, (7, 2, 6, 6)).astype(np.float32)
    outputs, gradients, state = normalised(ALONE, inputs, 3)
    first, second = both(normalised, inputs, 3)
    assert (len(first[0]), len(second[0])) == (4, 3)
    np.testing.assert_allclose(np.concatenate([first[0], second[0]]), outputs, atol=2e-5)
    for _, found, remembered in (first, second):
        for one, alone in zip(found, gradients, strict=True):
            np.testing.assert_allclose(one, alone, atol=2e-5)
        for key, value in state.items():
            np.testing.assert_allclose(remembered[key], value, rtol=1e-4, err_msg=key)


def dealt(team: Team, items: list[int]):
    return team.collect([item**2 for item in team.deal(items)]), team.total(team.rank + 1)


def test_what_is_dealt_is_collected_in_order(both):
    assert both(dealt, list(range(5))) == [([0, 1, 4, 9, 16], 3)] * 2
    assert both(dealt, [7]) == [([49], 3)] * 2
    assert dealt(ALONE, [3, 1]) == ([9, 1], 1)


def first_gradients(team: Team, images: np.ndarray) -> list[np.ndarray]:
    """Of a network whose batch norms apply their activations themselves; float64, lest rounding grow."""
    torch.manual_seed(0)
    model = backbones.create(SMALL, classes=2).double()
    network = team.network(model).train()
    share = team.share(len(images))
    logits = network(torch.from_numpy(images[share]))
    labels = torch.from_numpy(np.arange(len(images))[share] % 2)
    (functional.cross_entropy(logits, labels) * team.weight(len(images))).backward()
    return [p.grad.numpy() for p in model.parameters()]


def test_gradients_of_a_backbone_are_those_of_one_process(both):
    images = np.random.default_rng(0).normal(size=(9, 3, 32, 32))
    alone = np.concatenate([g.ravel() for g in first_gradients(ALONE, images)])
    for found in both(first_gradients, images):
        difference = np.concatenate([g.ravel() for g in found]) - alone
        assert np.linalg.norm(difference) < 1e-9 * np.linalg.norm(alone)


def pretrained(team: Team, study):
    compute.precision = lambda: "float32"  # of this worker process, which ends with its piece
    return pretrain_backbone((study, "radiology", SMALL, 0, True), lambda done: None, team)


def test_pretraining_by_two_is_that_of_one(both, small_study, monkeypatch):
    images = two_classes(64, 32, folds=1)
    studies = [small_study.model_copy(update={"root": small_study.root / name}) for name in ("one", "two")]
    for study in studies:
        write_packed(study.dataset_dir("radiology"), *images)
    monkeypatch.setattr(compute, "precision", lambda: "float32")
    alone = pretrained(ALONE, studies[0])
    first, second = both(pretrained, studies[1])
    assert first.summary["n_train"] == second.summary["n_train"] == alone.summary["n_train"]
    for key in ("train_loss", "val_loss"):
        np.testing.assert_allclose(first.history[key], alone.history[key], rtol=0.05)
        np.testing.assert_array_equal(first.history[key], second.history[key])
    assert [len(list((study.store_dir / "pretrain").glob("*.pt"))) for study in studies] == [1, 1]
    assert studies[1].model_file("radiology", SMALL).is_file()
