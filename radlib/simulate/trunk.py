"""Abdomen and chest in axial cut, for computed tomography and magnetic resonance imaging.

The patient's right lies on the left of the image. Every function takes the posed plane, the patient's
variation, a finding ("normal" for none) and its severity from 0 (barely there) to 1 (gross), and gives a
Phantom.
"""

import numpy as np

from radlib.simulate.sample import Variation
from radlib.simulate.shapes import Phantom, Plane


def _vertebra(phantom: Phantom, y: float, vary: Variation) -> None:
    plane = phantom.plane
    for grow, tissue in ((0.03, "cortical_bone"), (0, "marrow")):
        phantom.add(plane.tube([(0, y + 0.16), (0, y + 0.42)], 0.04 + grow * 0.5), tissue)
        for side in (-1, 1):
            phantom.add(
                plane.tube([(side * 0.1, y + 0.16), (side * 0.3, y + 0.24)], 0.035 + grow * 0.5), tissue
            )
        phantom.add(plane.blob(0, y, 0.15 + grow, 0.12 + grow, power=2.5), tissue)
    phantom.add(plane.blob(0, y + 0.18, 0.065, 0.055), "csf")
    phantom.add(plane.blob(0, y + 0.18, 0.035, 0.03), "cord")
    for side in (-1, 1):
        phantom.add(
            plane.blob(side * 0.24, y + 0.3, 0.17, 0.12, side * -0.2, outline=vary.outline(0.06)), "muscle"
        )


def _ribs(phantom: Phantom, radius: np.ndarray, at: float, count: int, vary: Variation) -> None:
    """Ribs cut obliquely: dashes along the wall, at `at` times the body's outline."""
    angle = np.arctan2(phantom.plane.y, phantom.plane.x)
    dashes = np.cos(count * angle + vary.draw(0, 2 * np.pi, 0.04)) > 0.25
    ring = np.abs(radius - at)
    phantom.add(phantom.plane.edge((ring - 0.032) * 0.75) * dashes, "cortical_bone")
    phantom.add(phantom.plane.edge((ring - 0.008) * 0.75) * dashes, "marrow")


def abdomen(plane: Plane, vary: Variation, finding: str, severity: float) -> Phantom:
    """Upper abdomen. Findings: liver_lesion, renal_lesion (a cyst)."""
    phantom = Phantom(plane)
    rx, ry = vary.draw(0.88, 0.96), vary.draw(0.66, 0.76)
    outline, fat = vary.outline(0.02), vary.draw(0.84, 0.93)
    radius = plane.radius(0, 0, rx, ry, power=2.3, outline=outline)
    for share, tissue in ((1, "fat"), (fat, "muscle"), (fat - 0.07, "fat")):
        phantom.add(plane.edge((radius - share) * ry), tissue)
    _ribs(phantom, radius, fat - 0.04, 9, vary)
    inside = plane.edge((radius - fat + 0.085) * ry)
    _vertebra(phantom, 0.3, vary)
    _bowel(phantom, vary, inside)
    phantom.add(plane.blob(0.08, 0.1, 0.06, 0.06), "vessel")
    phantom.add(plane.blob(-0.1, 0.08, 0.075, 0.055), "vessel")
    phantom.add(
        plane.tube([(-0.08, -0.06), (0.12, -0.1), (0.36, -0.02)], [0.07, 0.05, 0.04]) * inside, "pancreas"
    )
    spleen = plane.blob(0.66, 0.08, 0.16, vary.draw(0.22, 0.3), 0.25, outline=vary.outline(0.08))
    phantom.add(spleen * inside, "spleen")
    liver = plane.blob(
        -0.5, -0.1, vary.draw(0.36, 0.44), vary.draw(0.38, 0.46), -0.3, outline=vary.outline(0.09)
    )
    left_lobe = plane.blob(-0.12, -0.33, vary.draw(0.22, 0.34), 0.17, 0.15, outline=vary.outline(0.08))
    liver = phantom.add(np.maximum(liver, left_lobe) * inside, "liver")
    for _ in range(5):
        x, y = vary.draw(-0.75, -0.2), vary.draw(-0.4, 0.15)
        branch = plane.tube(
            [(x, y), (x + vary.draw(-0.12, 0.12), y + vary.draw(-0.12, 0.12))], [0.026, 0.012]
        )
        phantom.add(branch * liver, "vessel")
    _kidneys(phantom, vary, severity if finding == "renal_lesion" else None)
    if finding == "liver_lesion":
        for _ in range(3):
            x, y, r = vary.draw(-0.75, -0.25), vary.draw(-0.38, 0.12), vary.draw(0.03, 0.09) + 0.1 * severity
            lesion = plane.blob(x, y, r, r * vary.draw(0.75, 1.2), outline=vary.outline(0.14), soft=2)
            phantom.add(lesion * liver * (0.5 + 0.5 * severity), "lesion")
    return phantom


