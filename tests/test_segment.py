"""Segmentation: the U-Net itself, masks in their own pixels, and what a run may depend on."""

import numpy as np
import pandas as pd
import pytest
import segmentation_models_pytorch as smp
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou

from radlib import compute
from radlib.data import batches
from radlib.data.images import open_packed, to_square
from radlib.errors import UserError
from radlib.networks.segmenters import UNet, encode, encoded, pictures_of
from radlib.networks.weights import Preprocessing, load_weights
from radlib.study.training import Segment, SegmentSetting
from radlib.training import segment
from tests.conftest import LITE0, SMALL, write_packed

TASK = "breast_us"
SHAPES = [(48, 48), (60, 40), (36, 72)]
ODD = ["inception_resnet_v2", "resnet50", "densenet121", "inception_v3", LITE0]


def lesions(resize: str, count: int = 60):
    """Noise with a bright disc that the mask marks; three shapes, two images a patient, two empty masks."""
    rng = np.random.default_rng(4)
    images, masks, rows = [], [], []
    for number in range(count):
        height, width = SHAPES[number % 3]
        y, x = np.mgrid[:height, :width]
        centre = rng.uniform(0.3, 0.7, 2) * (height, width)
        mask = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= (0.22 * min(height, width)) ** 2
        empty = number % 30 == 7
        mask &= not empty
        picture = (rng.normal(80, 12, (height, width)) + 110 * mask).clip(0, 255).astype(np.uint8)
        images.append(to_square(picture, 64, resize))
        masks.append(None if empty else mask)
        turn = (number // 2) % 5
        label = number // 2 % 2
        rows.append(
            {
                "image_id": f"image_{number:03d}", "patient_id": f"p{number // 2:02d}", "label": label,
                "class_name": "ab"[label], "width": width, "height": height, "sha256": f"{number}",
                "has_mask": not empty, "empty_mask": empty,
                "part_0": ["test", "validation", "train", "train", "train"][turn],
                "part_1": ["train", "test", "validation", "train", "train"][turn],
            }
        )  # fmt: skip
    return np.stack(images), pd.DataFrame(rows), masks


def with_lesions(study, resize: str = "stretch"):
    settings = [SegmentSetting(train="frozen", lr=0.01)]
    options = Segment(
        tasks=[TASK], size=64, settings=settings, epochs={"frozen": 6, "all": 2}, batch_size=8,
        decoder=[32, 24, 16, 12, 8],
    )  # fmt: skip
    study = study.model_copy(update={"sources": ["random"], "segment": options})
    images, manifest, masks = lesions(resize)
    write_packed(study.dataset_dir(TASK), images, manifest, masks=masks, resize=resize)
    return study


@pytest.fixture
def study(small_study):
    return with_lesions(small_study)


def test_unet_is_that_of_the_library():
    """Same weights, same logits as smp.Unet, whose encoder is timm's network cut open."""
    torch.manual_seed(0)
    theirs = smp.Unet(f"tu-{LITE0}", encoder_weights=None, decoder_channels=(32, 24, 16, 12, 8)).eval()
    ours = UNet([16, 24, 40, 112, 320], [32, 24, 16, 12, 8], 96).eval()
    ours.decoder.load_state_dict(theirs.decoder.state_dict())
    ours.head.load_state_dict(theirs.segmentation_head[0].state_dict())
    batch = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        maps = theirs.encoder(batch)
        torch.testing.assert_close(ours(maps[1:]), theirs(batch)[:, 0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backbone", ODD)
def test_every_backbone_fits_whatever_its_sizes(small_study, backbone):
    weights = load_weights(small_study, "random", backbone)
    network = weights.build().eval()
    with torch.no_grad():
        maps = encode(network, weights, torch.rand(2, 1, 96, 96).to(compute.device()))
        unet = UNet([level["num_chs"] for level in network.feature_info], [16, 8, 8, 8, 8], 96).eval()
        logits = unet.to(compute.device())(maps)
    assert logits.shape == (2, 96, 96)
    assert [level.shape[-1] for level in maps] == sorted((m.shape[-1] for m in maps), reverse=True)
    assert torch.isfinite(logits).all() and logits.std() > 0


def test_what_a_frozen_encoder_says_is_stored_and_read_again(study):
    """Maps of files, so that ten thousand masks take no more memory than ten; by view, image by image."""
    weights = load_weights(study, "random", SMALL)
    pictures, done = pictures_of(open_packed(study.dataset_dir(TASK)), 64), []
    first, again = (encoded(pictures, weights, "full", 2, study.store_dir, done.append) for _ in range(2))
    images = len(pictures.rows)
    assert sum(done) == 4 * images and done[-2:] == [images, images], "two views, and both from the store"
    files = list((study.store_dir / "features").iterdir())
    assert len(files) == 2
    for (levels, targets), (others, same) in zip(first, again, strict=True):
        assert torch.equal(targets, same) and all(map(torch.equal, levels, others))
    batch, expected = pictures.shown(pictures.rows, None)
    with compute.inference():
        maps = encode(weights.build().eval(), weights, batch)
    levels, targets = first[0]
    assert torch.equal(targets, expected.cpu().bool()) and not torch.equal(targets, first[1][1])
    for level, own in zip(levels, maps, strict=True):
        assert level.is_contiguous() and level.shape == own.shape
        torch.testing.assert_close(level.float(), own.float().cpu(), rtol=0.02, atol=0.02)
    files[0].write_bytes(files[0].read_bytes()[:-1])
    mended = encoded(pictures, weights, "full", 2, study.store_dir, lambda n: None)
    assert all(map(torch.equal, mended[0][0] + mended[1][0], levels + first[1][0]))


def test_frozen_decoder_finds_bright_discs_and_figures_follow_from_the_masks(study):
    study = study.model_copy(update={"backbones": {LITE0: study.backbones[SMALL]}})
    result = segment.segment(study, TASK, save=True)
    written = pd.read_parquet(study.result_dir(TASK) / "segmentation.parquet")
    table = written[written["run"].isin(result.runs["run"])]
    assert set(["run", "image_id", "patient_id", "fold", "dice", "iou", "hausdorff95", "resize"]) <= set(
        table
    )
    packed = open_packed(study.dataset_dir(TASK))
    for fold in range(2):
        tested = packed.manifest["image_id"][packed.manifest[f"part_{fold}"] == "test"]
        assert sorted(table["image_id"][table["fold"] == fold]) == sorted(tested)
    marked = table.merge(packed.manifest[["image_id", "has_mask"]], on="image_id")
    assert marked.loc[marked["has_mask"], "dice"].mean() > 0.8
    place = {name: row for row, name in enumerate(packed.manifest["image_id"])}
    for line in table.itertuples():
        mask = packed.masks[place[line.image_id]]
        bits = np.frombuffer(line.mask, np.uint8)
        predicted = np.unpackbits(bits, count=mask.size).reshape(mask.shape).astype(bool)
        if not (mask.any() and predicted.any()):
            assert line.dice == line.iou == float(mask.any() == predicted.any())
            assert line.hausdorff95 == (0 if mask.any() == predicted.any() else np.hypot(*mask.shape))
            continue
        a, b = (torch.from_numpy(m)[None, None].float() for m in (predicted, mask))
        assert line.dice == pytest.approx(compute_dice(a, b).item(), abs=1e-6)
        assert line.iou == pytest.approx(compute_iou(a, b).item(), abs=1e-6)
        theirs = compute_hausdorff_distance(a, b, percentile=95).item()
        assert line.hausdorff95 == pytest.approx(theirs, abs=1e-4)
    assert (result.runs["best_epoch"] > 0).all() and not result.runs["diverged"].any()
    assert (result.runs["val_lost"] < 0.5).all()
    guessed = written[written["run"] == "centred_blob"].set_index("image_id")
    assert sorted(guessed.index) == sorted(table["image_id"]), "images with an empty mask too"
    empty = packed.manifest.loc[packed.manifest["empty_mask"], "image_id"]
    assert (guessed["dice"].reindex(empty).dropna() == 0).all()
    assert 0.2 < guessed["dice"].mean() < marked["dice"].mean()


@pytest.mark.parametrize(
    ("logit", "share"), [(-1.0, 1.0), (1.0, 1.0), (None, 0.0)], ids=["nothing", "everything", "the lesion"]
)
def test_a_network_that_draws_nothing_or_everything_has_lost_the_lesions(study, logit, share):
    """Images with an empty mask, where drawing nothing is right, do not count."""
    packed = open_packed(study.dataset_dir(TASK))
    weights = load_weights(study, "random", SMALL)
    group = segment.SegmentGroup(study, TASK, packed, weights, lambda done: None)
    targets = group.pictures.targets.float()
    logits = 2 * targets - 1 if logit is None else torch.full_like(targets, logit)
    assert group.figures(logits, targets, group.pictures.rows)["val_lost"] == share
    assert not group.pictures.targets.flatten(1).any(1).all()


def test_finished_runs_are_reused_and_a_lost_one_comes_back_the_same(study, monkeypatch):
    first = segment.segment(study, TASK)
    with monkeypatch.context() as patch:
        patch.setattr(segment, "pictures_of", None)  # not even the masks are made smaller again
        assert segment.segment(study, TASK).computed == 0
    stored = sorted((study.store_dir / "segmentation").rglob("*.parquet"))
    stored[0].unlink()
    stored[1].write_bytes(b"damaged")
    again = segment.segment(study, TASK)
    assert again.computed == 2
    pd.testing.assert_frame_equal(again.predictions, first.predictions, check_exact=True)


def test_masks_of_test_images_play_no_part_in_training(study):
    first = segment.segment(study, TASK)
    images, manifest, masks = lesions("stretch")
    for row in np.flatnonzero(manifest["part_0"] == "test"):
        if masks[row] is not None:
            masks[row] = ~masks[row]
    other = study.model_copy(update={"root": study.root / "other"})
    write_packed(other.dataset_dir(TASK), images, manifest, masks=masks)
    second = segment.segment(other, TASK)
    some, same = (
        r.predictions.dropna(subset="mask").query("fold == 0").reset_index() for r in (first, second)
    )
    assert (some["mask"] == same["mask"]).all() and (some["dice"] > same["dice"]).sum() > 5


def test_all_layers_train(study):
    options = study.segment.model_copy(update={"settings": [SegmentSetting(train="all", lr=0.003)]})
    result = segment.segment(study.model_copy(update={"segment": options}), TASK)
    encoder = sum(p.numel() for p in load_weights(study, "random", SMALL).build().parameters())
    assert (result.runs["n_trainable"] > encoder).all()
    losses = result.history.groupby("epoch")["train_loss"].mean()
    assert losses[2] < losses[1]


def test_augmentation_moves_image_and_mask_alike(study):
    packed = open_packed(study.dataset_dir(TASK))
    pictures = pictures_of(packed, 64)
    rows = pictures.rows[:8]
    drawn = np.stack([to_square(255 * packed.masks[row].astype(np.uint8), 64, "stretch") for row in rows])
    pictures.packed.images.setflags(write=False)
    same = type(pictures)(
        type(packed)(drawn, packed.masks, packed.manifest, packed.meta),
        np.arange(8),
        pictures.targets[:8],
        64,
    )
    affine = batches.draw_augmentation(8, "full", torch.Generator().manual_seed(1))
    image, target = same.shown(np.arange(8), affine)
    assert ((image[:, 0] > 0.5).float() - target).abs().mean() < 0.01
    assert (target - pictures.shown(rows, None)[1]).abs().mean() > 0.01


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_a_perfect_network_has_a_dice_near_one_in_the_images_own_pixels(small_study, resize):
    """Targets at the network's size, brought back to the image, are the mask again: in both geometries."""
    study = with_lesions(small_study, resize)
    packed = open_packed(study.dataset_dir(TASK))
    pictures = pictures_of(packed, 64)
    perfect = _Perfect(pictures)
    weights = load_weights(study, "random", SMALL)
    group = segment.SegmentGroup(study, TASK, packed, weights, lambda done: None)
    _, table = group.test(perfect, pictures.rows, pictures.rows)
    assert table["dice"].min() > 0.9 and table["hausdorff95"].max() <= 2
    assert (table["resize"] == resize).all()


def test_a_network_that_says_no_number_of_a_pixel_is_not_finite(small_study):
    study = with_lesions(small_study, "stretch")
    packed = open_packed(study.dataset_dir(TASK))
    pictures = pictures_of(packed, 64)
    weights = load_weights(study, "random", SMALL)
    group = segment.SegmentGroup(study, TASK, packed, weights, lambda done: None)
    said, _ = group.test(_Perfect(pictures), pictures.rows, pictures.rows)
    broken, _ = group.test(_Perfect(pictures, broken=True), pictures.rows, pictures.rows)
    assert said["finite"] and not broken["finite"]


class _Perfect:
    def __init__(self, pictures, broken: bool = False):
        self.pictures, self.broken = pictures, broken

    def __call__(self, rows, epoch, generator):
        targets = self.pictures.shown(rows, None)[1]
        logits = 2 * targets - 1
        if self.broken:
            logits[0, 0, 0] = float("nan")
        return logits, targets

    def eval(self) -> None:
        pass


def test_letterbox_keeps_the_aspect_ratio_of_what_it_shows():
    mask = np.zeros((30, 90), dtype=np.uint8)
    mask[5:25, 35:55] = 255
    for resize, sides in (("letterbox", (20, 20)), ("stretch", (60, 20))):
        square = to_square(mask, 90, resize)[..., 0] > 127
        found = tuple(int(square.any(axis=axis).sum()) for axis in (1, 0))
        assert np.abs(np.subtract(found, sides)).max() <= 1, resize


def test_a_task_without_masks_is_refused(study, small_study):
    images, manifest, masks = lesions("stretch")
    bare = study.model_copy(update={"root": study.root / "bare"})
    write_packed(bare.dataset_dir(TASK), images, manifest.assign(has_mask=False))
    with pytest.raises(UserError, match="task 'breast_us' has no lesion masks to learn from"):
        segment.segment(bare, TASK)
    few = study.model_copy(update={"root": study.root / "few"})
    kept = [m if part != "validation" else None for m, part in zip(masks, manifest["part_1"], strict=True)]
    manifest["has_mask"] = [m is not None for m in kept]
    write_packed(few.dataset_dir(TASK), images, manifest, masks=kept)
    with pytest.raises(UserError, match="fold 1: the validation part has no lesion mask"):
        segment.segment(few, TASK)


@pytest.mark.usefixtures("processor")
def test_preprocessing_is_that_of_the_weights(study):
    weights = load_weights(study, "random", SMALL)
    other = type(weights)(
        weights.source, weights.backbone, weights.state, Preprocessing((0.2,) * 3, (0.3,) * 3)
    )
    network, batch = weights.build().eval(), torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        first, second = (encode(network, w, batch)[0] for w in (weights, other))
        by_hand = network.forward_intermediates(
            (batch.expand(-1, 3, -1, -1) - 0.2) / 0.3, intermediates_only=True
        )[0]
    assert not torch.allclose(first, second)
    torch.testing.assert_close(second, by_hand)
