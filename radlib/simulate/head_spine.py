"""Head and lumbar spine, for magnetic resonance imaging and, of the head, computed tomography as well.

Every function takes the posed plane, the patient's variation, a finding ("normal" for none) and its severity
from 0 (barely there) to 1 (gross), and gives a Phantom.
"""

import numpy as np

from radlib.simulate.sample import Variation
from radlib.simulate.shapes import Phantom, Plane, curve

BLEEDS = ("intracerebral", "subdural", "subarachnoid", "intraventricular")


def brain(plane: Plane, vary: Variation, finding: str, severity: float) -> Phantom:
    """Axial head at the level of the ventricles.

    Findings: mass (with oedema), haemorrhage (one of BLEEDS), calcification (bright in CT, but no bleed).
    """
    phantom = Phantom(plane)
    rx, ry = vary.draw(0.64, 0.72), vary.draw(0.8, 0.88)
    outline = vary.outline(0.02)
    for grow, tissue in ((0.11, "scalp"), (0.06, "skull"), (0, "csf")):
        phantom.add(plane.blob(0, 0, rx + grow, ry + grow, outline=outline), tissue)
    radius = plane.radius(0, 0, rx, ry, outline=outline)
    surface = plane.edge((radius - 0.965) * rx)
    furrows = _cortex(phantom, vary, surface, radius)
    _deep(phantom, vary)
    if finding == "mass":
        _mass(phantom, vary, severity, surface)
    if finding == "haemorrhage":
        _bleed(phantom, vary, severity, surface, radius, furrows)
    if finding == "calcification":
        for side in (-1, 1):
            share = plane.blob(side * 0.2, 0.05 + vary.draw(-0.05, 0.05), 0.04, 0.05, soft=2)
            phantom.add(share * severity, "calcification")
    return phantom


