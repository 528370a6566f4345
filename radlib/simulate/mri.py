"""Magnetic resonance imaging: spin-echo contrast, a coil's uneven sensitivity, noise of a magnitude."""

import numpy as np
from scipy import ndimage

from radlib.simulate.sample import Variation
from radlib.simulate.shapes import Phantom

# T1 ms, T2 ms, proton density relative to water; about 1.5 T, rounded. Sources: Stanisz et al. 2005,
# doi 10.1002/mrm.20605; de Bazelaire et al. 2004 (abdomen), doi 10.1148/radiol.2303021331; Gold et al. 2004
# (joints), doi 10.2214/ajr.183.2.1830343; Kwan et al. 1999 (brain), doi 10.1109/42.816072.
RELAXATION = {
    "air": (1000, 1, 0.0),
    "lung": (1000, 5, 0.05),
    "cortical_bone": (500, 1, 0.1),
    "skull": (500, 1, 0.1),
    "tendon": (600, 6, 0.5),
    "meniscus": (700, 10, 0.6),
    "fat": (300, 60, 0.95),
    "scalp": (300, 60, 0.9),
    "marrow": (320, 55, 0.85),
    "marrow_sclerosis": (900, 20, 0.4),
    "marrow_oedema": (1400, 110, 0.95),
    "muscle": (950, 40, 0.85),
    "cartilage": (1050, 42, 0.85),
    "fluid": (3000, 600, 1.0),
    "synovium": (1500, 110, 0.95),
    "oedema": (1500, 150, 0.95),
    "csf": (4200, 1600, 1.0),
    "grey_matter": (950, 95, 0.82),
    "white_matter": (620, 76, 0.72),
    "deep_grey": (850, 82, 0.8),
    "lesion": (1400, 130, 0.92),
    "necrosis": (2600, 350, 0.98),
    "cord": (850, 76, 0.75),
    "disc": (1100, 100, 0.9),
    "disc_degenerate": (900, 36, 0.7),
    "liver": (580, 46, 0.82),
    "spleen": (1050, 80, 0.86),
    "pancreas": (600, 50, 0.85),
    "kidney": (970, 87, 0.88),
    "kidney_pelvis": (1700, 180, 0.95),
    "vessel": (1400, 4, 0.6),  # flowing blood leaves the slice before its echo: a flow void
    "heart": (1000, 45, 0.85),
    "bowel": (900, 70, 0.8),
    "stomach": (2200, 260, 0.95),
}
FATTY = ("fat", "scalp", "marrow")


def spin_echo(t1: float, t2: float, density: float, tr: float, te: float) -> float:
    """Signal density * (1 - exp(-TR/T1)) * exp(-TE/T2); all times in ms.

    Source: Hahn 1950, Physical Review 80:580, doi 10.1103/PhysRev.80.580, for TE much shorter than TR.
    """
    return density * (1 - np.exp(-tr / t1)) * np.exp(-te / t2)


def rician(signal: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Magnitude of a complex signal with noise of SD sigma in each channel; the same shape and unit.

    Where there is no signal its mean is sigma * sqrt(pi / 2). Source: Gudbjartsson and Patz 1995, Magnetic
    Resonance in Medicine 34:910, doi 10.1002/mrm.1910340618.
    """
    real = signal + sigma * rng.standard_normal(signal.shape)
    return np.hypot(real, sigma * rng.standard_normal(signal.shape))


def mr_image(
    phantom: Phantom,
    vary: Variation,
    tr: float,
    te: float,
    fat_signal: float = 1.0,
    white: float = 97.5,
    sigma: tuple[float, float] = (0.015, 0.045),
    extra: np.ndarray | float = 0,
) -> np.ndarray:
    """A phantom as the scanner shows it: uint8 (S, S).

    tr, te: ms. fat_signal: share of the fat's signal that a fat-saturation pulse leaves. white: the
    percentile of the signal that is shown white. sigma: range of the patients' noise SD relative to white.
    extra: relative change of signal within tissues.
    """
    tr, te = tr * vary.draw(0.85, 1.15), te * vary.draw(0.85, 1.15)
    table = {
        tissue: spin_echo(t1, t2, density, tr, te)
        * vary.draw(0.93, 1.07)
        * (fat_signal if tissue in FATTY else 1)
        for tissue, (t1, t2, density) in RELAXATION.items()
    }
    size = phantom.plane.shape[0]
    signal = ndimage.gaussian_filter(phantom.values(table) * (1 + extra), 0.005 * size, truncate=3)
    signal = signal / np.percentile(signal, white)
    signal = signal * np.exp(vary.draw(0.05, 0.22) * vary.field(phantom.plane.shape, 0.3 * size, 0.02))
    magnitude = rician(signal, vary.draw(*sigma), vary.slice)
    return np.rint(255 * np.clip(magnitude * vary.draw(0.75, 1.0), 0, 1)).astype(np.uint8)
