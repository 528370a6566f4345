"""The embedded images: physics against closed forms, statistics, and what a patient means in them."""

from itertools import islice

import numpy as np
import pytest
from scipy import fft
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from radlib.errors import UserError
from radlib.simulate import (
    Sample,
    scanners,
    simulated_photographs,
    simulated_radiology,
    simulated_task,
)
from radlib.simulate.radiology import APPLICATIONS, CLASSES
from radlib.simulate.shapes import TISSUES, Phantom, Variation

OF_TWO = [name for name in APPLICATIONS if name != "knee_mri"]  # classes
WITH_MASKS = ("thyroid_us", "breast_us")
GENERATORS = {
    "radiology": lambda n, seed: simulated_radiology(n, 2, 40, seed),
    "photographs": lambda n, seed: simulated_photographs(n, 40, seed),
    **{name: lambda n, seed, name=name: simulated_task(name, n, 2, 40, seed) for name in APPLICATIONS},
}


def same(a: Sample, b: Sample) -> bool:
    names = (a.class_name, a.patient_id, a.name) == (b.class_name, b.patient_id, b.name)
    masks = (a.mask is None and b.mask is None) or np.array_equal(a.mask, b.mask)
    return names and masks and np.array_equal(a.image, b.image)


# Seeds and patients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATORS)
def test_the_same_seed_gives_the_same_images_whatever_their_number(name):
    few = list(GENERATORS[name](4, 7))
    many = list(islice(GENERATORS[name](9, 7), len(few)))
    assert all(same(a, b) for a, b in zip(few, many, strict=True))
    other = list(GENERATORS[name](4, 8))
    assert not any(np.array_equal(a.image, b.image) for a, b in zip(few, other, strict=True))


@pytest.mark.parametrize("name", GENERATORS)
def test_every_image_has_its_own_name_and_no_two_are_equal(name):
    samples = list(GENERATORS[name](8, 3))
    assert len({s.name for s in samples}) == len(samples)
    assert len({s.image.tobytes() for s in samples}) == len(samples)


def test_slices_of_a_patient_look_more_alike_than_patients_of_a_class():
    samples = list(simulated_task("covid_ct", 10, 2, 48, 5))
    images = np.array([s.image for s in samples], dtype=float).reshape(10, 2, -1)
    within = np.abs(images[:, 0] - images[:, 1]).mean()
    between = np.abs(images[:-1, 0] - images[1:, 0]).mean()
    assert within < 0.7 * between


# Counts, types and masks ------------------------------------------------------------------------------


@pytest.mark.parametrize("application", OF_TWO)
@pytest.mark.parametrize("size", [40, 33])
def test_task_images_labels_and_masks(application, size):
    samples = list(simulated_task(application, 10, 2, size, 1))
    assert all(s.image.dtype == np.uint8 and s.image.shape == (size, size) for s in samples)
    assert all(s.image.std() > 5 for s in samples)
    labels = {}
    for s in samples:
        labels.setdefault(s.patient_id, set()).add(s.class_name)
    assert len(labels) == 10 and all(len(names) == 1 for names in labels.values())
    positive = "malignant" if application in WITH_MASKS else "positive"
    assert sum(names == {positive} for names in labels.values()) == 4
    for s in samples:
        if application in WITH_MASKS:
            assert s.mask.dtype == np.uint8 and s.mask.shape == (size, size)
            assert set(np.unique(s.mask)) == {0, 1}
            assert 0.01 < s.mask.mean() < 0.5
        else:
            assert s.mask is None


def test_the_mask_lies_on_the_dark_nodule():
    inside, around = [], []
    for s in simulated_task("breast_us", 20, 1, 64, 2):
        rows = np.flatnonzero(s.mask.any(axis=1))
        band = np.zeros_like(s.mask, dtype=bool)
        band[rows] = True
        inside.append(s.image[s.mask == 1].mean())
        around.append(s.image[band & (s.mask == 0)].mean())
    assert np.mean(inside) < np.mean(around) - 15


def test_radiology_has_seven_regions_four_modalities_and_even_classes():
    samples = list(simulated_radiology(2 * len(CLASSES), 1, 32, 0))
    names, counts = np.unique([s.class_name for s in samples], return_counts=True)
    assert sorted(CLASSES) == sorted(names) and set(counts) == {2}
    regions = {name.rsplit("/", 1)[0] for name in names}
    assert len(regions) == 7 and {r.split("/")[0] for r in regions} == {"CT", "MR", "US", "XR"}
    assert all(f"{region}/normal" in names for region in regions)
    assert all(s.image.shape == (32, 32) and s.image.dtype == np.uint8 and s.mask is None for s in samples)


def test_photographs_have_as_many_classes_as_radiology_and_no_patients():
    samples = list(simulated_photographs(2 * len(CLASSES), 40, 0))
    assert len({s.class_name for s in samples}) == len(CLASSES) >= 18
    assert {s.patient_id for s in samples} == {None}
    few = list(simulated_photographs(8, 40, 0, classes=4))
    assert [s.class_name for s in few] == 2 * [s.class_name for s in samples[:4]]
    assert all(s.image.shape == (40, 40, 3) and s.image.dtype == np.uint8 for s in samples)


@pytest.mark.parametrize(
    "request_, says",
    [
        (lambda: simulated_task("knee", 4, 1, 80, 0), "acl_mri"),
        (lambda: simulated_task("acl_mri", 0, 1, 80, 0), "patients is 0"),
        (lambda: simulated_radiology(4, 0, 80, 0), "slices is 0"),
        (lambda: simulated_photographs(4, 8, 0), "size is 8"),
        (lambda: simulated_photographs(4, 40, 0, classes=40), "classes is 40; there are 18"),
    ],
)
def test_impossible_requests_are_refused_before_drawing(request_, says):
    with pytest.raises(UserError, match=says):
        request_()


