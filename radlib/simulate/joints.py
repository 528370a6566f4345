"""Knee, ankle, shoulder and hip as magnetic resonance imaging cuts them.

Every function takes the posed plane, the patient's variation, a finding ("normal" for none) and its severity
from 0 (barely there) to 1 (gross), and gives a Phantom.
"""

from radlib.simulate.sample import Variation
from radlib.simulate.shapes import Phantom, Plane, curve


def _limb(plane: Plane, vary: Variation, width: float) -> Phantom:
    phantom = Phantom(plane)
    outline = vary.outline(0.03)
    phantom.add(plane.blob(0, 0, width, 1.9, power=3, outline=outline), "fat")
    return phantom


def _effusion(
    phantom: Phantom, x: float, y: float, rx: float, ry: float, amount: float, vary: Variation
) -> None:
    """Free fluid in a recess of the joint, larger with amount (0 to 1)."""
    grown = 0.35 + 0.75 * amount
    shape = phantom.plane.blob(x, y, rx * grown, ry * grown, vary.draw(-0.3, 0.3), outline=vary.outline(0.15))
    phantom.add(shape, "fluid")


def _knee_bones(plane: Plane, vary: Variation, effusion: float) -> Phantom:
    """Sagittal knee, front to the left: soft tissue, femur, tibia, patella and extensor tendons."""
    phantom = _limb(plane, vary, vary.draw(0.84, 0.95))
    phantom.add(plane.blob(0.52, -0.72, 0.3, 0.62, 0.1, outline=vary.outline(0.08)), "muscle")
    phantom.add(plane.blob(0.58, 0.72, 0.26, 0.62, -0.1, outline=vary.outline(0.08)), "muscle")
    phantom.add(plane.blob(-0.5, -0.95, 0.22, 0.4, outline=vary.outline(0.08)), "muscle")
    _effusion(phantom, -0.42, -0.55, 0.1, 0.3, effusion, vary)
    _effusion(phantom, 0.5, 0.02, 0.1, 0.22, 0.6 * effusion, vary)
    condyle = (0.02 + vary.draw(-0.05, 0.05), -0.2, vary.draw(0.44, 0.54), vary.draw(0.34, 0.4))
    phantom.add(plane.blob(*condyle[:2], condyle[2] + 0.05, condyle[3] + 0.05), "cartilage")
    shaft = [(0.08, -1.6), (0.05, -0.4)]
    for grow, tissue in ((0.035, "cortical_bone"), (0, "marrow")):
        phantom.add(plane.tube(shaft, [0.24 + grow, 0.34 + grow]), tissue)
        phantom.add(plane.blob(*condyle[:2], condyle[2] + grow * 0.6, condyle[3] + grow * 0.6), tissue)
    plateau = vary.draw(0.25, 0.29)
    phantom.add(plane.blob(0.02, plateau + 0.2, 0.52, 0.22, power=4), "cartilage")
    for grow, tissue in ((0.03, "cortical_bone"), (0, "marrow")):
        phantom.add(plane.blob(0.02, plateau + 0.24, 0.5 + grow, 0.2 + grow, power=4), tissue)
        phantom.add(plane.tube([(0.04, plateau + 0.3), (0.1, 1.6)], [0.36 + grow, 0.22 + grow]), tissue)
    patella_y = vary.draw(-0.42, -0.28)
    phantom.add(plane.tube([(-0.62, -1.5), (-0.68, patella_y - 0.2)], 0.04), "tendon")
    phantom.add(plane.tube([(-0.7, patella_y + 0.15), (-0.52, plateau + 0.3)], 0.04), "tendon")
    phantom.add(plane.blob(-0.66, patella_y, 0.12, 0.24, outline=vary.outline(0.05)), "cortical_bone")
    phantom.add(plane.blob(-0.66, patella_y, 0.09, 0.21), "marrow")
    return phantom