def _cortex(phantom: Phantom, vary: Variation, surface: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """White matter, and a grey ribbon that follows the surface and the furrows; gives the furrows back."""
    plane = phantom.plane
    folds = vary.field(plane.shape, 0.035 * plane.shape[0], 0.08)
    midline = np.exp(-((plane.x / 0.03) ** 2)) * (np.abs(plane.y) > 0.4)
    outer = np.clip((radius - 0.58) / 0.25, 0, 1)
    phantom.add(surface, "white_matter")
    ribbon = np.clip(outer * np.exp(-((folds / 0.75) ** 2)) + np.clip((radius - 0.86) / 0.05, 0, 1), 0, 1)
    phantom.add(surface * np.maximum(ribbon, 0.8 * midline), "grey_matter")
    wide = vary.draw(0.10, 0.32)  # atrophy: the furrows widen
    furrow = np.clip((radius - 0.66) / 0.2, 0, 1) * np.exp(-((folds / wide) ** 2))
    return phantom.add(surface * np.maximum(furrow, 0.7 * midline), "csf")


def _deep(phantom: Phantom, vary: Variation) -> None:
    """Basal ganglia and the lateral and third ventricles."""
    plane = phantom.plane
    wide = vary.draw(0.035, 0.085)
    for side in (-1, 1):
        phantom.add(plane.blob(side * 0.17, 0.12, 0.11, 0.15, side * 0.3), "deep_grey")
        phantom.add(plane.blob(side * 0.25, -0.08, 0.07, 0.17, side * 0.25), "grey_matter")
        front = curve([(side * 0.05, -0.08), (side * 0.07, -0.25), (side * 0.2, -0.34)], 4)
        back = curve([(side * 0.06, 0.02), (side * 0.12, 0.3), (side * 0.3, 0.45)], 5)
        phantom.add(plane.tube(front, np.linspace(0.6, 1, 5) * wide), "csf")
        phantom.add(plane.tube(back, np.linspace(0.5, 1.1, 6) * wide), "csf")
    phantom.add(plane.tube([(0, 0.0), (0, 0.18)], wide * 0.35), "csf")


def _mass(phantom: Phantom, vary: Variation, severity: float, surface: np.ndarray) -> None:
    side, x, y = vary.choose([-1, 1]), vary.draw(0.22, 0.42), vary.draw(-0.4, 0.4)
    r = 0.1 + 0.16 * severity
    swelling = phantom.plane.blob(
        side * x, y, 1.7 * r, 1.5 * r, vary.draw(0, 3), outline=vary.outline(0.25), soft=4
    )
    phantom.add(swelling * surface * 0.9, "oedema")
    outline = vary.outline(0.14)
    phantom.add(phantom.plane.blob(side * x, y, r, r, outline=outline) * surface, "lesion")
    phantom.add(phantom.plane.blob(side * x, y, 0.45 * r, 0.5 * r, outline=outline, soft=2), "necrosis")


def _bleed(
    phantom: Phantom,
    vary: Variation,
    severity: float,
    surface: np.ndarray,
    radius: np.ndarray,
    furrows: np.ndarray,
) -> None:
    plane, side, kind = phantom.plane, vary.choose([-1, 1]), vary.choose(list(BLEEDS))
    x, y, outline = vary.draw(0.15, 0.45), vary.draw(-0.4, 0.4), vary.outline(0.2)
    density = 0.35 + 0.65 * severity
    if kind == "intracerebral":
        r = 0.05 + 0.16 * severity
        phantom.add(plane.blob(side * x, y, 1.5 * r, 1.5 * r, soft=4) * 0.8, "oedema")
        phantom.add(
            plane.blob(side * x, y, r, 1.2 * r, outline=outline, soft=2) * surface * density, "blood_clot"
        )
    elif kind == "subdural":
        depth = 0.05 + 0.13 * severity
        along = np.exp(-(((plane.y - y) / 0.45) ** 2)) * (side * plane.x > 0)
        crescent = plane.edge((1 - depth * along - radius) * 0.65, 1.5) * (along > 0.15)
        phantom.add(crescent * plane.edge((radius - 1) * 0.65) * density, "blood_clot")
    elif kind == "subarachnoid":
        near = np.exp(-(((plane.x - side * x) ** 2 + (plane.y - y) ** 2) / (0.1 + 0.25 * severity)))
        rim = np.clip((radius - 0.85) / 0.06, 0, 1) * plane.edge((radius - 1) * 0.65)
        phantom.add(np.clip(furrows + rim, 0, 1) * near * density, "blood_clot")
    else:
        horn = curve([(side * 0.06, 0.02), (side * 0.12, 0.3), (side * 0.3, 0.45)], 5)
        phantom.add(plane.tube(horn[2:], 0.03 + 0.06 * severity) * density, "blood_clot")
        phantom.add(plane.tube([(0, 0), (0, 0.18)], 0.02 + 0.02 * severity) * density, "blood_clot")


def spine(plane: Plane, vary: Variation, finding: str, severity: float) -> Phantom:
    """Sagittal lumbar spine, the belly to the left. Finding: disc_herniation, a disc bulges back."""
    phantom = Phantom(plane)
    back = vary.draw(0.8, 0.9)
    phantom.add(plane.edge(plane.x - back - 0.04 * np.sin(2 * plane.y)), "fat")
    phantom.add(plane.edge(plane.x - back + 0.22) * 0.9, "muscle")
    phantom.add(plane.tube(curve([(-0.75, -1.3), (-0.8, 0), (-0.5, 1.3)]), vary.draw(0.1, 0.16)), "vessel")
    sway = vary.draw(0.08, 0.22)

    def axis(y: float) -> tuple[float, float]:
        return -0.1 - sway * np.cos(1.3 * (y - 0.1)) + 0.2 * max(y, 0) ** 2, y

    line = np.linspace(-1.4, 1.4, 13)
    canal = [(axis(y)[0] + 0.42, y) for y in line]
    phantom.add(plane.tube(canal, 0.2), "fat")
    phantom.add(plane.tube(canal, vary.draw(0.1, 0.13)), "csf")
    phantom.add(plane.tube(canal[:7], [0.055] * 5 + [0.04, 0.01]), "cord")
    phantom.add(plane.tube([(x - 0.025, y) for x, y in canal[6:]], 0.03, soft=3) * 0.5, "cord")
    phantom.add(plane.tube([(axis(y)[0], y) for y in line], 0.29), "tendon")
    step, start = vary.draw(0.43, 0.48), vary.draw(-1.45, -1.25)
    hurt, dark = vary.choose([3, 4]), vary.draw(0, 0.6)
    for level in range(7):
        y = start + step * level
        _vertebra(phantom, axis(y), axis(y + 0.1), step)
        worn = severity if finding == "disc_herniation" and level == hurt else dark * vary.draw(0, 1)
        _disc(
            phantom, axis(y + step / 2), worn, vary, herniated=finding == "disc_herniation" and level == hurt
        )
    return phantom


def _vertebra(phantom: Phantom, at: tuple, below: tuple, step: float) -> None:
    angle = float(np.arctan2(at[0] - below[0], below[1] - at[1]))
    for grow, tissue in ((0.025, "cortical_bone"), (0, "marrow")):
        phantom.add(phantom.plane.blob(*at, 0.26 + grow, step * 0.36 + grow, angle, power=5), tissue)
        process = [(at[0] + 0.68, at[1] + 0.14), (at[0] + 0.92, at[1] + 0.24)]
        phantom.add(phantom.plane.tube(process, 0.07 + grow), tissue)


def _disc(phantom: Phantom, at: tuple, worn: float, vary: Variation, herniated: bool) -> None:
    share = phantom.plane.blob(*at, 0.24, 0.07 * (1 - 0.3 * worn), power=3)
    phantom.add(share, "disc_degenerate")
    nucleus = phantom.plane.blob(*at, 0.17, 0.045, power=2.5, soft=1.5)
    phantom.add(nucleus * (1 - worn), "disc")
    if herniated:
        bulge = phantom.plane.blob(
            at[0] + 0.28, at[1], 0.07 + 0.12 * worn, 0.07 + 0.05 * worn, vary.draw(-0.3, 0.3)
        )
        phantom.add(bulge, "disc_degenerate")
