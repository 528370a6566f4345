"""Bodies with a finding each: chest, abdomen, head and knee in cut, and what an ultrasound probe sees.

Every function takes a size in pixels, the patient's variation, a finding ("normal" for none) and its severity
from 0 (barely there) to 1 (gross). A side of -1 is the left of the image.
"""

import numpy as np

from radlib.simulate import scanners
from radlib.simulate.shapes import Phantom, Variation


def chest(size: int, vary: Variation, finding: str, severity: float) -> Phantom:
    """Lungs and heart in axial cut. Findings: nodule; viral, patches of ground glass along the pleura;
    bacterial, dense, in one lobe; dependent, a faint band at the back (no disease).
    """
    phantom = Phantom(size, vary)
    radius = phantom.radius(0, 0, vary.draw(0.86, 0.95), vary.draw(0.66, 0.75), outline=vary.outline(0.02))
    for share, tissue in ((1, "fat"), (vary.draw(0.86, 0.95), "soft")):
        phantom.add(phantom.edge((radius - share) * 0.7), tissue)
    phantom.bone(0, 0.36, 0.14, 0.11)
    wide, high = vary.draw(0.3, 0.35), vary.draw(0.46, 0.54)
    lungs = sum(phantom.blob(side * 0.44, 0, wide, high, -0.12 * side, 0.04) for side in (-1, 1))
    heart = phantom.blob(0.13, -0.1, vary.draw(0.2, 0.32), vary.draw(0.2, 0.3), 0.5, 0.04)
    lungs = np.clip(lungs, 0, 1) * (1 - heart)
    phantom.add(lungs, "lung")
    phantom.add(np.clip(vary.field(size, 0.012, 0.5) - 1.5, 0, 0.8) * lungs, "vessel")
    phantom.add(heart, "organ")
    side, ragged = vary.choose([-1, 1]), vary.field(size, 0.04, 0.2)
    x, y = side * vary.draw(0.35, 0.55), vary.draw(-0.25, 0.3)
    if finding == "nodule":
        phantom.add(phantom.blob(x, y, 0.05 + 0.08 * severity, 0.05 + 0.08 * severity, 0, 0.1), "lesion")
    if finding == "viral":
        rim = np.clip((radius - 0.4) / 0.3, 0, 1)
        patches = np.clip(0.9 * ragged + 1.6 * severity - 0.8, 0, 1) * rim * lungs
        phantom.add(patches * (0.5 + 0.5 * severity), "ground_glass")
    if finding == "bacterial":
        lobe = phantom.blob(x, y, 0.12 + 0.2 * severity, 0.12 + 0.18 * severity, 0, 0.15, soft=3)
        phantom.add(lobe * lungs * (0.4 + 0.5 * severity), "soft")
    if finding in ("dependent", "viral", "bacterial"):
        phantom.add(np.clip((phantom.y - 0.2) / 0.2, 0, 1) * vary.draw(0, 0.5) * lungs, "ground_glass")
    return phantom


def head(size: int, vary: Variation, finding: str, severity: float) -> Phantom:
    """Axial head. Findings: mass, with oedema; haemorrhage, in the brain or along the skull;
    calcification, bright in CT but no bleed.
    """
    phantom = Phantom(size, vary)
    radius = phantom.radius(0, 0, vary.draw(0.64, 0.72), vary.draw(0.8, 0.88), outline=vary.outline(0.02))
    for reach, tissue in ((1.15, "skin"), (1.09, "bone"), (1, "fluid"), (0.96, "grey_matter")):
        phantom.add(phantom.edge((radius - reach) * 0.7), tissue)
    brain, folds = phantom.edge((radius - 0.96) * 0.7), vary.field(size, 0.035, 0.08)
    phantom.add(brain * (radius < 0.9) * np.clip(np.abs(folds) * 2, 0, 1), "white_matter")
    furrows = np.clip((radius - 0.66) / 0.2, 0, 1) * np.exp(-((folds / vary.draw(0.1, 0.3)) ** 2))
    phantom.add(brain * furrows, "fluid")
    width = vary.draw(0.035, 0.085)
    for side in (-1, 1):
        phantom.add(phantom.blob(side * 0.17, 0.12, 0.11, 0.15, side * 0.3), "grey_matter")
        horn = [(side * 0.07, -0.2), (side * 0.08, 0.02), (side * 0.28, 0.42)]
        phantom.add(phantom.tube(horn, width), "fluid")
    side, x, y = vary.choose([-1, 1]), vary.draw(0.2, 0.42), vary.draw(-0.4, 0.4)
    r, bright = 0.06 + 0.18 * severity, 0.35 + 0.65 * severity
    if finding == "mass":
        phantom.add(phantom.blob(side * x, y, 1.7 * r, 1.5 * r, 0, 0.2, soft=4) * brain * 0.6, "fluid")
        phantom.add(phantom.blob(side * x, y, r, r, 0, 0.12) * brain, "lesion")
    if finding == "haemorrhage" and vary.choose([True, False]):
        phantom.add(phantom.blob(side * x, y, r, 1.2 * r, 0, 0.15) * brain * bright, "blood")
    elif finding == "haemorrhage":
        near = np.exp(-(((phantom.y - y) / 0.4) ** 2)) * (side * phantom.x > 0)
        crescent = phantom.edge((1 - (0.05 + 0.2 * severity) * near - radius) * 0.7) * (radius < 1)
        phantom.add(crescent * bright, "blood")
    if finding == "calcification":
        for side in (-1, 1):
            phantom.add(phantom.blob(side * 0.2, 0.05, 0.04, 0.05, soft=2) * 0.5 * severity, "marrow")
    return phantom


