"""Where a network looks: its class-activation maps, compared with the lesion masks.

With average pooling and one linear unit behind it, the logit is a sum over places of the last feature map:
logit = mean over places of (w . F[place]) + constant. The map w . F is what each place adds to it (class
activation mapping, Zhou et al. 2016, arXiv 1512.04150), exactly. Grad-CAM (Selvaraju et al. 2017, arXiv
1610.02391) takes for w the slope of the logit, averaged over places: the same w, but for a factor.
Some networks have a norm or another layer between the average and the linear unit (ConvNeXt, MobileNetV3,
some vision transformers). There it is Grad-CAM's: what small changes of a place would add, not what it adds.
Networks that do not average (by a class token, or attention) have no maps: see `backbones.no_maps`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from radlib import compute
from radlib.data import batches
from radlib.data.images import Packed, inner_box
from radlib.networks import backbones
from radlib.stats.dice import (
    BASELINES,
    MAP_FIGURES,
    MASK_FIGURES,
    best_threshold,
    centred_blob,
    map_figures,
    mask_figures,
)

THRESHOLDS = tuple(float(t) for t in np.linspace(0.05, 0.95, 19).round(2))


def activation_maps(learner: nn.Module, rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Evidence of every place for the class that the network predicts, float32 (n, h, w), 0 to 1.

    For an image with a negative logit the map is turned round: it shows what speaks for the negative
    class. What speaks against the predicted class is clipped at 0, and the largest value of an image
    becomes 1. A map is 0 throughout where no place speaks for the class.
    """
    learner.eval()
    found = [_evidence(learner, some).cpu() for some in batches.in_order(rows, batch_size)]
    maps = torch.nan_to_num(torch.cat(found)).clamp_min(0)
    largest = maps.amax((1, 2), keepdim=True)
    return (maps / largest.clamp_min(1e-20)).numpy()


def _evidence(learner: nn.Module, rows: np.ndarray) -> Tensor:
    """float32 (B, h, w): slope of the predicted class' logit, averaged over places, times the last map."""
    with compute.inference():
        last = learner.last(rows).float()
    last = last.clone().requires_grad_()
    logits = learner.head(backbones.pooled(learner.backbone, last))
    (slopes,) = torch.autograd.grad(logits.sum(), last)
    maps, slopes = (backbones.maps_of(learner.backbone, some.detach()) for some in (last, slopes))
    evidence = torch.einsum("bc,bchw->bhw", slopes.mean((2, 3)), maps)
    return torch.where(logits.detach() < 0, -1.0, 1.0)[:, None, None] * evidence


def resized(map: np.ndarray, shape: tuple[int, int], resize: str) -> np.ndarray:
    """A map (h, w) of the square image brought to the image's own (H, W), bilinear, float32.

    Args:
        resize: how the image became square: `stretch`, or `letterbox`, whose borders are cut off again.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(map, dtype=np.float32))[None, None]
    whole = (max(shape), max(shape)) if resize == "letterbox" else shape
    full = functional.interpolate(tensor, whole, mode="bilinear", align_corners=False)[0, 0].numpy()
    return full[inner_box(shape)] if resize == "letterbox" else full


def localise(
    packed: Packed, validation: np.ndarray, maps: np.ndarray, test: np.ndarray, test_maps: np.ndarray
) -> tuple[float, pd.DataFrame]:
    """Compare one run's maps with the masks, in the masks' own pixels.

    Args:
        validation, test: rows of images with a mask; maps, test_maps: (n, h, w) of each.
    Returns:
        the threshold, chosen on the validation images for the highest mean Dice, and one row per test
        image with `MAP_FIGURES`; Dice and IoU at that threshold, the other three without any.
    """
    full = (map for map, _ in _with_masks(packed, validation, maps))
    threshold = best_threshold(full, (packed.masks[row] for row in validation), THRESHOLDS)
    rows = [map_figures(*pair, threshold) for pair in _with_masks(packed, test, test_maps)]
    return threshold, pd.DataFrame(rows, columns=MAP_FIGURES)


def _with_masks(packed: Packed, rows: np.ndarray, maps: np.ndarray) -> Iterator[tuple]:
    """Map, float32, and mask, bool, (H, W) of one row after another: together they would take gigabytes."""
    for row, map in zip(rows, maps, strict=True):
        mask = packed.masks[row]
        yield resized(map, mask.shape, packed.resize), mask


def baselines(packed: Packed, folds: Sequence[int], drawn: bool = False) -> pd.DataFrame:
    """What somebody scores who never looks: the whole image, or a middle ellipse as large as the mean lesion.

    The size is the mean share of the frame over the fold's training masks.

    Args:
        drawn: measured as masks, on images with an empty mask too; else as maps.
    Returns:
        columns run (a baseline's name), image_id, patient_id, fold and `MAP_FIGURES`, or `MASK_FIGURES`;
        every test image with a mask.
    """
    manifest = packed.manifest
    has_mask = manifest["has_mask"].to_numpy()
    shares = {row: packed.masks[row].mean() for row in np.flatnonzero(has_mask)}
    measured = has_mask | manifest["empty_mask"].to_numpy() if drawn else has_mask
    rows = []
    for fold in folds:
        part = manifest[f"part_{fold}"].to_numpy()
        share = np.mean([shares[row] for row in np.flatnonzero(has_mask & (part == "train"))])
        for row in np.flatnonzero(measured & (part == "test")):
            mask = packed.masks[row]
            about = {**manifest.loc[row, ["image_id", "patient_id"]], "fold": fold}
            guesses = np.ones(mask.shape, dtype=bool), centred_blob(mask.shape, share)
            for name, region in zip(BASELINES, guesses, strict=True):
                map = region.astype(np.float32)
                figures = mask_figures(region, mask) if drawn else map_figures(map, mask, 0.5)
                rows.append({"run": name, **about, **figures})
    figures = MASK_FIGURES if drawn else MAP_FIGURES
    return pd.DataFrame(rows, columns=["run", "image_id", "patient_id", "fold", *figures])
