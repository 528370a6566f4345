"""Thyroid, breast and abdomen as ultrasound shows them."""

import numpy as np

from radlib.simulate.sample import Variation
from radlib.simulate.shapes import Phantom, Plane, curve
from radlib.simulate.ultrasound import Sector, b_mode, linear_image, linear_plane, shrink


def _layers(phantom: Phantom, vary: Variation, borders: list[tuple[float, str]]) -> None:
    """Tissue layers, deepest first: each reaches from the probe to its depth (y), with an uneven border."""
    plane = phantom.plane
    for depth, tissue in borders:
        wave = vary.draw(0.01, 0.05) * np.sin(vary.draw(1.5, 4) * plane.x + vary.draw(0, 6, 0.02))
        phantom.add(plane.above(depth + wave), tissue)


def _streaks(plane: Plane, vary: Variation, smooth: tuple[float, float]) -> np.ndarray:
    """Texture drawn out sideways, mean 0 and SD 1: fibres and fat lobules."""
    rows = vary.field((plane.shape[0] // 2, plane.shape[1] // 2), smooth[0] * plane.shape[0] / 2)
    stretch = max(1, round(smooth[1] / smooth[0]))
    return np.repeat(np.repeat(rows, 2, 0), 2 * stretch, 1)[:, : plane.shape[1]]


def nodule(
    phantom: Phantom, vary: Variation, malignancy: float, at: tuple[float, float], size: float, spread: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paint a nodule, malignant as `malignancy` (0 to 1) says; spread: how far each sign strays.

    Benign: smooth, wider than tall, even, enhancement behind. Malignant: irregular, taller than wide, darker,
    uneven, calcified, shadow behind (TI-RADS and BI-RADS descriptors). Returns its share of each pixel, dB to
    add inside, and attenuation to add.
    """

    def sign() -> float:
        return float(np.clip(malignancy + spread * vary.draw(-1, 1), 0, 1))

    plane, shape_sign = phantom.plane, sign()
    tall = 0.55 + 0.8 * shape_sign
    outline = vary.outline(0.03 + 0.09 * sign(), 2, 4) + vary.outline(0.004 + 0.1 * sign() ** 1.5, 5, 11)
    blur = 2 + 6 * sign() * vary.draw(0, 1)
    size = size * (0.85 + 0.35 * sign())
    rx, ry = size / tall**0.5, size * tall**0.5
    share = plane.blob(*at, rx, ry, vary.draw(-0.25, 0.25), outline=outline, soft=blur)
    if vary.chance(0.5):
        ring = plane.blob(*at, rx * 1.1, ry * 1.1, outline=outline, soft=blur)
        phantom.add(ring * (1 - sign()) * 0.5, "halo")
    phantom.add(share, "lesion")
    phantom.add(share * 0.7 * sign(), "lesion_dark")
    cystic = plane.blob(at[0], at[1], 0.6 * rx, 0.5 * ry, outline=vary.outline(0.15), soft=3)
    phantom.add(share * cystic * max(0.0, 0.7 - 1.6 * sign()) * vary.chance(0.4), "fluid")
    uneven = share * vary.field(plane.shape, 0.03 * plane.shape[0], 0.2) * (1 + 4 * sign())
    specks = vary.field(plane.shape, 0.01 * plane.shape[0], 0.3)
    phantom.add(share * np.clip(specks - 2.0, 0, 1) * max(0.0, 2 * sign() - 0.9), "calcification")
    shadow = share * (110 * sign() - 45) * vary.draw(0.5, 1)
    return share, uneven, shadow


def thyroid_nodule(
    size: int, vary: Variation, malignancy: float, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """A lobe close up, with a nodule: image uint8 (S, S), mask uint8 0/1 (S, S)."""
    plane = linear_plane(size).posed(vary, zoom=0.08)
    phantom = Phantom(plane, "tissue")
    _layers(
        phantom,
        vary,
        [(0.85, "muscle"), (-0.55, "fascia"), (-0.6, "muscle"), (-0.78, "fat"), (-0.94, "skin")],
    )
    lobe = plane.blob(
        vary.draw(-0.1, 0.1), 0.02, vary.draw(0.85, 1.2), vary.draw(0.55, 0.68), outline=vary.outline(0.05)
    )
    phantom.add(plane.blob(0, 0.02, 1.3, 0.64, outline=vary.outline(0.04), soft=2), "fascia")
    phantom.add(lobe, "thyroid")
    side = vary.choose([-1, 1])
    phantom.add(plane.blob(side * 0.98, 0.15, 0.2, 0.22), "vessel")
    phantom.add(plane.tube([(-side * 1.05, -0.35), (-side * 0.92, 0.1), (-side * 1.05, 0.5)], 0.04), "airway")
    at, radius = (vary.draw(-0.2, 0.2), vary.draw(-0.12, 0.12)), vary.draw(0.25, 0.4)
    mask, uneven, shadow = nodule(phantom, vary, malignancy, at, radius, spread)
    uneven = uneven + _streaks(plane, vary, (0.02, 0.03)) * vary.draw(0.6, 2.2)
    image = linear_image(b_mode(phantom, vary, uneven, shadow), size)
    return image, (shrink(mask, size) > 0.5).astype(np.uint8)


def thyroid_survey(size: int, vary: Variation, finding: str, severity: float) -> np.ndarray:
    """Both lobes, the windpipe between them and the carotids beside them; finding: nodule. uint8 (S, S)."""
    plane = linear_plane(size).posed(vary, zoom=0.08, tilt=0.08)
    phantom = Phantom(plane, "muscle")
    _layers(
        phantom, vary, [(0.75, "muscle"), (-0.4, "fascia"), (-0.45, "muscle"), (-0.7, "fat"), (-0.92, "skin")]
    )
    hurt = vary.choose([-1, 1])
    for side in (-1, 1):
        x, y = side * vary.draw(0.46, 0.54), vary.draw(-0.02, 0.06)
        phantom.add(
            plane.blob(x, y, 0.3, vary.draw(0.26, 0.34), side * -0.2, outline=vary.outline(0.06)), "thyroid"
        )
        phantom.add(plane.blob(side * 0.88, 0.12, 0.15, 0.16), "wall")
        phantom.add(plane.blob(side * 0.88, 0.12, 0.13, 0.14), "vessel")
    phantom.add(plane.blob(0, -0.18, 0.4, 0.08), "thyroid")
    shadow, uneven = 0.0, _streaks(plane, vary, (0.02, 0.03)) * vary.draw(0.6, 2)
    x, y, r = hurt * vary.draw(0.45, 0.6), vary.draw(-0.05, 0.1), 0.12 + 0.12 * severity
    if finding == "nodule":
        _, more, shadow = nodule(phantom, vary, vary.draw(0, 0.8), (x, y), r, 0.2)
        uneven = uneven + more
    phantom.add(plane.blob(0, 0.08, 0.2, 0.2), "airway_behind")
    phantom.add(
        plane.tube(curve([(-0.21, 0.12), (-0.2, -0.18), (0.2, -0.18), (0.21, 0.12)]), 0.035), "airway"
    )
    return linear_image(b_mode(phantom, vary, uneven, shadow), size)


def breast(size: int, vary: Variation, malignancy: float, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Skin, fat, gland with ligaments, chest wall, and a mass: image uint8 (S, S), mask uint8 0/1."""
    plane = linear_plane(size).posed(vary, tilt=0.08)
    phantom = Phantom(plane, "muscle")
    gland_top, gland_end = vary.draw(-0.6, -0.3), vary.draw(0.35, 0.65)
    _layers(
        phantom,
        vary,
        [(gland_end + 0.08, "fascia"), (gland_end, "gland"), (gland_top, "fat"), (-0.88, "skin")],
    )
    streaks = _streaks(plane, vary, (0.02, 0.1))
    gland = plane.below(gland_top, 8) * plane.above(gland_end, 8)
    phantom.add(gland * np.clip(-streaks - vary.draw(-0.2, 0.9), 0, 1), "fat")
    for _ in range(5):
        x, lean = vary.draw(-1, 1), vary.draw(-0.5, 0.5)
        ligament = curve(
            [(x, -0.95), (x + lean, (gland_top - 0.9) / 2), (x + 1.3 * lean, gland_top + 0.1)], 4
        )
        phantom.add(plane.tube(ligament, 0.012, soft=2), "fascia")
    at, radius = (vary.draw(-0.2, 0.2), vary.draw(-0.2, 0.1)), vary.draw(0.24, 0.38)
    mask, uneven, shadow = nodule(phantom, vary, malignancy, at, radius, spread)
    image = linear_image(b_mode(phantom, vary, uneven + 2.5 * streaks * (1 - mask), shadow), size)
    return image, (shrink(mask, size) > 0.5).astype(np.uint8)


def abdomen(size: int, vary: Variation, finding: str, severity: float) -> np.ndarray:
    """Liver with gallbladder, kidney and diaphragm by a curved probe; finding: gallstone. uint8 (S, S)."""
    sector = Sector(size)
    plane = sector.plane().posed(vary)
    phantom = Phantom(plane, "tissue")
    phantom.add(
        plane.blob(-0.1, -0.05, 1.05, vary.draw(0.72, 0.82), 0.15, outline=vary.outline(0.04)), "liver"
    )
    phantom.add(plane.tube(curve([(-1.0, 0.1), (-0.5, 0.85), (0.5, 0.95)]), 0.03), "diaphragm")
    phantom.add(plane.above(-0.82, 3), "muscle")
    kidney = (vary.draw(0.3, 0.45), vary.draw(0.38, 0.5))
    phantom.add(plane.blob(*kidney, 0.34, 0.19, 0.4), "wall")
    phantom.add(plane.blob(*kidney, 0.32, 0.17, 0.4), "kidney")
    phantom.add(plane.blob(*kidney, 0.17, 0.06, 0.4, outline=vary.outline(0.15), soft=3), "kidney_sinus")
    for _ in range(6):
        x, y, angle = vary.draw(-0.7, 0.3), vary.draw(-0.55, 0.35), vary.draw(0, 3)
        length, width = vary.draw(0.05, 0.25), vary.draw(0.02, 0.045)
        phantom.add(plane.blob(x, y, length + width, width, angle), "vessel")
    x, y, tilt = vary.draw(-0.3, 0.0), vary.draw(-0.2, 0.05), vary.draw(0.2, 0.8)
    length, width = vary.draw(0.24, 0.34), vary.draw(0.11, 0.16)
    phantom.add(plane.blob(x, y, length + 0.03, width + 0.03, tilt), "wall")
    phantom.add(plane.blob(x, y, length, width, tilt), "fluid")
    if finding == "gallstone":
        along = vary.draw(-0.3, 0.6) * length
        stone_x, stone_y, r = (
            x + along * np.cos(tilt),
            y + along * np.sin(tilt) + 0.5 * width,
            0.035 + 0.05 * severity,
        )
        phantom.add(plane.blob(stone_x, stone_y, r * 1.3, r), "stone")
    uneven = vary.field(plane.shape, 0.03 * plane.shape[0], 0.2) * vary.draw(0.5, 1.8)
    return sector.image(b_mode(phantom, vary, uneven))