def knee(size: int, vary: Variation, finding: str, severity: float) -> Phantom:
    """Sagittal knee, front to the left. Findings: meniscal_tear, a bright cleft; acl_tear, a broken band."""
    phantom = Phantom(size, vary, zoom=0.75)
    phantom.add(phantom.blob(0, 0, vary.draw(0.84, 0.95), 2.4, 0, 0.02), "fat")
    for x, y in ((0.55, -0.75), (0.6, 0.75), (-0.5, -0.95)):
        phantom.add(phantom.blob(x, y, 0.24, 0.55, 0, 0.08), "soft")
    torn = severity if finding in ("meniscal_tear", "acl_tear") else 0
    effusion = vary.draw(0.3, 0.8) + 0.3 * torn
    phantom.add(phantom.blob(-0.42, -0.5, 0.12 * effusion, 0.32 * effusion, 0, 0.12), "fluid")
    femur, tibia = vary.draw(0.32, 0.38), vary.draw(0.46, 0.5)
    phantom.add(phantom.blob(0.02, -0.2, 0.53, femur + 0.07), "cartilage")
    phantom.bone(0.06, -1.0, 0.28, 0.8)
    phantom.bone(0.02, -0.2, 0.46, femur)
    phantom.add(phantom.blob(0.02, tibia, 0.55, 0.27), "cartilage")
    phantom.bone(0.06, 1.2, 0.26, 0.8)
    phantom.bone(0.02, tibia, 0.48, 0.2)
    phantom.bone(-0.66, vary.draw(-0.42, -0.28), 0.09, 0.2)
    phantom.add(phantom.tube([(-0.7, -0.2), (-0.52, 0.5)], 0.035), "tendon")
    horn, at = vary.choose([-1, 1]), vary.draw(0.3, 0.42)
    for side in (-1, 1):
        phantom.add(phantom.blob(0.02 + side * 0.4, 0.19, 0.17, vary.draw(0.07, 0.1)), "tendon")
    if finding == "meniscal_tear":
        lean, x = vary.draw(-0.08, 0.08), 0.02 + horn * at
        cleft = phantom.tube([(x - 0.12, 0.19 - lean), (x + 0.12, 0.19 + lean)], 0.015 + 0.045 * torn, 1.5)
        phantom.add(cleft * (0.4 + 0.6 * torn), "fluid")
    if finding in ("acl_tear", "acl_whole"):
        phantom.add(phantom.blob(0.08, 0.1, 0.3, 0.2, 0.3, 0.06), "fat")
        sag = 0.2 * torn * vary.draw(-0.3, 1)
        top, foot = (0.3 + vary.draw(-0.04, 0.04), -0.14), (-0.16 + vary.draw(-0.05, 0.05), 0.28)
        middle = ((top[0] + foot[0]) / 2 + sag, (top[1] + foot[1]) / 2 + sag)
        phantom.add(phantom.tube([top, middle, foot], 0.05) * (1 - 0.4 * torn), "tendon")
        gap = phantom.blob(*middle, 0.06 + 0.14 * torn, 0.05 + 0.11 * torn, 0, 0.15, soft=3)
        phantom.add(gap * torn, "fluid")
    return phantom


