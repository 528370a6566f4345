"""Computed tomography: Hounsfield units, noise of filtered backprojection, display window."""

import numpy as np
from scipy import fft, ndimage

from radlib.simulate.sample import Variation
from radlib.simulate.shapes import Phantom

# Hounsfield units, rounded; organs as in the portal venous phase.
HOUNSFIELD = {
    "air": -1000,
    "lung": -850,
    "emphysema": -960,
    "ground_glass": -450,
    "consolidation": 30,
    "fat": -100,
    "fluid": 8,
    "water": 0,
    "muscle": 60,
    "liver": 110,
    "lesion": 50,
    "spleen": 120,
    "pancreas": 95,
    "kidney": 170,
    "kidney_pelvis": 60,
    "bowel": 45,
    "stomach": 20,
    "vessel": 160,
    "lung_vessel": 40,
    "heart": 130,
    "cortical_bone": 900,
    "marrow": 250,
    "disc": 80,
    "csf": 8,
    "grey_matter": 38,
    "white_matter": 27,
    "deep_grey": 36,
    "scalp": -20,
    "skull": 1000,
    "blood_clot": 72,
    "oedema": 16,
    "calcification": 180,
    "cord": 35,
}


def window(hounsfield: np.ndarray, level: float, width: float) -> np.ndarray:
    """Hounsfield units to 8-bit grey: level - width/2 is black and level + width/2 white, linear between.

    Source: DICOM PS3.3 C.11.2.1.3.2, VOI LUT function LINEAR_EXACT. Returns uint8 of the same shape.
    """
    share = (np.asarray(hounsfield, dtype=np.float64) - level) / width + 0.5
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def reconstruction_noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of filtered backprojection in Hounsfield units, float64, SD sigma.

    White noise of the projections comes through the ramp filter with power |G(f)|^2 / f, where G(f) = f H(f)
    is the reconstruction filter: the image's noise power rises as f H(f)^2. H is the Hann window.
    Source: Riederer, Pelc, Chesler 1978, The noise power spectrum in computed X-ray tomography, Physics in
    Medicine and Biology 23:446, doi 10.1088/0031-9155/23/3/008.
    """
    frequency = np.hypot(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :])
    hann = np.where(frequency < 0.5, 0.5 + 0.5 * np.cos(2 * np.pi * frequency), 0)
    amplitude = np.sqrt(frequency) * hann
    white = fft.rfft2(rng.standard_normal(shape))
    noise = fft.irfft2(white * amplitude, s=shape)
    weight = np.full(frequency.shape[1], 2.0)  # rfft2 keeps one of each conjugate pair, except on the edges
    weight[0] = 1.0
    if shape[1] % 2 == 0:
        weight[-1] = 1.0
    expected = np.sqrt((amplitude**2 * weight).sum() / (shape[0] * shape[1]))
    return noise * (sigma / expected)


def ct_image(
    phantom: Phantom,
    vary: Variation,
    level: float,
    width: float,
    sigma: tuple[float, float] = (8, 22),
    extra: np.ndarray | float = 0,
) -> np.ndarray:
    """A phantom as the scanner shows it: uint8 (S, S).

    sigma: range of the patients' noise SD in Hounsfield units. extra: Hounsfield units added to the phantom
    (density differences within a tissue).
    """
    table = {
        tissue: value + vary.draw(-1, 1) * min(8, 4 + abs(value) / 20) for tissue, value in HOUNSFIELD.items()
    }
    size = phantom.plane.shape[0]
    hounsfield = ndimage.gaussian_filter(phantom.values(table) + extra, 0.006 * size, truncate=3)
    hounsfield = hounsfield + reconstruction_noise(phantom.plane.shape, vary.draw(*sigma), vary.slice)
    return window(hounsfield, level + vary.draw(-0.04, 0.04) * width, width * vary.draw(0.9, 1.1))
