"""Chest radiograph: X-rays through a chest of soft tissue, air and bone, weakened along their way."""

import numpy as np
from scipy import ndimage

from radlib.simulate.sample import Variation
from radlib.simulate.shapes import Plane, curve

# Linear attenuation per cm at about 60 keV, rounded from NIST XCOM, doi 10.18434/T48G6X.
SOFT_TISSUE, BONE, INFLATED_LUNG = 0.21, 0.55, 0.055
PHOTONS = 6e4  # per pixel without a patient


def dome(radius: np.ndarray) -> np.ndarray:
    """Chord through an ellipsoid relative to its longest, from the distance to the centre in radii."""
    return np.sqrt(np.clip(1 - radius**2, 0, None))


def chest_attenuation(plane: Plane, vary: Variation, finding: str, severity: float) -> np.ndarray:
    """Line integral of attenuation through a standing patient, back to front; float (S, S), no unit.

    Findings: pneumonia (alveoli filled in a patch), atelectasis (a thin plate, no pneumonia).
    """
    depth = vary.draw(18, 26)  # cm
    trunk = plane.blob(0, 0.55, vary.draw(0.85, 0.98), 1.5, power=3.5, outline=vary.outline(0.02), soft=6)
    neck = plane.blob(0, -1.0, 0.24, 0.4, power=3, soft=6)
    body = np.maximum(trunk * dome(np.abs(plane.x) * 0.75), 0.6 * neck) * depth
    air = _air(plane, vary, depth)
    heart = _heart(plane, vary)
    air = np.clip(air - heart, 0, None)
    texture = vary.field(plane.shape, 0.012 * plane.shape[0], 0.3)
    centrality = np.exp(-((np.abs(plane.x) - 0.15) ** 2 + (plane.y - 0.05) ** 2) / 0.12)
    air *= 1 - np.clip((0.05 + 0.16 * centrality) * np.abs(texture), 0, 0.5)
    air *= 1 - _opacity(plane, vary, finding, severity)
    integral = SOFT_TISSUE * (body - air) + INFLATED_LUNG * air
    return integral + (BONE - SOFT_TISSUE) * _bone(plane, vary)


def _air(plane: Plane, vary: Variation, depth: float) -> np.ndarray:
    """Thickness of lung and windpipe in cm."""
    air = np.zeros(plane.shape, dtype=np.float32)
    wide, high = vary.draw(0.33, 0.39), vary.draw(0.62, 0.75)
    for side in (-1, 1):
        x = side * vary.draw(0.42, 0.47)
        radius = plane.radius(x, 0.02, wide, high, side * -0.1, 2.2, vary.outline(0.03))
        floor = vary.draw(0.4, 0.5) + 0.05 * side
        angle_depth = 0.3 * np.clip((side * plane.x - 0.42) / 0.35, 0, 1) ** 2  # the costophrenic angle
        diaphragm = plane.above(floor + angle_depth, 3)
        air = np.maximum(air, dome(radius) ** 0.7 * diaphragm * 0.68 * depth)
    trachea = plane.tube([(0, -1.1), (0.01, -0.25)], 0.05, soft=3) * 1.8
    bubble = plane.blob(0.4, vary.draw(0.6, 0.68), 0.13, 0.06, soft=3) * vary.draw(0, 6)
    return air + trachea + bubble


def _heart(plane: Plane, vary: Variation) -> np.ndarray:
    """Thickness of heart and great vessels in cm: they displace lung."""
    size = vary.draw(0.27, 0.37)
    heart = dome(plane.radius(0.13, 0.32, size * 1.15, 0.3, 0.6, outline=vary.outline(0.04))) ** 0.6 * 12
    vessels = plane.tube([(0.0, -0.5), (0.02, 0.2)], [0.09, 0.16], soft=5) * 8
    arch = dome(plane.radius(0.12, -0.28, 0.1, 0.1)) * 8
    hila = sum(plane.blob(side * 0.2, -0.02, 0.09, 0.14, side * 0.3, soft=8) for side in (-1, 1)) * 3.5
    return np.maximum.reduce([heart, vessels, arch, hila])


def _bone(plane: Plane, vary: Variation) -> np.ndarray:
    """Thickness of bone in cm: ribs (a shell: densest at the edge), clavicles, spine."""
    bone = plane.tube([(0, -1.2), (0, 1.2)], 0.09, soft=3) * 1.4
    gap, drop = vary.draw(0.17, 0.2), vary.draw(0.2, 0.35)
    for side in (-1, 1):
        bone += (
            plane.tube(curve([(side * 0.08, -0.52), (side * 0.4, -0.6), (side * 0.8, -0.72)], 4), 0.045) * 0.8
        )
        u = np.clip(side * plane.x / 0.85, 0, 1.2)
        inside = (side * plane.x > 0.08) * plane.edge(side * plane.x - 0.82)
        for slope, strength in (
            (drop * (3.2 * u * (1 - 0.55 * u) - 0.6), 0.85),
            (drop * (1.9 - 1.6 * u), 0.35),
        ):
            phase = (plane.y + 0.75 - slope) / gap
            distance = np.abs(phase - np.round(phase)) * gap - 0.035
            rows = (np.round(phase) >= 0) * (np.round(phase) <= 7)
            bone += plane.edge(distance, 1.5) * rows * inside * strength * (0.6 + 0.5 * u)
    return bone


def _opacity(plane: Plane, vary: Variation, finding: str, severity: float) -> np.ndarray:
    """Share of the air that is replaced, 0 to 1."""
    side = vary.choose([-1, 1])
    x, y = side * vary.draw(0.28, 0.52), vary.draw(-0.25, 0.32)
    ragged = vary.field(plane.shape, 0.035 * plane.shape[0], 0.2)
    size, outline, angle = vary.draw(0.14, 0.24), vary.outline(0.25), vary.draw(0, 3)
    if finding == "pneumonia":
        size = size * (0.7 + 0.7 * severity)
        cloud = plane.blob(x, y, size, size * 1.15, angle, outline=outline, soft=10)
        return np.clip(cloud * (0.75 + 0.3 * ragged) * (0.15 + 0.75 * severity), 0, 0.95)
    if finding == "atelectasis":
        line = plane.tube([(x - 0.18, y + 0.1), (x + 0.18, y + 0.1 + vary.draw(-0.08, 0.08))], 0.025, soft=2)
        return line * 0.7 * severity
    return np.zeros(plane.shape, dtype=np.float32)


def radiograph(integral: np.ndarray, vary: Variation) -> np.ndarray:
    """The digital picture, bone white: photons counted (Beer-Lambert, Poisson), logarithm; uint8."""
    size = integral.shape[0]
    primary = PHOTONS * np.exp(-integral)
    scatter = ndimage.gaussian_filter(primary, 0.08 * size, truncate=2) * vary.draw(0.2, 0.5)
    counted = vary.slice.poisson(primary + scatter) + 1.0
    density = -np.log(counted / PHOTONS)
    low, high = np.percentile(density, [vary.draw(3, 12), vary.draw(95, 99.5)])
    grey = np.clip((density - low) / (high - low), 0, 1) ** vary.draw(0.85, 1.25)
    return np.rint(255 * grey).astype(np.uint8)
