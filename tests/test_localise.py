"""Class-activation maps: equal to Grad-CAM, measured in the mask's own pixels, thresholds from validation."""

import tracemalloc

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from sklearn.metrics import average_precision_score

from radlib.data import batches
from radlib.data.images import Packed, open_packed
from radlib.data.masks import Masks, pack
from radlib.data.splits import PARTS
from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.learners import Head, WholeLearner
from radlib.networks.localise import activation_maps, baselines, localise, resized
from radlib.networks.weights import load_weights
from radlib.stats.dice import BASELINES, MAP_FIGURES, mask_figures
from radlib.study.training import Setting
from radlib.training import transfer
from tests import networks  # noqa: F401 - timm learns their names
from tests.conftest import SMALL, two_classes, write_packed

TASK = "breast_us"
SHAPES = [(32, 32), (40, 30), (21, 50)]


def with_masks(count: int = 40) -> tuple[np.ndarray, pd.DataFrame, list[np.ndarray | None]]:
    """Images with a bright square in the positive class, masks of several sizes, every tenth without one."""
    images, manifest = two_classes(count, 32, folds=2)
    masks = []
    for row in range(count):
        height, width = SHAPES[row % len(SHAPES)]
        mask = np.zeros((height, width), dtype=bool)
        mask[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = True
        masks.append(mask if row % 10 else None)
        manifest.loc[row, ["height", "width", "has_mask"]] = [height, width, row % 10 != 0]
    return images, manifest.astype({"has_mask": bool, "height": int, "width": int}), masks


@pytest.fixture
def study(small_study):
    settings = [
        Setting(train="frozen", lr=0.01), Setting(train="top", lr=0.001), Setting(train="all", lr=0.001)
    ]  # fmt: skip
    options = small_study.transfer.model_copy(
        update={"settings": settings, "epochs": {"frozen": 5, "top": 1, "all": 1}}
    )
    study = small_study.model_copy(update={"sources": ["random"], "transfer": options})
    images, manifest, masks = with_masks()
    write_packed(study.dataset_dir(TASK), images, manifest, masks=masks)
    return study


def whole_learner(study, backbone: str = SMALL) -> WholeLearner:
    packed = open_packed(study.dataset_dir(TASK))
    weights, width = load_weights(study, "random", backbone), backbones.width(backbone)
    torch.manual_seed(3)
    head = Head(torch.randn(width) * 0.1, torch.rand(width) + 0.5, 0.5)
    return WholeLearner(packed, weights, weights.build(), 96, "none", head)


class _WithTwoLogits(torch.nn.Module):
    """The same network as the independent package wants it: pixels in, one logit per class out."""

    def __init__(self, learner: WholeLearner):
        super().__init__()
        self.learner = learner
        self.last = torch.nn.Identity()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        maps = self.last(self.learner.backbone.forward_features(self.learner.preprocessing(batch)))
        logit = self.learner.head(self.learner.backbone.forward_head(maps, pre_logits=True))
        return torch.stack([-logit, logit], dim=1)


def _patches(tokens: torch.Tensor) -> torch.Tensor:
    """Of test_vit2 at 96 px: 6 x 6 patches behind a class token."""
    return tokens[:, 1:].reshape(len(tokens), 6, 6, 64).permute(0, 3, 1, 2)


# What is behind the average: nothing; a layer; a norm; a norm, of tokens; nothing, and channels are last.
AVERAGED = {
    SMALL: (3, None),
    "mobilenetv3_small_050": (3, None),
    "test_convnext": (3, None),
    "test_vit2": (6, _patches),
    "tiny_swin": (3, lambda maps: maps.permute(0, 3, 1, 2)),
}


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("backbone", AVERAGED)
def test_maps_equal_those_of_the_grad_cam_package(study, backbone):
    side, layout = AVERAGED[backbone]
    learner = whole_learner(study, backbone)
    rows = np.arange(6)
    found = activation_maps(learner, rows, 4)
    assert found.shape == (6, side, side) and found.max(axis=(1, 2)) == pytest.approx(1)
    network = _WithTwoLogits(learner)
    pixels = batches.gather(learner.packed.images, rows, 96)
    targets = [ClassifierOutputTarget(int(k)) for k in network(pixels).argmax(1)]
    with GradCAM(network, [network.last], reshape_transform=layout) as cam:
        cam(pixels, targets)
        maps, gradients = cam.activations_and_grads.activations[0], cam.activations_and_grads.gradients[0]
        expected = cam.get_cam_image(
            pixels, network.last, targets, maps.detach().numpy(), gradients.detach().numpy(), False
        )
    expected = expected.clip(0)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.std() > 0.05


def test_resizing_is_bilinear_between_pixel_centres():
    map = np.random.default_rng(0).random((5, 4)).astype(np.float32)
    expected = cv2.resize(map, (37, 60), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(resized(map, (60, 37), "stretch"), expected, atol=1e-5)


def test_figures_are_measured_on_the_mask_as_drawn(study):
    packed = open_packed(study.dataset_dir(TASK))
    rows = np.flatnonzero(packed.manifest["has_mask"])[:9]
    rng = np.random.default_rng(1)
    maps = rng.random((9, 4, 4)).astype(np.float32)
    threshold, table = localise(packed, rows[:4], maps[:4], rows[4:], maps[4:])
    for row, map, figures in zip(rows[4:], maps[4:], table.itertuples(), strict=True):
        height, width = SHAPES[row % 3]
        mask = np.zeros((height, width), dtype=bool)
        mask[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = True
        full = resized(map, (height, width), "stretch")
        assert figures.dice == mask_figures(full >= threshold, mask)["dice"]
        assert figures.average_precision == pytest.approx(average_precision_score(mask.ravel(), full.ravel()))
        assert figures.energy_inside == pytest.approx(full[mask].sum() / full.sum(), rel=1e-5)
    other = maps.copy()
    other[4:] = rng.random((5, 4, 4))
    assert localise(packed, rows[:4], other[:4], rows[4:], other[4:])[0] == threshold


@pytest.mark.parametrize("part", PARTS)
def test_a_part_without_a_mask_is_one_sentence_before_anything_is_trained(study, part, monkeypatch):
    monkeypatch.setattr(transfer.TransferGroup, "compute", None)
    images, manifest, masks = with_masks()
    manifest["has_mask"] &= manifest["part_0"] != part
    kept = [mask if has else None for mask, has in zip(masks, manifest["has_mask"], strict=True)]
    write_packed(study.dataset_dir(TASK), images, manifest, masks=kept)
    with pytest.raises(UserError, match=f"task '{TASK}', fold 0: the {part} part has no lesion mask"):
        transfer.transfer(study, TASK)


def test_a_threshold_takes_as_much_memory_for_many_masks_as_for_few():
    def peak(count: int) -> int:
        manifest = pd.DataFrame({"height": 300, "width": 300, "has_mask": True}, index=range(count))
        masks = Masks(pack([np.tri(300, dtype=bool)] * count), manifest)
        packed, rows = Packed(np.zeros(0), masks, manifest, {}), np.arange(count)
        maps = np.random.default_rng(0).random((count, 4, 4))
        tracemalloc.start()
        localise(packed, rows, maps, rows[:0], maps[:0])
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(60) < 1.5 * peak(2)


def test_every_run_and_regime_is_localised_once_per_test_image_with_mask(study):
    result = transfer.transfer(study, TASK, save=True)
    packed = open_packed(study.dataset_dir(TASK))
    table = pd.read_parquet(study.result_dir(TASK) / "localisation.parquet")
    contract = "run image_id patient_id fold dice iou average_precision energy_inside pointing_hit threshold"
    assert set(contract.split()) <= set(table.columns)
    assert set(result.predictions.columns) == {"run", "image_id", "patient_id", "fold", "label", "score"}
    for fold in range(2):
        part = packed.manifest[f"part_{fold}"]
        wanted = set(packed.manifest["image_id"][packed.manifest["has_mask"] & (part == "test")])
        runs = [*result.runs["run"][result.runs["fold"] == fold], *BASELINES]
        for run in runs:
            some = table[(table["run"] == run) & (table["fold"] == fold)]
            assert sorted(some["image_id"]) == sorted(wanted), run
    assert not table[MAP_FIGURES].isna().any(axis=None)
    assert set(result.runs["train"]) == {"frozen", "top", "all"}
    again = transfer.transfer(study, TASK)
    assert again.computed == 0
    pd.testing.assert_frame_equal(again.localisation, result.localisation)


def test_frozen_maps_are_those_of_the_whole_network(study):
    """The stored feature maps of a frozen run give what one pass of the network gives."""
    packed = open_packed(study.dataset_dir(TASK))
    group = transfer.TransferGroup(
        study, TASK, packed, load_weights(study, "random", SMALL), lambda done: None
    )
    run = next(run for run in study.runs_of(TASK) if run.train == "frozen")
    learner = group.learner(run, np.arange(20))
    whole = WholeLearner(packed, group.weights, group.weights.build(), group.size, "none", learner.head)
    rows = group.masked[5:15]
    np.testing.assert_allclose(activation_maps(learner, rows, 4), activation_maps(whole, rows, 4), atol=0.02)


def test_baselines_never_look(study, monkeypatch):
    packed = open_packed(study.dataset_dir(TASK))
    unpacked, real = set(), Masks.__getitem__
    monkeypatch.setattr(Masks, "__getitem__", lambda masks, row: unpacked.add(row) or real(masks, row))
    table = baselines(packed, [0])
    assert unpacked <= set(np.flatnonzero(packed.manifest["has_mask"])), "nor unpack what is not there"
    whole = table[table["run"] == "whole_image"]
    rows = packed.manifest.reset_index().set_index("image_id")["index"]
    for name, found in zip(whole["image_id"], whole["dice"], strict=True):
        share = packed.masks[rows[name]].mean()
        assert found == pytest.approx(2 * share / (1 + share))
    # Every lesion here is in the middle, where the ellipse is.
    assert table.groupby("run")["dice"].mean()["centred_blob"] > 0.6