def radiograph(size: int, vary: Variation, finding: str, severity: float) -> np.ndarray:
    """Standing chest. Findings: pneumonia, air replaced in a patch; atelectasis, a thin plate."""
    phantom = Phantom(size, vary)
    depth = vary.draw(18, 26)
    trunk = phantom.blob(0, 0.6, vary.draw(0.9, 1.0), 1.4, soft=6)
    body = depth * np.maximum(trunk, phantom.blob(0, -1, 0.25, 0.5))
    heart = 12 * phantom.blob(0.12, 0.3, vary.draw(0.26, 0.36), 0.3, 0.6, 0.04, soft=6)
    heart = np.maximum(heart, 8 * phantom.tube([(0, -0.5), (0, 1)], 0.13, soft=5))
    air = np.zeros_like(body)
    for side in (-1, 1):
        lung = phantom.radius(side * 0.45, 0.02, vary.draw(0.33, 0.39), vary.draw(0.62, 0.75), -0.1 * side)
        floor = phantom.edge(phantom.y - vary.draw(0.4, 0.52), 3)
        air = np.maximum(air, np.sqrt(np.clip(1 - lung**2, 0, 1)) * floor * 0.68 * depth)
    air = np.clip(air - heart, 0, None) * (1 - np.clip(0.1 * np.abs(vary.field(size, 0.02, 0.3)), 0, 0.4))
    x, y = vary.choose([-1, 1]) * vary.draw(0.28, 0.5), vary.draw(-0.25, 0.3)
    cloud = phantom.blob(x, y, vary.draw(0.14, 0.24), vary.draw(0.16, 0.27), 0, 0.2, soft=8)
    plate = phantom.tube([(x - 0.18, y + 0.1), (x + 0.18, y + 0.1)], 0.025, soft=2)
    if finding == "pneumonia":
        ragged = 0.75 + 0.3 * vary.field(size, 0.035, 0.2)
        air = air * (1 - np.clip(cloud * ragged * (0.15 + 0.75 * severity), 0, 0.95))
    if finding == "atelectasis":
        air = air * (1 - 0.7 * severity * plate)
    gap, u = vary.draw(0.17, 0.2), np.abs(phantom.x) / 0.85
    phase = (phantom.y - vary.draw(0.5, 0.9) * u * (1 - 0.5 * u)) / gap
    ribs = phantom.edge(np.abs(phase - np.round(phase)) * gap - 0.035, 1.5) * (u < 1) * (phantom.y < 0.6)
    bone = 0.8 * ribs + 1.4 * phantom.tube([(0, -1.2), (0, 1.2)], 0.09)
    return scanners.radiograph(phantom, body, air, bone)


def nodule(phantom: Phantom, malignancy: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paint a nodule as an ultrasound probe sees it, malignant as `malignancy` (0 to 1) says.

    Benign: smooth, wider than tall, even, enhancement behind. Malignant: irregular, taller than wide, darker,
    uneven, shadow behind (TI-RADS and BI-RADS descriptors). Gives its share of each pixel, dB to add inside,
    and attenuation to add.
    """
    vary = phantom.vary
    x, y, size = vary.draw(-0.2, 0.2), vary.draw(-0.15, 0.1), vary.draw(0.25, 0.38)

    def sign() -> float:  # each strays on its own
        return min(max(malignancy + vary.draw(-0.2, 0.2), 0), 1)

    tall = 0.55 + 0.8 * sign()
    outline = vary.outline(0.02 + 0.07 * sign()) + vary.outline(0.08 * sign(), range(6, 11))
    rx, ry = size / tall**0.5, size * tall**0.5
    radius = phantom.radius(x, y, rx, ry, vary.draw(-0.25, 0.25), outline)
    share = phantom.edge((radius - 1) * min(rx, ry), 2 + 4 * sign())
    phantom.add(share * (0.7 + 0.3 * sign()), "lesion")
    uneven = share * (vary.field(phantom.size, 0.04, 0.2) * (1 + 4 * sign()) - 6 * sign())
    return share, uneven, share * (110 * sign() - 45) * vary.draw(0.5, 1)


def thyroid(size: int, vary: Variation) -> Phantom:
    """Lobe of a thyroid between muscle, vessel and windpipe."""
    phantom = Phantom(size, vary, "soft")
    for depth, tissue in ((-0.6, "soft"), (-0.75, "fat"), (-0.93, "skin")):
        phantom.add(phantom.edge(phantom.y - depth, 2), tissue)
    side = vary.choose([-1, 1])
    phantom.add(phantom.blob(0, 0.02, vary.draw(0.85, 1.2), vary.draw(0.55, 0.68), 0, 0.05), "gland")
    phantom.add(phantom.blob(side * 0.95, 0.15, 0.2, 0.22), "vessel")
    phantom.add(phantom.blob(-side * 1.1, 0.0, 0.2, 0.3), "bone")
    return phantom


def breast(size: int, vary: Variation) -> Phantom:
    """Skin, fat, gland with ligaments, and chest wall."""
    phantom = Phantom(size, vary, "soft")
    top, end = vary.draw(-0.6, -0.3), vary.draw(0.4, 0.65)
    for depth, tissue in ((end + 0.08, "tendon"), (end, "gland"), (top, "fat"), (-0.88, "skin")):
        wave = vary.draw(0.01, 0.05) * np.sin(vary.draw(1.5, 4) * phantom.x)
        phantom.add(phantom.edge(phantom.y - depth - wave, 2), tissue)
    for _ in range(4):
        x, lean = vary.draw(-1, 1), vary.draw(-0.6, 0.6)
        phantom.add(phantom.tube([(x, -0.95), (x + lean, top + 0.1)], 0.012, soft=2), "tendon")
    return phantom
