"""What images are drawn with: a patient's own random numbers, and soft-edged shapes of tissue painted over
one another.
"""

import hashlib
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from scipy import ndimage

from radlib.errors import UserError

Outline = list[tuple[int, float, float]]
SMALLEST_SIZE = 32
# Under it: Hounsfield units (CT); T1 ms, T2 ms and proton density (MR, about 1.5 T); backscatter in dB and
# attenuation in dB over the depth of the image (ultrasound). All rounded.
TISSUES = {
    "air": (-1000, 1000, 1, 0.0, -30, 0),
    "lung": (-850, 1000, 5, 0.1, -8, 0),
    "ground_glass": (-450, 1000, 20, 0.3, -8, 0),
    "fat": (-100, 300, 60, 0.95, -9, 2),
    "skin": (-20, 300, 60, 0.9, 12, 2),
    "fluid": (8, 4000, 1200, 1.0, -40, -14),
    "soft": (50, 950, 45, 0.85, -8, 0),
    "gland": (60, 900, 70, 0.85, 3, 0),
    "organ": (110, 600, 46, 0.82, 0, 0),
    "vessel": (160, 1400, 4, 0.6, -34, -8),
    "lesion": (55, 1400, 130, 0.92, -12, 0),
    "grey_matter": (38, 950, 95, 0.82, -5, 0),
    "white_matter": (27, 620, 76, 0.72, -5, 0),
    "blood": (75, 1200, 30, 0.9, -10, 0),
    "tendon": (80, 600, 6, 0.5, 9, 0),
    "cartilage": (90, 1050, 42, 0.85, -12, 0),
    "marrow": (250, 320, 55, 0.85, 10, 60),
    "bone": (900, 500, 1, 0.1, 18, 420),
}


@dataclass(frozen=True)
class Sample:
    """image: uint8 (S, S) grey or (S, S, 3) RGB; mask: uint8 (S, S), 1 inside the lesion, or None;
    patient_id: None where there are no patients.
    """

    image: np.ndarray
    mask: np.ndarray | None
    class_name: str
    patient_id: str | None
    name: str

    def read_pixels(self) -> tuple[np.ndarray, str, str]:
        """The image, its SHA-256 and no rule, as `radlib.datasets.PixelsRef` has it."""
        return self.image, hashlib.sha256(self.image.tobytes()).hexdigest(), ""


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """Random numbers that depend on seed and key alone, so that no patient depends on any other."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def check_request(size: int, **counts: int) -> None:
    """Refuse with a UserError, before anything is drawn, what cannot be drawn."""
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"simulated images: {name} is {value}; give at least 1")
    if size < SMALLEST_SIZE:
        raise UserError(f"simulated images: size is {size} px; anatomy needs at least {SMALLEST_SIZE} px")


class Variation:
    """How a slice of a patient looks: it replays the patient's stream of random numbers and adds a wobble."""

    def __init__(self, seed: int, patient: str, slice_number: int) -> None:
        self.patient = generator(seed, patient)
        self.slice = generator(seed, patient, "slice", slice_number)

    def draw(self, low: float, high: float, wobble: float = 0.06) -> float:
        """The patient's value, uniform in [low, high]; slices differ by wobble * (high - low), normal SD."""
        value = self.patient.uniform(low, high) + wobble * (high - low) * self.slice.normal()
        return min(max(value, low), high)

    def choose(self, options: list) -> object:
        """One of the options, each as likely, the same for all slices of the patient."""
        return options[int(self.patient.integers(len(options)))]

    def outline(self, roughness: float, orders: range = range(2, 6)) -> list[tuple[int, float, float]]:
        """Harmonics (order, amplitude, phase) of a closed outline; amplitude is relative to the radius."""
        return [(k, roughness * self.draw(-1, 1), self.draw(0, 2 * np.pi, 0.01)) for k in orders]

    def field(self, size: int, smooth: float, from_slice: float = 0.25) -> np.ndarray:
        """Smooth random field, float32 (size, size), mean 0 and SD 1; smooth is its scale relative to size.

        from_slice is the share of the variance that changes from slice to slice.
        """
        coarse = min(size, int(np.ceil(2 / smooth)))
        noise = (1 - from_slice) ** 0.5 * self.patient.standard_normal((coarse, coarse), dtype=np.float32)
        noise += from_slice**0.5 * self.slice.standard_normal((coarse, coarse), dtype=np.float32)
        noise = ndimage.gaussian_filter(noise, smooth * coarse, mode="wrap", truncate=3)
        field = ndimage.zoom(noise, size / coarse, order=1, mode="grid-wrap")
        return (field - field.mean()) / field.std()


