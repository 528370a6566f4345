"""The corpus of photographs: dead leaves, whose statistics are those of natural images.

Objects of all sizes hide one another, with sizes after a power law. Such pictures have edges, even surfaces,
and a power spectrum near 1/f^2 as photographs do. Sources: Lee, Mumford, Huang 2001, Occlusion models for
natural images, International Journal of Computer Vision 41:35, doi 10.1023/A:1011109015675; for the spectrum
Field 1987, doi 10.1364/JOSAA.4.002379. That networks learn useful features from such pictures: Baradad et
al. 2021, Learning to see by looking at noise, arXiv 2106.05963.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from scipy import fft

from radlib.simulate.radiology import n_classes
from radlib.simulate.sample import Sample, check_request, generator

SHAPES = (
    "disc",
    "ellipse",
    "square",
    "triangle",
    "hexagon",
    "star",
    "ring",
    "cross",
    "petals",
    "crescent",
    "bar",
)
GROUND_LEAVES, LEAVES = 30, 200
EDGE_SHARPNESS = 2.0
SIZE_EXPONENT = 3.0  # number of leaves with radius r ~ r^-3: the picture looks alike at every scale


@dataclass(frozen=True)
class Look:
    """What makes a class: the shape of its leaves, their hue (0 to 1, a circle) and their texture."""

    shape: str
    hue: float
    roughness: float

    @property
    def name(self) -> str:
        return f"photograph/{self.shape}_{'rough' if self.roughness > 0.5 else 'smooth'}"


def looks() -> list[Look]:
    """One look per class, as many as the radiology corpus has classes: every shape, smooth or rough."""
    return [
        Look(SHAPES[i % len(SHAPES)], (0.38 * i) % 1, 0.25 if i < len(SHAPES) else 0.9)
        for i in range(n_classes())
    ]


def simulated_photographs(images: int, size: int, seed: int) -> Iterator[Sample]:
    """Yield `images` colour images, uint8 (size, size, 3), no masks, the classes in turn.

    There are n_classes() classes. Every image is a patient of its own. An image depends on seed and its
    number only.

    Raises:
        UserError: a count below 1, a size below 32 px, or a negative seed.
    """
    check_request(size, seed, images=images)
    return _images(images, size, seed)


def _images(images: int, size: int, seed: int) -> Iterator[Sample]:
    classes = looks()
    for number in range(images):
        look, name = classes[number % len(classes)], f"photograph-{number:06d}"
        yield Sample(dead_leaves(look, size, generator(seed, name)), None, look.name, name, name)


def dead_leaves(look: Look, size: int, rng: np.random.Generator) -> np.ndarray:
    """One picture: leaves of the class's shape, hue and roughness; uint8 (size, size, 3)."""
    scene = np.full((size, size, 3), _colours(look, 1, rng)[0], dtype=np.float32)
    texture = power_law_field(size, rng, exponent=1.6)
    light = _light(size, rng)
    radii = _radii(size, rng)
    colours, places = _colours(look, len(radii), rng), rng.random((len(radii), 3))
    clutter = rng.random(len(radii)) < 0.25  # leaves that say nothing of the class
    colours[clutter] = _colours(None, int(clutter.sum()), rng)
    texture = 0.24 * look.roughness * texture
    for radius, colour, place, foreign in zip(radii, colours, places, clutter, strict=True):
        _drop(scene, "disc" if foreign else look.shape, float(radius), colour, place.tolist(), texture)
    scene *= light[:, :, None]
    scene += rng.normal(0, rng.uniform(0.004, 0.02), scene.shape)
    return np.rint(255 * np.clip(scene, 0, 1)).astype(np.uint8)


