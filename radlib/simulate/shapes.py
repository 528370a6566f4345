"""Anatomy as soft-edged shapes painted over one another: where a pixel lies, and which tissues fill it."""

from math import cos, pi, sin

import numpy as np

from radlib.simulate.sample import Variation

Outline = list[tuple[int, float, float]]
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

    def bone(self, x: float, y: float, rx: float, ry: float, angle: float = 0) -> None:
        """An ellipse of marrow in a shell of bone."""
        self.add(self.blob(x, y, rx + 0.03, ry + 0.03, angle), "bone")
        self.add(self.blob(x, y, rx, ry, angle), "marrow")
