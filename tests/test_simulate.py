"""The embedded images: physics against closed forms, statistics, and what a patient means in them."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from radlib.errors import UserError
from radlib.simulate import Sample, n_classes, simulated_photographs, simulated_radiology, simulated_task
from radlib.simulate.ct import reconstruction_noise, window
from radlib.simulate.mri import rician, spin_echo
from radlib.simulate.photographs import reach
from radlib.simulate.radiology import CLASSES
from radlib.simulate.sample import Variation
from radlib.simulate.shapes import Phantom, Plane
from radlib.simulate.tasks import APPLICATIONS
from radlib.simulate.ultrasound import speckle

WITH_MASKS = ("thyroid_us", "breast_us")
GENERATORS = {
    "radiology": lambda n, seed: simulated_radiology(n, 2, 40, seed),
    "photographs": lambda n, seed: simulated_photographs(n, 40, seed),
    **{name: lambda n, seed, name=name: simulated_task(name, n, 2, 40, seed) for name in APPLICATIONS},
}


def same(a: Sample, b: Sample) -> bool:
    names = (a.class_name, a.patient_id, a.image_id) == (b.class_name, b.patient_id, b.image_id)
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
    assert len({s.image_id for s in samples}) == len(samples)
    assert len({s.image.tobytes() for s in samples}) == len(samples)


def test_slices_of_a_patient_look_more_alike_than_patients_of_a_class():
    samples = list(simulated_task("covid_ct", 10, 2, 48, 5))
    images = np.array([s.image for s in samples], dtype=float).reshape(10, 2, -1)
    within = np.abs(images[:, 0] - images[:, 1]).mean()
    between = np.abs(images[:-1, 0] - images[1:, 0]).mean()
    assert within < 0.7 * between


# Counts, types and masks ------------------------------------------------------------------------------


@pytest.mark.parametrize("application", APPLICATIONS)
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


def test_radiology_has_eleven_regions_three_modalities_and_even_classes():
    samples = list(simulated_radiology(2 * n_classes(), 1, 32, 0))
    names, counts = np.unique([s.class_name for s in samples], return_counts=True)
    assert sorted(CLASSES) == sorted(names) and set(counts) == {2}
    regions = {name.rsplit("/", 1)[0] for name in names}
    assert len(regions) == 11 and {r.split("/")[0] for r in regions} == {"CT", "MR", "US"}
    assert all(f"{region}/normal" in names for region in regions)
    assert all(s.image.shape == (32, 32) and s.image.dtype == np.uint8 and s.mask is None for s in samples)


def test_photographs_have_as_many_classes_as_radiology_and_a_patient_each():
    samples = list(simulated_photographs(2 * n_classes(), 40, 0))
    assert len({s.class_name for s in samples}) == n_classes() == len(CLASSES) >= 22
    assert len({s.patient_id for s in samples}) == len(samples)
    assert all(s.image.shape == (40, 40, 3) and s.image.dtype == np.uint8 for s in samples)


@pytest.mark.parametrize(
    "request_, says",
    [
        (lambda: simulated_task("knee", 4, 1, 80, 0), "acl_mri"),
        (lambda: simulated_task("acl_mri", 0, 1, 80, 0), "patients is 0"),
        (lambda: simulated_radiology(4, 0, 80, 0), "slices is 0"),
        (lambda: simulated_photographs(4, 8, 0), "size is 8"),
        (lambda: simulated_photographs(4, 80, -1), "seed is -1"),
    ],
)
def test_impossible_requests_are_refused_before_drawing(request_, says):
    with pytest.raises(UserError, match=says):
        request_()


# Image formation --------------------------------------------------------------------------------------


@given(level=st.floats(-600, 300), width=st.floats(80, 2000), hounsfield=st.floats(-1000, 1000))
def test_window_is_linear_between_its_ends(level, width, hounsfield):
    expected = 255 * min(1, max(0, (hounsfield - (level - width / 2)) / width))
    assert abs(int(window(np.array([hounsfield]), level, width)[0]) - expected) <= 0.5 + 1e-6


def test_water_and_air_in_named_windows():
    assert window(np.array([0.0]), 40, 400)[0] == round(255 * 160 / 400)  # water, abdomen
    assert window(np.array([0.0]), 40, 80)[0] == 0  # water, brain
    assert window(np.array([-1350.0, 150.0]), -600, 1500).tolist() == [0, 255]  # ends of the lung window


def test_reconstruction_noise_has_its_sd_and_the_ramp_of_filtered_backprojection():
    rng = np.random.default_rng(0)
    noise = np.array([reconstruction_noise((96, 97), 20, rng) for _ in range(40)])
    assert noise.std() == pytest.approx(20, rel=0.02)
    assert abs(noise.mean()) < 1e-9  # the ramp filter passes nothing at frequency 0
    power = (np.abs(fft.fft2(noise)) ** 2).mean(axis=0)
    frequency = np.hypot(fft.fftfreq(96)[:, None], fft.fftfreq(97)[None, :])
    low = (frequency > 0.02) & (frequency < 0.08)  # where the Hann window is still near 1
    slope = np.polyfit(np.log(frequency[low]), np.log(power[low]), 1)[0]
    assert slope == pytest.approx(1, abs=0.15)


@given(sigma=st.floats(0.01, 50), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_rician_background_mean(sigma, seed):
    background = rician(np.zeros((200, 200)), sigma, np.random.default_rng(seed))
    assert background.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.02)


def test_rician_second_moment_holds_at_any_signal():
    for signal in (0.5, 2.0, 10.0):
        magnitude = rician(np.full((400, 400), signal), 1.0, np.random.default_rng(1))
        assert (magnitude**2).mean() == pytest.approx(signal**2 + 2, rel=0.01)


def test_spin_echo_limits():
    assert spin_echo(900, 80, 0.7, tr=1e7, te=0) == pytest.approx(0.7)
    assert spin_echo(900, 80, 1, tr=900 * np.log(2), te=80 * np.log(2)) == pytest.approx(0.25)
    fluid, fat = (4000, 1500, 1.0), (300, 60, 0.95)
    assert spin_echo(*fluid, tr=550, te=14) < spin_echo(*fat, tr=550, te=14)  # T1 weighting
    assert spin_echo(*fluid, tr=4000, te=100) > spin_echo(*fat, tr=4000, te=100)  # T2 weighting


def test_speckle_is_rayleigh_and_keeps_the_power_of_the_scatterers():
    envelope = speckle(np.full((1200, 1200), 3.0), 1.2, 2.0, np.random.default_rng(0))
    assert envelope.mean() / envelope.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.01)  # 1.91
    assert (envelope**2).mean() == pytest.approx(3.0**2, rel=0.03)
    below_mean_power = (envelope**2 < (envelope**2).mean()).mean()
    assert below_mean_power == pytest.approx(1 - np.exp(-1), abs=0.01)  # intensity is exponential


@pytest.mark.parametrize("rx, ry", [(0.5, 0.5), (0.7, 0.3)])
def test_shapes_cover_their_area_and_share_pixels_with_their_neighbours(rx, ry):
    plane = Plane.square(100)
    share = plane.blob(0.05, -0.1, rx, ry, angle=0.7)
    assert share.mean() * 4 == pytest.approx(np.pi * rx * ry, rel=0.02)
    phantom = Phantom(plane)
    phantom.add(share, "a")
    assert np.allclose(phantom.values({"air": 1, "a": 3}), 1 + 2 * share)


def test_tube_covers_rectangle_and_round_ends():
    share = Plane.square(160).tube([(-0.5, 0.0), (0.5, 0.0)], 0.2)
    assert share.mean() * 4 == pytest.approx(1.0 * 0.4 + np.pi * 0.2**2, rel=0.01)


def test_smooth_fields_have_the_smoothness_asked_for():
    field = np.array([Variation(0, f"p{i}", 0).field((96, 96), 6.0) for i in range(60)])
    assert field.mean() == pytest.approx(0, abs=1e-5) and field.std() == pytest.approx(1, abs=1e-3)
    correlation = (
        field[:, :, :-8] * field[:, :, 8:]
    ).mean()  # white noise under a Gaussian of SD 6, 8 px apart
    assert correlation == pytest.approx(np.exp(-(8**2) / (4 * 6.0**2)), abs=0.08)


# Statistics of the corpora ----------------------------------------------------------------------------


def test_photographs_have_the_power_spectrum_of_natural_images():
    size = 96
    grey = np.array([s.image.mean(axis=2) for s in simulated_photographs(66, size, 4)])
    grey = (grey - grey.mean(axis=(1, 2), keepdims=True)) * np.outer(np.hanning(size), np.hanning(size))
    power = (np.abs(fft.fft2(grey)) ** 2).mean(axis=0)
    frequency = np.hypot(fft.fftfreq(size)[:, None], fft.fftfreq(size)[None, :]) * size
    cycles = np.arange(3, size // 3)
    radial = [power[np.abs(frequency - c) < 0.5].mean() for c in cycles]
    slope = np.polyfit(np.log(cycles), np.log(radial), 1)[0]
    assert slope == pytest.approx(-2, abs=0.4)


@pytest.mark.parametrize("shape", ["disc", "ellipse", "square", "triangle", "hexagon", "star", "ring", "bar"])
def test_leaves_fit_in_their_circle(shape):
    axis = np.linspace(-1.5, 1.5, 200)
    u, v = np.meshgrid(axis, axis)
    inside = reach(shape, u, v) < 1
    assert inside.any() and np.hypot(u, v)[inside].max() < 1.05


def hue_and_texture(image: np.ndarray) -> np.ndarray:
    values = image.astype(float) / 255
    grey = values.mean(axis=2)
    colours = [np.histogram(values[..., a] - values[..., b], 8, (-0.5, 0.5))[0] for a, b in ((0, 1), (1, 2))]
    steps = [np.abs(np.diff(grey, axis=a)) for a in (0, 1)]
    return np.concatenate([*colours, [1000 * s.mean() for s in steps], [1000 * np.median(s) for s in steps]])


def test_classes_of_photographs_can_be_learnt():
    samples = list(simulated_photographs(20 * n_classes(), 48, 6))
    features = np.array([hue_and_texture(s.image) for s in samples])
    names = np.array([s.class_name for s in samples])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=300))
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    right = (cross_val_predict(model, features, names, cv=folds) == names).mean()
    assert right > 3 / n_classes()


def test_a_split_by_image_inflates_the_auc():
    """Why patients must stay together: neighbouring slices in the training part give the answer away."""
    gain, honest = [], []
    for seed in range(3):
        samples = list(simulated_task("pneumonia_cxr", 40, 4, 48, seed))
        pixels = np.array([s.image.reshape(16, 3, 16, 3).mean(axis=(1, 3)).ravel() for s in samples])
        labels = np.array([s.class_name == "positive" for s in samples])
        patients = [s.patient_id for s in samples]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))

        def score(folds, model=model, pixels=pixels, labels=labels):
            predicted = cross_val_predict(model, pixels, labels, cv=folds, method="predict_proba")
            return roc_auc_score(labels, predicted[:, 1])

        whole_patients = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        by_patient = score(list(whole_patients.split(pixels, labels, patients)))
        gain.append(score(StratifiedKFold(5, shuffle=True, random_state=seed)) - by_patient)
        honest.append(by_patient)
    assert np.mean(gain) > 0.1
    assert 0.5 < np.mean(honest) < 0.95