def power_law_field(size: int, rng: np.random.Generator, exponent: float = 2.0) -> np.ndarray:
    """Random surface with power 1 / f^exponent, mean 0 and SD 1; float32 (size, size). Source: Field 1987."""
    frequency = np.hypot(fft.fftfreq(size)[:, None], fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    spectrum = fft.rfft2(rng.standard_normal((size, size))) * frequency ** (-exponent / 2)
    field = fft.irfft2(spectrum, s=(size, size))
    return ((field - field.mean()) / field.std()).astype(np.float32)


def _radii(size: int, rng: np.random.Generator) -> np.ndarray:
    """Radii in px: large leaves that hide the ground, then the power law, by inversion of its distribution.

    The law alone would need thousands of leaves to cover the picture once.
    """
    ground = size * np.exp(rng.uniform(np.log(0.09), np.log(0.42), GROUND_LEAVES))
    smallest, largest, power = 0.022 * size, 0.42 * size, 1 - SIZE_EXPONENT
    u = rng.random(LEAVES)
    return np.concatenate([ground, (smallest**power + u * (largest**power - smallest**power)) ** (1 / power)])


def _drop(
    scene: np.ndarray, shape: str, radius: float, colour: np.ndarray, place: list[float], texture: np.ndarray
) -> None:
    """Lay one leaf on the scene, in place. place: x, y and angle, each from 0 to 1."""
    size = scene.shape[0]
    x, y = (p * (size + 0.6 * radius) - 0.3 * radius for p in place[:2])
    c, s = cos(2 * pi * place[2]), sin(2 * pi * place[2])
    left, right = max(0, int(x - radius) - 1), min(size, int(x + radius) + 2)
    top, bottom = max(0, int(y - radius) - 1), min(size, int(y + radius) + 2)
    if left >= right or top >= bottom:
        return
    dx = (np.arange(left, right, dtype=np.float32) - x)[None, :] / radius
    dy = (np.arange(top, bottom, dtype=np.float32) - y)[:, None] / radius
    u, v = c * dx + s * dy, c * dy - s * dx
    share = np.clip(0.5 + (1 - reach(shape, u, v)) * radius * EDGE_SHARPNESS, 0, 1)
    shading = 1 + 0.22 * dx + texture[top:bottom, left:right]
    patch = scene[top:bottom, left:right]
    patch += share[:, :, None] * (shading[:, :, None] * colour - patch)


def reach(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """How far out in the shape a point lies: 1 on the border; the shape fits in the unit circle."""
    if shape == "ellipse":
        return np.hypot(u, 2 * v)
    if shape in ("triangle", "square", "hexagon"):
        return _polygon(u, v, {"triangle": 3, "square": 4, "hexagon": 6}[shape])
    if shape == "ring":
        return np.abs(np.hypot(u, v) - 0.72) / 0.28
    if shape == "cross":
        return np.minimum(np.maximum(np.abs(u), 3 * np.abs(v)), np.maximum(3 * np.abs(u), np.abs(v))) * 1.05
    if shape == "bar":
        return np.maximum(np.abs(u), 4 * np.abs(v)) * 1.05
    if shape == "crescent":
        return np.maximum(np.hypot(u, v), 1 + 1.5 * (0.75 - np.hypot(u - 0.5, v)))
    radius = np.hypot(u, v)
    if shape == "star":
        return radius / (0.66 + 0.34 * np.cos(5 * np.arctan2(v, u)))
    if shape == "petals":
        return radius / (0.2 + 0.8 * np.abs(np.cos(1.5 * np.arctan2(v, u))))
    return radius


def _polygon(u: np.ndarray, v: np.ndarray, corners: int) -> np.ndarray:
    directions = 2 * np.pi * np.arange(corners) / corners
    return np.maximum.reduce([np.cos(a) * u + np.sin(a) * v for a in directions]) / np.cos(np.pi / corners)


def _colours(look: Look | None, count: int, rng: np.random.Generator) -> np.ndarray:
    """Red, green and blue in 0 to 1, float32 (count, 3): around the class's hue (None: any), mostly pale."""
    hue = (look.hue + rng.normal(0, 0.05, count)) if look else rng.random(count)
    saturation, value = rng.beta(1.8, 2.6, count)[:, None], rng.uniform(0.08, 0.95, count)[:, None]
    ramp = np.clip(np.abs((hue[:, None] + np.array([0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1, 0, 1)
    return (value * (1 - saturation * (1 - ramp))).astype(np.float32)


def _light(size: int, rng: np.random.Generator) -> np.ndarray:
    """Light from one side, float32 (size, size) around 1."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.3)
    return 1 + strength * (np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None])