def knee_menisci(plane: Plane, vary: Variation, finding: str, severity: float) -> Phantom:
    """Knee away from the middle, with both horns of a meniscus. Finding: meniscal_tear, a bright cleft."""
    torn = finding == "meniscal_tear"
    phantom = _knee_bones(plane, vary, vary.draw(0, 0.6) + (0.4 * severity if torn else 0))
    level = 0.185 + vary.draw(-0.015, 0.015)
    phantom.add(plane.tube([(-0.45, level), (0.48, level)], 0.02), "fluid")
    thick, horn = vary.draw(0.085, 0.115), vary.choose([-1, 1, 1])
    for side in (-1, 1):
        wedge = [(0.02 + side * 0.5, level), (0.02 + side * 0.14, level + 0.01)]
        phantom.add(plane.tube(wedge, [thick, 0.01]), "meniscus")
        degeneration = plane.blob(0.02 + side * 0.42, level, 0.06, 0.03, soft=3)
        phantom.add(degeneration * vary.draw(0, 0.5), "cartilage")
    slope, at = vary.draw(-0.8, 0.8), 0.02 + horn * vary.draw(0.28, 0.44)
    cleft = [(at - 0.1, level - 0.1 * slope), (at + 0.1, level + 0.1 * slope)]
    if torn:
        phantom.add(plane.tube(cleft, 0.012 + 0.035 * severity, soft=1.5) * (0.35 + 0.65 * severity), "fluid")
        phantom.add(
            plane.blob(at, level + 0.22, 0.16, 0.13, soft=6) * max(0, severity - 0.4), "marrow_oedema"
        )
    return phantom


def knee_ligaments(plane: Plane, vary: Variation, finding: str, severity: float) -> Phantom:
    """Knee through the middle, with both cruciate ligaments. Finding: acl_tear, a wavy, broken band."""
    torn = severity if finding == "acl_tear" else 0
    phantom = _knee_bones(plane, vary, vary.draw(0, 0.8) + 0.2 * torn)
    notch = plane.blob(0.14, 0.08, 0.34, 0.24, 0.3, outline=vary.outline(0.08))
    phantom.add(notch, "fat")
    phantom.add(notch * (vary.draw(0.05, 0.5) + 0.25 * torn), "synovium")
    phantom.add(plane.tube([(-0.4, 0.22), (0.48, 0.22)], 0.02), "fluid")
    posterior = curve([(0.05, 0.06), (0.3, -0.02), (0.38, 0.12), (0.46, 0.36)])
    phantom.add(plane.tube(posterior, 0.042), "tendon")
    top, foot = (0.3 + vary.draw(-0.04, 0.04), -0.14), (-0.16 + vary.draw(-0.05, 0.05), 0.26)
    sag = 0.2 * torn * vary.draw(-0.3, 1)
    middle = ((top[0] + foot[0]) / 2 + sag, (top[1] + foot[1]) / 2 + sag)
    band = plane.tube(curve([top, middle, foot]), vary.draw(0.032, 0.046) * (1 + 0.5 * torn))
    phantom.add(band * (1 - 0.3 * torn), "tendon")
    gap = plane.blob(
        *middle, 0.07 + 0.13 * torn, 0.06 + 0.1 * torn, vary.draw(0, 3), outline=vary.outline(0.2), soft=3
    )
    phantom.add(gap * torn, "oedema")
    contusion = plane.blob(0.1 + vary.draw(-0.15, 0.15), -0.12, 0.2, 0.15, soft=8)
    phantom.add(contusion * max(0, torn - 0.4) * vary.draw(0, 0.8), "marrow_oedema")
    return phantom


