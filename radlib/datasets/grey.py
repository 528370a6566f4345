"""Stored values of a DICOM picture to 8-bit grey, with pydicom's arithmetic.

The rules are in docs/database.md: modality units, window, MONOCHROME1, padding; functional groups of a frame.
Sources: DICOM PS3.3 C.11.1 (modality), C.11.2 (window and its functions, VOI table), C.7.6.16 (functional
groups), C.7.5.1.1.2 (padding), C.7.6.3.1.2 (photometric interpretation).
"""

from collections.abc import Callable
from typing import Annotated

import numpy as np
from annotated_types import Len
from pydantic import StrictFloat
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing
from pydicom.valuerep import DSfloat

from radlib.errors import UserError, explained

# Centre and width in modality units.
Window = Annotated[tuple[StrictFloat, ...], Len(2, 2)]
ToBytes = Callable[[np.ndarray, str], np.ndarray]
NO_UNITS = "stored values"
_UNITS = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept")
_SHOWN = ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence")
_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
# Elements of a header that `units_rule` needs.
ELEMENTS = ("PhotometricInterpretation", *_UNITS, *_PADDING, *_GROUPS)


def to_grey(
    stored: np.ndarray, header: Dataset, index: int, window: Window | ToBytes | None, name: str
) -> tuple[np.ndarray, str]:
    """Stored values (H, W) of frame `index` to uint8 (H, W), and the rules that did it.

    Args:
        window: centre and width in modality units; or what makes uint8 (n,) of units (n,) and the name.
    Raises:
        UserError: a window that is none, or one in Hounsfield units for CT that has none.
    """
    own, real, rule = _own(header, index), _measured(stored, header), units_rule(header, index)
    if isinstance(window, tuple) and rule.startswith(NO_UNITS) and header.get("Modality") == "CT":
        raise UserError(
            f"{name} is CT without rescale slope and intercept (a screenshot?): a window in Hounsfield units "
            "means nothing there; leave the file out"
        )
    if _has(own, "RescaleSlope") or _has(own, "RescaleIntercept"):
        own.RescaleSlope, own.RescaleIntercept = own.get("RescaleSlope", 1), own.get("RescaleIntercept", 0)
    values = np.asarray(apply_modality_lut(stored, own), dtype=np.float64)[real]
    how, shown = _shown(values, own, window, name)
    grey = np.zeros(stored.shape, dtype=np.uint8)
    grey[real] = 255 - shown if header.PhotometricInterpretation == "MONOCHROME1" else shown
    return grey, f"{rule}, {how}"


def units_rule(header: Dataset, index: int) -> str:
    """How frame `index` becomes modality units, from the `ELEMENTS` of its header: "rescale, inverted"."""
    photometric = str(header.get("PhotometricInterpretation"))
    if not photometric.startswith("MONOCHROME"):
        return "colour"
    own = _own(header, index)
    there = [key for key in _UNITS if key in own]
    rule = " and ".join(there) if there else NO_UNITS
    rule += " of the frame" if any(not _has(header, key) for key in there) else ""
    rule += ", inverted" if photometric == "MONOCHROME1" else ""
    return rule + (", padding black" if _has(header, "PixelPaddingValue") else "")


def windowed(values: np.ndarray, window: Window, function: str = "LINEAR", name: str = "") -> np.ndarray:
    """Values in modality units to uint8 0..255 by a window; `function` as DICOM names it.

    Raises:
        UserError: a width that is none, or an unknown function.
    """
    eight = Dataset()
    eight.PhotometricInterpretation, eight.BitsStored, eight.PixelRepresentation = "MONOCHROME2", 8, 0
    eight.VOILUTFunction = function
    with explained(
        (ValueError, OverflowError),
        f"{name}: window {window[0]:g} / {window[1]:g} is none",
        "give the option 'window: [centre, width]', or export the image to PNG",
    ):
        eight.WindowCenter, eight.WindowWidth = (DSfloat(number, auto_format=True) for number in window)
        with np.errstate(over="ignore"):  # SIGMOID far from its centre
            return np.rint(apply_windowing(values, eight)).astype(np.uint8)


def own_range(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values to uint8, `low` as 0 and `high` as 255; all 0 where these are equal."""
    if low == high:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _shown(values: np.ndarray, own: Dataset, window: Window | ToBytes | None, name: str) -> tuple:
    """The rule, and values (n,) as uint8."""
    if not len(values):
        return "nothing but padding", values.astype(np.uint8)
    if callable(window):
        return "window given", window(values, name)
    function = own.get("VOILUTFunction", "LINEAR")
    if window:
        return "window given", windowed(values, window, function, name)
    if "WindowCenter" in own and "WindowWidth" in own:
        first = (w[0] if isinstance(w, MultiValue) else w for w in (own.WindowCenter, own.WindowWidth))
        return "window of the header", windowed(values, tuple(map(float, first)), function, name)
    if "VOILUTSequence" in own:
        return "VOI table", _by_table(values, own)
    return "own range", own_range(values, values.min(), values.max())


def _by_table(values: np.ndarray, own: Dataset) -> np.ndarray:
    item = own.VOILUTSequence[0]
    entries, first, bits = item.LUTDescriptor
    # pydicom looks up with numbers of the table's bits, which may be too few for its entries.
    item.LUTDescriptor = [entries, first, 16]
    places = np.clip(np.rint(values), first, first + (entries or 2**16) - 1).astype(np.int64)
    return own_range(apply_voi(places, own).astype(np.float64), 0, 2**bits - 1)


def _own(header: Dataset, index: int) -> Dataset:
    """What converts a frame: by its functional groups, else by those that all share, else by the header."""
    own = Dataset()
    own.file_meta = header.file_meta
    shared, each = (header.get(name) or [] for name in _GROUPS)
    groups = [*shared, *([each[index]] if each else [])]
    macros = [item for group in groups for name in _MACROS for item in group.get(name) or []]
    for source in (header, *macros):
        own.update({key: source.get(key) for key in (*_UNITS, *_SHOWN) if _has(source, key)})
    return own


def _has(source: Dataset, key: str) -> bool:
    return source.get(key) not in (None, "")


def _measured(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Which pixels are no padding; its value may be written unsigned where pixels are signed."""
    limits = [header.get(key) for key in _PADDING if _has(header, key)]
    if not limits:
        return np.ones(stored.shape, dtype=bool)
    ends = np.array(limits).astype(stored.dtype)
    return (stored < ends.min()) | (stored > ends.max())
