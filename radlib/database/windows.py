"""Grey values in modality units to 8 bits, by the taxonomy's window."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
from pydantic import Field

from radlib.datasets.grey import ToBytes, windowed
from radlib.errors import UserError
from radlib.study.common import Strict


class Percentiles(Strict):
    """Of each picture: MR signal has no unit, so every picture is its own measure."""

    percentiles: tuple[float, float] = Field(description="shown as 0 and 255; 0 <= low < high <= 100")


Window = tuple[float, float] | Percentiles | Literal["stored"]


def to_bytes(window: Window) -> ToBytes:
    """What turns values (H, W) float64 into uint8 by a window of the taxonomy (see taxonomy.yaml).

    A window of two numbers is DICOM's LINEAR function whatever the header asks for, so that pictures of one
    class are shown alike.
    """
    if window == "stored":
        return _as_stored
    if isinstance(window, Percentiles):
        return partial(_between_percentiles, percentiles=window.percentiles)
    return partial(_windowed, window=window)


def _windowed(values: np.ndarray, name: str, window: tuple[float, float]) -> np.ndarray:
    return windowed(values, window, "LINEAR", name)


def _between_percentiles(values: np.ndarray, name: str, percentiles: Sequence[float]) -> np.ndarray:
    """A picture of one value, or nearly so, becomes 0: there is nothing to show."""
    low, high = np.percentile(values, percentiles)
    if low == high:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _as_stored(values: np.ndarray, name: str) -> np.ndarray:
    if values.min() < 0 or values.max() > 255:
        raise UserError(
            f"{name} has values from {values.min():g} to {values.max():g}, which do not fit into 8 bits as "
            "they are; give the taxonomy a window for its modality"
        )
    return np.rint(values).astype(np.uint8)
