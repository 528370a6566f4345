"""The corpus of photographs: dead leaves, whose statistics are those of natural images.

Objects that hide one another, with sizes after a power law: edges, even surfaces, and a power spectrum near
1/f^2 as in photographs (Lee, Mumford, Huang 2001, doi 10.1023/A:1011109015675). Networks learn useful
features from them (Baradad et al. 2021, arXiv 2106.05963).
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy import ndimage

from radlib.errors import UserError
from radlib.simulate.shapes import Sample, check_request, generator

# Leaves: number of their lobes, depth of the valleys between them relative to the radius, and whether hollow.
SHAPES = {
    "disc": (0, 0.0, False),
    "ring": (0, 0.0, True),
    "ellipse": (2, 0.35, False),
    "eye": (2, 0.35, True),
    "trefoil": (3, 0.35, False),
    "knot": (3, 0.35, True),
    "star": (5, 0.4, False),
    "wreath": (5, 0.4, True),
    "flower": (8, 0.3, False),
}
CLASSES = list(product(SHAPES, ("rough", "smooth")))  # as many as radiology has; each has its own hue, too
LEAVES = 50
SMALLEST, LARGEST = 0.04, 0.45  # radius, relative to the picture


def simulated_photographs(images: int, size: int, seed: int, classes: int = len(CLASSES)) -> Iterator[Sample]:
    """Yield `images` colour images, uint8 (size, size, 3), no masks and no patients, the classes in turn.

    Args:
        classes: so many of `CLASSES`, the first; few are learnt sooner.
    Raises:
        UserError: a count below 1, or a size below 32 px, or more classes than there are.
    """
    check_request(size, images=images, classes=classes)
    if classes > len(CLASSES):
        raise UserError(f"simulated images: classes is {classes}; there are {len(CLASSES)} of photographs")
    return (_image(number, number % classes, size, seed) for number in range(images))


def _image(number: int, of_class: int, size: int, seed: int) -> Sample:
    shape, texture = CLASSES[of_class]
    name, hue = f"photograph-{number:06d}", 0.38 * of_class % 1
    image = dead_leaves(shape, hue, 0.25 if texture == "rough" else 0.05, size, generator(seed, name))
    return Sample(image, None, f"photograph/{shape}_{texture}", None, name)


def dead_leaves(shape: str, hue: float, rough: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """One picture: leaves of a shape and a hue, a quarter of them any other; uint8 (size, size, 3)."""
    texture = ndimage.gaussian_filter(rng.standard_normal((size, size)), 0.7)
    texture *= rough / texture.std()
    scene = np.full((size, size, 3), _colour(hue, rng))
    # Number of leaves with radius r ~ r^-3, which looks alike at every scale; the largest lie at the bottom.
    radii = (SMALLEST**-2 + rng.random(LEAVES) * (LARGEST**-2 - SMALLEST**-2)) ** -0.5
    for radius in [*rng.uniform(0.15, LARGEST, LEAVES // 6), *np.sort(radii)[::-1]]:
        foreign = rng.random() < 0.25
        colour = _colour(rng.random() if foreign else hue, rng)
        _drop(scene, "disc" if foreign else shape, radius * size, colour, texture, rng)
    scene += rng.normal(0, 0.012, scene.shape)
    return np.rint(255 * np.clip(scene, 0, 1)).astype(np.uint8)


def _drop(scene, shape: str, radius: float, colour: np.ndarray, texture: np.ndarray, rng) -> None:
    """Lay one leaf somewhere on the scene, in place."""
    size = len(scene)
    x, y = rng.uniform(0, size, 2)
    columns = slice(max(0, int(x - radius)), int(x + radius) + 2)
    rows = slice(max(0, int(y - radius)), int(y + radius) + 2)
    patch = scene[rows, columns]
    u = (np.arange(size)[columns] - x)[None, :] / radius
    v = (np.arange(size)[rows] - y)[:, None] / radius
    lobes, depth, hollow = SHAPES[shape]
    reach = np.hypot(u, v)
    if lobes:
        reach = reach / (1 - depth + depth * np.cos(lobes * (np.arctan2(v, u) + rng.uniform(0, 2 * np.pi))))
    if hollow:
        reach = np.abs(reach - 0.75) / 0.25
    share = np.clip(0.5 + (1 - reach) * radius, 0, 1)[:, :, None]
    shading = 1 + 0.2 * u + texture[rows, columns]
    patch += share * (shading[:, :, None] * colour - patch)


def _colour(hue: float, rng: np.random.Generator) -> np.ndarray:
    """Red, green and blue in 0 to 1, (3,): around the hue, mostly pale."""
    channels = (hue + rng.normal(0, 0.05) + np.array([0, 2 / 3, 1 / 3])) % 1
    ramp = np.clip(np.abs(channels * 6 - 3) - 1, 0, 1)
    return rng.uniform(0.1, 0.95) * (1 - rng.beta(1.8, 2.6) * (1 - ramp))