def ankle_foot(plane: Plane, vary: Variation, finding: str, severity: float) -> Phantom:
    """Sagittal ankle, toes to the left. Finding: achilles_tear, a swollen and broken tendon."""
    phantom = Phantom(plane)
    phantom.add(plane.tube([(0.3, -1.5), (0.3, 0.3)], [0.5, 0.42]), "fat")
    phantom.add(
        plane.tube(curve([(0.5, 0.42), (0, 0.45), (-1.3, 0.75)]), [0.36] * 5 + [0.3, 0.26, 0.22, 0.2]), "fat"
    )
    phantom.add(plane.blob(0.45, -0.8, 0.12, 0.62, -0.05, outline=vary.outline(0.1)), "muscle")
    phantom.add(plane.tube([(0.3, 0.66), (-0.7, 0.72)], 0.07), "muscle")
    tear = severity if finding == "achilles_tear" else 0
    tendon = [(0.66, -1.2), (0.62, -0.3), (0.66, 0.28)]
    swollen = 0.05 + 0.07 * tear
    phantom.add(plane.tube(tendon, [0.045, swollen, 0.05]), "tendon")
    gap = plane.blob(
        0.62, vary.draw(-0.5, -0.15), 0.05 + 0.09 * tear, 0.08 + 0.2 * tear, outline=vary.outline(0.25)
    )
    phantom.add(gap * min(1, 1.3 * tear), "fluid")
    phantom.add(plane.tube([(0.5, 0.72), (-0.7, 0.83)], 0.02), "tendon")
    phantom.add(plane.blob(0.05, -0.02, 0.3, 0.1, outline=vary.outline(0.1)), "fluid")
    bones = [
        (plane.tube, ([(0.12, -1.5), (0.1, -0.25)], [0.17, 0.25])),
        (plane.blob, (0.1, 0.1, 0.32, vary.draw(0.19, 0.24), 0.15)),
        (plane.blob, (0.42, 0.46, 0.34, vary.draw(0.2, 0.25), 0.15, 3)),
        (plane.blob, (-0.3, 0.22, 0.12, 0.19, 0.1, 3)),
        (plane.blob, (-0.56, 0.36, 0.13, 0.17, 0.25, 4)),
        (plane.tube, ([(-0.75, 0.47), (-1.4, 0.78)], [0.11, 0.07])),
    ]
    for shape, arguments in bones:
        share = shape(*arguments)
        phantom.add(share, "cortical_bone")
        phantom.add(_eroded(plane, shape, arguments), "marrow")
    return phantom


def _eroded(plane: Plane, shape, arguments: tuple, by: float = 0.03):
    """The same shape without its outermost layer."""
    if shape == plane.tube:
        points, widths = arguments
        return plane.tube(points, [w - by for w in widths])
    x, y, rx, ry, *rest = arguments
    return plane.blob(x, y, rx - by, ry - by, *rest)


def shoulder(plane: Plane, vary: Variation, finding: str, severity: float) -> Phantom:
    """Coronal shoulder, the arm to the right. Finding: rotator_cuff_tear, fluid where the tendon inserts."""
    phantom = Phantom(plane)
    skin = curve([(-1.4, -0.75), (0.5, -1.1), (1.0, -0.4), (0.85, 1.5)])
    phantom.add(plane.tube([(-1.2, 0.3), (0.1, 0.25)], 0.95), "fat")
    phantom.add(plane.tube(skin, 0.2), "fat")
    phantom.add(plane.blob(0.25, 0.35, 0.62, 1.25), "fat")
    x, y, r = 0.22 + vary.draw(-0.05, 0.05), 0.0, vary.draw(0.33, 0.39)
    deltoid = curve([(0.35, -0.62), (0.85, -0.45), (0.85, 0.2), (0.62, 1.2)])
    phantom.add(plane.tube(deltoid, vary.draw(0.11, 0.15)), "muscle")
    phantom.add(plane.tube([(-1.3, -0.42), (-0.25, -0.4)], [0.2, 0.1]), "muscle")
    phantom.add(plane.blob(-0.75, 0.5, 0.4, 0.35, outline=vary.outline(0.1)), "muscle")
    phantom.add(plane.blob(x, y, r + 0.05, r + 0.05), "cartilage")
    cuff = curve([(-0.35, -0.42), (0.1, -0.52), (0.42, -0.42), (x + r, -0.14)])
    phantom.add(plane.tube(cuff, [0.07] * 4 + [0.06] * 5), "tendon")
    for grow, tissue in ((0.035, "cortical_bone"), (0, "marrow")):
        phantom.add(plane.tube([(x + 0.12, 0.2), (x + 0.16, 1.6)], [0.24 + grow, 0.18 + grow]), tissue)
        phantom.add(plane.blob(x, y, r + grow - 0.02, r + grow - 0.02), tissue)
        phantom.add(plane.blob(-0.38, 0.05, 0.17 + grow, 0.3 + grow, -0.1, 3), tissue)
        phantom.add(plane.tube([(-0.4, 0.1), (-1.3, 0.2)], [0.14 + grow, 0.06 + grow]), tissue)
        phantom.add(plane.tube([(-0.15, -0.72), (0.45, -0.66)], 0.075 + grow), tissue)
        phantom.add(plane.tube([(-1.3, -0.85), (-0.3, -0.73)], 0.06 + grow), tissue)
    if finding == "rotator_cuff_tear":
        at = cuff[6 if vary.chance(0.6) else 5]
        tear = plane.blob(*at, 0.09 + 0.12 * severity, 0.08 + 0.05 * severity, 0.5, outline=vary.outline(0.2))
        phantom.add(tear * min(1, 0.4 + severity), "fluid")
        bursa = plane.tube(curve([(-0.1, -0.58), (0.5, -0.6), (x + r + 0.14, 0.0)]), 0.015 + 0.035 * severity)
        phantom.add(bursa, "fluid")
    return phantom


