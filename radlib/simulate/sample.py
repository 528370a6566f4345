"""What every generator yields, and how every patient gets random numbers of their own."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from radlib.errors import UserError

SMALLEST_SIZE = 32


@dataclass(frozen=True)
class Sample:
    """One image as a dataset would publish it.

    image: uint8 (S, S) grey or (S, S, 3) red, green, blue. mask: uint8 (S, S), 1 inside the lesion, or None
    where the dataset has no masks. image_id is unique in the dataset; images of one patient share patient_id.
    """

    image: np.ndarray
    mask: np.ndarray | None
    class_name: str
    patient_id: str
    image_id: str


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """Random numbers that depend on seed and key alone, so that no patient depends on any other."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


class Variation:
    """How one slice of one patient looks: the patient's own anatomy, and a little change from slice to slice.

    Every slice replays the same patient stream, so values drawn in the same order are the patient's, and adds
    a wobble from the slice's own stream.
    """

    def __init__(self, seed: int, patient: str, slice_number: int) -> None:
        self.patient = generator(seed, patient)
        self.slice = generator(seed, patient, "slice", slice_number)

    def draw(self, low: float, high: float, wobble: float = 0.06) -> float:
        """The patient's value, uniform in [low, high]; slices differ by wobble * (high - low), normal SD."""
        value = self.patient.uniform(low, high) + wobble * (high - low) * self.slice.normal()
        return float(np.clip(value, low, high))

    def chance(self, probability: float) -> bool:
        """True for this share of the patients, the same for all their slices."""
        return bool(self.patient.random() < probability)

    def choose(self, options: list) -> object:
        """One of the options, each as likely, the same for all slices of the patient."""
        return options[int(self.patient.integers(len(options)))]

    def outline(self, roughness: float, lowest: int = 2, highest: int = 5) -> list[tuple[int, float, float]]:
        """Harmonics (order, amplitude, phase) of a closed outline; amplitude is relative to the radius."""
        return [
            (k, roughness * self.draw(-1, 1) / (k - lowest + 1) ** 0.5, self.draw(0, 2 * np.pi, 0.01))
            for k in range(lowest, highest + 1)
        ]

    def field(self, shape: tuple[int, int], smooth: float, from_slice: float = 0.25) -> np.ndarray:
        """Smooth random field, float32 of that shape, mean 0 and SD 1; smooth is the Gaussian SD in pixels.

        from_slice is the share of the variance that changes from slice to slice.
        """
        step = max(1, int(smooth / 1.5))  # a smooth field needs no more values than this
        coarse = (-(-shape[0] // step) + 1, -(-shape[1] // step) + 1)
        noise = (1 - from_slice) ** 0.5 * self.patient.standard_normal(coarse, dtype=np.float32)
        noise += from_slice**0.5 * self.slice.standard_normal(coarse, dtype=np.float32)
        field = ndimage.gaussian_filter(noise, smooth / step, mode="wrap", truncate=3)
        field = _between(shape[0], coarse[0], step) @ field @ _between(shape[1], coarse[1], step).T
        return (field - field.mean()) / field.std()


@lru_cache(maxsize=64)
def _between(fine: int, coarse: int, step: int) -> np.ndarray:
    """Linear interpolation as a matrix, float32 (fine, coarse): coarse values lie every `step` fine ones."""
    place = np.arange(fine) / step
    return np.clip(1 - np.abs(place[:, None] - np.arange(coarse)[None, :]), 0, 1).astype(np.float32)


def check_request(size: int, seed: int, **counts: int) -> None:
    """Refuse impossible arguments before anything is drawn.

    Raises:
        UserError: a count below 1, an image side below 32 px, or a negative seed.
    """
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"simulated images: {name} is {value}; give at least 1")
    if size < SMALLEST_SIZE:
        raise UserError(f"simulated images: size is {size} px; anatomy needs at least {SMALLEST_SIZE} px")
    if seed < 0:
        raise UserError(f"simulated images: seed is {seed}; give 0 or a positive whole number")
