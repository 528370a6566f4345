"""The run store: every finished piece of work under a digest of all that determines it.

Files are written beside their place and renamed into it, so a file under its own name is whole. What was
damaged later (a bad disk, a careless hand) is found by its checksum, said so, and computed again.
"""

import errno
import io
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from radlib.errors import UserError

_RECORD = b"radlib"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_BELOW = 1_000_000  # bytes


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success rename it there, on failure remove it.

    Raises:
        UserError: no space left on the disk (nothing half-written stays behind).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except Exception as exc:
        # PyTorch and safetensors have errors of their own for it, without a number.
        if getattr(exc, "errno", None) in _FULL or shutil.disk_usage(path.parent).free < _FULL_BELOW:
            raise UserError(
                f"no space left on the disk that holds {path.parent}; free some and start again: "
                "finished work is kept"
            ) from exc
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table atomically; the ending of `path` (.csv or .parquet) says how."""
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False, float_format="%.6g")
        else:
            table.to_parquet(temporary, index=False)


def write_json(content: dict, path: Path) -> None:
    """Write a dictionary atomically, so that equal content gives equal bytes."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")


def save_run(path: Path, record: dict, predictions: pd.DataFrame) -> None:
    """Store one run: `record` (JSON values) and its table of predictions as Parquet, then a checksum."""
    table = pa.Table.from_pandas(predictions, preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, _RECORD: json.dumps(record).encode()})
    content = io.BytesIO()
    pq.write_table(table, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getvalue() + _checksum(content.getvalue()))


def load_run(path: Path) -> tuple[dict, pd.DataFrame] | None:
    """A stored run, or None where there is none or it is damaged (which is said)."""
    if not path.is_file():
        return None
    try:
        stored = path.read_bytes()
    except OSError:  # a bad disk
        stored = b""
    content = stored[:-4]
    if _checksum(content) != stored[-4:]:
        print(f"stored run {path.name} is damaged; computing it again")
        path.unlink()
        return None
    table = pq.read_table(pa.BufferReader(content))
    return json.loads(table.schema.metadata[_RECORD]), table.to_pandas()


def _checksum(content: bytes) -> bytes:
    """Of the whole file: those that Parquet knows leave out its end, where names and the record are."""
    return zlib.crc32(content).to_bytes(4, "big")
