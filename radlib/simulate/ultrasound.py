"""Ultrasound: echoes of random scatterers, weakened on their way, log-compressed for display."""

import numpy as np
from scipy import ndimage

from radlib.simulate.sample import Variation
from radlib.simulate.shapes import Phantom, Plane

OVERSAMPLING = 2
# Backscatter in dB relative to liver; attenuation in dB over the depth of the image, relative to what the
# time-gain compensation expects: below 0 brightens what lies behind, above 0 casts a shadow.
BACKSCATTER = {
    "tissue": -2,
    "gel": -12,
    "skin": 12,
    "fat": -9,
    "muscle": -11,
    "fascia": 9,
    "gland": 5,
    "thyroid": 2,
    "liver": 0,
    "kidney": -7,
    "kidney_sinus": 11,
    "diaphragm": 17,
    "vessel": -34,
    "fluid": -40,
    "wall": 10,
    "stone": 22,
    "bone": 18,
    "airway": 18,
    "airway_behind": -8,
    "lesion": -8,
    "lesion_dark": -18,
    "calcification": 16,
    "halo": -16,
}
ATTENUATION = {
    "fluid": -14,
    "vessel": -8,
    "stone": 420,
    "bone": 420,
    "airway": 500,
    "airway_behind": 40,
    "calcification": 40,
    "fat": 2,
}


def speckle(amplitude: np.ndarray, axial: float, lateral: float, rng: np.random.Generator) -> np.ndarray:
    """Envelope of the echoes of countless scatterers, before compression; float, the shape of amplitude.

    Many scatterers in a resolution cell add up to a circular complex Gaussian, so where amplitude is even the
    envelope follows the Rayleigh law, whose mean is 1.91 times its SD (Burckhardt 1978, IEEE Transactions on
    Sonics and Ultrasonics 25:1, doi 10.1109/T-SU.1978.30978). axial, lateral: SD in pixels of the Gaussian
    point spread function. The mean power of the echo is amplitude squared.
    """
    scatterers = rng.standard_normal((2, *amplitude.shape)) * amplitude
    echo = ndimage.gaussian_filter(scatterers, (0, axial, lateral), truncate=3)
    return np.hypot(*echo) * np.sqrt(2 * np.pi * axial * lateral)


def b_mode(phantom: Phantom, vary: Variation, extra: np.ndarray | float = 0, shadow: np.ndarray | float = 0):
    """A phantom as the scanner shows it, depth along axis 0; float in [0, 1].

    extra: dB added to the backscatter; shadow: attenuation density added, in the unit of ATTENUATION.
    """
    backscatter = phantom.values({t: db + vary.draw(-1.5, 1.5) for t, db in BACKSCATTER.items()}) + extra
    density = phantom.values({t: float(ATTENUATION.get(t, 0)) for t in BACKSCATTER}) + shadow
    depth = np.linspace(0, 1, density.shape[0], dtype=np.float32)[:, None]
    lost = np.cumsum(density, axis=0) / density.shape[0]
    lost = ndimage.gaussian_filter1d(lost, 0.01 * density.shape[1], axis=1)
    gain = (
        vary.draw(-15, -5)
        + vary.draw(-14, 0) * depth
        - vary.draw(0, 7) * (depth - vary.draw(0.3, 0.6)) ** 2 * 4
    )
    amplitude = 10 ** ((backscatter - np.minimum(lost, 60) + gain) / 20)
    pixels = density.shape[0] / 100
    axial, lateral = vary.draw(0.45, 0.65) * pixels, vary.draw(0.7, 1.15) * pixels
    envelope = speckle(amplitude, axial, lateral, vary.slice) + 10 ** (-56 / 20)
    dynamic_range = vary.draw(46, 60)
    return np.clip(1 + (20 * np.log10(envelope) - 12) / dynamic_range, 0, 1)


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Mean over blocks of OVERSAMPLING pixels: float (size, size)."""
    return image.reshape(size, OVERSAMPLING, size, OVERSAMPLING).mean(axis=(1, 3))


def linear_plane(size: int) -> Plane:
    """What a linear probe sees: a square, oversampled."""
    return Plane.square(size * OVERSAMPLING)


def linear_image(image: np.ndarray, size: int) -> np.ndarray:
    """An oversampled square B-mode image as uint8 (size, size)."""
    return np.rint(255 * shrink(image, size)).astype(np.uint8)


class Sector:
    """What a curved probe sees: a fan. Echoes are computed along its beams and then laid out as a picture."""

    def __init__(self, size: int, opening: float = 0.62, apex: float = -1.75, nearest: float = 0.72) -> None:
        self.size, self.opening, self.apex, self.nearest = size, opening, apex, nearest
        self.farthest = 1 - apex
        self.samples, self.beams = OVERSAMPLING * size, int(1.4 * size)

    def plane(self) -> Plane:
        """Depth along axis 0, beams along axis 1, with the place of each sample in the body."""
        r = np.linspace(self.nearest, self.farthest, self.samples)[:, None]
        angle = np.linspace(-self.opening, self.opening, self.beams)[None, :]
        return Plane(r * np.sin(angle), self.apex + r * np.cos(angle), pixel=2 / self.samples)

    def image(self, along_beams: np.ndarray) -> np.ndarray:
        """Scan conversion: uint8 (size, size), black outside the fan."""
        square = Plane.square(self.size)
        r, angle = np.hypot(square.x, square.y - self.apex), np.arctan2(square.x, square.y - self.apex)
        row = (r - self.nearest) / (self.farthest - self.nearest) * (self.samples - 1)
        column = (angle / self.opening + 1) / 2 * (self.beams - 1)
        smooth = ndimage.uniform_filter1d(along_beams, OVERSAMPLING, axis=0)
        picture = ndimage.map_coordinates(smooth, [row, column], order=1, cval=0.0)
        return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
