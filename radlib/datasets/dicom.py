"""DICOM files to 8-bit pixels, and what little of a header is kept: a salted hash of the patient.

Rules, in this order: stored values become modality units (rescale slope and intercept, or the modality's
table); they are windowed to 0..255, by the option, else by the first window of the header, else over the
image's own range; MONOCHROME1, in which low means bright, is inverted. Colour is RGB, YBR becomes RGB.

Sources: DICOM PS3.3 C.11.1 (modality), C.11.2.1.2 and C.11.2.1.3 (window and its functions), C.7.6.3.1.2
(photometric interpretation).
"""

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue
from pydicom.pixels import apply_modality_lut, get_decoder, pixel_array

from radlib.datasets.patients import patient_key
from radlib.datasets.record import FileRef
from radlib.errors import UserError

Window = tuple[float, float]
ToBytes = Callable[[np.ndarray, str], np.ndarray]
_PATIENT = 0x00100020
_PREAMBLE = 128
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
# What pydicom and its decoders were seen to raise on damaged files.
_BROKEN = (
    InvalidDicomError, BytesLengthException, RuntimeError, ValueError, TypeError, AttributeError, LookupError,
    ArithmeticError, EOFError, OSError, MemoryError, struct.error, zlib.error,
)  # fmt: skip

# pydicom warns of much that the rules above decide or refuse.
warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")


@dataclass(frozen=True, slots=True)
class DicomRef:
    """One picture of a DICOM file.

    window: centre and width in modality units (Hounsfield for CT), or None for the header's own.
    frame: which frame of a multi-frame file, from 0; None refuses such files.
    """

    file: FileRef
    window: Window | None = None
    frame: int | None = None

    @property
    def name(self) -> str:
        return self.file.name

    def read_pixels(self) -> tuple[np.ndarray, str]:
        """See `PixelsRef`; uint8 (H, W) or (H, W, 3)."""
        data = self.file.read_bytes()
        return decode(data, self.name, self.window, self.frame), hashlib.sha256(data).hexdigest()


def decode(
    data: bytes, name: str, window: Window | ToBytes | None = None, frame: int | None = None
) -> np.ndarray:
    """The picture in the bytes of a DICOM file by the rules above, uint8 (H, W) or (H, W, 3).

    Args:
        window: as for `DicomRef`, or what makes uint8 of grey values in modality units itself, given them
            and the name.

    Raises:
        UserError: damaged, no picture, several frames without a choice, a palette, a window that is none, or
            a compression that needs a plugin (which is named).
    """
    with named_faults(name):
        header = pydicom.dcmread(io.BytesIO(data))
        index = _frame(header, name, frame)
        kind = header.get("PhotometricInterpretation")
        if kind not in (*_GREY, *_COLOUR):
            raise UserError(f"{name} has colours of the kind {str(kind)[:20]!r}, which is not read; use PNG")
        stored = _stored(header, name, index)
        if kind in _COLOUR:
            return _eight_bits(stored, header, name)
        values = np.asarray(apply_modality_lut(stored, header), dtype=np.float64)
        grey = window(values, name) if callable(window) else _shown(values, window, header, name)
        return 255 - grey if kind == "MONOCHROME1" else grey


def _shown(values: np.ndarray, window: Window | None, header: pydicom.Dataset, name: str) -> np.ndarray:
    window = window or _window_of(header)
    function = header.get("VOILUTFunction", "LINEAR")
    return windowed(values, window, function, name) if window else _own_range(values)