class Phantom:
    """A slice of a body: x to the right, y downwards, both from -1 to 1; tissues painted over one another."""

    def __init__(self, size: int, vary: Variation, background: str = "air", zoom: float = 1):
        self.size, self.vary, self.background = size, vary, background
        self.layers: list[tuple[np.ndarray, str]] = []
        # The patient as they lie: turned, moved, scaled, and not built like the atlas.
        angle, scale = vary.draw(-0.1, 0.1), zoom * vary.draw(0.92, 1.08)
        axis = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
        x, y = (axis - vary.draw(-0.06, 0.06))[None, :], (axis - vary.draw(-0.06, 0.06))[:, None]
        x, y = (cos(angle) * x + sin(angle) * y) * scale, (cos(angle) * y - sin(angle) * x) * scale
        bend, phase = vary.draw(1, 4), vary.draw(0, 2 * pi, 0.02)
        self.x = x + vary.draw(-0.03, 0.03) * np.sin(bend * y + phase)
        self.y = y + vary.draw(-0.03, 0.03) * np.sin(bend * x + phase)
        self.pixel = 2 * scale / size

    def add(self, share: np.ndarray, tissue: str) -> None:
        """Fill this share (0 to 1) of each pixel with a tissue, over what is there."""
        self.layers.append((share, tissue))

    def property(self, column: int) -> np.ndarray:
        """Each pixel's value of one column of TISSUES, weighted by the tissues' shares; float32 (S, S)."""
        values = np.full(self.x.shape, TISSUES[self.background][column], dtype=np.float32)
        for share, tissue in self.layers:
            values += share * (TISSUES[tissue][column] - values)
        return values

    def edge(self, distance: np.ndarray, soft: float = 1.0) -> np.ndarray:
        """Share of each pixel inside a border, from the signed distance to it; soft: blur in pixels."""
        return np.clip(0.5 - distance / (self.pixel * soft), 0, 1)

    def radius(
        self, x: float, y: float, rx: float, ry: float, angle: float = 0, outline: Outline = ()
    ) -> np.ndarray:
        """Distance from a centre in units of the radius, which is that of an ellipse with an outline."""
        c, s = cos(angle), sin(angle)
        u, v = (c * (self.x - x) + s * (self.y - y)) / rx, (c * (self.y - y) - s * (self.x - x)) / ry
        radius = np.sqrt(u * u + v * v)
        if outline:
            theta = np.arctan2(v, u)
            reach = 1 + sum(amplitude * np.cos(order * theta + phase) for order, amplitude, phase in outline)
            radius /= np.maximum(reach, 0.2)
        return radius

    def blob(
        self, x: float, y: float, rx: float, ry: float, angle: float = 0, rough: float = 0, soft: float = 1
    ) -> np.ndarray:
        """Ellipse with an outline as uneven as `rough`: share of each pixel inside, float32 (S, S)."""
        outline = self.vary.outline(rough) if rough else ()
        return self.edge((self.radius(x, y, rx, ry, angle, outline) - 1) * min(rx, ry), soft)

    def tube(self, points: list[tuple[float, float]], width: float, soft: float = 1) -> np.ndarray:
        """Line through points (x, y) with half-width `width`: share of each pixel inside, float32 (S, S)."""
        nearest = np.full(self.x.shape, np.inf, dtype=np.float32)
        for (px, py), (qx, qy) in zip(points, points[1:], strict=False):
            dx, dy = qx - px, qy - py
            u, v = self.x - px, self.y - py
            t = np.clip((u * dx + v * dy) / (dx * dx + dy * dy), 0, 1)
            np.minimum(nearest, np.hypot(u - t * dx, v - t * dy), out=nearest)
        return self.edge(nearest - width, soft)

    def bone(self, x: float, y: float, rx: float, ry: float) -> None:
        """An ellipse of marrow in a shell of bone."""
        self.add(self.blob(x, y, rx + 0.03, ry + 0.03), "bone")
        self.add(self.blob(x, y, rx, ry), "marrow")
