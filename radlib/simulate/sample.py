"""What every generator yields, and how every patient gets random numbers of their own."""

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from radlib.errors import UserError

SMALLEST_SIZE = 32


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


def check_request(size: int, seed: int, **counts: int) -> None:
    """Refuse with a UserError, before anything is drawn, what cannot be drawn."""
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"simulated images: {name} is {value}; give at least 1")
    if size < SMALLEST_SIZE:
        raise UserError(f"simulated images: size is {size} px; anatomy needs at least {SMALLEST_SIZE} px")
    if seed < 0:
        raise UserError(f"simulated images: seed is {seed}; give 0 or a positive whole number")