def _kidneys(phantom: Phantom, vary: Variation, lesion: float | None) -> None:
    plane, hurt = phantom.plane, vary.choose([-1, 1])
    for side in (-1, 1):
        x, y = side * vary.draw(0.38, 0.46), vary.draw(0.2, 0.3)
        size = vary.draw(0.13, 0.16)
        phantom.add(plane.blob(x, y, size, size * 1.3, side * 0.5, outline=vary.outline(0.05)), "kidney")
        phantom.add(plane.blob(x - side * 0.07, y, 0.06, 0.09, side * 0.5, soft=2), "kidney_pelvis")
        cyst_x, cyst_y, cyst = vary.draw(0, 0.1), vary.draw(-0.1, 0.1), vary.draw(0.06, 0.1)
        if lesion is not None and side == hurt:
            cyst += 0.07 * lesion
            phantom.add(
                plane.blob(x + side * cyst_x, y + cyst_y, cyst, cyst, outline=vary.outline(0.05)), "fluid"
            )


def _bowel(phantom: Phantom, vary: Variation, inside: np.ndarray) -> None:
    plane = phantom.plane
    stomach = plane.blob(0.36, -0.26, 0.27, 0.2, -0.3, outline=vary.outline(0.1))
    phantom.add(stomach * inside, "bowel")
    phantom.add(plane.blob(0.36, -0.25, 0.22, 0.15, -0.3) * inside, "stomach")
    phantom.add(plane.blob(0.36, -0.34, 0.16, vary.draw(0.03, 0.08), -0.1) * inside, "air")
    for _ in range(5):
        x, y, r = vary.draw(0.05, 0.62), vary.draw(-0.18, 0.12), vary.draw(0.05, 0.085)
        phantom.add(plane.blob(x, y, r, r * 0.8, outline=vary.outline(0.15)) * inside, "bowel")
        phantom.add(plane.blob(x, y, r * 0.45, r * 0.3, soft=2) * inside * vary.draw(0, 0.4), "air")


def chest(plane: Plane, vary: Variation, finding: str, severity: float) -> Phantom:
    """Lungs at the level of the heart.

    Findings: nodule; viral (ground glass, patchy, along the pleura, both sides); bacterial (dense, one lobe);
    dependent (a faint band where blood settles at the back, no disease).
    """
    phantom = Phantom(plane)
    rx, ry = vary.draw(0.88, 0.96), vary.draw(0.66, 0.74)
    radius = plane.radius(0, 0, rx, ry, power=2.4, outline=vary.outline(0.02))
    for share, tissue in ((1, "fat"), (vary.draw(0.9, 0.95), "muscle")):
        phantom.add(plane.edge((radius - share) * ry), tissue)
    _ribs(phantom, radius, 0.86, 10, vary)
    lungs = np.zeros(plane.shape, dtype=np.float32)
    for side in (-1, 1):
        shape = plane.blob(
            side * vary.draw(0.43, 0.47),
            0.0,
            vary.draw(0.3, 0.35),
            vary.draw(0.48, 0.54),
            side * -0.12,
            2.4,
            vary.outline(0.05),
        )
        lungs = np.maximum(lungs, shape)
    lungs *= plane.edge((radius - 0.82) * ry)
    level = vary.draw(0, 1)  # from the aortic arch down to the ventricles
    heart = plane.blob(
        0.1 + 0.06 * level, -0.12, 0.2 + 0.13 * level, 0.2 + 0.1 * level, 0.5, outline=vary.outline(0.05)
    )
    lungs *= 1 - heart
    phantom.add(lungs, "lung")
    _vessels(phantom, vary, lungs)
    _opacities(phantom, vary, finding, severity, lungs, radius)
    phantom.add(heart, "heart")
    phantom.add(plane.tube([(0, -0.3), (0, 0.35)], 0.13), "fat")
    phantom.add(heart, "heart")
    _vertebra(phantom, 0.36, vary)
    phantom.add(plane.blob(0.13, 0.2, 0.07, 0.07), "vessel")
    for side in (-1, 1):
        phantom.add(plane.blob(side * 0.08, 0.06, 0.045, 0.04), "air")
    return phantom


