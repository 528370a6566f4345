"""Pixels in numpy's files: a slice of a volume (`.npy`), a row of an array in an archive (`.npz`)."""

import hashlib
import tempfile
import threading
import zipfile
import zlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from radlib.errors import UserError, explained

# What numpy and zipfile were seen to raise on damaged files; SyntaxError comes from a damaged header.
_BROKEN = (OSError, ValueError, EOFError, LookupError, SyntaxError, TypeError, zipfile.BadZipFile, zlib.error)
_unpacking = threading.Lock()


@dataclass(frozen=True, slots=True)
class ArrayRow:
    """Picture `index` (from 0) of a `.npy` file (n, H, W), or of the array `key` in a `.npz` file."""

    path: Path
    index: int
    key: str = ""

    @property
    def name(self) -> str:
        return f"{self.path}, {self.key or 'slice'} {self.index}"

    def read_pixels(self) -> tuple[np.ndarray, str, str]:
        """See `PixelsRef`; reads the picture, not the whole array."""
        array = _unpacked(self.path, self.key) if self.key else open_array(self.path)
        if self.index >= len(array):
            raise UserError(f"{self.name} is beyond the last, {len(array) - 1}; download the file again")
        with _readable(f"{self.name} cannot be read"):
            values = np.array(array[self.index])
        return values, hashlib.sha256(values.tobytes()).hexdigest(), ""


def open_array(path: Path) -> np.ndarray:
    """A memory map of a stack of pictures in a `.npy` file; nothing but its header is read."""
    with _readable(f"{path} is no readable .npy file"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.ndim < 3 or array.dtype.kind not in "uif":
        raise UserError(f"{path} holds no stack of pictures; expected numbers, (slices, height, width)")
    return array


def read_array(path: Path, key: str) -> np.ndarray:
    """One whole array of a `.npz` file; UserError where it is missing or damaged."""
    with _readable(f"{path} is no readable .npz file"), np.load(path, allow_pickle=False) as archive:
        if key not in archive.files:
            raise UserError(f"{path} has no array '{key}'; it has: {', '.join(archive.files)}")
        return archive[key]


def length_of(path: Path, key: str) -> int:
    """Rows of an array in a `.npz` file, from its header alone; errors as `read_array`."""
    with (
        _readable(f"{path} holds no readable array '{key}'"),
        zipfile.ZipFile(path) as archive,
        archive.open(f"{key}.npy") as member,
    ):
        np.lib.format.read_magic(member)
        return np.lib.format.read_array_header_1_0(member)[0][0]


def _unpacked(path: Path, key: str) -> np.ndarray:
    """A memory map of an array of the archive, unpacked once into a nameless temporary file.

    An archive is compressed as one stream: a row cannot be had without all that comes before it, and the
    largest archives are larger than memory.
    """
    what = f"{path} cannot be unpacked into {tempfile.gettempdir()}"
    with _unpacking, explained(_BROKEN, what, "download it again, or make room there"):
        return _unpack(path, key, path.stat().st_mtime_ns)


@lru_cache(maxsize=3)
def _unpack(path: Path, key: str, modified: int) -> np.ndarray:
    """`modified` makes a replaced file a new one."""
    with tempfile.TemporaryDirectory(prefix="radlib-") as folder:
        return open_array(Path(zipfile.ZipFile(path).extract(f"{key}.npy", folder)))


def _readable(what: str) -> AbstractContextManager:
    return explained(_BROKEN, what, "download it again")
