"""What a reader returns: one record per image, pointing at files that are read later, in place."""

import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from radlib.errors import explained

_BROKEN = (OSError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file below a folder or in a zip, `path`, which many share, so that each costs little."""

    path: Path
    member: str

    @property
    def name(self) -> str:
        """As messages print it."""
        return str(self.path / self.member) if self.path.is_dir() else f"{self.path}: {self.member}"

    def open(self) -> BinaryIO:
        """The file, opened for reading."""
        if self.path.is_dir():
            return (self.path / self.member).open("rb")
        return open_zip(self.path).open(self.member)

    def read_bytes(self) -> bytes:
        """The file's bytes; UserError names the file where it cannot be read."""
        whole = "put a whole copy in its place"
        with explained(_BROKEN, f"cannot read {self.name}", whole), self.open() as handle:
            return handle.read()


class PixelsRef(Protocol):
    """Pixels that are no image file of their own: a DICOM file, a slice of a volume, a row of an array."""

    @property
    def name(self) -> str:
        """As messages print it."""

    def read_pixels(self) -> tuple[np.ndarray, str, str]:
        """Values (H, W) or (H, W, 3) of any number type; the SHA-256 of the bytes they came from; and the
        rules by which a DICOM file became grey, "" for others.

        Raises:
            UserError: not readable; the file is named.
        """


@dataclass(frozen=True, slots=True)
class Outline:
    """A lesion as drawn by hand; polygons: (x, y) of each corner in px, from the upper left of the image."""

    polygons: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One image as published.

    Attributes:
        patient_id: None where the publisher gives none.
        patient_key: where patient_id is a hash, that of its plain form, by which spellings are compared.
        class_name: None where the image has no label.
        image: None where a label row has no image.
        masks: lesion masks to be united, files or outlines; empty where there is none.
        parts: fold (from 0) -> "train", "validation" or "test", from the authors' own split files.
        drop: why the image cannot be used ("" if it can); such records are counted, never decoded.
    """

    image_id: str
    patient_id: str | None
    class_name: str | None
    image: FileRef | PixelsRef | None
    masks: tuple[FileRef | Outline, ...] = ()
    parts: dict[int, str] | None = None
    drop: str = ""
    patient_key: str | None = None


def open_zip(path: Path) -> zipfile.ZipFile:
    """One open handle per zip, and another where the file has been replaced."""
    return _open_zip(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _open_zip(path: Path, modified: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)
