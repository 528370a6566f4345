"""Anatomy as overlapping soft-edged shapes: where a pixel lies, and how much of it each tissue fills."""

from math import cos, pi, sin

import numpy as np

from radlib.simulate.sample import Variation

Outline = list[tuple[int, float, float]]


class Plane:
    """Where each pixel of a slice lies in the body: x to the right, y downwards, -1 to 1.

    x, y: float32 arrays of one shape; pixel: side of a pixel in the same unit, over which edges are blurred
    (partial volume).
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, pixel: float) -> None:
        self.x, self.y, self.pixel = x.astype(np.float32), y.astype(np.float32), pixel

    @classmethod
    def square(cls, size: int) -> "Plane":
        axis = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
        return cls(*np.meshgrid(axis, axis), pixel=2 / size)

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape

    def posed(
        self, vary: Variation, tilt: float = 0.12, shift: float = 0.07, zoom: float = 0.1, warp: float = 0.035
    ) -> "Plane":
        """The patient as they lie: turned (radians), moved, scaled, and not built like the atlas."""
        angle, scale = vary.draw(-tilt, tilt), vary.draw(1 - zoom, 1 + zoom)
        x, y = self.x - vary.draw(-shift, shift), self.y - vary.draw(-shift, shift)
        x, y = (
            (cos(angle) * x + sin(angle) * y) * scale,
            (cos(angle) * y - sin(angle) * x) * scale * vary.draw(0.93, 1.07),
        )
        bent_x, bent_y = x.copy(), y.copy()
        for frequency in (1.3, 2.4, 3.9):
            direction, phase = vary.draw(0, 2 * pi, 0.01), vary.draw(0, 2 * pi, 0.02)
            along = cos(direction) * x + sin(direction) * y
            bent_x += vary.draw(-warp, warp) * np.sin(frequency * along + phase)
            bent_y += vary.draw(-warp, warp) * np.cos(frequency * along + 2 * phase)
        return Plane(bent_x, bent_y, self.pixel * scale)

    def edge(self, distance: np.ndarray, soft: float = 1.0) -> np.ndarray:
        """Share of each pixel inside a border, from the signed distance to it; soft: blur in pixels."""
        return np.clip(0.5 - distance / (self.pixel * soft), 0, 1)

    def above(self, depth: float | np.ndarray, soft: float = 2.0) -> np.ndarray:
        """Share of each pixel nearer to the top than depth (a y coordinate)."""
        return self.edge(self.y - depth, soft)

    def below(self, depth: float | np.ndarray, soft: float = 2.0) -> np.ndarray:
        """Share of each pixel farther from the top than depth (a y coordinate)."""
        return self.edge(depth - self.y, soft)

    def radius(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        angle: float = 0,
        power: float = 2,
        outline: Outline = (),
    ) -> np.ndarray:
        """Distance from a centre in units of the outline's radius; power 4 is a rounded box."""
        x, y, rx, ry = float(x), float(y), float(rx), float(ry)
        u = (cos(angle) * (self.x - x) + sin(angle) * (self.y - y)) / rx
        v = (cos(angle) * (self.y - y) - sin(angle) * (self.x - x)) / ry
        if power == 2:
            radius = np.sqrt(u * u + v * v)
        else:
            radius = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
        if len(outline):
            theta = np.arctan2(v, u)
            reach = np.ones_like(radius)
            for order, amplitude, phase in outline:
                reach += amplitude * np.cos(order * theta + phase)
            radius = radius / np.maximum(reach, 0.2)
        return radius

    def blob(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        angle: float = 0,
        power: float = 2,
        outline: Outline = (),
        soft: float = 1.0,
    ) -> np.ndarray:
        """Ellipse (or rounded box) with an uneven outline: share of each pixel inside, float32 in [0, 1]."""
        return self.edge((self.radius(x, y, rx, ry, angle, power, outline) - 1) * min(rx, ry), soft)

    def tube(self, points: list, width: float | list[float], soft: float = 1.0) -> np.ndarray:
        """Thick line through (x, y) points with half-width `width` (one, or one per point)."""
        widths = np.broadcast_to(width, len(points)).tolist()
        points = np.asarray(points, dtype=float).tolist()
        nearest = np.full(self.shape, np.inf, dtype=np.float32)
        for (px, py), (qx, qy), start, end in zip(points, points[1:], widths, widths[1:], strict=False):
            dx, dy = qx - px, qy - py
            u, v = self.x - px, self.y - py
            t = np.clip((u * dx + v * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
            distance = np.sqrt((u - t * dx) ** 2 + (v - t * dy) ** 2) - (start + t * (end - start))
            np.minimum(nearest, distance, out=nearest)
        return self.edge(nearest, soft)


def curve(points: list, steps: int = 8) -> list[tuple[float, float]]:
    """A smooth line: the Bezier curve of three or four control points, at steps + 1 places."""
    t = np.linspace(0, 1, steps + 1)[:, None]
    line = [np.asarray(p, dtype=float) * np.ones_like(t) for p in points]
    while len(line) > 1:
        line = [(1 - t) * a + t * b for a, b in zip(line, line[1:], strict=False)]
    return [tuple(p) for p in line[0]]


class Phantom:
    """Tissues painted one over the other; the last one painted lies on top."""

    def __init__(self, plane: Plane, background: str = "air") -> None:
        self.plane, self.background = plane, background
        self.layers: list[tuple[np.ndarray, str]] = []

    def add(self, share: np.ndarray, tissue: str) -> np.ndarray:
        """Fill this share (0 to 1) of each pixel with a tissue; gives the share back."""
        self.layers.append((share, tissue))
        return share

    def values(self, table: dict[str, float]) -> np.ndarray:
        """Each pixel's value, the tissues' values weighted by their shares (partial volume); float32."""
        values = np.full(self.plane.shape, table[self.background], dtype=np.float32)
        for share, tissue in self.layers:
            values += share * (table[tissue] - values)
        return values