# Image formation --------------------------------------------------------------------------------------


def uniform(tissue: str, size: int = 200) -> Phantom:
    return Phantom(size, Variation(0, "p", 0), tissue)


def test_windows_are_linear_between_their_ends():
    air, water, bone = (np.median(scanners.ct(uniform(t), 0, 2000, 5)) for t in ("air", "fluid", "bone"))
    assert air < 25 and water == pytest.approx(128, abs=15) and bone > 230


def test_fluid_is_bright_in_long_echoes_and_air_holds_noise_alone():
    phantom = uniform("fluid")
    phantom.add(phantom.edge(phantom.x), "soft")
    phantom.add(phantom.edge(phantom.y + 0.4), "air")
    image = scanners.mr(phantom, tr=4000, te=95).astype(float)
    air, soft, fluid = image[:40], image[100:, :60], image[100:, 140:]
    assert air.mean() < soft.mean() < fluid.mean()
    assert air.std() / air.mean() == pytest.approx(np.sqrt(4 / np.pi - 1), rel=0.2)  # Rayleigh's law


def test_ultrasound_casts_a_shadow_behind_bone_and_brightens_behind_fluid():
    behind = {}
    for tissue in ("organ", "bone", "fluid"):
        phantom = uniform("organ")
        phantom.add(phantom.blob(0, 0, 0.2, 0.2), tissue)
        behind[tissue] = scanners.ultrasound(phantom)[150:, 95:105].mean()
    assert behind["bone"] + 20 < behind["organ"] < behind["fluid"] - 1


@pytest.mark.parametrize("rx, ry", [(0.5, 0.5), (0.7, 0.3)])
def test_shapes_cover_their_area_and_share_pixels_with_their_neighbours(rx, ry):
    phantom = uniform("air", 100)
    share = phantom.blob(0.05, -0.1, rx, ry, angle=0.7)
    assert share.sum() * phantom.pixel**2 == pytest.approx(np.pi * rx * ry, rel=0.05)
    phantom.add(share, "bone")
    air, bone = (TISSUES[tissue][scanners.HOUNSFIELD] for tissue in ("air", "bone"))
    assert np.allclose(phantom.property(scanners.HOUNSFIELD), air + (bone - air) * share, atol=1e-2)


# Statistics of the corpora ----------------------------------------------------------------------------


def test_photographs_have_the_power_spectrum_of_natural_images():
    size = 96
    grey = np.array([s.image.mean(axis=2) for s in simulated_photographs(54, size, 4)])
    grey = (grey - grey.mean(axis=(1, 2), keepdims=True)) * np.outer(np.hanning(size), np.hanning(size))
    power = (np.abs(fft.fft2(grey)) ** 2).mean(axis=0)
    frequency = np.hypot(fft.fftfreq(size)[:, None], fft.fftfreq(size)[None, :]) * size
    cycles = np.arange(3, size // 3)
    radial = [power[np.abs(frequency - c) < 0.5].mean() for c in cycles]
    slope = np.polyfit(np.log(cycles), np.log(radial), 1)[0]
    assert slope == pytest.approx(-2, abs=0.4)


def hue_and_texture(image: np.ndarray) -> np.ndarray:
    values = image.astype(float) / 255
    grey = values.mean(axis=2)
    colours = [np.histogram(values[..., a] - values[..., b], 8, (-0.5, 0.5))[0] for a, b in ((0, 1), (1, 2))]
    steps = [np.abs(np.diff(grey, axis=a)) for a in (0, 1)]
    return np.concatenate([*colours, [1000 * s.mean() for s in steps], [1000 * np.median(s) for s in steps]])


def test_classes_of_photographs_can_be_learnt():
    samples = list(simulated_photographs(20 * len(CLASSES), 48, 6))
    features = np.array([hue_and_texture(s.image) for s in samples])
    names = np.array([s.class_name for s in samples])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=300))
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    right = (cross_val_predict(model, features, names, cv=folds) == names).mean()
    assert right > 3 / len(CLASSES)


def split_scores(application: str, seed: int, slices: int) -> tuple[float, float]:
    """AUC of a linear model of coarse pixels: patients kept whole, and images dealt one by one."""
    samples = list(simulated_task(application, 60, slices, 48, seed))
    pixels = np.array([s.image.reshape(16, 3, 16, 3).mean(axis=(1, 3)).ravel() for s in samples])
    labels = np.array([s.class_name in ("positive", "malignant") for s in samples])
    patients = [s.patient_id for s in samples]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=300))
    folds = (
        StratifiedGroupKFold(4, shuffle=True, random_state=seed),
        StratifiedKFold(4, shuffle=True, random_state=seed),
    )
    splits = [list(folds[0].split(pixels, labels, patients)), list(folds[1].split(pixels, labels))]
    return tuple(
        roc_auc_score(
            labels, cross_val_predict(model, pixels, labels, cv=split, method="predict_proba")[:, 1]
        )
        for split in splits
    )


@pytest.mark.parametrize("application", OF_TWO)
def test_tasks_can_be_learnt_and_are_not_trivial(application):
    honest = np.mean([split_scores(application, seed, 1)[0] for seed in range(3)])
    assert 0.55 < honest < 0.97


def test_a_split_by_image_inflates_the_auc():
    """Why patients must stay together: neighbouring slices in the training part give the answer away."""
    by_patient, by_image = np.mean([split_scores("pneumonia_cxr", seed, 4) for seed in range(3)], axis=0)
    assert by_image > by_patient + 0.1
