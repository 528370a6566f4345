"""Pixels in numpy's files: a slice of a volume (`.npy`), a row of an array in an archive (`.npz`)."""

import hashlib
import tempfile
import threading
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from radlib.errors import UserError

# What numpy and zipfile were seen to raise on damaged files; SyntaxError comes from a damaged header.
_BROKEN = (OSError, ValueError, EOFError, KeyError, SyntaxError, TypeError, zipfile.BadZipFile, zlib.error)
_unpacking = threading.Lock()


@dataclass(frozen=True, slots=True)
class VolumeSlice:
    """Slice `index` (from 0) along the first axis of a `.npy` file (slices, H, W)."""

    path: Path
    index: int

    @property
    def name(self) -> str:
        return f"{self.path}, slice {self.index}"

    def read_pixels(self) -> tuple[np.ndarray, str, str]:
        """See `PixelsRef`; reads the slice, not the volume."""
        volume = open_array(self.path)
        return _row(volume, self.index, self.name)


@dataclass(frozen=True, slots=True)
class ArchiveRow:
    """Row `index` (from 0) of the array `key` in a `.npz` file."""

    path: Path
    key: str
    index: int

    @property
    def name(self) -> str:
        return f"{self.path}, {self.key} {self.index}"

    def read_pixels(self) -> tuple[np.ndarray, str, str]:
        """See `PixelsRef`."""
        try:
            modified = self.path.stat().st_mtime_ns
        except OSError as exc:
            raise UserError(f"cannot read {self.path} ({exc}); put a whole copy in its place") from exc
        with _unpacking:
            array = _unpacked(self.path, self.key, modified)
        return _row(array, self.index, self.name)


def open_array(path: Path) -> np.ndarray:
    """A memory map of a `.npy` file; nothing but its header is read.

    Raises:
        UserError: missing, damaged, or not a stack of pictures in numbers.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _BROKEN as exc:
        raise UserError(f"{path} is no readable .npy file ({exc}); download it again") from exc
    if not isinstance(array, np.ndarray) or array.ndim < 3 or array.dtype.kind not in "uif":
        raise UserError(f"{path} holds no stack of pictures; expected numbers, (slices, height, width)")
    return array


def read_array(path: Path, key: str) -> np.ndarray:
    """One whole array of a `.npz` file.

    Raises:
        UserError: missing, damaged, or without `key` (what it has is named).
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            if key not in archive.files:
                raise UserError(f"{path} has no array '{key}'; it has: {', '.join(archive.files)}")
            return archive[key]
    except _BROKEN as exc:
        raise UserError(f"{path} is no readable .npz file ({exc}); download it again") from exc


def length_of(path: Path, key: str) -> int:
    """Rows of an array in a `.npz` file, from its header alone; errors as `read_array`."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            version = np.lib.format.read_magic(member)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, _ = read_header(member)
            return shape[0]
    except (*_BROKEN, IndexError) as exc:
        raise UserError(f"{path} holds no readable array '{key}' ({exc}); download it again") from exc


@lru_cache(maxsize=3)
def _unpacked(path: Path, key: str, modified: int) -> np.ndarray:
    """A memory map of an array of the archive, unpacked once into a nameless temporary file.

    An archive is compressed as one stream: a row cannot be had without all that comes before it, and the
    largest archives are larger than memory. `modified` makes a replaced file a new one.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="radlib-") as folder, zipfile.ZipFile(path) as archive:
            return open_array(Path(archive.extract(f"{key}.npy", folder)))
    except _BROKEN as exc:
        raise UserError(f"{path} is no readable .npz file ({exc}); download it again") from exc


def _row(array: np.ndarray, index: int, name: str) -> tuple[np.ndarray, str, str]:
    if index >= len(array):
        raise UserError(f"{name} is beyond the last, {len(array) - 1}; download the file again")
    try:
        values = np.array(array[index])
    except _BROKEN as exc:
        raise UserError(f"{name} cannot be read ({exc}); download the file again") from exc
    return values, hashlib.sha256(values.tobytes()).hexdigest(), ""