def _vessels(phantom: Phantom, vary: Variation, lungs: np.ndarray) -> None:
    """Branches from both hila, seen along their course near the hilum and in cross-section farther out."""
    plane = phantom.plane
    for side in (-1, 1):
        for branch in range(5):
            angle, length = -1.2 + 0.6 * branch + vary.draw(-0.25, 0.25), vary.draw(0.2, 0.42)
            bend = angle + vary.draw(-0.5, 0.5)
            start = (side * vary.draw(0.14, 0.2), vary.draw(-0.05, 0.12))
            middle = (start[0] + side * 0.5 * length * np.cos(angle), start[1] + 0.5 * length * np.sin(angle))
            end = (middle[0] + side * 0.5 * length * np.cos(bend), middle[1] + 0.5 * length * np.sin(bend))
            phantom.add(plane.tube([start, middle, end], [0.035, 0.02, 0.008]) * lungs, "lung_vessel")
    dots = vary.field(plane.shape, 0.011 * plane.shape[0], 0.5)
    phantom.add(np.clip((dots - 1.5) * 1.2, 0, 0.8) * lungs, "lung_vessel")


def _opacities(
    phantom: Phantom, vary: Variation, finding: str, severity: float, lungs: np.ndarray, radius: np.ndarray
) -> None:
    plane, side = phantom.plane, vary.choose([-1, 1])
    ragged = vary.field(plane.shape, 0.04 * plane.shape[0], 0.2)
    if finding == "nodule":
        x, y, r = side * vary.draw(0.35, 0.6), vary.draw(-0.3, 0.35), 0.045 + 0.08 * severity
        phantom.add(plane.blob(x, y, r, r, outline=vary.outline(0.12, 3, 8)) * lungs, "consolidation")
    if finding == "viral":
        rim = np.clip((radius - 0.45) / 0.3, 0, 1)
        patches = np.clip(0.9 * ragged + 1.6 * severity - 0.9, 0, 1) * rim * lungs
        phantom.add(patches * (0.45 + 0.5 * severity), "ground_glass")
        phantom.add(np.clip(patches * ragged - 1.1 + severity, 0, 1), "consolidation")
    if finding == "bacterial":
        x, y = side * vary.draw(0.35, 0.5), vary.draw(-0.1, 0.35)
        size = 0.12 + 0.2 * severity
        lobe = plane.blob(x, y, size, size * 0.9, vary.draw(0, 3), outline=vary.outline(0.2), soft=3)
        phantom.add(
            np.clip(lobe + 0.35 * ragged * lobe, 0, 1) * lungs * (0.4 + 0.5 * severity), "consolidation"
        )
        halo = plane.blob(x, y, 1.5 * size, 1.4 * size, soft=8)
        phantom.add(halo * lungs * 0.35, "ground_glass")
    if finding in ("dependent", "viral", "bacterial"):
        band = np.clip((plane.y - 0.22) / 0.2, 0, 1) * vary.draw(0, 0.5) * lungs
        phantom.add(band, "ground_glass")
