"""Writing `data/<dataset>/`: whole or not at all, and never half of it on a full disk."""

import contextlib
import errno
import hashlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from radlib.errors import UserError, listed

CHUNK = 256
MARK = ".written_by_radlib"
LINES = 10_000
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def whole_folder(folder: Path, megabytes: int) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`; on success it takes that place, on failure it is removed.

    What is in that place is removed where this function wrote it, as a list there says, and never otherwise.

    Args:
        megabytes: what the caller is going to write, checked before it starts.
    Raises:
        UserError: somebody else's folder, or no space left; says how much is needed and where.
    """
    full = UserError(
        f"no space left on the disk of {folder.parent}: about {megabytes} MB are needed; free them and repeat"
    )
    check_own(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder.parent).free < megabytes * 1_000_000:
        raise full
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield temporary
        (temporary / MARK).write_text("".join(sorted(f"{path.name}\n" for path in temporary.iterdir())))
        temporary.chmod(0o755)
        check_own(folder)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as exc:
        if exc.errno in _FULL:
            raise full from exc
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(temporary)


def check_own(folder: Path) -> None:
    """UserError where something is in the place of `folder` that `whole_folder` did not write."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"{folder} is a file or a link, and would be replaced; move it away")
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    mark = folder / MARK
    foreign = found - {MARK, *(mark.read_text().split("\n") if mark.is_file() else [])}
    if foreign:
        raise UserError(
            f"{folder} holds {listed(sorted(foreign), most=3)}, which this version did not write and would "
            "remove; move what is yours away, or delete the folder if an earlier version wrote it"
        )


def blank_array(shape: tuple[int, ...], file: Path | None) -> np.ndarray:
    """uint8 zeros, in memory or in a file whose space is reserved at once.

    Writing to a memory map on a full disk ends the process without a word, so the space must exist before.
    """
    if file is None:
        return np.zeros(shape, dtype=np.uint8)
    size = int(np.prod(shape))
    with file.open("wb") as handle:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle.fileno(), 0, size)
        else:
            for start in range(0, size, 1 << 24):
                handle.write(bytes(min(1 << 24, size - start)))
    return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)


def release(array: np.ndarray) -> None:
    """Take a memory map's pages out of this process's memory; the system's cache and the file keep them.

    Without it, whoever walks through a map of 70 GB holds all of it in the end, as far as memory goes. An
    array that is no memory map, or a part of one, stays as it is.
    """
    if isinstance(array.base, mmap.mmap):
        array.base.madvise(mmap.MADV_DONTNEED)


def read_rows(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`array[rows]`, where `array` is in memory, or the memory map of a whole file.

    The rows of a map are read from its file: where they lie far apart, a page fault reads much around each.
    """
    if not isinstance(array.base, mmap.mmap):
        return np.ascontiguousarray(array[rows])
    found = np.empty((len(rows), *array.shape[1:]), dtype=array.dtype)
    with Path(array.filename).open("rb", buffering=0) as file:
        for row, pixels in zip(rows.tolist(), found, strict=True):
            # One call a row: around each the thread that trains meanwhile may have to wait for this one.
            os.preadv(file.fileno(), [pixels], array.offset + row * pixels.nbytes)
    return found


def write_rows(array: np.ndarray, rows: np.ndarray, file: Path) -> None:
    """Write `array[rows]` as .npy, chunk by chunk."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *array.shape[1:])}
    with file.open("wb") as handle:
        np.lib.format.write_array_header_1_0(handle, header)
        for piece in _pieces(array, rows):
            handle.write(piece)


def _pieces(array: np.ndarray, rows: np.ndarray) -> Iterator[bytes]:
    for start in range(0, len(rows), CHUNK):
        yield array[rows[start : start + CHUNK]].tobytes()
        release(array)


def digest_of(images: np.ndarray, rows: np.ndarray, bits: np.ndarray | None, manifest: pd.DataFrame) -> str:
    """SHA-256 over the packed pixels of the rows, the bits of the masks and the manifest's content."""
    digest = hashlib.sha256()
    digest.update(repr((len(rows), *images.shape[1:])).encode())
    for piece in _pieces(images, rows):
        digest.update(piece)
    if bits is not None:
        digest.update(bits.tobytes())
    for start in range(0, len(manifest), LINES):
        lines = manifest.iloc[start : start + LINES].to_csv(index=False, header=start == 0)
        digest.update(lines.encode())
    return digest.hexdigest()
