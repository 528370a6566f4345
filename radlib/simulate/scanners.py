"""How a scanner shows a phantom: contrast, noise and display of each modality, all uint8 (S, S)."""

import numpy as np
from scipy import ndimage

from radlib.simulate.shapes import Phantom, Variation

HOUNSFIELD, T1, T2, DENSITY, BACKSCATTER, ATTENUATION = range(6)
PHOTONS = 6e4  # of a radiograph, per pixel without a patient
SOFT_TISSUE, BONE, LUNG = 0.21, 0.55, 0.055  # attenuation per cm at 60 keV (NIST XCOM)


def grey(share: np.ndarray) -> np.ndarray:
    """0 (black) to 1 (white) as uint8, clipped."""
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def elsewhere(image: np.ndarray, vary: Variation) -> np.ndarray:
    """The image as another hospital's older scanner shows it: coarser, noisier, and darker in the middle."""
    coarse = ndimage.gaussian_filter(image / 255.0, 0.012 * len(image))
    noise = ndimage.gaussian_filter(vary.slice.standard_normal(image.shape), 0.7)
    return grey(coarse ** vary.draw(1.2, 1.6) + vary.draw(0.08, 0.14) * noise)


def ct(phantom: Phantom, level: float, width: float, noise: float) -> np.ndarray:
    """Hounsfield units in a display window: level - width / 2 is black, level + width / 2 white.

    noise: SD in Hounsfield units, without low frequencies, as filtered backprojection leaves it.
    """
    vary = phantom.vary
    white = vary.slice.standard_normal(phantom.x.shape)
    white -= ndimage.gaussian_filter(white, 1.5)
    values = ndimage.gaussian_filter(phantom.property(HOUNSFIELD), 0.006 * phantom.size)
    values = values + white * noise * vary.draw(0.6, 1.4)
    return grey((values - level) / (width * vary.draw(0.9, 1.1)) + 0.5 + vary.draw(-0.04, 0.04))


def mr(phantom: Phantom, tr: float, te: float) -> np.ndarray:
    """Spin echo (times in ms, Hahn 1950) under an uneven coil, with the Rician noise of a magnitude."""
    vary, size = phantom.vary, phantom.size
    t1, t2, density = (phantom.property(column) for column in (T1, T2, DENSITY))
    signal = (
        density * (1 - np.exp(-tr * vary.draw(0.85, 1.15) / t1)) * np.exp(-te * vary.draw(0.85, 1.15) / t2)
    )
    signal = ndimage.gaussian_filter(signal, 0.005 * size) * (1 + 0.05 * vary.field(size, 0.03))
    signal = signal / np.percentile(signal, 98) * np.exp(vary.draw(0.05, 0.2) * vary.field(size, 0.3, 0.02))
    noise = vary.draw(0.015, 0.045) * vary.slice.standard_normal((2, size, size))
    return grey(np.hypot(signal + noise[0], noise[1]) * vary.draw(0.75, 1.0))


def ultrasound(phantom: Phantom, texture: np.ndarray | float = 0, shadow: np.ndarray | float = 0):
    """Log-compressed echoes of random scatterers, weakened on their way down (Burckhardt 1978: speckle).

    texture: dB added to the backscatter; shadow: attenuation added, in the unit of TISSUES.
    """
    vary, size = phantom.vary, phantom.size
    lost = np.cumsum(phantom.property(ATTENUATION) + shadow, axis=0) / size
    depth = np.linspace(0, 1, size)[:, None]
    level = phantom.property(BACKSCATTER) + texture - np.minimum(lost, 60) + vary.draw(-12, 0) * depth
    level += vary.field(size, 0.03) * vary.draw(0.6, 2)
    amplitude = 10 ** ((level + vary.draw(-12, -4)) / 20)
    width = max(size / 100, 0.6)
    scatterers = vary.slice.standard_normal((2, size, size)) * amplitude
    echo = ndimage.gaussian_filter(scatterers, (0, 0.6 * width, width)) * width * 2.7
    return grey(1 + (20 * np.log10(np.hypot(*echo) + 1e-3) - 6) / vary.draw(46, 60))


def radiograph(phantom: Phantom, body: np.ndarray, air: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """The shadow of so many cm of body, air and bone, bone white: counted photons, then their logarithm."""
    vary = phantom.vary
    integral = SOFT_TISSUE * (body - air) + LUNG * air + (BONE - SOFT_TISSUE) * bone
    primary = PHOTONS * np.exp(-integral)
    scatter = ndimage.gaussian_filter(primary, 0.08 * phantom.size, truncate=2) * vary.draw(0.2, 0.5)
    density = -np.log(vary.slice.poisson(primary + scatter) + 1.0)
    low, high = np.percentile(density, [vary.draw(3, 12), vary.draw(95, 99.5)])
    return grey(np.clip((density - low) / (high - low), 0, 1) ** vary.draw(0.85, 1.25))