def windowed(values: np.ndarray, window: Window, function: str = "LINEAR", name: str = "") -> np.ndarray:
    """Values in modality units to uint8 0..255 by a window; `function` as DICOM names it.

    Raises:
        UserError: a width that is none, or an unknown function.
    """
    centre, width = window
    least = 1 if function == "LINEAR" else 0
    if not (np.isfinite(centre) and np.isfinite(width) and width >= least and width > 0):
        raise UserError(
            f"{name}: window {centre:g} / {width:g} is none; give the option 'window: [centre, width]'"
        )
    if function == "LINEAR":
        # PS3.3 C.11.2.1.2.1: the window spans width - 1 steps between whole numbers.
        share = (values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5
    elif function == "LINEAR_EXACT":
        share = (values - centre) / width + 0.5
    elif function == "SIGMOID":
        share = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    else:
        raise UserError(f"{name}: window function {function} is unknown; export the image to PNG")
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def read_header(file: FileRef, keywords: list[str]) -> pydicom.Dataset | None:
    """These elements of a header, read up to the pixels; None where the file is no DICOM file at all.

    Raises:
        UserError: a DICOM file whose header is damaged.
    """
    with named_faults(file.name), file.open() as handle:
        if handle.read(_PREAMBLE + 4)[_PREAMBLE:] != b"DICM":
            return None
        handle.seek(0)
        return pydicom.dcmread(handle, stop_before_pixels=True, specific_tags=keywords)


def patient_of(file: FileRef, salt: str) -> tuple[str, str]:
    """Salted hashes of a file's patient id and of its key (see `radlib.datasets.patients`).

    Reading stops at the id, for there may be a million headers.

    Raises:
        UserError: no DICOM file, or one without a usable patient id.
    """
    with named_faults(file.name), file.open() as handle:
        header = read_partial(handle, lambda tag, vr, length: tag > _PATIENT, specific_tags=[_PATIENT])
        patient = str(header.get("PatientID") or "").strip()
    if not patient:
        raise UserError(f"{file.name} names no patient (PatientID); images of one patient could be parted")
    return hashed_patient(patient, salt, file.name)


def hashed_patient(patient: str, salt: str, where: str) -> tuple[str, str]:
    """Hashes of a patient's id and of its key: those of one key are to be compared by `one_spelling`."""
    return hashed(patient, salt), hashed(patient_key(patient, where), salt)


def hashed(patient: str, salt: str) -> str:
    """16 hex digits of SHA-256 over salt and patient id: equal patients stay equal, names do not come back.

    Who knows the salt can test a guess: where ids are real ones, it belongs into a file that you keep to
    yourself (the option `salt_file`; without it the salt is the study's seed, which is public).
    """
    return hashlib.sha256(f"{salt}\0{patient}".encode()).hexdigest()[:16]


def check_window(window: list[float] | None) -> Window | None:
    """The option `window` as centre and width; UserError where it is not two numbers."""
    if window is None:
        return None
    numbers = isinstance(window, list | tuple) and len(window) == 2
    if not numbers or any(isinstance(w, bool) or not isinstance(w, int | float) for w in window):
        raise UserError(f"option 'window' is {window}; give centre and width, for example [40, 80]")
    return float(window[0]), float(window[1])


@contextmanager
def named_faults(name: str) -> Iterator[None]:
    """Whatever is wrong with a file becomes one sentence with its name."""
    try:
        yield
    except _BROKEN as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise UserError(f"{name} is no readable DICOM picture ({reason}); replace or delete it") from exc


def _frame(header: pydicom.Dataset, name: str, frame: int | None) -> int:
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1 and frame is None:
        raise UserError(f"{name} holds {frames} frames; choose one by the option 'frame', counted from 0")
    if (frame or 0) >= frames:
        raise UserError(f"{name} holds {frames} frames, counted from 0: there is no frame {frame}")
    return frame or 0


def _stored(header: pydicom.Dataset, name: str, index: int) -> np.ndarray:
    try:
        return pixel_array(header, index=index)
    except _BROKEN as exc:
        plugins = _missing_plugins(header)
        if not plugins:
            raise
        syntax = header.file_meta.TransferSyntaxUID.name
        raise UserError(
            f"{name} is compressed ({syntax}) and cannot be decoded; install {plugins} beside pydicom"
        ) from exc


def _missing_plugins(header: pydicom.Dataset) -> str:
    """What would have to be installed for the file's compression, or "" where nothing is missing."""
    try:
        missing = get_decoder(header.file_meta.TransferSyntaxUID).missing_dependencies
    except _BROKEN:
        return ""
    return missing[-1].partition(" requires ")[2].removeprefix("numpy and ") if missing else ""


def _window_of(header: pydicom.Dataset) -> Window | None:
    pair = [header.get(key) for key in ("WindowCenter", "WindowWidth")]
    first = [value[0] if isinstance(value, MultiValue) else value for value in pair]
    return None if any(value in (None, "") for value in first) else (float(first[0]), float(first[1]))


def _own_range(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.rint((values - low) / (high - low) * 255).astype(np.uint8)


def _eight_bits(pixels: np.ndarray, header: pydicom.Dataset, name: str) -> np.ndarray:
    """Colours of more than eight bits lose the lower ones."""
    if pixels.dtype == np.uint8:
        return pixels
    bits = header.get("BitsStored") or 0
    if not 8 < bits <= 32 or not np.issubdtype(pixels.dtype, np.unsignedinteger):
        raise UserError(f"{name} holds colours of {bits} bits, which are not read; export it to PNG")
    return (pixels >> (bits - 8)).astype(np.uint8)
