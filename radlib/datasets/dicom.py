"""DICOM files to 8-bit pixels, and what little of a header is kept: a salted hash of the patient.

Grey values go by the rules of `radlib.datasets.grey`. Colour is RGB, YBR becomes RGB. A file may lack the
preamble and the file meta information with which the standard begins it.
"""

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radlib.datasets.files import below
from radlib.datasets.grey import ToBytes, Window, to_grey
from radlib.datasets.patients import patient_key
from radlib.datasets.record import FileRef
from radlib.errors import UserError, explained

# The first group of a file without a preamble: file meta, or identification in either byte order.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
# What pydicom and its decoders were seen to raise on damaged files.
_BROKEN = (InvalidDicomError, BytesLengthException, RuntimeError, ValueError, TypeError, AttributeError)
_BROKEN += (LookupError, ArithmeticError, EOFError, OSError, MemoryError, struct.error, zlib.error)

# pydicom warns of much that the rules above decide or refuse.
warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")


@dataclass(frozen=True, slots=True)
class DicomRef:
    """The picture of a DICOM file.

    window: centre and width in modality units (Hounsfield for CT), or None for the header's own.
    """

    file: FileRef
    window: Window | None = None

    @property
    def name(self) -> str:
        return self.file.name

    def read_pixels(self) -> tuple[np.ndarray, str, str]:
        """See `PixelsRef`; uint8 (H, W) or (H, W, 3)."""
        data = self.file.read_bytes()
        pixels, rule = decode(data, self.name, self.window)
        return pixels, hashlib.sha256(data).hexdigest(), rule


def dicom_refs(root: Path, images: list[str], where: Path, window: Window | None) -> list[DicomRef]:
    """The pictures that the table `where` names, without their ending `.dcm`; see `below`."""
    return [DicomRef(file, window) for file in below(root, [f"{image}.dcm" for image in images], where)]


def decode(
    data: bytes, name: str, window: Window | ToBytes | None = None, frame: int | None = None
) -> tuple[np.ndarray, str]:
    """The picture in the bytes of a DICOM file, and the rules that made it.

    Args:
        window: see `radlib.datasets.grey.to_grey`. frame: which of several, from 0; None where there is one.
    Returns:
        uint8 (H, W) or (H, W, 3); for example "RescaleSlope and RescaleIntercept, window of the header".
    Raises:
        UserError: damaged, no picture, several frames without a choice, a palette, a window that is none, or
            a compression that needs a plugin (which is named).
    """
    with named_faults(name):
        header = _read(io.BytesIO(data))
        frames = int(header.get("NumberOfFrames") or 1)
        if frames > 1 and frame is None:
            raise UserError(
                f"{name} holds {frames} frames; export the one that is meant to a file of its own"
            )
        index = frame or 0
        kind = header.get("PhotometricInterpretation")
        if kind not in (*_GREY, *_COLOUR):
            raise UserError(f"{name} has colours of the kind {str(kind)[:20]!r}, which is not read; use PNG")
        stored = _stored(header, name, index)
        if kind in _COLOUR:
            return _eight_bits(stored, header, name), "colour"
        return to_grey(stored, header, index, window, name)


def _read(handle: BinaryIO, **options) -> pydicom.Dataset:
    """A DICOM file; InvalidDicomError where it has no preamble, and nothing else tells that it is DICOM."""
    head = handle.read(132)
    handle.seek(0)
    whole = head[128:] == b"DICM"
    try:
        if not whole and head[:2] not in _FIRST_GROUPS:
            raise InvalidDicomError
        header = pydicom.dcmread(handle, force=True, **options)
        if not whole and UID(header.SOPClassUID).type != "SOP Class":
            raise InvalidDicomError
    except _BROKEN as exc:
        raise (exc if whole else InvalidDicomError("not DICOM")) from exc
    if "TransferSyntaxUID" not in header.file_meta:
        implicit, little = header.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return header


def read_header(file: FileRef, keywords: Iterable[str]) -> pydicom.Dataset | None:
    """These elements of a header, read up to the pixels; None where the file is no DICOM file at all."""
    with named_faults(file.name), file.open() as handle:
        try:
            return _read(handle, stop_before_pixels=True, specific_tags=["SOPClassUID", *keywords])
        except InvalidDicomError:
            return None


def patient_of(file: FileRef, salt: str) -> tuple[str, str]:
    """Salted hashes of a file's patient id and of its key (see `radlib.datasets.patients`)."""
    header = read_header(file, ["PatientID"])
    with named_faults(file.name):
        if header is None:
            raise InvalidDicomError("not DICOM")
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


def named_faults(name: str) -> AbstractContextManager:
    """Whatever is wrong with a file becomes one sentence with its name."""
    return explained(_BROKEN, f"{name} is no readable DICOM picture", "replace or delete it")


def _stored(header: pydicom.Dataset, name: str, index: int) -> np.ndarray:
    """Stored values; UserError names what would have to be installed for the file's compression."""
    try:
        return pixel_array(header, index=index)
    except _BROKEN as exc:
        syntax = header.file_meta.TransferSyntaxUID
        missing = get_decoder(syntax).missing_dependencies
        if not missing:
            raise
        plugins = missing[-1].partition(" requires ")[2].removeprefix("numpy and ")
        raise UserError(
            f"{name} is compressed ({syntax.name}) and cannot be decoded; install {plugins} beside pydicom"
        ) from exc


def _eight_bits(pixels: np.ndarray, header: pydicom.Dataset, name: str) -> np.ndarray:
    """Colours of more than eight bits lose the lower ones."""
    if pixels.dtype == np.uint8:
        return pixels
    bits = header.get("BitsStored") or 0
    if not 8 < bits <= 32 or not np.issubdtype(pixels.dtype, np.unsignedinteger):
        raise UserError(f"{name} holds colours of {bits} bits, which are not read; export it to PNG")
    return (pixels >> (bits - 8)).astype(np.uint8)
