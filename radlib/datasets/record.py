"""What a reader returns: one record per image, pointing at files that are read later, in place."""

import os
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

import numpy as np

from radlib.errors import UserError, listed

IMAGE_SUFFIXES = frozenset(
    {
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".webp",
        ".gif",
        ".pgm",
        ".ppm",
        ".jp2",
        ".tga",
    }  # fmt: skip
)


@dataclass(frozen=True, slots=True)
class FileRef:
    """An image file: by itself, below a folder (shared by many, so that each costs little), or in a zip."""

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        """As messages print it."""
        if self.member is None:
            return str(self.path)
        return str(self.path / self.member) if self.path.is_dir() else f"{self.path}: {self.member}"

    def open(self) -> BinaryIO:
        """The file, opened for reading."""
        if self.member is None:
            return self.path.open("rb")
        if self.path.is_dir():
            return (self.path / self.member).open("rb")
        return _open_zip(self.path, self.path.stat().st_mtime_ns).open(self.member)

    def read_bytes(self) -> bytes:
        """The file's bytes; UserError names the file where it cannot be read."""
        try:
            with self.open() as handle:
                return handle.read()
        except (OSError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as exc:
            raise UserError(f"cannot read {self.name} ({exc}); put a whole copy in its place") from exc


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
    name: str


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


@lru_cache(maxsize=4)
def _open_zip(path: Path, modified: int) -> zipfile.ZipFile:
    """One open handle per zip; `modified` makes a replaced file a new one."""
    return zipfile.ZipFile(path)


def list_files(path: Path, root: str = "") -> dict[str, FileRef]:
    """The files of `list_all` alone."""
    return list_all(path, root)[0]


def list_all(path: Path, root: str = "") -> tuple[dict[str, FileRef], list[Record]]:
    """Files below `root` of a folder or zip, by their name relative to `root`, sorted; hidden ones left out.

    Returns:
        The files, and what else was seen, as records to be dropped: links that lead nowhere or to a folder.
    Raises:
        UserError: no such folder, one that cannot be listed, or a damaged zip.
    """
    dropped = []
    if path.is_dir():
        base = path / root
        if not base.is_dir():
            raise UserError(f"no folder {base}; set option 'root' to the folder that holds the class folders")
        seen = sorted(_seen_in(base, ""))
        found = {name: FileRef(base, name) for name, reason in seen if not reason}
        dropped = [
            Record(name, None, None, FileRef(base, name), drop=reason)
            for name, reason in seen
            if reason and not _hidden(name)
        ]
    else:
        found = _zip_members(path, root)
    return {name: found[name] for name in sorted(found) if not _hidden(name)}, dropped


def _seen_in(base: Path, folder: str) -> Iterator[tuple[str, str]]:
    """Names below `base / folder`, each with why it cannot be used, "" for a file; no file is touched."""
    try:
        with os.scandir(base / folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _seen_in(base, f"{folder}{entry.name}/")
                else:
                    yield folder + entry.name, _not_usable(entry)
    except OSError as exc:
        raise UserError(f"cannot list {base / folder} ({exc.strerror}); make it readable") from exc


def _not_usable(entry: os.DirEntry) -> str:
    if entry.is_file():
        return ""
    if entry.is_dir():
        return "a link to a folder, which is not followed; put the folder itself there"
    return "a link that leads nowhere; fetch the file" if entry.is_symlink() else "not an ordinary file"


def _zip_members(path: Path, root: str) -> dict[str, FileRef]:
    try:
        names = _open_zip(path, path.stat().st_mtime_ns).namelist()
    except (OSError, zipfile.BadZipFile) as exc:
        raise UserError(f"{path} is neither a folder nor a whole zip ({exc}); unpack or replace it") from exc
    prefix = f"{root.strip('/')}/" if root.strip("/") else ""
    names = [name for name in names if not name.endswith("/")]
    # Some programs of Windows write backslashes.
    members = {name.replace("\\", "/").lstrip("/"): name for name in names}
    if len(members) < len(names):
        raise UserError(f"{path} holds two files of one name; pack it again with each file once")
    inside = {n: member for n, member in members.items() if n.startswith(prefix)}
    if not inside:
        tops = sorted({n.split("/")[0] for n in members})[:5]
        raise UserError(f"{path} holds nothing below '{root}'; set option 'root'; it starts with: {tops}")
    return {n.removeprefix(prefix): FileRef(path, member) for n, member in inside.items()}


def _hidden(name: str) -> bool:
    return any(
        part.startswith((".", "__MACOSX", "@eaDir")) or part in ("Thumbs.db", "desktop.ini")
        for part in name.split("/")
    )


def no_image(name: str) -> str:
    """Why a file is none, for counts by reason: "not an image file (.txt)"."""
    suffix = PurePosixPath(name).suffix.lower()
    return f"not an image file ({suffix if suffix[1:].isalpha() else 'no ending'})"


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image.

    Raises:
        UserError: a DICOM file, which must be exported first.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in {".dcm", ".dicom"}:
        raise UserError(f"{name} is DICOM, which is not read directly; export the images to PNG first")
    return suffix in IMAGE_SUFFIXES


def below(root: Path, names: Iterable[str], where: Path) -> list[FileRef]:
    """The files that the table `where` names below `root`.

    Every folder is listed once and no file is touched, so that a million names cost seconds. A name that is
    not there as it is written stands for the one file that differs in case, Unicode form, backslashes or a
    missing ending alone.

    Raises:
        UserError: a name that leaves `root`, that fits several files, or files that are not there.
    """
    refs, held, absent, index = [], {}, [], None
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder not in held:
            _check_stays_inside(root, folder, name)
            held[folder] = _names_in(root / folder)
        if file not in held[folder]:
            index = _alike(root) if index is None else index
            fitting = index.get(_folded(name), [])
            if len(fitting) > 1:
                raise UserError(f"{where} names {name}, which fits {listed(fitting)}; write one of them")
            absent += [] if fitting else [name]
            name = fitting[0] if fitting else name
        refs.append(FileRef(root, name))
    if absent:
        raise UserError(
            f"{where} names {listed(absent, most=1)}, but there is no file {root / absent[0]}; correct the "
            "names, add the files or delete the rows"
        )
    return refs


def _alike(root: Path) -> dict[str, list[str]]:
    """The files below `root` by their folded names, with and without the ending."""
    index: dict[str, list[str]] = {}
    for name, reason in sorted(_seen_in(root, "")) if root.is_dir() else []:
        if not reason and not _hidden(name):
            for key in {_folded(name), _folded(name.removesuffix(PurePosixPath(name).suffix))}:
                index.setdefault(key, []).append(name)
    return index


def _folded(name: str) -> str:
    """A name without what other systems and programs change in it."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/").removeprefix("./")).casefold()


def _check_stays_inside(root: Path, folder: str, name: str) -> None:
    if folder.startswith("/") or name.startswith("/") or ".." in folder.split("/"):
        raise UserError(f"'{name}' points outside {root}; list only files below that folder")


def _names_in(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 (a Path for each of a million names)
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def class_of(label: str, labels: dict | None, where: str) -> str:
    """Translate a published label by the option `labels` (label -> class); without it, labels are classes.

    Raises:
        UserError: `labels` lacks the label, or YAML read one of its keys as true or false.
    """
    label = unicodedata.normalize("NFC", label)
    if labels is None:
        return label
    if any(isinstance(key, bool) for key in labels):
        raise UserError("option 'labels': YAML reads bare yes, no, true and false as booleans; quote them")
    translated = {unicodedata.normalize("NFC", str(key)): str(value) for key, value in labels.items()}
    if label not in translated:
        raise UserError(f"{where}: label '{label}' is not in option 'labels': {', '.join(translated)}")
    return translated[label]


def patient_pattern(patient: str) -> re.Pattern:
    """The option `patient`: a regular expression whose first group is the patient."""
    try:
        pattern = re.compile(patient)
    except re.error as exc:
        raise UserError(f"option 'patient' is not a regular expression ({exc}): {patient}") from exc
    if pattern.groups < 1:
        raise UserError(f"option 'patient' needs a group in brackets that holds the patient: {patient}")
    return pattern


def patient_in(name: str, pattern: re.Pattern) -> str:
    """The patient in a file's name, or in its path below the data set where the expression holds a `/`.

    Raises:
        UserError: there is none.
    """
    found = pattern.search(name if in_path(pattern) else PurePosixPath(name).name)
    if not found or not found.group(1):
        raise UserError(f"option 'patient' ({pattern.pattern}) finds no patient in {name}; correct it")
    return found.group(1)


def in_path(pattern: re.Pattern) -> bool:
    """Whether the expression is searched in the path, `healthy/P017/left.png`, not in the file's name."""
    return "/" in pattern.pattern