def hip(plane: Plane, vary: Variation, finding: str, severity: float) -> Phantom:
    """Coronal hip, the pelvis to the left. Finding: osteonecrosis, dark-rimmed, of the femoral head."""
    phantom = Phantom(plane)
    phantom.add(plane.blob(-0.25, 0.1, 1.2, 1.9, power=3, outline=vary.outline(0.04)), "fat")
    for x, y, rx, ry, angle in (
        (0.5, -0.6, 0.2, 0.5, -0.4),
        (0.15, -0.85, 0.16, 0.4, -0.2),
        (-0.3, 0.95, 0.28, 0.6, 0.4),
        (0.72, 0.75, 0.1, 0.6, 0.05),
        (-0.95, -0.3, 0.22, 0.7, 0.1),
    ):
        phantom.add(plane.blob(x, y, rx, ry, angle, outline=vary.outline(0.1)), "muscle")
    x, y, r = 0.0 + vary.draw(-0.05, 0.05), -0.1, vary.draw(0.28, 0.33)
    trochanter = (0.48 + vary.draw(-0.04, 0.04), 0.12)
    for grow, tissue in ((0.04, "cortical_bone"), (0, "marrow")):
        phantom.add(plane.tube([(-0.25, -1.4), (-0.12, -0.5)], [0.16 + grow, 0.24 + grow]), tissue)
        phantom.add(plane.tube([(-0.42, -0.45), (-0.42, 0.3)], [0.12 + grow, 0.1 + grow]), tissue)
        phantom.add(plane.tube([(-0.45, 0.35), (-1.2, 0.3)], 0.1 + grow), tissue)
    phantom.add(plane.blob(x, y, r + 0.075, r + 0.075), "cartilage")
    for grow, tissue in ((0.035, "cortical_bone"), (0, "marrow")):
        phantom.add(plane.tube([(x, y), trochanter], [0.22 + grow, 0.17 + grow]), tissue)
        phantom.add(plane.blob(*trochanter, 0.2 + grow, 0.22 + grow), tissue)
        phantom.add(plane.tube([(trochanter[0] - 0.05, 0.2), (0.4, 1.6)], [0.2 + grow, 0.17 + grow]), tissue)
        phantom.add(plane.blob(x, y, r + grow, r + grow), tissue)
    if finding == "osteonecrosis":
        outline, angle = vary.outline(0.12), vary.draw(-0.4, 0.4)
        width, height = r * (0.55 + 0.3 * severity), r * (0.3 + 0.25 * severity)
        phantom.add(
            plane.blob(x, y - 0.5 * r, width + 0.05, height + 0.05, angle, outline=outline),
            "marrow_sclerosis",
        )
        inside = plane.blob(x, y - 0.5 * r, width - 0.03, height - 0.03, angle, outline=outline)
        phantom.add(inside * vary.draw(0.3, 0.9), "marrow_oedema" if vary.chance(0.5) else "marrow")
    return phantom
